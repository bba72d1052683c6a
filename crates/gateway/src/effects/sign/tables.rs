//! OpenDKIM's KeyTable and SigningTable, read as opendkim.conf(5) describes them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The KeyTable: keys by their names.
pub(super) type KeyTable = HashMap<String, TableKey>;

/// One line of the KeyTable: `NAME DOMAIN:SELECTOR:KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableKey {
    /// Who signs; `%` stands for the author's domain.
    pub domain: String,
    pub selector: String,
    pub key: KeySource,
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeySource {
    /// In this file.
    File(PathBuf),
    /// In a file for each domain, which stands in the place of `%`.
    PerDomain(String),
}

/// The SigningTable: who is signed for with which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SigningTable {
    /// Wildcard patterns in their order.
    Patterns(Vec<(String, Entry)>),
    /// Addresses, domains, and what stands for several.
    Exact(HashMap<String, Entry>),
}

/// What a line of the SigningTable asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The key's name; `%` stands for the author's domain.
    pub key: String,
    /// On whose behalf (`i=`); `%` stands for the author's domain.
    pub identity: Option<String>,
}

/// Reads a KeyTable. The error names the line.
pub(super) fn key_table(text: &str, file: &Path) -> Result<KeyTable, String> {
    let mut table = KeyTable::new();
    for (number, name, value) in lines(text) {
        let wrong = |why: &str| format!("{}, line {number}: {why}", file.display());
        let mut words = value.splitn(3, ':');
        let (Some(domain), Some(selector), Some(key)) = (words.next(), words.next(), words.next()) else {
            return Err(wrong("is not NAME DOMAIN:SELECTOR:/PATH"));
        };
        if !["/", "./", "../"].iter().any(|start| key.starts_with(start)) {
            return Err(wrong("the key is to be in a file: write its path, which begins with /"));
        }
        if domain != "%" && domain.contains('%') {
            return Err(wrong("the domain is one, or % alone"));
        }
        let key = if key.contains('%') {
            KeySource::PerDomain(key.to_owned())
        } else {
            KeySource::File(PathBuf::from(key))
        };
        let key = TableKey { domain: domain.to_lowercase(), selector: selector.to_owned(), key };
        if table.insert(name.to_owned(), key).is_some() {
            return Err(wrong("this name is there already"));
        }
    }
    Ok(table)
}

/// Reads a SigningTable, with wildcards or not. The error names the line.
pub(super) fn signing_table(
    text: &str,
    file: &Path,
    wildcards: bool,
    keys: &KeyTable,
) -> Result<SigningTable, String> {
    let mut entries = Vec::new();
    for (number, pattern, value) in lines(text) {
        let wrong = |why: String| format!("{}, line {number}: {why}", file.display());
        if value.is_empty() {
            return Err(wrong("names no key of the KeyTable".into()));
        }
        let (key, identity) = match value.split_once(':') {
            Some((key, identity)) => (key, Some(identity.to_owned())),
            None => (value, None),
        };
        if key != "%" && !keys.contains_key(key) {
            return Err(wrong(format!("{key:?} is no key of the KeyTable")));
        }
        entries.push((pattern.to_lowercase(), Entry { key: key.to_owned(), identity }));
    }
    Ok(if wildcards {
        SigningTable::Patterns(entries)
    } else {
        // The first line of a key counts, as it does for OpenDKIM.
        entries.reverse();
        SigningTable::Exact(entries.into_iter().collect())
    })
}

impl SigningTable {
    /// What is said of an author, in lower case: all of it, in its order.
    pub fn find(&self, local: &str, domain: &str) -> Vec<&Entry> {
        let address = format!("{local}@{domain}");
        match self {
            SigningTable::Patterns(patterns) => patterns
                .iter()
                .filter(|(pattern, _)| matches(pattern.as_bytes(), address.as_bytes()))
                .map(|(_, entry)| entry)
                .collect(),
            SigningTable::Exact(map) => {
                let mut names = vec![address, domain.to_owned()];
                let above =
                    || std::iter::successors(domain.split_once('.'), |(_, rest)| rest.split_once('.'));
                names.extend(above().map(|(_, rest)| format!("{local}@.{rest}")));
                names.extend(above().map(|(_, rest)| format!(".{rest}")));
                names.extend([format!("{local}@*"), "*".to_owned()]);
                names.iter().filter_map(|name| map.get(name)).collect()
            }
        }
    }
}

