//! Known ways to lose data, each as a named scenario: the cluster survives it, and with one guard out a named invariant
//! falls. Of Kafka's bugs, and of the interleavings that docs/RULES.md forbids.
//!
//! Those of storage alone are states of a crash (`tests/crash`), those of the quorum's members and of whole nodes stand
//! in `src/quorum/tests/guards.rs` and `tests/simulation_nodes`.

use std::time::Duration;

use ottla::probe::{self, Mutant};
use ottla::testing::world::{Script, World};
use ottla::verify::Report;

const SPAN: Duration = Duration::from_secs(30);

fn run(script: Script, seed: u64, mutant: Option<Mutant>) -> Report {
    probe::plant(mutant);
    let report = World::run(script.plan(seed, SPAN)).report;
    probe::plant(None);
    report
}

/// How many seeds are tried: every change of the world deals its interleavings anew.
const TRIES: u64 = 60;

/// Whether a script's run is survived, and not without the guard. Seeds are tried from one on that once showed it.
fn needs(mutant: Mutant, script: Script, first: u64) {
    let falls = |report: &Report| report.counts.keys().any(|invariant| mutant.falls().contains(&invariant.name()));
    let seed = (first..first + TRIES).find(|seed| {
        // Without its guard a cluster may also never come to rest, which ends the run: that proves nothing.
        std::panic::catch_unwind(|| run(script, *seed, Some(mutant))).is_ok_and(|report| falls(&report))
    });
    probe::plant(None);
    let Some(seed) = seed else {
        panic!("{mutant:?} in {script:?}: of {:?} nothing fell in {TRIES} seeds from {first} on", mutant.falls());
    };
    let whole = run(script, seed, None);
    assert!(whole.violations.is_empty(), "{script:?}, seed {seed}: {whole}");
}

/// KIP-101: a follower that cuts its log to its high watermark loses what is committed.
#[test]
fn a_new_follower_does_not_cut_to_its_high_watermark() {
    needs(Mutant::CutsToWatermark, Script::DoubleFailover, 1);
}

/// KIP-279, KAFKA-6361: after a fast change of leaders the logs part.
#[test]
fn divergent_logs_are_cut_after_a_fast_failover() {
    needs(Mutant::LeaderSeesNoDivergence, Script::PartKill, 7);
    needs(Mutant::DivergenceIgnored, Script::DoubleFailover, 1);
}

/// KIP-966, KAFKA-14139: the last replica standing restarts, and its disk is not what it was.
#[test]
fn the_last_replica_standing_proves_its_disk() {
    needs(Mutant::DisksTakenOnTrust, Script::OldDisk, 5);
}

/// Rule S3: a broker serves again before it has said which of its logs are less than they were.
#[test]
fn a_log_that_is_less_than_it_was_is_named_first() {
    needs(Mutant::SuspectsKept, Script::Rot, 46);
}

/// Rule S12: a leader that the controller hears and no follower does.
#[test]
fn a_leader_that_its_followers_cannot_reach_is_moved() {
    needs(Mutant::UnreachableLeaderStays, Script::Unreachable, 7);
}

/// KIP-966: who leaves an ISR that can commit without it is not eligible.
#[test]
fn only_isr_and_elr_lead_when_the_replicas_go_one_by_one() {
    needs(Mutant::AnyReplicaLeads, Script::LastReplica, 1);
    needs(Mutant::ElrOutlivesMinIsr, Script::LastReplica, 1);
}

/// KAFKA-13091, KAFKA-15021, KAFKA-19996: an ISR counts before it is decided, or after another was.
#[test]
fn an_isr_counts_only_as_decided() {
    needs(Mutant::ShrinkMovesWatermark, Script::SlowJoin, 1);
    needs(Mutant::WatermarkIgnoresPending, Script::SlowJoin, 12);
}

/// KAFKA-9491, KAFKA-15510, Redpanda #6301: what a new leader tells before it knows.
#[test]
fn a_new_leader_tells_no_latest_offset_too_early() {
    needs(Mutant::LatestBeforeKnown, Script::PartKill, 5);
    needs(Mutant::OutOfRangeAboveWatermark, Script::PartKill, 5);
}

/// Rule S1: a follower is killed before its flush, reads its log again, and the power goes.
#[test]
fn what_is_not_flushed_is_not_fetched_from() {
    needs(Mutant::UnflushedIsFetched, Script::PowerLossOfAll, 4);
}

