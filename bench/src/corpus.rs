//! The messages to send, read once, with CRLF line ends.

use std::io;
use std::path::{Path, PathBuf};

/// All messages under a folder (hidden files excepted), in the order of their paths, or the one in a file.
pub fn load(path: &Path) -> io::Result<Vec<Box<[u8]>>> {
    let mut files = Vec::new();
    collect(path, &mut files)?;
    files.sort();
    let messages: io::Result<Vec<_>> =
        files.iter().map(|file| std::fs::read(file).map(|raw| with_crlf(&raw))).collect();
    match messages {
        Ok(messages) if messages.is_empty() => {
            Err(io::Error::other(format!("{}: no message in it", path.display())))
        }
        messages => messages,
    }
}

/// A generated message of about `size` bytes, for runs that need no corpus.
pub fn generated(size: usize) -> Box<[u8]> {
    let mut raw = b"From: <bench@example.org>\r\nTo: <bench@example.net>\r\nSubject: bench\r\n\
        Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <bench@example.org>\r\n\r\n"
        .to_vec();
    while raw.len() < size {
        raw.extend_from_slice(b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n");
    }
    raw.into_boxed_slice()
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let explain = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(explain)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

/// As SMTP sends it: leading dots are doubled (RFC 5321 section 4.5.2), the final dot is added.
pub fn stuffed(raw: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 32 + 8);
    for line in raw.split_inclusive(|&byte| byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out.into_boxed_slice()
}

/// Line ends of any kind become CRLF; the last line gets one.
fn with_crlf(raw: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 32 + 8);
    let mut rest = raw;
    while !rest.is_empty() {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        let (line, next) = match end {
            None => (rest, &rest[rest.len()..]),
            Some(at) if rest[at..].starts_with(b"\r\n") => (&rest[..at], &rest[at + 2..]),
            Some(at) => (&rest[..at], &rest[at + 1..]),
        };
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        rest = next;
    }
    out.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_ready_for_the_wire() {
        for (raw, wire) in [
            (&b"a\nb\n"[..], &b"a\r\nb\r\n.\r\n"[..]),
            (b"a\r\nb", b"a\r\nb\r\n.\r\n"),
            (b".\n..\n", b"..\r\n...\r\n.\r\n"),
            (b"a\r\n\r\nb\rc\n", b"a\r\n\r\nb\r\nc\r\n.\r\n"),
            (b"", b".\r\n"),
        ] {
            assert_eq!(&*stuffed(&with_crlf(raw)), wire, "{:?}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn generated_has_the_size() {
        let size = generated(4000).len();
        assert!((4000..4200).contains(&size), "{size}");
    }
}
