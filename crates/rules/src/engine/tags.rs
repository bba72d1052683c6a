//! Tags that rules capture, and expressions that use them.

use std::collections::HashMap;

use crate::conf::Expression;
use crate::regex::{Pattern, fold};
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

/// The expression with the values of its tags in it, in the order of `templates`.
pub fn filled(expression: &Expression, values: &[Vec<Vec<u8>>]) -> Result<Pattern, String> {
    let written = |values: &Vec<Vec<u8>>| {
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
        written
    };
    let written: Vec<Vec<u8>> = values.iter().map(written).collect();
    Pattern::plain(&replaced(expression, |index| &written[index]), &expression.modifiers)
}

/// The expression with other texts for its templates.
fn replaced<'a>(expression: &Expression, by: impl Fn(usize) -> &'a [u8]) -> Vec<u8> {
    let mut inside = expression.inside.to_vec();
    for (index, name) in expression.templates.iter().enumerate() {
        let mark = format!("%\\{{{name}\\}}");
        // From left to right: a value may look like a template.
        let mut from = 0;
        while let Some(at) = memchr::memmem::find(&inside[from..], mark.as_bytes()).map(|at| from + at) {
            inside.splice(at..at + mark.len(), by(index).iter().copied());
            from = at + by(index).len();
        }
    }
    inside
}

/// Stand for values of tags in hints. What is folded has no such bytes of its own, but an expression may.
const VALUE: u8 = 1;
const OTHER_VALUE: u8 = 2;

/// Lists of texts of which each match contains one, whatever the values of its tags are; where `VALUE` is in a text, it is one
/// of those values.
pub fn hint(expression: &Expression) -> Vec<Vec<Vec<u8>>> {
    let lists = |mark: u8| {
        // Two bytes: in a class only one of them would be found.
        let written: &[u8] = if mark == VALUE { b"(?:\\x01\\x01)" } else { b"(?:\\x02\\x02)" };
        let inside = replaced(expression, |_| written);
        Pattern::plain(&inside, &expression.modifiers)
            .map(|pattern| pattern.all_required())
            .unwrap_or_default()
    };
    let (one, other) = (lists(VALUE), lists(OTHER_VALUE));
    let moved = |list: &Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        let of = |text: &Vec<u8>| {
            text.iter().map(|byte| if *byte == VALUE { OTHER_VALUE } else { *byte }).collect()
        };
        list.iter().map(of).collect()
    };
    // What changes with the mark and nothing else is the value.
    let split = |text: &Vec<u8>| text.chunk_by(|one, other| one == other).any(|run| run == [VALUE]);
    if one.iter().map(moved).eq(other) && !one.iter().flatten().any(split) { one } else { Vec::new() }
}

/// Whether one text of a hint stands in one of the texts.
pub fn may_match(
    hint: &[Vec<u8>],
    values: &[Vec<Vec<u8>>],
    texts: &[(usize, &[u8])],
    folded: &mut Vec<u8>,
) -> bool {
    let folding = |text: &[u8]| -> Vec<u8> { text.iter().map(|byte| fold(*byte)).collect() };
    let mut wanted: Vec<Vec<u8>> = hint.iter().filter(|text| !text.contains(&VALUE)).cloned().collect();
    if wanted.len() < hint.len() {
        wanted.extend(values.iter().flatten().map(|value| folding(value)));
    }
    texts.iter().any(|(_, text)| {
        folded.clear();
        folded.extend(text.iter().map(|byte| fold(*byte)));
        wanted.iter().any(|wanted| memchr::memmem::find(folded, wanted).is_some())
    })
}

/// The values of a tag, or of a field that is written like one.
pub fn values(name: &str, tags: &Tags, subject: &dyn Subject) -> Vec<Vec<u8>> {
    let field = name.strip_prefix("HEADER(").and_then(|rest| rest.strip_suffix(')'));
    let mut values = match field {
        Some(field) => subject.header(&HeaderRequest::parse(field)).map(Vec::from).into_iter().collect(),
        None => tags.get(name).cloned().unwrap_or_default(),
    };
    values.iter_mut().for_each(|value| value.truncate(MAX_VALUE));
    values.retain(|value| !value.is_empty());
    values
}
