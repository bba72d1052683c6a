//! One verdict, whichever way a mail comes in: some five hundred letters through every front of one daemon, and what its
//! journal says about each. Where a protocol cannot say what another one says, [`DIFFERENCES`] names it.

mod fronts;
mod letters;
pub mod packing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::*;
use fronts::{FRONTS, Front, Place};
use letters::{Letter, Quirk, letters};

/// The front that the others are compared with.
const YARDSTICK: &str = "smtp";

/// What is left out of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Policy, score and category that recipients of a policy of their own get; what was found is compared.
    Verdict,
    /// What was found about header and lines, and what follows from it.
    Header,
    /// What was found about the message's form, and what follows from it; malware and banned attachments are compared.
    Form,
    /// The letter: it cannot be sent that way.
    Letter,
}

/// What protocols cannot say: fronts, the letters it matters for, what is left out, and why.
const DIFFERENCES: &[(&[&str], Quirk, Left, &str)] = &[
    (
        &["milter", "queue"],
        Quirk::BrokenHeader,
        Left::Header,
        "for the mail server the header ends at the first line that is no field, and that is how it tells the filter",
    ),
    (&["queue"], Quirk::StrayLineEnd, Left::Header, "in the queue's files every line ends in LF"),
    (
        &["spamd check", "spamd process", "clamd", "http", "filter", "scan"],
        Quirk::StrayLineEnd,
        Left::Header,
        "whoever only hears a verdict goes on with what it has, so that is looked at beside what was mended",
    ),
    (&["milter"], Quirk::NulInHeader, Left::Header, "the protocol's strings end in NUL"),
    (
        &["clamd"],
        Quirk::HardlyMail,
        Left::Form,
        "what looks like no mail is judged as a file, which lacks no header",
    ),
    (&["milter", "queue"], Quirk::Foreign, Left::Header, "some have such headers"),
    (&["clamd"], Quirk::Foreign, Left::Form, "some look like no mail"),
    (&["clamd"], Quirk::Strict, Left::Verdict, "no recipients are named"),
    (&["clamd"], Quirk::Several, Left::Verdict, "no recipients are named"),
    (&["spamd check", "spamd process"], Quirk::Several, Left::Verdict, "one recipient is named at most"),
    (
        &["filter", "http"],
        Quirk::Empty,
        Left::Letter,
        "nothing in a pipe or a request is a fault of whoever fills it",
    ),
    (&["filter"], Quirk::Several, Left::Letter, "whoever has a pipe delivers to one recipient"),
];

/// What the journal says about a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    category: String,
    score: String,
    policy: String,
    symbols: BTreeSet<String>,
    /// Policy, category and score for each recipient.
    recipients: BTreeMap<String, String>,
}

impl Verdict {
    fn of(record: &Value) -> Verdict {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let list = |name: &str| record[name].as_array().cloned().unwrap_or_default();
        let symbols = list("findings").iter().map(|finding| text(&finding["symbol"])).collect();
        let recipients = list("verdicts").into_iter().flat_map(|verdict| {
            let told = ["policy", "category", "score"].map(|name| text(&verdict[name])).join(" ");
            let whom = verdict["recipients"].as_array().cloned().unwrap_or_default();
            whom.into_iter().map(move |recipient| (text(&recipient), told.clone())).collect::<Vec<_>>()
        });
        Verdict {
            category: text(&record["category"]),
            score: text(&record["score"]),
            policy: text(&record["policy"]),
            symbols,
            recipients: recipients.collect(),
        }
    }

    /// Without what is left out of a comparison.
    fn without(mut self, left: &[Left]) -> Verdict {
        if left.contains(&Left::Header) {
            const ABOUT_LINES: &[&str] = &[
                "BARE_CR",
                "BARE_LF",
                "SMUGGLED_END",
                "NUL_BYTE",
                "LONG_LINE",
                "NO_HEADER",
                "BAD_HEADER_LINE",
                "BAD_FOLDING",
                "MISSING_DATE",
                "MISSING_FROM",
                "MISSING_MESSAGE_ID",
                "DUPLICATE_HEADER",
                "EIGHT_BIT_HEADER",
                // Where the header ends decides what else it may say.
                "OTHER_READING",
                "LATE_HEADER",
                "MISSPELT_MIME_HEADER",
                "HIDDEN_ENCODING",
            ];
            self.symbols.retain(|symbol| !ABOUT_LINES.contains(&symbol.as_str()));
        }
        if left.contains(&Left::Form) {
            self.symbols.retain(|symbol| symbol.starts_with("VIRUS") || symbol.starts_with("BANNED"));
        }
        if !left.is_empty() {
            self.category.clear();
            self.score.clear();
            self.policy.clear();
            self.recipients.clear();
        }
        self
    }
}

/// Where a front names no recipients, there are none to compare.
fn comparable(front: &Front, verdict: &Verdict) -> Verdict {
    let mut verdict = verdict.clone();
    if !front.recipients {
        verdict.recipients.clear();
    }
    verdict
}

fn left_out(front: &Front, letter: &Letter) -> Vec<Left> {
    let rows = DIFFERENCES
        .iter()
        .filter(|(fronts, quirk, ..)| fronts.contains(&front.name) && letter.quirks.contains(quirk));
    rows.map(|(_, _, left, _)| *left).collect()
}

