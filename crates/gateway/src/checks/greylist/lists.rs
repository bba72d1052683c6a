//! Whitelists: files of clients or recipients in postgrey's form and in those of Postfix's tables (access(5),
//! cidr_table(5), pcre_table(5)).
//!
//! A line is a name, an address, a network or `/a regular expression/`, and behind it, as Postfix's tables have it, what
//! to do: `OK` is what a line without it means, `DUNNO` makes an exception. The first line that matches decides.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::resources::maps;

/// Most bytes of one file.
const LARGEST: u64 = 64 << 20;

/// Whose list it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Clients, by address and name.
    Clients,
    /// Recipients.
    Recipients,
}

/// The files of one subject, as they were read last.
pub struct Lists {
    subject: Subject,
    files: Vec<PathBuf>,
    state: ArcSwap<(Stamp, List)>,
}

/// By which a change of the files is noticed.
type Stamp = Vec<Option<(SystemTime, u64)>>;

impl Lists {
    /// Reads the files. The errors name the place of the file in the list, or what is wrong in which line.
    pub fn read(subject: Subject, files: &[PathBuf]) -> Result<Lists, Vec<(usize, String)>> {
        let stamp = stamp(files);
        let list = read_all(subject, files)?;
        Ok(Lists { subject, files: files.to_vec(), state: ArcSwap::from_pointee((stamp, list)) })
    }

    /// Reads them again if they have changed. What is wrong then is told in the log, and the old lists stay.
    pub fn reload(&self) {
        let now = stamp(&self.files);
        let before = self.state.load();
        if before.0 == now {
            return;
        }
        match read_all(self.subject, &self.files) {
            Ok(list) => {
                tracing::info!(entries = list.entries.len(), "greylisting: whitelists read again");
                self.state.store(Arc::new((now, list)));
            }
            Err(problems) => {
                for (_, problem) in problems {
                    tracing::error!("greylisting: {problem}; the old whitelists stay");
                }
                self.state.store(Arc::new((now, before.1.clone())));
            }
        }
    }

    /// The line that exempts a client, if one does.
    pub fn client(&self, address: IpAddr, name: Option<&str>) -> Option<String> {
        self.state.load().1.client(address, name)
    }

    /// The line that exempts a recipient, if one does.
    pub fn recipient(&self, address: &str) -> Option<String> {
        self.state.load().1.recipient(address)
    }
}

/// The lines of all files.
#[derive(Clone, Debug, Default)]
struct List {
    entries: Vec<Entry>,
    /// Names in lower case, to places in `entries`.
    names: HashMap<String, usize>,
    nets: Vec<(IpNet, usize)>,
    patterns: Vec<(Pattern, usize)>,
}

/// What a line says.
#[derive(Clone, Debug)]
struct Entry {
    /// As it stands there.
    text: String,
    /// `false`: what it matches is not exempt, whatever later lines say.
    exempt: bool,
}

#[derive(Clone, Debug)]
enum Pattern {
    Linear(regex::Regex),
    /// What only Perl's expressions can say.
    Perl(pcre2::bytes::Regex),
}

impl Pattern {
    /// Compiles one, without case.
    fn new(text: &str) -> Result<Pattern, String> {
        if let Ok(regex) = regex::RegexBuilder::new(text).case_insensitive(true).build() {
            return Ok(Pattern::Linear(regex));
        }
        let perl = maps::compiled(pcre2::bytes::RegexBuilder::new().caseless(true), text);
        perl.map(Pattern::Perl).map_err(|error| format!("/{text}/ is no regular expression: {error}"))
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Linear(regex) => regex.is_match(text),
            // One that runs into the library's limits does not match.
            Pattern::Perl(regex) => regex.is_match(text.as_bytes()).unwrap_or(false),
        }
    }
}

