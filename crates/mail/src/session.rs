//! A connection: facts that hold for every message sent over it.

use std::net::IpAddr;

/// Who is on the line, and how we know.
#[derive(Clone, Debug)]
pub struct Session {
    /// The client's address as checks shall see it. None when the way in has none (a local pipe, a file).
    pub client: Option<IpAddr>,
    /// The client's TCP port; 0 when unknown.
    pub port: u16,
    /// The client's name from XCLIENT/XFORWARD or a look-up; None when unknown.
    pub client_name: Option<String>,
    /// What the client calls itself in HELO, EHLO or LHLO; empty before.
    pub helo: String,
    /// How the message comes.
    pub protocol: Protocol,
    /// TLS of the connection, once started.
    pub tls: Option<Tls>,
    /// The authenticated user, if any.
    pub user: Option<String>,
    /// Which way the mail goes, for policies.
    pub direction: Direction,
    /// Name of the listener it came in by.
    pub listener: String,
    /// Who told us the client's address.
    pub via: Via,
}

impl Session {
    /// Whether nobody outside is on the line: a pipe, a file, a socket of this host. A client whose address a proxy does
    /// not tell is somebody outside.
    pub fn is_local(&self) -> bool {
        self.client.is_none() && self.via == Via::Direct
    }
}

impl Default for Session {
    fn default() -> Session {
        Session {
            client: None,
            port: 0,
            client_name: None,
            helo: String::new(),
            protocol: Protocol::Smtp,
            tls: None,
            user: None,
            direction: Direction::Inbound,
            listener: String::new(),
            via: Via::Direct,
        }
    }
}

/// The protocol a message came by, in the names of the `with` clause (RFC 3848).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HELO was said.
    Smtp,
    /// EHLO was said.
    Esmtp,
    /// LHLO was said (RFC 2033).
    Lmtp,
    /// A file or pipe judged by a command.
    Local,
}

/// TLS of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// IANA name of the cipher suite.
    pub cipher: String,
}

/// Which way mail goes, seen from our border.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From outside.
    Inbound,
    /// From our networks or an authenticated user, to outside.
    Outbound,
    /// From our networks or an authenticated user, to ourselves.
    Internal,
}

/// Who told us the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The client connected to us.
    Direct,
    /// A load balancer, by PROXY protocol.
    Proxy,
    /// A trusted peer, by XCLIENT.
    Xclient,
    /// A trusted peer, by XFORWARD.
    Xforward,
}
