//! Our own rules over mails written for them: each hits what it is for, and leaves alone what only looks like it.
//!
//! `own/RULE.hitN.eml` must be hit by that rule, `own/RULE.missN.eml` must not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gatepost_mail::{Budget, Limits as ReadingLimits, Message};
use gatepost_rules::conf::{Options, Reader, RuleSet};
use gatepost_rules::engine::{Engine, Limits, NoEvals, Outcome, ScoreSet};
use gatepost_rules::lint::Lint;
use gatepost_rules::own::FILES;
use gatepost_rules::subject::text_settings;
use gatepost_rules::texts::{Given, TextSettings, Texts};

#[test]
fn each_rule_hits_and_leaves_alone() {
    let set = rules();
    let engine = Engine::new(&set, ScoreSet::default());
    let settings = text_settings(engine.settings());
    let (mut wrong, mut hit, mut left) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for path in mails() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (rule, kind) = name.split_once('.').unwrap();
        let expected = kind.starts_with("hit");
        if expected { &mut hit } else { &mut left }.insert(rule.to_string());
        let outcome = evaluate(&engine, &settings, &std::fs::read(&path).unwrap());
        assert_eq!(outcome.faults, [], "{name}");
        if outcome.names().contains(&rule) != expected {
            wrong.push(format!("{name}: {:?}", outcome.names()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let scored: BTreeSet<String> =
        set.rules.values().filter(|rule| !rule.is_subrule()).map(|rule| rule.name.to_string()).collect();
    assert_eq!(hit, scored, "rules with a mail that they hit");
    assert_eq!(left, scored, "rules with a mail that they leave alone");
}

#[test]
fn the_rules_are_in_order() {
    let set = rules();
    let engine = Engine::new(&set, ScoreSet::default());
    let lint = Lint::of(&set, &engine, &|_| false);
    assert_eq!(lint.warnings, []);
    assert!(lint.not_native.is_empty(), "{:?}", lint.not_native);
    assert!(lint.unusable.is_empty(), "{:?}", lint.unusable);
    for rule in set.rules.values().filter(|rule| !rule.is_subrule()) {
        assert!(rule.name.starts_with("GP_"), "{}", rule.name);
        assert!(rule.description.is_some() && rule.scored, "{} has no description or score", rule.name);
        assert!(
            rule.scores.iter().all(|score| (0.1..=3.0).contains(score)),
            "{}: {:?}",
            rule.name,
            rule.scores
        );
    }
}

#[test]
fn few_rules_are_tried_on_every_text() {
    let engine = Engine::new(&rules(), ScoreSet::default());
    let always = engine.always_tried();
    assert!(always.len() <= 40, "{}: {always:?}", always.len());
}

#[test]
fn long_texts_do_not_make_them_run_away() {
    let engine = Engine::new(&rules(), ScoreSet::default());
    let settings = text_settings(engine.settings());
    for piece in [
        "a ",
        "account ",
        "<a href=\"http://",
        "color:#fff ",
        "$1,000 ",
        "1.",
        "display:none ",
        "<form ",
        "\u{430}b",
    ] {
        let body = piece.repeat(60_000 / piece.len());
        for kind in ["text/plain", "text/html"] {
            let mail = format!("From: a@example.org\nContent-Type: {kind}; charset=utf-8\n\n{body}\n");
            assert_eq!(evaluate(&engine, &settings, mail.as_bytes()).faults, [], "{piece}, {kind}");
        }
        let head = format!("From: {body}\nSubject: {body}\nTo: {body}\nDate: {body}\n\ntext\n");
        assert_eq!(evaluate(&engine, &settings, head.as_bytes()).faults, [], "{piece}, in the header");
    }
}

fn rules() -> RuleSet {
    let mut reader = Reader::new(Options::default());
    for (name, text) in FILES {
        reader.read(name, text.as_bytes(), &mut |name| Err(format!("{name} is not there")));
    }
    reader.finish()
}

fn evaluate(engine: &Engine, settings: &TextSettings, mail: &[u8]) -> Outcome {
    let limits = ReadingLimits::default();
    let message = Message::read(mail.to_vec().into(), &mut Budget::new(&limits));
    engine.evaluate(&Texts::new(&message, Given::default(), settings), &NoEvals, Limits::default())
}

fn mails() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/own");
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(found.len() > 200);
    found
}
