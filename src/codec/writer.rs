//! Writes primitives into a list of chunks, so that record batches go out without being copied.
//!
//! Invariant: the chunks in their order are the bytes that were put, in their order.

use bytes::{BufMut, Bytes, BytesMut};

/// Byte fields from this size on are shared with the output instead of copied: below it a copy is cheaper than one
/// more piece of a vectored write.
pub const SHARED_SIZE_MIN: usize = 512;

/// The bytes written so far.
#[derive(Debug, Default)]
pub struct Writer {
    copied: BytesMut,
    shared: Vec<Shared>,
    shared_size: usize,
}

/// What stands before `copied[at]` and was not copied.
#[derive(Debug)]
struct Shared {
    at: usize,
    piece: Piece,
}

/// A part of what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes; not empty.
    Bytes(Bytes),
    /// Room for bytes that somebody else has.
    Gap {
        /// How many.
        size: usize,
    },
}

/// Declares the writing of a number of fixed size.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $type:ty) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(&mut self, value: $type) {
            self.copied.$name(value);
        }
    };
}

impl Writer {
    /// Starts with nothing written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes were written.
    #[must_use]
    pub fn size(&self) -> usize {
        self.copied.len() + self.shared_size
    }

    number! {
        /// Writes a signed byte.
        put_i8, i8
    }
    number! {
        /// Writes a byte.
        put_u8, u8
    }
    number! {
        /// Writes a 16-bit integer.
        put_i16, i16
    }
    number! {
        /// Writes an unsigned 16-bit integer.
        put_u16, u16
    }
    number! {
        /// Writes a 32-bit integer.
        put_i32, i32
    }
    number! {
        /// Writes an unsigned 32-bit integer.
        put_u32, u32
    }
    number! {
        /// Writes a 64-bit integer.
        put_i64, i64
    }
    number! {
        /// Writes a 64-bit float.
        put_f64, f64
    }

    /// Copies bytes.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.copied.put_slice(bytes);
    }

    /// Writes bytes, sharing them when that pays.
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_SIZE_MIN {
            self.put_slice(bytes);
            return;
        }
        self.shared_size += bytes.len();
        self.shared.push(Shared { at: self.copied.len(), piece: Piece::Bytes(bytes.clone()) });
    }

    /// Leaves room for bytes that somebody else will put there.
    pub fn put_gap(&mut self, size: usize) {
        if size > 0 {
            self.shared_size += size;
            self.shared.push(Shared { at: self.copied.len(), piece: Piece::Gap { size } });
        }
    }

    /// Writes an unsigned variable-length integer.
    pub fn put_unsigned_varint(&mut self, value: u32) {
        self.put_base128(u64::from(value));
    }

    /// Writes a zigzag variable-length integer of 32 bits.
    pub fn put_varint(&mut self, value: i32) {
        self.put_base128(u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()));
    }

    /// Writes a zigzag variable-length integer of 64 bits.
    pub fn put_varlong(&mut self, value: i64) {
        self.put_base128(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// Writes all that another writer holds.
    pub fn append(&mut self, other: Self) {
        let offset = self.copied.len();
        self.copied.put_slice(&other.copied);
        self.shared_size += other.shared_size;
        self.shared.extend(other.shared.into_iter().map(|s| Shared { at: offset + s.at, piece: s.piece }));
    }

    /// Writes over the integer at the very front, which must have been copied there: the size of a frame is known last.
    ///
    /// # Panics
    /// When fewer than four bytes stand there.
    pub fn set_first_i32(&mut self, value: i32) {
        assert!(self.shared.first().is_none_or(|s| s.at >= 4), "the front was copied");
        self.copied[..4].copy_from_slice(&value.to_be_bytes());
    }

    /// Ends the writing.
    #[must_use]
    pub fn into_pieces(self) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut rest = self.copied.freeze();
        let mut taken = 0;
        for Shared { at, piece } in self.shared {
            if at > taken {
                pieces.push(Piece::Bytes(rest.split_to(at - taken)));
                taken = at;
            }
            pieces.push(piece);
        }
        if !rest.is_empty() {
            pieces.push(Piece::Bytes(rest));
        }
        pieces
    }

    /// Ends the writing. No chunk is empty.
    ///
    /// # Panics
    /// When room was left for somebody else's bytes.
    #[must_use]
    pub fn into_chunks(self) -> Vec<Bytes> {
        let bytes = |piece| match piece {
            Piece::Bytes(bytes) => bytes,
            Piece::Gap { .. } => panic!("who leaves gaps takes the pieces"),
        };
        self.into_pieces().into_iter().map(bytes).collect()
    }

    /// Ends the writing with one piece, copying what was shared.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.shared.is_empty() {
            return self.copied.freeze();
        }
        let mut all = BytesMut::with_capacity(self.size());
        for chunk in self.into_chunks() {
            all.put_slice(&chunk);
        }
        all.freeze()
    }

    fn put_base128(&mut self, mut value: u64) {
        while value >= 0x80 {
            let low = u8::try_from(value & 0x7f).expect("seven bits fit in a byte");
            self.put_u8(low | 0x80);
            value >>= 7;
        }
        self.put_u8(u8::try_from(value).expect("seven bits fit in a byte"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    #[test]
    fn large_bytes_are_shared_and_small_ones_are_copied() {
        let large = Bytes::from(vec![7; SHARED_SIZE_MIN]);
        let mut writer = Writer::new();
        writer.put_i32(0);
        writer.put_bytes(&Bytes::from_static(b"small"));
        writer.put_bytes(&large);
        writer.put_bytes(&large);
        writer.put_i8(9);
        let size = writer.size();
        writer.set_first_i32(3);
        let chunks = writer.into_chunks();
        let sizes: Vec<_> = chunks.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [9, SHARED_SIZE_MIN, SHARED_SIZE_MIN, 1]);
        assert_eq!(size, sizes.iter().sum::<usize>());
        assert_eq!(&chunks[0][..], b"\0\0\0\x03small");
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
    }

    #[test]
    fn an_appended_writer_keeps_its_order() {
        let large = Bytes::from(vec![7; SHARED_SIZE_MIN]);
        let mut inner = Writer::new();
        inner.put_u8(2);
        inner.put_bytes(&large);
        inner.put_u8(3);
        let mut outer = Writer::new();
        outer.put_u8(1);
        outer.append(inner);
        let bytes = outer.into_bytes();
        assert_eq!(bytes.len(), SHARED_SIZE_MIN + 3);
        assert_eq!((bytes[0], bytes[1], bytes[2], bytes[bytes.len() - 1]), (1, 2, 7, 3));
    }

    #[test]
    fn a_written_varint_reads_back() {
        for value in [0, 1, -1, 63, 64, -64, -65, i32::MAX, i32::MIN] {
            let mut writer = Writer::new();
            writer.put_varint(value);
            writer.put_varlong(i64::from(value) * 3);
            writer.put_unsigned_varint(value.cast_unsigned());
            let mut reader = Reader::new(writer.into_bytes());
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.varlong(), Ok(i64::from(value) * 3));
            assert_eq!(reader.unsigned_varint(), Ok(value.cast_unsigned()));
            assert_eq!(reader.finish(), Ok(()));
        }
    }
}
