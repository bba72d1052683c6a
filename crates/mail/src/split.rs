//! Splitting the body of a multipart at its boundary (RFC 2046 section 5.1.1), one part at a time.

use std::ops::Range;

use bytes::Bytes;
use memchr::{memchr, memmem};

use crate::parameters::ends;
use crate::{DefectKind, Message, PartId, header};

/// Bytes to be read, and where they stand in the raw message if they do.
#[derive(Clone)]
pub(crate) struct Source {
    pub bytes: Bytes,
    pub at: Option<usize>,
}

impl Source {
    pub(crate) fn slice(&self, range: Range<usize>) -> Source {
        Source { at: self.at.map(|at| at + range.start), bytes: self.bytes.slice(range) }
    }

    pub(crate) fn span(&self) -> Option<Range<usize>> {
        self.at.map(|at| at..at + self.bytes.len())
    }
}

/// What is wrong with a boundary (RFC 2046 section 5.1.1), if anything is.
pub(crate) fn wrong_boundary(boundary: &str) -> Option<&'static str> {
    /// Without the two hyphens.
    const LONGEST: usize = 70;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    // Too many mailers write other marks (`#`, `@`, `*` …) for them to mean anything.
    let usual = |byte: u8| byte.is_ascii_graphic() && byte != b'"' || allowed(byte);
    match boundary {
        "" => Some("is empty"),
        long if long.len() > LONGEST => Some("is longer than 70 characters"),
        text if text.ends_with(' ') => Some("ends in a space"),
        text if !text.bytes().all(usual) => Some("holds characters that are not allowed"),
        _ => None,
    }
}

/// The boundaries to try, in this order: as declared in each reading, without the space at its end, and as those find
/// it who look loosely.
pub(crate) fn boundary_candidates(declared: &[String], loose: &[Vec<u8>]) -> Vec<Vec<u8>> {
    /// Each costs a search through the whole body.
    const MOST: usize = 16;
    let mut candidates: Vec<Vec<u8>> = Vec::new();
    let texts = declared.iter().map(String::as_str);
    let trimmed = declared.iter().map(|text| text.trim());
    for boundary in texts.chain(trimmed).map(str::as_bytes).chain(loose.iter().map(Vec::as_slice)) {
        if !boundary.is_empty() && !candidates.iter().any(|known| known == boundary) {
            candidates.push(boundary.to_vec());
        }
    }
    ends(&mut candidates, MOST);
    candidates
}

/// The boundary that a body shows that has none of those declared.
pub(crate) fn guess_boundary(body: &[u8]) -> Option<Vec<u8>> {
    guess_boundaries(body).into_iter().next()
}

/// What looks like a boundary, whatever is declared: lines that begin with `--`, if a field of MIME stands behind them.
pub(crate) fn guess_boundaries(body: &[u8]) -> Vec<Vec<u8>> {
    /// Different ones, the first.
    const MOST: usize = 8;
    const LONGEST: usize = 1000;
    /// The boundary may have been folded, or another field may come first.
    const LINES: usize = 4;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let inside = memmem::find_iter(body, b"\n--").map(|at| at + 1);
    for start in body.starts_with(b"--").then_some(0).into_iter().chain(inside) {
        let mut lines = body[start..].split(|byte| *byte == b'\n');
        let line = lines.next().unwrap_or_default().trim_ascii_end();
        let is_field = |next: &[u8]| {
            memchr(b':', &next[..next.len().min(80)])
                .is_some_and(|colon| header::is_mime_field(&next[..colon]))
        };
        let header = lines.take(LINES).take_while(|next| !next.starts_with(b"--"));
        if line.len() <= LONGEST && header.into_iter().any(is_field) {
            let boundary = &line[2..];
            if !found.iter().any(|known| known == boundary) {
                found.push(boundary.to_vec());
            }
            if found.len() == MOST {
                break;
            }
        }
    }
    found
}

