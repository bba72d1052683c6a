//! Who wrote it: the domains of the From field (RFC 5322 section 3.6.2), as every reader might take them.

use serde::{Deserialize, Serialize};

/// The author domains of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authors {
    /// The domains some reader takes for the author's, as A-labels in lower case, each once, in order.
    pub domains: Vec<String>,
    /// Domains of addresses that stand in display names: shown by many clients, and no author's. Never judged.
    pub shown: Vec<String>,
    /// What is wrong or unusual.
    pub problems: Vec<Problem>,
}

/// What is wrong or unusual with the From field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// There is no From field.
    NoField,
    /// There are several From fields.
    SeveralFields,
    /// Its name is written so that some readers do not see it: space before it, before the colon, or a fold in it.
    HiddenName,
    /// It names no domain.
    NoDomain,
    /// It has several addresses.
    SeveralAddresses,
    /// It has a group: `Team: a@example.com;`.
    Group,
    /// An address has a route: `<@a.example:b@c.example>`.
    Route,
    /// An encoded word stands where an address belongs.
    EncodedAddress,
    /// There is text behind an address, or several addresses without a comma between them.
    Junk,
    /// A quote, a comment or an angle bracket does not end, or a backslash stands outside of quotes.
    Unbalanced,
    /// A domain is none: `a@-`, `a@[192.0.2.1]`.
    BadDomain,
    /// There are more addresses than are looked at.
    TooMany,
}

impl Problem {
    /// Whether readers may disagree about who the author is: what one shows, another may not have authenticated.
    pub fn is_ambiguous(self) -> bool {
        use Problem::*;
        match self {
            SeveralFields | HiddenName | Route | EncodedAddress | Junk | Unbalanced => true,
            NoField | NoDomain | SeveralAddresses | Group | BadDomain | TooMany => false,
        }
    }

    /// In words, for the administrator.
    pub fn text(self) -> &'static str {
        match self {
            Problem::NoField => "there is no From field",
            Problem::SeveralFields => "there are several From fields",
            Problem::HiddenName => "a From field's name is written so that some readers miss it",
            Problem::NoDomain => "a From field names no domain",
            Problem::SeveralAddresses => "From has several addresses",
            Problem::Group => "From has a group",
            Problem::Route => "an address of From has a route",
            Problem::EncodedAddress => "an encoded word of From holds an address",
            Problem::Junk => "From has text where an address should end",
            Problem::Unbalanced => {
                "From has a quote, comment or bracket that does not end, or a stray backslash"
            }
            Problem::BadDomain => "From has a domain that is none",
            Problem::TooMany => "From has more addresses than are looked at",
        }
    }
}

/// Most addresses of From fields that are looked at, and most bytes of one.
const ADDRESSES: usize = 64;
const BYTES: usize = 64 << 10;

/// Most domains of display names that are kept.
const SHOWN: usize = 16;

impl Authors {
    /// Of a message, or only its header: reading ends with the first empty line. Lines end with LF, with or without CR.
    pub fn of_header(header: &[u8]) -> Authors {
        let mut authors = Authors::default();
        let (mut values, mut at) = (Vec::new(), 0);
        while let Some(field) = field(&header[at..]) {
            at += field.len();
            let Some(colon) = memchr::memchr(b':', field) else { continue };
            let name = &field[..colon];
            let end = name.iter().rposition(|byte| *byte > b' ' && *byte != 127).map_or(0, |last| last + 1);
            let start = name.iter().position(|byte| *byte > b' ' && *byte != 127).unwrap_or(end);
            if name[start..end].eq_ignore_ascii_case(b"from") {
                if end - start != name.len() {
                    authors.note(Problem::HiddenName);
                }
                values.push(&field[colon + 1..]);
            }
        }
        authors.add_all(values);
        authors
    }

    /// Of the values of all From fields.
    pub fn of_values<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Authors {
        let mut authors = Authors::default();
        authors.add_all(values);
        authors
    }

