"""confluent-kafka (librdkafka) as it comes from PyPI: produce, consume, administer."""

import time

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType

import metadata
import text
import wait

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SECONDS = 30


class Deliveries:
    """Collects delivery reports."""

    def __init__(self):
        self.offsets, self.errors = [], []

    def __call__(self, error, message):
        if error:
            self.errors.append(error.code())
        else:
            self.offsets.append(message.offset())


def produce(cluster, topic, records, **settings):
    """Sends (key, value) pairs or dictionaries of produce() arguments to partition 0; returns their offsets."""
    producer, deliveries = Producer({"bootstrap.servers": cluster.bootstrap, **settings}), Deliveries()
    for record in records:
        arguments = record if isinstance(record, dict) else {"key": record[0], "value": record[1]}
        producer.produce(topic, partition=0, on_delivery=deliveries, **arguments)
        producer.poll(0)
    assert producer.flush(SECONDS) == 0, "records are still in flight"
    assert not deliveries.errors
    return deliveries.offsets


def reader(cluster, *assigned, **settings):
    """A consumer with these partitions assigned by hand; it commits nothing and joins no group."""
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 20,
            **settings,
        }
    )
    consumer.assign(list(assigned))
    return consumer


def read(consumer, count):
    """The next `count` messages."""
    found = []

    def enough():
        for message in consumer.consume(count - len(found), timeout=0.5):
            if message.error() is None:
                found.append(message)
            elif message.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
        return len(found) >= count

    wait.until(enough, f"{count} records")
    return found


def read_all(cluster, topic, count, offset=OFFSET_BEGINNING, **settings):
    """`count` messages of partition 0, and the proof that nothing follows them."""
    consumer = reader(cluster, TopicPartition(topic, 0, offset), **settings)
    messages = read(consumer, count) if count else []
    ending = wait.until(lambda: consumer.poll(1), "the end of the partition")
    consumer.close()
    assert ending.error() is not None and ending.error().code() == KafkaError._PARTITION_EOF, "records beyond what was sent"
    return messages


def broker_configs(topics):
    any_broker = str(min(topics.admin.list_topics(timeout=SECONDS).brokers))
    configs = topics.admin.describe_configs([ConfigResource(ResourceType.BROKER, any_broker)])
    return next(iter(configs.values())).result(SECONDS)


@pytest.mark.parametrize("idempotent", [False, True], ids=["plain", "idempotent"])
@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_brings_back_what_was_sent_in_order(cluster, topics, codec, idempotent):
    topic, values = topics.create(codec), text.lines(2000)
    offsets = produce(
        cluster,
        topic,
        [(b"k%d" % (number % 7), value) for number, value in enumerate(values)],
        **{"compression.type": codec, "enable.idempotence": idempotent, "linger.ms": 5, "batch.num.messages": 300},
    )
    assert offsets == list(range(2000))
    messages = read_all(cluster, topic, 2000)
    assert [message.value() for message in messages] == values
    assert [message.key() for message in messages] == [b"k%d" % (number % 7) for number in range(2000)]
    assert [message.offset() for message in messages] == list(range(2000))


@pytest.mark.parametrize("codec", CODECS)
def test_a_topic_with_a_codec_of_its_own_recompresses(cluster, topics, codec):
    own = "uncompressed" if codec == "none" else codec
    topic, values = topics.create("own", configs={"compression.type": own}), text.lines(500)
    produce(cluster, topic, [(None, value) for value in values], **{"compression.type": "gzip", "linger.ms": 5})
    assert [message.value() for message in read_all(cluster, topic, 500)] == values


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_acks_setting_stores_the_records(cluster, topics, acks):
    topic, values = topics.create("acks"), text.lines(200)
    produce(cluster, topic, [(None, value) for value in values], acks=acks)
    assert [message.value() for message in read_all(cluster, topic, 200)] == values


