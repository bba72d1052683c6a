//! Measures the engine: `speed [--dump] RULES... -- MAIL...`, rules and mail as files or folders.
//!
//! Prints how long reading and making ready take, resident memory, and the processor time of a message, in the parts of which
//! it is made. With `--dump`, everything that each evaluation comes to is written to the standard output instead, to be
//! compared with that of another version. `GATEPOST_TIMES=1` adds the time of each rule, `ROUNDS` and `THREADS` say how often
//! and by how many at once the mails are gone through.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gatepost_mail::{Budget, Limits as ReadingLimits, Message};
use gatepost_rules::conf::{Options, Reader};
use gatepost_rules::engine::{Engine, Limits, Outcome, ScoreSet};
use gatepost_rules::evals::{Known, Native, Patterns};
use gatepost_rules::subject::text_settings;
use gatepost_rules::texts::{Given, TextSettings, Texts};

type Times = std::collections::HashMap<std::sync::Arc<str>, (Duration, u32)>;

#[derive(Default)]
struct Spent {
    reading: Duration,
    making: Duration,
    evaluating: Duration,
    by_rule: Times,
    hits: usize,
}

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let dump = arguments.next_if(|word| word == "--dump").is_some();
    let rules: Vec<PathBuf> =
        arguments.by_ref().take_while(|word| word != "--").flat_map(files_of_rules).collect();
    let mail: Vec<PathBuf> = arguments.flat_map(|path| files(Path::new(&path))).collect();
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(1usize);
    let (rounds, threads) = (number("ROUNDS"), number("THREADS"));
    let timed = std::env::var_os("GATEPOST_TIMES").is_some();
    let before = resident();
    let begun = Instant::now();
    let mut reader = Reader::new(Options { local: true, ..Options::default() });
    for path in &rules {
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        reader.read(&path.to_string_lossy(), &text, &mut |name| {
            std::fs::read(name).map_err(|error| error.to_string())
        });
    }
    let set = reader.finish();
    let read = begun.elapsed();
    let engine = Engine::new(&set, ScoreSet::default());
    let built = begun.elapsed() - read;
    let settings = text_settings(&set.settings);
    let loaded = resident();
    let problems = engine.warm();
    problems.iter().for_each(|problem| eprintln!("{}: {}", problem.rule, problem.message));
    eprintln!(
        "{} rules: read {read:?}, made ready {built:?}, all with compiling {:?}; literal texts {} kB; always tried {}",
        set.rules.len(),
        begun.elapsed(),
        engine.prefilter_memory() / 1024,
        engine.always_tried().len(),
    );
    eprintln!("resident kB: {before} before, {loaded} read and ready, {} compiled", resident());
    let raw: Vec<(PathBuf, bytes::Bytes)> =
        mail.into_iter().filter_map(|path| Some((path.clone(), std::fs::read(&path).ok()?.into()))).collect();
    let held = resident();
    let patterns = Patterns::default();
    let work = |share: usize| {
        let mut spent = Spent::default();
        for _ in 0..rounds {
            for (path, raw) in raw.iter().skip(share).step_by(threads) {
                one(&engine, &settings, &patterns, (path, raw), (dump, timed), &mut spent);
            }
        }
        spent
    };
    let (cpu, begun) = (cpu_time(), Instant::now());
    let all: Vec<Spent> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|share| scope.spawn(move || work(share))).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (cpu, count) = (cpu_time() - cpu, (raw.len() * rounds).max(1) as u32);
    eprintln!(
        "{count} mails, {threads} threads: CPU {:.4} ms each, {:.0} a second, {} kB more resident",
        cpu / f64::from(count) * 1e3,
        f64::from(count) / begun.elapsed().as_secs_f64(),
        resident() as i64 - held as i64,
    );
    let sum = |of: fn(&Spent) -> Duration| all.iter().map(of).sum::<Duration>() / count;
    eprintln!(
        "reading {:?}, texts {:?}, rules {:?}; {} hits",
        sum(|s| s.reading),
        sum(|s| s.making),
        sum(|s| s.evaluating),
        all.iter().map(|spent| spent.hits).sum::<usize>()
    );
    if timed {
        all.into_iter().for_each(|spent| tell_times(count, spent.by_rule));
    }
}

fn one(
    engine: &Engine,
    settings: &TextSettings,
    patterns: &Patterns,
    (path, raw): (&Path, &bytes::Bytes),
    (dump, timed): (bool, bool),
    spent: &mut Spent,
) {
    let known = Known::default();
    let begun = Instant::now();
    let limits = ReadingLimits::default();
    let message = Message::read(raw.clone(), &mut Budget::new(&limits));
    let read = begun.elapsed();
    let texts = Texts::new(&message, Given::default(), settings);
    let _ = (texts.body().len(), texts.rawbody().len(), texts.uris().len(), texts.relays());
    let made = begun.elapsed();
    let evals = Native::new(&texts, engine.settings(), &known, patterns);
    let outcome = engine.evaluate(&texts, &evals, Limits { timed, ..Limits::default() });
    spent.evaluating += begun.elapsed() - made;
    spent.making += made - read;
    spent.reading += read;
    spent.hits += outcome.hits.len();
    for (name, time) in &outcome.times {
        let entry = spent.by_rule.entry(name.clone()).or_default();
        (entry.0, entry.1) = (entry.0 + *time, entry.1 + 1);
    }
    if dump {
        tell(path, &outcome);
    }
}

fn tell(path: &Path, outcome: &Outcome) {
    println!("{} {:.6} {:?}", path.display(), outcome.score, outcome.shortcircuit);
    for hit in &outcome.hits {
        let evidence =
            hit.evidence.as_ref().map(|at| (at.chunk, &at.range, at.text.escape_ascii().to_string()));
        println!(
            "  {} {} {} {} {:?} {evidence:?} {:?} {:?}",
            hit.name, hit.score, hit.times, hit.value, hit.area, hit.found, hit.description
        );
    }
    let mut tags: Vec<_> = outcome.tags.iter().collect();
    tags.sort();
    tags.iter().for_each(|(name, values)| println!("  tag {name} {values:?}"));
    outcome.faults.iter().for_each(|fault| println!("  fault {} {}", fault.rule, fault.message));
}

fn tell_times(count: u32, by_rule: Times) {
    let mut slow: Vec<_> = by_rule.into_iter().collect();
    slow.sort_by_key(|(_, (time, _))| std::cmp::Reverse(*time));
    let sum: Duration = slow.iter().map(|(_, (time, _))| *time).sum();
    let tries: u32 = slow.iter().map(|(_, (_, tried))| *tried).sum();
    eprintln!(
        "in expressions {:?} each, of {} rules, {} tries each; the slowest:",
        sum / count,
        slow.len(),
        tries / count
    );
    for (name, (time, tried)) in &slow {
        eprintln!("{:>9.2?} {tried:>6} {name}", *time / count);
    }
}

/// Resident memory, in kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Processor time of this process, ended threads among it, in seconds.
fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: f64 = fields.skip(11).take(2).filter_map(|text| text.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// .pre files before .cf files.
fn files_of_rules(path: String) -> Vec<PathBuf> {
    let mut found = files(Path::new(&path));
    if Path::new(&path).is_dir() {
        found.retain(|file| file.extension().is_some_and(|end| end == "cf" || end == "pre"));
        found.sort_by_key(|file| (file.extension().is_some_and(|end| end == "cf"), file.clone()));
    }
    found
}

fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else { return vec![path.to_path_buf()] };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.iter().flat_map(|path| files(path)).collect()
}
