//! Restrictions, greylisting, rates and access maps where a real Postfix or Sendmail asks: what the client hears, and when.

use std::time::Duration;

use crate::rig::*;

const CLIENT: &str = "198.51.100.1";

const RECORDS: [&str; 6] = [
    "client.test. A 198.51.100.1",
    "1.100.51.198.in-addr.arpa. PTR client.test.",
    "good.test. MX 10 client.test.",
    "null.test. MX 0 .",
    "2.0.0.127.bl.test. A 127.0.0.2",
    "9.100.51.198.bl.test. A 127.0.0.2",
];

const TABLE: &str = "
[restrictions]
client = ['permit_mynetworks', 'reject_rbl_client bad']
helo = ['permit_mynetworks', 'reject_invalid_helo_hostname', 'reject_non_fqdn_helo_hostname']
sender = ['permit_mynetworks', 'reject_non_fqdn_sender', 'reject_unknown_sender_domain']
recipient = ['check_recipient_access hash:MAP', 'permit']
[checks.dnsbl.bad]
zone = 'bl.test'
weight = 0
";

fn dns() -> Dns {
    Dns::start(&["test.", "100.51.198.in-addr.arpa."], &RECORDS)
}

/// gatepost with a milter listener; of the test's domains only `example.org` is its own.
fn milter(delay_reject: bool, tables: &str) -> Setup {
    Setup::default()
        .globally("domains = ['example.org']\nnetworks = ['127.0.0.1/32']")
        .listening(&format!("protocol = 'milter'\ndelay_reject = {delay_reject}"))
        .with(tables)
}

/// A Postfix that asks it by the documented lines, and believes whom we say to be.
fn postfix(gatepost: &Gatepost) -> Postfix {
    let main = docs::block_with("milter.md", "postfix", &[("127.0.0.1:8899", gatepost.smtp.to_string())]);
    PostfixSetup::default().main(&main).main("smtpd_authorized_xclient_hosts = 127.0.0.0/8").start()
}

/// The first refusal that a client hears, with the command that got it; or 250 for the whole message.
fn heard(postfix: &Postfix, client: &str, helo: &str, from: &str, to: &str) -> (String, String) {
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    let commands = [
        format!("XCLIENT ADDR={client} NAME=client.test"),
        format!("EHLO {helo}"),
        format!("MAIL FROM:<{from}>"),
        format!("RCPT TO:<{to}>"),
        "DATA".to_owned(),
    ];
    for command in &commands {
        let reply = dialog.say(command, "");
        let verb = command.split(' ').next().unwrap_or_default();
        // Postfix itself refuses at MAIL what a milter refuses at the connection; there the reason stands.
        if reply.code >= 400 && verb != "XCLIENT" && verb != "EHLO" {
            return (verb.to_owned(), reply.text);
        }
    }
    dialog.content(&mail("letter", "hello"));
    ("END".to_owned(), dialog.expect("").text)
}

/// Client, HELO, sender, recipient; the reply, and the command that gets it where nothing is delayed.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    (CLIENT, "client.test", "a@good.test", "user@example.test", "250", "END"),
    (CLIENT, "client.test", "", "user@example.test", "250", "END"),
    ("198.51.100.9", "client.test", "a@good.test", "user@example.test", "554 5.7.1 Service unavailable; Client host [198.51.100.9] blocked: 198.51.100.9 in", "MAIL"),
    (CLIENT, "bad_name!", "a@good.test", "user@example.test", "501 5.5.2 <bad_name!>: Helo command rejected: Invalid name", "MAIL"),
    (CLIENT, "friend", "a@good.test", "user@example.test", "504 5.5.2 <friend>: Helo command rejected: need fully-qualified hostname", "MAIL"),
    (CLIENT, "client.test", "a@nowhere.test", "user@example.test", "450 4.1.8 <a@nowhere.test>: Sender address rejected: Domain not found", "MAIL"),
    (CLIENT, "client.test", "a@null.test", "user@example.test", "550 5.7.27 <a@null.test>: Sender address rejected: Domain null.test does not accept mail (nullMX)", "MAIL"),
    (CLIENT, "client.test", "a@good.test", "other@example.test", "554 5.7.1 gone for good", "RCPT"),
];

#[test]
fn postfix_tells_the_client_what_restrictions_say() {
    if !needs(&["root", "postfix", "unbound"]) {
        return;
    }
    let (dns, folder) = (dns(), folder());
    let map = folder.path().join("recipients");
    std::fs::write(&map, "other@example.test REJECT gone for good\n").expect("write");
    let table = TABLE.replace("MAP", &map.display().to_string());
    for delay_reject in [true, false] {
        let gatepost = milter(delay_reject, &table).with(&dns.config()).start();
        let postfix = postfix(&gatepost);
        for &(client, helo, from, to, reply, stage) in ROWS {
            let stage = if delay_reject && stage == "MAIL" { "RCPT" } else { stage };
            let (at, text) = heard(&postfix, client, helo, from, to);
            let what = format!("{client} {helo} {from} {to}, delay_reject = {delay_reject}");
            assert!(text.starts_with(reply), "{what}: {text}");
            assert_eq!(at, stage, "{what}: {text}");
            assert!(text.starts_with("250") || text.contains("(id "), "{what}: {text}");
        }
        let records = gatepost.records(ROWS.len());
        let restricted = records.iter().filter(|record| record["category"] == "restricted").count();
        assert_eq!(restricted, ROWS.iter().filter(|row| row.4 != "250").count());
        // None of the recipients is in our domains: relaying is the mail server's affair, and it says so itself.
        assert_eq!(postfix.delivered("user", 2).len(), 2);
        let (_, text) = heard(&postfix, CLIENT, "client.test", "a@good.test", "b@elsewhere.test");
        assert!(text.contains("Relay access denied") && !text.contains("(id "), "{text}");
    }
}

