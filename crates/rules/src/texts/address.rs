//! Addresses and names in a header's value, by SpamAssassin's lenient reading.

use super::domains::{idn_to_ascii, is_fqdn_valid};
use super::perl::{is_space, trim_end};

/// No more addresses are read of one field.
const MOST: usize = 10_000;

/// An entry of a list of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name, as it stands but for quotes and comments; or a comment behind the address.
    pub phrase: Option<Vec<u8>>,
    pub address: Option<Vec<u8>>,
}

/// The entries of a value as it stands, not decoded. Where fewer come out than there are commas for, the grammar is asked.
pub(crate) fn parse(value: &[u8]) -> Vec<Entry> {
    let entries = leniently(value);
    let wanted = memchr::memchr_iter(b',', value).count() + 1;
    if entries.len() >= wanted || trim_end(value).is_empty() {
        return entries;
    }
    let by_grammar = super::mailboxes::parse(&without_double_backslashes(value));
    if by_grammar.len() > entries.len() { by_grammar } else { entries }
}

fn leniently(value: &[u8]) -> Vec<Entry> {
    let mut text = without_double_backslashes(trim_end(value));
    drop_group(&mut text);
    let mut entries = Vec::new();
    let mut rest = &text[..];
    while entries.len() < MOST
        && let Some(read) = Read::at(rest)
    {
        if read.end == 0 {
            break;
        }
        entries.push(read.entry());
        rest = &rest[read.end..];
    }
    // What could not be read may still have addresses in brackets.
    let mut from = 0;
    while rest.contains(&b'@')
        && entries.len() < MOST
        && let Some(open) = memchr::memchr(b'<', &rest[from..])
    {
        from += open + 1;
        if let Some(end) = mail_end(rest, from).filter(|end| rest.get(*end) == Some(&b'>')) {
            let address = &rest[from..end];
            if is_proper(address) {
                entries.push(Entry { phrase: None, address: Some(cut(address)) });
            }
            from = end + 1;
        }
    }
    entries
}

fn without_double_backslashes(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr::memmem::find(rest, b"\\\\") {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
    out
}

/// Takes off the name of a group: all up to the last colon before anything quoted or in brackets.
fn drop_group(text: &mut Vec<u8>) {
    let head =
        text.iter().position(|byte| matches!(byte, b'"' | b'(' | b')' | b'<' | b'>')).unwrap_or(text.len());
    let Some(colon) = memchr::memrchr(b':', &text[..head]).filter(|colon| *colon > 0) else { return };
    let blanks = text[colon + 1..].iter().take_while(|byte| is_space(**byte)).count();
    let mut end = colon + 1 + blanks;
    if text.get(end) == Some(&b';') {
        end = text.len();
    }
    text.drain(..end);
}

/// An entry as it was made out.
struct Read<'a> {
    phrase: Option<&'a [u8]>,
    /// In brackets: may be anything.
    bracketed: Option<&'a [u8]>,
    bare: Option<&'a [u8]>,
    comment: Option<&'a [u8]>,
    end: usize,
}

impl<'a> Read<'a> {
    fn at(text: &'a [u8]) -> Option<Read<'a>> {
        let start = skip(text, 0);
        let phrase_end = units_end(text, start);
        if text.get(phrase_end) == Some(&b'<')
            && let Some((inner, end, comment)) = bracketed(text, phrase_end)
        {
            let phrase = (phrase_end > start).then(|| &text[start..phrase_end]);
            return Some(Read { phrase, bracketed: Some(inner), bare: None, comment, end });
        }
        if let Some(mail) = mail_end(text, start)
            && let Some((comment, end)) = tail(text, mail)
        {
            return Some(Read {
                phrase: None,
                bracketed: None,
                bare: Some(&text[start..mail]),
                comment,
                end,
            });
        }
        if phrase_end == start {
            // A blank before a comma is a name, too.
            let blank = start.checked_sub(1)?;
            let (comment, end) = tail(text, start)?;
            return Some(Read {
                phrase: Some(&text[blank..start]),
                bracketed: None,
                bare: None,
                comment,
                end,
            });
        }
        // A comment may hold what ends the name, as in `"A" (<a@b>)`.
        let (phrase_end, (comment, end)) =
            unit_ends(text, start).into_iter().rev().find_map(|at| tail(text, at).map(|tail| (at, tail)))?;
        Some(Read { phrase: Some(&text[start..phrase_end]), bracketed: None, bare: None, comment, end })
    }

    fn entry(&self) -> Entry {
        let bracketed = self
            .bracketed
            .map(without_comments)
            .filter(|address| mail_end(address, 0) == Some(address.len()));
        let mut address =
            bracketed.or_else(|| self.bare.map(<[u8]>::to_vec)).filter(|address| is_proper(address));
        let mut phrase = self.phrase.map(unquoted);
        if let Some(text) = &phrase {
            let mail = address.is_none()
                && mail_end(text, 0) == Some(text.len())
                && is_proper(text)
                && has_valid_host(text);
            if mail {
                address = phrase.take();
            } else if text.is_empty() || address.as_ref() == Some(text) {
                phrase = None;
            }
        }
        let phrase = phrase.or_else(|| self.comment.map(<[u8]>::to_vec));
        Entry { phrase, address: address.map(|address| cut(&address)) }
    }
}

fn skip(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| is_space(**byte)).count()
}

