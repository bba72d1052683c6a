//! `gatepost update`: fetches the rules and hash lists of `[update.source.NAME]`.
//!
//! Exit statuses are those of sa-update where it has them: 0 something new, 1 nothing new, 3 something new and something
//! failed, 4 something failed and nothing is new; 2 wrong usage or configuration, 75 somebody else is updating.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{NOT_DONE, OK, TRY_LATER};
use crate::config::load;
use crate::records::text::clean;
use crate::updating::{Manner, Outcome, Unable, Updater};

/// Something new, and something failed.
const PARTLY: u8 = 3;
/// Something failed, and nothing is new.
const FAILED: u8 = 4;

/// Fetch rules and hash lists, verify and try them, and install what is new.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file of the daemon; without one the embedded defaults
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only these sources
    #[arg(value_name = "NAME")]
    sources: Vec<String>,
    /// Fetch, verify and try, but install nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Fetch what has not changed, too, and take what was signed before the one that is installed
    #[arg(long)]
    force: bool,
}

/// Runs it. A running daemon takes what is installed within seconds.
pub async fn run(args: Args) -> ExitCode {
    let loaded = match load::load(args.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(problems) => return super::configuration_error(&problems),
    };
    let updater = match Updater::build(&loaded.config) {
        Ok(updater) => updater,
        Err(why) => return super::usage_error(&why),
    };
    let names: Vec<&str> = updater.names().collect();
    if names.is_empty() {
        return super::usage_error("nothing is configured to be fetched: there is no [update.source.NAME]");
    }
    if let Some(unknown) = args.sources.iter().find(|name| !names.contains(&name.as_str())) {
        let message = format!("“{}” is none of {}", clean(unknown, 64), names.join(", "));
        return super::usage_error(&message);
    }
    let manner = Manner { dry_run: args.dry_run, force: args.force };
    let done = updater.round(&args.sources, manner, |name, outcome| tell(name, outcome, manner)).await;
    ExitCode::from(match done {
        Ok(outcomes) => status(&outcomes),
        Err(Unable::Busy) => {
            eprintln!("gatepost: an update is under way already");
            TRY_LATER
        }
        Err(Unable::Folder(why)) => {
            eprintln!("gatepost: {why}");
            FAILED
        }
    })
}

fn tell(name: &str, outcome: &Outcome, manner: Manner) {
    // Where nobody reads it there is nothing to be told.
    let _ = match outcome {
        Outcome::New(what) if manner.dry_run => {
            writeln!(std::io::stdout(), "{name}: new, not installed: {what}")
        }
        Outcome::New(what) => writeln!(std::io::stdout(), "{name}: new: {what}"),
        Outcome::Same => writeln!(std::io::stdout(), "{name}: nothing new"),
        Outcome::Failed(why) => {
            writeln!(std::io::stderr(), "{name}: failed, what is installed stays: {}", clean(why, 1000))
        }
    };
}

fn status(outcomes: &[Outcome]) -> u8 {
    let new = outcomes.iter().any(|outcome| matches!(outcome, Outcome::New(_)));
    let failed = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_)));
    match (new, failed) {
        (true, false) => OK,
        (false, false) => NOT_DONE,
        (true, true) => PARTLY,
        (false, true) => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_sa_update() {
        let (new, same) = (Outcome::New(String::new()), Outcome::Same);
        let failed = Outcome::Failed(String::new());
        for (outcomes, expected) in [
            (vec![], 1),
            (vec![same.clone()], 1),
            (vec![same.clone(), new.clone()], 0),
            (vec![failed.clone(), new, same.clone()], 3),
            (vec![same, failed], 4),
        ] {
            assert_eq!(status(&outcomes), expected, "{outcomes:?}");
        }
    }
}
