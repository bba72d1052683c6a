//! The rig's own parts do what the other tests presume of them, without gatepost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::rig::*;

#[test]
fn postfix_takes_known_users_and_refuses_others() {
    if !needs(&["root", "postfix"]) {
        return;
    }
    let mut postfix = Postfix::start();
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    dialog.say("MAIL FROM:<a@client.test>", "250");
    dialog.say("RCPT TO:<nobody@example.test>", "550 5\\.1\\.1 .*User unknown in virtual mailbox table");
    dialog.say("RSET", "250");
    let reply = dialog.message("a@client.test", &["user@example.test"], &mail("one", "first"));
    assert!(matches(".*queued as [0-9A-F]+$", &reply.text), "{}", reply.text);
    assert!(postfix.delivered("user", 1)[0].contains("first"));
    postfix.kill();
    assert!(!answers(postfix.smtp));
    postfix.restart();
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    dialog.message("a@client.test", &["other@example.test"], &mail("two", "second"));
    assert!(postfix.delivered("other", 1)[0].contains("second"));
    postfix.settled();
}

#[test]
fn clamd_knows_the_test_files() {
    if !needs(&["clamd"]) {
        return;
    }
    let mut clamd = Clamd::start();
    assert!(scan(&clamd, eicar_body("x").as_bytes()).contains("Eicar-Test-Signature"), "EICAR in a mail");
    assert!(scan(&clamd, b"hello").ends_with("OK\0"));
    clamd.kill();
    assert!(!answers(clamd.tcp));
    clamd.restart();
    let folder = Path::new("/usr/share/clamav-testfiles");
    for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let answer = scan(&clamd, &std::fs::read(file.path()).expect("readable"));
        assert!(answer.contains("ClamAV-Test-File"), "{:?}: {answer}", file.file_name());
    }
}

fn scan(clamd: &Clamd, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(clamd.tcp).expect("clamd");
    stream.write_all(b"zINSTREAM\0").expect("send");
    stream.write_all(&u32::try_from(bytes.len()).expect("small").to_be_bytes()).expect("send");
    stream.write_all(bytes).expect("send");
    stream.write_all(&[0; 4]).expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_name_server_knows_its_records_only() {
    if !needs(&["unbound"]) {
        return;
    }
    let dns = Dns::start(&["bl.test."], &["2.0.0.127.bl.test. A 127.0.0.2"]);
    for (name, count, rcode) in
        [("2.0.0.127.bl.test", 1, 0), ("3.0.0.127.bl.test", 0, 3), ("else.example", 0, 5)]
    {
        let answer = ask(&dns, name);
        assert_eq!((answer[7], answer[3] & 15), (count, rcode), "{name}");
    }
}

/// Asks for the A records of a name and returns the answer's bytes.
fn ask(dns: &Dns, name: &str) -> Vec<u8> {
    let mut question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).expect("short"));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(b"\0\0\x01\0\x01");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(START)).expect("a time limit");
    socket.send_to(&question, dns.address).expect("send");
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).expect("an answer");
    buffer[..length].to_vec()
}

#[test]
fn the_sink_follows_its_rules() {
    let sink = Sink::start();
    sink.on_some("RCPT", "bad@", usize::MAX, Step::Reply("550 5.1.1 not here".into()));
    sink.on_some("END", "", 1, Step::Reply("451 4.3.0 later".into()));
    let mut dialog = Dialog::connect(sink.address);
    dialog.greet();
    for (reply, count) in [("451 4.3.0 later", 0), ("250 2.0.0 sink has it", 1)] {
        dialog.say("MAIL FROM:<a@client.test>", "250");
        dialog.say("RCPT TO:<bad@example.test>", "550 5.1.1 not here");
        dialog.say("RCPT TO:<good@example.test>", "250");
        dialog.say("DATA", "354");
        dialog.content("Subject: x\n\n.dot\n");
        dialog.expect(reply);
        assert_eq!(sink.received().len(), count);
    }
    let received = &sink.received()[0];
    assert_eq!(received.text(), "Subject: x\r\n\r\n.dot\r\n");
    assert_eq!(received.recipients, ["RCPT TO:<good@example.test>"]);
    assert_eq!(received.header("subject").as_deref(), Some("x"));
    sink.on("NOOP", Step::Close);
    dialog.send("NOOP");
    dialog.expect_end();
}

#[test]
fn the_sink_answers_each_recipient_in_lmtp() {
    let sink = Sink::start();
    sink.on_some("END", "bad@", 1, Step::Reply("552 5.2.2 full".into()));
    let mut dialog = Dialog::connect(sink.address);
    dialog.expect("220");
    dialog.say("LHLO client.test", "250");
    dialog.say("MAIL FROM:<>", "250");
    dialog.say("RCPT TO:<good@example.test>", "250");
    dialog.say("RCPT TO:<bad@example.test>", "250");
    dialog.say("DATA", "354");
    dialog.content("Subject: x\n\nhello\n");
    dialog.expect("250");
    dialog.expect("552 5.2.2 full");
    assert_eq!(sink.received().len(), 1);
}
