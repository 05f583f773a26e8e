"""The cluster under test: one that runs already (BOOTSTRAP=host:port,…) or an `ottla dev` of our own."""

import fnmatch
import os
import random
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import wait

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 20.0
START_ATTEMPTS = 3
# Short, so that tests see files go.
DELETE_DELAY_MS = 1000


@dataclass(frozen=True)
class Cluster:
    """What a test needs to know of a cluster. `data` is the folder with its files, where this machine has them."""

    bootstrap: str
    nodes: int
    data: Path | None
    # Where each node serves HTTP, of a cluster of our own.
    admin: tuple[str, ...] = ()

    @property
    def copies(self):
        """The replication factor that tests ask for."""
        return min(3, self.nodes)

    def folders(self, pattern):
        """The folders below `data` with such a name. What goes while we look is left out: `Path.glob` would fail on it."""
        return [Path(parent) / name for parent, names, _ in os.walk(self.data) for name in fnmatch.filter(names, pattern)]


def binary():
    """The `ottla` to test: OTTLA_BIN, or the newest that cargo has built."""
    named = os.environ.get("OTTLA_BIN")
    if named:
        return Path(named)
    built = [path for kind in ("release", "debug") if (path := ROOT / "target" / kind / "ottla").exists()]
    if not built:
        raise FileNotFoundError("no ottla: build it with cargo, or name it in OTTLA_BIN, or name a cluster in BOOTSTRAP")
    return max(built, key=lambda path: path.stat().st_mtime)


def running():
    """The cluster that the environment names, or None."""
    bootstrap = os.environ.get("BOOTSTRAP")
    if not bootstrap:
        return None
    data = os.environ.get("DATA_DIR")
    return Cluster(bootstrap, len(bootstrap.split(",")), Path(data) if data else None)


def _free_run(length):
    """The first of `length` neighbouring free ports, below the range that the kernel hands out by itself."""
    while True:
        first = random.randrange(12000, 30000)
        try:
            for port in range(first, first + length):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first


class Dev:
    """An `ottla dev` that this process started; its output goes to a file in its folder."""

    def __init__(self, nodes, **settings):
        self.nodes, self.settings = nodes, {"log.segment.delete.delay.ms": DELETE_DELAY_MS, **settings}
        self.folder = tempfile.TemporaryDirectory(prefix="ottla-clients-", ignore_cleanup_errors=True)
        self.output = Path(self.folder.name) / "output"
        self.process = None
        self.admin = ()

    def start(self):
        """Starts it and waits for its `ready:` line. Another run may take a port between our look and the start: then again."""
        for attempt in range(1, START_ATTEMPTS + 1):
            data = Path(self.folder.name) / f"data-{attempt}"
            self._spawn(data)
            ready = wait.until(lambda: self._ready() or self.process.poll() is not None, "ottla dev is ready", START_SECONDS)
            if isinstance(ready, str):
                return Cluster(ready, self.nodes, data, self.admin)
        raise AssertionError(f"ottla dev ended with {self.process.returncode}:\n{self.tail()}")

    def _spawn(self, data):
        port, admin_port = _free_run(self.nodes), _free_run(self.nodes)
        self.admin = tuple(f"http://127.0.0.1:{admin_port + node}" for node in range(self.nodes))
        command = [binary(), "dev", "--nodes", self.nodes, "--port", port, "--admin-port", admin_port, "--data", data]
        command += [word for name, value in self.settings.items() for word in ("--set", f"{name}={value}")]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def _ready(self):
        for line in self.output.read_text(errors="replace").splitlines():
            if line.startswith("ready:"):
                return line.removeprefix("ready:").strip()
        return None

    def kill(self, cluster, node):
        """SIGKILL to a node."""
        os.kill(int((cluster.data / f"node-{node}" / "ottla.pid").read_text()), signal.SIGKILL)

    def restart(self, cluster, node):
        """Starts a killed node again."""
        command = [str(binary()), "dev", "restart", str(node), "--data", str(cluster.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr

    def tail(self):
        """The end of its output, for a failure's message."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-40:])

    def stop(self, keep):
        """Ctrl-C, and SIGKILL to the whole group if that does not end it. Returns whether it ended by itself."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_SECONDS)
            ended = True
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            ended = False
        if keep:
            self.folder._finalizer.detach()
        else:
            self.folder.cleanup()
        return ended
