//! What SPF and DKIM have found, as DMARC takes it.

use super::{Identifier, Proof};
use crate::{dkim, spf};

/// SPF of MAIL FROM; what was checked for HELO alone proves nothing to DMARC (RFC 9989 section 4.4.2), so leave it out.
impl From<&spf::Spf> for Identifier {
    fn from(spf: &spf::Spf) -> Identifier {
        let proof = match (spf.result, spf.scope) {
            (spf::Outcome::Pass, spf::Scope::MailFrom) => Proof::Pass,
            (spf::Outcome::TempError, spf::Scope::MailFrom) => Proof::TempError,
            _ => Proof::Fail,
        };
        Identifier { domain: spf.domain.clone(), proof }
    }
}

impl From<&dkim::Signature> for Identifier {
    fn from(signature: &dkim::Signature) -> Identifier {
        let proof = match signature.outcome {
            dkim::Outcome::Pass => Proof::Pass,
            dkim::Outcome::TempError => Proof::TempError,
            _ => Proof::Fail,
        };
        Identifier { domain: signature.domain.clone(), proof }
    }
}
