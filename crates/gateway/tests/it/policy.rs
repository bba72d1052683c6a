//! The policy service: by hand over both kinds of sockets, and asked by a real Postfix.

mod client;
mod policyd_spf;
mod postgrey;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use self::client::{Asker, request};
use crate::rig::*;

/// gatepost with one policy listener at an address and a socket in its folder.
fn service(listener: &str, rest: &str) -> (Gatepost, SocketAddr, tempfile::TempDir) {
    let (address, folder) = (free_address(), folder());
    let socket = folder.path().join("policy.sock");
    let config = format!(
        "data = \"/var/lib/gatepost\"\nhostname = \"gatepost.test\"\nnetworks = [\"10.9.0.0/16\"]\n\
         domains = [\"example.test\"]\n[[listener]]\nprotocol = \"policy\"\n\
         listen = [\"{address}\", \"unix:{}\"]\n{listener}\n{rest}\n",
        socket.display()
    );
    (Setup::documented(config, address).start(), address, folder)
}

fn unix(folder: &Path) -> Asker {
    Asker::unix(&folder.join("policy.sock"))
}

/// Lists that refuse whoever is called by a bad name.
const NAMES: &str = "helo_restrictions = [\"permit_mynetworks\", \"reject_invalid_helo_hostname\"]\n\
    sender_restrictions = [\"reject_non_fqdn_sender\"]\n\
    recipient_restrictions = [\"reject_non_fqdn_recipient\"]";

#[test]
fn restrictions_are_answered_at_rcpt() {
    let (gatepost, address, folder) = service(NAMES, "");
    for mut asker in [Asker::tcp(address), unix(folder.path())] {
        for (changes, expected) in [
            (&[][..], "DUNNO"),
            (&[("helo_name", "a_b!")], "501 5.5.2 <a_b!>: Helo command rejected: Invalid name (id "),
            (&[("helo_name", "a_b!"), ("client_address", "10.9.1.1")], "DUNNO"),
            (
                &[("sender", "a@b")],
                "504 5.5.2 <a@b>: Sender address rejected: need fully-qualified address (id ",
            ),
            // Postfix itself says whom it is about.
            (&[("recipient", "a@b")], "504 5.5.2 need fully-qualified address (id "),
            (&[("sender", "")], "DUNNO"),
            (&[("client_address", "2001:db8::9"), ("helo_name", "[IPv6:2001:db8::9]")], "DUNNO"),
            (&[("protocol_state", "CONNECT"), ("helo_name", "")], "DUNNO"),
            (&[("protocol_state", "EHLO"), ("helo_name", "a_b!")], "DUNNO"),
            (&[("protocol_state", "MAIL"), ("sender", "a@b"), ("recipient", "")], "DUNNO"),
            // Nobody asked about this one at RCPT.
            (&[("protocol_state", "DATA"), ("sender", "a@b"), ("recipient", "")], "504 5.5.2 <a@b>: Sender"),
            (&[("protocol_state", "END-OF-MESSAGE"), ("recipient", "a@b")], "504 5.5.2 need fully"),
            (&[("protocol_state", "VRFY"), ("helo_name", "a_b!")], "501 5.5.2 <a_b!>: Helo command"),
            (&[("protocol_state", "ETRN"), ("sender", "a@b"), ("recipient", "")], "DUNNO"),
            (&[("protocol_state", "STARTTLS"), ("helo_name", "a_b!")], "DUNNO"),
        ] {
            let answer = asker.ask(&request(changes));
            assert!(answer.starts_with(&format!("action={expected}")), "{changes:?}: {answer}");
        }
    }
    let record = gatepost.records(1).remove(0);
    assert_eq!(
        (&record["category"], &record["client"]),
        (&"restricted".into(), &"192.0.2.9".into()),
        "{record:#}"
    );
    assert_eq!((&record["listener"], &record["helo"]), (&"policy".into(), &"a_b!".into()), "{record:#}");
    assert_eq!(
        (&record["sender"], &record["action"]),
        (&"a@sender.test".into(), &"refuse".into()),
        "{record:#}"
    );
    assert_eq!(record["recipients"][0], "user@example.test");
}

