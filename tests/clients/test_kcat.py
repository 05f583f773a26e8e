"""kcat as Debian ships it (librdkafka 2.0.2, so also an older client): the tool that people reach for first."""

import json
import subprocess
import time

import pytest

import text
import wait

SECONDS = 60


@pytest.fixture
def run(kcat, cluster):
    """Runs kcat against the cluster and returns what it printed."""

    def run_kcat(*arguments, stdin=b"", bootstrap=cluster.bootstrap):
        command = [kcat, "-b", bootstrap, *(str(argument) for argument in arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    return run_kcat


def messages(run, topic, *arguments):
    """Every message from an offset to the end of partition 0, as kcat's JSON."""
    printed = run("-C", "-t", topic, "-p", 0, "-e", "-q", "-J", *(arguments or ("-o", "beginning")))
    return [json.loads(line) for line in printed.splitlines()]


@pytest.mark.parametrize("idempotent", ["false", "true"], ids=["plain", "idempotent"])
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_lines_come_back_through_every_codec(run, topics, codec, idempotent):
    topic, lines = topics.create("kcat"), text.lines(1000)
    sent = b"".join(line + b"\n" for line in lines)
    run("-P", "-t", topic, "-p", 0, "-z", codec, "-X", f"enable.idempotence={idempotent}", "-X", "linger.ms=5", stdin=sent)
    assert run("-C", "-t", topic, "-p", 0, "-o", "beginning", "-e", "-q") == sent


def test_keys_headers_and_tombstones_come_back(run, topics):
    topic = topics.create("kcat")
    run("-P", "-t", topic, "-p", 0, "-K", ":", "-H", "colour=blue", "-H", "colour=red", stdin=b"a:1\nb:2\n")
    run("-P", "-t", topic, "-p", 0, "-K", ":", "-Z", stdin=b"a:\n")
    read = messages(run, topic)
    assert [(message["key"], message["payload"]) for message in read] == [("a", "1"), ("b", "2"), ("a", None)]
    assert read[0]["headers"] == ["colour", "blue", "colour", "red"]


def test_reading_starts_at_offsets_and_before_the_end(run, topics):
    topic = topics.create("kcat")
    run("-P", "-t", topic, "-p", 0, stdin=b"".join(b"%d\n" % number for number in range(100)))
    assert [message["offset"] for message in messages(run, topic, "-o", 97)] == [97, 98, 99]
    assert [message["offset"] for message in messages(run, topic, "-o", -2)] == [98, 99]
    assert messages(run, topic, "-o", "end") == []


def test_reading_starts_at_a_timestamp(run, topics):
    topic = topics.create("kcat")
    run("-P", "-t", topic, "-p", 0, stdin=b"early\n")
    first = messages(run, topic)[0]["ts"]
    wait.until(lambda: int(time.time() * 1000) > first, "the next millisecond")
    run("-P", "-t", topic, "-p", 0, stdin=b"late\n")
    assert [message["payload"] for message in messages(run, topic, "-o", f"s@{first + 1}")] == ["late"]
    assert run("-Q", "-t", f"{topic}:0:{first + 1}").decode().split()[-1] == "1"


def test_a_megabyte_on_one_line_passes(run, topics):
    topic, line = topics.create("kcat"), text.noise(500_000).hex().encode()[:999_000]
    run("-P", "-t", topic, "-p", 0, "-D", "\n", "-X", "message.max.bytes=1048588", stdin=line + b"\n")
    assert run("-C", "-t", topic, "-p", 0, "-o", "beginning", "-e", "-q") == line + b"\n"


def test_the_listing_shows_brokers_topic_and_leaders(run, cluster, topics):
    topic = topics.create("kcat", partitions=3)
    listing = json.loads(run("-L", "-J", "-t", topic))
    assert {broker["name"] for broker in listing["brokers"]} == set(cluster.bootstrap.split(","))
    partitions = listing["topics"][0]["partitions"]
    assert [partition["partition"] for partition in partitions] == [0, 1, 2]
    assert all(len(partition["replicas"]) == cluster.copies for partition in partitions)


def test_every_broker_takes_and_gives_records(run, cluster, topics):
    topic = topics.create("kcat", partitions=3)
    for address in cluster.bootstrap.split(","):
        for partition in range(3):
            run("-P", "-t", topic, "-p", partition, stdin=f"{address}\n".encode(), bootstrap=address)
    for address in cluster.bootstrap.split(","):
        read = run("-C", "-t", topic, "-o", "beginning", "-e", "-q", bootstrap=address).decode().split()
        assert sorted(read) == sorted(cluster.bootstrap.split(",") * 3)
