//! PDF (ISO 32000-1): names of what acts by itself are overwritten by names of the same length that mean nothing, so that all
//! offsets hold.
//!
//! Names in packed objects cannot be overwritten so; a document that has any there is refused.

use std::io::Read;
use std::ops::Range;

use gatepost_mail::Budget;

use crate::Unreadable;

/// Names that make a document act.
const ACTS: &[&[u8]] = &[b"JavaScript", b"OpenAction", b"Launch", b"Rendition", b"JS", b"AA", b"XFA"];

/// The document without scripts and actions that nobody asked for; None if it has none.
pub(super) fn cleaned(content: &[u8], budget: &mut Budget) -> Result<Option<Vec<u8>>, Unreadable> {
    let streams = streams(content, budget)?;
    packed_objects(content, &streams, budget)?;
    let mut out = content.to_vec();
    for name in names(content).filter(|name| ACTS.contains(&&*name.text) && is_read(name, &streams)) {
        // One character does; one that is told by its code is three.
        let end = name.start + if content[name.start] == b'#' { 3 } else { 1 };
        let with = if name.text.starts_with(b"X") { b'Y' } else { b'X' };
        out[name.start..end.min(name.end)].fill(with);
    }
    Ok((out != content).then_some(out))
}

/// A name, decoded (7.3.5), and where it stands behind its slash.
struct Name {
    start: usize,
    end: usize,
    text: Vec<u8>,
}

/// All names, and what looks like one.
fn names(content: &[u8]) -> impl Iterator<Item = Name> + '_ {
    const LONGEST: usize = 64;
    memchr::memchr_iter(b'/', content).map(move |slash| {
        let start = slash + 1;
        let mut text = Vec::new();
        let mut at = start;
        while let Some(byte) = content.get(at).filter(|_| text.len() < LONGEST) {
            if byte.is_ascii_whitespace() || *byte == 0 || b"()<>[]{}/%".contains(byte) {
                break;
            }
            let hex = content.get(at + 1..at + 3).filter(|_| *byte == b'#');
            let code = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
            text.push(code.unwrap_or(*byte));
            at += if code.is_some() { 3 } else { 1 };
        }
        Name { start, end: at, text }
    })
}

/// Whether some reader takes a name for one. In packed data a short one stands by chance; a long one does not, and may be in an
/// object that is hidden in a stream.
fn is_read(name: &Name, streams: &[Stream]) -> bool {
    const LONG: usize = 6;
    let within = streams.partition_point(|stream| stream.data.end <= name.start);
    let stream = streams.get(within).filter(|stream| stream.data.contains(&name.start));
    name.text.len() >= LONG || stream.is_none_or(|stream| !stream.packed)
}

/// A stream: what stands before it, and its data.
struct Stream {
    head: Range<usize>,
    data: Range<usize>,
    packed: bool,
}

fn streams(content: &[u8], budget: &mut Budget) -> Result<Vec<Stream>, Unreadable> {
    /// Dictionaries of streams are short.
    const HEAD: usize = 4096;
    let mut found: Vec<Stream> = Vec::new();
    let mut from = 0;
    for at in memchr::memmem::find_iter(content, b"stream") {
        let begins = content[..at].trim_ascii_end().ends_with(b">>");
        if at < from || !begins || content[..at].ends_with(b"end") {
            continue;
        }
        if found.len().is_multiple_of(1024) {
            budget.check_time()?;
        }
        let start = at + b"stream".len();
        let start =
            start + content[start..].iter().take(2).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let end =
            memchr::memmem::find(&content[start..], b"endstream").map_or(content.len(), |end| start + end);
        let head = at.saturating_sub(HEAD).max(from)..at;
        let head = memchr::memmem::rfind(&content[head.clone()], b"obj")
            .map_or(head.clone(), |obj| head.start + obj..at);
        let packed = has(&content[head.clone()], b"Filter");
        found.push(Stream { head, data: start..end, packed });
        from = end;
    }
    Ok(found)
}

/// Whether a name stands there.
fn has(content: &[u8], name: &[u8]) -> bool {
    names(content).any(|found| found.text == name)
}

/// Refuses documents that act by something in a stream of objects (7.5.7).
fn packed_objects(content: &[u8], streams: &[Stream], budget: &mut Budget) -> Result<(), Unreadable> {
    const OBJECTS: &[u8] = b"ObjStm";
    let encrypted = has(content, b"Encrypt");
    // One that stands elsewhere than before a stream is one that this reader does not see as others do.
    let heads = streams.iter().filter(|stream| has(&content[stream.head.clone()], OBJECTS));
    let heads: Vec<&Stream> = heads.collect();
    for name in names(content).filter(|name| name.text == OBJECTS) {
        let behind = heads.partition_point(|stream| stream.head.end <= name.start);
        if !heads.get(behind).is_some_and(|stream| stream.head.contains(&name.start)) {
            return Err(Unreadable::Malformed("a PDF with packed objects in an odd place"));
        }
    }
    for stream in heads {
        let head = &content[stream.head.clone()];
        if !stream.packed && !encrypted {
            continue;
        }
        if encrypted {
            return Err(Unreadable::Encrypted);
        }
        let others = [
            &b"ASCIIHexDecode"[..],
            b"AHx",
            b"ASCII85Decode",
            b"A85",
            b"LZWDecode",
            b"LZW",
            b"RunLengthDecode",
            b"RL",
        ];
        let plain = has(head, b"FlateDecode") || has(head, b"Fl");
        if !plain || others.iter().any(|filter| has(head, filter)) || has(head, b"Predictor") {
            return Err(Unreadable::Unsupported("a PDF whose objects are packed in this way"));
        }
        let packed = &content[stream.data.clone()];
        let most = budget.bytes_left().min(budget.limits().memory);
        let mut objects = Vec::new();
        let read =
            flate2::read::ZlibDecoder::new(packed).take(most.saturating_add(1)).read_to_end(&mut objects);
        budget.take_bytes(objects.len() as u64)?;
        budget.check_memory(objects.len() as u64)?;
        budget.check_ratio(packed.len() as u64, objects.len() as u64)?;
        if read.is_err() {
            return Err(Unreadable::Malformed("a PDF whose objects are broken"));
        }
        if ACTS.iter().any(|name| has(&objects, name)) {
            return Err(Unreadable::Unsupported("a PDF that acts by what is in packed objects"));
        }
    }
    Ok(())
}
