//! Carries a trace out on recorded files, and notes at each crash point what must hold there.

use std::path::Path;

use ottla::model::{BrokerEpoch, Instant, LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, Sequence, TopicId};
use ottla::records::{Batch, Producer};
use ottla::storage::{Appended, DataDir, Log};
use ottla::testing::{CrashPoint, Fault, FileKind, SimulatedFiles, Target, Times};

use crate::guard::Broken;
use crate::model::{Allowed, Content, Phase};
use crate::start::{Started, now, open_log, start};
use crate::step::{Step, batch, batch_of};

/// The producer of what a follower fetches.
const FETCHED: i64 = 2;
/// A flush log that is longer is written anew.
const FLUSH_LOG_BYTES: usize = 1 << 20;

pub(crate) struct Run {
    files: SimulatedFiles,
    started: Option<Started>,
    broken: Option<Broken>,
    topic: TopicId,
    content: Content,
    acked: Offset,
    cached: Offset,
    is_volatile: bool,
    start: Offset,
    /// The start that is certain to be durable.
    start_durable: Offset,
    may_be_clean: bool,
    boot: u64,
    epoch: LeaderEpoch,
    number: u64,
    sequences: [i32; 3],
    phases: Vec<Phase>,
}

/// The crash points of a trace, each with its phase.
pub(crate) struct Recorded {
    pub(crate) points: Vec<CrashPoint>,
    phases: Vec<Phase>,
}

impl Recorded {
    /// What holds at a point, and the number of that.
    pub(crate) fn phase(&self, point: usize) -> (usize, &Phase) {
        let at = self.phases.iter().rposition(|phase| phase.since <= point);
        let at = at.expect("the first holds from the start");
        (at, &self.phases[at])
    }
}

/// Carries out a trace.
pub(crate) fn record(steps: &[Step], broken: Option<Broken>) -> Result<Recorded, String> {
    let files = SimulatedFiles::default();
    let topic = TopicId::new([9; 16]);
    let started = start(&files, topic)?;
    started.data.set_broker_epoch(BrokerEpoch::new(7)).map_err(|e| e.to_string())?;
    let mut run = Run {
        files: files.clone(),
        boot: started.boot(),
        started: Some(started),
        broken,
        topic,
        content: Content::default(),
        acked: Offset::ZERO,
        cached: Offset::ZERO,
        is_volatile: false,
        start: Offset::ZERO,
        start_durable: Offset::ZERO,
        may_be_clean: false,
        epoch: LeaderEpoch::new(0),
        number: 0,
        sequences: [0; 3],
        phases: Vec::new(),
    };
    if matches!(steps.first(), Some(Step::Swell)) {
        run.swell()?;
    }
    files.record();
    run.inject_broken();
    run.phase(vec![run.now()]);
    for step in steps {
        run.step(*step).map_err(|e| format!("{step:?}: {e}"))?;
    }
    Ok(Recorded { points: files.take_recorded(), phases: run.phases })
}

impl Run {
    fn now(&self) -> Allowed {
        Allowed {
            content: self.content.clone(),
            acked: self.acked,
            cached: self.cached,
            start_min: self.start_durable,
            start_max: self.start,
            may_be_clean: self.may_be_clean,
        }
    }

    /// From the present crash point on these are allowed.
    fn phase(&mut self, allowed: Vec<Allowed>) {
        // The point kept last is the present one.
        let since = self.files.recorded() - 1;
        self.phases.push(Phase { since, topic: self.topic, boot: self.boot, allowed });
    }

    fn inject_broken(&self) {
        if let Some((fault, target)) = self.broken.and_then(Broken::fault) {
            self.files.inject(fault, target, Times::Always);
        }
    }

    fn log(&mut self) -> &mut Log {
        &mut self.started.as_mut().expect("a process runs between steps").log
    }

