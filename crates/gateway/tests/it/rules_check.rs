//! The check `rules`: SpamAssassin's rule language in the running gateway.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::rig::*;

/// A mail that the rules of our own take for spam.
const EXTORTION: &str = include_str!("../../../rules/tests/own/GP_EXTORT_ADDRESS.hit1.eml");

const RULES: &str = "body OFFER /special offer/i\ndescribe OFFER Offers something\nscore OFFER 7.25\n\
    header URGENT Subject =~ /urgent/i\ndescribe URGENT Hurries\nscore URGENT 0.5\n";

/// A folder of rules, and the tables that have it used.
fn site(rules: &str) -> (tempfile::TempDir, String) {
    let folder = folder();
    fs::write(folder.path().join("10_site.cf"), rules).expect("rules");
    let tables = format!("[checks.rules]\npaths = [{:?}]\n", folder.path().to_str().expect("a plain path"));
    (folder, tables)
}

fn send(gatepost: &Gatepost, subject: &str, body: &str) -> Reply {
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.message("a@client.test", &["user@example.test"], &mail(subject, body))
}

fn header(received: &Received, name: &str) -> String {
    received.header(name).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn finding<'a>(record: &'a Value, symbol: &str) -> &'a Value {
    let all = record["findings"].as_array().expect("findings");
    all.iter().find(|finding| finding["symbol"] == symbol).unwrap_or_else(|| panic!("no {symbol}: {record}"))
}

#[test]
fn spam_is_caught_on_a_bare_machine() {
    let sink = Sink::start();
    // Nothing of the check is configured; the rig would turn it off if it were not named.
    let gatepost = Setup::to(sink.address).globally("# checks.rules as shipped").start();
    let mut dialog = gatepost.connect();
    dialog.greet();
    assert_eq!(dialog.message("a@client.test", &["user@example.test"], EXTORTION).code, 250);
    assert_eq!(dialog.message("a@client.test", &["user@example.test"], &mail("letter", "hello")).code, 250);
    let received = sink.wait_received(2);
    let (spam, ham) = (header(&received[0], "X-Spam-Status"), header(&received[1], "X-Spam-Status"));
    assert!(spam.starts_with("Yes, score=") && spam.contains("GP_EXTORT_ADDRESS=2.8"), "{spam}");
    assert!(ham.starts_with("No, score=") && !ham.contains("GP_"), "{ham}");
    let record = &gatepost.records(2)[0];
    assert!(finding(record, "GP_EXTORT_ADDRESS")["meaning"].as_str().is_some_and(|text| !text.is_empty()));
    assert!(gatepost.log().contains("rules read in"), "{}", gatepost.log());
}

#[test]
fn what_rules_find_is_told_everywhere() {
    let (_folder, tables) = site(RULES);
    let sink = Sink::start();
    let policy = "[[policy]]\nname = \"lax\"\nwhen.recipients = [\"lax@example.test\"]\n\
                  weights = { OFFER = 1, URGENT = 0 }\n";
    let mut gatepost = Setup::to(sink.address).with(&tables).with(policy).start();
    assert_eq!(send(&gatepost, "Urgent", "A special offer.").code, 250);
    let first = sink.wait_received(1).remove(0);
    let expected = "Yes, score=7.75 tag=-999 tag2=6.31 kill=10 tests=[OFFER=7.25, URGENT=0.5] autolearn=no";
    assert_eq!(header(&first, "X-Spam-Status"), expected);
    assert_eq!(
        (header(&first, "X-Spam-Level"), header(&first, "X-Spam-Flag")),
        ("*******".into(), "YES".into())
    );
    let record = gatepost.records(1).remove(0);
    let offer = finding(&record, "OFFER");
    assert_eq!((offer["weight"].as_f64(), offer["meaning"].as_str()), (Some(7.25), Some("Offers something")));
    assert_eq!(offer["evidence"], "BODY: “special offer”");
    let output = gatepost.command(&["explain"], &[record["id"].as_str().expect("an id")]);
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(page.contains("7.25  OFFER (mail): Offers something: BODY: “special offer”"), "{page}");

    // Each recipient by his own policy.
    let mut dialog = gatepost.connect();
    dialog.greet();
    let both = ["user@example.test", "lax@example.test"];
    assert_eq!(dialog.message("a@client.test", &both, &mail("Urgent", "A special offer.")).code, 250);
    let record = gatepost.records(2).remove(1);
    let scores: Vec<_> =
        record["verdicts"].as_array().expect("verdicts").iter().map(|v| v["score"].as_f64()).collect();
    assert_eq!(scores, [Some(7.75), Some(1.0)]);

    // SpamAssassin's own form.
    let names = "[headers]\nstatus_form = \"spamassassin\"\nreport = \"X-Spam-Report\"\n";
    gatepost.change(|setup| setup.tables.push_str(names));
    gatepost.restart();
    assert_eq!(send(&gatepost, "Urgent", "A special offer.").code, 250);
    let last = sink.received().pop().expect("the message");
    let status = header(&last, "X-Spam-Status");
    assert_eq!(status, "Yes, score=7.8 required=6.3 tests=OFFER,URGENT autolearn=no version=gatepost");
    assert_eq!(header(&last, "X-Spam-Report"), "* 7.25 OFFER Offers something * 0.5 URGENT Hurries");
}