def test_keys_and_partitions_are_kept_apart(cluster, topics):
    topic, deliveries = topics.create("keys", partitions=5), Deliveries()
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 5})
    for number in range(1000):
        producer.produce(topic, key=b"%d" % (number % 50), value=b"%d" % number, on_delivery=deliveries)
    assert producer.flush(SECONDS) == 0 and not deliveries.errors
    consumer = reader(cluster, *(TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(5)))
    messages = read(consumer, 1000)
    consumer.close()
    homes, values = {}, {}
    for message in messages:
        homes.setdefault(message.key(), set()).add(message.partition())
        values.setdefault(message.key(), []).append(int(message.value()))
    assert all(len(partitions) == 1 for partitions in homes.values()), "a key changed its partition"
    assert len({min(partitions) for partitions in homes.values()}) > 1, "all keys in one partition"
    assert all(sent == sorted(sent) for sent in values.values()), "a key's records changed their order"
    assert sorted(sum(values.values(), [])) == list(range(1000))


def test_headers_come_back_with_their_order_doubles_and_nulls(cluster, topics):
    topic = topics.create("headers")
    headers = [("trace", b"\x00\xff"), ("empty", b""), ("null", None), ("trace", b"again"), ("ключ", "zażółć".encode())]
    produce(cluster, topic, [{"value": b"v", "headers": headers}, {"value": b"w"}])
    with_headers, without = read_all(cluster, topic, 2)
    assert with_headers.headers() == headers
    assert not without.headers()


def test_tombstones_differ_from_empty_values(cluster, topics):
    topic = topics.create("tombstones", configs={"cleanup.policy": "compact"})
    produce(cluster, topic, [(b"a", b"1"), (b"a", None), (b"b", b"")])
    assert [(message.key(), message.value()) for message in read_all(cluster, topic, 3)] == [(b"a", b"1"), (b"a", None), (b"b", b"")]


def test_a_compacted_topic_refuses_a_record_without_key(cluster, topics):
    topic = topics.create("keyless", configs={"cleanup.policy": "compact"})
    producer, deliveries = Producer({"bootstrap.servers": cluster.bootstrap}), Deliveries()
    producer.produce(topic, partition=0, value=b"v", on_delivery=deliveries)
    assert producer.flush(SECONDS) == 0
    assert deliveries.errors == [KafkaError.INVALID_RECORD]


# A batch of one record without key and headers is 72 bytes longer than its value, so this value fills max.message.bytes' default.
LARGEST_VALUE = 1_048_588 - 72


def test_records_of_one_megabyte_pass(cluster, topics):
    topic, values = topics.create("large"), [text.noise(LARGEST_VALUE) for _ in range(8)]
    produce(cluster, topic, [(None, value) for value in values], **{"message.max.bytes": 3_000_000, "linger.ms": 0, "batch.num.messages": 1})
    assert [message.value() for message in read_all(cluster, topic, 8)] == values


def test_a_batch_one_byte_above_max_message_bytes_is_refused_and_the_topic_goes_on(cluster, topics):
    topic = topics.create("refused")
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "message.max.bytes": 3_000_000, "linger.ms": 0})
    deliveries = Deliveries()
    producer.produce(topic, partition=0, value=text.noise(LARGEST_VALUE + 1), on_delivery=deliveries)
    assert producer.flush(SECONDS) == 0
    assert deliveries.errors == [KafkaError.MSG_SIZE_TOO_LARGE]
    produce(cluster, topic, [(None, b"small")])
    assert [message.value() for message in read_all(cluster, topic, 1)] == [b"small"]


def test_a_topic_with_a_larger_limit_takes_larger_records(cluster, topics):
    topic, value = topics.create("larger", configs={"max.message.bytes": "3000000"}), text.noise(2_500_000)
    produce(cluster, topic, [(None, value)], **{"message.max.bytes": 3_000_000})
    assert read_all(cluster, topic, 1)[0].value() == value


def test_reading_starts_at_the_first_record_of_a_timestamp(cluster, topics):
    topic, first = topics.create("times"), int(time.time() * 1000) - 3_600_000
    produce(cluster, topic, [{"value": b"%d" % number, "timestamp": first + number * 1000} for number in range(100)])
    consumer = reader(cluster)
    for asked, expected in [(first - 5000, 0), (first, 0), (first + 41_500, 42), (first + 99_000, 99), (first + 99_001, -1)]:
        found = consumer.offsets_for_times([TopicPartition(topic, 0, asked)], timeout=SECONDS)[0]
        assert found.error is None and found.offset == expected, f"asked for {asked - first}"
    consumer.close()
    messages = read_all(cluster, topic, 58, offset=42)
    assert [message.timestamp() for message in messages] == [(TIMESTAMP_CREATE_TIME, first + number * 1000) for number in range(42, 100)]


