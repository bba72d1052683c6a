//! When a notice goes out.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::notices::{Rhythm, time_of_day};

/// Notices to one address are so far apart at least, however immediate they are.
const GAP: u64 = 60;
const DAY: u64 = 86_400;

/// When a notice goes out whose oldest message came at `oldest`, and that follows one made at `last`.
pub(super) fn due(oldest: Timestamp, last: Option<Timestamp>, rhythm: &Rhythm, zone: &TimeZone) -> Timestamp {
    let every = rhythm.every.seconds();
    let after = |time: Timestamp, seconds: u64| {
        time.checked_add(Duration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    };
    let Some((hour, minute)) = time_of_day(rhythm.at) else {
        let first = after(oldest, every);
        return last.map_or(first, |last| first.max(after(last, every.max(GAP))));
    };
    // Half a day less, since the last one may have been late, and a day in autumn has 25 hours.
    let earliest = last.map(|last| after(last, every.saturating_sub(DAY / 2)));
    let from = earliest.map_or(oldest, |earliest| earliest.max(oldest));
    next_at(from, hour, minute, zone).unwrap_or_else(|| after(from, DAY))
}

/// The next time that it is so late there.
fn next_at(from: Timestamp, hour: i8, minute: i8, zone: &TimeZone) -> Option<Timestamp> {
    let local = from.to_zoned(zone.clone());
    let on =
        |date: jiff::civil::Date| Some(date.at(hour, minute, 0, 0).to_zoned(zone.clone()).ok()?.timestamp());
    let today = on(local.date())?;
    if today > from { Some(today) } else { on(local.date().tomorrow().ok()?) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::Seconds;

    #[test]
    fn due_times() {
        let zone = TimeZone::get("Europe/Paris").unwrap_or(TimeZone::fixed(jiff::tz::offset(1)));
        for (oldest, last, every, at, expected) in [
            // An hour after the first, and after the last one.
            ("2026-03-02T10:00:00Z", "", 3600, "", "2026-03-02T11:00:00Z"),
            ("2026-03-02T10:00:00Z", "2026-03-02T10:30:00Z", 3600, "", "2026-03-02T11:30:00Z"),
            ("2026-03-02T10:00:00Z", "2026-03-01T10:00:00Z", 3600, "", "2026-03-02T11:00:00Z"),
            // At once, but not twice in a minute.
            ("2026-03-02T10:00:00Z", "", 0, "", "2026-03-02T10:00:00Z"),
            ("2026-03-02T10:00:10Z", "2026-03-02T10:00:00Z", 0, "", "2026-03-02T10:01:00Z"),
            // In the morning, by the clock on the wall.
            ("2026-03-02T05:00:00Z", "", 86_400, "07:30", "2026-03-02T06:30:00Z"),
            ("2026-03-02T06:30:00Z", "", 86_400, "07:30", "2026-03-03T06:30:00Z"),
            ("2026-03-02T10:00:00Z", "2026-03-02T06:30:05Z", 86_400, "07:30", "2026-03-03T06:30:00Z"),
            // Not twice on one day, if the last one was sent by hand shortly before.
            ("2026-03-02T04:00:00Z", "2026-03-02T03:00:00Z", 86_400, "07:30", "2026-03-03T06:30:00Z"),
            // Once a week.
            ("2026-03-02T10:00:00Z", "2026-03-02T06:30:05Z", 604_800, "07:30", "2026-03-09T06:30:00Z"),
        ] {
            let rhythm = Rhythm { every: Seconds::new(every), at, rows: 1, per_day: 1 };
            let last = (!last.is_empty()).then(|| last.parse().unwrap());
            let found = due(oldest.parse().unwrap(), last, &rhythm, &zone);
            assert_eq!(found, expected.parse::<Timestamp>().unwrap(), "{oldest} {last:?} {every} {at}");
        }
    }
}
