//! Rules in SpamAssassin's language, from the folders they lie in to what evaluates them.

mod berkeley;
mod countries;
mod documents;
mod files;
mod live;
mod text;

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::{fs, io};

use gatepost_mail::{Budget, Limits, Message};
use gatepost_rules::conf::{Options, Reader, Rule, RuleSet};
use gatepost_rules::engine::{Engine, Problem, ScoreSet};
use gatepost_rules::evals::{Patterns, is_native};
use gatepost_rules::lint::Lint;
use gatepost_rules::net::Net;
use gatepost_rules::own;
use gatepost_rules::subject::text_settings;
use gatepost_rules::texts::{Given, TextSettings};

pub use live::{Live, Source};

/// Plugins that Debian's SpamAssassin 4.0 loads, for rules that come without a .pre file that says so.
const PLUGINS: &[&str] = &[
    "AskDNS",
    "AutoLearnThreshold",
    "Bayes",
    "BodyEval",
    "Check",
    "DKIM",
    "DMARC",
    "DNSEval",
    "FreeMail",
    "HTMLEval",
    "HTTPSMismatch",
    "HashBL",
    "HeaderEval",
    "ImageInfo",
    "MIMEEval",
    "MIMEHeader",
    "Pyzor",
    "Razor2",
    "RelayEval",
    "ReplaceTags",
    "SPF",
    "SpamCop",
    "URIDNSBL",
    "URIDetail",
    "URIEval",
    "VBounce",
    "WLBLEval",
    "WelcomeListSubject",
];

/// Names of files with their contents.
pub type Sources = Vec<(String, Vec<u8>)>;

/// Rules, ready to be evaluated.
pub struct Rules {
    /// As they were read.
    pub set: Arc<RuleSet>,
    /// Made ready.
    pub engine: Arc<Engine>,
    /// What they say about texts.
    pub texts: Arc<TextSettings>,
    /// Expressions that functions were given.
    pub patterns: Patterns,
    /// Rules whose expressions cannot be used, so that they never hit.
    pub broken: Arc<HashSet<Box<str>>>,
    /// What is wrong with them, with file and line, as far as SpamAssassin would call it an error.
    pub mistakes: Arc<[String]>,
    /// Those that ask the DNS; none without the network.
    pub net: Net,
    /// What rules put before the subject (`subjprefix`), by their names.
    pub prefixes: HashMap<Box<str>, String>,
    /// Files that `include` named, read or not.
    included: Vec<PathBuf>,
}

impl Rules {
    /// Reads rules as `sources` finds them. What is wrong inside a file is a warning of the rules.
    ///
    /// Errors: a path that cannot be read, with its name.
    pub fn load(paths: &[PathBuf], network: bool) -> io::Result<Rules> {
        let rules = Rules::load_with(paths, paths.is_empty(), network)?;
        if paths.is_empty() {
            // Whatever is compiled now takes nothing of the time that a mail has.
            rules.engine.warm();
        }
        Ok(rules)
    }

    /// The same, with the rules of our own before those of the files, or without. Those of our own alone are compiled only when
    /// they are tried, or by `Engine::warm`: for one message that is sooner.
    pub fn load_with(paths: &[PathBuf], own: bool, network: bool) -> io::Result<Rules> {
        let mut included = Vec::new();
        let (made, texts, patterns) = if paths.is_empty() && own {
            let made = Made::of_our_own(network).clone();
            let texts = text_settings(&made.set.settings);
            (made, texts, Patterns::default())
        } else {
            let mut set = read(paths, own, network, &mut included)?;
            let mut texts = text_settings(&set.settings);
            let files = files::read(&mut set, &mut texts, paths, &mut included);
            (Made::new(set, network), texts, Patterns::with(files))
        };
        let Made { set, engine, broken, mistakes } = made;
        let net = if network { Net::new(&set, engine.score_set()) } else { Net::default() };
        let texts = Arc::new(texts);
        let prefix = |rule: &Rule| Some((rule.name.clone(), rule.subject_prefix.clone()?));
        let prefixes = set.rules.values().filter_map(prefix).collect();
        Ok(Rules { set, engine, texts, patterns, broken, mistakes, net, prefixes, included })
    }

    /// Reads a message as these rules want it: unpacked only where a plugin looks into documents. The daemon, which unpacks in
    /// a worker, has no use for it.
    pub fn read(&self, raw: bytes::Bytes) -> Message {
        let limits = Limits { texts: self.most_text(), ..Limits::default() };
        match self.texts.plugins.want_documents() {
            true => gatepost_unpack::read(raw, &limits),
            false => Message::read(raw, &mut Budget::new(&limits)),
        }
    }

