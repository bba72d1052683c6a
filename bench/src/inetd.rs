//! `inetd`: a process for each connection, with the socket as its input and output, as Postfix's spawn(8) runs policy
//! services that know no sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use tokio::net::TcpListener;
use tokio::process::Command;

/// Arguments of `inetd`.
#[derive(clap::Args)]
pub struct Options {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// Connections at once; further ones wait.
    #[arg(long, default_value_t = 64)]
    most: usize,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Serves until it is killed.
pub async fn run(options: Options) -> io::Result<()> {
    let listener = TcpListener::bind(options.listen).await?;
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(options.most.max(1)));
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        let (input, output) = (OwnedFd::from(stream.try_clone()?), OwnedFd::from(stream));
        let mut child = Command::new(&options.command[0])
            .args(&options.command[1..])
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .kill_on_drop(true)
            .spawn()?;
        tokio::spawn(async move {
            let _place = place;
            let _ = child.wait().await;
        });
    }
}
