//! `[update]`: YARA rules and hash lists that are fetched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule_channels::RuleChannels;
use super::units::{Seconds, Size};

/// Rules and hash lists of others, fetched by the daemon and by `gatepost update`, and used by the embedded scanner. What is
/// fetched is verified and tried before it takes the place of the old.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Update {
    /// How often the daemon asks for something new, and up to a tenth later (10 minutes at most), so that not all gateways
    /// ask at once. 0: never; then only `gatepost update` does.
    pub every: Seconds,
    /// Longest that fetching one file may take.
    pub time: Seconds,
    /// Largest file that is taken.
    pub max_size: Size,
    /// HTTP proxy to fetch by: `http://proxy.example.org:3128`. Empty: none; variables of the environment do not count.
    pub proxy: String,
    /// Certificates (PEM) of the authorities that servers are believed by, instead of the system's.
    pub authorities: Option<PathBuf>,
    /// What is fetched, each under a name of its own: `[update.source.urlhaus]`.
    pub source: BTreeMap<String, Source>,
    /// Rules in SpamAssassin's language, by update channels.
    pub rules: RuleChannels,
}

/// One file that is fetched. By `http` it must be signed, or `sha256` must hold its digits; by `https` its server is
/// believed if there is neither.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// Where it is: `https://`, `http://` or `file:///`.
    pub url: String,
    /// What it is: `yara` (one file of rules) or `hashes` (a list in ClamAV's forms `.hdb` and `.hsb`).
    pub kind: SourceKind,
    /// Its SHA-256: 64 hex digits; `beside` for a file of the same name with `.sha256` behind it; or such a file's URL.
    pub sha256: String,
    /// File with the OpenPGP keys, armored or not, one of which must have signed it. The signature is a file of its own.
    pub openpgp_key: Option<PathBuf>,
    /// Minisign's public key that must have signed it: the 56 characters of its second line.
    pub minisign_key: String,
    /// URL of the signature. Default: that of the file with `.asc` behind it, or `.minisig`.
    pub signature: String,
}

/// What a source holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// YARA rules.
    #[default]
    Yara,
    /// Hashes.
    Hashes,
}

/// Where a source's file is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The configuration's key that it comes from.
    pub key: String,
    /// What it holds.
    pub kind: SourceKind,
    /// Its file, which need not be there yet.
    pub path: PathBuf,
}

impl Default for Update {
    fn default() -> Update {
        Update {
            every: Seconds::new(6 * 3600),
            time: Seconds::new(5 * 60),
            max_size: Size::mebibytes(64),
            proxy: String::new(),
            authorities: None,
            source: BTreeMap::new(),
            rules: RuleChannels::default(),
        }
    }
}

impl Update {
    /// The folder that is installed into.
    pub fn folder(data: &Path) -> PathBuf {
        data.join("updates")
    }

    /// What is or will be installed.
    pub fn installed(&self, data: &Path) -> Vec<Installed> {
        let sources = self.source.iter();
        sources.map(|(name, source)| Installed::new(data, name, source.kind)).collect()
    }

    /// Keys below `update`, and what is wrong with them.
    pub(super) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut add = |key: &str, why: String| problems.push((format!("update.{key}"), why));
        if self.time.seconds() == 0 {
            add("time", "is 0; nothing would ever be fetched within it".into());
        }
        if self.max_size.bytes() == 0 {
            add("max_size", "is 0; no file would ever be within it".into());
        }
        if !self.proxy.is_empty() && !self.proxy.starts_with("http://") {
            add("proxy", format!("{:?} is no proxy such as http://proxy.example.org:3128", self.proxy));
        }
        for (name, source) in &self.source {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                let key = format!("source.{}", super::tree::key_text(name));
                add(&key, "is no name: 1 to 64 letters, digits, `_` and `-`".into());
                continue;
            }
            for (key, why) in source.problems() {
                add(&format!("source.{name}.{key}"), why);
            }
        }
        problems
            .extend(self.rules.problems().into_iter().map(|(key, why)| (format!("update.rules.{key}"), why)));
        problems
    }
}

impl Installed {
    /// The file of one source.
    pub fn new(data: &Path, name: &str, kind: SourceKind) -> Installed {
        let extension = match kind {
            SourceKind::Yara => "yar",
            SourceKind::Hashes => "hdb",
        };
        let path = Update::folder(data).join(format!("{name}.{extension}"));
        Installed { key: format!("update.source.{name}"), kind, path }
    }
}

