//! Own rules: conditions over one part, all of which must hold.

use gatepost_mail::{FileKind, FileType, Part, PartId};
use pcre2::bytes::RegexBuilder as PerlBuilder;
use regex::{Regex, RegexBuilder};

use super::facts::{Facts, Name};
use crate::config::Problem;
use crate::config::typed::AttachmentRule;
use crate::resources::maps::compiled;

/// An expression of Perl's kind. It may look around and back, so matching takes a bounded number of steps; beyond it nobody
/// knows what it would have said.
pub(super) type Perl = pcre2::bytes::Regex;

/// An own rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub name: String,
    pub report: String,
    pub action: Action,
    filename: Option<Regex>,
    path: Option<Regex>,
    inside: Vec<Inside>,
    declared: Vec<String>,
    detected: Vec<String>,
    encrypted: Option<bool>,
    deeper_than: Option<u32>,
    larger_than: Option<u64>,
    amavis: Option<Perl>,
    amavis_path: Option<Perl>,
}

/// What a rule says of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    Ban,
    /// Another name; `{name}` stands for the old one.
    Rename(String),
}

/// What a part may lie in.
#[derive(Debug)]
enum Inside {
    Type(String),
    Name(Regex),
}

impl Rule {
    /// Compiles a rule. `key` is where it stands: `checks.attachments.rule[0]`.
    pub fn build(key: &str, place: usize, typed: &AttachmentRule, problems: &mut Vec<Problem>) -> Rule {
        check(key, typed, problems);
        let mut pattern = |field: &str, text: &Option<String>| {
            let told = |message| problems.push(Problem::new(format!("{key}.{field}"), message));
            text.as_ref().and_then(|text| compile(text).map_err(told).ok())
        };
        let filename = pattern("filename", &typed.filename);
        let path = pattern("path", &typed.path);
        let mut perl = |field: &str, text: &Option<String>| {
            let told = |message| problems.push(Problem::new(format!("{key}.{field}"), message));
            text.as_ref().and_then(|text| compile_perl(text, false).map_err(told).ok())
        };
        let amavis = perl("amavis", &typed.amavis);
        let amavis_path = perl("amavis_path", &typed.amavis_path);
        Rule {
            name: if typed.name.is_empty() { format!("rule {}", place + 1) } else { typed.name.clone() },
            report: typed.report.clone(),
            action: match (typed.allow, &typed.rename) {
                (true, _) => Action::Allow,
                (false, Some(name)) => Action::Rename(name.clone()),
                (false, None) => Action::Ban,
            },
            filename,
            path,
            inside: typed.inside.iter().filter_map(|text| inside(text)).collect(),
            declared: typed.declared.iter().map(|declared| declared.to_ascii_lowercase()).collect(),
            detected: typed.detected.iter().map(|detected| detected.to_ascii_lowercase()).collect(),
            encrypted: typed.encrypted,
            deeper_than: typed.deeper_than,
            larger_than: typed.larger_than.map(|size| size.bytes()),
            amavis,
            amavis_path,
        }
    }

    /// Whether it has conditions of amavis's, which are asked of the innermost parts, the text of a mail among them.
    pub fn is_of_amavis(&self) -> bool {
        self.amavis.is_some() || self.amavis_path.is_some()
    }

    /// The part that it speaks of, if all conditions that are given hold: the part itself, or for a condition of
    /// amavis's that which it matched. The cheap ones come first.
    pub fn matches(&self, facts: &Facts) -> Result<Option<PartId>, pcre2::Error> {
        let part = facts.part;
        let asked = if self.is_of_amavis() { facts.is_innermost() } else { facts.is_attachment() };
        let holds = asked
            && self.encrypted.is_none_or(|encrypted| part.encrypted == encrypted)
            && self.deeper_than.is_none_or(|depth| part.depth > depth)
            && self.larger_than.is_none_or(|size| part.body.len() as u64 > size)
            && (self.declared.is_empty()
                || self.declared.iter().any(|wanted| is_declared(wanted, &part.declared)))
            && (self.detected.is_empty() || self.detected.iter().any(|wanted| is_detected(wanted, part)))
            && (self.inside.is_empty() || self.is_inside(facts))
            && self.filename.as_ref().is_none_or(|pattern| {
                let named = |name: &Name| name.forms().iter().any(|form| pattern.is_match(form));
                self.names_match(facts, named)
            })
            && self.path.as_ref().is_none_or(|pattern| self.path_matches(pattern, facts));
        if !holds {
            return Ok(None);
        }
        let mut of = facts.id;
        if let Some(pattern) = &self.amavis_path {
            match pattern.find(facts.lines().as_bytes())? {
                Some(found) => of = facts.part_at(found.start()),
                None => return Ok(None),
            }
        }
        if let Some(pattern) = &self.amavis {
            let mut found = None;
            for (id, value) in facts.traits() {
                if pattern.is_match(value.as_bytes())? {
                    found = Some(*id);
                    break;
                }
            }
            let Some(found) = found else { return Ok(None) };
            of = found;
        }
        Ok(Some(of))
    }

    fn is_inside(&self, facts: &Facts) -> bool {
        facts.around().any(|id| {
            let holder = facts.message().part(id);
            self.inside.iter().any(|wanted| match wanted {
                Inside::Type(name) => is_detected(name, holder),
                Inside::Name(pattern) => holder
                    .names
                    .iter()
                    .any(|name| Name::read(name).forms().iter().any(|form| pattern.is_match(form))),
            })
        })
    }

