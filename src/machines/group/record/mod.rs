//! The facts about groups, and their bytes in `__consumer_offsets`: Kafka's, so that the tools that people have can read
//! them.
//!
//! Invariant: what is encoded decodes to the same fact. A key of an unknown kind is no error: a newer broker wrote it.
//! Values are written in the newest version that readers of all ages know (3, which is not flexible); the id of an offset's
//! topic, for which that has no place, stands in a header of the record, where nobody else looks.

#[expect(unreachable_pub, reason = "what a table declares is public, and stays in here")]
mod layout;
mod consumer;

pub use consumer::ConsumerFact;

use bytes::Bytes;

use crate::codec::{DecodeError, Message, Reader, Writer};
use crate::model::{
    Generation, GroupId, InstanceId, LeaderEpoch, MemberId, Offset, PartitionIndex, Timestamp, TopicId, TopicName,
};

use super::state::{ClassicGroup, Committed, StoredMember};
use layout::{GroupKey, GroupValue, MemberValue, OffsetKey, OffsetValue};

/// The versions in which keys and values are written; a key's is the number of its kind.
const OFFSET_KEY: i16 = 1;
const OFFSET_VALUE: i16 = 3;
/// The only one that says when an offset is too old.
const OFFSET_VALUE_EXPIRING: i16 = 1;
const GROUP_KEY: i16 = 2;
const GROUP_VALUE: i16 = 3;

/// The header of a record that has the 16 bytes of a topic's id.
pub const TOPIC_ID_HEADER: &[u8] = b"topic-id";

/// A fact about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A group has committed an offset, or has none any more.
    Offset {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicName,
        /// Its partition.
        partition: PartitionIndex,
        /// What was committed; `None` when it is forgotten.
        committed: Option<Committed>,
    },
    /// A classic group after a rebalance.
    Classic {
        /// The group.
        group: GroupId,
        /// What it is now; `None` when it is deleted.
        state: Option<ClassicGroup>,
    },
    /// A part of a group of KIP-848.
    Consumer {
        /// The group.
        group: GroupId,
        /// The part.
        fact: ConsumerFact,
    },
}

/// A record's key and value as they stand in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The key.
    pub key: Bytes,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// What its header [`TOPIC_ID_HEADER`] has; `None` without one.
    pub topic_id: Option<Bytes>,
}

impl Encoded {
    /// Without a header.
    fn of(key: Bytes, value: Option<Bytes>) -> Self {
        Self { key, value, topic_id: None }
    }
}

/// Why a record of the log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// It has no key.
    #[error("the record has no key")]
    Keyless,
    /// Its bytes do not have the form of their kind.
    #[error("key kind {kind}: {cause}")]
    Malformed {
        /// The number at the front of the key.
        kind: i16,
        /// What is wrong.
        cause: DecodeError,
    },
    /// It names a topic that cannot exist, or the id of none.
    #[error("the record names no valid topic")]
    Topic,
}

