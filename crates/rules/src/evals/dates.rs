//! Dates of `Date` and `Received` fields, and how they agree.

use super::pattern::{Fixed, fixed, groups};
use super::{Function, Native, number, of, text};

static DAY_MONTH: Fixed =
    Fixed::new(|| fixed(r"(?i) (\d+) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4}) "));
static MONTH_DAY: Fixed = Fixed::new(|| {
    fixed(r"(?i) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(\d+) \d+:\d+:\d+ (\d{4}) ")
});
static SHORT_YEAR: Fixed =
    Fixed::new(|| fixed(r"(?i) (\d+) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{2,3}) "));
static TIME: Fixed = Fixed::new(|| fixed(r" (\d?\d):(\d\d)(?::(\d\d))? "));
static OFFSET: Fixed = Fixed::new(|| fixed(r" ([-+])(\d\d)(\d\d) "));
static ZONE: Fixed = Fixed::new(|| fixed(r"\b([A-Z]{2,4}(?:-DST)?)\b"));
static RECEIVED: Fixed = Fixed::new(|| fixed(r"(\s.?\d+ \S\S\S \d+ \d+:\d+:\d+ \S+)"));
static LOCAL: Fixed = Fixed::new(|| {
    fixed(r"\bfrom (?:localhost\s|(?:\S+ ){1,2}\S*\b127\.0\.0\.1\b)|qmail \d+ invoked by uid \d+")
});
static FETCHMAIL: Fixed = Fixed::new(|| fixed(r"\bby localhost with \w+ \(fetchmail-[\d.]+"));

/// Offsets of named zones, in minutes.
const ZONES: &[(&str, i64)] = &[
    ("UT", 0),
    ("UTC", 0),
    ("NDT", -150),
    ("AST", -240),
    ("ADT", -180),
    ("NST", -210),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("HST", -600),
    ("AKST", -540),
    ("AKDT", -480),
    ("HADT", -540),
    ("HAST", -600),
    ("GMT", 0),
    ("BST", 60),
    ("IST", 60),
    ("WET", 0),
    ("WEST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("MSD", 240),
    ("MET", 60),
    ("MEZ", 60),
    ("MEST", 120),
    ("MESZ", 120),
    ("BRST", -120),
    ("BRT", -180),
    ("AEST", 600),
    ("AEDT", 660),
    ("ACST", 570),
    ("ACDT", 630),
    ("AWST", 480),
    ("NZST", 720),
    ("NZDT", 780),
    ("JST", 540),
    ("KST", 540),
    ("HKT", 480),
    ("SGT", 480),
    ("PHT", 480),
];

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("check_for_shifted_date", |native, call| {
        let shift = *native.memo.shift.get_or_init(|| shift(native)) as f64;
        of((text(call, 0) == "undef" || shift >= 3600.0 * number(call, 0))
            && (text(call, 1) == "undef" || shift < 3600.0 * number(call, 1)))
    }),
    ("received_within_months", |native, call| {
        let received = *native.memo.received.get_or_init(|| received(native));
        let age = (native.texts.now() - received) as f64;
        let month = 31_556_952.0 / 12.0;
        let open = |index: usize| call.args.get(index).is_none_or(|arg| &*arg.0 == b"undef");
        of((open(0) || age >= month * number(call, 0)) && (open(1) || age < month * number(call, 1)))
    }),
];

/// A date of mail in seconds since 1970; None if it has no day.
pub(super) fn parse(date: &[u8]) -> Option<i64> {
    let mut line = vec![b' '];
    for &octet in date {
        let blank = octet.is_ascii_whitespace() || octet == 0x0b;
        match (blank || octet == b',', line.last() == Some(&b' ')) {
            (true, true) => {}
            (true, false) => line.push(b' '),
            _ => line.push(octet),
        }
    }
    line.push(b' ');
    let (found, order) = [(&DAY_MONTH, [1, 2, 3]), (&MONTH_DAY, [2, 1, 3]), (&SHORT_YEAR, [1, 2, 3])]
        .into_iter()
        .find_map(|(regex, order)| Some((owned(regex, &line)?, order)))?;
    cut(&mut line, &found[0]);
    let value = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    let (day, year) = (value(&found[order[0]]).unwrap_or(99), &found[order[2]]);
    let year = match (year.len(), value(year)?) {
        (2, year) if year < 50 => year + 2000,
        (4, year) => year,
        (_, year) => year + 1900,
    };
    const MONTHS: &[u8] = b"janfebmaraprmayjunjulaugsepoctnovdec";
    let name = found[order[1]].to_ascii_lowercase();
    let month = MONTHS.chunks(3).position(|month| month == name)? as i64 + 1;
    let (mut hour, mut minute, mut second) = (0, 0, 0);
    if let Some(time) = owned(&TIME, &line) {
        let number = |index: usize| value(&time[index]).unwrap_or(0);
        (hour, minute, second) = (number(1).min(23), number(2).min(59), number(3).min(59));
        cut(&mut line, &time[0]);
    }
    let (year, month, day) = usable(year, month, day)?;
    let time = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let offset = match owned(&OFFSET, &line) {
        Some(zone) => {
            let minutes = value(&zone[2])? * 60 + value(&zone[3])?;
            if zone[1] == b"-" { -minutes } else { minutes }
        }
        None => {
            let name = owned(&ZONE, &line).map(|zone| zone[1].clone());
            ZONES
                .iter()
                .find(|(zone, _)| name.as_deref() == Some(zone.as_bytes()))
                .map_or(0, |(_, minutes)| *minutes)
        }
    };
    let time = time - offset * 60;
    Some(if offset > 0 { time.max(0) } else { time })
}

