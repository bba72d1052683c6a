//! What is told of a verdict: the names of what was found, and a report for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use gatepost_mail::{Finding, Points, Verdict};

use crate::pipeline::Judged;
use crate::records::text::clean;
use crate::verdict::Opinion;

/// Longest evidence in a report, in characters.
const MAX_EVIDENCE: usize = 200;

/// Most symbols in a list, and lines in a report. There are fewer in the catalogue, but own lists add to it.
const MOST: usize = 500;

/// The symbols that count in a verdict, each once, in the order of the alphabet, as spamd lists them.
pub(super) fn symbols<'a>(judged: &'a Judged, verdict: &Verdict) -> Vec<&'a str> {
    counted(judged, verdict).into_keys().take(MOST).collect()
}

/// The report: a table in the form that readers of spamd's reports know, with what was found as the description.
pub(super) fn report(judged: &Judged, verdict: &Verdict, opinion: &Opinion, hostname: &str) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(format_args!("Judged by gatepost on {hostname}: {}, id {}.", verdict.category, judged.id));
    if !verdict.reason.is_empty() {
        line(format_args!("{}", clean(&verdict.reason, MAX_EVIDENCE)));
    }
    line(format_args!(""));
    line(format_args!(
        "Content analysis details:   ({} points, {} required)",
        verdict.score, opinion.threshold
    ));
    if opinion.bad && verdict.score < opinion.score {
        line(format_args!(
            "Shown as {} points, since as {} the policy would {} it.",
            opinion.score, verdict.category, verdict.action
        ));
    }
    line(format_args!(""));
    line(format_args!(" pts rule name              description"));
    line(format_args!("---- ---------------------- {}", "-".repeat(50)));
    for (symbol, (points, finding)) in counted(judged, verdict).into_iter().take(MOST) {
        let told = finding.meaning.as_deref().unwrap_or(&finding.evidence);
        line(format_args!("{:>4} {symbol:<22} {}", points.to_string(), clean(told, MAX_EVIDENCE)));
    }
    for fault in judged.found.faults.iter().take(20) {
        line(format_args!(" 0.0 (not looked)           {} {}", clean(&fault.check, 80), fault.cause));
    }
    line(format_args!(""));
    text
}

/// What counts, points or category, with its points and the first finding of it.
fn counted<'a>(judged: &'a Judged, verdict: &Verdict) -> BTreeMap<&'a str, (Points, &'a Finding)> {
    let mut counted = BTreeMap::new();
    for weighed in &verdict.weighed {
        let finding = &judged.found.findings[weighed.finding];
        let counts = weighed.points != Points::ZERO || weighed.category.is_some();
        if counts && !counted.contains_key(finding.symbol.as_ref()) {
            counted.insert(finding.symbol.as_ref(), (weighed.points, finding));
        }
    }
    counted
}
