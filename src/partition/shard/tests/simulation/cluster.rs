//! The brokers, network and disks of the simulation.

mod network;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::env::{Files, Seed};
use crate::machines::replication::{Acks, Ticket};
use crate::model::{BrokerEpoch, Instant, NodeId, Now, Offset, Timestamp};
use crate::partition::{
    ConsumerIsolation, Effect, Event, FetchPosition, ReadEvent, ReadRefusal, ReadRequest, Reader, Reply, Shard,
    ShardOptions,
};
use crate::records::{Builder, Codec, Draft, OUTPUT_BYTES_MAX, split};
use crate::storage::{DataDir, FlushOrder};
use crate::testing::SimulatedFiles;

use super::super::world::id;
use super::controller::Controller;
use network::{Letter, Message};

/// The same numbers for the same seed (splitmix64).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).expect("a small bound");
        usize::try_from((mixed ^ (mixed >> 31)) % bound).expect("below a small bound")
    }
}

/// Identifiers of data directories; nobody here tells them apart.
#[derive(Debug)]
struct FixedSeed;

impl Seed for FixedSeed {
    fn uuid(&self) -> [u8; 16] {
        [9; 16]
    }

    fn number(&self) -> u64 {
        9
    }
}

struct Process {
    directory: Arc<DataDir>,
    shard: Shard,
    inbox: Vec<Event>,
    orders: Vec<FlushOrder>,
    position: Option<FetchPosition>,
    /// Whether a fetch of this position is under way.
    asking: bool,
    /// Whether the last answer brought nothing: the next fetch waits for the next step.
    parked: bool,
    /// The last high watermark heard in an answer without records, so that the end of a run comes to rest.
    heard: Option<Offset>,
    life: BrokerEpoch,
    /// Nobody gives orders before the registration was applied.
    registered: bool,
}

struct Machine {
    files: SimulatedFiles,
    process: Option<Process>,
}

pub(super) struct Cluster {
    chance: Chance,
    now: Now,
    machines: BTreeMap<NodeId, Machine>,
    controller: Controller,
    letters: Vec<Letter>,
    tickets: u64,
    /// What each produce wrote.
    produced: BTreeMap<Ticket, String>,
    /// What a reader saw or a producer was told: never another.
    committed: BTreeMap<i64, String>,
    acked: usize,
    trace: Vec<String>,
}

impl Cluster {
    pub(super) fn new(seed: u64) -> Self {
        let nodes = || (1..=3).map(NodeId::new);
        let controller = Controller::new(nodes());
        let now = Now { instant: Instant::from_nanos(1), timestamp: Timestamp::new(1000) };
        let machines = nodes().map(|node| {
            let files = SimulatedFiles::default();
            files.create_dir_all(Path::new("/data")).expect("a disk is mounted");
            files.sync_dir(Path::new("/")).expect("a disk is mounted");
            let life = BrokerEpoch::new(i64::from(node.get()));
            let process = Process { registered: true, ..Process::start(&files, node, life) };
            (node, Machine { files, process: Some(process) })
        });
        Self {
            chance: Chance(seed),
            now,
            machines: machines.collect(),
            controller,
            letters: Vec::new(),
            tickets: 0,
            produced: BTreeMap::new(),
            committed: BTreeMap::new(),
            acked: 0,
            trace: Vec::new(),
        }
    }

    pub(super) fn acked(&self) -> usize {
        self.acked
    }

    pub(super) fn trace(&self) -> &[String] {
        &self.trace
    }

    /// One line for people and for comparing runs.
    fn note(&mut self, line: String) {
        if std::env::var_os("OTTLA_TRACE").is_some() {
            eprintln!("{line}");
        }
        self.trace.push(line);
    }

