//! Small patterns for `Received` fields, with what they find named in them.
//!
//! Letters behind `%` stand for something, all else for itself:
//! `%s` a word, `%h` `%r` `%b` `%d` one that is HELO, reverse name, receiver, identity; `%R` both HELO and reverse name; `*` behind
//! them: it may be empty. `%o` a reverse name with a dot. `%i` an address that is kept, `%I` one that isn't, `%l` the local host.
//! `%a` anything, as much as can be, `%z` as little; `%x` the same kept. `%w` digits. `%E` HELO or EHLO. `%k` HELO up to a `)`, `%X`
//! something kept up to a `)`. `%C{abc}` something without those, `%c{abc}` perhaps nothing. `%?{…}` perhaps that. `%|{a|b}` one of
//! those. `%!{…}` that does not follow. `%D` no digit follows. `%L` a letter. `%%` a percent sign. `%$` the end.

use super::ip;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found<'t> {
    pub helo: Option<&'t [u8]>,
    pub rdns: Option<&'t [u8]>,
    pub by: Option<&'t [u8]>,
    pub ident: Option<&'t [u8]>,
    pub ip: Option<&'t [u8]>,
    pub extra: Option<&'t [u8]>,
}

/// So many steps are made before a line counts as one that does not fit: a hostile one.
const STEPS: u32 = 20_000;

/// Whether the text begins like that.
pub(crate) fn matches<'t>(pattern: &str, text: &'t [u8]) -> Option<Found<'t>> {
    let mut matcher = Matcher { text, found: Found::default(), steps: STEPS };
    matcher.go(pattern.as_bytes(), None, 0).then_some(matcher.found)
}

/// Whether something in the text is like that.
pub(crate) fn search<'t>(pattern: &str, text: &'t [u8]) -> Option<Found<'t>> {
    let mut matcher = Matcher { text, found: Found::default(), steps: STEPS };
    let literal = pattern.find('%').map_or(pattern, |end| &pattern[..end]).as_bytes();
    let found = if literal.is_empty() {
        (0..text.len()).any(|at| matcher.go(pattern.as_bytes(), None, at))
    } else {
        memchr::memmem::find_iter(text, literal).any(|at| matcher.go(pattern.as_bytes(), None, at))
    };
    found.then_some(matcher.found)
}

/// What must follow a part of a pattern.
struct Rest<'p> {
    pattern: &'p [u8],
    next: Option<&'p Rest<'p>>,
}

struct Matcher<'t> {
    text: &'t [u8],
    found: Found<'t>,
    steps: u32,
}

impl<'t> Matcher<'t> {
    fn go(&mut self, pattern: &[u8], rest: Option<&Rest<'_>>, mut at: usize) -> bool {
        let mut pattern = pattern;
        loop {
            let Some((first, after)) = pattern.split_first() else {
                return rest.is_none_or(|rest| self.go(rest.pattern, rest.next, at));
            };
            if *first == b'%' {
                return self.special(after, rest, at);
            }
            if self.text.get(at) != Some(first) {
                return false;
            }
            at += 1;
            pattern = after;
        }
    }

    fn special(&mut self, pattern: &[u8], rest: Option<&Rest<'_>>, at: usize) -> bool {
        let Some((code, after)) = pattern.split_first() else { return false };
        let text = self.text;
        let word = || text[at..].iter().take_while(|byte| **byte != b' ').count();
        match code {
            b's' | b'h' | b'r' | b'R' | b'b' | b'd' | b'o' => {
                let (least, after) = match after.strip_prefix(b"*") {
                    Some(after) => (0, after),
                    None => (1, after),
                };
                self.run(*code, least, word(), after, rest, at)
            }
            b'i' | b'I' | b'l' => self.address(*code, after, rest, at),
            b'a' => self.run(b's', 0, text.len() - at, after, rest, at),
            b'z' | b'x' => (at..=text.len()).any(|end| self.keep(*code, at, end, after, rest)),
            b'w' => {
                let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                self.run(b's', 1, digits, after, rest, at)
            }
            b'k' | b'X' => {
                let length = text[at..].iter().take_while(|byte| **byte != b')').count();
                let (slot, least) = if *code == b'k' { (b'h', 0) } else { (b'x', 1) };
                self.run(slot, least, length, after, rest, at)
            }
            b'E' => {
                let is_helo = text[at..].starts_with(b"HELO") || text[at..].starts_with(b"EHLO");
                is_helo && self.go(after, rest, at + 4)
            }
            b'D' => !text.get(at).is_some_and(u8::is_ascii_digit) && self.go(after, rest, at),
            b'L' => text.get(at).is_some_and(u8::is_ascii_alphabetic) && self.go(after, rest, at + 1),
            b'%' => text.get(at) == Some(&b'%') && self.go(after, rest, at + 1),
            b'$' => at == text.len() && self.go(after, rest, at),
            b'?' | b'|' | b'!' | b'c' | b'C' => {
                let Some((inner, after)) = braced(after) else { return false };
                self.group(*code, inner, after, rest, at)
            }
            _ => false,
        }
    }

