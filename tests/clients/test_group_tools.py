"""Kafka's own tools for groups, and kcat, unchanged: each shows and changes groups in every state they can be in."""

import json
import re
import signal
import subprocess
import uuid

import pytest

import groups
import java_program
import wait

COMMAND = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
VERIFIABLE = "org.apache.kafka.tools.VerifiableConsumer"
SECONDS = 30

pytestmark = pytest.mark.once


@pytest.fixture
def group_of(cluster):
    """Makes a group; its members leave after the test."""
    made = []

    def make(client="confluent"):
        made.append(groups.Group(cluster, client))
        return made[-1]

    yield make
    for group in made:
        group.close()


@pytest.fixture
def command(jars, cluster):
    """Runs ConsumerGroupCommand; returns all that it printed."""

    def run(*arguments):
        done = java_program.run(f"{jars}/*", COMMAND, "--bootstrap-server", cluster.bootstrap, *arguments)
        return done.stdout + done.stderr

    return run


def rows(printed, group):
    """The rows of a table that begin with the group's name, as lists of words."""
    return [line.split() for line in printed.splitlines() if line.split()[:1] == [group]]


def test_a_group_with_members_is_described_and_not_changed(command, cluster, topics, group_of):
    topic, group = topics.create("tool", partitions=2), group_of()
    groups.fill(cluster, topic, 2, 30)
    group.join([topic], **{"client.id": "the-client"})
    group.until(lambda: group.has_read(topic, 2, 30), "everything is read and committed")
    groups.fill(cluster, topic, 1, 5)
    # A turn would read what lags.
    described = rows(command("--describe", "--group", group.name), group.name)
    assert sorted(row[1:6] for row in described) == [[topic, "0", "30", "35", "5"], [topic, "1", "30", "30", "0"]]
    assert all(row[8] == "the-client" and row[7].startswith("/") for row in described)
    (state,) = rows(command("--describe", "--group", group.name, "--state"), group.name)
    assert state[-3:] == ["range", "Stable", "1"]
    (member,) = rows(command("--describe", "--group", group.name, "--members", "--verbose"), group.name)
    assert member[3:5] == ["the-client", "2"] and f"{topic}:0,1" in " ".join(member).replace("(", ":").replace(")", "")
    assert [group.name, "Classic", "Stable"] in [row[:3] for row in rows(command("--list", "--type", "--state"), group.name)] or [
        group.name,
        "Stable",
    ] in [row[:2] for row in rows(command("--list", "--state"), group.name)]
    refused = command("--reset-offsets", "--group", group.name, "--topic", topic, "--to-earliest", "--execute")
    assert "can only be reset if the group" in refused and "is inactive" in refused
    assert "GroupNotEmptyException" in command("--delete", "--group", group.name)
    assert "subscribed" in command("--delete-offsets", "--group", group.name, "--topic", topic)


def test_a_group_without_members_is_reset_and_deleted(command, cluster, topics, group_of):
    topic, group = topics.create("tool", partitions=2), group_of()
    groups.fill(cluster, topic, 2, 30)
    member = group.join([topic])
    group.until(lambda: group.has_read(topic, 2, 30), "everything is read and committed")
    group.leave(member)
    printed = command("--describe", "--group", group.name)
    assert f"Consumer group '{group.name}' has no active members." in printed
    assert sorted(row[1:6] for row in rows(printed, group.name)) == [[topic, "0", "30", "30", "0"], [topic, "1", "30", "30", "0"]]
    reset = lambda *how: sorted(row[1:4] for row in rows(command("--reset-offsets", "--group", group.name, "--topic", topic, *how, "--execute"), group.name))
    assert reset("--to-offset", 12) == [[topic, "0", "12"], [topic, "1", "12"]]
    assert reset("--shift-by", -5) == [[topic, "0", "7"], [topic, "1", "7"]]
    assert reset("--to-latest") == [[topic, "0", "30"], [topic, "1", "30"]]
    printed = command("--delete-offsets", "--group", group.name, "--topic", f"{topic}:0")
    assert "Successful" in printed, printed
    assert [row[1:3] for row in rows(command("--describe", "--group", group.name), group.name)] == [[topic, "1"]]
    assert "was successful" in command("--delete", "--group", group.name)
    assert "GroupIdNotFoundException" in command("--delete", "--group", group.name)
    assert f"Group {group.name} not found." in command("--describe", "--group", group.name)


