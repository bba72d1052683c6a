//! Canonicalization (RFC 6376 section 3.4), and hashing what comes of it.

use std::ops::Range;

use memchr::{memchr, memchr2};
use ring::digest;

use super::header::Field;

/// How header or body are brought into the form that is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Canon {
    /// As they are; only empty lines at the end of the body may come and go.
    Simple,
    /// Changes of white space, and of the case of names, do not matter.
    Relaxed,
}

impl Canon {
    /// As `c=` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Canon::Simple => "simple",
            Canon::Relaxed => "relaxed",
        }
    }

    /// Reads `c=`: header and body; the body is `simple` if it is not said.
    pub(crate) fn pair(text: &str) -> Option<(Canon, Canon)> {
        let (header, body) = text.split_once('/').unwrap_or((text, "simple"));
        Some((Canon::parse(header)?, Canon::parse(body)?))
    }

    fn parse(text: &str) -> Option<Canon> {
        [Canon::Simple, Canon::Relaxed].into_iter().find(|canon| text.eq_ignore_ascii_case(canon.as_str()))
    }

    /// Puts a field out, with the line break at its end.
    pub(crate) fn field(self, field: &Field<'_>, out: &mut Vec<u8>) {
        match self {
            Canon::Simple => broken(field.raw, out),
            Canon::Relaxed => relaxed(field.name, [field.value, &[]], out),
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Puts out the field that holds the signature, without what stands in `b=` (that place in its value), and without
    /// the line break at its end (RFC 6376 section 3.7).
    pub(crate) fn signature(self, field: &Field<'_>, b: &Range<usize>, out: &mut Vec<u8>) {
        let before = field.value.get(..b.start).unwrap_or_default();
        let behind = field.value.get(b.end..).unwrap_or_default();
        match self {
            Canon::Simple => {
                let name = field.raw.len() - field.value.len();
                broken(field.raw.get(..name).unwrap_or_default(), out);
                broken(before, out);
                broken(behind, out);
            }
            Canon::Relaxed => relaxed(field.name, [before, behind], out),
        }
    }
}

/// Lines as they are, each ended by CR LF.
fn broken(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr(b'\n', rest) {
        let line = rest.get(..at).unwrap_or_default();
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(b"\r\n");
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// A field on one line: the name in lower case, runs of white space one space, none around the value.
fn relaxed(name: &[u8], value: [&[u8]; 2], out: &mut Vec<u8>) {
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let start = out.len();
    let mut gap = false;
    let mut bytes = value.into_iter().flatten().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => gap = true,
            b'\n' => {}
            b'\r' if matches!(bytes.peek(), Some(b'\n')) => {}
            _ => {
                if gap && out.len() > start {
                    out.push(b' ');
                }
                gap = false;
                out.push(byte);
            }
        }
    }
}

/// What a body is hashed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    /// As `a=` and the `h=` of a key have it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Hash::Sha1 => "sha1",
            Hash::Sha256 => "sha256",
        }
    }

    pub(crate) fn digest(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
        }
    }
}

/// A hash of a body that is wanted: canonicalized how, hashed with what, and how much of it (`l=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) canon: Canon,
    pub(crate) hash: Hash,
    pub(crate) length: Option<u64>,
}

/// Hashes of one body, as many as are wanted, in one pass for each canonicalization.
pub(crate) struct Bodies {
    wanted: Vec<(Wanted, BodyHash)>,
}

/// The hash of a body.
#[derive(Clone, Debug)]
pub(crate) struct BodyHash {
    /// The hash.
    pub(crate) digest: Vec<u8>,
    /// Length of the whole canonicalized body.
    pub(crate) total: u64,
}

