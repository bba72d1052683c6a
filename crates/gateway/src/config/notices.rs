//! `[notices]`: who is told by mail what became of messages, how often, and in which words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gatepost_mail::{Action, Address, Category, Direction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Seconds, is_among};
use super::{Config, Problem};

/// Most rows of one notice.
const MOST_ROWS: u32 = 1000;
/// Most notices a day.
const MOST_A_DAY: u32 = 1000;
/// Longest text of a key that stands in notices, in characters.
const TEXT: usize = 2000;
const DAY: u64 = 86_400;

/// Mails that tell what became of messages: to administrators, to recipients, and to senders who are proven to be ours. They
/// are made from the journal and grouped: one mail for each address and interval, with a row for each message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Notices {
    /// Language: `en`, `fr`, `de`, or the name of a folder in `templates`. A policy's `language` overrides it for the
    /// recipients and senders that the policy is for.
    pub language: String,
    /// Folder of templates that stand in for the built-in ones: `fr/recipient.txt`, `fr/recipient.html`. What is not there
    /// is built in. Read at start and reload.
    pub templates: Option<PathBuf>,
    /// Who notices are from: `Mail security <postmaster@example.org>`. Default: MAILER-DAEMON at `hostname`. The
    /// envelope's sender is always empty.
    pub from: String,
    /// Text at the end of every notice: who you are, how you are reached.
    pub footer: String,
    /// How recipients have a message released: `Write to help@example.org and name the id.` Default: a sentence that names
    /// the postmaster.
    pub ask: String,
    /// Administrators, each group under a name of its own: `[notices.admin.security]`.
    pub admin: BTreeMap<String, AdminNotices>,
    /// Recipients.
    pub recipients: RecipientNotices,
    /// Senders.
    pub sender: SenderNotices,
}

/// One group of administrators, and what they want to hear of.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminNotices {
    /// Their addresses.
    pub to: Vec<String>,
    /// Categories of messages that they hear of.
    pub about: Vec<Category>,
    /// Only messages with which one of these was done, whatever the policy had said. Empty: all.
    pub actions: Vec<Action>,
    /// Only messages that went one of these ways: `["outbound", "internal"]` for what comes from inside. Empty: all.
    pub directions: Vec<Direction>,
    /// One notice in so long a time; it is sent so long after the first message in it. 0: at once, and what comes within a
    /// minute after that together.
    pub every: Seconds,
    /// Time of day (of this host) at which notices are sent, where `every` is in whole days: `07:30`.
    pub at: String,
    /// Rows in one notice. Of more, the latest are shown and the others counted.
    pub rows: u32,
    /// Notices in 24 hours to each address. What is over it waits, and stands in the next one.
    pub per_day: u32,
    /// `mail`, or `arf` for an abuse desk: a report (RFC 5965) on each message, with its header. The last one that
    /// `per_day` allows tells of all that is left, as mail.
    pub form: AdminForm,
    /// Their language. Default: `notices.language`.
    pub language: Option<String>,
}

/// What administrators get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AdminForm {
    /// A mail for people.
    Mail,
    /// Abuse Reporting Format.
    Arf,
}

/// Recipients of ours hear what was not delivered to them. Needs `domains`: nobody else is told.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecipientNotices {
    /// Tell them.
    pub enabled: bool,
    /// Categories of messages that they hear of.
    pub about: Vec<Category>,
    /// Only messages with which one of these was done: `quarantine` is what waits in the vault, `strip` what came without
    /// its attachments; `refuse` is possible too.
    pub actions: Vec<Action>,
    /// One notice in so long a time; 0 is at once.
    pub every: Seconds,
    /// Time of day (of this host) at which notices are sent, where `every` is in whole days. Empty: so long after the
    /// first message.
    pub at: String,
    /// Nobody at these addresses is told, such as mailing lists: `list@example.org`, `example.org` (and not its
    /// subdomains), `.example.org` (subdomains only).
    pub except: Vec<String>,
    /// Rows in one notice.
    pub rows: u32,
    /// Notices in 24 hours to each address.
    pub per_day: u32,
}

