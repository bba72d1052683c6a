//! Checks of the connection: begun when the client connects, waited for when their result is needed.

use std::sync::Arc;

use gatepost_mail::{Cause, Fault, OnFault, Session};
use tokio::task::JoinHandle;

use crate::checks::Found;
use crate::front::Front;

/// What is known of a client.
#[derive(Default)]
pub(super) enum Early {
    /// Nobody has asked.
    #[default]
    NotAsked,
    /// The checks run.
    Running(Asking),
    /// They are done.
    Known(Found),
}

/// Ends with the session: nobody waits for it then.
pub(super) struct Asking(JoinHandle<Found>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Early {
    /// Begins.
    pub(super) fn ask(&mut self, front: &Arc<Front>, session: &Session) {
        let (front, mut session) = (front.clone(), session.clone());
        front.direct(&mut session, &[]);
        let asking = async move { front.pipeline.checks.connect(&session).await };
        *self = Early::Running(Asking(tokio::spawn(asking)));
    }

    /// What was found; waits for it. The time it took is told once.
    pub(super) async fn known(&mut self) -> Found {
        if let Early::Running(asking) = self {
            let found = (&mut asking.0).await.unwrap_or_else(|error| {
                let detail = format!("checks of the connection failed: {error}");
                let fault =
                    Fault { check: "connection".into(), cause: Cause::Bug, detail, answer: OnFault::Defer };
                Found { faults: vec![fault], ..Found::default() }
            });
            *self = Early::Known(found);
        }
        match self {
            Early::Known(found) => {
                let known = found.clone();
                found.times.clear();
                known
            }
            _ => Found::default(),
        }
    }
}
