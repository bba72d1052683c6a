//! Reads the files of a list, line by line; whatever is wrong is told with file and line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::super::lists::one_line;
use super::set::{Builder, Entry, Reach};
use crate::config::typed::{ListFormat, Subject};
use crate::resources::dns::plain_name;
use crate::resources::lines::each_line_of;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// Entries of one list, at most.
const MOST: usize = 20_000_000;

/// Longest line, in bytes.
const LINE: usize = 2000;

/// Characters of a reason that are kept.
const REASON: usize = 200;

/// What may stand in a file, by what is looked up there: an entry that nothing is ever compared with is a mistake.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    addresses: bool,
    names: bool,
    mailboxes: bool,
}

impl Wanted {
    /// By what is looked up.
    pub fn of(subjects: &[Subject]) -> Wanted {
        let any = |of: &[Subject]| of.iter().any(|subject| subjects.contains(subject));
        Wanted {
            addresses: any(&[Subject::Client]),
            names: any(&[Subject::Helo, Subject::ReverseName, Subject::Sender, Subject::Recipient]),
            mailboxes: any(&[Subject::Sender, Subject::Recipient]),
        }
    }
}

/// Adds what a file lists. On mistakes, says of each which line it is in and what would be right; the first ten are told.
pub(super) fn read(
    path: &Path,
    format: ListFormat,
    wanted: Wanted,
    set: &mut Builder,
) -> Result<(), Vec<String>> {
    let mut lines = Lines { format, wanted, default: String::new(), set };
    each_line_of(path, LARGEST, |line| lines.add(line))
}

struct Lines<'a> {
    format: ListFormat,
    wanted: Wanted,
    /// The reason of entries that have none (rbldnsd).
    default: String,
    set: &'a mut Builder,
}

impl Lines<'_> {
    fn add(&mut self, line: &[u8]) -> Result<(), String> {
        if line.len() > LINE {
            return Err(format!("is longer than {LINE} bytes"));
        }
        let line = std::str::from_utf8(line).map_err(|_| "is not UTF-8")?.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if self.set.len() >= MOST {
            return Err(format!("is one entry too many: {MOST} are read"));
        }
        match self.format {
            ListFormat::Plain => self.add_plain(line),
            ListFormat::Ip4set | ListFormat::Dnset => self.add_rbldnsd(line),
        }
    }

    fn add_plain(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (exception, word) = exception(word);
        let reason = rest.split(" #").next().unwrap_or_default().trim();
        let entry = self.entry(exception, if reason.starts_with('#') { "" } else { reason });
        if let Some((local, domain)) = word.rsplit_once('@') {
            let domain = plain_name(domain).ok_or_else(|| unclear(word))?;
            return match local {
                "" => self.add_name(word, &domain, Reach::Itself, entry),
                _ if !self.wanted.mailboxes => Err(useless(word, "a mail address")),
                _ => {
                    self.set.add_mailbox(&format!("{}@{domain}", local.to_lowercase()), entry);
                    Ok(())
                }
            };
        }
        if let Some((first, last)) = network(word) {
            return self.add_range(word, first, last, entry);
        }
        let (below, bare) = match word.strip_prefix('.') {
            Some(bare) => (Reach::Below, bare),
            None => (Reach::Itself, word),
        };
        // A bare word is rather a slip than a top-level domain.
        let name = if below == Reach::Below { name(bare) } else { plain_name(bare) };
        self.add_name(word, &name.ok_or_else(|| unclear(word))?, below, entry)
    }

    fn add_rbldnsd(&mut self, line: &str) -> Result<(), String> {
        // Directives are about the zone that rbldnsd would serve.
        if line.starts_with(['$', ';']) {
            return Ok(());
        }
        if line.starts_with(':') {
            self.default = value(line).to_owned();
            return Ok(());
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (exception, word) = exception(word);
        let rest = rest.trim();
        let reason = if rest.is_empty() || rest.starts_with(['#', ';']) {
            self.default.clone()
        } else {
            value(rest).to_owned()
        };
        let entry = self.entry(exception, &reason);
        if self.format == ListFormat::Ip4set {
            let (first, last) = ip4set(word)
                .ok_or_else(|| format!("“{word}” is no address, network or range such as 192.0.2.0/24"))?;
            return self.add_range(word, first.into(), last.into(), entry);
        }
        let (reach, bare) = match (word.strip_prefix("*."), word.strip_prefix('.')) {
            (Some(bare), _) => (Reach::Below, bare),
            (None, Some(bare)) => (Reach::Both, bare),
            (None, None) => (Reach::Itself, word),
        };
        let name = name(bare).ok_or_else(|| format!("“{word}” is no domain such as example.org"))?;
        self.add_name(word, &name, reach, entry)
    }

    fn entry(&mut self, exception: bool, reason: &str) -> Entry {
        if exception { Entry::Except } else { self.set.listed(&one_line(reason, REASON)) }
    }

    fn add_range(&mut self, word: &str, first: IpAddr, last: IpAddr, entry: Entry) -> Result<(), String> {
        if !self.wanted.addresses {
            return Err(useless(word, "an address"));
        }
        self.set.add_range(first, last, entry);
        Ok(())
    }

    fn add_name(&mut self, word: &str, name: &str, reach: Reach, entry: Entry) -> Result<(), String> {
        if !self.wanted.names {
            return Err(useless(word, "a domain"));
        }
        self.set.add_name(name, reach, entry);
        Ok(())
    }
}

