//! What the answers of a list mean.
//!
//! An address in the list's zone is a listing only if it is an answer the list means: 127.255.255.0/24 says "I refuse
//! to answer you" and anything outside 127.0.0.0/8 comes from a resolver that lies or a zone that was given up. Both
//! are faults, never listings: else one day every mail is refused.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::config::Problem;
use crate::config::typed::Dnsbl as Settings;

/// How a list's answers are read.
#[derive(Debug)]
pub(super) struct Answers {
    /// Those that count, besides those of `codes`. Both empty: all.
    counted: Vec<Pattern>,
    /// Answers with a meaning of their own, and its symbol.
    codes: Vec<(Pattern, Option<String>)>,
    /// By which it refuses to answer.
    errors: Vec<Pattern>,
}

/// A listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// The answers that count, each once, in order.
    pub answers: Vec<Ipv4Addr>,
    /// Symbols of the codes that fit, and the answers that they fit.
    pub symbols: BTreeMap<String, Vec<Ipv4Addr>>,
}

impl Answers {
    /// Reads `answers`, `codes` and `errors` of the list with this key and symbol.
    pub fn new(settings: &Settings, key: &str, symbol: &str, problems: &mut Vec<Problem>) -> Answers {
        let mut read = |text: &str, key: String| match Pattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(why) => {
                problems.push(Problem::new(key, why));
                None
            }
        };
        let list = |texts: &[String], name: &str, read: &mut dyn FnMut(&str, String) -> Option<Pattern>| {
            let patterns = texts.iter().enumerate();
            patterns.filter_map(|(place, text)| read(text, format!("{key}.{name}[{place}]"))).collect()
        };
        let errors: Vec<Pattern> = list(&settings.errors, "errors", &mut read);
        let counted: Vec<Pattern> = list(&settings.answers, "answers", &mut read);
        let mut codes = Vec::new();
        for (text, code) in &settings.codes {
            let Some(pattern) = read(text, format!("{key}.codes.{text:?}")) else { continue };
            codes.push((pattern, code_symbol(symbol, &code.symbol)));
        }
        let both = codes.iter().map(|(pattern, _)| *pattern).chain(counted.iter().copied());
        for pattern in both {
            // A single answer that is named must be meant; a wider one may well hold one that is an error.
            if let Pattern::Range(first, last) = pattern
                && first == last
                && errors.iter().any(|error| error.fits(first))
            {
                let why = format!(
                    "{first} is among `errors`, by which the list refuses to answer; take it out there"
                );
                problems.push(Problem::new(key, why));
            }
        }
        Answers { counted, codes, errors }
    }

    /// What a list's answers say: a listing, none, or why they are no answer.
    pub fn read(&self, answers: &[Ipv4Addr]) -> Result<Option<Listing>, String> {
        if let Some(why) = self.refused(answers) {
            return Err(why);
        }
        let mut listed: Vec<_> = answers.iter().copied().filter(|&answer| self.counts(answer)).collect();
        listed.sort_unstable();
        listed.dedup();
        if listed.is_empty() {
            return Ok(None);
        }
        let mut symbols: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
        for (pattern, symbol) in &self.codes {
            let fitting: Vec<_> = listed.iter().copied().filter(|&answer| pattern.fits(answer)).collect();
            if let (Some(symbol), false) = (symbol, fitting.is_empty()) {
                symbols.entry(symbol.clone()).or_default().extend(fitting);
            }
        }
        Ok(Some(Listing { answers: listed, symbols }))
    }

    /// Why these are no answers at all, if so.
    pub fn refused(&self, answers: &[Ipv4Addr]) -> Option<String> {
        answers.iter().find_map(|&answer| self.refusal(answer))
    }

    fn counts(&self, answer: Ipv4Addr) -> bool {
        (self.counted.is_empty() && self.codes.is_empty())
            || self.counted.iter().any(|pattern| pattern.fits(answer))
            || self.codes.iter().any(|(pattern, _)| pattern.fits(answer))
    }

    /// Why an answer is none, if so.
    fn refusal(&self, answer: Ipv4Addr) -> Option<String> {
        match answer.octets() {
            [127, 255, 255, code] => {
                let meaning = match code {
                    252 => "the zone's name is mistyped",
                    254 => "the list refuses queries that come through public resolvers",
                    255 => "the list refuses further queries: there were too many",
                    _ => "the list refuses to answer",
                };
                Some(format!("{answer}: {meaning}"))
            }
            [127, ..] if self.errors.iter().any(|error| error.fits(answer)) => {
                Some(format!("{answer}: the list refuses to answer"))
            }
            [127, ..] => None,
            _ => Some(format!(
                "{answer} is no answer of a block list: a resolver that lies, or the list is no more"
            )),
        }
    }
}

/// The symbol of a code, if it has one: `SBL` → `DNSBL_ZEN_SBL`.
pub(super) fn code_symbol(symbol: &str, suffix: &str) -> Option<String> {
    (!suffix.is_empty()).then(|| super::super::lists::symbol(symbol, suffix))
}

/// Answers of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// From the first to the last.
    Range(Ipv4Addr, Ipv4Addr),
    /// Those with this bit in their last byte.
    Bit(u8),
}

