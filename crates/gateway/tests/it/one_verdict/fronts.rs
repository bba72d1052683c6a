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
    /// Its name, which is its listener's.
    pub name: &'static str,
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
    front("smtp", |_| String::new(), smtp),
    front("lmtp", |place| taking(place, "lmtp", "lmtp"), lmtp),
    front("after queue", |place| taking(place, "after queue", "smtp") + "after_queue = true\n", after_queue),
    front("milter", |place| asked(place, "milter", "milter"), milter),
    front(
        "am-pdp",
        |place| asked(place, "am-pdp", "am-pdp") + &format!("mail_folders = [{:?}]\n", place.folder),
        am_pdp_front,
    ),
    front("spamd check", |place| asked(place, "spamd check", "spamd"), spamd_check),
    front("spamd process", |place| asked(place, "spamd process", "spamd"), spamd_process),
    Front { recipients: false, ..front("clamd", |place| asked(place, "clamd", "clamd"), clamd_front) },
    front("http", |place| asked(place, "http", "http"), http_front),
    front("filter", |place| asked(place, "filter", "http"), filter),
    front("queue", queue_folders, queue),
    Front { recipients: false, recorded: false, ..front("scan", |_| String::new(), scan) },
];

const fn front(name: &'static str, listen: fn(&Place) -> String, send: fn(&Place, &[&Letter])) -> Front {
    Front { name, recipients: true, recorded: true, listen, send }
}

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

/// A listener that is only asked about mail.
fn asked(place: &Place, name: &str, protocol: &str) -> String {
    let port = place.port(name);
    format!("[[listener]]\nname = {name:?}\nlisten = [\"{port}\"]\nprotocol = {protocol:?}\n")
}

/// A listener that takes mail.
fn taking(place: &Place, name: &str, protocol: &str) -> String {
    asked(place, name, protocol) + &format!("next_hop = [\"smtp://{}\"]\n", place.next_hop)
}

fn smtp(place: &Place, letters: &[&Letter]) {
    by_smtp(place.port("smtp"), letters);
}

fn after_queue(place: &Place, letters: &[&Letter]) {
    by_smtp(place.port("after queue"), letters);
}

fn by_smtp(to: SocketAddr, letters: &[&Letter]) {
    let mut dialog = Dialog::connect(to);
    dialog.greet();
    for letter in letters {
        say_letter(&mut dialog, letter);
        dialog.try_reply().unwrap_or_else(|error| panic!("{}: {error}", letter.name));
    }
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

fn milter(place: &Place, letters: &[&Letter]) {
    let mut client = MilterClient::connect(place.port("milter"));
    for letter in letters {
        client.message(&letter.sender, &letter.recipients, &letter.raw);
    }
}

fn am_pdp_front(place: &Place, letters: &[&Letter]) {
    let folder = place.folder.join("am-pdp");
    for letter in letters {
        let answer = am_pdp(place.port("am-pdp"), &folder, &letter.sender, &letter.recipients, &letter.raw);
        assert!(answer.iter().any(|line| line.starts_with("return_value=")), "{}: {answer:?}", letter.name);
    }
}

fn spamd_check(place: &Place, letters: &[&Letter]) {
    by_spamd(place.port("spamd check"), "CHECK", letters);
}

fn spamd_process(place: &Place, letters: &[&Letter]) {
    by_spamd(place.port("spamd process"), "PROCESS", letters);
}

fn by_spamd(to: SocketAddr, command: &str, letters: &[&Letter]) {
    for letter in letters {
        let (head, _) = spamd(to, command, &letter.recipients[0], &letter.raw);
        assert!(head.contains("\r\nSpam: "), "{}: {head}", letter.name);
    }
}

fn clamd_front(place: &Place, letters: &[&Letter]) {
    for letter in letters {
        let answer = clamd_stream(place.port("clamd"), &letter.raw);
        assert!(answer.ends_with(" OK") || answer.ends_with(" FOUND"), "{}: {answer}", letter.name);
    }
}

fn http_front(place: &Place, letters: &[&Letter]) {
    for letter in letters {
        let mut headers = vec![("ip", "127.0.0.1"), ("helo", "client.test"), ("from", &letter.sender)];
        headers.extend(letter.recipients.iter().map(|recipient| ("rcpt", recipient.as_str())));
        let (code, body) = http(place.port("http"), "POST", "/v1/scan", &headers, &letter.raw);
        assert_eq!(code, 200, "{}: {body}", letter.name);
    }
}

/// A process for each letter, two at a time.
fn filter(place: &Place, letters: &[&Letter]) {
    let config = place.config.to_string_lossy();
    let daemon = format!("http://{}", place.port("filter"));
    let one = |letter: &Letter| {
        let mut arguments = vec!["filter", "--exit", "-c", &config, "--daemon", &daemon];
        arguments.extend(["--client", "127.0.0.1", "--helo", "client.test", "--sender", &letter.sender]);
        letter.recipients.iter().for_each(|recipient| arguments.extend(["--recipient", recipient]));
        let output = run(&arguments, &letter.raw);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            matches!(output.status.code(), Some(0 | 77 | 99)),
            "{}: {:?} {told}",
            letter.name,
            output.status
        );
    };
    let (some, others) = letters.split_at(letters.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| some.iter().for_each(|letter| one(letter)));
        others.iter().for_each(|letter| one(letter));
    });
}

fn queue_folders(place: &Place) -> String {
    let [incoming, outgoing] = ["incoming", "outgoing"].map(|name| place.folder.join(name));
    for folder in [&incoming, &outgoing] {
        std::fs::create_dir_all(folder).expect("a queue folder");
    }
    format!("[[queue]]\nname = \"queue\"\nincoming = {incoming:?}\noutgoing = {outgoing:?}\ninterval = 1\n")
}

/// Pairs of files as Sendmail leaves them: the envelope and header in one, complete only when it has its name; lines end
/// in LF.
fn queue(place: &Place, letters: &[&Letter]) {
    let incoming = place.folder.join("incoming");
    for (number, letter) in letters.iter().enumerate() {
        let id = format!("uAL{number:011}");
        let (fields, body) = header_and_body(&letter.raw);
        let mut control = format!(
            "V8\nT1767225600\nK0\nN0\nP30000\nFs\n$_localhost [127.0.0.1]\n$rESMTP\n$sclient.test\n\
             ${{daemon_flags}}\n${{if_addr}}127.0.0.1\nS<{}>\n",
            letter.sender
        )
        .into_bytes();
        for recipient in &letter.recipients {
            control.extend(format!("rRFC822; {recipient}\nRPFD:<{recipient}>\n").into_bytes());
        }
        for field in fields {
            control.extend([b"H??".as_slice(), &field, b"\n"].concat());
        }
        control.extend(b".\n");
        std::fs::write(incoming.join(format!("df{id}")), unix_lines(body)).expect("write");
        std::fs::write(incoming.join(format!("tf{id}")), control).expect("write");
        std::fs::rename(incoming.join(format!("tf{id}")), incoming.join(format!("qf{id}"))).expect("rename");
    }
}

fn unix_lines(raw: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = raw.split(|&byte| byte == b'\n').collect();
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    lines.join(b"\n".as_slice())
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
