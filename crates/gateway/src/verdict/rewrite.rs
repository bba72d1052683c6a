//! The changes that a verdict makes to a message on its way to the next hop: fields that only we may write are taken
//! out, ours are added, the subject is tagged. Parts that are stripped are the business of `judge`.

use std::collections::HashMap;
use std::fmt::Write;

use gatepost_auth::results;
use gatepost_mail::{Edit, Message, Place, Points};

use super::policy::is_header_name;
use crate::config::typed::{HeaderNames, StatusForm};

/// Most stars of the level field.
const MAX_STARS: i64 = 64;

/// What the added fields tell.
pub(super) struct Facts<'a> {
    pub id: &'a str,
    pub hostname: &'a str,
    pub score: Points,
    /// In the category spammy or spam.
    pub spammy: bool,
    pub headers_from: Points,
    pub spammy_at: Points,
    pub spam_at: Points,
    /// What counts.
    pub tests: Vec<Test<'a>>,
    /// To put before the subject, in this order.
    pub tags: Vec<&'a str>,
    /// Further fields.
    pub fields: &'a [(String, String)],
    /// Whose results of sender authentication go.
    pub authserv_ids: &'a [String],
}

/// A symbol that counts.
#[derive(Clone, Copy)]
pub(super) struct Test<'a> {
    pub symbol: &'a str,
    pub points: Points,
    /// What it means, or the proof.
    pub meaning: &'a str,
}

/// All changes to the header.
pub(super) fn header_edits(message: &Message, names: &HeaderNames, facts: &Facts) -> Vec<Edit> {
    let mut edits = removals(message, names, facts.authserv_ids);
    edits.extend(facts.fields.iter().map(|(name, value)| {
        let (name, value, place) = (name.clone(), value.clone(), Place::Top);
        match value.contains("\r\n") {
            true => Edit::AddFolded { name, value, place },
            false => Edit::AddHeader { name, value, place },
        }
    }));
    let mut add = |name: &str, value: String| {
        let (name, place) = (name.to_owned(), Place::Top);
        match (name.is_empty(), value.contains("\r\n")) {
            (true, _) => {}
            (false, true) => edits.push(Edit::AddFolded { name, value, place }),
            (false, false) => edits.push(Edit::AddHeader { name, value, place }),
        }
    };
    add(&names.scanned, format!("gatepost at {}", facts.hostname));
    add(&names.id, facts.id.to_owned());
    if facts.score >= facts.headers_from || facts.spammy {
        if facts.spammy {
            add(&names.flag, "YES".into());
        }
        add(&names.score, facts.score.to_string());
        let stars = facts.score.whole().clamp(0, MAX_STARS) as usize;
        if stars > 0 {
            add(&names.level, "*".repeat(stars));
        }
        add(
            &names.status,
            match names.status_form {
                StatusForm::Amavis => status(facts),
                StatusForm::SpamAssassin => short_status(names.status.len(), facts),
            },
        );
        if facts.spammy && !facts.tests.is_empty() {
            add(&names.report, report(facts));
        }
    }
    tag_subject(message, &facts.tags, &mut edits);
    edits
}

/// Whether a pattern of `headers.remove` (a name, or the beginning of names and `*`) is for a name; without case.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(stem) => name.get(..stem.len()).is_some_and(|start| start.eq_ignore_ascii_case(stem)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

/// Fields that came from outside under names that are ours: whoever reads them behind us believes them, so they go, or
/// get another name where that makes a proper one.
fn removals(message: &Message, names: &HeaderNames, authserv_ids: &[String]) -> Vec<Edit> {
    let own =
        [&names.id, &names.scanned, &names.flag, &names.score, &names.level, &names.status, &names.report];
    let patterns: Vec<&str> =
        own.into_iter().chain(&names.remove).map(String::as_str).filter(|name| !name.is_empty()).collect();
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut edits = Vec::new();
    for field in &message.headers.fields {
        let name = message.headers.name(field);
        let is_results = name.eq_ignore_ascii_case("Authentication-Results");
        let listed = patterns.iter().any(|pattern| matches(pattern, name));
        if name.is_empty() || !(listed || is_results) {
            continue;
        }
        let seen = seen.entry(name.to_ascii_lowercase()).or_default();
        let nth = std::mem::replace(seen, *seen + 1);
        if !listed && !is_ours(message.headers.raw_value(field), authserv_ids) {
            continue;
        }
        edits.push(Edit::RemoveHeader { name: name.into(), nth });
        let new_name = format!("{}{name}", names.rename_prefix);
        if !names.rename_prefix.is_empty() && is_header_name(&new_name) {
            let value = one_line(&String::from_utf8_lossy(message.headers.raw_value(field)));
            edits.push(Edit::AddHeader { name: new_name, value, place: Place::Bottom });
        }
    }
    edits
}

