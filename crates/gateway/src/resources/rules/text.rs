//! The text of documents, as programs that ExtractText starts would print it: Open XML, OpenDocument and rich text. One pass over
//! what is unpacked already; nothing recurses.

use gatepost_mail::{FileType, Part};
use gatepost_rules::texts::Member;

/// How deep groups of rich text are followed.
const DEPTH: usize = 1000;

/// The text of a document, cut after `most` octets; None if it is none that is read here.
pub fn of(members: &[Member], part: &Part, most: usize) -> Option<String> {
    let member = |name: &str| members.iter().find(|member| member.name == name);
    if part.detected == FileType::RTF {
        return Some(rich(&part.body, most));
    }
    if member("[Content_Types].xml").is_some() {
        let mut texts: Vec<&Member> = members.iter().filter(|member| holds_text(&member.name)).collect();
        texts.sort_by_key(|member| (member.name.len(), &member.name));
        if texts.is_empty() {
            return None;
        }
        let mut out = String::new();
        texts.iter().for_each(|member| markup(&member.content, true, most, &mut out));
        return Some(out);
    }
    let is_open = member("META-INF/manifest.xml").is_some() || member("mimetype").is_some();
    let content = member("content.xml").filter(|_| is_open)?;
    let mut out = String::new();
    markup(&content.content, false, most, &mut out);
    Some(out)
}

/// Members of Open XML that a reader sees: documents, slides, cells.
fn holds_text(name: &str) -> bool {
    let slide = name.strip_prefix("ppt/slides/slide").is_some_and(|rest| !rest.contains('/'));
    name == "word/document.xml" || name == "xl/sharedStrings.xml" || slide && name.ends_with(".xml")
}

/// The text in XML: of elements `t` alone, or of all.
fn markup(xml: &[u8], marked: bool, most: usize, out: &mut String) {
    let mut rest = xml;
    let mut inside = !marked;
    while !rest.is_empty() && out.len() < most {
        let open = memchr::memchr(b'<', rest).unwrap_or(rest.len());
        if inside && open > 0 {
            entities(&String::from_utf8_lossy(&rest[..open.min(most)]), out);
        }
        rest = &rest[open..];
        let Some(close) = memchr::memchr(b'>', rest) else { break };
        let (tag, behind) = (&rest[1..close], &rest[close + 1..]);
        rest = behind;
        let (ends, tag) = match tag {
            [b'/', tag @ ..] => (true, tag),
            _ => (false, tag),
        };
        let name =
            tag.split(|octet| octet.is_ascii_whitespace() || *octet == b'/').next().unwrap_or_default();
        let local = name.rsplit(|octet| *octet == b':').next().unwrap_or(name);
        match (local, ends) {
            (b"t", _) if marked => inside = !ends && !tag.ends_with(b"/"),
            (b"p" | b"h" | b"si" | b"table-row", true) => out.push('\n'),
            (b"br" | b"line-break", false) => out.push('\n'),
            (b"tab", false) => out.push('\t'),
            (b"s", false) if !marked => out.push(' '),
            _ => {}
        }
    }
}

/// Text with its entities (XML 1.0 section 4.6) replaced.
fn entities(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((name, behind)) = rest.split_once(';').filter(|(name, _)| name.len() < 10) else {
            out.push('&');
            continue;
        };
        let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        let character = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match (name.strip_prefix("#x"), name.strip_prefix('#')) {
                (Some(digits), _) => number(digits, 16),
                (None, Some(digits)) => number(digits, 10),
                _ => None,
            },
        };
        match character {
            Some(character) => {
                out.push(character);
                rest = behind;
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
}

/// What a group of rich text is about that is not shown.
const HIDDEN: [&[u8]; 12] = [
    b"*",
    b"fonttbl",
    b"colortbl",
    b"stylesheet",
    b"info",
    b"pict",
    b"object",
    b"themedata",
    b"datastore",
    b"listtable",
    b"generator",
    b"fldinst",
];

/// The text of rich text (RTF 1.9).
fn rich(body: &[u8], most: usize) -> String {
    let mut out = String::new();
    // Whether each open group is shown, and after how many octets a character's stand-in ends.
    let mut groups: Vec<(bool, usize)> = Vec::new();
    let (mut shown, mut stand_in, mut skip) = (true, 1, 0);
    let mut at = 0;
    while at < body.len() && out.len() < most {
        let octet = body[at];
        at += 1;
        match octet {
            b'{' if groups.len() < DEPTH => groups.push((shown, stand_in)),
            b'}' => {
                (shown, stand_in) = groups.pop().unwrap_or((true, 1));
                skip = 0;
            }
            b'\\' => {
                let control = Control::read(&body[at..]);
                at += control.length;
                match control.name {
                    name if HIDDEN.contains(&name) => shown = false,
                    b"bin" => at = at.saturating_add(control.number.unwrap_or(0).max(0) as usize),
                    b"uc" => stand_in = control.number.unwrap_or(1).clamp(0, 100) as usize,
                    _ if !shown => {}
                    b"'" if skip > 0 => skip -= 1,
                    name => {
                        out.extend(character(name, control.number));
                        skip = if name == b"u" { stand_in } else { skip };
                    }
                }
            }
            b'\r' | b'\n' | b'{' => {}
            _ if skip > 0 => skip -= 1,
            _ if shown => out.push(latin(octet)),
            _ => {}
        }
    }
    out
}

/// A control word or symbol behind its backslash.
struct Control<'a> {
    name: &'a [u8],
    number: Option<i64>,
    /// With the space that ends it.
    length: usize,
}

