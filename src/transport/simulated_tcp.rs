//! TCP over turmoil's network: the only file that names turmoil.
//!
//! Called by `socket` in place of `tcp.rs`, and by the simulation, which makes the faults. turmoil delivers, delays and
//! drops segments. What it leaves out of TCP, and this file adds, because the nodes rely on it:
//!
//! * who dials across a cut hears nothing, where turmoil says "refused", which to us proves a process dead;
//! * who dials a host whose process has ended is refused, where turmoil keeps the dial until the host is back;
//! * nothing is sent again, so a connection over which something was lost is of no more use: each side that sends on
//!   it finds out after its user timeout, each side that only waits when its keepalive fails.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use turmoil::net;

use super::HostPort;
use crate::threads;

pub(super) use TcpListener as BoundListener;
pub(super) use TcpStream as DetachedStream;

/// When the kernel gives up an idle connection whose peer does not answer: see `tcp.rs`.
const KEEPALIVE_FAILS: Duration = Duration::from_secs(25);
/// As long as a segment may be under way: what was sent within it before a cut may be lost.
const LATENCY_MAX: Duration = Duration::from_millis(200);
/// What a dial takes that is refused.
const REFUSAL_DELAY: Duration = Duration::from_millis(1);
/// A socket that nobody has tuned.
const USER_TIMEOUT: Duration = Duration::from_secs(15);

/// The faults of the network, of this thread's simulation. The simulation makes the same ones in turmoil.
#[derive(Debug, Default)]
pub struct SimulatedNetwork {
    /// Directions in which nothing is delivered.
    cut: BTreeSet<(IpAddr, IpAddr)>,
    /// How often something was cut between two hosts, lesser address first.
    cuts: BTreeMap<(IpAddr, IpAddr), u64>,
    /// Between whom everything waits, lesser address first, and since when.
    held: BTreeMap<(IpAddr, IpAddr), Duration>,
    /// Hosts whose process has ended, and whose kernel says so.
    ended: BTreeSet<IpAddr>,
    /// The open connections between hosts.
    lines: BTreeMap<(SocketAddr, SocketAddr), Weak<Line>>,
}

thread_local! {
    static NETWORK: RefCell<SimulatedNetwork> = RefCell::default();
}

fn pair<A: Ord>(one: A, other: A) -> (A, A) {
    if one <= other { (one, other) } else { (other, one) }
}

impl SimulatedNetwork {
    /// Begins anew, for the next simulation on this thread.
    pub fn reset() {
        NETWORK.set(Self::default());
    }

    /// Nothing is delivered any more from one host to another; what was under way is lost.
    pub fn cut(from: IpAddr, to: IpAddr) {
        let lines = NETWORK.with_borrow_mut(|network| {
            network.cut.insert((from, to));
            *network.cuts.entry(pair(from, to)).or_default() += 1;
            network.lines.retain(|_, line| line.strong_count() > 0);
            let between = |(one, other): &(SocketAddr, SocketAddr)| pair(one.ip(), other.ip()) == pair(from, to);
            let lines = network.lines.iter().filter(|(ends, _)| between(ends));
            lines.filter_map(|(_, line)| line.upgrade()).collect::<Vec<_>>()
        });
        lines.iter().for_each(|line| line.lock().cut());
    }

    /// What is sent between two hosts waits from `now` on; a cut before it is delivered loses it.
    pub fn hold(one: IpAddr, other: IpAddr, now: Duration) {
        NETWORK.with_borrow_mut(|network| *network.held.entry(pair(one, other)).or_insert(now));
    }

    /// Between two hosts everything is delivered again.
    pub fn mend(one: IpAddr, other: IpAddr) {
        NETWORK.with_borrow_mut(|network| {
            network.cut.remove(&(one, other));
            network.cut.remove(&(other, one));
            network.held.remove(&pair(one, other));
        });
    }

    /// The process of a host has ended; its kernel refuses who dials.
    pub fn end(host: IpAddr) {
        NETWORK.with_borrow_mut(|network| network.ended.insert(host));
    }

    /// The process of a host runs.
    pub fn begin(host: IpAddr) {
        NETWORK.with_borrow_mut(|network| network.ended.remove(&host));
    }

