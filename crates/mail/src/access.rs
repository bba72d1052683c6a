//! What access maps say of a client, a name or an address: the right-hand sides of access(5) and of Sendmail's access
//! database.

use crate::Reply;

/// What a map says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// This list of restrictions has nothing against it; relaying is not allowed by it.
    Ok,
    /// The same, and it may send through us.
    Relay,
    /// As if nothing were said; no further key of this map is tried.
    Dunno,
    /// Refused, with a text or the usual one.
    Reject(Option<String>),
    /// Put off, with a text or the usual one.
    Defer(Option<String>),
    /// Put off if nothing later refuses it.
    DeferIfPermit(Option<String>),
    /// Refused if nothing later puts it off.
    DeferIfReject(Option<String>),
    /// This reply, 4xx or 5xx.
    Reply(Reply),
    /// The message is taken and thrown away.
    Discard(Option<String>),
    /// The message is held.
    Hold(Option<String>),
    /// Only the log hears of it.
    Warn(Option<String>),
    /// This header field is put before the message.
    Prepend(String),
}

/// What a map says of what a restriction asked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The restriction as it is configured: `check_client_access cidr:/etc/gatepost/clients`.
    pub rule: String,
    /// The key that was found.
    pub key: String,
    /// What is said of it.
    pub access: Access,
}
