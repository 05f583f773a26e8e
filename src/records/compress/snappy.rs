//! Snappy: one raw block (librdkafka, kafka-python) or snappy-java's framing of many (the Java client).
//!
//! The framing is `\x82SNAPPY\0`, two versions, then blocks, each after its length as a big endian i32. Streams may
//! follow each other, as snappy-java allows.

use std::io::{self, Write};

const MAGIC: &[u8] = b"\x82SNAPPY\0";
const HEADER: &[u8] = b"\x82SNAPPY\0\x00\x00\x00\x01\x00\x00\x00\x01";
/// The block size of snappy-java.
const BLOCK_BYTES: usize = 32 << 10;
/// A copy of 64 bytes takes 3: no block gives more than this per byte.
const RATIO_MAX: usize = 22;

/// The blocks of the input.
pub(super) struct Blocks<'a> {
    input: &'a [u8],
    framed: bool,
}

/// Why there is no next block.
pub(super) enum BlockError {
    Broken,
    TooLarge,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, framed: input.starts_with(MAGIC) }
    }

    /// Replaces what `out` holds by the next block that is not empty, of at most `room` bytes; leaves it empty at the
    /// end.
    pub(super) fn next_block(&mut self, out: &mut Vec<u8>, room: usize) -> Result<(), BlockError> {
        out.clear();
        while out.is_empty() && !self.input.is_empty() {
            let block = if self.framed { self.take_framed()? } else { std::mem::take(&mut self.input) };
            uncompress(block, out, room)?;
        }
        Ok(())
    }

    /// The next block's bytes, after any header before it.
    fn take_framed(&mut self) -> Result<&'a [u8], BlockError> {
        while self.input.starts_with(MAGIC) {
            self.input = self.input.get(HEADER.len()..).ok_or(BlockError::Broken)?;
        }
        let (size, rest) = self.input.split_first_chunk::<4>().ok_or(BlockError::Broken)?;
        let size = usize::try_from(i32::from_be_bytes(*size)).map_err(|_| BlockError::Broken)?;
        let (block, rest) = rest.split_at_checked(size).ok_or(BlockError::Broken)?;
        self.input = rest;
        Ok(block)
    }
}

fn uncompress(block: &[u8], out: &mut Vec<u8>, room: usize) -> Result<(), BlockError> {
    let claimed = snap::raw::decompress_len(block).map_err(|_| BlockError::Broken)?;
    if claimed > block.len().saturating_mul(RATIO_MAX) {
        return Err(BlockError::Broken);
    }
    if claimed > room {
        return Err(BlockError::TooLarge);
    }
    out.resize(claimed, 0);
    snap::raw::Decoder::new().decompress(block, out).map_err(|_| BlockError::Broken)?;
    Ok(())
}

/// Writes snappy-java's framing.
pub(in crate::records) struct Writer<W: Write> {
    out: W,
    pending: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(HEADER)?;
        Ok(Self { out, pending: Vec::with_capacity(BLOCK_BYTES), encoder: snap::raw::Encoder::new() })
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.pending.is_empty() {
            self.block()?;
        }
        Ok(self.out)
    }

    fn block(&mut self) -> io::Result<()> {
        let block = self.encoder.compress_vec(&self.pending).map_err(io::Error::other)?;
        let size = i32::try_from(block.len()).expect("a block of 32 KiB stays small");
        self.out.write_all(&size.to_be_bytes())?;
        self.out.write_all(&block)?;
        self.pending.clear();
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK_BYTES - self.pending.len());
        self.pending.extend_from_slice(&bytes[..count]);
        if self.pending.len() == BLOCK_BYTES {
            self.block()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