def test_verifiable_consumer_reads_and_commits_what_it_is_told_to(jars, cluster, topics):
    topic, group = topics.create("tool", partitions=3), f"group-{uuid.uuid4().hex[:12]}"
    groups.fill(cluster, topic, 3, 100)
    told = java_program.run(
        f"{jars}/*", VERIFIABLE, "--bootstrap-server", cluster.bootstrap, "--topic", topic, "--group-id", group, "--max-messages", 300,
        "--reset-policy", "earliest", "--verbose",
    )
    events = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
    named = lambda name: [event for event in events if event["name"] == name]
    assert sum(len(event["partitions"]) for event in named("partitions_assigned")) == 3, told.stdout + told.stderr
    assert sum(event["count"] for event in named("records_consumed")) == 300
    assert all(event["success"] for event in named("offsets_committed"))
    ends = {(place["topic"], place["partition"]): place["offset"] for event in named("offsets_committed") for place in event["offsets"]}
    assert ends == {(topic, partition): 100 for partition in range(3)}
    assert named("shutdown_complete")


class Balanced:
    """`kcat -G`, until it is stopped: what it reads and what it says of its assignments go to files."""

    def __init__(self, kcat, cluster, group, topic, folder):
        command = [kcat, "-b", cluster.bootstrap, "-G", group, "-u", "-f", "%p %o\\n", "-X", "auto.offset.reset=earliest"]
        command += ["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500", "-X", "auto.commit.interval.ms=200", topic]
        name = uuid.uuid4().hex
        self.output, self.errors = folder / name, folder / f"{name}-errors"
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(command, stdout=output, stderr=errors)

    def read(self):
        """What it has read, as (partition, offset)."""
        return [tuple(map(int, line.split())) for line in self.output.read_text().splitlines() if line.count(" ") == 1]

    def assigned(self):
        """The size of its last assignment."""
        told = re.findall(r"assigned: (.*)", self.errors.read_text())
        return len(re.findall(r"\[\d+\]", told[-1])) if told else 0

    def end(self, kind):
        self.process.send_signal(kind)
        self.process.wait(SECONDS)


def test_kcat_shares_with_others_and_goes_on_where_it_was(kcat, cluster, topics, tmp_path):
    topic, group = topics.create("kcat", partitions=4), f"group-{uuid.uuid4().hex[:12]}"
    groups.fill(cluster, topic, 4, 50)
    whole = lambda count: {(partition, offset) for partition in range(4) for offset in range(count)}
    first, second = (Balanced(kcat, cluster, group, topic, tmp_path) for _ in range(2))
    try:
        wait.until(lambda: first.assigned() == second.assigned() == 2, "two members share")
        wait.until(lambda: set(first.read() + second.read()) == whole(50), "everything is read")
        second.end(signal.SIGTERM)
        wait.until(lambda: first.assigned() == 4, "who is left has everything")
        groups.fill(cluster, topic, 4, 50)
        wait.until(lambda: set(first.read() + second.read()) == whole(100), "everything is read")
    finally:
        first.end(signal.SIGTERM)
        second.end(signal.SIGTERM)
    third = Balanced(kcat, cluster, group, topic, tmp_path)
    try:
        wait.until(lambda: third.assigned() == 4, "a member that comes later")
        groups.fill(cluster, topic, 4, 1)
        wait.until(lambda: len(third.read()) >= 4, "it reads")
    finally:
        third.end(signal.SIGTERM)
    assert sorted(third.read()) == [(partition, 100) for partition in range(4)], "what was read before was committed"
