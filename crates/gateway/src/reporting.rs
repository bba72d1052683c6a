//! DMARC aggregate reports: from what the journal has to those who ask for it.
//!
//! A report is made, sent to each of its destinations, and ended, and each step is in the journal before the next one.
//! Whoever dies after a mail was taken and before that is written sends it once more, the same to the letter.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatepost_auth::dmarc::{Record, parse_record};
use gatepost_auth::report::{Published, Report, Sender, Verified, destinations};
use gatepost_mail::{Address, Envelope, Parameters, Recipient};
use jiff::Timestamp;

use crate::config::typed::DmarcReports;
use crate::effects::release::ReleaseHops;
use crate::records::{Due, Journal, JournalError, Pending, ReportState, Reported};
use crate::resources::dns::Resolve;

/// A report that could not be sent for so long is given up.
const GIVEN_UP: Duration = Duration::from_secs(3 * 24 * 3600);

/// Before this much of a new day is over, messages of the old one may still be on their way into the journal.
const LATE: Duration = Duration::from_secs(600);

/// Longest text of what happened.
const DETAIL: usize = 500;

/// Makes and sends reports.
pub struct Reporter {
    /// Who reports.
    pub settings: DmarcReports,
    /// Name of this host, for ids.
    pub hostname: String,
    /// Looks destinations up.
    pub dns: Arc<dyn Resolve>,
    /// Where mail goes.
    pub hops: Arc<ReleaseHops>,
    /// The listener whose next hop it is.
    pub listener: String,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Reports made.
    pub made: usize,
    /// Reports that everybody has now.
    pub sent: usize,
    /// Reports that nobody wants.
    pub unwanted: usize,
    /// Reports that are tried again.
    pub later: usize,
    /// Reports that were given up.
    pub failed: usize,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Round { made, sent, unwanted, later, failed } = self;
        write!(
            f,
            "reports: {made} made, {sent} sent, {unwanted} wanted by nobody, {later} to be tried again, {failed} failed"
        )
    }
}

/// The last midnight (UTC) for which all messages are in the journal.
pub fn last_midnight(now: Timestamp) -> Timestamp {
    const DAY: i64 = 86_400;
    let settled = now.checked_sub(LATE).unwrap_or(now).as_second();
    Timestamp::from_second(settled - settled.rem_euclid(DAY)).unwrap_or(now)
}

impl Reporter {
    /// The report about a span of one domain's messages.
    pub fn report(&self, id: &str, due: &Due, reported: Reported) -> (Report, Record) {
        // What is in the journal was read before; nothing stands in for a record that no longer can be.
        let record = parse_record(&reported.policy).unwrap_or_default();
        let mut errors: Vec<String> = record.problems.iter().take(5).cloned().collect();
        if reported.cut {
            errors.push(format!("there are more rows than these {}", reported.rows.len()));
        }
        let report = Report {
            org_name: self.org_name(),
            email: self.settings.email.clone(),
            extra_contact: Some(self.settings.extra_contact.clone()).filter(|contact| !contact.is_empty()),
            id: id.to_owned(),
            begin: due.begin.as_second(),
            // The last second that is in it.
            end: due.end.as_second() - 1,
            error: Some(errors.join("; ")).filter(|errors| !errors.is_empty()),
            generator: Some(concat!("gatepost ", env!("CARGO_PKG_VERSION")).to_owned()),
            published: Published::by(due.domain.clone(), &record),
            rows: reported.rows,
        };
        (report, record)
    }

    /// Our domain in reports: that of `email`.
    pub fn domain(&self) -> &str {
        self.settings.email.rsplit_once('@').map_or(&self.hostname, |(_, domain)| domain)
    }

    fn org_name(&self) -> String {
        if self.settings.org_name.is_empty() {
            self.domain().to_owned()
        } else {
            self.settings.org_name.clone()
        }
    }

    /// Makes reports of what is due and sends them, and those that an earlier round could not send.
    pub async fn round(
        &self,
        journal: &Journal,
        since: Timestamp,
        until: Timestamp,
        domain: Option<&str>,
    ) -> Result<Round, JournalError> {
        let mut round = Round::default();
        for due in journal.dmarc_due(since, until, domain).await? {
            round.made +=
                usize::from(journal.dmarc_make(&due, &self.hostname, Timestamp::now()).await?.is_some());
        }
        for pending in journal.dmarc_pending(domain).await? {
            if !journal.dmarc_claim(&pending.id, Timestamp::now()).await? {
                continue;
            }
            let (state, detail) = self.send(journal, &pending).await?;
            *match state {
                ReportState::Made => &mut round.later,
                ReportState::Sent => &mut round.sent,
                ReportState::Unwanted => &mut round.unwanted,
                ReportState::Failed => &mut round.failed,
            } += 1;
            tracing::info!(report = pending.id, state = state.name(), detail, "DMARC report");
            journal.dmarc_end(&pending.id, state, &detail).await?;
        }
        Ok(round)
    }

