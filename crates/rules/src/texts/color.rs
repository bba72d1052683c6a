//! Colours of styles and attributes, by SpamAssassin's reading.

/// A colour: `#` and hexadecimal digits (mostly six), or that it is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Color {
    Hex(Vec<u8>),
    Transparent,
    Invalid,
}

impl Color {
    /// That of red, green and blue.
    pub(crate) fn of(rgb: u32) -> Color {
        Color::Hex(format!("{rgb:06x}").into_bytes())
    }

    /// By its name, `#rrggbb`, `#rgb`, or `rgb(1, 2, 3)`.
    pub(crate) fn parse(text: &[u8]) -> Color {
        let text = super::perl::trim(text).to_ascii_lowercase();
        if let Ok(at) = NAMES.binary_search_by(|(name, _)| name.as_bytes().cmp(&text)) {
            return Color::of(NAMES[at].1);
        }
        let hex = text.iter().all(|byte| matches!(byte, b'#' | b'0'..=b'9' | b'a'..=b'f'));
        if !hex && !is_rgb(&text) {
            return Color::Invalid;
        }
        match rgb(&text)
            .map(|parts| format!("#{:02x}{:02x}{:02x}", parts[0], parts[1], parts[2]).into_bytes())
            .unwrap_or(text)
        {
            text if text.starts_with(b"#") => Color::Hex(digits(&text)),
            _ => Color::Invalid,
        }
    }

    /// As above, but anything with `rgb` in it is three numbers, whatever else stands there.
    pub(crate) fn parse_style(text: &[u8]) -> Color {
        if memchr::memmem::find(text, b"rgb").is_none() {
            return Color::parse(text);
        }
        let kept: Vec<u8> =
            text.iter().copied().filter(|byte| byte.is_ascii_digit() || *byte == b',').collect();
        let mut parts = kept.split(|byte| *byte == b',').map(|part| number(part).min(255));
        let mut next = || parts.next().unwrap_or(0);
        Color::Hex(format!("{:02x}{:02x}{:02x}", next(), next(), next()).into_bytes())
    }

    /// The three parts, where it has six digits.
    pub(crate) fn parts(&self) -> Option<[f64; 3]> {
        let Color::Hex(digits) = self else { return None };
        let part = |at: usize| {
            u8::from_str_radix(std::str::from_utf8(digits.get(at..at + 2)?).ok()?, 16).ok().map(f64::from)
        };
        if digits.len() == 6 { Some([part(0)?, part(2)?, part(4)?]) } else { None }
    }

    /// Whether both are the same to the eye: the last six characters of how they are written.
    pub(crate) fn same(&self, other: &Color) -> bool {
        let tail = |color: &Color| match color {
            Color::Hex(digits) if digits.len() < 6 => [b"#", &digits[..]].concat(),
            Color::Hex(digits) => digits[digits.len() - 6..].to_vec(),
            Color::Transparent => b"parent".to_vec(),
            Color::Invalid => b"nvalid".to_vec(),
        };
        tail(self) == tail(other)
    }
}

/// Whether `rgb(` with numbers stands somewhere in it.
fn is_rgb(text: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(text, b"rgb(") else { return false };
    let rest = &text[at + 4..];
    let inside =
        rest.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'%' | b',' | b' ')).count();
    rest.get(inside) == Some(&b')')
}

/// The three numbers of `rgb(…)`, all or none of them in percent.
fn rgb(text: &[u8]) -> Option<[u64; 3]> {
    let at = memchr::memmem::find(text, b"rgb(")? + 4;
    let close = at + memchr::memchr(b')', &text[at..])?;
    let parts: Vec<&[u8]> =
        text[at..close].split(|byte| *byte == b',').map(|part| part.trim_ascii()).collect();
    let [first, second, third] = parts.as_slice() else { return None };
    let of =
        |part: &[u8]| part.iter().all(u8::is_ascii_digit).then(|| number(part)).filter(|_| !part.is_empty());
    let percent =
        |part: &[u8]| part.strip_suffix(b"%").and_then(of).map(|number| number.saturating_mul(255) / 100);
    let all = |read: &dyn Fn(&[u8]) -> Option<u64>| Some([read(first)?, read(second)?, read(third)?]);
    all(&of).or_else(|| all(&percent))
}

/// Six digits of what follows a `#`.
fn digits(text: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    digits.truncate(6);
    if digits.len() > 3 && digits.len() < 6 {
        digits.truncate(3);
    }
    while !digits.len().is_multiple_of(3) {
        digits.push(b'0');
    }
    if digits.len() == 3 { digits.iter().flat_map(|digit| [*digit, *digit]).collect() } else { digits }
}

fn number(text: &[u8]) -> u64 {
    text.iter()
        .fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0'))))
}

