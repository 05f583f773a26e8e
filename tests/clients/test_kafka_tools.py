"""Apache Kafka's own console tools, unchanged, against the cluster. Each run costs a JVM: a test of each tool, no more."""

import re

import pytest
from confluent_kafka import Producer

import java_program
import text
import wait

TOOLS = "org.apache.kafka.tools"


@pytest.fixture
def tool(jars, cluster):
    """Runs a tool with --bootstrap-server and returns what it printed; fails if it fails."""

    def run_tool(main, *arguments, stdin=""):
        done = java_program.run(f"{jars}/*", main, "--bootstrap-server", cluster.bootstrap, *arguments, stdin=stdin)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Exception" not in done.stderr, done.stderr
        return done.stdout

    return run_tool


def dump(jars, files, *arguments):
    """What DumpLogSegments prints of files. Mismatches go to its error output, and its exit code stays 0.

    It calls the first offset of a segment non-consecutive unless that is 0 (seen with 4.3.1), so that complaint does not count."""
    done = java_program.run(f"{jars}/*", f"{TOOLS}.DumpLogSegments", "--files", ",".join(files), *arguments)
    complaints = re.sub(r"^Non-consecutive offsets in .*\n(  -1 is followed by \d+\n)", "", done.stderr, flags=re.MULTILINE)
    assert done.returncode == 0 and complaints == "", done.stdout[-2000:] + done.stderr
    return done.stdout


def test_topic_command_creates_lists_describes_grows_and_deletes(tool, cluster, topics):
    topic = topics.name("tool")
    created = tool(f"{TOOLS}.TopicCommand", "--create", "--topic", topic, "--partitions", 3, "--config", "retention.ms=7200000")
    assert f"Created topic {topic}" in created
    topics.await_leaders(topic, 3)
    assert topic in tool(f"{TOOLS}.TopicCommand", "--list").split()
    described = tool(f"{TOOLS}.TopicCommand", "--describe", "--topic", topic)
    assert "PartitionCount: 3" in described and f"ReplicationFactor: {cluster.copies}" in described
    assert "retention.ms=7200000" in described
    leaders = re.findall(r"Partition: (\d+)\s+Leader: (\d+)\s+Replicas: ([\d,]+)\s+Isr: ([\d,]+)", described)
    assert [partition for partition, *_ in leaders] == ["0", "1", "2"]
    assert all(leader in replicas.split(",") for _, leader, replicas, _ in leaders)
    tool(f"{TOOLS}.TopicCommand", "--alter", "--topic", topic, "--partitions", 4)
    topics.await_leaders(topic, 4)
    tool(f"{TOOLS}.TopicCommand", "--delete", "--topic", topic)
    wait.until(lambda: topic not in topics.admin.list_topics(timeout=30).topics, f"{topic} is gone")


def test_console_producer_and_consumer_pass_lines(tool, topics):
    topic, lines = topics.create("tool"), [line.decode() for line in text.lines(50)]
    tool(f"{TOOLS}.ConsoleProducer", "--topic", topic, stdin="\n".join(lines) + "\n")
    printed = tool(
        f"{TOOLS}.consumer.ConsoleConsumer", "--topic", topic, "--partition", 0, "--offset", "earliest", "--max-messages", 50
    )
    assert printed.splitlines() == lines


def test_get_offset_shell_prints_first_last_and_timestamped_offsets(tool, cluster, topics):
    topic = topics.create("tool", partitions=2)
    fill(cluster, topic, text.lines(30))
    for time, expected in [("earliest", 0), ("latest", 30)]:
        assert f"{topic}:0:{expected}" in tool(f"{TOOLS}.GetOffsetShell", "--topic", topic, "--time", time).split()
    assert f"{topic}:1:0" in tool(f"{TOOLS}.GetOffsetShell", "--topic-partitions", f"{topic}:1", "--time", -1).split()


def test_metadata_quorum_command_describes_voters_and_leader(tool, cluster):
    status = tool(f"{TOOLS}.MetadataQuorumCommand", "describe", "--status")
    leader = re.search(r"LeaderId:\s+(\d+)", status)[1]
    voters = set(re.findall(r'"id": (\d+)', re.search(r"CurrentVoters:.*", status)[0]))
    assert leader in voters and len(voters) == cluster.nodes
    replication = tool(f"{TOOLS}.MetadataQuorumCommand", "describe", "--replication")
    assert re.search(rf"^{leader}\s.*\sLeader\s*$", replication, re.MULTILINE)
    assert len(re.findall(r"\sFollower\s*$", replication, re.MULTILINE)) == cluster.nodes - 1
    ends = re.findall(r"^\d+\s+\S+\s+(-?\d+)\s", replication, re.MULTILINE)
    assert len(ends) == cluster.nodes and all(int(end) > 0 for end in ends), "whichever broker was asked, the leader has answered"


