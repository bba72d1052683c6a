//! The whole story of a message: read → run checks → judge → carry out → record → reply.
//!
//! Nothing is owned before the end. A crash at any line leaves the message with the sender, who has heard no 250:
//! - while reading, checking or judging: nothing has happened yet;
//! - after the vault has it and before the reply: the sender comes again, and it is held twice rather than lost;
//! - after the next hop's 250 and before ours: the sender comes again, and it is delivered twice rather than lost;
//! - after a bounce was handed on and before the reply: our own mail server, whose queue it came from, hands it in again,
//!   and its sender is told twice rather than never.

mod admit;
mod dmarc;
mod notice;
mod parts;
mod record_of;
mod sign;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{
    Bounce, Budget, Cause, DefectKind, Edit, Envelope, Fault, Limits, Mail, Message, OnFault, PartId, Reply,
    Session, Verdict,
};
use gatepost_unpack::Reading;
use gatepost_wire::smtp::StrayReport;
use tokio::sync::Semaphore;

pub use admit::{Admitted, Asked};

use crate::checks::Found;
use crate::checks::run::CheckSet;
use crate::config::typed::{Config, HeaderNames, LogFormat};
use crate::effects::bounce::{self, Failed, Teller};
use crate::effects::sign::Signing;
use crate::records::{self, Held, Journal, Metrics, Record, Vault, VaultError};
use crate::resources::state::State;
use crate::verdict::{self, Answers, Case, Conclusion, Delivery, Plan, Policies, Restrictions};
use crate::worker::Workers;

/// What judges messages: made once from a configuration, shared by all sessions that began under it.
pub struct Pipeline {
    /// Name of this host.
    pub hostname: String,
    /// The checks.
    pub checks: CheckSet,
    /// The policies.
    pub policies: Policies,
    /// Who may send what to whom.
    pub restrictions: Restrictions,
    headers: HeaderNames,
    /// Whose `Authentication-Results` are ours; the first is ours alone.
    authserv_ids: Vec<String>,
    /// Whether what sender authentication came to is told in a field of that name.
    tells_results: bool,
    /// Whether authors' domains are told in DMARC's aggregate reports.
    reports: bool,
    /// What notices need.
    noticed: notice::Noticed,
    /// What signs outgoing mail.
    signing: Option<Arc<Signing>>,
    limits: Limits,
    /// Where containers are unpacked; None: here.
    workers: Option<Arc<Workers>>,
    /// What a fault of reading means.
    reading_fault: OnFault,
    judging: Semaphore,
    most_judging: usize,
    judging_time: Duration,
    log_format: LogFormat,
    /// Where decisions are written; None for commands that only judge.
    store: Option<Store>,
    metrics: Arc<Metrics>,
}

/// Where decisions are kept.
#[derive(Clone)]
pub struct Store {
    /// Records.
    pub journal: Arc<Journal>,
    /// Originals of held mail.
    pub vault: Arc<Vault>,
    /// What is remembered from one message to the next.
    pub state: Arc<dyn State>,
}

/// A message as a front hands it in.
pub struct Arrival {
    /// Who is on the line.
    pub session: Session,
    /// For whom it is.
    pub envelope: Envelope,
    /// The message, with CRLF line endings.
    pub raw: Bytes,
    /// What was mended of its line endings.
    pub stray: StrayReport,
    /// What it was before that, where whoever asks has it still and will go on with that; looked at as well.
    pub unmended: Option<Bytes>,
    /// What was found about session and recipients so far.
    pub early: Found,
    /// Whether each recipient gets an answer of its own.
    pub answers: Answers,
    /// The sender is gone: a refusal would make our own mail server bounce.
    pub after_queue: bool,
    /// How long it took to arrive.
    pub receiving: Duration,
}

/// How a front takes a message on to its next hop.
pub trait Carrier: Send {
    /// Name of the next hop, for the record.
    fn name(&self) -> String;

    /// Carries a message on and gives the next hop's replies: one, or one for each recipient. Not being able to is a
    /// reply too.
    fn carry<'a>(&'a mut self, shipment: Shipment<'a>) -> BoxFuture<'a, Vec<Reply>>;

