//! Style: what in it is fetched from elsewhere, and what runs.
//!
//! It is not parsed: wherever an address may stand, behind a parenthesis, a quote or `@import`, it is looked at, in
//! comments and strings too. So it does not matter where a reader takes a string or a comment to end.

use super::values;
use crate::edits::Edits;

/// What goes from style.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goes {
    /// What runs.
    pub(super) scripts: bool,
    /// What is fetched.
    pub(super) remote: bool,
    /// The page says where relative addresses lead.
    pub(super) based: bool,
}

/// Style without what went.
#[derive(Debug, PartialEq)]
pub(super) struct Cleaned {
    /// What stays.
    pub(super) style: Vec<u8>,
    /// Something went that runs.
    pub(super) scripts: bool,
    /// Something went that is fetched.
    pub(super) remote: bool,
}

/// Style without what goes; None if nothing does.
pub(super) fn cleaned(style: &[u8], goes: Goes) -> Option<Cleaned> {
    let mut edits = Edits::default();
    let may_run = goes.scripts && may_run(style);
    if !(may_run || goes.remote && may_fetch(style)) {
        return None;
    }
    if may_run {
        scripts(&view(style, true), &mut edits);
    }
    let scripts = edits.len();
    if goes.remote {
        remote(&view(style, false), goes.based, &mut edits);
    }
    let (scripts, remote) = (scripts > 0, edits.len() > scripts);
    (scripts || remote).then(|| Cleaned { style: edits.apply(style, |_, _| b""), scripts, remote })
}

/// Whether it is worth to look closer: most style has neither.
fn may_fetch(style: &[u8]) -> bool {
    memchr::memchr3(b'(', b'"', b'\'', style).is_some() || memchr::memchr2(b'@', b'\\', style).is_some()
}

fn may_run(style: &[u8]) -> bool {
    let lower = style.to_ascii_lowercase();
    let has = |word: &str| memchr::memmem::find(&lower, word.as_bytes()).is_some();
    has("\\") || has("/*") || RUNS.iter().any(|word| has(word)) || lower.contains(&0)
}

/// Words that make style run something, as they stand in it without white space.
const RUNS: &[&str] = &["expression", "binding", "behavior", "behaviour", "script:", "-o-link"];

/// A character of style in lower case, escapes decoded, and where it stands.
struct Seen {
    c: char,
    start: u32,
    end: u32,
}

impl Seen {
    fn start(&self) -> usize {
        self.start as usize
    }

    fn end(&self) -> usize {
        self.end as usize
    }
}

/// Style as it is meant (CSS Syntax 3, 4.3.7): escapes decoded, control characters left out, and comments if they are to be.
fn view(style: &[u8], without_comments: bool) -> Vec<Seen> {
    let mut seen = Vec::with_capacity(style.len());
    let mut at = 0;
    while at < style.len() {
        let start = at;
        let byte = style[at];
        at += 1;
        let c = match byte {
            b'\\' => escaped(style, &mut at),
            b'/' if without_comments && style.get(at) == Some(&b'*') => {
                let end = memchr::memmem::find(&style[at + 1..], b"*/");
                at = end.map_or(style.len(), |end| at + end + 3);
                None
            }
            _ => Some(char::from(byte.to_ascii_lowercase())),
        };
        if let Some(c) = c.filter(|c| !c.is_control() || c.is_ascii_whitespace()) {
            // Pages are far smaller than four gigabytes.
            let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            seen.push(Seen { c: c.to_ascii_lowercase(), start: place(start), end: place(at) });
        }
    }
    seen
}

/// The character that an escape stands for; None for a line break.
fn escaped(style: &[u8], at: &mut usize) -> Option<char> {
    let rest = &style[*at..];
    let digits = rest.iter().take(6).take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 {
        let c = rest.first().copied();
        *at += usize::from(c.is_some());
        return c.filter(|c| !matches!(c, b'\n' | b'\r' | 0x0c)).map(char::from);
    }
    let code = std::str::from_utf8(&rest[..digits]).ok().and_then(|hex| u32::from_str_radix(hex, 16).ok());
    *at += digits + usize::from(rest.get(digits).is_some_and(u8::is_ascii_whitespace));
    code.and_then(char::from_u32)
}

/// Blanks addresses of what is fetched.
fn remote(seen: &[Seen], based: bool, edits: &mut Edits) {
    for (place, one) in seen.iter().enumerate() {
        let before = &seen[..place];
        let (takes_one, mut start) = match one.c {
            '(' => (fetches(before), place + 1),
            '"' | '\'' => (imports(before), place + 1),
            't' if ends_with(&seen[..=place], "@import") => (false, place + 1),
            _ => continue,
        };
        start += space(&seen[start..]);
        if one.c == '(' && seen.get(start).is_some_and(|next| is_quote(next.c)) {
            start += 1 + space(&seen[start + 1..]);
        }
        let length = seen[start..].iter().take_while(|next| !ends(next.c)).count();
        let Some((first, last)) = seen[start..start + length].first().zip(seen[..start + length].last())
        else {
            continue;
        };
        let text: String = seen[start..start + length].iter().take(256).map(|next| next.c).collect();
        if if takes_one { values::is_remote(&text, based) } else { values::looks_remote(&text) } {
            edits.replace(first.start()..last.end(), "");
        }
    }
}

