//! Mails made to explode: all texts of each must come, without a limit of stack or memory being reached.

use bytes::Bytes;
use gatepost_mail::Message;
use gatepost_rules::conf::{Options, Reader};
use gatepost_rules::engine::{Engine, Limits, ScoreSet};
use gatepost_rules::evals::{Known, Native, Patterns, names};
use gatepost_rules::own;
use gatepost_rules::subject::text_settings;
use gatepost_rules::texts::{Given, HeaderRequest, Registry, TextSettings, Texts};

/// Makes all texts.
fn made(raw: impl Into<Bytes>) -> usize {
    let tlds = [b"com".to_vec(), b"example".to_vec()].into();
    let settings =
        TextSettings { registry: Registry { tlds, ..Registry::default() }, ..TextSettings::default() };
    let texts = Texts::new(&Message::unread(raw.into()), Given::default(), &settings);
    let requests = [
        "ALL",
        "ALL:raw",
        "From:addr",
        "To:name",
        "To:addr:host",
        "Received:ip",
        "Subject:host",
        "EnvelopeFrom",
        "ALL-EXTERNAL",
    ];
    let headers: usize = requests
        .iter()
        .filter_map(|request| texts.header(&HeaderRequest::parse(request)).joined())
        .map(|value| value.len())
        .sum();
    let bodies = [texts.body(), texts.visible_body(), texts.invisible_body(), texts.rawbody()];
    let lines: usize = bodies.iter().map(|lines| lines.len()).sum();
    headers
        + lines
        + texts.uris().len()
        + texts.relays().untrusted.len()
        + texts.html().len()
        + texts.mime_headers("ALL", true).len()
}

#[test]
fn long_lines_and_many_addresses_are_borne() {
    let head = "From: a@b.example\nSubject: x\n";
    let plain = "Content-Type: text/plain\n\n";
    let page = "Content-Type: text/html\n\n";
    let part = "Content-Type: multipart/mixed; boundary=x\n\n--x\n\n";
    for (kind, body) in [
        (plain, "x".repeat(10 << 20)),
        (part, "x".repeat(10 << 20)),
        (page, "x".repeat(2 << 20)),
        (plain, "@".repeat(1 << 20)),
        (plain, "a@".repeat(1 << 20)),
        (plain, "a.".repeat(1 << 20)),
        (plain, "http://".repeat(1 << 18)),
        (plain, (0..100_000).map(|n| format!("http://u{n}.example/\n")).collect()),
        (page, (0..30_000).map(|n| format!("<a href=http://u{n}.example/>x</a>")).collect()),
        (
            page,
            format!(
                "<base href=http://b.example/{}/>{}",
                "y".repeat(8000),
                (0..2000).map(|n| format!("<a href={n}>x</a>")).collect::<String>()
            ),
        ),
        (page, "<div>".repeat(50_000) + &"</p>".repeat(50_000)),
        (page, "<font color=red>".repeat(50_000) + "x" + &"</font>".repeat(50_000)),
        (page, format!("<a {}>", (0..100_000).map(|n| format!("a{n}=1 ")).collect::<String>())),
        (page, "&#x1F600;&amp".repeat(200_000)),
        (page, "<!doctype '>' ".repeat(50_000) + " -x"),
        (page, "<![ --x-- ".repeat(50_000)),
        (page, "<style>".repeat(100_000)),
        (page, "<title>".repeat(100_000)),
        (plain, "\n".repeat(1 << 20)),
        (plain, format!("http://a.example/?{}", "http:/x.example/?".repeat(100))),
    ] {
        made(format!("{head}{kind}{body}"));
    }
}

