//! AM.PDP with its real clients: amavisd-milter between Postfix or Sendmail and gatepost, with the lines of the manual;
//! amavisd-release and amavisd-submit.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::rig::docs::{block, block_with};
use crate::rig::*;

const PAGE: &str = "as-amavis.md";
const MILTER_PARTS: [&str; 3] = ["root", "postfix", "amavisd-milter"];
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
const HOLD_SPAM: &str = "[default_policy]\nactions.spam = \"quarantine\"\n";

/// gatepost with the manual's listener, and a folder for sockets and messages.
struct Desk {
    gatepost: Gatepost,
    /// A TCP port of a second AM.PDP listener.
    tcp: SocketAddr,
    // Last, so that the process is gone before the folder is.
    folder: tempfile::TempDir,
}

impl Desk {
    /// With further keys at the top; nothing can be released.
    fn with(setup: Setup) -> Desk {
        Desk::start(setup, free_address(), "", "")
    }

    /// Released mail goes to `next_hop`; further tables and keys of the listener.
    fn new(next_hop: SocketAddr, tables: &str, listener: &str) -> Desk {
        Desk::start(Setup::default(), next_hop, tables, listener)
    }

    fn start(setup: Setup, next_hop: SocketAddr, tables: &str, listener: &str) -> Desk {
        let (folder, tcp) = (folder(), free_address());
        // amavisd-milter wants its folder closed to others.
        let tmp = folder.path().join("tmp");
        std::fs::DirBuilder::new().mode(0o750).create(&tmp).expect("a folder");
        let lines = block_with(
            PAGE,
            "am-pdp",
            &[
                ("/run/gatepost/amavis/am-pdp.sock", folder.path().join("am-pdp.sock").display().to_string()),
                ("/var/lib/amavis/tmp", folder.path().join("tmp").display().to_string()),
                ("127.0.0.1:10026", next_hop.to_string()),
            ],
        );
        let second = format!(
            "[[listener]]\nprotocol = \"am-pdp\"\nlisten = [\"{tcp}\"]\nmail_folders = [{:?}]\n\
             next_hop = [\"smtp://{next_hop}\"]\n",
            folder.path().join("tmp")
        );
        let setup = setup.with(&format!("{lines}\n{listener}\n{second}\n{tables}"));
        Desk { gatepost: setup.start(), tcp, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("am-pdp.sock")
    }

    /// A file where messages may lie.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let file = self.folder.path().join("tmp").join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(&file, content).expect("write");
        file
    }

    fn connect(&self) -> UnixStream {
        let stream = connect_unix(&self.socket());
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        stream
    }

    /// The answer to one request, line ends and all.
    fn ask(&self, request: &str) -> String {
        ask(&mut self.connect(), request)
    }

    /// Runs one of amavis's scripts with its socket, and other lines of it, set as the manual says.
    fn script(
        &self,
        name: &str,
        socket: &str,
        replace: &[(&str, String)],
        arguments: &[&str],
        input: &str,
    ) -> Output {
        let path = self.folder.path().join(name);
        let source = if name == "amavisd-requeue" { "amavisd-release" } else { name };
        let mut text = std::fs::read_to_string(program(source)).expect("the script");
        let socketname = "$socketname = '/var/lib/amavis/amavisd.sock';";
        let own = format!("$socketname = '{socket}';");
        for (old, new) in [(socketname, own)].iter().chain(replace) {
            assert!(text.contains(old), "{name} does not say {old}");
            text = text.replace(old, new);
        }
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let mut child = Command::new(&path)
            .args(arguments)
            .env("PATH", "/usr/bin:/bin")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("perl runs");
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
        child.wait_with_output().expect("it ends")
    }

