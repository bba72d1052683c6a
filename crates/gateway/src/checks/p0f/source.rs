//! Who is asked about clients: p0f's API by its unix socket, or p0f-analyzer by UDP.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gatepost_wire::p0f::{RESPONSE, analysis, query, question, response, subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UdpSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Connections at once. p0f serves 20 altogether, unless it is told otherwise, and one after the other.
const AT_ONCE: usize = 4;

/// How long until somebody whom p0f has not seen is asked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// Somebody who is asked.
pub(super) struct Source {
    place: Place,
    turn: Semaphore,
}

enum Place {
    /// p0f 3's API.
    Api(PathBuf),
    /// p0f-analyzer.
    Analyzer(SocketAddr),
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure(pub String);

impl Source {
    /// `unix:/path` or `udp:address:port`.
    pub fn parse(text: &str) -> Result<Source, String> {
        let place = match (text.strip_prefix("unix:"), text.strip_prefix("udp:")) {
            (Some(path), _) if path.starts_with('/') => Place::Api(path.into()),
            (_, Some(address)) if address.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0) => {
                Place::Analyzer(address.parse().map_err(|_| text.to_owned())?)
            }
            _ => {
                let message = "is neither the socket of p0f, such as unix:/run/p0f.sock, nor the address of \
                               p0f-analyzer, such as udp:127.0.0.1:2345";
                return Err(format!("“{text}” {message}"));
            }
        };
        Ok(Source { place, turn: Semaphore::new(AT_ONCE) })
    }

    /// What is known of a client; None where that is nothing, even when asked again until `patience` is over.
    pub async fn ask(
        &self,
        client: IpAddr,
        port: u16,
        patience: Duration,
    ) -> Result<Option<String>, Failure> {
        let end = Instant::now() + patience;
        let _turn = self.turn.acquire().await.map_err(|error| Failure(error.to_string()))?;
        let failed = |error: io::Error| Failure(format!("{self}: {error}"));
        match &self.place {
            Place::Api(path) => {
                let mut stream = UnixStream::connect(path).await.map_err(failed)?;
                loop {
                    if let Some(host) = self.ask_api(&mut stream, client).await? {
                        return Ok(Some(host));
                    }
                    if Instant::now() + AGAIN > end {
                        return Ok(None);
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
            // It knows connections by their ports.
            Place::Analyzer(_) if port == 0 => Ok(None),
            Place::Analyzer(address) => {
                let socket = udp(*address).await.map_err(failed)?;
                loop {
                    let text = ask_analyzer(&socket, client, port).await.map_err(failed)?;
                    if !text.is_empty() {
                        return Ok(Some(text));
                    }
                    if Instant::now() + AGAIN > end {
                        return Ok(None);
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Whether somebody answers.
    pub async fn try_out(&self) -> Result<(), Failure> {
        self.ask(IpAddr::V4(Ipv4Addr::LOCALHOST), 1, Duration::ZERO).await.map(drop)
    }

    async fn ask_api(&self, stream: &mut UnixStream, client: IpAddr) -> Result<Option<String>, Failure> {
        let mut octets = [0; RESPONSE];
        let asking = async {
            stream.write_all(&query(client)).await?;
            stream.read_exact(&mut octets).await
        };
        asking.await.map_err(|error| Failure(format!("{self}: {error}")))?;
        let host = response(&octets).map_err(|error| Failure(format!("{self}: {error}")))?;
        Ok(host.map(|host| host.text()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Api(path) => write!(f, "unix:{}", path.display()),
            Place::Analyzer(address) => write!(f, "udp:{address}"),
        }
    }
}

/// A socket that hears the analyzer alone.
async fn udp(analyzer: SocketAddr) -> io::Result<UdpSocket> {
    let own: IpAddr =
        if analyzer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(analyzer).await?;
    Ok(socket)
}

/// Asks, and reads until the answer to this question comes: one to an earlier question may come first.
async fn ask_analyzer(socket: &UdpSocket, client: IpAddr, port: u16) -> io::Result<String> {
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let nonce: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
    socket.send(question(client, port, &nonce).as_bytes()).await?;
    let subject = subject(client, port);
    let mut octets = [0; 2048];
    loop {
        let length = socket.recv(&mut octets).await?;
        if let Some(text) = analysis(&octets[..length], &subject, &nonce) {
            return Ok(text);
        }
    }
}
