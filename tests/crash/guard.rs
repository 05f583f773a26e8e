//! What the suite finds when a guard is out: else it proves nothing about that guard.
//!
//! A guard is out by a mutant of the code (`crate::probe`), or because the disk or who asks it does not do its part.

use ottla::probe::{self, Mutant, Plane};
use ottla::testing::{Fault, FileKind, Target};

use crate::states::{Depth, judge};
use crate::{compaction, damage, traces};

/// A guard that is out without a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Directories are not synced.
    DirectoriesUnsynced,
    /// Segments are not synced: the flush log attests what is not on the disk.
    SegmentsUnsynced,
    /// The flush log is not synced: a cut is not stated before it happens.
    FlushLogUnsynced,
    /// Small files are not synced before their rename.
    SmallFilesUnsynced,
    /// What is about to be synced is acknowledged.
    AckedBeforeSynced,
    /// What a start recovers is acknowledged at once (rule S1).
    RecoveredIsAcked,
    /// What the segments' files are long is taken for what the log holds.
    LengthsTrusted,
}

impl Broken {
    pub(crate) const ALL: [Self; 7] = [
        Self::DirectoriesUnsynced,
        Self::SegmentsUnsynced,
        Self::FlushLogUnsynced,
        Self::SmallFilesUnsynced,
        Self::AckedBeforeSynced,
        Self::RecoveredIsAcked,
        Self::LengthsTrusted,
    ];

    /// The fault of the disk that takes the guard out: a sync that says that all is well is one that was not asked for.
    pub(crate) fn fault(self) -> Option<(Fault, Target)> {
        let kind = match self {
            Self::DirectoriesUnsynced => FileKind::Directory,
            Self::SegmentsUnsynced => FileKind::Segment,
            Self::FlushLogUnsynced => FileKind::FlushLog,
            Self::SmallFilesUnsynced => FileKind::Meta,
            Self::AckedBeforeSynced | Self::RecoveredIsAcked | Self::LengthsTrusted => return None,
        };
        Some((Fault::SyncLies, Target::kind(kind)))
    }
}

/// What the suite finds first, if anything, with a mutant planted.
pub(crate) fn kills(mutant: Mutant) -> Option<String> {
    struct Planted;
    impl Drop for Planted {
        fn drop(&mut self) {
            probe::plant(None);
        }
    }
    probe::plant(Some(mutant));
    let _planted = Planted;
    first_finding(None)
}

/// What the suite finds first, if anything.
pub(crate) fn first_finding(broken: Option<Broken>) -> Option<String> {
    let at_depth = |depth| {
        let mut found = traces::ALL.iter().map(|(name, steps)| (name, judge(steps, broken, depth).map(drop)));
        found.find_map(|(name, found)| found.err().map(|finding| format!("{name}: {finding}")))
    };
    let damaged = || {
        let mut found = traces::ALL.iter().map(|(name, steps)| (name, damage::judge(steps, broken).map(drop)));
        found.find_map(|(name, found)| found.err().map(|finding| format!("{name}, damaged: {finding}")))
    };
    let compacted = || broken.map_or_else(compaction::first_finding, |_| None);
    at_depth(Depth::Glance).or_else(compacted).or_else(damaged).or_else(|| at_depth(Depth::Sampled))
}

#[test]
fn each_guard_that_is_out_is_found() {
    let missed: Vec<Broken> = Broken::ALL.into_iter().filter(|broken| !is_found(*broken)).collect();
    assert_eq!(missed, []);
}

fn is_found(broken: Broken) -> bool {
    let found = first_finding(Some(broken));
    println!("{broken:?}: {found:?}");
    found.is_some()
}

/// `src/quorum/tests/recovery.rs` finds them: the traces are those of a partition.
const OF_THE_QUORUM: &[Mutant] = &[Mutant::RecoveredQuorumCounts];

/// All of them that are of the disk's plane; others: `CRASH_MUTANT=Name,Name cargo test --test crash mutant`.
#[test]
fn each_mutant_is_found() {
    let named = std::env::var("CRASH_MUTANT").ok();
    let named = named.as_ref().map(|names| names.split(',').map(|name| Mutant::named(name).unwrap()).collect());
    let is_ours = |mutant: &Mutant| mutant.plane() == Plane::Disk && !OF_THE_QUORUM.contains(mutant);
    let of_the_disk = || Mutant::ALL.iter().copied().filter(is_ours).collect();
    let mutants: Vec<Mutant> = named.unwrap_or_else(of_the_disk);
    let missed: Vec<&str> = mutants.into_iter().filter(|mutant| !is_killed(*mutant)).map(Mutant::name).collect();
    assert_eq!(missed, [""; 0]);
}

fn is_killed(mutant: Mutant) -> bool {
    let found = kills(mutant);
    println!("{}: {found:?}", mutant.name());
    found.is_some()
}
