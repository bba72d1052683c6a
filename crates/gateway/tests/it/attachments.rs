//! Attachment rules: sets that count for some, and amavis's tables, imported, beside the real amavisd-new.

use std::io::Write as _;

use crate::beside_amavis::zip;
use crate::rig::*;

const PAGE: &str = "attachments.md";

/// A program as file(1) knows it: the headers of a PE file.
fn program() -> Vec<u8> {
    let mut file = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xFF\xFF\0\0\xB8\0\0\0\0\0\0\0\x40".to_vec();
    file.resize(0x3C, 0);
    file.extend([0x40, 0, 0, 0]);
    file.extend(b"PE\0\0\x4C\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\xE0\0\x02\x01\x0B\x01");
    file.resize(0x9C, 0);
    file.extend([2, 0]);
    file.resize(1024, 0);
    file
}

/// An ELF program for x86-64 without anything in it.
fn elf() -> Vec<u8> {
    let mut file = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3E\0\x01\0\0\0".to_vec();
    file.resize(256, 0);
    file
}

fn gz(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(content).expect("in memory");
    packed.finish().expect("in memory")
}

/// A tar archive of one file (POSIX.1-1988, ustar).
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    for (at, field) in [
        (100, "0000644\0".to_owned()),
        (108, "0000000\0".into()),
        (116, "0000000\0".into()),
        (124, format!("{:011o}\0", content.len())),
        (136, "00000000000\0".into()),
        (148, "        ".into()),
        (156, "0".into()),
        (257, "ustar\x0000".into()),
    ] {
        head[at..at + field.len()].copy_from_slice(field.as_bytes());
    }
    let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut file = [&head, content].concat();
    file.resize(file.len().next_multiple_of(512) + 1024, 0);
    file
}

/// A mail with one part whose header is given in full.
fn with_part(subject: &str, fields: &str, content: &[u8]) -> String {
    let mail = with_attachment(subject, "NAME", content);
    let given = "Content-Type: application/octet-stream; name=\"NAME\"\nContent-Transfer-Encoding: base64\n\
                 Content-Disposition: attachment; filename=\"NAME\"\n";
    assert!(mail.contains(given));
    mail.replace(given, &format!("{fields}\nContent-Transfer-Encoding: base64\n"))
}

/// What is sent through both: a subject and the mail.
fn mails() -> Vec<(&'static str, String)> {
    let attached = |subject: &'static str, file: &str, content: &[u8]| {
        (subject, with_attachment(subject, file, content))
    };
    let part =
        |subject: &'static str, fields: &str, content: &[u8]| (subject, with_part(subject, fields, content));
    let (exe, text) = (program(), &b"hello hello hello\n"[..]);
    let inner = with_attachment("inner", "a.exe", &exe);
    let forwarded = mail("a mail in a mail", "")
        .replace("\n\n", "\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=outer\n\n")
        + &format!("--outer\nContent-Type: message/rfc822\n\n{inner}\n--outer--\n");
    vec![
        ("plain", mail("plain", "See there.")),
        attached("a program", "a.exe", &exe),
        attached("a program in capitals", "A.EXE", &exe),
        attached("only its name is bad", "a.pif", text),
        attached("a program called otherwise", "a.txt", &exe),
        attached("a program in a zip", "a.zip", &zip("a.exe", &exe, false)),
        attached("a disguised program in a zip", "a.zip", &zip("a.txt", &exe, false)),
        attached("a zip in a zip", "a.zip", &zip("b.zip", &zip("a.scr", text, false), false)),
        attached("text in a zip", "a.zip", &zip("a.txt", text, false)),
        attached("a script in a zip", "a.zip", &zip("a.js", b"var a = 1;\n", false)),
        attached("a tarball", "a.tar.gz", &gz(&tar("a.exe", &exe))),
        attached("a tarball of text", "a.tar.gz", &gz(&tar("a.txt", text))),
        attached("a compressed program", "a.gz", &gz(&exe)),
        attached("two endings", "a.pdf.exe", text),
        attached("two endings and a dot", "a.pdf.vbs.", text),
        attached("a class id", "a.{00020812-0000-0000-C000-000000000046}", text),
        attached("an encrypted zip", "a.zip", &zip("a.exe", &exe, true)),
        attached("a program of Unix", "a", &elf()),
        attached("a script of Unix", "a.sh", b"#!/bin/sh\nexit 0\n"),
        attached("a document", "a.pdf", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"),
        attached("a list of numbers", "a.csv", b"1;2;3\n"),
        part("a declared program", "Content-Type: application/x-msdownload", text),
        part("a declared HTA", "Content-Type: APPLICATION/HTA; name=a.txt", text),
        part(
            "an encoded name",
            "Content-Type: application/octet-stream; name=\"=?utf-8?B?w6QuZXhl?=\"",
            text,
        ),
        part(
            "a name in pieces",
            "Content-Disposition: attachment; filename*0=\"a.e\"; filename*1=\"xe\"",
            text,
        ),
        part("a name in percents", "Content-Disposition: attachment; filename*=utf-8''%C3%A4%2Eexe", text),
        part("a picture's name", "Content-Type: image/gif; name=\"a.gif\"", &exe),
        ("a mail in a mail", forwarded),
    ]
}