    /// What amavisd-release prints, over this socket.
    fn release(&self, socket: &str, arguments: &[&str]) -> String {
        let output = self.script("amavisd-release", socket, &[], arguments, "");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// A message that is held, by AM.PDP: its id and secret id.
    fn hold(&self, subject: &str) -> (String, String) {
        let file = self.file("held", &mail(subject, GTUBE));
        let before = self.gatepost.held(0).len();
        let answer = self.ask(&judge(&file, "tempdir_removed_by=client\n"));
        assert!(answer.contains("return_value=discard\r\n"), "{answer}");
        let id = value(&answer, "log_id").to_owned();
        self.gatepost.held(before + 1);
        let shown = &self.gatepost.json(&["quarantine", "show"], &[&id, "--json"])[0];
        (id, shown["secret_id"].as_str().expect("a secret id").to_owned())
    }
}

/// A real amavisd-milter with the manual's options.
fn amavisd_milter(desk: &Desk) -> (Process, SocketAddr) {
    let address = free_address();
    let lines = block(PAGE, "amavisd-milter");
    let option = |name: &str| {
        let line = lines.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("docs/src/{PAGE} does not set {name}")).to_owned()
    };
    let at = |path: &str| path.replace("/run/gatepost/amavis", &desk.folder.path().display().to_string());
    let milter = option("MILTERSOCKET").replace("60001", &address.port().to_string());
    let work = option("WORKINGDIR").replace("/var/lib/amavis", &desk.folder.path().display().to_string());
    let mut command = Command::new(program("amavisd-milter"));
    // In the foreground, as it is under systemd.
    command.args(["-f", "-d", "2", "-s", &milter, "-S", &at(&option("AMAVISSOCKET")), "-w", &work]);
    command.arg("-p").arg(desk.folder.path().join("amavisd-milter.pid"));
    let mut process = Process::start("amavisd-milter", &mut command, &desk.folder.path().join("milter.log"));
    process.wait_until(|| answers(address).then_some(()));
    (process, address)
}

/// A Postfix that asks amavisd-milter, with the manual's lines.
fn postfix_asking(milter: SocketAddr) -> Postfix {
    let own = ("60001", milter.port().to_string());
    Postfix::with(PostfixSetup { main: block_with(PAGE, "postfix", &[own]), ..PostfixSetup::default() })
}

fn judge(file: &Path, more: &str) -> String {
    format!(
        "request=AM.PDP\nsender=<sender@client.test>\nrecipient=<user@example.test>\nmail_file={}\n{more}",
        file.display()
    )
}

fn ask(stream: &mut UnixStream, request: &str) -> String {
    stream.write_all(format!("{request}\n").as_bytes()).expect("ask");
    let (mut answer, mut octet) = (String::new(), [0]);
    while !answer.ends_with("\r\n\r\n") && answer != "\r\n" {
        match stream.read(&mut octet) {
            Ok(1) => answer.push(char::from(octet[0])),
            other => panic!("{other:?} after {answer:?}, asked {request}"),
        }
    }
    answer
}

fn value<'a>(answer: &'a str, name: &str) -> &'a str {
    let line = answer.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    line.unwrap_or_else(|| panic!("no {name} in {answer}"))
}

/// Names of the header fields, in their order.
fn field_names(mail: &str) -> Vec<String> {
    let head = mail.split("\n\n").next().unwrap_or_default();
    let fields = head.lines().filter(|line| !line.starts_with([' ', '\t']));
    fields.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

#[test]
fn behind_postfix_viruses_are_refused_and_clean_mail_is_marked_as_scanned() {
    if !needs(&MILTER_PARTS) {
        return;
    }
    let desk = Desk::new(free_address(), "", "");
    let (_milter, milter) = amavisd_milter(&desk);
    let postfix = postfix_asking(milter);
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    let reply = dialog.message("sender@client.test", &["user@example.test"], &eicar_body("bad"));
    assert!(reply.text.starts_with("550 5.7.1 ") && reply.text.contains("Eicar"), "{}", reply.text);
    let record = &desk.gatepost.records(1)[0];
    assert!(reply.text.contains(record["id"].as_str().expect("an id")), "{}", reply.text);
    assert_eq!((record["category"].as_str(), record["client"].as_str()), (Some("virus"), Some("127.0.0.1")));
    assert_eq!((record["helo"].as_str(), record["protocol"].as_str()), (Some("client.test"), Some("SMTP")));
    assert_eq!(record["listener"], "am-pdp");

    let forged = format!("X-Spam-Flag: NO\nX-Spam-Flag: MAYBE\n{}", mail("good", "all is well"));
    let reply = dialog.message("sender@client.test", &["user@example.test"], &forged);
    assert!(reply.text.contains("queued as"), "{}", reply.text);
    let mail = &postfix.delivered("user", 1)[0];
    assert!(!mail.contains("X-Spam-Flag"), "{mail}");
    let names = field_names(mail);
    let at =
        |name: &str| names.iter().position(|field| field == name).unwrap_or_else(|| panic!("{name}: {mail}"));
    // Below what Postfix itself has put on top, above what the sender wrote.
    assert!(at("Received") < at("X-Virus-Scanned") && at("X-Virus-Scanned") < at("X-Gatepost-Id"), "{mail}");
    assert!(at("X-Gatepost-Id") < at("From"), "{mail}");
    assert!(!mail.contains("amavisd-milter"), "{mail}");
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1);
}

