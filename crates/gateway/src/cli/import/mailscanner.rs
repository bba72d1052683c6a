//! MailScanner's rules about attachments: tables stay the files that they are, rulesets become policies.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::written::{Policy, list, set_name, text};
use super::{Imported, Notes};
use crate::checks::attachments::AttachmentRules;
use crate::config::typed::{AttachmentSet, Attachments};

/// Options that name tables, as MailScanner writes them without spaces and case, and the keys of a set.
const TABLES: [(&str, &str); 4] = [
    ("filenamerules", "mailscanner_filenames"),
    ("filetyperules", "mailscanner_filetypes"),
    ("archivesfilenamerules", "mailscanner_archive_filenames"),
    ("archivesfiletyperules", "mailscanner_archive_filetypes"),
];

/// Whether attachments are looked at; whether names that are allowed need no other check.
const SCANNED: &str = "dangerouscontentscanning";

/// Options that say what no file of rules says: lines to be written into one.
const SHORT: [&str; 12] = [
    "allowfilenames",
    "denyfilenames",
    "allowfiletypes",
    "denyfiletypes",
    "allowfilemimetypes",
    "denyfilemimetypes",
    "archivesallowfilenames",
    "archivesdenyfilenames",
    "archivesallowfiletypes",
    "archivesdenyfiletypes",
    "archivesallowfilemimetypes",
    "archivesdenyfilemimetypes",
];

/// Translates `MailScanner.conf` with what it names, and tables that are given by themselves.
pub(super) fn import(files: &[(PathBuf, String)]) -> Imported {
    let mut imported = Imported::default();
    let mut options = Options::default();
    let mut tables: [Vec<String>; 4] = Default::default();
    for (path, content) in files {
        match kind(path, content) {
            Kind::Options => options.read(path, content, &mut imported.notes),
            Kind::Table(place) => tables[place].push(path.display().to_string()),
            Kind::Ruleset => {
                let what = "a ruleset: give MailScanner.conf, which says what it is about";
                imported.notes.add(path, 1, what);
            }
        }
    }
    let settings = options.settings(&mut imported.notes, tables);
    imported.toml = settings.write(&mut imported.notes);
    imported
}

enum Kind {
    Options,
    /// Which of [`TABLES`].
    Table(usize),
    Ruleset,
}

/// What a file is, by its first line that says something.
fn kind(path: &Path, content: &str) -> Kind {
    let line = content.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let first = line.and_then(|line| line.split_whitespace().next()).unwrap_or_default().to_ascii_lowercase();
    let action =
        ["allow", "deny", "rename"].iter().any(|word| first.starts_with(word)) || first.contains('@');
    let option = content.lines().any(|line| {
        line.split_once('=').is_some_and(|(key, _)| TABLES.iter().any(|(known, _)| plain_key(key) == *known))
    });
    let ruleset = first.contains("from") || first.contains("to") || first.starts_with("virus");
    if option || first.starts_with('%') {
        return Kind::Options;
    }
    if !action && ruleset {
        return Kind::Ruleset;
    }
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    Kind::Table(usize::from(name.contains("filetype")) + 2 * usize::from(name.contains("archive")))
}

