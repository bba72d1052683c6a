//! Rules in SpamAssassin's language from update channels, as sa-update fetches them.
//!
//! A channel goes this way: the number of its newest rules, which its zone tells; its list of mirrors; from one of them the
//! archive, with checksum and signature; lint over what it holds; and the place (`place.rs`). Whatever fails on that way
//! leaves what is installed as it is.

mod archive;
pub mod keyring;
mod mirrors;
pub mod place;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatepost_mail::Points;
use sha2::{Digest, Sha256, Sha512};

use super::{Unable, blocking, date, hex, lock};
use crate::config::Config;
use crate::config::rule_channels::{self, SPAMASSASSIN, is_channel};
use crate::resources::dns::{Dns, DnsError, Resolve};
use crate::resources::fetch::{Fetched, Fetcher};
use crate::resources::openpgp::Keys;
use crate::resources::rules;
pub use archive::Scores;

use archive::Files;
use mirrors::Mirror;
use place::{Place, in_order, leading_number};

/// Mirrors that are tried for one archive.
const TRIED: usize = 10;

/// Warnings that are told of what does not pass lint.
const TOLD: usize = 3;

/// Fetches channels.
pub struct Channels {
    list: Vec<Channel>,
    root: PathBuf,
    keyring: PathBuf,
    key_ids: Vec<String>,
    /// SpamAssassin's, whose rules are asked for.
    version: [u16; 3],
    /// Where else rules are: their .pre files come before a channel's rules.
    site: Vec<PathBuf>,
    fetcher: Fetcher,
    dns: Dns,
}

struct Channel {
    name: String,
    key_file: Option<PathBuf>,
    unsigned: bool,
    scores: Scores,
}

/// What is asked for beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Only these channels, whether they are configured or not. Empty: those that are, or else SpamAssassin's own.
    pub channels: Vec<String>,
    /// Where to install, instead of `update.rules.folder`.
    pub folder: Option<PathBuf>,
    /// Where imported keys are, instead of `update.rules.keyring`.
    pub keyring: Option<PathBuf>,
    /// Keys that may sign any of the channels, by their ids.
    pub key_ids: Vec<String>,
    /// No signature is needed, unless `key_ids` names some.
    pub unsigned: bool,
    /// How points of rules are changed, instead of what is configured.
    pub scores: Scores,
}

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// Only whether there is something new.
    pub check_only: bool,
    /// Fetch the list of mirrors even if it is fresh.
    pub refresh_mirrors: bool,
    /// This mirror alone.
    pub mirror: Option<String>,
    /// This archive instead of a channel's newest.
    pub install: Option<PathBuf>,
}

/// What came of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A version was installed, or would be.
    New {
        /// The one before.
        before: Option<u64>,
        /// Its number.
        number: u64,
        /// What it holds, and who signed it.
        what: String,
        /// What went wrong on the way: mirrors that failed.
        notes: Vec<String>,
    },
    /// Nothing has changed.
    Same,
    /// Why nothing was installed; what was there still is.
    Failed(String),
    /// The .pre files of this site do not pass lint, so nothing can be tried.
    Site(String),
}

