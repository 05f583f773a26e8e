//! How the quorum reaches another node: one request, one answer, within a time. `transport` implements it over its
//! framed connections, tests over memory.
//!
//! Invariant: a call that is dropped or times out never lets its late answer reach a later call.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::model::NodeId;

/// Calls the quorum service of other nodes.
pub trait PeerCaller: Send + Sync + std::fmt::Debug + 'static {
    /// Sends `request` to the quorum service of `node`, dialled at `address` (host:port, resolved anew on every dial),
    /// and waits for its answer no longer than `timeout`. The future may be dropped at any point.
    fn call<'a>(
        &'a self,
        node: NodeId,
        address: &'a str,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Bytes, CallError>>;
}

/// Why a call brought no answer. Whether the other side acted on it is unknown, but for `Refused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The host answered that nothing listens there: the process is gone.
    #[error("connection refused")]
    Refused,
    /// The host's name has no address any more: a container that is gone.
    #[error("the name does not resolve")]
    Unresolved,
    /// No connection came about: no route, dial timed out, TLS or authentication failed.
    #[error("unreachable")]
    Unreachable,
    /// The connection was lost before the answer.
    #[error("connection lost")]
    Lost,
    /// No answer in time.
    #[error("timed out")]
    TimedOut,
    /// The answer was not a frame of ours, or the request exceeds the frame limit.
    #[error("malformed or oversized frame")]
    Malformed,
}
