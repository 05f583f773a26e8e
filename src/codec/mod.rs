//! Primitive wire types of the Kafka protocol and the table that declares a message field by field.
//!
//! `protocol` declares its messages with `message!`; `model` gives its identifiers their wire form; nobody else
//! writes a layout by hand.
//!
//! Invariant: decoding never panics and never allocates by a length it has not checked against the bytes at hand;
//! encoding cannot fail. Encoding keeps three rules where Kafka's generated code throws:
//!
//! * a field that the version does not have is left out, whatever its value;
//! * `None` where the version knows no null is written as the empty value;
//! * a text beyond `TEXT_SIZE_MAX` bytes is cut at the last whole character.

mod error;
mod reader;
mod writer;
mod int;
mod text;
mod payload;
mod array;
mod tags;
mod layout;
mod message;

pub use error::DecodeError;
pub use layout::{Field, Kind, Versions};
pub use message::Message;
pub(crate) use message::{field, fields, message};
pub use payload::Payload;
pub use reader::{ELEMENTS_MAX, Reader};
pub use tags::{Tag, TagReader, TagWriter};
pub use text::TEXT_SIZE_MAX;
pub use writer::{Piece, SHARED_SIZE_MIN, Writer};

/// Which of a message's encodings is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The version of the API.
    pub version: i16,
    /// Whether that version has compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
}

/// A value with a place on the wire.
pub trait Wire: Sized {
    /// Whether a null can be told from every value.
    const NULLABLE: bool = false;

    /// What the value looks like, for documents and tests that walk a message.
    fn kind() -> Kind;

    /// The fewest bytes a value takes; bounds the count that an array may claim.
    fn size_min(form: Form) -> usize;

    /// Reads one value.
    ///
    /// # Errors
    /// What the bytes have wrong.
    fn decode(reader: &mut Reader, form: Form) -> Result<Self, DecodeError>;

    /// Writes the value.
    fn encode(&self, writer: &mut Writer, form: Form);
}

/// A value that can be absent. The default methods are the form of a struct: a byte, negative for null, before the
/// fields; texts, bytes and arrays have a length that says it instead.
pub trait Nullable: Wire {
    /// The bytes that a null takes.
    #[must_use]
    fn null_size(_form: Form) -> usize {
        1
    }

    /// Reads a value or a null.
    ///
    /// # Errors
    /// What the bytes have wrong.
    fn decode_nullable(reader: &mut Reader, form: Form) -> Result<Option<Self>, DecodeError> {
        if reader.i8()? < 0 {
            return Ok(None);
        }
        Self::decode(reader, form).map(Some)
    }

    /// Writes a null.
    fn encode_null(writer: &mut Writer, _form: Form) {
        writer.put_i8(-1);
    }

    /// Writes a value that is there, in a place where a null could stand.
    fn encode_present(&self, writer: &mut Writer, form: Form) {
        writer.put_i8(1);
        self.encode(writer, form);
    }
}

impl<T: Nullable> Wire for Option<T> {
    const NULLABLE: bool = true;

    fn kind() -> Kind {
        T::kind()
    }

    fn size_min(form: Form) -> usize {
        T::null_size(form)
    }

    fn decode(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        T::decode_nullable(reader, form)
    }

    fn encode(&self, writer: &mut Writer, form: Form) {
        match self {
            Some(value) => value.encode_present(writer, form),
            None => T::encode_null(writer, form),
        }
    }
}

/// What `message!` needs of a field that is nullable in some versions only.
pub trait Optional: Sized {
    /// The fewest bytes it takes, whether a null may stand there or not.
    fn size_min_any(form: Form) -> usize;

    /// Reads it where no null may stand.
    ///
    /// # Errors
    /// What the bytes have wrong, a null included.
    fn decode_present(reader: &mut Reader, form: Form) -> Result<Self, DecodeError>;

    /// Writes it where no null may stand: `None` becomes the empty value.
    fn encode_or_empty(&self, writer: &mut Writer, form: Form);
}

impl<T: Nullable + Default> Optional for Option<T> {
    fn size_min_any(form: Form) -> usize {
        T::null_size(form).min(T::size_min(form))
    }

    fn decode_present(reader: &mut Reader, form: Form) -> Result<Self, DecodeError> {
        T::decode(reader, form).map(Some)
    }

    fn encode_or_empty(&self, writer: &mut Writer, form: Form) {
        match self {
            Some(value) => value.encode(writer, form),
            None => T::default().encode(writer, form),
        }
    }
}
