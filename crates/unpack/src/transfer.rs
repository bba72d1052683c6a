//! A reading as bytes: to the process that unpacks, and back from it.
//!
//! What is sent is an area (contents of parts, one behind the other) and a table (all else, which points into the area).
//! Whoever unpacks answers with an area and a table of its own, which tell what it has added. Addresses go through both
//! areas: those of the answer follow those of what was sent. So a member that stands in its archive as it is, is told by
//! its place and never copied, in neither direction.
//!
//! The answer comes from a process that has handled hostile content and may be hostile itself. It is believed only as far as
//! it adds: parts below those that are there, names, defects, features, links. It can neither take away nor change what was read
//! before it, and nothing it says is taken before all of it was looked at. Everything is bounded by the limits that the other
//! process was given and by the length of what it sent.

mod table;

use bytes::Bytes;
use gatepost_mail::{
    DefectKind, Digested, FeatureKind, Field, FileType, Headers, Limit, Limits, Link, Message, Origin, Part,
    PartId,
};

use self::table::{Area, Pieces, Table, Writer};
use crate::opening::Root;
use crate::passwords::Passwords;
use crate::{Reading, Roots, is_mail, names};

/// What is sent, in one direction.
#[derive(Debug)]
pub struct Parcel {
    /// The area: these, one behind the other.
    pub pieces: Vec<Bytes>,
    /// The table.
    pub table: Vec<u8>,
}

impl Parcel {
    /// Bytes of the area.
    pub fn area_len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

/// What came makes no sense, or says more than it may; in a few words, what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled(pub &'static str);

impl Reading {
    /// What another process needs to unpack the rest.
    pub fn parcel(&self) -> Parcel {
        let mut pieces = Pieces::default();
        let mut table = Writer::default();
        let message = &self.message;
        for number in [
            u64::from(self.left.depth),
            u64::from(self.left.parts),
            self.left.bytes,
            u64::from(self.left.ratio),
            u64::try_from(self.left.time.as_micros()).unwrap_or(u64::MAX),
            u64::from(self.left.readings),
            self.left.memory,
        ] {
            table.number(number);
        }
        table.texts(&self.left.passwords);
        table.number(self.left.texts);
        table.place(pieces.place(&message.raw));
        put_headers(&mut table, &mut pieces, &message.headers);
        table.size(message.parts.len());
        message.parts.iter().for_each(|part| put_part(&mut table, &mut pieces, part));
        put_noticed(&mut table, message, [0; 3]);
        table.size(self.at.unwrap_or(message.parts.len()));
        put_roots(&mut table, &self.roots);
        Parcel { pieces: pieces.list, table: table.bytes }
    }

    /// The reading, in the process that unpacks the rest.
    ///
    /// # Errors
    /// When the table is none that [`Reading::parcel`] makes.
    pub fn from_parcel(area: Bytes, table: &[u8]) -> Result<Reading, Garbled> {
        let area = Area::of(vec![area]);
        let mut table = Table(table);
        let left = take_limits(&mut table)?;
        let mut message = Message::unread(area.slice(table.place()?)?);
        message.headers = take_headers(&mut table, &area)?;
        for place in 0..table.count()? {
            let part = take_part(&mut table, &area)?;
            if part.parent.is_some_and(|parent| parent.0 >= place) {
                return Err(Garbled("a part before its parent"));
            }
            message.parts.push(part);
        }
        let noticed = Noticed::take(&mut table, message.parts.len())?;
        noticed.add_to(&mut message);
        let at = table.index(message.parts.len() + 1)?;
        let roots = take_roots(&mut table, message.parts.len())?;
        table.end()?;
        Ok(Reading { message, left, roots, at: Some(at) })
    }

