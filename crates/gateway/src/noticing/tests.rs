//! Tests of noticing: who hears of what, and what a round makes of it. Mails go into the built-in Maildir.

use std::path::Path;

use gatepost_mail::{Action, Direction};

use super::*;
use crate::records::NoticeRecord;
use crate::records::samples::record;

fn config(folder: &Path, notices: &str) -> Config {
    let text = format!(
        "data = {folder:?}\nhostname = \"mx.test\"\ndomains = [\"example.org\", \"sub.example.org\"]\n{notices}\n"
    );
    let config: Config = toml::from_str(&text).expect(&text);
    assert_eq!(config.validate(), []);
    config
}

fn noticer(folder: &Path, notices: &str) -> Noticer {
    let built = crate::build::noticer(&config(folder, notices));
    built.unwrap_or_else(|problems| panic!("{problems:?}")).expect("somebody is to be told")
}

/// A message that came a moment ago.
fn message(id: &str, category: Category, action: Action, outcome: &str) -> Record {
    let mut record = Record { time: Timestamp::now(), category, action, ..record(id) };
    let verdict = &mut record.verdicts[0];
    (verdict.category, verdict.action, verdict.outcome) = (category, action, outcome.into());
    if outcome.contains("held") || action == Action::Strip {
        record.quarantine = Some(format!("x/{id}"));
    }
    record
}

fn held(id: &str) -> Record {
    message(id, Category::Spam, Action::Quarantine, "held: x/x")
}

async fn write(journal: &Journal, records: Vec<Record>) {
    for record in records {
        journal.write(record.into()).await;
    }
    journal.flush().await.unwrap();
}

/// The mails in the Maildir.
fn mails(folder: &Path) -> Vec<String> {
    let new = folder.join("Maildir/new");
    let Ok(entries) = std::fs::read_dir(new) else { return Vec::new() };
    entries
        .map(|entry| {
            std::fs::read_to_string(entry.unwrap().path()).unwrap().replace("\r\n", "\n").replace("=\n", "")
        })
        .collect()
}

const ALL: &str = "notices.admin.security = { to = [\"admin@example.org\"], about = [\"virus\"] }\n\
    notices.admin.inside = { to = [\"admin@example.org\"], about = [\"virus\"], directions = [\"outbound\"] }\n\
    notices.recipients = { enabled = true, except = [\"list@example.org\"] }\nnotices.sender.enabled = true";

#[tokio::test]
async fn who_hears_of_what() {
    let folder = tempfile::tempdir().unwrap();
    let noticer = noticer(folder.path(), ALL);
    let (virus, spam) = (Category::Virus, Category::Spam);
    let both = ["recipient one@example.org", "recipient Two@sub.example.org"];
    let ours = |record: Record, may: bool| Record {
        sender: Some("ann@example.org".into()),
        notice: Some(NoticeRecord { sender: may, header: String::new() }),
        ..record
    };
    let to = |record: Record, recipients: &[&str]| {
        let mut record = record;
        record.verdicts[0].recipients = recipients.iter().map(|one| (*one).to_owned()).collect();
        record
    };
    let mut old = held("old");
    old.time = "2020-01-01T00:00:00Z".parse().unwrap();
    let mut advice = held("advice");
    advice.advised();
    let mut mixed = held("mixed");
    mixed.category = virus;
    let mut other = mixed.verdicts[0].clone();
    (other.category, other.recipients, other.outcome) =
        (virus, vec!["three@example.org".into()], "refused: 550".into());
    mixed.verdicts.push(other);
    for (record, expected) in [
        (
            message("a", virus, Action::Refuse, "refused: 550 5.7.1 no"),
            vec!["admin:security admin@example.org"],
        ),
        (
            Record { direction: Direction::Outbound, ..message("b", virus, Action::Refuse, "refused: 550") },
            vec!["admin:inside admin@example.org", "admin:security admin@example.org"],
        ),
        (held("c"), both.to_vec()),
        // What was to be refused behind the queue was held.
        (message("d", spam, Action::Refuse, "held: d/d"), both.to_vec()),
        (message("e", spam, Action::Strip, "delivered: 250 2.0.0 Ok"), both.to_vec()),
        (message("f", spam, Action::Quarantine, ""), both.to_vec()),
        (message("g", spam, Action::Refuse, "refused: 550"), vec![]),
        (message("h", spam, Action::Strip, "deferred: 451"), vec![]),
        (message("i", virus, Action::Quarantine, "held: i/i"), vec!["admin:security admin@example.org"]),
        (
            to(
                held("j"),
                &["x@elsewhere.test", "LIST@example.org", "owner-list@example.org", "a b@example.org"],
            ),
            vec![],
        ),
        (old, vec![]),
        (advice, vec![]),
        (mixed, vec!["admin:security admin@example.org", both[0], both[1]]),
        (ours(to(held("k"), &["x@elsewhere.test"]), true), vec!["sender ann@example.org"]),
        (ours(to(held("l"), &["x@elsewhere.test"]), false), vec![]),
        (Record { sender: None, ..ours(to(held("m"), &["x@elsewhere.test"]), true) }, vec![]),
        (Record { sender: Some("a@elsewhere.test".into()), ..ours(to(held("n"), &[]), true) }, vec![]),
        (ours(to(message("o", spam, Action::Refuse, "refused: 550"), &[]), true), vec![]),
    ] {
        let items = noticer.items(&record, Timestamp::now());
        let told: Vec<String> = items.iter().map(|item| format!("{} {}", item.role, item.address)).collect();
        assert_eq!(told, expected, "{}", record.id);
    }
    // A recipient hears of no other.
    let items = noticer.items(&held("p"), Timestamp::now());
    assert!(items[0].row.contains("one@") && !items[0].row.contains("Two@"), "{}", items[0].row);
}

