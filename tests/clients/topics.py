"""Topics of one test: unique names, made on the cluster, known to every broker, deleted at the end."""

import functools
import uuid

import metadata
import wait
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

ADMIN_SECONDS = 30


@functools.cache
def admin_of(bootstrap):
    """The admin client of a cluster; it costs a second to make and nothing to keep."""
    return AdminClient({"bootstrap.servers": bootstrap})


@functools.cache
def _reader_of(bootstrap):
    return Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})


class Topics:
    """Makes topics for one test and removes them after it."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.admin = admin_of(cluster.bootstrap)
        self.made = set()

    def name(self, stem="topic"):
        """A name that nobody else uses; it is deleted after the test if it exists then."""
        name = f"{stem}-{uuid.uuid4().hex[:12]}"
        self.made.add(name)
        return name

    def create(self, stem="topic", partitions=1, configs=None):
        """A new topic with a leader that every broker knows."""
        name = self.name(stem)
        self.create_named(name, partitions, configs)
        return name

    def create_named(self, name, partitions=1, configs=None):
        """Creates a topic of that name and waits until every broker knows its leaders."""
        topic = NewTopic(name, partitions, self.cluster.copies, config=configs or {})
        self.admin.create_topics([topic], operation_timeout=ADMIN_SECONDS)[name].result(ADMIN_SECONDS)
        self.await_leaders(name, partitions)

    def await_leaders(self, name, partitions):
        """Waits until every broker knows the topic's leaders and these lead."""
        wait.until(lambda: all(self._led(broker, name, partitions) for broker in self._brokers()), f"{name} has leaders everywhere")
        # A broker of Apache Kafka shows a leader before that leads. An idempotent producer's first batch is refused then and
        # its second taken, after which the first is out of order for ever. A leader that answers ListOffsets leads.
        wait.until(lambda: self._answers(name, partitions), f"the leaders of {name} lead")

    def delete(self, name):
        """Deletes a topic and waits until no broker knows it."""
        self.admin.delete_topics([name], operation_timeout=ADMIN_SECONDS)[name].result(ADMIN_SECONDS)
        wait.until(lambda: all(name not in metadata.leaders(broker) for broker in self._brokers()), f"{name} is gone everywhere")

    def remove_all(self):
        """Deletes what is left, without waiting for the brokers to forget it."""
        left = sorted(self.made & set(self.admin.list_topics(timeout=ADMIN_SECONDS).topics))
        if left:
            for deletion in self.admin.delete_topics(left, operation_timeout=ADMIN_SECONDS).values():
                deletion.result(ADMIN_SECONDS)

    def _brokers(self):
        return self.cluster.bootstrap.split(",")

    def _led(self, broker, name, partitions):
        known = metadata.leaders(broker).get(name, {})
        return len(known) == partitions and min(known.values()) >= 0

    def _answers(self, name, partitions):
        reader = _reader_of(self.cluster.bootstrap)
        try:
            # It would go on believing that a topic has as many partitions as it once had.
            reader.list_topics(name, timeout=5)
            return all(reader.get_watermark_offsets(TopicPartition(name, partition), timeout=5) for partition in range(partitions))
        except KafkaException:
            return False
