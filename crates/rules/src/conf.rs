//! Reads SpamAssassin's configuration: rules and settings, out of .cf and .pre files.
//!
//! The order counts: .pre files first, then those of the rules, then the site's, each folder's by name. Nothing that a file
//! says is an error of reading: what cannot be used is a `Warning` with file and line, and the rest counts.

mod condition;
mod define;
mod finish;
mod known;
mod settings;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::texts::HeaderRequest;

pub use known::{KNOWN, Kind};
pub(crate) use settings::SPOOFED;
pub use settings::{Network, Settings, Which};
pub use text::characters;

use settings::Refused;
use text::{first_word, trimmed};

/// How deep files may include each other.
const MAX_INCLUDES: u32 = 20;
/// The most files that are included.
const MAX_FILES: u32 = 10_000;
/// The longest configuration read, in bytes over all files.
const MAX_BYTES: usize = 256 * 1024 * 1024;
/// The most warnings kept; more are only counted.
const MAX_WARNINGS: usize = 10_000;

/// How files are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Lines behind `lang xx` count if this begins with xx: `en_US`, `de_DE`, `de`.
    pub language: String,
    /// What `local_tests_only` says: that no question is asked over the network.
    pub local: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { language: "en_US".into(), local: false }
    }
}

/// Something in a file that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file as it was named.
    pub file: String,
    /// Its line, from 1; 0: of no line.
    pub line: u32,
    /// The rule it is about.
    pub rule: Option<String>,
    /// Whether `spamassassin --lint` counts it as an error.
    pub error: bool,
    /// As SpamAssassin words it.
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Warning { file, line, message, .. } = self;
        if *line == 0 || message.contains(&format!("(line {line})")) {
            f.write_str(message)
        } else {
            write!(f, "{message} in {file} (line {line})")
        }
    }
}

/// All rules and settings of a site.
#[derive(Debug, Clone)]
pub struct RuleSet {
    /// By name.
    pub rules: BTreeMap<Box<str>, Rule>,
    /// All that is no rule.
    pub settings: Settings,
    /// Plugins that were loaded and are known, without `Mail::SpamAssassin::Plugin::`.
    pub plugins: HashSet<&'static str>,
    /// What is not as it should be.
    pub warnings: Vec<Warning>,
    /// How many warnings there were more than are kept.
    pub more_warnings: usize,
    /// Scores that were set for names without a rule: `rules_matching` finds them.
    pub scored: HashMap<Box<str>, [f64; 4]>,
    /// How they were read.
    pub options: Options,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub name: Box<str>,
    /// What it looks at.
    pub definition: Definition,
    /// Where it is defined.
    pub file: std::sync::Arc<str>,
    /// The line there.
    pub line: u32,
    /// Lower ones are evaluated first.
    pub priority: i64,
    /// Its flags.
    pub tflags: Vec<Box<str>>,
    /// Its points in the four sets: neither network nor Bayes, network, Bayes, both.
    pub scores: [f64; 4],
    /// Whether they were set, and are not the default.
    pub scored: bool,
    /// In words.
    pub description: Option<String>,
    /// What is put before the subject of mail that it hits.
    pub subject_prefix: Option<String>,
    /// `shortcircuit`.
    pub shortcircuit: Option<Shortcircuit>,
    /// Texts it must match, or must not (`test NAME ok|fail text`).
    pub tests: Vec<(bool, String)>,
}

impl Rule {
    /// Whether it has a flag.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.tflags.iter().any(|other| &**other == flag)
    }

    /// The value of a flag such as `maxhits=5`.
    pub fn flag_value(&self, flag: &str) -> Option<&str> {
        self.tflags.iter().find_map(|other| other.strip_prefix(flag)?.strip_prefix('='))
    }

    /// Whether it is only there for other rules: its name begins with `__`.
    pub fn is_subrule(&self) -> bool {
        self.name.starts_with("__")
    }
}

/// What `shortcircuit` says of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortcircuit {
    /// The rule's own score decides.
    On,
    /// It is spam.
    Spam,
    /// It is none.
    Ham,
}

