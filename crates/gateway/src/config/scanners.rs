//! Malware scanners outside: `[checks.clamd.NAME]`, `[checks.command.NAME]`, `[checks.icap.NAME]`; what is remembered of
//! them, `[checks.verdict_cache]`; and what names of malware mean, `[checks.malware_names.NAME]`.

use std::path::PathBuf;

use gatepost_mail::{OnFault, Points};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::typed::{ClamdScan, ClamdTransfer, EngineGroup};
use super::units::{Seconds, Size};

/// What every scanner outside is told.
pub trait Scanner {
    /// Longest a scan may take.
    fn time(&self) -> Seconds;
    /// Its part among the others.
    fn role(&self) -> Role;
}

/// A scanner's part among the others.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Which group it is in.
    pub group: EngineGroup,
    /// Its failure counts even when another could look.
    pub required: bool,
    /// Its declared answer to its own failure.
    pub on_fault: OnFault,
}

/// The table of a scanner: its own keys with their defaults, and behind them those that all have. (serde's `flatten`
/// would take unknown keys.)
macro_rules! scanner {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $key:ident: $type:ty = $default:expr,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$meaning])* pub $key: $type,)*
            /// Which group of engines it is in. The embedded scanner is in none: it always looks.
            pub group: EngineGroup,
            /// Its failure counts even when another engine of its group, or a secondary one, could look.
            pub required: bool,
            /// What happens to a message that it, and every engine that could stand in for it, fails on.
            pub on_fault: OnFault,
        }

        impl Default for $name {
            fn default() -> $name {
                let (group, required, on_fault) = (EngineGroup::Primary, false, OnFault::Defer);
                $name { $($key: $default,)* group, required, on_fault }
            }
        }

        impl Scanner for $name {
            fn time(&self) -> Seconds {
                self.time
            }

            fn role(&self) -> Role {
                Role { group: self.group, required: self.required, on_fault: self.on_fault }
            }
        }
    };
}

scanner! {
    /// The daemon keeps its signatures in memory and is asked over its socket.
    Clamd {
        /// Its socket: `unix:/run/clamav/clamd.ctl` or `tcp:127.0.0.1:3310`.
        socket: String = "unix:/run/clamav/clamd.ctl".into(),
        /// How the message reaches it: `fildes` hands over a file descriptor (unix sockets only, fastest), `instream`
        /// sends the bytes, `auto` takes the first where the socket is local.
        transfer: ClamdTransfer = ClamdTransfer::Auto,
        /// Scan the message whole, its decoded parts, or `auto`: whole, and by itself each part that was found in a way
        /// that ClamAV may not follow.
        scan: ClamdScan = ClamdScan::Auto,
        /// Connections to it at once.
        connections: u32 = 16,
        /// Longest a scan may take.
        time: Seconds = Seconds::new(60),
        /// Messages and parts larger than this are not sent to it but noted as unchecked: keep it at clamd's
        /// StreamMaxLength.
        max_size: Size = Size::mebibytes(25),
    }
}

scanner! {
    /// A scanner that is started for each message, in the terms of amavis's `@av_scanners`. The message and every part that was
    /// found in it are written into a folder of their own, which is removed afterwards.
    CommandScanner {
        /// The program and its arguments. `{}` stands for the folder, `{}/*` for one argument for each file in it. No shell
        /// sees it.
        command: Vec<String> = Vec::new(),
        /// Exit codes that mean clean.
        clean: Vec<i32> = vec![0],
        /// A regular expression over all that it prints (`.` does not match line ends, `^` and `$` are those of lines) which
        /// means clean, whatever the exit code.
        clean_output: Option<String> = None,
        /// Exit codes that mean infected. They are looked at before those that mean clean; any other is a fault.
        infected: Vec<i32> = Vec::new(),
        /// A regular expression over all that it prints which means infected.
        infected_output: Option<String> = None,
        /// A regular expression for what it found: its first group is the name, and a line that holds `/p001` speaks of that
        /// part.
        name: Option<String> = None,
        /// Files and folders that hold its signatures. When one changes, what it said before is forgotten. Without any it
        /// is forgotten after `checks.verdict_cache.time` only.
        signatures: Vec<PathBuf> = Vec::new(),
        /// Where folders are made; by default `scan` in the data folder.
        folder: Option<PathBuf> = None,
        /// How many of it run at once; other messages wait.
        at_once: u32 = 2,
        /// Longest a scan may take, waiting included. It is killed then, with all that it started.
        time: Seconds = Seconds::new(60),
    }
}

scanner! {
    /// A scanner that speaks ICAP (RFC 3507): c-icap, and the servers that most makers of scanners sell. Each part of a message
    /// is shown to it by itself, as a file.
    IcapScanner {
        /// Where it is: `icap://127.0.0.1:1344/avscan`.
        url: String = String::new(),
        /// Connections to it at once.
        connections: u32 = 8,
        /// Longest a scan of a message may take.
        time: Seconds = Seconds::new(60),
        /// Parts larger than this are not sent to it but noted as unchecked.
        max_size: Size = Size::mebibytes(25),
    }
}

/// What engines said of a content is remembered until their signatures change, so that they see the same worm once. A
/// failure is never remembered.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerdictCache {
    /// Remember.
    pub enabled: bool,
    /// How long, at most. Signatures that an engine takes without telling anybody count for what is known only after this.
    pub time: Seconds,
    /// Memory for it; a content takes some 200 bytes.
    pub size: Size,
}

impl Default for VerdictCache {
    fn default() -> VerdictCache {
        VerdictCache { enabled: true, time: Seconds::new(15 * 60), size: Size::mebibytes(16) }
    }
}

/// What names of malware mean: those of Sanesecurity's and other signatures of phishing and spam are no viruses.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MalwareNames {
    /// Regular expressions for names; without case. They match anywhere in a name unless they begin with `^`.
    pub pattern: Vec<String>,
    /// Points for a mail in which only such are found, instead of the category `virus`. 0: they are only recorded.
    pub points: Points,
}