fn owned(regex: &Fixed, line: &[u8]) -> Option<Vec<Vec<u8>>> {
    Some(groups(regex, line)?.into_iter().map(|group| group.unwrap_or_default().to_vec()).collect())
}

/// One space in its place.
fn cut(line: &mut Vec<u8>, what: &[u8]) {
    if let Some(at) = memchr::memmem::find(line, what) {
        line.splice(at..at + what.len(), *b" ");
    }
}

/// A day that is too high is the first of the next month; years are those of 32 bits.
fn usable(mut year: i64, mut month: i64, mut day: i64) -> Option<(i64, i64, i64)> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 != 0);
    let most = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => 31,
    };
    if day > most {
        (month, day) = (month + 1, 1);
        if month > 12 {
            (year, month) = (year + 1, 1);
        }
    }
    (day > 0).then(|| (year.clamp(1970, 2037), month, day))
}

/// Days since 1970.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// What `Date` says.
fn written(native: &Native<'_>) -> Option<i64> {
    let dates = ["Resent-Date", "Date"].into_iter().flat_map(|name| native.decoded(name));
    dates.filter(|date| !date.is_empty()).find_map(|date| parse(&date))
}

/// What the `Received` fields say, and those of fetchmail.
fn on_the_way(native: &Native<'_>) -> (Vec<i64>, Option<i64>) {
    let received = native.value("Received");
    let mut lines: std::collections::VecDeque<&[u8]> = received
        .split(|octet| *octet == b'\n')
        .filter(|line| line.iter().any(|octet| !octet.is_ascii_whitespace()))
        .collect();
    let first = |lines: &std::collections::VecDeque<&[u8]>, regex: &Fixed| {
        lines.front().is_some_and(|line| super::pattern::hits(regex, line))
    };
    let mut local: Vec<&[u8]> = Vec::new();
    if first(&lines, &LOCAL) {
        local.extend(lines.pop_front());
    }
    if first(&lines, &FETCHMAIL) {
        local.extend(lines.pop_front());
    } else if let Some(line) = local.pop() {
        lines.push_front(line);
    }
    let time = |line: &&[u8]| groups(&RECEIVED, line).and_then(|found| parse(found[1]?));
    let fetched = local.iter().filter_map(time).filter(|time| *time <= native.texts.now()).max();
    (lines.iter().filter_map(time).collect(), fetched)
}

/// The least difference between `Date` and the `Received` fields, in seconds.
fn shift(native: &Native<'_>) -> i64 {
    let Some(date) = written(native) else { return 0 };
    let mut shifts: Vec<i64> = on_the_way(native).0.into_iter().map(|time| date - time).collect();
    if shifts.len() > 1 && shifts.last() == Some(&0) {
        shifts.pop();
    }
    shifts.into_iter().min_by_key(|shift| shift.abs()).unwrap_or(0)
}

/// When the message came, by the middle of what its fields say; 0 if they say nothing.
fn received(native: &Native<'_>) -> i64 {
    let date = written(native);
    let (times, fetched) = on_the_way(native);
    let first = times.first().copied();
    let mended = date.filter(|_| first.is_some()).map(|date| date - shift(native));
    let mut all: Vec<i64> = [date, first, fetched, mended].into_iter().flatten().collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn dates() {
        for (text, expected) in [
            ("Thu, 22 Aug 2002 18:26:25 +0700", Some(1_030_015_585)),
            ("Thu, 22 Aug 2002 12:36:23 GMT", Some(1_030_019_783)),
            ("22 Aug 02 12:36:23 EDT", Some(1_030_034_183)),
            // The time goes with the day here.
            ("Aug 22 12:36:23 2002", Some(1_029_974_400)),
            ("31 Feb 2002 00:00:00 +0000", Some(1_014_940_800)),
            ("1 Jan 1970 00:30:00 +0100", Some(0)),
            ("1 Jan 2100 00:00:00 +0000", Some(2_114_380_800)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }
}
