"""Kills the leader again and again under a steady acks=all stream of real text, and judges what the consumer finds.

Two classes: `broker`, the killed leader is not the active controller; `controller`, it is. For each the distribution of the longest gap
between consecutive acknowledgements around the kill. The verdict is about safety (byte-identical, in order, nothing lost, nothing twice)
and, with --limits, about the gaps. Exit code 1 if either fails.
"""

import argparse
import array
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import confluent_kafka
import corpus
import nodes
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka.admin import KafkaAdminClient

CLASSES = ("broker", "controller")
# Wanted of ottla, in milliseconds.
LIMITS = {"broker": {50: 150, 99: 300}, "controller": {99: 1200}}
DEFAULTS = {
    "acks": "all",
    "enable.idempotence": "true",
    "linger.ms": "0",
    "message.timeout.ms": "120000",
    "retry.backoff.ms": "10",
    "retry.backoff.max.ms": "100",
    "reconnect.backoff.ms": "10",
    "reconnect.backoff.max.ms": "200",
    "topic.metadata.refresh.fast.interval.ms": "10",
}
SETTLED_SECONDS = 0.5
CALM_SECONDS = 0.1
AFTERMATH_SECONDS = 0.5
RECOVERY_SECONDS_MAX = 90


@dataclass
class Kill:
    """One kill and what it cost."""

    kind: str
    node: int
    controller: int
    gap_ms: float
    back_in_sync_ms: float


class Stream:
    """The producer: sends the pieces of the file at a steady rate to the chosen topic, noting where each went and when acks came."""

    def __init__(self, bootstrap, settings, pieces, rate):
        self.producer = Producer({"bootstrap.servers": bootstrap, **settings})
        self.pieces, self.rate, self.topic = pieces, rate, None
        self.homes, self.topics, self.errors = array.array("H"), [], []
        self.acknowledged, self.ack_times = 0, array.array("d")
        self.begun = None

    def choose(self, topic):
        """Sends what follows to this topic."""
        if topic not in self.topics:
            self.topics.append(topic)
        self.topic = self.topics.index(topic)

    def _delivered(self, error, _):
        if error:
            self.errors.append(str(error))
            return
        self.acknowledged += 1
        self.ack_times.append(time.monotonic())

    def run(self, seconds, until=lambda: False):
        """Sends for so long, or until told."""
        now = time.monotonic()
        self.begun, end = self.begun or now, now + seconds
        while now < end and not until():
            due = self.begun + len(self.homes) / self.rate
            if due <= now:
                self._send()
            self.producer.poll(max(0, min(due, end) - now))
            now = time.monotonic()

    def _send(self):
        number = len(self.homes)
        try:
            self.producer.produce(self.topics[self.topic], partition=0, value=self.pieces[number % len(self.pieces)], on_delivery=self._delivered)
            self.homes.append(self.topic)
        except BufferError:
            self.producer.poll(0.01)

    def longest_gap_ms(self, moment):
        """The longest time between two consecutive acknowledgements of which the second came after the moment."""
        times = self.ack_times
        first = len(times)
        while first > 1 and times[first - 1] > moment:
            first -= 1
        return max((times[index] - times[index - 1]) * 1000 for index in range(max(first, 1), len(times)))


class Observer:
    """What the cluster says of itself: leaders, replicas in sync, active controller."""

    def __init__(self, bootstrap, count):
        self.admin, self.count = AdminClient({"bootstrap.servers": bootstrap, "socket.timeout.ms": 5000}), count
        self.bootstrap = bootstrap.split(",")

    def controller(self):
        """The quorum's leader."""
        client = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            return client.describe_metadata_quorum()["topics"][0]["partitions"][0]["leader_id"]
        finally:
            client.close()

    def leader(self, topic):
        """Who leads partition 0."""
        return self.admin.list_topics(topic, timeout=10).topics[topic].partitions[0].leader

    def whole(self, topics):
        """Whether every topic has a leader and all replicas in sync, and every broker is there."""
        try:
            metadata = self.admin.list_topics(timeout=2)
        except confluent_kafka.KafkaException:
            return False
        parts = [metadata.topics[topic].partitions.get(0) for topic in topics if topic in metadata.topics]
        return len(metadata.brokers) == self.count and len(parts) == len(topics) and all(
            part and part.leader > 0 and len(part.isrs) == self.count for part in parts
        )

    def create(self, topic, leader):
        """A topic of one partition whose first replica is the wanted leader."""
        others = [node for node in range(1, self.count + 1) if node != leader]
        new = NewTopic(topic, num_partitions=1, replica_assignment=[[leader, *others]])
        self.admin.create_topics([new], operation_timeout=30)[topic].result(60)


