"""The least of Kafka's wire protocol for measurements: requests as bytes, answers read off the front."""

import socket
import struct

SOCKET_SECONDS = 5
OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, SYNC_GROUP = 8, 9, 10, 11, 12, 14
CONSUMER_GROUP_HEARTBEAT = 68
NO_TEXT = struct.pack(">h", -1)


class NotYet(Exception):
    """An answer that a client meets with another try."""


class Reader:
    """Takes values off the front of a response."""

    def __init__(self, content):
        self.content, self.at = content, 0

    def take(self, layout):
        value, = struct.unpack_from(f">{layout}", self.content, self.at)
        self.at += struct.calcsize(f">{layout}")
        return value

    def text(self):
        length = self.take("h")
        self.at += max(length, 0)
        return self.content[self.at - length : self.at].decode() if length >= 0 else None

    def raw(self, length):
        self.at += length
        return self.content[self.at - length : self.at]

    def bytes(self):
        return self.raw(max(self.take("i"), 0))

    def array(self, one):
        return [one() for _ in range(self.take("i"))]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take("B")
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def compact_text(self):
        length = self.varint() - 1
        self.at += max(length, 0)
        return self.content[self.at - length : self.at].decode() if length >= 0 else None

    def compact_array(self, one):
        return [one() for _ in range(self.varint() - 1)]

    def tags(self):
        for _ in range(self.varint()):
            self.varint()
            self.at += self.varint()


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def varint(value):
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def compact_text(value):
    return varint(0) if value is None else varint(len(value) + 1) + value.encode()


def compact_array(items):
    return varint(0) if items is None else varint(len(items) + 1) + b"".join(items)


def ask(address, key, version, body):
    """One request on a connection of its own."""
    header = struct.pack(">hhi", key, version, 1) + text("bench")
    try:
        with socket.create_connection(address, SOCKET_SECONDS) as stream:
            # Whoever dials a free port often enough is given it as its own.
            if stream.getsockname() == stream.getpeername():
                raise NotYet("connected to itself")
            stream.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
            with stream.makefile("rb") as answers:
                length, _ = struct.unpack(">ii", answers.read(8))
                return Reader(answers.read(length - 4))
    except (OSError, struct.error) as error:
        raise NotYet(str(error)) from error


def address(listed):
    """Of `host:port`."""
    host, port = listed.split(":")
    return host, int(port)


def coordinator(bootstrap, group):
    """The address of a group's coordinator, asked of whoever answers first."""
    reason = NotYet("nobody to ask")
    for listed in bootstrap.split(","):
        try:
            answer = ask(address(listed), FIND_COORDINATOR, 1, text(group) + struct.pack(">b", 0))
            answer.take("i")
            error, _, _ = answer.take("h"), answer.text(), answer.take("i")
            if not error:
                return answer.text(), answer.take("i")
            reason = NotYet(f"coordinator: error {error}")
        except NotYet as cause:
            reason = cause
    raise reason


def commit(bootstrap, group, topic, offset):
    """Commits an offset for partition 0 by nobody's member."""
    body = text(group) + struct.pack(">i", -1) + text("") + NO_TEXT + struct.pack(">i", 1) + text(topic)
    body += struct.pack(">iiqi", 1, 0, offset, -1) + text("")
    answer = ask(coordinator(bootstrap, group), OFFSET_COMMIT, 7, body)
    answer.take("i")
    ((_, ((_, error),)),) = answer.array(lambda: (answer.text(), answer.array(lambda: (answer.take("i"), answer.take("h")))))
    if error:
        raise NotYet(f"commit: error {error}")


def committed(bootstrap, group, topic):
    """The committed offset of partition 0, or -1."""
    answer = ask(coordinator(bootstrap, group), OFFSET_FETCH, 5, text(group) + struct.pack(">i", 1) + text(topic) + struct.pack(">ii", 1, 0))
    answer.take("i")
    one = lambda: (answer.take("i"), answer.take("q"), answer.take("i"), answer.text(), answer.take("h"))
    topics, error = answer.array(lambda: (answer.text(), answer.array(one))), answer.take("h")
    if error:
        raise NotYet(f"fetch: error {error}")
    ((_, ((_, offset, _, _, error),)),) = topics
    if error:
        raise NotYet(f"fetch: error {error}")
    return offset


def partition_of(group, partitions=50):
    """Which partition of `__consumer_offsets` keeps a group: Java's hash of its name, its sign taken off."""
    value = 0
    for character in group:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    # Of the least number there is, which has no positive one, Java makes 0.
    return min(value, 2**32 - value) % 2**31 % partitions
