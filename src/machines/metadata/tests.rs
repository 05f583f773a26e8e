//! What the metadata log promises: bytes that stay readable, one base per proposal, exact deltas and snapshots.

use super::*;
use crate::model::{
    BootNumber, BrokerEpoch, ClusterId, DirectoryId, GroupId, LogIndex, NodeId, PartitionId, PartitionIndex,
    ProducerId, Term, TopicId, TopicName,
};

fn topic(number: u8) -> TopicId {
    TopicId::new([number; 16])
}

fn partition(number: u8, index: i32) -> PartitionId {
    PartitionId { topic: topic(number), index: PartitionIndex::new(index) }
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId::new).collect()
}

fn registered(node: i32) -> Record {
    Record::BrokerRegistered(BrokerRegistered {
        node: NodeId::new(node),
        boot: BootNumber::new(3),
        broker_epoch: None,
        directories: vec![DirectoryId::new([1; 16])],
        listeners: vec![Listener { name: "C".to_owned(), host: "h".to_owned(), port: 9092 }],
        rack: Some("r".to_owned()),
    })
}

/// One record of every kind, in the order of the kinds.
fn one_of_each() -> Vec<Record> {
    let (node, broker_epoch) = (NodeId::new(1), BrokerEpoch::new(2));
    let state = Partition { elr: nodes(&[3]), ..Partition::new(nodes(&[1, 2, 3]), nodes(&[1, 2])) };
    vec![
        Record::ClusterFormed { cluster: ClusterId::new([9; 16]) },
        Record::FeatureLevelSet { feature: "f".to_owned(), level: 1 },
        registered(1),
        Record::BrokerFenced { node, broker_epoch },
        Record::BrokerUnfenced { node, broker_epoch },
        Record::BrokerShuttingDown { node, broker_epoch },
        Record::BrokerUnregistered { node, broker_epoch },
        Record::TopicCreated { topic: topic(4), name: TopicName::new("t").unwrap() },
        Record::TopicDeleted { topic: topic(4) },
        Record::ConfigSet { resource: ConfigResource::Topic(topic(4)), name: "n".to_owned(), value: None },
        Record::ConfigSet { resource: ConfigResource::Group(GroupId::new("g")), name: "n".to_owned(), value: None },
        Record::PartitionsCreated {
            topic: topic(4),
            first: PartitionIndex::new(0),
            replica_count: 2,
            replicas: nodes(&[1, 2, 2, 1]),
            absent: nodes(&[2]),
        },
        Record::PartitionCreated { partition: partition(4, 0), state: state.clone() },
        Record::PartitionChanged { partition: partition(4, 0), state },
        Record::ProducerIdsAllocated { next: ProducerId::new(1000) },
    ]
}