/// Where the quoted string ends that begins there.
fn quoted_end(text: &[u8], at: usize) -> Option<usize> {
    let mut place = at + 1;
    while let Some(step) = text.get(place..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        place += step;
        if text[place] == b'"' {
            return Some(place + 1);
        }
        place += 2;
    }
    None
}

/// Where quoted strings and words end that begin there, all of them.
fn units_end(text: &[u8], from: usize) -> usize {
    let mut end = from;
    while let Some(next) = unit_end(text, end) {
        end = next;
    }
    end
}

/// The same after one of them, after two, and so on.
fn unit_ends(text: &[u8], from: usize) -> Vec<usize> {
    std::iter::successors(unit_end(text, from), |end| unit_end(text, *end)).collect()
}

/// Where the quoted string or the words end that begin there, if any do.
fn unit_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => quoted_end(text, at),
        b',' | b';' | b'<' => None,
        _ => {
            let length = text[at..].iter().position(|byte| matches!(byte, b'"' | b',' | b';' | b'<'));
            Some(length.map_or(text.len(), |length| at + length))
        }
    }
}

/// Where the address of mail ends that begins there.
fn mail_end(text: &[u8], from: usize) -> Option<usize> {
    let quoted = if text.get(from)? == &b'"' {
        quoted_end(text, from).filter(|end| text.get(*end) == Some(&b'@'))
    } else {
        None
    };
    let at = match quoted {
        Some(end) => end,
        None => {
            let stop = |byte: &u8| {
                is_space(*byte)
                    || matches!(byte, b'@' | b'<' | b'>' | b'(' | b')' | b'[' | b']' | b',' | b':' | b';')
            };
            from + text[from..].iter().take_while(|byte| !stop(byte)).count()
        }
    };
    let rest = text[at..].strip_prefix(b"@").filter(|_| at > from)?;
    let stop = |byte: &u8| {
        is_space(*byte) || matches!(byte, b'"' | b'<' | b'>' | b'(' | b')' | b'[' | b']' | b',' | b':' | b';')
    };
    let length = rest.iter().take_while(|byte| !stop(byte)).count();
    if length > 0 {
        return Some(at + 1 + length);
    }
    let digits = rest.strip_prefix(b"[")?;
    let length =
        digits.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.')).count();
    (length > 0 && digits.get(length) == Some(&b']')).then_some(at + 1 + length + 2)
}

/// What stands in brackets, where the entry ends, and a comment behind.
type Bracketed<'t> = (&'t [u8], usize, Option<&'t [u8]>);

/// What stands in brackets, where the entry ends, and a comment behind. The widest that is followed as it should counts.
fn bracketed(text: &[u8], open: usize) -> Option<Bracketed<'_>> {
    let start = skip(text, open + 1);
    let first = memchr::memchr2(b'>', b'@', &text[start..]).map(|at| start + at)?;
    let run = first + text[first..].iter().take_while(|byte| !is_space(**byte)).count();
    let behind = skip(text, run);
    let mut ends: Vec<usize> = Vec::new();
    if text.get(behind) == Some(&b'>') && run > first {
        ends.push(run);
    }
    let most = 64;
    ends.extend(memchr::memrchr_iter(b'>', &text[first..run]).map(|at| first + at).take(most));
    for end in ends {
        let close = skip(text, end);
        let inner = &text[start..end];
        let blank = inner.iter().all(|byte| is_space(*byte));
        // Something must stand in it, or nothing but white space.
        if blank && close != first {
            continue;
        }
        if let Some((comment, after)) = after_bracket(text, close + 1) {
            return Some((if blank { b"" } else { trim_end(inner) }, after, comment));
        }
    }
    None
}

/// More of the same in brackets, a comment, and the end of the entry.
fn after_bracket(text: &[u8], from: usize) -> Option<(Option<&[u8]>, usize)> {
    let mut ends = vec![from];
    let mut at = from;
    while ends.len() < 16 {
        let open = skip(text, at);
        if text.get(open) != Some(&b'<') {
            break;
        }
        let mut inner = skip(text, open + 1);
        if text.get(inner) == Some(&b'"') {
            inner = quoted_end(text, inner).unwrap_or(inner);
        }
        let run = inner + text[inner..].iter().take_while(|byte| !is_space(**byte)).count();
        let close = memchr::memrchr(b'>', &text[inner..run])
            .map(|at| inner + at)
            .or_else(|| Some(skip(text, run)).filter(|at| text.get(*at) == Some(&b'>')));
        let Some(close) = close else { break };
        at = close + 1;
        ends.push(at);
    }
    ends.into_iter().rev().find_map(|end| tail(text, end))
}

