//! From a frame to its row of the table.
//!
//! Called by the transport for every frame of every connection. Invariant: a frame is answered, or its connection is
//! closed and one line says why; an unsupported version of anything but ApiVersions closes it (kafka-compat 2.1).

use bytes::Bytes;
use futures_util::FutureExt;
use tracing::warn;

use super::call::{Answering, Call, Caller, answer};
use super::context::Context;
use super::{ApiOptions, api_versions, row};
use crate::broker::Broker;
use crate::protocol::{ApiKey, RequestHeader, split_request};
use crate::transport::{Handled, PendingAnswer, RequestContext, RequestHandler};

/// Serves all APIs of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatch {
    context: Context,
}

impl Dispatch {
    /// Serves by asking `broker`.
    #[must_use]
    pub fn new(broker: Broker, options: ApiOptions) -> Self {
        Self { context: Context::new(broker, options) }
    }

    fn call(&self, context: &RequestContext, header: RequestHeader, body: Bytes) -> Call {
        let caller =
            Caller { version: header.api_version, listener: context.listener.clone(), client_id: header.client_id };
        Call { context: self.context.clone(), caller, correlation_id: header.correlation_id, body }
    }
}

impl RequestHandler for Dispatch {
    fn handle(&self, context: &RequestContext, frame: Bytes) -> Handled {
        let (header, body) = match split_request(frame) {
            Ok(parts) => parts,
            Err(cause) => {
                warn!(peer = %context.peer, %cause, "closing: no request can be read");
                return Handled::Close;
            }
        };
        let (key, version) = (header.api_key, header.api_version);
        let Some(row) = row(key).filter(|row| row.serves(version)) else {
            return refuse_version(context, &header);
        };
        match (row.start)(self.call(context, header, body)) {
            Ok(answer) => pending(key, answer),
            Err(cause) => {
                warn!(peer = %context.peer, api = key.name(), version, %cause, "closing: a request is malformed");
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

/// A client that speaks a newer ApiVersions is told which to speak, in version 0; all others are cut off.
fn refuse_version(context: &RequestContext, header: &RequestHeader) -> Handled {
    if header.api_key != ApiKey::ApiVersions {
        let (api, version) = (header.api_key.name(), header.api_version);
        warn!(peer = %context.peer, api, version, "closing: the version is not supported");
        return Handled::Close;
    }
    let response = answer(0, header.correlation_id, &api_versions::unsupported());
    pending(header.api_key, async move { response }.boxed())
}
