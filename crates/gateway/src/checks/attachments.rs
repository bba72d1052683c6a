//! Attachment rules: names and types that are not let in, wherever they are nested.
//!
//! There are sets of rules; each is judged by itself and has symbols of its own, and policies say which count for whom. In
//! a set own rules come first, in their order; the first that matches a part decides about it, for or against. Then come
//! tables in files, then the built-in list. Every name that some reader would show is looked at, as it stands and as it
//! looks.

mod builtin;
mod facts;
mod kinds;
mod rule;
mod set;
mod table;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use gatepost_mail::{Category, Counts, Fault, Mail, Message, OnFault, Points};

use super::catalogue::Resources;
use super::{Answer, Check, Found, Health, SymbolInfo, looked};
use crate::config::attachments::{DEFAULT_SET, RENAME, RULE, set_symbols};
use crate::config::typed::Attachments;
use crate::config::{Config, Problem};
use builtin::{CLSID, DOUBLE, NAME, TYPE};
use facts::Tree;
use set::Set;

/// Longest that the rules may take for one message. Ordinary ones take less than a millisecond.
const TIME: Duration = Duration::from_secs(3);

const BANNED: Counts = Counts::As(Category::Banned);
const NOTHING: Counts = Counts::Points(Points::ZERO);

/// What the default set finds.
static SYMBOLS: &[SymbolInfo] = &[
    SymbolInfo::new(NAME, "an attachment with the name of a program, script, shortcut or disk image", BANNED),
    SymbolInfo::new(TYPE, "an attachment that is a program or script, whatever its name", BANNED),
    SymbolInfo::new(DOUBLE, "a program or script that is named to look like a document", BANNED),
    SymbolInfo::new(
        CLSID,
        "a name that ends in a CLSID, by which Windows opens it as something else",
        BANNED,
    ),
    SymbolInfo::new(RULE, "an attachment that one of the own rules bans", BANNED),
    SymbolInfo::new(RENAME, "an attachment that one of the own rules gives another name", NOTHING),
];

/// The symbols of the default set, and two for each other set.
pub fn symbols(config: &Config) -> Vec<SymbolInfo> {
    let named = config.checks.attachments.set.keys().flat_map(|set| {
        let [ban, rename] = set_symbols(set);
        let info = |name: String, meaning: String, counts| SymbolInfo {
            name: name.into(),
            meaning: meaning.into(),
            counts,
        };
        [
            info(ban, format!("an attachment that the set {set} bans"), BANNED),
            info(rename, format!("an attachment that the set {set} gives another name"), NOTHING),
        ]
    });
    SYMBOLS.iter().cloned().chain(named).collect()
}

/// Makes the check.
pub fn build(config: &Config, _: &Resources) -> Result<Vec<Box<dyn Check>>, Vec<Problem>> {
    let attachments = &config.checks.attachments;
    if !attachments.enabled {
        return Ok(Vec::new());
    }
    Ok(vec![Box::new(AttachmentRules::build(attachments)?)])
}

/// Whether a rule could be compiled with this expression of Perl's; why not, else.
pub fn check_perl(pattern: &str) -> Result<(), String> {
    rule::compile_perl(pattern, false).map(drop)
}

/// The check.
pub struct AttachmentRules {
    sets: Vec<Set>,
    on_fault: OnFault,
}

impl AttachmentRules {
    /// Compiles the rules and reads the tables. Every mistake is told, with its key.
    pub fn build(typed: &Attachments) -> Result<AttachmentRules, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut sets = vec![Set::default(typed, &mut problems)];
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for (name, set) in &typed.set {
            let key = format!("checks.attachments.set.{name}");
            if name == DEFAULT_SET {
                let message =
                    "is the name of the set that [[checks.attachments.rule]] makes; give it another";
                problems.push(Problem::new(&key, message));
            } else if name.is_empty()
                || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            {
                let message = "a set's name is of letters, digits, `-`, `_` and `.`";
                problems.push(Problem::new(&key, message));
            }
            let [symbol, _] = set_symbols(name);
            if let Some(other) = seen.insert(symbol.clone(), name) {
                let why = format!("its symbol {symbol} is that of `{other}` too; rename one");
                problems.push(Problem::new(&key, why));
            }
            sets.push(Set::named(name, set, &mut problems));
        }
        if problems.is_empty() {
            Ok(AttachmentRules { sets, on_fault: typed.on_fault })
        } else {
            Err(problems)
        }
    }

    /// What is not let in by which set, and the sets that could not judge.
    pub fn look(&self, message: &Message) -> Found {
        let tree = Tree::new(message);
        let until = Instant::now() + TIME;
        let mut found = Found::default();
        for set in &self.sets {
            if let Err(why) = set.look(&tree, until, &mut found.findings) {
                found.faults.push(Fault {
                    check: self.name().to_owned(),
                    cause: why.cause,
                    detail: why.detail,
                    answer: self.on_fault,
                });
            }
        }
        found
    }
}

impl Check for AttachmentRules {
    fn name(&self) -> &str {
        "attachments"
    }

    fn time(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    fn on_mail<'a>(&'a self, mail: &'a Mail, _: &'a Found) -> Answer<'a> {
        looked(Ok(self.look(&mail.message)))
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Vec<Health>> {
        let tables = self.sets.iter().filter_map(|set| Some((set, set.tables.as_ref()?)));
        let health = |(set, tables): (&Set, &table::Tables)| Health {
            name: format!("attachments:{}", set.title),
            vital: false,
            state: tables.mistake().map_or_else(|| Ok(format!("{} rules", tables.len())), Err),
        };
        Box::pin(std::future::ready(tables.map(health).collect()))
    }

    fn reload(&self) {
        self.sets.iter().filter_map(|set| set.tables.as_ref()).for_each(table::Tables::reload);
    }
}

#[cfg(test)]
mod tests;
