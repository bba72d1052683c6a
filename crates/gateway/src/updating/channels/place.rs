//! Where a channel is installed, in sa-update's layout but for one folder more:
//!
//! ```text
//! rules/updates_spamassassin_org.cf                 what counts: which version, and an include for each of its files
//! rules/updates_spamassassin_org/MIRRORED.BY        the mirrors, kept for a week
//! rules/updates_spamassassin_org/1907730/20_x.cf    one version, never altered once it has this name
//! ```
//!
//! A version is written under another name, synced to disk and renamed; then the one file is renamed over the old one, and
//! that is the only change that anybody who reads rules can see. Whoever has read it finds all files that it names, since
//! the version before is kept.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::{FRESH, give, replace_by};
use super::archive::Files;
use crate::config::rule_channels::channel_folder;

/// How long a list of mirrors is good for.
const MIRRORS_LAST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The list of mirrors.
const MIRRORS: &str = "MIRRORED.BY";

/// Largest file that says which version counts.
const LARGEST: u64 = 1 << 20;

/// Times that one version can be installed anew while others are there.
const TIMES: u32 = 1000;

/// A channel's place.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where all channels are.
    root: PathBuf,
    /// The channel's folder in it.
    name: String,
}

/// What is installed: the first lines of the file that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// What counts.
    pub now: Version,
    /// What counted before, if it is there still.
    pub before: Option<Version>,
    /// A version that was rolled back: neither it nor an older one is fetched.
    pub held: Option<u64>,
    /// When the newest that was installed was signed, in seconds since 1970.
    pub signed: Option<u64>,
}

/// One version of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub number: u64,
    /// Its folder in the channel's; empty: sa-update has put the files into the channel's folder itself.
    pub folder: String,
}

impl Installed {
    /// The newest number that need not be fetched.
    pub fn newest(&self) -> u64 {
        self.held.unwrap_or_default().max(self.now.number)
    }

    fn read(text: &str) -> Option<Installed> {
        let (mut installed, mut known, mut before) = (Installed::default(), false, Version::default());
        for line in text.lines() {
            let Some(line) = line.strip_prefix("# UPDATE ") else { break };
            let Some((key, value)) = line.trim().split_once(char::is_whitespace) else { break };
            let number = leading_number(value.trim());
            let folder = || is_version_folder(value.trim()).then(|| value.trim().to_owned());
            match key.to_ascii_lowercase().as_str() {
                "version" => (installed.now.number, known) = (number?, true),
                "folder" => installed.now.folder = folder()?,
                "oldversion" => before.number = number?,
                "oldfolder" => before.folder = folder()?,
                "held" => installed.held = number,
                "signed" => installed.signed = number,
                _ => {}
            }
        }
        installed.before = (before.number > 0).then_some(before);
        known.then_some(installed)
    }

    /// The file that counts, for these files of the version.
    fn write(&self, channel: &str, names: &BTreeSet<String>) -> String {
        let mut text = format!("# UPDATE version {}\n", self.now.number);
        let mut add = |line: String| text.push_str(&(line + "\n"));
        if !self.now.folder.is_empty() {
            add(format!("# UPDATE folder {}", self.now.folder));
        }
        if let Some(before) = &self.before {
            add(format!("# UPDATE oldversion {}", before.number));
            if !before.folder.is_empty() {
                add(format!("# UPDATE oldfolder {}", before.folder));
            }
        }
        for (key, value) in [("held", self.held), ("signed", self.signed)] {
            if let Some(value) = value {
                add(format!("# UPDATE {key} {value}"));
            }
        }
        let slash = if self.now.folder.is_empty() { "" } else { "/" };
        for name in in_order(names.iter().map(String::as_str)) {
            add(format!("include {channel}/{}{slash}{name}", self.now.folder));
        }
        text
    }
}

/// Files in the order in which they are read: those that say what there is, then the rules, each by name.
pub fn in_order<'a>(names: impl Iterator<Item = &'a str> + Clone) -> impl Iterator<Item = &'a str> {
    let of = |ending: &'static str| names.clone().filter(move |name| name.ends_with(ending));
    let (pre, cf): (BTreeSet<&str>, BTreeSet<&str>) = (of(".pre").collect(), of(".cf").collect());
    pre.into_iter().chain(cf)
}

