//! Defects of a message as a whole: of its header's fields and of its lines.

use std::ops::Range;

use memchr::memchr_iter;

use crate::header::counted;
use crate::{DefectKind, Message, Part, PartId};

impl Message {
    /// Defects of the top-level header: missing fields, and such as may stand only once (RFC 5322 section 3.6).
    pub(crate) fn check_header(&mut self) {
        const ONCE: [&str; 12] = [
            "date",
            "from",
            "sender",
            "reply-to",
            "to",
            "cc",
            "bcc",
            "message-id",
            "in-reply-to",
            "references",
            "subject",
            "mime-version",
        ];
        let missing = [
            (DefectKind::MissingDate, "Date"),
            (DefectKind::MissingFrom, "From"),
            (DefectKind::MissingMessageId, "Message-ID"),
        ];
        let mut counts = [0usize; ONCE.len()];
        for field in &self.headers.fields {
            let name = self.headers.name(field);
            if let Some(place) = ONCE.iter().position(|once| once.eq_ignore_ascii_case(name)) {
                counts[place] += 1;
            }
        }
        let root = PartId(0);
        if self.headers.fields.is_empty() {
            self.defect(DefectKind::NoHeader, root, "the message has no header");
        }
        for (kind, name) in missing {
            if self.headers.get(name).is_none() {
                self.defect(kind, root, name);
            }
        }
        let twice: Vec<&str> =
            ONCE.iter().zip(counts).filter(|(_, n)| *n > 1).map(|(name, _)| *name).collect();
        if !twice.is_empty() {
            self.defect(DefectKind::DuplicateHeader, root, twice.join(", "));
        }
    }

    /// Defects of the message's lines, in one pass; parts sent as binary are left out.
    pub(crate) fn check_lines(&mut self) {
        let mut lines = LineCounts::default();
        let raw = self.raw.clone();
        let mut at = 0;
        for hole in self.binary_spans() {
            if hole.start >= at {
                lines.count(&raw, at..hole.start);
                at = hole.end;
            }
        }
        lines.count(&raw, at..raw.len());
        let root = PartId(0);
        for (kind, count, first) in lines.found() {
            let what = format!("at byte {first}");
            self.defect(kind, root, counted(count, what));
        }
    }

    /// Places of leaves whose content is announced as binary (RFC 3030), in order.
    fn binary_spans(&self) -> Vec<Range<usize>> {
        let is_binary = |part: &&Part| {
            !part.container
                && part
                    .headers
                    .text("Content-Transfer-Encoding")
                    .is_some_and(|cte| cte.eq_ignore_ascii_case("binary"))
        };
        let body = |part: &Part| {
            let span = part.span.clone()?;
            Some(span.end.checked_sub(part.body.len())?..span.end)
        };
        self.parts.iter().filter(is_binary).filter_map(body).collect()
    }
}

/// Counts of what is wrong with lines.
#[derive(Default)]
struct LineCounts {
    crlf: usize,
    bare_lf: Seen,
    bare_cr: Seen,
    nul: Seen,
    long: Seen,
}

#[derive(Default)]
struct Seen {
    count: usize,
    first: usize,
}

impl Seen {
    fn add(&mut self, at: usize) {
        if self.count == 0 {
            self.first = at;
        }
        self.count += 1;
    }
}

impl LineCounts {
    /// Longest line without its break (RFC 5322 section 2.1.1).
    const LONGEST: usize = 998;

    fn count(&mut self, raw: &[u8], range: Range<usize>) {
        let text = &raw[range.clone()];
        let mut start = 0;
        for end in memchr_iter(b'\n', text) {
            if end > 0 && text[end - 1] == b'\r' {
                self.crlf += 1;
            } else {
                self.bare_lf.add(range.start + end);
            }
            if end - start > Self::LONGEST + 1 {
                self.long.add(range.start + start);
            }
            start = end + 1;
        }
        if text.len() - start > Self::LONGEST {
            self.long.add(range.start + start);
        }
        for at in memchr_iter(b'\r', text) {
            if text.get(at + 1) != Some(&b'\n') {
                self.bare_cr.add(range.start + at);
            }
        }
        for at in memchr_iter(0, text) {
            self.nul.add(range.start + at);
        }
    }

    /// What was found. A message without any CRLF comes from a file with the line ends of Unix: its LF are not bare.
    fn found(self) -> Vec<(DefectKind, usize, usize)> {
        let bare_lf = if self.crlf == 0 { Seen::default() } else { self.bare_lf };
        let all = [
            (DefectKind::BareLf, bare_lf),
            (DefectKind::BareCr, self.bare_cr),
            (DefectKind::Nul, self.nul),
            (DefectKind::LongLine, self.long),
        ];
        all.into_iter()
            .filter(|(_, seen)| seen.count > 0)
            .map(|(kind, seen)| (kind, seen.count, seen.first))
            .collect()
    }
}
