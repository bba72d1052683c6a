//! The readings after the first: what mail programs see that go by another header, boundary or decoding.
//!
//! They come last, one after the other, and each is paid for. What a reading finds that stands in the message already,
//! byte for byte, is left out; only a name it has there is added. So the parts are the union of what readers see.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memmem};

use crate::carve::{Form, Hints};
use crate::decodings::How;
use crate::entity::Entity;
use crate::header::{Headers, late_header};
use crate::joined::{Joined, joined};
use crate::read::{Frame, Kind, Places, Reader};
use crate::split::{Source, Splitter, guess_boundaries};
use crate::transfer::{self, Transfer};
use crate::{DefectKind, FileType, Limit, Origin, Part, PartId, charset};

/// Something else that could be made of what was read. The part it comes from stands first.
pub(crate) enum Later {
    /// Its body, split at another boundary; and the type of parts that declare none.
    Split(PartId, &'static str, Box<Splitter>),
    /// The entity that this is, its header ending elsewhere.
    Header(PartId, Source),
    /// An entity that stands in it.
    Entity(PartId, Source),
    /// Its body decoded in another way.
    Decode(PartId, Source, How, Rc<Split>),
    /// It and parts behind it put together.
    Joined(Joined),
    /// The message as it came, before its line endings were mended.
    Unmended(PartId, Source),
    /// The message that this is, for those who take its bytes otherwise.
    Changed(PartId, Source, Change),
}

/// What a body is split at that was decoded in another way.
pub(crate) struct Split {
    candidates: Vec<Vec<u8>>,
    /// The body counts even if it cannot be split.
    whole: bool,
}

/// How some readers take the bytes of a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A CR alone ends a line.
    BareCr,
    /// NUL bytes are not there.
    NoNul,
    /// A line ends at its first NUL byte.
    UpToNul,
    /// It is UTF-16.
    Utf16,
}

/// What is known once readings but the first are made.
pub(crate) struct Again {
    /// The parts from here on come from further readings.
    from: usize,
    /// The sources that were read as entities.
    pub entities: Places,
    /// The contents that are there, and in which part.
    bodies: HashMap<Bytes, usize>,
    /// What sets the reading apart that is being made.
    why: &'static str,
}

impl Again {
    /// Whether the content is there.
    pub(crate) fn knows(&self, bytes: &[u8]) -> bool {
        self.bodies.contains_key(bytes.trim_ascii_end())
    }
}

impl Change {
    /// The changes that make a difference to these bytes.
    fn of(bytes: &[u8]) -> Vec<Change> {
        let bare_cr = memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1) != Some(&b'\n'));
        let nul = memchr(0, bytes).is_some();
        Change::needed(bytes, bare_cr, nul)
    }

    fn needed(bytes: &[u8], bare_cr: bool, nul: bool) -> Vec<Change> {
        let utf16 = nul && (bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff"));
        let all =
            [(Change::Utf16, utf16), (Change::BareCr, bare_cr), (Change::NoNul, nul), (Change::UpToNul, nul)];
        all.into_iter().filter(|(_, needed)| *needed).map(|(change, _)| change).collect()
    }

    fn make(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Change::NoNul => bytes.iter().copied().filter(|byte| *byte != 0).collect(),
            Change::Utf16 => charset::guess(bytes).into_owned().into_bytes(),
            Change::UpToNul => {
                let mut out = Vec::with_capacity(bytes.len());
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    match memchr(0, line) {
                        Some(at) => out.extend([&line[..at], b"\r\n"].concat()),
                        None => out.extend_from_slice(line),
                    }
                }
                out
            }
            Change::BareCr => {
                let mut out = Vec::with_capacity(bytes.len() + 1024);
                let mut bytes = bytes.iter().peekable();
                while let Some(byte) = bytes.next() {
                    out.push(*byte);
                    if *byte == b'\r' && bytes.peek() != Some(&&b'\n') {
                        out.push(b'\n');
                    }
                }
                out
            }
        }
    }
}

/// What the first reading made of an entity.
pub(crate) struct First<'a> {
    pub id: PartId,
    /// The boundaries it may be split at.
    pub candidates: Vec<Vec<u8>>,
    pub splitter: Option<&'a Splitter>,
    /// The body as it stands.
    pub raw: Source,
    /// The body decoded.
    pub body: Source,
    /// Other ways to decode it.
    pub hows: Vec<How>,
    /// Type of children that declare none.
    pub default: &'static str,
}

