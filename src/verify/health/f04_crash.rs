//! F4, crash: broken by a process that panics, or that ends by itself without a fault that explains it.
//!
//! Source: no fault that is made may bring a node down but by design: a failed or full disk.

use crate::verify::Invariant;
use crate::verify::history::{NodeEvent, NodeEventKind};
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges every end of a process.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for NodeEvent { node, at, what } in &index.history.node_events {
        if let NodeEventKind::Panicked { message } = what {
            findings.add(Invariant::F4, || format!("node {node} panicked at {at}: {message}"));
        }
        if let NodeEventKind::Exited { reason, expected: false } = what {
            findings.add(Invariant::F4, || format!("node {node} ended by itself at {at}: {reason}"));
        }
    }
}