#[tokio::test]
async fn one_mail_for_many_messages() {
    let folder = tempfile::tempdir().unwrap();
    let noticer = noticer(folder.path(), "notices.recipients = { enabled = true }");
    let journal = Journal::open(&folder.path().join("journal.db")).await.unwrap();
    noticer.begin(&journal).await.unwrap();
    let one = |n: usize| {
        let mut record = held(&format!("m{n}"));
        record.verdicts[0].recipients.truncate(1);
        Record { subject: "<b>\u{202e}hi\u{1b}[0m https://evil.test".into(), ..record }
    };
    write(&journal, (0..362).map(one).collect()).await;
    let previews = noticer.preview(&journal, None, None).await.unwrap();
    assert_eq!(previews.len(), 1);
    assert_eq!(noticer.round(&journal, false).await.unwrap(), Round::default(), "it is not yet time");
    let previews = noticer.preview(&journal, Some("ONE@example.org"), None).await.unwrap();
    assert!(previews[0].due.is_some() && previews[0].role == "recipient");
    assert!(noticer.preview(&journal, Some("two@example.org"), None).await.unwrap().is_empty());
    assert_eq!(mails(folder.path()).len(), 0);
    let round = noticer.round(&journal, true).await.unwrap();
    assert_eq!((round.made, round.sent), (1, 1));
    assert_eq!(noticer.round(&journal, true).await.unwrap(), Round::default());
    let mails = mails(folder.path());
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    for part in [
        "Subject: 362 messages to you",
        "and 312 more",
        "&lt;b&gt;hi[0m https[:]&#x2f;&#x2f;evil.test",
        "<b>hi[0m https[:]//evil.test",
    ] {
        assert!(mail.contains(part), "{part} is not in\n{mail}");
    }
    assert_eq!(mail.matches("<tr><td>").count(), 50);
    assert!(!mail.contains('\u{1b}') && !mail.contains("=1B") && !mail.contains("=E2=80=AE"));
}

#[tokio::test]
async fn a_day_has_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        "notices.admin.a = { to = [\"admin@example.org\"], about = [\"spam\"], every = 0, per_day = 2 }";
    let noticer = noticer(folder.path(), settings);
    let journal = Journal::open(&folder.path().join("journal.db")).await.unwrap();
    noticer.begin(&journal).await.unwrap();
    let mut sent = Vec::new();
    for n in 0..5 {
        write(&journal, vec![held(&format!("m{n}"))]).await;
        sent.push(noticer.round(&journal, true).await.unwrap().sent);
    }
    assert_eq!(sent, [1, 1, 0, 0, 0]);
    let last = "This is the last notice within 24 hours";
    assert_eq!(mails(folder.path()).iter().filter(|mail| mail.contains(last)).count(), 1);
    journal.age_notices(Duration::from_secs(86_401)).await;
    assert_eq!(noticer.round(&journal, false).await.unwrap().sent, 1);
    let waited = "At most 2 notices are sent to you in 24 hours";
    let mails = mails(folder.path());
    let mail = mails.iter().find(|mail| mail.contains(waited)).unwrap_or_else(|| panic!("{mails:?}"));
    assert!(mail.contains("3 messages: spam"), "{mail}");
}

