//! What the next hop says is what the sender hears; what it does wrong costs no message.

use std::time::{Duration, Instant};

use crate::rig::*;

/// What the sender hears, over one connection, for one attempt after the other.
fn attempt(gatepost: &Gatepost, body: &str) -> Vec<Reply> {
    let mut dialog = gatepost.connect();
    dialog.greet();
    let mut replies = Vec::new();
    for line in ["MAIL FROM:<a@client.test>", "RCPT TO:<user@example.test>", "DATA"] {
        dialog.send(line);
        replies.push(dialog.try_reply().expect("a reply"));
        if replies.last().is_some_and(|reply| reply.code >= 400) {
            return replies;
        }
    }
    dialog.content(&mail("test", body));
    replies.push(dialog.try_reply().expect("a reply to the message"));
    replies
}

fn last(gatepost: &Gatepost) -> String {
    attempt(gatepost, "hello").pop().expect("a reply").text
}

#[test]
fn its_refusals_and_deferrals_are_passed_on_word_by_word() {
    for (stage, reply) in [
        ("MAIL", "451 4.7.1 come back in a minute"),
        ("MAIL", "553 5.1.8 we know your kind"),
        ("RCPT", "450 4.2.0 greylisted"),
        ("RCPT", "550 5.1.1 no such user here"),
        ("END", "452 4.3.1 the disk is full"),
        ("END", "554 5.7.1 we do not like the content"),
    ] {
        let sink = Sink::start();
        sink.on(stage, Step::Reply(reply.into()));
        let gatepost = Setup::to(sink.address).start();
        assert_eq!(last(&gatepost), reply, "{stage}");
        assert!(sink.received().is_empty(), "{stage} {reply}");
        sink.behave();
        assert_eq!(last(&gatepost), "250 2.0.0 sink has it", "after {stage} {reply}");
    }
}

#[test]
fn a_refusal_of_data_comes_at_the_end_of_the_message() {
    // Our own 354 was given before the next hop was asked: its refusal can only be said then.
    for reply in ["451 4.3.0 not now", "554 5.7.1 no"] {
        let sink = Sink::start();
        sink.on("DATA", Step::Reply(reply.into()));
        let gatepost = Setup::to(sink.address).start();
        assert_eq!(last(&gatepost), reply);
        assert!(sink.received().is_empty());
    }
}

#[test]
fn the_text_of_several_lines_is_kept() {
    let sink = Sink::start();
    sink.on("END", Step::Reply("250-2.0.0 taken\r\n250 2.0.0 with thanks".into()));
    let gatepost = Setup::to(sink.address).start();
    assert_eq!(last(&gatepost), "250-2.0.0 taken\n250 2.0.0 with thanks");
}

#[test]
fn when_it_is_away_the_sender_is_told_to_come_again() {
    let gatepost = Setup::to(free_address()).start();
    let reply = last(&gatepost);
    assert!(matches("4\\d\\d 4\\.\\d\\.\\d ", &reply), "{reply}");
}

#[test]
fn when_it_goes_away_in_between_the_sender_is_told_to_come_again() {
    for (stage, step) in [
        ("CONNECT", Step::Close),
        ("CONNECT", Step::ReplyAndClose("554 5.3.2 we are closed".into())),
        ("EHLO", Step::Close),
        ("MAIL", Step::Close),
        ("RCPT", Step::Close),
        ("RCPT", Step::ReplyAndClose("421 4.3.2 going down".into())),
        ("DATA", Step::Close),
        ("END", Step::Close),
        ("END", Step::ReplyAndClose("421 4.3.2 going down".into())),
        ("END", Step::Reply("no reply at all".into())),
    ] {
        let sink = Sink::start();
        sink.on(stage, step.clone());
        let gatepost = Setup::to(sink.address).start();
        let reply = last(&gatepost);
        assert!(matches("4\\d\\d 4\\.\\d\\.\\d |421 ", &reply), "{stage} {step:?}: {reply}");
        sink.behave();
        assert_eq!(last(&gatepost), "250 2.0.0 sink has it", "after {stage} {step:?}");
        assert_eq!(sink.received().len(), 1, "{stage} {step:?}");
    }
}

