//! The name of a client: one that its address leads to and that leads back to the address (RFC 8601 section 2.7.3, “iprev”).

use std::net::IpAddr;

use futures_util::future::join_all;

use super::{DnsError, Resolve, plain_name};

/// Names of one address that are looked up again; whoever holds the address may give it as many as they like.
const NAMES: usize = 10;

/// What an address is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// The names it claims, at most ten, in lower case. They prove nothing.
    pub names: Vec<String>,
    /// The first of them whose addresses hold this one.
    pub confirmed: Option<String>,
}

/// Looks up the names of an address, and their addresses, all side by side. An error: no name is confirmed, and some
/// could not be looked up.
pub async fn confirmed_name(dns: &dyn Resolve, address: IpAddr) -> Result<Confirmed, DnsError> {
    let address = address.to_canonical();
    let claimed = match dns.ptr(address).await {
        Ok(claimed) => claimed,
        Err(why) if why.is_nothing() => return Ok(Confirmed::default()),
        Err(why) => return Err(why),
    };
    let mut names: Vec<String> = claimed.iter().filter_map(|name| plain_name(name)).collect();
    // Servers turn the order of records; the same name shall be found each time.
    names.sort_unstable();
    names.dedup();
    names.truncate(NAMES);
    let leads_back = async |name: &String| match address {
        IpAddr::V4(v4) => dns.a(name).await.map(|list| list.contains(&v4)),
        IpAddr::V6(v6) => dns.aaaa(name).await.map(|list| list.contains(&v6)),
    };
    let answers = join_all(names.iter().map(leads_back)).await;
    let confirmed =
        answers.iter().position(|answer| matches!(answer, Ok(true))).map(|place| names[place].clone());
    if confirmed.is_none()
        && let Some(why) = answers.into_iter().filter_map(Result::err).find(|why| !why.is_nothing())
    {
        return Err(why);
    }
    Ok(Confirmed { names, confirmed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use gatepost_auth::dns::Table;

    #[test]
    fn names_that_lead_back() {
        let mut table = Table::new(
            "1.2.0.192.in-addr.arpa PTR Mail.Example.\nmail.example A 192.0.2.1\n\
             2.2.0.192.in-addr.arpa PTR forged.example\nforged.example A 192.0.2.77\n\
             3.2.0.192.in-addr.arpa PTR z.example\n3.2.0.192.in-addr.arpa PTR b.example\n\
             z.example A 192.0.2.3\nb.example A 192.0.2.3\n\
             5.2.0.192.in-addr.arpa TIMEOUT\n\
             6.2.0.192.in-addr.arpa PTR slow.example\nslow.example TIMEOUT\n\
             7.2.0.192.in-addr.arpa PTR slow.example\n7.2.0.192.in-addr.arpa PTR good.example\n\
             good.example A 192.0.2.7\n\
             8.2.0.192.in-addr.arpa PTR not a name\n\
             1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.example\n\
             six.example AAAA 2001:db8::1\n",
        );
        for number in 0..200 {
            table.add(&format!("9.2.0.192.in-addr.arpa PTR n{number:03}.example"));
        }
        table.add("n150.example A 192.0.2.9");
        let look = |address: &str| confirmed_name(&table, address.parse().unwrap()).now_or_never().unwrap();
        for (address, names, confirmed) in [
            ("192.0.2.1", 1, Some("mail.example")),
            ("::ffff:192.0.2.1", 1, Some("mail.example")),
            ("192.0.2.2", 1, None),
            ("192.0.2.3", 2, Some("b.example")),
            ("192.0.2.4", 0, None),
            ("192.0.2.7", 2, Some("good.example")),
            ("192.0.2.8", 0, None),
            ("192.0.2.9", 10, None),
            ("2001:db8::1", 1, Some("six.example")),
        ] {
            let found = look(address).unwrap();
            assert_eq!((found.names.len(), found.confirmed.as_deref()), (names, confirmed), "{address}");
        }
        assert_eq!(look("192.0.2.5"), Err(DnsError::Timeout));
        assert_eq!(look("192.0.2.6"), Err(DnsError::Timeout), "unconfirmed only because nobody could look");
    }
}
