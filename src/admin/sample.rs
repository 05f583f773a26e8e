//! A small image for the tests of this room: three brokers, the third fenced, and two topics.

use crate::machines::metadata::{BrokerRegistered, ConfigResource, Image, Listener, Proposal, Record};
use crate::model::{
    BootNumber, BrokerEpoch, ClusterId, DirectoryId, LogIndex, NodeId, PartitionIndex, Term, TopicId, TopicName,
};

/// The cluster as one proposal at index 1 makes it.
pub(super) fn image() -> Image {
    let mut records = vec![
        Record::ClusterFormed { cluster: ClusterId::new(*b"cluster-00000001") },
        Record::FeatureLevelSet { feature: "ottla.version".to_owned(), level: 1 },
    ];
    records.extend((1..=3).map(broker));
    records.extend(
        (1..=2).map(|node| Record::BrokerUnfenced { node: NodeId::new(node), broker_epoch: BrokerEpoch::new(1) }),
    );
    records.extend(topic("orders", *b"orders-topic-001", &[&[1, 2, 3], &[2, 3, 1]]));
    records.extend(topic("clicks", *b"clicks-topic-001", &[&[1]]));
    let resource = ConfigResource::Topic(TopicId::new(*b"orders-topic-001"));
    let value = Some("1000".to_owned());
    records.push(Record::ConfigSet { resource, name: "retention.ms".to_owned(), value });
    let mut image = Image::default();
    image.apply(LogIndex::new(1), &Proposal { term: Term::new(1), base: LogIndex::new(0), records });
    image
}

fn broker(node: i32) -> Record {
    let mut directory = *b"directory-000000";
    directory[15] += u8::try_from(node).expect("the sample's nodes are few");
    Record::BrokerRegistered(BrokerRegistered {
        node: NodeId::new(node),
        boot: BootNumber::new(5),
        broker_epoch: None,
        directories: vec![DirectoryId::new(directory)],
        listeners: vec![Listener { name: "PLAINTEXT".to_owned(), host: format!("host-{node}"), port: 9092 }],
        rack: Some(format!("rack-{node}")),
    })
}

fn topic(name: &str, id: [u8; 16], partitions: &[&[i32]]) -> [Record; 2] {
    let topic = TopicId::new(id);
    let made = Record::PartitionsCreated {
        topic,
        first: PartitionIndex::new(0),
        replica_count: u16::try_from(partitions[0].len()).expect("the sample's replicas are few"),
        replicas: partitions.concat().into_iter().map(NodeId::new).collect(),
        absent: vec![NodeId::new(3)],
    };
    [Record::TopicCreated { topic, name: TopicName::new(name).expect("the sample's names are valid") }, made]
}
