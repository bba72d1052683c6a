//! Reading a message: its MIME tree flattened into parts, in the order in which they stand (RFC 2045, RFC 2046).
//!
//! An explicit stack stands for the nesting, and a multipart is split lazily, so that whatever the budget does not
//! pay for is not even looked for. Every level searches its own body once: reading is linear in size times depth.
//!
//! Where readers differ, the first reading is the one by the book, and leaves notes of what else could be made of
//! what it saw ([`Later`]). Once it is done those are followed, in [`crate::readings`].

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use crate::carve::{Carved, Form};
use crate::charset::Charset;
use crate::decodings::{self, How};
use crate::digest::Digested;
use crate::entity::Entity;
use crate::header::counted;
use crate::readings::{Again, First, Later};
use crate::split::{Source, Splitter, boundary_candidates, guess_boundary, wrong_boundary};
use crate::transfer::{self, Transfer};
use crate::{Budget, DefectKind, FileType, Limit, Message, Origin, Part, PartId, names};

impl Message {
    /// Reads a message. It never fails: what is wrong stands in `defects`, and what the budget does not pay for is
    /// left unread with a defect [`DefectKind::Over`].
    pub fn read(raw: Bytes, budget: &mut Budget) -> Message {
        Message::read_mended(raw, None, budget)
    }

    /// Reads a message whose line endings were mended, and as further readings of it what it was before, which is what
    /// somebody will get who is only given a verdict.
    pub fn read_mended(raw: Bytes, unmended: Option<Bytes>, budget: &mut Budget) -> Message {
        let mut message = Message::unread(raw.clone());
        let over = budget.take_part(0).err();
        let source = Source { bytes: raw, at: Some(0) };
        let entity = Entity::open(&source, "text/plain");
        message.headers = entity.headers.clone();
        let mut reader = Reader::new(&mut message, budget);
        match over {
            Some(limit) => reader.add_unread(entity, source, limit),
            None => {
                reader.add(entity, source.clone(), None, 0);
                reader.run();
                reader.message.check_lines();
                reader.read_changed(PartId(0), &source);
                if let Some(bytes) = unmended {
                    let source = Source { bytes, at: None };
                    reader.later.push_back(Later::Unmended(PartId(0), source.clone()));
                    reader.read_changed(PartId(0), &source);
                }
                reader.note_joined();
                reader.read_again();
            }
        }
        message.check_header();
        message
    }

    /// Reads the body of `parent` as a message and appends its parts as children: the message itself, then what is
    /// in it. For a mail that was found in an archive, say.
    pub fn read_within(&mut self, parent: PartId, budget: &mut Budget) {
        let Some(part) = self.parts.get_mut(parent.0) else { return };
        part.container = true;
        part.detected = FileType::EML;
        let source = Source { bytes: part.body.clone(), at: None };
        let mut reader = Reader::new(self, budget);
        reader.frames.push(Frame::new(parent, "text/plain", Kind::Message(Some(source))));
        reader.run();
        reader.read_again();
    }
}

/// The work that is left at one level of nesting.
pub(crate) struct Frame {
    pub parent: PartId,
    /// Type of children that declare none.
    default: &'static str,
    kind: Kind,
    /// The transfer encoding of a multipart, which some readers apply to parts that declare none.
    inherited: Option<Transfer>,
}

impl Frame {
    pub(crate) fn new(parent: PartId, default: &'static str, kind: Kind) -> Frame {
        Frame { parent, default, kind, inherited: None }
    }
}

pub(crate) enum Kind {
    /// A body to be split at its boundary.
    Multipart(Box<Splitter>),
    /// A message to be read.
    Message(Option<Source>),
    /// Text outside the parts of a multipart: preamble and epilogue, to be kept as parts of their own.
    Outside(Vec<Source>),
    /// Text that may hold files in this form; the offset where the search goes on.
    Carve(Bytes, usize, Form),
}

