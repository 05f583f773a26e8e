//! openraft's network trait over our links.
//!
//! Called by openraft's replication and vote tasks.
//! Invariants: nothing is kept between calls, so a dropped call desynchronises nothing (trap 7); a follower that
//! answers for another directory, or has lost what it acknowledged, never reaches openraft's progress, where it would
//! be a panic or an underflow (rule S13).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use openraft::error::{
    Fatal, InstallSnapshotError, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, SnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{LogIdOptionExt as _, Snapshot};

use super::contact::{Answered, Held};
use super::links::{LinkError, Links, Peer};
use super::message::{Answer, Ask, Chunk};
use super::peer::CallError;
use super::snapshot::SnapshotDir;
use super::types::{Member, Raft, Vote, node_id};
use crate::threads;

/// A chunk of a snapshot is answered within this; the last one after the image is read and installed.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);

type RpcError<E> = RPCError<u64, Member, RaftError<u64, E>>;

/// Makes the way to one node.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) links: Arc<Links>,
    pub(crate) snapshots: SnapshotDir,
}

/// The way to one node.
#[derive(Debug)]
pub(crate) struct PeerNetwork {
    links: Arc<Links>,
    snapshots: SnapshotDir,
    target: u64,
    peer: Peer,
    /// Whether its last append failed: told once, when it begins and when it ends.
    is_lost: bool,
}

impl RaftNetworkFactory<Raft> for Network {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: u64, node: &Member) -> PeerNetwork {
        let peer = self.links.peer(node_id(target), node);
        PeerNetwork { links: Arc::clone(&self.links), snapshots: self.snapshots.clone(), target, peer, is_lost: false }
    }
}

impl PeerNetwork {
    /// Refusals and lost connections make openraft back off; a timeout has waited already.
    fn error<E: std::error::Error>(&self, error: &LinkError) -> RpcError<E> {
        tracing::debug!(node = %self.peer.node, address = self.peer.address, %error, "quorum call failed");
        match error {
            LinkError::Call(CallError::TimedOut) => RPCError::Network(NetworkError::new(error)),
            LinkError::Call(_)
            | LinkError::Envelope(_)
            | LinkError::Refused(_)
            | LinkError::OtherAnswer
            | LinkError::Regressed => RPCError::Unreachable(Unreachable::new(error)),
        }
    }

    async fn append(
        &self,
        rpc: AppendEntriesRequest<Raft>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, LinkError> {
        let sent = Sent {
            vote: rpc.vote,
            at: self.links.clock.now().instant,
            prev: rpc.prev_log_id,
            last: rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id),
        };
        let answer = self.links.ask(&self.peer, Ask::Append(rpc), option.hard_ttl()).await?;
        let Answer::Append(response) = answer else { return Err(LinkError::OtherAnswer) };
        if self.note(&sent, &response) { Ok(response) } else { Err(LinkError::Regressed) }
    }

    /// Tells the operator when the member begins to fail and when it follows again: openraft would at every try.
    fn tell(&mut self, failure: Option<&LinkError>) {
        let was_lost = std::mem::replace(&mut self.is_lost, failure.is_some());
        match failure {
            Some(error) if !was_lost => {
                tracing::warn!(node = %self.peer.node, address = self.peer.address, %error, "a member of the quorum does not follow");
            }
            None if was_lost => tracing::info!(node = %self.peer.node, "a member of the quorum follows again"),
            Some(_) | None => {}
        }
    }

    /// Notes what the answer says of the follower. False: it cannot be true (rule S13).
    fn note(&self, request: &Sent, response: &AppendEntriesResponse<u64>) -> bool {
        let held = match response {
            AppendEntriesResponse::Success => Held::All(request.last.next_index()),
            AppendEntriesResponse::PartialSuccess(matching) => Held::All(matching.next_index()),
            AppendEntriesResponse::Conflict => Held::NotBelow(request.prev.next_index()),
            AppendEntriesResponse::HigherVote(_) => return true,
        };
        let answered = Answered { from: self.target, vote: request.vote, sent: request.at, held };
        let contacts = &self.links.contacts;
        let credible = contacts.acknowledge(answered, request.last.next_index(), self.links.clock.now());
        if !credible {
            tracing::error!(node = %self.peer.node, "a member has lost entries that it acknowledged");
            // Full: it will be found again with the next append.
            let _ = self.links.regressed.try_send(self.target);
        }
        credible
    }
}

/// What an append request said.
struct Sent {
    vote: Vote,
    at: crate::model::Instant,
    prev: Option<super::types::LogId>,
    last: Option<super::types::LogId>,
}

impl RaftNetwork<Raft> for PeerNetwork {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Raft>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RpcError<openraft::error::Infallible>> {
        let outcome = self.append(rpc, option).await;
        self.tell(outcome.as_ref().err());
        outcome.map_err(|error| self.error(&error))
    }

    async fn install_snapshot(
        &mut self,
        _: InstallSnapshotRequest<Raft>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, RpcError<InstallSnapshotError>> {
        Err(self.error(&LinkError::OtherAnswer))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RpcError<openraft::error::Infallible>> {
        let answer = self.links.ask(&self.peer, Ask::Vote(rpc), option.hard_ttl()).await;
        let Answer::Vote(response) = answer.map_err(|e| self.error(&e))? else {
            return Err(self.error(&LinkError::OtherAnswer));
        };
        Ok(response)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<Raft>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Raft, Fatal<u64>>> {
        match select(pin!(cancel), pin!(self.send_snapshot(vote, snapshot))).await {
            Either::Left((closed, _)) => Err(StreamingError::Closed(closed)),
            Either::Right((result, _)) => result,
        }
    }

    fn backoff(&self) -> Backoff {
        // A node that comes back is found within this, and its absence costs this many dials.
        Backoff::new(std::iter::repeat(Duration::from_millis(100)))
    }
}

impl PeerNetwork {
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot<Raft>,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Raft, Fatal<u64>>> {
        let unreachable = |error: &LinkError| StreamingError::Unreachable(Unreachable::new(error));
        let transfer = self.links.clock.now().instant.as_nanos() ^ self.links.id().rotate_right(8);
        let mut offset = 0;
        loop {
            let (snapshots, file) = (self.snapshots.clone(), snapshot.snapshot.clone());
            let read = threads::blocking(move || snapshots.chunk(&file, offset)).await;
            let read = read.expect("reading a chunk does not panic");
            // A newer snapshot has taken this one's place: openraft asks again and gets that.
            let (bytes, length) = read.map_err(|e| StreamingError::Unreachable(Unreachable::new(&e)))?;
            let taken = bytes.len() as u64;
            let is_last = offset + taken >= length;
            let chunk = Chunk { vote, meta: snapshot.meta.clone(), transfer, offset, bytes, is_last };
            let answer = self.links.ask(&self.peer, Ask::SnapshotChunk(chunk), CHUNK_TIMEOUT).await;
            let answer = answer.map_err(|e| unreachable(&e))?;
            if let Answer::Snapshot(response) = answer {
                return Ok(response);
            }
            if is_last || !matches!(answer, Answer::ChunkTaken) {
                return Err(unreachable(&LinkError::OtherAnswer));
            }
            offset += taken;
        }
    }
}
