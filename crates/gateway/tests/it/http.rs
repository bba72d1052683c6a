//! HTTP: our own API by curl, rspamd's shape by its own client, and what unfriendly clients can do.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::rig::*;

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// Spam is held, programs are stripped, and one recipient refuses programs.
const POLICIES: &str = "[default_policy]\nactions.spam = \"quarantine\"\nactions.banned = \"strip\"\n\
    [[policy]]\nname = \"strict\"\nwhen.recipients = [\"strict@example.test\"]\nactions.banned = \"refuse\"\n\
    [[policy]]\nname = \"tagged\"\nwhen.recipients = [\"tagged@example.test\"]\n\
    actions.spam = \"mark\"\nsubject_tags.spam = \"[SPAM] \"\nextensions.spam = \"+spam\"\n";

/// A gatepost with an HTTP listener on TCP and on a unix socket.
struct Api {
    gatepost: Gatepost,
    address: SocketAddr,
}

impl Api {
    fn start(listener: &str, tables: &str) -> Api {
        let address = free_address();
        Api { gatepost: Api::setup(address, listener, tables).start(), address }
    }

    fn setup(address: SocketAddr, listener: &str, tables: &str) -> Setup {
        let http = format!("[[listener]]\nprotocol = \"http\"\nlisten = [\"{address}\"]\n{listener}\n");
        Setup::default().with(&http).with(tables)
    }

    fn post(&self, target: &str, content: &str) -> Answer {
        self.curl(target, &["--data-binary", "@-"], content)
    }

    fn curl(&self, target: &str, arguments: &[&str], content: &str) -> Answer {
        let url = format!("http://{}{target}", self.address);
        curl(&[arguments, &[&url]].concat(), content)
    }
}

