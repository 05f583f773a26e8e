"""Kafka Connect's distributed worker and Streams' WordCountDemo, unchanged from Maven's jars: groups of their own kinds."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

import groups
import java_program
import wait

WORKER = "org.apache.kafka.connect.cli.ConnectDistributed"
DEMO = "org.apache.kafka.streams.examples.wordcount.WordCountDemo"
# On two processors, with other tests: a worker starts in ten seconds.
SECONDS = 90

pytestmark = pytest.mark.once


class Java:
    """A main class that runs until it is stopped. Its output goes to a file."""

    def __init__(self, jars, folder, main, *arguments):
        self.output = folder / f"{main.rsplit('.', 1)[1]}-{time.monotonic_ns()}"
        command = ["java", *java_program.OPTIONS, "-Dlog.level=WARN", "-cp", f"{jars}/*", main, *(str(argument) for argument in arguments)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)

    def check(self):
        """Fails if it has ended."""
        assert self.process.poll() is None, self.output.read_text()[-6000:]
        return True

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@pytest.fixture
def java(jars, tmp_path):
    """Starts main classes and stops them after the test."""
    started = []

    def start(main, *arguments):
        started.append(Java(jars, tmp_path, main, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Worker:
    """A distributed worker of Connect."""

    def __init__(self, java, cluster, folder, stem, topics):
        self.port = free_port()
        settings = {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": stem,
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "offset.storage.topic": topics[0],
            "config.storage.topic": topics[1],
            "status.storage.topic": topics[2],
            "offset.storage.replication.factor": cluster.copies,
            "config.storage.replication.factor": cluster.copies,
            "status.storage.replication.factor": cluster.copies,
            "offset.storage.partitions": 1,
            "status.storage.partitions": 1,
            "offset.flush.interval.ms": 500,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "scheduled.rebalance.max.delay.ms": 0,
            "consumer.metadata.max.age.ms": 500,
            "listeners": f"http://127.0.0.1:{self.port}",
            "plugin.discovery": "only_scan",
        }
        path = folder / f"worker-{self.port}.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self.java = java(WORKER, path)

    def ask(self, path, body=None, method=None):
        """What its REST interface says; None while it cannot say."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
                return json.loads(text) if text else True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            self.java.check()
            return None

    def add(self, name, settings):
        """A connector, once the workers have agreed who leads."""
        wait.until(lambda: self.ask(f"/connectors/{name}/config", settings, "PUT"), f"{name} is taken", SECONDS)

    def runs(self, name):
        told = self.ask(f"/connectors/{name}/status")
        return told and told["tasks"] and all(part["state"] == "RUNNING" for part in [told["connector"], *told["tasks"]])


def test_connect_copies_a_file_through_a_topic_and_goes_on_after_a_worker_crashed(java, cluster, topics, tmp_path):
    stem = topics.name("connect")
    kept = [topics.name(f"{stem}-{what}") for what in ("offsets", "configs", "status")]
    copied, source, sink = topics.create("copied", partitions=2), tmp_path / "source", tmp_path / "sink"
    source.write_text("".join(f"line {number}\n" for number in range(100)))
    first, second = (Worker(java, cluster, tmp_path, stem, kept) for _ in range(2))
    kinds = "org.apache.kafka.connect.file.FileStream"
    first.add("source", {"connector.class": f"{kinds}SourceConnector", "tasks.max": "1", "file": str(source), "topic": copied})
    second.add("sink", {"connector.class": f"{kinds}SinkConnector", "tasks.max": "1", "file": str(sink), "topics": copied})
    lines = lambda count: sorted(f"line {number}" for number in range(count))
    seen = lambda: sorted(sink.read_text().split("\n")[:-1]) if sink.exists() else []
    wait.until(lambda: seen() == lines(100), "every line is copied", SECONDS)
    wait.until(lambda: first.runs("source") and second.runs("sink"), "both connectors run", SECONDS)
    (described,) = topics.admin.list_groups(stem, timeout=groups.SECONDS)
    assert (described.protocol_type, described.state, len(described.members)) == ("connect", "Stable", 2)
    first.java.kill()
    with source.open("a") as more:
        more.writelines(f"line {number}\n" for number in range(100, 150))
    wait.until(lambda: second.runs("source") and second.runs("sink"), "who is left runs both", SECONDS)
    # At least once: a crash may have come between what was written and the commit.
    wait.until(lambda: sorted(set(seen())) == lines(150), "every line is copied", SECONDS)


def test_word_count_demo_counts_and_goes_on_where_it_was(java, cluster, topics, tmp_path):
    # The demo's own names; it keeps its state under the folder that we name.
    given, counted, application = "streams-plaintext-input", "streams-wordcount-output", "streams-wordcount"
    for name in (given, counted):
        topics.made.add(name)
        topics.create_named(name, 1, {"cleanup.policy": "compact"} if name == counted else {})
    topics.made |= {f"{application}-{part}" for part in (
        "KSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition", "KSTREAM-AGGREGATE-STATE-STORE-0000000003-changelog", "counts-store-repartition", "counts-store-changelog",
    )}
    properties = tmp_path / "streams.properties"
    settings = {
        "bootstrap.servers": cluster.bootstrap,
        "state.dir": tmp_path / "state",
        "commit.interval.ms": 200,
        "replication.factor": cluster.copies,
        # It does not say when it leaves, so that its successor waits for its session to end.
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 500,
    }
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})

    def say(*lines):
        for line in lines:
            producer.produce(given, line.encode())
        assert producer.flush(groups.SECONDS) == 0

    reader = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "unused", "enable.auto.commit": False})
    reader.assign([TopicPartition(counted, 0, 0)])
    counts = {}

    def counts_are(expected):
        for message in reader.consume(100, 0.2):
            assert message.error() is None, message.error()
            counts[message.key().decode()] = int.from_bytes(message.value(), "big")
        return counts == expected

    say("all streams lead to kafka", "hello kafka streams")
    demo = java(DEMO, properties)
    wanted = {"all": 1, "streams": 2, "lead": 1, "to": 1, "kafka": 2, "hello": 1}
    wait.until(lambda: demo.check() and counts_are(wanted), "the words are counted", SECONDS)
    wait.until(lambda: committed(cluster, application, given) == 2, "what was counted is committed", SECONDS)
    demo.stop()
    say("join kafka summit")
    again = java(DEMO, properties)
    wanted |= {"join": 1, "kafka": 3, "summit": 1}
    wait.until(lambda: again.check() and counts_are(wanted), "the words are counted on from where it was", SECONDS)
    reader.close()


def committed(cluster, group, topic):
    reader = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": group})
    try:
        return reader.committed([TopicPartition(topic, 0)], groups.SECONDS)[0].offset
    finally:
        reader.close()
