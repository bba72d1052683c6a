//! Octets made characters, in SpamAssassin's order: UTF-8 first, then what is declared, then Windows-1252.

use encoding_rs::Encoding;

use super::perl::{Text, push_char, starts_with};

/// Characters of a text that is declared to be in `declared`. ASCII that is declared as such stays octets.
///
/// `insist`: the declaration counts although the text is UTF-8 (encoded words), and what cannot be read becomes U+FFFD.
pub(crate) fn normalize(text: bytes::Bytes, declared: &[u8], insist: bool) -> Text {
    let ascii = text.is_ascii();
    if ascii && (is_ascii_name(declared) || extends_ascii(declared)) {
        return Text::octets(text);
    }
    let try_utf8 = !ascii && !insist;
    if try_utf8 && is_utf8(&text) {
        return Text::chars(text);
    }
    let decoded = if !insist
        && (declared.eq_ignore_ascii_case(b"ascii") || declared.eq_ignore_ascii_case(b"us-ascii"))
    {
        None
    } else if is_utf16_name(declared) {
        match guess_utf16(&text).and_then(|encoding| strict(encoding, &text)) {
            // In a header it stays as it is.
            Some(_) if insist => return Text::octets(text),
            decoded => decoded,
        }
    } else {
        match Charset::named(declared) {
            Some(Charset::Utf8) if try_utf8 => None,
            Some(charset) => charset.decode(&text, !insist),
            None => None,
        }
    };
    match decoded {
        Some(decoded) => Text::chars(decoded),
        None if ascii => Text::octets(text),
        None => Text::chars(windows_1252(&text)),
    }
}

/// Whether it is UTF-8 as Perl wants it: no surrogates, no noncharacters.
pub(crate) fn is_utf8(text: &[u8]) -> bool {
    let Ok(read) = std::str::from_utf8(text) else {
        return false;
    };
    !text.iter().any(|byte| *byte >= 0xef) || !read.chars().any(is_noncharacter)
}

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

fn is_ascii_name(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(
        name.as_slice(),
        b"ascii"
            | b"us-ascii"
            | b"iso646-us"
            | b"ansix3.4-1986"
            | b"ansix3.4-1968"
            | b"ansi_x3.4-1986"
            | b"ansi_x3.4-1968"
            | b"ansi x3.4-1986"
            | b"ansi x3.4-1968"
    )
}

/// Names of charsets of which ASCII is a part, by SpamAssassin's list.
fn extends_ascii(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let digits = |text: &[u8], least: usize, most: usize| {
        (least..=most).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
    };
    let after = |begin: &[u8]| name.strip_prefix(begin);
    if matches!(name.as_slice(), b"utf8" | b"utf-8" | b"big5" | b"gbk") {
        return true;
    }
    if let Some(rest) = after(b"iso-8859").or(after(b"iso 8859")).or(after(b"iso8859")) {
        return rest.is_empty() || rest.strip_prefix(b"-").is_some_and(|rest| digits(rest, 1, 2));
    }
    if let Some(rest) = after(b"windows-") {
        return digits(rest, 4, 4);
    }
    if let Some(rest) = after(b"koi8-").or(after(b"euc-")) {
        return (1..=2).contains(&rest.len()) && rest.iter().all(u8::is_ascii_lowercase);
    }
    is_gb18030(&name)
}

fn is_gb18030(name: &[u8]) -> bool {
    let rest = [&b"gb18030"[..], b"gb 18030", b"gb-18030"].iter().find_map(|begin| name.strip_prefix(*begin));
    rest.is_some_and(|rest| rest.is_empty() || (rest.len() == 5 && rest.starts_with(b"-20")))
}

fn is_utf16_name(name: &[u8]) -> bool {
    [&b"utf16"[..], b"utf-16", b"utf 16"].iter().any(|begin| starts_with(name, begin))
}