/// What ends the work on a channel.
enum Trouble {
    Channel(String),
    Site(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Trouble {
        Trouble::Channel(why)
    }
}

/// An archive that is what its channel published.
struct Good {
    content: Vec<u8>,
    by: String,
    /// Seconds since 1970.
    signed: Option<u64>,
}

impl Channels {
    /// For the channels of a configuration, or others. The error names the key or the channel.
    pub fn build(config: &Config, asked: &Asked) -> Result<Channels, String> {
        let rules = &config.update.rules;
        let names = match (asked.channels.is_empty(), rules.channel.is_empty()) {
            (false, _) => asked.channels.clone(),
            (true, false) => rules.channel.keys().cloned().collect(),
            (true, true) => vec![SPAMASSASSIN.to_owned()],
        };
        if let Some(wrong) = names.iter().find(|name| !is_channel(name)) {
            return Err(format!("“{}” is no channel's name", crate::records::text::clean(wrong, 80)));
        }
        let list = names.into_iter().map(|name| {
            let own = rules.channel.get(&name).cloned().unwrap_or_default();
            let unsigned = asked.key_ids.is_empty() && (asked.unsigned || own.unsigned);
            let scores = Scores {
                multiplier: asked.scores.multiplier.or(own.score_multiplier.map(Points::as_f64)),
                limit: asked.scores.limit.or(own.score_limit.map(Points::as_f64)),
            };
            Channel { name, key_file: own.openpgp_key, unsigned, scores }
        });
        let dns = Dns::build(&config.checks.dns).map_err(|problems| {
            let told = problems.iter().map(|problem| format!("{} {}", problem.key, problem.message));
            told.collect::<Vec<_>>().join("; ")
        })?;
        let root = asked.folder.clone().unwrap_or_else(|| rules.folder(&config.data));
        let site = config.checks.rules.paths.iter().filter(|path| !path.starts_with(&root) && path.exists());
        Ok(Channels {
            list: list.collect(),
            site: site.cloned().collect(),
            root,
            keyring: asked.keyring.clone().unwrap_or_else(|| rules.keyring(&config.data)),
            key_ids: asked.key_ids.clone(),
            version: rules.numbers().ok_or("update.rules.version is no version such as 4.0.1")?,
            fetcher: Fetcher::new(&config.update)?,
            dns,
        })
    }

    /// The names of its channels.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|channel| channel.name.as_str())
    }

    /// Goes through the channels, one after the other; `tell` hears of each.
    pub async fn round(
        &self,
        manner: &Manner,
        mut tell: impl FnMut(&str, &Outcome),
    ) -> Result<Vec<Outcome>, Unable> {
        let _lock = if manner.check_only { None } else { Some(lock(&self.root)?) };
        let mut outcomes = Vec::new();
        for channel in &self.list {
            let outcome = self.update(channel, manner).await.unwrap_or_else(|why| match why {
                Trouble::Channel(why) => Outcome::Failed(why),
                Trouble::Site(why) => Outcome::Site(why),
            });
            tell(&channel.name, &outcome);
            let is_site = matches!(outcome, Outcome::Site(_));
            outcomes.push(outcome);
            if is_site {
                break;
            }
        }
        Ok(outcomes)
    }

    async fn update(&self, channel: &Channel, manner: &Manner) -> Result<Outcome, Trouble> {
        let place = Place::new(&self.root, &channel.name);
        let here = place.clone();
        let known = blocking(move || here.installed()).await?;
        let before = known.as_ref().map(|known| known.now.number);
        let number = match &manner.install {
            Some(path) => number_of(path)?,
            None => match self.latest(&channel.name).await? {
                Some(number) if known.as_ref().is_none_or(|known| known.newest() < number) => number,
                _ => return Ok(Outcome::Same),
            },
        };
        let mut notes = Vec::new();
        if manner.check_only {
            return Ok(Outcome::New { before, number, what: String::new(), notes });
        }
        self.try_site().await?;
        let keys = self.keys(channel).await?;
        let good = match &manner.install {
            Some(path) => self.archive(&file_url(path)?, &keys).await?,
            None => self.fetch(channel, &place, number, &keys, manner, &mut notes).await?,
        };
        // Whoever shows us an old archive under a new number has no new signature for it.
        let newest = known.and_then(|known| known.signed).filter(|_| manner.install.is_none());
        if let (Some(signed), Some(newest)) = (good.signed, newest)
            && signed < newest
        {
            let (signed, newest) = (date(signed), date(newest));
            return Err(format!("signed on {signed}, before what is installed ({newest})").into());
        }
        let (site, version, scores) = (self.site.clone(), self.version, channel.scores);
        let [major, minor, patch] = version;
        let version = format!("{major}.{minor:03}{patch:03}");
        let what = blocking(move || {
            let mut files = archive::prepare(archive::read(&good.content)?, &version);
            scores.adjust(&mut files);
            let rules = try_out(&site, &files)?;
            place.install(number, &files, good.signed)?;
            Ok(format!("{rules} rules, {}", good.by))
        });
        Ok(Outcome::New { before, number, what: what.await?, notes })
    }