#[test]
fn spam_is_marked_and_recipients_are_parted() {
    if !needs(&MILTER_PARTS) {
        return;
    }
    let policies = "[default_policy]\nactions.spam = \"mark\"\nsubject_tags.spam = \"[SPAM] \"\n\
                    [[policy]]\nname = \"strict\"\nwhen.recipients = [\"other@example.test\"]\n\
                    actions.spam = \"quarantine\"\n";
    let desk = Desk::new(free_address(), policies, "");
    let (_milter, milter) = amavisd_milter(&desk);
    let postfix = postfix_asking(milter);
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    let to = ["user@example.test", "other@example.test"];
    let reply = dialog.message("sender@client.test", &to, &mail("buy", GTUBE));
    assert!(reply.text.contains("queued as"), "{}", reply.text);
    let got = &postfix.delivered("user", 1)[0];
    assert!(got.contains("Subject: [SPAM] buy") && got.contains("X-Spam-Flag: YES"), "{got}");
    assert!(got.contains("X-Spam-Status: Yes, score=1000"), "{got}");
    let held = &desk.gatepost.held(1)[0];
    assert_eq!(held["verdicts"][1]["recipients"], serde_json::json!(["other@example.test"]));
    postfix.settled();
    assert!(postfix.mailbox("other").is_empty());
}

#[test]
fn killed_in_the_middle_of_a_request_nothing_is_lost() {
    if !needs(&["root", "postfix", "amavisd-milter", "clamd"]) {
        return;
    }
    let clamd = Clamd::start();
    let mut desk = Desk::new(free_address(), &clamd.check(), "");
    let (_milter, milter) = amavisd_milter(&desk);
    let postfix = postfix_asking(milter);
    clamd.hang();
    let smtp = postfix.smtp;
    let sender = std::thread::spawn(move || {
        let mut dialog = Dialog::connect(smtp);
        dialog.greet();
        dialog.message("sender@client.test", &["user@example.test"], &mail("first", "try"))
    });
    let tmp = desk.folder.path().join("tmp");
    wait_for("a message under way", START, || {
        let judging = desk.gatepost.metric("gatepost_sessions ", &[]) >= 1.0;
        (judging && std::fs::read_dir(&tmp).ok()?.next().is_some()).then_some(())
    });
    desk.gatepost.kill();
    let reply = sender.join().expect("the sender");
    assert!(reply.text.starts_with("451 4.6.0 "), "{}", reply.text);
    // Away altogether: the same.
    let mut dialog = Dialog::connect(smtp);
    dialog.greet();
    let reply = dialog.message("sender@client.test", &["user@example.test"], &mail("second", "try"));
    assert!(reply.text.starts_with("451 4.6.0 "), "{}", reply.text);
    clamd.go_on();
    desk.gatepost.restart();
    let reply = dialog.message("sender@client.test", &["user@example.test"], &mail("third", "try"));
    assert!(reply.text.contains("queued as"), "{}", reply.text);
    assert!(postfix.delivered("user", 1)[0].contains("Subject: third"));
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1);
    drop(dialog);
    wait_for("an empty folder", START, || std::fs::read_dir(&tmp).ok()?.next().is_none().then_some(()));
}

#[test]
fn behind_sendmail_the_same() {
    if !needs(&["root", "sendmail", "m4", "cc", "amavisd-milter"]) {
        return;
    }
    let sink = Sink::start();
    let desk = Desk::new(sink.address, "", "");
    let (_milter, milter) = amavisd_milter(&desk);
    let lines = block_with(PAGE, "sendmail", &[("60001", milter.port().to_string())]);
    let sendmail = SendmailSetup::to(sink.address).with(&lines).start();
    let mut dialog = Dialog::connect(sendmail.smtp);
    dialog.greet();
    let reply = dialog.message("sender@client.test", &["user@example.test"], &eicar_body("bad"));
    assert!(reply.text.starts_with("550 5.7.1 ") && reply.text.contains("Eicar"), "{}", reply.text);
    let reply = dialog.message("sender@client.test", &["user@example.test"], &mail("good", "all is well"));
    assert_eq!(reply.code, 250, "{}", reply.text);
    let mail = sink.wait_received(1)[0].text().replace("\r\n", "\n");
    let names = field_names(&mail);
    let expected = ["Received", "X-Virus-Scanned", "X-Gatepost-Id", "X-Spam-Score", "X-Spam-Status", "From"];
    let seen: Vec<&str> = names.iter().map(String::as_str).filter(|name| expected.contains(name)).collect();
    assert_eq!(seen, expected, "{mail}");
}

