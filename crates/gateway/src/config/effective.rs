//! The effective configuration as TOML, each value with its origin; it loads again to the same.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::tree::{Node, Origin, Step, key_text, path_text};
use super::{Loaded, Origins};

/// Writes the effective configuration, defaults filled in. Values that come from `{ file = … }` or `{ env = … }` are
/// written as these references, so that no secret is shown.
pub fn effective(loaded: &Loaded) -> String {
    let mut writer = Writer { origins: &loaded.origins, text: String::new() };
    for file in &loaded.files {
        let _ = writeln!(writer.text, "# from {}", file.display());
    }
    if loaded.files.is_empty() {
        writer.text.push_str("# from built-in defaults, no file\n");
    }
    match serde_json::to_value(loaded.config.resolved()) {
        Ok(Value::Object(table)) => writer.table(&table, &mut Vec::new()),
        // Every type of the configuration serialises; keys are texts.
        other => writer.text.push_str(&format!("# cannot be written: {other:?}\n")),
    }
    writer.text
}

struct Writer<'l> {
    origins: &'l Origins,
    text: String,
}

impl Writer<'_> {
    /// The entries of one table: plain values first, as TOML needs it, then the tables in it.
    fn table(&mut self, table: &Map<String, Value>, path: &mut Vec<Step>) {
        for (key, value) in table {
            if !is_table(value) && !is_list_of_tables(value) {
                path.push(Step::Key(key.clone()));
                self.entry(key, value, path);
                path.pop();
            }
        }
        for (key, value) in table {
            path.push(Step::Key(key.clone()));
            match value {
                Value::Object(inner) if !inner.is_empty() => {
                    let _ = writeln!(self.text, "\n[{}]", header(path));
                    self.table(inner, path);
                }
                Value::Array(list) if is_list_of_tables(value) => {
                    for (place, element) in list.iter().enumerate() {
                        path.push(Step::Place(place));
                        let _ = writeln!(self.text, "\n[[{}]]", header(path));
                        if let Value::Object(inner) = element {
                            self.table(inner, path);
                        }
                        path.pop();
                    }
                }
                _ => {}
            }
            path.pop();
        }
    }

    fn entry(&mut self, key: &str, value: &Value, path: &[Step]) {
        let node = self.origins.root().get(path);
        let written = match node.and_then(Node::reference) {
            Some((kind, name)) => format!("{{ {kind} = {} }}", toml::Value::from(name)),
            None => inline(value),
        };
        let origin = self.origin(path);
        let key = key_text(key);
        let _ = match value {
            Value::Null => writeln!(self.text, "# {key} is not set"),
            _ => writeln!(self.text, "{key} = {written} # {origin}"),
        };
    }

    /// Where the value comes from: its own key, or a table around it that was set whole by one variable.
    fn origin(&self, path: &[Step]) -> String {
        let root = self.origins.root();
        let node = root.get(path).or_else(|| {
            (1..path.len())
                .filter_map(|length| root.get(&path[..length]))
                .find(|node| matches!(node.data, super::tree::Data::Raw(_)))
        });
        match node.map(|node| &node.key) {
            Some(Origin::File { path, line, .. }) => format!("{}:{line}", path.display()),
            Some(origin) => origin.to_string(),
            None => Origin::Default.to_string(),
        }
    }
}

/// A table's header: the path without places in lists.
fn header(path: &[Step]) -> String {
    let keys: Vec<Step> = path.iter().filter(|step| matches!(step, Step::Key(_))).cloned().collect();
    path_text(&keys)
}

fn is_table(value: &Value) -> bool {
    matches!(value, Value::Object(_))
}

fn is_list_of_tables(value: &Value) -> bool {
    matches!(value, Value::Array(list) if !list.is_empty() && list.iter().all(is_table))
}

