//! Who may send what to whom: the field's table of restrictions, row by row, by swaks as the client; relay attacks; what
//! the log and the record know.

use super::rig::{Dns, Gatepost, Setup, Sink, needs, swaks};

/// The classic table: HELO required and proper, senders and recipients with domains that exist, our own name and domain
/// not from outside, names of clients, a block list that refuses.
const TABLE: &str = "
[restrictions]
client = ['permit_mynetworks', 'permit_sasl_authenticated', 'reject_rbl_client bad', 'reject_unknown_client_hostname']
helo = ['permit_mynetworks', 'reject_invalid_helo_hostname', 'reject_non_fqdn_helo_hostname', 'reject_own_helo_hostname', 'reject_unknown_helo_hostname']
sender = ['permit_mynetworks', 'reject_uucp', 'reject_non_fqdn_sender', 'reject_own_sender_domain', 'reject_unknown_sender_domain']
relay = ['permit_mynetworks', 'permit_sasl_authenticated', 'reject_unauth_destination']
recipient = ['reject_uucp', 'reject_non_fqdn_recipient', 'permit_mynetworks', 'permit']
on_fault = 'defer'
[checks.dnsbl.bad]
zone = 'bl.test'
weight = 0
";

const RECORDS: &[&str] = &[
    // What every list answers, by which it is known to work.
    "2.0.0.127.bl.test. A 127.0.0.2",
    "9.100.51.198.bl.test. A 127.0.0.2",
    "1.100.51.198.in-addr.arpa. PTR client.test.",
    "9.100.51.198.in-addr.arpa. PTR client.test.",
    "2.100.51.198.in-addr.arpa. PTR other.test.",
    "client.test. A 198.51.100.1",
    "client.test. AAAA 2001:db8::1",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR client.test.",
    "other.test. A 198.51.100.77",
    "good.test. MX 10 client.test.",
    "null.test. MX 0 .",
    "text.test. TXT nothing",
    "elsewhere.test. MX 10 client.test.",
];

fn gatepost(dns: &Dns, sink: &Sink, delay_reject: bool, tables: &str) -> Gatepost {
    Setup::to(sink.address)
        .globally("domains = ['example.org', 'gatepost.test']")
        .listening("xclient_from = ['127.0.0.0/8', '::1/128']")
        .listening(&format!("delay_reject = {delay_reject}"))
        .with(&dns.config())
        .with(tables)
        .start()
}

fn dns() -> Dns {
    Dns::start(&["test.", "100.51.198.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."], RECORDS)
}

/// The first refusal in a transcript of swaks, and the command that got it.
fn refusal(transcript: &str) -> Option<(String, String)> {
    let mut command = "";
    for line in transcript.lines() {
        if let Some(said) = line.strip_prefix(" -> ") {
            command = said;
        }
        if let Some(reply) = line.strip_prefix("<** ") {
            let verb = command.split([' ', ':']).next().unwrap_or_default();
            return Some((verb.to_owned(), reply.to_owned()));
        }
    }
    None
}

