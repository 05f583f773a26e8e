"""Ottla beside Apache Kafka in one run: the same loads on three nodes of each, one after the other, in several interleaved rounds.

Throughput and CPU-seconds per GB under saturation, latency with one record in flight, time from process start to the first acks=all write,
resident memory. Kafka runs with its defaults, so it acknowledges from the page cache; ottla flushes before it acknowledges. Records are cut
from real text. Exit code 1 with --limits if a wanted figure is missed or was not measured.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field

import corpus
import nodes
import tables
from both import REPLICAS, SYSTEMS, Samples, arguments, create, judge, make, measure, note
from first_write import first_write
from processes import Meter, cpu_seconds

PRODUCE = nodes.ROOT / "target" / "bench" / "produce"
PARTS = ("start", "idle", "load")
TEXT_BYTES = 100_000_000
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


class Run(Samples):
    """The parts of this measurement."""

    def __init__(self, options):
        super().__init__(options)
        options.text = corpus.build(nodes.ROOT / "target" / "bench" / f"text-{TEXT_BYTES}", TEXT_BYTES)

    def measure(self, only):
        parts = only or PARTS
        if "start" in parts:
            self.start()
        if "idle" in parts or "load" in parts:
            self.up()
        for part in PARTS[1:]:
            if part in parts:
                getattr(self, part)()

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

def produce(text, bootstrap, topic, settings):
    """One run of the load tool."""
    words = [str(PRODUCE), bootstrap, topic, f"sample={text}", *(f"{key}={value}" for key, value in settings.items())]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)}: {done.stdout}{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def delete(cluster, topic):
    """Returns when its files have gone."""
    cluster.admin.delete_topics([topic], operation_timeout=30)[topic].result(60)
    end = time.monotonic() + GONE_SECONDS_MAX
    while any(cluster.data.glob(f"node-*/data/{topic}-*")):
        if time.monotonic() > end:
            note(f"{cluster.name}: files of {topic} are still there after {GONE_SECONDS_MAX} s")
            return
        time.sleep(0.05)


def parse():
    parser = arguments(__doc__, PARTS)
    parser.add_argument("--seconds", type=float, default=20, help="of each load in each round (default 20)")
    parser.add_argument("--warm-up", type=float, default=60, metavar="SECONDS", help="of each system before the first round, all loads together (default 60)")
    parser.add_argument("--idle-seconds", type=float, default=10, help="to settle, and then of each system's idle CPU time (default 10)")
    return parser.parse_args()


def main():
    options = parse()
    loads = "; ".join(f"{load.name}: " + (" ".join(f"{k}={v}" for k, v in load.settings.items()) or "librdkafka's defaults") for load in LOADS)
    about = {"loads": f"acks=all, 1 KiB records of text, no compression; {loads}"}
    result = json.loads(options.source.read_text()) if options.source else measure(options, "scripts/bench/compare", Run, about)
    return judge(options, result, tables.rows)


if __name__ == "__main__":
    sys.exit(main())
