//! Scripted combinations of faults: those that random mixes hit too seldom. Each is a set-up and rounds of faults whose
//! moments and places are left to chance.

use std::time::Duration;

use super::fault::{Fault, Which};
use super::knobs::Knobs;
use super::plan::{Plan, Step, When};
use super::record::Traces;
use crate::testing::Chance;

/// See the file's comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// A leader is cut off, and then it or who follows it is killed.
    PartKill,
    /// A leader stands still for longer than its session, and as it wakes up its successor is killed.
    PauseKill,
    /// The replicas go one after the other until one is left, and that one too.
    LastReplica,
    /// Leaderships change twice while somebody's metadata lags behind.
    DoubleFailover,
    /// Topics are made again while a replica is away.
    RecreateWhileDown,
    /// All lose their power, in the middle of slow flushes.
    PowerLossOfAll,
    /// Requests between nodes come again, seconds later, while processes restart at once.
    LateRequests,
    /// Disks come back as they were some time ago, empty or damaged, while the others are away.
    OldDisk,
    /// Syncs fail, and then the power goes.
    FailedSyncs,
    /// Topics that are acknowledged from the page cache, and one node that loses its power.
    PageCache,
    /// Proposals that hold little, so that every fence takes several.
    SmallProposals,
    /// Records grow old within seconds, also those that are not committed yet.
    Retention,
    /// Bits flip and files are damaged on one node, and everybody reads.
    Rot,
    /// Disks are full.
    FullDisk,
    /// A second process asks for the node id of one that runs.
    Twin,
    /// A leader that the controller hears and its followers do not.
    Unreachable,
    /// Controllers that cannot dial, stand still, or lose most of the others.
    SickController,
    /// Orderly stops, one after the other.
    RollingRestart,
    /// A replica comes back, catches up and falters, while its leader hears late of what the controller has decided.
    SlowJoin,
    /// A follower's last batch is another than its leader's, and both are sound.
    Forged,
    /// A leader whose disk stands still, and who talks on.
    Stall,
    /// A controller that cannot dial, while a leader is dead.
    BlindController,
    /// Each new leader is killed within its first moments, while somebody's metadata lags.
    EachNewLeader,
    /// Nodes are cut off one after the other, and come back in another order.
    SwizzleClog,
    /// Topics grow while replicas are away, and clocks go fast and slow.
    Growth,
    /// Coordinators of groups die, stand still or are cut off while members come and go.
    Coordinators,
}