/// Senders of ours hear what was held, or lost an attachment, after it was taken. Needs `domains`. Only a user who has
/// logged in, or somebody in our networks, who writes under a domain of ours is told; no program and no list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SenderNotices {
    /// Tell them.
    pub enabled: bool,
    /// Categories of messages that they hear of.
    pub about: Vec<Category>,
    /// Only messages with which one of these was done. What is refused, the sender's own program tells.
    pub actions: Vec<Action>,
    /// One notice in so long a time; 0 is at once.
    pub every: Seconds,
    /// Time of day (of this host) at which notices are sent, where `every` is in whole days.
    pub at: String,
    /// Rows in one notice.
    pub rows: u32,
    /// Notices in 24 hours to each address.
    pub per_day: u32,
    /// `dsn`: a delivery status notification (RFC 3464) on each message, the last one that `per_day` allows telling of all
    /// that is left, as mail. `mail`: mail for people, grouped.
    pub form: SenderForm,
}

/// What senders get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SenderForm {
    /// A delivery status notification.
    Dsn,
    /// A mail for people.
    Mail,
}

/// When one kind of notice goes out, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm<'a> {
    /// Interval.
    pub every: Seconds,
    /// Time of day, or empty.
    pub at: &'a str,
    /// Rows.
    pub rows: u32,
    /// In 24 hours.
    pub per_day: u32,
}

impl AdminNotices {
    /// When these go out.
    pub fn rhythm(&self) -> Rhythm<'_> {
        Rhythm { every: self.every, at: &self.at, rows: self.rows, per_day: self.per_day }
    }
}

impl RecipientNotices {
    /// When these go out.
    pub fn rhythm(&self) -> Rhythm<'_> {
        Rhythm { every: self.every, at: &self.at, rows: self.rows, per_day: self.per_day }
    }
}

impl SenderNotices {
    /// When these go out.
    pub fn rhythm(&self) -> Rhythm<'_> {
        Rhythm { every: self.every, at: &self.at, rows: self.rows, per_day: self.per_day }
    }
}

impl Notices {
    /// Whether anybody is told of anything.
    pub fn enabled(&self) -> bool {
        !self.admin.is_empty() || self.recipients.enabled || self.sender.enabled
    }

    /// Categories of messages whose header some notice will need.
    pub fn with_header(&self) -> Vec<Category> {
        let arf = self.admin.values().filter(|admin| admin.form == AdminForm::Arf);
        let mut categories: Vec<Category> = arf.flat_map(|admin| admin.about.iter().copied()).collect();
        if self.sender.enabled {
            categories.extend(&self.sender.about);
        }
        categories
    }
}

impl Config {
    /// What is wrong with `[notices]`, as far as that can be said without a look at its templates.
    pub(super) fn notices_problems(&self) -> Vec<Problem> {
        let notices = &self.notices;
        let mut problems = Vec::new();
        let mut add = |key: String, message: String| problems.push(Problem::new(key, message));
        if !notices.from.is_empty()
            && let Err(message) = mailbox(&notices.from)
        {
            add("notices.from".into(), message);
        }
        for (key, text) in [("footer", &notices.footer), ("ask", &notices.ask)] {
            if text.chars().count() > TEXT {
                add(format!("notices.{key}"), format!("is longer than {TEXT} characters"));
            }
        }
        for (name, admin) in &notices.admin {
            let key = |field: &str| format!("notices.admin.{name}.{field}");
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || name.len() > 40 || !name.chars().all(is_name) {
                add(format!("notices.admin.{name:?}"), "a name is of letters, digits, - and _".into());
            }
            if admin.to.is_empty() {
                add(key("to"), "is empty; name at least one address".into());
            }
            for (place, to) in admin.to.iter().enumerate().filter(|(_, to)| plain_address(to).is_none()) {
                let message = format!("{to:?} is not a plain address; write postmaster@example.org");
                add(format!("{}[{place}]", key("to")), message);
            }
            if admin.about.is_empty() {
                add(key("about"), "is empty: nobody would be told of anything".into());
            }
            rhythm_problems(&admin.rhythm(), key, &mut add);
        }
        let recipients = &notices.recipients;
        let sender = &notices.sender;
        let rest = [
            ("recipients", recipients.enabled, recipients.rhythm()),
            ("sender", sender.enabled, sender.rhythm()),
        ];
        for (table, enabled, rhythm) in rest {
            if enabled && self.domains.is_empty() {
                let message = "needs domains: without them nobody can tell who is ours";
                add(format!("notices.{table}.enabled"), message.into());
            }
            rhythm_problems(&rhythm, |field| format!("notices.{table}.{field}"), &mut add);
        }
        for (place, pattern) in recipients.except.iter().enumerate().filter(|(_, text)| !is_pattern(text)) {
            let message = format!(
                "{pattern:?} is no address pattern; write list@example.org, example.org or .example.org"
            );
            add(format!("notices.recipients.except[{place}]"), message);
        }
        problems
    }
}

