//! Tests of the attachment rules.

use super::*;
use crate::config::typed::{AttachmentRule, AttachmentSet};
use gatepost_mail::{FileType, Finding, Limits, Origin, Part, PartId, Session};

const PROGRAM: &[u8] = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8\0\0\0\0\0\0\0@\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\0\0PE\0\0\x4c\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\xe0\0\x02\x01";

fn part(parent: Option<PartId>, name: &str, body: &[u8]) -> Part {
    let depth = u32::from(parent.is_some());
    let part = Part::new(PartId(0), depth, Origin::Mime, body.to_vec().into());
    let names = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
    Part { parent, names, declared: "application/octet-stream".into(), ..part }
}

/// A multipart with these parts.
fn message(parts: Vec<Part>) -> Message {
    let mut message = gatepost_unpack::read("Subject: x\r\n\r\nx\r\n".into(), &Limits::default());
    message.parts[0].container = true;
    message.parts[0].declared = "multipart/mixed".into();
    message.parts.extend(parts);
    message
}

fn named(name: &str) -> Message {
    message(vec![part(Some(PartId(0)), name, b"some text that is no program\n")])
}

fn builtin_rules() -> AttachmentRules {
    AttachmentRules::build(&Attachments::default()).unwrap()
}

/// What is found; nothing fails.
#[track_caller]
fn look(rules: &AttachmentRules, message: &Message) -> Vec<Finding> {
    let found = rules.look(message);
    assert_eq!(found.faults, []);
    found.findings
}

#[track_caller]
fn symbols(message: &Message) -> Vec<String> {
    look(&builtin_rules(), message).into_iter().map(|finding| finding.symbol.into_owned()).collect()
}

#[test]
fn names_that_are_banned() {
    let table = [
        ("setup.exe", NAME),
        ("SETUP.EXE", NAME),
        ("a.vbs", NAME),
        ("a.js", NAME),
        ("a.iso", NAME),
        ("a.lnk", NAME),
        ("backup.settingcontent-ms", NAME),
        ("setup.v2.exe", NAME),
        ("a.exe.", NAME),
        ("a.exe. . ", NAME),
        ("a.exe:stream", NAME),
        ("folder/a.exe", NAME),
        ("folder\\a.exe", NAME),
        ("a.ｅｘｅ", NAME),
        ("a\u{ff0e}exe", NAME),
        ("a.e\u{200b}xe", NAME),
        (".exe", NAME),
        ("letter.txt.vbs", DOUBLE),
        ("letter.TXT.VBS", DOUBLE),
        ("invoice.pdf.exe", DOUBLE),
        ("invoice.pdf                         .exe", DOUBLE),
        ("invoice.pdf .exe", DOUBLE),
        ("invoice                  .exe", DOUBLE),
        ("invoice.pdf....exe", DOUBLE),
        ("photo.jpg.scr ", DOUBLE),
        ("annual\u{202e}fdp.exe", DOUBLE),
        ("annual\u{2067}fdp.exe", DOUBLE),
        ("letter.{00020812-0000-0000-C000-000000000046}", CLSID),
        ("letter.txt.{3050f4d8-98B5-11CF-BB82-00AA00BDCE0B}", CLSID),
        ("letter.{00020812-0000-0000-C000-000000000046", CLSID),
        ("folder.{00020812-0000-0000-C000-000000000046}/a.txt", CLSID),
        ("{00020812-0000-0000-C000-000000000046}", CLSID),
    ];
    for (name, symbol) in table {
        assert_eq!(symbols(&named(name)), [symbol], "{name}");
    }
}

#[test]
fn ordinary_names_pass() {
    let names = [
        "",
        "a",
        "letter.txt",
        "invoice.pdf",
        "Invoice 2024.01.31.pdf",
        "photo.JPG",
        "archive.tar.gz",
        "data.zip",
        "report.docx",
        "report.docm",
        "sheet.xlsx",
        "sheet.xlsm",
        "slides.pptx",
        "list.csv",
        "mail.eml",
        "event.ics",
        "card.vcf",
        "smime.p7s",
        "signature.asc",
        "server.crt",
        "key.pem",
        "data.mat",
        "base.mdb",
        "patch.diff",
        "0001-fix.patch",
        "script.py",
        "page.html",
        "drawing.svg",
        "song.mp3",
        "clip.mp4",
        "file.exe.txt",
        "executable.pdf",
        "how to run setup.exe.pdf",
        "wordexe",
        "exe",
        "a.b.c.d",
        "résumé.pdf",
        "счёт.pdf",
        "請求書.xlsx",
        "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}.pdf",
        "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}.png",
        "winmail.dat",
        "word/vbaProject.bin",
        "_rels/.rels",
        "[Content_Types].xml",
        "docProps/app.xml",
        "word/theme/theme1.xml",
        "xl/printerSettings/printerSettings1.bin",
        "word/embeddings/oleObject1.bin",
        "customXml/item1.xml",
        "image001.wmf",
        "Thumbnails/thumbnail.png",
        "Basic/script-lb.xml",
        "version 1.5",
        "12.30 Uhr",
        "Re: meeting.msg",
        "a..pdf",
        "תמונה\u{200f}.png",
    ];
    for name in names {
        assert_eq!(symbols(&named(name)), [""; 0], "{name}");
    }
}