    fn add_all<'a>(&mut self, values: impl IntoIterator<Item = &'a [u8]>) {
        let (mut fields, mut addresses) = (0, 0);
        for value in values {
            fields += 1;
            if value.len() > BYTES {
                self.note(Problem::TooMany);
            }
            let mut reader = Reader { authors: self, addresses, item: Item::default() };
            reader.read(&value[..value.len().min(BYTES)]);
            addresses = reader.addresses;
            if self.domains.is_empty() {
                self.note(Problem::NoDomain);
            }
        }
        match fields {
            0 => self.note(Problem::NoField),
            1 => {}
            _ => self.note(Problem::SeveralFields),
        }
        if addresses > 1 {
            self.note(Problem::SeveralAddresses);
        }
        let domains = std::mem::take(&mut self.domains);
        self.shown.retain(|shown| !domains.contains(shown));
        self.domains = domains;
    }

    fn note(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// The first field of a header, with its folded lines and line ends; `None` at the header's end. A first line that begins
/// with space is a field too: some readers take it for one.
fn field(header: &[u8]) -> Option<&[u8]> {
    let line = |at: usize| memchr::memchr(b'\n', &header[at..]).map_or(header.len(), |end| at + end + 1);
    let mut end = line(0);
    if header[..end]
        .strip_suffix(b"\n")
        .map_or(&header[..end], |line| line.strip_suffix(b"\r").unwrap_or(line))
        .is_empty()
    {
        return None;
    }
    while matches!(header.get(end), Some(b' ' | b'\t')) {
        end = line(end);
    }
    Some(&header[..end])
}

/// Reads the value of one field.
struct Reader<'a> {
    authors: &'a mut Authors,
    addresses: usize,
    item: Item,
}

/// What stands between two commas.
#[derive(Default)]
struct Item {
    before: Text,
    angles: Vec<Text>,
    behind: Text,
}

/// A stretch of text.
#[derive(Default)]
struct Text {
    /// What stands outside of quotes and comments; a quoted string is a single `"`.
    plain: Vec<u8>,
    /// All of it.
    all: Vec<u8>,
}

impl Text {
    fn push(&mut self, byte: u8) {
        let byte = if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        self.plain.push(byte);
        self.all.push(byte);
    }
}

/// Quotes and comments that were seen not to end are text from then on, for other readers take them so.
#[derive(Default)]
struct Open {
    quote: bool,
    comment: bool,
}

