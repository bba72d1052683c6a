//! Rules of each kind over texts that are given.

use std::cell::RefCell;

use bytes::Bytes;

use super::*;
use crate::conf::{Options, Reader, RuleSet};
use crate::texts::Uri;

/// A message made of what a test says.
#[derive(Default)]
struct Plain {
    fields: Vec<(&'static str, &'static str)>,
    parts: Vec<Vec<(&'static str, &'static str)>>,
    body: Vec<Bytes>,
    uris: Vec<Uri>,
}

impl Plain {
    fn body(lines: &[&'static str]) -> Plain {
        Plain {
            body: lines.iter().map(|line| Bytes::from_static(line.as_bytes())).collect(),
            ..Plain::default()
        }
    }

    fn fields(fields: &[(&'static str, &'static str)]) -> Plain {
        Plain { fields: fields.to_vec(), ..Plain::default() }
    }
}

impl Subject for Plain {
    fn header(&self, field: &HeaderRequest) -> Option<Bytes> {
        let named = self.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&field.name));
        let all: Vec<&str> = named.map(|(_, value)| *value).collect();
        (!all.is_empty()).then(|| all.concat().into_bytes().into())
    }

    fn mime_headers(&self, name: &str, _: bool) -> Vec<Option<Bytes>> {
        let value = |part: &Vec<(&str, &'static str)>| {
            part.iter()
                .find(|(other, _)| *other == name)
                .map(|(_, value)| Bytes::from_static(value.as_bytes()))
        };
        self.parts.iter().map(value).collect()
    }

    fn body(&self) -> &[Bytes] {
        &self.body
    }

    fn rawbody(&self) -> &[Bytes] {
        &self.body
    }

    fn full(&self) -> &[u8] {
        self.body.first().map_or(&[], |text| &text[..])
    }

    fn uris(&self) -> &[Uri] {
        &self.uris
    }
}

/// Functions that answer with their first argument, and remember the order of calls.
#[derive(Default)]
struct Echo(RefCell<Vec<String>>);

impl Evals for Echo {
    fn call(&self, call: &Call<'_>) -> Option<Answer> {
        self.0.borrow_mut().push(call.rule.to_string());
        let value = call.args.first().map_or(0.0, Arg::number);
        (call.function == "echo").then(|| Answer { value, ..Answer::default() })
    }
}

fn rules(text: &str) -> RuleSet {
    let mut reader = Reader::new(Options::default());
    reader.read("test.cf", text.as_bytes(), &mut |_| Err("no files here".into()));
    reader.finish()
}

fn outcome(text: &str, subject: &Plain) -> Outcome {
    let set = rules(text);
    let errors: Vec<String> = set.warnings.iter().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:?}");
    Engine::new(&set, ScoreSet::default()).evaluate(subject, &Echo::default(), Limits::default())
}

fn hits(text: &str, subject: &Plain) -> String {
    let outcome = outcome(text, subject);
    assert_eq!(outcome.faults, [], "{text}");
    let mut names: Vec<&str> = outcome.hits.iter().map(|hit| &*hit.name).collect();
    names.sort_unstable();
    names.join(",")
}

#[test]
fn rules_over_fields() {
    let subject = Plain::fields(&[("Subject", "Make money fast\n"), ("X-Two", "one\n"), ("X-Two", "two\n")]);
    for (rule, expected) in [
        ("header A Subject =~ /money fast$/", "A"),
        ("header A Subject =~ /MONEY FAST/i", "A"),
        ("header A Subject =~ /MONEY FAST/", ""),
        ("header A Subject !~ /MONEY FAST/", "A"),
        ("header A subject !~ /money/", ""),
        ("header A Absent =~ /./", ""),
        ("header A Absent =~ /^$/", "A"),
        ("header A Absent !~ /x/", "A"),
        ("header A Absent =~ /gone/ [if-unset: gone away]", "A"),
        ("header A Subject =~ /gone/ [if-unset: gone away]", ""),
        ("header A exists:Subject", "A"),
        ("header A exists:Absent", ""),
        ("header A X-Two =~ /^one\\ntwo$/", "A"),
        ("header A X-Two =~ /^two$/m", "A"),
        ("header A Subject =~ m{^Make (?=money)}", "A"),
        // Several rules on one field make use of one pass over it.
        (
            "header A Subject =~ /money/\nheader B Subject !~ /money/\nheader C Subject =~ /nothing/\n\
             header D Subject !~ /nothing/\nheader E Subject =~ /fast/\nheader F Subject =~ /Make/",
            "A,D,E,F",
        ),
    ] {
        assert_eq!(hits(rule, &subject), expected, "{rule}");
    }
}

