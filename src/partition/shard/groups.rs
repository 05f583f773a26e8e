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

    /// Groups follow their topics. What is committed for topics that are gone goes too, before anything is for another topic
    /// of the same name.
    pub(super) fn take_image(&mut self, image: Arc<Image>, now: Now, out: &mut Vec<Effect>) {
        let before = std::mem::replace(&mut self.image, image);
        let topics = self.image.since(&before).topics;
        if topics.is_empty() {
            return;
        }
        let (mut gone, mut changed) = (BTreeSet::new(), BTreeSet::new());
        for (_, change) in topics {
            gone.extend(change.before.as_ref().filter(|_| change.after.is_none()).map(|topic| topic.name.clone()));
            changed.extend([change.before, change.after].into_iter().flatten().map(|topic| topic.name));
        }
        let coordinators = self.replicas.values().filter(|replica| replica.coordinator.is_some());
        let coordinators: Vec<PartitionId> = coordinators.map(|replica| replica.id).collect();
        for partition in coordinators {
            self.with(partition, now, out, |replica, turn| {
                if !gone.is_empty() {
                    replica.forget_topics(&gone, turn);
                }
                replica.note_topics(&changed, turn);
            });
        }
    }
}