#[test]
fn types_are_banned_whatever_they_are_called() {
    for name in ["invoice.pdf", "x", ""] {
        let mut message = message(vec![part(Some(PartId(0)), name, PROGRAM)]);
        message.parts[1].attachment = true;
        assert_eq!(symbols(&message), [TYPE], "{name}");
    }
    let findings = look(&builtin_rules(), &message(vec![part(Some(PartId(0)), "invoice.pdf", PROGRAM)]));
    assert_eq!(findings[0].evidence, "invoice.pdf (exe)");
}

#[test]
fn the_text_of_a_mail_is_no_attachment() {
    for (declared, body) in [("text/plain", "exit\n"), ("text/html", "<script>x</script>"), ("", "x")] {
        let mut text = part(Some(PartId(0)), "", body.as_bytes());
        text.declared = declared.into();
        assert_eq!(symbols(&message(vec![text])), [""; 0], "{declared}");
    }
}

#[test]
fn a_program_declared_to_be_text_is_an_attachment() {
    const SCRIPT: &[u8] = b"#!/bin/sh\nexit\n";
    for (declared, body, found) in [
        ("text/plain", PROGRAM, &[TYPE][..]),
        ("text/html", PROGRAM, &[TYPE]),
        ("", PROGRAM, &[TYPE]),
        ("text/plain", SCRIPT, &[]),
        ("application/octet-stream", SCRIPT, &[TYPE]),
    ] {
        let mut text = part(Some(PartId(0)), "", body);
        text.declared = declared.into();
        assert_eq!(symbols(&message(vec![text])), found, "{declared}");
    }
}

/// What one reader shows under the allowed name, another may open under a dangerous one.
#[test]
fn to_be_allowed_every_name_must_match() {
    let rule = |change: fn(&mut AttachmentRule)| {
        let mut rule = AttachmentRule { allow: true, ..AttachmentRule::default() };
        change(&mut rule);
        AttachmentRules::build(&Attachments { rule: vec![rule], ..Attachments::default() }).unwrap()
    };
    let by_name = rule(|rule| rule.filename = Some(r"^ours.*\.exe$".into()));
    let by_path = rule(|rule| rule.path = Some(r"^ours.*\.exe$".into()));
    for (names, allowed) in [
        (&["ours.exe"][..], true),
        (&["ours.exe", "ours-2.exe"], true),
        (&["ours.exe", "evil.exe"], false),
        (&["evil.exe", "ours.exe"], false),
    ] {
        let mut message = named("x");
        message.parts[1].names = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(look(&by_name, &message).is_empty(), allowed, "{names:?}");
        assert_eq!(look(&by_path, &message).is_empty(), allowed, "{names:?}");
    }
    let nameless = message(vec![part(Some(PartId(0)), "", PROGRAM)]);
    assert_eq!(look(&by_name, &nameless).len(), 1);
}

/// Evidence leads through all containers to the name that is banned.
#[test]
fn nested_in_archives() {
    let inner = zip("invoice.pdf.exe", PROGRAM);
    let outer = zip("inner.zip", &inner);
    let message = attached("outer.zip", &outer);
    let findings = look(&builtin_rules(), &message);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].symbol, DOUBLE);
    assert!(findings[0].evidence.ends_with("inner.zip/invoice.pdf.exe"), "{}", findings[0].evidence);
}

/// All names that a reader would show are looked at, and the evidence says which it was.
#[test]
fn every_name_counts() {
    let mut message = named("harmless.txt");
    message.parts[1].names.push("bad\u{202e}txt.exe".into());
    let findings = look(&builtin_rules(), &message);
    assert_eq!(findings[0].evidence, "harmless.txt (also named bad\\u{202e}txt.exe)");
}