/// What amavis is told besides Debian's own lines.
const RULES: &str = r##"
$final_banned_destiny = D_REJECT;
%banned_rules = (
  'DEFAULT' => $banned_filename_re,
  'LAX'     => new_RE( qr'^a\.txt$', [ qr'^\.(zip|gz|tar)$' => 0 ] ),
  'UNIX'    => new_RE( qr'^\.exe-unix$', [ qr'^\.exe$' => 0 ], qr/\.(c(sv|sh)|sh)$/i ),
);
@banned_filename_maps = ( {
  'lax@example.test' => 'LAX',
  '.unix.test'       => 'UNIX,DEFAULT',
  '.'                => 'DEFAULT',
} );
$banned_namepath_re = new_RE(
  qr'(?# scripts in zip archives) ^ (.*\t)? T=zip (\t.*)? \n (.*\t)? N= [^\t\n]* \. js (\t.*)? $'xmi,
);
@bypass_banned_checks_maps = ( [ '!not.free.test', '.free.test' ] );
@banned_files_lovers_maps  = ( { 'lover@example.test' => 1 } );
1;
"##;

const RECIPIENTS: [&str; 6] = [
    "user@example.test",
    "lax@example.test",
    "user@sub.unix.test",
    "user@free.test",
    "user@not.free.test",
    "lover@example.test",
];

/// amavisd does not open mails that are attached to mails; gatepost does.
const NOT_OPENED: &str = "a mail in a mail";

/// For every mail and recipient both let it in, or both don't.
#[test]
fn imported_rules_decide_as_amavisd_does() {
    const DEBIAN: &str = "/etc/amavis/conf.d/20-debian_defaults";
    if !needs(&["root", "amavisd", "clamd", DEBIAN]) {
        return;
    }
    let folder = folder();
    let own = folder.path().join("50-user");
    std::fs::write(&own, RULES).expect("write");
    let imported = run(&["import", "amavis", DEBIAN, own.to_str().expect("a plain path")], b"");
    let toml = String::from_utf8(imported.stdout).expect("UTF-8");
    assert_eq!(imported.status.code(), Some(0), "{toml}");

    let (theirs, ours, clamd) = (Sink::start(), Sink::start(), Clamd::start());
    let amavis = Amavis::start(theirs.address, &clamd, RULES.trim_end().trim_end_matches("1;"));
    let gatepost = Setup::to(ours.address).with(&toml).start();
    let send = |server, recipient: &str, content: &str| {
        let mut dialog = Dialog::connect(server);
        dialog.greet();
        let reply = dialog.message("sender@client.test", &[recipient], content);
        assert!(reply.code == 250 || reply.code / 10 == 55, "{recipient}: {}", reply.text);
        reply.code == 250
    };
    let mut differ = Vec::new();
    let mut banned = 0;
    for (subject, content) in mails() {
        for recipient in RECIPIENTS {
            let [theirs, ours] = [amavis.smtp, gatepost.smtp].map(|server| send(server, recipient, &content));
            banned += u32::from(!theirs);
            if theirs && subject == NOT_OPENED {
                // Bypassed and loved or not: what is in it counts as if it were attached itself.
                let free =
                    ["user@sub.unix.test", "user@free.test", "lover@example.test"].contains(&recipient);
                assert_eq!(ours, free, "{recipient}");
            } else if theirs != ours {
                let says = |lets_in| if lets_in { "takes" } else { "bans" };
                differ.push(format!(
                    "{subject} to {recipient}: amavisd {} it, gatepost {} it",
                    says(theirs),
                    says(ours)
                ));
            }
        }
    }
    assert!(differ.is_empty(), "{toml}\n{}", differ.join("\n"));
    assert!(banned >= 40, "{banned}");
}

