//! The LZ4 frame format, as Kafka's clients use it: one frame of independent blocks.
//!
//! Stricter than the format, and as strict as the Java client, which must read what is stored: no linked blocks, no
//! dictionary, no skippable or further frames, an end mark, nothing after it.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::super::error::DecompressError;
use super::xxhash::XxHash32;

const MAGIC: u32 = 0x184D_2204;
const STORED: u32 = 1 << 31;
/// The most that one byte of a block can add to the output.
const RATIO_MAX: usize = 255;
/// What a short block may give beyond its ratio.
const SLACK_BYTES: usize = 64;

/// The blocks of one frame.
pub(super) struct Blocks<'a> {
    input: &'a [u8],
    block_bytes_max: usize,
    block_checksums: bool,
    content_bytes: Option<u64>,
    content_hash: Option<XxHash32>,
    output_bytes: u64,
    ended: bool,
}

impl<'a> Blocks<'a> {
    /// Reads the frame's header.
    pub(super) fn new(input: &'a [u8]) -> Result<Self, DecompressError> {
        let mut rest = input;
        if take_u32(&mut rest)? != MAGIC {
            return Err(broken("no lz4 frame"));
        }
        let descriptor = rest;
        let [flags, block] = *take(&mut rest, 2)? else { return Err(broken("lz4 header")) };
        if flags & 0b1100_0010 != 0b0100_0000 || block & 0b1000_1111 != 0 {
            return Err(broken("lz4 version"));
        }
        if flags & 0b0010_0000 == 0 {
            return Err(broken("lz4 linked blocks"));
        }
        if flags & 1 != 0 {
            return Err(broken("lz4 dictionary"));
        }
        let block_bytes_max = match block >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return Err(broken("lz4 block size")),
        };
        let content_bytes = if flags & 0b1000 == 0 {
            None
        } else {
            let size = take(&mut rest, 8)?;
            Some(u64::from_le_bytes(size.try_into().expect("eight bytes")))
        };
        let hash = XxHash32::of(&descriptor[..descriptor.len() - rest.len()]);
        if take(&mut rest, 1)?[0] != hash.to_le_bytes()[1] {
            return Err(broken("lz4 header checksum"));
        }
        Ok(Self {
            input: rest,
            block_bytes_max,
            block_checksums: flags & 0b1_0000 != 0,
            content_bytes,
            content_hash: (flags & 0b100 != 0).then(XxHash32::new),
            output_bytes: 0,
            ended: false,
        })
    }

    /// Replaces what `out` holds by the next block that is not empty; leaves it empty at the end.
    pub(super) fn next_block(&mut self, out: &mut Vec<u8>) -> Result<(), DecompressError> {
        out.clear();
        while out.is_empty() && !self.ended {
            match take_u32(&mut self.input)? {
                0 => self.end()?,
                size => self.block(size, out)?,
            }
        }
        Ok(())
    }

    fn block(&mut self, size: u32, out: &mut Vec<u8>) -> Result<(), DecompressError> {
        let bytes = usize::try_from(size & !STORED).expect("31 bits fit in a usize");
        if bytes > self.block_bytes_max {
            return Err(broken("lz4 block length"));
        }
        let block = take(&mut self.input, bytes)?;
        if self.block_checksums && take_u32(&mut self.input)? != XxHash32::of(block) {
            return Err(broken("lz4 block checksum"));
        }
        if size & STORED == 0 {
            out.resize(self.block_bytes_max.min(bytes * RATIO_MAX + SLACK_BYTES), 0);
            let size = lz4_flex::block::decompress_into(block, out).map_err(|_| broken("lz4 block"))?;
            out.truncate(size);
        } else {
            out.extend_from_slice(block);
        }
        if let Some(hash) = &mut self.content_hash {
            hash.write(out);
        }
        self.output_bytes += u64::try_from(out.len()).expect("a length fits in 64 bits");
        Ok(())
    }

    fn end(&mut self) -> Result<(), DecompressError> {
        self.ended = true;
        if let Some(hash) = &self.content_hash
            && take_u32(&mut self.input)? != hash.finish()
        {
            return Err(broken("lz4 content checksum"));
        }
        if self.content_bytes.is_some_and(|stated| stated != self.output_bytes) {
            return Err(broken("lz4 content size"));
        }
        if self.input.is_empty() { Ok(()) } else { Err(broken("bytes after the lz4 frame")) }
    }
}

/// Writes what the Java client writes: independent blocks of 64 KiB, no checksum but the header's.
pub(super) fn encoder<W: Write>(out: W) -> FrameEncoder<W> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    FrameEncoder::with_frame_info(info, out)
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], DecompressError> {
    let (head, tail) = input.split_at_checked(count).ok_or(broken("lz4 frame is cut short"))?;
    *input = tail;
    Ok(head)
}

fn take_u32(input: &mut &[u8]) -> Result<u32, DecompressError> {
    Ok(u32::from_le_bytes(take(input, 4)?.try_into().expect("four bytes")))
}

fn broken(reason: &'static str) -> DecompressError {
    DecompressError::Broken { reason }
}
