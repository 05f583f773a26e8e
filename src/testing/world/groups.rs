//! Clients that commit offsets and fetch them, each as somebody without members who assigns his partitions himself: what is
//! committed for one group is one register.
//!
//! Every value is committed once in a run, so that whatever is fetched tells which commit wrote it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::message::{Answer, Endpoint, Request, RequestId};
use super::{Happening, Knobs, World};
use crate::broker::partition_of_group;
use crate::machines::group::{Call, Commit, CommitOf, Fetch, Identity, Refusal, Reply};
use crate::machines::metadata::{Image, Partition};
use crate::model::{
    Generation, GroupId, Instant, MemberId, NodeId, Offset, PartitionId, PartitionIndex, TopicId, TopicName,
};
use crate::testing::Chance;
use crate::verify::history::{Class, ClientId, CommitSent, CommittedRead, RegisterId};

/// How long a client waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
/// How many registers there are.
const REGISTERS: usize = 4;

/// One client of coordinators.
#[derive(Debug)]
pub(super) struct Committer {
    image: Option<Arc<Image>>,
    pending: BTreeMap<RequestId, Pending>,
    chance: Chance,
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Metadata,
    /// The commit of this number in the history.
    Commit(usize),
    Fetch {
        register: RegisterId,
        invoked: Instant,
    },
}

impl Committer {
    pub(super) fn all(knobs: &Knobs, seed: u64) -> BTreeMap<Endpoint, Self> {
        let committer = |number: usize| {
            let number = u64::try_from(number).expect("a few clients");
            let id = ClientId(u32::try_from(2000 + number).expect("a few clients"));
            let chance = Chance::new(seed ^ (0xc0_441 + number));
            (Endpoint::Client(id), Self { image: None, pending: BTreeMap::new(), chance })
        };
        (0..knobs.committers).map(committer).collect()
    }
}

impl Committer {
    /// How long it rests between two acts.
    pub(super) fn rest(&mut self, longest: Duration) -> Duration {
        self.chance.span(longest / 4, longest)
    }
}

/// The partitions that producers and consumers use: not those of the brokers' own topics.
pub(super) fn data_partitions(image: &Image) -> impl Iterator<Item = (PartitionId, &Partition)> {
    image.topics().partitions().filter(|(id, _)| !is_internal(image, *id))
}

/// Whether a partition is of a topic of the brokers' own.
pub(super) fn is_internal(image: &Image, partition: PartitionId) -> bool {
    image.topic(partition.topic).is_some_and(|topic| topic.name.is_internal())
}

/// The group of a register.
fn group(register: RegisterId) -> GroupId {
    GroupId::new(&format!("register-{}", register.0))
}

/// The topic that keeps groups is what they commit for, too: nobody deletes it.
pub(super) fn topic() -> TopicName {
    TopicName::new(TopicName::CONSUMER_OFFSETS).expect("a valid name")
}

fn commit(offsets: TopicId, register: RegisterId, value: u64) -> Call {
    let identity =
        Identity { group: group(register), member: MemberId::new(""), instance: None, generation: Generation::new(-1) };
    let offset = CommitOf {
        topic: topic(),
        topic_id: offsets,
        partition: PartitionIndex::new(0),
        offset: Offset::new(i64::try_from(value).expect("a few commits")),
        leader_epoch: None,
        metadata: "".into(),
        retention: None,
    };
    Call::Commit(Commit { identity, knows_kip_848: true, offsets: vec![offset] })
}

impl World {
    /// A committer's next act.
    pub(super) fn coordinate(&mut self, client: Endpoint) {
        let (now, any) = (self.now, self.any_node());
        let committer = self.committers.get_mut(&client).expect("a committer");
        // A client has one request under way at most, as on a connection.
        if !committer.pending.is_empty() {
            return;
        }
        let register = RegisterId(u32::try_from(committer.chance.below(REGISTERS)).expect("a few registers"));
        let image = committer.image.clone().filter(|_| !committer.chance.one_in(40));
        let found = image.and_then(|image| {
            let partition = partition_of_group(&image, &group(register))?;
            Some((partition, image.partition(partition)?.leader?))
        });
        let Some((partition, leader)) = found else {
            self.ask_coordinator(client, any, Request::Metadata, Pending::Metadata);
            return;
        };
        let is_over = self.is_healed && self.observer.is_quiet;
        let reads = self.committers.get_mut(&client).expect("a committer").chance.one_in(2);
        let (call, pending) = if reads || is_over {
            (Call::Fetch(Fetch::all(group(register))), Pending::Fetch { register, invoked: now })
        } else {
            let commits = &mut self.record.history.commits;
            let value = u64::try_from(commits.len()).expect("a few commits") + 1;
            commits.push(CommitSent { register, value, invoked: now, returned: None, class: Class::Info });
            (commit(partition.topic, register, value), Pending::Commit(commits.len() - 1))
        };
        let body = Request::Group { partition, call: Box::new(call) };
        self.ask_coordinator(client, leader, body, pending);
    }

    fn ask_coordinator(&mut self, client: Endpoint, node: NodeId, body: Request, pending: Pending) {
        let id = self.ask_endpoint(client, Endpoint::Node(node), body);
        self.committers.get_mut(&client).expect("a committer").pending.insert(id, pending);
        self.after(ANSWER_WITHIN, Happening::ClientTimeout(client, id));
    }

    pub(super) fn coordinate_answer(&mut self, client: Endpoint, id: RequestId, body: Option<(Endpoint, Answer)>) {
        let now = self.now;
        let committer = self.committers.get_mut(&client).expect("a committer");
        let Some(pending) = committer.pending.remove(&id) else { return };
        match (pending, body.map(|(_, body)| body)) {
            (Pending::Metadata, Some(Answer::Metadata(image))) => committer.image = Some(image),
            (Pending::Commit(entry), Some(Answer::Group { partition, reply })) => {
                self.committed(client, entry, partition, *reply);
            }
            (Pending::Fetch { register, invoked }, Some(Answer::Group { partition, reply })) => match reply.fetch() {
                Ok(offsets) => {
                    let known = offsets.get(&topic()).and_then(|known| known.get(&PartitionIndex::new(0)));
                    let value = known.map(|committed| committed.offset.get().unsigned_abs());
                    let read = CommittedRead { register, value, invoked, returned: now };
                    self.record.history.committed_reads.push(read);
                    self.observer.read.entry(partition).or_insert(now);
                }
                Err(_) => committer.image = None,
            },
            (Pending::Metadata | Pending::Commit(_) | Pending::Fetch { .. }, _) => committer.image = None,
        }
    }

    fn committed(&mut self, client: Endpoint, entry: usize, partition: PartitionId, reply: Reply) {
        let outcome = reply.commit().and_then(|outcomes| outcomes.into_iter().collect::<Result<Vec<()>, Refusal>>());
        let class = match outcome {
            Ok(_) => {
                self.observer.acked(partition, self.now);
                Class::Ok
            }
            Err(refusal) => {
                self.committers.get_mut(&client).expect("a committer").image = None;
                // Only who has not begun to serve has certainly not written.
                if refusal == Refusal::Loading { Class::Fail } else { Class::Info }
            }
        };
        let sent = &mut self.record.history.commits[entry];
        (sent.returned, sent.class) = (Some(self.now), class);
    }
}
