//! Tests of the real program against real servers. `rig` starts them; each module tests one promise.

mod rig;

mod commands;
mod crowd;
mod dialogs;
mod founding;
mod kills;
mod lifecycle;
mod malware;
mod next_hop;
mod parts;
mod smuggling;
mod two_queues;
