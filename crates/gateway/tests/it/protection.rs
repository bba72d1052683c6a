//! Protection: clients that come too fast or try out recipients, a host that is short of something, accounts that send
//! too much; and the client's name at a real Postfix behind us.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::crowd::room;
use super::rig::{Dialog, Dns, Gatepost, PostfixSetup, Setup, Sink, Step, mail, needs, swaks, wait_for};

const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 9));
const OURS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// Only 127.0.0.2 is ours; the load of this machine counts for nothing.
fn setup(sink: &Sink, protection: &str) -> Setup {
    Setup::to(sink.address)
        .globally("networks = ['127.0.0.2/32']\nrestrictions.sender = []\nrestrictions.helo = []")
        .with(&format!("[protection]\nrefuse_at_load = 0\n{protection}"))
}

fn from(address: IpAddr, gatepost: &Gatepost) -> Dialog {
    Dialog::connect_from(address, gatepost.smtp)
}

fn good_mail(gatepost: &Gatepost) {
    let mut dialog = from(OURS, gatepost);
    dialog.greet();
    let reply = dialog.message("a@client.test", &["user@example.test"], &mail("good", "hello"));
    assert_eq!(reply.code, 250, "{}", reply.text);
    dialog.say("QUIT", "221");
}

#[test]
fn who_comes_too_fast_is_put_off() {
    let sink = Sink::start();
    let gatepost = setup(&sink, "connections_per_minute = 3\nconnections_action = 'defer'").start();
    for _ in 0..3 {
        from(STRANGER, &gatepost).greet();
    }
    let mut fourth = from(STRANGER, &gatepost);
    fourth.expect("421 4.7.0 gatepost.test Too many connections");
    fourth.expect_end();
    for _ in 0..5 {
        good_mail(&gatepost);
    }
    from("127.0.0.10".parse().unwrap(), &gatepost).greet();
    assert!(gatepost.metric("gatepost_protection_total", &["reason=\"connections\""]) >= 1.0);
}

#[test]
fn or_waits_for_the_banner_and_must_keep_silent() {
    let sink = Sink::start();
    let gatepost = setup(&sink, "connections_per_minute = 1\nconnections_delay = 3").start();
    from(STRANGER, &gatepost).greet();
    let began = Instant::now();
    from(STRANGER, &gatepost).greet();
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    let mut hasty = from(STRANGER, &gatepost);
    hasty.send("EHLO client.test");
    hasty.expect("554 5.5.1 You spoke before it was your turn");
    good_mail(&gatepost);
    assert!(gatepost.metric("gatepost_protection_total", &["delayed_banner"]) >= 2.0);
}

/// A next hop that knows nobody whose name begins with `no`.
fn knows_few() -> Sink {
    let sink = Sink::start();
    sink.on_some("RCPT", "<no", usize::MAX, Step::Reply("550 5.1.1 User unknown".into()));
    sink
}

#[test]
fn wrong_recipients_are_answered_late_and_then_no_more() {
    let sink = knows_few();
    let gatepost =
        setup(&sink, "refused_recipients_free = 2\nrefused_recipients_delay = 1\nrefused_recipients = 5")
            .start();
    let mut dialog = from(STRANGER, &gatepost);
    dialog.greet();
    dialog.say("MAIL FROM:<a@client.test>", "250");
    dialog.say("RCPT TO:<user@example.test>", "250");
    for number in 1..5 {
        let began = Instant::now();
        dialog.say(&format!("RCPT TO:<no{number}@example.test>"), "550 5.1.1");
        assert!(number <= 2 || began.elapsed() >= Duration::from_millis(900), "{number}");
    }
    dialog.say("RCPT TO:<no5@example.test>", "550 5.1.1");
    dialog.expect("421 4.7.0 Too many wrong recipients");
    dialog.expect_end();
    assert_eq!(gatepost.metric("gatepost_protection_total", &["delayed_reply"]), 2.0);
    assert!(gatepost.log().contains("Too many refused recipients (5), [127.0.0.9] cut off"));
    assert!(sink.received().is_empty());

    // Our own users wait for nothing; and those that are put off are not wrong.
    let mut dialog = from(OURS, &gatepost);
    dialog.greet();
    dialog.say("MAIL FROM:<a@client.test>", "250");
    for number in 1..5 {
        dialog.say(&format!("RCPT TO:<no{number}@example.test>"), "550");
    }
    assert_eq!(gatepost.metric("gatepost_protection_total", &["delayed_reply"]), 2.0);
    sink.on_some("RCPT", "<later", usize::MAX, Step::Reply("450 4.2.0 Greylisted".into()));
    let mut dialog = from(STRANGER, &gatepost);
    dialog.greet();
    dialog.say("MAIL FROM:<a@client.test>", "250");
    for number in 0..30 {
        dialog.say(&format!("RCPT TO:<later{number}@example.test>"), "450");
    }
    dialog.say("RCPT TO:<user@example.test>", "250");
}

