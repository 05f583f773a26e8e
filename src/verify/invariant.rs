//! The invariants by name: what can be wrong with a run.
//!
//! Named by whoever judges, printed in reports. Invariant: a name is that of the catalogue of invariants and is never
//! used for anything else; those that cannot be judged yet have a place in the comments here and no code.

/// Declares the invariants with their short names and titles.
macro_rules! invariants {
    ($($(#[$doc:meta])* $variant:ident $name:literal $title:literal,)*) => {
        /// What must hold in every run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Invariant {
            $($(#[$doc])* $variant,)*
        }
        impl Invariant {
            /// All of them, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// Its short name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
            /// What it is called.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

invariants! {
    // The log of a partition.
    /// One offset holds one value, whoever reads it and whenever.
    A1 "A1" "offset/value agreement",
    /// What was acknowledged is in the log at the end.
    A2 "A2" "lost acknowledged write",
    /// What was acknowledged is read by whoever reads past it.
    A2w "A2w" "lost write, seen by a reader",
    /// What was acknowledged has reached a consumer at the end.
    A3 "A3" "unseen at the end",
    /// One value stands at one offset.
    A4 "A4" "duplicate",
    /// What is read was written, there and so.
    A5 "A5" "phantom, misroute or corruption",
    /// What was refused is not in the log.
    A6 "A6" "failed write visible",
    /// A producer's values stand in their order.
    A7 "A7" "producer order",
    /// An idempotent producer's values have no hole.
    A7g "A7g" "idempotent gap",
    /// What was written later stands later.
    A8 "A8" "real-time append order",
    /// The offsets of a log have no hole.
    A9 "A9" "illegal gap",
    /// Leader epochs rise with the offsets.
    A10 "A10" "epoch order",
    /// A timestamp is answered with the first record that is not older.
    A11 "A11" "timestamp index",
    /// A batch is as it was sent.
    A12 "A12" "batch well-formedness",
    /// The sequences in the log have no hole.
    A13 "A13" "sequence continuity in the raw log",

    // What consumers see.
    /// Offsets rise within one poll.
    B1 "B1" "non-monotonic poll, internal",
    /// Offsets rise from poll to poll.
    B2 "B2" "non-monotonic poll, external",
    /// A consumer is given every record on its way.
    B3 "B3" "poll skip",
    /// A high watermark does not fall within an epoch.
    B4 "B4" "high watermark regress",
    /// The readable end does not fall behind what was seen.
    B5 "B5" "visible end regress",
    /// Start, stable offset and high watermark stand in this order.
    B6 "B6" "watermark order",
    /// An offset that exists is not out of range.
    B7 "B7" "spurious offset out of range",
    /// A read is no older than promised.
    B8 "B8" "stale read",
    /// What was read stays.
    B9 "B9" "read instability",
    /// What was read stays as it was.
    B10 "B10" "bytes changed",
    /// What was deleted is gone, and nothing else.
    B11 "B11" "delete-records and retention honesty",
    /// Compaction keeps the last value of each key at its offset, and what deletes one until all have heard.
    B12 "B12" "compaction: last value and time travel",

    // Groups. (C2 is what C1 finds, said more simply.)
    /// What is committed is one register: who asks is told the last commit before, or one under way.
    C1 "C1" "committed offset is no register",
    /// Who is of an earlier generation is obeyed no more.
    C3 "C3" "zombie generation",
    /// A partition has one owner in its group.
    C4 "C4" "double owner",
    /// A generation is one, and no earlier one follows it.
    C5 "C5" "generation agreement",
    /// What is committed was processed.
    C6 "C6" "at least once",
    /// Of two processes of one instance the later is the member.
    C7 "C7" "static fencing",

    // Replicas, metadata, administration. (D, transactions: come with those. E8, security: likewise.)
    /// All replicas hold the same.
    E1 "E1" "replica divergence",
    /// A new leader holds all that was acknowledged.
    E2 "E2" "leader completeness",
    /// An epoch has one leader.
    E3 "E3" "two leaders in one epoch",
    /// The metadata log is one.
    E4 "E4" "metadata log divergence",
    /// In the end all nodes know the same.
    E5 "E5" "metadata non-convergence",
    /// A node's view does not go back.
    E6 "E6" "view regress",
    /// What an administrator was promised is so.
    E7 "E7" "administration durability",
    /// The metadata's ISR, ELR, leaders and epochs follow the rules.
    E9 "E9" "ISR legality",
    /// Nothing is acknowledged by too few.
    E10 "E10" "acknowledged below the least ISR",
    /// In the end replicas are where they belong.
    E11 "E11" "placement",
    /// A restarted node claims what it holds.
    E12 "E12" "recovery honesty",

    // Liveness and health. (F6, resources: comes with runs that measure them.)
    /// A partition that could be served is served.
    F1 "F1" "availability",
    /// After healing, everything is served again.
    F2 "F2" "recovery",
    /// Every operation ends.
    F3 "F3" "stuck operation",
    /// No process ends without a reason.
    F4 "F4" "crash",
    /// After healing, nothing is degraded.
    F5 "F5" "full health",
    /// A run without activity proves nothing.
    F7 "F7" "vacuity",

    // Of every moment of a simulated run (KIP-966's properties).
    /// A running leader holds all that is committed.
    L1 "L1" "LeaderCompleteness",
    /// Whoever may be elected holds all that is committed.
    L2 "L2" "LeaderCandidateCompleteness",
    /// A leader waits for everyone who may be elected.
    L3 "L3" "ReplicationQuorumSuperset",
    /// A high watermark covers what is held and committed.
    L4 "L4" "HighWatermarkBound",
    /// Who could restore a partition is remembered.
    L5 "L5" "MinIsrRecoveryQuorum",
}

impl std::fmt::Display for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name(), self.title())
    }
}
