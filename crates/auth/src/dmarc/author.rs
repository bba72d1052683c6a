//! Who wrote it: the domains of the From field (RFC 5322 section 3.6.2), as every reader might take them.

/// The author domains of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authors {
    /// The domains some reader takes for the author's, as A-labels in lower case, each once, in order.
    pub domains: Vec<String>,
    /// Domains of addresses that stand in display names: shown by many clients, and no author's. Never judged.
    pub shown: Vec<String>,
    /// What is wrong or unusual.
    pub problems: Vec<Problem>,
}

/// What is wrong or unusual with the From field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
