//! Any bytes as a message: the texts that rules look at, the rules of our own and all functions over them.
#![no_main]

use std::sync::LazyLock;

use gatepost_mail::Message;
use gatepost_rules::conf::{Options, Reader, RuleSet};
use gatepost_rules::engine::{Engine, Limits, ScoreSet};
use gatepost_rules::evals::{Known, Native, Patterns, names};
use gatepost_rules::own;
use gatepost_rules::subject::text_settings;
use gatepost_rules::texts::{Given, HeaderRequest, TextSettings, Texts};
use libfuzzer_sys::fuzz_target;

/// What functions may be given; each takes what it knows.
const ARGUMENTS: [&str; 3] = ["", "'1', '2'", "'From', 'replyto'"];

struct Ready {
    engine: Engine,
    texts: TextSettings,
    patterns: Patterns,
}

static READY: LazyLock<Ready> = LazyLock::new(|| {
    let set = rules();
    let engine = Engine::new(&set, ScoreSet::default());
    engine.warm();
    Ready { texts: text_settings(&set.settings), engine, patterns: Patterns::default() }
});

/// Those of our own, and a rule for each function.
fn rules() -> RuleSet {
    let mut reader = Reader::new(Options::default());
    let mut text = String::from(
        "loadplugin Mail::SpamAssassin::Plugin::FreeMail\nloadplugin Mail::SpamAssassin::Plugin::MIMEHeader\n\
         freemail_domains free.com\nwelcomelist_from *@good.com\ntrusted_networks 192.0.2.0/24\n\
         redirector_pattern /^http:\\/\\/r\\.example\\.com\\/\\?(.*)$/i\n\
         mimeheader ZIP ALL =~ /\\.zip/i\ntflags ZIP concat\nfull TWICE /(\\w{5,})\\s+\\1/\n",
    );
    for (number, name) in names().iter().enumerate() {
        for (kind, place) in ["header", "body", "full"].iter().enumerate() {
            for (with, arguments) in ARGUMENTS.iter().enumerate() {
                text.push_str(&format!("{place} F{number}_{kind}_{with} eval:{name}({arguments})\n"));
            }
        }
    }
    reader.read("functions.cf", text.as_bytes(), &mut |_| Err(String::new()));
    own::FILES.iter().for_each(|(name, text)| reader.read(name, text.as_bytes(), &mut |_| Err(String::new())));
    reader.finish()
}

fuzz_target!(|raw: &[u8]| {
    let message = Message::unread(raw.to_vec().into());
    let texts = Texts::new(&message, Given::default(), &READY.texts);
    for request in ["ALL:raw", "From:addr", "To:name", "Received:ip", "Subject:host", "EnvelopeFrom", "ALL-EXTERNAL"] {
        texts.header(&HeaderRequest::parse(request));
    }
    let known = Known::default();
    let evals = Native::new(&texts, READY.engine.settings(), &known, &READY.patterns);
    let outcome = READY.engine.evaluate(&texts, &evals, Limits::default());
    for hit in &outcome.hits {
        if let Some(evidence) = &hit.evidence {
            assert!(evidence.range.start <= evidence.range.end, "{}", hit.name);
        }
    }
    assert!(outcome.unknown.is_empty(), "{:?}", outcome.unknown);
});
