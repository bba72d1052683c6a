//! Files that rules name, or that lie beside them: models of languages, feeds, tables, countries.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatepost_rules::conf::{Definition, RuleSet, Warning};
use gatepost_rules::evals::{ACCESS_FUNCTION, Access, Feed, Files};
use gatepost_rules::texts::{Countries as _, Models, TextSettings};

use super::countries::Databases;
use super::{berkeley, read_bounded};

/// Where SpamAssassin's models of languages lie, if not beside the rules.
const LANGUAGES: &str = "/usr/share/spamassassin/languages";
/// The largest file of each kind, in bytes.
const LARGEST_MODELS: u64 = 16 << 20;
const LARGEST_FEED: u64 = 256 << 20;
const LARGEST_TABLE: u64 = 256 << 20;

/// Reads what the loaded plugins need, and notes the files in `named`. One that cannot be read is a warning of the rules: what
/// asks it finds nothing.
pub fn read(
    set: &mut RuleSet,
    texts: &mut TextSettings,
    paths: &[PathBuf],
    named: &mut Vec<PathBuf>,
) -> Files {
    let mut files = Files::default();
    let mut warnings = Vec::new();
    if set.plugins.contains("TextCat") {
        let file = models(paths);
        named.push(file.clone());
        match read_bounded(&file, LARGEST_MODELS).map(|text| Models::read(&text)) {
            Ok(models) => texts.plugins.languages(&set.settings, Arc::new(models)),
            Err(why) => {
                warnings.push(format!("textcat: cannot open languages file {}: {why}", file.display()));
            }
        }
    }
    let relays = set.plugins.contains("RelayCountry");
    let wanted = (relays || texts.plugins.blocks().want_countries(), texts.plugins.blocks().want_providers());
    let places = Arc::new(Databases::read(&set.settings, wanted, named, &mut warnings));
    if !places.is_empty() {
        texts.plugins.places(places.clone());
    }
    if relays && places.know_countries() {
        texts.plugins.countries(places);
    }
    if set.plugins.contains("Phishing") {
        for (feed, setting) in Feed::ALL {
            let Some(file) = set.settings.get(setting) else { continue };
            named.push(file.into());
            match read_bounded(Path::new(file), LARGEST_FEED) {
                Ok(text) => files.phishing.add(feed, &text, &set.settings, &texts.registry),
                Err(error) => warnings.push(format!("phishing: {setting} {file}: {error}")),
            }
        }
    }
    for name in tables(set) {
        named.push(PathBuf::from(&name));
        match table(&name) {
            Ok(table) => {
                files.access.insert(name, table);
            }
            Err(error) => warnings.push(format!("accessdb: {name}: {error}")),
        }
    }
    let told = |message| Warning { file: String::new(), line: 0, rule: None, error: false, message };
    set.warnings.extend(warnings.into_iter().map(told));
    files
}

/// The file `languages` of the first folder that has one.
fn models(paths: &[PathBuf]) -> PathBuf {
    let mut beside = paths.iter().map(|path| path.join("languages"));
    beside.find(|file| file.is_file()).unwrap_or_else(|| LANGUAGES.into())
}

/// The files that rules of AccessDB ask, each once.
fn tables(set: &RuleSet) -> Vec<String> {
    let name = |definition: &Definition| match definition {
        Definition::Eval { function, args, .. } if **function == *ACCESS_FUNCTION => {
            args.first().map(|file| file.text())
        }
        _ => None,
    };
    let mut names: Vec<String> = set.rules.values().filter_map(|rule| name(&rule.definition)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A file of Berkeley DB, or text as one is made of: key, white space, value.
fn table(name: &str) -> std::io::Result<Access> {
    let content = read_bounded(Path::new(name), LARGEST_TABLE)?;
    if let Some(table) = berkeley::read(&content) {
        return Ok(table);
    }
    let text = String::from_utf8_lossy(&content);
    let entry = |line: &str| {
        let (key, value) = line.trim().split_once(char::is_whitespace)?;
        (!key.starts_with('#')).then(|| (key.as_bytes().to_vec(), value.trim().as_bytes().to_vec()))
    };
    Ok(text.lines().filter_map(entry).collect())
}
