//! Reading a signature field: what RFC 6376 section 6.1.1 asks before any key is looked up.

use std::ops::Range;

use super::canon::{Hash, Wanted};
use super::header::Field;
use super::tags::{Tags, compact, plain, short};
use super::{Canon, Outcome, Settings, Signature};

/// Longest signature field that is read, in bytes.
const FIELD: usize = 64 * 1024;

/// Longest identity (`i=`): a local part of 64 and a domain of 253 characters.
const IDENTITY: usize = 320;

/// Most names in `h=`.
pub(crate) const NAMES: usize = 1000;

/// A signature as far as verifying needs it, beyond what [`Signature`] tells.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) key: &'static str,
    pub(crate) hash: Hash,
    pub(crate) canon: (Canon, Canon),
    /// Where the value of `b=` stands in the field's value.
    pub(crate) place: Range<usize>,
    pub(crate) b: Vec<u8>,
    pub(crate) bh: Vec<u8>,
    pub(crate) length: Option<u64>,
    /// Where the key is.
    pub(crate) name: String,
}

impl Claim {
    /// The hash of the body that is to be compared.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted { canon: self.canon.1, hash: self.hash, length: self.length }
    }
}

/// Whose rules hold for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// `DKIM-Signature`.
    Dkim,
    /// `ARC-Message-Signature`: no `v=`, `i=` is a number (RFC 8617 section 4.1.2).
    Arc,
    /// `ARC-Seal`: no body, no choice of fields, always relaxed (RFC 8617 section 4.1.3).
    Seal,
}

/// Why a signature is not worth a look-up.
pub(crate) type Refusal = (Outcome, String);

/// A signature of which nothing is known yet.
pub(crate) fn blank() -> Signature {
    Signature {
        outcome: Outcome::Neutral,
        reason: String::new(),
        domain: String::new(),
        selector: String::new(),
        identity: String::new(),
        algorithm: String::new(),
        canonicalization: String::new(),
        signed: Vec::new(),
        key_bits: None,
        testing: false,
        length: None,
        unsigned: 0,
        signed_at: None,
        expires: None,
        b: String::new(),
        steps: Vec::new(),
    }
}

/// Reads a field. What could be read stands in the signature even where the rest is refused.
pub(crate) fn read(
    field: &Field<'_>,
    rules: Rules,
    settings: &Settings,
) -> (Signature, Result<Claim, Refusal>) {
    let mut signature = blank();
    let claim = claim(field, rules, settings, &mut signature);
    (signature, claim)
}

fn claim(
    field: &Field<'_>,
    rules: Rules,
    settings: &Settings,
    signature: &mut Signature,
) -> Result<Claim, Refusal> {
    if field.raw.len() > FIELD {
        return Err((Outcome::Neutral, format!("the field is longer than {FIELD} bytes")));
    }
    let text = std::str::from_utf8(field.value);
    let text = text.map_err(|_| (Outcome::Neutral, "the field is not in UTF-8".to_owned()))?;
    let tags = Tags::parse(text).map_err(|why| malformed(&why))?;
    describe(&tags, rules, signature);
    version(&tags, rules, settings)?;
    let (key, hash) = algorithm(&tags)?;
    let canon = match tags.get("c") {
        _ if rules == Rules::Seal => (Canon::Relaxed, Canon::Relaxed),
        None if rules == Rules::Arc => (Canon::Relaxed, Canon::Relaxed),
        None => (Canon::Simple, Canon::Simple),
        Some(text) => Canon::pair(text).ok_or_else(|| {
            (Outcome::Neutral, format!("its canonicalization is unknown: c={}", short(text)))
        })?,
    };
    signature.canonicalization = format!("{}/{}", canon.0.as_str(), canon.1.as_str());
    names(&tags, rules, signature)?;
    signed(&tags, rules, signature)?;
    let number = |tag| tags.number(tag).map_err(|why| malformed(&why));
    (signature.length, signature.signed_at, signature.expires) = (number("l")?, number("t")?, number("x")?);
    times(signature, settings)?;
    if let Some(methods) = tags.list("q") {
        let known =
            |method: &str| method.eq_ignore_ascii_case("dns/txt") || method.eq_ignore_ascii_case("dns");
        if !methods.into_iter().any(known) {
            let q = short(tags.get("q").unwrap_or_default());
            return Err((Outcome::Neutral, format!("its key is not in the DNS: q={q}")));
        }
    }
    let bytes = |tag: &str| tags.bytes(tag).map_err(|why| malformed(&why));
    let b = bytes("b")?.filter(|b| !b.is_empty()).ok_or_else(|| missing("b"))?;
    let bh = match rules {
        Rules::Seal => Vec::new(),
        _ => bytes("bh")?.ok_or_else(|| missing("bh"))?,
    };
    let place = tags.place("b").ok_or_else(|| missing("b"))?;
    let name = key_name(signature)?;
    Ok(Claim { key, hash, canon, place, b, bh, length: signature.length, name })
}

