//! In the place of spamd: real clients, and a real spamd beside.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::rig::*;

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// A running gatepost in the place of spamd.
struct Front {
    gatepost: Gatepost,
    address: SocketAddr,
}

fn front(tables: &str) -> Front {
    let address = free_address();
    let listener = format!("[[listener]]\nprotocol = \"spamd\"\nlisten = [\"{address}\"]\n");
    let gatepost = Setup::default().with(&listener).with(tables).start();
    wait_for("the spamd listener", START, || answers(address).then_some(()));
    Front { gatepost, address }
}

fn spawn_spamc(address: SocketAddr, options: &str) -> Child {
    Command::new(program("spamc"))
        .args(["-d", "127.0.0.1", "-p", &address.port().to_string()])
        .args(["--connect-retries", "1", "--filter-retries", "1"])
        .args(options.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spamc runs")
}

fn finish(mut child: Child, input: &str) -> Output {
    // It may end without reading its input.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// Exit status and what it wrote.
fn spamc(address: SocketAddr, options: &str, input: &str) -> (i32, String) {
    let output = finish(spawn_spamc(address, options), input);
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
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

fn virus() -> String {
    eicar_body("virus")
}

#[test]
fn spamc_with_each_of_its_options() {
    if !needs(&["spamc"]) {
        return;
    }
    let front = front("");
    let (clean, spam, virus) = (mail("clean", "hello"), mail("spam", GTUBE), virus());
    for (options, input, code, begins, holds) in [
        ("-c", &clean, 0, "0.0/6.3\n", ""),
        ("-c", &spam, 1, "1000.0/6.3\n", ""),
        ("-c", &virus, 1, "10.0/6.3\n", ""),
        ("-y", &spam, 0, "GTUBE", ""),
        ("-y", &virus, 0, "", "VIRUS"),
        ("-y", &clean, 0, "", ""),
        (
            "-R",
            &clean,
            0,
            "0.0/6.3\nJudged by gatepost",
            "Content analysis details:   (0.0 points, 6.31 required)",
        ),
        ("-R", &spam, 0, "1000.0/6.3\n", "GTUBE                  the GTUBE pattern"),
        ("-R", &virus, 0, "10.0/6.3\n", "VIRUS                  Eicar-Test-Signature"),
        ("-r", &clean, 0, "", ""),
        ("-r", &spam, 0, "Judged by gatepost", "GTUBE"),
        ("-x", &clean, 0, "X-Virus-Scanned: gatepost at gatepost.test\n", "\n\nhello\n"),
        ("-x", &spam, 0, "X-Virus-Scanned", "X-Spam-Flag: YES\n"),
        (
            "-x",
            &virus,
            0,
            "X-Virus-Scanned",
            "X-Spam-Status: Yes, score=0.0 tag=-999 tag2=6.31 kill=10 tests=[VIRUS=0.0]\n autolearn=no\n",
        ),
        ("-E", &clean, 0, "X-Virus-Scanned", ""),
        ("-E", &spam, 1, "X-Virus-Scanned", ""),
        ("-E -c", &virus, 1, "10.0/6.3\n", ""),
        ("--headers", &clean, 0, "X-Virus-Scanned", "\n\nhello\n"),
        ("--headers", &spam, 0, "X-Virus-Scanned", GTUBE),
        ("-u alice@example.test", &clean, 0, "X-Virus-Scanned", ""),
        ("-K", &clean, 0, "SPAMD/1.5 0\n", ""),
        ("-L spam", &clean, 74, "", ""),
        ("-L ham -x", &clean, 74, "", ""),
        ("-C report -x", &clean, 74, "", ""),
    ] {
        let (found, text) = spamc(front.address, options, input);
        assert_eq!(found, code, "{options}: {text}");
        assert!(text.starts_with(begins) && text.contains(holds), "{options}: {text}");
        assert!(!text.contains('\r'), "{options}: the lines came with LF alone");
    }
    // What is not changed comes back byte for byte.
    let (_, text) = spamc(front.address, "", &spam);
    assert!(text.ends_with(&spam), "{text}");
    let crlf = spam.replace('\n', "\r\n");
    let (_, text) = spamc(front.address, "", &crlf);
    assert!(
        text.ends_with(&crlf) && text.starts_with("X-Virus-Scanned: gatepost at gatepost.test\r\n"),
        "{text}"
    );
    // spamc itself hands nothing on that is empty, or over its limit.
    assert_eq!(spamc(front.address, "-s 100", &spam), (0, spam.clone()));
    assert!(
        front.gatepost.log().contains("Advised INFECTED (Eicar-Test-Signature (embedded yara)) {refuse}")
    );
    let records = front.gatepost.records(22);
    assert!(records.iter().all(|record| record["listener"] == "spamd" && record["quarantine"].is_null()));
    assert!(records.iter().any(|record| record["recipients"][0] == "alice@example.test"));
    assert_eq!(records[0]["verdicts"][0]["outcome"], "advised");
    assert!(front.gatepost.held(0).is_empty());
}

#[test]
fn stray_line_endings_are_refused_where_that_is_wanted() {
    let front = front("[limits]\nstray_line_endings = \"refuse\"\n");
    for (message, told) in [
        ("A: b\r\n\r\nc\r\n", "SPAMD/1.1 0 EX_OK"),
        ("A: b\n\nc\n", "SPAMD/1.1 0 EX_OK"),
        ("A: b\r\n\nc\r\n", "550 5.5.2 Message has bare CR or LF"),
    ] {
        let request = format!("CHECK SPAMC/1.5\r\nContent-length: {}\r\n\r\n{message}", message.len());
        let answer = String::from_utf8_lossy(&ask(front.address, request.as_bytes())).into_owned();
        assert!(answer.contains(told), "{message:?}: {answer}");
    }
}

/// What is alike in two answers: status line, names of fields and their order, the word, that the length is right, and
/// what ends the body.
fn shape(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return text };
    let mut shape = String::new();
    for line in head.split("\r\n") {
        match line.split_once(": ") {
            Some(("Content-length", length)) => {
                let right = length.parse() == Ok(answer.len() - head.len() - 4);
                shape.push_str(if right { "Content-length: right" } else { "Content-length: WRONG" });
            }
            Some(("Spam", value)) => {
                let (word, numbers) = value.split_once(" ; ").expect("a score");
                let one_decimal = |number: &str| {
                    number.parse::<f64>().is_ok()
                        && number.split('.').nth(1).is_some_and(|rest| rest.len() == 1)
                };
                assert!(numbers.split(" / ").all(one_decimal), "{numbers}");
                shape.push_str(&format!("Spam: {word} ; N / N"));
            }
            _ => shape.push_str(line),
        }
        shape.push_str("\r\n");
    }
    let end = if body.ends_with("\r\n") {
        "CRLF"
    } else if body.ends_with('\n') {
        "LF"
    } else {
        "text"
    };
    shape.push_str(if body.is_empty() { "nothing" } else { end });
    shape
}

/// A request; `{}` in the fields stands for the length.
fn request(method: &str, fields: &str, message: &[u8]) -> Vec<u8> {
    let fields = fields.replace("{}", &message.len().to_string());
    let mut request = format!("{method}\r\n{fields}\r\n").into_bytes();
    request.extend_from_slice(message);
    request
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compress");
    encoder.finish().expect("compress")
}

#[test]
fn the_same_sessions_with_a_real_spamd() {
    if !needs(&["root", "spamd"]) {
        return;
    }
    let (spamd, front) = (Spamd::start(), front(""));
    let (clean, spam) = (mail("clean", "hello"), mail("spam", GTUBE));
    let crlf = clean.replace('\n', "\r\n");
    let mut sessions: Vec<Vec<u8>> = Vec::new();
    for method in ["CHECK", "SYMBOLS", "REPORT", "REPORT_IFSPAM", "HEADERS", "PROCESS"] {
        for version in ["1.2", "1.3", "1.5"] {
            // Of ordinary mail spamd names informational tests; we have nothing to say of it.
            let clean = if method == "SYMBOLS" { &spam } else { &clean };
            for message in [clean.as_bytes(), spam.as_bytes()] {
                let method = format!("{method} SPAMC/{version}");
                sessions.push(request(&method, "Content-length: {}\r\nUser: nobody\r\n", message));
            }
        }
    }
    let length = "Content-length: {}\r\n";
    let packed = format!("{length}Compress: zlib\r\n");
    let check = "CHECK SPAMC/1.5";
    sessions.extend([
        request("PROCESS SPAMC/1.5", length, crlf.as_bytes()),
        request("PROCESS SPAMC/1.5", &packed, &zlib(spam.as_bytes())),
        request(check, &packed, &zlib(clean.as_bytes())),
        request(check, "", clean.as_bytes()),
        request(check, "Content-length: 5000\r\n", clean.as_bytes()),
        request(check, "Content-length: 5x\r\n", clean.as_bytes()),
        request(check, "User: a\x01b\r\n", clean.as_bytes()),
        request(check, "No field\r\n", clean.as_bytes()),
        request(check, "Compress: gzip\r\n", clean.as_bytes()),
        request(check, "Compress: zlib\r\n", clean.as_bytes()),
        request(check, &"X: y\r\n".repeat(300), clean.as_bytes()),
        b"PING SPAMC/1.2\r\n".to_vec(),
        b"PING SPAMC/1.5\r\n\r\n".to_vec(),
        b"PING SPAMC/1.5\r\n".to_vec(),
        b"SKIP SPAMC/1.5\r\n\r\n".to_vec(),
        b"FOO SPAMC/1.2\r\n\r\n".to_vec(),
        b"CHECK\r\n".to_vec(),
        b"CHECK SPAMC/1.5\r\nUser: nobody\r\n".to_vec(),
        b"".to_vec(),
    ]);
    for session in &sessions {
        let (theirs, ours) = (ask(spamd.address, session), ask(front.address, session));
        let shown = String::from_utf8_lossy(&session[..session.len().min(120)]);
        // REPORT and the like end in a line break with both; a message ends as it came.
        assert_eq!(shape(&ours), shape(&theirs), "{shown}\n{}", String::from_utf8_lossy(&ours));
        assert!(!shape(&ours).contains("WRONG"), "{shown}");
    }
    // Theirs says how to turn it on, ours that there is nothing to be turned on.
    for session in [
        request(
            "TELL SPAMC/1.5",
            &format!("Message-class: spam\r\nSet: local\r\n{length}"),
            clean.as_bytes(),
        ),
        request(check, &packed, &zlib(clean.as_bytes())[..40]),
        request(check, &packed, clean.as_bytes()),
    ] {
        let (theirs, ours) = (ask(spamd.address, &session), ask(front.address, &session));
        for answer in [&theirs, &ours] {
            assert!(
                answer.starts_with(b"SPAMD/1.0 69 Service Unavailable: "),
                "{}",
                String::from_utf8_lossy(answer)
            );
            assert!(!answer.windows(4).any(|end| end == b"\r\n\r\n"));
        }
    }
}

#[test]
fn bombs_and_giants_are_refused() {
    let front = front("[limits]\nmessage_size = \"1 MiB\"\n");
    let giant = vec![b'x'; 2 << 20];
    for (what, session) in [
        ("announced", request("CHECK SPAMC/1.5", "Content-length: {}\r\n", &giant)),
        ("found out", request("CHECK SPAMC/1.5", "", &giant)),
        (
            "unpacked",
            request(
                "CHECK SPAMC/1.5",
                "Content-length: {}\r\nCompress: zlib\r\n",
                &zlib(&vec![0; 200 << 20]),
            ),
        ),
    ] {
        let answer = String::from_utf8_lossy(&ask(front.address, &session)).into_owned();
        assert!(
            answer.starts_with("SPAMD/1.0 98 Message too big: at most 1048576 bytes"),
            "{what}: {answer}"
        );
    }
    assert!(front.gatepost.status("VmHWM") < 400_000, "{} kB", front.gatepost.status("VmHWM"));
}

#[test]
fn what_could_not_be_judged_gets_no_score() {
    if !needs(&["spamc"]) {
        return;
    }
    let front = front("[checks.clamd.main]\nsocket = \"unix:/nonexistent/clamd.sock\"\n");
    let clean = mail("clean", "hello");
    let answer = ask(front.address, &request("CHECK SPAMC/1.5", "Content-length: {}\r\n", clean.as_bytes()));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("SPAMD/1.0 75 Temporary failure: Message could not be checked"), "{answer}");
    assert_eq!(spamc(front.address, "", &clean), (0, clean.clone()));
    assert_eq!(spamc(front.address, "-x", &clean).0, 74);
    // A virus is a virus though another scanner is away.
    assert_eq!(spamc(front.address, "-c", &virus()).0, 1);
}

#[test]
fn policies_follow_the_recipient() {
    let policy = |name: &str, recipient: &str| {
        format!("[[policy]]\nname = \"{name}\"\nwhen.recipients = [\"{recipient}\"]\n")
    };
    let front = front(&(policy("alice", "alice@example.test") + &policy("bob", "bob@example.test")));
    let trace = "Return-Path: <s@out.test>\r\nDelivered-To: bob@example.test\r\nReceived: from x\r\n";
    for (user, header, expected, sender) in [
        ("alice@example.test", trace, "alice", Some("s@out.test")),
        ("root", trace, "bob", Some("s@out.test")),
        ("root", "Subject: x\r\n", "default", None),
        // Anybody can write that.
        ("root", "Received: from x\r\nDelivered-To: bob@example.test\r\n", "default", None),
        ("root", "Delivered-To: bob@example.test\r\n", "default", None),
        (
            "root",
            "X-Envelope-To: bob@example.test, eve@example.test\r\nReceived: from x\r\n",
            "default",
            None,
        ),
    ] {
        let before = front.gatepost.records(0).len();
        let message = format!("{header}\r\nhello\r\n");
        let fields = format!("User: {user}\r\nContent-length: {{}}\r\n");
        ask(front.address, &request("CHECK SPAMC/1.5", &fields, message.as_bytes()));
        let records = front.gatepost.records(before + 1);
        let record = records.last().expect("a record");
        assert_eq!(
            (&record["policy"], record["sender"].as_str()),
            (&expected.into(), sender),
            "{user} {header}"
        );
    }
}

#[test]
fn killed_in_the_middle_or_not_there() {
    if !needs(&["spamc", "clamd"]) {
        return;
    }
    let clamd = Clamd::start();
    let mut front = front(&clamd.check());
    let message = mail("clean", "hello");
    // gatepost waits for a scanner that hangs, and dies meanwhile.
    for (options, code, unchanged) in [("", 0, true), ("-x", 74, false), ("-c", 0, false), ("-E", 0, true)] {
        front.gatepost.restart();
        wait_for("the spamd listener", START, || answers(front.address).then_some(()));
        clamd.hang();
        let child = spawn_spamc(front.address, options);
        let waiting = std::thread::spawn({
            let message = message.clone();
            move || finish(child, &message)
        });
        wait_for("spamc is there", START, || {
            (front.gatepost.metric("gatepost_sessions ", &[]) >= 1.0).then_some(())
        });
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished(), "{options}: it waits for the scanner");
        front.gatepost.kill();
        let output = waiting.join().expect("spamc ends");
        clamd.go_on();
        assert_eq!(output.status.code(), Some(code), "{options}");
        if unchanged {
            assert_eq!(String::from_utf8_lossy(&output.stdout), message, "{options}");
        }
    }
    assert_eq!(spamc(front.address, "", &message), (0, message.clone()));
    assert_eq!(spamc(front.address, "-x", &message).0, 69);
    assert_eq!(spamc(front.address, "-x -X", &message).0, 75);
}

