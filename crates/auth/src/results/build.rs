//! Writing the field.

use std::fmt;

use super::{Entry, Results};

/// Columns at which a line is folded (RFC 5322 section 2.1.1), and the room the field's name takes.
const COLUMNS: usize = 76;
const NAME: usize = "ARC-Authentication-Results: ".len();

/// Longest value and longest text for people; more is cut, so that no line comes near 998 columns.
const LONGEST: usize = 320;

impl Results {
    /// The field's value, folded with CRLF and a tab, ASCII only.
    pub fn value(&self) -> String {
        self.behind(Lines::default())
    }

    /// As [`Results::value`], for `ARC-Authentication-Results` of that instance (RFC 8617 section 4.1.1).
    pub fn arc_value(&self, instance: u32) -> String {
        let mut lines = Lines::default();
        lines.word(&format!("i={instance};"));
        self.behind(lines)
    }

    fn behind(&self, mut lines: Lines) -> String {
        lines.word(&value(&self.id));
        if self.entries.is_empty() {
            lines.text.push(';');
            lines.word("none");
        }
        for entry in &self.entries {
            lines.text.push(';');
            lines.line();
            entry.write(&mut lines);
        }
        lines.text
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value())
    }
}

impl Entry {
    fn write(&self, lines: &mut Lines) {
        lines.word(&format!("{}={}", keyword(&self.method), keyword(&self.result)));
        if !self.comment.is_empty() {
            comment(&self.comment)
                .split(' ')
                .filter(|word| !word.is_empty())
                .for_each(|word| lines.word(word));
        }
        if !self.reason.is_empty() {
            lines.word(&format!("reason={}", quoted(&self.reason)));
        }
        for property in &self.properties {
            lines.word(&format!(
                "{}.{}={}",
                keyword(&property.kind),
                keyword(&property.name),
                value(&property.value)
            ));
        }
    }
}

/// Text that is folded between words.
#[derive(Default)]
struct Lines {
    text: String,
    column: usize,
}

impl Lines {
    fn word(&mut self, word: &str) {
        let fresh = self.text.is_empty() || self.text.ends_with('\t');
        if self.text.is_empty() {
            self.column = NAME;
        }
        if !fresh && self.column + 1 + word.len() > COLUMNS {
            self.line();
        } else if !fresh {
            self.text.push(' ');
            self.column += 1;
        }
        self.text.push_str(word);
        // The semicolon that may follow.
        self.column += word.len() + 1;
    }

    fn line(&mut self) {
        self.text.push_str("\r\n\t");
        self.column = 8;
    }
}

/// A keyword (RFC 5321 section 4.1.2, Keyword): what cannot stand in one becomes a hyphen.
fn keyword(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let word: String = text.chars().take(64).map(fits).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// A value: a token or an address as it stands, anything else quoted (RFC 8601 section 2.2, pvalue).
fn value(text: &str) -> String {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    // RFC 2045's token is RFC 5322's atom without these.
    let is_token = |text: &str| text.chars().all(|c| is_atom(c) && !"/?=".contains(c));
    let plain = match text.split_once('@') {
        None => is_token(text),
        Some((local, domain)) => {
            let dots = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
            dots && local.chars().all(is_atom)
                && crate::dmarc::ascii_name(domain).is_some_and(|name| name.eq_ignore_ascii_case(domain))
        }
    };
    if plain && !text.is_empty() && text.len() <= LONGEST { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().take(LONGEST) {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

/// A comment. Readers that know comments badly are not to find anything in it: what could end it, or begin something
/// else, is replaced.
fn comment(text: &str) -> String {
    let harmless = |c: char| match c {
        '(' => '[',
        ')' => ']',
        '"' => '\'',
        ';' => ',',
        '\\' => '/',
        ' '..='~' => c,
        _ => '?',
    };
    let inside: String = text.chars().take(LONGEST).map(harmless).collect();
    format!("({})", inside.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let results = Results {
            id: "gw.example".into(),
            entries: vec![
                Entry::spf("pass", "user@example.com", ""),
                Entry::dkim("fail", "example.com", "s1", "rsa-sha256", "aB/c+1=2xyz")
                    .because("body hash did not verify"),
                Entry::auth("pass", "o'neill"),
            ],
        };
        let want = "gw.example;\r\n\tspf=pass smtp.mailfrom=user@example.com;\r\n\
                    \tdkim=fail reason=\"body hash did not verify\" header.d=example.com\r\n\
                    \theader.s=s1 header.a=rsa-sha256 header.b=\"aB/c+1=2\";\r\n\
                    \tauth=pass smtp.auth=o'neill";
        assert_eq!(results.value(), want);
        assert_eq!(results.arc_value(3), format!("i=3; {want}"));
        assert_eq!(Results { id: "gw.example".into(), entries: vec![] }.value(), "gw.example; none");
    }

    /// What strangers write stays inside its value.
    #[test]
    fn hostile_values() {
        for (text, want) in [
            ("a@example.com", "a@example.com"),
            ("@example.com", "@example.com"),
            ("example.com", "example.com"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("x; dkim=pass header.d=bank.example", "\"x; dkim=pass header.d=bank.example\""),
            ("bank.example(.attack.example", "\"bank.example(.attack.example\""),
            ("bank.example'a.attack.example", "bank.example'a.attack.example"),
            ("a@bank.example'b.attack.example", "\"a@bank.example'b.attack.example\""),
            ("a\"b\\c@example.com", "\"a\\\"b\\\\c@example.com\""),
            ("a\r\nX: y", "\"a??X: y\""),
            ("a\0b", "\"a?b\""),
            ("jörg@example.com", "\"j?rg@example.com\""),
            ("2001:db8::1", "\"2001:db8::1\""),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(value(text), want, "{text:?}");
        }
        assert_eq!(comment("a) ; dkim=pass (\\\"\r\n"), "(a] , dkim=pass [/'??)");
        assert_eq!(keyword("a.b;\n"), "a-b--");
    }
}
