"""Fixtures: the cluster under test, once for each number of nodes, and topics of a test's own."""

import os
import shutil
from pathlib import Path

import pytest

import cluster as clusters
from topics import Topics

JARS = clusters.ROOT / "target" / "kafka-jars"


def pytest_generate_tests(metafunc):
    """Each test runs against every size of cluster in NODES, one marked `once` against the last of them; or once against the
    cluster that BOOTSTRAP names."""
    if "cluster" not in metafunc.fixturenames:
        return
    if clusters.running():
        sizes = [None]
    else:
        sizes = [int(size) for size in os.environ.get("NODES", "1,3").split(",")]
    if metafunc.definition.get_closest_marker("once"):
        sizes = sizes[-1:]
    names = ["running" if size is None else f"{size}-node" for size in sizes]
    metafunc.parametrize("cluster", sizes, ids=names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def cluster(request):
    """A cluster that answers. Its files are kept when a test failed."""
    if request.param is None:
        yield clusters.running()
        return
    dev = clusters.Dev(request.param)
    try:
        yield dev.start()
    finally:
        keep = request.session.testsfailed > 0
        tail = dev.tail()
        ended = dev.stop(keep)
        if keep:
            print(f"\nottla dev's files are kept in {dev.folder.name}; the end of its output:\n{tail}")
    assert ended, f"ottla dev did not stop on SIGINT within {clusters.STOP_SECONDS:.0f} s"


@pytest.fixture
def topics(cluster):
    """Makes topics and deletes them after the test."""
    made = Topics(cluster)
    yield made
    made.remove_all()


@pytest.fixture(scope="session")
def kcat():
    """The path of kcat, under either of its names."""
    found = shutil.which("kcat") or shutil.which("kafkacat")
    if not found:
        pytest.skip("kcat is not installed (scripts/client-env kcat)")
    return found


@pytest.fixture(scope="session")
def jars() -> Path:
    """The folder of Apache Kafka's jars."""
    if not (JARS / "pom.xml").exists() or not shutil.which("java"):
        pytest.skip("Kafka's jars or Java are missing (scripts/client-env jars)")
    return JARS
