//! Takes each guard out in turn, and looks how many seeds it takes until a named invariant falls.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ottla::probe::{self, Mutant, Plane};
use ottla::testing::world::Script;

use super::{Arguments, plan};

/// How one mutant fared.
struct Kill {
    mutant: Mutant,
    found: Option<Found>,
}

/// A run that is clean with the guard, and not without it.
struct Found {
    /// How many runs it took.
    runs: u64,
    seed: u64,
    script: Option<Script>,
    is_compacted: bool,
    fallen: Vec<&'static str>,
}

/// Runs all mutants of the machines. Whether every one fell.
pub(super) fn run_all_of(arguments: &Arguments, wanted: &[Mutant]) -> bool {
    let (next, kills) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                while let Some(mutant) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let kill = hunt(*mutant, arguments);
                    tell(&kill, arguments.seconds);
                    kills.lock().expect("no panic").push(kill);
                }
            });
        }
    });
    let kills = kills.into_inner().expect("no panic");
    let left: Vec<&Kill> = kills.iter().filter(|kill| kill.found.is_none()).collect();
    println!("{} mutants, {} found, {} not found", kills.len(), kills.len() - left.len(), left.len());
    left.is_empty()
}

/// Runs every mutant that this plane can find, or the one that is named.
pub(super) fn run(arguments: &Arguments) -> bool {
    let named = super::named_mutant(arguments);
    let is_wanted = |mutant: &Mutant| mutant.plane() == Plane::Machines && !(arguments.quick && HARD.contains(mutant));
    let all = Mutant::ALL.iter().copied().filter(is_wanted);
    let wanted: Vec<Mutant> = named.map_or_else(|| all.collect(), |mutant| vec![mutant]);
    run_all_of(arguments, &wanted)
}

/// Those that few seeds find or none: another guard stands behind theirs, or the world does not do what they need
/// (docs/TESTING.md). Every rule has others.
const HARD: &[Mutant] = &[
    Mutant::AllStalledFenced,
    Mutant::AnswerOutrunsImage,
    Mutant::AnyAnswerSettles,
    Mutant::AnyLifeJoins,
    Mutant::AppendBelowMinIsr,
    Mutant::BeginnersIneligible,
    Mutant::CompactsUncommitted,
    Mutant::ContradictionIgnored,
    Mutant::CoordinatorUnsettled,
    Mutant::CutStaysClean,
    Mutant::DamageServed,
    Mutant::DecisionToldAtOnce,
    Mutant::DroppedMovesBase,
    Mutant::EligibleNotAsked,
    Mutant::EpochKeepsProgress,
    Mutant::EpochsSurviveCut,
    Mutant::EpochsTakenOnTrust,
    Mutant::FencedKeepsSession,
    Mutant::FencesManyUnasked,
    Mutant::FetchEpochUnchecked,
    Mutant::FetchedUnchecked,
    Mutant::FollowedLeaderMoved,
    Mutant::ForeignCloseCounts,
    Mutant::FormerFlushCounts,
    Mutant::FullMapCountsAll,
    Mutant::FutureEpochKept,
    Mutant::GroupsReadToWatermark,
    Mutant::HigherEpochTaken,
    Mutant::LastClaimTaken,
    Mutant::LastKnownForgotten,
    Mutant::LateWishServes,
    Mutant::LoneCopyGivenUp,
    Mutant::LostNamedForEver,
    Mutant::NewerTopicDeleted,
    Mutant::OldAnswerTaken,
    Mutant::OldDirectoryReused,
    Mutant::OldEpochAltersIsr,
    Mutant::OldLifeCounts,
    Mutant::OldProducerHeard,
    Mutant::OldTailKept,
    Mutant::OverdueProduceStays,
    Mutant::OwnSleepBlamesOthers,
    Mutant::PassedUnread,
    Mutant::ProgressOutlivesRegistration,
    Mutant::ProposalNotResent,
    Mutant::ReadsUnproven,
    Mutant::RemovedKeepsProgress,
    Mutant::ResentIsRefused,
    Mutant::RetryForgetsSending,
    Mutant::SecondEpochUnwritten,
    Mutant::ServesBeforeStored,
    Mutant::SessionsOutliveTerm,
    Mutant::SilentIsReplaced,
    Mutant::SnapshotForgetsBase,
    Mutant::StaleBaseAltersIsr,
    Mutant::StaleBrokerFetches,
    Mutant::StaleGenerationLives,
    Mutant::StaleRoundTaken,
    Mutant::StaleSenderHeard,
    Mutant::ThinnedCompared,
    Mutant::TrimForgotten,
    Mutant::UncleanVolatileTrusted,
    Mutant::UnfencesBeforeCaughtUp,
    Mutant::UnfencesWithOldClaims,
    Mutant::UnfencesWithSuspects,
    Mutant::UnservedLosesClaim,
    Mutant::WatermarkSurvivesCut,
];

