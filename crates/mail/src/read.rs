//! Reading a message: its MIME tree flattened into parts, in the order in which they stand (RFC 2045, RFC 2046).
//!
//! An explicit stack stands for the nesting, and a multipart is split lazily, so that whatever the budget does not
//! pay for is not even looked for. Every level searches its own body once: reading is linear in size times depth.

use bytes::Bytes;
use memchr::memmem;

use crate::charset::Charset;
use crate::header::{Noticed, counted, unfold};
use crate::parameters::{self, Structured};
use crate::split::{Source, Splitter, boundary_candidates, guess_boundary, wrong_boundary};
use crate::{
    Budget, DefectKind, FileType, Headers, Limit, Message, Origin, Part, PartId, names, transfer, words,
};

impl Message {
    /// Reads a message. It never fails: what is wrong stands in `defects`, and what the budget does not pay for is
    /// left unread with a defect [`DefectKind::Over`].
    pub fn read(raw: Bytes, budget: &mut Budget) -> Message {
        let mut message = Message::unread(raw.clone());
        let over = budget.take_part(0).err();
        let source = Source { bytes: raw, at: Some(0) };
        let entity = Entity::open(&source, "text/plain");
        message.headers = entity.headers.clone();
        let mut reader = Reader { message: &mut message, budget, frames: Vec::new() };
        match over {
            Some(limit) => reader.add_unread(entity, source, limit),
            None => {
                reader.add(entity, source, None, 0);
                reader.run();
            }
        }
        message.check_header();
        message.check_lines();
        message
    }

    /// Reads the body of `parent` as a message and appends its parts as children: the message itself, then what is
    /// in it. For a mail that was found in an archive, say.
    pub fn read_within(&mut self, parent: PartId, budget: &mut Budget) {
        let Some(part) = self.parts.get_mut(parent.0) else { return };
        part.container = true;
        part.detected = FileType::EML;
        let source = Source { bytes: part.body.clone(), at: None };
        let mut reader = Reader { message: self, budget, frames: Vec::new() };
        reader.frames.push(Frame::new(parent, "text/plain", Kind::Message(Some(source))));
        reader.run();
    }
}

/// A MIME entity with its header read and its body as it stands.
struct Entity {
    headers: Headers,
    body: Source,
    declared: String,
    /// As the first field says.
    transfer: Transfer,
    /// What the other fields say, where they differ.
    other_transfers: Vec<Transfer>,
    /// Some field says that it is a multipart, and some that it is none.
    multipart: bool,
    leaf: bool,
    charset: Option<String>,
    attachment: bool,
    names: Vec<String>,
    boundaries: Vec<String>,
    noticed: Noticed,
}

/// How the body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    /// 7bit, 8bit, binary, or nothing said.
    Identity,
    Base64,
    QuotedPrintable,
    Uuencode,
    /// Something else, taken as identity.
    Unknown,
}

impl Transfer {
    /// The text decoded, without a word about what is wrong; None where there is nothing to decode.
    fn plain(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Transfer::Identity | Transfer::Unknown => None,
            Transfer::Base64 => Some(transfer::base64(text).bytes),
            Transfer::QuotedPrintable => Some(transfer::quoted_printable(text).0),
            Transfer::Uuencode => transfer::uuencoded(text, 0).map(|file| file.bytes),
        }
    }

    fn of(token: &str) -> Transfer {
        match token {
            "7bit" | "8bit" | "binary" | "" => Transfer::Identity,
            "base64" => Transfer::Base64,
            "quoted-printable" => Transfer::QuotedPrintable,
            "x-uuencode" | "x-uue" | "uuencode" | "uue" | "x-uu" => Transfer::Uuencode,
            _ => Transfer::Unknown,
        }
    }
}

impl Entity {
    /// Reads the header; `default` is the type where none is declared.
    fn open(source: &Source, default: &str) -> Entity {
        let (headers, at, noticed) = Headers::parse(source.bytes.clone());
        let mut entity = Entity {
            headers,
            body: source.slice(at..source.bytes.len()),
            declared: default.to_owned(),
            transfer: Transfer::Identity,
            other_transfers: Vec::new(),
            multipart: default.starts_with("multipart"),
            leaf: false,
            charset: None,
            attachment: false,
            names: Vec::new(),
            boundaries: Vec::new(),
            noticed,
        };
        entity.read_fields();
        entity
    }

