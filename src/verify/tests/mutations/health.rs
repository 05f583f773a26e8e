//! Edits that break the invariants of liveness and health.

use std::time::Duration;

use super::{flags, flags_among, run, some_send};
use crate::model::{Instant, NodeId};
use crate::verify::history::{Class, NodeEvent, NodeEventKind, Send, ServiceSpan, ValueId};
use crate::verify::{Activity, Bounds, Expectations, History, Invariant, Validity, check};

#[test]
fn a_partition_that_could_be_served_and_is_not_is_flagged() {
    flags(Invariant::F1, |history, random| {
        let lives = |send: &Send| history.scans.iter().any(|scan| scan.partition == send.partition);
        let at = some_send(history, random, lives)?;
        // In the quiet time at the end, somebody writes again and again, and nothing is acknowledged.
        let last = history.sends[at].clone();
        let begin = Instant::from_nanos(history.ended_at.as_nanos() - 10_000_000_000);
        let pause = Bounds::default().unavailable / 10;
        let mut invoked = begin;
        for more in 0..30_u64 {
            let returned = invoked.plus(pause / 2);
            history.sends.push(Send {
                value: ValueId(u64::MAX - more),
                order: last.order + 1000 + more,
                invoked,
                returned: Some(returned),
                class: Class::Info,
                offset: None,
                answered_by: None,
                ..last.clone()
            });
            invoked = returned.plus(pause / 2);
        }
        if random.chance(50) {
            let span = ServiceSpan { partition: last.partition, begin, end: history.ended_at };
            history.serviceable.push(span);
        }
        Some(())
    });
}

#[test]
fn a_partition_that_does_not_come_back_is_flagged() {
    flags(Invariant::F2, |history, random| {
        let ended = history.ended_at;
        let at = random.below(history.endings.len());
        let ending = &mut history.endings[at];
        match random.below(3) {
            0 => ending.acknowledged_at = None,
            1 => ending.read_at = None,
            _ => ending.acknowledged_at = Some(ended),
        }
        Some(())
    });
}

#[test]
fn an_operation_that_does_not_end_is_flagged() {
    flags(Invariant::F3, |history, random| {
        let at = some_send(history, random, |_| true)?;
        // The time of the faults may be no part of it.
        let since = history.sends[at].invoked.max(history.healed_at?);
        history.sends[at].returned = Some(since.plus(Duration::from_secs(3601)));
        if random.chance(50) {
            history.sends[at].returned = None;
            history.ended_at = history.ended_at.plus(Duration::from_secs(3601));
        }
        Some(())
    });
}

#[test]
fn a_process_that_ends_without_a_reason_is_flagged() {
    flags(Invariant::F4, |history, random| {
        let what = match random.below(2) {
            0 => NodeEventKind::Panicked { message: "index out of bounds".to_owned() },
            _ => NodeEventKind::Exited { reason: "out of memory".to_owned(), expected: false },
        };
        let at = history.ended_at;
        history.node_events.push(NodeEvent { node: NodeId::new(1), at, what });
        Some(())
    });
}

#[test]
fn a_partition_that_stays_degraded_is_flagged() {
    flags(Invariant::F5, |history, random| {
        let at = random.below(history.endings.len());
        let state = &mut history.endings[at].state;
        let partition = state.partition;
        match random.below(4) {
            0 => state.leader = None,
            1 => state.isr.truncate(2),
            2 => state.elr.push(NodeId::new(1)),
            _ => {
                let dump = history.replicas.iter_mut().find(|dump| dump.partition == partition)?;
                dump.high_watermark = dump.high_watermark.plus(-1);
            }
        }
        Some(())
    });
}

/// Legal histories, of which those with enough activity are asked for it.
fn lively(seed: u64) -> (History, Expectations) {
    let (history, expectations) = run(seed);
    let expectations = if is_lively(&history) { asking(expectations) } else { expectations };
    (history, expectations)
}

fn asking(expectations: Expectations) -> Expectations {
    let activity =
        Activity { acknowledged_during_faults: 2, leader_changes: 1, read_after_failover: 1, overlap_per_fault: 2 };
    Expectations { activity, ..expectations }
}

fn is_lively(history: &History) -> bool {
    check(history, &asking(Expectations::default())).validity == Validity::Valid
}

#[test]
fn a_run_in_which_the_faults_hit_nothing_is_no_proof() {
    flags_among(Invariant::F7, lively, |history, _| {
        is_lively(history).then_some(())?;
        let healed = history.healed_at?;
        history.sends.retain(|send| send.invoked > healed);
        Some(())
    });
}

#[test]
fn a_run_without_an_election_is_no_proof() {
    flags_among(Invariant::F7, lively, |history, _| {
        is_lively(history).then_some(())?;
        history.metadata.truncate(1);
        history.polls.clear();
        Some(())
    });
}
