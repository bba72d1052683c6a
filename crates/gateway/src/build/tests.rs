//! A pipeline that was built, and what it says before a message has come.

use std::time::Duration;

use gatepost_mail::{Address, Envelope, Finding, Session};

use super::*;
use crate::checks::Found;
use crate::pipeline::Asked;
use crate::verdict::Stage;

fn pipeline(text: &str) -> Pipeline {
    let config: Config = toml::from_str(text).expect("a configuration");
    match super::pipeline(&config, None, Arc::new(Metrics::new())) {
        Ok(pipeline) => pipeline,
        Err(problems) => panic!("{text}: {problems:?}"),
    }
}

fn found(symbol: &'static str) -> Found {
    Found { findings: vec![Finding::mail(symbol, "127.0.0.2")], ..Found::default() }
}

#[tokio::test]
async fn a_refusal_is_known_early_only_by_a_category() {
    let listed = "checks.dnsbl.x = {zone = \"x.test\", category = \"spam\"}";
    let points = "checks.dnsbl.x = {zone = \"x.test\", weight = 50}";
    let lenient = format!(
        "{listed}\n[[policy]]\nname = \"l\"\nwhen.recipients = [\"b@x.test\"]\nactions.spam = \"mark\""
    );
    for (text, recipient, code) in [
        (listed, "a@x.test", Some(550)),
        (listed, "", Some(550)),
        (points, "a@x.test", None),
        // Whoever comes may be b@x.test.
        (&lenient, "", None),
        (&lenient, "a@x.test", Some(550)),
        (&lenient, "b@x.test", None),
    ] {
        let pipeline = pipeline(text);
        let recipient = Address::new(recipient).map(Into::into);
        let (session, envelope) = (Session::default(), Envelope::default());
        for (known, code) in [(found("DNSBL_X"), code), (Found::default(), None)] {
            let asked = Asked {
                stage: if recipient.is_some() { Stage::Recipient } else { Stage::Sender },
                session: &session,
                envelope: &envelope,
                recipient: recipient.as_ref(),
                known: &known,
                wait: Duration::from_secs(5),
            };
            let refusal = pipeline.admit(asked).await.refusal;
            assert_eq!(refusal.map(|reply| reply.code), code, "{text} {recipient:?}");
        }
    }
}

#[test]
fn released_mail_of_a_queue_never_goes_to_the_built_in_maildir() {
    let load = |text: &str| toml::from_str::<Config>(text).expect("a configuration");
    for (text, listener, goes) in [
        ("queue = [{}]", "queue", false),
        ("queue = [{}]\nlistener = [{}]", "queue", false),
        ("queue = [{}]\nlistener = [{}]", "smtp", true),
        ("queue = [{}]\nquarantine.release_to = [\"smtp://127.0.0.1:25\"]", "queue", true),
        ("queue = [{}]", "gone", false),
        ("", "gone", true),
    ] {
        let Ok(hops) = release_hops(&load(text)) else { panic!("{text}") };
        assert_eq!(hops.hops(listener).is_some(), goes, "{text} {listener}");
    }
    assert!(load("queue = [{}]").listeners().is_empty());
}
