//! Malformed messages: each kind of defect is a symbol, named as the defect is.
//!
//! What a kind counts for by default is decided by one question: does it happen in mail that ordinary senders sent in
//! good faith? [`counts`] is the table; its reasons stand beside it. Zero points is not "ignored": the finding is in
//! the record, and a policy can weigh it or give it a category.

use std::time::Duration;

use gatepost_mail::{Category, Counts, Defect, DefectKind, Finding, Mail, OnFault, Points};

use super::catalogue::{Built, Resources};
use super::{Answer, Check, Found, SymbolInfo, looked};
use crate::config::Config;

/// One symbol for each kind of defect.
pub fn symbols(_: &Config) -> Vec<SymbolInfo> {
    DefectKind::ALL.iter().map(|&kind| SymbolInfo::new(kind.name(), kind.meaning(), counts(kind))).collect()
}

/// Makes the check.
pub fn build(config: &Config, _: &Resources) -> Built {
    Ok(if config.checks.structure.enabled { vec![Box::new(Structure)] } else { Vec::new() })
}

struct Structure;

impl Check for Structure {
    fn name(&self) -> &str {
        "structure"
    }

    fn time(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// The defects say what could not be looked into; not to know them is not to know what was not looked at.
    fn on_fault(&self) -> OnFault {
        OnFault::Defer
    }

    fn on_mail<'a>(&'a self, mail: &'a Mail, _: &'a Found) -> Answer<'a> {
        let defects = &mail.message.defects;
        if defects.is_empty() { None } else { looked(Ok(findings(defects).into())) }
    }
}

/// What a kind of defect counts for unless a policy says otherwise.
fn counts(kind: DefectKind) -> Counts {
    use DefectKind::*;
    const UNCHECKED: Counts = Counts::As(Category::Unchecked);
    const BAD_HEADER: Counts = Counts::As(Category::BadHeader);
    const fn points(thousandths: i64) -> Counts {
        Counts::Points(Points::thousandths(thousandths))
    }
    match kind {
        // There is something that nobody has looked into, and that the recipient's program may open.
        Encrypted | Over(_) | Partial | UnknownMethod => UNCHECKED,
        // The content is fetched by the reader, after the check. No mail program does so unasked.
        ExternalBody => points(1000),

        // What amavis calls a bad header: readers disagree where the header ends, what its lines are, or which of two
        // fields counts. Of 4,150 ordinary mails from 2002, 8 had 8-bit bytes in the header and none the others.
        NoHeader | BadHeaderLine | BadFolding | EightBitHeader | DuplicateHeader => BAD_HEADER,
        // Left out by scripts and web forms.
        MissingDate | MissingFrom => points(500),
        MissingMessageId | BadEncodedWord => points(100),

        // Lines. A bare CR or NUL is invisible in one program and cuts the text in another; bare LF and long lines
        // are everywhere in files and in what scripts send.
        BareCr => points(500),
        Nul => points(1000),
        BareLf | LongLine => points(0),
        // Nobody writes that by accident. It was mended, so it did not work here.
        SmuggledEnd => points(3000),

        // Structure that readers understand in several ways. Where fields differ, what their encodings and boundaries
        // make of the body is read as further parts, and OVER_PARTS tells of fields that are not read; but not every
        // reader's every way is known. Repeated and conflicting fields hardly happen by accident.
        DuplicateMimeHeader | ReusedBoundary | MisspeltMimeHeader => points(1500),
        // Forwards and bounces hold other mails as text, which some readers take apart; what comes out was looked at.
        OtherReading | LateHeader | HiddenEncoding => points(0),
        BadContentType | BadBoundary => points(500),
        BadParameter | BadTransferEncoding => points(200),
        MissingBoundary => points(500),
        // Mailing lists that add a footer, digests and truncated forwards do these all day: 3 of 100 ordinary mails.
        UnclosedBoundary | TextOutsideParts => points(0),
        BadBase64 | BadUuencode => points(300),
        TruncatedBase64 => points(100),
        BadQuotedPrintable | BadCharset => points(0),

        // What could be unpacked was checked; the rest would not open elsewhere either, except in lenient programs.
        BadArchive => points(1000),
        // Ordinary mail has such files too, and a malware scanner may know how to open them. Where none does, a policy
        // can make them count as unchecked.
        NotOpened => points(0),
        TruncatedArchive => points(300),
    }
}

