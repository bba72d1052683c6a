//! A PDF as its objects, found by looking for them and not by its cross-reference tables: readers mend broken tables in
//! this way, and a table may hide from one reader what another shows. Every definition of an object counts.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::crypt::Key;
use super::filter::{self, Decoded};
use super::object::{Dict, Object, Parser, is_space};
use crate::opening::{End, Opening, Stop};

/// Objects, entries and items that are kept in all.
const MOST_OBJECTS: usize = 1 << 20;
/// Bytes of one object that are read at first; what is longer is read once more, whole.
const USUAL: usize = 64 << 10;
/// Definitions of one object that are looked at.
const MOST_DEFINITIONS: usize = 8;
/// Entries of dictionaries that are passed over in looking for keys, in all.
const MOST_WORK: usize = 50_000_000;

/// An object where it is defined.
#[derive(Debug)]
pub(super) struct Entry {
    /// Number and generation.
    pub(super) id: (u32, u16),
    pub(super) object: Object,
    /// Where its stream begins, if it has one.
    stream: Option<usize>,
    /// It comes out of an object stream, so its strings are in clear.
    inner: bool,
    /// It stands within the stream of another object.
    hidden: bool,
    /// Where it begins in the file; for one out of an object stream, where that begins.
    at: usize,
}

/// Where the definitions of one object are.
#[derive(Debug, Default)]
struct Places {
    /// The last.
    last: Option<usize>,
    /// The last that does not stand within a stream.
    open: Option<usize>,
    /// Those with streams, the first few and the last.
    streams: Vec<usize>,
}

/// Where `endstream` and `endobj` stand.
#[derive(Debug, Default)]
struct Ends {
    streams: Vec<usize>,
    objects: Vec<usize>,
}

impl Ends {
    fn find(body: &[u8]) -> Ends {
        let all = |word: &[u8]| memmem::find_iter(body, word).collect();
        Ends { streams: all(b"endstream"), objects: all(b"endobj") }
    }

    /// The first end of a stream that begins at a place; that of the object, if there is no other.
    fn after(&self, at: usize) -> Option<usize> {
        let next = |places: &[usize]| places.get(places.partition_point(|place| *place < at)).copied();
        next(&self.streams).or_else(|| next(&self.objects))
    }
}

/// All objects of a file.
#[derive(Debug, Default)]
pub(super) struct Document {
    body: Bytes,
    pub(super) entries: Vec<Entry>,
    places: HashMap<u32, Places>,
    /// Where streams and objects end.
    ends: Ends,
    key: Option<Key>,
    /// What stands behind the word `trailer`, in the order of the file.
    trailers: Vec<Dict>,
    /// It is encrypted, and no password is known.
    pub(super) locked: bool,
    room: usize,
    /// What looking for keys has cost so far.
    work: Cell<usize>,
}

impl Document {
    /// Finds the objects of a file, those in object streams included.
    pub(super) fn read(opening: &mut Opening) -> Result<Document, Stop> {
        let body = opening.body.clone();
        let ends = Ends::find(&body);
        let mut document = Document { body, ends, room: MOST_OBJECTS, ..Document::default() };
        document.scan(opening)?;
        document.unlock(opening);
        document.object_streams(opening)?;
        Ok(document)
    }

    /// What a reference leads to; anything else is itself.
    pub(super) fn resolve<'d>(&'d self, object: &'d Object) -> &'d Object {
        const MOST: usize = 16;
        let mut object = object;
        for _ in 0..MOST {
            let Object::Reference(number) = object else { return object };
            match self.latest(*number) {
                Some(entry) => object = &entry.object,
                None => return &Object::Null,
            }
        }
        &Object::Null
    }

    /// The value of a key, references followed.
    pub(super) fn get<'d>(&'d self, dict: &'d Dict, key: &[u8]) -> Option<&'d Object> {
        self.item(dict, key).map(|object| self.resolve(object))
    }

