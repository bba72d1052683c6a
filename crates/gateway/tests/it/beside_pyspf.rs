//! The same sessions with pyspf, which decides for Debian's `policyd-spf`, and with gatepost's SPF; both ask a real name
//! server. Where they differ the row says why.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use gatepost::config::typed::Dns as DnsConfig;
use gatepost::resources::dns::Dns as Resolver;
use gatepost_auth::spf::{self, Identity, Limits, Query, Spf};

use crate::rig::*;

const PYSPF: &str = "/usr/lib/python3/dist-packages/spf.py";

/// Judges sessions line by line: address, HELO and sender; result and, of a fail, the explanation.
const SCRIPT: &str = r#"
import sys
sys.modules['dns'] = None  # dnspython, which pyspf would take rather, asks the system's servers
import DNS, spf
DNS.defaults['server'] = ['127.0.0.1']
DNS.defaults['port'] = int(sys.argv[1])
for line in sys.stdin:
    ip, helo, sender = line.rstrip('\n').split('\t')
    query = spf.query(i=ip, s=sender, h=helo, receiver='mx.example.org', timeout=10, querytime=20)
    result, _, explanation = query.check()
    print(result, explanation if result == 'fail' else '', sep='\t')
"#;

/// What pyspf says where a domain has no explanation.
const NO_EXPLANATION: &str = "SPF fail - not authorized";

const ZONES: &[&str] = &["test.", "2.0.192.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."];

/// Names that many rows share; the record of row N is at dN.test, and the client has the addresses below.
const RECORDS: &[&str] = &[
    "a.test. A 192.0.2.10",
    "a.test. AAAA 2001:db8::10",
    "b.test. A 192.0.2.20",
    "many.test. MX 10 a.test.",
    "many.test. MX 20 b.test.",
    "none.test. MX 0 .",
    "alias.test. CNAME a.test.",
    "old.test. MX 10 b.test.",
    "old.test. MX 20 v4a.test.",
    "old.test. MX 30 v4b.test.",
    "v4a.test. A 192.0.2.30",
    "v4b.test. A 192.0.2.31",
    "pass.test. TXT \"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all\"",
    "soft.test. TXT \"v=spf1 ~all\"",
    "neutral.test. TXT \"v=spf1 ?all\"",
    "fail.test. TXT \"v=spf1 -all exp=exp.test\"",
    "bad.test. TXT \"v=spf1 foo\"",
    "two.test. TXT \"v=spf1 -all\"",
    "two.test. TXT \"v=spf1 +all\"",
    "other.test. TXT \"another text\"",
    "split.test. TXT \"v=spf1 ip4:192.\" \"0.2.10 -all\"",
    "exp.test. TXT \"%{i} is not for %{d}: %{s}, %{h}, %{c}, %{v}, %{r}\"",
    "url.test. TXT \"https://www.test/why?s=%{S}\"",
    "badexp.test. TXT \"%{z}\"",
    "10.2.0.192.in-addr.arpa. PTR a.test.",
    "20.2.0.192.in-addr.arpa. PTR a.test.",
    "20.2.0.192.in-addr.arpa. PTR b.test.",
    "is.test. A 127.0.0.2",
    "ok.is.test. A 127.0.0.2",
    "a+b.is.test. A 127.0.0.2",
    "b.a.is.test. A 127.0.0.2",
    "10.2.0.192.in-addr.is.test. A 127.0.0.2",
    "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.is.test. A 127.0.0.2",
    "a.test.is.test. A 127.0.0.2",
    "unknown.is.test. A 127.0.0.2",
    "helo.test.is.test. A 127.0.0.2",
    "x.is.test. A 127.0.0.2",
    "helo.test. TXT \"v=spf1 ip4:192.0.2.10 -all\"",
    "xn--mller-kva.test. TXT \"v=spf1 a:a.test -all\"",
];