/// `Archives: Filename Rules` → `archivesfilenamerules`
fn plain_key(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// What `MailScanner.conf` says.
#[derive(Default)]
struct Options {
    /// By plain key: the value, variables replaced, and where it stands.
    values: HashMap<String, (String, PathBuf, usize)>,
}

impl Options {
    fn read(&mut self, path: &Path, content: &str, notes: &mut Notes) {
        self.lines(path, content, &mut HashMap::new());
        self.tell(notes);
    }

    fn lines(&mut self, path: &Path, content: &str, variables: &mut HashMap<String, String>) {
        for (place, line) in content.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(included) = line.strip_prefix("include ").map(str::trim) {
                for (path, content) in files_of(Path::new(included)) {
                    self.lines(&path, &content, variables);
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let mut value = value.split(" #").next().unwrap_or_default().trim().to_owned();
            for (name, with) in variables.iter() {
                value = value.replace(name, with);
            }
            match key.trim() {
                name if name.len() > 2 && name.starts_with('%') && name.ends_with('%') => {
                    variables.insert(name.to_owned(), value);
                }
                key => drop(self.values.insert(plain_key(key), (value, path.to_owned(), place + 1))),
            }
        }
    }

    /// Tells of options that no table says.
    fn tell(&self, notes: &mut Notes) {
        for key in SHORT {
            if let Some((value, path, line)) = self.values.get(key).filter(|(value, ..)| !value.is_empty()) {
                let what = format!(
                    "“{value}”: write a line for each expression at the beginning of the table of names or types"
                );
                notes.add(path, *line, what);
            }
        }
        if let Some((_, path, line)) =
            self.values.get("overridefiletypes").filter(|(value, ..)| value != "no")
        {
            notes.add(path, *line, "names that are allowed override no types: each table judges by itself");
        }
    }

    /// Each option for everybody and for whom it differs. `tables` were given by themselves.
    fn settings(&self, notes: &mut Notes, tables: [Vec<String>; 4]) -> Settings {
        let mut given = tables.into_iter();
        let options = TABLES.map(|(key, _)| {
            let mut option = self.option(key, notes);
            option.default = given.next().into_iter().flatten().chain(option.default).collect();
            option
        });
        let rename = self.values.get("defaultrenamepattern").map(|(value, ..)| value.clone());
        Settings { tables: options, scanned: self.option(SCANNED, notes), rename }
    }

    /// An option's value, or its ruleset.
    fn option(&self, key: &str, notes: &mut Notes) -> Choice {
        let Some((value, path, line)) = self.values.get(key) else { return Choice::default() };
        let words = || value.split_whitespace().map(str::to_owned).collect();
        let ruleset = value.ends_with(".rules") || (key == SCANNED && value.starts_with('/'));
        if !ruleset {
            return Choice { default: words(), rules: Vec::new() };
        }
        match super::read(Path::new(value)) {
            Ok(content) => ruleset_of(Path::new(value), &content, notes),
            Err(why) => {
                notes.add(path, *line, why);
                Choice::default()
            }
        }
    }
}

/// The files that `include` names: one, or all of a folder (`/etc/MailScanner/conf.d/*`). They include no others.
fn files_of(path: &Path) -> Vec<(PathBuf, String)> {
    let mut files = match (path.file_name(), path.parent()) {
        (Some(name), Some(folder)) if name == "*" => {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
        }
        _ => vec![path.to_owned()],
    };
    files.sort();
    let with_text = |path: PathBuf| {
        let text = super::read(&path).ok()?;
        let kept = text.lines().filter(|line| !line.trim_start().starts_with("include "));
        let text = kept.collect::<Vec<_>>().join("\n");
        Some((path, text))
    };
    files.into_iter().filter_map(with_text).collect()
}

/// A value for everybody, and others for some.
#[derive(Default)]
struct Choice {
    default: Vec<String>,
    rules: Vec<(Whom, Vec<String>)>,
}

impl Choice {
    /// The value for some: of the first rule that is for all of them.
    fn of(&self, whom: &Whom) -> &[String] {
        let found = self.rules.iter().find(|(of, _)| of.covers(whom));
        found.map_or(&self.default, |(_, value)| value)
    }
}

/// Whom a rule is for. What is empty is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Whom {
    sender: String,
    recipient: String,
    network: String,
}

impl Whom {
    fn covers(&self, other: &Whom) -> bool {
        let address = |own: &str, other: &str| {
            let domain = other.rsplit_once('@').map_or(other, |(_, domain)| domain);
            own.is_empty()
                || own == other
                || (!own.contains('@') && own == domain)
                || (own.starts_with('.') && domain.ends_with(own))
        };
        let network =
            |own: &str, other: &str| match (own.parse::<ipnet::IpNet>(), other.parse::<ipnet::IpNet>()) {
                (Ok(own), Ok(other)) => own.contains(&other),
                _ => own.is_empty() || own == other,
            };
        address(&self.sender, &other.sender)
            && address(&self.recipient, &other.recipient)
            && network(&self.network, &other.network)
    }
}

/// Reads a ruleset: a direction, a pattern, perhaps `and` and two more, a value.
fn ruleset_of(path: &Path, content: &str, notes: &mut Notes) -> Choice {
    let mut choice = Choice::default();
    for (place, line) in content.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(direction), Some(pattern)) = (words.next(), words.next()) else {
            notes.add(path, place + 1, "a rule has a direction, a pattern and a value");
            continue;
        };
        let mut rest: Vec<&str> = words.collect();
        let mut whom = whom(direction, pattern);
        if rest.first().is_some_and(|word| word.eq_ignore_ascii_case("and")) && rest.len() >= 3 {
            whom = whom.and_then(|first| both(first, self::whom(rest[1], rest[2])?));
            rest.drain(..3);
        }
        let value: Vec<String> = rest.into_iter().map(str::to_owned).collect();
        match whom {
            Ok(all) if all.contains(&Whom::default()) => choice.default = value,
            Ok(all) => choice.rules.extend(all.into_iter().map(|whom| (whom, value.clone()))),
            Err(why) => notes.add(path, place + 1, why),
        }
    }
    choice
}

