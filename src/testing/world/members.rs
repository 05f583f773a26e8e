//! Members of groups: processes that join, read, commit, fall silent, die and come back, by the classic protocol or by that
//! of KIP-848.
//!
//! What they read is not fetched: each partition is an endless log, in which they have a position. A place is where an
//! operator keeps a process running; each life of it is another process. Invariant: a process has one request under way;
//! it acts on what it was told and on nothing else, and what it is told is written down as it comes.

mod classic;
mod consumer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::groups::{is_internal, topic};
use super::message::{Answer, Endpoint, Request, RequestId};
use super::{Happening, Knobs, World};
use crate::broker::partition_of_group;
use crate::machines::group::{Call, Commit, CommitOf, Fetch, Identity, Options, Refusal};
use crate::machines::metadata::Image;
use crate::model::{
    Generation, GroupEpoch, GroupId, InstanceId, Instant, MemberId, Offset, PartitionId, PartitionIndex,
};
use crate::testing::Chance;
use crate::verify::history::{ClientId, GroupEnding, MemberAnswer, MemberCall, MemberRequest, Processed};

/// How long a process waits for an answer; for that to a join as long as others may take to join, too.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);
const JOIN_WITHIN: Duration = Duration::from_secs(8);
/// Between two acts: least and most.
const REST: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(300));
/// How long a process that has left, or has died, stays away.
const AWAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(6));
/// How long one is silent that goes on as if nothing was.
const SILENT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// One act of so many is the last, or the last for a while.
const CHURN: usize = 25;

/// The settings of coordinators: short times, so that much happens in a minute.
pub(super) fn options() -> Options {
    let ms = Duration::from_millis;
    Options {
        session_timeout_min: ms(500),
        initial_delay: ms(400),
        consumer_session_timeout: ms(3000),
        heartbeat_interval_min: ms(100),
        new_member_wait: ms(5000),
        ..Options::default()
    }
}

/// The protocol that a member speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Classic,
    Consumer,
}

/// The place of a process.
#[derive(Debug)]
pub(super) struct Member {
    number: u32,
    group: GroupId,
    dialect: Dialect,
    instance: Option<InstanceId>,
    /// How long it may be silent, and how long a rebalance waits for it.
    session_timeout_ms: i32,
    rebalance_timeout_ms: i32,
    image: Option<Arc<Image>>,
    pending: Option<Pending>,
    /// How many ids were made here.
    minted: u32,
    /// Nothing happens here before.
    rests_until: Instant,
    process: Option<Process>,
    chance: Chance,
}

/// A request under way; without an entry in the history it is for metadata.
#[derive(Debug)]
struct Pending {
    id: RequestId,
    entry: Option<usize>,
}

/// One life of a member.
#[derive(Debug)]
struct Process {
    member: MemberId,
    /// The generation, or the member epoch.
    generation: i32,
    step: Step,
    /// What it may read, and where it is in it.
    owned: BTreeMap<PartitionId, Option<Offset>>,
    /// What it is to give back, and has not yet.
    leaving: BTreeSet<PartitionId>,
    /// As leader: everybody.
    roll: Vec<MemberId>,
    /// Whether the next heartbeat says everything.
    is_full: bool,
    /// Whether it was silent, and does not know for how long.
    was_silent: bool,
}

/// What a process does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Join,
    Sync,
    Live,
    /// It has said that it leaves.
    Left,
}

impl Process {
    fn new(member: MemberId) -> Self {
        let (owned, leaving, roll) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        Self { member, generation: 0, step: Step::Join, owned, leaving, roll, is_full: true, was_silent: false }
    }

    /// It is in no generation any more, and has nothing.
    fn is_out(&mut self) {
        *self = Self::new(self.member.clone());
    }
}

