//! Name look-ups: one resolver with one cache for all checks, behind a trait so that tests need no network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use gatepost_auth::dns::{DnsError, Lookup, Mx, Resolve, backwards, reverse};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::config::Problem;
use crate::config::typed::Dns as DnsConfig;

/// Where the system's name servers are written.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Servers taken from the system's list; resolv.conf(5) knows no more than three.
const SYSTEM_SERVERS: usize = 3;

/// Queries in flight on one TCP connection to a name server; beyond it a look-up fails at once.
const QUERIES_PER_CONNECTION: usize = 512;

/// The real resolver: asks name servers over UDP, and TCP when an answer is too long for that.
pub struct Dns {
    resolver: TokioResolver,
    servers: Vec<SocketAddr>,
}

impl Dns {
    /// A resolver for `[checks.dns]`. Nothing is asked yet.
    pub fn build(config: &DnsConfig) -> Result<Dns, Vec<Problem>> {
        let servers = servers(config)?;
        if config.time.duration().is_zero() {
            return Err(vec![Problem::new("checks.dns.time", "must be at least 1 second")]);
        }
        let name_servers = servers.iter().map(name_server).collect();
        let mut builder = TokioResolver::builder_with_config(
            ResolverConfig::from_name_servers(name_servers),
            TokioRuntimeProvider::default(),
        );
        let options = builder.options_mut();
        options.timeout = config.time.duration();
        options.attempts = 1;
        options.cache_size = config.cache.into();
        options.use_hosts_file = ResolveHosts::Never;
        options.max_active_requests = QUERIES_PER_CONNECTION;
        let resolver = builder.build().map_err(|why| {
            vec![Problem::new("checks.dns", format!("the resolver cannot be set up: {why}"))]
        })?;
        Ok(Dns { resolver, servers })
    }

    /// The servers it asks.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, DnsError> {
        let mut name =
            Name::from_ascii(name).map_err(|why| DnsError::Failed(format!("“{name}” is no name: {why}")))?;
        name.set_fqdn(true);
        match self.resolver.lookup(name, kind).await {
            Ok(answer) => Ok(answer.answers().iter().map(|record| record.data.clone()).collect()),
            Err(why) if why.is_nx_domain() => Err(DnsError::NoName),
            Err(why) if why.is_no_records_found() => Err(DnsError::NoData),
            Err(NetError::Timeout) => Err(DnsError::Timeout),
            Err(why) => Err(DnsError::Failed(why.to_string())),
        }
    }

    /// The records of a name that are of the wanted kind.
    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        wanted: impl Fn(RData) -> Option<T> + Send,
    ) -> Result<Vec<T>, DnsError> {
        let records: Vec<T> = self.lookup(name, kind).await?.into_iter().filter_map(wanted).collect();
        if records.is_empty() { Err(DnsError::NoData) } else { Ok(records) }
    }
}

impl Resolve for Dns {
    fn a<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv4Addr> {
        Box::pin(self.records(name, RecordType::A, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        }))
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv6Addr> {
        Box::pin(self.records(name, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        }))
    }

    fn mx<'a>(&'a self, name: &'a str) -> Lookup<'a, Mx> {
        Box::pin(async move {
            let exchanger = |data| match data {
                RData::MX(mx) => Some(Mx { preference: mx.preference, exchange: host(&mx.exchange) }),
                _ => None,
            };
            let mut exchangers = self.records(name, RecordType::MX, exchanger).await?;
            exchangers.sort();
            Ok(exchangers)
        })
    }

    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(self.records(name, RecordType::TXT, |data| match data {
            RData::TXT(text) => Some(text.txt_data.iter().map(|s| String::from_utf8_lossy(s)).collect()),
            _ => None,
        }))
    }

    fn ptr(&self, address: IpAddr) -> Lookup<'_, String> {
        Box::pin(async move {
            self.records(&reverse(address), RecordType::PTR, |data| match data {
                RData::PTR(name) => Some(host(&name)),
                _ => None,
            })
            .await
        })
    }
}

/// A name as text, without the final dot.
fn host(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

/// The configured servers, or the system's.
fn servers(config: &DnsConfig) -> Result<Vec<SocketAddr>, Vec<Problem>> {
    if config.servers.is_empty() {
        let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        return Ok(system_servers(&text));
    }
    let mut servers = Vec::new();
    let mut problems = Vec::new();
    for (place, text) in config.servers.iter().enumerate() {
        match parse_server(text) {
            Some(server) => servers.push(server),
            None => problems.push(Problem::new(
                format!("checks.dns.servers[{place}]"),
                format!("“{text}” is not an address such as 127.0.0.1:53 or [::1]:53"),
            )),
        }
    }
    if problems.is_empty() { Ok(servers) } else { Err(problems) }
}

/// `127.0.0.1:5353`, `[::1]:53`, or an address alone, which means port 53.
fn parse_server(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53)))
}

/// The `nameserver` lines of resolv.conf(5); without any, the one on this host, as that page says.
fn system_servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let servers: Vec<_> = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok())
        .take(SYSTEM_SERVERS)
        .map(|ip| SocketAddr::new(ip, 53))
        .collect();
    if servers.is_empty() { vec![SocketAddr::from(([127, 0, 0, 1], 53))] } else { servers }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_the_system() {
        for (text, expected) in [
            ("# none\n", vec!["127.0.0.1:53"]),
            ("search a.example\nnameserver 192.0.2.1\n", vec!["192.0.2.1:53"]),
            (
                "nameserver ::1 # local\nnameserver\t192.0.2.1\nnameserver x\n",
                vec!["[::1]:53", "192.0.2.1:53"],
            ),
            (
                "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
                vec!["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"],
            ),
        ] {
            let expected: Vec<SocketAddr> = expected.iter().map(|s| s.parse().unwrap()).collect();
            assert_eq!(system_servers(text), expected, "{text:?}");
        }
    }

    #[test]
    fn servers_of_the_configuration() {
        let config = DnsConfig {
            servers: vec!["127.0.0.1:5353".into(), "::1".into(), "dns.example".into()],
            ..DnsConfig::default()
        };
        let problems = Dns::build(&config).err().unwrap();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "checks.dns.servers[2]");

        // Outside of a runtime, as a command that only reads the configuration builds it.
        let config = DnsConfig { servers: config.servers[..2].to_vec(), ..config };
        assert_eq!(
            Dns::build(&config).ok().unwrap().servers(),
            ["127.0.0.1:5353".parse().unwrap(), "[::1]:53".parse().unwrap()]
        );
    }
}
