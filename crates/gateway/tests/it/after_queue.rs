//! Behind the queue of a real Postfix, which feeds by LMTP as it feeds amavis: each destiny, who is told of it, and whom
//! the lists are asked about.

use crate::rig::docs::block_with;
use crate::rig::*;

const PARTS: [&str; 2] = ["root", "postfix"];
const POSTFIX_PAGE: &str = "in-front-of-postfix.md";
const PAGE: &str = "after-queue.md";

/// Postfix, and gatepost as a block of the page configures it, with further tables.
fn place(block: &str, tables: &str) -> (Gatepost, Postfix) {
    let (filter, back) = (free_address(), free_address());
    let ports = [("10024", filter.port().to_string()), ("10025", back.port().to_string())];
    let mut config = block_with(PAGE, block, &ports).replace("example.org", "example.test");
    if !tables.is_empty() {
        // The test's own actions in the place of the page's.
        config = config.split("[default_policy.actions]").next().unwrap_or_default().to_owned();
    }
    let gatepost = Setup::documented(config, filter).with(tables).start();
    let postfix = PostfixSetup::default()
        .main(&block_with(POSTFIX_PAGE, "amavis-main", &ports[..1]))
        // The tests say to Postfix who they are. So could gatepost, then; but to whom the mail goes back it does not.
        .main("smtpd_authorized_xclient_hosts = 127.0.0.0/8")
        .services(&block_with(POSTFIX_PAGE, "amavis-master", &ports[1..]))
        .start();
    (gatepost, postfix)
}

/// A client outside.
const OUTSIDE: &str = "198.51.100.23";

/// Hands a message to Postfix, from our own network or from outside; Postfix takes it.
fn send(postfix: &Postfix, outside: bool, from: &str, to: &[&str], content: &str) {
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    if outside {
        dialog.say(&format!("XCLIENT ADDR={OUTSIDE} NAME=client.far.test"), "220");
        dialog.say("EHLO client.far.test", "250");
    }
    dialog.say(&format!("MAIL FROM:<{from}>"), "250");
    for to in to {
        dialog.say(&format!("RCPT TO:{to}"), "250");
    }
    dialog.say("DATA", "354");
    dialog.content(content);
    dialog.expect("250 .*queued as");
    dialog.say("QUIT", "221");
}

fn program_attached() -> String {
    with_attachment("program", "setup.exe", b"MZ-BAD-CONTENT")
}

/// What Postfix's log says became of a message at gatepost: `sent` or `bounced` or `deferred`.
fn fed(postfix: &Postfix, status: &str) -> String {
    let wanted = format!("status={status}");
    wait_for(&format!("{wanted} in Postfix's log"), START, || {
        let log = postfix.log();
        let line = log.lines().find(|line| line.contains("/lmtp[") && line.contains(&wanted));
        line.map(str::to_owned)
    })
}

#[test]
fn pass_discard_and_hold() {
    if !needs(&PARTS) {
        return;
    }
    for (action, outcome, delivered, held) in [
        ("deliver", "delivered: 250 2.0.0 Ok: ", 1, 0),
        ("discard", "discarded", 0, 0),
        ("quarantine", "held", 0, 1),
        ("refuse", "held", 0, 1),
    ] {
        let (gatepost, postfix) =
            place("destinies", &format!("[default_policy.actions]\nbanned = \"{action}\""));
        send(&postfix, false, "other@example.test", &["<user@example.test>"], &program_attached());
        let record = gatepost.records(1).remove(0);
        let told = record["verdicts"][0]["outcome"].as_str().expect("an outcome");
        assert!(told.starts_with(outcome), "{action}: {told}");
        fed(&postfix, "sent");
        postfix.settled();
        assert_eq!(postfix.mailbox("user").len(), delivered, "{action}");
        assert_eq!(gatepost.held(0).len(), held, "{action}");
        assert_eq!(postfix.mailbox("other"), Vec::<String>::new(), "nobody is told: {action}");
    }
}

