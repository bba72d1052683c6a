//! Configuration as a tree in which every value remembers where it was written: files are read into it, laid over one
//! another, and overridden by the environment, before anything is known of types.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Deepest nesting of tables and lists that is read. The configuration itself needs seven.
const DEPTH: usize = 32;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file.
    File {
        /// Which file.
        path: Arc<PathBuf>,
        /// Line, from 1.
        line: u32,
        /// Column in characters, from 1.
        column: u32,
    },
    /// An environment variable.
    Environment(Arc<str>),
}

/// `/etc/gatepost/gatepost.toml:12:5`, `environment GATEPOST_DATA` or `default`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// Something wrong, with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Where.
    pub origin: Origin,
    /// Which key; empty where the message already says it or there is none.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// `/etc/gatepost/gatepost.toml:12:5: listener[0].next_hop: …`.
impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// A step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Place(usize),
}

/// Writes a path as it stands in messages: `listener[0].next_hop[1]`, odd keys in quotes.
pub(super) fn path_text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Place(place) => text.push_str(&format!("[{place}]")),
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&key_text(key));
            }
        }
    }
    text
}

/// A key as TOML wants it: bare where it can be, else in quotes.
pub(super) fn key_text(key: &str) -> String {
    let bare =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if bare {
        return key.to_owned();
    }
    let mut text = String::from("\"");
    for c in key.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => text.push(c),
        }
    }
    text + "\""
}

/// The length of a key in quotes at the beginning of a text.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let end = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        end
    });
    end.map(|(at, _)| at + 1)
}

