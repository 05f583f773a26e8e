//! What the next coordinator makes of the facts.

use std::time::Duration;

use super::*;

#[test]
fn a_stable_group_goes_on_under_the_next_coordinator() {
    let mut bench = Bench::new();
    bench.stable(&["a", "b"]);
    bench.pass(Duration::from_secs(9));
    bench.fail_over();
    bench.pass(Duration::from_secs(9));
    assert_eq!((bench.heartbeat("a", 1), bench.heartbeat("b", 1)), (Ok(()), Ok(())), "sessions begin anew");
    let synced = bench.ask(sync("b", 1, &[])).sync().expect("it has synced");
    assert_eq!(&synced.assignment[..], b"b");
    bench.pass(Duration::from_secs(11));
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn a_generation_that_was_not_assigned_waits_for_its_leader() {
    let mut bench = Bench::new();
    let (a, b) = (bench.enter("a"), bench.enter("b"));
    bench.pass(Duration::from_secs(10));
    bench.joined(a);
    bench.joined(b);
    bench.fail_over();
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
    let told = bench.ask(Call::Join(join("a"))).join().expect("it is in");
    assert_eq!((told.generation.get(), told.members.len()), (1, 2), "the leader is told again whom to assign to");
    let waits = bench.call(sync("b", 1, &[]));
    bench.ask(sync("a", 1, &[("a", b"1"), ("b", b"2")]));
    assert_eq!(bench.answer(waits).map(|reply| reply.sync().map(|s| s.assignment.to_vec())), Some(Ok(b"2".to_vec())));
}

#[test]
fn a_generation_that_nobody_assigns_ends_under_the_next_coordinator_too() {
    let mut bench = Bench::new();
    let a = bench.enter("a");
    bench.pass(Duration::from_secs(10));
    bench.joined(a);
    bench.fail_over();
    for _ in 0..31 {
        _ = bench.heartbeat("a", 1);
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn no_generation_is_given_twice() {
    let mut bench = Bench::new();
    let mut generations = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let waiter = bench.enter(name);
        bench.pass(Duration::from_secs(60));
        generations.push(bench.joined(waiter).generation.get());
        // Nobody has an assignment yet when the coordinator fails.
        bench.fail_over();
        bench.pass(Duration::from_secs(60));
    }
    assert!(generations.windows(2).all(|pair| pair[0] < pair[1]), "{generations:?}");
}

#[test]
fn who_waits_is_known_when_the_coordinator_goes() {
    let mut bench = Bench::new();
    bench.stable(&["a", "b"]);
    let c = bench.enter("c");
    let soft = std::mem::take(&mut bench.soft);
    assert_eq!(soft.abandon(), [(c, Reply::Join(Err(Refusal::NotCoordinator)))]);
}

#[test]
fn groups_are_listed_with_their_state_and_kind() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let simple = Commit {
        identity: Identity { group: GroupId::new("simple"), ..identity("", -1) },
        knows_kip_848: false,
        offsets: vec![commit_of("t", 1)],
    };
    bench.ask(Call::Commit(simple));
    bench.call(Call::Join(Join {
        group: GroupId::new("young"),
        fresh: id("y"),
        requires_known_member: false,
        ..join("")
    }));
    let listed = bench.ask(Call::List).list().expect("groups");
    let told: Vec<_> = listed.iter().map(|l| (l.group.as_str(), &*l.protocol_type, l.state)).collect();
    let young = ("young", "consumer", GroupState::PreparingRebalance);
    assert_eq!(told, [("g", "consumer", GroupState::Stable), ("simple", "", GroupState::Empty), young]);
}

#[test]
fn members_are_described_with_what_they_have_and_once_the_group_stands_with_what_they_say() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let told = bench.ask(Call::Describe(group())).describe().expect("it is there");
    let member = &told.members[0];
    assert_eq!((&*told.protocol, &member.assignment[..]), ("range", &b"a"[..]));
    assert_eq!((&*member.client.host, member.metadata.is_empty()), ("/1.2.3.4", false));
    bench.enter("b");
    let told = bench.ask(Call::Describe(group())).describe().expect("it is there");
    assert_eq!((told.state, &*told.protocol), (GroupState::PreparingRebalance, ""));
    let told: Vec<_> = told.members.iter().map(|member| (&member.metadata[..], &member.assignment[..])).collect();
    assert_eq!(told, [(&b""[..], &b"a"[..]), (b"", b"")]);
}
