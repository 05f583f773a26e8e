"""Members of a consumer group, by client; each reads and commits in turns that the test gives it.

As a program, a member in a process of its own, which can be killed:

    group_members.py CLIENT BOOTSTRAP GROUP TOPIC ASSIGNOR

It prints a line of JSON for each change of its assignment and for each commit that was acknowledged."""

import asyncio
import functools
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import confluent_kafka
import kafka
import kafka.errors
from confluent_kafka import KafkaError, KafkaException
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

# Kafka's least, so that a crash is soon noticed.
SESSION_MS = 6_000
HEARTBEAT_MS = 500
REFRESH_MS = 500
TURN_SECONDS = 0.05
CALL_SECONDS = 20
# A member whose generation has passed may not commit: what it read is read again by whoever has the partition now.
PASSED = {KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError._NO_OFFSET}
# Nor does it know that it may have committed when nobody said so.
AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


class Member:
    """What all clients have in common. `assigned` are (topic, partition) pairs; `assignments` counts how often it was told.

    A turn returns what was read, as (topic, partition, offset), and what was then committed for good, by (topic, partition)."""

    assignors = ()

    def __init__(self):
        self.assignments = 0

    def told(self, *_):
        self.assignments += 1


class Confluent(Member):
    """confluent-kafka (librdkafka)."""

    assignors = ("range", "roundrobin", "cooperative-sticky")

    def __init__(self, bootstrap, group, topics, assignor="range", instance=None, session_ms=SESSION_MS, **settings):
        super().__init__()
        chosen = {"group.instance.id": instance} if instance else {}
        self.consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "partition.assignment.strategy": assignor,
                "session.timeout.ms": session_ms,
                "heartbeat.interval.ms": HEARTBEAT_MS,
                "topic.metadata.refresh.interval.ms": REFRESH_MS,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                **chosen,
                **settings,
            }
        )
        self.consumer.subscribe(topics, on_assign=self.told)

    @property
    def assigned(self):
        return {(one.topic, one.partition) for one in self.consumer.assignment()}

    def turn(self):
        read = []
        for message in self.consumer.consume(1000, TURN_SECONDS):
            if message.error() is None:
                read.append((message.topic(), message.partition(), message.offset()))
            elif message.error().fatal() or not message.error().retriable():
                raise KafkaException(message.error())
        if not read:
            return [], {}
        try:
            done = self.consumer.commit(asynchronous=False)
        except KafkaException as refusal:
            if refusal.args[0].code() not in PASSED | AWAY:
                raise
            return read, {}
        assert all(one.error is None for one in done), done
        return read, {(one.topic, one.partition): one.offset for one in done if one.offset >= 0}

    def committed(self, topic, partition):
        (found,) = self.consumer.committed([confluent_kafka.TopicPartition(topic, partition)], CALL_SECONDS)
        return found.offset if found.offset >= 0 else None

    def seek(self, topic, partition, offset):
        self.consumer.seek(confluent_kafka.TopicPartition(topic, partition, offset))

    def pause(self, topic, partition):
        self.consumer.pause([confluent_kafka.TopicPartition(topic, partition)])

    def resume(self, topic, partition):
        self.consumer.resume([confluent_kafka.TopicPartition(topic, partition)])

    def close(self):
        self.consumer.close()


