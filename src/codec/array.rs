//! Wire form of arrays.
//!
//! Invariant: no more memory is reserved than bytes remain to be read; what an array takes beyond that grows with the
//! elements that were really there.

use super::text::{long_length, long_length_size_min, put_long_length, put_long_null};
use super::{DecodeError, Form, Kind, Nullable, Reader, Wire, Writer};

impl<T: Wire> Wire for Vec<T> {
    fn kind() -> Kind {
        Kind::Array(Box::new(T::kind()))
    }

    fn size_min(form: Form) -> usize {
        long_length_size_min(form)
    }

    fn decode(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        Self::decode_nullable(reader, form)?.ok_or(DecodeError::Null)
    }

    fn encode(&self, writer: &mut Writer, form: Form) {
        put_long_length(writer, form, self.len());
        for element in self {
            element.encode(writer, form);
        }
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn null_size(form: Form) -> usize {
        long_length_size_min(form)
    }

    fn decode_nullable(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        let Some(count) = long_length(reader, form)? else { return Ok(None) };
        reader.claim(count, T::size_min(form))?;
        let capacity = count.min(reader.remaining() / size_of::<T>().max(1));
        let mut elements = Self::with_capacity(capacity);
        for _ in 0..count {
            elements.push(T::decode(reader, form)?);
        }
        Ok(Some(elements))
    }

    fn encode_null(writer: &mut Writer, form: Form) {
        put_long_null(writer, form);
    }

    fn encode_present(&self, writer: &mut Writer, form: Form) {
        self.encode(writer, form);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const OLD: Form = Form { version: 0, flexible: false };
    const FLEXIBLE: Form = Form { version: 0, flexible: true };

    fn decode<T: Wire>(bytes: &'static [u8], form: Form) -> Result<T, DecodeError> {
        T::decode(&mut Reader::new(Bytes::from_static(bytes)), form)
    }

    #[test]
    fn an_array_cannot_claim_more_than_the_bytes_hold() {
        let count = 0x7fff_ffff;
        let error = DecodeError::ArrayTooLong { count, remaining: 2 };
        assert_eq!(decode::<Vec<String>>(b"\x7f\xff\xff\xff\0\0", OLD), Err(error));
        assert_eq!(decode::<Vec<i32>>(b"\xff\xff\xff\xff", OLD), Err(DecodeError::Null));
        assert_eq!(decode::<Vec<i32>>(b"\x80\0\0\0", OLD), Err(DecodeError::NegativeLength { length: i32::MIN }));
        assert_eq!(decode::<Vec<i32>>(b"\0", FLEXIBLE), Err(DecodeError::Null));
        assert_eq!(decode::<Option<Vec<i32>>>(b"\0", FLEXIBLE), Ok(None));
    }

    #[test]
    fn an_array_has_an_old_and_a_compact_count() {
        assert_eq!(decode::<Vec<i8>>(b"\0\0\0\x02\x05\x06", OLD), Ok(vec![5, 6]));
        assert_eq!(decode::<Vec<i8>>(b"\x03\x05\x06", FLEXIBLE), Ok(vec![5, 6]));
    }
}