#[test]
fn our_own_user_gets_a_bounce_and_strangers_do_not() {
    if !needs(&PARTS) {
        return;
    }
    let (gatepost, postfix) = place("destinies", "");
    send(&postfix, false, "other@example.test", &["<user@example.test>"], &program_attached());
    let bounce = &postfix.delivered("other", 1)[0];
    for part in [
        "Return-Path: <>",
        "Delivered-To: other@example.test",
        "From: Mail Delivery System <MAILER-DAEMON@",
        "Auto-Submitted: auto-replied",
        "Content-Type: multipart/report; report-type=delivery-status;",
        "Your message was not delivered to: user@example.test",
        "Final-Recipient: rfc822; user@example.test",
        "Action: failed",
        "Status: 5.7.1",
        "Diagnostic-Code: smtp; 550 5.7.1 Attachment not accepted: setup.exe",
        "Subject: program",
    ] {
        assert!(bounce.contains(part), "{part}\n{bounce}");
    }
    assert!(!bounce.contains("See there.") && !bounce.contains("TVotQkFE"), "{bounce}");
    assert_eq!(gatepost.held(0).len(), 0);
    // A stranger, who may be anybody; nobody; a program; a user whose mail carries what users do not send; and a
    // recipient nobody is to be told of.
    let list = format!("List-Id: <x.example.test>\n{}", program_attached());
    let table = [
        (true, "other@example.test", "<user@example.test>", program_attached(), "the sender may be forged"),
        (true, "other@far.test", "<user@example.test>", program_attached(), "the sender may be forged"),
        (false, "other@far.test", "<user@example.test>", program_attached(), "the sender may be forged"),
        (false, "", "<user@example.test>", program_attached(), "the sender is empty"),
        (false, "other@example.test", "<user@example.test>", list, "no person sent the message"),
        (
            false,
            "other@example.test",
            "<user@example.test> NOTIFY=NEVER",
            program_attached(),
            "it was asked for none (NOTIFY)",
        ),
    ];
    let count = table.len();
    for (number, (outside, from, to, content, why)) in (2..).zip(table) {
        send(&postfix, outside, from, &[to], &content);
        let record = gatepost.records(number).pop().expect("a record");
        let reason = record["verdicts"][0]["reason"].as_str().expect("a reason");
        assert!(reason.ends_with(&format!("; not bounced: {why}")), "{why}: {reason}");
        let notice = format!("NOTICE: DSN contains BANNED; not bounced: {why}; held instead");
        assert!(gatepost.log().contains(&notice), "{notice}\n{}", gatepost.log());
    }
    assert_eq!(gatepost.held(count).len(), count);
    postfix.settled();
    assert_eq!((postfix.mailbox("other").len(), postfix.mailbox("user").len()), (1, 0));
    assert!(!postfix.log().contains("sender non-delivery notification"), "{}", postfix.log());
}

#[test]
fn what_is_refused_postfix_bounces_itself() {
    if !needs(&PARTS) {
        return;
    }
    let (gatepost, postfix) = place("refuse", "");
    send(&postfix, false, "other@example.test", &["<user@example.test>"], &eicar_body("bad"));
    let line = fed(&postfix, "bounced");
    assert!(line.contains("dsn=5.7.1") && line.contains("Virus detected by gatepost"), "{line}");
    let bounce = &postfix.delivered("other", 1)[0];
    assert!(bounce.contains("Diagnostic-Code: smtp; 550 5.7.1 Virus detected by gatepost"), "{bounce}");
    assert_eq!(gatepost.records(1)[0]["action"], "refuse");
    assert_eq!(gatepost.held(0).len(), 0);
}