impl Script {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::PartKill,
        Self::PauseKill,
        Self::LastReplica,
        Self::DoubleFailover,
        Self::RecreateWhileDown,
        Self::PowerLossOfAll,
        Self::LateRequests,
        Self::OldDisk,
        Self::FailedSyncs,
        Self::PageCache,
        Self::SmallProposals,
        Self::Retention,
        Self::Rot,
        Self::FullDisk,
        Self::Twin,
        Self::Unreachable,
        Self::SickController,
        Self::RollingRestart,
        Self::SlowJoin,
        Self::Forged,
        Self::Stall,
        Self::BlindController,
        Self::EachNewLeader,
        Self::SwizzleClog,
        Self::Growth,
    ];

    /// Those of clusters with groups.
    pub const WITH_GROUPS: &[Self] = &[Self::Coordinators];

    /// The plan of a seed.
    #[must_use]
    pub fn plan(self, seed: u64, span: Duration) -> Plan {
        let mut chance = Chance::new(seed ^ 0x5c21);
        let mut knobs = Knobs::of(&mut chance);
        self.set_up(&mut knobs, &mut chance);
        let mut steps = Vec::new();
        let mut at = chance.millis(1500, 3000);
        while at < span {
            let mut round = Round { at, steps: &mut steps };
            self.round(&mut round, &mut chance);
            at += if self.is_slow() { chance.millis(18_000, 24_000) } else { chance.millis(3000, 7000) };
        }
        steps.retain(|step| {
            matches!(step.when, When::At(at) if at < span) || matches!(step.when, When::Election { .. })
        });
        let plan = Plan { seed, knobs, steps, span, traces: Traces::Digest };
        if Self::WITH_GROUPS.contains(&self) { plan.with_groups() } else { plan }
    }

    /// Whether a round takes long enough for the want of service to be judged.
    fn is_slow(self) -> bool {
        matches!(self, Self::Unreachable | Self::Stall | Self::BlindController)
    }

    fn set_up(self, knobs: &mut Knobs, chance: &mut Chance) {
        let ms = Duration::from_millis;
        match self {
            Self::LateRequests => {
                knobs.down = (ms(5), ms(50));
                knobs.in_flight_max = 1;
            }
            Self::RecreateWhileDown => {
                knobs.down = (ms(1000), ms(4000));
                knobs.start_spread = ms(3000);
            }
            Self::PageCache => {
                knobs.is_volatile = true;
                knobs.nodes = 3;
            }
            Self::SmallProposals => {
                let partitions = i32::try_from(4 + chance.below(9)).expect("a small number");
                knobs.topics = vec![("topic-0".to_owned(), partitions, 3), ("topic-1".to_owned(), partitions, 2)];
                knobs.proposal_bytes_max = 600 + chance.below(1400);
                knobs.send_interval = (ms(20), ms(150));
            }
            Self::Retention => {
                knobs.retention = Some(ms(1000 + chance.number() % 3000));
                knobs.segment_bytes = 512;
                knobs.lag_max = ms(*chance.pick(&[500, 5000]));
            }
            Self::DoubleFailover => knobs.session_timeout = ms(*chance.pick(&[2000, 4000])),
            Self::Unreachable => {
                knobs.session_timeout = ms(*chance.pick(&[600, 2000]));
                knobs.lag_max = ms(*chance.pick(&[2000, 30_000]));
                knobs.topics.iter_mut().for_each(|(_, _, replicas)| *replicas = 3);
                // Those that do not ask for all replicas are served by a leader that nobody follows, and hide that.
                knobs.plain_producers = *chance.pick(&[0, 3]);
            }
            Self::PartKill
            | Self::PauseKill
            | Self::LastReplica
            | Self::PowerLossOfAll
            | Self::OldDisk
            | Self::FailedSyncs
            | Self::Rot
            | Self::FullDisk
            | Self::Twin
            | Self::SickController
            | Self::RollingRestart
            | Self::SlowJoin
            | Self::SwizzleClog
            | Self::Growth
            | Self::EachNewLeader
            | Self::Coordinators
            | Self::Forged => {}
            Self::Stall => {
                knobs.session_timeout = ms(600);
                knobs.lag_max = ms(30_000);
            }
            Self::BlindController => {
                knobs.nodes = 5;
                knobs.session_timeout = ms(600);
            }
        }
    }

    fn round(self, round: &mut Round<'_>, chance: &mut Chance) {
        let place = chance.below(8);
        match self {
            Self::PartKill => round.part_kill(place, chance),
            Self::PauseKill => round.pause_kill(place, chance),
            Self::LastReplica => round.last_replica(place, chance),
            Self::DoubleFailover => round.double_failover(place, chance),
            Self::RecreateWhileDown => round.recreate_while_down(place, chance),
            Self::PowerLossOfAll => round.power_loss_of_all(place, chance),
            Self::LateRequests => round.late_requests(place, chance),
            Self::OldDisk => round.old_disk(place, chance),
            Self::FailedSyncs => round.failed_syncs(place, chance),
            Self::PageCache => round.page_cache(chance),
            Self::SmallProposals => round.small_proposals(place, chance),
            Self::Retention => round.retention(place, chance),
            Self::Rot => round.rot(place, chance),
            Self::FullDisk => round.full_disk(place, chance),
            Self::Twin => round.twin(place, chance),
            Self::Unreachable => round.unreachable(place, chance),
            Self::SickController => round.sick_controller(place, chance),
            Self::SlowJoin => round.slow_join(place, chance),
            Self::Stall => round.stall(place, chance),
            Self::BlindController => round.blind_controller(place, chance),
            Self::EachNewLeader => round.each_new_leader(place, chance),
            Self::SwizzleClog => round.swizzle_clog(chance),
            Self::Growth => round.growth(place, chance),
            Self::Coordinators => round.coordinators(place, chance),
            Self::Forged => round.add(Duration::ZERO, Fault::Forge(Which::Node(0), chance.number())),
            Self::RollingRestart => round.rolling_restart(place, chance),
        }
    }
}