/// A record, the client and the local part or the whole sender; our result; pyspf's, if it differs, and why.
type Row = (&'static str, &'static str, &'static str, &'static str, Option<(&'static str, &'static str)>);

const A4: &str = "192.0.2.10";
const B4: &str = "192.0.2.20";
const A6: &str = "2001:db8::10";
const STRANGER: &str = "198.51.100.7";

const PER_QUESTION: &str = "pyspf counts void questions; RFC 7208 section 4.6.4 counts terms, so that a client with an \
    IPv6 address does not fail for exchangers that have IPv4 addresses only";
const QUOTES: &str = "pyspf leaves the quotes in; RFC 5321 section 4.1.2: they are no part of the local part";
const ZERO: &str = "pyspf takes it; RFC 7208 section 7.3: the number must not be zero";
const CLIENT_NAME: &str = "pyspf does not count the look-up for %{p}; RFC 7208 section 4.6.4 does";
const UNKNOWN: &str =
    "pyspf minds; RFC 7208 section 6: modifiers that are not known are ignored, however often they come";
const REFUSED: &str = "pyspf takes a refusal for an empty answer; RFC 7208 sections 4.4 and 5: temperror";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("v=spf1", A4, "x", "neutral", None),
    ("v=spf1 -all", A4, "x", "fail", None),
    ("V=SpF1 -ALL", A4, "x", "fail", None),
    ("v=spf1 ~all", A4, "x", "softfail", None),
    ("v=spf1 ?all", A4, "x", "neutral", None),
    ("v=spf10 -all", A4, "x", "none", None),
    ("-", A4, "x@nowhere.test", "none", None),
    ("-", A4, "x@other.test", "none", None),
    ("-", A4, "x@two.test", "permerror", None),
    ("-", A4, "x@split.test", "pass", None),
    ("-", A4, "x@bad.test", "permerror", None),
    ("-", A4, "x@localhost", "none", None),
    ("-", A4, "", "pass", None),
    ("-", STRANGER, "", "fail", None),
    ("v=spf1 a:a.test -all", A4, "x", "pass", None),
    ("v=spf1 a:a.test -all", B4, "x", "fail", None),
    ("v=spf1 a:a.test -all", A6, "x", "pass", None),
    ("v=spf1 a:a.test -all", "::ffff:192.0.2.10", "x", "pass", None),
    ("v=spf1 a:a.test/24 -all", B4, "x", "pass", None),
    ("v=spf1 a:a.test//64 -all", "2001:db8::99", "x", "pass", None),
    ("v=spf1 a:a.test/33 -all", A4, "x", "permerror", None),
    ("v=spf1 a:alias.test -all", A4, "x", "pass", None),
    ("v=spf1 a:nowhere.test -all", A4, "x", "fail", None),
    ("v=spf1 a:com -all", A4, "x", "permerror", None),
    ("v=spf1 a:192.0.2.10 -all", A4, "x", "permerror", None),
    ("v=spf1 a: -all", A4, "x", "permerror", None),
    ("v=spf1 mx:many.test -all", B4, "x", "pass", None),
    ("v=spf1 mx:many.test -all", STRANGER, "x", "fail", None),
    ("v=spf1 mx:none.test -all", A4, "x", "fail", None),
    ("v=spf1 mx:a.test -all", A4, "x", "fail", None),
    ("v=spf1 mx:many.test/24 -all", "192.0.2.99", "x", "pass", None),
    ("v=spf1 mx:old.test ip6:2001:db8::/32 -all", A6, "x", "pass", Some(("permerror", PER_QUESTION))),
    ("v=spf1 ip4:192.0.2.0/28 -all", A4, "x", "pass", None),
    ("v=spf1 ip4:192.0.2.0/28 -all", B4, "x", "fail", None),
    ("v=spf1 ip4:192.0.2.300 -all", A4, "x", "permerror", None),
    ("v=spf1 ip4:192.0.2.0/024 -all", A4, "x", "permerror", None),
    ("v=spf1 ip6:2001:db8::/32 -all", A6, "x", "pass", None),
    ("v=spf1 ip6:::/0 -all", A4, "x", "fail", None),
    ("v=spf1 ptr:a.test -all", A4, "x", "pass", None),
    ("v=spf1 ptr:a.test -all", B4, "x", "fail", None),
    ("v=spf1 ptr:b.test -all", B4, "x", "pass", None),
    ("v=spf1 ptr:a.test -all", STRANGER, "x", "fail", None),
    ("v=spf1 exists:ok.is.test -all", STRANGER, "x", "pass", None),
    ("v=spf1 exists:%{l}.is.test -all", STRANGER, "ok", "pass", None),
    ("v=spf1 exists:%{lr-}.is.test -all", STRANGER, "a-b", "pass", None),
    ("v=spf1 exists:%{l1-}.is.test -all", STRANGER, "a-ok", "pass", None),
    ("v=spf1 exists:%{ir}.%{v}.is.test -all", A4, "x", "pass", None),
    ("v=spf1 exists:%{ir}.%{v}.is.test -all", A6, "x", "pass", None),
    ("v=spf1 exists:%{p}.is.test -all", A4, "x", "pass", None),
    ("v=spf1 exists:%{p}.is.test -all", STRANGER, "x", "pass", None),
    ("v=spf1 exists:%{h}.is.test -all", STRANGER, "x", "pass", None),
    ("v=spf1 exists:%{l}.is.test -all", STRANGER, "\"ok\"@", "pass", Some(("fail", QUOTES))),
    ("v=spf1 exists:%{c}.is.test -all", STRANGER, "x", "permerror", None),
    ("v=spf1 exists:%{l0}.is.test -all", STRANGER, "x", "permerror", Some(("fail", ZERO))),
    ("v=spf1 exists:%(l).is.test -all", STRANGER, "x", "permerror", None),
    ("v=spf1 exists:%{l -all", STRANGER, "x", "permerror", None),
    ("v=spf1 include:pass.test -all", A4, "x", "pass", None),
    ("v=spf1 include:fail.test include:soft.test include:neutral.test ~all", A4, "x", "softfail", None),
    ("v=spf1 include:bad.test -all", A4, "x", "permerror", None),
    ("v=spf1 include:other.test -all", A4, "x", "permerror", None),
    ("v=spf1 include:nowhere.test -all", A4, "x", "permerror", None),
    ("v=spf1 redirect=pass.test", A4, "x", "pass", None),
    ("v=spf1 redirect=pass.test", STRANGER, "x", "fail", None),
    ("v=spf1 redirect=fail.test", A4, "x", "fail", None),
    ("v=spf1 redirect=other.test", A4, "x", "permerror", None),
    ("v=spf1 redirect=pass.test redirect=fail.test", A4, "x", "permerror", None),
    ("v=spf1 -all exp=exp.test", A4, "x", "fail", None),
    ("v=spf1 -all exp=exp.test", A6, "x", "fail", None),
    ("v=spf1 -all exp=url.test", A4, "a&b", "fail", None),
    ("v=spf1 -all exp=badexp.test", A4, "x", "fail", None),
    ("v=spf1 -all exp=two.test", A4, "x", "fail", None),
    ("v=spf1 -all exp=nowhere.test", A4, "x", "fail", None),
    ("v=spf1 a:nowhere.test a:nohow.test a:noone.test -all", A4, "x", "permerror", None),
    ("v=spf1 a:nowhere.test a:nohow.test -all", A4, "x", "fail", None),
    ("v=spf1 a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test -all", A4, "x", "fail", None),
    ("v=spf1 a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test -all", A4, "x", "permerror", None),
    ("v=spf1 a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test a:b.test exists:%{p}.no.test -all", STRANGER, "x", "permerror", Some(("fail", CLIENT_NAME))),
    ("v=spf1 mx:old.test -all", A6, "x", "fail", Some(("permerror", PER_QUESTION))),
    ("v=spf1 redirect=pass.test -all", STRANGER, "x", "fail", None),
    ("v=spf1 moo=%{x} -all", A4, "x", "permerror", None),
    ("v=spf1 moo=cow moo=cow -all", A4, "x", "fail", Some(("permerror", UNKNOWN))),
    ("v=spf1 moo=%{c} -all", A4, "x", "fail", Some(("permerror", UNKNOWN))),
    ("v=spf1 -moo=cow -all", A4, "x", "permerror", None),
    ("v=spf1 a:host.elsewhere.example -all", A4, "x", "temperror", Some(("fail", REFUSED))),
    ("-", A4, "x@elsewhere.example", "temperror", Some(("none", REFUSED))),
    ("-", A4, "x@müller.test", "pass", None),
];

