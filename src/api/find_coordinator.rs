//! FindCoordinator: which broker leads the partition that keeps a group.
//!
//! Invariant: every key that was asked for is answered. Nobody coordinates transactions or share groups yet: clients try
//! again.

use std::time::Duration;

use super::call::Caller;
use super::context::Context;
use crate::broker::partition_of_group;
use crate::machines::metadata::Image;
use crate::model::GroupId;
use crate::protocol::ErrorCode;
use crate::protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

/// From this version on several keys are asked for at once.
const MANY_FROM: i16 = 4;
/// From this version on share groups are known.
const SHARE_FROM: i16 = 6;
/// Groups.
const GROUP: i8 = 0;
/// Transactions.
const TRANSACTION: i8 = 1;
/// Share groups.
const SHARE: i8 = 2;
/// How long the first use of a group waits for the topic that keeps groups: after that the client asks again.
const CREATION_WAIT: Duration = Duration::from_secs(2);

/// Where a coordinator is, or why it is not known.
type Found = Result<(i32, String, i32), (ErrorCode, String)>;

/// Serves the request.
pub(super) async fn find_coordinator(
    context: Context,
    caller: Caller,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let is_many = caller.version >= MANY_FROM;
    let keys = if is_many { request.coordinator_keys } else { vec![request.key] };
    let ready = prepare(&context, request.key_type, caller.version).await;
    let image = context.image();
    let find = |key: &str| ready.clone().and_then(|()| locate(&context, &image, &caller.listener, key));
    if !is_many {
        return alone(find(keys.first().map_or("", String::as_str)));
    }
    let coordinators = keys.into_iter().map(|key| told(find(&key), key)).collect();
    FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() }
}

/// Sees to it that there can be a coordinator of this kind.
async fn prepare(context: &Context, key_type: i8, version: i16) -> Result<(), (ErrorCode, String)> {
    match key_type {
        GROUP => {}
        TRANSACTION => return Err(unavailable("nobody coordinates transactions yet")),
        SHARE if version >= SHARE_FROM => return Err(unavailable("nobody coordinates share groups yet")),
        _ => {
            let code = ErrorCode::InvalidRequest;
            return Err((code, format!("there are no coordinators of kind {key_type}")));
        }
    }
    context.broker().make_groups_topic(CREATION_WAIT).await.map_err(|cause| unavailable(&cause.to_string()))?;
    let topic = partition_of_group(&context.image(), &GroupId::new("")).map(|partition| partition.topic);
    context.broker().await_succession(topic.as_slice()).await;
    Ok(())
}

fn unavailable(why: &str) -> (ErrorCode, String) {
    (ErrorCode::CoordinatorNotAvailable, why.to_owned())
}

fn locate(context: &Context, image: &Image, listener: &str, key: &str) -> Found {
    let partition = partition_of_group(image, &GroupId::new(key));
    let leader = partition.and_then(|id| image.partition(id)).and_then(|state| state.leader);
    let node = leader.ok_or_else(|| unavailable("the partition that keeps the group has no leader"))?;
    let endpoint = context.broker().endpoint(image, node, listener);
    let endpoint = endpoint.ok_or_else(|| unavailable("the coordinator cannot be reached on this listener"))?;
    Ok((node.get(), endpoint.host.clone(), i32::from(endpoint.port)))
}

fn alone(found: Found) -> FindCoordinatorResponse {
    let one = told(found, String::new());
    FindCoordinatorResponse {
        error_code: one.error_code,
        error_message: one.error_message,
        node_id: one.node_id,
        host: one.host,
        port: one.port,
        ..FindCoordinatorResponse::default()
    }
}

fn told(found: Found, key: String) -> Coordinator {
    match found {
        Ok((node_id, host, port)) => {
            Coordinator { key, node_id, host, port, error_code: ErrorCode::None, error_message: None }
        }
        Err((error_code, why)) => {
            let error_message = Some(why);
            Coordinator { key, node_id: -1, host: String::new(), port: -1, error_code, error_message }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_client_is_told_of_its_one_coordinator_at_the_top() {
        let found = alone(Ok((3, "h".to_owned(), 9092)));
        assert_eq!((found.node_id, found.host.as_str(), found.port, found.coordinators.len()), (3, "h", 9092, 0));
        let missing = alone(Err(unavailable("none")));
        assert_eq!((missing.error_code, missing.node_id, missing.port), (ErrorCode::CoordinatorNotAvailable, -1, -1));
    }

    #[test]
    fn a_key_without_coordinator_is_answered_by_itself() {
        let missing = told(Err(unavailable("none")), "g".to_owned());
        assert_eq!((missing.key.as_str(), missing.error_message.as_deref()), ("g", Some("none")));
    }
}
