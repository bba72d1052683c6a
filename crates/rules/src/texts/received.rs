//! `Received` fields, in the dialects of mail servers.

use std::net::IpAddr;

use bytes::Bytes;

use super::ip;
use super::pattern::{Found, matches, search};
use super::perl::{find, is_space, is_word, starts_with};

/// What a `Received` field is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A relay told of its peer.
    Hop(Box<Hop>),
    /// Nothing came over a network.
    Ignored,
    /// Something fetched the mail from a mailbox.
    Fetched,
    /// The same as `Ignored`, and the sender that the next line's relay got.
    Scanned(Option<Bytes>),
    /// It cannot be read.
    Unknown,
}

/// What a field says of a peer, as it stands but for characters that would confuse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    pub ip: Bytes,
    pub rdns: Bytes,
    pub helo: Bytes,
    pub by: Bytes,
    pub ident: Bytes,
    pub envfrom: Option<Bytes>,
    pub id: Bytes,
    pub auth: Bytes,
    /// The relay looked for a name and found none.
    pub no_reverse_dns: bool,
    /// The relay does not say the name.
    pub rdns_not_in_headers: bool,
}

/// Reads a field's value.
pub(crate) fn read(value: &[u8]) -> Line {
    let Some(line) = cleaned(value) else { return Line::Ignored };
    let line = &line[..];
    let mut hop = Draft::general(line);
    let outcome = if let Some(rest) = line.strip_prefix(b"from ") {
        from(rest, &mut hop)
    } else if let Some(rest) = line.strip_prefix(b"FROM ") {
        shouted(rest, &mut hop)
    } else if let Some(rest) = line.strip_prefix(b"(from ") {
        in_brackets(rest, &mut hop)
    } else {
        Outcome::Open
    };
    match outcome {
        Outcome::Enough => return Line::Hop(Box::new(hop.finish())),
        Outcome::Line(line) => return line,
        Outcome::Open => {}
    }
    if hop.ip.is_empty()
        && let Some(found) = search("[%i]", line)
    {
        hop.ip = found.ip.unwrap_or_default().to_vec();
    }
    if hop.ip.is_empty() || hop.by.is_empty() || hop.by == b"0" {
        Line::Unknown
    } else {
        Line::Hop(Box::new(hop.finish()))
    }
}

/// With single spaces, without the date; None where the field tells of no peer at all.
fn cleaned(value: &[u8]) -> Option<Vec<u8>> {
    let words: Vec<&[u8]> = value.split(|byte| is_space(*byte)).filter(|word| !word.is_empty()).collect();
    let mut line = words.join(&b' ');
    while let Some(rest) = line.strip_suffix(b";") {
        line.truncate(rest.strip_suffix(b" ").unwrap_or(rest).len());
    }
    let start = line.strip_prefix(b"(").unwrap_or(&line);
    if !starts_with(start, b"from ") || has_words(&line, b"with local for") {
        return None;
    }
    if starts_with(&line, b"from ") {
        let rest = line[5..].to_ascii_lowercase();
        if let Some(found) = matches("%h by %C{ ;}%?{ };", &rest) {
            let helo = found.helo.unwrap_or_default();
            let inner = helo.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
            let literal = inner.is_some_and(|inner| {
                !inner.is_empty() && inner.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
            });
            if !literal {
                return None;
            }
        }
    }
    line.truncate(before_date(&line));
    if let Some(at) = memchr::memmem::find(&line, b")by ") {
        line.insert(at + 1, b' ');
    }
    Some(line)
}

/// Whether those words stand there, and not as part of longer ones.
fn has_words(line: &[u8], words: &[u8]) -> bool {
    memchr::memmem::find_iter(line, words).any(|at| {
        let end = at + words.len();
        let before = at.checked_sub(1).map(|at| line[at]);
        [before, line.get(end).copied()].into_iter().flatten().all(|byte| !is_word(byte))
    })
}