#[test]
fn without_delay_each_stage_is_decided() {
    let (_gatepost, address, _folder) = service(&format!("delay_reject = false\n{NAMES}"), "");
    let mut asker = Asker::tcp(address);
    for (changes, expected) in [
        (&[("protocol_state", "CONNECT"), ("helo_name", "")][..], "DUNNO"),
        (&[("protocol_state", "HELO"), ("helo_name", "a_b!"), ("sender", "")], "501 5.5.2 <a_b!>"),
        (&[("protocol_state", "MAIL"), ("sender", "a@b"), ("recipient", "")], "504 5.5.2 <a@b>"),
        (&[("protocol_state", "RCPT"), ("recipient", "a@b")], "504 5.5.2 need"),
        // A question of its own name later in the same message.
        (&[("protocol_state", "MAIL"), ("recipient", "")], "DUNNO"),
    ] {
        let answer = asker.ask(&request(changes));
        assert!(answer.starts_with(&format!("action={expected}")), "{changes:?}: {answer}");
    }
}

#[test]
fn many_questions_at_once_are_answered_in_order() {
    let (_gatepost, address, folder) = service(NAMES, "");
    for mut asker in [Asker::tcp(address), unix(folder.path())] {
        let (good, bad) = (request(&[]), request(&[("sender", "a@b")]));
        let mut all = String::new();
        (0..200).for_each(|number| all.push_str(if number % 3 == 0 { &bad } else { &good }));
        asker.send(&all);
        for number in 0..200 {
            let answer = asker.answer();
            assert_eq!(answer.starts_with("action=504 5.5.2"), number % 3 == 0, "{number}: {answer}");
        }
        // However they are cut.
        for chunk in good.repeat(3).as_bytes().chunks(7) {
            asker.send(std::str::from_utf8(chunk).expect("ASCII"));
        }
        for _ in 0..3 {
            assert_eq!(asker.answer(), "action=DUNNO\n");
        }
    }
}

#[test]
fn what_cannot_be_understood() {
    let (gatepost, address, _folder) = service(NAMES, "[limits]\nerrors = 5\n");
    let mut asker = Asker::tcp(address);
    for question in ["nonsense\n\n", "\n", "request=junk\n\n", &request(&[("client_address", "1.2.3")])] {
        assert_eq!(asker.ask(question), "action=451 4.3.5 Server configuration problem\n", "{question}");
    }
    assert_eq!(asker.ask(&request(&[])), "action=DUNNO\n", "the connection goes on");
    assert_eq!(asker.ask("request\n\n"), "action=451 4.3.5 Server configuration problem\n");
    assert!(asker.is_closed(), "five are too many");
    for endless in ["x".repeat(20_000), "a=b\n".repeat(300), format!("a={}\n", "x".repeat(999)).repeat(80)] {
        let mut asker = Asker::tcp(address);
        asker.send(&endless);
        assert!(asker.is_closed(), "{} octets", endless.len());
    }
    let mut asker = Asker::tcp(address);
    asker.send("request=smtpd_access_policy\nsender=");
    asker.finish();
    assert!(asker.is_closed(), "half a question");
    wait_for("the log", START, || {
        let said =
            ["attribute client_address has a value", "is no attribute", "is longer than", "has more than"];
        let log = gatepost.log();
        (said.iter().all(|said| log.contains(said)) && log.contains("in the middle of a request"))
            .then_some(())
    });
    assert_eq!(Asker::tcp(address).ask(&request(&[])), "action=DUNNO\n");
}

#[test]
fn who_may_ask() {
    let listener = format!("allow_from = [\"192.0.2.0/24\"]\n{NAMES}");
    let (_gatepost, address, folder) = service(&listener, "");
    let mut stranger = Asker::tcp(address);
    stranger.try_send(&request(&[]));
    assert!(stranger.is_closed());
    assert_eq!(unix(folder.path()).ask(&request(&[])), "action=DUNNO\n");
}

#[test]
fn a_new_configuration_counts_on_open_connections_and_a_stop_closes_them() {
    let address = free_address();
    let config = |rule: &str| {
        format!(
            "data = \"/var/lib/gatepost\"\n[[listener]]\nprotocol = \"policy\"\nlisten = [\"{address}\"]\n\
             helo_restrictions = []\nsender_restrictions = []\nrecipient_restrictions = [\"{rule}\"]\n"
        )
    };
    let mut gatepost = Setup::documented(config("permit"), address).start();
    let mut asker = Asker::tcp(address);
    assert_eq!(asker.ask(&request(&[("instance", "1")])), "action=DUNNO\n");
    gatepost.change(|setup| *setup = Setup::documented(config("reject"), address));
    gatepost.signal(Signal::SIGHUP);
    wait_for("the new configuration", START, || {
        let instance = gatepost.log().len().to_string();
        let answer = Asker::tcp(address).ask(&request(&[("instance", &instance)]));
        answer.starts_with("action=554 5.7.1 Access denied (id ").then_some(())
    });
    assert_eq!(asker.ask(&request(&[("instance", "1"), ("protocol_state", "DATA")])), "action=DUNNO\n");
    let answer = asker.ask(&request(&[("instance", "2")]));
    assert!(answer.starts_with("action=554 5.7.1"), "{answer}");
    gatepost.signal(Signal::SIGTERM);
    assert!(asker.is_closed(), "nobody waits for those who have nothing to ask");
    assert!(gatepost.wait().success());
}

