"""Very many members of groups in one process, each on a connection of its own as consumers are: they join, are given what they read,
beat, and commit. By the classic protocol (JoinGroup 5, SyncGroup 3, Heartbeat 3) or by KIP-848 (ConsumerGroupHeartbeat 0).
"""

import asyncio
import struct
from dataclasses import dataclass, field

import wire
from wire import Reader, compact_array, compact_text, text

HEARTBEAT_SECONDS, COMMIT_SECONDS, LATER_SECONDS = 3, 5, 0.2
SESSION_MS, REBALANCE_MS = 45_000, 300_000
MEMBER_ID_REQUIRED, REBALANCE_IN_PROGRESS = 79, 27
# What a coordinator answers while it is not one yet.
LATER = {14, 15, 16}
NO_TAGS = b"\0"


@dataclass
class Tally:
    """What all members saw."""

    beats: int = 0
    commits: int = 0
    faults: dict = field(default_factory=dict)

    def note(self, what, error):
        self.faults[f"{what}: error {error}"] = self.faults.get(f"{what}: error {error}", 0) + 1


class Member:
    """What both protocols share: a connection to the coordinator, a turn of beats, and commits."""

    def __init__(self, group, topic, tally):
        self.group, self.topic, self.tally = group, topic, tally
        self.id, self.generation, self.partitions, self.offset = "", -1, [], 0
        self.beat_seconds = HEARTBEAT_SECONDS

    async def ask(self, key, version, body, flexible=False):
        header = struct.pack(">hhi", key, version, 1) + text("crowd") + NO_TAGS * flexible
        self.writer.write(struct.pack(">i", len(header) + len(body)) + header + body)
        (length,) = struct.unpack(">i", await self.reader.readexactly(4))
        return Reader((await self.reader.readexactly(length))[4 + flexible :])

    async def live(self, address, delay):
        """Joins after so many seconds and stays until it is cancelled."""
        await asyncio.sleep(delay)
        self.reader, self.writer = await asyncio.open_connection(*address)
        try:
            await self.join()
            commits_at = asyncio.get_running_loop().time() + delay % COMMIT_SECONDS
            while True:
                await asyncio.sleep(self.beat_seconds)
                await self.beat()
                self.tally.beats += 1
                if self.partitions and asyncio.get_running_loop().time() >= commits_at:
                    commits_at += COMMIT_SECONDS
                    await self.commit()
        finally:
            self.writer.close()

    async def commit(self):
        """OffsetCommit 9 of all that it reads."""
        self.offset += 1
        rows = [struct.pack(">iqi", partition, self.offset, -1) + compact_text("") + NO_TAGS for partition in self.partitions]
        topics = [compact_text(self.topic) + compact_array(rows) + NO_TAGS]
        body = compact_text(self.group) + struct.pack(">i", self.generation) + compact_text(self.id) + compact_text(None)
        answer = await self.ask(wire.OFFSET_COMMIT, 9, body + compact_array(topics) + NO_TAGS, flexible=True)
        answer.take("i")
        one = lambda: (answer.take("i"), answer.take("h"), answer.tags())
        for _, rows, _ in answer.compact_array(lambda: (answer.compact_text(), answer.compact_array(one), answer.tags())):
            for _, error, _ in rows:
                if error:
                    self.tally.note("commit", error)
        self.tally.commits += 1