    /// The number of a channel's newest rules; None: there are none for this version.
    async fn latest(&self, channel: &str) -> Result<Option<u64>, String> {
        let [major, minor, patch] = self.version;
        let name = format!("{patch}.{minor}.{major}.{channel}");
        match self.dns.txt(&name).await {
            Ok(texts) => {
                if let Some(number) = leading_number(&texts.join(" ")) {
                    return Ok(Some(number));
                }
            }
            Err(why) if !why.is_nothing() => return Err(format!("{name}: {why}")),
            Err(_) => {}
        }
        // A channel without rules for this version has mirrors all the same.
        self.lists_of_mirrors(channel).await.map(|_| None)
    }

    async fn lists_of_mirrors(&self, channel: &str) -> Result<Vec<String>, String> {
        let name = format!("mirrors.{channel}");
        let texts = self.dns.txt(&name).await.map_err(|why| match why {
            DnsError::NoName | DnsError::NoData => {
                format!("there is no channel {channel}: no TXT record {name}")
            }
            why => format!("{name}: {why}"),
        })?;
        let urls: Vec<String> = texts.into_iter().filter(|text| mirrors::is_http(text)).collect();
        if urls.is_empty() { Err(format!("{name} names no URL of a list of mirrors")) } else { Ok(urls) }
    }

    /// Whether the .pre files of this site are in order: before them nothing can be tried.
    async fn try_site(&self) -> Result<(), Trouble> {
        let site = self.site.clone();
        let tried = blocking(move || try_out(&site, &Files::new())).await;
        tried.map(drop).map_err(Trouble::Site)
    }

    /// Who may sign a channel; None: nobody need.
    async fn keys(&self, channel: &Channel) -> Result<Option<Arc<Keys>>, String> {
        if channel.unsigned {
            return Ok(None);
        }
        let (file, is_own) = (channel.key_file.clone(), channel.name == SPAMASSASSIN);
        let (ids, keyring) = (self.key_ids.clone(), self.keyring.clone());
        let keys = blocking(move || {
            let pinned = match file {
                Some(file) => Keys::read(&file)?,
                None if is_own => keyring::spamassassin()?,
                None => Keys::default(),
            };
            let named = match ids.is_empty() {
                true => Keys::default(),
                false => keyring::load(&keyring)?.and(keyring::spamassassin()?).named(&ids),
            };
            Ok(pinned.and(named))
        });
        let keys = keys.await?;
        if keys.is_empty() {
            let why = match self.key_ids.is_empty() {
                true => {
                    "no key is trusted for it: set its openpgp_key, or --import its key and name it by --gpgkey"
                }
                false => "no imported key has such an id: --import it first",
            };
            return Err(why.into());
        }
        Ok(Some(Arc::new(keys)))
    }

    /// The archive, from the first mirror that has a good one.
    async fn fetch(
        &self,
        channel: &Channel,
        place: &Place,
        number: u64,
        keys: &Option<Arc<Keys>>,
        manner: &Manner,
        notes: &mut Vec<String>,
    ) -> Result<Good, String> {
        let mirrors = match &manner.mirror {
            Some(url) => vec![Mirror { url: url.trim_end_matches('/').to_owned(), weight: 1 }],
            None => self.mirrors(&channel.name, place, manner.refresh_mirrors, notes).await?,
        };
        for mirror in mirrors::order(mirrors, mirrors::random).into_iter().take(TRIED) {
            match self.archive(&format!("{mirror}/{number}.tar.gz"), keys).await {
                Ok(good) => return Ok(good),
                Err(why) => notes.push(why),
            }
        }
        Err(format!("no mirror has a good archive: {}", notes.join("; ")))
    }

