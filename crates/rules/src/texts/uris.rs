//! The addresses in a message: those that stand in its text, and those of its pages.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use super::canonical::{Redirector, forms, unescaped};
use super::domains::{Registry, is_fqdn_valid, tld_end};
use super::facts::{HtmlFacts, LONGEST_URI};
use super::perl::{find, is_space, is_word, starts_with};

/// No more addresses are made out in a message, and no more octets of their forms are kept.
const MOST_URIS: usize = 20_000;
const MOST_OCTETS: usize = 16 << 20;

/// An address in a message, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    /// As it stands, with a scheme put before it where it has none in text.
    pub raw: Bytes,
    /// Where it was found: elements of HTML (`a`, `img`), `parsed` (text), `unlinked`, `schemeless`, `domainkeys`.
    pub types: BTreeSet<&'static str>,
    /// The address and its canonical forms, which `uri` rules look at.
    pub cleaned: Vec<Bytes>,
    /// What was registered of the hosts of all forms, `example.com`.
    pub domains: Vec<Bytes>,
    /// The hosts of all forms, each with its domain.
    pub hosts: Vec<(Bytes, Bytes)>,
    /// The text of the links to it, each once.
    pub anchor_texts: Vec<Bytes>,
}

/// What a message is asked for addresses with.
pub(crate) struct Finder<'a> {
    pub registry: &'a Registry,
    pub redirectors: &'a [Box<dyn Redirector>],
    uris: Vec<Uri>,
    places: HashMap<Bytes, usize>,
    octets: usize,
    left_out: bool,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(registry: &'a Registry, redirectors: &'a [Box<dyn Redirector>]) -> Finder<'a> {
        let (uris, places) = (Vec::new(), HashMap::new());
        Finder { registry, redirectors, uris, places, octets: 0, left_out: false }
    }

    /// All that were found, and whether there are more.
    pub(crate) fn finish(self) -> (Vec<Uri>, bool) {
        (self.uris, self.left_out)
    }

    /// Those in rendered text.
    pub(crate) fn text(&mut self, lines: &[Bytes]) {
        let mut seen = HashSet::new();
        for line in lines {
            let mut at = 0;
            while let Some(found) = scan(self.registry, line, at) {
                at = found.end;
                let raw = trimmed(&line[found.start..found.end]);
                if self.uris.len() >= MOST_URIS {
                    self.left_out = true;
                    return;
                }
                if seen.insert(raw) {
                    self.found(raw, found);
                }
            }
        }
    }

    fn found(&mut self, raw: &[u8], found: Found<'_>) {
        let lone_mail = found.kind == Kind::Mail && !raw.contains(&b'@');
        if lone_mail || found.host.is_some_and(|host| !is_fqdn_valid(&host.to_ascii_lowercase())) {
            return;
        }
        if starts_with(raw, b"cid:") || starts_with(raw, b"mid:") || is_bare_scheme(raw) {
            return;
        }
        let mut types = BTreeSet::from(["parsed"]);
        let Some(mut uri) = with_scheme(raw, &mut types) else { return };
        if starts_with(&uri, b"mailto:") {
            uri = unescaped(&uri, false);
            let Some(sign) = memchr::memchr(b'@', &uri) else { return };
            let host = &uri[sign + 1..];
            let mut host = &host
                [..host.iter().position(|byte| matches!(byte, b'?' | b'&' | b'>')).unwrap_or(host.len())];
            while let Some(rest) = host.strip_suffix(b"%20") {
                host = rest;
            }
            if !self.registry.is_domain_valid(host) {
                return;
            }
        }
        self.add(uri.into(), false, &types, true);
    }

    /// Those of a page.
    pub(crate) fn page(&mut self, page: &HtmlFacts) {
        self.left_out |= page.uris_left_out;
        for uri in &page.uris {
            let untold = BTreeSet::from(["parsed"]);
            let types = if uri.types.is_empty() { &untold } else { &uri.types };
            let Some(place) = self.add(uri.uri.clone(), uri.wide, types, false) else { continue };
            let mut seen = HashSet::new();
            for text in uri.anchor_texts.iter().flatten().filter(|text| seen.insert(text.as_slice())) {
                self.uris[place].anchor_texts.push(Bytes::copy_from_slice(text));
            }
        }
    }

    /// One that stands in an attachment.
    pub(crate) fn attached(&mut self, uri: &Bytes) {
        self.add(uri.clone(), false, &BTreeSet::from(["parsed"]), false);
    }

    /// The domains that signed, `d=` of a signature's field.
    pub(crate) fn signature(&mut self, field: &[u8]) {
        let mut from = 0;
        while let Some(at) = memchr::memchr(b'd', &field[from..]).map(|at| from + at) {
            from = at + 1;
            let rest = super::perl::trim(&field[at + 1..]);
            let Some(rest) = rest.strip_prefix(b"=").filter(|_| at == 0 || !is_word(field[at - 1])) else {
                continue;
            };
            let domain: Vec<u8> = rest
                .iter()
                .take_while(|byte| **byte != b';')
                .copied()
                .filter(|byte| !is_space(*byte))
                .collect();
            if domain.is_empty() {
                continue;
            }
            let raw = Bytes::from([b"domainkeys:", &domain[..]].concat());
            let Some((domain, host)) = self.registry.uri_to_domain(&raw) else { continue };
            let place = self.entry(raw);
            self.uris[place].types.extend(["domainkeys", "nocanon", "noclean"]);
            self.uris[place].add_host(domain.into(), host.into());
        }
    }

    /// Adds an address with its forms; gives its place. `wide`: it is characters. `must_have_domain`: else it does not count.
    fn add(
        &mut self,
        uri: Bytes,
        wide: bool,
        types: &BTreeSet<&'static str>,
        must_have_domain: bool,
    ) -> Option<usize> {
        if self.uris.len() >= MOST_URIS || self.octets > MOST_OCTETS {
            self.left_out = true;
            return None;
        }
        let mut cleaned = forms(&uri, wide, self.redirectors, self.registry);
        for form in &mut cleaned {
            form.truncate(LONGEST_URI);
            self.octets += form.len();
        }
        let hosts: Vec<_> = cleaned.iter().filter_map(|form| self.registry.uri_to_domain(form)).collect();
        if must_have_domain && hosts.is_empty() {
            return None;
        }
        let place = self.entry(uri);
        let entry = &mut self.uris[place];
        for form in cleaned {
            if !entry.cleaned.contains(&form) {
                entry.cleaned.push(form);
            }
        }
        for (domain, host) in hosts {
            entry.add_host(domain.into(), host.into());
        }
        entry.types.extend(types);
        Some(place)
    }

    fn entry(&mut self, raw: Bytes) -> usize {
        *self.places.entry(raw.clone()).or_insert_with(|| {
            self.uris.push(Uri { raw, ..Uri::default() });
            self.uris.len() - 1
        })
    }
}

