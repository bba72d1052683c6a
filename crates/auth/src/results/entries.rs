//! What was found, as entries of the field.

use super::Entry;
use crate::dmarc::Dmarc;
use crate::{dkim, spf};

impl Entry {
    /// SPF (RFC 8601 section 2.7.2): `mailfrom` is the address or domain of MAIL FROM, `helo` the name of HELO where
    /// that was checked; empty ones are left out.
    pub fn spf(result: &str, mailfrom: &str, helo: &str) -> Entry {
        Entry::new("spf", result).with("smtp", "mailfrom", mailfrom).with("smtp", "helo", helo)
    }

    /// DKIM (RFC 8601 section 2.7.1, RFC 6008, RFC 8301): `d=`, `s=`, `a=` and the first of `b=`, of which eight
    /// characters are enough to tell signatures apart.
    pub fn dkim(result: &str, domain: &str, selector: &str, algorithm: &str, b: &str) -> Entry {
        let b: String = b.chars().filter(|c| !c.is_ascii_whitespace()).take(8).collect();
        let entry = Entry::new("dkim", result).with("header", "d", domain).with("header", "s", selector);
        entry.with("header", "a", algorithm).with("header", "b", &b)
    }

    /// DMARC (RFC 9989 section 9.1): the author's domain, and the policy that applies where it failed.
    pub fn dmarc(dmarc: &Dmarc) -> Entry {
        let entry = Entry::new("dmarc", dmarc.result.name()).with("header", "from", &dmarc.domain);
        match dmarc.published {
            Some(published) => {
                let entry = entry.noting(&format!("{}={published}", dmarc.tag.name()));
                entry.with("policy", "dmarc", dmarc.policy.name())
            }
            None => entry,
        }
    }

    /// ARC (RFC 8617 section 5.2): the oldest set whose seal still holds, and the client's address.
    pub fn arc(result: &str, oldest_pass: Option<u32>, remote_ip: &str) -> Entry {
        let oldest = oldest_pass.map(|instance| instance.to_string()).unwrap_or_default();
        Entry::new("arc", result).with("header", "oldest-pass", &oldest).with("smtp", "remote-ip", remote_ip)
    }

    /// The client's name and address lead to each other, or do not (RFC 8601 section 3).
    pub fn iprev(result: &str, address: &str, name: &str) -> Entry {
        Entry::new("iprev", result).noting(name).with("policy", "iprev", address)
    }

    /// The client has logged in (RFC 8601 section 2.7.4).
    pub fn auth(result: &str, user: &str) -> Entry {
        Entry::new("auth", result).with("smtp", "auth", user)
    }
}

impl From<&spf::Spf> for Entry {
    fn from(spf: &spf::Spf) -> Entry {
        let by_helo = spf.bounce || spf.scope == spf::Scope::Helo;
        let (mailfrom, helo) = if by_helo { ("", spf.helo.as_str()) } else { (spf.sender.as_str(), "") };
        let entry = Entry::spf(spf.result.as_str(), mailfrom, helo);
        match &spf.problem {
            Some(problem) => entry.because(problem),
            None => entry,
        }
    }
}

impl From<&dkim::Signature> for Entry {
    fn from(signature: &dkim::Signature) -> Entry {
        let dkim::Signature { outcome, domain, selector, identity, algorithm, b, .. } = signature;
        let mut entry = Entry::dkim(outcome.as_str(), domain, selector, algorithm, b);
        if identity.strip_prefix('@') != Some(domain) {
            entry = entry.with("header", "i", identity);
        }
        let key = signature.key_bits.map(|bits| format!("{bits}-bit key")).unwrap_or_default();
        let testing = if signature.testing { "testing" } else { "" };
        let about: Vec<&str> = [key.as_str(), testing].into_iter().filter(|text| !text.is_empty()).collect();
        entry = entry.noting(&about.join(", "));
        if *outcome == dkim::Outcome::Pass { entry } else { entry.because(&signature.reason) }
    }
}