#[test]
fn rules_over_texts() {
    let mut subject = Plain::body(&["Hello subject\n", "Dear friend, send $100 now\n", "send it now, now\n"]);
    subject.uris.push(Uri {
        raw: Bytes::from_static(b"http://EXAMPLE.com/%41"),
        cleaned: vec![
            Bytes::from_static(b"http://EXAMPLE.com/%41"),
            Bytes::from_static(b"http://example.com/A"),
        ],
        domains: vec![Bytes::from_static(b"example.com")],
        types: ["a"].into(),
        anchor_texts: vec![Bytes::from_static(b"your bank")],
        ..Uri::default()
    });
    for (rule, expected) in [
        ("body A /dear friend/i", "A"),
        ("body A /friend.*send it/s", ""),
        ("body A /^Hello/", "A"),
        ("body A /^Hello/\ntflags A nosubject", ""),
        ("rawbody A /now$/", "A"),
        ("full A /subject/", "A"),
        ("full A /friend/", ""),
        ("uri A /example\\.com\\/A$/", "A"),
        ("uri A /^http:/\ntflags A multiple\nmeta B A == 2", "A,B"),
        ("body __N /now/\ntflags __N multiple\nmeta A __N == 3", "A,__N"),
        ("body __N /now/\ntflags __N multiple maxhits=2\nmeta A __N == 2", "A,__N"),
        ("body __N /now/\nmeta A __N == 1", "A,__N"),
        (
            "loadplugin Mail::SpamAssassin::Plugin::URIDetail\nuri_detail A domain =~ /^example/ text =~ /bank/i",
            "A",
        ),
        (
            "loadplugin Mail::SpamAssassin::Plugin::URIDetail\nuri_detail A domain =~ /^example/ text !~ /bank/i",
            "",
        ),
    ] {
        assert_eq!(hits(rule, &subject), expected, "{rule}");
    }
}

#[test]
fn rules_over_parts() {
    let part = |name, value| vec![(name, value)];
    let subject = Plain {
        parts: vec![
            part("Content-Type", "multipart/mixed\n"),
            part("Content-Type", "image/gif\n"),
            part("X", "y\n"),
        ],
        ..Plain::default()
    };
    for (rule, expected) in [
        ("mimeheader A Content-Type =~ /^image/", "A"),
        ("mimeheader A Content-Type !~ /^image/", "A"),
        ("mimeheader A Content-Type !~ /^video/", "A"),
        ("mimeheader A Content-Type =~ /^none/ [if-unset: none]", "A"),
        ("mimeheader A Content-Type =~ /^image/\ntflags A range=1", ""),
        ("mimeheader A Content-Type =~ /mixed\\nimage/\ntflags A concat", "A"),
    ] {
        let rule = format!("loadplugin Mail::SpamAssassin::Plugin::MIMEHeader\n{rule}");
        assert_eq!(hits(&rule, &subject), expected, "{rule}");
    }
}

#[test]
fn rules_over_rules() {
    let subject = Plain::body(&["alpha beta\n"]);
    let base = "body __A /alpha/\nbody __B /beta/\nbody __C /gamma/\n";
    for (rule, expected) in [
        ("meta M __A && __B && !__C", "M,__A,__B"),
        ("meta M __A && NEVER_DEFINED", "__A,__B"),
        ("meta M rules_matching(__?) >= 2", "M,__A,__B"),
        ("meta M N\nmeta N O\nmeta O __A", "M,N,O,__A,__B"),
        ("meta M N\nmeta N M", "__A,__B"),
        ("meta M ()", "__A,__B"),
        // What is off is 0, once all is done ...
        ("score __A 0\nmeta M __B && !__A", "M,__B"),
        // ... but a meta rule that is off and would hit leaves those that name it without a value.
        ("meta OFF __A\nscore OFF 0\nmeta M __B && !OFF", "__A,__B"),
        ("meta OFF __C\nscore OFF 0\nmeta M __B && !OFF", "M,__A,__B"),
        ("header E eval:echo(3)\nmeta M E == 3", "E,M,__A,__B"),
        ("header E eval:echo(-2)\nmeta M E == 1", "E,M,__A,__B"),
    ] {
        assert_eq!(hits(&format!("{base}{rule}"), &subject), expected, "{rule}");
    }
}

