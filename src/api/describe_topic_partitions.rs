//! DescribeTopicPartitions: topics in pages, sorted by name (KIP-966).
//!
//! Invariant: a page holds at most as many partitions as it may, and the cursor names the first one that is missing.

use std::collections::BTreeSet;

use super::call::Caller;
use super::context::{Context, TOPIC_OPERATIONS};
use super::topic_view::{Tells, ids, view};
use crate::machines::metadata::{Image, Partition, Topic};
use crate::model::{PartitionId, TopicId, TopicName};
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

/// A page in the making.
struct Page<'a> {
    image: &'a Image,
    listener: &'a str,
    /// How many partitions it may still hold.
    room: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<Cursor>,
}

/// Serves the request.
pub(super) async fn describe_topic_partitions(
    context: Context,
    caller: Caller,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    if let Some(message) = flaw(&request) {
        return refused(request, message);
    }
    let image = context.image();
    let partitions_max = request.response_partition_limit.min(context.options().described_partitions_max).max(1);
    let room = usize::try_from(partitions_max).expect("a positive number fits in a usize");
    let page = Page { image: &image, listener: &caller.listener, room, topics: Vec::new(), next: None };
    let page = page.fill(request);
    DescribeTopicPartitionsResponse { topics: page.topics, next_cursor: page.next, ..Default::default() }
}

/// What is wrong with the cursor.
fn flaw(request: &DescribeTopicPartitionsRequest) -> Option<&'static str> {
    let cursor = request.cursor.as_ref()?;
    let is_listed = request.topics.is_empty() || request.topics.iter().any(|topic| topic.name == cursor.topic_name);
    if cursor.partition_index < 0 {
        return Some("the cursor's partition is below 0");
    }
    (!is_listed).then_some("the cursor's topic is not among those asked for")
}

fn refused(request: DescribeTopicPartitionsRequest, why: &str) -> DescribeTopicPartitionsResponse {
    tracing::debug!(why, "a page of partitions is refused");
    let topics = request.topics.into_iter().map(|topic| DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::InvalidRequest,
        name: Some(topic.name),
        ..DescribeTopicPartitionsResponseTopic::default()
    });
    DescribeTopicPartitionsResponse { topics: topics.collect(), ..DescribeTopicPartitionsResponse::default() }
}

impl Page<'_> {
    fn fill(mut self, request: DescribeTopicPartitionsRequest) -> Self {
        let DescribeTopicPartitionsRequest { topics, cursor, .. } = request;
        let names: BTreeSet<String> = if topics.is_empty() {
            self.image.topics().topics().map(|topic| topic.name.as_str().to_owned()).collect()
        } else {
            topics.into_iter().map(|topic| topic.name).collect()
        };
        let first = cursor.as_ref().map_or("", |cursor| cursor.topic_name.as_str());
        for name in names.range(first.to_owned()..) {
            let start = cursor.as_ref().filter(|cursor| cursor.topic_name == *name);
            if self.is_full_before(name) {
                break;
            }
            self.add(name, start.map_or(0, |cursor| cursor.partition_index));
        }
        self
    }

    fn is_full_before(&mut self, name: &str) -> bool {
        if self.room == 0 && self.next.is_none() {
            self.next = Some(Cursor { topic_name: name.to_owned(), partition_index: 0 });
        }
        self.next.is_some()
    }

    fn add(&mut self, name: &str, start: i32) {
        let Some(topic) = self.image.topic_named(name) else {
            self.topics.push(unknown(name));
            return;
        };
        let image = self.image;
        let mut partitions = image.topics().partitions_of(topic.id).filter(|(id, _)| id.index.get() >= start);
        let shown: Vec<_> = partitions.by_ref().take(self.room).map(|(id, state)| self.partition(id, state)).collect();
        self.room -= shown.len();
        if let Some((next, _)) = partitions.next() {
            self.next = Some(Cursor { topic_name: name.to_owned(), partition_index: next.index.get() });
        }
        self.topics.push(known(topic, shown));
    }

    fn partition(&self, id: PartitionId, state: &Partition) -> DescribeTopicPartitionsResponsePartition {
        let view = view(self.image, state, self.listener, Tells::Everything);
        DescribeTopicPartitionsResponsePartition {
            error_code: view.error_code,
            partition_index: id.index.get(),
            leader_id: view.leader_id,
            leader_epoch: state.leader_epoch.get(),
            replica_nodes: view.replicas,
            isr_nodes: view.isr,
            eligible_leader_replicas: Some(ids(state.elr.iter())),
            last_known_elr: Some(ids(state.last_known_elr.iter())),
            offline_replicas: view.offline,
        }
    }
}

