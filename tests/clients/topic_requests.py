"""CreateTopics and DeleteTopics as no client library sends them: a topic twice, in two ways, or not at all."""

import socket
import struct

CREATE, CREATE_VERSION = 19, 4
DELETE, DELETE_VERSION = 20, 6
TIMEOUT_MS = 10_000
SECONDS = 20
NO_ID = bytes(16)


def create(address, names):
    """Asks for topics of these names with every default; the answers, in their order, as (name, error code)."""
    topics = b"".join(_text(name) + struct.pack(">ihii", -1, -1, 0, 0) for name in names)
    body = struct.pack(">i", len(names)) + topics + struct.pack(">i?", TIMEOUT_MS, False)
    answer = _ask(address, struct.pack(">hhih", CREATE, CREATE_VERSION, 0, -1) + body)
    answers, place = [], 12
    for _ in range(struct.unpack_from(">i", answer, 8)[0]):
        name, place = _read_text(answer, place)
        (code,) = struct.unpack_from(">h", answer, place)
        _, place = _read_text(answer, place + 2)
        answers.append((name, code))
    return answers


def delete(address, topics):
    """Asks to delete topics given as (name or None, id); the answers, in no order, as a sorted list of (name, id, error code)."""
    entries = b"".join(_short_text(name) + topic_id + b"\0" for name, topic_id in topics)
    body = bytes([len(topics) + 1]) + entries + struct.pack(">ib", TIMEOUT_MS, 0)
    answer = _ask(address, struct.pack(">hhihb", DELETE, DELETE_VERSION, 0, -1, 0) + body)
    answers, place = [], 10
    for _ in range(answer[9] - 1):
        name, place = _read_short_text(answer, place)
        topic_id, (code,) = answer[place : place + 16], struct.unpack_from(">h", answer, place + 16)
        _, place = _read_short_text(answer, place + 18)
        place += 1
        answers.append((name, topic_id, code))
    return sorted(answers, key=lambda found: (found[0] or "", found[1:]))


def _ask(address, request):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), SECONDS) as connection, connection.makefile("rb") as answer:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", answer.read(4))
        return answer.read(size)


def _text(text):
    return struct.pack(">h", len(text)) + text.encode()


def _short_text(text):
    return b"\0" if text is None else bytes([len(text) + 1]) + text.encode()


def _read_text(answer, place):
    (length,) = struct.unpack_from(">h", answer, place)
    return _cut(answer, place + 2, length)


def _read_short_text(answer, place):
    return _cut(answer, place + 1, answer[place] - 1)


def _cut(answer, place, length):
    return (None, place) if length < 0 else (answer[place : place + length].decode(), place + length)
