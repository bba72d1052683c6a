//! Any bytes as a header, any text as the record of every name, any name as what was proven: judged, within bounds.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::FutureExt;
use gatepost_auth::dmarc::{Authors, Identifier, Proof, Query, evaluate, parse_record};
use gatepost_auth::dns::{DnsError, Lookup, Mx, Resolve};
use libfuzzer_sys::fuzz_target;

/// The record of every second name.
struct Zone<'t>(&'t str);

impl Resolve for Zone<'_> {
    fn a<'a>(&'a self, _: &'a str) -> Lookup<'a, Ipv4Addr> {
        Box::pin(std::future::ready(Err(DnsError::NoName)))
    }

    fn aaaa<'a>(&'a self, _: &'a str) -> Lookup<'a, Ipv6Addr> {
        Box::pin(std::future::ready(Err(DnsError::NoName)))
    }

    fn mx<'a>(&'a self, _: &'a str) -> Lookup<'a, Mx> {
        Box::pin(std::future::ready(Err(DnsError::NoName)))
    }

    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        assert!(name.len() <= 253 && name.starts_with("_dmarc."));
        let answer = if name.len() % 2 == 0 { Ok(vec![self.0.to_owned()]) } else { Err(DnsError::NoData) };
        Box::pin(std::future::ready(answer))
    }

    fn ptr(&self, _: IpAddr) -> Lookup<'_, String> {
        Box::pin(std::future::ready(Err(DnsError::NoName)))
    }
}

fuzz_target!(|input: (&[u8], &str, &str)| {
    let (header, record, proven) = input;
    let authors = Authors::of_header(header);
    assert!(authors.domains.iter().all(|name| name.len() <= 253 && name.is_ascii()));
    if let Some(record) = parse_record(record) {
        assert!(record.rua.len() <= 10);
        for (mailbox, _) in record.rua.iter().filter_map(|to| to.mailbox()) {
            assert!(mailbox.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>".contains(&byte)), "{mailbox}");
        }
    }
    let proven = [Identifier { domain: proven.to_owned(), proof: Proof::Pass }];
    for guard in [false, true] {
        let query = Query { authors: &authors, spf: &proven, dkim: &proven, draw: Some(record), guard };
        let dmarc = evaluate(&Zone(record), &query).now_or_never().expect("no look-up waits");
        assert!(dmarc.trace.len() <= 8 * 9 * 2 && !dmarc.why.is_empty());
    }
});