/// Nothing is claimed that is not sent, so whoever comes next need not wait.
#[tokio::test]
async fn whoever_is_to_stop_leaves_the_rest_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "notices.admin.a = { to = [\"admin@example.org\", \"b@example.org\"], about = [\"spam\"], every = 0 }";
    let noticer = noticer(folder.path(), settings);
    let journal = Journal::open(&folder.path().join("journal.db")).await.unwrap();
    noticer.begin(&journal).await.unwrap();
    write(&journal, vec![held("m0")]).await;
    let round = noticer.round_until(&journal, false, &AtomicBool::new(true)).await.unwrap();
    assert_eq!((round.made, round.sent), (2, 0));
    assert_eq!(noticer.round(&journal, false).await.unwrap(), Round { sent: 2, ..Round::default() });
}

#[tokio::test]
async fn what_is_immediate_comes_at_once_and_then_together() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "notices.admin.a = { to = [\"admin@example.org\"], about = [\"spam\"], every = 0 }";
    let noticer = noticer(folder.path(), settings);
    let journal = Journal::open(&folder.path().join("journal.db")).await.unwrap();
    noticer.begin(&journal).await.unwrap();
    for (n, sent) in [(0, 1), (1, 0), (2, 0)] {
        write(&journal, vec![held(&format!("m{n}"))]).await;
        assert_eq!(noticer.round(&journal, false).await.unwrap().sent, sent, "{n}");
    }
    journal.age_notices(Duration::from_secs(61)).await;
    assert_eq!(noticer.round(&journal, false).await.unwrap().sent, 1);
    assert!(mails(folder.path()).iter().any(|mail| mail.contains("2 messages: spam")));
}

#[tokio::test]
async fn reports_are_about_one_message_each() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "notices.admin.a = { to = [\"abuse@example.org\"], about = [\"spam\"], form = \"arf\", per_day = 3 }\n\
                    notices.sender.enabled = true";
    let noticer = noticer(folder.path(), settings);
    let journal = Journal::open(&folder.path().join("journal.db")).await.unwrap();
    noticer.begin(&journal).await.unwrap();
    let header = "Subject: x\r\nX-Long: h\u{e9}\r\n".to_owned();
    let one = |n: usize| Record {
        notice: Some(NoticeRecord { sender: n == 0, header: header.clone() }),
        sender: Some("ann@example.org".into()),
        ..held(&format!("m{n}"))
    };
    write(&journal, (0..5).map(one).collect()).await;
    assert_eq!(noticer.round(&journal, true).await.unwrap().sent, 4);
    let mails = mails(folder.path());
    let with = |part: &str| mails.iter().filter(|mail| mail.contains(part)).collect::<Vec<_>>();
    let reports = with("report-type=feedback-report");
    assert_eq!((reports.len(), with("3 messages: spam").len()), (2, 1), "the last one tells of the rest");
    for part in [
        "Feedback-Type: abuse",
        "User-Agent: gatepost/",
        "Version: 1",
        "Original-Mail-From: <ann@example.org>",
        "Source-IP: 192.0.2.1",
        "Original-Rcpt-To: <one@example.org>",
        "Authentication-Results: mx.test;",
        "spf=fail smtp.mailfrom=sender@example.net",
        "Content-Type: text/rfc822-headers",
        "X-Long: h=C3=A9",
    ] {
        assert!(reports[0].contains(part), "{part} is not in\n{}", reports[0]);
    }
    let told = with("report-type=delivery-status");
    assert_eq!(told.len(), 1);
    for part in [
        "To: <ann@example.org>",
        "In-Reply-To: <m1@example.net>",
        "Auto-Submitted: auto-replied",
        "Final-Recipient: rfc822; one@example.org",
        "Action: delayed",
        "Status: 4.7.1",
    ] {
        assert!(told[0].contains(part), "{part} is not in\n{}", told[0]);
    }
}

#[tokio::test]
async fn what_cannot_be_is_told_at_start() {
    let folder = tempfile::tempdir().unwrap();
    for (text, key, part) in [
        ("notices.language = 'xx'", "notices.language", "de, en, fr"),
        (
            "notices.admin.a = { to = ['a@example.org'], language = 'xx' }",
            "notices.admin.a.language",
            "no notices in",
        ),
        ("notices.templates = '/nonexistent'", "notices.templates", "No such file"),
        (
            "notices.admin.a = { to = ['a@example.org'] }\nlistener = [{ protocol = 'milter' }]",
            "notices",
            "nowhere to go",
        ),
    ] {
        let problems = crate::build::problems(&config(folder.path(), text));
        assert!(
            problems.iter().any(|problem| problem.key == key && problem.message.contains(part)),
            "{text}: {problems:?}"
        );
    }
}