    /// Has the next hop itself hold the message for all its recipients instead of the vault, where that is wanted and
    /// the protocol can say so. False: the vault shall.
    fn hold(&mut self, _reason: &str) -> bool {
        false
    }

    /// Hands a message of our own, a bounce, to the next hop and gives its reply. None: there is no way to send one here.
    fn notify(&mut self, _envelope: Envelope, _message: Bytes) -> BoxFuture<'_, Option<Reply>> {
        Box::pin(async { None })
    }
}

/// What is to be carried on, and for whom.
#[derive(Clone, Copy)]
pub struct Shipment<'a> {
    /// The mail as it came.
    pub mail: &'a Mail,
    /// Places in the envelope of those it is for.
    pub recipients: &'a [usize],
    /// Put behind their local parts, delimiter included.
    pub extension: Option<&'a str>,
    /// What is to be changed.
    pub edits: &'a [Edit],
    /// Not to be carried on by who can change the header only.
    pub needs_body: bool,
}

impl Shipment<'_> {
    /// The message with its changes, in pieces.
    pub fn chunks(&self) -> Vec<Bytes> {
        gatepost_mail::apply(&self.mail.message, self.edits).chunks
    }
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
    notice: Option<records::NoticeRecord>,
    times: BTreeMap<String, u64>,
    began: Instant,
}

impl Pipeline {
    /// A pipeline from compiled parts.
    pub fn new(
        config: &Config,
        checks: CheckSet,
        policies: Policies,
        restrictions: Restrictions,
        store: Option<Store>,
        metrics: Arc<Metrics>,
    ) -> Pipeline {
        let reading = &config.reading;
        Pipeline {
            hostname: config.hostname.clone(),
            checks,
            policies,
            restrictions,
            headers: config.headers.clone(),
            authserv_ids: config.authserv_ids(),
            tells_results: config.authentication.results,
            reports: config.dmarc_reports.records(),
            noticed: notice::Noticed::new(config),
            signing: None,
            limits: Limits {
                depth: reading.depth,
                parts: reading.parts,
                bytes: reading.bytes.bytes(),
                ratio: reading.ratio,
                time: reading.time.duration(),
                readings: reading.readings,
                memory: reading.memory.bytes(),
                passwords: reading.passwords.iter().cloned().collect(),
                texts: 0,
            },
            workers: Workers::build(config, metrics.workers()),
            reading_fault: reading.on_fault,
            judging: Semaphore::new(config.limits.judging.max(1) as usize),
            most_judging: config.limits.judging.max(1) as usize,
            judging_time: config.limits.judging_time.duration(),
            log_format: config.log.format,
            store,
            metrics,
        }
    }

    /// The same with what signs outgoing mail.
    #[must_use]
    pub fn signed_by(self, signing: Arc<Signing>) -> Pipeline {
        Pipeline { signing: Some(signing), ..self }
    }

    /// Takes changed files of checks and of signing keys. Blocks.
    pub fn reload(&self) {
        self.checks.reload();
        if let Some(signing) = &self.signing {
            signing.reload();
        }
    }

    /// Signatures of malware have changed, somebody says. What is remembered of the old ones is forgotten when this
    /// returns; engines take the new ones beside it.
    pub fn renew(self: &Arc<Pipeline>) {
        self.checks.forget();
        let pipeline = self.clone();
        tokio::spawn(async move { pipeline.checks.renew().await });
    }

    /// The way of a message.
    pub async fn process(&self, arrival: Arrival, carrier: &mut dyn Carrier) -> Conclusion {
        let answers = arrival.answers;
        // Boxed, as what follows: a session that is idle shall not hold room for it.
        let judged = Box::pin(self.judge(arrival)).await;
        Box::pin(self.settle(&judged, answers, carrier)).await
    }

    /// The second half of that way, for whoever looks at what was judged before anything is done about it.
    pub async fn settle(&self, judged: &Judged, answers: Answers, carrier: &mut dyn Carrier) -> Conclusion {
        let recipients = judged.mail.envelope.recipients.len();
        let plan = verdict::plan(&judged.verdicts, recipients, answers);
        let done = self.carry_out(judged, plan, carrier).await;
        self.record(judged, Some(&done)).await;
        done.conclusion
    }

