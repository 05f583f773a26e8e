//! The facts of a group of KIP-848 and their bytes: kinds 3, 5 to 8 and 16.
//!
//! Kind 4, the subscribed topics as older coordinators kept them, is passed over: whoever leads has the image.
//! Invariant: as for all records; values are flexible, version 0.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::super::assignor::Share;
use super::super::consumer::{ClassicWords, Current, MemberState, Resolved, Subscriber};
use super::super::state::Client;
use super::layout::{
    ClassicProtocolValue, ClassicValue, ConsumerCurrentValue, ConsumerGroupKey, ConsumerGroupValue, ConsumerMemberKey,
    ConsumerMemberValue, ConsumerRegexKey, ConsumerRegexValue, ConsumerTargetEpochValue, ConsumerTargetValue,
    EpochPartitionsValue, TopicPartitionsValue,
};
use super::{Encoded, Record, RecordFault, get, put};
use crate::codec::{DecodeError, Message};
use crate::model::{GroupEpoch, GroupId, InstanceId, MemberId, PartitionId, PartitionIndex, Timestamp, TopicId};

const GROUP_KEY: i16 = 3;
const MEMBER_KEY: i16 = 5;
const TARGET_EPOCH_KEY: i16 = 6;
const TARGET_KEY: i16 = 7;
const CURRENT_KEY: i16 = 8;
const REGEX_KEY: i16 = 16;
const VALUE: i16 = 0;

/// The members and targets are shared: a group is cloned whenever something is decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerFact {
    /// The group's epoch, and the hash of the topics that it was made for; `None` when the group is gone.
    Epoch(Option<(GroupEpoch, i64)>),
    /// What a member says of itself.
    Member(MemberId, Option<Arc<Subscriber>>),
    /// The epoch of the target assignment, and when that was made.
    TargetEpoch(Option<(GroupEpoch, Timestamp)>),
    /// What a member shall have.
    Target(MemberId, Option<Arc<Share>>),
    /// What a member has.
    Current(MemberId, Option<Arc<Current>>),
    /// The topics that a regular expression stands for.
    Regex(Arc<str>, Option<Arc<Resolved>>),
}

/// Its bytes.
pub(super) fn encode(group: &GroupId, fact: &ConsumerFact) -> Encoded {
    let whole = |kind: i16| put(kind, &ConsumerGroupKey { group: group.as_str().to_owned() });
    let member = |kind: i16, id: &MemberId| {
        put(kind, &ConsumerMemberKey { group: group.as_str().to_owned(), member_id: id.as_str().to_owned() })
    };
    match fact {
        ConsumerFact::Epoch(value) => {
            let value = value.map(|(epoch, hash)| ConsumerGroupValue { epoch: epoch.get(), metadata_hash: hash });
            Encoded::of(whole(GROUP_KEY), written(value.as_ref()))
        }
        ConsumerFact::Member(id, value) => {
            Encoded::of(member(MEMBER_KEY, id), written(value.as_deref().map(member_value).as_ref()))
        }
        ConsumerFact::TargetEpoch(value) => {
            let value = value.map(|(epoch, at)| ConsumerTargetEpochValue {
                assignment_epoch: epoch.get(),
                assignment_timestamp: at.get(),
            });
            Encoded::of(whole(TARGET_EPOCH_KEY), written(value.as_ref()))
        }
        ConsumerFact::Target(id, value) => {
            let value = value.as_deref().map(|share| ConsumerTargetValue { topic_partitions: by_topic(share) });
            Encoded::of(member(TARGET_KEY, id), written(value.as_ref()))
        }
        ConsumerFact::Current(id, value) => {
            Encoded::of(member(CURRENT_KEY, id), written(value.as_deref().map(current_value).as_ref()))
        }
        ConsumerFact::Regex(regex, value) => {
            let key = ConsumerRegexKey { group: group.as_str().to_owned(), regex: regex.to_string() };
            let value = value.as_deref().map(|resolved| ConsumerRegexValue {
                topics: resolved.topics.iter().map(|topic| topic.to_string()).collect(),
                version: resolved.version,
                timestamp: resolved.at.get(),
            });
            Encoded::of(put(REGEX_KEY, &key), written(value.as_ref()))
        }
    }
}

