//! Evaluates rules over mail, without the network.
//!
//! `hits RULES... -- MAIL...`: files or folders of rules in the order in which they count; files or folders of mail. Prints a
//! line for each mail: its file, its score, the rules that hit. `GATEPOST_SUBRULES=1` shows subrules as well, and
//! `GATEPOST_TIMES=1` tells on the standard error what takes time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gatepost_mail::{Budget, Limits as ReadingLimits, Message};
use gatepost_rules::conf::{Options, Reader};
use gatepost_rules::engine::{Engine, Limits, ScoreSet};
use gatepost_rules::evals::{Known, Native, Patterns};
use gatepost_rules::subject::text_settings;
use gatepost_rules::texts::{Given, Texts};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rules: Vec<PathBuf> =
        arguments.by_ref().take_while(|word| word != "--").flat_map(files_of_rules).collect();
    let mail: Vec<PathBuf> = arguments.flat_map(|path| files(Path::new(&path))).collect();
    let begun = Instant::now();
    let mut reader = Reader::new(Options { local: true, ..Options::default() });
    for path in &rules {
        match std::fs::read(path) {
            Ok(text) => {
                let mut include = |name: &str| std::fs::read(name).map_err(|error| error.to_string());
                reader.read(&path.to_string_lossy(), &text, &mut include);
            }
            Err(error) => eprintln!("{}: {error}", path.display()),
        }
    }
    let set = reader.finish();
    set.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    let read = begun.elapsed();
    let engine = Engine::new(&set, ScoreSet::default());
    let settings = text_settings(&set.settings);
    let subrules = std::env::var_os("GATEPOST_SUBRULES").is_some();
    let times = std::env::var_os("GATEPOST_TIMES").is_some();
    if times {
        let (built, memory) = (begun.elapsed() - read, engine.prefilter_memory() / 1024);
        eprintln!(
            "{} rules: read {read:?}, made ready {built:?}, literal texts {memory} kB",
            set.rules.len()
        );
        eprintln!("tried on every text: {}", engine.always_tried().len());
    }
    let (known, patterns) = (Known::default(), Patterns::default());
    let mut by_rule = Times::new();
    engine.warm().iter().for_each(|problem| eprintln!("{}: {}", problem.rule, problem.message));
    if times {
        eprintln!("all compiled after {:?}", begun.elapsed());
    }
    let (mut making, mut evaluating) = (Duration::ZERO, Duration::ZERO);
    for path in &mail {
        let Ok(raw) = std::fs::read(path) else { continue };
        let limits = ReadingLimits::default();
        let message = Message::read(raw.into(), &mut Budget::new(&limits));
        let begun = Instant::now();
        let texts = Texts::new(&message, Given::default(), &settings);
        let _ = (texts.body().len(), texts.rawbody().len(), texts.uris().len(), texts.relays());
        making += begun.elapsed();
        let begun = Instant::now();
        let evals = Native::new(&texts, engine.settings(), &known, &patterns);
        let outcome = engine.evaluate(&texts, &evals, Limits { timed: times, ..Limits::default() });
        evaluating += begun.elapsed();
        for (name, time) in &outcome.times {
            let entry: &mut (Duration, u32) = by_rule.entry(name.clone()).or_default();
            (entry.0, entry.1) = (entry.0 + *time, entry.1 + 1);
        }
        let mut names: Vec<&str> = outcome
            .hits
            .iter()
            .map(|hit| &*hit.name)
            .filter(|name| subrules || !name.starts_with("__"))
            .collect();
        names.sort_unstable();
        names.dedup();
        println!("{}\t{:.3}\t{}", path.display(), outcome.score, names.join(","));
        outcome
            .faults
            .iter()
            .for_each(|fault| eprintln!("{}: {}: {}", path.display(), fault.rule, fault.message));
    }
    if times && !mail.is_empty() {
        tell_times(mail.len() as u32, making, evaluating, by_rule);
    }
}

type Times = std::collections::HashMap<std::sync::Arc<str>, (Duration, u32)>;

fn tell_times(count: u32, making: Duration, evaluating: Duration, by_rule: Times) {
    eprintln!("{count} mails: texts {:?}, rules {:?} each", making / count, evaluating / count);
    let mut slow: Vec<_> = by_rule.into_iter().collect();
    slow.sort_by_key(|(_, (time, _))| std::cmp::Reverse(*time));
    let sum: Duration = slow.iter().map(|(_, (time, _))| *time).sum();
    eprintln!("in expressions {:?} each, of {} rules; the slowest:", sum / count, slow.len());
    for (name, (time, tried)) in slow.iter().take(60) {
        eprintln!("{:>9.2?} {tried:>6} {name}", *time / count);
    }
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
