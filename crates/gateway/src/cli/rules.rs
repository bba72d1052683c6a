//! `gatepost rules`: what rules in SpamAssassin's language say about mail, for those who write them. Asks nothing over the
//! network.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use clap::Subcommand;
use gatepost_mail::{Budget, Message};
use gatepost_rules::conf::Rule;
use gatepost_rules::engine::{Hit, Limits, Outcome};
use gatepost_rules::evals::{Known, Native, is_native};
use gatepost_rules::lint::Lint;
use gatepost_rules::texts::{Given, Texts};

use super::{Failure, Io, NOT_DONE, OK, TRY_LATER, finish, scan};
use crate::records::text::clean;
use crate::resources::rules::Rules;

/// Rules in SpamAssassin's language: what they find, and what is wrong with them.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Hits(Hits),
    Explain(Explain),
    Lint(Source),
    List(Source),
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Source {
    /// Folder of .cf and .pre files, or one such file; may be given several times, in the order in which they count.
    /// Default: the rules that gatepost brings.
    #[arg(long = "rules", value_name = "FOLDER")]
    rules: Vec<PathBuf>,
}

/// Which rules hit: a line for each mail, with its file, score, and the rules, by name, comma between; tabs between the three.
///
/// Exit status: 0 done, 1 a mail or a rule could not be evaluated, 75 a file cannot be read.
#[derive(Debug, clap::Args)]
struct Hits {
    #[command(flatten)]
    source: Source,
    /// Show subrules, whose names begin with two underscores, too.
    #[arg(long)]
    subrules: bool,
    /// Mails, or folders of them, each file one mail. Folders with .cf files that stand before them are rules, too.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    files: Vec<PathBuf>,
}

/// What each rule found in mails, and where.
#[derive(Debug, clap::Args)]
struct Explain {
    #[command(flatten)]
    source: Source,
    /// Mails.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// One rule as it is understood.
#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    source: Source,
    /// Names of rules.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Runs it.
pub fn run(args: Args) -> ExitCode {
    let mut io = Io {
        out: &mut io::stdout().lock(),
        err: &mut io::stderr().lock(),
        input: &mut io::empty(),
        interactive: false,
    };
    let result = match args.command {
        Command::Hits(args) => hits(&args, &mut io),
        Command::Explain(args) => explain(&args, &mut io),
        Command::Lint(source) => lint(&source, &mut io),
        Command::List(source) => list(&source, &mut io),
        Command::Show(args) => show(&args, &mut io),
    };
    ExitCode::from(finish(result, &mut io))
}

impl Source {
    fn load(&self) -> Result<Rules, Failure> {
        Rules::load(&self.rules, false).map_err(|error| Failure::Records(error.to_string()))
    }
}

/// What evaluating one file came to.
type Evaluated = Result<Outcome, String>;

fn hits(args: &Hits, io: &mut Io<'_>) -> Result<u8, Failure> {
    // `--rules A B MAIL...` means both A and B.
    let more = args.files.iter().take_while(|path| holds_rules(path)).count();
    let (folders, mails) = args.files.split_at(more);
    let source = Source { rules: [&args.source.rules, folders].concat() };
    let rules = source.load()?;
    let files = scan::list(mails).map_err(Failure::Records)?;
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, |many| many.get()).min(files.len().max(1));
    let (sender, results) = mpsc::sync_channel::<(usize, Evaluated)>(threads * 64);
    let mut status = OK;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, rules, files, next) = (sender.clone(), &rules, &files, &next);
            scope.spawn(move || {
                while let place = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(file) = files.get(place)
                    && sender.send((place, evaluate(rules, file))).is_ok()
                {}
            });
        }
        drop(sender);
        // In the order of the files, whichever is ready first.
        let mut waiting = BTreeMap::new();
        let mut due = 0;
        for (place, result) in results {
            waiting.insert(place, result);
            while let Some(result) = waiting.remove(&due) {
                status = status.max(tell(&files[due], &result, args.subrules, io)?);
                due += 1;
            }
        }
        Ok::<_, Failure>(())
    })?;
    Ok(status)
}

fn holds_rules(path: &Path) -> bool {
    let is_rules = |entry: io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "cf"))
    };
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.any(is_rules))
}

/// Prints one line, and what went wrong.
fn tell(file: &Path, result: &Evaluated, subrules: bool, io: &mut Io<'_>) -> Result<u8, Failure> {
    let name = clean(&file.to_string_lossy(), 4096);
    match result {
        Err(message) => {
            writeln!(io.err, "{name}: {message}")?;
            Ok(if message.starts_with("cannot be read") { TRY_LATER } else { NOT_DONE })
        }
        Ok(outcome) => {
            let shown = |hit: &&Hit| subrules || !hit.name.starts_with("__");
            let mut names: Vec<&str> = outcome.hits.iter().filter(shown).map(|hit| &*hit.name).collect();
            names.sort_unstable();
            names.dedup();
            writeln!(io.out, "{name}\t{:.3}\t{}", outcome.score, names.join(","))?;
            for fault in &outcome.faults {
                writeln!(io.err, "{name}: {}: {}", fault.rule, clean(&fault.message, 500))?;
            }
            Ok(if outcome.faults.is_empty() { OK } else { NOT_DONE })
        }
    }
}

