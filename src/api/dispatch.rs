//! From a frame to its row of the table.
//!
//! Called by the transport for every frame of every connection. Invariant: a frame is answered, or its connection is
//! closed and a line says why, once a minute for each cause: whoever sends garbage must not fill the disk with logs,
//! too. An unsupported version of anything but ApiVersions closes the connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::warn;

use super::call::{Answering, Call, Caller, Started, answer};
use super::context::Context;
use super::heavy::{LIGHT_BODY_BYTES, Turns};
use super::{ApiOptions, api_versions, row};
use crate::broker::{Broker, REPLICA_CLIENT_ID};
use crate::codec::DecodeError;
use crate::protocol::{ApiKey, RequestHeader, split_request};
use crate::transport::{Answer, Handled, OncePerMinute, PendingAnswer, RequestContext, RequestHandler};

/// Serves all APIs of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatch {
    context: Context,
    /// Of clients, and of followers: these must not wait for what clients ask.
    turns: Turns,
    follower_turns: Turns,
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
        let (turns, follower_turns) = (Turns::new(options.requests_bytes_max), Turns::new(options.requests_bytes_max));
        Self { context: Context::new(broker, options), turns, follower_turns, lines: Arc::default() }
    }

    fn call(&self, context: &RequestContext, header: RequestHeader, body: Bytes) -> Call {
        let caller = Caller {
            version: header.api_version,
            listener: context.listener.clone(),
            client_id: header.client_id,
            address: context.peer.ip().to_canonical(),
            body_size: body.len(),
        };
        Call { context: self.context.clone(), caller, correlation_id: header.correlation_id, body }
    }

    /// Whether it says that it is a follower. Clients come to the same listener where no other is named for brokers, and
    /// nobody is known for certain without authentication.
    fn is_follower(&self, caller: &Caller) -> bool {
        let is_for_brokers = *caller.listener == *self.context.broker().options().inter_broker_listener;
        is_for_brokers && caller.client_id.as_deref() == Some(REPLICA_CLIENT_ID)
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
        let size = body.len();
        let call = self.call(context, header, body);
        let malformed = Malformed { lines: Arc::clone(&self.lines), peer: context.peer, api: key.name(), version };
        if key != ApiKey::Produce && size > LIGHT_BODY_BYTES {
            let turns = if self.is_follower(&call.caller) { &self.follower_turns } else { &self.turns };
            let turn = turns.clone().turn(size);
            let answer = async move {
                let turn = turn.await;
                let started = (row.start)(call);
                // What waits for other members would keep others waiting behind it; of its bytes a coordinator keeps what it
                // bounds by itself.
                let _turn = Some(turn).filter(|_| !waits_for_members(key));
                match started {
                    Ok(started) => started.answer().await,
                    Err(cause) => malformed.tell(&cause),
                }
            };
            return pending(key, answer.boxed());
        }
        match (row.start)(call) {
            Ok(Started::Now(answering)) => pending(key, answering),
            Ok(Started::Later(start)) => {
                Handled::Later(start.map(move |started| pending(key, started.answer())).boxed())
            }
            Err(cause) => {
                malformed.tell(&cause);
                Handled::Close
            }
        }
    }

    /// Produces of one connection overlap, and commits of a few offsets: each is in its shards' inboxes when `handle`
    /// returns.
    fn pipelines(&self, frame: &[u8]) -> bool {
        let is_of = |key: ApiKey| frame.first_chunk().is_some_and(|first| i16::from_be_bytes(*first) == key.number());
        is_of(ApiKey::Produce) || is_of(ApiKey::OffsetCommit) && frame.len() <= PIPELINED_COMMIT_BYTES
    }
}

/// How large a commit is that does not wait for those before it: together those of a connection cost about as much as
/// one body of `LIGHT_BODY_BYTES`, and none of them takes a turn, in which they could lose their order.
const PIPELINED_COMMIT_BYTES: usize = 512;
const _: () = assert!(PIPELINED_COMMIT_BYTES <= LIGHT_BODY_BYTES);

/// Whether a request is answered only when other clients have sent theirs.
fn waits_for_members(key: ApiKey) -> bool {
    matches!(key, ApiKey::JoinGroup | ApiKey::SyncGroup)
}

/// Where a request came from that cannot be decoded.
struct Malformed {
    lines: Arc<Lines>,
    peer: SocketAddr,
    api: &'static str,
    version: i16,
}

impl Malformed {
    fn tell(&self, cause: &DecodeError) -> Answer {
        let Self { lines, peer, api, version } = self;
        if let Some(suppressed) = lines.malformed.permit(Instant::now()) {
            warn!(%peer, api, version, %cause, suppressed, "closing: a request is malformed");
        }
        Answer::Close
    }
}

fn pending(key: ApiKey, answer: Answering) -> Handled {
    Handled::Pending(PendingAnswer { api: key.name(), answer })
}
