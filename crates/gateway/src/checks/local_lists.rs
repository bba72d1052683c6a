//! Lists in files: addresses, networks, domains and mail addresses, of the bad and of the good. Read again when they change.

mod file;
mod set;

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use gatepost_mail::{Address, Cause, Envelope, Fault, Finding, OnFault, Recipient, Scope, Session};

use super::catalogue::{Built, Resources};
use super::lists::{self, Worth, check_name, check_subjects};
use super::{Answer, Check, Found, Health, SymbolInfo, looked, looking};
use crate::config::typed::{ListFormat, LocalList as Settings, Subject};
use crate::config::{Config, Problem};
use crate::resources::dns::{Resolve, confirmed_name, plain_name};
use file::Wanted;
use set::{Builder, Set};

/// Longest to wait for the client's name.
const TIME: Duration = Duration::from_secs(10);

/// One symbol for each list.
pub fn symbols(config: &Config) -> Vec<SymbolInfo> {
    let symbol = |(name, list): (&String, &Settings)| {
        let subjects: Vec<_> = list.of.iter().map(|subject| subject.words()).collect();
        SymbolInfo {
            name: lists::symbol("LOCAL", name).into(),
            meaning: format!("{} in the list {name}", subjects.join(" or ")).into(),
            counts: worth(list).counts(),
        }
    };
    config.checks.local_list.iter().map(symbol).collect()
}

