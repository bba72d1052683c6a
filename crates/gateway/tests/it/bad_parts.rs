//! What is done with the bad part of a mail, seen by whoever gets the rest: what was delivered is read with Python's
//! parser, and a release gives back what was sent.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::rig::*;

const PYTHON: &str = "/usr/bin/python3";
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
const SCRIPTED: &str = "<html><body><p>Hello</p><script>alert(1)</script><form action=\"http://a.test/\"><input \
    name=\"password\" type=\"password\"></form></body></html>";

/// A policy with something for each kind of mail below.
const POLICY: &str = "[default_policy]
actions = { virus = \"strip\", banned = \"strip\", spam = \"wrap\" }
parts = { banned = \"rename\", HTML_SCRIPT = \"clean\" }
strip_text = \"taken out: {name}, {reason}, {id}\"
wrap_text = \"{hostname} wrapped this: {category}\"
defang.clean = [\"forms\", \"frames\"]
";

const READ: &str = r#"
import email, email.policy, json, sys
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = []
for part in mail.walk():
    assert not part.defects, part.defects
    if part.get_content_maintype() == "multipart":
        continue
    content = part.get_payload(decode=True) or b""
    charset = part.get_content_charset() or "utf-8"
    parts.append({"type": part.get_content_type(), "name": part.get_filename(),
                  "content": content.decode(charset, "replace").replace("\r\n", "\n")})
print(json.dumps(parts))
"#;

/// The parts of a mail that are no multipart, as Python reads them.
fn read(mail: &[u8]) -> Vec<Value> {
    let mut child = Command::new(PYTHON)
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3");
    child.stdin.take().expect("its input").write_all(mail).expect("write");
    let output = child.wait_with_output().expect("python3 ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{}", String::from_utf8_lossy(mail));
    serde_json::from_slice(&output.stdout).expect("a list of parts")
}

/// Type, name and content of each part.
fn shown(parts: &[Value]) -> Vec<(&str, &str, &str)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned().leak() as &str;
    parts.iter().map(|part| (text(&part["type"]), text(&part["name"]), text(&part["content"]))).collect()
}

/// A mail with such a part behind its text.
fn with_page(subject: &str, disposition: &str, page: &str) -> String {
    format!(
        "From: <sender@client.test>\nTo: <user@example.test>\nSubject: {subject}\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\nMessage-ID: <{subject}@client.test>\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=\"b0\"\n\n--b0\nContent-Type: text/plain\n\nSee there.\n\
         --b0\nContent-Type: text/html; charset=utf-8\n{disposition}\n{page}\n--b0--\n"
    )
}

fn send(to: SocketAddr, content: &str) -> Reply {
    let mut dialog = Dialog::connect(to);
    dialog.greet();
    dialog.message("sender@client.test", &["user@example.test"], content)
}

/// As it goes over the wire.
fn with_crlf(content: &str) -> String {
    content.lines().map(|line| format!("{line}\r\n")).collect()
}

/// One mail, the record's action, and what it says of the parts; whether the original is held.
struct Bad {
    content: String,
    action: &'static str,
    done: &'static [&'static str],
    held: bool,
    /// Looks at what was delivered.
    seen: fn(&[(&str, &str, &str)]),
}

fn all_kinds() -> Vec<Bad> {
    vec![
        Bad {
            content: with_attachment("virus", "eicar.txt", eicar().as_bytes()),
            action: "strip",
            done: &["eicar.txt: replaced"],
            held: true,
            seen: |parts| {
                assert_eq!(parts[0], ("text/plain", "", "See there."), "{parts:?}");
                assert_eq!((parts[1].0, parts[1].1), ("text/plain", "eicar.txt-removed.txt"), "{parts:?}");
                assert!(parts[1].2.starts_with("taken out: eicar.txt, "), "{parts:?}");
                assert_eq!(parts.len(), 2);
            },
        },
        Bad {
            content: with_attachment("banned", "run.vbs", b"MsgBox 1"),
            action: "strip",
            done: &["run.vbs: renamed to run.vbs.disarmed"],
            held: true,
            seen: |parts| {
                assert_eq!(
                    parts[1],
                    ("application/octet-stream", "run.vbs.disarmed", "MsgBox 1"),
                    "{parts:?}"
                );
            },
        },
        Bad {
            content: with_page("cleaned", "Content-Disposition: attachment; filename=a.html\n", SCRIPTED),
            action: "deliver",
            done: &["a.html: cleaned"],
            held: true,
            seen: |parts| {
                let (kind, name, page) = parts[1];
                assert_eq!((kind, name), ("text/html", "a.html"));
                assert!(page.contains("<p>Hello</p>") && !page.contains("alert"), "{page}");
            },
        },
        Bad {
            content: with_page("defanged", "", "<html><p>Hello</p><form action=\"x\"><input name=a></form>"),
            action: "deliver",
            done: &["2: defanged: forms"],
            held: false,
            seen: |parts| {
                let page = parts[1].2;
                assert!(page.contains("<p>Hello</p>") && !page.contains("<form"), "{page}");
            },
        },
        Bad {
            content: with_page("nothing", "", "<html><p>Hello</p>"),
            action: "deliver",
            done: &[],
            held: false,
            seen: |parts| assert!(parts[1].2.contains("<html><p>Hello</p>"), "{parts:?}"),
        },
        Bad {
            content: mail("wrapped", GTUBE),
            action: "wrap",
            done: &[],
            held: false,
            seen: |parts| {
                assert!(parts[0].2.starts_with("gatepost.test wrapped this: spam"), "{parts:?}");
                assert_eq!(parts[1].0, "message/rfc822", "{parts:?}");
                assert!(parts[2].2.starts_with(GTUBE), "{parts:?}");
            },
        },
    ]
}

/// Sends every kind, and looks at what arrives, at the record, and at what a release gives back.
fn all_are_done(gatepost: &Gatepost, from: SocketAddr, mut arrived: impl FnMut(usize) -> Vec<String>) {
    let mut seen: Vec<String> = Vec::new();
    for (place, bad) in all_kinds().iter().enumerate() {
        let reply = send(from, &bad.content);
        assert_eq!(reply.code, 250, "{}: {}", bad.content, reply.text);
        let mut all = arrived(seen.len() + 1);
        all.retain(|mail| !seen.contains(mail));
        let [mail] = &all[..] else { panic!("{} mails are new", all.len()) };
        (bad.seen)(&shown(&read(mail.as_bytes())));
        seen.push(mail.clone());

        let record = gatepost.records(place + 1).pop().expect("a record");
        let verdict = &record["verdicts"][0];
        assert_eq!(verdict["action"], bad.action, "{record:#}");
        let told = |part: &Value| {
            let name = part["name"].as_str().or(part["path"].as_str()).unwrap_or_default();
            format!("{name}: {}", part["done"].as_str().unwrap_or_default())
        };
        let done: Vec<String> = verdict["parts"].as_array().expect("a list").iter().map(told).collect();
        assert_eq!(done, bad.done, "{record:#}");
        assert_eq!(record["quarantine"].is_string(), bad.held, "{record:#}");
        let id = record["id"].as_str().expect("an id");
        let explained = gatepost.command(&["explain"], &[id]);
        let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
        assert!(bad.done.iter().all(|done| explained.contains(done)), "{explained}");
        for done in bad.done {
            let line = format!("parts: {}", done.replacen(": ", " ", 1));
            assert!(gatepost.log().contains(&line), "{line}");
        }
    }
}

#[test]
fn by_smtp_and_a_release_gives_back_the_original() {
    if !needs(&[PYTHON]) {
        return;
    }
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with(POLICY).start();
    all_are_done(&gatepost, gatepost.smtp, |count| {
        sink.wait_received(count).iter().map(Received::text).collect()
    });
    let (mut count, held) = (sink.received().len(), gatepost.held(3));
    for bad in all_kinds().iter().filter(|bad| bad.held) {
        let subject = bad.content.lines().find(|line| line.starts_with("Subject: ")).expect("a subject");
        let entry = held.iter().find(|entry| entry["subject"] == subject["Subject: ".len()..]).expect("held");
        let id = entry["id"].as_str().expect("an id");
        assert!(gatepost.command(&["quarantine", "release"], &[id]).status.success());
        count += 1;
        let released = sink.wait_received(count).remove(count - 1);
        assert_eq!(released.text(), with_crlf(&bad.content));
        assert_eq!(released.recipients, ["RCPT TO:<user@example.test>"]);
    }
}

#[test]
fn by_milter_with_postfix() {
    if !needs(&["root", "postfix", PYTHON]) {
        return;
    }
    let gatepost = Setup::default().listening("protocol = \"milter\"").with(POLICY).start();
    let main = docs::block_with("milter.md", "postfix", &[("127.0.0.1:8899", gatepost.smtp.to_string())]);
    let postfix = Postfix::with(PostfixSetup { main, ..PostfixSetup::default() });
    all_are_done(&gatepost, postfix.smtp, |count| postfix.delivered("user", count));
    assert_eq!(gatepost.held(3).len(), 3);
}

#[test]
fn by_lmtp_each_recipient_gets_what_is_its_own() {
    if !needs(&[PYTHON]) {
        return;
    }
    let sink = Sink::start();
    let lax = "[[policy]]\nname = \"lax\"\nwhen.recipients = [\"lax@example.test\"]\nparts.HTML_SCRIPT = \"replace\"\n\
        defang.clean = []\n";
    let mut setup = Setup::to(sink.address).with(POLICY).with(lax);
    setup.lmtp = true;
    setup.next_hops = vec![format!("lmtp://{}", sink.address)];
    let gatepost = setup.start();
    let mut dialog = gatepost.connect();
    dialog.expect("220");
    dialog.say("LHLO client.test", "250");
    dialog.say("MAIL FROM:<a@client.test>", "250");
    for recipient in ["user@example.test", "lax@example.test"] {
        dialog.say(&format!("RCPT TO:<{recipient}>"), "250");
    }
    dialog.say("DATA", "354");
    dialog.content(&with_page("both", "", SCRIPTED));
    dialog.expect("250");
    dialog.expect("250");
    for received in sink.wait_received(2) {
        let parts = read(&received.content);
        let page = &shown(&parts)[1];
        match received.recipients[0].contains("lax@") {
            true => assert!(page.0 == "text/plain" && page.2.starts_with("taken out"), "{page:?}"),
            false => assert!(page.0 == "text/html" && !page.2.contains("alert"), "{page:?}"),
        }
    }
    let held = gatepost.held(1);
    assert_eq!(held[0]["recipients"].as_array().map(Vec::len), Some(2), "{:#}", held[0]);
}

const FOOTER: &str = "This mail is for its recipient alone.";

/// Our own users' mail gets a disclaimer, mail from outside a warning.
fn texts() -> String {
    format!(
        "[[policy]]\nname = \"out\"\nwhen.directions = [\"outbound\"]\ndisclaimer.text = \"-- \\n{FOOTER}\"\n\
         disclaimer.html = \"<hr><p>{FOOTER}</p>\"\n[[policy]]\nname = \"in\"\nwhen.directions = [\"inbound\"]\n\
         warnings = {{ clean = \"From outside.\", spammy = \"From outside.\" }}\n"
    )
}

#[test]
fn disclaimers_are_for_what_leaves_and_warnings_for_what_comes() {
    if !needs(&[PYTHON]) {
        return;
    }
    let sink = Sink::start();
    let top = "domains = [\"example.test\"]\nnetworks = [\"127.0.0.0/8\"]";
    let gatepost = Setup::to(sink.address).globally(top).with(&texts()).start();
    let alternative = "From: <a@example.test>\nSubject: both\nDate: Thu, 01 Jan 2026 00:00:00 +0000\n\
        Message-ID: <1@example.test>\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\
        Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n\
        --b\nContent-Type: text/html; charset=us-ascii\n\n<html><body><p>Gr&uuml;&szlig;e</p></body></html>\n--b--\n";
    let signed = "From: <a@example.test>\nSubject: signed\nDate: Thu, 01 Jan 2026 00:00:00 +0000\n\
        Message-ID: <2@example.test>\nMIME-Version: 1.0\nContent-Type: multipart/signed; micalg=pgp-sha256;\n \
        protocol=\"application/pgp-signature\"; boundary=b\n\n--b\nContent-Type: text/plain\n\nSigned.\n\
        --b\nContent-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n\
        --b--\n";
    let quoted = format!("Thanks.\n\n> Hello\n> -- \n> This mail is for its\n> recipient alone.\n{}", "");
    let mut count = 0;
    let mut goes = |to: &str, content: &str| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        let reply = dialog.message("a@example.test", &[to], content);
        assert_eq!(reply.code, 250, "{}", reply.text);
        count += 1;
        sink.wait_received(count).remove(count - 1)
    };
    let received = goes("x@elsewhere.test", alternative);
    let parts = read(&received.content);
    let parts = shown(&parts);
    assert_eq!(parts[0].2.trim_end(), format!("Grüße\n\n-- \n{FOOTER}"), "{parts:?}");
    let page = parts[1].2;
    assert!(page.contains("Gr&uuml;") && page.contains(&format!("<hr><p>{FOOTER}</p>")), "{page}");
    assert!(page.find(FOOTER) < page.find("</body>"), "{page}");

    let received = goes("x@elsewhere.test", &mail("plain", "Hello."));
    assert!(shown(&read(&received.content))[0].2.contains(FOOTER));
    // Not to what is signed, not twice, not to what stays with us.
    let body = |received: &Received| received.text().split_once("\r\n\r\n").expect("a body").1.to_owned();
    for (to, content) in [
        ("x@elsewhere.test", signed.to_owned()),
        ("x@elsewhere.test", mail("Re: plain", &quoted)),
        ("user@example.test", mail("inside", "Hello.")),
    ] {
        let received = goes(to, &content);
        assert_eq!(body(&received), with_crlf(content.split_once("\n\n").expect("a body").1), "{to}");
    }
    // From outside.
    let outside = Setup::to(sink.address)
        .globally("domains = [\"example.test\"]\nnetworks = [\"192.0.2.0/24\"]")
        .with(&texts())
        .start();
    assert_eq!(send(outside.smtp, &mail("in", "Hello.")).code, 250);
    let received = sink.wait_received(6).remove(5);
    let text = shown(&read(&received.content))[0].2.to_owned();
    assert!(
        text.starts_with("From outside.\n") && text.contains("Hello.") && !text.contains(FOOTER),
        "{text}"
    );
}