#[test]
fn waiting_does_not_use_up_all_sessions_and_ends_with_the_daemon() {
    let sink = knows_few();
    let protection = "refused_recipients_free = 0\nrefused_recipients_delay = 30\ndelayed_sessions = 1";
    let mut gatepost = setup(&sink, protection).start();
    let wrong = |gatepost: &Gatepost| {
        let mut dialog = from(STRANGER, gatepost);
        dialog.greet();
        dialog.say("MAIL FROM:<a@client.test>", "250");
        dialog.send("RCPT TO:<nobody@example.test>");
        dialog
    };
    let mut first = wrong(&gatepost);
    wait_for("the first waits", Duration::from_secs(20), || {
        (gatepost.metric("gatepost_protection_total", &["delayed_reply"]) >= 1.0).then_some(())
    });
    let mut second = wrong(&gatepost);
    second.expect("550 5.1.1");
    second.expect("421 4.7.0 gatepost.test Too busy");
    second.expect_end();
    good_mail(&gatepost);
    gatepost.signal(nix::sys::signal::Signal::SIGTERM);
    first.patience(Duration::from_secs(20));
    first.expect("550 5.1.1");
    drop(first);
    assert!(gatepost.wait().success());
}

#[test]
fn whoever_harvests_addresses_is_known_by_it_the_next_time() {
    let sink = knows_few();
    let protection = "harvest_per_hour = 4\nrefused_recipients_delay = 0\ntarpit = 2";
    let mut gatepost = Setup::to(sink.address)
        .globally("networks = ['127.0.0.2/32']")
        .with("[restrictions]\nsender = []\nhelo = []\nrecipient = ['reject_symbol RCPT_HARVEST']")
        .with(&format!("[protection]\nrefuse_at_load = 0\n{protection}"))
        .start();
    for session in 0..2 {
        let mut dialog = from(STRANGER, &gatepost);
        dialog.greet();
        dialog.say("MAIL FROM:<a@client.test>", "250");
        for number in 0..2 {
            dialog.say(&format!("RCPT TO:<no{session}{number}@example.test>"), "550 5.1.1");
        }
    }
    for _ in 0..2 {
        let mut dialog = from(STRANGER, &gatepost);
        dialog.greet();
        dialog.say("MAIL FROM:<a@client.test>", "250");
        let began = Instant::now();
        dialog.say("RCPT TO:<user@example.test>", "554 5.7.1 Refused by local policy: 4 unknown recipients");
        assert!(began.elapsed() >= Duration::from_millis(1900), "its refusals are late");
        // What is counted outlives the daemon.
        gatepost.signal(nix::sys::signal::Signal::SIGTERM);
        drop(dialog);
        gatepost.wait();
        gatepost.restart();
    }
    good_mail(&gatepost);
    let output = gatepost.command(&["limits", "reset"], &["harvest", "127.0.0.9"]);
    assert!(output.status.success(), "{output:?}");
    let mut dialog = from(STRANGER, &gatepost);
    dialog.greet();
    dialog.say("MAIL FROM:<a@client.test>", "250");
    dialog.say("RCPT TO:<user@example.test>", "250");
}

#[test]
fn a_busy_host_takes_less() {
    let sink = Sink::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("load");
    let write = |load: &str| std::fs::write(&file, format!("{load} 0.5 0.1 1/1 1\n")).unwrap();
    write("0.10");
    let gatepost = Setup::to(sink.address)
        .globally("networks = ['127.0.0.2/32']\nrestrictions.sender = []")
        .with(&format!(
            "[protection]\nload_file = {file:?}\ndelay_at_load = 10\ndefer_at_load = 20\nrefuse_at_load = 40"
        ))
        .start();
    let told = |address: IpAddr| {
        let mut dialog = from(address, &gatepost);
        let banner = dialog.try_reply().map_or(0, |reply| reply.code);
        if banner != 220 {
            return banner.to_string();
        }
        dialog.say("EHLO client.test", "250");
        dialog.send("MAIL FROM:<a@client.test>");
        dialog.try_reply().unwrap().text
    };
    let until = |address: IpAddr, expected: &str| {
        wait_for(expected, Duration::from_secs(20), || told(address).starts_with(expected).then_some(()));
    };
    until(STRANGER, "250");
    write("20.00");
    until(STRANGER, "451 4.3.2 Load is too high");
    assert!(told(OURS).starts_with("250"), "our own users can hardly come again");
    assert!(gatepost.metric("gatepost_protection_total", &["delayed_banner"]) >= 1.0);
    write("40.5");
    until(OURS, "421");
    write("nonsense");
    until(STRANGER, "250");
    assert!(gatepost.log().contains("load average: does not begin with a load average"));
}

