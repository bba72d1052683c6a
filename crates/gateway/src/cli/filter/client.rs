//! A request to a running daemon and its whole answer, over a unix socket or loopback TCP. As small as it can be: every
//! mail of a delivery agent starts one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// Most bytes of an answer's head.
const HEAD: usize = 64 << 10;

/// Most bytes that an answer may be longer than what was asked about: what is added to a message and what replaces
/// parts of it.
const GROWTH: u64 = 16 << 20;

/// Where a daemon answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// `unix:/run/gatepost/http.sock`.
    Unix(PathBuf),
    /// `http://127.0.0.1:11333`: host and port.
    Tcp(String, u16),
}

impl FromStr for Daemon {
    type Err = String;

    fn from_str(text: &str) -> Result<Daemon, String> {
        let wrong =
            || format!("{text:?} is no daemon; write unix:/run/gatepost/http.sock or http://127.0.0.1:11333");
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Daemon::Unix(path.into())) } else { Err(wrong()) };
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| wrong())?;
        let plain = !host.is_empty() && !host.contains(|c: char| c == '/' || c.is_whitespace());
        if plain { Ok(Daemon::Tcp(host.to_owned(), port)) } else { Err(wrong()) }
    }
}

/// As it is written.
impl std::fmt::Display for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Daemon::Unix(path) => write!(f, "unix:{}", path.display()),
            Daemon::Tcp(host, port) if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Daemon::Tcp(host, port) => write!(f, "http://{host}:{port}"),
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, and values.
    headers: Vec<(String, String)>,
    /// Exactly as long as the answer said.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Posts a message and reads the whole answer, all within `time`.
///
/// # Errors
/// What is wrong, for the log: the daemon is away, silent, or its answer is not whole.
pub fn post(
    daemon: &Daemon,
    target: &str,
    token: &str,
    message: &[u8],
    time: Duration,
) -> Result<Answer, String> {
    let deadline = Instant::now() + time;
    let mut connection = Connection::open(daemon, deadline).map_err(|error| format!("{daemon}: {error}"))?;
    let mut head = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: message/rfc822\r\nContent-Length: {}\r\n",
        message.len()
    );
    if !token.is_empty() {
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    head.push_str("\r\n");
    // A daemon that wants no more of it answers before all is written, and says why.
    let sent = connection.send(head.as_bytes()).and_then(|()| connection.send(message));
    let most = message.len() as u64 + GROWTH;
    match (connection.answer(most), sent) {
        (Ok(answer), _) => Ok(answer),
        (Err(_), Err(error)) => Err(format!("{daemon}: while sending: {error}")),
        (Err(error), Ok(())) => Err(format!("{daemon}: {error}")),
    }
}

/// A connection on which nothing lasts beyond the deadline.
struct Connection {
    stream: Both,
    deadline: Instant,
}

enum Both {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    fn open(daemon: &Daemon, deadline: Instant) -> io::Result<Connection> {
        let stream = match daemon {
            // By a socket of our own: std's connect waits without limit for a daemon that accepts nobody.
            Daemon::Unix(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.connect_timeout(&SockAddr::unix(path)?, left(deadline)?)?;
                Both::Unix(socket.into())
            }
            Daemon::Tcp(host, port) => {
                let addresses: Vec<SocketAddr> = (host.as_str(), *port).to_socket_addrs()?.take(8).collect();
                let mut failed = io::Error::new(io::ErrorKind::NotFound, "no such host");
                let mut open = None;
                for address in addresses {
                    match TcpStream::connect_timeout(&address, left(deadline)?) {
                        Ok(stream) => {
                            open = Some(stream);
                            break;
                        }
                        Err(error) => failed = error,
                    }
                }
                Both::Tcp(open.ok_or(failed)?)
            }
        };
        Ok(Connection { stream, deadline })
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let time = Some(left(self.deadline)?);
            let written = match &mut self.stream {
                Both::Tcp(stream) => stream.set_write_timeout(time).and_then(|()| stream.write(bytes)),
                Both::Unix(stream) => stream.set_write_timeout(time).and_then(|()| stream.write(bytes)),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(too_slow(error)),
            }
        }
        Ok(())
    }

    /// Up to what fits into the buffer; 0 at the end.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let time = Some(left(self.deadline)?);
            let read = match &mut self.stream {
                Both::Tcp(stream) => stream.set_read_timeout(time).and_then(|()| stream.read(buffer)),
                Both::Unix(stream) => stream.set_read_timeout(time).and_then(|()| stream.read(buffer)),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(too_slow),
            }
        }
    }

    /// The whole answer. One that is cut off is none.
    fn answer(&mut self, most: u64) -> io::Result<Answer> {
        let mut bytes = Vec::with_capacity(16 << 10);
        let mut buffer = [0; 16 << 10];
        let end = loop {
            if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
                break end;
            }
            if bytes.len() > HEAD {
                return Err(not_http("its head is too long"));
            }
            match self.receive(&mut buffer)? {
                0 => return Err(cut_off(if bytes.is_empty() { "without an answer" } else { "in its head" })),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        };
        let (status, headers) = head(&bytes[..end]).ok_or_else(|| not_http("its head is none"))?;
        let body = bytes.split_off(end + 4);
        let mut answer = Answer { status, headers, body };
        let length = match answer.header("content-length") {
            None if status == 204 => 0,
            length => length
                .and_then(|length| length.parse::<u64>().ok())
                .ok_or_else(|| not_http("it does not say how long it is"))?,
        };
        if length > most {
            return Err(not_http("it is far longer than the message"));
        }
        while (answer.body.len() as u64) < length {
            match self.receive(&mut buffer)? {
                0 => return Err(cut_off("in the middle of the answer")),
                count => answer.body.extend_from_slice(&buffer[..count]),
            }
        }
        if answer.body.len() as u64 > length {
            return Err(not_http("it is longer than it says"));
        }
        Ok(answer)
    }
}

