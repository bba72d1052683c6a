//! Access maps and tables of recipients, as a client meets them.

use crate::rig::*;

/// What a client from 127.0.0.5 hears at RCPT.
fn heard(gatepost: &Gatepost, helo: &str, sender: &str, recipient: &str) -> String {
    let from = [127, 0, 0, 5].into();
    let mut dialog = Dialog::connect_from(from, gatepost.smtp);
    dialog.expect("220 .*");
    dialog.say(&format!("EHLO {helo}"), "250.*");
    dialog.say(&format!("MAIL FROM:<{sender}>"), "250.*");
    dialog.send(&format!("RCPT TO:<{recipient}>"));
    dialog.try_reply().expect("a reply").text
}

/// Configuration: domains, no network of ours, these restrictions of recipients, and more tables.
fn setup(next_hop: std::net::SocketAddr, recipient: &[String], more: &str) -> Setup {
    let restrictions = format!(
        "[restrictions]\nclient = []\nhelo = []\nsender = []\nrelay = []\nrecipient = {recipient:?}\nshow_id = false\n{more}"
    );
    Setup::to(next_hop).globally("networks = []\ndomains = [\"example.test\"]\n").with(&restrictions)
}

#[test]
fn recipients_of_tables_are_taken_and_others_are_not() {
    let (sink, folder) = (Sink::start(), folder());
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("write");
        path
    };
    let relay = file("relay", "Jane@Example.Test x\n# more\njoe@example.test x\n");
    let virtuser = file(
        "virtusertable",
        "info@example.test\tjane\ngone@example.test\terror:5.1.6:551 Moved to example.net\n",
    );
    let recipients = format!(
        "[recipients]\nmaps = [\"hash:{}\", \"virtusertable:{}\"]\n",
        relay.display(),
        virtuser.display()
    );
    let gatepost = setup(sink.address, &["reject_unlisted_recipient".into()], &recipients).start();
    let unknown = |address: &str| format!("550 5.1.1 <{address}>: Recipient address rejected: User unknown");
    for (recipient, expected) in [
        ("jane@example.test", "250".to_owned()),
        ("JANE+ext@example.test", "250".into()),
        ("info@example.test", "250".into()),
        ("postmaster@example.test", "250".into()),
        ("Abuse@example.test", "250".into()),
        ("nobody@elsewhere.test", "250".into()),
        ("nobody@example.test", unknown("nobody@example.test")),
        ("gone@example.test", "551 5.1.6 Moved to example.net".into()),
    ] {
        let reply = heard(&gatepost, "client.test", "a@client.test", recipient);
        assert!(reply.starts_with(&expected), "{recipient}: {reply}");
    }
    // Changed files count within seconds; what is wrong in one changes nothing.
    std::fs::write(&relay, "jane@example.test x\nnobody@example.test x\n").expect("write");
    wait_for("the new table", START, || {
        let reply = heard(&gatepost, "client.test", "a@client.test", "nobody@example.test");
        reply.starts_with("250").then_some(())
    });
    std::fs::write(&relay, "jane@example.test x\nbroken@example.test\n").expect("write");
    wait_for("the error in the log", START, || {
        gatepost.log().contains("relay:2: “broken@example.test” has no value").then_some(())
    });
    assert!(heard(&gatepost, "client.test", "a@client.test", "nobody@example.test").starts_with("250"));
    let records = gatepost.records(2);
    assert!(records.iter().any(|record| record.to_string().contains("RCPT_UNKNOWN")), "{records:#?}");
}

