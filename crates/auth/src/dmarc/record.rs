//! A policy record: `v=DMARC1; p=…` (RFC 9989 sections 4.7 and 4.8).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a domain's owner wants done with mail that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Nothing.
    #[default]
    None,
    /// It is suspicious.
    Quarantine,
    /// It is not the domain's.
    Reject,
}

impl Policy {
    /// As it stands in a record.
    pub fn name(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    /// One step less.
    pub fn softer(self) -> Policy {
        match self {
            Policy::Reject => Policy::Quarantine,
            Policy::Quarantine | Policy::None => Policy::None,
        }
    }

    /// A policy by its name, in any case.
    pub fn from_name(name: &str) -> Option<Policy> {
        [Policy::None, Policy::Quarantine, Policy::Reject]
            .into_iter()
            .find(|p| p.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How alike an identifier and the author's domain must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They have one organizational domain.
    #[default]
    Relaxed,
    /// They are the same.
    Strict,
}

impl Mode {
    /// As it stands in a record: `r` or `s`.
    pub fn letter(self) -> &'static str {
        match self {
            Mode::Relaxed => "r",
            Mode::Strict => "s",
        }
    }
}

/// `psd=`: whether the domain is a public suffix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Psd {
    /// It is.
    Yes,
    /// It is not, and it is an organizational domain.
    No,
    /// Not said.
    #[default]
    Unknown,
}

/// Where reports go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// The URI without the size limit: `mailto:dmarc@example.com`.
    pub uri: String,
    /// The most bytes it takes in one mail: the obsolete `!10m`.
    pub limit: Option<u64>,
}

/// A record that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// As it was published.
    pub text: String,
    /// `p=`; `none` where there is none.
    pub p: Policy,
    /// `sp=`.
    pub sp: Option<Policy>,
    /// `np=`.
    pub np: Option<Policy>,
    /// `adkim=`.
    pub adkim: Mode,
    /// `aspf=`.
    pub aspf: Mode,
    /// `psd=`.
    pub psd: Psd,
    /// `t=y`.
    pub testing: bool,
    /// The historic `pct=`, 0 to 100.
    pub pct: Option<u8>,
    /// `fo=`; `0` where there is none.
    pub fo: String,
    /// `rua=`: where aggregate reports go, in order, what is no URI left out.
    pub rua: Vec<Destination>,
    /// What is wrong with it, and what was made of that.
    pub problems: Vec<String>,
    /// A policy in it is none, and no report is asked for: it counts as no record (RFC 9989 section 4.10.1).
    pub void: bool,
}

/// Most tags that are read, and most destinations of `rua=`.
const TAGS: usize = 64;
const DESTINATIONS: usize = 10;

/// Longest record that is read.
const LONGEST: usize = 8192;

/// Reads a record; `None` for a text that is no record of this version, which is ignored (RFC 9989 section 4.7, `v=`).
///
/// What is unknown is skipped, what is wrong is noted and counts as not said. A policy that is none makes the record say
/// `p=none` where it asks for reports, and void where it does not.
pub fn parse(text: &str) -> Option<Record> {
    let text = if text.len() > LONGEST { &text[..text.floor_char_boundary(LONGEST)] } else { text };
    let mut tags = text.split(';');
    let (name, version) = tags.next()?.split_once('=')?;
    // No space before the version; its name is a literal of the grammar, so in any case.
    if !name.trim_end_matches(WSP).eq_ignore_ascii_case("v") || version.trim_matches(WSP) != "DMARC1" {
        return None;
    }
    let mut reader = Reader {
        record: Record { text: text.to_owned(), fo: "0".into(), ..Record::default() },
        ..Reader::default()
    };
    for tag in tags.map(|tag| tag.trim_matches(WSP)).filter(|tag| !tag.is_empty()).take(TAGS) {
        reader.tag(tag);
    }
    Some(reader.finish())
}

const WSP: [char; 2] = [' ', '\t'];

#[derive(Default)]
struct Reader {
    record: Record,
    seen: Vec<String>,
    has_p: bool,
    bad_policy: bool,
}