impl List {
    /// Takes in one line; `Err` says what is wrong with it.
    fn add(&mut self, subject: Subject, line: &str) -> Result<(), String> {
        let Some((key, action)) = split(line)? else { return Ok(()) };
        let exempt = match action.to_ascii_uppercase().as_str() {
            "" | "OK" | "PERMIT" | "RELAY" => true,
            "DUNNO" => false,
            text if text.bytes().all(|b| b.is_ascii_digit()) => true,
            _ => {
                return Err(format!(
                    "“{action}” is not what a whitelist can say; write OK, DUNNO or nothing"
                ));
            }
        };
        let place = self.entries.len();
        if let Some(pattern) = key.strip_prefix('/') {
            self.patterns.push((Pattern::new(pattern)?, place));
        } else if let Some(net) = (subject == Subject::Clients).then(|| net(key)).flatten() {
            self.nets.push((net, place));
        } else if subject == Subject::Clients && (key.contains('@') || key.contains('/')) {
            return Err(format!("“{key}” is neither a host name nor an address nor a network"));
        } else {
            self.names.entry(key.to_ascii_lowercase()).or_insert(place);
        }
        self.entries.push(Entry { text: line.trim().to_owned(), exempt });
        Ok(())
    }

    fn client(&self, address: IpAddr, name: Option<&str>) -> Option<String> {
        let address = address.to_canonical();
        let by_net = self.nets.iter().find(|(net, _)| net.contains(&address)).map(|(_, place)| *place);
        let (by_name, by_pattern) = match name.map(|name| name.trim_end_matches('.').to_ascii_lowercase()) {
            Some(name) => (self.domain(&name), self.pattern(&name)),
            None => (None, None),
        };
        self.first([by_net, by_name, by_pattern])
    }

    fn recipient(&self, address: &str) -> Option<String> {
        let address = address.to_ascii_lowercase();
        let (local, domain) = address.rsplit_once('@').unwrap_or((&address, ""));
        let user = local.split('+').next().filter(|user| !user.is_empty()).unwrap_or(local);
        let named = |key: String| self.names.get(&key).copied();
        self.first([
            named(format!("{user}@{domain}")),
            named(format!("{local}@{domain}")),
            named(format!("{user}@")),
            named(format!("{local}@")),
            named(format!("@{domain}")),
            self.domain(domain),
            self.pattern(&address),
        ])
    }

    /// A domain, or one that it lies in.
    fn domain(&self, name: &str) -> Option<usize> {
        let mut rest = Some(name);
        let mut found: Option<usize> = None;
        while let Some(domain) = rest.filter(|domain| !domain.is_empty()) {
            let mut here = self.names.get(domain).copied();
            // `.example.org` is what lies in it only.
            if domain != name {
                here = earlier(here, self.names.get(&format!(".{domain}")).copied());
            }
            found = earlier(found, here);
            rest = domain.split_once('.').map(|(_, parent)| parent);
        }
        found
    }

    fn pattern(&self, text: &str) -> Option<usize> {
        self.patterns.iter().find(|(pattern, _)| pattern.matches(text)).map(|(_, place)| *place)
    }

    /// The text of the first line among these, if it exempts.
    fn first<const N: usize>(&self, places: [Option<usize>; N]) -> Option<String> {
        let entry = &self.entries[places.into_iter().flatten().min()?];
        entry.exempt.then(|| entry.text.clone())
    }
}

fn earlier(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    one.into_iter().chain(other).min()
}

/// Key and action of a line; a pattern keeps its first slash. None: an empty line or a comment.
fn split(line: &str) -> Result<Option<(&str, &str)>, String> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix('/') {
        // postgrey's form: nothing behind the last slash, and no space before it.
        let bare = line.split_once(" #").map_or(line, |(before, _)| before).trim_end();
        if bare.len() > 1 && bare.ends_with('/') && !bare.contains(char::is_whitespace) {
            return Ok(Some((&bare[..bare.len() - 1], "")));
        }
        // Postfix's: `/pattern/flags action`.
        let mut escaped = false;
        let end = rest.find(|c: char| {
            let ends = c == '/' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { return Err(format!("“{line}” has no second slash")) };
        let (flags, action) =
            rest[end + 1..].split_once(char::is_whitespace).unwrap_or((&rest[end + 1..], ""));
        if !flags.is_empty() {
            return Err(format!(
                "“{flags}”: flags behind a pattern are not known here; patterns are without case"
            ));
        }
        return Ok(Some((&line[..end + 1], first_word(action))));
    }
    let line = line.split('#').next().unwrap_or_default().trim();
    if line.is_empty() {
        return Ok(None);
    }
    if line.starts_with('!') || line.starts_with("if ") || line == "endif" {
        return Err(format!("“{line}”: conditions of Postfix's tables are not known here"));
    }
    let (key, action) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    Ok(Some((key, first_word(action))))
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// `192.0.2.1`, `192.0.2.0/24`, `192.0.2` (the network), `2001:db8::1`, `2001:db8::/32`, `2001:db8` (the network).
fn net(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(IpNet::from(address));
    }
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(net.trunc());
    }
    let groups: Vec<&str> = text.split(':').collect();
    if (2..=7).contains(&groups.len()) {
        let mut segments = [0; 8];
        for (segment, group) in segments.iter_mut().zip(&groups) {
            *segment = u16::from_str_radix(group, 16).ok()?;
        }
        let prefix = u8::try_from(groups.len() * 16).ok()?;
        return IpNet::new(Ipv6Addr::from(segments).into(), prefix).ok();
    }
    let numbers: Vec<&str> = text.split('.').collect();
    if !(1..=3).contains(&numbers.len()) {
        return None;
    }
    let mut octets = [0; 4];
    for (octet, number) in octets.iter_mut().zip(&numbers) {
        *octet = number.parse().ok()?;
    }
    IpNet::new(Ipv4Addr::from(octets).into(), u8::try_from(numbers.len() * 8).ok()?).ok()
}