/// Splits a body at its boundary, one part at a time.
pub(crate) struct Splitter {
    body: Source,
    boundary: Vec<u8>,
    finder: memmem::Finder<'static>,
    /// Lines count as well on which other text stands behind the boundary or before it.
    loose: bool,
    /// Such lines were met, and did not count.
    lookalike: bool,
    /// Where the next part begins; None when there is none.
    next: Option<usize>,
    preamble: Range<usize>,
    epilogue: Option<Range<usize>>,
    closed: bool,
    reused: bool,
}

/// A line that parts the body.
struct Delimiter {
    /// The end of what stands before it, without the line break, which belongs to the delimiter.
    before: usize,
    /// The start of what stands behind its line.
    after: usize,
    /// `--` follows the boundary.
    closing: bool,
}

impl Splitter {
    /// A splitter for the first of these boundaries that appears in the body as it should; else for the first that
    /// appears in a longer line.
    pub(crate) fn first_that_appears(body: &Source, candidates: &[Vec<u8>]) -> Option<Splitter> {
        for loose in [false, true] {
            for boundary in candidates {
                let mut splitter = Splitter::new(body.clone(), boundary, loose);
                splitter.start();
                if splitter.next.is_some() {
                    return Some(splitter);
                }
            }
        }
        None
    }

    /// Once all parts were taken: a splitter for readers who let lines count that did not.
    pub(crate) fn loosely(&self) -> Option<Splitter> {
        if !self.lookalike {
            return None;
        }
        let mut splitter = Splitter::new(self.body.clone(), &self.boundary, true);
        splitter.start();
        splitter.next.is_some().then_some(splitter)
    }

    /// Whether it splits at this boundary.
    pub(crate) fn is_at(&self, boundary: &[u8]) -> bool {
        self.boundary == boundary
    }

    fn new(body: Source, boundary: &[u8], loose: bool) -> Splitter {
        let needle = [b"--", boundary].concat();
        Splitter {
            body,
            boundary: boundary.to_vec(),
            finder: memmem::Finder::new(&needle).into_owned(),
            loose,
            lookalike: false,
            next: None,
            preamble: 0..0,
            epilogue: None,
            closed: false,
            reused: false,
        }
    }

    /// Finds the first delimiter.
    fn start(&mut self) {
        if let Some(first) = self.delimiter(0) {
            self.preamble = 0..first.before;
            self.take(first);
        }
    }

    /// Goes on behind a delimiter.
    fn take(&mut self, delimiter: Delimiter) {
        if !delimiter.closing {
            self.reused |= self.closed;
            self.next = Some(delimiter.after);
            return;
        }
        self.closed = true;
        self.next = None;
        let mut end = self.body.bytes.len();
        let mut from = delimiter.after;
        // Some readers go on where the boundary opens again behind its closing line.
        while let Some(again) = self.delimiter(from) {
            if !again.closing {
                end = again.before.max(delimiter.after);
                self.reused = true;
                self.next = Some(again.after);
                break;
            }
            from = again.after;
        }
        self.epilogue.get_or_insert(delimiter.after..end);
    }

    /// The next part.
    pub(crate) fn next(&mut self) -> Option<Source> {
        let start = self.next.take()?;
        let end = match self.delimiter(start) {
            Some(delimiter) => {
                let end = delimiter.before.max(start);
                self.take(delimiter);
                end
            }
            None => {
                self.closed = false;
                self.body.bytes.len()
            }
        };
        Some(self.body.slice(start..end))
    }

