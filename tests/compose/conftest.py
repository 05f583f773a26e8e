"""The cluster of docker-compose.yml, with a project, an image and ports of this run's own."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "clients"))


@dataclass(frozen=True)
class ComposeCluster:
    """A running compose cluster and the script that drives it."""

    ports: list
    environment: dict

    @property
    def addresses(self):
        """Where the host reaches each node, in the order of their numbers."""
        return [f"127.0.0.1:{port}" for port in self.ports]

    @property
    def bootstrap(self):
        """The bootstrap list."""
        return ",".join(self.addresses)

    def drive(self, *words):
        """Runs scripts/cluster, for example drive("kill", 2)."""
        command = [ROOT / "scripts" / "cluster", *(str(word) for word in words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _free_ports(count):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture(scope="module", params=[[], ["--split"]], ids=["combined", "split"])
def cluster(request):
    """Three nodes, each a controller and a broker; then three controllers and three brokers."""
    name, ports = f"ottla-test-{os.getpid()}", _free_ports(6)
    environment = {**os.environ, "CLUSTER_PROJECT": name, "CLUSTER_IMAGE": f"localhost/ottla:{name}"}
    for node in (1, 2, 3):
        environment[f"CLUSTER_PORT_{node}"] = str(ports[node - 1])
        environment[f"CLUSTER_ADMIN_PORT_{node}"] = str(ports[node + 2])
    compose = ComposeCluster(ports[:3], environment)
    try:
        compose.drive("up", *request.param)
        yield compose
    finally:
        compose.drive("down")
        subprocess.run(["docker", "image", "rm", "-f", environment["CLUSTER_IMAGE"]], capture_output=True)
