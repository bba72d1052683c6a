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
    /// Add a header field that is folded and encoded already: a signature covers its bytes.
    AddFolded {
        /// Field name.
        name: String,
        /// All behind the colon and one space, without the last line break; folds are CRLF and white space. What would
        /// break out of the field cannot be carried out.
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
    /// Give a MIME part another name, in every field that names it. Nothing can be done so for a part that does not stand
    /// in the message itself.
    RenamePart {
        /// Which part.
        part: PartId,
        /// Its new name.
        name: String,
    },
    /// Put other content into a MIME part. Its header stays but for the transfer encoding.
    RewritePart {
        /// Which part.
        part: PartId,
        /// The new content, decoded.
        body: Bytes,
    },
    /// Take out of a part what acts by itself, such as macros. Whoever carries edits out first makes a
    /// [`Edit::RewritePart`] of it, or where that fails a [`Edit::ReplacePart`]; as which it counts otherwise.
    CleanPart {
        /// Which part.
        part: PartId,
        /// The text that stands for it if it cannot be cleaned.
        text: String,
    },
    /// Take out of an HTML part what acts by itself. Made a [`Edit::RewritePart`] before it is carried out, without which it
    /// cannot be.
    DefangPart {
        /// Which part.
        part: PartId,
        /// What goes.
        what: Vec<Defang>,
    },
    /// Add to what a reader sees: to the text of the mail, in each of its forms.
    AddText {
        /// For text/plain: UTF-8, lines ended by `\n`.
        text: String,
        /// For text/html: elements that may stand in a body.
        html: String,
        /// Before or behind the text.
        place: Place,
    },
    /// Put the message as it came into a new one, as an attachment (message/rfc822) behind a text. The new one has the
    /// header of the old, with all edits of that, but for what describes the content.
    Wrap {
        /// The text, UTF-8, lines ended by `\n`.
        text: String,
    },
}

/// What can be taken out of HTML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Defang {
    /// Scripts, handlers of events, `javascript:` links.
    Scripts,
    /// Forms and their fields.
    Forms,
    /// Frames.
    Frames,
    /// Objects, applets, embedded media.
    Objects,
    /// Pictures, styles and fonts that are fetched from elsewhere.
    RemoteContent,
    /// Of these only the pictures that nobody can see.
    TrackingPixels,
    /// Links: what they lead to is shown, and cannot be clicked.
    Links,
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

/// What edits come to for whoever has the message and changes it by instruction: a milter's mail server, the owner of a
/// queue file. To be carried out in the order: all of `headers` as they stand here, then the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes first, then removals, the last occurrence of a name before the ones above it, then additions: so no
    /// instruction moves what a later one speaks of.
    pub headers: Vec<HeaderChange>,
    /// The whole new body, behind the empty line; None if it stays.
    pub body: Option<Vec<Bytes>>,
    /// Places of edits that could not be carried out, as in [`Applied::skipped`].
    pub skipped: Vec<usize>,
}

