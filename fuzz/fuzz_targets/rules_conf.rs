//! Any bytes as a file of rules: read, linted, made ready, evaluated, and written about. Whatever it includes is itself.
#![no_main]

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use gatepost_mail::Message;
use gatepost_rules::conf::{Options, Reader};
use gatepost_rules::engine::{Engine, Limits, ScoreSet};
use gatepost_rules::evals::{Known, Native, Patterns, is_native};
use gatepost_rules::lint::Lint;
use gatepost_rules::report::Report;
use gatepost_rules::subject::text_settings;
use gatepost_rules::texts::{Given, HeaderRequest, Texts};
use libfuzzer_sys::fuzz_target;

/// A little of everything that rules look at.
const MAIL: &str = "Received: from a.example.com (b.example.com [192.0.2.1]) by c.example.net; Thu, 1 Jan 2026 00:00:00 +0000\n\
    From: \"A\" <a@free.com>\nReply-To: b@free.com\nTo: c@example.net\nSubject: =?utf-8?q?Hi_there?=\nMIME-Version: 1.0\n\
    Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/html\n\n\
    <p>Dear friend, <a href=http://www.example.com/a>send</a> <font color=white>money</font></p>\n--x\n\
    Content-Type: application/zip; name=a.zip\n\nPK\n--x--\n";

static PLUGINS: LazyLock<String> = LazyLock::new(|| {
    let names = [
        "Check", "MIMEHeader", "ReplaceTags", "URIDetail", "FreeMail", "HTMLEval", "HeaderEval", "BodyEval", "MIMEEval",
        "RelayEval", "URIEval", "WLBLEval", "Shortcircuit", "WelcomeListSubject", "AskDNS", "URIDNSBL", "ImageInfo",
    ];
    names.iter().map(|name| format!("loadplugin Mail::SpamAssassin::Plugin::{name}\n")).collect()
});

fuzz_target!(|content: &[u8]| {
    let mut reader = Reader::new(Options::default());
    reader.read("plugins.pre", PLUGINS.as_bytes(), &mut |_| Err("no files here".into()));
    reader.read("rules/fuzzed.cf", content, &mut |_| Ok(content.to_vec()));
    let set = reader.finish();
    let engine = Engine::new(&set, ScoreSet::default());
    let lint = Lint::of(&set, &engine, &is_native);
    assert!(lint.warnings.len() >= set.warnings.len());
    let settings = text_settings(&set.settings);
    let message = Message::unread(MAIL.into());
    let texts = Texts::new(&message, Given::default(), &settings);
    let (known, patterns) = (Known::default(), Patterns::default());
    let evals = Native::new(&texts, engine.settings(), &known, &patterns);
    let limits = Limits { time: Duration::from_secs(3), ..Limits::default() };
    let outcome = engine.evaluate(&texts, &evals, limits);
    assert!(outcome.hits.iter().all(|hit| hit.times > 0));
    let field = |name: &str| {
        let value = texts.header(&HeaderRequest::parse(name)).joined()?;
        Some(String::from_utf8_lossy(&value).into_owned())
    };
    let report =
        Report { outcome: &outcome, set: &set, required: 5.0, tags: HashMap::new(), field: &field };
    for (name, value) in report.headers() {
        assert!(!name.contains(['\n', ' ']) && !value.contains("\n\n"), "{name}: {value:?}");
    }
    report.body();
});
