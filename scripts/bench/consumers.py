"""Consumers of librdkafka, each polled by a thread of its own, and what they have been given so far."""

import threading
import time

from confluent_kafka import Consumer

POLL_SECONDS = 0.01


class Reading(threading.Thread):
    """One consumer, from its subscription to its leaving."""

    def __init__(self, settings, topic):
        super().__init__(daemon=True)
        self.consumer, self.topic, self.ending, self.count = Consumer(settings), topic, threading.Event(), 0
        self.incremental = settings.get("group.protocol") == "consumer"
        self.start()

    def _given(self, _, partitions):
        self.count = len(partitions) + (self.count if self.incremental else 0)

    def _taken(self, _, partitions):
        self.count = self.count - len(partitions) if self.incremental else 0

    def run(self):
        self.consumer.subscribe([self.topic], on_assign=self._given, on_revoke=self._taken)
        while not self.ending.is_set():
            self.consumer.poll(POLL_SECONDS)
        self.consumer.close()


class Consumers:
    """The members of one group."""

    def __init__(self, bootstrap, group, topic, **settings):
        self.settings = {"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0, **settings}
        self.topic, self.members = topic, []

    def join(self, count):
        """So many more."""
        self.members += [Reading(self.settings, self.topic) for _ in range(count)]

    def until_shared(self, partitions, seconds):
        """Waits until all partitions are read, by each as many as by the next; returns the moment."""
        end = time.monotonic() + seconds
        while sorted(counts := [member.count for member in self.members]) != shares(partitions, len(self.members)):
            if time.monotonic() > end:
                raise RuntimeError(f"{partitions} partitions are not shared after {seconds} s: {counts}")
            time.sleep(0.001)
        return time.monotonic()

    def leave(self):
        """All of them."""
        for member in self.members:
            member.ending.set()
        for member in self.members:
            member.join()


def shares(partitions, members):
    """As even as it goes, the least first."""
    least, more = divmod(partitions, members)
    return [least] * (members - more) + [least + 1] * more
