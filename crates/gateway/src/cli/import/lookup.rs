//! amavis's look-ups by recipient: hashes, access lists and constants, asked in their order.

/// Whom an entry is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// `user@example.org`
    Mailbox(String),
    /// `example.org`
    Domain(String),
    /// `.example.org`: the domain and those below it.
    Below(String),
    /// `.`
    All,
}

impl Key {
    /// As it is written in amavis's tables. None for what no policy could say: `user@` at any domain.
    pub fn read(text: &str) -> Option<Key> {
        let text = text.trim().to_lowercase();
        let good = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        if text == "." {
            return Some(Key::All);
        }
        if let Some(domain) = text.strip_prefix('.') {
            return good(domain).then(|| Key::Below(domain.to_owned()));
        }
        match text.rsplit_once('@') {
            Some(("", domain)) => good(domain).then(|| Key::Domain(domain.to_owned())),
            Some((local, domain)) => {
                let plain = !local.contains(|c: char| c.is_whitespace() || "*\"<>,".contains(c));
                (plain && good(domain)).then(|| Key::Mailbox(text.clone()))
            }
            None => good(&text).then_some(Key::Domain(text)),
        }
    }

    /// Whether all that the other is for, this one is for, too.
    pub fn covers(&self, other: &Key) -> bool {
        let domain = match other {
            Key::Mailbox(address) => address.rsplit_once('@').map_or("", |(_, domain)| domain),
            Key::Domain(domain) | Key::Below(domain) => domain,
            Key::All => return *self == Key::All,
        };
        match self {
            Key::All => true,
            Key::Below(below) => {
                domain.strip_suffix(below.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Key::Domain(own) => own == domain && !matches!(other, Key::Below(_)),
            Key::Mailbox(_) => self == other,
        }
    }

    /// In the order in which amavis asks: the narrowest first.
    pub fn width(&self) -> (u8, std::cmp::Reverse<usize>, u8) {
        let labels = |name: &str| std::cmp::Reverse(name.split('.').count());
        match self {
            Key::Mailbox(_) => (0, std::cmp::Reverse(0), 0),
            Key::Domain(name) => (1, labels(name), 0),
            Key::Below(name) => (1, labels(name), 1),
            Key::All => (2, std::cmp::Reverse(0), 0),
        }
    }

    /// For `when.recipients`.
    pub fn recipients(&self) -> Vec<String> {
        match self {
            Key::Mailbox(name) | Key::Domain(name) => vec![name.clone()],
            Key::Below(name) => vec![name.clone(), format!(".{name}")],
            Key::All => vec!["*".into()],
        }
    }
}

/// One of several look-ups.
#[derive(Clone, Debug)]
pub(super) enum Lookup<T> {
    /// The same for everybody.
    Constant(T),
    /// The narrowest entry comes first.
    Hash(Vec<(Key, T)>),
    /// The first entry that matches comes first.
    Acl(Vec<(Key, T)>),
}

impl<T: Clone> Lookup<T> {
    /// Entries for all that a key is for, in the order in which they count.
    fn matching(&self, key: &Key) -> Vec<T> {
        match self {
            Lookup::Constant(value) => vec![value.clone()],
            Lookup::Acl(entries) => {
                let found = entries.iter().find(|(of, _)| of.covers(key));
                found.map(|(_, value)| value.clone()).into_iter().collect()
            }
            Lookup::Hash(entries) => {
                let mut found: Vec<_> = entries.iter().filter(|(of, _)| of.covers(key)).collect();
                found.sort_by_key(|(of, _)| of.width());
                found.into_iter().map(|(_, value)| value.clone()).collect()
            }
        }
    }

    /// Whom it has entries for.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        match self {
            Lookup::Constant(_) => [].iter(),
            Lookup::Hash(entries) | Lookup::Acl(entries) => entries.iter(),
        }
        .map(|(key, _)| key)
    }
}

/// All that look-ups say of a key.
pub(super) fn all<T: Clone>(lookups: &[Lookup<T>], key: &Key) -> Vec<T> {
    lookups.iter().flat_map(|lookup| lookup.matching(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_comes_first() {
        let key = |text| Key::read(text).unwrap();
        let hash = Lookup::Hash(vec![
            (key("."), 1),
            (key(".example.org"), 2),
            (key("sub.example.org"), 3),
            (key("User@sub.example.org"), 4),
            (key(".org"), 5),
        ]);
        for (of, found) in [
            ("user@sub.example.org", &[4, 3, 2, 5, 1][..]),
            ("other@sub.example.org", &[3, 2, 5, 1]),
            ("example.org", &[2, 5, 1]),
            (".sub.example.org", &[2, 5, 1]),
            ("badexample.org", &[5, 1]),
            (".", &[1]),
        ] {
            assert_eq!(all(std::slice::from_ref(&hash), &key(of)), found, "{of}");
        }
        for text in ["user@", "a b", "", "..", "a*@example.org", "@"] {
            assert!(Key::read(text).is_none() || text == "..", "{text}");
        }
    }
}
