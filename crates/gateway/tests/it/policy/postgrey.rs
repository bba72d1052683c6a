//! The same questions to a real postgrey and to gatepost on its port. Where they differ the row says why.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::client::{Asker, request};
use crate::rig::*;

/// Longest delay in seconds that is tried.
const LONGEST: u64 = 64;

const TEXT: &str = "Greylisted, try again in %s seconds";

/// Both of them, with the same lists, a delay in seconds and so many messages until a client is known.
struct Both {
    _process: Process,
    gatepost: Gatepost,
    postgrey: Asker,
    ours: Asker,
    _folder: tempfile::TempDir,
}

const CLIENTS: &str = "# comment\ngood.test\n/^mail[0-9]+\\.pool\\.test$/\n203.0.113.7\n203.0.114.0/24\n";
const RECIPIENTS: &str = "postmaster@\nnever.test\nboss@example.test\n";

impl Both {
    fn start(known_from: u32, delay: u64) -> Both {
        let folder = folder();
        let (clients, recipients) = (folder.path().join("clients"), folder.path().join("recipients"));
        std::fs::write(&clients, CLIENTS).expect("write");
        std::fs::write(&recipients, RECIPIENTS).expect("write");
        let theirs = free_address();
        let process = postgrey(theirs, folder.path(), known_from, delay);
        let address = free_address();
        let config = docs::block("coming-from-postgrey.md", "gatepost")
            .replace("127.0.0.1:10023", &address.to_string())
            .replace("delay = 300", &format!("delay = {delay}"))
            .replace("auto_whitelist_clients = 5", &format!("auto_whitelist_clients = {known_from}"))
            .replace("/etc/postgrey/whitelist_clients", &clients.display().to_string())
            .replace("/etc/postgrey/whitelist_recipients", &recipients.display().to_string());
        let gatepost = Setup::documented(config, address)
            .globally("hostname = \"mx.example.test\"\nnetworks = [\"10.9.0.0/16\"]")
            .start();
        let (postgrey, ours) = (Asker::tcp(theirs), Asker::tcp(address));
        Both { _process: process, gatepost, postgrey, ours, _folder: folder }
    }

    /// Answers of postgrey and of gatepost, with what differs by nature taken out.
    fn ask(&mut self, changes: &[(&str, &str)]) -> (String, String) {
        let question = request(changes);
        (alike(&self.postgrey.ask(&question)), alike(&self.ours.ask(&question)))
    }
}

fn postgrey(address: SocketAddr, folder: &Path, known_from: u32, delay: u64) -> Process {
    let data = folder.join("postgrey");
    std::fs::create_dir(&data).expect("a folder");
    let nobody = nix::unistd::User::from_name("nobody").ok().flatten().expect("nobody");
    nix::unistd::chown(&data, Some(nobody.uid), Some(nobody.gid)).expect("chown");
    let mut command = Command::new(program("postgrey"));
    command
        .arg(format!("--inet={address}"))
        .arg(format!("--dbdir={}", data.display()))
        .args(["--user=nobody", "--group=nogroup", "--hostname=mx.example.test"])
        .arg(format!("--delay={delay}"))
        .arg(format!("--auto-whitelist-clients={known_from}"))
        .arg(format!("--greylist-text={TEXT}"))
        .arg(format!("--whitelist-clients={}", folder.join("clients").display()))
        .arg(format!("--whitelist-recipients={}", folder.join("recipients").display()));
    let mut process = Process::start("postgrey", &mut command, &folder.join("postgrey.log"));
    process.wait_until(|| answers(address).then_some(()));
    process
}

/// Numbers of seconds, names of programs and dates aside.
fn alike(answer: &str) -> String {
    let answer = answer.trim_end().trim_start_matches("action=");
    if let Some(rest) = answer.strip_prefix("PREPEND X-Greylist: delayed ") {
        let words: Vec<&str> = rest.split(' ').collect();
        let [seconds, "seconds", "by", _, "at", host, ..] = words.as_slice() else { panic!("{answer}") };
        assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds >= 2), "{answer}");
        assert_eq!(*host, "mx.example.test;");
        return "PREPEND".to_owned();
    }
    match answer.strip_prefix("DEFER_IF_PERMIT 4.2.0 Greylisted, try again in ") {
        Some(rest) => {
            let seconds = rest.strip_suffix(" seconds").and_then(|seconds| seconds.parse::<u64>().ok());
            assert!(seconds.is_some_and(|seconds| (1..=LONGEST).contains(&seconds)), "{answer}");
            "WAIT".to_owned()
        }
        None => answer.to_owned(),
    }
}

/// What is changed of the usual question; postgrey's answer; ours, if it differs, and why.
type Row = (&'static [(&'static str, &'static str)], &'static str, Option<(&'static str, &'static str)>);