/// What UTF-16 without a byte order mark most likely is.
fn guess_utf16(text: &[u8]) -> Option<&'static Encoding> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return None;
    }
    let (mut even, mut odd, mut little, mut big) = (0u64, 0u64, 0u64, 0u64);
    let nibbles = |byte: u8| u64::from(byte >> 4) + u64::from(byte & 15);
    for pair in text.chunks(2) {
        let second = pair.get(1).copied().unwrap_or(0);
        even += nibbles(pair[0]);
        odd += nibbles(second);
        little += u64::from(pair[0] == 0x20 && second == 0);
        big += u64::from(pair[0] == 0 && second == 0x20);
    }
    little += u64::from(even > odd * 4);
    big += u64::from(odd * 4 > even);
    match little.cmp(&big) {
        std::cmp::Ordering::Greater => Some(encoding_rs::UTF_16LE),
        std::cmp::Ordering::Less => Some(encoding_rs::UTF_16BE),
        std::cmp::Ordering::Equal => None,
    }
}

fn strict(encoding: &'static Encoding, text: &[u8]) -> Option<Vec<u8>> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(text)?;
    Some(text.into_owned().into_bytes())
}

/// How a text is to be read.
enum Charset {
    Utf8,
    Ascii,
    /// Octets 0x80 to 0x9f are control characters, the others as in that one.
    Controls(&'static Encoding),
    /// What stands for control characters in the web's table is not defined.
    Windows(&'static Encoding),
    /// All lead and trail octets are between 0xa1 and 0xfe.
    Euc(&'static Encoding),
    Web(&'static Encoding),
    /// ISO-2022-JP, of which nothing counts behind the first octet above 0x7f.
    Jis,
    Utf7,
}

impl Charset {
    /// By the names that Perl knows; None for others.
    fn named(name: &[u8]) -> Option<Charset> {
        // What is declared as ISO 8859-1 is Windows-1252 more often than not.
        if name.eq_ignore_ascii_case(b"iso-8859-1") || name.eq_ignore_ascii_case(b"iso8859-1") {
            return Some(Charset::Windows(encoding_rs::WINDOWS_1252));
        }
        let name: Vec<u8> = name
            .iter()
            .map(|byte| if *byte == b'_' || *byte == b' ' { b'-' } else { byte.to_ascii_lowercase() })
            .collect();
        let name = std::str::from_utf8(&name).ok()?;
        if let Some(number) =
            name.strip_prefix("iso-8859-").or(name.strip_prefix("iso8859-")).or(name.strip_prefix("iso8859"))
        {
            return Charset::iso_8859(number);
        }
        for begin in ["windows-", "cp", "ibm", "ibm-", "x-cp"] {
            if let Some(number) =
                name.strip_prefix(begin).filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
            {
                return Charset::code_page(number);
            }
        }
        let web = |label: &str| Encoding::for_label(label.as_bytes()).map(Charset::Web);
        match name {
            "utf-8" | "utf8" | "utf-8-strict" => Some(Charset::Utf8),
            "ascii" | "us-ascii" | "iso646-us" | "ansi-x3.4-1968" => Some(Charset::Ascii),
            "latin1" | "latin-1" | "iso-8859-1-windows-3.1-latin-1" => Charset::iso_8859("1"),
            "tis-620" | "tis620" => Charset::iso_8859("11"),
            "koi8-r" | "koi8-u" | "macintosh" | "x-mac-roman" | "x-mac-cyrillic" | "euc-jp" => web(name),
            "iso-2022-jp" | "iso-2022-jp-1" | "7bit-jis" => Some(Charset::Jis),
            "gb2312" | "euc-cn" | "gb-2312-80" | "hz-gb-2312" => Some(Charset::Euc(encoding_rs::GBK)),
            "gbk" => web("gbk"),
            "big5" | "big5-eten" | "big5-hkscs" => web("big5"),
            "shift-jis" | "shiftjis" | "sjis" | "x-sjis" => web("shift_jis"),
            "euc-kr" => Some(Charset::Euc(encoding_rs::EUC_KR)),
            "ks-c-5601-1987" | "uhc" => web("euc-kr"),
            "utf-7" | "utf7" => Some(Charset::Utf7),
            _ if name.contains("gb2312") || name.contains("gb-2312") => Some(Charset::Euc(encoding_rs::GBK)),
            _ if is_gb18030(name.as_bytes()) => web("gbk"),
            _ => None,
        }
    }

    fn iso_8859(number: &str) -> Option<Charset> {
        Some(match number {
            "1" => Charset::Controls(encoding_rs::WINDOWS_1252),
            "9" => Charset::Controls(encoding_rs::WINDOWS_1254),
            "11" => Charset::Controls(encoding_rs::WINDOWS_874),
            "2" | "3" | "4" | "5" | "6" | "7" | "8" | "10" | "13" | "14" | "15" | "16" => {
                Charset::Web(Encoding::for_label(format!("iso-8859-{number}").as_bytes())?)
            }
            _ => return None,
        })
    }

    fn code_page(number: &str) -> Option<Charset> {
        Some(match number {
            "874" | "1250" | "1251" | "1252" | "1253" | "1254" | "1255" | "1256" | "1257" | "1258" => {
                Charset::Windows(Encoding::for_label(format!("windows-{number}").as_bytes())?)
            }
            "866" => Charset::Web(encoding_rs::IBM866),
            "932" => Charset::Web(encoding_rs::SHIFT_JIS),
            "936" => Charset::Web(encoding_rs::GBK),
            "949" => Charset::Web(encoding_rs::EUC_KR),
            "950" => Charset::Web(encoding_rs::BIG5),
            _ => return None,
        })
    }

    /// In UTF-8. None if `strict` and something cannot be read.
    fn decode(&self, text: &[u8], strict: bool) -> Option<Vec<u8>> {
        if strict {
            return self.strict(text);
        }
        Some(match self {
            Charset::Utf8 => lossy_utf8(text),
            Charset::Ascii => {
                text.iter().flat_map(|b| if b.is_ascii() { vec![*b] } else { "\u{fffd}".into() }).collect()
            }
            Charset::Controls(encoding) => with_controls(encoding, text),
            Charset::Windows(encoding) => without_controls(encoding, text),
            Charset::Euc(encoding) | Charset::Web(encoding) => {
                encoding.decode_without_bom_handling(text).0.into_owned().into_bytes()
            }
            Charset::Jis => jis(text),
            Charset::Utf7 => utf7(text),
        })
    }

    fn strict(&self, text: &[u8]) -> Option<Vec<u8>> {
        let has_control = |utf8: &[u8]| {
            memchr::memchr_iter(0xc2, utf8).any(|at| utf8.get(at + 1).is_some_and(|b| *b < 0xa0))
        };
        match self {
            Charset::Utf8 => is_utf8(text).then(|| text.to_vec()),
            Charset::Ascii => text.is_ascii().then(|| text.to_vec()),
            Charset::Controls(encoding) => {
                let decoded = with_controls(encoding, text);
                (memchr::memmem::find(&decoded, "\u{fffd}".as_bytes()).is_none()).then_some(decoded)
            }
            Charset::Windows(encoding) => strict(encoding, text).filter(|utf8| !has_control(utf8)),
            Charset::Euc(encoding) if is_euc(text) => strict(encoding, text),
            Charset::Euc(_) => None,
            Charset::Web(encoding) => strict(encoding, text),
            Charset::Jis => Some(jis(text)),
            Charset::Utf7 => Some(utf7(text)),
        }
    }
}

/// Whether octets above 0x7f stand in pairs, each of the two above 0xa0.
fn is_euc(text: &[u8]) -> bool {
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (0..=0x7f, _) => after,
            (0xa1..=0xff, [0xa1..=0xff, after @ ..]) => after,
            _ => return false,
        };
    }
    true
}

/// Windows-1252, in which anything can be read: what is not defined becomes U+FFFD.
fn windows_1252(text: &[u8]) -> Vec<u8> {
    without_controls(encoding_rs::WINDOWS_1252, text)
}

fn without_controls(encoding: &'static Encoding, text: &[u8]) -> Vec<u8> {
    let decoded = encoding.decode_without_bom_handling(text).0;
    let mut out = Vec::with_capacity(decoded.len());
    for c in decoded.chars() {
        push_char(&mut out, if matches!(c, '\u{80}'..='\u{9f}') { '\u{fffd}' } else { c });
    }
    out
}

fn with_controls(encoding: &'static Encoding, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    for octet in text {
        match octet {
            0..=0x9f => push_char(&mut out, char::from(*octet)),
            _ => out.extend_from_slice(encoding.decode_without_bom_handling(&[*octet]).0.as_bytes()),
        }
    }
    out
}

/// UTF-8 in which each thing that isn't is one U+FFFD.
fn lossy_utf8(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let good = match std::str::from_utf8(rest) {
            Ok(_) => rest.len(),
            Err(error) => error.valid_up_to(),
        };
        out.extend_from_slice(&rest[..good]);
        rest = &rest[good..];
        let Some(first) = rest.first() else { break };
        let claimed = match first {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            0xf8..=0xfb => 5,
            0xfc..=0xfd => 6,
            _ => 1,
        };
        let follow = rest[1..].iter().take(claimed - 1).take_while(|byte| **byte & 0xc0 == 0x80).count();
        out.extend_from_slice("\u{fffd}".as_bytes());
        rest = &rest[1 + follow..];
    }
    out
}