impl Member {
    pub(super) fn all(knobs: &Knobs, seed: u64) -> BTreeMap<Endpoint, Self> {
        let member = |number: usize| {
            // Of four places of a group one has no instance, one has its own, and two have the same.
            let (group, place) = (number / 4, number % 4);
            let dialect = if group.is_multiple_of(2) { Dialect::Classic } else { Dialect::Consumer };
            let number = u32::try_from(number).expect("a few members");
            let mut chance = Chance::new(seed ^ (0x3e3b_e500 + u64::from(number)));
            let member = Self {
                number,
                group: GroupId::new(&format!("members-{group}")),
                dialect,
                instance: (place > 0).then(|| InstanceId::new(if place == 1 { "own" } else { "shared" })),
                // Who has an instance comes back as a rule, and may be silent for longer than a rebalance takes.
                session_timeout_ms: *chance.pick(if place > 0 { &[4000, 8000, 12_000] } else { &[1500, 3000, 6000] }),
                rebalance_timeout_ms: *chance.pick(&[700, 1500, 3000]),
                image: None,
                pending: None,
                minted: 0,
                rests_until: Instant::ZERO,
                process: None,
                chance,
            };
            (Endpoint::Client(ClientId(3000 + number)), member)
        };
        (0..knobs.members).map(member).collect()
    }

    /// How long it rests between two acts.
    pub(super) fn rest(&mut self) -> Duration {
        self.chance.span(REST.0, REST.1)
    }

    /// Who runs here.
    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a process asks and is answered")
    }

    /// Who speaks.
    fn identity(&mut self) -> Identity {
        let (group, instance) = (self.group.clone(), self.instance.clone());
        let process = self.process();
        Identity { group, member: process.member.clone(), instance, generation: Generation::new(process.generation) }
    }

    /// Commits where it is, in all that it reads.
    fn commit(&mut self) -> Option<(Call, MemberRequest)> {
        let read = self.process().owned.iter().filter_map(|(id, at)| Some((*id, (*at)?)));
        let positions: Vec<(PartitionId, Offset)> = read.filter(|(_, at)| at.get() > 0).collect();
        if positions.is_empty() {
            return None;
        }
        let offset = |(id, offset): &(PartitionId, Offset)| CommitOf {
            topic: topic(),
            topic_id: id.topic,
            partition: id.index,
            offset: *offset,
            leader_epoch: None,
            metadata: "".into(),
            retention: None,
        };
        let offsets = positions.iter().map(offset).collect();
        let call = Commit { identity: self.identity(), knows_kip_848: true, offsets };
        Some((Call::Commit(call), MemberRequest::Commit(positions)))
    }

    /// Asks where to go on, if it does not know everywhere.
    fn fetch(&mut self) -> Option<(Call, MemberRequest)> {
        let dialect = self.dialect;
        let group = self.group.clone();
        let process = self.process();
        let unknown: Vec<PartitionIndex> =
            process.owned.iter().filter(|(_, at)| at.is_none()).map(|(id, _)| id.index).collect();
        if unknown.is_empty() {
            return None;
        }
        let (member, epoch) = match dialect {
            Dialect::Classic => (None, GroupEpoch::new(-1)),
            Dialect::Consumer => (Some(process.member.clone()), GroupEpoch::new(process.generation)),
        };
        let call = Fetch { group, member, epoch, topics: Some(vec![(topic(), unknown)]) };
        Some((Call::Fetch(call), MemberRequest::Fetch))
    }
}

impl World {
    /// A member's next act.
    pub(super) fn member_turn(&mut self, client: Endpoint) {
        let now = self.now;
        let is_over = self.is_healed && self.observer.is_quiet;
        if self.members[&client].pending.is_some() || self.members[&client].rests_until > now {
            return;
        }
        if self.members[&client].process.is_none() && !self.begin_member(client, is_over) {
            return;
        }
        if self.coordinator_of(client).is_none() {
            let any = self.any_node();
            let id = self.ask_endpoint(client, Endpoint::Node(any), Request::Metadata);
            self.await_member(client, Pending { id, entry: None }, ANSWER_WITHIN);
            return;
        }
        if !is_over && self.churn(client) {
            return;
        }
        self.work(client);
        let member = self.members.get_mut(&client).expect("a member");
        let act = match member.dialect {
            Dialect::Classic => member.act_classic(is_over),
            Dialect::Consumer => member.act_consumer(is_over),
        };
        self.ask_member(client, act);
    }

