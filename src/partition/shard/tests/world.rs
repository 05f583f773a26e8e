//! The loop around the shards: disks that flush at once or when told, fetches carried by hand, a controller that says
//! yes.
//!
//! Node n is registered as n0. A record's value is one letter, and its timestamp that letter's number.

mod compact;
mod damage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::env::{Files, SystemFiles, SystemSeed};
use crate::machines::group::{self, Call};
use crate::machines::replication::{Acks, IsrOutcome, IsrProposal, ReplicaState, Ticket};
use crate::model::{
    BrokerEpoch, Instant, LeaderEpoch, NodeId, Now, Offset, PartitionEpoch, PartitionId, PartitionIndex, ProducerEpoch,
    ProducerId, Sequence, Timestamp, TopicId, TopicName,
};
use crate::partition::{
    Acked, AppendRefusal, ConsumerIsolation, Effect, Event, FetchPosition, FetchedOutcome, FetchedPartition, FlushMode,
    FollowOrder, FollowersAsked, LeadOrder, ListRefusal, OffsetAnswer, OffsetQuery, PartitionDescription, ReadAnswer,
    ReadEvent, ReadRefusal, ReadRequest, Reader, Reply, Shard, ShardOptions, TrimRefusal, WatchId, Watching,
};
use crate::records::{Batch, Builder, Codec, Draft, OUTPUT_BYTES_MAX, Producer, split};
use crate::storage::{Compaction, DataDir, FlushOrder, LogOptions};
use crate::testing::SimulatedFiles;

const BYTES_MAX: usize = 1 << 20;

pub(super) fn id() -> PartitionId {
    PartitionId { topic: TopicId::new([7; 16]), index: PartitionIndex::new(0) }
}

pub(super) fn name() -> TopicName {
    TopicName::new("orders").expect("a name within the rules")
}

struct Node {
    directory: Arc<DataDir>,
    shard: Shard,
    inbox: Vec<Event>,
    replies: BTreeMap<Ticket, Reply>,
    wakes: Vec<WatchId>,
    position: Option<FetchPosition>,
    /// Whom it wants to vouch for it.
    asked: Vec<FollowersAsked>,
    /// The round of compaction that is under way.
    round: Option<Compaction>,
    /// The high watermark that the leader last told for this position; an empty answer with the same is not carried.
    told: Option<(u64, Offset)>,
    held: Option<Vec<FlushOrder>>,
    flushes: usize,
    /// How often the fetcher was told to stop.
    stops: usize,
    fatal: Vec<String>,
    /// What was told of answers that cannot be used.
    unusable: Vec<String>,
    /// What was told of copies that are not what they should be.
    alarms: Vec<String>,
}

pub(super) struct World {
    root: tempfile::TempDir,
    /// The disks of the nodes, if they are simulated.
    disks: BTreeMap<i32, SimulatedFiles>,
    nodes: BTreeMap<i32, Node>,
    cut: BTreeSet<i32>,
    fenced: BTreeSet<i32>,
    eligible: BTreeSet<i32>,
    damaged: BTreeSet<i32>,
    now: Now,
    tickets: u64,
    flush: FlushMode,
    partition_epoch: PartitionEpoch,
    held_proposals: Option<Vec<IsrProposal>>,
    /// Instead of two.
    isr_min: Option<usize>,
    /// What a read gives at most.
    bytes_max: usize,
    /// The topic's.
    name: TopicName,
    /// The topic's configuration.
    log_options: LogOptions,
}

impl World {
    pub(super) fn new(nodes: i32) -> Self {
        Self::on(nodes, |_| Arc::new(SystemFiles::default()))
    }

    /// As `new`, with a partition that keeps groups.
    pub(super) fn of_groups(nodes: i32) -> Self {
        Self::new(nodes).that_keeps_groups()
    }

    /// The partition is one that keeps groups.
    pub(super) fn that_keeps_groups(self) -> Self {
        Self { name: TopicName::new(TopicName::CONSUMER_OFFSETS).expect("a valid name"), ..self }
    }

    /// The partition's segments are so large.
    pub(super) fn with_segments_of(self, segment_bytes: u32) -> Self {
        Self { log_options: LogOptions { segment_bytes, ..self.log_options }, ..self }
    }

    /// Whether a node wants no turn before some time has passed.
    pub(super) fn is_idle(&self, node: i32) -> bool {
        self.nodes[&node].shard.next_deadline().is_none_or(|at| at > self.now.instant)
    }

