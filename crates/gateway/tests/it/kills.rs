//! Nothing is lost and nothing refused arrives, whatever dies when. A sender that tries again, as every mail server
//! does, gets each message through at least once; what is refused never arrives; what is held is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::rig::*;

/// What a message is and what must become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It must arrive.
    Clean,
    /// EICAR: it must be refused, and never arrive.
    Refused,
    /// GTUBE, which the policy holds: it must be in the vault, and never arrive.
    Held,
}

const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// The number stands in the subject and fills the body, so that half a message is seen as such.
fn content(kind: Kind, number: usize) -> String {
    let line = match kind {
        Kind::Clean => "clean".to_owned(),
        Kind::Refused => eicar(),
        Kind::Held => GTUBE.to_owned(),
    };
    let filling = format!("filling of {number}\n").repeat(200);
    mail(&format!("number {number} end"), &format!("{line}\n{filling}last line of {number}"))
}

/// The number in a message, and whether it is whole.
fn number(text: &str) -> Option<(usize, bool)> {
    let number = text.split("Subject: number ").nth(1)?.split(" end").next()?.parse().ok()?;
    let whole = text.matches(&format!("filling of {number}\r\n")).count() == 200
        && text.contains(&format!("last line of {number}\r\n"));
    Some((number, whole))
}

/// One attempt: the code of the answer to the message, or None when there was none or only a "later".
fn attempt(to: SocketAddr, content: &str) -> Option<u16> {
    let mut dialog = Dialog::try_connect(to).ok()?;
    dialog.patience(Duration::from_secs(20));
    let go = |dialog: &mut Dialog| (dialog.try_reply().ok()?.code < 400).then_some(());
    go(&mut dialog)?;
    for line in ["EHLO client.test", "MAIL FROM:<a@client.test>", "RCPT TO:<user@example.test>", "DATA"] {
        dialog.try_raw(format!("{line}\r\n").as_bytes()).ok()?;
        go(&mut dialog)?;
    }
    let bytes: String = content.lines().map(|line| format!("{line}\r\n")).collect();
    dialog.try_raw(bytes.as_bytes()).ok()?;
    dialog.try_raw(b".\r\n").ok()?;
    let code = dialog.try_reply().ok()?.code;
    (code / 100 != 4).then_some(code)
}

/// Senders that try each message until it is taken or refused.
struct Senders {
    threads: Vec<std::thread::JoinHandle<BTreeMap<usize, (Kind, u16)>>>,
    stop: Arc<AtomicBool>,
    settled: Arc<AtomicUsize>,
}

impl Senders {
    fn start(to: SocketAddr, count: usize) -> Senders {
        let (stop, settled) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..count)
            .map(|sender| {
                let (stop, settled) = (stop.clone(), settled.clone());
                std::thread::spawn(move || {
                    let mut answers = BTreeMap::new();
                    for place in 0.. {
                        if stop.load(SeqCst) {
                            break;
                        }
                        let number = place * count + sender;
                        let kind = [Kind::Clean, Kind::Held, Kind::Clean, Kind::Refused][place % 4];
                        let content = content(kind, number);
                        let end = Instant::now() + Duration::from_secs(120);
                        let code = loop {
                            if let Some(code) = attempt(to, &content) {
                                break code;
                            }
                            assert!(Instant::now() < end, "{number} ({kind:?}) was never answered");
                            std::thread::sleep(Duration::from_millis(5));
                        };
                        settled.fetch_add(1, SeqCst);
                        answers.insert(number, (kind, code));
                    }
                    answers
                })
            })
            .collect();
        Senders { threads, stop, settled }
    }

    fn settled(&self) -> usize {
        self.settled.load(SeqCst)
    }

    /// Lets each finish what it has in hand; then all answers.
    fn finish(self) -> BTreeMap<usize, (Kind, u16)> {
        self.stop.store(true, SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a sender")).collect()
    }
}

/// A random time up to so many milliseconds.
fn up_to(millis: u16) -> Duration {
    let mut random = [0; 2];
    getrandom::fill(&mut random).expect("random bytes");
    Duration::from_millis(u64::from(u16::from_le_bytes(random) % millis.max(1)))
}