/// Whom a direction and a pattern mean: any of these.
fn whom(direction: &str, pattern: &str) -> Result<Vec<Whom>, String> {
    let direction = direction.to_ascii_lowercase();
    let (from, to) = (direction.contains("from"), direction.contains("to"));
    if !from && !to {
        return Err(format!("“{direction}” is about neither senders nor recipients"));
    }
    if let Some(network) = network(pattern)? {
        return match (from, to) {
            (true, false) | (true, true) if !direction.contains("and") => {
                Ok(vec![Whom { network, ..Whom::default() }])
            }
            _ => Err("an address of a host is no recipient".into()),
        };
    }
    let address = address(pattern)?;
    let sender = Whom { sender: address.clone(), ..Whom::default() };
    let recipient = Whom { recipient: address.clone(), ..Whom::default() };
    Ok(match (from, to) {
        (true, true) if direction.contains("and") => vec![Whom { recipient: address, ..sender }],
        (true, true) if address.is_empty() => vec![Whom::default()],
        (true, true) => vec![sender, recipient],
        (true, false) => vec![sender],
        _ => vec![recipient],
    })
}

/// Who is meant by both.
fn both(first: Vec<Whom>, second: Vec<Whom>) -> Result<Vec<Whom>, String> {
    let one = |own: &str, other: &str| match (own, other) {
        ("", other) => Ok(other.to_owned()),
        (own, "") => Ok(own.to_owned()),
        (own, other) if own == other => Ok(own.to_owned()),
        _ => Err("two conditions about the same".to_owned()),
    };
    let mut all = Vec::new();
    for a in &first {
        for b in &second {
            all.push(Whom {
                sender: one(&a.sender, &b.sender)?,
                recipient: one(&a.recipient, &b.recipient)?,
                network: one(&a.network, &b.network)?,
            });
        }
    }
    Ok(all)
}

/// A pattern for addresses in our form; empty for all.
fn address(pattern: &str) -> Result<String, String> {
    let lower = pattern.to_lowercase();
    let unclear = || {
        format!(
            "“{pattern}” cannot be a condition of a policy: write user@example.org, *@example.org or *@*.example.org"
        )
    };
    if matches!(lower.as_str(), "default" | "*" | "*@*") {
        return Ok(String::new());
    }
    if lower.starts_with('/') || lower.starts_with("host") || lower.starts_with('_') {
        return Err(unclear());
    }
    let (local, domain) = lower.rsplit_once('@').unwrap_or(("*", &lower));
    let good = |text: &str| !text.is_empty() && !text.contains(['*', '/', ':', '<', '>', '"']);
    match (local, domain.strip_prefix("*.")) {
        ("*" | "", Some(below)) if good(below) => Ok(format!(".{below}")),
        ("*" | "", None) if good(domain) => Ok(domain.to_owned()),
        (local, None) if good(local) && good(domain) => Ok(lower.clone()),
        _ => Err(unclear()),
    }
}

/// A pattern for clients as a network; None if it is one for addresses.
fn network(pattern: &str) -> Result<Option<String>, String> {
    let numeric = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/' | '-');
    let begins = pattern.starts_with(|c: char| c.is_ascii_digit() || c == ':') || pattern.contains(':');
    if !begins || !pattern.chars().all(numeric) {
        return Ok(None);
    }
    let unclear = || format!("“{pattern}” is no network such as 192.0.2.0/24");
    if let Ok(address) = pattern.parse::<IpAddr>() {
        return Ok(Some(ipnet::IpNet::from(address).to_string()));
    }
    let (address, bits) = pattern.split_once('/').map_or((pattern, None), |(net, bits)| (net, Some(bits)));
    let octets: Vec<u8> = address
        .trim_end_matches('.')
        .split('.')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if octets.is_empty() || octets.len() > 4 {
        return pattern
            .parse::<ipnet::IpNet>()
            .map(|net| Some(net.trunc().to_string()))
            .map_err(|_| unclear());
    }
    let prefix = match bits {
        None => Ok(u8::try_from(octets.len() * 8).unwrap_or(32)),
        Some(mask) if mask.contains('.') => {
            let mask: IpAddr = mask.parse().map_err(|_| unclear())?;
            ipnet::ip_mask_to_prefix(mask).map_err(|_| unclear())
        }
        Some(bits) => bits.parse().map_err(|_| unclear()),
    }?;
    let at = |place: usize| octets.get(place).copied().unwrap_or(0);
    let address = IpAddr::from([at(0), at(1), at(2), at(3)]);
    ipnet::IpNet::new(address, prefix).map(|net| Some(net.trunc().to_string())).map_err(|_| unclear())
}

