//! Tags that rules capture, and expressions that use them.

use std::collections::HashMap;

use crate::conf::Expression;
use crate::regex::Pattern;
use crate::subject::Subject;
use crate::texts::HeaderRequest;

/// The most values of one tag.
const MAX_VALUES: usize = 50;
/// The longest value, in bytes.
const MAX_VALUE: usize = 1_000;

/// Tags and their values.
pub type Tags = HashMap<String, Vec<Vec<u8>>>;

/// Keeps what a rule captured: what it found before is forgotten, and each value is kept once.
pub fn keep(tags: &mut Tags, captured: Vec<(String, Vec<u8>)>) {
    let mut fresh: Tags = HashMap::new();
    for (name, mut value) in captured {
        if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
            continue;
        }
        value.truncate(MAX_VALUE);
        let values = fresh.entry(name).or_default();
        if values.len() < MAX_VALUES && !values.contains(&value) {
            values.push(value);
        }
    }
    tags.extend(fresh);
}

/// The expression with the values of its tags in it. `None`: one of them has none, so that the rule does not run.
pub fn filled(
    expression: &Expression,
    tags: &Tags,
    subject: &dyn Subject,
) -> Option<Result<Pattern, String>> {
    let mut inside = expression.inside.to_vec();
    for name in &expression.templates {
        let values = values(name, tags, subject);
        if values.is_empty() {
            return None;
        }
        let mut written = b"(?:".to_vec();
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                written.push(b'|');
            }
            for &byte in value {
                if !byte.is_ascii_alphanumeric() && byte != b'_' {
                    written.push(b'\\');
                }
                written.push(byte);
            }
        }
        written.push(b')');
        let mark = format!("%\\{{{name}\\}}");
        // From left to right: a value may look like a template.
        let mut from = 0;
        while let Some(at) = memchr::memmem::find(&inside[from..], mark.as_bytes()).map(|at| from + at) {
            inside.splice(at..at + mark.len(), written.iter().copied());
            from = at + written.len();
        }
    }
    Some(Pattern::plain(&inside, &expression.modifiers))
}

fn values(name: &str, tags: &Tags, subject: &dyn Subject) -> Vec<Vec<u8>> {
    let field = name.strip_prefix("HEADER(").and_then(|rest| rest.strip_suffix(')'));
    let mut values = match field {
        Some(field) => subject.header(&HeaderRequest::parse(field)).map(Vec::from).into_iter().collect(),
        None => tags.get(name).cloned().unwrap_or_default(),
    };
    values.iter_mut().for_each(|value| value.truncate(MAX_VALUE));
    values.retain(|value| !value.is_empty());
    values
}