/// An answer as curl shows it.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// The values of a header field.
    fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    fn one(&self, name: &str) -> &str {
        match self.all(name)[..] {
            [value] => value,
            ref values => panic!("{name}: {values:?}\n{}", self.head),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn curl(arguments: &[&str], content: &str) -> Answer {
    let mut child = Command::new(program("curl"))
        .args(["-s", "-i", "--max-time", "60"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl runs");
    let _ = child.stdin.take().expect("its input").write_all(content.as_bytes());
    let output = child.wait_with_output().expect("curl ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// The JSON that judging the same again yields again.
fn lasting(mut record: Value) -> Value {
    let fields = record.as_object_mut().expect("an object");
    for changing in ["id", "time", "times_us", "listener", "file"] {
        assert!(fields.remove(changing).is_some(), "{changing} is missing");
    }
    record
}

fn mails() -> [String; 5] {
    [
        mail("plain", "hello"),
        mail("crlf", "hello").replace('\n', "\r\n"),
        mail("spam", GTUBE),
        eicar_body("virus"),
        with_attachment("program", "x.exe", b"MZ\x90\0\x03\0\0\0"),
    ]
}

#[test]
fn scan_answers_what_the_command_prints() {
    if !needs(&["curl"]) {
        return;
    }
    let mut api = Api::start("", POLICIES);
    let socket = api.gatepost.folder().join("http.sock");
    let unix = format!("[[listener]]\nprotocol = \"http\"\nlisten = [\"unix:{}\"]\n", socket.display());
    api.gatepost.change(|setup| setup.tables.push_str(&unix));
    api.gatepost.signal(Signal::SIGHUP);
    wait_for("the socket", START, || socket.exists().then_some(()));
    let query = "ip=192.0.2.1&helo=h.test&from=a%40b.test&rcpt=strict@example.test&rcpt=c@d.test";
    let fields = [
        "-H",
        "Ip: 192.0.2.1",
        "-H",
        "Helo: h.test",
        "-H",
        "From: <a@b.test>",
        "-H",
        "Rcpt: strict@example.test",
        "-H",
        "Rcpt: c@d.test",
        "--data-binary",
        "@-",
    ];
    for content in mails() {
        let file = api.gatepost.folder().join("mail.eml");
        std::fs::write(&file, &content).expect("write");
        let command = [
            "--json",
            "--client",
            "192.0.2.1",
            "--helo",
            "h.test",
            "--from",
            "a@b.test",
            "--to",
            "strict@example.test",
            "--to",
            "c@d.test",
            file.to_str().expect("a plain path"),
        ];
        let printed = lasting(api.gatepost.json(&["scan"], &command).remove(0));
        let by_query = api.post(&format!("/v1/scan?{query}&file=mail.eml"), &content);
        assert_eq!((by_query.status, by_query.one("content-type")), (200, "application/json"));
        assert_eq!(by_query.json()["file"], "mail.eml");
        assert_eq!(by_query.json()["listener"], "http");
        assert_eq!(lasting(by_query.json()), printed);
        assert_eq!(lasting(api.curl("/v1/scan", &fields, &content).json()), printed);
        let by_unix = ["--unix-socket", socket.to_str().expect("a plain path"), "--data-binary", "@-"];
        let by_unix = curl(&[&by_unix[..], &[&format!("http://x/v1/scan?{query}")]].concat(), &content);
        assert_eq!(lasting(by_unix.json()), printed);
    }
    // An opinion is recorded, and does nothing.
    assert_eq!(api.gatepost.records(15).len(), 15);
    assert!(api.gatepost.json(&["quarantine", "list"], &["--json"]).is_empty());
}

#[test]
fn filter_gives_back_what_smtp_would_deliver() {
    if !needs(&["curl"]) {
        return;
    }
    let sink = Sink::start();
    let address = free_address();
    let mut setup = Api::setup(address, "", POLICIES);
    setup.next_hops = vec![format!("smtp://{}", sink.address)];
    let api = Api { gatepost: setup.start(), address };
    let mut dialog = api.gatepost.connect();
    dialog.greet();
    let mut records = 0;
    for (content, action) in [
        (mail("plain", "hello"), "deliver"),
        (with_attachment("program", "x.exe", b"MZ\x90\0\x03\0\0\0"), "strip"),
    ] {
        assert_eq!(dialog.message("a@client.test", &["user@example.test"], &content).code, 250);
        let delivered = sink.received().pop().expect("a delivery").text();
        let answer = api.post("/v1/filter?from=a@client.test&rcpt=user@example.test", &content);
        assert_eq!((answer.status, answer.one("gatepost-action")), (200, action), "{}", answer.head);
        assert_eq!(answer.all("gatepost-rcpt"), ["user@example.test"]);
        // What differs is the record's id.
        records += 2;
        let known = api.gatepost.records(records);
        let ids: BTreeSet<_> = known.iter().filter_map(|record| record["id"].as_str()).collect();
        let blank = |text: &str| ids.iter().fold(text.to_owned(), |text, id| text.replace(id, "ID"));
        assert_eq!(blank(&answer.body), blank(&delivered));
    }
}

#[test]
fn filter_holds_refuses_and_splits() {
    if !needs(&["curl"]) {
        return;
    }
    let api = Api::start("", POLICIES);
    let program = with_attachment("program", "x.exe", b"MZ\x90\0\x03\0\0\0");
    let user = "rcpt=user@example.test";
    let both = "rcpt=user@example.test&rcpt=strict@example.test";
    for (query, content, status, action, recipients) in [
        (user, eicar_body("a"), 204, "refuse", ""),
        (user, mail("b", GTUBE), 204, "quarantine", ""),
        ("rcpt=tagged@example.test", mail("c", GTUBE), 200, "mark", "tagged+spam@example.test"),
        ("rcpt=strict@example.test", program.clone(), 204, "refuse", ""),
        (both, program.clone(), 200, "strip", "user@example.test"),
    ] {
        let answer = api.post(&format!("/v1/filter?{query}"), &content);
        assert_eq!((answer.status, answer.one("gatepost-action")), (status, action), "{query} {answer:?}");
        assert_eq!(answer.all("gatepost-rcpt").join(" "), recipients);
        assert_eq!(answer.body.is_empty(), status == 204);
    }
    // Nothing is held twice, and what is held is as it came.
    let held = api.gatepost.held(2);
    assert_eq!(held.len(), 2, "the spam, and the program for the one who does not get it: {held:#?}");
    let spam = held.iter().find(|entry| entry["category"] == "spam").expect("the spam");
    let shown = api.gatepost.command(&["quarantine", "show"], &[spam["id"].as_str().unwrap(), "--raw"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout), mail("b", GTUBE).replace('\n', "\r\n"));
    let answer = api.post(&format!("/v1/filter?{both}&split=no"), &program);
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.json()["error"].as_str().is_some_and(|error| error.contains("differ by recipient")));
    assert_eq!(api.gatepost.records(5).len(), 5, "nothing was done");
}

#[test]
fn without_holding_the_message_comes_back_marked() {
    if !needs(&["curl"]) {
        return;
    }
    let api = Api::start("", POLICIES);
    for (content, field) in [
        (mail("a", "hello"), "deliver (clean)"),
        (eicar_body("b"), "refuse (virus)"),
        (mail("c", GTUBE), "quarantine (spam)"),
        (format!("X-Gatepost-Action: deliver (clean)\n{}", eicar_body("d")), "refuse (virus)"),
        // Kept nowhere, so it is not taken out.
        (with_attachment("e", "x.exe", b"MZ\x90\0\x03\0\0\0"), "strip (banned)"),
    ] {
        let answer = api.post("/v1/filter?hold=no", &content);
        assert_eq!(answer.status, 200, "{answer:?}");
        let fields: Vec<_> =
            answer.body.lines().filter(|line| line.starts_with("X-Gatepost-Action: ")).collect();
        assert_eq!(fields, [format!("X-Gatepost-Action: {field}")], "{}", answer.body);
        let body = content.split_once("\n\n").expect("a body").1;
        assert!(answer.body.replace("\r\n", "\n").ends_with(&format!("\n\n{body}")), "{}", answer.body);
    }
    assert!(api.gatepost.json(&["quarantine", "list"], &["--json"]).is_empty());
}

#[test]
fn after_the_queue_nothing_is_refused() {
    if !needs(&["curl"]) {
        return;
    }
    let api = Api::start("after_queue = true", "");
    let answer = api.post("/v1/filter?rcpt=user@example.test", &eicar_body("a"));
    assert_eq!((answer.status, answer.one("gatepost-action")), (204, "quarantine"));
    assert_eq!(api.gatepost.held(1)[0]["id"], answer.one("gatepost-id"));
}

#[test]
fn the_direction_is_told_by_client_user_and_recipients() {
    if !needs(&["curl"]) {
        return;
    }
    let address = free_address();
    let gatepost = Api::setup(address, "", "").globally("domains = [\"example.test\"]").start();
    let api = Api { gatepost, address };
    for (query, direction) in [
        ("ip=192.0.2.1&rcpt=user@example.test", "inbound"),
        ("ip=127.0.0.1&rcpt=user@elsewhere.test", "outbound"),
        ("ip=192.0.2.1&user=alice&rcpt=user@elsewhere.test", "outbound"),
        ("ip=192.0.2.1&user=alice&rcpt=user@example.test", "internal"),
        ("rcpt=user@example.test", "inbound"),
    ] {
        let record = api.post(&format!("/v1/scan?{query}"), &mail("a", "hello")).json();
        assert_eq!(record["direction"], direction, "{query}");
    }
}

#[test]
fn every_failure_is_json_with_one_key() {
    if !needs(&["curl"]) {
        return;
    }
    let api = Api::start("", "[limits]\nmessage_size = \"20 KiB\"\nrecipients = 2\n");
    let large = mail("large", &"0123456789\n".repeat(5000));
    let post = ["--data-binary", "@-"];
    let with = |field: &'static str| [&post[..], &["-H", field]].concat();
    for (target, arguments, status, part) in [
        ("/", vec![], 404, "there is no \"/\" here"),
        ("/learnspam", post.to_vec(), 404, "learnspam"),
        ("/v1/scan", vec![], 405, "takes POST"),
        ("/ping", post.to_vec(), 405, "takes GET"),
        ("/v1/scan?rcpt=a&rcpt=b&rcpt=c", post.to_vec(), 400, "limits.recipients"),
        ("/v1/scan?to=a@b.test", post.to_vec(), 400, "no parameter \"to\""),
        ("/v1/scan?ip=x", post.to_vec(), 400, "ip: \"x\" is no address"),
        ("/v1/scan?from=%00", post.to_vec(), 400, "control characters"),
        ("/v1/scan?hold=%", post.to_vec(), 400, "percent-encoded"),
        ("/v1/filter", post.to_vec(), 400, "rcpt is missing"),
        ("/v1/scan", with("Origin: http://example.org"), 403, "web pages"),
        ("/v1/scan", post.to_vec(), 413, "limits.message_size"),
        ("/v1/scan", with("Expect: 100-continue"), 413, "limits.message_size"),
        ("/v1/scan", with("Transfer-Encoding: chunked"), 413, "limits.message_size"),
        ("/v1/scan", with("Content-Encoding: gzip"), 415, "compressed"),
        ("/checkv2", with("Compression: zstd"), 415, "compressed"),
        ("/checkv2", with("Message-Length: 5"), 415, "control blocks"),
        ("/checkv2", with("File: /etc/passwd"), 415, "in the body"),
        ("/checkv2", with("Key: abc"), 415, "encrypted"),
    ] {
        let answer = api.curl(target, &arguments, &large);
        assert_eq!(answer.status, status, "{target} {arguments:?}: {answer:?}");
        let json = answer.json();
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(1), "{json}");
        assert!(json["error"].as_str().is_some_and(|error| error.contains(part)), "{target}: {json}");
    }
    for target in ["/v1/scan", "/v1/filter?rcpt=a@b.test", "/checkv2"] {
        let answer = api.post(target, "");
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (400, &"there is no message in the body".into())
        );
    }
    assert_eq!(api.curl("/v1/scan", &[], "").one("allow"), "POST");
    assert_eq!(api.curl("/ping", &[], "").body, "pong\r\n");
    assert_eq!(api.post("/v1/scan?rcpt=a+b@c.test", &mail("a", "x")).json()["recipients"][0], "a+b@c.test");
}

#[test]
fn a_token_is_asked_for_and_needed_where_others_could_ask() {
    if !needs(&["curl"]) {
        return;
    }
    let mut api = Api::start("token = \"s3cret\"", "");
    let content = mail("a", "hello");
    for (field, status) in [
        ("X: y", 401),
        ("Authorization: Bearer s3cret", 200),
        ("Authorization: Bearer other", 401),
        ("Password: s3cret", 200),
        ("Password: s3cre", 401),
    ] {
        let answer = api.curl("/v1/scan", &["-H", field, "--data-binary", "@-"], &content);
        assert_eq!(answer.status, status, "{field}: {answer:?}");
    }
    assert_eq!(api.post("/v1/scan", &content).one("www-authenticate"), "Bearer");
    assert_eq!(api.curl("/v1/openapi.json", &[], "").status, 401);
    assert_eq!(api.curl("/ping", &[], "").status, 200);
    // A reload counts for new connections.
    api.gatepost.change(|setup| setup.tables = setup.tables.replace("s3cret", "changed"));
    api.gatepost.signal(Signal::SIGHUP);
    wait_for("the new token", START, || {
        let changed = ["-H", "Password: changed", "--data-binary", "@-"];
        (api.curl("/v1/scan", &changed, &content).status == 200).then_some(())
    });
    for open in ["listen = [\"0.0.0.0:8\"]", "listen = [\"127.0.0.1:8\"]\nallow_from = [\"0.0.0.0/0\"]"] {
        let file = api.gatepost.folder().join("open.toml");
        std::fs::write(&file, format!("[[listener]]\nprotocol = \"http\"\n{open}\n")).expect("write");
        let output = run(&["serve", "-c", file.to_str().expect("a plain path")], b"");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains("listener[0].token: is needed"), "{told}");
    }
}

#[test]
fn the_description_is_true() {
    if !needs(&["curl"]) {
        return;
    }
    let api = Api::start("", POLICIES);
    let description = api.curl("/v1/openapi.json", &[], "").json();
    assert_eq!(description["openapi"], "3.1.0");
    let paths: BTreeSet<_> = description["paths"].as_object().expect("paths").keys().collect();
    assert_eq!(paths.len(), 5, "{paths:?}");
    let schemas = &description["components"]["schemas"];
    let text = description.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(schemas.get(reference).is_some(), "{reference} is described nowhere");
    }
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
    let record = api.post("/v1/scan?rcpt=a@b.test", &eicar_body("a")).json();
    let mut described = keys(&schemas["Record"]["properties"]);
    described.insert("file".into());
    // Only there where somebody is to be told of it.
    assert!(described.remove("notice"));
    assert_eq!(keys(&record), described);
    for (list, schema) in
        [("findings", "FindingRecord"), ("parts", "PartRecord"), ("verdicts", "VerdictRecord")]
    {
        let mut described = keys(&schemas[schema]["properties"]);
        // Only rules bring one along.
        assert!(list != "findings" || described.remove("meaning"));
        assert_eq!(keys(&record[list][0]), described, "{list}");
    }
    let checked = api.post("/checkv2", &eicar_body("a")).json();
    let described = keys(&schemas["Checked"]["properties"]);
    assert!(keys(&checked).is_subset(&described), "{checked:#}");
}

#[test]
fn rspamc_gets_its_answers_here() {
    if !needs(&["rspamc"]) {
        return;
    }
    let api = Api::start("", POLICIES);
    let file = api.gatepost.folder().join("mail.eml");
    let documented = docs::block_with(
        "http-api.md",
        "rspamc",
        &[("127.0.0.1:11333", api.address.to_string()), ("mail.eml", file.display().to_string())],
    );
    let ask = |content: &str, more: &str| {
        std::fs::write(&file, content).expect("write");
        let line = documented.trim().replace("b@example.org", "user@example.test") + more;
        let output = Command::new("sh").args(["-c", &line]).output().expect("rspamc runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (content, parts) in [
        (mail("a", "hello http://www.example.com/x"), &["Action: no action", "www.example.com"][..]),
        (mail("b", GTUBE), &["Action: reject", "Spam: true", "GTUBE (1000.00)", "Message - smtp_message: "]),
        (eicar_body("c"), &["Action: reject", "VIRUS", "Message - smtp_message: Virus detected"]),
        (with_attachment("d", "x.exe", b"MZ"), &["Action: no action", "BANNED_"]),
    ] {
        let said = ask(&content, "");
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.contains("Message-ID: "), "{said}");
    }
    // The spam is in the vault for its recipient, and no more than once; of the stripped one there is a copy.
    assert_eq!(api.gatepost.held(2).len(), 2);
    let record = api.gatepost.records(4).remove(0);
    for (key, value) in [
        ("client", "192.0.2.1"),
        ("helo", "client.example"),
        ("sender", "a@example.net"),
        ("listener", "http"),
    ] {
        assert_eq!(record[key], value);
    }
    // The new body comes behind the JSON, and rspamc shows it.
    let said = ask(&with_attachment("e", "x.exe", b"MZ"), " --mime");
    assert!(said.contains("X-Spam-Action: no action") && !said.contains("TVo="), "{said}");
    assert!(said.contains("Subject: e\n") || said.contains("Subject: e\r\n"), "{said}");
}

#[test]
fn clients_of_rspamd_are_told_what_to_change() {
    if !needs(&["curl"]) {
        return;
    }
    let api = Api::start("", POLICIES);
    let forged = mail("spam", GTUBE).replace("Subject:", "X-Spam-Flag: NO\nX-Spam-Flag: NO\nSubject:");
    let ask = |rcpt: &str, fields: &[&str], content: &str| {
        let rcpt = format!("Rcpt: {rcpt}");
        let fields = fields.iter().flat_map(|field| ["-H", *field]);
        let arguments: Vec<&str> = ["-H", &rcpt, "--data-binary", "@-"].into_iter().chain(fields).collect();
        api.curl("/checkv2", &arguments, content)
    };
    let marked = ask("tagged@example.test", &["Queue-Id: 4XYZ", "Pass: all"], &forged).json();
    for (pointer, value) in [
        ("/action", Value::from("rewrite subject")),
        ("/subject", "[SPAM] spam".into()),
        ("/score", 1000.0.into()),
        ("/required_score", 10.0.into()),
        ("/is_skipped", false.into()),
        ("/queue-id", "4XYZ".into()),
        ("/message-id", "spam@client.test".into()),
        ("/symbols/GTUBE/name", "GTUBE".into()),
        ("/symbols/GTUBE/metric_score", 1000.0.into()),
        ("/milter/remove_headers/X-Spam-Flag", 0.into()),
        ("/milter/add_headers/X-Spam-Flag/value", "YES".into()),
        ("/milter/add_headers/X-Virus-Scanned/order", 0.into()),
    ] {
        assert_eq!(marked.pointer(pointer), Some(&value), "{pointer}: {marked:#}");
    }
    assert!(marked["symbols"]["GTUBE"]["description"].as_str().is_some_and(|text| !text.is_empty()));
    assert!(marked["milter"]["add_headers"].get("Subject").is_none(), "told once: {marked:#}");
    let held = ask("user@example.test", &[], &forged).json();
    assert_eq!((&held["action"], &held["milter"]["reject"]), (&"reject".into(), &"discard".into()));
    assert_eq!(api.gatepost.held(1).len(), 1);
    let opinion = api.post("/checkv2", &forged).json();
    assert_eq!((&opinion["action"], &opinion["milter"]["reject"]), (&"reject".into(), &Value::Null));
    // A program must not pass where the body cannot be changed.
    let program = with_attachment("program", "x.exe", b"MZ\x90\0\x03\0\0\0");
    let plain = ask("user@example.test", &[], &program).json();
    assert_eq!(plain["action"], "reject", "{plain:#}");
    let answer = ask("user@example.test", &["Flags: milter,body_block"], &program);
    let offset: usize = answer.one("message-offset").parse().expect("a number");
    let (json, message) = answer.body.split_at(offset);
    let json: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(json["action"], "no action");
    assert!(message.starts_with("From: <sender@client.test>\r\n"), "{message}");
    assert!(message.contains("See there.") && !message.contains("TVqQ"), "{message}");
    // An opinion keeps nothing, so it takes nothing out, and the program does not pass as it is.
    let opinion = api.curl("/checkv2", &["-H", "Flags: body_block", "--data-binary", "@-"], &program);
    assert_eq!(opinion.json()["action"], "reject", "{opinion:?}");
    assert!(opinion.all("message-offset").is_empty(), "{opinion:?}");
}

#[test]
fn what_is_not_for_all_passes_to_nobody() {
    if !needs(&["curl"]) {
        return;
    }
    let api = Api::start("", POLICIES);
    let program = with_attachment("program", "x.exe", b"MZ\x90\0\x03\0\0\0");
    let mut records = 0;
    for (one, other, content, action) in [
        ("user", "tagged", mail("a", "hello"), "no action"),
        // One would have it without the program; to the other it is refused.
        ("user", "strict", program.clone(), "reject"),
        // It is held for one and marked for the other.
        ("user", "tagged", mail("b", GTUBE), "reject"),
    ] {
        let recipients = [one, other].map(|name| format!("Rcpt: {name}@example.test"));
        let [one, other] = recipients.each_ref().map(String::as_str);
        let arguments = ["-H", one, "-H", other, "-H", "Flags: body_block", "--data-binary", "@-"];
        let checked = api.curl("/checkv2", &arguments, &content).json();
        assert_eq!(checked["action"], action, "{checked:#}");
        // The sender hears of it: nobody may take the message and forget it.
        assert_eq!(checked["milter"]["reject"], Value::Null, "{checked:#}");
        records += 1;
        let record = api.gatepost.records(records).pop().expect("a record");
        assert_eq!(record["id"], checked["gatepost_id"]);
        let refused = |verdict: &Value| {
            verdict["outcome"].as_str().is_some_and(|outcome| outcome.starts_with("refused: 550 5.7.1"))
        };
        let all_refused = record["verdicts"].as_array().is_some_and(|all| all.iter().all(refused));
        assert_eq!(all_refused, action == "reject", "{record:#}");
    }
    assert!(api.gatepost.json(&["quarantine", "list"], &["--json"]).is_empty());
}

#[test]
fn stray_line_endings_are_refused_where_that_is_wanted() {
    if !needs(&["curl"]) {
        return;
    }
    let api = Api::start("", "[limits]\nstray_line_endings = \"refuse\"\n");
    let unix = mail("a", "one\ntwo");
    for (content, status) in
        [(unix.clone(), 200), (unix.replace('\n', "\r\n"), 200), (unix.replacen('\n', "\r\n", 3), 422)]
    {
        for target in ["/v1/scan", "/v1/filter?rcpt=user@example.test", "/v1/filter?hold=no", "/checkv2"] {
            let answer = api.post(target, &content);
            assert_eq!(answer.status, status, "{target} {content:?}: {answer:?}");
            let told = answer.body.contains("550 5.5.2 Message has bare CR or LF");
            assert_eq!(told, status == 422, "{answer:?}");
        }
    }
}

#[test]
fn checks_that_cannot_look_defer() {
    if !needs(&["curl"]) {
        return;
    }
    let api = Api::start("", "[checks.clamd.main]\nsocket = \"unix:/nonexistent/clamd.sock\"\n");
    let answer = api.post("/v1/filter?rcpt=user@example.test", &mail("a", "hello"));
    assert_eq!((answer.status, answer.one("gatepost-action")), (204, "defer"), "{answer:?}");
    assert!(answer.one("gatepost-reply").starts_with("451 "), "{answer:?}");
    let answer = api.post("/checkv2", &mail("a", "hello")).json();
    assert_eq!(answer["action"], "soft reject", "{answer:#}");
}

#[test]
fn large_messages_are_judged_whole_and_connections_are_bounded() {
    if !needs(&["curl"]) {
        return;
    }
    let api = Api::start("", "[limits]\nmemory = \"100 KiB\"\nmessages = 3\n");
    let filling = "0123456789 abcdefghij\n".repeat(40_000);
    let content = mail("large", &format!("{filling}{GTUBE}\n{filling}"));
    for content in [&content, &content.replace('\n', "\r\n")] {
        let record = api.post("/v1/scan", content).json();
        assert_eq!(record["size"], content.replace("\r\n", "\n").replace('\n', "\r\n").len());
        assert_eq!(record["category"], "spam");
    }
    let answer = api.post("/v1/filter?hold=no", &content);
    assert!(answer.body.replace("\r\n", "\n").ends_with(&format!("{filling}\n")), "{}", answer.head);
    let mut stream = TcpStream::connect(api.address).expect("connect");
    for _ in 0..3 {
        assert_eq!(ask_again(&mut stream, &mail("a", "hello")).0, 200);
    }
    assert_eq!(until_closed(&mut stream).0, "");
}

/// Reads until the server closes; how long that took.
fn until_closed(stream: &mut TcpStream) -> (String, Duration) {
    let began = Instant::now();
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    (String::from_utf8_lossy(&said).into_owned(), began.elapsed())
}

#[test]
fn slow_clients_are_not_waited_for() {
    let limits = "[limits]\ncommand_time = 2\ndata_time = 2\nmessage_time = 4\n";
    let api = Api::start("", limits);
    let head = "POST /v1/scan HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n";
    let connect = || TcpStream::connect(api.address).expect("connect");
    // Nothing; half a head; a head byte by byte; a message that stops; one that comes byte by byte.
    let mut silent = connect();
    let mut half = connect();
    half.write_all(head.as_bytes()).expect("send");
    let mut stopped = connect();
    stopped.write_all(format!("{head}\r\nFrom: a\r\n").as_bytes()).expect("send");
    let drip = |mut stream: TcpStream, bytes: String| {
        let began = Instant::now();
        std::thread::spawn(move || {
            for byte in bytes.bytes() {
                if stream.write_all(&[byte]).is_err() || began.elapsed() > Duration::from_secs(40) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(300));
            }
            began.elapsed()
        })
    };
    let dripping = drip(connect(), head.to_owned() + &"X: y\r\n".repeat(100));
    let mut message = connect();
    message.write_all(format!("{head}\r\n").as_bytes()).expect("send");
    let trickling = drip(message.try_clone().expect("once more"), "x".repeat(100));
    for (name, stream, status) in [
        ("silent", &mut silent, ""),
        ("half", &mut half, ""),
        ("stopped", &mut stopped, "408"),
        ("trickling", &mut message, "408"),
    ] {
        let (said, time) = until_closed(stream);
        assert!(time < Duration::from_secs(30), "{name}: {time:?}");
        assert!(said.split(' ').nth(1).unwrap_or_default().starts_with(status), "{name}: {said}");
    }
    for (name, thread) in [("dripping", dripping), ("trickling", trickling)] {
        assert!(thread.join().expect(name) < Duration::from_secs(30), "{name}");
    }
    wait_for("all are gone", START, || (api.gatepost.metric("gatepost_sessions ", &[]) == 0.0).then_some(()));
}

