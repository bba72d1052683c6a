//! Who asks, by hand.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// A connection to a policy service, ours or another.
pub struct Asker {
    input: BufReader<Box<dyn Read>>,
    output: Box<dyn Write>,
    finish: Box<dyn Fn()>,
}

impl Asker {
    pub fn tcp(address: SocketAddr) -> Asker {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        let (input, finish) = (stream.try_clone().expect("clone"), stream.try_clone().expect("clone"));
        Asker::new(input, stream, move || finish.shutdown(Shutdown::Write).expect("shutdown"))
    }

    pub fn unix(path: &Path) -> Asker {
        let stream = crate::rig::connect_unix(path);
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        let (input, finish) = (stream.try_clone().expect("clone"), stream.try_clone().expect("clone"));
        Asker::new(input, stream, move || finish.shutdown(Shutdown::Write).expect("shutdown"))
    }

    /// Over the standard input and output of a program.
    pub fn new(
        input: impl Read + 'static,
        output: impl Write + 'static,
        finish: impl Fn() + 'static,
    ) -> Asker {
        Asker { input: BufReader::new(Box::new(input)), output: Box::new(output), finish: Box::new(finish) }
    }

    pub fn ask(&mut self, question: &str) -> String {
        self.send(question);
        self.answer()
    }

    pub fn send(&mut self, text: &str) {
        self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush()).expect("send");
    }

    /// To somebody who may not listen.
    pub fn try_send(&mut self, text: &str) {
        let _ = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
    }

    /// Nothing more is asked.
    pub fn finish(&self) {
        (self.finish)();
    }

    /// The line of the next answer.
    pub fn answer(&mut self) -> String {
        let (mut line, mut end) = (String::new(), String::new());
        self.input.read_line(&mut line).expect("an answer");
        self.input.read_line(&mut end).expect("an empty line");
        assert_eq!(end, "\n", "after {line:?}");
        line
    }

    /// Whether the other side hangs up without a further word.
    pub fn is_closed(&mut self) -> bool {
        match self.input.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// A question at RCPT, with some attributes changed.
pub fn request(changes: &[(&str, &str)]) -> String {
    let usual = [
        ("request", "smtpd_access_policy"),
        ("protocol_state", "RCPT"),
        ("protocol_name", "ESMTP"),
        ("client_address", "192.0.2.9"),
        ("client_name", "client.test"),
        ("reverse_client_name", "client.test"),
        ("helo_name", "client.test"),
        ("sender", "a@sender.test"),
        ("recipient", "user@example.test"),
        ("recipient_count", "0"),
        ("queue_id", ""),
        ("instance", ""),
        ("size", "1000"),
        ("etrn_domain", ""),
        ("stress", ""),
        ("sasl_username", ""),
    ];
    let value = |name: &str, usual| {
        changes.iter().find(|(changed, _)| *changed == name).map_or(usual, |(_, value)| *value)
    };
    let mut text = String::new();
    for (name, usual) in usual {
        text.push_str(&format!("{name}={}\n", value(name, usual)));
    }
    text.push('\n');
    text
}
