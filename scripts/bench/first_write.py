"""How soon a starting cluster acknowledges a write: asks again every two milliseconds, where a real client's back-off would round the figure up.

The least of the protocol, in versions without tagged fields: CreateTopics 4, Metadata 4, Produce 7.
"""

import struct
import time

from kafka.record import MemoryRecordsBuilder
from wire import NotYet, ask, text

PAUSE_SECONDS = 0.002
FIRST_WRITE_SECONDS_MAX = 120
TOPIC_EXISTS = 36
PRODUCE, METADATA, CREATE_TOPICS = 0, 3, 19


def create(address, topic):
    """One partition, with the cluster's default of replicas."""
    body = struct.pack(">i", 1) + text(topic) + struct.pack(">ihii", 1, -1, 0, 0) + struct.pack(">i?", 10_000, False)
    answer = ask(address, CREATE_TOPICS, 4, body)
    answer.take("i")
    for _, error, message in answer.array(lambda: (answer.text(), answer.take("h"), answer.text())):
        if error not in (0, TOPIC_EXISTS):
            raise NotYet(f"create: error {error}: {message}")


def leader(address, topic):
    """Where partition 0 is led."""
    answer = ask(address, METADATA, 4, struct.pack(">i", 1) + text(topic) + struct.pack(">?", False))
    answer.take("i")
    brokers = {node: (host, port) for node, host, port, _ in answer.array(lambda: [answer.take("i"), answer.text(), answer.take("i"), answer.text()])}
    answer.text(), answer.take("i")

    def partition():
        error, _, node = answer.take("h"), answer.take("i"), answer.take("i")
        answer.array(lambda: answer.take("i")), answer.array(lambda: answer.take("i"))
        return error, node

    for error, _, _, partitions in answer.array(lambda: (answer.take("h"), answer.text(), answer.take("?"), answer.array(partition))):
        if error or not partitions or partitions[0][1] not in brokers:
            raise NotYet(f"metadata: error {error}, partitions {partitions}")
        return brokers[partitions[0][1]]
    raise NotYet("metadata: no such topic")


def write(address, topic):
    """One record, acks=all."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=1 << 16)
    builder.append(timestamp=int(time.time() * 1000), key=None, value=b"first")
    builder.close()
    records = bytes(builder.buffer())
    body = struct.pack(">hhii", -1, -1, 10_000, 1) + text(topic) + struct.pack(">iii", 1, 0, len(records)) + records
    answer = ask(address, PRODUCE, 7, body)
    answer.take("i"), answer.text(), answer.take("i"), answer.take("i")
    error = answer.take("h")
    if error:
        raise NotYet(f"produce: error {error}")


def first_write(bootstrap, topic):
    """Returns when a write to the topic, which is created if it is not there, has been acknowledged."""
    host, port = bootstrap.split(",")[0].split(":")
    end, created = time.monotonic() + FIRST_WRITE_SECONDS_MAX, False
    while True:
        try:
            if not created:
                create((host, int(port)), topic)
                created = True
            return write(leader((host, int(port)), topic), topic)
        except NotYet as reason:
            if time.monotonic() > end:
                raise RuntimeError(f"no write after {FIRST_WRITE_SECONDS_MAX} s: {reason}") from reason
        time.sleep(PAUSE_SECONDS)
