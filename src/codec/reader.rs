//! Reads primitives from bytes that are not trusted.
//!
//! Invariant: every method checks the length before it takes; byte fields are slices of the input, never copies.

use bytes::{Buf, Bytes};

use super::DecodeError;

/// The array elements that all arrays of one request may have together. A request of 100 MiB could otherwise ask for
/// gigabytes of small structs. Each may cost a kilobyte until it is answered; a follower names 10,000 of
/// its partitions at once.
pub const ELEMENTS_MAX: usize = 48 << 10;

/// Bytes and the place reached in them.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    elements_left: usize,
}

/// Declares the reading of a number of fixed size.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $type:ty, $get:ident) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// When too few bytes remain.
        #[inline]
        pub fn $name(&mut self) -> Result<$type, DecodeError> {
            self.need(size_of::<$type>())?;
            Ok(self.bytes.$get())
        }
    };
}

impl Reader {
    /// Reads a request, with at most `ELEMENTS_MAX` array elements.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self::with_elements_max(bytes, ELEMENTS_MAX)
    }

    /// Reads with another bound on array elements.
    #[must_use]
    pub fn with_elements_max(bytes: Bytes, elements_max: usize) -> Self {
        Self { bytes, elements_left: elements_max }
    }

    /// The bytes not yet read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    number! {
        /// Reads a signed byte.
        i8, i8, get_i8
    }
    number! {
        /// Reads a byte.
        u8, u8, get_u8
    }
    number! {
        /// Reads a 16-bit integer.
        i16, i16, get_i16
    }
    number! {
        /// Reads an unsigned 16-bit integer.
        u16, u16, get_u16
    }
    number! {
        /// Reads a 32-bit integer.
        i32, i32, get_i32
    }
    number! {
        /// Reads an unsigned 32-bit integer.
        u32, u32, get_u32
    }
    number! {
        /// Reads a 64-bit integer.
        i64, i64, get_i64
    }
    number! {
        /// Reads a 64-bit float.
        f64, f64, get_f64
    }

    /// Takes the next `size` bytes without copying them.
    ///
    /// # Errors
    /// When fewer remain.
    pub fn take(&mut self, size: usize) -> Result<Bytes, DecodeError> {
        self.need(size)?;
        Ok(self.bytes.split_to(size))
    }

    /// Passes over the next `size` bytes.
    ///
    /// # Errors
    /// When fewer remain.
    pub fn skip(&mut self, size: usize) -> Result<(), DecodeError> {
        self.need(size)?;
        self.bytes.advance(size);
        Ok(())
    }

    /// Takes the next `N` bytes by value.
    ///
    /// # Errors
    /// When fewer remain.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.need(N)?;
        let mut value = [0; N];
        self.bytes.copy_to_slice(&mut value);
        Ok(value)
    }

    /// Reads an unsigned variable-length integer of at most 32 bits.
    ///
    /// # Errors
    /// When it ends early, is larger than that, or is padded.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.base128(5)?).map_err(|_| DecodeError::Varint)
    }

    /// Reads a zigzag variable-length integer of at most 32 bits.
    ///
    /// # Errors
    /// When it ends early, is larger than that, or is padded.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let value = self.unsigned_varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads a zigzag variable-length integer of at most 64 bits.
    ///
    /// # Errors
    /// When it ends early, is larger than that, or is padded.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let value = self.base128(10)?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Notes that an array of `count` elements follows, each of at least `size_min` bytes.
    ///
    /// # Errors
    /// When the remaining bytes cannot hold them, or the message has had its share of elements.
    pub fn claim(&mut self, count: usize, size_min: usize) -> Result<(), DecodeError> {
        let remaining = self.remaining();
        if count > remaining / size_min.max(1) {
            return Err(DecodeError::ArrayTooLong { count, remaining });
        }
        self.elements_left = self.elements_left.checked_sub(count).ok_or(DecodeError::TooManyElements)?;
        Ok(())
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When bytes remain.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(DecodeError::Trailing { remaining }),
        }
    }

    /// Seven bits a byte, least significant first. Kafka takes padded forms, too; no client writes them and a value
    /// with two encodings is a gift to smugglers.
    fn base128(&mut self, bytes_max: u32) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for index in 0..bytes_max {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * index);
            if shifted >> (7 * index) != bits {
                return Err(DecodeError::Varint);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                let padded = byte == 0 && index > 0;
                return if padded { Err(DecodeError::Varint) } else { Ok(value) };
            }
        }
        Err(DecodeError::Varint)
    }

    #[inline]
    fn need(&self, needed: usize) -> Result<(), DecodeError> {
        let remaining = self.remaining();
        if remaining < needed { Err(DecodeError::Short { needed, remaining }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(bytes: &'static [u8], read: fn(&mut Reader) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
        let mut reader = Reader::new(Bytes::from_static(bytes));
        let value = read(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }

    #[test]
    fn varints_have_one_encoding_and_a_bound() {
        assert_eq!(read(&[0], Reader::unsigned_varint), Ok(0));
        assert_eq!(read(&[0x80, 1], Reader::unsigned_varint), Ok(128));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f], Reader::unsigned_varint), Ok(u32::MAX));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f], Reader::unsigned_varint), Err(DecodeError::Varint));
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 1], Reader::unsigned_varint), Err(DecodeError::Varint));
        assert_eq!(read(&[0x80, 0], Reader::unsigned_varint), Err(DecodeError::Varint));
        assert_eq!(read(&[0x80], Reader::unsigned_varint), Err(DecodeError::Short { needed: 1, remaining: 0 }));
    }

    #[test]
    fn zigzag_alternates_between_the_signs() {
        assert_eq!(read(&[1], Reader::varint), Ok(-1));
        assert_eq!(read(&[2], Reader::varint), Ok(1));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f], Reader::varint), Ok(i32::MIN));
        let lowest = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(read(lowest, Reader::varlong), Ok(i64::MIN));
        let beyond = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(read(beyond, Reader::varlong), Err(DecodeError::Varint));
    }

    #[test]
    fn a_count_is_checked_against_the_bytes_and_the_budget() {
        let mut reader = Reader::with_elements_max(Bytes::from_static(&[0; 8]), 3);
        assert_eq!(reader.claim(5, 2), Err(DecodeError::ArrayTooLong { count: 5, remaining: 8 }));
        assert_eq!(reader.claim(2, 4), Ok(()));
        assert_eq!(reader.claim(2, 4), Err(DecodeError::TooManyElements));
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        assert_eq!(read(&[0, 0, 0], Reader::i16), Err(DecodeError::Trailing { remaining: 1 }));
    }
}
