//! The bytes are Kafka's, and come back as the facts that they were.

use super::super::{ClassicWords, Current, MemberState, Resolved, Subscriber};
use super::*;
use crate::model::{GroupEpoch, PartitionId, TopicId};

fn group() -> GroupId {
    GroupId::new("g")
}

fn offset(committed: Option<Committed>) -> Record {
    let topic = TopicName::new("orders").expect("a valid name");
    Record::Offset { group: group(), topic, partition: PartitionIndex::new(7), committed }
}

fn topic_id() -> TopicId {
    TopicId::new(*b"0123456789abcdef")
}

fn committed() -> Committed {
    Committed {
        topic_id: Some(topic_id()),
        offset: Offset::new(42),
        leader_epoch: Some(LeaderEpoch::new(3)),
        metadata: "m".into(),
        at: Timestamp::new(1_000),
        expires: None,
    }
}

fn classic() -> ClassicGroup {
    let member = StoredMember {
        instance: Some(InstanceId::new("i")),
        client: super::super::Client::new("c", "/10.0.0.1"),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 10_000,
        subscription: Bytes::from_static(b"sub"),
        assignment: Bytes::from_static(b"as"),
    };
    ClassicGroup {
        protocol_type: "consumer".into(),
        generation: Generation::new(5),
        protocol: Some("range".into()),
        leader: Some(MemberId::new("m1")),
        since: Timestamp::new(2_000),
        members: [(MemberId::new("m1"), member)].into(),
    }
}

fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, RecordFault> {
    Record::decode(Some(&Bytes::copy_from_slice(key)), value.map(Bytes::copy_from_slice).as_ref(), None)
}

#[test]
fn every_fact_comes_back() {
    let empty = ClassicGroup { protocol: None, leader: None, members: [].into(), ..classic() };
    let bare = Committed { topic_id: None, leader_epoch: None, metadata: "".into(), ..committed() };
    for record in [
        offset(Some(committed())),
        offset(Some(Committed { expires: Some(Timestamp::new(9)), ..bare.clone() })),
        offset(Some(bare)),
        offset(None),
        Record::Classic { group: group(), state: Some(classic()) },
        Record::Classic { group: group(), state: Some(empty) },
        Record::Classic { group: group(), state: None },
    ] {
        let Encoded { key, value, topic_id } = record.encode();
        assert_eq!(Record::decode(Some(&key), value.as_ref(), topic_id.as_ref()), Ok(Some(record)));
    }
}