    fn data(&self) -> &DataDir {
        &self.started.as_ref().expect("a process runs between steps").data
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Swell => Ok(()),
            Step::Append(bytes) => self.append(bytes, None),
            Step::Produce(id) => {
                let producer = self.producer(id);
                self.append(80, Some(producer))
            }
            Step::Fetch(count, bytes) => self.fetch(count, bytes),
            Step::Straddle => self.straddle(),
            Step::Begin => {
                self.epoch = self.epoch.next();
                let epoch = self.epoch;
                self.log().begin_epoch(epoch);
                Ok(())
            }
            Step::Flush => self.flush(),
            Step::Attest => {
                self.log().flush_now(now()).map_err(|e| e.to_string())?;
                self.flushed()?;
                self.attest()
            }
            Step::Rest => self.rest(),
            Step::State => self.attest(),
            Step::Overtake(n) => self.overtake(n),
            Step::Truncate(n) => self.truncate(n),
            Step::Advance(n) => {
                if self.advance(n) {
                    self.log().purge(now()).map_err(|e| e.to_string())?;
                }
                Ok(())
            }
            Step::Retain(n) => {
                self.advance(n);
                self.retain(now())
            }
            Step::Sweep => self.retain(Now { instant: Instant::from_nanos(2_000_000_000_000), ..now() }),
            Step::Reset(start) => self.reset(Offset::new(start)),
            Step::Recreate => self.recreate(),
            Step::Volatile => {
                self.count_unflushed();
                Ok(())
            }
            Step::Durable => self.count_flushed(),
            Step::Kill => self.kill(),
            Step::Stop => self.stop(),
            Step::FailAppend(bytes) => self.fail_append(bytes),
            Step::FailFlush(kind) => self.fail_flush(kind),
            Step::LoseAppend(bytes) => {
                self.files.inject(Fault::WritebackFails, Target::kind(FileKind::Segment), Times::Once);
                self.append(bytes, None)?;
                self.flush_that_fails()
            }
        }
    }

    fn swell(&mut self) -> Result<(), String> {
        let start = Offset::new(50);
        while self.files.size_of(Path::new("/data/flush-log")) <= FLUSH_LOG_BYTES {
            self.log().reset(start).map_err(|e| e.to_string())?;
        }
        self.content.origin = start;
        (self.start, self.start_durable, self.acked, self.cached) = (start, start, start, start);
        Ok(())
    }

    fn producer(&self, id: i64) -> Producer {
        let base_sequence = Sequence::new(self.sequences[usize::try_from(id).unwrap()]);
        Producer { id: ProducerId::new(id), epoch: ProducerEpoch::new(0), base_sequence }
    }

    fn append(&mut self, bytes: usize, producer: Option<Producer>) -> Result<(), String> {
        let batch = batch(&mut self.number, bytes, producer);
        let before = self.now();
        let stamped = batch.stamp(self.content.end(), self.epoch).to_batch();
        self.content.batches.push(stamped.clone());
        self.phase(vec![before, self.now()]);
        let epoch = self.epoch;
        match self.log().append(&batch, epoch, now()) {
            Ok(Appended::New { base, .. }) if base == stamped.base_offset() => {}
            other => return Err(format!("{other:?}")),
        }
        self.appended(&stamped);
        Ok(())
    }

    fn appended(&mut self, batch: &Batch) {
        if let Ok(id) = usize::try_from(batch.header().producer_id.get()) {
            self.sequences[id] += batch.header().last_offset_delta + 1;
        }
        self.count_cached();
        self.phase(vec![self.now()]);
    }

    fn fetch(&mut self, count: usize, bytes: usize) -> Result<(), String> {
        let before = self.now();
        let mut batches = Vec::new();
        for _ in 0..count {
            let producer = self.producer(FETCHED);
            let batch = batch(&mut self.number, bytes, Some(producer));
            let stamped = batch.stamp(self.content.end(), self.epoch).to_batch();
            self.sequences[usize::try_from(FETCHED).unwrap()] += stamped.header().last_offset_delta + 1;
            self.content.batches.push(stamped.clone());
            batches.push(stamped);
        }
        self.fetched(&batches, before)
    }

    fn straddle(&mut self) -> Result<(), String> {
        if !self.content.batches.is_empty() || self.start == Offset::ZERO {
            return Ok(());
        }
        let base = Offset::new(self.start.get() - 1);
        self.number += 1;
        let batch = batch_of(self.number, 3, 300, None).stamp(base, self.epoch).to_batch();
        let before = Allowed { acked: base, cached: base, start_min: base, ..self.now() };
        self.content = Content { origin: base, batches: vec![batch.clone()] };
        (self.start_durable, self.acked, self.cached) = (base, base, base);
        // The log is moved back before it is written: then it is empty at the batch's base.
        let empty = Allowed { start_min: base, start_max: base, ..before.clone() };
        let empty = Allowed { content: Content { origin: base, batches: Vec::new() }, ..empty };
        self.phase(vec![before.clone(), empty]);
        self.fetched(&[batch], before)
    }

    fn fetched(&mut self, batches: &[Batch], before: Allowed) -> Result<(), String> {
        self.phase(vec![before, self.now()]);
        self.log().append_fetched(batches, now()).map_err(|e| e.to_string())?;
        self.count_cached();
        self.phase(vec![self.now()]);
        Ok(())
    }

    /// A flush in two halves, as the flush thread does it.
    fn flush(&mut self) -> Result<(), String> {
        let Some(order) = self.log().pending_flush() else { return Ok(()) };
        if self.broken == Some(Broken::AckedBeforeSynced) {
            self.acked = self.content.end();
            self.phase(vec![self.now()]);
        }
        let flushed = self.log().flush_log().flush(vec![order], now()).map_err(|e| e.to_string())?;
        flushed.iter().for_each(|one| self.log().flush_done(one));
        self.flushed()
    }

    /// What counts as flushed is promised from here on.
    fn flushed(&mut self) -> Result<(), String> {
        self.acked = self.log().flushed_end();
        if self.acked != self.content.end() {
            return Err(format!("flushed to {}, not to {}", self.acked, self.content.end()));
        }
        self.phase(vec![self.now()]);
        Ok(())
    }

    fn attest(&mut self) -> Result<(), String> {
        self.log().flush_log().attest().map_err(|e| e.to_string())
    }

    fn rest(&mut self) -> Result<(), String> {
        self.log().rest_now(now()).map_err(|e| e.to_string())?;
        self.flushed()
    }

    fn overtake(&mut self, n: usize) -> Result<(), String> {
        let order = self.log().pending_flush();
        self.truncate(n)?;
        let flushed = self.log().flush_log().flush(order.into_iter().collect(), now()).map_err(|e| e.to_string())?;
        flushed.iter().for_each(|one| self.log().flush_done(one));
        self.acked = self.acked.max(self.log().flushed_end());
        self.phase(vec![self.now()]);
        Ok(())
    }

    fn truncate(&mut self, n: usize) -> Result<(), String> {
        let Some(to) = self.content.batches.get(n).map(Batch::base_offset) else { return Ok(()) };
        if to <= self.start {
            return Ok(());
        }
        let before = self.now();
        self.content.batches.truncate(n);
        (self.acked, self.cached) = (self.acked.min(to), self.cached.min(to));
        // Until the flush log says so the old end stands; from then on any prefix does.
        self.phase(vec![Allowed { acked: self.acked, cached: self.cached, ..before }, self.now()]);
        // One offset into the batch, to see that all of it goes.
        let end = self.log().truncate(to).map_err(|e| e.to_string())?;
        if end != to {
            return Err(format!("cut to {end}, not {to}"));
        }
        self.acked = to;
        self.recount_sequences();
        self.phase(vec![self.now()]);
        Ok(())
    }

    fn recount_sequences(&mut self) {
        for id in 0..3 {
            let producers = self.content.producers(self.content.end());
            let known = producers.get(ProducerId::new(i64::try_from(id).unwrap()));
            let last = known.and_then(|p| p.batches.back()).map(|b| b.last.get());
            self.sequences[id] = last.map_or(0, |last| last + 1);
        }
    }

    fn advance(&mut self, n: usize) -> bool {
        let to = self.content.batches.get(n).map(Batch::base_offset);
        let flushed = self.log().flushed_end();
        let Some(to) = to.filter(|to| *to > self.start && *to <= flushed) else { return false };
        self.start = to;
        self.phase(vec![self.now()]);
        self.log().advance_start(to);
        true
    }

    fn retain(&mut self, now: Now) -> Result<(), String> {
        let acked = self.acked;
        self.log().retain(now, acked).map(drop).map_err(|e| e.to_string())
    }

    fn reset(&mut self, start: Offset) -> Result<(), String> {
        let before = self.now();
        self.content = Content { origin: start, batches: Vec::new() };
        (self.start, self.start_durable, self.acked, self.cached) = (start, start, start, start);
        self.phase(vec![before, self.now()]);
        self.log().reset(start).map_err(|e| e.to_string())?;
        self.sequences = [0; 3];
        self.phase(vec![self.now()]);
        Ok(())
    }

    fn recreate(&mut self) -> Result<(), String> {
        let Started { log, data, .. } = self.started.take().expect("a process runs between steps");
        let [first, rest @ ..] = self.topic.get();
        let mut topic = [first + 1; 16];
        topic[1..].copy_from_slice(&rest);
        self.topic = TopicId::new(topic);
        self.content = Content::default();
        (self.start, self.start_durable, self.acked, self.cached) =
            (Offset::ZERO, Offset::ZERO, Offset::ZERO, Offset::ZERO);
        (self.epoch, self.sequences, self.is_volatile) = (LeaderEpoch::new(0), [0; 3], false);
        // Whoever starts now knows of the new topic, whatever became of the old one's directory.
        self.phase(vec![self.now()]);
        log.delete().map_err(|e| e.to_string())?;
        let log = open_log(&data, self.topic)?;
        let deleted = data.deleted().map_err(|e| e.to_string())?;
        data.remove_deleted(&deleted).map_err(|e| e.to_string())?;
        self.started = Some(Started::running(log, data));
        self.phase(vec![self.now()]);
        Ok(())
    }

    fn count_unflushed(&mut self) {
        self.is_volatile = true;
        self.count_cached();
        self.phase(vec![self.now()]);
    }

    /// What is in the page cache counts, if the flush log says by now that it may.
    fn count_cached(&mut self) {
        if self.is_volatile && self.log().count_unflushed() {
            self.cached = self.content.end();
        }
    }

    fn count_flushed(&mut self) -> Result<(), String> {
        self.is_volatile = false;
        self.log().count_flushed();
        self.flush()?;
        self.log().count_flushed();
        Ok(())
    }

    fn kill(&mut self) -> Result<(), String> {
        self.started = None;
        let started = start(&self.files, self.topic)?;
        let seen = started.look()?;
        self.phases.last().expect("there is one").judge(&seen)?;
        if seen.log.end != self.content.end() {
            return Err(format!("it ends at {}, and no power was cut", seen.log.end));
        }
        self.boot = started.boot();
        self.started = Some(started);
        self.may_be_clean = false;
        self.start = seen.log.start;
        self.acked = self.acked.max(seen.log.flushed);
        if self.broken == Some(Broken::RecoveredIsAcked) {
            self.acked = self.content.end();
        }
        self.phase(vec![self.now()]);
        let epoch = self.epoch;
        self.log().begin_epoch(epoch);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        self.rest()?;
        self.may_be_clean = true;
        self.phase(vec![self.now()]);
        self.data().mark_clean().map_err(|e| e.to_string())?;
        self.kill()
    }

    fn fail_append(&mut self, bytes: usize) -> Result<(), String> {
        let batch = batch(&mut self.number, bytes, None);
        self.files.inject(Fault::WriteFails, Target::kind(FileKind::Segment), Times::Once);
        let epoch = self.epoch;
        let failed = self.log().append(&batch, epoch, now());
        if failed.is_ok() || self.log().is_poisoned() {
            return Err(format!("{failed:?}, with an append that the disk refused"));
        }
        self.phase(vec![self.now()]);
        Ok(())
    }

    fn fail_flush(&mut self, kind: FileKind) -> Result<(), String> {
        self.files.inject(Fault::SyncFails, Target::kind(kind), Times::Once);
        self.flush_that_fails()
    }

    /// What was not synced then never will be, unless it is written again.
    fn flush_that_fails(&mut self) -> Result<(), String> {
        let Some(order) = self.log().pending_flush() else { return self.heal() };
        match self.log().flush_log().flush(vec![order], now()) {
            Ok(flushed) => {
                flushed.iter().for_each(|one| self.log().flush_done(one));
                self.flushed()?;
            }
            Err(_) => self.log().flush_failed(),
        }
        self.heal()?;
        self.kill()
    }

    /// A fault that met nothing of its kind does not wait for the next.
    fn heal(&self) -> Result<(), String> {
        self.files.heal();
        self.inject_broken();
        Ok(())
    }
}
