//! What the program uses of the outside, made once and handed to those who need it: name look-ups, tables, watched files.

pub mod callahead;
pub mod dns;
pub mod fetch;
pub mod limits;
pub mod lines;
pub mod machine;
pub mod maps;
pub mod net;
pub mod notices;
pub mod openpgp;
pub mod rules;
pub mod state;
pub mod tls;
pub mod verdicts;
pub mod watch;
