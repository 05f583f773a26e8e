//! A broker's life: recovery, registration, heartbeats, orders from images, proposals of ISRs, an orderly stop.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::administer::ADMINISTRATOR;
use super::process::{AskKind, AwaitedImage, Served};
use super::{Happening, Life, World};
use crate::broker::orders::{Orders, may_leave};
use crate::broker::proposals;
use crate::broker::standing::Standing;
use crate::machines::controller::{DirectoryClaim, Event as Ask, Progress, Registration, Reply};
use crate::model::{BootNumber, DirectoryId, Instant, NodeId};
use crate::partition::{Event, PartitionProposal};
use crate::verify::history::NodeEventKind;

/// How long one registration or heartbeat may look for a controller.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// The same for a proposal of ISRs, and how long an accepted one may wait for this node's image.
const ISR_WITHIN: Duration = Duration::from_secs(5);
/// What a coordinator decides in one turn is one batch, and has to fit into a segment of its topic.
const GROUPS_SEGMENT_BYTES_MIN: u32 = 16 << 10;
/// Between two tries of a second process under one node id.
const TWIN_INTERVAL: Duration = Duration::from_millis(100);
/// Between two heartbeats while fenced or stopping, and between two tries to register.
const HURRY: Duration = Duration::from_millis(10);

impl World {
    /// The next step of a broker's life: to register, or to say how it is.
    pub(super) fn beat(&mut self, life: Life, number: u64) {
        let now = self.now;
        let Some(process) = self.process(life).filter(|process| process.beat == number) else { return };
        process.beat += 1;
        let next = process.beat;
        if !process.outstanding.is_empty() {
            self.after(HURRY, Happening::Beat(life, next));
            return;
        }
        let Some(epoch) = process.epoch else {
            let standing = Standing { node: life.node, directory: &process.directory, suspects: &process.suspects };
            let registration = standing.registration(Vec::new(), None);
            self.ask(life, AskKind::Register, Ask::Register(registration), ASK_WITHIN);
            return;
        };
        let standing = Standing { node: life.node, directory: &process.directory, suspects: &process.suspects };
        if !process.stage.epoch_is_stored {
            match standing.store(&process.image, epoch) {
                Ok(stored) => process.stage.epoch_is_stored = stored,
                Err(cause) => {
                    self.exited(life.node, format!("the registration cannot be written: {cause}"));
                    return;
                }
            }
        }
        let unfetchable = process.reach.unfetchable(now);
        let oldest_flush = process.flushing.running.as_ref().map(|_| now.since(process.flushing.begun));
        let progress = Progress {
            applied: process.reconciled.as_ref().map(|image| image.last_applied()).unwrap_or_default(),
            oldest_flush: oldest_flush.unwrap_or_default(),
            oldest_turn: Duration::ZERO,
        };
        let standing = Standing { node: life.node, directory: &process.directory, suspects: &process.suspects };
        let heartbeat = standing.heartbeat(epoch, process.stage.wish(), progress, unfetchable);
        self.ask(life, AskKind::Heartbeat { sent: now }, Ask::Heartbeat(heartbeat), ASK_WITHIN);
    }

    /// A second process, on a disk of its own, asks to register under the id of a node that runs, until it is given up.
    pub(super) fn impersonate(&mut self, node: NodeId, until: Instant) {
        if self.now >= until || self.is_healed {
            return;
        }
        self.after(TWIN_INTERVAL, Happening::Impersonate(node, until));
        let nodes = self.nodes();
        let Some(life) = nodes.into_iter().filter(|other| *other != node).find_map(|other| self.life(other)) else {
            return;
        };
        if self.running(node).is_none() || self.is_last_copy(node) {
            return;
        }
        let registration = Registration {
            node,
            boot: BootNumber::new(1),
            cluster: None,
            directories: vec![DirectoryClaim { id: DirectoryId::new([0xEE; 16]), previous_epoch: None }],
            clean: false,
            listeners: Vec::new(),
            rack: None,
            suspects: Vec::new(),
        };
        let what = AskKind::Relay { to: ADMINISTRATOR, id: self.request() };
        self.ask(life, what, Ask::Register(registration), ASK_WITHIN);
    }

    /// The controller answered a registration, or nobody did.
    pub(super) fn registered(&mut self, life: Life, reply: Option<Reply>) {
        let Some(process) = self.process(life) else { return };
        if let Some(Reply::Register(Ok(registered))) = reply
            && registered.broker_epoch.is_some()
        {
            process.epoch = registered.broker_epoch;
            // Who fetched in a registration that another process had replaced fetches on in this one.
            let leaders: Vec<NodeId> = process.fetchers.keys().copied().collect();
            for leader in leaders {
                self.after(Duration::ZERO, Happening::FetchAgain(life, leader));
            }
            self.after(Duration::ZERO, Happening::Reconcile(life));
        }
        self.beat_after(life, HURRY);
    }

    /// The controller answered a heartbeat, or nobody did.
    pub(super) fn heard(&mut self, life: Life, sent: Instant, reply: Option<Reply>) {
        let (session, interval) = (self.knobs.session_timeout, self.knobs.heartbeat_interval);
        let Some(process) = self.process(life) else { return };
        let mut stops = false;
        match reply {
            Some(Reply::Heartbeat(Ok(answer))) => {
                process.is_unfenced = !answer.is_fenced;
                process.beats.heard(Some(answer.is_fenced), process.local(sent), session);
                if !answer.is_fenced {
                    process.suspects.unfenced();
                }
                stops = process.stage.is_stopping && answer.should_shut_down;
            }
            Some(Reply::Heartbeat(Err(_))) => {
                // Another life of this broker is known: it registers again (rule S15).
                process.beats.heard(Some(true), process.local(sent), session);
                process.epoch = None;
                process.stage.epoch_is_stored = false;
            }
            Some(_) | None => {}
        }
        if stops {
            self.close(life);
            return;
        }
        let hurry = process.stage.is_stopping || !process.is_unfenced;
        self.beat_after(life, if hurry { HURRY } else { interval });
    }

