//! A member of the classic protocol: it joins, its leader assigns, it gives signs of life, and joins again when it is told to.

use std::sync::Arc;

use bytes::Bytes;

use super::{Member, Process, Step, committed};
use crate::machines::group::{Call, Client, Join, Joined, Leave, Refusal, Reply, Sync, Synced};
use crate::model::{MemberId, Offset, PartitionId, PartitionIndex};
use crate::verify::history::{MemberAnswer, MemberRequest};

/// What the members say of themselves; nobody reads it.
const PROTOCOL_TYPE: &str = "simulated";
const PROTOCOLS: [&str; 2] = ["range", "sticky"];
/// What stands before the partitions of an assignment.
const ASSIGNMENT_VERSION: u8 = 1;

impl Member {
    /// Its next request.
    pub(super) fn act_classic(&mut self, is_over: bool) -> (Call, MemberRequest) {
        match self.process().step {
            Step::Join => {
                let join = self.join();
                let fresh = join.fresh.clone();
                (Call::Join(join), MemberRequest::Join { fresh })
            }
            Step::Sync => (Call::Sync(self.sync()), MemberRequest::Sync),
            Step::Live | Step::Left => {
                if let Some(fetch) = self.fetch() {
                    return fetch;
                }
                let was_silent = std::mem::take(&mut self.process().was_silent);
                let act = if is_over { 9 } else { self.chance.below(if was_silent { 3 } else { 10 }) };
                match act {
                    // An answer may have been lost, or long ago.
                    0 => (Call::Sync(self.sync()), MemberRequest::Sync),
                    1 | 3 | 4 => self.commit().unwrap_or_else(|| self.heartbeat()),
                    _ => self.heartbeat(),
                }
            }
        }
    }

    pub(super) fn leave_classic(&mut self) -> (Call, MemberRequest) {
        let (group, instance) = (self.group.clone(), self.instance.clone());
        let process = self.process();
        process.step = Step::Left;
        (Call::Leave(Leave { group, members: vec![(process.member.clone(), instance)] }), MemberRequest::Leave)
    }

    fn heartbeat(&mut self) -> (Call, MemberRequest) {
        (Call::Heartbeat(self.identity()), MemberRequest::Heartbeat)
    }

    fn join(&mut self) -> Join {
        let fresh = self.fresh();
        let mut names = PROTOCOLS;
        if self.chance.one_in(4) {
            names.reverse();
        }
        let protocols = names.map(|name| (Arc::from(name), Bytes::from_static(b"-")));
        Join {
            group: self.group.clone(),
            member: self.process().member.clone(),
            instance: self.instance.clone(),
            fresh,
            client: Client::new("member", "/10.0.0.1"),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            protocol_type: PROTOCOL_TYPE.into(),
            protocols: protocols.to_vec(),
            requires_known_member: true,
            skips_assignment: true,
        }
    }

    /// A leader brings an assignment; another one with every try, so that two of them would be seen.
    fn sync(&mut self) -> Sync {
        let count = self.chance.below(100);
        let indexes: Vec<PartitionIndex> = self.partitions().into_iter().map(|id| id.index).collect();
        let identity = self.identity();
        let roll = self.process().roll.clone();
        let share = |place: usize| {
            let own = indexes.iter().enumerate().filter(|(at, _)| (at + count) % roll.len() == place);
            encode(own.map(|(_, index)| *index))
        };
        let assignments = roll.iter().enumerate().map(|(place, member)| (member.clone(), share(place))).collect();
        Sync { identity, protocol_type: None, protocol: None, assignments }
    }

    /// What the group reads, as far as this member knows.
    fn partitions(&self) -> Vec<PartitionId> {
        let image = self.image.as_ref().expect("who knows the coordinator knows the topics");
        let topic = image.topic_named(super::topic().as_str());
        topic.into_iter().flat_map(|topic| image.topics().partitions_of(topic.id)).map(|(id, _)| id).collect()
    }

    /// Takes an answer, and says what was told.
    pub(super) fn take_classic(&mut self, reply: Reply) -> MemberAnswer {
        match reply {
            Reply::Join(outcome) => match outcome {
                Ok(joined) => self.joined(joined),
                Err(refusal) => self.turned_away(&refusal),
            },
            Reply::Sync(outcome) => match outcome {
                Ok(synced) => self.synced(&synced),
                Err(refusal) => self.turned_away(&refusal),
            },
            Reply::Fetch(outcome) => match outcome {
                Ok(offsets) => self.take_positions(&offsets),
                Err(refusal) => self.turned_away(&refusal),
            },
            Reply::Heartbeat(outcome) => self.done(outcome),
            Reply::Commit(outcome) => self.done(committed(outcome)),
            Reply::Leave(outcome) => self.done(committed(outcome)),
            Reply::Beat(_)
            | Reply::Forget(_)
            | Reply::Describe(_)
            | Reply::DescribeConsumers(_)
            | Reply::List(_)
            | Reply::Survey(_)
            | Reply::Delete(_) => unreachable!("no member asks for that"),
        }
    }

    fn joined(&mut self, joined: Joined) -> MemberAnswer {
        let Joined { member, generation, protocol, leader, members, .. } = joined;
        let process = self.process();
        let roll = members.iter().map(|member| member.member.clone()).collect();
        *process = Process { step: Step::Sync, generation: generation.get(), roll, ..Process::new(member.clone()) };
        MemberAnswer::Joined {
            member,
            generation: generation.get(),
            leader,
            protocol: protocol.as_deref().unwrap_or_default().to_owned(),
            members: members.into_iter().map(|member| (member.member, member.instance)).collect(),
        }
    }

    fn synced(&mut self, synced: &Synced) -> MemberAnswer {
        let indexes = decode(&synced.assignment);
        let partitions: Vec<PartitionId> =
            self.partitions().into_iter().filter(|id| indexes.contains(&id.index)).collect();
        let process = self.process();
        process.step = Step::Live;
        // Where it has read to it goes on, if it keeps a partition.
        let owned = std::mem::take(&mut process.owned);
        let kept = |id: &PartitionId| -> Option<Offset> { owned.get(id).copied().flatten() };
        process.owned = partitions.iter().map(|id| (*id, kept(id))).collect();
        MemberAnswer::Assigned(partitions)
    }

    fn done(&mut self, outcome: Result<(), Refusal>) -> MemberAnswer {
        match outcome {
            Ok(()) => MemberAnswer::Done,
            Err(refusal) => self.turned_away(&refusal),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others say the same in both protocols")]
    fn turned_away(&mut self, refusal: &Refusal) -> MemberAnswer {
        match refusal {
            Refusal::MemberIdRequired(id) => self.process = Some(Process::new(id.clone())),
            Refusal::UnknownMember => self.process = Some(Process::new(MemberId::new(""))),
            Refusal::Generation | Refusal::Rebalancing => self.process().is_out(),
            _ => return self.refused(refusal),
        }
        MemberAnswer::Refused
    }
}

/// Partitions as the members write them to each other. A member without any is given this, too: what is empty would say
/// that it was not assigned yet.
fn encode(indexes: impl Iterator<Item = PartitionIndex>) -> Bytes {
    let bytes = indexes.map(|index| u8::try_from(index.get()).expect("a few partitions"));
    std::iter::once(ASSIGNMENT_VERSION).chain(bytes).collect()
}

fn decode(assignment: &Bytes) -> Vec<PartitionIndex> {
    assignment.iter().skip(1).map(|index| PartitionIndex::new(i32::from(*index))).collect()
}
