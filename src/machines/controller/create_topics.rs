//! Topics are to be made.
//!
//! Invariant: a topic appears whole, with its configurations and all its partitions, by one proposal; and with the
//! replication factor that was asked for or configured, never a smaller one (rule S4).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Broker, ConfigResource, Image, Partition, Record, Topic};
use crate::model::{
    InvalidConfig, NodeId, PartitionId, PartitionIndex, TopicConfigs, TopicId, TopicName, TopicNameError,
};
use crate::probe::{Mark, Mutant, mark, planted};

use super::batch::{Batch, size_max};
use super::elect::{nobody, with_isr};
use super::min_isr::min_isr_to_be;
use super::place::{NobodyActive, Placer};
use super::{Decision, Event, Options, Reply, Soft};

/// A request for topics; each is made or refused by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Whether to say only what would happen.
    pub validate_only: bool,
    /// Random, minted by the caller: where placement starts.
    pub seed: u64,
    /// What was answered by earlier proposals of the same request; callers leave it empty.
    pub settled: Vec<(String, Result<CreatedTopic, TopicRefusal>)>,
}

/// A topic that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// Random, minted by the caller: names the request, and the topic's id is made of it.
    pub id: TopicId,
    /// Its name, not yet checked.
    pub name: String,
    /// How many partitions; `None` takes the default.
    pub partitions: Option<i32>,
    /// How many replicas each has.
    pub replication_factor: ReplicationFactor,
    /// Who keeps which partition; empty lets the controller place them.
    pub assignments: Vec<ManualAssignment>,
    /// Its configurations.
    pub configs: Vec<(String, Option<String>)>,
}

/// How many replicas a topic is to have, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicationFactor {
    /// `default.replication.factor`. While fewer brokers are registered the request waits (rule S4).
    Default,
    /// Another configuration's, such as `offsets.topic.replication.factor`; waits alike (rule S4).
    Configured(i16),
    /// The client's own number: too many are refused for good.
    Asked(i16),
}

/// Where a partition is to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualAssignment {
    /// The partition's number.
    pub index: i32,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
}

/// A topic that was made, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTopic {
    /// Its identity.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: i32,
    /// Its replicas.
    pub replication_factor: i16,
}

/// Why a topic is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TopicRefusal {
    /// The name breaks a rule.
    #[error("{0}")]
    Name(#[from] TopicNameError),
    /// The request names it more than once.
    #[error("the request names the topic more than once")]
    Twice,
    /// There is one of that name.
    #[error("topic '{name}' already exists")]
    AlreadyExists {
        /// The name.
        name: TopicName,
    },
    /// There is one whose name differs only in '.' for '_', so that their metrics would collide.
    #[error("topic '{name}' collides with existing topic '{other}'")]
    Collides {
        /// The name.
        name: TopicName,
        /// The one that exists.
        other: TopicName,
    },
    /// A configuration is not valid.
    #[error("{0}")]
    Config(#[from] InvalidConfig),
    /// Fewer than one partition.
    #[error("the number of partitions is {partitions}; it must be at least 1")]
    Partitions {
        /// What was asked for.
        partitions: i32,
    },
    /// Fewer than one replica.
    #[error("the replication factor is {replication_factor}; it must be at least 1")]
    Replicas {
        /// What was asked for.
        replication_factor: i16,
    },
    /// More replicas than brokers.
    #[error("the replication factor is {replication_factor}, but only {registered} brokers are registered")]
    TooFewBrokers {
        /// What was asked for.
        replication_factor: i16,
        /// How many there are.
        registered: usize,
    },
    /// More replicas than brokers so far; retriable (rule S4).
    #[error("the configured replication factor is {replication_factor}; waiting for brokers, {registered} registered")]
    WaitingForBrokers {
        /// What is configured.
        replication_factor: i16,
        /// How many there are.
        registered: usize,
    },
    /// Every broker is fenced or shutting down; retriable.
    #[error("no broker is active, so none can lead")]
    NobodyActive,
    /// A manual assignment together with a number of partitions or replicas.
    #[error("a topic with manual assignments names neither partitions nor replication factor")]
    AssignedAndCounted,
    /// A manual assignment that makes no sense.
    #[error("the assignment of partition {index} {flaw}")]
    Assignment {
        /// The partition.
        index: i32,
        /// What is wrong with it.
        flaw: AssignmentFlaw,
    },
    /// The request asks for too many partitions in all.
    #[error("the request asks for more than {partitions_max} partitions")]
    TooManyPartitions {
        /// How many one request may ask for.
        partitions_max: usize,
    },
    /// The topic alone is more than one proposal holds, so it could not appear whole.
    #[error("{partitions} partitions are too many to create at once; create fewer and add the rest later")]
    TooLarge {
        /// How many were asked for.
        partitions: i32,
    },
}

/// What is wrong with a manual assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum AssignmentFlaw {
    /// Partitions are numbered from 0 without gaps.
    #[error("is missing or stands twice; partitions are numbered from 0 without gaps")]
    Gap,
    /// Nobody is to keep it.
    #[error("names no broker")]
    Empty,
    /// A broker is named twice.
    #[error("names broker {0} twice")]
    Twice(NodeId),
    /// A broker is not registered.
    #[error("names broker {0}, which is not registered")]
    Unknown(NodeId),
    /// Another partition has another number of replicas.
    #[error("has another number of replicas than that of partition 0")]
    Uneven,
    /// None of the brokers could lead.
    #[error("names only brokers that are fenced or shutting down")]
    NobodyActive,
}