#[test]
fn scores() {
    let subject = Plain::body(&["alpha alpha\n"]);
    for (rule, expected) in [
        ("body A /alpha/", 1.0),
        ("body T_A /alpha/", 0.01),
        ("body A /alpha/\ntflags A nice", -1.0),
        ("body __A /alpha/\nscore __A 5", 0.0),
        ("body A /alpha/\nscore A 1 2 3 4", 1.0),
        ("body A /alpha/\nscore A 2\nscore A (0.5)", 2.5),
        ("body A /alpha/\nscore A 0", 0.0),
        // Each time counts.
        ("body A /alpha/\ntflags A multiple\nscore A 1.5", 3.0),
    ] {
        assert_eq!(outcome(rule, &subject).score, expected, "{rule}");
    }
    let set = rules("body A /alpha/\nscore A 1 2 3 4");
    for (net, bayes, expected) in
        [(false, false, 1.0), (true, false, 2.0), (false, true, 3.0), (true, true, 4.0)]
    {
        let engine = Engine::new(&set, ScoreSet { net, bayes });
        assert_eq!(engine.evaluate(&subject, &NoEvals, Limits::default()).score, expected);
    }
}

#[test]
fn captured_tags() {
    let mut subject = Plain::body(&["Hello, Bob.Smith\n"]);
    subject.fields.push(("To", "bob.smith@example.org\n"));
    subject.fields.push(("From", "bobxsmith@example.org\n"));
    for (rule, expected) in [
        ("header A To =~ /%{WHO}@/i", "A,__W"),
        ("header A From =~ /%{WHO}@/i", "__W"),
        ("header A To !~ /%{NOBODY}/", "__W"),
        ("header A From =~ /%{HEADER(To)}|bobx/", "A,__W"),
    ] {
        let rule = format!("body __W /Hello, (?<WHO>[\\w.]+)/\n{rule}");
        assert_eq!(hits(&rule, &subject), expected, "{rule}");
    }
}

/// What a rule with a tag in it must contain is known before the tag has a value, also where only a piece of that is looked for.
#[test]
fn expressions_with_tags_are_tried_where_they_may_match() {
    let lines = [
        "Hello, Bob.Smith\n",
        "see https://www.example.com/folder/of/files/#bob.smith@x and /default/files/@#BOB.Smith\n",
        "bob.smith is bob.smith's\n",
    ];
    let subject = Plain::body(&lines);
    for (rule, expected) in [
        ("body A m|^see https?://.{10,40}of/files/\\#%{WHO}|i", "A,__W"),
        ("body A m|/default/files/(?:\\@)?\\#%{WHO}|i", "A,__W"),
        ("body A m|/default/files/(?:\\@)?\\#%{WHO}@|i", "__W"),
        ("body A m|/default/files/\\#%{WHO}|i", "__W"),
        ("body A /^%{WHO} is %{WHO}'s/i", "A,__W"),
        ("body A /^%{WHO}%{WHO}/i", "__W"),
        ("body A /^[%{WHO}]{9} is/i", "A,__W"),
        ("body A /x[%{WHO}x]z/i", "__W"),
    ] {
        let rule = format!("body __W /Hello, (?<WHO>[\\w.]+)/\n{rule}");
        assert_eq!(hits(&rule, &subject), expected, "{rule}");
    }
}

/// Rules are found by texts of every length, whatever stands around them.
#[test]
fn literal_texts_are_found() {
    for text in ["$%", "&!x", "wxyz", "quick brown fox jumps over the lazy dog", "ZQ\\d{3}K"] {
        let written = text.replace("\\d{3}", "907");
        let rule = format!("body A /{}/", text.replace('$', "\\$"));
        for (line, expected) in [
            (written.clone(), "A"),
            (format!("{written}\n"), "A"),
            (format!("{}{written}{}", "ab ".repeat(50), " yz".repeat(50)), "A"),
            (written[1..].to_string(), ""),
            (written[..written.len() - 1].to_string(), ""),
        ] {
            let subject = Plain { body: vec![line.clone().into()], ..Plain::default() };
            assert_eq!(hits(&rule, &subject), expected, "{rule} over {line}");
        }
    }
}

