//! Messages whose rules wait for a name server that keeps silent: nothing else waits with them.

use std::fs;
use std::time::{Duration, Instant};

use crate::rig::*;

/// More than the runtime has threads for work that blocks, of which there are 512.
const MANY: usize = 560;

/// So many sessions are begun at a time.
const THREADS: usize = 16;

/// It names no author about whom there is something to ask.
const SMALL: &str = "Subject: small\n\nhello\n";

/// A message whose rules ask about a domain of its own, up to where its end is answered.
fn begun(gatepost: &Gatepost, number: usize) -> Dialog {
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say("MAIL FROM:<a@client.test>", "250");
    dialog.say("RCPT TO:<user@example.test>", "250");
    dialog.say("DATA", "354");
    dialog.content(&format!("From: <a@d{number}.test>\nSubject: a\n\nhello\n"));
    dialog
}

fn send(gatepost: &Gatepost, content: &str) -> Reply {
    let mut dialog = gatepost.connect();
    dialog.patience(Duration::from_secs(60));
    dialog.greet();
    dialog.message("a@client.test", &["user@example.test"], content)
}

#[test]
fn many_messages_wait_for_the_dns_and_the_others_pass() {
    let server = NameServer::start("*.bl.test 60 SILENT\n");
    let site = folder();
    let rules =
        "util_rb_tld test\nrbl_timeout 60\naskdns LISTED _AUTHORDOMAIN_.bl.test A\nbody HERE /hello/\n";
    fs::write(site.path().join("10.cf"), rules).expect("rules");
    let paths = format!("paths = [{:?}]", site.path().to_str().expect("a plain path"));
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address)
        .with("[limits]\nsessions = 2000\nsessions_per_client = 1500\njudging = 1000\njudging_time = 300\n")
        .with(&format!("[checks.rules]\n{paths}\nnetwork_time = 60\n"))
        .with(&format!("{}time = 120\nat_once = 1000\n", server.config()))
        .start();
    let begun_at = Instant::now();
    let shared = &gatepost;
    let some = move |share: usize| -> Vec<Dialog> {
        (share..MANY).step_by(THREADS).map(|number| begun(shared, number)).collect()
    };
    let mut waiting: Vec<Dialog> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|share| scope.spawn(move || some(share))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("sessions")).collect()
    });
    // Each has asked its own question: they all wait at once.
    let question = |number: usize| format!("d{number}.test.bl.test A");
    wait_for("all wait", Duration::from_secs(50), || {
        (0..MANY).all(|number| server.asked(&question(number)) > 0).then_some(())
    });
    // Small ones that ask nothing, ones that are read on a thread for them, and an archive, which takes a worker.
    let large = format!("Subject: large\n\n{}", "hello world, hello world\n".repeat(20_000));
    let packed = "Subject: packed\nMIME-Version: 1.0\nContent-Type: application/gzip; name=a.gz\n\
        Content-Transfer-Encoding: base64\n\nH4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA==\n";
    for content in [SMALL, &large, packed] {
        let reply = send(&gatepost, content);
        assert_eq!(reply.code, 250, "{}", reply.text);
    }
    if begun_at.elapsed() > Duration::from_secs(50) {
        println!("skipped: this machine is too slow, the first of them wait no longer");
        return;
    }
    // Of all these nobody has an answer yet.
    assert_eq!(sink.received().len(), 3);
    // Whoever goes away meanwhile takes nothing with him.
    waiting.truncate(1);
    let reply = send(&gatepost, SMALL);
    assert_eq!((reply.code, sink.received().len()), (250, 4), "{}", reply.text);
}
