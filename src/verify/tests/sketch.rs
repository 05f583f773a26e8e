//! Histories by hand: one partition, a handful of writes and reads, each at its millisecond.
//!
//! Used by the oddities and by the rules. Invariant: what is not said is as in a run in which nothing happens.

use crate::model::{
    BrokerEpoch, Instant, LeaderEpoch, LogIndex, NodeId, Offset, PartitionEpoch, PartitionId, PartitionIndex,
    ProducerEpoch, ProducerId, Sequence, Term, Timestamp, TopicId,
};
use crate::verify::history::{
    Administration, AdministrationKind, Class, ClientId, DumpedBatch, FinalScan, Isolation, MetadataEntry,
    MetadataFact, NodeEvent, NodeEventKind, OffsetLookup, OffsetQuery, PartitionEnding, PartitionState, Poll,
    PollOutcome, ReplicaDump, Seen, Send, Session, ValueId,
};
use crate::verify::{Activity, Expectations, History, Invariant, check};

/// A history by hand: one partition, written and read in milliseconds.
pub(super) struct Sketch {
    pub(super) history: History,
    pub(super) expectations: Expectations,
}

pub(super) fn partition() -> PartitionId {
    PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(0) }
}

pub(super) fn at(millisecond: u64) -> Instant {
    Instant::from_nanos(millisecond * 1_000_000)
}

pub(super) fn value(value: u64, offset: i64) -> Seen {
    seen(value, offset, 0)
}

pub(super) fn seen(value: u64, offset: i64, epoch: i32) -> Seen {
    Seen {
        offset: Offset::new(offset),
        value: Some(ValueId(value)),
        wrote_to: Some(partition()),
        epoch: LeaderEpoch::new(epoch),
        digest: value,
        timestamp: Timestamp::new(0),
    }
}

impl Sketch {
    pub(super) fn new() -> Self {
        let expectations = Expectations { activity: Activity::NONE, ..Expectations::default() };
        let history = History { ended_at: at(100_000), ..History::default() };
        Self { history, expectations }
    }

    /// A write that was acknowledged by node 1 in epoch 0, at the millisecond after it was sent.
    pub(super) fn write(&mut self, value: u64, sent: u64, class: Class, offset: Option<i64>) -> &mut Send {
        let order = u64::try_from(self.history.sends.len()).expect("they are few");
        self.history.sends.push(Send {
            value: ValueId(value),
            client: ClientId(1),
            partition: partition(),
            session: None,
            order,
            alone: false,
            invoked: at(sent),
            returned: Some(at(sent + 1)),
            class,
            offset: offset.map(Offset::new),
            attempts: 1,
            answered_by: offset.map(|_| (NodeId::new(1), LeaderEpoch::new(0))),
            digest: value,
            keyed: None,
        });
        self.history.sends.last_mut().expect("it was pushed")
    }

    /// An answer of node 1, the leader of epoch 0, to client 10 in its first incarnation.
    pub(super) fn read(&mut self, asked: u64, position: i64, records: &[Seen]) -> &mut Poll {
        let next = records.last().map_or(Offset::new(position), |last| last.offset.plus(1));
        self.history.polls.push(Poll {
            client: ClientId(10),
            incarnation: 0,
            partition: partition(),
            isolation: Isolation::ReadUncommitted,
            node: NodeId::new(1),
            as_leader: true,
            leader_epoch: LeaderEpoch::new(0),
            invoked: at(asked),
            returned: at(asked + 1),
            position: Offset::new(position),
            outcome: PollOutcome::Records {
                records: records.to_vec(),
                next,
                high_watermark: next,
                last_stable: next,
                log_start: Offset::ZERO,
            },
        });
        self.history.polls.last_mut().expect("it was pushed")
    }

    pub(super) fn end(&mut self, records: &[Seen]) {
        let log_start = records.first().map_or(Offset::ZERO, |first| first.offset);
        let end = records.last().map_or(Offset::ZERO, |last| last.offset.plus(1));
        self.history.scans.push(FinalScan { partition: partition(), log_start, end, records: records.to_vec() });
    }

    pub(super) fn administer(&mut self, what: AdministrationKind, asked: u64, class: Class) {
        let (invoked, returned) = (at(asked), Some(at(asked + 1)));
        self.history.administrations.push(Administration { what, invoked, returned, class });
    }