class KafkaPython(Member, kafka.ConsumerRebalanceListener):
    """kafka-python, in a thread of its own: a poll that ends while it joins leaves it without heartbeats (seen with 3.0.12),
    so each is long."""

    POLL_MS = 1_000
    ASSIGNORS = {
        "range": RangePartitionAssignor,
        "roundrobin": RoundRobinPartitionAssignor,
        "sticky": StickyPartitionAssignor,
        "cooperative-sticky": CooperativeStickyAssignor,
    }
    assignors = tuple(ASSIGNORS)

    def __init__(self, bootstrap, group, topics, assignor="range", instance=None, session_ms=SESSION_MS):
        super().__init__()
        self.thread, self.poll = ThreadPoolExecutor(1), None
        self.consumer = kafka.KafkaConsumer(
            bootstrap_servers=bootstrap.split(","),
            group_id=group,
            group_instance_id=instance,
            partition_assignment_strategy=[self.ASSIGNORS[assignor]],
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=HEARTBEAT_MS,
            metadata_max_age_ms=REFRESH_MS,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        named = [topic for topic in topics if not topic.startswith("^")]
        pattern = "|".join(topic for topic in topics if topic.startswith("^"))
        self.consumer.subscribe(topics=named, pattern=pattern or None, listener=self)

    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        self.told()

    @property
    def assigned(self):
        return {(one.topic, one.partition) for one in self.consumer.assignment()}

    def turn(self):
        if self.poll and not self.poll.done():
            return [], {}
        done, self.poll = self.poll, self.thread.submit(self._turn)
        return done.result() if done else ([], {})

    def _turn(self):
        found = self.consumer.poll(timeout_ms=self.POLL_MS, max_records=1000)
        read = [(one.topic, one.partition, record.offset) for one, records in found.items() for record in records]
        if not read:
            return [], {}
        ends = {one: kafka.OffsetAndMetadata(records[-1].offset + 1, "", -1) for one, records in found.items()}
        try:
            self.consumer.commit(ends)
        except (kafka.errors.CommitFailedError, kafka.errors.RebalanceInProgressError):
            return read, {}
        return read, {(one.topic, one.partition): end.offset for one, end in ends.items()}

    def _call(self, method, *arguments):
        return self.thread.submit(method, *arguments).result()

    def committed(self, topic, partition):
        return self._call(self.consumer.committed, kafka.TopicPartition(topic, partition))

    def seek(self, topic, partition, offset):
        self._call(self.consumer.seek, kafka.TopicPartition(topic, partition), offset)

    def pause(self, topic, partition):
        self._call(self.consumer.pause, kafka.TopicPartition(topic, partition))

    def resume(self, topic, partition):
        self._call(self.consumer.resume, kafka.TopicPartition(topic, partition))

    def close(self):
        self._call(self.consumer.close)
        self.thread.shutdown()


@functools.cache
def _loop():
    """One event loop for all members of this process: each turn of one lets all go on."""
    return asyncio.new_event_loop()


def _run(work):
    return _loop().run_until_complete(work)


class Aiokafka(Member):
    """aiokafka."""

    assignors = ("range", "roundrobin", "sticky")

    def __init__(self, bootstrap, group, topics, assignor="range", instance=None, session_ms=SESSION_MS):
        super().__init__()
        _run(self._start(bootstrap, group, topics, assignor, instance, session_ms))

    async def _start(self, bootstrap, group, topics, assignor, instance, session_ms):
        import aiokafka
        from aiokafka.coordinator.assignors.range import RangePartitionAssignor as Range
        from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor as RoundRobin
        from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor as Sticky

        member = self

        class Listener(aiokafka.ConsumerRebalanceListener):
            async def on_partitions_revoked(self, revoked):
                pass

            async def on_partitions_assigned(self, assigned):
                member.told()

        self.library = aiokafka
        self.consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            group_instance_id=instance,
            partition_assignment_strategy=[{"range": Range, "roundrobin": RoundRobin, "sticky": Sticky}[assignor]],
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=HEARTBEAT_MS,
            metadata_max_age_ms=REFRESH_MS,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        named = [topic for topic in topics if not topic.startswith("^")]
        pattern = "|".join(topic for topic in topics if topic.startswith("^"))
        self.consumer.subscribe(topics=named, pattern=pattern or None, listener=Listener())
        await self.consumer.start()

    @property
    def assigned(self):
        return {(one.topic, one.partition) for one in self.consumer.assignment()}

    def turn(self):
        return _run(self._turn())

    async def _turn(self):
        found = await self.consumer.getmany(timeout_ms=int(1000 * TURN_SECONDS), max_records=1000)
        read = [(one.topic, one.partition, record.offset) for one, records in found.items() for record in records]
        if not read:
            return [], {}
        ends = {one: records[-1].offset + 1 for one, records in found.items()}
        errors = self.library.errors
        try:
            await self.consumer.commit(ends)
        except (errors.CommitFailedError, errors.RebalanceInProgressError, errors.IllegalStateError):
            return read, {}
        return read, {(one.topic, one.partition): end for one, end in ends.items()}

    def committed(self, topic, partition):
        return _run(self.consumer.committed(self.library.TopicPartition(topic, partition)))

    def seek(self, topic, partition, offset):
        self.consumer.seek(self.library.TopicPartition(topic, partition), offset)

    def pause(self, topic, partition):
        _run(self._change(self.consumer.pause, topic, partition))

    def resume(self, topic, partition):
        _run(self._change(self.consumer.resume, topic, partition))

    async def _change(self, change, topic, partition):
        change(self.library.TopicPartition(topic, partition))

    def close(self):
        _run(self.consumer.stop())


CLIENTS = {"confluent": Confluent, "kafka-python": KafkaPython, "aiokafka": Aiokafka}


def main(client, bootstrap, group, topic, assignor):
    """Reads and commits until it is killed."""
    member, shown = CLIENTS[client](bootstrap, group, [topic], assignor), None
    while True:
        _, committed = member.turn()
        for (name, partition), offset in committed.items():
            print(json.dumps({"topic": name, "partition": partition, "committed": offset}), flush=True)
        assigned = sorted(member.assigned)
        if assigned != shown:
            print(json.dumps({"assigned": assigned}), flush=True)
            shown = assigned


if __name__ == "__main__":
    main(*sys.argv[1:])
