//! Changes to a message as data. A front carries them out in its protocol's way; on the SMTP path [`apply`] writes the
//! message out with them.
//!
//! Whatever is not edited stays byte for byte, so that signatures over it (DKIM) hold.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use bytes::Bytes;

use crate::{Message, PartId, words};

/// One change. Edits are made against the message as it was judged: places are those of the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Add a header field. The value is unfolded text; whoever writes it out folds and encodes it.
    AddHeader {
        /// Field name.
        name: String,
        /// Its value.
        value: String,
        /// Where.
        place: Place,
    },
    /// Remove the `nth` (from 0) field of that name, compared without case.
    RemoveHeader {
        /// Field name.
        name: String,
        /// Which of several.
        nth: usize,
    },
    /// Give the `nth` field of that name another value.
    ChangeHeader {
        /// Field name.
        name: String,
        /// Which of several.
        nth: usize,
        /// Its new value.
        value: String,
    },
    /// Put a text/plain part in place of a MIME part (and all it contains). For a part inside an archive it is the
    /// attachment that carries the archive.
    ReplacePart {
        /// Which part.
        part: PartId,
        /// The text, UTF-8, lines ended by `\n`.
        text: String,
    },
}

/// Where a header field is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before all others, like a trace field.
    Top,
    /// After all others.
    Bottom,
}

/// A message with edits carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The message, in pieces to be written one behind the other. Untouched pieces share the bytes of
    /// [`Message::raw`].
    pub chunks: Vec<Bytes>,
    /// Places in the list of edits of those that could not be carried out: a field that is not there, a name that is
    /// none, a part without a place in the message. Whoever meant to take something bad out must not deliver then.
    pub skipped: Vec<usize>,
}

/// Carries edits out. Fields that are added at one place stand there in the order of the edits; added lines end in
/// CRLF, are folded at 78 columns (RFC 5322 section 2.1.1), and encoded where they are not ASCII (RFC 2047).
///
/// Of several edits of one field, removal wins, then the last change. Of parts inside each other, the outermost
/// replacement wins.
pub fn apply(message: &Message, edits: &[Edit]) -> Applied {
    let mut work = Work::new(message);
    for (place, edit) in edits.iter().enumerate() {
        if !work.take(edit) {
            work.skipped.push(place);
        }
    }
    work.finish()
}

impl Message {
    /// The part that [`Edit::ReplacePart`] really replaces: this one if it stands verbatim in the message, else the
    /// nearest that it lies in. None if there is no such part.
    pub fn replaceable(&self, part: PartId) -> Option<PartId> {
        let header = self.headers.raw.len();
        let mut at = part;
        loop {
            let found = self.parts.get(at.0)?;
            let stands = |span: &Range<usize>| {
                header <= span.start && span.start < span.end && span.end <= self.raw.len()
            };
            if at.0 == 0 || found.span.as_ref().is_some_and(stands) {
                return Some(at);
            }
            // Parents stand before their children; whatever claims otherwise would make a circle.
            at = found.parent.filter(|parent| *parent < at)?;
        }
    }
}

/// Edits, sorted to their places.
struct Work<'a> {
    message: &'a Message,
    /// Places in the list of fields, by name in lower case.
    named: HashMap<String, Vec<usize>>,
    removed: BTreeSet<usize>,
    changed: HashMap<usize, String>,
    top: String,
    bottom: String,
    /// Texts in place of parts. The message itself is part 0.
    replaced: HashMap<PartId, String>,
    skipped: Vec<usize>,
}

/// A range of the message and what stands there instead.
struct Splice {
    range: Range<usize>,
    new: Bytes,
}

impl<'a> Work<'a> {
    fn new(message: &'a Message) -> Work<'a> {
        let mut named: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, field) in message.headers.fields.iter().enumerate() {
            if let Some(name) = message.headers.raw.get(field.name.clone())
                && message.raw.get(field.span.clone()).is_some()
            {
                named.entry(String::from_utf8_lossy(name).to_ascii_lowercase()).or_default().push(place);
            }
        }
        named.remove("");
        Work {
            message,
            named,
            removed: BTreeSet::new(),
            changed: HashMap::new(),
            top: String::new(),
            bottom: String::new(),
            replaced: HashMap::new(),
            skipped: Vec::new(),
        }
    }

