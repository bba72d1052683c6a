//! Where clients are made to wait, or to come another time.

use std::time::Duration;

use gatepost_mail::{Parameters, Reply};
use tokio::io::AsyncReadExt;

use super::{Client, End, Step};
use crate::checks::Found;
use crate::front::listen::is_trusted;
use crate::front::protect::Entry;

impl Client<'_> {
    /// How long this client waits for the banner, beyond the greet pause.
    pub(super) async fn banner_delay(&mut self) -> Result<Duration, End> {
        let Some(client) = self.session.client.filter(|client| !is_trusted(self.front, *client)) else {
            return Ok(Duration::ZERO);
        };
        match self.place.pace().enter(&self.front.guard, client).await {
            Entry::After(delay) => {
                if !delay.is_zero() {
                    self.front.metrics.protected("delayed_banner");
                    tracing::debug!("[{client}] waits {} s for the banner", delay.as_secs());
                }
                Ok(delay)
            }
            Entry::Later => {
                self.front.metrics.protected("connections");
                tracing::info!("Too many connections in a short time, [{client}] put off");
                let text = format!("{} Too many connections, please try again later", self.front.hostname);
                self.last_reply(Reply::new(421, "4.7.0", text))?;
                Err(End::Told)
            }
        }
    }

    /// Whether the client speaks before the banner, which real mail servers never do (RFC 5321 section 4.3.1). Our
    /// own networks may: people type and scripts pipe there.
    pub(super) async fn talks_early(&mut self, already: bool, delay: Duration) -> Result<bool, End> {
        let ours = self.session.is_local() || self.session.client.is_some_and(|client| self.is_ours(client));
        let pause = self.front.listener.greet_pause.duration() + delay;
        if ours || already || pause.is_zero() {
            return Ok(already && !ours);
        }
        let _waiting = match delay.is_zero() {
            true => None,
            false => Some(self.may_wait()?),
        };
        tokio::select! {
            read = self.stream.read_buf(&mut self.input) => match read {
                Ok(0) | Err(_) => Err(End::Closed),
                Ok(_) => Ok(true),
            },
            () = tokio::time::sleep(pause) => Ok(false),
            () = drained(self.draining.clone()) => Ok(false),
        }
    }

    /// Why no mail is taken at this time, if so.
    pub(super) fn strained(&self, parameters: &Parameters) -> Option<Reply> {
        let guard = &self.front.guard;
        let ours = self.session.user.is_some()
            || (self.session.is_local() || self.session.client.is_some_and(|client| self.is_ours(client)));
        if !guard.has_room(parameters.size) {
            self.front.metrics.protected("disk");
            tracing::warn!("No space left by protection.free_disk: mail is put off");
            return Some(super::no_space());
        }
        if !ours && guard.defers() {
            self.front.metrics.protected("load");
            return Some(Reply::new(451, "4.3.2", "Load is too high, please try again later"));
        }
        None
    }

    /// A recipient is refused. Refused for good it counts, and whoever names too many waits, then is cut off; for the time
    /// being it is only put off.
    pub(super) fn refuse_recipient(&mut self, reply: Reply) -> Step {
        if !reply.is_permanent() {
            return if reply.code == 421 { self.error(reply) } else { self.later(reply) };
        }
        self.refused += 1;
        self.reply(&reply);
        let settings = self.front.guard.settings();
        if self.refused >= settings.refused_recipients {
            self.front.metrics.protected("recipients");
            let client = self.session.client.map(|client| client.to_string()).unwrap_or_default();
            tracing::warn!("Too many refused recipients ({}), [{client}] cut off", self.refused);
            return self.last_reply(Reply::new(421, "4.7.0", "Too many wrong recipients"));
        }
        if self.refused > settings.refused_recipients_free {
            self.wait_for(settings.refused_recipients_delay.duration());
        }
        self.tarpit();
        Ok(())
    }

    /// A refusal is late if the client has earned that.
    pub(super) fn tarpit(&mut self) {
        let settings = self.front.guard.settings();
        if self.suspect || self.errors + self.refused > settings.tarpit_errors {
            self.wait_for(settings.tarpit.duration());
        }
    }

    /// Remembers whether what is known of the client makes its refusals late.
    pub(super) fn suspect(&mut self, known: &Found) {
        let patterns = &self.front.guard.settings().tarpit_symbols;
        let is_one = |symbol: &str| {
            patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(stem) => symbol.starts_with(stem),
                None => symbol == pattern,
            })
        };
        self.suspect = known.findings.iter().any(|finding| is_one(&finding.symbol));
    }

    /// The next reply takes so long at least. Who is ours never waits.
    fn wait_for(&mut self, time: Duration) {
        let ours = self.session.user.is_some()
            || (self.session.is_local() || self.session.client.is_some_and(|client| self.is_ours(client)));
        if !ours {
            self.penalty = self.penalty.max(time);
        }
    }

    /// Waits before what was said goes out. A message is never judged meanwhile, and a stopping daemon ends it.
    pub(super) async fn serve_penalty(&mut self) -> Step {
        let time = std::mem::take(&mut self.penalty);
        if time.is_zero() {
            return Ok(());
        }
        self.front.metrics.protected("delayed_reply");
        let _waiting = self.may_wait()?;
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = drained(self.draining.clone()) => {}
        }
        Ok(())
    }

    /// A place among those that wait. Without one the client is cut off: those who make us wait must not have all sessions.
    fn may_wait(&mut self) -> Result<crate::front::protect::Waiting, End> {
        if let Some(waiting) = self.place.pace().wait(&self.front.guard) {
            return Ok(waiting);
        }
        self.front.metrics.protected("delayed_sessions");
        let text = format!("{} Too busy, please try again later", self.front.hostname);
        self.reply(&Reply::new(421, "4.7.0", text));
        Err(End::Told)
    }
}

/// Until the daemon stops.
async fn drained(mut draining: tokio::sync::watch::Receiver<bool>) {
    // Whoever could tell us is gone: then nobody stops us either.
    if draining.wait_for(|draining| *draining).await.is_err() {
        std::future::pending::<()>().await;
    }
}
