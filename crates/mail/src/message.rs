//! A message and its parts, as one flat list.

use bytes::Bytes;

use crate::digest::Digested;
use crate::header::Headers;
use crate::{Defect, DefectKind, Envelope, Feature, FeatureKind, FileType, Link, Session};

/// A message as it came, and everything that was read out of it.
#[derive(Clone, Debug)]
pub struct Message {
    /// The message byte for byte: header, empty line, body.
    pub raw: Bytes,
    /// Of [`Message::raw`].
    pub raw_digest: Digested,
    /// The top-level header.
    pub headers: Headers,
    /// Every part, parents before children. `parts[0]` is the message itself.
    pub parts: Vec<Part>,
    /// All that is malformed, ambiguous, or over a limit.
    pub defects: Vec<Defect>,
    /// What the contents are able to do.
    pub features: Vec<Feature>,
    /// Addresses that stand elsewhere than in text: in PDFs, documents, shortcuts, pictures.
    pub links: Vec<Link>,
    /// What readers see of documents, where that was asked for ([`crate::Limits::texts`]).
    pub texts: Vec<DocumentText>,
}

/// The text of a document, as a reader sees it, lines apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentText {
    /// The document.
    pub part: PartId,
    /// In UTF-8; empty if there is none in it, as in one of pictures.
    pub text: Box<str>,
}

/// Place of a part in [`Message::parts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartId(pub usize);

/// One thing inside a message: a MIME entity, a file in an archive, something embedded in a document.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it was found in; None for the message itself.
    pub parent: Option<PartId>,
    /// Nesting: 0 for the message itself.
    pub depth: u32,
    /// How it was found.
    pub origin: Origin,
    /// Its own header (MIME entities only; empty otherwise).
    pub headers: Headers,
    /// For a MIME entity, the bytes of [`Message::raw`] that hold it, header included, up to but without the line
    /// break before the next boundary. None when it doesn't stand there verbatim (in an archive, say).
    pub span: Option<std::ops::Range<usize>>,
    /// Every name some reader would show, the most usual first; paths inside archives keep their folders.
    pub names: Vec<String>,
    /// Declared type in lower case, `text/html`. For a MIME entity that declares none it is the default of RFC 2045
    /// section 5.2 (`text/plain`, in a digest `message/rfc822`); for others it is empty.
    pub declared: String,
    /// Declared charset, lower case.
    pub charset: Option<String>,
    /// Declared as an attachment (Content-Disposition).
    pub attachment: bool,
    /// Type by content.
    pub detected: FileType,
    /// Content, decoded; for a multipart or an archive, the container itself.
    pub body: Bytes,
    /// Of [`Part::body`].
    pub digest: Digested,
    /// It has children made of the same bytes (multipart/*, message/rfc822), so scanning it adds nothing to scanning them.
    pub container: bool,
    /// It is there but cannot be read without a password; `body` is then what is readable, usually nothing.
    pub encrypted: bool,
}

/// How a part was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// By MIME (or uuencode and kin) in a message.
    Mime,
    /// In an archive.
    Archive,
    /// Inside a document.
    Embedded,
}

impl Part {
    /// A part with that content, its type detected, and nothing else known: no header, no names, nothing declared.
    /// `depth` is the parent's plus one; the caller has taken it from the budget.
    pub fn new(parent: PartId, depth: u32, origin: Origin, body: Bytes) -> Part {
        Part {
            parent: Some(parent),
            depth,
            origin,
            headers: Headers::default(),
            span: None,
            names: Vec::new(),
            declared: String::new(),
            charset: None,
            attachment: false,
            detected: FileType::detect(&body),
            body,
            digest: Digested::default(),
            container: false,
            encrypted: false,
        }
    }

    /// SHA-256 of its content, computed once.
    pub fn sha256(&self) -> [u8; 32] {
        self.digest.of(&self.body)
    }

    /// The most usual name, if it has any.
    pub fn name(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }
}

