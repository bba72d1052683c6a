//! `gatepost rules compare`: the real SpamAssassin beside ours, over the same mail with the same rules.

mod oracle;

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use gatepost_rules::engine::Limits;

use self::oracle::{Oracles, Said};
use super::each::{UNREADABLE, evaluate, in_parallel, names};
use super::{Failure, Io, NOT_DONE, OK, Source, TRY_LATER, holds_rules};
use crate::cli::scan;
use crate::records::text::clean;
use crate::resources::rules::sources;

/// Scores that differ by no more than this are the same: SpamAssassin shows one decimal.
const SAME_SCORE: f64 = 0.1;

/// What SpamAssassin says of mails, beside what gatepost says.
///
/// Runs the library of the SpamAssassin that is installed (Perl's Mail::SpamAssassin), with the same rules, without the network,
/// a classifier or reputations. It takes some 0.1 s of a processor a mail.
///
/// Exit status: 0 they agree, 1 they do not, 75 SpamAssassin or a file cannot be used.
#[derive(Debug, clap::Args)]
pub(super) struct Compare {
    #[command(flatten)]
    source: Source,
    /// Subrules, whose names begin with two underscores, are compared, too.
    #[arg(long)]
    subrules: bool,
    /// Only the sums, not each mail.
    #[arg(long)]
    quiet: bool,
    /// What SpamAssassin says is kept in this file, and mails that are in it are not evaluated again. It is to be deleted when
    /// rules or mails change.
    #[arg(long, value_name = "FILE")]
    theirs: Option<PathBuf>,
    /// Mails, or folders of them, each file one mail. Folders with .cf files that stand before them are rules, too.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    files: Vec<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: &Compare, io: &mut Io<'_>) -> Result<u8, Failure> {
    let more = args.files.iter().take_while(|path| holds_rules(path)).count();
    let (folders, mails) = args.files.split_at(more);
    let source = Source { rules: [&args.source.rules, folders].concat() };
    let rules = source.load()?;
    let files = scan::list(mails).map_err(Failure::Records)?;
    let oracles = Oracles::new(
        &sources(&source.rules, source.rules.is_empty())
            .map_err(|error| Failure::Records(error.to_string()))?,
    );
    let mut kept = Kept::open(args.theirs.as_deref())?;
    if files.iter().any(|file| !kept.known.contains_key(&key(file))) {
        // So that its absence is told once, and before everything else.
        oracles.start().map_err(Failure::Records)?;
    }
    let known = std::mem::take(&mut kept.known);
    let mut sums = Sums { limit: rules.required(), ..Sums::default() };
    let mut status = OK;
    let work = |file: &Path| -> Result<(Ours, Said, bool), String> {
        let outcome = evaluate(&rules, file, Limits::default(), None)?;
        let ours = Ours {
            score: outcome.score,
            names: names(&outcome, args.subrules).into_iter().map(str::to_owned).collect(),
        };
        match known.get(&key(file)) {
            Some(said) => Ok((ours, said.clone(), false)),
            None => Ok((ours, oracles.ask(file)?, true)),
        }
    };
    in_parallel(&files, work, |file, result| {
        let name = clean(&file.to_string_lossy(), 4096);
        match result {
            Ok((ours, theirs, new)) => {
                if new {
                    kept.keep(file, &theirs)?;
                }
                let difference = sums.add(&name, &ours, &theirs, args.subrules);
                match difference {
                    Some(text) if !args.quiet => writeln!(io.out, "{name}: {text}")?,
                    _ => {}
                }
            }
            Err(message) => {
                status = status.max(if message.starts_with(UNREADABLE) { TRY_LATER } else { NOT_DONE });
                writeln!(io.err, "{name}: {message}")?;
            }
        }
        Ok(())
    })?;
    sums.print(io)?;
    Ok(status.max(if sums.differ() { NOT_DONE } else { OK }))
}

/// What gatepost says of a mail.
struct Ours {
    score: f64,
    names: Vec<String>,
}

/// The name by which a mail stands in the file of what SpamAssassin says.
fn key(file: &Path) -> String {
    file.to_string_lossy().replace(['\t', '\n'], " ")
}

/// What SpamAssassin said before.
struct Kept {
    known: HashMap<String, Said>,
    file: Option<std::fs::File>,
}

impl Kept {
    fn open(path: Option<&Path>) -> Result<Kept, Failure> {
        let Some(path) = path else { return Ok(Kept { known: HashMap::new(), file: None }) };
        let failed = |error: std::io::Error| Failure::Records(format!("{}: {error}", path.display()));
        let mut known = HashMap::new();
        let file = OpenOptions::new().create(true).append(true).read(true).open(path).map_err(failed)?;
        let content = std::fs::read(path).map_err(failed)?;
        for line in String::from_utf8_lossy(&content).lines() {
            // A line that was cut off is no answer, and its mail is evaluated again.
            if let Some((name, rest)) = line.split_once('\t')
                && let Ok(said) = Said::parse(rest)
            {
                known.insert(name.to_owned(), said);
            }
        }
        Ok(Kept { known, file: Some(file) })
    }

    fn keep(&mut self, file: &Path, said: &Said) -> std::io::Result<()> {
        match &mut self.file {
            Some(kept) => writeln!(kept, "{}\t{}", key(file), said.line()),
            None => Ok(()),
        }
    }
}