    /// Where decisions are kept; None for commands that only judge.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// For whoever only asks for an opinion: judges and records, and does nothing about the message.
    ///
    /// Verdicts that do not deliver have header edits here, too, for whoever asks may deliver all the same.
    pub async fn advise(&self, arrival: Arrival) -> Judged {
        let judged = Box::pin(self.judge_as(Manner::Advice, arrival)).await;
        self.record(&judged, None).await;
        judged
    }

    /// The same for a file that need be no mail, under its name if it has one.
    pub async fn advise_file(&self, arrival: Arrival, name: Option<String>) -> Judged {
        let judged = Box::pin(self.judge_as(Manner::File(name), arrival)).await;
        self.record(&judged, None).await;
        judged
    }

    /// The processes that unpack, if there are any.
    pub fn workers(&self) -> Option<&Arc<Workers>> {
        self.workers.as_ref()
    }

    /// How long judging may take.
    pub fn judging_time(&self) -> Duration {
        self.judging_time
    }

    /// Messages that are judged at this moment.
    pub fn judging_now(&self) -> u32 {
        u32::try_from(self.most_judging.saturating_sub(self.judging.available_permits())).unwrap_or(u32::MAX)
    }

    /// Reads and checks a message and decides about it; nothing is done yet.
    pub async fn judge(&self, arrival: Arrival) -> Judged {
        self.judge_as(Manner::Mail, arrival).await
    }

    async fn judge_as(&self, manner: Manner, arrival: Arrival) -> Judged {
        let id = records::new_id();
        let mut times = BTreeMap::new();
        times.insert("receive".to_owned(), micros(arrival.receiving));
        let began = Instant::now();
        // Nobody waits longer for a turn than a turn may last: a sender that has given up meanwhile comes again, and
        // what it left behind would only be delivered twice. Without a turn the message is put off.
        let turn = tokio::time::timeout(self.judging_time, self.judging.acquire()).await;
        times.insert("wait".to_owned(), micros(began.elapsed()));

        let started = Instant::now();
        let (mut message, unread) = match &turn {
            Ok(_) => self.read(&manner, (arrival.raw, arrival.unmended), began).await,
            Err(_) => (shallow(arrival.raw, &self.limits), Some(too_slow(self.judging_time))),
        };
        note_stray(&mut message, &arrival.stray);
        times.insert("read".to_owned(), micros(started.elapsed()));
        let mail = Mail { session: arrival.session, envelope: arrival.envelope, message };

        let started = Instant::now();
        let mut found = arrival.early;
        found.faults.extend(unread);
        let checking = self.checks.mail(&mail, &found);
        match tokio::time::timeout(self.judging_time.saturating_sub(began.elapsed()), checking).await {
            Ok(more) => found.merge(more),
            Err(_) => found.faults.push(too_slow(self.judging_time)),
        }
        times.insert("checks".to_owned(), micros(started.elapsed()));
        for (check, time) in &found.times {
            *times.entry(check.clone()).or_default() += micros(*time);
        }
        for fault in &found.faults {
            tracing::warn!("{id}: {} could not look: {}: {}", fault.check, fault.cause, fault.detail);
        }

        let started = Instant::now();
        self.tell(&mut found);
        let advice = manner != Manner::Mail;
        let mut verdicts = self.verdicts(&id, &mail, &found, arrival.after_queue, advice);
        if manner == Manner::Mail && !arrival.after_queue {
            self.postpone(&mail, &mut found, &mut verdicts).await;
        }
        times.insert("judge".to_owned(), micros(started.elapsed()));

        let started = Instant::now();
        let faults = self.treat(&mail, &found, &mut verdicts, began).await;
        if !faults.is_empty() {
            let accepted = parts::are_accepted(&faults);
            found.faults.extend(faults);
            if !accepted {
                let fresh = self.verdicts(&id, &mail, &found, arrival.after_queue, advice);
                verdicts = sign::after_fault(verdicts, fresh);
            }
        }
        times.insert("parts".to_owned(), micros(started.elapsed()));

        let started = Instant::now();
        if let Err(fault) = self.sign(&mail, &found, &mut verdicts).await {
            tracing::error!("{id}: cannot be signed: {}", fault.detail);
            let accepted = fault.answer == OnFault::Accept;
            found.faults.push(fault);
            if !accepted {
                let fresh = self.verdicts(&id, &mail, &found, arrival.after_queue, advice);
                verdicts = sign::after_fault(verdicts, fresh);
            }
        }
        times.insert("sign".to_owned(), micros(started.elapsed()));
        let notice = (!advice).then(|| self.noticed.of(&mail, &verdicts, arrival.after_queue)).flatten();
        Judged { id, mail, found, verdicts, notice, times, began }
    }

