//! HTML without what acts by itself.
//!
//! Readers of mail differ in what they take for a tag, and those who write bad mail know it. So this does not follow one
//! reader: it looks at every tag that any of them may see ([`tags`]), whatever stands around it: in comments (Outlook reads
//! some), in styles, titles and text areas, behind quotes that are left open. What goes is taken out until nothing more
//! is found, so that the outcome holds nothing of it for any of them, and is not changed when it is read again.

mod css;
mod goes;
mod tags;
mod values;

use std::borrow::Cow;

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE};
use gatepost_mail::{Budget, Defang, Limits};

use crate::Unreadable;
use goes::{Goes, Page};

/// A page without what acts by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defanged {
    /// The page.
    pub page: Vec<u8>,
    /// Of what was to go, that which was there, in the same order. What stood within something else that went is not counted.
    pub taken: Vec<Defang>,
}

/// Takes out of a page what is named in `what`; None if there is none of it, and the page can stay as it is. Everything else
/// stays byte for byte, but for text in what only some reader takes for a tag.
///
/// - Scripts: script elements with their content, handlers of events, addresses that are scripts or pages in themselves,
///   refreshes to other pages, style that runs something, pages within attributes (`srcdoc`), entities that XML would make
///   tags of.
/// - Forms: the tags of forms and fields; the text between them stays.
/// - Frames, objects: their tags; what stands in them for those who cannot show them is then shown.
/// - Remote content: addresses of pictures, styles, media and whatever else is fetched while the page is shown, also in style.
///   What comes with the mail (`cid:`) or stands in the page (`data:`) stays; so do relative addresses, unless the page itself
///   says where they lead. A base that the mail's header gives (Content-Base, Content-Location) is not known here.
/// - Tracking pixels: of these the pictures that are one pixel large or hidden.
/// - Links: the address is taken out and written behind the text, so that nobody takes it for a link. Links within the page
///   stay.
///
/// `charset` is the one of the part's header. Bytes in an encoding that is not like ASCII are read as text and written in
/// the same encoding, if that can be done.
///
/// Errors: encodings that cannot be written, pages over a limit (a page takes up to sixteen times its size of memory), and
/// pages that are so tangled that reading them has no end. Work is bounded by 64 times the page's size.
pub fn defang_html(
    html: &[u8],
    charset: Option<&str>,
    what: &[Defang],
    limits: &Limits,
) -> Result<Option<Defanged>, Unreadable> {
    const MEMORY: u64 = 16;
    let budget = Budget::new(limits);
    budget.check_memory((html.len() as u64).saturating_mul(MEMORY))?;
    let goes = Goes::of(what);
    let (page, encoding) = text(html, charset)?;
    let Some((made, gone)) = settled(&page, goes, &budget)? else { return Ok(None) };
    let taken = what.iter().copied().filter(|one| gone.has(*one)).collect();
    if made.len() as u64 > budget.bytes_left() {
        return Err(gatepost_mail::Limit::Bytes.into());
    }
    let Some(encoding) = encoding else { return Ok(Some(Defanged { page: made, taken })) };
    let made = written(&made, encoding);
    // What stands in several character sets at once may read otherwise when it is written.
    if round(&text(&made, charset)?.0, goes, &budget)?.edits.is_empty() {
        Ok(Some(Defanged { page: made, taken }))
    } else {
        Err(Unreadable::Malformed("it reads otherwise once it is written"))
    }
}

/// Takes things out until there are none, and tells which there were; None if there were none.
fn settled(page: &[u8], goes: Goes, budget: &Budget) -> Result<Option<(Vec<u8>, Goes)>, Unreadable> {
    /// What is taken out may put together what stood around it. Nobody does this so often by accident.
    const ROUNDS: usize = 8;
    let mut now = Cow::Borrowed(page);
    let mut taken = Goes::default();
    for _ in 0..ROUNDS {
        let round = round(&now, goes, budget)?;
        if round.edits.is_empty() {
            return Ok(match now {
                Cow::Borrowed(_) => None,
                Cow::Owned(page) => Some((page, taken)),
            });
        }
        taken.add(round.taken);
        now = Cow::Owned(round.edits.apply(&now, glue));
    }
    Err(Unreadable::Malformed("tags within tags"))
}

/// What goes from this page.
fn round<'a>(bytes: &'a [u8], goes: Goes, budget: &Budget) -> Result<Page<'a>, Unreadable> {
    let mut page = Page::new(bytes, goes);
    for (count, at) in memchr::memchr_iter(b'<', bytes).enumerate() {
        if count % 1024 == 0 {
            budget.check_time()?;
        }
        page.look(at)?;
    }
    Ok(page)
}

/// What keeps apart what must not become one word: the beginning of a tag, and attributes.
fn glue(before: &[u8], after: &[u8]) -> &'static [u8] {
    let open = |byte: &u8| byte.is_ascii_alphanumeric() || b"<!?/:_-.\"'`=".contains(byte);
    let ends = |byte: &u8| b" \t\r\n/>".contains(byte);
    let sign = before.iter().rev().take(64).find(|byte| matches!(byte, b'<' | b'>'));
    let joins = before.last().is_some_and(open) && after.first().is_some_and(|byte| !ends(byte));
    if sign == Some(&b'<') && joins { b" " } else { b"" }
}

