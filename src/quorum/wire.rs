//! The quorum on the nodes' own protocol: asks through `transport::Peers`, answers as a `transport::PeerService`.
//!
//! Wired by `node`. Invariant: `Refused` and `Unresolved` are told only when a dial found that out just now, because
//! an election may rest on them (never its safety).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::Quorum;
use super::peer::{CallError, PeerCaller};
use crate::model::NodeId;
use crate::transport::{self, HostPort, PeerService, Peers, Service};

impl PeerCaller for Peers {
    fn call<'a>(
        &'a self,
        node: NodeId,
        address: &'a str,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Bytes, CallError>> {
        Box::pin(async move {
            let address: HostPort = address.parse().map_err(|_| CallError::Unreachable)?;
            Peers::call(self, node, &address, Service::QUORUM, request, timeout).await.map_err(CallError::from)
        })
    }
}

impl From<transport::CallError> for CallError {
    fn from(error: transport::CallError) -> Self {
        match error {
            transport::CallError::Refused => Self::Refused,
            transport::CallError::Unresolved => Self::Unresolved,
            transport::CallError::TimedOut => Self::TimedOut,
            transport::CallError::Closed => Self::Lost,
            transport::CallError::TooLarge { .. } => Self::Malformed,
            transport::CallError::Unreachable
            | transport::CallError::WrongNode { .. }
            | transport::CallError::Rejected
            | transport::CallError::Overloaded => Self::Unreachable,
        }
    }
}

impl PeerService for Quorum {
    fn call(&self, _: Service, _: SocketAddr, payload: Bytes) -> BoxFuture<'static, Option<Bytes>> {
        let quorum = self.clone();
        Box::pin(async move { Some(quorum.handle(payload).await).filter(|answer| !answer.is_empty()) })
    }
}