/// One request on a connection that stays; the status and the body.
fn ask_again(stream: &mut TcpStream, content: &str) -> (u16, String) {
    let request = format!(
        "POST /v1/scan?rcpt=a@b.test HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    );
    stream.write_all(request.as_bytes()).expect("ask");
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&said).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
            if body.len() >= length {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
                return (status, body.to_owned());
            }
        }
        match stream.read(&mut buffer).expect("an answer") {
            0 => panic!("closed: {text}"),
            count => said.extend_from_slice(&buffer[..count]),
        }
    }
}

#[test]
fn two_hundred_connections_at_once() {
    let api = Api::start("", "");
    let mut streams: Vec<TcpStream> = (0..200)
        .map(|_| {
            let stream = TcpStream::connect(api.address).expect("connect");
            stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
            stream
        })
        .collect();
    let before = api.gatepost.status("VmRSS");
    let threads: Vec<_> = streams
        .drain(..)
        .enumerate()
        .map(|(number, mut stream)| {
            std::thread::spawn(move || {
                for round in 0..3 {
                    let bad = (number + round) % 4 == 0;
                    let subject = format!("{number} {round}");
                    let content = if bad { eicar_body(&subject) } else { mail(&subject, "hello") };
                    let (status, body) = ask_again(&mut stream, &content);
                    assert_eq!(status, 200, "{body}");
                    let record: Value = serde_json::from_str(&body).expect("JSON");
                    assert_eq!(record["subject"], subject.as_str());
                    assert_eq!(record["category"], if bad { "virus" } else { "clean" });
                }
                stream
            })
        })
        .collect();
    let streams: Vec<TcpStream> =
        threads.into_iter().map(|thread| thread.join().expect("a client")).collect();
    assert_eq!(api.gatepost.metric("gatepost_sessions ", &[]), 200.0);
    let grown = api.gatepost.status("VmRSS").saturating_sub(before);
    assert!(grown < 150 << 10, "memory grew by {grown} kB");
    drop(streams);
    wait_for("all are gone", START, || (api.gatepost.metric("gatepost_sessions ", &[]) == 0.0).then_some(()));
}

