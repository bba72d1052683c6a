//! The processes that unpack: `[worker]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Archives and documents are unpacked by processes of their own, which can reach neither files nor network. If one dies, one
/// message is put off (`reading.on_fault`). Mail that holds none never goes there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Worker {
    /// Unpack in processes of their own. `false`: in the daemon itself, which a defect in the code that unpacks then takes
    /// down or over.
    pub enabled: bool,
    /// How many there are, which is how many messages are unpacked at once; further ones wait. 0: as many as the host has
    /// processors, but 2 to 4.
    pub count: u32,
    /// A worker is replaced after so many messages. With 1 none ever sees a second one, for 5 to 10 milliseconds each.
    pub recycle: u32,
}

impl Default for Worker {
    fn default() -> Worker {
        Worker { enabled: true, count: 0, recycle: 100 }
    }
}

impl Worker {
    /// How many there shall be.
    pub fn processes(&self) -> usize {
        match self.count {
            0 => std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4),
            count => count.min(1024) as usize,
        }
    }
}