/// Whether results of sender authentication are told under one of these names (RFC 8601 section 5).
fn is_ours(value: &[u8], authserv_ids: &[String]) -> bool {
    authserv_ids.iter().any(|id| id == "*" || results::must_go(value, [id.as_str()]))
}

/// As amavis writes it: `Yes, score=46.551 tag=-999 tag2=6.31 kill=10 tests=[A=5.8, B=0.001] autolearn=no`. The tests add
/// up to the score.
fn status(facts: &Facts) -> String {
    let mut status = format!(
        "{}, score={} tag={} tag2={} kill={} tests=[",
        if facts.spammy { "Yes" } else { "No" },
        facts.score,
        threshold(facts.headers_from),
        threshold(facts.spammy_at),
        threshold(facts.spam_at),
    );
    for (place, Test { symbol, points, .. }) in facts.tests.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(status, "{comma}{symbol}={points}");
    }
    status.push_str("] autolearn=no");
    status
}

/// As SpamAssassin writes it: `Yes, score=7.5 required=6.3 tests=A,B autolearn=no version=gatepost`, folded behind commas as
/// there, for the names of many tests would be one word that is longer than a line may be (RFC 5322 section 2.1.1).
fn short_status(name: usize, facts: &Facts) -> String {
    const WIDTH: usize = 76;
    let names: Vec<&str> = facts.tests.iter().map(|test| test.symbol).collect();
    let tests = if names.is_empty() { "none".to_owned() } else { names.join(",") };
    let text = format!(
        "{}, score={} required={} tests={tests} autolearn=no version=gatepost",
        if facts.spammy { "Yes" } else { "No" },
        tenths(facts.score, facts),
        tenths(facts.spammy_at, facts),
    );
    let (mut folded, mut column) = (String::new(), name + 2);
    for piece in text.split_inclusive([' ', ',']) {
        if column + piece.trim_end().len() > WIDTH && !folded.is_empty() {
            folded.truncate(folded.trim_end().len());
            folded.push_str("\r\n\t");
            column = 8;
        }
        folded.push_str(piece);
        column += piece.len();
    }
    folded
}

/// With one decimal, as SpamAssassin shows points; what is below the mark never looks as if it had reached it.
fn tenths(points: Points, facts: &Facts) -> String {
    let round = |points: Points| format!("{:.1}", points.as_f64());
    let shown = round(points);
    match points < facts.spammy_at && shown == round(facts.spammy_at) {
        true => format!("{:.1}", facts.spammy_at.as_f64() - 0.1),
        false => shown,
    }
}

/// As SpamAssassin's: a line each, `*  5.0 NAME Meaning`.
fn report(facts: &Facts) -> String {
    const MOST: usize = 100;
    const LENGTH: usize = 200;
    let mut report = String::new();
    for Test { symbol, points, meaning } in facts.tests.iter().take(MOST) {
        // A field is ASCII (RFC 5322 section 2.2), and whoever wrote the mail may have a hand in its proof.
        let plain = meaning.chars().take(LENGTH).map(|c| if matches!(c, ' '..='~') { c } else { '?' });
        let line = format!("* {:>5} {symbol} {}", points.to_string(), plain.collect::<String>());
        // The first stands beside the field's name: a line of white space alone is obsolete (RFC 5322 section 4.2).
        if !report.is_empty() {
            report.push_str("\r\n\t");
        }
        report.push_str(line.trim_end());
    }
    report
}

/// Thresholds without the decimal that scores always show: `-999`, `6.31`.
fn threshold(points: Points) -> String {
    let shown = points.to_string();
    shown.strip_suffix(".0").map(str::to_owned).unwrap_or(shown)
}

