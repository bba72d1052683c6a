//! The field's founding example, over the wire: a virus is refused while the sender is on the line, clean mail gets the
//! mail server's own answer, an unknown recipient the mail server's own refusal.

use crate::rig::*;

const PARTS: [&str; 4] = ["root", "postfix", "swaks", "clamd"];

/// gatepost with clamd in front of a real Postfix.
fn in_front_of_postfix() -> (Gatepost, Postfix, Clamd) {
    let (postfix, clamd) = (Postfix::start(), Clamd::start());
    (Setup::to(postfix.smtp).with(&clamd.check()).start(), postfix, clamd)
}

/// Nothing of it is in Postfix, queue or mailbox.
fn nothing_in(postfix: &Postfix) {
    postfix.settled();
    assert_eq!(postfix.mailbox("user"), Vec::<String>::new());
    assert!(!postfix.log().contains("queued as"), "{}", postfix.log());
}

#[test]
fn eicar_in_the_body_is_refused_at_the_end_of_data() {
    if !needs(&PARTS) {
        return;
    }
    let (gatepost, postfix, _clamd) = in_front_of_postfix();
    let said = swaks(
        gatepost.smtp,
        &[
            "--from",
            "virus@client.test",
            "--to",
            "user@example.test",
            "--header",
            "Subject: test",
            "--body",
            &eicar(),
        ],
    );
    assert!(said.contains("<** 550 5.7.1 "), "{said}");
    assert!(said.contains("Eicar"), "the reply names the virus:\n{said}");
    nothing_in(&postfix);
    let record = &gatepost.records(1)[0];
    assert_eq!(record["category"], "virus");
    let id = record["id"].as_str().expect("an id");
    assert!(said.contains(id), "the reply carries the record's id {id}:\n{said}");
}

#[test]
fn eicar_is_found_with_and_without_the_blank_line_after_the_headers() {
    if !needs(&PARTS) {
        return;
    }
    let (gatepost, postfix, _clamd) = in_front_of_postfix();
    for blank in ["\n", ""] {
        let mut dialog = gatepost.connect();
        dialog.greet();
        let typed =
            format!("Subject: test\nFrom: virus@client.test\nTo: user@example.test\n{blank}{}\n", eicar());
        let reply = dialog.message("virus@client.test", &["user@example.test"], &typed);
        assert!(reply.text.starts_with("550 5.7.1 "), "blank line {blank:?}: {}", dialog.transcript());
        dialog.say("QUIT", "221");
    }
    nothing_in(&postfix);
}

#[test]
fn clean_mail_gets_the_250_of_postfix() {
    if !needs(&PARTS) {
        return;
    }
    let (gatepost, postfix, _clamd) = in_front_of_postfix();
    let said = swaks(
        gatepost.smtp,
        &["--from", "sender@client.test", "--to", "user@example.test", "--body", "Hello there"],
    );
    let line = said.lines().find(|line| line.contains("queued as")).unwrap_or_else(|| panic!("{said}"));
    let queue_id = line.rsplit(' ').next().expect("a queue id");
    assert!(line.contains("250 2.0.0 Ok: "), "{said}");
    assert!(postfix.log().contains(queue_id), "{queue_id} is Postfix's own:\n{}", postfix.log());
    let mail = &postfix.delivered("user", 1)[0];
    assert!(mail.contains("Hello there"), "{mail}");
    assert!(mail.contains("X-Virus-Scanned:"), "{mail}");
}

#[test]
fn an_unknown_recipient_gets_the_550_of_postfix_at_rcpt() {
    if !needs(&PARTS) {
        return;
    }
    let (gatepost, postfix, _clamd) = in_front_of_postfix();
    let mut direct = Dialog::connect(postfix.smtp);
    direct.greet();
    direct.say("MAIL FROM:<sender@client.test>", "250");
    let own = direct.say("RCPT TO:<nobody@example.test>", "550 5\\.1\\.1 ");
    let said =
        swaks(gatepost.smtp, &["--from", "sender@client.test", "--to", "nobody@example.test", "--body", "x"]);
    assert!(said.contains(&format!("<** {}", own.text)), "wanted Postfix's own words, {}:\n{said}", own.text);
    assert!(!said.contains("354 "), "no DATA for nobody:\n{said}");
    nothing_in(&postfix);
}

#[test]
fn a_known_recipient_gets_the_mail_even_beside_an_unknown_one() {
    if !needs(&PARTS) {
        return;
    }
    let (gatepost, postfix, _clamd) = in_front_of_postfix();
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say("MAIL FROM:<sender@client.test>", "250");
    dialog.say("RCPT TO:<nobody@example.test>", "550 5\\.1\\.1");
    dialog.say("RCPT TO:<user@example.test>", "250");
    dialog.say("DATA", "354");
    dialog.content(&mail("half", "for one of two"));
    dialog.expect("250 .*queued as");
    assert!(postfix.delivered("user", 1)[0].contains("for one of two"));
}

/// A Postfix in front whose relay host is gatepost: what gatepost refuses, that Postfix bounces to its own sender.
#[test]
fn behind_a_postfix_an_infected_message_bounces_there_and_a_clean_one_arrives() {
    if !needs(&PARTS) {
        return;
    }
    let (gatepost, postfix, _clamd) = in_front_of_postfix();
    let front = Postfix::with(PostfixSetup {
        relay_to: Some(gatepost.smtp),
        domains: vec!["front.test"],
        ..PostfixSetup::default()
    });
    for content in [eicar_body("bad"), mail("good", "all is well")] {
        let mut dialog = Dialog::connect(front.smtp);
        dialog.greet();
        let reply = dialog.message("user@front.test", &["user@example.test"], &content);
        assert!(reply.text.contains("queued as"), "{}", reply.text);
    }
    let mail = &postfix.delivered("user", 1)[0];
    assert!(mail.contains("all is well"), "{mail}");
    let bounce = &front.delivered("user", 1)[0];
    assert!(bounce.contains("550 5.7.1"), "the bounce quotes the refusal:\n{bounce}");
    front.settled();
    postfix.settled();
    assert_eq!(postfix.mailbox("user").len(), 1);
    assert_eq!(front.mailbox("user").len(), 1);
}