impl Bodies {
    /// Hashes a body, which comes in pieces.
    pub(crate) fn hash<'a>(wanted: &[Wanted], pieces: impl Iterator<Item = &'a [u8]> + Clone) -> Bodies {
        let mut bodies = Bodies { wanted: Vec::new() };
        for canon in [Canon::Simple, Canon::Relaxed] {
            let mut sinks: Vec<(Wanted, Sink)> = Vec::new();
            for one in wanted.iter().filter(|one| one.canon == canon) {
                if sinks.iter().all(|(known, _)| known != one) {
                    sinks.push((
                        *one,
                        Sink { hash: digest::Context::new(one.hash.digest()), left: one.length },
                    ));
                }
            }
            if sinks.is_empty() {
                continue;
            }
            let (kinds, sinks) = sinks.into_iter().unzip();
            let mut pass = Pass::new(canon, sinks);
            pieces.clone().for_each(|piece| pass.update(piece));
            let hashes: Vec<BodyHash> = pass.finish();
            bodies.wanted.extend(std::iter::zip::<Vec<Wanted>, _>(kinds, hashes));
        }
        bodies
    }

    /// The hash that was wanted.
    pub(crate) fn get(&self, wanted: &Wanted) -> Option<&BodyHash> {
        self.wanted.iter().find(|(known, _)| known == wanted).map(|(_, hash)| hash)
    }
}

/// Takes the canonicalized body.
struct Sink {
    hash: digest::Context,
    /// How many more bytes it wants; all if `None`.
    left: Option<u64>,
}

/// Canonicalized bytes are handed to the hashes in blocks of this size.
const BLOCK: usize = 16 * 1024;

/// One pass over a body.
struct Pass {
    canon: Canon,
    sinks: Vec<Sink>,
    out: Vec<u8>,
    total: u64,
    /// Line breaks that are put out once something follows.
    breaks: u64,
    /// White space that is put out once something follows on the line (relaxed).
    gap: bool,
    /// A piece ended with CR, and it is not known yet whether LF follows.
    cr: bool,
}

impl Pass {
    fn new(canon: Canon, sinks: Vec<Sink>) -> Pass {
        Pass { canon, sinks, out: Vec::with_capacity(BLOCK), total: 0, breaks: 0, gap: false, cr: false }
    }

