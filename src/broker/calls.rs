//! Controller requests and their answers as bytes between nodes.
//!
//! Called by both ends of a call and by the liveness beats. Invariant: what cannot be packed or read is logged here and
//! nowhere else; the caller goes on as if nobody had answered.

use bytes::Bytes;
use tracing::warn;

use crate::machines::controller::{Event, Reply, SignOfLife};
use crate::quorum::envelope::{self, Kind};

/// A request.
pub(super) fn pack_event(event: &Event) -> Option<Bytes> {
    pack(Kind::ControllerRequest, event)
}

/// An answer; `None` within it says that this node is not the active controller.
pub(super) fn pack_answer(answer: &Option<Reply>) -> Option<Bytes> {
    pack(Kind::ControllerReply, answer)
}

/// A request that has arrived.
pub(super) fn unpack_event(bytes: &[u8]) -> Option<Event> {
    unpack(Kind::ControllerRequest, bytes)
}

/// What a beat says.
pub(super) fn pack_sign(sign: &SignOfLife) -> Option<Bytes> {
    pack(Kind::SignOfLife, sign)
}

/// What a beat said.
pub(super) fn unpack_sign(bytes: &[u8]) -> Option<SignOfLife> {
    unpack(Kind::SignOfLife, bytes)
}

/// An answer that has arrived.
pub(super) fn unpack_answer(bytes: &[u8]) -> Option<Reply> {
    unpack::<Option<Reply>>(Kind::ControllerReply, bytes).flatten()
}

fn pack<T: serde::Serialize>(kind: Kind, value: &T) -> Option<Bytes> {
    match envelope::encode(kind, value) {
        Ok(bytes) => Some(bytes.into()),
        Err(cause) => {
            warn!(%cause, "a message between nodes cannot be written");
            None
        }
    }
}

fn unpack<T: serde::de::DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Option<T> {
    match envelope::decode(kind, bytes) {
        Ok(value) => Some(value),
        Err(cause) => {
            warn!(%cause, "a message between nodes cannot be read");
            None
        }
    }
}