    /// Asks the coordinator on a node; it has a turn.
    pub(super) fn ask_group(&mut self, node: i32, call: Call) -> Ticket {
        let ticket = self.ticket();
        self.tell(node, Event::Group { ticket, partition: id(), call: Box::new(call) });
        self.turn(node);
        ticket
    }

    /// What a request about groups was answered; `None` while it waits.
    pub(super) fn answered(&mut self, node: i32, ticket: Ticket) -> Option<group::Reply> {
        self.reply(node, ticket).map(|reply| {
            let Reply::Group(reply) = reply else { panic!("a request about groups is answered about groups") };
            reply
        })
    }

    /// As `new`, on disks that can be filled.
    pub(super) fn on_simulated_disks(nodes: i32) -> Self {
        let disks: BTreeMap<i32, SimulatedFiles> = (1..=nodes).map(|node| (node, SimulatedFiles::default())).collect();
        Self { disks: disks.clone(), ..Self::on(nodes, |node| Arc::new(disks[&node].clone())) }
    }

    fn on(nodes: i32, files: impl Fn(i32) -> Arc<dyn Files>) -> Self {
        let root = tempfile::tempdir().expect("a directory for the test");
        let now = Now { instant: Instant::from_nanos(1), timestamp: Timestamp::new(1000) };
        let nodes = (1..=nodes).map(|node| (node, Node::open(files(node), &root.path().join(node.to_string()), node)));
        Self {
            nodes: nodes.collect(),
            root,
            disks: BTreeMap::new(),
            cut: BTreeSet::new(),
            fenced: BTreeSet::new(),
            eligible: BTreeSet::new(),
            damaged: BTreeSet::new(),
            now,
            tickets: 0,
            flush: FlushMode::Durable,
            partition_epoch: PartitionEpoch::new(0),
            held_proposals: None,
            isr_min: None,
            bytes_max: BYTES_MAX,
            name: name(),
            log_options: LogOptions::default(),
        }
    }

    pub(super) fn set_flush(&mut self, flush: FlushMode) {
        self.flush = flush;
    }

    /// Tells every node that is not cut off who leads.
    pub(super) fn elect(&mut self, leader: i32, leader_epoch: i32, partition_epoch: i32, isr: &[i32]) {
        self.partition_epoch = PartitionEpoch::new(partition_epoch);
        let replica = |node: &i32| ReplicaState {
            node: NodeId::new(*node),
            broker_epoch: Some(BrokerEpoch::new(i64::from(*node) * 10)),
            may_join: !self.fenced.contains(node),
            is_eligible: self.eligible.contains(node),
        };
        let order = LeadOrder {
            partition: id(),
            name: self.name.clone(),
            leader_epoch: LeaderEpoch::new(leader_epoch),
            partition_epoch: self.partition_epoch,
            isr: isr.iter().map(|node| NodeId::new(*node)).collect(),
            replicas: self.nodes.keys().map(replica).collect(),
            isr_min: self.isr_min.unwrap_or(self.nodes.len().min(2)),
            recovering: false,
            options: self.log_options,
            flush: self.flush,
        };
        self.tell(leader, Event::Lead(order));
        let others: Vec<i32> =
            self.nodes.keys().copied().filter(|node| *node != leader && !self.cut.contains(node)).collect();
        for node in others {
            self.tell_follow(node, leader, leader_epoch, partition_epoch);
        }
    }

    pub(super) fn tell_follow(&mut self, node: i32, leader: i32, leader_epoch: i32, partition_epoch: i32) {
        let order = FollowOrder {
            partition: id(),
            name: self.name.clone(),
            leader: Some(NodeId::new(leader)),
            leader_epoch: LeaderEpoch::new(leader_epoch),
            partition_epoch: PartitionEpoch::new(partition_epoch),
            options: self.log_options,
            flush: self.flush,
        };
        self.tell(node, Event::Follow(order));
    }

    /// Nobody leads.
    pub(super) fn tell_follow_nobody(&mut self, node: i32, leader_epoch: i32, partition_epoch: i32) {
        let order = FollowOrder {
            partition: id(),
            name: self.name.clone(),
            leader: None,
            leader_epoch: LeaderEpoch::new(leader_epoch),
            partition_epoch: PartitionEpoch::new(partition_epoch),
            options: self.log_options,
            flush: self.flush,
        };
        self.tell(node, Event::Follow(order));
    }