#[test]
fn a_full_disk_takes_no_mail() {
    let sink = Sink::start();
    sink.offer(&["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"]);
    let mut gatepost = setup(&sink, "free_disk = '1000000 TiB'").start();
    let told = |gatepost: &Gatepost, mail: &str| {
        let mut dialog = from(OURS, gatepost);
        dialog.greet();
        dialog.send(mail);
        dialog.try_reply().unwrap().text
    };
    wait_for("the disk is looked at", Duration::from_secs(20), || {
        told(&gatepost, "MAIL FROM:<a@client.test>").starts_with("452 4.3.1 Insufficient").then_some(())
    });
    let free = nix::sys::statvfs::statvfs("/tmp").unwrap();
    let free = u128::from(free.blocks_available()) * u128::from(free.fragment_size());
    // Half of it must stay free: a small message may come, one that needs more than the other half may not.
    gatepost.change(|setup| {
        setup.tables = setup.tables.replace("'1000000 TiB'", &format!("{}", free / 2))
            + &format!("[limits]\nmessage_size = {}\n", u64::MAX >> 1);
    });
    gatepost.restart();
    let large = format!("MAIL FROM:<a@client.test> SIZE={}", free * 9 / 10);
    wait_for("the disk is looked at", Duration::from_secs(20), || {
        told(&gatepost, &large).starts_with("452 4.3.1 Insufficient").then_some(())
    });
    assert!(told(&gatepost, "MAIL FROM:<a@client.test> SIZE=1000").starts_with("250"));
}

const HACKED: &str = "
[[protection.rate]]
of = 'user'
messages = 3
per = '1h'
direction = ['outbound']
action = 'refuse'
";

#[test]
fn a_hacked_account_is_stopped_and_reported() {
    if !needs(&["swaks"]) {
        return;
    }
    let sink = Sink::start();
    let mut gatepost = Setup::to(sink.address)
        .globally("domains = ['example.org']\nrestrictions.sender = []")
        .listening("xclient_from = ['127.0.0.0/8']")
        .with("[protection]\nrefuse_at_load = 0")
        .with(HACKED)
        .start();
    let send = |gatepost: &Gatepost, user: &str, to: &str| {
        let (client, sender) = ("198.51.100.66", format!("{user}@example.org"));
        swaks(
            gatepost.smtp,
            &["--xclient-addr", client, "--xclient-login", user, "--from", &sender, "--to", to],
        )
    };
    for number in 0..3 {
        let said = send(&gatepost, "alice", &format!("victim{number}@elsewhere.test"));
        assert!(said.contains("<-  250 2.0.0") || said.contains("<-  250"), "{said}");
    }
    let refused = "550 5.7.1 <alice>: too many messages in 1h (id ";
    for _ in 0..3 {
        let said = send(&gatepost, "alice", "victim@elsewhere.test");
        assert!(said.contains(refused), "{said}");
    }
    assert!(!send(&gatepost, "alice", "colleague@example.org").contains("<** "), "inside it is not counted");
    assert!(!send(&gatepost, "bob", "friend@elsewhere.test").contains("<** "), "others may go on");

    // The postmaster hears of it once, beside the five mails.
    let received = sink.wait_received(6);
    let notices: Vec<_> = received.iter().filter(|mail| mail.mail.starts_with("MAIL FROM:<>")).collect();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].recipients, ["RCPT TO:<postmaster@example.org>"]);
    let subject = notices[0].header("Subject").unwrap();
    assert_eq!(subject, "Stopped: user alice, more than 3 messages in 1h");
    assert!(notices[0].text().contains("[198.51.100.66]"));
    assert_eq!(sink.received().len(), 6);

    let log = gatepost.log();
    assert_eq!(log.matches("user alice is stopped: more than 3 messages in 1h").count(), 1, "{log}");
    assert_eq!(gatepost.metric("gatepost_protection_total", &["reason=\"rate\""]), 3.0);
    let records = gatepost.records(8);
    let refused_records: Vec<_> =
        records.iter().filter(|record| record["category"] == "restricted").collect();
    assert_eq!(refused_records.len(), 3);
    assert!(refused_records[0].to_string().contains("user-1h: user alice: more than 3 messages in 1h"));

    // Killed and started again, the account is still stopped, until somebody lets it go on. What is counted is written in
    // batches, so the last has its time.
    std::thread::sleep(Duration::from_secs(2));
    gatepost.kill();
    gatepost.restart();
    assert!(send(&gatepost, "alice", "victim@elsewhere.test").contains(refused));
    let listed = gatepost.json(&["limits", "list"], &["--stopped", "--json"]);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!((&listed[0]["who"], &listed[0]["used"]), (&"alice".into(), &3.into()));
    assert!(gatepost.command(&["limits", "reset"], &["user-1h", "alice"]).status.success());
    assert!(!send(&gatepost, "alice", "friend@elsewhere.test").contains("<** "));
}

