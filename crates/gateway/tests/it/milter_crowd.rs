//! Two hundred mail servers' connections at once: each message is answered, and what they cost is bounded.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gatepost_milter::{Actions, Command, Connect, FRAME_LIMIT, Frame, Offer, Peer, Response, Steps};

use crate::rig::*;

const CROWD: usize = 200;
/// Octets of each message.
const SIZE: usize = 200_000;

struct Mta {
    stream: TcpStream,
    input: BytesMut,
}

impl Mta {
    fn connect(gatepost: &Gatepost) -> Mta {
        let stream = TcpStream::connect(gatepost.smtp).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a time limit");
        let mut mta = Mta { stream, input: BytesMut::new() };
        let offer = Offer { version: 6, actions: Actions(0x1ff), steps: Steps(0x1f_ffff) };
        mta.say(&Command::Negotiate(offer));
        mta.answer();
        let peer = Peer::Inet("192.0.2.1".parse().expect("an address"), 25);
        mta.say(&Command::Connect(Connect { host: "client.test".into(), peer }));
        mta.say(&Command::Helo("client.test".into()));
        mta
    }

    fn say(&mut self, command: &Command) {
        let mut out = Vec::new();
        command.write(&mut out);
        self.stream.write_all(&out).expect("write");
    }

    fn answer(&mut self) -> Response {
        loop {
            if let Some(frame) = Frame::take(&mut self.input, FRAME_LIMIT).expect("packets") {
                return Response::parse(frame).expect("a response");
            }
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).expect("an answer");
            assert!(read > 0, "the connection was closed");
            self.input.extend_from_slice(&buffer[..read]);
        }
    }

    /// All but the end of a message.
    fn fill(&mut self, body: &[u8]) {
        self.say(&Command::Mail(vec!["<a@client.test>".into()]));
        self.say(&Command::Rcpt(vec!["<user@example.test>".into()]));
        assert_eq!(self.answer(), Response::Continue);
        self.say(&Command::Header { name: "Subject".into(), value: " hello".into() });
        self.say(&Command::EndOfHeader);
        for chunk in body.chunks(65535) {
            self.say(&Command::Body(Bytes::copy_from_slice(chunk)));
            assert_eq!(self.answer(), Response::Continue);
        }
    }

    fn end(&mut self) -> Response {
        self.say(&Command::EndOfMessage(Bytes::new()));
        loop {
            let response = self.answer();
            if response.is_final() {
                return response;
            }
        }
    }
}

#[test]
fn two_hundred_connections_at_once() {
    // A message beyond 64 KiB goes to a file, so what is held in memory does not grow with the crowd's messages.
    let limits = "[limits]\nsessions = 300\nmemory = \"64 KiB\"\n";
    let gatepost = Setup::default().listening("protocol = \"milter\"").with(limits).start();
    Mta::connect(&gatepost).fill(b"warm\r\n");
    let memory = gatepost.status("VmRSS");
    let mut crowd: Vec<Mta> = (0..CROWD).map(|_| Mta::connect(&gatepost)).collect();
    let idle = gatepost.status("VmRSS");
    let body = b"a line of some length, to fill the message that they all send\r\n".repeat(SIZE / 64);
    // All have a message under way at the same time.
    crowd.iter_mut().for_each(|mta| mta.fill(&body));
    let full = gatepost.status("RssAnon");
    let threads: Vec<_> = crowd
        .into_iter()
        .map(|mut mta| {
            std::thread::spawn(move || {
                let answer = mta.end();
                mta.fill(format!("{}\r\n", eicar()).as_bytes());
                (answer, mta.end())
            })
        })
        .collect();
    for thread in threads {
        let (clean, virus) = thread.join().expect("an answer");
        assert_eq!(clean, Response::Continue);
        assert!(matches!(virus, Response::Refuse(_)), "{virus:?}");
    }
    let peak = gatepost.status("VmHWM");
    println!(
        "{memory} kB before, {idle} kB idle, {full} kB with {CROWD} messages under way, {peak} kB at most"
    );
    // 32 KiB for an idle connection; 320 KiB for one with a message, whatever its size.
    assert!(idle < memory + 32 * CROWD as u64, "{idle} kB idle, {memory} kB before");
    assert!(full < memory + 320 * CROWD as u64, "{full} kB with messages, {memory} kB before");
    assert!(peak < memory + 200_000, "{peak} kB at most, {memory} kB before");
    assert_eq!(gatepost.metric("gatepost_messages_total", &[]), 2.0 * CROWD as f64);
}
