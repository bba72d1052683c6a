//! The command line: arguments and wiring only.

pub mod check;
pub mod config;
pub mod init;
