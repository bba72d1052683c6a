//! In the place of clamd: real clients, a real clamd beside, and gatepost as the client of gatepost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::rig::*;

/// A running gatepost in the place of clamd, on TCP and on a unix socket.
struct Front {
    gatepost: Gatepost,
    tcp: SocketAddr,
    socket: PathBuf,
    // Of the socket; last, so that the process is gone before it is.
    folder: tempfile::TempDir,
}

fn front(listener: &str, tables: &str) -> Front {
    let (folder, tcp) = (folder(), free_address());
    let socket = folder.path().join("clamd.sock");
    let listener = format!(
        "[[listener]]\nprotocol = \"clamd\"\nlisten = [\"{tcp}\", \"unix:{}\"]\n{listener}\n",
        socket.display()
    );
    let gatepost = Setup::default().with(&listener).with(tables).start();
    let front = Front { gatepost, tcp, socket, folder };
    front.wait();
    front
}

impl Front {
    fn wait(&self) {
        wait_for("the clamd listener", START, || {
            (answers(self.tcp) && UnixStream::connect(&self.socket).is_ok()).then_some(())
        });
    }

    fn client(&self, scheme: &str) -> PathBuf {
        let config = self.folder.path().join(format!("{scheme}.conf"));
        let text = match scheme {
            "tcp" => format!("TCPSocket {}\nTCPAddr 127.0.0.1\n", self.tcp.port()),
            _ => docs::block_with(
                "as-clamd.md",
                "clamdscan",
                &[("/run/gatepost/clamd.sock", self.socket.display().to_string())],
            ),
        };
        std::fs::write(&config, text).expect("write");
        config
    }
}

fn spawn_clamdscan(config: &Path, options: &[&str], path: &Path) -> Child {
    Command::new(program("clamdscan"))
        .arg("-c")
        .arg(config)
        .args(["--no-summary"])
        .args(options)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("clamdscan runs")
}

/// Exit status and what it says.
fn clamdscan(config: &Path, options: &[&str], path: &Path) -> (i32, String) {
    let output = spawn_clamdscan(config, options, path).wait_with_output().expect("it ends");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compress");
    encoder.finish().expect("compress")
}

/// A folder with files that are clean, and some that are not. Also what a client on TCP sends.
fn samples() -> tempfile::TempDir {
    let folder = folder();
    let write =
        |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).expect("write");
    write("clean.txt", b"hello\n");
    write("empty", b"");
    write("eicar.com", eicar().as_bytes());
    write("eicar.gz", &gzip(eicar().as_bytes()));
    write("mail.eml", with_attachment("x", "a.gz", &gzip(eicar().as_bytes())).as_bytes());
    write("clean.eml", mail("clean", "hello").as_bytes());
    folder
}

#[test]
fn stray_line_endings_are_refused_where_that_is_wanted() {
    if !needs(&["clamdscan"]) {
        return;
    }
    let front = front("", "[limits]\nstray_line_endings = \"refuse\"\n");
    let mail = mail("a", "one\ntwo");
    for (content, code, told) in
        [(mail.clone(), 0, "OK"), (mail.replacen('\n', "\r\n", 3), 2, "Message has bare CR or LF")]
    {
        let file = front.folder.path().join("mail.eml");
        std::fs::write(&file, content).expect("write");
        let (found, said) = clamdscan(&front.client("unix"), &["--fdpass"], &file);
        assert!(found == code && said.contains(told), "{said}");
    }
}