/// The promise, told of everything that was sent, arrived and is held.
fn promise(answers: &BTreeMap<usize, (Kind, u16)>, arrived: &[String], gatepost: &Gatepost) {
    let numbers = |texts: &[String]| -> BTreeSet<usize> {
        texts
            .iter()
            .map(|text| {
                let (number, whole) = number(text).unwrap_or_else(|| panic!("no message of ours: {text}"));
                assert!(whole, "{number} is not whole");
                number
            })
            .collect()
    };
    let arrived = numbers(arrived);
    // The journal is written in batches, a tenth of a second behind the answers.
    std::thread::sleep(Duration::from_millis(500));
    let listed = gatepost.json(&["quarantine", "list"], &["--json", "--limit", "100000"]);
    let ids: Vec<&str> = listed.iter().map(|entry| entry["id"].as_str().expect("an id")).collect();
    for id in ids.iter().take(3) {
        let output = gatepost.command(&["quarantine", "show"], &[id, "--raw"]);
        assert!(output.status.success(), "{id}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), gatepost.original(id), "{id}");
    }
    let held = numbers(&ids.iter().map(|id| gatepost.original(id)).collect::<Vec<_>>());
    for (number, (kind, code)) in answers {
        let (code_wanted, arrives, is_held) = match kind {
            Kind::Clean => (250, true, false),
            Kind::Refused => (550, false, false),
            Kind::Held => (250, false, true),
        };
        assert_eq!(*code, code_wanted, "{number} ({kind:?})");
        assert_eq!(arrived.contains(number), arrives, "{number} ({kind:?}) in the next hop");
        assert_eq!(held.contains(number), is_held, "{number} ({kind:?}) in the vault");
    }
}

/// GTUBE is held instead of refused.
const HOLD_SPAM: &str = "[default_policy]\nactions.spam = \"quarantine\"\n";

#[test]
fn kills_at_any_moment_lose_nothing() {
    let sink = Sink::start();
    let mut gatepost = Setup::to(sink.address).with(HOLD_SPAM).start();
    let senders = Senders::start(gatepost.smtp, 4);
    let (begin, mut kills) = (Instant::now(), 0);
    // On a slow machine it takes longer to start, and must have its time to take some mail.
    while kills < 150 && begin.elapsed() < Duration::from_secs(50) {
        if kills % 5 == 4 {
            // Now and then it dies while it starts: that must be as harmless.
            gatepost.spawn();
            std::thread::sleep(spread(kills / 5, 80));
        } else {
            let started = Instant::now();
            gatepost.restart();
            std::thread::sleep(spread(kills, 150) + started.elapsed() / 2);
        }
        gatepost.kill();
        kills += 1;
    }
    gatepost.restart();
    let answers = senders.finish();
    println!("{kills} kills, {} messages, {} arrivals", answers.len(), sink.received().len());
    assert!(kills >= 30, "only {kills} kills in {:?}", begin.elapsed());
    assert!(answers.len() >= 20, "only {} messages", answers.len());
    promise(&answers, &sink.received().iter().map(Received::text).collect::<Vec<_>>(), &gatepost);
}

#[test]
fn scanner_and_next_hop_may_die_as_well() {
    if !needs(&["clamd"]) {
        return;
    }
    let (mut clamd, sink) = (Clamd::start(), Sink::start());
    let check = clamd.check() + "time = 5\n";
    let mut gatepost = Setup::to(sink.address).with(&check).with(HOLD_SPAM).start();
    let senders = Senders::start(gatepost.smtp, 3);
    let begin = Instant::now();
    let mut round = 0;
    // Each of the next hop's stages twice, and the others as often as all of them.
    while round < 48 && begin.elapsed() < Duration::from_secs(25) {
        round += 1;
        match round % 4 {
            0 => {
                gatepost.kill();
                gatepost.restart();
            }
            1 => {
                clamd.kill();
                std::thread::sleep(up_to(300));
                clamd.restart();
            }
            2 => {
                clamd.hang();
                std::thread::sleep(up_to(500));
                clamd.go_on();
            }
            _ => {
                let stages = ["CONNECT", "MAIL", "RCPT", "DATA", "BDAT", "END"];
                let stage = stages[(round / 4) % stages.len()];
                sink.on_some(stage, "", 2, Step::Close);
            }
        }
        std::thread::sleep(up_to(300));
    }
    sink.behave();
    let answers = senders.finish();
    println!("{round} rounds, {} messages, {} arrivals", answers.len(), sink.received().len());
    assert!(answers.len() >= 20, "only {} messages", answers.len());
    promise(&answers, &sink.received().iter().map(Received::text).collect::<Vec<_>>(), &gatepost);
}

#[test]
fn postfix_may_be_killed_behind_it() {
    if !needs(&["root", "postfix"]) {
        return;
    }
    let mut postfix = Postfix::start();
    let gatepost = Setup::to(postfix.smtp).with(HOLD_SPAM).start();
    let senders = Senders::start(gatepost.smtp, 3);
    for _ in 0..4 {
        let before = senders.settled();
        wait_for("some mail goes through", START, || (senders.settled() > before + 3).then_some(()));
        std::thread::sleep(up_to(300));
        postfix.kill();
        std::thread::sleep(up_to(300));
        postfix.restart();
    }
    let answers = senders.finish();
    postfix.flush();
    postfix.settled();
    let mails: Vec<String> = postfix.mailbox("user").iter().map(|text| text.replace('\n', "\r\n")).collect();
    println!("{} messages, {} arrivals", answers.len(), mails.len());
    promise(&answers, &mails, &gatepost);
}

#[test]
fn a_kill_at_each_stage_leaves_the_message_with_the_sender() {
    for stage in ["greeted", "MAIL", "RCPT", "DATA", "half", "judging", "delivering"] {
        let sink = Sink::start();
        let mut gatepost = Setup::to(sink.address).start();
        let mut dialog = gatepost.connect();
        dialog.greet();
        if stage == "delivering" {
            sink.on_some("END", "", 1, Step::Wait(Duration::from_secs(2)));
        }
        let lines = ["MAIL FROM:<a@client.test>", "RCPT TO:<user@example.test>", "DATA"];
        for line in
            lines.iter().take(["greeted", "MAIL", "RCPT"].iter().position(|name| *name == stage).unwrap_or(3))
        {
            dialog.say(line, "[23]");
        }
        match stage {
            "half" => dialog.raw(b"Subject: x\r\n\r\nhalf of"),
            "judging" => dialog.content(&content(Kind::Clean, 1)),
            "delivering" => {
                dialog.content(&content(Kind::Clean, 1));
                std::thread::sleep(Duration::from_millis(500));
            }
            _ => {}
        }
        gatepost.kill();
        let answer = dialog.try_reply();
        // The one way to get a 250 before the kill is that the next hop has the message.
        if answer.is_ok_and(|reply| reply.code == 250) {
            assert_eq!(sink.received().len(), 1, "{stage}");
        }
        gatepost.restart();
        assert_eq!(attempt(gatepost.smtp, &content(Kind::Clean, 1)), Some(250), "{stage}");
        sink.wait_received(1);
        for received in sink.received() {
            assert_eq!(number(&received.text()), Some((1, true)), "{stage}");
        }
    }
}

/// Between the next hop's 250 and ours: the sender does not know that the message is there and sends it again. Twice is
/// allowed, never is not.
#[test]
fn a_kill_after_the_next_hops_250_may_double_but_never_loses() {
    let sink = Sink::start();
    let mut gatepost = Setup::to(sink.address).start();
    for round in 1..=10 {
        let before = sink.received().len();
        let (smtp, text) = (gatepost.smtp, content(Kind::Clean, round));
        let sender = std::thread::spawn(move || attempt(smtp, &text));
        wait_for("the next hop has it", START, || (sink.received().len() > before).then_some(()));
        gatepost.signal(Signal::SIGKILL);
        let answer = sender.join().expect("the sender");
        gatepost.restart();
        if answer.is_none() {
            assert_eq!(attempt(gatepost.smtp, &content(Kind::Clean, round)), Some(250));
        }
    }
    let numbers: BTreeSet<usize> = sink
        .received()
        .iter()
        .filter_map(|received| number(&received.text()))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(numbers, (1..=10).collect());
}

/// A small file system of its own, taken away again at the end.
struct Tmpfs {
    folder: tempfile::TempDir,
}

impl Tmpfs {
    fn mount(mebibytes: u32) -> Option<Tmpfs> {
        let folder = folder();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=0755"), "tmpfs"])
            .arg(folder.path())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Tmpfs { folder })
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

#[test]
fn a_full_disk_defers_what_needs_the_vault_and_takes_the_rest() {
    if !needs(&["root", "mount"]) {
        return;
    }
    let Some(disk) = Tmpfs::mount(24) else {
        println!("skipped: no tmpfs can be mounted here");
        return;
    };
    let sink = Sink::start();
    let setup = Setup { data: Some(disk.folder.path().join("data")), ..Setup::to(sink.address) };
    let gatepost = setup.with(HOLD_SPAM).with("[quarantine]\ndisk_floor = \"8 MiB\"\n").start();
    let noise = |seed: usize| -> String {
        // Nothing that a compressor could make small.
        let mut random = vec![0; 700_000];
        getrandom::fill(&mut random).expect("random bytes");
        with_attachment(&format!("number {seed} end"), "noise.bin", &random).replace("See there.", GTUBE)
    };
    let mut taken = 0;
    let mut deferred = 0;
    for seed in 0..40 {
        let mut dialog = gatepost.connect();
        dialog.greet();
        let reply = dialog.message("a@client.test", &["user@example.test"], &noise(seed));
        match reply.code {
            250 => taken += 1,
            code => {
                assert_eq!(code / 100, 4, "{}", reply.text);
                deferred += 1;
            }
        }
    }
    assert!(taken > 0 && deferred > 0, "{taken} taken, {deferred} deferred");
    assert!(sink.received().is_empty());
    // Clean mail needs no vault; the disk is up to the floor, not over it.
    assert_eq!(attempt(gatepost.smtp, &content(Kind::Clean, 1)), Some(250));
    let held = gatepost.held(taken);
    assert_eq!(held.len(), taken);
    for entry in held {
        let output =
            gatepost.command(&["quarantine", "show"], &[entry["id"].as_str().expect("an id"), "--raw"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // Room again: the same mail is taken.
    let ids: Vec<String> =
        gatepost.held(taken).iter().map(|entry| entry["id"].as_str().expect("an id").to_owned()).collect();
    let mut arguments: Vec<&str> = ids.iter().map(String::as_str).collect();
    arguments.push("--yes");
    assert!(gatepost.command(&["quarantine", "delete"], &arguments).status.success());
    assert_eq!(attempt(gatepost.smtp, &content(Kind::Held, 2)), Some(250));
}

/// With nothing left at all, beyond the floor, even the records cannot be written: still nothing is lost.
#[test]
fn a_disk_without_a_byte_left_loses_nothing() {
    if !needs(&["root", "mount"]) {
        return;
    }
    let Some(disk) = Tmpfs::mount(16) else {
        println!("skipped: no tmpfs can be mounted here");
        return;
    };
    let sink = Sink::start();
    let setup = Setup { data: Some(disk.folder.path().join("data")), ..Setup::to(sink.address) };
    let gatepost = setup.with(HOLD_SPAM).with("[quarantine]\ndisk_floor = 0\n").start();
    let filling = disk.folder.path().join("filling");
    fill(&filling);
    let answers: Mutex<Vec<(Kind, Option<u16>)>> = Mutex::default();
    for (number, kind) in [Kind::Held, Kind::Clean, Kind::Refused, Kind::Held].into_iter().enumerate() {
        let answer = attempt(gatepost.smtp, &content(kind, number));
        answers.lock().expect("answers").push((kind, answer));
    }
    let answers = answers.into_inner().expect("answers");
    for (kind, answer) in &answers {
        match kind {
            Kind::Held => assert_eq!(*answer, None, "{answers:?}"),
            Kind::Refused => assert_eq!(*answer, Some(550), "{answers:?}"),
            Kind::Clean => assert!(answer.is_none() || sink.received().len() == 1, "{answers:?}"),
        }
    }
    std::fs::remove_file(&filling).expect("room again");
    assert_eq!(attempt(gatepost.smtp, &content(Kind::Held, 9)), Some(250));
    assert_eq!(gatepost.held(1).len(), 1);
}

/// Writes until there is no room.
fn fill(file: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(file).expect("a file");
    for size in [65_536, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}