fn rhythm_problems(rhythm: &Rhythm, key: impl Fn(&str) -> String, add: &mut impl FnMut(String, String)) {
    if !rhythm.at.is_empty() {
        if time_of_day(rhythm.at).is_none() {
            add(key("at"), format!("{:?} is no time of day; write 07:30", rhythm.at));
        } else if rhythm.every.seconds() == 0 || !rhythm.every.seconds().is_multiple_of(DAY) {
            add(key("at"), "needs every = \"1d\", or another number of whole days".into());
        }
    }
    if rhythm.every.seconds() > 31 * DAY {
        add(key("every"), "is more than 31 days; nobody would know by then what it is about".into());
    }
    for (field, value, most) in [("rows", rhythm.rows, MOST_ROWS), ("per_day", rhythm.per_day, MOST_A_DAY)] {
        if !(1..=most).contains(&value) {
            add(key(field), format!("is {value}; write 1 to {most}"));
        }
    }
}

/// Hours and minutes of `07:30`.
pub fn time_of_day(text: &str) -> Option<(i8, i8)> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, below: i8| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i8>().ok()).flatten().filter(|number| *number < below)
    };
    Some((number(hours, 24)?, number(minutes, 60).filter(|_| minutes.len() == 2)?))
}

/// An address that can be written into a header field as it stands.
pub fn plain_address(text: &str) -> Option<Address> {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>,;:()[]\\\"".contains(c);
    let address = Address::new(text).filter(|_| text.len() <= 320 && text.chars().all(is_plain))?;
    (!address.local().is_empty() && !address.domain().is_empty()).then_some(address)
}

/// Name and address of `Name <address>` or `address`.
pub fn mailbox(text: &str) -> Result<(String, Address), String> {
    let wrong = || format!("{text:?} is no mailbox; write Mail security <postmaster@example.org>");
    let (name, address) = match text.trim().strip_suffix('>').and_then(|inner| inner.rsplit_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"'), address),
        None => ("", text.trim()),
    };
    let harmless = |c: char| !c.is_control() && !"<>\"\\".contains(c);
    if name.chars().count() > 100 || !name.chars().all(harmless) {
        return Err(wrong());
    }
    Ok((name.to_owned(), plain_address(address).ok_or_else(wrong)?))
}

/// Whether an address is one of `user@example.org`, `example.org`, `.example.org`.
pub fn matches_any(address: &Address, patterns: &[String]) -> bool {
    let whole = address.to_string().to_lowercase();
    let (users, domains): (Vec<&String>, Vec<&String>) =
        patterns.iter().partition(|pattern| pattern.contains('@'));
    let domains: Vec<String> = domains.into_iter().cloned().collect();
    users.iter().any(|user| user.to_lowercase() == whole) || is_among(address.domain(), &domains)
}

fn is_pattern(text: &str) -> bool {
    let domain = text.rsplit_once('@').map_or(text, |(_, domain)| domain);
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>*".contains(c);
    !text.starts_with('@') && domain.trim_matches('.').contains('.') && text.chars().all(plain)
}

/// Whether programs live there, and lists, that answer what they get or hand it on to everybody (RFC 3834 section 2).
pub fn is_machine(local: &str) -> bool {
    let local = local.to_ascii_lowercase();
    let whole =
        ["mailer-daemon", "listserv", "majordomo", "mailman", "noreply", "no-reply", "bounce", "bounces"];
    let ends = ["-request", "-owner", "-bounces", "-bounce", "-noreply", "-no-reply"];
    whole.contains(&local.as_str())
        || local.starts_with("owner-")
        || local.starts_with("bounce-")
        || local.starts_with("bounces+")
        || ends.iter().any(|end| local.ends_with(end))
}

impl Default for Notices {
    fn default() -> Notices {
        Notices {
            language: "en".into(),
            templates: None,
            from: String::new(),
            footer: String::new(),
            ask: String::new(),
            admin: BTreeMap::new(),
            recipients: RecipientNotices::default(),
            sender: SenderNotices::default(),
        }
    }
}

