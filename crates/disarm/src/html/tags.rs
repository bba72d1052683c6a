//! Tags, read at whatever `<` they may begin with.
//!
//! Where a tag begins depends on the reader: on what it takes for a comment, for the content of a style or a title, for
//! an attribute that was left open. So a tag is read from every `<` that could begin one; what a reader takes for a tag is
//! among them. Within a tag, this reads as the HTML standard says (13.2.5), and what older readers passed over (zeros,
//! quotes and control characters in names) is passed over when names are compared.

use std::ops::Range;

/// A tag, or what some reader may take for one.
#[derive(Debug)]
pub(super) struct Tag<'a> {
    /// All of it, from the `<` behind the `>`.
    pub(super) range: Range<usize>,
    /// `</name>`.
    pub(super) closing: bool,
    /// `<name/>`: empty in XHTML and in pictures.
    pub(super) empty: bool,
    /// The name in lower case, with its prefix.
    pub(super) name: String,
    /// Its attributes, as often as they stand there.
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// An attribute of a tag.
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    /// Name and value, with quotes.
    pub(super) range: Range<usize>,
    /// The value with its quotes.
    pub(super) value_range: Range<usize>,
    /// Its name in lower case.
    pub(super) name: String,
    /// The value as it stands, without quotes.
    pub(super) raw: &'a [u8],
}

impl Tag<'_> {
    /// The name without a prefix.
    pub(super) fn local(&self) -> &str {
        local(&self.name)
    }

    /// The decoded value of the first attribute of that name.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let found = self.attributes.iter().find(|attribute| attribute.name == name)?;
        Some(super::values::decoded(found.raw))
    }
}

impl Attribute<'_> {
    /// The name without a prefix.
    pub(super) fn local(&self) -> &str {
        local(&self.name)
    }
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// Attributes of one tag that are looked at. More than this is no page that anybody wrote.
const MOST: usize = 4096;

/// The tag that the `<` at `start` begins; None if it begins none, Err if it has more attributes than any page.
pub(super) fn read(page: &[u8], start: usize) -> Result<Option<Tag<'_>>, ()> {
    let mut at = skip(page, start + 1, |byte| byte == 0);
    let closing = page.get(at) == Some(&b'/');
    if closing {
        at = skip(page, at + 1, |byte| byte == 0);
    }
    if !page.get(at).is_some_and(u8::is_ascii_alphabetic) {
        return Ok(None);
    }
    let end = skip(page, at, |byte| {
        byte.is_ascii_alphanumeric() || b":_-.".contains(&byte) || is_passed_over(byte) || byte >= 0x80
    });
    let name = name_of(&page[at..end]);
    // The standard ends a name with space only; other readers, with what can be in none.
    let whole = skip(page, end, |byte| !is_space(byte) && !b"/>".contains(&byte));
    let mut attributes = Vec::new();
    let (after, empty) = read_attributes(page, whole, &mut attributes)?;
    if whole != end {
        read_attributes(page, end, &mut attributes)?;
    }
    Ok(Some(Tag { range: start..after, closing, empty, name, attributes }))
}

/// Reads attributes to the end of the tag: where that is, and whether a slash stands before it.
fn read_attributes<'a>(
    page: &'a [u8],
    from: usize,
    attributes: &mut Vec<Attribute<'a>>,
) -> Result<(usize, bool), ()> {
    let mut inner = from;
    loop {
        let at = skip(page, inner, |byte| is_space(byte) || byte == b'/');
        match page.get(at) {
            None => return Ok((page.len(), false)),
            Some(b'>') => return Ok((at + 1, at > inner && page[at - 1] == b'/')),
            Some(_) if attributes.len() >= MOST => return Err(()),
            Some(_) => {
                let attribute = attribute(page, at);
                inner = attribute.range.end;
                attributes.push(attribute);
            }
        }
    }
}

/// The attribute whose name begins here.
fn attribute(page: &[u8], start: usize) -> Attribute<'_> {
    // An equals sign at the beginning belongs to the name.
    let name_end = skip(page, start + 1, |byte| !is_space(byte) && !b"/>=".contains(&byte));
    let name = name_of(&page[start..name_end]);
    let none = |end| Attribute { range: start..end, value_range: end..end, name: name.clone(), raw: &[] };
    let equals = skip(page, name_end, is_space);
    if page.get(equals) != Some(&b'=') {
        return none(name_end);
    }
    let at = skip(page, equals + 1, is_space);
    let (raw, end) = match page.get(at) {
        None | Some(b'>') => return none(at.min(page.len())),
        Some(quote @ (b'"' | b'\'')) => match memchr::memchr(*quote, &page[at + 1..]) {
            Some(length) => (at + 1..at + 1 + length, at + length + 2),
            // A quote that is never closed is none for lenient readers, and the end of all for the others.
            None => {
                let end = skip(page, at, |byte| !is_space(byte) && byte != b'>');
                (at + 1..end, end)
            }
        },
        Some(_) => {
            let end = skip(page, at, |byte| !is_space(byte) && byte != b'>');
            (at..end, end)
        }
    };
    Attribute { range: start..end, value_range: at..end, name, raw: &page[raw] }
}

/// A name as it is compared: without what some reader passes over.
fn name_of(raw: &[u8]) -> String {
    let kept = raw.iter().filter(|byte| !is_passed_over(**byte));
    let text: Vec<u8> = kept.map(u8::to_ascii_lowercase).collect();
    let text = String::from_utf8_lossy(&text);
    text.trim_start_matches(|c: char| c.is_ascii_punctuation() && c != '_').to_owned()
}

fn is_passed_over(byte: u8) -> bool {
    byte.is_ascii_control() && !is_space(byte)
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The first place from `at` on whose byte is none of those.
fn skip(page: &[u8], at: usize, passes: impl Fn(u8) -> bool) -> usize {
    let rest = page.get(at..).unwrap_or_default();
    at.min(page.len()) + rest.iter().position(|byte| !passes(*byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(page: &str) -> String {
        let Ok(Some(tag)) = read(page.as_bytes(), 0) else { return "-".to_owned() };
        let mut out = format!("{}{}", if tag.closing { "/" } else { "" }, tag.name);
        for attribute in &tag.attributes {
            out += &format!(" {}={}", attribute.name, String::from_utf8_lossy(attribute.raw));
        }
        out + if tag.empty { " /" } else { "" } + &format!(" {}", tag.range.end)
    }

    #[test]
    fn tags_as_readers_take_them() {
        for (page, expected) in [
            ("<a>", "a 3"),
            ("</A >", "/a 5"),
            ("< a>", "-"),
            ("<!a>", "-"),
            ("<\0s\0cript>", "script 10"),
            ("<a b='c>d' e=\"f\"g=h/ i>j", "a b=c>d e=f g=h/ i= 23"),
            ("<a/b=c/>", "a b=c/ 8"),
            ("<a b/>", "a b= / 6"),
            ("<a =b=c>", "a b=c 8"),
            ("<a\"onx=c>", "a onx=c 9"),
            ("<a b = 'c' o\0nx\n=\nd>", "a b=c onx=d 20"),
            ("<svg:script", "svg:script 11"),
            ("<a b=\"c onx=d>e", "a b=c onx=d 14"),
            ("<a b=>c", "a b= 6"),
            ("<a b=", "a b= 5"),
            // Two readings.
            ("<ab=c= d=e>", "ab d=e c=d=e 11"),
        ] {
            assert_eq!(shown(page), expected, "{page:?}");
        }
        assert!(read(("<a".to_owned() + &" b".repeat(5000)).as_bytes(), 0).is_err());
    }
}
