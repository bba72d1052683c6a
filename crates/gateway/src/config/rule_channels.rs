//! `[update.rules]`: rules in SpamAssassin's language by update channels, as sa-update fetches them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gatepost_mail::Points;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The channel of SpamAssassin's own rules.
pub const SPAMASSASSIN: &str = "updates.spamassassin.org";

/// Rules in SpamAssassin's language from update channels, as sa-update fetches them: by the daemon every `update.every` from
/// the channels that stand here, and by `gatepost rules update`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuleChannels {
    /// The SpamAssassin whose rules are read: channels name the newest rules for each version.
    pub version: String,
    /// Folder that channels are installed into. Default: `rules` in the data folder.
    pub folder: Option<PathBuf>,
    /// Folder of the OpenPGP keys that `gatepost rules update --import` keeps. Default: `rules-keys` in the data folder.
    pub keyring: Option<PathBuf>,
    /// The channels, by name: `[update.rules.channel."updates.spamassassin.org"]`. Without any the daemon fetches no rules,
    /// and `gatepost rules update` those of `updates.spamassassin.org`.
    pub channel: BTreeMap<String, Channel>,
}

/// One channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Channel {
    /// File with the OpenPGP keys, armored or not, one of which must have signed. Default for `updates.spamassassin.org`:
    /// SpamAssassin's release key, which gatepost brings.
    pub openpgp_key: Option<PathBuf>,
    /// Take archives that nobody has signed. Their checksum only tells whether they came whole.
    pub unsigned: bool,
    /// Its rules count so many times the points that it gives them: `0.5`. Holds for versions that are installed from now on.
    pub score_multiplier: Option<Points>,
    /// None of its rules counts more points than this, after `score_multiplier`; points below zero stay as they are.
    pub score_limit: Option<Points>,
}

impl Default for RuleChannels {
    fn default() -> RuleChannels {
        RuleChannels { version: "4.0.1".into(), folder: None, keyring: None, channel: BTreeMap::new() }
    }
}

impl RuleChannels {
    /// The folder that channels are installed into.
    pub fn folder(&self, data: &Path) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| data.join("rules"))
    }

    /// The folder of imported keys.
    pub fn keyring(&self, data: &Path) -> PathBuf {
        self.keyring.clone().unwrap_or_else(|| data.join("rules-keys"))
    }

    /// The version's numbers, as far as it is one.
    pub fn numbers(&self) -> Option<[u16; 3]> {
        let mut numbers = self.version.split('.').map(|word| {
            let digits = word.len() <= 3 && word.bytes().all(|byte| byte.is_ascii_digit());
            word.parse().ok().filter(|_| digits)
        });
        let three = [numbers.next()??, numbers.next()??, numbers.next()??];
        numbers.next().is_none().then_some(three)
    }

    /// Keys below `update.rules`, and what is wrong with them.
    pub(super) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut add = |key: &str, why: &str| problems.push((key.to_owned(), why.to_owned()));
        if self.numbers().is_none() {
            add("version", "is no version such as 4.0.1");
        }
        for (key, path) in [("folder", &self.folder), ("keyring", &self.keyring)] {
            if path.as_ref().is_some_and(|path| !path.is_absolute()) {
                add(key, "is not the full path of a folder");
            }
        }
        let mut folders = BTreeMap::new();
        for (name, channel) in &self.channel {
            let table = format!("channel.{}", super::tree::key_text(name));
            if !is_channel(name) {
                add(&table, "is no channel's name such as updates.spamassassin.org");
                continue;
            }
            if let Some(other) = folders.insert(channel_folder(name), name) {
                add(&table, &format!("would be installed into the same folder as {other}"));
            }
            if channel.openpgp_key.as_ref().is_some_and(|path| !path.is_absolute()) {
                add(&format!("{table}.openpgp_key"), "is not the full path of a file");
            }
            if channel.unsigned && channel.openpgp_key.is_some() {
                add(&format!("{table}.unsigned"), "makes nothing of openpgp_key: leave out one of them");
            }
            for (key, points) in
                [("score_multiplier", channel.score_multiplier), ("score_limit", channel.score_limit)]
            {
                if points.is_some_and(|points| points <= Points::ZERO) {
                    add(&format!("{table}.{key}"), "is no number above 0");
                }
            }
            if !channel.unsigned && channel.openpgp_key.is_none() && name != SPAMASSASSIN {
                add(&table, "needs the openpgp_key of whoever signs it");
            }
        }
        problems
    }
}

/// Whether this may be a channel's name: a domain.
pub fn is_channel(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.len() <= 200 && name.bytes().all(plain) && name.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// The name of a channel's folder, as sa-update makes it.
pub fn channel_folder(name: &str) -> String {
    let mut folder = String::new();
    for character in name.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => folder.push(character),
            _ if folder.ends_with('_') => {}
            _ => folder.push('_'),
        }
    }
    folder
}

/// The file that says which version of a channel counts, in the folder of all channels.
pub fn channel_file(name: &str) -> String {
    format!("{}.cf", channel_folder(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_by_its_key() {
        for (text, expected) in [
            ("", ""),
            ("[channel.'updates.spamassassin.org']", ""),
            ("[channel.'a.example']\nopenpgp_key = '/k'", ""),
            ("[channel.'a.example']\nunsigned = true", ""),
            ("[channel.'a.example']\nunsigned = true\nscore_multiplier = 0.5\nscore_limit = 3", ""),
            ("[channel.'a.b']\nunsigned = true\nscore_limit = 0", "channel.\"a.b\".score_limit"),
            ("[channel.'a.b']\nunsigned = true\nscore_multiplier = -1", "channel.\"a.b\".score_multiplier"),
            ("[channel.'a.example']", "channel.\"a.example\""),
            ("[channel.'a.example']\nopenpgp_key = 'k'", "channel.\"a.example\".openpgp_key"),
            ("[channel.'a.example']\nopenpgp_key = '/k'\nunsigned = true", "channel.\"a.example\".unsigned"),
            ("[channel.'../a']", "channel.\"../a\""),
            ("[channel.'a.b']\nunsigned = true\n[channel.'a_b']\nunsigned = true", "channel.a_b"),
            ("version = '4.0.1'", ""),
            ("version = '4.000001'", "version"),
            ("version = '4.0.1.2'", "version"),
            ("version = '4.+0.1'", "version"),
            ("folder = 'rules'\nkeyring = 'keys'", "folder keyring"),
        ] {
            let rules: RuleChannels = toml::from_str(text).unwrap();
            let keys: Vec<String> = rules.problems().into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn folders_are_named_as_sa_update_names_them() {
        for (name, folder) in [
            ("updates.spamassassin.org", "updates_spamassassin_org"),
            ("sa-rules.example.com", "sa-rules_example_com"),
            ("a._.b", "a_b"),
        ] {
            assert_eq!(channel_folder(name), folder);
        }
    }
}
