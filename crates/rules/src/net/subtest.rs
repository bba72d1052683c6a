//! What an answer must be for a rule to hit.

use std::net::Ipv4Addr;

use crate::regex::{Matcher, Pattern};

/// Names of response codes (RFC 6895 section 2.3).
const CODES: [(&str, u16); 19] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("BADVERS", 16),
    ("BADSIG", 16),
    ("BADKEY", 17),
    ("BADTIME", 18),
    ("BADMODE", 19),
    ("BADNAME", 20),
    ("BADALG", 21),
    ("BADTRUNC", 22),
];

/// The number of a response code by its name.
pub fn code(name: &str) -> Option<u16> {
    CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, code)| *code)
}

/// Of DNSEval.
#[derive(Debug)]
pub(super) enum RelayTest {
    /// One of these bits is set in an address of 127.0.0.0/8.
    Bits(u64),
    /// It says exactly that.
    Exact(String),
    /// It matches.
    Pattern(Matcher),
}

impl RelayTest {
    /// Reads one. The error says what is wrong with its expression.
    pub fn parse(text: &[u8]) -> Result<RelayTest, String> {
        let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
        let parts: Vec<&[u8]> = text.split(|byte| *byte == b'.').collect();
        let plain = String::from_utf8_lossy(text).into_owned();
        match parts.len() {
            1 if digits(text) => Ok(RelayTest::Bits(plain.parse().unwrap_or(u64::MAX))),
            4 if parts.iter().all(|part| digits(part)) => Ok(RelayTest::Exact(plain)),
            _ => Pattern::plain(text, b"").and_then(|pattern| pattern.compile()).map(RelayTest::Pattern),
        }
    }
}

/// A number, a range, or a number and a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numeric {
    /// As SpamAssassin writes it: an answer that is this text fits, too.
    text: String,
    first: u64,
    /// `-` or `/`, and the other.
    second: Option<(u8, u64)>,
}

impl Numeric {
    /// Reads `16`, `0x10`, `127.0.1.2`, `127.0.1.20-127.0.1.39`, `127.0.1.0/255.255.255.0`.
    pub fn parse(text: &str) -> Option<Numeric> {
        let at = text.find(['/', '-']);
        let (first, second) = match at {
            Some(at) => (&text[..at], Some((text.as_bytes()[at], &text[at + 1..]))),
            None => (text, None),
        };
        let (first, dotted) = quantity(first)?;
        let second = match second {
            Some((sign, other)) => Some((sign, quantity(other)?.0)),
            None if dotted => Some((b'-', first)),
            None => None,
        };
        let text = match second {
            Some((sign, other)) => format!("{first}{}{other}", char::from(sign)),
            None => first.to_string(),
        };
        Some(Numeric { text, first, second })
    }

    /// Whether an answer fits.
    pub fn fits(&self, text: &str, address: Option<Ipv4Addr>) -> bool {
        if self.text == text {
            return true;
        }
        let Some(number) = address.map(|address| u64::from(address.to_bits())) else { return false };
        match self.second {
            None => number & self.first != 0 && number & 0xff00_0000 == 0x7f00_0000,
            Some((b'-', last)) => (self.first..=last).contains(&number),
            Some((_, mask)) => number & mask == self.first & mask,
        }
    }
}

/// A number; whether it is written as an address.
fn quantity(text: &str) -> Option<(u64, bool)> {
    if (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(|number| (number, false));
    }
    if let Some(hex) = text.strip_prefix("0x") {
        let fits = (1..=8).contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let length = hex.bytes().take_while(u8::is_ascii_hexdigit).count();
        return fits.then(|| (u64::from_str_radix(&hex[..length], 16).unwrap_or(0), false));
    }
    text.parse::<Ipv4Addr>().ok().map(|address| (u64::from(address.to_bits()), true))
}

/// Of AskDNS.
#[derive(Debug)]
pub(super) enum AskTest {
    /// It matches.
    Pattern(Matcher),
    /// It says exactly that.
    Text(String),
    /// The response code is one of these.
    Codes(Vec<u16>),
    /// The address fits.
    Numeric(Numeric),
}