    /// Notes one edit; false if it cannot be carried out.
    fn take(&mut self, edit: &Edit) -> bool {
        match edit {
            Edit::AddHeader { name, value, place } if is_name(name) => {
                let list = if *place == Place::Top { &mut self.top } else { &mut self.bottom };
                list.push_str(&field(name, value));
                true
            }
            Edit::AddHeader { .. } => false,
            Edit::RemoveHeader { name, nth } => match self.field(name, *nth) {
                Some(place) => {
                    self.removed.insert(place);
                    true
                }
                None => false,
            },
            Edit::ChangeHeader { name, nth, value } => match self.field(name, *nth) {
                Some(place) => {
                    self.changed.insert(place, field(name, value));
                    true
                }
                None => false,
            },
            Edit::ReplacePart { part, text } => match self.message.replaceable(*part) {
                Some(part) => {
                    let all = self.replaced.entry(part).or_default();
                    if !all.is_empty() && !all.ends_with('\n') {
                        all.push('\n');
                    }
                    all.push_str(text);
                    true
                }
                None => false,
            },
        }
    }

    fn field(&self, name: &str, nth: usize) -> Option<usize> {
        self.named.get(&name.to_ascii_lowercase())?.get(nth).copied()
    }

    fn finish(mut self) -> Applied {
        let mut splices = Vec::new();
        let body = match self.replaced.remove(&PartId(0)) {
            Some(text) => Some(self.replace_message(&text)),
            None => {
                self.replace_parts(&mut splices);
                None
            }
        };
        self.edit_header(body.is_some(), &mut splices);
        let raw = &self.message.raw;
        if let Some(body) = body {
            splices.push(Splice { range: self.header_end()..raw.len(), new: body.into() });
        }
        // Stable: what is put at one place stays in the order in which it came here.
        splices.sort_by_key(|splice| (splice.range.start, splice.range.end));
        Applied { chunks: chunks(raw, splices), skipped: self.skipped }
    }

    /// All but the header goes; of the header, what describes the content. Gives the new body with the empty line
    /// before it.
    fn replace_message(&mut self, text: &str) -> String {
        for (name, places) in &self.named {
            if name.starts_with("content-") {
                self.removed.extend(places);
            }
        }
        if !self.named.contains_key("mime-version") {
            self.bottom.push_str("MIME-Version: 1.0\r\n");
        }
        let (header, body) = text_entity(self.message.parts.first().and_then(|part| part.name()), text);
        self.bottom.push_str(&header);
        format!("\r\n{body}")
    }

    /// The outermost of the replaced parts; those that overlap without lying in each other (one message read in
    /// several ways) go together.
    fn replace_parts(&self, splices: &mut Vec<Splice>) {
        let mut parts: Vec<(Range<usize>, PartId)> = self
            .replaced
            .keys()
            .filter_map(|id| Some((self.message.parts.get(id.0)?.span.clone()?, *id)))
            .collect();
        parts.sort_by_key(|(span, id)| (span.start, std::cmp::Reverse(span.end), *id));
        let mut merged: Vec<(Range<usize>, PartId)> = Vec::new();
        for (span, id) in parts {
            match merged.last_mut() {
                Some((last, _)) if span.start < last.end => last.end = last.end.max(span.end),
                _ => merged.push((span, id)),
            }
        }
        for (range, id) in merged {
            let name = self.message.parts.get(id.0).and_then(|part| part.name());
            let text = self.replaced.get(&id).map(String::as_str).unwrap_or_default();
            let (header, body) = text_entity(name, text);
            // The line break before the next boundary stands behind the part.
            let body = if range.end < self.message.raw.len() { body.trim_end_matches("\r\n") } else { &body };
            splices.push(Splice { range, new: format!("{header}\r\n{body}").into() });
        }
    }

    fn edit_header(&mut self, body_replaced: bool, splices: &mut Vec<Splice>) {
        let fields = &self.message.headers.fields;
        for place in &self.removed {
            splices.push(Splice { range: fields[*place].span.clone(), new: Bytes::new() });
        }
        for (place, new) in std::mem::take(&mut self.changed) {
            if !self.removed.contains(&place) {
                splices.push(Splice { range: fields[place].span.clone(), new: new.into() });
            }
        }
        let raw = &self.message.raw;
        let end = self.header_end();
        // Not before lines that are no fields, such as the `From ` line of an mbox.
        let top = self.named.values().flatten().map(|place| fields[*place].span.start).min().unwrap_or(end);
        let mut bottom = String::new();
        if top == end {
            bottom.push_str(&std::mem::take(&mut self.top));
        } else if !self.top.is_empty() {
            splices.push(Splice { range: top..top, new: std::mem::take(&mut self.top).into() });
        }
        bottom.push_str(&self.bottom);
        if bottom.is_empty() {
            return;
        }
        if end > 0 && raw[end - 1] != b'\n' {
            bottom.insert_str(0, "\r\n");
        }
        // A message without any header begins with its body: without an empty line that would become header now.
        let body_at_once =
            end == 0 && !raw.is_empty() && !raw.starts_with(b"\r\n") && !raw.starts_with(b"\n");
        if body_at_once && !body_replaced {
            bottom.push_str("\r\n");
        }
        splices.push(Splice { range: end..end, new: bottom.into() });
    }

