//! Replies of a filter in its own words, in the form that Sendmail and Postfix take.

use std::fmt;

use bytes::Bytes;

/// Longest text of a line: with code, enhanced code and CRLF it stays within the 512 octets of RFC 5321 4.5.3.1.5, and
/// with every `%` doubled within what libmilter allows (`MAXREPLYLEN`).
const TEXT_LIMIT: usize = 480;
/// Most lines; libmilter has no more (`MAXREPLIES`).
const LINES_LIMIT: usize = 32;

/// An SMTP reply of 4xx or 5xx with an enhanced code (RFC 3463) and one or more lines.
///
/// ```
/// use gatepost_milter::Refusal;
/// let refusal = Refusal::new(550, "5.7.1", "Virus found\nSee https://example.org/50%off").unwrap();
/// assert_eq!(
///     &refusal.wire()[..],
///     b"550-5.7.1 Virus found\r\n550 5.7.1 See https://example.org/50%%off\0"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: u16,
    enhanced: String,
    lines: Vec<String>,
}

impl Refusal {
    /// A refusal with the lines of `text`, which is split at LF; `None` if `code` is not of 400 to 599.
    ///
    /// An enhanced code that is malformed or of another class than `code` becomes `4.0.0` or `5.0.0`: there is always
    /// one, since Postfix takes a text that begins with a digit for a wrong one. What is not printable ASCII becomes
    /// `?`, or a space if it is a control character; lines longer than 480 octets go on in a further one, and of more
    /// than 32 lines the first 32 are kept.
    pub fn new(code: u16, enhanced: &str, text: &str) -> Option<Refusal> {
        if !(400..600).contains(&code) {
            return None;
        }
        let enhanced = match is_enhanced(enhanced, code) {
            true => enhanced.to_owned(),
            false => format!("{}.0.0", code / 100),
        };
        let mut lines: Vec<String> = text.split('\n').flat_map(|line| wrap(&harmless(line))).collect();
        lines.truncate(LINES_LIMIT);
        Some(Refusal { code, enhanced, lines })
    }

    /// 400 to 599.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// `5.7.1`.
    pub fn enhanced(&self) -> &str {
        &self.enhanced
    }

    /// The text of each line, without codes.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The data of [`crate::Response::Refuse`]: as in SMTP, but for `%` doubled, no last line break, and a NUL.
    pub fn wire(&self) -> Bytes {
        let mut out = String::new();
        for (place, line) in self.lines.iter().enumerate() {
            let last = place + 1 == self.lines.len();
            let between = if last { ' ' } else { '-' };
            let space = if line.is_empty() { "" } else { " " };
            out.push_str(&format!("{}{between}{}{space}", self.code, self.enhanced));
            // Sendmail takes the reply for a format.
            out.push_str(&line.replace('%', "%%"));
            out.push_str(if last { "\0" } else { "\r\n" });
        }
        out.into()
    }

    /// What [`Refusal::wire`] has written, or another filter; `None` if a mail server would not take it.
    pub fn parse(data: &[u8]) -> Option<Refusal> {
        let text = std::str::from_utf8(data.strip_suffix(b"\0").unwrap_or(data)).ok()?;
        let (mut code, mut enhanced, mut lines) = (0, String::new(), Vec::new());
        let mut rest = Some(text);
        while let Some(line) = rest {
            let (line, more) =
                line.split_once("\r\n").map_or((line, None), |(line, more)| (line, Some(more)));
            let digits = line.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
            let number = digits.parse().ok().filter(|code| (400..600).contains(code))?;
            let between = if more.is_some() { "-" } else { " " };
            let text = match line.get(3..) {
                Some("") if more.is_none() => "",
                behind => behind?.strip_prefix(between)?,
            };
            if lines.is_empty() {
                code = number;
            } else if code != number {
                return None;
            }
            let (word, after) = text.split_once(' ').unwrap_or((text, ""));
            let text = match is_enhanced(word, code) {
                true => {
                    enhanced = word.to_owned();
                    after
                }
                false => text,
            };
            lines.push(text.replace("%%", "%"));
            rest = more;
        }
        if lines.len() > LINES_LIMIT {
            return None;
        }
        Refusal::new(code, &enhanced, &lines.join("\n"))
    }
}