/// How long the line is without a date at its end.
fn before_date(line: &[u8]) -> usize {
    let mut words = line.rsplitn(5, |byte| *byte == b' ');
    let mut next = || words.next().unwrap_or_default();
    let (zone, time, year, month, head) = (next(), next(), next(), next(), next());
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let mut parts = time.split(|byte| *byte == b':');
    let clock = parts.by_ref().take(3).all(digits) && parts.next().is_none() && time.contains(&b':');
    let months: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    if zone.is_empty() || !clock || !digits(year) || !months.contains(&month) {
        return line.len();
    }
    let day = head.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let mut head = &head[..head.len() - day];
    let separates = |byte: &u8| matches!(byte, b' ' | b';');
    if day == 0 || !head.last().is_some_and(separates) {
        return line.len();
    }
    for weekday in [&b"Mon, "[..], b"Tue, ", b"Thu, ", b"Wed, ", b"Fri, ", b"Sat, ", b"Sun, "] {
        if let Some(rest) = head.strip_suffix(weekday).filter(|rest| rest.last().is_some_and(separates)) {
            head = rest;
        }
    }
    while head.last().is_some_and(separates) {
        head = &head[..head.len() - 1];
    }
    head.len()
}

/// A hop while it is made out.
#[derive(Debug, Default)]
struct Draft {
    ip: Vec<u8>,
    helo: Vec<u8>,
    rdns: Vec<u8>,
    by: Vec<u8>,
    id: Vec<u8>,
    ident: Vec<u8>,
    envfrom: Option<Vec<u8>>,
    auth: Vec<u8>,
    looked_up: bool,
}

enum Outcome {
    /// All is known.
    Enough,
    /// It is something else.
    Line(Line),
    /// No dialect fits.
    Open,
}

impl Draft {
    /// What can be told whatever the dialect.
    fn general(line: &[u8]) -> Draft {
        let in_helo = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.^+_&:=?!@%*$\\/".contains(byte);
        let mut draft = Draft::default();
        let mut ids = memchr::memmem::find_iter(line, b" id ").map(|at| {
            let rest = &line[at + 4..];
            let rest = rest.strip_prefix(b"<").unwrap_or(rest);
            &rest[..rest
                .iter()
                .position(|byte| matches!(byte, b' ' | b'<' | b'>' | b';'))
                .unwrap_or(rest.len())]
        });
        draft.id = ids.find(|id| id.len() >= 3).unwrap_or_default().to_vec();
        let helo = [&b"helo="[..], b"HELO ", b"EHLO "].into_iter().enumerate().filter_map(|(rank, word)| {
            let mut places =
                memchr::memmem::find_iter(line, word).filter(|at| !(*at > 0 && is_word(line[at - 1])));
            let place = places.find(|at| line.get(at + word.len()).is_some_and(in_helo))?;
            Some((rank.min(1), place, place + word.len()))
        });
        if let Some((_, _, start)) = helo.min() {
            draft.helo = line[start..].iter().copied().take_while(in_helo).collect();
        }
        if let Some(found) = search(" by %b", line) {
            draft.by = found.by.unwrap_or_default().to_vec();
        }
        draft.auth = super::auth::authentication(line).unwrap_or_default();
        draft
    }

    fn take(&mut self, found: Found<'_>) {
        let set = |slot: &mut Vec<u8>, value: Option<&[u8]>| {
            if let Some(value) = value {
                *slot = value.to_vec();
            }
        };
        set(&mut self.ip, found.ip);
        set(&mut self.helo, found.helo);
        set(&mut self.rdns, found.rdns);
        set(&mut self.by, found.by);
        set(&mut self.ident, found.ident);
    }

    /// `helo=` and `ident=` within brackets.
    fn take_extra(&mut self, extra: &[u8]) {
        let mut extra = extra.to_vec();
        let mut cut = |name: &[u8], least: usize| {
            let at = memchr::memmem::find(&extra, name)?;
            let start = at + name.len();
            let length = extra[start..].iter().take_while(|byte| **byte != b' ').count();
            (length >= least).then(|| extra.drain(at..start + length).skip(name.len()).collect::<Vec<u8>>())
        };
        if let Some(helo) = cut(b"helo=", 1) {
            self.helo = helo;
        }
        if let Some(ident) = cut(b"ident=", 0) {
            self.ident = ident;
        }
    }

