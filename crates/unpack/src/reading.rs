//! A message being read, in two steps: first all that costs no more than reading mail does, then the containers.

use bytes::Bytes;
use gatepost_mail::{Budget, Limits, Message, Origin, Part, PartId, begins_with_field};

use crate::{Roots, walk};

/// A message of which everything is read but what lies in containers that must be unpacked.
pub struct Reading {
    pub(crate) message: Message,
    /// What the rest may cost.
    pub(crate) left: Limits,
    pub(crate) roots: Roots,
    /// The first part that must be unpacked; None when everything is read.
    pub(crate) at: Option<usize>,
}

impl Reading {
    /// Reads a message as [`crate::read`] does, up to the first container that must be unpacked.
    pub fn mail(raw: Bytes, limits: &Limits) -> Reading {
        Reading::mended(raw, None, limits)
    }

    /// The same for one whose line endings were mended, together with what it was before
    /// ([`Message::read_mended`]).
    pub fn mended(raw: Bytes, unmended: Option<Bytes>, limits: &Limits) -> Reading {
        let mut budget = Budget::new(limits);
        let message = Message::read_mended(raw, unmended, &mut budget);
        Reading::begin(message, budget)
    }

    /// Reads a file as [`crate::read_file`] does, up to the first container that must be unpacked.
    pub fn file(file: Bytes, name: Option<&str>, limits: &Limits) -> Reading {
        let mut budget = Budget::new(limits);
        let names = name.map(str::to_owned).into_iter().collect();
        let mut message = match begins_with_field(&file) {
            true => Message::read(file.clone(), &mut budget),
            false => Message::unread(file.clone()),
        };
        let (parent, depth) = if message.parts.is_empty() { (None, 0) } else { (Some(PartId(0)), 1) };
        message.push(Part { parent, names, ..Part::new(PartId(0), depth, Origin::Embedded, file) });
        Reading::begin(message, budget)
    }

    fn begin(mut message: Message, mut budget: Budget) -> Reading {
        let mut roots = Roots::new(&message);
        let at = walk(&mut message, &mut budget, &mut roots, 0, true);
        Reading { message, left: budget.left(), roots, at }
    }

    /// Whether nothing must be unpacked: all is read. So it is with ordinary mail.
    pub fn is_done(&self) -> bool {
        self.at.is_none()
    }

    /// Unpacks what is left, here. The time that passed since the first step does not count.
    pub fn finish(mut self) -> Message {
        if let Some(at) = self.at {
            walk(&mut self.message, &mut Budget::new(&self.left), &mut self.roots, at, false);
        }
        self.message
    }

    /// The message as far as it was read.
    pub fn into_message(self) -> Message {
        self.message
    }

    /// What the rest may cost.
    pub fn left(&self) -> &Limits {
        &self.left
    }
}
