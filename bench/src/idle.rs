//! `idle`: connections that open a session and then give a byte now and then, to see what they cost the server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

/// Arguments of `idle`.
#[derive(clap::Args)]
pub struct Options {
    /// The server.
    #[arg(long)]
    target: SocketAddr,
    /// Connections.
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// Seconds between two bytes of one connection.
    #[arg(long, default_value_t = 5.0)]
    interval: f64,
    /// Seconds after which all is closed.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Local address to connect from; several are used in turn.
    #[arg(long)]
    bind: Vec<IpAddr>,
}

/// What became of the connections.
#[derive(Default)]
struct Counts {
    opened: AtomicUsize,
    failed: AtomicUsize,
    closed_by_server: AtomicUsize,
    bytes: AtomicUsize,
}

/// Opens them, keeps them for the given time and prints one JSON line.
pub async fn run(options: Options) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(options.seconds);
    let interval = Duration::from_secs_f64(options.interval.max(0.001));
    let counts = Arc::new(Counts::default());
    let mut tasks = Vec::with_capacity(options.connections);
    for number in 0..options.connections {
        let from = (!options.bind.is_empty()).then(|| options.bind[number % options.bind.len()]);
        let (counts, target) = (counts.clone(), options.target);
        tasks.push(tokio::spawn(async move {
            match timeout_at(end, connect(target, from)).await {
                Ok(Ok(stream)) => {
                    counts.opened.fetch_add(1, Relaxed);
                    trickle(stream, interval, end, &counts).await;
                }
                _ => {
                    counts.failed.fetch_add(1, Relaxed);
                }
            }
        }));
        // Opened at a pace that a listen queue of ordinary length can follow.
        if number % 100 == 99 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    for task in tasks {
        let _ = task.await;
    }
    println!(
        r#"{{"connections":{},"opened":{},"failed":{},"closed_by_server":{},"bytes":{}}}"#,
        options.connections,
        counts.opened.load(Relaxed),
        counts.failed.load(Relaxed),
        counts.closed_by_server.load(Relaxed),
        counts.bytes.load(Relaxed),
    );
    Ok(())
}

async fn connect(target: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(target).await
}

/// Spells out an endless EHLO, one byte an interval, until the server or the clock ends it.
async fn trickle(mut stream: TcpStream, interval: Duration, end: Instant, counts: &Counts) {
    let mut spelling = b"EHLO ".iter().copied().chain(std::iter::repeat(b'x'));
    let mut buffer = [0; 512];
    let mut next = Instant::now() + interval;
    loop {
        match timeout_at(next.min(end), stream.read(&mut buffer)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => {
                counts.closed_by_server.fetch_add(1, Relaxed);
                return;
            }
            Err(_) if Instant::now() >= end => return,
            Err(_) => {
                next = Instant::now() + interval;
                let byte = spelling.next().unwrap_or(b'x');
                if stream.write_all(&[byte]).await.is_ok() {
                    counts.bytes.fetch_add(1, Relaxed);
                }
            }
        }
    }
}
