//! The guards that a test takes out, one at a time: with each of them out, a named invariant must fail.
//!
//! Each stands at its guard as `planted(Mutant::…)`; `tests/architecture/probes.rs` sees to it. A rule is that of
//! `docs/RULES.md`, or the KIP or the ticket of Kafka's that tells of the bug.

/// Where a mutant is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plane {
    /// In the simulation of the machines, the partitions and the broker's pure code.
    Machines,
    /// By nodes that run whole, on sockets and threads: the guard stands in asynchronous code.
    Nodes,
    /// By the states in which a crash may leave a disk.
    Disk,
}

/// Declares the mutants: name, rule, plane, the invariants that should fall, what the broken code does.
macro_rules! mutants {
    ($($name:ident: $rule:literal, $plane:ident, [$($falls:literal),+] => $text:literal;)*) => {
        /// A guard that is out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant { $(#[doc = $text] $name,)* }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The rule that is out.
            #[must_use]
            pub const fn rule(self) -> &'static str {
                match self { $(Self::$name => $rule,)* }
            }

            /// Where it is found out.
            #[must_use]
            pub const fn plane(self) -> Plane {
                match self { $(Self::$name => Plane::$plane,)* }
            }

            /// The invariants of which one at least must fall.
            #[must_use]
            pub const fn falls(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($falls),+],)* }
            }

            /// What the broken code does.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The mutant of that name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|mutant| mutant.name() == name)
            }
        }
    };
}

