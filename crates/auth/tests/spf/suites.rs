//! The openspf.org suites. Skipped where the folder with them is absent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use gatepost_auth::dns::{DnsError, Lookup, Mx, Resolve, reverse};
use gatepost_auth::spf::{self, Identity, Limits, Query, Spf};
use saphyr::{LoadableYamlNode, YamlOwned};

/// Tests of RFC 4408 that end otherwise than it prefers, how, and where RFC 7208 says so.
const SINCE_4408: &[(&str, &str, &str)] = &[
    ("exists-dnserr", "temperror", "5: an error other than a missing name ends the evaluation"),
    ("invalid-domain-empty-label", "fail", "4.8: undefined; what cannot be asked for is not there"),
    ("invalid-domain-long", "fail", "4.8: undefined; what cannot be asked for is not there"),
    ("invalid-domain-long-via-macro", "fail", "4.8: undefined; what cannot be asked for is not there"),
    ("multispf2", "pass", "3.1: records of type SPF are not looked at, and there is one TXT record"),
    ("multitxt1", "permerror", "3.1: records of type SPF are not looked at, and there are two TXT records"),
    ("mx-limit", "permerror", "4.6.4: more than ten exchangers are an error"),
    ("spfonly", "none", "3.1: records of type SPF are not looked at"),
    ("spfoverride", "fail", "3.1: records of type SPF are not looked at"),
    ("txttimeout", "temperror", "4.4: the look-up of TXT records timed out"),
];

#[test]
fn rfc7208() {
    let Some(results) = run("rfc7208-tests.yml") else { return };
    let wrong: Vec<_> = results.values().filter(|ended| !ended.acceptable).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), results.len(), list(&wrong));
    assert_eq!(results.len(), 203);
}

#[test]
fn rfc4408() {
    let Some(results) = run("rfc4408-tests.yml") else { return };
    let wrong: Vec<_> = results.values().filter(|ended| !ended.acceptable).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), results.len(), list(&wrong));
    assert_eq!(results.len(), 191);

    // Of several acceptable results the suite prefers the first.
    let others = results.iter().filter(|(_, ended)| ended.result != ended.expected[0]);
    let others: BTreeSet<_> = others.map(|(name, ended)| (name.as_str(), ended.result.as_str())).collect();
    assert_eq!(others, SINCE_4408.iter().map(|(name, result, _)| (*name, *result)).collect());
}

/// How a test ended.
struct Ended {
    result: String,
    /// What the suite takes, best first.
    expected: Vec<String>,
    /// Whether result and explanation are among that.
    acceptable: bool,
    text: String,
}

fn list(ended: &[&Ended]) -> String {
    ended.iter().map(|ended| ended.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// Every test of a suite by its name.
fn run(file: &str) -> Option<BTreeMap<String, Ended>> {
    let root = std::env::var_os("GATEPOST_SUITES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/suites"), PathBuf::from);
    let file = root.join("spf").join(file);
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: {} is absent", file.display());
        return None;
    };
    let mut results = BTreeMap::new();
    for scenario in YamlOwned::load_from_str(&text).expect("a suite in YAML") {
        let zone = Zone::read(&scenario["zonedata"]);
        for (name, test) in scenario["tests"].as_mapping().expect("tests") {
            let name = name.as_str().expect("a name").to_owned();
            let ended = one(&zone, &name, test);
            assert!(results.insert(name, ended).is_none());
        }
    }
    Some(results)
}

fn one(zone: &Zone, name: &str, test: &YamlOwned) -> Ended {
    let text = |key: &str| test.as_mapping_get(key).map(string);
    let helo = text("helo").expect("helo");
    let from = text("mailfrom").expect("mailfrom");
    let ip: IpAddr = text("host").expect("host").parse().expect("an address");
    let identity = Identity::MailFrom(&from);
    let query =
        Query { ip, helo: &helo, identity, receiver: "mx.example.org", now: 1, limits: Limits::default() };
    let spf = spf::check(zone, &query).now_or_never().expect("no look-up waits");
    let expected: Vec<String> = match test["result"].as_sequence() {
        Some(results) => results.iter().map(string).collect(),
        None => vec![string(&test["result"])],
    };
    let explanation = match text("explanation").as_deref() {
        None => spf.explanation.clone(),
        Some("DEFAULT") => None,
        Some(explanation) => Some(explanation.to_owned()),
    };
    let result = spf.result.to_string();
    let acceptable = expected.contains(&result) && explanation == spf.explanation;
    let text = format!("{name}: {expected:?}, {explanation:?} expected\n{}", tell(&spf));
    Ended { result, expected, acceptable, text }
}

