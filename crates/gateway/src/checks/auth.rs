//! Sender authentication: SPF as soon as the sender is named; DKIM, ARC and DMARC when the whole message is here.
//!
//! What could not be looked up is a fault, never "none"; it is told in `Authentication-Results` as `temperror` as well.
//! Own mail (from our networks, from users who have logged in) is not checked: it proves itself by the way it comes.

mod assess;
mod patience;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost_auth::authentication::Authentication;
use gatepost_auth::dkim::{self, Signature};
use gatepost_auth::dmarc::{self, Policy};
use gatepost_auth::report::Override;
use gatepost_auth::spf::{Scope, Spf};
use gatepost_auth::{arc, spf};
use gatepost_mail::{
    Category, Cause, Counts, Direction, Envelope, Fault, Finding, Mail, OnFault, Points, Session,
};

use super::catalogue::{Built, Resources};
use super::{Answer, Check, Found, SymbolInfo, looked, looking};
use crate::config::units::Net;
use crate::config::{Config, Problem};
use crate::resources::dns::Resolve;

pub use assess::{Assessor, Sender};

const fn points(name: &'static str, meaning: &'static str, thousandths: i64) -> SymbolInfo {
    SymbolInfo::new(name, meaning, Counts::Points(Points::thousandths(thousandths)))
}

/// Points in the manner of SpamAssassin's rules: a good result is worth little, since anybody can have one for a domain
/// of his own.
#[rustfmt::skip]
pub const SYMBOLS: &[SymbolInfo] = &[
    points("SPF_PASS", "the client may send for the domain of MAIL FROM", 0),
    points("SPF_FAIL", "the client may not send for the domain of MAIL FROM", 3000),
    points("SPF_SOFTFAIL", "the client probably may not send for the domain of MAIL FROM", 1000),
    points("SPF_NEUTRAL", "the domain of MAIL FROM says nothing about the client", 300),
    points("SPF_NONE", "the domain of MAIL FROM publishes no SPF record", 0),
    points("SPF_PERMERROR", "the SPF record of the domain of MAIL FROM cannot be used", 500),
    points("SPF_HELO_PASS", "the client may call itself what it does", 0),
    points("SPF_HELO_FAIL", "the client may not call itself what it does", 3000),
    points("SPF_HELO_SOFTFAIL", "the client probably may not call itself what it does", 500),
    points("SPF_HELO_NEUTRAL", "the domain of HELO says nothing about the client", 0),
    points("SPF_HELO_NONE", "the domain of HELO publishes no SPF record", 0),
    points("SPF_HELO_PERMERROR", "the SPF record of the domain of HELO cannot be used", 300),
    points("DKIM_SIGNED", "the message has a DKIM signature, good or not", 100),
    points("DKIM_VALID", "a DKIM signature verifies", -100),
    points("DKIM_VALID_AU", "a DKIM signature of the author's domain verifies", -100),
    points("DKIM_INVALID", "none of the DKIM signatures verifies", 100),
    points("DKIM_LENGTH", "something stands behind what a DKIM signature covers (l=)", 500),
    points("DKIM_WEAK_KEY", "the key of a DKIM signature is too short", 200),
    points("DKIM_EXPIRED", "a DKIM signature has expired", 100),
    points("DKIM_TESTING", "the domain of a DKIM signature is testing (t=y)", 0),
    points("ARC_PASS", "the ARC chain is whole", 0),
    points("ARC_FAIL", "the ARC chain is broken", 100),
    points("ARC_RESCUED", "DMARC fails, and trusted ARC sealers say that it passed before them", 0),
    points("DMARC_PASS", "the author's domain is authenticated", 0),
    points("DMARC_NONE", "the author's domain publishes no DMARC record", 0),
    points("DMARC_FAIL_NONE", "the author's domain is not authenticated, and asks for nothing", 1000),
    SymbolInfo::new("DMARC_FAIL_QUARANTINE", "the author's domain is not authenticated, and asks to be suspicious", Counts::As(Category::Spammy)),
    SymbolInfo::new("DMARC_FAIL_REJECT", "the author's domain is not authenticated, and asks to refuse", Counts::As(Category::Unauthenticated)),
    SymbolInfo::new("DMARC_TOO_MANY_AUTHORS", "From has more authors than are looked at, so that one of them may be anybody", Counts::As(Category::Unauthenticated)),
    points("DMARC_OVERRIDDEN", "DMARC fails, and the mail is trusted all the same", 0),
    points("DMARC_AUTHOR_UNCLEAR", "From is written so that readers may disagree about who the author is", 1000),
    points("DMARC_PERMERROR", "the message has no single author's domain, or its DMARC record cannot be used", 500),
];

