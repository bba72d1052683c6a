//! Rules and hash lists of others: fetched, verified, tried, and put in the place of the old ones.
//!
//! Each file goes the same way: its checksum, the file itself, its signatures, a trial; then it is written beside the old
//! one, synced to disk, and renamed over it. Whatever fails on that way leaves the old one as it is, and whoever dies on it
//! leaves a file that the next round removes. What was installed, and under which terms, is remembered beside it, so that
//! what has not changed is neither fetched nor verified again.

pub mod channels;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use jiff::Timestamp;
use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checks::embedded::try_out;
use crate::config::Config;
use crate::config::update::{Installed, Source, Update};
use crate::resources::fetch::{Fetched, Fetcher, Validators};
use crate::resources::openpgp::Keys;

/// Sources that are worked on at once.
const AT_ONCE: usize = 4;

/// Held by whoever updates.
const LOCK: &str = ".lock";

/// Ends the names of files that are being written.
const FRESH: &str = ".new";

/// Fetches what is configured.
pub struct Updater {
    sources: Vec<(String, Source)>,
    data: PathBuf,
    fetcher: Fetcher,
    /// Longest that a trial may take for one content.
    trial: Duration,
}

/// How to go about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Everything but installing.
    pub dry_run: bool,
    /// As if nothing were known of what is installed: fetched and verified anew, and taken even if it was signed before the
    /// one that is there.
    pub force: bool,
}

/// What came of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Something new was installed, or would be: what it is.
    New(String),
    /// Nothing has changed.
    Same,
    /// Why nothing was installed; what was there still is.
    Failed(String),
}

/// Why no source was looked at.
#[derive(Debug)]
pub enum Unable {
    /// Somebody else is at it.
    Busy,
    /// The folder cannot be used.
    Folder(String),
}

impl Updater {
    /// For the sources of a configuration. The error names the key.
    pub fn build(config: &Config) -> Result<Updater, String> {
        let sources = config.update.source.iter();
        Ok(Updater {
            sources: sources.map(|(name, source)| (name.clone(), source.clone())).collect(),
            data: config.data.clone(),
            fetcher: Fetcher::new(&config.update)?,
            trial: config.checks.embedded.time.duration(),
        })
    }