def test_log_append_time_is_the_brokers_clock(cluster, topics):
    topic, before = topics.create("append", configs={"message.timestamp.type": "LogAppendTime"}), int(time.time() * 1000)
    produce(cluster, topic, [{"value": b"v", "timestamp": 1_000_000_000_000}])
    kind, timestamp = read_all(cluster, topic, 1)[0].timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert before - 60_000 <= timestamp <= int(time.time() * 1000) + 60_000


def test_reading_from_the_end_sees_only_what_comes_later(cluster, topics):
    topic = topics.create("end")
    produce(cluster, topic, [(None, b"old")] * 10)
    consumer = reader(cluster, TopicPartition(topic, 0, OFFSET_END))
    at_end = wait.until(lambda: consumer.poll(1), "the end of the partition")
    assert at_end.error().code() == KafkaError._PARTITION_EOF and at_end.offset() == 10
    produce(cluster, topic, [(None, b"new")])
    message = read(consumer, 1)[0]
    consumer.close()
    assert (message.offset(), message.value()) == (10, b"new")


def test_a_waiting_fetch_is_answered_when_a_record_comes_and_not_when_its_wait_ends(cluster, topics):
    topic = topics.create("poll")
    consumer = reader(cluster, TopicPartition(topic, 0, OFFSET_BEGINNING), **{"fetch.wait.max.ms": 20_000, "socket.timeout.ms": 60_000})
    wait.until(lambda: consumer.poll(0.2) is None, "a poll that finds nothing, so that a fetch is waiting")
    produce(cluster, topic, [(None, b"wake")])
    sent = time.monotonic()
    assert read(consumer, 1)[0].value() == b"wake"
    assert time.monotonic() - sent < 10
    consumer.close()


def test_watermarks_and_offset_specs_agree(cluster, topics):
    topic, first = topics.create("watermarks"), int(time.time() * 1000) - 60_000
    timestamps = [first, first + 9000, first + 3000]
    produce(cluster, topic, [{"value": b"v", "timestamp": timestamp} for timestamp in timestamps])
    consumer, partition = reader(cluster), TopicPartition(topic, 0)
    assert consumer.get_watermark_offsets(partition, timeout=SECONDS) == (0, 3)
    consumer.close()
    for spec, expected in [(OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 3), (OffsetSpec.max_timestamp(), 1)]:
        for isolation in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED):
            found = topics.admin.list_offsets({partition: spec}, isolation_level=isolation, request_timeout=SECONDS)
            assert found[partition].result(SECONDS).offset == expected


def test_an_offset_out_of_range_is_reported(cluster, topics):
    topic = topics.create("range")
    produce(cluster, topic, [(None, b"v")] * 3)
    consumer = reader(cluster, TopicPartition(topic, 0, 1000))
    with pytest.raises(KafkaException) as refusal:
        read(consumer, 1)
    consumer.close()
    assert refusal.value.args[0].code() == KafkaError._AUTO_OFFSET_RESET


def test_a_created_topic_has_its_partitions_replicas_and_leaders(cluster, topics):
    topic = topics.create("described", partitions=6)
    metadata = topics.admin.list_topics(topic, timeout=SECONDS)
    assert len(metadata.brokers) == cluster.nodes
    described = metadata.topics[topic].partitions
    assert sorted(described) == list(range(6))
    for partition in described.values():
        assert len(set(partition.replicas)) == cluster.copies
        assert partition.leader in partition.replicas
        wait.until(
            lambda index=partition.id: len(topics.admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions[index].isrs)
            == cluster.copies,
            "all replicas are in sync",
        )
    assert len({partition.leader for partition in described.values()}) == cluster.copies, "leaders are not spread"


