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
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};

/// Serves the request.
pub(super) async fn sync_group(context: Context, _: Caller, request: SyncGroupRequest) -> SyncGroupResponse {
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