    fn read_fields(&mut self) {
        let types = self.structured("Content-Type");
        let dispositions = self.structured("Content-Disposition");
        let encodings: Vec<String> = self
            .headers
            .all("Content-Transfer-Encoding")
            .map(|field| parameters::clean_token(&unfold(self.headers.raw_value(field))))
            .collect();
        for name in ["Content-Type", "Content-Disposition", "Content-Transfer-Encoding"] {
            let count = self.headers.all(name).count();
            if count > 1 {
                self.note(DefectKind::DuplicateMimeHeader, format!("{name} stands {count} times"));
            }
            if count > MOST_REPEATED && name != "Content-Transfer-Encoding" {
                self.note(
                    DefectKind::Over(Limit::Parts),
                    format!("{name} stands too often to read them all"),
                );
            }
        }
        if let Some(first) = types.first() {
            self.read_type(first);
            self.multipart = types.iter().any(|field| field.main.starts_with("multipart"));
            self.leaf = types.iter().any(|field| !field.main.starts_with("multipart"));
        }
        if let Some(first) = encodings.first() {
            self.read_transfer(first);
            for transfer in encodings[1..].iter().map(|token| Transfer::of(token)) {
                if transfer != self.transfer && !self.other_transfers.contains(&transfer) {
                    self.other_transfers.push(transfer);
                }
            }
        }
        self.attachment = dispositions.first().is_some_and(|first| first.main == "attachment");
        self.boundaries = parameters::readings(types.iter().flat_map(|field| &field.parameters), "boundary");
        self.charset =
            types.iter().find_map(|field| field.get("charset")).map(|label| label.trim().to_lowercase());
        self.names = names::declared(&types, &dispositions);
        self.check_parameters(&types, &dispositions);
        self.check_words();
    }

    fn structured(&self, name: &str) -> Vec<Structured> {
        let value = |field| Structured::parse(&unfold(self.headers.raw_value(field)));
        let mut fields = self.headers.all(name).collect();
        parameters::ends(&mut fields, MOST_REPEATED);
        fields.into_iter().map(value).collect()
    }

    fn read_type(&mut self, field: &Structured) {
        let main = field.main.as_str();
        let token =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        match main.split_once('/') {
            Some((kind, subtype)) if token(kind) && token(subtype) => {
                self.declared = main.to_owned();
                return;
            }
            _ => {}
        }
        self.note(DefectKind::BadContentType, format!("“{main}”"));
        // What readers make of it: a multipart stays one, anything else is plain text (RFC 2045 section 5.2).
        let multipart = main.starts_with("multipart") && field.get("boundary").is_some();
        self.declared = if multipart { "multipart/mixed".into() } else { "text/plain".into() };
    }

    fn read_transfer(&mut self, token: &str) {
        self.transfer = Transfer::of(token);
        if self.transfer == Transfer::Unknown {
            self.note(DefectKind::BadTransferEncoding, format!("“{token}” is not known"));
        }
        let composite = self.declared.starts_with("multipart/") || self.declared == "message/rfc822";
        if composite && !matches!(self.transfer, Transfer::Identity | Transfer::Unknown) {
            self.note(DefectKind::BadTransferEncoding, format!("{token} on {}", self.declared));
        }
    }

    fn check_parameters(&mut self, types: &[Structured], dispositions: &[Structured]) {
        let parameters = || types.iter().chain(dispositions).flat_map(|field| &field.parameters);
        for name in ["filename", "name", "boundary", "charset"] {
            if let Some(wrong) = parameters::wrong(parameters(), name) {
                self.note(DefectKind::BadParameter, format!("{name} {wrong}"));
            }
        }
    }

