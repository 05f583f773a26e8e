"""A consumer group of one test: its members take turns, and what they read and commit is checked as they go."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import group_members
import wait
from confluent_kafka import Producer

PROGRAM = Path(__file__).with_name("group_members.py")
SECONDS = 30


def fill(cluster, topic, partitions, count):
    """Appends `count` records to each partition, acknowledged by all replicas."""
    producer, failed = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"}), []
    for partition in range(partitions):
        for number in range(count):
            value = b"%d" % number
            producer.produce(topic, partition=partition, value=value, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(SECONDS) == 0 and not failed, failed


class Process:
    """A member in a process of its own: it can crash."""

    def __init__(self, client, bootstrap, group, topic, assignor):
        command = [sys.executable, PROGRAM, client, bootstrap, group, topic, assignor]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)

    def lines(self):
        """What it says, as it says it."""
        for line in self.process.stdout:
            yield json.loads(line)

    def kill(self):
        """Ends it as a crash does. Returns what it had committed, by (topic, partition)."""
        self.process.kill()
        said = [json.loads(line) for line in self.process.stdout if line.endswith("\n")]
        self.process.wait()
        return {(one["topic"], one["partition"]): one["committed"] for one in said if "committed" in one}


class Group:
    """Members that this test has made. Nobody may read below what was committed for good."""

    def __init__(self, cluster, client="confluent", name=None):
        self.cluster, self.client = cluster, client
        self.name = name or f"group-{uuid.uuid4().hex[:12]}"
        self.members, self.processes = [], []
        self.read, self.committed = {}, {}

    def join(self, topics, **settings):
        """A new member."""
        member = group_members.CLIENTS[self.client](self.cluster.bootstrap, self.name, topics, **settings)
        self.members.append(member)
        return member

    def join_process(self, topic, assignor="range"):
        """A new member in a process of its own."""
        process = Process(self.client, self.cluster.bootstrap, self.name, topic, assignor)
        self.processes.append(process)
        return process

    def turn(self):
        """A turn for each member."""
        for member in list(self.members):
            read, committed = member.turn()
            for topic, partition, offset in read:
                least = self.committed.get((topic, partition), 0)
                assert offset >= least, f"{topic}-{partition} was read again at {offset}: committed to {least}"
                self.read.setdefault((topic, partition), set()).add(offset)
            self.acknowledge(committed)

    def acknowledge(self, committed):
        """Nobody may read below these."""
        for place, offset in committed.items():
            self.committed[place] = max(offset, self.committed.get(place, 0))

    def until(self, condition, what, seconds=SECONDS):
        """Gives turns until a condition holds."""
        return wait.until(lambda: (self.turn(), condition())[1], what, seconds)

    def leave(self, member):
        """A member closes. A static one does not say so."""
        self.members.remove(member)
        member.close()

    def shares(self, topic, partitions):
        """Whether the members have all partitions of a topic, each one of them, nobody many more than another."""
        held = [{one for one in member.assigned if one[0] == topic} for member in self.members]
        whole = {(topic, partition) for partition in range(partitions)}
        sizes = sorted(len(one) for one in held)
        return set().union(*held) == whole and sum(sizes) == partitions and sizes[-1] - sizes[0] <= 1

    def has_read(self, topic, partitions, count):
        """Whether every record was read and committed."""
        places = [(topic, partition) for partition in range(partitions)]
        return all(self.committed.get(place) == count and len(self.read.get(place, ())) == count for place in places)

    def close(self):
        """All members leave."""
        for process in self.processes:
            process.kill()
        while self.members:
            self.leave(self.members[-1])
