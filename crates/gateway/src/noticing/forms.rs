//! What programs read in a notice about one message: delivery status (RFC 3464) and feedback (RFC 5965).

use std::fmt::Write;

use gatepost_mail::{Action, Category};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::row::Row;
use crate::effects::notice::{Fate, ascii, printable};
use crate::records::NoticeItem;

/// What became of the message for each of its recipients.
pub(super) fn delivery(item: &NoticeItem, row: &Row, hostname: &str) -> String {
    // What is held may still be delivered; what was stripped has lost something on its way (RFC 3463, X.6.4).
    let (action, status, code) = match row.action {
        Action::Quarantine => ("delayed", "4.7.1", 450),
        Action::Discard | Action::Refuse | Action::Bounce => ("failed", "5.7.1", 550),
        Action::Defer => ("delayed", "4.7.1", 450),
        Action::Strip => ("relayed", "2.6.4", 250),
        _ => ("relayed", "2.0.0", 250),
    };
    let diagnostic = format!("{code} {status} {}: {} (id {})", item.category, row.reason, item.message);
    let mut fields = format!("Reporting-MTA: dns; {hostname}\r\nArrival-Date: {}\r\n", date(item.time));
    for recipient in &row.recipients {
        let fate = Fate { original: None, address: recipient, action, status, diagnostic: Some(&diagnostic) };
        // Writing to a String cannot fail.
        write!(fields, "{fate}").unwrap_or_default();
    }
    fields
}

/// What is bad about the message, and where it came from.
pub(super) fn feedback(item: &NoticeItem, row: &Row, hostname: &str) -> String {
    let kind = match item.category {
        Category::Virus => "virus",
        Category::Spam | Category::Spammy => "abuse",
        Category::Unauthenticated => "fraud",
        _ => "other",
    };
    let sender = row.sender.as_deref().unwrap_or_default();
    let mut fields = format!(
        "Feedback-Type: {kind}\r\nUser-Agent: gatepost/{}\r\nVersion: 1\r\nOriginal-Mail-From: <{}>\r\n\
         Arrival-Date: {}\r\nReporting-MTA: dns; {hostname}\r\n",
        env!("CARGO_PKG_VERSION"),
        ascii(sender),
        date(item.time),
    );
    let mut add = |name: &str, value: &str| {
        write!(fields, "{name}: {value}\r\n").unwrap_or_default();
    };
    if let Some(client) = row.client {
        add("Source-IP", &client.to_canonical().to_string());
    }
    for recipient in &row.recipients {
        add("Original-Rcpt-To", &format!("<{}>", ascii(recipient)));
    }
    if !row.authentication.is_empty() {
        // One result a line: each is short, and together they may be longer than a line.
        let results: Vec<String> = row.authentication.iter().map(|one| printable(one)).collect();
        add("Authentication-Results", &format!("{hostname};\r\n {}", results.join(";\r\n ")));
    }
    fields
}

fn date(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}