fn space(seen: &[Seen]) -> usize {
    seen.iter().take_while(|next| next.c.is_whitespace()).count()
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'')
}

/// What an address ends before.
fn ends(c: char) -> bool {
    is_quote(c) || c == ')' || c.is_whitespace()
}

/// Whether the word before a parenthesis takes an address.
fn fetches(before: &[Seen]) -> bool {
    ["url", "src", "image", "import", "attr"].iter().any(|word| ends_with(before, word))
}

/// Whether `@import` stands before, perhaps with a parenthesis or `url(`.
fn imports(before: &[Seen]) -> bool {
    let trimmed = before.iter().rposition(|one| !one.c.is_whitespace()).map_or(0, |last| last + 1);
    let before = &before[..trimmed];
    ends_with(before, "@import")
        || before.last().is_some_and(|one| one.c == '(') && fetches(&before[..trimmed - 1])
}

fn ends_with(seen: &[Seen], word: &str) -> bool {
    seen.len() >= word.len() && seen[seen.len() - word.len()..].iter().map(|one| one.c).eq(word.chars())
}

/// Takes the meaning off words that run something.
fn scripts(seen: &[Seen], edits: &mut Edits) {
    let dense: Vec<&Seen> = seen.iter().filter(|one| !one.c.is_whitespace()).collect();
    let starts_with = |at: usize, word: &str| {
        dense.get(at..at + word.len()).is_some_and(|run| run.iter().map(|one| one.c).eq(word.chars()))
    };
    for at in 0..dense.len() {
        let Some(word) = ["expression(", "-moz-binding", "behavior:", "behaviour:", "-o-link:", "script:"]
            .into_iter()
            .find(|word| starts_with(at, word))
        else {
            continue;
        };
        // Every page that Outlook writes has this one, which draws shapes.
        let rest = at + word.len();
        if word.starts_with("behavi")
            && (starts_with(rest, "url(#default#vml)") || starts_with(rest, "url(#ieooui)"))
        {
            continue;
        }
        // A longer word is another one.
        let is_part = at > 0 && dense[at - 1].end == dense[at].start && is_of_word(dense[at - 1].c);
        let is_old = at > 3 && starts_with(at - 4, "-ms-");
        if is_part && !is_old && word.starts_with("behavi") {
            continue;
        }
        let sign = word.ends_with(['(', ':']);
        let last = dense[at + word.len() - 1 - usize::from(sign)];
        edits.replace(dense[at].start()..last.end(), "x");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(style: &str, scripts: bool, remote: bool, based: bool) -> String {
        let goes = Goes { scripts, remote, based };
        let made = cleaned(style.as_bytes(), goes).map(|made| made.style);
        if let Some(made) = &made {
            assert_eq!(cleaned(made, goes), None, "{style} is not settled");
        }
        made.map_or("-".to_owned(), |made| String::from_utf8_lossy(&made).into_owned())
    }

    #[test]
    fn what_is_fetched() {
        for (style, expected) in [
            ("color: red; font: 'A b'", "-"),
            ("a { background: url(http://a/b.png) no-repeat }", "a { background: url() no-repeat }"),
            ("url( \"//a/b\" )", "url( \"\" )"),
            ("u\\72l(h\\74tp://a)", "u\\72l()"),
            ("@import 'https://a/b.css' screen;", "@import '' screen;"),
            ("@IMPORT url(https://a)", "@IMPORT url()"),
            ("@import http://a", "@import "),
            ("image-set('http://a' 1x, \"cid:b\" 2x)", "image-set('' 1x, \"cid:b\" 2x)"),
            ("url(cid:a) url(data:image/png;base64,AA==) url(#a) url(a.png)", "-"),
            (
                "filter: progid:DXImageTransform.Microsoft.AlphaImageLoader(src='http://a')",
                "filter: progid:DXImageTransform.Microsoft.AlphaImageLoader(src='')",
            ),
            ("/* url(http://a */", "/* url( */"),
            ("url(\\\nhttp://a)", "url(\\\n)"),
            ("url(ht\\\ntp://a)", "url()"),
        ] {
            assert_eq!(told(style, false, true, false), expected, "{style}");
        }
        assert_eq!(told("url(a.png) @import 'b' font: 'c'", false, true, true), "url() @import '' font: 'c'");
    }

    #[test]
    fn what_runs() {
        for (style, expected) in [
            ("width: expression(alert(1))", "width: x(alert(1))"),
            ("width: exp/* */res\\73ion (alert(1))", "width: x (alert(1))"),
            ("-moz-binding: url(http://a)", "x: url(http://a)"),
            ("behavior : url(a.htc)", "x : url(a.htc)"),
            ("v\\:* {behavior:url(#default#VML);}", "-"),
            ("background: url(java\0script:a)", "background: url(java\0x:a)"),
            ("scroll-behavior: smooth", "-"),
            ("-ms-behavior: url(a)", "-ms-x: url(a)"),
            ("the expression of", "-"),
        ] {
            assert_eq!(told(style, true, false, false), expected, "{style}");
        }
    }
}
