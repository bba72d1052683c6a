//! What is remembered, and what follows from it: no I/O, no clock.
//!
//! The rules are postgrey's, so that whoever changes over finds that it decides as before. Its own words for them are in
//! postgrey(8).

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use sha2::{Digest, Sha256};

use crate::resources::state::LONGEST_KEY;

/// How often a client's success counts towards its being known, in seconds: once an hour.
const COUNTED_ONCE_IN: u64 = 3600;

/// Puts the parts of a key apart; it can stand in no address.
const BETWEEN: u8 = 0;

/// Letters of the checksum that stands for the end of a key that is too long.
const CHECKSUM: usize = 32;

/// The times and prefixes of a configuration, in seconds and bits.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How long to wait.
    pub delay: u64,
    /// Longest until one comes again.
    pub retry_window: u64,
    /// Longest that one is remembered.
    pub max_age: u64,
    /// Bits of an IPv4 address.
    pub ipv4_prefix: u8,
    /// Bits of an IPv6 address.
    pub ipv6_prefix: u8,
    /// Successes from which on a client is known; 0: never.
    pub known_from: u32,
}

/// What is remembered of a client, sender and recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Triplet {
    /// When they came first, in seconds since 1970.
    pub first: u64,
    /// When they came last.
    pub last: u64,
    /// How many times they came.
    pub attempts: u32,
    /// The client's address when they came last.
    pub client: IpAddr,
}

/// What is remembered of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// How many times its mail has come again.
    pub count: u32,
    /// When that was counted last, in seconds since 1970.
    pub last: u64,
}

/// What becomes of somebody who knocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knock {
    /// They must wait so many seconds more.
    Wait {
        /// Seconds to wait yet.
        seconds: u64,
        /// Whether they came too early, and not for the first time.
        early: bool,
    },
    /// They have waited so many seconds, and come again.
    CameAgain {
        /// Seconds since they came first.
        seconds: u64,
    },
    /// They are known.
    Known,
}

impl Rules {
    /// What becomes of three that knock now, and what is remembered of them from then on.
    pub fn knock(&self, old: Option<&Triplet>, client: IpAddr, now: u64) -> (Triplet, Knock) {
        let old = old.filter(|old| now.saturating_sub(old.last) <= self.max_age);
        let mut triplet = Triplet { first: now, last: now, attempts: 1, client };
        let mut known = false;
        if let Some(old) = old {
            known = self.has_waited(old);
            triplet.attempts = old.attempts.saturating_add(1);
            let too_late = !known && now.saturating_sub(old.first) > self.retry_window;
            // A time in the future is one of a clock that was wrong.
            if !too_late && old.first <= now {
                triplet.first = old.first;
            }
        }
        let waited = now - triplet.first;
        let knock = match self.delay.saturating_sub(waited) {
            0 if known => Knock::Known,
            0 => Knock::CameAgain { seconds: waited },
            seconds => Knock::Wait { seconds, early: triplet.first != now },
        };
        (triplet, knock)
    }

    /// Whether they have come again in time.
    pub fn has_waited(&self, triplet: &Triplet) -> bool {
        triplet.last.saturating_sub(triplet.first) >= self.delay
    }

    /// How long to remember them, in seconds from now on.
    pub fn life(&self, triplet: &Triplet) -> u64 {
        if self.has_waited(triplet) { self.max_age } else { self.retry_window.max(self.delay) }
            .saturating_add(1)
    }

    /// Whether a client is known, so that it need not wait.
    pub fn is_known(&self, client: Option<&Client>, now: u64) -> bool {
        self.known_from > 0
            && client.is_some_and(|client| {
                client.count >= self.known_from && now.saturating_sub(client.last) <= self.max_age
            })
    }

    /// A client that has come again, or that is known, is seen: what is remembered of it from then on. None: as before.
    pub fn seen(&self, client: Option<&Client>, now: u64) -> Option<Client> {
        let client = client.filter(|client| now.saturating_sub(client.last) <= self.max_age);
        let Some(client) = client else { return Some(Client { count: 1, last: now }) };
        let counts = now >= client.last.saturating_add(COUNTED_ONCE_IN)
            || client.last > now && self.is_known(Some(client), now);
        counts.then(|| Client { count: client.count.saturating_add(1), last: now })
    }

