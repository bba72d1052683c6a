//! The values of tags in names that are asked for.

use std::collections::HashMap;

use super::lists::{Capture, Lists};
use super::{Plan, asn};
use crate::conf::Definition;
use crate::evals::Known;
use crate::subject::Subject;
use crate::texts::{HeaderRequest, Relay, Texts, ip};

/// The most values of one tag.
const MOST_VALUES: usize = 50;
/// Longer values stand in no name.
const LONGEST: usize = 1000;

/// The tags of a template, sorted, each once: `_DKIMDOMAIN_`, `_HEADER(Reply-To:addr:domain)_`.
pub(super) fn names(template: &str) -> Vec<String> {
    let mut names = Vec::new();
    let bytes = template.as_bytes();
    let mut at = 0;
    while let Some(start) = memchr::memchr(b'_', &bytes[at..]).map(|found| at + found) {
        at = start + 1;
        if let Some(length) = tag_length(&bytes[start + 1..]) {
            names.push(template[start + 1..start + 1 + length].to_string());
            at = start + length + 2;
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// How long the tag is that begins there and that `_` follows.
fn tag_length(rest: &[u8]) -> Option<usize> {
    let part = |from: usize| {
        let all = rest.get(from..).unwrap_or_default();
        all.iter().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()).count()
    };
    if !rest.first()?.is_ascii_uppercase() {
        return None;
    }
    let mut length = part(0);
    while rest.get(length) == Some(&b'_') && part(length + 1) > 0 {
        length += 1 + part(length + 1);
    }
    if rest.get(length) == Some(&b'(') {
        let mut from = length;
        while let Some(close) = memchr::memchr(b')', &rest[from..]).map(|at| from + at) {
            if rest.get(close + 1) == Some(&b'_') {
                return Some(close + 1);
            }
            from = close + 1;
        }
        return None;
    }
    (rest.get(length) == Some(&b'_')).then_some(length)
}

/// Tags of one message.
pub(super) struct Values<'a, 't> {
    texts: &'a Texts<'t>,
    known: &'a Known,
    captured: HashMap<String, Vec<String>>,
    planned: HashMap<String, Vec<String>>,
    /// Tags that become known by answers.
    pub late: Vec<String>,
}

impl<'a, 't> Values<'a, 't> {
    pub fn new(lists: &Lists, texts: &'a Texts<'t>, known: &'a Known, plan: &Plan) -> Values<'a, 't> {
        let mut captured = HashMap::new();
        for capture in &lists.captures {
            capture_tags(capture, texts, plan, &mut captured);
        }
        Values { texts, known, captured, planned: plan.tags.clone(), late: asn::late(lists, plan) }
    }

    /// The values of a tag, by its name in capital letters, perhaps with an argument; none is empty.
    pub fn of(&self, tag: &str) -> Vec<String> {
        let mut values = self.all(tag);
        values.retain(|value| !value.is_empty() && value.len() <= LONGEST);
        values.truncate(MOST_VALUES);
        values
    }

    fn all(&self, tag: &str) -> Vec<String> {
        if let Some((name, argument)) = tag.strip_suffix(')').and_then(|tag| tag.split_once('(')) {
            return if name == "HEADER" {
                self.field(argument).into_iter().collect()
            } else {
                self.all(name)
            };
        }
        let relays = self.texts.relays();
        let text = |bytes: &[u8]| vec![String::from_utf8_lossy(bytes).into_owned()];
        let of = |relay: Option<&Relay>, what: fn(&Relay) -> Vec<u8>| {
            relay.map(|relay| text(&what(relay))).unwrap_or_default()
        };
        let reversed = |relay: &Relay| ip::reversed(&relay.ip).unwrap_or_default();
        let (first, last) = (relays.trusted.last(), relays.external.first());
        let all = |all: &[Relay]| -> Vec<String> {
            let public = all.iter().filter(|relay| !relay.private);
            public.flat_map(|relay| text(&reversed(relay))).filter(|value| !value.is_empty()).collect()
        };
        match tag {
            "SENDERDOMAIN" => self.field("X-SenderDomain").into_iter().collect(),
            "AUTHORDOMAIN" => self.words("X-AuthorDomain"),
            "LANGUAGES" => self.field("X-Languages").into_iter().collect(),
            "FIRSTTRUSTEDIP" => of(first, |relay| relay.ip.to_vec()),
            "FIRSTTRUSTEDREVIP" => of(first, |relay| ip::reversed(&relay.ip).unwrap_or_default()),
            "LASTEXTERNALIP" => of(last, |relay| relay.ip.to_vec()),
            "LASTEXTERNALREVIP" => of(last, |relay| ip::reversed(&relay.ip).unwrap_or_default()),
            "LASTEXTERNALRDNS" => of(last, |relay| relay.rdns.to_vec()),
            "LASTEXTERNALHELO" => of(last, |relay| relay.helo.to_vec()),
            "RELAYSTRUSTED" => text(&relays.trusted_text),
            "RELAYSUNTRUSTED" => text(&relays.untrusted_text),
            "RELAYSINTERNAL" => text(&relays.internal_text),
            "RELAYSEXTERNAL" => text(&relays.external_text),
            "RELAYSTRUSTEDREVIP" => all(&relays.trusted),
            "RELAYSUNTRUSTEDREVIP" => all(&relays.untrusted),
            "RELAYSINTERNALREVIP" => all(&relays.internal),
            "RELAYSEXTERNALREVIP" => all(&relays.external),
            _ => self.told(tag),
        }
    }

    /// What rules captured, what other checks know, what was made out for the lists of addresses of pages; what plugins made out.
    fn told(&self, tag: &str) -> Vec<String> {
        let told =
            self.captured.get(tag).or_else(|| self.known.tags.get(tag)).or_else(|| self.planned.get(tag));
        if let Some(values) = told {
            return values.clone();
        }
        if tag != "DKIMDOMAIN" {
            let of_plugins = self.texts.tags().into_iter().find(|(name, _)| name == tag);
            let values = of_plugins.into_iter().flat_map(|(_, values)| values);
            return values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect();
        }
        let valid = self.known.dkim.iter().flatten().filter(|signature| signature.valid);
        let mut domains: Vec<String> = valid.map(|signature| signature.identity_domain.clone()).collect();
        domains.dedup();
        domains
    }

    fn field(&self, request: &str) -> Option<String> {
        let value = self.texts.header(&HeaderRequest::parse(request)).joined()?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    fn words(&self, request: &str) -> Vec<String> {
        self.field(request)
            .map(|text| text.split_whitespace().map(String::from).collect())
            .unwrap_or_default()
    }
}

/// Looks for what a rule captures, as far as the rule itself would.
fn capture_tags(capture: &Capture, texts: &Texts<'_>, plan: &Plan, tags: &mut HashMap<String, Vec<String>>) {
    let chunks: Vec<bytes::Bytes> = match &capture.definition {
        Definition::Header { field, unset, .. } => {
            let value = texts.header(field).joined();
            value
                .or_else(|| unset.as_ref().map(|unset| bytes::Bytes::copy_from_slice(unset)))
                .into_iter()
                .collect()
        }
        Definition::Body(_) => texts.body().iter().skip(usize::from(capture.no_subject)).cloned().collect(),
        Definition::RawBody(_) => texts.rawbody().to_vec(),
        Definition::Full(_) => vec![texts.full().clone()],
        Definition::Uri(_) => texts.uris().iter().flat_map(|uri| uri.cleaned.iter().cloned()).collect(),
        Definition::MimeHeader { name, raw, .. } => {
            Subject::mime_headers(texts, name, *raw).into_iter().flatten().collect()
        }
        _ => Vec::new(),
    };
    let mut fresh: HashMap<String, Vec<String>> = HashMap::new();
    let mut times = 0;
    for chunk in chunks {
        if plan.is_over() {
            break;
        }
        let mut from = 0;
        while times < capture.most.min(MOST_VALUES)
            && let Ok(Some((range, named))) =
                capture.matcher.captures_while(&chunk, from, &|| !plan.is_over())
        {
            times += 1;
            from = range.end.max(range.start + 1);
            for (name, value) in named {
                let value = String::from_utf8_lossy(&value).into_owned();
                let values = fresh.entry(name).or_default();
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
    }
    tags.extend(fresh);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_in_templates() {
        for (template, tags) in [
            ("_DKIMDOMAIN_._vouch.dwl.example", &["DKIMDOMAIN"][..]),
            ("_A_._B_.example._A_.com", &["A", "B"]),
            ("_HEADER(Reply-To:addr:domain)_.x", &["HEADER(Reply-To:addr:domain)"]),
            ("_MY_TAG2_.x", &["MY_TAG2"]),
            ("_lower_.x_.Y_", &[]),
            ("_OPEN(x.example", &[]),
            ("plain.example", &[]),
        ] {
            assert_eq!(names(template), tags, "{template}");
        }
    }
}
