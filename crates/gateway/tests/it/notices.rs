//! Notices: through the real daemon and a next hop, once, grouped, in the reader's language, whatever dies or hangs on
//! the way.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::rig::*;

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

const TOP: &str = "domains = [\"example.test\"]";
const HOLD: &str = "[default_policy]\nactions.spam = \"quarantine\"\n";

/// What Python's `email` makes of a mail.
const READ: &str = r#"
import sys, json, email, email.policy
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = {}
for part in mail.walk():
    if part.get_content_maintype() == "text":
        parts.setdefault(part.get_content_type(), part.get_content())
    elif part.get_content_maintype() == "message":
        parts[part.get_content_type()] = part.as_string()
defects = [str(defect) for part in mail.walk() for defect in part.defects]
print(json.dumps({"type": mail.get_content_type(), "headers": {name: str(value) for name, value in mail.items()},
                  "parts": parts, "defects": defects, "report": mail.get_param("report-type")}))
"#;

fn python(mail: &[u8]) -> Value {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    child.stdin.take().expect("its input").write_all(mail).expect("the mail");
    let output = child.wait_with_output().expect("Python ends");
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value["defects"], serde_json::json!([]), "{value}");
    value
}

fn text<'a>(mail: &'a Value, part: &str) -> &'a str {
    mail["parts"][part].as_str().unwrap_or_else(|| panic!("no {part} in {mail}"))
}

fn assert_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

/// Hands in a mail that is held, and gives its id.
fn hold(gatepost: &Gatepost, from: &str, to: &str, subject: &str, fields: &str) -> String {
    let before = gatepost.held(0).len();
    let content = mail(subject, &format!("{GTUBE}\n"));
    let mut dialog = gatepost.connect();
    dialog.greet();
    let reply = dialog.message(from, &[to], &format!("{fields}{content}"));
    assert_eq!(reply.code, 250, "{}", reply.text);
    let held = gatepost.held(before + 1);
    let of = |value: &&Value| value["subject"] == subject;
    held.iter().find(of).expect("it is held")["id"].as_str().expect("an id").to_owned()
}

fn send(gatepost: &Gatepost) -> (Option<i32>, String) {
    let output = gatepost.command(&["notices", "send"], &[]);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

/// Recipients are told, but not by themselves while a test runs.
fn recipients(every: &str) -> String {
    format!(
        "[notices]\nfooter = \"Your mail team\"\n[notices.recipients]\nenabled = true\nat = \"\"\nevery = \"{every}\"\n"
    )
}

#[test]
fn the_daemon_tells_of_an_outbreak_at_once_and_of_the_rest_together() {
    if !needs(&["/usr/bin/python3"]) {
        return;
    }
    let sink = Sink::start();
    let settings = "[notices.admin.outbreak]\nto = [\"oncall@example.test\"]\nabout = [\"virus\"]\nevery = 0\n\
                    directions = [\"outbound\", \"internal\"]\n";
    let gatepost = Setup::to(sink.address).globally(TOP).with(settings).start();
    for number in 0..3 {
        let mut dialog = gatepost.connect();
        dialog.greet();
        let content = eicar_body(&format!("evil <{number}> \u{202e}gnp.exe"));
        assert_eq!(dialog.message("ann@example.test", &["x@far.test"], &content).code, 550);
    }
    // By itself, and within a minute only once.
    let received = sink.wait_received(1);
    let first = python(&received[0].content);
    assert!(received[0].mail.starts_with("MAIL FROM:<>"), "{}", received[0].mail);
    assert_eq!(received[0].recipients, ["RCPT TO:<oncall@example.test>"]);
    let headers = &first["headers"];
    assert_eq!(
        (&headers["Auto-Submitted"], &headers["To"]),
        (&"auto-generated".into(), &"oncall@example.test".into())
    );
    assert_parts(headers["Subject"].as_str().expect("a subject"), &["[gatepost.test]", "virus"]);
    assert_eq!(first["type"], "multipart/alternative");
    assert_parts(
        text(&first, "text/plain"),
        &["virus: Eicar", "ann@example.test [127.0.0.1]", "x@far.test", "refused"],
    );
    assert_parts(text(&first, "text/html"), &["<table", "evil &lt;0&gt; gnp.exe"]);
    gatepost.records(3);
    let (status, told) = send(&gatepost);
    assert_eq!(status, Some(0), "{told}");
    let total: usize = sink
        .received()
        .iter()
        .map(|one| text(&python(&one.content), "text/plain").matches("virus: Eicar").count())
        .sum();
    assert_eq!(total, 3, "each once");
    assert!(sink.received().len() <= 2 + 1, "{}", sink.received().len());
}

#[test]
fn a_french_digest_says_how_to_have_mail_released() {
    if !needs(&["/usr/bin/python3"]) {
        return;
    }
    let sink = Sink::start();
    let policy =
        "[[policy]]\nname = \"paris\"\nwhen.recipients = [\"paris@example.test\"]\nlanguage = \"fr\"\n";
    let gatepost =
        Setup::to(sink.address).globally(TOP).with(&recipients("1d")).with(HOLD).with(policy).start();
    let ids: Vec<String> = (0..2)
        .map(|n| hold(&gatepost, "a@far.test", "paris@example.test", &format!("Facture été {n}"), ""))
        .collect();
    let gone = hold(&gatepost, "a@far.test", "paris@example.test", "released before", "");
    assert!(gatepost.command(&["quarantine", "delete"], &[&gone, "--yes"]).status.success());
    hold(&gatepost, "a@far.test", "user@example.test", "Invoice", "");

    let output = gatepost.command(&["notices", "preview"], &["--to", "Paris@example.test"]);
    let preview = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && preview.starts_with("--- recipient paris@example.test"), "{preview}");
    let since = gatepost.command(&["notices", "preview"], &["--since", "1d"]);
    assert_parts(&String::from_utf8_lossy(&since.stdout), &["user@example.test", "paris@example.test"]);
    assert!(sink.received().is_empty(), "nothing was sent");

    assert_eq!(send(&gatepost), (Some(0), "notices: 2 made, 2 sent, 0 to be tried again, 0 failed\n".into()));
    assert_eq!(send(&gatepost), (Some(0), "notices: 0 made, 0 sent, 0 to be tried again, 0 failed\n".into()));
    let received = sink.wait_received(2);
    let of = |address: &str| received.iter().find(|one| one.recipients[0].contains(address)).expect(address);
    let mail = python(&of("paris@").content);
    assert_eq!(mail["headers"]["Subject"], "2 messages pour vous n’ont pas été remis tels quels");
    for part in ["text/plain", "text/html"] {
        let text = text(&mail, part);
        assert_parts(
            text,
            &["Facture été 0", "Facture été 1", "retenu", "a@far.test", &ids[0], &ids[1], "Your mail team"],
        );
        assert_parts(text, &["Demandez-le à votre administrateur, postmaster@example.test"]);
        assert!(!text.contains("released before"), "{text}");
    }
    assert_eq!(python(&of("user@").content)["headers"]["Subject"], "1 message to you not delivered as sent");
}