/// Once recipients were taken, 5xx to what follows would make the sender bounce them.
#[test]
fn when_it_is_lost_between_recipients_the_rest_is_deferred_not_out_of_order() {
    for content in ["DATA", "BDAT 3 LAST"] {
        let sink = Sink::start();
        let gatepost = Setup::to(sink.address).start();
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.say("MAIL FROM:<a@client.test>", "250");
        dialog.say("RCPT TO:<one@example.test>", "250");
        sink.on("RCPT", Step::Close);
        dialog.say("RCPT TO:<two@example.test>", "451");
        sink.behave();
        dialog.say("RCPT TO:<three@example.test>", "451");
        dialog.raw(format!("{content}\r\n").as_bytes());
        if content != "DATA" {
            dialog.raw(b"x\r\n");
        }
        dialog.expect("451");
        dialog.say("MAIL FROM:<a@client.test>", "250");
    }
}

#[test]
fn when_it_hangs_the_sender_is_told_to_come_again_in_time() {
    for stage in ["CONNECT", "MAIL", "RCPT", "END"] {
        let sink = Sink::start();
        // From the start: the connection that asks what the next hop offers is used again.
        sink.on(stage, Step::Hang);
        let gatepost =
            Setup::to(sink.address).with("[limits]\nnext_hop_time = 1\nnext_hop_data_time = 1\n").start();
        let start = Instant::now();
        let reply = last(&gatepost);
        assert!(matches("4\\d\\d 4\\.\\d\\.\\d ", &reply), "{stage}: {reply}");
        assert!(start.elapsed() < Duration::from_secs(15), "{stage}: {:?}", start.elapsed());
    }
}

#[test]
fn the_second_next_hop_takes_over_from_the_first() {
    let (first, second) = (free_address(), Sink::start());
    let next_hops = vec![format!("smtp://{first}"), format!("smtp://{}", second.address)];
    let gatepost = Setup { next_hops, ..Setup::default() }.start();
    assert_eq!(last(&gatepost), "250 2.0.0 sink has it");
    assert_eq!(second.received().len(), 1);
    let first = Sink::at(first);
    assert_eq!(last(&gatepost), "250 2.0.0 sink has it");
    assert_eq!(
        (first.received().len(), second.received().len()),
        (1, 1),
        "the first counts again once it is back"
    );
}

#[test]
fn connections_are_used_again() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).start();
    for _ in 0..10 {
        assert_eq!(last(&gatepost), "250 2.0.0 sink has it");
    }
    let connections: Vec<usize> = sink.received().iter().map(|received| received.connection).collect();
    assert_eq!(connections.len(), 10);
    // The first message may come while the connection that asks at start what the next hop offers is still in use.
    assert!(connections[1..].windows(2).all(|pair| pair[0] == pair[1]), "{connections:?}");
}

#[test]
fn a_connection_that_was_closed_meanwhile_costs_no_message() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).start();
    assert_eq!(last(&gatepost), "250 2.0.0 sink has it");
    // The sink closes as soon as the kept connection is used again: RSET or MAIL. A new one must do.
    for stage in ["RSET", "MAIL"] {
        sink.on_some(stage, "", 1, Step::Close);
        assert_eq!(last(&gatepost), "250 2.0.0 sink has it", "closed at {stage}");
    }
    assert_eq!(sink.received().len(), 3);
}

#[test]
fn a_refused_message_leaves_nothing_behind_on_the_connection() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).start();
    for body in [eicar(), "hello".into(), eicar(), "hello".into()] {
        let replies = attempt(&gatepost, &body);
        let wanted = if body == "hello" { 250 } else { 550 };
        assert_eq!(replies.last().map(|reply| reply.code), Some(wanted), "{replies:?}");
    }
    let received = sink.received();
    assert_eq!(received.len(), 2);
    for message in received {
        assert_eq!(message.recipients, ["RCPT TO:<user@example.test>"]);
        assert!(!message.text().contains("EICAR"));
    }
}

/// Fields that gatepost adds; taken away again, the message must be what was sent.
const ADDED: [&str; 7] = [
    "Received:",
    "X-Virus-Scanned:",
    "X-Spam-Flag:",
    "X-Spam-Score:",
    "X-Spam-Level:",
    "X-Spam-Status:",
    "X-Gatepost-Id:",
];

