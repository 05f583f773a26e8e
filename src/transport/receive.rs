//! Reads length-prefixed frames from a socket.
//!
//! Called by `connection`, `client`, `peers` and `liveness`. Invariants: the buffer grows with what has been received,
//! never with what a frame claims to be; dropping a call half way loses no byte.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use super::budget::Share;
use super::socket::SocketReader;

/// The length in front of every frame.
pub(super) const LENGTH_BYTES: usize = 4;
/// What is read ahead at least, and what a frame may take without drawing on the budget: a bound for each connection.
pub(super) const READ_AHEAD_BYTES: usize = 16 * 1024;

/// Why there is no frame.
#[derive(Debug)]
pub(super) enum ReceiveError {
    /// The peer closed between two frames.
    Ended,
    /// The peer closed within a frame.
    Cut,
    /// The length is zero, negative or above the bound. These are the bytes it was read from.
    BadLength([u8; LENGTH_BYTES]),
    /// What the system said.
    Io(io::Error),
}

/// Frames from one socket.
#[derive(Debug)]
pub(super) struct FrameReader {
    reader: SocketReader,
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl FrameReader {
    /// Reads frames of at most `frame_bytes_max` from `reader`.
    pub(super) fn new(reader: SocketReader, frame_bytes_max: usize) -> Self {
        Self { reader, buffer: BytesMut::new(), frame_bytes_max }
    }

    /// Whether part of a frame has arrived.
    pub(super) fn has_started(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Waits until something of the next frame is there. Cancel-safe.
    pub(super) async fn started(&mut self) -> Result<(), ReceiveError> {
        if self.buffer.is_empty() {
            self.buffer.reserve(READ_AHEAD_BYTES);
            self.fill().await?;
        }
        Ok(())
    }

    /// The next frame, without its length. Charges `share` for what goes beyond the read-ahead. Cancel-safe.
    pub(super) async fn frame(&mut self, share: &mut Share) -> Result<Bytes, ReceiveError> {
        while self.buffer.len() < LENGTH_BYTES {
            self.buffer.reserve(READ_AHEAD_BYTES);
            self.fill().await?;
        }
        let whole = LENGTH_BYTES + self.claimed()?;
        while self.buffer.len() < whole {
            let more = (whole - self.buffer.len()).min(self.buffer.len().max(READ_AHEAD_BYTES));
            if self.buffer.capacity() - self.buffer.len() < more {
                // Charged before it is held. What a dropped call has charged stays in the share and is not charged
                // again, because the share counts up to the buffer's future size.
                share.grow_to((self.buffer.len() + more).saturating_sub(READ_AHEAD_BYTES)).await;
                self.buffer.reserve(more);
            }
            self.fill().await?;
        }
        let mut frame = self.buffer.split_to(whole);
        frame.advance(LENGTH_BYTES);
        Ok(frame.freeze())
    }

    /// Waits until the peer closes its side or breaks the connection, though nothing is wanted from it: without this a
    /// peer that left would go unnoticed for as long as its last request may wait. What it sends meanwhile is kept, up
    /// to the read-ahead; whoever sends more is noticed when it is answered. Cancel-safe.
    pub(super) async fn ended(&mut self) -> ReceiveError {
        loop {
            let room = READ_AHEAD_BYTES.saturating_sub(self.buffer.len());
            if room == 0 {
                std::future::pending::<()>().await;
            }
            self.buffer.reserve(room);
            if let Err(error) = self.fill().await {
                return error;
            }
        }
    }

    /// The bytes that would be the next frame's length, once its frame was asked for.
    fn claimed(&self) -> Result<usize, ReceiveError> {
        let prefix = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        let claimed = usize::try_from(i32::from_be_bytes(prefix)).unwrap_or(0);
        let is_sound = claimed > 0 && claimed <= self.frame_bytes_max;
        is_sound.then_some(claimed).ok_or(ReceiveError::BadLength(prefix))
    }

    async fn fill(&mut self) -> Result<(), ReceiveError> {
        let was_started = self.has_started();
        match self.reader.read_buf(&mut self.buffer).await {
            Ok(0) if was_started => Err(ReceiveError::Cut),
            Ok(0) => Err(ReceiveError::Ended),
            Ok(_) => Ok(()),
            Err(error) => Err(ReceiveError::Io(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::transport::{Dialer, HostPort, Listener};

    #[tokio::test]
    async fn a_claimed_length_takes_no_memory() {
        let listener = Listener::bind(&HostPort::new("127.0.0.1", 0), 8).expect("a free port");
        let mut dialer = Dialer::new(HostPort::new("127.0.0.1", listener.address().port()));
        let acceptor = listener.acceptor().expect("a runtime");
        let mut client = dialer.dial(Duration::from_secs(5)).await.expect("we listen");
        let (socket, _) = acceptor.accept().await.expect("a connection");
        let (reader, _writer) = socket.split();
        let mut frames = FrameReader::new(reader, 100 << 20);
        client.stream_mut().write_all(&[0x05, 0xff, 0, 0, 1, 2, 3]).await.expect("sent");
        drop(client);
        let outcome = frames.frame(&mut Share::unbudgeted()).await;
        assert!(matches!(outcome, Err(ReceiveError::Cut)));
        assert!(frames.buffer.capacity() <= 4 * READ_AHEAD_BYTES);
    }
}
