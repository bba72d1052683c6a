//! Mails made to explode: all texts of each must come, without a limit of stack or memory being reached.

use std::time::{Duration, Instant};

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

/// What these rules come to, with the faults of each.
fn faults(conf: &str, raw: String, end: Option<Instant>) -> Vec<(String, String)> {
    let mut reader = Reader::new(Options::default());
    reader.read("functions.cf", conf.as_bytes(), &mut |_| Err(String::new()));
    let set = reader.finish();
    let engine = Engine::new(&set, ScoreSet::default());
    let settings = text_settings(&set.settings);
    let (known, patterns) = (Known::default(), Patterns::default());
    let message = Message::unread(raw.into());
    let texts = Texts::new(&message, Given::default(), &settings);
    let mut evals = Native::new(&texts, engine.settings(), &known, &patterns);
    if let Some(end) = end {
        evals = evals.until(end);
    }
    let outcome = engine.evaluate(&texts, &evals, Limits { time: Duration::MAX / 4, ..Limits::default() });
    outcome.faults.into_iter().map(|fault| (fault.rule.to_string(), fault.message)).collect()
}

/// More addresses than are looked for in lists: the rules are told that could have found more.
#[test]
fn what_a_function_leaves_out_is_a_fault_of_its_rule() {
    let conf = "blocklist_from *@bad.com\nwelcomelist_to *@good.com\nheader FROM_BAD eval:check_from_in_blocklist()\n\
        header TO_GOOD eval:check_to_in_welcomelist()\nheader OTHER eval:check_for_missing_to_header()\n";
    let named = |what: &str, count: usize, last: &str| -> String {
        (0..count).map(|n| format!("{what}: a{n}@b.com\n")).chain([format!("{what}: {last}\n")]).collect()
    };
    let too_many = "check_from_in_blocklist has not looked at everything: there are more than 1000 addresses";
    for (from, to, expected) in [
        (named("From", 900, "a@b.com"), named("To", 900, "c@d.com"), &[][..]),
        (named("From", 1500, "a@bad.com"), named("To", 900, "c@d.com"), &[("FROM_BAD", too_many)]),
        // It is found, and then the rest does not count.
        (format!("From: x@bad.com\n{}", named("From", 1500, "a@b.com")), String::new(), &[]),
    ] {
        let found = faults(conf, format!("{from}{to}\nx\n"), None);
        let found: Vec<_> = found.iter().map(|(rule, why)| (rule.as_str(), why.as_str())).collect();
        assert_eq!(found, expected);
    }
}

/// Functions that take long look at the clock, and tell that they did not come to an end.
#[test]
fn functions_come_to_an_end_when_the_time_is_over() {
    let many = |count: usize, text: fn(usize) -> String| (0..count).map(text).collect::<String>();
    let globs = many(200, |n| format!("blocklist_from *{n}@bad.com\nwelcomelist_subject *word{n}*more\n"));
    let plugins =
        ["WLBLEval", "WelcomeListSubject", "VBounce", "FreeMail", "URIEval", "HTTPSMismatch", "BodyEval"]
            .map(|name| format!("loadplugin Mail::SpamAssassin::Plugin::{name}\n"))
            .concat();
    let conf = |rule: &str| {
        format!(
            "{plugins}util_rb_tld com\nwelcomelist_bounce_relays a.com\nblocklist_uri_host x.com\n{globs}{rule}"
        )
    };
    let page = many(200, |n| format!("<a href=http://u{n}.com/>https://v.com</a>\n"));
    let page = format!("From: a@b.com\nSubject: x\nContent-Type: text/html\n\n{page}");
    let text = many(200, |_| "Target Price : 3\nReceived: from a.b by c.d\n".to_owned());
    let text = format!("From: a@b.com\nSubject: x\n\nx@b.com\n{text}");
    for (rule, mail) in [
        ("header A eval:check_from_in_blocklist()", &text),
        ("header A eval:check_subject_in_welcomelist()", &text),
        ("header A eval:check_welcomelist_bounce_relays()", &text),
        ("body A eval:check_stock_info('1')", &text),
        ("header A eval:check_freemail_body('x')", &text),
        ("header A eval:check_for_http_redirector()", &page),
        ("header A eval:check_uri_host_in_blocklist()", &page),
        ("body A eval:check_https_http_mismatch('1')", &page),
    ] {
        let conf = conf(rule);
        assert_eq!(faults(&conf, mail.clone(), None), [], "{rule}");
        let [(name, why)] = &faults(&conf, mail.clone(), Some(Instant::now()))[..] else {
            panic!("{rule}: one fault")
        };
        assert!(name == "A" && why.contains("the time for all rules was over"), "{rule}: {why}");
    }
}

/// A header that is larger than any real one: rules see the beginning of it, and are told so.
#[test]
fn of_a_header_so_much_is_looked_at() {
    let settings = TextSettings::default();
    for (raw, expected) in [
        ((0..9_000).map(|n| format!("X-{n}: x\n")).collect::<String>(), false),
        ((0..11_000).map(|n| format!("X-{n}: x\n")).collect(), true),
        (format!("Subject: {}\n", "word\n ".repeat(1_000)).repeat(200), true),
        // Of one that is too long its beginning is there.
        (format!("Subject: {}\n", "word\n ".repeat(500_000)), false),
    ] {
        let message = Message::unread(format!("From: a@b.com\n{raw}\nx\n").into());
        let texts = Texts::new(&message, Given::default(), &settings);
        assert_eq!(texts.left_out().is_some(), expected);
        assert!(texts.flags().truncated_header);
        let from = texts.header(&HeaderRequest::parse("From:addr")).joined();
        assert_eq!(from.as_deref(), Some(&b"a@b.com"[..]));
    }
}

/// More addresses than rules look at: that is told, too.
#[test]
fn of_addresses_so_many_are_looked_at() {
    let tlds = [b"com".to_vec()].into();
    let settings =
        TextSettings { registry: Registry { tlds, ..Registry::default() }, ..TextSettings::default() };
    let page =
        |count: usize| -> String { (0..count).map(|n| format!("<a href=http://u{n}.com/>x</a>")).collect() };
    for (count, expected) in [(100, false), (21_000, true)] {
        let raw = format!("From: a@b.com\nContent-Type: text/html\n\n{}", page(count));
        let message = Message::unread(raw.into());
        let texts = Texts::new(&message, Given::default(), &settings);
        assert_eq!(texts.left_out(), None, "nobody has asked for them");
        assert_eq!((texts.uris().len() < 20_001, texts.left_out().is_some()), (true, expected));
    }
}

/// Fields in a text, each of which is put together of so many lines that going through it with each of them would take hours.
#[test]
fn folded_fields_in_a_text_are_borne() {
    let conf = "welcomelist_bounce_relays a.com\nheader A eval:check_welcomelist_bounce_relays()\n";
    let mail = format!("From: a@b.com\n\nReceived: x\n{}\n{}", ">".repeat(65_000), " \n".repeat(4 << 20));
    assert_eq!(faults(conf, mail, None), []);
}
