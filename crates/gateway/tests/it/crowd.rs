//! Ten thousand connections that say next to nothing: what they cost is bounded, and good mail still flows.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::rig::*;

const CROWD: usize = 10_000;

/// Room for the crowd's descriptors, here and in what is started from here.
pub fn room() -> bool {
    let wanted = CROWD as u64 + 2000;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return false };
    let enough =
        soft >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted.max(soft), hard.max(wanted)).is_ok();
    if !enough {
        println!("skipped: needs {wanted} descriptors");
    }
    enough
}

/// A connection from one of our other addresses.
fn connect(
    from: IpAddr,
    to: std::net::SocketAddr,
    runtime: &tokio::runtime::Runtime,
) -> std::io::Result<TcpStream> {
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(std::net::SocketAddr::new(from, 0))?;
        let stream = tokio::time::timeout(Duration::from_secs(20), socket.connect(to)).await??;
        stream.into_std()
    })
}

/// The crowd: all from 127.0.0.9.
fn crowd(gatepost: &Gatepost) -> Vec<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let from = IpAddr::from([127, 0, 0, 9]);
    (0..CROWD)
        .map(|number| {
            // Nobody speaks yet: before the banner that would be the end of it.
            connect(from, gatepost.smtp, &runtime).unwrap_or_else(|error| panic!("number {number}: {error}"))
        })
        .collect()
}

/// How many of them the server has closed, with or without a word.
fn closed(crowd: &mut [TcpStream]) -> usize {
    let mut buffer = [0; 512];
    crowd
        .iter_mut()
        .filter(|stream| {
            loop {
                match (&mut &**stream).read(&mut buffer) {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
                }
            }
        })
        .count()
}

/// A good sender from its own address.
fn good_mail(gatepost: &Gatepost) {
    let mut dialog = Dialog::connect_from(IpAddr::from([127, 0, 0, 2]), gatepost.smtp);
    dialog.greet();
    let reply = dialog.message("a@client.test", &["user@example.test"], &mail("good", "hello"));
    assert_eq!(reply.code, 250, "{}", reply.text);
    dialog.say("QUIT", "221");
}

#[test]
fn one_clients_crowd_is_turned_away_and_good_mail_flows() {
    if !room() {
        return;
    }
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).globally("networks = []").start();
    good_mail(&gatepost);
    let (memory, descriptors) = (gatepost.status("VmRSS"), gatepost.descriptors());
    let mut crowd = crowd(&gatepost);
    good_mail(&gatepost);
    wait_for("all but 50 are turned away", Duration::from_secs(60), || {
        (closed(&mut crowd) == CROWD - 50).then_some(())
    });
    good_mail(&gatepost);
    let (memory_then, descriptors_then) = (gatepost.status("VmRSS"), gatepost.descriptors());
    println!(
        "{memory} kB and {descriptors} descriptors before, {memory_then} kB and {descriptors_then} with the crowd"
    );
    assert!(descriptors_then < descriptors + 100, "{descriptors_then} descriptors");
    assert!(memory_then < memory + 50_000, "{memory_then} kB, {memory} before");
    drop(crowd);
}

#[test]
fn ten_thousand_sessions_cost_little_and_good_mail_flows() {
    if !room() {
        return;
    }
    let sink = Sink::start();
    let limits = "[limits]\nsessions = 12000\nsessions_per_client = 11000\n";
    let gatepost = Setup::to(sink.address).globally("networks = []").with(limits).start();
    good_mail(&gatepost);
    let memory = gatepost.status("VmRSS");
    let mut crowd = crowd(&gatepost);
    wait_for("the crowd is in", Duration::from_secs(60), || (gatepost.descriptors() > CROWD).then_some(()));
    for _ in 0..3 {
        for stream in &mut crowd {
            let _ = stream.write(b"x");
        }
        good_mail(&gatepost);
    }
    let memory_then = gatepost.status("VmRSS");
    println!("{memory} kB before, {memory_then} kB with {CROWD} sessions");
    // 16 KiB for each: their sockets' buffers, their tasks, their input.
    assert!(memory_then < memory + 160_000, "{memory_then} kB, {memory} before");
    assert_eq!(closed(&mut crowd), 0);
    drop(crowd);
    wait_for("they are gone", Duration::from_secs(60), || (gatepost.descriptors() < 100).then_some(()));
    good_mail(&gatepost);
}

#[test]
fn beyond_the_limit_of_sessions_newcomers_are_told_to_come_again() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with("[limits]\nsessions = 3\n").start();
    // The rig's own look at the port may still be counted.
    std::thread::sleep(Duration::from_millis(300));
    let mut inside: Vec<Dialog> = (0..3).map(|_| gatepost.connect()).collect();
    for dialog in &mut inside {
        dialog.greet();
    }
    let mut late = gatepost.connect();
    late.expect("421 4\\.");
    late.expect_end();
    inside[0].say("QUIT", "221");
    inside[0].expect_end();
    wait_for("a place", Duration::from_secs(10), || {
        gatepost.connect().try_reply().ok().filter(|reply| reply.code == 220)
    });
}

#[test]
fn a_sender_without_an_end_costs_bounded_memory() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with("[limits]\nmessage_size = \"4 MiB\"\n").start();
    let memory = gatepost.status("VmRSS");
    let noise = vec![b'x'; 1 << 20];
    // 64 MiB without a line end: as a command, as a line of content, as a chunk that is far too large.
    let mut command = gatepost.connect();
    command.greet();
    for _ in 0..64 {
        if command.try_raw(&noise).is_err() {
            break;
        }
    }
    let mut content = gatepost.connect();
    content.greet();
    content.say("MAIL FROM:<a@client.test>", "250");
    content.say("RCPT TO:<user@example.test>", "250");
    content.say("DATA", "354");
    for _ in 0..64 {
        if content.try_raw(&noise).is_err() {
            break;
        }
    }
    let peak = gatepost.status("VmHWM");
    println!("{memory} kB before, {peak} kB at most");
    assert!(peak < memory + 40_000, "{peak} kB, {memory} before");
    content.raw(b"\r\n.\r\n");
    content.expect("552 5\\.3\\.4");
    assert!(sink.received().is_empty());
}

#[test]
fn a_sender_of_one_byte_a_while_is_ended() {
    let sink = Sink::start();
    let gatepost = Setup::to(sink.address).with("[limits]\nmessage_time = 2\n").start();
    let mut dialog = gatepost.connect();
    dialog.greet();
    dialog.say("MAIL FROM:<a@client.test>", "250");
    dialog.say("RCPT TO:<user@example.test>", "250");
    dialog.say("DATA", "354");
    for _ in 0..100 {
        if dialog.try_raw(b"x").is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    dialog.expect("421 4\\.4\\.2");
    assert!(sink.received().is_empty());
}
