//! ListGroups: the groups that this broker coordinates.
//!
//! Invariant: a filter that names nothing known leaves nothing, and is no error.

use super::call::Caller;
use super::context::Context;
use super::error;
use crate::machines::group::{Listed, Protocol};
use crate::protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

/// What kind of group each protocol makes.
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";

/// Serves the request.
pub(super) async fn list_groups(context: Context, _: Caller, request: ListGroupsRequest) -> ListGroupsResponse {
    match context.broker().groups().await {
        Ok(all) => {
            let groups = all.into_iter().map(listed).filter(|group| is_wanted(&request, group)).collect();
            ListGroupsResponse { groups, ..ListGroupsResponse::default() }
        }
        Err(refusal) => ListGroupsResponse { error_code: error::of_group(&refusal), ..ListGroupsResponse::default() },
    }
}

fn listed(group: Listed) -> ListedGroup {
    ListedGroup {
        group_id: group.group.to_string(),
        protocol_type: group.protocol_type.to_string(),
        group_state: group.state.name().to_owned(),
        group_type: match group.protocol {
            Protocol::Classic => CLASSIC.to_owned(),
            Protocol::Consumer => CONSUMER.to_owned(),
        },
    }
}

fn is_wanted(request: &ListGroupsRequest, group: &ListedGroup) -> bool {
    let holds =
        |filter: &[String], value: &str| filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(value));
    holds(&request.states_filter, &group.group_state) && holds(&request.types_filter, &group.group_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::group::GroupState;
    use crate::model::GroupId;

    #[test]
    fn filters_leave_what_they_name() {
        let of = |protocol| Listed {
            group: GroupId::new("g"),
            protocol_type: "consumer".into(),
            state: GroupState::Stable,
            protocol,
        };
        let (group, consumers) = (listed(of(Protocol::Classic)), listed(of(Protocol::Consumer)));
        let asked = |states: &[&str], types: &[&str]| ListGroupsRequest {
            states_filter: states.iter().map(|&s| s.to_owned()).collect(),
            types_filter: types.iter().map(|&s| s.to_owned()).collect(),
        };
        assert!(is_wanted(&asked(&[], &[]), &group));
        assert!(is_wanted(&asked(&["Empty", "stable"], &["Classic"]), &group));
        assert!(!is_wanted(&asked(&["Empty"], &[]), &group));
        assert!(!is_wanted(&asked(&[], &["consumer"]), &group));
        assert!(is_wanted(&asked(&["stable"], &["Consumer"]), &consumers));
    }
}
