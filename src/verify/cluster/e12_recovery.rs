//! E12, recovery honesty: broken by a restarted node whose log ends below what it had attested as durable, without
//! naming the partition as suspect; or whose log ends, after its power went, above what an outsider knows was on its
//! disk then.
//!
//! Source: KIP-966's unclean-shutdown rules; rules R12, S1, S3. After the end of a process alone, what it had written is
//! in the page cache, and may be more than what was on the disk.

use std::collections::BTreeMap;

use crate::model::NodeId;
use crate::verify::Invariant;
use crate::verify::history::{NodeEvent, NodeEventKind};
use crate::verify::index::{Index, Turn, turn};
use crate::verify::report::Findings;

/// Judges every opening of a log.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let mut ended: BTreeMap<NodeId, Turn> = BTreeMap::new();
    for NodeEvent { node, at, what } in &index.history.node_events {
        if let Some(turn) = turn(what).filter(|turn| *turn != Turn::Began) {
            ended.insert(*node, turn);
        }
        let NodeEventKind::Recovered { partition, end, attested, durable, suspected } = what else { continue };
        if end < attested && !suspected {
            findings.add(Invariant::E12, || {
                format!("{partition}: node {node} found {end} at {at} and suspects nothing; {attested} was attested")
            });
        }
        let lost_power = ended.get(node) == Some(&Turn::LostPower);
        if let Some(durable) = durable.filter(|durable| lost_power && end > durable) {
            findings.add(Invariant::E12, || {
                format!("{partition}: node {node} found {end} at {at}; after its power went, its disk held {durable}")
            });
        }
    }
}
