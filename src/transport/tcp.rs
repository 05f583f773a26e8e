//! TCP as the machine has it: the only file that names the network types of tokio and of the standard library besides
//! plain addresses.
//!
//! Called by `socket`. `simulated_tcp.rs` offers the same names over a simulated network; whatever is added here has to
//! be possible there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

pub(super) use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
pub(super) use tokio::net::{TcpListener, TcpStream};

use super::HostPort;

/// A listener that is on no runtime yet.
pub(super) type BoundListener = std::net::TcpListener;
/// A connection that is on no runtime.
pub(super) type DetachedStream = std::net::TcpStream;

/// Silence after which the kernel asks whether the peer is there, and how often it asks again.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES_MAX: u32 = 3;

/// Binds and listens; says where.
pub(super) fn listen(address: &HostPort, backlog: u32) -> io::Result<(BoundListener, SocketAddr)> {
    let target = if address.host.is_empty() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port)
    } else {
        let found = (address.host.as_str(), address.port).to_socket_addrs()?.next();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?
    };
    let socket = socket2::Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted node takes its port back at once, though old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&target.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    let socket = std::net::TcpListener::from(socket);
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Puts a listener on the current runtime.
pub(super) fn serve(listener: BoundListener) -> io::Result<TcpListener> {
    TcpListener::from_std(listener)
}

/// Connects.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// See `Socket::tune`.
pub(super) fn tune(stream: &TcpStream, unacknowledged_max: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES_MAX);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(unacknowledged_max))
}

/// Takes a connection off its runtime.
pub(super) fn detach(stream: TcpStream) -> io::Result<DetachedStream> {
    stream.into_std()
}

/// Puts a connection on the current runtime.
pub(super) fn attach(stream: DetachedStream) -> io::Result<TcpStream> {
    TcpStream::from_std(stream)
}

/// The addresses of a name.
pub(super) async fn look_up(host: &str, port: u16) -> io::Result<impl Iterator<Item = SocketAddr>> {
    tokio::net::lookup_host((host, port)).await
}