/// One check for all of it: DMARC needs what the others find.
pub fn build(config: &Config, resources: &Resources) -> Built {
    let checks = &config.checks;
    let mut problems = Vec::new();
    if checks.dmarc.enabled && !(checks.spf.enabled && checks.dkim.enabled) {
        let why = "needs checks.spf and checks.dkim: without both, mail would fail that is good";
        problems.push(Problem::new("checks.dmarc.enabled", why));
    }
    if !checks.arc.trusted.is_empty() && !checks.arc.enabled {
        problems.push(Problem::new("checks.arc.trusted", "says nothing without checks.arc.enabled = true"));
    }
    if !checks.arc.seal.is_empty() && !checks.arc.enabled {
        problems.push(Problem::new(
            "checks.arc.seal",
            "needs checks.arc.enabled = true: a seal says what was found",
        ));
    }
    for (key, time) in [
        ("checks.spf.time", checks.spf.time),
        ("checks.dkim.time", checks.dkim.time),
        ("checks.dmarc.time", checks.dmarc.time),
        ("checks.arc.time", checks.arc.time),
    ] {
        if time.seconds() == 0 {
            problems.push(Problem::new(key, "is 0; nothing would ever be found out"));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    if !(checks.spf.enabled || checks.dkim.enabled || checks.arc.enabled) {
        return Ok(Vec::new());
    }
    let auth = Auth {
        assessor: Assessor::new(config),
        networks: config.networks.clone(),
        received_spf: config.authentication.received_spf,
        dns: resources.dns.clone(),
    };
    Ok(vec![Box::new(auth)])
}

struct Auth {
    assessor: Assessor,
    networks: Vec<Net>,
    received_spf: bool,
    dns: Arc<dyn Resolve>,
}

impl Auth {
    /// From our networks, from users who have logged in, by a listener of theirs.
    fn is_own(&self, session: &Session) -> bool {
        let inside = |client| self.networks.iter().any(|network| network.contains(client));
        session.user.is_some()
            || session.direction != Direction::Inbound
            || session.client.is_some_and(inside)
    }

    async fn sender(&self, session: &Session, envelope: &Envelope) -> Result<Found, Fault> {
        let from = envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default();
        let sender = Sender { client: session.client, helo: &session.helo, from: &from };
        let authentication = self.assessor.sender(self.dns.as_ref(), &sender, now()).await;
        let mut found: Found = authentication.spf.iter().filter_map(of_spf).collect::<Vec<_>>().into();
        found.faults.extend(authentication.spf.iter().filter_map(|spf| self.fault_of_spf(spf)));
        if let Some(spf) = authentication.mail_from().filter(|_| self.received_spf) {
            found.fields.push(("Received-SPF".into(), spf.received_spf()));
        }
        found.authentication = Some(Arc::new(authentication));
        Ok(found)
    }

    async fn message(&self, mail: &Mail, known: Option<&Authentication>) -> Result<Found, Fault> {
        let unknown;
        let known = match known {
            Some(known) => known,
            None => {
                unknown = Authentication { client: mail.session.client, ..Authentication::default() };
                &unknown
            }
        };
        let now = now();
        let raw = mail.message.raw.clone();
        let authentication = self.assessor.message(self.dns.as_ref(), known, raw, now).await;
        let mut found: Found = of_message(&authentication, &self.assessor, now).into();
        found.faults = self.faults_of_message(&authentication);
        found.authentication = Some(Arc::new(authentication));
        Ok(found)
    }

    fn fault_of_spf(&self, spf: &Spf) -> Option<Fault> {
        (spf.result == spf::Outcome::TempError).then(|| Fault {
            check: "spf".into(),
            cause: Cause::Unavailable,
            detail: spf.sentence(),
            answer: self.assessor.spf.on_fault,
        })
    }

    fn faults_of_message(&self, authentication: &Authentication) -> Vec<Fault> {
        let Assessor { dkim, arc, dmarc, .. } = &self.assessor;
        let fault = |check: &str, detail: String, answer| Fault {
            check: check.into(),
            cause: Cause::Unavailable,
            detail,
            answer,
        };
        let signatures = authentication.dkim.iter().flatten();
        let late = signatures.filter(|signature| signature.outcome == dkim::Outcome::TempError);
        let about = |signature: &Signature| {
            format!("{}._domainkey.{}: {}", signature.selector, signature.domain, signature.reason)
        };
        let mut faults: Vec<Fault> =
            late.map(|signature| fault("dkim", about(signature), dkim.on_fault)).collect();
        if let Some(chain) = authentication.arc.as_ref().filter(|chain| chain.temporary) {
            faults.push(fault("arc", chain.reason.clone(), arc.on_fault));
        }
        let result = authentication.dmarc.as_ref();
        if let Some(result) = result.filter(|dmarc| dmarc.result == dmarc::Outcome::TempError) {
            let doubtful = result.is_in_doubt() && authentication.overridden.is_none();
            let answer = if doubtful { dmarc.on_doubt } else { dmarc.on_fault };
            faults.push(fault("dmarc", result.why.clone(), answer));
        }
        faults
    }
}

impl Check for Auth {
    fn name(&self) -> &str {
        "auth"
    }

    /// Its parts keep their own times; this is for what nobody foresaw.
    fn time(&self) -> Duration {
        let Assessor { spf, dkim, arc, dmarc, .. } = &self.assessor;
        let message = dkim.time.duration().max(arc.time.duration()) + dmarc.time.duration();
        spf.time.duration().max(message) + Duration::from_secs(5)
    }

    fn on_fault(&self) -> OnFault {
        let Assessor { spf, dkim, arc, dmarc, .. } = &self.assessor;
        spf.on_fault.max(dkim.on_fault).max(arc.on_fault).max(dmarc.on_fault)
    }

    fn on_sender<'a>(&'a self, session: &'a Session, envelope: &'a Envelope) -> Answer<'a> {
        if self.is_own(session) {
            session.user.as_ref()?;
            let authentication =
                Authentication { login: true, client: session.client, ..Authentication::default() };
            return looked(Ok(Found { authentication: Some(Arc::new(authentication)), ..Found::default() }));
        }
        looking(self.sender(session, envelope))
    }

    fn on_mail<'a>(&'a self, mail: &'a Mail, known: &'a Found) -> Answer<'a> {
        if self.is_own(&mail.session) {
            return None;
        }
        looking(self.message(mail, known.authentication.as_deref()))
    }
}

