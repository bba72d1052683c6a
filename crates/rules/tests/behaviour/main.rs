//! What SpamAssassin's own tests hold it to, as tables: a configuration, a mail, a question and the answer.
//!
//! Each answer is ours; and where SpamAssassin is installed, `oracle/behaviour.pl` asks it the same, all cases in one run.
//!
//! Questions: `hits`; `score`; `get FIELD`; `uris`; `hosts`; `body`, `visible`, `invisible`, `rawbody`, `pristine`; `types` of
//! parts; `html FACT`; `fill TEMPLATE`; `tag NAME`; `fields` that are added; `report`; `priority RULE`; `scores RULE`;
//! `received LINE`; `lint`.

mod addresses;
mod config;
mod functions;
mod headers;
mod pages;
mod parts;
mod received;
mod reports;
mod rules;
mod trust;
mod uris;

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use gatepost_mail::Message;
use gatepost_rules::conf::{Options, Reader, RuleSet};
use gatepost_rules::engine::{Engine, Limits, Outcome, ScoreSet};
use gatepost_rules::evals::{Known, Native, Patterns};
use gatepost_rules::report::Report;
use gatepost_rules::subject::text_settings;
use gatepost_rules::texts::{Given, HeaderRequest, Texts};

/// A question and its answer.
pub struct Case {
    conf: String,
    mail: Vec<u8>,
    ask: String,
    want: Vec<u8>,
}

/// A case under a configuration of its own.
pub fn case(conf: &str, mail: &str, ask: &str, want: &str) -> Case {
    let conf = format!("{BASE}{conf}\n");
    Case { conf, mail: mail.as_bytes().to_vec(), ask: ask.into(), want: want.as_bytes().to_vec() }
}

/// Rules, each named R, over one mail: which of them hit. They are made one configuration, R becoming R00, R01 …
pub fn rules(conf: &str, mail: &str, rows: &[(&str, bool)]) -> Case {
    let mut all = format!("{conf}\n");
    let mut hits = Vec::new();
    for (number, (rule, hit)) in rows.iter().enumerate() {
        let name = format!("R{number:02}");
        for word in rule.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let end = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_').len();
            match word[..end].strip_suffix('R').filter(|before| before.is_empty() || before.ends_with('_')) {
                Some(before) => all.extend([before, &name]),
                None => all.push_str(&word[..end]),
            }
            all.push_str(&word[end..]);
        }
        all.push('\n');
        if *hit {
            hits.push(name);
        }
    }
    case(&all, mail, "hits", &hits.join(","))
}

/// What each configuration begins with.
const BASE: &str = "loadplugin Mail::SpamAssassin::Plugin::Check\nutil_rb_tld com org net example uk ie us\nutil_rb_2tld co.uk\n";

