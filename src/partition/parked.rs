//! What is told to those who wait for something to be committed, when that ends.
//!
//! Part of `Replica`. Invariant: whatever is parked was written, or read from what was.

use crate::machines::group::{self, Refusal};
use crate::machines::replication::{Ending, Ticket};

use super::effect::{Acked, AppendRefusal, Effect, Reply};

/// An answer that waits.
#[derive(Debug)]
pub(super) enum Parked {
    /// To a produce.
    Append(Acked),
    /// To a request about groups.
    Group(Box<group::Reply>),
}

impl Parked {
    /// The answer, now that it is known how it ends.
    pub(super) fn ended(self, ticket: Ticket, ending: Ending) -> Effect {
        let reply = match self {
            Self::Append(acked) => Reply::Append(append_outcome(acked, ending)),
            Self::Group(reply) => Reply::Group(group_outcome(*reply, ending)),
        };
        Effect::Reply { ticket, reply }
    }
}

fn append_outcome(acked: Acked, ending: Ending) -> Result<Acked, AppendRefusal> {
    match ending {
        Ending::Done => Ok(acked),
        Ending::NotEnoughReplicas => Err(AppendRefusal::NotEnoughReplicasAfterAppend),
        Ending::TimedOut => Err(AppendRefusal::TimedOut),
        Ending::NotLeader => Err(AppendRefusal::NotLeader),
        Ending::Offline => Err(AppendRefusal::Offline),
    }
}

fn group_outcome(reply: group::Reply, ending: Ending) -> group::Reply {
    match ending {
        Ending::Done => reply,
        Ending::NotEnoughReplicas | Ending::TimedOut => reply.refused(Refusal::Unavailable),
        Ending::NotLeader | Ending::Offline => reply.refused(Refusal::NotCoordinator),
    }
}