def test_wrong_topics_are_refused_with_kafkas_errors(cluster, topics):
    topic = topics.create("taken")

    def refusal(new_topic):
        with pytest.raises(KafkaException) as refused:
            topics.admin.create_topics([new_topic], operation_timeout=SECONDS)[new_topic.topic].result(SECONDS)
        return refused.value.args[0].code()

    assert refusal(NewTopic(topic, 1, cluster.copies)) == KafkaError.TOPIC_ALREADY_EXISTS
    assert refusal(NewTopic(topics.name("many"), 1, cluster.nodes + 1)) == KafkaError.INVALID_REPLICATION_FACTOR
    assert refusal(NewTopic(topics.name("none"), 0, cluster.copies)) == KafkaError.INVALID_PARTITIONS
    assert refusal(NewTopic("bad/name", 1, cluster.copies)) == KafkaError.TOPIC_EXCEPTION
    assert refusal(NewTopic(topics.name("bad"), 1, cluster.copies, config={"no.such.key": "1"})) == KafkaError.INVALID_CONFIG
    assert refusal(NewTopic(topics.name("bad"), 1, cluster.copies, config={"retention.ms": "soon"})) == KafkaError.INVALID_CONFIG


def test_a_validated_topic_is_not_created(cluster, topics):
    name = topics.name("validated")
    topics.admin.create_topics([NewTopic(name, 1, cluster.copies)], validate_only=True)[name].result(SECONDS)
    assert name not in topics.admin.list_topics(timeout=SECONDS).topics


def test_a_recreated_topic_holds_only_new_records(cluster, topics):
    topic = topics.create("again", partitions=2)
    produce(cluster, topic, [(None, b"old %d" % number) for number in range(500)])
    topics.delete(topic)
    topics.create_named(topic)
    produce(cluster, topic, [(None, b"new %d" % number) for number in range(5)], **{"enable.idempotence": True})
    assert [message.value() for message in read_all(cluster, topic, 5)] == [b"new %d" % number for number in range(5)]
    consumer = reader(cluster)
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=SECONDS) == (0, 5)
    consumer.close()


def test_the_files_of_a_deleted_topic_go_after_the_delay(cluster, topics):
    if cluster.data is None:
        pytest.skip("the files are not on this machine (DATA_DIR)")
    topic = topics.create("files")
    produce(cluster, topic, [(None, b"value")])
    assert len(cluster.folders(f"{topic}-*")) == cluster.copies
    topics.delete(topic)
    delay = int(broker_configs(topics)["log.segment.delete.delay.ms"].value) / 1000
    wait.until(lambda: not cluster.folders(f"{topic}-*"), "its files have gone", 2 * delay + SECONDS)


def test_deleting_what_is_not_there_is_refused(cluster, topics):
    name = topics.name("absent")
    with pytest.raises(KafkaException) as refused:
        topics.admin.delete_topics([name], operation_timeout=SECONDS)[name].result(SECONDS)
    assert refused.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def grow(topics, wanted, **settings):
    topics.admin.create_partitions([wanted], operation_timeout=SECONDS, **settings)[wanted.topic].result(SECONDS)


def test_a_topic_grows_keeps_its_records_and_takes_more(cluster, topics):
    topic, values = topics.create("growing", partitions=2), text.lines(100)
    produce(cluster, topic, [(None, value) for value in values])
    before = topics.admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions
    grow(topics, NewPartitions(topic, 5))
    topics.await_leaders(topic, 5)
    after = topics.admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions
    assert all(sorted(after[index].replicas) == sorted(before[index].replicas) for index in before)
    assert all(len(set(after[index].replicas)) == cluster.copies for index in after)
    producer, deliveries = Producer({"bootstrap.servers": cluster.bootstrap}), Deliveries()
    for partition in range(5):
        producer.produce(topic, partition=partition, value=b"new", on_delivery=deliveries)
    assert producer.flush(SECONDS) == 0 and not deliveries.errors
    assert sorted(deliveries.offsets) == [0, 0, 0, 0, 100]
    assert [message.value() for message in read_all(cluster, topic, 101)] == values + [b"new"]


def test_a_topic_grows_where_its_new_partitions_are_assigned(cluster, topics):
    topic, brokers = topics.create("assigned"), sorted(topics.admin.list_topics(timeout=SECONDS).brokers)
    wanted = [brokers[-cluster.copies :], brokers[: cluster.copies]]
    grow(topics, NewPartitions(topic, 3, replica_assignment=wanted))
    topics.await_leaders(topic, 3)
    partitions = topics.admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions
    assert [list(partitions[index].replicas) for index in (1, 2)] == wanted


