//! What a shard does for the coordinators on its replicas.
//!
//! Part of `Shard`. Invariant: a request for a partition that is not here is answered, too.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Shard;
use crate::machines::group::{Call, Refusal};
use crate::machines::metadata::Image;
use crate::machines::replication::Ticket;
use crate::model::{Now, PartitionId};
use crate::partition::effect::{Effect, Reply};

impl Shard {
    /// A request to the coordinator on a partition, if that is here.
    pub(super) fn group(
        &mut self,
        ticket: Ticket,
        partition: PartitionId,
        call: Call,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if !self.replicas.contains_key(&partition) {
            let reply = Reply::Group(call.refused(Refusal::NotCoordinator));
            out.push(Effect::Reply { ticket, reply });
            return;
        }
        self.with(partition, now, out, |replica, turn| replica.on_group(ticket, call, turn));
    }

    /// Groups follow their topics, and what is committed for topics that are gone goes too.
    pub(super) fn take_image(&mut self, image: Arc<Image>, now: Now, out: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.image, image);
        let topics = self.image.since(&before).topics;
        if topics.is_empty() {
            return;
        }
        let both = topics.into_iter().flat_map(|(_, change)| [change.before, change.after]);
        let changed: BTreeSet<_> = both.flatten().map(|topic| topic.name).collect();
        let coordinators = self.replicas.values().filter(|replica| replica.coordinator.is_some());
        let coordinators: Vec<PartitionId> = coordinators.map(|replica| replica.id).collect();
        for partition in coordinators {
            self.with(partition, now, out, |replica, turn| replica.note_topics(&changed, turn));
        }
    }
}
