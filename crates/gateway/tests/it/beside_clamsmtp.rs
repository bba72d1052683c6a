//! The same sessions with the real clamsmtpd and with gatepost in its place. The page for those who come from there
//! tells the differences; its tables are what is expected here.

use std::path::Path;
use std::time::Duration;

use crate::rig::docs::block_with;
use crate::rig::*;

const PAGE: &str = "coming-from-clamsmtp.md";

/// One of the two, with a next hop of its own.
struct Side {
    name: &'static str,
    sink: Sink,
    smtp: std::net::SocketAddr,
    _clamsmtp: Option<Clamsmtp>,
    _gatepost: Option<Gatepost>,
}

fn sides(clamd: &Clamd, action: &str) -> [Side; 2] {
    let sink = Sink::start();
    let clamsmtp = Clamsmtp::start(sink.address, clamd, &format!("Action: {action}"));
    let theirs =
        Side { name: "clamsmtpd", smtp: clamsmtp.smtp, sink, _clamsmtp: Some(clamsmtp), _gatepost: None };
    let (sink, filter) = (Sink::start(), free_address());
    let ours = match action {
        "bounce" => "refuse",
        "drop" => "discard",
        _ => "deliver",
    };
    let config = block_with(
        PAGE,
        "like-clamsmtp",
        &[
            ("127.0.0.1:10025", filter.to_string()),
            ("127.0.0.1:10026", sink.address.to_string()),
            ("/run/clamav/clamd.ctl", clamd.socket.display().to_string()),
            ("virus = \"refuse\"", format!("virus = \"{ours}\"")),
        ],
    );
    let gatepost = Setup::documented(config, filter).start();
    let ours = Side { name: "gatepost", smtp: filter, sink, _clamsmtp: None, _gatepost: Some(gatepost) };
    [theirs, ours]
}

/// The row of a table of the page: what clamsmtpd and gatepost do.
fn row(table: &str, session: &str) -> [String; 2] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src").join(PAGE);
    let text = std::fs::read_to_string(path).expect("the page");
    let marker = format!("<!-- rig: {table} -->\n");
    let table = text.split(&marker).nth(1).unwrap_or_else(|| panic!("no {marker}"));
    let cells = table.lines().take_while(|line| line.starts_with('|')).find_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0] == session).then(|| [cells[1].to_owned(), cells[2].to_owned()])
    });
    cells.unwrap_or_else(|| panic!("no row {session:?}"))
}

/// Whether a text is as documented: without backticks, and with anything for `…`.
fn is_as_documented(documented: &str, text: &str) -> bool {
    let pattern = regex::escape(documented.trim_matches('`')).replace('…', ".*");
    matches(&format!("{pattern}$"), text)
}

#[track_caller]
fn check(side: &Side, place: usize, session: &str, said: &str) {
    let documented = &row("clamsmtp-replies", session)[place];
    assert!(
        is_as_documented(documented, said),
        "{}, {session}: {documented} is documented, not {said}",
        side.name
    );
}

/// Sends a message; the reply to its end.
fn send(side: &Side, place: usize, to: &str, content: &str) -> String {
    let mut dialog = Dialog::connect(side.smtp);
    dialog.patience(Duration::from_secs(60));
    check(side, place, "banner", &dialog.expect("220").text);
    dialog.say("EHLO client.test", "250");
    dialog.say("MAIL FROM:<sender@client.test>", "250");
    dialog.say(&format!("RCPT TO:<{to}>"), "250");
    check(side, place, "DATA", &dialog.say("DATA", "354").text);
    dialog.content(content);
    let reply = dialog.expect("[245]").text;
    dialog.say("QUIT", "221");
    reply
}

/// What was added to a message's header and what was taken from it, and that its body is the same.
#[track_caller]
fn compare(side: &Side, place: usize, row_name: &str, sent: &str, received: &Received) {
    let sent = sent.replace('\n', "\r\n");
    let text = received.text();
    let (sent_header, sent_body) = sent.split_once("\r\n\r\n").expect("a header");
    let (header, body) = text.split_once("\r\n\r\n").expect("a header");
    assert_eq!(body, sent_body, "{}", side.name);
    let added: Vec<&str> =
        header.lines().filter(|line| !sent_header.lines().any(|had| had == *line)).collect();
    let shown: Vec<String> = added.iter().map(|line| format!("`{line}`")).collect();
    let where_added =
        if header.lines().next() == added.first().copied() { "above it" } else { "below the header" };
    let found = format!("adds {} {where_added}", shown.join(", "));
    let documented = &row("clamsmtp-headers", row_name)[place];
    assert!(is_as_documented(documented, &found), "{}, {row_name}: {documented}\n{found}", side.name);
}