    /// Notes encoded words that cannot be decoded.
    fn check_words(&mut self) {
        if memmem::find(&self.headers.raw, b"=?").is_none() {
            return;
        }
        let bad = |field: &&crate::Field| {
            let value = self.headers.raw_value(field);
            memmem::find(value, b"=?").is_some() && words::decode_noting(&unfold(value)).1 > 0
        };
        let found: Vec<&crate::Field> = self.headers.fields.iter().filter(bad).collect();
        if let Some(first) = found.first() {
            let name = self.headers.name(first).to_owned();
            let count = found.len();
            self.note(DefectKind::BadEncodedWord, counted(count, name));
        }
    }

    fn note(&mut self, kind: DefectKind, detail: String) {
        self.noticed.push((kind, detail));
    }
}

/// Fields of one name, like Content-Type, that are read at most: the first and the last.
const MOST_REPEATED: usize = 20;

/// The work that is left at one level of nesting.
struct Frame {
    parent: PartId,
    /// Type of children that declare none.
    default: &'static str,
    kind: Kind,
    /// Another reading of a body that was read already: what stands where some child of the parent stands is skipped.
    again: bool,
}

impl Frame {
    fn new(parent: PartId, default: &'static str, kind: Kind) -> Frame {
        Frame { parent, default, kind, again: false }
    }
}

enum Kind {
    /// A body to be split at its boundary.
    Multipart(Box<Splitter>),
    /// A message to be read.
    Message(Option<Source>),
    /// Text outside the parts of a multipart: preamble and epilogue, to be kept as parts of their own.
    Outside(Vec<Source>),
    /// Text that may hold uuencoded files; the offset where the search goes on.
    Uuencoded(Bytes, usize),
}

struct Reader<'a> {
    message: &'a mut Message,
    budget: &'a mut Budget,
    frames: Vec<Frame>,
}