#[test]
fn amavisd_release_has_held_mail_sent_on() {
    if !needs(&["perl", "/usr/sbin/amavisd-release"]) {
        return;
    }
    let sink = Sink::start();
    let desk = Desk::new(sink.address, HOLD_SPAM, "");
    let (unix, tcp) = (desk.socket().display().to_string(), desk.tcp.to_string());
    let (id, secret) = desk.hold("first");
    let hop = sink.address;
    let said = desk.release(&unix, &[&id, &secret]);
    assert!(
        said.starts_with(&format!("250 2.6.0 Ok, id=rel-{id}, from MTA([127.0.0.1]:{}): 250 ", hop.port())),
        "{said}"
    );
    let mail = &sink.wait_received(1)[0];
    assert!(mail.text().contains(GTUBE) && mail.header("Subject").as_deref() == Some("first"));
    assert_eq!(mail.recipients, ["RCPT TO:<user@example.test>"]);
    // Once is enough.
    let said = desk.release(&unix, &[&id, &secret]);
    assert!(said.starts_with(&format!("550 5.5.0 {id} was released already, at 20")), "{said}");

    let (id, secret) = desk.hold("second");
    for (arguments, expected) in [
        (vec![id.as_str()], "550 5.7.1 secret_id is required, but missing\n".to_owned()),
        (vec![&id, "wrong"], format!("550 5.7.1 secret_id does not match mail_id {id}\n")),
        (vec![&id, &secret[1..]], format!("550 5.7.1 secret_id does not match mail_id {id}\n")),
        (
            vec!["l1bnIZN88okd", &secret],
            "550 5.7.1 secret_id does not match mail_id l1bnIZN88okd\n".to_owned(),
        ),
    ] {
        assert_eq!(desk.release(&tcp, &arguments), expected, "{arguments:?}");
    }
    assert!(
        desk.gatepost.log().contains("is not released for am-pdp2 [127.0.0.1]: the secret_id is not its own")
    );
    assert!(desk.gatepost.log().contains("nothing is held under this id"));
    assert_eq!(sink.received().len(), 1);
    // To somebody else it stays held; then for its own recipients, by another name of the script.
    let said = desk.release(&tcp, &[&id, &secret, "a@other.test", "b@other.test"]);
    assert_eq!(said.lines().filter(|line| line.starts_with("250 2.6.0 Ok, id=rel-")).count(), 2, "{said}");
    let mails = sink.wait_received(3);
    assert_eq!(
        (mails[1].mail.as_str(), &mails[1].recipients[0][..]),
        ("MAIL FROM:<>", "RCPT TO:<a@other.test>")
    );
    let output = desk.script("amavisd-requeue", &tcp, &[], &[&id, &secret], "");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("250 2.6.0 Ok, "), "{output:?}");
    assert_eq!(sink.wait_received(4)[3].header("Subject").as_deref(), Some("second"));
    let events = &desk.gatepost.json(&["explain"], &[&id, "--json"])[0]["events"];
    assert!(events.to_string().contains("am-pdp2 [127.0.0.1]"), "{events}");
}

#[test]
fn what_the_next_hop_refuses_stays_held() {
    if !needs(&["perl", "/usr/sbin/amavisd-release"]) {
        return;
    }
    let sink = Sink::start();
    let desk = Desk::new(sink.address, HOLD_SPAM, "require_secret = true");
    let unix = desk.socket().display().to_string();
    let (id, secret) = desk.hold("mail");
    for (step, expected) in [
        (Step::Reply("550 5.7.1 No".into()), "550 5.6.0 Not released, id=rel-"),
        (Step::Reply("451 4.7.1 Later".into()), "450 4.6.0 Not released, id=rel-"),
        (Step::Close, "450 4.6.0 Not released, id=rel-"),
    ] {
        sink.on("END", step);
        let said = desk.release(&unix, &[&id, &secret]);
        assert!(said.starts_with(expected), "{said}");
        assert_eq!(desk.gatepost.held(1)[0]["state"], "held");
    }
    sink.behave();
    assert!(desk.release(&unix, &[&id]).starts_with("550 5.7.1 secret_id is required"));
    assert!(desk.release(&unix, &[&id, &secret]).starts_with("250 2.6.0 "));
    assert_eq!(sink.received().len(), 1);
}

