//! Runs checks: side by side, each under its own time, and whatever one does to itself, the others are not harmed.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use gatepost_mail::{Cause, Envelope, Fault, Mail, OnFault, Points, Recipient, Session};

use super::catalogue::{CHECKS, Entry, Resources};
use super::{Answer, Check, Found, Health, Wave};
use crate::config::{Config, Problem};

/// The checks of one configuration, ready to run.
pub struct CheckSet {
    /// In catalogue order.
    facts: Vec<Box<dyn Check>>,
    /// In catalogue order.
    conclusions: Vec<Box<dyn Check>>,
}

impl CheckSet {
    /// Builds every check that the configuration turns on. Files it names are read here.
    pub fn build(config: &Config, resources: &Resources) -> Result<CheckSet, Vec<Problem>> {
        CheckSet::build_from(CHECKS, config, resources)
    }

    pub(super) fn build_from(
        entries: &[Entry],
        config: &Config,
        with: &Resources,
    ) -> Result<CheckSet, Vec<Problem>> {
        let mut set = CheckSet { facts: Vec::new(), conclusions: Vec::new() };
        let mut problems = Vec::new();
        for entry in entries {
            let wave = match entry.wave {
                Wave::Facts => &mut set.facts,
                Wave::Conclusions => &mut set.conclusions,
            };
            match (entry.build)(config, with) {
                Ok(checks) => wave.extend(checks),
                Err(more) => problems.extend(more),
            }
        }
        if problems.is_empty() { Ok(set) } else { Err(problems) }
    }

    /// What is found when a client has connected. `so_far` tells of it before all checks are done, here and below.
    pub async fn connect(&self, session: &Session, so_far: &SoFar) -> Found {
        run_telling(self.all(), |check| check.on_connect(session), LONGEST, so_far).await
    }

    /// What is found when the client has said who it is.
    pub async fn hello(&self, session: &Session, so_far: &SoFar) -> Found {
        run_telling(self.all(), |check| check.on_hello(session), LONGEST, so_far).await
    }

    /// What is found about a sender.
    pub async fn sender(&self, session: &Session, envelope: &Envelope, so_far: &SoFar) -> Found {
        run_telling(self.all(), |check| check.on_sender(session, envelope), LONGEST, so_far).await
    }

    /// What one check, by its name in the catalogue, has to say of a recipient that nothing else refuses.
    pub async fn admit(
        &self,
        check: &str,
        session: &Session,
        envelope: &Envelope,
        recipient: &Recipient,
        known: &Found,
    ) -> Found {
        let wanted = self.all().filter(|candidate| candidate.name() == check);
        run(wanted, |check| check.on_admit(session, envelope, recipient, known)).await
    }

    /// Lets checks know that a recipient which this client named does not exist.
    pub async fn wrong_recipient(&self, session: &Session) {
        join_all(self.all().filter_map(|check| check.on_wrong_recipient(session))).await;
    }

    /// The client's name, if its address has one that leads back to it, whether anybody asks for it or not.
    pub async fn client_name(&self, session: &Session) -> Found {
        run(self.all(), |check| check.client_name(session)).await
    }

    /// What is found about a recipient; it is not yet in the envelope. No check may take longer than `wait`; one that does
    /// has failed, as if it had taken longer than it may anyway.
    pub async fn recipient(
        &self,
        session: &Session,
        envelope: &Envelope,
        recipient: &Recipient,
        wait: Duration,
    ) -> Found {
        let so_far = SoFar::default();
        run_telling(self.all(), |check| check.on_recipient(session, envelope, recipient), wait, &so_far).await
    }

