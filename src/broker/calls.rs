//! Requests between nodes, and their answers, as bytes.
//!
//! Called by both ends of a call and by the liveness beats. Invariant: what cannot be packed or read is logged here and
//! nowhere else; the caller goes on as if nobody had answered.

use bytes::Bytes;
use tracing::warn;

use super::groups::question;
use super::vouching::Question;
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

/// A question to another broker.
pub(super) fn pack_question(question: &Question) -> Option<Bytes> {
    pack(Kind::BrokerRequest, question)
}

/// A question that has arrived.
pub(super) fn unpack_question(bytes: &[u8]) -> Option<Question> {
    unpack(Kind::BrokerRequest, bytes)
}

/// Whether this broker follows, for each partition of a question.
pub(super) fn pack_vouched(vouched: &Vec<bool>) -> Option<Bytes> {
    pack(Kind::BrokerReply, vouched)
}

/// An answer that has arrived.
pub(super) fn unpack_vouched(bytes: &[u8]) -> Option<Vec<bool>> {
    unpack(Kind::BrokerReply, bytes)
}

/// Whether a question that has arrived is about groups.
pub(super) fn is_about_groups(bytes: &[u8]) -> bool {
    envelope::claims(Kind::GroupRequest, bytes)
}

/// A question about groups.
pub(super) fn pack_group_question(question: &question::Question) -> Option<Bytes> {
    pack(Kind::GroupRequest, question)
}

/// A question about groups that has arrived.
pub(super) fn unpack_group_question(bytes: &[u8]) -> Option<question::Question> {
    unpack(Kind::GroupRequest, bytes)
}

/// Its answer.
pub(super) fn pack_group_answer(answer: &question::Answer) -> Option<Bytes> {
    pack(Kind::GroupReply, answer)
}

/// An answer that has arrived.
pub(super) fn unpack_group_answer(bytes: &[u8]) -> Option<question::Answer> {
    unpack(Kind::GroupReply, bytes)
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
