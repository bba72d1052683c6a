//! Rules in SpamAssassin's language. Each rule that hits is a symbol, which brings its points along: rules come and go while
//! the catalogue of checks stays as it is.

pub mod dns;
mod known;
mod prefix;
mod threads;
mod work;

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{
    Cause, Counts, Fault, Finding, Mail, Message, OnFault, Origin, Points, Protocol, Session, Via,
};
use gatepost_rules::engine::{self, Hit};
use gatepost_rules::texts::{Client, Given};
use tokio::sync::Semaphore;

use super::catalogue::{Built, Resources};
use super::{Answer, Check, Found, Health, SymbolInfo, looked, looking};
use crate::config::{Config, Problem};
use crate::resources::dns::Resolve;
use crate::resources::rules::{Live, Rules, Source};
pub(crate) use work::left_out;

use threads::{THREADS, Undone};
use work::{Looked, Step, Work};

/// What it finds besides rules.
pub static SYMBOLS: &[SymbolInfo] = &[SymbolInfo::new(
    SKIPPED,
    "too large for rules (`checks.rules.max_size`), which did not look at it",
    Counts::Points(Points::ZERO),
)];

const SKIPPED: &str = "RULES_SKIPPED";

/// Most rules whose faults are told one by one.
const MAX_FAULTS: usize = 10;

/// Most memory for texts of messages that wait for answers, in KiB. Beyond it they are made again when the answers are there.
const ROOM: usize = 64 << 10;

/// Makes the check. The rules are read here, unless another pipeline has them already.
pub fn build(config: &Config, resources: &Resources) -> Built {
    let settings = &config.checks.rules;
    if !settings.enabled {
        return Ok(Vec::new());
    }
    let live = Live::open(Source::of(config)).map_err(|why| vec![Problem::new("checks.rules.paths", why)])?;
    Ok(vec![Box::new(RuleCheck {
        live,
        hostname: config.hostname.clone(),
        network_time: if settings.network { settings.network_time.duration() } else { Duration::ZERO },
        dns: resources.dns.clone(),
        time: settings.time.duration(),
        max_size: settings.max_size.bytes(),
        on_fault: settings.on_fault,
        room: Arc::new(Semaphore::new(ROOM)),
        queues: config.queues().into_iter().map(|queue| queue.name).collect(),
    })])
}

struct RuleCheck {
    live: Arc<Live>,
    hostname: String,
    network_time: Duration,
    dns: Arc<dyn Resolve>,
    time: Duration,
    /// In bytes.
    max_size: u64,
    on_fault: OnFault,
    /// For texts of messages that wait for answers, in KiB.
    room: Arc<Semaphore>,
    /// Names of queues: what lies there has our mail server's `Received` field already.
    queues: Vec<String>,
}

impl RuleCheck {
    /// Computes, waits for the DNS if rules want to know something of it, and computes again. While it waits it holds no thread;
    /// whoever drops it leaves nothing behind but answers in the resolver's cache.
    async fn look(&self, mail: &Mail, known: &Found) -> Result<Found, Fault> {
        let rules = self.live.rules();
        let work = Work {
            rules: rules.clone(),
            message: mail.message.clone(),
            given: self.given(mail, known),
            known: known::of(known.authentication.as_deref()),
            time: self.time,
            kept: None,
        };
        let room = self.room.clone();
        let looked = match self.compute(move || work.begin(&room)).await? {
            Step::Done(looked) => *looked,
            Step::Asks(work, plan) => {
                let time = self.network_time.min(rules.net.time());
                let answers = dns::ask(&*self.dns, *plan, time).await;
                self.compute(move || work.end(answers)).await?
            }
        };
        Ok(self.found(&rules, looked))
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let fault = |cause, detail| self.fault("rules".into(), cause, detail);
        THREADS.compute(self.time, work).await.map_err(|undone| match undone {
            Undone::Busy => {
                fault(Cause::Timeout, format!("no processor was free within {} s", self.time.as_secs()))
            }
            Undone::Failed(why) => fault(Cause::Unavailable, format!("no thread could be started: {why}")),
            Undone::Panicked(panic) => resume_unwind(panic),
        })
    }

    fn fault(&self, check: String, cause: Cause, detail: String) -> Fault {
        Fault { check, cause, detail, answer: self.on_fault }
    }

    fn given(&self, mail: &Mail, known: &Found) -> Given {
        let Mail { session, envelope, .. } = mail;
        let sender = envelope.sender.as_ref().map(ToString::to_string);
        // A file or pipe without a sender is one whose sender nobody has told.
        let sender = sender.or_else(|| (!session.is_local()).then(String::new));
        let client =
            session.client.filter(|client| !self.is_written(mail, &client.to_string())).map(|ip| Client {
                ip,
                name: known.client_name.clone().or_else(|| session.client_name.clone()),
                helo: session.helo.clone(),
                by: self.hostname.clone(),
                id: "gatepost".into(),
                authenticated: session.user.is_some(),
            });
        let now = jiff::Timestamp::now().as_second();
        Given { sender: sender.map(Bytes::from), client, now, ..Given::default() }
    }

