//! Members of groups: legal histories of theirs pass, with what is odd and legal in them; with one edit an invariant falls.

use crate::model::{GroupId, InstanceId, Instant, MemberId, Offset, PartitionId, PartitionIndex, TopicId};
use crate::verify::history::{GroupEnding, MemberAnswer, MemberCall, MemberRequest, Processed};
use crate::verify::{Activity, Expectations, History, Invariant, check};

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId::new([7; 16]), index: PartitionIndex::new(index) }
}

fn partitions(indexes: &[i32]) -> Vec<PartitionId> {
    indexes.iter().copied().map(partition).collect()
}

fn positions(of: &[(i32, i64)]) -> Vec<(PartitionId, Offset)> {
    of.iter().map(|(index, offset)| (partition(*index), Offset::new(*offset))).collect()
}

fn group() -> GroupId {
    GroupId::new("g")
}

/// A request of a member in a generation, taken within ten milliseconds.
fn call(ms: u64, member: &str, generation: i32, request: MemberRequest, answer: MemberAnswer) -> MemberCall {
    MemberCall {
        group: group(),
        instance: None,
        member: MemberId::new(member),
        generation,
        request,
        invoked: at(ms),
        returned: Some(at(ms + 10)),
        answer,
    }
}

fn joined(ms: u64, member: &str, generation: i32, leader: &str, members: &[&str]) -> MemberCall {
    let answer = MemberAnswer::Joined {
        member: MemberId::new(member),
        generation,
        leader: MemberId::new(leader),
        protocol: "range".to_owned(),
        members: members.iter().map(|member| (MemberId::new(member), None)).collect(),
    };
    call(ms, member, 0, MemberRequest::Join { fresh: MemberId::new(member) }, answer)
}

fn synced(ms: u64, member: &str, generation: i32, given: &[i32]) -> MemberCall {
    call(ms, member, generation, MemberRequest::Sync, MemberAnswer::Assigned(partitions(given)))
}

fn heartbeat(ms: u64, member: &str, generation: i32) -> MemberCall {
    call(ms, member, generation, MemberRequest::Heartbeat, MemberAnswer::Done)
}

fn commit(ms: u64, member: &str, generation: i32, of: &[(i32, i64)]) -> MemberCall {
    call(ms, member, generation, MemberRequest::Commit(positions(of)), MemberAnswer::Done)
}

fn fetched(ms: u64, member: &str, generation: i32, of: &[(i32, i64)]) -> MemberCall {
    call(ms, member, generation, MemberRequest::Fetch, MemberAnswer::Positions(positions(of)))
}

/// A heartbeat of KIP-848: what it says it has, in which epoch, and what it is told.
fn beat(ms: u64, member: &str, epoch: i32, owned: Option<&[i32]>, told: i32, given: Option<&[i32]>) -> MemberCall {
    let answer = MemberAnswer::Told { epoch: told, assignment: given.map(partitions) };
    call(ms, member, epoch, MemberRequest::Beat { owned: owned.map(partitions) }, answer)
}

fn lost(call: MemberCall) -> MemberCall {
    MemberCall { returned: None, answer: MemberAnswer::Lost, ..call }
}

fn refused(call: MemberCall) -> MemberCall {
    MemberCall { answer: MemberAnswer::Refused, ..call }
}

fn of_static(call: MemberCall) -> MemberCall {
    MemberCall { instance: Some(InstanceId::new("i")), ..call }
}

fn done(ms: u64, index: i32, from: i64, end: i64) -> Processed {
    let (from, end) = (Offset::new(from), Offset::new(end));
    Processed { group: group(), partition: partition(index), from, end, at: at(ms) }
}

/// The invariants of groups that fall.
fn fallen(mut calls: Vec<MemberCall>, processed: Vec<Processed>, endings: Vec<GroupEnding>) -> Vec<Invariant> {
    calls.sort_by_key(|call| call.invoked);
    let history = History {
        member_calls: calls,
        processed,
        group_endings: endings,
        healed_at: Some(at(100_000)),
        rested_at: Some(at(110_000)),
        ended_at: at(120_000),
        ..History::default()
    };
    let expectations = Expectations { activity: Activity::NONE, ..Expectations::default() };
    let report = check(&history, &expectations);
    report.counts.into_keys().filter(|invariant| invariant.name().starts_with('C')).collect()
}