fn unclear(word: &str) -> String {
    format!("“{word}” is no address, network, domain or mail address")
}

fn useless(word: &str, what: &str) -> String {
    format!("“{word}” is {what}, and nothing that `of` names is compared with such")
}

fn exception(word: &str) -> (bool, &str) {
    match word.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, word),
    }
}

/// A domain in lower case; the last label alone, too (`.xyz`).
fn name(text: &str) -> Option<String> {
    plain_name(text).or_else(|| plain_name(&format!("x.{text}"))?.strip_prefix("x.").map(str::to_owned))
}

/// `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`.
fn network(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, address));
    }
    let net: ipnet::IpNet = text.parse().ok()?;
    Some((net.network(), net.broadcast()))
}

/// `192.0.2.1`, `192.0.2` (all below), `192.0/16`, `192.0.2.1-192.0.2.9`, `192.0.2.1-9`.
fn ip4set(text: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    if let Some((first, last)) = text.split_once('-') {
        let (first, given) = octets(first)?;
        let (last, last_given) = octets(last)?;
        // A last address that is cut short shares its beginning with the first.
        let kept = usize::from(given).checked_sub(usize::from(last_given))?;
        let mut end = [255; 4];
        end[..kept].copy_from_slice(&first[..kept]);
        end[kept..usize::from(given)].copy_from_slice(&last[..usize::from(last_given)]);
        let (first, last) = (Ipv4Addr::from(first), Ipv4Addr::from(end));
        return (first <= last).then_some((first, last));
    }
    let (start, length) = match text.split_once('/') {
        Some((start, length)) => (octets(start)?.0, length.parse::<u8>().ok()?),
        None => octets(text).map(|(start, given)| (start, given * 8))?,
    };
    let net = ipnet::Ipv4Net::new(start.into(), length).ok()?;
    Some((net.network(), net.broadcast()))
}

/// One to four numbers, and how many.
fn octets(text: &str) -> Option<([u8; 4], u8)> {
    let mut octets = [0; 4];
    let mut given = 0;
    for part in text.trim_end_matches('.').split('.') {
        *octets.get_mut(usize::from(given))? = part.parse().ok()?;
        given += 1;
    }
    Some((octets, given))
}

