//! A raw SMTP client: it sends exactly the bytes it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use regex::Regex;

/// A reply: its lines without their ends, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// All lines, codes included, parted by `\n`.
    pub text: String,
}

impl Reply {
    /// What the lines say, without codes.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(|line| line.get(4..).unwrap_or_default())
    }
}

/// A connection.
pub struct Dialog {
    stream: TcpStream,
    input: Vec<u8>,
    transcript: String,
}

impl Dialog {
    /// Connects from the usual address.
    pub fn connect(to: SocketAddr) -> Dialog {
        Dialog::try_connect(to).unwrap_or_else(|error| panic!("connect to {to}: {error}"))
    }

    /// Connects, or says why not.
    pub fn try_connect(to: SocketAddr) -> std::io::Result<Dialog> {
        Dialog::over(TcpStream::connect(to)?)
    }

    /// Connects from another address of this machine.
    pub fn connect_from(from: IpAddr, to: SocketAddr) -> Dialog {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket.bind(SocketAddr::new(from, 0)).expect("bind");
            let stream = socket.connect(to).await.expect("connect").into_std().expect("a plain stream");
            stream.set_nonblocking(false).expect("blocking");
            stream
        });
        Dialog::over(stream).expect("a connection")
    }

    /// Over a connection that is there already.
    pub fn over(stream: TcpStream) -> std::io::Result<Dialog> {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        Ok(Dialog { stream, input: Vec::new(), transcript: String::new() })
    }

    /// Longest to wait for a reply.
    pub fn patience(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("a time limit");
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.try_raw(bytes).unwrap_or_else(|error| panic!("send: {error}\n{}", self.transcript));
    }

    /// Sends bytes as they are, or says why not.
    pub fn try_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let shown = bytes.get(..200).unwrap_or(bytes).escape_ascii();
        self.transcript.push_str(&format!("C: {shown}\n"));
        self.stream.write_all(bytes)
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) {
        self.raw(format!("{line}\r\n").as_bytes());
    }

    /// The next reply, or why there is none.
    pub fn try_reply(&mut self) -> std::io::Result<Reply> {
        let mut text = String::new();
        loop {
            let line = self.line()?;
            self.transcript.push_str(&format!("S: {line}\n"));
            text.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                let code = line.get(..3).and_then(|code| code.parse().ok());
                return code
                    .map(|code| Reply { code, text })
                    .ok_or_else(|| std::io::Error::other(format!("no reply: {line}")));
            }
            text.push('\n');
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        loop {
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                let line =
                    line.strip_suffix(b"\r\n").ok_or_else(|| std::io::Error::other("a line without CRLF"))?;
                return Ok(String::from_utf8_lossy(line).into_owned());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.input.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// The next reply, which must match a pattern from its beginning: `250`, `550 5\.7\.1 .*EICAR`.
    pub fn expect(&mut self, pattern: &str) -> Reply {
        let reply = self
            .try_reply()
            .unwrap_or_else(|error| panic!("wanted {pattern}, but: {error}\n{}", self.transcript));
        assert!(matches(pattern, &reply.text), "wanted {pattern}\n{}", self.transcript);
        reply
    }

    /// Sends a line and takes the reply to it.
    pub fn say(&mut self, line: &str, pattern: &str) -> Reply {
        self.send(line);
        self.expect(pattern)
    }

    /// Banner and EHLO.
    pub fn greet(&mut self) -> Reply {
        self.expect("220 ");
        self.say("EHLO client.test", "250")
    }

    /// A whole message with the reply to its end; `content` is stuffed and ended here. Banner and EHLO are done.
    pub fn message(&mut self, from: &str, to: &[&str], content: &str) -> Reply {
        self.say(&format!("MAIL FROM:<{from}>"), "250");
        for to in to {
            self.say(&format!("RCPT TO:<{to}>"), "250");
        }
        self.say("DATA", "354");
        self.content(content);
        self.try_reply()
            .unwrap_or_else(|error| panic!("no reply to the message: {error}\n{}", self.transcript))
    }

    /// Sends a message's lines, dots stuffed, and the final dot.
    pub fn content(&mut self, content: &str) {
        let mut bytes = Vec::with_capacity(content.len() + 16);
        for line in content.lines() {
            if line.starts_with('.') {
                bytes.push(b'.');
            }
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b".\r\n");
        self.raw(&bytes);
    }

    /// The server closes, without saying more.
    pub fn expect_end(&mut self) {
        match self.try_reply() {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {}
            other => panic!("wanted the end of the connection, but: {other:?}\n{}", self.transcript),
        }
    }

    /// All that was said.
    pub fn transcript(&self) -> &str {
        &self.transcript
    }
}

/// Whether a pattern matches from the beginning; `.` stands for a line end too.
pub fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(&format!("^(?s:{pattern})")).unwrap_or_else(|error| panic!("{error}")).is_match(text)
}
