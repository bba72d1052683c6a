//! `[state]`: what is remembered from one message to the next.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Size;

/// What is remembered from one message to the next: greylisting, limits, answers of other servers. All of it expires.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// Its file. Default: `state.redb` in the data folder. A file that cannot be read is set aside, and a new one begun.
    pub path: Option<PathBuf>,
    /// How much of the file is kept in memory.
    pub cache: Size,
    /// Most entries. Beyond it those go that would expire soonest. A million greylisted triplets take about 150 MB on
    /// disk.
    pub entries: u64,
}

impl Default for State {
    fn default() -> State {
        State { path: None, cache: Size::mebibytes(64), entries: 20_000_000 }
    }
}
