//! The administrator: makes the run's topics; in some runs deletes and makes topics again, and deletes records.

use std::time::Duration;

use super::groups::data_partitions;
use super::message::{Answer, Endpoint, Request, RequestId};
use super::{Happening, Knobs, World};
use crate::machines::controller::{
    CreatePartitions, CreateTopics, DeleteTopics, Event as Ask, GrowingTopic, NewTopic, ReplicationFactor, Reply,
    TopicReference,
};
use crate::model::{Offset, PartitionId, TopicId, TopicName};
use crate::verify::history::{Administration, AdministrationKind, Class, ClientId};

/// Who the administrator is on the network.
pub(super) const ADMINISTRATOR: Endpoint = Endpoint::Client(ClientId(9_999));

/// More partitions a topic is not given.
const PARTITIONS_MAX: i32 = 6;

/// See the file's comment.
#[derive(Debug)]
pub(super) struct Administrator {
    /// Topics that are to be made, with their partitions and replicas.
    wanted: Vec<(String, i32, i16)>,
    pending: Option<(RequestId, usize)>,
    /// Whether a topic is to be deleted and made again now.
    recreates: bool,
    /// Whether a topic is to have another partition.
    grows: bool,
}

impl Administrator {
    pub(super) fn new(knobs: &Knobs) -> Self {
        Self { wanted: knobs.topics.clone(), pending: None, recreates: false, grows: false }
    }

    pub(super) fn wants_recreation(&mut self) {
        self.recreates = true;
    }

    pub(super) fn wants_growth(&mut self) {
        self.grows = true;
    }

    /// Whether every topic that is wanted is there.
    pub(super) fn is_done(&self) -> bool {
        self.wanted.is_empty() && self.pending.is_none()
    }
}

impl World {
    /// The administrator's next act.
    pub(super) fn administer(&mut self) {
        let calm = self.chance.millis(40, 400);
        if self.administrator.pending.is_some() {
            self.after(calm, Happening::Administer);
            return;
        }
        if let Some((name, partitions, replicas)) = self.administrator.wanted.first().cloned() {
            self.create(name, partitions, replicas);
            self.after(calm, Happening::Administer);
            return;
        }
        let is_idle = self.is_healed || !self.knobs.administers;
        if std::mem::take(&mut self.administrator.recreates) || (!is_idle && self.chance.one_in(30)) {
            self.delete_some();
        } else if std::mem::take(&mut self.administrator.grows) {
            self.grow_some();
        } else if !is_idle && self.chance.one_in(15) {
            self.trim_some();
        }
        self.after(calm, Happening::Administer);
    }

    fn create(&mut self, name: String, partitions: i32, replicas: i16) {
        let id = TopicId::new(self.chance.uuid());
        let topic = NewTopic {
            id,
            name: name.clone(),
            partitions: Some(partitions),
            replication_factor: ReplicationFactor::Configured(replicas),
            assignments: Vec::new(),
            configs: if name == TopicName::CONSUMER_OFFSETS { Vec::new() } else { self.topic_configs() },
        };
        let seed = self.chance.number();
        let request = CreateTopics { topics: vec![topic], validate_only: false, seed, settled: Vec::new() };
        let replicas = usize::try_from(replicas).ok();
        self.order(Ask::CreateTopics(request), AdministrationKind::CreateTopic { replicas, name, topic: None });
    }

    fn topic_configs(&self) -> Vec<(String, Option<String>)> {
        let retention = self.knobs.retention.map(|span| ("retention.ms", span.as_millis().to_string()));
        let mode = self.knobs.is_volatile.then(|| ("flush.mode", "kafka".to_owned()));
        let policy = if retention.is_some() { "delete,compact" } else { "compact" };
        let compaction = self.knobs.compaction.as_ref();
        let policy = compaction.map(|_| ("cleanup.policy", policy.to_owned()));
        let ratio = compaction.map(|knobs| ("min.cleanable.dirty.ratio", knobs.dirty_ratio.to_owned()));
        let span = |name, of: Option<Duration>| of.map(|span| (name, span.as_millis().to_string()));
        let tombstones = span("delete.retention.ms", compaction.and_then(|knobs| knobs.delete_retention));
        let lag = span("max.compaction.lag.ms", compaction.and_then(|knobs| knobs.lag_max));
        retention
            .into_iter()
            .chain(mode)
            .chain(policy)
            .chain(ratio)
            .chain(tombstones)
            .chain(lag)
            .map(|(name, value)| (name.to_owned(), Some(value)))
            .collect()
    }

    fn any_topic(&mut self) -> Option<(TopicId, String)> {
        let image = self.quorum.image();
        let topics = image.topics().topics().filter(|topic| !topic.name.is_internal());
        let topics: Vec<_> = topics.map(|topic| (topic.id, topic.name.as_str().to_owned())).collect();
        (!topics.is_empty()).then(|| self.chance.pick(&topics).clone())
    }