const OURS: &str =
    "gatepost never greylists its own networks and users; with postgrey Postfix's order must see to that";
const STAGE: &str =
    "postgrey does not look at the stage and greylists the empty recipient; gatepost waits for RCPT";
const VRFY: &str = "postgrey does not look at the stage; where there is no mail nobody has to wait";

#[rustfmt::skip]
const NEW: &[Row] = &[
    (&[], "WAIT", None),
    (&[("instance", "a.1")], "WAIT", None),
    (&[("recipient", "other@example.test")], "WAIT", None),
    // Folded senders: numbers, and recipients in return paths.
    (&[("client_address", "198.51.100.1"), ("sender", "list-17@lists.test")], "WAIT", None),
    (&[("client_address", "198.51.100.1"), ("sender", "bounce+user=example.test@lists.test")], "WAIT", None),
    (&[("client_address", "198.51.100.1"), ("sender", "a.b-1f2e@lists.test")], "WAIT", None),
    (&[("client_address", "198.51.100.1"), ("sender", "")], "WAIT", None),
    (&[("client_address", "198.51.100.1"), ("sender", "\"a b\"@lists.test")], "WAIT", None),
    (&[("client_address", "2001:db8:1:2::9")], "WAIT", None),
    (&[("client_address", "198.51.100.2"), ("client_name", "unknown")], "WAIT", None),
    // Lists.
    (&[("client_address", "198.51.100.3"), ("client_name", "mx.good.test")], "DUNNO", None),
    (&[("client_address", "198.51.100.3"), ("client_name", "notgood.test")], "WAIT", None),
    (&[("client_address", "198.51.100.3"), ("client_name", "mail12.pool.test")], "DUNNO", None),
    (&[("client_address", "203.0.113.7"), ("client_name", "unknown")], "DUNNO", None),
    (&[("client_address", "203.0.114.99"), ("client_name", "unknown")], "DUNNO", None),
    (&[("client_address", "198.51.100.4"), ("recipient", "postmaster@example.test")], "DUNNO", None),
    (&[("client_address", "198.51.100.4"), ("recipient", "Postmaster+x@elsewhere.test")], "DUNNO", None),
    (&[("client_address", "198.51.100.4"), ("recipient", "a@never.test")], "DUNNO", None),
    (&[("client_address", "198.51.100.4"), ("recipient", "a@sub.never.test")], "DUNNO", None),
    (&[("client_address", "198.51.100.4"), ("recipient", "boss@example.test")], "DUNNO", None),
    (&[("client_address", "198.51.100.4"), ("recipient", "boss+tag@example.test")], "DUNNO", None),
    (&[("client_address", "198.51.100.4"), ("recipient", "bigboss@example.test")], "WAIT", None),
    // What only one of them looks at.
    (&[("client_address", "198.51.100.5"), ("sasl_username", "alice")], "WAIT", Some(("DUNNO", OURS))),
    (&[("client_address", "10.9.1.1")], "WAIT", Some(("DUNNO", OURS))),
    (&[("client_address", "198.51.100.5"), ("protocol_state", "CONNECT"), ("sender", ""), ("recipient", "")], "WAIT", Some(("DUNNO", STAGE))),
    (&[("client_address", "198.51.100.5"), ("protocol_state", "MAIL"), ("recipient", "")], "WAIT", Some(("DUNNO", STAGE))),
    (&[("client_address", "198.51.100.6"), ("protocol_state", "DATA"), ("recipient", "")], "WAIT", Some(("DUNNO", STAGE))),
    (&[("client_address", "198.51.100.5"), ("protocol_state", "VRFY"), ("sender", "")], "WAIT", Some(("DUNNO", VRFY))),
    // Asked at DATA about the only recipient, it is the same question.
    (&[("client_address", "198.51.100.7"), ("protocol_state", "DATA"), ("recipient_count", "1")], "WAIT", None),
];

