//! Sockets that mail comes in by, and who may have how many sessions.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use nix::sys::socket::{MsgFlags, recv, send};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use super::protect::Pace;
use super::{Front, ampdp, clamd, http, milter, policy, smtp, spamd};
use crate::config::listen::ListenAddress;
use crate::config::typed::{Listener, ListenerProtocol};
use crate::records::Metrics;
use crate::resources::net::Stream;

/// A bound socket. It is none of tokio's yet: binding comes before privileges are given up, and that before any thread
/// is started.
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A unix socket.
    Unix(std::os::unix::net::UnixListener),
}

/// Binds an address: one socket, or all that systemd opened for us under a name.
pub fn bind(address: &ListenAddress, handed: &mut Handed) -> io::Result<Vec<Socket>> {
    match address {
        ListenAddress::Tcp(address) => bind_tcp(*address).map(|socket| vec![Socket::Tcp(socket)]),
        ListenAddress::Unix(path) => bind_unix(path).map(|socket| vec![Socket::Unix(socket)]),
        ListenAddress::Systemd(name) => handed.take(name),
    }
}

/// Sockets handed over by systemd (socket activation), by the name their unit gives them.
pub struct Handed {
    fds: listenfd::ListenFd,
    names: Vec<String>,
}

impl Handed {
    /// Those that the environment names. To be asked once in a process: a descriptor that was taken and closed may be
    /// something else by now.
    pub fn from_environment() -> Handed {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').map(str::to_owned).collect();
        Handed { fds: listenfd::ListenFd::from_env(), names }
    }

    /// All of a name: a socket unit with several ListenStream lines gives them one name, unless it is told otherwise.
    fn take(&mut self, name: &str) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        for place in places_of(name, &self.names, self.fds.len()) {
            if let Ok(Some(listener)) = self.fds.take_tcp_listener(place) {
                sockets.push(Socket::Tcp(listener));
            } else if let Ok(Some(listener)) = self.fds.take_unix_listener(place) {
                sockets.push(Socket::Unix(listener));
            }
        }
        if sockets.is_empty() {
            let message = format!("systemd has handed over no socket named {name}");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        Ok(sockets)
    }
}

/// The places of a name among those of `count` sockets.
fn places_of(name: &str, names: &[String], count: usize) -> Vec<usize> {
    (0..count).filter(|&place| names.get(place).is_some_and(|given| given == name)).collect()
}

fn bind_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// A socket left by a killed process is replaced; a living one is an error, and so is a file of another kind.
fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is a file of this name, and it is no socket",
            ));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody is listening there"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    // Whoever may enter the folder may speak to us: its mode is the access control, as with the milters' sockets.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Who has how many sessions, over all listeners.
pub struct Sessions {
    counts: Mutex<Counts>,
    pace: Arc<Pace>,
    metrics: Arc<Metrics>,
}

/// What sessions are for. Neither kind may have all places: somebody of the other must still get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Mail that is brought over TCP.
    Mail,
    /// All else: whoever asks about mail, and everybody on a unix socket, who has no address that could be counted.
    Local,
}

impl Kind {
    fn of(front: &Front, client: Option<IpAddr>) -> Kind {
        let brings = front.listener.protocol.brings_mail() && client.is_some();
        if brings { Kind::Mail } else { Kind::Local }
    }
}

#[derive(Default)]
struct Counts {
    mail: u32,
    local: u32,
    by_client: HashMap<IpAddr, u32>,
}

impl Sessions {
    /// Nobody has any.
    pub fn new(metrics: Arc<Metrics>) -> Arc<Sessions> {
        Arc::new(Sessions { counts: Mutex::default(), pace: Arc::default(), metrics })
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.lock().all()
    }