fn jis(text: &[u8]) -> Vec<u8> {
    let end = text.iter().position(|octet| !octet.is_ascii()).unwrap_or(text.len());
    // Switches that nothing follows but another are an error elsewhere.
    let mut kept = Vec::with_capacity(end);
    let mut rest = &text[..end];
    while let Some(at) = memchr::memchr(0x1b, rest) {
        kept.extend_from_slice(&rest[..at]);
        let length = if rest[at + 1..].starts_with(b"$(") { 4 } else { 3 };
        let (switch, after) = rest[at..].split_at(length.min(rest.len() - at));
        if after.first() != Some(&0x1b) {
            kept.extend_from_slice(switch);
        }
        rest = after;
    }
    kept.extend_from_slice(rest);
    encoding_rs::ISO_2022_JP.decode_without_bom_handling(&kept).0.into_owned().into_bytes()
}

/// UTF-7 (RFC 2152); what is malformed stands as it is.
fn utf7(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(plus) = memchr::memchr(b'+', rest) {
        out.extend_from_slice(&rest[..plus]);
        rest = &rest[plus + 1..];
        let end = rest
            .iter()
            .position(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'+' | b'/'))
            .unwrap_or(rest.len());
        let (shifted, after) = rest.split_at(end);
        rest = after.strip_prefix(b"-").unwrap_or(after);
        if shifted.is_empty() {
            out.push(b'+');
            continue;
        }
        let units = super::decode::base64(shifted);
        let units = units.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        for c in char::decode_utf16(units) {
            push_char(&mut out, c.unwrap_or('\u{fffd}'));
        }
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_characters() {
        for (octets, declared, insist, read, wide) in [
            (&b"abc"[..], "us-ascii", false, "abc", false),
            (b"abc", "iso-8859-15", false, "abc", false),
            (b"abc", "nonsense", false, "abc", false),
            (b"\xe9", "us-ascii", false, "é", true),
            ("é".as_bytes(), "iso-8859-1", false, "é", true),
            ("é".as_bytes(), "iso-8859-1", true, "Ã©", true),
            (b"\x93x\x94", "iso-8859-1", false, "“x”", true),
            (b"\xc1", "windows-1251", false, "Б", true),
            (b"\xc1", "koi8-r", true, "а", true),
            (b"\x81", "utf-8", false, "\u{fffd}", true),
            (b"\xc0\x80a", "utf-8", true, "\u{fffd}a", true),
            (b"\xb0\xa1", "gb2312", false, "啊", true),
            (b"\x81\x40", "gb2312", false, "\u{fffd}@", true),
            (b"a\0 \0b\0", "utf-16", false, "a b", true),
            (b"+AOk-t+-", "utf-7", false, "ét+", true),
        ] {
            let text = normalize(bytes::Bytes::from_static(octets), declared.as_bytes(), insist);
            assert_eq!(
                (std::str::from_utf8(&text.bytes).unwrap(), text.wide),
                (read, wide),
                "{declared} {octets:?}"
            );
        }
    }
}
