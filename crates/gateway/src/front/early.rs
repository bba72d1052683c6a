//! What is asked about a session before there is a recipient runs beside the dialogue, and is waited for when its result
//! is needed.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use gatepost_mail::{Cause, Envelope, Fault, OnFault, Session};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Front;
use crate::checks::Found;
use crate::checks::run::SoFar;

/// Longest that a message waits for its client's name, which nobody may need.
const NAME_TIME: Duration = Duration::from_secs(5);

/// What is known of a session and of the sender of its transaction.
#[derive(Default)]
pub(super) struct Early {
    connect: Known,
    name: Known,
    hello: Known,
    sender: Known,
}

/// What is known at one stage; nothing as long as nobody has asked.
#[derive(Default)]
struct Known {
    asked: bool,
    asking: Option<Asking>,
    found: Found,
    /// What is known while it is still asked.
    so_far: Arc<SoFar>,
}

/// Ends with the session: nobody waits for it then.
struct Asking(JoinHandle<Found>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Early {
    /// Asks about a client that has connected, unless that was done.
    pub(super) async fn connect(&mut self, front: &Arc<Front>, session: &Session) {
        if !self.connect.asked {
            let (front, session, so_far) = (front.clone(), session.clone(), self.connect.so_far.clone());
            self.connect
                .ask(Box::pin(async move { front.pipeline.checks.connect(&session, &so_far).await }))
                .await;
        }
    }

    /// Asks about what it calls itself, unless that was done.
    pub(super) async fn hello(&mut self, front: &Arc<Front>, session: &Session) {
        if !self.hello.asked {
            let (front, session, so_far) = (front.clone(), session.clone(), self.hello.so_far.clone());
            self.hello
                .ask(Box::pin(async move { front.pipeline.checks.hello(&session, &so_far).await }))
                .await;
        }
    }

    /// The client's name, asked for once, as far as it is known within [`NAME_TIME`]. Restrictions may have asked already.
    pub(super) async fn client_name(&mut self, front: &Arc<Front>, session: &Session) -> Option<String> {
        if !self.name.asked {
            let (front, session) = (front.clone(), session.clone());
            self.name.ask(Box::pin(async move { front.pipeline.checks.client_name(&session).await })).await;
        }
        let _ = timeout(NAME_TIME, self.name.known()).await;
        self.name.found.client_name.clone()
    }

    /// It calls itself something else from now on.
    pub(super) fn forget_hello(&mut self) {
        (self.hello, self.sender) = (Known::default(), Known::default());
    }

    /// Asks about a sender. What was known of the one before is forgotten.
    pub(super) async fn sender(&mut self, front: &Arc<Front>, session: &Session, envelope: &Envelope) {
        self.sender = Known::default();
        let (front, session, so_far) = (front.clone(), session.clone(), self.sender.so_far.clone());
        let (sender, parameters) = (envelope.sender.clone(), envelope.parameters.clone());
        let envelope = Envelope { sender, parameters, recipients: Vec::new() };
        self.sender
            .ask(Box::pin(async move { front.pipeline.checks.sender(&session, &envelope, &so_far).await }))
            .await;
    }

    /// What was found, as far as that is known within this time, with a fault for each check that is not done then;
    /// whoever asks later may know more.
    pub(super) async fn known_within(&mut self, time: Duration) -> Found {
        let _ = timeout(time, self.known()).await;
        let mut all = self.connect.by_now();
        all.merge(self.hello.by_now());
        all.merge(self.sender.by_now());
        all
    }

    /// Waits until all that was asked is known.
    async fn known(&mut self) {
        tokio::join!(self.connect.known(), self.hello.known(), self.sender.known());
    }

    /// All that was found, for the record of a message. The time it took is told once, however many messages profit.
    pub(super) async fn told(&mut self) -> Found {
        self.known().await;
        let mut told = self.connect.found.clone();
        told.merge(self.hello.found.clone());
        told.merge(std::mem::take(&mut self.sender).found);
        self.connect.found.times.clear();
        self.hello.found.times.clear();
        told
    }
}

impl Known {
    /// What is known at once is; everything else goes on by itself.
    async fn ask(&mut self, mut asking: BoxFuture<'static, Found>) {
        self.asked = true;
        match futures_util::poll!(&mut asking) {
            Poll::Ready(found) => self.found = found,
            Poll::Pending => self.asking = Some(Asking(tokio::spawn(asking))),
        }
    }

    fn by_now(&self) -> Found {
        if self.asking.is_some() { self.so_far.known() } else { self.found.clone() }
    }

    /// May be given up and waited for again.
    async fn known(&mut self) {
        let Some(asking) = &mut self.asking else { return };
        self.found = (&mut asking.0).await.unwrap_or_else(|error| {
            let detail = format!("checks of the session failed: {error}");
            let fault = Fault { check: "session".into(), cause: Cause::Bug, detail, answer: OnFault::Defer };
            Found { faults: vec![fault], ..Found::default() }
        });
        self.asking = None;
    }
}