pub(super) fn decide(image: &Image, soft: &Soft, mut request: CreateTopics) -> Decision {
    let mut batch = Batch::new(image, soft.options.proposal_bytes_max);
    let mut settled = std::mem::take(&mut request.settled);
    let refusals = refuse_whole(&request, &settled, &soft.options);
    for (at, refusal) in refusals.into_iter().enumerate() {
        let topic = &request.topics[at];
        let seed = own_seed(request.seed, settled.len());
        let plan = refusal.map_or_else(|| plan(batch.image(), &soft.options, topic, seed), Err);
        let outcome = match plan {
            Ok((created, records)) => {
                if !batch.add_fitting(records) {
                    // The batch is full: the others follow in proposals of their own (rule S14).
                    let topics = request.topics.split_off(at);
                    return stop(batch, CreateTopics { topics, settled, ..request });
                }
                Ok(created)
            }
            Err(refusal) => Err(refusal),
        };
        settled.push((topic.name.clone(), outcome));
    }
    let records = if request.validate_only { Vec::new() } else { batch.into_records() };
    Decision::new(records, Reply::CreateTopics(settled))
}

fn stop(batch: Batch, rest: CreateTopics) -> Decision {
    let records = if rest.validate_only { Vec::new() } else { batch.into_records() };
    Decision { rest: Some(Box::new(Event::CreateTopics(rest))), ..Decision::new(records, Reply::Nothing) }
}

/// What the request as a whole forbids: a topic named twice, or too many partitions.
fn refuse_whole(
    request: &CreateTopics,
    settled: &[(String, Result<CreatedTopic, TopicRefusal>)],
    options: &Options,
) -> Vec<Option<TopicRefusal>> {
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for name in request.topics.iter().map(|topic| &topic.name).chain(settled.iter().map(|(name, _)| name)) {
        *named.entry(name).or_default() += 1;
    }
    // One that asks for none costs work, too.
    let wanted = request.topics.iter().map(|topic| {
        let counted = topic.partitions.unwrap_or(options.defaults.partitions);
        if topic.assignments.is_empty() {
            usize::try_from(counted).unwrap_or(0).max(1)
        } else {
            topic.assignments.len()
        }
    });
    // Once a part of the request is settled, its size was checked.
    let is_large = settled.is_empty() && wanted.sum::<usize>() > options.request_partitions_max;
    let refusal = |topic: &NewTopic| {
        if is_large {
            return Some(TopicRefusal::TooManyPartitions { partitions_max: options.request_partitions_max });
        }
        (named[topic.name.as_str()] > 1).then_some(TopicRefusal::Twice)
    };
    request.topics.iter().map(refusal).collect()
}

/// Where the placement of a request's topic number `at` starts: all at one place, small topics would all be led by one
/// broker.
pub(super) fn own_seed(seed: u64, at: usize) -> u64 {
    seed.wrapping_add(u64::try_from(at).expect("a place in a list fits in 64 bits"))
}

