//! A set of addresses, networks, domains and mail addresses that is quickly looked up: a million networks are a table of
//! ranges that do not overlap, and one binary search.

use std::collections::HashMap;
use std::net::IpAddr;

/// What an entry says: that it is listed, and why, or that it is an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    /// Listed, with the place of the reason.
    Listed(u32),
    /// Not listed, whatever wider entry says so.
    Except,
}

/// Names that an entry speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The name alone.
    Itself,
    /// What is below it.
    Below,
    /// Both.
    Both,
}

/// Entries as they come.
#[derive(Default)]
pub(super) struct Builder {
    v4: Vec<Range>,
    v6: Vec<Range>,
    names: Names,
    mailboxes: HashMap<Box<str>, Entry>,
    reasons: Vec<Box<str>>,
    known: HashMap<Box<str>, u32>,
}

/// Entries, ready to be looked up.
#[derive(Default)]
pub(super) struct Set {
    /// First and last address, reason; sorted, without overlaps.
    v4: Vec<(u32, u32, u32)>,
    v6: Vec<(u128, u128, u32)>,
    names: Names,
    mailboxes: HashMap<Box<str>, Entry>,
    reasons: Vec<Box<str>>,
    entries: usize,
}

/// For a name what is said of itself, and of those below it.
type Names = HashMap<Box<str>, (Option<Entry>, Option<Entry>)>;

/// From the first to the last address.
#[derive(Clone, Copy)]
struct Range {
    first: u128,
    last: u128,
    entry: Entry,
}

impl Builder {
    /// The entry for a listing with this reason; empty for none.
    pub fn listed(&mut self, reason: &str) -> Entry {
        if let Some(&place) = self.known.get(reason) {
            return Entry::Listed(place);
        }
        let place = u32::try_from(self.reasons.len()).unwrap_or(u32::MAX);
        self.reasons.push(reason.into());
        // Lists repeat a few reasons a million times, or have a million that never come again.
        if self.known.len() < 10_000 {
            self.known.insert(reason.into(), place);
        }
        Entry::Listed(place)
    }

    /// All addresses from the first to the last, of one family.
    pub fn add_range(&mut self, first: IpAddr, last: IpAddr, entry: Entry) {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                let (first, last) = (u128::from(first.to_bits()), u128::from(last.to_bits()));
                self.v4.push(Range { first, last, entry });
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                self.v6.push(Range { first: first.to_bits(), last: last.to_bits(), entry });
            }
            _ => {}
        }
    }

    /// A domain, in lower case.
    pub fn add_name(&mut self, name: &str, reach: Reach, entry: Entry) {
        let (itself, below) = self.names.entry(name.into()).or_default();
        // An exception stands against a listing of the same, in whatever order.
        let add = |place: &mut Option<Entry>| *place = (*place).max(Some(entry));
        if reach != Reach::Below {
            add(itself);
        }
        if reach != Reach::Itself {
            add(below);
        }
    }

    /// A mail address, in lower case.
    pub fn add_mailbox(&mut self, mailbox: &str, entry: Entry) {
        let known = self.mailboxes.entry(mailbox.into()).or_insert(entry);
        *known = (*known).max(entry);
    }

    /// So many entries.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len() + self.names.len() + self.mailboxes.len()
    }

    /// Ready to be looked up.
    pub fn finish(self) -> Set {
        let entries = self.len();
        let small = |address: u128| u32::try_from(address).unwrap_or(u32::MAX);
        let v4 = flatten(self.v4).into_iter();
        Set {
            v4: v4.map(|(first, last, reason)| (small(first), small(last), reason)).collect(),
            v6: flatten(self.v6),
            names: self.names,
            mailboxes: self.mailboxes,
            reasons: self.reasons,
            entries,
        }
    }
}