/// Puts tags before every Subject field (mail programs do not agree which of several they show), or adds one. Of a
/// subject that begins with all of the tags already, or with the last of them, these are not put there again.
fn tag_subject(message: &Message, tags: &[&str], edits: &mut Vec<Edit>) {
    let all = tags.concat();
    if all.is_empty() {
        return;
    }
    let mut none = true;
    for (nth, field) in message.headers.all("Subject").enumerate() {
        none = false;
        let shown = message.headers.value_text(field);
        let has = |from: &usize| shown.starts_with(tags[*from..].concat().trim_end());
        let missing = (0..tags.len()).find(has).unwrap_or(tags.len());
        let tag = tags[..missing].concat();
        if tag.is_empty() {
            continue;
        }
        // Encoded words stay as they are, behind a tag that is not one itself: white space between two of them is
        // not shown (RFC 2047 section 6.2). What is no text at all is written anew as it is read.
        let value = match std::str::from_utf8(message.headers.raw_value(field)) {
            Ok(value) if tag.is_ascii() => one_line(value),
            _ => shown,
        };
        edits.push(Edit::ChangeHeader { name: "Subject".into(), nth, value: format!("{tag}{value}") });
    }
    if none {
        let value = all.trim_end().to_owned();
        edits.push(Edit::AddHeader { name: "Subject".into(), value, place: Place::Bottom });
    }
}