    /// What was sent since then may be lost; `None` while nothing is.
    fn lost_since(one: IpAddr, other: IpAddr, now: Duration) -> Option<Duration> {
        let held = NETWORK.with_borrow(|network| network.held.get(&pair(one, other)).copied());
        let begin = held.unwrap_or(now).saturating_sub(LATENCY_MAX);
        Self::is_cut(one, other).then_some(begin)
    }

    fn is_cut(one: IpAddr, other: IpAddr) -> bool {
        NETWORK.with_borrow(|network| network.cut.contains(&(one, other)) || network.cut.contains(&(other, one)))
    }

    fn cuts(one: IpAddr, other: IpAddr) -> u64 {
        NETWORK.with_borrow(|network| network.cuts.get(&pair(one, other)).copied().unwrap_or_default())
    }

    fn has_ended(host: IpAddr) -> bool {
        NETWORK.with_borrow(|network| network.ended.contains(&host))
    }

    /// The line between two sockets, which both ends share.
    fn line(me: SocketAddr, peer: SocketAddr) -> Arc<Line> {
        NETWORK.with_borrow_mut(|network| {
            let known = network.lines.get(&pair(me, peer)).and_then(Weak::upgrade);
            // A pair of ports may come again after its connection has ended.
            known.filter(|line| !line.lock().is_held_by(me)).unwrap_or_else(|| {
                let line = Arc::new(Line::default());
                network.lines.insert(pair(me, peer), Arc::downgrade(&line));
                line
            })
        })
    }
}

/// What both ends of a connection know of it, each seen from its own socket's address.
#[derive(Debug, Default)]
struct Line {
    /// Held for a few assignments.
    ends: Mutex<Ends>,
}

#[derive(Debug, Default)]
struct Ends(BTreeMap<SocketAddr, End>);

#[derive(Debug)]
struct End {
    user_timeout: Duration,
    last_sent: Option<Duration>,
    /// When something that this end sent was lost.
    lost: Option<Duration>,
    readers: Vec<Waker>,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    fn is_held_by(&self, end: SocketAddr) -> bool {
        self.0.contains_key(&end)
    }

    /// Wakes who reads, so that it looks.
    fn cut(&mut self) {
        self.0.values_mut().flat_map(|end| end.readers.drain(..)).for_each(Waker::wake);
    }

    /// Notes what this end has lost, as of now.
    fn look(&mut self, me: SocketAddr, now: Duration, is_sending: bool, lost_since: Option<Duration>) {
        let Some(end) = self.0.get_mut(&me) else { return };
        if is_sending {
            end.last_sent = Some(now);
        }
        let is_lost = lost_since.zip(end.last_sent).is_some_and(|(since, sent)| sent >= since);
        if is_lost && end.lost.is_none() {
            end.lost = Some(now);
            self.cut();
        }
    }

    /// When this end gives the connection up.
    fn given_up(&self, me: SocketAddr) -> Option<Duration> {
        let by_kernel = |(whose, end): (&SocketAddr, &End)| {
            let patience = if *whose == me { end.user_timeout } else { KEEPALIVE_FAILS };
            end.lost.map(|lost| lost + patience)
        };
        self.0.iter().filter_map(by_kernel).min()
    }
}

fn now() -> Duration {
    turmoil::sim_elapsed().expect("sockets are used on a simulated host")
}

/// Binds and listens; says where. Every address of the host, whatever is asked for.
pub(super) fn listen(address: &HostPort, _backlog: u32) -> io::Result<(BoundListener, SocketAddr)> {
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port);
    let socket = net::TcpListener::bind(any).now_or_never().expect("turmoil binds at once")?;
    let address = socket.local_addr()?;
    Ok((TcpListener { socket }, address))
}

/// Puts a listener on the current runtime: there is one for each host.
pub(super) fn serve(listener: BoundListener) -> io::Result<TcpListener> {
    Ok(listener)
}

/// A listener.
pub(super) struct TcpListener {
    socket: net::TcpListener,
}

impl std::fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpListener").finish_non_exhaustive()
    }
}

impl TcpListener {
    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, from) = self.socket.accept().await?;
        Ok((TcpStream::new(stream)?, from))
    }
}

