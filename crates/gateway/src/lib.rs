//! gatepost: a mail security gateway. See ARCHITECTURE.md for the way of a message.

pub mod checks;
pub mod config;
pub mod records;
pub mod resources;
