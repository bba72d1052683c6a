//! A mailbox address as it stands in an envelope: `local-part@domain` (RFC 5321 section 4.1.2).

use std::fmt;

/// An address of an envelope. `<>` is not an address: an empty sender is `Option::None`.
///
/// The local part is kept as it was written (it may be case-sensitive to its owner); comparison of addresses for
/// policies folds ASCII case, see [`Address::key`]. `postmaster` alone has an empty domain (RFC 5321 section 4.5.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: Box<str>,
    domain: Box<str>,
}

impl Address {
    /// Splits `local@domain` at the last `@`; without one, all of it is the local part. An empty string is no address.
    pub fn new(text: &str) -> Option<Address> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let (local, domain) = text.rsplit_once('@').unwrap_or((text, ""));
        Some(Address { local: local.into(), domain: domain.trim_end_matches('.').into() })
    }

    /// The part before the last `@`, quotes kept.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part after the last `@`; empty for a bare `postmaster`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The address in lower case, to compare and to look up.
    pub fn key(&self) -> String {
        self.to_string().to_lowercase()
    }

    /// The address with an extension, its delimiter included, put behind the local part: `user+spam@domain`,
    /// `"a b+spam"@domain`. A bare `postmaster` stays what it is.
    pub fn with_extension(&self, extension: &str) -> Address {
        let local = match self.local.strip_suffix('"') {
            _ if self.domain.is_empty() => self.local.clone(),
            Some(open) if open.len() > 1 => format!("{open}{extension}\"").into(),
            _ => format!("{}{extension}", self.local).into(),
        };
        Address { local, domain: self.domain.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.local)?;
        if !self.domain.is_empty() {
            write!(f, "@{}", self.domain)?;
        }
        Ok(())
    }
}
