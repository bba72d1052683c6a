//! Macros (RFC 7208 section 7).

use std::fmt::Write as _;
use std::net::IpAddr;

/// Bytes to which a text may expand. Names end at 253; beyond this it is no mistake but an attempt to keep us busy.
const EXPANSION: usize = 16 << 10;

/// A text with macros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Macro(Macro),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Macro {
    /// In lower case.
    letter: u8,
    /// Whether it stood in upper case, so that the value is escaped as in a URL.
    escape: bool,
    /// How many parts are kept, counted from the right.
    keep: Option<usize>,
    reverse: bool,
    delimiters: String,
}

/// What macros stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    /// Local part of the sender, unquoted.
    pub local: &'a str,
    /// Domain of the sender.
    pub sender_domain: &'a str,
    /// Domain whose record is evaluated.
    pub domain: &'a str,
    pub ip: IpAddr,
    /// The client's name, confirmed; `unknown` if there is none.
    pub client: &'a str,
    pub helo: &'a str,
    pub receiver: &'a str,
    /// Seconds since 1970.
    pub now: u64,
}

/// Where a text stands decides what may be in it.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Domain,
    Modifier,
    Explanation,
}

impl Template {
    /// A domain-spec: ends in a macro or in a dot and a top label (RFC 7208 section 7.1).
    pub(super) fn domain(text: &str) -> Result<Template, String> {
        if text.is_empty() {
            return Err("there is no domain".into());
        }
        let template = Template::read(text, Place::Domain)?;
        if let Some(Piece::Text(end)) = template.0.last() {
            let end = end.strip_suffix('.').unwrap_or(end);
            let label = end.rsplit_once('.').map(|(_, label)| label);
            if text.parse::<IpAddr>().is_ok() {
                return Err(format!("“{text}” is an address: ip4 and ip6 take those"));
            }
            if !label.is_some_and(is_top_label) {
                return Err(format!("“{text}” does not end in a dot and a top-level domain"));
            }
        }
        Ok(template)
    }

    /// The value of a modifier that is not known.
    pub(super) fn any(text: &str) -> Result<Template, String> {
        Template::read(text, Place::Modifier)
    }

    /// An explanation: spaces and the macros `c`, `r` and `t` are allowed.
    pub(super) fn explanation(text: &str) -> Result<Template, String> {
        Template::read(text, Place::Explanation)
    }

    fn read(text: &str, place: Place) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal(&mut pieces, &rest[..at], place)?;
            rest = &rest[at + 1..];
            let fixed = match rest.as_bytes().first() {
                Some(b'{') => {
                    let (inside, after) = rest[1..].split_once('}').ok_or("a macro has no closing brace")?;
                    pieces.push(Piece::Macro(parse(inside, place)?));
                    rest = after;
                    continue;
                }
                Some(b'%') => b'%',
                Some(b'_') => b'_',
                Some(b'-') => b'-',
                _ => return Err("“%” is not followed by “{”, “%”, “_” or “-”".into()),
            };
            pieces.push(Piece::Macro(Macro::fixed(fixed)));
            rest = &rest[1..];
        }
        literal(&mut pieces, rest, place)?;
        Ok(Template(pieces))
    }

    /// Whether the client's name is needed.
    pub(super) fn wants_client(&self) -> bool {
        self.has(b"p")
    }

    /// Whether the local part of the sender is in it.
    pub(super) fn wants_local(&self) -> bool {
        self.has(b"sl")
    }

    fn has(&self, letters: &[u8]) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Macro(m) if letters.contains(&m.letter)))
    }

    /// The text with all macros replaced; nothing, if that is longer than any use of it.
    pub(super) fn expand(&self, values: &Values<'_>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Macro(one) => one.expand(values, &mut text),
            }
            if text.len() > EXPANSION {
                return None;
            }
        }
        Some(text)
    }
}