    /// The key of three: the client's network, the sender as [`sender_key`] makes it, the recipient, in lower case.
    pub fn key(&self, client: IpAddr, sender: &str, recipient: &str) -> Vec<u8> {
        let net = match client.to_canonical() {
            IpAddr::V4(address) => Ipv4Net::new(address, self.ipv4_prefix.min(32))
                .map_or(IpAddr::V4(address), |net| IpAddr::V4(net.network())),
            IpAddr::V6(address) => Ipv6Net::new(address, self.ipv6_prefix.min(128))
                .map_or(IpAddr::V6(address), |net| IpAddr::V6(net.network())),
        };
        let mut key = net.to_string().into_bytes();
        for part in [sender_key(sender).as_str(), recipient] {
            key.push(BETWEEN);
            key.extend(part.bytes().filter(|byte| *byte != BETWEEN).map(|byte| byte.to_ascii_lowercase()));
        }
        if key.len() > LONGEST_KEY {
            let checksum: String =
                Sha256::digest(&key).iter().take(CHECKSUM / 2).map(|byte| format!("{byte:02x}")).collect();
            key.truncate(LONGEST_KEY - CHECKSUM);
            key.extend(checksum.bytes());
        }
        key
    }
}

/// The parts of a key, as text: network, sender, recipient.
pub fn parts(key: &[u8]) -> [String; 3] {
    let mut parts = key.splitn(3, |byte| *byte == BETWEEN);
    std::array::from_fn(|_| String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned())
}

/// A sender without what changes from one message to the next: the tag of BATV (`prvs=tag=user`), the extension of
/// mailing lists (`+…`), and numbers (VERP).
pub fn sender_key(sender: &str) -> String {
    let Some((user, domain)) = sender.split_once('@') else { return sender.to_owned() };
    let user = without_batv(user);
    let user = user.split('+').next().unwrap_or_default();
    format!("{}@{domain}", without_numbers(user))
}

/// `prvs=` is followed by tag and user; some put the user first.
fn without_batv(user: &str) -> &str {
    if !user.starts_with("prvs=") {
        return user;
    }
    let is_tag = |text: &str| {
        text.len() >= 10 && text.bytes().take(10).all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let parts: Vec<&str> = user.trim_end_matches('=').split('=').collect();
    match parts[..] {
        [_, first, second] if is_tag(second) && !is_tag(first) => first,
        [_, _, second] => second,
        _ => user,
    }
}

/// Numbers that stand by themselves become `#`.
fn without_numbers(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    let mut rest = user;
    while !rest.is_empty() {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let word = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(word);
        out.push_str(if !run.is_empty() && run.bytes().all(|b| b.is_ascii_digit()) { "#" } else { run });
        let other = after.find(in_word).unwrap_or(after.len());
        out.push_str(&after[..other]);
        rest = &after[other..];
    }
    out
}

impl Triplet {
    /// As it is kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes =
            [&self.first.to_be_bytes()[..], &self.last.to_be_bytes(), &self.attempts.to_be_bytes()].concat();
        match self.client.to_canonical() {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
        bytes
    }

    /// As it was kept; None if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Triplet> {
        let client = match bytes.len() {
            24 => IpAddr::from(<[u8; 4]>::try_from(&bytes[20..]).ok()?),
            36 => IpAddr::from(<[u8; 16]>::try_from(&bytes[20..]).ok()?),
            _ => return None,
        };
        Some(Triplet {
            first: u64::from_be_bytes(bytes[..8].try_into().ok()?),
            last: u64::from_be_bytes(bytes[8..16].try_into().ok()?),
            attempts: u32::from_be_bytes(bytes[16..20].try_into().ok()?),
            client,
        })
    }
}

impl Client {
    /// As it is kept.
    pub fn encode(&self) -> Vec<u8> {
        [&self.count.to_be_bytes()[..], &self.last.to_be_bytes()].concat()
    }

