//! Scores as exact thousandths, so that a sum of weights always adds up to what is shown.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg};
use std::str::FromStr;

/// Points of a score, exact to a thousandth: `6.31`, `-1`, `46.551`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Points(i64);

impl Points {
    /// No points.
    pub const ZERO: Points = Points(0);

    /// From thousandths of a point.
    pub const fn thousandths(n: i64) -> Points {
        Points(n)
    }

    /// In thousandths of a point.
    pub const fn as_thousandths(self) -> i64 {
        self.0
    }

    /// From a floating-point number, rounded to a thousandth; not-a-number and anything beyond a billion is refused.
    pub fn from_f64(points: f64) -> Option<Points> {
        (points.abs() <= 1e9).then(|| Points((points * 1000.0).round() as i64))
    }

    /// As a floating-point number, for output.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Whole points towards zero: the number of stars in `X-Spam-Level`.
    pub const fn whole(self) -> i64 {
        self.0 / 1000
    }
}

impl Add for Points {
    type Output = Points;
    fn add(self, other: Points) -> Points {
        Points(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Points {
    fn add_assign(&mut self, other: Points) {
        *self = *self + other;
    }
}

impl Neg for Points {
    type Output = Points;
    fn neg(self) -> Points {
        Points(-self.0)
    }
}

impl Sum for Points {
    fn sum<I: Iterator<Item = Points>>(iter: I) -> Points {
        iter.fold(Points::ZERO, Add::add)
    }
}

/// As mail headers show it: at least one decimal, no trailing zeros beyond (`5.0`, `6.31`, `-0.001`).
impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000);
        let digits = format!("{fraction:03}");
        let digits = digits.trim_end_matches('0');
        write!(f, "{sign}{whole}.{}", if digits.is_empty() { "0" } else { digits })
    }
}

impl FromStr for Points {
    type Err = String;
    fn from_str(text: &str) -> Result<Points, String> {
        let number: f64 = text.trim().parse().map_err(|_| format!("“{text}” is not a number of points"))?;
        Points::from_f64(number).ok_or_else(|| format!("“{text}” is out of range for points"))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Points {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Points".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "description": "points of a score, to a thousandth" })
    }
}

impl serde::Serialize for Points {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> serde::Deserialize<'de> for Points {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Points, D::Error> {
        let number = f64::deserialize(deserializer)?;
        Points::from_f64(number).ok_or_else(|| serde::de::Error::custom("out of range for points"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_headers_show_it() {
        for (thousandths, shown) in
            [(0, "0.0"), (5000, "5.0"), (6310, "6.31"), (-1, "-0.001"), (46551, "46.551")]
        {
            assert_eq!(Points::thousandths(thousandths).to_string(), shown);
        }
    }

    #[test]
    fn tenths_add_up_exactly() {
        let sum: Points = std::iter::repeat_n("0.1".parse::<Points>().unwrap(), 10).sum();
        assert_eq!(sum, "1".parse().unwrap());
        assert!("much".parse::<Points>().is_err());
        assert!("1e300".parse::<Points>().is_err());
    }
}
