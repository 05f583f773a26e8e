//! Writes frames to a socket, in vectored writes, without joining their chunks.
//!
//! Called by `connection`, `client`, `peers` and `liveness`. Invariant: a peer that does not read holds up its writer
//! for a bounded time only.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout_at};

use super::socket::SocketWriter;

/// How many chunks go into one system call.
const SLICES_MAX: usize = 64;
/// A peer must take at least this much within the stall deadline, or all that is left; one that takes a byte now and
/// then would hold our memory as long as one that takes none.
const PROGRESS_BYTES_MIN: usize = 64 * 1024;

/// Why a frame did not leave.
#[derive(Debug)]
pub(super) enum SendError {
    /// The peer did not read in time.
    Stalled,
    /// The connection is gone.
    Closed,
}

/// Frames on their way to one socket.
#[derive(Debug)]
pub(super) struct FrameWriter {
    writer: SocketWriter,
    chunks: VecDeque<Bytes>,
    stall_deadline: Duration,
}

impl FrameWriter {
    /// Writes to `writer`; a peer that takes nothing for `stall_deadline` has failed.
    pub(super) fn new(writer: SocketWriter, stall_deadline: Duration) -> Self {
        Self { writer, chunks: VecDeque::new(), stall_deadline }
    }

    /// Adds a frame: its length, then its chunks. Nothing is sent yet.
    pub(super) fn push(&mut self, chunks: Vec<Bytes>) {
        let len: usize = chunks.iter().map(Bytes::len).sum();
        let len = i32::try_from(len).expect("a frame that we make is below 2 GiB");
        self.chunks.push_back(Bytes::copy_from_slice(&len.to_be_bytes()));
        self.chunks.extend(chunks.into_iter().filter(|chunk| !chunk.is_empty()));
    }

    /// Whether all that was added has been sent.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Sends all that was added; returns how many bytes that were. Dropped half way it goes on where it was.
    pub(super) async fn flush(&mut self) -> Result<usize, SendError> {
        let mut sent = 0;
        let mut progress = 0;
        let mut deadline = Instant::now() + self.stall_deadline;
        while !self.chunks.is_empty() {
            let taken = timeout_at(deadline, self.write_some()).await.map_err(|_| SendError::Stalled)?;
            let taken = taken.map_err(|_| SendError::Closed)?;
            if taken == 0 {
                return Err(SendError::Closed);
            }
            sent += taken;
            progress += taken;
            if progress >= PROGRESS_BYTES_MIN {
                progress = 0;
                deadline = Instant::now() + self.stall_deadline;
            }
        }
        Ok(sent)
    }

    async fn write_some(&mut self) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
            used += 1;
        }
        let taken = self.writer.write_vectored(&slices[..used]).await?;
        self.advance(taken);
        Ok(taken)
    }

    fn advance(&mut self, mut taken: usize) {
        while taken > 0 {
            let front = self.chunks.front_mut().expect("the socket took no more than it was given");
            if taken < front.len() {
                front.advance(taken);
                return;
            }
            taken -= front.len();
            self.chunks.pop_front();
        }
    }
}
