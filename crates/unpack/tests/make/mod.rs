//! Archives made by hand, honest and crafted.
#![allow(dead_code, reason = "each test file uses some")]

use std::io::Write;

/// A zip in the making, with every field open to lies.
#[derive(Clone)]
pub struct Zip {
    pub bytes: Vec<u8>,
    pub directory: Vec<u8>,
    pub count: u16,
}

/// A member's header fields.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub name: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub packed: u32,
    pub size: u32,
    pub extra: Vec<u8>,
}

impl Entry {
    /// Header fields that tell the truth; the second value is the packed data.
    pub fn of(name: &str, content: &[u8], method: u16) -> (Entry, Vec<u8>) {
        let data = if method == 8 { deflate(content) } else { content.to_vec() };
        let (packed, size) = (data.len() as u32, content.len() as u32);
        (Entry { name: name.into(), method, crc: crc(content), packed, size, ..Entry::default() }, data)
    }

    fn fields(&self, version: &[u8]) -> Vec<u8> {
        let mut out = version.to_vec();
        out.extend([20, 0]);
        for short in [self.flags, self.method, 0, 0] {
            out.extend(short.to_le_bytes());
        }
        for long in [self.crc, self.packed, self.size] {
            out.extend(long.to_le_bytes());
        }
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend((self.extra.len() as u16).to_le_bytes());
        out
    }

    pub fn local(&self) -> Vec<u8> {
        [b"PK\x03\x04", &self.fields(&[])[..], &self.name, &self.extra].concat()
    }

    pub fn central(&self, offset: u32) -> Vec<u8> {
        let head = self.fields(&[20, 0]);
        [b"PK\x01\x02", &head[..], &[0; 10], &offset.to_le_bytes(), &self.name, &self.extra].concat()
    }
}

impl Zip {
    pub fn new() -> Zip {
        Zip { bytes: Vec::new(), directory: Vec::new(), count: 0 }
    }

    /// Honest members.
    pub fn with(members: &[(&str, &[u8], u16)]) -> Zip {
        let mut zip = Zip::new();
        for (name, content, method) in members {
            let (entry, data) = Entry::of(name, content, *method);
            zip.add(&entry, &entry, &data);
        }
        zip
    }

    /// A member with two headers of one's own.
    pub fn add(&mut self, local: &Entry, central: &Entry, data: &[u8]) {
        let offset = self.bytes.len() as u32;
        self.hide(local, data);
        self.list(central, offset);
    }

    /// A member that only has a local header.
    pub fn hide(&mut self, local: &Entry, data: &[u8]) {
        self.bytes.extend(local.local());
        self.bytes.extend(data);
    }

    /// A member of the directory.
    pub fn list(&mut self, central: &Entry, offset: u32) {
        self.directory.extend(central.central(offset));
        self.count += 1;
    }

    pub fn end(self) -> Vec<u8> {
        self.end_with(b"")
    }

