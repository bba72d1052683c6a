//! The text of a part, as a reader would see it, and the links in it.

use std::borrow::Cow;
use std::collections::HashSet;

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{StartTag, Token, Tokenizer};
use linkify::{LinkFinder, LinkKind};
use memchr::memmem;

use crate::charset::{self, Charset};
use crate::{FileKind, FileType, Part};

/// Text of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// What there is to read. Of HTML it is the content without tags, scripts and styles, white space collapsed and
    /// blocks ended by `\n`.
    pub text: String,
    /// Absolute links, in the order they were found, each once: those that stand in the text, and of HTML those of
    /// its elements, entities decoded, made absolute by `<base>` where there is one.
    pub links: Vec<String>,
}

/// Bytes of a part that are looked at.
const MOST_BYTES: usize = 2 << 20;
/// Links of a part that are kept.
const MOST_LINKS: usize = 1000;
/// Longest link that is kept, in bytes; longer ones are cut.
const LONGEST_LINK: usize = 4096;

/// The text of `part` and its links; None if it is no text: a container, a picture, a program. Only the first
/// 2 MiB are looked at. The charset is the declared one; where that is missing, unknown or not true, the bytes are
/// read as UTF-8 if they are that, else as windows-1252.
pub fn of(part: &Part) -> Option<Text> {
    let declared_html = matches!(part.declared.as_str(), "text/html" | "application/xhtml+xml");
    let detected_html = part.detected.kind == FileKind::Html
        || matches!(part.detected, FileType::SVG | FileType::HTA | FileType::WSF);
    let textual =
        matches!(part.detected.kind, FileKind::Text | FileKind::Script) && part.detected != FileType::LNK;
    if part.container || !(declared_html || detected_html || textual || part.declared.starts_with("text/")) {
        return None;
    }
    let bytes = &part.body[..part.body.len().min(MOST_BYTES)];
    let is_html = declared_html || detected_html;
    let text = decode(bytes, part.charset.as_deref(), is_html);
    Some(if is_html { html(&text) } else { plain(&text) })
}

/// Plain text and the links in it: URLs with a scheme, and names that begin with `www.`.
pub fn plain(text: &str) -> Text {
    let mut links = Links::default();
    links.add_from_text(text);
    Text { text: text.to_owned(), links: links.list }
}