/// Client, HELO, sender, recipient; the reply, and the command that gets it where nothing is delayed.
/// A peer that may speak for others (XCLIENT) hears nothing before MAIL.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("198.51.100.1", "client.test", "a@good.test", "b@example.org", "", ""),
    ("198.51.100.1", "client.test", "<>", "b@example.org", "", ""),
    ("198.51.100.1", "client.test", "a@client.test", "b@example.org", "", ""),
    ("198.51.100.1", "[198.51.100.1]", "a@good.test", "postmaster@gatepost.test", "", ""),
    ("IPV6:2001:db8::1", "client.test", "a@good.test", "b@example.org", "", ""),
    ("127.0.0.1", "x", "a@b", "c@elsewhere.test", "", ""),
    ("198.51.100.9", "client.test", "a@good.test", "b@example.org", "554 5.7.1 Service unavailable; Client host [198.51.100.9] blocked: 198.51.100.9 in", "MAIL"),
    ("198.51.100.2", "client.test", "a@good.test", "b@example.org", "450 4.7.25 Client host rejected: cannot find your hostname, [198.51.100.2]", "MAIL"),
    ("198.51.100.3", "client.test", "a@good.test", "b@example.org", "450 4.7.25 Client host rejected: cannot find your hostname, [198.51.100.3]", "MAIL"),
    ("IPV6:2001:db8::2", "client.test", "a@good.test", "b@example.org", "450 4.7.25 Client host rejected: cannot find your hostname, [2001:db8::2]", "MAIL"),
    ("198.51.100.1", "bad_name!", "a@good.test", "b@example.org", "501 5.5.2 <bad_name!>: Helo command rejected: Invalid name", "MAIL"),
    ("198.51.100.1", "198.51.100.1", "a@good.test", "b@example.org", "501 5.5.2 <198.51.100.1>: Helo command rejected: Invalid name", "MAIL"),
    ("198.51.100.1", "friend", "a@good.test", "b@example.org", "504 5.5.2 <friend>: Helo command rejected: need fully-qualified hostname", "MAIL"),
    ("198.51.100.1", "gatepost.test", "a@good.test", "b@example.org", "550 5.7.1 <gatepost.test>: Helo command rejected: that is our own name", "MAIL"),
    ("198.51.100.1", "nowhere.test", "a@good.test", "b@example.org", "450 4.7.1 <nowhere.test>: Helo command rejected: Host not found", "MAIL"),
    ("198.51.100.1", "client.test", "a!b@good.test", "b@example.org", "550 5.1.3 UUCP addresses are not accepted", "MAIL"),
    ("198.51.100.1", "client.test", "a@host", "b@example.org", "504 5.5.2 <a@host>: Sender address rejected: need fully-qualified address", "MAIL"),
    ("198.51.100.1", "client.test", "boss@example.org", "b@example.org", "550 5.7.1 <boss@example.org>: Sender address rejected: our own domain from outside", "MAIL"),
    ("198.51.100.1", "client.test", "a@nowhere.test", "b@example.org", "450 4.1.8 <a@nowhere.test>: Sender address rejected: Domain not found", "MAIL"),
    ("198.51.100.1", "client.test", "a@text.test", "b@example.org", "450 4.1.8 <a@text.test>: Sender address rejected: Domain not found", "MAIL"),
    ("198.51.100.1", "client.test", "a@null.test", "b@example.org", "550 5.7.27 <a@null.test>: Sender address rejected: Domain null.test does not accept mail (nullMX)", "MAIL"),
    // The name server refuses to say: whoever sends shall come again.
    ("198.51.100.1", "client.test", "a@elsewhere.zone", "b@example.org", "450 4.1.8 <a@elsewhere.zone>: Sender address rejected: Domain not found: temporary failure", "MAIL"),
    ("198.51.100.1", "client.test", "a@good.test", "b@host", "554 5.7.1 <b@host>: Relay access denied", "RCPT"),
    ("127.0.0.1", "client.test", "a@good.test", "b@host", "504 5.5.2 <b@host>: Recipient address rejected: need fully-qualified address", "RCPT"),
    ("127.0.0.1", "client.test", "a@good.test", "x!b@elsewhere.test", "550 5.1.3 UUCP addresses are not accepted", "RCPT"),
    ("198.51.100.1", "client.test", "a@good.test", "b@elsewhere.test", "554 5.7.1 <b@elsewhere.test>: Relay access denied", "RCPT"),
];

