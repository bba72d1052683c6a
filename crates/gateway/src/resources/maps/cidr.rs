//! `cidr:` tables (cidr_table(5)): networks in order, the first that holds the address decides. Plain rules are indexed
//! by their lengths, so that a table of a million networks answers in microseconds; negated ones and blocks are tried in turn.

use std::net::IpAddr;

use ipnet::IpNet;

use super::lines::{Found, TableError, is_space, logical_lines};

/// A table of networks.
#[derive(Debug, Default)]
pub struct Cidr {
    rules: Vec<Rule>,
    v4: Index<u32>,
    v6: Index<u128>,
    /// Rules outside of blocks that are in no index.
    special: Vec<usize>,
}

#[derive(Debug)]
struct Rule {
    net: IpNet,
    negated: bool,
    line: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Result(Box<str>),
    /// A block: the rules behind this one up to `end`, which is not in it.
    Block {
        end: usize,
    },
}

/// For each length of prefix the networks of that length with the first rule of each, sorted.
#[derive(Debug)]
struct Index<T>(Vec<(u8, Vec<(T, usize)>)>);

impl<T> Default for Index<T> {
    fn default() -> Self {
        Index(Vec::new())
    }
}

impl Cidr {
    /// Reads a table.
    pub fn parse(text: &str) -> Result<Cidr, TableError> {
        let mut table = Cidr::default();
        let mut open: Vec<usize> = Vec::new();
        for item in logical_lines(text) {
            let (line, text) = item?;
            let text = text.trim_matches(is_space);
            let (first, rest) = word(text);
            if first.eq_ignore_ascii_case("endif") {
                let begun = open.pop().ok_or_else(|| TableError::new(line, "endif without if"))?;
                table.rules[begun].what = What::Block { end: table.rules.len() };
                continue;
            }
            let block = first.eq_ignore_ascii_case("if");
            let pattern = if block { rest } else { text };
            let (negated, pattern) = match pattern.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim_start_matches(is_space)),
                None => (false, pattern),
            };
            let (pattern, result) = word(pattern);
            let net = parse_net(pattern).map_err(|why| TableError::new(line, why))?;
            let what = match (block, result) {
                (true, "") => What::Block { end: usize::MAX },
                (true, more) => return Err(TableError::new(line, format!("“{more}” behind if"))),
                (false, "") => return Err(TableError::new(line, format!("“{pattern}” has no result"))),
                (false, result) => What::Result(result.into()),
            };
            if open.is_empty() && (negated || block) {
                table.special.push(table.rules.len());
            } else if open.is_empty() {
                table.index(net);
            }
            if block {
                open.push(table.rules.len());
            }
            table.rules.push(Rule { net, negated, line, what });
        }
        if let Some(&begun) = open.last() {
            return Err(TableError::new(table.rules[begun].line, "if without endif"));
        }
        table.v4.sort();
        table.v6.sort();
        Ok(table)
    }

    /// What the table says of an address; nothing of what is no address.
    pub fn get(&self, key: &str) -> Option<Found<'_>> {
        let address: IpAddr = key.parse().ok()?;
        let indexed = match address {
            IpAddr::V4(v4) => self.v4.first(v4.to_bits(), 32),
            IpAddr::V6(v6) => self.v6.first(v6.to_bits(), 128),
        };
        let before = indexed.unwrap_or(usize::MAX);
        let special = self.special.iter().take_while(|place| **place < before);
        let found = special.filter_map(|&place| self.in_order(place, address)).next().or(indexed)?;
        let rule = &self.rules[found];
        match &rule.what {
            What::Result(text) => Some((text.as_ref().into(), rule.line)),
            What::Block { .. } => None,
        }
    }

    /// All results with their lines.
    pub fn results(&self) -> impl Iterator<Item = (&str, u32)> {
        self.rules.iter().filter_map(|rule| match &rule.what {
            What::Result(text) => Some((text.as_ref(), rule.line)),
            What::Block { .. } => None,
        })
    }

    /// The place of the rule that decides, by one rule outside of blocks and those that are in it.
    fn in_order(&self, place: usize, address: IpAddr) -> Option<usize> {
        let end = match self.rules[place].what {
            What::Result(_) => place + 1,
            What::Block { end } => end.min(self.rules.len()),
        };
        let mut at = place;
        while at < end {
            let rule = &self.rules[at];
            let same_family = rule.net.addr().is_ipv4() == address.is_ipv4();
            let matches = same_family && rule.net.contains(&address) != rule.negated;
            at = match rule.what {
                What::Result(_) if matches => return Some(at),
                What::Block { end: inner } if !matches => inner.max(at + 1),
                _ => at + 1,
            };
        }
        None
    }

    fn index(&mut self, net: IpNet) {
        let place = self.rules.len();
        match net {
            IpNet::V4(v4) => self.v4.add(v4.prefix_len(), v4.network().to_bits(), place),
            IpNet::V6(v6) => self.v6.add(v6.prefix_len(), v6.network().to_bits(), place),
        }
    }
}

impl<T: Copy + Ord + std::ops::Shr<u32, Output = T> + std::ops::Shl<u32, Output = T>> Index<T> {
    fn add(&mut self, length: u8, network: T, place: usize) {
        match self.0.iter_mut().find(|(of, _)| *of == length) {
            Some((_, networks)) => networks.push((network, place)),
            None => self.0.push((length, vec![(network, place)])),
        }
    }

    fn sort(&mut self) {
        for (_, networks) in &mut self.0 {
            networks.sort_unstable();
            networks.dedup_by_key(|(network, _)| *network);
        }
    }