    fn finish(mut self) -> Hop {
        while self.rdns.last() == Some(&b'.') {
            self.rdns.pop();
        }
        if self.rdns.eq_ignore_ascii_case(b"unknown") || self.rdns.starts_with(b"[") {
            self.rdns.clear();
        }
        if self.by.last() == Some(&b';') {
            self.by.pop();
        }
        let ip = plain_ip(&self.ip);
        let no_name = self.rdns.is_empty();
        Hop {
            ip: safe(&ip),
            rdns: safe(&self.rdns),
            helo: safe(&self.helo),
            by: safe(&self.by),
            ident: safe(&self.ident),
            envfrom: self.envfrom.as_deref().map(sender),
            id: self.id.into(),
            auth: self.auth.into(),
            no_reverse_dns: no_name && self.looked_up,
            rdns_not_in_headers: no_name && !self.looked_up,
        }
    }
}

/// Without prefix, brackets and zone; IPv4 in IPv6 as IPv4.
fn plain_ip(ip: &[u8]) -> Vec<u8> {
    let ip = if starts_with(ip, b"ipv6:") { &ip[5..] } else { ip };
    let ip = ip.strip_prefix(b"[").unwrap_or(ip);
    let ip = ip.strip_suffix(b"]").unwrap_or(ip);
    let ip = ip.split(|byte| *byte == b'%').next().unwrap_or_default();
    match ip::parse(ip) {
        Some(IpAddr::V6(mapped)) if ip.contains(&b'.') => {
            mapped.to_ipv4_mapped().map_or_else(|| ip.to_vec(), |ip| ip.to_string().into_bytes())
        }
        _ => ip.to_vec(),
    }
}

/// With `!` for characters that would end a value.
fn safe(text: &[u8]) -> Bytes {
    let confuses = |byte: u8| {
        is_space(byte) || matches!(byte, 0 | b'#' | b'[' | b']' | b'(' | b')' | b'<' | b'>' | b'|')
    };
    text.iter().map(|byte| if confuses(*byte) { b'!' } else { *byte }).collect::<Vec<u8>>().into()
}

fn sender(text: &[u8]) -> Bytes {
    let mut text = super::perl::trim(text);
    while let Some(rest) = text.strip_prefix(b"<") {
        text = rest;
    }
    while let Some(rest) = text.strip_suffix(b">") {
        text = rest;
    }
    safe(text)
}

/// After `from`.
fn from(line: &[u8], hop: &mut Draft) -> Outcome {
    hop.envfrom = envelope_sender(line);
    for step in [web_mail, named_servers, first_dialects, qmail, second_dialects, third_dialects] {
        let outcome = step(line, hop);
        if !matches!(outcome, Outcome::Open) {
            return outcome;
        }
    }
    if let Some(line) = ignored(line, hop) {
        return Outcome::Line(line);
    }
    if hop.helo.is_empty() {
        let word = line.iter().take_while(|byte| **byte != b' ').count();
        let outside = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        let end = if word < line.len() { Some(word) } else { line.iter().rposition(outside) };
        hop.helo = line[..end.unwrap_or(0)].to_vec();
    }
    Outcome::Open
}

/// The sender that a comment tells.
fn envelope_sender(line: &[u8]) -> Option<Vec<u8>> {
    let words: [&[u8]; 6] = [
        b"return-path: ",
        b"return-path ",
        b"envelope-sender ",
        b"envelope-sender=",
        b"envelope-from ",
        b"envelope-from=",
    ];
    let mut places: Vec<usize> = Vec::new();
    for word in words {
        let mut from = 0;
        while let Some(at) = find(line, word, from) {
            from = at + word.len();
            places.push(from);
        }
    }
    places.sort_unstable();
    places.into_iter().find_map(|start| {
        let word = &line[start..start + line[start..].iter().take_while(|byte| **byte != b' ').count()];
        // It ends where a word begins or ends; what has no such place, as `<>`, is none.
        let after = |at: usize| line.get(start + at).is_some_and(|byte| is_word(*byte));
        let end = (1..=word.len()).rev().find(|end| is_word(word[end - 1]) != after(*end))?;
        Some(word[..end].to_vec())
    })
}

