"""What one broker, and no other, says of all topics. A client asks whichever broker it likes, so this speaks to the socket itself."""

import socket
import struct

METADATA, VERSION = 3, 1
SECONDS = 10


class _Reader:
    def __init__(self, content):
        self.content, self.place = content, 0

    def take(self, form):
        (value,) = struct.unpack_from(form, self.content, self.place)
        self.place += struct.calcsize(form)
        return value

    def text(self):
        length = self.take(">h")
        if length < 0:
            return None
        self.place += length
        return self.content[self.place - length : self.place].decode()

    def array(self, item):
        return [item() for _ in range(self.take(">i"))]

    def number(self):
        return self.take(">i")


def leaders(address):
    """For each topic that the broker at `host:port` knows: the leader of each partition, by its index; -1 where it knows none."""
    host, port = address.rsplit(":", 1)
    # Header: key, version, correlation id, no client id. Body: a null array, which asks for every topic.
    request = struct.pack(">hhihi", METADATA, VERSION, 0, -1, -1)
    with socket.create_connection((host, int(port)), SECONDS) as connection, connection.makefile("rb") as answer:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", answer.read(4))
        reader = _Reader(answer.read(size))
    reader.number()
    reader.array(lambda: (reader.number(), reader.text(), reader.number(), reader.text()))
    reader.number()
    return dict(reader.array(lambda: _topic(reader)))


def _topic(reader):
    reader.take(">h")
    name = reader.text()
    reader.take(">?")
    return name, dict(reader.array(lambda: _partition(reader)))


def _partition(reader):
    reader.take(">h")
    index, leader = reader.number(), reader.number()
    reader.array(reader.number)
    reader.array(reader.number)
    return index, leader