#[test]
fn clamdscan_by_every_transfer() {
    if !needs(&["clamdscan"]) {
        return;
    }
    let samples = samples();
    let front = front(&format!("scan_folders = [{:?}]", samples.path()), "");
    let (tcp, unix) = (front.client("tcp"), front.client("unix"));
    let transfers: &[(&Path, &[&str])] = &[
        (&unix, &["--fdpass"]),
        (&unix, &["--fdpass", "--multiscan"]),
        (&unix, &["--stream"]),
        (&unix, &[]),
        (&unix, &["--multiscan"]),
        (&tcp, &["--stream"]),
        (&tcp, &["--stream", "--multiscan"]),
        (&tcp, &[]),
    ];
    for (config, options) in transfers {
        for (name, code) in [
            ("clean.txt", 0),
            ("empty", 0),
            ("clean.eml", 0),
            ("eicar.com", 1),
            ("eicar.gz", 1),
            ("mail.eml", 1),
        ] {
            let path = samples.path().join(name);
            let (found, text) = clamdscan(config, options, &path);
            let says = if code == 1 { "Eicar-Test-Signature FOUND" } else { "OK" };
            let line = format!("{}: {says}", path.display());
            assert!(found == code && text.contains(&line), "{options:?} {name}: {found} {text}");
        }
        let (found, text) = clamdscan(config, options, samples.path());
        assert_eq!((found, text.matches(" FOUND").count()), (1, 3), "{options:?}: {text}");
        assert!(!text.contains("ERROR"), "{options:?}: {text}");
    }
    // What is not allowed by name can still be handed over open.
    let other = folder();
    std::fs::write(other.path().join("eicar.com"), eicar()).expect("write");
    let (code, text) = clamdscan(&unix, &[], other.path());
    assert!(code == 2 && text.contains("Access denied. ERROR"), "{code} {text}");
    assert_eq!(clamdscan(&unix, &["--fdpass"], other.path()).0, 1);
    let (code, text) = clamdscan(&unix, &["--ping", "1"], other.path());
    assert!(code == 0 && text.contains("PONG"), "{code} {text}");
    let records = front.gatepost.records(20);
    assert!(records.iter().all(|record| record["listener"] == "clamd"));
    assert!(
        front.gatepost.log().contains("Advised INFECTED (Eicar-Test-Signature (embedded yara)) {refuse}")
    );
}

/// Sends all of it, ends, and reads to the end.
fn ask(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    // It may be answered, and closed, before all was sent.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stream(begin: &str, content: &[u8]) -> Vec<u8> {
    let mut request = begin.as_bytes().to_vec();
    for frame in content.chunks(50) {
        request.extend_from_slice(&u32::try_from(frame.len()).expect("a short frame").to_be_bytes());
        request.extend_from_slice(frame);
    }
    request.extend_from_slice(&[0; 4]);
    request
}

/// Without what must differ: that our signatures are not official, the version, and figures. clamd works on the commands
/// of a session side by side and answers as they are done; in the order of their numbers they are alike.
fn alike(answer: &[u8]) -> String {
    let text = text(answer).replace(".UNOFFICIAL", "");
    let version = |line: &str| match line.split_once("ClamAV ") {
        Some((before, _)) => format!("{before}ClamAV …"),
        None => line.to_owned(),
    };
    let mut pieces: Vec<String> = text.split_inclusive(['\0', '\n']).map(version).collect();
    let number = |piece: &String| piece.split_once(": ").and_then(|(number, _)| number.parse::<u32>().ok());
    if pieces.iter().all(|piece| number(piece).is_some()) {
        pieces.sort_by_key(number);
    }
    match pieces.iter().any(|piece| piece.starts_with("POOLS") || piece.contains(": POOLS")) {
        true => format!("{} … {}", pieces[0], pieces.last().map(String::as_str).unwrap_or_default()),
        false => pieces.concat(),
    }
}

