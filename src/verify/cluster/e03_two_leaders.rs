//! E3, two leaders in one epoch: broken by a leader epoch of a partition that two nodes claim: by taking it up, by
//! acknowledging a produce, by answering a fetch as its leader, or by the metadata.
//!
//! Source: rule R1; Raft's election safety, for partitions.

use std::collections::BTreeMap;

use crate::model::{LeaderEpoch, NodeId, PartitionId};
use crate::verify::Invariant;
use crate::verify::history::{Class, NodeEvent, NodeEventKind, Poll, Send};
use crate::verify::index::{Index, read_by, sent};
use crate::verify::report::Findings;

/// How a node came to be known as leader.
#[derive(Clone, Copy)]
enum Claim<'h> {
    TookUp(&'h NodeEvent),
    Acknowledged(&'h Send),
    Answered(&'h Poll),
    InMetadata,
}

type Leaders<'h> = BTreeMap<(PartitionId, LeaderEpoch), (NodeId, Claim<'h>)>;

/// Judges every claim.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let mut leaders = Leaders::new();
    let mut claim = |partition, epoch, node, claim| {
        let (first, by) = *leaders.entry((partition, epoch)).or_insert((node, claim));
        if first != node {
            findings.add(Invariant::E3, || {
                let (by, claim) = (text(by), text(claim));
                format!("{partition}: in epoch {epoch} leads node {first}: {by}; but also node {node}: {claim}")
            });
        }
    };
    for facts in &index.partitions {
        for state in facts.states.iter().map(|committed| committed.state) {
            if let Some(node) = state.leader {
                claim(facts.id, state.leader_epoch, node, Claim::InMetadata);
            }
        }
    }
    for event in &index.history.node_events {
        if let NodeEventKind::Leads { partition, epoch, .. } = event.what {
            claim(partition, epoch, event.node, Claim::TookUp(event));
        }
    }
    for send in index.history.sends.iter().filter(|send| matches!(send.class, Class::Ok | Class::Weak)) {
        if let Some((node, epoch)) = send.answered_by {
            claim(send.partition, epoch, node, Claim::Acknowledged(send));
        }
    }
    for poll in index.history.polls.iter().filter(|poll| poll.as_leader) {
        claim(poll.partition, poll.leader_epoch, poll.node, Claim::Answered(poll));
    }
}

fn text(claim: Claim<'_>) -> String {
    match claim {
        Claim::TookUp(event) => format!("it took it up at {}", event.at),
        Claim::Acknowledged(send) => sent(send).to_string(),
        Claim::Answered(poll) => format!("it answered {}", read_by(poll)),
        Claim::InMetadata => "by the metadata".to_owned(),
    }
}