    /// Unpacks the rest, in the process that does so, and gives what was added. `area` is the one that the reading was made
    /// from.
    pub fn finish_to_parcel(self, area: &Bytes) -> Parcel {
        let known = self.message.parts.len();
        let noticed = [self.message.defects.len(), self.message.features.len(), self.message.links.len()];
        let before: Vec<_> = self.message.parts.iter().map(Before::of).collect();
        let message = self.finish();
        let mut pieces = Pieces::behind(area);
        let mut table = Writer::default();
        let changed = || (0..known).filter(|&at| before[at].differs(&message.parts[at]));
        table.size(changed().count());
        for at in changed() {
            let part = &message.parts[at];
            table.size(at);
            let mail = part.detected == FileType::EML;
            table.flags([part.container, part.encrypted, mail, false, false]);
            table.texts(part.names.get(before[at].names..).unwrap_or_default());
        }
        table.size(message.parts.len() - known);
        message.parts[known..].iter().for_each(|part| put_part(&mut table, &mut pieces, part));
        put_noticed(&mut table, &message, noticed);
        table.size(message.texts.len());
        for told in &message.texts {
            table.size(told.part.0);
            table.place(pieces.place(&Bytes::copy_from_slice(told.text.as_bytes())));
        }
        Parcel { pieces: pieces.list, table: table.bytes }
    }

    /// Takes what another process has added, which was `sent` a parcel of this reading; then [`Reading::into_message`] is all
    /// there is.
    ///
    /// # Errors
    /// When the answer makes no sense or claims more than the limits allow; nothing of it is taken then.
    pub fn take(&mut self, sent: &Parcel, area: Bytes, table: &[u8]) -> Result<(), Garbled> {
        let mut areas = sent.pieces.clone();
        areas.push(area);
        let area = Area::of(areas);
        let mut table = Table(table);
        let changes = self.take_changes(&mut table)?;
        let parts = self.take_parts(&mut table, &area)?;
        let noticed = Noticed::take(&mut table, self.message.parts.len() + parts.len())?;
        let texts = self.take_texts(&mut table, &area, self.message.parts.len() + parts.len())?;
        table.end()?;
        for change in changes {
            let part = &mut self.message.parts[change.part];
            part.encrypted |= change.encrypted;
            // A container's own bytes are looked at no more: only what we ourselves take for a mail may become one.
            if change.mail && is_mail(&part.body, part.detected) {
                part.container |= change.container;
                part.detected = FileType::EML;
            }
            change.names.into_iter().for_each(|name| names::add(&mut part.names, name));
        }
        self.message.parts.extend(parts);
        noticed.add_to(&mut self.message);
        texts.iter().for_each(|(part, text)| self.message.text(*part, text, self.left.texts));
        self.at = None;
        Ok(())
    }

    fn take_changes(&self, table: &mut Table) -> Result<Vec<Change>, Garbled> {
        let mut changes = Vec::new();
        for _ in 0..table.count()? {
            let part = table.index(self.message.parts.len())?;
            let [container, encrypted, mail, ..] = table.flags()?;
            changes.push(Change { part, container, encrypted, mail, names: table.texts()? });
        }
        Ok(changes)
    }

    /// The texts of documents, which are no longer in all than was asked for.
    fn take_texts(
        &self,
        table: &mut Table,
        area: &Area,
        parts: usize,
    ) -> Result<Vec<(PartId, String)>, Garbled> {
        let mut left = self.left.texts;
        let mut texts = Vec::new();
        for _ in 0..table.count()? {
            let part = PartId(table.index(parts)?);
            let text = area.slice(table.place()?)?;
            left = left.checked_sub(text.len() as u64).ok_or(Garbled("more text than was asked for"))?;
            let text = std::str::from_utf8(&text).map_err(|_| Garbled("a text that is not UTF-8"))?;
            texts.push((part, text.to_owned()));
        }
        Ok(texts)
    }

    /// The parts that were added. None may be more, deeper or larger than the limits allow: parts may share their bytes,
    /// but whoever looks at them afterwards looks at each.
    fn take_parts(&self, table: &mut Table, area: &Area) -> Result<Vec<Part>, Garbled> {
        let known = &self.message.parts;
        let count = table.count()?;
        if count > self.left.parts as usize {
            return Err(Garbled("more parts than reading.parts"));
        }
        let mut most =
            self.left.bytes.saturating_add(area.len()).saturating_mul(u64::from(self.left.depth) + 1);
        let mut parts: Vec<Part> = Vec::with_capacity(count);
        for _ in 0..count {
            let part = take_part(table, area)?;
            let parent = part.parent.ok_or(Garbled("a part without a parent"))?.0;
            let above = known.get(parent).or_else(|| parts.get(parent.checked_sub(known.len())?));
            let above = above.ok_or(Garbled("a part before its parent"))?;
            if part.depth != above.depth.saturating_add(1) || part.depth > self.left.depth {
                return Err(Garbled("a part that is not one deeper than its parent"));
            }
            if part.span.is_some() {
                return Err(Garbled("a part of an archive that stands in the message"));
            }
            most =
                most.checked_sub(part.body.len() as u64).ok_or(Garbled("more bytes than reading.bytes"))?;
            parts.push(part);
        }
        Ok(parts)
    }
}

/// What unpacking may change of a part that was there before.
struct Before {
    detected: FileType,
    container: bool,
    encrypted: bool,
    names: usize,
}

impl Before {
    fn of(part: &Part) -> Before {
        let (container, encrypted) = (part.container, part.encrypted);
        Before { detected: part.detected, container, encrypted, names: part.names.len() }
    }

