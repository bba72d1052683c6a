//! SpamAssassin's AuthRes: what servers that are trusted have written into `Authentication-Results` (RFC 8601) and its ARC
//! sibling (RFC 8617 section 4.1.1). A field that has anything wrong in it does not count at all.

use std::collections::HashMap;

use super::{Function, Native, of, text};
use crate::texts::{is_word, lines, starts_with, trim};

/// The results by method. `pass` counts before all others, else the first.
pub(super) type Results = HashMap<Vec<u8>, Vec<u8>>;

pub(super) const FUNCTIONS: &[(&str, Function)] = &[("check_authres_result", |native, call| {
    let results = native.memo.authres.get_or_init(|| results(native));
    let (found, wanted) = (results.get(text(call, 0).as_bytes()), text(call, 1).to_lowercase());
    of(match wanted.as_str() {
        "missing" => found.is_none(),
        wanted => found.is_some_and(|found| found == wanted.as_bytes()),
    })
})];

/// Methods with their results, and with what they may tell: `type.property`.
const METHODS: [(&str, &str, &str); 14] = [
    ("arc", "fail none pass", "smtp.remote-ip header.oldest-pass arc.chain"),
    ("auth", "fail none pass permerror temperror", "smtp.auth smtp.mailfrom"),
    (
        "dkim",
        "fail neutral none pass permerror policy temperror",
        "header.d header.i header.b header.a header.s",
    ),
    ("dkim-adsp", "discard fail none nxdomain pass permerror temperror unknown", "header.from"),
    ("dkim-atps", "fail none pass permerror temperror neutral", "header.from"),
    ("dmarc", "bestguesspass fail none pass permerror temperror", "header.from policy.dmarc"),
    ("dnswl", "none pass permerror temperror", "dns.zone dns.sec policy.ip policy.txt"),
    ("domainkeys", "fail neutral none permerror policy pass temperror", "header.d header.from header.sender"),
    ("iprev", "fail pass permerror temperror", "policy.iprev"),
    ("rrvs", "fail none pass permerror temperror unknown", "smtp.rcptto"),
    ("sender-id", "fail hardfail neutral none pass permerror policy softfail temperror", "header.*"),
    (
        "smime",
        "fail neutral none pass permerror policy temperror",
        "body.smime-part body.smime-identifer body.smime-serial body.smime-issuer",
    ),
    (
        "spf",
        "fail hardfail neutral none pass permerror policy softfail temperror",
        "smtp.mailfrom smtp.mfrom smtp.helo smtp.rcpttodomain",
    ),
    ("vbr", "fail none pass permerror temperror", "header.md header.mv"),
];

fn results(native: &Native<'_>) -> Results {
    let fields = match native.settings.get("authres_networks") {
        Some("trusted") => "ALL-TRUSTED",
        Some("all") => "ALL",
        Some("internal") | None => "ALL-INTERNAL",
        Some(_) => "ALL",
    };
    let all = native.value(fields);
    let mut results = Results::new();
    for line in lines(&all) {
        let arc = starts_with(line, b"ARC-");
        let name = if arc { &line[4..] } else { line };
        if !starts_with(name, b"Authentication-Results:") {
            continue;
        }
        let value = trim(&name[b"Authentication-Results:".len()..]);
        for (method, result) in read(native, value, arc).unwrap_or_default() {
            let known = results.entry(method).or_insert_with(|| result.clone());
            if result == b"pass" {
                *known = result;
            }
        }
    }
    results
}

/// The methods and results of a field.
fn read(native: &Native<'_>, value: &[u8], arc: bool) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut at = Reader(value);
    if arc {
        at.word(b"i")?;
        at.sign(b'=')?;
        let digits = at.run(|octet| octet.is_ascii_digit())?;
        let index: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (1..=50).contains(&index).then_some(())?;
        at.space()?;
        at.sign(b';')?;
    }
    let server = at.run(is_token)?.to_ascii_lowercase();
    let server = std::str::from_utf8(&server).ok()?;
    let list = |name| native.settings.words(name);
    let trusted = list("authres_trusted_authserv").is_none_or(|all| all.is_empty() || all.contains(server));
    let ignored = list("authres_ignored_authserv").is_some_and(|all| all.contains(server));
    (trusted && !ignored && at.0.first() != Some(&b'=')).then_some(())?;
    at.space()?;
    if at.run(|octet| octet.is_ascii_digit()).is_some() {
        at.space()?;
    }
    at.sign(b';')?;
    let mut found = Vec::new();
    while !at.0.is_empty() {
        at.again(server.as_bytes())?;
        found.push(at.method()?);
    }
    Some(found)
}