    /// The same for an envelope that is known as a whole: its client, and each recipient in turn.
    pub async fn envelope(&self, session: &Session, envelope: &Envelope) -> Found {
        let mut before = Envelope { recipients: Vec::new(), ..envelope.clone() };
        let so_far = SoFar::default();
        let (mut found, hello, sender) = tokio::join!(
            self.connect(session, &so_far),
            self.hello(session, &so_far),
            self.sender(session, &before, &so_far)
        );
        found.merge(hello);
        found.merge(sender);
        for recipient in &envelope.recipients {
            found.merge(self.recipient(session, &before, recipient, LONGEST).await);
            before.recipients.push(recipient.clone());
        }
        found
    }

    /// What is found in a whole mail. `before` holds what earlier stages found; conclusions see it beside the facts
    /// of this stage. It is not repeated in the result.
    pub async fn mail(&self, mail: &Mail, before: &Found) -> Found {
        let mut found = run(self.facts.iter(), |check| check.on_mail(mail, before)).await;
        if !self.conclusions.is_empty() {
            let mut facts = before.clone();
            facts.merge(found.clone());
            found.merge(run(self.conclusions.iter(), |check| check.on_mail(mail, &facts)).await);
        }
        found
    }

    /// What is found in a file that was made here, by those checks alone whose findings speak of parts.
    pub async fn file(&self, mail: &Mail) -> Found {
        const OF_PARTS: [&str; 4] = ["malware", "attachments", "structure", "content"];
        let nothing = Found::default();
        let asked = self.facts.iter().filter(|check| OF_PARTS.contains(&check.name()));
        run(asked, |check| check.on_mail(mail, &nothing)).await
    }

    /// What is found about recipients who would get a message, for it has this score for them. `known` holds all that was
    /// found before.
    pub async fn after_data(
        &self,
        (session, envelope): (&Session, &Envelope),
        recipients: &[usize],
        score: Points,
        known: &Found,
    ) -> Found {
        run(self.all(), |check| check.after_data(session, envelope, recipients, score, known)).await
    }

    /// Makes ready what the first message would otherwise wait for. Blocks.
    pub fn warm(&self) {
        self.all().for_each(|check| check.warm());
    }

    /// Names of symbols that rules may find besides those of the catalogue, and whether they may change while we run.
    pub fn more_symbols(&self) -> (BTreeSet<Box<str>>, bool) {
        let mut all = (BTreeSet::new(), false);
        for (names, change) in self.all().filter_map(|check| check.more_symbols()) {
            all.0.extend(names);
            all.1 |= change;
        }
        all
    }

    /// Bytes of text of documents that checks want of a message of that size.
    pub fn most_text(&self, size: u64) -> u64 {
        self.all().map(|check| check.most_text(size)).max().unwrap_or(0)
    }

    /// State of everything that the checks depend on.
    pub async fn health(&self) -> Vec<Health> {
        join_all(self.all().map(|check| check.health())).await.into_iter().flatten().collect()
    }

    /// Lets every check read its files again if they have changed. Blocks.
    pub fn reload(&self) {
        self.all().for_each(|check| check.reload());
    }

    /// Signatures of malware have changed: lets every check forget what it remembers of the old ones.
    pub fn forget(&self) {
        self.all().for_each(|check| check.forget());
    }

    /// And take the new ones, or have them taken.
    pub async fn renew(&self) {
        join_all(self.all().map(|check| check.renew())).await;
    }

    fn all(&self) -> impl Iterator<Item = &Box<dyn Check>> {
        self.facts.iter().chain(&self.conclusions)
    }
}

/// No check may take longer before the message, whatever it is configured to: a client is waiting at RCPT.
const LONGEST: Duration = Duration::from_secs(50);

/// What is known of a stage while some of its checks still look.
#[derive(Debug, Default)]
pub struct SoFar(Mutex<(Found, Vec<(String, OnFault)>)>);

