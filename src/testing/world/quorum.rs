//! A stand-in for the quorum: one log of proposals, a leader per term, delays, and what may happen to a proposal when
//! its leader is gone.
//!
//! Driven by the world. Invariant: what is committed stays, in one order; a proposal of a lost leader is committed
//! later or never, and nobody is told which.

use std::sync::Arc;
use std::time::Duration;

use crate::machines::metadata::{Applied, Image, Proposal};
use crate::model::{ClusterId, Instant, LogIndex, NodeId, Term};

/// Names one proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProposalId(pub(super) u64);

/// A proposal that is not committed.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) id: ProposalId,
    pub(super) term: Term,
    pub(super) proposal: Proposal,
    pub(super) since: Instant,
}

/// One committed entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) term: Term,
    /// `None` for a blank one, with which a term begins.
    pub(super) proposal: Option<Proposal>,
    pub(super) at: Instant,
    /// The image with it.
    pub(super) image: Arc<Image>,
    pub(super) applied: Applied,
}

/// See the file's comment.
#[derive(Debug)]
pub(super) struct Quorum {
    entries: Vec<Entry>,
    pub(super) term: Term,
    pub(super) leader: Option<NodeId>,
    /// Since when the leader lacks a majority, or there is none.
    pub(super) lost_since: Option<Instant>,
    pending: Vec<Pending>,
    proposals: u64,
    /// What one proposal may hold (rule S14).
    bytes_max: usize,
    /// Nothing is committed before.
    pub(super) stalls_until: Instant,
}

impl Quorum {
    /// An empty log but for the cluster's identity.
    pub(super) fn new(cluster: ClusterId, bytes_max: usize, now: Instant) -> Self {
        let mut quorum = Self {
            entries: Vec::new(),
            term: Term::new(1),
            leader: None,
            lost_since: Some(now),
            pending: Vec::new(),
            proposals: 0,
            bytes_max,
            stalls_until: now,
        };
        let record = crate::machines::metadata::Record::ClusterFormed { cluster };
        let proposal = Proposal { term: Term::new(1), base: LogIndex::new(0), records: vec![record] };
        quorum.commit(Some(proposal), now);
        quorum
    }

    /// The image of everything that is committed.
    pub(super) fn image(&self) -> Arc<Image> {
        self.entries.last().map(|entry| Arc::clone(&entry.image)).unwrap_or_default()
    }

    pub(super) fn last(&self) -> LogIndex {
        LogIndex::new(u64::try_from(self.entries.len()).expect("a short log"))
    }

    pub(super) fn entry(&self, index: LogIndex) -> &Entry {
        &self.entries[usize::try_from(index.get()).expect("a short log") - 1]
    }

    /// The image up to an index; index 0 is the empty one.
    pub(super) fn image_at(&self, index: LogIndex) -> Arc<Image> {
        if index.get() == 0 { Arc::default() } else { Arc::clone(&self.entry(index).image) }
    }

    /// A leader proposes in its term.
    pub(super) fn propose(&mut self, term: Term, proposal: Proposal, now: Instant) -> ProposalId {
        self.proposals += 1;
        let id = ProposalId(self.proposals);
        // What a deposed leader proposes is in nobody's log but its own, and is cut off there. What is larger than an
        // append between voters never gets there.
        let bytes: usize = proposal.records.iter().map(crate::machines::metadata::Record::size_max).sum();
        if term == self.term && bytes <= self.bytes_max {
            self.pending.push(Pending { id, term, proposal, since: now });
        }
        id
    }

    /// For how long a proposal has been waiting; for ever, if it is no more.
    pub(super) fn age(&self, id: ProposalId, now: Instant) -> Duration {
        self.pending.iter().find(|pending| pending.id == id).map_or(Duration::MAX, |pending| now.since(pending.since))
    }

    /// Commits a pending proposal, if it is still there and of the present term. What became of it.
    pub(super) fn settle(&mut self, id: ProposalId, now: Instant) -> Option<(LogIndex, Applied)> {
        let at = self.pending.iter().position(|pending| pending.id == id && pending.term == self.term)?;
        let pending = self.pending.remove(at);
        Some(self.commit(Some(pending.proposal), now))
    }

    /// A new term begins: what the old leaders left uncommitted survives where `survives` says so, in its order.
    pub(super) fn begin_term(&mut self, leader: NodeId, now: Instant, mut survives: impl FnMut() -> bool) {
        self.term = Term::new(self.term.get() + 1);
        (self.leader, self.lost_since) = (Some(leader), None);
        for pending in std::mem::take(&mut self.pending) {
            if survives() {
                self.commit(Some(pending.proposal), now);
            }
        }
        self.commit(None, now);
    }

    fn commit(&mut self, proposal: Option<Proposal>, at: Instant) -> (LogIndex, Applied) {
        let mut image = Image::clone(&self.image());
        let index = LogIndex::new(self.last().get() + 1);
        let applied = match &proposal {
            Some(proposal) => image.apply(index, proposal),
            None => {
                image.pass(index);
                Applied::Dropped
            }
        };
        let term = self.term;
        self.entries.push(Entry { term, proposal, at, image: Arc::new(image), applied });
        (index, applied)
    }
}
