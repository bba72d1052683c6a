//! DNS lists and lists in files, from the client's address to the reply, the header and the record.

use std::time::Duration;

use crate::rig::{Dialog, Dns, Gatepost, NameServer, Reply, Setup, Sink, mail, needs, wait_for};

/// A session of a client from elsewhere, up to EHLO.
fn client(gatepost: &Gatepost, address: &str, helo: &str) -> Dialog {
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say(&format!("XCLIENT ADDR={address}"), "220");
    dialog.say(&format!("EHLO {helo}"), "250");
    dialog
}

/// Sends a message, as far as it gets: the reply that refuses the recipient, or that to the message.
fn send(dialog: &mut Dialog, sender: &str) -> Reply {
    dialog.say(&format!("MAIL FROM:<{sender}>"), "250");
    dialog.send("RCPT TO:<user@example.test>");
    let reply = dialog.try_reply().expect("an answer to RCPT");
    if reply.code != 250 {
        return reply;
    }
    dialog.say("DATA", "354");
    dialog.content(&mail("one", "hello"));
    dialog.try_reply().expect("an answer to the message")
}

const TRUSTING: &str = "xclient_from = [\"127.0.0.0/8\"]";

/// Zones as real lists have them, in a real unbound.
fn lists() -> Dns {
    Dns::start(
        &["zen.test.", "dbl.test.", "wl.test.", "client.test.", "100.51.198.in-addr.arpa."],
        &[
            "2.0.0.127.s3cretkey.zen.test. A 127.0.0.2",
            "9.100.51.198.s3cretkey.zen.test. A 127.0.0.2",
            "9.100.51.198.s3cretkey.zen.test. A 127.0.0.4",
            "9.100.51.198.s3cretkey.zen.test. TXT \"https://zen.test/query/198.51.100.9 (S3CRETKEY)\"",
            "8.100.51.198.s3cretkey.zen.test. A 127.0.0.10",
            "7.100.51.198.s3cretkey.zen.test. A 127.255.255.254",
            "test.dbl.test. A 127.0.1.2",
            "bad.client.test.dbl.test. A 127.0.1.2",
            "2.0.0.127.wl.test. A 127.0.10.0",
            "9.100.51.198.wl.test. A 127.0.5.3",
            "6.100.51.198.in-addr.arpa. PTR bad.client.test.",
            "bad.client.test. A 198.51.100.6",
            "client.test. A 198.51.100.1",
        ],
    )
}

const LISTS: &str = "\
[checks.dnsbl.zen]
zone = \"{key}.zen.test\"
key = \"s3cretkey\"
codes.\"127.0.0.2\" = { symbol = \"SBL\", weight = 3 }
codes.\"127.0.0.4-7\" = { symbol = \"XBL\", weight = 4 }
codes.\"127.0.0.10-11\" = { symbol = \"PBL\", refuse = true }
[checks.dnsbl.dbl]
zone = \"dbl.test\"
of = [\"helo\", \"sender\", \"reverse-name\"]
weight = 6.5
[checks.dnsbl.friends]
zone = \"wl.test\"
kind = \"allow\"
weight = -1
";

#[test]
fn listings_count_and_the_key_of_a_list_is_told_nobody() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (lists(), Sink::start());
    let gatepost = Setup::to(sink.address).listening(TRUSTING).with(&dns.config()).with(LISTS).start();
    let said = [
        ("198.51.100.1", "client.test", "a@client.test", 250, ""),
        (
            "198.51.100.9",
            "client.test",
            "a@client.test",
            250,
            "DNSWL_FRIENDS=-1.0, DNSBL_ZEN_SBL=3.0, DNSBL_ZEN_XBL=4.0",
        ),
        ("198.51.100.8", "client.test", "a@client.test", 550, ""),
        // It refuses to answer: nothing found, and the record says so.
        ("198.51.100.7", "client.test", "a@client.test", 250, ""),
        ("198.51.100.1", "bad.client.test", "a@client.test", 250, "DNSBL_DBL=6.5"),
        ("198.51.100.1", "client.test", "a@bad.client.test", 250, "DNSBL_DBL=6.5"),
        ("198.51.100.6", "client.test", "a@client.test", 250, "DNSBL_DBL=6.5"),
    ];
    let mut transcripts = String::new();
    for (place, (address, helo, sender, code, tests)) in said.into_iter().enumerate() {
        let mut dialog = client(&gatepost, address, helo);
        let reply = send(&mut dialog, sender);
        assert_eq!(reply.code, code, "{address} {helo} {sender}: {}", reply.text);
        transcripts.push_str(dialog.transcript());
        if code == 250 {
            let before = said[..place].iter().filter(|one| one.3 == 250).count();
            let received = sink.wait_received(before + 1).pop().expect("the message");
            let status = received.header("X-Spam-Status").unwrap_or_default();
            let status = status.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(status.contains(&format!("tests=[{tests}]")), "{address} {helo} {sender}: {status}");
            transcripts.push_str(&received.text());
        }
    }
    let records = gatepost.records(said.len());
    let all = format!("{records:#?}");
    for told in [
        "198.51.100.9 in zen: 127.0.0.2, 127.0.0.4 (https://zen.test/query/198.51.100.9 (zen))",
        "198.51.100.8 in zen: 127.0.0.10",
        "HELO bad.client.test in dbl: 127.0.1.2",
        "sender bad.client.test in dbl: 127.0.1.2",
        "reverse name bad.client.test in dbl: 127.0.1.2",
        "127.255.255.254: the list refuses queries that come through public resolvers",
    ] {
        assert!(all.contains(told), "{told} is not in {all}");
    }
    for text in
        [&transcripts, &all, &gatepost.log(), &gatepost.http("/metrics").1, &gatepost.http("/health").1]
    {
        assert!(!text.to_lowercase().contains("s3cret"), "{text}");
    }
}