/// One finding for each part and kind: a policy may give any kind a category, and a part that no finding names would
/// not be stripped. A verdict counts the points of a symbol once, so a hundred broken parts weigh what one does.
fn findings(defects: &[Defect]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for &kind in DefectKind::ALL {
        let mut last = None;
        let of_kind = defects.iter().filter(|defect| defect.kind == kind);
        let of_parts = of_kind.filter(|defect| last.replace(defect.part) != Some(defect.part));
        findings
            .extend(of_parts.map(|defect| Finding::part(kind.name(), defect.part, defect.detail.as_str())));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use gatepost_mail::{Limit, PartId, Scope};

    fn shown(defects: &[(DefectKind, usize, &str)]) -> Vec<String> {
        findings(&testing::defective(defects).message.defects)
            .into_iter()
            .map(|finding| match finding.scope {
                Scope::Part(PartId(part)) => format!("{} in {part}: {}", finding.symbol, finding.evidence),
                scope => panic!("{scope:?}"),
            })
            .collect()
    }

    #[test]
    fn each_defect_is_a_finding() {
        use DefectKind::*;
        assert_eq!(shown(&[]), [""; 0]);
        assert_eq!(shown(&[(BareCr, 0, "line 3")]), ["BARE_CR in 0: line 3"]);
        assert_eq!(
            shown(&[(BadBase64, 1, "a"), (BadBase64, 2, "b"), (BadBase64, 3, "c")]),
            ["BAD_BASE64 in 1: a", "BAD_BASE64 in 2: b", "BAD_BASE64 in 3: c"]
        );
        assert_eq!(
            shown(&[
                (Encrypted, 2, "b.zip"),
                (Encrypted, 2, "b.zip"),
                (Encrypted, 3, "c.zip"),
                (Nul, 0, "body")
            ]),
            ["NUL_BYTE in 0: body", "ENCRYPTED in 2: b.zip", "ENCRYPTED in 3: c.zip"]
        );
    }

    #[test]
    fn every_part_is_named() {
        for kind in [DefectKind::Encrypted, DefectKind::BadBase64] {
            let defects: Vec<_> = (0..5000).map(|part| (kind, part, "x")).collect();
            assert_eq!(shown(&defects).len(), 5000, "{kind:?}");
        }
    }

    #[test]
    fn what_could_not_be_looked_into_is_unchecked() {
        for kind in [
            DefectKind::Encrypted,
            DefectKind::Partial,
            DefectKind::UnknownMethod,
            DefectKind::Over(Limit::Time),
            DefectKind::Over(Limit::Ratio),
        ] {
            assert_eq!(counts(kind), Counts::As(Category::Unchecked), "{kind:?}");
        }
    }

    /// Real messages of a mailing list: what their senders wrote in good faith puts none of them into a category.
    #[test]
    fn ordinary_mail_is_in_no_category() {
        let suites = std::env::var_os("GATEPOST_SUITES").map(std::path::PathBuf::from).unwrap_or_else(|| {
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites")
        });
        let Ok(folder) = std::fs::read_dir(suites.join("ham-signed")) else {
            println!("skipped: no suites in {}", suites.display());
            return;
        };
        let mails = folder
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "eml"));
        for path in mails {
            let mut budget = gatepost_mail::Budget::new(&gatepost_mail::Limits::default());
            let message = gatepost_mail::Message::read(std::fs::read(&path).unwrap().into(), &mut budget);
            for defect in &message.defects {
                assert!(matches!(counts(defect.kind), Counts::Points(_)), "{}: {defect:?}", path.display());
            }
        }
    }

    /// Being malformed in one way is a sign, not a verdict: no kind reaches the mark by itself.
    #[test]
    fn being_malformed_is_not_being_spam() {
        let mark: Points = "6.31".parse().unwrap();
        for &kind in DefectKind::ALL {
            match counts(kind) {
                Counts::Points(points) => assert!(Points::ZERO <= points && points < mark, "{kind:?}"),
                Counts::As(category) => {
                    assert!(matches!(category, Category::BadHeader | Category::Unchecked), "{kind:?}");
                }
            }
        }
    }
}
