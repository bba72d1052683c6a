//! The pipe: `gatepost filter` in the hands of procmail, maildrop, Sieve and a `.forward` file, with the lines of its
//! page. Whatever fails, the mail stays with whoever has it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::rig::*;

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// The program and the socket, as the page names them.
const PROGRAM: &str = "/usr/bin/gatepost";
const SOCKET: &str = "unix:/run/gatepost/http.sock";

/// A daemon with an HTTP listener on a unix socket, beside the rig's SMTP listener.
struct Pipe {
    gatepost: Gatepost,
    socket: PathBuf,
    // Last, so that it is there as long as the daemon.
    _folder: tempfile::TempDir,
}

impl Pipe {
    fn start(listener: &str, tables: &str) -> Pipe {
        let folder = folder();
        let socket = folder.path().join("http.sock");
        let http = format!(
            "[[listener]]\nprotocol = \"http\"\nlisten = [\"unix:{}\"]\n{listener}\n",
            socket.display()
        );
        let gatepost = Setup::default().with(&http).with(tables).start();
        Pipe { gatepost, socket, _folder: folder }
    }

    fn daemon(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// A block of the page, with this daemon and this program in it.
    fn documented(&self, name: &str, program: bool, more: &[(&str, String)]) -> String {
        let mut replace = more.to_vec();
        if program {
            replace.push((PROGRAM, env!("CARGO_BIN_EXE_gatepost").to_owned()));
            replace.push((SOCKET, self.daemon()));
        }
        docs::block_with("pipe.md", name, &replace)
    }

    fn filter(&self, arguments: &[&str], content: &str) -> Output {
        let daemon = self.daemon();
        let arguments = [&["filter", "--daemon", &daemon], arguments].concat();
        run(&arguments, content.as_bytes())
    }
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program with a message on its standard input.
fn feed(command: &mut Command, content: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let _ = child.stdin.take().expect("its input").write_all(content.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn write(path: &Path, content: &str, mode: u32) {
    std::fs::write(path, content).expect("write");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set its mode");
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| text(&bytes)).unwrap_or_default()
}

/// A clamd that takes every connection and never answers; it is there as long as the listener.
fn hanging_clamd() -> (TcpListener, String) {
    let listener = TcpListener::bind(free_address()).expect("listen");
    let address = listener.local_addr().expect("its address");
    let check = format!("[checks.clamd.main]\nsocket = \"tcp:{address}\"\ntime = 100\n");
    (listener, check)
}

#[test]
fn the_status_tells_and_the_message_comes_as_it_was() {
    let pipe =
        Pipe::start("", "[default_policy]\nactions.spam = \"quarantine\"\nactions.banned = \"strip\"\n");
    let (clean, from_line) = (mail("a", "hello"), "From a@client.test Thu Jan  1 00:00:00 2026\n");
    for (arguments, content, expected, comes) in [
        (&[][..], clean.clone(), 0, true),
        (&[], clean.replace('\n', "\r\n"), 0, true),
        (&[], format!("{from_line}{clean}"), 0, true),
        (&[], with_attachment("b", "x.exe", b"MZ"), 0, true),
        (&[], eicar_body("c"), 77, false),
        (&[], mail("d", GTUBE), 99, false),
        (&["--exit"], clean.clone(), 0, false),
        (&["--exit"], eicar_body("e"), 77, false),
        (&["--exit"], mail("f", GTUBE), 99, false),
        // What the caller would deliver has the program in it; the vault has the same.
        (&["--exit"], with_attachment("f", "x.exe", b"MZ"), 99, false),
        (&["--mark"], eicar_body("g"), 0, true),
        (&["--mark"], mail("h", GTUBE), 0, true),
        (&["--", "sh", "-c", "cat; exit 7"], clean.clone(), 7, true),
        (&["--", "sh", "-c", "cat; exit 7"], mail("i", GTUBE), 0, false),
        (&["--", "sh", "-c", "cat; exit 7"], eicar_body("j"), 77, false),
    ] {
        let output = pipe.filter(arguments, &content);
        assert_eq!(status(&output), expected, "{arguments:?} {content}: {}", text(&output.stderr));
        let written = text(&output.stdout);
        assert_eq!(!written.is_empty(), comes, "{arguments:?} {content}: {written}");
        if expected == 77 {
            assert!(text(&output.stderr).contains("550 5.7.1 Virus detected"), "{}", text(&output.stderr));
        }
        if !comes {
            continue;
        }
        let crlf = content.contains("\r\n");
        assert_eq!(written.contains("\r\n"), crlf, "{written:?}");
        assert_eq!(written.matches('\n').count() == written.matches("\r\n").count(), crlf, "{written:?}");
        assert_eq!(written.starts_with(from_line), content.starts_with(from_line), "{written}");
        let behind = content.strip_prefix(from_line).unwrap_or(&content);
        match content.contains("base64") {
            false => assert!(written.ends_with(behind), "{written}\n{content}"),
            true => assert!(!written.contains("TVo=") && written.contains("See there."), "{written}"),
        }
    }
    let marked = text(&pipe.filter(&["--mark"], &eicar_body("k")).stdout);
    let header = marked.split("From: ").next().unwrap_or_default();
    assert!(header.contains("\nX-Gatepost-Action: refuse (virus)\n"), "{marked}");
    assert!(header.contains("X-Gatepost-Id: ") && header.contains("X-Spam-Status: Yes, "), "{marked}");
}

#[test]
fn stray_line_endings_are_refused_where_that_is_wanted() {
    let pipe = Pipe::start("", "[limits]\nstray_line_endings = \"refuse\"\n");
    let config = pipe.gatepost.config();
    let config = config.to_str().expect("a plain path");
    let unix = mail("a", "one\ntwo");
    let stray = unix.replacen('\n', "\r\n", 3);
    let daemon = pipe.daemon();
    for (arguments, fine, refused) in [
        (&["filter", "--daemon", &daemon][..], 0, 77),
        (&["filter", "--local", "-c", config], 0, 77),
        (&["scan", "-c", config, "-"], 0, 2),
    ] {
        assert_eq!(status(&run(arguments, unix.as_bytes())), fine, "{arguments:?}");
        let output = run(arguments, stray.as_bytes());
        assert_eq!(status(&output), refused, "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains("550 5.5.2 Message has bare CR or LF"), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", text(&output.stdout));
    }
}

#[test]
fn envelope_and_client_are_handed_on() {
    let pipe = Pipe::start("", "");
    let facts =
        ["--sender", "<a@b.test>", "--recipient", "c+d@e.test", "--client", "192.0.2.1", "--helo", "h.test"];
    assert_eq!(status(&pipe.filter(&facts, &mail("a", "x"))), 0);
    let record = pipe.gatepost.records(1).remove(0);
    for (key, value) in
        [("sender", "a@b.test"), ("client", "192.0.2.1"), ("helo", "h.test"), ("listener", "http")]
    {
        assert_eq!(record[key], value, "{record:#}");
    }
    assert_eq!(record["recipients"][0], "c+d@e.test");
    let from_line = "From sender@client.test Thu Jan  1 00:00:00 2026\n";
    assert_eq!(status(&pipe.filter(&[], &format!("{from_line}{}", mail("b", "x")))), 0);
    let record = pipe.gatepost.records(2).remove(1);
    assert_eq!(record["sender"], "sender@client.test");
    assert!(record["recipients"][0].as_str().is_some_and(|recipient| recipient.contains('@')), "{record:#}");
}

/// A server that reads what it is sent for a while, answers with these bytes and goes away.
fn pretender(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a time limit");
        let mut buffer = [0; 1 << 16];
        while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        let _ = stream.write_all(answer);
    });
    format!("http://{address}")
}

#[test]
fn every_fault_is_75_and_nothing_is_written() {
    let pipe = Pipe::start("token = \"s3cret\"", "[limits]\nmessage_size = \"20 KiB\"\n");
    let folder = folder();
    let file = |name: &str, content: &str| {
        write(&folder.path().join(name), content, 0o600);
        folder.path().join(name).to_str().expect("a plain path").to_owned()
    };
    let (daemon, good, wrong) = (pipe.daemon(), file("good", "s3cret\n"), file("wrong", "other\n"));
    let config = pipe.gatepost.config();
    let config = config.to_str().expect("a plain path");
    let broken = file("broken.toml", "[[listener]]\nprotcol = \"http\"\n");
    let smtp = file("smtp.toml", "[[listener]]\n");
    let cut =
        pretender(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nGatepost-Action: deliver\r\n\r\nFrom: a\r\n");
    let nameless = pretender(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nA: b");
    let other = pretender(b"220 mail.example.org ESMTP\r\n");
    let large = mail("large", &"0123456789\n".repeat(5000));
    let (clean, nothing) = (mail("a", "hello"), String::new());
    for (arguments, content, expected, told) in [
        (vec!["--daemon", &daemon, "--token-file", &good], &clean, 0, ""),
        (vec!["-c", config], &clean, 0, ""),
        (vec!["-c", config], &nothing, 75, "no message"),
        (vec!["--daemon", &daemon], &clean, 75, "401"),
        (vec!["--daemon", &daemon, "--token-file", &wrong], &clean, 75, "401"),
        (vec!["--daemon", &daemon, "--token-file", "/nonexistent/token"], &clean, 75, "/nonexistent/token"),
        (vec!["-c", config], &large, 75, "limits.message_size"),
        (vec!["-c", "/nonexistent/gatepost.toml"], &clean, 75, "/nonexistent/gatepost.toml"),
        (vec!["-c", &broken], &clean, 75, "protcol"),
        (vec!["-c", &smtp], &clean, 75, "--daemon"),
        (vec!["--daemon", "unix:/nonexistent/http.sock"], &clean, 75, "No such file"),
        (vec!["--daemon", "http://127.0.0.1:1"], &clean, 75, "refused"),
        (vec!["--daemon", &cut], &clean, 75, "in the middle of the answer"),
        (vec!["--daemon", &nameless], &clean, 75, "no action"),
        (vec!["--daemon", &other], &clean, 75, "in its head"),
        (vec!["-c", config, "--unheard-of"], &clean, 75, "--unheard-of"),
        (vec!["-c", config, "--sender", "x"], &clean, 75, "--sender"),
        (vec!["-c", config, "--", "/nonexistent/program"], &clean, 75, "/nonexistent/program"),
        (vec!["-c", config, "--", "sh", "-c", "kill -9 $$"], &clean, 75, "signal"),
    ] {
        let output = run(&[&["filter"], &arguments[..]].concat(), content.as_bytes());
        assert_eq!(status(&output), expected, "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(told), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(output.stdout.is_empty(), expected != 0, "{arguments:?}: {}", text(&output.stdout));
    }
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    let mut child =
        command.args(["filter", "-c", config]).stdin(Stdio::piped()).stdout(full).spawn().expect("start");
    child.stdin.take().expect("its input").write_all(clean.as_bytes()).expect("send");
    assert_eq!(child.wait().expect("it ends").code(), Some(75), "a full disk");
}

#[test]
fn a_silent_daemon_is_75_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let daemon = format!("http://{}", listener.local_addr().expect("its address"));
    let began = Instant::now();
    let output = run(&["filter", "--daemon", &daemon, "--timeout", "1"], mail("a", "x").as_bytes());
    assert_eq!(status(&output), 75);
    assert!(text(&output.stderr).contains("no answer in time"), "{}", text(&output.stderr));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn recipients_whose_verdicts_differ_are_asked_for_alone() {
    let policy = "[[policy]]\nname = \"lax\"\nwhen.recipients = [\"lax@x.test\"]\nactions.virus = \"mark\"\n";
    let pipe = Pipe::start("", policy);
    let content = eicar_body("a");
    for (recipients, expected) in [
        (&["--recipient", "lax@x.test"][..], 0),
        (&["--recipient", "b@x.test"], 77),
        (&["--recipient", "b@x.test", "--recipient", "c@x.test"], 77),
        (&["--recipient", "b@x.test", "--recipient", "lax@x.test"], 75),
    ] {
        assert_eq!(status(&pipe.filter(recipients, &content)), expected, "{recipients:?}");
    }
}

#[test]
fn without_a_daemon_it_judges_itself() {
    let pipe = Pipe::start("after_queue = true", "");
    let mut gatepost = pipe.gatepost;
    gatepost.kill();
    for (content, arguments, expected) in
        [(mail("a", "hello"), &[][..], 0), (eicar_body("b"), &[], 99), (eicar_body("c"), &["--mark"], 0)]
    {
        let file = gatepost.config();
        let arguments =
            [&["filter", "--local", "-c", file.to_str().expect("a plain path")], arguments].concat();
        let output = run(&arguments, content.as_bytes());
        assert_eq!(status(&output), expected, "{}", text(&output.stderr));
        assert_eq!(output.stdout.is_empty(), expected != 0);
    }
    assert_eq!(gatepost.records(3).len(), 3);
    assert_eq!(gatepost.held(1).len(), 1, "what is held is in the vault");
}

/// A delivery agent with the page's lines, and where it delivers to.
struct Agent {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Agent {
    fn procmail(pipe: &Pipe) -> Agent {
        let folder = folder();
        let recipes = pipe.documented("procmail", true, &[]);
        let (inbox, rc) = (folder.path().join("inbox"), folder.path().join("procmailrc"));
        let log = folder.path().join("log");
        write(
            &rc,
            &format!("LOGFILE={}\nVERBOSE=yes\n{recipes}\n:0:\n{}\n", log.display(), inbox.display()),
            0o600,
        );
        let arguments = ["procmail", "-t", "-m"].map(str::to_owned).to_vec();
        Agent { folder, arguments: [arguments, vec![rc.display().to_string()]].concat() }
    }

    fn maildrop(pipe: &Pipe) -> Agent {
        let folder = folder();
        let recipes = pipe.documented("maildrop", true, &[]);
        let (inbox, rc) = (folder.path().join("inbox"), folder.path().join("mailfilter"));
        write(&rc, &format!("{recipes}to \"{}\"\n", inbox.display()), 0o600);
        Agent { folder, arguments: vec!["maildrop".into(), rc.display().to_string()] }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program(&self.arguments[0]));
        command.args(&self.arguments[1..]);
        command
    }

    fn deliver(&self, content: &str) -> i32 {
        status(&feed(&mut self.command(), content))
    }

    fn inbox(&self) -> String {
        read(&self.folder.path().join("inbox"))
    }
}

/// What a delivery agent must do, whichever it is.
fn delivers_rightly(start: fn(&Pipe) -> Agent) {
    let mut pipe = Pipe::start("", "[default_policy]\nactions.spam = \"quarantine\"\n");
    let agent = start(&pipe);
    assert_eq!(agent.deliver(&mail("clean", "hello")), 0);
    let inbox = agent.inbox();
    assert!(inbox.contains("X-Gatepost-Id: ") && inbox.contains("Subject: clean\n"), "{inbox}");
    assert!(!inbox.contains('\r') && inbox.ends_with("\n\nhello\n\n"), "{inbox:?}");
    assert_eq!(agent.deliver(&mail("spam", GTUBE)), 0, "held, and done with");
    assert_eq!(agent.deliver(&eicar_body("virus")), 77, "refused");
    assert_eq!(pipe.gatepost.held(1).len(), 1);
    pipe.gatepost.kill();
    assert_eq!(agent.deliver(&mail("later", "hello")), 75, "the daemon is away");
    assert_eq!(agent.inbox(), inbox, "nothing of all this was delivered");
    pipe.gatepost.restart();
    assert_eq!(agent.deliver(&mail("later", "hello")), 0);
    assert!(agent.inbox().contains("Subject: later\n"));
}

/// The daemon is killed with the message in its hands: the mail stays where it was.
fn survives_a_kill(start: fn(&Pipe) -> Agent) {
    let (_clamd, check) = hanging_clamd();
    let mut pipe = Pipe::start("", &check);
    let agent = start(&pipe);
    let mut child = agent
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start");
    let content = mail("in the middle", &"hello\n".repeat(1000));
    child.stdin.take().expect("its input").write_all(content.as_bytes()).expect("send");
    wait_for("a session", START, || (pipe.gatepost.metric("gatepost_sessions ", &[]) >= 1.0).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    pipe.gatepost.kill();
    assert_eq!(child.wait().expect("it ends").code(), Some(75));
    assert_eq!(agent.inbox(), "", "nothing was delivered, whole or in part");
}

#[test]
fn procmail_delivers_what_it_should() {
    if needs(&["procmail"]) {
        delivers_rightly(Agent::procmail);
    }
}

#[test]
fn procmail_keeps_the_mail_when_the_daemon_is_killed() {
    if needs(&["procmail"]) {
        survives_a_kill(Agent::procmail);
    }
}

#[test]
fn maildrop_delivers_what_it_should() {
    if needs(&["maildrop"]) {
        delivers_rightly(Agent::maildrop);
    }
}

#[test]
fn maildrop_keeps_the_mail_when_the_daemon_is_killed() {
    if needs(&["maildrop"]) {
        survives_a_kill(Agent::maildrop);
    }
}

#[test]
fn sieve_sorts_what_comes_back_marked() {
    if !needs(&["root", "sieve-test"]) {
        return;
    }
    let mut pipe = Pipe::start("", "");
    let folder = folder();
    let (programs, home) = (folder.path().join("programs"), folder.path().join("home"));
    for made in [&programs, &home] {
        std::fs::create_dir(made).expect("a folder");
    }
    // Dovecot never works as root.
    let nobody = nix::unistd::User::from_name("nobody").expect("users").expect("nobody");
    std::os::unix::fs::chown(&home, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).expect("chown");
    let documented = [("/usr/lib/dovecot/sieve-filter", programs.display().to_string())];
    let settings = pipe.documented("sieve-dovecot", false, &documented)
        + &format!(
            "mail_location = maildir:{0}\nmail_home = {0}\nmail_uid = nobody\nmail_gid = {1}\nfirst_valid_uid = 1\n",
            home.display(),
            nobody.gid
        );
    let (config, script) = (folder.path().join("dovecot.conf"), home.join("test.sieve"));
    write(&config, &settings, 0o644);
    write(&script, &pipe.documented("sieve-script", false, &[]), 0o644);
    write(&programs.join("gatepost"), &pipe.documented("sieve-program", true, &[]), 0o755);
    let deliver = |content: &str| {
        let file = folder.path().join("mail.eml");
        write(&file, content, 0o644);
        let output = Command::new(program("sieve-test"))
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg("-l")
            .arg(format!("maildir:{}", home.display()))
            .args([&script, &file])
            .output()
            .expect("sieve-test runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let stored = |folder: &str| {
        let files = std::fs::read_dir(home.join(folder).join("new")).into_iter().flatten().flatten();
        files.map(|file| read(&file.path())).collect::<Vec<_>>()
    };
    deliver(&mail("clean", "hello"));
    deliver(&eicar_body("virus"));
    pipe.gatepost.kill();
    deliver(&mail("away", "hello"));
    for (folder, subject, field) in [
        ("", "clean", "X-Gatepost-Action: deliver (clean)"),
        (".Held back", "virus", "X-Gatepost-Action: refuse (virus)"),
        (".Unchecked", "away", ""),
    ] {
        let stored = stored(folder);
        assert_eq!(stored.len(), 1, "{folder}: {stored:?}");
        assert!(stored[0].contains(&format!("Subject: {subject}")), "{folder}: {stored:?}");
        assert!(stored[0].contains(field), "{folder}: {stored:?}");
    }
}

#[test]
fn a_forward_file_hands_the_message_to_its_program() {
    let pipe = Pipe::start("after_queue = true", "");
    let folder = folder();
    let (agent, inbox) = (folder.path().join("agent"), folder.path().join("inbox"));
    write(
        &agent,
        &format!("#!/bin/sh\ncat >>{}\nexit $(cat {}.status)\n", inbox.display(), inbox.display()),
        0o755,
    );
    let documented = [("/usr/lib/dovecot/dovecot-lda", agent.display().to_string())];
    let line = pipe.documented("forward", true, &documented);
    let command = line.trim().strip_prefix("\"|").and_then(|line| line.strip_suffix('"')).expect("a pipe");
    for (content, agents, expected) in
        [(mail("a", "hello"), 0, 0), (mail("b", "hello"), 75, 75), (eicar_body("c"), 0, 0)]
    {
        write(&folder.path().join("inbox.status"), &agents.to_string(), 0o644);
        let from_line = "From a@client.test Thu Jan  1 00:00:00 2026\n";
        let output = feed(Command::new("sh").args(["-c", command]), &format!("{from_line}{content}"));
        assert_eq!(status(&output), expected, "{}", text(&output.stderr));
    }
    let delivered = read(&inbox);
    assert!(delivered.contains("Subject: a\n") && delivered.contains("Subject: b\n"), "{delivered}");
    assert!(!delivered.contains("Subject: c\n"), "the virus is held: {delivered}");
    assert_eq!(pipe.gatepost.held(1).len(), 1);
}

#[test]
fn fdm_judges_what_it_fetches() {
    if !needs(&["root", "fdm"]) {
        return;
    }
    let mut pipe = Pipe::start("", "[default_policy]\nactions.banned = \"strip\"\n");
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let rules = format!(
        "set lock-file \"{}\"\nset default-user \"root\"\naccount \"stdin\" stdin\naction \"held back\" mbox \"{}\"\n\
         action \"inbox\" mbox \"{}\"\n{}match all action \"inbox\"\n",
        at("lock"),
        at("held"),
        at("inbox"),
        pipe.documented("fdm", true, &[]),
    );
    let config = folder.path().join("fdm.conf");
    write(&config, &rules, 0o600);
    for content in [mail("clean", "hello"), eicar_body("virus"), with_attachment("program", "x.exe", b"MZ")] {
        let output = feed(Command::new(program("fdm")).arg("-f").arg(&config).arg("fetch"), &content);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let (inbox, held) = (read(Path::new(&at("inbox"))), read(Path::new(&at("held"))));
    assert!(inbox.contains("Subject: clean") && !inbox.contains("Subject: virus"), "{inbox}");
    assert!(held.contains("Subject: virus"), "{held}");
    // Its part was not taken out, so it does not go to the inbox either.
    assert!(held.contains("Subject: program") && held.contains("TVo="), "{held}");
    pipe.gatepost.kill();
    let output =
        feed(Command::new(program("fdm")).arg("-f").arg(&config).arg("fetch"), &mail("away", "hello"));
    assert!(text(&output.stderr).contains("aborted"), "{}", text(&output.stderr));
    assert_eq!((read(Path::new(&at("inbox"))), read(Path::new(&at("held")))), (inbox, held));
}

#[test]
fn the_documented_listener_holds_what_would_be_refused() {
    let folder = folder();
    let socket = folder.path().join("http.sock");
    let address = free_address();
    let daemon = format!("unix:{}", socket.display());
    // The rig waits for a port; the page's listener has none.
    let text_of = docs::block_with(
        "pipe.md",
        "pipe-gatepost",
        &[("\"unix:/run/gatepost/http.sock\"", format!("\"{daemon}\", \"{address}\""))],
    );
    let gatepost = Setup::documented(text_of, address).start();
    let output = run(&["filter", "--daemon", &daemon], eicar_body("a").as_bytes());
    assert_eq!(status(&output), 99, "{}", text(&output.stderr));
    assert_eq!(gatepost.held(1).len(), 1);
}
