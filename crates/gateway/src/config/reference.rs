//! The reference of every key, in Markdown, generated from the types' doc comments.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Config;
use super::effective::inline_value;

/// Deepest nesting of tables in the reference; the types are not recursive, so this only guards against mistakes.
const DEPTH: usize = 8;

/// Writes the reference: each table with its keys, their types, defaults and meanings.
pub fn reference() -> String {
    let schema = schemars::schema_for!(Config);
    let empty = Map::new();
    let root = schema.as_value().as_object().unwrap_or(&empty);
    let definitions = root.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let mut reference = Reference { definitions, text: INTRODUCTION.into() };
    for name in ["Category", "Action", "OnFault"] {
        reference.choice(name);
    }
    reference.section("", "", root, 0);
    reference.text
}

const INTRODUCTION: &str = "\
<!-- Written by `gatepost config --reference` from the doc comments in crates/gateway/src/config/typed.rs; change those,
     then run the tests with UPDATE=1. -->

# Reference of the configuration

Sizes are bytes, or a number with a unit: `\"25 MiB\"`, `\"10M\"`, `\"1g\"` (K, M, G and T are powers of 1024). Times are
seconds, or a number with a unit: `\"30s\"`, `\"5m\"`, `\"2h\"`, `\"6d\"`. Networks are `\"192.0.2.0/24\"`,
`\"2001:db8::/32\"` or one address. Where a text is expected, `{ file = \"/path\" }` takes it from a file and
`{ env = \"NAME\" }` from an environment variable.

The environment overrides files: `GATEPOST_DATA` sets `data`, `GATEPOST_LIMITS__SESSIONS` sets `limits.sessions`,
`GATEPOST_LISTENER__0__NEXT_HOP` sets `next_hop` of the first listener. A list is written `a,b` or as in TOML.
";

struct Reference<'s> {
    definitions: &'s Map<String, Value>,
    text: String,
}

impl<'s> Reference<'s> {
    /// The words of a type that many keys have, with their meanings.
    fn choice(&mut self, name: &str) {
        let Some(Value::Object(schema)) = self.definitions.get(name) else { return };
        let _ = writeln!(self.text, "\n**{}** is one of:\n", spaced(name));
        for choice in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            let word = choice.get("const").and_then(Value::as_str).unwrap_or_default();
            let meaning = choice.as_object().map(text_of).unwrap_or_default();
            let _ = writeln!(self.text, "- `{word}`: {meaning}");
        }
    }

    /// One table: its keys, then the tables in it.
    fn section(&mut self, header: &str, meaning: &str, schema: &'s Map<String, Value>, depth: usize) {
        let bare = header.trim_start_matches('[').trim_end_matches(']');
        let mut rows = String::new();
        let mut tables: Vec<(String, String, &'s Map<String, Value>)> = Vec::new();
        for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let Value::Object(property) = property else { continue };
            let inner = if bare.is_empty() { key.clone() } else { format!("{bare}.{key}") };
            match self.table_inside(property) {
                Some((form, table)) if depth < DEPTH => {
                    tables.push((form.header(&inner), text_of(property), table))
                }
                _ => {
                    let (kind, default) = (self.type_text(property), default_text(&inner, property));
                    let meaning = cell(&text_of(property));
                    let _ = writeln!(rows, "| `{key}` | {kind} | {default} | {meaning} |");
                }
            }
        }
        if !rows.is_empty() {
            let title = if header.is_empty() { "At the top".to_owned() } else { format!("`{header}`") };
            let _ = writeln!(self.text, "\n## {title}\n");
            if !meaning.is_empty() {
                let _ = writeln!(self.text, "{meaning}\n");
            }
            if header == "[default_policy]" {
                self.text.push_str("It has the keys of `[[policy]]`, without `when`.\n");
                return;
            }
            let _ = write!(self.text, "| key | type | default | meaning |\n|---|---|---|---|\n{rows}");
        }
        for (header, meaning, table) in tables {
            let own = text_of(table);
            // The table's own text often says the same, and more.
            let meaning = match own.starts_with(meaning.trim_end_matches('.')) {
                true => own,
                false if header == "[default_policy]" => meaning,
                false => format!("{meaning} {own}").trim().to_owned(),
            };
            self.section(&header, &meaning, table, depth + 1);
        }
    }

    /// The table that a property holds, if it holds one: itself, in a list, or by name.
    fn table_inside(&self, property: &'s Map<String, Value>) -> Option<(Form, &'s Map<String, Value>)> {
        if let Some(table) = self.resolve(property).filter(|schema| schema.contains_key("properties")) {
            return Some((Form::Table, table));
        }
        for (key, form) in [("items", Form::List), ("additionalProperties", Form::Named)] {
            if let Some(Value::Object(inner)) = property.get(key)
                && let Some(table) = self.resolve(inner).filter(|schema| schema.contains_key("properties"))
            {
                return Some((form, table));
            }
        }
        None
    }

    /// A schema, through its reference if it is one.
    fn resolve(&self, schema: &'s Map<String, Value>) -> Option<&'s Map<String, Value>> {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.definitions.get(reference.rsplit('/').next()?)?.as_object(),
            None => Some(schema),
        }
    }

    /// A key's type in a few words.
    fn type_text(&self, property: &'s Map<String, Value>) -> String {
        let reference = property.get("$ref").and_then(Value::as_str).and_then(|text| text.rsplit('/').next());
        match reference {
            Some("Size") => return "size".into(),
            Some("Seconds") => return "time".into(),
            Some("Net") => return "network".into(),
            Some("Points") => return "number".into(),
            Some(name @ ("Category" | "Action" | "OnFault")) => return spaced(name),
            _ => {}
        }
        if let Some(Value::Array(choices)) = property.get("anyOf") {
            let present = choices
                .iter()
                .filter_map(Value::as_object)
                .find(|choice| choice.get("type") != Some(&"null".into()));
            return present.map_or_else(String::new, |choice| self.type_text(choice));
        }
        let Some(schema) = self.resolve(property) else { return String::new() };
        if let Some(words) = words(schema) {
            return words;
        }
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("")
            }
            _ => "",
        };
        let inner = |key: &str| {
            schema.get(key).and_then(Value::as_object).map_or_else(String::new, |inner| self.type_text(inner))
        };
        match kind {
            "string" => "text".into(),
            "integer" => "whole number".into(),
            "boolean" => "`true` or `false`".into(),
            "array" => format!("list of {}", inner("items")),
            "object" => match schema.get("patternProperties").and_then(Value::as_object) {
                Some(patterns) => {
                    let first = patterns.values().next().and_then(Value::as_object);
                    format!("table of {}", first.map_or_else(String::new, |first| self.type_text(first)))
                }
                None => format!("table of {}", inner("additionalProperties")),
            },
            other => other.to_owned(),
        }
    }
}