impl Reader<'_> {
    fn read(&mut self, value: &[u8]) {
        let (mut at, mut open) = (0, Open::default());
        while at < value.len() {
            match value[at] {
                b'<' => at = self.angle(value, at, &mut open),
                b',' | b';' => {
                    self.finish();
                    at += 1;
                }
                b':' => {
                    self.authors.note(Problem::Group);
                    let name = std::mem::take(&mut self.item);
                    self.show(&name.before);
                    at += 1;
                }
                _ => {
                    let item = &mut self.item;
                    let text = if item.angles.is_empty() { &mut item.before } else { &mut item.behind };
                    at = step(value, at, text, &mut open);
                }
            }
            if self.addresses > ADDRESSES {
                return self.authors.note(Problem::TooMany);
            }
        }
        if open.quote || open.comment || memchr::memchr(b'\\', &self.item.before.plain).is_some() {
            self.authors.note(Problem::Unbalanced);
        }
        self.finish();
    }

    /// Takes what stands in angle brackets; one that does not end goes up to the next comma.
    fn angle(&mut self, value: &[u8], start: usize, open: &mut Open) -> usize {
        let (mut at, mut text) = (start + 1, Text::default());
        let mut comma = None;
        while at < value.len() && value[at] != b'>' {
            if value[at] == b',' && comma.is_none() {
                comma = Some((at, text.plain.len()));
            }
            at = step(value, at, &mut text, open);
        }
        self.addresses += 1;
        if at < value.len() {
            self.item.angles.push(text);
            return at + 1;
        }
        self.authors.note(Problem::Unbalanced);
        let (end, length) = comma.unwrap_or((at, text.plain.len()));
        text.plain.truncate(length);
        self.item.angles.push(text);
        end
    }

    /// The end of an item: its addresses become authors, its display name is shown.
    fn finish(&mut self) {
        let item = std::mem::take(&mut self.item);
        if [&item.before, &item.behind].iter().any(|text| text.plain.contains(&b'\\')) {
            self.authors.note(Problem::Unbalanced);
        }
        if item.angles.is_empty() {
            let found = self.take(&item.before.plain);
            self.addresses += usize::from(found > 0);
            if found > 1 {
                self.authors.note(Problem::Junk);
            }
            return self.show(&item.before);
        }
        if item.angles.len() > 1 || !item.behind.plain.trim_ascii().is_empty() {
            self.authors.note(Problem::Junk);
        }
        for angle in &item.angles {
            let mut address = &angle.plain[..];
            if address.trim_ascii_start().starts_with(b"@")
                && let Some(colon) = memchr::memrchr(b':', address)
            {
                self.authors.note(Problem::Route);
                address = &address[colon + 1..];
            }
            match self.take(address) {
                0 => self.authors.note(Problem::NoDomain),
                1 => {}
                _ => self.authors.note(Problem::Junk),
            }
        }
        self.addresses += self.take(&item.behind.plain);
        self.show(&item.before);
        self.show(&item.behind);
    }

    /// Makes the domains of a text the author's; gives how many there were, sound or not.
    fn take(&mut self, text: &[u8]) -> usize {
        let mut domains = domains(text);
        if memchr::memmem::find(text, b"=?").is_some() {
            let decoded = gatepost_mail::words::decode(text);
            let hidden = self::domains(decoded.as_bytes());
            if hidden != domains && !hidden.is_empty() {
                self.authors.note(Problem::EncodedAddress);
                domains.extend(hidden);
            }
        }
        for domain in &domains {
            match sound(domain) {
                Some(name) => self.author(name),
                None => {
                    self.authors.note(Problem::BadDomain);
                    // A reader that stops at what no host's name has sees a domain all the same.
                    let end = domain.iter().position(|byte| !is_host(*byte)).unwrap_or(domain.len());
                    sound(&domain[..end]).into_iter().for_each(|name| self.author(name));
                }
            }
        }
        domains.len()
    }

    fn author(&mut self, name: String) {
        if !self.authors.domains.contains(&name) {
            self.authors.domains.push(name);
        }
    }

    /// Notes the domains of a display name.
    fn show(&mut self, text: &Text) {
        let decoded = gatepost_mail::words::decode(&text.all);
        let room = SHOWN.saturating_sub(self.authors.shown.len());
        for name in domains(decoded.as_bytes()).iter().filter_map(|domain| sound(domain)).take(room) {
            if !self.authors.shown.contains(&name) {
                self.authors.shown.push(name);
            }
        }
    }
}

/// Takes what stands at `at` into the text: a quoted string, a comment, or one byte. Gives where to go on.
fn step(value: &[u8], at: usize, text: &mut Text, open: &mut Open) -> usize {
    match value[at] {
        b'"' if !open.quote => {
            let Some(end) = quoted(value, at) else {
                open.quote = true;
                text.push(b' ');
                return at + 1;
            };
            text.plain.push(b'"');
            text.all.extend(value[at + 1..end].iter().filter(|byte| **byte != b'\\'));
            end + 1
        }
        b'(' if !open.comment => {
            let Some(end) = comment_end(value, at) else {
                open.comment = true;
                text.push(b' ');
                return at + 1;
            };
            text.plain.push(b' ');
            text.all.extend(&value[at..=end]);
            end + 1
        }
        byte => {
            text.push(byte);
            at + 1
        }
    }
}