/// Connects. Hears nothing where something is cut, in whatever direction; the caller has a deadline.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let host = address.ip();
    let me = turmoil::lookup(threads::host_name());
    let cuts = SimulatedNetwork::cuts(me, host);
    if SimulatedNetwork::is_cut(me, host) {
        return std::future::pending().await;
    }
    if SimulatedNetwork::has_ended(host) {
        tokio::time::sleep(REFUSAL_DELAY).await;
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let outcome = net::TcpStream::connect(address).await;
    if SimulatedNetwork::cuts(me, host) != cuts {
        return std::future::pending().await;
    }
    TcpStream::new(outcome?)
}

/// A connection.
#[derive(Debug)]
pub(super) struct TcpStream {
    stream: net::TcpStream,
    side: Side,
}

impl TcpStream {
    fn new(stream: net::TcpStream) -> io::Result<Self> {
        let side = Side::new(stream.local_addr()?, stream.peer_addr()?);
        Ok(Self { stream, side })
    }

    pub(super) fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let (reader, writer) = self.stream.into_split();
        let side = self.side.clone();
        (OwnedReadHalf { reader, side: self.side }, OwnedWriteHalf { writer, side })
    }
}

/// See `Socket::tune`.
pub(super) fn tune(stream: &TcpStream, unacknowledged_max: Duration) -> io::Result<()> {
    if let Some(end) = stream.side.line.lock().0.get_mut(&stream.side.me) {
        end.user_timeout = unacknowledged_max;
    }
    Ok(())
}

/// There is one runtime for each host.
pub(super) fn detach(stream: TcpStream) -> io::Result<DetachedStream> {
    Ok(stream)
}

/// There is one runtime for each host.
pub(super) fn attach(stream: DetachedStream) -> io::Result<TcpStream> {
    Ok(stream)
}

/// The address of a name.
pub(super) async fn look_up(host: &str, port: u16) -> io::Result<impl Iterator<Item = SocketAddr>> {
    Ok(std::iter::once(SocketAddr::new(turmoil::lookup(host), port)))
}

/// One end's view of its line.
#[derive(Debug)]
struct Side {
    me: SocketAddr,
    peer: SocketAddr,
    line: Arc<Line>,
    /// Until the line is given up, once something was lost.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Clone for Side {
    fn clone(&self) -> Self {
        Self { me: self.me, peer: self.peer, line: Arc::clone(&self.line), alarm: None }
    }
}

impl Side {
    fn new(me: SocketAddr, peer: SocketAddr) -> Self {
        // A host's connection to itself is never cut, and its two ends may have one address.
        let line = if me.ip() == peer.ip() { Arc::default() } else { SimulatedNetwork::line(me, peer) };
        let end = End { user_timeout: USER_TIMEOUT, last_sent: None, lost: None, readers: Vec::new() };
        line.lock().0.insert(me, end);
        Self { me, peer, line, alarm: None }
    }

    /// Fails once the line is given up; else sees to it that the task is woken when it is.
    fn check(&mut self, context: &mut Context<'_>, is_sending: bool) -> io::Result<()> {
        let now = now();
        let lost_since = SimulatedNetwork::lost_since(self.me.ip(), self.peer.ip(), now);
        let mut ends = self.line.lock();
        ends.look(self.me, now, is_sending, lost_since);
        let Some(end) = ends.given_up(self.me) else {
            if !is_sending && let Some(end) = ends.0.get_mut(&self.me) {
                end.readers.retain(|known| !known.will_wake(context.waker()));
                end.readers.push(context.waker().clone());
            }
            return Ok(());
        };
        drop(ends);
        if end <= now {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let alarm = self.alarm.insert(Box::pin(sleep(end - now)));
        let _ = alarm.as_mut().poll(context);
        Ok(())
    }
}

/// The half that reads.
#[derive(Debug)]
pub(super) struct OwnedReadHalf {
    reader: net::tcp::OwnedReadHalf,
    side: Side,
}

/// The half that writes.
#[derive(Debug)]
pub(super) struct OwnedWriteHalf {
    writer: net::tcp::OwnedWriteHalf,
    side: Side,
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.side.check(cx, false)?;
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.side.check(cx, true)?;
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.side.check(cx, false)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.side.check(cx, true)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