    fn group(&mut self, code: u8, inner: &[u8], after: &[u8], rest: Option<&Rest<'_>>, at: usize) -> bool {
        let text = self.text;
        match code {
            b'?' => {
                let then = Rest { pattern: after, next: rest };
                let before = self.found;
                if self.go(inner, Some(&then), at) {
                    return true;
                }
                self.found = before;
                self.go(after, rest, at)
            }
            b'|' => inner
                .split(|byte| *byte == b'|')
                .any(|choice| text[at..].starts_with(choice) && self.go(after, rest, at + choice.len())),
            b'!' => !text[at..].starts_with(inner) && self.go(after, rest, at),
            _ => {
                let length = text[at..].iter().take_while(|byte| !inner.contains(byte)).count();
                self.run(b's', usize::from(code == b'C'), length, after, rest, at)
            }
        }
    }

    /// As much as can be, from `most` octets down to `least`.
    fn run(
        &mut self,
        slot: u8,
        least: usize,
        most: usize,
        after: &[u8],
        rest: Option<&Rest<'_>>,
        at: usize,
    ) -> bool {
        let literal = after.first().copied().filter(|byte| *byte != b'%');
        for length in (least..=most).rev() {
            if literal.is_some_and(|byte| self.text.get(at + length) != Some(&byte)) {
                continue;
            }
            let run = &self.text[at..at + length];
            let dotted = memchr::memchr(b'.', run.get(1..length.max(1) - 1).unwrap_or_default()).is_some();
            if (slot != b'o' || dotted) && self.keep(slot, at, at + length, after, rest) {
                return true;
            }
        }
        false
    }

    /// Goes on behind something that is kept.
    fn keep(&mut self, slot: u8, at: usize, end: usize, after: &[u8], rest: Option<&Rest<'_>>) -> bool {
        if self.steps == 0 {
            return false;
        }
        self.steps -= 1;
        let before = self.found;
        let run = Some(&self.text[at..end]);
        match slot {
            b'h' => self.found.helo = run,
            b'r' | b'o' => self.found.rdns = run,
            b'R' => (self.found.helo, self.found.rdns) = (run, run),
            b'b' => self.found.by = run,
            b'd' => self.found.ident = run,
            b'i' => self.found.ip = run,
            b'x' => self.found.extra = run,
            _ => {}
        }
        let fits = self.go(after, rest, end);
        if !fits {
            self.found = before;
        }
        fits
    }

    fn address(&mut self, code: u8, after: &[u8], rest: Option<&Rest<'_>>, at: usize) -> bool {
        let text = self.text;
        if code == b'l' {
            for name in [&b"localhost.localdomain"[..], b"localhost"] {
                if text[at..].starts_with(name) && self.go(after, rest, at + name.len()) {
                    return true;
                }
            }
        }
        let Some(end) = (at < text.len()).then(|| ip::end_at(text, at)).flatten() else { return false };
        let is_loopback = |ip: std::net::IpAddr| {
            matches!(ip.to_canonical(), std::net::IpAddr::V6(ip) if ip.is_loopback())
                || ip.to_canonical() == std::net::Ipv4Addr::LOCALHOST
        };
        if code == b'l' && !ip::parse(&text[at..end]).is_some_and(is_loopback) {
            return false;
        }
        self.keep(code, at, end, after, rest)
    }
}

/// What stands between braces, and what follows.
fn braced(pattern: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = pattern.strip_prefix(b"{")?;
    let mut depth = 0;
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some((&inner[..at], &inner[at + 1..])),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match() {
        let found = matches("%h (%r [%i])%?{ (x%w)} by %b ", b"a (b.c [192.0.2.1]) (x12) by d e").unwrap();
        assert_eq!(
            (found.helo, found.rdns, found.ip, found.by),
            (Some(&b"a"[..]), Some(&b"b.c"[..]), Some(&b"192.0.2.1"[..]), Some(&b"d"[..]))
        );
        for (pattern, text, fits) in [
            ("%s by %s %|{with|via}", "a by b via c", true),
            ("%s by %s %|{with|via}", "a by b for c", false),
            ("(%o[%i])", "(a.b[::1])", true),
            ("(%o[%i])", "(ab[::1])", false),
            ("(%d*@%i)", "(@192.0.2.1)", true),
            ("%C{.} by", "a b by", true),
            ("%C{.} by", "a.b by", false),
            ("%a SMTP%!{ id }", "x SMTP id y", false),
            ("%l ", "127.0.0.1 ", true),
            ("%D%h", "1a", false),
            ("%i%$", "192.0.2.1 ", false),
        ] {
            assert_eq!(matches(pattern, text.as_bytes()).is_some(), fits, "{pattern} {text}");
        }
        assert!(search(" with %|{A|B}%$", b"x with C with B").is_some());
    }

    #[test]
    fn hostile_lines_end() {
        let line = "a (b [c ".repeat(1000);
        assert_eq!(matches("%h (%r [%i]%a) by %b (%a) with %a (%s", line.as_bytes()), None);
    }
}
