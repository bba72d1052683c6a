//! The same questions to Debian's policyd-spf and to gatepost in its place; both ask a real name server. Where they differ
//! the row says why.

use std::process::{Child, Command, Stdio};

use super::client::{Asker, request};
use crate::rig::*;

const POLICYD: &str = "/usr/bin/policyd-spf";

/// policyd-spf, with our name server instead of the system's.
const SCRIPT: &str = r#"
import sys
sys.modules['dns'] = None  # dnspython, which pyspf would take rather, asks the system's servers
import DNS, spf
DNS.defaults['server'] = ['127.0.0.1']
DNS.defaults['port'] = int(sys.argv.pop(1))
from spf_engine import policyd_spf
policyd_spf.main()
"#;

const RECORDS: &[&str] = &[
    "pass.test. TXT \"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all\"",
    "fail.test. TXT \"v=spf1 -all\"",
    "soft.test. TXT \"v=spf1 ~all\"",
    "neutral.test. TXT \"v=spf1 ?all\"",
    "bad.test. TXT \"v=spf1 foo\"",
    "include.test. TXT \"v=spf1 include:pass.test -all\"",
    "a.test. TXT \"v=spf1 a -all\"",
    "a.test. A 192.0.2.9",
    "none.test. A 192.0.2.1",
    "helo.test. TXT \"v=spf1 ip4:192.0.2.9 -all\"",
];

/// policyd-spf's process, as Postfix's spawn(8) would run it.
struct Policyd {
    child: Child,
    asker: Asker,
    _folder: tempfile::TempDir,
}

impl Policyd {
    fn start(dns: &Dns, settings: &str) -> Policyd {
        let folder = folder();
        let (script, config) = (folder.path().join("policyd.py"), folder.path().join("policyd-spf.conf"));
        std::fs::write(&script, SCRIPT).expect("write");
        std::fs::write(&config, format!("debugLevel = 0\n{settings}")).expect("write");
        let mut child = Command::new("/usr/bin/python3")
            .arg(&script)
            .arg(dns.address.port().to_string())
            .arg(&config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let (input, output) = (child.stdout.take().expect("output"), child.stdin.take().expect("input"));
        Policyd { child, asker: Asker::new(input, output, || ()), _folder: folder }
    }
}

impl Drop for Policyd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `PASS`, `NONE` … for a field that is prepended, with the identity; else the beginning of the answer.
fn alike(answer: &str) -> String {
    let answer = answer.trim_end().trim_start_matches("action=");
    let word = answer.split(' ').next().unwrap_or_default().to_ascii_uppercase();
    if word != "PREPEND" {
        let words: Vec<&str> = answer.split(' ').take(2).collect();
        return if word == "DUNNO" { word } else { words.join(" ") };
    }
    let field = answer.split_once(' ').map(|(_, field)| field).unwrap_or_default();
    let Some(rest) = field.strip_prefix("Received-SPF: ") else {
        return field.split(':').next().unwrap_or_default().to_owned();
    };
    let result = rest.split(' ').next().unwrap_or_default().to_lowercase();
    let identity = rest.split("identity=").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or("?");
    format!("{result} {identity}")
}

/// Client, HELO and sender; policyd-spf's answer; ours, if it differs, and why.
type Row = (&'static str, &'static str, &'static str, &'static str, Option<(&'static str, &'static str)>);

const REFUSED: &str = "550 5.7.23";
const CLIENT: &str = "192.0.2.9";
const STRANGER: &str = "198.51.100.7";

const HELO_ONLY: &str = "policyd-spf tells of HELO where MAIL FROM has no record; gatepost always of MAIL FROM, about which its \
    restriction decides";
const BOUNCE: &str = "RFC 7208 section 2.4: for <> the HELO name stands for MAIL FROM, and gatepost says so; policyd-spf does not look \
    at MAIL FROM then";
const OURS: &str = "gatepost does not check its own networks, and says nothing of it";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    (CLIENT, "none.test", "a@pass.test", "pass mailfrom", None),
    ("2001:db8::9", "none.test", "a@pass.test", "pass mailfrom", None),
    (STRANGER, "none.test", "a@pass.test", REFUSED, None),
    (CLIENT, "none.test", "a@fail.test", REFUSED, None),
    (CLIENT, "none.test", "a@soft.test", "softfail mailfrom", None),
    (CLIENT, "none.test", "a@neutral.test", "neutral mailfrom", None),
    (CLIENT, "none.test", "a@none.test", "none mailfrom", None),
    (CLIENT, "none.test", "a@nowhere.test", "none mailfrom", None),
    (CLIENT, "none.test", "a@bad.test", "permerror mailfrom", None),
    (CLIENT, "none.test", "a@include.test", "pass mailfrom", None),
    (STRANGER, "none.test", "a@include.test", REFUSED, None),
    (CLIENT, "none.test", "a@a.test", "pass mailfrom", None),
    (STRANGER, "none.test", "a@a.test", REFUSED, None),
    // HELO speaks for itself.
    (STRANGER, "helo.test", "a@none.test", REFUSED, None),
    (STRANGER, "helo.test", "a@soft.test", REFUSED, None),
    (CLIENT, "helo.test", "a@pass.test", "pass mailfrom", None),
    (CLIENT, "helo.test", "a@none.test", "pass helo", Some(("none mailfrom", HELO_ONLY))),
    (CLIENT, "soft.test", "a@none.test", "softfail helo", Some(("none mailfrom", HELO_ONLY))),
    (CLIENT, "helo.test", "", "pass helo", Some(("pass mailfrom", BOUNCE))),
    (STRANGER, "helo.test", "", REFUSED, None),
    (CLIENT, "none.test", "", "none helo", Some(("none mailfrom", BOUNCE))),
    (CLIENT, "[192.0.2.9]", "a@pass.test", "pass mailfrom", None),
    ("127.0.0.1", "none.test", "a@fail.test", "X-Comment", Some(("DUNNO", OURS))),
];

