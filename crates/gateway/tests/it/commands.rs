//! The commands: what they print, and what their exit status says.

use serde_json::Value;

use crate::rig::*;

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

fn text(output: &std::process::Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn scan_says_by_its_exit_status_what_it_found() {
    let folder = folder();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("write");
        path.to_str().expect("a plain path").to_owned()
    };
    let clean = file("clean.eml", &mail("x", "hello"));
    let bad = file("bad.eml", &eicar_body("y"));
    let broken = file("broken.toml", "[limits]\nrecipiens = 3\n");
    let away = file("away.toml", "[checks.clamd.main]\nsocket = \"unix:/nonexistent/clamd.sock\"\n");
    for (arguments, status) in [
        (vec!["scan", &clean], 0),
        (vec!["scan", &bad], 1),
        (vec!["scan", &clean, &bad], 1),
        (vec!["scan", "/nonexistent/mail.eml"], 2),
        (vec!["scan", "--unheard-of", &clean], 2),
        (vec!["scan"], 2),
        (vec!["scan", "-c", &broken, &clean], 2),
        (vec!["scan", "-c", &away, &clean], 75),
        (vec!["scan", "-c", &away, &bad], 1),
    ] {
        let output = run(&arguments, b"");
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", text(&output));
    }
}

#[test]
fn scan_prints_json_of_a_known_shape() {
    let content = with_attachment("with a program", "invoice.pdf.exe", b"MZ\x90\0\x03\0\0\0");
    let output = run(
        &[
            "scan",
            "--json",
            "--client",
            "192.0.2.1",
            "--helo",
            "h.test",
            "--from",
            "a@b.test",
            "--to",
            "c@d.test",
            "-",
        ],
        content.as_bytes(),
    );
    let record: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
    for key in [
        "file", "category", "score", "action", "policy", "findings", "faults", "parts", "defects", "times_us",
    ] {
        assert!(record.get(key).is_some(), "{key}: {record:#}");
    }
    assert_eq!(record["category"], "banned", "{record:#}");
    assert_eq!(record["client"], "192.0.2.1");
    assert_eq!(record["recipients"][0], "c@d.test");
    let finding = &record["findings"][0];
    for key in ["symbol", "weight", "scope", "evidence"] {
        assert!(finding.get(key).is_some(), "{key}: {finding:#}");
    }
    let parts = record["parts"].as_array().expect("parts");
    let program = parts.iter().find(|part| part["name"] == "invoice.pdf.exe").expect("the program");
    assert_eq!(program["declared"], "application/octet-stream");
    assert_eq!(program["size"], 8);
    assert_eq!(program["digest"].as_str().map(str::len), Some(64));
    assert!(record["times_us"].as_object().is_some_and(|times| !times.is_empty()), "{record:#}");
}

#[test]
fn scan_reads_folders_and_mailboxes() {
    let folder = folder();
    let deep = folder.path().join("a/b");
    std::fs::create_dir_all(&deep).expect("folders");
    for number in 0..30 {
        let content = if number == 7 { eicar_body("bad") } else { mail("x", "hello") };
        std::fs::write(deep.join(format!("{number:02}.eml")), content).expect("write");
    }
    let output = run(&["scan", "--json", folder.path().to_str().expect("a plain path")], b"");
    let records: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(records.len(), 30);
    for record in records {
        let wanted = if record["file"].as_str().is_some_and(|name| name.ends_with("07.eml")) {
            "virus"
        } else {
            "clean"
        };
        assert_eq!(record["category"], wanted, "{record:#}");
    }
    let separator = "From a@client.test Thu Jan  1 00:00:00 2026\n";
    let mbox = format!(
        "{separator}{}\n{separator}{}\n{separator}{}",
        mail("one", ">From the start"),
        eicar_body("two"),
        mail("three", "end"),
    );
    let file = folder.path().join("mbox");
    std::fs::write(&file, mbox).expect("write");
    let output = run(&["scan", "--json", "--mbox", file.to_str().expect("a plain path")], b"");
    let categories: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["category"].as_str().unwrap_or("").to_owned()
        })
        .collect();
    assert_eq!(categories, ["clean", "virus", "clean"]);
    assert_eq!(output.status.code(), Some(1));
}

