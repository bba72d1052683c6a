//! gatepost: a mail security gateway. See ARCHITECTURE.md for the way of a message.

pub mod checks;
pub mod config;
pub mod logging;
pub mod privileges;
pub mod records;
pub mod resources;
pub mod verdict;