#[test]
fn the_same_sessions_with_a_real_clamd() {
    if !needs(&["clamd"]) {
        return;
    }
    let (clamd, samples) = (Clamd::start(), samples());
    let front = front(&format!("scan_folders = [{:?}]", samples.path()), "");
    let at = |name: &str| samples.path().join(name).display().to_string();
    let (eicar_com, clean) = (at("eicar.com"), at("clean.txt"));
    let virus = eicar();
    let mut sessions: Vec<Vec<u8>> = [
        "PING",
        "PING\n",
        "PING\r\n",
        "nPING\n",
        "zPING\0",
        "zPING\n",
        "nPING\r\n",
        "zping\0",
        "FOO\n",
        "zFOO\0",
        "zVERSION\0",
        "VERSION\n",
        "VERSIONCOMMANDS\n",
        "zSTATS\0",
        "nSTATS\n",
        "STATS\n",
        "zRELOAD\0",
        "zSCAN\0",
        "zPING x\0",
        "PINGx\n",
        "zEND\0",
        "zPING\0zPING\0",
        "zDETSTATS\0",
        "INSTREAM\n",
        "",
        "zIDSESSION\0zPING\0zVERSION\0zEND\0",
        "zIDSESSION\0zFOO\0zPING\0",
        "zIDSESSION\0zCONTSCAN /\0zPING\0",
        "nIDSESSION\nnPING\nnPING\nnEND\n",
        "zIDSESSION\0zIDSESSION\0zPING\0zEND\0",
        "zIDSESSION\0zSTATS\0zEND\0",
        "zIDSESSION\0zPING\0",
    ]
    .iter()
    .map(|session| session.as_bytes().to_vec())
    .collect();
    for command in ["SCAN", "CONTSCAN", "MULTISCAN"] {
        for (begin, end) in [("", "\n"), ("z", "\0"), ("n", "\n")] {
            for path in [&eicar_com, &clean, &at("none")] {
                sessions.push(format!("{begin}{command} {path}{end}").into_bytes());
            }
        }
    }
    sessions.extend([
        format!("zALLMATCHSCAN {eicar_com}\0").into_bytes(),
        stream("zINSTREAM\0", virus.as_bytes()),
        stream("nINSTREAM\n", b"hello"),
        stream("zINSTREAM\0", b""),
        b"zINSTREAM\0\0\0\0\x09hello".to_vec(),
        [stream("zIDSESSION\0zINSTREAM\0", virus.as_bytes()), format!("zSCAN {clean}\0zEND\0").into_bytes()]
            .concat(),
    ]);
    for session in &sessions {
        let (theirs, ours) = (ask(clamd.tcp, session), ask(front.tcp, session));
        assert_eq!(alike(&ours), alike(&theirs), "{:?}", text(session));
    }
    // It would end itself.
    assert_eq!(text(&ask(front.tcp, b"zSHUTDOWN\0")), "COMMAND UNAVAILABLE\0");
    assert!(text(&ask(front.tcp, b"zVERSION\0")).starts_with("ClamAV gatepost-"));
    assert!(text(&ask(front.tcp, b"zVERSIONCOMMANDS\0")).contains("| COMMANDS: SCAN RELOAD PING"));
}