def test_what_cannot_grow_is_refused_with_kafkas_errors(cluster, topics):
    topic = topics.create("grown", partitions=2)

    def refusal(wanted):
        with pytest.raises(KafkaException) as refused:
            grow(topics, wanted)
        return refused.value.args[0].code()

    assert refusal(NewPartitions(topics.name("absent"), 2)) == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert refusal(NewPartitions(topic, 2)) == KafkaError.INVALID_PARTITIONS
    assert refusal(NewPartitions(topic, 1)) == KafkaError.INVALID_PARTITIONS
    assert refusal(NewPartitions(topic, 4, replica_assignment=[[1]])) == KafkaError.INVALID_REPLICA_ASSIGNMENT
    assert refusal(NewPartitions(topic, 3, replica_assignment=[[99]])) == KafkaError.INVALID_REPLICA_ASSIGNMENT
    assert len(topics.admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions) == 2


def test_a_growth_that_is_only_validated_does_not_happen(cluster, topics):
    topic = topics.create("validated")
    grow(topics, NewPartitions(topic, 7), validate_only=True)
    assert all(len(metadata.leaders(broker)[topic]) == 1 for broker in cluster.bootstrap.split(","))


def test_producing_to_an_unknown_topic_creates_it_where_the_broker_says_so(cluster, topics):
    creates = broker_configs(topics)["auto.create.topics.enable"].value == "true"
    topic, deliveries = topics.name("auto"), Deliveries()
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "message.timeout.ms": 20_000})
    producer.produce(topic, value=b"v", on_delivery=deliveries)
    assert producer.flush(SECONDS) == 0
    assert (len(deliveries.offsets) == 1) == creates, deliveries.errors


def test_topic_configs_are_described_as_they_were_set(cluster, topics):
    topic = topics.create("configs", configs={"retention.ms": "123456789", "segment.bytes": "2097152", "cleanup.policy": "delete"})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = topics.admin.describe_configs([resource])[resource].result(SECONDS)
    assert entries["retention.ms"].value == "123456789" and not entries["retention.ms"].is_default
    assert entries["segment.bytes"].value == "2097152"
    assert entries["max.message.bytes"].value == "1048588" and entries["max.message.bytes"].is_default


def test_topic_configs_are_taken_with_spaces_and_in_any_case_and_described_in_one_form(topics):
    wanted = {"retention.ms": " 1000 ", "preallocate": "TRUE", "cleanup.policy": "delete , compact", "local.retention.ms": "999999999999"}
    resource = ConfigResource(ResourceType.TOPIC, topics.create("configs", configs=wanted))
    entries = topics.admin.describe_configs([resource])[resource].result(SECONDS)
    described = {name: entries[name].value for name in wanted}
    assert described == wanted | {"retention.ms": "1000", "preallocate": "true", "cleanup.policy": "delete,compact"}


SET, DELETE, APPEND, SUBTRACT = AlterConfigOpType.SET, AlterConfigOpType.DELETE, AlterConfigOpType.APPEND, AlterConfigOpType.SUBTRACT


def alter(topics, name, *changes, kind=ResourceType.TOPIC, **settings):
    """Makes changes given as (name, operation, value)."""
    entries = [ConfigEntry(key, value, incremental_operation=operation) for key, operation, value in changes]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    topics.admin.incremental_alter_configs([resource], request_timeout=SECONDS, **settings)[resource].result(SECONDS)


