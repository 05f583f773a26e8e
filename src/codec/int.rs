//! Wire forms of fixed size: booleans, integers, floats, uuids.

use super::{DecodeError, Form, Kind, Reader, Wire, Writer};

/// Declares the wire form of a number.
macro_rules! wire {
    ($type:ty, $kind:ident, $get:ident, $put:ident) => {
        impl Wire for $type {
            fn kind() -> Kind {
                Kind::$kind
            }

            fn size_min(_form: Form) -> usize {
                size_of::<$type>()
            }

            #[inline]
            fn decode(reader: &mut Reader, _form: Form) -> Result<Self, DecodeError> {
                reader.$get()
            }

            #[inline]
            fn encode(&self, writer: &mut Writer, _form: Form) {
                writer.$put(*self);
            }
        }
    };
}

wire!(i8, I8, i8, put_i8);
wire!(i16, I16, i16, put_i16);
wire!(u16, U16, u16, put_u16);
wire!(i32, I32, i32, put_i32);
wire!(i64, I64, i64, put_i64);
wire!(f64, F64, f64, put_f64);

impl Wire for bool {
    fn kind() -> Kind {
        Kind::Bool
    }

    fn size_min(_form: Form) -> usize {
        1
    }

    /// As Kafka does, takes every byte but 0 for true.
    fn decode(reader: &mut Reader, _form: Form) -> Result<Self, DecodeError> {
        Ok(reader.i8()? != 0)
    }

    fn encode(&self, writer: &mut Writer, _form: Form) {
        writer.put_i8(i8::from(*self));
    }
}

/// A uuid; `model` wraps it in the identity that is meant.
impl Wire for [u8; 16] {
    fn kind() -> Kind {
        Kind::Uuid
    }

    fn size_min(_form: Form) -> usize {
        16
    }

    fn decode(reader: &mut Reader, _form: Form) -> Result<Self, DecodeError> {
        reader.array()
    }

    fn encode(&self, writer: &mut Writer, _form: Form) {
        writer.put_slice(self);
    }
}