#[test]
fn without_a_secret_a_unix_socket_tells_what_is_wrong() {
    let sink = Sink::start();
    let desk = Desk::new(sink.address, HOLD_SPAM, "");
    let (id, _) = desk.hold("mail");
    for (request, expected) in [
        (
            "request=release\nmail_id=l1bnIZN88okd\n",
            "setreply=550 5.5.0 there%20is%20no%20message%20l1bnIZN88okd\r\n\r\n",
        ),
        (
            "request=report\nmail_id=l1bnIZN88okd\n",
            "setreply=502 5.5.1 Reports%20of%20abuse%20are%20not%20made%20here\r\n\r\n",
        ),
        (
            &format!("request=release\nmail_id={id}\nrecipient=nobody\n"),
            "setreply=553 5.1.3 <nobody>%20is%20no%20address%20such%20as%20user@example.org\r\n\r\n",
        ),
    ] {
        assert_eq!(desk.ask(request), expected, "{request}");
    }
    assert!(
        desk.ask(&format!("request=release\nmail_id={id}\n")).starts_with("setreply=250 2.6.0 Ok,%20id=rel-")
    );
    assert_eq!(sink.wait_received(1)[0].header("Subject").as_deref(), Some("mail"));
}

#[test]
fn requests_that_make_no_sense_are_put_off() {
    let desk = Desk::new(free_address(), "", "");
    let good = desk.file("good", &mail("good", "x"));
    std::fs::write(desk.folder.path().join("outside"), "A: b\n\n").expect("write");
    let outside = desk.folder.path().join("outside");
    std::os::unix::fs::symlink(&outside, desk.folder.path().join("tmp/link")).expect("a link");
    let link = desk.folder.path().join("tmp/link");
    let mut stream = desk.connect();
    for (request, why) in [
        ("", "Missing 'request'"),
        ("sender=<>\n", "Missing 'request'"),
        ("request=AM.PDP\nsender=<>\nrecipient=<a@b>\n", "Missing 'mail_file'"),
        ("request=AM.CL\n", "Unknown request 'AM.CL'"),
        (&judge(Path::new("/etc/passwd"), ""), "in none of the listener's mail_folders"),
        (&judge(&outside, ""), "in none of the listener's mail_folders"),
        (&judge(&link, ""), "is not a plain file"),
        (&judge(&desk.folder.path().join("tmp"), ""), "mail_folders"),
        (&judge(&desk.folder.path().join("tmp/none"), ""), "No such file"),
        (&judge(&good, "recipient=<a%0d%0ab@c>\n"), "Invalid 'recipient'"),
        (&judge(&good, "mail_file=/etc/passwd\n"), "'mail_file' given more than once"),
    ] {
        let answer = ask(&mut stream, request).replace("%20", " ");
        assert!(
            answer.contains("setreply=450 4.5.0 Failure: ") && answer.contains(why),
            "{request}: {answer}"
        );
        assert!(answer.ends_with("return_value=tempfail\r\nexit_code=75\r\n\r\n"), "{request}: {answer}");
    }
    // The connection is as good as before, and unknown attributes do no harm.
    let answer =
        ask(&mut stream, &judge(&good, "tempdir_removed_by=client\nfoo=bar\nclient_address\nver%73ion=1\n"));
    assert!(answer.contains("return_value=continue\r\nexit_code=0\r\n"), "{answer}");
    assert!(good.exists());
    // Too many of them end it.
    let mut answers = 0;
    while stream.write_all(b"request=x\n\n").is_ok()
        && stream.read(&mut [0; 4096]).is_ok_and(|count| count > 0)
    {
        answers += 1;
        assert!(answers < 100);
    }
    assert_eq!(answers, 9);
    // A line without end is not collected for ever.
    let mut stream = desk.connect();
    let sent = (0..10_000).take_while(|_| stream.write_all(&[b'x'; 4096]).is_ok()).count();
    assert!(sent < 1000, "{sent}");
}

