//! Sessions, leaving, static members.

use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn leave(member: &str, instance: Option<&str>) -> Call {
    Call::Leave(Leave { group: group(), members: vec![(id(member), instance.map(InstanceId::new))] })
}

/// A stable group of two static members, `s1` and `s2`, the first of which leads.
fn stable_statics(bench: &mut Bench) {
    let a = bench.call(Call::Join(static_join("s1", "a")));
    let b = bench.call(Call::Join(static_join("s2", "b")));
    bench.pass(10 * SECOND);
    bench.joined(a);
    bench.joined(b);
    bench.call(sync("b", 1, &[]));
    bench.call(sync("a", 1, &[("a", b"1"), ("b", b"2")]));
    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn a_silent_member_is_out_and_the_others_begin_anew() {
    let mut bench = Bench::new();
    bench.stable(&["a", "b"]);
    for _ in 0..9 {
        bench.pass(SECOND);
        assert_eq!(bench.heartbeat("a", 1), Ok(()));
    }
    bench.pass(2 * SECOND);
    assert_eq!(bench.heartbeat("a", 1), Err(Refusal::Rebalancing));
    assert_eq!(bench.heartbeat("b", 1), Err(Refusal::UnknownMember));
}

#[test]
fn a_heartbeat_of_another_generation_is_refused_and_keeps_nobody_in() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    for _ in 0..11 {
        bench.pass(SECOND);
        if bench.heartbeat("a", 7) == Err(Refusal::UnknownMember) {
            return;
        }
    }
    panic!("it is in after 11 s");
}

#[test]
fn who_leaves_is_out_at_once() {
    let mut bench = Bench::new();
    bench.stable(&["a", "b"]);
    assert_eq!(bench.ask(leave("b", None)), Reply::Leave(Ok(vec![Ok(())])));
    assert_eq!(bench.heartbeat("a", 1), Err(Refusal::Rebalancing));
    assert_eq!(bench.ask(leave("b", None)), Reply::Leave(Ok(vec![Err(Refusal::UnknownMember)])));
    assert_eq!(bench.ask(leave("a", None)), Reply::Leave(Ok(vec![Ok(())])));
    assert_eq!(bench.state(), GroupState::Empty);
    let classic = bench.groups.get(&group()).and_then(|group| group.classic.as_ref()).expect("it is kept");
    assert_eq!((classic.generation.get(), classic.members.len(), &classic.protocol), (2, 0, &None));
}

#[test]
fn who_leaves_while_it_waits_is_told_so() {
    let mut bench = Bench::new();
    bench.stable(&["a", "b"]);
    let waits = bench.enter("c");
    bench.ask(leave("c", None));
    assert_eq!(bench.answer(waits), Some(Reply::Join(Err(Refusal::UnknownMember))));
}

#[test]
fn nobody_leaves_a_group_that_is_not_there() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(leave("a", None)), Reply::Leave(Err(Refusal::UnknownMember)));
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut bench = Bench::new();
    stable_statics(&mut bench);
    let told = bench.ask(Call::Join(static_join("s2", "b2"))).join().expect("it is in");
    assert_eq!((told.generation.get(), &told.member, told.skip_assignment), (1, &id("b2"), false));
    assert_eq!(bench.state(), GroupState::Stable);
    let synced = bench.ask(sync("b2", 1, &[])).sync().expect("it has synced");
    assert_eq!(&synced.assignment[..], b"2");
    let old = Identity { instance: Some(InstanceId::new("s2")), ..identity("b", 1) };
    assert_eq!(bench.ask(Call::Heartbeat(old)).heartbeat(), Err(Refusal::FencedInstance));
    assert_eq!(bench.heartbeat("b", 1), Err(Refusal::UnknownMember));
    bench.fail_over();
    assert_eq!(bench.heartbeat("b2", 1), Ok(()), "its new id is a fact");
}

#[test]
fn a_static_leader_comes_back_and_assigns_nothing() {
    let mut bench = Bench::new();
    stable_statics(&mut bench);
    let told = bench.ask(Call::Join(static_join("s1", "a2"))).join().expect("it is in");
    assert_eq!((&told.leader, told.skip_assignment, told.members.len()), (&id("a2"), true, 2));
    // An older client would assign if it were told that it leads.
    let older = Join { skips_assignment: false, ..static_join("s1", "a3") };
    let told = bench.ask(Call::Join(older)).join().expect("it is in");
    assert_eq!((&told.leader, told.skip_assignment, told.members.len()), (&id("a2"), false, 0));
}

#[test]
fn a_static_member_may_be_away_for_a_rebalance() {
    let mut bench = Bench::new();
    stable_statics(&mut bench);
    let joins = bench.call(Call::Join(join_of("a", "s1")));
    let alive = |bench: &mut Bench| {
        let other = Identity { instance: Some(InstanceId::new("s2")), ..identity("b", 1) };
        bench.ask(Call::Heartbeat(other)).heartbeat()
    };
    for _ in 0..29 {
        assert_eq!(alive(&mut bench), Err(Refusal::Rebalancing));
        bench.pass(SECOND);
    }
    bench.pass(2 * SECOND);
    let told = bench.joined(joins);
    assert_eq!((told.generation.get(), told.members.len()), (2, 2), "it has not joined, and is in");
}

fn join_of(member: &str, instance: &str) -> Join {
    Join { instance: Some(InstanceId::new(instance)), ..join(member) }
}

#[test]
fn somebody_else_removes_a_static_member_by_its_instance() {
    let mut bench = Bench::new();
    stable_statics(&mut bench);
    assert_eq!(bench.ask(leave("", Some("s9"))), Reply::Leave(Ok(vec![Err(Refusal::UnknownMember)])));
    assert_eq!(bench.ask(leave("a", Some("s2"))), Reply::Leave(Ok(vec![Err(Refusal::FencedInstance)])));
    assert_eq!(bench.ask(leave("", Some("s2"))), Reply::Leave(Ok(vec![Ok(())])));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
}