/// Where the quoted string that begins at `start` ends.
fn quoted(value: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match value.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Where the comment that begins at `start` ends; comments nest.
pub(crate) fn comment_end(value: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        match value.get(at)? {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at),
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// What stands behind each `@`, white space around dots left out (RFC 5322 section 4.4, obs-domain).
fn domains(text: &[u8]) -> Vec<Vec<u8>> {
    /// More of them in one item are no address.
    const MOST: usize = 16;
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t');
    let skip = |mut at: usize| {
        while text.get(at).is_some_and(|byte| is_space(*byte)) {
            at += 1;
        }
        at
    };
    let mut found = Vec::new();
    for start in memchr::memchr_iter(b'@', text).take(MOST) {
        let (mut at, mut domain) = (skip(start + 1), Vec::new());
        while let Some(byte) = text.get(at).filter(|byte| is_atom(**byte)) {
            domain.push(*byte);
            at += 1;
            let next = skip(at);
            if *byte == b'.' || text.get(next) == Some(&b'.') {
                at = next;
            }
        }
        if text.get(at) == Some(&b'[') && domain.is_empty() {
            domain.push(b'[');
        }
        if !domain.is_empty() {
            found.push(domain);
        }
    }
    found
}

/// What may stand in a domain for the readers that are least strict: all but what ends an address.
fn is_atom(byte: u8) -> bool {
    !matches!(
        byte,
        b' ' | b'\t'
            | b'('
            | b')'
            | b'<'
            | b'>'
            | b'@'
            | b','
            | b';'
            | b':'
            | b'"'
            | b'['
            | b']'
            | b'\\'
            | b'?'
    )
}

fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') || byte >= 0x80
}

fn sound(domain: &[u8]) -> Option<String> {
    super::name::ascii(std::str::from_utf8(domain).ok()?)
}

#[cfg(test)]
mod tests {
    use Problem::{
        BadDomain, EncodedAddress, Group, HiddenName, Junk, NoDomain, NoField, Route, SeveralAddresses,
        SeveralFields, TooMany, Unbalanced,
    };

    use super::*;

    /// The value of From; the author's domains, the shown ones, and what is wrong.
    type Case = (&'static str, &'static [&'static str], &'static [&'static str], &'static [Problem]);

    const CASES: &[Case] = &[
        ("a@x.example", &["x.example"], &[], &[]),
        ("<a@x.example>", &["x.example"], &[], &[]),
        ("A B <a@X.Example.>", &["x.example"], &[], &[]),
        ("\"Doe, J. (x)\" <a@x.example>", &["x.example"], &[], &[]),
        ("\"a@b\\\"c\"@x.example", &["x.example"], &["b"], &[]),
        ("a@x.example (who (else) \\) b@y.example)", &["x.example"], &["y.example"], &[]),
        ("(c) a (c) @ (c) x (c) . (c) example (c)", &["x.example"], &[], &[]),
        ("Pete <a . b @ x . example>", &["x.example"], &[], &[]),
        ("=?utf-8?Q?J=C3=BCrgen=2C?= <a@x.example>", &["x.example"], &[], &[]),
        ("Jürgen <a@müller.example>", &["xn--mller-kva.example"], &[], &[]),
        ("a@xn--mller-kva.example, b@MÜLLER.example", &["xn--mller-kva.example"], &[], &[SeveralAddresses]),
        ("a@x.example, b@y.example", &["x.example", "y.example"], &[], &[SeveralAddresses]),
        ("Team: a@x.example, B <b@y.example>;", &["x.example", "y.example"], &[], &[Group, SeveralAddresses]),
        ("nobody:;", &[], &[], &[Group, NoDomain]),
        ("", &[], &[], &[NoDomain]),
        ("<>", &[], &[], &[NoDomain]),
        ("<root>", &[], &[], &[NoDomain]),
        ("root", &[], &[], &[NoDomain]),
        ("a@[192.0.2.1]", &[], &[], &[BadDomain, NoDomain]),
        ("a@-..-", &[], &[], &[BadDomain, NoDomain]),
        ("\"b@y.example\" <a@x.example>", &["x.example"], &["y.example"], &[]),
        ("b@y.example <a@x.example>", &["x.example"], &["y.example"], &[]),
        ("=?utf-8?B?YkB5LmV4YW1wbGU=?= <a@x.example>", &["x.example"], &["y.example"], &[]),
        (
            "=?utf-8?B?PGJAeS5leGFtcGxlPg==?=, <a@x.example>",
            &["y.example", "x.example"],
            &[],
            &[EncodedAddress, SeveralAddresses],
        ),
        ("<=?utf-8?B?YkB5LmV4YW1wbGU=?=>", &["y.example"], &[], &[EncodedAddress]),
        ("<@y.example,@z.example:a@x.example>", &["x.example"], &[], &[Route]),
        ("<a@x.example>b@y.example", &["x.example", "y.example"], &[], &[Junk, SeveralAddresses]),
        ("<a@x.example> <b@y.example>", &["x.example", "y.example"], &[], &[Junk, SeveralAddresses]),
        (
            "<a@x.example>\\,<b@y.example>",
            &["x.example", "y.example"],
            &[],
            &[Unbalanced, Junk, SeveralAddresses],
        ),
        ("a@x.example b@y.example", &["x.example", "y.example"], &[], &[Junk]),
        ("a@x.example@y.example", &["x.example", "y.example"], &[], &[Junk]),
        ("\"open <a@x.example>", &["x.example"], &[], &[Unbalanced]),
        ("(open <a@x.example>", &["x.example"], &[], &[Unbalanced]),
        ("A <a@x.example", &["x.example"], &[], &[Unbalanced]),
        ("A <a@x.example, b@y.example", &["x.example", "y.example"], &[], &[Unbalanced, SeveralAddresses]),
        ("<<a@x.example>>", &["x.example"], &[], &[Junk]),
        ("a@x.example'y.example", &["x.example"], &[], &[BadDomain]),
        ("a@x.example\0.y.example", &["x.example"], &[], &[BadDomain]),
    ];

    #[test]
    fn values() {
        for (value, domains, shown, problems) in CASES {
            let authors = Authors::of_values([value.as_bytes()]);
            assert_eq!(authors.domains, *domains, "{value}");
            assert_eq!(authors.shown, *shown, "{value}");
            let (mut found, mut want) = (authors.problems.clone(), problems.to_vec());
            found.sort_by_key(|p| p.text());
            want.sort_by_key(|p| p.text());
            assert_eq!(found, want, "{value}");
        }
    }

    #[test]
    fn headers() {
        let of = |header: &str| {
            let authors = Authors::of_header(header.as_bytes());
            (authors.domains.join(" "), authors.problems)
        };
        for (header, domains, problems) in [
            ("From: a@x.example\r\n\r\nFrom: b@y.example\r\n", "x.example", vec![]),
            ("FROM:a@x.example\n\nFrom: b@y.example\n", "x.example", vec![]),
            ("From: A\r\n <a@x.example>\r\nTo: b@y.example\r\n", "x.example", vec![]),
            ("From a@y.example Mon Jan  1 10:00:00 2026\nFrom: a@x.example\n", "x.example", vec![]),
            ("Subject: x\r\n From: b@y.example\r\nFrom: a@x.example\r\n", "x.example", vec![]),
            ("To: x\r\n", "", vec![NoField]),
            ("", "", vec![NoField]),
            (
                "From: a@x.example\r\nFrom: b@y.example\r\n",
                "x.example y.example",
                vec![SeveralFields, SeveralAddresses],
            ),
            (
                " From: a@x.example\r\nFrom: b@y.example\r\n",
                "x.example y.example",
                vec![HiddenName, SeveralFields, SeveralAddresses],
            ),
            (
                "From: a@x.example\r\nFrom : b@y.example\r\n",
                "x.example y.example",
                vec![HiddenName, SeveralFields, SeveralAddresses],
            ),
            (
                "From\r\n : a@x.example\r\nFrom: b@y.example\r\n",
                "x.example y.example",
                vec![HiddenName, SeveralFields, SeveralAddresses],
            ),
        ] {
            assert_eq!(of(header), (domains.to_owned(), problems), "{header:?}");
        }
    }

    #[test]
    fn hostile_ones_end() {
        for part in
            ["(", "\"", "<", "<,", "a@b.example,", "@", ":", "\\", "=?utf-8?q?a@b?=", "a@b ", "[", "<a@b>"]
        {
            let authors = Authors::of_values([part.repeat(100_000).as_bytes()]);
            assert!(authors.problems.contains(&TooMany), "{part}");
            assert!(authors.domains.len() <= ADDRESSES * 17);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(value: Vec<u8>, text in "[<>@,:;\"()\\\\a. =?\r\n-]{0,60}") {
            Authors::of_header(&value);
            Authors::of_values([&value[..], text.as_bytes()]);
        }
    }
}