#[test]
fn tables_hold() {
    let mut wrong = Vec::new();
    for case in cases() {
        let ours = answer(&case);
        if ours != case.want {
            wrong.push(shown(&case, &ours));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn tables_are_what_spamassassin_does() {
    let modules = ["-MMail::SpamAssassin", "-MEmail::Address::XS", "-MNet::LibIDN", "-e1"];
    let there = Command::new("perl").args(modules).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("skipped: spamassassin, libemail-address-xs-perl or libnet-libidn-perl is not installed");
        return;
    }
    let cases = cases();
    let answers = oracle(&cases);
    assert_eq!(answers.len(), cases.len(), "SpamAssassin ended early");
    let differ: Vec<String> = cases
        .iter()
        .zip(&answers)
        .filter(|(case, theirs)| case.want != **theirs)
        .map(|(case, theirs)| shown(case, theirs))
        .collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

/// All, those of one configuration one behind the other.
fn cases() -> Vec<Case> {
    let tables = [
        addresses::cases(),
        config::cases(),
        functions::cases(),
        headers::cases(),
        pages::cases(),
        parts::cases(),
        received::cases(),
        reports::cases(),
        rules::cases(),
        trust::cases(),
        uris::cases(),
    ];
    let mut cases: Vec<Case> = tables.into_iter().flatten().collect();
    cases.sort_by(|one, other| one.conf.cmp(&other.conf).then_with(|| one.mail.cmp(&other.mail)));
    cases
}

fn shown(case: &Case, found: &[u8]) -> String {
    let own = case.conf.strip_prefix(BASE).unwrap_or(&case.conf);
    format!(
        "---- {}\n{own}\n{}\nwant {:?}\ngot  {:?}",
        case.ask,
        String::from_utf8_lossy(&case.mail[..case.mail.len().min(1000)]),
        String::from_utf8_lossy(&case.want),
        String::from_utf8_lossy(found)
    )
}

fn oracle(cases: &[Case]) -> Vec<Vec<u8>> {
    let hex = |text: &[u8]| match text {
        b"" => "-".to_string(),
        _ => text.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let lines: String = cases
        .iter()
        .map(|case| {
            format!("{} {} {}\n", hex(case.conf.as_bytes()), hex(&case.mail), hex(case.ask.as_bytes()))
        })
        .collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/behaviour.pl");
    let mut child = Command::new("perl")
        .arg(script)
        .env("LANGUAGE", "en_US")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("perl starts");
    let mut input = child.stdin.take().expect("its input");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("perl ends");
    writer.join().expect("the cases are written").expect("perl reads the cases");
    let octets = |line: &str| {
        let pairs = line.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
        pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
    };
    String::from_utf8_lossy(&output.stdout).lines().map(octets).collect()
}

fn read(conf: &str) -> RuleSet {
    let mut reader = Reader::new(Options { local: true, ..Options::default() });
    reader.read("test.cf", conf.as_bytes(), &mut |_| Err("no files here".into()));
    reader.finish()
}

/// Our answer.
fn answer(case: &Case) -> Vec<u8> {
    let (what, of) = case.ask.split_once(' ').unwrap_or((&case.ask, ""));
    let set = read(&case.conf);
    match what {
        "lint" => {
            let all: Vec<String> = set.warnings.iter().map(|warning| warning.message.clone()).collect();
            return all.join("\n").into();
        }
        "priority" => return set.rules[of].priority.to_string().into(),
        "scores" => return set.rules[of].scores.map(|score| score.to_string()).join(" ").into(),
        _ => {}
    }
    let mail = match what {
        "received" => format!("Received: {of}\n\n").into_bytes(),
        _ => case.mail.clone(),
    };
    let settings = text_settings(&set.settings);
    let message = Message::unread(mail.into());
    let texts = Texts::new(&message, Given::default(), &settings);
    match of_texts(&texts, what, of) {
        Some(told) => told,
        None => of_rules(&set, &texts, what, of),
    }
}

fn of_texts(texts: &Texts<'_>, what: &str, of: &str) -> Option<Vec<u8>> {
    let sorted = |mut all: Vec<Vec<u8>>| {
        all.sort();
        all.dedup();
        all.join(&b' ')
    };
    let get = |request: &str| texts.header(&HeaderRequest::parse(request)).joined();
    Some(match what {
        "get" => get(of).map_or_else(|| b"(none)".to_vec(), Vec::from),
        "uris" => sorted(texts.uris().iter().flat_map(|uri| &uri.cleaned).map(|uri| uri.to_vec()).collect()),
        "hosts" => {
            let all = texts.uris().iter().flat_map(|uri| &uri.hosts);
            sorted(all.map(|(host, domain)| [&host[..], b"=", domain].concat()).collect())
        }
        "body" => texts.body().join(&b'|'),
        "visible" => texts.visible_body().join(&b'|'),
        "invisible" => texts.invisible_body().join(&b'|'),
        "rawbody" => texts.rawbody().join(&b'|'),
        "pristine" => texts.pristine_body().to_vec(),
        "types" => types(texts),
        "html" => match texts.html().first().and_then(|page| page.number(of)) {
            Some(number) => number.to_string().into(),
            None => b"(none)".to_vec(),
        },
        "received" => {
            let lists = ["X-Spam-Relays-Trusted", "X-Spam-Relays-Untrusted"];
            let all: Vec<u8> = lists.iter().filter_map(|list| get(list)).flatten().collect();
            let text = String::from_utf8_lossy(&all).replace(" intl=0 ", " ").replace(" intl=1 ", " ");
            let text = text.trim().trim_start_matches("[ ").trim_end_matches(" ]");
            if texts.relays().unparseable > 0 { b"unparseable".to_vec() } else { text.into() }
        }
        _ => return None,
    })
}

/// The types of all parts, as the first word of their fields says.
fn types(texts: &Texts<'_>) -> Vec<u8> {
    let of = |field: Option<Bytes>| {
        let value = field.unwrap_or_else(|| Bytes::from_static(b"text/plain"));
        let text = String::from_utf8_lossy(&value).to_lowercase();
        text.split([';', ' ', '\n']).next().unwrap_or_default().to_string()
    };
    texts.mime_headers("Content-Type", false).into_iter().map(of).collect::<Vec<_>>().join(" ").into()
}

fn of_rules(set: &RuleSet, texts: &Texts<'_>, what: &str, of: &str) -> Vec<u8> {
    let engine = Engine::new(set, ScoreSet::default());
    let (known, patterns) = (Known::default(), Patterns::default());
    let outcome =
        engine.evaluate(texts, &Native::new(texts, engine.settings(), &known, &patterns), Limits::default());
    assert_eq!(outcome.faults, [], "{what} {of}");
    let field = |name: &str| {
        let value = texts.header(&HeaderRequest::parse(name)).joined()?;
        Some(String::from_utf8_lossy(&value).into_owned())
    };
    let required = set.settings.number("required_score").unwrap_or(5.0);
    let report = Report { outcome: &outcome, set, required, tags: HashMap::new(), field: &field };
    match what {
        "hits" => hits(&outcome),
        "score" => format!("{:.3}", outcome.score),
        "fill" => report.filled(of),
        "tag" => report.filled(&format!("_{of}_")),
        "fields" => {
            report.headers().iter().skip(1).map(|(name, value)| format!("{name}: {value}\n")).collect()
        }
        "report" => report.body(),
        other => panic!("no such question: {other}"),
    }
    .into()
}

fn hits(outcome: &Outcome) -> String {
    let all = outcome.hits.iter().map(|hit| &*hit.name);
    let mut names: Vec<&str> = all.filter(|name| !name.starts_with("__")).collect();
    names.sort_unstable();
    names.dedup();
    names.join(",")
}
