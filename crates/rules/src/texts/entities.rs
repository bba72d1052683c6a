//! Characters that are named in HTML: the names of HTML 4 (section 24), which are those that HTML::Parser knows, and numbers.

use super::charset::is_utf8;
use super::perl::{push_char, widen};
use super::render::Mode;

/// These stand with or without a semicolon.
#[rustfmt::skip]
const BARE: [(&str, char); 101] = [
    ("AElig", '\u{c6}'), ("Aacute", '\u{c1}'), ("Acirc", '\u{c2}'), ("Agrave", '\u{c0}'), ("Aring", '\u{c5}'),
    ("Atilde", '\u{c3}'), ("Auml", '\u{c4}'), ("Ccedil", '\u{c7}'), ("ETH", '\u{d0}'), ("Eacute", '\u{c9}'),
    ("Ecirc", '\u{ca}'), ("Egrave", '\u{c8}'), ("Euml", '\u{cb}'), ("Iacute", '\u{cd}'), ("Icirc", '\u{ce}'),
    ("Igrave", '\u{cc}'), ("Iuml", '\u{cf}'), ("Ntilde", '\u{d1}'), ("Oacute", '\u{d3}'), ("Ocirc", '\u{d4}'),
    ("Ograve", '\u{d2}'), ("Oslash", '\u{d8}'), ("Otilde", '\u{d5}'), ("Ouml", '\u{d6}'), ("THORN", '\u{de}'),
    ("Uacute", '\u{da}'), ("Ucirc", '\u{db}'), ("Ugrave", '\u{d9}'), ("Uuml", '\u{dc}'), ("Yacute", '\u{dd}'),
    ("aacute", '\u{e1}'), ("acirc", '\u{e2}'), ("acute", '\u{b4}'), ("aelig", '\u{e6}'), ("agrave", '\u{e0}'),
    ("amp", '\u{26}'), ("apos", '\u{27}'), ("aring", '\u{e5}'), ("atilde", '\u{e3}'), ("auml", '\u{e4}'),
    ("brvbar", '\u{a6}'), ("ccedil", '\u{e7}'), ("cedil", '\u{b8}'), ("cent", '\u{a2}'), ("copy", '\u{a9}'),
    ("curren", '\u{a4}'), ("deg", '\u{b0}'), ("divide", '\u{f7}'), ("eacute", '\u{e9}'), ("ecirc", '\u{ea}'),
    ("egrave", '\u{e8}'), ("eth", '\u{f0}'), ("euml", '\u{eb}'), ("frac12", '\u{bd}'), ("frac14", '\u{bc}'),
    ("frac34", '\u{be}'), ("gt", '\u{3e}'), ("iacute", '\u{ed}'), ("icirc", '\u{ee}'), ("iexcl", '\u{a1}'),
    ("igrave", '\u{ec}'), ("iquest", '\u{bf}'), ("iuml", '\u{ef}'), ("laquo", '\u{ab}'), ("lt", '\u{3c}'),
    ("macr", '\u{af}'), ("micro", '\u{b5}'), ("middot", '\u{b7}'), ("nbsp", '\u{a0}'), ("not", '\u{ac}'),
    ("ntilde", '\u{f1}'), ("oacute", '\u{f3}'), ("ocirc", '\u{f4}'), ("ograve", '\u{f2}'), ("ordf", '\u{aa}'),
    ("ordm", '\u{ba}'), ("oslash", '\u{f8}'), ("otilde", '\u{f5}'), ("ouml", '\u{f6}'), ("para", '\u{b6}'),
    ("plusmn", '\u{b1}'), ("pound", '\u{a3}'), ("quot", '\u{22}'), ("raquo", '\u{bb}'), ("reg", '\u{ae}'),
    ("sect", '\u{a7}'), ("shy", '\u{ad}'), ("sup1", '\u{b9}'), ("sup2", '\u{b2}'), ("sup3", '\u{b3}'),
    ("szlig", '\u{df}'), ("thorn", '\u{fe}'), ("times", '\u{d7}'), ("uacute", '\u{fa}'), ("ucirc", '\u{fb}'),
    ("ugrave", '\u{f9}'), ("uml", '\u{a8}'), ("uuml", '\u{fc}'), ("yacute", '\u{fd}'), ("yen", '\u{a5}'),
    ("yuml", '\u{ff}'),
];