def aim(stream, observer, kind, round_number):
    """Has the stream go to a topic whose leader is of the class; returns leader and controller."""
    controller = observer.controller()
    for topic in reversed(stream.topics):
        if (observer.leader(topic) == controller) == (kind == "controller"):
            break
    else:
        topic = f"failover-{os.getpid()}-{round_number}"
        observer.create(topic, controller if kind == "controller" else controller % observer.count + 1)
    stream.choose(topic)
    recover(stream, observer)
    stream.run(SETTLED_SECONDS)
    return observer.leader(topic), observer.controller()


def recover(stream, observer):
    """Goes on sending until everything is in sync again; returns how long that took, in milliseconds."""
    begun, asked = time.monotonic(), [0.0]

    def whole():
        if time.monotonic() - asked[0] < 0.05:
            return False
        asked[0] = time.monotonic()
        return observer.whole(stream.topics)

    stream.run(RECOVERY_SECONDS_MAX, whole)
    took = time.monotonic() - begun
    if took >= RECOVERY_SECONDS_MAX:
        raise RuntimeError(f"replicas are not back in sync after {RECOVERY_SECONDS_MAX} s")
    return took * 1000


def strike(cluster, stream, observer, kind, round_number):
    """One kill: aim, SIGKILL, wait until acknowledgements flow again, restart, wait until all is in sync."""
    node, controller = aim(stream, observer, kind, round_number)
    if (node == controller) != (kind == "controller"):
        return strike(cluster, stream, observer, kind, round_number)
    # Asking the cluster kept the stream from hearing its acknowledgements: that must not count as a gap.
    stream.run(CALM_SECONDS)
    before = stream.acknowledged
    moment = cluster.kill(node)
    # What was in flight at the kill may still arrive: go on until everything sent at this moment and more is acknowledged.
    goal = max(len(stream.homes), before) + max(1, int(stream.rate * AFTERMATH_SECONDS))
    stream.run(RECOVERY_SECONDS_MAX, lambda: stream.acknowledged >= goal)
    gap = stream.longest_gap_ms(moment)
    cluster.start(node)
    return Kill(kind, node, controller, gap, recover(stream, observer))


def verify(bootstrap, stream):
    """Reads every topic from its beginning and compares it with what was sent there. Returns what is wrong."""
    wrong, sent = [], [[] for _ in stream.topics]
    for number, home in enumerate(stream.homes):
        sent[home].append(number)
    for topic, numbers in zip(stream.topics, sent, strict=True):
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "check.crcs": True})
        partition = TopicPartition(topic, 0, OFFSET_BEGINNING)
        first, end = consumer.get_watermark_offsets(partition, timeout=30)
        consumer.assign([partition])
        found, deadline = 0, time.monotonic() + 60 + len(numbers) / 5000
        while found < end - first and time.monotonic() < deadline:
            for message in consumer.consume(10_000, timeout=1):
                if message.error():
                    continue
                if found >= len(numbers) or message.value() != stream.pieces[numbers[found] % len(stream.pieces)]:
                    wrong.append(f"{topic}: record {found} at offset {message.offset()} differs from what was sent")
                    deadline = 0
                    break
                found += 1
        consumer.close()
        if not wrong and found != len(numbers):
            wrong.append(f"{topic}: {len(numbers)} records sent, {found} found")
    return wrong


