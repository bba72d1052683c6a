//! The envelope: sender, recipients and parameters of MAIL and RCPT.

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
}
