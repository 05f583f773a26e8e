//! Big-endian integers out of untrusted bytes.
//!
//! Invariant: too few bytes are `None`, never a panic.

/// Integers at a place.
pub(super) trait BytesAt {
    fn i16_at(&self, at: usize) -> Option<i16>;
    fn u32_at(&self, at: usize) -> Option<u32>;
}

impl BytesAt for [u8] {
    fn i16_at(&self, at: usize) -> Option<i16> {
        Cursor::new(self.get(at..)?).i16()
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        Cursor::new(self.get(at..)?).u32()
    }
}

/// Integers one behind the other.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}
