//! Call-ahead: a real Postfix is asked whether it takes a recipient.

use std::time::Duration;

use crate::rig::*;

fn setup(next_hop: std::net::SocketAddr, asked: std::net::SocketAddr) -> Setup {
    Setup::to(next_hop).globally("networks = []\ndomains = [\"example.test\"]\n").with(&format!(
        "[restrictions]\nclient = []\nhelo = []\nsender = []\nrelay = []\nrecipient = [\"reject_unverified_recipient\"]\n\
         show_id = false\n[callahead]\nnext_hop = [\"smtp://{asked}\"]\ntime = 5\n"
    ))
}

fn heard(gatepost: &Gatepost, recipient: &str) -> String {
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say("MAIL FROM:<a@client.test>", "250.*");
    dialog.send(&format!("RCPT TO:<{recipient}>"));
    dialog.try_reply().expect("a reply").text
}

#[test]
fn postfix_is_asked_about_our_recipients_once() {
    if !needs(&["postfix", "root"]) {
        return;
    }
    let (sink, postfix) = (Sink::start(), Postfix::start());
    let mut gatepost = setup(sink.address, postfix.smtp).start();
    let unverified = "450 4.1.1 <nobody@example.test>: Recipient address rejected: unverified address: the next hop said: 550 5.1.1";
    for (recipient, expected) in [
        ("user@example.test", "250"),
        ("nobody@example.test", unverified),
        ("nobody@elsewhere.test", "250"),
        ("postmaster@example.test", "250"),
    ] {
        let reply = heard(&gatepost, recipient);
        assert!(reply.starts_with(expected), "{recipient}: {reply}");
    }
    // What is known is known without it, over a restart, too; what is not is put off.
    drop(postfix);
    gatepost.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(gatepost.wait().success());
    gatepost.restart();
    for (recipient, expected) in [
        ("user@example.test", "250"),
        ("nobody@example.test", unverified),
        (
            "other@example.test",
            "450 4.1.1 <other@example.test>: Recipient address rejected: unverified address",
        ),
    ] {
        let reply = heard(&gatepost, recipient);
        assert!(reply.starts_with(expected), "{recipient}: {reply}");
    }
    assert!(sink.received().is_empty());
}

#[test]
fn a_next_hop_that_hangs_or_is_undecided_puts_off() {
    let (sink, asked) = (Sink::start(), Sink::start());
    let gatepost = setup(sink.address, asked.address).start();
    for (stage, step) in [
        ("RCPT", Step::Hang),
        ("RCPT", Step::Reply("450 4.2.0 greylisted".into())),
        ("MAIL", Step::Reply("550 5.7.1 no empty senders".into())),
        ("CONNECT", Step::Close),
        ("RCPT", Step::Close),
        ("RCPT", Step::Wait(Duration::from_secs(20))),
    ] {
        asked.behave();
        asked.on(stage, step.clone());
        let reply = heard(&gatepost, "user@example.test");
        assert!(reply.starts_with("450 4.1.1 "), "{stage} {step:?}: {reply}");
    }
    asked.behave();
    assert!(heard(&gatepost, "user@example.test").starts_with("250"));
    assert!(gatepost.metric("gatepost_faults_total", &["callahead"]) >= 5.0);
}