/// What stands inside a frame.
enum Found {
    Entity(Source),
    Text(Source),
    File(Carved, Form),
}

/// One message being read.
pub(crate) struct Reader<'a> {
    pub message: &'a mut Message,
    pub budget: &'a mut Budget,
    pub frames: Vec<Frame>,
    /// What else could be made of what was read.
    pub later: VecDeque<Later>,
    /// The sources that were read as entities, as places in memory.
    pub entities: Vec<(usize, usize)>,
    /// Set once readings but the first are made.
    pub again: Option<Again>,
}

impl<'a> Reader<'a> {
    fn new(message: &'a mut Message, budget: &'a mut Budget) -> Reader<'a> {
        let (frames, later, entities) = (Vec::new(), VecDeque::new(), Vec::new());
        Reader { message, budget, frames, later, entities, again: None }
    }

    /// Works off all frames.
    pub(crate) fn run(&mut self) {
        while let Some(mut frame) = self.frames.pop() {
            let depth = self.message.part(frame.parent).depth + 1;
            let Some(found) = self.next_within(&mut frame) else { continue };
            let (parent, default, inherited) = (frame.parent, frame.default, frame.inherited);
            if self.knows(&found) {
                match self.budget.check_time() {
                    Ok(()) => self.frames.push(frame),
                    Err(limit) => self.over(limit, parent),
                }
                continue;
            }
            if let Err(limit) = self.budget.take_part(depth) {
                self.over(limit, parent);
                self.message.parts[parent.0].container = false;
                if limit == Limit::Depth {
                    continue;
                }
                for unfinished in self.frames.drain(..) {
                    self.message.parts[unfinished.parent.0].container = false;
                }
                self.later.clear();
                return;
            }
            self.frames.push(frame);
            match found {
                Found::Entity(source) => {
                    let mut entity = Entity::open(&source, default);
                    let inherited = inherited.filter(|_| !entity.encoded);
                    entity.other_transfers.extend(inherited.map(|transfer| vec![transfer]));
                    self.add(entity, source, Some(parent), depth);
                }
                Found::Text(source) => self.add_text(source, parent, depth),
                Found::File(file, form) => self.add_file(file, form, parent, depth),
            }
        }
    }

    /// The next thing found at this level; None when there is no more.
    fn next_within(&mut self, frame: &mut Frame) -> Option<Found> {
        let parent = frame.parent;
        match &mut frame.kind {
            Kind::Message(source) => source.take().map(Found::Entity),
            Kind::Outside(list) => list.pop().map(Found::Text),
            Kind::Carve(text, at, form) => {
                let most = usize::try_from(self.budget.bytes_left()).unwrap_or(usize::MAX);
                let file = form.next(text, *at, most)?;
                *at = file.end;
                Some(Found::File(file, *form))
            }
            Kind::Multipart(splitter) => {
                if let Some(source) = splitter.next() {
                    return Some(Found::Entity(source));
                }
                if let Some(splitter) = splitter.loosely() {
                    self.later.push_back(Later::Split(parent, frame.default, Box::new(splitter)));
                }
                let outside = splitter.finish(self.message, parent, self.again.is_none());
                frame.kind = Kind::Outside(outside);
                self.next_within(frame)
            }
        }
    }

    /// Whether the same bytes were read before, in another reading.
    fn knows(&mut self, found: &Found) -> bool {
        let Some(again) = &mut self.again else { return false };
        match found {
            Found::Entity(source) => !again.entities.insert(place(&source.bytes)),
            Found::Text(source) => source.bytes.trim_ascii().is_empty() || again.knows(&source.bytes),
            Found::File(file, _) => again.knows(&file.bytes),
        }
    }

    /// Adds an entity, and a frame for what is inside it.
    pub(crate) fn add(&mut self, mut entity: Entity, source: Source, parent: Option<PartId>, depth: u32) {
        let id = PartId(self.message.parts.len());
        if self.again.is_none() {
            self.entities.push(place(&source.bytes));
        }
        let noticed = std::mem::take(&mut entity.noticed);
        let candidates = boundary_candidates(&entity.boundaries, &entity.loose_boundaries);
        let splitter = self.splitter(&mut entity, &candidates, id);
        let raw = entity.body.clone();
        let mut hows = Vec::new();
        let body = match splitter {
            Some(_) => entity.body.clone(),
            None => self.decode(&entity, id, &mut hows),
        };
        let odd = |kind: &DefectKind| {
            matches!(kind, DefectKind::NoHeader | DefectKind::BadHeaderLine | DefectKind::BadFolding)
        };
        let odd_header = noticed.iter().any(|(kind, _)| odd(kind));
        for (kind, detail) in noticed {
            self.defect(kind, id, detail);
        }
        let is_message = splitter.is_none() && entity.is_message();
        if splitter.is_none() && !is_message && self.is_known(&body.bytes, &entity.names) {
            return;
        }
        self.check_leaf(&entity, &body.bytes, id);
        self.message.parts.push(Part {
            parent,
            depth,
            origin: Origin::Mime,
            span: if self.again.is_none() { source.span() } else { None },
            names: std::mem::take(&mut entity.names),
            declared: entity.declared.clone(),
            charset: entity.charset.take(),
            attachment: entity.attachment,
            detected: match (&splitter, is_message) {
                (Some(_), _) => FileType::MULTIPART,
                (None, true) => FileType::EML,
                (None, false) => FileType::detect(&body.bytes),
            },
            body: body.bytes.clone(),
            digest: Digested::default(),
            container: splitter.is_some() || is_message,
            encrypted: false,
            headers: std::mem::take(&mut entity.headers),
        });
        if splitter.is_none() && !is_message {
            self.note_other(id);
        }
        let default = if entity.declared == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        if odd_header {
            self.later.push_back(Later::Header(id, source));
        }
        let raw_bytes = raw.bytes.clone();
        let splitter_seen = splitter.as_ref();
        let first = First { id, candidates, splitter: splitter_seen, raw, body: body.clone(), hows, default };
        self.note_later(&entity, first);
        if let Some(splitter) = splitter {
            let inherited = Some(entity.transfer);
            let inherited =
                inherited.filter(|transfer| !matches!(transfer, Transfer::Identity | Transfer::Unknown));
            let frame = Frame::new(id, default, Kind::Multipart(Box::new(splitter)));
            self.frames.push(Frame { inherited, ..frame });
        } else if is_message {
            self.frames.push(Frame::new(id, default, Kind::Message(Some(body))));
        } else {
            self.look_into(&body.bytes, entity.transfer, id);
            self.look_for_more(raw_bytes, entity.transfer, id);
        }
    }

    /// Where the first file in text is the body: what files follow it.
    fn look_for_more(&mut self, raw: Bytes, transfer: Transfer, id: PartId) {
        let Some(form) = form_of(transfer) else { return };
        let most = usize::try_from(self.budget.bytes_left()).unwrap_or(usize::MAX);
        let end = form.next(&raw, 0, most).map_or(raw.len(), |file| file.end);
        self.frames.push(Frame::new(id, "text/plain", Kind::Carve(raw, end, form)));
    }

    /// The root of a message for which there is no budget: its header, and its body as it stands.
    fn add_unread(&mut self, entity: Entity, source: Source, limit: Limit) {
        self.over(limit, PartId(0));
        self.message.parts.push(Part {
            parent: None,
            depth: 0,
            origin: Origin::Mime,
            span: source.span(),
            names: entity.names,
            declared: entity.declared,
            charset: entity.charset,
            attachment: entity.attachment,
            detected: FileType::DATA,
            body: entity.body.bytes,
            digest: Digested::default(),
            container: false,
            encrypted: false,
            headers: entity.headers,
        });
    }

    /// The splitter of a multipart, if it is one that can be split. Its body is put in place decoded if it was
    /// encoded against the rules and only then shows its boundary.
    fn splitter(&mut self, entity: &mut Entity, candidates: &[Vec<u8>], id: PartId) -> Option<Splitter> {
        if !entity.declared.starts_with("multipart/") {
            return None;
        }
        for boundary in &entity.boundaries {
            if let Some(wrong) = wrong_boundary(boundary) {
                self.defect(DefectKind::BadBoundary, id, format!("“{boundary}” {wrong}"));
            }
        }
        if let Some(splitter) = Splitter::first_that_appears(&entity.body, candidates) {
            return Some(splitter);
        }
        if matches!(entity.transfer, Transfer::Base64 | Transfer::QuotedPrintable) {
            let decoded = self.decode(entity, id, &mut Vec::new());
            if let Some(splitter) = Splitter::first_that_appears(&decoded, candidates) {
                entity.body = decoded;
                entity.transfer = Transfer::Identity;
                return Some(splitter);
            }
        }
        let detail = match entity.shown_boundary() {
            Some(boundary) => format!("“{boundary}” never appears"),
            None => "no boundary is declared".to_owned(),
        };
        self.defect(DefectKind::MissingBoundary, id, detail);
        let guess = guess_boundary(&entity.body.bytes)?;
        Splitter::first_that_appears(&entity.body, &[guess])
    }

    /// The body, decoded; and how else it might be. It is still in its place if there was nothing to decode.
    fn decode(&mut self, entity: &Entity, id: PartId, hows: &mut Vec<How>) -> Source {
        let text = &entity.body.bytes;
        let decoded = match entity.transfer {
            Transfer::Identity | Transfer::Unknown => return entity.body.clone(),
            _ if self.budget.bytes_left() == 0 && !text.is_empty() => Err(Limit::Bytes),
            Transfer::Base64 => Ok(self.decode_base64(text, id, hows)),
            Transfer::QuotedPrintable => {
                let (bytes, bad) = transfer::quoted_printable(text);
                if bad > 0 {
                    hows.extend(decodings::OF_QUOTED);
                    self.defect(DefectKind::BadQuotedPrintable, id, counted(bad, "a stray =".into()));
                }
                Ok(bytes)
            }
            Transfer::Uuencode | Transfer::Yenc | Transfer::BinHex => {
                match self.decode_file(text, entity.transfer, id) {
                    Some(bytes) => Ok(bytes),
                    None => return entity.body.clone(),
                }
            }
        };
        match decoded.and_then(|bytes| self.budget.take_bytes(bytes.len() as u64).map(|()| bytes)) {
            Ok(bytes) => Source { bytes: bytes.into(), at: None },
            Err(limit) => {
                self.over(limit, id);
                entity.body.clone()
            }
        }
    }

    /// The file that stands in the text in the form declared.
    fn decode_file(&mut self, text: &[u8], transfer: Transfer, id: PartId) -> Option<Vec<u8>> {
        let form = form_of(transfer)?;
        let most = usize::try_from(self.budget.bytes_left()).unwrap_or(usize::MAX);
        let Some(file) = form.next(text, 0, most) else {
            self.defect(DefectKind::BadUuencode, id, format!("no {} begins", form.name()));
            let bare = if form == Form::Uuencode { transfer::uu_without_begin(text) } else { Vec::new() };
            return (!bare.is_empty()).then_some(bare);
        };
        if file.bad {
            self.defect(DefectKind::BadUuencode, id, "broken lines, or no end");
        }
        Some(file.bytes)
    }

    fn decode_base64(&mut self, text: &[u8], id: PartId, hows: &mut Vec<How>) -> Vec<u8> {
        let decoded = transfer::base64(text);
        if decoded.junk > 0 {
            let detail = counted(decoded.junk, "a strange character".into());
            self.defect(DefectKind::BadBase64, id, detail);
        } else if decoded.after_padding {
            self.defect(DefectKind::BadBase64, id, "text after the padding");
        }
        if decoded.truncated {
            self.defect(DefectKind::TruncatedBase64, id, "the last group is not whole");
        }
        hows.extend(decodings::of_base64(text, &decoded));
        decoded.bytes
    }

    /// Defects that only the decoded content of a leaf shows, and types that cannot be judged.
    fn check_leaf(&mut self, entity: &Entity, body: &[u8], id: PartId) {
        match entity.declared.as_str() {
            // The only piece is the whole.
            "message/partial" if entity.type_parameter("total").is_some_and(|total| total == "1") => {}
            "message/partial" => self.message.defect(DefectKind::Partial, id, "message/partial"),
            "message/external-body" => {
                let access = entity.type_parameter("access-type");
                self.message.defect(DefectKind::ExternalBody, id, access.unwrap_or_default());
            }
            declared if declared.starts_with("text/") => {
                let Some(label) = &entity.charset else { return };
                match Charset::of(label) {
                    None => self.defect(DefectKind::BadCharset, id, format!("{label} is not known")),
                    Some(charset) if !charset.holds(body) => {
                        self.defect(DefectKind::BadCharset, id, format!("the text is not in {label}"));
                    }
                    Some(_) => {}
                }
            }
            _ => {}
        }
    }

    /// Adds text that stands outside the parts of a multipart.
    fn add_text(&mut self, source: Source, parent: PartId, depth: u32) {
        let part =
            Part { declared: "text/plain".into(), ..Part::new(parent, depth, Origin::Mime, source.bytes) };
        let text = part.body.clone();
        let id = self.message.push(part);
        self.note_other(id);
        self.look_into(&text, Transfer::Identity, id);
    }

    /// Adds a file that stands in text.
    fn add_file(&mut self, file: Carved, form: Form, parent: PartId, depth: u32) {
        if let Err(limit) = self.budget.take_bytes(file.bytes.len() as u64) {
            return self.over(limit, parent);
        }
        let part = Part {
            names: names::plain(&file.name),
            attachment: true,
            ..Part::new(parent, depth, Origin::Mime, file.bytes.into())
        };
        let id = self.message.push(part);
        self.note_other(id);
        if file.bad && form != Form::Base64 {
            self.defect(DefectKind::BadUuencode, id, "broken lines, or no end");
        }
        if form != Form::Uuencode {
            self.defect(DefectKind::HiddenEncoding, id, form.name());
        }
    }

    /// Notes a defect of the first reading; what further ones find wrong says nothing that the first has not told.
    pub(crate) fn defect(&mut self, kind: DefectKind, part: PartId, detail: impl AsRef<str>) {
        if self.again.is_none() || kind == DefectKind::HiddenEncoding {
            self.message.defect(kind, part, detail);
        }
    }

    pub(crate) fn over(&mut self, limit: Limit, part: PartId) {
        self.message.defect(
            DefectKind::Over(limit),
            part,
            format!("over the limit of {limit}; the rest is unread"),
        );
    }
}

/// The form of a file in text that a transfer encoding names.
fn form_of(transfer: Transfer) -> Option<Form> {
    match transfer {
        Transfer::Uuencode => Some(Form::Uuencode),
        Transfer::Yenc => Some(Form::Yenc),
        Transfer::BinHex => Some(Form::BinHex),
        Transfer::Identity | Transfer::Base64 | Transfer::QuotedPrintable | Transfer::Unknown => None,
    }
}

/// Where bytes stand in memory: slices of the same buffer are the same bytes if they are in the same place.
pub(crate) fn place(bytes: &Bytes) -> (usize, usize) {
    (bytes.as_ptr() as usize, bytes.len())
}

/// The set of places that were read.
pub(crate) type Places = HashSet<(usize, usize)>;