fn sent_through<'a>(front: &Front, letters: &'a [Letter]) -> Vec<&'a Letter> {
    letters.iter().filter(|letter| !left_out(front, letter).contains(&Left::Letter)).collect()
}

/// What was decided, by the letter's first recipient: each front was sent its letters one after the other, or its records
/// tell for whom they were.
fn verdicts<'a>(front: &Front, letters: &'a [Letter], records: &[Value]) -> BTreeMap<&'a str, Verdict> {
    let records: Vec<&Value> = records.iter().filter(|record| record["listener"] == front.name).collect();
    let sent = sent_through(front, letters);
    let name = |letter: &'a Letter| letter.recipients[0].as_str();
    if !front.recipients {
        assert_eq!(sent.len(), records.len(), "records of {}", front.name);
        return sent
            .into_iter()
            .zip(records)
            .map(|(letter, record)| (name(letter), Verdict::of(record)))
            .collect();
    }
    let mut by_recipient = BTreeMap::new();
    for record in records {
        let recipients = record["recipients"].as_array().into_iter().flatten();
        by_recipient.extend(recipients.filter_map(|recipient| Some((recipient.as_str()?, record))));
    }
    let of = |letter| {
        let record = by_recipient.get(name(letter)).copied();
        Verdict::of(record.unwrap_or_else(|| panic!("{}: no record of {:?}", front.name, letter.name)))
    };
    sent.into_iter().map(|letter| (name(letter), of(letter))).collect()
}

fn setup(sink: &Sink, place: &Place) -> Setup {
    let strict = "[[policy]]\nname = \"strict\"\nwhen.recipients = [\"strict.test\"]\nspammy_at = 0.5\n\
                  weights.MISSING_DATE = 7\ncategories.DUPLICATE_HEADER = \"spam\"\n";
    // One session brings all letters, and refusals are no errors here.
    let limits = "[limits]\nerrors = 100000\nmessages = 100000\nmessage_size = \"64 MiB\"\n";
    let mut setup = Setup::to(sink.address)
        .globally("domains = [\"example.test\", \"strict.test\"]")
        .listening("name = \"smtp\"")
        .with(limits)
        .with(strict);
    for front in FRONTS {
        setup = setup.with(&(front.listen)(place));
    }
    setup
}

#[test]
fn every_front_gives_one_verdict() {
    let sink = Sink::start();
    let letters = letters(&fronts::suites());
    let folder = folder();
    let mut place = Place::new(folder.path(), sink.address);
    let gatepost = setup(&sink, &place).start();
    place.started(&gatepost);
    let (place, letters) = (&place, letters.as_slice());
    std::thread::scope(|scope| {
        for front in FRONTS {
            scope.spawn(move || {
                let start = Instant::now();
                (front.send)(place, &sent_through(front, letters));
                println!("{}: {:?}", front.name, start.elapsed());
            });
        }
    });
    let recorded = FRONTS.iter().filter(|front| front.recorded);
    let expected: usize = recorded.map(|front| sent_through(front, letters).len()).sum();
    let mut records = wait_for("all records", Duration::from_secs(60), || {
        let records = gatepost.json(&["history"], &["--json", "--limit", "100000"]);
        (records.len() >= expected).then_some(records)
    });
    records.sort_by_key(|record| record["time"].as_str().map(str::to_owned));
    for front in FRONTS.iter().filter(|front| !front.recorded) {
        records.extend(place.told(front));
    }
    compare(letters, &records);
    println!("{} letters, {} records", letters.len(), records.len());
}

/// Whether each front's verdicts are those of the yardstick, but for the differences, and whether those are still needed.
fn compare(letters: &[Letter], records: &[Value]) {
    let yardstick = FRONTS.iter().find(|front| front.name == YARDSTICK).expect("the yardstick");
    let expected = verdicts(yardstick, letters, records);
    let mut wrong = Vec::new();
    let mut needed = BTreeSet::new();
    for front in FRONTS {
        let mut found = verdicts(front, letters, records);
        for letter in sent_through(front, letters) {
            let name = letter.recipients[0].as_str();
            let Some(verdict) = found.remove(name) else { continue };
            let (verdict, wanted) = (comparable(front, &verdict), comparable(front, &expected[name]));
            let left = left_out(front, letter);
            if verdict == wanted {
                continue;
            } else if verdict.clone().without(&left) == wanted.clone().without(&left) {
                let rows = DIFFERENCES.iter().enumerate();
                let rows = rows.filter(|(_, (fronts, quirk, ..))| {
                    fronts.contains(&front.name) && letter.quirks.contains(quirk)
                });
                needed.extend(rows.map(|(row, _)| (row, front.name)));
            } else {
                wrong.push(format!(
                    "{}: {:?}\n  by {YARDSTICK}: {wanted:?}\n  here: {verdict:?}",
                    front.name, letter.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    for (row, (fronts, quirk, left, why)) in DIFFERENCES.iter().enumerate() {
        for front in fronts.iter().filter(|_| *left != Left::Letter && *quirk != Quirk::Foreign) {
            assert!(
                needed.contains(&(row, *front)),
                "{front} does not differ in {quirk:?} ({why}): out of the table with it"
            );
        }
    }
    for category in ["clean", "spam", "bad-header", "unchecked", "banned", "virus"] {
        let count = expected.values().filter(|verdict| verdict.category == category).count();
        assert!(count >= 5, "only {count} letters are {category}");
    }
}
