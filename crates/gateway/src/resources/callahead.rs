//! Asking a next hop whether it takes a recipient, as checks see it.

use futures_util::future::BoxFuture;
use gatepost_mail::{Address, Reply};

/// Somebody who can ask the next hops.
pub trait AskNextHop: Send + Sync {
    /// The next hop's reply to RCPT with the empty sender, for a client that has come by this listener; nothing is sent.
    /// The error: it could not be asked, and why. It takes no longer than the next hop's own limits.
    fn ask<'a>(&'a self, listener: &'a str, recipient: &'a Address) -> BoxFuture<'a, Result<Reply, String>>;
}

/// There is no next hop, as in commands that only judge.
pub struct NoNextHop;

impl AskNextHop for NoNextHop {
    fn ask<'a>(&'a self, _: &'a str, _: &'a Address) -> BoxFuture<'a, Result<Reply, String>> {
        Box::pin(std::future::ready(Err("there is no next hop that could be asked".into())))
    }
}
