//! Gives a message back to whoever asked about it and carries it on itself: a milter's mail server, the owner of a
//! queue, a filter in a pipe.
//!
//! The asker is responsible for the message all the time: it has not told its sender yet that it took the message, or
//! still has it in its queue. So nothing can be lost here, whatever happens before our answer arrives.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{Changes, Reply};

use crate::pipeline::{Carrier, Shipment};
use crate::verdict::Conclusion;

/// The carrier of such a message. Use it with [`Answers::OneCopy`](crate::verdict::Answers::OneCopy).
#[derive(Default)]
pub(super) struct HandBack {
    /// Who carries it on, for the record: `mail server`, `queue`.
    name: &'static str,
    form: Form,
    /// The asker can hold mail itself and is to do so.
    holds: bool,
    held: Option<String>,
    refusing: Option<Reply>,
    recipients: Vec<Onward>,
    changes: Changes,
    message: Vec<Bytes>,
}

/// How the asker wants to have the changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// As instructions.
    #[default]
    Instructions,
    /// As the whole new message.
    Message,
}

/// A recipient who gets the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Onward {
    /// Place in the envelope.
    pub place: usize,
    /// Put behind the local part, delimiter included.
    pub extension: Option<String>,
}

/// What the asker shall do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Go on, for these recipients only, with these changes.
    Continue {
        /// In the order of the envelope.
        recipients: Vec<Onward>,
        /// Empty with [`Form::Message`].
        changes: Changes,
        /// The changed message in pieces; empty with [`Form::Instructions`].
        message: Vec<Bytes>,
    },
    /// Take it and forget it: it is in our vault, or was to be thrown away.
    Discard,
    /// Hold it, for this reason.
    Hold(String),
    /// Refuse it or put it off.
    Reply(Reply),
}

impl HandBack {
    /// For an asker of that name.
    pub fn new(name: &'static str, form: Form) -> HandBack {
        HandBack { name, form, ..HandBack::default() }
    }

    /// The asker holds what is to be held, where it is to be held for everybody.
    pub fn holding(self, holds: bool) -> HandBack {
        HandBack { holds, ..self }
    }

    /// Nothing is passed on, but gets this reply, if there is one: the asker could not do what was decided.
    pub fn refusing(self, reply: Option<Reply>) -> HandBack {
        HandBack { refusing: reply, ..self }
    }

    /// What the asker shall do, once the pipeline has concluded.
    pub fn fate(self, conclusion: &Conclusion) -> Fate {
        if !conclusion.one.is_positive() {
            return Fate::Reply(conclusion.one.clone());
        }
        match self.held {
            Some(reason) => Fate::Hold(reason),
            None => self.onward(),
        }
    }

    /// The same for what was carried so far.
    pub fn onward(mut self) -> Fate {
        if self.recipients.is_empty() {
            return Fate::Discard;
        }
        self.recipients.sort_by_key(|onward| onward.place);
        Fate::Continue { recipients: self.recipients, changes: self.changes, message: self.message }
    }
}

impl Carrier for HandBack {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn carry<'a>(&'a mut self, shipment: Shipment<'a>) -> BoxFuture<'a, Vec<Reply>> {
        if let Some(reply) = self.refusing.clone() {
            return Box::pin(async { vec![reply] });
        }
        // The edits are the same each time: there is one copy.
        match self.form {
            _ if !self.recipients.is_empty() => {}
            Form::Instructions => {
                self.changes = gatepost_mail::changes(&shipment.mail.message, shipment.edits);
            }
            Form::Message => self.message = shipment.chunks(),
        }
        let extension = shipment.extension.map(str::to_owned);
        let onward = |&place: &usize| Onward { place, extension: extension.clone() };
        self.recipients.extend(shipment.recipients.iter().map(onward));
        Box::pin(async { vec![Reply::new(250, "2.0.0", "Passed on")] })
    }

    fn hold(&mut self, reason: &str) -> bool {
        if self.holds {
            self.held = Some(reason.to_owned());
        }
        self.holds
    }
}
