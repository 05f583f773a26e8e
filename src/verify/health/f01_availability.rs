//! F1, availability: broken by a time, longer than the bound, in which a partition could be served and somebody was
//! writing to it without a pause, and in which nothing was acknowledged; or by a node that stops in good
//! order and was not released: it may lead, or be in sync (rule R16).
//!
//! Source: the availability targets. A partition could be served when whoever made the faults says so, and in all time
//! that is away from faults and from nodes that are down by the time for recovery: the one knows what a fault left
//! whole, the other needs nobody's word. A fault without a duration, as a flipped bit, is felt until the healing. Of a
//! node that stops, only what the metadata say of its last life counts: before it has registered, an earlier one may
//! still be in service.

use std::time::Duration;

use crate::model::Instant;
use crate::verify::Invariant;
use crate::verify::history::{Class, MetadataFact, NodeEvent, NodeEventKind};
use crate::verify::index::{Index, PartitionFacts};
use crate::verify::report::Findings;

/// A time from the first moment to the last.
type Span = (Instant, Instant);

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    check_stops(index, findings);
    let bound = index.expectations.bounds.unavailable;
    let quiet = quiet(index);
    for facts in &index.partitions {
        let mut serviceable = quiet.clone();
        let given = index.history.serviceable.iter().filter(|span| span.partition == facts.id);
        serviceable.extend(given.map(|span| (span.begin, span.end)));
        let serviceable = merge(serviceable, Duration::ZERO);
        let mut answered: Vec<Instant> = answers(index, facts);
        answered.sort_unstable();
        let asked = asked(index, facts, bound / 10);
        for span in common(&serviceable, &asked) {
            check_span(facts, span, &answered, bound, findings);
        }
    }
}

/// Who stops in good order has been released: fenced, and so neither leader nor in sync.
fn check_stops(index: &Index<'_>, findings: &mut Findings) {
    for stop in index.history.node_events.iter().filter(|event| event.what == NodeEventKind::Stopped) {
        if still_serves(index, stop) {
            let (node, at) = (stop.node, stop.at);
            findings.add(Invariant::F1, || format!("node {node} stops at {at} in good order and still serves"));
        }
    }
}

/// Whether a node may lead or be in sync when it stops, by a registration of the life that ends.
fn still_serves(index: &Index<'_>, stop: &NodeEvent) -> bool {
    let started = |event: &&NodeEvent| event.node == stop.node && event.what == NodeEventKind::Started;
    let starts = index.history.node_events.iter().filter(started).map(|event| event.at);
    let since = starts.filter(|at| *at <= stop.at).max();
    let in_this_life = |at: Instant| since.is_none_or(|since| at >= since) && at <= stop.at;
    let entries = index.history.metadata.iter().filter(|entry| entry.accepted && in_this_life(entry.committed_at));
    // `None` until it is registered.
    let mut serves = None;
    for fact in entries.flat_map(|entry| &entry.facts) {
        match fact {
            MetadataFact::Registered { node, .. } if *node == stop.node => serves = Some(false),
            MetadataFact::Unfenced { node } if *node == stop.node => serves = serves.map(|_| true),
            MetadataFact::Fenced { node } if *node == stop.node => serves = serves.map(|_| false),
            MetadataFact::Registered { .. }
            | MetadataFact::Unfenced { .. }
            | MetadataFact::Fenced { .. }
            | MetadataFact::TopicCreated { .. }
            | MetadataFact::TopicDeleted { .. }
            | MetadataFact::Partition(_) => {}
        }
    }
    serves == Some(true)
}

fn check_span(
    facts: &PartitionFacts<'_>,
    (begin, end): Span,
    answered: &[Instant],
    bound: Duration,
    findings: &mut Findings,
) {
    let from = answered.partition_point(|at| *at <= begin);
    let mut since = begin;
    for at in answered[from..].iter().take_while(|at| **at < end).chain(std::iter::once(&end)) {
        if at.since(since) > bound {
            let id = facts.id;
            findings.add(Invariant::F1, || {
                format!("{id}: could be served and was written to from {since} to {at}; nothing was acknowledged")
            });
        }
        since = *at;
    }
}

fn answers(index: &Index<'_>, facts: &PartitionFacts<'_>) -> Vec<Instant> {
    let sends = facts.sends.iter().map(|place| &index.history.sends[*place]);
    let good = sends.filter(|send| matches!(send.class, Class::Ok | Class::Weak));
    good.filter_map(|send| send.returned).collect()
}

/// When somebody was writing, but for pauses, until the topic's deletion.
fn asked(index: &Index<'_>, facts: &PartitionFacts<'_>, pause: Duration) -> Vec<Span> {
    let until = facts.deleted_from.unwrap_or(index.history.ended_at);
    let sends = facts.sends.iter().map(|place| &index.history.sends[*place]);
    let spans = sends.map(|send| (send.invoked, send.returned.unwrap_or(until).min(until)));
    merge(spans.filter(|(begin, end)| begin <= end).collect(), pause)
}

/// All time that is far enough from faults.
fn quiet(index: &Index<'_>) -> Vec<Span> {
    let history = index.history;
    let recovery = index.expectations.bounds.recovery;
    let faults = history.faults.iter().map(|fault| (fault.begin, fault.felt_until(history.healed_at).plus(recovery)));
    let outages = index.lives.outages(history.ended_at).map(|(begin, end)| (begin, end.plus(recovery)));
    let mut quiet = Vec::new();
    let mut since = Instant::ZERO;
    for (begin, end) in merge(faults.chain(outages).collect(), Duration::ZERO) {
        if since < begin {
            quiet.push((since, begin));
        }
        since = since.max(end);
    }
    if since < history.ended_at {
        quiet.push((since, history.ended_at));
    }
    quiet
}

/// Puts together what overlaps, or is apart by no more than a pause.
fn merge(mut spans: Vec<Span>, pause: Duration) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for (begin, end) in spans {
        match merged.last_mut() {
            Some(last) if begin <= last.1.plus(pause) => last.1 = last.1.max(end),
            Some(_) | None => merged.push((begin, end)),
        }
    }
    merged
}

/// What two rising lists of spans have in common.
fn common(a: &[Span], b: &[Span]) -> Vec<Span> {
    let mut common = Vec::new();
    let (mut ours, mut theirs) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(x), Some(y)) = (ours.peek(), theirs.peek()) {
        let span = (x.0.max(y.0), x.1.min(y.1));
        if span.0 < span.1 {
            common.push(span);
        }
        if x.1 <= y.1 {
            ours.next();
        } else {
            theirs.next();
        }
    }
    common
}