fn of_calls(calls: Vec<MemberCall>) -> Vec<Invariant> {
    fallen(calls, vec![done(0, 0, 0, 1000), done(0, 1, 0, 1000)], Vec::new())
}

/// Two members of the classic protocol over two generations, between which the second is silent.
fn classic() -> Vec<MemberCall> {
    vec![
        joined(10, "a", 1, "a", &["a", "b"]),
        joined(11, "b", 1, "a", &[]),
        synced(30, "a", 1, &[0]),
        synced(31, "b", 1, &[1]),
        commit(50, "b", 1, &[(1, 5)]),
        heartbeat(60, "a", 1),
        joined(100, "a", 2, "a", &["a"]),
        synced(120, "a", 2, &[0, 1]),
        fetched(140, "a", 2, &[(1, 5)]),
        refused(commit(200, "b", 1, &[(1, 9)])),
        joined(300, "a", 3, "a", &["a", "c"]),
        joined(301, "c", 3, "a", &[]),
    ]
}

/// Two members of KIP-848: the second comes, the first gives back, the second is given.
fn consumers() -> Vec<MemberCall> {
    vec![
        beat(10, "a", 0, Some(&[]), 1, Some(&[0, 1])),
        commit(50, "a", 1, &[(0, 5), (1, 5)]),
        beat(100, "b", 0, Some(&[]), 2, Some(&[])),
        beat(120, "a", 1, None, 1, Some(&[0])),
        commit(140, "a", 1, &[(1, 7)]),
        beat(160, "a", 1, Some(&[0]), 2, Some(&[0])),
        beat(180, "b", 2, None, 2, Some(&[1])),
        commit(200, "a", 2, &[(0, 9)]),
        commit(220, "b", 2, &[(1, 9)]),
        beat(240, "a", 2, None, 2, None),
    ]
}

/// Two processes with one instance, of which the second fences the first.
fn statics() -> Vec<MemberCall> {
    let calls = vec![
        joined(10, "s1", 1, "s1", &["s1"]),
        synced(30, "s1", 1, &[0, 1]),
        commit(50, "s1", 1, &[(0, 5)]),
        joined(100, "s2", 1, "s2", &["s2"]),
        synced(120, "s2", 1, &[0, 1]),
        refused(commit(130, "s1", 1, &[(0, 9)])),
        commit(140, "s2", 1, &[(0, 9)]),
    ];
    calls.into_iter().map(of_static).collect()
}

#[test]
fn legal_histories_of_members_pass() {
    for calls in [classic(), consumers(), statics()] {
        assert_eq!(of_calls(calls), []);
    }
}

#[test]
fn whatever_is_lost_passes() {
    for legal in [classic(), consumers()] {
        for place in 0..legal.len() {
            // Of a request whose answer is lost nobody knows what came of it.
            let mut calls = legal.clone();
            calls[place] = lost(calls[place].clone());
            assert_eq!(of_calls(calls), [], "without the answer of {place}");
        }
    }
}

#[test]
fn a_request_that_was_under_way_when_the_next_generation_began_passes() {
    let mut calls = classic();
    // It was sent before anybody had heard of generation 2, and is answered long after.
    calls.push(MemberCall { returned: Some(at(250)), ..commit(105, "b", 1, &[(1, 6)]) });
    assert_eq!(of_calls(calls), []);
}

#[test]
fn a_request_of_an_earlier_generation_that_is_taken_falls() {
    let mut calls = classic();
    calls.push(commit(210, "b", 1, &[(1, 9)]));
    assert_eq!(of_calls(calls), [Invariant::C3]);
    let mut calls = classic();
    calls.push(synced(210, "b", 1, &[1]));
    assert_eq!(of_calls(calls), [Invariant::C3]);
}

