//! The steps of an evaluation, as an administrator reads them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Steps kept of one evaluation. A record may have thousands of terms; whoever reads the trace has seen enough by then.
const STEPS: usize = 500;

/// Answers to one question that are kept.
const ANSWERS: usize = 12;

/// Characters kept of one text.
const TEXT: usize = 1_000;

/// Something that happened on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// How many `include`s it lies in.
    pub depth: usize,
    /// What happened.
    pub event: Event,
}

/// What happened in a [`Step`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A name server was asked. Long answers are cut.
    Asked {
        /// For which type.
        kind: Kind,
        /// About which name.
        name: String,
        /// What it said.
        answer: Result<Vec<String>, String>,
    },
    /// A policy that is evaluated from here on.
    Record {
        /// Whose it is.
        domain: String,
        /// Its text, cut if it is very long.
        text: String,
    },
    /// A term that asks name servers begins.
    Counted {
        /// As it stands in the record.
        term: String,
        /// The name it is about, macros expanded.
        target: String,
        /// How many there have been, with it.
        lookups: u32,
        /// How many there may be.
        limit: u32,
    },
    /// A term found nothing.
    Void {
        /// How many there have been, with it.
        voids: u32,
        /// How many there may be.
        limit: u32,
    },
    /// A term was evaluated.
    Term {
        /// As it stands in the record.
        term: String,
        /// Whether it matched.
        matched: bool,
        /// Why.
        why: String,
    },
    /// Anything else worth telling.
    Note(String),
}

/// Type of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchangers.
    Mx,
    /// Names of an address.
    Ptr,
    /// Texts.
    Txt,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Mx => "MX",
            Kind::Ptr => "PTR",
            Kind::Txt => "TXT",
        })
    }
}

impl fmt::Display for Step {
    /// One line, indented by its depth. What strangers wrote stands in it with control characters replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:1$}", "", self.depth * 2)?;
        match &self.event {
            Event::Asked { kind, name, answer: Ok(answers) } => {
                write!(f, "{kind} {}: {}", plain(name), plain(&answers.join(" | ")))
            }
            Event::Asked { kind, name, answer: Err(why) } => {
                write!(f, "{kind} {}: {}", plain(name), plain(why))
            }
            Event::Record { domain, text } => write!(f, "record of {}: {}", plain(domain), plain(text)),
            Event::Counted { term, target, lookups, limit } => {
                write!(f, "{} asks for {}: look-up {lookups} of {limit}", plain(term), plain(target))
            }
            Event::Void { voids, limit } => write!(f, "nothing found: void look-up {voids} of {limit}"),
            Event::Term { term, matched, why } => {
                let verb = if *matched { "matches" } else { "does not match" };
                write!(f, "{} {verb}: {}", plain(term), plain(why))
            }
            Event::Note(text) => f.write_str(&plain(text)),
        }
    }
}

/// Adds a step, within the bounds.
pub(super) fn push(trace: &mut Vec<Step>, depth: usize, mut event: Event) {
    if trace.len() >= STEPS {
        return;
    }
    if trace.len() + 1 == STEPS {
        event = Event::Note(format!("{STEPS} steps: no more are told"));
    }
    match &mut event {
        Event::Asked { answer: Ok(answers), .. } => {
            let more = answers.len().saturating_sub(ANSWERS);
            answers.truncate(ANSWERS);
            answers.iter_mut().for_each(cut);
            if more > 0 {
                answers.push(format!("and {more} more"));
            }
        }
        Event::Asked { answer: Err(text), .. } | Event::Record { text, .. } | Event::Note(text) => cut(text),
        Event::Counted { term, .. } => cut(term),
        Event::Term { term, why, .. } => {
            cut(term);
            cut(why);
        }
        Event::Void { .. } => {}
    }
    trace.push(Step { depth, event });
}

/// A text without control characters: it goes into logs, terminals and header fields.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Cuts a text that is too long to be read.
fn cut(text: &mut String) {
    if text.len() > TEXT {
        text.truncate(text.floor_char_boundary(TEXT));
        text.push('…');
    }
}