/// Reads what [`path_text`] writes. What cannot be read ends the path: the rest is then looked up as its ancestor.
fn path_of(text: &str) -> Vec<Step> {
    let mut path = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some((place, after)) = inner.split_once(']') else { break };
            let Ok(place) = place.parse() else { break };
            path.push(Step::Place(place));
            rest = after;
        } else if rest.starts_with('"') {
            let Some(length) = quoted_length(rest) else { break };
            let Some(Data::String(key)) = read_value(&rest[..length], &Origin::Default) else { break };
            path.push(Step::Key(key));
            rest = &rest[length..];
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            path.push(Step::Key(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    path
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where its key stands (in a list: where it stands itself).
    pub key: Origin,
    /// Where the value stands.
    pub origin: Origin,
    /// It was found wrong and is passed over, so that whatever else is wrong is found too.
    pub skip: bool,
    /// The value.
    pub data: Data,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Data {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime,
    /// Text of an environment variable, whose type is that of the key it is for.
    Raw(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    /// An empty table that nobody wrote.
    pub fn root() -> Node {
        Node {
            key: Origin::Default,
            origin: Origin::Default,
            skip: false,
            data: Data::Table(BTreeMap::new()),
        }
    }

    /// Where to point at: a table's or list's key, a plain value itself.
    pub fn place(&self) -> &Origin {
        match self.data {
            Data::List(_) | Data::Table(_) => &self.key,
            _ => &self.origin,
        }
    }

    /// A value by its path.
    pub fn get(&self, path: &[Step]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| match (&node.data, step) {
            (Data::Table(table), Step::Key(key)) => table.get(key),
            (Data::List(list), Step::Place(place)) => list.get(*place),
            _ => None,
        })
    }

    /// A value by its path, to change.
    pub fn get_mut(&mut self, path: &[Step]) -> Option<&mut Node> {
        path.iter().try_fold(self, |node, step| match (&mut node.data, step) {
            (Data::Table(table), Step::Key(key)) => table.get_mut(key),
            (Data::List(list), Step::Place(place)) => list.get_mut(*place),
            _ => None,
        })
    }

    /// The value at a path, when it or an ancestor that is written whole in one place (an inline list, a variable of
    /// the environment) is present; else the nearest ancestor below the root.
    ///
    /// Names that people chose may have dots in them and come without quotes here: `checks.dnsbl.zen.test.zone`.
    pub fn nearest(&self, key: &str) -> Option<&Node> {
        let path = path_of(key);
        let (mut node, mut rest, mut found) = (self, &path[..], None);
        while let Some((inner, after)) = node.step_into(rest) {
            (node, rest, found) = (inner, after, Some(inner));
        }
        found
    }

    /// The value that the first steps of a path lead to, as many of them as make up one key, and the steps left.
    fn step_into<'n, 'p>(&'n self, path: &'p [Step]) -> Option<(&'n Node, &'p [Step])> {
        match &self.data {
            Data::List(list) => match path.first()? {
                Step::Place(place) => Some((list.get(*place)?, &path[1..])),
                Step::Key(_) => None,
            },
            Data::Table(table) => (1..=path.len()).rev().find_map(|length| {
                let keys = path[..length].iter().map(|step| match step {
                    Step::Key(key) => Some(key.as_str()),
                    Step::Place(_) => None,
                });
                let key = keys.collect::<Option<Vec<_>>>()?.join(".");
                Some((table.get(&key)?, &path[length..]))
            }),
            _ => None,
        }
    }

    /// The reference to a secret, if this is one: `{ file = "/path" }` or `{ env = "NAME" }`.
    pub fn reference(&self) -> Option<(&str, &str)> {
        let Data::Table(table) = &self.data else { return None };
        let mut entries = table.iter();
        match (entries.next(), entries.next()) {
            (Some((kind, Node { data: Data::String(name), .. })), None)
                if kind == "file" || kind == "env" =>
            {
                Some((kind, name))
            }
            _ => None,
        }
    }

    /// Lays another tree over this one: tables are merged, lists of tables appended, anything else replaced.
    pub fn lay_over(&mut self, over: Node) {
        match (&mut self.data, over.data) {
            (Data::Table(under), Data::Table(over)) => {
                for (key, node) in over {
                    match under.get_mut(&key) {
                        Some(existing) => existing.lay_over(node),
                        None => {
                            under.insert(key, node);
                        }
                    }
                }
            }
            (Data::List(under), Data::List(mut over))
                if is_list_of_tables(under) && is_list_of_tables(&over) =>
            {
                under.append(&mut over);
            }
            (_, data) => *self = Node { data, ..over },
        }
    }
}

fn is_list_of_tables(list: &[Node]) -> bool {
    !list.is_empty() && list.iter().all(|node| matches!(node.data, Data::Table(_)))
}

/// Reads one file's text. All its syntax errors are told, in order.
pub(super) fn read_text(path: &Path, text: &str) -> Result<Node, Vec<Located>> {
    let file = SourceFile::new(path, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.into_iter().map(|error| file.syntax_error(&error)).collect());
    }
    let mut problems = Vec::new();
    let root = file.table(document.into_inner(), 0, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Node { key: Origin::Default, origin: Origin::Default, skip: false, data: root })
}

/// Reads one value as TOML, as a part of an environment variable.
pub(super) fn read_value(text: &str, origin: &Origin) -> Option<Data> {
    let value = DeValue::parse(text).ok()?;
    let file = SourceFile { path: Arc::default(), lines: Vec::new(), text, instead: Some(origin.clone()) };
    let mut problems = Vec::new();
    let data = file.data(value.into_inner(), 0, &origin.clone(), &mut problems);
    problems.is_empty().then_some(data)
}

/// A file and where its lines begin.
struct SourceFile<'t> {
    path: Arc<PathBuf>,
    lines: Vec<usize>,
    text: &'t str,
    /// For text that is in no file: the origin of all that is in it.
    instead: Option<Origin>,
}

impl<'t> SourceFile<'t> {
    fn new(path: &Path, text: &'t str) -> SourceFile<'t> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        SourceFile { path: Arc::new(path.to_owned()), lines, text, instead: None }
    }

    fn origin(&self, offset: usize) -> Origin {
        if let Some(origin) = &self.instead {
            return origin.clone();
        }
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Origin::File { path: self.path.clone(), line: line as u32, column: column as u32 }
    }

    fn syntax_error(&self, error: &toml::de::Error) -> Located {
        let origin = self.origin(error.span().map_or(0, |span| span.start));
        let message = error.message().trim().lines().collect::<Vec<_>>().join(", ");
        Located { origin, key: String::new(), message }
    }

    fn table(&self, table: DeTable<'_>, depth: usize, problems: &mut Vec<Located>) -> Data {
        let mut nodes = BTreeMap::new();
        for (key, value) in table {
            let place = self.origin(key.span().start);
            let node = self.node(value, depth + 1, place, problems);
            nodes.insert(key.into_inner().into_owned(), node);
        }
        Data::Table(nodes)
    }

    fn node(
        &self,
        value: Spanned<DeValue<'_>>,
        depth: usize,
        key: Origin,
        problems: &mut Vec<Located>,
    ) -> Node {
        let origin = self.origin(value.span().start);
        let data = self.data(value.into_inner(), depth, &origin, problems);
        Node { key, origin, skip: false, data }
    }

    fn data(&self, value: DeValue<'_>, depth: usize, origin: &Origin, problems: &mut Vec<Located>) -> Data {
        let mut wrong = |message: &str| {
            problems.push(Located { origin: origin.clone(), key: String::new(), message: message.into() });
            Data::Boolean(false)
        };
        match value {
            _ if depth > DEPTH => wrong("nested too deep"),
            DeValue::String(text) => Data::String(text.into_owned()),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Data::Integer(integer),
                Err(_) => wrong("that number is too large"),
            },
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(float) => Data::Float(float),
                Err(_) => wrong("that is not a number"),
            },
            DeValue::Boolean(boolean) => Data::Boolean(boolean),
            DeValue::Datetime(_) => Data::Datetime,
            DeValue::Array(array) => {
                let nodes = array.into_iter().map(|value| {
                    let place = self.origin(value.span().start);
                    self.node(value, depth + 1, place, problems)
                });
                Data::List(nodes.collect())
            }
            DeValue::Table(table) => self.table(table, depth, problems),
        }
    }
}

