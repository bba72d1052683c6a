//! GTUBE, the generic test for unsolicited bulk email: a line that every spam filter takes for spam, so that an
//! installation can be tried with a harmless message.

use std::sync::LazyLock;
use std::time::Duration;

use gatepost_mail::{Counts, FileKind, Finding, Mail, Message, OnFault, Points};
use memchr::memmem::Finder;

use super::catalogue::{Built, Resources};
use super::{Answer, Check, Found, SymbolInfo, looked};
use crate::config::Config;

/// What it finds.
pub static SYMBOLS: &[SymbolInfo] = &[SymbolInfo::new(
    SYMBOL,
    "the test pattern of unsolicited mail (GTUBE)",
    Counts::Points(Points::thousandths(1_000_000)),
)];

/// Makes the check.
pub fn build(config: &Config, _: &Resources) -> Built {
    Ok(if config.checks.gtube.enabled { vec![Box::new(Gtube)] } else { Vec::new() })
}

const SYMBOL: &str = "GTUBE";
const PATTERN: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PATTERN));

struct Gtube;

impl Check for Gtube {
    fn name(&self) -> &str {
        "gtube"
    }

    fn time(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// A mail without the test is an ordinary mail.
    fn on_fault(&self) -> OnFault {
        OnFault::Accept
    }

    fn on_mail<'a>(&'a self, mail: &'a Mail, _: &'a Found) -> Answer<'a> {
        look(&mail.message).and_then(|finding| looked(Ok(vec![finding].into())))
    }
}

/// Text parts first, so that the finding names the part; then the message as it came.
fn look(message: &Message) -> Option<Finding> {
    let evidence = "the GTUBE pattern";
    message
        .parts()
        .filter(|(_, part)| {
            matches!(part.detected.kind, FileKind::Text | FileKind::Html)
                || part.declared.starts_with("text/")
        })
        .find(|(_, part)| FINDER.find(&part.body).is_some())
        .map(|(id, _)| Finding::part(SYMBOL, id, evidence))
        .or_else(|| FINDER.find(&message.raw).map(|_| Finding::mail(SYMBOL, evidence)))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use gatepost_mail::{PartId, Scope};

    #[test]
    fn found_in_text_wherever_it_stands() {
        let broken = PATTERN.replace("XJS", "XJ S");
        for (raw, parts, expected) in [
            (
                format!("Subject: a\r\n\r\n{PATTERN}\r\n"),
                vec![("text/plain", PATTERN)],
                Some(Scope::Part(PartId(0))),
            ),
            (format!("Subject: {PATTERN}\r\n\r\n"), vec![("text/plain", "")], Some(Scope::Mail)),
            // Only the decoded part shows it.
            (
                "Subject: a\r\n\r\nWEpT".into(),
                vec![("multipart/mixed", ""), ("text/html", PATTERN)],
                Some(Scope::Part(PartId(1))),
            ),
            (format!("Subject: a\r\n\r\n{broken}\r\n"), vec![("text/plain", &broken)], None),
        ] {
            let mail = testing::mail(&raw, &parts);
            assert_eq!(look(&mail.message).map(|finding| finding.scope), expected, "{raw:?}");
        }
    }
}
