"""kill -9 of coordinators while groups commit: nothing that was acknowledged is lost, and members go on.

KILLS for as many rounds of the first."""

import functools
import os
import threading

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

import cluster as clusters
import group_members
import groups
import metadata
import wait
from topics import Topics

KILLS = int(os.environ.get("KILLS", "20"))
KILLS_OF_MEMBERS = 3
NODES = 3
COMMITTERS = 4
PARTITIONS = 3
SECONDS = 60

pytestmark = pytest.mark.skipif(clusters.running() is not None, reason="kills nodes, so it runs against its own ottla dev only")


@pytest.fixture(scope="module")
def dev():
    """A cluster to be killed."""
    dev = clusters.Dev(NODES)
    dev.cluster = dev.start()
    try:
        yield dev
    finally:
        dev.stop(keep=False)


class Committer(threading.Thread):
    """Commits ever higher offsets for a group of its own. `acknowledged` is the last that was taken for good."""

    def __init__(self, cluster, topic):
        super().__init__(daemon=True)
        self.group = groups.Group(cluster).name
        self.settings = {"bootstrap.servers": cluster.bootstrap, "group.id": self.group, "enable.auto.commit": False}
        self.consumer, self.partition = Consumer(self.settings), TopicPartition(topic, 0)
        self.tried, self.acknowledged, self.refused, self.stopped = 0, 0, 0, False

    def run(self):
        while not self.stopped:
            self.tried += 1
            try:
                (done,) = self.consumer.commit(offsets=[self._at(self.tried)], asynchronous=False)
            except KafkaException:
                self.refused += 1
                continue
            assert done.error is None, done.error
            self.acknowledged = self.tried
        self.consumer.close()

    def _at(self, offset):
        return TopicPartition(self.partition.topic, self.partition.partition, offset)

    def committed(self):
        """What a client that has just come is told, once there is a coordinator."""
        reader = Consumer(self.settings)

        def told():
            try:
                return reader.committed([self.partition], SECONDS)
            except KafkaException as refusal:
                assert refusal.args[0].code() in group_members.AWAY, refusal
                return None

        try:
            return wait.until(told, "a coordinator tells what is committed", SECONDS)[0].offset
        finally:
            reader.close()


class Stream(threading.Thread):
    """Appends records to every partition, all acknowledged by all replicas."""

    def __init__(self, cluster, topic):
        super().__init__(daemon=True)
        self.topic, self.stopped, self.sent, self.failed = topic, threading.Event(), [0] * PARTITIONS, []
        self.producer = Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "linger.ms": 5})

    def run(self):
        while not self.stopped.wait(0.02):
            for partition in range(PARTITIONS):
                self.producer.produce(self.topic, b"value", partition=partition, on_delivery=self._delivered)
            self.producer.poll(0)
        assert self.producer.flush(SECONDS) == 0

    def _delivered(self, error, message):
        if error:
            self.failed.append(error)
        else:
            self.sent[message.partition()] += 1


def coordinator(dev, group):
    """Who leads the partition that keeps a group, by Java's hash of its name: an admin client that knew a coordinator once
    goes on asking that one (librdkafka 2.16)."""
    hashed = functools.reduce(lambda value, byte: (31 * value + byte) & 0xFFFFFFFF, group.encode(), 0)
    hashed = hashed - (1 << 32) if hashed >> 31 else hashed

    leaders = metadata.leaders(dev.cluster.bootstrap.split(",")[0])["__consumer_offsets"]
    return leaders[abs(hashed) % len(leaders)]


def is_whole(topics):
    """Whether every replica of what keeps groups is in sync again."""
    known = topics.admin.list_topics(timeout=SECONDS)
    # It is made when the first group is used.
    kept = known.topics.get("__consumer_offsets")
    return len(known.brokers) == NODES and kept and all(one.leader >= 0 and len(one.isrs) == NODES for one in kept.partitions.values())


def test_killed_coordinators_lose_no_acknowledged_commit(dev):
    topics = Topics(dev.cluster)
    topic = topics.create("committed")
    committers = [Committer(dev.cluster, topic) for _ in range(COMMITTERS)]
    for committer in committers:
        committer.start()
    for number in range(KILLS):
        wait.until(lambda: is_whole(topics), "every replica is in sync", SECONDS)
        victim = committers[number % COMMITTERS]
        before = {committer: committer.acknowledged for committer in committers}
        wait.until(lambda: all(committer.acknowledged > before[committer] for committer in committers), "commits are taken", SECONDS)
        node = coordinator(dev, victim.group)
        dev.kill(dev.cluster, node)
        for committer in committers:
            least = committer.acknowledged
            found = committer.committed()
            assert least <= found <= committer.tried, f"round {number}: {found} is committed, {least} was acknowledged"
        at_kill = {committer: committer.acknowledged for committer in committers}
        wait.until(lambda: all(committer.acknowledged > at_kill[committer] for committer in committers), "commits go on", SECONDS)
        dev.restart(dev.cluster, node)
        print(f"round {number}: node {node}, {[committer.acknowledged for committer in committers]} acknowledged")
    for committer in committers:
        committer.stopped = True
        committer.join(SECONDS)
        assert not committer.is_alive()
        assert committer.acknowledged <= committer.committed() <= committer.tried
    topics.remove_all()


def test_members_go_on_without_reading_again_what_they_committed(dev):
    topics = Topics(dev.cluster)
    topic, group = topics.create("read", partitions=PARTITIONS), groups.Group(dev.cluster)
    stream = Stream(dev.cluster, topic)
    for _ in range(2):
        group.join([topic])
    group.until(lambda: group.shares(topic, PARTITIONS), "two members share", SECONDS)
    stream.start()
    for _ in range(KILLS_OF_MEMBERS):
        wait.until(lambda: is_whole(topics), "every replica is in sync", SECONDS)
        node = coordinator(dev, group.name)
        dev.kill(dev.cluster, node)
        before = dict(group.committed)
        places = [(topic, partition) for partition in range(PARTITIONS)]
        group.until(lambda: all(group.committed.get(place, 0) > before.get(place, 0) for place in places), "commits go on", SECONDS)
        dev.restart(dev.cluster, node)
    stream.stopped.set()
    stream.join(SECONDS)
    assert not stream.failed and min(stream.sent) == max(stream.sent)
    group.until(lambda: group.has_read(topic, PARTITIONS, stream.sent[0]), "everything is read and committed", SECONDS)
    group.close()
    topics.remove_all()
