//! DeleteGroups: groups without members go, with all that they have committed.
//!
//! Invariant: every group of the request is answered once, in its order.

use super::call::Caller;
use super::context::Context;
use super::error;
use super::groups::{distinct, in_turn};
use crate::machines::group::Call;
use crate::model::GroupId;
use crate::protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

/// Serves the request.
pub(super) async fn delete_groups(context: Context, _: Caller, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = in_turn(distinct(request.groups_names, |name| name), |group_id| async {
        let group = GroupId::new(&group_id);
        let outcome = context.broker().ask_group(&group, Call::Delete(group.clone())).outcome().await.delete();
        let error_code = outcome.err().map(|refusal| error::of_group(&refusal)).unwrap_or_default();
        DeletableGroupResult { group_id, error_code }
    });
    let results = results.await;
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
