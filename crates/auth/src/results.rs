//! The `Authentication-Results` field (RFC 8601): building and reading it.
//!
//! What is written comes from strangers in good part: domains, selectors, senders. Whatever is no plain token is quoted,
//! what cannot be quoted becomes `?`, so that a value never ends its field, its quotes or its comment.

mod build;
mod read;

pub use read::{Unread, must_go, parse, parse_arc};

use crate::dmarc::Dmarc;

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

    /// SPF (RFC 8601 section 2.7.2): `mailfrom` is the address or domain of MAIL FROM, `helo` the name of HELO where
    /// that was checked; empty ones are left out.
    pub fn spf(result: &str, mailfrom: &str, helo: &str) -> Entry {
        Entry::new("spf", result).with("smtp", "mailfrom", mailfrom).with("smtp", "helo", helo)
    }

    /// DKIM (RFC 8601 section 2.7.1, RFC 6008, RFC 8301): `d=`, `s=`, `a=` and the first of `b=`, of which eight
    /// characters are enough to tell signatures apart.
    pub fn dkim(result: &str, domain: &str, selector: &str, algorithm: &str, b: &str) -> Entry {
        let b: String = b.chars().filter(|c| !c.is_ascii_whitespace()).take(8).collect();
        let entry = Entry::new("dkim", result).with("header", "d", domain).with("header", "s", selector);
        entry.with("header", "a", algorithm).with("header", "b", &b)
    }

    /// DMARC (RFC 9989 section 9.1): the author's domain, and the policy that applies where it failed.
    pub fn dmarc(dmarc: &Dmarc) -> Entry {
        let entry = Entry::new("dmarc", dmarc.result.name()).with("header", "from", &dmarc.domain);
        match dmarc.published {
            Some(published) => {
                let entry = entry.noting(&format!("{}={published}", dmarc.tag.name()));
                entry.with("policy", "dmarc", dmarc.policy.name())
            }
            None => entry,
        }
    }

    /// ARC (RFC 8617 section 5.2): the oldest set whose seal still holds, and the client's address.
    pub fn arc(result: &str, oldest_pass: Option<u32>, remote_ip: &str) -> Entry {
        let oldest = oldest_pass.map(|instance| instance.to_string()).unwrap_or_default();
        Entry::new("arc", result).with("header", "oldest-pass", &oldest).with("smtp", "remote-ip", remote_ip)
    }

    /// The client's name and address lead to each other, or do not (RFC 8601 section 3).
    pub fn iprev(result: &str, address: &str, name: &str) -> Entry {
        Entry::new("iprev", result).noting(name).with("policy", "iprev", address)
    }

    /// The client has logged in (RFC 8601 section 2.7.4).
    pub fn auth(result: &str, user: &str) -> Entry {
        Entry::new("auth", result).with("smtp", "auth", user)
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
