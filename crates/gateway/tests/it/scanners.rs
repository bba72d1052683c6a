//! Scanners besides clamd: over ICAP, and programs that are started.

use crate::rig::*;

/// In every part wherever it is nested, and nothing in what is harmless; when the scanner is away, mail is deferred.
#[test]
fn c_icap_finds_what_clamd_would() {
    if !needs(&["clamd", "c-icap", c_icap::MODULES]) {
        return;
    }
    let (clamd, sink) = (Clamd::start(), Sink::start());
    let icap = CIcap::start(&clamd);
    let only = "[checks.embedded]\nenabled = false\n[checks.attachments]\nenabled = false\n";
    let gatepost = Setup::to(sink.address).with(&icap.check()).with(only).start();
    let send = |content: &str| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.message("a@client.test", &["user@example.test"], content)
    };
    assert_eq!(send(&mail("one", "hello")).code, 250);
    let reply = send(&eicar_body("two"));
    assert!(reply.code == 550 && reply.text.contains("Eicar"), "{}", reply.text);
    let reply = send(&with_attachment("three", "x.bin", eicar().as_bytes()));
    assert!(reply.code == 550 && reply.text.contains("Eicar"), "{}", reply.text);
    let (code, health) = gatepost.http("/health");
    assert!(code == 200, "{health}");
    drop(icap);
    // What it has seen is still known for a while; anything else is deferred.
    assert_eq!(send(&mail("four", "good evening")).code, 451);
    assert_eq!(sink.received().len(), 1);
}

/// The page's examples of programs, and the names that are spam.
#[test]
fn clamscan_and_names_that_are_no_viruses() {
    if !needs(&["clamscan"]) {
        return;
    }
    let (sink, folder) = (Sink::start(), folder());
    let hex: String = eicar().bytes().map(|byte| format!("{byte:02x}")).collect();
    let other: String = "cheap watches".bytes().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(
        folder.path().join("test.ndb"),
        format!("Eicar-Test:0:*:{hex}\nSanesecurity.Junk.1:0:*:{other}\n"),
    )
    .expect("write");
    let command = docs::block("scanners.md", "clamscan").replace(
        "\"--no-summary\"",
        &format!("\"--no-summary\", \"--database={}\"", folder.path().display()),
    );
    let names = docs::block("scanners.md", "names");
    let only = "[checks.embedded]\nenabled = false\n";
    let gatepost = Setup::to(sink.address).with(&command).with(&names).with(only).start();
    let send = |content: &str| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.message("a@client.test", &["user@example.test"], content)
    };
    assert_eq!(send(&mail("one", "hello")).code, 250);
    let reply = send(&eicar_body("two"));
    assert!(reply.code == 550 && reply.text.contains("Eicar-Test"), "{}", reply.text);
    // Points, and no virus: delivered, and marked as the policy says.
    assert_eq!(send(&mail("three", "buy cheap watches")).code, 250);
    let records = wait_for("its record", START, || {
        let records = gatepost.json(&["history"], &["--json", "--text", "three"]);
        (!records.is_empty()).then_some(records)
    });
    let findings = records[0].to_string();
    assert!(
        findings.contains("VIRUS_SANESECURITY") && findings.contains("Sanesecurity.Junk.1"),
        "{findings}"
    );
}

/// The same worm in other messages is not shown to clamd again. New signatures, which a real freshclam tells of, are asked.
#[test]
fn a_worm_is_scanned_once_until_freshclam_has_something_new() {
    if !needs(&["clamd", "freshclam", "root"]) {
        return;
    }
    let (clamd, sink, files) = (Clamd::start(), Sink::start(), folder());
    let socket = files.path().join("clamd.sock");
    let listener = format!("[[listener]]\nprotocol = \"clamd\"\nlisten = [\"unix:{}\"]\n", socket.display());
    let only = "[checks.embedded]\nenabled = false\n[checks.attachments]\nenabled = false\n";
    let gatepost = Setup::to(sink.address).with(&clamd.check()).with(only).with(&listener).start();
    let send = |content: &str| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.message("a@client.test", &["user@example.test"], content)
    };
    wait_for("the version of clamd is known", START, || {
        (gatepost.metric("gatepost_engine_up", &["clamd:main"]) == 1.0).then_some(())
    });
    let seen = |what: &str| gatepost.metric(&format!("gatepost_verdict_cache_{what}_total"), &[]);
    for subject in 0..20 {
        let reply = send(&with_attachment(&format!("number {subject}"), "x.bin", eicar().as_bytes()));
        assert!(reply.code == 550 && reply.text.contains("Eicar"), "{}", reply.text);
    }
    // Once the message, its text and the worm; then the last two are known.
    assert!(seen("misses") <= 4.0 && seen("hits") >= 37.0, "{} {}", seen("misses"), seen("hits"));

    // A signature of our own, fetched as freshclam does it, into the folder of that clamd.
    let path = |name: &str| files.path().join(name);
    let hex: String = "brand new evil".bytes().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(path("own.ndb"), format!("Brand.New:0:*:{hex}\n")).expect("write");
    std::fs::write(path("clamd.conf"), format!("LocalSocket {}\n", socket.display())).expect("write");
    let notify = docs::block_with(
        "scanners.md",
        "freshclam",
        &[("/etc/gatepost/clamd.conf", path("clamd.conf").display().to_string())],
    );
    let database = clamd.socket.parent().expect("its folder").join("db");
    let config = format!(
        "DatabaseDirectory {}\nDatabaseOwner root\nDatabaseMirror 127.0.0.1:9\nDatabaseCustomURL file://{}\n\
         UpdateLogFile {}\n{notify}\n",
        database.display(),
        path("own.ndb").display(),
        path("freshclam.log").display(),
    );
    std::fs::write(path("freshclam.conf"), config).expect("write");
    assert_eq!(send(&mail("new", "a brand new evil thing")).code, 250);
    let output = std::process::Command::new(program("freshclam"))
        .arg(format!("--config-file={}", path("freshclam.conf").display()))
        .args(["--update-db=custom", "--no-dns", "--stdout"])
        .output()
        .expect("freshclam runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("Clamd successfully notified about the update"),
        "{said}"
    );
    wait_for("clamd has the new signature", START, || {
        (send(&mail("new", "a brand new evil thing")).code == 550).then_some(())
    });
    let before = seen("hits");
    assert_eq!(send(&with_attachment("after", "x.bin", eicar().as_bytes())).code, 550);
    assert_eq!(seen("hits"), before, "what the old signatures said is used");
}