/// The daemon and `scan` judge alike.
#[test]
fn scan_judges_as_the_daemon_does() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).start();
    let mut dialog = gatepost.connect();
    dialog.greet();
    for content in
        [mail("a", "hello"), eicar_body("b"), mail("c", GTUBE), with_attachment("d", "x.exe", b"hello")]
    {
        dialog.message("a@client.test", &["user@example.test"], &content);
        let file = gatepost.folder().join("one.eml");
        std::fs::write(&file, &content).expect("write");
        let scan = ["--json", "--client", "127.0.0.1", "--helo", "client.test", "--from", "a@client.test"];
        let rest: Vec<&str> = scan
            .into_iter()
            .chain(["--to", "user@example.test", file.to_str().expect("a plain path")])
            .collect();
        let scanned = gatepost.json(&["scan"], &rest).remove(0);
        let subject = scanned["subject"].as_str().expect("a subject").to_owned();
        let judged = wait_for("its record", START, || {
            gatepost
                .json(&["history"], &["--json"])
                .into_iter()
                .find(|record| record["subject"] == subject.as_str())
        });
        for key in ["category", "score", "action", "policy", "findings", "defects"] {
            assert_eq!(scanned[key], judged[key], "{key} of {subject}");
        }
    }
}

#[test]
fn errors_of_the_configuration_name_file_line_and_column() {
    let folder = folder();
    let file = folder.path().join("gatepost.toml");
    for (content, place, words) in [
        ("[limits]\nrecipiens = 3\n", "gatepost.toml:2:1", "recipients"),
        ("[limits]\nrecipients = \"many\"\n", "gatepost.toml:2:14", "recipients"),
        ("data = \"x\"\n\n[[listener]]\nlisten = [\"127.0.0.1:99999\"]\n", "gatepost.toml:4:", "listen"),
        ("[checks.clamd.main]\nsocket = \"nowhere\"\n", "gatepost.toml:2:", "socket"),
        ("[default_policy]\nactions.virus = \"shred\"\n", "gatepost.toml:2:", "refuse"),
        ("[default_policy]\nweights.NO_SUCH_SYMBOL = 1\n", "gatepost.toml:2:", "NO_SUCH_SYMBOL"),
        ("data = \n", "gatepost.toml:1:", ""),
    ] {
        // Its own port, so that nobody else's is in the way of `serve`.
        let listener = format!("[[listener]]\nlisten = [\"{}\"]\n", free_address());
        let listener = if content.contains("[[listener]]") { "" } else { &listener };
        std::fs::write(&file, format!("{content}{listener}")).expect("write");
        for command in ["serve", "check"] {
            let output = run(&[command, "-c", file.to_str().expect("a plain path")], b"");
            assert_eq!(output.status.code(), Some(2), "{command} with {content:?}: {}", text(&output));
            assert!(text(&output).contains(place), "{command} with {content:?}: {}", text(&output));
            assert!(text(&output).contains(words), "{command} with {content:?}: {}", text(&output));
        }
    }
}

#[test]
fn config_tells_where_each_value_comes_from() {
    let gatepost = Setup::default().start();
    let output = gatepost.command(&["config"], &[]);
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    let of = |key: &str| {
        said.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {said}")).to_owned()
    };
    assert!(of("hostname = ").contains("gatepost.toml:2"), "{said}");
    assert!(of("recipients = ").contains("default"), "{said}");
}