#[test]
fn verdicts_as_a_scanner_tells_them() {
    let program = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0".as_slice();
    let (banned, spam) = (
        with_attachment("x", "invoice.pdf.exe", program),
        mail("spam", "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"),
    );
    let away = "[checks.clamd.main]\nsocket = \"unix:/nonexistent/clamd.sock\"\n";
    let lenient = "[default_policy]\nactions = {virus = \"deliver\"}\n";
    let strict = "[default_policy]\nactions = {unchecked = \"refuse\"}\n";
    let piece = "Content-Type: message/partial; id=\"x\"; number=1; total=2\n";
    let piece = mail("x", "x").replacen("Subject", &format!("{piece}Subject"), 1);
    let packed = with_attachment("x", "a.gz", &gzip(eicar().as_bytes()));
    // What its first fields are shall not decide whether it is opened.
    let odd = format!("{}{packed}", "X-Odd: field\n".repeat(500));
    let only_odd = odd.replace("From:", "X-From:").replace("To:", "X-To:").replace("Subject:", "X-Subject:");
    for (listener, tables, content, answer) in [
        ("", "", &eicar_body("x"), "stream: Eicar-Test-Signature FOUND\0"),
        ("", lenient, &eicar_body("x"), "stream: Eicar-Test-Signature FOUND\0"),
        ("", away, &eicar_body("x"), "stream: Eicar-Test-Signature FOUND\0"),
        ("", "", &spam, "stream: OK\0"),
        ("", away, &spam, "stream: Not looked at by clamd:main: unavailable. ERROR\0"),
        ("", away, &mail("x", "x"), "stream: Not looked at by clamd:main: unavailable. ERROR\0"),
        ("", &format!("{away}on_fault = \"accept\"\n"), &mail("x", "x"), "stream: OK\0"),
        ("", "", &banned, "stream: OK\0"),
        ("report_banned = true", "", &banned, "stream: Gatepost.Banned.invoice.pdf.exe FOUND\0"),
        ("", "", &odd, "stream: Eicar-Test-Signature FOUND\0"),
        ("", "", &only_odd, "stream: Eicar-Test-Signature FOUND\0"),
        ("", "", &piece, "stream: OK\0"),
        ("", strict, &piece, "stream: Gatepost.Unchecked.MESSAGE_PARTIAL FOUND\0"),
        ("", &strict.replace("refuse", "defer"), &piece, "stream: Not looked into. ERROR\0"),
        (
            "",
            "[limits]\nmessage_size = \"100 B\"\n",
            &mail("x", &"x".repeat(200)),
            "INSTREAM size limit exceeded. ERROR\0",
        ),
    ] {
        let front = front(listener, tables);
        let found = text(&ask(front.tcp, &stream("zINSTREAM\0", content.as_bytes())));
        assert_eq!(found, answer, "{listener} {tables}");
    }
}

#[test]
fn gatepost_asks_gatepost() {
    let front = front("", "");
    let sink = Sink::start();
    for socket in [format!("unix:{}", front.socket.display()), format!("tcp:{}", front.tcp)] {
        let check = format!(
            "[checks.embedded]\nenabled = false\n[checks.clamd.other]\nsocket = \"{socket}\"\nscan = \"parts\"\n"
        );
        let asking = Setup::to(sink.address).with(&check).start();
        let mut dialog = asking.connect();
        dialog.greet();
        let to = ["user@example.test"];
        let before = sink.received().len();
        for _ in 0..3 {
            assert_eq!(dialog.message("a@client.test", &to, &mail("one", "hello")).code, 250, "{socket}");
        }
        let reply = dialog.message("a@client.test", &to, &eicar_body("two"));
        assert!(reply.text.contains("Eicar-Test-Signature"), "{socket}: {}", reply.text);
        let packed = with_attachment("three", "a.gz", &gzip(eicar().as_bytes()));
        assert_eq!(dialog.message("a@client.test", &to, &packed).code, 550, "{socket}");
        assert_eq!(sink.received().len(), before + 3);
        let record = asking.records(5).pop().expect("a record");
        assert!(record.to_string().contains("(clamd other)"), "{record:#}");
    }
}

#[test]
fn when_gatepost_is_not_there_the_one_that_asks_it_defers() {
    let mut front = front("", "");
    let sink = Sink::start();
    let check = format!("[checks.clamd.other]\nsocket = \"tcp:{}\"\n", front.tcp);
    let asking = Setup::to(sink.address).with(&check).start();
    front.gatepost.kill();
    let mut dialog = asking.connect();
    dialog.greet();
    let reply = dialog.message("a@client.test", &["user@example.test"], &mail("one", "hello"));
    assert_eq!(reply.code, 451, "{}", reply.text);
    assert!(sink.received().is_empty());
}