impl Control<'_> {
    fn read(text: &[u8]) -> Control<'_> {
        let letters = text.iter().take_while(|octet| octet.is_ascii_alphabetic()).count();
        if letters == 0 {
            let hex = text.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok());
            let number = hex.and_then(|digits| i64::from_str_radix(digits, 16).ok());
            let coded = text.first() == Some(&b'\'') && number.is_some();
            return Control {
                name: &text[..text.len().min(1)],
                number: number.filter(|_| coded),
                length: if coded { 3 } else { text.len().min(1) },
            };
        }
        let sign = usize::from(text.get(letters) == Some(&b'-'));
        let digits =
            text[letters + sign..].iter().take(10).take_while(|octet| octet.is_ascii_digit()).count();
        let end = if digits > 0 { letters + sign + digits } else { letters };
        let number = std::str::from_utf8(&text[letters..end]).ok().and_then(|digits| digits.parse().ok());
        let space = usize::from(text.get(end) == Some(&b' '));
        Control { name: &text[..letters], number, length: end + space }
    }
}

/// What a control shows.
fn character(name: &[u8], number: Option<i64>) -> Option<char> {
    match name {
        b"'" => number.and_then(|code| u8::try_from(code).ok()).map(latin),
        b"u" => {
            let code = number?;
            let code = if code < 0 { code + 0x1_0000 } else { code };
            char::from_u32(u32::try_from(code).ok()?)
        }
        b"par" | b"line" | b"row" | b"sect" | b"page" => Some('\n'),
        b"tab" | b"cell" => Some('\t'),
        b"~" => Some(' '),
        b"{" => Some('{'),
        b"}" => Some('}'),
        b"\\" => Some('\\'),
        b"lquote" | b"rquote" => Some('\''),
        b"ldblquote" | b"rdblquote" => Some('"'),
        b"endash" | b"emdash" | b"_" => Some('-'),
        b"bullet" => Some('•'),
        _ => None,
    }
}

/// As Latin-1; other code pages are taken for it.
fn latin(octet: u8) -> char {
    char::from(octet)
}

#[cfg(test)]
mod tests {
    use gatepost_mail::{Origin, PartId};

    use super::*;

    fn read(members: &[(&str, &str)], body: &str) -> Option<String> {
        let member = |(name, content): &(&str, &str)| Member {
            name: (*name).into(),
            content: (*content).to_owned().into(),
            encrypted: false,
        };
        let members: Vec<Member> = members.iter().map(member).collect();
        of(&members, &Part::new(PartId(0), 1, Origin::Mime, body.to_owned().into()), 1000)
    }

    #[test]
    fn documents_in_zips() {
        let types = ("[Content_Types].xml", "<Types/>");
        for (members, expected) in [
            (
                vec![
                    types,
                    (
                        "word/document.xml",
                        "<w:p><w:r><w:t xml:space='x'>A &lt;b&#62; </w:t><w:tab/><w:t>c</w:t></w:r></w:p><w:instr>no</w:instr>",
                    ),
                ],
                Some("A <b> \tc\n"),
            ),
            (
                vec![
                    types,
                    ("ppt/slides/slide10.xml", "<a:t>ten</a:t>"),
                    ("ppt/slides/slide2.xml", "<a:p><a:t>two</a:t></a:p>"),
                ],
                Some("two\nten"),
            ),
            (vec![types, ("xl/sharedStrings.xml", "<si><t>x</t></si><si><t/></si>")], Some("x\n\n")),
            (vec![types], None),
            (
                vec![("mimetype", "x"), ("content.xml", "<text:p>a<text:s/>b<text:line-break/>c</text:p>")],
                Some("a b\nc\n"),
            ),
            (vec![("content.xml", "<p>a</p>")], None),
        ] {
            assert_eq!(read(&members, "PK").as_deref(), expected, "{members:?}");
        }
        let long = format!("<w:t>{}", "x".repeat(5000));
        assert_eq!(read(&[types, ("word/document.xml", &long)], "PK").map(|text| text.len()), Some(1000));
    }

    #[test]
    fn rich_text() {
        for (body, expected) in [
            (r"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\f0\b Pay\b0  now\par soon}", "Pay now\nsoon"),
            (r"{\rtf1{\*\x hidden}a\'e9\u8364?b\uc0\u65 c}", "aé€bAc"),
            (r"{\rtf1 \{x\}\\{\pict 0011}\bin3 abcd}", "{x}\\d"),
            (r"{\rtf1 }}}a\", "a"),
            (r"{\rtf1\bin99999999999 abc", ""),
        ] {
            assert_eq!(read(&[], body).as_deref(), Some(expected), "{body}");
        }
        rich(&b"{".repeat(100_000), 1000);
    }
}