#[test]
fn an_offset_has_the_bytes_that_every_reader_knows() {
    let Encoded { key, value, topic_id: header } = offset(Some(committed())).encode();
    assert_eq!(&key[..], b"\0\x01\0\x01g\0\x06orders\0\0\0\x07");
    let value = value.expect("it was committed");
    assert_eq!(&value[..], b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x03\0\x01m\0\0\0\0\0\0\x03\xe8");
    assert_eq!(header.as_deref(), Some(&b"0123456789abcdef"[..]));
}

#[test]
fn a_group_has_the_bytes_that_every_reader_knows() {
    let Encoded { key, value, .. } = Record::Classic { group: group(), state: Some(classic()) }.encode();
    assert_eq!(&key[..], b"\0\x02\0\x01g");
    let value = value.expect("the group exists");
    let front = b"\0\x03\0\x08consumer\0\0\0\x05\0\x05range\0\x02m1\0\0\0\0\0\0\x07\xd0\0\0\0\x01";
    let member = b"\0\x02m1\0\x01i\0\x01c\0\x09/10.0.0.1\0\0\xea\x60\0\0\x27\x10\0\0\0\x03sub\0\0\0\x02as";
    assert_eq!(value, [&front[..], &member[..]].concat());
}

#[test]
fn values_of_other_versions_are_read() {
    let key = b"\0\x00\0\x01g\0\x06orders\0\0\0\x07";
    let old = Committed { topic_id: None, leader_epoch: None, expires: Some(Timestamp::new(9)), ..committed() };
    let v1 = b"\0\x01\0\0\0\0\0\0\0\x2a\0\x01m\0\0\0\0\0\0\x03\xe8\0\0\0\0\0\0\0\x09";
    assert_eq!(decode(key, Some(v1)), Ok(Some(offset(Some(old)))));
    let v4 = b"\0\x04\0\0\0\0\0\0\0\x2a\0\0\0\x03\x02m\0\0\0\0\0\0\x03\xe8\x01\x00\x100123456789abcdef";
    assert_eq!(decode(key, Some(v4)), Ok(Some(offset(Some(committed())))));
    // Before version 1 of a group one timeout said both.
    let v0 = b"\0\0\0\x01t\0\0\0\x05\xff\xff\xff\xff\0\0\0\x01\0\x01m\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0";
    let Ok(Some(Record::Classic { state: Some(state), .. })) = decode(b"\0\x02\0\x01g", Some(v0)) else {
        panic!("it is a group")
    };
    let member = &state.members[&MemberId::new("m")];
    assert_eq!((member.session_timeout_ms, member.rebalance_timeout_ms), (9, 9));
}

#[test]
fn what_nobody_writes_is_refused_and_what_a_newer_broker_writes_passed_over() {
    assert_eq!(Record::decode(None, None, None), Err(RecordFault::Keyless));
    assert_eq!(decode(b"\0", None), Err(RecordFault::Keyless));
    assert_eq!(decode(b"\0\x63anything", None), Ok(None));
    assert!(matches!(decode(b"\0\x02\0\x09g", None), Err(RecordFault::Malformed { kind: 2, .. })));
    assert!(matches!(decode(b"\0\x02\0\x01g", Some(b"\0\x09")), Err(RecordFault::Malformed { kind: 2, .. })));
    assert_eq!(decode(b"\0\x01\0\x01g\0\x01/\0\0\0\0", None), Err(RecordFault::Topic));
    let Encoded { key, value, .. } = offset(Some(committed())).encode();
    let short = Bytes::from_static(b"0123");
    assert_eq!(Record::decode(Some(&key), value.as_ref(), Some(&short)), Err(RecordFault::Topic));
}

#[test]
fn what_is_read_does_not_hold_the_bytes_that_it_was_read_with() {
    let Encoded { key, value, .. } = Record::Classic { group: group(), state: Some(classic()) }.encode();
    let value = value.expect("the group exists");
    let range = value.as_ptr_range();
    let Ok(Some(Record::Classic { state: Some(state), .. })) = Record::decode(Some(&key), Some(&value), None) else {
        panic!("it is a group")
    };
    for member in state.members.values() {
        assert!(!range.contains(&member.subscription.as_ptr()) && !range.contains(&member.assignment.as_ptr()));
    }
}

fn fact(fact: ConsumerFact) -> Record {
    Record::Consumer { group: group(), fact }
}

fn partition(index: i32) -> PartitionId {
    PartitionId { topic: TopicId::new(*b"0123456789abcdef"), index: PartitionIndex::new(index) }
}

fn subscriber() -> Subscriber {
    Subscriber {
        instance: Some(InstanceId::new("i")),
        rack: None,
        client: super::super::Client::new("c", "/h"),
        topics: ["a".into(), "b".into()].into(),
        regex: Some("r.*".into()),
        rebalance_timeout_ms: 300_000,
        assignor: Some("uniform".into()),
        classic: None,
    }
}

fn current() -> Current {
    Current {
        epoch: GroupEpoch::new(5),
        previous: GroupEpoch::new(4),
        state: MemberState::Unrevoked,
        assigned: [(partition(1), GroupEpoch::new(3)), (partition(2), GroupEpoch::new(5))].into(),
        revoking: [(partition(7), GroupEpoch::new(2))].into(),
    }
}

#[test]
fn every_fact_of_a_consumer_group_comes_back() {
    let (m, epoch, at) = (MemberId::new("m"), GroupEpoch::new(7), Timestamp::new(9));
    let classic = ClassicWords { session_timeout_ms: 5, protocols: vec![("range".into(), Bytes::from_static(b"x"))] };
    let resolved = Resolved { topics: ["a".into()].into(), version: 3, at };
    for value in [
        ConsumerFact::Epoch(Some((epoch, -4))),
        ConsumerFact::Epoch(None),
        ConsumerFact::Member(m.clone(), Some(subscriber().into())),
        ConsumerFact::Member(m.clone(), Some(Subscriber { classic: Some(classic), ..subscriber() }.into())),
        ConsumerFact::Member(m.clone(), None),
        ConsumerFact::TargetEpoch(Some((epoch, at))),
        ConsumerFact::TargetEpoch(None),
        ConsumerFact::Target(m.clone(), Some(std::sync::Arc::new([partition(0), partition(9)].into()))),
        ConsumerFact::Target(m.clone(), None),
        ConsumerFact::Current(m.clone(), Some(current().into())),
        ConsumerFact::Current(m, None),
        ConsumerFact::Regex("a|b".into(), Some(resolved.into())),
        ConsumerFact::Regex("a|b".into(), None),
    ] {
        let Encoded { key, value: bytes, topic_id } = fact(value.clone()).encode();
        assert_eq!(Record::decode(Some(&key), bytes.as_ref(), topic_id.as_ref()), Ok(Some(fact(value))));
    }
}

#[test]
fn a_consumer_group_has_the_bytes_that_every_reader_knows() {
    let Encoded { key, value, .. } = fact(ConsumerFact::Epoch(Some((GroupEpoch::new(7), 1)))).encode();
    assert_eq!(&key[..], b"\0\x03\0\x01g");
    assert_eq!(&value.expect("a value")[..], b"\0\0\0\0\0\x07\x01\x00\x08\0\0\0\0\0\0\0\x01");
    let Encoded { key, value, .. } = fact(ConsumerFact::Member(MemberId::new("m"), Some(subscriber().into()))).encode();
    assert_eq!(&key[..], b"\0\x05\0\x01g\0\x01m");
    let expected = b"\0\0\x02i\0\x02c\x03/h\x03\x02a\x02b\x04r.*\0\x04\x93\xe0\x08uniform\0";
    assert_eq!(&value.expect("a value")[..], expected);
    let target = std::sync::Arc::new([partition(1), partition(2)].into());
    let Encoded { value, .. } = fact(ConsumerFact::Target(MemberId::new("m"), Some(target))).encode();
    let expected = b"\0\0\x020123456789abcdef\x03\0\0\0\x01\0\0\0\x02\0\0";
    assert_eq!(&value.expect("a value")[..], expected);
}

#[test]
fn what_older_coordinators_wrote_of_consumer_groups_is_read() {
    // Without the epochs of partitions: they are of the member's.
    let value = b"\0\0\0\0\0\x05\0\0\0\x04\x02\x020123456789abcdef\x02\0\0\0\x01\0\x01\0";
    let Ok(Some(Record::Consumer { fact: ConsumerFact::Current(_, Some(read)), .. })) =
        decode(b"\0\x08\0\x01g\0\x01m", Some(value))
    else {
        panic!("it is what a member has")
    };
    assert_eq!((read.state, &read.assigned), (MemberState::Unreleased, &[(partition(1), GroupEpoch::new(5))].into()));
    assert_eq!(decode(b"\0\x04\0\x01g", Some(b"\0\0\x01\0")), Ok(None), "topics are known from the image");
}