impl Reader<'_> {
    fn run(&mut self) {
        while let Some(mut frame) = self.frames.pop() {
            let depth = self.message.part(frame.parent).depth + 1;
            let Some(found) = self.next_within(&mut frame) else { continue };
            if frame.again && self.stands_already(&found, frame.parent) {
                match self.budget.check_time() {
                    Ok(()) => self.frames.push(frame),
                    Err(limit) => self.over(limit, frame.parent),
                }
                continue;
            }
            if let Err(limit) = self.budget.take_part(depth) {
                self.over(limit, frame.parent);
                self.message.parts[frame.parent.0].container = false;
                if limit == Limit::Depth {
                    continue;
                }
                for unfinished in self.frames.drain(..) {
                    self.message.parts[unfinished.parent.0].container = false;
                }
                return;
            }
            let (parent, default) = (frame.parent, frame.default);
            self.frames.push(frame);
            match found {
                Found::Entity(source) => {
                    let entity = Entity::open(&source, default);
                    self.add(entity, source, Some(parent), depth);
                }
                Found::Text(source) => self.add_text(source, parent, depth),
                Found::File(file) => self.add_file(file, parent, depth),
            }
        }
    }

    /// The next thing found at this level; None when there is no more.
    fn next_within(&mut self, frame: &mut Frame) -> Option<Found> {
        let parent = frame.parent;
        match &mut frame.kind {
            Kind::Message(source) => source.take().map(Found::Entity),
            Kind::Outside(list) => list.pop().map(Found::Text),
            Kind::Uuencoded(text, at) => {
                let file = transfer::uuencoded(text, *at)?;
                *at = file.end;
                Some(Found::File(file))
            }
            Kind::Multipart(splitter) => {
                if let Some(source) = splitter.next() {
                    return Some(Found::Entity(source));
                }
                let outside = splitter.finish(self.message, parent);
                frame.kind = Kind::Outside(outside);
                self.next_within(frame)
            }
        }
    }

    /// Whether a child of `parent` is made of the same bytes.
    fn stands_already(&self, found: &Found, parent: PartId) -> bool {
        let (Found::Entity(source) | Found::Text(source)) = found else { return false };
        let children = self.message.parts[parent.0..].iter().filter(|part| part.parent == Some(parent));
        let same =
            |part: &Part| part.span.is_some() && part.span == source.span() || part.body == source.bytes;
        source.bytes.is_empty() || children.into_iter().any(same)
    }

    /// Adds an entity, and a frame for what is inside it.
    fn add(&mut self, mut entity: Entity, source: Source, parent: Option<PartId>, depth: u32) {
        let id = PartId(self.message.parts.len());
        let noticed = std::mem::take(&mut entity.noticed);
        let splitter = self.splitter(&mut entity, id);
        let raw_body = entity.body.clone();
        let body = match splitter {
            Some(_) => entity.body.clone(),
            None => self.decode(&entity, id),
        };
        for (kind, detail) in noticed {
            self.message.defect(kind, id, detail);
        }
        let is_message = is_message(&entity);
        let detected = match (&splitter, is_message) {
            (Some(_), _) => FileType::MULTIPART,
            (None, true) => FileType::EML,
            (None, false) => FileType::detect(&body.bytes),
        };
        self.check_leaf(&entity, &body.bytes, id);
        let others = Others::find(&entity, splitter.as_ref(), &raw_body, &body.bytes);
        self.message.parts.push(Part {
            parent,
            depth,
            origin: Origin::Mime,
            span: source.span(),
            names: entity.names,
            declared: entity.declared,
            charset: entity.charset,
            attachment: entity.attachment,
            detected,
            body: body.bytes.clone(),
            container: splitter.is_some() || is_message,
            encrypted: false,
            headers: entity.headers,
        });
        let declared = self.message.part(id).declared.clone();
        let default = if declared == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        // They come last: behind what the first reading gives.
        let others = others.map(|others| self.add_others(others, id, default)).unwrap_or_default();
        self.frames.extend(others);
        if let Some(splitter) = splitter {
            self.frames.push(Frame::new(id, default, Kind::Multipart(Box::new(splitter))));
        } else if is_message {
            self.frames.push(Frame::new(id, default, Kind::Message(Some(body))));
        } else if declared.starts_with("text/") && memmem::find(&body.bytes, b"begin").is_some() {
            self.frames.push(Frame::new(id, default, Kind::Uuencoded(body.bytes, 0)));
        } else if entity.transfer == Transfer::Unknown && transfer::looks_like_base64(&raw_body.bytes) {
            self.add_hidden_base64(&raw_body.bytes, id, depth + 1);
        }
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
            container: false,
            encrypted: false,
            headers: entity.headers,
        });
    }

    /// The splitter of a multipart, if it is one that can be split. Its body is put in place decoded if it was
    /// encoded against the rules and only then shows its boundary.
    fn splitter(&mut self, entity: &mut Entity, id: PartId) -> Option<Splitter> {
        if !entity.declared.starts_with("multipart/") {
            return None;
        }
        for boundary in &entity.boundaries {
            if let Some(wrong) = wrong_boundary(boundary) {
                self.message.defect(DefectKind::BadBoundary, id, format!("“{boundary}” {wrong}"));
            }
        }
        let candidates: Vec<Vec<u8>> = boundary_candidates(&entity.boundaries);
        if let Some(splitter) = Splitter::first_that_appears(&entity.body, &candidates) {
            return Some(splitter);
        }
        if matches!(entity.transfer, Transfer::Base64 | Transfer::QuotedPrintable) {
            let decoded = self.decode(entity, id);
            if let Some(splitter) = Splitter::first_that_appears(&decoded, &candidates) {
                entity.body = decoded;
                return Some(splitter);
            }
        }
        let detail = match entity.boundaries.first() {
            Some(boundary) => format!("“{boundary}” never appears"),
            None => "no boundary is declared".to_owned(),
        };
        self.message.defect(DefectKind::MissingBoundary, id, detail);
        let guess = guess_boundary(&entity.body.bytes)?;
        Splitter::first_that_appears(&entity.body, &[guess])
    }

    /// The body, decoded. It is still in its place if there was nothing to decode.
    fn decode(&mut self, entity: &Entity, id: PartId) -> Source {
        let text = &entity.body.bytes;
        let decoded = match entity.transfer {
            Transfer::Identity | Transfer::Unknown => return entity.body.clone(),
            _ if self.budget.bytes_left() == 0 && !text.is_empty() => Err(Limit::Bytes),
            Transfer::Base64 => Ok(self.decode_base64(text, id)),
            Transfer::QuotedPrintable => {
                let (bytes, bad) = transfer::quoted_printable(text);
                if bad > 0 {
                    self.message.defect(DefectKind::BadQuotedPrintable, id, counted(bad, "a stray =".into()));
                }
                Ok(bytes)
            }
            Transfer::Uuencode => match transfer::uuencoded(text, 0) {
                Some(file) => {
                    if file.bad {
                        self.message.defect(DefectKind::BadUuencode, id, "broken lines, or no end");
                    }
                    Ok(file.bytes)
                }
                None => {
                    self.message.defect(DefectKind::BadUuencode, id, "no begin line");
                    return entity.body.clone();
                }
            },
        };
        match decoded.and_then(|bytes| self.budget.take_bytes(bytes.len() as u64).map(|()| bytes)) {
            Ok(bytes) => Source { bytes: bytes.into(), at: None },
            Err(limit) => {
                self.over(limit, id);
                entity.body.clone()
            }
        }
    }

    fn decode_base64(&mut self, text: &[u8], id: PartId) -> Vec<u8> {
        let decoded = transfer::base64(text);
        if decoded.junk > 0 {
            self.message.defect(
                DefectKind::BadBase64,
                id,
                counted(decoded.junk, "a strange character".into()),
            );
        } else if decoded.after_padding {
            self.message.defect(DefectKind::BadBase64, id, "text after the padding");
        }
        if decoded.truncated {
            self.message.defect(DefectKind::TruncatedBase64, id, "the last group is not whole");
        }
        decoded.bytes
    }

    /// Defects that only the decoded content of a leaf shows, and types that cannot be judged.
    fn check_leaf(&mut self, entity: &Entity, body: &[u8], id: PartId) {
        match entity.declared.as_str() {
            "message/partial" => {
                self.message.defect(DefectKind::Partial, id, "message/partial");
            }
            "message/external-body" => {
                let access = entity.headers.get("Content-Type").map(|field| entity.headers.raw_value(field));
                let access = Structured::parse(&unfold(access.unwrap_or_default())).get("access-type");
                self.message.defect(DefectKind::ExternalBody, id, access.unwrap_or_default());
            }
            declared if declared.starts_with("text/") => {
                let Some(label) = &entity.charset else { return };
                match Charset::of(label) {
                    None => self.message.defect(DefectKind::BadCharset, id, format!("{label} is not known")),
                    Some(charset) if !charset.holds(body) => {
                        self.message.defect(
                            DefectKind::BadCharset,
                            id,
                            format!("the text is not in {label}"),
                        );
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
        self.frames.push(Frame::new(id, "text/plain", Kind::Uuencoded(text, 0)));
    }

    /// Adds a uuencoded file that stands in text.
    fn add_file(&mut self, file: transfer::Uuencoded, parent: PartId, depth: u32) {
        if let Err(limit) = self.budget.take_bytes(file.bytes.len() as u64) {
            return self.over(limit, parent);
        }
        let part = Part {
            names: names::plain(&file.name),
            attachment: true,
            ..Part::new(parent, depth, Origin::Mime, file.bytes.into())
        };
        let id = self.message.push(part);
        if file.bad {
            self.message.defect(DefectKind::BadUuencode, id, "broken lines, or no end");
        }
    }

    /// Adds bodies that other readings give; gives the frames for multiparts that they see.
    fn add_others(&mut self, others: Others, parent: PartId, default: &'static str) -> Vec<Frame> {
        let mut frames = Vec::new();
        for splitter in others.splitters {
            let frame = Frame::new(parent, default, Kind::Multipart(Box::new(splitter)));
            frames.push(Frame { again: true, ..frame });
        }
        let depth = self.message.part(parent).depth + 1;
        for bytes in others.bodies {
            let taken =
                self.budget.take_part(depth).and_then(|()| self.budget.take_bytes(bytes.len() as u64));
            if let Err(limit) = taken {
                self.over(limit, parent);
                break;
            }
            let like = self.message.part(parent);
            let part = Part {
                names: like.names.clone(),
                declared: like.declared.clone(),
                charset: like.charset.clone(),
                attachment: like.attachment,
                ..Part::new(parent, depth, Origin::Mime, bytes)
            };
            let source = Source { bytes: part.body.clone(), at: None };
            let id = self.message.push(part);
            if let Some(splitter) = Splitter::first_that_appears(&source, &others.boundaries) {
                frames.push(Frame::new(id, default, Kind::Multipart(Box::new(splitter))));
            }
        }
        frames
    }

    /// Adds what a body of unknown transfer encoding gives when it is base64 after all.
    fn add_hidden_base64(&mut self, text: &[u8], parent: PartId, depth: u32) {
        let decoded = transfer::base64(text).bytes;
        let taken = self.budget.take_part(depth).and_then(|()| self.budget.take_bytes(decoded.len() as u64));
        if let Err(limit) = taken {
            return self.over(limit, parent);
        }
        let names = self.message.part(parent).names.clone();
        self.message.push(Part { names, ..Part::new(parent, depth, Origin::Mime, decoded.into()) });
    }

    fn over(&mut self, limit: Limit, part: PartId) {
        self.message.defect(
            DefectKind::Over(limit),
            part,
            format!("over the limit of {limit}; the rest is unread"),
        );
    }
}

/// What readers see who go by another than the first of several fields or parameters that differ, or who stop at the
/// padding of base64.
struct Others {
    /// The body, decoded in other ways.
    bodies: Vec<Bytes>,
    /// The body, split at other boundaries.
    splitters: Vec<Splitter>,
    /// What decoded bodies may be split at.
    boundaries: Vec<Vec<u8>>,
}

impl Others {
    /// None for ordinary entities. `raw` is the body as it stands, `body` as the first reading has it.
    fn find(entity: &Entity, chosen: Option<&Splitter>, raw: &Source, body: &Bytes) -> Option<Others> {
        let padding = if chosen.is_none() && entity.transfer == Transfer::Base64 {
            transfer::base64_up_to_padding(&raw.bytes)
        } else {
            None
        };
        let both = entity.multipart && entity.leaf;
        let one = entity.other_transfers.is_empty() && entity.boundaries.len() < 2 && !both;
        if one && padding.is_none() {
            return None;
        }
        let mut bodies: Vec<Bytes> = Vec::new();
        let first = (both && chosen.is_some()).then_some(entity.transfer);
        let transfers = entity.other_transfers.iter().copied().chain(first);
        for bytes in padding.into_iter().chain(transfers.filter_map(|transfer| transfer.plain(&raw.bytes))) {
            let bytes = Bytes::from(bytes);
            if !bytes.is_empty() && *body != bytes && raw.bytes != bytes && !bodies.contains(&bytes) {
                bodies.push(bytes);
            }
        }
        // What the first reading decodes, others may see as it stands.
        if entity.other_transfers.iter().any(|other| matches!(other, Transfer::Identity | Transfer::Unknown))
            && body != &raw.bytes
        {
            bodies.push(raw.bytes.clone());
        }
        let boundaries = if entity.multipart { boundary_candidates(&entity.boundaries) } else { Vec::new() };
        let not_chosen = boundaries.iter().filter(|boundary| !chosen.is_some_and(|it| it.is_at(boundary)));
        let splitters = not_chosen
            .filter_map(|boundary| Splitter::first_that_appears(&entity.body, std::slice::from_ref(boundary)))
            .collect();
        Some(Others { bodies, splitters, boundaries })
    }
}

/// What stands inside a frame.
enum Found {
    Entity(Source),
    Text(Source),
    File(transfer::Uuencoded),
}

/// Whether the body is a message of its own. The first piece of a partial message begins with its header.
fn is_message(entity: &Entity) -> bool {
    match entity.declared.as_str() {
        "message/rfc822" | "message/global" | "message/news" => true,
        "message/partial" => {
            let value = entity.headers.get("Content-Type").map(|field| entity.headers.raw_value(field));
            Structured::parse(&unfold(value.unwrap_or_default()))
                .get("number")
                .is_some_and(|number| number == "1")
        }
        _ => false,
    }
}
