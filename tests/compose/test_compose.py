"""docker-compose.yml as a user starts it: healthy, reached from the host, and nothing lost when the leader's container is killed."""

import shutil
import subprocess
import time
import uuid

import pytest
import wait
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

SECONDS = 60
RECORDS_PER_SECOND = 1000


def test_every_published_port_takes_records_and_gives_all_of_them(cluster):
    topic, sent = new_topic(cluster), b""
    for address in cluster.addresses:
        kcat(address, "-P", "-t", topic, "-p", "0", "-X", "acks=all", stdin=f"through {address}\n".encode())
        sent += f"through {address}\n".encode()
        for reader in cluster.addresses:
            assert kcat(reader, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q") == sent


def test_killing_the_leaders_container_loses_and_doubles_nothing(cluster):
    topic, admin = new_topic(cluster), AdminClient({"bootstrap.servers": cluster.bootstrap})
    producer = SteadyProducer(cluster, topic)
    producer.run(lambda it: len(it.acknowledged) >= 1000)
    killed = leaders_place(cluster, admin, topic)
    cluster.drive("kill", killed)
    seen = len(producer.acknowledged)
    producer.run(lambda it: len(it.acknowledged) >= seen + 3000)
    cluster.drive("restart", killed)
    producer.run(lambda it: in_sync(admin, topic) == 3 if it.sent % 50 == 0 else False)
    producer.finish()
    assert producer.errors == []
    assert producer.acknowledged == list(range(producer.sent))
    assert read_all(cluster, topic, producer.sent) == [producer.value(number) for number in range(producer.sent)]


def new_topic(cluster):
    """A topic with a replica on each node, all of them in sync."""
    name, admin = f"compose-{uuid.uuid4().hex[:12]}", AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_topics([NewTopic(name, 1, 3)], operation_timeout=SECONDS)[name].result(SECONDS)
    wait.until(lambda: in_sync(admin, name) == 3, "three replicas in sync", SECONDS)
    return name


def in_sync(admin, topic):
    """How many replicas of partition 0 are in sync."""
    partitions = admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions
    return len(partitions[0].isrs) if partitions else 0


def kcat(address, *arguments, stdin=b""):
    """Runs kcat against one address."""
    found = shutil.which("kcat") or shutil.which("kafkacat")
    if not found:
        pytest.skip("kcat is not installed (scripts/client-env kcat)")
    done = subprocess.run([found, "-b", address, *arguments], input=stdin, capture_output=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


class SteadyProducer:
    """Sends numbered lines at a steady rate, idempotent and with acks=all, and remembers which were acknowledged."""

    def __init__(self, cluster, topic):
        self.producer = Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 0})
        self.topic, self.sent, self.acknowledged, self.errors = topic, 0, [], []

    def run(self, enough):
        """Goes on until `enough(self)`."""
        end, begun, before = time.monotonic() + SECONDS, time.monotonic(), self.sent
        while not enough(self):
            assert time.monotonic() < end, f"only {len(self.acknowledged)} records acknowledged: {self.errors}"
            if self.sent - before < (time.monotonic() - begun) * RECORDS_PER_SECOND:
                number = self.sent
                self.producer.produce(self.topic, partition=0, value=self.value(number), on_delivery=self._delivered(number))
                self.sent += 1
            self.producer.poll(0.001)

    def finish(self):
        """Waits for everything that is in flight."""
        assert self.producer.flush(SECONDS) == 0

    @staticmethod
    def value(number):
        """What record `number` holds."""
        return b"%d the record before this one is %d" % (number, number - 1)

    def _delivered(self, number):
        return lambda error, _: self.errors.append(error) if error else self.acknowledged.append(number)


def read_all(cluster, topic, count):
    """The values of partition 0 up to its end."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "unused", "enable.auto.commit": False})
    partition = TopicPartition(topic, 0, OFFSET_BEGINNING)
    consumer.assign([partition])
    values = []

    def enough():
        values.extend(message.value() for message in consumer.consume(10_000, timeout=0.5) if message.error() is None)
        return len(values) >= count

    wait.until(enough, f"{count} records", SECONDS)
    assert consumer.get_watermark_offsets(partition, timeout=SECONDS) == (0, len(values))
    consumer.close()
    return values


def leaders_place(cluster, admin, topic):
    """Which of the cluster's addresses is the leader's, from 1: an id says nothing, brokers of the split cluster have others."""
    metadata = admin.list_topics(topic, timeout=SECONDS)
    return cluster.ports.index(metadata.brokers[metadata.topics[topic].partitions[0].leader].port) + 1
