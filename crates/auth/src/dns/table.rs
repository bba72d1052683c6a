//! A resolver that answers from a table: for tests, and for judging again what was judged with the answers of then.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{DnsError, Lookup, Mx, Resolve};

/// Names, in lower case without the final dot, and what is under them. Any other name does not exist.
#[derive(Clone, Debug, Default)]
pub struct Table(HashMap<String, Vec<Data>>);

#[derive(Clone, Debug)]
enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(Mx),
    Txt(String),
    Ptr(String),
    Cname(String),
    Timeout,
    Failed,
    Hang,
}

/// Longest chain of CNAMEs that is followed.
const CHAIN: usize = 8;

impl Table {
    /// A table of these lines: `NAME TYPE DATA`, with the types A, AAAA, MX (`10 host`), TXT (all that follows, as it
    /// stands), PTR, CNAME; and TIMEOUT, FAILED and HANG for names whose look-up fails or never ends. Empty lines and
    /// what begins with `;` are skipped. Panics on anything else: tables are written by hand.
    pub fn new(lines: &str) -> Table {
        let mut table = Table::default();
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(';'));
        lines.for_each(|line| table.add(line));
        table
    }

    /// Adds a line.
    pub fn add(&mut self, line: &str) {
        let mut words = line.splitn(3, char::is_whitespace);
        let name = words.next().unwrap_or_default();
        let kind = words.next().unwrap_or_else(|| panic!("{line:?} has no type"));
        let data = words.next().unwrap_or_default().trim();
        let wrong = |why: &dyn std::fmt::Display| -> ! { panic!("{line:?}: {why}") };
        let data = match kind {
            "A" => Data::A(data.parse().unwrap_or_else(|why| wrong(&why))),
            "AAAA" => Data::Aaaa(data.parse().unwrap_or_else(|why| wrong(&why))),
            "MX" => {
                let (preference, exchange) = data.split_once(' ').unwrap_or((data, ""));
                let preference = preference.parse().unwrap_or_else(|why| wrong(&why));
                Data::Mx(Mx { preference, exchange: exchange.trim_end_matches('.').to_owned() })
            }
            "TXT" => Data::Txt(data.to_owned()),
            "PTR" => Data::Ptr(data.trim_end_matches('.').to_owned()),
            "CNAME" => Data::Cname(data.to_owned()),
            "TIMEOUT" => Data::Timeout,
            "FAILED" => Data::Failed,
            "HANG" => Data::Hang,
            _ => wrong(&"no type of the table"),
        };
        self.0.entry(plain(name)).or_default().push(data);
    }

    async fn find<T>(&self, name: &str, wanted: impl Fn(&Data) -> Option<T>) -> Result<Vec<T>, DnsError> {
        let mut name = plain(name);
        for _ in 0..CHAIN {
            let records = self.0.get(&name).ok_or(DnsError::NoName)?;
            let mut alias = None;
            for data in records {
                match data {
                    Data::Timeout => return Err(DnsError::Timeout),
                    Data::Failed => return Err(DnsError::Failed("SERVFAIL".into())),
                    Data::Hang => std::future::pending().await,
                    Data::Cname(to) => alias = Some(plain(to)),
                    _ => {}
                }
            }
            let found: Vec<T> = records.iter().filter_map(&wanted).collect();
            match alias {
                Some(to) if found.is_empty() => name = to,
                _ if found.is_empty() => return Err(DnsError::NoData),
                _ => return Ok(found),
            }
        }
        Err(DnsError::Failed("too many CNAMEs".into()))
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl Resolve for Table {
    fn a<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv4Addr> {
        Box::pin(self.find(name, |data| if let Data::A(address) = data { Some(*address) } else { None }))
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv6Addr> {
        Box::pin(self.find(name, |data| if let Data::Aaaa(address) = data { Some(*address) } else { None }))
    }

    fn mx<'a>(&'a self, name: &'a str) -> Lookup<'a, Mx> {
        Box::pin(async move {
            let mut all =
                self.find(name, |data| if let Data::Mx(mx) = data { Some(mx.clone()) } else { None }).await?;
            all.sort();
            Ok(all)
        })
    }

    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(self.find(name, |data| if let Data::Txt(text) = data { Some(text.clone()) } else { None }))
    }

    fn ptr(&self, address: IpAddr) -> Lookup<'_, String> {
        Box::pin(async move {
            let name = super::reverse(address);
            self.find(&name, |data| if let Data::Ptr(name) = data { Some(name.clone()) } else { None }).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn answers() {
        let table = Table::new(
            "; a zone\n\
             a.example A 192.0.2.1\n a.example A 192.0.2.2\n A.example. MX 20 b.example\na.example MX 10 .\n\
             a.example TXT v=spf1  -all\nalias.example CNAME a.example\nloop.example CNAME loop.example\n\
             1.2.0.192.in-addr.arpa PTR a.example.\nslow.example TIMEOUT\n",
        );
        let a = |name: &str| table.a(name).now_or_never().unwrap();
        assert_eq!(a("Alias.Example.").unwrap().len(), 2);
        assert_eq!(a("nowhere.example"), Err(DnsError::NoName));
        assert_eq!(a("1.2.0.192.in-addr.arpa"), Err(DnsError::NoData));
        assert_eq!(a("slow.example"), Err(DnsError::Timeout));
        assert!(matches!(a("loop.example"), Err(DnsError::Failed(_))));
        assert_eq!(table.txt("a.example").now_or_never().unwrap().unwrap(), ["v=spf1  -all"]);
        let ptr = table.ptr("192.0.2.1".parse().unwrap()).now_or_never().unwrap().unwrap();
        assert_eq!(ptr, ["a.example"]);
        let mx = table.mx("a.example").now_or_never().unwrap().unwrap();
        assert_eq!(mx[0], Mx { preference: 10, exchange: String::new() });
    }
}
