//! DMARC reports: those who ask for them get them once, by a real Postfix, as a real name server says; and reports that
//! come are read.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gatepost::records::{DmarcMessage, Journal};
use gatepost_auth::report::{
    Disposition, DkimResult, Limits, Override, Reason, Report, Row, SpfResult, read,
};
use jiff::Timestamp;

use crate::rig::*;

const ZONES: &[&str] = &["test."];

/// `example.test` wants its own reports and has them sent to two others, of which one has agreed.
const RECORDS: &[&str] = &[
    "_dmarc.example.test. TXT \"v=DMARC1; p=reject; sp=quarantine; t=y; rua=mailto:user@example.test, \
     mailto:in@agreed.test, mailto:in@other.test\"",
    "example.test._report._dmarc.agreed.test. TXT \"v=DMARC1;\"",
    "_dmarc.quiet.test. TXT \"v=DMARC1; p=none; rua=mailto:a@elsewhere.test\"",
];

const POLICY: &str = "v=DMARC1; p=reject; sp=quarantine; t=y; rua=mailto:user@example.test, mailto:in@agreed.test, \
                      mailto:in@other.test";

fn settings(dns: &Dns, enabled: bool) -> String {
    format!(
        "[dmarc_reports]\nenabled = {enabled}\nemail = \"dmarc@gw.test\"\norg_name = \"Gate & Post\"\n{}",
        dns.config()
    )
}

fn row(source: &str, from: &str) -> Row {
    Row {
        source: source.parse().unwrap(),
        count: 1,
        disposition: Disposition::Quarantine,
        dkim_aligned: false,
        spf_aligned: false,
        reasons: vec![Reason { kind: Override::TestMode, comment: String::new() }],
        header_from: from.into(),
        envelope_from: Some("bounce.test".into()),
        envelope_to: None,
        dkim: vec![DkimResult {
            domain: "bounce.test".into(),
            selector: Some("s".into()),
            result: "pass".into(),
            human: None,
        }],
        spf: Some(SpfResult {
            domain: "bounce.test".into(),
            scope: Some("mfrom".into()),
            result: "pass".into(),
            human: None,
        }),
    }
}

/// What the daemon's checks would have handed over: yesterday's messages.
fn seen(journal: &Path, messages: &[(&str, &str, &str)]) {
    let time = Timestamp::now().checked_sub(Duration::from_secs(24 * 3600)).unwrap();
    let message = |(domain, policy, source): &(&str, &str, &str)| DmarcMessage {
        time,
        policy_domain: (*domain).into(),
        policy: (*policy).into(),
        row: row(source, domain),
    };
    with_journal(journal, async |journal| {
        journal.dmarc(messages.iter().map(message).collect());
        journal.dmarc_flush().await;
    });
}

fn with_journal(path: &Path, work: impl AsyncFnOnce(&Journal)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let journal = Journal::open(path).await.expect("a journal");
        work(&journal).await;
        journal.close().await.expect("closed");
    });
}

fn journal(gatepost: &Gatepost) -> PathBuf {
    gatepost.data().join("journal.db")
}

/// The report in a mail.
fn report(mail: &[u8]) -> Report {
    let mut reports = read(mail.to_vec().into(), &Limits::default()).expect("a report");
    assert_eq!(reports.len(), 1);
    let received = reports.remove(0);
    assert_eq!(received.problems, [""; 0]);
    received.report
}

