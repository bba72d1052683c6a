//! `gatepost rules test`: tests that the authors of rules write.
//!
//! Two kinds: a line `test NAME ok|fail text` in a file of rules, as SpamAssassin's language has it, and a mail beside the rules
//! whose file name says what is expected, `NAME.hit….eml` or `NAME.miss….eml`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use gatepost_rules::conf::{Definition, Rule};
use gatepost_rules::engine::{Limits, Outcome};

use super::each::{evaluate, evaluate_mail, in_parallel};
use super::{Failure, Io, NOT_DONE, OK, Source};
use crate::cli::scan;
use crate::records::text::clean;
use crate::resources::rules::{Rules, is_rules};

/// Does each rule hit what its author says, and leave alone what it should?
///
/// A line `test NAME ok TEXT` in a .cf file says that a rule must hit a text, `test NAME fail TEXT` that it must not. A mail
/// `NAME.hit1.eml` must be hit by the rule NAME, `NAME.miss1.eml` must not.
///
/// Exit status: 0 all pass, 1 a test failed or there is none, 75 a file cannot be read.
#[derive(Debug, clap::Args)]
pub(super) struct Test {
    #[command(flatten)]
    source: Source,
    /// A rule that no test shows to hit is a failure, too; subrules need none.
    #[arg(long)]
    every_rule: bool,
    /// Mails, .cf files, or folders of both. Files of rules among them, and those right in such a folder, are read after those
    /// of --rules, and only their `test` lines count; without such, those of --rules count.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    files: Vec<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: &Test, io: &mut Io<'_>) -> Result<u8, Failure> {
    let mut mails = Vec::new();
    let mut tested = Vec::new();
    for file in scan::list(&args.files).map_err(Failure::Records)? {
        if is_rules(&file) { &mut tested } else { &mut mails }.push(file);
    }
    let rules = args.source.with(&args.files).load()?;
    let mut tally = Tally::default();
    // Rules of a file that is named twice, or by two names, are the same.
    let tested: BTreeSet<PathBuf> = tested.iter().map(|file| canonical(file)).collect();
    let written =
        |rule: &&Rule| tested.is_empty() || tested.contains(&canonical(Path::new(rule.file.as_ref())));
    for rule in rules.set.rules.values().filter(written) {
        for (hits, text) in &rule.tests {
            let what = format!("{}:{} {}, “{}”", rule.file, rule.line, rule.name, clean(text, 200));
            let result = mail_for(rule, text).and_then(|mail| {
                let (outcome, _) = evaluate_mail(&rules, mail, Limits::default(), None)?;
                judge(&rules, &rule.name, *hits, &outcome)
            });
            tally.add(&rule.name, *hits, &what, result, io)?;
        }
    }
    test_mails(&rules, mails, &mut tally, io)?;
    let scored = |rule: &&Rule| written(rule) && !rule.is_subrule();
    let untested: Vec<&str> = rules
        .set
        .rules
        .values()
        .filter(scored)
        .map(|rule| &*rule.name)
        .filter(|name| !tally.hit.contains(*name))
        .collect();
    tally.finish(&untested, args.every_rule, io)
}