    /// Bytes of text of documents that plugins want of a message in all.
    pub fn most_text(&self) -> u64 {
        const MOST: u64 = 4 << 20;
        if self.texts.plugins.want_text() { MOST } else { 0 }
    }

    /// Hands plugins what they want of a message's attachments, as whoever has read it has unpacked them.
    pub fn look_into(&self, message: &Message, given: &mut Given) {
        if self.texts.plugins.want_documents() {
            given.documents = documents::documents(message);
        }
    }

    /// The score from which a mail counts as spam (`required_score`).
    pub fn required(&self) -> f64 {
        self.set.settings.number("required_score").unwrap_or(5.0)
    }
}

/// Reads the files; those that they include are noted.
fn read(paths: &[PathBuf], own: bool, network: bool, included: &mut Vec<PathBuf>) -> io::Result<RuleSet> {
    let mut reader = Reader::new(Options { local: !network, ..Options::default() });
    let mut include = |name: &str| {
        included.push(PathBuf::from(name));
        fs::read(name).map_err(|error| error.to_string())
    };
    for (name, content) in sources(paths, own)? {
        reader.read(&name, &content, &mut include);
    }
    Ok(reader.finish())
}

/// The names and contents of files and of those in folders, in the order in which they count. Of all folders the .pre files
/// come first, since they say which plugins there are; then the rules of our own, if they are to be there; then the .cf files,
/// each folder's by name.
///
/// Errors: a path that cannot be read, with its name.
pub fn sources(paths: &[PathBuf], own: bool) -> io::Result<Sources> {
    let (mut sources, then) = plugins_of(paths)?;
    if own {
        sources.extend(own::FILES.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())));
    }
    for file in &then {
        sources.push(content(file)?);
    }
    Ok(sources)
}

/// The .pre files of all paths with their contents, or what stands for them where there is none; then the other files.
fn plugins_of(paths: &[PathBuf]) -> io::Result<(Sources, Vec<PathBuf>)> {
    let mut files = Vec::new();
    for path in paths {
        files.extend(files_of(path)?);
    }
    let (first, then): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_named(file, "pre"));
    let first = match first.is_empty() {
        true => vec![("built-in.pre".to_owned(), plugins().into_bytes())],
        false => first.iter().map(|file| content(file)).collect::<io::Result<_>>()?,
    };
    Ok((first, then))
}

fn content(file: &Path) -> io::Result<(String, Vec<u8>)> {
    let content = fs::read(file).map_err(|error| named(file, &error))?;
    Ok((file.to_string_lossy().into_owned(), content))
}

/// What is made of rules once they are read.
#[derive(Clone)]
struct Made {
    set: Arc<RuleSet>,
    engine: Arc<Engine>,
    broken: Arc<HashSet<Box<str>>>,
    mistakes: Arc<[String]>,
}

impl Made {
    fn new(set: RuleSet, network: bool) -> Made {
        let engine = Engine::new(&set, ScoreSet { net: network, bayes: false });
        // What cannot be compiled shows now, and takes nothing of the time that a mail has.
        let broken = engine.warm();
        let mistakes = mistakes(&set, &engine, &broken).into();
        let broken = broken.into_iter().map(|problem| problem.rule.into()).collect();
        Made { set: Arc::new(set), engine: Arc::new(engine), broken: Arc::new(broken), mistakes }
    }

    /// Those of our own alone, which never change.
    fn of_our_own(network: bool) -> &'static Made {
        static MADE: [OnceLock<Made>; 2] = [const { OnceLock::new() }; 2];
        MADE[usize::from(network)].get_or_init(|| {
            let set =
                read(&[], true, network, &mut Vec::new()).expect("no file is read that may not be there");
            let engine = Engine::new(&set, ScoreSet { net: network, bayes: false });
            let (broken, mistakes) = (Default::default(), [].into());
            Made { set: Arc::new(set), engine: Arc::new(engine), broken, mistakes }
        })
    }
}

/// Most mistakes that are told one by one.
const MAX_MISTAKES: usize = 1000;

fn mistakes(set: &RuleSet, engine: &Engine, broken: &[Problem]) -> Vec<String> {
    let place = |problem: &Problem| match set.rules.get(problem.rule.as_str()) {
        Some(rule) => format!("{}:{}: ", rule.file, rule.line),
        None => String::new(),
    };
    let read = set.warnings.iter().filter(|warning| warning.error).map(|warning| match warning.line {
        0 => warning.message.clone(),
        line => format!("{}:{line}: {}", warning.file, warning.message),
    });
    let made = engine.problems().iter().chain(broken);
    let made = made.map(|problem| format!("{}{}: {}", place(problem), problem.rule, problem.message));
    read.chain(made).take(MAX_MISTAKES).collect()
}