/// Names of colours: HTML 4, CSS 3.
#[rustfmt::skip]
const NAMES: [(&str, u32); 147] = [
    ("aliceblue", 0xf0f8ff), ("antiquewhite", 0xfaebd7), ("aqua", 0x00ffff), ("aquamarine", 0x7fffd4),
    ("azure", 0xf0ffff), ("beige", 0xf5f5dc), ("bisque", 0xffe4c4), ("black", 0x000000), ("blanchedalmond", 0xffebcd),
    ("blue", 0x0000ff), ("blueviolet", 0x8a2be2), ("brown", 0xa52a2a), ("burlywood", 0xdeb887),
    ("cadetblue", 0x5f9ea0), ("chartreuse", 0x7fff00), ("chocolate", 0xd2691e), ("coral", 0xff7f50),
    ("cornflowerblue", 0x6495ed), ("cornsilk", 0xfff8dc), ("crimson", 0xdc143c), ("cyan", 0x00ffff),
    ("darkblue", 0x00008b), ("darkcyan", 0x008b8b), ("darkgoldenrod", 0xb8860b), ("darkgray", 0xa9a9a9),
    ("darkgreen", 0x006400), ("darkgrey", 0xa9a9a9), ("darkkhaki", 0xbdb76b), ("darkmagenta", 0x8b008b),
    ("darkolivegreen", 0x556b2f), ("darkorange", 0xff8c00), ("darkorchid", 0x9932cc), ("darkred", 0x8b0000),
    ("darksalmon", 0xe9967a), ("darkseagreen", 0x8fbc8f), ("darkslateblue", 0x483d8b), ("darkslategray", 0x2f4f4f),
    ("darkslategrey", 0x2f4f4f), ("darkturquoise", 0x00ced1), ("darkviolet", 0x9400d3), ("deeppink", 0xff1493),
    ("deepskyblue", 0x00bfff), ("dimgray", 0x696969), ("dimgrey", 0x696969), ("dodgerblue", 0x1e90ff),
    ("firebrick", 0xb22222), ("floralwhite", 0xfffaf0), ("forestgreen", 0x228b22), ("fuchsia", 0xff00ff),
    ("gainsboro", 0xdcdcdc), ("ghostwhite", 0xf8f8ff), ("gold", 0xffd700), ("goldenrod", 0xdaa520),
    ("gray", 0x808080), ("green", 0x008000), ("greenyellow", 0xadff2f), ("grey", 0x808080), ("honeydew", 0xf0fff0),
    ("hotpink", 0xff69b4), ("indianred", 0xcd5c5c), ("indigo", 0x4b0082), ("ivory", 0xfffff0), ("khaki", 0xf0e68c),
    ("lavender", 0xe6e6fa), ("lavenderblush", 0xfff0f5), ("lawngreen", 0x7cfc00), ("lemonchiffon", 0xfffacd),
    ("lightblue", 0xadd8e6), ("lightcoral", 0xf08080), ("lightcyan", 0xe0ffff), ("lightgoldenrodyellow", 0xfafad2),
    ("lightgray", 0xd3d3d3), ("lightgreen", 0x90ee90), ("lightgrey", 0xd3d3d3), ("lightpink", 0xffb6c1),
    ("lightsalmon", 0xffa07a), ("lightseagreen", 0x20b2aa), ("lightskyblue", 0x87cefa), ("lightslategray", 0x778899),
    ("lightslategrey", 0x778899), ("lightsteelblue", 0xb0c4de), ("lightyellow", 0xffffe0), ("lime", 0x00ff00),
    ("limegreen", 0x32cd32), ("linen", 0xfaf0e6), ("magenta", 0xff00ff), ("maroon", 0x800000),
    ("mediumaquamarine", 0x66cdaa), ("mediumblue", 0x0000cd), ("mediumorchid", 0xba55d3), ("mediumpurple", 0x9370db),
    ("mediumseagreen", 0x3cb371), ("mediumslateblue", 0x7b68ee), ("mediumspringgreen", 0x00fa9a),
    ("mediumturquoise", 0x48d1cc), ("mediumvioletred", 0xc71585), ("midnightblue", 0x191970), ("mintcream", 0xf5fffa),
    ("mistyrose", 0xffe4e1), ("moccasin", 0xffe4b5), ("navajowhite", 0xffdead), ("navy", 0x000080),
    ("oldlace", 0xfdf5e6), ("olive", 0x808000), ("olivedrab", 0x6b8e23), ("orange", 0xffa500),
    ("orangered", 0xff4500), ("orchid", 0xda70d6), ("palegoldenrod", 0xeee8aa), ("palegreen", 0x98fb98),
    ("paleturquoise", 0xafeeee), ("palevioletred", 0xdb7093), ("papayawhip", 0xffefd5), ("peachpuff", 0xffdab9),
    ("peru", 0xcd853f), ("pink", 0xffc0cb), ("plum", 0xdda0dd), ("powderblue", 0xb0e0e6), ("purple", 0x800080),
    ("red", 0xff0000), ("rosybrown", 0xbc8f8f), ("royalblue", 0x4169e1), ("saddlebrown", 0x8b4513),
    ("salmon", 0xfa8072), ("sandybrown", 0xf4a460), ("seagreen", 0x2e8b57), ("seashell", 0xfff5ee),
    ("sienna", 0xa0522d), ("silver", 0xc0c0c0), ("skyblue", 0x87ceeb), ("slateblue", 0x6a5acd),
    ("slategray", 0x708090), ("slategrey", 0x708090), ("snow", 0xfffafa), ("springgreen", 0x00ff7f),
    ("steelblue", 0x4682b4), ("tan", 0xd2b48c), ("teal", 0x008080), ("thistle", 0xd8bfd8), ("tomato", 0xff6347),
    ("turquoise", 0x40e0d0), ("violet", 0xee82ee), ("wheat", 0xf5deb3), ("white", 0xffffff), ("whitesmoke", 0xf5f5f5),
    ("yellow", 0xffff00), ("yellowgreen", 0x9acd32),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read() {
        assert!(NAMES.is_sorted());
        for (text, read) in [
            (" White ", Some("ffffff")),
            ("#FFF", Some("ffffff")),
            ("#fffe", Some("ffffff")),
            ("#1234567", Some("123456")),
            ("#1", Some("110000")),
            ("#", Some("")),
            ("ffffff", None),
            ("windowtext", None),
            ("rgb(1, 2,3)", Some("010203")),
            ("rgb(100%,0%, 0%)", Some("ff0000")),
        ] {
            let expected = read.map_or(Color::Invalid, |read| Color::Hex(read.into()));
            assert_eq!(Color::parse(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(Color::parse_style(b"rgba(300, 0, 7, 0.5)"), Color::Hex(b"ff0007".into()));
    }
}