impl Uri {
    fn add_host(&mut self, domain: Bytes, host: Bytes) {
        if !self.domains.contains(&domain) {
            self.domains.push(domain.clone());
        }
        if !self.hosts.iter().any(|(known, _)| *known == host) {
            self.hosts.push((host, domain));
        }
    }
}

/// What an address in text looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scheme,
    Mail,
    Schemeless,
}

/// An address in text.
struct Found<'a> {
    start: usize,
    end: usize,
    kind: Kind,
    /// The host of one without a scheme.
    host: Option<&'a [u8]>,
}

/// Bits of [`CLASSES`].
const ENDS: u8 = 1;
const STARTS: u8 = 2;
const ENDS_MAIL: u8 = 4;
const STARTS_BARE: u8 = 8;
const WORD: u8 = 16;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        let space = matches!(c, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
        let ends =
            space || matches!(c, b'>' | b'<' | b'"' | b'`' | b'}' | b']' | b'{' | b'[' | b'|' | 0x1b | 0xa0);
        let starts = space
            || matches!(
                c,
                b'>' | b'<' | b'"' | b'\'' | b'`' | b',' | b'{' | b'[' | b'(' | b'|' | 0x1b | 0xa0
            );
        let ends_mail = ends || matches!(c, b',' | b'(' | b'\'') || c >= 0x80;
        let bare = space
            || matches!(
                c,
                b'!' | b'"'
                    | b'#'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b'/'
                    | b':'
                    | b';'
                    | b'<'
                    | b'='
            )
            || matches!(
                c,
                b'>' | b'?'
                    | b'@'
                    | b'['
                    | b'\\'
                    | b']'
                    | b'^'
                    | b'`'
                    | b'{'
                    | b'|'
                    | b'}'
                    | b'~'
                    | 0x1b
                    | 0xa0
            );
        let word = c.is_ascii_alphanumeric() || c == b'_';
        classes[byte] = (ends as u8 * ENDS)
            | (starts as u8 * STARTS)
            | (ends_mail as u8 * ENDS_MAIL)
            | (bare as u8 * STARTS_BARE)
            | (word as u8 * WORD);
        byte += 1;
    }
    classes
}

fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// How long the run of octets is that are not of that class.
fn run(text: &[u8], from: usize, class: u8) -> usize {
    text.get(from..).unwrap_or_default().iter().take_while(|byte| !is(**byte, class)).count()
}

/// The next address from `from` on.
fn scan<'a>(registry: &Registry, line: &'a [u8], from: usize) -> Option<Found<'a>> {
    let mut mail = MailScan { line, sign: from, start: 0, end: None };
    mail.next(from);
    let mut at = from;
    while at < line.len() {
        let (before, here) = (at.checked_sub(1).map_or(0, |at| line[at]), line[at]);
        let shifted = at >= 3 && line[at - 3] == 0x1b && line[at - 2] == b'(';
        if is(before, WORD) == is(here, WORD) && !(at > 0 && is(before, STARTS)) && !shifted {
            at += 1;
            continue;
        }
        let found =
            |end: usize, kind: Kind, host: Option<&'a [u8]>| Some(Found { start: at, end, kind, host });
        if let Some(end) = known_scheme(line, at) {
            return found(end, Kind::Scheme, None);
        }
        if matches!(here, b'm' | b'M') && starts_with(&line[at..], b"mailto:") {
            let length = run(line, at + 7, ENDS_MAIL);
            if (1..=2048).contains(&length) {
                return found(at + 7 + length, Kind::Mail, None);
            }
        }
        if let Some(end) = mail.at(at) {
            return found(end, Kind::Mail, None);
        }
        if here.is_ascii_alphanumeric()
            && (at == 0 || is(before, STARTS_BARE))
            && let Some((host, end)) = schemeless(registry, line, at)
        {
            return found(end, Kind::Schemeless, Some(&line[at..host]));
        }
        at += 1;
    }
    None
}

/// Where an address with a known scheme ends, or one that begins with `www.` or `ftp.`.
fn known_scheme(line: &[u8], at: usize) -> Option<usize> {
    let rest = &line[at..];
    let head = match rest.first()?.to_ascii_lowercase() {
        b'h' if starts_with(rest, b"http://") => 7,
        b'h' if starts_with(rest, b"https://") => 8,
        b'f' if starts_with(rest, b"ftp://") => 6,
        b'f' if starts_with(rest, b"ftp.") => 4,
        b'w' if starts_with(rest, b"www") => {
            let digits = rest[3..].iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
            if rest.get(3 + digits) != Some(&b'.') {
                return None;
            }
            4 + digits
        }
        _ => return None,
    };
    let length = run(line, at + head, ENDS);
    (1..=2048).contains(&length).then_some(at + head + length)
}

/// Looks for addresses of mail, `@` by `@`.
struct MailScan<'a> {
    line: &'a [u8],
    /// The next `@`; at the end if there is none.
    sign: usize,
    /// From where on the octets before it may belong to an address.
    start: usize,
    /// Where the address ends; None if there is none at this `@`.
    end: Option<usize>,
}

impl MailScan<'_> {
    fn next(&mut self, from: usize) {
        const LONGEST: usize = 251;
        self.sign = memchr::memchr(b'@', &self.line[from..]).map_or(self.line.len(), |at| from + at);
        let before = self.line[..self.sign].iter().rev().take(LONGEST);
        let length = before.take_while(|byte| !is(**byte, ENDS_MAIL) && **byte != b'@').count();
        self.start = self.sign - length;
        let after = run(self.line, self.sign + 1, ENDS_MAIL);
        self.end =
            (self.sign < self.line.len() && (1..=LONGEST).contains(&after)).then_some(self.sign + 1 + after);
    }

    /// Where an address of mail that begins there ends.
    fn at(&mut self, at: usize) -> Option<usize> {
        while self.sign < self.line.len() && at >= self.sign {
            self.next(self.sign + 1);
        }
        self.end.filter(|_| at >= self.start && at < self.sign)
    }
}

/// Where the host ends of an address without a scheme, and where the address does.
fn schemeless(registry: &Registry, line: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = &line[at..];
    let mut length = rest
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        .count();
    let after = at + length;
    if rest[length - 1] == b'.' {
        length -= 1;
    }
    let dot = memchr::memrchr(b'.', &rest[..length]).filter(|dot| (1..=252).contains(dot))?;
    let host = tld_end(registry, line, at + dot).filter(|end| *end == at + length)?;
    let mut end = after;
    if line.get(end) == Some(&b':') {
        let digits = line[end + 1..].iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        end += 1 + digits;
    }
    if line.get(end) == Some(&b'/') {
        let path = run(line, end + 1, ENDS);
        if !(1..=2048).contains(&path) {
            return None;
        }
        end += 1 + path;
    }
    line.get(end).is_none_or(|byte| is(*byte, ENDS)).then_some((host, end))
}

