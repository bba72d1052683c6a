//! `gatepost rules bench`: how often rules hit, what that says, and how long they take, over folders of mail.

mod tally;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatepost_rules::conf::Rule;
use gatepost_rules::engine::Limits;
use serde::Serialize;

use self::tally::{Class, Frequency, Overlap, Seen, Tally};
use super::each::{UNREADABLE, evaluate_mail, in_parallel};
use super::{Failure, Io, NOT_DONE, OK, Source};
use crate::cli::scan;
use crate::records::text::clean;
use crate::resources::rules::Rules;

/// The most pairs of overlapping rules that are printed.
const MOST_OVERLAPS: usize = 100;

/// How often each rule hits spam and ham, and how long it takes; as SpamAssassin's mass-check and hit-frequencies.
///
/// Exit status: 0 done, 1 a mail or a rule could not be evaluated, 75 a folder cannot be read.
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    #[command(flatten)]
    source: Source,
    /// Mail that is spam: a folder, with all below it, or a file; may be given several times.
    #[arg(long, value_name = "FOLDER")]
    spam: Vec<PathBuf>,
    /// Mail that is none; may be given several times.
    #[arg(long, value_name = "FOLDER")]
    ham: Vec<PathBuf>,
    /// Subrules, whose names begin with two underscores, too.
    #[arg(long)]
    subrules: bool,
    /// The score from which a mail counts as spam. Default: the rules' required_score.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// How many of the slowest rules are shown.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    slowest: usize,
    /// Two rules overlap if so much of the mail that either hits is hit by both, in per cent.
    #[arg(long, value_name = "PERCENT", default_value_t = 90)]
    overlap: u8,
    /// Name the rules that never hit.
    #[arg(long)]
    dead: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// Mail that may be either.
    #[arg(value_name = "FOLDER")]
    files: Vec<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: &Bench, io: &mut Io<'_>) -> Result<u8, Failure> {
    if args.spam.is_empty() && args.ham.is_empty() && args.files.is_empty() {
        return Err(Failure::Usage("no mail is named: --spam FOLDER, --ham FOLDER, or FOLDER".into()));
    }
    let rules = args.source.load()?;
    let counted: Vec<&Rule> =
        rules.set.rules.values().filter(|rule| args.subrules || !rule.is_subrule()).collect();
    let threshold = args.threshold.unwrap_or_else(|| rules.required());
    let mut tally = Tally::new(counted.len(), threshold);
    let index: HashMap<&str, u32> = counted.iter().map(|rule| &*rule.name).zip(0..).collect();
    let mut status = OK;
    for (class, paths) in [(Class::Spam, &args.spam), (Class::Ham, &args.ham), (Class::Either, &args.files)] {
        let files = scan::list(paths).map_err(Failure::Records)?;
        let work = |file: &Path| see(&rules, &index, file);
        in_parallel(&files, work, |file, seen| {
            let name = || clean(&file.to_string_lossy(), 4096);
            match seen {
                Err(message) => {
                    writeln!(io.err, "{}: {message}", name())?;
                    status = NOT_DONE;
                }
                Ok((seen, faults)) => {
                    tally.add(class, &seen);
                    for fault in faults {
                        writeln!(io.err, "{}: {fault}", name())?;
                        status = NOT_DONE;
                    }
                }
            }
            Ok(())
        })?;
    }
    let told = Told::new(args, &tally, &counted);
    if args.json {
        let text = serde_json::to_string(&told).map_err(|error| Failure::Output(error.into()))?;
        writeln!(io.out, "{text}")?;
    } else {
        told.print(args, io)?;
    }
    Ok(status)
}

