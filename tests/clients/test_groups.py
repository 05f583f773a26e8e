"""Consumer groups of the classic protocol with each Python client: members that come, go, crash and come back."""

import pytest

import groups
import group_members
import wait

EVERY_ASSIGNOR = [(client, assignor) for client, kind in group_members.CLIENTS.items() for assignor in kind.assignors]
PARTITIONS = 6
every_client = pytest.mark.parametrize("client", list(group_members.CLIENTS))


@pytest.fixture
def group_of(cluster):
    """Makes groups; their members leave after the test."""
    made = []

    def make(client):
        made.append(groups.Group(cluster, client))
        return made[-1]

    yield make
    for group in made:
        group.close()


@pytest.mark.parametrize("client,assignor", EVERY_ASSIGNOR)
def test_members_share_partitions_and_lose_nothing_as_they_come_and_go(cluster, topics, group_of, client, assignor):
    topic, group = topics.create("shared", partitions=PARTITIONS), group_of(client)
    groups.fill(cluster, topic, PARTITIONS, 50)
    first, second = (group.join([topic], assignor=assignor) for _ in range(2))
    group.until(lambda: group.shares(topic, PARTITIONS), "two members share")
    third = group.join([topic], assignor=assignor)
    group.until(lambda: group.shares(topic, PARTITIONS), "three members share")
    groups.fill(cluster, topic, PARTITIONS, 50)
    group.until(lambda: group.has_read(topic, PARTITIONS, 100), "everything is read and committed")
    for leaving in (first, third):
        group.leave(leaving)
        group.until(lambda: group.shares(topic, PARTITIONS), "those who stay share")
    groups.fill(cluster, topic, PARTITIONS, 50)
    group.until(lambda: group.has_read(topic, PARTITIONS, 150), "everything is read and committed")
    assert second.committed(topic, 0) == 150


@every_client
def test_who_crashes_is_replaced_after_its_session(cluster, topics, group_of, client):
    topic, group = topics.create("crash", partitions=PARTITIONS), group_of(client)
    groups.fill(cluster, topic, PARTITIONS, 200)
    crashing = group.join_process(topic)
    said = crashing.lines()
    assert any("committed" in line and not group.acknowledge({(line["topic"], line["partition"]): line["committed"]}) for line in said)
    group.acknowledge(crashing.kill())
    left = group.join([topic])
    group.until(lambda: group.shares(topic, PARTITIONS), "who is left has everything")
    # What was committed in the last moment before the crash was told to nobody.
    done = lambda: all(left.committed(topic, partition) == 200 for partition in range(PARTITIONS))
    group.until(done, "everything is read and committed")


@every_client
def test_a_static_member_comes_back_to_its_partitions_and_nobody_notices(cluster, topics, group_of, client):
    topic, group = topics.create("static", partitions=PARTITIONS), group_of(client)
    instances = [f"{group.name}-{number}" for number in range(2)]
    staying, leaving = (group.join([topic], instance=instance, session_ms=30_000) for instance in instances)
    group.until(lambda: group.shares(topic, PARTITIONS), "two members share")
    before, told = leaving.assigned, staying.assignments
    group.leave(leaving)
    back = group.join([topic], instance=instances[1], session_ms=30_000)
    groups.fill(cluster, topic, PARTITIONS, 20)
    group.until(lambda: group.has_read(topic, PARTITIONS, 20), "everything is read and committed")
    assert back.assigned == before
    assert staying.assignments == told, "the other was told again what it has"


@every_client
def test_a_pattern_takes_in_topics_that_come_later(cluster, topics, group_of, client):
    stem, group = topics.name("pattern"), group_of(client)
    topics.create_named(f"{stem}-1", 2)
    topics.made.add(f"{stem}-1")
    group.join([f"^{stem}-.*"])
    group.until(lambda: group.shares(f"{stem}-1", 2), "the first topic")
    topics.made.add(f"{stem}-2")
    topics.create_named(f"{stem}-2", 3)
    groups.fill(cluster, f"{stem}-2", 3, 10)
    group.until(lambda: group.shares(f"{stem}-2", 3) and group.shares(f"{stem}-1", 2), "both topics")
    group.until(lambda: group.has_read(f"{stem}-2", 3, 10), "everything is read and committed")


@every_client
def test_a_group_goes_on_where_it_has_committed(cluster, topics, group_of, client):
    topic, group = topics.create("resumed"), group_of(client)
    groups.fill(cluster, topic, 1, 30)
    first = group.join([topic])
    group.until(lambda: group.has_read(topic, 1, 30), "everything is read and committed")
    assert first.committed(topic, 0) == 30
    group.leave(first)
    groups.fill(cluster, topic, 1, 5)
    group.join([topic])
    group.until(lambda: group.has_read(topic, 1, 35), "what came meanwhile is read and committed")


@every_client
def test_seek_and_pause_are_the_members_own(cluster, topics, group_of, client):
    topic, group = topics.create("sought", partitions=2), group_of(client)
    groups.fill(cluster, topic, 2, 20)
    member = group.join([topic])
    group.until(lambda: group.has_read(topic, 2, 20), "everything is read and committed")
    member.pause(topic, 1)
    groups.fill(cluster, topic, 2, 20)
    group.until(lambda: len(group.read[topic, 0]) == 40, "what is not paused is read")
    assert len(group.read[topic, 1]) == 20 and member.committed(topic, 1) == 20
    member.resume(topic, 1)
    group.until(lambda: group.has_read(topic, 2, 40), "what was paused is read")
    group.read.clear()
    group.committed.clear()
    member.seek(topic, 0, 7)
    group.until(lambda: group.read.get((topic, 0)) == set(range(7, 40)), "the sought part is read again")


@every_client
def test_a_topic_that_grows_is_shared_anew(cluster, topics, group_of, client):
    from confluent_kafka.admin import NewPartitions

    topic, group = topics.create("grown", partitions=2), group_of(client)
    for _ in range(2):
        group.join([topic])
    group.until(lambda: group.shares(topic, 2), "two members share")
    topics.admin.create_partitions([NewPartitions(topic, 5)])[topic].result(groups.SECONDS)
    topics.await_leaders(topic, 5)
    groups.fill(cluster, topic, 5, 10)
    group.until(lambda: group.shares(topic, 5), "two members share the new partitions, too")
    group.until(lambda: group.has_read(topic, 5, 10), "everything is read and committed")


def test_commits_that_are_under_way_together_are_taken_in_their_order(cluster, topics):
    from confluent_kafka import Consumer, TopicPartition

    topic, told, count = topics.create("ordered"), [], 500
    place = lambda offset=-1001: TopicPartition(topic, 0, offset)
    consumer = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": topic,
            "enable.auto.commit": False,
            "on_commit": lambda error, partitions: told.append((error, partitions[0].offset)),
        }
    )
    try:
        consumer.assign([place(0)])
        consumer.commit(offsets=[place(1)], asynchronous=False)
        for offset in range(2, count + 1):
            consumer.commit(offsets=[place(offset)], asynchronous=True)

        def all_are_answered():
            consumer.poll(0.1)
            return len(told) >= count - 1

        wait.until(all_are_answered, "every commit is answered")
        assert told == [(None, offset) for offset in range(2, count + 1)]
        assert consumer.committed([place()], timeout=groups.SECONDS)[0].offset == count
    finally:
        consumer.close()