impl Reader {
    fn tag(&mut self, tag: &str) {
        let Some((name, value)) = tag.split_once('=') else {
            return self.wrong(format!("{} is no tag", shown(tag)));
        };
        let name = name.trim_end_matches(WSP).to_ascii_lowercase();
        let value = value.trim_matches(WSP);
        if self.seen.contains(&name) {
            return self.wrong(format!("{}= stands twice, the first counts", shown(&name)));
        }
        match name.as_str() {
            "p" => {
                self.has_p = true;
                self.record.p = self.policy("p", value).unwrap_or_default();
            }
            "sp" => self.record.sp = self.policy("sp", value),
            "np" => self.record.np = self.policy("np", value),
            "adkim" => self.record.adkim = self.one("adkim", value, &MODES).unwrap_or_default(),
            "aspf" => self.record.aspf = self.one("aspf", value, &MODES).unwrap_or_default(),
            "psd" => {
                let values = [("y", Psd::Yes), ("n", Psd::No), ("u", Psd::Unknown)];
                self.record.psd = self.one("psd", value, &values).unwrap_or_default();
            }
            "t" => {
                self.record.testing = self.one("t", value, &[("y", true), ("n", false)]).unwrap_or_default()
            }
            "pct" => match value.parse::<u8>() {
                Ok(pct) if pct <= 100 => self.record.pct = Some(pct),
                _ => self.wrong(format!("pct={} is no number from 0 to 100", shown(value))),
            },
            "fo" if is_fo(value) => self.record.fo = value.to_ascii_lowercase(),
            "fo" => self.wrong(format!("fo={} is none of its options", shown(value))),
            "rua" => self.destinations(value),
            "v" => self.wrong("v= stands twice".to_owned()),
            _ => {}
        }
        self.seen.push(name);
    }

    fn wrong(&mut self, what: String) {
        if self.record.problems.len() < TAGS {
            self.record.problems.push(what);
        }
    }

    fn policy(&mut self, tag: &str, value: &str) -> Option<Policy> {
        let policy = Policy::from_name(value);
        if policy.is_none() {
            self.bad_policy = true;
            self.wrong(format!("{tag}={} is no policy", shown(value)));
        }
        policy
    }

    fn one<T: Copy>(&mut self, tag: &str, value: &str, values: &[(&str, T)]) -> Option<T> {
        let found = values.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)).map(|(_, value)| *value);
        if found.is_none() {
            self.wrong(format!("{tag}={} is no value of that tag", shown(value)));
        }
        found
    }

    fn destinations(&mut self, value: &str) {
        for written in value.split(',').map(|uri| uri.trim_matches(WSP)) {
            match destination(written) {
                Some(_) if self.record.rua.len() == DESTINATIONS => {
                    return self.wrong(format!("rua= has more than {DESTINATIONS} addresses"));
                }
                Some(to) if self.record.rua.contains(&to) => {}
                Some(to) => self.record.rua.push(to),
                None => self.wrong(format!("rua= has {}, which is no URI", shown(written))),
            }
        }
    }

    fn finish(mut self) -> Record {
        let reported = !self.record.rua.is_empty();
        if self.bad_policy {
            self.record.p = Policy::None;
            (self.record.sp, self.record.np) = (None, None);
            self.record.void = !reported;
        } else if !self.has_p {
            self.wrong("there is no p=, which counts as p=none".to_owned());
        }
        self.record
    }
}

const MODES: [(&str, Mode); 2] = [("r", Mode::Relaxed), ("s", Mode::Strict)];

/// `0`, `1`, `d`, `s`, each at most once, joined by colons, and not both `0` and `1`.
fn is_fo(value: &str) -> bool {
    let options: Vec<String> =
        value.split(':').map(|option| option.trim_matches(WSP).to_ascii_lowercase()).collect();
    let once = |option: &String| options.iter().filter(|other| *other == option).count() == 1;
    let known = options.iter().all(|option| matches!(option.as_str(), "0" | "1" | "d" | "s") && once(option));
    known && !(options.iter().any(|option| option == "0") && options.iter().any(|option| option == "1"))
}

