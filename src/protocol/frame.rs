//! Frames: a size of four bytes, then that many bytes.
//!
//! Invariant: nothing is reserved for a size that was not checked.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::Writer;

/// The bytes of a frame's size.
pub const PREFIX_SIZE: usize = 4;

/// Kafka's `socket.request.max.bytes`.
pub const SIZE_MAX_DEFAULT: usize = 100 * 1024 * 1024;

/// Why four bytes are not the size of a frame we take. The connection must be closed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Zero or below: no frame is shorter than its header.
    #[error("a frame claims {size} bytes")]
    NotPositive {
        /// The size as read.
        size: i32,
    },
    /// More than the limit.
    #[error("a frame claims {size} bytes, more than {size_max}")]
    TooLarge {
        /// The size as read.
        size: usize,
        /// The limit.
        size_max: usize,
    },
    /// A TLS handshake: the client's security protocol does not match the listener's.
    #[error("a TLS handshake arrived on a plaintext listener")]
    LooksLikeTls,
    /// An HTTP request: a browser or a health check on the wrong port.
    #[error("an HTTP request arrived on a Kafka listener")]
    LooksLikeHttp,
}

/// Reads the size of a frame.
///
/// # Errors
/// When it is not positive or above `size_max`.
pub fn parse_size(prefix: [u8; PREFIX_SIZE], size_max: usize) -> Result<usize, FrameError> {
    let claimed = i32::from_be_bytes(prefix);
    let size = usize::try_from(claimed).unwrap_or(0);
    if size == 0 {
        return Err(FrameError::NotPositive { size: claimed });
    }
    if size <= size_max {
        return Ok(size);
    }
    Err(match &prefix {
        [0x16, 0x03, ..] => FrameError::LooksLikeTls,
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" | b"PRI " => FrameError::LooksLikeHttp,
        _ => FrameError::TooLarge { size, size_max },
    })
}

/// Takes one whole frame, without its size, from the front of what was received; `None` when it is not all there.
///
/// # Errors
/// As `parse_size`.
pub fn take(received: &mut BytesMut, size_max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = received.first_chunk() else { return Ok(None) };
    let size = parse_size(*prefix, size_max)?;
    if received.len() < PREFIX_SIZE + size {
        return Ok(None);
    }
    received.advance(PREFIX_SIZE);
    Ok(Some(received.split_to(size).freeze()))
}

/// A frame to be sent, its size in front, in pieces that share the memory of record batches. As a `Buf` it can be
/// written with one vectored write.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    chunks: VecDeque<Bytes>,
    remaining: usize,
}

impl Frame {
    /// The pieces behind the size, for a transport that writes the size itself.
    #[must_use]
    pub fn into_unsized_chunks(mut self) -> Vec<Bytes> {
        self.advance(PREFIX_SIZE);
        self.chunks.into()
    }

    /// The pieces not yet sent; none is empty.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter()
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let count = slices.len().min(self.chunks.len());
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "a frame is not advanced past its end");
        self.remaining -= count;
        while let Some(chunk) = self.chunks.front_mut() {
            if count < chunk.len() {
                chunk.advance(count);
                return;
            }
            count -= chunk.len();
            self.chunks.pop_front();
        }
    }
}

/// Starts a frame: its size is not known yet.
pub(super) fn start() -> Writer {
    let mut writer = Writer::new();
    writer.put_i32(0);
    writer
}

/// Fills in the size.
pub(super) fn finish(mut writer: Writer) -> Frame {
    let remaining = writer.size();
    let size = i32::try_from(remaining - PREFIX_SIZE).expect("a frame stays below 2 GiB");
    writer.set_first_i32(size);
    Frame { chunks: writer.into_chunks().into(), remaining }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_outside_its_bounds_is_refused() {
        assert_eq!(parse_size(100_i32.to_be_bytes(), 100), Ok(100));
        assert_eq!(parse_size(101_i32.to_be_bytes(), 100), Err(FrameError::TooLarge { size: 101, size_max: 100 }));
        assert_eq!(parse_size([0; 4], 100), Err(FrameError::NotPositive { size: 0 }));
        assert_eq!(parse_size([0xff; 4], 100), Err(FrameError::NotPositive { size: -1 }));
        assert_eq!(parse_size([0x80, 0, 0, 0], 100), Err(FrameError::NotPositive { size: i32::MIN }));
    }

    #[test]
    fn foreign_protocols_are_named() {
        assert_eq!(parse_size([0x16, 3, 1, 2], SIZE_MAX_DEFAULT), Err(FrameError::LooksLikeTls));
        assert_eq!(parse_size(*b"GET ", SIZE_MAX_DEFAULT), Err(FrameError::LooksLikeHttp));
    }

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let mut received = BytesMut::from(&b"\0\0\0"[..]);
        assert_eq!(take(&mut received, 100), Ok(None));
        received.extend_from_slice(b"\x02a");
        assert_eq!(take(&mut received, 100), Ok(None));
        received.extend_from_slice(b"b\0\0");
        assert_eq!(take(&mut received, 100), Ok(Some(Bytes::from_static(b"ab"))));
        assert_eq!(&received[..], b"\0\0");
    }

    #[test]
    fn a_frame_advances_over_its_chunks() {
        let mut writer = start();
        writer.put_bytes(&Bytes::from(vec![1; 600]));
        writer.put_i8(2);
        let mut frame = finish(writer);
        assert_eq!(frame.remaining(), 605);
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(frame.chunks_vectored(&mut slices), 3);
        frame.advance(5);
        assert_eq!((frame.chunks().count(), frame.chunk().len()), (2, 599));
        frame.advance(600);
        assert_eq!((frame.has_remaining(), frame.chunk().len()), (false, 0));
    }
}