impl Reader<'_> {
    /// Notes what else could be made of an entity; nothing for an ordinary one.
    pub(crate) fn note_later(&mut self, entity: &Entity, first: First) {
        let First { id, candidates, splitter, raw, body, mut hows, default } = first;
        if entity.multipart {
            let other = candidates.iter().filter(|boundary| !splitter.is_some_and(|it| it.is_at(boundary)));
            for boundary in other {
                let boundary = std::slice::from_ref(boundary);
                let decoded = (body.bytes != raw.bytes).then_some(&body);
                for source in [Some(&raw), decoded].into_iter().flatten() {
                    if let Some(splitter) = Splitter::first_that_appears(source, boundary) {
                        self.later.push_back(Later::Split(id, default, Box::new(splitter)));
                    }
                }
            }
        }
        let identity = |steps: &Vec<Transfer>| matches!(steps[..], [Transfer::Identity | Transfer::Unknown]);
        let others = entity.other_transfers.iter();
        hows.extend(others.map(|steps| if identity(steps) { How::Raw } else { How::By(steps.clone()) }));
        let own = vec![entity.transfer];
        if splitter.is_some() && !identity(&own) {
            hows.push(How::By(own));
        }
        if splitter.is_none()
            && entity.transfer == Transfer::QuotedPrintable
            && memmem::find(&raw.bytes, b"begin ").is_some()
            && Form::Uuencode.next(&raw.bytes, 0, 0).is_some()
        {
            // Quoted-printable breaks uuencode; some look for it first.
            hows.push(How::By(vec![Transfer::Uuencode]));
        }
        if !hows.is_empty() {
            let whole = splitter.is_none() || entity.leaf;
            let split = Rc::new(Split { candidates, whole });
            let later = |how| Later::Decode(id, raw.clone(), how, split.clone());
            self.later.extend(hows.into_iter().map(later));
        }
        if splitter.is_some() {
            return;
        }
        if entity.is_message() {
            if body.at.is_none() {
                self.read_changed(id, &body);
            }
        } else if is_opened(self.message.part(id)) {
            // As a mail, by whoever opens containers.
        } else if entity.message {
            self.later.push_back(Later::Entity(id, body));
        } else if let Some(at) = late_header(&body.bytes) {
            self.defect(DefectKind::LateHeader, id, "header fields at the beginning of the body");
            self.later.push_back(Later::Entity(id, body.slice(at..body.bytes.len())));
        }
    }

    /// Notes that a message may be taken for other bytes than it has.
    pub(crate) fn read_changed(&mut self, id: PartId, source: &Source) {
        let changes = if source.at == Some(0) {
            // Its lines were looked at.
            let is = |kind: DefectKind| self.message.defects.iter().any(|defect| defect.kind == kind);
            Change::needed(&source.bytes, is(DefectKind::BareCr), is(DefectKind::Nul))
        } else {
            Change::of(&source.bytes)
        };
        self.later.extend(changes.into_iter().map(|change| Later::Changed(id, source.clone(), change)));
    }

    /// Notes what parts come to that were cut out of one.
    pub(crate) fn note_joined(&mut self) {
        self.later.extend(joined(self.message).into_iter().map(Later::Joined));
    }

    fn add_joined(&mut self, joined: Joined) -> Result<(), Limit> {
        let Joined { first: id, bytes, is_message } = joined;
        self.budget.take_bytes(bytes.len() as u64)?;
        if is_message {
            let source = Source { bytes, at: None };
            self.frames.push(Frame::new(id, "text/plain", Kind::Message(Some(source))));
            return Ok(());
        }
        let like = self.message.part(id);
        let (names, depth) = (like.names.clone(), like.depth + 1);
        if self.is_known(&bytes, &names) {
            return Ok(());
        }
        self.budget.take_part(depth)?;
        let like = self.message.part(id);
        let part = Part {
            names,
            declared: like.declared.clone(),
            charset: like.charset.clone(),
            attachment: like.attachment,
            ..Part::new(id, depth, Origin::Mime, bytes)
        };
        let new = self.message.push(part);
        self.note_other(new);
        Ok(())
    }

    /// Looks for what stands in the text of a leaf: files, and parts whose boundary nobody declares.
    pub(crate) fn look_into(&mut self, body: &Bytes, transfer: Transfer, id: PartId) {
        /// A NUL byte among the first tells that decoded base64 is no text.
        const HEAD: usize = 512;
        if transfer == Transfer::Base64 && memchr(0, &body[..body.len().min(HEAD)]).is_some() {
            return;
        }
        let hints = Hints::of(body);
        let frame = |form| Frame::new(id, "text/plain", Kind::Carve(body.clone(), 0, form));
        self.frames.extend(hints.forms().rev().map(frame));
        if is_opened(self.message.part(id)) {
            return;
        }
        let source = Source { bytes: body.clone(), at: None };
        if transfer::is_dense_quoted(body) {
            let split = Rc::new(Split { candidates: Vec::new(), whole: true });
            let how = How::By(vec![Transfer::QuotedPrintable]);
            self.later.push_back(Later::Decode(id, source.clone(), how, split));
        }
        let boundaries = if hints.boundary { guess_boundaries(body) } else { Vec::new() };
        for boundary in boundaries {
            if let Some(splitter) = Splitter::first_that_appears(&source, &[boundary]) {
                self.later.push_back(Later::Split(id, "text/plain", Box::new(splitter)));
            }
        }
    }

    /// Makes the readings that were noted, and those noted meanwhile, as far as the budget goes.
    pub(crate) fn read_again(&mut self) {
        while let Some(later) = self.later.pop_front() {
            if let Err(limit) = self.budget.take_reading() {
                self.over(limit, later.part());
                self.later.clear();
                break;
            }
            self.begin_again(later.why());
            let part = later.part();
            if let Err(limit) = self.start(later) {
                self.over(limit, part);
            }
            self.run();
        }
        if let Some(again) = self.again.take() {
            self.prune(again.from);
        }
    }

    fn begin_again(&mut self, why: &'static str) {
        if let Some(again) = &mut self.again {
            again.why = why;
            return;
        }
        let leaves = self.message.parts.iter().enumerate().filter(|(_, part)| !part.container);
        let mut bodies = HashMap::new();
        for (at, part) in leaves {
            bodies.entry(trimmed(&part.body)).or_insert(at);
        }
        let entities = std::mem::take(&mut self.entities).into_iter().collect();
        self.again = Some(Again { from: self.message.parts.len(), entities, bodies, why });
    }

    fn start(&mut self, later: Later) -> Result<(), Limit> {
        let id = later.part();
        let depth = self.message.part(id).depth + 1;
        match later {
            Later::Split(_, default, splitter) => {
                self.frames.push(Frame::new(id, default, Kind::Multipart(splitter)));
            }
            Later::Joined(joined) => self.add_joined(joined)?,
            Later::Unmended(_, source) => {
                self.budget.take_bytes(source.bytes.len() as u64)?;
                self.frames.push(Frame::new(id, "text/plain", Kind::Message(Some(source))));
            }
            Later::Entity(_, source) => {
                self.frames.push(Frame::new(id, "text/plain", Kind::Message(Some(source))));
            }
            Later::Header(_, source) => {
                let (_, first, _) = Headers::parse(source.bytes.clone());
                for (headers, at) in Headers::otherwise(&source.bytes, first) {
                    self.budget.take_part(depth)?;
                    let body = source.slice(at..source.bytes.len());
                    let entity = Entity::with(headers, body, Vec::new(), "text/plain");
                    self.add(entity, source.clone(), Some(id), depth);
                }
            }
            Later::Changed(_, source, change) => {
                let bytes = change.make(&source.bytes);
                self.budget.take_bytes(bytes.len() as u64)?;
                let source = Source { bytes: bytes.into(), at: None };
                self.frames.push(Frame::new(id, "text/plain", Kind::Message(Some(source))));
            }
            Later::Decode(_, raw, how, split) => self.decode_again(id, &raw, &how, &split)?,
        }
        Ok(())
    }

    /// Adds a body decoded in another way.
    fn decode_again(&mut self, id: PartId, raw: &Source, how: &How, split: &Rc<Split>) -> Result<(), Limit> {
        let others = how.others(&raw.bytes);
        self.later.extend(others.into_iter().map(|how| Later::Decode(id, raw.clone(), how, split.clone())));
        let bytes = if *how == How::Raw {
            raw.bytes.clone()
        } else {
            let most = usize::try_from(self.budget.bytes_left()).unwrap_or(usize::MAX);
            let Some(bytes) = how.decode(&raw.bytes, most) else { return Ok(()) };
            bytes.into()
        };
        let like = self.message.part(id);
        let names = like.names.clone();
        if self.is_known(&bytes, &names) {
            return Ok(());
        }
        let source = Source { bytes: bytes.clone(), at: None };
        let splitter = Splitter::first_that_appears(&source, &split.candidates);
        if splitter.is_none() && !split.whole {
            return Ok(());
        }
        let like = self.message.part(id);
        let depth = like.depth + 1;
        if *how != How::Raw {
            self.budget.take_bytes(bytes.len() as u64)?;
        }
        self.budget.take_part(depth)?;
        let like = self.message.part(id);
        let part = Part {
            names,
            declared: like.declared.clone(),
            charset: like.charset.clone(),
            attachment: like.attachment,
            container: !split.whole,
            ..Part::new(id, depth, Origin::Mime, bytes.clone())
        };
        let new = self.message.push(part);
        if split.whole {
            self.note_other(new);
        }
        self.look_into(&bytes, Transfer::Base64, new);
        if let Some(splitter) = splitter {
            self.frames.push(Frame::new(new, "text/plain", Kind::Multipart(Box::new(splitter))));
        }
        Ok(())
    }

    /// In a further reading: whether the content is there already. Names it has here are added to it.
    pub(crate) fn is_known(&mut self, bytes: &Bytes, names: &[String]) -> bool {
        let Some(again) = &self.again else { return false };
        let bytes = trimmed(bytes);
        if bytes.is_empty() {
            return true;
        }
        let Some(known) = again.bodies.get(&bytes) else { return false };
        let part = &mut self.message.parts[*known];
        for name in names {
            if !part.names.contains(name) {
                part.names.push(name.clone());
            }
        }
        true
    }

    /// Notes a leaf that a further reading found.
    pub(crate) fn note_other(&mut self, id: PartId) {
        let Some(again) = &mut self.again else { return };
        again.bodies.insert(trimmed(&self.message.parts[id.0].body), id.0);
        self.message.defect(DefectKind::OtherReading, id, again.why);
    }

    /// Takes out containers from `from` on in which nothing new was found.
    fn prune(&mut self, from: usize) {
        let count = self.message.parts.len();
        let mut kept = vec![true; count];
        let mut holds = vec![false; count];
        for at in (from..count).rev() {
            let part = &self.message.parts[at];
            kept[at] = !part.container || holds[at];
            if let (true, Some(parent)) = (kept[at], part.parent) {
                holds[parent.0] = true;
            }
        }
        // Where each part is now; for one that is gone, where what it stood in is.
        let mut places: Vec<usize> = Vec::with_capacity(count);
        let mut next = 0;
        for (at, kept) in kept.iter().enumerate() {
            let parent = self.message.parts[at].parent.map_or(0, |parent| places[parent.0]);
            places.push(if *kept { next } else { parent });
            next += usize::from(*kept);
        }
        let mut at = 0;
        self.message.parts.retain(|_| {
            at += 1;
            kept[at - 1]
        });
        for part in &mut self.message.parts[from..] {
            part.parent = part.parent.map(|parent| PartId(places[parent.0]));
        }
        let defects = std::mem::take(&mut self.message.defects);
        for defect in defects {
            let gone = !kept.get(defect.part.0).copied().unwrap_or_default();
            if !gone || matches!(defect.kind, DefectKind::Over(_)) {
                let place = places.get(defect.part.0).copied().unwrap_or_default();
                self.message.defect(defect.kind, PartId(place), defect.detail);
            }
        }
    }
}

