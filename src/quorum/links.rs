//! Asks other nodes: envelope, identity, timeout.
//!
//! Called by `network.rs` for openraft, and by elections, founding, joins and barriers.
//! Invariant: an answer that does not belong to the question is an error, never a value.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::contact::Contacts;
use super::envelope::{self, EnvelopeError, Kind};
use super::message::{Answer, Ask, Identity, Refusal, Request};
use super::options::QuorumOptions;
use super::peer::{CallError, PeerCaller};
use super::types::{Member, raft_id};
use crate::env::Clock;
use crate::machines::metadata::Image;
use crate::model::{ClusterId, DirectoryId, NodeId};

/// Why a question brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("an answer of another kind")]
    OtherAnswer,
    #[error("it has lost entries that it acknowledged")]
    Regressed,
}

/// The way to other nodes, and what is known of them.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) me: Identity,
    pub(crate) options: QuorumOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) contacts: Contacts,
    pub(crate) images: watch::Receiver<Arc<Image>>,
    /// Members found to have lost what they acknowledged, for `members.rs`. Full: they will be found again.
    pub(crate) regressed: mpsc::Sender<u64>,
    pub(crate) peers: Arc<dyn PeerCaller>,
}

/// One node to ask.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    /// `None`: whoever answers there.
    pub(crate) directory: Option<DirectoryId>,
    pub(crate) address: String,
}

impl Links {
    /// The cluster's id, once it is known here.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.images.borrow().cluster()
    }

    /// This node's raft id.
    pub(crate) fn id(&self) -> u64 {
        raft_id(self.me.node)
    }

    /// A member as a node to ask. The configured address goes before the one the member joined with: names move.
    pub(crate) fn peer(&self, node: NodeId, member: &Member) -> Peer {
        let configured = self.options.voters.iter().find(|voter| voter.node == node);
        let address = configured.map_or_else(|| member.address.clone(), |voter| voter.address.clone());
        Peer { node, directory: Some(member.directory), address }
    }

    /// Asks `peer`, for at most `timeout`.
    pub(crate) async fn ask(&self, peer: &Peer, body: Ask, timeout: Duration) -> Result<Answer, LinkError> {
        let request = Request { cluster: self.cluster(), from: self.me, to: peer.directory, body };
        let frame = envelope::encode(Kind::Request, &request)?;
        let answer = self.peers.call(peer.node, &peer.address, Bytes::from(frame), timeout).await?;
        let answer = envelope::decode(Kind::Response, &answer)?;
        if let Answer::Refused(refusal) = answer { Err(LinkError::Refused(refusal)) } else { Ok(answer) }
    }
}
