//! The fronts as a table: how each is configured, and how a letter is sent through it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;

use super::letters::Letter;
use crate::rig::*;

/// A way in.
pub struct Front {
    /// Its name here.
    pub name: &'static str,
    /// What its records call the listener.
    pub listener: &'static str,
    /// Its records tell for whom each letter was.
    pub recipients: bool,
    /// Its verdicts are in the journal; if not, [`Place::told`] has them.
    pub recorded: bool,
    /// Its part of the configuration.
    pub listen: fn(&Place) -> String,
    /// Sends letters through it, one after the other unless the journal tells for whom each was.
    pub send: fn(&Place, &[&Letter]),
}

/// All of them.
pub const FRONTS: &[Front] = &[
    Front {
        name: "smtp",
        listener: "smtp",
        recipients: true,
        recorded: true,
        listen: |_| String::new(),
        send: smtp,
    },
    Front {
        name: "lmtp",
        listener: "lmtp",
        recipients: true,
        recorded: true,
        listen: listen_lmtp,
        send: lmtp,
    },
    Front {
        name: "scan",
        listener: "scan",
        recipients: false,
        recorded: false,
        listen: |_| String::new(),
        send: scan,
    },
];

/// Where the fronts of the daemon are.
pub struct Place {
    ports: BTreeMap<&'static str, SocketAddr>,
    next_hop: SocketAddr,
    folder: PathBuf,
    config: PathBuf,
    told: Mutex<BTreeMap<&'static str, BTreeMap<usize, Value>>>,
}

impl Place {
    /// A port for each front; `folder` is for whatever they need.
    pub fn new(folder: &Path, next_hop: SocketAddr) -> Place {
        Place {
            ports: FRONTS.iter().map(|front| (front.name, free_address())).collect(),
            next_hop,
            folder: folder.to_owned(),
            config: PathBuf::new(),
            told: Mutex::default(),
        }
    }

    /// The daemon runs.
    pub fn started(&mut self, gatepost: &Gatepost) {
        self.ports.insert("smtp", gatepost.smtp);
        self.config = gatepost.config();
    }

    fn port(&self, front: &str) -> SocketAddr {
        self.ports[front]
    }

    /// What a front that is not in the journal said itself: a record for each letter, by its place among those sent.
    pub fn told(&self, front: &Front) -> Vec<Value> {
        let told = self.told.lock().expect("what was told");
        told.get(front.name).map(|records| records.values().cloned().collect()).unwrap_or_default()
    }
}

fn listener(place: &Place, name: &str, protocol: &str, more: &str) -> String {
    let port = place.port(name);
    format!("[[listener]]\nname = \"{name}\"\nlisten = [\"{port}\"]\nprotocol = \"{protocol}\"\n{more}\n")
}

fn smtp(place: &Place, letters: &[&Letter]) {
    let mut dialog = Dialog::connect(place.port("smtp"));
    dialog.greet();
    for letter in letters {
        say_letter(&mut dialog, letter);
        dialog.try_reply().unwrap_or_else(|error| panic!("{}: {error}", letter.name));
    }
}

fn listen_lmtp(place: &Place) -> String {
    listener(place, "lmtp", "lmtp", &format!("next_hop = [\"smtp://{}\"]", place.next_hop))
}

fn lmtp(place: &Place, letters: &[&Letter]) {
    let mut dialog = Dialog::connect(place.port("lmtp"));
    dialog.expect("220 ");
    dialog.say("LHLO client.test", "250");
    for letter in letters {
        say_letter(&mut dialog, letter);
        for recipient in &letter.recipients {
            dialog.try_reply().unwrap_or_else(|error| panic!("{} for {recipient}: {error}", letter.name));
        }
    }
}

/// Envelope and message, up to the final dot. Only CRLF ends a line.
fn say_letter(dialog: &mut Dialog, letter: &Letter) {
    dialog.say(&format!("MAIL FROM:<{}>", letter.sender), "250");
    for recipient in &letter.recipients {
        dialog.say(&format!("RCPT TO:<{recipient}>"), "250");
    }
    dialog.say("DATA", "354");
    let mut stuffed = Vec::with_capacity(letter.raw.len() + 64);
    let mut rest = letter.raw.as_slice();
    while !rest.is_empty() {
        if rest[0] == b'.' {
            stuffed.push(b'.');
        }
        let end = memchr::memmem::find(rest, b"\r\n").map_or(rest.len(), |end| end + 2);
        stuffed.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
    }
    if !stuffed.is_empty() && !stuffed.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    dialog.raw(&stuffed);
}

/// `gatepost scan` judges files by itself, without the daemon: all at once that have the same envelope but for names.
fn scan(place: &Place, letters: &[&Letter]) {
    let config = place.config.to_string_lossy().into_owned();
    let mut groups: BTreeMap<(String, Vec<String>), PathBuf> = BTreeMap::new();
    for (number, letter) in letters.iter().enumerate() {
        let domain = |address: &String| address.split('@').nth(1).map(|domain| format!("someone@{domain}"));
        let group = (letter.sender.clone(), letter.recipients.iter().filter_map(domain).collect());
        let count = groups.len();
        let folder = groups.entry(group).or_insert_with(|| place.folder.join(format!("scan{count}")));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{number:05}.eml")), &letter.raw).expect("write");
    }
    let mut records = BTreeMap::new();
    for ((sender, recipients), folder) in &groups {
        let mut arguments = vec!["scan", "--json", "-c", &config, "--client", "127.0.0.1", "--from", sender];
        recipients.iter().for_each(|recipient| arguments.extend(["--to", recipient]));
        let folder = folder.to_string_lossy();
        arguments.push(&folder);
        let output = run(&arguments, b"");
        for record in serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>() {
            let record =
                record.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
            let name = Path::new(record["file"].as_str().expect("a file name"));
            let number = name.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("a number");
            records.insert(number, record);
        }
    }
    place.told.lock().expect("what was told").insert("scan", records);
}

/// The suites' mails, where GATEPOST_SUITES names their folder.
pub fn suites() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("GATEPOST_SUITES").map(PathBuf::from) else { return Vec::new() };
    let suites = [
        "mime-evasion",
        "mime4j/testmsgs",
        "mime4j/mimetools-testmsgs",
        "spamassassin/spam",
        "spamassassin/nice",
    ];
    let entries =
        suites.iter().filter_map(|suite| std::fs::read_dir(folder.join(suite)).ok()).flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}
