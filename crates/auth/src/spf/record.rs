//! Records: the terms of a policy (RFC 7208 sections 4.5, 4.6, 5, 6 and 12).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Outcome;
use super::macros::Template;

/// A policy that has been read without errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<Target>,
    pub(super) exp: Option<Target>,
}

/// A mechanism with the result it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// As it stands in the record.
    pub text: String,
    pub qualifier: Outcome,
    pub mechanism: Mechanism,
}

/// A domain in a modifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The modifier as it stands in the record.
    pub text: String,
    pub domain: Template,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(Template),
    A(Option<Template>, Prefixes),
    Mx(Option<Template>, Prefixes),
    Ptr(Option<Template>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(Template),
}

/// Bits that have to agree, for either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub v4: u8,
    pub v6: u8,
}

/// Why a record is no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The term that is wrong, as it stands in the record.
    pub term: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "“{}”: {}", self.term, self.why)
    }
}

impl std::error::Error for Problem {}

impl Record {
    /// Whether a text is a policy: `v=spf1` followed by a space or nothing (RFC 7208 section 4.5). Any other text under
    /// the name is somebody else's.
    pub fn is_one(text: &str) -> bool {
        terms(text).is_some()
    }

    /// Reads a policy: all of it, since an error anywhere spoils the whole (RFC 7208 section 4.6).
    pub fn parse(text: &str) -> Result<Record, Problem> {
        let wrong = |term: &str, why: String| Problem { term: term.to_owned(), why };
        let terms = terms(text).ok_or_else(|| wrong(text, "does not begin with “v=spf1 ”".into()))?;
        let mut record = Record { directives: Vec::new(), redirect: None, exp: None };
        // Terms are separated by spaces only: any other white space is part of a term, where it is not allowed.
        for term in terms.split(' ').filter(|term| !term.is_empty()) {
            record.add(term).map_err(|why| wrong(term, why))?;
        }
        Ok(record)
    }

    fn add(&mut self, term: &str) -> Result<(), String> {
        let Some((name, value)) = modifier(term) else {
            self.directives.push(directive(term)?);
            return Ok(());
        };
        let place = if name.eq_ignore_ascii_case("redirect") {
            &mut self.redirect
        } else if name.eq_ignore_ascii_case("exp") {
            &mut self.exp
        } else {
            // Other modifiers mean nothing here, but must be well-formed (section 6).
            return Template::any(value).map(drop);
        };
        if place.is_some() {
            return Err("stands twice (RFC 7208 section 6)".into());
        }
        *place = Some(Target { text: term.to_owned(), domain: Template::domain(value)? });
        Ok(())
    }
}

/// What follows the version.
fn terms(text: &str) -> Option<&str> {
    const VERSION: &str = "v=spf1";
    let (version, rest) = text.split_at_checked(VERSION.len())?;
    let ends = rest.is_empty() || rest.starts_with(' ');
    (version.eq_ignore_ascii_case(VERSION) && ends).then_some(rest)
}

/// Name and value, if the term is a modifier: a name, directly followed by `=` (RFC 7208 section 4.6.1).
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    is_name.then_some((name, value))
}

fn directive(term: &str) -> Result<Directive, String> {
    let (qualifier, rest) = match term.as_bytes().first() {
        Some(b'+') => (Outcome::Pass, &term[1..]),
        Some(b'-') => (Outcome::Fail, &term[1..]),
        Some(b'~') => (Outcome::SoftFail, &term[1..]),
        Some(b'?') => (Outcome::Neutral, &term[1..]),
        _ => (Outcome::Pass, term),
    };
    let (name, argument) = rest.split_at(rest.find([':', '/']).unwrap_or(rest.len()));
    let mechanism = mechanism(&name.to_ascii_lowercase(), argument)?;
    Ok(Directive { text: term.to_owned(), qualifier, mechanism })
}

/// A mechanism; `argument` is empty or begins with `:` or `/`.
fn mechanism(name: &str, argument: &str) -> Result<Mechanism, String> {
    let value = argument.strip_prefix(':');
    let required = || value.ok_or_else(|| format!("{name} needs a colon and a value"));
    match name {
        "all" if argument.is_empty() => Ok(Mechanism::All),
        "all" => Err("all takes no value".into()),
        "include" => Ok(Mechanism::Include(Template::domain(required()?)?)),
        "exists" => Ok(Mechanism::Exists(Template::domain(required()?)?)),
        "a" | "mx" => {
            let (domain, prefixes) = dual(argument)?;
            let domain = domain.map(Template::domain).transpose()?;
            Ok(if name == "a" { Mechanism::A(domain, prefixes) } else { Mechanism::Mx(domain, prefixes) })
        }
        "ptr" if argument.is_empty() => Ok(Mechanism::Ptr(None)),
        "ptr" => Ok(Mechanism::Ptr(Some(Template::domain(required()?)?))),
        "ip4" => {
            let (address, bits) = network(required()?, 32)?;
            let address = address.parse().map_err(|_| format!("“{address}” is no IPv4 address"))?;
            Ok(Mechanism::Ip4(address, bits))
        }
        "ip6" => {
            let (address, bits) = network(required()?, 128)?;
            let address = address.parse().map_err(|_| format!("“{address}” is no IPv6 address"))?;
            Ok(Mechanism::Ip6(address, bits))
        }
        "redirect" | "exp" => Err(format!("{name} is a modifier: {name}=DOMAIN")),
        _ => Err("there is no such mechanism".into()),
    }
}

/// An address and the bits of it that count: all, if none are given.
fn network(value: &str, most: u8) -> Result<(&str, u8), String> {
    match value.split_once('/') {
        None => Ok((value, most)),
        Some((address, bits)) => Ok((address, prefix(bits, most)?)),
    }
}

/// The domain and the prefix lengths of `a` and `mx`: `:domain`, `/24`, `//64`, `:domain/24//64`.
fn dual(argument: &str) -> Result<(Option<&str>, Prefixes), String> {
    let mut prefixes = Prefixes { v4: 32, v6: 128 };
    let mut rest = argument;
    // Slashes may be part of a domain too, so only digits at the end are lengths.
    if let Some((before, digits)) = length(rest)
        && let Some(before) = before.strip_suffix('/')
    {
        (rest, prefixes.v6) = (before, prefix(digits, 128)?);
    }
    if let Some((before, digits)) = length(rest) {
        (rest, prefixes.v4) = (before, prefix(digits, 32)?);
    }
    match rest.strip_prefix(':') {
        Some(domain) => Ok((Some(domain), prefixes)),
        None if rest.is_empty() => Ok((None, prefixes)),
        None => Err(format!("“{rest}” is no prefix length")),
    }
}

/// Splits `/` and digits off the end.
fn length(text: &str) -> Option<(&str, &str)> {
    let (before, digits) = text.rsplit_once('/')?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some((before, digits))
}

/// A prefix length. Leading zeros are refused, as RFC 7208 refuses them in addresses.
fn prefix(digits: &str, most: u8) -> Result<u8, String> {
    let plain = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let bits = digits.parse().ok().filter(|bits| plain && *bits <= most);
    bits.ok_or_else(|| format!("“/{digits}” is no prefix length from 0 to {most}"))
}