#[test]
fn the_same_messages_get_documented_replies_and_headers() {
    if !needs(&["clamsmtpd", "clamd"]) {
        return;
    }
    let clamd = Clamd::start();
    let clean = mail("clean", ".dots\n..and more\n\nall is well");
    let viruses = [eicar_body("body"), with_attachment("attachment", "a.txt", eicar().as_bytes())];
    for action in ["bounce", "drop", "pass"] {
        for (place, side) in sides(&clamd, action).iter().enumerate() {
            check(side, place, "clean mail", &send(side, place, "user@example.test", &clean));
            compare(side, place, "clean mail", &clean, &side.sink.wait_received(1)[0]);
            for virus in &viruses {
                let reply = send(side, place, "user@example.test", virus);
                check(side, place, &format!("virus, {action}"), &reply);
            }
            let received = side.sink.received();
            assert_eq!(received.len(), if action == "pass" { 3 } else { 1 }, "{} {action}", side.name);
            for (virus, received) in viruses.iter().zip(&received[1..]) {
                compare(side, place, "virus, pass", virus, received);
            }
        }
    }
}

#[test]
fn the_next_hop_speaks_through_both() {
    if !needs(&["clamsmtpd", "clamd"]) {
        return;
    }
    let mut clamd = Clamd::start();
    let sides = sides(&clamd, "bounce");
    for (place, side) in sides.iter().enumerate() {
        side.sink.on_some("RCPT", "nobody@", usize::MAX, Step::Reply("550 5.1.1 no such user".into()));
        side.sink.on_some("END", "full@", usize::MAX, Step::Reply("552 5.2.2 mailbox full".into()));
        let mut dialog = Dialog::connect(side.smtp);
        let hello = dialog.greet();
        let pipelining = hello.lines().any(|line| line == "PIPELINING");
        assert_eq!(pipelining, side.name == "gatepost", "{}", hello.text);
        dialog.say("MAIL FROM:<full@client.test>", "250");
        let refused = dialog.say("RCPT TO:<nobody@example.test>", "550");
        check(side, place, "recipient refused by the next hop", &refused.text);
        dialog.say("RCPT TO:<user@example.test>", "250");
        dialog.say("DATA", "354");
        dialog.content(&mail("full", "no room"));
        check(side, place, "message refused by the next hop", &dialog.expect("552").text);
        // The session goes on, with the same client's next message.
        let reply = dialog.message("sender@client.test", &["user@example.test"], &mail("next", "room"));
        check(side, place, "clean mail", &reply.text);
        dialog.say("QUIT", "221");
    }
    clamd.kill();
    for (place, side) in sides.iter().enumerate() {
        let reply = send(side, place, "user@example.test", &mail("unchecked", "who knows"));
        check(side, place, "clamd is away", &reply);
        assert_eq!(side.sink.received().len(), 1, "{}", side.name);
    }
    // Its built-in scanner needs nobody.
    let reply = send(&sides[1], 1, "user@example.test", &eicar_body("bad"));
    check(&sides[1], 1, "virus, bounce", &reply);
}

#[test]
fn forged_fields_and_stray_line_ends() {
    if !needs(&["clamsmtpd", "clamd"]) {
        return;
    }
    let clamd = Clamd::start();
    let forged = format!("X-Virus-Scanned: by somebody\n{}", mail("forged", "trust me"));
    for (place, side) in sides(&clamd, "bounce").iter().enumerate() {
        send(side, place, "user@example.test", &forged);
        let received = side.sink.wait_received(1);
        compare(side, place, "forged field", &forged, &received[0]);
        let kept = received[0].text().contains("X-Virus-Scanned: by somebody\r\n");
        assert_eq!(kept, side.name == "clamsmtpd");
        let mut dialog = Dialog::connect(side.smtp);
        dialog.greet();
        dialog.say("MAIL FROM:<sender@client.test>", "250");
        dialog.say("RCPT TO:<user@example.test>", "250");
        dialog.say("DATA", "354");
        dialog.raw(b"Subject: x\r\n\r\none\ntwo\rthree\r\n.\r\n");
        dialog.expect("250");
        let body = side.sink.wait_received(2)[1].text().split("\r\n\r\n").nth(1).map(str::to_owned);
        let expected = if side.name == "clamsmtpd" { "one\ntwo\rthree\r\n" } else { "one\r\ntwo three\r\n" };
        assert_eq!(body.as_deref(), Some(expected), "{}", side.name);
    }
}