fn output(output: &std::process::Output) -> (Option<i32>, String) {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

#[test]
fn the_daemon_sends_what_is_asked_for_once() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (Dns::start(ZONES, RECORDS), Sink::start());
    let mut gatepost = Setup::to(sink.address).with(&settings(&dns, false)).start();
    let quiet = "v=DMARC1; p=none; rua=mailto:a@elsewhere.test";
    seen(
        &journal(&gatepost),
        &[
            ("example.test", POLICY, "192.0.2.1"),
            ("example.test", POLICY, "192.0.2.1"),
            ("example.test", POLICY, "2001:db8::1"),
            ("quiet.test", quiet, "192.0.2.1"),
        ],
    );
    // What would be sent is told, and nothing is.
    let (status, told) = output(&gatepost.command(&["dmarc", "report"], &[]));
    assert_eq!(status, Some(0), "{told}");
    for word in [
        "user@example.test; in@agreed.test; not mailto:in@other.test: other.test does not ask for it",
        "  3         2  ",
    ] {
        assert!(told.contains(word), "{word}\n{told}");
    }
    assert!(sink.received().is_empty());

    gatepost.change(|setup| setup.tables = settings(&dns, true));
    gatepost.restart();
    let received = sink.wait_received(2);
    assert_eq!(received[0].recipients, ["RCPT TO:<user@example.test>"]);
    assert_eq!(received[1].recipients, ["RCPT TO:<in@agreed.test>"]);
    assert!(received[0].mail.starts_with("MAIL FROM:<dmarc@gw.test>"), "{}", received[0].mail);
    let first = report(&received[0].content);
    assert_eq!(report(&received[1].content), first);
    assert_eq!(
        (first.org_name.as_str(), first.published.domain.as_str(), first.published.testing),
        ("Gate & Post", "example.test", true)
    );
    let subject = received[0].header("Subject").unwrap();
    assert_eq!(subject, format!("Report Domain: example.test Submitter: gw.test Report-ID: <{}>", first.id));
    assert_eq!(first.end - first.begin, 86_399);
    let rows: Vec<_> = first.rows.iter().map(|row| (row.source.to_string(), row.count)).collect();
    assert_eq!(rows, [("192.0.2.1".to_owned(), 2), ("2001:db8::1".to_owned(), 1)]);
    assert_ne!(received[0].header("Message-ID"), received[1].header("Message-ID"));
    wait_for("the log says so", START, || gatepost.log().contains("1 wanted by nobody").then_some(()));

    // Nothing is due any more, for the daemon or by hand.
    gatepost.restart();
    let (status, told) = output(&gatepost.command(&["dmarc", "report"], &["--send"]));
    assert_eq!(
        (status, told.as_str()),
        (Some(0), "reports: 0 made, 0 sent, 0 wanted by nobody, 0 to be tried again, 0 failed\n")
    );
    assert_eq!(sink.received().len(), 2);
}

#[test]
fn a_report_that_was_not_sent_is_sent_later_the_same() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (Dns::start(ZONES, RECORDS), Sink::start());
    let gatepost = Setup::to(sink.address).with(&settings(&dns, false)).start();
    seen(&journal(&gatepost), &[("example.test", POLICY, "192.0.2.1")]);
    // One destination defers, the other one refuses; neither keeps the report from the other.
    sink.on_some("RCPT", "user@", 1, Step::Reply("451 4.7.1 later".into()));
    let (status, told) = output(&gatepost.command(&["dmarc", "report"], &["--send"]));
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("1 made, 0 sent, 0 wanted by nobody, 1 to be tried again"), "{told}");
    let one = sink.wait_received(1);
    assert_eq!(one[0].recipients, ["RCPT TO:<in@agreed.test>"]);
    // Killed when the message is out and before it is known that it was taken: it goes out again, the same.
    sink.on("END", Step::Wait(Duration::from_secs(5)));
    let mut killed = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["dmarc", "report", "--send", "-c"])
        .arg(gatepost.config())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("gatepost runs");
    wait_for("the message is on its way", START, || {
        let messages = sink.commands().iter().filter(|line| line.as_str() == "DATA").count();
        (messages == 2).then_some(())
    });
    // The sink waits longer with its answer.
    std::thread::sleep(Duration::from_secs(1));
    killed.kill().expect("killed");
    killed.wait().expect("gone");
    sink.wait_received(2);
    sink.behave();
    let (_, told) = output(&gatepost.command(&["dmarc", "report"], &["--send"]));
    assert!(told.contains(" 0 sent"), "whoever had it may be at it still: {told}");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(journal(&gatepost));
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let pool = sqlx::SqlitePool::connect_with(options).await.expect("the journal");
        let age = sqlx::query("UPDATE dmarc_report SET claimed = claimed - 3600000000");
        assert_eq!(age.execute(&pool).await.expect("aged").rows_affected(), 1);
    });
    let (status, told) = output(&gatepost.command(&["dmarc", "report"], &["--send"]));
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains(" 1 sent"), "{told}");
    let received = sink.received();
    assert_eq!(received.len(), 3, "in@agreed.test has it once");
    assert_eq!(
        (&received[1].recipients, received[1].header("Message-ID")),
        (&received[2].recipients, received[2].header("Message-ID"))
    );
    assert_eq!(report(&received[1].content), report(&received[2].content));
    assert_eq!(report(&received[0].content).id, report(&received[2].content).id);
}

