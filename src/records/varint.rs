//! Zig-zag varints, as records use them for every length and delta.
//!
//! Invariant: a value has at most 5 (32-bit) or 10 (64-bit) bytes, and bits beyond its width are refused.

/// Appends a 32-bit value.
pub(super) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put_i64(out, i64::from(value));
}

/// Appends a 64-bit value. A value that fits in 32 bits has the same form in both widths.
pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).expect("seven bits fit in a byte") | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).expect("less than 0x80 is left"));
}

/// How many bytes `value` takes.
pub(super) fn size_i64(value: i64) -> usize {
    let bits = 64 - ((value << 1) ^ (value >> 63)).leading_zeros();
    usize::try_from(bits.max(1).div_ceil(7)).expect("at most ten")
}

/// Collects the bytes of one value, the lowest seven bits first.
#[derive(Default)]
pub(super) struct Reading {
    bits: u64,
    shift: u32,
}

impl Reading {
    /// Takes the next byte. `Some(Some(raw))` when the value is whole, `Some(None)` when more bytes follow, `None`
    /// when the value has more than `width` bits.
    #[inline]
    pub(super) fn push(&mut self, byte: u8, width: u32) -> Option<Option<u64>> {
        let low = u64::from(byte & 0x7f);
        if self.shift + 7 > width && low >> (width - self.shift) != 0 {
            return None;
        }
        self.bits |= low << self.shift;
        if byte & 0x80 == 0 {
            return Some(Some(self.bits));
        }
        self.shift += 7;
        (self.shift < width).then_some(None)
    }
}

/// Undoes the zig-zag.
#[inline]
pub(super) fn signed(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], width: u32) -> Option<(i64, usize)> {
        let mut reading = Reading::default();
        for (at, byte) in bytes.iter().enumerate() {
            if let Some(raw) = reading.push(*byte, width)? {
                return Some((signed(raw), at + 1));
            }
        }
        None
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(value: i64) {
            let mut out = Vec::new();
            put_i64(&mut out, value);
            assert_eq!(out.len(), size_i64(value));
            assert_eq!(read(&out, 64), Some((value, out.len())));
        }

        #[test]
        fn the_narrow_form_is_read_again(value: i32) {
            let mut out = Vec::new();
            put_i32(&mut out, value);
            assert!(out.len() <= 5);
            assert_eq!(read(&out, 32), Some((i64::from(value), out.len())));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let bytes = |value| {
            let mut out = Vec::new();
            put_i64(&mut out, value);
            out
        };
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(-1), [1]);
        assert_eq!(bytes(1), [2]);
        assert_eq!(bytes(63), [126]);
        assert_eq!(bytes(-64), [127]);
        assert_eq!(bytes(64), [0x80, 0x01]);
        assert_eq!(bytes(i64::from(i32::MAX)), [0xfe, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(bytes(i64::MIN).len(), 10);
    }

    #[test]
    fn a_value_that_is_too_wide_is_refused() {
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f], 32), Some((i64::from(i32::MIN), 5)));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f], 32), None);
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 32), None);
        assert_eq!(read(&[0x80; 10], 64), None);
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], 64), None);
    }
}