def percentile(values, share):
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def report(name, kills, stream, settings, wrong, limits):
    """Prints the table and the verdict; returns whether all is well."""
    version = f"librdkafka {confluent_kafka.libversion()[0]}, confluent-kafka {confluent_kafka.version()}"
    print(f"\n{name}; client: {version}; {' '.join(f'{key}={value}' for key, value in settings.items())}; {stream.rate} records/s")
    print(f"{'killed':12} {'n':>4} {'p50':>8} {'p90':>8} {'p99':>8} {'max':>8}   gap between acks, ms; in sync again after the restart: p50, max")
    slow = []
    for kind in CLASSES:
        gaps = [kill.gap_ms for kill in kills if kill.kind == kind]
        if not gaps:
            continue
        back = [kill.back_in_sync_ms for kill in kills if kill.kind == kind]
        shares = {share: percentile(gaps, share) for share in (50, 90, 99, 100)}
        print(f"{kind:12} {len(gaps):4} " + " ".join(f"{value:8.0f}" for value in shares.values()) + f"   {percentile(back, 50):.0f}, {max(back):.0f}")
        slow += [f"{kind}: p{share} {shares[share]:.0f} ms, wanted {most}" for share, most in LIMITS[kind].items() if limits and shares[share] > most]
    lost = [f"{len(stream.errors)} records failed: {stream.errors[0]}"] if stream.errors else []
    size = sum(len(stream.pieces[number % len(stream.pieces)]) for number in range(len(stream.homes)))
    for problem in [*lost, *wrong, *slow]:
        print(f"WRONG: {problem}")
    verdict = "nothing lost, nothing twice, all in order" if not (lost or wrong) else "NOT SAFE"
    print(f"verdict: {size / 1e6:.1f} MB in {len(stream.homes)} records on {len(stream.topics)} topics, {len(kills)} kills: {verdict}")
    return not (lost or wrong or slow)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="store_true", help="Apache Kafka (scripts/kafka-peer) instead of ottla")
    parser.add_argument("--compose", action="store_true", help="the containers of docker-compose.yml instead of `ottla dev`")
    parser.add_argument("--binary", default=os.environ.get("OTTLA_BIN", nodes.ROOT / "target/release/ottla"), help="the ottla to run")
    parser.add_argument("--kills", type=int, default=100, help="kills of each class (default 100)")
    parser.add_argument("--only", choices=CLASSES, help="one class only")
    parser.add_argument("--megabytes", type=float, default=100, help="text to send at least (default 100)")
    parser.add_argument("--rate", type=int, default=500, help="records a second (default 500)")
    parser.add_argument("--record-bytes", type=int, default=250, help="least size of a record of whole lines (default 250)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the producer")
    parser.add_argument("--limits", action="store_true", help="fail when the gaps are longer than wanted")
    parser.add_argument("--json", type=Path, help="write every kill to this file")
    return parser.parse_args()


def make(options):
    """The cluster to kill nodes of."""
    if options.compose:
        return nodes.Compose()
    return nodes.Kafka(3) if options.peer else nodes.Ottla(options.binary, 3)


def main():
    options = parse()
    settings = {**DEFAULTS, **dict(pair.split("=", 1) for pair in options.set)}
    size = int(options.megabytes * 1e6)
    pieces = corpus.records(corpus.build(nodes.ROOT / "target" / "bench" / f"text-{size}", size), options.record_bytes)
    cluster = make(options)
    kills, safe = [], False
    try:
        bootstrap = cluster.up()
        stream, observer = Stream(bootstrap, settings, pieces, options.rate), Observer(bootstrap, 3)
        kinds = [options.only] if options.only else CLASSES
        for number in range(options.kills * len(kinds)):
            kill = strike(cluster, stream, observer, kinds[number % len(kinds)], number)
            kills.append(kill)
            print(f"{len(kills)}: {kill.kind}, node {kill.node}: gap {kill.gap_ms:.0f} ms, in sync again after {kill.back_in_sync_ms:.0f} ms", flush=True)
        stream.run(86400, lambda: len(stream.homes) >= len(pieces))
        left = stream.producer.flush(120)
        wrong = verify(bootstrap, stream) + ([f"{left} records without an answer"] if left else [])
        # The engine takes a quarter of a second to kill, which counts into the gap: what is wanted is wanted of plain processes.
        safe = report(cluster.name, kills, stream, settings, wrong, options.limits and not options.compose)
    finally:
        cluster.down(keep=not safe)
    if options.json:
        options.json.write_text(json.dumps([asdict(kill) for kill in kills], indent=1))
    return 0 if safe else 1


if __name__ == "__main__":
    sys.exit(main())