    /// Sends one report to those who do not have it yet. Gives what is to become of it, and what happened.
    async fn send(
        &self,
        journal: &Journal,
        pending: &Pending,
    ) -> Result<(ReportState, String), JournalError> {
        let due = Due { domain: pending.domain.clone(), begin: pending.begin, end: pending.end, messages: 0 };
        let Some(reported) = journal.dmarc_rows(&pending.id).await? else {
            return Ok((ReportState::Failed, "its messages are no longer in the journal".into()));
        };
        let (report, record) = self.report(&pending.id, &due, reported);
        let file = report.gzip();
        let mut sent_to = pending.sent_to.clone();
        let (mut told, mut later, mut failed) = (Vec::new(), false, false);
        for destination in destinations(self.dns.as_ref(), &pending.domain, &record).await {
            let (mailbox, limit) = match destination {
                Verified::To { mailbox, limit } => (mailbox, limit),
                Verified::No { uri, why } => {
                    told.push(format!("{uri}: {why}"));
                    continue;
                }
                Verified::Later { uri, why } => {
                    later = true;
                    told.push(format!("{uri}: {why}"));
                    continue;
                }
            };
            if sent_to.contains(&mailbox) {
                continue;
            }
            let sender = Sender { domain: self.domain(), from: &self.settings.email, now: Timestamp::now() };
            let mail = Bytes::from(report.mail(sender, &mailbox, &file));
            if limit.is_some_and(|limit| mail.len() as u64 > limit) {
                failed = true;
                told.push(format!(
                    "{mailbox}: it takes {} bytes at most, and the mail has {}",
                    limit.unwrap_or(0),
                    mail.len()
                ));
                continue;
            }
            // Whoever else would send it sees that we are at it.
            journal.dmarc_told(&pending.id, &sent_to, Timestamp::now()).await?;
            match self.deliver(&mailbox, mail).await {
                Delivered::Yes => {
                    sent_to.push(mailbox);
                    journal.dmarc_told(&pending.id, &sent_to, Timestamp::now()).await?;
                }
                Delivered::Later(why) => {
                    later = true;
                    told.push(format!("{mailbox}: {why}"));
                }
                Delivered::Never(why) => {
                    failed = true;
                    told.push(format!("{mailbox}: {why}"));
                }
            }
        }
        let is_old = Timestamp::now().duration_since(pending.made).unsigned_abs() > GIVEN_UP;
        let state = match (later && !is_old, sent_to.is_empty(), failed || later) {
            (true, _, _) => ReportState::Made,
            (false, false, _) => ReportState::Sent,
            (false, true, true) => ReportState::Failed,
            (false, true, false) => ReportState::Unwanted,
        };
        if !sent_to.is_empty() {
            told.insert(0, format!("sent to {}", sent_to.join(", ")));
        }
        let detail: String = told.join("; ").chars().take(DETAIL).collect();
        Ok((state, detail))
    }

    async fn deliver(&self, mailbox: &str, mail: Bytes) -> Delivered {
        let (Some(sender), Some(recipient)) = (Address::new(&self.settings.email), Address::new(mailbox))
        else {
            return Delivered::Never("no address".into());
        };
        let envelope = Envelope {
            sender: Some(sender),
            parameters: Parameters::default(),
            recipients: vec![Recipient::from(recipient)],
        };
        let (_, replies) = self.hops.send(&self.listener, &envelope, mail).await;
        match replies.first() {
            Some(reply) if reply.is_positive() => Delivered::Yes,
            Some(reply) if reply.is_permanent() => Delivered::Never(reply.to_string()),
            Some(reply) => Delivered::Later(reply.to_string()),
            None => Delivered::Later("the next hop said nothing".into()),
        }
    }
}

enum Delivered {
    Yes,
    Later(String),
    Never(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_over_when_its_last_messages_are_there() {
        for (now, midnight) in [
            ("2026-03-02T00:09:59Z", "2026-03-01T00:00:00Z"),
            ("2026-03-02T00:10:00Z", "2026-03-02T00:00:00Z"),
            ("2026-03-02T23:59:59Z", "2026-03-02T00:00:00Z"),
        ] {
            assert_eq!(last_midnight(now.parse().unwrap()), midnight.parse().unwrap(), "{now}");
        }
    }
}
