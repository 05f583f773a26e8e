//! Sockets: `Listener`, `Acceptor`, `Socket`, its two halves and `Dialer` are all that the rest sees.
//!
//! Called by everything in `transport`. What differs between the machine's network and a simulated one is in `tcp.rs`
//! and `simulated_tcp.rs`.
//!
//! Invariant: every dial resolves the name anew, in bounded time; an address that was reached stays in use when the
//! name no longer resolves (a stopped container loses its name, a restarted one may get another address).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::HostPort;
use super::tcp::{self, BoundListener, DetachedStream, OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};

/// The half of a socket that reads.
pub(super) type SocketReader = OwnedReadHalf;
/// The half of a socket that writes.
pub(super) type SocketWriter = OwnedWriteHalf;

/// How long one lookup of a name may hold up a dial; after it the last known address is dialled.
const RESOLVE_WAIT: Duration = Duration::from_millis(250);
/// How many addresses of one name are kept and tried.
const ADDRESSES_MAX: usize = 4;

/// A bound listening socket. It belongs to no runtime yet, so it can be bound early and served on any.
#[derive(Debug)]
pub struct Listener {
    socket: BoundListener,
    address: SocketAddr,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct ListenError {
    /// The configured address.
    pub address: HostPort,
    /// What the system said.
    pub reason: io::Error,
}

impl Listener {
    /// Binds and listens. An empty host means every interface (IPv4). Blocks for a lookup if the host is a name.
    ///
    /// # Errors
    /// When the name is unknown, or the address is in use or not ours.
    pub fn bind(address: &HostPort, backlog: u32) -> Result<Self, ListenError> {
        let bound = tcp::listen(address, backlog);
        let (socket, address) = bound.map_err(|reason| ListenError { address: address.clone(), reason })?;
        Ok(Self { socket, address })
    }

    /// Where it listens: the port is the real one even if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to accept on the current runtime.
    pub(super) fn acceptor(self) -> io::Result<Acceptor> {
        Ok(Acceptor { socket: tcp::serve(self.socket)? })
    }
}

/// A listening socket on a runtime.
#[derive(Debug)]
pub(super) struct Acceptor {
    socket: TcpListener,
}

impl Acceptor {
    /// The next connection. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let (stream, peer) = self.socket.accept().await?;
        Ok((Socket { stream }, peer))
    }
}

/// A connected socket on a runtime.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
}

impl Socket {
    /// Sends without delay, asks a silent peer whether it is there, and gives up when what was sent stays
    /// unacknowledged for `unacknowledged_max` (after a cut, TCP's own retransmission would wait for many seconds).
    pub(super) fn tune(&self, unacknowledged_max: Duration) -> io::Result<()> {
        tcp::tune(&self.stream, unacknowledged_max)
    }

    /// The socket as bytes, for greetings before frames.
    pub(super) fn stream_mut(&mut self) -> &mut (impl AsyncRead + AsyncWrite + Unpin + use<>) {
        &mut self.stream
    }

    /// The two halves.
    pub(super) fn split(self) -> (SocketReader, SocketWriter) {
        self.stream.into_split()
    }

    /// Takes the socket off its runtime.
    pub(super) fn detach(self) -> io::Result<DetachedSocket> {
        Ok(DetachedSocket { stream: tcp::detach(self.stream)? })
    }
}

/// A socket on its way from one runtime to another.
#[derive(Debug)]
pub(super) struct DetachedSocket {
    stream: DetachedStream,
}

impl DetachedSocket {
    /// Puts the socket on the current runtime.
    pub(super) fn attach(self) -> io::Result<Socket> {
        Ok(Socket { stream: tcp::attach(self.stream)? })
    }
}

/// Why a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Nobody listens there: the process is gone.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The name has no address, now or ever before.
    #[error("the name does not resolve")]
    Unresolved,
    /// There is no way to the host.
    #[error("host unreachable")]
    Unreachable,
    /// Anything else, such as a lack of descriptors, of ports or of a network here.
    #[error("{0}")]
    Failed(io::ErrorKind),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        let known = [
            (io::ErrorKind::ConnectionRefused, Self::Refused),
            (io::ErrorKind::TimedOut, Self::TimedOut),
            (io::ErrorKind::HostUnreachable, Self::Unreachable),
        ];
        let kind = error.kind();
        known.into_iter().find(|(known, _)| *known == kind).map_or(Self::Failed(kind), |(_, error)| error)
    }
}

