//! A user's login at the next hop (RFC 4954): a connection that belongs to one session alone.
//!
//! The next hop knows the users, we do not. What they say is passed on line by line and kept nowhere. Since nobody but
//! the user can log in again, such a connection is never shared, never kept for others, and never made anew.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use gatepost_mail::{Envelope, Reply, Session};
use gatepost_wire::smtp::ReplyReader;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{Connection, Hop, Link, NextHops, Options, RelayError, Transaction, own};
use crate::config::next_hop::NextHop;

/// Longest line of an exchange, in octets (RFC 4954 section 4).
pub const LINE: usize = 12_288;

/// A connection on which a user logs in, or has logged in.
pub struct Login<'a> {
    hop: &'a Hop,
    options: &'a Options,
    connection: Connection,
}

impl NextHops {
    /// Mechanisms that may be offered to users: those of the first hop that offers any. Those that speak of the
    /// connection itself cannot be passed on: EXTERNAL would log in with our own certificate, and channel binding
    /// (`-PLUS`) detects just what we are.
    pub fn mechanisms(&self) -> Vec<String> {
        let offers = |hop: &Hop| super::lock(&hop.offers).as_ref().map(|offers| usable(&offers.auth));
        self.hops.iter().filter_map(offers).find(|mechanisms| !mechanisms.is_empty()).unwrap_or_default()
    }

    /// A connection to the first hop that takes one and knows of users; it has been told who the client is.
    pub async fn login(&self, session: &Session) -> Result<Login<'_>, RelayError> {
        let mut last = None;
        for hop in self.hops.iter().filter(|hop| matches!(hop.target, NextHop::Smtp { .. })) {
            match hop.login(&self.options, session).await {
                Ok(login) => return Ok(login),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| RelayError {
            cause: "no next hop knows of users".into(),
            reply: Reply::new(454, "4.7.0", "Temporary authentication failure"),
        }))
    }
}

impl Hop {
    async fn login<'a>(&'a self, options: &'a Options, session: &Session) -> Result<Login<'a>, RelayError> {
        let mut connection = self.connect(options).await?;
        connection.login = true;
        connection.replies = ReplyReader::with_limits(LINE, 128);
        if !connection.offers.xclient.is_empty() {
            // Before AUTH, since XCLIENT makes the next hop forget who has logged in.
            let telling = connection.tell_xclient(session, &options.hostname);
            let told = timeout(options.command_time, telling).await;
            told.unwrap_or_else(|_| Err(super::no_answer("XCLIENT")))
                .map_err(|error| RelayError::new(&self.target, error))?;
        }
        if usable(&connection.offers.auth).is_empty() {
            return Err(RelayError::new(&self.target, "offers no AUTH"));
        }
        Ok(Login { hop: self, options, connection })
    }
}

impl<'a> Login<'a> {
    /// Whether the next hop offers a mechanism, given in upper case, that can be passed on.
    pub fn offers(&self, mechanism: &str) -> bool {
        usable(&self.connection.offers.auth).iter().any(|offered| offered == mechanism)
    }

    /// Passes on one line of the client, given without its end: AUTH with its arguments, a response, or `*`. The reply is
    /// 334 with a challenge, or the end of the exchange. An error means that the connection is gone.
    pub async fn say(&mut self, line: &[u8]) -> Result<Reply, RelayError> {
        // Whole from the start: a buffer that grows leaves copies behind.
        let mut secret = Zeroizing::new(Vec::with_capacity(line.len() + 2));
        secret.extend_from_slice(line);
        secret.extend_from_slice(b"\r\n");
        let exchange = async {
            self.connection.write(&secret).await?;
            self.connection.read_reply().await
        };
        let reply = match timeout(self.options.command_time, exchange).await {
            Err(_) => Err(super::no_answer("AUTH")),
            Ok(Ok(reply)) if reply.code == 421 => {
                Err(io::Error::other(format!("answered AUTH with {reply}")))
            }
            Ok(reply) => reply,
        };
        reply.map(own).map_err(|error| RelayError::new(&self.hop.target, error))
    }

    /// Begins a transaction over this connection, as [`NextHops::begin`] does over one of its own;
    /// [`Transaction::finish`] gives it back.
    pub async fn begin(
        mut self,
        session: &Session,
        envelope: &Envelope,
    ) -> Result<(Transaction<'a>, Reply), RelayError> {
        let Login { hop, options, .. } = self;
        let (reply, foreseen) = match hop.cannot_take(&self.connection, envelope) {
            Some(error) => (error.reply(), VecDeque::new()),
            None => {
                let told = self.connection.mail(session, envelope, options).await;
                told.map_err(|error| RelayError::new(&hop.target, error))?
            }
        };
        let link = Link::Smtp(self.connection);
        let answered = Instant::now();
        Ok((Transaction { hop, options, link, alone: true, taken: 0, foreseen, answered }, reply))
    }

    pub(super) fn back(hop: &'a Hop, options: &'a Options, connection: Connection) -> Login<'a> {
        Login { hop, options, connection }
    }

    /// Says goodbye, without waiting for an answer.
    pub async fn quit(mut self) {
        let _ = timeout(Duration::from_secs(1), self.connection.write(b"QUIT\r\n")).await;
    }
}

/// Mechanisms that can be passed on.
fn usable(offered: &[String]) -> Vec<String> {
    let bound = |mechanism: &str| mechanism == "EXTERNAL" || mechanism.ends_with("-PLUS");
    offered.iter().filter(|mechanism| !bound(mechanism)).cloned().collect()
}
