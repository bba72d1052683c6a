//! Where released mail goes.

use std::sync::Arc;

use bytes::Bytes;
use gatepost_mail::{Envelope, Protocol, Reply, Session};

use super::relay::NextHops;

/// The next hops of released mail: those that are configured for all, else those of the listener that it came by.
pub struct ReleaseHops {
    to: Option<Arc<NextHops>>,
    listeners: Vec<(String, Arc<NextHops>)>,
}

impl ReleaseHops {
    /// `to`: where all released mail goes; else each listener's own. The first listener stands in for names that are none.
    pub fn new(to: Option<Arc<NextHops>>, listeners: Vec<(String, Arc<NextHops>)>) -> ReleaseHops {
        ReleaseHops { to, listeners }
    }

    /// Where mail that came by a listener goes; None if nowhere.
    pub fn hops(&self, listener: &str) -> Option<&Arc<NextHops>> {
        let named = self.listeners.iter().find(|(name, _)| name == listener);
        let own = named.or(self.listeners.first()).map(|(_, hops)| hops);
        self.to.as_ref().or(own).filter(|hops| !hops.is_empty())
    }

    /// Sends a message that came by a listener. Gives the next hop's name, and a reply for each recipient or one for all.
    pub async fn send(&self, listener: &str, envelope: &Envelope, original: Bytes) -> (String, Vec<Reply>) {
        let Some(hops) = self.hops(listener) else {
            let text = format!(
                "released mail of the listener {listener} has nowhere to go: name quarantine.release_to, or its next_hop"
            );
            return ("no next hop".into(), vec![Reply::new(451, "4.3.5", text)]);
        };
        let session =
            Session { protocol: Protocol::Local, listener: listener.to_owned(), ..Session::default() };
        (hops.to_string(), hops.send(&session, envelope, &[original]).await)
    }
}