fn web_mail(line: &[u8], hop: &mut Draft) -> Outcome {
    let has = |text: &[u8]| memchr::memmem::find(line, text).is_some();
    if has(b" (SquirrelMail authenticated user ") || has(b" (NaSMail authenticated user ") {
        let mut from = 0;
        while let Some(range) = ip::find(line, from) {
            from = range.start + 1;
            let goes_on =
                line.get(range.end).is_some_and(|byte| is_word(*byte) || matches!(byte, b'.' | b'-'));
            // The farthest within reach counts.
            let mut gaps = (10..=80).rev().filter(|_| !goes_on).filter_map(|gap| line.get(range.end + gap..));
            if let Some(found) = gaps.find_map(|rest| matches("by %b with HTTP", rest)) {
                hop.ip = line[range].to_vec();
                hop.take(found);
                return Outcome::Enough;
            }
        }
    }
    if has(b"aol.com")
        && let Some(found) = search("%i by %b (%I) with HTTP (WebMailUI)", line)
    {
        hop.take(found);
        return Outcome::Enough;
    }
    Outcome::Open
}

/// Servers that name themselves.
fn named_servers(line: &[u8], hop: &mut Draft) -> Outcome {
    let has = |text: &[u8]| memchr::memmem::find(line, text).is_some();
    let mut one = |pattern: &str| matches(pattern, line).map(|found| hop.take(found)).is_some();
    if has(b" SMTPSVC") {
        if one("%h* ([%i]%c{)}) by %b with Microsoft SMTPSVC") {
            return Outcome::Enough;
        }
        if matches("mail pickup service by %s with Microsoft SMTPSVC%$", line).is_some() {
            return Outcome::Line(Line::Ignored);
        }
    } else if is_exchange(line) {
        if one("%h (%?{[}%i%?{%%%c{]) }}%?{]}) by %b ") {
            hop.id.clear();
            return Outcome::Enough;
        }
    } else if has(b"[XMail ") {
        if one("%h ([%i]:%w) by %b%?{ (%s)} with [XMail") || one("%h (%i:%w) by %b%?{ (%s)} with [XMail") {
            if let Some(found) = search(" id <%h>", line) {
                hop.id = found.helo.unwrap_or_default().to_vec();
            }
            if let Some(found) = search(" from <%h>", line) {
                hop.envfrom = found.helo.map(<[u8]>::to_vec);
            }
            return Outcome::Enough;
        }
    } else if has(b"(ecelerity") {
        if one("([%i:%w] helo=%h) by %b ") || one("%s ([%i:%w]) by %b ") {
            return Outcome::Enough;
        }
    } else if has(b"Exim") {
        return exim(line, hop);
    } else if has(b" (Postfix) with") {
        if one("%h (%r [%i]) by %b ") || one("%h (%r[%i]) by %b ") {
            hop.looked_up = true;
            if hop.rdns == b"unknown" {
                hop.rdns.clear();
            }
            return Outcome::Enough;
        }
    } else if (has(b"(Scalix SMTP Relay") && (one("%h ( %i) by %b") || one("%h (%i) by %b")))
        || (has(b" (Lotus Domino ") && one("%h ([%i]) by %b (Lotus"))
    {
        return Outcome::Enough;
    }
    Outcome::Open
}

fn is_exchange(line: &[u8]) -> bool {
    let has = |text: &str| memchr::memmem::find(line, text.as_bytes()).is_some();
    ["Microsoft SMTP Server", "mapi id"].iter().filter(|name| has(name)).any(|name| {
        let version = format!(" with {name} %?{{(%C{{)}}) }}%w.%w.%w.%w");
        search(&format!("{version} "), line).or_else(|| search(&format!("{version}%$"), line)).is_some()
    })
}

