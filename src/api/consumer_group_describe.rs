//! ConsumerGroupDescribe: groups of KIP-848 as people and their tools see them.
//!
//! Invariant: every group of the request is answered, in its order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::call::Caller;
use super::context::{Context, OPERATIONS_UNTOLD};
use super::error;
use super::groups::GROUP_OPERATIONS;
use crate::machines::group::{Call, ConsumerDescription, DescribedConsumer, Refusal};
use crate::model::{GroupId, InstanceId, PartitionId, TopicName};
use crate::protocol::messages::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup, Member, TopicPartitions,
};

/// How a member speaks: by the classic protocol, or by this one.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

/// Serves the request.
pub(super) async fn consumer_group_describe(
    context: Context,
    _: Caller,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let ask = |name: String| {
        let group = GroupId::new(&name);
        let pending = context.broker().ask_group(&group, Call::DescribeConsumers(group.clone()));
        (name, pending)
    };
    let asked: Vec<_> = request.group_ids.into_iter().map(ask).collect();
    let mut groups = Vec::with_capacity(asked.len());
    for (name, pending) in asked {
        let outcome = pending.outcome().await.describe_consumers();
        let tells = request.include_authorized_operations && outcome.is_ok();
        let authorized_operations = if tells { GROUP_OPERATIONS } else { OPERATIONS_UNTOLD };
        groups.push(DescribedGroup { authorized_operations, ..answer(name, outcome) });
    }
    ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() }
}

fn answer(group_id: String, outcome: Result<Box<ConsumerDescription>, Refusal>) -> DescribedGroup {
    match outcome {
        Ok(described) => DescribedGroup {
            group_id,
            group_state: described.state.name().to_owned(),
            group_epoch: described.epoch.get(),
            assignment_epoch: described.assignment_epoch.get(),
            assignor_name: described.assignor.to_owned(),
            members: described.members.iter().map(member).collect(),
            ..DescribedGroup::default()
        },
        Err(refusal) => {
            let (error_code, error_message) = (error::of_group(&refusal), Some(error::told(&refusal, &group_id)));
            DescribedGroup { error_code, error_message, group_id, ..DescribedGroup::default() }
        }
    }
}

fn member(one: &DescribedConsumer) -> Member {
    let says = &one.says;
    Member {
        member_id: one.member.to_string(),
        instance_id: says.instance.as_ref().map(InstanceId::to_string),
        rack_id: says.rack.as_deref().map(str::to_owned),
        member_epoch: one.epoch.get(),
        client_id: says.client.id.to_string(),
        client_host: says.client.host.to_string(),
        subscribed_topic_names: says.topics.iter().map(Arc::to_string).collect(),
        subscribed_topic_regex: says.regex.as_deref().map(str::to_owned),
        assignment: assignment(&one.assigned),
        target_assignment: assignment(&one.target),
        member_type: if says.classic.is_some() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
    }
}

fn assignment(partitions: &[(PartitionId, TopicName)]) -> Assignment {
    let mut topics = BTreeMap::new();
    for (id, name) in partitions {
        let fresh = || TopicPartitions { topic_id: id.topic, topic_name: name.to_string(), partitions: Vec::new() };
        topics.entry(id.topic).or_insert_with(fresh).partitions.push(id.index.get());
    }
    Assignment { topic_partitions: topics.into_values().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ErrorCode;

    #[test]
    fn a_group_that_is_none_of_these_is_not_found() {
        let told = answer("g".to_owned(), Err(Refusal::GroupNotFound));
        assert_eq!((told.group_id.as_str(), told.error_code), ("g", ErrorCode::GroupIdNotFound));
    }
}
