"""Record values that look like what people send: lines of words, compressible but never equal."""

import os
import random

WORDS = """the partition leader appends a batch and waits until every in sync follower has flushed it before the producer
hears that its record is safe while consumers read only below the high watermark of that log""".split()


def lines(count, seed=1):
    """`count` different lines as bytes; the same for the same seed."""
    source = random.Random(seed)
    return [f"{number} {' '.join(source.choices(WORDS, k=12))}".encode() for number in range(count)]


def noise(size):
    """Bytes that no codec makes smaller."""
    return os.urandom(size)