/// Makes one check for each list; its files are read here.
pub fn build(config: &Config, resources: &Resources) -> Built {
    let mut problems = Vec::new();
    let mut made: Vec<List> = Vec::new();
    for (name, settings) in &config.checks.local_list {
        let key = format!("checks.local_list.{name}");
        check_name(&key, name, &mut problems);
        check_subjects(&key, &settings.of, &mut problems);
        worth(settings).check(&key, &mut problems);
        if settings.files.is_empty() {
            problems.push(Problem::new(format!("{key}.files"), "is empty; name at least one file"));
        }
        let symbol = lists::symbol("LOCAL", name);
        if let Some(other) = made.iter().find(|other| other.symbol == symbol) {
            let why = format!("its symbol {symbol} is that of `{}` too; rename one", other.title);
            problems.push(Problem::new(&key, why));
        }
        match List::new(name, symbol, settings, resources) {
            Ok(list) => made.push(list),
            Err(why) => problems.extend(why.into_iter().map(|why| Problem::new(format!("{key}.files"), why))),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(made.into_iter().map(|list| Box::new(list) as Box<dyn Check>).collect())
}

fn worth(settings: &Settings) -> Worth {
    let Settings { kind, weight, category, refuse, .. } = *settings;
    Worth { kind, weight, category, refuse }
}

/// One list.
struct List {
    /// `local_list:own`
    name: String,
    /// `own`
    title: String,
    /// `LOCAL_OWN`
    symbol: String,
    of: Vec<Subject>,
    files: Files,
    set: ArcSwap<Set>,
    /// The files when they were read last, and what was wrong with them then.
    read: Mutex<(Stamp, Option<String>)>,
    dns: Arc<dyn Resolve>,
}

/// The files of a list.
struct Files {
    paths: Vec<PathBuf>,
    format: ListFormat,
    wanted: Wanted,
}

/// What of each file changes when it is written or replaced: inode, size, change time.
type Stamp = Vec<Option<(u64, u64, i64, i64)>>;

impl List {
    fn new(title: &str, symbol: String, settings: &Settings, with: &Resources) -> Result<List, Vec<String>> {
        let files = Files {
            paths: settings.files.clone(),
            format: settings.format,
            wanted: Wanted::of(&settings.of),
        };
        // Taken before reading: what is written meanwhile shows as a change.
        let stamp = files.stamp();
        let set = files.read()?;
        Ok(List {
            name: format!("local_list:{title}"),
            title: title.to_owned(),
            symbol,
            of: settings.of.clone(),
            files,
            set: ArcSwap::from_pointee(set),
            read: Mutex::new((stamp, None)),
            dns: with.dns.clone(),
        })
    }

    /// Whether something is to be looked up.
    fn is_of(&self, subject: Subject) -> bool {
        self.of.contains(&subject)
    }

    fn address(&self, client: IpAddr) -> Option<Finding> {
        let set = self.set.load();
        set.address(client).map(|reason| self.finding(&client.to_string(), reason, Scope::Mail))
    }

    fn domain(&self, subject: Subject, name: &str) -> Option<Finding> {
        let (name, set) = (plain_name(name)?, self.set.load());
        let reason = set.name(&name)?;
        Some(self.finding(&format!("{} {name}", subject.words()), reason, Scope::Mail))
    }

    fn mailbox(&self, subject: Subject, address: &Address, scope: Scope) -> Option<Finding> {
        let set = self.set.load();
        let domain = plain_name(address.domain()).unwrap_or_default();
        let mailbox = format!("{}@{domain}", address.local().to_lowercase());
        let reason = set.mailbox(&mailbox, &domain)?;
        Some(self.finding(&format!("{} {address}", subject.words()), reason, scope))
    }

    fn finding(&self, shown: &str, reason: &str, scope: Scope) -> Finding {
        let mut evidence = format!("{shown} in {}", self.title);
        if !reason.is_empty() {
            // rbldnsd puts what was looked up in the place of `$`.
            let value = shown.rsplit(' ').next().unwrap_or(shown);
            evidence.push_str(&format!(" ({})", reason.replace('$', value)));
        }
        Finding::new(self.symbol.clone(), scope, evidence)
    }

    /// The client's address, and its name where its address leads there and back.
    async fn connected(&self, client: IpAddr, told: Option<&str>) -> Result<Found, Fault> {
        let mut found =
            Found::from(Vec::from_iter(self.is_of(Subject::Client).then(|| self.address(client)).flatten()));
        let name = match told {
            Some(name) => Some(name.to_owned()),
            None => match confirmed_name(&*self.dns, client).await {
                Ok(names) => names.confirmed,
                Err(why) => {
                    let detail = format!("the name of {client} cannot be looked up: {why}");
                    let check = self.name.clone();
                    found.faults.push(Fault {
                        check,
                        cause: Cause::Unavailable,
                        detail,
                        answer: self.on_fault(),
                    });
                    None
                }
            },
        };
        found.findings.extend(name.and_then(|name| self.domain(Subject::ReverseName, &name)));
        Ok(found)
    }
}

fn at_once<'a>(finding: Option<Finding>) -> Answer<'a> {
    looked(Ok(vec![finding?].into()))
}

impl Check for List {
    fn name(&self) -> &str {
        &self.name
    }

    fn time(&self) -> Duration {
        TIME
    }

    fn on_fault(&self) -> OnFault {
        OnFault::Accept
    }

    fn on_connect<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        let client = session.client?.to_canonical();
        if self.is_of(Subject::ReverseName) {
            return looking(self.connected(client, session.client_name.as_deref()));
        }
        at_once(if self.is_of(Subject::Client) { self.address(client) } else { None })
    }

    fn on_hello<'a>(&'a self, session: &'a Session) -> Answer<'a> {
        at_once(if self.is_of(Subject::Helo) { self.domain(Subject::Helo, &session.helo) } else { None })
    }

    fn on_sender<'a>(&'a self, _: &'a Session, envelope: &'a Envelope) -> Answer<'a> {
        let sender = envelope.sender.as_ref().filter(|_| self.is_of(Subject::Sender))?;
        at_once(self.mailbox(Subject::Sender, sender, Scope::Mail))
    }

    fn on_recipient<'a>(
        &'a self,
        _: &'a Session,
        envelope: &'a Envelope,
        recipient: &'a Recipient,
    ) -> Answer<'a> {
        let scope = Scope::Recipient(envelope.recipients.len());
        let recipient = Some(&recipient.address).filter(|_| self.is_of(Subject::Recipient))?;
        at_once(self.mailbox(Subject::Recipient, recipient, scope))
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Vec<Health>> {
        let wrong = self.read.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
        let state = wrong.map_or_else(|| Ok(format!("{} entries", self.set.load().len())), Err);
        Box::pin(std::future::ready(vec![Health { name: self.name.clone(), vital: false, state }]))
    }

    /// A mistake in the new files leaves the old list in place, and is told once.
    fn reload(&self) {
        let now = self.files.stamp();
        {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if read.0 == now {
                return;
            }
            read.0 = now;
        }
        let wrong = match self.files.read() {
            Ok(set) => {
                tracing::info!(list = %self.title, entries = set.len(), "list read again");
                self.set.store(Arc::new(set));
                None
            }
            Err(mistakes) => {
                for mistake in &mistakes {
                    tracing::error!(list = %self.title, "list changed but is not taken: {mistake}");
                }
                mistakes.into_iter().next().map(|first| format!("changed but not taken: {first}"))
            }
        };
        self.read.lock().unwrap_or_else(PoisonError::into_inner).1 = wrong;
    }
}

impl Files {
    fn stamp(&self) -> Stamp {
        let state = |path: &PathBuf| {
            let data = std::fs::metadata(path).ok()?;
            Some((data.ino(), data.len(), data.ctime(), data.ctime_nsec()))
        };
        self.paths.iter().map(state).collect()
    }

    fn read(&self) -> Result<Set, Vec<String>> {
        let mut builder = Builder::default();
        let mut mistakes = Vec::new();
        for path in &self.paths {
            let read = |path: &Path, set| file::read(path, self.format, self.wanted, set);
            mistakes.extend(read(path, &mut builder).err().into_iter().flatten());
        }
        if mistakes.is_empty() { Ok(builder.finish()) } else { Err(mistakes) }
    }
}

#[cfg(test)]
mod tests;