#[test]
fn a_list_marked_so_refuses_by_a_restriction_with_its_own_words() {
    if !needs(&["unbound"]) {
        return;
    }
    let (dns, sink) = (lists(), Sink::start());
    let tables = "[restrictions]\nrecipient = [\"permit_mynetworks\", \"permit_dnswl_client friends\", \"reject_rbl_client zen\", \
                  \"reject_rhsbl_sender dbl\", \"permit\"]\n";
    let gatepost =
        Setup::to(sink.address).listening(TRUSTING).with(&dns.config()).with(tables).with(LISTS).start();
    for (address, sender, expected) in [
        (
            "198.51.100.8",
            "a@client.test",
            "554 5\\.7\\.1 Service unavailable; Client host \\[198.51.100.8\\] blocked: .*in zen: 127.0.0.10",
        ),
        // Of the good first.
        ("198.51.100.9", "a@client.test", "250 "),
        (
            "198.51.100.1",
            "a@bad.client.test",
            "554 5\\.7\\.1 Service unavailable; Sender address \\[a@bad.client.test\\] blocked: .*in dbl",
        ),
        ("198.51.100.1", "a@client.test", "250 "),
    ] {
        let mut dialog = client(&gatepost, address, "client.test");
        dialog.say(&format!("MAIL FROM:<{sender}>"), "250");
        dialog.say("RCPT TO:<user@example.test>", expected);
        assert!(!dialog.transcript().to_lowercase().contains("s3cret"), "{}", dialog.transcript());
    }
}