    /// As it was kept; None if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Client> {
        (bytes.len() == 12).then_some(())?;
        Some(Client {
            count: u32::from_be_bytes(bytes[..4].try_into().ok()?),
            last: u64::from_be_bytes(bytes[4..].try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        delay: 300,
        retry_window: 172_800,
        max_age: 3_024_000,
        ipv4_prefix: 24,
        ipv6_prefix: 64,
        known_from: 5,
    };
    const DAY: u64 = 86_400;

    /// Each row: moments at which the same three knock, and what becomes of the last of them.
    #[test]
    fn who_must_wait() {
        let client = "192.0.2.1".parse().unwrap();
        let wait = |seconds, early| Knock::Wait { seconds, early };
        let again = |seconds| Knock::CameAgain { seconds };
        for (moments, expected) in [
            (&[0][..], wait(300, false)),
            (&[0, 1], wait(299, true)),
            (&[0, 299], wait(1, true)),
            (&[0, 300], again(300)),
            (&[0, 299, 300], again(300)),
            (&[0, 300, 301], Knock::Known),
            (&[0, 2 * DAY], again(2 * DAY)),
            (&[0, 2 * DAY + 1], wait(300, false)),
            (&[0, 100, 2 * DAY + 1], wait(300, false)),
            (&[0, 2 * DAY + 1, 2 * DAY + 301], again(300)),
            (&[0, 300, 35 * DAY + 300], Knock::Known),
            (&[0, 300, 35 * DAY + 301], wait(300, false)),
            (&[0, 300, 30 * DAY, 60 * DAY], Knock::Known),
            (&[1000, 0], wait(300, false)),
            (&[1000, 0, 300], again(300)),
        ] {
            let mut triplet = None;
            let mut last = Knock::Known;
            for moment in moments {
                let (next, knock) = RULES.knock(triplet.as_ref(), client, 1_000_000 + moment);
                (triplet, last) = (Triplet::decode(&next.encode()), knock);
            }
            assert_eq!(last, expected, "{moments:?}");
            let anew = moments.contains(&(35 * DAY + 301));
            assert_eq!(triplet.unwrap().attempts as usize, if anew { 1 } else { moments.len() });
        }
    }

    #[test]
    fn clients_become_known() {
        let mut client: Option<Client> = None;
        let mut now = 1_000_000;
        for (later, count, known) in [
            (0, 1, false),
            (3599, 1, false),
            (1, 2, false),
            (3600, 3, false),
            (7200, 4, false),
            (3600, 5, true),
            (60, 5, true),
            (35 * DAY - 60, 6, true),
            (35 * DAY + 1, 1, false),
        ] {
            now += later;
            if let Some(seen) = RULES.seen(client.as_ref(), now) {
                client = Client::decode(&seen.encode());
            }
            assert_eq!(
                (client.as_ref().unwrap().count, RULES.is_known(client.as_ref(), now)),
                (count, known)
            );
        }
        assert!(!Rules { known_from: 0, ..RULES }.is_known(Some(&Client { count: 9, last: now }), now));
    }

    #[test]
    fn senders_without_what_changes() {
        for (sender, expected) in [
            ("user@example.org", "user@example.org"),
            ("", ""),
            ("postmaster", "postmaster"),
            ("list+bounces-17@example.org", "list@example.org"),
            ("bounce-4711-user=example.org@lists.example", "bounce-#-user=example.org@lists.example"),
            ("bounce-4711-a12b-99@lists.example", "bounce-#-a12b-#@lists.example"),
            ("4711@numbers.example", "#@numbers.example"),
            ("1.2_3.4@x.example", "#.2_3.#@x.example"),
            ("prvs=1234567890=user@x.example", "user@x.example"),
            ("prvs=user=1234567890@x.example", "user@x.example"),
            ("prvs=1234abcdef=0987654321@x.example", "#@x.example"),
            ("prvs=short=user@x.example", "user@x.example"),
            ("prvs=alone@x.example", "prvs=alone@x.example"),
            ("prvs=a=b=c@x.example", "prvs=a=b=c@x.example"),
            ("a@b@c.example", "a@b@c.example"),
            ("12@34@c.example", "#@34@c.example"),
            ("ä12-34@x.example", "ä#-#@x.example"),
        ] {
            assert_eq!(sender_key(sender), expected, "{sender}");
        }
    }

    #[test]
    fn keys() {
        let key = |client: &str, sender: &str, recipient: &str| {
            parts(&RULES.key(client.parse().unwrap(), sender, recipient)).join(" ")
        };
        assert_eq!(key("192.0.2.77", "A+x@B.org", "User+Ext@C.org"), "192.0.2.0 a@b.org user+ext@c.org");
        assert_eq!(key("::ffff:192.0.2.77", "", "u@c.org"), "192.0.2.0  u@c.org");
        assert_eq!(key("2001:db8:1:2:3::4", "a", "b"), "2001:db8:1:2:: a b");
        let long = "x".repeat(2000);
        let ip = "192.0.2.1".parse().unwrap();
        let (one, other) = (RULES.key(ip, "a@b", &long), RULES.key(ip, "a@b", &(long.clone() + "y")));
        assert!(one.len() == LONGEST_KEY && other.len() == LONGEST_KEY && one != other);
        let by_host = Rules { ipv4_prefix: 32, ipv6_prefix: 128, ..RULES };
        assert_eq!(parts(&by_host.key("192.0.2.77".parse().unwrap(), "a", "b"))[0], "192.0.2.77");
    }
}
