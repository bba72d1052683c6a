//! Compression of VBA projects (MS-OVBA 2.4.1), and the directory of their modules (2.3.4.2).

use std::io::{self, Read};

use crate::fields::{u16_le, u32_le};

/// Unpacks a compressed container chunk by chunk. What makes no sense ends it with an error; what came before stays.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    /// Packed bytes that follow; None before the signature was read.
    rest: &'a [u8],
    started: bool,
    chunk: Vec<u8>,
    given: usize,
}

/// Bytes that a chunk makes at most.
const CHUNK: usize = 4096;

impl<'a> Decoder<'a> {
    pub(crate) fn new(packed: &'a [u8]) -> Decoder<'a> {
        Decoder { rest: packed, started: false, chunk: Vec::with_capacity(CHUNK), given: 0 }
    }

    /// Reads the next chunk; false at the end.
    fn next_chunk(&mut self) -> io::Result<bool> {
        if !self.started {
            match self.rest.split_first() {
                Some((1, rest)) => self.rest = rest,
                _ => return Err(corrupt()),
            }
            self.started = true;
        }
        let Some(header) = u16_le(self.rest, 0) else { return Ok(false) };
        // 2.4.1.1.5: the size less 3, a signature of 0b011, and whether it is compressed.
        if header >> 12 & 7 != 3 {
            return Err(corrupt());
        }
        let end = (usize::from(header & 0xfff) + 3).min(self.rest.len());
        let (chunk, rest) = self.rest.split_at(end);
        self.chunk.clear();
        self.given = 0;
        if header & 0x8000 == 0 {
            self.chunk.extend_from_slice(&chunk[2..]);
        } else {
            unpack(&chunk[2..], &mut self.chunk)?;
        }
        self.rest = rest;
        Ok(true)
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.chunk.len() {
            if !self.next_chunk()? {
                return Ok(0);
            }
        }
        let count = into.len().min(self.chunk.len() - self.given);
        into[..count].copy_from_slice(&self.chunk[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

fn corrupt() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// One chunk: bytes, and copies of what was made before, eight after each byte of flags.
fn unpack(packed: &[u8], made: &mut Vec<u8>) -> io::Result<()> {
    let mut at = 0;
    while at < packed.len() && made.len() < CHUNK {
        let flags = packed[at];
        at += 1;
        for bit in 0..8 {
            if at >= packed.len() || made.len() >= CHUNK {
                break;
            }
            if flags >> bit & 1 == 0 {
                made.push(packed[at]);
                at += 1;
                continue;
            }
            let Some(token) = u16_le(packed, at) else { return Ok(()) };
            at += 2;
            // 2.4.1.3.19.1: the more was made, the more bits tell how far back to go.
            let bits = (usize::BITS - made.len().saturating_sub(1).leading_zeros()).max(4);
            let length = usize::from(token & (0xffff >> bits)) + 3;
            let back = usize::from(token >> (16 - bits)) + 1;
            let Some(start) = made.len().checked_sub(back) else { return Err(corrupt()) };
            for from in start..start + length.min(CHUNK - made.len()) {
                made.push(made[from]);
            }
        }
    }
    Ok(())
}

/// Places in a stream where compressed source begins: its first words are always `Attribute`, and the tokens
/// that pack them the same ones.
pub(crate) fn carve(stream: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memmem::find_iter(stream, b"\0Attribut\0e ").filter_map(move |at| {
        let start = at.checked_sub(3)?;
        (stream[start] == 1 && stream[start + 2] >> 4 & 7 == 3).then_some(start)
    })
}

/// A project as its directory tells it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Code page of names and source.
    pub(crate) code_page: u16,
    /// Its modules, in order.
    pub(crate) modules: Vec<Module>,
}

/// A module as the directory tells it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Module {
    /// The name that VBA shows.
    pub(crate) name: String,
    /// The stream's name.
    pub(crate) stream: String,
    /// Where in the stream the source begins; compiled code comes before.
    pub(crate) offset: usize,
    /// Code of its own, not that of a document, class or form.
    pub(crate) procedural: bool,
}

impl Directory {
    /// Reads the unpacked directory: records of a number, a size and data. What makes no sense is passed over.
    pub(crate) fn read(records: &[u8]) -> Directory {
        /// Nobody has so many modules.
        const MOST: usize = 4096;
        let mut directory = Directory::default();
        let mut at = 0;
        while let (Some(id), Some(size)) = (u16_le(records, at), u32_le(records, at + 2)) {
            // PROJECTVERSION has no size where one would be.
            let size = if id == 0x09 { 6 } else { usize::try_from(size).unwrap_or(usize::MAX) };
            let start = at + 6;
            let data = &records[start.min(records.len())..start.saturating_add(size).min(records.len())];
            directory.record(id, data);
            if directory.modules.len() > MOST {
                break;
            }
            at = start.saturating_add(size);
        }
        directory.modules.retain(|module| !module.stream.is_empty());
        directory
    }

    fn record(&mut self, id: u16, data: &[u8]) {
        if id == 0x03 {
            self.code_page = u16_le(data, 0).unwrap_or_default();
        }
        if id == 0x19 {
            self.modules.push(Module { name: text(data), stream: text(data), ..Module::default() });
        }
        let Some(module) = self.modules.last_mut() else { return };
        match id {
            0x47 => replace(&mut module.name, wide(data)),
            0x1a => replace(&mut module.stream, text(data)),
            0x32 => replace(&mut module.stream, wide(data)),
            0x31 => module.offset = u32_le(data, 0).map_or(0, |offset| offset as usize),
            0x21 => module.procedural = true,
            _ => {}
        }
    }
}

fn replace(old: &mut String, new: String) {
    if !new.is_empty() {
        *old = new;
    }
}

/// A name in the code page of the project; other letters than ASCII are told in Unicode behind.
fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

fn wide(data: &[u8]) -> String {
    super::wide(data)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Compresses without any copies: valid, and as short as the source is.
    pub(crate) fn compress(source: &[u8]) -> Vec<u8> {
        let mut out = vec![1];
        for chunk in source.chunks(3600) {
            let body: Vec<u8> = chunk.chunks(8).flat_map(|eight| [&[0], eight].concat()).collect();
            let header = (body.len() + 2 - 3) as u16 | 0xb000;
            out.extend(header.to_le_bytes());
            out.extend(body);
        }
        out
    }

    fn unpacked(packed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let sound = Decoder::new(packed).read_to_end(&mut out).is_ok();
        (out, sound)
    }

    /// The examples of MS-OVBA 3.2.
    #[test]
    fn examples_of_the_specification() {
        let normal = b"\x01\x2f\xb0\x00\x23\x61\x61\x61\x62\x63\x64\x65\x82\x66\x00\x70\x61\x67\x68\x69\x6a\x01\x38\x08\x61\x6b\x6c\x00\x30\x6d\x6e\x6f\x70\x06\x71\x02\x70\x04\x10\x72\x73\x74\x75\x76\x10\x77\x78\x79\x7a\x00\x3c";
        assert_eq!(
            unpacked(normal),
            (b"#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa".to_vec(), true)
        );
        let most = b"\x01\x03\xb0\x02\x61\x45\x00";
        assert_eq!(unpacked(most), (vec![b'a'; 73], true));
        assert_eq!(unpacked(&compress(b"abcdefghijkl")), (b"abcdefghijkl".to_vec(), true));
    }

    #[test]
    fn broken_containers_give_what_came_before() {
        let whole = compress(&[b'x'; 5000]);
        assert_eq!(unpacked(&whole).0.len(), 5000);
        for (packed, made, sound) in [
            (&whole[..4100], 3640, true),
            (b"", 0, false),
            (b"\x02", 0, false),
            (b"\x01", 0, true),
            (b"\x01\x03\x80\x02a", 0, false),
            (b"\x01\x03\xb0\x01\x45\x00\x00", 0, false),
            (b"\x01\x00\x30a", 1, true),
        ] {
            let (out, whole) = unpacked(packed);
            assert_eq!((out.len(), whole), (made, sound), "{:?}", &packed[..packed.len().min(9)]);
        }
    }

    #[test]
    fn directories_name_streams_and_places() {
        let record =
            |id: u16, data: &[u8]| [&id.to_le_bytes()[..], &(data.len() as u32).to_le_bytes(), data].concat();
        let records = [
            record(1, &[1, 0, 0, 0]),
            record(3, &1252u16.to_le_bytes()),
            [&9u16.to_le_bytes()[..], &4u32.to_le_bytes(), &[0; 6]].concat(),
            record(0x19, b"Modul"),
            record(0x1a, b"Strom"),
            record(0x32, b"S\0\xe4\0"),
            record(0x31, &77u32.to_le_bytes()),
            record(0x21, b""),
            record(0x2b, b""),
            b"\x19\0\xff\xff\xff\xffcut".to_vec(),
        ]
        .concat();
        let directory = Directory::read(&records);
        assert_eq!(directory.code_page, 1252);
        let first = &directory.modules[0];
        assert_eq!((first.name.as_str(), first.stream.as_str(), first.offset), ("Modul", "Sä", 77));
        assert!(first.procedural);
        assert_eq!(Directory::read(b"\x19"), Directory::default());
    }
}
