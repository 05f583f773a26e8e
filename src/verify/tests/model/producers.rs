//! The model's producers: idempotent and plain ones, with acks=all and acks=1, that retry, give up and die.

use super::replicas::{Record, digest};
use super::{MILLISECOND, World, offset};
use crate::model::{LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::verify::history::{Class, ClientId, Send, Session, ValueId};

/// Batches of one producer that are open at a time.
const OPEN_MAX: usize = 3;

/// A producer of one partition.
pub(super) struct Producer {
    client: ClientId,
    partition: usize,
    /// `None` of a plain one.
    session: Option<Session>,
    next_sequence: Sequence,
    next_order: u64,
    acks: Acks,
    open_max: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Acks {
    All,
    One,
}

/// Values that go together.
pub(super) struct Batch {
    producer: usize,
    /// In `history.sends`.
    first: usize,
    count: usize,
    session: Option<(Session, Sequence)>,
    is_open: bool,
    /// Whether an attempt may have had an effect that nobody told.
    is_tainted: bool,
}

/// One request on its way.
pub(super) struct Attempt {
    batch: usize,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    OnTheWay,
    Waiting { node: NodeId, life: u32, epoch: LeaderEpoch, base: usize },
}

/// How a leader takes a request.
enum Taken {
    Refused,
    At(usize),
}

impl World {
    /// One or two producers for each partition.
    pub(super) fn hire(&mut self) {
        for partition in 0..self.partitions.len() {
            for kind in 0..self.random.between(1, 3) {
                let client = ClientId(u32::try_from(self.producers.len()).expect("there are few clients"));
                let id = ProducerId::new(i64::from(client.0) + 1000);
                let session = Session { producer: id, epoch: ProducerEpoch::new(0) };
                let is_idempotent = kind == 0 || self.random.chance(30);
                let acks = if kind == 0 || self.random.chance(60) { Acks::All } else { Acks::One };
                self.producers.push(Producer {
                    client,
                    partition,
                    session: is_idempotent.then_some(session),
                    next_sequence: Sequence::new(0),
                    next_order: 0,
                    acks,
                    open_max: self.random.between(1, OPEN_MAX),
                });
            }
            self.hire_consumers(partition);
        }
    }

    pub(super) fn begin_batch(&mut self) {
        let producer = self.random.below(self.producers.len());
        self.begin_batch_of(producer);
    }

    /// Begins a batch, if its producer may. Returns which.
    pub(super) fn begin_batch_of(&mut self, producer: usize) -> Option<usize> {
        let open = self.batches.iter().filter(|batch| batch.is_open && batch.producer == producer).count();
        let place = &self.producers[producer];
        if open >= place.open_max || self.partitions[place.partition].is_deleted {
            return None;
        }
        let count = self.random.between(1, 3);
        let first = self.history.sends.len();
        let session = self.producers[producer].session.map(|session| (session, self.producers[producer].next_sequence));
        for at in 0..count {
            self.begin_send(producer, session.map(|(session, first)| (session, plus(first, at))));
        }
        self.producers[producer].next_sequence = plus(self.producers[producer].next_sequence, count);
        self.batches.push(Batch { producer, first, count, session, is_open: true, is_tainted: false });
        let batch = self.batches.len() - 1;
        self.attempts.push(Attempt { batch, stage: Stage::OnTheWay });
        Some(batch)
    }

    fn begin_send(&mut self, producer: usize, session: Option<(Session, Sequence)>) {
        self.values += 1;
        let value = ValueId(self.values);
        let producer = &mut self.producers[producer];
        let order = producer.next_order;
        producer.next_order += 1;
        self.history.sends.push(Send {
            value,
            client: producer.client,
            partition: self.partitions[producer.partition].id,
            session,
            order,
            alone: false,
            invoked: crate::model::Instant::from_nanos(self.now),
            returned: None,
            class: Class::Info,
            offset: None,
            attempts: 1,
            answered_by: None,
            digest: digest(value),
            keyed: None,
        });
    }

    /// A request arrives at some node, or gets lost.
    pub(super) fn deliver(&mut self) {
        let on_the_way = |attempt: &Attempt| matches!(attempt.stage, Stage::OnTheWay);
        let waiting: Vec<usize> = (0..self.attempts.len()).filter(|at| on_the_way(&self.attempts[*at])).collect();
        let Some(at) = self.random.pick(&waiting).copied() else { return };
        let batch = self.attempts[at].batch;
        let partition = self.producers[self.batches[batch].producer].partition;
        if self.partitions[partition].is_deleted || self.random.chance(5) {
            self.lose(at);
            return;
        }
        let leaders: Vec<NodeId> = self.leaders_in_their_view(partition);
        let stranger = self.some_node();
        let target = self.random.pick(&leaders).copied().filter(|_| !self.random.clone().chance(5)).unwrap_or(stranger);
        self.deliver_to(at, target);
    }

    pub(super) fn leaders_in_their_view(&self, partition: usize) -> Vec<NodeId> {
        let replicas = self.partitions[partition].replicas.iter();
        let leads = replicas.filter(|(node, replica)| self.nodes[node].is_up && replica.lead.is_some());
        leads.map(|(node, _)| *node).collect()
    }

    fn deliver_to(&mut self, at: usize, node: NodeId) {
        let batch = self.attempts[at].batch;
        let partition = self.producers[self.batches[batch].producer].partition;
        if !self.nodes[&node].is_up {
            // Never left: whatever happened before decides.
            self.attempts.remove(at);
            return;
        }
        let Some(epoch) = self.partitions[partition].replicas[&node].leads_in() else {
            self.lose(at);
            return;
        };
        match self.take(partition, node, batch) {
            Taken::Refused => {
                self.attempts.remove(at);
            }
            Taken::At(base) if self.producers[self.batches[batch].producer].acks == Acks::One => {
                self.attempts.remove(at);
                self.end(batch, Class::Weak, Some((base, node, epoch)));
            }
            Taken::At(base) => {
                let life = self.nodes[&node].life;
                self.attempts[at].stage = Stage::Waiting { node, life, epoch, base };
            }
        }
    }

    /// A leader judges a batch, and writes it.
    fn take(&mut self, partition: usize, node: NodeId, batch: usize) -> Taken {
        let Batch { producer, first, count, session, .. } = self.batches[batch];
        let replica = self.partitions[partition].replicas.get_mut(&node).expect("every node has a replica");
        if self.producers[producer].acks == Acks::All && !replica.has_enough() {
            return Taken::Refused;
        }
        if let Some((session, sequence)) = session {
            let written = replica.log.iter().position(|record| record.session == Some((session, sequence)));
            if let Some(at) = written {
                return Taken::At(at);
            }
            let expected = replica.last_of(session).map_or(Sequence::new(0), |last| last.plus(1));
            if replica.fences(session) || sequence != expected {
                return Taken::Refused;
            }
        }
        let base = replica.log.len();
        let epoch = replica.leads_in().expect("it was asked whether it leads");
        for at in 0..count {
            let jitter = i64::try_from(self.random.below(5)).expect("it is below 5");
            let timestamp = Timestamp::new(i64::try_from(self.now / MILLISECOND).expect("a run is short") + jitter);
            replica.log.push(Record {
                value: self.history.sends[first + at].value,
                session: session.map(|(session, first)| (session, plus(first, at))),
                epoch,
                timestamp,
                before: at,
                behind: count - 1 - at,
            });
        }
        Taken::At(base)
    }

    /// Answers a request that waits at its leader, if its fate is known.
    pub(super) fn answer(&mut self) {
        let at_a_node = |attempt: &Attempt| matches!(attempt.stage, Stage::Waiting { .. });
        let waiting: Vec<usize> = (0..self.attempts.len()).filter(|at| at_a_node(&self.attempts[*at])).collect();
        for at in waiting.into_iter().rev() {
            if self.random.chance(60) {
                self.answer_one(at);
            }
        }
    }

    fn answer_one(&mut self, at: usize) {
        let Stage::Waiting { node, life, epoch, base } = self.attempts[at].stage else { return };
        let batch = self.attempts[at].batch;
        let Batch { producer, count, .. } = self.batches[batch];
        let partition = &self.partitions[self.producers[producer].partition];
        let replica = &partition.replicas[&node];
        let still_leads = self.nodes[&node].life == life && replica.leads_in() == Some(epoch);
        if !still_leads || partition.is_deleted {
            self.lose(at);
        } else if replica.watermark >= base + count {
            if replica.has_enough() {
                self.attempts.remove(at);
                self.end(batch, Class::Ok, Some((base, node, epoch)));
            } else {
                // NOT_ENOUGH_REPLICAS_AFTER_APPEND.
                self.lose(at);
            }
        }
    }

    /// Nobody will ever say what became of a request.
    fn lose(&mut self, at: usize) {
        let attempt = self.attempts.remove(at);
        self.batches[attempt.batch].is_tainted = true;
    }

    pub(super) fn retry_or_give_up(&mut self) {
        let open: Vec<usize> = (0..self.batches.len()).filter(|at| self.batches[*at].is_open).collect();
        let Some(batch) = self.random.pick(&open).copied() else { return };
        if self.random.chance(25) {
            self.give_up(batch);
            return;
        }
        self.retry(batch);
    }

    /// Sends again, perhaps while another attempt is on its way.
    pub(super) fn retry(&mut self, batch: usize) {
        let Batch { first, count, producer, .. } = self.batches[batch];
        if self.partitions[self.producers[producer].partition].is_deleted {
            self.give_up(batch);
            return;
        }
        if self.is_on_the_way(batch) {
            self.batches[batch].is_tainted = true;
        }
        for send in &mut self.history.sends[first..first + count] {
            send.attempts += 1;
        }
        self.attempts.push(Attempt { batch, stage: Stage::OnTheWay });
    }

    fn is_on_the_way(&self, batch: usize) -> bool {
        self.attempts.iter().any(|attempt| attempt.batch == batch)
    }

    /// Ends a batch without an answer; an idempotent producer then begins a new epoch, unless nothing can have been
    /// written and nothing was sent after it.
    pub(super) fn give_up(&mut self, batch: usize) {
        let class = if self.batches[batch].is_tainted || self.is_on_the_way(batch) { Class::Info } else { Class::Fail };
        self.batches[batch].is_open = false;
        self.end(batch, class, None);
        let Batch { producer, session, .. } = self.batches[batch];
        let Some((session, first)) = session.filter(|(own, _)| Some(*own) == self.producers[producer].session) else {
            return;
        };
        let others = |other: &Batch| other.is_open && other.producer == producer;
        let rest: Vec<usize> = (0..self.batches.len()).filter(|at| others(&self.batches[*at])).collect();
        let is_last = self
            .batches
            .iter()
            .rev()
            .find(|other| other.producer == producer)
            .is_some_and(|last| last.session == Some((session, first)));
        if class == Class::Fail && is_last && self.random.chance(50) {
            self.producers[producer].next_sequence = first;
            return;
        }
        let epoch = ProducerEpoch::new(session.epoch.get() + 1);
        self.producers[producer].session = Some(Session { epoch, ..session });
        self.producers[producer].next_sequence = Sequence::new(0);
        for other in rest {
            self.give_up(other);
        }
    }

    fn end(&mut self, batch: usize, class: Class, answer: Option<(usize, NodeId, LeaderEpoch)>) {
        let Batch { first, count, is_open, .. } = self.batches[batch];
        if !is_open && answer.is_some() {
            return;
        }
        self.batches[batch].is_open = false;
        let returned = Some(crate::model::Instant::from_nanos(self.now));
        for (at, send) in self.history.sends[first..first + count].iter_mut().enumerate() {
            send.class = class;
            send.returned = returned;
            send.offset = answer.map(|(base, ..)| offset(base + at));
            send.answered_by = answer.map(|(_, node, epoch)| (node, epoch));
        }
    }

    /// Whether a batch was promised.
    pub(super) fn is_promised(&self, batch: usize) -> bool {
        self.history.sends[self.batches[batch].first].class == Class::Ok
    }

    /// Whether anybody waits for an answer.
    pub(super) fn open_batches(&self) -> Vec<usize> {
        (0..self.batches.len()).filter(|at| self.batches[*at].is_open).collect()
    }

    /// A producer of a partition that waits for everybody and is idempotent.
    pub(super) fn probe_of(&self, partition: usize) -> usize {
        let wanted = |producer: &Producer| producer.partition == partition && producer.acks == Acks::All;
        self.producers.iter().position(wanted).expect("the first of each partition is such a one")
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.attempts.is_empty()
    }

    /// Says of each value whether the next one waited for it.
    pub(super) fn say_who_was_alone(&mut self) {
        let sends = &mut self.history.sends;
        let mut order: Vec<usize> = (0..sends.len()).collect();
        order.sort_by_key(|at| (sends[*at].client, sends[*at].order));
        for (at, place) in order.iter().enumerate() {
            let next = order.get(at + 1).map(|next| &sends[*next]).filter(|next| next.client == sends[*place].client);
            let invoked = next.map(|next| next.invoked);
            sends[*place].alone = invoked.is_none_or(|invoked| sends[*place].returned.is_some_and(|at| at < invoked));
        }
    }
}

fn plus(sequence: Sequence, count: usize) -> Sequence {
    sequence.plus(i32::try_from(count).expect("a batch is small"))
}

/// An offset that was told, as a number.
pub(super) fn number(offset: Offset) -> usize {
    usize::try_from(offset.get()).expect("an offset of the model is not negative")
}
