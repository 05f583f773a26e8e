//! Joins, generations and assignments.

use std::time::Duration;

use bytes::Bytes;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_first_generation_waits_for_the_delay_and_only_its_leader_is_told_the_members() {
    let mut bench = Bench::new();
    let (a, b) = (bench.enter("a"), bench.enter("b"));
    bench.pass(Duration::from_millis(2_999));
    assert_eq!(bench.answer(a), None);
    bench.pass(4 * SECOND);
    let (a, b) = (bench.joined(a), bench.joined(b));
    assert_eq!((a.generation.get(), b.generation.get()), (1, 1));
    assert_eq!((&a.leader, &b.leader), (&id("a"), &id("a")));
    assert_eq!(a.members.iter().map(|m| m.member.to_string()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(b.members.is_empty());
    assert_eq!(a.protocol.as_deref(), Some("range"));
}

#[test]
fn the_delay_grows_while_members_come_and_ends_with_their_patience() {
    let mut bench = Bench::new();
    let waiters: Vec<Waiter> = (0..18)
        .map(|at| {
            let waiter = bench.enter(&format!("m{at}"));
            bench.pass(2 * SECOND);
            waiter
        })
        .collect();
    // 30 s of patience, whatever comes: who joined by then is in.
    let generation = bench.joined(waiters[0]).generation;
    assert_eq!(generation.get(), 1);
    assert!(bench.answer(waiters[14]).is_some() && bench.answer(waiters[16]).is_none());
}

#[test]
fn a_generation_is_a_fact_before_anybody_has_an_assignment() {
    let mut bench = Bench::new();
    bench.enter("a");
    bench.pass(4 * SECOND);
    let classic = bench.groups.get(&group()).and_then(|group| group.classic.clone()).expect("a fact");
    assert_eq!(classic.generation.get(), 1);
    assert!(classic.is_unassigned());
}

#[test]
fn assignments_are_given_when_the_leader_has_brought_them() {
    let mut bench = Bench::new();
    let (a, b) = (bench.enter("a"), bench.enter("b"));
    bench.pass(10 * SECOND);
    assert_eq!((bench.joined(a).generation, bench.joined(b).generation), (Generation::new(1), Generation::new(1)));
    let waits = bench.call(sync("b", 1, &[]));
    assert_eq!(bench.answer(waits), None);
    let leads = bench.ask(sync("a", 1, &[("a", b"1"), ("b", b"2")])).sync().expect("it has synced");
    assert_eq!(&leads.assignment[..], b"1");
    let told = bench.answer(waits).expect("the leader has assigned").sync().expect("it has synced");
    assert_eq!(&told.assignment[..], b"2");
    assert_eq!(bench.state(), GroupState::Stable);
    // Whoever asks again is told again.
    assert_eq!(bench.ask(sync("b", 1, &[])).sync().map(|synced| synced.assignment), Ok(Bytes::from_static(b"2")));
}

#[test]
fn a_new_member_has_all_others_join_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.stable(&["a", "b"]), 1);
    let c = bench.enter("c");
    assert_eq!(bench.heartbeat("a", 1), Err(Refusal::Rebalancing));
    let (a, b) = (bench.call(Call::Join(join("a"))), bench.call(Call::Join(join("b"))));
    let generations = [a, b, c].map(|waiter| bench.joined(waiter).generation.get());
    assert_eq!(generations, [2, 2, 2]);
    assert_eq!(bench.ask(sync("a", 1, &[])).sync(), Err(Refusal::Generation));
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut bench = Bench::new();
    bench.stable(&["a", "b"]);
    let a = bench.call(Call::Join(join("a")));
    let mut passed = 0;
    while bench.answer(a).is_none() {
        // It lives, and does not join.
        assert_eq!(bench.heartbeat("b", 1), Err(Refusal::Rebalancing));
        bench.pass(SECOND);
        passed += 1;
    }
    assert_eq!(passed, 30);
    assert_eq!(bench.heartbeat("b", 2), Err(Refusal::UnknownMember));
}

#[test]
fn who_does_not_sync_in_time_is_out() {
    let mut bench = Bench::new();
    let (a, b) = (bench.enter("a"), bench.enter("b"));
    bench.pass(6 * SECOND);
    bench.joined(a);
    bench.joined(b);
    let waits = bench.call(sync("b", 1, &[]));
    for _ in 0..29 {
        assert_eq!(bench.heartbeat("a", 1), Ok(()), "the leader lives, and does not assign");
        bench.pass(SECOND);
    }
    bench.pass(2 * SECOND);
    assert_eq!(bench.answer(waits), Some(Reply::Sync(Err(Refusal::Rebalancing))));
    assert_eq!(bench.heartbeat("a", 1), Err(Refusal::UnknownMember));
    let b = bench.call(Call::Join(join("b")));
    assert_eq!(bench.joined(b).leader, id("b"));
}