#[test]
fn what_rules_put_before_the_subject() {
    // A rule with a template, one that is a part of others, one that says what another said, and one that does not hit.
    let rules = format!(
        "{RULES}header __LOCAL From =~ /client/\nsubjprefix __LOCAL [EXTERNAL]\nbody AGAIN /special/\nscore AGAIN 0.1\n\
         subjprefix AGAIN [EXTERNAL]\nsubjprefix URGENT _HEADER(X-Team)_:\nbody NOT /nothing like this/\nsubjprefix NOT [NOT]\n"
    );
    let (_folder, tables) = site(&rules);
    let sink = Sink::start();
    let policy = "[default_policy]\nsubject_tags.spammy = \"[SPAM?] \"\n[[policy]]\nname = \"plain\"\n\
                  when.recipients = [\"plain@example.test\"]\nsubject_prefixes = false\n";
    let gatepost = Setup::to(sink.address).with(&tables).with(policy).start();
    let send = |recipient: &str, subject: &str, body: &str| {
        let mut dialog = gatepost.connect();
        dialog.greet();
        let mail = format!("X-Team: caf\u{e9}\r\n{}", mail(subject, body));
        assert_eq!(dialog.message("a@client.test", &[recipient], &mail).code, 250);
        header(sink.received().last().expect("the message"), "Subject")
    };
    let table = [
        ("user", "letter", "hello", "[EXTERNAL] letter"),
        ("user", "[EXTERNAL] letter", "hello", "[EXTERNAL] letter"),
        ("user", "letter", "A special offer.", "[SPAM?] [EXTERNAL] letter"),
        ("user", "[EXTERNAL] letter", "A special offer.", "[SPAM?] [EXTERNAL] letter"),
        ("plain", "letter", "hello", "letter"),
        ("plain", "letter", "A special offer.", "[SPAM?] letter"),
    ];
    for (recipient, subject, body, expected) in table {
        assert_eq!(send(&format!("{recipient}@example.test"), subject, body), expected, "{subject}, {body}");
    }
    let encoded = send("user@example.test", "urgent", "hello");
    assert_eq!(encoded, "=?UTF-8?B?Y2Fmw6k=?= : [EXTERNAL] urgent");
    assert!(!gatepost.records(7).is_empty());
}

#[test]
fn changed_rules_count_and_broken_ones_do_not() {
    let (folder, tables) = site(RULES);
    let file = folder.path().join("10_site.cf");
    let sink = Sink::start();
    let gatepost =
        Setup::to(sink.address).with(&tables).with("[default_policy.actions]\nspammy = \"refuse\"\n").start();
    let code = || send(&gatepost, "letter", "A special offer.").code;
    assert_eq!(code(), 550);
    fs::write(&file, RULES.replace("7.25", "1")).expect("rules");
    wait_for("the new score counts", Duration::from_secs(60), || (code() == 250).then_some(()));

    fs::write(&file, format!("{}body BAD /(/\n", RULES.replace("7.25", "9"))).expect("rules");
    wait_for("the mistake is told", Duration::from_secs(60), || {
        gatepost.log().contains("10_site.cf:7").then_some(())
    });
    assert_eq!(code(), 250, "the rules before count");
    // Nor does a reload of the configuration take them.
    gatepost.signal(Signal::SIGHUP);
    wait_for("the reload", Duration::from_secs(60), || {
        gatepost.log().contains("configuration reloaded").then_some(())
    });
    assert_eq!(code(), 250, "the rules before count");

    fs::write(&file, RULES.replace("7.25", "8.125")).expect("rules");
    gatepost.signal(Signal::SIGHUP);
    wait_for("what was mended counts", Duration::from_secs(60), || (code() == 550).then_some(()));
}

