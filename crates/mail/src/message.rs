//! A message and its parts, as one flat list.

use bytes::Bytes;

use crate::header::Headers;
use crate::{Defect, Envelope, FileType, Session};

/// A message as it came, and everything that was read out of it.
#[derive(Clone, Debug)]
pub struct Message {
    /// The message byte for byte: header, empty line, body.
    pub raw: Bytes,
    /// The top-level header.
    pub headers: Headers,
    /// Every part, parents before children. `parts[0]` is the message itself.
    pub parts: Vec<Part>,
    /// All that is malformed, ambiguous, or over a limit.
    pub defects: Vec<Defect>,
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
    /// Declared type in lower case, `text/html`; empty when none is declared (archive members).
    pub declared: String,
    /// Declared charset, lower case.
    pub charset: Option<String>,
    /// Declared as an attachment (Content-Disposition).
    pub attachment: bool,
    /// Type by content.
    pub detected: FileType,
    /// Content, decoded; for a multipart or an archive, the container itself.
    pub body: Bytes,
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
    /// The most usual name, if it has any.
    pub fn name(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }
}

impl Message {
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