    /// Reading is work for the processor. What is large goes to a thread of its own so that other sessions are not kept
    /// waiting; what is small is done sooner than it could be handed over. Containers are unpacked by a worker; ordinary
    /// mail never gets there. A reader that panics is a fault of ours: the message is then known by its header only, and must
    /// not pass for one that was looked into.
    async fn read(
        &self,
        manner: &Manner,
        (raw, unmended): (Bytes, Option<Bytes>),
        began: Instant,
    ) -> (Message, Option<Fault>) {
        const LARGE: usize = 256 << 10;
        let texts = self.checks.most_text(raw.len() as u64);
        let (manner, content) = (manner.clone(), raw.clone());
        let limits = Limits { texts, ..self.limits.clone() };
        let reading = move || match manner {
            Manner::Mail | Manner::Advice => Reading::mended(content, unmended, &limits),
            Manner::File(name) => Reading::file(content, name.as_deref(), &limits),
        };
        let read = match raw.len() {
            ..LARGE => catch_unwind(AssertUnwindSafe(reading)).ok(),
            _ => tokio::task::spawn_blocking(reading).await.ok(),
        };
        let done = match (read, &self.workers) {
            (None, _) => None,
            (Some(reading), _) if reading.is_done() => Some((reading.into_message(), None)),
            (Some(reading), Some(workers)) => {
                workers.unpack(reading, self.judging_time.saturating_sub(began.elapsed())).await
            }
            (Some(reading), None) => {
                let whole = tokio::task::spawn_blocking(move || reading.finish()).await;
                whole.ok().map(|message| (message, None))
            }
        };
        done.unwrap_or_else(|| {
            let fault = Fault {
                check: "reading".into(),
                cause: Cause::Bug,
                detail: "reading the message panicked; please report it".into(),
                answer: self.reading_fault,
            };
            (shallow(raw, &self.limits), Some(fault))
        })
    }

    fn verdicts(
        &self,
        id: &str,
        mail: &Mail,
        found: &Found,
        after_queue: bool,
        advice: bool,
    ) -> Vec<Verdict> {
        let case = Case {
            id,
            hostname: &self.hostname,
            mail,
            findings: &found.findings,
            faults: &found.faults,
            after_queue,
            advice,
            fields: &found.fields,
            prefixes: &found.prefixes,
            authserv_ids: &self.authserv_ids,
        };
        let mut verdicts = verdict::judge(&case, &self.policies, &self.headers);
        if !found.forced.is_empty() {
            verdict::force(&mut verdicts, &found.forced);
        }
        verdicts
    }

    /// Asks who of those that would get the message shall get it only when its sender comes again.
    async fn postpone(&self, mail: &Mail, found: &mut Found, verdicts: &mut Vec<Verdict>) {
        // Those that are put off get verdicts of their own, behind the others.
        for at in (0..verdicts.len()).rev().filter(|&at| verdicts[at].action.delivers()).collect::<Vec<_>>() {
            let (who, recipients) = ((&mail.session, &mail.envelope), verdicts[at].recipients.clone());
            let late = self.checks.after_data(who, &recipients, verdicts[at].score, found).await;
            let (findings, faults, fields) = (&late.findings, &late.faults, &late.fields);
            verdict::postpone(verdicts, at, &verdict::Late { findings, faults, fields });
            found.merge(Found { fields: Vec::new(), ..late });
        }
    }

