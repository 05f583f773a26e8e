"""Compaction as clients see it, on three nodes: of what groups commit while they go on, and of topics, with nodes killed between."""

import random

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

import cluster as clusters
import groups
import text
import wait
from topics import Topics

NODES = 3
SECONDS = 60
OFFSETS = "__consumer_offsets"
SEGMENT_BYTES = 1 << 20
# So many offsets are committed at once, some 100 bytes each, so often: several segments.
COMMITTED, COMMITS = 200, 200

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(clusters.running() is not None, reason="kills nodes, so it runs against its own ottla dev only"),
]


@pytest.fixture(scope="module")
def dev():
    """A cluster that compacts small segments soon."""
    settings = {"offsets.topic.segment.bytes": SEGMENT_BYTES, "offsets.topic.num.partitions": 1, "log.cleaner.backoff.ms": 50}
    dev = clusters.Dev(NODES, **settings)
    dev.cluster = dev.start()
    try:
        yield dev
    finally:
        dev.stop(keep=False)


def sizes(dev, topic):
    """The bytes of the topic's log on each node."""
    data = dev.cluster.data
    return [sum(path.stat().st_size for path in data.glob(f"node-{node}/data/{topic}-0/*.log")) for node in range(1, NODES + 1)]


def state(topics, topic):
    """Who leads partition 0 (-1: nobody that is known), and whether every replica is in sync."""
    try:
        known = topics.admin.list_topics(topic, timeout=1)
    except KafkaException:
        # Asked of a node that was killed just then.
        return -1, False
    partition = known.topics[topic].partitions.get(0)
    whole = bool(partition) and len(known.brokers) == NODES and len(partition.isrs) == NODES
    return partition.leader if partition else -1, whole


def kill_leader(dev, topics, topic):
    """Kills the leader, waits for another, and starts it again."""
    node, _ = wait.until(lambda: (found := state(topics, topic))[1] and found, "every replica is in sync", SECONDS)
    dev.kill(dev.cluster, node)
    wait.until(lambda: state(topics, topic)[0] not in (node, -1), "another leads", SECONDS)
    dev.restart(dev.cluster, node)
    wait.until(lambda: state(topics, topic)[1], "every replica is in sync", SECONDS)


def test_offsets_are_compacted_while_groups_commit(dev):
    topics = Topics(dev.cluster)
    topic = topics.create("committed", partitions=COMMITTED)
    group = groups.Group(dev.cluster).name
    consumer = Consumer({"bootstrap.servers": dev.cluster.bootstrap, "group.id": group, "enable.auto.commit": False})
    places = lambda offset: [TopicPartition(topic, partition, offset) for partition in range(COMMITTED)]
    ask = lambda: {place.partition: place.offset for place in consumer.committed(places(0), SECONDS)}
    once = [TopicPartition(topic, 0, 7, metadata="long ago")]
    rare = Consumer({"bootstrap.servers": dev.cluster.bootstrap, "group.id": f"{group}-rare", "enable.auto.commit": False})
    rare.commit(offsets=once, asynchronous=False)
    least, most = [0] * NODES, [0] * NODES
    for offset in range(1, COMMITS + 1):
        done = consumer.commit(offsets=places(offset), asynchronous=False)
        assert not any(place.error for place in done)
        now = sizes(dev, OFFSETS)
        least = [size if size < before else least[at] for at, (size, before) in enumerate(zip(now, most, strict=True))]
        most = [max(size, before) for size, before in zip(now, most, strict=True)]
        if offset == COMMITS // 2:
            assert set(ask().values()) == {offset}
            kill_leader(dev, topics, OFFSETS)
    assert any(least), f"no log was compacted while groups committed: {most}"
    wait.until(lambda: max(sizes(dev, OFFSETS)) < 2 * SEGMENT_BYTES, "closed segments are compacted", SECONDS)
    for _ in range(2):
        assert set(ask().values()) == {COMMITS}
        (kept,) = rare.committed([TopicPartition(topic, 0)], SECONDS)
        assert (kept.offset, kept.metadata) == (7, "long ago"), "what was committed once, and first, is there"
        kill_leader(dev, topics, OFFSETS)
    consumer.close()
    rare.close()
    topics.remove_all()


class Sent:
    """What a topic was sent, by offset, and the last of each key."""

    def __init__(self, dev, topic):
        self.topic, self.at, self.last = topic, {}, {}
        self.producer = Producer({"bootstrap.servers": dev.cluster.bootstrap, "enable.idempotence": True, "linger.ms": 5})

    def send(self, key, value):
        self.producer.produce(self.topic, value, key, partition=0, on_delivery=self._delivered)
        self.producer.poll(0)

    def _delivered(self, error, message):
        assert error is None, error
        self.at[message.offset()] = (message.key(), message.value())
        self.last[message.key()] = message.offset()

    def flush(self):
        assert self.producer.flush(SECONDS) == 0


def read_all(dev, topic):
    """Every record of partition 0, as (offset, key, value)."""
    consumer = Consumer({"bootstrap.servers": dev.cluster.bootstrap, "group.id": "unused", "enable.auto.commit": False, "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found = []
    while True:
        message = consumer.poll(SECONDS)
        assert message is not None, "the topic's end was not reached"
        if message.error():
            break
        found.append((message.offset(), message.key(), message.value()))
    consumer.close()
    return found


def test_a_compacted_topic_keeps_the_last_of_each_key_and_its_offset(dev):
    topics = Topics(dev.cluster)
    configs = {"cleanup.policy": "compact", "segment.bytes": str(SEGMENT_BYTES), "min.cleanable.dirty.ratio": "0.1"}
    topic = topics.create("compacted", configs=configs)
    sent, chance = Sent(dev, topic), random.Random(1)
    for round_number in range(3):
        kill_leader(dev, topics, topic)
        for value in text.lines(12_000, seed=round_number):
            key = f"key-{chance.randrange(100)}".encode()
            sent.send(key, None if chance.random() < 0.01 else value)
        sent.flush()
    wait.until(lambda: max(sizes(dev, topic)) < 2 * SEGMENT_BYTES, "closed segments are compacted", SECONDS)
    for _ in range(NODES):
        found = read_all(dev, topic)
        assert [offset for offset, _, _ in found] == sorted({offset for offset, _, _ in found}), "offsets only rise"
        assert all(sent.at[offset] == (key, value) for offset, key, value in found), "what is left is what was sent there"
        kept = {offset for offset, _, _ in found}
        assert kept >= set(sent.last.values()), "the last of each key is there, deletions too for a day"
        assert len(kept) < len(sent.at)
        kill_leader(dev, topics, topic)
    topics.remove_all()