    /// A place for one more session, given back when it is dropped. `most_each` 0 is no limit for this client.
    fn enter(
        self: &Arc<Self>,
        kind: Kind,
        client: Option<IpAddr>,
        most: u32,
        most_each: u32,
    ) -> Option<Place> {
        let mut counts = self.lock();
        let taken = client.map_or(0, |client| counts.by_client.get(&client).copied().unwrap_or(0));
        let full = counts.all() >= most || *counts.of(kind) >= share(most);
        if full || (most_each > 0 && taken >= most_each) {
            return None;
        }
        *counts.of(kind) += 1;
        if let Some(client) = client {
            *counts.by_client.entry(client).or_default() += 1;
        }
        self.metrics.session_opened();
        Some(Place { sessions: self.clone(), kind, client })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place in the counts, given back when it is dropped.
pub(super) struct Place {
    sessions: Arc<Sessions>,
    kind: Kind,
    client: Option<IpAddr>,
}

impl Place {
    /// How fast who comes, and who waits.
    pub(super) fn pace(&self) -> &Arc<Pace> {
        &self.sessions.pace
    }

    /// A balancer has said who is behind it: the session is that client's from here on. False if that one has as many
    /// as it may.
    pub(super) fn belongs_to(&mut self, client: IpAddr, front: &Front) -> bool {
        let most = most_each(front, client);
        let mut counts = self.sessions.lock();
        counts.leave(self.client.replace(client));
        let taken = counts.by_client.entry(client).or_default();
        *taken += 1;
        most == 0 || *taken <= most
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.sessions.lock();
        *counts.of(self.kind) -= 1;
        counts.leave(self.client);
        drop(counts);
        self.sessions.metrics.session_closed();
    }
}

impl Counts {
    fn all(&self) -> u32 {
        self.mail.saturating_add(self.local)
    }

    fn of(&mut self, kind: Kind) -> &mut u32 {
        match kind {
            Kind::Mail => &mut self.mail,
            Kind::Local => &mut self.local,
        }
    }

    fn leave(&mut self, client: Option<IpAddr>) {
        let Some(client) = client else { return };
        if let Some(taken) = self.by_client.get_mut(&client) {
            *taken -= 1;
            if *taken == 0 {
                self.by_client.remove(&client);
            }
        }
    }
}

/// A socket that connections are taken from.
pub enum Listening {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Socket {
    /// Hands it to the runtime.
    pub fn start(self) -> io::Result<Listening> {
        match self {
            Socket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Listening::Tcp)
            }
            Socket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(Listening::Unix)
            }
        }
    }
}