    /// A channel's mirrors, from the list that is kept, or from a fresh one.
    async fn mirrors(
        &self,
        channel: &str,
        place: &Place,
        refresh: bool,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Mirror>, String> {
        let here = place.clone();
        let known = blocking(move || Ok(here.mirrors())).await?;
        let known = known.map(|(text, is_old)| (mirrors::read(&text), is_old));
        let known = known.filter(|(list, _)| !list.is_empty());
        if let Some((list, false)) = &known
            && !refresh
        {
            return Ok(list.clone());
        }
        match (self.fetch_mirrors(channel, place, notes).await, known) {
            (Ok(list), _) => Ok(list),
            (Err(why), Some((list, _))) => {
                notes.push(format!("the old list of mirrors is used: {why}"));
                Ok(list)
            }
            (Err(why), None) => Err(why),
        }
    }

    async fn fetch_mirrors(
        &self,
        channel: &str,
        place: &Place,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Mirror>, String> {
        let lists = self.lists_of_mirrors(channel).await?.into_iter();
        let lists = lists.map(|url| Mirror { url, weight: 1 }).collect();
        let mut why = Vec::new();
        for url in mirrors::order(lists, mirrors::random).into_iter().take(TRIED) {
            let text = match self.fetcher.fetch_small(&url).await {
                Ok(text) => text,
                Err(reason) => {
                    why.push(reason);
                    continue;
                }
            };
            let list = mirrors::read(&String::from_utf8_lossy(&text));
            if list.is_empty() {
                why.push(format!("{url}: names no mirror"));
                continue;
            }
            let here = place.clone();
            if let Err(reason) = blocking(move || here.keep_mirrors(&text)).await {
                notes.push(reason);
            }
            return Ok(list);
        }
        Err(why.join("; "))
    }

    /// One archive, verified: by its signature if somebody has to have signed it, and by its checksum as far as there is one.
    async fn archive(&self, url: &str, keys: &Option<Arc<Keys>>) -> Result<Good, String> {
        let Fetched::New(file) = self.fetcher.fetch(url, None).await? else {
            return Err(format!("{url}: the server answers a question that was not asked"));
        };
        let signature = match keys {
            Some(_) => Some(self.fetcher.fetch_small(&format!("{url}.asc")).await?),
            None => None,
        };
        let sum = match self.fetcher.fetch_small(&format!("{url}.sha512")).await {
            Ok(sum) => Some((Sum::Sha512, sum)),
            Err(_) => match self.fetcher.fetch_small(&format!("{url}.sha256")).await {
                Ok(sum) => Some((Sum::Sha256, sum)),
                // Its signature says more.
                Err(_) if signature.is_some() => None,
                Err(why) => return Err(why),
            },
        };
        let keys = keys.clone();
        let verified = blocking(move || {
            if let Some((kind, sum)) = sum {
                kind.check(&file.content, &sum)?;
            }
            let (Some(keys), Some(signature)) = (keys, signature) else {
                return Ok(Good { content: file.content, by: "not signed".into(), signed: None });
            };
            let signed = keys.verify(&file.content, &signature)?;
            let by = format!("signed by {} on {}", signed.by.to_ascii_uppercase(), date(signed.at));
            Ok(Good { content: file.content, by, signed: Some(signed.at) })
        });
        verified.await.map_err(|why| format!("{url}: {why}"))
    }
}

/// A kind of checksum.
#[derive(Clone, Copy, Debug)]
enum Sum {
    Sha256,
    Sha512,
}

impl Sum {
    /// Whether a content has the checksum that a file begins with.
    fn check(self, content: &[u8], file: &[u8]) -> Result<(), String> {
        let (name, found) = match self {
            Sum::Sha256 => ("SHA-256", hex(&Sha256::digest(content))),
            Sum::Sha512 => ("SHA-512", hex(&Sha512::digest(content))),
        };
        let text = String::from_utf8_lossy(file);
        let expected = text.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default();
        match expected.eq_ignore_ascii_case(&found) {
            true => Ok(()),
            false if expected.len() == found.len() => {
                Err(format!("its {name} is {found}, and should be {expected}"))
            }
            false => Err(format!("its file of the {name} holds none")),
        }
    }
}

/// For each channel of a configuration: whether its keys can be used, and which version is installed; blocks.
pub fn check(config: &Config) -> Vec<(String, Result<Option<u64>, String>)> {
    let root = config.update.rules.folder(&config.data);
    let state = |(name, channel): (&String, &rule_channels::Channel)| {
        let keys = channel.openpgp_key.as_deref().map_or(Ok(()), |file| Keys::read(file).map(drop));
        let installed = keys.and_then(|()| Place::new(&root, name).installed());
        (name.clone(), installed.map(|installed| installed.map(|installed| installed.now.number)))
    };
    config.update.rules.channel.iter().map(state).collect()
}

/// Lets the version of a channel count that was there before; what counts then, or None where none was before; blocks.
pub fn roll_back(root: &Path, channel: &str) -> Result<Option<place::Installed>, Unable> {
    let _lock = lock(root)?;
    Place::new(root, channel).roll_back().map_err(Unable::Folder)
}

/// How many rules pass lint, or why not.
fn try_out(site: &[PathBuf], files: &Files) -> Result<usize, String> {
    let names = in_order(files.keys().map(String::as_str));
    let in_order: Vec<(&str, &[u8])> =
        names.filter_map(|name| Some((name, files.get(name)?.as_slice()))).collect();
    let lint = rules::lint(site, &in_order).map_err(|why| why.to_string())?;
    if lint.is_clean() {
        return Ok(lint.kinds.values().sum());
    }
    let wrong = lint.warnings.iter().filter(|warning| warning.error).take(TOLD);
    let wrong: Vec<String> = wrong.map(ToString::to_string).collect();
    Err(format!("lint finds {} errors: {}", lint.errors, wrong.join("; ")))
}

/// The version in an archive's name: its last number of three digits or more.
fn number_of(path: &Path) -> Result<u64, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut numbers = name.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() >= 3);
    let number = numbers.next_back().and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("{}: holds no version, three digits or more, in its name", path.display()))
}