    fn update(&mut self, piece: &[u8]) {
        let mut rest = piece;
        match rest.first() {
            None => return,
            Some(b'\n') => {}
            Some(_) if self.cr => self.text(b"\r"),
            Some(_) => {}
        }
        self.cr = false;
        while let Some(at) = memchr(b'\n', rest) {
            let line = rest.get(..at).unwrap_or_default();
            self.text(line.strip_suffix(b"\r").unwrap_or(line));
            self.gap = false;
            self.breaks += 1;
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        if let Some(before) = rest.strip_suffix(b"\r") {
            self.cr = true;
            rest = before;
        }
        self.text(rest);
    }

    fn finish(mut self) -> Vec<BodyHash> {
        if self.cr {
            self.text(b"\r");
        }
        // A body always ends with one line break, save that an empty one is nothing at all when relaxed
        // (RFC 6376 sections 3.4.3 and 3.4.4).
        if self.canon == Canon::Simple || self.total > 0 || !self.out.is_empty() {
            self.put(b"\r\n");
        }
        self.flush();
        let total = self.total;
        let hash = |sink: Sink| BodyHash { digest: sink.hash.finish().as_ref().to_vec(), total };
        self.sinks.into_iter().map(hash).collect()
    }

    /// Takes a line or a part of one.
    fn text(&mut self, mut part: &[u8]) {
        if self.canon == Canon::Simple {
            if !part.is_empty() {
                self.before();
                self.put(part);
            }
            return;
        }
        while !part.is_empty() {
            let word = memchr2(b' ', b'\t', part).unwrap_or(part.len());
            if word > 0 {
                self.before();
                self.put(part.get(..word).unwrap_or_default());
                part = part.get(word..).unwrap_or_default();
            }
            let blanks = part.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            self.gap |= blanks > 0;
            part = part.get(blanks..).unwrap_or_default();
        }
    }

    /// Puts out what was kept back until something follows.
    fn before(&mut self) {
        while self.breaks > 0 {
            self.put(b"\r\n");
            self.breaks -= 1;
        }
        if self.gap {
            self.put(b" ");
            self.gap = false;
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        if self.out.len() >= BLOCK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.total += self.out.len() as u64;
        for sink in &mut self.sinks {
            let take = sink.left.map_or(self.out.len(), |left| left.min(self.out.len() as u64) as usize);
            sink.hash.update(self.out.get(..take).unwrap_or_default());
            sink.left = sink.left.map(|left| left - take as u64);
        }
        self.out.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A body canonicalized plainly, by the words of RFC 6376 section 3.4.
    fn plainly(canon: Canon, body: &[u8]) -> Vec<u8> {
        let text = body.split(|&byte| byte == b'\n');
        let count = text.clone().count();
        let mut lines: Vec<Vec<u8>> = Vec::new();
        for (at, line) in text.enumerate() {
            let line = if at + 1 < count { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
            let mut line = line.to_vec();
            if canon == Canon::Relaxed {
                line.iter_mut().filter(|byte| **byte == b'\t').for_each(|byte| *byte = b' ');
                line.dedup_by(|one, other| *one == b' ' && *other == b' ');
                while line.last() == Some(&b' ') {
                    line.pop();
                }
            }
            lines.push(line);
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        if lines.is_empty() && canon == Canon::Simple {
            lines.push(Vec::new());
        }
        lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()]).flatten().collect()
    }

    fn hash(canon: Canon, length: Option<u64>, pieces: &[&[u8]]) -> BodyHash {
        let wanted = Wanted { canon, hash: Hash::Sha256, length };
        Bodies::hash(&[wanted], pieces.iter().copied()).get(&wanted).unwrap().clone()
    }

    fn sha256(text: &[u8]) -> Vec<u8> {
        digest::digest(&digest::SHA256, text).as_ref().to_vec()
    }

    #[test]
    fn bodies_as_the_rfc_has_them() {
        // RFC 6376 section 3.4.5, and the empty bodies of sections 3.4.3 and 3.4.4.
        let example: &[u8] = b" C \r\nD \t E\r\n\r\n\r\n";
        for (canon, body, wanted) in [
            (Canon::Relaxed, example, &b" C\r\nD E\r\n"[..]),
            (Canon::Simple, example, b" C \r\nD \t E\r\n"),
            (Canon::Simple, b"", b"\r\n"),
            (Canon::Relaxed, b"", b""),
            (Canon::Simple, b"\r\n\r\n", b"\r\n"),
            (Canon::Relaxed, b" \r\n\t\r\n", b""),
            (Canon::Simple, b" \r\n\r\n", b" \r\n"),
            (Canon::Simple, b"no end", b"no end\r\n"),
            (Canon::Relaxed, b"no end ", b"no end\r\n"),
            (Canon::Simple, b"lf\nonly\n\n", b"lf\r\nonly\r\n"),
            (Canon::Simple, b"a\rb\r", b"a\rb\r\r\n"),
        ] {
            let found = hash(canon, None, &[body]);
            assert_eq!(found.digest, sha256(wanted), "{canon:?} {:?}", String::from_utf8_lossy(body));
            assert_eq!(found.total, wanted.len() as u64);
            assert_eq!(plainly(canon, body), wanted);
        }
    }

    #[test]
    fn fields_as_the_rfc_has_them() {
        // RFC 6376 section 3.4.5.
        let (a, b) = (Field::new(b"A: X").unwrap(), Field::new(b"B : Y\t\r\n\tZ  ").unwrap());
        for (canon, wanted) in
            [(Canon::Relaxed, "a:X\r\nb:Y Z\r\n"), (Canon::Simple, "A: X\r\nB : Y\t\r\n\tZ  \r\n")]
        {
            let mut out = Vec::new();
            canon.field(&a, &mut out);
            canon.field(&b, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
        let field = Field::new(b"S: a=1; b= QQ\n Q ; c=2").unwrap();
        for (canon, wanted) in [(Canon::Relaxed, "s:a=1; b=; c=2"), (Canon::Simple, "S: a=1; b=; c=2")] {
            let mut out = Vec::new();
            canon.signature(&field, &(8..15), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    #[test]
    fn lengths_cut_what_was_canonicalized() {
        for (length, text) in [(0, ""), (3, "D E"), (5, "D E\r\n"), (9, "D E\r\nF\r\n")] {
            let found = hash(Canon::Relaxed, Some(length), &[b"D \t E \r\nF"]);
            assert_eq!((found.digest, found.total), (sha256(text.as_bytes()), 8), "{length}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(body in "[ab \t\r\n]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &body.as_bytes()[cut[0]..cut[1]]).collect();
            for canon in [Canon::Simple, Canon::Relaxed] {
                let found = hash(canon, None, &pieces);
                let wanted = plainly(canon, body.as_bytes());
                prop_assert_eq!(found.total, wanted.len() as u64);
                prop_assert_eq!(found.digest, sha256(&wanted));
            }
        }
    }
}
