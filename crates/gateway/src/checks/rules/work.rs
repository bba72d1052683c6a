//! What is computed of one message: which questions it raises, and, once they are answered, which rules hit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_mail::Message;
use gatepost_rules::engine::{Fault, Limits, Outcome};
use gatepost_rules::evals::{Known, Native};
use gatepost_rules::net::{Answers, Plan, Query};
use gatepost_rules::texts::{Given, Texts};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::prefix;
use crate::resources::rules::Rules;

/// Most of a matched text that is told, in bytes.
const EXCERPT: usize = 120;

/// A message to be looked at, with all that this takes.
pub(super) struct Work {
    pub rules: Arc<Rules>,
    pub message: Message,
    pub given: Given,
    pub known: Known,
    /// For all that is computed.
    pub time: Duration,
    /// Its texts while it waits, and the room that they have for it.
    pub kept: Option<(Texts<'static>, OwnedSemaphorePermit)>,
}

/// How far it has come.
pub(super) enum Step {
    /// To its end.
    Done(Box<Looked>),
    /// To questions.
    Asks(Box<Work>, Box<Plan>),
}

/// What looking at a message came to.
pub(super) struct Looked {
    pub outcome: Outcome,
    /// Questions to the DNS without an answer.
    pub unanswered: Vec<Query>,
    /// What rules put before the subject, by their names.
    pub prefixes: Vec<(String, String)>,
}

impl Work {
    /// Looks which questions there are; if there are none, that is all. Texts stay while others answer, as long as there is
    /// room for them.
    pub fn begin(mut self, room: &Arc<Semaphore>) -> Step {
        let begun = Instant::now();
        let texts = self.texts();
        let plan = self.rules.net.plan_until(&texts, &self.known, Some(begun + self.time));
        if plan.is_empty() {
            return Step::Done(Box::new(self.looked(&texts, plan.finish(), begun)));
        }
        self.time = self.time.saturating_sub(begun.elapsed());
        let room = room.clone().try_acquire_many_owned(room_for(self.message.raw.len()));
        self.kept = room.ok().map(|room| (texts, room));
        Step::Asks(Box::new(self), Box::new(plan))
    }

    /// Evaluates, with the answers.
    pub fn end(mut self, answers: Answers) -> Looked {
        let begun = Instant::now();
        let texts = self.kept.take().map_or_else(|| self.texts(), |(texts, _)| texts);
        self.looked(&texts, answers, begun)
    }

    fn texts(&self) -> Texts<'static> {
        let mut given = self.given.clone();
        self.rules.look_into(&self.message, &mut given);
        Texts::sharing(&self.message, given, self.rules.texts.clone())
    }

    fn looked(mut self, texts: &Texts<'_>, mut answers: Answers, begun: Instant) -> Looked {
        let unanswered = std::mem::take(&mut answers.unanswered);
        let faults = std::mem::take(&mut answers.faults);
        answers.enter(&mut self.known);
        let Work { rules, known, time, .. } = &self;
        let evals = Native::new(texts, rules.engine.settings(), known, &rules.patterns).until(begun + *time);
        let time = time.saturating_sub(begun.elapsed());
        let limits = Limits { time, excerpt: EXCERPT, ..Limits::default() };
        let mut outcome = rules.engine.evaluate(texts, &evals, limits);
        // Before the others, of which only some are told.
        outcome.faults.splice(0..0, left_out(texts));
        let faults = faults.into_iter().map(|(rule, message)| Fault { rule: rule.into(), message });
        outcome.faults.extend(faults);
        let prefixes = prefix::of(&outcome, rules, texts);
        Looked { outcome, unanswered, prefixes }
    }
}

/// What no rule has looked at.
pub(crate) fn left_out(texts: &Texts<'_>) -> Option<Fault> {
    texts.left_out().map(|why| Fault { rule: "message".into(), message: why.to_owned() })
}

/// What the texts of a message of so many bytes may take, in KiB, as measured: a copy of it, its parts decoded, what is shown of
/// them, its addresses.
fn room_for(size: usize) -> u32 {
    u32::try_from(size / 1024 * 4 + 16).unwrap_or(u32::MAX)
}