#[test]
fn a_sign_of_life_of_an_earlier_generation_falls_once_no_session_explains_it() {
    let session = 15_000;
    for (late, expected) in [(session, vec![]), (session + 500, vec![Invariant::C3])] {
        let mut calls = classic();
        calls.push(heartbeat(200 + late, "b", 2));
        assert_eq!(of_calls(calls), expected, "{late} ms");
    }
}

#[test]
fn a_commit_for_a_partition_that_another_was_given_since_falls() {
    let mut calls = consumers();
    calls.push(commit(300, "a", 1, &[(1, 9)]));
    assert_eq!(of_calls(calls), [Invariant::C3]);
    // An older epoch alone is no fault: it still has the partition.
    let mut calls = consumers();
    calls.push(commit(300, "a", 1, &[(0, 9)]));
    assert_eq!(of_calls(calls), []);
}

#[test]
fn two_owners_in_one_generation_fall() {
    let mut calls = classic();
    calls[3] = synced(31, "b", 1, &[0]);
    assert_eq!(of_calls(calls), [Invariant::C4]);
    let mut calls = classic();
    calls.insert(4, synced(40, "a", 1, &[1]));
    assert_eq!(of_calls(calls), [Invariant::C4]);
    // A sync that is tried again is told the same.
    let mut calls = classic();
    calls.insert(4, synced(40, "a", 1, &[0]));
    assert_eq!(of_calls(calls), []);
}

#[test]
fn a_partition_that_is_given_before_it_is_given_back_falls() {
    let mut calls = consumers();
    // The first is obeyed after that, and has not given it back.
    calls[6] = beat(125, "b", 2, None, 2, Some(&[1]));
    assert!(of_calls(calls).contains(&Invariant::C4));
}

#[test]
fn a_partition_of_a_member_that_is_silent_may_be_given_to_another() {
    let silent =
        |calls: &mut Vec<MemberCall>| calls.retain(|call| call.member.as_str() != "a" || call.invoked < at(130));
    let mut calls = consumers();
    silent(&mut calls);
    assert_eq!(of_calls(calls.clone()), []);
    // It may have been taken out while it was silent, and is refused then.
    calls.push(refused(beat(400, "a", 1, None, 1, None)));
    calls.push(beat(420, "a", 0, Some(&[]), 4, Some(&[])));
    assert_eq!(of_calls(calls.clone()), []);
    // But not if it is obeyed as if nothing was, and told something new.
    calls.retain(|call| call.invoked < at(400));
    calls.push(beat(400, "a", 1, None, 2, Some(&[0, 1])));
    assert_eq!(of_calls(calls), [Invariant::C4]);
}

#[test]
fn a_group_that_is_left_in_peace_shares_all_it_reads() {
    let ending = |shares: &[&[i32]]| GroupEnding {
        group: group(),
        partitions: partitions(&[0, 1, 2]),
        members: shares.iter().map(|share| (MemberId::new("m"), partitions(share))).collect(),
    };
    let judged = |shares: &[&[i32]]| fallen(Vec::new(), Vec::new(), vec![ending(shares)]);
    assert_eq!(judged(&[&[0, 2], &[], &[1]]), []);
    assert_eq!(judged(&[]), [], "without members there is nobody to own anything");
    assert_eq!(judged(&[&[0], &[1]]), [Invariant::C4]);
    assert_eq!(judged(&[&[0, 1], &[1, 2]]), [Invariant::C4]);
}

#[test]
fn a_generation_that_goes_back_falls() {
    let mut calls = classic();
    calls.push(joined(400, "a", 2, "a", &["a"]));
    assert_eq!(of_calls(calls), [Invariant::C5]);
    let mut calls = consumers();
    calls.push(beat(400, "a", 2, None, 1, Some(&[0])));
    assert_eq!(of_calls(calls), [Invariant::C5]);
}