    fn differs(&self, part: &Part) -> bool {
        self.detected != part.detected
            || (self.container, self.encrypted, self.names)
                != (part.container, part.encrypted, part.names.len())
    }
}

struct Change {
    part: usize,
    container: bool,
    encrypted: bool,
    /// It was read as a mail.
    mail: bool,
    names: Vec<String>,
}

fn put_part(table: &mut Writer, pieces: &mut Pieces, part: &Part) {
    table.size(part.parent.map_or(0, |parent| parent.0 + 1));
    table.number(part.depth.into());
    table.size(ORIGINS.iter().position(|origin| *origin == part.origin).unwrap_or(0));
    let (span, charset) = (part.span.clone(), part.charset.as_deref());
    table.flags([part.container, part.encrypted, part.attachment, span.is_some(), charset.is_some()]);
    table.texts(&part.names);
    table.text(&part.declared);
    charset.into_iter().for_each(|charset| table.text(charset));
    span.into_iter().for_each(|span| table.place((span.start as u64, span.len() as u64)));
    table.size(FileType::ALL.iter().position(|(known, _)| *known == part.detected).unwrap_or(0));
    put_headers(table, pieces, &part.headers);
    table.place(pieces.place(&part.body));
}

fn take_part(table: &mut Table, area: &Area) -> Result<Part, Garbled> {
    let parent = table.size()?.checked_sub(1).map(PartId);
    let depth = u32::try_from(table.number()?).map_err(|_| Garbled("a depth that is no depth"))?;
    let origin = ORIGINS[table.index(ORIGINS.len())?];
    let [container, encrypted, attachment, has_span, has_charset] = table.flags()?;
    let names = table.texts()?;
    let declared = table.text()?;
    let charset = if has_charset { Some(table.text()?) } else { None };
    let span = if has_span { Some(table.range()?) } else { None };
    let detected = FileType::ALL[table.index(FileType::ALL.len())?].0;
    let headers = take_headers(table, area)?;
    let body = area.slice(table.place()?)?;
    Ok(Part {
        parent,
        depth,
        origin,
        headers,
        span,
        names,
        declared,
        charset,
        attachment,
        detected,
        body,
        digest: Digested::default(),
        container,
        encrypted,
    })
}

const ORIGINS: [Origin; 3] = [Origin::Mime, Origin::Archive, Origin::Embedded];

fn put_headers(table: &mut Writer, pieces: &mut Pieces, headers: &Headers) {
    table.place(pieces.place(&headers.raw));
    table.size(headers.fields.len());
    for field in &headers.fields {
        for range in [&field.span, &field.name, &field.value] {
            table.place((range.start as u64, range.len() as u64));
        }
    }
}

fn take_headers(table: &mut Table, area: &Area) -> Result<Headers, Garbled> {
    let raw = area.slice(table.place()?)?;
    let mut fields = Vec::new();
    for _ in 0..table.count()? {
        let field = Field { span: table.range()?, name: table.range()?, value: table.range()? };
        let inside = |inner: &std::ops::Range<usize>, outer: &std::ops::Range<usize>| {
            outer.start <= inner.start && inner.end <= outer.end
        };
        if !inside(&field.span, &(0..raw.len()))
            || !inside(&field.name, &field.span)
            || !inside(&field.value, &field.span)
        {
            return Err(Garbled("a header field outside its header"));
        }
        fields.push(field);
    }
    Ok(Headers { raw, fields })
}

/// What is told of parts, behind the first `known` of each list.
fn put_noticed(table: &mut Writer, message: &Message, known: [usize; 3]) {
    let defects = message.defects.get(known[0]..).unwrap_or_default();
    table.size(defects.len());
    for defect in defects {
        table.size(kind_place(defect.kind));
        table.size(defect.part.0);
        table.text(&defect.detail);
    }
    let features = message.features.get(known[1]..).unwrap_or_default();
    table.size(features.len());
    for feature in features {
        table.size(FeatureKind::ALL.iter().position(|kind| *kind == feature.kind).unwrap_or(0));
        table.size(feature.part.0);
        table.text(&feature.detail);
    }
    let links = message.links.get(known[2]..).unwrap_or_default();
    table.size(links.len());
    for link in links {
        table.size(link.part.0);
        table.text(&link.url);
    }
}

fn kind_place(kind: DefectKind) -> usize {
    DefectKind::ALL.iter().position(|known| *known == kind).unwrap_or(0)
}

#[derive(Default)]
struct Noticed {
    defects: Vec<(DefectKind, PartId, String)>,
    features: Vec<(FeatureKind, PartId, String)>,
    links: Vec<Link>,
}

impl Noticed {
    fn take(table: &mut Table, parts: usize) -> Result<Noticed, Garbled> {
        let mut noticed = Noticed::default();
        for _ in 0..table.count()? {
            let kind = DefectKind::ALL[table.index(DefectKind::ALL.len())?];
            noticed.defects.push((kind, PartId(table.index(parts)?), table.text()?));
        }
        for _ in 0..table.count()? {
            let kind = FeatureKind::ALL[table.index(FeatureKind::ALL.len())?];
            noticed.features.push((kind, PartId(table.index(parts)?), table.text()?));
        }
        for _ in 0..table.count()? {
            noticed.links.push(Link { part: PartId(table.index(parts)?), url: table.text()? });
        }
        Ok(noticed)
    }

