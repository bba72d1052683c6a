//! Tables of keys and values, as text: Postfix's (postmap(1)) and Sendmail's (makemap(8)). A table of a million lines is
//! one piece of memory and a sorted list of places in it.

use std::borrow::Cow;

/// What is wrong with a table, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// Line, from 1; 0: the table as a whole.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

impl TableError {
    pub(super) fn new(line: u32, message: impl Into<String>) -> TableError {
        TableError { line, message: message.into() }
    }
}

/// A value that was found, and the line its entry begins in.
pub type Found<'t> = (Cow<'t, str>, u32);

/// Keys and values; a key is found as a whole.
#[derive(Debug, Default)]
pub struct Fixed {
    /// Each key, in lower case, with its value behind it.
    pool: String,
    /// Sorted by key; the first of several equal ones is the only one.
    entries: Vec<Entry>,
    /// Entries that are not used, since their keys stand there before.
    pub doubled: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u32,
    key: u32,
    value: u32,
    line: u32,
}

/// Doubled entries that are told of.
const TOLD: usize = 10;

impl Fixed {
    /// Reads a table in Postfix's form: `key value`, comments, logical lines.
    pub fn postfix(text: &str) -> Result<Fixed, TableError> {
        let mut table = Fixed::with_room_for(text)?;
        for (line, text) in logical_lines(text) {
            let (key, value) = split_key(text.trim_matches(is_space))
                .ok_or_else(|| TableError::new(line, "has a key whose double quotes do not match"))?;
            if value.is_empty() {
                return Err(TableError::new(line, format!("“{key}” has no value; write: key value")));
            }
            table.push(&fold(key), value, line);
        }
        table.sort();
        Ok(table)
    }

    /// Reads a table in the form of makemap(8): `key value`, each line by itself, `#` at its beginning for a comment.
    pub fn sendmail(text: &str) -> Result<Fixed, TableError> {
        let mut table = Fixed::with_room_for(text)?;
        for (line, text) in (1..).zip(text.lines()) {
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            if text.starts_with([' ', '\t']) {
                return Err(TableError::new(line, "begins with a space where a key should stand"));
            }
            let (key, value) = text.split_once([' ', '\t']).unwrap_or((text, ""));
            let value = value.trim();
            if value.is_empty() {
                return Err(TableError::new(line, format!("“{key}” has no value; write: key value")));
            }
            table.push(&fold(key.trim_end()), value, line);
        }
        table.sort();
        Ok(table)
    }

    /// From pairs, as `inline:` has them.
    pub fn of_pairs(pairs: &[(String, String)]) -> Fixed {
        let mut table = Fixed::default();
        for (key, value) in pairs {
            table.push(&fold(key), value, 0);
        }
        table.sort();
        table
    }

    /// The value of a key that is in lower case already, and its line.
    pub fn get(&self, key: &str) -> Option<Found<'_>> {
        let place = self.entries.binary_search_by(|entry| self.key(entry).cmp(key)).ok()?;
        let entry = &self.entries[place];
        Some((self.value(entry).into(), entry.line))
    }

    /// All entries: key, value, line.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, u32)> {
        self.entries.iter().map(|entry| (self.key(entry), self.value(entry), entry.line))
    }

    /// Places are 32 bits wide. Lower case may need more bytes than what it is made from, by half at most.
    fn with_room_for(text: &str) -> Result<Fixed, TableError> {
        if text.len() > u32::MAX as usize / 2 {
            return Err(TableError::new(0, "is larger than 2 GiB"));
        }
        Ok(Fixed { pool: String::with_capacity(text.len()), ..Fixed::default() })
    }

    fn push(&mut self, key: &str, value: &str, line: u32) {
        let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let at = length(&self.pool);
        self.pool.push_str(key);
        self.pool.push_str(value);
        self.entries.push(Entry { at, key: length(key), value: length(value), line });
    }

    fn sort(&mut self) {
        let pool = &self.pool;
        let key = |entry: &Entry| &pool[entry.at as usize..(entry.at + entry.key) as usize];
        self.entries.sort_by(|a, b| key(a).cmp(key(b)));
        let doubled = &mut self.doubled;
        self.entries.dedup_by(|later, first| {
            let same = key(later) == key(first);
            if same && doubled.len() < TOLD {
                doubled.push(later.line);
            }
            same
        });
        self.pool.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    fn key(&self, entry: &Entry) -> &str {
        &self.pool[entry.at as usize..(entry.at + entry.key) as usize]
    }

    fn value(&self, entry: &Entry) -> &str {
        let at = (entry.at + entry.key) as usize;
        &self.pool[at..at + entry.value as usize]
    }
}

/// What Postfix takes for space (C's isspace).
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Lower case, as keys are looked up by.
pub(super) fn fold(key: &str) -> Cow<'_, str> {
    match key.bytes().any(|b| b.is_ascii_uppercase() || !b.is_ascii()) {
        true => Cow::Owned(key.to_lowercase()),
        false => Cow::Borrowed(key),
    }
}

/// The logical lines of a Postfix table with the numbers of their first lines: empty lines, lines of spaces and comments
/// are nothing, wherever they stand; a line that begins with space goes on with the one before.
pub(super) fn logical_lines(text: &str) -> impl Iterator<Item = (u32, Cow<'_, str>)> {
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut lines = (1..).zip(lines).filter(|(_, line)| {
        let start = line.trim_start_matches(is_space);
        !start.is_empty() && !start.starts_with('#')
    });
    let mut next = lines.next();
    std::iter::from_fn(move || {
        let (number, first) = next.take()?;
        let mut whole = Cow::Borrowed(first);
        loop {
            next = lines.next();
            match next {
                Some((_, more)) if more.starts_with(is_space) => whole.to_mut().push_str(more),
                _ => return Some((number, whole)),
            }
        }
    })
}

