//! A file whose bytes follow from their places, and which notes how far it was read.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::env::File;
use crate::transport::{Chunk, FileRange};

/// What a range of it claims to have.
pub(super) const PATTERN_BYTES: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Pattern {
    size: u64,
    read: AtomicU64,
}

impl Pattern {
    pub(super) fn new(size: usize) -> Self {
        Self { size: u64::try_from(size).expect("a size fits in 64 bits"), read: AtomicU64::new(0) }
    }

    pub(super) fn range(self: &Arc<Self>) -> Chunk {
        Chunk::File(FileRange {
            file: Arc::clone(self) as Arc<dyn File>,
            position: 0,
            size: PATTERN_BYTES,
            check: None,
        })
    }

    /// How far it was read.
    pub(super) fn read_to(&self) -> u64 {
        self.read.load(Ordering::SeqCst)
    }

    pub(super) fn byte(place: u64) -> u8 {
        (place % 251).to_be_bytes()[7]
    }
}

impl File for Pattern {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(position)).expect("a small file");
        let count = left.min(buffer.len());
        for (place, byte) in (position..).zip(&mut buffer[..count]) {
            *byte = Self::byte(place);
        }
        self.read.fetch_max(position + u64::try_from(count).expect("small"), Ordering::SeqCst);
        Ok(count)
    }

    /// Every other piece must be waited for.
    fn read_cached_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if (position >> 17) % 2 == 1 { Ok(None) } else { self.read_at(position, buffer).map(Some) }
    }

    fn write_at(&self, _: u64, _: &[&[u8]]) -> io::Result<()> {
        unreachable!("an answer writes no file")
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("an answer cuts no file")
    }

    fn sync_data(&self) -> io::Result<()> {
        unreachable!("an answer syncs no file")
    }
}