impl Set {
    /// How many entries it was made of.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// The reason why an address is listed, if it is; empty where none is given.
    pub fn address(&self, address: IpAddr) -> Option<&str> {
        let reason = match address.to_canonical() {
            IpAddr::V4(v4) => find(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => find(&self.v6, v6.to_bits()),
        };
        reason.map(|place| self.reason(place))
    }

    /// The same for a domain, in lower case; the nearest entry decides.
    pub fn name(&self, name: &str) -> Option<&str> {
        let itself = self.names.get(name).and_then(|(itself, _)| *itself);
        let below = || {
            let parents = std::iter::successors(name.split_once('.'), |(_, rest)| rest.split_once('.'));
            parents.map(|(_, parent)| parent).find_map(|parent| self.names.get(parent)?.1)
        };
        self.listed(itself.or_else(below)?)
    }

    /// The same for a mail address, in lower case, whose domain may be listed instead.
    pub fn mailbox(&self, mailbox: &str, domain: &str) -> Option<&str> {
        match self.mailboxes.get(mailbox) {
            Some(&entry) => self.listed(entry),
            None => self.name(domain),
        }
    }

    fn listed(&self, entry: Entry) -> Option<&str> {
        match entry {
            Entry::Listed(place) => Some(self.reason(place)),
            Entry::Except => None,
        }
    }

    fn reason(&self, place: u32) -> &str {
        self.reasons.get(place as usize).map_or("", |reason| reason)
    }
}

fn find<T: Copy + Ord>(ranges: &[(T, T, u32)], address: T) -> Option<u32> {
    let place = ranges.partition_point(|(_, last, _)| *last < address);
    ranges.get(place).filter(|(first, _, _)| *first <= address).map(|(_, _, reason)| *reason)
}

/// Ranges that overlap as ranges that do not: of those that hold an address, the one that begins last decides, which of
/// networks is the smallest.
fn flatten(mut ranges: Vec<Range>) -> Vec<(u128, u128, u32)> {
    ranges.sort_unstable_by_key(|range| (range.first, std::cmp::Reverse(range.last), range.entry));
    let mut flat: Vec<(u128, u128, u32)> = Vec::with_capacity(ranges.len());
    let mut emit = |first: u128, last: u128, entry: Entry| {
        let Entry::Listed(reason) = entry else { return };
        match flat.last_mut() {
            Some(before) if before.2 == reason && before.1.checked_add(1) == Some(first) => before.1 = last,
            _ => flat.push((first, last, reason)),
        }
    };
    // Those that hold the address that was reached, the one that decides last. None: beyond the last address there is.
    let mut open: Vec<Range> = Vec::new();
    let mut reached = Some(0u128);
    let close =
        |open: &mut Vec<Range>, reached: &mut Option<u128>, emit: &mut dyn FnMut(u128, u128, Entry)| {
            if let (Some(range), Some(from)) = (open.pop(), *reached)
                && from <= range.last
            {
                emit(from, range.last, range.entry);
                *reached = range.last.checked_add(1);
            }
        };
    for range in ranges {
        while open.last().is_some_and(|top| top.last < range.first) {
            close(&mut open, &mut reached, &mut emit);
        }
        if let (Some(top), Some(from)) = (open.last(), reached)
            && from < range.first
        {
            emit(from, range.first - 1, top.entry);
        }
        reached = Some(range.first);
        open.push(range);
    }
    while !open.is_empty() {
        close(&mut open, &mut reached, &mut emit);
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_smallest_range_decides() {
        let mut seed = 7u32;
        let mut random = move |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % below
        };
        // Against looking at every range: networks of all sizes in a small space, exceptions among them.
        for round in 0..200 {
            let mut builder = Builder::default();
            let mut all = Vec::new();
            for number in 0..random(30) + 1 {
                let size = 1 << random(9);
                let first = random(256 / size.min(256)) * size;
                let last = (first + size - 1).min(255);
                let entry = match random(4) {
                    0 => Entry::Except,
                    _ => builder.listed(&format!("r{number}")),
                };
                // The same network twice may have either reason.
                if all.iter().any(|&(a, b, _)| (a, b) == (first, last)) {
                    continue;
                }
                all.push((first, last, entry));
                builder.add_range(Ipv4Addr::from(first).into(), Ipv4Addr::from(last).into(), entry);
            }
            let reasons = builder.reasons.clone();
            let set = builder.finish();
            for address in 0..=256u32 {
                let holding = all.iter().filter(|(first, last, _)| (*first..=*last).contains(&address));
                let expected = match holding.min_by_key(|(first, last, _)| last - first) {
                    Some((_, _, Entry::Listed(place))) => Some(&*reasons[*place as usize]),
                    _ => None,
                };
                assert_eq!(
                    set.address(Ipv4Addr::from(address).into()),
                    expected,
                    "{round}: {address} {all:?}"
                );
            }
            assert!(set.v4.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", set.v4);
        }
    }

    #[test]
    fn the_ends_of_the_world() {
        let mut builder = Builder::default();
        let entry = builder.listed("all");
        builder.add_range("0.0.0.0".parse().unwrap(), "255.255.255.255".parse().unwrap(), entry);
        builder.add_range("::".parse().unwrap(), IpAddr::V6(u128::MAX.into()), entry);
        builder.add_range(IpAddr::V6(u128::MAX.into()), IpAddr::V6(u128::MAX.into()), Entry::Except);
        builder.add_range("10.0.0.0".parse().unwrap(), "10.0.0.9".parse().unwrap(), Entry::Except);
        let set = builder.finish();
        for (address, listed) in [
            ("0.0.0.0", true),
            ("255.255.255.255", true),
            ("10.0.0.9", false),
            ("::ffff:10.0.0.9", false),
            ("10.0.0.10", true),
            ("::", true),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", true),
        ] {
            assert_eq!(set.address(address.parse().unwrap()).is_some(), listed, "{address}");
        }
        assert_eq!(Set::default().address("192.0.2.1".parse().unwrap()), None);
    }
}