    /// Where the header ends in the message: before the empty line.
    fn header_end(&self) -> usize {
        self.message.headers.raw.len().min(self.message.raw.len())
    }
}

fn chunks(raw: &Bytes, splices: Vec<Splice>) -> Vec<Bytes> {
    let mut chunks = Vec::with_capacity(splices.len() * 2 + 1);
    let mut at = 0;
    for Splice { range, new } in splices {
        if at < range.start {
            chunks.push(raw.slice(at..range.start));
        }
        at = at.max(range.end);
        if !new.is_empty() {
            chunks.push(new);
        }
    }
    if at < raw.len() {
        chunks.push(raw.slice(at..));
    }
    chunks
}

/// RFC 5322 section 2.2: printable ASCII but the colon.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 200 && name.bytes().all(|byte| matches!(byte, 33..=126) && byte != b':')
}

/// Columns that a line should not exceed (RFC 5322 section 2.1.1).
const LINE: usize = 78;

/// A whole field: encoded, folded, ended by CRLF. Line breaks and control characters in the value become spaces.
fn field(name: &str, value: &str) -> String {
    let clean: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let value = encode(clean.trim());
    let mut line = format!("{name}:");
    let mut column = line.len();
    let mut rest = value.as_str();
    let mut first = true;
    while !rest.is_empty() {
        // White space stays with the word behind it, so no line is white space only and unfolding gives the value.
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        let word = rest[spaces..].find(' ').map_or(rest.len(), |at| spaces + at);
        let space = if first { " " } else { "" };
        if !first && column + word > LINE {
            line.push_str("\r\n");
            column = 0;
        }
        line.push_str(space);
        line.push_str(&rest[..word]);
        column += space.len() + word;
        rest = &rest[word..];
        first = false;
    }
    line.push_str("\r\n");
    line
}

/// A value in ASCII. Words that are not become encoded words; all others, encoded words among them, stay as they are.
fn encode(value: &str) -> String {
    if value.is_ascii() {
        return value.to_owned();
    }
    let mut out: Vec<String> = Vec::new();
    let mut foreign: Vec<&str> = Vec::new();
    for word in value.split(' ') {
        if word.is_ascii() {
            // White space between two encoded words is not shown (RFC 2047 section 6.2), so a run of words is
            // encoded as one text.
            if !foreign.is_empty() {
                out.push(encode_words(&std::mem::take(&mut foreign).join(" ")));
            }
            out.push(word.to_owned());
        } else {
            foreign.push(word);
        }
    }
    if !foreign.is_empty() {
        out.push(encode_words(&foreign.join(" ")));
    }
    out.join(" ")
}

/// Encoded words, parted by spaces: where to fold is decided with the whole line at hand.
fn encode_words(text: &str) -> String {
    words::encode(text).replace("\r\n", "")
}

/// Header fields and body of a text/plain entity in place of one of that name; both end in CRLF.
fn text_entity(name: Option<&str>, text: &str) -> (String, String) {
    let mut lines: Vec<&str> = text.trim_end().split('\n').map(|line| line.trim_end_matches('\r')).collect();
    lines.push("");
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t'))
        && lines.iter().all(|line| line.len() <= LINE && !line.ends_with([' ', '\t']));
    let (encoding, body) = match plain {
        true => ("7bit", lines.join("\r\n")),
        false => (
            "quoted-printable",
            lines.iter().map(|line| quoted_printable(line)).collect::<Vec<_>>().join("\r\n"),
        ),
    };
    let header = format!(
        "Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\
         Content-Disposition: inline; filename=\"{}-removed.txt\"\r\n",
        file_name(name)
    );
    (header, body)
}

/// A name that needs no quoting and no folding.
fn file_name(name: Option<&str>) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let clean: String =
        name.unwrap_or_default().chars().take(40).map(|c| if allowed(c) { c } else { '_' }).collect();
    if clean.bytes().any(|byte| byte.is_ascii_alphanumeric()) { clean } else { "attachment".into() }
}

/// One line in quoted-printable (RFC 2045 section 6.7), without its line break, broken softly at 76 columns.
fn quoted_printable(line: &str) -> String {
    const ROOM: usize = 75;
    let mut out = String::with_capacity(line.len() + 8);
    let mut column = 0;
    let bytes = line.as_bytes();
    for (place, byte) in bytes.iter().enumerate() {
        let last = place + 1 == bytes.len();
        let piece = match byte {
            b' ' | b'\t' if !last => char::from(*byte).to_string(),
            b'!'..=b'~' if *byte != b'=' => char::from(*byte).to_string(),
            _ => format!("={byte:02X}"),
        };
        if column + piece.len() > ROOM {
            out.push_str("=\r\n");
            column = 0;
        }
        out.push_str(&piece);
        column += piece.len();
    }
    out
}