/// HTML as text, and its links. Linear in its length, however it is nested.
pub fn html(source: &str) -> Text {
    let mut page = Page::default();
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    for Ok(token) in Tokenizer::new_with_emitter(source, emitter) {
        match token {
            Token::StartTag(tag) => page.open(&tag),
            Token::EndTag(tag) => page.close(&tag.name),
            Token::String(text) if page.silent.is_none() => page.write(&String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
    let text = page.text.trim().to_owned();
    let mut links = page.links;
    links.add_from_text(&text);
    Text { text, links: links.list }
}

/// Text of bytes in the charset declared, or else in the one that HTML names in its head.
fn decode<'a>(bytes: &'a [u8], declared: Option<&str>, is_html: bool) -> Cow<'a, str> {
    let label = declared.map(str::to_owned).or_else(|| is_html.then(|| meta_charset(bytes)).flatten());
    match label.as_deref().and_then(Charset::of) {
        Some(charset) => charset.decode(bytes).0,
        None => charset::guess(bytes),
    }
}

/// The charset in `<meta charset=…>` or in the `content` of a `<meta http-equiv>`, in the first 1024 bytes.
fn meta_charset(bytes: &[u8]) -> Option<String> {
    let head = bytes[..bytes.len().min(1024)].to_ascii_lowercase();
    let at = memmem::find(&head, b"charset")? + b"charset".len();
    let rest = head[at..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let label = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_:.".contains(byte));
    Some(label.map(|byte| char::from(*byte)).collect())
}

/// A page being read.
#[derive(Default)]
struct Page {
    text: String,
    links: Links,
    base: Option<String>,
    /// The element whose content is not shown, up to its end tag.
    silent: Option<&'static str>,
}

/// Elements whose content is not shown.
const SILENT: [&str; 5] = ["script", "style", "noembed", "noframes", "template"];

/// Elements that begin and end a line.
const BLOCKS: [&str; 30] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "br",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "li",
    "ol",
    "option",
    "p",
    "pre",
    "table",
    "title",
    "tr",
];

impl Page {
    fn open(&mut self, tag: &StartTag<()>) {
        let name = tag.name.as_slice();
        if self.silent.is_none() && !tag.self_closing {
            self.silent = SILENT.into_iter().find(|silent| silent.as_bytes() == name);
        }
        match name {
            b"td" | b"th" => self.write(" "),
            b"ul" => self.end_line(),
            _ if is_block(name) => self.end_line(),
            _ => {}
        }
        let attribute = |name: &[u8]| {
            let value = tag.attributes.get(name)?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        match name {
            b"base" => {
                let href = attribute(b"href").map(|href| clean_link(&href)).filter(|href| has_scheme(href));
                if let Some(href) = href {
                    self.links.add(&href);
                    self.base.get_or_insert(href);
                }
            }
            b"meta" => {
                if let Some(target) = attribute(b"content").as_deref().and_then(refresh_target) {
                    self.link(target);
                }
            }
            _ => {
                const LINKING: [&[u8]; 9] = [
                    b"href",
                    b"src",
                    b"action",
                    b"formaction",
                    b"background",
                    b"data",
                    b"poster",
                    b"xlink:href",
                    b"longdesc",
                ];
                for value in LINKING.into_iter().filter_map(attribute) {
                    self.link(&value);
                }
                if let Some(alternative) = attribute(b"alt").filter(|_| name == b"img" || name == b"area") {
                    self.write(&alternative);
                }
            }
        }
    }

    fn close(&mut self, name: &[u8]) {
        if self.silent.is_some_and(|silent| silent.as_bytes() == name) {
            self.silent = None;
        }
        if is_block(name) || name == b"ul" {
            self.end_line();
        }
    }

    /// Adds text, its white space collapsed.
    fn write(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_ascii_whitespace() || c == '\u{a0}' {
                if !self.text.ends_with([' ', '\n']) {
                    self.text.push(' ');
                }
            } else {
                self.text.push(c);
            }
        }
    }

    fn end_line(&mut self) {
        if self.text.ends_with(' ') {
            self.text.pop();
        }
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// Takes the link of an element, made absolute.
    fn link(&mut self, target: &str) {
        let target = clean_link(target);
        if target.is_empty() || target.starts_with('#') {
            return;
        }
        if has_scheme(&target) {
            self.links.add(&target);
        } else if let Some(without_scheme) = target.strip_prefix("//") {
            self.links.add(&format!("http://{without_scheme}"));
        } else if starts_with_www(&target) {
            self.links.add(&format!("http://{target}"));
        } else if let Some(base) = &self.base {
            self.links.add(&against(base, &target));
        }
    }
}

fn is_block(name: &[u8]) -> bool {
    BLOCKS.iter().any(|block| block.as_bytes() == name)
}

/// The target in the content of `<meta http-equiv=refresh>`: `5; url=…`.
fn refresh_target(content: &str) -> Option<&str> {
    let (_, rest) = content.split_once([';', ','])?;
    let rest = rest.trim_start();
    let rest = rest.get(..3).filter(|start| start.eq_ignore_ascii_case("url")).map(|_| &rest[3..])?;
    Some(rest.trim_start().strip_prefix('=')?.trim().trim_matches(['"', '\'']))
}

/// A link as a browser takes it: without the tabs and line breaks in it and without space around it.
fn clean_link(link: &str) -> String {
    let kept = link.trim_matches(|c: char| c <= ' ').chars().filter(|c| !matches!(c, '\t' | '\n' | '\r'));
    kept.take(LONGEST_LINK).collect()
}

/// Whether a link is absolute (RFC 3986 section 3.1). `cid:` points into the message and counts as none.
fn has_scheme(link: &str) -> bool {
    let Some((scheme, rest)) = link.split_once(':') else { return false };
    let first = scheme.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    first
        && !rest.is_empty()
        && scheme.len() <= 32
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !["cid", "mid", "data", "about"].iter().any(|inner| scheme.eq_ignore_ascii_case(inner))
}

fn starts_with_www(link: &str) -> bool {
    link.len() > 4 && link.as_bytes()[..4].eq_ignore_ascii_case(b"www.")
}

/// A relative link put behind its base (RFC 3986 section 5.2, without taking out dot segments).
fn against(base: &str, link: &str) -> String {
    let authority = base.find("://").map_or(0, |at| at + 3);
    let path = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    if link.starts_with('/') {
        return format!("{}{link}", &base[..path]);
    }
    match base[path..].rfind('/') {
        Some(last) => format!("{}{link}", &base[..path + last + 1]),
        None => format!("{base}/{link}"),
    }
}

/// Links, each once, in order, bounded.
#[derive(Default)]
struct Links {
    list: Vec<String>,
    seen: HashSet<String>,
}

impl Links {
    fn add(&mut self, link: &str) {
        if self.list.len() < MOST_LINKS && !self.seen.contains(link) {
            self.seen.insert(link.to_owned());
            self.list.push(link.to_owned());
        }
    }

    /// Adds what looks like a link in plain text.
    fn add_from_text(&mut self, text: &str) {
        let mut finder = LinkFinder::new();
        finder.kinds(&[LinkKind::Url]);
        let mut found: Vec<(usize, String)> = finder
            .links(text)
            .take(MOST_LINKS)
            .map(|link| (link.start(), clean_link(link.as_str())))
            .collect();
        found.extend(bare_hosts(text));
        found.sort_by_key(|(at, _)| *at);
        for (_, link) in found {
            self.add(&link);
        }
    }
}

/// Names beginning with `www.` that stand without a scheme, as `http://` links.
fn bare_hosts(text: &str) -> Vec<(usize, String)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut from = 0;
    for at in memchr::memchr2_iter(b'w', b'W', bytes) {
        let preceded =
            at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || b"./@-_:=%&".contains(&bytes[at - 1]));
        if at < from || preceded || !starts_with_www(&text[at..]) || found.len() == MOST_LINKS {
            continue;
        }
        let ends =
            |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '\'' | '`' | '|');
        let rest = &text[at..];
        let run = rest.find(ends).unwrap_or(rest.len());
        from = at + run;
        let host = rest[..run].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '*']);
        if host.len() > 4 && host.as_bytes()[4].is_ascii_alphanumeric() {
            found.push((at, format!("http://{}", clean_link(host))));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, PartId};

    #[test]
    fn html_becomes_text() {
        let table: &[(&str, &str)] = &[
            ("plain", "plain"),
            ("<p>one<p>two", "one\ntwo"),
            ("a<br>b<BR/>c", "a\nb\nc"),
            ("  a \n\t b&nbsp;&nbsp;c ", "a b c"),
            ("&lt;&eacute;&#x41;&amp;", "<\u{e9}A&"),
            ("a<script>var b = '<p>';</script>c<style>d{}</style>e", "ace"),
            ("a<!-- b -->c", "ac"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c", "a b\nc"),
            ("<title>t</title>b<img alt='pic'>", "t\nbpic"),
            ("a<b>b</b>c", "abc"),
            ("a<script>never closed", "a"),
        ];
        for (source, expected) in table {
            assert_eq!(html(source).text, *expected, "{source}");
        }
    }

    #[test]
    fn links_of_html() {
        let table: &[(&str, &[&str])] = &[
            ("<a href='http://a.example/?x=1&amp;y=2'>x</a>", &["http://a.example/?x=1&y=2"]),
            ("<a href=' ht\ntp://a.example/ '>", &["http://a.example/"]),
            ("<a href=//a.example/b>", &["http://a.example/b"]),
            ("<a href=www.a.example>", &["http://www.a.example"]),
            ("<a href=#top><a href=rel><img src=cid:1><img src='data:x,y'>", &[]),
            (
                "<base href=http://a.example/b/c><a href=d><a href=/e>",
                &["http://a.example/b/c", "http://a.example/b/d", "http://a.example/e"],
            ),
            (
                "<form action=http://a.example/f><img src=http://a.example/i><iframe src=https://a.example/s>",
                &["http://a.example/f", "http://a.example/i", "https://a.example/s"],
            ),
            (
                "<area href=http://a.example/1><link href=http://a.example/2><body background=http://a.example/3>",
                &["http://a.example/1", "http://a.example/2", "http://a.example/3"],
            ),
            ("<meta http-equiv=refresh content=\"0; URL='http://a.example/'\">", &["http://a.example/"]),
            (
                "<a href=mailto:a@a.example>see http://b.example/</a>",
                &["mailto:a@a.example", "http://b.example/"],
            ),
            ("<a href=http://a.example/>http://a.example/</a>", &["http://a.example/"]),
        ];
        for (source, expected) in table {
            assert_eq!(html(source).links, *expected, "{source}");
        }
    }

    #[test]
    fn links_of_text() {
        let table: &[(&str, &[&str])] = &[
            (
                "see http://a.example/b?c, and (https://d.example).",
                &["http://a.example/b?c", "https://d.example"],
            ),
            ("www.a.example/x. WWW.B.EXAMPLE", &["http://www.a.example/x", "http://WWW.B.EXAMPLE"]),
            ("http://www.a.example and awww.b.example a@www.c.example", &["http://www.a.example"]),
            ("www. no", &[]),
            ("nothing.here", &[]),
        ];
        for (source, expected) in table {
            assert_eq!(plain(source).links, *expected, "{source}");
        }
        assert_eq!(plain(&"http://a.example/ ".repeat(5)).links.len(), 1);
        let many: String = (0..2000).map(|n| format!("http://a.example/{n} ")).collect();
        assert_eq!(plain(&many).links.len(), MOST_LINKS);
    }

    #[test]
    fn which_parts_have_text() {
        let part = |declared: &str, charset: Option<&str>, body: &'static [u8]| Part {
            declared: declared.to_owned(),
            charset: charset.map(str::to_owned),
            ..Part::new(PartId(0), 1, Origin::Mime, bytes::Bytes::from_static(body))
        };
        let text = |part: &Part| of(part).map(|text| text.text);
        assert_eq!(text(&part("text/plain", Some("koi8-r"), b"\xf2")).as_deref(), Some("\u{420}"));
        assert_eq!(text(&part("text/plain", Some("nonesuch"), b"\xe9")).as_deref(), Some("\u{e9}"));
        assert_eq!(
            text(&part("text/html", None, b"<meta charset='koi8-r'>\xf2")).as_deref(),
            Some("\u{420}")
        );
        assert_eq!(
            text(&part("text/plain", None, b"<html>shown as text or not")).as_deref(),
            Some("shown as text or not")
        );
        assert_eq!(text(&part("", None, b"from an archive")).as_deref(), Some("from an archive"));
        assert_eq!(text(&part("image/png", None, b"\x89PNG\r\n\x1a\n")), None);
        assert_eq!(text(&Part { container: true, ..part("text/plain", None, b"x") }), None);
    }
}
