//! The fetch requests of one leader's task: a session (KIP-227) that names only what changed.
//!
//! Invariant: between a request and its answer `sent` holds exactly the positions that the leader serves, so a full
//! request is needed only for a new session.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::model::{BrokerEpoch, NodeId, PartitionId, PartitionIndex, TopicId};
use crate::partition::FetchPosition;
use crate::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState};

/// The version that brokers fetch with.
pub(super) const FETCH_VERSION: i16 = 17;

/// How many partitions one request names at most, and how many it takes out: a leader bounds a request's elements.
const CHANGES_MAX: usize = 10_000;

/// `replica.fetch.*`.
#[derive(Clone, Copy, Debug)]
pub struct FetchOptions {
    /// `replica.fetch.wait.max.ms`.
    pub wait_max: std::time::Duration,
    /// `replica.fetch.max.bytes`: of one partition.
    pub partition_bytes_max: i32,
    /// `replica.fetch.response.max.bytes`: of one response.
    pub response_bytes_max: i32,
    /// `replica.fetch.backoff.ms`: between two attempts at a leader that cannot be reached.
    pub backoff: std::time::Duration,
    /// `replica.socket.timeout.ms`: for an answer; longer than `wait_max`.
    pub response_timeout: std::time::Duration,
}

/// This follower's fetch session with one leader.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    sent: BTreeMap<PartitionId, FetchPosition>,
    /// Whether the leader's session ended with its last answer.
    is_lost: bool,
    /// The last partition that a request named which could not name all.
    named_last: Option<PartitionId>,
}

impl Session {
    /// The next request, for exactly `wanted`; with very many changes for a part of it, and the next for the rest.
    pub(super) fn request(
        &mut self,
        wanted: &BTreeMap<PartitionId, FetchPosition>,
        node: NodeId,
        broker_epoch: Option<BrokerEpoch>,
        options: &FetchOptions,
        wait: std::time::Duration,
    ) -> FetchRequest {
        if std::mem::take(&mut self.is_lost) {
            self.sent.clear();
        }
        let changed = self.changes(wanted);
        let gone: BTreeSet<_> = self.sent.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        let gone: BTreeSet<_> = gone.into_iter().take(CHANGES_MAX).collect();
        // What this request does not name waits for its answer.
        let wait = if changed.len() < CHANGES_MAX { wait } else { std::time::Duration::ZERO };
        let topics = topics(changed.values(), options.partition_bytes_max);
        self.sent.retain(|id, _| !gone.contains(id));
        self.sent.extend(changed);
        FetchRequest {
            replica_state: ReplicaState {
                replica_id: node.get(),
                replica_epoch: broker_epoch.map_or(-1, BrokerEpoch::get),
            },
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: options.response_bytes_max,
            session_id: self.id,
            session_epoch: self.epoch,
            topics,
            forgotten_topics_data: forgotten(gone),
            ..FetchRequest::default()
        }
    }

    /// What the leader's session does not hold, at most `CHANGES_MAX` of it, going on where the last request ended:
    /// a leader that keeps no session is asked for all in turn.
    fn changes(&mut self, wanted: &BTreeMap<PartitionId, FetchPosition>) -> BTreeMap<PartitionId, FetchPosition> {
        let (behind, before) = match self.named_last {
            Some(last) => (wanted.range((Bound::Excluded(last), Bound::Unbounded)), Some(wanted.range(..=last))),
            None => (wanted.range(..), None),
        };
        let changed = behind.chain(before.into_iter().flatten()).filter(|(id, p)| self.sent.get(id) != Some(p));
        let changed: Vec<_> = changed.take(CHANGES_MAX).map(|(id, position)| (*id, *position)).collect();
        self.named_last = changed.last().filter(|_| changed.len() == CHANGES_MAX).map(|(id, _)| *id);
        changed.into_iter().collect()
    }

    /// The leader answered under this session id.
    pub(super) fn answered(&mut self, id: i32) {
        if id == 0 {
            // The leader keeps no session: the next request is a full one again. What this one named is still needed
            // to digest its answer.
            (self.id, self.epoch, self.is_lost) = (0, 0, true);
            return;
        }
        self.id = id;
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
    }

    /// The position that was asked for, or that the leader's session holds.
    pub(super) fn position(&self, partition: PartitionId) -> Option<FetchPosition> {
        self.sent.get(&partition).copied()
    }