fn made(topic: &Topic) -> CreatedTopic {
    let replication_factor = i16::try_from(topic.replication_factor).unwrap_or(i16::MAX);
    CreatedTopic { id: topic.id, partitions: topic.partition_count, replication_factor }
}

fn plan(
    image: &Image,
    options: &Options,
    topic: &NewTopic,
    seed: u64,
) -> Result<(CreatedTopic, Vec<Record>), TopicRefusal> {
    let name = TopicName::new(&topic.name)?;
    if let Some(existing) = image.topic_named(name.as_str()) {
        // The same request once more, because its first answer was lost: the id was minted for it.
        return if existing.id.is_of(topic.id) {
            Ok((made(existing), Vec::new()))
        } else {
            Err(TopicRefusal::AlreadyExists { name })
        };
    }
    if let Some(other) = image.topics().topic_colliding(&name) {
        return Err(TopicRefusal::Collides { name, other: other.name.clone() });
    }
    let configs = check_configs(image, options, topic)?;
    let replicas =
        if topic.assignments.is_empty() { placed(image, options, topic, seed)? } else { assigned(image, topic)? };
    // Whoever was away while a topic was deleted still holds its records under its id.
    let id = TopicId::minted(topic.id, image.last_applied());
    let created = CreatedTopic {
        id,
        partitions: i32::try_from(replicas.len()).expect("partitions were counted in an i32"),
        replication_factor: i16::try_from(replicas[0].len()).unwrap_or(i16::MAX),
    };
    let resource = ConfigResource::Topic(id);
    let config = |(name, value): (&str, &str)| Record::ConfigSet {
        resource: resource.clone(),
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    let mut records = vec![Record::TopicCreated { topic: id, name }];
    records.extend(configs.iter().map(config));
    let min_isr = min_isr_to_be(image, &options.defaults, &configs, replicas[0].len());
    let room = options.proposal_bytes_max.saturating_sub(size_max(&records));
    records.extend(first_states(image, (id, PartitionIndex::new(0)), &replicas, min_isr, room));
    let fits = size_max(&records) <= options.proposal_bytes_max;
    if fits { Ok((created, records)) } else { Err(TopicRefusal::TooLarge { partitions: created.partitions }) }
}

/// The new partitions, numbered from `first`: the ISR of each is who is active of its replicas, and the first of them
/// leads. Of one that begins below its minimum everybody is eligible, for nobody lacks anything that is committed (rule
/// R11). So many states as do not fit into `room` bytes are not written out, and the members of their ISRs alone are.
pub(super) fn first_states(
    image: &Image,
    (topic, first): (TopicId, PartitionIndex),
    replicas: &[Vec<NodeId>],
    min_isr: usize,
    room: usize,
) -> Vec<Record> {
    let is_active = |node: &NodeId| image.brokers().is_active(*node);
    assert!(replicas.iter().all(|each| each.iter().any(is_active)), "a new partition has an active replica");
    assert!(replicas.iter().all(|each| each.len() == replicas[0].len()), "all partitions have as many replicas");
    let isr_of = |replicas: &[NodeId]| replicas.iter().copied().filter(is_active).collect::<Vec<_>>();
    if replicas.iter().any(|each| isr_of(each).len() < min_isr) && !planted(Mutant::BeginnersIneligible) {
        mark(Mark::BegunBelowMinimum);
        let state = |replicas: &Vec<NodeId>| {
            let isr = isr_of(replicas);
            let leader = isr.first().copied();
            let whole = Partition::new(replicas.clone(), replicas.clone());
            Partition { leader, ..with_isr(&whole, isr, min_isr, &nobody) }
        };
        let partition = |index| PartitionId { topic, index: PartitionIndex::new(index) };
        let states = (first.get()..).zip(replicas);
        let created =
            |(index, replicas)| Record::PartitionCreated { partition: partition(index), state: state(replicas) };
        let written: Vec<Record> = states.map(created).collect();
        if size_max(&written) <= room {
            return written;
        }
    }
    let replica_count = u16::try_from(replicas[0].len()).expect("a replication factor fits in 16 bits");
    let replicas = replicas.concat();
    let absent: BTreeSet<NodeId> = replicas.iter().copied().filter(|node| !is_active(node)).collect();
    let absent = absent.into_iter().collect();
    vec![Record::PartitionsCreated { topic, first, replica_count, replicas, absent }]
}

fn check_configs(image: &Image, options: &Options, topic: &NewTopic) -> Result<TopicConfigs, TopicRefusal> {
    let mut configs = TopicConfigs::new();
    for (name, value) in &topic.configs {
        let value = value.as_deref().ok_or_else(|| InvalidConfig::Missing { name: name.clone() })?;
        configs.set(name, value)?;
    }
    configs.check_together(&image.configs().topic_defaults(&options.defaults.topic))?;
    Ok(configs)
}

fn placed(image: &Image, options: &Options, topic: &NewTopic, seed: u64) -> Result<Vec<Vec<NodeId>>, TopicRefusal> {
    let partitions = topic.partitions.unwrap_or(options.defaults.partitions);
    if partitions < 1 {
        return Err(TopicRefusal::Partitions { partitions });
    }
    let count = replica_count(image, options, topic.replication_factor)?;
    let mut placer = Placer::new(image, seed).map_err(|NobodyActive| TopicRefusal::NobodyActive)?;
    Ok((0..partitions).map(|_| placer.place(count)).collect())
}

/// How many replicas each partition gets: exactly what is asked for or configured, or a refusal (rule S4).
pub(super) fn replica_count(
    image: &Image,
    options: &Options,
    factor: ReplicationFactor,
) -> Result<usize, TopicRefusal> {
    let registered = image.brokers().len();
    let (replication_factor, waits) = match factor {
        ReplicationFactor::Default => (options.defaults.replication_factor, true),
        ReplicationFactor::Configured(factor) => (factor, true),
        ReplicationFactor::Asked(factor) => (factor, false),
    };
    let count = usize::try_from(replication_factor).ok().filter(|count| *count >= 1);
    let count = count.ok_or(TopicRefusal::Replicas { replication_factor })?;
    let count = if planted(Mutant::FewerReplicas) { count.min(registered.max(1)) } else { count };
    match (count <= registered, waits) {
        (true, _) => Ok(count),
        (false, true) => {
            mark(Mark::WaitingForBrokers);
            Err(TopicRefusal::WaitingForBrokers { replication_factor, registered })
        }
        (false, false) => Err(TopicRefusal::TooFewBrokers { replication_factor, registered }),
    }
}

fn assigned(image: &Image, topic: &NewTopic) -> Result<Vec<Vec<NodeId>>, TopicRefusal> {
    if topic.partitions.is_some() || topic.replication_factor != ReplicationFactor::Default {
        return Err(TopicRefusal::AssignedAndCounted);
    }
    let mut replicas = Vec::with_capacity(topic.assignments.len());
    for index in (0..).take(topic.assignments.len()) {
        let flawed = |flaw| TopicRefusal::Assignment { index, flaw };
        let mut found = topic.assignments.iter().filter(|assignment| assignment.index == index);
        let assignment = found.next().filter(|_| found.next().is_none()).ok_or(flawed(AssignmentFlaw::Gap))?;
        check_assignment(image, &assignment.replicas, replicas.first().map(Vec::len)).map_err(flawed)?;
        replicas.push(assignment.replicas.clone());
    }
    Ok(replicas)
}

/// Checks one partition's replicas; `count` is how many the others have.
pub(super) fn check_assignment(image: &Image, nodes: &[NodeId], count: Option<usize>) -> Result<(), AssignmentFlaw> {
    if nodes.is_empty() {
        return Err(AssignmentFlaw::Empty);
    }
    let mut seen = BTreeSet::new();
    for node in nodes {
        if !seen.insert(*node) {
            return Err(AssignmentFlaw::Twice(*node));
        }
        image.broker(*node).ok_or(AssignmentFlaw::Unknown(*node))?;
    }
    if count.is_some_and(|count| count != nodes.len()) {
        return Err(AssignmentFlaw::Uneven);
    }
    let can_lead = nodes.iter().any(|node| image.broker(*node).is_some_and(Broker::is_active));
    if can_lead { Ok(()) } else { Err(AssignmentFlaw::NobodyActive) }
}