fn file_url(path: &Path) -> Result<String, String> {
    let wrong = || format!("{}: no path of a file", path.display());
    let path = std::path::absolute(path).map_err(|_| wrong())?;
    url::Url::from_file_path(&path).map(String::from).map_err(|()| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_names() {
        for (name, expected) in [
            ("1907730.tar.gz", Some(1_907_730)),
            ("/tmp/2024/foo-34958.tgz", Some(34_958)),
            ("rules-4.0.1-1907730.tar.gz", Some(1_907_730)),
            ("1907730-12.tar.gz", Some(1_907_730)),
            ("/tmp/2024/rules-12.tar.gz", None),
            ("99999999999999999999999.tar.gz", None),
        ] {
            assert_eq!(number_of(Path::new(name)).ok(), expected, "{name}");
        }
    }

    #[test]
    fn checksums() {
        let sum = hex(&Sha256::digest(b"x"));
        for (text, expected) in [
            (format!("{sum}  1.tar.gz\n"), ""),
            (format!("{}\n", sum.to_uppercase()), ""),
            (sum.replace('2', "3"), "and should be"),
            (format!("{sum}0"), "holds none"),
            (format!(" {sum}"), "holds none"),
            ("<html>".to_owned(), "holds none"),
        ] {
            let why = Sum::Sha256.check(b"x", text.as_bytes()).err().unwrap_or_default();
            assert!(
                if expected.is_empty() { why.is_empty() } else { why.contains(expected) },
                "{text}: {why}"
            );
        }
        assert!(Sum::Sha512.check(b"x", hex(&Sha512::digest(b"x")).as_bytes()).is_ok());
    }

    #[test]
    fn what_does_not_pass_lint_is_told() {
        let files = |text: &str| Files::from([("10_a.cf".to_owned(), text.as_bytes().to_vec())]);
        assert_eq!(try_out(&[], &files("body A /a/\nheader B X =~ /b/\n")), Ok(2));
        let why = try_out(&[], &files("body A /(/\nnonsense here\n")).unwrap_err();
        assert!(why.starts_with("lint finds ") && why.contains("nonsense"), "{why}");
        assert_eq!(try_out(&[], &Files::new()), Ok(0));
    }
}