impl Message {
    /// A message of which nothing was read yet.
    pub fn unread(raw: Bytes) -> Message {
        Message {
            raw,
            raw_digest: Digested::default(),
            headers: Headers::default(),
            parts: Vec::new(),
            defects: Vec::new(),
            features: Vec::new(),
            links: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// Appends a part, whose parent must be there already, and gives its place.
    pub fn push(&mut self, part: Part) -> PartId {
        self.parts.push(part);
        PartId(self.parts.len() - 1)
    }

    /// Notes a defect. The detail is escaped and shortened. Of each kind the first for a part stands, so hostile
    /// mail cannot make more than its parts allow; no further limit, for what is told of a part decides about it.
    pub fn defect(&mut self, kind: DefectKind, part: PartId, detail: impl AsRef<str>) {
        if self.defects.iter().any(|defect| defect.kind == kind && defect.part == part) {
            return;
        }
        self.defects.push(Defect { kind, part, detail: shown(detail.as_ref()) });
    }

    /// Notes a feature, as [`Message::defect`] does a defect.
    pub fn feature(&mut self, kind: FeatureKind, part: PartId, detail: impl AsRef<str>) {
        if self.features.iter().any(|feature| feature.kind == kind && feature.part == part) {
            return;
        }
        self.features.push(Feature { kind, part, detail: shown(detail.as_ref()) });
    }

    /// Notes an address, once, unless there are 1,000 already or it is longer than a mail program would follow.
    pub fn link(&mut self, part: PartId, url: impl Into<String>) {
        const MOST: usize = 1000;
        const LONGEST: usize = 2048;
        let url = url.into();
        let new = !url.is_empty() && url.len() <= LONGEST && self.links.len() < MOST;
        if new && !self.links.iter().any(|link| link.part == part && link.url == url) {
            self.links.push(Link { part, url });
        }
    }

    /// Notes the text of a document, cut after `most` bytes; further text of the same goes behind it.
    pub fn text(&mut self, part: PartId, text: &str, most: u64) {
        let kept: usize = self.texts.iter().map(|known| known.text.len()).sum();
        let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(kept);
        let text = &text[..text.floor_char_boundary(most)];
        match self.texts.iter_mut().find(|known| known.part == part) {
            Some(known) => known.text = [&known.text, text].concat().into(),
            None => self.texts.push(DocumentText { part, text: text.into() }),
        }
    }

    /// The text of a document, if it was read.
    pub fn text_of(&self, part: PartId) -> Option<&str> {
        self.texts.iter().find(|known| known.part == part).map(|known| &*known.text)
    }

    /// The parts with their places.
    pub fn parts(&self) -> impl Iterator<Item = (PartId, &Part)> {
        self.parts.iter().enumerate().map(|(place, part)| (PartId(place), part))
    }

    /// A part by its place.
    pub fn part(&self, id: PartId) -> &Part {
        &self.parts[id.0]
    }

    /// Where a part stands, for people: section numbers as IMAP counts them for MIME, names inside archives,
    /// `2/invoice.zip/invoice.pdf.exe`. The message itself is the empty string.
    pub fn path(&self, id: PartId) -> String {
        let mut steps = Vec::new();
        let mut at = id;
        while let Some(parent) = self.part(at).parent {
            let place = self.parts[..=at.0].iter().filter(|part| part.parent == Some(parent)).count();
            steps.push(match self.part(at).name() {
                Some(name) => name.to_owned(),
                None => place.to_string(),
            });
            at = parent;
        }
        steps.reverse();
        steps.join("/")
    }

    /// The subject, decoded, or nothing.
    pub fn subject(&self) -> String {
        self.headers.text("Subject").unwrap_or_default()
    }

    /// The Message-ID as it stands, brackets included, or nothing.
    pub fn message_id(&self) -> String {
        self.headers.text("Message-ID").unwrap_or_default()
    }

    /// The From field, decoded, or nothing.
    pub fn from(&self) -> String {
        self.headers.text("From").unwrap_or_default()
    }
}

/// Text from a message made fit for people: without line ends behind it, control and invisible characters escaped,
/// cut after 200 characters.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut out = String::with_capacity(text.len().min(LONGEST + 8));
    for (place, c) in text.trim_end_matches(['\r', '\n']).chars().enumerate() {
        if place == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() || is_invisible(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Characters that change how others are shown, or cannot be seen themselves.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// What checks look at.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The connection it came by.
    pub session: Session,
    /// Its envelope.
    pub envelope: Envelope,
    /// Its content.
    pub message: Message,
}