/// A value in one line of TOML.
fn inline(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => toml::Value::from(text.as_str()).to_string(),
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries = table.iter().filter(|(_, value)| !value.is_null());
            let entries: Vec<String> =
                entries.map(|(key, value)| format!("{} = {}", key_text(key), inline(value))).collect();
            if entries.is_empty() { "{}".into() } else { format!("{{ {} }}", entries.join(", ")) }
        }
    }
}

/// A value in one line of TOML, for the reference.
pub(super) fn inline_value(value: &Value) -> String {
    inline(value)
}

#[cfg(test)]
mod tests {
    use super::super::load::load_with;
    use super::*;

    const FILE: &str = r#"
data = "/srv/gate"
hostname = { file = "FOLDER/secret" }
domains = ["example.org", "example.net"]
[[listener]]
name = "mx"
listen = ["[::]:25"]
next_hop = ["smtp://127.0.0.1:10026"]
[checks.clamd.main]
time = "2m"
[checks.dnsbl."zen.list"]
zone = "zen.spamhaus.org"
weight = 3.5
[[checks.attachments.rule]]
name = "no \"iso\" images"
filename = '\.iso$'
[[policy]]
name = "staff"
when.recipients = ["staff.example.org"]
weights.DNSBL_ZEN = 6
actions = { virus = "quarantine", bad-header = "mark" }
[policy.replies]
virus = """
550 5.7.1 No
"""
[[policy]]
keep = []
"#;

    fn load_text(text: &str, environment: &[(&str, &str)]) -> (Loaded, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let text = text.replace("FOLDER", folder.path().to_str().unwrap());
        let file = folder.path().join("gatepost.toml");
        std::fs::write(&file, text).unwrap();
        std::fs::write(folder.path().join("secret"), "gate.example.org\n").unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let loaded = load_with(Some(&file), environment);
        (loaded.unwrap_or_else(|problems| panic!("{}", problems[0])), folder)
    }

    #[test]
    fn it_loads_again_to_the_same() {
        for (text, environment) in [
            ("", &[][..]),
            ("hostname = \"localhost\"", &[]),
            (FILE, &[]),
            (FILE, &[("GATEPOST_DATA", "/else"), ("GATEPOST_LISTENER__0__LISTEN", "[::]:26,[::1]:27")]),
        ] {
            let (loaded, _folder) = load_text(text, environment);
            let written = effective(&loaded);
            let (again, _) = load_text(&written, &[]);
            let json = |loaded: &Loaded| serde_json::to_value(loaded.config.resolved()).unwrap();
            assert_eq!(json(&again), json(&loaded), "{written}");
        }
    }

    #[test]
    fn every_value_tells_where_it_comes_from() {
        let (loaded, folder) = load_text(
            FILE,
            &[
                ("GATEPOST_DATA", "/else"),
                ("GATEPOST_LIMITS", "{ sessions = 3 }"),
                ("GATEPOST_LOG__LEVEL", "debug"),
            ],
        );
        let written = effective(&loaded).replace(&format!("{}/", folder.path().display()), "");
        for line in [
            "# from gatepost.toml",
            "data = \"/else\" # environment GATEPOST_DATA",
            "hostname = { file = \"secret\" } # gatepost.toml:3",
            "domains = [\"example.org\", \"example.net\"] # gatepost.toml:4",
            "user = \"\" # default",
            "sessions = 3 # environment GATEPOST_LIMITS",
            "level = \"debug\" # environment GATEPOST_LOG__LEVEL",
            "format = \"text\" # default",
            "[[listener]]",
            "name = \"mx\" # gatepost.toml:6",
            "banner = \"ESMTP\" # default",
            "# tls_key is not set",
            "[checks.dnsbl.\"zen.list\"]",
            "weight = 3.5 # gatepost.toml:13",
            "filename = '\\.iso$' # gatepost.toml:16",
            "DNSBL_ZEN = 6.0 # gatepost.toml:20",
            "path = \"/else/journal.db\" # default",
        ] {
            assert!(written.lines().any(|written| written == line), "{line}\nis not in\n{written}");
        }
        assert!(!written.contains("gate.example.org"));
    }
}