/// Reads one; `None` for another kind.
pub(super) fn decode(kind: i16, key: Bytes, value: Option<&Bytes>) -> Result<Option<Record>, RecordFault> {
    let fault = |cause| RecordFault::Malformed { kind, cause };
    let fact = match kind {
        GROUP_KEY | TARGET_EPOCH_KEY => {
            let group = ConsumerGroupKey::decode_body(kind, key).map_err(fault)?.group;
            (group, whole_fact(kind, value).map_err(fault)?)
        }
        MEMBER_KEY | TARGET_KEY | CURRENT_KEY => {
            let key = ConsumerMemberKey::decode_body(kind, key).map_err(fault)?;
            (key.group, member_fact(kind, MemberId::new(&key.member_id), value).map_err(fault)?)
        }
        REGEX_KEY => {
            let key = ConsumerRegexKey::decode_body(kind, key).map_err(fault)?;
            let value = value.map(get::<ConsumerRegexValue>).transpose().map_err(fault)?;
            let resolved = value.map(|value| {
                Arc::new(Resolved {
                    topics: value.topics.iter().map(|topic| Arc::from(topic.as_str())).collect(),
                    version: value.version,
                    at: Timestamp::new(value.timestamp),
                })
            });
            (key.group, ConsumerFact::Regex(key.regex.into(), resolved))
        }
        _ => return Ok(None),
    };
    Ok(Some(Record::Consumer { group: GroupId::new(&fact.0), fact: fact.1 }))
}

fn whole_fact(kind: i16, value: Option<&Bytes>) -> Result<ConsumerFact, DecodeError> {
    if kind == GROUP_KEY {
        let value = value.map(get::<ConsumerGroupValue>).transpose()?;
        return Ok(ConsumerFact::Epoch(value.map(|value| (GroupEpoch::new(value.epoch), value.metadata_hash))));
    }
    let value = value.map(get::<ConsumerTargetEpochValue>).transpose()?;
    let at = |value: ConsumerTargetEpochValue| {
        (GroupEpoch::new(value.assignment_epoch), Timestamp::new(value.assignment_timestamp))
    };
    Ok(ConsumerFact::TargetEpoch(value.map(at)))
}

fn member_fact(kind: i16, id: MemberId, value: Option<&Bytes>) -> Result<ConsumerFact, DecodeError> {
    Ok(match kind {
        MEMBER_KEY => {
            let value = value.map(get::<ConsumerMemberValue>).transpose()?;
            ConsumerFact::Member(id, value.map(|value| Arc::new(read_member(value))))
        }
        TARGET_KEY => {
            let value = value.map(get::<ConsumerTargetValue>).transpose()?;
            ConsumerFact::Target(id, value.map(|value| Arc::new(share(&value.topic_partitions))))
        }
        _ => {
            let value = value.map(get::<ConsumerCurrentValue>).transpose()?;
            ConsumerFact::Current(id, value.map(|value| Arc::new(read_current(&value))))
        }
    })
}

fn written<M: Message>(value: Option<&M>) -> Option<Bytes> {
    value.map(|value| put(VALUE, value))
}

fn member_value(member: &Subscriber) -> ConsumerMemberValue {
    let protocol = |(name, metadata): &(Arc<str>, Bytes)| ClassicProtocolValue {
        name: name.to_string(),
        metadata: metadata.clone(),
    };
    ConsumerMemberValue {
        instance_id: member.instance.as_ref().map(|id| id.as_str().to_owned()),
        rack_id: member.rack.as_deref().map(str::to_owned),
        client_id: member.client.id.to_string(),
        client_host: member.client.host.to_string(),
        subscribed_topic_names: member.topics.iter().map(|topic| topic.to_string()).collect(),
        subscribed_topic_regex: member.regex.as_deref().map(str::to_owned),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        server_assignor: member.assignor.as_deref().map(str::to_owned),
        classic_member_metadata: member.classic.as_ref().map(|classic| ClassicValue {
            session_timeout_ms: classic.session_timeout_ms,
            supported_protocols: classic.protocols.iter().map(protocol).collect(),
        }),
    }
}