/// A panic is a mistake of ours, and costs one mail.
fn evaluate(rules: &Rules, file: &Path) -> Evaluated {
    let raw = std::fs::read(file).map_err(|error| format!("cannot be read: {error}"))?;
    let evaluated = catch_unwind(AssertUnwindSafe(|| {
        let limits = gatepost_mail::Limits::default();
        let message = Message::read(raw.into(), &mut Budget::new(&limits));
        let given = Given { now: jiff::Timestamp::now().as_second(), ..Given::default() };
        let texts = Texts::new(&message, given, &rules.texts);
        let known = Known::default();
        let evals = Native::new(&texts, rules.engine.settings(), &known, &rules.patterns);
        rules.engine.evaluate(&texts, &evals, Limits::default())
    }));
    evaluated.map_err(|_| "the evaluation broke off: please report this mail".to_owned())
}

fn explain(args: &Explain, io: &mut Io<'_>) -> Result<u8, Failure> {
    let rules = args.source.load()?;
    let mut status = OK;
    for file in &args.files {
        let outcome = match evaluate(&rules, file) {
            Ok(outcome) => outcome,
            Err(message) => {
                writeln!(io.err, "{}: {message}", file.display())?;
                status = NOT_DONE;
                continue;
            }
        };
        writeln!(io.out, "{}: {:.3} points", file.display(), outcome.score)?;
        for hit in &outcome.hits {
            explain_hit(hit, io)?;
        }
        for fault in &outcome.faults {
            writeln!(io.out, "  {} could not be evaluated: {}", fault.rule, clean(&fault.message, 500))?;
            status = NOT_DONE;
        }
        if !outcome.unknown.is_empty() {
            writeln!(io.out, "  not native, so without answer: {}", outcome.unknown.join(", "))?;
        }
    }
    Ok(status)
}

fn explain_hit(hit: &Hit, io: &mut Io<'_>) -> Result<(), Failure> {
    let times = if hit.times > 1 { format!(" {} times", hit.times) } else { String::new() };
    let description = hit.description.as_deref().unwrap_or_default();
    writeln!(io.out, "  {:>7.3} {}{times} {}{description}", hit.score, hit.name, hit.area.prefix())?;
    if let Some(evidence) = &hit.evidence {
        let text = clean(&String::from_utf8_lossy(&evidence.text), 200);
        let range = &evidence.range;
        writeln!(
            io.out,
            "          “{text}”, piece {}, bytes {}–{}",
            evidence.chunk, range.start, range.end
        )?;
    }
    for found in &hit.found {
        writeln!(io.out, "          {}", clean(found, 200))?;
    }
    Ok(())
}

fn lint(source: &Source, io: &mut Io<'_>) -> Result<u8, Failure> {
    let rules = source.load()?;
    let lint = Lint::of(&rules.set, &rules.engine, &is_native);
    for warning in &lint.warnings {
        writeln!(io.out, "{warning}")?;
    }
    let kinds: Vec<String> = lint.kinds.iter().map(|(kind, many)| format!("{many} {kind}")).collect();
    writeln!(io.out, "{} rules: {}", rules.set.rules.len(), kinds.join(", "))?;
    writeln!(
        io.out,
        "expressions: {} in linear time, {} by PCRE2, {} that cannot be used",
        lint.linear,
        lint.backtracking,
        lint.unusable.len()
    )?;
    for (function, callers) in &lint.not_native {
        writeln!(io.out, "not native: {function} ({} rules)", callers.len())?;
    }
    Ok(if lint.errors == 0 { OK } else { NOT_DONE })
}

fn list(source: &Source, io: &mut Io<'_>) -> Result<u8, Failure> {
    let rules = source.load()?;
    for rule in rules.set.rules.values().filter(|rule| !rule.is_subrule()) {
        writeln!(io.out, "{}\t{}\t{}", rule.name, rule.scores[0], describe(rule))?;
    }
    Ok(OK)
}

fn show(args: &Show, io: &mut Io<'_>) -> Result<u8, Failure> {
    let rules = args.source.load()?;
    let mut status = OK;
    for name in &args.names {
        let Some(rule) = rules.set.rules.get(name.as_str()) else {
            writeln!(io.err, "there is no rule {}", clean(name, 100))?;
            status = NOT_DONE;
            continue;
        };
        writeln!(io.out, "{} ({}:{}) {}", rule.name, rule.file, rule.line, describe(rule))?;
        writeln!(io.out, "  scores {:?}, priority {}", rule.scores, rule.priority)?;
        if !rule.tflags.is_empty() {
            writeln!(io.out, "  tflags {}", rule.tflags.join(" "))?;
        }
        writeln!(io.out, "  {:?}", rule.definition)?;
    }
    Ok(status)
}

fn describe(rule: &Rule) -> String {
    rule.description.as_deref().map(|text| clean(text, 300)).unwrap_or_default()
}