    /// Does what was decided: first what must be on disk, then the next hop, then what its answers ask for.
    async fn carry_out(&self, judged: &Judged, mut plan: Plan, carrier: &mut dyn Carrier) -> Done {
        let started = Instant::now();
        note_unsafe(judged);
        let mut held = None;
        let wanted = plan.entry(&judged.verdicts, &[]);
        let held_there = plan.deliveries.is_empty()
            && recipients_of(&judged.verdicts, &plan.hold).len() == judged.mail.envelope.recipients.len()
            && plan.hold.first().is_some_and(|&place| carrier.hold(&judged.verdicts[place].reason));
        if !wanted.is_empty() && !held_there {
            match self.hold(judged, &wanted).await {
                Ok(key) => held = Some(key),
                Err(error) => {
                    tracing::error!("{}: cannot be put into the vault: {error}", judged.id);
                    plan = plan.without_vault(&judged.verdicts);
                }
            }
        }
        let mut results = Vec::with_capacity(plan.deliveries.len());
        for delivery in &plan.deliveries {
            results.push(self.deliver(judged, delivery, carrier).await);
        }
        let mut conclusion = plan.conclude(&results);
        let told = conclusion.to_bounce();
        if !told.is_empty() {
            conclusion = conclusion.bounced(self.bounce(judged, &told, carrier).await);
        }
        if !conclusion.hold_after.is_empty() {
            // Others have the message already, so its sender shall not send it again; these must not lose it. An entry
            // is never overwritten; that the first is gone for a moment costs nothing while nobody has heard a 250.
            if let Some(key) = held.take() {
                self.let_go(&key).await;
            }
            let all = plan.entry(&judged.verdicts, &conclusion.hold_after);
            match self.hold(judged, &all).await {
                Ok(key) => held = Some(key),
                Err(error) => {
                    tracing::error!("{}: cannot be put into the vault, deferred: {error}", judged.id);
                    conclusion = conclusion.without_vault();
                }
            }
        }
        if conclusion.drop_held
            && let Some(key) = held.take()
        {
            self.let_go(&key).await;
        }
        let next_hop = results.iter().flatten().next().map(|reply| format!("{}: {reply}", carrier.name()));
        Done { conclusion, held, next_hop, time: started.elapsed() }
    }

    async fn deliver(&self, judged: &Judged, delivery: &Delivery, carrier: &mut dyn Carrier) -> Vec<Reply> {
        let changing = &judged.verdicts[delivery.edits];
        let edits = &changing.edits;
        if parts::cannot_be_done(&judged.mail.message, edits) {
            tracing::error!("{}: a part that should be changed has no place of its own; deferred", judged.id);
            return vec![Reply::new(
                451,
                "4.6.0",
                format!("Message cannot be mended now (id {})", judged.id),
            )];
        }
        let shipment = Shipment {
            mail: &judged.mail,
            recipients: &delivery.recipients,
            extension: judged.verdicts[delivery.verdict].extension.as_deref(),
            edits,
            needs_body: changing.needs_body(),
        };
        carrier.carry(shipment).await
    }

    /// Tells the sender by mail that these recipients do not get it. The next hop's reply to that mail; None where none
    /// can be sent.
    async fn bounce(&self, judged: &Judged, told: &[usize], carrier: &mut dyn Carrier) -> Option<Reply> {
        let sender = judged.mail.envelope.sender.as_ref()?;
        let failed = judged.verdicts.iter().filter_map(|verdict| match &verdict.bounce {
            Bounce::Tell { refusal, text } if verdict.recipients.iter().any(|place| told.contains(place)) => {
                Some(Failed { recipients: &verdict.recipients, refusal, text })
            }
            _ => None,
        });
        let failed: Vec<Failed> = failed.collect();
        let teller = Teller { hostname: &self.hostname, id: &judged.id, now: jiff::Timestamp::now() };
        let (envelope, message) = bounce::notification(&judged.mail, sender, &failed, teller);
        let reply = carrier.notify(envelope, message).await;
        let id = &judged.id;
        match &reply {
            None => tracing::info!("{id}: NOTICE: no bounce can be sent from here; held instead"),
            Some(reply) if reply.is_positive() => tracing::info!("{id}: <{sender}> is told: {reply}"),
            Some(reply) => tracing::warn!("{id}: the next hop does not take the bounce: {reply}"),
        }
        reply
    }