impl AskTest {
    /// Reads `/…/i`, `"text"`, `[NXDOMAIN,2]`, or numbers. The error says what is wrong.
    pub fn parse(text: &str) -> Result<AskTest, String> {
        let inside = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
        let delimited = text.len() > 2 && (text.starts_with('/') || is_m(text));
        if delimited {
            let pattern = Pattern::literal(text.as_bytes())?;
            return pattern.compile().map(AskTest::Pattern);
        }
        if let Some(plain) = inside('"', '"').or_else(|| inside('\'', '\'')) {
            return Ok(AskTest::Text(plain.to_string()));
        }
        if let Some(codes) = inside('[', ']') {
            let number = |word: &str| code(word.trim()).or_else(|| word.trim().parse().ok());
            let codes: Option<Vec<u16>> = codes.split(',').map(number).collect();
            return codes.map(AskTest::Codes).ok_or_else(|| format!("unknown response code in {text}"));
        }
        Numeric::parse(text).map(AskTest::Numeric).ok_or_else(|| format!("{text} is no test of an answer"))
    }
}

/// `m{…}` and its like.
fn is_m(text: &str) -> bool {
    text.strip_prefix('m')
        .and_then(|rest| rest.chars().next())
        .is_some_and(|open| !open.is_alphanumeric() && open != '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit() {
        for (test, answer, fits) in [
            ("127.0.1.2", "127.0.1.2", true),
            ("127.0.1.2", "127.0.1.3", false),
            ("127.0.1.2-127.0.1.2", "127.0.1.2", true),
            ("127.0.1.2/0xffffffff", "127.0.1.2", true),
            ("127.0.1.2/127.0.1.2", "127.0.1.2", true),
            ("0/128.255.254.253", "127.0.1.2", true),
            ("2", "127.0.1.2", true),
            ("5", "127.0.1.2", false),
            ("127.0.1.3-127.0.1.19", "127.0.1.19", true),
            ("127.0.1.4-127.0.1.18", "127.0.1.19", false),
            ("255.255.255.0", "255.255.255.0", true),
            ("255.0.255.0/0xFF00FFff", "255.255.255.0", true),
            ("0x80000000", "255.255.255.0", false),
            ("0.0.0.255/0.0.0.255", "127.0.1.255", true),
            ("127.0.1.0", "127.0.1.2", false),
            ("16", "10.0.0.16", false),
        ] {
            let numeric = Numeric::parse(test).unwrap();
            assert_eq!(numeric.fits(answer, answer.parse().ok()), fits, "{test} {answer}");
        }
        for test in ["", "x", "1.2.3", "12345678901", "0x123456789", "1-", "/1", "300.1.1.1"] {
            assert_eq!(Numeric::parse(test), None, "{test}");
        }
        assert!(Numeric::parse("2").unwrap().fits("2", None), "a text that is the test");
    }

    #[test]
    fn tests_are_read() {
        assert!(matches!(RelayTest::parse(b"127.0.0.2"), Ok(RelayTest::Exact(_))));
        assert!(matches!(RelayTest::parse(b"4"), Ok(RelayTest::Bits(4))));
        assert!(matches!(RelayTest::parse(br"^127\.0\.0\.[45]$"), Ok(RelayTest::Pattern(_))));
        assert!(RelayTest::parse(b"(").is_err());
        assert!(matches!(AskTest::parse(r"/^127\./i"), Ok(AskTest::Pattern(_))));
        assert!(matches!(AskTest::parse("m{a b}"), Ok(AskTest::Pattern(_))));
        assert!(matches!(AskTest::parse("'list'"), Ok(AskTest::Text(text)) if text == "list"));
        assert!(matches!(AskTest::parse("[NXDomain, 2]"), Ok(AskTest::Codes(codes)) if codes == [3, 2]));
        assert!(matches!(AskTest::parse("0x10/0x10"), Ok(AskTest::Numeric(_))));
        for wrong in ["[NOSUCH]", "text", "/(/", ""] {
            assert!(AskTest::parse(wrong).is_err(), "{wrong}");
        }
    }
}
