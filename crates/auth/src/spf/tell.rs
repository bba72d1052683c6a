//! A result in words: the log's sentence, `Received-SPF`, and what `Authentication-Results` needs.

use std::net::IpAddr;
use std::time::Duration;

use super::{Outcome, Query, Scope, Spf};

/// Characters kept of one value in a field.
const VALUE: usize = 200;

impl Spf {
    /// A check that took too long, where there is nothing else to tell; [`super::check_until`] also tells how far it came.
    pub fn late(query: &Query<'_>, limit: Duration) -> Spf {
        let mut spf = super::evaluate::blank(query);
        spf.give_up(limit);
        spf
    }

    pub(super) fn give_up(&mut self, limit: Duration) {
        self.result = Outcome::TempError;
        self.problem = Some(format!("not done within {} s", limit.as_secs_f64()));
    }

    /// What came of it and why, in one sentence without an end: for the log and the comment in fields.
    pub fn sentence(&self) -> String {
        let (ip, whose) = (self.ip, self.whose());
        let by = match &self.mechanism {
            Some(term) if self.decided_by.as_ref() == Some(&self.domain) => format!(": {term}"),
            Some(term) => format!(": {term} of {}", self.decided_by.as_deref().unwrap_or_default()),
            None => String::new(),
        };
        let problem = self.problem.as_deref().unwrap_or("no SPF record");
        let text = match self.result {
            Outcome::Pass => format!("{whose} designates {ip} as permitted sender{by}"),
            Outcome::Fail => format!("{whose} does not designate {ip} as permitted sender{by}"),
            Outcome::SoftFail => {
                format!("transitioning {whose} does not designate {ip} as permitted sender{by}")
            }
            Outcome::Neutral => format!("{ip} is neither permitted nor denied by {whose}{by}"),
            Outcome::None => format!("{whose} designates no permitted senders: {problem}"),
            Outcome::TempError => format!("temporary error in processing {whose}: {problem}"),
            Outcome::PermError => format!("permanent error in processing {whose}: {problem}"),
        };
        super::trace::plain(&text)
    }

    /// Value of a `Received-SPF` field (RFC 7208 section 9.1), ASCII, not folded.
    pub fn received_spf(&self) -> String {
        let receiver = if self.receiver.is_empty() { "unknown" } else { &self.receiver };
        let comment = comment(&format!("{receiver}: {}", self.sentence()));
        let mut field = format!("{} ({comment}) client-ip={};", self.result, address(self.ip));
        let sender = if self.bounce { "" } else { &self.sender };
        if self.scope == Scope::MailFrom {
            field.push_str(&format!(" envelope-from={};", quoted(sender)));
        }
        field.push_str(&format!(" helo={}; identity={};", value(&self.helo), self.scope.as_str()));
        field.push_str(&format!(" receiver={};", value(receiver)));
        if let Some(term) = &self.mechanism {
            field.push_str(&format!(" mechanism={};", value(term)));
        }
        if let Some(problem) = &self.problem {
            field.push_str(&format!(" problem={};", value(problem)));
        }
        field.pop();
        field
    }

    /// Property and value for `Authentication-Results` (RFC 8601 section 2.7.2): `smtp.mailfrom` and the address, of a
    /// bounce the domain that stood for it, or `smtp.helo` and the name. As it came from outside, not quoted.
    pub fn property(&self) -> (&'static str, &str) {
        match self.scope {
            Scope::Helo => ("smtp.helo", &self.helo),
            Scope::MailFrom if self.bounce => ("smtp.mailfrom", &self.helo),
            Scope::MailFrom => ("smtp.mailfrom", &self.sender),
        }
    }

    /// Whose record was looked at.
    fn whose(&self) -> String {
        match self.scope {
            Scope::Helo => format!("HELO domain {}", self.helo),
            Scope::MailFrom => format!("domain of {}", self.sender),
        }
    }
}

/// Text within a comment (RFC 5322 section 3.2.2): parentheses and backslashes escaped.
fn comment(text: &str) -> String {
    let mut comment = String::with_capacity(text.len());
    for c in text.chars().take(3 * VALUE) {
        if matches!(c, '(' | ')' | '\\') {
            comment.push('\\');
        }
        comment.push(printable(c));
    }
    comment
}

/// A dot-atom, or else a quoted string.
fn value(text: &str) -> String {
    let is_atom = |part: &str| {
        let atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
        !part.is_empty() && part.bytes().all(atext)
    };
    if text.len() <= VALUE && text.split('.').all(is_atom) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars().take(VALUE) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(printable(c));
    }
    quoted.push('"');
    quoted
}

fn printable(c: char) -> char {
    match c {
        ' '..='~' => c,
        '“' | '”' => '\'',
        _ => '?',
    }
}

/// Colons are not for atoms.
fn address(ip: IpAddr) -> String {
    value(&ip.to_string())
}