#[test]
fn senders_of_ours_get_a_delivery_status_and_nobody_else() {
    if !needs(&["/usr/bin/python3"]) {
        return;
    }
    let sink = Sink::start();
    let gatepost =
        Setup::to(sink.address).globally(TOP).with(HOLD).with("[notices.sender]\nenabled = true\n").start();
    let id = hold(&gatepost, "ann@example.test", "x@far.test", "Offer", "");
    hold(&gatepost, "forged@far.test", "user@example.test", "forged", "");
    hold(&gatepost, "", "x@far.test", "empty", "");
    hold(&gatepost, "ann@example.test", "x@far.test", "bulk", "Precedence: bulk\n");
    hold(&gatepost, "ann@example.test", "x@far.test", "vacation", "Auto-Submitted: auto-replied\n");
    hold(&gatepost, "list-request@example.test", "x@far.test", "list", "");
    let (status, told) = send(&gatepost);
    assert_eq!(status, Some(0), "{told}");
    let received = sink.received();
    assert_eq!(received.len(), 1, "{told}");
    let mail = python(&received[0].content);
    assert_eq!((&mail["type"], &mail["report"]), (&"multipart/report".into(), &"delivery-status".into()));
    assert_eq!(mail["headers"]["In-Reply-To"], "<Offer@client.test>");
    assert_parts(
        text(&mail, "message/delivery-status"),
        &["Reporting-MTA: dns; gatepost.test", "Final-Recipient: rfc822; x@far.test", "Action: delayed", &id],
    );
    assert_parts(text(&mail, "text/rfc822-headers"), &["Subject: Offer", "From: <sender@client.test>"]);
    assert_parts(text(&mail, "text/plain"), &["Offer", "held"]);
}