/// The text of `:127.0.0.2:text`, or of a text alone.
fn value(text: &str) -> &str {
    match text.strip_prefix(':') {
        Some(rest) => rest.split_once(':').map_or("", |(_, text)| text.trim()),
        None => text.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::set::Set;
    use super::*;

    fn set(format: ListFormat, of: &[Subject], text: &str) -> Result<Set, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, text).unwrap();
        let mut builder = Builder::default();
        let shown = format!("{}/", folder.path().display());
        read(&path, format, Wanted::of(of), &mut builder)
            .map_err(|told| told.into_iter().map(|line| line.replace(&shown, "")).collect::<Vec<_>>())?;
        Ok(builder.finish())
    }

    const ALL: &[Subject] = &[Subject::Client, Subject::Helo, Subject::Sender];

    #[test]
    fn plain_files() {
        let set = set(
            ListFormat::Plain,
            ALL,
            "# ours\r\n\r\n192.0.2.1\n192.0.2.128/25 a bad net # since May\n!192.0.2.200 # but not this\n\
             2001:db8::/32\nExample.org  because\n.example.net\n!good.example.net\n.xyz\nB\u{fc}cher.example\n\
             User@Example.com spam\n@example.info\n",
        )
        .unwrap();
        for (address, reason) in [
            ("192.0.2.1", Some("")),
            ("192.0.2.2", None),
            ("192.0.2.129", Some("a bad net")),
            ("192.0.2.200", None),
            ("2001:db8:1::1", Some("")),
            ("2001:db9::1", None),
        ] {
            assert_eq!(set.address(address.parse().unwrap()), reason, "{address}");
        }
        for (name, reason) in [
            ("example.org", Some("because")),
            ("a.example.org", None),
            ("example.net", None),
            ("a.b.example.net", Some("")),
            ("good.example.net", None),
            ("a.good.example.net", Some("")),
            ("a.xyz", Some("")),
            ("xyz", None),
            ("xn--bcher-kva.example", Some("")),
            ("example.info", Some("")),
            ("example.com", None),
        ] {
            assert_eq!(set.name(name), reason, "{name}");
        }
        assert_eq!(set.mailbox("user@example.com", "example.com"), Some("spam"));
        assert_eq!(set.mailbox("other@example.com", "example.com"), None);
        assert_eq!(set.mailbox("other@example.org", "example.org"), Some("because"));
        assert_eq!(set.len(), 11);
    }

    #[test]
    fn files_of_rbldnsd() {
        let addresses = set(
            ListFormat::Ip4set,
            ALL,
            "$SOA 3000 ns.example h.example 0 600 300 86400 300\n$NS 3000 ns.example\n; a comment\n# another\n\
             :127.0.0.2:listed by default\n192.0.2.1\n192.0.2.2 :127.0.0.3:for its own reason\n192.0.2.3 plain text\n\
             198.51.100\n!198.51.100.7\n203.0.113.1-203.0.113.9\n203.0.113.20-29\n10.1/16 ; private\n10.2-3\n192.0.2.4 :5:\n",
        )
        .unwrap();
        for (address, reason) in [
            ("192.0.2.1", Some("listed by default")),
            ("192.0.2.2", Some("for its own reason")),
            ("192.0.2.3", Some("plain text")),
            ("192.0.2.4", Some("")),
            ("198.51.100.255", Some("listed by default")),
            ("198.51.100.7", None),
            ("203.0.113.9", Some("listed by default")),
            ("203.0.113.10", None),
            ("203.0.113.29", Some("listed by default")),
            ("203.0.113.30", None),
            ("10.1.255.1", Some("listed by default")),
            ("10.3.255.255", Some("listed by default")),
            ("10.4.0.0", None),
        ] {
            assert_eq!(addresses.address(address.parse().unwrap()), reason, "{address}");
        }
        let names = set(
            ListFormat::Dnset,
            ALL,
            ":2:d\nexact.example\n.both.example\n*.below.example t\n!not.both.example\n",
        );
        let names = names.unwrap();
        for (name, reason) in [
            ("exact.example", Some("d")),
            ("a.exact.example", None),
            ("both.example", Some("d")),
            ("a.both.example", Some("d")),
            ("not.both.example", None),
            ("below.example", None),
            ("a.below.example", Some("t")),
        ] {
            assert_eq!(names.name(name), reason, "{name}");
        }
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let long = "x".repeat(3000);
        for (format, of, text, expected) in [
            (ListFormat::Plain, ALL, "192.0.2.1\n\n192.0.2.1/33\n", "list:3: “192.0.2.1/33” is no address"),
            (
                ListFormat::Plain,
                ALL,
                "bad_domain\u{7f}.example",
                "list:1: “bad_domain\u{7f}.example” is no address",
            ),
            (ListFormat::Plain, ALL, "a@b.example c@d\na@", "list:2: “a@” is no address"),
            (ListFormat::Plain, ALL, "what is this?", "list:1: “what” is no address"),
            (ListFormat::Plain, &ALL[..1], "example.org", "list:1: “example.org” is a domain, and nothing"),
            (ListFormat::Plain, &ALL[1..2], "a@example.org", "list:1: “a@example.org” is a mail address"),
            (ListFormat::Plain, &ALL[1..], "192.0.2.1", "list:1: “192.0.2.1” is an address"),
            (ListFormat::Plain, ALL, &long, "list:1: is longer than 2000 bytes"),
            (ListFormat::Ip4set, ALL, "192.0.2.256", "list:1: “192.0.2.256” is no address, network or range"),
            (ListFormat::Ip4set, ALL, "192.0.2.9-3", "is no address, network or range"),
            (ListFormat::Ip4set, ALL, "1-2.3.4.5", "is no address, network or range"),
            (ListFormat::Ip4set, ALL, "2001:db8::1", "is no address, network or range"),
            (ListFormat::Dnset, ALL, "a..example", "list:1: “a..example” is no domain"),
        ] {
            let told = set(format, of, text).err().unwrap();
            assert!(told.len() == 1 && told[0].contains(expected), "{text:?}: {told:?}");
        }
        let told = set(ListFormat::Plain, ALL, &"?\n".repeat(30)).err().unwrap();
        assert_eq!((told.len(), told[10].as_str()), (11, "list: and 20 more such lines"));
        let missing =
            read(Path::new("/nowhere/list"), ListFormat::Plain, Wanted::of(ALL), &mut Builder::default());
        assert!(missing.unwrap_err()[0].starts_with("/nowhere/list: No such file"));
    }
}