/// The lines of the manual: the same mail is taken for one and refused for another.
#[test]
fn sets_count_for_whom_a_policy_names_them() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with(&docs::block(PAGE, "sets")).start();
    let page = with_attachment("a page", "a.html", b"<html><body>hello</body></html>");
    let program = with_attachment("a program", "a.exe", b"hello");
    for (content, recipient, code) in [
        (&page, "user@example.org", 250),
        (&page, "accounting@example.org", 550),
        (&page, "workshop@example.org", 250),
        (&program, "user@example.org", 550),
        (&program, "accounting@example.org", 550),
        (&program, "workshop@example.org", 250),
        (&program, "lab@example.org", 250),
    ] {
        let mut dialog = Dialog::connect(gatepost.smtp);
        dialog.greet();
        let reply = dialog.message("sender@client.test", &[recipient], content);
        assert_eq!(reply.code, code, "{recipient}: {}", dialog.transcript());
        if recipient == "accounting@example.org" && content == &page {
            assert!(reply.text.contains("pages: a.html"), "{}", reply.text);
        }
    }
    assert_eq!(sink.received().len(), 4);
}

/// A table that changes counts without a restart; one with a mistake does not, and `/health` tells it.
#[test]
fn tables_of_mailscanner_are_read_again() {
    let sink = Sink::start();
    let folder = folder();
    let table = folder.path().join("filename.rules.conf");
    std::fs::write(&table, "deny\t\\.odd$\tOdd\tOdd files are not accepted\n").expect("write");
    let lines = format!(
        "[default_policy]\nattachments = [\"ms\"]\n[checks.attachments.set.ms]\nmailscanner_filenames = [{table:?}]\n"
    );
    let gatepost = Setup::to(sink.address).with(&lines).start();
    let code = |name: &str| {
        let mut dialog = Dialog::connect(gatepost.smtp);
        dialog.greet();
        let reply = dialog.message(
            "sender@client.test",
            &["user@example.test"],
            &with_attachment("x", name, b"hello"),
        );
        (reply.code, reply.text)
    };
    let (first, text) = code("a.odd");
    assert!(first == 550 && text.contains("Odd files are not accepted: a.odd (Odd)"), "{text}");
    assert_eq!(code("a.even").0, 250);
    std::fs::write(&table, "# now the others\ndeny\t\\.even$\tEven\tEven files are not accepted\n")
        .expect("write");
    wait_for("the new table", std::time::Duration::from_secs(30), || (code("a.even").0 == 550).then_some(()));
    assert_eq!(code("a.odd").0, 250);
    std::fs::write(&table, "deny \\.odd$ no tabs\n").expect("write");
    wait_for("the mistake in the log", std::time::Duration::from_secs(30), || {
        gatepost.log().contains("filename.rules.conf:1: has 1 fields").then_some(())
    });
    assert_eq!((code("a.even").0, code("a.odd").0), (550, 250));
}

/// The example of the manual is what is printed for it, and marks spam as amavis does.
#[test]
fn amaviss_settings_about_spam_are_translated() {
    const SPAM: &str = include_str!("../../../rules/tests/own/GP_EXTORT_ADDRESS.hit1.eml");
    let folder = folder();
    let file = folder.path().join("50-user");
    std::fs::write(&file, docs::block("coming-from-amavis.md", "spam settings of amavis")).expect("write");
    let imported = run(&["import", "amavis", file.to_str().expect("a plain path")], b"");
    let toml = String::from_utf8(imported.stdout).expect("UTF-8");
    assert_eq!(imported.status.code(), Some(0), "{toml}");
    assert_eq!(toml.trim(), docs::block("coming-from-amavis.md", "spam settings as TOML").trim());
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with(&toml).start();
    let mut dialog = gatepost.connect();
    dialog.greet();
    assert_eq!(dialog.message("a@client.test", &["user@example.test"], SPAM).code, 250);
    assert_eq!(dialog.message("a@client.test", &["user@example.test"], &mail("letter", "hello")).code, 250);
    let received = sink.wait_received(2);
    let subject = |mail: &Received| mail.header("Subject").unwrap_or_default().trim().to_owned();
    assert!(subject(&received[0]).starts_with("***SPAM*** "), "{}", subject(&received[0]));
    assert_eq!(subject(&received[1]), "letter");
    // Below 2 points nothing is written about spam.
    let told = [0, 1].map(|place: usize| received[place].header("X-Spam-Status").is_some());
    assert_eq!(told, [true, false]);
}
