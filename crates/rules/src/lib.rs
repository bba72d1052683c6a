//! SpamAssassin's rule language.
//!
//! `conf` reads .cf files into rules; `texts` makes of a message what rules look at; `engine` evaluates the one over the
//! other. Nothing here does I/O: files are handed in as bytes, look-ups (DNS, SPF, DKIM) as answers.

pub mod conf;
pub mod engine;
pub mod evals;
pub mod lint;
pub mod meta;
pub mod net;
pub mod own;
pub mod regex;
pub mod report;
pub mod subject;
pub mod texts;
