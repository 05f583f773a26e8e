//! E7, administration durability: broken by a topic whose creation was promised and which is not in the metadata, or is
//! gone without anybody's wish; by one whose deletion was promised and which is in the metadata still; by a deleted
//! topic of which a replica, a reader or the metadata speak later; or by a topic id or a living topic's name given twice.
//!
//! Source: Jepsen's registers; KAFKA-16814 and its kin (a topic made again while a broker was down). A broker that was
//! cut off may serve a deleted topic for a while: reads are judged once the faults have been over for the bound of stale
//! reads, and the deletion as old. That deleted records stay deleted is B11's.

use std::collections::BTreeMap;

use crate::model::{Instant, TopicId};
use crate::verify::Invariant;
use crate::verify::history::{AdministrationKind, Class, MetadataFact};
use crate::verify::index::{Index, read_by};
use crate::verify::report::Findings;

/// A topic, as the metadata log says it.
struct Topic<'h> {
    name: &'h str,
    created_at: Instant,
    deleted_at: Option<Instant>,
}

type Topics<'h> = BTreeMap<TopicId, Topic<'h>>;

/// Judges every topic.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.history.metadata.is_empty() {
        return;
    }
    let topics = replay(index, findings);
    check_promises(index, &topics, findings);
    check_wishes(index, &topics, findings);
    check_remains(index, &topics, findings);
}

fn replay<'h>(index: &Index<'h>, findings: &mut Findings) -> Topics<'h> {
    let mut topics = Topics::new();
    for entry in index.history.metadata.iter().filter(|entry| entry.accepted) {
        let at = entry.committed_at;
        for fact in &entry.facts {
            match fact {
                MetadataFact::TopicCreated { topic, name } => create(&mut topics, *topic, name, at, findings),
                MetadataFact::TopicDeleted { topic } => delete(&mut topics, *topic, at, findings),
                MetadataFact::Partition(state) => {
                    let topic = topics.get(&state.partition.topic);
                    if let Some(gone) = topic.and_then(|topic| topic.deleted_at) {
                        let id = state.partition;
                        findings.add(Invariant::E7, || {
                            format!("{id} has a new state at {at}, but its topic went at {gone}")
                        });
                    }
                }
                MetadataFact::Registered { .. } | MetadataFact::Unfenced { .. } | MetadataFact::Fenced { .. } => {}
            }
        }
    }
    topics
}

fn create<'h>(topics: &mut Topics<'h>, id: TopicId, name: &'h str, at: Instant, findings: &mut Findings) {
    let lives = |topic: &Topic<'_>| topic.deleted_at.is_none();
    if let Some((other, topic)) = topics.iter().find(|(_, topic)| topic.name == name && lives(topic)) {
        let since = topic.created_at;
        findings.add(Invariant::E7, || format!("{name} is created as {id} at {at}; it is {other} since {since}"));
    }
    if let Some(before) = topics.insert(id, Topic { name, created_at: at, deleted_at: None }) {
        let (other, since) = (before.name, before.created_at);
        findings.add(Invariant::E7, || format!("topic id {id} is given to {name} at {at}; {other} had it at {since}"));
    }
}

fn delete(topics: &mut Topics<'_>, id: TopicId, at: Instant, findings: &mut Findings) {
    let Some(topic) = topics.get_mut(&id) else { return };
    if let Some(before) = topic.deleted_at.replace(at) {
        findings.add(Invariant::E7, || format!("topic {id} is deleted at {at}, and was at {before}"));
    }
}

/// What was promised is in the metadata.
fn check_promises(index: &Index<'_>, topics: &Topics<'_>, findings: &mut Findings) {
    for administration in index.history.administrations.iter().filter(|a| a.class == Class::Ok) {
        let (invoked, returned) = (administration.invoked, administration.returned);
        match &administration.what {
            AdministrationKind::CreateTopic { name, topic: Some(id), .. } => {
                if topics.get(id).is_none_or(|topic| topic.name != name) {
                    findings.add(Invariant::E7, || {
                        format!(
                            "topic {name} was asked for at {invoked}, promised as {id} at {returned:?}, and never made"
                        )
                    });
                }
            }
            AdministrationKind::DeleteTopic { topic: id } => {
                if topics.get(id).is_some_and(|topic| topic.deleted_at.is_none()) {
                    findings.add(Invariant::E7, || {
                        format!("topic {id}: its deletion was promised at {returned:?}; it is still there")
                    });
                }
            }
            AdministrationKind::CreatePartitions { topic: id, count } => {
                let made = index.partitions.iter().filter(|facts| facts.id.topic == *id && !facts.states.is_empty());
                let lives = topics.get(id).is_some_and(|topic| topic.deleted_at.is_none());
                let made = i32::try_from(made.count()).unwrap_or(i32::MAX);
                if lives && made < *count {
                    findings.add(Invariant::E7, || {
                        format!("topic {id} was promised {count} partitions at {returned:?}; it has {made}")
                    });
                }
            }
            AdministrationKind::CreateTopic { topic: None, .. } | AdministrationKind::DeleteRecords { .. } => {}
        }
    }
}

/// What is gone, somebody wished away.
fn check_wishes(index: &Index<'_>, topics: &Topics<'_>, findings: &mut Findings) {
    for (id, topic) in topics {
        let Some(gone) = topic.deleted_at else { continue };
        let wished = index.history.administrations.iter().any(|a| {
            let names = matches!(&a.what, AdministrationKind::DeleteTopic { topic } if topic == id);
            names && a.class != Class::Fail && a.invoked <= gone
        });
        if !wished {
            findings.add(Invariant::E7, || format!("topic {id} went at {gone}; nobody had asked for that"));
        }
    }
}

/// Nobody speaks of what is gone.
fn check_remains(index: &Index<'_>, topics: &Topics<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        let Some(gone) = topics.get(&facts.id.topic).and_then(|topic| topic.deleted_at) else { continue };
        if let Some(poll) = facts.polls.iter().find(|poll| index.must_know(poll.node, gone, poll.invoked)) {
            let id = facts.id;
            findings.add(Invariant::E7, || format!("{id} went at {gone}, but was read by {}", read_by(poll)));
        }
        if index.settled_at().is_none_or(|settled| gone > settled) {
            continue;
        }
        if let Some(dump) = facts.dumps.first() {
            let (id, node) = (facts.id, dump.node);
            findings.add(Invariant::E7, || format!("{id} went at {gone}, but node {node} holds it in the end"));
        }
        if facts.ending.is_some() || facts.scan.is_some() {
            let id = facts.id;
            findings.add(Invariant::E7, || format!("{id} went at {gone}, but is there in the end"));
        }
    }
}