/// Parts the key from its value at the first space that is neither in double quotes nor behind a backslash; quotes stay.
/// None: quotes do not match.
fn split_key(line: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (place, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            c if is_space(c) && !quoted => {
                return Some((&line[..place], line[place..].trim_start_matches(is_space)));
            }
            _ => {}
        }
    }
    (!quoted).then_some((line, ""))
}

/// The pairs of `inline:{ key = value, { key = value with spaces } }`, as in Postfix: parted by commas and spaces, braces
/// for what holds such.
pub(super) fn inline_pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let rules = braced(text).ok_or("write inline:{ key=value, { key = value } }")?;
    let mut pairs = Vec::new();
    for rule in rules {
        let (key, value) =
            rule.split_once('=').ok_or_else(|| format!("“{rule}” is no pair; write key=value"))?;
        let (key, value) = (key.trim_matches(is_space), value.trim_matches(is_space));
        if key.is_empty() || value.is_empty() {
            return Err(format!("“{rule}” lacks a key or a value"));
        }
        pairs.push((key.to_owned(), value.to_owned()));
    }
    if pairs.is_empty() { Err("there is nothing in it".into()) } else { Ok(pairs) }
}

/// The items of `{ … }`, parted by commas and spaces outside of inner braces; inner braces are taken off.
pub(super) fn braced(text: &str) -> Option<Vec<&str>> {
    let inner = text.trim_matches(is_space).strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let (mut depth, mut start) = (0_u32, None);
    for (place, c) in inner.char_indices() {
        let parts = depth == 0 && (c == ',' || is_space(c));
        match c {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        match start {
            None if !parts => start = Some(place),
            Some(began) if parts => {
                items.push(&inner[began..place]);
                start = None;
            }
            _ => {}
        }
    }
    if depth != 0 {
        return None;
    }
    items.extend(start.map(|began| &inner[began..]));
    let bare = |item: &str| item.starts_with('{') && item.ends_with('}') && item.len() >= 2;
    Some(
        items
            .into_iter()
            .map(|item| if bare(item) { item[1..item.len() - 1].trim_matches(is_space) } else { item })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(table: &Fixed) -> Vec<(&str, &str, u32)> {
        table.iter().collect()
    }

    #[test]
    fn tables_of_postfix() {
        let text = "# a comment\n\nB@Example.org  550 no\n  such  user\n# within\n\n\t# too\n here\r\nc OK\nb@example.org DUNNO\n\
                    \"a b\"@x REJECT\n  indented is a continuation\nd\\ e OK\nz.example   \tfoo # no comment\n";
        let table = Fixed::postfix(text).unwrap();
        assert_eq!(
            all(&table),
            [
                ("\"a b\"@x", "REJECT  indented is a continuation", 11),
                ("b@example.org", "550 no  such  user here", 3),
                ("c", "OK", 9),
                ("d\\ e", "OK", 13),
                ("z.example", "foo # no comment", 14),
            ]
        );
        assert_eq!(table.doubled, [10]);
        assert_eq!(table.get("c"), Some(("OK".into(), 9)));
        assert_eq!(table.get("C"), None);
        assert_eq!(Fixed::postfix("a OK\nb\n").unwrap_err().line, 2);
        assert_eq!(Fixed::postfix("a\"b c OK\n").unwrap_err().line, 1);
        assert_eq!(Fixed::postfix("").unwrap().iter().count(), 0);
    }

    #[test]
    fn tables_of_sendmail() {
        let table =
            Fixed::sendmail("#c\nConnect:192.168.200\tRELAY\n\nTo:a@b  ERROR:\"550 no\" \nfrom:A OK\n")
                .unwrap();
        assert_eq!(
            all(&table),
            [("connect:192.168.200", "RELAY", 2), ("from:a", "OK", 5), ("to:a@b", "ERROR:\"550 no\"", 4)]
        );
        for (text, line) in [("a OK\n b OK\n", 2), ("a\n", 1), ("\n\na  \n", 3)] {
            assert_eq!(Fixed::sendmail(text).unwrap_err().line, line, "{text:?}");
        }
    }

    #[test]
    fn pairs_inline() {
        for (text, expected) in [
            ("{a=b}", Ok("a|b")),
            ("{ a=b, c=d }", Ok("a|b c|d")),
            ("{ {a = REJECT go, away} b=OK }", Ok("a|REJECT go, away b|OK")),
            ("{a=b=c}", Ok("a|b=c")),
            ("a=b", Err(())),
            ("{}", Err(())),
            ("{a}", Err(())),
            ("{a=}", Err(())),
            ("{{a=b}", Err(())),
            ("{a=b}}", Err(())),
        ] {
            let pairs = inline_pairs(text);
            let shown = pairs.map(|pairs| {
                pairs.iter().map(|(key, value)| format!("{key}|{value}")).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(shown.as_deref().map_err(drop), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "[ \\ta#\\\\\"\\n\\{\\},=\\PC]{0,80}") {
            for table in [Fixed::postfix(&text), Fixed::sendmail(&text)].into_iter().flatten() {
                for (key, value, line) in table.iter() {
                    proptest::prop_assert!(!value.is_empty() && line > 0);
                    proptest::prop_assert_eq!(table.get(key).map(|found| found.0), Some(value.into()));
                }
            }
            let _ = inline_pairs(&text);
        }
    }
}