/// Where the key is. A name that the DNS cannot hold has no key, now and for ever: who writes the signature chooses it, and
/// must not get a passing trouble by it.
fn key_name(signature: &Signature) -> Result<String, Refusal> {
    let name = format!("{}._domainkey.{}", ascii(&signature.selector), ascii(&signature.domain));
    if is_domain(&name) && name.is_ascii() {
        return Ok(name);
    }
    Err((Outcome::PermError, format!("there can be no key at {}: it is no name in the DNS", short(&name))))
}

/// What the tags say of themselves, right or wrong.
fn describe(tags: &Tags<'_>, rules: Rules, signature: &mut Signature) {
    let domain =
        |tag| tags.get(tag).filter(|name| is_domain(name)).map(str::to_ascii_lowercase).unwrap_or_default();
    signature.domain = domain("d");
    signature.selector = domain("s");
    signature.algorithm = short(tags.get("a").unwrap_or_default());
    let digit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    signature.b = compact(tags.get("b").unwrap_or_default()).chars().filter(digit).take(8).collect();
    signature.identity = match tags.get("i") {
        Some(identity) if rules == Rules::Dkim => plain(&unquoted(identity), IDENTITY),
        _ => format!("@{}", signature.domain),
    };
}

fn version(tags: &Tags<'_>, rules: Rules, settings: &Settings) -> Result<(), Refusal> {
    match tags.get("v") {
        _ if rules != Rules::Dkim => Ok(()),
        Some("1") => Ok(()),
        None if settings.historic => Ok(()),
        Some(draft) if settings.historic && draft.starts_with("0.") => Ok(()),
        None => Err(missing("v")),
        Some(other) => Err((Outcome::Neutral, format!("its version is unknown: v={}", short(other)))),
    }
}

fn algorithm(tags: &Tags<'_>) -> Result<(&'static str, Hash), Refusal> {
    match tags.get("a").ok_or_else(|| missing("a"))?.to_ascii_lowercase().as_str() {
        "rsa-sha256" => Ok(("rsa", Hash::Sha256)),
        "rsa-sha1" => Ok(("rsa", Hash::Sha1)),
        "ed25519-sha256" => Ok(("ed25519", Hash::Sha256)),
        other => Err((Outcome::Neutral, format!("its algorithm is unknown: a={}", short(other)))),
    }
}

/// `d=`, `s=` and `i=`.
fn names(tags: &Tags<'_>, rules: Rules, signature: &Signature) -> Result<(), Refusal> {
    for (tag, name) in [("d", &signature.domain), ("s", &signature.selector)] {
        let written = tags.get(tag).ok_or_else(|| missing(tag))?;
        if name.is_empty() {
            return Err(malformed(&format!("{tag}={} is no domain name", short(written))));
        }
    }
    if rules != Rules::Dkim {
        return Ok(());
    }
    let Some((_, domain)) = signature.identity.rsplit_once('@') else {
        return Err(malformed(&format!("i={} is no address", short(&signature.identity))));
    };
    if is_under(domain, &signature.domain) {
        return Ok(());
    }
    let (identity, domain) = (short(&signature.identity), &signature.domain);
    Err((Outcome::PermError, format!("its identity {identity} (i=) is not under its domain {domain} (d=)")))
}