#[test]
fn the_first_own_rule_that_matches_decides() {
    let rule = |allow, filename: &str| AttachmentRule {
        name: format!("{filename}!"),
        allow,
        filename: Some(filename.into()),
        ..AttachmentRule::default()
    };
    let table: &[(Vec<AttachmentRule>, &str, &[&str])] = &[
        (vec![rule(true, r"^setup\.exe$")], "setup.exe", &[]),
        (vec![rule(true, r"^setup\.exe$")], "other.exe", &[NAME]),
        (vec![rule(false, r"\.docm$")], "a.DOCM", &[RULE]),
        (vec![rule(false, r"\.docm$"), rule(true, "^ours")], "ours.docm", &[RULE]),
        (vec![rule(true, "^ours"), rule(false, r"\.docm$")], "ours.docm", &[]),
        (vec![rule(true, "^ours"), rule(false, r"\.docm$")], "dir/ours.docm", &[]),
        (vec![rule(false, r"\.exe$")], "a.ｅｘｅ", &[RULE]),
    ];
    for (place, (rules, name, want)) in table.iter().enumerate() {
        let rules =
            AttachmentRules::build(&Attachments { rule: rules.clone(), ..Attachments::default() }).unwrap();
        let found: Vec<_> = look(&rules, &named(name)).into_iter().map(|finding| finding.symbol).collect();
        assert_eq!(found, *want, "row {place}");
    }
}

#[test]
fn every_condition_of_a_rule() {
    let rule = |change: fn(&mut AttachmentRule)| {
        let mut rule = AttachmentRule::default();
        change(&mut rule);
        rule
    };
    let table: &[(AttachmentRule, bool)] = &[
        (rule(|rule| rule.declared = vec!["Application/*".into()]), true),
        (rule(|rule| rule.declared = vec!["image/*".into(), "application/octet-stream".into()]), true),
        (rule(|rule| rule.declared = vec!["application/zip".into()]), false),
        (rule(|rule| rule.detected = vec!["EXE".into()]), true),
        (rule(|rule| rule.detected = vec!["executable".into()]), true),
        (rule(|rule| rule.detected = vec!["zip".into()]), false),
        (rule(|rule| rule.encrypted = Some(true)), true),
        (rule(|rule| rule.encrypted = Some(false)), false),
        (rule(|rule| rule.deeper_than = Some(0)), true),
        (rule(|rule| rule.deeper_than = Some(1)), false),
        (rule(|rule| rule.larger_than = Some(crate::config::units::Size::mebibytes(0))), true),
        (rule(|rule| rule.larger_than = Some(crate::config::units::Size::mebibytes(1))), false),
        (rule(|rule| rule.path = Some("^a.zip$".into())), true),
        (rule(|rule| rule.path = Some("other".into())), false),
        (rule(|rule| (rule.encrypted, rule.filename) = (Some(true), Some("b".into()))), false),
    ];
    let mut message = message(vec![part(Some(PartId(0)), "a.zip", PROGRAM)]);
    message.parts[1].encrypted = true;
    for (place, (rule, banned)) in table.iter().enumerate() {
        let typed = Attachments { rule: vec![rule.clone()], builtin: false, ..Attachments::default() };
        let findings = look(&AttachmentRules::build(&typed).unwrap(), &message);
        assert_eq!(!findings.is_empty(), *banned, "row {place}");
        assert!(findings.iter().all(|finding| finding.evidence == "rule 1: a.zip"));
    }
}

#[test]
fn mistakes_name_the_key() {
    let rule = |change: fn(&mut AttachmentRule)| {
        let mut rule = AttachmentRule::default();
        change(&mut rule);
        rule
    };
    let rules = vec![
        rule(|rule| rule.filename = Some("(".into())),
        rule(|rule| rule.path = Some("x{1000}{1000}{1000}".into())),
        rule(|rule| rule.declared = vec!["image/png".into(), "exe".into()]),
        rule(|rule| rule.detected = vec!["nonsense".into()]),
        rule(|_| {}),
    ];
    let problems =
        AttachmentRules::build(&Attachments { rule: rules, ..Attachments::default() }).err().unwrap();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    let want = ["[0].filename", "[1].path", "[2].declared[1]", "[3].detected[0]", "[4]"];
    assert_eq!(keys, want.map(|key| format!("checks.attachments.rule{key}")));
}

/// A program that no finding names would not be stripped.
#[test]
fn every_part_is_named() {
    let parts = (0..1000).map(|place| part(Some(PartId(0)), &format!("{place}.exe"), b"x")).collect();
    assert_eq!(symbols(&message(parts)).len(), 1000);
}