impl Macro {
    /// `%%`, `%_` and `%-`: they have their own sign for a letter.
    fn fixed(sign: u8) -> Macro {
        Macro { letter: sign, escape: false, keep: None, reverse: false, delimiters: String::new() }
    }

    fn expand(&self, values: &Values<'_>, to: &mut String) {
        let value = match self.letter {
            b'%' => return to.push('%'),
            b'_' => return to.push(' '),
            b'-' => return to.push_str("%20"),
            b's' => format!("{}@{}", values.local, values.sender_domain),
            b'l' => values.local.to_owned(),
            b'o' => values.sender_domain.to_owned(),
            b'd' => values.domain.to_owned(),
            b'i' => dotted(values.ip),
            b'p' => values.client.to_owned(),
            b'v' => if values.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            b'h' => values.helo.to_owned(),
            b'c' => values.ip.to_string(),
            b'r' if values.receiver.is_empty() => "unknown".to_owned(),
            b'r' => values.receiver.to_owned(),
            _ => values.now.to_string(),
        };
        let value = self.transform(value);
        if self.escape { escape(&value, to) } else { to.push_str(&value) }
    }

    /// Splits at the delimiters, turns round, keeps parts on the right, joins with dots.
    fn transform(&self, value: String) -> String {
        if self.keep.is_none() && !self.reverse && self.delimiters.is_empty() {
            return value;
        }
        let delimiters = if self.delimiters.is_empty() { "." } else { &self.delimiters };
        let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
        if self.reverse {
            parts.reverse();
        }
        let from = self.keep.map_or(0, |keep| parts.len().saturating_sub(keep));
        parts[from..].join(".")
    }
}

/// Adds text that stands for itself.
fn literal(pieces: &mut Vec<Piece>, text: &str, place: Place) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_graphic() || c == ' ' && place == Place::Explanation;
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!("the character U+{:04X} is not allowed", u32::from(c)));
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(())
}

/// What stands in braces: a letter, digits, `r`, delimiters.
fn parse(inside: &str, place: Place) -> Result<Macro, String> {
    let wrong = || format!("“%{{{inside}}}” is no macro");
    let letter = *inside.as_bytes().first().ok_or_else(wrong)?;
    let lower = letter.to_ascii_lowercase();
    if !b"slodiphvcrt".contains(&lower) {
        return Err(wrong());
    }
    if b"crt".contains(&lower) && place == Place::Domain {
        return Err(format!("“%{{{inside}}}” is for explanations only"));
    }
    let rest = &inside[1..];
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (digits, rest) = rest.split_at(digits);
    let keep = match digits {
        "" => None,
        // More parts than a number can say are all of them.
        digits => Some(digits.parse().unwrap_or(usize::MAX)),
    };
    if keep == Some(0) {
        return Err(format!("“%{{{inside}}}” keeps nothing"));
    }
    let reverse = rest.starts_with(['r', 'R']);
    let delimiters = &rest[usize::from(reverse)..];
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
        return Err(wrong());
    }
    let escape = letter.is_ascii_uppercase();
    Ok(Macro { letter: lower, escape, keep, reverse, delimiters: delimiters.to_owned() })
}

/// Letters, digits and hyphens, not all of them digits, no hyphen at either end.
fn is_top_label(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && label.bytes().any(|b| !b.is_ascii_digit())
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// An address with dots: all 32 nibbles of an IPv6 one.
fn dotted(ip: IpAddr) -> String {
    let v6 = match ip {
        IpAddr::V4(v4) => return v4.to_string(),
        IpAddr::V6(v6) => v6,
    };
    let nibbles: Vec<String> =
        v6.octets().iter().map(|byte| format!("{:X}.{:X}", byte >> 4, byte & 15)).collect();
    nibbles.join(".")
}

/// Percent-encodes all but unreserved characters (RFC 3986 section 2.3).
fn escape(value: &str, to: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(to, "%{byte:02X}");
        }
    }
}