#[test]
fn killed_in_the_middle_or_not_there() {
    if !needs(&["clamdscan", "clamd"]) {
        return;
    }
    let (clamd, samples) = (Clamd::start(), samples());
    // A file that was clean before would not be asked about again.
    let mut front = front("", &format!("{}[checks.verdict_cache]\nenabled = false\n", clamd.check()));
    let path = samples.path().join("clean.txt");
    for (scheme, option) in [("unix", "--fdpass"), ("tcp", "--stream")] {
        front.gatepost.restart();
        front.wait();
        let config = front.client(scheme);
        assert_eq!(clamdscan(&config, &[option], &path).0, 0);
        clamd.hang();
        let mut child = spawn_clamdscan(&config, &[option], &path);
        std::thread::sleep(Duration::from_secs(1));
        assert!(child.try_wait().expect("its state").is_none(), "{option}: it waits for the scanner");
        front.gatepost.kill();
        let output = child.wait_with_output().expect("it ends");
        clamd.go_on();
        assert_eq!(output.status.code(), Some(2), "{option}: {}", text(&output.stdout));
        assert_eq!(clamdscan(&config, &[option], &path).0, 2, "{option}, not there");
    }
}

#[test]
fn slow_clients_have_an_end() {
    let front = front("", "[limits]\ncommand_time = 1\ndata_time = 1\nmessage_time = 3\n");
    let start = Instant::now();
    for (what, begin, then) in [
        ("silent", "", ""),
        ("in a command", "zINSTR", ""),
        ("in a session", "zIDSESSION\0", ""),
        ("in a frame", "zINSTREAM\0\0\0\x01\0xyz", ""),
        ("a byte at a time", "zINSTREAM\0\0\0\x01\0xyz", "x"),
    ] {
        let mut stream = TcpStream::connect(front.tcp).expect("connect");
        stream.write_all(begin.as_bytes()).expect("send");
        stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a time limit");
        let mut answer = Vec::new();
        wait_for(what, Duration::from_secs(20), || {
            let _ = stream.write_all(then.as_bytes());
            let mut piece = [0; 200];
            match stream.read(&mut piece) {
                Ok(0) => Some(()),
                Ok(read) => {
                    answer.extend_from_slice(&piece[..read]);
                    None
                }
                Err(error) => (error.kind() == std::io::ErrorKind::ConnectionReset).then_some(()),
            }
        });
        assert_eq!(text(&answer), "COMMAND READ TIMED OUT\n", "{what}");
    }
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
}

#[test]
fn the_documented_acl_of_exim() {
    if !needs(&["root", "exim"]) {
        return;
    }
    let (sink, folder) = (Sink::start(), folder());
    let scan = folder.path().join("none");
    let mut front = front(&format!("scan_folders = [\"/tmp\", {scan:?}]"), "");
    let tcp = ("3310", front.tcp.port().to_string());
    let unix = ("/run/gatepost/clamd.sock", front.socket.display().to_string());
    let to = ["user@example.test"];
    let mut received = 0;
    for (block, own) in [("exim main", tcp), ("exim socket", unix)] {
        let exim = EximSetup::to(sink.address)
            .with(&docs::block_with("as-clamd.md", block, &[own]))
            .at_data(&docs::block("as-clamd.md", "exim acl"))
            .start();
        let mut dialog = Dialog::connect(exim.smtp);
        dialog.greet();
        let reply = dialog.message("sender@client.test", &to, &mail("clean", "hello"));
        assert!(reply.text.starts_with("250 OK id="), "{block}: {}", reply.text);
        let packed = with_attachment("virus", "a.gz", &gzip(eicar().as_bytes()));
        let reply = dialog.message("sender@client.test", &to, &packed);
        assert_eq!(reply.text, "550 This message contains a virus (Eicar-Test-Signature)", "{block}");
        received += 1;
        assert_eq!(sink.wait_received(received).len(), received);
        front.gatepost.kill();
        let reply = dialog.message("sender@client.test", &to, &mail("clean", "hello"));
        assert_eq!(reply.code, 451, "{block}: {}", reply.text);
        front.gatepost.restart();
        front.wait();
    }
}
