//! `[checks.p0f]`: what operating system clients run.

use std::collections::BTreeMap;

use gatepost_mail::{OnFault, Points};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Seconds;

/// The client's operating system, as p0f recognises it by the way it opens a connection. A bot on a home computer is a
/// Windows; a mail server mostly is not.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct P0f {
    /// Who is asked: `unix:/run/p0f.sock`, the socket of p0f 3 (`p0f -s`), or `udp:127.0.0.1:2345`, amavis's
    /// p0f-analyzer. Empty: nobody.
    pub source: String,
    /// Points for systems whose name begins so, in the words of p0f: `genres."Mac OS X" = -0.5` counts for the symbol
    /// `P0F_MAC_OS_X`; the longest name decides. `Windows XP`, `Windows`, `Linux`, `Unix` and `UNKNOWN` have symbols of
    /// their own, whose points this changes.
    pub genres: BTreeMap<String, Points>,
    /// Header field that tells what was recognised. Empty: none.
    pub header: String,
    /// How long what is known of a client counts.
    pub keep: Seconds,
    /// Longest to wait for an answer.
    pub time: Seconds,
    /// What happens to mail while nobody answers.
    pub on_fault: OnFault,
}

impl Default for P0f {
    fn default() -> P0f {
        P0f {
            source: String::new(),
            genres: BTreeMap::new(),
            header: "X-Amavis-OS-Fingerprint".into(),
            keep: Seconds::new(600),
            time: Seconds::new(2),
            on_fault: OnFault::Accept,
        }
    }
}