    pub(super) fn tell(&mut self, node: i32, event: Event) {
        self.node(node).inbox.push(event);
    }

    /// Carries everything to and fro until nothing moves.
    pub(super) fn run(&mut self) {
        self.settle(true);
    }

    /// As `run`, but answers without records, which would tell a new high watermark, are not carried.
    pub(super) fn run_without_news(&mut self) {
        self.settle(false);
    }

    fn settle(&mut self, news: bool) {
        for _ in 0..1000 {
            let all: Vec<i32> = self.nodes.keys().copied().collect();
            let mut moved = false;
            for node in all {
                moved |= self.turn(node);
                moved |= self.carry_questions(node);
                moved |= self.fetch(node, news);
            }
            if !moved {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    pub(super) fn wait_ms(&mut self, span: u64) {
        self.now.instant = self.now.instant.plus(Duration::from_millis(span));
        let all: Vec<i32> = self.nodes.keys().copied().collect();
        for node in all {
            self.tell(node, Event::Tick);
        }
        self.run();
    }

    /// From the next election on, this node is not fit for the ISR.
    pub(super) fn fence(&mut self, node: i32) {
        self.fenced.insert(node);
    }

    /// From the next election on, this node is in the ELR (rule R11).
    pub(super) fn make_eligible(&mut self, node: i32) {
        self.eligible.insert(node);
    }

    pub(super) fn cut(&mut self, node: i32) {
        self.cut.insert(node);
    }

    pub(super) fn heal(&mut self, node: i32) {
        self.cut.remove(&node);
    }

    pub(super) fn hold_flushes(&mut self, node: i32) {
        self.node(node).held = Some(Vec::new());
    }

    /// The process of a node ends and another begins, which finds what was written and holds its flushes.
    pub(super) fn restart(&mut self, node: i32) {
        self.nodes.remove(&node);
        let files: Arc<dyn Files> = match self.disks.get(&node) {
            Some(disk) => Arc::new(disk.clone()),
            None => Arc::new(SystemFiles::default()),
        };
        let mut process = Node::open(files, &self.root.path().join(node.to_string()), node);
        process.held = Some(Vec::new());
        let found = process.directory.partitions().iter();
        process.inbox.extend(found.map(|p| Event::Open { partition: p.id, name: p.name.clone() }));
        self.nodes.insert(node, process);
    }

    /// The files of a node's copy vanish, while no process has it.
    pub(super) fn lose_segments(&mut self, node: i32) {
        self.damaged.insert(node);
        let files = std::fs::read_dir(self.root.path().join(node.to_string()).join("orders-0")).expect("it is there");
        let paths = files.map(|file| file.expect("it can be listed").path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "log")).for_each(|path| {
            std::fs::remove_file(path).expect("it was there");
        });
    }

    /// From now on nothing more fits on a node's disk.
    pub(super) fn fill_disk(&self, node: i32) {
        self.disks[&node].fail_writes_after(0);
    }

    /// What a node's disk holds of the partition: whether a directory, and whether anything is attested.
    pub(super) fn holds(&self, node: i32) -> (bool, bool) {
        let directory = self.root.path().join(node.to_string()).join("orders-0");
        (directory.exists(), self.nodes[&node].directory.attested(id()).is_some())
    }

    pub(super) fn fetches(&self, node: i32) -> bool {
        self.nodes[&node].position.is_some()
    }

    pub(super) fn let_flush(&mut self, node: i32) {
        let now = self.now;
        let node = self.node(node);
        let orders = node.held.take().expect("flushes were held");
        let flushed = node.directory.flush_log().flush(orders, now).expect("the disk is well");
        node.inbox.push(Event::Flushed(flushed));
    }

    /// What the nodes' flush logs are to say is on their disks, and each shard has looked.
    pub(super) fn attest(&mut self) {
        self.run();
        self.nodes.values().for_each(|node| node.directory.flush_log().attest().expect("the disk is well"));
        self.wait_ms(1000);
    }

    /// Whether a start would find that the partition may have lost what was never flushed.
    pub(super) fn is_volatile(&self, node: i32) -> bool {
        self.nodes[&node].directory.volatile().contains(&id())
    }

    pub(super) fn hold_proposals(&mut self) {
        self.held_proposals = Some(Vec::new());
    }

    pub(super) fn proposals(&mut self) -> Vec<IsrProposal> {
        self.held_proposals.replace(Vec::new()).expect("proposals were held")
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(super) fn produce(&mut self, node: i32, values: &str, acks: Acks) -> Ticket {
        self.append(node, values, acks, None)
    }

    pub(super) fn produce_in(&mut self, node: i32, values: &str, acks: Acks, epoch: i32) -> Ticket {
        self.append(node, values, acks, Some(LeaderEpoch::new(epoch)))
    }

    fn append(&mut self, node: i32, values: &str, acks: Acks, leader_epoch: Option<LeaderEpoch>) -> Ticket {
        self.append_batch(node, builder(values).build().expect("a small batch"), acks, leader_epoch)
    }

    /// As an idempotent producer's batch that begins with this sequence.
    pub(super) fn produce_sequence(&mut self, node: i32, values: &str, sequence: i32) -> Ticket {
        let base_sequence = Sequence::new(sequence);
        let producer = Producer { id: ProducerId::new(7), epoch: ProducerEpoch::new(0), base_sequence };
        let batch = builder(values).producer(producer).build().expect("a small batch");
        self.append_batch(node, batch, Acks::All, None)
    }

    fn append_batch(&mut self, node: i32, batch: Batch, acks: Acks, leader_epoch: Option<LeaderEpoch>) -> Ticket {
        let ticket = self.ticket();
        let deadline = self.now.instant.plus(Duration::from_secs(30));
        self.tell(node, Event::Append { ticket, partition: id(), leader_epoch, batch, acks, deadline });
        ticket
    }

    pub(super) fn reply(&mut self, node: i32, ticket: Ticket) -> Option<Reply> {
        self.node(node).replies.remove(&ticket)
    }

    pub(super) fn is_answered(&self, node: i32, ticket: Ticket) -> bool {
        self.nodes[&node].replies.contains_key(&ticket)
    }

    /// The base offset of an acknowledged produce.
    pub(super) fn acked(&mut self, node: i32, ticket: Ticket) -> Result<i64, AppendRefusal> {
        let Some(Reply::Append(outcome)) = self.reply(node, ticket) else { panic!("the produce is not answered") };
        outcome.map(|acked: Acked| acked.base_offset.get())
    }

    /// The values from an offset on, as a consumer that may read from followers gets them.
    pub(super) fn consume(&mut self, node: i32, from: i64) -> Result<String, ReadRefusal> {
        let (answer, _) = self.read(node, consumer(), from, None, None, None);
        answer.map(|answer| values(&bytes_of(&answer)))
    }

    /// The offset to read on from, of a consumer's read of so many bytes.
    pub(super) fn read_on(&mut self, node: i32, from: i64, bytes_max: usize) -> Result<i64, ReadRefusal> {
        self.bytes_max = bytes_max;
        let (answer, _) = self.read(node, consumer(), from, None, None, None);
        self.bytes_max = BYTES_MAX;
        answer.map(|answer| answer.plan.map_or(from, |plan| plan.next.get()))
    }

    pub(super) fn set_isr_min(&mut self, isr_min: usize) {
        self.isr_min = Some(isr_min);
    }

    pub(super) fn watch(&mut self, node: i32, from: i64, watch: WatchId) -> Watching {
        self.read(node, consumer(), from, None, Some(watch), None).1
    }

    pub(super) fn fetch_as(&mut self, node: i32, who: i32, life: i64, epoch: i32) -> Result<(), ReadRefusal> {
        let reader = Reader::Follower { node: NodeId::new(who), broker_epoch: Some(BrokerEpoch::new(life)) };
        let epochs = (epoch >= 0).then_some((LeaderEpoch::new(epoch), None));
        self.read(node, reader, 0, epochs, None, None).0.map(|_| ())
    }

    /// Where a node fetches from.
    pub(super) fn position(&self, node: i32) -> FetchPosition {
        self.nodes[&node].position.expect("the node fetches")
    }

    /// A node's fetch of an earlier position reaches its leader of that time only now; the answer is lost.
    pub(super) fn fetch_late(&mut self, node: i32, position: FetchPosition) {
        _ = self.ask(node, position);
    }

    fn read(
        &mut self,
        node: i32,
        reader: Reader,
        from: i64,
        epochs: Option<(LeaderEpoch, Option<LeaderEpoch>)>,
        watch: Option<WatchId>,
        last_crc: Option<u32>,
    ) -> (Result<ReadAnswer, ReadRefusal>, Watching) {
        let ticket = self.ticket();
        let request = ReadRequest {
            partition: id(),
            offset: Offset::new(from),
            leader_epoch: epochs.map(|epochs| epochs.0),
            last_fetched_epoch: epochs.and_then(|epochs| epochs.1),
            last_crc,
            bytes_max: self.bytes_max,
        };
        let reads = vec![request];
        let read = ReadEvent {
            ticket,
            reader,
            reads,
            bytes_max: self.bytes_max,
            bytes_min: 1,
            whole_first: true,
            watch,
            again: false,
        };
        self.tell(node, Event::Read(read));
        self.turn(node);
        let Some(Reply::Read { mut reads, watching }) = self.reply(node, ticket) else {
            panic!("a read is answered at once")
        };
        (reads.pop().expect("one answer for one request").outcome, watching)
    }

    pub(super) fn wakes(&mut self, node: i32) -> Vec<WatchId> {
        std::mem::take(&mut self.node(node).wakes)
    }

    /// The offset that is found, looked up beside the shard if need be.
    pub(super) fn list(&mut self, node: i32, query: OffsetQuery) -> Result<Option<i64>, ListRefusal> {
        let ticket = self.ticket();
        let reader = consumer();
        self.tell(node, Event::ListOffset { ticket, partition: id(), leader_epoch: None, reader, query });
        self.turn(node);
        let Some(Reply::ListOffset(answer)) = self.reply(node, ticket) else { panic!("a question is answered") };
        let found = match answer? {
            OffsetAnswer::Found(found) => found,
            OffsetAnswer::Look(lookup) => lookup.resolve(OUTPUT_BYTES_MAX).expect("the batch can be read"),
        };
        Ok(found.map(|found| found.offset.get()))
    }

    pub(super) fn epoch_end(&mut self, node: i32, epoch: i32) -> Result<Option<(i32, i64)>, ListRefusal> {
        let ticket = self.ticket();
        let epoch = LeaderEpoch::new(epoch);
        self.tell(node, Event::EpochEnd { ticket, partition: id(), leader_epoch: None, epoch });
        self.turn(node);
        let Some(Reply::EpochEnd(answer)) = self.reply(node, ticket) else { panic!("a question is answered") };
        answer.map(|found| found.map(|found| (found.epoch.get(), found.end.get())))
    }

    pub(super) fn trim(&mut self, node: i32, before: Option<i64>) -> Result<i64, TrimRefusal> {
        let ticket = self.ticket();
        self.tell(node, Event::Trim { ticket, partition: id(), before: before.map(Offset::new) });
        self.turn(node);
        let Some(Reply::Trim(answer)) = self.reply(node, ticket) else { panic!("a question is answered") };
        answer.map(Offset::get)
    }

    pub(super) fn describe(&mut self, node: i32) -> PartitionDescription {
        let ticket = self.ticket();
        self.tell(node, Event::Describe { ticket, partition: Some(id()) });
        self.turn(node);
        let Some(Reply::Describe(mut all)) = self.reply(node, ticket) else { panic!("a question is answered") };
        all.pop().expect("the partition is there")
    }

    pub(super) fn flushes(&self, node: i32) -> usize {
        self.nodes[&node].flushes
    }

    pub(super) fn stops(&self, node: i32) -> usize {
        self.nodes[&node].stops
    }

    /// Why a node's process ends: empty while it lives.
    pub(super) fn fatal(&self, node: i32) -> &[String] {
        &self.nodes[&node].fatal
    }

    /// What a node told since the last call of answers that it cannot use.
    pub(super) fn unusable(&mut self, node: i32) -> Vec<String> {
        std::mem::take(&mut self.node(node).unusable)
    }

    /// The node's fetch brings what its leader has now, after `damage`.
    pub(super) fn fetch_damaged(&mut self, node: i32, damage: impl FnOnce(&[u8]) -> Vec<u8>) {
        let Event::Fetched(mut fetched) = self.answer_for(node) else { panic!("a fetch brings what was fetched") };
        let FetchedOutcome::Records { bytes, .. } = &mut fetched.outcome else { panic!("it brings records") };
        *bytes = damage(bytes).into();
        self.tell(node, Event::Fetched(fetched));
        self.run();
    }

    /// The answer that a node's fetch would get now, not handed to it.
    pub(super) fn answer_for(&mut self, node: i32) -> Event {
        let position = self.position(node);
        self.turn(position.leader.get());
        let outcome = self.ask(node, position).expect("the leader answers");
        Event::Fetched(FetchedPartition { position, outcome })
    }

    fn node(&mut self, node: i32) -> &mut Node {
        self.nodes.get_mut(&node).expect("the node is there")
    }

    /// One turn of a node. Whether anything happened.
    fn turn(&mut self, number: i32) -> bool {
        let now = self.now;
        let node = self.node(number);
        let moved = !node.inbox.is_empty();
        let (mut inbox, mut outbox) = (std::mem::take(&mut node.inbox), Vec::new());
        node.shard.turn(now, &mut inbox, &mut outbox);
        let flush_is_last = outbox.iter().position(|effect| matches!(effect, Effect::Flush(_)));
        assert!(flush_is_last.is_none_or(|at| at + 1 == outbox.len()), "the one flush stands last");
        let moved = moved || !outbox.is_empty();
        for effect in outbox {
            self.carry_out(number, effect);
        }
        moved
    }

    fn carry_out(&mut self, number: i32, effect: Effect) {
        let now = self.now;
        let node = self.nodes.get_mut(&number).expect("the node is there");
        match effect {
            Effect::Reply { ticket, reply } => {
                let before = node.replies.insert(ticket, reply);
                assert!(before.is_none(), "a ticket is resolved once");
            }
            Effect::Wake(watch) => node.wakes.push(watch),
            Effect::Flush(orders) => {
                node.flushes += 1;
                if let Some(held) = &mut node.held {
                    held.extend(orders);
                    return;
                }
                let flushed = node.directory.flush_log().flush(orders, now).expect("the disk is well");
                node.inbox.push(Event::Flushed(flushed));
            }
            Effect::Compact(job) => {
                node.round = Some(Compaction::new(job.order, BYTES_MAX));
                node.compact();
            }
            Effect::CompactionGoesOn { taken, .. } => node.go_on(taken),
            Effect::ProposeIsr(wish) => match &mut self.held_proposals {
                Some(held) => held.push(wish.proposal),
                None => self.accept(number, wish.proposal),
            },
            Effect::AskFollowers(asked) => node.asked.push(asked),
            Effect::FetchFrom(position) => node.position = Some(position),
            Effect::StopFetching(_) => {
                node.position = None;
                node.stops += 1;
            }
            Effect::Opened(_) => {}
            Effect::Broken(broken) => {
                assert!(self.damaged.contains(&number), "{broken:?}");
                node.alarms.push(format!("broken: {}", broken.message));
            }
            Effect::Damaged(place) => node.alarms.push(format!("damaged: {}", place.message)),
            Effect::Unreadable(records) => node.alarms.push(format!("unreadable: {}", records.message)),
            Effect::Contradicted(told) => {
                node.alarms.push(format!("contradicted: {} at {}", told.follower, told.offset))
            }
            Effect::Unusable(fetch) => {
                let (leader, at) = (fetch.position.leader, fetch.position.offset);
                node.unusable.push(format!("{} of {leader} at {at}: {}", fetch.name, fetch.fault));
            }
            Effect::Fatal { cause } => node.fatal.push(cause.to_string()),
        }
    }

    fn accept(&mut self, leader: i32, proposal: IsrProposal) {
        assert_eq!(proposal.partition_epoch, self.partition_epoch, "decided on the present state");
        self.partition_epoch = self.partition_epoch.next();
        let isr = proposal.isr.iter().map(|member| member.node).collect();
        let outcome = IsrOutcome::Accepted { partition_epoch: self.partition_epoch, isr };
        let (leader_epoch, partition_epoch) = (proposal.leader_epoch, proposal.partition_epoch);
        self.tell(leader, Event::IsrAnswer { partition: id(), leader_epoch, partition_epoch, outcome });
    }

    /// Carries one fetch of a node and its answer. Whether anything was brought.
    fn fetch(&mut self, number: i32, news: bool) -> bool {
        let Some(position) = self.nodes[&number].position else { return false };
        if self.cut.contains(&number) || self.cut.contains(&position.leader.get()) {
            return false;
        }
        let Some(outcome) = self.ask(number, position) else { return false };
        if let FetchedOutcome::Records { bytes, high_watermark, .. } = &outcome
            && bytes.is_empty()
        {
            let known = self.nodes[&number].told.is_some_and(|told| told.1 == *high_watermark);
            self.node(number).told = Some((position.number, *high_watermark));
            if known || !news {
                return false;
            }
        }
        let node = self.node(number);
        node.position = None;
        node.inbox.push(Event::Fetched(FetchedPartition { position, outcome }));
        true
    }

    /// Carries a leader's questions whether others follow it, and their answers. Whether there were any.
    fn carry_questions(&mut self, leader: i32) -> bool {
        let asked = std::mem::take(&mut self.node(leader).asked);
        let mut moved = false;
        for FollowersAsked { partition, leader_epoch, round } in asked {
            for member in round.members.iter().map(|member| member.get()) {
                if self.cut.contains(&leader) || self.cut.contains(&member) {
                    continue;
                }
                let ticket = self.ticket();
                self.tell(member, Event::Vouch { ticket, partition, leader: NodeId::new(leader), leader_epoch });
                self.turn(member);
                if matches!(self.reply(member, ticket), Some(Reply::Vouch(true))) {
                    let (round, node) = (round.round, NodeId::new(member));
                    self.tell(leader, Event::Vouched { partition, leader_epoch, round, node });
                    moved = true;
                }
            }
        }
        moved
    }

    /// What the leader answers; `None` for what only time mends.
    fn ask(&mut self, number: i32, position: FetchPosition) -> Option<FetchedOutcome> {
        let reader = Reader::Follower {
            node: NodeId::new(number),
            broker_epoch: Some(BrokerEpoch::new(i64::from(number) * 10)),
        };
        let epochs = Some((position.leader_epoch, position.last_fetched_epoch));
        let (answer, _) =
            self.read(position.leader.get(), reader, position.offset.get(), epochs, None, position.last_crc);
        match answer {
            Ok(ReadAnswer { diverging: Some(theirs), .. }) => Some(FetchedOutcome::Diverging(theirs)),
            Ok(answer) => Some(FetchedOutcome::Records {
                bytes: bytes_of(&answer),
                high_watermark: answer.high_watermark,
                log_start: answer.log_start,
            }),
            // As production does: api/error.rs maps both to CORRUPT_MESSAGE, fetcher/leader.rs that to Contradicted.
            Err(ReadRefusal::Contradicted | ReadRefusal::Damaged) => Some(FetchedOutcome::Contradicted),
            Err(ReadRefusal::OutOfRange { start, end }) => Some(FetchedOutcome::OutOfRange { start, end }),
            Err(
                ReadRefusal::UnknownPartition
                | ReadRefusal::NotLeader
                | ReadRefusal::FencedEpoch { .. }
                | ReadRefusal::UnknownEpoch { .. }
                | ReadRefusal::Offline,
            ) => None,
        }
    }
}

impl Node {
    fn open(files: Arc<dyn Files>, path: &Path, node: i32) -> Self {
        let node = NodeId::new(node);
        let directory = DataDir::open(files, path, node, &SystemSeed, crate::model::Timestamp::new(0))
            .expect("an empty directory formats itself");
        let directory = Arc::new(directory);
        let shard = Shard::new(directory.clone(), ShardOptions::new(node));
        Self {
            directory,
            shard,
            inbox: Vec::new(),
            replies: BTreeMap::new(),
            wakes: Vec::new(),
            position: None,
            asked: Vec::new(),
            round: None,
            told: None,
            held: None,
            flushes: 0,
            stops: 0,
            fatal: Vec::new(),
            unusable: Vec::new(),
            alarms: Vec::new(),
        }
    }
}

fn consumer() -> Reader {
    Reader::Consumer { isolation: ConsumerIsolation::ReadUncommitted, from_follower: true }
}

fn builder(values: &str) -> Builder {
    let mut builder = Builder::new(Codec::None);
    for value in values.bytes() {
        let timestamp = Timestamp::new(i64::from(value));
        builder.push(Draft { timestamp, value: Some(&[value]), ..Draft::default() }).expect("a small record");
    }
    builder
}

fn bytes_of(answer: &ReadAnswer) -> Bytes {
    answer.plan.as_ref().map_or_else(Bytes::new, |plan| plan.read().expect("the disk is well"))
}

fn values(bytes: &Bytes) -> String {
    let mut all = String::new();
    for batch in split(bytes.clone()) {
        let batch = batch.expect("whole batches");
        for record in batch.records(OUTPUT_BYTES_MAX).expect("readable records") {
            let value = record.expect("a readable record").value.expect("a value");
            all.push_str(std::str::from_utf8(&value).expect("a letter"));
        }
    }
    all
}