fn is_token(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"()<>@,;:/[]?=\"".contains(&octet)
}

fn is_name(octet: u8) -> bool {
    is_word(octet) || octet == b'-'
}

/// What is left of a field.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Skips white space, a comment, and white space; None: the comment does not end.
    fn space(&mut self) -> Option<()> {
        self.0 = self.0.trim_ascii_start();
        if self.0.first() != Some(&b'(') {
            return Some(());
        }
        let mut depth = 0usize;
        let close = self.0.iter().position(|octet| {
            match octet {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        self.0 = self.0[close + 1..].trim_ascii_start();
        Some(())
    }

    /// That sign, and the space behind it.
    fn sign(&mut self, sign: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[sign])?;
        self.space()
    }

    /// At least one octet of a class.
    fn run(&mut self, class: fn(u8) -> bool) -> Option<&'a [u8]> {
        let length = self.0.iter().take_while(|octet| class(**octet)).count();
        let (run, rest) = self.0.split_at(length);
        self.0 = rest;
        (length > 0).then_some(run)
    }

    /// That word in any case, and the space behind it; None, and nothing is taken, if something else stands there.
    fn word(&mut self, word: &[u8]) -> Option<()> {
        let ends = !self.0.get(word.len()).is_some_and(|octet| is_word(*octet));
        if !starts_with(self.0, word) || !ends {
            return None;
        }
        self.0 = &self.0[word.len()..];
        self.space()
    }

    /// Skips the name of the server where it stands once more.
    fn again(&mut self, server: &[u8]) -> Option<()> {
        if let Some(rest) = self.0.strip_prefix(server)
            && let Some(rest) = rest.trim_ascii_start().strip_prefix(b";")
        {
            self.0 = rest;
            self.space()?;
        }
        Some(())
    }

    fn method(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let none = starts_with(self.0, b"none") && !self.0.get(4).is_some_and(|octet| is_word(*octet));
        (!none).then_some(())?;
        let method = self.run(is_name)?.to_ascii_lowercase();
        let (_, results, properties) = METHODS.iter().find(|(name, _, _)| name.as_bytes() == method)?;
        self.space()?;
        if self.0.first() == Some(&b'/') {
            self.sign(b'/')?;
            self.run(|octet| octet.is_ascii_digit())?;
            self.space()?;
        }
        self.sign(b'=')?;
        let result = self.run(is_word)?.to_vec();
        results.split(' ').find(|known| known.as_bytes() == result)?;
        self.space()?;
        for word in [&b"reason"[..], b"action"] {
            if self.word(word).is_some() {
                self.sign(b'=')?;
                self.text()?;
                self.space()?;
            }
        }
        while !self.0.is_empty() {
            if self.0[0] == b';' {
                self.sign(b';')?;
                break;
            }
            self.property(properties)?;
        }
        Some((method, result))
    }

    /// `smtp.mailfrom=a@b`
    fn property(&mut self, known: &str) -> Option<()> {
        let kind = self.run(is_name)?.to_ascii_lowercase();
        self.space()?;
        self.sign(b'.')?;
        let name = self.run(is_name)?.to_ascii_lowercase();
        let is_known = |property: &str| {
            let (own, property) = property.split_once('.').unwrap_or_default();
            own.as_bytes() == kind && (property == "*" || property.as_bytes() == name)
        };
        known.split(' ').any(is_known).then_some(())?;
        self.space()?;
        self.sign(b'=')?;
        if self.0.first() == Some(&b'"') {
            self.text()?;
        } else {
            // Dots stand between atoms, and white space or the next method behind them.
            let value = self.run(|octet| !octet.is_ascii_whitespace() && octet != b';' && octet != b'(')?;
            let is_atom =
                |octet: &u8| octet.is_ascii_alphanumeric() || b"@!#$%&\\'*+-/=?^_`{|}~".contains(octet);
            let atoms =
                value.split(|octet| *octet == b'.').all(|atom| !atom.is_empty() && atom.iter().all(is_atom));
            let ends = self.0.first() != Some(&b'(');
            (ends && (atoms || value.iter().all(|octet| is_token(*octet)))).then_some(())?;
        }
        self.space()
    }

    /// A quoted text or a token.
    fn text(&mut self) -> Option<()> {
        let Some(rest) = self.0.strip_prefix(b"\"") else { return self.run(is_token).map(|_| ()) };
        let mut escaped = false;
        let end = rest.iter().position(|octet| {
            let ends = *octet == b'"' && !escaped;
            escaped = *octet == b'\\' && !escaped;
            ends
        });
        self.0 = end.map_or(&[][..], |end| &rest[end + 1..]);
        Some(())
    }
}
