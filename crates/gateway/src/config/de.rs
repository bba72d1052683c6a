//! From the tree to typed configuration: a serde deserializer whose errors carry the path of the key.

use std::fmt;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};

use super::tree::{Data, Located, Node, Step, key_text, path_text, read_value};

/// Most problems told at once.
const PROBLEMS: usize = 100;

/// Largest file that a secret is read from, in bytes.
const SECRET: u64 = 64 * 1024;

/// What came out of a tree.
pub(super) struct Outcome<T> {
    /// The value, as far as it could be read; None if not even with all that is wrong passed over.
    pub value: Option<T>,
    /// What is wrong.
    pub problems: Vec<Located>,
    /// Unknown keys set by environment variables. Other programs set variables too (container platforms name theirs
    /// after services), so these are no errors.
    pub warnings: Vec<Located>,
}

/// Reads a value from a tree. Whatever is wrong is noted and passed over, and the rest read again, so that all that is
/// wrong is found at once. It works because every key of the configuration has a default.
pub(super) fn read<T: for<'de> Deserialize<'de>>(root: &mut Node) -> Outcome<T> {
    let mut outcome = Outcome { value: None, problems: Vec::new(), warnings: Vec::new() };
    while outcome.problems.len() < PROBLEMS && outcome.warnings.len() < PROBLEMS {
        let mut error = match T::deserialize(Reader(root)) {
            Ok(value) => {
                outcome.value = Some(value);
                break;
            }
            Err(error) => error,
        };
        error.path.reverse();
        let located = error.locate(root);
        let unknown = matches!(error.kind, Kind::Unknown { .. });
        let from_environment = matches!(located.origin, super::Origin::Environment(_));
        let list = if unknown && from_environment { &mut outcome.warnings } else { &mut outcome.problems };
        list.push(located);
        // What is wrong inside an environment variable has no node of its own; the variable is passed over.
        let present = (1..=error.path.len()).rev().find(|length| root.get(&error.path[..*length]).is_some());
        match present.and_then(|length| root.get_mut(&error.path[..length])) {
            Some(node) if !node.skip => node.skip = true,
            _ => break,
        }
    }
    outcome
}

/// What is wrong, and where.
#[derive(Debug)]
struct Error {
    /// Steps from the value outwards.
    path: Vec<Step>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Unknown { name: String, expected: &'static [&'static str] },
    Wrong(String),
}

impl Error {
    fn wrong(message: impl Into<String>) -> Error {
        Error { path: Vec::new(), kind: Kind::Wrong(message.into()) }
    }

    fn inside(mut self, step: Step) -> Error {
        self.path.push(step);
        self
    }

    /// With the place where it stands. The path must already go inwards.
    fn locate(&self, root: &Node) -> Located {
        let node = (1..=self.path.len()).rev().find_map(|length| root.get(&self.path[..length]));
        match &self.kind {
            Kind::Unknown { name, expected } => Located {
                origin: node.map_or(super::Origin::Default, |node| node.key.clone()),
                key: String::new(),
                message: format!("unknown key {name:?} {}{}", table_text(&self.path), hint(name, expected)),
            },
            Kind::Wrong(message) => Located {
                origin: node.map_or(super::Origin::Default, |node| node.place().clone()),
                key: path_text(&self.path),
                message: message.clone(),
            },
        }
    }
}

/// The table that a key stands in, as its header is written.
fn table_text(path: &[Step]) -> String {
    let table = &path[..path.len().saturating_sub(1)];
    let keys: Vec<String> = table
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(key_text(key)),
            Step::Place(_) => None,
        })
        .collect();
    match table.last() {
        None => "at the top, outside of any [table]".into(),
        Some(Step::Key(_)) => format!("in [{}]", keys.join(".")),
        Some(Step::Place(_)) => format!("in [[{}]]", keys.join(".")),
    }
}