    /// An operator starts another process here. In the end nobody comes to a group that has members.
    fn begin_member(&mut self, client: Endpoint, is_over: bool) -> bool {
        let group = &self.members[&client].group;
        let has_others = self.members.values().any(|other| other.group == *group && other.process.is_some());
        if is_over && has_others {
            return false;
        }
        let member = self.members.get_mut(&client).expect("a member");
        let id = match member.dialect {
            Dialect::Classic => MemberId::new(""),
            Dialect::Consumer => member.fresh(),
        };
        member.process = Some(Process::new(id));
        true
    }

    /// The partition of its coordinator and who leads that, as far as it knows.
    fn coordinator_of(&self, client: Endpoint) -> Option<(PartitionId, crate::model::NodeId)> {
        let member = &self.members[&client];
        let image = member.image.as_ref()?;
        let partition = partition_of_group(image, &member.group)?;
        Some((partition, image.partition(partition)?.leader?))
    }

    /// What no member means to do, now and then: it dies, is silent for a while and goes on as if nothing was, or leaves.
    fn churn(&mut self, client: Endpoint) -> bool {
        let now = self.now;
        let member = self.members.get_mut(&client).expect("a member");
        if member.process().step != Step::Live || !member.chance.one_in(CHURN) {
            return false;
        }
        let silence = member.chance.span(AWAY.0, AWAY.1);
        member.rests_until = now.plus(silence);
        match member.chance.below(4) {
            0 => member.process = None,
            1 | 2 => {
                member.rests_until = now.plus(member.chance.span(SILENT.0, SILENT.1));
                member.process().was_silent = true;
            }
            _ => {
                let act = match member.dialect {
                    Dialect::Classic => member.leave_classic(),
                    Dialect::Consumer => member.leave_consumer(),
                };
                self.ask_member(client, act);
            }
        }
        true
    }

    /// Reads on in all that it may read.
    fn work(&mut self, client: Endpoint) {
        let now = self.now;
        let member = self.members.get_mut(&client).expect("a member");
        let group = member.group.clone();
        let process = member.process.as_mut().expect("it runs");
        if process.step != Step::Live {
            return;
        }
        for (partition, at) in &mut process.owned {
            let Some(from) = *at else { continue };
            let end = from.plus(1 + i64::try_from(member.chance.below(4)).expect("a small number"));
            *at = Some(end);
            let done = Processed { group: group.clone(), partition: *partition, from, end, at: now };
            self.record.history.processed.push(done);
        }
    }

    fn ask_member(&mut self, client: Endpoint, act: (Call, MemberRequest)) {
        let (call, request) = act;
        let Some((partition, leader)) = self.coordinator_of(client) else { return };
        let member = self.members.get_mut(&client).expect("a member");
        let identity = member.identity();
        let own = identity.generation.get();
        let generation = if let Call::Beat(beat) = &call { beat.epoch.get() } else { own };
        let within = if matches!(call, Call::Join(_)) { JOIN_WITHIN } else { ANSWER_WITHIN };
        self.record.history.member_calls.push(MemberCall {
            group: identity.group,
            instance: identity.instance,
            member: identity.member,
            generation,
            request,
            invoked: self.now,
            returned: None,
            answer: MemberAnswer::Lost,
        });
        let entry = Some(self.record.history.member_calls.len() - 1);
        let body = Request::Group { partition, call: Box::new(call) };
        let id = self.ask_endpoint(client, Endpoint::Node(leader), body);
        self.await_member(client, Pending { id, entry }, within);
    }

    fn await_member(&mut self, client: Endpoint, pending: Pending, within: Duration) {
        self.after(within, Happening::ClientTimeout(client, pending.id));
        self.members.get_mut(&client).expect("a member").pending = Some(pending);
    }

