//! The branches that a simulation must have taken, or it proves nothing about them.

/// Declares the marks, each with its name in reports.
macro_rules! marks {
    ($($name:ident => $text:literal;)*) => {
        /// A rare branch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mark { $(#[doc = $text] $name,)* }

        impl Mark {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

marks! {
    // A leader.
    ShrinkProposed => "a leader proposed a smaller ISR";
    GrowthProposed => "a leader proposed a larger ISR";
    ProposalAmbiguous => "the outcome of an ISR proposal was not known";
    ProposalWithdrawn => "a leader outdated a proposal that may have been decided";
    LateIsrAnswer => "an answer to an earlier ISR proposal was dropped";
    StaleBrokerFetch => "a fetch bore another broker epoch than the registered one";

    // A partition's copy.
    TruncateDivergent => "a follower cut a divergent end";
    FollowerReset => "a follower began anew behind its leader's start";
    FollowerOutOfRange => "a follower's position was not in its leader's log";
    FetchBelowStart => "a follower asked for what its leader has deleted";
    LogsPart => "a leader told a follower that their logs part";
    LateAnswer => "an answer to an earlier position was dropped";
    HigherEpochRefused => "a follower was sent batches of a leader that it does not follow yet";
    FetchFenced => "a fetch of an earlier leader epoch was refused";
    FetchUnknownEpoch => "a fetch of a later leader epoch was refused";
    DuplicateParked => "a duplicate produce waited for its original";
    OffsetNotAvailable => "a new leader answered that the latest offset is not available";
    TooFewInSync => "a produce was refused for too few replicas in sync";
    ProduceOutlivedLeader => "a produce was waiting when its leader lost the leadership";
    Contradicted => "a follower was told that its last batch differs";
    CopyGivenUp => "a damaged copy was given up";
    DamageWithheld => "a damaged batch was withheld from readers";

    // A log on the disk.
    SegmentRolled => "a segment was rolled";
    SegmentDeleted => "retention deleted a segment";
    SegmentsCompacted => "a compacted segment took the place of others";
    CompactionOvertaken => "a compacted segment came too late for its log";
    KeysFull => "a round of compaction met more keys than it could remember";
    SwapFinished => "a start ended what a compaction had begun";
    ProducersLoaded => "a snapshot of producers was loaded";
    SequenceRefused => "a producer's batch was out of order";
    FormerFlush => "a flush from before a cut was dropped";
    FailedAppendTakenBack => "a failed append was taken back";
    TailBeyondAttested => "a recovered log went on beyond its attested end";
    TornTail => "a log's end was torn";
    EpochsMadeAnew => "a history of epochs was not that of its batches";
    AttestedLost => "a log had lost what was attested of it";
    SetAside => "a directory was set aside";
    RecreatedTopic => "a topic made anew found the directory of an old one";

    // The controller.
    BegunBelowMinimum => "a topic began with fewer in sync than it needs";
    ElrElection => "a leader was elected from the ELR";
    Leaderless => "a partition was left without a leader";
    PreferredElection => "a leadership returned to its preferred replica";
    UnreachableMoved => "a leader that its followers cannot reach was moved";
    StalledFenced => "a broker that stands still was fenced";
    OwedWork => "a fence left work owed";
    SuspicionAsked => "a controller asked for a read barrier before fencing many";
    OwnSleepForgiven => "a controller that slept gave every session its time again";
    HandedOver => "a controller that cannot dial asked another to lead";
    SuspectNamed => "a broker named a partition that it cannot vouch for";
    LastClaimKept => "the last copy that may hold all kept its claim though it cannot be served";
    ClaimUnproven => "a registration could not prove its claims";
    RegistrationReplaced => "a broker registered again under its node id";
    DuplicateNode => "a second process asked for the node id of one that is alive";
    StaleSender => "a broker's former life was refused";
    IneligibleMember => "an ISR was refused for a member that may not join";
    WaitingForBrokers => "a topic waited for brokers to register";
    RoundFull => "a round of the controller was full";
    ProposalDropped => "a metadata proposal was dropped at its turn";

    // The broker.
    AnswerBeforeImage => "an accepted ISR was not in the image in time";
    RefusedAfterResending => "the second sending of an ISR proposal was refused";
    EndBelowAttested => "a log ended below its attested end";
    LogBroken => "a log could not be served";
}
