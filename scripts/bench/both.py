"""Ottla and Apache Kafka side by side: both clusters, samples in rounds, the circumstances, the end of a run."""

import argparse
import json
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import confluent_kafka
import nodes
import tables
from confluent_kafka.admin import AdminClient, NewTopic
from processes import resident_mib

SYSTEMS = ("kafka", "ottla")
REPLICAS = 3
HEAP = "-Xms1g -Xmx1g"
# Both keep deleted files for a minute; the next load shall not share the disk with their removal.
SETTINGS = ("log.segment.delete.delay.ms=1000",)
WHOLE_SECONDS_MAX = 60


def make(system, binary, count, settings=SETTINGS):
    """A cluster, not started."""
    return nodes.Kafka(count, settings) if system == "kafka" else nodes.Ottla(binary, count, settings)


def note(text):
    print(text, file=sys.stderr, flush=True)


class Samples:
    """Collects samples: dictionaries with part, name, system, round and figures."""

    settings = SETTINGS

    def __init__(self, options):
        self.options, self.samples, self.clusters = options, [], {}

    def record(self, part, name, system, number, **figures):
        self.samples.append({"part": part, "name": name, "system": system, "round": number, **figures})
        note(f"round {number}  {name:24} {system:6} " + "  ".join(f"{key} {value}" for key, value in figures.items()))

    def turns(self):
        """Rounds, and in each the systems in an order that changes."""
        for number in range(1, self.options.rounds + 1):
            yield number, SYSTEMS if number % 2 else SYSTEMS[::-1]

    def up(self):
        """Both clusters, which stay until the end, so that Kafka's compiler has seen every load more than once."""
        for system in SYSTEMS:
            self.up_one(system)

    def up_one(self, system):
        """Three nodes of one system."""
        cluster = self.clusters[system] = make(system, self.options.binary, REPLICAS, self.settings)
        cluster.bootstrap = cluster.up()
        cluster.admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})

    def pids(self, system):
        return [self.clusters[system].pid(node) for node in range(1, REPLICAS + 1)]

    def resident(self, system):
        """Of the largest node."""
        return round(max(resident_mib(pid) for pid in self.pids(system)), 1)

    def down(self):
        for cluster in self.clusters.values():
            cluster.down()
        self.clusters.clear()


def create(admin, topic, partitions):
    """Returns when every partition has a leader and all its replicas in sync."""
    admin.create_topics([NewTopic(topic, partitions, REPLICAS)], operation_timeout=30)[topic].result(60)
    end = time.monotonic() + WHOLE_SECONDS_MAX
    while time.monotonic() < end:
        found = admin.list_topics(topic, timeout=10).topics[topic].partitions.values()
        if len(found) == partitions and all(partition.leader > 0 and len(partition.isrs) == REPLICAS for partition in found):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{topic} is not whole after {WHOLE_SECONDS_MAX} s")


def machine(binary, settings=SETTINGS):
    """What the figures depend on."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    kafka = next((nodes.ROOT / "target" / "kafka-jars").glob("kafka_2*.jar")).stem.partition("-")[2]
    java = subprocess.run(["java", "-version"], stderr=subprocess.PIPE, text=True).stderr.splitlines()[0]
    folder = os.environ.get("TMPDIR", "/tmp")
    disk = subprocess.run(["findmnt", "-nT", folder, "-o", "SOURCE,FSTYPE"], stdout=subprocess.PIPE, text=True).stdout.split()
    # Without a journal a sync is cheaper, which is ottla's advantage: let it be known.
    if disk[1:] == ["ext4"] and not any(Path("/proc/fs/jbd2").glob(Path(disk[0]).name + "-*")):
        disk.append("without a journal")
    commit = subprocess.run(["git", "-C", nodes.ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True).stdout.strip()
    version = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{processor[1] if processor else platform.machine()}, {os.cpu_count()} cores, {memory >> 20} GiB, Linux {platform.release()}",
        "disk": f"{' '.join(disk)} under {folder}",
        "load average before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "ottla": f"{version}, ottla dev; checkout at {commit}",
        "kafka": f"Apache Kafka {kafka}, {java}, {os.environ['KAFKA_PEER_HEAP']}",
        "client": f"librdkafka {confluent_kafka.libversion()[0]} on the same machine",
        "both": f"3 combined nodes, replication factor 3, min.insync.replicas 2, {' '.join(settings)}",
    }


def arguments(description, parts):
    """What every measurement of both systems takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.environ.get("OTTLA_BIN", nodes.ROOT / "target/release/ottla"), help="the ottla to run")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--only", choices=parts, action="append", help="a part; may be repeated (default: all)")
    parser.add_argument("--limits", action="store_true", help="exit code 1 if a wanted figure is missed or not measured")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    parser.add_argument("--from", dest="source", type=Path, metavar="JSON", help="measure nothing: show what an earlier run has written")
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/BENCHMARKS.md has it")
    return parser


def measure(options, script, run, about):
    """The run, with its circumstances. `run(options)` collects samples; its `measure` is told the parts."""
    os.environ.setdefault("KAFKA_PEER_HEAP", HEAP)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    running = run(options)
    about = {**machine(options.binary, running.settings), **about, "command": shlex.join([script, *sys.argv[1:]])}
    result = {"about": about, "samples": running.samples}
    try:
        running.measure(options.only)
    finally:
        # Also of a run that was cut short: `--from` shows what there is.
        if options.json:
            options.json.write_text(json.dumps(result, indent=1))
        running.down()
    return result


def judge(options, result, rows):
    """Prints the table and what was missed; returns the exit code."""
    table = rows(result["samples"])
    shown = [row for row in table if row.kafka or row.ottla]
    print(tables.markdown(result["about"], shown) if options.markdown else tables.plain(result["about"], shown))
    for disturbance in tables.disturbances(result["samples"]):
        note(disturbance)
    missed = [row for row in table if row.wanted and not row.is_met()]
    for row in missed:
        note(f"{'WRONG' if options.limits else 'missed'}: {row.title}: {row.shown()}")
    return 1 if missed and options.limits else 0