/// The prefix of environment variables that set keys.
pub(super) const PREFIX: &str = "GATEPOST_";

/// Sets one key from an environment variable: `GATEPOST_LIMITS__SESSIONS` sets `limits.sessions`.
pub(super) fn set_from_environment(root: &mut Node, name: &str, value: &str) -> Result<(), Located> {
    let origin = Origin::Environment(name.into());
    let wrong = |message: String| Located { origin: origin.clone(), key: String::new(), message };
    let names: Vec<&str> = name.strip_prefix(PREFIX).unwrap_or(name).split("__").collect();
    if names.len() > DEPTH || names.iter().any(|name| name.is_empty()) {
        return Err(wrong(
            "name a key as GATEPOST_DATA, or GATEPOST_LIMITS__SESSIONS for limits.sessions".into(),
        ));
    }
    let mut node = root;
    let mut upper = false;
    for name in names {
        if let Data::Raw(text) = &node.data {
            let origin = node.origin.clone();
            node.data = read_value(text, &origin)
                .ok_or_else(|| wrong(format!("{origin} is not a table in which something could be set")))?;
        }
        if name == "0" && matches!(&node.data, Data::Table(table) if table.is_empty()) {
            node.data = Data::List(Vec::new());
        }
        let fresh =
            Node { key: origin.clone(), origin: origin.clone(), skip: false, data: Data::Raw(String::new()) };
        node = match &mut node.data {
            Data::List(list) => {
                let length = list.len();
                let place: usize = name.parse().ok().filter(|place| *place <= length).ok_or_else(|| {
                    wrong(format!("{name:?} is not a place in a list of {length}; the first is 0"))
                })?;
                if place == length {
                    list.push(Node { data: Data::Table(BTreeMap::new()), ..fresh });
                }
                &mut list[place]
            }
            data => {
                if !matches!(data, Data::Table(_)) {
                    *data = Data::Table(BTreeMap::new());
                }
                let Data::Table(table) = data else { return Err(wrong("not a table".into())) };
                let key = environment_key(table, name, upper);
                // Symbols, the keys of these two tables, are written in capitals.
                upper = key == "weights" || key == "categories";
                table.entry(key).or_insert(Node { data: Data::Table(BTreeMap::new()), ..fresh })
            }
        };
    }
    *node = Node { key: origin.clone(), origin, skip: false, data: Data::Raw(value.into()) };
    Ok(())
}