    pub fn end_with(self, comment: &[u8]) -> Vec<u8> {
        let mut out = self.bytes;
        let offset = out.len() as u32;
        out.extend(&self.directory);
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend(self.count.to_le_bytes());
        out.extend(self.count.to_le_bytes());
        out.extend((self.directory.len() as u32).to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.extend((comment.len() as u16).to_le_bytes());
        out.extend(comment);
        out
    }
}

pub fn crc(data: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    crc.sum()
}

pub fn deflate(data: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

/// So many mebibytes of zeros, deflated: one piece that ends at a whole byte, again and again.
pub fn zeros(mebibytes: usize) -> Vec<u8> {
    let mut state = flate2::Compress::new(flate2::Compression::best(), false);
    let mut piece = Vec::with_capacity(64 << 10);
    state.compress_vec(&vec![0; 1 << 20], &mut piece, flate2::FlushCompress::Full).unwrap();
    let mut out = piece.repeat(mebibytes);
    out.extend([1, 0, 0, 0xff, 0xff]);
    out
}

pub fn gzip(name: Option<&str>, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, if name.is_some() { 8 } else { 0 }, 0, 0, 0, 0, 0, 3];
    if let Some(name) = name {
        out.extend(name.as_bytes());
        out.push(0);
    }
    out.extend(deflate(data));
    out.extend(crc(data).to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    out
}

/// One tar header and its data, padded.
pub fn tar_entry(name: &str, kind: u8, link: &str, size: &[u8; 12], data: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(size);
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    let mut out = block.to_vec();
    out.extend(data);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

pub fn tar_file(name: &str, data: &[u8]) -> Vec<u8> {
    tar_entry(name, b'0', "", &octal(data.len()), data)
}

pub fn octal(size: usize) -> [u8; 12] {
    format!("{size:011o}\0").into_bytes().try_into().unwrap()
}

/// Writes the checksum.
pub fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A mail with one binary attachment of that name.
pub fn mail(name: &str, attachment: &[u8]) -> Vec<u8> {
    let head = format!(
        "From: a@example.org\r\nTo: b@example.org\r\nSubject: x\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\
         Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=\"{name}\"\r\n\
         Content-Transfer-Encoding: binary\r\n\r\n"
    );
    [head.as_bytes(), attachment].concat()
}

/// The same in base64, as mail programs send it.
pub fn base64_mail(name: &str, attachment: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let head = String::from_utf8(mail(name, b"")).unwrap().replace("binary", "base64");
    let mut out = head.into_bytes();
    for (place, group) in attachment.chunks(3).enumerate() {
        if place > 0 && place % 19 == 0 {
            out.extend(b"\r\n");
        }
        let at = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let used = digit <= group.len();
            out.push(if used { ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize] } else { b'=' });
        }
    }
    out.extend(b"\r\n");
    out
}

/// A zip whose only member is the zip itself, byte for byte (its checksum apart): a program for inflate in steps of
/// 40 bytes, each of which either prints what follows it or repeats what was printed.
pub fn quine() -> Vec<u8> {
    const UNIT: usize = 40;
    let print = |units: usize| {
        let len = (units * UNIT) as u16;
        let mut out = [0, 0, 0, 0xff, 0xff].repeat(7);
        out.push(0);
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out
    };
    let repeat = |units: usize| {
        // Fixed Huffman codes for one match of 80 or 160 bytes at that same distance (RFC 1951 section 3.2.6).
        let (length, length_bits, length_more, length_extra) =
            if units == 2 { (0b001_0101, 7, 80 - 67, 4) } else { (0b1100_0001, 8, 160 - 131, 5) };
        let (distance, distance_more, distance_extra) =
            if units == 2 { (12, 80 - 65, 5) } else { (14, 160 - 129, 6) };
        let mut bits = Vec::new();
        let code = |bits: &mut Vec<bool>, value: u32, count: u32| {
            bits.extend((0..count).rev().map(|n| value >> n & 1 == 1))
        };
        let number = |bits: &mut Vec<bool>, value: u32, count: u32| {
            bits.extend((0..count).map(|n| value >> n & 1 == 1))
        };
        number(&mut bits, 0b010, 3);
        code(&mut bits, length, length_bits);
        number(&mut bits, length_more, length_extra);
        code(&mut bits, distance, 5);
        number(&mut bits, distance_more, distance_extra);
        code(&mut bits, 0, 7);
        // An empty block to fill, and a stored one to come back to whole bytes.
        number(&mut bits, 0b010, 3);
        code(&mut bits, 0, 7);
        number(&mut bits, 0, 3);
        let mut out: Vec<u8> = bits
            .chunks(8)
            .map(|byte| byte.iter().enumerate().map(|(n, bit)| u8::from(*bit) << n).sum())
            .collect();
        assert_eq!(out.len(), 6);
        out.extend([0, 0, 0xff, 0xff]);
        out.extend([0, 0, 0, 0xff, 0xff].repeat(6));
        out
    };
    let (p, r) = (print, repeat);
    let build = |packed: u32, size: u32| {
        let entry = Entry {
            name: b"q.zip".into(),
            method: 8,
            packed,
            size,
            extra: vec![0xfe, 0xca, 1, 0, 0],
            ..Entry::default()
        };
        let prefix = entry.local();
        assert_eq!(prefix.len(), UNIT);
        let plain = Entry { extra: Vec::new(), ..entry };
        let mut tail = Zip::new();
        tail.list(&plain, 0);
        let mut suffix = tail.end_with(&[b' '; 42]);
        let at = suffix.len() - 42 - 6;
        suffix[at..at + 4].copy_from_slice(&(prefix.len() as u32 + packed).to_le_bytes());
        let last = [r(4), vec![1, 0, 0, 0xff, 0xff], suffix].concat();
        assert_eq!(last.len(), 4 * UNIT);
        let code = [
            vec![
                p(2),
                prefix.clone(),
                p(2),
                r(2),
                p(1),
                r(2),
                p(1),
                p(1),
                p(4),
                r(2),
                p(1),
                p(1),
                p(4),
                r(4),
            ],
            vec![p(4), r(4), p(4), r(4), p(4), r(4), p(4), last.clone(), last],
        ];
        [prefix, code.concat().concat()].concat()
    };
    let size = build(0, 0).len() as u32;
    let suffix = 46 + 5 + 22 + 42;
    build(size - UNIT as u32 - suffix, size)
}

/// A mail with that text and an attachment.
pub fn letter(text: &str, name: &str, attachment: &[u8]) -> Vec<u8> {
    let inner = base64_mail(name, attachment);
    let at = inner.windows(13).position(|window| window == b"Content-Type:").expect("a type");
    let head = "From: a@example.org\r\nTo: b@example.org\r\nSubject: x\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\
                Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
    let first = format!("--b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--b\r\n");
    [head.as_bytes(), first.as_bytes(), &inner[at..], b"--b--\r\n"].concat()
}