#[test]
fn rules_that_cannot_be_used_are_told_before_anything_is_started() {
    let folder = folder();
    let config = folder.path().join("gatepost.toml");
    let check = |text: &str| {
        fs::write(&config, text).expect("a configuration");
        let output = run(&["check", "-c", config.to_str().expect("a plain path")], b"");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let data = format!("data = {:?}\n", folder.path().join("data"));
    for (text, good, told) in [
        ("[checks.rules]\npaths = [\"/nonexistent/rules\"]\n", false, "/nonexistent/rules"),
        ("[checks.rules]\ntime = 0\n", false, "checks.rules.time"),
        ("[default_policy.weights]\nGP_LINK_IPP = 3\n", false, "the nearest is GP_LINK_IP"),
    ] {
        let (done, output) = check(&format!("{data}{text}"));
        assert_eq!(done, good, "{text}: {output}");
        assert!(output.contains(told), "{text}: {output}");
    }
}

#[test]
fn a_rule_that_runs_away_is_a_fault_and_no_mail_is_lost() {
    let (_folder, tables) = site("body RUNS_AWAY /(a+)+\\1[yz]/\nbody SEEN /hello/\nscore SEEN 1\n");
    let sink = Sink::start();
    let mut gatepost = Setup::to(sink.address).with(&tables).start();
    let body = format!("hello {}!", "a".repeat(3000));
    assert_eq!(send(&gatepost, "letter", &body).code, 250);
    let status = header(&sink.wait_received(1)[0], "X-Spam-Status");
    assert!(status.contains("SEEN=1.0") && !status.contains("RUNS_AWAY"), "{status}");
    let record = gatepost.records(1).remove(0);
    assert_eq!(record["faults"][0]["check"], "rules:RUNS_AWAY", "{record}");

    gatepost.change(|setup| setup.tables = format!("{tables}on_fault = \"defer\"\n"));
    gatepost.restart();
    let reply = send(&gatepost, "letter", &body);
    assert_eq!(reply.code, 451, "{}", reply.text);
    assert_eq!(send(&gatepost, "letter", "hello").code, 250);
    assert_eq!(sink.received().len(), 2);
}

#[test]
fn large_mail_is_left_out_and_the_record_says_so() {
    let (_folder, tables) = site(RULES);
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with(&tables).start();
    let body = format!("A special offer.\n{}", "0123456789 words\n".repeat(40_000));
    assert_eq!(send(&gatepost, "large", &body).code, 250);
    let record = gatepost.records(1).remove(0);
    assert!(
        finding(&record, "RULES_SKIPPED")["evidence"].as_str().is_some_and(|text| text.contains("524288"))
    );
}

#[test]
fn spamc_hears_the_names_of_rules() {
    if !needs(&["spamc"]) {
        return;
    }
    let (_folder, tables) = site(RULES);
    let address = free_address();
    let listener = format!("[[listener]]\nprotocol = \"spamd\"\nlisten = [\"{address}\"]\n");
    let _gatepost = Setup::default().with(&listener).with(&tables).start();
    wait_for("the spamd listener", START, || answers(address).then_some(()));
    let message = mail("Urgent", "A special offer.");
    for (option, holds) in [
        ("-c", "7.8/6.3"),
        ("-y", "OFFER,URGENT"),
        ("-R", "7.25 OFFER                  Offers something"),
        ("-x", "tests=[OFFER=7.25,"),
        ("--headers", "URGENT=0.5]"),
    ] {
        let told = spamc(address, option, &message);
        assert!(told.contains(holds), "{option}: {told}");
    }
}

fn spamc(address: SocketAddr, option: &str, input: &str) -> String {
    use std::io::Write;
    let mut child = Command::new(program("spamc"))
        .args(["-d", "127.0.0.1", "-p", &address.port().to_string(), option])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spamc runs");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("the mail");
    String::from_utf8_lossy(&child.wait_with_output().expect("it ends").stdout).into_owned()
}

#[test]
fn a_file_judged_by_hand_shows_the_rules() {
    let (_folder, tables) = site(RULES);
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with(&tables).start();
    let file = gatepost.folder().join("mail.eml");
    fs::write(&file, mail("Urgent", "A special offer.")).expect("a mail");
    let scanned = gatepost.json(&["scan"], &["--json", file.to_str().expect("a plain path")]);
    assert_eq!(finding(&scanned[0], "OFFER")["weight"], 7.25);
    assert_eq!(scanned[0]["category"], "spammy");
}

/// Where mail comes from is what the client at the border of Postfix is, at each place that gatepost can have.
#[test]
fn postfix_says_who_the_client_is() {
    if !needs(&["postfix"]) {
        return;
    }
    const CLIENT: &str = "198.51.100.23";
    let rules = format!(
        "header ONCE X-Spam-Relays-External =~ /^\\[ ip={0} rdns=client\\.far\\.test helo=client\\.far\\.test [^\\]]*\\]$/\n\
         score ONCE 1.5\nheader SENDER EnvelopeFrom =~ /^a\\@client\\.test$/\nscore SENDER 0.25\n",
        CLIENT.replace('.', "\\.")
    );
    let (_folder, tables) = site(&rules);
    let milter = Setup::default().listening("protocol = \"milter\"").with(&tables).start();
    let main = format!("smtpd_milters = inet:{}\nmilter_default_action = tempfail\n", milter.smtp);
    let before = Postfix::with(PostfixSetup {
        main: format!("{main}smtpd_authorized_xclient_hosts = 127.0.0.0/8\n"),
        ..PostfixSetup::default()
    });
    let behind = free_address();
    let proxy = Setup::to(behind).listening("xforward_from = [\"127.0.0.0/8\"]").with(&tables).start();
    let after = PostfixSetup::default()
        .main(&format!("content_filter = smtp:[127.0.0.1]:{}\n", proxy.smtp.port()))
        .main("smtp_send_xforward_command = yes\nsmtpd_authorized_xclient_hosts = 127.0.0.0/8")
        .services(&back(behind))
        .start();
    for (what, postfix) in [("milter", &before), ("content_filter", &after)] {
        let mut dialog = Dialog::connect(postfix.smtp);
        dialog.greet();
        dialog.say(&format!("XCLIENT ADDR={CLIENT} NAME=client.far.test"), "220");
        dialog.say("EHLO client.far.test", "250");
        let reply = dialog.message("a@client.test", &["user@example.test"], &mail("letter", "hello"));
        assert_eq!(reply.code, 250, "{what}: {}", reply.text);
        let delivered = postfix.delivered("user", 1).remove(0);
        assert!(delivered.contains("ONCE=1.5") && delivered.contains("SENDER=0.25"), "{what}: {delivered}");
    }
}

/// Where Postfix takes back what it had looked at.
fn back(address: SocketAddr) -> String {
    format!("{address} inet n - n - - smtpd -o content_filter=\n")
}

/// Files change all the time, the daemon is killed: what Postfix has, it still delivers.
#[test]
fn nothing_is_lost_while_rules_change_and_the_daemon_dies() {
    if !needs(&["postfix"]) {
        return;
    }
    const MAILS: usize = 24;
    let (folder, tables) = site(RULES);
    let behind = free_address();
    let mut proxy = Setup::to(behind).with(&tables).start();
    let postfix = PostfixSetup::default()
        .main(&format!("content_filter = smtp:[127.0.0.1]:{}\n", proxy.smtp.port()))
        .main("minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s")
        .services(&back(behind))
        .start();
    let file: PathBuf = folder.path().join("10_site.cf");
    for number in 0..MAILS {
        let mut dialog = Dialog::connect(postfix.smtp);
        dialog.greet();
        let content = mail(&format!("letter {number}"), "A special offer.");
        assert_eq!(dialog.message("a@client.test", &["user@example.test"], &content).code, 250);
        change(&file, number);
        match number % 8 {
            3 => proxy.signal(Signal::SIGHUP),
            7 => {
                proxy.kill();
                proxy.restart();
            }
            _ => {}
        }
    }
    wait_for("every letter", Duration::from_secs(120), || {
        postfix.flush();
        let mails = postfix.mailbox("user");
        let all = (0..MAILS)
            .all(|number| mails.iter().any(|mail| mail.contains(&format!("Subject: letter {number}\n"))));
        all.then_some(())
    });
}

/// Another file each time, now and then a broken one.
fn change(file: &Path, number: usize) {
    let broken = if number.is_multiple_of(3) { "body BAD /(/\n" } else { "" };
    fs::write(file, format!("{RULES}# {}\n{broken}", "x".repeat(number))).expect("rules");
}