/// A value without line breaks (RFC 5322 section 2.2.3), trimmed.
fn one_line(value: &str) -> String {
    value.replace(['\r', '\n'], "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::testing::mail;

    const FACTS: Facts<'static> = Facts {
        id: "l1bnIZN88okd",
        hostname: "mx.test",
        score: Points::ZERO,
        spammy: false,
        headers_from: Points::thousandths(-999_000),
        spammy_at: Points::thousandths(6310),
        spam_at: Points::thousandths(10_000),
        tests: Vec::new(),
        tags: Vec::new(),
        fields: &[],
        authserv_ids: &[],
    };

    /// The edits, a line each: `+` added at the top, `_` at the bottom, `-` removed, `=` changed.
    fn shown(header: &str, names: &HeaderNames, facts: &Facts) -> Vec<String> {
        let mail = mail(&format!("{header}\r\nText.\r\n"), &[]);
        let line = |edit: Edit| match edit {
            Edit::AddHeader { name, value, place: Place::Top } => format!("+{name}: {value}"),
            Edit::AddHeader { name, value, place: Place::Bottom } => format!("_{name}: {value}"),
            Edit::RemoveHeader { name, nth } => format!("-{name} {nth}"),
            Edit::ChangeHeader { name, nth, value } => format!("={name} {nth}: {value}"),
            _ => panic!("nothing of that kind here"),
        };
        header_edits(&mail.message, names, facts).into_iter().map(line).collect()
    }

    fn test(symbol: &'static str, points: i64) -> Test<'static> {
        Test { symbol, points: Points::thousandths(points), meaning: "What it means" }
    }

    fn nothing_added() -> HeaderNames {
        let none = String::new;
        HeaderNames {
            id: none(),
            scanned: none(),
            flag: none(),
            score: none(),
            level: none(),
            status: none(),
            ..HeaderNames::default()
        }
    }

    #[test]
    fn fields_of_ours_are_added() {
        let spammy = Facts {
            score: Points::thousandths(7_551),
            spammy: true,
            tests: vec![test("A", 7_550), test("B", 1)],
            ..FACTS
        };
        let low = Facts { score: Points::thousandths(-1500), tests: vec![test("A", -1500)], ..FACTS };
        let quiet =
            Facts { headers_from: Points::thousandths(2000), score: Points::thousandths(1999), ..FACTS };
        let both = ["+X-Virus-Scanned: gatepost at mx.test", "+X-Gatepost-Id: l1bnIZN88okd"];
        let table: [(&Facts, &[&str]); 4] = [
            (
                &spammy,
                &[
                    "+X-Spam-Flag: YES",
                    "+X-Spam-Score: 7.551",
                    "+X-Spam-Level: *******",
                    "+X-Spam-Status: Yes, score=7.551 tag=-999 tag2=6.31 kill=10 tests=[A=7.55, B=0.001] autolearn=no",
                ],
            ),
            (
                &low,
                &[
                    "+X-Spam-Score: -1.5",
                    "+X-Spam-Status: No, score=-1.5 tag=-999 tag2=6.31 kill=10 tests=[A=-1.5] autolearn=no",
                ],
            ),
            (
                &FACTS,
                &[
                    "+X-Spam-Score: 0.0",
                    "+X-Spam-Status: No, score=0.0 tag=-999 tag2=6.31 kill=10 tests=[] autolearn=no",
                ],
            ),
            (&quiet, &[]),
        ];
        for (facts, rest) in table {
            let expected: Vec<_> = both.iter().chain(rest).map(|line| line.to_string()).collect();
            assert_eq!(shown("Subject: x\r\n", &HeaderNames::default(), facts), expected);
        }
        let high = Facts { score: Points::thousandths(99_000), ..FACTS };
        let names = HeaderNames { level: "L".into(), ..nothing_added() };
        assert_eq!(shown("Subject: x\r\n", &names, &high), [format!("+L: {}", "*".repeat(64))]);
    }

    #[test]
    fn fields_in_spamassassins_form() {
        let names = HeaderNames {
            status: "X-Spam-Status".into(),
            status_form: StatusForm::SpamAssassin,
            report: "X-Spam-Report".into(),
            ..nothing_added()
        };
        let long: Vec<String> = (0..8).map(|n| format!("A_RULE_WITH_A_NAME_{n}")).collect();
        let long: Vec<Test> = long.iter().map(|name| Test { symbol: name, ..test("", 1000) }).collect();
        let foreign = Test { meaning: "Prüft\r\nX-Evil: 1", ..test("B", 500) };
        let of = |score: i64, spammy, tests: &[Test<'static>]| {
            (Points::thousandths(score), spammy, tests.to_vec())
        };
        for ((score, spammy, tests), expected) in [
            (
                of(0, false, &[]),
                vec!["No, score=0.0 required=6.3 tests=none autolearn=no\r\n\tversion=gatepost"],
            ),
            // It would show as 6.3, which is the mark.
            (
                of(6_290, false, &[test("A", 6_290)]),
                vec!["No, score=6.2 required=6.3 tests=A autolearn=no\r\n\tversion=gatepost"],
            ),
            (
                of(7_500, true, &[test("A", 7_000), foreign]),
                vec![
                    "Yes, score=7.5 required=6.3 tests=A,B autolearn=no\r\n\tversion=gatepost",
                    "*   7.0 A What it means\r\n\t*   0.5 B Pr?ft??X-Evil: 1",
                ],
            ),
        ] {
            let facts = Facts { score, spammy, tests, ..FACTS };
            let edits = header_edits(&mail("Subject: x\r\n\r\n", &[]).message, &names, &facts);
            let values: Vec<_> = edits
                .iter()
                .map(|edit| match edit {
                    Edit::AddHeader { value, .. } | Edit::AddFolded { value, .. } => value.as_str(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(values, expected);
        }
        let facts = Facts { score: Points::thousandths(8_000), spammy: true, tests: long, ..FACTS };
        let status = short_status("X-Spam-Status".len(), &facts);
        assert!(status.split("\r\n").all(|line| line.len() <= 76), "{status}");
        assert_eq!(status.replace("\r\n\t", "").matches("A_RULE").count(), 8);
    }

    #[test]
    fn fields_from_outside_go() {
        let header = "x-spam-flag: NO\r\nSubject: x\r\nX-SPAM-Level: *\r\nX-Spam-Flag : NO\r\nX-Spamming: is fun\r\n\
                      X-Virus-Status: Clean,\r\n really\r\nX-Gatepost-Id: forged\r\nMine: 1\r\n";
        let names = HeaderNames { id: "Mine".into(), ..nothing_added() };
        let facts = Facts { id: "2", ..FACTS };
        let removed = [
            "-x-spam-flag 0",
            "-X-SPAM-Level 0",
            "-X-Spam-Flag 1",
            "-X-Virus-Status 0",
            "-X-Gatepost-Id 0",
            "-Mine 0",
        ];
        let mut expected = removed.to_vec();
        expected.push("+Mine: 2");
        assert_eq!(shown(header, &names, &facts), expected);

        let renaming = HeaderNames { rename_prefix: "X-Old-".into(), ..names };
        let expected = [
            "-x-spam-flag 0",
            "_X-Old-x-spam-flag: NO",
            "-X-SPAM-Level 0",
            "_X-Old-X-SPAM-Level: *",
            "-X-Spam-Flag 1",
            "_X-Old-X-Spam-Flag: NO",
            "-X-Virus-Status 0",
            "_X-Old-X-Virus-Status: Clean, really",
            "-X-Gatepost-Id 0",
            "_X-Old-X-Gatepost-Id: forged",
            "-Mine 0",
            "_X-Old-Mine: 1",
            "+Mine: 2",
        ];
        assert_eq!(shown(header, &renaming, &facts), expected);
    }

    #[test]
    fn a_name_too_long_to_be_renamed_still_goes() {
        let header = format!("X-Spam-{}: x\r\n", "a".repeat(300));
        let names = HeaderNames { rename_prefix: "X-Old-".into(), ..nothing_added() };
        let edits = shown(&header, &names, &FACTS);
        assert!(edits.len() == 1 && edits[0].starts_with("-X-Spam-"), "{edits:?}");
    }

    #[test]
    fn patterns_of_names() {
        for (pattern, name, expected) in [
            ("X-Spam-*", "x-spam-flag", true),
            ("X-Spam-*", "X-Spam-", true),
            ("X-Spam-*", "X-Spam", false),
            ("X-Spam-*", "X-Späm-Flag", false),
            ("X-Spam", "X-SPAM", true),
            ("X-Spam", "X-Spam-Flag", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn subjects_are_tagged_once() {
        let table: [(&str, &[&str], &[&str]); 12] = [
            ("Subject: Hello\r\n", &["[S] "], &["=Subject 0: [S] Hello"]),
            ("Subject: Hello\r\n", &[], &[]),
            ("Subject: Hello\r\n", &["[A] ", "[B] "], &["=Subject 0: [A] [B] Hello"]),
            ("Subject: [A] [B] Hello\r\n", &["[A] ", "[B] "], &[]),
            ("Subject: [B] Hello\r\n", &["[A] ", "[B] "], &["=Subject 0: [A] [B] Hello"]),
            ("Subject: [S] Hello\r\n", &["[S] "], &[]),
            ("Subject:\r\n [S]\r\n Hello\r\n", &["[S] "], &[]),
            ("Subject: =?utf-8?Q?[S]_H=C3=A4?=\r\n", &["[S] "], &[]),
            (
                "Subject: =?utf-8?Q?H=C3=A4?=\r\n =?utf-8?Q?llo?=\r\n",
                &["[S] "],
                &["=Subject 0: [S] =?utf-8?Q?H=C3=A4?= =?utf-8?Q?llo?="],
            ),
            ("Subject: =?utf-8?Q?H=C3=A4?=\r\n", &["[Müll] "], &["=Subject 0: [Müll] Hä"]),
            (
                "subject: a\r\nSubject: [S] b\r\nSUBJECT: c\r\n",
                &["[S] "],
                &["=Subject 0: [S] a", "=Subject 2: [S] c"],
            ),
            ("From: a@a.test\r\n", &["[S] "], &["_Subject: [S]"]),
        ];
        for (header, tags, expected) in table {
            let facts = Facts { tags: tags.to_vec(), ..FACTS };
            assert_eq!(shown(header, &nothing_added(), &facts), expected, "{header}");
        }
    }

    #[test]
    fn a_subject_that_is_not_utf8_is_tagged_as_it_is_read() {
        let mut mail = mail("Subject: x\r\n\r\n", &[]);
        let raw = bytes::Bytes::from_static(b"Subject: H\xe4\r\n\r\n");
        let limits = gatepost_mail::Limits::default();
        mail.message = Message::read(raw, &mut gatepost_mail::Budget::new(&limits));
        let facts = Facts { tags: vec!["[S] "], ..FACTS };
        let edits = header_edits(&mail.message, &nothing_added(), &facts);
        let value = "[S] Hä".to_owned();
        assert_eq!(edits, [Edit::ChangeHeader { name: "Subject".into(), nth: 0, value }]);
    }
}