impl SoFar {
    /// What was found so far, and for each check that has not answered yet a fault, as its configuration has it.
    pub fn known(&self) -> Found {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, pending) = (known.0.clone(), &known.1);
        found.faults.extend(pending.iter().map(|(check, answer)| Fault {
            check: check.clone(),
            cause: Cause::Timeout,
            detail: "no result yet".into(),
            answer: *answer,
        }));
        found
    }

    fn begins(&self, check: &dyn Check) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.1.push((check.name().to_owned(), check.on_fault()));
    }

    fn ends(&self, check: &dyn Check, found: &Found) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.1.retain(|(pending, _)| pending != check.name());
        known.0.merge(found.clone());
    }
}

/// Runs one stage of some checks side by side; the result is in the order of the checks.
async fn run<'a>(
    checks: impl Iterator<Item = &'a Box<dyn Check>>,
    stage: impl Fn(&'a dyn Check) -> Answer<'a>,
) -> Found {
    let answers = checks.filter_map(|check| {
        let began = Instant::now();
        ask(check.as_ref(), &stage).map(|asked| finish(check.as_ref(), began, asked, Duration::MAX))
    });
    in_order(join_all(answers).await)
}

/// The same with a limit, telling what is known before all are done.
async fn run_telling<'a>(
    checks: impl Iterator<Item = &'a Box<dyn Check>>,
    stage: impl Fn(&'a dyn Check) -> Answer<'a>,
    limit: Duration,
    so_far: &SoFar,
) -> Found {
    let answers = checks.filter_map(|check| {
        let (check, began) = (check.as_ref(), Instant::now());
        let asked = ask(check, &stage)?;
        so_far.begins(check);
        Some(async move {
            let found = finish(check, began, asked, limit).await;
            so_far.ends(check, &found);
            found
        })
    });
    in_order(join_all(answers).await)
}

fn in_order(answers: Vec<Found>) -> Found {
    answers.into_iter().fold(Found::default(), |mut all, found| {
        all.merge(found);
        all
    })
}

/// The answer of a check, or the panic it answered with. None: it has nothing to do.
type Asked<'a> = Result<BoxFuture<'a, Result<Found, Fault>>, Box<dyn Any + Send>>;

/// What a check does before its first await runs here, so a panic may come from here as well.
fn ask<'a>(check: &'a dyn Check, stage: &impl Fn(&'a dyn Check) -> Answer<'a>) -> Option<Asked<'a>> {
    catch_unwind(AssertUnwindSafe(|| stage(check))).transpose()
}