#[test]
fn a_check_that_cannot_look_is_no_pass() {
    for (on_fault, expected) in [
        ("accept", "action=DUNNO\n"),
        ("defer", "action=DEFER_IF_PERMIT 4.3.0 Cannot be checked now, try again later (id "),
        ("quarantine", "action=HOLD p0f could not look\n"),
    ] {
        let check =
            format!("[checks.p0f]\nsource = \"unix:/nonexistent/p0f.sock\"\non_fault = \"{on_fault}\"\n");
        let (gatepost, address, _folder) = service(NAMES, &check);
        let answer = Asker::tcp(address).ask(&request(&[]));
        assert!(answer.starts_with(expected), "{on_fault}: {answer}");
        if on_fault == "defer" {
            let record = gatepost.records(1).remove(0);
            assert_eq!(record["faults"][0]["check"], "p0f", "{record:#}");
            assert_eq!(record["action"], "defer");
        }
    }
}

/// A Postfix whose clients say who they are by XCLIENT, with lines of the documentation in its main.cf.
fn postfix(lines: &str) -> Postfix {
    let own = "mynetworks = 192.0.2.128/25\nsmtpd_authorized_xclient_hosts = 127.0.0.0/8\n\
               smtpd_policy_service_default_action = 451 4.3.5 Nobody answers\n";
    PostfixSetup::default().main(&format!("{own}{lines}")).start()
}

fn from(postfix: &Postfix, client: &str) -> Dialog {
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    dialog.say(&format!("XCLIENT ADDR={client} NAME=client.test HELO=client.test"), "220");
    dialog.say("EHLO client.test", "250");
    dialog
}

#[test]
fn a_real_postfix_asks_over_tcp_and_unix() {
    if !needs(&["postfix", "root", "unbound"]) {
        return;
    }
    let dns = Dns::start(&["bl.test."], &["9.100.51.198.bl.test. A 127.0.0.2"]);
    let list = format!("{}[checks.dnsbl.test]\nzone = \"bl.test\"\ncategory = \"spam\"\n", dns.config());
    let (mut gatepost, address, folder) = service(NAMES, &list);
    let tcp = docs::block("policy-service.md", "main.cf").replace("127.0.0.1:10040", &address.to_string());
    let socket = folder.path().join("policy.sock").display().to_string();
    let unix = docs::block("policy-service.md", "main.cf unix").replace("/run/gatepost/policy.sock", &socket);
    for lines in [tcp, unix] {
        let postfix = postfix(&lines);
        for (client, sender, recipient, expected) in [
            ("198.51.100.7", "a@sender.test", "user@example.test", "250"),
            ("198.51.100.7", "a@sender.test", "user@elsewhere.test", r"454 4\.7\.1 .*Relay access denied"),
            ("198.51.100.7", "a@sender.test", "nobody@example.test", "550 5.1.1 .*User unknown"),
            ("198.51.100.7", "a@b", "user@example.test", "504 5.5.2 .*Sender address rejected: need fully"),
            (
                "198.51.100.9",
                "a@sender.test",
                "user@example.test",
                r"550 5\.7\.1 .*Message looks like spam.*\(id ",
            ),
            ("192.0.2.200", "a@b", "user@elsewhere.test", "250"),
        ] {
            let mut dialog = from(&postfix, client);
            dialog.say(&format!("MAIL FROM:<{sender}>"), "250");
            let reply = dialog.say(&format!("RCPT TO:<{recipient}>"), expected);
            if let Some((_, id)) = reply.text.split_once("(id ") {
                let id = id.trim_end_matches(')');
                wait_for("the record", START, || {
                    let explained = gatepost.command(&["explain"], &[id]);
                    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
                    (explained.contains(client) && explained.contains(recipient)).then_some(())
                });
            }
        }
        let mut dialog = from(&postfix, "198.51.100.7");
        dialog.message("a@sender.test", &["user@example.test", "other@example.test"], &mail("two", "hello"));
        postfix.delivered("other", 1);
        assert!(!postfix.log().contains("warning: access table"), "{}", postfix.log());
    }
    // Without gatepost mail waits, and comes once it is back.
    let postfix = postfix(
        &docs::block("policy-service.md", "main.cf").replace("127.0.0.1:10040", &address.to_string()),
    );
    gatepost.kill();
    let mut dialog = from(&postfix, "198.51.100.7");
    dialog.patience(Duration::from_secs(60));
    dialog.say("MAIL FROM:<a@sender.test>", "250");
    dialog.say("RCPT TO:<user@example.test>", "451 4.3.5 .*Nobody answers");
    gatepost.restart();
    dialog.say("RCPT TO:<user@example.test>", "250");
}