/// What was probably meant, or all there is if that is little.
fn hint(name: &str, known: &[&str]) -> String {
    let folded = name.to_lowercase().replace('-', "_");
    let distance = |candidate: &str| strsim::damerau_levenshtein(&folded, &candidate.replace('-', "_"));
    let near = known.iter().map(|candidate| (distance(candidate), candidate)).min();
    match near {
        Some((distance, candidate)) if distance <= 1 + name.len() / 4 => {
            format!("; did you mean {candidate:?}?")
        }
        _ if !known.is_empty() && known.len() <= 12 => format!("; known are {}", known.join(", ")),
        _ => String::new(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Unknown { name, .. } => write!(f, "unknown key {name:?}"),
            Kind::Wrong(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Error {
        Error::wrong(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Error {
        let expected = expected_text(&expected.to_string());
        let hint = match found {
            Unexpected::Str(text) if expected == "a list" => format!(": write [{text:?}]"),
            _ => String::new(),
        };
        Error::wrong(format!("{} where {expected} is expected{hint}", found_text(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Error {
        Error::wrong(format!(
            "{} where {} is expected",
            found_text(found),
            expected_text(&expected.to_string())
        ))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Error {
        Error { path: Vec::new(), kind: Kind::Unknown { name: field.into(), expected } }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Error {
        let mut message = format!("{variant:?} is none of {}", expected.join(", "));
        let hint = hint(variant, expected);
        if hint.contains("did you mean") {
            message.push_str(&hint);
        }
        Error::wrong(message)
    }
}

/// What was found, for people.
fn found_text(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("{value}"),
        Unexpected::Unsigned(value) => format!("{value}"),
        Unexpected::Signed(value) => format!("{value}"),
        Unexpected::Float(value) => format!("{value}"),
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a table".into(),
        Unexpected::Other(text) => text.into(),
        other => other.to_string(),
    }
}

/// What serde expects, for people.
fn expected_text(expected: &str) -> String {
    let unsigned = |bits: u32| format!("a whole number from 0 to {}", (1u128 << bits) - 1);
    match expected {
        "u8" => unsigned(8),
        "u16" => unsigned(16),
        "u32" => unsigned(32),
        "u64" | "usize" => "a whole number from 0".into(),
        "f32" | "f64" => "a number".into(),
        "a string" | "path string" => "a text in quotes".into(),
        "a boolean" => "true or false".into(),
        "a sequence" => "a list".into(),
        "a map" => "a table".into(),
        other if other.starts_with("struct ") => "a table".into(),
        other if other.starts_with("enum ") || other == "variant identifier" => {
            "one of its words in quotes".into()
        }
        other => other.into(),
    }
}

/// Reads one node.
struct Reader<'n>(&'n Node);

impl<'n> Reader<'n> {
    /// The text of an environment variable, if that is what this is.
    fn raw(&self) -> Option<&'n str> {
        match &self.0.data {
            Data::Raw(text) => Some(text),
            _ => None,
        }
    }

    /// A number from an environment variable, else whatever is there.
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.raw().map(str::trim) {
            None => de::Deserializer::deserialize_any(self, visitor),
            Some(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(integer), _) => visitor.visit_i64(integer),
                (_, Ok(float)) => visitor.visit_f64(float),
                _ => Err(de::Error::invalid_type(Unexpected::Str(text), &visitor)),
            },
        }
    }

    /// A table or list from an environment variable.
    fn raw_node(&self, text: &str) -> Option<Node> {
        let data = read_value(text, &self.0.origin)?;
        Some(Node { data, ..self.0.clone() })
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.number(visitor)
        })*
    };
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.data {
            Data::String(text) => visitor.visit_str(text),
            Data::Integer(integer) => visitor.visit_i64(*integer),
            Data::Float(float) => visitor.visit_f64(*float),
            Data::Boolean(boolean) => visitor.visit_bool(*boolean),
            Data::Datetime => Err(de::Error::invalid_type(Unexpected::Other("a date"), &visitor)),
            Data::Raw(text) => match text.trim().parse::<i64>() {
                Ok(integer) => visitor.visit_i64(integer),
                Err(_) => visitor.visit_str(text),
            },
            Data::List(list) => visitor.visit_seq(ListReader { list, next: 0 }),
            Data::Table(table) => visitor.visit_map(TableReader { entries: table.iter(), value: None }),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.raw().map(str::trim) {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            Some(text) => Err(de::Error::invalid_type(Unexpected::Str(text), &visitor)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (self.raw(), self.0.reference()) {
            (Some(text), _) => visitor.visit_str(text),
            (None, Some((kind, name))) => visitor.visit_str(&referenced(kind, name)?),
            (None, None) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(text) = self.raw() else { return self.deserialize_any(visitor) };
        // `[::1]:25` is no list.
        if text.trim().starts_with('[') && text.trim().ends_with(']') {
            return match self.raw_node(text) {
                Some(node) => Reader(&node).deserialize_any(visitor),
                None => Err(Error::wrong("that is not a list; write [\"a\", \"b\"] or a,b")),
            };
        }
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        let list: Vec<Node> =
            items.map(|item| Node { data: Data::Raw(item.into()), ..self.0.clone() }).collect();
        visitor.visit_seq(ListReader { list: &list, next: 0 })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.raw().map(|text| self.raw_node(text)) {
            None => self.deserialize_any(visitor),
            Some(Some(node)) => Reader(&node).deserialize_any(visitor),
            Some(None) => Err(Error::wrong("that is not a table; write { key = value }")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.0.data {
            Data::String(text) | Data::Raw(text) => {
                visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(text.trim()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// Reads the secret that `{ file = … }` or `{ env = … }` names. A line's end behind it is no part of it.
fn referenced(kind: &str, name: &str) -> Result<String, Error> {
    if kind == "env" {
        return std::env::var(name)
            .map_err(|error| Error::wrong(format!("environment variable {name}: {error}")));
    }
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        std::io::Read::read_to_string(
            &mut std::io::Read::take(std::fs::File::open(name)?, SECRET),
            &mut text,
        )?;
        Ok(text)
    };
    let text = read().map_err(|error| Error::wrong(format!("cannot read the value from {name}: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a list; places are those in the file, whatever is passed over.
struct ListReader<'n> {
    list: &'n [Node],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for ListReader<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        while let Some(node) = self.list.get(self.next) {
            let place = self.next;
            self.next += 1;
            if !node.skip {
                return seed
                    .deserialize(Reader(node))
                    .map(Some)
                    .map_err(|error| error.inside(Step::Place(place)));
            }
        }
        Ok(None)
    }
}

/// Reads a table.
struct TableReader<'n> {
    entries: std::collections::btree_map::Iter<'n, String, Node>,
    value: Option<(&'n str, &'n Node)>,
}

impl<'de> de::MapAccess<'de> for TableReader<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, node)) = self.entries.find(|(_, node)| !node.skip) else { return Ok(None) };
        self.value = Some((key, node));
        let reader: StrDeserializer<'_, Error> = key.as_str().into_deserializer();
        seed.deserialize(reader).map(Some).map_err(|error| error.inside(Step::Key(key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, node) = self.value.take().ok_or_else(|| Error::wrong("a value was read before its key"))?;
        seed.deserialize(Reader(node)).map_err(|error| error.inside(Step::Key(key.into())))
    }
}