impl Source {
    /// Whether somebody has to have signed it.
    pub fn is_signed(&self) -> bool {
        self.openpgp_key.is_some() || !self.minisign_key.is_empty()
    }

    /// The digits of its checksum, if the configuration holds them.
    pub fn pinned(&self) -> Option<&str> {
        let is_hex = self.sha256.len() == 64 && self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then_some(self.sha256.as_str())
    }

    /// Where its checksum is, if it is fetched.
    pub fn checksum_url(&self) -> Option<String> {
        match self.sha256.as_str() {
            "" => None,
            "beside" => Some(format!("{}.sha256", self.url)),
            _ if self.pinned().is_some() => None,
            url => Some(url.to_owned()),
        }
    }

    /// Where its signature is, with this ending unless the configuration says where.
    pub fn signature_url(&self, ending: &str) -> String {
        if self.signature.is_empty() { format!("{}{ending}", self.url) } else { self.signature.clone() }
    }

    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let known =
            |url: &str| ["https://", "http://", "file:///"].iter().any(|start| url.starts_with(start));
        if !known(&self.url) {
            let why = format!("{:?} is no place such as https://rules.example.org/all.yar", self.url);
            problems.push(("url", why));
        }
        if self.url.starts_with("http://") && !self.is_signed() && self.pinned().is_none() {
            let why =
                "is http: anybody on the way could change it. Use https, a signature, or pin its sha256";
            problems.push(("url", why.into()));
        }
        if let Some(url) = self.checksum_url()
            && !known(&url)
        {
            let why = format!("{:?} is neither 64 hex digits, nor \"beside\", nor a URL", self.sha256);
            problems.push(("sha256", why));
        }
        if !self.signature.is_empty() {
            if !known(&self.signature) {
                problems.push(("signature", format!("{:?} is no URL", self.signature)));
            }
            match (self.openpgp_key.is_some(), self.minisign_key.is_empty()) {
                (false, true) => problems.push(("signature", "needs openpgp_key or minisign_key".into())),
                (true, false) => {
                    let why = "cannot be both an OpenPGP and a minisign signature: leave it out, or one key";
                    problems.push(("signature", why.into()));
                }
                _ => {}
            }
        }
        if self.openpgp_key.as_ref().is_some_and(|path| !path.is_absolute()) {
            problems.push(("openpgp_key", "is not the full path of a file".into()));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_source_is_told_by_its_key() {
        let digits = "0".repeat(64);
        for (text, expected) in [
            ("url = 'https://a.example/x'", ""),
            ("url = 'file:///x'", ""),
            ("url = 'x'", "update.source.a.url"),
            ("url = 'http://a.example/x'", "update.source.a.url"),
            ("url = 'http://a.example/x'\nsha256 = 'beside'", "update.source.a.url"),
            (&format!("url = 'http://a.example/x'\nsha256 = '{digits}'"), ""),
            ("url = 'http://a.example/x'\nopenpgp_key = '/k'", ""),
            ("url = 'http://a.example/x'\nopenpgp_key = 'k'", "update.source.a.openpgp_key"),
            ("url = 'https://a.example/x'\nsha256 = '00'", "update.source.a.sha256"),
            ("url = 'https://a.example/x'\nsha256 = 'https://a.example/y'", ""),
            ("url = 'https://a.example/x'\nsignature = 'https://a.example/y'", "update.source.a.signature"),
            (
                "url = 'file:///x'\nsignature = 'file:///y'\nopenpgp_key = '/k'\nminisign_key = 'R'",
                "update.source.a.signature",
            ),
        ] {
            let update: Update = toml::from_str(&format!("[source.a]\n{text}\n")).unwrap();
            let keys: Vec<String> = update.problems().into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys.join(" "), expected, "{text}");
        }
        let update: Update = toml::from_str(
            "time = 0\nmax_size = 0\nproxy = 'proxy:3128'\n[source.'../a']\nurl = 'file:///x'\n",
        )
        .unwrap();
        let keys: Vec<String> = update.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["update.time", "update.max_size", "update.proxy", "update.source.\"../a\""]);
    }
}