fn of_spf(spf: &Spf) -> Option<Finding> {
    use spf::Outcome::{Fail, Neutral, Pass, PermError, SoftFail, TempError};
    let symbol = match (spf.scope, spf.result) {
        (_, TempError) => return None,
        (Scope::MailFrom, Pass) => "SPF_PASS",
        (Scope::MailFrom, Fail) => "SPF_FAIL",
        (Scope::MailFrom, SoftFail) => "SPF_SOFTFAIL",
        (Scope::MailFrom, Neutral) => "SPF_NEUTRAL",
        (Scope::MailFrom, spf::Outcome::None) => "SPF_NONE",
        (Scope::MailFrom, PermError) => "SPF_PERMERROR",
        (Scope::Helo, Pass) => "SPF_HELO_PASS",
        (Scope::Helo, Fail) => "SPF_HELO_FAIL",
        (Scope::Helo, SoftFail) => "SPF_HELO_SOFTFAIL",
        (Scope::Helo, Neutral) => "SPF_HELO_NEUTRAL",
        (Scope::Helo, spf::Outcome::None) => "SPF_HELO_NONE",
        (Scope::Helo, PermError) => "SPF_HELO_PERMERROR",
    };
    let mut evidence = spf.sentence();
    if let Some(explanation) = &spf.explanation {
        evidence = format!("{evidence}; the domain explains: {explanation}");
    }
    Some(Finding::mail(symbol, evidence))
}