// Waiting for their topics: R13 (minimum ISR), R17 (unclean election), R22 (reassignment), and the guards of several directories.
mutants! {
    // A copy.
    FutureEpochKept: "R5", Machines, ["F2", "F5", "E1"]
        => "a copy goes on whose log has an epoch that no leader has had";
    // A leader.
    WatermarkIgnoresFollowers: "R7", Machines, ["A2", "E2", "L2"]
        => "the high watermark is the leader's own flushed end";
    WatermarkIgnoresPending: "R7", Machines, ["A2", "E2", "L2"]
        => "the high watermark counts the committed ISR only, not the proposed one";
    WatermarkIgnoresUnseen: "R7", Machines, ["A2", "E2", "L2"]
        => "the high watermark passes over members that have not fetched in this epoch";
    WatermarkMovesBelowMinIsr: "R7", Machines, ["E2", "B9", "L1", "L2"]
        => "the high watermark moves while fewer than the minimum are in sync";
    WatermarkFalls: "R7", Machines, ["B4", "B5"]
        => "the high watermark follows a member that is behind it";
    ShrinkMovesWatermark: "R10", Machines, ["A2", "E2", "L2"]
        => "who is proposed out of the ISR counts no more, though the controller has not committed it";
    EpochKeepsProgress: "R2", Machines, ["A2", "E2", "L2"]
        => "a leader goes on in a later epoch with what it knew of its followers";
    EpochBeginsAtZero: "R2", Machines, ["L2", "A2", "E2", "B5"]
        => "a leader takes the begin of the log for the begin of its epoch";
    JoinUnseen: "R8", Machines, ["A2", "E2", "L2"]
        => "a replica joins the ISR without a fetch in this epoch";
    JoinBelowWatermark: "R8", Machines, ["A2", "E2", "L2"]
        => "a replica joins the ISR from below the high watermark";
    JoinBelowEpochStart: "R8", Machines, ["A2", "E2", "L2"]
        => "a replica joins the ISR from below the start of the epoch";
    JoinFenced: "R8", Machines, ["E9"]
        => "a replica joins the ISR while its broker is fenced or shuts down";
    StaleBrokerFetches: "R8", Machines, ["A2", "E2", "L2"]
        => "a fetch counts though its broker epoch is not the registered one";
    ProgressOutlivesRegistration: "R14", Machines, ["A2", "E2", "L2"]
        => "what a broker's former life had flushed counts for its next";
    RemovedKeepsProgress: "S3", Machines, ["A2", "E2", "L2"]
        => "whom the controller took out of the ISR joins again by an old fetch";
    OlderImageTaken: "R9", Machines, ["A2", "E2", "L2", "L3"]
        => "an image older than the last accepted proposal brings the former ISR back";
    AnyAnswerSettles: "R9", Machines, ["A2", "E2", "L2", "L3"]
        => "the answer to an earlier proposal settles the present one";
    StaleSettles: "R9", Machines, ["A2", "E2", "L3"]
        => "a proposal that was refused as stale counts no more, though the image has not told";
    RetryForgetsSending: "R9", Machines, ["A2", "E2", "L2", "L3"]
        => "a proposal whose answer was lost is taken for one that was never sent";
    ProposalNotResent: "R9", Machines, ["F1", "F2", "F5"]
        => "a proposal whose answer was lost is not sent again";
    AllIsLeader: "R7", Machines, ["A2", "A8", "A1", "A2w", "B5", "E2"]
        => "acks=all is acknowledged at the leader's own flush";
    MinIsrIsOne: "R19", Machines, ["A2", "E10", "L2"]
        => "the leader alone is enough, whatever min.insync.replicas says";
    AppendBelowMinIsr: "R19", Machines, ["E10"]
        => "acks=all is written while fewer than the minimum are in sync";
    LatestBeforeKnown: "R18", Machines, ["B5"]
        => "a new leader tells the latest offset before its high watermark has reached its epoch's start";
    OverdueProduceStays: "R19", Machines, ["F3"]
        => "a produce that is not committed by its deadline is never answered";

    // A follower.
    UnflushedIsFetched: "S1", Machines, ["A2", "E2", "L1", "L2"]
        => "a follower fetches from its written end, before it is flushed";
    FollowerWatermarkUnbounded: "R6", Machines, ["B9", "F4", "L4"]
        => "a follower's high watermark is the leader's, beyond what it holds";
    WatermarkSurvivesCut: "R6", Machines, ["B9", "F4", "L4"]
        => "a follower's high watermark stays above the end to which its log was cut";
    DivergenceIgnored: "R3", Machines, ["F2", "E1", "A2", "A10", "A11", "B8"]
        => "a follower that is told that the logs part does not cut its own";

    // A partition's copy.
    DuplicateAnsweredAtOnce: "S2", Machines, ["A2", "A1", "A2w", "A8", "B5", "E2"]
        => "a duplicate produce is answered before its original is committed";
    RefusedAfterAppend: "R19", Machines, ["A6"]
        => "a produce is refused for too few replicas after it was written";
    ResignAcknowledges: "R7", Machines, ["A2", "A1", "A2w", "A7", "A8", "E2"]
        => "a leader that loses its leadership acknowledges whoever waits";
    OldAnswerTaken: "R5", Machines, ["A1", "A2", "B8", "E1", "E2", "L2"]
        => "a follower takes an answer to another position than its present one";
    HigherEpochTaken: "R5", Machines, ["A1", "E1"]
        => "a follower appends batches of a leader that it does not follow yet";
    LastEpochForgotten: "R5", Machines, ["A1", "E1", "A10", "B8", "F5"]
        => "a follower fetches without the epoch of its last record";
    FetchEpochUnchecked: "R3", Machines, ["A1", "A2", "E1", "E2", "L2"]
        => "a leader serves fetches of another epoch than its own";
    LeaderSeesNoDivergence: "R3", Machines, ["A1", "E1", "A10", "B8", "F5"]
        => "a leader does not compare the epoch of a follower's last record with its own log";
    CutsToWatermark: "R4", Machines, ["A2", "E2", "L2"]
        => "who begins to follow cuts its log to its high watermark";
    LastBatchUncompared: "R21", Machines, ["E1"]
        => "a leader does not compare a follower's last batch with its own";
    ContradictionIgnored: "R21", Machines, ["E1", "F2", "F5"]
        => "a follower whose last batch differs from its leader's keeps its copy";
    FetchedUnchecked: "R21", Machines, ["E1", "A12"]
        => "a follower appends what it fetched without a look at the checksums";
    ConsumersReadToEnd: "R7", Machines, ["B9", "B5", "B6", "E2"]
        => "consumers are given what is not committed";
    OutOfRangeAboveWatermark: "R18", Machines, ["B7"]
        => "a consumer that stands between high watermark and end is told that it is out of range";
    LoneCopyGivenUp: "S3", Machines, ["A2", "F1"]
        => "a damaged copy is given up though nobody else is in sync";
    DamageServed: "R21", Machines, ["A5", "A12"]
        => "a batch that is known to be damaged is given to consumers";
    TrimForgotten: "KIP-107", Machines, ["B11"]
        => "records are said to be deleted and are not";

    // A log on the disk.
    FlushedIsWritten: "S1", Disk, ["A2", "F4"]
        => "a flush syncs nothing";
    RecoveredIsFlushed: "S1", Disk, ["A2", "E12"]
        => "what recovery has read counts as flushed";
    FormerFlushCounts: "S1", Machines, ["A2", "F4"]
        => "a flush that was ordered before a log was cut counts after it";
    SmallFilesUnsynced: "S1", Disk, ["E4", "E12"]
        => "a small file is renamed before its content is synced";
    SyncsAnotherDescriptor: "S7", Disk, ["A2"]
        => "a file is synced by another descriptor than the one that wrote";
    FailedFlushCounts: "S7", Disk, ["A2"]
        => "a sync that failed counts as one that succeeded";
    SnapshotKeepsLastBatch: "S8", Machines, ["A4", "A5"]
        => "the producer snapshot keeps the last batch of each producer only";
    SnapshotOffByOne: "S8", Machines, ["A4", "A13", "A5", "A12"]
        => "the producer snapshot says that a producer is one sequence behind";
    OnlyLastBatchKnown: "KIP-98", Machines, ["A4", "A5", "A12"]
        => "only a producer's last batch is told from a new one when it comes again";
    FollowersForgetProducers: "KIP-98", Machines, ["A4"]
        => "a follower does not note the producers of what it fetches";
    SequenceGapTaken: "KIP-98", Machines, ["A4", "A7g", "A13", "A7"]
        => "a batch is appended whatever its sequence";
    OldProducerHeard: "KIP-98", Machines, ["A4", "A7"]
        => "a batch of a producer's earlier epoch is appended";
    EpochsSurviveCut: "KAFKA-10706", Machines, ["A2", "A10", "E1", "F2", "F5"]
        => "the history of epochs keeps what was cut off the log";
    SecondEpochUnwritten: "R2", Machines, ["A10"]
        => "a leader that goes on in a later epoch does not write down where that begins";
    OldTailKept: "R3", Machines, ["A1", "A2", "A7"]
        => "a log that parted below the leader's start is cut at that start";
    EpochsTakenOnTrust: "KIP-101", Machines, ["A10", "E1"]
        => "the file of epochs is believed, whatever the batches say";
    PassedUnread: "KIP-79", Machines, ["A11"]
        => "a look-up by time believes the headers that it passes over";
    LaterTimeFound: "KIP-79", Machines, ["A11"]
        => "a look-up by time passes over the batch of that very time";
    ReadSkipsRecord: "KIP-74", Machines, ["A9", "B3", "A3", "B8", "E1", "F5"]
        => "a read of the last record of a segment begins in the next segment";
    RetentionIgnoresWatermark: "R7", Machines, ["A2", "B11", "E1", "L4"]
        => "retention deletes what is not committed";
    DeletedBeforeStated: "S3", Disk, ["E12"]
        => "a segment goes before the flush log says that the log starts behind it";
    SwapUnsynced: "KIP-58", Disk, ["A2", "B12"]
        => "segments are removed before the one that takes their place has its durable name";
    ReplacedUnsynced: "KIP-58", Disk, ["A4", "B12"]
        => "a compacted segment gets its name before those in its place are durably gone";
    CompactsUncommitted: "KIP-58", Machines, ["A2", "A9", "B12", "L2"]
        => "compaction removes values for the sake of what is not committed";
    StaleRoundTaken: "KIP-58", Machines, ["A2", "B12", "F4"]
        => "a compacted segment takes the place of what it was not made from";
    TombstoneGoesAtOnce: "KIP-534", Machines, ["B12"]
        => "a tombstone goes with the first round that meets it";
    OlderValueKept: "KIP-58", Machines, ["B12", "A2"]
        => "of two values of a key the older stays";
    FullMapCountsAll: "KIP-58", Machines, ["B12"]
        => "a round whose memory was full counts as one over all that it was to compact";
    ThinnedCompared: "R21", Machines, ["E1", "F5"]
        => "a copy is given up for a batch that compaction wrote anew elsewhere";
    CutStaysClean: "KIP-58", Machines, ["B12"]
        => "what is written where a log was cut counts as compacted";
    CutBeforeLowered: "S3", Disk, ["E12"]
        => "a log is cut while the flush log vouches for more";
    DirectoryUnsynced: "KAFKA-3968", Disk, ["A2", "E12"]
        => "a new segment counts before the directory that names it is synced";
    FailedAppendStays: "KAFKA-10778", Disk, ["A9", "A12", "E12"]
        => "what a failed append has left stays in the file";
    TornTailStays: "S3", Disk, ["A12", "E12"]
        => "a torn tail is not cut off before new batches are written over it";
    RecoveryTrustsLength: "S3", Disk, ["A12", "E12"]
        => "recovery takes what has the length of a batch for one";
    DamageIsTorn: "S3", Disk, ["A2", "E12"]
        => "what is damaged below the attested end is cut off as if it were torn";
    MissingUnnamed: "S3", Disk, ["A2", "E2"]
        => "a partition whose directory is gone is not named";
    VolatileUnnamed: "S3", Disk, ["A2", "E2"]
        => "a partition that acknowledged from the page cache is not named";
    VolatileUnmarked: "S3", Disk, ["A2", "E2"]
        => "appends count unflushed before the disk says that they do";
    LostFlushLogTrusted: "S3", Disk, ["A2", "E2"]
        => "a directory that has lost its flush log vouches for its last life";
    CleanMarkerStays: "R12", Disk, ["A2", "E2"]
        => "the mark of a clean stop outlives the start";
    BootStays: "S15", Machines, ["A1", "E3", "E6", "E2", "L1", "L2"]
        => "every start of a node has the same boot number";
    OldDirectoryReused: "R23", Machines, ["A5", "E7"]
        => "a topic made anew under an old name takes the old one's records for its own";
    NewerTopicDeleted: "R23", Machines, ["A2"]
        => "a deleted topic takes the directory of its successor of the same name along";

    // The controller.
    EpochStaysOnElection: "R1", Machines, ["E3", "E9", "A2", "B8", "E1"]
        => "an election keeps the leader epoch";
    ShrinkRaisesLeaderEpoch: "S18", Machines, ["E9"]
        => "a smaller ISR under the same leader begins a leader epoch";
    AnyReplicaLeads: "R11", Machines, ["A2", "E2", "E9", "L1", "L2"]
        => "with ISR and ELR gone any replica that is alive leads";
    ElrOutlivesMinIsr: "R11", Machines, ["A2", "E2", "E9", "L3"]
        => "the ELR stays though the ISR has its minimum and commits without it";
    LastKnownForgotten: "R11", Machines, ["L5"]
        => "who may have lost its claim is not remembered for the operator";
    BeginnersIneligible: "R11", Machines, ["F2", "F5"]
        => "whoever is not active when a partition is made is not eligible to lead it";
    ElrForgotten: "R11", Machines, ["F2", "E1", "F3", "F5"]
        => "who leaves an ISR below its minimum is not eligible";
    FencedLeads: "R15", Machines, ["E9", "A2", "A11", "B8", "B9"]
        => "a fenced broker is elected";
    FencedStaysInIsr: "R15", Machines, ["E9", "F1", "F2", "F3", "F5"]
        => "a fenced broker stays in the ISR";
    OwedOnlyAtTheFence: "S10", Machines, ["E9", "F2", "A2", "A3", "B9", "E1"]
        => "what a fence owes is done in its own proposal or never";
    UnreachableLeaderStays: "S12", Machines, ["F1"]
        => "a leader that its followers cannot reach keeps its leadership";
    SuspectsKept: "S3", Machines, ["A2", "E2", "L2"]
        => "what a broker says it cannot vouch for stays in ISR and ELR";
    EligibleNotAsked: "R11", Machines, ["F1", "F2"]
        => "a leader below its minimum keeps a damaged copy though one that is eligible follows it";
    LastClaimTaken: "S3", Machines, ["F2", "F1"]
        => "the last copy that may hold all loses its claim because it cannot be read";
    UnservedLosesClaim: "S3", Machines, ["F2", "F5"]
        => "a copy that cannot be read is eligible no more, though the ISR is below its minimum";
    UnfencesBeforeCaughtUp: "S3", Machines, ["E6", "A1"]
        => "a broker is unfenced before it has applied its own registration";
    UnfencesWithOldClaims: "R1", Machines, ["A1", "E3"]
        => "a broker is unfenced while it is in ISRs of its former life";
    UnfencesWithSuspects: "S3", Machines, ["L1", "L2"]
        => "a broker is unfenced though not all that it may have lost fits into the proposal";
    FollowedLeaderMoved: "S12", Machines, ["F1"]
        => "a leader that two cannot reach is moved, though enough follow it to acknowledge";
    RegistrationsUntold: "R8", Machines, ["F5", "F1", "F2"]
        => "leaders do not hear that a replica serves again";
    LateWishServes: "R16", Machines, ["F1"]
        => "a broker that has asked to stop is unfenced by what it said before";
    StopsBeforeLeadersMoved: "R16", Machines, ["F1"]
        => "a broker may stop as soon as it asks";
    StalledBrokerStays: "S11", Machines, ["F1"]
        => "a broker whose work stands still is not fenced as long as it talks";
    AllStalledFenced: "S11", Machines, ["F1"]
        => "stalled brokers are fenced though nobody is healthier";
    FencesManyUnasked: "S16", Machines, ["F1"]
        => "a controller that misses most brokers fences them without a read barrier";
    BlindControllerStays: "S16", Machines, ["F1", "F2"]
        => "a controller that cannot even dial most brokers keeps the lead";
    OwnSleepBlamesOthers: "S16", Machines, ["F1"]
        => "a controller that slept finds every session over";
    SessionsOutliveTerm: "S16", Machines, ["F1"]
        => "a controller judges by the sessions of its former term";
    ForeignCloseCounts: "S16", Machines, ["F1"]
        => "a connection counts as closed that this process never held";
    OldLifeCounts: "S15", Machines, ["F1"]
        => "a sign of a broker's former life counts for its present one";
    OldBootRegisters: "S15", Machines, ["E6", "F1"]
        => "a registration of an earlier start replaces that of a later one";
    SilentIsReplaced: "R14", Machines, ["E6"]
        => "a second process takes the place of one that is silent and not fenced yet";
    LiveNodeReplaced: "R14", Machines, ["E6", "F1", "E1", "F5"]
        => "a second process registers under the node id of one that is alive";
    RestartIsSameLife: "R14", Machines, ["A1", "E3", "E6", "E2"]
        => "a broker that starts anew keeps its broker epoch and its place";
    RegistersUnfenced: "R14", Machines, ["A2", "F1", "E9"]
        => "a registration inherits that its former life was unfenced";
    DisksTakenOnTrust: "R12", Machines, ["A2", "E2", "L2"]
        => "a broker keeps its ISRs though its disks do not prove the life that acknowledged";
    UncleanVolatileTrusted: "R12", Machines, ["A2", "E2"]
        => "after an unclean stop what acknowledged from the page cache stays in ISR and ELR";
    StaleSenderHeard: "S15", Machines, ["F1", "F2"]
        => "the controller obeys a broker's former life";
    StaleBaseAltersIsr: "R9", Machines, ["A2", "E9"]
        => "an ISR is changed by a proposal on an earlier partition epoch";
    OldEpochAltersIsr: "R9", Machines, ["A2", "E9"]
        => "an ISR is changed by a proposal of an earlier leader epoch";
    AnyLifeJoins: "R9", Machines, ["A2", "E9"]
        => "an ISR takes members in another life than the leader has seen";
    FewerReplicas: "S4", Machines, ["E11"]
        => "while too few brokers are registered topics get fewer replicas";
    ProposalUnbounded: "S14", Machines, ["F2", "A2", "A11", "B9", "E1", "E11"]
        => "a proposal holds whatever is to be done";
    AnyBaseAccepted: "S5", Machines, ["E3", "E9", "E7"]
        => "a proposal that was decided on another base is applied";
    DroppedMovesBase: "S5", Machines, ["F2"]
        => "a proposal that was dropped becomes the base of the next";
    SnapshotForgetsBase: "S5", Machines, ["E4", "E5"]
        => "a snapshot takes the last index for the last accepted one";

    // The broker.
    ActsOnOldImage: "S3", Machines, ["A1", "A2", "E6", "L2", "E2"]
        => "a broker takes orders from an image in which this start of it is not registered";
    AnswerOutrunsImage: "R10", Machines, ["A2", "E2", "E10"]
        => "a leader hears that its ISR was accepted before what was written ahead of it";
    ResentIsRefused: "R9", Machines, ["A2", "E2"]
        => "a refusal of the second sending of a proposal counts for the first, too";
    ServesBeforeStored: "R12", Machines, ["F2"]
        => "a broker serves before the epoch of its registration is on its disk";
    FencedKeepsSession: "R15", Machines, ["A8"]
        => "a broker that hears that it is fenced keeps its session";
    RegistersUnrecovered: "S3", Nodes, ["E12"]
        => "a broker registers before its logs are open";
    ServesWithoutSession: "R20", Machines, ["A8"]
        => "acks=0 and 1 are acknowledged by a broker that the controller may have given up";
    LostNamedForEver: "S3", Machines, ["F2", "F5"]
        => "what a former life has lost is named after this one was unfenced";
    SessionKeepsPosition: "KIP-227", Nodes, ["F1"]
        => "a fetch session goes on from the offset with which it began";
    NameFreeAtOnce: "R23", Nodes, ["F4"]
        => "a topic is made anew while a shard still holds the old one of its name";

    // A coordinator of groups.
    ReadsUnproven: "S6", Machines, ["C1"]
        => "a coordinator tells what it read though another may have taken its place";
    DecisionToldAtOnce: "R7", Machines, ["C1"]
        => "a coordinator tells what it decided before that is committed";
    CoordinatorUnsettled: "R18", Machines, ["C1"]
        => "a coordinator serves before its high watermark has reached the start of its epoch";
    GroupsReadToWatermark: "KAFKA-20634", Machines, ["C1"]
        => "a coordinator reads its log up to the high watermark that it knew as a follower";
    StaleGenerationCommits: "KIP-62", Machines, ["C3"]
        => "a commit of an earlier generation is taken";
    StaleGenerationLives: "KIP-62", Machines, ["C3"]
        => "a heartbeat of an earlier generation is taken for one of the present one";
    StaleGenerationSyncs: "KIP-62", Machines, ["C3", "C4"]
        => "a sync of an earlier generation is told an assignment of the present one";
    GenerationReused: "KIP-62", Machines, ["C3", "C4", "C5"]
        => "a generation is told before it is a fact, and the next coordinator gives its number again";
    InstanceUnfenced: "KIP-345", Machines, ["C7"]
        => "a process whose instance another has taken over stays a member beside it";
    GrantedUnreleased: "KIP-848", Machines, ["C3", "C4"]
        => "a member is given a partition that another has not given back";
    SilenceRevokes: "KIP-848", Machines, ["C3", "C4"]
        => "a member that does not say what it has is taken to have given back what it should";

    // The quorum.
    UnsettledAnswered: "S5", Nodes, ["E7"]
        => "a reply leaves though its records were not accepted";
    DroppedIsAccepted: "S5", Nodes, ["A2"]
        => "a proposal that every node has dropped is told as accepted";
    FoundsUnanswered: "S9", Nodes, ["E4"]
        => "a cluster is founded before all voters have answered";
    AnyoneFounds: "S9", Nodes, ["E4"]
        => "a cluster is founded by whichever voter comes first";
    FoundsAgainstOthers: "S9", Nodes, ["E4"]
        => "a cluster is founded though the voters' lists differ";
    ReplacedVoterVotes: "S9", Nodes, ["E4"]
        => "a voter that came back with an empty disk votes";
    RegressionBelieved: "S13", Nodes, ["F4"]
        => "a follower that lost what it acknowledged is replicated to as before";
    WipedKeepsPlace: "S13", Nodes, ["E5"]
        => "an observer on a new disk takes the old one's place";
    AppendsUnbounded: "S14", Nodes, ["F2"]
        => "an append request between voters holds whatever is to be sent";
    CampaignsUnasked: "S17", Nodes, ["F1"]
        => "a voter that hears no leader campaigns without asking the others";
    RecoveredQuorumCounts: "S1", Disk, ["E4"]
        => "a recovered vote and metadata log count before they are synced";
}