    pub(super) fn note(&mut self, node: i32, when: u64, what: NodeEventKind) {
        self.history.node_events.push(NodeEvent { node: NodeId::new(node), at: at(when), what });
    }

    /// The next entry of the metadata log.
    pub(super) fn commit(&mut self, when: u64, facts: Vec<MetadataFact>) {
        let index = LogIndex::new(u64::try_from(self.history.metadata.len()).expect("they are few") + 1);
        let (term, committed_at, accepted) = (Term::new(1), at(when), true);
        self.history.metadata.push(MetadataEntry { index, term, committed_at, accepted, facts });
    }

    /// A broker's life begins, and it may serve a millisecond later.
    pub(super) fn serve(&mut self, node: i32, when: u64, epoch: i64) {
        self.commit(when, vec![registered(node, epoch)]);
        self.commit(when + 1, vec![unfenced(node)]);
    }

    /// What a replica holds at the end, in one batch of epoch 0 for each record.
    pub(super) fn dump(&mut self, node: i32, records: &[Seen]) -> &mut ReplicaDump {
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
        let end = records.last().map_or(Offset::ZERO, |last| last.offset.plus(1));
        self.history.replicas.push(ReplicaDump {
            is_internal: false,
            node: NodeId::new(node),
            partition: partition(),
            log_start: Offset::ZERO,
            high_watermark: end,
            end,
            epochs: vec![(LeaderEpoch::new(0), Offset::ZERO)],
            batches: records.iter().map(batch).collect(),
        });
        self.history.replicas.last_mut().expect("it was pushed")
    }

    /// Node 1, which knows epoch 0, is asked and answers a millisecond later.
    pub(super) fn look_up(&mut self, asked: u64, query: OffsetQuery, answer: Option<i64>) -> &mut OffsetLookup {
        self.history.offset_lookups.push(OffsetLookup {
            partition: partition(),
            node: NodeId::new(1),
            leader_epoch: LeaderEpoch::new(0),
            invoked: at(asked),
            returned: at(asked + 1),
            query,
            answer: answer.map(Offset::new),
        });
        self.history.offset_lookups.last_mut().expect("it was pushed")
    }

    /// What became of the partition, by when a write was acknowledged and all was read after the healing.
    pub(super) fn finish(&mut self, state: PartitionState, served: u64) -> &mut PartitionEnding {
        let (acknowledged_at, read_at) = (Some(at(served)), Some(at(served)));
        self.history.endings.push(PartitionEnding { state, acknowledged_at, read_at });
        self.history.endings.last_mut().expect("it was pushed")
    }

    pub(super) fn is_legal(&self) {
        let report = check(&self.history, &self.expectations);
        assert!(report.is_clean(), "{report}");
    }

    pub(super) fn is_flagged(&self, invariant: Invariant) {
        let report = check(&self.history, &self.expectations);
        assert!(report.flags(invariant), "{invariant} is not flagged:\n{report}");
    }
}

pub(super) fn told(poll: &mut Poll, start: i64, high: i64) {
    if let PollOutcome::Records { log_start, last_stable, high_watermark, .. } = &mut poll.outcome {
        *log_start = Offset::new(start);
        (*last_stable, *high_watermark) = (Offset::new(high), Offset::new(high));
    }
}

pub(super) fn session(producer: i64, sequence: i32) -> Option<(Session, Sequence)> {
    let session = Session { producer: ProducerId::new(producer), epoch: ProducerEpoch::new(0) };
    Some((session, Sequence::new(sequence)))
}

pub(super) fn state(isr: &[i32], elr: &[i32], epochs: (i32, i32)) -> PartitionState {
    let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId::new).collect::<Vec<_>>();
    PartitionState {
        partition: partition(),
        replicas: nodes(&[1, 2]),
        isr: nodes(isr),
        elr: nodes(elr),
        leader: Some(NodeId::new(1)),
        leader_epoch: LeaderEpoch::new(epochs.0),
        partition_epoch: PartitionEpoch::new(epochs.1),
        isr_min: 2,
    }
}

pub(super) fn registered(node: i32, epoch: i64) -> MetadataFact {
    MetadataFact::Registered { node: NodeId::new(node), epoch: BrokerEpoch::new(epoch) }
}

pub(super) fn unfenced(node: i32) -> MetadataFact {
    MetadataFact::Unfenced { node: NodeId::new(node) }
}

pub(super) fn fenced(node: i32) -> MetadataFact {
    MetadataFact::Fenced { node: NodeId::new(node) }
}