impl Default for AdminNotices {
    fn default() -> AdminNotices {
        AdminNotices {
            to: Vec::new(),
            about: vec![Category::Virus, Category::Banned],
            actions: Vec::new(),
            directions: Vec::new(),
            every: Seconds::new(3600),
            at: String::new(),
            rows: 50,
            per_day: 24,
            form: AdminForm::Mail,
            language: None,
        }
    }
}

impl Default for RecipientNotices {
    fn default() -> RecipientNotices {
        use Category::{BadHeader, Banned, Oversized, Spam, Unauthenticated, Unchecked};
        RecipientNotices {
            enabled: false,
            about: vec![Spam, Unauthenticated, BadHeader, Oversized, Unchecked, Banned],
            actions: vec![Action::Quarantine, Action::Strip],
            every: Seconds::new(DAY),
            at: "07:30".into(),
            except: Vec::new(),
            rows: 50,
            per_day: 4,
        }
    }
}

impl Default for SenderNotices {
    fn default() -> SenderNotices {
        SenderNotices {
            enabled: false,
            about: Category::ALL.into_iter().filter(|category| *category != Category::Clean).collect(),
            actions: vec![Action::Quarantine, Action::Strip],
            every: Seconds::new(0),
            at: String::new(),
            rows: 50,
            per_day: 20,
            form: SenderForm::Dsn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told() {
        for (text, key, part) in [
            ("from = 'a b'", "notices.from", "no mailbox"),
            ("from = \"A\\nB <a@b.test>\"", "notices.from", "no mailbox"),
            ("admin.a = { }", "notices.admin.a.to", "at least one"),
            ("admin.a = { to = ['a@b.test', 'x'] }", "notices.admin.a.to[1]", "plain address"),
            ("admin.a = { to = ['a@b.test'], about = [] }", "notices.admin.a.about", "nobody"),
            ("admin.a = { to = ['a@b.test'], at = '07:30' }", "notices.admin.a.at", "whole days"),
            ("admin.a = { to = ['a@b.test'], at = '24:00', every = '1d' }", "notices.admin.a.at", "07:30"),
            ("admin.'a b' = { to = ['a@b.test'] }", "notices.admin.\"a b\"", "letters"),
            ("admin.a = { to = ['a@b.test'], rows = 0 }", "notices.admin.a.rows", "1 to 1000"),
            ("sender.per_day = 0", "notices.sender.per_day", "1 to 1000"),
            ("recipients.every = '60d'", "notices.recipients.every", "31 days"),
            ("recipients.enabled = true", "notices.recipients.enabled", "needs domains"),
            ("sender.enabled = true", "notices.sender.enabled", "needs domains"),
            ("recipients.except = ['@b.test']", "notices.recipients.except[0]", "pattern"),
        ] {
            let notices: Notices = toml::from_str(text).expect(text);
            let config = Config { notices, ..Config::default() };
            let problems = config.notices_problems();
            let [problem] = &problems[..] else { panic!("{text}: {problems:?}") };
            assert_eq!(problem.key, key, "{text}");
            assert!(problem.message.contains(part), "{text}: {}", problem.message);
        }
        assert_eq!(Config::default().notices_problems(), []);
        assert!(!Notices::default().enabled());
    }

    #[test]
    fn mailboxes_times_and_patterns() {
        let (name, address) = mailbox("Mail security <postmaster@example.org>").unwrap();
        assert_eq!(
            (name.as_str(), address.to_string().as_str()),
            ("Mail security", "postmaster@example.org")
        );
        assert_eq!(mailbox("a@b.test").unwrap().0, "");
        for (text, time) in [
            ("07:30", Some((7, 30))),
            ("7:05", Some((7, 5))),
            ("23:59", Some((23, 59))),
            ("7:5", None),
            ("-1:30", None),
            ("12:60", None),
            ("1230", None),
        ] {
            assert_eq!(time_of_day(text), time, "{text}");
        }
        let patterns = ["List@example.org".to_owned(), "a.test".into(), ".b.test".into()];
        for (address, matched) in [
            ("list@Example.org", true),
            ("user@example.org", false),
            ("x@a.test", true),
            ("x@sub.a.test", false),
            ("x@sub.b.test", true),
            ("x@b.test", false),
        ] {
            assert_eq!(matches_any(&Address::new(address).unwrap(), &patterns), matched, "{address}");
        }
        for (local, machine) in [
            ("MAILER-DAEMON", true),
            ("owner-list", true),
            ("list-request", true),
            ("ann", false),
            ("owner", false),
        ] {
            assert_eq!(is_machine(local), machine, "{local}");
        }
    }
}
