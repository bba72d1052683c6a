//! SMTP smuggling: two servers that disagree where a message ends let a sender write a second one into the first.
//! Nothing but CR LF dot CR LF ends a message here, and no other sequence that could end it elsewhere goes on.

use crate::rig::*;

/// Line ends and dots that some server takes for the end of a message.
const ENDS: [&[u8]; 14] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r.\n",
    b"\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\0\n",
    b"\n\n.\n\n",
];

const SMUGGLED: &[u8] = b"MAIL FROM:<admin@example.test>\r\nRCPT TO:<user@example.test>\r\nDATA\r\n\
    From: <admin@example.test>\r\nSubject: smuggled\r\n\r\nsecond\r\n";

/// Sends one message that has such an end in its middle, and returns the reply to its real end.
fn smuggle(gatepost: &Gatepost, end: &[u8], chunked: bool) -> Reply {
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say("MAIL FROM:<a@client.test>", "250");
    dialog.say("RCPT TO:<user@example.test>", "250");
    let mut content = b"From: <a@client.test>\r\nSubject: carrier\r\n\r\nfirst".to_vec();
    content.extend_from_slice(end);
    content.extend_from_slice(SMUGGLED);
    if chunked {
        dialog.send(&format!("BDAT {} LAST", content.len()));
    } else {
        dialog.say("DATA", "354");
        content.extend_from_slice(b".\r\n");
    }
    dialog.raw(&content);
    let reply = dialog.try_reply().expect("a reply to the message");
    // One message, one reply: the next one is that to NOOP.
    dialog.say("NOOP", "250 2\\.0\\.0 Ok");
    reply
}

/// What arrived has no line end other than CRLF, and no line that a server could take for the end.
fn clean(content: &[u8], end: &[u8]) {
    let shown = || format!("{} became\n{}", end.escape_ascii(), content.escape_ascii());
    for (at, &byte) in content.iter().enumerate() {
        match byte {
            b'\n' => assert!(at > 0 && content[at - 1] == b'\r', "bare LF: {}", shown()),
            b'\r' => assert_eq!(content.get(at + 1), Some(&b'\n'), "bare CR: {}", shown()),
            _ => {}
        }
    }
}

#[test]
fn no_odd_end_smuggles_a_message_when_line_ends_are_mended() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).start();
    for end in ENDS {
        let before = sink.received().len();
        let reply = smuggle(&gatepost, end, false);
        let received = &sink.received()[before..];
        assert!(received.len() <= 1, "{} made {} messages", end.escape_ascii(), received.len());
        assert_eq!(received.len(), usize::from(reply.code == 250), "{}", end.escape_ascii());
        for message in received {
            clean(&message.content, end);
            assert!(message.text().contains("smuggled"), "all of it is in the one message");
        }
    }
    assert!(!sink.commands().iter().any(|line| line.contains("admin@")), "{:?}", sink.commands());
}

#[test]
fn in_a_chunk_nothing_ends_a_message_but_its_size() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).start();
    for end in ENDS.iter().copied().chain([b"\r\n.\r\n".as_slice()]) {
        let before = sink.received().len();
        smuggle(&gatepost, end, true);
        let received = &sink.received()[before..];
        assert!(received.len() <= 1, "{}", end.escape_ascii());
        for message in received {
            clean(&message.content, end);
            assert!(message.text().contains("smuggled"), "{}", end.escape_ascii());
        }
    }
    assert!(!sink.commands().iter().any(|line| line.contains("admin@")), "{:?}", sink.commands());
}

#[test]
fn odd_ends_are_refused_where_that_is_configured() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with("[limits]\nstray_line_endings = \"refuse\"\n").start();
    for end in ENDS {
        let stray = end.windows(2).any(|two| two[1] == b'\n' && two[0] != b'\r')
            || end[0] == b'\n'
            || end.windows(2).any(|two| two[0] == b'\r' && two[1] != b'\n')
            || end.last() == Some(&b'\r');
        let reply = smuggle(&gatepost, end, false);
        if stray {
            assert_eq!(reply.code, 550, "{}: {}", end.escape_ascii(), reply.text);
        }
    }
    assert!(!sink.commands().iter().any(|line| line.contains("admin@")), "{:?}", sink.commands());
}

#[test]
fn nothing_is_smuggled_into_a_real_postfix() {
    if !needs(&["root", "postfix"]) {
        return;
    }
    let postfix = Postfix::start();
    let gatepost = Setup::to(postfix.smtp).start();
    let mut taken = 0;
    for end in ENDS {
        taken += usize::from(smuggle(&gatepost, end, false).code == 250);
    }
    let mails = postfix.delivered("user", taken);
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), taken);
    assert!(mails.iter().all(|mail| mail.contains("Subject: carrier")), "{mails:#?}");
    assert!(!postfix.log().contains("from=<admin@example.test>"), "{}", postfix.log());
}