/// What all mails came to.
#[derive(Default)]
struct Sums {
    /// Our limit.
    limit: f64,
    mails: u32,
    same_score: u32,
    same_class: u32,
    agree: u64,
    rules: BTreeMap<String, ByRule>,
}

/// How far a rule agrees.
#[derive(Default)]
struct ByRule {
    both: u32,
    /// SpamAssassin alone.
    missing: u32,
    /// gatepost alone.
    extra: u32,
    example: Option<String>,
}

impl Sums {
    /// What differs, in words.
    fn add(&mut self, file: &str, ours: &Ours, theirs: &Said, subrules: bool) -> Option<String> {
        self.mails += 1;
        let same_score = (ours.score - theirs.score).abs() <= SAME_SCORE + 1e-9;
        let same_class = (ours.score >= self.limit) == (theirs.score >= theirs.limit);
        self.same_score += u32::from(same_score);
        self.same_class += u32::from(same_class);
        let mut difference = Vec::new();
        if !same_score || !same_class {
            difference.push(format!("score {:.3}, SpamAssassin {:.3}", ours.score, theirs.score));
        }
        let their_names: Vec<&String> =
            theirs.names.iter().chain(theirs.subrules.iter().filter(|_| subrules)).collect();
        for name in &ours.names {
            let rule = self.rules.entry(name.clone()).or_default();
            if their_names.contains(&name) {
                rule.both += 1;
                self.agree += 1;
            } else {
                rule.extra += 1;
                rule.example.get_or_insert_with(|| file.to_owned());
                difference.push(format!("+{name}"));
            }
        }
        for name in their_names.into_iter().filter(|name| !ours.names.contains(name)) {
            let rule = self.rules.entry(name.clone()).or_default();
            rule.missing += 1;
            rule.example.get_or_insert_with(|| file.to_owned());
            difference.push(format!("-{name}"));
        }
        (!difference.is_empty()).then(|| difference.join(" "))
    }

    fn missing(&self) -> u64 {
        self.rules.values().map(|rule| u64::from(rule.missing)).sum()
    }

    fn extra(&self) -> u64 {
        self.rules.values().map(|rule| u64::from(rule.extra)).sum()
    }

    fn differ(&self) -> bool {
        self.missing() + self.extra() > 0 || self.same_score < self.mails || self.same_class < self.mails
    }

    fn print(&self, io: &mut Io<'_>) -> std::io::Result<()> {
        let percent = |part: f64, of: f64| if of > 0.0 { 100.0 * part / of } else { 100.0 };
        let (missing, extra) = (self.missing(), self.extra());
        let all = self.agree + missing + extra;
        writeln!(
            io.out,
            "{} mails, {all} hits of either: {:.3} % agree, {missing} missing (-), {extra} too many (+)",
            self.mails,
            percent(self.agree as f64, all as f64)
        )?;
        let share = |part: u32| percent(f64::from(part), f64::from(self.mails));
        writeln!(
            io.out,
            "score within {SAME_SCORE}: {:.2} % of mails; the same side of the limit: {:.2} %",
            share(self.same_score),
            share(self.same_class)
        )?;
        let mut differing: Vec<(&String, &ByRule)> =
            self.rules.iter().filter(|(_, rule)| rule.missing + rule.extra > 0).collect();
        differing.sort_by_key(|(_, rule)| std::cmp::Reverse(rule.missing + rule.extra));
        if !differing.is_empty() {
            writeln!(io.out, "\n MISSING TOO MANY    BOTH  RULE, AND A MAIL THAT SHOWS IT")?;
        }
        for (name, rule) in differing {
            let example = rule.example.as_deref().unwrap_or_default();
            writeln!(io.out, "{:8} {:8} {:7}  {name} {example}", rule.missing, rule.extra, rule.both)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_and_counted() {
        let said = |line: &str| Said::parse(line).unwrap();
        let ours = |score: f64, names: &[&str]| Ours {
            score,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut sums = Sums { limit: 5.0, ..Sums::default() };
        let same = sums.add("1", &ours(1.05, &["A"]), &said("ok\t1.1\t5\tA\t__S"), false);
        assert_eq!(same, None);
        assert!(!sums.differ());
        let other = sums.add("2", &ours(4.95, &["A", "C"]), &said("ok\t5.000\t5.000\tA,B\t"), false);
        assert_eq!(other.as_deref(), Some("score 4.950, SpamAssassin 5.000 +C -B"));
        let subrule = sums.add("3", &ours(0.0, &[]), &said("ok\t0\t5\t\t__S"), true);
        assert_eq!(subrule.as_deref(), Some("-__S"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut io = Io { out: &mut out, err: &mut err, input: &mut std::io::empty(), interactive: false };
        sums.print(&mut io).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = "3 mails, 5 hits of either: 40.000 % agree, 2 missing (-), 1 too many (+)\n\
                        score within 0.1: 100.00 % of mails; the same side of the limit: 66.67 %\n\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("       1        0       0  B 2\n"), "{text}");
    }

    #[test]
    fn what_was_said_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("theirs");
        let said = Said::parse("ok\t1.5\t5\tA,B\t").unwrap();
        let mut kept = Kept::open(Some(&path)).unwrap();
        assert!(kept.known.is_empty());
        kept.keep(Path::new("a\tb"), &said).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"c\tok\t1").unwrap();
        let kept = Kept::open(Some(&path)).unwrap();
        assert_eq!(kept.known.len(), 1, "what was cut off is asked again");
        assert_eq!(kept.known["a b"], said);
    }
}
