//! What rules put before the subject (`subjprefix`).

use gatepost_rules::engine::Outcome;
use gatepost_rules::report::Report;
use gatepost_rules::texts::{HeaderRequest, Texts};

use crate::resources::rules::Rules;

/// The most rules whose texts are put there.
const MOST: usize = 10;
/// The longest such text, in characters.
const LONGEST: usize = 100;

/// The texts, each with a space behind it, by the names of the rules that hit, in that order. Tags of templates are filled in,
/// as SpamAssassin does.
pub fn of(outcome: &Outcome, rules: &Rules, texts: &Texts<'_>) -> Vec<(String, String)> {
    // SpamAssassin puts them there only where `rewrite_header` is set, which does not count here.
    if rules.prefixes.is_empty() {
        return Vec::new();
    }
    let field = |name: &str| {
        let value = texts.header(&HeaderRequest::parse(name));
        value.joined().map(|value| String::from_utf8_lossy(&value).into_owned())
    };
    let report = Report {
        outcome,
        set: &rules.set,
        required: rules.required(),
        tags: Default::default(),
        field: &field,
    };
    let mut prefixes: Vec<(String, String)> = Vec::new();
    for hit in &outcome.hits {
        let Some(template) = rules.prefixes.get(&*hit.name) else { continue };
        if prefixes.len() == MOST {
            break;
        }
        let text = plain(&report.filled(template));
        if !text.is_empty() && !prefixes.iter().any(|(rule, _)| **rule == *hit.name) {
            prefixes.push((hit.name.to_string(), format!("{text} ")));
        }
    }
    prefixes
}

/// On one line, without what no subject shows.
fn plain(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    visible.trim().to_owned()
}
