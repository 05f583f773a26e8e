//! JoinGroup: the coordinator decides, this file translates.
//!
//! Invariant: a member is told its own id, or the one that it is to have.

use std::sync::Arc;

use super::call::Caller;
use super::context::Context;
use super::error;
use super::groups::{client, fresh_member};
use crate::machines::group::{Call, Join, Joined, JoinedMember, Refusal};
use crate::model::{GroupId, InstanceId, MemberId};
use crate::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
};

/// From this version on a dynamic member joins with an id that it was told (KIP-394).
const KNOWN_MEMBER_FROM: i16 = 4;
/// From this version on the name of the protocol may be missing.
const NO_PROTOCOL_FROM: i16 = 7;
/// From this version on a leader that came back may be told to assign nothing (KIP-814).
const SKIP_FROM: i16 = 9;

/// Serves the request.
pub(super) async fn join_group(context: Context, caller: Caller, request: JoinGroupRequest) -> JoinGroupResponse {
    let (group, member) = (GroupId::new(&request.group_id), request.member_id.clone());
    let join = join(&context, &caller, request);
    let outcome = context.broker().ask_group(&group, Call::Join(join)).outcome().await.join();
    match outcome {
        Ok(joined) => answer(joined),
        Err(refusal) => refused(caller.version, member, &refusal),
    }
}

fn join(context: &Context, caller: &Caller, request: JoinGroupRequest) -> Join {
    let fresh = fresh_member(context, caller, request.group_instance_id.as_deref());
    let protocol = |one: JoinGroupRequestProtocol| (Arc::from(one.name.as_str()), copied(&one.metadata));
    Join {
        group: GroupId::new(&request.group_id),
        member: MemberId::new(&request.member_id),
        instance: request.group_instance_id.as_deref().map(InstanceId::new),
        fresh,
        client: client(caller),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if request.rebalance_timeout_ms < 0 {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        protocol_type: request.protocol_type.as_str().into(),
        protocols: request.protocols.into_iter().map(protocol).collect(),
        requires_known_member: caller.version >= KNOWN_MEMBER_FROM,
        skips_assignment: caller.version >= SKIP_FROM,
    }
}

/// What the coordinator keeps for long must not keep a whole frame.
fn copied(bytes: &bytes::Bytes) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

fn answer(joined: Joined) -> JoinGroupResponse {
    let member = |one: JoinedMember| JoinGroupResponseMember {
        member_id: one.member.to_string(),
        group_instance_id: one.instance.map(|instance| instance.to_string()),
        metadata: one.metadata,
    };
    JoinGroupResponse {
        generation_id: joined.generation.get(),
        protocol_type: joined.protocol_type.map(|kind| kind.to_string()),
        protocol_name: joined.protocol.map(|name| name.to_string()),
        leader: joined.leader.to_string(),
        skip_assignment: joined.skip_assignment,
        member_id: joined.member.to_string(),
        members: joined.members.into_iter().map(member).collect(),
        ..JoinGroupResponse::default()
    }
}

fn refused(version: i16, member: String, refusal: &Refusal) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error::of_group(refusal),
        protocol_name: (version < NO_PROTOCOL_FROM).then(String::new),
        member_id: if let Refusal::MemberIdRequired(fresh) = refusal { fresh.to_string() } else { member },
        ..JoinGroupResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ErrorCode;

    #[test]
    fn a_member_that_is_to_join_with_its_id_is_told_it() {
        let required = Refusal::MemberIdRequired(MemberId::new("c-1"));
        let told = refused(4, String::new(), &required);
        assert_eq!((told.error_code, told.member_id.as_str()), (ErrorCode::MemberIdRequired, "c-1"));
        let told = refused(9, "c-2".to_owned(), &Refusal::UnknownMember);
        assert_eq!((told.error_code, told.member_id.as_str()), (ErrorCode::UnknownMemberId, "c-2"));
        assert_eq!((told.generation_id, told.protocol_name), (-1, None));
    }

    #[test]
    fn an_old_client_is_told_an_empty_protocol() {
        assert_eq!(refused(6, String::new(), &Refusal::Protocol).protocol_name.as_deref(), Some(""));
    }
}