def test_broker_api_versions_command_asks_every_broker(tool, cluster):
    printed = tool(f"{TOOLS}.BrokerApiVersionsCommand")
    assert len(re.findall(r"^\S+ \(id: \d+ .*-> \($", printed, re.MULTILINE)) == cluster.nodes
    assert "ERROR" not in printed
    usable = {name: int(version) for name, version in re.findall(r"^\s+(\w+)\(\d+\):.*\[usable: (\d+)\]", printed, re.MULTILINE)}
    wanted = {"Produce": 13, "Fetch": 18, "ListOffsets": 11, "Metadata": 13, "ApiVersions": 4, "CreateTopics": 7, "DeleteTopics": 6}
    assert {name: usable.get(name) for name in wanted} == wanted


def test_config_command_describes_a_topic(tool, topics):
    topic = topics.create("tool", configs={"retention.ms": "7200000"})
    printed = tool("kafka.admin.ConfigCommand", "--describe", "--entity-type", "topics", "--entity-name", topic)
    assert "retention.ms=7200000" in printed
    printed = tool("kafka.admin.ConfigCommand", "--describe", "--all", "--entity-type", "topics", "--entity-name", topic)
    assert "max.message.bytes=1048588" in printed and "cleanup.policy=delete" in printed


CONFIG = "kafka.admin.ConfigCommand"


def test_config_command_alters_a_topic_and_the_default_of_all_brokers(tool, topics):
    topic = topics.create("tool")
    of_topic, of_all = ["--entity-type", "topics", "--entity-name", topic], ["--entity-type", "brokers", "--entity-default"]
    shown = lambda *which: tool(CONFIG, "--describe", *which)
    assert "Completed" in tool(CONFIG, "--alter", *of_topic, "--add-config", "retention.ms=7200000,cleanup.policy=[compact,delete]")
    wait.until(lambda: "retention.ms=7200000" in shown(*of_topic), "the topic's retention")
    assert "cleanup.policy=compact,delete" in shown(*of_topic)
    tool(CONFIG, "--alter", *of_topic, "--delete-config", "retention.ms")
    wait.until(lambda: "retention.ms=" not in shown(*of_topic), "the topic's retention is the default")
    name, synonym = "delete.retention.ms", "log.cleaner.delete.retention.ms"
    tool(CONFIG, "--alter", *of_all, "--add-config", f"{synonym}=7200000")
    try:
        wait.until(lambda: f"{synonym}=7200000" in shown(*of_all), "the default of all brokers")
        wait.until(lambda: f"{name}=7200000" in shown("--all", *of_topic), "the topic follows the default")
    finally:
        tool(CONFIG, "--alter", *of_all, "--delete-config", synonym)
    wait.until(lambda: f"{synonym}=" not in shown(*of_all), "the default is gone")


def test_producer_performance_runs_with_every_record_acknowledged(tool, topics):
    topic = topics.create("tool")
    printed = tool(
        f"{TOOLS}.ProducerPerformance", "--topic", topic, "--num-records", 2000, "--record-size", 1000, "--throughput", -1,
        "--command-property", "acks=all",
    )
    assert "2000 records sent" in printed


def test_dump_log_segments_reads_segments_indexes_and_producer_snapshots(jars, cluster, topics):
    if cluster.data is None:
        pytest.skip("the cluster's files are not on this machine (DATA_DIR)")
    topic = topics.create("dump", configs={"segment.bytes": "1048576", "index.interval.bytes": "1024"})
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        fill(cluster, topic, [text.noise(1500).hex().encode() for _ in range(300)], codec)
    folders = wait.until(lambda: len(found := cluster.folders(f"{topic}-0")) == cluster.copies and found, "every replica")
    for folder in folders[:2]:
        files = {kind: sorted(str(path) for path in folder.glob(f"*.{kind}")) for kind in ("log", "index", "timeindex", "snapshot")}
        assert len(files["log"]) > 1, "no segment was rolled"
        dumped = dump(jars, files["log"], "--deep-iteration")
        assert "isvalid: false" not in dumped
        assert dumped.count("isvalid: true") > 10
        offsets = [int(offset) for offset in re.findall(r"^\| offset: (\d+) ", dumped, re.MULTILINE)]
        assert offsets == list(range(len(offsets))) and len(offsets) > 1000
        # The newest segment is still written: Kafka preallocates its indexes, and its own tool takes the empty space for corruption.
        closed = files["index"][:-1] + files["timeindex"][:-1]
        assert dump(jars, closed, "--index-sanity-check").count("passed sanity check") == len(closed)
        entries = dump(jars, closed + files["snapshot"])
        assert re.search(r"^offset: \d+ position: [1-9]", entries, re.MULTILINE), "no entry in an index"
        assert re.search(r"^producerId: \d+ producerEpoch: 0", entries, re.MULTILINE), "no producer in a snapshot"


def fill(cluster, topic, values, codec="none"):
    """Sends values to partition 0, several batches of them, acknowledged by all replicas."""
    failed = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "compression.type": codec, "enable.idempotence": True, "batch.num.messages": 20})
    for value in values:
        producer.produce(topic, partition=0, value=value, on_delivery=lambda error, _: failed.append(error) if error else None)
        producer.poll(0)
    assert producer.flush(30) == 0 and not failed, failed