    pub(super) fn step(&mut self) {
        let span = u64::try_from(self.chance.below(100)).expect("a small span");
        self.now.instant = self.now.instant.plus(Duration::from_millis(span));
        let node = self.any_node();
        let what = self.chance.below(1000);
        match what {
            0..=49 => self.produce(node),
            50..=149 => self.produce(self.controller.leader.unwrap_or(node)),
            150..=549 => self.deliver(),
            550..=749 => self.flush(node),
            750..=869 => self.inform(node),
            870..=909 => self.consume(node),
            910..=929 => self.tell(node, Event::Tick),
            930..=949 => self.lose_letter(),
            950..=952 => self.kill(node),
            953..=955 => self.cut_power(node),
            956..=975 => self.start(node),
            976..=978 => self.controller.fence(node),
            979..=984 => self.unfence(node),
            985..=996 => self.register(node),
            _ => self.controller.move_leader(),
        }
        self.unpark(node);
        self.ask_again(node);
        self.note(format!("{} did {what} at {node}; {}", self.now.instant, self.controller));
    }

    /// Everything works from here on; when it has come to rest, nothing may be missing.
    pub(super) fn heal_and_judge(&mut self) {
        for node in self.nodes() {
            self.start(node);
            self.register(node);
        }
        for _ in 0..60 {
            self.now.instant = self.now.instant.plus(Duration::from_millis(500));
            for node in self.nodes() {
                self.inform(node);
                self.tell(node, Event::Tick);
            }
            self.come_to_rest();
        }
        let leader = self.controller.leader.expect("somebody eligible is up");
        assert_eq!(self.controller.isr.len(), 3, "everybody is back in sync");
        let ends: Vec<(Offset, Offset)> = self.nodes().into_iter().map(|node| self.ends(node)).collect();
        assert!(ends.iter().all(|end| *end == ends[0] && end.0 == end.1), "all committed, all alike: {ends:?}");
        let held =
            self.read(leader, consumer(), Offset::ZERO, None).expect("the leader is up").expect("from the start");
        let held = records(&held.0);
        for (offset, value) in &self.committed {
            assert_eq!(held.get(offset), Some(value), "offset {offset}");
        }
        for node in self.nodes() {
            self.consume(node);
        }
    }

    fn come_to_rest(&mut self) {
        for node in self.nodes() {
            self.unpark(node);
        }
        for _ in 0..200 {
            for node in self.nodes() {
                self.flush(node);
                self.ask_again(node);
            }
            if self.letters.is_empty() {
                return;
            }
            while !self.letters.is_empty() {
                let letter = self.letters.remove(0);
                self.open_letter(letter);
            }
        }
        panic!("the cluster does not come to rest: {:#?}", self.letters);
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    fn any_node(&mut self) -> NodeId {
        let nodes = self.nodes();
        nodes[self.chance.below(nodes.len())]
    }

    fn process(&mut self, node: NodeId) -> Option<&mut Process> {
        self.machines.get_mut(&node).expect("a machine for each node").process.as_mut()
    }

    fn tell(&mut self, node: NodeId, event: Event) {
        let now = self.now;
        self.note(format!("  {node} < {event:?}"));
        let Some(process) = self.process(node) else { return };
        let mut outbox = Vec::new();
        process.inbox.push(event);
        let mut inbox = std::mem::take(&mut process.inbox);
        process.shard.turn(now, &mut inbox, &mut outbox);
        for effect in outbox {
            // An order shows the whole disk.
            let shown = if let Effect::Flush(orders) = &effect {
                format!("{} orders", orders.len())
            } else {
                format!("{effect:?}")
            };
            self.note(format!("  {node}: {shown}"));
            self.carry_out(node, effect);
        }
    }

    fn carry_out(&mut self, node: NodeId, effect: Effect) {
        let process = self.process(node).expect("only who is up has effects");
        let life = process.life;
        match effect {
            Effect::Reply { ticket, reply: Reply::Append(outcome) } => {
                let value = self.produced.remove(&ticket).expect("a ticket is resolved once");
                if let Ok(acked) = outcome {
                    self.acked += 1;
                    self.commit(acked.base_offset.get(), &value);
                }
            }
            Effect::Reply { reply, .. } => panic!("nobody asked for {reply:?}"),
            Effect::Flush(orders) => process.orders.extend(orders),
            Effect::ProposeIsr(wish) => {
                let message = Message::Propose { from: node, proposal: wish.proposal };
                self.letters.push(Letter { life, message });
            }
            Effect::FetchFrom(position) => {
                (process.position, process.asking) = (Some(position), false);
            }
            Effect::StopFetching(_) => process.position = None,
            Effect::Wake(_) | Effect::Opened(_) => {}
            alarm @ (Effect::Broken(_)
            | Effect::Damaged(_)
            | Effect::Unreadable(_)
            | Effect::Contradicted(_)
            | Effect::Unusable(_)
            | Effect::Fatal { .. }) => panic!("{alarm:?}"),
        }
    }

    fn commit(&mut self, offset: i64, value: &str) {
        let known = self.committed.entry(offset).or_insert_with(|| value.to_owned());
        assert_eq!(known, value, "two records were told of offset {offset}");
    }

    fn produce(&mut self, node: NodeId) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let value = format!("value {}", self.tickets);
        let mut builder = Builder::new(Codec::None);
        builder.push(Draft { value: Some(value.as_bytes()), ..Draft::default() }).expect("a small record");
        let batch = builder.build().expect("a small batch");
        if self.process(node).is_none_or(|process| !process.registered) {
            return;
        }
        self.produced.insert(ticket, value);
        let deadline = self.now.instant.plus(Duration::from_secs(10));
        let append = Event::Append { ticket, partition: id(), leader_epoch: None, batch, acks: Acks::All, deadline };
        self.tell(node, append);
    }