    /// Finds the next delimiter at or behind `from`, which must be the beginning of a line.
    fn delimiter(&mut self, from: usize) -> Option<Delimiter> {
        let text = &self.body.bytes;
        let mut at = from;
        while let Some(found) = self.finder.find(text.get(at..)?) {
            let start = at + found;
            at = start + 2 + self.boundary.len();
            let blank = text[..start].iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            let indent = start - blank;
            let line_begins = indent == 0 || text[indent - 1] == b'\n';
            if !line_begins && !self.loose {
                self.lookalike = true;
                continue;
            }
            let line_end = memchr(b'\n', &text[at..]).map_or(text.len(), |end| at + end + 1);
            let line = &text[at..line_end];
            let closing = line.trim_ascii_start().starts_with(b"--");
            // Text may follow the closing hyphens, set off by white space.
            let closes =
                line.strip_prefix(b"--").is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace));
            let alone = line.trim_ascii().is_empty() || line.trim_ascii() == b"--" || closes;
            if alone && line_begins && blank == 0 || self.loose {
                let before = if line_begins { &text[..indent] } else { &text[..start] };
                let before = before.strip_suffix(b"\n").unwrap_or(before);
                let before = before.strip_suffix(b"\r").unwrap_or(before);
                return Some(Delimiter { before: before.len(), after: line_end, closing });
            }
            self.lookalike = true;
            at = line_end;
        }
        None
    }

    /// Notes what was wrong with the whole; gives the texts outside the parts, but for the usual note.
    ///
    /// A further reading notes nothing: what is wrong there says nothing that the first has not told.
    pub(crate) fn finish(&mut self, message: &mut Message, id: PartId, first: bool) -> Vec<Source> {
        let shown = String::from_utf8_lossy(&self.boundary).into_owned();
        let mut note = |kind, detail: String| {
            if first {
                message.defect(kind, id, detail);
            }
        };
        if self.loose {
            note(DefectKind::BadBoundary, format!("other text stands on the lines of “{shown}”"));
        }
        if self.reused {
            note(DefectKind::ReusedBoundary, shown.clone());
        }
        if !self.closed {
            note(DefectKind::UnclosedBoundary, shown);
        }
        let mut outside = Vec::new();
        let epilogue = self.epilogue.take().unwrap_or(0..0);
        let texts =
            [("epilogue", epilogue, USUAL_EPILOGUE), ("preamble", self.preamble.clone(), USUAL_PREAMBLE)];
        for (name, range, usual) in texts {
            let text = self.body.bytes[range.clone()].trim_ascii();
            if text.len() > usual {
                note(DefectKind::TextOutsideParts, format!("{name} of {} bytes", text.len()));
            }
            if !text.is_empty() && !is_note(text) {
                outside.push(Source { at: None, bytes: self.body.bytes.slice(range) });
            }
        }
        outside
    }
}

/// Whether text is one of the notes to readers without MIME that mailers put before the first part, and nothing else.
fn is_note(text: &[u8]) -> bool {
    /// In letters and digits only, lower case.
    const NOTES: &[&str] = &[
        "thisisamultipartmessageinmimeformat",
        "thisisamultipartmimemessage",
        "thisisamultipartmessage",
        "thisisamimeencapsulatedmessage",
        "thisisamimemessage",
        "thisisamessagewithmultiplepartsinmimeformat",
        "thisisacryptographicallysignedmessageinmimeformat",
        "thisisanopenpgpmimesignedmessagerfc4880and3156",
        "thisisanopenpgpmimesignedmessagerfc2440and3156",
        "thisisanopenpgpmimeencryptedmessagerfc4880and3156",
        "thisisanopenpgpmimeencryptedmessagerfc2440and3156",
        "thismessageisinmimeformat",
        "thismessageisinmimeformatsinceyourmailreaderdoesnotunderstandthisformatsomeorallofthismessagemaynotbelegible",
        "thismessageisinmimeformatthefirstpartshouldbereadabletextwhiletheremainingpartsarelikelyunreadablewithoutmimeawaretools",
    ];
    const LONGEST: usize = 300;
    text.len() <= LONGEST && {
        let letters = text.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
        let letters: Vec<u8> = letters.collect();
        text.is_ascii() && NOTES.iter().any(|note| note.as_bytes() == letters)
    }
}

/// Bytes of a preamble that is no more than the usual note to readers without MIME.
const USUAL_PREAMBLE: usize = 300;
/// Bytes of an epilogue that is still nothing.
const USUAL_EPILOGUE: usize = 0;
