//! `gatepost rules hits`: which rules hit, a line for each mail.

use std::path::{Path, PathBuf};

use gatepost_rules::engine::Limits;

use super::each::{Evaluated, UNREADABLE, evaluate, in_parallel, names};
use super::network::Network;
use super::{Failure, Io, NOT_DONE, OK, Source, TRY_LATER, holds_rules};
use crate::cli::scan;
use crate::records::text::clean;

/// Which rules hit: a line for each mail, with its file, score, and the rules, by name, comma between; tabs between the three.
///
/// Exit status: 0 done, 1 a mail or a rule could not be evaluated, 75 a file cannot be read.
#[derive(Debug, clap::Args)]
pub(super) struct Hits {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    network: Network,
    /// Show subrules, whose names begin with two underscores, too.
    #[arg(long)]
    subrules: bool,
    /// Mails, or folders of them, each file one mail. Folders with .cf files that stand before them are rules, too.
    #[arg(required = true, value_name = "FILE|FOLDER")]
    files: Vec<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: &Hits, io: &mut Io<'_>) -> Result<u8, Failure> {
    // `--rules A B MAIL...` means both A and B.
    let more = args.files.iter().take_while(|path| holds_rules(path)).count();
    let (folders, mails) = args.files.split_at(more);
    let source = Source { rules: [&args.source.rules, folders].concat() };
    let rules = source.load_for(args.network.network)?;
    let asker = args.network.asker()?;
    let files = scan::list(mails).map_err(Failure::Records)?;
    let mut status = OK;
    let work = |file: &Path| evaluate(&rules, file, Limits::default(), asker.as_ref());
    in_parallel(&files, work, |file, result| {
        status = status.max(tell(file, &result, args.subrules, io)?);
        Ok(())
    })?;
    Ok(status)
}

/// Prints one line, and what went wrong.
fn tell(file: &Path, result: &Evaluated, subrules: bool, io: &mut Io<'_>) -> Result<u8, Failure> {
    let name = clean(&file.to_string_lossy(), 4096);
    match result {
        Err(message) => {
            writeln!(io.err, "{name}: {message}")?;
            Ok(if message.starts_with(UNREADABLE) { TRY_LATER } else { NOT_DONE })
        }
        Ok(outcome) => {
            let names = names(outcome, subrules);
            writeln!(io.out, "{name}\t{:.3}\t{}", outcome.score, names.join(","))?;
            for fault in &outcome.faults {
                writeln!(io.err, "{name}: {}: {}", fault.rule, clean(&fault.message, 500))?;
            }
            Ok(if outcome.faults.is_empty() { OK } else { NOT_DONE })
        }
    }
}