    /// Lets the group flush of a node happen.
    fn flush(&mut self, node: NodeId) {
        let now = self.now;
        let Some(process) = self.process(node) else { return };
        if process.orders.is_empty() {
            return;
        }
        let orders = std::mem::take(&mut process.orders);
        let flushed = process.directory.flush_log().flush(orders, now).expect("the disk is well");
        self.tell(node, Event::Flushed(flushed));
    }

    fn inform(&mut self, node: NodeId) {
        if self.process(node).is_some_and(|process| process.registered) {
            self.tell(node, self.controller.order(node));
        }
    }

    fn consume(&mut self, node: NodeId) {
        if let Some(Ok((bytes, _))) = self.read(node, consumer(), Offset::ZERO, None) {
            for (offset, value) in records(&bytes) {
                self.commit(offset, &value);
            }
        }
    }

    fn kill(&mut self, node: NodeId) {
        self.machines.get_mut(&node).expect("a machine for each node").process = None;
        // Mostly its connections close and that is seen at once; sometimes it returns before anybody has noticed.
        if self.chance.below(4) > 0 {
            self.controller.fence(node);
        }
    }

    /// Whatever was not synced is lost, or not, in part or in whole.
    fn cut_power(&mut self, node: NodeId) {
        self.kill(node);
        let point = self.machines[&node].files.crash_point();
        let ends: Vec<usize> = point.ways().into_iter().map(|ways| self.chance.below(ways)).collect();
        self.machines.get_mut(&node).expect("a machine for each node").files = point.after(&ends);
    }