fn read_member(value: ConsumerMemberValue) -> Subscriber {
    // A slice would keep all that was read with it.
    let protocol = |one: &ClassicProtocolValue| (Arc::from(one.name.as_str()), Bytes::copy_from_slice(&one.metadata));
    Subscriber {
        instance: value.instance_id.as_deref().map(InstanceId::new),
        rack: value.rack_id.map(Into::into),
        client: Client::new(&value.client_id, &value.client_host),
        topics: value.subscribed_topic_names.into_iter().map(Into::into).collect(),
        regex: value.subscribed_topic_regex.filter(|regex| !regex.is_empty()).map(Into::into),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        assignor: value.server_assignor.map(Into::into),
        classic: value.classic_member_metadata.map(|classic| ClassicWords {
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic.supported_protocols.iter().map(protocol).collect(),
        }),
    }
}

fn current_value(current: &Current) -> ConsumerCurrentValue {
    ConsumerCurrentValue {
        member_epoch: current.epoch.get(),
        previous_member_epoch: current.previous.get(),
        state: match current.state {
            MemberState::Stable => 0,
            MemberState::Unrevoked => 1,
            MemberState::Unreleased => 2,
        },
        assigned_partitions: with_epochs(&current.assigned),
        partitions_pending_revocation: with_epochs(&current.revoking),
    }
}

fn read_current(value: &ConsumerCurrentValue) -> Current {
    let epoch = GroupEpoch::new(value.member_epoch);
    Current {
        epoch,
        previous: GroupEpoch::new(value.previous_member_epoch),
        state: match value.state {
            0 => MemberState::Stable,
            2 => MemberState::Unreleased,
            // Of a state that is not known here, it has to say what it holds before anything is taken for granted.
            _ => MemberState::Unrevoked,
        },
        assigned: epochs(&value.assigned_partitions, epoch),
        revoking: epochs(&value.partitions_pending_revocation, epoch),
    }
}

fn by_topic(share: &Share) -> Vec<TopicPartitionsValue> {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for id in share {
        topics.entry(id.topic).or_default().push(id.index.get());
    }
    topics.into_iter().map(|(topic_id, partitions)| TopicPartitionsValue { topic_id, partitions }).collect()
}

fn share(topics: &[TopicPartitionsValue]) -> BTreeSet<PartitionId> {
    topics.iter().flat_map(|topic| topic.partitions.iter().map(|index| partition(topic.topic_id, *index))).collect()
}

fn with_epochs(partitions: &BTreeMap<PartitionId, GroupEpoch>) -> Vec<EpochPartitionsValue> {
    let mut topics: BTreeMap<TopicId, (Vec<i32>, Vec<i32>)> = BTreeMap::new();
    for (id, epoch) in partitions {
        let (indexes, epochs) = topics.entry(id.topic).or_default();
        indexes.push(id.index.get());
        epochs.push(epoch.get());
    }
    let value = |(topic_id, (partitions, epochs))| EpochPartitionsValue {
        topic_id,
        partitions,
        assignment_epochs: Some(epochs),
    };
    topics.into_iter().map(value).collect()
}

/// An older coordinator did not note since when a member has a partition: since it reached its epoch, at the latest.
fn epochs(topics: &[EpochPartitionsValue], otherwise: GroupEpoch) -> BTreeMap<PartitionId, GroupEpoch> {
    let of_topic = |topic: &EpochPartitionsValue| {
        let known = topic.assignment_epochs.clone().unwrap_or_default();
        let topic_id = topic.topic_id;
        let one = move |(at, index): (usize, &i32)| {
            (partition(topic_id, *index), known.get(at).copied().map_or(otherwise, GroupEpoch::new))
        };
        topic.partitions.iter().enumerate().map(one).collect::<Vec<_>>()
    };
    topics.iter().flat_map(of_topic).collect()
}

fn partition(topic: TopicId, index: i32) -> PartitionId {
    PartitionId { topic, index: PartitionIndex::new(index) }
}