/// These only with it.
#[rustfmt::skip]
const CLOSED: [(&str, char); 152] = [
    ("Alpha", '\u{391}'), ("Beta", '\u{392}'), ("Chi", '\u{3a7}'), ("Dagger", '\u{2021}'), ("Delta", '\u{394}'),
    ("Epsilon", '\u{395}'), ("Eta", '\u{397}'), ("Gamma", '\u{393}'), ("Iota", '\u{399}'), ("Kappa", '\u{39a}'),
    ("Lambda", '\u{39b}'), ("Mu", '\u{39c}'), ("Nu", '\u{39d}'), ("OElig", '\u{152}'), ("Omega", '\u{3a9}'),
    ("Omicron", '\u{39f}'), ("Phi", '\u{3a6}'), ("Pi", '\u{3a0}'), ("Prime", '\u{2033}'), ("Psi", '\u{3a8}'),
    ("Rho", '\u{3a1}'), ("Scaron", '\u{160}'), ("Sigma", '\u{3a3}'), ("Tau", '\u{3a4}'), ("Theta", '\u{398}'),
    ("Upsilon", '\u{3a5}'), ("Xi", '\u{39e}'), ("Yuml", '\u{178}'), ("Zeta", '\u{396}'), ("alefsym", '\u{2135}'),
    ("alpha", '\u{3b1}'), ("and", '\u{2227}'), ("ang", '\u{2220}'), ("asymp", '\u{2248}'), ("bdquo", '\u{201e}'),
    ("beta", '\u{3b2}'), ("bull", '\u{2022}'), ("cap", '\u{2229}'), ("chi", '\u{3c7}'), ("circ", '\u{2c6}'),
    ("clubs", '\u{2663}'), ("cong", '\u{2245}'), ("crarr", '\u{21b5}'), ("cup", '\u{222a}'), ("dArr", '\u{21d3}'),
    ("dagger", '\u{2020}'), ("darr", '\u{2193}'), ("delta", '\u{3b4}'), ("diams", '\u{2666}'), ("empty", '\u{2205}'),
    ("emsp", '\u{2003}'), ("ensp", '\u{2002}'), ("epsilon", '\u{3b5}'), ("equiv", '\u{2261}'), ("eta", '\u{3b7}'),
    ("euro", '\u{20ac}'), ("exist", '\u{2203}'), ("fnof", '\u{192}'), ("forall", '\u{2200}'), ("frasl", '\u{2044}'),
    ("gamma", '\u{3b3}'), ("ge", '\u{2265}'), ("hArr", '\u{21d4}'), ("harr", '\u{2194}'), ("hearts", '\u{2665}'),
    ("hellip", '\u{2026}'), ("image", '\u{2111}'), ("infin", '\u{221e}'), ("int", '\u{222b}'), ("iota", '\u{3b9}'),
    ("isin", '\u{2208}'), ("kappa", '\u{3ba}'), ("lArr", '\u{21d0}'), ("lambda", '\u{3bb}'), ("lang", '\u{2329}'),
    ("larr", '\u{2190}'), ("lceil", '\u{2308}'), ("ldquo", '\u{201c}'), ("le", '\u{2264}'), ("lfloor", '\u{230a}'),
    ("lowast", '\u{2217}'), ("loz", '\u{25ca}'), ("lrm", '\u{200e}'), ("lsaquo", '\u{2039}'), ("lsquo", '\u{2018}'),
    ("mdash", '\u{2014}'), ("minus", '\u{2212}'), ("mu", '\u{3bc}'), ("nabla", '\u{2207}'), ("ndash", '\u{2013}'),
    ("ne", '\u{2260}'), ("ni", '\u{220b}'), ("notin", '\u{2209}'), ("nsub", '\u{2284}'), ("nu", '\u{3bd}'),
    ("oelig", '\u{153}'), ("oline", '\u{203e}'), ("omega", '\u{3c9}'), ("omicron", '\u{3bf}'), ("oplus", '\u{2295}'),
    ("or", '\u{2228}'), ("otimes", '\u{2297}'), ("part", '\u{2202}'), ("permil", '\u{2030}'), ("perp", '\u{22a5}'),
    ("phi", '\u{3c6}'), ("pi", '\u{3c0}'), ("piv", '\u{3d6}'), ("prime", '\u{2032}'), ("prod", '\u{220f}'),
    ("prop", '\u{221d}'), ("psi", '\u{3c8}'), ("rArr", '\u{21d2}'), ("radic", '\u{221a}'), ("rang", '\u{232a}'),
    ("rarr", '\u{2192}'), ("rceil", '\u{2309}'), ("rdquo", '\u{201d}'), ("real", '\u{211c}'), ("rfloor", '\u{230b}'),
    ("rho", '\u{3c1}'), ("rlm", '\u{200f}'), ("rsaquo", '\u{203a}'), ("rsquo", '\u{2019}'), ("sbquo", '\u{201a}'),
    ("scaron", '\u{161}'), ("sdot", '\u{22c5}'), ("sigma", '\u{3c3}'), ("sigmaf", '\u{3c2}'), ("sim", '\u{223c}'),
    ("spades", '\u{2660}'), ("sub", '\u{2282}'), ("sube", '\u{2286}'), ("sum", '\u{2211}'), ("sup", '\u{2283}'),
    ("supe", '\u{2287}'), ("tau", '\u{3c4}'), ("there4", '\u{2234}'), ("theta", '\u{3b8}'), ("thetasym", '\u{3d1}'),
    ("thinsp", '\u{2009}'), ("tilde", '\u{2dc}'), ("trade", '\u{2122}'), ("uArr", '\u{21d1}'), ("uarr", '\u{2191}'),
    ("upsih", '\u{3d2}'), ("upsilon", '\u{3c5}'), ("weierp", '\u{2118}'), ("xi", '\u{3be}'), ("zeta", '\u{3b6}'),
    ("zwj", '\u{200d}'), ("zwnj", '\u{200c}'),
];