fn tell(spf: &Spf) -> String {
    let trace: Vec<String> = spf.trace.iter().map(|step| format!("    {step}\n")).collect();
    format!("  {}\n  {:?}\n{}", spf.received_spf(), spf.explanation, trace.concat())
}

fn string(node: &YamlOwned) -> String {
    match node.as_str() {
        Some(text) => text.to_owned(),
        None => node.as_integer().map(|number| number.to_string()).expect("text or a number"),
    }
}

/// The names of a scenario.
struct Zone(HashMap<String, Vec<(String, YamlOwned)>>);

impl Zone {
    fn read(zonedata: &YamlOwned) -> Zone {
        let mut names = HashMap::new();
        for (name, records) in zonedata.as_mapping().expect("zonedata") {
            let mut all = Vec::new();
            for record in records.as_sequence().expect("records") {
                match record.as_mapping() {
                    Some(typed) => {
                        all.extend(typed.iter().map(|(kind, data)| (string(kind), data.clone())));
                    }
                    None => all.push((string(record), record.clone())),
                }
            }
            // What is given as SPF stands for TXT too, unless there is a word on TXT.
            if !all.iter().any(|(kind, _)| kind == "TXT") {
                let texts: Vec<_> = all.iter().filter(|(kind, _)| kind == "SPF").cloned().collect();
                all.extend(texts.into_iter().map(|(_, data)| ("TXT".to_owned(), data)));
            }
            names.insert(string(name).to_ascii_lowercase(), all);
        }
        Zone(names)
    }

    fn find<T>(
        &self,
        name: &str,
        kind: &'static str,
        read: impl Fn(&YamlOwned) -> T,
    ) -> Result<Vec<T>, DnsError> {
        let mut name = name.trim_end_matches('.').to_ascii_lowercase();
        for _ in 0..10 {
            let records = self.0.get(&name).ok_or(DnsError::NoName)?;
            let of = |kind: &'static str| {
                records.iter().filter(move |(found, _)| found == kind).map(|(_, data)| data)
            };
            let found: Vec<T> = of(kind).filter(|data| data.as_str() != Some("NONE")).map(&read).collect();
            if !found.is_empty() {
                return Ok(found);
            }
            if of("TIMEOUT").next().is_some() {
                return Err(DnsError::Timeout);
            }
            match of("CNAME").next() {
                Some(alias) => name = string(alias).trim_end_matches('.').to_ascii_lowercase(),
                None => return Err(DnsError::NoData),
            }
        }
        Err(DnsError::Failed("a loop of CNAMEs".into()))
    }
}

impl Resolve for Zone {
    fn a<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv4Addr> {
        Box::pin(async move { self.find(name, "A", |data| string(data).parse().expect("an address")) })
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv6Addr> {
        Box::pin(async move { self.find(name, "AAAA", |data| string(data).parse().expect("an address")) })
    }

    fn mx<'a>(&'a self, name: &'a str) -> Lookup<'a, Mx> {
        Box::pin(async move {
            self.find(name, "MX", |data| Mx {
                preference: string(&data[0]).parse().expect("a preference"),
                exchange: string(&data[1]),
            })
        })
    }

    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(async move {
            self.find(name, "TXT", |data| match data.as_sequence() {
                Some(strings) => strings.iter().map(string).collect(),
                None => string(data),
            })
        })
    }

    fn ptr(&self, address: IpAddr) -> Lookup<'_, String> {
        Box::pin(async move { self.find(&reverse(address), "PTR", string) })
    }
}
