//! Tests of the real program against real servers. `rig` starts them; each module tests one promise.

mod rig;

mod after_queue;
mod ampdp;
mod auth;
mod beside_clamsmtp;
mod commands;
mod crowd;
mod dialogs;
mod founding;
mod kills;
mod lifecycle;
mod malware;
mod next_hop;
mod parts;
mod places;
mod smuggling;
