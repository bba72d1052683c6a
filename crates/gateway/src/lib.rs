//! gatepost: a mail security gateway. See ARCHITECTURE.md for the way of a message.

pub mod build;
pub mod checks;
pub mod cli;
pub mod config;
pub mod effects;
pub mod front;
pub mod logging;
pub mod noticing;
pub mod pipeline;
pub mod privileges;
pub mod records;
pub mod reporting;
pub mod resources;
pub mod serve;
pub mod updating;
pub mod verdict;
pub mod worker;

#[cfg(test)]
mod tidy;