#[test]
fn shortcircuit_ends_the_evaluation() {
    let subject = Plain::body(&["alpha beta\n"]);
    let base =
        "loadplugin Mail::SpamAssassin::Plugin::Shortcircuit\nbody A /alpha/\nbody B /beta/\nmeta M B\n";
    for (rule, score, expected) in [
        ("shortcircuit A spam", 101.0, "A,SHORTCIRCUIT"),
        ("shortcircuit A ham\nscore A -1", -101.0, "A,SHORTCIRCUIT"),
        ("priority A -10\nshortcircuit A on\nscore A 2", 2.0001, "A,SHORTCIRCUIT"),
        // What is of the same kind and priority runs, too.
        ("shortcircuit A on", 2.0001, "A,B,SHORTCIRCUIT"),
        ("shortcircuit A spam\nshortcircuit A off\npriority A 0", 3.0, "A,B,M"),
    ] {
        let outcome = outcome(&format!("{base}{rule}"), &subject);
        let mut names: Vec<&str> = outcome.hits.iter().map(|hit| &*hit.name).collect();
        names.sort_unstable();
        assert_eq!(names.join(","), expected, "{rule}");
        assert!((outcome.score - score).abs() < 1e-9, "{rule}: {}", outcome.score);
    }
}

#[test]
fn order_of_evaluation() {
    let set = rules(
        "full F eval:echo(1)\nbody B eval:echo(1)\nheader H eval:echo(1)\nrawbody R eval:echo(1)\n\
         body LATE eval:echo(1)\npriority LATE 5\nfull EARLY eval:echo(1)\npriority EARLY -5\n\
         header NET eval:echo(1)\ntflags NET net\nheader OFF eval:echo(1)\nscore OFF 0\nbody X eval:unheard_of()",
    );
    let echo = Echo::default();
    let outcome =
        Engine::new(&set, ScoreSet::default()).evaluate(&Plain::default(), &echo, Limits::default());
    assert_eq!(echo.0.borrow().join(","), "EARLY,H,B,X,R,F,LATE");
    assert_eq!(outcome.unknown, ["unheard_of"]);
    let echo = Echo::default();
    Engine::new(&set, ScoreSet { net: true, bayes: false }).evaluate(
        &Plain::default(),
        &echo,
        Limits::default(),
    );
    assert_eq!(echo.0.borrow().join(","), "NET,EARLY,H,B,X,R,F,LATE");
}

#[test]
fn evidence_tells_the_place() {
    let outcome = outcome("body A /friend\\w*/", &Plain::body(&["Hello\n", "dear friends\n"]));
    let evidence = outcome.hits[0].evidence.clone().unwrap();
    assert_eq!((evidence.chunk, evidence.range, evidence.text), (1, 5..12, b"friends".to_vec()));
}

#[test]
fn what_would_run_away_is_a_fault() {
    let long: &'static str = Box::leak("a".repeat(20_000).into_boxed_str());
    for rule in
        ["body A /^(?=(a+)+\\1\\1[bc])/", "body A /(?=a)(a*a*)*\\1[bc]/", "body A /(?:(?=a)a+)+(?!a)[bc]/"]
    {
        let outcome = outcome(rule, &Plain::body(&[long]));
        assert_eq!(outcome.hits, [], "{rule}");
        assert_eq!(outcome.faults.first().map(|fault| &*fault.rule), Some("A"), "{rule}");
    }
    let set = rules("body A /x/\nbody B /y/");
    let limits = Limits { time: Duration::ZERO, ..Limits::default() };
    let outcome = Engine::new(&set, ScoreSet::default()).evaluate(&Plain::body(&["x y"]), &NoEvals, limits);
    assert_eq!(outcome.names(), ["TIME_LIMIT_EXCEEDED"]);
    assert_eq!(outcome.faults.len(), 1);
}