#[rustfmt::skip]
const LATER: &[Row] = &[
    // Two recipients of one message: the header field comes once.
    (&[("instance", "b.1")], "PREPEND", None),
    (&[("instance", "b.1"), ("recipient", "other@example.test")], "DUNNO", None),
    (&[("instance", "b.1")], "DUNNO", None),
    (&[("instance", "b.2")], "DUNNO", None),
    // The network and the letters' case do not count, everything else does.
    (&[("instance", "b.3"), ("client_address", "192.0.2.77")], "DUNNO", None),
    (&[("instance", "b.4"), ("client_address", "192.0.3.9")], "WAIT", None),
    (&[("instance", "b.5"), ("sender", "A@Sender.Test"), ("recipient", "USER@example.test")], "DUNNO", None),
    (&[("instance", "b.6"), ("sender", "b@sender.test")], "WAIT", None),
    (&[("instance", "b.7"), ("client_address", "198.51.100.1"), ("sender", "list-42@lists.test")], "PREPEND", None),
    (&[("instance", "b.8"), ("client_address", "198.51.100.1"), ("sender", "bounce+other=example.test@lists.test")], "PREPEND", None),
    (&[("instance", "b.9"), ("client_address", "198.51.100.1"), ("sender", "a.b-9a9b@lists.test")], "WAIT", None),
    (&[("instance", "b.10"), ("client_address", "198.51.100.1"), ("sender", "")], "PREPEND", None),
    (&[("instance", "b.11"), ("client_address", "198.51.100.1"), ("sender", "\"a b\"@lists.test")], "PREPEND", None),
    (&[("instance", "b.12"), ("client_address", "2001:db8:1:2:ffff::1")], "PREPEND", None),
    (&[("instance", "b.13"), ("client_address", "2001:0db8:0001:0002:ffff::2")], "DUNNO", None),
    (&[("instance", "b.14"), ("client_address", "2001:db8:1:3::9")], "WAIT", None),
    (&[("instance", "b.15"), ("client_address", "198.51.100.200"), ("client_name", "unknown"), ("sender", "a@sender.test")], "PREPEND", None),
];

fn compare(both: &mut Both, rows: &[Row]) {
    for row in rows {
        is_expected(row, &both.ask(row.0));
    }
}

fn is_expected((changes, theirs, difference): &Row, answers: &(String, String)) {
    let expected = difference.map_or(*theirs, |(ours, _)| ours);
    assert_eq!(*answers, ((*theirs).to_owned(), expected.to_owned()), "{changes:?}");
}

#[test]
fn postgrey_and_gatepost_answer_the_same_questions() {
    if !needs(&["postgrey", "root"]) {
        return;
    }
    // On a busy machine the delay may be over before all is asked that must wait: then again, with a longer one.
    let (mut both, delay) = [2, 8, LONGEST]
        .into_iter()
        .find_map(|delay| {
            let mut both = Both::start(0, delay);
            let began = Instant::now();
            let answers: Vec<_> = NEW.iter().map(|(changes, ..)| both.ask(changes)).collect();
            // Whole seconds are compared.
            (began.elapsed() + Duration::from_secs(1) < Duration::from_secs(delay)).then(|| {
                NEW.iter().zip(answers).for_each(|(row, answers)| is_expected(row, &answers));
                (both, delay)
            })
        })
        .expect("a machine that answers 30 questions in a minute");
    std::thread::sleep(Duration::from_secs(delay + 1));
    compare(&mut both, LATER);
    // Each that had to wait has its record.
    let waiting =
        NEW.iter().chain(LATER).filter(|(_, theirs, difference)| *theirs == "WAIT" && difference.is_none());
    let records = both.gatepost.records(waiting.count());
    assert!(records.iter().all(|record| record["action"] == "defer"), "{records:#?}");
}

#[test]
fn both_know_a_client_that_has_come_again() {
    if !needs(&["postgrey", "root"]) {
        return;
    }
    let mut both = Both::start(1, 2);
    compare(&mut both, &[(&[], "WAIT", None), (&[("sender", "b@sender.test")], "WAIT", None)]);
    std::thread::sleep(Duration::from_secs(3));
    compare(
        &mut both,
        &[
            (&[("instance", "c.1")], "PREPEND", None),
            // Known by now, whatever it brings; another of its network is not.
            (&[("instance", "c.2"), ("sender", "new@sender.test")], "DUNNO", None),
            (
                &[("instance", "c.3"), ("sender", "new@sender.test"), ("client_address", "192.0.2.10")],
                "WAIT",
                None,
            ),
        ],
    );
}

#[test]
fn without_an_instance_each_answer_stands_alone() {
    if !needs(&["postgrey", "root"]) {
        return;
    }
    let mut both = Both::start(0, 2);
    let question = |recipient| request(&[("recipient", recipient)]).replace("instance=\n", "");
    let ask = |both: &mut Both, recipient| {
        let question = question(recipient);
        (alike(&both.postgrey.ask(&question)), alike(&both.ours.ask(&question)))
    };
    for recipient in ["user@example.test", "other@example.test"] {
        assert_eq!(ask(&mut both, recipient), ("WAIT".to_owned(), "WAIT".to_owned()));
    }
    std::thread::sleep(Duration::from_secs(3));
    for recipient in ["user@example.test", "other@example.test"] {
        assert_eq!(ask(&mut both, recipient), ("PREPEND".to_owned(), "PREPEND".to_owned()));
    }
}
