//! `gatepost rules explain`: what each rule found, and where.

use std::path::PathBuf;

use gatepost_rules::engine::{Hit, Limits};

use super::each::evaluate;
use super::network::Network;
use super::{Failure, Io, NOT_DONE, OK, Source};
use crate::records::text::clean;

/// What each rule found in mails, and where.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    network: Network,
    /// Mails.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: &Explain, io: &mut Io<'_>) -> Result<u8, Failure> {
    let rules = args.source.load_for(args.network.network)?;
    let asker = args.network.asker()?;
    let mut status = OK;
    for file in &args.files {
        let outcome = match evaluate(&rules, file, Limits::default(), asker.as_ref()) {
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