/// An expression as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expression {
    /// What stands between the delimiters, tags replaced.
    pub inside: Box<[u8]>,
    /// The modifiers.
    pub modifiers: Box<[u8]>,
    /// Names in `%{NAME}`: the rule runs only if they have a value. They stand in `inside` as `%\{NAME\}`.
    pub templates: Vec<Box<str>>,
    /// Whether it has named groups that set tags.
    pub captures: bool,
}

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq)]
pub enum Definition {
    /// A field's value.
    Header {
        /// The field, and what of it.
        field: HeaderRequest,
        /// `!~`.
        negated: bool,
        /// `[if-unset: …]`.
        unset: Option<Box<[u8]>>,
        /// What it looks for.
        expression: Expression,
    },
    /// Whether a field is there.
    Exists(HeaderRequest),
    /// The rendered text.
    Body(Expression),
    /// The decoded text.
    RawBody(Expression),
    /// The whole message.
    Full(Expression),
    /// Each address of a page.
    Uri(Expression),
    /// A field of each MIME part.
    MimeHeader {
        /// The field.
        name: Box<str>,
        /// `:raw`.
        raw: bool,
        /// `!~`.
        negated: bool,
        /// `[if-unset: …]`; without it the empty text.
        unset: Box<[u8]>,
        /// What it looks for.
        expression: Expression,
    },
    /// Addresses of pages, by several properties at once.
    UriDetail(Vec<UriCondition>),
    /// A function.
    Eval {
        /// The kind of rule that calls it.
        place: Place,
        /// Its name.
        function: Box<str>,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// Other rules.
    Meta(Box<str>),
    /// Nothing by itself: something else says whether it hits (`reuse`, `askdns`).
    Empty,
}

/// One condition of a `uri_detail` rule.
#[derive(Debug, Clone, PartialEq)]
pub struct UriCondition {
    /// Which property.
    pub field: UriField,
    /// `!~`.
    pub negated: bool,
    /// What is looked for in it.
    pub expression: Expression,
}

/// A property of an address of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriField {
    /// As written.
    Raw,
    /// Where it was found.
    Type,
    /// Canonical forms.
    Cleaned,
    /// Texts of anchors.
    Text,
    /// Registered domains.
    Domain,
    /// Host names.
    Host,
}

/// The kind of rule that calls a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `header … eval:`.
    Header,
    /// `header … eval:check_rbl…`, asked over the network.
    Rbl,
    /// `body … eval:`.
    Body,
    /// `rawbody … eval:`.
    RawBody,
    /// `full … eval:`.
    Full,
}

/// An argument of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg(pub Box<[u8]>);

impl Arg {
    /// As characters.
    pub fn text(&self) -> String {
        characters(&self.0)
    }

    /// As a number, as Perl reads one: 0 if it is none.
    pub fn number(&self) -> f64 {
        let text = self.text();
        let text = text.trim_start();
        let length = text
            .char_indices()
            .take_while(|(at, c)| c.is_ascii_digit() || *c == '.' || *at == 0 && matches!(c, '-' | '+'))
            .count();
        text[..length].parse().unwrap_or(0.0)
    }
}

/// Hands in the bytes of a file that `include` names; the name is as written, or joined with the folder of the including
/// file. The error says why it cannot.
pub type Include<'a> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'a;

/// Reads files, one after the other.
#[derive(Debug)]
pub struct Reader {
    settings: Settings,
    options: Options,
    plugins: HashSet<&'static str>,
    modules: HashSet<String>,
    tests: HashMap<Box<str>, Test>,
    scores: HashMap<Box<str>, [f64; 4]>,
    tflags: HashMap<Box<str>, String>,
    priorities: HashMap<Box<str>, i64>,
    descriptions: HashMap<Box<str>, String>,
    prefixes: HashMap<Box<str>, String>,
    shortcircuits: HashMap<Box<str>, Shortcircuit>,
    regressions: HashMap<Box<str>, Vec<(bool, String)>>,
    replaced: HashSet<Box<str>>,
    /// Rules named by `reuse`.
    reused: HashSet<Box<str>>,
    warnings: Vec<Warning>,
    more_warnings: usize,
    conditions: HashMap<String, bool>,
    file: std::sync::Arc<str>,
    line: u32,
    /// Files that are being read, each included by the one before.
    open: Vec<std::sync::Arc<str>>,
    included: u32,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Test {
    definition: Definition,
    file: std::sync::Arc<str>,
    line: u32,
}

/// An open `if`.
struct If {
    kind: &'static str,
    line: u32,
    skipped_before: bool,
}

impl Reader {
    /// Nothing read yet.
    pub fn new(options: Options) -> Reader {
        Reader {
            settings: Settings::new(),
            options,
            plugins: HashSet::new(),
            modules: HashSet::new(),
            tests: HashMap::new(),
            scores: HashMap::new(),
            tflags: HashMap::new(),
            priorities: HashMap::new(),
            descriptions: HashMap::new(),
            prefixes: HashMap::new(),
            shortcircuits: HashMap::new(),
            regressions: HashMap::new(),
            replaced: HashSet::new(),
            reused: HashSet::new(),
            warnings: Vec::new(),
            more_warnings: 0,
            conditions: HashMap::new(),
            file: "".into(),
            line: 0,
            open: Vec::new(),
            included: 0,
            bytes: 0,
        }
    }

