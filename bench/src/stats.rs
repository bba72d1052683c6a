//! Latencies and their percentiles.

use std::time::Duration;

/// Latencies in microseconds, all of them kept: exact percentiles, four bytes a message.
#[derive(Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Adds one; beyond 71 minutes it is counted as 71 minutes.
    pub fn add(&mut self, time: Duration) {
        self.0.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }

    /// Sorted, for reading percentiles.
    pub fn sorted(mut self) -> Sorted {
        self.0.sort_unstable();
        Sorted(self.0)
    }
}

/// Latencies in order.
pub struct Sorted(Vec<u32>);

impl Sorted {
    /// The smallest latency that `per_mille` thousandths of all do not exceed (nearest rank), in milliseconds.
    pub fn percentile(&self, per_mille: usize) -> f64 {
        let rank = (self.0.len() * per_mille).div_ceil(1000).max(1);
        self.0.get(rank - 1).map_or(0.0, |&micros| f64::from(micros) / 1000.0)
    }

    /// As JSON, in milliseconds.
    pub fn json(&self) -> String {
        let [p50, p90, p99, p999, max] = [500, 900, 990, 999, 1000].map(|p| self.percentile(p));
        format!(r#"{{"p50":{p50:.3},"p90":{p90:.3},"p99":{p99:.3},"p99.9":{p999:.3},"max":{max:.3}}}"#)
    }

    /// For people.
    pub fn line(&self) -> String {
        let [p50, p90, p99, p999, max] = [500, 900, 990, 999, 1000].map(|p| self.percentile(p));
        format!("p50 {p50:.2} p90 {p90:.2} p99 {p99:.2} p99.9 {p999:.2} max {max:.2} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let mut latencies = Latencies::default();
        for millis in (1..=100).rev() {
            latencies.add(Duration::from_millis(millis));
        }
        let sorted = latencies.sorted();
        for (per_mille, expected) in [(500, 50.0), (900, 90.0), (990, 99.0), (999, 100.0), (1000, 100.0)] {
            assert_eq!(sorted.percentile(per_mille), expected);
        }
        assert_eq!(Latencies::default().sorted().percentile(500), 0.0);
    }
}