/// The faults of one round.
struct Round<'a> {
    at: Duration,
    steps: &'a mut Vec<Step>,
}

impl Round<'_> {
    fn add(&mut self, after: Duration, fault: Fault) {
        self.steps.push(Step { when: When::At(self.at + after), fault });
    }

    fn coordinators(&mut self, place: usize, chance: &mut Chance) {
        let who = Which::Coordinator(place);
        let mut after = Duration::ZERO;
        // The second time it is the successor's turn, if there is one by then.
        for _ in 0..1 + chance.below(2) {
            let span = chance.millis(300, 5000);
            let faults = [
                Fault::Kill(who),
                Fault::KillFor(who, span),
                Fault::Pause(who, span),
                Fault::Isolate(who, span),
                Fault::Isolate(who, span),
                Fault::Stop(who, span),
                Fault::CutPower(who),
            ];
            self.add(after, *chance.pick(&faults));
            after += chance.millis(200, 2500);
        }
        if chance.one_in(3) {
            let late = Fault::SlowMetadata(Which::Node(place), chance.millis(200, 1500), chance.millis(1000, 3000));
            self.add(chance.millis(0, 1000), late);
        }
    }

    fn pause_kill(&mut self, place: usize, chance: &mut Chance) {
        let span = chance.millis(1000, 6000);
        self.add(Duration::ZERO, Fault::Pause(Which::Leader(place), span));
        let late = chance.millis(0, 600);
        self.add(span.saturating_sub(Duration::from_millis(300)) + late, Fault::Kill(Which::Leader(place)));
    }

    fn recreate_while_down(&mut self, place: usize, chance: &mut Chance) {
        self.add(Duration::ZERO, Fault::KillFor(Which::Follower(place, 0), chance.millis(500, 4000)));
        self.add(chance.millis(50, 1500), Fault::Recreate);
        if chance.one_in(2) {
            self.add(chance.millis(1000, 3000), Fault::Kill(Which::Leader(place)));
            self.add(chance.millis(1000, 3000), Fault::Recreate);
        }
    }

    fn power_loss_of_all(&mut self, place: usize, chance: &mut Chance) {
        let slow = chance.millis(20, 2000);
        self.add(Duration::ZERO, Fault::SlowFlush(Which::Leader(place), slow, chance.millis(500, 4000)));
        self.add(chance.millis(0, 2500), Fault::CutAllPower);
        self.add(chance.millis(2500, 4500), Fault::CutPower(Which::Node(place)));
    }

    fn late_requests(&mut self, place: usize, chance: &mut Chance) {
        self.add(Duration::ZERO, Fault::Weather(0, 30, chance.millis(0, 30), chance.millis(2000, 5000)));
        let (first, second) = (chance.millis(100, 2000), chance.millis(100, 3000));
        self.add(first, Fault::Kill(Which::Leader(place)));
        self.add(second, *chance.pick(&[Fault::Kill(Which::Leader(place)), Fault::MoveController]));
        self.add(first + second, Fault::Kill(Which::LastLeader(place)));
    }

    fn failed_syncs(&mut self, place: usize, chance: &mut Chance) {
        let which = *chance.pick(&[Which::Leader(place), Which::Follower(place, 0)]);
        self.add(Duration::ZERO, Fault::FailSyncs(which, chance.millis(20, 500)));
        let late = chance.millis(300, 3000);
        self.add(late, *chance.pick(&[Fault::CutPower(which), Fault::CutAllPower, Fault::Kill(which)]));
    }

    fn page_cache(&mut self, chance: &mut Chance) {
        self.add(chance.millis(0, 2000), Fault::CutPower(Which::Node(0)));
        // A crash of any other would cost the only claim to what nobody has flushed (rule R12).
        let others = [
            Fault::Stop(Which::Node(1), chance.millis(100, 2000)),
            Fault::Isolate(Which::Node(1), chance.millis(100, 3000)),
            Fault::Isolate(Which::Node(2), chance.millis(100, 3000)),
            Fault::MoveController,
        ];
        self.add(chance.millis(0, 3000), *chance.pick(&others));
        self.add(
            chance.millis(0, 3000),
            Fault::SlowFlush(Which::Node(0), chance.millis(100, 3000), chance.millis(500, 4000)),
        );
    }

    fn small_proposals(&mut self, place: usize, chance: &mut Chance) {
        self.add(Duration::ZERO, Fault::KillFor(Which::Leader(place), chance.millis(500, 3000)));
        self.add(chance.millis(0, 900), *chance.pick(&[Fault::MoveController, Fault::Kill(Which::Controller)]));
        self.add(chance.millis(1000, 3000), Fault::Kill(Which::Node(place)));
    }

    fn retention(&mut self, place: usize, chance: &mut Chance) {
        let span = chance.millis(1500, 5000);
        let holds = [Fault::HoldLeader(place, span), Fault::Pause(Which::Follower(place, 0), span)];
        self.add(Duration::ZERO, *chance.pick(&holds));
        self.add(chance.millis(500, 5000), Fault::Kill(Which::Leader(place)));
    }

    fn rot(&mut self, place: usize, chance: &mut Chance) {
        self.add(Duration::ZERO, Fault::FlipSegment(Which::Node(0), chance.number()));
        for _ in 0..4 {
            self.add(chance.millis(0, 4000), Fault::FlipTail(Which::Node(0), chance.number()));
        }
        self.add(chance.millis(200, 1500), Fault::Damage(Which::Node(0), chance.number()));
        self.add(chance.millis(200, 3000), Fault::FlipDerived(Which::Node(place), chance.number()));
        self.add(chance.millis(1000, 3000), Fault::KillFor(Which::Node(1 + place), chance.millis(100, 2000)));
    }

    fn full_disk(&mut self, place: usize, chance: &mut Chance) {
        let which = *chance.pick(&[Which::Leader(place), Which::Follower(place, 0), Which::Controller]);
        self.add(Duration::ZERO, Fault::FillDisk(which, chance.millis(500, 4000)));
        self.add(chance.millis(300, 3000), Fault::CutPower(which));
    }

    fn twin(&mut self, place: usize, chance: &mut Chance) {
        self.add(Duration::ZERO, Fault::Twin(Which::Leader(place), chance.millis(500, 4000)));
        self.add(chance.millis(300, 3000), *chance.pick(&[Fault::MoveController, Fault::Kill(Which::Node(place))]));
    }

    fn unreachable(&mut self, place: usize, chance: &mut Chance) {
        let span = chance.millis(1000, 14_000);
        let long = chance.millis(17_000, 20_000);
        let cuts = [
            Fault::HoldLeader(place, span),
            Fault::Isolate(Which::Leader(place), span),
            Fault::HoldData(Which::Leader(place), long),
            Fault::HoldData(Which::Leader(place), long),
        ];
        self.add(Duration::ZERO, *chance.pick(&cuts));
        if chance.one_in(2) {
            self.add(chance.millis(1000, 5000), Fault::Kill(Which::Follower(place, 0)));
        }
    }

    fn stall(&mut self, place: usize, chance: &mut Chance) {
        let span = chance.millis(9000, 14_000);
        self.add(Duration::ZERO, Fault::SlowFlush(Which::Leader(place), span, span));
    }

    fn blind_controller(&mut self, place: usize, chance: &mut Chance) {
        let span = chance.millis(14_000, 18_000);
        self.add(Duration::ZERO, Fault::Blind(Which::Controller, span));
        self.add(chance.millis(100, 1500), Fault::KillFor(Which::Leader(place), span));
    }

    fn each_new_leader(&mut self, place: usize, chance: &mut Chance) {
        self.add(
            Duration::ZERO,
            Fault::SlowMetadata(Which::Node(place), chance.millis(200, 2000), chance.millis(1000, 4000)),
        );
        self.add(chance.millis(0, 500), Fault::Kill(Which::Leader(place)));
        let (number, after) = (3 + self.steps.len() * 2, chance.millis(0, 100));
        let whom = *chance.pick(&[Fault::Kill(Which::Elected), Fault::CutPower(Which::Elected)]);
        self.steps.push(Step { when: When::Election { number, after }, fault: whom });
    }

    fn swizzle_clog(&mut self, chance: &mut Chance) {
        let mut begin = Duration::ZERO;
        for node in 0..2 + chance.below(2) {
            let (which, span) = (Which::Node(node + chance.below(2)), chance.millis(500, 5000));
            let cut = [Fault::Isolate(which, span), Fault::Hold(which, span), Fault::Refuse(which, span)];
            self.add(begin, *chance.pick(&cut));
            begin += chance.millis(100, 1200);
        }
    }

    fn growth(&mut self, place: usize, chance: &mut Chance) {
        let away = chance.millis(500, 4000);
        self.add(Duration::ZERO, Fault::KillFor(Which::Node(place), away));
        self.add(chance.millis(0, 1000), Fault::Grow);
        let percent = *chance.pick(&[50, 80, 120, 150]);
        self.add(chance.millis(0, 2000), Fault::ClockRate(Which::Leader(place), percent, chance.millis(1000, 6000)));
        if chance.one_in(2) {
            self.add(chance.millis(0, 2000), *chance.pick(&[Fault::Kill(Which::Controller), Fault::MoveController]));
        }
    }

    fn rolling_restart(&mut self, place: usize, chance: &mut Chance) {
        self.add(Duration::ZERO, Fault::Stop(Which::Leader(place), chance.millis(10, 800)));
        if chance.one_in(3) {
            self.add(chance.millis(0, 2000), Fault::Stop(Which::Node(place), chance.millis(10, 800)));
        }
    }

    fn part_kill(&mut self, place: usize, chance: &mut Chance) {
        let (leader, span) = (Which::Leader(place), chance.millis(500, 5000));
        let part = [
            Fault::Isolate(leader, span),
            Fault::Mute(leader, span),
            Fault::Deafen(leader, span),
            Fault::Hold(leader, span),
            Fault::HoldLeader(place, span),
            Fault::Isolate(Which::Follower(place, 0), span),
        ];
        self.add(Duration::ZERO, *chance.pick(&part));
        let whom = *chance.pick(&[leader, Which::Follower(place, 0), Which::LastLeader(place), Which::Controller]);
        let kill = [Fault::Kill(whom), Fault::KillFor(whom, span), Fault::CutPower(whom)];
        self.add(chance.millis(50, 3000), *chance.pick(&kill));
    }

    fn last_replica(&mut self, place: usize, chance: &mut Chance) {
        let step = chance.millis(50, 1200);
        let mut spans = || chance.millis(500, 5000);
        let (first, second, last) = (spans(), spans(), spans());
        self.add(Duration::ZERO, Fault::KillFor(Which::Follower(place, 0), first));
        self.add(step, Fault::KillFor(Which::Follower(place, 1), second));
        let leader = Which::Leader(place);
        let kinds = [Fault::KillFor(leader, last), Fault::CutPowerFor(leader, last), Fault::CutAllPower];
        self.add(step * 2, *chance.pick(&kinds));
    }

    fn double_failover(&mut self, place: usize, chance: &mut Chance) {
        let whose = *chance.pick(&[Which::Leader(place), Which::Follower(place, 0), Which::Follower(place, 1)]);
        self.add(Duration::ZERO, Fault::SlowMetadata(whose, chance.millis(300, 3000), chance.millis(1500, 6000)));
        let leader = Which::Leader(place);
        let away = |chance: &mut Chance| {
            let span = chance.millis(300, 2500);
            let kinds = [
                Fault::KillFor(leader, span),
                Fault::HoldLeader(place, span + Duration::from_millis(1000)),
                Fault::Kill(leader),
                Fault::Stop(leader, span),
                Fault::CutPower(leader),
            ];
            *chance.pick(&kinds)
        };
        let (first, second) = (chance.millis(50, 600), chance.millis(200, 2000));
        let fault = away(chance);
        self.add(first, fault);
        let fault = away(chance);
        self.add(first + second, fault);
        if chance.one_in(2) {
            let fault = away(chance);
            self.add(first + second * 2, fault);
        }
    }

    /// One node's disk is lost or old; the others are away when it comes back.
    fn old_disk(&mut self, place: usize, chance: &mut Chance) {
        let sick = Which::Node(0);
        // What it had asked in its former life comes again.
        self.add(Duration::ZERO, Fault::Weather(0, 30, Duration::from_millis(1), Duration::from_millis(6000)));
        self.add(Duration::ZERO, Fault::KeepImage(sick));
        self.add(chance.millis(50, 300), Fault::Kill(sick));
        let lost =
            [Fault::OldImage(sick), Fault::OldImage(sick), Fault::Wipe(sick), Fault::Damage(sick, chance.number())];
        let at = chance.millis(1500, 4000);
        self.add(at, *chance.pick(&lost));
        for other in 0..1 + chance.below(2) {
            let late = chance.millis(0, 400);
            self.add(at + late, Fault::KillFor(Which::Node(1 + place + other), chance.millis(300, 2500)));
        }
    }

    fn slow_join(&mut self, place: usize, chance: &mut Chance) {
        let (leader, follower) = (Which::Leader(place), Which::Follower(place, 0));
        self.add(Duration::ZERO, Fault::SlowMetadata(leader, chance.millis(200, 1500), chance.millis(3000, 5000)));
        self.add(Duration::ZERO, Fault::KillFor(follower, chance.millis(100, 1200)));
        for _ in 0..8 {
            let at = chance.millis(800, 4000);
            let falters = [
                Fault::Pause(follower, chance.millis(10, 300)),
                Fault::HoldLeader(place, chance.millis(10, 300)),
                Fault::SlowFlush(follower, chance.millis(10, 400), chance.millis(50, 500)),
            ];
            self.add(at, *chance.pick(&falters));
        }
        if chance.one_in(2) {
            self.add(chance.millis(1000, 4000), Fault::StallQuorum(chance.millis(50, 1500)));
        }
        if chance.one_in(2) {
            self.add(chance.millis(1500, 4500), Fault::Kill(leader));
        }
    }

    fn sick_controller(&mut self, place: usize, chance: &mut Chance) {
        let span = chance.millis(1500, 7000);
        let sick = [
            Fault::Blind(Which::Controller, span),
            Fault::Blind(Which::Controller, span),
            Fault::Pause(Which::Controller, span),
            Fault::Hold(Which::Controller, span),
            Fault::Refuse(Which::Controller, span),
            Fault::Weather(25, 10, Duration::from_millis(300), span),
            Fault::StallQuorum(span),
            Fault::StallQuorum(span / 4),
        ];
        self.add(Duration::ZERO, *chance.pick(&sick));
        if chance.one_in(2) {
            self.add(chance.millis(0, 1000), Fault::KillFor(Which::Leader(place), span));
        }
        if chance.one_in(3) {
            self.add(chance.millis(500, 3000), Fault::MoveController);
        }
    }
}
