//! From a judged message to its record.

use gatepost_mail::{Address, Mail, PartId, Protocol, Scope, Session, Treated, Verdict, hex};

use super::{Done, Judged, micros};
use crate::records::{
    AuthenticationRecord, DefectRecord, FaultRecord, FindingRecord, PartRecord, Record, TreatedRecord,
    VerdictRecord, WeighedRecord,
};

/// The record, as far as the story has gone.
pub(super) fn make(judged: &Judged, done: Option<&Done>) -> Record {
    let Mail { session, envelope, message } = &judged.mail;
    let worst = worst(&judged.verdicts);
    let mut times_us = judged.times.clone();
    if let Some(done) = done {
        times_us.insert("carry_out".to_owned(), micros(done.time));
    }
    times_us.insert("total".to_owned(), micros(judged.began.elapsed()));
    let score = judged.verdicts.iter().map(|verdict| verdict.score).max().unwrap_or_default();
    Record {
        id: judged.id.clone(),
        time: jiff::Timestamp::now(),
        listener: session.listener.clone(),
        client: session.client,
        client_name: session.client_name.clone(),
        helo: session.helo.clone(),
        protocol: protocol(session),
        user: session.user.clone(),
        direction: session.direction,
        sender: envelope.sender.as_ref().map(Address::to_string),
        recipients: envelope.recipients.iter().map(|recipient| recipient.address.to_string()).collect(),
        from: message.from(),
        subject: message.subject(),
        message_id: message.message_id(),
        size: message.raw.len() as u64,
        category: worst.category,
        score,
        action: worst.action,
        policy: worst.policy.to_string(),
        findings: findings(judged, worst),
        faults: faults(judged),
        authentication: authentication(judged),
        parts: message.parts().map(|(id, _)| part(&judged.mail, id)).collect(),
        defects: defects(&judged.mail),
        verdicts: judged.verdicts.iter().map(|verdict| verdict_record(judged, verdict, done)).collect(),
        times_us,
        replies: done.map(replies).unwrap_or_default(),
        next_hop: done.and_then(|done| done.next_hop.clone()),
        quarantine: done.and_then(|done| done.held.clone()),
        notice: judged.notice.clone(),
    }
}

/// The verdict that stands for the message where only one can be shown.
pub(super) fn worst(verdicts: &[Verdict]) -> &Verdict {
    verdicts
        .iter()
        .max_by_key(|verdict| (verdict.category, verdict.score, verdict.action))
        .expect("judging yields at least one verdict")
}

fn findings(judged: &Judged, worst: &Verdict) -> Vec<FindingRecord> {
    let weight = |place| {
        worst.weighed.iter().filter(|weighed| weighed.finding == place).map(|weighed| weighed.points).sum()
    };
    let all = judged.found.findings.iter().enumerate();
    all.map(|(place, finding)| FindingRecord {
        symbol: finding.symbol.to_string(),
        weight: weight(place),
        scope: scope(&judged.mail, finding.scope),
        evidence: finding.evidence.clone(),
        meaning: finding.meaning.as_deref().map(str::to_owned),
    })
    .collect()
}

fn scope(mail: &Mail, scope: Scope) -> String {
    match scope {
        Scope::Mail => "mail".into(),
        Scope::Recipient(place) => match mail.envelope.recipients.get(place) {
            Some(recipient) => format!("recipient {}", recipient.address),
            None => format!("recipient {place}"),
        },
        Scope::Part(PartId(0)) => "message".into(),
        Scope::Part(part) => format!("part {}", mail.message.path(part)),
    }
}

fn faults(judged: &Judged) -> Vec<FaultRecord> {
    let all = judged.found.faults.iter();
    all.map(|fault| FaultRecord {
        check: fault.check.clone(),
        cause: fault.cause,
        detail: fault.detail.clone(),
        answer: fault.answer,
    })
    .collect()
}

fn authentication(judged: &Judged) -> Vec<AuthenticationRecord> {
    let told = judged.found.authentication.iter().flat_map(|authentication| authentication.told());
    told.map(|told| AuthenticationRecord {
        method: told.method.to_owned(),
        result: told.result.to_owned(),
        about: told.about,
        why: told.why,
    })
    .collect()
}

fn part(mail: &Mail, id: PartId) -> PartRecord {
    let part = mail.message.part(id);
    PartRecord {
        path: mail.message.path(id),
        names: part.names.clone(),
        name: part.name().map(str::to_owned),
        declared: part.declared.clone(),
        detected: part.detected.name.to_owned(),
        size: part.body.len() as u64,
        digest: hex(&part.sha256()),
    }
}

fn defects(mail: &Mail) -> Vec<DefectRecord> {
    let all = mail.message.defects.iter();
    all.map(|defect| DefectRecord {
        name: defect.kind.name().to_owned(),
        path: mail.message.path(defect.part),
        detail: defect.detail.clone(),
    })
    .collect()
}

fn verdict_record(judged: &Judged, verdict: &Verdict, done: Option<&Done>) -> VerdictRecord {
    let address = |&place: &usize| judged.mail.envelope.recipients[place].address.to_string();
    let weighed = verdict.weighed.iter().map(|weighed| WeighedRecord {
        symbol: judged.found.findings[weighed.finding].symbol.to_string(),
        points: weighed.points,
        category: weighed.category,
    });
    // Recipients of one verdict mostly fare alike; where they do not, each way is told once.
    let mut outcomes: Vec<String> = Vec::new();
    for &place in &verdict.recipients {
        let outcome = done.and_then(|done| done.conclusion.outcomes.get(place)).map(ToString::to_string);
        if let Some(outcome) = outcome.filter(|outcome| !outcomes.contains(outcome)) {
            outcomes.push(outcome);
        }
    }
    VerdictRecord {
        recipients: verdict.recipients.iter().map(address).collect(),
        policy: verdict.policy.to_string(),
        category: verdict.category,
        score: verdict.score,
        action: verdict.action,
        reason: verdict.reason.clone(),
        weighed: weighed.collect(),
        parts: treated(&judged.mail, verdict),
        outcome: outcomes.join("; "),
    }
}

fn treated(mail: &Mail, verdict: &Verdict) -> Vec<TreatedRecord> {
    if !verdict.action.delivers() {
        return Vec::new();
    }
    let record = |treated: &Treated| TreatedRecord {
        path: mail.message.path(treated.part),
        name: mail.message.part(treated.part).name().map(str::to_owned),
        done: treated.to_string(),
    };
    verdict.treated.iter().map(record).collect()
}

fn replies(done: &Done) -> Vec<String> {
    let conclusion = &done.conclusion;
    let mut replies = vec![conclusion.one.to_string()];
    if conclusion.each.iter().any(|reply| *reply != conclusion.one) {
        replies = conclusion.each.iter().map(ToString::to_string).collect();
    }
    replies
}

/// As in the `with` clause of a Received field (RFC 3848).
fn protocol(session: &Session) -> String {
    let base = match session.protocol {
        Protocol::Smtp => "SMTP",
        Protocol::Esmtp => "ESMTP",
        Protocol::Lmtp => "LMTP",
        Protocol::Local => return "local".into(),
    };
    let secured = if session.tls.is_some() && base != "SMTP" { "S" } else { "" };
    let authenticated = if session.user.is_some() && base != "SMTP" { "A" } else { "" };
    format!("{base}{secured}{authenticated}")
}
