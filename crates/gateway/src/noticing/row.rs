//! One message in a notice: what is kept of it, and how it is shown.
//!
//! Subjects, names and addresses are a stranger's. Here they lose what changes how text is shown or read; links in them
//! lead nowhere; they are bounded. HTML templates escape them besides.

use std::net::IpAddr;

use gatepost_mail::{Action, Category, Direction};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::records::{NoticeContent, NoticeItem, Record, VerdictRecord};

/// Longest texts that are kept, in characters.
const TEXT: usize = 300;
const ADDRESS: usize = 320;
/// Most recipients and findings that are kept.
const RECIPIENTS: usize = 20;
const FOUND: usize = 20;

/// What is kept of a message until it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub sender: Option<String>,
    pub from: String,
    pub recipients: Vec<String>,
    /// Recipients beyond those.
    pub more_recipients: usize,
    pub subject: String,
    pub message_id: String,
    pub reason: String,
    pub action: Action,
    pub size: u64,
    pub client: Option<IpAddr>,
    pub direction: Direction,
    pub found: Vec<Found>,
    pub authentication: Vec<String>,
    /// Empty where no form needs it.
    pub header: String,
}

/// A finding that put the message into a category.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Found {
    pub symbol: String,
    pub name: String,
    /// Name of the part in which it was, or its path.
    pub file: String,
}

impl Row {
    /// The same for a form that shows no header.
    pub fn without_header(self) -> Row {
        Row { header: String::new(), ..self }
    }

    /// What is kept of a message for those who hear of these recipients.
    pub fn of(record: &Record, verdict: &VerdictRecord, action: Action, recipients: &[String]) -> Row {
        let kept = recipients.iter().take(RECIPIENTS).map(|recipient| shorten(recipient, ADDRESS));
        let categorised: Vec<&str> = verdict
            .weighed
            .iter()
            .filter(|one| one.category.is_some())
            .map(|one| one.symbol.as_str())
            .collect();
        let found = record.findings.iter().filter(|finding| categorised.contains(&finding.symbol.as_str()));
        let file = |scope: &str| {
            let path = scope.strip_prefix("part ").unwrap_or_default();
            let part = record.parts.iter().find(|part| part.path == path && !path.is_empty());
            shorten(part.and_then(|part| part.name.as_deref()).unwrap_or(path), TEXT)
        };
        let told = record.authentication.iter().take(FOUND);
        Row {
            sender: record.sender.as_ref().map(|sender| shorten(sender, ADDRESS)),
            from: shorten(&record.from, TEXT),
            recipients: kept.collect(),
            more_recipients: recipients.len().saturating_sub(RECIPIENTS),
            subject: shorten(&record.subject, TEXT),
            message_id: shorten(&record.message_id, TEXT),
            reason: shorten(&verdict.reason, TEXT),
            action,
            size: record.size,
            client: record.client,
            direction: record.direction,
            found: found
                .take(FOUND)
                .map(|finding| Found {
                    symbol: finding.symbol.clone(),
                    name: shorten(&finding.evidence, TEXT),
                    file: file(&finding.scope),
                })
                .collect(),
            authentication: told
                .filter(|one| one.method != "auth")
                .map(|one| shorten(&format!("{}={} {}", one.method, one.result, one.about), TEXT))
                .collect(),
            header: record.notice.as_ref().map(|notice| notice.header.clone()).unwrap_or_default(),
        }
    }
}

/// What templates are filled with.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Context<'a> {
    pub hostname: &'a str,
    pub postmaster: &'a str,
    pub name: &'a str,
    pub address: String,
    pub footer: &'a str,
    pub ask: &'a str,
    pub total: u64,
    pub more: u64,
    pub capped: bool,
    pub last: bool,
    pub per_day: u32,
    pub since: String,
    pub categories: Vec<Count>,
    pub rows: Vec<Shown>,
}

/// How many messages there are of a category.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Count {
    pub category: &'static str,
    pub count: u64,
}

/// A message as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Shown {
    pub id: String,
    pub time: String,
    pub sender: String,
    pub from: String,
    pub recipients: Vec<String>,
    pub more_recipients: usize,
    pub subject: String,
    pub message_id: String,
    pub reason: String,
    pub category: &'static str,
    pub action: &'static str,
    pub held: bool,
    pub size: String,
    pub bytes: u64,
    pub client: String,
    pub direction: Direction,
    pub found: Vec<Found>,
}