/// One instruction about the header. Values are encoded and folded, without the space behind the colon and without the
/// last line break; folds are CRLF and white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChange {
    /// Give the `nth` (from 0) field of that name another value.
    Change {
        /// Field name, as the edit writes it.
        name: String,
        /// Which of several.
        nth: usize,
        /// Its new value.
        value: String,
    },
    /// Remove the `nth` (from 0) field of that name.
    Remove {
        /// Field name, as it stands in the message.
        name: String,
        /// Which of several.
        nth: usize,
    },
    /// Add a field. Those of one place come in the order in which they shall stand there.
    Insert {
        /// Where.
        place: Place,
        /// Field name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// The same as [`apply`], as instructions.
pub fn changes(message: &Message, edits: &[Edit]) -> Changes {
    let mut work = Work::new(message);
    for (place, edit) in edits.iter().enumerate() {
        if !work.take(edit) {
            work.skipped.push(place);
        }
    }
    work.changes()
}

impl Message {
    /// The part that [`Edit::ReplacePart`] really replaces: this one if it stands verbatim in the message, else the
    /// nearest that it lies in. None if there is no such part.
    ///
    /// Where the header of something that it lies in is not ended by an empty line, that is replaced: readers disagree
    /// where such a header ends, and what is put in place of the part might be read as belonging to it.
    pub fn replaceable(&self, part: PartId) -> Option<PartId> {
        let mut found = None;
        let mut at = part;
        loop {
            let span = self.entity(at)?;
            if span.is_some_and(|span| found.is_none() || !self.header_is_ended(at, span)) {
                found = Some(at);
            }
            if at.0 == 0 {
                return found;
            }
            // Parents stand before their children; whatever claims otherwise would make a circle.
            at = self.parts[at.0].parent.filter(|parent| *parent < at)?;
        }
    }

    /// The bytes that hold a part, if it stands verbatim in the message; None if there is no such part.
    fn entity(&self, id: PartId) -> Option<Option<Range<usize>>> {
        let part = self.parts.get(id.0)?;
        if id.0 == 0 {
            return Some(Some(0..self.raw.len()));
        }
        let header = self.headers.raw.len();
        let stands =
            |span: &Range<usize>| header <= span.start && span.start < span.end && span.end <= self.raw.len();
        Some(part.span.clone().filter(stands))
    }

    fn header_is_ended(&self, id: PartId, span: Range<usize>) -> bool {
        let headers = if id.0 == 0 { &self.headers } else { &self.parts[id.0].headers };
        let rest = self.raw.get(span.start + headers.raw.len()..span.end).unwrap_or_default();
        rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n")
    }
}

/// Edits, sorted to their places.
struct Work<'a> {
    message: &'a Message,
    /// Places in the list of fields, by name in lower case.
    named: HashMap<String, Vec<usize>>,
    removed: BTreeSet<usize>,
    changed: HashMap<usize, String>,
    /// Whole fields, ended by CRLF.
    top: Vec<String>,
    bottom: Vec<String>,
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
            top: Vec::new(),
            bottom: Vec::new(),
            replaced: HashMap::new(),
            skipped: Vec::new(),
        }
    }

    /// Notes one edit; false if it cannot be carried out.
    fn take(&mut self, edit: &Edit) -> bool {
        match edit {
            Edit::AddHeader { name, value, place } if is_name(name) => {
                let list = if *place == Place::Top { &mut self.top } else { &mut self.bottom };
                list.push(field(name, value));
                true
            }
            Edit::AddFolded { name, value, place } if is_name(name) && is_folded(value) => {
                let list = if *place == Place::Top { &mut self.top } else { &mut self.bottom };
                list.push(format!("{name}: {value}\r\n"));
                true
            }
            Edit::AddHeader { .. } | Edit::AddFolded { .. } => false,
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
            Edit::RenamePart { .. }
            | Edit::RewritePart { .. }
            | Edit::CleanPart { .. }
            | Edit::DefangPart { .. }
            | Edit::AddText { .. }
            | Edit::Wrap { .. } => false,
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
        Applied { chunks: chunks(raw, 0, splices), skipped: self.skipped }
    }

    fn changes(mut self) -> Changes {
        let mut body = match self.replaced.remove(&PartId(0)) {
            Some(text) => Some(vec![Bytes::from(self.replace_message(&text))]),
            None => {
                let mut splices = Vec::new();
                self.replace_parts(&mut splices);
                (!splices.is_empty()).then(|| chunks(&self.message.raw, self.header_end(), splices))
            }
        };
        if let Some(first) = body.as_mut().and_then(|chunks| chunks.first_mut()) {
            let empty_line = [&b"\r\n"[..], b"\n"].into_iter().find(|line| first.starts_with(line));
            *first = first.slice(empty_line.map_or(0, <[u8]>::len)..);
        }
        Changes { headers: self.header_changes(), body, skipped: self.skipped }
    }

    fn header_changes(&self) -> Vec<HeaderChange> {
        let headers = &self.message.headers;
        let mut changes = Vec::new();
        let mut removals = Vec::new();
        // Of the fields of one name, the last first; the names in the order in which they begin.
        let mut names: Vec<&Vec<usize>> = self.named.values().collect();
        names.sort_unstable();
        for places in names {
            for (nth, place) in places.iter().enumerate().rev() {
                let name = headers.name(&headers.fields[*place]).to_owned();
                if self.removed.contains(place) {
                    removals.push(HeaderChange::Remove { name, nth });
                } else if let Some(new) = self.changed.get(place) {
                    let (name, value) = parted(new);
                    changes.push(HeaderChange::Change {
                        name: name.to_owned(),
                        nth,
                        value: value.to_owned(),
                    });
                }
            }
        }
        changes.extend(removals);
        for (place, fields) in [(Place::Top, &self.top), (Place::Bottom, &self.bottom)] {
            changes.extend(fields.iter().map(|field| {
                let (name, value) = parted(field);
                HeaderChange::Insert { place, name: name.to_owned(), value: value.to_owned() }
            }));
        }
        changes
    }

    /// All but the header goes; of the header, what describes the content. Gives the new body with the empty line
    /// before it.
    fn replace_message(&mut self, text: &str) -> String {
        for (name, places) in &self.named {
            if name.starts_with("content-") {
                self.removed.extend(places);
            }
        }
        // Nor lines that are no fields: some readers begin the body with them.
        let fields = self.message.headers.fields.iter().enumerate();
        self.removed.extend(fields.filter(|(_, field)| field.name.is_empty()).map(|(place, _)| place));
        if !self.named.contains_key("mime-version") {
            self.bottom.push("MIME-Version: 1.0\r\n".into());
        }
        let (header, body) = text_entity(self.message.parts.first().and_then(|part| part.name()), text);
        self.bottom.extend(header.split_inclusive("\r\n").map(str::to_owned));
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
        let last_is_touched = fields
            .len()
            .checked_sub(1)
            .is_some_and(|last| self.removed.contains(&last) || self.changed.contains_key(&last));
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
            bottom.push_str(&self.top.concat());
        } else if !self.top.is_empty() {
            splices.push(Splice { range: top..top, new: self.top.concat().into() });
        }
        bottom.push_str(&self.bottom.concat());
        if bottom.is_empty() {
            return;
        }
        if end > 0 && raw[end - 1] != b'\n' && !last_is_touched {
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

/// The message from a place on, with splices that all lie behind it.
fn chunks(raw: &Bytes, mut at: usize, splices: Vec<Splice>) -> Vec<Bytes> {
    let mut chunks = Vec::with_capacity(splices.len() * 2 + 1);
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

/// Name and value of a field that [`field`] has written.
fn parted(field: &str) -> (&str, &str) {
    let (name, value) = field.split_once(':').unwrap_or((field, ""));
    (name, value.strip_prefix(' ').unwrap_or(value).trim_end_matches("\r\n"))
}

/// RFC 5322 section 2.2: printable ASCII but the colon.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 200 && name.bytes().all(|byte| matches!(byte, 33..=126) && byte != b':')
}

/// Whether a value stays within its field: visible ASCII, spaces and tabs, in lines of which each but the first begins with
/// white space, and none is blank (RFC 5322 section 3.2.2).
fn is_folded(value: &str) -> bool {
    let blank = |line: &str| line.trim_matches([' ', '\t']).is_empty();
    let plain = |line: &str| line.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) && !blank(line);
    value
        .split("\r\n")
        .enumerate()
        .all(|(place, line)| plain(line) && (place == 0 || line.starts_with([' ', '\t'])))
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
    let (encoding, body) = encode_text(text.as_bytes());
    let header = format!(
        "Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\
         Content-Disposition: inline; filename=\"{}-removed.txt\"\r\n",
        file_name(name)
    );
    (header, body)
}

/// Text as the body of a MIME entity: the name of its transfer encoding, `7bit` or `quoted-printable`, and the encoded
/// lines, which end in CRLF.
pub fn encode_text(text: &[u8]) -> (&'static str, String) {
    let text = text.trim_ascii_end();
    let mut lines: Vec<&[u8]> =
        text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    lines.push(b"");
    let plain = |line: &&[u8]| {
        let printable = line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        printable && line.len() <= LINE && !line.ends_with(b" ") && !line.ends_with(b"\t")
    };
    if lines.iter().all(plain) {
        let lines = lines.into_iter().map(String::from_utf8_lossy);
        return ("7bit", lines.collect::<Vec<_>>().join("\r\n"));
    }
    let lines = lines.into_iter().map(quoted_printable);
    ("quoted-printable", lines.collect::<Vec<_>>().join("\r\n"))
}

/// A name that needs no quoting and no folding.
fn file_name(name: Option<&str>) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let clean: String =
        name.unwrap_or_default().chars().take(40).map(|c| if allowed(c) { c } else { '_' }).collect();
    if clean.bytes().any(|byte| byte.is_ascii_alphanumeric()) { clean } else { "attachment".into() }
}

