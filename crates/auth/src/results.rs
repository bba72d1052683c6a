//! The `Authentication-Results` field (RFC 8601): building and reading it.
//!
//! What is written comes from strangers in good part: domains, selectors, senders. Whatever is no plain token is quoted,
//! what cannot be quoted becomes `?`, so that a value never ends its field, its quotes or its comment.

mod build;
mod entries;
mod read;

pub use read::{Unread, must_go, parse, parse_arc};

/// The results of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// The authserv-id: who says so.
    pub id: String,
    /// What was done; none is written as `none`.
    pub entries: Vec<Entry>,
}

/// The result of one method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `spf`, `dkim`, `dmarc`, `arc`, `iprev`, `auth` …
    pub method: String,
    /// `pass`, `fail` …
    pub result: String,
    /// Said in parentheses behind the result; nothing where it is empty. Readers ignore it.
    pub comment: String,
    /// `reason=`; nothing where it is empty.
    pub reason: String,
    /// What was looked at.
    pub properties: Vec<Property>,
}

/// `smtp.mailfrom=user@example.com`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Property {
    /// `smtp`, `header`, `body`, `policy`.
    pub kind: String,
    /// `mailfrom`, `from`, `d`, `b` …
    pub name: String,
    /// The value, unquoted.
    pub value: String,
}

impl Entry {
    /// A result without properties.
    pub fn new(method: &str, result: &str) -> Entry {
        Entry { method: method.to_owned(), result: result.to_owned(), ..Entry::default() }
    }

    /// Adds a property; none where the value is empty.
    #[must_use]
    pub fn with(mut self, kind: &str, name: &str, value: &str) -> Entry {
        if !value.is_empty() {
            self.properties.push(Property {
                kind: kind.to_owned(),
                name: name.to_owned(),
                value: value.to_owned(),
            });
        }
        self
    }

    /// Sets the reason.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Entry {
        reason.clone_into(&mut self.reason);
        self
    }

    /// Sets the comment.
    #[must_use]
    pub fn noting(mut self, comment: &str) -> Entry {
        comment.clone_into(&mut self.comment);
        self
    }

    /// The first value of a property, by its kind and name without case.
    pub fn property(&self, kind: &str, name: &str) -> Option<&str> {
        let is_it = |p: &&Property| p.kind.eq_ignore_ascii_case(kind) && p.name.eq_ignore_ascii_case(name);
        self.properties.iter().find(is_it).map(|p| p.value.as_str())
    }
}