/// Without what mail programs do not take for part of an address.
fn trimmed(raw: &[u8]) -> &[u8] {
    let close = memchr::memchr2(b'(', b')', raw).filter(|at| raw[*at] == b')');
    let mut raw = &raw[..close.unwrap_or(raw.len())];
    while let [rest @ .., last] = raw
        && b"-~!@#^&*()_+=:;'?,.".contains(last)
    {
        raw = rest;
    }
    raw
}

/// `http://` and nothing else.
fn is_bare_scheme(raw: &[u8]) -> bool {
    let word = raw.iter().take_while(|byte| is_word(**byte)).count();
    word > 0 && matches!(&raw[word..], b":" | b":/" | b"://")
}

/// With the scheme that a reader would put before it; None if it is none after all.
fn with_scheme(raw: &[u8], types: &mut BTreeSet<&'static str>) -> Option<Vec<u8>> {
    if [&b"http:"[..], b"https:", b"ftp:", b"mailto:"].iter().any(|scheme| starts_with(raw, scheme)) {
        return Some(raw.to_vec());
    }
    let put = |scheme: &[u8], raw: &[u8]| Some([scheme, raw].concat());
    let www = starts_with(raw, b"www") && {
        let digits = raw[3..].iter().take(2).take_while(|byte| byte.is_ascii_digit()).count();
        raw.get(3 + digits) == Some(&b'.')
    };
    let sign = memchr::memchr(b'@', raw);
    let slash_before = memchr::memchr(b'/', raw)
        .is_some_and(|slash| memchr::memrchr(b'@', raw).is_some_and(|sign| sign > slash + 1));
    types.insert("schemeless");
    if starts_with(raw, b"ftp.") {
        put(b"ftp://", raw)
    } else if www || slash_before {
        put(b"http://", raw)
    } else if let Some(sign) = sign {
        // foo@bar%2Ecom is no link anywhere.
        let dotted = (sign..raw.len())
            .any(|at| raw[at] == b'@' && raw.get(at + 2..).is_some_and(|rest| rest.contains(&b'.')));
        if !dotted || find(raw, b"&nbsp;", 0).is_some() {
            return None;
        }
        let begins = [&b"skype"[..], b"email", b"e-mail", b"mail"]
            .into_iter()
            .find(|word| starts_with(raw, word) && raw.get(word.len()) == Some(&b':'));
        let word = begins.map_or(0, <[u8]>::len);
        let colons = raw[word..].iter().take_while(|byte| **byte == b':').count();
        put(b"mailto:", &raw[if colons > 0 { word + colons } else { 0 }..])
    } else if raw.contains(&b'.') {
        types.insert("unlinked");
        put(b"http://", raw)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry { tlds: [b"com".to_vec(), b"net".to_vec(), b"org".to_vec()].into(), ..Registry::default() }
    }

    #[test]
    fn addresses_are_found_in_text() {
        for (text, expected) in [
            ("see http://example.com/x.", &["http://example.com/x"][..]),
            ("(http://example.com/x)", &["http://example.com/x"]),
            ("http://example.com/(x)", &["http://example.com/(x"]),
            ("www.example.com, ftp.example.net", &["http://www.example.com", "ftp://ftp.example.net"]),
            ("bare example.com/x and Some.Sentence here", &["http://example.com/x"]),
            ("mail me@example.com!", &["mailto:me@example.com"]),
            ("mailto:me%40example.com mailto:a@b%2ecom", &["mailto:a@b.com"]),
            ("e-mail:me@example.com", &["mailto:me@example.com"]),
            ("<a@b.com>,<c@d.net>", &["mailto:a@b.com", "mailto:c@d.net"]),
            ("x@nodot vi@gra", &[]),
            ("[cid:image001.png@01D4986E.com]", &[]),
            ("http:// https://", &[]),
            ("example.com:8080/ example.com:80a", &[]),
            ("example.com. example.net:80", &["http://example.com", "http://example.net:80"]),
            ("example.com.invalid", &[]),
            ("a=b?x.example.org", &["http://x.example.org"]),
        ] {
            let registry = registry();
            let mut finder = Finder::new(&registry, &[]);
            finder.text(&[Bytes::from(text)]);
            let found: Vec<_> = finder
                .finish()
                .0
                .into_iter()
                .map(|uri| String::from_utf8(uri.raw.to_vec()).unwrap())
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