    /// The value of a key as it stands.
    pub(super) fn item<'d>(&self, dict: &'d Dict, key: &[u8]) -> Option<&'d Object> {
        self.work.set(self.work.get().saturating_add(dict.0.len()));
        if self.is_tiring() { None } else { dict.get(key) }
    }

    /// Whether it is made so that looking for keys takes long; nothing more is found then.
    pub(super) fn is_tiring(&self) -> bool {
        self.work.get() > MOST_WORK
    }

    /// Places of the definitions of an object with streams.
    pub(super) fn streams(&self, object: &Object) -> Vec<usize> {
        let Object::Reference(number) = object else { return Vec::new() };
        self.places.get(number).map(|places| places.streams.clone()).unwrap_or_default()
    }

    /// The place of an object that is a stream: its last definition, as readers take it.
    pub(super) fn stream(&self, object: &Object) -> Option<usize> {
        const MOST: usize = 16;
        let mut object = object;
        for _ in 0..MOST {
            let Object::Reference(number) = object else { return None };
            let places = self.places.get(number)?;
            let place = places.open.or(places.last)?;
            if self.has_stream(place) {
                return Some(place);
            }
            object = &self.entries[place].object;
        }
        None
    }

    /// The catalogues of the document, that of the last version first.
    pub(super) fn roots(&self) -> Vec<&Dict> {
        const MOST: usize = 64;
        let dicts = || self.entries.iter().rev().filter_map(|entry| entry.object.dict());
        let streams = dicts().filter(|dict| dict.is(b"Type", b"XRef") && dict.get(b"Root").is_some());
        let trailers = self.trailers.iter().rev().chain(streams.take(MOST));
        let named = trailers.filter_map(|trailer| self.get(trailer, b"Root").and_then(Object::dict));
        named.chain(dicts().filter(|dict| dict.is(b"Type", b"Catalog")).take(MOST)).collect()
    }

    /// A string of an object in clear.
    pub(super) fn string(&self, entry: &Entry, text: &[u8]) -> Vec<u8> {
        match &self.key {
            Some(key) if !entry.inner => key.string(entry.id, text),
            _ => text.to_vec(),
        }
    }

    /// The content of an entry's stream, its filters undone.
    pub(super) fn content(&self, opening: &mut Opening, place: usize) -> Decoded {
        let entry = &self.entries[place];
        let (Some(start), Some(dict)) = (entry.stream, entry.object.dict()) else {
            return Decoded { data: Bytes::new(), end: End::Corrupt };
        };
        let mut raw = match opening.slice(self.raw(start, dict)) {
            Ok(raw) => raw,
            Err(limit) => return Decoded { data: Bytes::new(), end: End::Over(limit) },
        };
        if let Some(key) = self.key.as_ref().filter(|_| !dict.is(b"Type", b"XRef")) {
            raw = key.stream(entry.id, &raw, dict.is(b"Type", b"EmbeddedFile")).into();
        }
        filter::decode(opening, dict, raw, &|object| self.resolve(object))
    }

    /// Whether an entry has a stream.
    pub(super) fn has_stream(&self, place: usize) -> bool {
        self.entries[place].stream.is_some()
    }

    /// The definition of an object that readers take: the last.
    pub(super) fn latest(&self, number: u32) -> Option<&Entry> {
        let places = self.places.get(&number)?;
        self.entries.get(places.open.or(places.last)?)
    }

    /// A stream as it stands: as long as it says if `endstream` follows there, else up to that word.
    fn raw(&self, start: usize, dict: &Dict) -> Range<usize> {
        let said =
            self.get(dict, b"Length").and_then(Object::count).and_then(|length| start.checked_add(length));
        if let Some(end) = said.filter(|end| *end <= self.body.len()) {
            let behind = self.body[end..].iter().take_while(|byte| is_space(**byte)).count();
            if self.body[end + behind..].starts_with(b"endstream") {
                return start..end;
            }
        }
        let mut end = self.ends.after(start).unwrap_or(self.body.len());
        for line_end in [b'\n', b'\r'] {
            end -= usize::from(end > start && self.body[end - 1] == line_end);
        }
        start..end
    }

    fn push(&mut self, entry: Entry) {
        if self.room == 0 {
            return;
        }
        self.room -= 1;
        let place = self.entries.len();
        let places = self.places.entry(entry.id.0).or_default();
        places.last = Some(place);
        // A later version of a file may take an object out of an object stream and define it anew.
        let is_later = places.open.is_none_or(|open| self.entries[open].at <= entry.at);
        places.open = if entry.hidden || !is_later { places.open } else { Some(place) };
        if entry.stream.is_some() {
            places.streams.truncate(MOST_DEFINITIONS - 1);
            places.streams.push(place);
        }
        self.entries.push(entry);
    }

    /// Finds `1 0 obj` wherever it stands.
    fn scan(&mut self, opening: &mut Opening) -> Result<(), Stop> {
        let body = self.body.clone();
        let finder = memmem::Finder::new(b"obj");
        let mut long = body.len().saturating_mul(2);
        let mut again = body.len().saturating_mul(2).saturating_add(1 << 20);
        let mut inside = 0;
        let mut at = 0;
        let mut count = 0u32;
        while let Some(found) = finder.find(&body[at..]) {
            let word = at + found;
            at = word + 3;
            let Some(id) = id_before(&body[..word]) else { continue };
            count += 1;
            if count.is_multiple_of(256) {
                opening.check_time()?;
            }
            let (object, end) = self.parse(&body, at, &mut long);
            let Some(object) = object else { continue };
            let stream = if object.dict().is_some() { stream_start(&body, end) } else { None };
            let complete = stream.is_some() || body[end..].starts_with(b"endobj");
            let hidden = word < inside;
            if let Some(start) = stream
                && !hidden
            {
                inside = self.ends.after(start).unwrap_or(body.len());
            }
            // What does not end as it should may have swallowed others, which are looked for once more: but not so that
            // it takes long.
            let length = end - at;
            at = match stream {
                Some(start) => start,
                None if complete || length > again => end,
                None => at,
            };
            again = again.saturating_sub(if complete { 0 } else { length });
            self.push(Entry { id, object, stream, inner: false, hidden, at: word });
        }
        Ok(())
    }

    /// One object and where it ends, space behind it passed over.
    fn parse(&mut self, body: &[u8], at: usize, long: &mut usize) -> (Option<Object>, usize) {
        let window = &body[..body.len().min(at + USUAL)];
        let mut room = self.room;
        let mut parser = Parser::new(window, at, &mut room);
        let object = parser.object();
        parser.space();
        let end = parser.at;
        if end + 16 < window.len() || window.len() == body.len() || *long == 0 {
            self.room = room;
            return (object, end.min(body.len()));
        }
        let mut parser = Parser::new(body, at, &mut self.room);
        let object = parser.object();
        parser.space();
        *long = long.saturating_sub(parser.at - at);
        (object, parser.at.min(body.len()))
    }

    /// Finds the key if the file is encrypted: without a password, or with one of the candidates.
    fn unlock(&mut self, opening: &mut Opening) {
        const MOST: usize = 64;
        /// Later versions of a file have their own trailers, which all lead to one lock.
        const MOST_LOCKS: usize = 4;
        let body = self.body.clone();
        let mut room = self.room;
        let trailers = memmem::find_iter(&body, b"trailer").take(MOST).filter_map(|at| {
            match Parser::new(&body[..body.len().min(at + USUAL)], at + 7, &mut room).object() {
                Some(Object::Dict(dict)) => Some(dict),
                _ => None,
            }
        });
        let trailers: Vec<Dict> = trailers.collect();
        let streams = self
            .entries
            .iter()
            .filter_map(|entry| entry.object.dict())
            .filter(|dict| dict.is(b"Type", b"XRef"));
        let encrypting = trailers.iter().chain(streams).filter(|dict| dict.get(b"Encrypt").is_some());
        let mut locks: Vec<(&Dict, &[u8])> = Vec::new();
        let mut encrypted = false;
        for trailer in encrypting.take(MOST) {
            let Some(encrypt) = self.get(trailer, b"Encrypt").and_then(Object::dict) else { continue };
            encrypted = true;
            let id = self.get(trailer, b"ID").and_then(Object::array).and_then(<[Object]>::first);
            let id = id.map(|id| self.resolve(id)).and_then(Object::string).unwrap_or_default();
            let lock = (encrypt, id);
            if encrypt.is(b"Filter", b"Standard") && !locks.contains(&lock) {
                locks.push(lock);
            }
        }
        let opened = |locks: &[(&Dict, &[u8])], password: &str| {
            locks.iter().find_map(|(encrypt, id)| Key::open(encrypt, id, password))
        };
        let mut key = opened(&locks, "");
        if key.is_none() && !locks.is_empty() {
            locks.truncate(MOST_LOCKS);
            let rounds = locks.iter().map(|(encrypt, _)| Key::rounds(encrypt)).sum();
            opening.password(rounds, |password| {
                key = opened(&locks, password);
                key.is_some()
            });
        }
        self.locked = encrypted && key.is_none();
        self.key = key;
        self.trailers = trailers;
    }

    /// Reads the objects in object streams (ISO 32000-1 section 7.5.7).
    fn object_streams(&mut self, opening: &mut Opening) -> Result<(), Stop> {
        if self.locked {
            return Ok(());
        }
        for place in 0..self.entries.len() {
            let dict = self.entries[place].object.dict();
            let Some(dict) = dict.filter(|dict| self.has_stream(place) && dict.is(b"Type", b"ObjStm")) else {
                continue;
            };
            let first = self.get(dict, b"First").and_then(Object::count).unwrap_or(0);
            opening.check_time()?;
            let data = self.content(opening, place).data;
            self.object_stream(&data, first, place);
        }
        Ok(())
    }

    fn object_stream(&mut self, data: &[u8], first: usize, place: usize) {
        let (hidden, start) = (self.entries[place].hidden, self.entries[place].at);
        let mut room = self.room;
        let mut head = Parser::new(&data[..first.min(data.len())], 0, &mut room);
        // Objects may overlap, but not so that reading them takes long.
        let mut cost = data.len().saturating_mul(4);
        loop {
            let Some(number) = head.object().and_then(|number| number.count()) else { return };
            let Some(offset) = head.object().and_then(|offset| offset.count()) else { return };
            let (Ok(number), Some(at)) = (u32::try_from(number), first.checked_add(offset)) else { continue };
            let mut parser = Parser::new(data, at.min(data.len()), &mut self.room);
            let Some(object) = parser.object() else { continue };
            let length = parser.at.saturating_sub(at) + 1;
            if length > cost {
                return;
            }
            cost -= length;
            self.push(Entry { id: (number, 0), object, stream: None, inner: true, hidden, at: start });
        }
    }
}

