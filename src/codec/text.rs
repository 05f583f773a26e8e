//! Wire forms of texts and bytes, and the lengths before them.
//!
//! Invariant: a length is checked against what remains before anything is taken.

use bytes::Bytes;

use super::{DecodeError, Form, Kind, Nullable, Reader, Wire, Writer};

/// The longest text in bytes, in either form: Kafka holds flexible versions to it as well.
pub const TEXT_SIZE_MAX: usize = 0x7fff;

impl Wire for String {
    fn kind() -> Kind {
        Kind::Text
    }

    fn size_min(form: Form) -> usize {
        if form.flexible { 1 } else { 2 }
    }

    fn decode(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        Self::decode_nullable(reader, form)?.ok_or(DecodeError::Null)
    }

    fn encode(&self, writer: &mut Writer, form: Form) {
        let text = &self[..self.floor_char_boundary(TEXT_SIZE_MAX)];
        if form.flexible {
            put_compact_length(writer, text.len());
        } else {
            writer.put_i16(i16::try_from(text.len()).expect("a text is cut to 32,767 bytes"));
        }
        writer.put_slice(text.as_bytes());
    }
}

impl Nullable for String {
    fn null_size(form: Form) -> usize {
        Self::size_min(form)
    }

    fn decode_nullable(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        let length = if form.flexible { compact_length(reader)? } else { length(i32::from(reader.i16()?))? };
        let Some(length) = length else { return Ok(None) };
        if length > TEXT_SIZE_MAX {
            return Err(DecodeError::TextTooLong { length });
        }
        let bytes = reader.take(length)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| DecodeError::Utf8)?;
        Ok(Some(text.to_owned()))
    }

    fn encode_null(writer: &mut Writer, form: Form) {
        if form.flexible {
            writer.put_unsigned_varint(0);
        } else {
            writer.put_i16(-1);
        }
    }

    fn encode_present(&self, writer: &mut Writer, form: Form) {
        self.encode(writer, form);
    }
}

/// Both `bytes` and `records` of Kafka's tables.
impl Wire for Bytes {
    fn kind() -> Kind {
        Kind::Bytes
    }

    fn size_min(form: Form) -> usize {
        long_length_size_min(form)
    }

    fn decode(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        Self::decode_nullable(reader, form)?.ok_or(DecodeError::Null)
    }

    fn encode(&self, writer: &mut Writer, form: Form) {
        put_long_length(writer, form, self.len());
        writer.put_bytes(self);
    }
}

impl Nullable for Bytes {
    fn null_size(form: Form) -> usize {
        long_length_size_min(form)
    }

    fn decode_nullable(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        long_length(reader, form)?.map(|length| reader.take(length)).transpose()
    }

    fn encode_null(writer: &mut Writer, form: Form) {
        put_long_null(writer, form);
    }

    fn encode_present(&self, writer: &mut Writer, form: Form) {
        self.encode(writer, form);
    }
}

/// The fewest bytes of a length of bytes or of an array.
pub(super) fn long_length_size_min(form: Form) -> usize {
    if form.flexible { 1 } else { 4 }
}

/// Reads the length of bytes or of an array; `None` is null.
pub(super) fn long_length(reader: &mut Reader, form: Form) -> Result<Option<usize>, DecodeError> {
    if form.flexible { compact_length(reader) } else { length(reader.i32()?) }
}

/// Writes the length of bytes or of an array.
pub(super) fn put_long_length(writer: &mut Writer, form: Form, length: usize) {
    if form.flexible {
        put_compact_length(writer, length);
    } else {
        writer.put_i32(i32::try_from(length).expect("a message stays below 2 GiB"));
    }
}

/// Writes the length that stands for null.
pub(super) fn put_long_null(writer: &mut Writer, form: Form) {
    if form.flexible {
        writer.put_unsigned_varint(0);
    } else {
        writer.put_i32(-1);
    }
}

fn length(length: i32) -> Result<Option<usize>, DecodeError> {
    if length == -1 {
        return Ok(None);
    }
    usize::try_from(length).map(Some).map_err(|_| DecodeError::NegativeLength { length })
}

/// Compact lengths are one more than the length, so that 0 can be null.
fn compact_length(reader: &mut Reader) -> Result<Option<usize>, DecodeError> {
    let length = usize::try_from(reader.unsigned_varint()?).expect("32 bits fit in a usize");
    Ok(length.checked_sub(1))
}

fn put_compact_length(writer: &mut Writer, length: usize) {
    writer.put_unsigned_varint(u32::try_from(length + 1).expect("a message stays below 2 GiB"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Form = Form { version: 0, flexible: false };
    const FLEXIBLE: Form = Form { version: 0, flexible: true };

    fn check<T: Wire + PartialEq + std::fmt::Debug>(value: &T, form: Form, bytes: &[u8]) {
        let mut writer = Writer::new();
        value.encode(&mut writer, form);
        assert_eq!(&writer.into_bytes()[..], bytes);
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        assert_eq!(T::decode(&mut reader, form).as_ref(), Ok(value));
        assert_eq!(reader.finish(), Ok(()));
    }

    fn refuse<T: Wire + PartialEq + std::fmt::Debug>(form: Form, bytes: &'static [u8], error: DecodeError) {
        assert_eq!(T::decode(&mut Reader::new(Bytes::from_static(bytes)), form), Err(error));
    }

    #[test]
    fn texts_and_bytes_have_an_old_and_a_compact_length() {
        check(&"ab".to_owned(), OLD, b"\0\x02ab");
        check(&"ab".to_owned(), FLEXIBLE, b"\x03ab");
        check::<Option<String>>(&None, OLD, b"\xff\xff");
        check::<Option<String>>(&None, FLEXIBLE, b"\0");
        check(&Some(Bytes::from_static(b"ab")), OLD, b"\0\0\0\x02ab");
        check(&Some(Bytes::from_static(b"ab")), FLEXIBLE, b"\x03ab");
        check::<Option<Bytes>>(&None, OLD, b"\xff\xff\xff\xff");
        check::<Option<Bytes>>(&None, FLEXIBLE, b"\0");
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        refuse::<String>(OLD, b"\xff\xff", DecodeError::Null);
        refuse::<String>(OLD, b"\xff\xfe", DecodeError::NegativeLength { length: -2 });
        refuse::<Bytes>(OLD, b"\x7f\xff\xff\xff", DecodeError::Short { needed: 0x7fff_ffff, remaining: 0 });
        refuse::<String>(FLEXIBLE, b"\x05ab", DecodeError::Short { needed: 4, remaining: 2 });
        refuse::<String>(FLEXIBLE, b"\x81\x80\x02", DecodeError::TextTooLong { length: 0x8000 });
        refuse::<String>(OLD, b"\0\x01\xff", DecodeError::Utf8);
    }

    #[test]
    fn a_text_too_long_is_cut_at_a_whole_character() {
        let mut writer = Writer::new();
        format!("a{}", "é".repeat(20_000)).encode(&mut writer, OLD);
        assert_eq!(writer.size(), 2 + TEXT_SIZE_MAX);
        let mut writer = Writer::new();
        "é".repeat(20_000).encode(&mut writer, FLEXIBLE);
        assert_eq!(writer.size(), 3 + TEXT_SIZE_MAX - 1);
    }
}