#[test]
fn a_generation_of_two_minds_falls() {
    // Its leader, its members, its protocol.
    let mut calls = classic();
    calls[1] = joined(11, "b", 1, "b", &[]);
    assert_eq!(of_calls(calls), [Invariant::C5]);
    let mut calls = classic();
    calls.insert(2, joined(21, "a", 1, "a", &["a", "b", "c"]));
    assert_eq!(of_calls(calls), [Invariant::C5]);
    let mut calls = classic();
    if let MemberAnswer::Joined { protocol, .. } = &mut calls[1].answer {
        "sticky".clone_into(protocol);
    }
    assert_eq!(of_calls(calls), [Invariant::C5]);
}

#[test]
fn a_static_member_that_never_heard_of_its_id_leads_as_who_it_is() {
    let led_by = |ms, member: &str, leader: &str| joined(ms, member, 1, leader, &[]);
    let calls = vec![
        of_static(joined(10, "s1", 1, "s1", &["s1", "a"])),
        led_by(11, "a", "s1"),
        lost(of_static(led_by(50, "s2", "s1"))),
        led_by(100, "a", "s2"),
    ];
    assert_eq!(of_calls(calls.clone()), []);
    assert_eq!(
        of_calls(calls.into_iter().enumerate().filter(|(at, _)| *at != 2).map(|(_, call)| call).collect()),
        [Invariant::C5]
    );
}

#[test]
fn what_is_committed_and_was_never_processed_falls() {
    let calls = || vec![commit(50, "a", 1, &[(0, 10)])];
    assert_eq!(fallen(calls(), vec![done(20, 0, 0, 6), done(40, 0, 4, 10)], vec![]), []);
    assert_eq!(fallen(calls(), vec![done(20, 0, 0, 6), done(60, 0, 4, 10)], vec![]), [Invariant::C6], "too late");
    assert_eq!(fallen(calls(), vec![done(20, 0, 0, 4), done(40, 0, 5, 10)], vec![]), [Invariant::C6], "a hole");
    assert_eq!(fallen(calls(), vec![done(20, 1, 0, 10)], vec![]), [Invariant::C6], "another partition");
    assert_eq!(fallen(vec![refused(calls().remove(0))], vec![], vec![]), [], "nothing was committed");
    let told = || vec![fetched(50, "a", 1, &[(0, 10)])];
    assert_eq!(fallen(told(), vec![done(20, 0, 0, 10)], vec![]), []);
    assert_eq!(fallen(told(), vec![done(20, 0, 0, 9)], vec![]), [Invariant::C6]);
}

#[test]
fn an_earlier_process_of_an_instance_that_is_obeyed_falls() {
    let mut calls = statics();
    calls.push(of_static(commit(150, "s1", 1, &[(0, 9)])));
    assert_eq!(of_calls(calls), [Invariant::C7]);
    // It may read what is committed: that names no member.
    let mut calls = statics();
    calls.push(of_static(fetched(150, "s1", 1, &[(0, 9)])));
    assert_eq!(of_calls(calls), []);
    // Of two that join at once nobody knows who is later.
    let mut calls = statics();
    calls.retain(|call| call.invoked < at(20) || call.member.as_str() == "s2");
    calls[1].invoked = at(15);
    calls.push(of_static(commit(150, "s1", 1, &[(0, 9)])));
    assert_eq!(of_calls(calls), []);
}

#[test]
fn a_process_of_kip_848_that_joins_again_is_the_later_one() {
    let calls = vec![
        beat(10, "s1", 0, Some(&[]), 1, Some(&[0, 1])),
        // The first was silent for longer than its session; then the second was.
        beat(5_000, "s2", 0, Some(&[]), 3, Some(&[0, 1])),
        refused(beat(5_100, "s1", 1, None, 1, None)),
        beat(12_000, "s1", 0, Some(&[]), 5, Some(&[0, 1])),
        commit(12_100, "s1", 5, &[(0, 5)]),
    ];
    let calls: Vec<MemberCall> = calls.into_iter().map(of_static).collect();
    assert_eq!(of_calls(calls.clone()), []);
    let mut taken = calls;
    taken.push(of_static(commit(12_200, "s2", 5, &[(0, 6)])));
    // And both have the same partitions.
    assert_eq!(of_calls(taken), [Invariant::C4, Invariant::C7]);
}
