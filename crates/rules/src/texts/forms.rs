//! Values of headers and pseudo headers, and what modifiers make of them.

use bytes::Bytes;

use super::domains::{Registry, idn_to_ascii, is_fqdn_valid, tld_end};
use super::header::{Header, decode_value, spaced};
use super::perl::{is_space, lines, starts_with, trim};
use super::request::HeaderRequest;
use super::{Texts, address, ip};

/// The values that were found, from the top.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderValues(pub Vec<Bytes>);

impl HeaderValues {
    /// The text a rule is matched against: one behind another, or line by line where they have no line end of their own. None
    /// if there is no value.
    pub fn joined(&self) -> Option<Bytes> {
        match self.0.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            several => {
                let between: &[u8] = if several[0].ends_with(b"\n") { b"" } else { b"\n" };
                Some(several.join(between).into())
            }
        }
    }
}

/// What is asked for.
pub(crate) fn values(texts: &Texts<'_>, request: &HeaderRequest) -> HeaderValues {
    let raw = request.raw;
    let mut values = match request.name.as_str() {
        "ALL" if raw => return HeaderValues(pristine_fields(&texts.tree.head)),
        "ALL" => return HeaderValues(all(texts)),
        "ALL-TRUSTED" => {
            return HeaderValues(between(texts, None, Some(texts.relays().last_trusted + 1), raw));
        }
        "ALL-INTERNAL" => {
            return HeaderValues(between(texts, None, Some(texts.relays().last_internal + 1), raw));
        }
        "ALL-UNTRUSTED" => {
            return HeaderValues(between(texts, Some(texts.relays().last_trusted + 1), None, raw));
        }
        "ALL-EXTERNAL" => {
            return HeaderValues(between(texts, Some(texts.relays().last_internal + 1), None, raw));
        }
        name => named(texts, name, request),
    };
    if request.first {
        values.truncate(1);
    } else if request.last {
        values.drain(..values.len().saturating_sub(1));
    }
    if request.addr || request.display_name {
        values = entries(&values, request);
    }
    let registry = &texts.settings.registry;
    if request.host {
        values = values.iter().filter_map(|value| host(registry, value, request)).collect();
    } else if request.ip {
        let found = |value: &Bytes| find_ip(value).map(|range| value.slice(range));
        let reversed =
            |value: Bytes| if request.revip { ip::reversed(&value).map(Bytes::from) } else { Some(value) };
        values = values.iter().filter_map(found).filter_map(reversed).collect();
    }
    HeaderValues(values)
}

fn named(texts: &Texts<'_>, name: &str, request: &HeaderRequest) -> Vec<Bytes> {
    let header = &texts.tree.nodes[0].header;
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let relays = |text: &Bytes| vec![text.clone()];
    if is("EnvelopeFrom") {
        return texts.envelope_from().cloned().into_iter().collect();
    } else if is("X-Spam-Relays-Untrusted") {
        return relays(&texts.relays().untrusted_text);
    } else if is("X-Spam-Relays-Trusted") {
        return relays(&texts.relays().trusted_text);
    } else if is("X-Spam-Relays-External") {
        return relays(&texts.relays().external_text);
    } else if is("X-Spam-Relays-Internal") {
        return relays(&texts.relays().internal_text);
    }
    let unfolded = |name: &str| -> Vec<Bytes> {
        let of = |field: &super::header::Field| match request.raw {
            true => Bytes::copy_from_slice(&spaced(&field.raw)),
            false => line(field.decoded()),
        };
        header.all(name.as_bytes()).map(of).collect()
    };
    if is("ToCc") {
        return [unfolded("To"), unfolded("Cc")].concat();
    }
    if name == "MESSAGEID" {
        let names = ["X-Message-Id", "Resent-Message-Id", "X-Original-Message-ID", "Message-Id"];
        return names.into_iter().flat_map(unfolded).filter(|value| !value.is_empty()).collect();
    }
    let as_written = request.raw || request.addr || request.display_name;
    let values: Vec<Bytes> = header
        .all(name.as_bytes())
        .map(|field| if as_written { field.raw.clone() } else { line(field.decoded()) })
        .collect();
    if values.is_empty() { metadata(texts, name).into_iter().collect() } else { values }
}

