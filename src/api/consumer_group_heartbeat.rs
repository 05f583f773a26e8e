//! ConsumerGroupHeartbeat (KIP-848): a member joins, lives and leaves.
//!
//! Invariant: what reaches the coordinator says who it is from and, when it joins, all that a member has to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::call::Caller;
use super::context::Context;
use super::error;
use super::groups::{client, fresh_member};
use crate::machines::group::{Beat, Call, Refusal, Told};
use crate::model::{GroupEpoch, GroupId, InstanceId, MemberId, PartitionId, PartitionIndex, TopicId};
use crate::protocol::ErrorCode;
use crate::protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};

/// From this version on a member makes its id itself.
const OWN_ID_FROM: i16 = 1;

/// Serves the request.
pub(super) async fn consumer_group_heartbeat(
    context: Context,
    caller: Caller,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    if let Err(message) = check(caller.version, &request) {
        return ConsumerGroupHeartbeatResponse {
            error_code: ErrorCode::InvalidRequest,
            error_message: Some(message.to_owned()),
            ..ConsumerGroupHeartbeatResponse::default()
        };
    }
    let beat = beat(&context, &caller, request);
    let group = beat.group.clone();
    answer(context.broker().ask_group(&group, Call::Beat(Box::new(beat))).outcome().await.beat())
}

/// What is wrong with it, whatever the group is like.
fn check(version: i16, request: &ConsumerGroupHeartbeatRequest) -> Result<(), &'static str> {
    let is_empty = |text: &Option<String>| text.as_deref() == Some("");
    let says = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let epoch = GroupEpoch::new(request.member_epoch);
    if request.group_id.is_empty() {
        return Err("the group id is empty");
    }
    if is_empty(&request.instance_id) || is_empty(&request.rack_id) {
        return Err("an instance id and a rack id are not empty, if they are there");
    }
    if epoch < GroupEpoch::AWAY {
        return Err("there is no such member epoch");
    }
    if request.member_id.is_empty() && (version >= OWN_ID_FROM || epoch != GroupEpoch::NONE) {
        return Err("the member id is empty");
    }
    if epoch == GroupEpoch::AWAY && request.instance_id.is_none() {
        return Err("only a static member leaves for a while");
    }
    if epoch != GroupEpoch::NONE {
        return Ok(());
    }
    // The names may be none: those of a pattern that the client matches, and nothing does yet.
    if request.subscribed_topic_names.is_none() && !says(&request.subscribed_topic_regex) {
        return Err("who joins subscribes to topics");
    }
    if request.rebalance_timeout_ms < 0 {
        return Err("who joins has a rebalance timeout");
    }
    match &request.topic_partitions {
        Some(owned) if owned.is_empty() => Ok(()),
        Some(_) | None => Err("who joins has no partitions"),
    }
}

fn beat(context: &Context, caller: &Caller, request: ConsumerGroupHeartbeatRequest) -> Beat {
    let shared = |text: Option<String>| text.map(Arc::<str>::from);
    let member = if request.member_id.is_empty() {
        fresh_member(context, caller, request.instance_id.as_deref())
    } else {
        MemberId::new(&request.member_id)
    };
    Beat {
        group: GroupId::new(&request.group_id),
        member,
        epoch: GroupEpoch::new(request.member_epoch),
        instance: request.instance_id.as_deref().map(InstanceId::new),
        rack: shared(request.rack_id),
        client: client(caller),
        rebalance_timeout_ms: (request.rebalance_timeout_ms >= 0).then_some(request.rebalance_timeout_ms),
        topics: request.subscribed_topic_names.map(|topics| topics.into_iter().map(Arc::from).collect()),
        regex: shared(request.subscribed_topic_regex),
        assignor: shared(request.server_assignor),
        owned: request.topic_partitions.map(|topics| topics.iter().flat_map(partitions).collect()),
    }
}

fn partitions(topic: &TopicPartitions) -> impl Iterator<Item = PartitionId> {
    let id = |index: &i32| PartitionId { topic: topic.topic_id, index: PartitionIndex::new(*index) };
    topic.partitions.iter().map(id)
}