#[tokio::test]
async fn the_check_answers_with_findings() {
    let check: Box<dyn Check> = Box::new(builtin_rules());
    let mail = Mail { session: Session::default(), envelope: Default::default(), message: named("a.exe") };
    let found = check.on_mail(&mail, &Found::default()).unwrap().await.unwrap();
    assert_eq!(found.findings.len(), 1);
    assert!(SYMBOLS.iter().any(|symbol| symbol.name == found.findings[0].symbol));
}

/// A zip of one stored member, without a directory.
fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let mut crc = crc32(content).to_le_bytes().to_vec();
    let mut out = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0".to_vec();
    out.append(&mut crc);
    for _ in 0..2 {
        out.extend((content.len() as u32).to_le_bytes());
    }
    out.extend((name.len() as u16).to_le_bytes());
    out.extend([0, 0]);
    out.extend(name.as_bytes());
    out.extend(content);
    out
}

fn crc32(content: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    };
    !content.iter().fold(!0, step)
}

fn attached(name: &str, body: &[u8]) -> Message {
    let head = format!(
        "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n\
         --b\r\nContent-Type: application/zip; name={name}\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    );
    let raw = [head.as_bytes(), body, b"\r\n--b--\r\n"].concat();
    gatepost_unpack::read(raw.into(), &Limits::default())
}

/// A message with a tree of parts: for each its parent, its name, how it was found, its declared type, its content.
fn tree(parts: &[(usize, &str, Origin, &str, &[u8])]) -> Message {
    let mut message = message(Vec::new());
    for (parent, name, origin, declared, body) in parts {
        let mut part = part(Some(PartId(*parent)), name, body);
        part.depth = message.parts[*parent].depth + 1;
        part.origin = *origin;
        part.declared = (*declared).to_owned();
        if *origin == Origin::Mime {
            part.span = Some(0..1);
        }
        message.parts.push(part);
    }
    message
}

const OCTETS: &str = "application/octet-stream";
const ZIP: &[u8] =
    b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0aPK\x05\x06\0\0\0\0\0\0\0\0";

/// What a reader takes out of a document is judged as a file only where it is one.
#[test]
fn what_documents_are_made_of() {
    use Origin::{Archive, Embedded};
    const SCRIPT: &[u8] = b"#!/bin/sh\nexit\n";
    /// The document, the part's name, how it was found, its declared type, its content; what is found.
    type Row = (FileType, &'static str, Origin, &'static str, &'static [u8], &'static [&'static str]);
    let table: &[Row] = &[
        // Sources of macros and scripts, whatever they are called.
        (FileType::PDF, "JavaScript", Embedded, "text/plain", b"app.alert(1)", &[]),
        (FileType::OLE, "Module.js", Embedded, "text/plain", b"Sub AutoOpen()", &[]),
        // Scripts that stand in a page.
        (FileType::HTML, "", Embedded, "", SCRIPT, &[]),
        (FileType::HTML, "update.js", Embedded, "", SCRIPT, &[NAME]),
        // Members of a package.
        (FileType::EPUB, "OPS/menu.js", Archive, "", SCRIPT, &[]),
        (FileType::DOCX, "word/embeddings/a.bin", Archive, "", PROGRAM, &[TYPE]),
        (FileType::ODT, "Scripts/python/a.py", Archive, "", SCRIPT, &[]),
        (FileType::ZIP, "Scripts/python/a.py", Archive, "", SCRIPT, &[TYPE]),
        // Files that a document carries.
        (FileType::OLE, "", Embedded, "", PROGRAM, &[TYPE]),
        (FileType::OLE, "invoice.txt", Embedded, "", PROGRAM, &[TYPE]),
        (FileType::OLE, "invoice.pdf.vbs", Embedded, "", b"x", &[DOUBLE]),
        (FileType::ONENOTE, "open.hta", Embedded, "", b"<html>", &[NAME]),
        (FileType::PDF, "a.txt", Embedded, "", b"hello", &[]),
    ];
    for (holder, name, origin, declared, body, found) in table {
        let mut message = tree(&[(0, "a", Origin::Mime, OCTETS, b"x"), (1, name, *origin, declared, body)]);
        message.parts[1].detected = *holder;
        assert_eq!(symbols(&message), *found, "{} {name}", holder.name);
    }
}

/// A file that is looked at by itself is no part of a document.
#[test]
fn a_file_by_itself() {
    let message = gatepost_unpack::read_file("#!/bin/sh\nexit\n".into(), None, &Limits::default());
    assert_eq!(symbols(&message), [TYPE]);
}

#[test]
fn what_it_lies_in() {
    let message = tree(&[
        (0, "outer.zip", Origin::Mime, OCTETS, ZIP),
        (1, "disc.iso", Origin::Archive, "", b"x"),
        (2, "a.txt", Origin::Archive, "", b"x"),
        (0, "b.txt", Origin::Mime, OCTETS, b"x"),
    ]);
    for (inside, found) in [
        (&["zip"][..], &["disc.iso", "a.txt"][..]),
        (&["rar", "archive"], &["disc.iso", "a.txt"]),
        (&["*.iso"], &["a.txt"]),
        (&["OUTER*"], &["disc.iso", "a.txt"]),
        (&["rar", "*.rar"], &[]),
    ] {
        let rule = AttachmentRule {
            inside: inside.iter().map(|text| (*text).to_owned()).collect(),
            ..AttachmentRule::default()
        };
        let typed = Attachments { rule: vec![rule], builtin: false, ..Attachments::default() };
        let findings = look(&AttachmentRules::build(&typed).unwrap(), &message);
        let names: Vec<_> =
            findings.iter().map(|finding| finding.evidence.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, found, "{inside:?}");
    }
}

fn amavis(pattern: &str, allow: bool) -> AttachmentRule {
    AttachmentRule { amavis: Some(pattern.into()), allow, ..AttachmentRule::default() }
}

/// The first rule that matches anything of the path decides, and the finding is about the part that it matched.
#[test]
fn rules_of_amavis() {
    let message = tree(&[
        (0, "", Origin::Mime, "text/plain", b"hello"),
        (0, "Docs.zip", Origin::Mime, "application/zip", ZIP),
        (2, "readme.txt", Origin::Archive, "", b"x"),
        (2, "setup.dat", Origin::Archive, "", PROGRAM),
        (0, "a.scr", Origin::Mime, "audio/x-wav", b"x"),
    ]);
    let mut locked = message.clone();
    locked.parts[3].encrypted = true;
    let table: &[(&Message, Vec<AttachmentRule>, &[usize])] = &[
        (&message, vec![amavis(r"^\.exe$", false)], &[4]),
        (&message, vec![amavis(r"^\.exe-ms$", false)], &[4]),
        (&message, vec![amavis(r"(?i)^docs", false)], &[2]),
        (&message, vec![amavis(r"^docs", false)], &[]),
        (&message, vec![amavis(r"^\.zip$", true), amavis(r"^\.exe$", false), amavis(r"\.scr$", false)], &[5]),
        (&message, vec![amavis(r"^\.exe$", false), amavis(r"^\.zip$", true)], &[4]),
        (&message, vec![amavis(r"^text/plain$", false)], &[1]),
        (&message, vec![amavis(r"^audio/x-wav\z", false)], &[5]),
        (&message, vec![amavis(r"^multipart/mixed$", false)], &[0]),
        (&message, vec![amavis(r"^UNDECIPHERABLE$", false)], &[]),
        (&locked, vec![amavis(r"^UNDECIPHERABLE$", false)], &[3]),
        (&message, vec![amavis(r"(?ix) .\.( scr | pif )$ # comment", false)], &[5]),
        (&message, vec![amavis(r"^(?!readme)[a-z]+\.(?=dat)", false)], &[4]),
    ];
    for (place, (message, rules, parts)) in table.iter().enumerate() {
        let typed = Attachments { rule: rules.clone(), builtin: false, ..Attachments::default() };
        let findings = look(&AttachmentRules::build(&typed).unwrap(), message);
        let scopes: Vec<_> = findings.iter().map(|finding| finding.scope).collect();
        let want: Vec<_> = parts.iter().map(|part| gatepost_mail::Scope::Part(PartId(*part))).collect();
        assert_eq!(scopes, want, "row {place}");
    }
}

#[test]
fn paths_of_amavis() {
    let message = tree(&[
        (0, "", Origin::Mime, "text/plain", b"hello"),
        (0, "a\tb.zip", Origin::Mime, "application/zip", ZIP),
        (2, "setup.exe", Origin::Archive, "", PROGRAM),
    ]);
    let facts_of = |id| Tree::new(&message).facts(PartId(id)).lines().to_owned();
    assert_eq!(
        facts_of(3),
        "P=p001\tL=1\tM=multipart/mixed\nP=p003\tL=1/2\tM=application/zip\tT=zip\tN=a b.zip\n\
         P=p004\tL=1/2/1\tT=exe\tT=exe-ms\tN=setup.exe"
    );
    assert_eq!(facts_of(1), "P=p001\tL=1\tM=multipart/mixed\nP=p002\tL=1/1\tM=text/plain\tT=asc");
    for (pattern, part) in [
        (r"(?xmi) ^ (.*\t)? T=exe (\t.*)? $", Some(3)),
        (r"(?xmi) ^ (.*\t)? T=zip (\t.*)? $", Some(2)),
        (r"(?m)T=zip\t.*\n.*N=setup", Some(2)),
        (r"T=rar", None),
    ] {
        let rule = AttachmentRule { amavis_path: Some(pattern.into()), ..AttachmentRule::default() };
        let typed = Attachments { rule: vec![rule], builtin: false, ..Attachments::default() };
        let findings = look(&AttachmentRules::build(&typed).unwrap(), &message);
        let scopes: Vec<_> = findings.iter().map(|finding| finding.scope).collect();
        let want: Vec<_> = part.map(|part| gatepost_mail::Scope::Part(PartId(part))).into_iter().collect();
        assert_eq!(scopes, want, "{pattern}");
    }
}

/// Nobody knows what an expression that needs too many steps would have said.
#[test]
fn a_pattern_that_cannot_be_matched_is_a_fault() {
    let typed = Attachments {
        rule: vec![amavis(r"^(a+)+\1$", false)],
        set: BTreeMap::from([("other".into(), AttachmentSet { builtin: true, ..AttachmentSet::default() })]),
        ..Attachments::default()
    };
    let rules = AttachmentRules::build(&typed).unwrap();
    let name = format!("{}!.exe", "a".repeat(200));
    let found = rules.look(&named(&name));
    assert_eq!(found.faults.len(), 1, "{found:?}");
    assert!(found.faults[0].detail.contains("set default"), "{}", found.faults[0].detail);
    assert_eq!(found.faults[0].answer, OnFault::Defer);
    // The other set could look.
    let symbols: Vec<_> = found.findings.iter().map(|finding| finding.symbol.as_ref()).collect();
    assert_eq!(symbols, ["BANNED_BY_OTHER"]);
}

/// Rules that give another name: by their own pattern, never in archives.
#[test]
fn rules_that_rename() {
    let typed = Attachments {
        rule: vec![AttachmentRule {
            name: "pages".into(),
            filename: Some(r"\.html?$".into()),
            rename: Some("{name}.txt".into()),
            ..AttachmentRule::default()
        }],
        ..Attachments::default()
    };
    let rules = AttachmentRules::build(&typed).unwrap();
    let message = tree(&[
        (0, "dir/a\u{2192}b.html", Origin::Mime, OCTETS, b"x"),
        (0, "a.zip", Origin::Mime, OCTETS, ZIP),
        (2, "c.html", Origin::Archive, "", b"x"),
    ]);
    let findings = look(&rules, &message);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].symbol, RENAME);
    let new = crate::config::attachments::new_name(&findings[0].evidence);
    assert_eq!(new, Some("a>b.html.txt"), "{}", findings[0].evidence);
    assert!(crate::config::attachments::is_rename(&findings[0].symbol));
}

/// Each set is judged by itself.
#[test]
fn sets_have_symbols_of_their_own() {
    let rule = |allow, filename: &str| AttachmentRule {
        allow,
        filename: Some(filename.into()),
        report: "Not here".into(),
        ..AttachmentRule::default()
    };
    let set = |rule| AttachmentSet { rule, ..AttachmentSet::default() };
    let typed = Attachments {
        set: BTreeMap::from([
            ("lax".into(), set(vec![rule(true, r"\.exe$"), rule(false, ".")])),
            ("no-pdf".into(), set(vec![rule(false, r"\.pdf$")])),
        ]),
        ..Attachments::default()
    };
    let rules = AttachmentRules::build(&typed).unwrap();
    for (name, found) in [("a.exe", &[NAME][..]), ("a.pdf", &["BANNED_BY_LAX", "BANNED_BY_NO_PDF"])] {
        let findings = look(&rules, &named(name));
        let symbols: Vec<_> = findings.iter().map(|finding| finding.symbol.as_ref()).collect();
        assert_eq!(symbols, found, "{name}");
        if name == "a.pdf" {
            assert_eq!(findings[1].evidence, "Not here: a.pdf (rule 1)");
        }
    }
    let config: Config = toml::from_str("checks.attachments.set.no-pdf.builtin = true").unwrap();
    assert!(symbols_of(&config).contains(&"ATTACHMENT_TO_RENAME_BY_NO_PDF".to_owned()));
}

fn symbols_of(config: &Config) -> Vec<String> {
    super::symbols(config).into_iter().map(|symbol| symbol.name.into_owned()).collect()
}

#[test]
fn mistakes_of_sets_name_the_key() {
    for (toml, key, part) in [
        ("set.default.builtin = true", "checks.attachments.set.default", "another"),
        ("set.'a b'.builtin = true", "checks.attachments.set.a b", "letters"),
        ("set.a = {}", "checks.attachments.set.a", "never find"),
        ("set.a-b.builtin = true\nset.a_b.builtin = true", "checks.attachments.set.a_b", "is that of `a-b`"),
        ("[[set.a.rule]]\namavis = '('", "checks.attachments.set.a.rule[0].amavis", "parenthes"),
        ("[[set.a.rule]]\ninside = ['zipp']", "checks.attachments.set.a.rule[0].inside[0]", "*.iso"),
        (
            "[[set.a.rule]]\nfilename = 'a'\nrename = 'a/b'",
            "checks.attachments.set.a.rule[0].rename",
            "no name",
        ),
        (
            "[[set.a.rule]]\nfilename = 'a'\nrename = 'b'\nallow = true",
            "checks.attachments.set.a.rule[0].rename",
            "keeps its name",
        ),
        (
            "set.a.mailscanner_filetypes = ['/nowhere/x.conf']",
            "checks.attachments.set.a.mailscanner_filetypes",
            "/nowhere/x.conf: No such file",
        ),
    ] {
        let typed: Attachments = toml::from_str(toml).unwrap();
        let problems = AttachmentRules::build(&typed).err().unwrap();
        let told = problems.iter().any(|problem| problem.key == key && problem.message.contains(part));
        assert!(told, "{toml}: {problems:?}");
    }
}

/// A folder with tables of MailScanner's form.
struct Tables(tempfile::TempDir);

impl Tables {
    fn write(files: &[(&str, &str)]) -> Tables {
        let tables = Tables(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| tables.put(name, text));
        tables
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn set(&self, files: [&str; 4]) -> AttachmentSet {
        let [names, types, packed_names, packed_types] = files.map(|name| match name {
            "" => Vec::new(),
            name => vec![self.0.path().join(name)],
        });
        AttachmentSet {
            mailscanner_filenames: names,
            mailscanner_filetypes: types,
            mailscanner_archive_filenames: packed_names,
            mailscanner_archive_filetypes: packed_types,
            ..AttachmentSet::default()
        }
    }

    fn rules(&self, files: [&str; 4]) -> Result<AttachmentRules, Vec<Problem>> {
        let set = BTreeMap::from([("ms".to_owned(), self.set(files))]);
        AttachmentRules::build(&Attachments { builtin: false, set, ..Attachments::default() })
    }
}

/// Made for these tests, in the form of MailScanner's.
const NAMES: &str = "# Names\n\nallow\t\\.readme\\.exe$\t-\t-\n\
    deny\t\\.exe$\tA program\tPrograms are not taken\n\
    deny+delete\t\\.vb[es]$\t\tA script\t\tScripts are not taken\n\
    rename to .txt\t\\.reg$\tRegistry renamed\tRegistry files get another name\n\
    rename\t\\.fdf$\tForm\t-\n\
    rename to $1_$2.bin\t^(\\w+)-(\\w+)\\.raw$\tRaw\t-\n\
    allow\t(\\.[a-z0-9]{3})\\1$\t-\t-\n\
    deny\t\\.[a-z][a-z0-9]{2,3}\\s*\\.[a-z0-9]{3}$\tTwo endings\tHides its kind\n\
    deny\t*\\.odd$\tOdd\tOdd\n";
const TYPES: &str = "allow\ttext\t-\t-\nallow\t\\bscript\t-\t-\ndeny\texecutable\tNo programs\tNo programs\n\
    deny\tELF\tNo ELF\tNo ELF\nrename\tRegistry\tRegistry\t-\ndeny\t-\t^video/\tNo films\tFilms are not taken\n";

#[test]
fn tables_of_mailscanner() {
    let tables = Tables::write(&[("names", NAMES), ("types", TYPES)]);
    let rules = tables.rules(["names", "types", "", ""]).unwrap();
    let film: &[u8] = b"\0\0\0\x18ftypisom\0\0\0\0isommp42";
    for (name, body, found) in [
        ("a.readme.exe", &b"x"[..], ""),
        ("a.exe", b"x", "Programs are not taken: a.exe (A program)"),
        ("A.EXE", b"x", "Programs are not taken: A.EXE (A program)"),
        ("a.vbs", b"x", "Scripts are not taken: a.vbs (A script)"),
        ("a.zip.zip", b"x", ""),
        ("a.doc .pif", b"x", "Hides its kind: a.doc .pif (Two endings)"),
        ("x.odd", b"x", "Odd: x.odd"),
        ("a.reg", b"x", "Registry files get another name: a.reg (Registry renamed) \u{2192} a.txt"),
        ("a.fdf", b"x", "Form: a.fdf \u{2192} a.fdf.disarmed"),
        ("one-two.raw", b"x", "Raw: one-two.raw \u{2192} one_two.bin"),
        ("a.dat", PROGRAM, "No programs: a.dat"),
        // One that denies is enough, whatever the other table allows.
        ("a.readme.exe", PROGRAM, "No programs: a.readme.exe"),
        ("a.reg", PROGRAM, "No programs: a.reg"),
        ("b", b"#!/bin/sh\nexit\n", ""),
        ("b.mp4", film, "Films are not taken: b.mp4 (No films)"),
        (
            "b",
            b"Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\a]\r\n",
            "Registry: b \u{2192} b.disarmed",
        ),
    ] {
        let findings = look(&rules, &tree(&[(0, name, Origin::Mime, OCTETS, body)]));
        let told: Vec<_> = findings.iter().map(|finding| finding.evidence.as_str()).collect();
        assert_eq!(told.concat(), found, "{name}");
        let symbol = if found.contains('\u{2192}') { "ATTACHMENT_TO_RENAME_BY_MS" } else { "BANNED_BY_MS" };
        assert!(findings.iter().all(|finding| finding.symbol == symbol), "{findings:?}");
    }
}

/// What lies in archives has tables of its own, if there are any, and keeps its name.
#[test]
fn tables_for_archives() {
    let tables = Tables::write(&[("names", NAMES), ("types", TYPES), ("packed", "deny\t\\.txt$\tText\t-\n")]);
    let message =
        |name| tree(&[(0, "a.zip", Origin::Mime, OCTETS, ZIP), (1, name, Origin::Archive, "", b"x")]);
    let with = tables.rules(["names", "types", "packed", ""]).unwrap();
    let without = tables.rules(["names", "types", "", ""]).unwrap();
    for (rules, name, found) in [
        (&with, "b.txt", 1),
        (&with, "b.exe", 0),
        (&without, "b.txt", 0),
        (&without, "b.exe", 1),
        (&without, "b.reg", 0),
    ] {
        assert_eq!(look(rules, &message(name)).len(), found, "{name}");
    }
}

#[test]
fn mistakes_in_tables_name_file_and_line() {
    for (text, part) in [
        ("\n\ndeny \\.exe$ No programs", ":3: has 1 fields"),
        ("deny\t\\.exe$\tNo programs", ":1: has 3 fields"),
        ("deny\t(\ta\tb", ":1: “(”: the expression is wrong"),
        ("forbid\ta\ta\tb", ":1: “forbid” is none of allow"),
        (
            "a@example.org b@example.org\ta\ta\tb",
            ":1: “a@example.org b@example.org” sends the message to others",
        ),
        ("rename to a/b\ta\ta\tb", ":1: “a/b” cannot stand in a file's name"),
        ("deny\t-\ta\tb", ":1: has no expression"),
    ] {
        let tables = Tables::write(&[("names", text)]);
        let problems = tables.rules(["names", "", "", ""]).err().unwrap();
        let told = &problems[0];
        assert_eq!(told.key, "checks.attachments.set.ms.mailscanner_filenames");
        assert!(told.message.contains(&format!("/names{part}")), "{text}: {}", told.message);
    }
}

/// Tables that change count at once; what is wrong with one is told, and the old one stays.
#[tokio::test]
async fn tables_are_read_again() {
    let tables = Tables::write(&[("names", "deny\t\\.a$\tA\t-\n")]);
    let rules = tables.rules(["names", "", "", ""]).unwrap();
    let found = |name| look(&rules, &named(name)).len();
    assert_eq!((found("x.a"), found("x.b")), (1, 0));
    tables.put("names", "# longer\ndeny\t\\.b$\tB\t-\n");
    rules.reload();
    assert_eq!((found("x.a"), found("x.b")), (0, 1));
    tables.put("names", "# longer still\n\ndeny\t(\tB\t-\n");
    rules.reload();
    assert_eq!((found("x.a"), found("x.b")), (0, 1));
    let health = rules.health().await;
    assert_eq!((health.len(), health[0].name.as_str()), (1, "attachments:ms"));
    assert!(health[0].state.as_ref().unwrap_err().contains("names:3:"), "{health:?}");
    tables.put("names", "deny\t\\.c$\tB\t-\n");
    rules.reload();
    assert_eq!(rules.health().await[0].state, Ok("1 rules".into()));
    assert_eq!(found("x.c"), 1);
}