#[test]
fn sigterm_answers_what_is_under_way() {
    let mut api = Api::start("", "");
    let connect = || TcpStream::connect(api.address).expect("connect");
    let (mut idle, mut half, mut busy) = (connect(), connect(), connect());
    assert_eq!(ask_again(&mut idle, &mail("first", "hello")).0, 200);
    half.write_all(b"POST /v1/scan HTTP/1.1\r\nHost: x\r\n").expect("send");
    let content = mail("last", "hello");
    let head = format!("POST /v1/scan HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", content.len());
    busy.write_all(head.as_bytes()).expect("send");
    // All three are with the daemon when it is told to stop.
    wait_for("three sessions", START, || {
        (api.gatepost.metric("gatepost_sessions ", &[]) == 3.0).then_some(())
    });
    std::thread::sleep(Duration::from_millis(200));
    api.gatepost.signal(Signal::SIGTERM);
    assert_eq!(until_closed(&mut idle).0, "");
    wait_for("the port is closed", START, || (!answers(api.address)).then_some(()));
    half.write_all(b"Content-Length: 0\r\n\r\n").expect("send");
    let (said, _) = until_closed(&mut half);
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("\"error\""), "{said}");
    busy.write_all(content.as_bytes()).expect("send");
    let (said, _) = until_closed(&mut busy);
    assert!(said.starts_with("HTTP/1.1 200 ") && said.contains("\"subject\":\"last\""), "{said}");
    assert_eq!(api.gatepost.wait().code(), Some(0));
}

