//! Two judges that were written apart agree, on very many very small histories: legal ones, and ones in which chance
//! has changed a few things.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::brute::{JUDGED, judge};
use super::legal::histories;
use super::random::Random;
use crate::model::{
    Instant, LeaderEpoch, NodeId, Offset, PartitionId, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp,
    TopicId,
};
use crate::verify::history::{
    Administration, AdministrationKind, Class, ClientId, DumpedBatch, FinalScan, Isolation, NodeEvent, NodeEventKind,
    OffsetLookup, OffsetQuery, Poll, PollOutcome, ReplicaDump, Seen, Send, Session, ValueId,
};
use crate::verify::{
    Activity, Bounds, Expectations, FlushPromise, History, Invariant, Retention, UncleanElection, check,
};

/// Histories that are compared without `VERIFY_HISTORIES`; 100,000 and more are for a machine with time.
const COMPARED: u64 = 20_000;

#[test]
fn two_judges_agree_on_small_histories() {
    let mut flagged: BTreeMap<Invariant, u64> = BTreeMap::new();
    for seed in 0..histories(COMPARED) {
        let (history, expectations) = Small::new(seed).history();
        let report = check(&history, &expectations);
        let ours: BTreeSet<Invariant> = JUDGED.iter().copied().filter(|invariant| report.flags(*invariant)).collect();
        let theirs = judge(&history, &expectations);
        let (only_ours, only_theirs) = (&ours - &theirs, &theirs - &ours);
        assert!(
            ours == theirs,
            "seed {seed}: only the judge flags {only_ours:?}, only the twin {only_theirs:?}\n{report}\n{history:#?}"
        );
        ours.iter().for_each(|invariant| *flagged.entry(*invariant).or_default() += 1);
    }
    let least = histories(COMPARED) / 1000;
    for invariant in JUDGED {
        let count = flagged.get(invariant).copied().unwrap_or(0);
        assert!(count >= least, "{invariant} is flagged in {count} histories only: they prove nothing of it");
    }
}

/// A small history in the making.
struct Small {
    random: Random,
    history: History,
    /// The records of each partition, as they are in truth.
    truth: BTreeMap<PartitionId, Vec<Seen>>,
}

