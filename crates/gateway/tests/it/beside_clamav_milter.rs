//! gatepost in the place of clamav-milter: the same sessions through a real Postfix with the one and with the other, and
//! the same clamd behind both. Replies and what arrives are compared; what differs is named here and in the docs
//! (`coming-from-clamav-milter.md`), nothing else may.

use std::net::SocketAddr;

use crate::rig::*;

/// A session: who comes, with what.
struct Visit {
    /// Name, and subject of the mail.
    name: &'static str,
    /// XCLIENT's attributes, where the client is to be somebody else than us.
    xclient: &'static str,
    sender: &'static str,
    recipients: &'static [&'static str],
    content: fn(&str) -> String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    /// Postfix's reply: its codes, `550 5.7.1`.
    codes: String,
    /// The reply names the virus.
    virus_named: bool,
    /// Mailboxes that it was delivered to.
    delivered: Vec<&'static str>,
    /// The fields of those mails that are named X-Virus-*.
    fields: Vec<String>,
    /// It lies in Postfix's hold queue.
    on_hold: bool,
}

const VISITS: &[Visit] = &[
    visit("clean", clean),
    visit("infected", eicar_body),
    visit("zipped", zipped),
    visit("forged", forged),
    visit("large", large),
    Visit { sender: "", ..visit("no sender", eicar_body) },
    Visit { sender: "trusted@partner.test", ..visit("allowed sender", eicar_body) },
    Visit { recipients: &["other@example.test"], ..visit("allowed recipient", eicar_body) },
    Visit {
        recipients: &["user@example.test", "other@example.test"],
        ..visit("both recipients", eicar_body)
    },
    Visit { xclient: "ADDR=192.0.2.7 NAME=scanner.test", ..visit("local network", eicar_body) },
    Visit { xclient: "ADDR=198.51.100.7 LOGIN=tom", ..visit("authenticated", eicar_body) },
];

const fn visit(name: &'static str, content: fn(&str) -> String) -> Visit {
    Visit {
        name,
        xclient: "ADDR=198.51.100.7 NAME=client.test",
        sender: "a@client.test",
        recipients: &["user@example.test"],
        content,
    }
}

fn clean(subject: &str) -> String {
    mail(subject, "Hello")
}

fn zipped(subject: &str) -> String {
    with_attachment(subject, "eicar.txt", eicar().as_bytes())
}

fn forged(subject: &str) -> String {
    format!("X-Virus-Scanned: by a liar\nX-Virus-Status: Clean\n{}", mail(subject, "Hello"))
}

/// Over the limit of size that is configured here.
fn large(subject: &str) -> String {
    mail(subject, &("x".repeat(70) + "\n").repeat(20_000)) + &eicar() + "\n"
}

/// All visits, one after the other, to a Postfix that asks `filter`.
fn outcomes(filter: SocketAddr) -> Vec<Outcome> {
    let postfix = ask(filter);
    VISITS.iter().map(|visit| outcome(&postfix, visit)).collect()
}

/// A Postfix that asks `filter`.
fn ask(filter: SocketAddr) -> Postfix {
    Postfix::with(PostfixSetup {
        main: format!(
            "smtpd_milters = inet:127.0.0.1:{}\nmilter_default_action = tempfail\n\
             smtpd_authorized_xclient_hosts = 127.0.0.0/8\n",
            filter.port()
        ),
        ..PostfixSetup::default()
    })
}

fn outcome(postfix: &Postfix, visit: &Visit) -> Outcome {
    let mut dialog = Dialog::connect(postfix.smtp);
    dialog.greet();
    dialog.say(&format!("XCLIENT {}", visit.xclient), "220");
    dialog.say("EHLO client.test", "250");
    let reply = dialog.message(visit.sender, visit.recipients, &(visit.content)(visit.name)).text;
    let queue_id = reply.split_once("queued as ").map(|(_, queue_id)| queue_id.to_owned());
    // Delivered, or on hold: then it stays in the queue.
    let on_hold = queue_id.is_some_and(|queue_id| {
        wait_for("the message is through", START, || {
            let queue = postfix.queue();
            let held = queue.contains(&format!("{queue_id}!"));
            (held || !queue.contains(&queue_id)).then_some(held)
        })
    });
    let subject = format!("Subject: {}\n", visit.name);
    let (mut delivered, mut fields) = (Vec::new(), Vec::new());
    for user in ["other", "user"] {
        for mail in postfix.mailbox(user).iter().filter(|mail| mail.contains(&subject)) {
            delivered.push(user);
            let head = mail.split("\n\n").next().unwrap_or_default();
            fields = head.lines().filter(|line| line.starts_with("X-Virus-")).map(str::to_owned).collect();
        }
    }
    let codes = reply.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Outcome { codes, virus_named: reply.contains("Eicar-Test-Signature"), delivered, fields, on_hold }
}

/// What comes out otherwise here.
struct Difference {
    /// `OnInfected`; empty: any.
    action: &'static str,
    /// The visit; empty: any whose mail is delivered.
    visit: &'static str,
    /// Makes clamav-milter's outcome ours.
    change: fn(&mut Outcome),
}

