//! Tests of the real program against real servers. `rig` starts them; each module tests one promise.

mod rig;

mod dialogs;
mod founding;
mod malware;
mod next_hop;
mod parts;
mod smuggling;
