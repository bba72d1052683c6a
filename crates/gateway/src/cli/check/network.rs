//! Everything that answers: clamd, DNS lists, next hops, and the addresses to listen on.

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use super::{Line, State, files};
use crate::checks::dnsbl;
use crate::config::typed::{Clamd, Dnsbl, Listener};
use crate::config::{Config, ListenAddress, NextHop, NextHopTls};
use crate::resources::dns::Resolve;
use crate::resources::net::{Stream, connect_tcp};
use crate::resources::tls::ClientTls;

/// Longest that one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer that is read, in bytes.
const ANSWER: u64 = 16 * 1024;

/// Gives up after a while.
async fn in_time<T>(future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("no answer within {} seconds", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(late)
}

fn text(error: &Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "it closed the connection".into(),
        _ => error.to_string(),
    }
}

/// A ClamAV daemon: it answers PING, and says its version.
pub(super) async fn clamd(name: &str, clamd: &Clamd) -> Line {
    let answer = in_time(async {
        match ask_clamd(&clamd.socket, "PING").await?.as_str() {
            "PONG" => ask_clamd(&clamd.socket, "VERSION").await,
            other => Err(format!("it answered {other:?} to PING; is that a clamd?")),
        }
    });
    match answer.await {
        Ok(version) => Line::good(format!("clamd {name}"), format!("{} answers, {version}", clamd.socket)),
        Err(error) => Line::bad(format!("clamd {name}"), format!("{}: {error}", clamd.socket)),
    }
}

async fn ask_clamd(socket: &str, command: &str) -> Result<String, String> {
    let mut stream: Stream = match (socket.strip_prefix("unix:"), socket.strip_prefix("tcp:")) {
        (Some(path), _) => Box::new(UnixStream::connect(path).await.map_err(|error| text(&error))?),
        (_, Some(address)) => Box::new(TcpStream::connect(address).await.map_err(|error| text(&error))?),
        _ => return Err("write unix:/path/to/socket or tcp:host:port".into()),
    };
    stream.write_all(format!("z{command}\0").as_bytes()).await.map_err(|error| text(&error))?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(ANSWER)).read_until(0, &mut answer).await.map_err(|error| text(&error))?;
    if answer.pop() != Some(0) {
        return Err(text(&ErrorKind::UnexpectedEof.into()));
    }
    Ok(printable(&String::from_utf8_lossy(&answer)))
}

/// Text from elsewhere, fit for a terminal.
fn printable(text: &str) -> String {
    text.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A DNS list: it passes the test that the daemon makes before it uses the list (RFC 5782 section 5).
pub(super) async fn dns_list(name: &str, list: &Dnsbl, dns: Result<Arc<dyn Resolve>, String>) -> Line {
    let tried = async { dnsbl::try_out(name, list, &*dns?).await };
    Line::of(format!("DNS list {name}"), in_time(tried).await)
}

/// Next hops: each greets and answers EHLO or LHLO. Where one of several works, the others are worth a warning only.
pub(super) async fn next_hops(whose: &str, hops: &[String], verify: bool, hostname: &str) -> Vec<Line> {
    let probe = async |hop: &String| {
        let what = format!("{whose}: next hop {hop}");
        match hop.parse() {
            Ok(NextHop::Maildir(path)) => {
                // Whom a Maildir belongs to, and who may look into it, is its reader's affair.
                let line =
                    files::folder("folder", &path, &Config { user: String::new(), ..Config::default() });
                match line.state {
                    State::Doubtful => Line::good(what, "there"),
                    state => Line::new(state, what, line.detail),
                }
            }
            Ok(hop) => Line::of(what, in_time(greet(&hop, verify, hostname)).await),
            Err(error) => Line::bad(what, error),
        }
    };
    let mut lines = futures_util::future::join_all(hops.iter().map(probe)).await;
    if lines.iter().any(|line| line.state == State::Good) {
        lines
            .iter_mut()
            .filter(|line| line.state == State::Bad)
            .for_each(|line| line.state = State::Doubtful);
    }
    lines
}

/// Greets a next hop; tells its banner and what it offers.
async fn greet(hop: &NextHop, verify: bool, hostname: &str) -> Result<String, String> {
    let (mut dialog, tls) = match hop {
        NextHop::LmtpUnix(path) => {
            (Dialog::new(Box::new(UnixStream::connect(path).await.map_err(|error| text(&error))?)), None)
        }
        NextHop::LmtpTcp { host, port } => (Dialog::new(connect(host, *port).await?), None),
        NextHop::Smtp { host, port, tls } => {
            let stream = connect(host, *port).await?;
            match tls {
                NextHopTls::Implicit if !verify => {
                    return Ok("connected; its certificate is not verified".into());
                }
                NextHopTls::Implicit => (Dialog::new(handshake(host, stream).await?), Some("TLS")),
                NextHopTls::StartTls | NextHopTls::None => (Dialog::new(stream), None),
            }
        }
        NextHop::Maildir(_) => return Ok(String::new()),
    };
    let banner = dialog.reply(220).await?;
    let hello = match hop {
        NextHop::Smtp { .. } => format!("EHLO {hostname}"),
        _ => format!("LHLO {hostname}"),
    };
    let mut offers = dialog.ask(&hello, 250).await?;
    let mut protection = tls.map(str::to_owned);
    if let NextHop::Smtp { host, tls: NextHopTls::StartTls, .. } = hop {
        if !offers.iter().any(|offer| offer.eq_ignore_ascii_case("STARTTLS")) {
            return Err("it does not offer STARTTLS; write smtp:// for plain text".into());
        }
        if verify {
            dialog.ask("STARTTLS", 220).await?;
            dialog = Dialog::new(handshake(host, dialog.stream.into_inner()).await?);
            offers = dialog.ask(&hello, 250).await?;
            protection = Some("STARTTLS verified".into());
        }
    }
    let _ = dialog.ask("QUIT", 221).await;
    let offers = offers.split_first().map(|(_, offers)| offers.join(", ")).unwrap_or_default();
    let parts = [banner.first().cloned(), protection, Some(offers).filter(|offers| !offers.is_empty())];
    Ok(parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}

async fn connect(host: &str, port: u16) -> Result<Stream, String> {
    connect_tcp(host, port).await.map_err(|error| text(&error))
}

async fn handshake(host: &str, stream: Stream) -> Result<Stream, String> {
    ClientTls::new(true).connect(host, stream).await.map_err(|error| format!("TLS: {}", text(&error)))
}

/// A dialog in SMTP or LMTP.
struct Dialog {
    stream: BufReader<Stream>,
}

impl Dialog {
    fn new(stream: Stream) -> Dialog {
        Dialog { stream: BufReader::new(stream) }
    }

    async fn ask(&mut self, command: &str, code: u16) -> Result<Vec<String>, String> {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).await.map_err(|error| text(&error))?;
        self.reply(code).await
    }

    /// The lines of a reply without their code, if the code is the one that is hoped for.
    async fn reply(&mut self, code: u16) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            (&mut self.stream)
                .take(ANSWER)
                .read_until(b'\n', &mut line)
                .await
                .map_err(|error| text(&error))?;
            let line = printable(&String::from_utf8_lossy(&line));
            if line.is_empty() {
                return Err(text(&ErrorKind::UnexpectedEof.into()));
            }
            if line.get(..3) != Some(code.to_string().as_str()) || lines.len() >= 100 {
                return Err(format!("it answered {line}"));
            }
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(lines);
            }
        }
    }
}

