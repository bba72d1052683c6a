//! Encodings and containers, written out by hand so that what is read elsewhere is not read by what wrote it.

use std::io::Write;

use flate2::{Compression, Crc};

/// Base64 in lines of 76 (RFC 2045 section 6.8).
pub fn base64(bytes: &[u8]) -> String {
    crate::rig::base64(bytes)
}

/// Quoted-printable (RFC 2045 section 6.7); line ends of the content are encoded too, so that any bytes can go.
pub fn quoted_printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut line = 0;
    for &byte in bytes {
        let piece = match byte {
            b'!'..=b'<' | b'>'..=b'~' => char::from(byte).to_string(),
            _ => format!("={byte:02X}"),
        };
        if line + piece.len() > 75 {
            text.push_str("=\n");
            line = 0;
        }
        line += piece.len();
        text.push_str(&piece);
    }
    text.push('\n');
    text
}

/// uuencode as POSIX has it.
pub fn uuencode(name: &str, bytes: &[u8]) -> String {
    let letter = |bits: u32| if bits & 63 == 0 { '`' } else { char::from(32 + (bits & 63) as u8) };
    let mut text = format!("begin 644 {name}\n");
    for line in bytes.chunks(45) {
        text.push(letter(line.len() as u32));
        for group in line.chunks(3) {
            let at = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            text.extend([18, 12, 6, 0].map(|shift| letter(bits >> shift)));
        }
        text.push('\n');
    }
    text.push_str("`\nend\n");
    text
}

/// gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).and_then(|()| packer.finish()).expect("packed in memory")
}

/// A zip archive: deflated or stored.
pub fn zip(files: &[(&str, &[u8])], deflate: bool) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut crc = Crc::new();
        crc.update(content);
        let packed = if deflate { deflated(content) } else { content.to_vec() };
        let mut fields = Vec::new();
        for short in [20, 0, if deflate { 8 } else { 0 }, 0, 0x5C21u16] {
            fields.extend(short.to_le_bytes());
        }
        for long in [crc.sum(), packed.len() as u32, content.len() as u32] {
            fields.extend(long.to_le_bytes());
        }
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend(0u16.to_le_bytes());
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend((archive.len() as u32).to_le_bytes());
        directory.extend(name.bytes());
        archive.extend(b"PK\x03\x04");
        archive.extend(&fields);
        archive.extend(name.bytes());
        archive.extend(packed);
    }
    let (start, count) = (archive.len() as u32, (files.len() as u16).to_le_bytes());
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend(count.iter().chain(&count));
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0, 0]);
    archive
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).and_then(|()| packer.finish()).expect("packed in memory")
}

/// A tar archive (POSIX ustar).
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in files {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, b"0000644\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, b"15000000000\0");
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(block);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// A mailbox.
pub fn mbox(mails: &[&[u8]]) -> Vec<u8> {
    let separator = b"From a@client.test Thu Jan  1 00:00:00 2026\n".as_slice();
    mails.iter().flat_map(|mail| [separator, mail, b"\n"].concat()).collect()
}
