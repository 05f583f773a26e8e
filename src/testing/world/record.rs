//! Keeps the history of a run, and its trace.
//!
//! Invariant: what is written down is what an outsider sees: invocations before they are sent, answers when they have
//! come, the metadata as it was committed.

use std::fmt::Write as _;

use super::Happening;
use super::message::{Answer, Message};
use crate::machines::metadata::{Image, Record};
use crate::model::{Instant, LogIndex, NodeId, Term};
use crate::partition::{Effect, Event, Reply};
use crate::testing::evidence;
use crate::verify::History;
use crate::verify::history::{FaultSpan, MetadataEntry, NodeEvent, NodeEventKind};

/// Whether a run is told as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Traces {
    /// Only a digest of it is kept.
    #[default]
    Digest,
    /// Every line is kept too.
    Lines,
}

/// See the file's comment.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) history: History,
    traces: Traces,
    lines: Vec<String>,
    digest: u64,
    /// How far the metadata is noted.
    noted: LogIndex,
}

impl Recorder {
    pub(super) fn new(traces: Traces) -> Self {
        Self {
            history: History::default(),
            traces,
            lines: Vec::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            noted: LogIndex::new(0),
        }
    }

    /// The lines of the trace, if they were kept.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn trace(&mut self, now: Instant, happening: &Happening) {
        let node = happening.node().map_or(-1, NodeId::get);
        self.mix(now.as_nanos());
        self.mix(u64::from(node.unsigned_abs()));
        if self.traces == Traces::Lines && !matches!(happening, Happening::QuorumBeat) {
            self.line(format!("{now} {}", shown_happening(happening)));
        }
    }

    pub(super) fn trace_events(&mut self, now: Instant, node: NodeId, events: &[Event]) {
        for event in events {
            if self.traces == Traces::Lines {
                self.line(format!("{now}   {node} < {event:?}"));
            }
        }
    }

    pub(super) fn trace_effect(&mut self, now: Instant, node: NodeId, effect: &Effect) {
        if self.traces == Traces::Lines {
            self.line(format!("{now}   {node} > {}", shown_effect(effect)));
        }
    }

    /// Something that is told to people.
    pub(super) fn say(&mut self, now: Instant, what: &str) {
        if self.traces == Traces::Lines {
            self.line(format!("{now} {what}"));
        }
    }

    fn line(&mut self, line: String) {
        for byte in line.bytes() {
            self.mix(u64::from(byte));
        }
        self.lines.push(line);
    }

    /// FNV-1a, a word at a time.
    pub(super) fn mix(&mut self, word: u64) {
        self.digest = (self.digest ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    }

    pub(super) fn node(&mut self, at: Instant, node: NodeId, what: NodeEventKind) {
        if self.traces == Traces::Lines && !matches!(what, NodeEventKind::Applied { .. }) {
            let mut line = String::new();
            write!(line, "{at} {node} {what:?}").expect("a string takes all");
            self.line(line);
        }
        self.history.node_events.push(NodeEvent { node, at, what });
    }

    pub(super) fn fault(&mut self, name: String, begin: Instant, end: Instant) {
        self.history.faults.push(FaultSpan { name, begin, end });
    }

    pub(super) fn metadata_noted(&self) -> LogIndex {
        self.noted
    }

    #[expect(clippy::too_many_arguments, reason = "each is one field of the entry")]
    pub(super) fn metadata(
        &mut self,
        index: LogIndex,
        term: Term,
        committed_at: Instant,
        accepted: bool,
        records: &[Record],
        before: &Image,
        isr_min: usize,
    ) {
        self.noted = index;
        let facts = if accepted { evidence::facts(index, records, before, isr_min) } else { Vec::new() };
        if self.traces == Traces::Lines {
            self.line(format!("{committed_at} committed {index} {accepted} {facts:?}"));
        }
        self.history.metadata.push(MetadataEntry { index, term, committed_at, accepted, facts });
    }
}

/// A happening in a line; an image would fill a page.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever is new is told like the rest")]
fn shown_happening(happening: &Happening) -> String {
    match happening {
        Happening::Arrive { from, to, message: Message::Answer { id, body: Answer::Metadata(image) } } => {
            format!("{from:?} to {to:?}: {id:?} metadata up to {}", image.last_applied())
        }
        other => format!("{other:?}"),
    }
}

/// An effect in a line; an order or a plan would show the whole disk.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever is new is told like the rest")]
fn shown_effect(effect: &Effect) -> String {
    match effect {
        Effect::Flush(orders) => format!("{} orders", orders.len()),
        Effect::Reply { ticket, reply: Reply::Read { reads, watching } } => {
            let shown = |read: &crate::partition::ReadReply| match &read.outcome {
                Ok(answer) => format!(
                    "{} bytes up to {:?}, hw {}, start {}, diverging {:?}",
                    answer.plan.as_ref().map_or(0, crate::storage::ReadPlan::len),
                    answer.plan.as_ref().map(|plan| plan.next.get()),
                    answer.high_watermark,
                    answer.log_start,
                    answer.diverging
                ),
                Err(refusal) => format!("{refusal:?}"),
            };
            let reads: Vec<String> = reads.iter().map(shown).collect();
            format!("{ticket:?} read {watching:?} {reads:?}")
        }
        Effect::Compact(job) => format!("compacts {:?}", job.dirt),
        Effect::Reply { ticket, reply: Reply::ListOffset(Ok(_)) } => format!("{ticket:?} offset"),
        other => format!("{other:?}"),
    }
}
