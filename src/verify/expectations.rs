//! What a run was promised, by its configuration and by who made its faults.
//!
//! Given to `check` beside the history. Invariant: the defaults are the strictest promise that Ottla makes without
//! leases; a run that allows more says so.

use std::time::Duration;

/// What a run was promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectations {
    /// How old a read may be.
    pub reads: ReadProfile,
    /// What an acknowledgement survives.
    pub flush: FlushPromise,
    /// Whether a replica that may lack acknowledged records may lead.
    pub unclean_election: UncleanElection,
    /// Who may take records away.
    pub retention: Retention,
    /// What else may go: where records have keys, and the topics are compacted.
    pub compaction: Option<Compaction>,
    /// How long things may take.
    pub bounds: Bounds,
    /// Below this a run proves nothing.
    pub activity: Activity,
}

/// How old a read may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadProfile {
    /// As Kafka's: a leader that was replaced and does not know it may serve what was committed before.
    Kafka,
    /// Leases: a leader serves all that was acknowledged or read before.
    Strict,
}

/// What an acknowledgement survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPromise {
    /// The loss of power of every replica: everything was synced.
    Durable,
    /// The end of processes; once power was lost, nothing is promised.
    PageCache,
}

/// Whether a replica that may lack acknowledged records may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UncleanElection {
    /// Never.
    Forbidden,
    /// The run allowed it, and with it the loss of acknowledged records.
    Allowed,
}

/// Who may take records away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Only who deletes records or topics.
    Unlimited,
    /// Also age and size.
    Limited,
}

/// What compaction may take, but for values that have later ones of their key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// For how long a tombstone stays at least: `delete.retention.ms`, less what the nodes' wall clocks are apart.
    pub tombstones: Duration,
    /// Whether a copy may have lost a tombstone that it held, and fetched past its place when it was gone elsewhere: where
    /// a disk was harmed or replaced.
    pub copies_made_anew: bool,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The longest that a partition that could be served takes no write.
    pub unavailable: Duration,
    /// The longest from the end of the faults until everything is served and equal again.
    pub recovery: Duration,
    /// The longest that an operation of a client is open.
    pub operation: Duration,
    /// The longest from a node's applying a change of the metadata until its partitions obey it.
    pub reaction: Duration,
    /// The longest that a replaced leader may go on acknowledging what it alone keeps: a session, and how late metadata
    /// may be (rule R20).
    pub session: Duration,
    /// The longest that a read is stale after the faults have ended, in the profile `Kafka`.
    pub stale: Duration,
}

/// The least activity of a run that proves something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Writes that were acknowledged while a fault was on.
    pub acknowledged_during_faults: u64,
    /// Elections that changed or renewed a leader.
    pub leader_changes: u64,
    /// Records that were read in a later leader epoch than the first.
    pub read_after_failover: u64,
    /// Operations that were open during each fault.
    pub overlap_per_fault: u64,
}

impl Activity {
    /// For a run that is not meant to have faults.
    pub const NONE: Self =
        Self { acknowledged_during_faults: 0, leader_changes: 0, read_after_failover: 0, overlap_per_fault: 0 };
}

impl Default for Expectations {
    fn default() -> Self {
        Self {
            reads: ReadProfile::Kafka,
            flush: FlushPromise::Durable,
            unclean_election: UncleanElection::Forbidden,
            retention: Retention::Unlimited,
            compaction: None,
            bounds: Bounds::default(),
            activity: Activity::default(),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            unavailable: Duration::from_secs(5),
            recovery: Duration::from_secs(15),
            operation: Duration::from_secs(60),
            reaction: Duration::from_secs(1),
            session: Duration::from_secs(15),
            stale: Duration::from_secs(5),
        }
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self { acknowledged_during_faults: 10, leader_changes: 1, read_after_failover: 1, overlap_per_fault: 1 }
    }
}