    /// Whether a mail server of ours has put a `Received` field for this client before the message already: where it tells us
    /// the client because it handed the message on, and in its queue. A file or pipe may come from either side of it.
    fn is_written(&self, mail: &Mail, client: &str) -> bool {
        let Session { via, protocol, listener, .. } = &mail.session;
        let handed_on = *protocol == Protocol::Local || self.queues.contains(listener);
        let headers = &mail.message.headers;
        let newest =
            || headers.get("Received").is_some_and(|field| headers.value_text(field).contains(client));
        *via == Via::Xforward || (handed_on && newest())
    }

    /// What rules found, and which could not look. Those that never can were told when they were read.
    fn found(&self, rules: &Rules, Looked { outcome, unanswered, prefixes }: Looked) -> Found {
        let mut counting: Vec<&Hit> = outcome.hits.iter().filter(|hit| !hit.name.starts_with("__")).collect();
        // As SpamAssassin lists them.
        counting.sort_by_key(|hit| &hit.name);
        let mut found: Found = counting.into_iter().map(finding).collect::<Vec<_>>().into();
        found.prefixes = prefixes;
        let faults = outcome.faults.into_iter().filter(|fault| !rules.broken.contains(&*fault.rule));
        let fault =
            |fault: engine::Fault| self.fault(format!("rules:{}", fault.rule), Cause::Limit, fault.message);
        found.faults = faults.take(MAX_FAULTS).map(fault).collect();
        if let Some(first) = unanswered.first() {
            let many = unanswered.len();
            let detail = format!("{many} questions of rules to the DNS have no answer; the first is {first}");
            // A list that keeps silent holds up no mail: there are many, and each says little.
            let answer = OnFault::Accept;
            found.faults.push(Fault { check: "rules:dns".into(), cause: Cause::Timeout, detail, answer });
        }
        found
    }
}

impl Check for RuleCheck {
    fn name(&self) -> &str {
        "rules"
    }

    /// The rules keep their own time, and so do questions; this is for what nobody foresaw.
    fn time(&self) -> Duration {
        self.time * 3 + self.network_time + Duration::from_secs(5)
    }

    fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    fn on_mail<'a>(&'a self, mail: &'a Mail, known: &'a Found) -> Answer<'a> {
        if is_file(&mail.message) {
            return None;
        }
        let size = mail.message.raw.len() as u64;
        if size > self.max_size {
            let evidence = format!("{size} bytes, at most {} are looked at", self.max_size);
            return looked(Ok(vec![Finding::mail(SKIPPED, evidence)].into()));
        }
        looking(self.look(mail, known))
    }

    fn more_symbols(&self) -> Option<(BTreeSet<Box<str>>, bool)> {
        let rules = self.live.rules();
        let named = rules.set.rules.values().filter(|rule| !rule.is_subrule());
        Some((named.map(|rule| rule.name.clone()).collect(), self.live.may_change()))
    }

    fn most_text(&self, size: u64) -> u64 {
        if size > self.max_size { 0 } else { self.live.rules().most_text() }
    }

    fn warm(&self) {
        self.live.rules().engine.warm();
    }

    fn health<'a>(&'a self) -> BoxFuture<'a, Vec<Health>> {
        let health = Health { name: "rules".into(), vital: false, state: self.live.state() };
        Box::pin(std::future::ready(vec![health]))
    }

    fn reload(&self) {
        self.live.reload();
    }
}

/// Whether it is a file that somebody wants judged, and no mail.
fn is_file(message: &Message) -> bool {
    message.parts.iter().take(2).any(|part| part.origin == Origin::Embedded && part.body == message.raw)
}

fn finding(hit: &Hit) -> Finding {
    let points = Points::from_f64(hit.score * f64::from(hit.times)).unwrap_or_default();
    let finding = Finding::mail(hit.name.to_string(), evidence(hit)).counting(points);
    match &hit.description {
        Some(description) => finding.meaning(description.clone()),
        None => finding,
    }
}

/// `BODY: “click here”, 3 times`: where the rule looked, what matched there, what a function has to say.
fn evidence(hit: &Hit) -> String {
    let matched = hit.evidence.iter().map(|evidence| {
        let text = String::from_utf8_lossy(&evidence.text);
        format!("{}“{}”", hit.area.prefix(), text.trim())
    });
    let mut told: Vec<String> = matched.chain(hit.found.iter().take(5).cloned()).collect();
    if hit.times > 1 {
        told.push(format!("{} times", hit.times));
    }
    told.join(", ")
}

#[cfg(test)]
mod tests;