/// Dials one peer again and again.
#[derive(Debug)]
pub struct Dialer {
    target: HostPort,
    /// The addresses of the last lookup that gave any; stale while the name does not resolve.
    last: Vec<SocketAddr>,
    /// A lookup that outlived its dial. At most one runs, so that a dead resolver costs one thread for each peer.
    lookup: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl Dialer {
    /// A dialer for `target`.
    #[must_use]
    pub fn new(target: HostPort) -> Self {
        Self { target, last: Vec::new(), lookup: None }
    }

    /// Whom it dials.
    #[must_use]
    pub fn target(&self) -> &HostPort {
        &self.target
    }

    /// Resolves the name and connects, to each of its addresses in turn, all within `within`.
    ///
    /// # Errors
    /// What the last address said, or that the name has none.
    pub async fn dial(&mut self, within: Duration) -> Result<Socket, DialError> {
        let deadline = Instant::now() + within;
        self.resolve(deadline).await;
        let mut failure = DialError::Unresolved;
        for (index, address) in self.last.iter().enumerate() {
            match timeout_at(deadline, tcp::connect(*address)).await {
                Ok(Ok(stream)) => {
                    // What answered is tried first when the name is gone.
                    self.last.swap(0, index);
                    return Ok(Socket { stream });
                }
                Ok(Err(error)) => failure = error.into(),
                Err(_) => return Err(DialError::TimedOut),
            }
        }
        Err(failure)
    }

    async fn resolve(&mut self, deadline: Instant) {
        if let Ok(address) = self.target.host.parse::<IpAddr>() {
            self.last = vec![SocketAddr::new(address, self.target.port)];
            return;
        }
        let wait = if self.last.is_empty() { deadline } else { deadline.min(Instant::now() + RESOLVE_WAIT) };
        let (host, port) = (self.target.host.clone(), self.target.port);
        let lookup = self.lookup.get_or_insert_with(|| tokio::spawn(look_up(host, port)));
        let Ok(found) = timeout_at(wait, lookup).await else { return };
        self.lookup = None;
        if let Ok(Ok(found)) = found
            && !found.is_empty()
        {
            self.last = found;
        }
    }
}

async fn look_up(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tcp::look_up(&host, port).await?.take(ADDRESSES_MAX).collect())
}

/// Connects to an address without a name.
pub(super) async fn connect(address: SocketAddr, within: Duration) -> Result<Socket, DialError> {
    match timeout(within, tcp::connect(address)).await {
        Ok(Ok(stream)) => Ok(Socket { stream }),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(DialError::TimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_dial_resolves_a_name_and_reaches_who_listens() {
        let listener = Listener::bind(&HostPort::new("127.0.0.1", 0), 8).expect("a free port");
        let address = listener.address();
        let acceptor = listener.acceptor().expect("a runtime");
        let mut dialer = Dialer::new(HostPort::new("localhost", address.port()));
        let socket = dialer.dial(WITHIN).await.expect("someone listens");
        socket.tune(WITHIN).expect("a live socket");
        let (_accepted, peer) = acceptor.accept().await.expect("a connection");
        assert_eq!(peer.ip(), address.ip());
        assert_eq!(dialer.last[0], address);
    }

    #[tokio::test]
    async fn a_name_that_is_gone_is_dialled_at_its_last_address() {
        let listener = Listener::bind(&HostPort::new("127.0.0.1", 0), 8).expect("a free port");
        let mut dialer = Dialer::new(HostPort::new("no-such-host.invalid", listener.address().port()));
        dialer.last = vec![listener.address()];
        dialer.dial(WITHIN).await.expect("the last address still answers");
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_and_an_unknown_name_is_unresolved() {
        let listener = Listener::bind(&HostPort::new("127.0.0.1", 0), 8).expect("a free port");
        let port = listener.address().port();
        drop(listener);
        let refused = Dialer::new(HostPort::new("127.0.0.1", port)).dial(WITHIN).await;
        assert_eq!(refused.expect_err("nobody listens"), DialError::Refused);
        let unresolved = Dialer::new(HostPort::new("no-such-host.invalid", 1)).dial(Duration::from_secs(20)).await;
        assert_eq!(unresolved.expect_err("there is no such name"), DialError::Unresolved);
    }

    #[test]
    fn a_port_in_use_is_named_in_the_error() {
        let first = Listener::bind(&HostPort::new("127.0.0.1", 0), 8).expect("a free port");
        let taken = HostPort::new("127.0.0.1", first.address().port());
        let error = Listener::bind(&taken, 8).expect_err("the port is taken");
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
    }
}