#[test]
fn many_fields_and_parts_are_borne() {
    let many = |count: usize, text: fn(usize) -> String| (0..count).map(text).collect::<String>();
    for raw in [
        many(100_000, |n| format!("Received: from a ([192.0.2.{}]) by b (x) id {n}\n", n % 256)),
        many(100_000, |n| format!("X-{n}: x\n")),
        format!("To: {}\n", "<".repeat(8000)),
        format!("To: {}\n", "\"".repeat(8000)),
        format!("To: {}\n", "(".repeat(8000)),
        format!("To: {}\n", "a@b.example, ".repeat(700)),
        format!("To: {}\n", "<a@b> ".repeat(1300)),
        format!("Subject: {}\n", "=?utf-8?q?a?= ".repeat(580)),
        format!("Subject: {}\n", "a.b.example-".repeat(680)),
        format!("Received: {}\n", "from (a [b ".repeat(700)),
        format!("Received: from {} by x\n", "(a@[192.0.2.1] ".repeat(500)),
        format!("Content-Type: text/plain{}\n", "; name*99999=x".repeat(500)),
        format!("Content-Type: multipart/mixed; boundary=x\n\n{}", "--x\n\ny\n".repeat(20_000)),
        (0..200).fold(String::new(), |raw, n| {
            format!("{raw}Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")
        }) + "x",
        "Content-Type: message/rfc822\n\n".repeat(2000),
        "Content-Type: multipart/digest; boundary=x\n\n--x\n\n".repeat(2000),
    ] {
        made(raw + "\nbody\n");
    }
}

/// All functions and the rules of our own come to an end.
#[test]
fn rules_and_functions_bear_them() {
    let mut reader = Reader::new(Options::default());
    let mut conf = String::from("freemail_domains free.com\nwelcomelist_from *@good.com\n");
    for (number, name) in names().iter().enumerate() {
        for (with, arguments) in ["", "'1', '2'", "'From', 'replyto'"].iter().enumerate() {
            for place in ["header", "body", "full"] {
                conf.push_str(&format!("{place} F{number}_{with}_{place} eval:{name}({arguments})\n"));
            }
        }
    }
    reader.read("functions.cf", conf.as_bytes(), &mut |_| Err(String::new()));
    for (name, text) in own::FILES {
        reader.read(name, text.as_bytes(), &mut |_| Err(String::new()));
    }
    let set = reader.finish();
    let engine = Engine::new(&set, ScoreSet::default());
    let settings = text_settings(&set.settings);
    let (known, patterns) = (Known::default(), Patterns::default());
    let head = "From: a@b.example\nSubject: x\n";
    let page = "Content-Type: text/html\n\n";
    let many = |count: usize, text: fn(usize) -> String| (0..count).map(text).collect::<String>();
    for raw in [
        format!("{head}\n{}", "x".repeat(1 << 20)),
        format!("{head}\n{}", "a@free.com ".repeat(20_000)),
        format!("{head}\n{}", many(10_000, |n| format!("http://u{n}.example.com/\n"))),
        format!(
            "{head}{page}{}",
            many(5_000, |n| format!("<a href=http://u{n}.example.com/>http://x.com</a>"))
        ),
        format!("{head}{page}{}", "<div>".repeat(10_000)),
        format!("{head}{page}<img src=cid:1 width=99999999999 height=99999999999>{}", "<img>".repeat(10_000)),
        many(5_000, |n| format!("Received: from a ([192.0.2.{}]) by b (x) id {n}\n", n % 256)) + "\nx\n",
        format!("To: {}\n\nx\n", "a@b.example.com, ".repeat(500)),
        format!(
            "{head}Content-Type: multipart/mixed; boundary=x\n\n{}",
            "--x\nContent-Type: image/gif\n\nGIF89a\n".repeat(2_000)
        ),
        format!("Date: {}\nDate: Thu, 99 Jan 99999999999 99:99:99 +9999\n\nx\n", "1".repeat(5_000)),
        format!(
            "{head}Content-Type: multipart/alternative; boundary=x\n\n--x\n\n{0}\n--x\nContent-Type: text/html\n\n{0}\n--x--\n",
            many(5_000, |n| format!("w{n} "))
        ),
        format!("{head}\n{}", "\n \n".repeat(50_000)),
    ] {
        let message = Message::unread(raw.into());
        let texts = Texts::new(&message, Given::default(), &settings);
        let evals = Native::new(&texts, engine.settings(), &known, &patterns);
        let outcome = engine.evaluate(&texts, &evals, Limits::default());
        assert!(outcome.faults.len() <= 100 && outcome.unknown.is_empty(), "{:?}", outcome.unknown);
    }
}
