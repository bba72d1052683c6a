//! What the codes of simple fonts stand for: encodings, names of glyphs, and how wide those of the standard fonts are
//! (ISO 32000-1 annex D; the Adobe Glyph List; the metrics of the 14 fonts that every reader has).

use std::collections::HashMap;
use std::sync::LazyLock;

/// An encoding that fonts name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Standard,
    WinAnsi,
    MacRoman,
    Symbol,
}

impl Encoding {
    /// The one of that name.
    pub(super) fn of(name: &[u8]) -> Option<Encoding> {
        match name {
            b"StandardEncoding" => Some(Encoding::Standard),
            b"WinAnsiEncoding" | b"PDFDocEncoding" => Some(Encoding::WinAnsi),
            b"MacRomanEncoding" => Some(Encoding::MacRoman),
            _ => None,
        }
    }

    /// The character of a code.
    pub(super) fn character(self, code: u8) -> Option<char> {
        let listed = |runs: &[(u8, &str)]| {
            let (first, run) = runs.iter().rev().find(|(first, _)| *first <= code)?;
            run.chars().nth(usize::from(code - first))
        };
        let ascii = || (0x20..0x7f).contains(&code).then_some(char::from(code));
        let decoded = |encoding: &'static encoding_rs::Encoding| {
            let character = encoding.decode_without_bom_handling(&[code]).0.chars().next();
            character.filter(|character| !character.is_control())
        };
        match self {
            Encoding::Standard => match code {
                b'\'' => Some('’'),
                b'`' => Some('‘'),
                _ => ascii().or_else(|| listed(STANDARD)),
            },
            Encoding::WinAnsi => decoded(encoding_rs::WINDOWS_1252),
            Encoding::MacRoman => decoded(encoding_rs::MACINTOSH),
            Encoding::Symbol => listed(SYMBOL).or_else(ascii),
        }
    }
}

/// Runs of characters from a code on.
const STANDARD: &[(u8, &str)] = &[
    (0xa1, "¡¢£⁄¥ƒ§¤'“«‹›ﬁﬂ"),
    (0xb1, "–†‡·"),
    (0xb6, "¶•‚„”»…‰"),
    (0xbf, "¿"),
    (0xc1, "`´ˆ˜¯˘˙¨"),
    (0xca, "˚¸"),
    (0xcd, "˝˛ˇ—"),
    (0xe1, "Æ"),
    (0xe3, "ª"),
    (0xe8, "ŁØŒº"),
    (0xf1, "æ"),
    (0xf5, "ı"),
    (0xf8, "łøœß"),
];

const SYMBOL: &[(u8, &str)] = &[
    (0x20, " !∀#∃%&∋()∗+,−./"),
    (0x40, "≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_"),
    (0x61, "αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"),
    (0xa0, "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…"),
    (0xc0, "ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓"),
    (0xe0, "◊〈®©™∑"),
    (0xf1, "〉∫"),
];

/// What a glyph of that name shows, put into `out`; false for names that say nothing.
pub(super) fn named(name: &str, out: &mut String) -> bool {
    const MOST: usize = 8;
    let mut characters = name.chars();
    if let (Some(only), None) = (characters.next(), characters.next()) {
        out.push(only);
        return true;
    }
    // What stands behind a dot says which of several forms it is.
    let base = name.split('.').next().unwrap_or_default();
    let before = out.len();
    for component in base.split('_').take(MOST) {
        component_of(component, out);
    }
    if out.len() == before {
        out.extend(numbered(base));
    }
    out.len() > before
}

fn component_of(name: &str, out: &mut String) {
    if let Some(character) = GLYPHS.get(name) {
        out.push(*character);
        return;
    }
    if name.len() == 1 {
        out.push_str(name);
        return;
    }
    let hexadecimal = |digits: &str| {
        let code = u32::from_str_radix(digits, 16).ok()?;
        char::from_u32(code).filter(|character| !character.is_control())
    };
    let is_hex = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if let Some(digits) = name.strip_prefix("uni").filter(|digits| is_hex(digits)) {
        out.extend(
            digits
                .as_bytes()
                .chunks_exact(4)
                .take(8)
                .filter_map(|four| hexadecimal(str::from_utf8(four).ok()?)),
        );
    } else if let Some(digits) =
        name.strip_prefix('u').filter(|digits| is_hex(digits) && (4..=6).contains(&digits.len()))
    {
        out.extend(hexadecimal(digits));
    }
}

/// A letter with an accent that was drawn over or below it.
pub(super) fn accented(letter: char, accent: char) -> Option<char> {
    const ACCENTS: &[(char, &str)] = &[
        ('`', "grave"),
        ('´', "acute"),
        ('ˆ', "circumflex"),
        ('^', "circumflex"),
        ('˜', "tilde"),
        ('~', "tilde"),
        ('¯', "macron"),
        ('˘', "breve"),
        ('˙', "dotaccent"),
        ('¨', "dieresis"),
        ('˚', "ring"),
        ('¸', "cedilla"),
        ('˝', "hungarumlaut"),
        ('˛', "ogonek"),
        ('ˇ', "caron"),
    ];
    let (_, name) = ACCENTS.iter().find(|(known, _)| *known == accent)?;
    let letter = match letter {
        'ı' => 'i',
        'ȷ' => 'j',
        other => other,
    };
    GLYPHS.get(format!("{letter}{name}").as_str()).copied()
}

