//! `[checks.command.NAME]` and `[checks.malware_names.NAME]`: scanners that are programs, and what names of malware mean.

use std::path::PathBuf;

use gatepost_mail::{OnFault, Points};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::typed::EngineGroup;
use super::units::{Seconds, Size};

/// A scanner that is started for each message, in the terms of amavis's `@av_scanners`. The message and every part that was
/// found in it are written into a folder of their own, which is removed afterwards.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandScanner {
    /// The program and its arguments. `{}` stands for the folder, `{}/*` for one argument for each file in it. No shell
    /// sees it.
    pub command: Vec<String>,
    /// Exit codes that mean clean.
    pub clean: Vec<i32>,
    /// A regular expression over all that it prints (`.` does not match line ends, `^` and `$` are those of lines) which
    /// means clean, whatever the exit code.
    pub clean_output: Option<String>,
    /// Exit codes that mean infected. They are looked at before those that mean clean; any other is a fault.
    pub infected: Vec<i32>,
    /// A regular expression over all that it prints which means infected.
    pub infected_output: Option<String>,
    /// A regular expression for what it found: its first group is the name, and a line that holds `/p001` speaks of that
    /// part.
    pub name: Option<String>,
    /// Where folders are made; by default `scan` in the data folder.
    pub folder: Option<PathBuf>,
    /// How many of it run at once; other messages wait.
    pub at_once: u32,
    /// Longest a scan may take, waiting included. It is killed then, with all that it started.
    pub time: Seconds,
    /// Which group of engines it is in.
    pub group: EngineGroup,
    /// Its failure counts even when another engine of its group, or a secondary one, could look.
    pub required: bool,
    /// What happens to a message that it, and every engine that could stand in for it, fails on.
    pub on_fault: OnFault,
}

impl Default for CommandScanner {
    fn default() -> CommandScanner {
        CommandScanner {
            command: Vec::new(),
            clean: vec![0],
            clean_output: None,
            infected: Vec::new(),
            infected_output: None,
            name: None,
            folder: None,
            at_once: 2,
            time: Seconds::new(60),
            group: EngineGroup::Primary,
            required: false,
            on_fault: OnFault::Defer,
        }
    }
}

/// A scanner that speaks ICAP (RFC 3507): c-icap, and the servers that most makers of scanners sell. Each part of a message is
/// shown to it by itself, as a file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IcapScanner {
    /// Where it is: `icap://127.0.0.1:1344/avscan`.
    pub url: String,
    /// Connections to it at once.
    pub connections: u32,
    /// Longest a scan of a message may take.
    pub time: Seconds,
    /// Parts larger than this are not sent to it but noted as unchecked.
    pub max_size: Size,
    /// Which group of engines it is in.
    pub group: EngineGroup,
    /// Its failure counts even when another engine of its group, or a secondary one, could look.
    pub required: bool,
    /// What happens to a message that it, and every engine that could stand in for it, fails on.
    pub on_fault: OnFault,
}

impl Default for IcapScanner {
    fn default() -> IcapScanner {
        IcapScanner {
            url: String::new(),
            connections: 8,
            time: Seconds::new(60),
            max_size: Size::mebibytes(25),
            group: EngineGroup::Primary,
            required: false,
            on_fault: OnFault::Defer,
        }
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