#[test]
fn access_maps_of_postfix_and_sendmail_are_applied() {
    let (sink, folder) = (Sink::start(), folder());
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("write");
        path.display().to_string()
    };
    let client = file("client", "127.0.0.9 REJECT\n127.0.0.0/8 DUNNO\n");
    let helo = file("helo", "/^bad\\.(.*)/ 550 5.7.9 no $1 here\n");
    let sender = file(
        "sender",
        "spam.test REJECT spammers\nok@ OK\n<> DUNNO\nheld@client.test HOLD\nnoted@client.test PREPEND X-Noted: by a map\n",
    );
    let access =
        file("access", "To:user@example.test\tERROR:\"550 not taken any more\"\nConnect:127.0.0.5\tRELAY\n");
    let rules = [
        format!("check_client_access cidr:{client}"),
        format!("check_helo_access pcre:{helo}"),
        format!("check_sender_access hash:{sender}"),
        format!("check_recipient_access sendmail:{access}"),
    ];
    let gatepost = setup(sink.address, &rules, "").start();
    for (helo, sender, recipient, expected) in [
        ("client.test", "a@client.test", "other@example.test", "250"),
        ("bad.example", "a@client.test", "other@example.test", "550 5.7.9 no example here"),
        ("client.test", "a@deep.spam.test", "other@example.test", "554 5.7.1 spammers"),
        ("client.test", "", "other@example.test", "250"),
        ("client.test", "a@client.test", "User@example.test", "550 5.7.1 not taken any more"),
        // What is OK ends the list.
        ("client.test", "ok+x@spam.example", "user@example.test", "250"),
    ] {
        let reply = heard(&gatepost, helo, sender, recipient);
        assert!(reply.starts_with(expected), "{helo} {sender} {recipient}: {reply}");
    }
    for (sender, subject) in [("held@client.test", "held"), ("a@client.test", "taken")] {
        let mut dialog = Dialog::connect_from([127, 0, 0, 5].into(), gatepost.smtp);
        dialog.greet();
        assert_eq!(
            dialog.message(sender, &["other@example.test"], &mail(subject, "hello")).code,
            250,
            "{sender}"
        );
    }
    let received = sink.wait_received(1);
    assert_eq!((received.len(), gatepost.held(1).len()), (1, 1));
    let mut dialog = Dialog::connect_from([127, 0, 0, 5].into(), gatepost.smtp);
    dialog.greet();
    let reply = dialog.message("noted@client.test", &["other@example.test"], &mail("noted", "hello"));
    assert_eq!(reply.code, 250, "{}", reply.text);
    let noted = sink.wait_received(2).remove(1);
    assert_eq!(noted.header("X-Noted").as_deref(), Some("by a map"), "{}", noted.text());
    assert_eq!(received[0].header("X-Noted"), None);
    // The record of a refusal says which line it was.
    let records = gatepost.records(5);
    assert!(records.iter().any(|record| record.to_string().contains("/sender:1")), "{records:#?}");
}

#[test]
fn a_directory_that_is_away_puts_off_and_never_refuses() {
    if !needs(&["slapd", "slapadd"]) {
        return;
    }
    let entries = "dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n\
                   dn: uid=jane,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: jane\ncn: x\nsn: x\n\
                   mail: jane@example.test\n\n";
    let (mut slapd, sink, folder) = (Slapd::start(entries, None), Sink::start(), folder());
    let file = folder.path().join("recipients.cf");
    let lines =
        docs::block_with("access-maps.md", "ldap", &[("ldap.example.org:389", slapd.address.to_string())]);
    std::fs::write(&file, lines).expect("write");
    let more = format!("[recipients]\nmaps = [\"ldap:{}\"]\n[maps]\ncache = 0\ntime = 2\n", file.display());
    let gatepost = setup(sink.address, &["reject_unlisted_recipient".into()], &more).start();
    let to = |recipient: &str| heard(&gatepost, "client.test", "a@client.test", recipient);
    assert!(to("jane@example.test").starts_with("250"));
    assert!(to("nobody@example.test").starts_with("550 5.1.1"));
    slapd.stop();
    for recipient in ["jane@example.test", "nobody@example.test"] {
        let reply = to(recipient);
        assert!(reply.starts_with("450 4.1.1"), "{recipient}: {reply}");
    }
    slapd.restart();
    assert!(to("jane@example.test").starts_with("250"));
    assert!(to("nobody@example.test").starts_with("550 5.1.1"));
}