#[test]
fn slow_clients_have_an_end() {
    let front = front("[limits]\ncommand_time = 2\ndata_time = 2\nmessage_time = 4\n");
    let start = Instant::now();
    for (what, begin, then) in [
        ("silent", "", ""),
        ("in the request", "CHECK SPAMC/1.5\r\nUser: a", ""),
        ("in the message", "CHECK SPAMC/1.5\r\nContent-length: 1000\r\n\r\nSubject", ""),
        ("a byte at a time", "CHECK SPAMC/1.5\r\nContent-length: 1000\r\n\r\nSubject", "x"),
    ] {
        let mut stream = TcpStream::connect(front.address).expect("connect");
        stream.write_all(begin.as_bytes()).expect("send");
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a time limit");
        let mut answer = Vec::new();
        let closed = wait_for(what, Duration::from_secs(20), || {
            let _ = stream.write_all(then.as_bytes());
            let mut piece = [0; 200];
            match stream.read(&mut piece) {
                Ok(0) => Some(String::from_utf8_lossy(&answer).into_owned()),
                Ok(read) => {
                    answer.extend_from_slice(&piece[..read]);
                    None
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    Some(String::from_utf8_lossy(&answer).into_owned())
                }
                Err(_) => None,
            }
        });
        assert_eq!(closed, "SPAMD/1.0 79 Timeout: (reading input from client)\r\n", "{what}");
    }
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
}