/// A character that a name stands for at the start of a text, and how long the name is, without a semicolon.
/// `shorter`: if it is unknown the longest known beginning counts.
pub(crate) fn named(text: &[u8], shorter: bool) -> Option<(char, usize)> {
    let length = text.iter().take_while(|byte| super::perl::is_word(**byte)).count();
    let name = &text[..length];
    if let Some(c) = look_up(&BARE, name) {
        return Some((c, length));
    }
    if text.get(length) == Some(&b';')
        && let Some(c) = look_up(&CLOSED, name)
    {
        return Some((c, length));
    }
    const LONGEST: usize = 6;
    let beginnings = (1..length.min(LONGEST + 1)).rev().filter(|_| shorter);
    beginnings.into_iter().find_map(|length| Some((look_up(&BARE, &text[..length])?, length)))
}

fn look_up(table: &[(&str, char)], name: &[u8]) -> Option<char> {
    let at = table.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).ok()?;
    Some(table[at].1)
}

/// Text with the characters that are named in it, in UTF-8, and whether it is wide. `shorter`: names that are cut count.
pub(crate) fn read(text: &[u8], mode: Mode, shorter: bool) -> (Vec<u8>, bool) {
    let upgraded;
    let text = if mode == Mode::Octets && !is_utf8(text) {
        upgraded = widen(text);
        &upgraded[..]
    } else {
        text
    };
    let mut wide = mode == Mode::Wide;
    let mut out = Vec::with_capacity(text.len());
    let mut high: u32 = 0;
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'&', rest) {
        if at > 0 {
            high = 0;
        }
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let read = match rest.first() {
            Some(b'#') => numbered(&rest[1..]).map(|(number, length)| (number, length + 1)),
            _ => {
                high = 0;
                named(rest, shorter).map(|(c, length)| (u32::from(c), length))
            }
        };
        let Some((number, length)) = read.filter(|(number, _)| !matches!(number, 0xfffe | 0xffff)) else {
            out.push(b'&');
            continue;
        };
        rest = &rest[length..];
        rest = rest.strip_prefix(b";").unwrap_or(rest);
        wide |= number > 255 && mode != Mode::Octets;
        high = push_number(&mut out, number, high);
    }
    out.extend_from_slice(rest);
    (out, wide)
}

/// The number after `&#`, and how long it is.
fn numbered(text: &[u8]) -> Option<(u32, usize)> {
    let (digits, radix, skipped) = match text {
        [b'x' | b'X', rest @ ..] => (rest, 16, 1),
        _ => (text, 10, 0),
    };
    // A NUL is a zero there.
    let digit = |byte: u8| if byte == 0 && radix == 16 { Some(0) } else { char::from(byte).to_digit(radix) };
    let length = digits.iter().take_while(|byte| digit(**byte).is_some()).count();
    let mut number: u32 = 0;
    for value in digits[..length].iter().filter_map(|byte| digit(*byte)) {
        number = number * radix + value;
        if number > 0x10_ffff {
            return None;
        }
    }
    (number > 0).then_some((number, skipped + length))
}

/// Puts a character behind; gives the first half of a pair of surrogates if it is one.
fn push_number(out: &mut Vec<u8>, number: u32, high: u32) -> u32 {
    let replacement = '\u{fffd}';
    match number {
        0xd800..=0xdbff => {
            push_char(out, replacement);
            return number;
        }
        0xdc00..=0xdfff if high != 0 => {
            out.truncate(out.len().saturating_sub(3));
            let c = char::from_u32(((high - 0xd800) << 10) + (number - 0xdc00) + 0x10000);
            push_char(out, c.unwrap_or(replacement));
        }
        0xfdd0..=0xfdef => push_char(out, replacement),
        _ if number & 0xfffe == 0xfffe => push_char(out, replacement),
        _ => push_char(out, char::from_u32(number).unwrap_or(replacement)),
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known() {
        assert!(BARE.is_sorted() && CLOSED.is_sorted());
        for (text, shorter, read) in [
            ("amp;", false, Some(('&', 3))),
            ("ampfoo", true, Some(('&', 3))),
            ("ampfoo", false, None),
            ("notin;", true, Some(('\u{2209}', 5))),
            ("notin", true, Some(('¬', 3))),
            ("euro", true, None),
            (" amp", true, None),
        ] {
            assert_eq!(named(text.as_bytes(), shorter), read, "{text}");
        }
    }
}