#[test]
fn each_recipient_has_its_own_destiny() {
    if !needs(&PARTS) {
        return;
    }
    let policies = "[default_policy.actions]\nbanned = \"bounce\"\n\
        [[policy]]\nname = \"lax\"\nwhen.recipients = [\"user@example.test\"]\nactions.banned = \"deliver\"\n";
    let (gatepost, postfix) = place("destinies", policies);
    let to = ["<user@example.test>", "<other@example.test>"];
    send(&postfix, false, "other@example.test", &to, &program_attached());
    assert!(postfix.delivered("user", 1)[0].contains("TVotQkFE"), "the attachment as it was");
    let bounce = &postfix.delivered("other", 1)[0];
    assert!(bounce.contains("Final-Recipient: rfc822; other@example.test"), "{bounce}");
    assert!(!bounce.contains("user@example.test; "), "{bounce}");
    let record = gatepost.records(1).remove(0);
    let verdicts = record["verdicts"].to_string();
    assert!(verdicts.contains("delivered: 250") && verdicts.contains("bounced: 250"), "{verdicts}");
    // Postfix heard an answer for each, in one delivery.
    postfix.settled();
    assert_eq!(postfix.log().matches("relay=127.0.0.1[127.0.0.1]").count(), 2, "{}", postfix.log());
}

#[test]
fn lists_are_asked_about_the_client_and_not_about_postfix() {
    if !needs(&["root", "postfix", "unbound"]) {
        return;
    }
    let dns =
        Dns::start(&["bl.test."], &["2.0.0.127.bl.test. A 127.0.0.2", "23.100.51.198.bl.test. A 127.0.0.2"]);
    let tables = format!("{}[checks.dnsbl.test]\nzone = \"bl.test\"\nweight = 7\n", dns.config());
    let (gatepost, postfix) = place("destinies", &tables);
    for (number, outside) in (1..).zip([true, false]) {
        send(&postfix, outside, "a@far.test", &["<user@example.test>"], &mail("hello", "hello"));
        let record = gatepost.records(number).pop().expect("a record");
        let found = record["findings"].to_string();
        assert_eq!(found.contains("DNSBL_TEST"), outside, "{found}");
        let client = if outside { OUTSIDE } else { "127.0.0.1" };
        assert_eq!(record["client"], client, "{record}");
        assert_eq!(record["direction"], if outside { "inbound" } else { "internal" });
    }
    let mails = postfix.delivered("user", 2);
    let marked: Vec<_> = mails.iter().filter(|mail| mail.contains("X-Spam-Flag: YES")).collect();
    assert_eq!(marked.len(), 1, "{mails:?}");
    assert!(marked[0].contains("DNSBL_TEST=7.0"), "{}", marked[0]);
}

/// A user's message, said by somebody whom gatepost believes.
fn from_a_user(gatepost: &Gatepost) -> Dialog {
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say("XCLIENT ADDR=198.51.100.7 LOGIN=alice", "220");
    dialog.say("EHLO client.test", "250");
    dialog.say("MAIL FROM:<alice@example.test>", "250");
    dialog.say("RCPT TO:<user@far.test>", "250");
    dialog.say("DATA", "354");
    dialog.content(&program_attached());
    dialog
}

#[test]
fn killed_while_a_bounce_is_on_its_way_it_is_sent_again() {
    let sink = Sink::start();
    let mut gatepost = Setup::to(sink.address)
        .listening("after_queue = true\nxclient_from = [\"127.0.0.0/8\"]")
        .with("[default_policy.actions]\nbanned = \"bounce\"")
        .start();
    for stage in ["MAIL", "END"] {
        sink.on_some(stage, "FROM:<>", 1, Step::Hang);
        let before = sink.commands().len();
        let mut dialog = from_a_user(&gatepost);
        wait_for("the bounce on its way", START, || {
            sink.commands()[before..].iter().any(|line| line.starts_with("MAIL FROM:<>")).then_some(())
        });
        gatepost.kill();
        assert!(dialog.try_reply().is_err(), "nothing was promised:\n{}", dialog.transcript());
        gatepost.restart();
    }
    assert_eq!(sink.received().len(), 0);
    // Its sender, our own mail server, hands it in again.
    from_a_user(&gatepost).expect("250 2.0.0 Ok: taken");
    assert!(sink.received()[0].text().contains("Final-Recipient: rfc822; user@far.test"));
}