const GREYLIST: &str = "[restrictions]\nsender = []\nhelo = []\nrecipient = ['permit_mynetworks', 'greylist']\n\
    [checks.greylist]\ndelay = 2\n";

const GREYLISTED: &str =
    "450 4.2.0 <user@example.test>: Recipient address rejected: Greylisted, try again in 2 seconds";

#[test]
fn postfix_takes_it_when_it_comes_again() {
    if !needs(&["root", "postfix"]) {
        return;
    }
    let gatepost = milter(true, GREYLIST).start();
    let postfix = postfix(&gatepost);
    let attempt = || heard(&postfix, CLIENT, "client.test", "a@good.test", "user@example.test");
    let (at, text) = attempt();
    assert!(at == "RCPT" && text.starts_with(GREYLISTED), "{at}: {text}");
    std::thread::sleep(Duration::from_secs(3));
    let (at, text) = attempt();
    assert!(at == "END" && text.starts_with("250"), "{at}: {text}");
    let delivered = postfix.delivered("user", 1).remove(0);
    assert!(delivered.contains("\nX-Greylist: delayed "), "{delivered}");
    // Whoever is one of ours does not wait, and nothing is said of it.
    let (at, text) = heard(&postfix, "127.0.0.1", "client.test", "new@good.test", "other@example.test");
    assert!(at == "END" && text.starts_with("250"), "{at}: {text}");
    assert!(!postfix.delivered("other", 1)[0].contains("X-Greylist"));
}

#[test]
fn postfix_puts_off_who_sends_too_much_and_notes_what_maps_say() {
    if !needs(&["root", "postfix"]) {
        return;
    }
    let folder = folder();
    let map = folder.path().join("senders");
    std::fs::write(&map, "noted@good.test PREPEND X-Noted: by a map\n").expect("write");
    let tables = format!(
        "[restrictions]\nsender = ['check_sender_access hash:{}']\nhelo = []\nrecipient = []\n\
         [protection]\nrefuse_at_load = 0\n[[protection.rate]]\nof = 'client'\nmessages = 2\nper = '1h'\n",
        map.display()
    );
    let gatepost = milter(true, &tables).start();
    let postfix = postfix(&gatepost);
    let attempt = |client| heard(&postfix, client, "client.test", "noted@good.test", "user@example.test");
    for _ in 0..2 {
        let (at, text) = attempt(CLIENT);
        assert!(at == "END" && text.starts_with("250"), "{at}: {text}");
    }
    let (at, text) = attempt(CLIENT);
    assert!(at == "RCPT" && text.starts_with("450 4.7.1 "), "{at}: {text}");
    let (at, text) = attempt("198.51.100.2");
    assert!(at == "END" && text.starts_with("250"), "another client: {at}: {text}");
    let delivered = postfix.delivered("user", 3);
    assert!(delivered.iter().all(|mail| mail.contains("\nX-Noted: by a map\n")), "{}", delivered[0]);
}

#[test]
fn sendmail_tells_it_too() {
    if !needs(&["root", "sendmail", "m4", "cc"]) {
        return;
    }
    let sink = Sink::start();
    // Sendmail relays for this machine; to us it is a stranger.
    let gatepost = Setup::default()
        .globally("domains = ['example.org']\nnetworks = []")
        .listening("protocol = 'milter'")
        .with(&GREYLIST.replace("helo = []", "helo = ['reject_non_fqdn_helo_hostname']"))
        .start();
    let address = ("8899@127.0.0.1", format!("{}@127.0.0.1", gatepost.smtp.port()));
    let line = docs::block_with("milter.md", "sendmail", &[address]);
    let sendmail = SendmailSetup::to(sink.address).with(&line).start();
    let attempt = |helo: &str| {
        let mut dialog = Dialog::connect(sendmail.smtp);
        dialog.expect("220");
        dialog.say(&format!("EHLO {helo}"), "250");
        dialog.say("MAIL FROM:<a@good.test>", "250");
        let reply = dialog.say("RCPT TO:<user@example.test>", "");
        if reply.code != 250 {
            return reply.text;
        }
        dialog.say("DATA", "354");
        dialog.content(&mail("letter", "hello"));
        dialog.expect("").text
    };
    let said = attempt("friend");
    assert!(said.starts_with("504 5.5.2 "), "{said}");
    assert!(said.contains("<friend>: Helo command rejected: need fully-qualified hostname (id "), "{said}");
    // Sendmail puts the recipient before what it passes on.
    let said = attempt("client.test");
    let (code, text) = GREYLISTED.split_at("450 4.2.0 ".len());
    assert!(said.starts_with(code) && said.contains(text), "{said}");
    std::thread::sleep(Duration::from_secs(3));
    let said = attempt("client.test");
    assert!(said.starts_with("250"), "{said}");
    let mail = sink.wait_received(1).remove(0);
    assert!(mail.header("X-Greylist").is_some_and(|field| field.starts_with("delayed ")), "{}", mail.text());
}