#[test]
fn what_the_client_cannot_do_is_told_or_done_by_the_server() {
    let sink = Sink::start();
    let policy = "[default_policy]\nactions.virus = \"strip\"\n";
    let desk = Desk::new(sink.address, policy, "");
    let content = with_attachment("bad", "a.txt", eicar().as_bytes());
    let file = desk.file("af1/email.txt", &content);
    let answer = desk.ask(&judge(&file, "tempdir_removed_by=client\n"));
    assert!(answer.contains("setreply=554 5.6.1 ") && answer.contains("return_value=reject\r\n"), "{answer}");
    let tempdir = format!("tempdir={}\n", file.parent().expect("a folder").display());
    let answer =
        desk.ask(&judge(&file, &format!("delivery_care_of=server\ntempdir_removed_by=server\n{tempdir}")));
    assert!(answer.contains("setreply=250 ") && answer.contains("return_value=discard\r\n"), "{answer}");
    let text = sink.wait_received(1)[0].text();
    assert!(!text.contains("WDVPIVAlQEFQ") && text.contains("X-Virus-Scanned"), "{text}");
    assert!(!file.exists() && !file.parent().expect("a folder").exists(), "the server was to remove it");
    // The next hop is away: the client comes again, and finds its file.
    let file = desk.file("af2/email.txt", &mail("good", "x"));
    sink.on("MAIL", Step::Reply("451 4.3.2 Not now".into()));
    let answer = desk.ask(&judge(&file, "delivery_care_of=server\n"));
    assert!(answer.contains("return_value=tempfail\r\n") && file.exists(), "{answer}");
    // Who does not ask for it keeps the file.
    sink.behave();
    let answer = desk.ask(&judge(&file, "delivery_care_of=server\n"));
    assert!(answer.contains("return_value=discard\r\n") && file.exists(), "{answer}");
}

#[test]
fn over_tcp_nothing_is_sent_and_nothing_removed() {
    let sink = Sink::start();
    let desk = Desk::new(sink.address, "", "");
    let file = desk.file("af1/email.txt", &mail("good", "x"));
    for (asked, why) in [
        ("delivery_care_of=server\n", "delivery_care_of=server is for unix sockets only"),
        ("tempdir_removed_by=server\n", "tempdir_removed_by=server is for unix sockets only"),
        ("", ""),
    ] {
        let mut stream = std::net::TcpStream::connect(desk.tcp).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        stream.write_all(format!("{}\n", judge(&file, asked)).as_bytes()).expect("ask");
        stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let answer = answer.replace("%20", " ");
        let expected = if why.is_empty() { "return_value=continue\r\n" } else { "return_value=tempfail\r\n" };
        assert!(answer.contains(why) && answer.contains(expected), "{answer}");
        assert!(desk.gatepost.log().contains(why) && file.exists(), "{asked}");
    }
    assert!(sink.received().is_empty());
}

#[test]
fn requests_with_too_many_recipients_or_none_that_can_be_named_are_put_off() {
    let desk = Desk::new(free_address(), "[limits]\nrecipients = 3\n", "");
    let file = desk.file("mail", &mail("mail", "x"));
    for (more, why) in [
        ("recipient=<%c2%a0>\n", "is no address"),
        ("recipient=a@b.test\nrecipient=c@d.test\nrecipient=e@f.test\n", "more than 3 recipients"),
    ] {
        let answer = desk.ask(&judge(&file, more)).replace("%20", " ");
        assert!(answer.contains(why) && answer.contains("return_value=tempfail\r\n"), "{answer}");
    }
}

/// A policy bank says that there is a user, not who: the next hop is told of none.
#[test]
fn no_user_is_invented_for_the_next_hop() {
    let sink = Sink::start();
    sink.offer(&["XCLIENT NAME ADDR LOGIN"]);
    let desk = Desk::new(sink.address, "", "");
    let file = desk.file("mail", &mail("mail", "x"));
    let asked = "delivery_care_of=server\nclient_address=192.0.2.1\npolicy_bank=SMTP_AUTH\n";
    let answer = desk.ask(&judge(&file, asked));
    assert!(answer.contains("return_value=discard\r\n"), "{answer}");
    assert_eq!(desk.gatepost.records(1)[0]["user"], "authenticated");
    let told = sink.commands();
    let told = told.iter().find(|line| line.starts_with("XCLIENT")).expect("XCLIENT");
    assert!(told.contains("192.0.2.1") && told.contains("LOGIN=[UNAVAILABLE]"), "{told}");
}

