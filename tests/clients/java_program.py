"""Running Java: our checks, each compiled into target/ once for each of its versions, and main classes of Apache Kafka's own."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import cluster as clusters

SOURCES = clusters.ROOT / "tests" / "clients" / "java"
SECONDS = 180
# A tool lives for a second: the first compiler tier and the simple collector start fastest.
OPTIONS = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={SOURCES}/log4j2.xml"]


def run(path, main, *arguments, stdin=""):
    """Runs a main class to its end; returns its exit code, output and errors."""
    command = ["java", *OPTIONS, "-cp", path, main, *(str(argument) for argument in arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=SECONDS)


def compiled(jars, name):
    """The folder of a source's classes. It appears by a rename, whole, so that two runs at once do no harm."""
    source = SOURCES / f"{name}.java"
    classes = clusters.ROOT / "target" / "client-checks" / hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    if classes.exists():
        return classes
    classes.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=classes.parent))
    command = ["javac", "-Xlint:all,-processing", "-Werror", "-d", made, "-cp", f"{jars}/*", source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        os.rename(made, classes)
    except OSError:
        shutil.rmtree(made)
    return classes