fn read_all(subject: Subject, files: &[PathBuf]) -> Result<List, Vec<(usize, String)>> {
    let mut list = List::default();
    let mut problems = Vec::new();
    for (place, path) in files.iter().enumerate() {
        match read_file(path) {
            Ok(text) => {
                for (number, line) in text.lines().enumerate() {
                    if let Err(why) = list.add(subject, line) {
                        problems.push((place, format!("{}:{}: {why}", path.display(), number + 1)));
                    }
                }
            }
            Err(why) => problems.push((place, format!("{}: {why}", path.display()))),
        }
    }
    if problems.is_empty() { Ok(list) } else { Err(problems) }
}

fn read_file(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!("is larger than {LARGEST} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn stamp(files: &[PathBuf]) -> Stamp {
    let one = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(subject: Subject, text: &str) -> List {
        let mut list = List::default();
        text.lines().for_each(|line| list.add(subject, line).unwrap_or_else(|why| panic!("{line}: {why}")));
        list
    }

    /// An expression that would take years does not match, soon.
    #[test]
    fn no_name_keeps_it_busy() {
        let Ok(Pattern::Perl(regex)) = Pattern::new("^(?!x)(a|a)*b.*(c|c)+$") else { panic!("not Perl's") };
        let name = format!("{}c", "a".repeat(40));
        assert!(regex.is_match(name.as_bytes()).is_err());
    }

    #[test]
    fn clients() {
        let list = list(
            Subject::Clients,
            "# comment\n\n  example.org  # behind\n192.0.2.7\n198.51.100.0/25\n203.0.113\n10.1\n2001:db8::/32\n\
             2a00:1:2\n/^smtp\\d+\\.big\\.example$/\n/^mx(?!3)\\d\\.perl\\.example$/\n\
             not.access.example DUNNO\naccess.example OK\n.inside.example\tOK\n192.168.0.0/16 permit\n\
             /^pool-.*\\.access\\.net$/ OK some text\n",
        );
        for (address, name, expected) in [
            ("192.0.2.1", None, None),
            ("192.0.2.7", None, Some("192.0.2.7")),
            ("::ffff:192.0.2.7", None, Some("192.0.2.7")),
            ("198.51.100.127", None, Some("198.51.100.0/25")),
            ("198.51.100.128", None, None),
            ("203.0.113.200", None, Some("203.0.113")),
            ("10.1.99.1", None, Some("10.1")),
            ("10.2.0.1", None, None),
            ("2001:db8:ffff::1", None, Some("2001:db8::/32")),
            ("2a00:1:2:3::1", None, Some("2a00:1:2")),
            ("2a00:1:3::1", None, None),
            ("192.0.2.1", Some("example.org"), Some("example.org  # behind")),
            ("192.0.2.1", Some("MAIL.Example.ORG."), Some("example.org  # behind")),
            ("192.0.2.1", Some("badexample.org"), None),
            ("192.0.2.1", Some("smtp17.big.example"), Some("/^smtp\\d+\\.big\\.example$/")),
            ("192.0.2.1", Some("x.smtp17.big.example"), None),
            ("192.0.2.1", Some("mx2.perl.example"), Some("/^mx(?!3)\\d\\.perl\\.example$/")),
            ("192.0.2.1", Some("mx3.perl.example"), None),
            ("192.0.2.1", Some("a.access.example"), Some("access.example OK")),
            ("192.0.2.1", Some("a.not.access.example"), None),
            ("192.0.2.1", Some("inside.example"), None),
            ("192.0.2.1", Some("a.b.inside.example"), Some(".inside.example\tOK")),
            ("192.168.7.1", Some("a.not.access.example"), None),
            ("192.168.7.1", None, Some("192.168.0.0/16 permit")),
            ("192.0.2.1", Some("POOL-7.access.net"), Some("/^pool-.*\\.access\\.net$/ OK some text")),
        ] {
            let said = list.client(address.parse().unwrap(), name);
            assert_eq!(said.as_deref(), expected, "{address} {name:?}");
        }
    }

    #[test]
    fn recipients() {
        let list = list(
            Subject::Recipients,
            "postmaster@\nabuse@example.org\nwhole.example\n@exact.example\n/^sales-.*@/\nbob+list@x.example\n",
        );
        for (address, exempt) in [
            ("postmaster@any.example", true),
            ("Postmaster+x@any.example", true),
            ("postmasters@any.example", false),
            ("postmaster", true),
            ("abuse@example.org", true),
            ("abuse+tag@example.org", true),
            ("abuse@other.example", false),
            ("user@whole.example", true),
            ("user@sub.whole.example", true),
            ("user@unwhole.example", false),
            ("user@exact.example", true),
            ("user@sub.exact.example", false),
            ("sales-de@x.example", true),
            ("bob+list@x.example", true),
            ("bob@x.example", false),
        ] {
            assert_eq!(list.recipient(address).is_some(), exempt, "{address}");
        }
    }

    #[test]
    fn mistakes_name_file_and_line_and_a_change_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients");
        std::fs::write(&path, "good.example\nbad.example REJECT\n/(/\nuser@example.org\n/a/x OK\nif /x/\n")
            .unwrap();
        let problems = Lists::read(Subject::Clients, std::slice::from_ref(&path)).err().unwrap();
        let lines: Vec<_> = problems.iter().map(|(_, text)| text.rsplit('/').next().unwrap()).collect();
        assert_eq!(problems.len(), 5, "{lines:?}");
        assert!(
            problems[0].1.contains("clients:2: “REJECT” is not what a whitelist can say"),
            "{problems:?}"
        );
        assert!(Lists::read(Subject::Clients, &[folder.path().join("none")]).is_err());

        std::fs::write(&path, "one.example\n").unwrap();
        let lists = Lists::read(Subject::Clients, std::slice::from_ref(&path)).unwrap();
        let known = |name| lists.client(IpAddr::from([192, 0, 2, 1]), Some(name)).is_some();
        assert!(known("one.example") && !known("other.example"));
        std::fs::write(&path, "other.example\nmore.example\n").unwrap();
        lists.reload();
        assert!(!known("one.example") && known("other.example"));
        std::fs::write(&path, "broken.example REJECT\n").unwrap();
        lists.reload();
        assert!(known("other.example"), "the old ones stay");
    }

    /// Lists as Debian's postgrey ships them, where they are.
    #[test]
    fn postgreys_own_files_load() {
        let folder = Path::new("/usr/share/postgrey");
        if !folder.exists() {
            return;
        }
        let clients = Lists::read(Subject::Clients, &[folder.join("whitelist_clients")]).unwrap();
        assert!(clients.state.load().1.entries.len() > 100);
        assert!(clients.client(IpAddr::from([66, 216, 126, 174]), None).is_some());
        assert!(clients.client(IpAddr::from([192, 0, 2, 1]), Some("mail17.telekom.de")).is_some());
        assert!(clients.client(IpAddr::from([192, 0, 2, 1]), Some("mail.example.org")).is_none());
        let recipients = Lists::read(Subject::Recipients, &[folder.join("whitelist_recipients")]).unwrap();
        assert!(recipients.recipient("abuse@example.org").is_some());
        assert!(recipients.recipient("user@example.org").is_none());
    }
}