    /// The names of its sources.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|(name, _)| name.as_str())
    }

    /// Goes through the sources of these names, or all; `tell` hears of each as soon as those before it are done.
    pub async fn round(
        &self,
        only: &[String],
        manner: Manner,
        mut tell: impl FnMut(&str, &Outcome),
    ) -> Result<Vec<Outcome>, Unable> {
        let _lock = if manner.dry_run { None } else { Some(self.prepare()?) };
        let (mut names, mut work) = (Vec::new(), Vec::new());
        for (name, source) in &self.sources {
            if only.is_empty() || only.contains(name) {
                names.push(name);
                work.push(self.update(name, source, manner));
            }
        }
        let (mut working, mut outcomes) = (stream::iter(work).buffered(AT_ONCE), Vec::new());
        for name in names {
            let Some(outcome) = working.next().await else { break };
            let outcome = outcome.unwrap_or_else(Outcome::Failed);
            tell(name, &outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    async fn update(&self, name: &str, source: &Source, manner: Manner) -> Result<Outcome, String> {
        let place = Place { installed: Installed::new(&self.data, name, source.kind), name: name.to_owned() };
        let (here, terms) = (place.clone(), Terms::of(source)?);
        let digest = terms.digest.clone();
        let known = blocking(move || Ok(here.known(&digest))).await?;
        let known = if manner.force { Known { state: None, ..known } } else { known };
        let expected = self.expected(source).await?;
        if let (Some(state), Some(expected)) = (&known.state, &expected)
            && state.sha256 == *expected
        {
            return Ok(Outcome::Same);
        }
        // Where its checksum says that it is another, no server need be asked whether it is: dates are of whole seconds.
        let since = known.state.as_ref().filter(|_| expected.is_none()).map(|state| &state.validators);
        let Fetched::New(file) = self.fetcher.fetch(&source.url, since).await? else {
            return Ok(Outcome::Same);
        };
        let sha256 = hex(&Sha256::digest(&file.content));
        if let Some(expected) = expected.filter(|expected| *expected != sha256) {
            return Err(format!("its SHA-256 is {sha256}, and should be {expected}"));
        }
        let state = State { terms: terms.digest.clone(), sha256, validators: file.validators, signed: None };
        if known.state.as_ref().is_some_and(|known| known.sha256 == state.sha256) {
            return self.keep(place, known.state, state, manner).await;
        }
        let (signed, by) = self.verify(source, terms, &file.content).await?;
        let before = known.state.as_ref().and_then(|state| state.signed);
        if let (Some(signed), Some(before)) = (signed, before)
            && signed < before
        {
            let (signed, before) = (date(signed), date(before));
            return Err(format!(
                "signed on {signed}, before the one that is installed ({before}); --force takes it"
            ));
        }
        let state = State { signed, ..state };
        let (content, kind, time) = (file.content, source.kind, self.trial);
        let (what, content) =
            blocking(move || try_out(kind, &content, time).map(|what| (what, content))).await?;
        let what = if by.is_empty() { what } else { format!("{what}, {by}") };
        let same = known.on_disk.as_ref() == Some(&state.sha256);
        if !manner.dry_run {
            blocking(move || place.install(&content, &state)).await?;
        }
        Ok(if same { Outcome::Same } else { Outcome::New(what) })
    }

    /// It is what is installed; only the server's validators may have changed.
    async fn keep(
        &self,
        place: Place,
        known: Option<State>,
        now: State,
        manner: Manner,
    ) -> Result<Outcome, String> {
        if let Some(known) = known.filter(|known| known.validators != now.validators && !manner.dry_run) {
            let state = State { signed: known.signed, ..now };
            blocking(move || place.remember(&state)).await?;
        }
        Ok(Outcome::Same)
    }

    /// The checksum that a file must have, if any is told.
    async fn expected(&self, source: &Source) -> Result<Option<String>, String> {
        if let Some(pinned) = source.pinned() {
            return Ok(Some(pinned.to_ascii_lowercase()));
        }
        let Some(url) = source.checksum_url() else { return Ok(None) };
        let list = self.fetcher.fetch_small(&url).await?;
        let name = source.url.rsplit('/').next().unwrap_or_default();
        let name = name.split(['?', '#']).next().unwrap_or_default();
        listed(&String::from_utf8_lossy(&list), name)
            .map(Some)
            .ok_or_else(|| format!("{url}: holds no SHA-256 of {name}"))
    }

    /// When a content was signed and by whom, if it has to be.
    async fn verify(
        &self,
        source: &Source,
        terms: Terms,
        content: &[u8],
    ) -> Result<(Option<u64>, String), String> {
        let (mut signed, mut by) = (None, String::new());
        if let Some(keys) = terms.openpgp {
            let url = source.signature_url(".asc");
            let (signature, content) = (self.fetcher.fetch_small(&url).await?, content.to_vec());
            let good = blocking(move || keys.verify(&content, &signature)).await;
            let good = good.map_err(|why| format!("{url}: {why}"))?;
            by = format!("signed by {} on {}", good.by.to_ascii_uppercase(), date(good.at));
            signed = Some(good.at);
        }
        if let Some(key) = terms.minisign {
            let url = source.signature_url(".minisig");
            let (signature, content) = (self.fetcher.fetch_small(&url).await?, content.to_vec());
            let checked = blocking(move || {
                let text = String::from_utf8_lossy(&signature);
                let signature = Signature::decode(&text).map_err(|why| why.to_string())?;
                key.verify(&content, &signature, false).map_err(|why| why.to_string())
            });
            checked.await.map_err(|why| format!("{url}: {why}"))?;
            let both = if by.is_empty() { "signed by minisign" } else { " and by minisign" };
            by.push_str(both);
        }
        Ok((signed, by))
    }

    /// The folder, cleared of what a killed process left; nobody else updates as long as the file is held.
    fn prepare(&self) -> Result<File, Unable> {
        let folder = Update::folder(&self.data);
        let told = |why: io::Error| Unable::Folder(format!("{}: {why}", folder.display()));
        let lock = lock(&folder)?;
        for entry in fs::read_dir(&folder).map_err(told)?.flatten() {
            if entry.file_name().to_string_lossy().ends_with(FRESH) {
                fs::remove_file(entry.path()).map_err(told)?;
            }
        }
        Ok(lock)
    }
}

/// Whether a source's keys can be used, and its file is there already; blocks.
pub fn check(config: &Config, name: &str, source: &Source) -> Result<bool, String> {
    Terms::of(source)?;
    Ok(Installed::new(&config.data, name, source.kind).path.exists())
}

/// What a file must be, for its state to hold.
struct Terms {
    /// Of the configuration and the pinned keys: with others, what is installed is verified anew.
    digest: String,
    openpgp: Option<Keys>,
    minisign: Option<PublicKey>,
}

impl Terms {
    fn of(source: &Source) -> Result<Terms, String> {
        let mut hash = Sha256::new();
        hash.update(format!("{source:?}"));
        let openpgp = match &source.openpgp_key {
            None => None,
            Some(path) => {
                hash.update(fs::read(path).map_err(|why| format!("{}: {why}", path.display()))?);
                Some(Keys::read(path)?)
            }
        };
        let minisign = match source.minisign_key.as_str() {
            "" => None,
            key => Some(PublicKey::from_base64(key).map_err(|why| format!("minisign_key: {why}"))?),
        };
        Ok(Terms { digest: hex(&hash.finalize()), openpgp, minisign })
    }
}

/// Where the file of one source and what is known of it are.
#[derive(Clone)]
struct Place {
    installed: Installed,
    name: String,
}

/// What is remembered of an installed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    terms: String,
    sha256: String,
    validators: Validators,
    /// Seconds since 1970.
    signed: Option<u64>,
}

/// What is there.
struct Known {
    /// The digest of the installed file.
    on_disk: Option<String>,
    /// What is remembered of it, if that is about this file and these terms.
    state: Option<State>,
}

impl Place {
    fn state_path(&self) -> PathBuf {
        self.installed.path.with_file_name(format!("{}.json", self.name))
    }

    fn known(&self, terms: &str) -> Known {
        let on_disk = fs::read(&self.installed.path).ok().map(|content| hex(&Sha256::digest(content)));
        let state = fs::read(self.state_path()).ok();
        let state = state.and_then(|text| serde_json::from_slice::<State>(&text).ok());
        let state = state.filter(|state| state.terms == terms && Some(&state.sha256) == on_disk.as_ref());
        Known { on_disk, state }
    }

    /// The file first: without its state it is only fetched once more.
    fn install(&self, content: &[u8], state: &State) -> Result<(), String> {
        replace(&self.installed.path, content)?;
        self.remember(state)
    }

    fn remember(&self, state: &State) -> Result<(), String> {
        let text = serde_json::to_vec_pretty(state).map_err(|why| why.to_string())?;
        replace(&self.state_path(), &text)
    }
}

/// A folder that is installed into, made where there is none, and the right to do so: nobody else has it as long as the file
/// is held.
fn lock(folder: &Path) -> Result<File, Unable> {
    let told = |why: io::Error| Unable::Folder(format!("{}: {why}", folder.display()));
    if !folder.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(told)?;
        give(folder, folder.parent().unwrap_or(folder)).map_err(told)?;
    }
    let path = folder.join(LOCK);
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(told)?;
    give(&path, folder).map_err(told)?;
    lock.try_lock().map_err(|_| Unable::Busy)?;
    Ok(lock)
}

