//! What sender authentication came to, for rules that ask for it.

use gatepost_auth::authentication::Authentication;
use gatepost_auth::spf::Scope;
use gatepost_auth::{arc, dkim, dmarc, spf};
use gatepost_rules::evals::{Dmarc, Known, Signature, SpfResult};

/// In the words of rules. What was not looked at stays unknown.
pub(super) fn of(authentication: Option<&Authentication>) -> Known {
    let Some(found) = authentication else { return Known::default() };
    let of_scope = |scope| found.spf.iter().find(|spf| spf.scope == scope);
    let tags = |of: fn(&dkim::Signature) -> &str| -> Vec<String> {
        let good = found.dkim.iter().flatten().filter(|signature| signature.outcome == dkim::Outcome::Pass);
        good.map(|signature| of(signature).to_owned()).collect()
    };
    let tags = [
        ("DKIMDOMAIN", tags(|signature| &signature.domain)),
        ("DKIMSELECTOR", tags(|signature| &signature.selector)),
        ("DKIMIDENTITY", tags(|signature| &signature.identity)),
    ];
    Known {
        // For a bounce HELO stands for the sender; rules about the sender do not count then.
        spf: of_scope(Scope::MailFrom).filter(|spf| !spf.bounce).map(|spf| result(spf.result)),
        spf_helo: of_scope(Scope::Helo).map(|spf| result(spf.result)),
        dkim: found.dkim.as_ref().map(|signatures| signatures.iter().map(signature).collect()),
        arc: found.arc.as_ref().and_then(|chain| match chain.status {
            arc::Status::None => None,
            arc::Status::Pass => Some(true),
            arc::Status::Fail => Some(false),
        }),
        dmarc: found.dmarc.as_ref().and_then(of_dmarc),
        tags: tags
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(tag, values)| (tag.into(), values))
            .collect(),
        ..Known::default()
    }
}

fn result(outcome: spf::Outcome) -> SpfResult {
    match outcome {
        spf::Outcome::None => SpfResult::None,
        spf::Outcome::Neutral => SpfResult::Neutral,
        spf::Outcome::Pass => SpfResult::Pass,
        spf::Outcome::Fail => SpfResult::Fail,
        spf::Outcome::SoftFail => SpfResult::Softfail,
        spf::Outcome::TempError => SpfResult::Temperror,
        spf::Outcome::PermError => SpfResult::Permerror,
    }
}

fn signature(signature: &dkim::Signature) -> Signature {
    let identity = signature.identity.rsplit_once('@').map(|(_, domain)| domain);
    let domain = identity.filter(|domain| !domain.is_empty()).unwrap_or(&signature.domain);
    Signature {
        identity_domain: domain.to_ascii_lowercase(),
        valid: signature.outcome == dkim::Outcome::Pass,
        testing: signature.testing,
        unknown: signature.outcome == dkim::Outcome::TempError,
    }
}

/// What could not be found out is not known.
fn of_dmarc(found: &dmarc::Dmarc) -> Option<Dmarc> {
    let policy = found.published.map(|policy| policy.name().to_owned());
    match found.result {
        dmarc::Outcome::None => Some(Dmarc { pass: false, policy: None }),
        dmarc::Outcome::Pass => Some(Dmarc { pass: true, policy }),
        dmarc::Outcome::Fail => Some(Dmarc { pass: false, policy }),
        dmarc::Outcome::TempError | dmarc::Outcome::PermError => None,
    }
}
