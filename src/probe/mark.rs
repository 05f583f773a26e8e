//! The branches that a simulation must have taken, or it proves nothing about them.

/// Declares the marks, each with its name in reports.
macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident => $text:literal;)*) => {
        /// A rare branch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mark { $($(#[$doc])* $name,)* }

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
    /// A follower has cut records that its leader does not have.
    TruncateDivergent => "a follower cut a divergent end";
    /// A follower gave its log up for a leader that begins later.
    FollowerReset => "a follower began anew behind its leader's start";
    /// An answer came for a position that does not stand any more.
    LateAnswer => "an answer to an earlier position was dropped";
    /// A leader came from the ELR.
    ElrElection => "a leader was elected from the ELR";
    /// A partition has no leader.
    Leaderless => "a partition was left without a leader";
    /// A leader asked for a smaller ISR.
    ShrinkProposed => "a leader proposed a smaller ISR";
    /// A leader asked for a larger ISR.
    GrowthProposed => "a leader proposed a larger ISR";
    /// A proposal may or may not be decided.
    ProposalAmbiguous => "the outcome of an ISR proposal was not known";
    /// A produce was answered as a duplicate before its original was committed.
    DuplicateParked => "a duplicate produce waited for its original";
    /// A leader did not know yet what is committed.
    OffsetNotAvailable => "a new leader answered that the latest offset is not available";
    /// A registration named partitions that the broker cannot vouch for.
    SuspectNamed => "a registration named a suspect partition";
    /// A registration's directories did not prove what the last life acknowledged.
    ClaimUnproven => "a registration could not prove its claims";
    /// The controller doubted its own eyes.
    SuspicionAsked => "a controller asked for a read barrier before fencing many";
    /// The work of a fence did not fit into one proposal.
    OwedWork => "a fence left work owed";
    /// A proposal was decided on another base.
    ProposalDropped => "a metadata proposal was dropped at its turn";
    /// Recovery has found a torn end.
    TornTail => "a log's end was torn";
    /// A copy was given up for another's.
    CopyGivenUp => "a damaged copy was given up";
    /// A follower's last batch is another than the leader's.
    Contradicted => "a follower was told that its last batch differs";
}