/// What one mail came to, and what could not be evaluated.
fn see(rules: &Rules, index: &HashMap<&str, u32>, file: &Path) -> Result<(Seen, Vec<String>), String> {
    let raw = std::fs::read(file).map_err(|error| format!("{UNREADABLE}: {error}"))?;
    let begun = std::time::Instant::now();
    let (outcome, read) = evaluate_mail(rules, raw, Limits { timed: true, ..Limits::default() }, None)?;
    let spent = begun.elapsed();
    let mut hits: Vec<u32> = outcome.hits.iter().filter_map(|hit| index.get(&*hit.name).copied()).collect();
    hits.sort_unstable();
    hits.dedup();
    let place = |(name, time): (&std::sync::Arc<str>, &Duration)| Some((*index.get(&**name)?, *time));
    let times = outcome.times.iter().filter_map(place).collect();
    let searched = outcome.times.values().sum();
    let faults = outcome.faults.iter();
    let faults = faults.map(|fault| format!("{}: {}", fault.rule, clean(&fault.message, 500))).collect();
    Ok((Seen { score: outcome.score, hits, times, read, spent, searched }, faults))
}

/// All of it, as JSON has it.
#[derive(Serialize)]
struct Told<'a> {
    /// Mails of each class.
    mails: u32,
    spam: u32,
    ham: u32,
    /// The score from which a mail counts as spam.
    threshold: f64,
    /// Mails that reach it.
    spam_found: u32,
    ham_found: u32,
    found: u32,
    /// Of all scores of a class.
    mean_spam_score: Option<f64>,
    mean_ham_score: Option<f64>,
    /// Of one mail, in microseconds: reading it, making texts and evaluating rules, of this searching with expressions.
    reading_us: f64,
    evaluating_us: f64,
    searching_us: f64,
    /// Rules that hit, the most useful first.
    rules: Vec<Row<'a>>,
    slowest: Vec<Slow<'a>>,
    overlapping: Vec<Both<'a>>,
    /// Whether there were more pairs of rules than could be counted.
    overlaps_left_out: bool,
    dead: Vec<&'a str>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    score: f64,
    #[serde(flatten)]
    frequency: Frequency,
    us: f64,
}

#[derive(Serialize)]
struct Slow<'a> {
    name: &'a str,
    /// Over all mails.
    us: f64,
    /// Mails on which it was tried.
    tried: u32,
}

#[derive(Serialize)]
struct Both<'a> {
    rules: [&'a str; 2],
    /// Mails that each hits, and both.
    hits: [u32; 2],
    both: u32,
}