/// Status and fields of an answer's head.
fn head(bytes: &[u8]) -> Option<(u16, Vec<(String, String)>)> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.splitn(3, ' ');
    first.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = first.next()?.parse().ok()?;
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some((status, fields.collect::<Option<_>>()?))
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(silent()) } else { Ok(left) }
}

/// A socket's own limit shows as "try again".
fn too_slow(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => silent(),
        _ => error,
    }
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

fn cut_off(place: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the daemon went away {place}"))
}

fn not_http(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no answer of gatepost: {what}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn daemons_are_read_and_shown() {
        for text in ["unix:/run/gatepost/http.sock", "http://127.0.0.1:11333", "http://[::1]:80"] {
            assert_eq!(text.parse::<Daemon>().expect(text).to_string(), text);
        }
        assert_eq!("localhost:1".parse(), Ok(Daemon::Tcp("localhost".into(), 1)));
        assert_eq!("http://localhost:1/".parse(), Ok(Daemon::Tcp("localhost".into(), 1)));
        for text in
            ["", "unix:", "unix:socket", "http://localhost", "https://localhost:1", "http://:1", "a:b"]
        {
            assert!(text.parse::<Daemon>().is_err(), "{text}");
        }
    }

    /// A server that answers one request with these bytes, and goes away.
    fn server(answer: &'static [u8]) -> Daemon {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut buffer = [0; 1000];
            while !seen.ends_with(b"message") {
                let count = stream.read(&mut buffer).unwrap();
                seen.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(answer).unwrap();
        });
        Daemon::Tcp("127.0.0.1".into(), port)
    }

    #[test]
    fn only_a_whole_answer_is_one() {
        for (answer, expected) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nGatepost-Id: x\r\n\r\nab"[..], Ok("ab")),
            (b"HTTP/1.1 204 No Content\r\nGatepost-Id: x\r\n\r\n", Ok("")),
            (b"", Err("without an answer")),
            (b"HTTP/1.1 200 OK\r\nContent-Le", Err("in its head")),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", Err("in the middle")),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", Err("longer than it says")),
            (b"HTTP/1.1 200 OK\r\n\r\nab", Err("how long")),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nab", Err("far longer")),
            (b"220 mail.example.org ESMTP\r\n\r\n", Err("head is none")),
        ] {
            let answered = post(&server(answer), "/", "t", b"message", Duration::from_secs(20));
            match (answered, expected) {
                (Ok(answer), Ok(body)) => assert_eq!(answer.body, body.as_bytes()),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (answered, expected) => panic!("{answered:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_silent_daemon_is_waited_for_so_long_and_no_longer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let daemon = Daemon::Tcp("127.0.0.1".into(), listener.local_addr().unwrap().port());
        let began = Instant::now();
        let error = post(&daemon, "/", "", b"message", Duration::from_millis(200)).unwrap_err();
        assert!(error.contains("no answer in time"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
