//! Configuration: what was typed ([`typed`]), read from files with the place of every value remembered.

pub mod attachments;
pub mod auth;
mod de;
pub mod dmarc_reports;
mod effective;
pub mod greylist;
pub mod listen;
mod lists;
pub mod load;
pub mod maps;
pub mod next_hop;
pub mod notices;
pub mod p0f;
pub mod parts;
pub mod protection;
mod reference;
pub mod restrictions;
pub mod rule_channels;
pub mod rules;
pub mod scanners;
pub mod state;
mod tree;
pub mod typed;
pub mod units;
pub mod update;
mod validate;
pub mod worker;

pub use effective::effective;
pub use listen::ListenAddress;
pub use load::{Loaded, Origins, load};
pub use next_hop::{NextHop, NextHopTls};
pub use reference::reference;
pub use tree::{Located, Origin};
pub use typed::Config;

/// Something wrong with the configuration. The key is written as `checks.clamd.main.socket` or
/// `listener[0].next_hop[1]`; whoever prints it looks up the file, line and column the key stands at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which key.
    pub key: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem with a key.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { key: key.into(), message: message.into() }
    }
}