#[test]
fn check_tries_what_the_configuration_names() {
    let sink = Sink::start();
    let mut gatepost = Setup::to(sink.address).start();
    let output = gatepost.command(&["check"], &[]);
    assert!(output.status.success(), "{}", text(&output));
    gatepost.change(|setup| {
        setup.next_hops = vec![format!("smtp://{}", free_address())];
        setup.tables = "[checks.clamd.main]\nsocket = \"unix:/nonexistent/clamd.sock\"\n".into();
    });
    let output = gatepost.command(&["check"], &[]);
    assert!(!output.status.success(), "{}", text(&output));
    for word in ["next hop", "clamd"] {
        assert!(
            text(&output).lines().any(|line| line.contains("FAIL") && line.contains(word)),
            "{word}: {}",
            text(&output)
        );
    }
}

/// Mail that is held: GTUBE, with the policy that holds it.
fn hold(gatepost: &Gatepost, subject: &str, to: &[&str]) -> Value {
    let mut dialog = gatepost.connect();
    dialog.greet();
    let reply = dialog.message("a@client.test", to, &mail(subject, GTUBE));
    assert_eq!(reply.code, 250, "{}", reply.text);
    wait_for("it is held", START, || {
        let held = gatepost.json(&["quarantine", "list"], &["--json"]);
        held.into_iter().find(|entry| entry["subject"] == subject)
    })
}

const HOLD_SPAM: &str = "[default_policy]\nactions.spam = \"quarantine\"\n";

#[test]
fn release_goes_to_postfix_once() {
    if !needs(&["root", "postfix"]) {
        return;
    }
    let postfix = Postfix::start();
    let gatepost = Setup::to(postfix.smtp).with(HOLD_SPAM).start();
    let entry = hold(&gatepost, "held", &["user@example.test"]);
    postfix.settled();
    assert!(postfix.mailbox("user").is_empty());
    let id = entry["id"].as_str().expect("an id");
    let output = gatepost.command(&["quarantine", "release"], &[id]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("queued as"), "the next hop's reply is printed: {}", text(&output));
    assert!(!text(&output).contains("GTUBE"), "without its content: {}", text(&output));
    assert!(postfix.delivered("user", 1)[0].contains(GTUBE));
    let again = gatepost.command(&["quarantine", "release"], &[id]);
    assert!(!text(&again).contains("queued as"), "{}", text(&again));
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1, "once");
    let forced = gatepost.command(&["quarantine", "release"], &[id, "--again"]);
    assert!(forced.status.success(), "{}", text(&forced));
    postfix.delivered("user", 2);
    let explained = gatepost.json(&["explain"], &[id, "--json"]).remove(0);
    let events = explained["events"].as_array().expect("events");
    assert!(events.len() >= 2, "releases are journalled: {events:#?}");
}

#[test]
fn release_says_when_the_next_hop_refuses_and_can_be_tried_again() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with(HOLD_SPAM).start();
    let id = hold(&gatepost, "held", &["user@example.test"])["id"].as_str().expect("an id").to_owned();
    for (reply, arrivals) in [("450 4.2.1 later", 0), ("550 5.2.1 never", 0), ("250 2.0.0 ok", 1)] {
        sink.on("END", Step::Reply(reply.into()));
        let output = gatepost.command(&["quarantine", "release"], &[&id]);
        assert_eq!(output.status.success(), arrivals == 1, "{reply}: {}", text(&output));
        assert!(text(&output).contains(reply), "{reply}: {}", text(&output));
        assert_eq!(sink.received().len(), arrivals, "{reply}");
    }
}