/// An address to listen on: free, or served by a gatepost of this name already.
pub(super) async fn listen(listener: &Listener, address: &str, hostname: &str) -> Line {
    let what = format!("listener {}: address {address}", listener.name);
    let banner = format!("{hostname} {}", listener.banner);
    match address.parse() {
        Err(error) => Line::bad(what, error),
        Ok(ListenAddress::Systemd(_)) => Line::good(what, "handed over by systemd"),
        Ok(ListenAddress::Tcp(address)) => match std::net::TcpListener::bind(address) {
            Ok(_) => Line::good(what, "free"),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                // A balancer's PROXY header would have to come first; without it there is no banner to know us by.
                // Who only asks about mail is not greeted.
                if !listener.proxy_protocol_from.is_empty() || !listener.protocol.brings_mail() {
                    return Line::doubtful(what, "in use");
                }
                let host = match address.ip() {
                    ip if ip.is_unspecified() && ip.is_ipv4() => "127.0.0.1".to_owned(),
                    ip if ip.is_unspecified() => "::1".to_owned(),
                    ip => ip.to_string(),
                };
                Line::of(what, in_time(served(connect(&host, address.port()).await, &banner)).await)
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Line::doubtful(
                what,
                "cannot be tried without root; the daemon binds it before it gives up root",
            ),
            Err(error) => Line::bad(what, error.to_string()),
        },
        Ok(ListenAddress::Unix(path)) => match UnixStream::connect(&path).await {
            Ok(_) if !listener.protocol.brings_mail() => Line::doubtful(what, "in use"),
            Ok(stream) => Line::of(what, in_time(served(Ok(Box::new(stream)), &banner)).await),
            // A socket that nobody serves was left behind, and is replaced.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Line::good(what, "free"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                match folder.is_dir() {
                    true => Line::good(what, "free"),
                    false => Line::bad(what, format!("there is no folder {}", folder.display())),
                }
            }
            Err(error) => Line::bad(what, error.to_string()),
        },
    }
}

/// Who serves an address, by the banner.
async fn served(stream: Result<Stream, String>, banner: &str) -> Result<String, String> {
    let mut dialog = Dialog::new(stream?);
    match dialog.reply(220).await {
        Ok(lines) if lines.iter().any(|line| line.trim() == banner.trim()) => Ok("gatepost serves it".into()),
        Ok(lines) => Err(format!("another program serves it (220 {})", lines.join(" "))),
        Err(error) => Err(format!("another program serves it ({error})")),
    }
}

/// The address of metrics: free, or answering.
pub(super) async fn metrics(address: &str) -> Line {
    let what = format!("metrics {address}");
    match std::net::TcpListener::bind(address) {
        Ok(_) => Line::good(what, "free"),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let answer = in_time(async {
                let mut stream = TcpStream::connect(address).await.map_err(|error| text(&error))?;
                let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).await.map_err(|error| text(&error))?;
                let mut status = String::new();
                BufReader::new(stream.take(ANSWER))
                    .read_line(&mut status)
                    .await
                    .map_err(|error| text(&error))?;
                Ok(printable(&status))
            });
            match answer.await {
                // 503 is how health says that it is not ready.
                Ok(status) if status.contains(" 200") || status.contains(" 503") => {
                    Line::good(what, format!("in use, and answers /health with {status}"))
                }
                Ok(status) => Line::bad(what, format!("another program serves it ({status})")),
                Err(error) => Line::bad(what, format!("another program serves it ({error})")),
            }
        }
        Err(error) => Line::bad(what, error.to_string()),
    }
}
