//! The same messages through real amavisd-new and through gatepost: replies, log lines and header fields are those of the
//! tables in the manual, so where the two differ, the manual says it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rig::*;

const PAGE: &str = "coming-from-amavis.md";
const PARTS: [&str; 4] = ["root", "amavisd", "clamd", "/usr/share/perl5/Mail/SpamAssassin.pm"];
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// What the manual says that amavis is told besides Debian's own configuration.
const SETTINGS: &str = "@bypass_spam_checks_maps = (0);\n$sa_local_tests_only = 1;\n$sa_tag_level_deflt = -999;\n\
    $sa_kill_level_deflt = 10;\n$final_spam_destiny = D_REJECT;\n@local_domains_maps = (['example.test']);\n";

/// The rows of the table behind `<!-- rig: NAME -->`, cells trimmed, without its head.
fn table(name: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src").join(PAGE);
    let text = std::fs::read_to_string(path).expect("the page");
    let marker = format!("<!-- rig: {name} -->");
    let lines = text.lines().skip_while(|line| *line != marker).skip(3);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "docs/src/{PAGE} has no table {name}");
    rows
}

/// The message of a row. Each has a subject of its own, by which it is found in logs.
fn message(name: &str) -> String {
    let subject = subject(name);
    let program = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xFF\xFF\0\0".repeat(20);
    let plain = || mail(&subject, "See there.");
    let attached = |file: &str, content: &[u8]| with_attachment(&subject, file, content);
    match name {
        "clean" => plain(),
        "forged fields" => format!("X-Spam-Flag: NO\nX-Virus-Scanned: by me\n{}", plain()),
        "EICAR in the body" => eicar_body(&subject),
        "EICAR in a zip" => attached("a.zip", &zip("a.txt", eicar().as_bytes(), false)),
        "a.exe" => attached("a.exe", &program),
        "a program called a.txt" => attached("a.txt", &program),
        "a.exe in a zip" => attached("a.zip", &zip("a.exe", &program, false)),
        "a.js" => attached("a.js", b"hello"),
        "a.iso" => attached("a.iso", b"hello"),
        "an encrypted zip" => attached("a.zip", &zip("a.txt", b"hello hello hello", true)),
        "GTUBE" => mail(&subject, GTUBE),
        "a header line of 1200 octets" => format!("X-Long: {}\n{}", "x".repeat(1192), plain()),
        "octets over 127 in the header" => format!("X-Eight: \u{e9}t\u{e9}\n{}", plain()),
        "a folded line of white space" => format!("X-Fold: a\n  \n b\n{}", plain()),
        "two Subject fields" => format!("Subject: another\n{}", plain()),
        "no Date field" => plain().replace("Date: Thu, 01 Jan 2026 00:00:00 +0000\n", ""),
        "a piece of a message" => plain().replace(
            "\n\n",
            "\nMIME-Version: 1.0\nContent-Type: message/partial; id=\"a\"; number=1; total=2\n\n",
        ),
        other => panic!("the manual's table has a message {other:?} that this test does not know"),
    }
}

/// Its Message-ID is made of it.
fn subject(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// A zip archive of one stored member (APPNOTE.TXT sections 4.3.7, 4.3.12 and 4.3.16). What is encrypted has twelve
/// octets before it (section 6.1); nobody here has the key, so nobody sees that there is none.
pub fn zip(name: &str, content: &[u8], encrypted: bool) -> Vec<u8> {
    let stored = [if encrypted { &b"no key here!"[..] } else { b"" }, content].concat();
    let packed = u32::try_from(stored.len()).expect("a small member");
    let crc = !content.iter().fold(u32::MAX, |crc, octet| {
        (0..8).fold(
            crc ^ u32::from(*octet),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 },
        )
    });
    let size = u32::try_from(content.len()).expect("a small member");
    let mut fields = vec![20, 0, u8::from(encrypted), 0, 0, 0, 0, 0, 0x21, 0x5C];
    for number in [crc, packed, size] {
        fields.extend(number.to_le_bytes());
    }
    fields.extend([u8::try_from(name.len()).expect("a short name"), 0, 0, 0]);
    let local = [b"PK\x03\x04", &fields[..], name.as_bytes(), &stored].concat();
    let central = [b"PK\x01\x02\x14\0", &fields[..], &[0; 14], name.as_bytes()].concat();
    let mut end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec();
    end.extend(u32::try_from(central.len()).expect("small").to_le_bytes());
    end.extend(u32::try_from(local.len()).expect("small").to_le_bytes());
    end.extend([0, 0]);
    [local, central, end].concat()
}