class Classic(Member):
    """A member whose leader gives each member a partition."""

    async def join(self):
        subscription = struct.pack(">hi", 0, 1) + text(self.topic) + struct.pack(">i", -1)
        while True:
            body = text(self.group) + struct.pack(">ii", SESSION_MS, REBALANCE_MS) + text(self.id) + wire.NO_TEXT + text("consumer")
            body += struct.pack(">i", 1) + text("range") + struct.pack(">i", len(subscription)) + subscription
            answer = await self.ask(wire.JOIN_GROUP, 5, body)
            answer.take("i")
            error, self.generation, _, leader, self.id = answer.take("h"), answer.take("i"), answer.text(), answer.text(), answer.text()
            if error in LATER:
                await asyncio.sleep(LATER_SECONDS)
            elif error and error != MEMBER_ID_REQUIRED:
                self.tally.note("join", error)
                await asyncio.sleep(LATER_SECONDS)
            elif not error and await self.sync(leader == self.id and answer.array(lambda: (answer.text(), answer.text(), answer.bytes()))):
                return

    async def sync(self, members):
        """Whether it was given something to read."""
        shares = []
        for partition, (member, _, _) in enumerate(sorted(members or ())):
            share = struct.pack(">hi", 0, 1) + text(self.topic) + struct.pack(">iii", 1, partition, -1)
            shares.append(text(member) + struct.pack(">i", len(share)) + share)
        body = text(self.group) + struct.pack(">i", self.generation) + text(self.id) + wire.NO_TEXT
        answer = await self.ask(wire.SYNC_GROUP, 3, body + struct.pack(">i", len(shares)) + b"".join(shares))
        answer.take("i")
        if error := answer.take("h"):
            if error != REBALANCE_IN_PROGRESS:
                self.tally.note("sync", error)
            return False
        share = Reader(answer.bytes())
        share.take("h")
        ((_, self.partitions),) = share.array(lambda: (share.text(), share.array(lambda: share.take("i"))))
        return True

    async def beat(self):
        body = text(self.group) + struct.pack(">i", self.generation) + text(self.id) + wire.NO_TEXT
        answer = await self.ask(wire.HEARTBEAT, 3, body)
        answer.take("i")
        if error := answer.take("h"):
            if error != REBALANCE_IN_PROGRESS:
                self.tally.note("beat", error)
            self.partitions = []
            await self.join()


class Consumer(Member):
    """A member to which the coordinator gives its partitions (KIP-848)."""

    async def join(self):
        self.generation, self.owned = 0, []
        await self.beat()

    async def beat(self):
        is_new = self.generation == 0
        body = compact_text(self.group) + compact_text(self.id) + struct.pack(">i", self.generation) + compact_text(None) + compact_text(None)
        body += struct.pack(">i", REBALANCE_MS if is_new else -1)
        body += compact_array([compact_text(self.topic)] if is_new else None) + compact_text(None) + compact_array(self.owned) + NO_TAGS
        answer = await self.ask(wire.CONSUMER_GROUP_HEARTBEAT, 0, body, flexible=True)
        answer.take("i")
        error, _ = answer.take("h"), answer.compact_text()
        if error:
            if error not in LATER:
                self.tally.note("beat", error)
            self.generation, self.owned, self.partitions, self.beat_seconds = 0, [], [], LATER_SECONDS
            return
        self.id, self.generation = answer.compact_text(), answer.take("i")
        self.beat_seconds, self.owned = answer.take("i") / 1000, None
        if answer.take("b") >= 0:
            one = lambda: (answer.raw(16), answer.compact_array(lambda: answer.take("i")), answer.tags())
            topics = answer.compact_array(one)
            self.partitions = [partition for _, partitions, _ in topics for partition in partitions]
            # It says that it reads them, as the protocol wants.
            self.owned = [topic + compact_array([struct.pack(">i", p) for p in partitions]) + NO_TAGS for topic, partitions, _ in topics]


class Crowd:
    """The members of all groups, joining over so many seconds."""

    def __init__(self, kind, groups, size, topic):
        self.tally = Tally()
        self.members = [kind(group, topic, self.tally) for group in groups for _ in range(size)]

    def start(self, address_of, over_seconds):
        count = len(self.members)
        lives = (member.live(address_of(member.group), over_seconds * number / count) for number, member in enumerate(self.members))
        self.tasks = [asyncio.create_task(life) for life in lives]

    def settled(self):
        """How many read one partition each."""
        self.fail_early()
        return sum(len(member.partitions) == 1 for member in self.members)

    def fail_early(self):
        for task in self.tasks:
            if task.done():
                task.result()

    async def stop(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
