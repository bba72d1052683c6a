//! Carries a message on in lockstep with its sender's session.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{Envelope, Reply, Session};

use super::hop_lost;
use crate::effects::relay::{NextHops, RelayError, Transaction};
use crate::pipeline::{Carrier, Shipment};
use crate::records::Metrics;

/// Carries a message on over the transaction that the recipients were told to.
pub(super) struct Lockstep<'t, 'h> {
    pub(super) hops: &'h NextHops,
    pub(super) transaction: &'t mut Transaction<'h>,
    pub(super) session: &'t Session,
    pub(super) envelope: &'t Envelope,
    /// The next hop stands with this envelope open, as the sender gave it.
    pub(super) told: bool,
    pub(super) metrics: &'t Metrics,
}

impl Carrier for Lockstep<'_, '_> {
    fn name(&self) -> String {
        self.transaction.next_hop()
    }

    fn carry<'a>(&'a mut self, shipment: Shipment<'a>) -> BoxFuture<'a, Vec<Reply>> {
        let Shipment { recipients, extension, .. } = shipment;
        let message = shipment.chunks();
        Box::pin(async move {
            let everybody = recipients.len() == self.envelope.recipients.len();
            let as_told = self.told && everybody && extension.is_none();
            self.told = false;
            let sent = match as_told && self.transaction.stands().await {
                true => self.transaction.message(&message).await,
                false => self.send_again(recipients, extension, &message).await,
            };
            let replies = sent.unwrap_or_else(|error| {
                tracing::warn!(%error, "next hop failed");
                vec![error.reply()]
            });
            replies.iter().for_each(|reply| self.metrics.next_hop_reply(reply));
            replies
        })
    }

    /// By a connection of its own: the one at hand stands for the client and may have an envelope open.
    fn notify(&mut self, envelope: Envelope, message: Bytes) -> BoxFuture<'_, Option<Reply>> {
        Box::pin(async move {
            let mut replies = self.hops.send(&Session::default(), &envelope, &[message]).await;
            Some(replies.pop().unwrap_or_else(hop_lost))
        })
    }
}

impl Lockstep<'_, '_> {
    /// To some of the recipients, or under other addresses, or after the next hop was lost: the envelope is told anew.
    /// A reply for each recipient.
    async fn send_again(
        &mut self,
        recipients: &[usize],
        extension: Option<&str>,
        message: &[Bytes],
    ) -> Result<Vec<Reply>, RelayError> {
        let mut envelope = Envelope { recipients: Vec::new(), ..self.envelope.clone() };
        for &at in recipients {
            let mut recipient = self.envelope.recipients[at].clone();
            if let Some(extension) = extension {
                recipient.address = recipient.address.with_extension(extension);
            }
            envelope.recipients.push(recipient);
        }
        let told = self.transaction.begin_again(self.session, &envelope).await?;
        self.transaction.message_to(told, message).await
    }
}
