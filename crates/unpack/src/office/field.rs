//! Fields of Word documents (ECMA-376 part 1, 17.16): instructions that are carried out when the document is opened or
//! refreshed. Some start programs, some fetch from elsewhere, some are links.

use gatepost_mail::FeatureKind;

use crate::opening::Opening;

/// The longest instruction that is kept, in bytes.
pub(crate) const LONGEST: usize = 8192;

/// Notes what an instruction does.
pub(crate) fn instruction(opening: &mut Opening, text: &str) {
    let text = text.trim();
    let word: String = text.chars().take_while(char::is_ascii_alphabetic).collect();
    match word.to_ascii_uppercase().as_str() {
        "DDE" | "DDEAUTO" => opening.feature(FeatureKind::Dde, plain(text)),
        "INCLUDEPICTURE" | "INCLUDETEXT" | "INCLUDE" | "IMPORT" | "LINK" | "RD" | "DATABASE" => {
            for argument in arguments(&text[word.len()..]) {
                super::elsewhere(opening, &word, &argument);
            }
        }
        "HYPERLINK" => {
            if let Some(target) = arguments(&text[word.len()..]).into_iter().next() {
                super::hyperlink(opening, &target);
            }
        }
        _ => {}
    }
}

/// An instruction whose `QUOTE 68 69` is read as the characters it stands for.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quoting = false;
    for word in text.split_whitespace() {
        let bare = word.trim_matches(['"', '{', '}', '\u{13}', '\u{15}']);
        if bare.eq_ignore_ascii_case("quote") {
            quoting = true;
        } else if let (true, Some(c)) = (quoting, bare.parse().ok().and_then(char::from_u32)) {
            out.push(c);
        } else {
            quoting = false;
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
    out
}

/// Words and quoted texts, without switches. In quotes a backslash stands twice.
fn arguments(text: &str) -> Vec<String> {
    const MOST: usize = 8;
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && found.len() < MOST {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\u{201c}' | '\u{201d}'));
        let (word, behind) = match quote {
            Some(quote) => {
                let inner = &rest[quote.len_utf8()..];
                let end = inner.find(['"', '\u{201c}', '\u{201d}']).unwrap_or(inner.len());
                let behind = inner[end..].chars().next().map_or("", |close| &inner[end + close.len_utf8()..]);
                (inner[..end].replace("\\\\", "\\"), behind)
            }
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if quote.is_some() || !word.starts_with('\\') || word.starts_with("\\\\") {
            found.push(word);
        }
        rest = behind.trim_start();
    }
    found
}

/// Instructions put together from pieces, with fields in fields.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    open: Vec<(String, bool)>,
}

impl Fields {
    /// A field begins.
    pub(crate) fn begin(&mut self) {
        /// Deeper ones are read as part of the field they stand in.
        const DEEPEST: usize = 32;
        if self.open.len() < DEEPEST {
            self.open.push((String::new(), true));
        }
    }

    /// Text that may be an instruction's. That of an inner field is the outer one's too, as part of its instruction.
    pub(crate) fn text(&mut self, text: &str) {
        for (instruction, open) in &mut self.open {
            if *open && instruction.len() + text.len() <= LONGEST {
                instruction.push_str(text);
            }
        }
    }

    /// The instruction ends, its result follows.
    pub(crate) fn separate(&mut self) {
        if let Some((_, open)) = self.open.last_mut() {
            *open = false;
        }
    }

    /// The field ends; its instruction.
    pub(crate) fn end(&mut self) -> Option<String> {
        self.open.pop().map(|(instruction, _)| instruction)
    }

    /// Whether text is inside of an instruction.
    pub(crate) fn is_open(&self) -> bool {
        self.open.iter().any(|(_, open)| *open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_fields() {
        let table: &[(&str, &[&str])] = &[
            (" \"http://a/b c\" \\* MERGEFORMAT", &["http://a/b c", "MERGEFORMAT"]),
            (" \\\\host\\share x", &["\\\\host\\share", "x"]),
            (" \"\\\\\\\\host\\\\share\"", &["\\\\host\\share"]),
            (" \u{201c}a\u{201d} \\d", &["a"]),
            ("\"open", &["open"]),
            ("", &[]),
        ];
        for (text, found) in table {
            assert_eq!(arguments(text), *found, "{text}");
        }
    }

    #[test]
    fn quoted_characters_are_read() {
        assert_eq!(plain("DDE { QUOTE 99 109 100 } x"), "DDEcmd } x".replace("DDEcmd }", "DDE {cmd }"));
        assert_eq!(plain("DDEAUTO c:\\\\x.exe \"/k calc\""), "DDEAUTO c:\\\\x.exe \"/k calc\"");
    }

    #[test]
    fn fields_in_fields() {
        let mut fields = Fields::default();
        fields.begin();
        fields.text(" DDE");
        fields.begin();
        fields.text(" QUOTE 65");
        assert_eq!(fields.end().as_deref(), Some(" QUOTE 65"));
        fields.separate();
        assert!(!fields.is_open());
        fields.text("result");
        assert_eq!(fields.end().as_deref(), Some(" DDE QUOTE 65"));
        assert_eq!(fields.end(), None);
    }
}
