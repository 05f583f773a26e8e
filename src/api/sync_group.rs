//! SyncGroup: the coordinator decides, this file translates.
//!
//! Invariant: an assignment is bytes of the members' own, handed on as they are.

use bytes::Bytes;

use super::call::Caller;
use super::context::Context;
use super::error;
use super::groups::identity;
use crate::machines::group::{Call, Sync, Synced};
use crate::model::MemberId;
use crate::protocol::ErrorCode;
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};

/// From this version on a member says by which protocol it has joined (KIP-559).
const PROTOCOL_FROM: i16 = 5;

/// Serves the request.
pub(super) async fn sync_group(context: Context, caller: Caller, request: SyncGroupRequest) -> SyncGroupResponse {
    if lacks_protocol(caller.version, &request) {
        return SyncGroupResponse { error_code: ErrorCode::InconsistentGroupProtocol, ..SyncGroupResponse::default() };
    }
    let instance = request.group_instance_id.as_deref();
    let identity = identity(&request.group_id, &request.member_id, instance, request.generation_id);
    let group = identity.group.clone();
    let given = |one: &SyncGroupRequestAssignment| {
        // Kept for long: not with its whole frame.
        (MemberId::new(&one.member_id), Bytes::copy_from_slice(&one.assignment))
    };
    let sync = Sync {
        identity,
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: request.assignments.iter().map(given).collect(),
    };
    let outcome = context.broker().ask_group(&group, Call::Sync(sync)).outcome().await.sync();
    match outcome {
        Ok(Synced { protocol_type, protocol, assignment }) => SyncGroupResponse {
            protocol_type: protocol_type.map(|kind| kind.to_string()),
            protocol_name: protocol.map(|name| name.to_string()),
            assignment,
            ..SyncGroupResponse::default()
        },
        Err(refusal) => SyncGroupResponse { error_code: error::of_group(&refusal), ..SyncGroupResponse::default() },
    }
}

fn lacks_protocol(version: i16, request: &SyncGroupRequest) -> bool {
    version >= PROTOCOL_FROM && (request.protocol_type.is_none() || request.protocol_name.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_says_by_which_protocol_it_has_joined() {
        let (kind, name) = (Some("consumer".to_owned()), Some("range".to_owned()));
        let said = |protocol_type: &Option<String>, protocol_name: &Option<String>| SyncGroupRequest {
            protocol_type: protocol_type.clone(),
            protocol_name: protocol_name.clone(),
            ..SyncGroupRequest::default()
        };
        assert!(!lacks_protocol(5, &said(&kind, &name)));
        assert!(lacks_protocol(5, &said(&None, &name)) && lacks_protocol(5, &said(&kind, &None)));
        assert!(!lacks_protocol(4, &said(&None, &None)));
    }
}