#[test]
fn who_cannot_change_a_body_lets_no_part_through() {
    let folder = folder();
    let tables = POLICY.to_owned() + "disclaimer.text = \"Ours.\"\n";
    let listener = format!("protocol = \"am-pdp\"\nmail_folders = [{:?}]", folder.path());
    let gatepost = Setup::default().listening(&listener).with(&tables).start();
    let recipients = ["user@example.test".to_owned()];
    for (bad, passes) in all_kinds().iter().zip([false, false, false, true, true, false]) {
        let raw = with_crlf(&bad.content);
        let answer = am_pdp(gatepost.smtp, folder.path(), "a@client.test", &recipients, raw.as_bytes());
        let code = if passes { "return_value=continue" } else { "setreply=554 5.6.1 " };
        assert!(answer.iter().any(|line| line.starts_with(code)), "{}: {answer:#?}", bad.content);
    }
}

#[test]
fn the_pipe_gives_back_the_changed_message() {
    if !needs(&[PYTHON]) {
        return;
    }
    let folder = folder();
    let file = folder.path().join("gatepost.toml");
    std::fs::write(
        &file,
        format!("hostname = \"gatepost.test\"\ndata = {:?}\n{POLICY}", folder.path().join("data")),
    )
    .expect("write");
    let file = file.to_str().expect("a plain path");
    for bad in all_kinds() {
        let arguments =
            ["filter", "--local", "-c", file, "--sender", "a@client.test", "--recipient", "b@example.test"];
        let output = run(&arguments, bad.content.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (bad.seen)(&shown(&read(&output.stdout)));
    }
}

/// Documents of the suites: with macros, and locked.
#[test]
fn documents_are_cleaned_of_their_macros() {
    let Some(office) = suite("office").filter(|_| needs(&[PYTHON])) else { return };
    let sink = Sink::start();
    let policy = "[default_policy]\nparts = { MACRO = \"clean\", MACRO_XLM = \"clean\", ENCRYPTED = \"clean\" }\n\
        categories.ENCRYPTED = \"clean\"\nstrip_text = \"taken out: {name}\"\nspammy_at = 90\nspam_at = 100\n\
        actions.unchecked = \"deliver\"\n";
    let no_rules = "[checks.attachments]\nenabled = false\n";
    let gatepost = Setup::to(sink.address).with(policy).with(no_rules).start();
    for (count, (file, done)) in [
        ("oleform/oleform-PR314.docm", "cleaned"),
        ("olevba/sample_with_vba.ppt", "cleaned"),
        ("encrypted/encrypted.docm", "replaced (could not be cleaned: encrypted)"),
    ]
    .into_iter()
    .enumerate()
    {
        let content = std::fs::read(office.join(file)).expect("a document");
        // The password of the one that is encrypted is its own name, which would be tried.
        let name = file.split_once('/').expect("a folder").1.replace("encrypted", "locked");
        let name = name.as_str();
        assert_eq!(send(gatepost.smtp, &with_attachment(name, name, &content)).code, 250);
        let received = sink.wait_received(count + 1).remove(count);
        let record = gatepost.records(count + 1).remove(count);
        assert_eq!(record["verdicts"][0]["parts"][0]["done"], done, "{file}: {record:#}");
        let parts = read(&received.content);
        let (_, attached, text) = shown(&parts)[1];
        if done == "cleaned" {
            assert_eq!(attached, name);
            // Sent again, nothing is found any more.
            let folder = folder();
            let path = folder.path().join("mail.eml");
            std::fs::write(&path, &received.content).expect("write");
            let scanned = run(&["scan", "--json", path.to_str().expect("a plain path")], b"");
            let scanned = String::from_utf8_lossy(&scanned.stdout).into_owned();
            assert!(scanned.contains("\"detected\"") && !scanned.contains("\"MACRO"), "{scanned}");
        } else {
            assert_eq!(text.trim_end(), format!("taken out: {name}"));
        }
    }
    assert_eq!(gatepost.held(3).len(), 3);
}

/// What was cleaned is looked at again: a rule by name still bans it, and so it goes.
#[test]
fn what_is_still_found_after_cleaning_is_replaced() {
    if !needs(&[PYTHON]) {
        return;
    }
    let sink = Sink::start();
    let policy = "[default_policy]\nactions.banned = \"strip\"\nparts.banned = \"clean\"\nlanguage = \"fr\"\n\
        [[checks.attachments.rule]]\nname = \"pages\"\nfilename = \"\\\\.html$\"\n";
    let gatepost = Setup::to(sink.address).with(policy).start();
    let mails = [
        (
            with_page("a", "Content-Disposition: attachment; filename=a.html\n", SCRIPTED),
            "is still found in it",
        ),
        (with_attachment("b", "run.vbs", b"MsgBox 1"), "could not be cleaned: "),
    ];
    for (count, (mail, why)) in mails.iter().enumerate() {
        assert_eq!(send(gatepost.smtp, mail).code, 250);
        let parts = read(&sink.wait_received(count + 1)[count].content);
        let (kind, _, text) = shown(&parts)[1];
        assert!(
            kind == "text/plain" && text.contains("La pièce jointe") && text.contains("a été retirée"),
            "{text}"
        );
        let record = gatepost.records(count + 1).remove(count);
        let done = record["verdicts"][0]["parts"][0]["done"].as_str().unwrap_or_default();
        assert!(done.starts_with("replaced (") && done.contains(why), "{done}");
    }
    assert_eq!(gatepost.held(2).len(), 2);
}

/// A signature that would break keeps no virus in; and its page is defanged, or becomes its text.
#[test]
fn signed_mail_loses_its_bad_part_and_gets_no_text() {
    if !needs(&[PYTHON]) {
        return;
    }
    let sink = Sink::start();
    let policy = POLICY.to_owned() + "warnings.virus = \"Careful.\"\ndisclaimer.text = \"Ours.\"\n";
    let gatepost = Setup::to(sink.address).with(&policy).start();
    let inner = with_attachment("inner", "eicar.txt", eicar().as_bytes());
    let (_, body) = inner.split_once("MIME-Version: 1.0\n").expect("a part");
    let signed = format!(
        "From: <a@client.test>\nSubject: signed\nDate: Thu, 01 Jan 2026 00:00:00 +0000\nMessage-ID: <2@client.test>\n\
         MIME-Version: 1.0\nContent-Type: multipart/signed; micalg=sha-256; boundary=s;\n \
         protocol=\"application/pkcs7-signature\"\n\n--s\n{body}--s\nContent-Type: application/pkcs7-signature\n\n\
         MIAG\n--s--\n"
    );
    assert_eq!(send(gatepost.smtp, &signed).code, 250);
    let parts = read(&sink.wait_received(1)[0].content);
    let parts = shown(&parts);
    assert!(parts[1].2.starts_with("taken out: eicar.txt"), "{parts:?}");
    assert!(parts.iter().all(|part| !part.2.contains("Careful.") && !part.2.contains("Ours.")), "{parts:?}");

    let seven = with_page("seven", "", "<p>Seven+AKM-</p><form>").replace("charset=utf-8", "charset=utf-7");
    assert_eq!(send(gatepost.smtp, &seven).code, 250);
    let parts = read(&sink.wait_received(2)[1].content);
    let (kind, _, text) = shown(&parts)[1];
    assert!(kind == "text/plain" && text.starts_with("Seven£"), "{kind}: {text}");
    assert_eq!(gatepost.held(2).len(), 2, "what it was is in the vault");
}
