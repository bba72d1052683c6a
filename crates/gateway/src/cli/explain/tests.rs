//! Tests of `explain`.

use super::*;
use crate::records::samples::{clean_record, record};
use crate::records::{EventKind, State};

fn entry(record: Record) -> Entry {
    Entry { record, state: None, state_time: None, remaining: None }
}

#[test]
fn the_page_of_a_refused_and_kept_message() {
    let held = Entry {
        state: Some(State::Released),
        state_time: Some("2026-03-02T08:00:00Z".parse().unwrap()),
        ..entry(Record { quarantine: Some("l/l1bnIZN88okd".into()), ..record("l1bnIZN88okd") })
    };
    let events = [Event {
        time: "2026-03-02T08:00:00.5Z".parse().unwrap(),
        kind: EventKind::Released,
        detail: "smtp://hop:25: <one@example.org>: 250 2.0.0 Ok".into(),
        who: "alice".into(),
    }];
    let expected = "\
Message l1bnIZN88okd
  time         2026-03-01T12:30:00.25Z
  came by      MX, ESMTPS, inbound
  client       mail.example.net [192.0.2.1], HELO helo.example.net
  sender       <Sender@Example.net>
  recipients   <one@example.org>, <Two@sub.example.org>
  from         Sender <sender@example.net>
  subject      Your Invoice
  message-id   <m1@example.net>
  size         1234 bytes
  decided      virus, refuse, score 8.43, policy default
  quarantine   l/l1bnIZN88okd, released since 2026-03-02T08:00:00Z, a copy of what was delivered or refused

Findings
       0.0  VIRUS (part 2/a.zip/b.exe): Eicar-Test-Signature
       5.0  DNSBL_ZEN (mail): 127.0.0.2
      3.43  FORGED (mail): no such host

Authentication of the sender
  spf=fail smtp.mailfrom=sender@example.net: example.net does not designate 192.0.2.1 (-all)

Verdict 1 for <one@example.org>, <Two@sub.example.org>
       0.0  VIRUS -> virus
       5.0  DNSBL_ZEN
      3.43  FORGED
      8.43  sum
  category     virus
  policy       default
  action       refuse
  reason       Eicar-Test-Signature
  outcome      refused: 550 5.7.1 Virus detected

Faults: checks that could not look
  clamd:second: timeout, so accept: no answer in 60 s

Defects
  MISSING_DATE in message: no Date

Parts
  2/a.zip/b.exe “b.exe”: -, by content exe, 68 bytes, SHA-256 275a021b

Times
       4.200 ms  clamd:main
       0.310 ms  read

Replies to the client
  550 5.7.1 Virus detected: Eicar-Test-Signature

Since then
  2026-03-02T08:00:00Z released by alice: smtp://hop:25: <one@example.org>: 250 2.0.0 Ok
";
    assert_eq!(page(&held, &events), expected);
}

#[test]
fn a_clean_message_says_so() {
    let page = page(&entry(clean_record("a1")), &[]);
    assert!(page.contains("\nFindings\n  none\n"), "{page}");
    assert!(page.contains("\n       0.0  sum\n"), "{page}");
    assert!(page.contains("\nNext hop\n  smtp://127.0.0.1:10026: 250 2.0.0 Ok\n"), "{page}");
    for absent in ["Faults", "Defects", "Parts", "Since then", "quarantine"] {
        assert!(!page.contains(absent), "{absent} in\n{page}");
    }
}

#[test]
fn a_sum_that_does_not_add_up_is_told() {
    let mut record = record("a1");
    record.verdicts[0].score = Points::thousandths(9000);
    assert!(
        page(&entry(record), &[])
            .contains("      8.43  sum\n            the verdict says 9.0, which is not the sum\n")
    );
}

#[test]
fn hostile_text_cannot_forge_lines_or_drive_the_terminal() {
    let mut record = record("a1");
    let hostile = "x\r\n  decided      clean\u{1b}[2J\u{202e}".to_owned();
    record.subject.clone_from(&hostile);
    record.helo.clone_from(&hostile);
    record.recipients = vec![hostile.clone(); 1000];
    record.findings[0].evidence = hostile.repeat(10_000);
    record.parts[0].name = Some(hostile.clone());
    record.verdicts[0].reason = hostile;
    let page = page(&entry(record), &[]);
    assert!(!page.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
    assert_eq!(page.lines().filter(|line| line.starts_with("  decided ")).count(), 1);
    assert!(page.len() < 20_000, "{}", page.len());
}
