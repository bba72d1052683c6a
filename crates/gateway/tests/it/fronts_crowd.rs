//! Two hundred milter connections and two hundred LMTP sessions at once, each with a message of a megabyte: all are
//! answered, and what they cost is bounded.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::rig::*;

const CROWD: usize = 200;

/// Longest that one of them waits for its answer while the others are judged.
const PATIENCE: Duration = Duration::from_secs(120);

/// A message of one megabyte.
fn megabyte() -> Vec<u8> {
    let line = "all work and no play ".repeat(3) + "\r\n";
    let head = mail("crowd", "").replace('\n', "\r\n");
    (head + &line.repeat((1 << 20) / line.len())).into_bytes()
}

/// What gatepost holds in memory of messages at once: `limits.memory` for each session that brings one.
const MEMORY: &str = "64 KiB";

#[test]
fn two_hundred_of_each_at_once() {
    let sink = Sink::start();
    let (milter, lmtp) = (free_address(), free_address());
    let listeners = format!(
        "[[listener]]\nname = \"milter\"\nprotocol = \"milter\"\nlisten = [\"{milter}\"]\n\
         [[listener]]\nname = \"lmtp\"\nprotocol = \"lmtp\"\nlisten = [\"{lmtp}\"]\nnext_hop = [\"smtp://{}\"]\n\
         [limits]\nsessions = 1000\nsessions_per_client = 1000\nmemory = {MEMORY:?}\njudging_time = 600\njudging = 8\n\
         [checks.embedded]\nenabled = false\n",
        sink.address
    );
    let gatepost = Setup::to(sink.address).with(&listeners).start();
    let message = &megabyte();
    // One of each, so that what is made once is there.
    by_milter(milter, message, &Barrier::new(1));
    by_lmtp(lmtp, message, &Barrier::new(1));
    let before = gatepost.status("RssAnon");
    let start = Instant::now();
    let (together, over) = (&Barrier::new(2 * CROWD), &AtomicBool::new(false));
    let most = std::thread::scope(|scope| {
        let crowd: Vec<_> = (0..CROWD)
            .flat_map(|_| {
                [
                    scope.spawn(move || by_milter(milter, message, together)),
                    scope.spawn(move || by_lmtp(lmtp, message, together)),
                ]
            })
            .collect();
        let most = scope.spawn(|| most_memory(&gatepost, over));
        let answered = crowd.into_iter().map(|one| one.join()).filter(Result::is_ok).count();
        over.store(true, SeqCst);
        assert_eq!(answered, 2 * CROWD);
        most.join().expect("memory was read")
    });
    println!("{:?}; at most {} MB, {} MB before", start.elapsed(), most / 1024, before / 1024);
    assert_eq!(gatepost.records(2 * CROWD + 2).len(), 2 * CROWD + 2);
    // A quarter of a megabyte for each that brings one.
    assert!(most < before + 2 * CROWD as u64 * 256, "{most} kB at most, {before} kB before");
}

/// The most memory of its own that gatepost has until all is over, in kB. Pages of files that are mapped do not count:
/// the system takes them back when it needs them.
fn most_memory(gatepost: &Gatepost, over: &AtomicBool) -> u64 {
    let mut most = 0;
    while !over.load(SeqCst) {
        most = most.max(gatepost.status("RssAnon"));
        std::thread::sleep(Duration::from_millis(20));
    }
    most
}

fn by_milter(to: SocketAddr, message: &[u8], together: &Barrier) {
    let mut client = MilterClient::connect(to);
    together.wait();
    let end = client.message("a@client.test", &["user@example.test".into()], message);
    assert!(matches!(end.answer, 'a' | 'c'), "{end:?}");
}

/// There is no dot at a line's start in it.
fn by_lmtp(to: SocketAddr, message: &[u8], together: &Barrier) {
    let mut dialog = Dialog::connect(to);
    dialog.patience(PATIENCE);
    dialog.expect("220 ");
    dialog.say("LHLO client.test", "250");
    together.wait();
    dialog.say("MAIL FROM:<a@client.test>", "250");
    dialog.say("RCPT TO:<user@example.test>", "250");
    dialog.say("DATA", "354");
    dialog.raw(message);
    dialog.raw(b".\r\n");
    dialog.expect("250");
}
