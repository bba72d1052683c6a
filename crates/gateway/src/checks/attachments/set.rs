//! A set of rules: own rules in their order, then MailScanner's tables, then the built-in list.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Instant;

use gatepost_mail::{Cause, Finding, PartId, Symbol};

use super::builtin;
use super::facts::{Facts, Tree, shown};
use super::rule::{Action, Rule};
use super::table::{Tables, Told};
use crate::config::Problem;
use crate::config::attachments::{ARROW, RENAME, RULE, set_symbols};
use crate::config::typed::{AttachmentRule, AttachmentSet, Attachments};

/// Longest new name, in characters.
const LONGEST_NAME: usize = 200;

/// A set.
pub(super) struct Set {
    /// `strict`
    pub title: String,
    /// What it finds where it bans, and where it renames.
    symbols: [Symbol; 2],
    rules: Vec<Rule>,
    pub tables: Option<Tables>,
    builtin: Builtin,
}

/// What becomes of the built-in list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Builtin {
    Unused,
    /// It finds symbols of its own.
    Own,
    /// It finds the set's symbol.
    Sets,
}

/// Why a set could not judge.
pub(super) struct Failure {
    pub cause: Cause,
    pub detail: String,
}

/// What one part is found to be.
struct Judged {
    symbol: Symbol,
    part: PartId,
    evidence: String,
    /// Which rule said so, where it may say so of one part again and again.
    rule: Option<usize>,
}

impl Set {
    /// The set of `[[checks.attachments.rule]]` and the built-in list.
    pub fn default(typed: &Attachments, problems: &mut Vec<Problem>) -> Set {
        Set {
            title: crate::config::attachments::DEFAULT_SET.to_owned(),
            symbols: [RULE.into(), RENAME.into()],
            rules: rules("checks.attachments", &typed.rule, problems),
            tables: None,
            builtin: if typed.builtin { Builtin::Own } else { Builtin::Unused },
        }
    }

    /// A set with a name. Its files are read here.
    pub fn named(title: &str, typed: &AttachmentSet, problems: &mut Vec<Problem>) -> Set {
        let key = format!("checks.attachments.set.{title}");
        let rules = rules(&key, &typed.rule, problems);
        if !super::rule::is_new_name(&typed.mailscanner_rename) {
            let message = "is no name for a file; write it like __FILENAME__.disarmed";
            problems.push(Problem::new(format!("{key}.mailscanner_rename"), message));
        }
        let tables = Tables::read(title, typed).unwrap_or_else(|mistakes| {
            let at = |mistake: &str| {
                let of = |path: &str| mistake.starts_with(path);
                typed.files().find(|(_, path)| of(&path.to_string_lossy())).map_or("", |(key, _)| key)
            };
            problems.extend(
                mistakes.iter().map(|told| Problem::new(format!("{key}.{}", at(told)), told.clone())),
            );
            None
        });
        if rules.is_empty() && typed.files().next().is_none() && !typed.builtin {
            problems.push(Problem::new(
                &key,
                "has neither rules nor files, so it would never find anything: give it [[…rule]], \
                 mailscanner_filenames or builtin = true",
            ));
        }
        Set {
            title: title.to_owned(),
            symbols: set_symbols(title).map(Cow::Owned),
            rules,
            tables,
            builtin: if typed.builtin { Builtin::Sets } else { Builtin::Unused },
        }
    }

    /// Judges every part: a finding for each that is not let in, since each decides about its part. What was found before
    /// a failure counts.
    pub fn look(&self, tree: &Tree, until: Instant, found: &mut Vec<Finding>) -> Result<(), Failure> {
        let mut said = HashSet::new();
        for (id, _) in tree.message.parts() {
            if Instant::now() >= until {
                let detail = format!("the rules of the set {} took too long", self.title);
                return Err(Failure { cause: Cause::Timeout, detail });
            }
            let facts = tree.facts(id);
            let judged = self.judge(&facts).map_err(|why| {
                let path = facts.path_of(id);
                let detail =
                    format!("a pattern of the set {} cannot be matched to {path}: {why}", self.title);
                Failure { cause: Cause::Limit, detail }
            })?;
            let new = |judged: &Judged| judged.rule.is_none_or(|rule| said.insert((rule, judged.part)));
            found.extend(
                judged
                    .filter(new)
                    .map(|Judged { symbol, part, evidence, .. }| Finding::part(symbol, part, evidence)),
            );
        }
        Ok(())
    }