fn canonical(file: &Path) -> PathBuf {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

/// Evaluates the mails whose names say what is expected.
fn test_mails(
    rules: &Rules,
    mut mails: Vec<PathBuf>,
    tally: &mut Tally,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let all = mails.len();
    mails.retain(|file| expected(file).is_some());
    tally.no_tests = all - mails.len();
    let work = |file: &Path| {
        let (name, hits) = expected(file).unwrap_or_default();
        let result = evaluate(rules, file, Limits::default(), None)
            .and_then(|outcome| judge(rules, &name, hits, &outcome));
        (name, hits, result)
    };
    in_parallel(&mails, work, |file, (name, hits, result)| {
        let what = format!("{} {name}", clean(&file.to_string_lossy(), 4096));
        Ok(tally.add(&name, hits, &what, result, io)?)
    })
}

/// What the name of a mail's file says: the rule, and whether it must hit.
fn expected(file: &Path) -> Option<(String, bool)> {
    let (name, rest) = file.file_name()?.to_str()?.strip_suffix(".eml")?.split_once('.')?;
    let hits = rest.starts_with("hit");
    (hits || rest.starts_with("miss")).then(|| (name.to_owned(), hits))
}

/// A mail that has a text where a rule looks for it.
fn mail_for(rule: &Rule, text: &str) -> Result<Vec<u8>, String> {
    let body = format!("From: author@example.org\nSubject: test\n\n{text}\n");
    let text = match &rule.definition {
        Definition::Header { field, .. } | Definition::Exists(field) => match field.name.as_str() {
            "ALL" => format!("{text}\n\ntest\n"),
            "ToCc" => format!("To: {text}\n\ntest\n"),
            "MESSAGEID" => format!("Message-ID: {text}\n\ntest\n"),
            name if name.starts_with("X-Spam-Relays-") || name == "EnvelopeFrom" => {
                return Err(format!("a line cannot test what looks at {name}; a mail can"));
            }
            name => format!("{name}: {text}\n\ntest\n"),
        },
        Definition::MimeHeader { name, .. } => format!("MIME-Version: 1.0\n{name}: {text}\n\ntest\n"),
        Definition::Body(_)
        | Definition::RawBody(_)
        | Definition::Full(_)
        | Definition::Uri(_)
        | Definition::UriDetail(_) => body,
        Definition::Eval { .. } => return Err("a line cannot test a function; a mail can".into()),
        Definition::Meta(_) => return Err("a line cannot test a meta rule; a mail can".into()),
        Definition::Empty => return Err("nothing in the rules says when it hits".into()),
    };
    Ok(text.into_bytes())
}

/// Whether a rule did what was expected; else why not.
fn judge(rules: &Rules, name: &str, expected: bool, outcome: &Outcome) -> Result<(), String> {
    let Some(rule) = rules.set.rules.get(name) else { return Err("there is no such rule".into()) };
    if let Some(fault) = outcome.faults.iter().find(|fault| &*fault.rule == name) {
        return Err(format!("it could not be evaluated: {}", clean(&fault.message, 300)));
    }
    match (outcome.hits.iter().find(|hit| &*hit.name == name), expected) {
        (Some(_), true) | (None, false) => Ok(()),
        (None, true) if !rule.is_subrule() && rule.scores[0] == 0.0 => {
            Err("it must hit; with a score of 0 it is not run".into())
        }
        (None, true) => Err("it must hit, and does not".into()),
        (Some(hit), false) => Err(match &hit.evidence {
            Some(found) => {
                let text = clean(&String::from_utf8_lossy(&found.text), 200);
                format!("it must not hit, and finds “{text}”")
            }
            None => "it must not hit, and does".into(),
        }),
    }
}

/// What became of all tests.
#[derive(Default)]
struct Tally {
    tests: usize,
    failed: usize,
    /// Rules with tests.
    rules: BTreeSet<String>,
    /// Rules that a test wants to hit.
    hit: BTreeSet<String>,
    /// Mails whose names say nothing.
    no_tests: usize,
}

impl Tally {
    fn add(
        &mut self,
        name: &str,
        hits: bool,
        what: &str,
        result: Result<(), String>,
        io: &mut Io<'_>,
    ) -> io::Result<()> {
        self.tests += 1;
        self.rules.insert(name.to_owned());
        if hits {
            self.hit.insert(name.to_owned());
        }
        if let Err(why) = result {
            self.failed += 1;
            writeln!(io.out, "FAILED {what}: {why}")?;
        }
        Ok(())
    }

    fn finish(&self, untested: &[&str], every_rule: bool, io: &mut Io<'_>) -> Result<u8, Failure> {
        if self.no_tests > 0 {
            writeln!(io.out, "files whose names test nothing: {}", self.no_tests)?;
        }
        if every_rule {
            for name in untested {
                writeln!(io.out, "UNTESTED {name}: no test shows that it hits")?;
            }
        } else if !untested.is_empty() {
            writeln!(
                io.out,
                "rules that no test shows to hit: {} (--every-rule names them)",
                untested.len()
            )?;
        }
        let passed = self.tests - self.failed;
        writeln!(
            io.out,
            "{} tests of {} rules: {passed} passed, {} failed",
            self.tests,
            self.rules.len(),
            self.failed
        )?;
        let done = self.tests > 0 && self.failed == 0 && (!every_rule || untested.is_empty());
        Ok(if done { OK } else { NOT_DONE })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What it prints, and its status.
    fn tested(files: &[(&str, &str)], every_rule: bool) -> (String, u8) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let args =
            Test { source: Source { rules: Vec::new() }, every_rule, files: vec![folder.path().to_owned()] };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut io = Io { out: &mut out, err: &mut err, input: &mut io::empty(), interactive: false };
        let status = run(&args, &mut io).unwrap();
        let text = String::from_utf8(out).unwrap();
        (text.replace(&format!("{}/", folder.path().display()), ""), status)
    }

    #[test]
    fn lines_of_every_kind() {
        let rules = "util_rb_tld ly com\nheader S Subject =~ /win \\d+/\ntest S ok you win 100\ntest S fail you win some\n\
                     header A From:addr =~ /@example\\.com$/\ntest A ok Some One <a@example.com>\n\
                     header L ALL =~ /^X-Lucky: 7$/m\ntest L ok X-Lucky: 7\n\
                     body B /dear friend/i\ntest B ok Dear Friend, hello\ntest B fail dear fiend\n\
                     rawbody R /<blink>/\ntest R ok <blink>\n\
                     uri U m{^https?://bit\\.ly/}\ntest U ok see http://bit.ly/x\ntest U fail bitly.com\n\
                     full F /needle/\ntest F ok a needle\n\
                     mimeheader M Content-Type =~ /koi8-r/\ntest M ok text/plain; charset=koi8-r\n";
        let (text, status) = tested(&[("10.cf", rules)], true);
        assert_eq!(text, "11 tests of 8 rules: 11 passed, 0 failed\n");
        assert_eq!(status, OK);
    }

    #[test]
    fn what_fails_is_named_with_its_place() {
        let rules = "body B /dear/\ntest B ok dead\ntest B fail oh dear\nmeta M B\ntest M ok dear\n\
                     body Z /zero/\nscore Z 0\ntest Z ok zero\nbody N /never/\n";
        let mail = "Subject: x\n\noh dear\n";
        let files = [
            ("10.cf", rules),
            ("mails/B.hit1.eml", mail),
            ("mails/B.miss1.eml", mail),
            ("mails/GONE.hit.eml", mail),
            ("mails/other.eml", mail),
        ];
        let (text, status) = tested(&files, true);
        assert_eq!(status, NOT_DONE);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "FAILED 10.cf:1 B, “dead”: it must hit, and does not",
                "FAILED 10.cf:1 B, “oh dear”: it must not hit, and finds “dear”",
                "FAILED 10.cf:4 M, “dear”: a line cannot test a meta rule; a mail can",
                "FAILED 10.cf:6 Z, “zero”: it must hit; with a score of 0 it is not run",
                "FAILED mails/B.miss1.eml B: it must not hit, and finds “dear”",
                "FAILED mails/GONE.hit.eml GONE: there is no such rule",
                "files whose names test nothing: 1",
                "UNTESTED N: no test shows that it hits",
                "7 tests of 4 rules: 1 passed, 6 failed",
            ]
        );
        // Nothing to test is no success.
        assert_eq!(tested(&[("10.cf", "body N /never/\n")], false).1, NOT_DONE);
    }
}
