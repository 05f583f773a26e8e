//! Commits, fetches, and what is forgotten.

use std::time::Duration;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn committed(bench: &mut Bench) -> Vec<(String, i64)> {
    let offsets = bench
        .ask(Call::Fetch(Fetch { group: group(), member: None, epoch: GroupEpoch::new(-1), topics: None }))
        .fetch()
        .expect("offsets");
    let told = |(topic, known): (TopicName, std::collections::BTreeMap<PartitionIndex, Committed>)| {
        known.into_values().map(move |committed| (topic.to_string(), committed.offset.get()))
    };
    offsets.into_iter().flat_map(told).collect()
}

fn commits(bench: &mut Bench, member: &str, generation: i32, offset: i64) -> Result<Vec<Result<(), Refusal>>, Refusal> {
    bench.ask(commit(member, generation, offset)).commit()
}

fn forget(topic_name: &str) -> Call {
    Call::Forget(Forget { group: group(), topics: vec![(topic(topic_name), vec![PartitionIndex::new(0)])] })
}

#[test]
fn members_commit_in_their_generation_only() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    assert_eq!(commits(&mut bench, "a", 1, 5), Ok(vec![Ok(())]));
    assert_eq!(commits(&mut bench, "a", 0, 6), Err(Refusal::Generation));
    assert_eq!(commits(&mut bench, "b", 1, 6), Err(Refusal::UnknownMember));
    assert_eq!(commits(&mut bench, "", -1, 6), Err(Refusal::UnknownMember), "somebody else, while there are members");
    assert_eq!(committed(&mut bench), [("t".to_owned(), 5)]);
}

#[test]
fn members_may_commit_before_they_join_again_and_not_before_they_sync() {
    let mut bench = Bench::new();
    bench.stable(&["a", "b"]);
    bench.enter("c");
    assert_eq!(commits(&mut bench, "a", 1, 5), Ok(vec![Ok(())]));
    bench.call(Call::Join(join("a")));
    bench.call(Call::Join(join("b")));
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
    assert_eq!(commits(&mut bench, "a", 2, 6), Err(Refusal::Rebalancing));
}

#[test]
fn who_assigns_his_partitions_himself_commits_to_a_group_without_members() {
    let mut bench = Bench::new();
    assert_eq!(commits(&mut bench, "", 3, 5), Err(Refusal::Generation));
    let newer = Commit { identity: identity("", 3), knows_kip_848: true, offsets: vec![commit_of("t", 5)] };
    assert_eq!(bench.ask(Call::Commit(newer)).commit(), Err(Refusal::GroupNotFound));
    assert_eq!(commits(&mut bench, "", -1, 5), Ok(vec![Ok(())]));
    assert_eq!(bench.state(), GroupState::Empty);
    assert_eq!(committed(&mut bench), [("t".to_owned(), 5)]);
    bench.fail_over();
    assert_eq!(committed(&mut bench), [("t".to_owned(), 5)]);
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    for offset in 0..30 {
        assert_eq!(commits(&mut bench, "a", 1, offset), Ok(vec![Ok(())]));
        bench.pass(Duration::from_secs(1));
    }
}

#[test]
fn what_stands_beside_an_offset_has_a_bound() {
    let mut bench = Bench::with(Options { metadata_max: 3, ..Options::default() });
    let of = |metadata: &str| CommitOf { metadata: metadata.into(), ..commit_of("t", 1) };
    let offsets = vec![of("äöü"), of("abcd"), of("a\u{1F980}")];
    let call = Call::Commit(Commit { identity: identity("", -1), knows_kip_848: false, offsets });
    assert_eq!(bench.ask(call).commit(), Ok(vec![Ok(()), Err(Refusal::MetadataTooLarge), Ok(())]));
}

#[test]
fn a_group_with_members_forgets_no_topic_that_it_reads() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let offsets = vec![commit_of("t", 1), commit_of("u", 2)];
    bench.ask(Call::Commit(Commit { identity: identity("a", 1), knows_kip_848: false, offsets }));
    assert_eq!(bench.ask(forget("t")).forget(), Ok(vec![Err(Refusal::SubscribedToTopic)]));
    assert_eq!(bench.ask(forget("u")).forget(), Ok(vec![Ok(())]));
    assert_eq!(committed(&mut bench), [("t".to_owned(), 1)]);
    bench.ask(Call::Leave(Leave { group: group(), members: vec![(id("a"), None)] }));
    assert_eq!(bench.ask(forget("t")).forget(), Ok(vec![Ok(())]));
    assert_eq!(committed(&mut bench), []);
    let elsewhere = Forget { group: GroupId::new("nobody"), topics: Vec::new() };
    assert_eq!(bench.ask(Call::Forget(elsewhere)).forget(), Err(Refusal::GroupNotFound));
}

