//! Units as administrators type them: sizes (`25 MiB`), times (`30`, `5m`).

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Size(u64);

impl Size {
    /// So many MiB.
    pub const fn mebibytes(n: u64) -> Size {
        Size(n << 20)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// A time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seconds(u64);

impl Seconds {
    /// So many seconds.
    pub const fn new(n: u64) -> Seconds {
        Seconds(n)
    }

    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

/// The system's host name.
pub fn system_hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".into())
}

/// A network, `192.0.2.0/24`, or one address, `2001:db8::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Net(ipnet::IpNet);

impl Net {
    /// Whether an address lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl std::str::FromStr for Net {
    type Err = String;
    fn from_str(text: &str) -> Result<Net, String> {
        text.parse::<ipnet::IpNet>()
            .or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from))
            .map(|net| Net(net.trunc()))
            .map_err(|_| format!("“{text}” is neither an address nor a network such as 192.0.2.0/24"))
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Net {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Net, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Net {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Net".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "an address or a network, 192.0.2.0/24" })
    }
}
