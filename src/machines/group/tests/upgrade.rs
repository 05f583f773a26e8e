//! A group on its way from the classic protocol to that of KIP-848, member by member.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::consumers::{full, partitions, quiet};
use super::*;

/// What a cooperative consumer says: it reads `t`, and has these partitions of it.
fn says(owned: &[i32]) -> Bytes {
    let mut bytes = b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\x01\0\x01t".to_vec();
    bytes.extend(i32::try_from(owned.len()).unwrap().to_be_bytes());
    owned.iter().for_each(|index| bytes.extend(index.to_be_bytes()));
    bytes.into()
}

fn joining(member: &str, owned: &[i32]) -> Call {
    Call::Join(Join { fresh: id(member), protocols: vec![("cooperative-sticky".into(), says(owned))], ..join(member) })
}

fn gets(bytes: &Bytes) -> Vec<i32> {
    let topics = assigned(bytes).expect("an assignment");
    topics.into_iter().flat_map(|(_, indexes)| indexes).map(PartitionIndex::get).collect()
}

fn synced(bench: &mut Bench, member: &str, generation: i32) -> Result<Vec<i32>, Refusal> {
    let call = Call::Sync(Sync {
        identity: identity(member, generation),
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("cooperative-sticky".to_owned()),
        assignments: Vec::new(),
    });
    bench.ask(call).sync().map(|synced| gets(&synced.assignment))
}

/// A classic group of `a`, which has both partitions of `t`.
fn classic() -> (Bench, i32) {
    let mut bench = Bench::new();
    bench.make_topic("t", 2);
    bench.ask(Call::Join(Join { fresh: id("a"), ..join("") }));
    let waiter = bench.call(joining("a", &[]));
    bench.pass(Duration::from_secs(4));
    let generation = bench.joined(waiter).generation.get();
    let given = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";
    let call = Call::Sync(Sync {
        identity: identity("a", generation),
        protocol_type: None,
        protocol: None,
        assignments: vec![(id("a"), Bytes::from_static(given))],
    });
    assert!(bench.ask(call).sync().is_ok());
    (bench, generation)
}

#[test]
fn a_group_is_upgraded_while_its_classic_members_read_on() {
    let (mut bench, generation) = classic();
    let b = bench.beat(full("b", 0, &["t"], &BTreeSet::new())).expect("it joins, and the group is upgraded");
    assert_eq!((b.epoch.get(), b.assignment), (generation + 1, Some(BTreeSet::new())), "a still reads everything");
    assert_eq!(bench.heartbeat("a", generation), Err(Refusal::Rebalancing));
    let told = bench.ask(joining("a", &[0, 1])).join().expect("it is a member");
    assert_eq!(told.generation.get(), generation, "it has to give back first");
    let kept = synced(&mut bench, "a", generation).expect("it learns what it keeps");
    assert_eq!(kept.len(), 1);
    assert_eq!(bench.heartbeat("a", generation), Err(Refusal::Rebalancing), "and is to say that it has given back");
    let told = bench.ask(joining("a", &kept)).join().expect("it is a member");
    assert_eq!(told.generation.get(), generation + 1);
    assert_eq!(synced(&mut bench, "a", generation + 1), Ok(kept.clone()));
    assert_eq!(bench.heartbeat("a", generation + 1), Ok(()));
    let b = bench.beat(quiet("b", generation + 1)).expect("it lives");
    assert_eq!(b.assignment, Some(&partitions("t", 0..2) - &partitions("t", kept)));
    assert_eq!(bench.consumers().state, GroupState::Stable);
    let call = Call::Leave(Leave { group: group(), members: vec![(id("a"), None)] });
    assert_eq!(bench.ask(call).leave(), Ok(vec![Ok(())]));
    assert_eq!(bench.beat(quiet("b", generation + 1)).unwrap().assignment, Some(partitions("t", 0..2)));
}

#[test]
fn a_classic_member_joins_a_group_of_consumers_and_is_out_after_its_own_session() {
    let (mut bench, generation) = classic();
    bench.beat(full("b", 0, &["t"], &BTreeSet::new())).expect("it joins");
    bench.fail_over();
    let refusal = bench.ask(Call::Join(Join { fresh: id("c"), ..join("") })).join();
    assert_eq!(refusal, Err(Refusal::MemberIdRequired(id("c"))));
    let told = bench.ask(joining("c", &[])).join().expect("it joins");
    assert_eq!(synced(&mut bench, "c", told.generation.get()), Ok(Vec::new()));
    assert_eq!(bench.ask(commit("a", generation + 7, 1)).commit(), Err(Refusal::Generation));
    assert_eq!(bench.ask(commit("a", generation, 1)).commit(), Ok(vec![Ok(())]));
    assert_eq!(bench.consumers().members.len(), 3);
    bench.pass(Duration::from_secs(11));
    let left: Vec<String> = bench.consumers().members.iter().map(|member| member.member.to_string()).collect();
    assert_eq!(left, ["b"], "the classic members asked for ten seconds");
}

#[test]
fn a_group_whose_members_cannot_be_read_keeps_its_protocol() {
    let mut bench = Bench::new();
    bench.make_topic("t", 2);
    bench.stable(&["a"]);
    let refused = bench.beat(full("b", 0, &["t"], &BTreeSet::new()));
    assert_eq!(refused, Err(Refusal::GroupNotFound), "its assignments are of its leader's own making");
    assert_eq!(bench.heartbeat("a", 1), Ok(()));
}

#[test]
fn who_is_refused_turns_no_group_into_another() {
    let wrong = |group: &str| Beat {
        group: GroupId::new(group),
        assignor: Some("none".into()),
        ..full("b", 0, &["t"], &BTreeSet::new())
    };
    let (mut bench, generation) = classic();
    let before = bench.groups.clone();
    assert_eq!(bench.beat(wrong("g")), Err(Refusal::Assignor));
    let bad = Beat { regex: Some("(".into()), ..full("b", 0, &[], &BTreeSet::new()) };
    assert_eq!(bench.beat(bad), Err(Refusal::Regex));
    assert_eq!(bench.groups, before);
    assert_eq!(bench.heartbeat("a", generation), Ok(()), "nobody was disturbed");
    bench.pass(Duration::from_secs(46));
    let before = bench.groups.clone();
    assert_eq!(bench.beat(wrong("g")), Err(Refusal::Assignor));
    assert_eq!(bench.groups, before, "nor is one without members");
    bench.beat(full("b", 0, &["t"], &BTreeSet::new())).expect("it joins");
    bench.pass(Duration::from_secs(46));
    let before = bench.groups.clone();
    assert_eq!(bench.ask(joining("x", &[])).join(), Err(Refusal::UnknownMember));
    assert_eq!(bench.groups, before, "nor the other way round");
}
