//! Rules made to explode: each file is read, made ready and evaluated, or refused; nothing hangs, and nothing eats the memory.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

use gatepost_mail::Message;
use gatepost_rules::conf::{Options, Reader, RuleSet};
use gatepost_rules::engine::{Engine, Limits, NoEvals, Outcome, ScoreSet};
use gatepost_rules::report::Report;
use gatepost_rules::subject::text_settings;
use gatepost_rules::texts::{Given, Texts};

const MAIL: &str =
    "From: a@example.com\nTo: b@example.com\nSubject: aaaa\n\naaaa bbbb http://www.example.com/ cccc\n";

fn read(text: &str) -> RuleSet {
    let mut reader = Reader::new(Options::default());
    let plugins: String = ["Check", "ReplaceTags", "MIMEHeader", "URIDetail", "FreeMail", "WLBLEval"]
        .iter()
        .map(|name| format!("loadplugin Mail::SpamAssassin::Plugin::{name}\n"))
        .collect();
    reader.read("plugins.pre", plugins.as_bytes(), &mut |_| Err(String::new()));
    reader.read("hostile.cf", text.as_bytes(), &mut |_| Ok(text.as_bytes().to_vec()));
    reader.finish()
}

fn evaluated(set: &RuleSet, mail: &str) -> Outcome {
    let engine = Engine::new(set, ScoreSet::default());
    let settings = text_settings(&set.settings);
    let message = Message::unread(mail.as_bytes().to_vec().into());
    let texts = Texts::new(&message, Given::default(), &settings);
    engine.evaluate(&texts, &NoEvals, Limits { time: Duration::from_secs(2), ..Limits::default() })
}

fn many(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut all, n| {
        let _ = writeln!(all, "{}", line(n));
        all
    })
}

/// Files with a great many of something.
#[test]
fn many_rules_are_borne() {
    for (what, text) in [
        ("rules with texts", many(3_000, |n| format!("body A{n} /word{n}x/"))),
        ("rules without texts", many(300, |n| format!("body A{n} /\\w{{{}}}\\d/", n % 50 + 1))),
        ("fields", many(3_000, |n| format!("header A{n} X-{n} =~ /a/"))),
        ("fields that are there", many(3_000, |n| format!("header A{n} exists:X-{n}"))),
        ("fields of parts", many(2_000, |n| format!("mimeheader A{n} X-{n} =~ /a/"))),
        ("priorities", many(2_000, |n| format!("body A{n} /a/\npriority A{n} {n}"))),
        ("a chain of metas", many(3_000, |n| format!("meta A{n} A{} || 1", n + 1))),
        ("a circle of metas", many(10_000, |n| format!("meta A{n} A{}", (n + 1) % 10_000))),
        ("metas that need all", many(100, |n| format!("body B{n} /a/\nmeta A{n} rules_matching(*) > 1"))),
        ("globs", many(500, |n| format!("body B{n} /a/\nmeta A{n} rules_matching(*) > 1"))),
        ("a long meta", format!("meta A {}", many(15_000, |n| format!("B{n} + ")).replace('\n', "") + "1")),
        ("scores of rules that are not there", many(20_000, |n| format!("score A{n} 1"))),
        ("header fields", many(10_000, |n| format!("add_header all X{n} _TESTS_"))),
        ("networks", many(20_000, |n| format!("trusted_networks 10.{}.{}.1", n / 250, n % 250))),
        (
            "networks inside",
            many(10_000, |n| {
                format!("trusted_networks 10.{0}.{1}.1\ninternal_networks 10.{0}.{1}.1", n / 250, n % 250)
            }),
        ),
        (
            "networks outside",
            many(10_000, |n| {
                format!("trusted_networks 10.{0}.{1}.1\ninternal_networks 11.{0}.{1}.1", n / 250, n % 250)
            }),
        ),
        ("addresses", many(10_000, |n| format!("welcomelist_from *{n}@*.example.com"))),
        ("conditions", many(10_000, |n| format!("if (version > {n})\nendif"))),
        ("open conditions", many(10_000, |_| "if (1)".into())),
        ("mistakes", many(20_000, |n| format!("nonsense {n}"))),
        ("top-level domains", many(10_000, |n| format!("util_rb_tld x{n}"))),
        ("includes of itself", "include x.cf\ninclude x.cf\ninclude x.cf\n".into()),
        ("redirectors", many(200, |n| format!("redirector_pattern /^http:\\/\\/x{n}\\/(.*)/"))),
        ("reports", many(20_000, |_| "report _REPORT_ _SUMMARY_ _TESTS_".into())),
    ] {
        // Tells where it is, should it hang.
        eprintln!("{what}");
        let set = read(&text);
        let outcome = evaluated(&set, MAIL);
        let field = |_: &str| None;
        let report =
            Report { outcome: &outcome, set: &set, required: 5.0, tags: HashMap::new(), field: &field };
        assert!(report.body().len() < 1 << 20, "{what}");
        assert!(report.headers().len() <= 501, "{what}");
        assert!(set.warnings.len() <= 10_000, "{what}");
    }
}