impl Small {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), history: History::default(), truth: BTreeMap::new() }
    }

    fn history(mut self) -> (History, Expectations) {
        for _ in 0..self.random.between(1, 5) {
            self.write();
        }
        for _ in 0..self.random.between(1, 5) {
            self.read();
        }
        for _ in 0..self.random.between(0, 2) {
            self.look_up();
        }
        if self.random.chance(15) {
            self.administrate();
        }
        self.end();
        for _ in 0..self.random.below(6) {
            self.corrupt();
        }
        self.history.polls.sort_by_key(|poll| poll.returned);
        self.history.sends.sort_by_key(|send| send.invoked);
        let expectations = self.expectations();
        (self.history, expectations)
    }

    fn expectations(&mut self) -> Expectations {
        let random = &mut self.random;
        if random.chance(10) {
            let at = Instant::ZERO;
            self.history.node_events.push(NodeEvent { node: NodeId::new(1), at, what: NodeEventKind::PowerLost });
        }
        Expectations {
            unclean_election: if random.chance(8) { UncleanElection::Allowed } else { UncleanElection::Forbidden },
            flush: if random.chance(20) { FlushPromise::PageCache } else { FlushPromise::Durable },
            retention: if random.chance(15) { Retention::Limited } else { Retention::Unlimited },
            bounds: Bounds { recovery: Duration::from_nanos(3), ..Bounds::default() },
            activity: Activity::NONE,
            ..Expectations::default()
        }
    }

    fn some_partition(&mut self) -> PartitionId {
        let index = i32::try_from(self.random.below(5) / 4).expect("it is small");
        PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(index) }
    }

    fn some_time(&mut self) -> Instant {
        Instant::from_nanos(u64::try_from(self.random.below(12)).expect("it is small"))
    }

    fn some_offset(&mut self) -> Offset {
        Offset::new(i64::try_from(self.random.below(6)).expect("it is small"))
    }

    fn some_epoch(&mut self) -> LeaderEpoch {
        LeaderEpoch::new(i32::try_from(self.random.below(3)).expect("it is small"))
    }

    fn write(&mut self) {
        let partition = self.some_partition();
        let at = u64::try_from(self.history.sends.len()).expect("they are few");
        let value = ValueId(at + 1);
        let client = ClientId(u32::try_from(self.random.below(2)).expect("it is small"));
        let of_client = self.history.sends.iter().filter(|send| send.client == client && send.partition == partition);
        let order = u64::try_from(of_client.count()).expect("they are few");
        let session = Session { producer: ProducerId::new(i64::from(client.0)), epoch: ProducerEpoch::new(0) };
        let is_idempotent = client.0 == 0 || self.random.chance(20);
        let class = [Class::Ok, Class::Ok, Class::Weak, Class::Fail, Class::Info][self.random.below(5)];
        let epoch = LeaderEpoch::new(i32::try_from(at / 3).expect("it is small"));
        let digest = at * 7;
        let truth = self.truth.entry(partition).or_default();
        let offset = Offset::new(i64::try_from(truth.len()).expect("they are few"));
        let is_written = class == Class::Ok || class != Class::Fail && self.random.chance(50);
        if is_written {
            let timestamp = Timestamp::new(i64::try_from(at).expect("they are few"));
            truth.push(Seen { offset, value: Some(value), wrote_to: Some(partition), epoch, digest, timestamp });
        }
        let is_told = is_written && matches!(class, Class::Ok | Class::Weak);
        self.history.sends.push(Send {
            value,
            client,
            partition,
            session: is_idempotent.then_some((session, Sequence::new(i32::try_from(order).expect("they are few")))),
            order,
            alone: self.random.chance(50),
            invoked: Instant::from_nanos(at),
            returned: self.random.chance(90).then(|| Instant::from_nanos(at + 1)),
            class,
            offset: (is_told && self.random.chance(90)).then_some(offset),
            attempts: if self.random.chance(70) { 1 } else { 2 },
            answered_by: self.random.chance(90).then_some((NodeId::new(1), epoch)),
            digest,
            keyed: None,
        });
    }

    fn read(&mut self) {
        let partition = self.some_partition();
        let truth = self.truth.get(&partition).cloned().unwrap_or_default();
        let client = ClientId(10 + u32::try_from(self.random.below(2)).expect("it is small"));
        let before = self.history.polls.iter().rev().find(|poll| poll.client == client && poll.partition == partition);
        let follows = before.and_then(|poll| match &poll.outcome {
            PollOutcome::Records { next, .. } => Some((poll.incarnation, *next, poll.returned)),
            PollOutcome::OutOfRange | PollOutcome::Corrupt => None,
        });
        let goes_on = self.random.chance(70);
        let (incarnation, position, since) = match follows {
            Some((incarnation, next, since)) if goes_on => (incarnation, next, since),
            Some((incarnation, _, since)) => (incarnation + 1, self.some_offset(), since),
            None => (0, Offset::ZERO, Instant::from_nanos(5)),
        };
        let count = i64::try_from(self.random.between(0, 4)).expect("it is small");
        let end = position.plus(count);
        let records: Vec<Seen> =
            truth.iter().copied().filter(|seen| seen.offset >= position && seen.offset < end).collect();
        let next = records.last().map_or(position, |last| last.offset.plus(1));
        let high_watermark = Offset::new(i64::try_from(truth.len()).expect("they are few"));
        let outcome = PollOutcome::Records {
            records,
            next,
            high_watermark,
            last_stable: high_watermark,
            log_start: Offset::ZERO,
        };
        let leader_epoch = self.some_epoch();
        let span = Duration::from_nanos(u64::try_from(self.random.below(3)).expect("it is small"));
        self.history.polls.push(Poll {
            client,
            incarnation,
            partition,
            isolation: Isolation::ReadUncommitted,
            node: NodeId::new(1),
            as_leader: true,
            leader_epoch,
            invoked: since,
            returned: since.plus(span),
            position,
            outcome,
        });
    }

    fn look_up(&mut self) {
        let partition = self.some_partition();
        let end = self.truth.get(&partition).map_or(0, Vec::len);
        let answer = self.random.chance(90).then(|| Offset::new(i64::try_from(end).expect("they are few")));
        let (query, answer) = match self.random.below(4) {
            0 => (OffsetQuery::Earliest, answer.map(|_| Offset::ZERO)),
            _ => (OffsetQuery::Latest, answer),
        };
        let (invoked, leader_epoch) = (self.some_time(), self.some_epoch());
        let (node, returned) = (NodeId::new(1), invoked);
        let lookup = OffsetLookup { partition, node, leader_epoch, invoked, returned, query, answer };
        self.history.offset_lookups.push(lookup);
    }

    fn administrate(&mut self) {
        let partition = self.some_partition();
        let what = match self.random.below(3) {
            0 => AdministrationKind::DeleteTopic { topic: partition.topic },
            _ => AdministrationKind::DeleteRecords { partition, before: self.some_offset() },
        };
        let class = [Class::Ok, Class::Info, Class::Fail][self.random.below(3)];
        let invoked = self.some_time();
        self.history.administrations.push(Administration { what, invoked, returned: Some(invoked), class });
    }

    fn end(&mut self) {
        self.history.ended_at = Instant::from_nanos(20);
        self.history.healed_at = self.random.chance(70).then(|| self.some_time());
        for (partition, truth) in self.truth.clone() {
            let end = Offset::new(i64::try_from(truth.len()).expect("they are few"));
            if self.random.chance(80) {
                let scan = FinalScan { partition, log_start: Offset::ZERO, end, records: truth.clone() };
                self.history.scans.push(scan);
            }
            if self.random.chance(30) {
                self.history.replicas.push(dump(partition, end, &truth));
            }
        }
    }

    /// Changes one thing.
    fn corrupt(&mut self) {
        match self.random.below(10) {
            0..4 => self.corrupt_send(),
            4..7 => self.corrupt_poll(),
            7 => self.corrupt_scan(),
            8 => self.corrupt_dump(),
            _ => {
                let answer = self.random.chance(90).then(|| self.some_offset());
                if let Some(lookup) = self.history.offset_lookups.last_mut() {
                    lookup.answer = answer;
                }
            }
        }
    }

    fn corrupt_send(&mut self) {
        let at = self.random.below(self.history.sends.len());
        let (offset, time, epoch) = (self.some_offset(), self.some_time(), self.some_epoch());
        let kind = self.random.below(9);
        let class = [Class::Ok, Class::Weak, Class::Fail, Class::Info][self.random.below(4)];
        let send = &mut self.history.sends[at];
        match kind {
            0 => send.offset = Some(offset),
            1 => send.offset = None,
            2 | 3 => send.class = class,
            4 => send.invoked = time,
            5 => send.returned = Some(time),
            6 => send.session = None,
            7 => send.attempts = 1,
            _ => send.answered_by = Some((NodeId::new(1), epoch)),
        }
    }

    fn corrupt_poll(&mut self) {
        if self.history.polls.is_empty() {
            return;
        }
        let at = self.random.below(self.history.polls.len());
        let (offset, time) = (self.some_offset(), self.some_time());
        let kind = self.random.below(8);
        let mut records = match &self.history.polls[at].outcome {
            PollOutcome::Records { records, .. } => records.clone(),
            PollOutcome::OutOfRange | PollOutcome::Corrupt => Vec::new(),
        };
        self.corrupt_records(&mut records);
        let poll = &mut self.history.polls[at];
        match (kind, &mut poll.outcome) {
            (0, _) => poll.position = offset,
            (1, _) => (poll.invoked, poll.returned) = (time, time),
            (2, outcome) => *outcome = PollOutcome::OutOfRange,
            (5 | 6, _) => poll.incarnation = 0,
            (3, PollOutcome::Records { next, .. }) => *next = offset,
            (4, PollOutcome::Records { log_start, .. }) => *log_start = offset,
            (_, PollOutcome::Records { records: own, .. }) => *own = records,
            (_, PollOutcome::OutOfRange | PollOutcome::Corrupt) => {}
        }
    }

    fn corrupt_scan(&mut self) {
        if self.history.scans.is_empty() {
            return;
        }
        let at = self.random.below(self.history.scans.len());
        let offset = self.some_offset();
        match self.random.below(4) {
            0 => self.history.scans[at].log_start = offset,
            1 => self.history.scans[at].end = offset,
            2 => {
                self.history.scans.remove(at);
            }
            _ => {
                let mut records = std::mem::take(&mut self.history.scans[at].records);
                self.corrupt_records(&mut records);
                self.history.scans[at].records = records;
            }
        }
    }

    fn corrupt_records(&mut self, records: &mut Vec<Seen>) {
        if records.is_empty() {
            return;
        }
        let at = self.random.below(records.len());
        let other = self.random.below(records.len());
        let value = ValueId(u64::try_from(self.random.between(1, 6)).expect("it is small"));
        let (offset, epoch) = (self.some_offset(), self.some_epoch());
        match self.random.below(8) {
            0 => {
                records.remove(at);
            }
            1 => records.swap(at, other),
            2 => records[at].offset = offset,
            3 => records[at].value = None,
            4 => records[at].digest += 1,
            5 => records[at].epoch = epoch,
            6 => records.insert(at, records[other]),
            _ => (records[at].value, records[at].digest) = (Some(value), (value.0 - 1) * 7),
        }
    }

    fn corrupt_dump(&mut self) {
        let (offset, at) = (self.some_offset(), self.random.below(3));
        let kind = self.random.below(4);
        let Some(dump) = self.history.replicas.last_mut() else { return };
        match kind {
            0 => dump.end = offset,
            1 => dump.log_start = offset,
            2 if at < dump.batches.len() => {
                dump.batches.remove(at);
            }
            _ => {
                if let Some(batch) = dump.batches.get_mut(at) {
                    batch.base = offset;
                }
            }
        }
    }
}

fn dump(partition: PartitionId, end: Offset, truth: &[Seen]) -> ReplicaDump {
    let batch = |seen: &Seen| DumpedBatch {
        base: seen.offset,
        last: seen.offset,
        epoch: seen.epoch,
        session: None,
        is_sound: true,
        is_thinned: false,
        digest: seen.digest,
        records: vec![*seen],
    };
    ReplicaDump {
        is_internal: false,
        node: NodeId::new(1),
        partition,
        log_start: Offset::ZERO,
        high_watermark: end,
        end,
        epochs: Vec::new(),
        batches: truth.iter().map(batch).collect(),
    }
}
