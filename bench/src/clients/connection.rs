//! A connection with a time limit on each step and a buffer of what has come.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, UnixStream};
use tokio::time::timeout;

use super::Target;
use crate::load::Options;

/// Longest answer that is taken: a message that comes back marked, with room to spare.
const MOST: usize = 256 << 20;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to the server.
pub struct Connection {
    stream: Box<dyn Duplex>,
    input: Vec<u8>,
    used: usize,
    time: Duration,
}

impl Connection {
    /// Connects.
    pub async fn open(options: &Options, worker: usize) -> io::Result<Connection> {
        let time = options.patience();
        let stream: Box<dyn Duplex> = match &options.target {
            Target::Unix(path) => Box::new(timeout(time, UnixStream::connect(path)).await??),
            Target::Tcp(address) => {
                let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                if !options.bind.is_empty() {
                    socket.bind(SocketAddr::new(options.bind[worker % options.bind.len()], 0))?;
                }
                let stream = timeout(time, socket.connect(*address)).await??;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        Ok(Connection { stream, input: Vec::with_capacity(8192), used: 0, time })
    }

    /// Sends bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(self.time, self.stream.write_all(bytes)).await?
    }

    /// Says that nothing more follows.
    pub async fn finish(&mut self) -> io::Result<()> {
        timeout(self.time, self.stream.shutdown()).await?
    }

    /// The next line without its end.
    pub async fn line(&mut self) -> io::Result<&[u8]> {
        self.until(b'\n').await
    }

    /// The bytes before the next `end`, which is taken off too; a CR before it belongs to it.
    pub async fn until(&mut self, end: u8) -> io::Result<&[u8]> {
        let mut seen = self.used;
        loop {
            if let Some(at) = memchr::memchr(end, &self.input[seen..]) {
                let from = std::mem::replace(&mut self.used, seen + at + 1);
                let line = &self.input[from..seen + at];
                return Ok(line.strip_suffix(b"\r").unwrap_or(line));
            }
            seen = self.input.len() - self.used;
            self.fill().await?;
        }
    }

    /// The next `count` bytes.
    pub async fn exactly(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.input.len() - self.used < count {
            self.fill().await?;
        }
        self.used += count;
        Ok(&self.input[self.used - count..self.used])
    }

    /// All that comes until the server closes.
    pub async fn rest(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.fill().await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(&self.input[self.used..])
    }

    /// Reads more; what was used is dropped first.
    async fn fill(&mut self) -> io::Result<()> {
        self.input.drain(..self.used);
        self.used = 0;
        if self.input.len() > MOST {
            return Err(io::Error::other("an answer without end"));
        }
        match timeout(self.time, self.stream.read_buf(&mut self.input)).await?? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the server")),
            _ => Ok(()),
        }
    }
}