/// The key that a part of a variable's name means: one that is there in other case, else itself in small letters.
fn environment_key(table: &BTreeMap<String, Node>, name: &str, upper: bool) -> String {
    let same = |key: &&String| key.replace('-', "_").eq_ignore_ascii_case(name);
    match table.keys().find(same) {
        Some(key) => key.clone(),
        None if upper => name.to_ascii_uppercase(),
        None => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_and_read() {
        for text in [
            "data",
            "listener[0].next_hop[1]",
            "checks.clamd.main.socket",
            "checks.dnsbl.\"a.b\".zone",
            r#"checks.dnsbl."a\"b\\".zone"#,
            r#"checks.dnsbl."\u0001é".zone"#,
        ] {
            assert_eq!(path_text(&path_of(text)), text);
        }
    }

    #[test]
    fn values_remember_their_places() {
        let text = "data = \"x\"\n\n[limits]\n  sessions = 5\n[[listener]]\nname = \"é\" \nlisten = [\n  \"a\", \"b\"]\n";
        let root = read_text(Path::new("f.toml"), text).unwrap();
        for (key, place) in [
            ("data", "f.toml:1:8"),
            ("limits", "f.toml:3:2"),
            ("limits.sessions", "f.toml:4:14"),
            ("limits.nothing", "f.toml:3:2"),
            ("listener[0].name", "f.toml:6:8"),
            ("listener[0].listen[1]", "f.toml:8:8"),
            ("listener[0].next_hop", "f.toml:5:1"),
            ("listener", "f.toml:5:3"),
        ] {
            assert_eq!(
                root.nearest(key).map(|node| node.place().to_string()).as_deref(),
                Some(place),
                "{key}"
            );
        }
        assert!(root.nearest("nothing").is_none());
    }

    #[test]
    fn names_with_dots_are_found_with_and_without_quotes() {
        let text = "[checks.dnsbl.'a.b']\nzone = 'x'\n[checks.dnsbl.a]\nzone = 'y'\n[checks.dnsbl.'c\"d']\nzone = 'z'\n";
        let root = read_text(Path::new("f.toml"), text).unwrap();
        for (key, place) in [
            ("checks.dnsbl.\"a.b\".zone", "f.toml:2:8"),
            ("checks.dnsbl.a.b.zone", "f.toml:2:8"),
            ("checks.dnsbl.a.b.time", "f.toml:1:15"),
            ("checks.dnsbl.a.zone", "f.toml:4:8"),
            ("checks.dnsbl.\"c\\\"d\".zone", "f.toml:6:8"),
        ] {
            let found = root.nearest(key).map(|node| node.place().to_string());
            assert_eq!(found.as_deref(), Some(place), "{key}");
        }
    }

    #[test]
    fn syntax_errors_are_located_all_of_them() {
        let problems = read_text(Path::new("f.toml"), "a = \nb = 1\nb = 2\n").unwrap_err();
        let places: Vec<String> = problems.iter().map(|problem| problem.origin.to_string()).collect();
        assert_eq!(places, ["f.toml:1:5", "f.toml:3:1"], "{problems:?}");
    }
}