#[test]
fn what_is_too_much_may_be_held_and_a_list_may_only_warn() {
    let sink = Sink::start();
    let rate = "[[protection.rate]]\nof = 'sender'\nmessages = 1\nper = '1d'\naction = 'hold'";
    let gatepost = setup(&sink, "").with(rate).start();
    good_mail(&gatepost);
    good_mail(&gatepost);
    let held = gatepost.held(1);
    assert!(held[0].to_string().contains("sender-1d: sender a@client.test: more than 1 messages in 1d"));
    assert_eq!(sink.received().len(), 1);

    let sink = Sink::start();
    let gatepost = Setup::to(sink.address)
        .with("[restrictions]\nsender = []\nrecipient = ['warn_if_reject limit_rates']")
        .with(&format!("[protection]\nrefuse_at_load = 0\n{}", rate.replace("hold", "defer")))
        .start();
    good_mail(&gatepost);
    good_mail(&gatepost);
    assert_eq!(sink.received().len(), 2);
    assert!(gatepost.log().contains("warn_if_reject: [127.0.0.2] limit_rates: 450 4.7.1"));
}

#[test]
fn a_thousand_connections_too_many_and_good_mail_flows() {
    if !room() {
        return;
    }
    let sink = Sink::start();
    let gatepost = setup(&sink, "connections_per_minute = 1\nconnections_delay = 30\ndelayed_sessions = 50")
        .with("[limits]\nsessions = 2000\nsessions_per_client = 0")
        .start();
    good_mail(&gatepost);
    let mut crowd: Vec<Dialog> = (0..1000).map(|_| from(STRANGER, &gatepost)).collect();
    for _ in 0..5 {
        good_mail(&gatepost);
    }
    wait_for("all but those that may wait are closed", Duration::from_secs(60), || {
        let closed = gatepost.metric("gatepost_protection_total", &["delayed_sessions"]);
        (closed >= 900.0).then_some(())
    });
    good_mail(&gatepost);
    let mut busy = 0;
    for dialog in crowd.iter_mut().rev().take(100) {
        dialog.patience(Duration::from_millis(100));
        busy += usize::from(dialog.try_reply().is_ok_and(|reply| reply.code == 421));
    }
    assert!(busy >= 50, "{busy}");
    assert_eq!(sink.received().len(), 7);
}

#[test]
fn postfix_behind_us_knows_the_clients_name() {
    if !needs(&["postfix", "unbound", "root"]) {
        return;
    }
    let dns = Dns::start(
        &["test.", "100.51.198.in-addr.arpa."],
        &["1.100.51.198.in-addr.arpa. PTR client.test.", "client.test. A 198.51.100.1"],
    );
    let postfix = PostfixSetup::default()
        .main("smtpd_authorized_xclient_hosts = 127.0.0.0/8")
        .main("smtpd_client_restrictions = reject_unknown_client_hostname")
        .start();
    let gatepost = Setup::to(postfix.smtp)
        .globally(
            "networks = []\ndomains = ['example.test']\nrestrictions.sender = []\nrestrictions.helo = []",
        )
        .listening("xclient_from = ['127.0.0.0/8']")
        .with(&dns.config())
        .start();
    let told = |client: &str| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        dialog.say(&format!("XCLIENT ADDR={client}"), "220");
        dialog.say("EHLO client.test", "250");
        dialog.say("MAIL FROM:<a@client.test>", "250");
        dialog.send("RCPT TO:<user@example.test>");
        let reply = dialog.try_reply().unwrap();
        if reply.code == 250 {
            dialog.say("DATA", "354");
            dialog.content(&mail("known", "hello"));
            dialog.expect("250");
        }
        reply.text
    };
    let reply = told("198.51.100.1");
    assert!(reply.starts_with("250"), "{reply}\n{}", postfix.log());
    let mails = postfix.delivered("user", 1);
    assert!(mails[0].contains("client.test"), "{}", mails[0]);
    wait_for("Postfix's log", Duration::from_secs(20), || {
        postfix.log().contains("client=client.test[198.51.100.1]").then_some(())
    });
    // Nobody is called that.
    let reply = told("198.51.100.2");
    assert!(reply.contains("cannot find your hostname"), "{reply}");
}
