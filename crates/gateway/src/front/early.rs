//! Checks of the connection run beside the dialogue, and are waited for when their result is needed.

use std::sync::Arc;
use std::time::Duration;

use gatepost_mail::{Cause, Fault, OnFault, Session};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Front;
use crate::checks::Found;

/// What is known of a client; nothing as long as nobody has asked.
#[derive(Default)]
pub(super) struct Early {
    asking: Option<Asking>,
    found: Found,
}

/// Ends with the session: nobody waits for it then.
struct Asking(JoinHandle<Found>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Early {
    /// Begins.
    pub(super) fn ask(front: &Arc<Front>, session: &Session) -> Early {
        let (front, session) = (front.clone(), session.clone());
        let asking = async move { front.pipeline.checks.connect(&session).await };
        Early { asking: Some(Asking(tokio::spawn(asking))), found: Found::default() }
    }

    /// What was found, if that is known within this time; else nothing yet, and whoever asks later may know more.
    pub(super) async fn known_within(&mut self, time: Duration) -> &Found {
        let _ = timeout(time, self.known()).await;
        &self.found
    }

    /// What was found; waits for it.
    pub(super) async fn known(&mut self) -> &Found {
        if let Some(asking) = &mut self.asking {
            self.found = (&mut asking.0).await.unwrap_or_else(|error| {
                let detail = format!("checks of the connection failed: {error}");
                let fault =
                    Fault { check: "connection".into(), cause: Cause::Bug, detail, answer: OnFault::Defer };
                Found { faults: vec![fault], ..Found::default() }
            });
            self.asking = None;
        }
        &self.found
    }

    /// The same for the record of a message. The time it took is told once, however many messages profit.
    pub(super) async fn told(&mut self) -> Found {
        let told = self.known().await.clone();
        self.found.times.clear();
        told
    }
}