fn answer(outcome: Result<Told, Refusal>) -> ConsumerGroupHeartbeatResponse {
    match outcome {
        Ok(told) => ConsumerGroupHeartbeatResponse {
            member_id: Some(told.member.to_string()),
            member_epoch: told.epoch.get(),
            heartbeat_interval_ms: i32::try_from(told.interval.as_millis()).unwrap_or(i32::MAX),
            assignment: told.assignment.as_ref().map(assignment),
            ..ConsumerGroupHeartbeatResponse::default()
        },
        Err(refusal) => ConsumerGroupHeartbeatResponse {
            error_code: error::of_group(&refusal),
            error_message: Some(refusal.to_string()),
            ..ConsumerGroupHeartbeatResponse::default()
        },
    }
}

fn assignment(share: &BTreeSet<PartitionId>) -> Assignment {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for id in share {
        topics.entry(id.topic).or_default().push(id.index.get());
    }
    let topic = |(topic_id, partitions)| TopicPartitions { topic_id, partitions };
    Assignment { topic_partitions: topics.into_iter().map(topic).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join() -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: "g".to_owned(),
            member_id: "m".to_owned(),
            rebalance_timeout_ms: 1,
            subscribed_topic_names: Some(vec!["t".to_owned()]),
            topic_partitions: Some(Vec::new()),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    #[test]
    fn who_joins_says_everything() {
        assert_eq!(check(1, &join()), Ok(()));
        let by_regex = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: None,
            subscribed_topic_regex: Some("t.*".to_owned()),
            ..join()
        };
        assert_eq!(check(1, &by_regex), Ok(()));
        let by_pattern_of_its_own =
            ConsumerGroupHeartbeatRequest { subscribed_topic_names: Some(Vec::new()), ..join() };
        assert_eq!(check(1, &by_pattern_of_its_own), Ok(()), "nothing matches yet");
        let of_old = ConsumerGroupHeartbeatRequest { member_id: String::new(), ..join() };
        assert_eq!(check(0, &of_old), Ok(()));
        for lacking in [
            of_old,
            ConsumerGroupHeartbeatRequest { group_id: String::new(), ..join() },
            ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..join() },
            ConsumerGroupHeartbeatRequest { topic_partitions: None, ..join() },
            ConsumerGroupHeartbeatRequest { topic_partitions: Some(vec![TopicPartitions::default()]), ..join() },
            ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..join() },
            ConsumerGroupHeartbeatRequest { instance_id: Some(String::new()), ..join() },
            ConsumerGroupHeartbeatRequest { member_epoch: -2, ..join() },
            ConsumerGroupHeartbeatRequest { member_epoch: -3, ..join() },
        ] {
            assert!(check(1, &lacking).is_err(), "{lacking:?}");
        }
    }

    #[test]
    fn who_lives_need_say_nothing() {
        let silent = ConsumerGroupHeartbeatRequest {
            group_id: "g".to_owned(),
            member_id: "m".to_owned(),
            member_epoch: 5,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        assert_eq!(check(1, &silent), Ok(()));
    }

    #[test]
    fn an_assignment_that_has_not_changed_is_null() {
        let told = |assignment| Told {
            member: MemberId::new("m"),
            epoch: GroupEpoch::new(3),
            interval: std::time::Duration::from_millis(500),
            assignment,
            is_known: false,
        };
        assert_eq!(answer(Ok(told(None))).assignment, None);
        let (topic, none) = (TopicId::new([1; 16]), BTreeSet::new());
        assert_eq!(answer(Ok(told(Some(none)))).assignment, Some(Assignment { topic_partitions: Vec::new() }));
        let share = [0, 2].map(|index| PartitionId { topic, index: PartitionIndex::new(index) }).into();
        let answered = answer(Ok(told(Some(share))));
        let partitions = vec![TopicPartitions { topic_id: topic, partitions: vec![0, 2] }];
        assert_eq!(answered.assignment, Some(Assignment { topic_partitions: partitions }));
        assert_eq!((answered.member_epoch, answered.heartbeat_interval_ms), (3, 500));
    }
}