    /// What is there twice is taken once, and nothing is longer than a message keeps it.
    fn add_to(self, message: &mut Message) {
        self.defects.into_iter().for_each(|(kind, part, detail)| message.defect(kind, part, detail));
        self.features.into_iter().for_each(|(kind, part, detail)| message.feature(kind, part, detail));
        self.links.into_iter().for_each(|link| message.link(link.part, link.url));
    }
}

fn take_limits(table: &mut Table) -> Result<Limits, Garbled> {
    let small = |number: u64| u32::try_from(number).map_err(|_| Garbled("a limit that is too large"));
    Ok(Limits {
        depth: small(table.number()?)?,
        parts: small(table.number()?)?,
        bytes: table.number()?,
        ratio: small(table.number()?)?,
        // A clock takes no time that it cannot tell.
        time: std::time::Duration::from_micros(table.number()?.min(u64::from(u32::MAX) * 1_000_000)),
        readings: small(table.number()?)?,
        memory: table.number()?,
        passwords: table.texts()?.into(),
        texts: table.number()?,
    })
}

fn put_roots(table: &mut Writer, roots: &Roots) {
    roots.of.iter().for_each(|root| table.size(*root));
    table.size(roots.roots.len());
    for root in &roots.roots {
        table.number(root.packed);
        table.number(root.unpacked);
        // As the defect that it is told by; nothing is no such defect.
        table.size(root.over.map_or(0, |limit| kind_place(DefectKind::Over(limit))));
    }
}

fn take_roots(table: &mut Table, parts: usize) -> Result<Roots, Garbled> {
    let of: Vec<usize> = (0..parts).map(|_| table.size()).collect::<Result<_, _>>()?;
    let mut roots = Vec::new();
    for _ in 0..table.count()? {
        let (packed, unpacked) = (table.number()?, table.number()?);
        let over: Option<Limit> = match DefectKind::ALL[table.index(DefectKind::ALL.len())?] {
            DefectKind::Over(limit) => Some(limit),
            _ => None,
        };
        roots.push(Root { packed, unpacked, over });
    }
    match of.iter().all(|root| *root < roots.len()) {
        // What was read so far has tried none.
        true => Ok(Roots { of, roots, passwords: Passwords::default() }),
        false => Err(Garbled("an attachment that is none")),
    }
}

#[cfg(test)]
mod tests;