#[test]
fn a_follower_that_says_the_same_again_is_told_the_generation_that_stands() {
    let mut bench = Bench::new();
    bench.stable(&["a", "b"]);
    let told = bench.ask(Call::Join(join("b"))).join().expect("it is in");
    assert_eq!((told.generation.get(), bench.state()), (1, GroupState::Stable));
    let changed = Join { protocols: vec![("range".into(), Bytes::from_static(b"else"))], ..join("b") };
    bench.call(Call::Join(changed));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
}

#[test]
fn the_leader_begins_anew_when_it_joins_again() {
    let mut bench = Bench::new();
    bench.stable(&["a", "b"]);
    bench.call(Call::Join(join("a")));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
}

#[test]
fn the_protocol_is_one_that_all_know() {
    let mut bench = Bench::new();
    let says = |names: &[&str]| names.iter().map(|name| ((*name).into(), Bytes::new())).collect::<Vec<_>>();
    let enter = |bench: &mut Bench, name: &str, knows: &[&str]| {
        let old = Join { fresh: id(name), requires_known_member: false, protocols: says(knows), ..join("") };
        bench.call(Call::Join(old))
    };
    let a = enter(&mut bench, "a", &["sticky", "range"]);
    enter(&mut bench, "b", &["range", "roundrobin", "range"]);
    let alien = enter(&mut bench, "c", &["roundrobin"]);
    assert_eq!(bench.answer(alien), Some(Reply::Join(Err(Refusal::Protocol))));
    bench.pass(10 * SECOND);
    assert_eq!(bench.joined(a).protocol.as_deref(), Some("range"));
    let connect = Join { protocol_type: "connect".into(), ..join("") };
    assert_eq!(bench.ask(Call::Join(connect)).join(), Err(Refusal::Protocol));
}

#[test]
fn a_call_that_can_never_be_right_is_refused() {
    let mut bench = Bench::new();
    let refused = |bench: &mut Bench, join: Join| bench.ask(Call::Join(join)).join().expect_err("it is refused");
    assert_eq!(refused(&mut bench, Join { group: GroupId::new(""), ..join("") }), Refusal::GroupId);
    assert_eq!(refused(&mut bench, Join { session_timeout_ms: 5_999, ..join("") }), Refusal::SessionTimeout);
    assert_eq!(refused(&mut bench, Join { session_timeout_ms: -1, ..join("") }), Refusal::SessionTimeout);
    assert_eq!(refused(&mut bench, Join { session_timeout_ms: 1_800_001, ..join("") }), Refusal::SessionTimeout);
    assert_eq!(refused(&mut bench, join("nobody")), Refusal::UnknownMember);
    assert_eq!(refused(&mut bench, Join { protocols: Vec::new(), ..join("") }), Refusal::Protocol);
    assert!(bench.records.is_empty());
}

#[test]
fn a_group_takes_as_many_members_as_it_may() {
    let mut bench = Bench::with(Options { size_max: 2, ..Options::default() });
    bench.stable(&["a", "b"]);
    assert_eq!(bench.ask(Call::Join(join(""))).join(), Err(Refusal::GroupFull));
    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn what_members_say_together_fits_into_a_record() {
    let mut bench = Bench::with(Options { group_bytes_max: 200, ..Options::default() });
    let large = Join { protocols: vec![("range".into(), Bytes::from(vec![0; 201]))], ..join("") };
    assert_eq!(bench.ask(Call::Join(large)).join(), Err(Refusal::TooLarge));
    let named = Join { client: Client::new(&"c".repeat(100), "/h"), ..join("") };
    assert_eq!(bench.ask(Call::Join(named)).join(), Err(Refusal::TooLarge));
    let a = bench.enter("a");
    bench.pass(10 * SECOND);
    bench.joined(a);
    static LARGE: [u8; 201] = [0; 201];
    assert_eq!(bench.ask(sync("a", 1, &[("a", &LARGE)])).sync(), Err(Refusal::TooLarge));
}

#[test]
fn an_id_that_was_told_and_not_used_is_forgotten() {
    let mut bench = Bench::new();
    let told = bench.ask(Call::Join(Join { fresh: id("a"), ..join("") })).join();
    assert_eq!(told, Err(Refusal::MemberIdRequired(id("a"))));
    bench.pass(11 * SECOND);
    assert_eq!(bench.ask(Call::Join(join("a"))).join(), Err(Refusal::UnknownMember));
    assert_eq!(bench.ask(Call::Describe(group())).describe(), Err(Refusal::GroupNotFound));
}

#[test]
fn a_request_that_is_repeated_takes_the_place_of_the_former() {
    let mut bench = Bench::new();
    let first = bench.enter("a");
    let second = bench.call(Call::Join(join("a")));
    assert_eq!(bench.answer(first), Some(Reply::Join(Err(Refusal::Rebalancing))));
    bench.pass(10 * SECOND);
    assert_eq!(bench.joined(second).generation.get(), 1);
}