/// A comment, and the comma, semicolon or end that an entry must have behind it.
fn tail(text: &[u8], from: usize) -> Option<(Option<&[u8]>, usize)> {
    let finish = |from: usize| {
        let at = skip(text, from);
        match text.get(at) {
            Some(b',' | b';') => Some(at + 1),
            None => Some(at),
            Some(_) => None,
        }
    };
    if let Some((comment, after)) = comment(text, skip(text, from))
        && let Some(end) = finish(after)
    {
        return Some((Some(comment), end));
    }
    finish(from).map(|end| (None, end))
}

/// A comment without another within, and where it ends.
fn comment(text: &[u8], at: usize) -> Option<(&[u8], usize)> {
    if text.get(at) != Some(&b'(') {
        return None;
    }
    let mut place = at + 1;
    loop {
        match text.get(place)? {
            b')' => return Some((&text[at + 1..place], place + 1)),
            b'(' => return None,
            b'\\' => place += 2,
            _ => place += 1,
        }
    }
}

fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    // An unclosed comment is looked through once.
    let mut open = 0;
    while at < text.len() {
        if text[at] == b'(' && open < 16 {
            if let Some((_, end)) = comment(text, at) {
                at = end;
                continue;
            }
            open += 1;
        }
        out.push(text[at]);
        at += 1;
    }
    out
}

/// A phrase without quotes, and without comments outside of them.
fn unquoted(phrase: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(phrase.len());
    let mut at = 0;
    while at < phrase.len() {
        if phrase[at] == b'"' {
            if let Some(end) = quoted_end(phrase, at) {
                out.extend(phrase[at + 1..end - 1].iter().filter(|byte| **byte != b'\\'));
                at = end;
            } else {
                at += 1;
            }
            continue;
        }
        let length = memchr::memchr(b'"', &phrase[at..]).unwrap_or(phrase.len() - at);
        out.extend(without_comments(&phrase[at..at + length]));
        at += length;
    }
    out
}

fn is_proper(address: &[u8]) -> bool {
    !address.starts_with(b"\"\"@") && memchr::memchr_iter(b'"', address).count() != 1
}

fn has_valid_host(address: &[u8]) -> bool {
    let mut parts = address.split(|byte| *byte == b'@').skip(1);
    parts.next().is_some_and(|host| is_fqdn_valid(&idn_to_ascii(host).to_ascii_lowercase()))
}

/// Up to the second `@`.
fn cut(address: &[u8]) -> Vec<u8> {
    let mut signs = memchr::memchr_iter(b'@', address);
    signs.next();
    address[..signs.next().unwrap_or(address.len())].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read() {
        for (value, expected) in [
            ("example@foo", &[("", "example@foo")][..]),
            ("example@foo (Foo Blah), <example@bar>", &[("Foo Blah", "example@foo"), ("", "example@bar")]),
            ("example@foo, example@bar", &[("", "example@foo"), ("", "example@bar")]),
            (
                "display: example@foo (Foo Blah), example@bar ;",
                &[("Foo Blah", "example@foo"), ("", "example@bar")],
            ),
            ("Foo Blah <example@foo>", &[("Foo Blah ", "example@foo")]),
            ("\"Foo, \\\"Blah\" <example@foo>", &[("Foo, \"Blah ", "example@foo")]),
            ("\"'Foo Blah'\" <example@foo>", &[("'Foo Blah' ", "example@foo")]),
            ("a@b.com <a@b.com>", &[("a@b.com ", "a@b.com")]),
            ("\"a@b.com\"<a@b.com>", &[("", "a@b.com")]),
            ("undisclosed-recipients:;", &[]),
            ("<>", &[("", "")]),
            ("Foo <not an address>", &[("Foo ", "")]),
            ("\"joe@example.com\"", &[("", "joe@example.com")]),
            ("<a@b><a@b>", &[("", "")]),
            ("<a@b>,<c@d>", &[("", "a@b"), ("", "c@d")]),
            ("<a@b> <a@b>", &[("", "a@b")]),
            ("a@b@c", &[("", "a@b")]),
            ("\"Foo <x@y.com>", &[("", "x@y.com")]),
            ("\"Foo\" (<x@y.com>)", &[("Foo", "")]),
            ("Foo (<x@y.com>)", &[("", "x@y.com")]),
            ("\"Foo\" (Blah) (<x@y.com>)", &[("", "x@y.com")]),
            ("\"Foo\" \"Blah\" (at <x@y.com>), b@c.com", &[("Foo Blah", ""), ("", "b@c.com")]),
        ] {
            let text = |part: Option<Vec<u8>>| String::from_utf8(part.unwrap_or_default()).unwrap();
            let read: Vec<_> = parse(value.as_bytes())
                .into_iter()
                .map(|entry| (text(entry.phrase), text(entry.address)))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(phrase, address)| ((*phrase).to_owned(), (*address).to_owned()))
                .collect();
            assert_eq!(read, expected, "{value}");
        }
    }
}
