"""Ottla beside Apache Kafka in one run: the same loads on three nodes of each, one after the other, in several interleaved rounds.

Throughput and CPU-seconds per GB under saturation, latency with one record in flight, time from process start to the first acks=all write,
resident memory. Kafka runs with its defaults, so it acknowledges from the page cache; ottla flushes before it acknowledges. Records are cut
from real text. Exit code 1 with --limits if a wanted figure is missed or was not measured.
"""

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import confluent_kafka
import corpus
import nodes
import tables
from confluent_kafka.admin import AdminClient, NewTopic
from first_write import first_write
from processes import Meter, cpu_seconds, resident_mib

PRODUCE = nodes.ROOT / "target" / "bench" / "produce"
PARTS = ("start", "idle", "load")
SYSTEMS = ("kafka", "ottla")
REPLICAS = 3
TEXT_BYTES = 100_000_000
HEAP = "-Xms1g -Xmx1g"
# Both keep deleted files for a minute; the next load shall not share the disk with their removal.
SETTINGS = ("log.segment.delete.delay.ms=1000",)
WHOLE_SECONDS_MAX = 60
GONE_SECONDS_MAX = 5
FREE_BYTES_LEAST = 10 << 30


@dataclass(frozen=True)
class Load:
    """One run of the load tool; the settings are its own and librdkafka's."""

    name: str
    partitions: int
    settings: dict = field(default_factory=dict)


LOADS = (
    Load("1 partition", 1),
    Load("100 partitions", 100, {"linger.ms": 20}),
    Load("100 partitions, keyed", 100, {"linger.ms": 20, "keys": 100_000}),
    Load("one in flight", 1, {"linger.ms": 0, "queue.buffering.max.messages": 1, "max.in.flight": 1}),
)


def make(system, binary, count):
    """A cluster, not started."""
    return nodes.Kafka(count, SETTINGS) if system == "kafka" else nodes.Ottla(binary, count, SETTINGS)


def note(text):
    print(text, file=sys.stderr, flush=True)


class Run:
    """Collects samples: dictionaries with part, name, system, round and figures."""

    def __init__(self, options):
        self.options, self.samples, self.clusters = options, [], {}

    def record(self, part, name, system, number, **figures):
        self.samples.append({"part": part, "name": name, "system": system, "round": number, **figures})
        note(f"round {number}  {name:24} {system:6} " + "  ".join(f"{key} {value}" for key, value in figures.items()))

    def turns(self):
        """Rounds, and in each the systems in an order that changes."""
        for number in range(1, self.options.rounds + 1):
            yield number, SYSTEMS if number % 2 else SYSTEMS[::-1]

    def start(self):
        """First acknowledged write of new nodes and, after SIGKILL to all of them, of the same nodes again."""
        for number, systems in self.turns():
            for count in (1, REPLICAS):
                for system in systems:
                    self._start_one(make(system, self.options.binary, count), count, number)

    def _start_one(self, cluster, count, number):
        self.clusters[cluster.name] = cluster
        bootstrap = cluster.prepare()
        for name in (f"start, {count} node" + "s" * (count > 1), f"start after kill -9, {count} node" + "s" * (count > 1)):
            begun = time.monotonic()
            cluster.launch()
            first_write(bootstrap, "first-write")
            self.record("start", name, cluster.name, number, first_write_ms=round((time.monotonic() - begun) * 1000, 1))
            cluster.crash()
        cluster.down()
        del self.clusters[cluster.name]

    def up(self):
        """Both clusters, which stay until the end, so that Kafka's compiler has seen every load more than once."""
        for system in SYSTEMS:
            self.clusters[system] = make(system, self.options.binary, REPLICAS)
            cluster = self.clusters[system]
            cluster.bootstrap = cluster.up()
            cluster.admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})

    def idle(self):
        """Memory and CPU time of nodes without a topic or a client."""
        time.sleep(self.options.idle_seconds)
        for system in SYSTEMS:
            pids = self.pids(system)
            before, begun = cpu_seconds(pids), time.monotonic()
            time.sleep(self.options.idle_seconds)
            cores = (cpu_seconds(pids) - before) / (time.monotonic() - begun)
            self.record("idle", "idle", system, 1, resident_mib=self.resident(system), cpu_percent=round(cores * 100, 1))

    def load(self):
        """All loads on both systems, after a warm-up that does not count."""
        for load in LOADS:
            for system in SYSTEMS:
                self._load_one(load, system, 0, self.options.warm_up / len(LOADS))
        self.samples = [sample for sample in self.samples if sample["part"] != "warm-up"]
        for number, systems in self.turns():
            for load in LOADS:
                for system in systems:
                    self._load_one(load, system, number, self.options.seconds)
            for system in SYSTEMS:
                self.record("after", "after load", system, number, resident_mib=self.resident(system))

    def _load_one(self, load, system, number, seconds):
        cluster = self.clusters[system]
        topic = f"load-{number}-{LOADS.index(load)}"
        if (free := shutil.disk_usage(cluster.data).free) < FREE_BYTES_LEAST:
            raise RuntimeError(f"{free >> 30} GiB of disk are left under {cluster.data}, {FREE_BYTES_LEAST >> 30} wanted")
        create(cluster.admin, topic, load.partitions)
        # Kafka leaves its writing to the kernel: what one load has left dirty, the next one, mostly ottla's, would have to wait for.
        os.sync()
        meter, begun = Meter(self.pids(system)), time.monotonic()
        answer = produce(self.options.text, cluster.bootstrap, topic, {**load.settings, "seconds": seconds})
        costs = {**meter.read(), "wall_s": round(time.monotonic() - begun, 2)}
        gigabytes = answer["acked"] * 1024 / 1e9
        figures = {key: answer[key] for key in ("mb_per_s", "records_per_s", "p50_ms", "p99_ms", "p999_ms", "max_ms")}
        self.record("load" if number else "warm-up", load.name, system, number, **figures, cpu_s_per_gb=round(costs["cpu_s"] / gigabytes, 2), **costs)
        delete(cluster, topic)

    def pids(self, system):
        return [self.clusters[system].pid(node) for node in range(1, REPLICAS + 1)]

    def resident(self, system):
        """Of the largest node."""
        return round(max(resident_mib(pid) for pid in self.pids(system)), 1)

    def down(self):
        for cluster in self.clusters.values():
            cluster.down()
        self.clusters.clear()


