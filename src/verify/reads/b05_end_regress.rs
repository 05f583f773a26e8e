//! B5, visible end regress: broken by a ListOffsets of the latest offset which was asked after some offset had been
//! acknowledged or read, which was answered by a node that knew no older leader epoch than whoever told that, and
//! whose answer is not above it.
//!
//! Source: KIP-207. OFFSET_NOT_AVAILABLE is legal and is no answer; a node with an older epoch is B8's. Not judged in
//! a run that allowed loss.

use crate::verify::Invariant;
use crate::verify::history::{OffsetLookup, OffsetQuery};
use crate::verify::index::{Index, PartitionFacts};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        check_partition(facts, findings);
    }
}

fn check_partition(facts: &PartitionFacts<'_>, findings: &mut Findings) {
    let mut lookups: Vec<&OffsetLookup> =
        facts.lookups.iter().copied().filter(|lookup| lookup.query == OffsetQuery::Latest).collect();
    lookups.sort_by_key(|lookup| lookup.invoked);
    let mut sweep = facts.floor.sweep();
    for lookup in lookups {
        let known = sweep.known(lookup.invoked, lookup.leader_epoch);
        let (Some(answer), Some(known)) = (lookup.answer, known) else { continue };
        if answer < known.end {
            findings.add(Invariant::B5, || {
                let OffsetLookup { partition, node, leader_epoch, invoked, returned, .. } = lookup;
                format!(
                    "{partition}: node {node} in epoch {leader_epoch} told {answer} as the latest offset, asked at \
                     {invoked}, answered at {returned}; but {known}"
                )
            });
        }
    }
}
