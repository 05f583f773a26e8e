"""Consumer groups of ottla beside Apache Kafka's in one run: three nodes of each.

commits    64 connections commit to groups of one coordinator partition, in rounds on both: one commit under way on each (commitSync),
           and eight (a consumer that calls commitAsync after every poll)
growth     10 consumers of KIP-848 while their topic grows from 100 to 1,000 partitions
rebalance  an eleventh consumer joins ten, classic protocol
failover   the coordinator is killed: when are committed offsets readable again?
crowd      1,000 groups of 10 members, classic and KIP-848: memory and CPU time while nothing changes

Kafka acknowledges commits from the page cache of its in-sync replicas, ottla when they have flushed. Exit code 1 with --limits if a
wanted figure is missed or was not measured, and always if a committed offset was lost.
"""

import asyncio
import json
import subprocess
import sys
import time
from functools import partial
from itertools import count, islice

import members
import nodes
import wire
from both import REPLICAS, SETTINGS, SYSTEMS, Samples, arguments, create, judge, measure, note
from confluent_kafka.admin import NewPartitions
from consumers import Consumers
from processes import Meter, cpu_seconds, resident_mib
from tables import Below, Least, MostRatio, figure_of

COMMIT = nodes.ROOT / "target" / "bench" / "commit"
PARTS = ("commits", "growth", "rebalance", "failover", "crowd")
# The cluster that two of the parts wreck or fill is their own.
SHARED = PARTS[:3]
COMMITS_UNDER_WAY = {"commitSync": 1, "commitAsync": 8}
CONNECTIONS, CONSUMERS, PARTITIONS, MORE_PARTITIONS = 64, 10, 100, 900
GROUPS, MEMBERS = 1000, 10
BEAT_MS = 1000
KINDS = {"classic": members.Classic, "KIP-848": members.Consumer}
WAIT_SECONDS, AGAIN_SECONDS, JOINING_SECONDS = 120, 0.002, 30
OFFSETS = "__consumer_offsets"