/// Names that makers of fonts give by number, such as `a65` or `C0101`: the number is the code of the character.
fn numbered(name: &str) -> Option<char> {
    let letters = name.bytes().take_while(u8::is_ascii_alphabetic).count();
    let digits =
        name.get(letters..).filter(|digits| (1..=2).contains(&letters) && (2..=4).contains(&digits.len()))?;
    let code: u8 = digits.parse().ok()?;
    Encoding::WinAnsi.character(code).filter(|character| *character > ' ')
}

static GLYPHS: LazyLock<HashMap<&'static str, char>> = LazyLock::new(|| {
    let listed = include_str!("glyphs.txt").split_ascii_whitespace();
    let pair = |item: &'static str| {
        let (name, code) = item.split_once('=')?;
        Some((name, char::from_u32(u32::from_str_radix(code, 16).ok()?)?))
    };
    listed.filter_map(pair).collect()
});

/// How wide a character is in a standard font, or one that stands for it, in thousandths of its size.
pub(super) fn width(font: &str, character: char) -> f64 {
    let is = |part: &str| font.contains(part);
    let is_bold = is("Bold") || is("Black") || is("Heavy");
    let (table, usual) = match is_bold {
        _ if is("Courier") || is("Mono") => return 600.0,
        true if is("Times") => (&TIMES_BOLD, 500),
        false if is("Times") => (&TIMES, 500),
        true => (&HELVETICA_BOLD, 556),
        false => (&HELVETICA, 556),
    };
    let place = u32::from(character).checked_sub(0x20).and_then(|place| usize::try_from(place).ok());
    f64::from(place.and_then(|place| table.get(place)).copied().unwrap_or(usual))
}

/// Of `!` to `~`, with the space before.
type Widths = [u16; 95];

#[rustfmt::skip]
const HELVETICA: Widths = [
    278, 278, 355, 556, 556, 889, 667, 222, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778,
    722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278,
    278, 278, 469, 556, 222, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

#[rustfmt::skip]
const HELVETICA_BOLD: Widths = [
    278, 333, 474, 556, 556, 889, 722, 278, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778,
    722, 278, 556, 722, 611, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333,
    278, 333, 584, 556, 278, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611,
    611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
];

#[rustfmt::skip]
const TIMES: Widths = [
    250, 333, 408, 500, 500, 833, 778, 333, 333, 333, 500, 564, 250, 333, 250, 278, 500, 500, 500, 500,
    500, 500, 500, 500, 500, 500, 278, 278, 564, 564, 564, 444, 921, 722, 667, 667, 722, 611, 556, 722,
    722, 333, 389, 722, 611, 889, 722, 722, 556, 722, 667, 556, 611, 722, 722, 944, 722, 722, 611, 333,
    278, 333, 469, 500, 333, 444, 500, 444, 500, 444, 333, 500, 500, 278, 278, 500, 278, 778, 500, 500,
    500, 500, 333, 389, 278, 500, 500, 722, 500, 500, 444, 480, 200, 480, 541,
];

#[rustfmt::skip]
const TIMES_BOLD: Widths = [
    250, 333, 555, 500, 500, 1000, 833, 333, 333, 333, 500, 570, 250, 333, 250, 278, 500, 500, 500, 500,
    500, 500, 500, 500, 500, 500, 333, 333, 570, 570, 570, 500, 930, 722, 667, 722, 722, 667, 611, 778,
    778, 389, 500, 778, 667, 944, 722, 778, 611, 778, 722, 556, 667, 722, 722, 1000, 722, 722, 667, 333,
    278, 333, 581, 500, 333, 500, 556, 444, 556, 444, 333, 500, 556, 278, 333, 556, 278, 833, 556, 500,
    556, 556, 444, 389, 333, 556, 500, 722, 500, 500, 444, 394, 220, 394, 520,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for (encoding, code, wanted) in [
            (Encoding::Standard, b'A', Some('A')),
            (Encoding::Standard, b'\'', Some('’')),
            (Encoding::Standard, 0xae, Some('ﬁ')),
            (Encoding::Standard, 0xff, None),
            (Encoding::Standard, 3, None),
            (Encoding::WinAnsi, 0x80, Some('€')),
            (Encoding::WinAnsi, 0xe9, Some('é')),
            (Encoding::WinAnsi, 0x81, None),
            (Encoding::MacRoman, 0x8e, Some('é')),
            (Encoding::Symbol, b'a', Some('α')),
            (Encoding::Symbol, b'7', Some('7')),
            (Encoding::Symbol, 0xb7, Some('•')),
        ] {
            assert_eq!(encoding.character(code), wanted, "{encoding:?} {code}");
        }
    }

    #[test]
    fn names() {
        for (name, wanted) in [
            ("A", "A"),
            ("Aacute", "Á"),
            ("afii10017", "А"),
            ("one.oldstyle", "1"),
            ("f_f_i", "ffi"),
            ("uni20AC", "€"),
            ("uni00410042", "AB"),
            ("u1F600", "😀"),
            ("a65", "A"),
            ("uniXYZ", ""),
            ("g1", ""),
            (".notdef", ""),
            ("", ""),
        ] {
            let mut out = String::new();
            assert_eq!((named(name, &mut out), out.as_str()), (!wanted.is_empty(), wanted), "{name}");
        }
    }

    #[test]
    fn widths() {
        for (font, character, wanted) in [
            ("Helvetica", 'i', 222.0),
            ("ABCDEF+Arial-BoldMT", 'i', 278.0),
            ("TimesNewRoman", 'W', 944.0),
            ("Courier-Bold", 'i', 600.0),
            ("Helvetica", '€', 556.0),
        ] {
            assert!((width(font, character) - wanted).abs() < 0.1, "{font} {character}");
        }
    }
}