#[test]
fn a_list_that_lists_everything_refuses_nothing() {
    let dns = NameServer::start(
        "2.0.0.127.good.test 60 A 127.0.0.2\n9.100.51.198.good.test 60 A 127.0.0.2\n\
         *.gone.test 60 A 127.0.0.2\n*.parked.test 60 A 203.0.113.80\n*.down.test 0 SERVFAIL\n*.dead.test 0 SILENT\n\
         client.test 60 A 198.51.100.1\n",
    );
    let sink = Sink::start();
    let list = |name: &str| {
        format!("[checks.dnsbl.{name}]\nzone = \"{name}.test\"\ncategory = \"spam\"\ntime = 1\n")
    };
    let tables: String = ["good", "gone", "parked", "down", "dead"].map(list).concat();
    let gatepost = Setup::to(sink.address)
        .listening(TRUSTING)
        .with(&format!("{}time = 1\n", dns.config()))
        .with(&tables)
        .start();
    for (address, code) in [("198.51.100.1", 250), ("198.51.100.9", 550), ("198.51.100.2", 250)] {
        let mut dialog = client(&gatepost, address, "client.test");
        let reply = send(&mut dialog, "a@client.test");
        assert_eq!(reply.code, code, "{address}: {}", reply.text);
    }
    let records = gatepost.records(3);
    let faults: Vec<&str> = records[0]["faults"]
        .as_array()
        .expect("faults")
        .iter()
        .filter_map(|fault| fault["check"].as_str())
        .collect();
    assert_eq!(faults, ["dnsbl:dead", "dnsbl:down", "dnsbl:gone", "dnsbl:parked"]);
    let log = gatepost.log();
    for told in [
        "gone lists 127.0.0.1, which no list does: it lists everything",
        "parked: 203.0.113.80 is no answer of a block list",
        "down: SERVFAIL",
    ] {
        assert!(
            log.lines().any(|line| line.contains("taken out of use") && line.contains(told)),
            "{told}: {log}"
        );
    }
    // Mail goes on without them, so we are ready; the page names them all the same.
    let (status, page) = wait_for("the health page", Duration::from_secs(30), || {
        Some(gatepost.http("/health")).filter(|(_, page)| page.contains("dnsbl:gone"))
    });
    assert!(
        status == 200 && page.starts_with("ready\ndnsbl:dead: ") && !page.contains("dnsbl:good"),
        "{page}"
    );
    assert!(gatepost.metric("gatepost_engine_up", &["dnsbl:gone"]) == 0.0);
    assert!(gatepost.metric("gatepost_engine_up", &["dnsbl:good"]) == 1.0);
    assert!(gatepost.metric("gatepost_dns_questions_total", &[]) > 0.0);

    // What is known not to work is not asked again.
    let asked = dns.asked("3.100.51.198.gone.test A");
    let mut dialog = client(&gatepost, "198.51.100.3", "client.test");
    assert_eq!(send(&mut dialog, "a@client.test").code, 250);
    assert_eq!((asked, dns.asked("3.100.51.198.gone.test A")), (0, 0));
    assert_eq!(dns.asked("3.100.51.198.good.test A"), 1);

    let check = gatepost.command(&["check"], &[]);
    let report = String::from_utf8_lossy(&check.stdout);
    for line in [
        "ok    DNS list good: good lists its test entry 127.0.0.2 (127.0.0.2)",
        "FAIL  DNS list gone: gone lists 127.0.0.1",
        "FAIL  DNS list parked: parked: 203.0.113.80",
        "FAIL  DNS list down: down: SERVFAIL",
        "FAIL  DNS list dead: dead: no ",
    ] {
        assert!(report.lines().any(|found| found.starts_with(line)), "{line}\nis not in\n{report}");
    }
}

#[test]
fn a_list_in_a_file_is_read_again_when_it_changes() {
    let sink = Sink::start();
    let folder = crate::rig::folder();
    let path = folder.path().join("own.txt");
    std::fs::write(&path, "198.51.100.0/24 our bad neighbours\n.bad.test\n").expect("write");
    let tables = format!(
        "[checks.local_list.own]\nfiles = [{path:?}]\nof = [\"client\", \"helo\"]\nrefuse = true\n\
         [checks.dns]\nservers = [\"127.0.0.1:9\"]\ntime = 1\n"
    );
    let gatepost = Setup::to(sink.address).listening(TRUSTING).with(&tables).start();
    let answer = |address: &str, helo: &str| {
        let mut dialog = client(&gatepost, address, helo);
        send(&mut dialog, "").text
    };
    assert!(answer("198.51.100.9", "client.test").starts_with("550 "));
    assert!(answer("192.0.2.1", "a.bad.test").starts_with("550 "));
    assert!(answer("192.0.2.1", "client.test").starts_with("250 "));
    assert!(format!("{:#?}", gatepost.records(3)).contains("198.51.100.9 in own (our bad neighbours)"));

    std::fs::write(&path, "192.0.2.1\nwhat is this?\n").expect("write");
    wait_for("the mistake is told", Duration::from_secs(30), || {
        gatepost.log().contains("own.txt:2: “what” is no address").then_some(())
    });
    assert!(answer("198.51.100.9", "client.test").starts_with("550 "), "the old list stays");

    std::fs::write(&path, "192.0.2.1\n").expect("write");
    wait_for("the new list counts", Duration::from_secs(30), || {
        answer("192.0.2.1", "client.test").starts_with("550 ").then_some(())
    });
    assert!(answer("198.51.100.9", "client.test").starts_with("250 "));
}
