//! E4, metadata log divergence: broken by a metadata log whose indexes do not rise, or whose terms or times of commit
//! fall; by two controllers in one term; or by two nodes that hold different images at one index.
//!
//! Source: Raft's election safety and log matching. Votes are not judged: nobody outside sees them.

use std::collections::BTreeMap;

use crate::model::{Instant, LogIndex, NodeId, Term};
use crate::verify::Invariant;
use crate::verify::history::{NodeEvent, NodeEventKind};
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges the log, the controllers and the images.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for pair in index.history.metadata.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        if a.index >= b.index || a.term > b.term || a.committed_at > b.committed_at {
            findings.add(Invariant::E4, || {
                let (a, b) = ((a.index, a.term, a.committed_at), (b.index, b.term, b.committed_at));
                format!("entry {} of term {} at {}; then {} of term {} at {}", a.0, a.1, a.2, b.0, b.1, b.2)
            });
        }
    }
    let mut controllers: BTreeMap<Term, (NodeId, Instant)> = BTreeMap::new();
    let mut images: BTreeMap<LogIndex, (NodeId, Instant, u64)> = BTreeMap::new();
    for NodeEvent { node, at, what } in &index.history.node_events {
        if let NodeEventKind::Controls { term } = what {
            let (first, since) = *controllers.entry(*term).or_insert((*node, *at));
            if first != *node {
                findings.add(Invariant::E4, || {
                    format!("in term {term} controls node {first} at {since}, and node {node} at {at}")
                });
            }
        }
        if let NodeEventKind::Applied { index, digest } = what {
            let (first, since, image) = *images.entry(*index).or_insert((*node, *at, *digest));
            if image != *digest {
                findings.add(Invariant::E4, || {
                    format!(
                        "at index {index}, node {first} held {image:x} at {since}, and node {node} {digest:x} at {at}"
                    )
                });
            }
        }
    }
}