#[tokio::test]
async fn the_same_sessions() {
    if !needs(&["unbound", "/usr/bin/python3", PYSPF]) {
        return;
    }
    let texts: Vec<String> = ROWS
        .iter()
        .enumerate()
        .filter(|(_, row)| row.0 != "-")
        .map(|(at, row)| format!("d{at}.test. TXT \"{}\"", row.0))
        .collect();
    let mut records = RECORDS.to_vec();
    records.extend(texts.iter().map(String::as_str));
    let dns = Dns::start(ZONES, &records);

    let sessions: Vec<[String; 3]> = ROWS.iter().enumerate().map(|(at, row)| session(at, row)).collect();
    let theirs = pyspf(dns.address.port(), &sessions);
    assert_eq!(theirs.len(), ROWS.len());

    let config = DnsConfig { servers: vec![dns.address.to_string()], ..DnsConfig::default() };
    let resolver = Resolver::build(&config).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut wrong = String::new();
    for ((row, [ip, helo, from]), (their_result, their_explanation)) in
        ROWS.iter().zip(&sessions).zip(&theirs)
    {
        let query = Query {
            ip: ip.parse::<IpAddr>().expect("an address"),
            helo,
            identity: Identity::MailFrom(from),
            receiver: "mx.example.org",
            now: 0,
            limits: Limits::default(),
        };
        let ours = spf::check(&resolver, &query).await;
        let expected = row.4.map_or(row.3, |(result, _)| result);
        let explained = ours.explanation.as_deref().unwrap_or(NO_EXPLANATION);
        let agree = row.4.is_some() || ours.result.as_str() != "fail" || explained == their_explanation;
        if ours.result.as_str() != row.3 || their_result != expected || !agree {
            wrong.push_str(&format!("{row:?}: pyspf {their_result}, {their_explanation:?}\n{}", told(&ours)));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Address, HELO and sender of a row.
fn session(at: usize, (_, ip, from, ..): &Row) -> [String; 3] {
    let from = match from.strip_suffix('@') {
        Some(local) => format!("{local}@d{at}.test"),
        None if from.is_empty() || from.contains('@') => (*from).to_owned(),
        None => format!("{from}@d{at}.test"),
    };
    [(*ip).to_owned(), "helo.test".to_owned(), from]
}

/// What pyspf says to each session.
fn pyspf(port: u16, sessions: &[[String; 3]]) -> Vec<(String, String)> {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT, &port.to_string()])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let lines: String = sessions.iter().map(|session| session.join("\t") + "\n").collect();
    let mut stdin = child.stdin.take().expect("its input");
    std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("its output");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = |line: &str| {
        let (result, explanation) = line.split_once('\t').expect("two columns");
        (result.to_owned(), explanation.to_owned())
    };
    text.lines().map(line).collect()
}

fn told(spf: &Spf) -> String {
    let trace: String = spf.trace.iter().map(|step| format!("    {step}\n")).collect();
    format!("  {} {:?}\n{trace}", spf.sentence(), spf.explanation)
}
