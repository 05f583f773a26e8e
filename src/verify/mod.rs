//! Judges a history: what clients were told, what nodes hold, what the metadata says.
//!
//! Called by the simulation, and later by whoever breaks a real cluster. Invariant: knows nothing of how the cluster
//! works; what it judges are facts that anybody outside could have noted.

pub mod history;
mod expectations;
mod invariant;
mod report;
mod index;
mod log;
mod reads;
mod groups;
mod cluster;
mod health;
mod live;

pub use expectations::{
    Activity, Bounds, Compaction, Expectations, FlushPromise, ReadProfile, Retention, UncleanElection,
};
pub use history::History;
pub use invariant::Invariant;
pub use live::{PartitionView, ReplicaView, RoleView, check_live};
pub use report::{KEPT_MAX, Report, Statistics, Validity, Violation};

use index::Index;
use report::Findings;

/// One invariant's judgement of a whole run.
type Check = fn(&Index<'_>, &mut Findings);

/// Judges a run.
#[must_use]
pub fn check(history: &History, expectations: &Expectations) -> Report {
    let index = Index::new(history, expectations);
    let mut findings = Findings::default();
    for check in [log::CHECKS, reads::CHECKS, groups::CHECKS, cluster::CHECKS, health::CHECKS].into_iter().flatten() {
        check(&index, &mut findings);
    }
    let validity = health::judge_validity(&index, &mut findings);
    findings.into_report(validity)
}

#[cfg(test)]
mod tests;
