//! gatepost as it is shipped, with nothing turned off: an outside client, and name servers that know or keep silent.

use std::time::Duration;

use crate::rig::*;

const ZONES: [&str; 3] = ["test", "100.51.198.in-addr.arpa", "2.0.192.in-addr.arpa"];

const RECORDS: [&str; 7] = [
    "client.test. A 192.0.2.1",
    "author.test. MX 10 client.test.",
    "author.test. TXT \"v=spf1 ip4:192.0.2.0/24 -all\"",
    "_dmarc.author.test. TXT \"v=DMARC1; p=reject\"",
    "plain.test. MX 10 client.test.",
    "plain.test. TXT \"v=spf1 ip4:192.0.2.0/24 -all\"",
    "1.2.0.192.in-addr.arpa. PTR client.test.",
];

const GOOD: &str = "192.0.2.1";
const STRANGER: &str = "198.51.100.7";

fn shipped(next_hop: std::net::SocketAddr) -> Setup {
    Setup::to(next_hop).shipped().listening("xclient_from = ['127.0.0.0/8']")
}

/// The first refusal, or the reply to the message.
fn send(gatepost: &Gatepost, client: &str, from: &str, to: &str) -> Reply {
    let mut dialog = gatepost.connect();
    dialog.patience(Duration::from_secs(120));
    dialog.greet();
    for command in [
        format!("XCLIENT ADDR={client} NAME=client.test"),
        "EHLO client.test".into(),
        format!("MAIL FROM:<{from}>"),
        format!("RCPT TO:<{to}>"),
        "DATA".into(),
    ] {
        let reply = dialog.say(&command, "");
        if reply.code >= 400 {
            return reply;
        }
    }
    dialog.content(&format!("From: <{from}>\nTo: <{to}>\nSubject: letter\n\nText.\n"));
    dialog.expect("")
}

#[test]
fn mail_is_taken_while_the_name_server_is_silent() {
    let (names, sink) = (NameServer::start("*.test 0 SILENT\n*.arpa 0 SILENT"), Sink::start());
    let gatepost = shipped(sink.address).with(&names.config()).start();
    let reply = send(&gatepost, STRANGER, "a@author.test", "user@example.test");
    assert_eq!(reply.code, 250, "{}", reply.text);
    let mail = sink.wait_received(1).remove(0);
    assert_eq!(mail.header("X-Spam-Flag"), None, "{}", mail.text());
    let results = mail.header("Authentication-Results").unwrap_or_default();
    assert!(results.contains("spf=temperror") && results.contains("dmarc=temperror"), "{results}");
    let record = &gatepost.records(1)[0];
    let faults: Vec<&str> = record["faults"]
        .as_array()
        .expect("faults")
        .iter()
        .filter_map(|fault| fault["check"].as_str())
        .collect();
    assert!(faults.contains(&"spf") && faults.contains(&"dmarc"), "{record:#}");
    assert!(names.asked_in_all() > 0);
}

#[test]
fn senders_are_authenticated_and_must_exist() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (Dns::start(&ZONES, &RECORDS), Sink::start());
    for domains in ["", "domains = ['example.test']"] {
        let before = sink.received().len();
        let gatepost = shipped(sink.address).globally(domains).with(&dns.config()).start();
        let to = "user@example.test";
        let reply = send(&gatepost, GOOD, "a@author.test", to);
        assert_eq!(reply.code, 250, "{}", reply.text);
        let reply = send(&gatepost, STRANGER, "a@author.test", to);
        assert!(reply.text.starts_with("550 5.7.26 "), "{}", reply.text);
        let reply = send(&gatepost, GOOD, "a@nowhere.test", to);
        let unknown = "450 4.1.8 <a@nowhere.test>: Sender address rejected: Domain not found";
        assert!(reply.text.starts_with(unknown), "{}", reply.text);
        // Without DMARC, SPF that fails is told and counts, and does not refuse.
        let reply = send(&gatepost, STRANGER, "a@plain.test", to);
        assert_eq!(reply.code, 250, "{}", reply.text);
        let mails = sink.wait_received(before + 2).split_off(before);
        let results = |place: usize| mails[place].header("Authentication-Results").unwrap_or_default();
        assert!(results(0).contains("spf=pass") && results(0).contains("dmarc=pass"), "{}", results(0));
        assert!(results(1).contains("spf=fail") && results(1).contains("dmarc=none"), "{}", results(1));
        let records = gatepost.records(4);
        let told = records.iter().filter(|record| record.to_string().contains("\"SPF_FAIL\"")).count();
        assert_eq!(told, 2, "{records:#?}");
    }
}

/// While no domains are named only the next hop knows them, and it must be asked.
#[test]
fn without_domains_the_next_hop_says_who_may_relay() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (Dns::start(&ZONES, &RECORDS), Sink::start());
    sink.on_some("RCPT", "@elsewhere.test", usize::MAX, Step::Reply("554 5.7.1 Relay access denied".into()));
    for (domains, ours) in [("", false), ("domains = ['example.test']", true)] {
        let gatepost = shipped(sink.address).globally(domains).with(&dns.config()).start();
        let asked = sink.commands().len();
        let reply = send(&gatepost, GOOD, "a@author.test", "b@elsewhere.test");
        assert!(reply.text.starts_with("554 5.7.1 "), "{}", reply.text);
        assert_eq!(reply.text.contains("<b@elsewhere.test>: Relay access denied"), ours, "{}", reply.text);
        let told =
            sink.commands().split_off(asked).iter().any(|command| command.contains("b@elsewhere.test"));
        assert_eq!(told, !ours);
        assert_eq!(send(&gatepost, GOOD, "a@author.test", "b@example.test").code, 250);
    }
}