/// One line in quoted-printable (RFC 2045 section 6.7), without its line break, broken softly at 76 columns.
fn quoted_printable(line: &[u8]) -> String {
    const ROOM: usize = 75;
    let mut out = String::with_capacity(line.len() + 8);
    let mut column = 0;
    for (place, byte) in line.iter().enumerate() {
        let last = place + 1 == line.len();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, Limits};
    use proptest::prelude::*;

    fn read(raw: impl Into<Vec<u8>>) -> Message {
        Message::read(Bytes::from(raw.into()), &mut Budget::new(&Limits::default()))
    }

    /// Carries instructions out as a mail server does.
    fn instructed(message: &Message, changes: &Changes) -> String {
        let headers = &message.headers;
        let mut fields: Vec<(String, String)> = headers
            .fields
            .iter()
            .map(|field| {
                let raw = String::from_utf8_lossy(headers.raw_field(field)).into_owned();
                (headers.name(field).to_ascii_lowercase(), raw)
            })
            .collect();
        let at = |fields: &[(String, String)], name: &str, nth: usize| {
            let same = fields.iter().enumerate().filter(|(_, field)| field.0 == name.to_ascii_lowercase());
            same.map(|(place, _)| place).nth(nth).expect("a field that is there")
        };
        let mut top = 0;
        for change in &changes.headers {
            match change {
                HeaderChange::Change { name, nth, value } => {
                    let place = at(&fields, name, *nth);
                    fields[place].1 = format!("{name}: {value}\r\n");
                }
                HeaderChange::Remove { name, nth } => {
                    let place = at(&fields, name, *nth);
                    fields.remove(place);
                }
                HeaderChange::Insert { place, name, value } => {
                    let at = if *place == Place::Top { top } else { fields.len() };
                    top += usize::from(*place == Place::Top);
                    fields.insert(at, (name.to_ascii_lowercase(), format!("{name}: {value}\r\n")));
                }
            }
        }
        let mut out: String = fields.into_iter().map(|field| field.1).collect();
        let body = message.raw.slice(headers.raw.len()..);
        match &changes.body {
            Some(body) => {
                out.push_str("\r\n");
                out.push_str(&String::from_utf8_lossy(&body.concat()));
            }
            None => out.push_str(&String::from_utf8_lossy(&body)),
        }
        out
    }

    #[test]
    fn instructions_come_to_the_same_as_applying() {
        let multipart = "Subject: a\r\nX-Spam: 1\r\nReceived: x\r\nX-Spam: 2\r\nx-spam: 3\r\n\
            Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\none\r\n--b\r\n\
            Content-Type: application/zip; name=a.zip\r\n\r\ntwo\r\n--b--\r\n";
        let plain = "Subject: a\r\nX-Spam: 1\r\nX-Spam: 2\r\n\r\nbody\r\n";
        let add =
            |name: &str, place| Edit::AddHeader { name: name.into(), value: format!("{name} v ü"), place };
        let remove = |nth| Edit::RemoveHeader { name: "X-SPAM".into(), nth };
        let change = |nth| Edit::ChangeHeader { name: "x-spam".into(), nth, value: "new value ".repeat(20) };
        let replace = |part| Edit::ReplacePart { part: PartId(part), text: "taken out\n".into() };
        for raw in [multipart, plain] {
            for edits in [
                vec![],
                vec![
                    add("X-A", Place::Top),
                    add("X-B", Place::Top),
                    add("X-C", Place::Bottom),
                    add("X-D", Place::Bottom),
                ],
                vec![remove(0), change(1), add("X-Spam", Place::Top), add("X-Spam", Place::Bottom)],
                vec![remove(1), remove(0), change(0)],
                vec![replace(1), add("X-A", Place::Top)],
                vec![replace(0), remove(0), add("X-A", Place::Bottom)],
                vec![replace(2), remove(7), replace(9)],
            ] {
                let message = read(raw);
                let (applied, changes) = (apply(&message, &edits), changes(&message, &edits));
                assert_eq!(instructed(&message, &changes), written(&applied), "{edits:?}");
                assert_eq!(changes.skipped, applied.skipped, "{edits:?}");
            }
        }
    }

    fn written(applied: &Applied) -> String {
        String::from_utf8(applied.chunks.concat()).expect("UTF-8")
    }

    fn add(name: &str, value: &str, place: Place) -> Edit {
        Edit::AddHeader { name: name.into(), value: value.into(), place }
    }

    fn remove(name: &str, nth: usize) -> Edit {
        Edit::RemoveHeader { name: name.into(), nth }
    }

    fn change(name: &str, nth: usize, value: &str) -> Edit {
        Edit::ChangeHeader { name: name.into(), nth, value: value.into() }
    }

    fn replace(part: usize, text: &str) -> Edit {
        Edit::ReplacePart { part: PartId(part), text: text.into() }
    }

    #[test]
    fn header_edits() {
        let ends =
            || vec![add("T", "1", Place::Top), add("B", "2", Place::Bottom), add("U", "3", Place::Top)];
        let table = [
            // message, edits, expected
            ("A: a\r\nC: c\r\n\r\nbody\r\n", ends(), "T: 1\r\nU: 3\r\nA: a\r\nC: c\r\nB: 2\r\n\r\nbody\r\n"),
            // No body, no empty line, no line break, nothing.
            ("A: a\r\n\r\n", ends(), "T: 1\r\nU: 3\r\nA: a\r\nB: 2\r\n\r\n"),
            ("A: a\r\n", ends(), "T: 1\r\nU: 3\r\nA: a\r\nB: 2\r\n"),
            ("A: a", ends(), "T: 1\r\nU: 3\r\nA: a\r\nB: 2\r\n"),
            ("", ends(), "T: 1\r\nU: 3\r\nB: 2\r\n"),
            // No header.
            ("\r\nbody\r\n", ends(), "T: 1\r\nU: 3\r\nB: 2\r\n\r\nbody\r\n"),
            ("body at once\r\n", ends(), "T: 1\r\nU: 3\r\nB: 2\r\n\r\nbody at once\r\n"),
            // Line breaks of another kind stay.
            ("A: a\n\nbody\n", ends(), "T: 1\r\nU: 3\r\nA: a\nB: 2\r\n\nbody\n"),
            // The first line of an mbox stays first.
            ("From me Mon\r\nA: a\r\n\r\n", ends(), "From me Mon\r\nT: 1\r\nU: 3\r\nA: a\r\nB: 2\r\n\r\n"),
            ("A: 1\r\nX: x\r\n y\r\na: 2\r\n\r\nb", vec![remove("a", 1), remove("x", 0)], "A: 1\r\n\r\nb"),
            ("A: 1\r\n\r\nb", vec![remove("A", 0)], "\r\nb"),
            (
                "A: 1\r\na : 2\r\n\r\nb",
                vec![change("A", 1, "3"), add("T", "1", Place::Top)],
                "T: 1\r\nA: 1\r\nA: 3\r\n\r\nb",
            ),
            ("A: a\r\nC: c", vec![remove("C", 0), add("B", "2", Place::Bottom)], "A: a\r\nB: 2\r\n"),
            (
                "A: a\r\nC: c",
                vec![change("C", 0, "d"), add("B", "2", Place::Bottom)],
                "A: a\r\nC: d\r\nB: 2\r\n",
            ),
            // Several edits of one field.
            ("A: 1\r\n\r\nb", vec![change("A", 0, "2"), change("A", 0, "3")], "A: 3\r\n\r\nb"),
            ("A: 1\r\n\r\nb", vec![remove("A", 0), change("A", 0, "3")], "\r\nb"),
        ];
        for (raw, edits, expected) in table {
            let applied = apply(&read(raw), &edits);
            assert_eq!(written(&applied), expected, "{raw:?}");
            assert_eq!(applied.skipped, Vec::<usize>::new(), "{raw:?}");
        }
    }

    #[test]
    fn folded_fields_stay_as_they_are() {
        let folded =
            |value: &str| Edit::AddFolded { name: "S".into(), value: value.into(), place: Place::Top };
        let message = read("A: a\r\n\r\nbody");
        let good = "v=1;  a=b;\r\n\tb=abc\r\n   def";
        let edits = [folded(good), add("T", "1", Place::Top)];
        let expected = format!("S: {good}\r\nT: 1\r\nA: a\r\n\r\nbody");
        assert_eq!(written(&apply(&message, &edits)), expected);
        assert_eq!(instructed(&message, &changes(&message, &edits)), expected);
        for bad in
            ["", "a\r\nB: c", "a\r\n\r\n b", "a\n b", "a\r b", "a\r\n \t\r\n b", "a\r\n", "\u{e4}", "a\0"]
        {
            assert_eq!(apply(&message, &[folded(bad)]).skipped, [0], "{bad:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        let edits = [
            remove("A", 1),
            remove("A", 0),
            change("B", 0, "x"),
            add("Bad Name", "x", Place::Top),
            add("Bad:Name", "x", Place::Top),
            add("", "x", Place::Top),
            replace(7, "x"),
        ];
        let applied = apply(&read("A: 1\r\n\r\nbody"), &edits);
        assert_eq!(applied.skipped, [0, 2, 3, 4, 5, 6]);
        assert_eq!(written(&applied), "\r\nbody");
    }

    #[test]
    fn fields_are_folded_and_encoded() {
        let long = "tests=[".to_owned() + &["SYMBOL_NAME=1.0"; 12].join(", ") + "]";
        let table = [
            ("plain", "X: plain\r\n"),
            ("", "X:\r\n"),
            ("a\r\nInjected: b\u{0}", "X: a  Injected: b\r\n"),
            ("two  spaces", "X: two  spaces\r\n"),
            ("[S] =?utf-8?Q?H=C3=A4?=", "X: [S] =?utf-8?Q?H=C3=A4?=\r\n"),
        ];
        for (value, expected) in table {
            assert_eq!(field("X", value), expected);
        }
        let folded = field("X-Spam-Status", &long);
        assert!(folded.lines().count() > 1 && folded.lines().all(|line| line.len() <= LINE), "{folded}");
        assert_eq!(folded.replace("\r\n", ""), format!("X-Spam-Status: {long}"));

        let foreign = "Größe und Länge [x] =?utf-8?Q?a?= ".to_owned() + &"ü ".repeat(100);
        let folded = field("Subject", &foreign);
        assert!(folded.is_ascii() && folded.lines().all(|line| line.len() <= LINE), "{folded}");
        let message = read(format!("{folded}\r\n"));
        let expected = foreign.replace("=?utf-8?Q?a?= ", "a").trim().to_owned();
        assert_eq!(message.headers.text("Subject"), Some(expected));
    }

    const MULTIPART: &str = "From: a@a.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
        preamble\r\n--x\r\nContent-Type: text/plain\r\n\r\nText.\r\n--x\r\n\
        Content-Type: multipart/related; boundary=y\r\n\r\n--y\r\nContent-Type: text/html\r\n\r\n<p>Hi\r\n--y\r\n\
        Content-Type: application/octet-stream; name=\"b\u{fc}d file.exe\"\r\n\r\nMZ bad\r\n--y--\r\n--x--\r\nepilogue\r\n";

    /// The part whose body holds a text and that has no children.
    fn part_with(message: &Message, text: &str) -> PartId {
        let leaf = |id: PartId| message.parts.iter().all(|part| part.parent != Some(id));
        let holds = |part: &crate::Part| memchr::memmem::find(&part.body, text.as_bytes()).is_some();
        message.parts().find(|(id, part)| holds(part) && leaf(*id)).expect("such a part").0
    }

    #[test]
    fn a_part_is_replaced_and_nothing_else() {
        let message = read(MULTIPART);
        let part = part_with(&message, "MZ bad");
        let applied = apply(&message, &[replace(part.0, "Removed.\nSorry.\n")]);
        let entity = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\
            Content-Disposition: inline; filename=\"b_d_file.exe-removed.txt\"\r\n\r\nRemoved.\r\nSorry.";
        let bad = "Content-Type: application/octet-stream; name=\"b\u{fc}d file.exe\"\r\n\r\nMZ bad";
        assert_eq!(written(&applied), MULTIPART.replace(bad, entity));
        assert!(applied.skipped.is_empty());
    }

    #[test]
    fn of_parts_in_each_other_the_outermost_is_replaced() {
        let message = read(MULTIPART);
        let bad = part_with(&message, "MZ bad");
        let related = message.part(bad).parent.expect("a parent");
        for edits in [
            [replace(bad.0, "inner"), replace(related.0, "outer")],
            [replace(related.0, "outer"), replace(bad.0, "inner")],
        ] {
            let applied = apply(&message, &edits);
            let text = written(&applied);
            assert!(
                text.contains("outer\r\n--x--\r\nepilogue")
                    && !text.contains("inner")
                    && !text.contains("--y"),
                "{text}"
            );
            assert!(text.contains("\r\n\r\nText.\r\n--x\r\n"), "{text}");
            assert!(applied.skipped.is_empty());
        }
        // Two texts for one part stand one below the other.
        let text = written(&apply(&message, &[replace(bad.0, "one"), replace(bad.0, "two")]));
        assert!(text.contains("\r\n\r\none\r\ntwo\r\n--y--"), "{text}");
    }

    #[test]
    fn what_lies_in_an_archive_goes_with_it() {
        let mut message = read(MULTIPART);
        let bad = part_with(&message, "MZ bad");
        let member = crate::Part::new(bad, 3, crate::Origin::Archive, Bytes::from_static(b"virus"));
        let member = message.push(member);
        let deeper = message.push(crate::Part::new(member, 4, crate::Origin::Archive, Bytes::new()));
        assert_eq!(message.replaceable(deeper), Some(bad));
        let direct = apply(&message, &[replace(bad.0, "x")]);
        assert_eq!(apply(&message, &[replace(deeper.0, "x")]), direct);
    }

    #[test]
    fn spans_that_cannot_be_right_are_not_used() {
        let mut message = read(MULTIPART);
        let bad = part_with(&message, "MZ bad");
        let parent = message.part(bad).parent;
        for span in [None, Some(0..10), Some(200..200), Some(200..1_000_000)] {
            message.parts[bad.0].span = span;
            assert_eq!(message.replaceable(bad), parent);
        }
        // A circle.
        message.parts[bad.0].parent = Some(bad);
        assert_eq!(message.replaceable(bad), None);
        assert_eq!(apply(&message, &[replace(bad.0, "x")]).skipped, [0]);
    }

    #[test]
    fn a_header_without_end_goes_with_its_parts() {
        let raw = "A: a\r\nContent-Type: multipart/mixed; boundary=x\r\n--x\r\nFrom: b\r\n";
        let message = read(raw);
        let text = written(&apply(&message, &[replace(message.parts.len() - 1, "Gone.")]));
        assert!(text.starts_with("A: a\r\nMIME-Version: 1.0\r\nContent-Type: text/plain;"), "{text}");
        assert!(text.ends_with("\r\n\r\nGone.\r\n") && !text.contains("--x"), "{text}");
    }

    #[test]
    fn overlapping_parts_go_together() {
        let mut message = read(MULTIPART);
        let bad = part_with(&message, "MZ bad");
        let span = message.part(bad).span.clone().expect("a span");
        let mut twin = crate::Part::new(PartId(0), 1, crate::Origin::Mime, Bytes::new());
        twin.span = Some(span.start + 10..span.end + 4);
        let twin = message.push(twin);
        let text = written(&apply(&message, &[replace(bad.0, "gone"), replace(twin.0, "also")]));
        let rest = &MULTIPART[span.end + 4..];
        assert!(
            text.starts_with(&MULTIPART[..span.start]) && text.ends_with(&format!("gone{rest}")),
            "{text}"
        );
    }

    #[test]
    fn the_message_itself_is_replaced() {
        let header = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\
            Content-Disposition: inline; filename=\"attachment-removed.txt\"\r\n\r\nGone.\r\n";
        let table = [
            (
                "A: a\r\nContent-Type: text/html\r\nMIME-Version: 1.0\r\nB: b\r\nContent-Base: x\r\n\r\nbad\r\n",
                format!("A: a\r\nMIME-Version: 1.0\r\nB: b\r\n{header}"),
            ),
            ("A: a\r\n\r\nbad", format!("A: a\r\nMIME-Version: 1.0\r\n{header}")),
            ("A: a\r\n", format!("A: a\r\nMIME-Version: 1.0\r\n{header}")),
            ("A: a", format!("A: a\r\nMIME-Version: 1.0\r\n{header}")),
            ("bad at once", format!("MIME-Version: 1.0\r\n{header}")),
            ("A: a\r\nno field\r\nB: b\r\n\r\nbad", format!("A: a\r\nB: b\r\nMIME-Version: 1.0\r\n{header}")),
            ("\r\nbad", format!("MIME-Version: 1.0\r\n{header}")),
            ("", format!("MIME-Version: 1.0\r\n{header}")),
        ];
        for (raw, expected) in table {
            let applied = apply(&read(raw), &[replace(0, "Gone.")]);
            assert_eq!((written(&applied), applied.skipped), (expected, vec![]), "{raw:?}");
        }
        let edits = [add("T", "1", Place::Top), add("B", "2", Place::Bottom), replace(0, "Gone.")];
        let text = written(&apply(&read("A: a\r\n\r\nbad"), &edits));
        assert_eq!(text, format!("T: 1\r\nA: a\r\nB: 2\r\nMIME-Version: 1.0\r\n{header}"));
    }

    #[test]
    fn texts_are_encoded_where_they_must_be() {
        let table = [
            ("plain\n", "7bit", "plain\r\n"),
            ("dots\n.\n", "7bit", "dots\r\n.\r\n"),
            ("Größe = 5\n", "quoted-printable", "Gr=C3=B6=C3=9Fe =3D 5\r\n"),
            ("end \nü", "quoted-printable", "end=20\r\n=C3=BC\r\n"),
        ];
        for (text, encoding, body) in table {
            let (header, found) = text_entity(None, text);
            assert_eq!(found, body);
            assert!(header.contains(&format!("Content-Transfer-Encoding: {encoding}\r\n")), "{header}");
        }
        let (_, body) = text_entity(None, &"ä=".repeat(500));
        assert!(body.lines().all(|line| line.len() <= 76));
    }

    #[test]
    fn untouched_bytes_are_shared() {
        let message = read(MULTIPART);
        let applied = apply(&message, &[add("T", "1", Place::Top)]);
        let last = applied.chunks.last().expect("a chunk");
        assert!(std::ptr::eq(last.as_ptr(), message.raw.as_ptr()) && last.len() == message.raw.len());
    }

    /// Pieces of messages, to be put together in any order.
    fn hostile_message() -> impl Strategy<Value = String> {
        let pieces = prop_oneof![
            Just("From: a@a.test\r\n"),
            Just("Subject: =?utf-8?Q?a?=\r\n b\r\n"),
            Just("X-Spam-Flag: NO\r\n"),
            Just("Content-Type: multipart/mixed; boundary=x\r\n"),
            Just("Content-Type: multipart/mixed; boundary=\"y\"\r\n"),
            Just("Content-Type: message/rfc822\r\n"),
            Just("Content-Type: application/zip; name=a.zip\r\n"),
            Just("Content-Transfer-Encoding: base64\r\n"),
            Just("\r\n"),
            Just("\n"),
            Just("\r"),
            Just(" "),
            Just("--x\r\n"),
            Just("--y\r\n"),
            Just("--x--\r\n"),
            Just("--y--\n"),
            Just("TVqQAAMA\r\n"),
            Just("no field\r\n"),
            Just("text"),
            Just("\u{fc}\0"),
        ];
        proptest::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn without_edits_nothing_changes(raw in hostile_message()) {
            let message = read(raw.clone());
            let applied = apply(&message, &[]);
            prop_assert!(applied.chunks.len() <= 1);
            prop_assert_eq!(applied.chunks.concat(), raw.into_bytes());
        }

        #[test]
        fn an_added_field_leaves_all_other_bytes(raw in hostile_message(), top: bool, value in "[ -~]{0,200}") {
            let message = read(raw.clone());
            let raw = raw.into_bytes();
            let place = if top { Place::Top } else { Place::Bottom };
            let text = apply(&message, &[add("X-Added", &value, place)]).chunks.concat();
            let added = field("X-Added", &value).into_bytes();
            let at = memchr::memmem::find(&text, &added).expect("the field");
            let (before, after) = (&text[..at], &text[at + added.len()..]);
            prop_assert!(raw.starts_with(before.strip_suffix(b"\r\n").filter(|_| !raw.starts_with(before)).unwrap_or(before)));
            prop_assert!(raw.ends_with(after) || after.strip_prefix(b"\r\n").is_some_and(|after| raw == after));
            let again = read(text);
            prop_assert_eq!(again.headers.text("X-Added"), Some(message_text(&value)));
            prop_assert_eq!(again.headers.fields.len(), message.headers.fields.len() + 1);
        }

        #[test]
        fn a_replaced_part_is_gone(raw in hostile_message(), part: proptest::sample::Index) {
            let message = read(raw.clone());
            let raw = raw.into_bytes();
            let part = part.index(message.parts.len());
            let applied = apply(&message, &[replace(part, "In its place.\n")]);
            let id = message.replaceable(PartId(part));
            prop_assert_eq!(id.is_none(), applied.skipped == [0]);
            let text = applied.chunks.concat();
            if let Some(PartId(id)) = id && id != 0 {
                let span = message.parts[id].span.clone().expect("a span");
                prop_assert!(text.starts_with(&raw[..span.start]) && text.ends_with(&raw[span.end..]));
            }
            if id.is_some() {
                let again = read(text);
                let replaced = |part: &crate::Part| part.body.starts_with(b"In its place.");
                prop_assert!(again.parts.iter().any(replaced), "{:?}", again.parts);
            }
        }
    }

    /// A value as it is read back: encoded words in it decoded.
    fn message_text(value: &str) -> String {
        crate::words::decode(value.trim().as_bytes()).trim().to_owned()
    }
}
