//! Identifiers of nodes, topics, partitions, directories and producers.
//!
//! Invariant: an identifier's printed form parses back to the same identifier.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{LogIndex, number};
use crate::codec::{DecodeError, Form, Kind, Reader, Wire, Writer};

number! {
    /// `node.id`: names one process, controller or broker or both. Never negative; Kafka writes -1 for "none".
    NodeId(i32)
}
number! {
    /// The number of a partition within its topic, from 0.
    PartitionIndex(i32)
}
number! {
    /// The id of an idempotent or transactional producer (KIP-98); -1 on the wire means none.
    ProducerId(i64)
}
number! {
    /// The epoch of a producer id; a higher one fences the lower.
    ProducerEpoch(i16)
}
number! {
    /// The sequence number of a record within (producer id, epoch, partition); wraps from 2^31-1 to 0.
    Sequence(i32)
}

impl Sequence {
    /// This sequence plus `count`, wrapping from 2^31-1 to 0 as Kafka's clients do.
    #[must_use]
    pub fn plus(self, count: i32) -> Self {
        let sum = i64::from(self.get()) + i64::from(count);
        let wrapped = sum.rem_euclid(i64::from(i32::MAX) + 1);
        Self::new(i32::try_from(wrapped).expect("a remainder by 2^31 fits in an i32"))
    }
}

/// Why a text is not an identifier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{text}' is not a 16-byte id in base64url")]
pub struct IdError {
    /// What was given.
    pub text: String,
}

/// Declares a 16-byte identifier printed as base64url without padding, Kafka's form of a Uuid.
macro_rules! uuid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name([u8; 16]);
        impl $name {
            /// The id that means "none" on the wire.
            pub const ZERO: Self = Self([0; 16]);
            /// Makes one from its bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
            /// Its bytes.
            #[must_use]
            pub const fn get(self) -> [u8; 16] {
                self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { text: text.to_owned() };
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| error())?;
                Ok(Self(bytes.try_into().map_err(|_| error())?))
            }
        }
        impl Wire for $name {
            fn kind() -> Kind {
                Kind::Uuid
            }
            fn size_min(_form: Form) -> usize {
                16
            }
            fn decode(reader: &mut Reader, _form: Form) -> Result<Self, DecodeError> {
                reader.array().map(Self)
            }
            fn encode(&self, writer: &mut Writer, _form: Form) {
                writer.put_slice(&self.0);
            }
        }
    };
}

uuid! {
    /// The identity of a topic for its whole life; a topic made again under the same name has another (KIP-516).
    TopicId
}
impl TopicId {
    /// How many of the bytes are the request's alone.
    const OF_REQUEST: usize = 10;

    /// The id of a topic that is made because of a request, which bears a random id, on a metadata log that ends at
    /// `base`. A late copy of the request, come when its topic is deleted, makes a topic of another id.
    #[must_use]
    pub fn minted(request: Self, base: LogIndex) -> Self {
        let mut bytes = request.get();
        let index = base.get().to_be_bytes();
        for (byte, part) in bytes[Self::OF_REQUEST..].iter_mut().zip(&index[2..]) {
            *byte ^= part;
        }
        Self::new(bytes)
    }

    /// Whether it was minted for that request.
    #[must_use]
    pub fn is_of(self, request: Self) -> bool {
        self.get()[..Self::OF_REQUEST] == request.get()[..Self::OF_REQUEST]
    }
}
uuid! {
    /// The identity of a data directory, minted when it is formatted (KIP-858). A wiped disk has another.
    DirectoryId
}
uuid! {
    /// The identity of a cluster, minted by its founder.
    ClusterId
}

/// One partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// The topic.
    pub topic: TopicId,
    /// The partition's number in it.
    pub index: PartitionIndex,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_prints_and_parses_as_kafka_does() {
        let id = TopicId::new(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "MDEyMzQ1Njc4OWFiY2RlZg");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("short".parse::<TopicId>().is_err());
    }

    #[test]
    fn a_sequence_wraps_to_zero() {
        assert_eq!(Sequence::new(i32::MAX).plus(1), Sequence::new(0));
        assert_eq!(Sequence::new(i32::MAX - 1).plus(5), Sequence::new(3));
        assert_eq!(Sequence::new(7).plus(0), Sequence::new(7));
    }
}
