//! Faults: what is broken, where, for how long.
//!
//! Invariant: what can destroy acknowledged records on a disk is done to one node of a run only, so that "everything was
//! lost" is never a legal excuse; what every node must survive is done to any. A copy that could not be read for a while
//! is given up by its node: reads fail on several nodes only where nothing is destroyed.

use std::time::Duration;

use crate::testing::Chance;

/// Errors of the system: a medium's, too many open files, no permission.
const EIO: i32 = 5;
const EMFILE: i32 = 24;
const EACCES: i32 = 13;

/// Where a fault is made. Resolved when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The node at this place, counted from 0 and round.
    Node(usize),
    /// The leader of the partition at this place, in the order of the image.
    Leader(usize),
    /// A follower of it, in sync or not.
    Follower(usize, usize),
    /// The active controller.
    Controller,
    /// Who led that partition before its present leader.
    LastLeader(usize),
    /// The coordinator of the groups at this place.
    Coordinator(usize),
    /// Who was elected last, of whatever.
    Elected,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; a supervisor starts it again.
    Kill(Which),
    /// SIGKILL and nobody starts it for so long.
    KillFor(Which, Duration),
    /// Its power goes, and comes back.
    CutPower(Which),
    /// The same, and it stays away for so long.
    CutPowerFor(Which, Duration),
    /// All lose their power in one moment.
    CutAllPower,
    /// SIGSTOP, and SIGCONT after so long.
    Pause(Which, Duration),
    /// An orderly stop; it is away for so long.
    Stop(Which, Duration),
    /// All are stopped in an orderly way, and started.
    StopAll,
    /// The other nodes and it hear nothing of each other; clients reach it.
    Isolate(Which, Duration),
    /// The same, and connections are refused.
    Refuse(Which, Duration),
    /// It is heard and hears nothing.
    Deafen(Which, Duration),
    /// It hears and is not heard.
    Mute(Which, Duration),
    /// One direction between two nodes, chosen by the number.
    CutOneWay(u64, Duration),
    /// Nodes fall into two halves, chosen by the number.
    Split(u64, Duration),
    /// Each node hears its two neighbours only.
    Ring(Duration),
    /// What it sends and is sent waits, and arrives together at the end.
    Hold(Which, Duration),
    /// Only its followers' fetches and their answers wait.
    HoldLeader(usize, Duration),
    /// Nobody's fetches from it and nothing of what it fetches arrives; the controller hears it.
    HoldData(Which, Duration),
    /// Percent that are lost, percent of requests that come twice, and a delay.
    Weather(usize, usize, Duration, Duration),
    /// Its flushes take this much longer.
    SlowFlush(Which, Duration, Duration),
    /// The metadata comes this much later.
    SlowMetadata(Which, Duration, Duration),
    /// Syncs fail.
    FailSyncs(Which, Duration),
    /// Writes fail half way.
    FailWrites(Which, Duration),
    /// Reads fail with this error of the system.
    FailReads(Which, i32, Duration),
    /// Bits of a segment flip, chosen by the number.
    FlipSegment(Which, u64),
    /// Bits of a file that is derived from others flip, while it is down.
    FlipDerived(Which, u64),
    /// Its disk is replaced by an empty one.
    Wipe(Which),
    /// Its monotonic clock goes by so many percent of the world's time.
    ClockRate(Which, u32, Duration),
    /// A topic gets another partition.
    Grow,
    /// Another voter leads the quorum.
    MoveController,
    /// Its wall clock jumps.
    Skew(Which, i64),
    /// A topic is deleted and made again under its name.
    Recreate,
    /// Its disk is full.
    FillDisk(Which, Duration),
    /// While it is down, files of its partitions are cut, garbled or removed, chosen by the number.
    Damage(Which, u64),
    /// While it is down, the last batch of a log that it follows becomes another that is as sound: what broken memory does
    /// before a checksum is made, or a bug.
    Forge(Which, u64),
    /// Bits flip near the end of one of its logs, which is still in memory.
    FlipTail(Which, u64),
    /// A copy of its disk is put aside.
    KeepImage(Which),
    /// It is started again from the copy that was put aside, once a later life has served.
    OldImage(Which),
    /// Another process, on an empty disk, asks to register under its node id, again and again.
    Twin(Which, Duration),
    /// The quorum commits nothing, and keeps what it was asked for.
    StallQuorum(Duration),
    /// It has no descriptors left for dials, and the connections to it close.
    Blind(Which, Duration),
}

impl Fault {
    /// How many kinds `random` knows.
    const KINDS: usize = 41;