/// `h=`.
fn signed(tags: &Tags<'_>, rules: Rules, signature: &mut Signature) -> Result<(), Refusal> {
    if rules == Rules::Seal {
        // RFC 8617 section 4.1.3 forbids it: somebody might think that the seal covers those fields.
        return match tags.get("h") {
            Some(_) => Err((Outcome::PermError, "it has h=, which a seal must not have".into())),
            None => Ok(()),
        };
    }
    let mut names: Vec<&str> = tags.list("h").ok_or_else(|| missing("h"))?.take(NAMES + 1).collect();
    if names.len() > NAMES {
        return Err(malformed(&format!("h= names more than {NAMES} fields")));
    }
    if rules == Rules::Arc {
        names.retain(|name| !name.is_empty());
    }
    if let Some(name) =
        names.iter().find(|name| name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(malformed(&format!("h= has {:?}, which is no name of a field", short(name))));
    }
    signature.signed = names.into_iter().map(str::to_owned).collect();
    let has = |wanted: &str| signature.signed.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    match rules {
        Rules::Dkim if !has("From") => Err((Outcome::PermError, "it does not sign the From field".into())),
        // RFC 8617 section 4.1.2: a seal is never under a message signature.
        Rules::Arc if has("ARC-Seal") => Err((Outcome::PermError, "it signs an ARC-Seal field".into())),
        _ => Ok(()),
    }
}

/// `t=` and `x=`.
fn times(signature: &Signature, settings: &Settings) -> Result<(), Refusal> {
    let now = settings.now;
    let clock = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    if let Some(made) = signature.signed_at.map(clock)
        && made > now.saturating_add(settings.skew)
    {
        return Err((Outcome::Neutral, format!("it was made in the future: t={made}, now it is {now}")));
    }
    let Some(expires) = signature.expires.map(clock) else { return Ok(()) };
    if signature.signed_at.is_some_and(|made| clock(made) >= expires) {
        return Err(malformed(&format!("it expires (x={expires}) before it was made (t=)")));
    }
    if expires < now.saturating_sub(settings.skew) {
        let age = now.saturating_sub(expires);
        return Err((
            Outcome::Neutral,
            format!("it has expired {age} seconds ago: x={expires}, now it is {now}"),
        ));
    }
    Ok(())
}

/// A tag that has to be there is not.
fn missing(tag: &str) -> Refusal {
    (Outcome::PermError, format!("it has no {tag}="))
}

/// The field cannot be understood (RFC 8601 section 2.7.1 makes that `neutral`).
fn malformed(why: &str) -> Refusal {
    (Outcome::Neutral, format!("the field is malformed: {why}"))
}

/// Whether a name is the domain or below it, in any case.
pub(crate) fn is_under(name: &str, domain: &str) -> bool {
    let start = name.len().checked_sub(domain.len());
    let Some((before, end)) = start.and_then(|at| name.split_at_checked(at)) else { return false };
    end.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with('.'))
}

/// Whether a text can stand in the DNS: labels of letters, digits, `-`, `_` and what is beyond ASCII (RFC 8616).
pub(crate) fn is_domain(name: &str) -> bool {
    let good = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || (!c.is_ascii() && c.is_alphanumeric())
    };
    name.len() <= 253
        && name.split('.').all(|label| (1..=63).contains(&label.len()) && label.chars().all(good))
}

/// A name as it stands in the DNS.
pub(crate) fn ascii(name: &str) -> String {
    match name.is_ascii() {
        true => name.to_owned(),
        false => idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_owned()),
    }
}

/// `dkim-quoted-printable` undone (RFC 6376 section 2.11).
fn unquoted(text: &str) -> String {
    let text = compact(text);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        rest = behind;
        match (byte, digit(0), digit(1)) {
            (b'=', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_lie_under_domains() {
        for (name, domain, under) in [
            ("example.org", "example.org", true),
            ("a.Example.ORG", "example.org", true),
            ("badexample.org", "example.org", false),
            ("org", "example.org", false),
            ("é.org", "e.org", false),
        ] {
            assert_eq!(is_under(name, domain), under, "{name}");
        }
        assert_eq!(unquoted("=6Along=40messiah=2Eedu =3"), "jlong@messiah.edu=3");
    }
}