fn exim(line: &[u8], hop: &mut Draft) -> Outcome {
    let local = memchr::memmem::find_iter(line, b"with local").any(|at| {
        let rest = &line[at + 10..];
        let open = !(at > 0 && is_word(line[at - 1]));
        open && (rest.starts_with(b" ") || matches("-%s ", rest).is_some())
    });
    if local {
        return Outcome::Line(Line::Ignored);
    }
    for (pattern, name_is_helo) in [("[%i] (%x) by %b ", false), ("%R ([%i]%x) by %b ", true)] {
        if let Some(found) = matches(pattern, line) {
            hop.take(found);
            debug_assert!(!name_is_helo || found.helo.is_some());
            hop.take_extra(found.extra.unwrap_or_default());
            return Outcome::Enough;
        }
    }
    if let Some(found) = matches("%R [%i]%?{:%w} by %b ", line) {
        hop.take(found);
        return Outcome::Enough;
    }
    if let Some(found) = matches("%r ", line) {
        hop.take(found);
    }
    for pattern in [" (%h) ", " [%i%?{.%w}] "] {
        if let Some(found) = search(pattern, line) {
            hop.take(found);
        }
    }
    if let Some(found) = search("by %b ", line) {
        hop.take(found);
        if !hop.ip.is_empty() {
            return Outcome::Enough;
        }
    }
    Outcome::Open
}

