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
    assert_eq!(send(&mail("four", "hello")).code, 451);
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