/// All of them. The page says the same in its list of differences.
const DIFFERENCES: &[Difference] = &[
    // One field says that the mail was looked at; the verdict is not told to whoever can read the mail.
    Difference { action: "", visit: "", change: |outcome| outcome.fields = vec![OUR_FIELD.into()] },
    // Each recipient has a verdict.
    Difference { action: "Reject", visit: "both recipients", change: deliver_to_other },
    Difference { action: "Quarantine", visit: "both recipients", change: deliver_to_other },
    Difference { action: "Blackhole", visit: "both recipients", change: deliver_to_other },
];

const OUR_FIELD: &str = "X-Virus-Scanned: gatepost at gatepost.test";

impl Difference {
    fn concerns(&self, action: &str, visit: &Visit, before: &Outcome) -> bool {
        let visited =
            if self.visit.is_empty() { !before.delivered.is_empty() } else { self.visit == visit.name };
        visited && [action, ""].contains(&self.action)
    }
}

fn deliver_to_other(outcome: &mut Outcome) {
    *outcome = Outcome {
        codes: "250 2.0.0".into(),
        virus_named: false,
        delivered: vec!["other"],
        fields: vec![OUR_FIELD.into()],
        on_hold: false,
    };
}

/// What the page says clamav-milter was configured with.
fn theirs(action: &str, allowed: &std::path::Path) -> String {
    let replace = [
        ("OnInfected Reject", format!("OnInfected {action}")),
        ("/etc/clamav/allowed", allowed.display().to_string()),
        ("MaxFileSize 25M", "MaxFileSize 1M".to_owned()),
    ];
    docs::block_with(PAGE, "theirs", &replace)
}

/// What the page says to configure instead. Without checks that clamav-milter has not.
fn ours(action: &str, clamd: &Clamd, address: SocketAddr) -> Setup {
    const REPLY: &str = "replies.virus = \"550 5.7.1 Virus found: {reason}\"";
    let reply = match action {
        "refuse" => REPLY,
        "defer" => "replies.virus = \"451 4.7.1 Service unavailable - try again later\"",
        // What is taken has no reply of its own.
        _ => "",
    };
    let replace = [
        ("unix:/run/clamav/clamd.ctl", format!("unix:{}", clamd.socket.display())),
        ("127.0.0.1:8899", address.to_string()),
        ("127.0.0.1:10026", free_address().to_string()),
        ("actions.virus = \"refuse\"", format!("actions.virus = {action:?}")),
        (REPLY, reply.to_owned()),
        ("max_size = \"25 MiB\"", "max_size = \"1 MiB\"".to_owned()),
    ];
    Setup::default().with(&docs::block_with(PAGE, "ours", &replace)).with(&docs::block(PAGE, "only clamd"))
}

const PAGE: &str = "coming-from-clamav-milter.md";

/// The same visits to both, for one action.
fn compare(action: &str, our_action: &str) {
    if !needs(&["root", "postfix", "clamd", "clamav-milter"]) {
        return;
    }
    let clamd = Clamd::start();
    let folder = folder();
    let allowed = folder.path().join("allowed");
    std::fs::write(&allowed, docs::block(PAGE, "allowed")).expect("write");
    let theirs = ClamavMilter::start(&clamd, &theirs(action, &allowed));
    let address = free_address();
    let gatepost = ours(our_action, &clamd, address).start();
    let before = outcomes(theirs.address);
    let here = outcomes(address);
    for ((visit, before), here) in VISITS.iter().zip(before).zip(here) {
        let mut expected = before.clone();
        for difference in DIFFERENCES.iter().filter(|row| row.concerns(action, visit, &before)) {
            (difference.change)(&mut expected);
        }
        assert_eq!(
            here,
            expected,
            "{}, OnInfected {action}; clamav-milter: {before:?}\n{}",
            visit.name,
            gatepost.log()
        );
    }
}

#[test]
fn infected_mail_is_rejected() {
    compare("Reject", "refuse");
}

#[test]
fn infected_mail_is_deferred() {
    compare("Defer", "defer");
}

#[test]
fn infected_mail_is_put_on_hold() {
    compare("Quarantine", "quarantine");
}

#[test]
fn infected_mail_is_discarded() {
    compare("Blackhole", "discard");
}

#[test]
fn infected_mail_is_delivered() {
    compare("Accept", "deliver");
}

#[test]
fn without_clamd_mail_is_deferred() {
    if !needs(&["root", "postfix", "clamd", "clamav-milter"]) {
        return;
    }
    let mut clamd = Clamd::start();
    let allowed = folder();
    let list = allowed.path().join("allowed");
    std::fs::write(&list, "").expect("write");
    let theirs = ClamavMilter::start(&clamd, &theirs("Reject", &list));
    let address = free_address();
    let _gatepost = ours("refuse", &clamd, address).start();
    clamd.kill();
    for filter in [theirs.address, address] {
        let postfix = ask(filter);
        let outcome = outcome(&postfix, &VISITS[0]);
        assert_eq!((outcome.codes.get(..5), outcome.delivered), (Some("451 4"), Vec::new()), "{filter}");
    }
}
