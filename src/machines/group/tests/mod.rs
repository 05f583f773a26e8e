//! The coordinator as its members see it: a bench that keeps the facts, the time and who was answered what.

mod join;
mod presence;
mod offsets;
mod restored;
mod survey;
mod random;
mod consumers;
mod consumers_random;
mod upgrade;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use consumers::topic_id;

use super::*;
use crate::machines::metadata::Image;
use crate::model::{
    Generation, GroupEpoch, GroupId, InstanceId, Instant, MemberId, Now, Offset, PartitionIndex, Timestamp, TopicName,
};

/// A coordinator with one clock.
pub(super) struct Bench {
    pub(super) groups: Groups,
    pub(super) soft: Soft,
    pub(super) now: Now,
    pub(super) options: Options,
    pub(super) image: Image,
    pub(super) records: Vec<Record>,
    replies: BTreeMap<Waiter, Reply>,
    next: u64,
}

pub(super) fn group() -> GroupId {
    GroupId::new("g")
}

pub(super) fn id(name: &str) -> MemberId {
    MemberId::new(name)
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a valid name")
}

/// A join by a client of that name, with a session of 10 s and a rebalance of 30 s.
pub(super) fn join(member: &str) -> Join {
    Join {
        group: group(),
        member: id(member),
        instance: None,
        fresh: id(""),
        client: Client::new("c", "/1.2.3.4"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"\0\x01\0\0\0\x01\0\x01t"))],
        requires_known_member: true,
        skips_assignment: true,
    }
}

pub(super) fn static_join(instance: &str, fresh: &str) -> Join {
    Join { instance: Some(InstanceId::new(instance)), fresh: id(fresh), ..join("") }
}

pub(super) fn identity(member: &str, generation: i32) -> Identity {
    Identity { group: group(), member: id(member), instance: None, generation: Generation::new(generation) }
}

pub(super) fn sync(member: &str, generation: i32, given: &[(&str, &'static [u8])]) -> Call {
    Call::Sync(Sync {
        identity: identity(member, generation),
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        assignments: given.iter().map(|(member, bytes)| (id(member), Bytes::from_static(bytes))).collect(),
    })
}

pub(super) fn commit_of(topic_name: &str, offset: i64) -> CommitOf {
    CommitOf {
        topic: topic(topic_name),
        topic_id: topic_id(topic_name),
        partition: PartitionIndex::new(0),
        offset: Offset::new(offset),
        leader_epoch: None,
        metadata: "".into(),
        retention: None,
    }
}

pub(super) fn commit(member: &str, generation: i32, offset: i64) -> Call {
    let offsets = vec![commit_of("t", offset)];
    Call::Commit(Commit { identity: identity(member, generation), knows_kip_848: false, offsets })
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Options { initial_delay: Duration::from_secs(3), ..Options::default() })
    }

    pub(super) fn with(options: Options) -> Self {
        let (groups, image) = (Groups::default(), Image::default());
        let now = Now { instant: Instant::ZERO, timestamp: Timestamp::new(1_000_000) };
        let soft = Soft::restored(Present { groups: &groups, now, options: &options, image: &image });
        Self { groups, soft, now, options, image, records: Vec::new(), replies: BTreeMap::new(), next: 0 }
    }

    /// Another coordinator reads what this one has written.
    pub(super) fn fail_over(&mut self) {
        let mut groups = Groups::default();
        self.records.iter().for_each(|record| groups.replay(record));
        assert_eq!(groups, self.groups, "the facts are what was written");
        let present = Present { groups: &self.groups, now: self.now, options: &self.options, image: &self.image };
        self.soft = Soft::restored(present);
    }

    fn take(&mut self, decision: Decision) {
        for record in decision.records {
            let Encoded { key, value, topic_id } = record.encode();
            assert_eq!(Record::decode(Some(&key), value.as_ref(), topic_id.as_ref()), Ok(Some(record.clone())));
            self.groups.replay(&record);
            self.records.push(record);
        }
        for (waiter, reply) in decision.replies {
            assert!(self.replies.insert(waiter, reply).is_none(), "{waiter:?} is answered once");
        }
    }

    pub(super) fn call(&mut self, call: Call) -> Waiter {
        let waiter = Waiter(self.next);
        self.next += 1;
        let present = Present { groups: &self.groups, now: self.now, options: &self.options, image: &self.image };
        let decision = decide(present, &mut self.soft, waiter, call);
        self.take(decision);
        self.due();
        waiter
    }

    fn due(&mut self) {
        loop {
            let present = Present { groups: &self.groups, now: self.now, options: &self.options, image: &self.image };
            let Some(decision) = tick(present, &mut self.soft) else { break };
            self.take(decision);
        }
        assert!(self.soft.next_deadline().is_none_or(|at| at > self.now.instant), "all that is due is done");
    }

    /// Time passes, and what falls due happens when it does.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.now.instant.plus(span);
        while let Some(at) = self.soft.next_deadline().filter(|at| *at <= end) {
            self.move_to(at);
            self.due();
        }
        self.move_to(end);
    }

    fn move_to(&mut self, at: Instant) {
        let passed = at.since(self.now.instant);
        let ms = i64::try_from(passed.as_millis()).expect("a short time");
        self.now = Now { instant: at, timestamp: Timestamp::new(self.now.timestamp.get() + ms) };
    }

    /// The answer; `None` while it is open.
    pub(super) fn answer(&mut self, waiter: Waiter) -> Option<Reply> {
        self.replies.remove(&waiter)
    }

    /// The answer to a call that is answered at once.
    pub(super) fn ask(&mut self, call: Call) -> Reply {
        let waiter = self.call(call);
        self.answer(waiter).expect("it is answered at once")
    }

    pub(super) fn joined(&mut self, waiter: Waiter) -> Joined {
        self.answer(waiter).expect("the join is answered").join().expect("it has joined")
    }

    pub(super) fn heartbeat(&mut self, member: &str, generation: i32) -> Result<(), Refusal> {
        self.ask(Call::Heartbeat(identity(member, generation))).heartbeat()
    }

    pub(super) fn state(&mut self) -> GroupState {
        self.ask(Call::Describe(group())).describe().expect("it is there").state
    }

    /// A dynamic member gets its id and joins with it; the answer is open.
    pub(super) fn enter(&mut self, name: &str) -> Waiter {
        let refusal = self.ask(Call::Join(Join { fresh: id(name), ..join("") })).join();
        assert_eq!(refusal, Err(Refusal::MemberIdRequired(id(name))));
        self.call(Call::Join(join(name)))
    }

    /// A stable group of these members, the first of which leads, each with its name as its assignment.
    pub(super) fn stable(&mut self, names: &[&'static str]) -> i32 {
        let waiters: Vec<Waiter> = names.iter().map(|name| self.enter(name)).collect();
        self.pass(Duration::from_secs(60).min(self.options.initial_delay * 4));
        let joined: Vec<Joined> = waiters.into_iter().map(|waiter| self.joined(waiter)).collect();
        let generation = joined[0].generation.get();
        let given: Vec<(&str, &'static [u8])> = names.iter().map(|name| (*name, name.as_bytes())).collect();
        let leader = joined[0].leader.to_string();
        for name in names {
            let given = if *name == leader { given.clone() } else { Vec::new() };
            let waiter = self.call(sync(name, generation, &given));
            self.answer(waiter);
        }
        assert_eq!(self.state(), GroupState::Stable);
        generation
    }
}
