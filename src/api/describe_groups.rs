//! DescribeGroups: groups as people and their tools see them.
//!
//! Invariant: every group of the request is answered, once, in its order. A group that is not there is called dead, as in Kafka.

use super::call::Caller;
use super::context::{Context, OPERATIONS_UNTOLD};
use super::error;
use super::groups::{GROUP_OPERATIONS, distinct, in_turn};
use crate::machines::group::{Call, DescribedMember, Description, Refusal};
use crate::model::GroupId;
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

/// From this version on a group that is not there is an error.
const NOT_FOUND_FROM: i16 = 6;
/// The state of a group that is not there.
const DEAD: &str = "Dead";

/// Serves the request.
pub(super) async fn describe_groups(
    context: Context,
    caller: Caller,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let described = in_turn(distinct(request.groups, String::as_str), |name| async {
        let group = GroupId::new(&name);
        let outcome = context.broker().ask_group(&group, Call::Describe(group.clone())).outcome().await.describe();
        let mut group = answer(caller.version, name, outcome);
        let tells = request.include_authorized_operations && group.error_code == ErrorCode::None;
        group.authorized_operations = if tells { GROUP_OPERATIONS } else { OPERATIONS_UNTOLD };
        group
    });
    let groups = described.await;
    DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() }
}

fn answer(version: i16, group_id: String, outcome: Result<Box<Description>, Refusal>) -> DescribedGroup {
    match outcome {
        Ok(described) => DescribedGroup {
            group_id,
            group_state: described.state.name().to_owned(),
            protocol_type: described.protocol_type.to_string(),
            protocol_data: described.protocol.to_string(),
            members: described.members.into_iter().map(member).collect(),
            ..DescribedGroup::default()
        },
        Err(Refusal::GroupNotFound) if version < NOT_FOUND_FROM => {
            DescribedGroup { group_id, group_state: DEAD.to_owned(), ..DescribedGroup::default() }
        }
        Err(refusal) => {
            let (error_code, error_message) = (error::of_group(&refusal), Some(error::told(&refusal, &group_id)));
            let group_state = if refusal == Refusal::GroupNotFound { DEAD.to_owned() } else { String::new() };
            DescribedGroup { error_code, error_message, group_id, group_state, ..DescribedGroup::default() }
        }
    }
}

fn member(one: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: one.member.to_string(),
        group_instance_id: one.instance.map(|instance| instance.to_string()),
        client_id: one.client.id.to_string(),
        client_host: one.client.host.to_string(),
        member_metadata: one.metadata,
        member_assignment: one.assignment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_not_there_is_dead_and_to_new_clients_an_error() {
        let told = |version| answer(version, "g".to_owned(), Err(Refusal::GroupNotFound));
        assert_eq!((told(5).error_code, told(5).group_state.as_str()), (ErrorCode::None, "Dead"));
        assert_eq!((told(6).error_code, told(6).group_state.as_str()), (ErrorCode::GroupIdNotFound, "Dead"));
    }
}