    /// Deletes a topic; one of the run's own is wanted again.
    fn delete_some(&mut self) {
        let Some((topic, name)) = self.any_topic() else { return };
        let again = self.knobs.topics.iter().find(|(wanted, ..)| *wanted == name).cloned();
        let request = DeleteTopics { topics: vec![TopicReference::Id(topic)], settled: Vec::new() };
        self.administrator.wanted.extend(again);
        self.order(Ask::DeleteTopics(request), AdministrationKind::DeleteTopic { topic });
    }

    /// Gives a topic another partition, unless it has many.
    fn grow_some(&mut self) {
        let Some((topic, name)) = self.any_topic() else { return };
        let image = self.quorum.image();
        let count = i32::try_from(image.topics().partitions_of(topic).count()).expect("a small number") + 1;
        if count > PARTITIONS_MAX {
            return;
        }
        let growing = GrowingTopic { name, count, assignments: None };
        let (topics, seed) = (vec![growing], self.chance.number());
        let request = CreatePartitions { topics, validate_only: false, seed, settled: Vec::new() };
        self.order(Ask::CreatePartitions(request), AdministrationKind::CreatePartitions { topic, count });
    }

    /// Deletes the older records of a partition.
    fn trim_some(&mut self) {
        let image = self.quorum.image();
        let all: Vec<(PartitionId, _)> =
            data_partitions(&image).filter_map(|(id, state)| Some((id, state.leader?))).collect();
        if all.is_empty() {
            return;
        }
        let (partition, leader) = *self.chance.pick(&all);
        let end = self.observer.committed_end(partition).get();
        let before = Offset::new(self.chance.below(usize::try_from(end).unwrap_or(0) + 1) as i64);
        let what = AdministrationKind::DeleteRecords { partition, before };
        self.note(what);
        let id = self.ask_endpoint(ADMINISTRATOR, Endpoint::Node(leader), Request::Trim { partition, before });
        self.await_answer(id);
    }

    fn order(&mut self, event: Ask, what: AdministrationKind) {
        let node = self.any_node();
        self.note(what);
        let body = Request::Control(Box::new(event));
        let id = self.ask_endpoint(ADMINISTRATOR, Endpoint::Node(node), body);
        self.await_answer(id);
    }

    fn note(&mut self, what: AdministrationKind) {
        let (invoked, returned, class) = (self.now, None, Class::Info);
        self.record.history.administrations.push(Administration { what, invoked, returned, class });
    }

    fn await_answer(&mut self, id: RequestId) {
        let entry = self.record.history.administrations.len() - 1;
        self.administrator.pending = Some((id, entry));
        self.after(Duration::from_secs(6), Happening::ClientTimeout(ADMINISTRATOR, id));
    }

    pub(super) fn administer_answer(&mut self, id: RequestId, body: Option<(Endpoint, Answer)>) {
        let Some((_, entry)) = self.administrator.pending.take_if(|(own, _)| *own == id) else { return };
        let class = match body.map(|(_, body)| body) {
            Some(Answer::Controlled(reply)) => {
                if let Reply::CreateTopics(answers) = &*reply
                    && let Some((_, Ok(created))) = answers.first()
                    && let AdministrationKind::CreateTopic { topic, .. } =
                        &mut self.record.history.administrations[entry].what
                {
                    *topic = Some(created.id);
                }
                self.ordered(*reply)
            }
            // Clients cannot delete records yet: the leader alone has moved its start, and nothing is promised. Nor by a
            // refusal: an earlier sending may come yet.
            Some(_) | None => Class::Info,
        };
        let entry = &mut self.record.history.administrations[entry];
        (entry.returned, entry.class) = (Some(self.now), class);
    }

    /// What the controller said; a topic that exists by now is wanted no more.
    fn ordered(&mut self, reply: Reply) -> Class {
        match reply {
            Reply::CreateTopics(answers) => {
                let is_made = answers.iter().all(|(_, answer)| answer.is_ok());
                let exists = answers.iter().any(|(_, answer)| {
                    matches!(answer, Err(crate::machines::controller::TopicRefusal::AlreadyExists { .. }))
                });
                if (is_made || exists) && !self.administrator.wanted.is_empty() {
                    self.administrator.wanted.remove(0);
                }
                if is_made { Class::Ok } else { Class::Info }
            }
            Reply::DeleteTopics(answers) => {
                // What is refused now may have been done by an earlier sending.
                if answers.iter().all(|(_, answer)| answer.is_ok()) { Class::Ok } else { Class::Info }
            }
            Reply::CreatePartitions(answers) => {
                if answers.each.iter().all(|(_, answer)| answer.is_ok()) {
                    Class::Ok
                } else {
                    Class::Info
                }
            }
            Reply::Nothing
            | Reply::Register(_)
            | Reply::Heartbeat(_)
            | Reply::AlterIsr(_)
            | Reply::AlterConfigs(_)
            | Reply::Unregister(_)
            | Reply::AllocateProducers(_) => Class::Info,
        }
    }
}