/// Names of the fields on top of a message, down to the first Received.
fn on_top(mail: &str) -> Vec<&str> {
    let names =
        mail.lines().filter(|line| !line.starts_with([' ', '\t'])).filter_map(|line| line.split_once(':'));
    let names: Vec<&str> = names.map(|(name, _)| name).take_while(|name| *name != "Received").collect();
    names.into_iter().filter(|name| ["Received-SPF", "X-Greylist"].contains(name)).collect()
}

#[test]
fn a_real_postfix_with_greylisting_spf_and_a_list() {
    if !needs(&["postfix", "root", "unbound"]) {
        return;
    }
    let dns = Dns::start(
        &["bl.test.", "sender.test."],
        &["9.100.51.198.bl.test. A 127.0.0.2", "sender.test. TXT \"v=spf1 ip4:198.51.100.0/28 -all\""],
    );
    let checks = format!(
        "{}[checks.dnsbl.test]\nzone = \"bl.test\"\n[checks.greylist]\ndelay = 1\n\
         [authentication]\nreceived_spf = true\n[restrictions]\n",
        dns.config()
    );
    let lists = "helo_restrictions = []\nsender_restrictions = [\"reject_spf_fail\"]\n\
                 recipient_restrictions = [\"reject_rbl_client test\", \"greylist\"]";
    let (gatepost, address, _folder) = service(lists, &checks);
    let lines = docs::block("policy-service.md", "main.cf").replace("127.0.0.1:10040", &address.to_string());
    let postfix = postfix(&lines);
    for (client, expected) in [
        (
            "198.51.100.9",
            r"554 5\.7\.1 <user@example.test>: Recipient address rejected: Service unavailable; Client host \[198.51.100.9\] blocked",
        ),
        ("198.51.100.77", r"550 5\.7\.23 <user@example.test>: Recipient address rejected: SPF: .*\(id "),
        (
            "198.51.100.7",
            r"450 4\.2\.0 <user@example.test>: Recipient address rejected: Greylisted, try again in 1 seconds \(id ",
        ),
    ] {
        let mut dialog = from(&postfix, client);
        dialog.say("MAIL FROM:<a@sender.test>", "250");
        dialog.say("RCPT TO:<user@example.test>", expected);
        // For good where there is a better reason than that it is new.
        dialog.say("RCPT TO:<nobody@example.test>", "550 5.1.1 .*User unknown");
        dialog.say("RCPT TO:<other@example.test>", &expected[..3]);
    }
    std::thread::sleep(Duration::from_secs(2));
    let mut dialog = from(&postfix, "198.51.100.7");
    let both = ["user@example.test", "other@example.test"];
    assert_eq!(dialog.message("a@sender.test", &both, &mail("two", "hello")).code, 250);
    for user in ["user", "other"] {
        let mail = postfix.delivered(user, 1).remove(0);
        assert_eq!(on_top(&mail).len(), 2, "each once, whatever the recipients: {mail}");
        assert!(mail.contains("Received-SPF: pass ") && mail.contains("X-Greylist: delayed "), "{mail}");
    }
    // Known by now: SPF alone has something to tell, once.
    assert_eq!(dialog.message("a@sender.test", &["user@example.test"], &mail("three", "hello")).code, 250);
    let mails = postfix.delivered("user", 2);
    assert!(mails.iter().any(|mail| on_top(mail) == ["Received-SPF"]), "{mails:#?}");
    let records = gatepost.records(6);
    let actions: Vec<_> = records.iter().filter_map(|record| record["action"].as_str()).collect();
    assert_eq!(actions, ["refuse", "refuse", "refuse", "refuse", "defer", "defer"]);
}
