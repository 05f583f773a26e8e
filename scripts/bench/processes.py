"""What processes cost: CPU time and resident memory from /proc. Linux only."""

import os
import re
import resource
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
KERNEL_THREADS_PARENT = 2


def _stat(path):
    """The fields after the command's name, which may hold spaces; None when the process has gone."""
    try:
        return path.read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def cpu_seconds(pids):
    """User and system time of all their threads so far."""
    return sum(int(ticks) for pid in pids for ticks in _stat(Path(f"/proc/{pid}/stat"))[11:13]) / TICKS_PER_SECOND


def kernel_cpu_seconds():
    """Time of the kernel's own threads: the journal and the write-back that brokers cause but are not charged for."""
    stats = (_stat(path) for path in Path("/proc").glob("[0-9]*/stat"))
    return sum(int(stat[11]) + int(stat[12]) for stat in stats if stat and int(stat[1]) == KERNEL_THREADS_PARENT) / TICKS_PER_SECOND


def machine_cpu_seconds():
    """Time in which the machine's processors were not idle, time stolen by other guests included."""
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def own_cpu_seconds():
    """Time of this process and of its children that have ended: the load tool's."""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def resident_mib(pid):
    """Resident memory."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Meter:
    """Between its making and `read`: CPU seconds of the brokers, of the kernel's threads, and of whatever else disturbed the measurement."""

    def __init__(self, brokers):
        self.brokers, self.before = brokers, None
        self.before = self._now()

    def _now(self):
        return cpu_seconds(self.brokers), kernel_cpu_seconds(), own_cpu_seconds(), machine_cpu_seconds()

    def read(self):
        """The three figures, as a dictionary."""
        brokers, kernel, own, machine = (now - before for now, before in zip(self._now(), self.before, strict=True))
        return {"cpu_s": round(brokers, 2), "kernel_cpu_s": round(kernel, 2), "other_cpu_s": round(max(0.0, machine - brokers - kernel - own), 2)}
