//! Tags that rules capture, and expressions that use them.

use std::collections::HashMap;

use memchr::memmem::Finder;

use crate::conf::Expression;
use crate::regex::{Pattern, fold, fold_into, weight};
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
    if !one.iter().map(moved).eq(other) {
        return Vec::new();
    }
    // What changes with the mark and nothing else is the value; a text may be cut in it.
    let halved = |run: &[u8]| run == [VALUE];
    let whole = |mut text: Vec<u8>| {
        if text.chunk_by(|one, other| one == other).next().is_some_and(halved) {
            text.remove(0);
        }
        if text.chunk_by(|one, other| one == other).next_back().is_some_and(halved) {
            text.pop();
        }
        let split = text.is_empty() || text.chunk_by(|one, other| one == other).any(halved);
        (!split).then_some(text)
    };
    let lists = one.into_iter().map(|list| list.into_iter().map(whole).collect::<Option<Vec<_>>>());
    lists.flatten().collect()
}

/// What a hint tells without the values: the most telling piece of each text.
pub fn fixed(hint: &[Vec<Vec<u8>>]) -> Vec<Vec<Vec<u8>>> {
    let piece = |text: &Vec<u8>| {
        let pieces = text.split(|byte| *byte == VALUE);
        let best = pieces.max_by(|one, other| weight(one).total_cmp(&weight(other)));
        best.unwrap_or_default().to_vec()
    };
    hint.iter().map(|list| list.iter().map(piece).collect()).collect()
}

/// Whether one of the texts may match: one text of each list of a hint stands in it.
pub fn may_match(
    hint: &[Vec<Vec<u8>>],
    values: &[Vec<Vec<u8>>],
    texts: &[(usize, &[u8])],
    folded: &mut Vec<u8>,
) -> bool {
    let lists: Vec<Vec<Finder<'_>>> = hint.iter().map(|list| wanted(list, values)).collect();
    texts.iter().any(|(_, text)| {
        fold_into(text, folded);
        lists.iter().all(|list| list.iter().any(|wanted| wanted.find(folded).is_some()))
    })
}

/// The texts of a list with the values in them.
fn wanted<'a>(list: &'a [Vec<u8>], values: &[Vec<Vec<u8>>]) -> Vec<Finder<'a>> {
    let mut wanted = Vec::new();
    for text in list {
        let Some(at) = memchr::memmem::find(text, &[VALUE, VALUE]) else {
            wanted.push(Finder::new(text));
            continue;
        };
        let (before, after) = (&text[..at], &text[at + 2..]);
        for value in values.iter().flatten() {
            let value: Vec<u8> = value.iter().map(|byte| fold(*byte)).collect();
            // Of several values in one text, the first must be there in any case.
            let after = if after.contains(&VALUE) { &[][..] } else { after };
            wanted.push(Finder::new(&[before, &value, after].concat()).into_owned());
        }
    }
    wanted
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