/// Pseudo headers that other checks make, and two of SpamAssassin's own.
fn metadata(texts: &Texts<'_>, name: &str) -> Option<Bytes> {
    if let Some((_, value)) = texts.metadata.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Some(value.clone());
    }
    if let Some(value) = texts.made(name) {
        return Some(value);
    }
    let hosts = |request: &str| values(texts, &HeaderRequest::parse(request)).0;
    if name.eq_ignore_ascii_case("X-SenderDomain") {
        return hosts("EnvelopeFrom:first:addr:host")
            .first()
            .map(|host| idn_to_ascii(host).into_owned().into());
    }
    if name.eq_ignore_ascii_case("X-AuthorDomain") {
        let mut domains: Vec<Vec<u8>> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for host in hosts("From:addr:host") {
            if seen.insert(host.clone()) {
                domains.push(idn_to_ascii(&host).into_owned());
            }
        }
        return (!domains.is_empty()).then(|| domains.join(&b' ').into());
    }
    None
}

/// With a line end.
fn line(value: &[u8]) -> Bytes {
    [value, b"\n"].concat().into()
}

fn all(texts: &Texts<'_>) -> Vec<Bytes> {
    texts.tree.nodes[0].header.lines(false).0.into_iter().map(Bytes::from).collect()
}

/// The fields as they came, folds and all.
fn pristine_fields(head: &Bytes) -> Vec<Bytes> {
    let mut fields = Vec::new();
    let mut at = 0;
    let mut start: Option<usize> = None;
    let starts: Vec<usize> = lines(head)
        .map(|line| {
            at += line.len();
            at - line.len()
        })
        .collect();
    for place in starts {
        if matches!(head[place], b' ' | b'\t') {
            continue;
        }
        if let Some(start) = start.replace(place) {
            fields.push(head.slice(start..place));
        }
    }
    if let Some(start) = start.filter(|start| head[*start..].len() > 1 && head.ends_with(b"\n")) {
        fields.push(head.slice(start..));
    }
    fields.retain(|field| field[..] != b"\n"[..]);
    fields
}

/// The fields from the `Received` of that index to that of the other.
fn between(texts: &Texts<'_>, start: Option<i64>, end: Option<i64>, raw: bool) -> Vec<Bytes> {
    if end.is_some_and(|end| end < 0) {
        return Vec::new();
    }
    let fields = if raw { pristine_fields(&texts.tree.head) } else { all(texts) };
    let mut found = Vec::new();
    let mut index = -1;
    for field in fields {
        if starts_with(&field, b"Received:") {
            index += 1;
        }
        if end == Some(index) {
            found.push(field);
            break;
        }
        if start.is_none_or(|start| start <= index) && end.is_none_or(|end| index < end) {
            found.push(field);
        }
    }
    found
}

/// Addresses or names in values as they came.
fn entries(values: &[Bytes], request: &HeaderRequest) -> Vec<Bytes> {
    let mut found = Vec::new();
    for entry in values.iter().flat_map(|value| address::parse(value)) {
        if request.addr {
            found.extend(entry.address.map(Bytes::from));
        } else if let Some(phrase) = entry.phrase {
            found.push(if request.raw { phrase.into() } else { display_name(&phrase) });
        }
    }
    found
}

/// A name decoded, with single spaces and without single quotes around it.
fn display_name(phrase: &[u8]) -> Bytes {
    let decoded = decode_value(phrase, b"PMS:get");
    if trim(&decoded).is_empty() {
        return decoded;
    }
    let words: Vec<&[u8]> = decoded.split(|byte| is_space(*byte)).filter(|word| !word.is_empty()).collect();
    let name = words.join(&b' ');
    match name.as_slice() {
        [b'\'', inner @ .., b'\''] => Bytes::copy_from_slice(inner),
        _ => name.into(),
    }
}

/// The first host in a value, or its domain.
fn host(registry: &Registry, value: &[u8], request: &HeaderRequest) -> Option<Bytes> {
    let host = if request.addr { host_of_address(value) } else { host_in(registry, value) }?;
    if host.is_empty() || host == b"0" {
        return None;
    }
    Some(if request.domain { registry.trim_domain(host).into() } else { Bytes::copy_from_slice(host) })
}

fn host_of_address(address: &[u8]) -> Option<&[u8]> {
    let sign = memchr::memrchr_iter(b'@', address)
        .find(|at| address.get(at + 1).is_some_and(|byte| !is_space(*byte)))?;
    let rest = &address[sign + 1..];
    Some(&rest[..rest.iter().position(|byte| is_space(*byte)).unwrap_or(rest.len())])
}

/// Behind an `@` first, then anywhere.
fn host_in<'a>(registry: &Registry, value: &'a [u8]) -> Option<&'a [u8]> {
    let valid = |host: &[u8]| is_fqdn_valid(&idn_to_ascii(host).to_ascii_lowercase());
    let behind_sign = lines(value).find_map(|line| {
        let mut signs = memchr::memrchr_iter(b'@', line);
        signs.find_map(|at| host_from(registry, line, at + 1))
    });
    if let Some(host) = behind_sign.filter(|host| valid(host)) {
        return Some(host);
    }
    let mut at = 0;
    while at < value.len() {
        let run = value[at..].iter().take_while(|byte| !is_space(**byte)).count();
        if let Some(host) = valid_host(registry, value, at..at + run) {
            return Some(host);
        }
        at += run + 1;
    }
    None
}

