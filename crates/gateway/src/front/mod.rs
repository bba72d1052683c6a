//! The ways in. A front translates its protocol and never decides.

pub mod direction;
pub mod listen;
pub mod smtp;
mod spool;