    /// An answer has come, or none will.
    pub(super) fn member_answer(&mut self, client: Endpoint, id: RequestId, body: Option<(Endpoint, Answer)>) {
        let now = self.now;
        let member = self.members.get_mut(&client).expect("a member");
        let Some(Pending { entry, .. }) = member.pending.take_if(|pending| pending.id == id) else { return };
        let Some(entry) = entry else {
            if let Some((_, Answer::Metadata(image))) = body {
                member.image = Some(image);
            }
            return;
        };
        let reply = match body {
            Some((_, Answer::Group { partition, reply })) => Some((partition, *reply)),
            Some(_) | None => None,
        };
        let call = &mut self.record.history.member_calls[entry];
        call.returned = reply.as_ref().map(|_| now);
        let Some((partition, reply)) = reply else {
            member.image = None;
            member.is_unsure();
            return;
        };
        let told = match member.dialect {
            Dialect::Classic => member.take_classic(reply),
            Dialect::Consumer => member.take_consumer(reply),
        };
        call.answer = told;
        member.end_if_left();
        if member.process.is_none() && member.rests_until <= now {
            member.rests_until = now.plus(member.chance.span(AWAY.0, AWAY.1) * 3);
        }
        if matches!(call.request, MemberRequest::Commit(_)) && call.answer == MemberAnswer::Done {
            self.observer.acked(partition, now);
        }
    }

    /// Whether every group has members, all of them live, and each of its partitions has an owner that knows it.
    pub(super) fn groups_are_settled(&self) -> bool {
        self.group_endings().iter().all(|ending| {
            let held: Vec<&PartitionId> = ending.members.iter().flat_map(|(_, holds)| holds).collect();
            let distinct: BTreeSet<&PartitionId> = held.iter().copied().collect();
            held.len() == distinct.len() && distinct.into_iter().eq(ending.partitions.iter())
        }) && self.members.values().all(Member::is_at_home)
    }

    /// Who has what.
    pub(super) fn group_endings(&self) -> Vec<GroupEnding> {
        let image = self.quorum.image();
        let of_topic = |id: &PartitionId| is_internal(&image, *id);
        let partitions: Vec<PartitionId> = image.topics().partitions().map(|(id, _)| id).filter(of_topic).collect();
        let mut endings: BTreeMap<&GroupId, GroupEnding> = BTreeMap::new();
        for member in self.members.values() {
            let ending = endings.entry(&member.group).or_insert_with(|| GroupEnding {
                group: member.group.clone(),
                partitions: partitions.clone(),
                members: Vec::new(),
            });
            if let Some(process) = &member.process {
                ending.members.push((process.member.clone(), process.owned.keys().copied().collect()));
            }
        }
        endings.into_values().collect()
    }
}

impl Member {
    /// Whether it is not on its way from one state to another.
    fn is_at_home(&self) -> bool {
        self.process.as_ref().is_none_or(|process| process.step == Step::Live && process.leaving.is_empty())
    }

    /// An id that nobody had.
    fn fresh(&mut self) -> MemberId {
        self.minted += 1;
        MemberId::new(&format!("m{}-{}", self.number, self.minted))
    }

    /// It does not know what became of a request.
    fn is_unsure(&mut self) {
        self.process().is_full = true;
        self.end_if_left();
    }

    /// Whoever has left is gone, whatever it was told.
    fn end_if_left(&mut self) {
        self.process.take_if(|process| process.step == Step::Left);
    }

    /// Takes the positions where it goes on.
    fn take_positions(&mut self, offsets: &crate::machines::group::Offsets) -> MemberAnswer {
        let known = offsets.get(&topic());
        let mut told = Vec::new();
        for (id, at) in self.process().owned.iter_mut().filter(|(_, at)| at.is_none()) {
            let committed = known.and_then(|known| known.get(&id.index)).map(|committed| committed.offset);
            *at = Some(committed.unwrap_or(Offset::ZERO));
            told.extend(committed.map(|offset| (*id, offset)));
        }
        MemberAnswer::Positions(told)
    }

    /// What follows from a refusal, whatever the protocol.
    #[expect(clippy::wildcard_enum_match_arm, reason = "of all others it goes on as before")]
    fn refused(&mut self, refusal: &Refusal) -> MemberAnswer {
        match refusal {
            Refusal::NotCoordinator | Refusal::Loading | Refusal::Unavailable => self.image = None,
            // Another process has its place: it ends.
            Refusal::FencedInstance | Refusal::UnreleasedInstance => self.process = None,
            _ => {}
        }
        MemberAnswer::Refused
    }
}

/// What became of a commit: all of it, or nothing that counts.
fn committed(outcome: Result<Vec<Result<(), Refusal>>, Refusal>) -> Result<(), Refusal> {
    outcome?.into_iter().collect()
}