/// Rule S3: a process acts on metadata from before it was registered.
#[test]
fn a_start_obeys_no_image_in_which_it_is_not_registered() {
    needs(Mutant::ActsOnOldImage, Script::PartKill, 13);
}

/// Rule S15: what a former life asked comes late.
#[test]
fn a_former_life_is_not_heard() {
    needs(Mutant::BootStays, Script::LateRequests, 1);
    needs(Mutant::OldBootRegisters, Script::LateRequests, 2);
}

/// Rule S2: the answer is lost, the producer asks again, and the leader dies before anybody else has the first.
#[test]
fn a_duplicate_is_answered_when_its_original_is_committed() {
    needs(Mutant::DuplicateAnsweredAtOnce, Script::PartKill, 1);
}

/// Rule S4: a topic is made while brokers are away.
#[test]
fn a_topic_never_gets_fewer_replicas_than_were_asked_for() {
    needs(Mutant::FewerReplicas, Script::RecreateWhileDown, 1);
}

/// Rule S5: the quorum stalls, and two proposals rest on the same image.
#[test]
fn a_proposal_on_another_base_changes_nothing() {
    needs(Mutant::AnyBaseAccepted, Script::SickController, 8);
}

/// Rule S8: a producer asks again for several batches, of a log that was opened anew.
#[test]
fn a_log_knows_its_producers_after_a_restart() {
    needs(Mutant::SnapshotKeepsLastBatch, Script::LastReplica, 15);
    needs(Mutant::SnapshotOffByOne, Script::LastReplica, 10);
}

/// Rules S10 and S14: a fence takes several proposals, and the controller goes after the first.
#[test]
fn what_a_fence_owes_is_done_by_whoever_controls() {
    needs(Mutant::OwedOnlyAtTheFence, Script::SmallProposals, 9);
    needs(Mutant::ProposalUnbounded, Script::SmallProposals, 5);
}

/// Rule S11: a leader's disk stands still, and its heartbeats go on.
#[test]
fn a_leader_whose_work_stands_still_is_replaced() {
    needs(Mutant::StalledBrokerStays, Script::Stall, 6);
}

/// Rule S16: a controller is out of descriptors while a leader is dead.
#[test]
fn a_controller_that_can_dial_nobody_hands_over() {
    needs(Mutant::BlindControllerStays, Script::BlindController, 7);
}

/// Rule S18: a follower dies, and nobody else is to notice.
#[test]
fn a_smaller_isr_under_the_same_leader_begins_no_epoch() {
    needs(Mutant::ShrinkRaisesLeaderEpoch, Script::PartKill, 1);
}

/// KIP-320, KAFKA-6880: a follower with lagging metadata fetches across two elections without a word of its epochs.
#[test]
fn a_follower_fetches_with_the_epoch_of_its_last_record() {
    needs(Mutant::LastEpochForgotten, Script::PartKill, 7);
}

/// KAFKA-7128: a follower has the high watermark that a new leader knows, and not what its predecessor committed.
#[test]
fn who_joins_holds_all_from_before_the_leaders_epoch() {
    needs(Mutant::JoinBelowEpochStart, Script::DoubleFailover, 4);
}

/// KAFKA-16814 and its kin: a topic is made again under its name while a replica is away, which then has the old one's
/// directory. The guard (OldDirectoryReused) fell to none of some eighty seeds: a follower that holds something else
/// is contradicted by its leader (rule R21). `guarded.txt` names its unit test.
#[test]
fn a_topic_made_again_has_nothing_of_the_old_one() {
    for seed in 1..=4 {
        let report = run(Script::RecreateWhileDown, seed, None);
        assert!(report.violations.is_empty(), "seed {seed}: {report}");
    }
}

/// Rule R7: a leader that stood still wakes up and is none any more.
#[test]
fn a_leader_that_resigns_acknowledges_nothing() {
    needs(Mutant::ResignAcknowledges, Script::PauseKill, 2);
}

/// Retention deletes what is old, and not what is only written.
#[test]
fn retention_spares_what_is_not_committed() {
    needs(Mutant::RetentionIgnoresWatermark, Script::Retention, 1);
}

/// A process that a failed sync had ended is followed by one that takes the pages for written: they are clean.
#[test]
fn what_a_failed_sync_left_in_the_cache_is_written_again() {
    for seed in 1..=6 {
        let report = run(Script::FailedSyncs, seed, None);
        assert!(report.violations.is_empty(), "seed {seed}: {report}");
    }
}