#[test]
fn a_group_without_members_is_deleted_with_all_that_it_has() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(Call::Delete(group())).delete(), Err(Refusal::GroupNotFound));
    bench.stable(&["a"]);
    commits(&mut bench, "a", 1, 5).expect("it commits");
    assert_eq!(bench.ask(Call::Delete(group())).delete(), Err(Refusal::NonEmpty));
    bench.ask(Call::Leave(Leave { group: group(), members: vec![(id("a"), None)] }));
    assert_eq!(bench.ask(Call::Delete(group())).delete(), Ok(()));
    assert_eq!(bench.groups, Groups::default());
    assert_eq!(bench.ask(Call::List).list(), Ok(Vec::new()));
    let nameless = GroupId::new("");
    let mut identity = identity("", -1);
    identity.group = nameless.clone();
    let call = Call::Commit(Commit { identity, knows_kip_848: false, offsets: vec![commit_of("t", 1)] });
    bench.ask(call).commit().expect("it commits");
    let forget = Forget { group: nameless.clone(), topics: Vec::new() };
    assert_eq!(bench.ask(Call::Forget(forget)).forget(), Err(Refusal::GroupId));
    assert_eq!(bench.ask(Call::Delete(nameless)).delete(), Ok(()));
}

#[test]
fn an_empty_group_keeps_its_offsets_for_the_whole_time_since_it_is_empty() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    commits(&mut bench, "a", 1, 5).expect("it commits");
    for _ in 0..20 * 24 * 60 * 6 / 10 {
        bench.heartbeat("a", 1).expect("it lives");
        bench.pass(Duration::from_secs(9));
    }
    bench.ask(Call::Leave(Leave { group: group(), members: vec![(id("a"), None)] }));
    bench.pass(DAY * 7 - Duration::from_secs(60));
    assert_eq!(committed(&mut bench), [("t".to_owned(), 5)]);
    bench.pass(Duration::from_secs(20 * 60));
    assert_eq!(bench.groups, Groups::default(), "the group goes with its last offset");
}

#[test]
fn a_simple_group_keeps_each_offset_since_its_commit() {
    let mut bench = Bench::new();
    commits(&mut bench, "", -1, 5).expect("it commits");
    bench.pass(DAY * 4);
    let later = Commit { identity: identity("", -1), knows_kip_848: false, offsets: vec![commit_of("u", 6)] };
    bench.ask(Call::Commit(later));
    bench.pass(DAY * 4);
    assert_eq!(committed(&mut bench), [("u".to_owned(), 6)]);
    bench.pass(DAY * 4);
    assert_eq!(bench.groups, Groups::default());
}

#[test]
fn an_offset_is_kept_for_as_long_as_its_client_wants() {
    let mut bench = Bench::new();
    let brief = CommitOf { retention: Some(DAY), ..commit_of("t", 1) };
    let long = CommitOf { retention: Some(DAY * 20), ..commit_of("u", 2) };
    let call =
        Commit { identity: identity("", -1), knows_kip_848: false, offsets: vec![brief, long, commit_of("v", 3)] };
    bench.ask(Call::Commit(call)).commit().expect("it commits");
    bench.pass(DAY * 2);
    assert_eq!(committed(&mut bench), [("u".to_owned(), 2), ("v".to_owned(), 3)]);
    bench.fail_over();
    bench.pass(DAY * 8);
    assert_eq!(committed(&mut bench), [("u".to_owned(), 2)]);
    bench.pass(DAY * 12);
    assert_eq!(bench.groups, Groups::default());
}

#[test]
fn members_keep_what_they_read_and_lose_what_they_do_not() {
    let mut bench = Bench::with(Options { retention: Duration::from_secs(60), ..Options::default() });
    bench.stable(&["a"]);
    let offsets = vec![commit_of("t", 1), commit_of("u", 2)];
    bench.ask(Call::Commit(Commit { identity: identity("a", 1), knows_kip_848: false, offsets }));
    for _ in 0..100 {
        bench.heartbeat("a", 1).expect("it lives");
        bench.pass(Duration::from_secs(9));
    }
    assert_eq!(committed(&mut bench), [("t".to_owned(), 1)]);
}
