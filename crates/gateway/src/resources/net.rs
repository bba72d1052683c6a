//! Byte streams, whatever carries them.

use std::io;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A stream of bytes in both directions: TCP, a unix socket, TLS over either.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Io for T {}

/// A stream whose kind no longer matters.
pub type Stream = Box<dyn Io>;

/// A TCP connection without Nagle's delay: commands are small and answered one by one.
pub async fn connect_tcp(host: &str, port: u16) -> io::Result<Stream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// A connection to a unix socket.
pub async fn connect_unix(path: &Path) -> io::Result<Stream> {
    Ok(Box::new(UnixStream::connect(path).await?))
}