#[test]
fn the_message_arrives_byte_for_byte_but_for_the_declared_fields() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).start();
    let long = "x".repeat(3000);
    for content in [
        mail("plain", "hello"),
        mail("dots", ".\n..\n.x\n\n.\n"),
        mail("no end of line", "last"),
        mail("long line", &long),
        mail("odd   folding", "a\tb \n \n\t\nend").replace("Subject: odd", "Subject:\n odd\n\tfolded"),
        with_attachment("attached", "notes.txt", &[b'a'; 5000]),
        "X-Own: 1\n\n\n\nbody after blank lines\n\n\n".to_owned(),
        "Subject: no body\n".to_owned(),
        mail("large", &"0123456789abcdef\n".repeat(150_000)),
    ] {
        let mut dialog = gatepost.connect();
        dialog.greet();
        let before = sink.received().len();
        let reply = dialog.message("a@client.test", &["user@example.test"], &content);
        assert_eq!(reply.code, 250, "{}", reply.text);
        let received = sink.wait_received(before + 1).pop().expect("the message");
        let sent: String = content.lines().map(|line| format!("{line}\r\n")).collect();
        let arrived = without_fields(&received.text());
        assert!(arrived == sent, "sent:\n{}\narrived:\n{}", head(&sent), head(&received.text()));
    }
}

/// Leaves out the fields that gatepost adds at the top, with their continuation lines.
fn without_fields(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.split_inclusive("\r\n").peekable();
    let mut dropping = false;
    for line in lines.by_ref() {
        let continued = line.starts_with([' ', '\t']);
        dropping = if continued { dropping } else { ADDED.iter().any(|name| line.starts_with(name)) };
        if !dropping {
            out.push_str(line);
        }
        if line == "\r\n" {
            break;
        }
    }
    out.extend(lines);
    out
}

fn head(text: &str) -> &str {
    text.get(..2000).unwrap_or(text)
}

#[test]
fn fields_that_claim_to_be_ours_do_not_pass() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).start();
    let forged = format!(
        "X-Spam-Flag: NO\nx-virus-scanned: by nobody\nX-Spam-Status: No, score=-100\n {}\nX-Gatepost-Id: 0\n{}",
        "tests=[]",
        mail("forged", "hello")
    );
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.message("a@client.test", &["user@example.test"], &forged);
    let text = sink.wait_received(1)[0].text();
    for gone in ["by nobody", "score=-100", "X-Gatepost-Id: 0\r"] {
        assert!(!text.contains(gone), "{gone}:\n{text}");
    }
    for kept in ["X-Virus-Scanned: ", "X-Gatepost-Id: ", "X-Spam-Status: No, score="] {
        assert!(text.contains(kept), "{kept}:\n{text}");
    }
}

#[test]
fn lmtp_over_tcp_and_a_unix_socket_answers_for_each() {
    let sink = Sink::start();
    sink.on_some("END", "full@", usize::MAX, Step::Reply("552 5.2.2 mailbox full".into()));
    let next_hops = vec![format!("lmtp://{}", sink.address)];
    let gatepost = Setup { next_hops, lmtp: true, ..Setup::default() }.start();
    let mut dialog = gatepost.connect();
    dialog.expect("220");
    dialog.say("LHLO client.test", "250");
    let first =
        dialog.message("a@client.test", &["full@example.test", "user@example.test"], &mail("two", "hello"));
    assert_eq!(first.text, "552 5.2.2 mailbox full");
    dialog.expect("250 2\\.0\\.0 sink has it$");
    let recipients: Vec<_> = sink.received().into_iter().map(|received| received.recipients).collect();
    assert_eq!(recipients, [["RCPT TO:<user@example.test>"]]);
}

#[test]
fn the_built_in_maildir_takes_mail() {
    let gatepost = Setup::default().start();
    let reply = last(&gatepost);
    assert!(reply.starts_with("250 2."), "{reply}");
    let mails = files(&gatepost.data());
    assert!(mails.iter().any(|text| text.contains("\nhello")), "{mails:?}");
}

/// Everything that looks like a mail below a folder.
fn files(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.extend(std::fs::read_to_string(path).ok().filter(|text| text.contains("Subject:"))),
        }
    }
    found
}
