//! Text from mail made fit for a log line or a terminal.

/// `text` on one line, at most `max` characters: control characters, line separators and invisible characters that
/// reorder text (bidirectional overrides) are written as escapes; what is cut is marked by `…`.
pub fn clean(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max * 4));
    for (count, c) in text.chars().enumerate() {
        if count == max {
            out.push('…');
            break;
        }
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unsafe(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, and format characters that change how their neighbours are shown (Unicode TR 36).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn shown_on_one_harmless_line() {
        for (text, max, shown) in [
            ("plain", 10, "plain"),
            ("a\r\nb\tc", 10, r"a\r\nb\tc"),
            ("\u{1b}[31mred\0", 20, r"\u{1b}[31mred\u{0}"),
            ("exe\u{202e}fdp", 20, r"exe\u{202e}fdp"),
            ("Grüße, 東京", 20, "Grüße, 東京"),
            ("abcdef", 3, "abc…"),
            ("abc", 3, "abc"),
        ] {
            assert_eq!(clean(text, max), shown);
        }
    }
}