    /// A few kinds: a run that does everything does nothing long enough.
    pub(super) fn some_kinds(chance: &mut Chance) -> Vec<usize> {
        let count = 2 + chance.below(7);
        (0..count).map(|_| chance.below(Self::KINDS)).collect()
    }

    /// A random fault of some kinds.
    pub(super) fn random(kinds: &[usize], chance: &mut Chance) -> Self {
        let which = Which::random(chance);
        let span = chance.millis(100, 6000);
        match *chance.pick(kinds) {
            0 | 1 => Self::Kill(which),
            2 => Self::KillFor(which, span),
            3 | 4 => Self::CutPower(which),
            5 => Self::CutPowerFor(which, span),
            6 => Self::CutAllPower,
            7 => Self::Pause(which, span),
            8 => Self::Stop(which, span),
            9 => Self::Isolate(which, span),
            10 => Self::Refuse(which, span),
            11 => Self::Deafen(which, span),
            12 => Self::Mute(which, span),
            13 => Self::CutOneWay(chance.number(), span),
            14 => Self::Split(chance.number(), span),
            15 => Self::Ring(span),
            16 => Self::Hold(which, span),
            17 => Self::Weather(chance.below(30), chance.below(30), chance.millis(0, 40), span),
            18 => Self::SlowFlush(which, chance.millis(50, 5000), span),
            19 => Self::SlowMetadata(which, chance.millis(50, 2000), span),
            20 => Self::FailSyncs(which, span),
            21 => Self::FailWrites(which, span),
            22 => Self::FailReads(which, *chance.pick(&[EIO, EIO, EMFILE, EACCES]), span),
            23 => Self::FlipSegment(which, chance.number()),
            24 => Self::FlipDerived(which, chance.number()),
            25 => Self::Wipe(which),
            26 => Self::MoveController,
            27 => Self::Skew(which, i64::try_from(chance.below(7_200_000)).expect("two hours") - 3_600_000),
            28 => Self::HoldLeader(chance.below(8), span),
            29 => Self::Recreate,
            30 => Self::FillDisk(which, span),
            31 => Self::Damage(which, chance.number()),
            32 => Self::KeepImage(which),
            33 => Self::OldImage(which),
            34 => Self::Twin(which, span),
            35 => Self::Blind(which, span),
            36 => Self::StallQuorum(span),
            37 => Self::HoldData(which, span),
            38 => Self::ClockRate(which, *chance.pick(&[50, 80, 120, 150]), span),
            39 => Self::Grow,
            _ => Self::StopAll,
        }
    }

    /// Whether it is felt when it is over: a copy that its medium did not give is given up until its broker starts anew.
    pub(super) fn outlasts_itself(self) -> bool {
        matches!(self, Self::FailReads(_, EIO, _))
    }

    /// For how long it is made; nothing for what is done at once.
    pub(super) fn span(self) -> Duration {
        match self {
            Self::Pause(_, span)
            | Self::Isolate(_, span)
            | Self::Refuse(_, span)
            | Self::Deafen(_, span)
            | Self::Mute(_, span)
            | Self::CutOneWay(_, span)
            | Self::Split(_, span)
            | Self::Ring(span)
            | Self::Hold(_, span)
            | Self::HoldLeader(_, span)
            | Self::Weather(.., span)
            | Self::SlowFlush(.., span)
            | Self::SlowMetadata(.., span)
            | Self::FailSyncs(_, span)
            | Self::FailWrites(_, span)
            | Self::FailReads(.., span)
            | Self::ClockRate(.., span)
            | Self::KillFor(_, span)
            | Self::CutPowerFor(_, span)
            | Self::FillDisk(_, span)
            | Self::Blind(_, span)
            | Self::Twin(_, span)
            | Self::HoldData(_, span)
            | Self::StallQuorum(span)
            | Self::Stop(_, span) => span,
            Self::Kill(_)
            | Self::CutPower(_)
            | Self::CutAllPower
            | Self::StopAll
            | Self::FlipSegment(..)
            | Self::FlipDerived(..)
            | Self::Wipe(_)
            | Self::MoveController
            | Self::Skew(..)
            | Self::Damage(..)
            | Self::Forge(..)
            | Self::FlipTail(..)
            | Self::KeepImage(_)
            | Self::OldImage(_)
            | Self::Grow
            | Self::Recreate => Duration::ZERO,
        }
    }
}

impl Which {
    fn random(chance: &mut Chance) -> Self {
        match chance.below(10) {
            0..=3 => Self::Leader(chance.below(8)),
            4 | 5 => Self::Follower(chance.below(8), chance.below(4)),
            6 => Self::Controller,
            7 => Self::LastLeader(chance.below(8)),
            _ => Self::Node(chance.below(8)),
        }
    }
}
