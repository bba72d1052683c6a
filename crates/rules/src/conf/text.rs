//! Small things with the bytes of lines.

/// White space as Perl's `\s` on octets.
pub fn is_space(byte: &u8) -> bool {
    crate::regex::is_space(*byte)
}

/// Without white space at both ends.
pub fn trimmed(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !is_space(b)).unwrap_or(text.len());
    let end = text.iter().rposition(|b| !is_space(b)).map_or(start, |end| end + 1);
    &text[start..end]
}

/// The first word, and what follows behind the white space after it.
pub fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(is_space).unwrap_or(text.len());
    let rest = &text[end..];
    let start = rest.iter().position(|b| !is_space(b)).unwrap_or(rest.len());
    (&text[..end], &rest[start..])
}

/// The words.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// As characters: UTF-8 where it is valid, else Latin-1, as older language files are written.
pub fn characters(text: &[u8]) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => text.to_string(),
        Err(_) => text.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// Whether it is a rule's name.
pub fn is_rule_name(name: &[u8]) -> bool {
    let starts = name.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    starts && name.len() <= 128 && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

/// A number as `score` and numeric settings take it: digits, perhaps with a fraction.
pub fn number(text: &[u8], signs: &[u8], bare_point: bool) -> Option<f64> {
    let digits = match text.first() {
        Some(sign) if signs.contains(sign) => &text[1..],
        _ => text,
    };
    let whole = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let fraction = match &digits[whole..] {
        [] => true,
        [b'.', rest @ ..] => (bare_point || !rest.is_empty()) && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if whole == 0 || !fraction {
        return None;
    }
    std::str::from_utf8(text).ok()?.trim_end_matches('.').parse().ok()
}
