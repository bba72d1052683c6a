//! Sender authentication: who may send for a domain (SPF), who signed a message (DKIM, ARC), and what the author's
//! domain wants done (DMARC).
//!
//! Nothing here opens a socket or a file: names are looked up by whoever calls, behind [`dns::Resolve`], so that tests,
//! explanations and the daemon's shared cache all see every look-up.

pub mod arc;
pub mod authentication;
pub mod dkim;
pub mod dmarc;
pub mod dns;
pub mod report;
pub mod results;
pub mod spf;
