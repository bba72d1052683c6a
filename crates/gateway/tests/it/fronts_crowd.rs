//! Two hundred milter connections and two hundred LMTP sessions at once, each with a message of a megabyte: all are
//! answered, and what they cost is bounded.

use std::sync::Barrier;
use std::time::Instant;

use crate::rig::*;

const CROWD: usize = 200;

/// A message of one megabyte with an attachment, another for each number.
fn megabyte(number: usize) -> String {
    let line = format!("{number:04} ") + &"all work and no play ".repeat(3) + "\n";
    let content = line.repeat((1 << 20) * 3 / 4 / line.len());
    with_attachment(&format!("crowd {number}"), "notes.txt", content.as_bytes())
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
    // One of each, so that what is made once is there.
    by_milter(milter, 0, || {});
    by_lmtp(lmtp, 0, || {});
    let before = gatepost.status("VmHWM");
    let start = Instant::now();
    let together = Barrier::new(2 * CROWD);
    std::thread::scope(|scope| {
        for number in 1..=CROWD {
            let together = &together;
            scope.spawn(move || by_milter(milter, number, || drop(together.wait())));
            scope.spawn(move || by_lmtp(lmtp, number, || drop(together.wait())));
        }
    });
    let (time, peak) = (start.elapsed(), gatepost.status("VmHWM"));
    println!("{time:?}; at most {} MB, {} MB before", peak / 1024, before / 1024);
    assert_eq!(sink.wait_received(CROWD + 1).len(), CROWD + 1);
    assert_eq!(gatepost.records(2 * CROWD + 2).len(), 2 * CROWD + 2);
    // A sixth of what the crowd sends: what is judged at that moment, and a little for each session.
    let sent = 2 * CROWD as u64 * 1024;
    assert!(peak < before + sent / 6, "{peak} kB at most, {before} kB before, {sent} kB sent");
}

fn by_milter(to: std::net::SocketAddr, number: usize, together: impl FnOnce()) {
    let mut client = MilterClient::connect(to);
    let message = megabyte(number).replace('\n', "\r\n");
    together();
    let end = client.message("a@client.test", &["user@example.test".into()], message.as_bytes());
    assert!(matches!(end.answer, 'a' | 'c'), "{number}: {end:?}");
}

fn by_lmtp(to: std::net::SocketAddr, number: usize, together: impl FnOnce()) {
    let mut dialog = Dialog::connect(to);
    dialog.patience(START);
    dialog.expect("220 ");
    dialog.say("LHLO client.test", "250");
    let message = megabyte(number);
    together();
    let reply = dialog.message("a@client.test", &["user@example.test"], &message);
    assert_eq!(reply.code, 250, "{number}: {}", reply.text);
}