#[test]
fn who_goes_away_is_recorded_all_the_same() {
    let api = Api::start("", POLICIES);
    let content = mail("gone", GTUBE);
    let mut stream = TcpStream::connect(api.address).expect("connect");
    let head = format!(
        "POST /v1/filter?rcpt=a@b.test HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{content}",
        content.len()
    );
    stream.write_all(head.as_bytes()).expect("send");
    drop(stream);
    let record = api.gatepost.records(1).remove(0);
    assert_eq!(record["subject"], "gone");
    assert_eq!(api.gatepost.held(1).len(), 1);
}

/// One attempt: the status of a whole answer.
fn attempt(address: SocketAddr, content: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let head = format!(
        "POST /v1/filter?rcpt=a@b.test HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    stream.write_all((head + content).as_bytes()).ok()?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).ok()?;
    let said = String::from_utf8_lossy(&said);
    let (head, body) = said.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let whole = length.map_or(status == 204, |length| length.parse() == Ok(body.len()));
    whole.then_some(status)
}

#[test]
fn what_was_told_to_be_held_is_held_whatever_kills_us() {
    const SENDERS: usize = 3;
    let mut api = Api::start("", "[default_policy]\nactions.spam = \"quarantine\"\n");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (stop, address) = (stop.clone(), api.address);
            std::thread::spawn(move || {
                let mut held = Vec::new();
                for number in (sender..).step_by(SENDERS) {
                    if stop.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    let spam = number % 2 == 0;
                    let filling = "filling\n".repeat(200);
                    let body = if spam { format!("{GTUBE}\n{filling}") } else { filling };
                    let content = mail(&format!("number {number}"), &body);
                    let end = Instant::now() + Duration::from_secs(120);
                    let status = loop {
                        if let Some(status) = attempt(address, &content) {
                            break status;
                        }
                        assert!(Instant::now() < end, "{number} was never answered");
                        std::thread::sleep(Duration::from_millis(5));
                    };
                    assert_eq!(status, if spam { 204 } else { 200 }, "{number}");
                    held.extend(spam.then(|| format!("number {number}")));
                }
                held
            })
        })
        .collect();
    let (begin, mut kills) = (Instant::now(), 0);
    while kills < 40 && begin.elapsed() < Duration::from_secs(25) {
        let started = Instant::now();
        api.gatepost.restart();
        std::thread::sleep(spread(kills, 256) + started.elapsed() / 2);
        api.gatepost.kill();
        kills += 1;
    }
    api.gatepost.restart();
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    let told: Vec<String> = senders.into_iter().flat_map(|sender| sender.join().expect("a sender")).collect();
    println!("{kills} kills, {} told to be held", told.len());
    assert!(kills >= 10 && told.len() >= 10, "{kills} kills, {} held", told.len());
    let listed = wait_for("all that was told to be held", START, || {
        let listed = api.gatepost.held(told.len());
        let id = |subject: &String| {
            let entry = listed.iter().find(|entry| entry["subject"] == subject.as_str())?;
            entry["id"].as_str().map(|id| (subject.clone(), id.to_owned()))
        };
        // The journal is written in batches, a tenth of a second behind the answers.
        told.iter().map(id).collect::<Option<Vec<_>>>()
    });
    for (place, (subject, id)) in listed.into_iter().enumerate() {
        let held = api.gatepost.original(&id);
        assert_eq!(held.matches("filling\r\n").count(), 200, "{subject}");
        if place < 3 {
            let shown = api.gatepost.command(&["quarantine", "show"], &[&id, "--raw"]);
            assert_eq!(String::from_utf8_lossy(&shown.stdout), held, "{subject}");
        }
    }
}

#[test]
fn the_documented_configurations_and_requests_work() {
    if !needs(&["curl"]) {
        return;
    }
    let address = free_address();
    let folder = folder();
    let socket = folder.path().join("http.sock");
    let replace = [
        ("unix:/run/gatepost/http.sock", format!("unix:{}", socket.display())),
        ("127.0.0.1:11333", address.to_string()),
    ];
    let configuration = docs::block_with("http-api.md", "http-gatepost", &replace);
    let _gatepost = Setup::documented(configuration, address).start();
    let file: PathBuf = folder.path().join("mail.eml");
    std::fs::write(&file, mail("documented", "hello")).expect("write");
    for (name, part) in [("http-scan", "\"subject\":\"documented\""), ("http-filter", "X-Gatepost-Id: ")] {
        let replace =
            [("127.0.0.1:11333", address.to_string()), ("@mail.eml", format!("@{}", file.display()))];
        let line = docs::block_with("http-api.md", name, &replace);
        let output = Command::new("sh").args(["-c", &format!("{} -s", line.trim())]).output().expect("sh");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(part), "{name}: {said}");
    }
}
