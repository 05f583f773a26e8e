"""kafka-python as it comes from PyPI: a client that shares no code with librdkafka or Java."""

import time

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import MessageSizeTooLargeError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

import text
import wait

SECONDS = 30


@pytest.fixture
def addresses(cluster):
    """The bootstrap list in kafka-python's form."""
    return cluster.bootstrap.split(",")


@pytest.fixture
def admin(addresses):
    """An admin client, closed after the test."""
    client = KafkaAdminClient(bootstrap_servers=addresses)
    yield client
    client.close()


def produce(addresses, topic, records, **settings):
    """Sends dictionaries of send() arguments to partition 0 and returns their offsets."""
    producer = KafkaProducer(bootstrap_servers=addresses, **settings)
    futures = [producer.send(topic, partition=0, **record) for record in records]
    producer.flush(SECONDS)
    offsets = [future.get(SECONDS).offset for future in futures]
    producer.close(SECONDS)
    return offsets


def read(addresses, topic, count, place=None):
    """`count` records of partition 0 from where `place` puts the consumer: at the beginning unless it is told."""
    partition, found = TopicPartition(topic, 0), []
    consumer = KafkaConsumer(bootstrap_servers=addresses, group_id=None, enable_auto_commit=False, max_partition_fetch_bytes=2_000_000)
    consumer.assign([partition])
    (place or (lambda reader, at: reader.seek_to_beginning(at)))(consumer, partition)

    def enough():
        for records in consumer.poll(500).values():
            found.extend(records)
        return len(found) >= count

    wait.until(enough, f"{count} records")
    assert len(found) == count == consumer.end_offsets([partition])[partition] - found[0].offset
    consumer.close()
    return found


@pytest.mark.parametrize("idempotent", [False, True], ids=["plain", "idempotent"])
@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_every_codec_brings_back_what_was_sent_in_order(addresses, topics, codec, idempotent):
    topic, values = topics.create("python"), text.lines(500)
    records = [{"key": b"k%d" % (number % 5), "value": value} for number, value in enumerate(values)]
    offsets = produce(addresses, topic, records, compression_type=codec, enable_idempotence=idempotent, linger_ms=5)
    assert offsets == list(range(500))
    found = read(addresses, topic, 500)
    assert [record.value for record in found] == values
    assert [record.key for record in found] == [record["key"] for record in records]


def test_headers_timestamps_and_tombstones_come_back(addresses, topics):
    topic, now = topics.create("python"), int(time.time() * 1000)
    headers = [("a", b"1"), ("a", b""), ("b", b"\x00")]
    produce(addresses, topic, [{"key": b"k", "value": b"v", "headers": headers, "timestamp_ms": now}, {"key": b"k", "value": None}])
    first, second = read(addresses, topic, 2)
    assert [tuple(header) for header in first.headers] == headers
    assert first.timestamp == now
    assert (second.key, second.value) == (b"k", None)


def test_reading_starts_at_a_timestamp_and_at_the_end(addresses, topics):
    topic, first = topics.create("python"), int(time.time() * 1000) - 100_000
    produce(addresses, topic, [{"value": b"%d" % number, "timestamp_ms": first + number * 1000} for number in range(50)])

    def at_timestamp(consumer, partition):
        found = consumer.offsets_for_times({partition: first + 29_500})[partition]
        assert (found.offset, found.timestamp) == (30, first + 30_000)
        consumer.seek(partition, found.offset)

    def at_end(consumer, partition):
        consumer.seek_to_end(partition)
        assert consumer.position(partition) == 50
        produce(addresses, topic, [{"value": b"new"}])

    assert [record.value for record in read(addresses, topic, 20, at_timestamp)] == [b"%d" % number for number in range(30, 50)]
    assert [record.value for record in read(addresses, topic, 1, at_end)] == [b"new"]


def test_a_megabyte_passes_and_more_is_refused(addresses, topics):
    topic, value = topics.create("python"), text.noise(1_048_000)
    produce(addresses, topic, [{"value": value}], max_request_size=3_000_000)
    assert read(addresses, topic, 1)[0].value == value
    with pytest.raises(MessageSizeTooLargeError):
        produce(addresses, topic, [{"value": text.noise(1_048_588)}], max_request_size=3_000_000)


def test_topics_are_created_described_and_deleted(admin, cluster, topics):
    name = topics.name("python")
    admin.create_topics({name: {"num_partitions": 2, "replication_factor": cluster.copies}}, wait_for_metadata=True)
    topics.await_leaders(name, 2)
    described = admin.describe_topics([name])[0]
    assert len(described["partitions"]) == 2
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics({name: {"num_partitions": 2, "replication_factor": cluster.copies}})
    admin.delete_topics([name])
    wait.until(lambda: name not in admin.list_topics(), f"{name} is gone")
    with pytest.raises(UnknownTopicOrPartitionError):
        admin.delete_topics([name])


def test_the_cluster_quorum_and_partitions_describe_themselves(admin, cluster, topics):
    topic = topics.create("python", partitions=3)
    described = admin.describe_cluster()
    assert len(described["brokers"]) == cluster.nodes
    partitions = admin.describe_topic_partitions([topic])["topics"][0]["partitions"]
    assert sorted(partition["partition_index"] for partition in partitions) == [0, 1, 2]
    quorum = admin.describe_metadata_quorum()["topics"][0]["partitions"][0]
    assert quorum["leader_id"] in [voter["replica_id"] for voter in quorum["current_voters"]]
    assert len(quorum["current_voters"]) == cluster.nodes
