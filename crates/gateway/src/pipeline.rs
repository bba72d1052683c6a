//! The whole story of a message: read → run checks → judge → carry out → record → reply.
//!
//! Nothing is owned before the end. A crash at any line leaves the message with the sender, who has heard no 250:
//! - while reading, checking or judging: nothing has happened yet;
//! - after the vault has it and before the reply: the sender comes again, and it is held twice rather than lost;
//! - after the next hop's 250 and before ours: the sender comes again, and it is delivered twice rather than lost.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{
    Cause, Envelope, Fault, Limits, Mail, Message, OnFault, PartId, Recipient, Reply, Session, Verdict,
};
use tokio::sync::Semaphore;

use crate::checks::{CheckSet, Found};
use crate::config::typed::{Config, HeaderNames, Mixed};
use crate::records::{self, Journal, Metrics, Record, Vault};
use crate::verdict::{self, Answers, Case, Conclusion, Plan, Policies};

/// What judges messages: made once from a configuration, shared by all sessions that began under it.
pub struct Pipeline {
    /// Name of this host.
    pub hostname: String,
    /// The checks.
    pub checks: CheckSet,
    /// The policies.
    pub policies: Policies,
    headers: HeaderNames,
    limits: Limits,
    judging: Semaphore,
    judging_time: Duration,
    /// Where decisions are written; None for commands that only judge.
    store: Option<Store>,
    metrics: Arc<Metrics>,
}

/// Where decisions are kept.
#[derive(Clone)]
pub struct Store {
    /// Records.
    pub journal: Journal,
    /// Originals of held mail.
    pub vault: Arc<Vault>,
}

/// A message as a front hands it in.
pub struct Arrival {
    /// Who is on the line.
    pub session: Session,
    /// For whom it is.
    pub envelope: Envelope,
    /// The message, with CRLF line endings.
    pub raw: Bytes,
    /// What was found about session and recipients so far.
    pub early: Found,
    /// Whether each recipient gets an answer of its own.
    pub answers: Answers,
    /// What to do when there is one answer and verdicts differ.
    pub mixed: Mixed,
    /// The sender is gone: a refusal would make our own mail server bounce.
    pub after_queue: bool,
    /// When its first byte came.
    pub began: Instant,
}

/// How a front takes a message on to its next hop.
pub trait Carrier: Send {
    /// Name of the next hop, for the record.
    fn name(&self) -> String;

    /// Carries the message to those recipients (places in the envelope) and gives the next hop's replies: one, or one
    /// for each recipient. Not being able to is a reply too.
    fn carry<'a>(
        &'a mut self,
        recipients: &'a [usize],
        extension: Option<&'a str>,
        message: Vec<Bytes>,
    ) -> BoxFuture<'a, Vec<Reply>>;
}

/// A message after judgement, before anything has been done about it.
pub struct Judged {
    /// Its id.
    pub id: String,
    /// The mail.
    pub mail: Mail,
    /// What checks found.
    pub found: Found,
    /// Verdicts, one for each group of recipients.
    pub verdicts: Vec<Verdict>,
    times: BTreeMap<String, u64>,
    began: Instant,
}

impl Pipeline {
    /// A pipeline from compiled parts.
    pub fn new(
        config: &Config,
        checks: CheckSet,
        policies: Policies,
        store: Option<Store>,
        metrics: Arc<Metrics>,
    ) -> Pipeline {
        let reading = &config.reading;
        Pipeline {
            hostname: config.hostname.clone(),
            checks,
            policies,
            headers: config.headers.clone(),
            limits: Limits {
                depth: reading.depth,
                parts: reading.parts,
                bytes: reading.bytes.bytes(),
                ratio: reading.ratio,
                time: reading.time.duration(),
            },
            judging: Semaphore::new(config.limits.judging.max(1) as usize),
            judging_time: config.limits.judging_time.duration(),
            store,
            metrics,
        }
    }

    /// The way of a message.
    pub async fn process(&self, arrival: Arrival, carrier: &mut dyn Carrier) -> Conclusion {
        let (answers, mixed, after_queue) = (arrival.answers, arrival.mixed, arrival.after_queue);
        let mut judged = self.judge(arrival, after_queue).await;
        let recipients = judged.mail.envelope.recipients.len();
        let plan = verdict::plan(&judged.verdicts, recipients, answers, mixed);
        let (conclusion, done) = self.carry_out(&mut judged, &plan, carrier).await;
        self.record(&judged, &conclusion, done).await;
        conclusion
    }

    /// Reads and checks a message and decides about it; nothing is done yet.
    pub async fn judge(&self, arrival: Arrival, after_queue: bool) -> Judged {
        let _turn = self.judging.acquire().await;
        let id = records::new_id();
        let mut times = BTreeMap::new();
        let began = arrival.began;
        times.insert("receive".to_owned(), micros(began.elapsed()));

        let started = Instant::now();
        let message = read(arrival.raw, self.limits.clone()).await;
        times.insert("read".to_owned(), micros(started.elapsed()));
        let mail = Mail { session: arrival.session, envelope: arrival.envelope, message };

        let started = Instant::now();
        let mut found = arrival.early;
        match tokio::time::timeout(self.judging_time, self.checks.mail(&mail)).await {
            Ok(more) => found.append(more),
            Err(_) => found.faults.push(too_slow(self.judging_time)),
        }
        times.insert("checks".to_owned(), micros(started.elapsed()));
        for (check, time) in &found.times {
            *times.entry(check.clone()).or_default() += micros(*time);
            self.metrics.check_time(check, *time);
        }
        for fault in &found.faults {
            self.metrics.fault(&fault.check, fault.cause);
            tracing::warn!(id, check = fault.check, cause = %fault.cause, "{}", fault.detail);
        }

        let started = Instant::now();
        let case = Case {
            id: &id,
            hostname: &self.hostname,
            mail: &mail,
            findings: &found.findings,
            faults: &found.faults,
            after_queue,
        };
        let verdicts = verdict::judge(&case, &self.policies, &self.headers);
        times.insert("judge".to_owned(), micros(started.elapsed()));
        Judged { id, mail, found, verdicts, times, began }
    }
}