/// The page as bytes that are like ASCII, and the encoding to write it in again, if it is another.
fn text<'a>(
    html: &'a [u8],
    charset: Option<&str>,
) -> Result<(Cow<'a, [u8]>, Option<&'static Encoding>), Unreadable> {
    let named = charset.map(str::to_owned).or_else(|| meta_charset(html)).unwrap_or_default();
    let named =
        named.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).to_ascii_lowercase();
    let wide = |encoding: &'static Encoding| {
        let (text, _) = encoding.decode_with_bom_removal(html);
        Ok((Cow::Owned(text.into_owned().into_bytes()), Some(encoding)))
    };
    match Encoding::for_bom(html) {
        Some((encoding, _)) if encoding == UTF_8 => return Ok((Cow::Borrowed(html), None)),
        Some((encoding, _)) if !html.starts_with(b"\xff\xfe\0\0") => return wide(encoding),
        _ => {}
    }
    let escapes = |mark: &[u8]| memchr::memmem::find(html, mark).is_some();
    match named.as_str() {
        // Tags in UTF-16 have zeros in them; without any it is not that.
        "utf-16" | "utf16" | "utf-16le" | "utf16le" | "utf-16be" | "utf16be" | "unicode" | "ucs-2"
        | "iso-10646-ucs-2"
            if html.contains(&0) =>
        {
            wide(order(html, &named))
        }
        "iso-2022-jp" | "iso-2022-jp-1" | "iso-2022-jp-2" | "iso-2022-jp-3" | "csiso2022jp"
            if escapes(b"\x1b") =>
        {
            match ISO_2022_JP.decode_without_bom_handling(html) {
                (text, false) => Ok((Cow::Owned(text.into_owned().into_bytes()), Some(ISO_2022_JP))),
                _ => Err(Unreadable::Malformed("text that is not in its charset")),
            }
        }
        "iso-2022-kr" | "iso-2022-cn" | "iso-2022-cn-ext" | "csiso2022kr"
            if escapes(b"\x1b") || escapes(b"\x0e") =>
        {
            Err(Unreadable::Unsupported("pages in this charset"))
        }
        "hz-gb-2312" | "hz" if escapes(b"~{") => Err(Unreadable::Unsupported("pages in this charset")),
        "utf-7" | "utf7" | "unicode-1-1-utf-7" | "x-unicode-2-0-utf-7" if has_utf7(html) => {
            Err(Unreadable::Unsupported("pages in UTF-7"))
        }
        name if html.contains(&0)
            && (name.starts_with("utf-32") || name.starts_with("utf32") || name == "ucs-4") =>
        {
            Err(Unreadable::Unsupported("pages in UTF-32"))
        }
        name if is_far_from_ascii(name) => Err(Unreadable::Unsupported("pages in this charset")),
        _ => Ok((Cow::Borrowed(html), None)),
    }
}

/// Which end of UTF-16 without a mark comes first: what it says, else the side on which more of the bytes are zero.
fn order(html: &[u8], named: &str) -> &'static Encoding {
    let zeros = |skip: usize| html.iter().skip(skip).step_by(2).take(512).filter(|byte| **byte == 0).count();
    match zeros(1).cmp(&zeros(0)) {
        std::cmp::Ordering::Greater => UTF_16LE,
        std::cmp::Ordering::Less => UTF_16BE,
        _ if named.ends_with("le") => UTF_16LE,
        _ => UTF_16BE,
    }
}

/// Whether letters and signs have other codes there than in ASCII.
fn is_far_from_ascii(charset: &str) -> bool {
    const FAR: &[&str] =
        &["scsu", "bocu-1", "utf-1", "utf-ebcdic", "cp037", "cp500", "cp875", "cp1026", "cp1047", "cp424"];
    charset.contains("ebcdic")
        || charset.starts_with("ibm0")
        || charset.starts_with("ibm-0")
        || FAR.contains(&charset)
}

/// Whether something stands in base64 as UTF-7 has it (RFC 2152).
fn has_utf7(html: &[u8]) -> bool {
    memchr::memchr_iter(b'+', html)
        .any(|at| html.get(at + 1).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'/'))
}

/// The charset that the page itself names, near its beginning.
fn meta_charset(html: &[u8]) -> Option<String> {
    const NEAR: usize = 4096;
    let head = html[..html.len().min(NEAR)].to_ascii_lowercase();
    let at = memchr::memmem::find(&head, b"charset")? + b"charset".len();
    let rest = head[at..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let label = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_:.".contains(byte));
    Some(label.map(|byte| char::from(*byte)).collect())
}

/// Text in UTF-8 as that encoding has it.
fn written(page: &[u8], encoding: &'static Encoding) -> Vec<u8> {
    let text = String::from_utf8_lossy(page);
    let units = text.encode_utf16();
    if encoding == UTF_16LE {
        std::iter::once(0xfeff).chain(units).flat_map(u16::to_le_bytes).collect()
    } else if encoding == UTF_16BE {
        std::iter::once(0xfeff).chain(units).flat_map(u16::to_be_bytes).collect()
    } else {
        encoding.encode(&text).0.into_owned()
    }
}

#[cfg(test)]
mod tests;