#[test]
fn amavisd_submit_hands_a_message_in() {
    if !needs(&["root", "perl", "/usr/sbin/amavisd-submit"]) {
        return;
    }
    let sink = Sink::start();
    let desk = Desk::new(sink.address, "", "");
    let tmp = desk.folder.path().join("tmp").display().to_string();
    let replace = [
        ("$tempbase = '/var/lib/amavis/tmp';", format!("$tempbase = '{tmp}';")),
        ("#   'delivery_care_of=server',", "   'delivery_care_of=server',".to_owned()),
    ];
    let unix = desk.socket().display().to_string();
    let arguments = ["sender@client.test", "user@example.test"];
    let output = desk.script("amavisd-submit", &unix, &replace, &arguments, &mail("submitted", "x"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sink.wait_received(1)[0].header("Subject").as_deref(), Some("submitted"));
    assert!(std::fs::read_dir(&tmp).expect("the folder").next().is_none(), "nothing is left behind");
}

/// Every kind of instruction, byte for byte.
#[test]
fn verdicts_become_instructions() {
    let tables = "[default_policy]\nactions.spam = \"mark\"\nsubject_tags.spam = \"[SPAM] \"\n\
        [[policy]]\nname = \"ext\"\nwhen.recipients = [\"ext@example.test\"]\nextensions.spam = \"+spam\"\n\
        [[policy]]\nname = \"no\"\nwhen.recipients = [\"no@example.test\"]\nactions.spam = \"refuse\"\n\
        [[policy]]\nname = \"out\"\nwhen.directions = [\"outbound\"]\nactions.spam = \"refuse\"\n\
        [[policy]]\nname = \"in\"\nwhen.directions = [\"internal\"]\nactions.spam = \"defer\"\n\
        [[policy]]\nname = \"user\"\nwhen.authenticated = true\nactions.spam = \"discard\"\n";
    let desk = Desk::new(free_address(), tables, "");
    let forged = format!("X-Spam-Flag: NO\nReceived: x\nx-spam-flag: MAYBE\n{}", mail("buy", GTUBE));
    let file = desk.file("mail", &forged);
    let more = "recipient=ext@example.test\nrecipient=<no@example.test>\ntempdir_removed_by=client\n";
    let answer = desk.ask(&judge(&file, more));
    let id = value(&answer, "log_id");
    let status =
        "Yes,%20score=1000.0%20tag=-999%20tag2=6.31%20kill=10%0a%20tests=[GTUBE=1000.0]%20autolearn=no";
    let stars = "*".repeat(64);
    let expected = format!(
        "version_server=2\r\nlog_id={id}\r\nsetreply=250 2.5.0 Ok,%20id={id},%20continue%20delivery\r\n\
         delrcpt=ext@example.test\r\naddrcpt=<ext+spam@example.test>\r\ndelrcpt=<no@example.test>\r\n\
         chgheader=1 Subject [SPAM]%20buy\r\ndelheader=2 x-spam-flag\r\ndelheader=1 X-Spam-Flag\r\n\
         insheader=1 X-Spam-Status {status}\r\ninsheader=1 X-Spam-Level {stars}\r\n\
         insheader=1 X-Spam-Score 1000.0\r\ninsheader=1 X-Spam-Flag YES\r\ninsheader=1 X-Gatepost-Id {id}\r\n\
         insheader=1 X-Virus-Scanned gatepost%20at%20gatepost.test\r\nreturn_value=continue\r\nexit_code=0\r\n\r\n"
    );
    assert_eq!(answer, expected);
    let held = &desk.gatepost.held(1)[0];
    assert_eq!(held["verdicts"].as_array().map(Vec::len), Some(3), "{held}");
}

/// Which way mail goes is told by client, policy banks and recipients.
#[test]
fn directions_follow_client_and_policy_banks() {
    let desk =
        Desk::with(Setup::default().globally("domains = [\"example.test\"]\nnetworks = [\"192.0.2.0/24\"]"));
    let file = desk.file("mail", &mail("mail", "x"));
    let elsewhere = "recipient=<a@other.test>\n";
    let cases = [
        ("client_address=198.51.100.1\n", "inbound", ""),
        ("client_address=198.51.100.1\npolicy_bank=FOO, BAR\n", "inbound", ""),
        ("client_address=192.0.2.1\n", "internal", ""),
        ("client_address=198.51.100.1\npolicy_bank=FOO, ORIGINATING\n", "internal", ""),
        (&format!("policy_bank=MYNETS\n{elsewhere}"), "outbound", ""),
        (&format!("policy_bank=SMTP_AUTH,SMTP_AUTH_PLAIN\n{elsewhere}"), "outbound", "authenticated"),
    ];
    for (more, ..) in &cases {
        let answer = desk.ask(&judge(&file, &format!("tempdir_removed_by=client\n{more}")));
        assert!(answer.contains("return_value=continue"), "{answer}");
    }
    for (record, (more, direction, user)) in desk.gatepost.records(cases.len()).iter().zip(cases) {
        assert_eq!(record["direction"], direction, "{more}");
        assert_eq!(record["user"].as_str().unwrap_or_default(), user, "{more}");
    }
}

#[test]
fn the_mail_server_holds_where_it_is_to_and_strangers_are_turned_away() {
    let sink = Sink::start();
    let other = free_address();
    let tables = format!(
        "[[listener]]\nprotocol = \"am-pdp\"\nlisten = [\"{other}\"]\nallow_from = [\"192.0.2.1\"]\n{HOLD_SPAM}"
    );
    let desk = Desk::new(sink.address, &tables, "quarantine = \"mta\"");
    let file = desk.file("mail", &mail("buy", GTUBE));
    let answer = desk.ask(&judge(&file, "tempdir_removed_by=client\n"));
    assert!(answer.contains("\r\nquarantine=") && answer.contains("return_value=continue\r\n"), "{answer}");
    assert!(desk.gatepost.held(0).is_empty());
    let mut stranger = std::net::TcpStream::connect(other).expect("it listens");
    let _ = stranger.write_all(b"request=release\n\n");
    let mut said = Vec::new();
    assert!(!matches!(stranger.read_to_end(&mut said), Ok(1..)), "{said:?}");
    assert!(desk.gatepost.log().contains("is not in allow_from"));
}

/// As many as a busy mail server asks at once; each message lies in memory while it is judged.
#[test]
fn two_hundred_at_once_are_answered() {
    const CROWD: usize = 200;
    let desk = Desk::new(free_address(), "", "");
    let large = mail("large", &"line of text that fills the message\n".repeat(2000));
    let file = desk.file("large", &large);
    let request = judge(&file, "tempdir_removed_by=client\n");
    ask(&mut desk.connect(), &request);
    let before = desk.gatepost.status("VmRSS");
    let streams: Vec<UnixStream> = (0..CROWD).map(|_| desk.connect()).collect();
    std::thread::scope(|scope| {
        for mut stream in streams {
            let request = &request;
            scope.spawn(move || {
                stream.set_read_timeout(Some(START)).expect("a time limit");
                let answer = ask(&mut stream, request);
                assert!(answer.contains("return_value=continue\r\n"), "{answer}");
            });
        }
    });
    let grown = desk.gatepost.status("VmHWM").saturating_sub(before) / 1024;
    assert!(grown < 300, "{grown} MiB for {CROWD} messages of {} KiB", large.len() / 1024);
    wait_for("no session left", START, || {
        (desk.gatepost.metric("gatepost_sessions ", &[]) < 1.0).then_some(())
    });
}

/// Idle clients on a unix socket leave room for mail, and those that find none are told of in the log.
#[test]
fn idle_askers_do_not_shut_out_mail() {
    let desk = Desk::new(free_address(), "[limits]\nsessions = 20\n", "");
    let idle: Vec<UnixStream> = (0..18).map(|_| desk.connect()).collect();
    wait_for("idle sessions", START, || {
        (desk.gatepost.metric("gatepost_sessions ", &[]) >= 18.0).then_some(())
    });
    let mut more = desk.connect();
    assert!(matches!(more.read(&mut [0; 1]), Ok(0) | Err(_)), "turned away");
    assert!(desk.gatepost.log().contains("Too many sessions, a client on a unix socket turned away"));
    desk.gatepost.connect().greet();
    drop(idle);
}

/// By each kind of front: who comes by an originating listener is one of ours.
#[test]
fn an_originating_listener_s_mail_is_our_own_users() {
    let sink = Sink::start();
    let setup =
        Setup::to(sink.address).globally("domains = [\"example.test\"]").listening("originating = true");
    let desk = Desk::start(setup, sink.address, "", "originating = true");
    let file = desk.file("mail", &mail("mail", "x"));
    for (more, direction) in [("", "internal"), ("recipient=<a@other.test>\n", "outbound")] {
        let before = desk.gatepost.records(0).len();
        let answer = desk.ask(&judge(&file, &format!("client_address=198.51.100.1\n{more}")));
        assert!(answer.contains("return_value=continue"), "{answer}");
        assert_eq!(desk.gatepost.records(before + 1)[before]["direction"], direction, "{more}");
    }
    let mut dialog = desk.gatepost.connect();
    dialog.greet();
    dialog.message("a@client.test", &["a@other.test"], &mail("mail", "x"));
    assert_eq!(desk.gatepost.records(3)[2]["direction"], "outbound");
}
