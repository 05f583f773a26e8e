//! What the server asks of whoever serves requests.
//!
//! `api` implements `RequestHandler`; tests implement small ones. Which runs when:
//!
//! 1. `handle` is called in the order in which a connection's requests arrived, never twice at once for one
//!    connection. What it does before it returns, or in `Handled::Later`, is therefore ordered: an append enqueued
//!    there keeps its order.
//! 2. The returned future is polled until it gives its answer; answers leave in request order.
//! 3. The next request of the connection is handed over only after the answer has been written, unless `pipelines`
//!    says of both that they may overlap.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::env::File;

/// Where a request came from.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The name of the listener.
    pub listener: Arc<str>,
    /// The peer's address.
    pub peer: SocketAddr,
    /// Names the connection within this process; never used twice.
    pub connection: u64,
}

/// Serves the requests of a listener.
pub trait RequestHandler: Send + Sync + 'static {
    /// Takes one frame, without its length. Runs on a network task: it must not block.
    fn handle(&self, context: &RequestContext, frame: Bytes) -> Handled;

    /// Whether this frame may be handed over while earlier ones of which the same is true are unanswered. Looked at
    /// before `handle`, so it judges by the frame's first bytes (Produce: yes).
    fn pipelines(&self, frame: &[u8]) -> bool {
        let _ = frame;
        false
    }
}

/// What became of a frame at once.
pub enum Handled {
    /// The answer comes from this future.
    Pending(PendingAnswer),
    /// What must be done in the order of the connection's requests is done in this future: the next request is handed
    /// over only after it.
    Later(BoxFuture<'static, Handled>),
    /// The frame cannot be answered; the connection closes without a word, after the answers still owed.
    Close,
}

/// An answer in the making.
pub struct PendingAnswer {
    /// The name of the API, for metrics. From our own table, never from the client.
    pub api: &'static str,
    /// Gives the answer. Dropped when the connection dies first.
    pub answer: BoxFuture<'static, Answer>,
}

/// How a request ends.
#[derive(Debug)]
pub enum Answer {
    /// These chunks, header first, without the length, as one frame.
    Send {
        /// The parts of the response; written without being joined.
        chunks: Vec<Chunk>,
        /// For how long after it nothing more is read from the connection (KIP-219); zero for none.
        mute: Duration,
    },
    /// No response: Produce with acks=0 that succeeded.
    Silent {
        /// As above.
        mute: Duration,
    },
    /// The connection closes: Produce with acks=0 that failed, or bytes that make no sense.
    Close,
}

impl Answer {
    /// A response without throttling.
    #[must_use]
    pub fn send(chunks: Vec<Bytes>) -> Self {
        Self::send_chunks(chunks.into_iter().map(Chunk::Bytes).collect())
    }

    /// A response without throttling, parts of which are read from files as the peer takes them.
    #[must_use]
    pub fn send_chunks(chunks: Vec<Chunk>) -> Self {
        Self::Send { chunks, mute: Duration::ZERO }
    }
}

/// A part of a response.
#[derive(Debug)]
pub enum Chunk {
    /// Bytes.
    Bytes(Bytes),
    /// A range of a file. It is read in small pieces while it is sent: a peer that asks for much and takes nothing
    /// holds no memory.
    File(FileRange),
}

impl Chunk {
    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(range) => range.size,
        }
    }
}

/// Judges the bytes of a file's range before they are sent. Runs on a network task: it must not block.
pub trait RangeCheck: Debug + Send {
    /// Takes the next piece, each byte once, in order.
    ///
    /// # Errors
    /// It must not be sent, nor anything after it: the connection closes.
    fn check(&mut self, piece: &[u8], is_last: bool) -> io::Result<()>;

    /// The next piece cannot be read, or not all of it. Nothing is sent after that.
    fn failed(&mut self, cause: &io::Error);
}

/// A range of an open file.
#[derive(Debug)]
pub struct FileRange {
    /// The file.
    pub file: Arc<dyn File>,
    /// Where the range begins.
    pub position: u64,
    /// How many bytes it has.
    pub size: usize,
    /// What is to be said of them first.
    pub check: Option<Box<dyn RangeCheck>>,
}
