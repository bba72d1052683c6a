//! Rules in use: read again when their files change, as a whole or not at all.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;
use std::{fs, io};

use arc_swap::ArcSwap;
use gatepost_rules::texts::Networks;

use super::{Rules, files_of};
use crate::config::Config;
use crate::config::rule_channels::channel_file;

/// Most mistakes that the log tells one by one.
const MAX_TOLD: usize = 20;

/// Where rules come from, and what they are made ready for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Files and folders, in the order in which they count.
    pub paths: Vec<PathBuf>,
    /// The rules of our own count, before those of the files.
    pub own: bool,
    /// Whether rules may ask questions over the network.
    pub network: bool,
    /// Networks that are ours, unless the rules say which are (`trusted_networks`, `internal_networks`).
    pub networks: Vec<String>,
    /// Those of the paths that update channels install into: until the first update they may be missing.
    pub awaited: Vec<PathBuf>,
}

/// Rules that all pipelines of this process with the same source share, so that a reload of the configuration neither
/// compiles them again nor has them twice.
pub struct Live {
    source: Source,
    rules: ArcSwap<Rules>,
    last: Mutex<Last>,
}

/// How it was when the files were read last.
struct Last {
    stamp: Stamp,
    /// Why what they held was not taken, if so.
    wrong: Option<String>,
    /// Paths at which no update has put anything yet.
    missing: Vec<PathBuf>,
}

/// The files as they stand on disk: what of each changes when it is written or replaced (inode, size, change time).
type Stamp = Vec<(PathBuf, Option<(u64, u64, i64, i64)>)>;

/// Those in use.
static OPEN: Mutex<Vec<Weak<Live>>> = Mutex::new(Vec::new());

impl Live {
    /// Rules of a source: those that somebody in this process uses already, after a look at their files, or read now. Blocks.
    ///
    /// Errors: a path that cannot be read, with its name. What is wrong inside a file is told by the log.
    pub fn open(source: Source) -> Result<Arc<Live>, String> {
        // Held while reading, so that none is read twice.
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|live| live.strong_count() > 0);
        if let Some(live) = open.iter().filter_map(Weak::upgrade).find(|live| live.source == source) {
            drop(open);
            live.reload();
            return Ok(live);
        }
        // Taken before reading: what is written meanwhile shows as a change.
        let stamp = source.stamp(&[]);
        let began = Instant::now();
        let missing = source.missing();
        let rules = source.load(&missing)?;
        tracing::info!("rules read in {} ms: {}", began.elapsed().as_millis(), summary(&rules));
        tell(&rules.mistakes, "");
        for path in &missing {
            let path = path.display();
            tracing::warn!(
                "checks.rules.paths: {path} holds no rules yet; those that an update installs there will count"
            );
        }
        // What is included is known only now.
        let included = source.stamp(&rules.included).split_off(stamp.len());
        let last = Last { stamp: [stamp, included].concat(), wrong: None, missing };
        let live = Arc::new(Live { source, rules: ArcSwap::from_pointee(rules), last: Mutex::new(last) });
        open.push(Arc::downgrade(&live));
        Ok(live)
    }

    /// The rules as they are now; whoever holds them keeps them.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Whether there are files that may change.
    pub fn may_change(&self) -> bool {
        !self.source.paths.is_empty()
    }

    /// Paths of update channels at which there is nothing yet.
    pub fn missing(&self) -> Vec<PathBuf> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).missing.clone()
    }

    /// How many there are, or why new ones were not taken.
    pub fn state(&self) -> Result<String, String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &last.wrong {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(match last.missing.first() {
                Some(path) => format!("{}; none yet in {}", summary(&self.rules.load()), path.display()),
                None => summary(&self.rules.load()),
            }),
        }
    }

    /// Reads the files again if they have changed. If one cannot be read, or has a mistake that was not there before, the old
    /// rules stay and the log says why. Blocks.
    pub fn reload(&self) {
        if !self.may_change() {
            return;
        }
        let old = self.rules.load_full();
        let now = self.source.stamp(&old.included);
        let before = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.stamp == now {
                return;
            }
            last.stamp = now.clone();
            last.missing.clone()
        };
        let began = Instant::now();
        // What was there and is gone is missed: only what never was there may be missing.
        let mut missing = self.source.missing();
        missing.retain(|path| before.contains(path));
        let wrong = match self.source.load(&missing) {
            Ok(new) => match fresh(&old, &new) {
                // The first rules of a channel are as those at the start: what is wrong in them keeps only itself away.
                mistakes if mistakes.is_empty() || missing != before => {
                    tracing::info!(
                        "rules read again in {} ms: {}",
                        began.elapsed().as_millis(),
                        summary(&new)
                    );
                    tell(&mistakes, "");
                    self.take(new, now, missing);
                    None
                }
                mistakes => Some(mistakes),
            },
            Err(why) => Some(vec![why]),
        };
        let Some(mistakes) = wrong else { return };
        tell(&mistakes, "rules changed but are not taken: ");
        let first = mistakes.first().map(String::as_str).unwrap_or_default();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.wrong = Some(format!("changed but not taken: {first}"));
    }

    fn take(&self, rules: Rules, mut stamp: Stamp, missing: Vec<PathBuf>) {
        let files = self.source.stamp(&[]).len();
        stamp.truncate(files);
        stamp.extend(self.source.stamp(&rules.included).into_iter().skip(files));
        self.rules.store(Arc::new(rules));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Last { stamp, wrong: None, missing };
    }
}