class Run(Samples):
    """The parts of this measurement."""

    settings = (*SETTINGS, "group.initial.rebalance.delay.ms=0")

    def measure(self, only):
        parts = only or PARTS
        if any(part in SHARED for part in parts):
            self.up()
        for part in PARTS:
            if part in SHARED and part in parts:
                getattr(self, part)()
        self.down()
        for part in PARTS:
            if part not in SHARED and part in parts:
                for system in SYSTEMS:
                    self.up_one(system)
                    getattr(self, part)(system)
                    self.down()

    def commits(self):
        """A warm-up, then rounds."""
        for number, systems in [(0, SYSTEMS), *self.turns()]:
            for system in systems:
                for kind in COMMITS_UNDER_WAY:
                    self._commits_one(system, number, kind)

    def _commits_one(self, system, number, kind):
        cluster, topic = self.clusters[system], f"commits-{kind}"
        seconds = self.options.seconds if number else self.options.warm_up
        if not number:
            create(cluster.admin, topic, 1)
        names = (f"{kind}-{number}-{one}" for one in count())
        groups = list(islice((name for name in names if wire.partition_of(name) == 0), CONNECTIONS))
        host, port = coordinates(cluster, groups[0])
        meter, begun = Meter(self.pids(system)), time.monotonic()
        words = [str(word) for word in (COMMIT, host, port, seconds, COMMITS_UNDER_WAY[kind], topic, *groups)]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"{system}: {done.stderr}")
        costs, answer = {**meter.read(), "wall_s": round(time.monotonic() - begun, 2)}, json.loads(done.stdout)
        micros = round(costs["cpu_s"] / answer["commits"] * 1e6, 1)
        self.record("commits" if number else "warm-up", kind, system, number, **answer, cpu_us_per_commit=micros, **costs)

    def growth(self):
        """Rounds: a topic that ten consumers share gets nine hundred partitions more."""
        for number, systems in self.turns():
            for system in systems:
                cluster, topic = self.clusters[system], f"growing-{number}"
                create(cluster.admin, topic, PARTITIONS)
                group = Consumers(cluster.bootstrap, f"growing-{number}", topic, **{"group.protocol": "consumer"})
                group.join(CONSUMERS)
                group.until_shared(PARTITIONS, WAIT_SECONDS)
                begun = time.monotonic()
                cluster.admin.create_partitions([NewPartitions(topic, PARTITIONS + MORE_PARTITIONS)])[topic].result(WAIT_SECONDS)
                answered = time.monotonic()
                stable = group.until_shared(PARTITIONS + MORE_PARTITIONS, WAIT_SECONDS)
                figures = {"from_request_ms": millis(stable - begun), "from_answer_ms": millis(max(0, stable - answered))}
                self.record("growth", "growth", system, number, **figures)
                group.leave()
                cluster.admin.delete_topics([topic])[topic].result(WAIT_SECONDS)

    def rebalance(self):
        """Rounds: one consumer more."""
        for number, systems in self.turns():
            for system in systems:
                cluster, topic = self.clusters[system], f"joined-{number}"
                create(cluster.admin, topic, PARTITIONS)
                group = Consumers(cluster.bootstrap, f"joined-{number}", topic, **{"heartbeat.interval.ms": BEAT_MS})
                group.join(CONSUMERS)
                group.until_shared(PARTITIONS, WAIT_SECONDS)
                # At no fixed place in the members' intervals.
                time.sleep(BEAT_MS / 1000 * (1 + number / self.options.rounds))
                begun = time.monotonic()
                group.join(1)
                self.record("rebalance", "rebalance", system, number, joined_ms=millis(group.until_shared(PARTITIONS, WAIT_SECONDS) - begun))
                group.leave()

    def failover(self, system):
        """Kills coordinators; each time the offset that was committed last is to be readable."""
        cluster, topic, group = self.clusters[system], "failover", "failover"
        create(cluster.admin, topic, 1)
        for number in range(1, (self.options.kills if system == "ottla" else self.options.peer_kills) + 1):
            patiently(lambda: wire.commit(cluster.bootstrap, group, topic, number))
            await_whole(cluster)
            victim = at(cluster, coordinates(cluster, group))
            moment = cluster.kill(victim)
            stale = 0
            while (found := patiently(lambda: wire.committed(survivors(cluster, victim), group, topic))) != number:
                stale += 1
                if system == "ottla" or time.monotonic() - moment > WAIT_SECONDS:
                    raise RuntimeError(f"{system}: offset {number} was committed, {found} is told after the death of node {victim}")
            self.record("failover", "failover", system, number, readable_ms=millis(time.monotonic() - moment), stale_answers=stale)
            cluster.start(victim)
            await_whole(cluster)

    def crowd(self, system):
        """Both protocols, one after the other."""
        cluster = self.clusters[system]
        create(cluster.admin, "crowd", MEMBERS)
        for protocol, kind in KINDS.items():
            groups = [f"{protocol}-{number}" for number in range(GROUPS)]
            asyncio.run(self._crowd_one(system, protocol, members.Crowd(kind, groups, MEMBERS, "crowd")))

    async def _crowd_one(self, system, protocol, crowd):
        cluster, begun = self.clusters[system], time.monotonic()
        homes = coordinators(cluster, {member.group for member in crowd.members})
        crowd.start(homes.get, JOINING_SECONDS)
        while crowd.settled() < GROUPS * MEMBERS:
            if time.monotonic() - begun > WAIT_SECONDS:
                raise RuntimeError(f"{system}: {crowd.settled()} members have something to read: {crowd.tally.faults}")
            await asyncio.sleep(0.5)
        note(f"{system}, {protocol}: all have joined after {time.monotonic() - begun:.0f} s; faults {crowd.tally.faults}")
        await asyncio.sleep(self.options.settle)
        tally, pids = crowd.tally, self.pids(system)
        before, beats, commits, begun = cpu_seconds(pids), tally.beats, tally.commits, time.monotonic()
        await asyncio.sleep(self.options.steady)
        wall = time.monotonic() - begun
        figures = {
            "cpu_percent": round((cpu_seconds(pids) - before) / wall * 100, 1),
            "resident_mib": round(max(resident_mib(pid) for pid in pids), 1),
            "beats_per_s": round((tally.beats - beats) / wall),
            "commits_per_s": round((tally.commits - commits) / wall),
        }
        self.record("crowd", protocol, system, 1, **figures, reading=crowd.settled(), faults=sum(tally.faults.values()))
        await crowd.stop()


def millis(seconds):
    return round(seconds * 1000, 1)


