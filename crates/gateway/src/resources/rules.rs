//! Rules in SpamAssassin's language, from the folders they lie in to what evaluates them.

mod berkeley;
mod countries;
mod documents;
mod files;
mod text;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use gatepost_mail::{Limits as Reading, Message};

use gatepost_rules::conf::{Options, Reader, RuleSet};
use gatepost_rules::engine::{Engine, Limits, Outcome, ScoreSet};
use gatepost_rules::evals::{Known, Native, Patterns};
use gatepost_rules::own;
use gatepost_rules::subject::text_settings;
use gatepost_rules::texts::{Given, TextSettings, Texts};

pub use documents::documents;

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

/// Rules, ready to be evaluated.
pub struct Rules {
    /// As they were read.
    pub set: RuleSet,
    /// Made ready.
    pub engine: Engine,
    /// What they say about texts.
    pub texts: TextSettings,
    /// Expressions that functions were given.
    pub patterns: Patterns,
}

impl Rules {
    /// Reads files and folders in the order in which they count. Of all folders the .pre files come first, since they say
    /// which plugins there are; then the .cf files, each folder's by name. Without any, the rules of our own.
    ///
    /// Errors: a path that cannot be read, with its name. What is wrong inside a file is a warning of the rules.
    pub fn load(paths: &[PathBuf], network: bool) -> io::Result<Rules> {
        let mut files = Vec::new();
        for path in paths {
            files.extend(files_of(path)?);
        }
        let (first, then): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_named(file, "pre"));
        let mut reader = Reader::new(Options { local: !network, ..Options::default() });
        let mut include = |name: &str| fs::read(name).map_err(|error| error.to_string());
        if first.is_empty() {
            let line = |plugin: &&str| format!("loadplugin Mail::SpamAssassin::Plugin::{plugin}\n");
            let lines: String = PLUGINS.iter().map(line).collect();
            reader.read("built-in.pre", lines.as_bytes(), &mut include);
        }
        for file in first.iter().chain(&then) {
            let content = fs::read(file).map_err(|error| named(file, &error))?;
            reader.read(&file.to_string_lossy(), &content, &mut include);
        }
        if paths.is_empty() {
            own::FILES.iter().for_each(|(name, text)| reader.read(name, text.as_bytes(), &mut include));
        }
        let mut set = reader.finish();
        let mut texts = text_settings(&set.settings);
        let patterns = Patterns::with(files::read(&mut set, &mut texts, paths));
        let engine = Engine::new(&set, ScoreSet { net: network, bayes: false });
        // Whatever is compiled now takes nothing of the time that a mail has.
        engine.warm();
        Ok(Rules { set, engine, texts, patterns })
    }

    /// Reads a message as these rules want it: unpacked only where a plugin looks into documents. Where a worker does that,
    /// this is not for it.
    pub fn read(&self, raw: bytes::Bytes) -> Message {
        let limits = Reading::default();
        match self.texts.plugins.want_documents() {
            true => gatepost_unpack::read(raw, &limits),
            false => Message::read(raw, &mut gatepost_mail::Budget::new(&limits)),
        }
    }

    /// Evaluates all rules over a message. What plugins want of its attachments is taken out of its parts, which were unpacked
    /// by whoever has read it.
    pub fn evaluate(&self, message: &Message, given: Given, known: &Known, limits: Limits) -> Outcome {
        let mut given = given;
        if self.texts.plugins.want_documents() {
            given.documents = documents(message);
        }
        let texts = Texts::new(message, given, &self.texts);
        let evals = Native::new(&texts, self.engine.settings(), known, &self.patterns);
        self.engine.evaluate(&texts, &evals, limits)
    }
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
        if (is_named(&file, "cf") || is_named(&file, "pre")) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
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
}
