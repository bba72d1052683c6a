//! `gatepost rules lint`: what is wrong with rules.

use gatepost_rules::evals::is_native;
use gatepost_rules::lint::Lint;

use super::{Failure, Io, NOT_DONE, OK, Source};

/// Runs it.
pub(super) fn run(source: &Source, io: &mut Io<'_>) -> Result<u8, Failure> {
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