/// The number that a text begins with.
pub fn leading_number(text: &str) -> Option<u64> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// `1907730`, or `1907730.2`: numbers, so that nothing else is ever removed.
fn is_version_folder(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match name.split_once('.') {
        Some((number, time)) => digits(number) && digits(time),
        None => digits(name),
    }
}

impl Place {
    /// Of one channel among those in a folder.
    pub fn new(root: &Path, channel: &str) -> Place {
        Place { root: root.to_owned(), name: channel_folder(channel) }
    }

    fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// The file that counts.
    pub fn file(&self) -> PathBuf {
        self.root.join(format!("{}.cf", self.name))
    }

    /// What is installed, by us or by sa-update.
    pub fn installed(&self) -> Result<Option<Installed>, String> {
        let path = self.file();
        let told = |why: io::Error| format!("{}: {why}", path.display());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(told(why)),
        };
        let mut text = Vec::new();
        file.take(LARGEST).read_to_end(&mut text).map_err(told)?;
        Ok(Installed::read(&String::from_utf8_lossy(&text)))
    }

    /// The list of mirrors, and whether it is to be fetched anew.
    pub fn mirrors(&self) -> Option<(String, bool)> {
        let path = self.folder().join(MIRRORS);
        let mut text = Vec::new();
        let file = File::open(path).ok()?;
        let written = file.metadata().and_then(|metadata| metadata.modified()).ok();
        file.take(LARGEST).read_to_end(&mut text).ok()?;
        // One from the future is of a clock that was wrong.
        let age = written.and_then(|written| SystemTime::now().duration_since(written).ok());
        let text = String::from_utf8_lossy(&text).into_owned();
        (!text.is_empty()).then(|| (text, age.is_none_or(|age| age > MIRRORS_LAST)))
    }

    /// Keeps a list of mirrors.
    pub fn keep_mirrors(&self, text: &[u8]) -> Result<(), String> {
        let folder = self.make_folder()?;
        replace_by(&folder.join(MIRRORS), &folder.join(format!(".{MIRRORS}{FRESH}")), text)
    }

    /// Puts a version in the place of the one that counts, all of it or nothing.
    pub fn install(&self, number: u64, files: &Files, signed: Option<u64>) -> Result<(), String> {
        let folder = self.make_folder()?;
        let fresh = folder.join(FRESH);
        remove(&fresh)?;
        let written = write_all(&fresh, &folder, files);
        let told = |(path, why): (PathBuf, io::Error)| format!("{}: {why}", path.display());
        let named = written.and_then(|()| rename_to_version(&fresh, &folder, number));
        let version = named.map_err(told).inspect_err(|_| _ = remove(&fresh))?;
        let known = self.installed()?;
        let installed = Installed {
            now: Version { number, folder: version.clone() },
            before: known.map(|known| known.now),
            held: None,
            signed,
        };
        let names = files.keys().cloned().collect();
        self.count(&installed, &names).inspect_err(|_| _ = remove(&folder.join(version)))?;
        self.prune(&installed);
        Ok(())
    }

    /// Lets the version before count again; the one that counted is kept in its place, and not fetched again. A second time
    /// takes that back.
    pub fn roll_back(&self) -> Result<Option<Installed>, String> {
        let Some(Installed { now, before: Some(before), signed, .. }) = self.installed()? else {
            return Ok(None);
        };
        let folder = self.folder().join(&before.folder);
        let told = |why: io::Error| format!("{}: {why}", folder.display());
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&folder).map_err(told)? {
            let entry = entry.map_err(told)?;
            if entry.file_type().map_err(told)?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        if in_order(names.iter().map(String::as_str)).next().is_none() {
            return Err(format!("{}: holds no rules any more", folder.display()));
        }
        let held = (now.number > before.number).then_some(now.number);
        let installed = Installed { now: before, before: Some(now), held, signed };
        self.count(&installed, &names)?;
        Ok(Some(installed))
    }

    /// The one step that anybody sees.
    fn count(&self, installed: &Installed, names: &BTreeSet<String>) -> Result<(), String> {
        let fresh = self.folder().join(format!("{}.cf{FRESH}", self.name));
        replace_by(&self.file(), &fresh, installed.write(&self.name, names).as_bytes())
    }

    /// Removes versions that neither count nor have counted just before, and what sa-update wrote beside its own. What
    /// cannot be removed now is removed the next time.
    fn prune(&self, installed: &Installed) {
        // It includes what sa-update installed, whether that counts or not.
        let _ = fs::remove_file(self.root.join(format!("{}.pre", self.name)));
        let before = installed.before.as_ref().map_or("", |before| before.folder.as_str());
        for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_version_folder(&name) && name != installed.now.folder && name != before {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn make_folder(&self) -> Result<PathBuf, String> {
        let folder = self.folder();
        let told = |why: io::Error| format!("{}: {why}", folder.display());
        if !folder.is_dir() {
            fs::DirBuilder::new().mode(0o755).create(&folder).map_err(told)?;
            give(&folder, &self.root).map_err(told)?;
        }
        Ok(folder)
    }
}

/// Channels that are installed in a folder, by the names of their own folders.
pub fn channels(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".cf")
            && root.join(name).is_dir()
            && Place::new(root, name).installed().is_ok_and(|installed| installed.is_some())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    names
}

fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(format!("{}: {why}", folder.display())),
        _ => Ok(()),
    }
}

type Step<T> = Result<T, (PathBuf, io::Error)>;

/// Writes files into a new folder, and has them on disk. The folder's owner is that of another.
fn write_all(fresh: &Path, owner: &Path, files: &Files) -> Step<()> {
    let named = |path: &Path| {
        let path = path.to_owned();
        move |why| (path, why)
    };
    fs::DirBuilder::new().mode(0o755).create(fresh).map_err(named(fresh))?;
    give(fresh, owner).map_err(named(fresh))?;
    for (name, content) in files {
        let path = fresh.join(name);
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o644).open(&path)?;
            file.write_all(content)?;
            give(&path, owner)?;
            file.sync_all()
        };
        write().map_err(named(&path))?;
    }
    File::open(fresh).and_then(|folder| folder.sync_all()).map_err(named(fresh))
}

/// Gives the new folder a name that no version has.
fn rename_to_version(fresh: &Path, folder: &Path, number: u64) -> Step<String> {
    let free = |name: &String| fs::symlink_metadata(folder.join(name)).is_err();
    let mut names = (1..TIMES).map(|time| match time {
        1 => number.to_string(),
        time => format!("{number}.{time}"),
    });
    let too_many = || (folder.to_owned(), io::Error::other(format!("too many folders of version {number}")));
    let name = names.find(free).ok_or_else(too_many)?;
    let renamed = fs::rename(fresh, folder.join(&name)).and_then(|()| File::open(folder)?.sync_all());
    renamed.map(|()| name).map_err(|why| (folder.to_owned(), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(word: &str) -> Files {
        let file = |name: &str| (name.to_owned(), format!("body {word} /{word}/\n").into_bytes());
        [file("20_b.cf"), file("10_a.cf"), file("z.pre"), file("README")].into()
    }

    fn rules(root: &Path) -> Vec<String> {
        let rules = crate::resources::rules::Rules::load(&[root.to_owned()], false).unwrap();
        assert!(rules.set.warnings.is_empty(), "{:?}", rules.set.warnings);
        rules.set.rules.keys().map(|name| name.to_string()).collect()
    }

    #[test]
    fn one_file_says_what_counts() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path(), "a.example");
        assert_eq!(place.installed().unwrap(), None);
        place.install(100, &files("ONE"), None).unwrap();
        let text = fs::read_to_string(place.file()).unwrap();
        assert_eq!(
            text,
            "# UPDATE version 100\n# UPDATE folder 100\ninclude a_example/100/z.pre\n\
             include a_example/100/10_a.cf\ninclude a_example/100/20_b.cf\n"
        );
        assert_eq!(rules(root.path()), ["ONE"]);
        assert_eq!(place.roll_back().unwrap(), None);

        place.install(101, &files("TWO"), None).unwrap();
        place.install(101, &files("THREE"), None).unwrap();
        assert_eq!(rules(root.path()), ["THREE"]);
        let folder = |name: &str| root.path().join("a_example").join(name);
        assert!(!folder("100").exists() && folder("101").is_dir() && folder("101.2").is_dir());
        assert_eq!(channels(root.path()), ["a_example"]);
        // What a killed process left.
        fs::create_dir(folder(FRESH)).unwrap();
        fs::write(folder(FRESH).join("10_a.cf"), "half").unwrap();
        place.install(102, &files("FOUR"), None).unwrap();
        assert!(!folder(FRESH).exists() && rules(root.path()) == ["FOUR"]);
    }

    #[test]
    fn there_and_back_again() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path(), "a.example");
        for (number, word) in [(100, "ONE"), (101, "TWO")] {
            place.install(number, &files(word), None).unwrap();
        }
        let back = place.roll_back().unwrap().unwrap();
        assert_eq!((back.now.number, back.held, back.newest()), (100, Some(101), 101));
        assert_eq!(rules(root.path()), ["ONE"]);
        let again = place.roll_back().unwrap().unwrap();
        assert_eq!((again.now.number, again.held, again.newest()), (101, None, 101));
        assert_eq!(rules(root.path()), ["TWO"]);
        place.roll_back().unwrap().unwrap();
        place.install(102, &files("THREE"), None).unwrap();
        let installed = place.installed().unwrap().unwrap();
        assert_eq!((installed.before.unwrap().number, installed.held), (100, None));
        assert!(!root.path().join("a_example/101").exists());
        fs::remove_dir_all(root.path().join("a_example/100")).unwrap();
        assert!(place.roll_back().unwrap_err().contains("a_example/100: No such file"));
        assert_eq!(rules(root.path()), ["THREE"]);
    }

    /// Its files lie in the channel's folder itself, and there may be a .pre file beside.
    #[test]
    fn sa_updates_folder_is_taken_over() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path(), "a.example");
        let path = |name: &str| root.path().join(name);
        fs::create_dir(path("a_example")).unwrap();
        fs::write(path("a_example/10_a.cf"), "body ONE /a/\n").unwrap();
        fs::write(path("a_example/x.pre"), "# nothing\n").unwrap();
        fs::write(path("a_example.pre"), "include a_example/x.pre\n").unwrap();
        fs::write(place.file(), "# UPDATE version 100\ninclude a_example/10_a.cf\n").unwrap();
        let before =
            Installed { now: Version { number: 100, folder: String::new() }, ..Installed::default() };
        assert_eq!(place.installed().unwrap(), Some(before));
        place.install(101, &files("TWO"), None).unwrap();
        assert!(rules(root.path()) == ["TWO"] && !path("a_example.pre").exists());
        assert_eq!(place.roll_back().unwrap().unwrap().now.number, 100);
        assert_eq!(rules(root.path()), ["ONE"]);
        // One that says nothing that we understand counts as nothing.
        for text in
            ["", "body A /a/\n", "# UPDATE version x\n", "# UPDATE folder ../..\n# UPDATE version 1\n"]
        {
            fs::write(place.file(), text).unwrap();
            assert_eq!(place.installed().unwrap(), None, "{text}");
        }
    }

    #[test]
    fn mirrors_are_good_for_a_week() {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path(), "a.example");
        assert_eq!(place.mirrors(), None);
        place.keep_mirrors(b"http://a.example/\n").unwrap();
        let text = || "http://a.example/\n".to_owned();
        assert_eq!(place.mirrors(), Some((text(), false)));
        let file = File::options().write(true).open(root.path().join("a_example/MIRRORED.BY")).unwrap();
        let now = SystemTime::now();
        file.set_modified(now - MIRRORS_LAST - Duration::from_secs(60)).unwrap();
        assert_eq!(place.mirrors(), Some((text(), true)));
        file.set_modified(now + Duration::from_secs(3600)).unwrap();
        assert_eq!(place.mirrors(), Some((text(), true)));
        place.keep_mirrors(b"").unwrap();
        assert_eq!(place.mirrors(), None);
    }
}