    fn judge(&self, facts: &Facts) -> Result<Option<Judged>, pcre2::Error> {
        if super::facts::is_source(facts.part) {
            return Ok(None);
        }
        for (place, rule) in self.rules.iter().enumerate() {
            if let Some(part) = rule.matches(facts)? {
                return Ok(self.ruled(facts, rule, place, part));
            }
        }
        if !facts.is_attachment() {
            return Ok(None);
        }
        if let Some(tables) = self.tables.as_ref().filter(|_| facts.is_file())
            && let Some(told) = tables.judge(facts)?
        {
            let path = facts.path_of(facts.id);
            let (symbol, evidence) = match told {
                Told::Deny(name, report) => (&self.symbols[0], evidence(&name, &report, &path)),
                Told::Rename(name, report, new) => {
                    let why = evidence(&name, &report, &path);
                    (&self.symbols[1], format!("{why}{ARROW}{}", new_name(&new)))
                }
            };
            return Ok(Some(Judged { symbol: symbol.clone(), part: facts.id, evidence, rule: None }));
        }
        let builtin = Some(facts).filter(|_| self.builtin != Builtin::Unused).and_then(builtin::judge);
        Ok(builtin.map(|(own, evidence)| {
            let symbol = if self.builtin == Builtin::Own { own.into() } else { self.symbols[0].clone() };
            Judged { symbol, part: facts.id, evidence, rule: None }
        }))
    }

    /// What a rule that matches comes to.
    fn ruled(&self, facts: &Facts, rule: &Rule, place: usize, part: PartId) -> Option<Judged> {
        let path = facts.path_of(part);
        let why = evidence(&rule.name, &rule.report, &path);
        let (symbol, evidence) = match &rule.action {
            Action::Allow => return None,
            Action::Ban => (&self.symbols[0], why),
            Action::Rename(pattern) => {
                let of = facts.message().part(part);
                of.span.as_ref()?;
                let name = super::facts::Name::read(of.name()?);
                let new = new_name(&pattern.replace("{name}", name.base()));
                (&self.symbols[1], format!("{why}{ARROW}{new}"))
            }
        };
        Some(Judged { symbol: symbol.clone(), part, evidence, rule: Some(place) })
    }
}

fn rules(key: &str, typed: &[AttachmentRule], problems: &mut Vec<Problem>) -> Vec<Rule> {
    let rules = typed.iter().enumerate();
    rules.map(|(place, rule)| Rule::build(&format!("{key}.rule[{place}]"), place, rule, problems)).collect()
}

/// First what people are told, then the path, then the rule's name where it says something else.
fn evidence(name: &str, report: &str, path: &str) -> String {
    match (report, name) {
        ("", "") => path.to_owned(),
        ("", name) => format!("{name}: {path}"),
        (report, name) if name.is_empty() || name == report => format!("{report}: {path}"),
        (report, name) => format!("{report}: {path} ({name})"),
    }
}

/// A name that was made of one in the message, fit to be given: on one line, without folders, of bounded length, whose end
/// is kept.
fn new_name(name: &str) -> String {
    let plain = |c: char| match c {
        '/' | '\\' | '"' => '_',
        '\u{2192}' => '>',
        c => c,
    };
    let name: String = super::facts::Name::read(name).plain.chars().map(plain).collect();
    let name = shown(&name);
    let count = name.chars().count();
    if count <= LONGEST_NAME {
        return name;
    }
    let half = LONGEST_NAME / 2;
    name.chars().take(half).chain(name.chars().skip(count - half)).collect()
}
