//! Looking records up, and walking up the tree (RFC 9989 section 4.10).

use std::collections::HashMap;

use futures_util::future::join_all;

use super::name::{self, is_public_suffix, parent};
use super::{Psd, Record, Step, record};
use crate::dns::{DnsError, Resolve};

/// Looks records up, each name once.
pub(super) struct Walker<'a> {
    dns: &'a dyn Resolve,
    guard: bool,
    known: HashMap<String, Found>,
    /// Look-ups so far.
    pub trace: Vec<Step>,
    /// What is worth telling.
    pub notes: Vec<String>,
}

/// What stands at a name.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// One record.
    Record(Box<Record>),
    /// None, or several, which count as none.
    Nothing,
    /// It could not be found out.
    Failed(DnsError),
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The names that have a record, the longest first, up to where the walk ends.
    pub records: Vec<(String, Record)>,
    /// The public suffix list ended the walk, not the record there.
    guarded: bool,
    /// The first name whose look-up failed on the way.
    pub failed: Option<(String, DnsError)>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(dns: &'a dyn Resolve, guard: bool) -> Walker<'a> {
        Walker { dns, guard, known: HashMap::new(), trace: Vec::new(), notes: Vec::new() }
    }

    /// The record at a name.
    pub(super) async fn at(&mut self, name: &str) -> Found {
        self.ask(&[name]).await;
        self.known.get(name).cloned().unwrap_or(Found::Nothing)
    }

    /// Whether a name exists: nothing below a name that does not exist does (RFC 8020), and any answer but NXDOMAIN says
    /// that it does.
    pub(super) async fn exists(&mut self, name: &str) -> Result<bool, DnsError> {
        let answer = self.dns.a(name).await;
        let (said, exists) = match answer {
            Ok(_) => ("there are addresses".to_owned(), Ok(true)),
            Err(DnsError::NoName) => (DnsError::NoName.to_string(), Ok(false)),
            Err(DnsError::NoData) => ("the name exists, without an address".to_owned(), Ok(true)),
            Err(why) => (why.to_string(), Err(why)),
        };
        self.trace.push(Step { query: format!("A {name}"), answer: said });
        exists
    }

    /// Walks up from a name. The names above the first are asked about side by side: all are needed unless a record ends
    /// the walk, which few do.
    pub(super) async fn climb(&mut self, start: &str) -> Walk {
        let names = name::walk(start);
        let mut walk = Walk::default();
        if matches!(self.at(start).await, Found::Record(record) if record.psd != Psd::Unknown) {
            self.step(start, &mut walk);
            return walk;
        }
        self.ask(&names).await;
        for name in names {
            if self.step(name, &mut walk) {
                break;
            }
        }
        walk
    }

    /// Takes one name into a walk; says whether the walk ends with it.
    fn step(&mut self, name: &str, walk: &mut Walk) -> bool {
        match self.known.get(name) {
            Some(Found::Record(record)) => {
                let mut record = (**record).clone();
                if self.guard && record.psd == Psd::Unknown && is_public_suffix(name) {
                    self.note(format!(
                        "{name} is on the public suffix list, so its record counts as one with psd=y"
                    ));
                    record.psd = Psd::Yes;
                    walk.guarded = true;
                }
                let ends = record.psd != Psd::Unknown;
                walk.records.push((name.to_owned(), record));
                ends
            }
            // Whatever a suffix would answer, the domains below it stay what they are; and many answer badly.
            Some(Found::Failed(why)) if !walk.records.is_empty() && is_public_suffix(name) => {
                let why = why.clone();
                self.note(format!("the look-up of _dmarc.{name} failed ({why}); {name} is a public suffix, so that it was taken for one without a record"));
                false
            }
            Some(Found::Failed(why)) => {
                walk.failed = Some((name.to_owned(), why.clone()));
                true
            }
            Some(Found::Nothing) | None => false,
        }
    }

    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Looks up what is not known yet, side by side.
    async fn ask(&mut self, names: &[&str]) {
        let fresh = names.iter().filter(|name| !self.known.contains_key(**name));
        let queries: Vec<(&str, String)> = fresh.map(|name| (*name, format!("_dmarc.{name}"))).collect();
        let (short, long): (Vec<_>, Vec<_>) =
            queries.into_iter().partition(|(_, query)| query.len() <= name::LONGEST);
        for (name, _) in long {
            self.known.insert(name.to_owned(), Found::Nothing);
        }
        let answers = join_all(short.iter().map(|(_, query)| self.dns.txt(query))).await;
        for ((name, query), answer) in short.iter().zip(answers) {
            let (found, said) = self.read(name, answer);
            self.trace.push(Step { query: format!("TXT {query}"), answer: said });
            self.known.insert((*name).to_owned(), found);
        }
    }

    fn read(&mut self, name: &str, answer: Result<Vec<String>, DnsError>) -> (Found, String) {
        let texts = match answer {
            Ok(texts) => texts,
            Err(why) if why.is_nothing() => return (Found::Nothing, why.to_string()),
            Err(why) => {
                let said = why.to_string();
                return (Found::Failed(why), said);
            }
        };
        let mut records: Vec<Record> = texts.iter().filter_map(|text| record::parse(text)).collect();
        match (records.pop(), records.len()) {
            (Some(record), 0) => {
                let said = record::shown_long(&record.text);
                (Found::Record(Box::new(record)), said)
            }
            (Some(_), more) => {
                self.note(format!("_dmarc.{name} has {} records; with more than one, none counts", more + 1));
                (Found::Nothing, format!("{} records, of which none counts", more + 1))
            }
            (None, _) => (Found::Nothing, "text that is no record of DMARC".to_owned()),
        }
    }
}

impl Walk {
    /// The organizational domain of the name the walk began at (RFC 9989 section 4.10.2); the name and the failure where
    /// a look-up failed.
    pub(super) fn organizational(&self, start: &str) -> Result<String, (String, DnsError)> {
        // A record that ends the walk stands before any failure, for a failure ends it too.
        let mut last = None;
        for (name, record) in &self.records {
            match record.psd {
                Psd::No => return Ok(name.clone()),
                // A record may stand above the suffix, too: at uk, for co.uk.
                Psd::Yes if self.guarded && name != start => {
                    return Ok(name::registered(start).unwrap_or(start).to_owned());
                }
                Psd::Yes if name != start => return Ok(below(start, name).to_owned()),
                Psd::Yes | Psd::Unknown => last = Some(name),
            }
        }
        match &self.failed {
            Some(failed) => Err(failed.clone()),
            None => Ok(last.map_or(start, |name| name).to_owned()),
        }
    }

    pub(super) fn record(&self, name: &str) -> Option<&Record> {
        self.records.iter().find(|(at, _)| at == name).map(|(_, record)| record)
    }

    /// The public suffix that ended the walk, with its record.
    pub(super) fn suffix(&self) -> Option<&(String, Record)> {
        self.records.last().filter(|(_, record)| record.psd == Psd::Yes)
    }
}

/// The name one label below `above` on the way down to `name`.
fn below<'a>(name: &'a str, above: &str) -> &'a str {
    let mut at = name;
    while let Some(up) = parent(at).filter(|up| *up != above) {
        at = up;
    }
    at
}