#[test]
fn through_postfix_and_back() {
    if !needs(&["postfix", "unbound", "root"]) {
        return;
    }
    let (dns, postfix) = (Dns::start(ZONES, RECORDS), Postfix::start());
    let gatepost = Setup::to(postfix.smtp).with(&settings(&dns, false)).start();
    let own = "v=DMARC1; p=none; rua=mailto:user@example.test, mailto:nobody@example.test, mailto:other@example.test!1k";
    seen(&journal(&gatepost), &[("example.test", own, "192.0.2.1"), ("example.test", own, "192.0.2.1")]);

    // Files first, which counts as nothing.
    let folder = folder();
    let to = folder.path().to_str().expect("a plain path");
    let (status, told) = output(&gatepost.command(&["dmarc", "report"], &["--write", to]));
    assert_eq!(status, Some(0), "{told}");
    let file = PathBuf::from(told.trim());
    assert!(told.contains("/gw.test!example.test!") && file.exists(), "{told}");
    assert_eq!(report(&std::fs::read(&file).expect("read")).rows[0].count, 2);

    // One destination does not exist and one takes only little; the third gets it.
    let (status, told) = output(&gatepost.command(&["dmarc", "report"], &["--send"]));
    assert_eq!(status, Some(0), "{told}");
    let mails = postfix.delivered("user", 1);
    let sent = report(mails[0].replace('\n', "\r\n").as_bytes());
    assert_eq!((sent.published.domain.as_str(), sent.rows[0].count), ("example.test", 2));
    assert!(postfix.mailbox("other").is_empty());

    // The mail as it lies in the mailbox is read again.
    let mailbox = folder.path().join("mail");
    std::fs::write(&mailbox, &mails[0]).expect("write");
    let mailbox = mailbox.to_str().expect("a plain path");
    let (status, told) = output(&gatepost.command(&["dmarc", "import"], &[mailbox]));
    assert_eq!(status, Some(0), "{told}");
    assert!(
        told.contains(&format!("Gate & Post on example.test, 2 messages, report {}\n", sent.id)),
        "{told}"
    );
    let (_, told) = output(&gatepost.command(&["dmarc", "import"], &[mailbox]));
    assert!(told.contains("known already"), "{told}");
    let (status, told) = output(&gatepost.command(&["dmarc", "show"], &["--domain", "example.test"]));
    assert_eq!(status, Some(0), "{told}");
    for words in
        ["MESSAGES  DMARC", "2         fail   192.0.2.1  example.test", "0 messages passed, 2 did not"]
    {
        assert!(told.contains(words), "{words}\n{told}");
    }
    let lines = gatepost.json(&["dmarc", "show"], &["--json", "--failing"]);
    assert_eq!((lines.len(), &lines[0]["messages"]), (1, &serde_json::json!(2)));
    assert!(gatepost.json(&["dmarc", "show"], &["--json", "--domain", "other.test"]).is_empty());

    // What is no report is told by the exit status.
    let (status, told) =
        output(&gatepost.command(&["dmarc", "import"], &[gatepost.config().to_str().expect("a path")]));
    assert_eq!(status, Some(1), "{told}");
    let (status, _) = output(&gatepost.command(&["dmarc", "import"], &["/nonexistent/report.xml", mailbox]));
    assert_eq!(status, Some(75));
}

#[test]
fn reports_need_an_address() {
    let gatepost = Setup::default().start();
    let (status, told) = output(&gatepost.command(&["dmarc", "report"], &["--send"]));
    assert_eq!(status, Some(2), "{told}");
    assert!(told.contains("dmarc_reports.email"), "{told}");
    let folder = folder();
    for (settings, problem) in [
        ("enabled = true", "dmarc_reports.email"),
        ("email = \"nobody\"", "is not an address"),
        ("email = \"a b@gw.test\"", "is not a plain address"),
        ("email = \"a@gw.test\\r\\nX: y\"", "is not a plain address"),
    ] {
        let path = folder.path().join("bad.toml");
        std::fs::write(&path, format!("[dmarc_reports]\n{settings}\n")).expect("write");
        let output = run(&["config", "-c", path.to_str().expect("a path")], b"");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(problem), "{settings}: {text}");
    }
}