    fn beat_after(&mut self, life: Life, span: Duration) {
        if let Some(number) = self.process(life).map(|process| process.beat) {
            self.after(span, Happening::Beat(life, number));
        }
    }

    /// An administrator stops the broker.
    pub(super) fn stop(&mut self, node: NodeId) {
        if let Some(process) = self.running(node) {
            process.stage.is_stopping = true;
        }
    }

    /// Nothing depends on it any more: every log goes to rest.
    fn close(&mut self, life: Life) {
        let ticket = self.ticket();
        let Some(process) = self.process(life) else { return };
        process.tickets.insert(ticket, Served::Close);
        self.tell(life.node, Event::Close { ticket });
    }

    /// Every log is at rest: the mark of a clean stop is set, the process ends.
    pub(super) fn closed(&mut self, node: NodeId) {
        let Some(process) = self.running(node) else { return };
        let attested = process.directory.flush_log().attest().map_err(|cause| cause.to_string());
        let marked = attested.and_then(|()| process.directory.mark_clean().map_err(|cause| cause.to_string()));
        match marked {
            Ok(()) => {
                self.record.node(self.now, node, NodeEventKind::Stopped);
                self.drop_process(node);
                let at = self.machines[&node].down_until.max(self.now);
                self.at(at, Happening::Start(node));
            }
            Err(cause) => self.exited(node, cause),
        }
    }

    /// Tells the shard what this broker should be for each partition, by the image that has come.
    pub(super) fn reconcile(&mut self, life: Life) {
        let options = self.options();
        let (segment_bytes, index_interval_bytes) = (self.knobs.segment_bytes, self.knobs.index_interval_bytes);
        let Some(process) = self.process(life) else { return };
        let image = process.image.clone();
        if !may_leave(&image, life.node, process.epoch) {
            return;
        }
        let producer_expiration = Duration::from_secs(86_400);
        let orders = Orders { node: life.node, defaults: &options.defaults, producer_expiration };
        let plan = match &process.reconciled {
            Some(before) => orders.next(before, &image),
            None => orders.first(&process.directory, &image),
        };
        process.reconciled = Some(Arc::clone(&image));
        self.tell(life.node, Event::Image(image));
        for (_, partition) in plan.stops {
            self.tell(life.node, Event::Stop { partition, delete: true });
        }
        for (_, _, mut order) in plan.orders {
            if let Event::Lead(crate::partition::LeadOrder { options, name, .. })
            | Event::Follow(crate::partition::FollowOrder { options, name, .. }) = &mut order
            {
                let least = if name.is_internal() { GROUPS_SEGMENT_BYTES_MIN } else { 0 };
                options.segment_bytes = segment_bytes.max(least);
                options.index_interval_bytes = index_interval_bytes;
            }
            self.tell(life.node, order);
        }
        self.image_due(life);
    }

    /// A leader wants another ISR.
    pub(super) fn wish(&mut self, node: NodeId, wish: PartitionProposal) {
        let Some(process) = self.running(node) else { return };
        process.wishes.push(wish);
        let life = Life { node, life: process.life };
        self.propose_isrs(life);
    }

    /// One request is in flight; all that has come meanwhile goes with the next.
    fn propose_isrs(&mut self, life: Life) {
        let Some(process) = self.process(life) else { return };
        let is_busy = process.awaited.is_some() || process.asks.values().any(|ask| matches!(ask.what, AskKind::Isr(_)));
        if is_busy || process.wishes.is_empty() {
            return;
        }
        let batch = mem::take(&mut process.wishes);
        match process.epoch {
            Some(epoch) => {
                let request = proposals::request(life.node, epoch, &batch);
                self.ask(life, AskKind::Isr(batch), Ask::AlterIsr(request), ISR_WITHIN);
            }
            None => self.isrs_answered(life, batch, None, 0),
        }
    }

    /// The controller answered proposals, or nobody did.
    pub(super) fn isrs_answered(
        &mut self,
        life: Life,
        batch: Vec<PartitionProposal>,
        reply: Option<Reply>,
        sendings: u32,
    ) {
        let until = self.now.plus(ISR_WITHIN);
        let answers = match reply {
            Some(Reply::AlterIsr(Ok(answers))) => Some(answers),
            Some(_) | None => None,
        };
        let outcomes = proposals::outcomes(answers, sendings, &batch);
        let Some(process) = self.process(life) else { return };
        process.awaited = Some(AwaitedImage { batch, outcomes, until });
        self.at(until, Happening::ImageDue(life));
        self.image_due(life);
    }

    /// Tells the shard what became of its proposals, once this node's image holds them.
    pub(super) fn image_due(&mut self, life: Life) {
        let now = self.now;
        let Some(process) = self.process(life) else { return };
        let Some(mut awaited) = process.awaited.take() else { return };
        let image = process.reconciled.clone().unwrap_or_default();
        if !proposals::has_reached(&image, &awaited.batch, &awaited.outcomes) {
            if now < awaited.until {
                process.awaited = Some(awaited);
                return;
            }
            proposals::forget_accepted(&mut awaited.outcomes);
        }
        for (wish, outcome) in awaited.batch.iter().zip(awaited.outcomes) {
            self.tell(life.node, proposals::answer(wish, outcome));
        }
        self.propose_isrs(life);
    }
}