/// A URI with or without a size: `mailto:a@example.com!10m` (RFC 9989 section 4.8, RFC 7489 section 6.4).
fn destination(written: &str) -> Option<Destination> {
    let (uri, limit) = match written.split_once('!') {
        Some((uri, size)) => (uri, Some(bytes(size)?)),
        None => (written, None),
    };
    let (scheme, rest) = uri.split_once(':')?;
    let mut letters = scheme.bytes();
    let scheme_fits = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let rest_fits = !rest.is_empty()
        && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&byte));
    let to = Destination { uri: uri.to_owned(), limit };
    let is_mail = scheme.eq_ignore_ascii_case("mailto");
    (scheme_fits && rest_fits && (!is_mail || to.mailbox().is_some())).then_some(to)
}

/// `10m` in bytes; the units are powers of 1024.
fn bytes(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match size[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl Destination {
    /// The mailbox of a `mailto:`, percent-decoded, and its domain as A-labels; `None` for any other URI, and for a
    /// mailbox that could not be put between angle brackets as it stands.
    pub fn mailbox(&self) -> Option<(String, String)> {
        let (scheme, rest) = self.uri.split_once(':')?;
        if !scheme.eq_ignore_ascii_case("mailto") {
            return None;
        }
        // RFC 6068: fields such as a subject may follow; they are not ours to obey.
        let mailbox = percent_decoded(rest.split('?').next()?)?;
        let (local, domain) = mailbox.rsplit_once('@')?;
        let domain = super::name::ascii(domain)?;
        let sound = !local.is_empty()
            && local.len() <= 64
            && local
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte));
        sound.then(|| (format!("{local}@{domain}"), domain))
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// Something from outside, printable and short, but enough of it to recognise it.
pub(crate) fn shown(text: &str) -> String {
    shortened(text, 60)
}

/// As [`shown`], at the length of a whole record.
pub(crate) fn shown_long(text: &str) -> String {
    shortened(text, 512)
}

fn shortened(text: &str, longest: usize) -> String {
    let mut short: String =
        text.chars().take(longest).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(longest).is_some() {
        short.push('…');
    }
    format!("\"{short}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for text in ["v=DMARC1", "v=DMARC1;", "v = DMARC1 ; p=none", "V=DMARC1; p=none", "v\t=\tDMARC1\t;"] {
            assert!(parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "v=DMARC2",
            "v=dmarc1",
            "v=DMARC10; p=none",
            "v=DMARC1 p=none",
            " v=DMARC1",
            "p=none; v=DMARC1",
            "v=spf1 -all",
            ";v=DMARC1",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    /// Each tag's values (RFC 9989 section 4.7): text, then what is read.
    #[test]
    fn tags() {
        fn read(tags: &str) -> Record {
            parse(&format!("v=DMARC1; {tags}")).unwrap()
        }
        for (text, policy) in
            [("none", Policy::None), ("Quarantine", Policy::Quarantine), ("REJECT", Policy::Reject)]
        {
            assert_eq!(read(&format!("p={text}")).p, policy);
            assert_eq!(read(&format!("p=none;sp={text}")).sp, Some(policy));
            assert_eq!(read(&format!("p=none;np={text}")).np, Some(policy));
        }
        for (text, mode) in [
            ("s", Mode::Strict),
            ("r", Mode::Relaxed),
            ("S", Mode::Strict),
            ("x", Mode::Relaxed),
            ("", Mode::Relaxed),
        ] {
            assert_eq!(read(&format!("p=none;adkim={text}")).adkim, mode);
            assert_eq!(read(&format!("p=none;aspf={text}")).aspf, mode);
        }
        for (text, psd) in [("y", Psd::Yes), ("n", Psd::No), ("u", Psd::Unknown), ("yes", Psd::Unknown)] {
            assert_eq!(read(&format!("p=none;psd={text}")).psd, psd);
        }
        for (text, testing) in [("y", true), ("n", false), ("Y", true), ("1", false)] {
            assert_eq!(read(&format!("p=none;t={text}")).testing, testing);
        }
        for (text, pct) in
            [("0", Some(0)), ("100", Some(100)), ("101", None), ("-1", None), ("x", None), ("1e1", None)]
        {
            assert_eq!(read(&format!("p=none;pct={text}")).pct, pct);
        }
        for (text, fo) in [
            ("1", "1"),
            ("0:d:s", "0:d:s"),
            ("d:s", "d:s"),
            ("0:1", "0"),
            ("d:d", "0"),
            ("x", "0"),
            ("1:D", "1:d"),
        ] {
            assert_eq!(read(&format!("p=none;fo={text}")).fo, fo);
        }
        assert_eq!(read("p=none;p=reject").p, Policy::None);
        assert_eq!(read("future=1;p=reject;=;;x").p, Policy::Reject);
        assert_eq!(read("p=reject;adkim=s;").problems, [""; 0]);
    }

    /// RFC 9989 section 4.10.1: what a policy that is none makes of a record.
    #[test]
    fn policies_that_are_none() {
        for (text, p, sp, void) in [
            ("v=DMARC1", Policy::None, None, false),
            ("v=DMARC1; rua=mailto:a@b.example", Policy::None, None, false),
            ("v=DMARC1; sp=reject", Policy::None, Some(Policy::Reject), false),
            ("v=DMARC1; p=bogus", Policy::None, None, true),
            ("v=DMARC1; p=", Policy::None, None, true),
            ("v=DMARC1; p=bogus; rua=mailto:a@b.example", Policy::None, None, false),
            ("v=DMARC1; p=reject; sp=bogus", Policy::None, None, true),
            ("v=DMARC1; p=reject; sp=bogus; rua=mailto:a@b.example", Policy::None, None, false),
            ("v=DMARC1; p=reject; sp=reject; np=bogus; rua=https://b.example/", Policy::None, None, false),
            ("v=DMARC1; p=reject; np=bogus; rua=nothing", Policy::None, None, true),
        ] {
            let record = parse(text).unwrap();
            assert_eq!((record.p, record.sp, record.void), (p, sp, void), "{text}");
            assert!(!record.problems.is_empty() || text.contains("rua=mailto"), "{text}");
        }
    }

    #[test]
    fn where_reports_go() {
        let to = |uri: &str, limit| Destination { uri: uri.to_owned(), limit };
        for (rua, want) in [
            ("mailto:a@b.example", vec![to("mailto:a@b.example", None)]),
            (
                "mailto:a@b.example!10m , mailto:c@d.example!7",
                vec![to("mailto:a@b.example", Some(10 << 20)), to("mailto:c@d.example", Some(7))],
            ),
            ("mailto:a@b.example!99999999999t", vec![]),
            ("mailto:a@b.example!10q", vec![]),
            (
                "mailto:a, mailto:@b.example, mailto:a@-.-,mailto:a@[192.0.2.1]",
                vec![to("mailto:a@-.-", None)],
            ),
            ("https://b.example/put", vec![to("https://b.example/put", None)]),
            ("mailto:a@b.example,mailto:a@b.example", vec![to("mailto:a@b.example", None)]),
            ("mailto:a%0d%0aRCPT@b.example, mailto:<a@b.example>", vec![]),
        ] {
            assert_eq!(parse(&format!("v=DMARC1;p=none;rua={rua}")).unwrap().rua, want, "{rua}");
        }
        let many: String = (0..40).map(|n| format!("mailto:a{n}@b.example,")).collect();
        assert_eq!(parse(&format!("v=DMARC1;p=none;rua={many}")).unwrap().rua.len(), DESTINATIONS);
        let mailbox = to("MailTo:dm%2Barc@Müller.example?subject=x", None).mailbox();
        assert_eq!(mailbox, Some(("dm+arc@xn--mller-kva.example".into(), "xn--mller-kva.example".into())));
    }
}