/// Number and generation that stand before the word `obj`.
fn id_before(before: &[u8]) -> Option<(u32, u16)> {
    let near = &before[before.len().saturating_sub(40)..];
    let (rest, generation) = number_before(near)?;
    let (_, number) = number_before(rest).filter(|_| rest.len() < near.len())?;
    Some((u32::try_from(number).ok()?, u16::try_from(generation).ok()?))
}

/// The number at the end, and what stands before it and at least one space.
fn number_before(text: &[u8]) -> Option<(&[u8], u64)> {
    let end = text.iter().rposition(|byte| !is_space(*byte))? + 1;
    let digits = text[..end].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[end - digits..end]).ok()?.parse().ok()?;
    Some((&text[..end - digits], number))
}

/// Where the data behind the word `stream` begins, if it stands here.
fn stream_start(body: &[u8], at: usize) -> Option<usize> {
    let rest = body.get(at..)?.strip_prefix(b"stream")?;
    let skip = match rest {
        [b'\r', b'\n', ..] => 2,
        [b'\r' | b'\n', ..] => 1,
        [b' ', b'\r', b'\n', ..] => 3,
        [b' ', b'\n', ..] => 2,
        _ => 0,
    };
    Some(at + b"stream".len() + skip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_before_objects() {
        for (before, id) in [
            (&b"1 0 "[..], Some((1, 0))),
            (b"\n12 3\r\n", Some((12, 3))),
            (b"1 0", Some((1, 0))),
            (b"end", None),
            (b"7", None),
            (b"x 7 ", None),
            (b"99999999999 0 ", None),
        ] {
            assert_eq!(id_before(before), id, "{:?}", String::from_utf8_lossy(before));
        }
    }
}