impl<'a> Told<'a> {
    fn new(args: &Bench, tally: &Tally, counted: &[&'a Rule]) -> Told<'a> {
        let name = |id: u32| -> &'a str { counted.get(id as usize).map_or("", |rule| &rule.name) };
        let scores: Vec<f64> = counted.iter().map(|rule| rule.scores[0]).collect();
        let rows = tally.frequencies(&scores).into_iter().map(|(id, frequency)| Row {
            name: name(id),
            score: scores[id as usize],
            frequency,
            us: tally.micros(tally.time[id as usize]),
        });
        let mut slow: Vec<u32> =
            (0..counted.len() as u32).filter(|id| tally.tried[*id as usize] > 0).collect();
        slow.sort_by_key(|id| std::cmp::Reverse(tally.time[*id as usize]));
        let slow = slow.into_iter().take(args.slowest).map(|id| Slow {
            name: name(id),
            us: tally.micros(tally.time[id as usize]),
            tried: tally.tried[id as usize],
        });
        let both = |overlap: Overlap| Both {
            rules: overlap.rules.map(name),
            hits: overlap.hits,
            both: overlap.both,
        };
        let [spam, ham, _] = &tally.classes;
        Told {
            mails: tally.mails(),
            spam: spam.mails,
            ham: ham.mails,
            threshold: tally.threshold,
            spam_found: spam.found,
            ham_found: ham.found,
            found: tally.classes.iter().map(|class| class.found).sum(),
            mean_spam_score: spam.mean(),
            mean_ham_score: ham.mean(),
            reading_us: tally.micros(tally.read),
            evaluating_us: tally.micros(tally.spent.saturating_sub(tally.read)),
            searching_us: tally.micros(tally.searched),
            rules: rows.collect(),
            slowest: slow.collect(),
            overlapping: tally.overlaps(f64::from(args.overlap) / 100.0).into_iter().map(both).collect(),
            overlaps_left_out: tally.pairs_left_out,
            dead: tally.dead().map(name).collect(),
        }
    }

    fn print(&self, args: &Bench, io: &mut Io<'_>) -> std::io::Result<()> {
        let labelled = self.spam > 0 && self.ham > 0;
        writeln!(io.out, "{} mails, {} spam, {} ham", self.mails, self.spam, self.ham)?;
        self.print_totals(io)?;
        writeln!(
            io.out,
            "a mail: reading {:.0} µs, texts and rules {:.0} µs, of it expressions {:.0} µs",
            self.reading_us, self.evaluating_us, self.searching_us
        )?;
        writeln!(io.out)?;
        if labelled {
            writeln!(io.out, "OVERALL%    SPAM%     HAM%    S/O  RANK   SCORE  µs/MAIL  NAME")?;
        } else {
            writeln!(io.out, "OVERALL%   SCORE  µs/MAIL  NAME")?;
        }
        for row in &self.rules {
            let Row { name, score, frequency, us } = row;
            let overall = frequency.overall_percent;
            if let (true, Some(so), Some(rank)) = (labelled, frequency.s_o, frequency.rank) {
                let (spam, ham) = (frequency.spam_percent, frequency.ham_percent);
                write!(io.out, "{overall:8.4} {spam:8.4} {ham:8.4}  {so:5.3}  {rank:4.2} ")?;
            } else {
                write!(io.out, "{overall:8.4} ")?;
            }
            writeln!(io.out, "{score:7.3} {us:8.2}  {name}")?;
        }
        self.print_lists(args, io)
    }

    fn print_totals(&self, io: &mut Io<'_>) -> std::io::Result<()> {
        let percent = |part: u32, of: u32| 100.0 * f64::from(part) / f64::from(of.max(1));
        let threshold = self.threshold;
        if let Some(mean) = self.mean_spam_score {
            let missed = self.spam - self.spam_found;
            writeln!(
                io.out,
                "false negatives: {missed} of {} spam below {threshold} ({:.2} %); score on average {mean:.2}",
                self.spam,
                percent(missed, self.spam)
            )?;
        }
        if let Some(mean) = self.mean_ham_score {
            let (found, ham) = (self.ham_found, self.ham);
            writeln!(
                io.out,
                "false positives: {found} of {ham} ham at {threshold} or more ({:.2} %); score on average {mean:.2}",
                percent(found, ham)
            )?;
        }
        let (found, others) =
            (self.found - self.spam_found - self.ham_found, self.mails - self.spam - self.ham);
        if others > 0 {
            writeln!(
                io.out,
                "{found} of {others} mails that may be either at {threshold} or more ({:.2} %)",
                percent(found, others)
            )?;
        }
        Ok(())
    }

    fn print_lists(&self, args: &Bench, io: &mut Io<'_>) -> std::io::Result<()> {
        if !self.slowest.is_empty() {
            writeln!(io.out, "\nslowest:\n µs/MAIL    TRIED  NAME")?;
        }
        for Slow { name, us, tried } in &self.slowest {
            writeln!(io.out, "{us:8.2} {tried:8}  {name}")?;
        }
        if !self.overlapping.is_empty() {
            writeln!(io.out, "\noverlapping ({} % or more of what either hits):", args.overlap)?;
            writeln!(io.out, "    BOTH    FIRST   SECOND  NAMES")?;
        }
        for Both { rules, hits, both } in self.overlapping.iter().take(MOST_OVERLAPS) {
            writeln!(io.out, "{both:8} {:8} {:8}  {} {}", hits[0], hits[1], rules[0], rules[1])?;
        }
        if self.overlapping.len() > MOST_OVERLAPS {
            writeln!(io.out, "and {} pairs more", self.overlapping.len() - MOST_OVERLAPS)?;
        }
        if self.overlaps_left_out {
            writeln!(io.out, "there were too many pairs of rules; some were not counted")?;
        }
        let dead = self.dead.len();
        if args.dead {
            writeln!(io.out, "\ndead, {dead} rules that never hit:")?;
            self.dead.iter().try_for_each(|name| writeln!(io.out, "{name}"))
        } else {
            writeln!(io.out, "\ndead: {dead} rules never hit (--dead names them)")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn bench(json: bool) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let rules = "body WIN /win/\nscore WIN 6\nbody LOTTERY /lottery/\nscore LOTTERY 1\nbody WINS /w[i]n/\n\
                     score WINS 0.5\nbody NEVER /never/\nbody MEET /meet/\nscore MEET -1\nbody __SUB /win/\n";
        fs::write(path("a.cf"), rules).unwrap();
        for (name, mails) in [("spam", 10), ("ham", 20)] {
            fs::create_dir(path(name)).unwrap();
            for number in 0..mails {
                let text = match (name, number) {
                    ("spam", 0..8) => "win a lottery",
                    ("spam", _) => "lottery",
                    (_, 0) => "you win, meet me",
                    _ => "meet me",
                };
                let mail = format!("Subject: x\n\n{text}\n");
                fs::write(path(&format!("{name}/{number}")), mail).unwrap();
            }
        }
        let args = Bench {
            source: Source { rules: vec![path("a.cf")] },
            spam: vec![path("spam")],
            ham: vec![path("ham")],
            subrules: false,
            threshold: None,
            slowest: 2,
            overlap: 90,
            dead: true,
            json,
            files: Vec::new(),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut io = Io { out: &mut out, err: &mut err, input: &mut std::io::empty(), interactive: false };
        assert_eq!(run(&args, &mut io).unwrap(), OK);
        assert_eq!(err, b"");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn frequencies_totals_overlaps_and_dead_rules() {
        let text = bench(false);
        for line in [
            "30 mails, 10 spam, 20 ham",
            "false negatives: 2 of 10 spam below 5 (20.00 %); score on average 6.20",
            "false positives: 1 of 20 ham at 5 or more (5.00 %); score on average -0.68",
            "overlapping (90 % or more of what either hits):",
            "       9        9        9  WIN WINS",
            "dead, 1 rules that never hit:",
            "NEVER",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let row = |name: &str| -> Vec<&str> {
            let line = text.lines().find(|line| line.ends_with(&format!(" {name}"))).unwrap();
            line.split_whitespace().collect()
        };
        assert_eq!(row("LOTTERY")[..6], ["33.3333", "100.0000", "0.0000", "1.000", "1.00", "1.000"]);
        assert_eq!(row("WIN")[..4], ["30.0000", "80.0000", "5.0000", "0.941"]);
        assert!(!text.contains("__SUB"), "{text}");
        assert_eq!(text.lines().filter(|line| line.ends_with(" 9  WIN WINS")).count(), 1);
    }

    #[test]
    fn as_json() {
        let value: serde_json::Value = serde_json::from_str(&bench(true)).unwrap();
        assert_eq!(value["ham_found"], 1);
        assert_eq!(value["dead"], serde_json::json!(["NEVER"]));
        let rules = value["rules"].as_array().unwrap();
        assert_eq!(rules.len(), 4);
        let meet = rules.iter().find(|rule| rule["name"] == "MEET").unwrap();
        assert_eq!((&meet["ham_hits"], &meet["spam_hits"]), (&20.into(), &0.into()));
        assert!(meet["rank"].as_f64().unwrap() > 0.9, "a rule for ham that hits ham is useful: {meet}");
        assert_eq!(value["slowest"].as_array().unwrap().len(), 2);
    }
}
