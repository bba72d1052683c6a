//! Units as administrators type them: sizes (`25 MiB`), times (`30`, `5m`).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a domain is among some: `example.org` is itself, `.example.org` its subdomains; case does not count.
pub fn is_among(domain: &str, domains: &[String]) -> bool {
    let domain = domain.to_lowercase();
    domains.iter().any(|one| {
        let one = one.trim_end_matches('.').to_lowercase();
        if one.starts_with('.') { domain.ends_with(&one) && domain != one } else { domain == one }
    })
}

/// A size in bytes: a whole number, or a number with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Size {
        Size(bytes)
    }

    /// So many MiB.
    pub const fn mebibytes(n: u64) -> Size {
        Size(n << 20)
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// `25 MiB`, `25M`, `25m` and `25 mb` are all 25 × 1,048,576 bytes, as mail servers count; a bare number is bytes.
impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let (number, unit) = number_and_unit(text);
        let factor: Option<u64> = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => Some(1),
            "k" | "kb" | "kib" => Some(1 << 10),
            "m" | "mb" | "mib" => Some(1 << 20),
            "g" | "gb" | "gib" => Some(1 << 30),
            "t" | "tb" | "tib" => Some(1 << 40),
            _ => None,
        };
        number
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor))
            .map(Size)
            .ok_or_else(|| format!("{text:?} is not a size; write bytes, or \"25 MiB\""))
    }
}

/// In the largest unit that divides it: `25 MiB`, `1500`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        self.0.fmt(f)
    }
}

impl Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Beyond 2^63 a TOML integer cannot hold it; the text can.
        if self.0.trailing_zeros() >= 10 || i64::try_from(self.0).is_err() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        let expected = "a size: bytes, or \"25 MiB\"";
        deserializer.deserialize_any(NumberOrText { expected, number: Size }).and_then(NumberOr::or_parse)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["integer", "string"], "description": "a size: bytes, or \"25 MiB\"" })
    }
}

/// A time in seconds: a whole number, or a number with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(u64);

impl Seconds {
    /// So many seconds.
    pub const fn new(n: u64) -> Seconds {
        Seconds(n)
    }

    /// In seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

/// `30`, `30s`, `5m`, `2h`, `6d`, `1w`.
impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seconds, String> {
        let (number, unit) = number_and_unit(text);
        let factor: Option<u64> = match unit {
            "" | "s" => Some(1),
            "m" | "min" => Some(60),
            "h" => Some(3600),
            "d" => Some(86_400),
            "w" => Some(7 * 86_400),
            _ => None,
        };
        // A limit keeps sums of times far from overflow: nothing here is meant to last longer than 100 years.
        number
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor))
            .filter(|seconds| *seconds <= LONGEST)
            .map(Seconds)
            .ok_or_else(|| format!("{text:?} is not a time; write seconds, or \"5m\", \"2h\", \"6d\""))
    }
}

/// Longest time, in seconds: 100 years.
const LONGEST: u64 = 100 * 366 * 86_400;

/// In the largest unit that divides it: `5m`, `90`.
impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (factor, unit) in [(86_400, "d"), (3600, "h"), (60, "m")] {
            if self.0 != 0 && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        self.0.fmt(f)
    }
}

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 != 0 && self.0.is_multiple_of(60) {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        let expected = "a time: seconds, or \"5m\", \"2h\", \"6d\"";
        let time: Seconds = deserializer
            .deserialize_any(NumberOrText { expected, number: Seconds })
            .and_then(NumberOr::or_parse)?;
        if time.0 > LONGEST {
            return Err(serde::de::Error::custom("a time of more than 100 years"));
        }
        Ok(time)
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seconds".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["integer", "string"], "description": "a time: seconds, or \"5m\", \"2h\", \"6d\""
        })
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

    /// Whether only this host is in it.
    pub fn is_loopback(&self) -> bool {
        match self.0 {
            ipnet::IpNet::V4(net) => net.network().is_loopback() && net.prefix_len() >= 8,
            ipnet::IpNet::V6(net) => net.network().is_loopback() && net.prefix_len() == 128,
        }
    }
}

impl std::str::FromStr for Net {
    type Err = String;
    fn from_str(text: &str) -> Result<Net, String> {
        text.parse::<ipnet::IpNet>()
            .or_else(|_| text.parse::<std::net::IpAddr>().map(ipnet::IpNet::from))
            .map(|net| Net(net.trunc()))
            .map_err(|_| format!("{text:?} is neither an address nor a network such as 192.0.2.0/24"))
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

/// Splits `25 MiB` in its number, if it is one, and its unit.
fn number_and_unit(text: &str) -> (Option<u64>, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().ok(), text[end..].trim_start())
}

/// A number, or a text yet to be read.
enum NumberOr<T> {
    Number(T),
    Text(String),
}

impl<T: FromStr<Err = String>> NumberOr<T> {
    fn or_parse<E: serde::de::Error>(self) -> Result<T, E> {
        match self {
            NumberOr::Number(number) => Ok(number),
            NumberOr::Text(text) => text.parse().map_err(E::custom),
        }
    }
}

/// Reads a number that is not negative, or a text.
struct NumberOrText<T> {
    expected: &'static str,
    number: fn(u64) -> T,
}

impl<T> serde::de::Visitor<'_> for NumberOrText<T> {
    type Value = NumberOr<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<NumberOr<T>, E> {
        Ok(NumberOr::Number((self.number)(number)))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<NumberOr<T>, E> {
        match u64::try_from(number) {
            Ok(number) => Ok(NumberOr::Number((self.number)(number))),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<NumberOr<T>, E> {
        Ok(NumberOr::Text(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes, shown) in [
            ("0", 0, "0"),
            ("1500", 1500, "1500"),
            ("25 MiB", 25 << 20, "25 MiB"),
            ("10MB", 10 << 20, "10 MiB"),
            ("1g", 1 << 30, "1 GiB"),
            ("1025k", 1025 << 10, "1025 KiB"),
            ("2 TiB", 2 << 40, "2 TiB"),
        ] {
            let size: Size = text.parse().expect(text);
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown));
            let json = serde_json::to_string(&size).unwrap();
            assert_eq!(serde_json::from_str::<Size>(&json).unwrap(), size, "{json}");
        }
        for text in ["", "MiB", "1.5 MiB", "-1", "5 apples", "99999999999 TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Size>("-1").is_err());
        assert!(serde_json::from_str::<Size>("true").is_err());
    }

    #[test]
    fn times() {
        for (text, seconds, shown) in [
            ("0", 0, "0"),
            ("30", 30, "30"),
            ("90s", 90, "90"),
            ("5m", 300, "5m"),
            ("300", 300, "5m"),
            ("2h", 7200, "2h"),
            ("6d", 518_400, "6d"),
            ("1w", 604_800, "7d"),
        ] {
            let time: Seconds = text.parse().expect(text);
            assert_eq!((time.duration().as_secs(), time.to_string().as_str()), (seconds, shown));
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(serde_json::from_str::<Seconds>(&json).unwrap(), time, "{json}");
        }
        for text in ["", "m", "1.5h", "-1", "5 years", "99999999999d"] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Seconds>("18446744073709551615").is_err());
    }

    #[test]
    fn networks() {
        let net: Net = "192.0.2.77/24".parse().unwrap();
        assert_eq!(net.to_string(), "192.0.2.0/24");
        assert!(net.contains("::ffff:192.0.2.1".parse().unwrap()));
        assert!("2001:db8::1".parse::<Net>().unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!("192.0.2.0/33".parse::<Net>().is_err());
    }
}