    /// Reads one file.
    pub fn read(&mut self, file: &str, content: &[u8], include: &mut Include<'_>) {
        self.read_file(file, content, include, 0);
    }

    fn read_file(&mut self, file: &str, content: &[u8], include: &mut Include<'_>, depth: u32) {
        let outer = (std::mem::replace(&mut self.file, file.into()), self.line);
        self.open.push(self.file.clone());
        self.line = 0;
        self.bytes = self.bytes.saturating_add(content.len());
        if self.bytes > MAX_BYTES {
            self.warn(None, true, format!("config: more than {MAX_BYTES} bytes; {file} is not read"));
        } else {
            self.lines(content, include, depth);
        }
        self.open.pop();
        (self.file, self.line) = outer;
    }

    fn lines(&mut self, content: &[u8], include: &mut Include<'_>, depth: u32) {
        let (mut open, mut skipped): (Vec<If>, bool) = (Vec::new(), false);
        for raw in content.split(|b| *b == b'\n') {
            self.line += 1;
            let line = self.without_comment(raw);
            let line = trimmed(&line);
            if line.is_empty() {
                continue;
            }
            let Some(line) = self.in_language(line) else { continue };
            let (key, value) = first_word(line);
            let key = characters(key).to_lowercase().replace('-', "_");
            let done = match key.as_str() {
                "if" | "ifplugin" | "else" | "endif" => {
                    self.conditional(&key, value, &mut open, &mut skipped)
                }
                "include" => self.include(value, include, depth),
                _ if skipped => continue,
                "require_version" => {
                    skipped = self.other_version(value);
                    Ok(())
                }
                _ => self.directive(&key, value),
            };
            if let Err(refused) = done {
                self.refuse(&key, line, refused);
            }
        }
        for If { kind, line, .. } in open {
            let message = format!("config: unclosed '{kind}' found in {} (line {line})", self.file);
            self.line = line;
            self.warn(None, true, message);
        }
    }

    /// What stands before a `#` that has no backslash before it; the line of a channel's version is noted.
    fn without_comment(&mut self, line: &[u8]) -> Vec<u8> {
        if let Some(version) = line.strip_prefix(b"# UPDATE version ") {
            let version = trimmed(version);
            if !version.is_empty() && version.iter().all(u8::is_ascii_digit) {
                self.settings.versions.insert(self.file.to_string(), characters(version));
            }
        }
        let mut kept = Vec::with_capacity(line.len());
        for &byte in line {
            match (byte, kept.last()) {
                (b'#', Some(b'\\')) => {
                    kept.pop();
                    kept.push(b'#');
                }
                (b'#', _) => break,
                _ => kept.push(byte),
            }
        }
        kept
    }

    /// What stands behind `lang xx`, if that is the language; the line itself without one.
    fn in_language<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        let (word, rest) = first_word(line);
        if word != b"lang" || rest.is_empty() {
            return Some(line);
        }
        let (language, rest) = first_word(rest);
        let ours = self.options.language.as_bytes().get(..language.len())?;
        (!rest.is_empty() && ours.eq_ignore_ascii_case(language)).then_some(rest)
    }

    fn conditional(
        &mut self,
        key: &str,
        value: &[u8],
        open: &mut Vec<If>,
        skipped: &mut bool,
    ) -> Result<(), Refused> {
        match key {
            "else" | "endif" if !value.is_empty() => {
                return Err(Refused::Because(format!("config: '{key}' must be standalone")));
            }
            "endif" => match open.pop() {
                Some(last) => *skipped = last.skipped_before,
                None => return Err(Refused::Because(format!("config: missing starting 'if' for '{key}'"))),
            },
            "else" => {
                if open.is_empty() {
                    return Err(Refused::Because(format!("config: '{key}' missing starting if")));
                }
                *skipped = open.iter().any(|one| one.skipped_before) || !*skipped;
            }
            _ if value.is_empty() => {
                return Err(Refused::Because(format!("config: missing '{key}' condition")));
            }
            _ => {
                let text = characters(value);
                let text = if key == "ifplugin" { format!("plugin ({text})") } else { text };
                let kind = if key == "if" { "if" } else { "ifplugin" };
                let holds = self.condition(&text)?;
                open.push(If { kind, line: self.line, skipped_before: *skipped });
                *skipped |= !holds;
            }
        }
        Ok(())
    }

