//! InitProducerId: an id for an idempotent producer.
//!
//! Invariant: an id is given to one producer only.

use super::call::Caller;
use super::context::Context;
use crate::protocol::ErrorCode;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

/// Serves the request.
pub(super) async fn init_producer_id(
    context: Context,
    _: Caller,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if let Err(error_code) = check(&request) {
        return refused(error_code);
    }
    match context.broker().next_producer_id().await {
        Ok(id) => InitProducerIdResponse { producer_id: id.get(), producer_epoch: 0, ..Default::default() },
        // Kafka's answer while it waits for a block of ids: clients try again.
        Err(_) => refused(ErrorCode::CoordinatorLoadInProgress),
    }
}

fn check(request: &InitProducerIdRequest) -> Result<(), ErrorCode> {
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.as_deref() {
        None => Ok(()),
        Some("") => Err(ErrorCode::InvalidRequest),
        // Nobody coordinates transactions yet.
        Some(_) => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

fn refused(error_code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code, producer_id: -1, producer_epoch: -1, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transactional_producer_is_told_to_try_again() {
        let request = |id: Option<&str>| InitProducerIdRequest {
            transactional_id: id.map(str::to_owned),
            producer_epoch: -1,
            ..Default::default()
        };
        assert_eq!(check(&request(None)), Ok(()));
        assert_eq!(check(&request(Some(""))), Err(ErrorCode::InvalidRequest));
        assert_eq!(check(&request(Some("t"))), Err(ErrorCode::CoordinatorNotAvailable));
    }

    #[test]
    fn an_id_without_its_epoch_is_refused() {
        let half = InitProducerIdRequest { producer_id: 5, producer_epoch: -1, ..Default::default() };
        assert_eq!(check(&half), Err(ErrorCode::InvalidRequest));
    }
}