/// Lines with a great deal in them.
#[test]
fn long_lines_are_borne() {
    let mega = 1 << 20;
    let long = 1 << 15;
    for (what, text) in [
        ("a text", format!("body A /{}/", "a".repeat(long))),
        ("alternatives", format!("body A /{}/", many(5_000, |n| format!("w{n}|")).replace('\n', "") + "z")),
        ("places", format!("body A /{}/", "\\b".repeat(long / 2))),
        ("optional letters", format!("body A /{}/", "a?".repeat(long / 2))),
        ("sets", format!("body A /{}/", "[ab]".repeat(long / 4))),
        ("groups", format!("body A /{}/", "(a)".repeat(long / 3))),
        ("named groups", format!("body A /{}/", many(2_000, |n| format!("(?<N{n}>a)")).replace('\n', ""))),
        ("references", format!("body A /(a){}/", "\\1".repeat(long / 2))),
        ("look-aheads", format!("body A /{}/", "(?=a)".repeat(long / 5))),
        ("look-behinds", format!("body A /{}/", "(?<=a{1,9})".repeat(long / 11))),
        ("open groups", format!("body A /{}/", "(".repeat(long))),
        ("repeated repetitions", format!("body A /{}a{}/", "(?:".repeat(90), "){9}".repeat(90))),
        ("repeated choices", format!("body A /{}a{}/", "(?:a|".repeat(90), ")*b".repeat(90))),
        ("templates", format!("body A /{}/", "%{TAG}".repeat(long / 6))),
        ("a name", format!("body {} /a/", "A".repeat(mega))),
        ("a score", format!("score A {}", "1".repeat(mega))),
        ("a priority", format!("body A /a/\npriority A {}", "1".repeat(1000))),
        ("flags", format!("body A /a/\ntflags A {}", "multiple ".repeat(mega / 9))),
        ("a description", format!("body A /a/\ndescribe A {}", "word ".repeat(mega / 5))),
        ("parentheses", format!("meta A {}1{}", "(".repeat(mega / 2), ")".repeat(mega / 2))),
        ("signs", format!("meta A {}1", "!".repeat(mega))),
        ("a condition", format!("if {}1\nendif", "!".repeat(mega))),
        ("arguments", format!("body A eval:f({})", "'a',".repeat(mega / 4))),
        ("a template", format!("add_header all X {}", "_TESTS_ ".repeat(long / 8))),
        ("properties", format!("uri_detail A {}", "raw =~ /a/ ".repeat(long / 11))),
        ("words", format!("freemail_domains {}", many(10_000, |n| format!("d{n}.com ")).replace('\n', ""))),
        ("nothing", "\0".repeat(mega)),
        ("hash signs", "\\#".repeat(mega / 2)),
    ] {
        // Tells where it is, should it hang.
        eprintln!("{what}");
        let set = read(&text);
        let outcome = evaluated(&set, MAIL);
        assert!(outcome.hits.len() <= 2 && set.rules.len() <= 1, "{what}");
    }
}

/// Tags that grow with each time that they are replaced.
#[test]
fn tags_that_grow_are_bounded() {
    let twice = "replace_tag A <B><B><B><B><B><B><B><B>\n".to_string()
        + &('B'..'Z')
            .zip('C'..='Z')
            .map(|(one, next)| format!("replace_tag {one} {}\n", format!("<{next}>").repeat(8)))
            .collect::<String>();
    for text in [
        twice + "body R /<A><A>/\nreplace_rules R",
        format!("replace_tag A {}\nbody R /{}/\nreplace_rules R", "x".repeat(1 << 19), "<A>".repeat(1 << 17)),
        format!("replace_tag A {}\nbody R /<A>/\nreplace_rules R", "<A>".repeat(1 << 17)),
        format!(
            "replace_inter I {}\nbody R /<inter I>{}/\nreplace_rules R",
            "x".repeat(1 << 19),
            "<A>".repeat(1 << 17)
        ),
    ] {
        let set = read(&text);
        let told = |warning: &gatepost_rules::conf::Warning| warning.message.contains("for R");
        assert!(set.warnings.iter().any(told), "{:?}", set.warnings.first());
        assert_eq!(evaluated(&set, MAIL).names().len(), 0);
    }
}

/// Expressions and texts on which a search takes long, whichever engine it is given to: a fault names the rule.
#[test]
fn searches_end_in_time() {
    let letters = "a".repeat(80_000);
    let pairs = "ab".repeat(40_000);
    for (rule, text) in [
        (r"full SLOW /(?=a).*[bc]\d/s", &letters),
        (r"full SLOW /(?=a)(?:a|aa)+[bc]/", &letters),
        (r"full SLOW /((?:a+)+)+\1[bc]/", &letters),
        (r"full SLOW /(?=[ab])[ab]{0,60000}+c/", &pairs),
        (r"full SLOW /(?:[ab]*[ab]*)*(?!a)~/", &pairs),
        (r"full SLOW /(?<WORD>a+)+[bc]/", &letters),
        (r"full SLOW /a[ab]{900}c[ab]{900}d/", &pairs),
        (r"full SLOW /(?:a[ab]{1,200}){3}c/", &pairs),
    ] {
        let set = read(rule);
        let mail = format!("Subject: x\n\n{text}\n");
        let outcome = evaluated(&set, &mail);
        let slow = |name: &str| name == "SLOW";
        assert!(outcome.faults.iter().all(|fault| slow(&fault.rule)), "{rule}: {:?}", outcome.faults);
        assert!(outcome.names().iter().all(|name| *name == "TIME_LIMIT_EXCEEDED"), "{rule}");
    }
}

/// As many matches, captured texts and addresses as a message can have.
#[test]
fn what_is_kept_is_bounded() {
    let rules = "full A /(?<WORD>\\w\\w)/\ntflags A multiple\nbody B /%{WORD}/\nuri C /x/\ntflags C multiple\nfull D /a|/\n\
                 tflags D multiple";
    let words = many(60_000, |n| format!("w{n} http://x{n}.example.com/"));
    let set = read(&format!("util_rb_tld com\n{rules}"));
    let outcome = evaluated(&set, &format!("Subject: x\n\n{words}"));
    assert!(outcome.hits.iter().all(|hit| hit.times <= 1000), "{:?}", outcome.names().len());
    assert!(outcome.tags.values().all(|values| values.len() <= 50));
}