impl Record {
    /// Whose fact it is.
    #[must_use]
    pub fn group(&self) -> &GroupId {
        match self {
            Self::Offset { group, .. } | Self::Classic { group, .. } | Self::Consumer { group, .. } => group,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        match self {
            Self::Offset { group, topic, partition, committed } => Encoded {
                key: put(OFFSET_KEY, &offset_key(group, topic, *partition)),
                value: committed.as_ref().map(encode_committed),
                topic_id: committed
                    .as_ref()
                    .and_then(|committed| committed.topic_id)
                    .map(|id| Bytes::copy_from_slice(&id.get())),
            },
            Self::Classic { group, state } => Encoded::of(
                put(GROUP_KEY, &GroupKey { group: group.as_str().to_owned() }),
                state.as_ref().map(|state| put(GROUP_VALUE, &group_value(state))),
            ),
            Self::Consumer { group, fact } => consumer::encode(group, fact),
        }
    }

    /// Reads a record, whose header [`TOPIC_ID_HEADER`] has this; `None` for a kind that is not known here.
    ///
    /// # Errors
    /// The bytes are not what any broker writes.
    pub fn decode(
        key: Option<&Bytes>,
        value: Option<&Bytes>,
        topic_id: Option<&Bytes>,
    ) -> Result<Option<Self>, RecordFault> {
        let mut reader = Reader::new(key.ok_or(RecordFault::Keyless)?.clone());
        let kind = reader.i16().map_err(|_| RecordFault::Keyless)?;
        let fault = |cause| RecordFault::Malformed { kind, cause };
        let body = reader.take(reader.remaining()).map_err(fault)?;
        match kind {
            0 | 1 => {
                let key = OffsetKey::decode_body(kind, body).map_err(fault)?;
                let value = value.map(get::<OffsetValue>).transpose().map_err(fault)?;
                read_offset(&key, value, topic_id).map(Some)
            }
            2 => {
                let key = GroupKey::decode_body(kind, body).map_err(fault)?;
                let value = value.map(get::<GroupValue>).transpose().map_err(fault)?;
                let state = value.map(|value| read_group(&value));
                Ok(Some(Self::Classic { group: GroupId::new(&key.group), state }))
            }
            _ => consumer::decode(kind, body, value),
        }
    }
}

/// The version, then the body.
fn put(version: i16, message: &impl Message) -> Bytes {
    let mut writer = Writer::new();
    writer.put_i16(version);
    message.encode_body(version, &mut writer);
    writer.into_bytes()
}

fn get<M: Message>(bytes: &Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16()?;
    let body = reader.take(reader.remaining())?;
    // The bytes are from our own log, and bounded by its batches.
    M::decode_bounded(version, body, usize::MAX)
}

fn offset_key(group: &GroupId, topic: &TopicName, partition: PartitionIndex) -> OffsetKey {
    OffsetKey { group: group.as_str().to_owned(), topic: topic.as_str().to_owned(), partition: partition.get() }
}

fn encode_committed(committed: &Committed) -> Bytes {
    let version = if committed.expires.is_some() { OFFSET_VALUE_EXPIRING } else { OFFSET_VALUE };
    put(version, &offset_value(committed))
}

fn offset_value(committed: &Committed) -> OffsetValue {
    OffsetValue {
        offset: committed.offset.get(),
        leader_epoch: committed.leader_epoch.map_or(-1, LeaderEpoch::get),
        metadata: committed.metadata.to_string(),
        commit_timestamp: committed.at.get(),
        expire_timestamp: committed.expires.map_or(-1, Timestamp::get),
        ..OffsetValue::default()
    }
}

fn read_offset(key: &OffsetKey, value: Option<OffsetValue>, header: Option<&Bytes>) -> Result<Record, RecordFault> {
    let header = header.map(|bytes| bytes[..].try_into().map(TopicId::new)).transpose();
    let header = header.map_err(|_| RecordFault::Topic)?;
    let committed = |value: OffsetValue| Committed {
        topic_id: header.or(Some(value.topic_id).filter(|id| *id != TopicId::ZERO)),
        offset: Offset::new(value.offset),
        leader_epoch: (value.leader_epoch >= 0).then_some(LeaderEpoch::new(value.leader_epoch)),
        metadata: value.metadata.into(),
        at: Timestamp::new(value.commit_timestamp),
        expires: (value.expire_timestamp >= 0).then_some(Timestamp::new(value.expire_timestamp)),
    };
    Ok(Record::Offset {
        group: GroupId::new(&key.group),
        topic: TopicName::new(&key.topic).map_err(|_| RecordFault::Topic)?,
        partition: PartitionIndex::new(key.partition),
        committed: value.map(committed),
    })
}

fn group_value(state: &ClassicGroup) -> GroupValue {
    let member = |(id, member): (&MemberId, &StoredMember)| MemberValue {
        member_id: id.as_str().to_owned(),
        group_instance_id: member.instance.as_ref().map(|id| id.as_str().to_owned()),
        client_id: member.client.id.to_string(),
        client_host: member.client.host.to_string(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
    };
    GroupValue {
        protocol_type: state.protocol_type.to_string(),
        generation: state.generation.get(),
        protocol: state.protocol.as_deref().map(str::to_owned),
        leader: state.leader.as_ref().map(|id| id.as_str().to_owned()),
        current_state_timestamp: state.since.get(),
        members: state.members.iter().map(member).collect(),
    }
}

fn read_group(value: &GroupValue) -> ClassicGroup {
    let member = |member: &MemberValue| {
        let stored = StoredMember {
            instance: member.group_instance_id.as_deref().map(InstanceId::new),
            client: super::Client::new(&member.client_id, &member.client_host),
            // Before version 1 one number said both.
            rebalance_timeout_ms: if member.rebalance_timeout < 0 {
                member.session_timeout
            } else {
                member.rebalance_timeout
            },
            session_timeout_ms: member.session_timeout,
            // A slice would keep all that was read with it.
            subscription: Bytes::copy_from_slice(&member.subscription),
            assignment: Bytes::copy_from_slice(&member.assignment),
        };
        (MemberId::new(&member.member_id), stored)
    };
    ClassicGroup {
        protocol_type: value.protocol_type.as_str().into(),
        generation: Generation::new(value.generation),
        protocol: value.protocol.as_deref().map(Into::into),
        leader: value.leader.as_deref().map(MemberId::new),
        since: Timestamp::new(value.current_state_timestamp),
        members: value.members.iter().map(member).collect(),
    }
}

#[cfg(test)]
mod tests;
