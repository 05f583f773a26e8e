"""Apache Kafka's Java client: one process runs the checks of ClientChecks.java, each is a test here."""

import os
import re

import pytest

import java_program

NAMES = re.findall(r'^\s+check\("(\w+)"', (java_program.SOURCES / "ClientChecks.java").read_text(), re.MULTILINE)


@pytest.fixture(scope="session")
def verdicts(cluster, jars):
    """What each check printed, by its name; and all output, for the message of a failure."""
    path = f"{java_program.compiled_checks(jars)}{os.pathsep}{jars}/*"
    done = java_program.run(path, "ClientChecks", cluster.bootstrap, cluster.nodes)
    found = dict(re.findall(r"^(?:ok|failed) (\w+)(.*)$", done.stdout, re.MULTILINE))
    return found, done.stdout[-4000:] + done.stderr[-12000:]


@pytest.mark.parametrize("name", NAMES)
def test_java_client(verdicts, name):
    found, output = verdicts
    assert name in found, f"no verdict:\n{output}"
    assert found[name] == "", f"{found[name]}\n{output}"
