//! Writes frames to a socket, in vectored writes, without joining their chunks.
//!
//! Called by `connection`, `client`, `peers` and `liveness`. Invariants: a peer that does not read holds up its writer
//! for a bounded time only; of a file's range no more is in memory than the socket may take next.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout_at};

use super::handler::Chunk;
use super::socket::SocketWriter;
use crate::env::File;
use crate::threads;

/// How many chunks go into one system call.
const SLICES_MAX: usize = 64;
/// How much of files is read ahead of the socket: enough for few system calls, little for many connections.
const PIECE_BYTES: usize = 128 * 1024;
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
    /// A file's range cannot be read. Part of its frame may have been sent, so nothing can follow it.
    Unreadable(io::Error),
}

/// Frames on their way to one socket.
#[derive(Debug)]
pub(super) struct FrameWriter {
    writer: SocketWriter,
    chunks: VecDeque<Chunk>,
    stall_deadline: Duration,
}

impl FrameWriter {
    /// Writes to `writer`; a peer that takes nothing for `stall_deadline` has failed.
    pub(super) fn new(writer: SocketWriter, stall_deadline: Duration) -> Self {
        Self { writer, chunks: VecDeque::new(), stall_deadline }
    }

    /// Adds a frame: its length, then its chunks. Nothing is sent yet.
    pub(super) fn push(&mut self, chunks: Vec<Bytes>) {
        self.push_chunks(chunks.into_iter().map(Chunk::Bytes).collect());
    }

    /// As `push`, with ranges of files among the chunks.
    pub(super) fn push_chunks(&mut self, chunks: Vec<Chunk>) {
        let len: usize = chunks.iter().map(Chunk::size).sum();
        let len = i32::try_from(len).expect("a frame that we make is below 2 GiB");
        self.chunks.push_back(Chunk::Bytes(Bytes::copy_from_slice(&len.to_be_bytes())));
        self.chunks.extend(chunks.into_iter().filter(|chunk| chunk.size() > 0));
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
            self.load().await.map_err(SendError::Unreadable)?;
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

    /// Reads of the foremost files what the next write should take. Cancel-safe.
    async fn load(&mut self) -> io::Result<()> {
        let (mut ready, mut at) = (0, 0);
        while ready < PIECE_BYTES && at < SLICES_MAX {
            match self.chunks.get(at) {
                None => return Ok(()),
                Some(Chunk::Bytes(bytes)) => ready += bytes.len(),
                Some(Chunk::File(range)) => {
                    let wanted = range.size.min(PIECE_BYTES);
                    let piece = read(Arc::clone(&range.file), range.position, wanted).await;
                    ready += wanted;
                    self.replace_front(at, piece, wanted)?;
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// Puts what was read of a file before the rest of its range, if it may be sent.
    fn replace_front(&mut self, at: usize, piece: io::Result<Bytes>, wanted: usize) -> io::Result<()> {
        let Some(Chunk::File(range)) = self.chunks.get_mut(at) else { unreachable!("a file was read there") };
        // With fewer bytes the file ends: a truncation has overtaken the reader, or the file is not what it was.
        let whole = |piece: &Bytes| piece.len() == wanted;
        let piece = piece.and_then(|p| if whole(&p) { Ok(p) } else { Err(io::ErrorKind::UnexpectedEof.into()) });
        let piece = piece.inspect_err(|cause| {
            if let Some(check) = &mut range.check {
                check.failed(cause);
            }
        })?;
        range.size -= piece.len();
        if let Some(check) = &mut range.check {
            check.check(&piece, range.size == 0)?;
        }
        range.position += u64::try_from(piece.len()).expect("a piece is small");
        if range.size == 0 {
            self.chunks[at] = Chunk::Bytes(piece);
        } else {
            self.chunks.insert(at, Chunk::Bytes(piece));
        }
        Ok(())
    }

    async fn write_some(&mut self) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            let Chunk::Bytes(bytes) = chunk else { break };
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        let taken = self.writer.write_vectored(&slices[..used]).await?;
        self.advance(taken);
        Ok(taken)
    }

    fn advance(&mut self, mut taken: usize) {
        while taken > 0 {
            let Some(Chunk::Bytes(front)) = self.chunks.front_mut() else {
                unreachable!("the socket took no more than it was given");
            };
            if taken < front.len() {
                front.advance(taken);
                return;
            }
            taken -= front.len();
            self.chunks.pop_front();
        }
    }
}

/// From the page cache here, from the disk on a thread that may wait. Fewer bytes than wanted where the file ends.
async fn read(file: Arc<dyn File>, position: u64, wanted: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; wanted];
    if let Some(count) = file.read_cached_at(position, &mut buffer)? {
        buffer.truncate(count);
        return Ok(buffer.into());
    }
    let read = move || file.read_at(position, &mut buffer).map(|count| (buffer, count));
    let (mut buffer, count) = threads::blocking(read).await.map_err(io::Error::other)??;
    buffer.truncate(count);
    Ok(buffer.into())
}