#[test]
fn each_row_of_the_table_has_its_reply_and_its_stage() {
    if !needs(&["unbound", "swaks"]) {
        return;
    }
    let (dns, sink) = (dns(), Sink::start());
    for delay_reject in [true, false] {
        let gatepost = gatepost(&dns, &sink, delay_reject, TABLE);
        for &(client, helo, sender, recipient, reply, stage) in ROWS {
            let arguments = ["--xclient-addr", client, "--helo", helo, "--from", sender, "--to", recipient];
            let transcript = swaks(gatepost.smtp, &arguments);
            let stage = if delay_reject && !reply.is_empty() { "RCPT" } else { stage };
            let told = refusal(&transcript);
            match &told {
                None => assert_eq!(reply, "", "{transcript}"),
                Some((at, text)) => {
                    assert!(!reply.is_empty() && text.starts_with(reply), "{reply}\n{transcript}");
                    assert_eq!(at, stage, "{transcript}");
                    assert!(text.contains("(id "), "{text}");
                }
            }
        }
        // The journal knows who wanted to write to whom, as far as that was said.
        let refused = ROWS.iter().filter(|row| !row.4.is_empty()).count();
        let records = gatepost.records(ROWS.len());
        let restricted: Vec<_> = records.iter().filter(|record| record["category"] == "restricted").collect();
        assert_eq!(restricted.len(), refused);
        let named = restricted.iter().filter(|record| !record["recipients"].as_array().unwrap().is_empty());
        let delayed = ROWS.iter().filter(|row| row.5 == "RCPT").count();
        assert_eq!(named.count(), if delay_reject { refused } else { delayed });
    }
}

#[test]
fn never_an_open_relay() {
    if !needs(&["unbound", "swaks"]) {
        return;
    }
    let (dns, sink) = (dns(), Sink::start());
    let gatepost = gatepost(&dns, &sink, true, "");
    let literal = "user@[198.51.100.77]";
    let attacks = [
        "user@elsewhere.test",
        "user%elsewhere.test@example.org",
        "user%elsewhere.test",
        "user%elsewhere.test@gatepost.test",
        "elsewhere.test!user@example.org",
        "elsewhere.test!user",
        "\"user@elsewhere.test\"",
        "\"user@elsewhere.test\"@example.org",
        "\"user%elsewhere.test\"",
        "user@elsewhere.test@example.org",
        "user@elsewhere.test@gatepost.test",
        "@example.org:user@elsewhere.test",
        "@elsewhere.test:user@example.org@elsewhere.test",
        "user@elsewhere.test:example.org",
        "postmaster@elsewhere.test",
        literal,
    ];
    for client in ["198.51.100.1", "IPV6:2001:db8::1"] {
        for sender in ["a@good.test", "<>", "a@elsewhere.test", "spoof@gatepost.test", "a@example.org"] {
            let mut dialog = gatepost.connect();
            dialog.greet();
            dialog.say(&format!("XCLIENT ADDR={client}"), "220");
            dialog.say("EHLO client.test", "250");
            dialog.say(&format!("MAIL FROM:<{}>", sender.trim_matches(['<', '>'])), "250");
            for attack in attacks {
                dialog.say(&format!("RCPT TO:<{attack}>"), "5");
            }
        }
    }
    assert!(sink.commands().iter().all(|command| !command.starts_with("RCPT")), "{:?}", sink.commands());
    assert!(sink.received().is_empty());
}

#[test]
fn what_one_recipient_may_not_the_others_still_may() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (dns(), Sink::start());
    let gatepost = gatepost(&dns, &sink, true, "");
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say("XCLIENT ADDR=198.51.100.1", "220");
    dialog.say("EHLO client.test", "250");
    // All in one packet: the next hop has been told of all of them before they are looked at.
    let group = "MAIL FROM:<a@good.test>\r\nRCPT TO:<b@example.org>\r\nRCPT TO:<c@elsewhere.test>\r\n\
                 RCPT TO:<d@example.org>\r\nDATA";
    dialog.send(group);
    for reply in ["250", "250", "554 5.7.1", "250", "354"] {
        dialog.expect(reply);
    }
    dialog.content("Subject: to two\r\n\r\nhello\r\n");
    dialog.expect("250");
    let received = sink.wait_received(1);
    assert_eq!(received[0].recipients, ["RCPT TO:<b@example.org>", "RCPT TO:<d@example.org>"]);
}
