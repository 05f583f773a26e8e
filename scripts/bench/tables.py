"""From the samples of `compare` to rows: the median of the rounds, ottla's ratio to Kafka round by round, what is wanted, and whether it is so."""

from dataclasses import dataclass
from functools import partial
from statistics import median

# Of the machine's time in one core: more than this spent elsewhere makes a sample doubtful.
OTHER_CORES_MAX = 0.2
SATURATING = ("1 partition", "100 partitions", "100 partitions, keyed")
STARTS_MS = {"start, 1 node": 150, "start, 3 nodes": 1500, "start after kill -9, 1 node": None, "start after kill -9, 3 nodes": None}
IDLE_MIB = 20


@dataclass(frozen=True)
class Least:
    """Wanted: ottla's ratio to Kafka, or its figure, at least so."""

    ratio: float

    def holds(self, row):
        return row.ratio() is not None and row.ratio() >= self.ratio

    def __str__(self):
        return f"ratio ≥ {self.ratio:g}"


@dataclass(frozen=True)
class MostRatio:
    """Wanted: the ratio at most so."""

    ratio: float

    def holds(self, row):
        return row.ratio() is not None and row.ratio() <= self.ratio

    def __str__(self):
        return f"ratio ≤ {self.ratio:g}"


@dataclass(frozen=True)
class Below:
    """Wanted: ottla's own figure below this."""

    most: float
    unit: str

    def holds(self, row):
        return bool(row.ottla) and median(row.ottla.values()) < self.most

    def __str__(self):
        return f"< {self.most:g} {self.unit}"


@dataclass(frozen=True)
class Row:
    """One figure of both systems, by round."""

    title: str
    unit: str
    kafka: dict
    ottla: dict
    wanted: object = None

    def ratios(self):
        return [self.ottla[number] / self.kafka[number] for number in sorted(self.ottla) if self.kafka.get(number)]

    def ratio(self):
        """The median of the rounds' ratios."""
        return median(self.ratios()) if self.ratios() else None

    def is_met(self):
        return self.wanted.holds(self)

    def cells(self):
        def middle(values):
            return show(median(values.values())) if values else "-"

        every = " ".join(f"{ratio:.2f}" for ratio in self.ratios())
        ratio = f"{self.ratio():.2f} ({every})" if len(self.ratios()) > 1 else every or "-"
        verdict = f"{self.wanted}: {'yes' if self.is_met() else 'NO'}" if self.wanted else ""
        return [self.title, self.unit, middle(self.kafka), middle(self.ottla), ratio, verdict]

    def shown(self):
        _, unit, kafka, ottla, ratio, _ = self.cells()
        return f"ottla {ottla}, kafka {kafka} {unit}, ratio {ratio}; wanted {self.wanted}"


HEADING = ["", "unit", "Kafka", "ottla", "ottla / Kafka: median (rounds)", "wanted"]


def show(value):
    """Three digits are as much as such a measurement is worth."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def figure_of(samples, title, part, name, figure, unit, wanted=None):
    """The row of one figure."""

    def of(system):
        return {s["round"]: s[figure] for s in samples if (s["part"], s["name"], s["system"]) == (part, name, system)}

    return Row(title, unit, of("kafka"), of("ottla"), wanted)


def rows(samples):
    """The table."""
    row = partial(figure_of, samples)
    made = []
    for name in SATURATING:
        made.append(row(f"{name}: throughput", "load", name, "mb_per_s", "MB/s", Least(1)))
        made.append(row(f"{name}: brokers' CPU", "load", name, "cpu_s_per_gb", "CPU-s/GB", MostRatio(1)))
    made.append(row("one in flight", "load", "one in flight", "records_per_s", "records/s"))
    for figure in ("p50", "p99"):
        made.append(row(f"one in flight: {figure}", "load", "one in flight", f"{figure}_ms", "ms"))
    for name, most in STARTS_MS.items():
        made.append(row(f"{name}, to first write", "start", name, "first_write_ms", "ms", most and Below(most, "ms")))
    made.append(row("memory of a node, idle", "idle", "idle", "resident_mib", "MiB", Below(IDLE_MIB, "MiB")))
    made.append(row("memory of a node, after load", "after", "after load", "resident_mib", "MiB"))
    made.append(row("CPU of three idle nodes", "idle", "idle", "cpu_percent", "% of a core"))
    return made


def plain(about, table):
    """For a terminal."""
    lines = [HEADING, *(row.cells() for row in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADING))]
    body = ("  ".join(f"{cell:{'<' if i in (0, 1, 5) else '>'}{widths[i]}}" for i, cell in enumerate(line)).rstrip() for line in lines)
    return "\n".join([*(f"{key}: {value}" for key, value in about.items()), "", *body])


def markdown(about, table):
    """For docs/BENCHMARKS.md."""
    lines = [HEADING, ["---", "---", "---:", "---:", "---:", "---"], *(row.cells() for row in table)]
    code = {"command"}
    facts = (f"* {key}: " + (f"`{value}`" if key in code else value) for key, value in about.items())
    return "\n".join([*facts, "", *("| " + " | ".join(line) + " |" for line in lines)])


def disturbances(samples):
    """Samples during which something else used the machine."""
    for sample in samples:
        if sample["part"] == "warm-up":
            continue
        cores = sample.get("other_cpu_s", 0) / sample.get("wall_s", 1)
        if cores > OTHER_CORES_MAX:
            yield f"disturbed: {cores:.1f} cores went elsewhere during {sample['name']}, {sample['system']}, round {sample['round']}"