/// All that was read.
struct Settings {
    tables: [Choice; 4],
    scanned: Choice,
    rename: Option<String>,
}

impl Settings {
    fn write(&self, notes: &mut Notes) -> String {
        let mut sets: Vec<([Vec<String>; 4], String)> = Vec::new();
        let mut policies: Vec<Policy> = Vec::new();
        let mut seen: Vec<&Whom> = Vec::new();
        let choices = || self.tables.iter().chain([&self.scanned]);
        for (whom, _) in choices().flat_map(|choice| &choice.rules) {
            if seen.contains(&whom) {
                continue;
            }
            seen.push(whom);
            let one =
                |text: &String| Some(text.clone()).filter(|text| !text.is_empty()).into_iter().collect();
            let said =
                [&whom.recipient, &whom.sender, &whom.network].into_iter().filter(|text| !text.is_empty());
            policies.push(Policy {
                name: format!("mailscanner {}", said.cloned().collect::<Vec<_>>().join(" ")),
                recipients: one(&whom.recipient),
                senders: one(&whom.sender),
                networks: one(&whom.network),
                attachments: self.sets(whom, &mut sets),
                banned: None,
            });
        }
        let mut names: BTreeMap<String, u32> = BTreeMap::new();
        let mut out = String::new();
        for policy in &mut policies {
            let count = names.entry(policy.name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                let _ = write!(policy.name, " ({count})");
            }
            policy.write(&mut out);
        }
        out.push_str("# With \"default\" in it, too, gatepost's built-in list counts as well.\n");
        let everybody = Whom::default();
        let attachments = self.sets(&everybody, &mut sets);
        Policy { attachments, ..Policy::default() }.write_default("", &mut out);
        self.write_sets(&sets, &mut out);
        self.try_out(&sets, notes);
        out
    }

    /// The sets that count for some.
    fn sets(&self, whom: &Whom, sets: &mut Vec<([Vec<String>; 4], String)>) -> Vec<String> {
        let files = self.tables.each_ref().map(|choice| choice.of(whom).to_vec());
        let off = self.scanned.of(whom).first().is_some_and(|value| value.eq_ignore_ascii_case("no"));
        if off || files.iter().all(Vec::is_empty) {
            return Vec::new();
        }
        if let Some((_, name)) = sets.iter().find(|(known, _)| *known == files) {
            return vec![name.clone()];
        }
        let taken: Vec<String> = sets.iter().map(|(_, name)| name.clone()).collect();
        let name = set_name("mailscanner", &taken);
        sets.push((files, name.clone()));
        vec![name]
    }

    fn write_sets(&self, sets: &[([Vec<String>; 4], String)], out: &mut String) {
        for (files, set) in sets {
            // Writing to a string does not fail.
            let _ = writeln!(out, "[checks.attachments.set.{set}]");
            for ((_, key), files) in TABLES.iter().zip(files).filter(|(_, files)| !files.is_empty()) {
                let _ = writeln!(out, "{key} = {}", list(files));
            }
            if let Some(rename) = &self.rename {
                let _ = writeln!(out, "mailscanner_rename = {}", text(rename));
            }
            out.push('\n');
        }
    }

    /// Reads the tables as the daemon would, and tells of what it would not take.
    fn try_out(&self, sets: &[([Vec<String>; 4], String)], notes: &mut Notes) {
        let set = |(files, name): &([Vec<String>; 4], String)| {
            let [names, types, packed_names, packed_types] =
                files.each_ref().map(|files| files.iter().map(PathBuf::from).collect());
            let mut set = AttachmentSet {
                mailscanner_filenames: names,
                mailscanner_filetypes: types,
                mailscanner_archive_filenames: packed_names,
                mailscanner_archive_filetypes: packed_types,
                ..AttachmentSet::default()
            };
            if let Some(rename) = &self.rename {
                set.mailscanner_rename.clone_from(rename);
            }
            (name.clone(), set)
        };
        let typed = Attachments { set: sets.iter().map(set).collect(), ..Attachments::default() };
        for problem in AttachmentRules::build(&typed).err().unwrap_or_default() {
            if !notes.0.contains(&problem.message) {
                notes.0.push(problem.message);
            }
        }
    }
}