    /// Puts the original into the vault, for these recipients; on disk when this returns.
    async fn hold(&self, judged: &Judged, recipients: &[usize]) -> Result<String, VaultError> {
        let Some(store) = &self.store else { return Err(VaultError::Io(std::io::Error::other("no vault"))) };
        let mut record = judged.record(None);
        record.quarantine = Some(Vault::key(&judged.id));
        let held = Held::new(record, &judged.mail.envelope, recipients);
        store.vault.put_async(held, judged.mail.message.raw.clone()).await
    }

    async fn let_go(&self, key: &str) {
        let Some(store) = &self.store else { return };
        if let Err(error) = store.vault.delete_async(key).await {
            tracing::warn!(key, %error, "a held message that its sender will send again stays in the vault");
        }
    }

    async fn record(&self, judged: &Judged, done: Option<&Done>) {
        let mut record = judged.record(done);
        if done.is_none() {
            record.advised();
        }
        let elapsed = judged.began.elapsed();
        self.metrics.record(&record, elapsed);
        records::log(&record, elapsed, self.log_format);
        if let Some(store) = &self.store {
            if let Some(done) = done.filter(|_| self.reports) {
                store.journal.dmarc(dmarc::messages(judged, done));
            }
            store.journal.write(Arc::new(record)).await;
        }
    }
}

impl Judged {
    /// The record of the message, as far as its story has gone.
    pub fn record(&self, done: Option<&Done>) -> Record {
        record_of::make(self, done)
    }

    /// The verdict that stands for the message where only one can be shown.
    pub fn worst(&self) -> &Verdict {
        record_of::worst(&self.verdicts)
    }
}

/// What is judged, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Manner {
    /// A mail that goes where we say.
    Mail,
    /// A mail that somebody asks about.
    Advice,
    /// A file that somebody asks about, under its name if it has one.
    File(Option<String>),
}

/// What was done about a message.
pub struct Done {
    conclusion: Conclusion,
    /// Key in the vault.
    held: Option<String>,
    next_hop: Option<String>,
    time: Duration,
}

/// The header alone.
fn shallow(raw: Bytes, limits: &Limits) -> Message {
    Message::read(raw, &mut Budget::new(&Limits { parts: 1, ..limits.clone() }))
}

/// What was mended on the way in is no longer in the message, but it was there.
fn note_stray(message: &mut Message, stray: &StrayReport) {
    let seen = [
        (DefectKind::BareCr, stray.bare_cr),
        (DefectKind::BareLf, stray.bare_lf),
        (DefectKind::SmuggledEnd, stray.lone_dot),
    ];
    for (kind, count) in seen.into_iter().filter(|(_, count)| *count > 0) {
        message.defect(kind, PartId(0), format!("{count} mended"));
    }
}

/// Where the policy says bounce and no bounce is safe, whoever reads the log shall know.
fn note_unsafe(judged: &Judged) {
    for verdict in &judged.verdicts {
        if let Bounce::Unsafe(why) = verdict.bounce {
            let category = verdict.category.name().to_uppercase();
            tracing::info!(
                "{}: NOTICE: DSN contains {category}; not bounced: {why}; held instead",
                judged.id
            );
        }
    }
}

fn recipients_of(verdicts: &[Verdict], places: &[usize]) -> Vec<usize> {
    places.iter().flat_map(|&place| verdicts[place].recipients.iter().copied()).collect()
}

fn too_slow(limit: Duration) -> Fault {
    Fault {
        check: "judging".into(),
        cause: Cause::Timeout,
        detail: format!("not done within limits.judging_time = {} s", limit.as_secs()),
        answer: OnFault::Defer,
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}
