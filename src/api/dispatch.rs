//! From a frame to its row of the table.
//!
//! Called by the transport for every frame of every connection. Invariant: a frame is answered, or its connection is
//! closed and a line says why, once a minute for each cause: whoever sends garbage must not fill the disk with logs,
//! too. An unsupported version of anything but ApiVersions closes the connection (kafka-compat 2.1).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::warn;

use super::call::{Answering, Call, Caller, answer};
use super::context::Context;
use super::{ApiOptions, api_versions, row};
use crate::broker::Broker;
use crate::protocol::{ApiKey, RequestHeader, split_request};
use crate::transport::{Handled, OncePerMinute, PendingAnswer, RequestContext, RequestHandler};

/// Serves all APIs of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatch {
    context: Context,
    lines: Arc<Lines>,
}

/// The lines about requests that nobody could answer.
#[derive(Debug, Default)]
struct Lines {
    unreadable: OncePerMinute,
    malformed: OncePerMinute,
    unsupported: OncePerMinute,
}

impl Dispatch {
    /// Serves by asking `broker`.
    #[must_use]
    pub fn new(broker: Broker, options: ApiOptions) -> Self {
        Self { context: Context::new(broker, options), lines: Arc::default() }
    }

    fn call(&self, context: &RequestContext, header: RequestHeader, body: Bytes) -> Call {
        let caller =
            Caller { version: header.api_version, listener: context.listener.clone(), client_id: header.client_id };
        Call { context: self.context.clone(), caller, correlation_id: header.correlation_id, body }
    }

    /// A client that speaks a newer ApiVersions is told which to speak, in version 0; all others are cut off.
    fn refuse_version(&self, context: &RequestContext, header: &RequestHeader) -> Handled {
        if header.api_key == ApiKey::ApiVersions {
            let response = answer(0, header.correlation_id, &api_versions::unsupported());
            return pending(header.api_key, async move { response }.boxed());
        }
        if let Some(suppressed) = self.lines.unsupported.permit(Instant::now()) {
            let (peer, api, version) = (context.peer, header.api_key.name(), header.api_version);
            warn!(%peer, api, version, suppressed, "closing: the version is not supported");
        }
        Handled::Close
    }
}

impl RequestHandler for Dispatch {
    fn handle(&self, context: &RequestContext, frame: Bytes) -> Handled {
        let (header, body) = match split_request(frame) {
            Ok(parts) => parts,
            Err(cause) => {
                if let Some(suppressed) = self.lines.unreadable.permit(Instant::now()) {
                    warn!(peer = %context.peer, %cause, suppressed, "closing: no request can be read");
                }
                return Handled::Close;
            }
        };
        let (key, version) = (header.api_key, header.api_version);
        let Some(row) = row(key).filter(|row| row.serves(version)) else {
            return self.refuse_version(context, &header);
        };
        match (row.start)(self.call(context, header, body)) {
            Ok(answer) => pending(key, answer),
            Err(cause) => {
                if let Some(suppressed) = self.lines.malformed.permit(Instant::now()) {
                    let (peer, api) = (context.peer, key.name());
                    warn!(%peer, api, version, %cause, suppressed, "closing: a request is malformed");
                }
                Handled::Close
            }
        }
    }

    /// Produces of one connection overlap: each is in its shards' inboxes when `handle` returns.
    fn pipelines(&self, frame: &[u8]) -> bool {
        frame.first_chunk().is_some_and(|key| i16::from_be_bytes(*key) == ApiKey::Produce.number())
    }
}

fn pending(key: ApiKey, answer: Answering) -> Handled {
    Handled::Pending(PendingAnswer { api: key.name(), answer })
}