fn gatepost(dns: &Dns, rest: &str) -> (Gatepost, Asker) {
    let address = free_address();
    let config = docs::block("coming-from-policyd-spf.md", "gatepost")
        .replace("127.0.0.1:10024", &address.to_string());
    let gatepost = Setup::documented(config, address).with(&dns.config()).with(rest).start();
    let asker = Asker::tcp(address);
    (gatepost, asker)
}

#[test]
fn policyd_spf_and_gatepost_answer_the_same_questions() {
    if !needs(&[POLICYD, "unbound"]) {
        return;
    }
    let dns = Dns::start(&["test."], RECORDS);
    let mut policyd = Policyd::start(&dns, "");
    let (gatepost, mut ours) = gatepost(&dns, "");
    let mut refused = 0;
    for (place, (client, helo, sender, theirs, difference)) in ROWS.iter().enumerate() {
        let instance = format!("row.{place}");
        let ask = |recipient| {
            request(&[
                ("client_address", client),
                ("helo_name", helo),
                ("sender", sender),
                ("recipient", recipient),
                ("instance", &instance),
            ])
        };
        let expected = difference.map_or(*theirs, |(ours, _)| ours);
        let question = ask("user@example.test");
        let (one, other) = (policyd.asker.ask(&question), ours.ask(&question));
        let both = (alike(&one), alike(&other));
        assert_eq!(
            both,
            ((*theirs).to_owned(), expected.to_owned()),
            "{client} {helo} <{sender}>\n{one}{other}"
        );
        // Another recipient of the same message: the field is there, a refusal is one again.
        let question = ask("other@example.test");
        let again = |first: &str| if first == REFUSED { REFUSED } else { "DUNNO" }.to_owned();
        let both = (alike(&policyd.asker.ask(&question)), alike(&ours.ask(&question)));
        assert_eq!(both, (again(theirs), again(expected)), "{client} {helo} <{sender}>, again");
        refused += 2 * usize::from(expected == REFUSED);
    }
    let records = gatepost.records(refused);
    assert!(records.iter().all(|record| record["action"] == "refuse"), "{records:#?}");
}

#[test]
fn both_put_off_what_cannot_be_looked_up() {
    if !needs(&[POLICYD, "unbound"]) {
        return;
    }
    // Everything outside its zones is refused by the name server.
    let dns = Dns::start(&["test."], RECORDS);
    let mut policyd = Policyd::start(&dns, "TempError_Defer = True\n");
    let (_gatepost, mut ours) = gatepost(&dns, "[checks.spf]\non_fault = \"defer\"\n");
    // pyspf takes a refusal for an empty answer, so its side of this row is that of a name that is not there.
    let question = request(&[("sender", "a@outside.example"), ("helo_name", "none.test")]);
    assert_eq!(alike(&policyd.asker.ask(&question)), "none mailfrom");
    assert_eq!(alike(&ours.ask(&question)), "DEFER_IF_PERMIT 4.7.23");
}