/// The rows as they are shown, the latest first.
pub(super) fn shown_rows(rows: &[(&NoticeItem, Row)]) -> Vec<Shown> {
    let one = |(item, row): &(&NoticeItem, Row)| Shown {
        id: shown(&item.message, 64),
        time: time_text(item.time),
        sender: row.sender.as_deref().map_or_else(|| "<>".to_owned(), |sender| shown(sender, ADDRESS)),
        from: shown(&row.from, TEXT),
        recipients: row.recipients.iter().map(|recipient| shown(recipient, ADDRESS)).collect(),
        more_recipients: row.more_recipients,
        subject: shown(&row.subject, TEXT),
        message_id: shown(&row.message_id, TEXT),
        reason: shown(&row.reason, TEXT),
        category: item.category.name(),
        action: row.action.name(),
        held: item.held,
        size: size_text(row.size),
        bytes: row.size,
        client: row.client.map(|client| client.to_canonical().to_string()).unwrap_or_default(),
        direction: row.direction,
        found: row
            .found
            .iter()
            .map(|found| Found {
                symbol: shown(&found.symbol, 80),
                name: shown(&found.name, TEXT),
                file: shown(&found.file, TEXT),
            })
            .collect(),
    };
    rows.iter().map(one).collect()
}

/// Numbers by category.
pub(super) fn counts(categories: &[(Category, u64)]) -> Vec<Count> {
    categories.iter().map(|(category, count)| Count { category: category.name(), count: *count }).collect()
}

/// One more message among those that stand in a notice.
pub(super) fn add(content: &mut NoticeContent, item: NoticeItem) {
    match content.categories.iter_mut().find(|(category, _)| *category == item.category) {
        Some((_, count)) => *count += 1,
        None => content.categories.push((item.category, 1)),
    }
    content.categories.sort_by(|one, other| other.cmp(one));
    let is_first = content.items.is_empty();
    content.oldest = if is_first { item.time } else { content.oldest.min(item.time) };
    let place = content.items.partition_point(|other| other.time > item.time);
    content.items.insert(place, item);
}

/// A stranger's text on one line: without control characters and those that hide or reorder others, and with links that
/// no mail program takes for such.
pub(super) fn shown(text: &str, most: usize) -> String {
    let clean: String = text
        .chars()
        .take(most + 1)
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
            c if is_unsafe(c) => None,
            c => Some(c),
        })
        .collect();
    let clean = shorten(&clean, most);
    let clean = clean.replace("://", "[:]//");
    let mut out = String::with_capacity(clean.len());
    let mut rest = clean.as_str();
    while let Some(at) = find_www(rest) {
        out.push_str(&rest[..at + 3]);
        out.push_str("[.]");
        rest = &rest[at + 4..];
    }
    out + rest
}

/// Place of the first `www.`, in whatever case.
fn find_www(text: &str) -> Option<usize> {
    text.as_bytes().windows(4).position(|four| four.eq_ignore_ascii_case(b"www."))
}

/// Control characters, and format characters that change how their neighbours are shown (Unicode TR 36).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// At most so many characters; what is cut is marked.
pub(super) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A time by the clock on this host's wall.
pub(super) fn time_text(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn size_text(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes.div_ceil(1_024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_is_harmless() {
        for (text, most, expected) in [
            ("Invoice", 300, "Invoice"),
            ("a\r\nBcc: x\tb", 300, "a  Bcc: x b"),
            ("exe\u{202e}fdp\u{200b}\u{1b}[31m\0", 300, "exefdp[31m"),
            ("see https://evil.test/ and WWW.evil.test", 300, "see https[:]//evil.test/ and WWW[.]evil.test"),
            ("Grüße, 東京 <script>", 300, "Grüße, 東京 <script>"),
            ("abcdef", 3, "abc…"),
            ("www.www.", 300, "www[.]www[.]"),
        ] {
            assert_eq!(shown(text, most), expected);
        }
        assert!(shown(&"é".repeat(100_000), 300).chars().count() <= 301);
    }
}