impl Source {
    /// As the configuration has it.
    pub fn of(config: &Config) -> Source {
        let settings = &config.checks.rules;
        // Where nobody has said which networks are ours, it is guessed by private addresses, as SpamAssassin does.
        let networks = match config.networks.iter().all(|network| network.is_loopback()) {
            true => Vec::new(),
            false => config.networks.iter().map(ToString::to_string).collect(),
        };
        let own = settings.own.unwrap_or(settings.paths.is_empty());
        let channels = &config.update.rules;
        let root = channels.folder(&config.data);
        let installed = |path: &&PathBuf| {
            **path == root || channels.channel.keys().any(|name| **path == root.join(channel_file(name)))
        };
        let awaited = match channels.channel.is_empty() {
            true => Vec::new(),
            false => settings.paths.iter().filter(installed).cloned().collect(),
        };
        Source { paths: settings.paths.clone(), own, network: settings.network, networks, awaited }
    }

    /// Paths of updates that hold no rules.
    fn missing(&self) -> Vec<PathBuf> {
        let holds_none = |path: &&PathBuf| match files_of(path) {
            Ok(files) => files.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        self.awaited.iter().filter(holds_none).cloned().collect()
    }

    /// Reads them, but for those paths that are known to be missing.
    fn load(&self, missing: &[PathBuf]) -> Result<Rules, String> {
        let paths: Vec<PathBuf> = self.paths.iter().filter(|path| !missing.contains(path)).cloned().collect();
        let mut rules =
            Rules::load_with(&paths, self.own, self.network).map_err(|error| error.to_string())?;
        // Nobody else has them yet.
        if let Some(texts) = Arc::get_mut(&mut rules.texts)
            && !self.networks.is_empty()
            && texts.trusted_networks.is_none()
            && texts.internal_networks.is_none()
        {
            let mut ours = Networks::loopback();
            for network in &self.networks {
                ours.add(network)?;
            }
            texts.trusted_networks = Some(ours.clone());
            texts.internal_networks = Some(ours);
        }
        Ok(rules)
    }

    /// State of every file that would be read now, of the folders they are in, and of those that they include.
    fn stamp(&self, included: &[PathBuf]) -> Stamp {
        let state = |path: &Path| {
            let data = fs::metadata(path).ok()?;
            Some((data.ino(), data.len(), data.ctime(), data.ctime_nsec()))
        };
        let own = self.paths.iter().flat_map(|path| {
            let files = files_of(path).unwrap_or_default();
            std::iter::once(path.clone()).chain(files)
        });
        own.chain(included.iter().cloned()).map(|path| (path.clone(), state(&path))).collect()
    }
}

/// Mistakes that the rules in use do not have. Whatever was wrong before is no reason to go without what is new; where a
/// mistake stands does not count, for lines move.
fn fresh(old: &Rules, new: &Rules) -> Vec<String> {
    let text = |mistake: &str| -> String {
        let behind = mistake.splitn(3, ':').nth(2).unwrap_or(mistake);
        behind.chars().filter(|c| !c.is_ascii_digit()).collect()
    };
    let known: HashSet<String> = old.mistakes.iter().map(|mistake| text(mistake)).collect();
    new.mistakes.iter().filter(|mistake| !known.contains(&text(mistake))).cloned().collect()
}

fn tell(mistakes: &[String], before: &str) {
    for mistake in mistakes.iter().take(MAX_TOLD) {
        tracing::warn!("{before}{mistake}");
    }
    if mistakes.len() > MAX_TOLD {
        tracing::warn!("{before}and {} more; gatepost rules lint tells all", mistakes.len() - MAX_TOLD);
    }
}

fn summary(rules: &Rules) -> String {
    let many = rules.set.rules.len();
    match rules.mistakes.len() {
        0 => format!("{many} rules"),
        mistakes => format!("{many} rules, {mistakes} mistakes in them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(folder: &Path) -> Result<Arc<Live>, String> {
        Live::open(Source {
            paths: vec![folder.to_owned()],
            own: false,
            network: false,
            networks: Vec::new(),
            awaited: Vec::new(),
        })
    }

    fn names(live: &Live) -> String {
        live.rules().set.rules.keys().map(|name| name.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn changed_files_are_taken_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("10.cf");
        let more = folder.path().join("20.cf");
        let included = folder.path().join("x.inc");
        // What is written, to which file; the rules then; a part of what is said of them.
        let table: [(&Path, &str, &str, &str); 9] = [
            (&file, "body A /a/\n", "A", "1 rules"),
            (&file, "body A /a/\nbody B /b/\n", "A B", "2 rules"),
            (&more, "body C /c(/\n", "A B", "20.cf:1"),
            (&more, "body C /c/\ninclude x.inc\n", "A B", "x.inc"),
            (&included, "body D /d/\n", "A B C D", "4 rules"),
            (&included, "body D /d/\nbody E /e/\n", "A B C D E", "5 rules"),
            (&file, "body A /a/\nno_such_setting 1\n", "A B C D E", "10.cf:2"),
            (&file, "", "C D E", "3 rules"),
            (&more, "", "", "0 rules"),
        ];
        fs::write(&file, "body Z /z/\n").unwrap();
        let live = live(folder.path()).unwrap();
        assert_eq!(names(&live), "Z");
        for (path, content, rules, told) in table {
            // Another size each time, so that a clock that stands still hides nothing.
            fs::write(path, content).unwrap();
            live.reload();
            assert_eq!(names(&live), rules, "{content}");
            let state = live.state().unwrap_or_else(|wrong| wrong);
            assert!(state.contains(told), "{content}: {state}");
        }
    }

    #[test]
    fn what_was_wrong_at_first_keeps_nothing_new_away() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("10.cf");
        fs::write(&file, "no_such_setting 1\nbody A /a/\nbody B /b(/\n").unwrap();
        let live = live(folder.path()).unwrap();
        assert!(names(&live).contains('A'));
        assert!(live.rules().mistakes.iter().any(|mistake| mistake.contains("10.cf:1:")));
        fs::write(&file, "# Moved by a line.\nno_such_setting 1\nbody A /a/\nbody B /b(/\nbody C /c/\n")
            .unwrap();
        live.reload();
        assert!(names(&live).contains('C'), "{:?}", live.state());
    }

    #[test]
    fn rules_of_a_channel_may_come_later() {
        let folder = tempfile::tempdir().unwrap();
        let (root, site) = (folder.path().join("rules"), folder.path().join("site"));
        fs::create_dir(&site).unwrap();
        fs::write(site.join("local.cf"), "body L /l/\n").unwrap();
        let config = |channel: &str| -> Config {
            let text = format!(
                "data = {:?}\n{channel}\n[checks.rules]\nnetwork = false\npaths = [{root:?}, {site:?}]\n",
                folder.path()
            );
            toml::from_str(&text).unwrap()
        };
        let why = Live::open(Source::of(&config(""))).err().unwrap();
        assert!(why.contains("rules: No such file"), "{why}");
        let source = Source::of(&config("[update.rules.channel.'a.example']\nunsigned = true"));
        assert_eq!(source.awaited, std::slice::from_ref(&root));
        let live = Live::open(source).unwrap();
        assert_eq!(names(&live), "L");
        assert!(live.state().unwrap().contains("none yet in"), "{:?}", live.state());

        // The folder comes first, then the file; a mistake in it is no reason to go without the others.
        fs::create_dir(&root).unwrap();
        live.reload();
        assert!(live.state().unwrap().contains("none yet in"), "{:?}", live.state());
        fs::write(root.join("a_example.cf"), "body A /a/\nbody B /(/\n").unwrap();
        live.reload();
        assert!(names(&live).starts_with("A") && names(&live).ends_with('L'), "{}", names(&live));
        assert!(!live.state().unwrap().contains("none yet"), "{:?}", live.state());

        // What was there and is gone is missed.
        fs::remove_dir_all(&root).unwrap();
        live.reload();
        assert!(names(&live).starts_with('A'), "{}", names(&live));
        assert!(live.state().unwrap_err().contains("No such file"));
    }

    #[test]
    fn one_source_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("10.cf"), "body A /a/\n").unwrap();
        let first = live(folder.path()).unwrap();
        let rules = first.rules();
        assert!(Arc::ptr_eq(&first, &live(folder.path()).unwrap()));
        assert!(Arc::ptr_eq(&rules, &first.rules()));
        drop((first, rules));
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(live(folder.path()).err().unwrap().contains(folder.path().to_str().unwrap()));
    }

    #[test]
    fn our_networks_are_trusted_unless_rules_say_which_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("10.cf");
        let ours = "198.51.100.0/24";
        let theirs = "192.0.2.0/24";
        for (content, trusted) in [("", ours), (&format!("trusted_networks {theirs}\n"), theirs)] {
            fs::write(&file, content).unwrap();
            let source = Source {
                paths: vec![folder.path().to_owned()],
                own: false,
                network: false,
                networks: vec![ours.into()],
                awaited: Vec::new(),
            };
            let rules = Live::open(source).unwrap().rules();
            let mut expected = Networks::loopback();
            expected.add(trusted).unwrap();
            assert_eq!(rules.texts.trusted_networks, Some(expected), "{content}");
        }
    }
}
