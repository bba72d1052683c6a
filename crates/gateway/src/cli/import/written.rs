//! What was read, written as TOML.

use std::fmt::Write as _;

/// A policy to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    pub name: String,
    pub recipients: Vec<String>,
    pub senders: Vec<String>,
    pub networks: Vec<String>,
    /// Sets that count.
    pub attachments: Vec<String>,
    /// `actions.banned`, where it differs.
    pub banned: Option<String>,
}

impl Policy {
    pub fn write(&self, out: &mut String) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "[[policy]]\nname = {}", text(&self.name));
        for (key, values) in
            [("recipients", &self.recipients), ("senders", &self.senders), ("networks", &self.networks)]
        {
            if !values.is_empty() {
                let _ = writeln!(out, "when.{key} = {}", list(values));
            }
        }
        self.write_rest(out);
    }

    /// As `[default_policy]`, with other lines before its own.
    pub fn write_default(&self, lines: &str, out: &mut String) {
        out.push_str("[default_policy]\n");
        out.push_str(lines);
        self.write_rest(out);
    }

    fn write_rest(&self, out: &mut String) {
        let _ = writeln!(out, "attachments = {}", list(&self.attachments));
        if let Some(action) = &self.banned {
            let _ = writeln!(out, "actions.banned = {}", text(action));
        }
        out.push('\n');
    }
}

/// A list of texts.
pub(super) fn list(values: &[String]) -> String {
    format!("[{}]", values.iter().map(|value| text(value)).collect::<Vec<_>>().join(", "))
}

/// A text as TOML: as it stands where that can be.
pub(super) fn text(value: &str) -> String {
    let plain = |c: char| !c.is_control() || c == '\t';
    if value.chars().all(|c| plain(c) && c != '"' && c != '\\') {
        return format!("\"{value}\"");
    }
    if value.chars().all(|c| plain(c) && c != '\'') {
        return format!("'{value}'");
    }
    let lines = |c: char| plain(c) || c == '\n';
    if value.chars().all(lines) && !value.contains("'''") && !value.ends_with('\'') {
        return format!("'''\n{value}'''");
    }
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A name of a set, of letters, digits and hyphens, that no other has.
pub(super) fn set_name(wanted: &str, taken: &[String]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let mut name: String = wanted.chars().take(60).map(plain).collect();
    if name.trim_matches('-').is_empty() || name == "default" {
        name = "imported".into();
    }
    let stem = name.clone();
    let mut count = 1;
    while taken.contains(&name) {
        count += 1;
        name = format!("{stem}-{count}");
    }
    name
}
