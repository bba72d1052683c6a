//! What authors' domains are told about a message in DMARC's aggregate reports (RFC 9990).

use gatepost_auth::dmarc::{Dmarc, Outcome, Policy, Softened};
use gatepost_auth::report::{Disposition, DkimResult, Override, Reason, Row, SpfResult};
use gatepost_mail::{Action, Category, Envelope};

use super::{Done, Judged};
use crate::records::DmarcMessage;
use crate::verdict::Conclusion;

/// One for each author's domain that asks for reports. None for mail that comes again, or whose client nobody knows.
pub(super) fn messages(judged: &Judged, done: &Done) -> Vec<DmarcMessage> {
    let known = judged.found.authentication.as_deref();
    let Some((known, dmarc)) = known.and_then(|known| Some((known, known.dmarc.as_ref()?))) else {
        return Vec::new();
    };
    let (Some(client), false) = (known.client, comes_again(&done.conclusion)) else {
        return Vec::new();
    };
    let envelope = &judged.mail.envelope;
    let disposition = disposition(judged, dmarc, known.wanted());
    let mut reasons = Vec::new();
    if let Some(overridden) = &known.overridden {
        reasons.push(Reason { kind: overridden.kind, comment: overridden.why.clone() });
    } else if let Some(softened) = dmarc.softened {
        let kind = match softened {
            Softened::Testing => Override::TestMode,
            Softened::NotDrawn => Override::SampledOut,
        };
        reasons.push(Reason { kind, comment: String::new() });
    } else if is_milder(disposition, known.wanted()) {
        reasons.push(Reason { kind: Override::LocalPolicy, comment: String::new() });
    }
    let row = Row {
        source: client.to_canonical(),
        count: 1,
        disposition,
        dkim_aligned: false,
        spf_aligned: false,
        reasons,
        header_from: String::new(),
        envelope_from: envelope.sender.as_ref().map(|sender| sender.domain().to_lowercase()),
        envelope_to: one_domain(envelope),
        dkim: known.dkim.iter().flatten().map(DkimResult::from).collect(),
        spf: known.mail_from().map(SpfResult::from),
    };
    DmarcMessage::of(dmarc, jiff::Timestamp::now(), &row)
}

/// Whether the sender was told to come again with all of it, by us or by the next hop: only what it is told then counts.
fn comes_again(conclusion: &Conclusion) -> bool {
    let each = &conclusion.each;
    conclusion.one.is_transient() && each.iter().all(gatepost_mail::Reply::is_transient)
}

/// What was done because of DMARC. What was refused for another reason counts as delivered: the domain is not to take it for
/// its own policy's work.
fn disposition(judged: &Judged, dmarc: &Dmarc, wanted: Policy) -> Disposition {
    let verdict = judged.worst();
    match (dmarc.result, verdict.action) {
        (Outcome::Pass, _) => Disposition::Pass,
        (Outcome::Fail, Action::Refuse | Action::Bounce | Action::Discard)
            if verdict.category == Category::Unauthenticated =>
        {
            Disposition::Reject
        }
        (Outcome::Fail, Action::Mark | Action::Wrap | Action::Quarantine | Action::Strip)
            if wanted != Policy::None && verdict.category <= Category::Unauthenticated =>
        {
            Disposition::Quarantine
        }
        _ => Disposition::None,
    }
}

fn is_milder(disposition: Disposition, wanted: Policy) -> bool {
    match wanted {
        Policy::None => false,
        Policy::Quarantine => disposition == Disposition::None,
        Policy::Reject => disposition != Disposition::Reject,
    }
}

/// The domain of the recipients, if there is only one.
fn one_domain(envelope: &Envelope) -> Option<String> {
    let mut domains = envelope.recipients.iter().map(|recipient| recipient.address.domain().to_lowercase());
    let first = domains.next()?;
    domains.all(|domain| domain == first).then_some(first)
}