/// Waits for one check's answer, within its time and the limit.
async fn finish<'a>(check: &'a dyn Check, began: Instant, asked: Asked<'a>, limit: Duration) -> Found {
    let limit = check.time().min(limit);
    let outcome = match asked {
        Ok(answer) => tokio::time::timeout(limit, AssertUnwindSafe(answer).catch_unwind()).await,
        Err(panic) => Ok(Err(panic)),
    };
    let fault =
        |cause, detail| Fault { check: check.name().to_owned(), cause, detail, answer: check.on_fault() };
    let mut found = match outcome {
        Ok(Ok(Ok(found))) => found,
        Ok(Ok(Err(fault))) => Found { faults: vec![fault], ..Found::default() },
        Ok(Err(panic)) => {
            let detail = format!("panicked: {}", panic_message(panic.as_ref()));
            tracing::error!(check = check.name(), "{detail}");
            Found { faults: vec![fault(Cause::Bug, detail)], ..Found::default() }
        }
        Err(_) => {
            let detail = format!("no result within {}", seconds(limit));
            Found { faults: vec![fault(Cause::Timeout, detail)], ..Found::default() }
        }
    };
    found.times.insert(0, (check.name().to_owned(), began.elapsed()));
    found
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// A time as people say it: `5 s`, `250 ms`.
pub(super) fn seconds(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Symbols;
    use super::super::{looked, looking, testing};
    use super::*;
    use gatepost_mail::{Finding, OnFault};

    /// A check whose answer to a whole mail is given; `name` says how it behaves.
    struct Fake(&'static str);

    impl Check for Fake {
        fn name(&self) -> &str {
            self.0
        }
        fn time(&self) -> Duration {
            Duration::from_millis(if self.0 == "hangs" { 30 } else { 5000 })
        }
        fn on_fault(&self) -> OnFault {
            OnFault::Quarantine
        }
        fn on_mail<'a>(&'a self, _: &'a Mail, facts: &'a Found) -> Answer<'a> {
            let found = move |evidence: String| Ok(vec![Finding::mail(self.0, evidence)].into());
            match self.0 {
                "idle" => None,
                "hangs" => looking(std::future::pending()),
                "panics" => looking(async { panic!("on purpose") }),
                "panics at once" => panic!("{} purpose", "on"),
                "fails" => looked(Err(Fault {
                    check: "fails".into(),
                    cause: Cause::Unavailable,
                    detail: "away".into(),
                    answer: OnFault::Accept,
                })),
                "slow" => looking(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    found(String::new())
                }),
                "concludes" => looked(found(
                    facts.findings.iter().map(|f| f.symbol.as_ref()).collect::<Vec<_>>().join("+"),
                )),
                _ => looked(found(String::new())),
            }
        }
    }

    fn set(facts: &[&'static str], conclusions: &[&'static str]) -> CheckSet {
        let boxed =
            |names: &[&'static str]| names.iter().map(|&n| Box::new(Fake(n)) as Box<dyn Check>).collect();
        CheckSet { facts: boxed(facts), conclusions: boxed(conclusions) }
    }

    #[tokio::test]
    async fn findings_stand_in_catalogue_order_and_conclusions_see_facts() {
        let mail = testing::mail("", &[("text/plain", "")]);
        let before = vec![Finding::mail("before", "")].into();
        let found = set(&["slow", "quick", "idle"], &["concludes"]).mail(&mail, &before).await;
        let symbols: Vec<_> = found.findings.iter().map(|f| f.symbol.as_ref()).collect();
        assert_eq!(symbols, ["slow", "quick", "concludes"]);
        assert_eq!(found.findings[2].evidence, "before+slow+quick");
        let times: Vec<_> = found.times.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(times, ["slow", "quick", "concludes"], "an idle check takes no time");
        assert!(found.times[0].1 >= Duration::from_millis(20));
    }

    #[tokio::test]
    async fn whatever_one_does_the_others_find() {
        let mail = testing::mail("", &[("text/plain", "")]);
        let found = set(&["panics", "hangs", "panics at once", "fails", "quick"], &[])
            .mail(&mail, &Found::default())
            .await;
        assert_eq!(found.findings.len(), 1);
        let faults: Vec<_> =
            found.faults.iter().map(|f| (f.check.as_str(), f.cause, f.detail.as_str(), f.answer)).collect();
        assert_eq!(
            faults,
            [
                ("panics", Cause::Bug, "panicked: on purpose", OnFault::Quarantine),
                ("hangs", Cause::Timeout, "no result within 30 ms", OnFault::Quarantine),
                ("panics at once", Cause::Bug, "panicked: on purpose", OnFault::Quarantine),
                ("fails", Cause::Unavailable, "away", OnFault::Accept),
            ]
        );
    }

    #[test]
    fn problems_of_all_checks_are_told_at_once() {
        fn broken(_: &Config, _: &Resources) -> super::super::catalogue::Built {
            Err(vec![Problem::new("checks.x", "wrong")])
        }
        let entry = || Entry {
            name: "x",
            wave: Wave::Facts,
            meaning: "x",
            symbols: Symbols::Fixed(&[]),
            build: broken,
        };
        let resources = super::super::dnsbl::testing::resources(&[]);
        let built = CheckSet::build_from(&[entry(), entry()], &Config::default(), &resources);
        assert_eq!(built.err().unwrap().len(), 2);
        assert!(CheckSet::build(&Config::default(), &resources).is_ok());
    }
}