/// On one line.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.enhanced)?;
        self.lines.iter().filter(|line| !line.is_empty()).try_for_each(|line| write!(f, " {line}"))
    }
}

fn is_enhanced(word: &str, code: u16) -> bool {
    let mut numbers = word.split('.');
    let class = numbers.next() == Some(if code / 100 == 4 { "4" } else { "5" });
    let number = |number: Option<&str>| {
        number.is_some_and(|text| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
    };
    class && number(numbers.next()) && number(numbers.next()) && numbers.next().is_none()
}

fn harmless(line: &str) -> String {
    let clean = |c: char| match c {
        ' '..='~' => c,
        c if c.is_ascii() => ' ',
        _ => '?',
    };
    line.trim_end_matches('\r').chars().map(clean).collect()
}

/// Splits ASCII text at a space, if there is one, or where it becomes too long.
fn wrap(line: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = line;
    while rest.len() > TEXT_LIMIT {
        let cut = rest[..=TEXT_LIMIT].rfind(' ').filter(|&at| at > 0).unwrap_or(TEXT_LIMIT);
        lines.push(rest[..cut].to_owned());
        rest = rest[cut..].trim_start();
    }
    lines.push(rest.to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(code: u16, enhanced: &str, text: &str) -> Option<String> {
        let refusal = Refusal::new(code, enhanced, text)?;
        Some(String::from_utf8(refusal.wire().to_vec()).unwrap())
    }

    #[test]
    fn as_mail_servers_take_it() {
        for (code, enhanced, text, expected) in [
            (550, "5.7.1", "No", Some("550 5.7.1 No\0")),
            (451, "4.3.0", "Later", Some("451 4.3.0 Later\0")),
            (550, "5.7.1", "a\nb\r\nc", Some("550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1 c\0")),
            (550, "5.7.1", "100% bad %s", Some("550 5.7.1 100%% bad %%s\0")),
            // Without an enhanced code, a text of digits would be taken for one.
            (550, "", "2 viruses", Some("550 5.0.0 2 viruses\0")),
            (451, "5.7.1", "x", Some("451 4.0.0 x\0")),
            (550, "5.7", "x", Some("550 5.0.0 x\0")),
            (550, "5.7.1", "", Some("550 5.7.1\0")),
            (550, "5.7.1", "a\u{e9}\tb\0c\rd", Some("550 5.7.1 a? b c d\0")),
            (250, "2.0.0", "x", None),
            (600, "", "x", None),
            (0, "", "x", None),
        ] {
            assert_eq!(wire(code, enhanced, text).as_deref(), expected, "{code} {enhanced} {text}");
        }
    }

    #[test]
    fn long_text_goes_on_in_further_lines() {
        for text in ["word ".repeat(300), "x".repeat(1500), "%".repeat(1500), "50% ".repeat(200)] {
            let refusal = Refusal::new(550, "5.7.1", text.trim_end()).unwrap();
            let wire = String::from_utf8(refusal.wire().to_vec()).unwrap();
            assert!(wire.split("\r\n").all(|line| line.replace("%%", "%").len() <= 510), "{wire}");
            assert_eq!(refusal.lines().concat().replace(' ', ""), text.replace(' ', ""));
        }
        let many = Refusal::new(550, "5.7.1", &"line\n".repeat(100)).unwrap();
        assert_eq!(many.lines().len(), 32);
        assert!(String::from_utf8(many.wire().to_vec()).unwrap().ends_with("\r\n550 5.7.1 line\0"));
    }

    #[test]
    fn what_other_filters_write() {
        let read = |text: &str| Refusal::parse(text.as_bytes()).map(|refusal| refusal.to_string());
        for (text, expected) in [
            ("550 5.7.1 No\0", Some("550 5.7.1 No")),
            ("550 5.7.1 No", Some("550 5.7.1 No")),
            ("550 No 100%%", Some("550 5.0.0 No 100%")),
            ("550-5.7.1 a\r\n550 5.7.1 b\0", Some("550 5.7.1 a b")),
            ("451", Some("451 4.0.0")),
            ("451 ", Some("451 4.0.0")),
            ("550-5.7.1 a\0", None),
            ("550 a\r\n550 b\0", None),
            ("550-a\r\n451 b\0", None),
            ("250 OK\0", None),
            ("55 x", None),
            ("", None),
            ("+50 x", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text:?}");
        }
    }
}
