//! Rules in SpamAssassin's language: what is wrong in the files, and what in them does not count here.

use std::collections::BTreeSet;

use super::Line;
use crate::checks::catalogue;
use crate::config::{Config, Problem};
use crate::resources::rules::{Live, Rules, Source};
use crate::verdict::{Policies, RuleNames};

/// Most mistakes that are told one by one.
const MAX_TOLD: usize = 20;

/// The files that `checks.rules.paths` names, if it names any.
pub(super) fn lines(config: &Config) -> Vec<Line> {
    const WHAT: &str = "rules";
    let settings = &config.checks.rules;
    if !settings.enabled || settings.paths.is_empty() {
        return Vec::new();
    }
    let live = match Live::open(Source::of(config)) {
        Ok(live) => live,
        Err(why) => return vec![Line::bad(WHAT, why)],
    };
    let rules = live.rules();
    let mut lines = vec![Line::of(WHAT, live.state())];
    lines.extend(live.missing().iter().map(|path| {
        let detail =
            format!("{} holds no rules yet; those that an update installs there will count", path.display());
        Line::doubtful(WHAT, detail)
    }));
    lines.extend(rules.mistakes.iter().take(MAX_TOLD).map(|mistake| Line::doubtful(WHAT, mistake)));
    if rules.mistakes.len() > MAX_TOLD {
        let more = rules.mistakes.len() - MAX_TOLD;
        lines.push(Line::doubtful(WHAT, format!("{more} more mistakes; gatepost rules lint tells all")));
    }
    let required = rules.set.settings.get("required_score");
    if let Some(score) = required.filter(|_| rules.set.settings.is_set("required_score"))
        && config.default_policy.spammy_at.is_none()
    {
        let detail = format!("required_score {score} does not count here. Set `default_policy.spammy_at`");
        lines.push(Line::doubtful(WHAT, detail));
    }
    let told =
        |Problem { key, message }: &Problem| Line::doubtful("configuration", format!("{key}: {message}"));
    lines.extend(doubtful(config, &rules).iter().map(told));
    lines
}

/// Names of symbols that nothing finds now.
fn doubtful(config: &Config, rules: &Rules) -> Vec<Problem> {
    let symbols = catalogue::symbols(config);
    let known = symbols.iter().map(|symbol| (symbol.name.as_ref(), symbol.counts));
    let names: BTreeSet<Box<str>> = rules.set.rules.keys().cloned().collect();
    let policies = Policies::with_rules(config, known, &RuleNames { names, change: true });
    // What is wrong besides was told before.
    policies.map(|policies| policies.doubtful().to_vec()).unwrap_or_default()
}
