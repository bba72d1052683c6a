//! `gatepost rules list` and `show`: the rules themselves.

use gatepost_rules::conf::Rule;

use super::{Failure, Io, NOT_DONE, OK, Source};
use crate::records::text::clean;

/// One rule as it is understood.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    source: Source,
    /// Names of rules.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// All rules but subrules, a line each.
pub(super) fn run(source: &Source, io: &mut Io<'_>) -> Result<u8, Failure> {
    let rules = source.load()?;
    for rule in rules.set.rules.values().filter(|rule| !rule.is_subrule()) {
        writeln!(io.out, "{}\t{}\t{}", rule.name, rule.scores[0], describe(rule))?;
    }
    Ok(OK)
}

/// The rules that are named.
pub(super) fn show(args: &Show, io: &mut Io<'_>) -> Result<u8, Failure> {
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