#[test]
fn a_notice_that_was_sent_and_not_noted_goes_out_once_more_the_same() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).globally(TOP).with(&recipients("1d")).with(HOLD).start();
    hold(&gatepost, "a@far.test", "user@example.test", "Invoice", "");
    sink.on("END", Step::Wait(Duration::from_secs(5)));
    let mut killed = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["notices", "send", "-c"])
        .arg(gatepost.config())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("gatepost runs");
    wait_for("the notice is on its way", START, || {
        sink.commands().iter().any(|line| line == "DATA").then_some(())
    });
    // The sink waits longer with its answer.
    std::thread::sleep(Duration::from_secs(1));
    killed.kill().expect("killed");
    killed.wait().expect("gone");
    sink.wait_received(1);
    sink.behave();
    let (_, told) = send(&gatepost);
    assert!(told.contains(" 0 sent"), "whoever had it may be at it still: {told}");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(gatepost.data().join("journal.db"));
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let pool = sqlx::SqlitePool::connect_with(options).await.expect("the journal");
        let age = sqlx::query("UPDATE notice SET claimed = claimed - 3600000000");
        assert_eq!(age.execute(&pool).await.expect("aged").rows_affected(), 1);
    });
    let (status, told) = send(&gatepost);
    assert!(status == Some(0) && told.contains(" 1 sent"), "{told}");
    let received = sink.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].content, received[1].content, "to the letter");
}

/// What is being sent when it is told to stop is sent to its end and noted, and what is left goes out at the next start.
#[test]
fn a_daemon_that_stops_while_it_sends_tells_each_once() {
    let sink = Sink::start();
    let settings =
        "[notices.admin.a]\nto = [\"a@example.test\", \"b@example.test\"]\nabout = [\"spam\"]\nevery = 0\n";
    let mut gatepost = Setup::to(sink.address).globally(TOP).with(settings).with(HOLD).start();
    sink.on("END", Step::Wait(Duration::from_secs(2)));
    hold(&gatepost, "a@far.test", "user@example.test", "Invoice", "");
    wait_for("a notice is on its way", START, || {
        sink.commands().iter().any(|line| line == "DATA").then_some(())
    });
    gatepost.signal(Signal::SIGTERM);
    assert!(gatepost.wait().success());
    assert_eq!(sink.received().len(), 1);
    sink.behave();
    gatepost.restart();
    let received = sink.wait_received(2);
    let told: std::collections::BTreeSet<&str> =
        received.iter().flat_map(|one| &one.recipients).map(String::as_str).collect();
    assert_eq!(
        told.into_iter().collect::<Vec<_>>(),
        ["RCPT TO:<a@example.test>", "RCPT TO:<b@example.test>"]
    );
    let (_, told) = send(&gatepost);
    assert!(told.contains(" 0 sent"), "{told}");
    assert_eq!(sink.received().len(), 2, "each once");
}

#[test]
fn a_killed_daemon_tells_all_the_same() {
    let sink = Sink::start();
    let mut gatepost = Setup::to(sink.address).globally(TOP).with(&recipients("1d")).with(HOLD).start();
    for round in 0..5 {
        hold(&gatepost, "a@far.test", "user@example.test", &format!("number {round}"), "");
        gatepost.kill();
        gatepost.restart();
    }
    let (status, told) = send(&gatepost);
    assert!(status == Some(0) && told.contains("1 made, 1 sent"), "{told}");
    let text = sink.wait_received(1)[0].text();
    for round in 0..5 {
        assert!(text.contains(&format!("number {round}")), "{round}: {text}");
    }
}

#[test]
fn a_next_hop_that_fails_is_tried_again_and_holds_up_no_mail() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).globally(TOP).with(&recipients("1d")).with(HOLD).start();
    hold(&gatepost, "a@far.test", "user@example.test", "Invoice", "");
    hold(&gatepost, "a@far.test", "gone@example.test", "Invoice two", "");
    sink.on_some("MAIL", "<>", 1, Step::Reply("451 4.3.0 later".into()));
    sink.on_some("RCPT", "gone@", 1, Step::Reply("550 5.1.1 no such user".into()));
    let (status, told) = send(&gatepost);
    assert_eq!(status, Some(1), "{told}");
    assert!(
        told.contains("1 to be tried again, 1 failed") || told.contains("1 sent, 1 to be tried again"),
        "{told}"
    );
    sink.behave();
    // One that hangs keeps nobody's mail waiting.
    sink.on_some("MAIL", "<>", 1, Step::Hang);
    let mut hanging = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["notices", "send", "-c"])
        .arg(gatepost.config())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("gatepost runs");
    wait_for("it hangs", START, || {
        let tries = sink.commands().iter().filter(|line| line.starts_with("MAIL FROM:<>")).count();
        (tries >= 3).then_some(())
    });
    let mut dialog = gatepost.connect();
    dialog.greet();
    assert_eq!(dialog.message("a@far.test", &["user@example.test"], &mail("clean", "Hello")).code, 250);
    hanging.kill().expect("killed");
    hanging.wait().expect("gone");
    assert!(sink.received().iter().any(|one| one.header("Subject").as_deref() == Some("clean")));
}

