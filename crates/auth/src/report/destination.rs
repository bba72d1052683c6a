//! Where a report goes, and whether whoever gets it has asked for it (RFC 9990 section 3).

use crate::dmarc::{Destination, Record, organizational, parse_record};
use crate::dns::Resolve;

/// Most destinations that are looked at.
const MOST: usize = 10;

/// What becomes of a destination of `rua=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Reports go there.
    To {
        /// The address.
        mailbox: String,
        /// The most bytes a mail may have, by the obsolete `!10m`.
        limit: Option<u64>,
    },
    /// No report goes there.
    No {
        /// The URI as it was published.
        uri: String,
        /// Why.
        why: String,
    },
    /// A look-up failed; it may be tried again.
    Later {
        /// The URI as it was published.
        uri: String,
        /// Why.
        why: String,
    },
}

/// Checks the destinations of a record that was found at `policy_domain`, in order, each address once.
///
/// One outside of the domain's organization must be confirmed by its own domain at
/// `policy_domain._report._dmarc.its-domain`, which may name another address under the same host.
pub async fn destinations(dns: &dyn Resolve, policy_domain: &str, record: &Record) -> Vec<Verified> {
    let mut verified: Vec<Verified> = Vec::new();
    for destination in record.rua.iter().take(MOST) {
        for one in verify(dns, policy_domain, destination).await {
            let is_known = match &one {
                Verified::To { mailbox: new, .. } => {
                    verified.iter().any(|old| matches!(old, Verified::To { mailbox, .. } if mailbox == new))
                }
                Verified::No { .. } | Verified::Later { .. } => false,
            };
            if !is_known && verified.len() < MOST {
                verified.push(one);
            }
        }
    }
    verified
}

async fn verify(dns: &dyn Resolve, policy_domain: &str, destination: &Destination) -> Vec<Verified> {
    let uri = destination.uri.clone();
    let no = |why: String| vec![Verified::No { uri: uri.clone(), why }];
    let later = |why: String| vec![Verified::Later { uri: uri.clone(), why }];
    let Some((mailbox, host)) = destination.mailbox() else {
        return no("only mailto: is served".to_owned());
    };
    let to = |mailbox: String| Verified::To { mailbox, limit: destination.limit };
    match same_organization(dns, policy_domain, &host).await {
        Ok(true) => return vec![to(mailbox)],
        Ok(false) => {}
        Err(why) => return later(why),
    }
    let name = format!("{policy_domain}._report._dmarc.{host}");
    // RFC 1035 section 2.3.4.
    if name.len() > 253 {
        return no(format!("the name {name} is too long to be looked up"));
    }
    let texts = match dns.txt(&name).await {
        Ok(texts) => texts,
        Err(why) if why.is_nothing() => return no(format!("{host} does not ask for it: {name}: {why}")),
        Err(why) => return later(format!("the look-up of {name} failed: {why}")),
    };
    let records: Vec<Record> = texts.iter().filter_map(|text| parse_record(text)).collect();
    if records.is_empty() {
        return no(format!("{host} does not ask for it: {name} has no record of DMARC"));
    }
    let others: Vec<&Destination> = records.iter().flat_map(|record| &record.rua).take(MOST).collect();
    if others.is_empty() {
        return vec![to(mailbox)];
    }
    let mailboxes: Option<Vec<String>> = others
        .iter()
        .map(|other| other.mailbox().filter(|(_, other)| *other == host).map(|(mailbox, _)| mailbox))
        .collect();
    match mailboxes {
        Some(mailboxes) => mailboxes.into_iter().map(to).collect(),
        // Neither to the one nor to the other.
        None => no(format!("{name} sends reports on to another host")),
    }
}

/// Whether both names are of one organization. Public suffixes are taken for such by the list, too: else a suffix with an
/// old record would let each domain below it have reports sent to each other one.
async fn same_organization(dns: &dyn Resolve, one: &str, other: &str) -> Result<bool, String> {
    if one == other {
        return Ok(true);
    }
    if one.rsplit('.').next() != other.rsplit('.').next() {
        return Ok(false);
    }
    let failed = |name: &str, why| format!("the organization of {name} could not be found out: {why}");
    let first = organizational(dns, one, true).await.map_err(|why| failed(one, why))?;
    let second = organizational(dns, other, true).await.map_err(|why| failed(other, why))?;
    Ok(first == second)
}
