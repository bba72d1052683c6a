//! Whatever comes in: no panic, and everything in its bounds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::FutureExt;
use gatepost_auth::dns::{DnsError, Lookup, Mx, Resolve};
use gatepost_auth::spf::{self, Identity, Limits, Query, Record};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Answers every question of a type alike, whatever the name is.
#[derive(Debug)]
struct Anything {
    texts: Vec<String>,
    names: Vec<String>,
    address: Option<Ipv4Addr>,
}

impl Anything {
    fn all<T>(records: Vec<T>) -> Result<Vec<T>, DnsError> {
        if records.is_empty() { Err(DnsError::NoData) } else { Ok(records) }
    }
}

impl Resolve for Anything {
    fn a<'a>(&'a self, _: &'a str) -> Lookup<'a, Ipv4Addr> {
        Box::pin(async { self.address.map(|address| vec![address]).ok_or(DnsError::NoName) })
    }

    fn aaaa<'a>(&'a self, _: &'a str) -> Lookup<'a, Ipv6Addr> {
        Box::pin(async {
            self.address.map(|address| vec![address.to_ipv6_compatible()]).ok_or(DnsError::Timeout)
        })
    }

    fn mx<'a>(&'a self, _: &'a str) -> Lookup<'a, Mx> {
        let mx = |exchange: &String| Mx { preference: 1, exchange: exchange.clone() };
        Box::pin(async move { Anything::all(self.names.iter().map(mx).collect()) })
    }

    fn txt<'a>(&'a self, _: &'a str) -> Lookup<'a, String> {
        Box::pin(async { Anything::all(self.texts.clone()) })
    }

    fn ptr(&self, _: IpAddr) -> Lookup<'_, String> {
        Box::pin(async { Anything::all(self.names.clone()) })
    }
}

/// Something like a record, often a good one.
fn record() -> impl Strategy<Value = String> {
    let name = "([a-z]{1,8}\\.){0,3}[a-z%]{1,6}|%\\{[slodiphvcrtxSLODIPHV][0-9]{0,2}r?[-.+,/_=]{0,2}\\}";
    let domain = prop_oneof![name, ("[a-z]{1,4}", name).prop_map(|(a, b)| format!("{b}.{a}.{b}"))];
    let end = "(/[0-9]{1,3})?(//[0-9]{1,3})?";
    let word = "[-+~?]?(all|a|mx|ptr|exists|include|ip4|ip6|redirect|exp|x)[:=/]?";
    let term = prop_oneof![
        (word, domain, end).prop_map(|(word, domain, end)| format!("{word}{domain}{end}")),
        any::<(Ipv4Addr, u8)>().prop_map(|(address, bits)| format!("ip4:{address}/{bits}")),
        any::<(Ipv6Addr, u8)>().prop_map(|(address, bits)| format!("ip6:{address}/{bits}")),
        "(a|mx|ptr|include:%\\{d\\}|exists:%\\{[slodiphv]\\}.x|redirect=%\\{o\\}|exp=%\\{p\\})",
        "\\PC{0,12}",
    ];
    vec(term, 0..8).prop_map(|terms| format!("v=spf1 {}", terms.join(" ")))
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::from),
        any::<Ipv6Addr>().prop_map(IpAddr::from),
        any::<Ipv4Addr>().prop_map(|address| address.to_ipv6_mapped().into()),
    ]
}

proptest! {
    #[test]
    fn records(text in prop_oneof![record(), any::<String>(), any::<String>().prop_map(|s| format!("v=spf1 {s}"))]) {
        match Record::parse(&text) {
            Ok(_) => prop_assert!(Record::is_one(&text) && text.is_ascii()),
            Err(problem) => prop_assert!(text.contains(&problem.term) && !problem.why.is_empty()),
        }
    }

    #[test]
    fn sessions(
        texts in vec(prop_oneof![4 => record(), 1 => any::<String>()], 1..3),
        names in vec(any::<String>().boxed().prop_union("([a-z]{1,9}\\.){1,3}example".boxed()), 0..14),
        address in option::of(any::<Ipv4Addr>()),
        ip in ip(),
        helo in prop_oneof![any::<String>(), Just("mail.d.example".to_owned())],
        from in prop_oneof![any::<String>(), "[^@]{0,20}@d.example", "\"[^@]{0,20}\"@d.example"],
        of_helo in any::<bool>(),
        receiver in any::<String>(),
    ) {
        let dns = Anything { texts, names, address };
        let identity = if of_helo { Identity::Helo } else { Identity::MailFrom(&from) };
        let limits = Limits::default();
        let query = Query { ip, helo: &helo, identity, receiver: &receiver, now: 0, limits };
        let spf = spf::check(&dns, &query).now_or_never().expect("no look-up waits");
        prop_assert!(spf.lookups <= limits.lookups + 1 && spf.voids <= spf.lookups);
        prop_assert!(spf.trace.len() <= 500);
        let printable = |text: &str| text.bytes().all(|b| (b' '..=b'~').contains(&b));
        prop_assert!(spf.explanation.as_deref().is_none_or(|text| printable(text) && text.len() <= 400));
        let field = spf.received_spf();
        prop_assert!(printable(&field) && field.len() < 8_000, "{field}");
        prop_assert!(!spf.sentence().contains(char::is_control));
        prop_assert!(!spf.trace.iter().any(|step| step.to_string().contains(char::is_control)));
        let json = serde_json::to_string(&spf).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<spf::Spf>(&json).expect("the same"), spf);
    }
}
