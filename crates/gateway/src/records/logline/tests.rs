//! Tests of the log line.

use gatepost_mail::OnFault;

use super::super::FaultRecord;
use super::super::samples::{clean_record, record};
use super::*;

fn verdict(action: Action, outcome: &str) -> VerdictRecord {
    VerdictRecord { action, outcome: outcome.into(), ..clean_record("x").verdicts.remove(0) }
}

#[test]
fn lines_as_amavis_users_know_them() {
    let clean = || clean_record("l1bnIZN88okd");
    let virus = || record("l1bnIZN88okd");
    for (record, line) in [
        (
            Record { quarantine: Some("l/l1bnIZN88okd".into()), ..virus() },
            "Blocked INFECTED (Eicar-Test-Signature) {Refused,Quarantined}, [192.0.2.1] <Sender@Example.net> -> \
             <one@example.org>,<Two@sub.example.org>, quarantine: l/l1bnIZN88okd, Message-ID: <m1@example.net>, \
             mail_id: l1bnIZN88okd, Hits: 8.43, size: 1234, faults: clamd:second timeout, 4730 ms",
        ),
        (
            clean(),
            "Passed CLEAN {Relayed}, [192.0.2.1] <Sender@Example.net> -> <one@example.org>, Message-ID: \
             <m1@example.net>, mail_id: l1bnIZN88okd, Hits: -, size: 1234, 4730 ms",
        ),
        (
            Record {
                category: Category::Spammy,
                score: Points::thousandths(7000),
                action: Action::Mark,
                verdicts: vec![verdict(Action::Mark, "delivered: 250 2.0.0 Ok")],
                sender: None,
                client: Some("2001:db8::1".parse().unwrap()),
                message_id: String::new(),
                ..clean()
            },
            "Passed SPAMMY {RelayedTagged}, [2001:db8::1] <> -> <one@example.org>, mail_id: l1bnIZN88okd, Hits: 7.0, \
             size: 1234, 4730 ms",
        ),
        (
            Record {
                category: Category::Banned,
                action: Action::Quarantine,
                quarantine: Some("l/l1bnIZN88okd".into()),
                verdicts: vec![
                    verdict(Action::Deliver, "delivered: 250 2.0.0 Ok"),
                    VerdictRecord {
                        category: Category::Banned,
                        reason: ".exe in “a.zip”".into(),
                        ..verdict(Action::Quarantine, "held: l/l1bnIZN88okd")
                    },
                ],
                client: None,
                ..clean()
            },
            "Passed BANNED (.exe in “a.zip”) {Relayed,Quarantined}, <Sender@Example.net> -> <one@example.org>, \
             quarantine: l/l1bnIZN88okd, Message-ID: <m1@example.net>, mail_id: l1bnIZN88okd, Hits: -, size: 1234, \
             4730 ms",
        ),
    ] {
        assert_eq!(log_line(&record, Duration::from_millis(4730)), line);
    }
}

#[test]
fn lines_of_mail_that_went_another_way_than_judged() {
    let clean = || clean_record("l1bnIZN88okd");
    for (record, line) in [
        (
            // To be delivered, but the next hop would not have it.
            Record { verdicts: vec![verdict(Action::Deliver, "refused: 550 5.1.1 No such user")], ..clean() },
            "Blocked CLEAN {Refused}, [192.0.2.1] <Sender@Example.net> -> <one@example.org>, Message-ID: \
             <m1@example.net>, mail_id: l1bnIZN88okd, Hits: -, size: 1234, 4730 ms",
        ),
        (
            Record {
                action: Action::Defer,
                verdicts: vec![VerdictRecord {
                    reason: "clamd:main unavailable".into(),
                    ..verdict(Action::Defer, "deferred: 451 4.7.1 Try again")
                }],
                faults: vec![FaultRecord {
                    check: "clamd:main".into(),
                    cause: gatepost_mail::Cause::Unavailable,
                    detail: "connection refused".into(),
                    answer: OnFault::Defer,
                }],
                ..clean()
            },
            "Blocked CLEAN (clamd:main unavailable) {Deferred}, [192.0.2.1] <Sender@Example.net> -> <one@example.org>, \
             Message-ID: <m1@example.net>, mail_id: l1bnIZN88okd, Hits: -, size: 1234, faults: clamd:main unavailable, \
             4730 ms",
        ),
        (
            Record { verdicts: vec![], action: Action::Discard, category: Category::Spam, ..clean() },
            "Blocked SPAM {Discarded}, [192.0.2.1] <Sender@Example.net> -> <one@example.org>, Message-ID: \
             <m1@example.net>, mail_id: l1bnIZN88okd, Hits: -, size: 1234, 4730 ms",
        ),
    ] {
        assert_eq!(log_line(&record, Duration::from_millis(4730)), line);
    }
}

#[test]
fn hostile_text_stays_on_one_bounded_line() {
    let hostile = "x\r\nPassed CLEAN\u{1b}[2J\u{202e}".to_owned() + &"y".repeat(100_000);
    let mut record = Record {
        sender: Some(hostile.clone()),
        recipients: vec![hostile.clone(); 500],
        message_id: hostile.clone(),
        quarantine: Some(hostile.clone()),
        ..record("a1")
    };
    record.verdicts[0].reason = hostile.clone();
    record.faults = vec![FaultRecord { check: hostile, ..record.faults[0].clone() }; 500];
    let line = log_line(&record, Duration::ZERO);
    assert!(!line.chars().any(char::is_control) && !line.contains('\u{202e}'), "{line}");
    assert!(line.len() < 8000, "{}", line.len());
    assert!(line.contains(",… (+480), quarantine: "), "{line}");
    assert!(line.contains(r"<x\r\nPassed CLEAN\u{1b}[2J\u{202e}yyy"), "{line}");
}

#[test]
fn json_logs_carry_every_field() {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        log(&record("a1"), Duration::from_millis(5), LogFormat::Json);
        log(&record("a2"), Duration::from_millis(5), LogFormat::Text);
    });
    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let fields = &lines[0]["fields"];
    for (name, value) in [
        ("message", "Blocked INFECTED"),
        ("category", "virus"),
        ("action", "refuse"),
        ("policy", "default"),
        ("reason", "Eicar-Test-Signature"),
        ("outcome", "Refused"),
        ("client", "192.0.2.1"),
        ("mail_id", "a1"),
        ("hits", "8.43"),
        ("faults", "clamd:second timeout"),
    ] {
        assert_eq!(fields[name], value, "{name}");
    }
    assert_eq!((fields["size"].as_u64(), fields["elapsed_ms"].as_u64()), (Some(1234), Some(5)));
    assert!(lines[1]["fields"]["message"].as_str().unwrap().starts_with("Blocked INFECTED (Eicar"));
}
