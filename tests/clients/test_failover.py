"""A killed leader under load loses nothing: a short run of scripts/bench/failover, which starts a cluster of its own."""

import os
import subprocess

import cluster as clusters
import pytest

SECONDS = 300


@pytest.mark.skipif(clusters.running() is not None, reason="kills nodes, so it runs against its own ottla dev only")
def test_kills_of_leader_and_controller_lose_and_double_nothing():
    command = [clusters.ROOT / "scripts" / "bench" / "failover", "--kills", "2", "--megabytes", "1"]
    environment = {**os.environ, "OTTLA_BIN": str(clusters.binary())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