    /// Forgets the session: a lost connection or an error of it.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

fn topics<'a>(positions: impl Iterator<Item = &'a FetchPosition>, partition_bytes_max: i32) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for position in positions {
        let partition = FetchPartition {
            partition: position.partition.index.get(),
            current_leader_epoch: position.leader_epoch.get(),
            fetch_offset: position.offset.get(),
            last_fetched_epoch: position.last_fetched_epoch.map_or(-1, |epoch| epoch.get()),
            log_start_offset: position.log_start.get(),
            last_batch_crc: position.last_crc.map_or(-1, i64::from),
            partition_max_bytes: partition_bytes_max,
            ..FetchPartition::default()
        };
        // Positions come ordered by topic.
        match topics.last_mut().filter(|topic| topic.topic_id == position.partition.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic_id: position.partition.topic,
                partitions: vec![partition],
                ..FetchTopic::default()
            }),
        }
    }
    topics
}

fn forgotten(gone: BTreeSet<PartitionId>) -> Vec<ForgottenTopic> {
    let mut by_topic: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for PartitionId { topic, index } in gone {
        by_topic.entry(topic).or_default().push(PartitionIndex::get(index));
    }
    let topic = |(topic_id, partitions)| ForgottenTopic { topic_id, partitions, ..ForgottenTopic::default() };
    by_topic.into_iter().map(topic).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{LeaderEpoch, Offset};

    fn position(index: i32, offset: i64) -> FetchPosition {
        FetchPosition {
            number: 1,
            partition: PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(index) },
            leader: NodeId::new(1),
            leader_epoch: LeaderEpoch::new(0),
            offset: Offset::new(offset),
            last_fetched_epoch: None,
            last_crc: None,
            log_start: Offset::ZERO,
        }
    }

    fn wanted(positions: &[(i32, i64)]) -> BTreeMap<PartitionId, FetchPosition> {
        positions.iter().map(|&(index, offset)| (position(index, offset).partition, position(index, offset))).collect()
    }

    fn next(session: &mut Session, positions: &[(i32, i64)]) -> (i32, Vec<(i32, i64)>, Vec<i32>) {
        let options = FetchOptions {
            wait_max: Duration::ZERO,
            partition_bytes_max: 1,
            response_bytes_max: 1,
            backoff: Duration::ZERO,
            response_timeout: Duration::ZERO,
        };
        let request = session.request(&wanted(positions), NodeId::new(2), None, &options, Duration::ZERO);
        let named = request.topics.iter().flat_map(|t| &t.partitions).map(|p| (p.partition, p.fetch_offset)).collect();
        let gone = request.forgotten_topics_data.iter().flat_map(|t| t.partitions.clone()).collect();
        (request.session_epoch, named, gone)
    }

    #[test]
    fn a_session_names_only_what_changed() {
        let mut session = Session::default();
        assert_eq!(next(&mut session, &[(0, 5), (1, 7)]), (0, vec![(0, 5), (1, 7)], vec![]));
        session.answered(99);
        assert_eq!(next(&mut session, &[(0, 6), (1, 7)]), (1, vec![(0, 6)], vec![]));
        session.answered(99);
        assert_eq!(next(&mut session, &[(0, 6), (2, 0)]), (2, vec![(2, 0)], vec![1]));
        session.reset();
        assert_eq!(next(&mut session, &[(0, 6)]), (0, vec![(0, 6)], vec![]));
    }

    #[test]
    fn a_leader_that_keeps_no_session_is_asked_for_all_and_its_answer_is_known() {
        let mut session = Session::default();
        for _ in 0..3 {
            assert_eq!(next(&mut session, &[(0, 5), (1, 7)]), (0, vec![(0, 5), (1, 7)], vec![]));
            session.answered(0);
            assert_eq!(session.position(position(1, 7).partition), Some(position(1, 7)));
        }
    }

    #[test]
    fn very_many_partitions_take_several_requests_with_a_session_and_without() {
        let count = i32::try_from(CHANGES_MAX).unwrap() * 2 + 5;
        let all: Vec<(i32, i64)> = (0..count).map(|index| (index, 7)).collect();
        for id in [99, 0] {
            let mut session = Session::default();
            let mut named = Vec::new();
            for _ in 0..3 {
                let (_, some, _) = next(&mut session, &all);
                assert!(some.len() <= CHANGES_MAX);
                session.answered(id);
                named.extend(some);
            }
            named.sort_unstable();
            named.dedup();
            assert_eq!(named, all, "session {id}");
        }
    }
}
