"""Debian's Burrow, which reads `__consumer_offsets` by itself, and its ZooKeeper: it shows every group's lag.

It knows nothing of members: like Kafka since 2.3, we write these in a version that it does not read."""

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import groups
import wait

ZOOKEEPER = Path("/usr/share/java/zookeeper.jar")
SECONDS = 60
TOPIC_REFRESH_SECONDS = 2

CONFIG = """
[general]
pidfile="{folder}/burrow.pid"
[logging]
filename="{folder}/burrow.log"
level="info"
[zookeeper]
servers=["127.0.0.1:{zookeeper}"]
timeout=6
root-path="/burrow"
[client-profile.test]
client-id="burrow-test"
kafka-version="2.1.0"
[cluster.local]
class-name="kafka"
servers=[{servers}]
client-profile="test"
topic-refresh={refresh}
offset-refresh=1
[consumer.local]
class-name="kafka"
cluster="local"
servers=[{servers}]
client-profile="test"
start-latest=false
[httpserver.default]
address="127.0.0.1:{port}"
[storage.default]
class-name="inmemory"
workers=4
intervals=10
expire-group=604800
min-distance=0
"""

pytestmark = pytest.mark.once


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def programs(tmp_path):
    """Starts programs, their output in files, and ends them after the test."""
    started = []

    def start(name, *command):
        with (tmp_path / f"{name}.out").open("wb") as output:
            started.append(subprocess.Popen([str(word) for word in command], stdout=output, stderr=output, cwd=tmp_path))

    yield start
    for one in reversed(started):
        one.kill()
        one.wait()


@pytest.fixture
def burrow(cluster, programs, tmp_path):
    """Asks Burrow: a path below its cluster, to what it says there; None while it says nothing."""
    if not shutil.which("Burrow") or not ZOOKEEPER.exists() or not shutil.which("java"):
        pytest.skip("Burrow or ZooKeeper is not installed (scripts/client-env burrow)")
    port, zookeeper = free_port(), free_port()
    (tmp_path / "zoo.cfg").write_text(
        f"tickTime=500\ndataDir={tmp_path}/zookeeper\nclientPort={zookeeper}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\n"
    )
    servers = ", ".join(f'"{address}"' for address in cluster.bootstrap.split(","))
    config = CONFIG.format(folder=tmp_path, zookeeper=zookeeper, servers=servers, refresh=TOPIC_REFRESH_SECONDS, port=port)
    (tmp_path / "burrow.toml").write_text(config)
    programs("zookeeper", "java", "-Xmx128m", "-cp", ZOOKEEPER, "org.apache.zookeeper.server.quorum.QuorumPeerMain", tmp_path / "zoo.cfg")
    wait.until(lambda: answers(zookeeper), "ZooKeeper answers", SECONDS)
    programs("burrow", "Burrow", "-config-dir", tmp_path)

    def ask(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v3/kafka/local{path}", timeout=10) as answer:
                return json.loads(answer.read())
        except (urllib.error.URLError, ConnectionError):
            return None

    return ask


def answers(port):
    """Whether ZooKeeper serves; it listens before."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection, connection.makefile("rb") as answer:
            connection.sendall(b"srvr")
            return answer.readline().startswith(b"Zookeeper version")
    except OSError:
        return False


def test_burrow_shows_the_lag_of_every_partition(cluster, topics, burrow):
    topic, group = topics.create("burrow", partitions=2), groups.Group(cluster)
    groups.fill(cluster, topic, 2, 30)
    member = group.join([topic])
    group.until(lambda: group.has_read(topic, 2, 30), "everything is read and committed")
    group.leave(member)
    groups.fill(cluster, topic, 1, 12)

    def lags():
        told = burrow(f"/consumer/{group.name}/lag")
        parts = told["status"]["partitions"] if told else []
        return {(part["topic"], part["partition"]): (part["end"]["offset"], part["current_lag"]) for part in parts if part["end"]}

    expected = {(topic, 0): (30, 12), (topic, 1): (30, 0)}
    wait.until(lambda: lags() == expected, "the lag of each partition", SECONDS)
    assert group.name in burrow("/consumer")["consumers"]
    # What is committed while it looks on.
    member = group.join([topic])
    group.until(lambda: group.has_read(topic, 1, 42), "the rest is read and committed")
    wait.until(lambda: lags() == {(topic, 0): (42, 0), (topic, 1): (30, 0)}, "no lag", SECONDS)
    group.leave(member)
    topics.admin.delete_consumer_groups([group.name])[group.name].result(groups.SECONDS)