/// amavisd and gatepost with one clamd, each with a sink behind it.
struct Both {
    theirs: Sink,
    ours: Sink,
    amavis: Amavis,
    gatepost: Gatepost,
    /// gatepost's AM.PDP.
    pdp: PathBuf,
    /// A folder that both may read messages from.
    folder: PathBuf,
    _clamd: Clamd,
}

impl Both {
    fn start() -> Both {
        let clamd = Clamd::start();
        let (theirs, ours) = (Sink::start(), Sink::start());
        let amavis = Amavis::start(theirs.address, &clamd, SETTINGS);
        // amavis unpacks into the client's folder.
        let folder = amavis.quarantine().with_file_name("tmp").join("work");
        std::fs::create_dir(&folder).expect("a folder");
        give_to_amavis(&folder);
        let pdp = amavis.quarantine().with_file_name("gatepost.sock");
        let listener = format!(
            "[[listener]]\nprotocol = \"am-pdp\"\nlisten = [\"unix:{}\"]\nmail_folders = [{folder:?}]\n",
            pdp.display(),
        );
        let setup = Setup::to(ours.address).globally("domains = [\"example.test\"]");
        let gatepost = setup.with(&listener).with(&clamd.check()).start();
        Both { theirs, ours, amavis, gatepost, pdp, folder, _clamd: clamd }
    }

    /// The replies of both to a message: code and enhanced code.
    fn send(&self, content: &str) -> [String; 2] {
        [self.amavis.smtp, self.gatepost.smtp].map(|server| {
            let mut dialog = Dialog::connect(server);
            dialog.greet();
            let reply = dialog.message("sender@client.test", &["user@example.test"], content);
            reply.text.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ")
        })
    }

    /// The words of both log lines about a message: `Blocked INFECTED`.
    fn logged(&self, name: &str) -> [String; 2] {
        let id = format!("Message-ID: <{}@client.test>", subject(name));
        let logs: [&dyn Fn() -> String; 2] = [&|| self.amavis.log(), &|| self.gatepost.log()];
        logs.map(|log| {
            wait_for(&format!("a log line about {name}"), Duration::from_secs(20), || {
                let log = log();
                let line = log.lines().find(|line| line.contains(&id) && line.contains("mail_id:"))?;
                let at = line.find("Passed ").or(line.find("Blocked "))?;
                Some(line[at..].splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "))
            })
        })
    }

    /// What both say by AM.PDP: the return value, and the names of the fields they add.
    fn ask(&self, content: &str) -> [(String, Vec<String>); 2] {
        let file = self.folder.join("email.txt");
        std::fs::write(&file, content).expect("write");
        give_to_amavis(&file);
        let request = format!(
            "request=AM.PDP\nsender=<sender@client.test>\nrecipient=<user@example.test>\nclient_address=127.0.0.1\n\
             tempdir={}\ntempdir_removed_by=client\nmail_file={}\n\n",
            self.folder.display(),
            file.display(),
        );
        [&self.amavis.pdp, &self.pdp].map(|socket| {
            let mut stream = connect_unix(socket);
            stream.write_all(request.as_bytes()).expect("ask");
            stream.shutdown(std::net::Shutdown::Write).expect("no more questions");
            stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            let lines = |name: &str| -> Vec<&str> {
                answer.lines().filter_map(|line| line.strip_prefix(name)).collect()
            };
            let value = lines("return_value=").concat();
            // The last one inserted stands on top.
            let names = lines("insheader=").into_iter().rev().filter_map(|line| line.split(' ').nth(1));
            (value, names.map(str::to_owned).collect())
        })
    }
}

fn give_to_amavis(path: &Path) {
    let owner = nix::unistd::User::from_name("amavis").ok().flatten().expect("amavis's user");
    nix::unistd::chown(path, Some(owner.uid), Some(owner.gid)).expect("chown");
}

/// The fields of a message that are not those of every mail.
fn fields(mail: &Received) -> String {
    let text = mail.text();
    let head = text.split("\r\n\r\n").next().unwrap_or_default().to_owned();
    let usual = ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"];
    let names =
        head.lines().filter(|line| !line.starts_with([' ', '\t'])).filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name).filter(|name| !usual.contains(name)).collect::<Vec<_>>().join(", ")
}

