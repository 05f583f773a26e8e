//! Answers other nodes' quorums.
//!
//! Called by `transport`, through `Quorum::handle`, for every quorum frame.
//! Invariants: a request meant for another cluster or another directory is refused before it is looked at; a voter
//! whose disk was replaced gets no vote until the quorum has replaced its old identity.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::Snapshot;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};

use super::core::{Core, is_voter, leads, member};
use super::election;
use super::envelope::{self, Kind};
use super::founding;
use super::members;
use super::message::{Answer, Ask, Chunk, Identity, Refusal, Request};
use super::types::{Metrics, Raft, raft_id};
use crate::model::DirectoryId;
use crate::probe::{Mutant, planted};
use crate::threads;

/// How long a watch is held; the watcher waits a little longer.
pub(crate) const WATCH_HELD: Duration = Duration::from_secs(20);

/// Answers one frame.
pub(crate) async fn handle(core: &Arc<Core>, frame: &[u8]) -> Bytes {
    let answer = match envelope::decode::<Request>(Kind::Request, frame) {
        Ok(request) => match refuse(core, &request) {
            Some(refusal) => Answer::Refused(refusal),
            None => carry_out(core, request.from, request.body).await.unwrap_or_else(Answer::Refused),
        },
        Err(error) => Answer::Refused(Refusal::Unreadable { reason: error.to_string() }),
    };
    let frame = envelope::encode(Kind::Response, &answer).expect("an answer is far below the limit of its kind");
    Bytes::from(frame)
}

/// Why a request is not to be looked at.
fn refuse(core: &Core, request: &Request) -> Option<Refusal> {
    let links = &core.links;
    if let (Some(cluster), Some(theirs)) = (links.cluster(), request.cluster)
        && cluster != theirs
    {
        return Some(Refusal::OtherCluster { cluster });
    }
    if request.to.is_some_and(|to| to != links.me.directory) && !planted(Mutant::ReplacedVoterVotes) {
        return Some(Refusal::NotMe { me: links.me });
    }
    let known = replaced_voter(core, request.from).filter(|_| !planted(Mutant::ReplacedVoterVotes))?;
    match request.body {
        // A leader was voted for under its present identity; this node's membership may lag behind.
        Ask::Append(_)
        | Ask::SnapshotChunk(_)
        | Ask::Founding { .. }
        | Ask::Join { .. }
        | Ask::Probe
        | Ask::Watch { .. }
        | Ask::Describe => None,
        Ask::Vote(_) | Ask::PreVote(_) | Ask::ReadIndex | Ask::Campaign { .. } => {
            Some(Refusal::ReplacedVoter { known })
        }
    }
}

/// The directory under which the membership knows `from` as a voter, if that is another one than it has.
pub(crate) fn replaced_voter(core: &Core, from: Identity) -> Option<DirectoryId> {
    if from.node.get() < 0 {
        return Some(DirectoryId::ZERO);
    }
    let metrics = core.metrics();
    let id = raft_id(from.node);
    let known = member(&metrics, id).filter(|_| is_voter(&metrics, id))?.directory;
    (known != from.directory).then_some(known)
}

async fn carry_out(core: &Arc<Core>, from: Identity, ask: Ask) -> Result<Answer, Refusal> {
    match ask {
        Ask::Append(request) => append(core, request).await,
        Ask::Vote(request) => vote(core, request).await,
        Ask::SnapshotChunk(chunk) => take_chunk(core, chunk).await,
        Ask::PreVote(ask) => Ok(Answer::PreVote(election::answer(core, raft_id(from.node), ask).await)),
        Ask::Founding { voters: _ } => Ok(Answer::Founding(founding::answer(core, from).await?)),
        Ask::Join { address } => members::take_in(core, from, address).await.map(|()| Answer::Joined),
        Ask::ReadIndex => read_index(core).await,
        Ask::Campaign { term } => campaign(core, term),
        Ask::Probe => Ok(Answer::Done),
        Ask::Watch { term } => Ok(watch(core, term).await),
        Ask::Describe => describe(core),
    }
}

async fn append(core: &Core, request: AppendEntriesRequest<Raft>) -> Result<Answer, Refusal> {
    let vote = request.vote;
    // A sign of life from the moment it arrives: the append itself may wait for a slow disk.
    if core.raft.metrics().borrow().vote <= vote {
        core.links.contacts.hear(&vote, core.now());
    }
    let response = core.raft.append_entries(request).await.map_err(|e| stopped(&e))?;
    if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
        core.links.contacts.hear(&vote, core.now());
    }
    Ok(Answer::Append(response))
}

async fn vote(core: &Core, request: VoteRequest<u64>) -> Result<Answer, Refusal> {
    let vote = request.vote;
    core.links.contacts.begin_vote(vote);
    let response = core.raft.vote(request).await.map_err(|e| stopped(&e))?;
    if !response.vote_granted {
        core.links.contacts.refuse_vote(vote);
    }
    Ok(Answer::Vote(response))
}

async fn take_chunk(core: &Core, chunk: Chunk) -> Result<Answer, Refusal> {
    if core.raft.metrics().borrow().vote <= chunk.vote {
        core.links.contacts.hear(&chunk.vote, core.now());
    }
    let snapshots = core.snapshots.clone();
    let taken = threads::blocking(move || snapshots.take_chunk(chunk.transfer, chunk.offset, &chunk.bytes));
    let file = taken.await.expect("taking a chunk does not panic");
    let file = file.map_err(|e| Refusal::Failed { reason: e.to_string() })?;
    if !chunk.is_last {
        return Ok(Answer::ChunkTaken);
    }
    let snapshot = Snapshot { meta: chunk.meta, snapshot: Box::new(file) };
    let installed = core.raft.install_full_snapshot(chunk.vote, snapshot).await;
    installed.map(Answer::Snapshot).map_err(|e| stopped(&e))
}

async fn read_index(core: &Core) -> Result<Answer, Refusal> {
    let not_leader = || Refusal::NotLeader { leader: core.leader() };
    let (index, _) = core.raft.get_read_log_id().await.map_err(|_| not_leader())?;
    Ok(Answer::ReadIndex { index: index.map(|id| id.index) })
}

fn describe(core: &Core) -> Result<Answer, Refusal> {
    let described = super::describe::describe_as_leader(core).ok_or(Refusal::NotLeader { leader: core.leader() })?;
    Ok(Answer::Described(Box::new(described)))
}

/// The leader of `term` is leaving and asks this node to follow it.
fn campaign(core: &Arc<Core>, term: u64) -> Result<Answer, Refusal> {
    let metrics = core.metrics();
    if metrics.current_term != term || leads(&metrics) {
        return Err(Refusal::NotLeader { leader: core.leader() });
    }
    let core = Arc::clone(core);
    tokio::spawn(async move { election::succeed(&core, term).await });
    Ok(Answer::Done)
}

/// Answers when this node does not lead in `term` any more, or after a while. The connection on which the answer is
/// waited for tells of this process's death sooner than any silence.
async fn watch(core: &Core, term: u64) -> Answer {
    let gone = |m: &Metrics| m.current_term != term || !leads(m);
    let _ = core.raft.wait(Some(WATCH_HELD)).metrics(gone, "leadership ends").await;
    Answer::Done
}

pub(crate) fn stopped(error: &dyn std::error::Error) -> Refusal {
    Refusal::Stopped { reason: error.to_string() }
}
