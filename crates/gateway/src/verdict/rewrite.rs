//! The changes that a verdict makes to a message on its way to the next hop: fields that only we may write are taken
//! out, ours are added, the subject is tagged. Parts that are stripped are the business of `judge`.

use std::collections::HashMap;
use std::fmt::Write;

use gatepost_mail::{Edit, Message, Place, Points};

use crate::config::typed::HeaderNames;

/// Most stars of the level field.
const MAX_STARS: i64 = 64;

/// What the added fields tell.
pub(super) struct Facts<'a> {
    pub id: &'a str,
    pub hostname: &'a str,
    pub score: Points,
    /// In the category spammy or spam.
    pub spammy: bool,
    pub headers_from: Points,
    pub spammy_at: Points,
    pub spam_at: Points,
    /// Symbols that count, with their points.
    pub tests: Vec<(&'a str, Points)>,
    /// To put before the subject, in this order.
    pub tags: Vec<&'a str>,
}

/// All changes to the header.
pub(super) fn header_edits(message: &Message, names: &HeaderNames, facts: &Facts) -> Vec<Edit> {
    let mut edits = removals(message, names);
    let mut add = |name: &str, value: String| {
        if !name.is_empty() {
            edits.push(Edit::AddHeader { name: name.into(), value, place: Place::Top });
        }
    };
    add(&names.scanned, format!("gatepost at {}", facts.hostname));
    add(&names.id, facts.id.to_owned());
    if facts.score >= facts.headers_from || facts.spammy {
        if facts.spammy {
            add(&names.flag, "YES".into());
        }
        add(&names.score, facts.score.to_string());
        let stars = facts.score.whole().clamp(0, MAX_STARS) as usize;
        if stars > 0 {
            add(&names.level, "*".repeat(stars));
        }
        add(&names.status, status(facts));
    }
    tag_subject(message, &facts.tags, &mut edits);
    edits
}

/// Whether a pattern of `headers.remove` (a name, or the beginning of names and `*`) is for a name; without case.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(stem) => name.get(..stem.len()).is_some_and(|start| start.eq_ignore_ascii_case(stem)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

/// Fields that came from outside under names that are ours: believed by whoever reads them behind us, so they go, or
/// get another name.
fn removals(message: &Message, names: &HeaderNames) -> Vec<Edit> {
    let own = [&names.id, &names.scanned, &names.flag, &names.score, &names.level, &names.status];
    let patterns: Vec<&str> =
        own.into_iter().chain(&names.remove).map(String::as_str).filter(|name| !name.is_empty()).collect();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut edits = Vec::new();
    for field in &message.headers.fields {
        let name = text(message, field.name.clone());
        if name.is_empty() || !patterns.iter().any(|pattern| matches(pattern, &name)) {
            continue;
        }
        let nth = seen.entry(name.to_ascii_lowercase()).or_default();
        edits.push(Edit::RemoveHeader { name: name.clone(), nth: *nth });
        *nth += 1;
        if !names.rename_prefix.is_empty() {
            edits.push(Edit::AddHeader {
                name: format!("{}{name}", names.rename_prefix),
                value: one_line(&text(message, field.value.clone())),
                place: Place::Bottom,
            });
        }
    }
    edits
}

/// As amavis writes it: `Yes, score=46.551 tag=-999 tag2=6.31 kill=10 tests=[A=5.8, B=0.001]`. The tests add up to the
/// score.
fn status(facts: &Facts) -> String {
    let mut status = format!(
        "{}, score={} tag={} tag2={} kill={} tests=[",
        if facts.spammy { "Yes" } else { "No" },
        facts.score,
        threshold(facts.headers_from),
        threshold(facts.spammy_at),
        threshold(facts.spam_at),
    );
    for (place, (symbol, points)) in facts.tests.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(status, "{comma}{symbol}={points}");
    }
    status.push(']');
    status
}

/// Thresholds without the decimal that scores always show: `-999`, `6.31`.
fn threshold(points: Points) -> String {
    let shown = points.to_string();
    shown.strip_suffix(".0").map(str::to_owned).unwrap_or(shown)
}

/// Puts tags before every Subject field (mail programs do not agree which of several they show), or adds one. Encoded
/// words of the subject stay as they are. A subject that begins with the tag already is left alone.
fn tag_subject(message: &Message, tags: &[&str], edits: &mut Vec<Edit>) {
    let tag = tags.concat();
    if tag.is_empty() {
        return;
    }
    let subjects = message
        .headers
        .fields
        .iter()
        .filter(|field| text(message, field.name.clone()).eq_ignore_ascii_case("Subject"));
    let mut none = true;
    for (nth, field) in subjects.enumerate() {
        none = false;
        let value = one_line(&text(message, field.value.clone()));
        let shown = message.headers.text("Subject").unwrap_or_default();
        if !value.starts_with(tag.trim_end()) && !shown.starts_with(tag.trim_end()) {
            edits.push(Edit::ChangeHeader { name: "Subject".into(), nth, value: format!("{tag}{value}") });
        }
    }
    if none {
        let value = tag.trim_end().to_owned();
        edits.push(Edit::AddHeader { name: "Subject".into(), value, place: Place::Bottom });
    }
}

/// A range of the header as text. Bytes that are not UTF-8 are replaced.
fn text(message: &Message, range: std::ops::Range<usize>) -> String {
    String::from_utf8_lossy(message.headers.raw.get(range).unwrap_or_default()).into_owned()
}

/// A value without line breaks (RFC 5322 section 2.2.3), trimmed.
fn one_line(value: &str) -> String {
    value.replace(['\r', '\n'], "").trim().to_owned()
}
