//! What is done about a message: it goes to the next hop, or into the built-in Maildir, or its sender is told.

pub mod bounce;
pub mod callahead;
pub mod maildir;
pub mod notice;
pub mod relay;
pub mod release;
mod report;
pub mod sign;