    fn condition(&mut self, text: &str) -> Result<bool, Refused> {
        if let Some(&known) = self.conditions.get(text) {
            return Ok(known);
        }
        let world = condition::World {
            loaded: &|module| {
                self.modules.contains(module)
                    || known::plugin(module).is_some_and(|name| self.plugins.contains(name))
            },
            compat: &|flag| self.settings.compat.contains(flag),
            local: self.options.local,
        };
        let holds = match condition::holds(text, &world) {
            Ok(holds) => holds,
            Err(message) => {
                let message = format!("config: {message} in {} (line {})", self.file, self.line);
                self.warn(None, true, message);
                false
            }
        };
        self.conditions.insert(text.to_string(), holds);
        Ok(holds)
    }

    fn include(&mut self, value: &[u8], include: &mut Include<'_>, depth: u32) -> Result<(), Refused> {
        if value.is_empty() {
            return Err(Refused::Missing);
        }
        if depth >= MAX_INCLUDES {
            return Err(Refused::Because("config: files include each other too deep".into()));
        }
        let name = characters(value);
        let name = match self.file.rfind('/') {
            Some(end) if !name.starts_with('/') => format!("{}{name}", &self.file[..=end]),
            _ => name,
        };
        if self.open.iter().any(|file| **file == *name) {
            return Err(Refused::Because("config: files include each other".into()));
        }
        self.included += 1;
        if self.included > MAX_FILES {
            return Err(Refused::Because(format!("config: more than {MAX_FILES} files are included")));
        }
        match include(&name) {
            Ok(content) => {
                self.read_file(&name, &content, include, depth + 1);
                Ok(())
            }
            Err(why) => Err(Refused::Because(format!("config: cannot include '{name}': {why}"))),
        }
    }

    fn other_version(&mut self, value: &[u8]) -> bool {
        let version = characters(value);
        let same = version == "@@VERSION@@" || version.parse::<f64>().is_ok_and(|v| v == condition::VERSION);
        if !same {
            let message = format!(
                "config: configuration file '{}' requires version {version} of SpamAssassin, but this is code version \
                 {}. Maybe you need to use the -C switch, or remove the old config files? Skipping this file.",
                self.file,
                condition::VERSION
            );
            self.warn(None, true, message);
        }
        !same
    }

    fn directive(&mut self, key: &str, value: &[u8]) -> Result<(), Refused> {
        let setting = KNOWN.settings.get(key).and_then(|all| {
            all.iter().find(|one| one.plugin == "Conf" || self.plugins.contains(one.plugin)).cloned()
        });
        let Some(setting) = setting else { return self.of_plugin(key, value) };
        match self.define(setting.name, value) {
            Some(done) => done,
            None => self.settings.set(setting.name, setting.kind, value),
        }
    }

    /// Settings that plugins read on their own.
    fn of_plugin(&mut self, key: &str, value: &[u8]) -> Result<(), Refused> {
        let loaded = |name: &str| self.plugins.contains(name);
        let name =
            match key {
                "freemail_domains" if loaded("FreeMail") => "freemail_domains",
                "freemail_welcomelist" | "freemail_whitelist" if loaded("FreeMail") => "freemail_welcomelist",
                "extracttext_external" | "extracttext_use" if loaded("ExtractText") => {
                    if key.ends_with("use") { "extracttext_use" } else { "extracttext_external" }
                }
                _ if key.starts_with("bayes_stopword_") && loaded("Bayes") => "bayes_stopword",
                _ if key.starts_with("hashbl_acl_") && loaded("HashBL") => "hashbl_acl",
                _ => return Err(Refused::Because(String::new())),
            };
        if matches!(name, "bayes_stopword" | "hashbl_acl") {
            let rest = &key[name.len() + 1..];
            return self.settings.set(name, Kind::Own, format!("{rest} {}", characters(value)).as_bytes());
        }
        self.settings.set(name, Kind::Own, value)
    }

    fn refuse(&mut self, key: &str, line: &[u8], refused: Refused) {
        let (message, error) = match refused {
            Refused::Invalid => (format!("config: invalid '{key}' value"), true),
            Refused::Missing => (format!("config: missing '{key}' value"), true),
            Refused::Because(why) if !why.is_empty() => (why, true),
            Refused::Because(_) if key == "ok_languages" => {
                ("config: failed to parse line, now a plugin".to_string(), false)
            }
            Refused::Because(_) => ("config: failed to parse line".to_string(), true),
        };
        let message = format!("{message} in {} (line {}): {}", self.file, self.line, characters(line));
        self.warn(None, error, message);
    }

    fn warn(&mut self, rule: Option<&str>, error: bool, message: String) {
        if self.warnings.len() >= MAX_WARNINGS {
            self.more_warnings += 1;
            return;
        }
        let rule = rule.map(str::to_string);
        self.warnings.push(Warning { file: self.file.to_string(), line: self.line, rule, error, message });
    }
}
