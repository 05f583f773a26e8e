"""Apache Kafka's Java client: one process runs the checks of ClientChecks.java, one those of GroupChecks.java; each is a test here."""

import os
import re

import pytest

import java_program


def names(program):
    return re.findall(r'^\s+check\("(\w+)"', (java_program.SOURCES / f"{program}.java").read_text(), re.MULTILINE)


def run(program, cluster, jars):
    """What each check printed, by its name; and all output, for the message of a failure."""
    path = f"{java_program.compiled(jars, program)}{os.pathsep}{jars}/*"
    done = java_program.run(path, program, cluster.bootstrap, cluster.nodes)
    found = dict(re.findall(r"^(?:ok|failed) (\w+)(.*)$", done.stdout, re.MULTILINE))
    return found, done.stdout[-4000:] + done.stderr[-12000:]


def judge(verdicts, name):
    found, output = verdicts
    assert name in found, f"no verdict:\n{output}"
    assert found[name] == "", f"{found[name]}\n{output}"


@pytest.fixture(scope="session")
def of_clients(cluster, jars):
    return run("ClientChecks", cluster, jars)


@pytest.fixture(scope="session")
def of_groups(cluster, jars):
    return run("GroupChecks", cluster, jars)


@pytest.mark.parametrize("name", names("ClientChecks"))
def test_java_client(of_clients, name):
    judge(of_clients, name)


@pytest.mark.parametrize("name", names("GroupChecks"))
def test_java_groups(of_groups, name):
    judge(of_groups, name)
