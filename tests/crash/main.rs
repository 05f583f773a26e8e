//! Every crash point of short traces, times what the disk may have kept: recovery gives everything acknowledged and
//! nothing that was not appended, twice the same. A few points have too many states for every run;
//! `CRASH_ALL=1 cargo test --release --test crash` tries those, too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod model;
mod states;
mod trace;

use trace::{Step, run};

use Step::{Advance, Append, Attest, Begin, Flush, Overtake, Produce, Reset, Rest, State, Truncate};

#[test]
fn a_first_append_is_whole_or_not_there() {
    run("first append", &[Append(600), Flush, Append(100), Flush, Attest, Append(2000), Flush]);
}

#[test]
fn groups_that_were_flushed_survive_rolls() {
    run("rolls", &[Append(900), Append(900), Flush, Append(900), Append(900), Append(900), Attest, Flush, Append(900)]);
}

#[test]
fn derived_state_may_be_lost_at_any_moment() {
    let steps = [
        Produce(1),
        Produce(2),
        Begin,
        Produce(1),
        Flush,
        Attest,
        Produce(1),
        Begin,
        Produce(2),
        Flush,
        Rest,
        Produce(2),
    ];
    run("derived", &steps);
}

#[test]
fn a_truncation_is_there_when_it_returns() {
    let steps = [Append(900), Append(900), Append(900), Flush, Attest, Truncate(2), Begin, Append(300), Flush, Attest];
    run("truncation across segments", &steps);
    let steps =
        [Produce(1), Append(200), Begin, Append(200), Flush, Truncate(1), Append(250), Append(100), Flush, Attest];
    run("truncation in a segment", &steps);
}

#[test]
fn a_truncation_of_what_was_never_flushed_leaves_no_trace() {
    let steps =
        [Append(300), Flush, Append(300), Begin, Append(300), Truncate(1), Begin, Append(700), Append(300), Flush];
    run("truncation of the unflushed", &steps);
}

#[test]
fn a_truncation_attests_nothing_that_was_not_flushed() {
    run("truncation of the first", &[Append(900), Append(500), Truncate(1), Append(100), Flush]);
}

#[test]
fn a_flush_that_a_truncation_overtook_attests_nothing() {
    run(
        "overtaken",
        &[Append(300), Append(300), Flush, Append(300), Append(300), Overtake(1), Append(500), State, Flush],
    );
}

#[test]
fn epochs_count_as_written_only_under_their_name() {
    run("epochs", &[Append(300), Rest, Begin, Append(650), Append(650), Flush, State, Append(10)]);
}

#[test]
fn a_purge_loses_nothing_above_the_start() {
    let steps =
        [Append(900), Append(900), Append(900), Flush, Advance(2), Append(900), Flush, Advance(3), Append(10), Flush];
    run("purge", &steps);
}

#[test]
fn a_reset_log_is_old_or_new() {
    run("reset", &[Append(900), Append(900), Flush, Attest, Reset(50), Append(300), Flush, Attest, Append(300)]);
}

/// More of them: `CRASH_SEEDS=100 cargo test --test crash random`.
#[test]
fn random_traces() {
    let seeds = std::env::var("CRASH_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    for seed in std::env::var("CRASH_FROM").ok().and_then(|n| n.parse().ok()).unwrap_or(0)..seeds {
        run(&format!("random {seed}"), &trace::random(seed, 10));
    }
}