/// How a table is held.
#[derive(Clone, Copy)]
enum Form {
    Table,
    List,
    Named,
}

impl Form {
    fn header(self, path: &str) -> String {
        match self {
            Form::Table => format!("[{path}]"),
            Form::List => format!("[[{path}]]"),
            Form::Named => format!("[{path}.NAME]"),
        }
    }
}

/// A type's name in words: `OnFault` is `on fault`.
fn spaced(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// The words of a choice.
fn words(schema: &Map<String, Value>) -> Option<String> {
    let quoted = |word: &str| format!("`\"{word}\"`");
    if let Some(Value::Array(words)) = schema.get("enum") {
        return Some(words.iter().filter_map(Value::as_str).map(quoted).collect::<Vec<_>>().join(", "));
    }
    let Some(Value::Array(choices)) = schema.get("oneOf") else { return None };
    let words = choices.iter().filter_map(|choice| choice.get("const")).filter_map(Value::as_str);
    Some(words.map(quoted).collect::<Vec<_>>().join(", "))
}

/// The default of a key, as it would be written.
fn default_text(path: &str, property: &Map<String, Value>) -> String {
    match property.get("default") {
        // It differs from host to host.
        _ if path == "hostname" => "the system's host name".into(),
        None | Some(Value::Null) => "not set".into(),
        Some(default) => format!("`{}`", cell(&inline_value(default))),
    }
}

fn text_of(property: &Map<String, Value>) -> String {
    property.get("description").and_then(Value::as_str).map(one_line).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text as it may stand in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described() {
        let text = reference();
        for row in text.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert!(cells.len() >= 6 && cells[2..5].iter().all(|cell| !cell.is_empty()), "{row}");
        }
        for part in [
            "## `[limits]`",
            "## `[[listener]]`",
            "## `[checks.clamd.NAME]`",
            "## `[[checks.attachments.rule]]`",
            "## `[policy.when]`",
            "| `message_size` | size | `\"50 MiB\"` |",
            "| `on_fault` | on fault | `\"defer\"` |",
            "- `bad-header`: Header so malformed",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn docs_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference.md");
        let current = reference();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &current).expect("docs/src/reference.md can be written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == current,
            "docs/src/reference.md is out of date; run the tests again with UPDATE=1"
        );
    }
}
