//! A resolver that gives up at a deadline, so that whoever asks it knows which answers are missing and why.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::time::{Instant, timeout_at};

use crate::resources::dns::{DnsError, Lookup, Mx, Resolve};

/// Look-ups that are not done by the deadline are [`DnsError::Timeout`].
pub(super) struct Until<'a> {
    pub dns: &'a dyn Resolve,
    pub deadline: Instant,
}

impl Until<'_> {
    async fn wait<T>(&self, lookup: Lookup<'_, T>) -> Result<Vec<T>, DnsError> {
        timeout_at(self.deadline, lookup).await.unwrap_or(Err(DnsError::Timeout))
    }
}

impl Resolve for Until<'_> {
    fn a<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv4Addr> {
        Box::pin(self.wait(self.dns.a(name)))
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> Lookup<'a, Ipv6Addr> {
        Box::pin(self.wait(self.dns.aaaa(name)))
    }

    fn mx<'a>(&'a self, name: &'a str) -> Lookup<'a, Mx> {
        Box::pin(self.wait(self.dns.mx(name)))
    }

    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(self.wait(self.dns.txt(name)))
    }

    fn ptr(&self, address: IpAddr) -> Lookup<'_, String> {
        Box::pin(self.wait(self.dns.ptr(address)))
    }
}