/// Takes connections until the daemon drains, then waits for the sessions under way to end.
pub async fn accept(socket: Listening, latest: Arc<ArcSwap<Front>>, sessions: Arc<Sessions>) {
    let mut draining = latest.load().draining.clone();
    let mut running = JoinSet::new();
    loop {
        let connection = tokio::select! {
            connection = accept_one(&socket) => connection,
            _ = draining.wait_for(|draining| *draining) => break,
        };
        while running.try_join_next().is_some() {}
        let front = latest.load_full();
        match connection {
            Ok(connection) => admit(connection, front, &latest, &sessions, &mut running),
            Err(error) => {
                // Out of descriptors, most likely: sessions that end will give some back.
                tracing::error!(listener = front.listener.name, %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(socket);
    while running.join_next().await.is_some() {}
}

enum Connection {
    Tcp(tokio::net::TcpStream, SocketAddr),
    Unix(tokio::net::UnixStream),
}

async fn accept_one(socket: &Listening) -> io::Result<Connection> {
    match socket {
        Listening::Tcp(listener) => {
            listener.accept().await.map(|(stream, peer)| Connection::Tcp(stream, peer))
        }
        Listening::Unix(listener) => listener.accept().await.map(|(stream, _)| Connection::Unix(stream)),
    }
}

fn admit(
    connection: Connection,
    front: Arc<Front>,
    latest: &Arc<ArcSwap<Front>>,
    sessions: &Arc<Sessions>,
    running: &mut JoinSet<()>,
) {
    let (socket, client) = match &connection {
        Connection::Tcp(stream, peer) => (stream.as_raw_fd(), Some(peer.ip().to_canonical())),
        Connection::Unix(stream) => (stream.as_raw_fd(), None),
    };
    if let Some(client) = client.filter(|client| !may_speak(&front, *client)) {
        tracing::warn!(listener = front.listener.name, "[{client}] is not in allow_from, turned away");
        return;
    }
    if front.listener.protocol.brings_mail()
        && let Some(why) = front.guard.refuses_all()
    {
        front.metrics.protected("load");
        return turn_away(&front, socket, client, why);
    }
    let most_each = client.map_or(0, |client| most_each(&front, client));
    let kind = Kind::of(&front, client);
    let Some(place) = sessions.enter(kind, client, front.limits.sessions, most_each) else {
        return turn_away(&front, socket, client, "Too many sessions");
    };
    match connection {
        Connection::Tcp(stream, peer) => {
            let _ = stream.set_nodelay(true);
            let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            let early = recv(stream.as_raw_fd(), &mut [0; 1], peek).is_ok_and(|bytes| bytes > 0);
            serve(front, latest, Box::new(stream), Some(peer), early, place, running);
        }
        // Open files come along with what is read, which no stream tells of.
        Connection::Unix(stream) if front.listener.protocol == ListenerProtocol::Clamd => {
            running.spawn(clamd::serve_local(front, stream, place));
        }
        Connection::Unix(stream) => serve(front, latest, Box::new(stream), None, false, place, running),
    }
}

/// There is no place: the log says so, and where the protocol has words for it the client hears them.
fn turn_away(front: &Front, socket: RawFd, client: Option<IpAddr>, why: &str) {
    let whom = client.map_or_else(|| "a client on a unix socket".to_owned(), |client| format!("[{client}]"));
    tracing::warn!(listener = front.listener.name, "{why}, {whom} turned away");
    if front.listener.protocol.brings_mail() {
        let busy = format!("421 4.3.2 {} {why}, please try again later\r\n", front.hostname);
        // A socket just accepted has room for one line; a client that is gone already needs none.
        let _ = send(socket, busy.as_bytes(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
    }
}

/// One session, in what the listener speaks.
fn serve(
    front: Arc<Front>,
    latest: &Arc<ArcSwap<Front>>,
    stream: Stream,
    peer: Option<SocketAddr>,
    early: bool,
    place: Place,
    running: &mut JoinSet<()>,
) {
    match front.listener.protocol {
        ListenerProtocol::Smtp | ListenerProtocol::Lmtp => {
            running.spawn(smtp::serve(front, stream, peer, early, place))
        }
        ListenerProtocol::Milter => running.spawn(milter::serve(front, stream, peer, place)),
        ListenerProtocol::Spamd => running.spawn(spamd::serve(front, stream, peer, place)),
        ListenerProtocol::Clamd => running.spawn(clamd::serve(front, stream, peer, place)),
        ListenerProtocol::AmPdp => running.spawn(ampdp::serve(front, stream, peer, place)),
        ListenerProtocol::Http => running.spawn(http::serve(front, stream, peer, place)),
        // Its connections outlive configurations.
        ListenerProtocol::Policy => running.spawn(policy::serve(latest.clone(), stream, peer, place)),
    };
}

/// Anybody may bring mail; who asks for an opinion can learn what gets through, and fill our disk.
fn may_speak(front: &Front, client: IpAddr) -> bool {
    let listener = &front.listener;
    listener.protocol.brings_mail() || listener.allow_from.iter().any(|network| network.contains(client))
}

/// Strangers have their limit. Our own networks and trusted peers carry many clients' mail and may have more, but
/// never all: somebody else must still get in.
fn most_each(front: &Front, client: IpAddr) -> u32 {
    let listener = &front.listener;
    if !listener.protocol.brings_mail() {
        return front.limits.sessions;
    }
    if is_trusted(front, client) {
        return share(front.limits.sessions);
    }
    front.limits.sessions_per_client
}

/// Our own networks, and peers that may speak for others.
pub(super) fn is_trusted(front: &Front, client: IpAddr) -> bool {
    let Listener { xclient_from, xforward_from, proxy_protocol_from, .. } = &front.listener;
    let trusted = [&front.networks, xclient_from, xforward_from, proxy_protocol_from];
    trusted.iter().any(|networks| networks.iter().any(|network| network.contains(client)))
}

/// Nine tenths of all: what a kind, or one trusted client, may have at most. Of fewer than ten nothing is kept back.
fn share(most: u32) -> u32 {
    most.saturating_sub(most / 10).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sockets_of_a_name_are_taken() {
        let names = ["smtp", "lmtp", "smtp"].map(str::to_owned);
        assert_eq!(places_of("smtp", &names, 3), [0, 2]);
        assert_eq!(places_of("smtp", &names, 2), [0]);
        assert_eq!(places_of("lmtp", &names, 3), [1]);
        assert!(places_of("other", &names, 4).is_empty());
    }

    #[test]
    fn no_kind_has_all_places() {
        let client = Some("192.0.2.1".parse().unwrap());
        for (most, kind, other, expected) in [
            (40, Kind::Local, Kind::Mail, (36, 4)),
            (40, Kind::Mail, Kind::Local, (36, 4)),
            (1000, Kind::Local, Kind::Mail, (900, 100)),
            (10, Kind::Mail, Kind::Local, (9, 1)),
            (3, Kind::Mail, Kind::Local, (3, 0)),
            (1, Kind::Local, Kind::Mail, (1, 0)),
        ] {
            let sessions = Sessions::new(Arc::new(Metrics::new()));
            let enter = |kind: Kind| -> Vec<Place> {
                let client = client.filter(|_| kind == Kind::Mail);
                std::iter::from_fn(|| sessions.enter(kind, client, most, 0)).collect()
            };
            let first = enter(kind);
            let second = enter(other);
            assert_eq!((first.len(), second.len()), expected, "{most} {kind:?}");
            drop(first);
            assert_eq!(enter(kind).len(), expected.0, "{most} {kind:?}: places are given back");
        }
    }
}