    fn start(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).expect("a machine for each node");
        if machine.process.is_some() {
            return;
        }
        let process = Process::start(&machine.files, node, BrokerEpoch::new(-1));
        let found = process.directory.partitions().to_vec();
        let (aside, attested) = (process.directory.set_aside(), process.directory.attested(id()));
        assert!(aside.is_empty() || attested.is_none(), "{node} set {aside:?} aside with flushed records");
        machine.process = Some(process);
        for partition in found {
            self.tell(node, Event::Open { partition: partition.id, name: partition.name });
        }
    }

    fn register(&mut self, node: NodeId) {
        if self.process(node).is_none() {
            return;
        }
        let life = self.controller.register(node);
        let process = self.process(node).expect("just seen");
        (process.life, process.registered, process.asking) = (life, true, false);
    }

    fn unfence(&mut self, node: NodeId) {
        if self.process(node).is_some_and(|process| process.registered) && !self.controller.is_unfenced(node) {
            self.controller.unfence(node);
        }
    }

    fn unpark(&mut self, node: NodeId) {
        if let Some(process) = self.process(node) {
            process.parked = false;
        }
    }

    /// The fetcher of a node, when its connection is free.
    fn ask_again(&mut self, node: NodeId) {
        let Some(process) = self.process(node) else { return };
        let Some(position) = process.position.filter(|_| process.registered && !process.asking && !process.parked)
        else {
            return;
        };
        process.asking = true;
        let life = process.life;
        self.letters.push(Letter { life, message: Message::Ask { from: node, position } });
    }

    /// Asks a node; `None` when it is down.
    fn read(
        &mut self,
        node: NodeId,
        reader: Reader,
        offset: Offset,
        position: Option<FetchPosition>,
    ) -> Option<Result<(Bytes, Facts), ReadRefusal>> {
        let now = self.now;
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let request = ReadRequest {
            partition: id(),
            offset,
            leader_epoch: position.map(|position| position.leader_epoch),
            last_fetched_epoch: position.and_then(|position| position.last_fetched_epoch),
            last_crc: position.and_then(|position| position.last_crc),
            bytes_max: 1 << 20,
        };
        let read = ReadEvent {
            ticket,
            reader,
            reads: vec![request],
            bytes_max: 1 << 20,
            bytes_min: 1,
            whole_first: true,
            watch: None,
            again: false,
        };
        let process = self.process(node)?;
        let mut outbox = Vec::new();
        process.shard.turn(now, &mut vec![Event::Read(read)], &mut outbox);
        let at = outbox.iter().position(|effect| matches!(effect, Effect::Reply { ticket: of, .. } if *of == ticket));
        let reply = outbox.remove(at.expect("a read is answered at once"));
        for effect in outbox {
            self.carry_out(node, effect);
        }
        let Effect::Reply { reply: Reply::Read { mut reads, .. }, .. } = reply else { panic!("a read's reply") };
        let answer = reads.pop().expect("one answer for one request").outcome;
        Some(answer.map(|answer| {
            let bytes = answer.plan.as_ref().map_or_else(Bytes::new, |plan| plan.read().expect("the disk is well"));
            let facts = Facts {
                high_watermark: answer.high_watermark,
                log_start: answer.log_start,
                diverging: answer.diverging,
            };
            (bytes, facts)
        }))
    }

    /// The high watermark and the flushed end of a node.
    fn ends(&mut self, node: NodeId) -> (Offset, Offset) {
        let now = self.now;
        let process = self.process(node).expect("everybody is up");
        let mut outbox = Vec::new();
        let describe = Event::Describe { ticket: Ticket(0), partition: Some(id()) };
        process.shard.turn(now, &mut vec![describe], &mut outbox);
        let described = outbox.into_iter().find_map(|effect| {
            if let Effect::Reply { reply: Reply::Describe(mut all), .. } = effect { all.pop() } else { None }
        });
        let description = described.expect("the partition is there");
        (description.high_watermark, description.end)
    }
}

/// What an answer tells beside its bytes.
struct Facts {
    high_watermark: Offset,
    log_start: Offset,
    diverging: Option<crate::machines::replication::EpochEnd>,
}

impl Process {
    fn start(files: &SimulatedFiles, node: NodeId, life: BrokerEpoch) -> Self {
        let files = Arc::new(files.clone());
        let directory = DataDir::open(files, Path::new("/data"), node, &FixedSeed, crate::model::Timestamp::new(0))
            .expect("a directory of ours opens after any crash");
        let directory = Arc::new(directory);
        let shard = Shard::new(directory.clone(), ShardOptions::new(node));
        Self {
            directory,
            shard,
            inbox: Vec::new(),
            orders: Vec::new(),
            position: None,
            asking: false,
            parked: false,
            heard: None,
            life,
            registered: false,
        }
    }
}

fn consumer() -> Reader {
    Reader::Consumer { isolation: ConsumerIsolation::ReadUncommitted, from_follower: true }
}

fn records(bytes: &Bytes) -> BTreeMap<i64, String> {
    let mut all = BTreeMap::new();
    for batch in split(bytes.clone()) {
        for record in batch.expect("whole batches").records(OUTPUT_BYTES_MAX).expect("readable records") {
            let record = record.expect("a readable record");
            let value = String::from_utf8(record.value.expect("a value").to_vec()).expect("a text");
            all.insert(record.offset.get(), value);
        }
    }
    all
}
