//! Before the message: whether a client, a sender, a recipient is taken.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gatepost_mail::{
    Action, Address, Bounce, Category, Envelope, Fault, Finding, Mail, Recipient, Reply, Scope, Session,
    Verdict,
};

use super::{Done, Judged, Pipeline, shallow};
use crate::checks::Found;
use crate::records;
use crate::verdict::{self, Admission, Answers, Case, Request, Stage, Step};

/// Who wants to be taken.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// How far the session is.
    pub stage: Stage,
    /// Who is on the line.
    pub session: &'a Session,
    /// The sender, from [`Stage::Sender`] on, and the recipients that were taken before.
    pub envelope: &'a Envelope,
    /// At [`Stage::Recipient`]: the next one.
    pub recipient: Option<&'a Recipient>,
    /// What was found about session and sender.
    pub known: &'a Found,
    /// How long checks of the recipient may take before they have failed.
    pub wait: Duration,
}

/// What comes of it.
#[derive(Debug, Default)]
pub struct Admitted {
    /// What was found about the recipient, for the message's arrival.
    pub found: Found,
    /// What the client is to hear if it is not taken. It is recorded already.
    pub refusal: Option<Reply>,
}

impl Pipeline {
    /// Whether restrictions take a client, a sender, a recipient, and whether policies would refuse every message of
    /// theirs by what is known already. A refusal is recorded like that of a message.
    ///
    /// If the process dies here, the client has heard nothing and comes again.
    pub async fn admit(&self, asked: Asked<'_>) -> Admitted {
        let mut admitted = Admitted::default();
        if let Some(recipient) = asked.recipient {
            let Asked { session, envelope, wait, .. } = asked;
            admitted.found = self.checks.recipient(session, envelope, recipient, wait).await;
        }
        let mut all = asked.known.clone();
        all.merge(admitted.found.clone());
        let admission = self.restrict(asked, &mut admitted.found, &mut all).await;
        for warning in &admission.warnings {
            let client = asked.session.client.map(|client| client.to_string()).unwrap_or_default();
            tracing::info!("warn_if_reject: [{client}] {warning}");
        }
        if admission.refusal.is_some() {
            if asked.recipient.is_some() && all.findings.iter().any(is_unknown_recipient) {
                self.checks.wrong_recipient(asked.session).await;
            }
            admitted.refusal = self.refuse(asked, all, Some(&admission)).await;
            return admitted;
        }
        admitted.refusal = self.refuse(asked, all, None).await;
        let place = asked.envelope.recipients.len();
        if let Some(action) = admission.action {
            let reason = format!("{}: {}", admission.rule, admission.evidence);
            admitted.found.forced.push((place, action, reason));
        }
        for field in &admission.prepend {
            if let Some((name, value)) = field.split_once(':') {
                admitted.found.fields.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        admitted
    }

    /// Puts off whoever a check could not look at, for ways in that do not see the message: nobody else decides what that
    /// means. `known` holds all that was found. It is recorded like a refusal by restrictions.
    pub async fn put_off(&self, asked: Asked<'_>, fault: &Fault) -> Option<Reply> {
        let admission = Admission {
            refusal: Some(Reply::new(451, "4.3.0", "Cannot be checked now, try again later")),
            rule: fault.check.clone(),
            evidence: fault.detail.clone(),
            ..Admission::default()
        };
        self.refuse(asked, asked.known.clone(), Some(&admission)).await
    }

    /// Reads the restrictions, and asks the checks that they come upon.
    async fn restrict(&self, asked: Asked<'_>, found: &mut Found, all: &mut Found) -> Admission {
        let Asked { stage, session, envelope, recipient, .. } = asked;
        let sender = envelope.sender.as_ref().map(Address::to_string).unwrap_or_default();
        let mut done = Vec::new();
        loop {
            let request = Request {
                stage,
                session,
                sender: &sender,
                recipient,
                findings: &all.findings,
                faults: &all.faults,
                access: &all.access,
                asked: &done,
            };
            match (self.restrictions.admit(request), recipient) {
                (Step::Decided(admission), _) => return admission,
                (Step::Ask(_), None) => return Admission::default(),
                (Step::Ask(check), Some(recipient)) => {
                    done.push(check);
                    let more = self.checks.admit(check, session, envelope, recipient, all).await;
                    let is_over =
                        |finding: &&Finding| matches!(&*finding.symbol, "RATE_EXCEEDED" | "RATE_HELD");
                    if more.findings.iter().any(|finding| is_over(&finding)) {
                        self.metrics.protected("rate");
                    }
                    all.merge(more.clone());
                    found.merge(more);
                }
            }
        }
    }

    /// The refusal of whoever is not taken, recorded: by restrictions, or, without those, because every policy that may
    /// apply refuses by a category that nothing found later takes away. Points do not count yet.
    async fn refuse(&self, asked: Asked<'_>, mut all: Found, by: Option<&Admission>) -> Option<Reply> {
        let Asked { session, envelope, recipient, .. } = asked;
        if by.is_none() && !self.may_refuse(asked, &all.findings) {
            return None;
        }
        let id = records::new_id();
        let alone = Envelope {
            sender: envelope.sender.clone(),
            parameters: envelope.parameters.clone(),
            recipients: recipient.cloned().into_iter().collect(),
        };
        all.findings.iter_mut().for_each(speak_of_the_only_one);
        let mail =
            Mail { session: session.clone(), envelope: alone, message: shallow(Bytes::new(), &self.limits) };
        let case = Case {
            id: &id,
            hostname: &self.hostname,
            mail: &mail,
            findings: &all.findings,
            faults: &[],
            after_queue: false,
            advice: false,
            fields: &[],
            prefixes: &[],
            authserv_ids: &[],
        };
        let mut verdicts = verdict::judge(&case, &self.policies, &self.headers);
        match by {
            Some(admission) => {
                verdicts.iter_mut().for_each(|verdict| self.restricted(verdict, admission, &id))
            }
            None if !verdicts.iter().all(is_certain) => return None,
            None => {}
        }
        let conclusion = verdict::plan(&verdicts, mail.envelope.recipients.len(), Answers::One).conclude(&[]);
        let reply = conclusion.one.clone();
        let (times, began) = (BTreeMap::new(), Instant::now());
        let judged = Judged { id, mail, found: all, verdicts, notice: None, times, began };
        let done = Done { conclusion, held: None, next_hop: None, time: Duration::ZERO };
        self.record(&judged, Some(&done)).await;
        Some(reply)
    }

    /// Whether some finding is reason enough for a policy, which is known soon; what it then comes to is judged.
    fn may_refuse(&self, asked: Asked<'_>, findings: &[Finding]) -> bool {
        let Asked { stage, session, envelope, recipient, .. } = asked;
        if findings.is_empty() {
            return false;
        }
        let sender = envelope.sender.as_ref();
        match recipient {
            Some(recipient) => self.policies.refuses(session, sender, &recipient.address, findings),
            None => self.policies.all_refuse(session, (stage >= Stage::Sender).then_some(sender), findings),
        }
    }

    /// A verdict by restrictions, whatever the policies say.
    fn restricted(&self, verdict: &mut Verdict, admission: &Admission, id: &str) {
        let Some(refusal) = &admission.refusal else { return };
        verdict.category = Category::Restricted;
        verdict.action = if refusal.is_transient() { Action::Defer } else { Action::Refuse };
        (verdict.keep, verdict.bounce) = (false, Bounce::None);
        verdict.reason = match admission.evidence.as_str() {
            "" => admission.rule.clone(),
            evidence => format!("{}: {evidence}", admission.rule),
        };
        verdict.reply = refusal.clone();
        if self.restrictions.show_id() {
            verdict.reply.text = format!("{} (id {id})", refusal.text);
        }
    }
}

/// Refused because there is nobody of that name, not because of who asks.
fn is_unknown_recipient(finding: &Finding) -> bool {
    matches!(&*finding.symbol, "RCPT_UNKNOWN" | "RCPT_UNVERIFIED")
}

/// The place of the next recipient is that of the only one in its own record.
fn speak_of_the_only_one(finding: &mut Finding) {
    if matches!(finding.scope, Scope::Recipient(_)) {
        finding.scope = Scope::Recipient(0);
    }
}

/// Refused by a category of some finding, which nothing found later takes away.
fn is_certain(verdict: &Verdict) -> bool {
    let decided = verdict.weighed.iter().any(|weighed| weighed.category == Some(verdict.category));
    verdict.action == Action::Refuse && decided
}