/// What `--lint` says of files that are on no disk yet, by names without folders, in the order in which they count. They
/// stand alone, as sa-update tries them: after the .pre files of a site, and including nothing but each other.
pub fn lint(site: &[PathBuf], files: &[(&str, &[u8])]) -> io::Result<Lint> {
    let mut reader = Reader::new(Options { local: true, ..Options::default() });
    let mut include = |name: &str| fs::read(name).map_err(|error| error.to_string());
    for (name, content) in plugins_of(site)?.0 {
        reader.read(&name, &content, &mut include);
    }
    let mut include = |name: &str| {
        let file = files.iter().find(|(own, _)| *own == name);
        file.map(|(_, content)| content.to_vec()).ok_or_else(|| "it is none of the same folder".to_owned())
    };
    for (name, content) in files {
        reader.read(name, content, &mut include);
    }
    let set = reader.finish();
    let engine = Engine::new(&set, ScoreSet { net: false, bayes: false });
    Ok(Lint::of(&set, &engine, &is_native))
}

/// Lines that load what Debian's SpamAssassin loads.
fn plugins() -> String {
    PLUGINS.iter().map(|plugin| format!("loadplugin Mail::SpamAssassin::Plugin::{plugin}\n")).collect()
}

/// Reads a file that is no larger than that, in bytes.
fn read_bounded(file: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(file)?.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok(content)
}

/// A file itself; of a folder those that SpamAssassin reads, by name.
fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path).map_err(|error| named(path, &error))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| named(path, &error))? {
        let file = entry.map_err(|error| named(path, &error))?.path();
        if is_rules(&file) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file is one of rules by its name.
pub fn is_rules(file: &Path) -> bool {
    is_named(file, "cf") || is_named(file, "pre")
}

fn is_named(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|own| own == extension)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_known_before_rules_ask_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let asks = "ifplugin Mail::SpamAssassin::Plugin::TextCat\nbody A /a/\nendif\nbody B /b/\nscore B 3\n";
        fs::write(folder.path().join("10_a.cf"), asks).unwrap();
        fs::write(folder.path().join("20_b.cf"), "score B 4\n").unwrap();
        fs::write(folder.path().join("README"), "body C /c/\n").unwrap();
        let paths = [folder.path().to_owned(), other.path().to_owned()];
        let names = |rules: &Rules| rules.set.rules.keys().map(|name| name.to_string()).collect::<Vec<_>>();

        let rules = Rules::load(&paths, false).unwrap();
        assert_eq!(names(&rules), ["B"]);
        assert_eq!(rules.set.rules["B"].scores, [4.0; 4]);

        // In the last folder, and yet before all rules.
        let pre = "loadplugin Mail::SpamAssassin::Plugin::TextCat\n";
        fs::write(other.path().join("v400.pre"), pre).unwrap();
        assert_eq!(names(&Rules::load(&paths, false).unwrap()), ["A", "B"]);

        let error = Rules::load(&[folder.path().join("nowhere")], false).err().unwrap();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
    #[test]
    fn files_are_tried_before_they_are_written() {
        let said = |site: &[PathBuf], files: &[(&str, &[u8])]| {
            let lint = lint(site, files).unwrap();
            let text: Vec<String> = lint.warnings.iter().map(ToString::to_string).collect();
            (lint.errors, text.join("\n"))
        };
        let good: (&str, &[u8]) = ("10_a.cf", b"body A /a/\nscore A 1\n");
        assert_eq!(said(&[], &[good]), (0, String::new()));
        assert_eq!(said(&[], &[good, ("b.cf", b"include 10_a.cf\n")]).0, 0);
        let (errors, text) = said(&[], &[good, ("b.cf", b"include /etc/passwd\n")]);
        assert!(errors == 1 && text.contains("none of the same folder"), "{text}");
        let (errors, text) = said(&[], &[("b.cf", b"body B /(/\n")]);
        assert!(errors > 0 && text.contains("b.cf"), "{text}");
        let site = tempfile::tempdir().unwrap();
        fs::write(site.path().join("a.pre"), "nonsense here\n").unwrap();
        fs::write(site.path().join("a.cf"), "nonsense there\n").unwrap();
        let (errors, text) = said(&[site.path().to_owned()], &[]);
        assert!(errors == 1 && text.contains("a.pre") && !text.contains("a.cf"), "{text}");
    }
}
