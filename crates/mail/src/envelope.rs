//! The envelope: sender, recipients and parameters of MAIL and RCPT.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Address;

/// Envelope of one message.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// Envelope sender; None is the empty reverse path `<>`.
    pub sender: Option<Address>,
    /// Parameters of MAIL FROM.
    pub parameters: Parameters,
    /// Recipients that were accepted so far, in the order they came.
    pub recipients: Vec<Recipient>,
}

/// One accepted recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Its address.
    pub address: Address,
    /// Parameters of RCPT TO as they came (`NOTIFY=NEVER`), to be passed on.
    pub parameters: Vec<String>,
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Recipient {
        Recipient { address, parameters: Vec::new() }
    }
}

/// Parameters of MAIL FROM.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    /// `SIZE=`: the size the client announced, in bytes (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=8BITMIME` was said (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` was said (RFC 6531).
    pub smtputf8: bool,
    /// `PRDR` was said: every recipient wants its own answer after DATA.
    pub prdr: bool,
    /// All other parameters (`RET=HDRS`, `ENVID=…`), to be passed on as they came.
    pub other: Vec<String>,
    /// Where this message was counted already.
    pub counted: Counted,
}

/// Most counters that a message is remembered on; on further ones it may count more than once.
const COUNTERS: usize = 1000;

/// Counters that a message stands on, so that it counts once whatever becomes of its recipients. Copies share it; each MAIL
/// begins a new one.
#[derive(Clone, Debug, Default)]
pub struct Counted(Arc<Mutex<BTreeSet<String>>>);

impl Counted {
    /// Whether the message stands on this counter.
    pub fn contains(&self, counter: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(counter)
    }

    /// Remembers that it does.
    pub fn insert(&self, counter: String) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() < COUNTERS {
            counters.insert(counter);
        }
    }
}
