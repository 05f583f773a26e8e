"""Groups of KIP-848 (group.protocol=consumer) with confluent-kafka: the broker assigns, and members learn it from heartbeats."""

import time
import uuid

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, ConsumerGroupType, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions

import wait
from topics import admin_of

SECONDS = 30
# Kafka's members hear of a rebalance with their next heartbeat, every 5 s.
KAFKA_HEARTBEAT_SECONDS = 5


class Members:
    """Members of one group, polled in turn."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.group = f"group-{uuid.uuid4().hex[:12]}"
        self.consumers = []
        self.messages = []

    def join(self, *topics, **settings):
        """One more member."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.cluster.bootstrap,
                "group.id": self.group,
                "group.protocol": "consumer",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "topic.metadata.refresh.interval.ms": 1000,
                **settings,
            }
        )
        consumer.subscribe(list(topics))
        self.consumers.append(consumer)
        return consumer

    def leave(self, consumer):
        """A member leaves."""
        self.consumers.remove(consumer)
        consumer.close()

    def poll(self):
        """A round of polls: how rebalances are told and messages are got."""
        for consumer in self.consumers:
            message = consumer.poll(0.01)
            if message is not None and not message.error():
                self.messages.append(message)

    def shares(self):
        """What each member has, once it has been polled."""
        self.poll()
        return [{(part.topic, part.partition) for part in consumer.assignment()} for consumer in self.consumers]

    def await_all(self, partitions, seconds=SECONDS, even=True):
        """Waits until the members have these partitions, each one once."""

        def settled():
            shares = self.shares()
            is_whole = set().union(*shares) == partitions and sum(map(len, shares)) == len(partitions)
            return shares if is_whole and (not even or max(map(len, shares)) - min(map(len, shares)) <= 1) else None

        return wait.until(settled, f"{len(partitions)} partitions are shared by {len(self.consumers)} members", seconds)

    def close(self):
        for consumer in list(self.consumers):
            self.leave(consumer)


@pytest.fixture
def members(cluster):
    group = Members(cluster)
    yield group
    group.close()


def parts(topic, count):
    return {(topic, partition) for partition in range(count)}


def test_members_that_join_and_leave_share_everything(members, topics):
    topic = topics.create(partitions=12)
    first = members.join(topic)
    members.await_all(parts(topic, 12))
    members.join(topic)
    members.join(topic)
    assert sorted(map(len, members.await_all(parts(topic, 12)))) == [4, 4, 4]
    members.leave(first)
    assert sorted(map(len, members.await_all(parts(topic, 12)))) == [6, 6]


def test_every_record_reaches_the_group_over_a_rebalance(members, topics):
    topic = topics.create(partitions=6)
    producer = Producer({"bootstrap.servers": members.cluster.bootstrap})
    for number in range(600):
        producer.produce(topic, str(number), partition=number % 6)
    assert producer.flush(SECONDS) == 0
    members.join(topic, **{"enable.auto.commit": True, "auto.commit.interval.ms": 100})
    wait.until(lambda: members.poll() or len(members.messages) >= 100, "some records are read")
    members.join(topic, **{"enable.auto.commit": True, "auto.commit.interval.ms": 100})
    wait.until(lambda: members.poll() or len({message.value() for message in members.messages}) == 600, "all records are read")


def test_what_a_member_commits_its_successor_goes_on_from(members, topics):
    topic = topics.create(partitions=1)
    producer = Producer({"bootstrap.servers": members.cluster.bootstrap})
    for number in range(10):
        producer.produce(topic, str(number), partition=0)
    assert producer.flush(SECONDS) == 0
    first = members.join(topic)
    wait.until(lambda: members.poll() or len(members.messages) >= 10, "ten records are read")
    first.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    members.leave(first)
    members.messages.clear()
    second = members.join(topic)
    wait.until(lambda: members.poll() or len(members.messages) >= 3, "the rest is read")
    assert [message.offset() for message in members.messages] == [7, 8, 9]
    assert second.committed([TopicPartition(topic, 0)], timeout=SECONDS)[0].offset == 7


def test_new_partitions_are_read_before_kafkas_next_heartbeat(members, topics):
    topic = topics.create(partitions=10)
    for _ in range(5):
        members.join(topic)
    members.await_all(parts(topic, 10))
    admin = admin_of(members.cluster.bootstrap)
    begun = time.monotonic()
    admin.create_partitions([NewPartitions(topic, 60)])[topic].result(SECONDS)
    members.await_all(parts(topic, 60), KAFKA_HEARTBEAT_SECONDS)
    print(f"50 partitions are assigned after {time.monotonic() - begun:.2f} s")


def test_a_regular_expression_takes_topics_in_that_come_later(members, topics):
    stem = f"regex-{uuid.uuid4().hex[:12]}"
    first, later = topics.create(f"{stem}.a", 2), topics.create("other", 2)
    members.join(f"^{stem}\\..*")
    members.join(f"^{stem}\\..*")
    members.await_all(parts(first, 2))
    later = topics.create(f"{stem}.b", 4)
    members.await_all(parts(first, 2) | parts(later, 4))


def test_a_static_member_comes_back_to_what_it_had(members, topics):
    topic = topics.create(partitions=6)
    settings = {"group.instance.id": "one"}
    static = members.join(topic, **settings)
    members.join(topic)
    before = members.await_all(parts(topic, 6))
    members.leave(static)
    members.join(topic, **settings)
    members.consumers.reverse()
    assert members.await_all(parts(topic, 6)) == before


def test_a_group_is_listed_and_described(members, topics):
    topic = topics.create(partitions=4)
    members.join(topic)
    members.await_all(parts(topic, 4))
    admin = admin_of(members.cluster.bootstrap)
    listed = admin.list_consumer_groups(types={ConsumerGroupType.CONSUMER}).result(SECONDS)
    assert members.group in [group.group_id for group in listed.valid]
    found = admin.describe_consumer_groups([members.group])[members.group].result(SECONDS)
    assert found.state == ConsumerGroupState.STABLE and found.type == ConsumerGroupType.CONSUMER
    assert len(found.members[0].assignment.topic_partitions) == 4
    assert found.partition_assignor == "uniform"


def test_a_classic_group_is_upgraded_member_by_member(members, topics):
    topic = topics.create(partitions=6)
    classic = {"group.protocol": "classic", "partition.assignment.strategy": "cooperative-sticky", "heartbeat.interval.ms": 500}
    first = members.join(topic, **classic)
    second = members.join(topic, **classic)
    members.await_all(parts(topic, 6))
    members.leave(first)
    members.await_all(parts(topic, 6))
    members.join(topic)
    members.await_all(parts(topic, 6))
    members.leave(second)
    members.join(topic)
    assert sorted(map(len, members.await_all(parts(topic, 6)))) == [3, 3]