/// Puts a file in the place of another, all of it or nothing.
fn replace(path: &Path, content: &[u8]) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    replace_by(path, &path.with_file_name(format!(".{name}{FRESH}")), content)
}

/// The same by way of a file that may lie in another folder of the file system.
fn replace_by(path: &Path, fresh: &Path, content: &[u8]) -> Result<(), String> {
    let Some(folder) = path.parent() else { return Err(format!("{}: no path of a file", path.display())) };
    let written = (|| {
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(fresh)?;
        file.write_all(content)?;
        give(fresh, folder)?;
        file.sync_all()?;
        fs::rename(fresh, path)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(|why: io::Error| {
        // It may not even have been made.
        let _ = fs::remove_file(fresh);
        format!("{}: {why}", path.display())
    })
}

/// Gives what root has made to the owner of the folder, which is the daemon's user.
fn give(path: &Path, folder: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(folder)?;
    std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))
}

/// The SHA-256 of a file in a list as sha256sum writes it, in BSD's form, or alone.
fn listed(list: &str, name: &str) -> Option<String> {
    let digits = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut all: Vec<(String, &str)> = Vec::new();
    for line in list.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(found) = words.find(|word| digits(word)) else { continue };
        let about = match line.strip_prefix("SHA256 (").and_then(|rest| rest.split_once(") = ")) {
            Some((about, _)) => about,
            None => words.next().unwrap_or_default().trim_start_matches('*'),
        };
        all.push((found.to_ascii_lowercase(), about.rsplit('/').next().unwrap_or_default()));
    }
    let by_name = all.iter().find(|(_, about)| *about == name);
    // A list of one is about the file that it lies beside, whatever that was called when it was made.
    by_name.or(if all.len() == 1 { all.first() } else { None }).map(|(found, _)| found.clone())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| seconds.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Work where waiting and computing keep nobody up. A panic in it is a failure of this source.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|why| Err(format!("failed: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_in_every_form() {
        let (one, two) = ("A".repeat(64), "b".repeat(64));
        for (list, expected) in [
            (format!("{one}\n"), Some(&one)),
            (format!("{one}  rules.yar\n"), Some(&one)),
            (format!("{one} *rules.yar\n"), Some(&one)),
            (format!("SHA256 (rules.yar) = {one}\n"), Some(&one)),
            (format!("{one}  made/as/other.yar\n"), Some(&one)),
            (format!("# list\n{two}  other.yar\n{one}  ./rules.yar\n"), Some(&one)),
            (format!("{two}  other.yar\n{one}  third.yar\n"), None),
            ("404 Not Found".into(), None),
            (format!("{}\n", &one[1..]), None),
        ] {
            assert_eq!(listed(&list, "rules.yar"), expected.map(|digits| digits.to_lowercase()), "{list}");
        }
    }
}
