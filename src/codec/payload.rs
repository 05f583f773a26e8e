//! Bytes of a message that need not be there when the message is encoded.
//!
//! Used for the records of a fetch response, which stand in files and may be many megabytes: whoever sends the response
//! reads them piece by piece, so that a client that does not read costs no memory. Invariant: what is decoded is here.

use bytes::Bytes;

use super::text::{long_length_size_min, put_long_length};
use super::{DecodeError, Form, Kind, Nullable, Reader, Wire, Writer};

/// Bytes, or the room that they take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The bytes.
    Here(Bytes),
    /// Whoever sends the message puts so many bytes in this place.
    Elsewhere {
        /// How many.
        size: usize,
    },
}

impl Payload {
    /// How many bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::Elsewhere { size } => *size,
        }
    }

    /// The bytes.
    ///
    /// # Panics
    /// When they are elsewhere: what was decoded never is.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Here(bytes) => bytes,
            Self::Elsewhere { .. } => panic!("the bytes of a message that is being sent are asked of its sender"),
        }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::Here(Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Here(bytes)
    }
}

impl Wire for Payload {
    fn kind() -> Kind {
        Bytes::kind()
    }

    fn size_min(form: Form) -> usize {
        Bytes::size_min(form)
    }

    fn decode(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        Bytes::decode(reader, form).map(Self::Here)
    }

    fn encode(&self, writer: &mut Writer, form: Form) {
        match self {
            Self::Here(bytes) => bytes.encode(writer, form),
            Self::Elsewhere { size } => {
                put_long_length(writer, form, *size);
                writer.put_gap(*size);
            }
        }
    }
}

impl Nullable for Payload {
    fn null_size(form: Form) -> usize {
        long_length_size_min(form)
    }

    fn decode_nullable(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::decode_nullable(reader, form)?.map(Self::Here))
    }

    fn encode_null(writer: &mut Writer, form: Form) {
        Bytes::encode_null(writer, form);
    }

    fn encode_present(&self, writer: &mut Writer, form: Form) {
        self.encode(writer, form);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Piece;
    use super::*;

    #[test]
    fn a_payload_elsewhere_leaves_its_room_in_the_message() {
        for flexible in [false, true] {
            let form = Form { version: 1, flexible };
            let (mut here, mut elsewhere) = (Writer::new(), Writer::new());
            Some(Payload::Here(Bytes::from(vec![7; 1_000]))).encode(&mut here, form);
            Some(Payload::Elsewhere { size: 1_000 }).encode(&mut elsewhere, form);
            assert_eq!(here.size(), elsewhere.size());
            let pieces = elsewhere.into_pieces();
            let Piece::Bytes(length) = &pieces[0] else { panic!("a length comes first") };
            assert_eq!(*length, here.into_bytes().slice(..length.len()));
            assert_eq!(pieces[1..], [Piece::Gap { size: 1_000 }]);
        }
    }

    #[test]
    fn what_is_decoded_is_here() {
        let form = Form { version: 1, flexible: true };
        let mut reader = Reader::new(Bytes::from_static(b"\x03ab"));
        assert_eq!(Option::<Payload>::decode(&mut reader, form), Ok(Some(Bytes::from_static(b"ab").into())));
    }
}