impl Later {
    fn part(&self) -> PartId {
        match self {
            Later::Split(id, ..)
            | Later::Header(id, ..)
            | Later::Entity(id, ..)
            | Later::Decode(id, ..)
            | Later::Unmended(id, ..)
            | Later::Changed(id, ..) => *id,
            Later::Joined(joined) => joined.first,
        }
    }

    /// What sets the reading apart, for people.
    fn why(&self) -> &'static str {
        match self {
            Later::Split(..) => "split at another boundary",
            Later::Header(..) => "the header ends elsewhere",
            Later::Entity(..) => "the body begins with a header",
            Later::Decode(..) => "decoded in another way",
            Later::Joined(_) => "several parts put together",
            Later::Unmended(..) => "its line endings are not mended",
            Later::Changed(_, _, Change::BareCr) => "a CR alone ends a line",
            Later::Changed(_, _, Change::NoNul | Change::UpToNul) => "NUL bytes are left out, or end a line",
            Later::Changed(_, _, Change::Utf16) => "all of it is UTF-16",
        }
    }
}

/// Whether whoever opens containers reads the part as a mail.
fn is_opened(part: &Part) -> bool {
    match part.detected {
        FileType::EML => true,
        FileType::ZIP | FileType::DATA => FileType::begins_as_mail(&part.body),
        _ => false,
    }
}

/// Without the white space at the end, where readers differ and nobody cares.
fn trimmed(bytes: &Bytes) -> Bytes {
    bytes.slice(..bytes.trim_ascii_end().len())
}
