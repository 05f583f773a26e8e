"""A byte of a segment that changes under a running leader: it is never served, and what others hold goes on."""

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

import metadata
import wait

RECORDS = 3000
VALUE_BYTES = 1000
SECONDS = 60
DAMAGED = KafkaError.INVALID_MSG
# The connection that was about to send the damage is closed.
QUIET = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT)


def value(number):
    """A value that no other number has, without two equal bytes side by side."""
    return f"{number:08d}".encode() + bytes(97 + (number + place) % 26 for place in range(VALUE_BYTES - 8))


def fill(cluster, topic):
    """Writes the records, a hundred in a batch."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "batch.num.messages": 100, "linger.ms": 50})
    for number in range(RECORDS):
        producer.produce(topic, value(number), partition=0)
        producer.poll(0)
    assert producer.flush(SECONDS) == 0, "records are still in flight"


def leader(cluster, topic):
    return metadata.leaders(cluster.bootstrap.split(",")[0])[topic][0]


def flip(cluster, topic, number):
    """Changes one byte of that record in the files of the partition's leader."""
    (segment,) = (cluster.data / f"node-{leader(cluster, topic)}").glob(f"*/{topic}-0/00000000000000000000.log")
    with segment.open("r+b") as file:
        place = file.read().index(value(number))
        file.seek(place + 500)
        byte = file.read(1)[0]
        file.seek(place + 500)
        file.write(bytes([byte ^ 1]))


class Reading:
    """Reads a partition from an offset on and judges each value; what it was told of damage is counted."""

    def __init__(self, cluster, topic, offset):
        self.next, self.told = offset, 0
        settings = {"bootstrap.servers": cluster.bootstrap, "group.id": "unused", "enable.auto.commit": False}
        # Only the broker is to notice: this client does not look at checksums.
        self.consumer = Consumer({**settings, "check.crcs": False, "fetch.error.backoff.ms": 10})
        self.consumer.assign([TopicPartition(topic, 0, offset)])

    def step(self):
        for message in self.consumer.consume(RECORDS, 0.2):
            if message.error():
                assert message.error().code() in QUIET or message.error().code() == DAMAGED, message.error()
                self.told += message.error().code() == DAMAGED
                continue
            assert (message.offset(), message.value()) == (self.next, value(self.next))
            self.next += 1

    def until(self, condition, what):
        wait.until(lambda: self.step() or condition(), what, SECONDS)


@pytest.fixture
def filled(cluster, topics):
    if cluster.data is None:
        pytest.skip("the files of the cluster are not on this machine (DATA_DIR)")
    topic = topics.create("damaged")
    fill(cluster, topic)
    return topic


def test_what_a_byte_has_changed_is_not_served(cluster, filled):
    before = leader(cluster, filled)
    flip(cluster, filled, RECORDS // 2)
    reading = Reading(cluster, filled, 0)
    if cluster.copies > 1:
        reading.until(lambda: reading.next == RECORDS, "another copy serves every record")
        assert leader(cluster, filled) != before
        return
    reading.until(lambda: reading.told > 0, "the damage is told")
    assert RECORDS // 2 - 100 < reading.next <= RECORDS // 2, "all that stands before the damaged batch was served"
    behind = Reading(cluster, filled, RECORDS // 2 + 100)
    behind.until(lambda: behind.next == RECORDS, "all that stands behind it is served")
