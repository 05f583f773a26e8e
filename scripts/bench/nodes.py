"""Three nodes of ottla or of Apache Kafka on this machine, with the same verbs for both: what the measurements kill and start."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
STOP_SECONDS = 30


def await_line(path, process, begin):
    """The rest of the first line that begins so, once the process has written it to the file."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith(begin):
                return line.removeprefix(begin).strip()
        if process.poll() is not None:
            break
        time.sleep(0.005)
    raise RuntimeError(f"no line `{begin}`:\n{path.read_text(errors='replace')[-3000:]}")


def free_run(length):
    """The first of neighbouring free ports, below the range that the kernel hands out by itself."""
    while True:
        first = random.randrange(12000, 30000)
        try:
            for port in range(first, first + length):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first


class Ottla:
    """`ottla dev` with its data in a temporary folder."""

    name = "ottla"

    def __init__(self, binary, count, settings=()):
        self.binary, self.count, self.settings = binary, count, settings
        self.ports = free_run(count), free_run(count)
        self.folder = tempfile.TemporaryDirectory(prefix="ottla-bench-", ignore_cleanup_errors=True)
        self.data, self.output = Path(self.folder.name, "data"), Path(self.folder.name, "output")

    def prepare(self):
        """Nothing has to be there before the first start; returns the bootstrap list."""
        return ",".join(f"127.0.0.1:{self.ports[0] + node}" for node in range(self.count))

    def launch(self):
        """Starts all nodes and waits for nothing."""
        command = [self.binary, "dev", "--nodes", self.count, "--port", self.ports[0], "--admin-port", self.ports[1], "--data", self.data]
        command += [word for setting in self.settings for word in ("--set", setting)]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def up(self):
        """Starts all nodes; returns the bootstrap list."""
        self.launch()
        return await_line(self.output, self.process, "ready:")

    def pid(self, node):
        """A node's process id."""
        return int((self.data / f"node-{node}" / "ottla.pid").read_text())

    def kill(self, node):
        """SIGKILL; returns the moment of it."""
        moment, pid = time.monotonic(), self.pid(node)
        os.kill(pid, signal.SIGKILL)
        return moment

    def start(self, node):
        """A killed node again."""
        subprocess.run([self.binary, "dev", "restart", str(node), "--data", self.data], check=True, stdout=subprocess.DEVNULL)

    def crash(self):
        """SIGKILL to all nodes at once, and to their parent."""
        for path in self.data.glob("node-*/ottla.pid"):
            # One that has ended already has nothing to lose, and its number may be another's by now.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                pid = int(path.read_text())
                if str(self.data) in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def down(self, keep=False):
        """Ends all nodes; their data and output stay if they are to be looked at."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.crash()
        if keep:
            self.folder._finalizer.detach()
            print(f"data and output are kept in {self.folder.name}")
        else:
            self.folder.cleanup()


class Compose:
    """The compose cluster by scripts/cluster, in a project, with an image and on ports of its own."""

    name = "ottla in containers"

    def __init__(self):
        name, ports = f"ottla-chaos-{os.getpid()}", free_run(6)
        self.environment = {**os.environ, "CLUSTER_PROJECT": name, "CLUSTER_IMAGE": f"localhost/ottla:{name}"}
        for node in (1, 2, 3):
            self.environment[f"CLUSTER_PORT_{node}"] = str(ports + node - 1)
            self.environment[f"CLUSTER_ADMIN_PORT_{node}"] = str(ports + node + 2)

    def _drive(self, *words):
        command = [ROOT / "scripts" / "cluster", *(str(word) for word in words)]
        return subprocess.run(command, env=self.environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    def up(self):
        """Starts all containers; returns the bootstrap list."""
        return next(line for line in self._drive("up").splitlines() if line.startswith("bootstrap:")).split()[1]

    def kill(self, node):
        """SIGKILL; returns the moment when the engine was asked for it."""
        moment = time.monotonic()
        self._drive("kill", node)
        return moment

    def start(self, node):
        """A killed node again."""
        self._drive("restart", node)

    def down(self, keep=False):
        """Removes all containers and their data, unless they are to be looked at."""
        project = self.environment["CLUSTER_PROJECT"]
        if keep:
            print(f"the containers are kept: CLUSTER_PROJECT={project} scripts/cluster down")
            return
        self._drive("down")
        subprocess.run(["docker", "rmi", "-f", self.environment["CLUSTER_IMAGE"]], check=False, stdout=subprocess.DEVNULL)


class Kafka:
    """Apache Kafka by scripts/kafka-peer, in a folder of its own."""

    name = "kafka"

    def __init__(self, count, settings=()):
        self.count, self.settings = count, settings
        self.folder = Path(tempfile.gettempdir(), f"kafka-bench-{os.getpid()}-{count}")
        self.data = self.folder

    def _peer(self, *words):
        command = [ROOT / "scripts" / "kafka-peer", *(str(word) for word in words)]
        # The nodes inherit no pipe of ours, so its end is the script's end.
        return subprocess.run(command, env={**os.environ, "KAFKA_PEER_DIR": str(self.folder)}, check=True, stdout=subprocess.PIPE, text=True).stdout

    def prepare(self):
        """Formats the data directories, which Kafka wants done beforehand; returns the bootstrap list."""
        return self._peer("format", self.count, *self.settings).strip()

    def launch(self):
        """Starts all nodes and waits for nothing."""
        self._peer("start", *range(1, self.count + 1))

    def up(self):
        """Starts all nodes; returns the bootstrap list."""
        return self._peer("up", self.count, *self.settings).removeprefix("ready:").strip()

    def pid(self, node):
        """A node's process id."""
        return int((self.folder / f"node-{node}" / "pid").read_text())

    def kill(self, node):
        """SIGKILL; returns the moment of it."""
        moment, pid = time.monotonic(), self.pid(node)
        os.kill(pid, signal.SIGKILL)
        return moment

    def start(self, node):
        """A killed node again."""
        self._peer("start", node)

    def crash(self):
        """SIGKILL to all nodes at once."""
        for node in range(1, self.count + 1):
            self._peer("kill", node)

    def down(self, keep=False):
        """Ends all nodes and removes their data."""
        self._peer("stop")
