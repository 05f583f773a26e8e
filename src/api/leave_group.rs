//! LeaveGroup: members of a classic group go.
//!
//! Invariant: every member that the request names is answered, in its order.

use super::call::Caller;
use super::context::Context;
use super::error;
use crate::machines::group::{Call, Leave, Refusal};
use crate::model::{GroupId, InstanceId, MemberId};
use crate::protocol::ErrorCode;
use crate::protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};

/// From this version on several members leave at once.
const MANY_FROM: i16 = 3;

/// Serves the request.
pub(super) async fn leave_group(context: Context, caller: Caller, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let group = GroupId::new(&request.group_id);
    let named = if caller.version >= MANY_FROM {
        request.members
    } else {
        vec![MemberIdentity { member_id: request.member_id, ..MemberIdentity::default() }]
    };
    let who =
        |one: &MemberIdentity| (MemberId::new(&one.member_id), one.group_instance_id.as_deref().map(InstanceId::new));
    let leave = Leave { group: group.clone(), members: named.iter().map(who).collect() };
    let outcome = context.broker().ask_group(&group, Call::Leave(leave)).outcome().await.leave();
    answer(caller.version, named, outcome)
}

fn answer(
    version: i16,
    named: Vec<MemberIdentity>,
    outcome: Result<Vec<Result<(), Refusal>>, Refusal>,
) -> LeaveGroupResponse {
    let code = |one: Result<(), Refusal>| one.err().map_or(ErrorCode::None, |refusal| error::of_group(&refusal));
    let codes = match outcome {
        Ok(outcomes) => outcomes.into_iter().map(code).collect::<Vec<_>>(),
        // Of a group that is not there nobody is known.
        Err(Refusal::UnknownMember) if version >= MANY_FROM => vec![ErrorCode::UnknownMemberId; named.len()],
        Err(refusal) => {
            return LeaveGroupResponse { error_code: error::of_group(&refusal), ..LeaveGroupResponse::default() };
        }
    };
    if version < MANY_FROM {
        let error_code = codes.first().copied().unwrap_or_default();
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let member = |(one, error_code): (MemberIdentity, ErrorCode)| MemberResponse {
        member_id: one.member_id,
        group_instance_id: one.group_instance_id,
        error_code,
    };
    let members = named.into_iter().zip(codes).map(member).collect();
    LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_client_finds_its_members_error_at_the_top() {
        let named = || vec![MemberIdentity { member_id: "m".to_owned(), ..MemberIdentity::default() }];
        let unknown = || Ok(vec![Err(Refusal::UnknownMember)]);
        let old = answer(2, named(), unknown());
        assert_eq!((old.error_code, old.members.len()), (ErrorCode::UnknownMemberId, 0));
        let new = answer(3, named(), unknown());
        assert_eq!((new.error_code, new.members[0].error_code), (ErrorCode::None, ErrorCode::UnknownMemberId));
        assert_eq!(answer(3, named(), Err(Refusal::UnknownMember)), new, "of a group that is not there");
        assert_eq!(answer(2, named(), Err(Refusal::UnknownMember)), old);
    }
}
