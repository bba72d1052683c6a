//! Tests of the real program against real servers. `rig` starts them; each module tests one promise.

mod rig;

mod after_queue;
mod ampdp;
mod auth;
mod beside_amavis;
mod beside_clamav_milter;
mod beside_clamsmtp;
mod beside_pyspf;
mod clamd_front;
mod commands;
mod crowd;
mod dialogs;
mod filter;
mod founding;
mod fronts_crowd;
mod greylist;
mod http;
mod kills;
mod lifecycle;
mod malware;
mod milter;
mod milter_crowd;
mod next_hop;
mod one_verdict;
mod p0f;
mod parts;
mod places;
mod policy;
mod restrictions;
mod smuggling;
mod spamd;
mod state;
mod two_queues;
