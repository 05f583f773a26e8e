//! A topic is to have more partitions.
//!
//! Invariant: partitions are only ever added, after the last, with the topic's replication factor; and none to the topic
//! that keeps groups, as a group's partition follows from their number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Image, Record, Topic};
use crate::model::{NodeId, PartitionIndex};

use super::batch::{Batch, size_max};
use super::create_topics::{check_assignment, first_states, own_seed, replica_count};
use super::min_isr::effective_min_isr;
use super::place::{NobodyActive, Placer};
use super::{Decision, Event, Options, Outcomes, ReplicationFactor, Reply, Soft, TopicRefusal};

/// A request for partitions; each topic is served or refused by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePartitions {
    /// The topics.
    pub topics: Vec<GrowingTopic>,
    /// Whether to say only what would happen.
    pub validate_only: bool,
    /// Random, minted by the caller: where placement starts.
    pub seed: u64,
    /// What was answered by earlier proposals of the same request; callers leave it empty.
    pub settled: Vec<(String, Result<(), GrowRefusal>)>,
}

/// A topic that is to grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowingTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it is to have in all.
    pub count: i32,
    /// The replicas of each new one; `None` lets the controller place them.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// Why a topic does not grow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum GrowRefusal {
    /// No such topic.
    #[error("the topic is unknown")]
    UnknownTopic,
    /// The request names it twice.
    #[error("the request names the topic more than once")]
    Twice,
    /// It has as many, or more.
    #[error("the topic has {present} partitions; asked for are {asked}, which is not more")]
    NotMore {
        /// How many it has.
        present: i32,
        /// How many were asked for.
        asked: i32,
    },
    /// Not one assignment per new partition.
    #[error("{assignments} assignments were given for {added} new partitions")]
    AssignmentCount {
        /// How many were given.
        assignments: usize,
        /// How many were needed.
        added: usize,
    },
    /// For a reason that topics are refused for, too.
    #[error("{0}")]
    Topic(#[from] TopicRefusal),
    /// Which of its partitions keeps a group follows from how many there are.
    #[error(
        "the topic keeps the partitions that it was made with: with more of them groups and their committed offsets would \
         be looked for where they are not"
    )]
    KeepsGroups,
}

pub(super) fn decide(image: &Image, soft: &Soft, mut request: CreatePartitions) -> Decision {
    let mut batch = Batch::new(image, soft.options.proposal_bytes_max);
    let mut settled = std::mem::take(&mut request.settled);
    let refusals = refuse_whole(image, &request, &settled, &soft.options);
    for (at, refusal) in refusals.into_iter().enumerate() {
        let topic = &request.topics[at];
        let seed = own_seed(request.seed, settled.len());
        let planned = refusal.map_or_else(|| plan(batch.image(), &soft.options, topic, seed), Err);
        let outcome = match planned {
            Ok(records) if !request.validate_only && !batch.add_fitting(records.clone()) => {
                let topics = request.topics.split_off(at);
                let rest = Event::CreatePartitions(CreatePartitions { topics, settled, ..request });
                let decision = Decision::new(batch.into_records(), Reply::Nothing);
                return Decision { rest: Some(Box::new(rest)), ..decision };
            }
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        settled.push((topic.name.clone(), outcome));
    }
    let outcomes = Outcomes { each: settled, seen_at: image.last_applied() };
    Decision::new(batch.into_records(), Reply::CreatePartitions(outcomes))
}

/// What the request as a whole forbids: a topic named twice, or too many partitions.
fn refuse_whole(
    image: &Image,
    request: &CreatePartitions,
    settled: &[(String, Result<(), GrowRefusal>)],
    options: &Options,
) -> Vec<Option<GrowRefusal>> {
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for name in request.topics.iter().map(|topic| &topic.name).chain(settled.iter().map(|(name, _)| name)) {
        *named.entry(name).or_default() += 1;
    }
    // One that grows by none costs work, too.
    let wanted = request.topics.iter().map(|growing| added(image.topic_named(&growing.name), growing.count).max(1));
    // Once a part of the request is settled, its size was checked.
    let is_large = settled.is_empty() && wanted.sum::<usize>() > options.request_partitions_max;
    let refusal = |growing: &GrowingTopic| {
        if is_large {
            return Some(too_many(options));
        }
        (named[growing.name.as_str()] > 1).then_some(GrowRefusal::Twice)
    };
    request.topics.iter().map(refusal).collect()
}

/// How many partitions a topic lacks; one that is unknown gets none.
fn added(topic: Option<&Topic>, asked: i32) -> usize {
    topic.map_or(0, |topic| usize::try_from(asked.saturating_sub(topic.partition_count)).unwrap_or(0))
}

fn too_many(options: &Options) -> GrowRefusal {
    GrowRefusal::Topic(TopicRefusal::TooManyPartitions { partitions_max: options.request_partitions_max })
}

fn plan(image: &Image, options: &Options, growing: &GrowingTopic, seed: u64) -> Result<Vec<Record>, GrowRefusal> {
    let topic = image.topic_named(&growing.name).ok_or(GrowRefusal::UnknownTopic)?;
    let (present, asked) = (topic.partition_count, growing.count);
    let added = added(Some(topic), asked);
    if added == 0 {
        return Err(GrowRefusal::NotMore { present, asked });
    }
    if topic.name.is_consumer_offsets() {
        return Err(GrowRefusal::KeepsGroups);
    }
    // Of a rest, whose topic may be another one by now, nobody has counted.
    if added > options.request_partitions_max {
        return Err(too_many(options));
    }
    let replicas = match &growing.assignments {
        None => placed(image, options, topic, added, seed)?,
        Some(assignments) => assigned(image, topic, assignments, added)?,
    };
    let min_isr = effective_min_isr(image, &options.defaults, topic.id);
    let first = (topic.id, PartitionIndex::new(present));
    let records = first_states(image, first, &replicas, min_isr, options.proposal_bytes_max);
    if size_max(&records) > options.proposal_bytes_max {
        return Err(GrowRefusal::Topic(TopicRefusal::TooLarge { partitions: asked }));
    }
    Ok(records)
}

fn placed(
    image: &Image,
    options: &Options,
    topic: &Topic,
    added: usize,
    seed: u64,
) -> Result<Vec<Vec<NodeId>>, TopicRefusal> {
    let factor = i16::try_from(topic.replication_factor).unwrap_or(i16::MAX);
    let count = replica_count(image, options, ReplicationFactor::Asked(factor))?;
    let mut placer = Placer::new(image, seed).map_err(|NobodyActive| TopicRefusal::NobodyActive)?;
    Ok((0..added).map(|_| placer.place(count)).collect())
}

fn assigned(
    image: &Image,
    topic: &Topic,
    assignments: &[Vec<NodeId>],
    added: usize,
) -> Result<Vec<Vec<NodeId>>, GrowRefusal> {
    if assignments.len() != added {
        return Err(GrowRefusal::AssignmentCount { assignments: assignments.len(), added });
    }
    for (index, replicas) in (topic.partition_count..).zip(assignments) {
        check_assignment(image, replicas, Some(topic.replication_factor))
            .map_err(|flaw| TopicRefusal::Assignment { index, flaw })?;
    }
    Ok(assignments.to_vec())
}