#[test]
fn quarantine_is_listed_shown_forwarded_and_deleted() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with(HOLD_SPAM).start();
    let first = hold(&gatepost, "first", &["user@example.test"])["id"].as_str().expect("an id").to_owned();
    let second = hold(&gatepost, "second", &["other@example.test"])["id"].as_str().expect("an id").to_owned();
    for (filter, ids) in [
        (vec!["--recipient", "other@example.test"], vec![&second]),
        (vec!["--sender", "a@client.test", "--id", &first], vec![&first]),
        (vec!["--category", "virus"], vec![]),
        (vec!["--older-than", "1h"], vec![]),
    ] {
        let rest: Vec<&str> = filter.iter().copied().chain(["--json"]).collect();
        let listed = gatepost.json(&["quarantine", "list"], &rest);
        let listed: Vec<&str> = listed.iter().filter_map(|entry| entry["id"].as_str()).collect();
        assert_eq!(listed, ids, "{filter:?}");
    }
    let raw = gatepost.command(&["quarantine", "show"], &[&first, "--raw"]).stdout;
    let sent: String = mail("first", GTUBE).lines().map(|line| format!("{line}\r\n")).collect();
    assert_eq!(String::from_utf8_lossy(&raw), sent, "the original, byte for byte");
    let shown = gatepost.command(&["quarantine", "show"], &[&first]);
    assert!(!text(&shown).contains(GTUBE), "nothing of its content: {}", text(&shown));
    let output = gatepost.command(&["quarantine", "forward"], &[&first, "--to", "admin@example.test"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(sink.received()[0].recipients, ["RCPT TO:<admin@example.test>"]);
    assert!(gatepost.command(&["quarantine", "delete"], &[&first]).status.success());
    let purged = gatepost.command(&["quarantine", "purge"], &["--category", "spam", "--yes"]);
    assert!(purged.status.success(), "{}", text(&purged));
    assert!(gatepost.json(&["quarantine", "list"], &["--json"]).is_empty());
    assert_eq!(gatepost.command(&["quarantine", "show"], &[&second, "--raw"]).status.code(), Some(1));
}

#[test]
fn explain_adds_up() {
    let sink = Sink::start();
    let policies = "[default_policy]\nspam_at = 50\nweights.MISSING_DATE = 1.1\nweights.MISSING_MESSAGE_ID = 2.35\n\
                    [[policy]]\nname = \"strict\"\nwhen.recipients = [\"strict@example.test\"]\nweights.MISSING_DATE = 60\n\
                    actions.spam = \"quarantine\"\n";
    let gatepost = Setup::to(sink.address).with(policies).start();
    let mut dialog = gatepost.connect();
    dialog.greet();
    let content = "From: <a@client.test>\nTo: <user@example.test>\nSubject: no date\n\nhello\n";
    let reply = dialog.message("a@client.test", &["user@example.test", "strict@example.test"], content);
    assert_eq!(reply.code, 250, "{}", reply.text);
    let record = gatepost.records(1).remove(0);
    let id = record["id"].as_str().expect("an id");
    let explained = gatepost.json(&["explain"], &[id, "--json"]).remove(0);
    let verdicts = explained["verdicts"].as_array().expect("verdicts");
    assert_eq!(verdicts.len(), 2, "one for each policy: {explained:#}");
    for verdict in verdicts {
        let weighed = verdict["weighed"].as_array().expect("weights");
        let sum: f64 = weighed.iter().filter_map(|weighed| weighed["points"].as_f64()).sum();
        let score = verdict["score"].as_f64().expect("a score");
        assert!((sum - score).abs() < 1e-9 && score > 3.0, "{sum} is not {score}: {verdict:#}");
    }
    let page = gatepost.command(&["explain"], &[id]);
    for word in ["MISSING_DATE", "MISSING_MESSAGE_ID", "strict", "user@example.test", "sink has it"] {
        assert!(text(&page).contains(word), "{word}: {}", text(&page));
    }
    assert_eq!(gatepost.command(&["explain"], &["nosuchrecord"]).status.code(), Some(1));
    // The delivered copy shows the same sum.
    let received = &sink.wait_received(1)[0];
    assert_eq!(received.recipients, ["RCPT TO:<user@example.test>"]);
    let status = received.header("X-Spam-Status").expect("a status");
    assert!(status.contains("score=3.45"), "{status}");
}