/// Both differ where the manual says so and nowhere else, and by AM.PDP as by SMTP.
#[test]
fn replies_and_log_lines_are_those_of_the_manual() {
    if !needs(&PARTS) {
        return;
    }
    let both = Both::start();
    let rows = table("messages");
    assert!(rows.len() >= 17, "{}", rows.len());
    for row in &rows {
        let [name, amavis_replies, gatepost_replies, amavis_logs, gatepost_logs, _] = &row[..] else {
            panic!("{row:?}")
        };
        let content = message(name);
        assert_eq!(both.send(&content), [amavis_replies.as_str(), gatepost_replies], "{name}");
        assert_eq!(both.logged(name), [amavis_logs.as_str(), gatepost_logs], "{name}");
        let values = both.ask(&content).map(|(value, _)| value);
        let expected = [amavis_replies, gatepost_replies]
            .map(|reply| if reply.starts_with('2') { "continue" } else { "reject" });
        assert_eq!(values, expected, "{name} by AM.PDP");
    }
    let passed = |column: usize| rows.iter().filter(|row| row[column].starts_with('2')).count();
    assert_eq!((both.theirs.received().len(), both.ours.received().len()), (passed(1), passed(2)));
}

#[test]
fn added_fields_are_those_of_the_manual() {
    if !needs(&PARTS) {
        return;
    }
    let both = Both::start();
    for (count, row) in (1..).zip(table("fields")) {
        let [name, theirs, ours] = &row[..] else { panic!("{row:?}") };
        let content = message(name);
        both.send(&content);
        let got = [&both.theirs, &both.ours].map(|sink| fields(&sink.wait_received(count)[count - 1]));
        assert_eq!(got, [theirs.as_str(), ours], "{name}");
        // By AM.PDP both ask for the same, but for amavis's own Received, which belongs to SMTP.
        let asked = both.ask(&content).map(|(_, names)| names.join(", "));
        let theirs = theirs.replace(", Received, X-Virus-Scanned", "").replace(", Received", "");
        assert_eq!(asked, [theirs, ours.clone()], "{name} by AM.PDP");
    }
}

/// The same script prints the next hop's own words, whichever of the two it has asked.
#[test]
fn a_release_reads_alike() {
    if !needs(&PARTS) {
        return;
    }
    let clamd = Clamd::start();
    let sink = Sink::start();
    let settings = "$virus_quarantine_method = 'local:virus-%m';\n$auth_required_release = 0;\n\
                    $final_virus_destiny = D_DISCARD;\n";
    let amavis = Amavis::start(sink.address, &clamd, settings);
    let pdp = amavis.quarantine().with_file_name("gatepost.sock");
    let listener = format!("[[listener]]\nprotocol = \"am-pdp\"\nlisten = [\"unix:{}\"]\n", pdp.display());
    let hold = "[default_policy]\nactions.virus = \"quarantine\"\n";
    let gatepost = Setup::to(sink.address).with(&listener).with(hold).start();
    for server in [amavis.smtp, gatepost.smtp] {
        let mut dialog = Dialog::connect(server);
        dialog.greet();
        let reply = dialog.message("sender@client.test", &["user@example.test"], &eicar_body("bad"));
        assert_eq!(reply.code, 250, "{}", reply.text);
    }
    assert!(sink.received().is_empty());
    let theirs = wait_for("amavis's quarantine", Duration::from_secs(20), || {
        let log = amavis.log();
        log.split("quarantine: ").nth(1)?.split(',').next().map(str::to_owned)
    });
    let ours = gatepost.held(1)[0]["id"].as_str().expect("an id").to_owned();
    let script = std::fs::read_to_string(program("amavisd-release")).expect("the script");
    let port = sink.address.port();
    for (count, (socket, id, said)) in (1..).zip([
        (
            &amavis.pdp,
            theirs,
            format!("250 2.0.0 from MTA\\(smtp:\\[127.0.0.1\\]:{port}\\): 250 2.0.0 sink has it\n$"),
        ),
        (
            &pdp,
            ours.clone(),
            format!(
                "250 2.6.0 Ok, id=rel-{ours}, from MTA\\(\\[127.0.0.1\\]:{port}\\): 250 2.0.0 sink has it\n$"
            ),
        ),
    ]) {
        let own = format!("$socketname = '{}';", socket.display());
        let text = script.replace("$socketname = '/var/lib/amavis/amavisd.sock';", &own);
        let file = gatepost.folder().join("amavisd-release");
        std::fs::write(&file, text).expect("write");
        let mut command = std::process::Command::new(program("perl"));
        let output =
            command.arg("-T").arg(&file).arg(id).env("PATH", "/usr/bin:/bin").output().expect("perl runs");
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches(&said, &printed), "wanted {said}\n{printed}");
        assert!(sink.wait_received(count)[count - 1].text().contains(&eicar()));
    }
}