fn of_message(authentication: &Authentication, assessor: &Assessor, now: i64) -> Vec<Finding> {
    let author = authentication.dmarc.as_ref().map(|dmarc| dmarc.domain.as_str()).unwrap_or_default();
    let signatures = authentication.dkim.as_deref().unwrap_or_default();
    let mut findings = of_dkim(signatures, author, assessor.dkim.min_bits, now);
    if let Some(chain) = authentication.arc.as_ref().filter(|chain| !chain.temporary) {
        let sealers = || chain.sealers().collect::<Vec<_>>().join(", ");
        match chain.status {
            arc::Status::None => {}
            arc::Status::Pass => findings.push(Finding::mail("ARC_PASS", sealers())),
            arc::Status::Fail => findings.push(Finding::mail("ARC_FAIL", chain.reason.clone())),
        }
    }
    let ambiguous: Vec<&str> = authentication
        .author
        .iter()
        .filter(|problem| problem.is_ambiguous())
        .map(|problem| problem.text())
        .collect();
    if !ambiguous.is_empty() {
        findings.push(Finding::mail("DMARC_AUTHOR_UNCLEAR", ambiguous.join("; ")));
    }
    let Some(dmarc) = &authentication.dmarc else { return findings };
    let symbol = match (dmarc.result, &authentication.overridden) {
        (dmarc::Outcome::TempError, _) => return findings,
        (dmarc::Outcome::PermError, _) if dmarc.crowded => "DMARC_TOO_MANY_AUTHORS",
        (dmarc::Outcome::Fail, Some(overridden)) => {
            if overridden.kind == Override::LocalPolicy {
                findings.push(Finding::mail("ARC_RESCUED", overridden.why.clone()));
            }
            let evidence = format!("{}; {}", dmarc.why, overridden.why);
            findings.push(Finding::mail("DMARC_OVERRIDDEN", evidence));
            return findings;
        }
        (dmarc::Outcome::Pass, _) => "DMARC_PASS",
        (dmarc::Outcome::None, _) => "DMARC_NONE",
        (dmarc::Outcome::PermError, _) => "DMARC_PERMERROR",
        (dmarc::Outcome::Fail, None) => match dmarc.policy {
            Policy::None => "DMARC_FAIL_NONE",
            Policy::Quarantine => "DMARC_FAIL_QUARANTINE",
            Policy::Reject => "DMARC_FAIL_REJECT",
        },
    };
    findings.push(Finding::mail(symbol, dmarc.why.clone()));
    findings
}

fn of_dkim(signatures: &[Signature], author: &str, min_bits: u32, now: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |symbol: &'static str,
                   is_it: &dyn Fn(&Signature) -> bool,
                   tell: &dyn Fn(&Signature) -> String| {
        let told: Vec<String> = signatures.iter().filter(|signature| is_it(signature)).map(tell).collect();
        if !told.is_empty() {
            findings.push(Finding::mail(symbol, told.join("; ")));
        }
    };
    let passes = |signature: &Signature| signature.outcome == dkim::Outcome::Pass;
    let by = |signature: &Signature| signature.domain.clone();
    let why = |signature: &Signature| format!("{}: {}", signature.domain, signature.reason);
    let any = signatures.iter().any(passes);
    let temporary = signatures.iter().any(|signature| signature.outcome == dkim::Outcome::TempError);
    let weak = |signature: &Signature| {
        signature.algorithm.to_ascii_lowercase().starts_with("rsa")
            && signature.key_bits.is_some_and(|bits| bits < min_bits as usize)
    };
    let expired = |signature: &Signature| {
        signature.expires.is_some_and(|expires| i64::try_from(expires).is_ok_and(|expires| expires < now))
    };
    add("DKIM_SIGNED", &|_| true, &by);
    add("DKIM_VALID", &passes, &by);
    add("DKIM_VALID_AU", &|signature| passes(signature) && signature.domain == author, &by);
    add("DKIM_INVALID", &|_| !any && !temporary, &why);
    add("DKIM_LENGTH", &|signature| signature.unsigned > 0, &|signature| {
        format!("{}: {} bytes are not signed", signature.domain, signature.unsigned)
    });
    add("DKIM_WEAK_KEY", &weak, &|signature| {
        format!("{}: {} bits", signature.domain, signature.key_bits.unwrap_or_default())
    });
    add("DKIM_EXPIRED", &expired, &why);
    add("DKIM_TESTING", &|signature| signature.testing, &by);
    findings
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
