"""Topics of one test: unique names, made on the cluster, known to every broker, deleted at the end."""

import functools
import uuid

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

import wait

ADMIN_SECONDS = 30


@functools.cache
def admin_of(bootstrap):
    """An admin client of a cluster, or of one broker of it; a client costs a second to make and nothing to keep."""
    return AdminClient({"bootstrap.servers": bootstrap})


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
        wait.until(lambda: all(self._leads(broker, name, partitions) for broker in self._brokers()), f"{name} has leaders everywhere")
        # A broker of Apache Kafka shows a leader before that leads. An idempotent producer's first batch is refused then and
        # its second taken, after which the first is out of order for ever. A leader that answers ListOffsets leads.
        wait.until(lambda: self._answers(name, partitions), f"the leaders of {name} lead")

    def delete(self, name):
        """Deletes a topic and waits until no broker knows it."""
        self.admin.delete_topics([name], operation_timeout=ADMIN_SECONDS)[name].result(ADMIN_SECONDS)
        wait.until(lambda: all(not self._known(broker, name) for broker in self._brokers()), f"{name} is gone everywhere")

    def remove_all(self):
        """Deletes what is left, without waiting for the brokers to forget it."""
        left = sorted(self.made & set(self.admin.list_topics(timeout=ADMIN_SECONDS).topics))
        if left:
            for deletion in self.admin.delete_topics(left, operation_timeout=ADMIN_SECONDS).values():
                deletion.result(ADMIN_SECONDS)

    def _brokers(self):
        return [admin_of(address) for address in self.cluster.bootstrap.split(",")]

    # Each broker is asked for all topics: a request that names a topic could create it.
    def _known(self, broker, name):
        return broker.list_topics(timeout=ADMIN_SECONDS).topics.get(name)

    def _leads(self, broker, name, partitions):
        topic = self._known(broker, name)
        return topic and len(topic.partitions) == partitions and all(p.leader >= 0 for p in topic.partitions.values())

    def _answers(self, name, partitions):
        latest = {TopicPartition(name, partition): OffsetSpec.latest() for partition in range(partitions)}
        answers = self.admin.list_offsets(latest, request_timeout=ADMIN_SECONDS).values()
        return all(answer.exception(ADMIN_SECONDS) is None for answer in answers)
