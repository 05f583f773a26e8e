//! The traces, each with the least number of states that it is judged in.

use crate::states::{Depth, judge};
use crate::step::{self, Step};

use ottla::testing::FileKind::{Meta, ProducerSnapshot, Segment};

use Step::{
    Advance, Append, Attest, Begin, Durable, FailAppend, FailFlush, Fetch, Flush, Kill, LoseAppend, Overtake, Produce,
    Recreate, Reset, Rest, Retain, State, Stop, Straddle, Sweep, Swell, Truncate, Volatile,
};

/// Declares each trace as a test, and all of them as a table.
macro_rules! traces {
    ($($(#[$doc:meta])* $name:ident($states_min:literal): [$($step:expr),* $(,)?];)*) => {
        /// All of them.
        pub(crate) const ALL: &[(&str, &[Step])] = &[$((stringify!($name), &[$($step),*]),)*];
        /// How many states are judged at least, together.
        const STATES_MIN: usize = 0 $(+ $states_min)*;
        $($(#[$doc])* #[test] fn $name() { check(stringify!($name), &[$($step),*], $states_min); })*
    };
}

traces! {
    a_first_append_is_whole_or_not_there(910):
        [Append(600), Flush, Append(100), Flush, Attest, Append(2000), Flush];
    groups_that_were_flushed_survive_rolls(6_000):
        [Append(900), Append(900), Flush, Append(900), Append(900), Append(900), Attest, Flush, Append(900)];
    derived_state_may_be_lost_at_any_moment(260):
        [Produce(1), Produce(2), Begin, Produce(1), Flush, Attest, Produce(1), Begin, Produce(2), Flush, Rest,
         Produce(2)];
    a_truncation_across_segments_is_there_when_it_returns(4_500):
        [Append(900), Append(900), Append(900), Flush, Attest, Truncate(2), Begin, Append(300), Flush, Attest];
    a_truncation_in_a_segment_is_there_when_it_returns(120):
        [Produce(1), Append(200), Begin, Append(200), Flush, Truncate(1), Append(250), Append(100), Flush, Attest];
    a_truncation_of_what_was_never_flushed_leaves_no_trace(340):
        [Append(300), Flush, Append(300), Begin, Append(300), Truncate(1), Begin, Append(700), Append(300), Flush];
    a_truncation_attests_nothing_that_was_not_flushed(870):
        [Append(900), Append(500), Truncate(1), Append(100), Flush];
    a_flush_that_a_truncation_overtook_attests_nothing(4_900):
        [Append(300), Append(300), Flush, Append(300), Append(300), Overtake(1), Append(500), State, Flush];
    epochs_count_as_written_only_under_their_name(2_600):
        [Append(300), Rest, Begin, Append(650), Append(650), Flush, State, Append(10)];
    a_purge_loses_nothing_above_the_start(9_300):
        [Append(900), Append(900), Append(900), Flush, Advance(2), Append(900), Flush, Advance(3), Append(10), Flush];
    files_that_retention_renamed_hide_nothing(10_000):
        [Append(900), Append(900), Append(900), Attest, Retain(2), Append(900), Flush, Sweep, Kill, Flush, Retain(3),
         Kill, Append(100), Flush];
    a_reset_log_is_old_or_new(2_500):
        [Append(900), Append(900), Flush, Attest, Reset(50), Append(300), Flush, Attest, Append(300)];
    a_log_that_starts_within_a_batch_is_old_or_new(1_600):
        [Append(900), Flush, Attest, Reset(50), Straddle, Flush, Fetch(2, 700), Flush, Kill, Fetch(1, 700), Flush];
    what_a_follower_wrote_at_once_may_be_torn_between_batches(2_100):
        [Fetch(3, 500), Flush, Attest, Fetch(2, 300), Begin, Fetch(3, 90), Flush, Truncate(4), Fetch(2, 400), Flush];
    what_a_killed_process_wrote_counts_when_it_is_flushed(24_000):
        [Append(700), Kill, Flush, Append(900), Append(900), Kill, Append(100), Flush, Attest, Append(50), Kill, Rest];
    a_killed_process_leaves_a_truncation_or_none(320):
        [Append(900), Produce(1), Flush, Append(900), Kill, Truncate(1), Kill, Begin, Produce(1), Flush, Kill];
    an_orderly_stop_is_one_and_counts_once(2_200):
        [Append(900), Begin, Produce(1), Stop, Append(900), Stop, Kill, Produce(1), Flush, Kill];
    a_topic_of_the_same_name_holds_nothing_of_the_one_before(3_800):
        [Append(900), Append(900), Flush, Attest, Recreate, Append(300), Flush, Kill, Recreate, Append(200), Flush];
    what_counted_unflushed_is_there_or_the_log_is_named(2_000):
        [Append(300), Flush, Volatile, Append(600), Flush, Append(300), State, Append(900), Flush, Append(100), Durable,
         State, Append(100), Flush];
    what_counted_unflushed_is_named_after_a_kill(1_100):
        [Volatile, State, Append(600), Kill, Append(600), Truncate(1), Append(100), Durable, Rest, Kill, Append(50),
         Flush];
    a_flush_log_that_is_written_anew_says_the_same(48):
        [Swell, Append(300), Flush, Attest, Append(100), Kill, Flush];
    an_append_that_failed_does_not_come_back(1_500):
        [Append(300), FailAppend(700), Append(200), Flush, FailAppend(1900), Append(900), Flush, Kill, Append(100)];
    a_flush_that_failed_promises_nothing(1_400):
        [Append(300), Flush, Attest, Append(600), FailFlush(Segment), Append(100), Flush, Attest, Append(100), Flush];
    a_first_flush_that_failed_promises_nothing(86):
        [Append(300), FailFlush(Meta), Append(100), Flush, Attest, Append(100), Flush];
    a_flush_of_several_segments_that_failed_promises_nothing(22_000):
        [Append(900), Attest, Append(900), Append(900), Produce(1), FailFlush(Segment), Rest, Append(900),
         FailFlush(ProducerSnapshot), Flush];
    bytes_that_were_lost_on_their_way_are_told(1_400):
        [Append(300), Flush, Attest, LoseAppend(600), Append(100), Flush, Attest];
}

fn check(name: &str, steps: &[Step], states_min: usize) {
    // Shown when the test fails.
    println!("{name}: {steps:?}");
    let depth = if std::env::var_os("CRASH_ALL").is_some() { Depth::All } else { Depth::Usual };
    let counts = judge(steps, None, depth).unwrap_or_else(|finding| panic!("{finding}"));
    println!("{name}: {} crash points, {} states, {} starts judged", counts.points, counts.states, counts.starts);
    assert!(counts.states >= states_min, "{} states, less than {states_min}", counts.states);
}

#[test]
fn so_many_states_are_judged() {
    const { assert!(STATES_MIN >= 100_000) };
    println!("at least {STATES_MIN} states are judged");
}

/// More of them: `CRASH_SEEDS=100 cargo test --test crash random`.
#[test]
fn random_traces() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse().ok());
    for seed in number("CRASH_FROM").unwrap_or(0)..number("CRASH_SEEDS").unwrap_or(2) {
        check(&format!("random {seed}"), &step::random(seed, 10), 1);
    }
}