def patiently(ask):
    """Asks again every two milliseconds."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return ask()
        except wire.NotYet as reason:
            if time.monotonic() > end:
                raise RuntimeError(f"no answer for {WAIT_SECONDS} s: {reason}") from reason
        time.sleep(AGAIN_SECONDS)


def coordinates(cluster, group):
    """Who coordinates a group, once it answers for it."""
    patiently(lambda: wire.committed(cluster.bootstrap, group, "none"))
    return patiently(lambda: wire.coordinator(cluster.bootstrap, group))


def coordinators(cluster, groups):
    """The address for each group; asked once for those of a partition."""
    one_of = {wire.partition_of(group): group for group in groups}
    homes = {number: coordinates(cluster, group) for number, group in one_of.items()}
    return {group: homes[wire.partition_of(group)] for group in groups}


def at(cluster, address):
    """Which node listens there."""
    return cluster.bootstrap.split(",").index(f"{address[0]}:{address[1]}") + 1


def survivors(cluster, victim):
    listed = cluster.bootstrap.split(",")
    return ",".join(listed[: victim - 1] + listed[victim:])


def await_whole(cluster):
    """Waits until every replica of all groups' partitions is in sync."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        found = cluster.admin.list_topics(OFFSETS, timeout=10).topics[OFFSETS].partitions.values()
        if found and all(partition.leader > 0 and len(partition.isrs) == REPLICAS for partition in found):
            return
        if time.monotonic() > end:
            raise RuntimeError(f"{OFFSETS} is not whole after {WAIT_SECONDS} s")
        time.sleep(0.05)


def rows(samples):
    """The table."""
    row = partial(figure_of, samples)
    made = []
    for kind, each in COMMITS_UNDER_WAY.items():
        title = f"64 connections, {each} under way on each"
        made.append(row(f"{title}: commits", "commits", kind, "commits_per_s", "commits/s", Least(3)))
        made.append(row(f"{title}: p50", "commits", kind, "p50_ms", "ms"))
        made.append(row(f"{title}: p99", "commits", kind, "p99_ms", "ms"))
        made.append(row(f"{title}: brokers' CPU", "commits", kind, "cpu_us_per_commit", "CPU-µs/commit", MostRatio(1)))
    made += [
        row("KIP-848, 900 partitions more: shared after the request", "growth", "growth", "from_request_ms", "ms", Below(1000, "ms")),
        row("KIP-848, 900 partitions more: shared after its answer", "growth", "growth", "from_answer_ms", "ms"),
        row(f"classic, an eleventh member, beats of {BEAT_MS} ms: shared", "rebalance", "rebalance", "joined_ms", "ms", Below(BEAT_MS + 500, "ms")),
        row("coordinator killed: offsets readable", "failover", "failover", "readable_ms", "ms", Below(500, "ms")),
    ]
    for protocol in KINDS:
        title = f"1,000 groups of 10, {protocol}"
        made.append(row(f"{title}: CPU of three nodes", "crowd", protocol, "cpu_percent", "% of a core"))
        made.append(row(f"{title}: memory of a node", "crowd", protocol, "resident_mib", "MiB"))
        made.append(row(f"{title}: heartbeats", "crowd", protocol, "beats_per_s", "beats/s"))
        made.append(row(f"{title}: commits", "crowd", protocol, "commits_per_s", "commits/s"))
    return made


def main():
    parser = arguments(__doc__, PARTS)
    parser.add_argument("--seconds", type=float, default=10, help="of commits in each round (default 10)")
    parser.add_argument("--warm-up", type=float, default=20, metavar="SECONDS", help="of commits on each system before the first round (default 20)")
    parser.add_argument("--kills", type=int, default=20, help="of ottla's coordinators (default 20)")
    parser.add_argument("--peer-kills", type=int, default=3, help="of Kafka's (default 3)")
    parser.add_argument("--settle", type=float, default=20, metavar="SECONDS", help="between the last member's joining and what counts (default 20)")
    parser.add_argument("--steady", type=float, default=30, metavar="SECONDS", help="what counts of a crowd (default 30)")
    options = parser.parse_args()
    result = json.loads(options.source.read_text()) if options.source else measure(options, "scripts/bench/groups", Run, {})
    return judge(options, result, rows)


if __name__ == "__main__":
    sys.exit(main())
