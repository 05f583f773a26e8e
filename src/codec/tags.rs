//! Tagged fields (KIP-482): optional fields at the end of each struct of a flexible version.
//!
//! Invariant: tags rise strictly, on the way out and on the way in; a field's value fills its size exactly.

use super::{DecodeError, Form, Reader, Wire, Writer};

/// Walks the tagged fields of one struct.
#[derive(Debug)]
pub struct TagReader {
    left: u32,
    previous: Option<u32>,
}

/// A tagged field whose value has not been read.
#[derive(Clone, Copy, Debug)]
#[must_use = "the value must be decoded or skipped"]
pub struct Tag {
    /// Its number.
    pub number: u32,
    size: usize,
}

impl TagReader {
    /// Reads how many follow.
    ///
    /// # Errors
    /// When the remaining bytes cannot hold so many.
    pub fn new(reader: &mut Reader) -> Result<Self, DecodeError> {
        let left = reader.unsigned_varint()?;
        reader.claim(usize::try_from(left).expect("32 bits fit in a usize"), 2)?;
        Ok(Self { left, previous: None })
    }

    /// The next tagged field.
    ///
    /// # Errors
    /// When its number does not rise or its size is beyond the end.
    pub fn next(&mut self, reader: &mut Reader) -> Result<Option<Tag>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let tag = reader.unsigned_varint()?;
        if let Some(previous) = self.previous.replace(tag).filter(|previous| *previous >= tag) {
            return Err(DecodeError::TagOrder { tag, previous });
        }
        let size = usize::try_from(reader.unsigned_varint()?).expect("32 bits fit in a usize");
        let remaining = reader.remaining();
        if size > remaining {
            return Err(DecodeError::Short { needed: size, remaining });
        }
        Ok(Some(Tag { number: tag, size }))
    }

    /// Reads past all tagged fields of a struct that knows none.
    ///
    /// # Errors
    /// When they are malformed.
    pub fn skip_all(reader: &mut Reader) -> Result<(), DecodeError> {
        let mut tags = Self::new(reader)?;
        while let Some(tag) = tags.next(reader)? {
            tag.skip(reader)?;
        }
        Ok(())
    }
}

impl Tag {
    /// Reads the value of a known field.
    ///
    /// # Errors
    /// When it is malformed or does not fill its size.
    pub fn decode<T: Wire>(self, reader: &mut Reader, form: Form) -> Result<T, DecodeError> {
        let before = reader.remaining();
        let value = T::decode(reader, form)?;
        let used = before - reader.remaining();
        if used != self.size {
            return Err(DecodeError::TagSize { tag: self.number, claimed: self.size, used });
        }
        Ok(value)
    }

    /// Passes over the value of an unknown field.
    ///
    /// # Errors
    /// When it ends early.
    pub fn skip(self, reader: &mut Reader) -> Result<(), DecodeError> {
        reader.skip(self.size)
    }
}

/// Gathers the tagged fields of one struct: their count stands before them.
#[derive(Debug, Default)]
pub struct TagWriter {
    count: u32,
    previous: Option<u32>,
    fields: Writer,
}

impl TagWriter {
    /// Starts with no field.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field, unless its value is the default.
    ///
    /// # Panics
    /// When tags do not rise in the table.
    pub fn put<T: Wire + PartialEq>(&mut self, tag: u32, value: &T, default: &T, form: Form) {
        assert!(self.previous.replace(tag).is_none_or(|previous| previous < tag), "a table lists its tags in order");
        if value == default {
            return;
        }
        let mut encoded = Writer::new();
        value.encode(&mut encoded, form);
        self.count += 1;
        self.fields.put_unsigned_varint(tag);
        self.fields.put_unsigned_varint(u32::try_from(encoded.size()).expect("a message stays below 2 GiB"));
        self.fields.append(encoded);
    }

    /// Writes the count and the fields.
    pub fn finish(self, writer: &mut Writer) {
        writer.put_unsigned_varint(self.count);
        writer.append(self.fields);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn skip_all(bytes: &'static [u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(Bytes::from_static(bytes));
        TagReader::skip_all(&mut reader)?;
        reader.finish()
    }

    #[test]
    fn unknown_tags_are_passed_over() {
        assert_eq!(skip_all(b"\0"), Ok(()));
        assert_eq!(skip_all(b"\x02\x00\x01a\x07\x00"), Ok(()));
    }

    #[test]
    fn malformed_tags_are_refused() {
        assert_eq!(skip_all(b"\x02\x07\x00\x07\x00"), Err(DecodeError::TagOrder { tag: 7, previous: 7 }));
        assert_eq!(skip_all(b"\x02\x07\x00\x06\x00"), Err(DecodeError::TagOrder { tag: 6, previous: 7 }));
        assert_eq!(skip_all(b"\x01\x07\x02a"), Err(DecodeError::Short { needed: 2, remaining: 1 }));
        let claim = DecodeError::ArrayTooLong { count: 0xffff_ffff, remaining: 0 };
        assert_eq!(skip_all(b"\xff\xff\xff\xff\x0f"), Err(claim));
    }
}