def produce(text, bootstrap, topic, settings):
    """One run of the load tool."""
    words = [str(PRODUCE), bootstrap, topic, f"sample={text}", *(f"{key}={value}" for key, value in settings.items())]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)}: {done.stdout}{done.stderr[-2000:]}")
    return json.loads(done.stdout)


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


def delete(cluster, topic):
    """Returns when its files have gone."""
    cluster.admin.delete_topics([topic], operation_timeout=30)[topic].result(60)
    end = time.monotonic() + GONE_SECONDS_MAX
    while any(cluster.data.glob(f"node-*/data/{topic}-*")):
        if time.monotonic() > end:
            note(f"{cluster.name}: files of {topic} are still there after {GONE_SECONDS_MAX} s")
            return
        time.sleep(0.05)


def machine(binary):
    """What the figures depend on."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    kafka = next((nodes.ROOT / "target" / "kafka-jars").glob("kafka_2*.jar")).stem.partition("-")[2]
    java = subprocess.run(["java", "-version"], stderr=subprocess.PIPE, text=True).stderr.splitlines()[0]
    folder = os.environ.get("TMPDIR", "/tmp")
    disk = subprocess.run(["findmnt", "-nT", folder, "-o", "SOURCE,FSTYPE"], stdout=subprocess.PIPE, text=True).stdout.split()
    commit = subprocess.run(["git", "-C", nodes.ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True).stdout.strip()
    version = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{processor[1] if processor else platform.machine()}, {os.cpu_count()} cores, {memory >> 20} GiB, Linux {platform.release()}",
        "disk": f"{' '.join(disk)} under {folder}",
        "load average before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "ottla": f"{version}, ottla dev; checkout at {commit}",
        "kafka": f"Apache Kafka {kafka}, {java}, {os.environ['KAFKA_PEER_HEAP']}",
        "client": f"librdkafka {confluent_kafka.libversion()[0]} on the same machine, acks=all, 1 KiB records of text, no compression",
        "loads": "; ".join(f"{load.name}: " + (" ".join(f"{k}={v}" for k, v in load.settings.items()) or "librdkafka's defaults") for load in LOADS),
        "both": f"3 combined nodes, replication factor 3, min.insync.replicas 2, {' '.join(SETTINGS)}",
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.environ.get("OTTLA_BIN", nodes.ROOT / "target/release/ottla"), help="the ottla to run")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--seconds", type=float, default=20, help="of each load in each round (default 20)")
    parser.add_argument("--warm-up", type=float, default=60, metavar="SECONDS", help="of each system before the first round, all loads together (default 60)")
    parser.add_argument("--idle-seconds", type=float, default=10, help="to settle, and then of each system's idle CPU time (default 10)")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; may be repeated (default: all)")
    parser.add_argument("--limits", action="store_true", help="exit code 1 if a wanted figure is missed or not measured")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    parser.add_argument("--from", dest="source", type=Path, metavar="JSON", help="measure nothing: show what an earlier run has written")
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/BENCHMARKS.md has it")
    return parser.parse_args()


def measure(options):
    """The run, with its circumstances."""
    os.environ.setdefault("KAFKA_PEER_HEAP", HEAP)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.text = corpus.build(nodes.ROOT / "target" / "bench" / f"text-{TEXT_BYTES}", TEXT_BYTES)
    about = {**machine(options.binary), "command": shlex.join(["scripts/bench/compare", *sys.argv[1:]])}
    parts, run = options.only or PARTS, Run(options)
    try:
        if "start" in parts:
            run.start()
        if "idle" in parts or "load" in parts:
            run.up()
        for part in PARTS[1:]:
            if part in parts:
                getattr(run, part)()
    finally:
        run.down()
    return {"about": about, "samples": run.samples}


def main():
    options = parse()
    result = json.loads(options.source.read_text()) if options.source else measure(options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    rows = tables.rows(result["samples"])
    print(tables.markdown(result["about"], rows) if options.markdown else tables.plain(result["about"], rows))
    for disturbance in tables.disturbances(result["samples"]):
        note(disturbance)
    missed = [row for row in rows if row.wanted and not row.is_met()]
    for row in missed:
        note(f"{'WRONG' if options.limits else 'missed'}: {row.title}: {row.shown()}")
    return 1 if missed and options.limits else 0


if __name__ == "__main__":
    sys.exit(main())