/// A dialect: how it looks, and whether its relay has looked up the peer's name.
type Dialect = (&'static str, bool);

/// The first that fits.
fn one_of(dialects: &[Dialect], line: &[u8], hop: &mut Draft) -> Outcome {
    for (pattern, looked_up) in dialects {
        if let Some(found) = matches(pattern, line) {
            hop.take(found);
            hop.looked_up |= looked_up;
            return Outcome::Enough;
        }
    }
    Outcome::Open
}

fn first_dialects(line: &[u8], hop: &mut Draft) -> Outcome {
    if has_words(line, b"with HTTP")
        && let Some(found) = matches("%i ([%I]) by %b", line)
    {
        hop.take(found);
        return Outcome::Enough;
    }
    let is_qmail = search(" by %s (qmail-%s) with ", line).is_some();
    if !is_qmail && let Some(found) = matches("%h (%r [%i]%a) by %b (", line) {
        hop.take(found);
        hop.looked_up = true;
        if let Some(at) = memchr::memchr(b'@', &hop.rdns) {
            let ident: Vec<u8> = hop.rdns.drain(..=at).take(at).collect();
            hop.ident = ident.strip_prefix(b"IDENT:").unwrap_or(&ident).to_vec();
        }
        return Outcome::Enough;
    }
    let outcome = one_of(
        &[
            ("%h (%r [%i]) by %b with %s (", true),
            ("%r ([%i] helo=%h) by %b with ", false),
            ("%h (<unknown%s*>[%i]) by %b ", false),
            ("%h (%o[%i]) by %b ", true),
            ("%h (%d*@[%i]%a) by %b (", true),
        ],
        line,
        hop,
    );
    if !matches!(outcome, Outcome::Open) {
        return outcome;
    }
    let hotmail =
        search("by %b ", line).filter(|found| found.by.is_some_and(|by| by.ends_with(b".hotmail.msn.com")));
    if let Some(found) = hotmail {
        hop.take(found);
        if let Some(found) = matches("%i ", line) {
            hop.take(found);
        }
        return Outcome::Enough;
    }
    one_of(
        &[
            ("%r (%E %h*) (%i) by %b (qpsmtpd/%s) with %|{ESMTP|SMTP}", false),
            ("%r (LHLO %h*) (%i) by %b with LMTP", false),
            ("%r (%E %h*) [%i] by %b (%C{)}) with %|{ESMTP|SMTP}", false),
            ("%h ([%i]) by %b via smtpd (for %s) with SMTP(", false),
        ],
        line,
        hop,
    )
}

/// Where HELO is told only if it is not the name.
fn qmail(line: &[u8], hop: &mut Draft) -> Outcome {
    let head = "%s%?{ (%E %s*)} (%?{%s@}%?{[}%I%?{]})%?{ (envelope-sender <%s>)} by %s%?{ (%a)} with %?{%a }%|{SMTP|QMQP}%!{ id }";
    if matches(head, line).is_none() {
        return Outcome::Open;
    }
    for pattern in [
        "%r (%E %h*) (%d*@%?{[}%i%?{]})%?{ (envelope-sender <%s>)} by %b",
        "%r (%E %h*) (%?{[}%i%?{]})%?{ (envelope-sender <%s>)} by %b",
        "%R (%d*@%?{[}%i%?{]})%?{ (envelope-sender <%s>)} by %b",
        "%R (%?{[}%i%?{]})%?{ (envelope-sender <%s>)} by %b",
    ] {
        if let Some(found) = matches(pattern, line) {
            hop.take(found);
            break;
        }
    }
    if hop.rdns == b"unknown" {
        hop.rdns.clear();
    } else {
        hop.looked_up = true;
    }
    Outcome::Enough
}

fn second_dialects(line: &[u8], hop: &mut Draft) -> Outcome {
    let outcome = one_of(
        &[
            ("[%i] by %b via HTTP%$", false),
            ("%s ( [%i])%z by %b ", false),
            ("(%h [%i]) by %b ", false),
            ("[%i] by %b ", false),
            ("(%?{[}%i%?{]}) by %b ", false),
            ("%h [%i] by %b [%I] with ", true),
            ("%h [(%i)] by %b (%I) ", false),
            ("%h ([%i]) by %b (", true),
        ],
        line,
        hop,
    );
    if !matches!(outcome, Outcome::Open) {
        return outcome;
    }
    if let Some(mut found) = matches("%h (%r [%i])%z by %b", line) {
        // What follows the last word is not part of it.
        let by = found.by.unwrap_or_default();
        let end = by.iter().rposition(|byte| is_word(*byte)).map_or(0, |at| at + 1);
        found.by = Some(&by[..end]);
        let no_answer = found.rdns == Some(b"softdnserr");
        if no_answer {
            found.rdns = None;
        }
        if end > 0 {
            hop.take(found);
            hop.looked_up = !no_answer;
            return Outcome::Enough;
        }
    }
    let outcome = one_of(
        &[
            ("%h ([%i%?{%|{.|:}%w}])%z by %b ", true),
            ("%h (%r [%i])%?{ (authenticated bits=%w)} by %b (", true),
        ],
        line,
        hop,
    );
    if !matches!(outcome, Outcome::Open) {
        return outcome;
    }
    let has = |text: &[u8]| memchr::memmem::find(line, text).is_some();
    if has(b"with POP3") || has(b"with IMAP") {
        return Outcome::Line(Line::Fetched);
    }
    one_of(
        &[("%r (%E %k) (%?{%d*@}%?{[}%i%?{]})%a by %b ", true), ("%R (%?{%d*@}%?{[}%i%?{]})%a by %b ", true)],
        line,
        hop,
    )
}

fn third_dialects(line: &[u8], hop: &mut Draft) -> Outcome {
    if matches("%s by %s with BSMTP", line).is_some()
        || matches("%s (%s) by %s (Content Technologies ", line).is_some()
    {
        return Outcome::Line(Line::Ignored);
    }
    let is_communigate = memchr::memmem::find(line, b" (CommuniGate Pro").is_some();
    let outcome = one_of(
        &[
            ("%r(%i) by %b via smap ", true),
            ("%r(%i, %E %h*) by %b via smap ", true),
            ("%i by %b (%|{SMTPL|InterScan}", false),
            ("%h (%r [%i]) by %b with ", true),
            ("%r (%E %h*) (%?{%d@}%i%z) by %b with ", true),
            ("[%i] (%?{account %s }%E %h*) by %b (", false),
            if is_communigate { ("%R ([%i] verified) by %b (", true) } else { ("%$", false) },
            ("([%i]) by %b with ", false),
            ("%D%h (%i) by %b ", false),
            ("%h ([%i] [%s]) by %b with ", false),
            ("%i by %b with ", false),
            ("%h (%r[%i]) by %b ", true),
            ("[%i]%s (%E %h*) by %b ", false),
            ("%i (%E %h*) by %b ", false),
            ("%h [%i] by %b ", false),
            ("%r(%i) by %b ", false),
            ("%h (unverified [%i]) by %b ", false),
            ("%i (%L%C{)}) by %b with ", false),
        ],
        line,
        hop,
    );
    if !matches!(outcome, Outcome::Open) {
        return outcome;
    }
    if let Some(found) = matches("[%i] (%X) by %b ", line) {
        hop.take(found);
        hop.take_extra(found.extra.unwrap_or_default());
        return Outcome::Enough;
    }
    if let Some(found) = matches("%r (%?{%s@}%i) by %b with ", line) {
        hop.take(found);
        return Outcome::Enough;
    }
    if let Some(found) = matches("%r(%i)%?{, claiming to be \"%h\"} via %s by %b,", line) {
        hop.take(found);
        hop.helo = found.helo.unwrap_or_default().to_vec();
        hop.looked_up = found.rdns != Some(b"UNKNOWN");
        return Outcome::Enough;
    }
    let yahoo = |by: Option<&[u8]>| by.is_some_and(|by| by.ends_with(b".yahoo.com"));
    if let Some(mut found) =
        matches("%h (%d@%i with login) by %b with SMTP", line).filter(|found| yahoo(found.by))
    {
        found.ident = None;
        hop.take(found);
        return Outcome::Enough;
    }
    if let Some(found) = matches("X-Originating-IP: %i%$", line) {
        hop.take(found);
        hop.by.clear();
        return Outcome::Enough;
    }
    Outcome::Open
}

/// Fields that tell of no peer.
const IGNORED: [&str; 26] = [
    "%s (%C{ @}@%l) by %s (",
    "%s %s by %s with local-%?{e}smtp ",
    "127.0.0.1 (AVG SMTP %s [%s])",
    "%s@%s by %s by uid %s ",
    "%s@%s by %s ",
    "Unknown/Local (",
    "%l (%?{%s@}%l%|{)|[}",
    "%s (%?{%s@}%l) ",
    "%s (%s@%s [%l]) ",
    "(AUTH: %s) by %s with ",
    "localhost (localhost [[UNIX: localhost]]) by ",
    "%s.amazon.com by %s.amazon.com with ESMTP (peer crosscheck: ",
    "%C{.} by %s with Novell_GroupWise",
    "no.name.available by %s via smtpd (for ",
    "%s by %s with local",
    "%s ([unix socket]) by %s (Cyrus v%w.%w.%w) with LMTPA",
    "%s by %s %|{with|via|for|(}",
    "%s %|{with|via|for} %s by ",
    "%s (unverified) by ",
    "%s (unknown) by %s (SG) with ",
    "%s (%s [local]) by %s (OpenSMTPD) with ",
    "([%l]) with MailEnable ",
    "facebook.com (%C{)}) by facebook.com with Thrift id %s%$",
    "%s named %s by gmailapi.google.com with HTTPREST%$",
    "%s id %s%$",
    "[<%z (Jetsend",
];

fn ignored(line: &[u8], hop: &Draft) -> Option<Line> {
    for (place, pattern) in IGNORED.iter().enumerate() {
        // Before those it is looked whether qmail-scanner has told the sender.
        if place == 14
            && let Some(found) = matches("%s by %s (%x) with qmail-scanner", line)
            && found.extra.is_some_and(|extra| extra.len() <= 100)
        {
            return Some(Line::Scanned(hop.envfrom.as_deref().map(sender)));
        }
        if matches(pattern, line).is_some() {
            return Some(Line::Ignored);
        }
    }
    memchr::memmem::find(line, b"(LSMTP for").map(|_| Line::Ignored)
}

/// After `FROM`.
fn shouted(line: &[u8], hop: &mut Draft) -> Outcome {
    let Some(found) =
        matches("%h (%r [%i]) BY %b %?{(%C{)}) WITH SMTP }ID %?{<}%d%?{>}%?{ FOR <%C{>}>}%$", line)
    else {
        return Outcome::Open;
    };
    hop.take(Found { ident: None, ..found });
    hop.looked_up = true;
    hop.id = found.ident.map(|id| id.strip_suffix(b">").unwrap_or(id)).unwrap_or_default().to_vec();
    if hop.rdns == b"unverified" {
        hop.rdns.clear();
    }
    Outcome::Enough
}

/// After `(from`.
fn in_brackets(line: &[u8], hop: &mut Draft) -> Outcome {
    if let Some(found) = matches("%h* [%i]) by %b (NAVGW %z) with ", line) {
        hop.take(found);
        return Outcome::Enough;
    }
    let none = ["%s@localhost) by %s ", "%C{ @}@%C{)}) by %s(jqueuemail) id %C{ ;}"];
    if none.iter().any(|pattern| matches(pattern, line).is_some()) {
        Outcome::Line(Line::Ignored)
    } else {
        Outcome::Open
    }
}