impl Pattern {
    /// `127.0.0.2`, `127.0.0.4-7`, `127.0.0.0/28` or `&8`.
    fn parse(text: &str) -> Result<Pattern, String> {
        let unclear =
            || format!("“{text}” is not an answer such as 127.0.0.2, 127.0.0.4-7, 127.0.0.0/28 or &8");
        if let Some(bit) = text.trim().strip_prefix('&') {
            let bit: u8 = bit.trim().parse().map_err(|_| unclear())?;
            return match bit.is_power_of_two() {
                true => Ok(Pattern::Bit(bit)),
                false => Err(format!("“{text}” is not one bit: &1, &2, &4 … &128")),
            };
        }
        let (first, last) = if let Some((first, last)) = text.split_once('-') {
            let first: Ipv4Addr = first.trim().parse().map_err(|_| unclear())?;
            let last: u8 = last.trim().parse().map_err(|_| unclear())?;
            let [a, b, c, _] = first.octets();
            (first, Ipv4Addr::new(a, b, c, last))
        } else if text.contains('/') {
            let net: ipnet::Ipv4Net = text.trim().parse().map_err(|_| unclear())?;
            (net.network(), net.broadcast())
        } else {
            let one = text.trim().parse().map_err(|_| unclear())?;
            (one, one)
        };
        if first > last {
            Err(format!("“{text}” ends before it begins"))
        } else if !first.is_loopback() || !last.is_loopback() {
            Err(format!("“{text}” is not in 127.0.0.0/8, where the answers of lists are"))
        } else if first.octets()[..3] == [127, 255, 255] {
            Err(format!("“{text}” is in 127.255.255.0/24, by which lists say that they refuse to answer"))
        } else {
            Ok(Pattern::Range(first, last))
        }
    }

    fn fits(self, answer: Ipv4Addr) -> bool {
        match self {
            Pattern::Range(first, last) => (first..=last).contains(&answer),
            Pattern::Bit(bit) => answer.octets()[3] & bit != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::typed::ListCode;

    #[test]
    fn answers_as_they_are_typed() {
        for (text, expected) in [
            ("127.0.0.2", Ok(([127, 0, 0, 2], [127, 0, 0, 2]))),
            ("127.0.0.4-7", Ok(([127, 0, 0, 4], [127, 0, 0, 7]))),
            ("127.0.0.0/28", Ok(([127, 0, 0, 0], [127, 0, 0, 15]))),
            ("127.0.0.9-7", Err("ends before it begins")),
            ("127.0.0.4-300", Err("is not an answer")),
            ("192.0.2.0/24", Err("is not in 127.0.0.0/8")),
            ("127.255.255.254", Err("refuse to answer")),
            ("spam", Err("is not an answer")),
            ("&3", Err("is not one bit")),
            ("&0", Err("is not one bit")),
            ("&256", Err("is not an answer")),
        ] {
            let got = Pattern::parse(text);
            match expected {
                Ok((first, last)) => {
                    assert_eq!(got, Ok(Pattern::Range(first.into(), last.into())), "{text}");
                }
                Err(part) => assert!(got.clone().is_err_and(|why| why.contains(part)), "{text}: {got:?}"),
            }
        }
        assert_eq!(Pattern::parse("&64"), Ok(Pattern::Bit(64)));
    }

    fn answers(counted: &[&str], codes: &[(&str, &str)]) -> Answers {
        let counted = counted.iter().map(ToString::to_string).collect();
        let mut settings = Settings { answers: counted, ..Settings::default() };
        for (code, symbol) in codes {
            settings
                .codes
                .insert(code.to_string(), ListCode { symbol: symbol.to_string(), ..ListCode::default() });
        }
        let mut problems = Vec::new();
        let answers = Answers::new(&settings, "key", "DNSBL_L", &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        answers
    }

    #[test]
    fn what_answers_mean() {
        let codes: &[(&str, &str)] =
            &[("127.0.0.2", "SBL"), ("127.0.0.4-7", "XBL"), ("127.0.0.10/31", ""), ("&64", "BIT")];
        for (counted, codes, said, expected) in [
            (&[][..], &[][..], &["127.0.0.9"][..], Ok(Some(""))),
            (&["127.0.0.2", "127.0.0.4-7"], &[], &["127.0.0.9"], Ok(None)),
            (&["127.0.0.2", "127.0.0.4-7"], &[], &["127.0.0.5"], Ok(Some(""))),
            (&[], codes, &["127.0.0.9"], Ok(None)),
            (&[], codes, &["127.0.0.2", "127.0.0.4"], Ok(Some("DNSBL_L_SBL DNSBL_L_XBL"))),
            (&[], codes, &["127.0.0.11"], Ok(Some(""))),
            (&[], codes, &["127.0.0.66"], Ok(Some("DNSBL_L_BIT"))),
            (&["127.0.0.9"], codes, &["127.0.0.9"], Ok(Some(""))),
            (&[], &[], &["127.0.0.1"], Err("refuses to answer")),
            (&[], &[], &["127.0.0.255"], Err("refuses to answer")),
            (&[], &[], &["127.255.255.252"], Err("mistyped")),
            (&[], &[], &["127.0.0.2", "127.255.255.255"], Err("too many")),
            (&[], codes, &["127.0.0.2", "203.0.113.80"], Err("a resolver that lies")),
            (&[], &[], &["0.0.0.0"], Err("a resolver that lies")),
        ] {
            let said: Vec<Ipv4Addr> = said.iter().map(|answer| answer.parse().unwrap()).collect();
            let got = answers(counted, codes).read(&said);
            match expected {
                Err(part) => assert!(got.as_ref().is_err_and(|why| why.contains(part)), "{said:?}: {got:?}"),
                Ok(symbols) => {
                    let got =
                        got.unwrap().map(|listing| Vec::from_iter(listing.symbols.into_keys()).join(" "));
                    assert_eq!(got.as_deref(), symbols, "{said:?} {counted:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_named_is_no_error() {
        let settings =
            Settings { answers: vec!["127.0.0.1".into(), "127.0.0.0/28".into()], ..Settings::default() };
        let mut problems = Vec::new();
        Answers::new(&settings, "checks.dnsbl.l", "DNSBL_L", &mut problems);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].message.contains("among `errors`"));
    }
}