/// The scripts that lead to the guard, where not all do.
const SCRIPTS: &[(Mutant, Script)] = &[
    (Mutant::WatermarkIgnoresPending, Script::SlowJoin),
    (Mutant::EpochKeepsProgress, Script::DoubleFailover),
    (Mutant::StaleBrokerFetches, Script::OldDisk),
    (Mutant::ProgressOutlivesRegistration, Script::OldDisk),
    (Mutant::RemovedKeepsProgress, Script::OldDisk),
    (Mutant::AnyAnswerSettles, Script::SlowJoin),
    (Mutant::StaleSettles, Script::SlowJoin),
    (Mutant::RetryForgetsSending, Script::SlowJoin),
    (Mutant::ProposalNotResent, Script::SlowJoin),
    (Mutant::OlderImageTaken, Script::SlowJoin),
    (Mutant::AnswerOutrunsImage, Script::SlowJoin),
    (Mutant::ResentIsRefused, Script::SlowJoin),
    (Mutant::EpochsTakenOnTrust, Script::Rot),
    (Mutant::LoneCopyGivenUp, Script::Rot),
    (Mutant::DamageServed, Script::Rot),
    (Mutant::FetchedUnchecked, Script::Rot),
    (Mutant::RetentionIgnoresWatermark, Script::Retention),
    (Mutant::OldDirectoryReused, Script::RecreateWhileDown),
    (Mutant::NewerTopicDeleted, Script::RecreateWhileDown),
    (Mutant::SuspectsKept, Script::Rot),
    (Mutant::DisksTakenOnTrust, Script::OldDisk),
    (Mutant::UncleanVolatileTrusted, Script::PageCache),
    (Mutant::OwedOnlyAtTheFence, Script::SmallProposals),
    (Mutant::UnfencesWithOldClaims, Script::SmallProposals),
    (Mutant::ProposalUnbounded, Script::SmallProposals),
    (Mutant::UnreachableLeaderStays, Script::Unreachable),
    (Mutant::BlindControllerStays, Script::BlindController),
    (Mutant::FencesManyUnasked, Script::SickController),
    (Mutant::AnyBaseAccepted, Script::SickController),
    (Mutant::DroppedMovesBase, Script::SickController),
    (Mutant::OldBootRegisters, Script::LateRequests),
    (Mutant::StaleSenderHeard, Script::LateRequests),
    (Mutant::OldLifeCounts, Script::LateRequests),
    (Mutant::AnyLifeJoins, Script::LateRequests),
    (Mutant::LiveNodeReplaced, Script::Twin),
    (Mutant::FewerReplicas, Script::RecreateWhileDown),
    (Mutant::StalledBrokerStays, Script::Stall),
    (Mutant::LastBatchUncompared, Script::Forged),
    (Mutant::ContradictionIgnored, Script::Forged),
    (Mutant::ServesWithoutSession, Script::Unreachable),
    (Mutant::StopsBeforeLeadersMoved, Script::RollingRestart),
    (Mutant::CompactsUncommitted, Script::LastReplica),
    (Mutant::StaleRoundTaken, Script::Retention),
    (Mutant::StaleGenerationCommits, Script::Coordinators),
    (Mutant::StaleGenerationLives, Script::Coordinators),
    (Mutant::StaleGenerationSyncs, Script::Coordinators),
    (Mutant::GenerationReused, Script::Coordinators),
    (Mutant::InstanceUnfenced, Script::Coordinators),
    (Mutant::GrantedUnreleased, Script::Coordinators),
    (Mutant::SilenceRevokes, Script::Coordinators),
];

/// Those that only show where topics are compacted.
const COMPACTED: &[Mutant] = &[
    Mutant::CompactsUncommitted,
    Mutant::StaleRoundTaken,
    Mutant::TombstoneGoesAtOnce,
    Mutant::OlderValueKept,
    Mutant::FullMapCountsAll,
    Mutant::ThinnedCompared,
    Mutant::CutStaysClean,
];

fn hunt(mutant: Mutant, arguments: &Arguments) -> Kill {
    let found = (0..arguments.seeds).find_map(|number| {
        let (seed, script) = (arguments.seed + number, script_against(mutant, number));
        let plan = || match script {
            Some(script) => script.plan(seed, Duration::from_secs(arguments.seconds)),
            None => plan(seed, arguments),
        };
        let is_compacted = arguments.compact || COMPACTED.contains(&mutant);
        let plan = || if is_compacted { plan().with_compaction() } else { plan() };
        probe::plant(Some(mutant));
        let fallen = super::run(plan()).fallen();
        probe::plant(None);
        // Something else that falls may be no fault of the mutant's; nor may what falls with the guard, too.
        let is_kill = |name: &&str| mutant.falls().contains(name);
        if !fallen.iter().any(is_kill) || super::run(plan()).fallen().iter().any(is_kill) {
            return None;
        }
        Some(Found { runs: number + 1, seed, script, is_compacted, fallen })
    });
    Kill { mutant, found }
}

/// The mutant's own script every second time, otherwise the plans of the seeds and all scripts in turn.
fn script_against(mutant: Mutant, number: u64) -> Option<Script> {
    let own = SCRIPTS.iter().find(|(of, _)| *of == mutant).map(|(_, script)| *script);
    let turn = usize::try_from(number / 4).unwrap_or_default() % Script::ALL.len();
    match number % 4 {
        0 => own.or(Some(Script::ALL[turn])),
        1 => Some(Script::ALL[turn]),
        2 => own,
        _ => None,
    }
}

fn tell(Kill { mutant, found }: &Kill, seconds: u64) {
    let (rule, name) = (mutant.rule(), mutant.name());
    match found {
        Some(Found { runs, seed, script, is_compacted, fallen }) => {
            let script = script.map(|script| format!(" --script {script:?}")).unwrap_or_default();
            let compact = if *is_compacted { " --compact" } else { "" };
            let fallen = fallen.join(" ");
            let again = format!("--seed {seed} --seconds {seconds}{script}{compact} --mutant {name}");
            println!("{runs:>6}  {rule:<5} {name:<34} {fallen:<20}  {again}");
        }
        None => println!("     -  {rule:<5} {name:<34} not found; expected {:?}", mutant.falls()),
    }
}