/// The first valid host in a run without white space.
fn valid_host<'a>(registry: &Registry, value: &'a [u8], run: std::ops::Range<usize>) -> Option<&'a [u8]> {
    const LONGEST: usize = 251;
    let goes_on = |byte: Option<&u8>| matches!(byte, Some(b'.' | b'_' | b'-'));
    let dots = memchr::memchr_iter(b'.', &value[run.clone()]).map(|dot| run.start + dot);
    let ends: Vec<(usize, usize)> = dots
        .filter_map(|dot| Some((dot, tld_end(registry, value, dot)?)))
        .filter(|(_, end)| !goes_on(value.get(*end)))
        .collect();
    let mut at = run.start;
    while at < run.end && !ends.is_empty() {
        let within = ends.partition_point(|(dot, _)| *dot <= at + LONGEST);
        let end = ends[..within].last().filter(|(dot, _)| *dot > at).map(|(_, end)| *end);
        match end.filter(|_| at == 0 || !goes_on(value.get(at - 1))) {
            Some(end) if is_fqdn_valid(&idn_to_ascii(&value[at..end]).to_ascii_lowercase()) => {
                return Some(&value[at..end]);
            }
            Some(end) => at = end,
            None => at += 1,
        }
    }
    None
}

/// The longest host that begins there.
fn host_from<'a>(registry: &Registry, text: &'a [u8], from: usize) -> Option<&'a [u8]> {
    let rest = &text[from..];
    let run = rest.iter().take(252).take_while(|byte| !is_space(**byte)).count();
    let mut dots = memchr::memrchr_iter(b'.', &rest[..run]).filter(|dot| *dot > 0);
    let end = dots.find_map(|dot| {
        let end = tld_end(registry, text, from + dot)?;
        (!matches!(text.get(end), Some(b'.' | b'_' | b'-'))).then_some(end)
    })?;
    Some(&text[from..end])
}

/// The first address of IP that isn't part of something longer.
fn find_ip(value: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut from = 0;
    while let Some(range) = ip::find(value, from) {
        let word = |at: Option<usize>| {
            at.and_then(|at| value.get(at)).is_some_and(|byte| super::perl::is_word(*byte))
        };
        let before = range.start.checked_sub(1);
        let open = word(before) != word(Some(range.start)) && before.is_none_or(|at| value[at] != b'.');
        let closed =
            word(Some(range.end - 1)) != word(Some(range.end)) && value.get(range.end) != Some(&b'.');
        if open && closed {
            return Some(range);
        }
        from = range.start + 1;
    }
    None
}

/// The envelope's sender, by what the header says.
pub(crate) fn envelope_from(texts: &Texts<'_>) -> Option<Bytes> {
    let header = &texts.tree.nodes[0].header;
    let first = |name: &str| {
        let request = HeaderRequest { first: true, addr: true, ..HeaderRequest::parse(name) };
        values(texts, &request).0.into_iter().next()
    };
    let usable = |sender: &Bytes| sender.is_empty() || memchr::memchr(b'@', sender).is_some_and(|at| at > 0);
    if let Some(name) = &texts.settings.envelope_sender_header {
        return first(name).filter(usable);
    }
    let relays = texts.relays();
    let hop = relays.untrusted.first().or(relays.trusted.last());
    if let Some(sender) = hop.and_then(|hop| hop.envfrom.clone()).filter(usable) {
        return Some(sender);
    }
    let fetched =
        |field: &super::header::Field| memchr::memmem::find(field.decoded(), b"(fetchmail").is_some();
    if first("X-Sender").is_some_and(|sender| sender.contains(&b'@')) && header.all(b"Received").any(fetched)
    {
        return None;
    }
    let (sender, late) = (first("X-Envelope-From"), below_received(header, b"X-Envelope-From"));
    if sender.is_some() {
        return sender.filter(|_| !late);
    }
    ["Envelope-Sender", "Return-Path"]
        .into_iter()
        .find_map(|name| first(name).filter(|_| !below_received(header, name.as_bytes())))
}

/// Whether such a field stands below one that a relay put there, so that it may be from before that.
fn below_received(header: &Header, name: &[u8]) -> bool {
    let mut fields = header.fields.iter().skip_while(|field| !field.name.eq_ignore_ascii_case(b"Received"));
    fields.next();
    fields.any(|field| field.name.eq_ignore_ascii_case(name))
}
