//! Asks a next hop whether it takes a recipient: MAIL with the empty sender, RCPT, and nothing more.

use futures_util::future::BoxFuture;
use gatepost_mail::{Address, Envelope, Protocol, Recipient, Reply, Session};

use super::relay::NextHops;
use crate::resources::callahead::AskNextHop;

/// The next hops that are asked.
pub struct CallAhead {
    to: Option<NextHops>,
    listeners: Vec<(String, NextHops)>,
}

impl CallAhead {
    /// `to`: who is asked always; else each listener's own.
    pub fn new(to: Option<NextHops>, listeners: Vec<(String, NextHops)>) -> CallAhead {
        CallAhead { to, listeners }
    }

    async fn reply(&self, listener: &str, recipient: &Address) -> Result<Reply, String> {
        let own = || self.listeners.iter().find(|(name, _)| name == listener).map(|(_, hops)| hops);
        let hops = self.to.as_ref().or_else(own).filter(|hops| !hops.is_empty()).ok_or_else(|| {
            format!("the listener {listener} has no next hop that could be asked: name callahead.next_hop")
        })?;
        let session =
            Session { protocol: Protocol::Local, listener: listener.to_owned(), ..Session::default() };
        let (mut transaction, greeted) =
            hops.begin(&session, &Envelope::default()).await.map_err(|error| error.to_string())?;
        if !greeted.is_positive() {
            transaction.finish().await;
            return Err(format!("{hops} refuses the empty sender: {greeted}"));
        }
        let reply = transaction.recipient(&Recipient::from(recipient.clone())).await;
        transaction.finish().await;
        reply.map_err(|error| error.to_string())
    }
}

impl AskNextHop for CallAhead {
    fn ask<'a>(&'a self, listener: &'a str, recipient: &'a Address) -> BoxFuture<'a, Result<Reply, String>> {
        Box::pin(self.reply(listener, recipient))
    }
}
