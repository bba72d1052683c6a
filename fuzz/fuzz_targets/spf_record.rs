//! Any text as a record, then evaluated where every domain has that record and every name leads somewhere.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::FutureExt;
use gatepost_auth::dns::{DnsError, Lookup, Mx, Resolve};
use gatepost_auth::spf::{Identity, Limits, Query, Record, check};
use libfuzzer_sys::fuzz_target;

/// The first line is the record of every domain, the second is what other texts say, the third is the sender.
struct Zone<'t>(&'t str, &'t str);

impl Resolve for Zone<'_> {
    fn a<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv4Addr> {
        let answer = if name.len() % 3 == 0 { Err(DnsError::NoName) } else { Ok(vec![Ipv4Addr::new(192, 0, 2, 1)]) };
        Box::pin(std::future::ready(answer))
    }

    fn aaaa<'a>(&'a self, _: &'a str) -> Lookup<'a, Ipv6Addr> {
        Box::pin(std::future::ready(Err(DnsError::NoData)))
    }

    fn mx<'a>(&'a self, name: &'a str) -> Lookup<'a, Mx> {
        let all = (0..12).map(|preference| Mx { preference, exchange: format!("{preference}.{name}") }).collect();
        Box::pin(std::future::ready(Ok(all)))
    }

    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        let text = if name.starts_with("exp") { self.1 } else { self.0 };
        Box::pin(std::future::ready(Ok(vec![text.to_owned()])))
    }

    fn ptr(&self, _: IpAddr) -> Lookup<'_, String> {
        Box::pin(std::future::ready(Ok(vec![self.1.to_owned(), "host.example".to_owned()])))
    }
}

fuzz_target!(|input: &str| {
    let mut lines = input.splitn(3, '\n');
    let record = lines.next().unwrap_or_default();
    let zone = Zone(record, lines.next().unwrap_or_default());
    let sender = lines.next().unwrap_or("a@d.example");
    assert!(Record::parse(record).is_err() || record.is_ascii());
    for ip in [IpAddr::from([192, 0, 2, 9]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])] {
        let identity = Identity::MailFrom(sender);
        let query = Query { ip, helo: zone.1, identity, receiver: "", now: 0, limits: Limits::default() };
        let spf = check(&zone, &query).now_or_never().expect("no look-up waits");
        assert!(spf.lookups <= 11 && spf.trace.len() <= 500);
        assert!(spf.received_spf().bytes().all(|b| (b' '..=b'~').contains(&b)));
    }
});