fn procmail(folder: &Path, address: SocketAddr, message: &str) -> Option<i32> {
    let recipe = docs::block_with(
        "as-spamd.md",
        "procmail",
        &[
            ("-p 783", format!("-p {}", address.port())),
            ("/usr/bin/spamc", program("spamc").display().to_string()),
        ],
    );
    let settings = format!(
        "SHELL=/bin/sh\nMAILDIR={0}\nDEFAULT={0}/inbox\nORGMAIL={0}/inbox\nLOGFILE={0}/log\n",
        folder.display()
    );
    std::fs::write(folder.join("rc"), settings + &recipe).expect("write");
    let child = Command::new(program("procmail"))
        .args(["-m".as_ref(), folder.join("rc").as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("procmail runs");
    finish(child, message).status.code()
}

#[test]
fn the_documented_recipe_of_procmail() {
    if !needs(&["spamc", "procmail"]) {
        return;
    }
    let (mut front, folder) = (front(""), folder());
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    assert_eq!(procmail(folder.path(), front.address, &mail("spam", GTUBE)), Some(0));
    assert!(read("spam").contains("X-Spam-Flag: YES\n"), "{}{}", read("log"), read("inbox"));
    assert_eq!(procmail(folder.path(), front.address, &virus()), Some(0));
    assert_eq!(read("spam").matches("X-Spam-Flag: YES\n").count(), 2);
    assert_eq!(read("inbox"), "");
    assert_eq!(procmail(folder.path(), front.address, &mail("clean", "hello")), Some(0));
    let delivered = read("inbox") + &read("spam");
    front.gatepost.kill();
    assert_eq!(procmail(folder.path(), front.address, &mail("clean", "hello")), Some(75), "{}", read("log"));
    assert_eq!(read("inbox") + &read("spam"), delivered);
}

#[test]
fn the_client_of_spamassassin_in_perl() {
    let has_client = Command::new("perl")
        .args(["-MMail::SpamAssassin::Client", "-e", "1"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_client {
        println!("skipped: needs Mail::SpamAssassin::Client");
        return;
    }
    let front = front("");
    let block = docs::block_with(
        "as-spamd.md",
        "perl",
        &[("port => 783", format!("port => {}", front.address.port()))],
    );
    for (message, expected) in
        [(mail("spam", GTUBE), "True 1000 6.3 1 GTUBE"), (mail("clean", "hello"), "False 0 6.3 1 ")]
    {
        let script = format!(
            "my $message = do {{ local $/; <STDIN> }};\n{block}\n\
             print \"$result->{{isspam}} $result->{{score}} $result->{{threshold}} \", $client->ping, ' ';\n\
             my $processed = $client->process($message)->{{message}};\n\
             print $processed =~ /tests=\\[(\\w*)/ ? $1 : 'no status';\n"
        );
        let child = Command::new("perl")
            .args(["-e", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl runs");
        assert_eq!(String::from_utf8_lossy(&finish(child, &message).stdout), expected);
    }
}

#[test]
fn the_documented_acl_of_exim() {
    if !needs(&["root", "exim"]) {
        return;
    }
    let (sink, mut front) = (Sink::start(), front(""));
    let port = ("783", front.address.port().to_string());
    let exim = EximSetup::to(sink.address)
        .with(&docs::block_with("as-spamd.md", "exim main", std::slice::from_ref(&port)))
        .at_data(&docs::block("as-spamd.md", "exim acl"))
        .start();
    let send = |content: &str| {
        let mut dialog = Dialog::connect(exim.smtp);
        dialog.greet();
        dialog.message("sender@client.test", &["user@example.test"], content)
    };
    let reply = send(&mail("clean", "hello"));
    assert!(reply.text.starts_with("250 OK id="), "{}", reply.text);
    assert_eq!(sink.wait_received(1)[0].header("X-Spam-Score").as_deref(), Some("0.0"));
    assert_eq!(send(&mail("spam", GTUBE)).text, "550 This message scored 1000.0 points");
    assert_eq!(send(&virus()).text, "550 This message scored 10.0 points");
    front.gatepost.kill();
    let reply = send(&mail("clean", "hello"));
    assert_eq!(reply.code, 451, "{}", reply.text);
    assert_eq!(sink.received().len(), 1);
}

#[test]
fn the_verdict_is_that_of_any_other_way_in() {
    let (front, folder) = (front(""), folder());
    let program = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0".as_slice();
    for content in [
        mail("clean", "hello"),
        mail("spam", GTUBE),
        virus(),
        with_attachment("x", "a.exe", program),
        "Subject: x\n\nno other field\n".to_owned(),
        mail("long", &"word ".repeat(2000)),
    ] {
        let file = folder.path().join("mail");
        std::fs::write(&file, &content).expect("write");
        let scanned =
            front.gatepost.json(&["scan"], &["--json", file.to_str().expect("a plain path")]).remove(0);
        let before = front.gatepost.records(0).len();
        ask(front.address, &request("CHECK SPAMC/1.5", "Content-length: {}\r\n", content.as_bytes()));
        let asked = front.gatepost.records(before + 1).pop().expect("a record");
        for key in ["category", "score", "action", "policy", "findings", "parts", "defects", "size"] {
            assert_eq!(asked[key], scanned[key], "{key} of {content:.100}");
        }
    }
}

#[test]
fn a_hundred_at_once() {
    let front = front("");
    let address = front.address;
    let asking: Vec<_> = (0..100)
        .map(|number| {
            std::thread::spawn(move || {
                let message = if number % 2 == 0 { virus() } else { mail("clean", "hello") };
                let answer =
                    ask(address, &request("CHECK SPAMC/1.5", "Content-length: {}\r\n", message.as_bytes()));
                let word = if number % 2 == 0 { "True ; 10.0" } else { "False ; 0.0" };
                let expected = format!("SPAMD/1.1 0 EX_OK\r\nSpam: {word} / 6.3\r\n\r\n");
                assert_eq!(String::from_utf8_lossy(&answer), expected);
            })
        })
        .collect();
    asking.into_iter().for_each(|thread| thread.join().expect("an answer"));
    wait_for("no session is left", START, || {
        (front.gatepost.metric("gatepost_sessions ", &[]) == 0.0).then_some(())
    });
}

#[test]
fn what_is_under_way_is_answered_before_the_daemon_ends() {
    let mut front = front("");
    let message = virus();
    let request = request("CHECK SPAMC/1.5", "Content-length: {}\r\n", message.as_bytes());
    let mut idle = TcpStream::connect(front.address).expect("connect");
    let mut stream = TcpStream::connect(front.address).expect("connect");
    let (first, rest) = request.split_at(request.len() / 2);
    stream.write_all(first).expect("send");
    wait_for("both are there", START, || {
        (front.gatepost.metric("gatepost_sessions ", &[]) >= 2.0).then_some(())
    });
    std::thread::sleep(Duration::from_millis(300));
    front.gatepost.signal(nix::sys::signal::Signal::SIGTERM);
    idle.set_read_timeout(Some(START)).expect("a time limit");
    assert_eq!(idle.read(&mut [0; 1]).expect("closed"), 0);
    stream.write_all(rest).expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("Spam: True ; 10.0 / 6.3"), "{answer}");
    assert!(front.gatepost.wait().success());
}