/// The bytes of `one_of_each`. They are in logs out there: a change of a line breaks every cluster that has one.
const GOLDEN: &[&str] = &[
    "0000000009090909090909090909090909090909",
    "010000000100000000000000660100",
    "0200000001000000030000000000000000010000000000000001010101010101010101010101010101010000000000000001\
     0000000000000043010000000000000068842301010000000000000072",
    "03000000010000000200000000000000",
    "04000000010000000200000000000000",
    "05000000010000000200000000000000",
    "06000000010000000200000000000000",
    "0700000004040404040404040404040404040404010000000000000074",
    "0800000004040404040404040404040404040404",
    "09000000000000000404040404040404040404040404040401000000000000006e00",
    "090000000300000001000000000000006701000000000000006e00",
    "0a00000004040404040404040404040404040404000000000200040000000000000001000000020000000200000001000000\
     010000000000000002000000",
    "0b00000004040404040404040404040404040404000000000300000000000000010000000200000003000000020000000000\
     0000010000000200000001000000000000000300000000000000000000000000000000000000000000000000000001010000\
     00000000000000000000000000",
    "0c00000004040404040404040404040404040404000000000300000000000000010000000200000003000000020000000000\
     0000010000000200000001000000000000000300000000000000000000000000000000000000000000000000000001010000\
     00000000000000000000000000",
    "0d000000e803000000000000",
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_every_kind_of_record_stay_as_they_are() {
    let encoded: Vec<String> = one_of_each().iter().map(|record| hex(&bincode::serialize(record).unwrap())).collect();
    assert_eq!(encoded, GOLDEN);
}

#[test]
fn no_record_takes_more_bytes_than_it_says() {
    /// What `quorum` adds to each record: magic, kind, version, length, crc.
    const ENVELOPE: u64 = 16;
    for record in one_of_each() {
        let size = bincode::serialized_size(&record).unwrap() + ENVELOPE;
        assert!(size <= record.size_max() as u64, "a {} takes {size} bytes", record.kind());
    }
}

fn proposal(base: u64, records: Vec<Record>) -> Proposal {
    Proposal { term: Term::new(1), base: LogIndex::new(base), records }
}

#[test]
fn only_an_accepted_proposal_moves_the_base() {
    let mut image = Image::default();
    assert_eq!(image.apply(LogIndex::new(3), &proposal(0, one_of_each())), Applied::Accepted);
    image.pass(LogIndex::new(4));
    let before = image.clone();
    assert_eq!(image.apply(LogIndex::new(5), &proposal(4, vec![registered(7)])), Applied::Dropped);
    assert_eq!(image.last_accepted(), LogIndex::new(3));
    assert_eq!(image.last_applied(), LogIndex::new(5));
    assert!(image.since(&before).is_empty(), "a dropped proposal leaves no trace");
    assert_eq!(image.apply(LogIndex::new(6), &proposal(3, vec![registered(7)])), Applied::Accepted);
    assert_eq!(image.last_accepted(), LogIndex::new(6));
    assert_eq!(image.broker(NodeId::new(7)).unwrap().broker_epoch, BrokerEpoch::new(6));
}

#[test]
fn new_partitions_are_led_by_the_first_replica_that_is_there() {
    let mut image = Image::default();
    let create = Record::TopicCreated { topic: topic(1), name: TopicName::new("t").unwrap() };
    let partitions = Record::PartitionsCreated {
        topic: topic(1),
        first: PartitionIndex::new(0),
        replica_count: 3,
        replicas: nodes(&[1, 2, 3, 2, 3, 1]),
        absent: nodes(&[2]),
    };
    image.apply(LogIndex::new(1), &proposal(0, vec![create, partitions]));
    assert_eq!(image.topic(topic(1)).unwrap().partition_count, 2);
    assert_eq!(image.topic(topic(1)).unwrap().replication_factor, 3);
    assert_eq!(image.partition(partition(1, 1)), Some(&Partition::new(nodes(&[2, 3, 1]), nodes(&[3, 1]))));
    assert_eq!(image.topics().led_by(NodeId::new(3)).count(), 1);
    assert_eq!(image.topics().replicas_of(NodeId::new(2)).count(), 2);
    assert_eq!(image.topics().in_isr_of(NodeId::new(2)).count(), 0);
}

#[test]
fn a_delta_names_what_came_changed_and_went() {
    let mut image = Image::default();
    let name = |text| TopicName::new(text).unwrap();
    let both = vec![
        Record::TopicCreated { topic: topic(1), name: name("a") },
        Record::TopicCreated { topic: topic(2), name: name("b") },
        Record::PartitionCreated { partition: partition(1, 0), state: Partition::new(nodes(&[1]), nodes(&[1])) },
        Record::PartitionCreated { partition: partition(2, 0), state: Partition::new(nodes(&[2]), nodes(&[2])) },
        registered(1),
    ];
    image.apply(LogIndex::new(1), &proposal(0, both));
    let before = image.clone();
    let changed = vec![
        Record::TopicDeleted { topic: topic(1) },
        Record::PartitionCreated { partition: partition(2, 1), state: Partition::new(nodes(&[1]), nodes(&[1])) },
        Record::ConfigSet { resource: ConfigResource::Cluster, name: "n".to_owned(), value: Some("v".to_owned()) },
    ];
    image.apply(LogIndex::new(2), &proposal(1, changed));
    let delta = image.since(&before);
    let ids: Vec<PartitionId> = delta.partitions_of(NodeId::new(1)).map(|(id, _)| *id).collect();
    assert_eq!(ids, [partition(1, 0), partition(2, 1)]);
    assert_eq!(delta.partitions[0].1.after, None);
    assert_eq!(delta.partitions[1].1.before, None);
    assert_eq!(delta.topics.len(), 2, "a is gone and b has grown");
    assert!(delta.brokers.is_empty() && !delta.cluster_changed && !delta.producers_changed);
    assert!(delta.configs.contains(&ConfigResource::Cluster));
}

#[test]
fn a_snapshot_keeps_a_broker_between_two_lives() {
    let mut image = Image::default();
    let unfence = Record::BrokerUnfenced { node: NodeId::new(1), broker_epoch: BrokerEpoch::new(1) };
    image.apply(LogIndex::new(1), &proposal(0, vec![registered(1), unfence]));
    image.apply(LogIndex::new(2), &proposal(1, vec![registered(1)]));
    let broker = image.broker(NodeId::new(1)).unwrap();
    assert_eq!(broker.last_active.as_ref().unwrap().broker_epoch, BrokerEpoch::new(1));
    assert!(broker.is_fenced());
    let (header, records) = snapshot(&image);
    let records: Vec<Record> = records.collect();
    assert_eq!(Image::from_snapshot(header, records), image);
}

#[test]
fn a_snapshot_keeps_the_base_though_other_entries_came_behind_it() {
    let mut image = Image::default();
    image.apply(LogIndex::new(1), &proposal(0, vec![registered(1)]));
    image.pass(LogIndex::new(2));
    let (header, records) = snapshot(&image);
    let records: Vec<Record> = records.collect();
    let mut from_snapshot = Image::from_snapshot(header, records);
    // What follows is accepted by who began with the snapshot as by who has applied the whole log.
    let next = proposal(1, vec![registered(2)]);
    let applied = [&mut image, &mut from_snapshot].map(|image| image.apply(LogIndex::new(3), &next));
    assert_eq!(applied, [Applied::Accepted; 2]);
    assert_eq!(from_snapshot, image);
}

#[test]
fn that_a_topic_was_compacted_is_remembered_and_told_to_nobody() {
    let set = |resource, name: &str, value: Option<&str>| Record::ConfigSet {
        resource,
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let own = |number, value| set(ConfigResource::Topic(topic(number)), "cleanup.policy", value);
    let of_all = |value| set(ConfigResource::Cluster, "log.cleanup.policy", value);
    let was = |records: Vec<Record>| {
        let mut image = Image::default();
        image.apply(LogIndex::new(1), &proposal(0, records));
        let (header, records) = snapshot(&image);
        let records: Vec<Record> = records.collect();
        assert_eq!(Image::from_snapshot(header, records), image);
        assert_eq!(
            image.configs().overrides(&ConfigResource::Topic(topic(1))).count().min(1),
            0,
            "no name but its own"
        );
        [1, 2].map(|number| image.configs().was_compacted(topic(number)))
    };
    let (compact, both) = (Some("compact"), Some("delete,compact"));
    assert_eq!(was(vec![own(1, compact), own(1, None)]), [true, false]);
    assert_eq!(was(vec![own(1, None), own(2, both)]), [false, false]);
    assert_eq!(was(vec![own(2, compact), own(2, both)]), [false, false]);
    assert_eq!(was(vec![own(2, both), own(2, Some("delete"))]), [false, true]);
    assert_eq!(was(vec![own(2, compact), own(2, Some("delete")), own(2, compact)]), [false, true]);
    assert_eq!(was(vec![of_all(compact), of_all(None)]), [true, true]);
    assert_eq!(was(vec![of_all(compact), own(2, Some("delete"))]), [false, true]);
    let deleted = vec![own(2, compact), own(2, None), Record::TopicDeleted { topic: topic(2) }];
    assert_eq!(was(deleted), [false, false]);
}

#[test]
fn a_topic_takes_the_clusters_default_before_the_nodes() {
    use crate::model::TopicConfigs;
    let mut node = TopicConfigs::new();
    node.set("retention.ms", "5").unwrap();
    node.set("segment.ms", "6").unwrap();
    let mut image = Image::default();
    let set = |resource, name: &str, value: &str| Record::ConfigSet {
        resource,
        name: name.to_owned(),
        value: Some(value.to_owned()),
    };
    let records = vec![
        set(ConfigResource::Cluster, "log.retention.ms", "7"),
        set(ConfigResource::Topic(topic(1)), "max.message.bytes", "8"),
    ];
    image.apply(LogIndex::new(1), &proposal(0, records));
    let settings = image.configs().topic_settings(topic(1), &node);
    assert_eq!((settings.retention_ms, settings.segment_ms, settings.max_message_bytes), (Some(7), 6, 8));
}