    fn path_matches(&self, pattern: &Regex, facts: &Facts) -> bool {
        let path = facts.message().path(facts.id);
        let own = facts.part.name().unwrap_or_default();
        let holder = path.strip_suffix(own).unwrap_or(&path);
        let named = |name: &Name| pattern.is_match(&format!("{holder}{}", name.plain));
        match (self.action == Action::Allow, facts.names.is_empty()) {
            (_, true) => pattern.is_match(&path),
            (true, false) => self.names_match(facts, named),
            (false, false) => pattern.is_match(&path) || self.names_match(facts, named),
        }
    }

    /// Any name is enough to ban a part. To allow it takes all of them: each is what some reader would open it as.
    fn names_match(&self, facts: &Facts, matches: impl Fn(&Name) -> bool) -> bool {
        if self.action == Action::Allow {
            !facts.names.is_empty() && facts.names.iter().all(matches)
        } else {
            facts.names.iter().any(matches)
        }
    }
}

/// What is wrong with a rule besides its patterns.
fn check(key: &str, typed: &AttachmentRule, problems: &mut Vec<Problem>) {
    let mut wrong =
        |field: &str, message: String| problems.push(Problem::new(format!("{key}{field}"), message));
    let conditions = [
        typed.filename.is_some(),
        typed.path.is_some(),
        !typed.inside.is_empty(),
        !typed.declared.is_empty(),
        !typed.detected.is_empty(),
        typed.encrypted.is_some(),
        typed.deeper_than.is_some(),
        typed.larger_than.is_some(),
        typed.amavis.is_some(),
        typed.amavis_path.is_some(),
    ];
    if !conditions.contains(&true) {
        let message = "no condition, so it would match every attachment: give filename, path, inside, declared, detected, \
                       encrypted, deeper_than, larger_than, amavis or amavis_path";
        wrong("", message.into());
    }
    for (at, declared) in typed.declared.iter().enumerate() {
        let halves = declared.split_once('/').filter(|(kind, sub)| !kind.is_empty() && !sub.is_empty());
        if halves.is_none() {
            let message = format!("“{declared}” is no media type: write it like image/png or image/*");
            wrong(&format!(".declared[{at}]"), message);
        }
    }
    for (at, detected) in typed.detected.iter().enumerate() {
        if !is_type_name(detected) {
            let message = format!(
                "“{detected}” is no file type: write a short name such as exe, zip or pdf, or one of {}",
                families()
            );
            wrong(&format!(".detected[{at}]"), message);
        }
    }
    for (at, text) in typed.inside.iter().enumerate() {
        if inside(text).is_none() {
            let message =
                format!("“{text}” is neither a file type nor a name with stars: write zip, archive or *.iso");
            wrong(&format!(".inside[{at}]"), message);
        }
    }
    if let Some(name) = &typed.rename {
        if typed.allow {
            wrong(".rename", "what is let in keeps its name: leave out allow or rename".into());
        } else if !is_new_name(name) {
            let message = format!("“{name}” is no name for a file; write it like {{name}}.disarmed");
            wrong(".rename", message);
        }
    }
}

/// Whether a pattern for new names can yield one.
pub(super) fn is_new_name(name: &str) -> bool {
    !name.trim().is_empty()
        && name.chars().count() <= 100
        && !name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\' | '"'))
}

fn inside(text: &str) -> Option<Inside> {
    if is_type_name(text) {
        return Some(Inside::Type(text.to_ascii_lowercase()));
    }
    let glob = text.contains('*') && text.chars().any(|c| c != '*');
    let pattern = || text.split('*').map(regex::escape).collect::<Vec<_>>().join(".*");
    glob.then(|| compile(&format!("^{}$", pattern())).ok().map(Inside::Name)).flatten()
}

/// A pattern without case, of bounded size.
fn compile(text: &str) -> Result<Regex, String> {
    const LARGEST: usize = 1 << 20;
    let built =
        RegexBuilder::new(text).case_insensitive(true).size_limit(LARGEST).dfa_size_limit(LARGEST).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            "the pattern becomes too large: use fewer or smaller repetitions".to_owned()
        }
        error => format!("not a regular expression: {error}"),
    })
}

/// A pattern of Perl's over text in UTF-8; without case and with a dot that matches line ends, if MailScanner matches it.
pub(super) fn compile_perl(text: &str, mailscanner: bool) -> Result<Perl, String> {
    const LONGEST: usize = 16 << 10;
    if text.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes"));
    }
    let mut builder = PerlBuilder::new();
    builder.utf(true).ucp(true).caseless(mailscanner).dotall(mailscanner);
    compiled(&mut builder, text)
}

fn is_declared(wanted: &str, declared: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => declared.starts_with(start),
        None => declared == wanted,
    }
}

fn is_detected(wanted: &str, part: &Part) -> bool {
    part.detected.name.eq_ignore_ascii_case(wanted) || part.detected.kind.name() == wanted
}

fn families() -> String {
    FileKind::ALL.map(FileKind::name).join(", ")
}

fn is_type_name(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    FileKind::by_name(&text).is_some() || FileType::by_name(&text).is_some()
}
