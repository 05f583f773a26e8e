//! InitProducerId: the id and epoch of an idempotent or transactional producer. Version 6 is unstable in Kafka 4.3.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Who asks: a transactional id, or none for a producer that is idempotent only.
    InitProducerIdRequest, versions 0..=5, flexible from 2 {
        transactional_id: Option<String>;
        transaction_timeout_ms: i32;
        producer_id: i64 = -1, in 3..;
        producer_epoch: i16 = -1, in 3..;
    }
}

message! {
    /// The id and epoch to use.
    InitProducerIdResponse, versions 0..=5, flexible from 2 {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        producer_id: i64 = -1;
        producer_epoch: i16;
    }
}
