//! FindCoordinator: there is none yet, for groups, transactions or share groups; clients try again.
//!
//! Invariant: every key that was asked for is answered.

use super::call::Caller;
use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

/// From this version on several keys are asked for at once.
const MANY_FROM: i16 = 4;
/// From this version on share groups are known.
const SHARE_FROM: i16 = 6;

/// Serves the request.
pub(super) async fn find_coordinator(
    _: Context,
    caller: Caller,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let error_code = code(request.key_type, caller.version);
    let error_message = Some(error_code.message().to_owned());
    if caller.version < MANY_FROM {
        return FindCoordinatorResponse { error_code, error_message, node_id: -1, port: -1, ..Default::default() };
    }
    let coordinator = |key| Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code,
        error_message: error_message.clone(),
        ..Coordinator::default()
    };
    let coordinators = request.coordinator_keys.into_iter().map(coordinator).collect();
    FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() }
}

fn code(key_type: i8, version: i16) -> ErrorCode {
    match key_type {
        0 | 1 => ErrorCode::CoordinatorNotAvailable,
        2 if version >= SHARE_FROM => ErrorCode::CoordinatorNotAvailable,
        _ => ErrorCode::InvalidRequest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_coordinator_is_there_and_an_unknown_kind_never_will_be() {
        assert_eq!(code(0, 0), ErrorCode::CoordinatorNotAvailable);
        assert_eq!(code(1, 3), ErrorCode::CoordinatorNotAvailable);
        assert_eq!(code(2, 5), ErrorCode::InvalidRequest);
        assert_eq!(code(2, 6), ErrorCode::CoordinatorNotAvailable);
        assert_eq!(code(7, 6), ErrorCode::InvalidRequest);
    }
}
