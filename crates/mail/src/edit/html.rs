//! Where in an HTML page something can be added so that it is seen.

use memchr::{memchr, memmem};

/// Offsets of the beginning and the end of what a page shows: behind `<body>`, and before the last `</body>`. Where these are
/// missing, as near to there as a browser would begin and end it; never within a comment, a script or the like.
pub(super) fn ends(page: &[u8]) -> (usize, usize) {
    let mut found = Found::default();
    let mut at = 0;
    while let Some(next) = memchr(b'<', &page[at..]) {
        let start = at + next;
        match found.take(page, start) {
            Some(end) => at = end,
            // What is not closed goes on to the end: nothing behind it is seen.
            None => {
                found.unclosed = Some(start);
                break;
            }
        }
    }
    let first = [found.body, found.head_end, found.html, found.doctype].into_iter().flatten().next();
    let last = [found.body_end, found.html_end, found.unclosed].into_iter().flatten().next();
    let top = first.unwrap_or_else(|| if page.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 });
    (top, last.unwrap_or(page.len()).max(top))
}

/// Plain text as elements of HTML.
pub(super) fn of_text(text: &str) -> String {
    let escaped = text.trim_end().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<p>{}</p>", escaped.lines().collect::<Vec<_>>().join("<br>\n"))
}

/// All in ASCII, by numeric character references: right in every charset that holds ASCII.
pub(super) fn in_ascii(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    for c in html.chars() {
        match c {
            '\0' => {}
            c if c.is_ascii() => out.push(c),
            c => out.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    out
}

/// Tags that were met.
#[derive(Default)]
struct Found {
    doctype: Option<usize>,
    html: Option<usize>,
    head_end: Option<usize>,
    body: Option<usize>,
    body_end: Option<usize>,
    html_end: Option<usize>,
    unclosed: Option<usize>,
}

impl Found {
    /// Takes what begins with this `<`; gives where the search goes on, or None if it is not closed.
    fn take(&mut self, page: &[u8], start: usize) -> Option<usize> {
        let rest = &page[start..];
        if let Some(comment) = rest.strip_prefix(b"<!--") {
            return comment_length(comment).map(|length| start + 4 + length);
        }
        match rest.get(1) {
            Some(b'!' | b'?') => {
                let end = start + memchr(b'>', rest)? + 1;
                let doctype = rest.get(2..9).is_some_and(|word| word.eq_ignore_ascii_case(b"doctype"));
                if doctype && self.doctype.is_none() {
                    self.doctype = Some(end);
                }
                Some(end)
            }
            Some(b'/') if rest.get(2).is_some_and(u8::is_ascii_alphabetic) => {
                let end = start + tag_length(rest)?;
                match tag_name(&rest[2..]).as_str() {
                    "head" if self.head_end.is_none() => self.head_end = Some(end),
                    "body" => self.body_end = Some(start),
                    "html" => self.html_end = Some(start),
                    _ => {}
                }
                Some(end)
            }
            Some(letter) if letter.is_ascii_alphabetic() => {
                let end = start + tag_length(rest)?;
                let name = tag_name(&rest[1..]);
                match name.as_str() {
                    "html" if self.html.is_none() => self.html = Some(end),
                    "body" if self.body.is_none() => self.body = Some(end),
                    "script" | "style" | "title" | "textarea" | "xmp" | "iframe" | "noembed" | "noframes" => {
                        return closing(page, end, &name);
                    }
                    "plaintext" => return None,
                    _ => {}
                }
                Some(end)
            }
            _ => Some(start + 1),
        }
    }
}

/// Length of the rest of a comment, its end included.
fn comment_length(comment: &[u8]) -> Option<usize> {
    for closed_at_once in [&b">"[..], b"->"] {
        if comment.starts_with(closed_at_once) {
            return Some(closed_at_once.len());
        }
    }
    memmem::find_iter(comment, b"--").find_map(|at| match &comment[at + 2..] {
        [b'>', ..] => Some(at + 3),
        [b'!', b'>', ..] => Some(at + 4),
        _ => None,
    })
}

/// Length of a tag, its `>` included: the first that stands in no quoted value.
fn tag_length(tag: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match tag.get(at)? {
            b'>' => return Some(at + 1),
            b'=' => {
                at += 1;
                at += tag[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                match tag.get(at)? {
                    quote @ (b'"' | b'\'') => at += memchr(*quote, &tag[at + 1..])? + 2,
                    _ => {
                        let value = |byte: &&u8| !byte.is_ascii_whitespace() && **byte != b'>';
                        at += tag[at..].iter().take_while(value).count();
                    }
                }
            }
            _ => at += 1,
        }
    }
}

fn tag_name(tag: &[u8]) -> String {
    /// Longer than any that counts.
    const LONGEST: usize = 12;
    let ends = |byte: &&u8| !byte.is_ascii_whitespace() && !matches!(**byte, b'>' | b'/');
    tag.iter().take_while(ends).take(LONGEST).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// Where the closing tag of an element ends whose content is no HTML.
fn closing(page: &[u8], from: usize, name: &str) -> Option<usize> {
    memmem::find_iter(&page[from..], b"</").find_map(|at| {
        let start = from + at;
        let named = tag_name(&page[start + 2..]) == name;
        named.then(|| tag_length(&page[start..])).flatten().map(|length| start + length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_page_begins_and_ends() {
        let table = [
            ("<html><body>^text$</body></html>", "the usual"),
            ("<HTML><BODY\nonload='a > b' class=\"x>y\" id=z/>^text$</BODY ></HTML>", "quoted attributes"),
            ("^text$", "no tags"),
            ("<p>text</p>", ""),
            ("<!DOCTYPE html>\n<html lang=de>^text$</html>", "no body"),
            ("<html><head><title></body></title></head>^text$", "only a head"),
            ("<!doctype html>^text$", "only a doctype"),
            ("<body>^a <!-- </body> --> b$</body>", "in a comment"),
            ("<body>^a <!--> b$</body> <!-- --!>", "comments closed at once and wrongly"),
            ("<body>^<script>'</body>'</script><style></body></style>b$</body>", "in a script"),
            ("<body>^text $<!-- </body>", "a comment that is not closed"),
            ("<body>^text $<script>x", "a script that is not closed"),
            ("<body>^text</body><p>quoted</p>$</body></html>", "the last end counts"),
            ("<body>^one<body>two", ""),
            ("<body>^1 < 2 <3 </ x$", "no tags at all"),
            ("<body>^text $<a href=\"x", "a tag that is not closed"),
            ("\u{feff}^text$", "a mark of the byte order"),
            ("^$<plaintext></body>", ""),
        ];
        for (marked, what) in table {
            let page = marked.replace(['^', '$'], "");
            let (top, bottom) = ends(page.as_bytes());
            let top_mark = marked.find('^');
            if let Some(expected) = top_mark {
                assert_eq!(top, expected, "{marked} {what}");
            }
            if let Some(expected) = marked.find('$') {
                assert_eq!(bottom, expected - usize::from(top_mark.is_some()), "{marked} {what}");
            }
            if !marked.contains('$') {
                assert_eq!(bottom, page.len(), "{marked}");
            }
        }
    }

    #[test]
    fn text_as_html() {
        assert_eq!(of_text("a < b\n\"ü\" & c\n"), "<p>a &lt; b<br>\n\"ü\" &amp; c</p>");
        assert_eq!(in_ascii("<b>ü€\u{1f600}</b>"), "<b>&#252;&#8364;&#128512;</b>");
    }
}
