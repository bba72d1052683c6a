//! The ways in. A front translates its protocol and never decides.

mod ampdp;
mod asker;
mod clamd;
pub mod direction;
mod early;
mod handback;
mod http;
pub mod listen;
pub mod local;
mod mend;
mod milter;
mod policy;
pub mod protect;
pub mod queue;
mod smtp;
mod spamd;
mod spool;

use std::path::PathBuf;
use std::sync::Arc;

pub use policy::Told;

use gatepost_mail::{Recipient, Session};
use tokio::sync::watch;

use self::protect::Guard;
use crate::config::typed::{Listener, SessionLimits};
use crate::config::units::Net;
use crate::effects::relay::NextHops;
use crate::effects::release::ReleaseHops;
use crate::pipeline::Pipeline;
use crate::records::Metrics;
use crate::resources::tls::ServerTls;

/// What the sessions of one listener share. A reload makes a new one; sessions end with the one they began with.
#[derive(Clone)]
pub struct Front {
    /// The listener's configuration.
    pub listener: Listener,
    /// Limits of sessions.
    pub limits: SessionLimits,
    /// Name of this host.
    pub hostname: String,
    /// Our networks.
    pub networks: Vec<Net>,
    /// Our domains.
    pub domains: Vec<String>,
    /// Where messages too large for memory are collected.
    pub spool: PathBuf,
    /// What judges.
    pub pipeline: Arc<Pipeline>,
    /// Where mail goes. Empty where whoever asks carries mail on itself.
    pub hops: Arc<NextHops>,
    /// Where released mail of all listeners goes.
    pub releases: Arc<ReleaseHops>,
    /// The certificate for STARTTLS, if any.
    pub tls: Option<Arc<ServerTls>>,
    /// Header fields that a policy service has told of.
    pub told: Arc<Told>,
    /// What keeps clients from using up this host.
    pub guard: Arc<Guard>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Turns true when the daemon wants to stop.
    pub draining: watch::Receiver<bool>,
}

impl Front {
    /// Fills in which way the mail of a session goes, as far as its recipients tell.
    pub fn direct(&self, session: &mut Session, recipients: &[Recipient]) {
        let originating = self.listener.originating;
        let direction = direction::by_listener(originating, session, &self.networks, &self.domains);
        session.direction = direction::with_recipients(direction, recipients, &self.domains);
    }
}
