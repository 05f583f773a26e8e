//! The frame around everything the quorum stores or sends:
//! `[magic u8][kind u16][version u16][length u32][body][crc32c u32]`, big-endian, CRC over all before it.
//! The only file that names bincode, which describes nothing of itself: hence kind and version.
//!
//! Called by every file of this room that reads or writes bytes.
//! Invariants: no length is believed before it is compared with the bytes that are there; a kind's layout never
//! changes, it gets a new version; trailing bytes are an error.

use bincode::Options as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

const MAGIC: u8 = 0xA7;
const HEADER_BYTES: usize = 9;
const FRAME_BYTES: usize = HEADER_BYTES + 4;

/// What a frame holds. Numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An entry of the metadata log.
    Entry,
    /// The vote.
    Vote,
    /// The last committed log id, a hint.
    Committed,
    /// The last purged log id.
    Purged,
    /// The head of a snapshot file.
    SnapshotHead,
    /// Records of a snapshot file.
    SnapshotRecords,
    /// The end of a snapshot file.
    SnapshotTail,
    /// A request to another node's quorum.
    Request,
    /// The answer.
    Response,
    /// One record of the metadata store.
    StoredRecord,
    /// The position of the metadata store.
    StoredPosition,
    /// A question to the controller of another node.
    ControllerRequest,
    /// Its answer.
    ControllerReply,
    /// What a broker says at a beat of its liveness connection.
    SignOfLife,
    /// A question to another broker.
    BrokerRequest,
    /// Its answer.
    BrokerReply,
    /// A question about groups and how far they are.
    GroupRequest,
    /// Its answer.
    GroupReply,
}

impl Kind {
    const fn number(self) -> u16 {
        match self {
            Self::Entry => 1,
            Self::Vote => 2,
            Self::Committed => 3,
            Self::Purged => 4,
            Self::SnapshotHead => 5,
            Self::SnapshotRecords => 6,
            Self::SnapshotTail => 7,
            Self::Request => 8,
            Self::Response => 9,
            Self::StoredRecord => 10,
            Self::StoredPosition => 11,
            Self::ControllerRequest => 12,
            Self::ControllerReply => 13,
            Self::SignOfLife => 14,
            Self::BrokerRequest => 15,
            Self::BrokerReply => 16,
            Self::GroupRequest => 17,
            Self::GroupReply => 18,
        }
    }

    /// The version written, and the only one there is so far.
    const fn version(self) -> u16 {
        1
    }

    /// The longest body that is believed.
    const fn bytes_max(self) -> usize {
        match self {
            Self::Entry | Self::BrokerRequest | Self::BrokerReply | Self::GroupRequest => 1024 * 1024,
            Self::SignOfLife => 1024,
            Self::Vote | Self::Committed | Self::Purged | Self::SnapshotTail | Self::StoredPosition => 64 * 1024,
            // A snapshot's head holds the membership: every node of the cluster.
            Self::SnapshotHead | Self::SnapshotRecords | Self::StoredRecord => 4 * 1024 * 1024,
            Self::Request | Self::Response | Self::ControllerRequest | Self::ControllerReply | Self::GroupReply => {
                8 * 1024 * 1024
            }
        }
    }
}

/// Why bytes are not the frame they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Fewer bytes than the frame claims, or than any frame has.
    #[error("the frame is cut: {have} of {need} bytes")]
    Cut {
        /// What is there.
        have: usize,
        /// What the frame needs.
        need: usize,
    },
    /// The first byte is not ours.
    #[error("not a frame of ours: first byte {found:#04x}")]
    Magic {
        /// The first byte.
        found: u8,
    },
    /// Another kind of frame than expected.
    #[error("a frame of kind {found}, not {expected:?}")]
    Kind {
        /// The kind's number.
        found: u16,
        /// What was expected.
        expected: Kind,
    },
    /// A version this build does not know: it was written by a newer one.
    #[error("version {found} of {kind:?} is not known here: written by a newer build")]
    Version {
        /// The kind.
        kind: Kind,
        /// Its version.
        found: u16,
    },
    /// Longer than its kind may be.
    #[error("{bytes} bytes exceed what {kind:?} may have")]
    TooLong {
        /// The kind.
        kind: Kind,
        /// The length.
        bytes: usize,
    },
    /// The CRC does not match.
    #[error("the CRC of {kind:?} does not match")]
    Crc {
        /// The kind.
        kind: Kind,
    },
    /// The body is not what its kind and version say.
    #[error("the body of {kind:?} cannot be read: {reason}")]
    Body {
        /// The kind.
        kind: Kind,
        /// What bincode said.
        reason: String,
    },
}

fn codec() -> impl bincode::Options {
    bincode::DefaultOptions::new().with_fixint_encoding()
}

