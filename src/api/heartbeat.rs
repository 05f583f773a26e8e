//! Heartbeat: a member of a classic group is alive.
//!
//! Invariant: the coordinator decides, this file translates.

use super::call::Caller;
use super::context::Context;
use super::error;
use super::groups::identity;
use crate::machines::group::Call;
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

/// Serves the request.
pub(super) async fn heartbeat(context: Context, _: Caller, request: HeartbeatRequest) -> HeartbeatResponse {
    let instance = request.group_instance_id.as_deref();
    let identity = identity(&request.group_id, &request.member_id, instance, request.generation_id);
    let group = identity.group.clone();
    let outcome = context.broker().ask_group(&group, Call::Heartbeat(identity)).outcome().await.heartbeat();
    let error_code = outcome.err().map(|refusal| error::of_group(&refusal)).unwrap_or_default();
    HeartbeatResponse { error_code, ..HeartbeatResponse::default() }
}
