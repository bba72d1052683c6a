//! Two hundred milter connections and two hundred LMTP sessions at once, each with a message of a megabyte: all are
//! answered, and what they cost is bounded.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::rig::*;

const CROWD: usize = 200;

/// Longest that one of them waits for its answer while the others are judged.
const PATIENCE: Duration = Duration::from_secs(120);

/// A message of one megabyte with an attachment.
fn megabyte() -> Vec<u8> {
    let line = "all work and no play ".repeat(3) + "\n";
    let content = line.repeat((1 << 20) * 3 / 4 / line.len());
    with_attachment("crowd", "notes.txt", content.as_bytes()).replace('\n', "\r\n").into_bytes()
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
         [limits]\nsessions = 1000\nsessions_per_client = 1000\nmemory = {MEMORY:?}\njudging_time = 600\n",
        sink.address
    );
    let gatepost = Setup::to(sink.address).with(&listeners).start();
    let message = &megabyte();
    // One of each, so that what is made once is there.
    by_milter(milter, message, || {});
    by_lmtp(lmtp, message, || {});
    let before = gatepost.status("VmHWM");
    let start = Instant::now();
    let together = Barrier::new(2 * CROWD);
    std::thread::scope(|scope| {
        for _ in 0..CROWD {
            let together = &together;
            scope.spawn(move || by_milter(milter, message, || drop(together.wait())));
            scope.spawn(move || by_lmtp(lmtp, message, || drop(together.wait())));
        }
    });
    let (time, peak) = (start.elapsed(), gatepost.status("VmHWM"));
    println!("{time:?}; at most {} MB, {} MB before", peak / 1024, before / 1024);
    assert_eq!(gatepost.records(2 * CROWD + 2).len(), 2 * CROWD + 2);
    // A sixth of what the crowd sends: what is judged at that moment, and a little for each session.
    let sent = 2 * CROWD as u64 * 1024;
    assert!(peak < before + sent / 6, "{peak} kB at most, {before} kB before, {sent} kB sent");
}

fn by_milter(to: SocketAddr, message: &[u8], together: impl FnOnce()) {
    let mut client = MilterClient::connect(to);
    together();
    let end = client.message("a@client.test", &["user@example.test".into()], message);
    assert!(matches!(end.answer, 'a' | 'c'), "{end:?}");
}

/// There is no dot at a line's start in it.
fn by_lmtp(to: SocketAddr, message: &[u8], together: impl FnOnce()) {
    let mut dialog = Dialog::connect(to);
    dialog.patience(PATIENCE);
    dialog.expect("220 ");
    dialog.say("LHLO client.test", "250");
    together();
    dialog.say("MAIL FROM:<a@client.test>", "250");
    dialog.say("RCPT TO:<user@example.test>", "250");
    dialog.say("DATA", "354");
    dialog.raw(message);
    dialog.raw(b".\r\n");
    dialog.expect("250");
}