/// The frame of `value`.
///
/// # Errors
/// When it exceeds what its kind may have.
pub fn encode<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>, EnvelopeError> {
    let body = |e: bincode::Error| EnvelopeError::Body { kind, reason: e.to_string() };
    let size = codec().serialized_size(value).map_err(body)?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > kind.bytes_max() {
        return Err(EnvelopeError::TooLong { kind, bytes: size });
    }
    let mut frame = Vec::with_capacity(size + FRAME_BYTES);
    frame.push(MAGIC);
    frame.extend_from_slice(&kind.number().to_be_bytes());
    frame.extend_from_slice(&kind.version().to_be_bytes());
    frame.extend_from_slice(&u32::try_from(size).expect("a kind's greatest length is below 4 GiB").to_be_bytes());
    codec().serialize_into(&mut frame, value).map_err(body)?;
    let crc = crc32c::crc32c(&frame);
    frame.extend_from_slice(&crc.to_be_bytes());
    Ok(frame)
}

/// Whether `bytes` claim to be a frame of that kind; nothing else of them has been looked at.
#[must_use]
pub fn claims(kind: Kind, bytes: &[u8]) -> bool {
    let [high, low] = kind.number().to_be_bytes();
    bytes.starts_with(&[MAGIC, high, low])
}

/// The size of `value` without a frame.
pub(crate) fn size<T: Serialize>(value: &T) -> usize {
    let size = codec().serialized_size(value).expect("our types have a size");
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// The value in a frame that must be all of `bytes`.
///
/// # Errors
/// When it is not such a frame, whole and undamaged.
pub fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, EnvelopeError> {
    let (value, rest) = decode_front(kind, bytes)?;
    if !rest.is_empty() {
        return Err(EnvelopeError::Body { kind, reason: "bytes behind the frame".to_owned() });
    }
    Ok(value)
}

/// The value in the frame at the front of `bytes`, and what follows it.
///
/// # Errors
/// When there is no such frame, whole and undamaged.
pub(crate) fn decode_front<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<(T, &[u8]), EnvelopeError> {
    let length = frame_length(kind, bytes)?;
    let (frame, rest) = bytes.split_at(length);
    let (head, crc) = frame.split_at(length - 4);
    if crc32c::crc32c(head).to_be_bytes() != crc {
        return Err(EnvelopeError::Crc { kind });
    }
    let value =
        codec().deserialize(&head[HEADER_BYTES..]).map_err(|e| EnvelopeError::Body { kind, reason: e.to_string() })?;
    Ok((value, rest))
}

/// The checked length of the frame at the front of `bytes`, which are at least that long.
fn frame_length(kind: Kind, bytes: &[u8]) -> Result<usize, EnvelopeError> {
    if bytes.len() < FRAME_BYTES {
        return Err(EnvelopeError::Cut { have: bytes.len(), need: FRAME_BYTES });
    }
    if bytes[0] != MAGIC {
        return Err(EnvelopeError::Magic { found: bytes[0] });
    }
    let number = u16::from_be_bytes([bytes[1], bytes[2]]);
    if number != kind.number() {
        return Err(EnvelopeError::Kind { found: number, expected: kind });
    }
    let version = u16::from_be_bytes([bytes[3], bytes[4]]);
    if version != kind.version() {
        return Err(EnvelopeError::Version { kind, found: version });
    }
    let body = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
    let body = usize::try_from(body).unwrap_or(usize::MAX);
    if body > kind.bytes_max() {
        return Err(EnvelopeError::TooLong { kind, bytes: body });
    }
    let length = body + FRAME_BYTES;
    if bytes.len() < length {
        return Err(EnvelopeError::Cut { have: bytes.len(), need: length });
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let frame = encode(Kind::Purged, &(7u64, "seven".to_owned())).unwrap();
        assert_eq!(decode::<(u64, String)>(Kind::Purged, &frame), Ok((7, "seven".to_owned())));
    }

    #[test]
    fn a_frame_claims_to_be_of_its_own_kind_only() {
        let frame = encode(Kind::Purged, &7u64).unwrap();
        assert!(claims(Kind::Purged, &frame) && !claims(Kind::Vote, &frame) && !claims(Kind::Purged, &frame[..2]));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let frame = encode(Kind::Purged, &(7u64, "seven".to_owned())).unwrap();
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut bad = frame.clone();
                bad[at] ^= 1 << bit;
                assert!(decode::<(u64, String)>(Kind::Purged, &bad).is_err(), "byte {at} bit {bit}");
            }
            assert!(decode::<(u64, String)>(Kind::Purged, &frame[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_claimed_length_is_not_believed() {
        let mut frame = encode(Kind::Vote, &1u64).unwrap();
        frame[5..9].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(decode::<u64>(Kind::Vote, &frame), Err(EnvelopeError::TooLong { .. })));
    }

    #[test]
    fn a_version_of_the_future_is_refused() {
        let mut frame = encode(Kind::Vote, &1u64).unwrap();
        frame[4] = 2;
        assert!(matches!(decode::<u64>(Kind::Vote, &frame), Err(EnvelopeError::Version { found: 2, .. })));
    }

    #[test]
    fn bytes_behind_a_frame_are_an_error_or_handed_back() {
        let mut frame = encode(Kind::Vote, &1u64).unwrap();
        frame.push(9);
        assert!(decode::<u64>(Kind::Vote, &frame).is_err());
        assert_eq!(decode_front::<u64>(Kind::Vote, &frame), Ok((1, &[9u8][..])));
    }
}