def described(topics, topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return topics.admin.describe_configs([resource], request_timeout=SECONDS)[resource].result(SECONDS)


def await_config(topics, topic, name, value):
    wait.until(lambda: described(topics, topic)[name].value == value, f"{name} is {value}")


def test_topic_configs_are_altered_one_by_one(topics):
    topic = topics.create("altered", configs={"retention.ms": "7200000", "segment.bytes": "2097152"})
    alter(topics, topic, ("retention.ms", SET, " 3600000 "), ("segment.ms", SET, "60000"), ("flush.ms", DELETE, ""))
    await_config(topics, topic, "segment.ms", "60000")
    assert described(topics, topic)["retention.ms"].value == "3600000"
    assert described(topics, topic)["segment.bytes"].value == "2097152"
    alter(topics, topic, ("retention.ms", DELETE, ""))
    wait.until(lambda: described(topics, topic)["retention.ms"].is_default, "the retention is the default")
    assert described(topics, topic)["segment.bytes"].value == "2097152"


def test_words_join_and_leave_a_topics_list(topics):
    topic = topics.create("list")
    alter(topics, topic, ("cleanup.policy", APPEND, "compact"))
    await_config(topics, topic, "cleanup.policy", "delete,compact")
    alter(topics, topic, ("cleanup.policy", SUBTRACT, "delete"))
    await_config(topics, topic, "cleanup.policy", "compact")


def test_an_altered_config_holds_for_the_next_records(cluster, topics):
    topic, large = topics.create("altered"), bytes(50_000)
    produce(cluster, topic, [(None, large)])
    alter(topics, topic, ("max.message.bytes", SET, "10000"))

    def is_refused():
        producer, deliveries = Producer({"bootstrap.servers": cluster.bootstrap}), Deliveries()
        producer.produce(topic, value=large, on_delivery=deliveries)
        assert producer.flush(SECONDS) == 0
        return deliveries.errors == [KafkaError.MSG_SIZE_TOO_LARGE]

    wait.until(is_refused, "large records are refused")
    alter(topics, topic, ("max.message.bytes", DELETE, ""))
    wait.until(lambda: not is_refused(), "large records are taken again")


def test_wrong_alterations_are_refused_with_kafkas_errors(topics):
    topic = topics.create("wrong", configs={"retention.ms": "7200000"})

    def refusal(*change, name=topic, **settings):
        with pytest.raises(KafkaException) as refused:
            alter(topics, name, ("retention.ms", SET, "1"), *change, **settings)
        return refused.value.args[0].code()

    assert refusal(("segment.bytes", SET, "1")) == KafkaError.INVALID_CONFIG
    assert refusal(("no.such.key", SET, "1")) == KafkaError.INVALID_CONFIG
    assert refusal(("segment.ms", APPEND, "1")) == KafkaError.INVALID_CONFIG
    assert refusal(name=topics.name("absent")) == KafkaError.UNKNOWN_TOPIC_OR_PART
    broker = str(min(topics.admin.list_topics(timeout=SECONDS).brokers))
    assert refusal(("log.dirs", SET, "/tmp"), name=broker, kind=ResourceType.BROKER) == KafkaError.INVALID_REQUEST
    assert described(topics, topic)["retention.ms"].value == "7200000", "all changes of a resource are made or none"


def test_an_alteration_that_is_only_validated_does_not_happen(topics):
    topic = topics.create("validated", configs={"retention.ms": "7200000"})
    alter(topics, topic, ("retention.ms", SET, "1"), validate_only=True)
    with pytest.raises(KafkaException):
        alter(topics, topic, ("retention.ms", SET, "soon"), validate_only=True)
    assert described(topics, topic)["retention.ms"].value == "7200000"


def test_the_cluster_describes_itself(cluster, topics):
    described = topics.admin.describe_cluster(request_timeout=SECONDS).result(SECONDS)
    assert described.cluster_id
    assert len(described.nodes) == cluster.nodes
    assert {f"{node.host}:{node.port}" for node in described.nodes} == set(cluster.bootstrap.split(","))


def test_any_broker_leads_a_client_to_the_others(cluster, topics):
    topic = topics.create("any", partitions=3)
    for address in cluster.bootstrap.split(","):
        producer, deliveries = Producer({"bootstrap.servers": address}), Deliveries()
        for partition in range(3):
            producer.produce(topic, partition=partition, value=address.encode(), on_delivery=deliveries)
        assert producer.flush(SECONDS) == 0 and not deliveries.errors
    consumer = reader(cluster, *(TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(3)))
    assert len(read(consumer, 3 * cluster.nodes)) == 3 * cluster.nodes
    consumer.close()


def test_an_idempotent_producer_under_load_neither_loses_nor_doubles(cluster, topics):
    topic, values = topics.create("idempotent"), text.lines(50_000)
    settings = {"enable.idempotence": True, "linger.ms": 2, "batch.num.messages": 200, "queue.buffering.max.messages": 200_000}
    assert produce(cluster, topic, [(None, value) for value in values], **settings) == list(range(50_000))
    assert [message.value() for message in read_all(cluster, topic, 50_000)] == values