#[test]
fn a_notice_about_a_notice_there_is_none() {
    let sink = Sink::start();
    let settings = "[notices.admin.all]\nto = [\"admin@example.test\"]\nabout = [\"spam\"]\nevery = 0\n";
    let gatepost =
        Setup::to(sink.address).globally(TOP).with(settings).with(&recipients("1s")).with(HOLD).start();
    // What makes the message spam stands in its notice.
    hold(&gatepost, "a@far.test", "user@example.test", GTUBE, "");
    send(&gatepost);
    let notices = sink.wait_received(2);
    for notice in &notices {
        let mut dialog = gatepost.connect();
        dialog.greet();
        let to =
            if notice.recipients[0].contains("admin@") { "admin@example.test" } else { "user@example.test" };
        let reply = dialog.message("", &[to], &notice.text().replace("\r\n", "\n"));
        assert_eq!(reply.code, 250, "{}", reply.text);
    }
    assert_eq!(gatepost.held(3).len(), 3, "they are spam");
    let (_, told) = send(&gatepost);
    assert!(told.contains(" 0 made"), "{told}");
    assert_eq!(sink.received().len(), 2);
    // A stranger's mail that only looks like one of ours is told of.
    let forged = mail("forged", GTUBE).replace("<forged@client.test>", "<notice.l1bnIZN88okd@gatepost.test>");
    let mut dialog = gatepost.connect();
    dialog.greet();
    assert_eq!(dialog.message("", &["user@example.test"], &forged).code, 250);
    gatepost.held(4);
    send(&gatepost);
    let told = sink.received().into_iter().skip(2).map(|one| one.text()).collect::<String>();
    assert!(told.contains("forged"), "{told}");
}

#[test]
fn mailscanners_warning_and_mistakes_in_templates() {
    let sink = Sink::start();
    let settings = "[notices.admin.postmaster]\nto = [\"postmaster@example.test\"]\nabout = [\"virus\"]\n";
    let mut gatepost = Setup::to(sink.address).globally(TOP).with(settings).start();
    let folder = gatepost.folder().join("templates");
    std::fs::create_dir_all(folder.join("en")).expect("a folder");
    let file = folder.join("en/admin.txt");
    std::fs::write(&file, docs::block("notices.md", "mailscanner-warning")).expect("write");
    gatepost.change(|setup| setup.tables = format!("{settings}[notices]\ntemplates = {folder:?}\n"));
    gatepost.kill();
    gatepost.restart();
    let mut dialog = gatepost.connect();
    dialog.greet();
    let content = with_attachment("Klez", "stat_tel", eicar().as_bytes());
    assert_eq!(dialog.message("a@far.test", &["user@example.test"], &content).code, 550);
    let record = gatepost.records(1).remove(0);
    let (status, told) = send(&gatepost);
    assert_eq!(status, Some(0), "{told}");
    let received = sink.wait_received(1);
    assert_eq!(received[0].header("Subject").as_deref(), Some("Warning: E-mail viruses detected"));
    assert_eq!(received[0].header("Content-Type").as_deref(), Some("text/plain; charset=utf-8"));
    let id = record["id"].as_str().expect("an id");
    let text = received[0].text().replace("=\r\n", "");
    assert_parts(
        &text,
        &["Sender: a@far.test", "Recipient: user@example.test", "Subject: Klez", &format!("MessageID: {id}")],
    );
    let report =
        text.lines().find(|line| line.contains("Report: >>> Virus '")).unwrap_or_else(|| panic!("{text}"));
    assert!(
        report.to_lowercase().contains("eicar")
            && report.ends_with(&format!("found in file ./{id}/stat_tel")),
        "{report}"
    );

    // With a mistake in it: told with file and line, and the daemon goes on as it was.
    std::fs::write(&file, "Subject: x\n\n{{ total }}\n{{ hostnam }}\n").expect("write");
    let output = gatepost.command(&["check"], &[]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains(&format!("{}:4: undefined value", file.display())), "{told}");
    gatepost.signal(Signal::SIGHUP);
    wait_for("the daemon says so", START, || gatepost.log().contains("admin.txt:4").then_some(()));
    assert!(gatepost.runs());
}

#[test]
fn through_postfix() {
    if !needs(&["postfix", "root", "/usr/bin/python3"]) {
        return;
    }
    let postfix = Postfix::start();
    let gatepost = Setup::to(postfix.smtp).globally(TOP).with(&recipients("1d")).with(HOLD).start();
    let ids: Vec<String> = (0..3)
        .map(|n| hold(&gatepost, "a@far.test", "user@example.test", &format!("Größe {n}"), ""))
        .collect();
    let (status, told) = send(&gatepost);
    assert!(status == Some(0) && told.contains("1 made, 1 sent"), "{told}");
    let mails = postfix.delivered("user", 1);
    let mail = python(mails[0].as_bytes());
    assert_eq!(mail["headers"]["Return-Path"], "<>");
    for part in ["text/plain", "text/html"] {
        for id in &ids {
            assert_parts(text(&mail, part), &[id]);
        }
    }
}