/// Number, key and value of the lines that say something.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    text.lines().enumerate().filter_map(|(place, line)| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        (!key.is_empty()).then_some((place + 1, key, value.trim()))
    })
}

/// Whether a pattern, in which `*` stands for any text, is all of a text. Takes no longer than their lengths multiplied.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, taken)) = star {
            // The last star takes one byte more.
            star = Some((at, taken + 1));
            (p, t) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = "# a comment\n\nex example.org:mail:/etc/keys/ex.pem\n\
        any  %:s1:/etc/keys/%.pem  # one for each\nexample.com %:s2:/k\n";

    fn keys() -> KeyTable {
        key_table(KEYS, Path::new("/etc/KeyTable")).unwrap()
    }

    #[test]
    fn keys_by_name() {
        let keys = keys();
        let ex = &keys["ex"];
        assert_eq!((ex.domain.as_str(), ex.selector.as_str()), ("example.org", "mail"));
        assert_eq!(ex.key, KeySource::File("/etc/keys/ex.pem".into()));
        assert_eq!(
            (keys["any"].domain.as_str(), &keys["any"].key),
            ("%", &KeySource::PerDomain("/etc/keys/%.pem".into()))
        );
        for (text, expected) in [
            ("a example.org:s", "line 1: is not NAME"),
            ("\na example.org:s:MIIEpA", "line 2: the key is to be in a file"),
            ("a %.org:s:/k", "line 1: the domain is one"),
            ("a a.test:s:/k\na b.test:s:/k", "line 2: this name is there already"),
        ] {
            let error = key_table(text, Path::new("/etc/KeyTable")).unwrap_err();
            assert!(error.starts_with("/etc/KeyTable, ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn who_is_signed_for() {
        let exact = "user@example.org one\nexample.org two\nuser@.example.org three\n.example.org four:%\n\
            other@* five\n* %\nexample.org again\n";
        let wild = "boss@*.example.org one\n*@example.org two\n*@*.example.org three\n* %\n";
        let mut keys = keys();
        for name in ["one", "two", "three", "four", "five", "again"] {
            keys.insert(name.into(), keys["ex"].clone());
        }
        let table = [
            (exact, false, "user@example.org", "one two %"),
            (exact, false, "else@example.org", "two %"),
            (exact, false, "user@a.b.example.org", "three four %"),
            (exact, false, "else@b.example.org", "four %"),
            (exact, false, "other@elsewhere.test", "five %"),
            (exact, false, "user@elsewhere.test", "%"),
            (wild, true, "boss@a.example.org", "one three %"),
            (wild, true, "x@example.org", "two %"),
            (wild, true, "x@notexample.org", "%"),
        ];
        for (text, wildcards, address, expected) in table {
            let table = signing_table(text, Path::new("s"), wildcards, &keys).unwrap();
            let (local, domain) = address.split_once('@').unwrap();
            let found: Vec<_> = table.find(local, domain).iter().map(|entry| entry.key.as_str()).collect();
            assert_eq!(found.join(" "), expected, "{address}");
        }
        let unknown = signing_table("a b\n", Path::new("/s"), true, &keys).unwrap_err();
        assert_eq!(unknown, "/s, line 1: \"b\" is no key of the KeyTable");
        assert!(signing_table("a\n", Path::new("/s"), true, &keys).is_err());
    }

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*@example.org", "a@example.org", true),
            ("*@example.org", "a@example.org.test", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        let hostile = "*a".repeat(200);
        assert!(!matches(
            hostile.as_bytes(),
            &[b'a'; 20_000][..19_999].iter().chain(b"b").copied().collect::<Vec<_>>()
        ));
    }
}