    /// The first rule whose network holds the address.
    fn first(&self, address: T, bits: u32) -> Option<usize> {
        let rules = self.0.iter().filter_map(|(length, networks)| {
            let zeros = bits - u32::from(*length);
            // Nothing can be shifted by as many bits as it has; the network of length 0 holds everything.
            let masked = if zeros == bits { networks.first()?.0 } else { (address >> zeros) << zeros };
            let place = networks.binary_search_by(|(network, _)| network.cmp(&masked)).ok()?;
            Some(networks[place].1)
        });
        rules.min()
    }
}

/// `192.0.2.0/24`, `2001:db8::/32`, one address, each also in brackets.
fn parse_net(text: &str) -> Result<IpNet, String> {
    let unclear = || format!("“{text}” is no network such as 192.0.2.0/24 or 2001:db8::/32");
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.replacen(']', "", 1),
        None => text.to_owned(),
    };
    let (address, length) = bare.split_once('/').map_or((bare.as_str(), None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.parse().map_err(|_| unclear())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length: u8 = length.map_or(Ok(most), |length| length.parse().map_err(|_| unclear()))?;
    let net = IpNet::new(address, length).map_err(|_| unclear())?;
    if net.network() == address {
        Ok(net)
    } else {
        Err(format!("“{text}” has bits behind its prefix; write {}", net.trunc()))
    }
}

fn word(text: &str) -> (&str, &str) {
    text.split_once(is_space).map_or((text, ""), |(first, rest)| (first, rest.trim_start_matches(is_space)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_match_decides() {
        let table = Cidr::parse(
            "# clients\n192.0.2.1 OK\n!10.0.0.0/8 DUNNO not ten\nif 192.0.2.0/24\nif !192.0.2.128/25\n192.0.2.5 REJECT five\n\
             endif\n192.0.2.0/24 REJECT\n  by net\nendif\n10.1.0.0/16 A\n10.0.0.0/8 B\n10.1.2.3 C\n[2001:db8::]/32 SIX\n::/0 ANY\n",
        );
        let table = table.unwrap();
        for (key, expected) in [
            ("192.0.2.1", Some(("OK", 2))),
            ("192.0.2.5", Some(("DUNNO not ten", 3))),
            ("10.1.2.3", Some(("A", 11))),
            ("10.2.2.3", Some(("B", 12))),
            // As in Postfix, a rule about IPv4 says nothing of IPv6, negated or not.
            ("2001:db8::1", Some(("SIX", 14))),
            ("mail.example", None),
            ("", None),
        ] {
            assert_eq!(table.get(key), expected.map(|(text, line)| (text.into(), line)), "{key}");
        }
        let table = Cidr::parse(
            "if 192.0.2.0/24\nif !192.0.2.128/25\n192.0.2.5 five\nendif\n192.0.2.0/24 by\n net\nendif\n0.0.0.0/0 all\n[2001:db8::]/32 SIX\n::/0 ANY\n",
        );
        let table = table.unwrap();
        for (key, expected) in [
            ("192.0.2.5", Some(("five", 3))),
            ("192.0.2.133", Some(("by net", 5))),
            ("192.0.3.1", Some(("all", 8))),
            ("2001:DB8:0::1", Some(("SIX", 9))),
            ("::1", Some(("ANY", 10))),
        ] {
            assert_eq!(table.get(key), expected.map(|(text, line)| (text.into(), line)), "{key}");
        }
        assert_eq!(table.results().count(), 5);
    }

    #[test]
    fn errors_name_their_lines() {
        for (text, line, part) in [
            ("\n192.0.2.1/24 OK", 2, "write 192.0.2.0/24"),
            ("192.0.2.0/33 OK", 1, "no network"),
            ("192.0.2 OK", 1, "no network"),
            ("192.0.2.1", 1, "no result"),
            ("if 192.0.2.0/24\n192.0.2.1 OK\n", 1, "without endif"),
            ("endif", 1, "without if"),
            ("if 192.0.2.0/24 OK\nendif", 1, "behind if"),
        ] {
            let error = Cidr::parse(text).unwrap_err();
            assert!(error.line == line && error.message.contains(part), "{text:?}: {error:?}");
        }
    }

    /// The index says what trying one after the other says.
    fn plainly(rules: &[(IpNet, u32)], address: IpAddr) -> Option<u32> {
        rules.iter().find(|(net, _)| net.contains(&address)).map(|(_, line)| *line)
    }

    proptest::proptest! {
        #[test]
        fn the_index_is_as_good_as_trying_all(
            nets in proptest::collection::vec((0_u32..16, 0_u8..=32), 1..40),
            keys in proptest::collection::vec(0_u32..16, 20),
        ) {
            let net = |bits: u32, length: u8| {
                let address = std::net::Ipv4Addr::from_bits(bits | bits << 28);
                IpNet::new(address.into(), length).unwrap().trunc()
            };
            let rules: Vec<_> = (1..).zip(&nets).map(|(line, (bits, length))| (net(*bits, *length), line)).collect();
            let text: String = rules.iter().map(|(net, line)| format!("{net} {line}\n")).collect();
            let table = Cidr::parse(&text).unwrap();
            for key in keys {
                let address = IpAddr::V4(std::net::Ipv4Addr::from_bits(key | key << 28));
                let said = table.get(&address.to_string()).map(|(_, line)| line);
                proptest::prop_assert_eq!(said, plainly(&rules, address));
            }
        }

        #[test]
        fn any_text_is_read(text in "(if |endif|!|1.2.3.0/2[0-9]|::/0| OK|\n|[ -~]){0,20}") {
            if let Ok(table) = Cidr::parse(&text) {
                let _ = (table.get("1.2.3.4"), table.get("::1"));
            }
        }
    }
}
