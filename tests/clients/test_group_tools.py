"""Kafka's own tools for groups, and kcat, unchanged: each shows and changes groups in every state they can be in."""

import json
import os
import re
import signal
import subprocess
import uuid

import pytest

import groups
import java_program
import wait

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
def commands(jars, cluster):
    """Runs ConsumerGroupCommand, once for each list of arguments; returns all that each run printed."""

    def run(*lists):
        path = f"{java_program.compiled(jars, 'Commands')}{os.pathsep}{jars}/*"
        lines = ["\t".join(str(word) for word in ("--bootstrap-server", cluster.bootstrap, *words)) for words in lists]
        done = java_program.run(path, "Commands", stdin="\n".join(lines))
        printed = done.stdout.split("\f\n")
        assert done.returncode == 0 and len(printed) == len(lists) + 1, done.stdout + done.stderr
        return printed[:-1]

    return run


def rows(printed, group):
    """The rows of a table that begin with the group's name, as lists of words."""
    return [line.split() for line in printed.splitlines() if line.split()[:1] == [group]]


def test_a_group_with_members_is_described_and_not_changed(commands, cluster, topics, group_of):
    topic, group = topics.create("tool", partitions=2), group_of()
    groups.fill(cluster, topic, 2, 30)
    group.join([topic], **{"client.id": "the-client"})
    group.until(lambda: group.has_read(topic, 2, 30), "everything is read and committed")
    # A turn would read what lags.
    groups.fill(cluster, topic, 1, 5)
    name = ["--group", group.name]
    described, states, members, listed, reset, deleted, forgotten = commands(
        ["--describe", *name],
        ["--describe", *name, "--state"],
        ["--describe", *name, "--members", "--verbose"],
        ["--list", "--state"],
        ["--reset-offsets", *name, "--topic", topic, "--to-earliest", "--execute"],
        ["--delete", *name],
        ["--delete-offsets", *name, "--topic", topic],
    )
    described = rows(described, group.name)
    assert sorted(row[1:6] for row in described) == [[topic, "0", "30", "35", "5"], [topic, "1", "30", "30", "0"]]
    assert all(row[8] == "the-client" and row[7].startswith("/") for row in described)
    (state,) = rows(states, group.name)
    assert state[-3:] == ["range", "Stable", "1"]
    (member,) = rows(members, group.name)
    assert member[3:5] == ["the-client", "2"] and topic in " ".join(member)
    assert [group.name, "Stable"] in rows(listed, group.name)
    assert "can only be reset if the group" in reset and "is inactive" in reset
    assert "GroupNotEmptyException" in deleted
    assert "subscribed" in forgotten


def test_a_group_without_members_is_reset_and_deleted(commands, cluster, topics, group_of):
    topic, group = topics.create("tool", partitions=2), group_of()
    groups.fill(cluster, topic, 2, 30)
    member = group.join([topic])
    group.until(lambda: group.has_read(topic, 2, 30), "everything is read and committed")
    group.leave(member)
    name, reset = ["--group", group.name], ["--reset-offsets", "--group", group.name, "--topic", topic, "--execute"]
    described, *resets, forgotten, left, deleted, again, gone = commands(
        ["--describe", *name],
        [*reset, "--to-offset", 12],
        [*reset, "--shift-by", -5],
        [*reset, "--to-latest"],
        ["--delete-offsets", *name, "--topic", f"{topic}:0"],
        ["--describe", *name],
        ["--delete", *name],
        ["--delete", *name],
        ["--describe", *name],
    )
    assert f"Consumer group '{group.name}' has no active members." in described
    assert sorted(row[1:6] for row in rows(described, group.name)) == [[topic, "0", "30", "30", "0"], [topic, "1", "30", "30", "0"]]
    found = [sorted(row[1:4] for row in rows(one, group.name)) for one in resets]
    assert found == [[[topic, "0", offset], [topic, "1", offset]] for offset in ("12", "7", "30")]
    assert "Successful" in forgotten, forgotten
    assert [row[1:3] for row in rows(left, group.name)] == [[topic, "1"]]
    assert "was successful" in deleted
    assert "GroupIdNotFoundException" in again
    assert f"Group {group.name} not found." in gone


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


def test_a_group_has_configurations_of_its_own(jars, cluster):
    group = f"group-{uuid.uuid4().hex[:12]}"
    heartbeat, session = "consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"

    def configure(*words):
        named = ["--bootstrap-server", cluster.bootstrap, "--entity-type", "groups", "--entity-name", group]
        done = java_program.run(f"{jars}/*", "kafka.admin.ConfigCommand", *named, *words)
        return done.stdout + done.stderr

    assert "Completed updating config" in configure("--alter", "--add-config", f"{heartbeat}=6000,{session}=50000")
    described = configure("--describe")
    assert f"{heartbeat}=6000" in described and f"{session}=50000" in described, described
    assert "InvalidConfigurationException" in configure("--alter", "--add-config", f"{heartbeat}=70000")
    assert "Completed updating config" in configure("--alter", "--delete-config", f"{heartbeat},{session}")
    described = configure("--describe")
    assert f"{heartbeat}=6000" not in described and f"{session}=50000" not in described, described


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