fn known(
    topic: &Topic,
    partitions: Vec<DescribeTopicPartitionsResponsePartition>,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::None,
        name: Some(topic.name.as_str().to_owned()),
        topic_id: topic.id,
        is_internal: topic.name.is_internal(),
        partitions,
        topic_authorized_operations: TOPIC_OPERATIONS,
    }
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let valid = TopicName::new(name);
    let error_code = if valid.is_ok() { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
    DescribeTopicPartitionsResponseTopic {
        error_code,
        name: Some(name.to_owned()),
        topic_id: TopicId::ZERO,
        is_internal: valid.is_ok_and(|name| name.is_internal()),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::metadata::Record;
    use crate::model::{LogIndex, NodeId, PartitionIndex};
    use crate::protocol::messages::describe_topic_partitions::TopicRequest;

    fn image() -> Image {
        let mut image = Image::default();
        for (number, name, count) in [(1, "a", 3), (2, "b", 2), (3, "c", 1)] {
            let topic = TopicId::new([number; 16]);
            let name = TopicName::new(name).expect("the test's names are valid");
            image.replay(LogIndex::new(1), &Record::TopicCreated { topic, name });
            for index in 0..count {
                let partition = PartitionId { topic, index: PartitionIndex::new(index) };
                let state = Partition::new(vec![NodeId::new(1)], vec![NodeId::new(1)]);
                image.replay(LogIndex::new(1), &Record::PartitionCreated { partition, state });
            }
        }
        image
    }

    type Shown = Vec<(String, Vec<i32>)>;

    fn page(room: usize, names: &[&str], cursor: Option<(&str, i32)>) -> (Shown, Option<(String, i32)>) {
        let image = image();
        let page = Page { image: &image, listener: "L", room, topics: Vec::new(), next: None };
        let page = page.fill(DescribeTopicPartitionsRequest {
            topics: names.iter().map(|name| TopicRequest { name: (*name).to_owned() }).collect(),
            cursor: cursor.map(|(name, partition_index)| Cursor { topic_name: name.to_owned(), partition_index }),
            ..Default::default()
        });
        let shown = page.topics.into_iter().map(|topic| {
            let indexes = topic.partitions.iter().map(|partition| partition.partition_index).collect();
            (topic.name.unwrap_or_default(), indexes)
        });
        (shown.collect(), page.next.map(|next| (next.topic_name, next.partition_index)))
    }

    fn named(shown: &[(&str, &[i32])]) -> Shown {
        shown.iter().map(|(name, indexes)| ((*name).to_owned(), indexes.to_vec())).collect()
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        assert_eq!(page(2, &[], None), (named(&[("a", &[0, 1])]), Some(("a".to_owned(), 2))));
        assert_eq!(page(2, &[], Some(("a", 2))), (named(&[("a", &[2]), ("b", &[0])]), Some(("b".to_owned(), 1))));
        assert_eq!(page(2, &[], Some(("b", 1))), (named(&[("b", &[1]), ("c", &[0])]), None));
        assert_eq!(page(3, &[], None), (named(&[("a", &[0, 1, 2])]), Some(("b".to_owned(), 0))));
    }

    #[test]
    fn a_missing_topic_is_told_of_when_it_was_asked_for() {
        assert_eq!(page(9, &["x", "b"], None), (named(&[("b", &[0, 1]), ("x", &[])]), None));
    }

    #[test]
    fn a_cursor_whose_topic_is_gone_goes_on_behind_it() {
        assert_eq!(page(9, &[], Some(("bb", 1))), (named(&[("c", &[0])]), None));
    }

    #[test]
    fn a_cursor_that_points_nowhere_is_refused() {
        let request = |names: &[&str], name: &str, partition_index| DescribeTopicPartitionsRequest {
            topics: names.iter().map(|name| TopicRequest { name: (*name).to_owned() }).collect(),
            cursor: Some(Cursor { topic_name: name.to_owned(), partition_index }),
            ..Default::default()
        };
        assert!(flaw(&request(&["a"], "a", -1)).is_some());
        assert!(flaw(&request(&["a"], "b", 0)).is_some());
        assert!(flaw(&request(&[], "b", 0)).is_none());
        assert!(flaw(&request(&["a", "b"], "b", 7)).is_none());
    }
}
