"""What operators see of groups: lag in /metrics and /v1/groups, by confluent-kafka's commits and its own words."""

import json
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions, Producer, TopicPartition

import wait
from topics import admin_of

SECONDS = 30
PARTITIONS = 3


@pytest.fixture
def admin(cluster):
    """Where each node serves HTTP."""
    if not cluster.admin:
        pytest.skip("where a running cluster serves HTTP is not known")
    return cluster.admin


@pytest.fixture
def topic(topics):
    """A topic of three partitions."""
    return topics.create("lag", PARTITIONS)


def _ask_once(url, method):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def ask(url, method="GET"):
    """The status and the JSON of an answer; on a slow machine a coordinator may just have changed, which is told and passes."""

    def settled():
        status, told = _ask_once(url, method)
        return None if status == 503 or told.get("missing_partitions") else (status, told)

    return wait.until(settled, f"{url} is answered in full", SECONDS)


def of_group(node, group):
    """Where a group is described."""
    return f"{node}/v1/groups/{urllib.parse.quote(group, safe='')}"


def escaped(text):
    """A label's value as OpenMetrics writes it."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def series(admin, group):
    """All series with this group on all nodes: {(name, topic, partition): [values]}."""
    found = {}
    for node in admin:
        with urllib.request.urlopen(f"{node}/metrics", timeout=SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        for line in lines:
            name, brace, rest = line.partition("{")
            labels, _, value = rest.rpartition("} ")
            mark = f'group="{escaped(group)}"'
            if not brace or not labels.startswith(mark):
                continue
            others = dict(pair.split("=", 1) for pair in labels[len(mark) :].strip(",").split(",") if pair)
            key = (name, others.get("topic", '""').strip('"'), others.get("partition", '""').strip('"'))
            found.setdefault(key, []).append(float(value))
    return found


def produce(cluster, topic, counts):
    """So many records to each partition."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 0})
    for partition, count in enumerate(counts):
        for number in range(count):
            producer.produce(topic, value=str(number), partition=partition)
    assert producer.flush(SECONDS) == 0


def consumer(cluster, group, **settings):
    """A consumer that commits when it is told to."""
    return Consumer(
        {"bootstrap.servers": cluster.bootstrap, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest", **settings}
    )


def commit(cluster, group, topic, offsets):
    """Commits an offset for each partition, for a group without members."""
    alone = consumer(cluster, group)
    alone.commit(offsets=[TopicPartition(topic, p, offset) for p, offset in enumerate(offsets)], asynchronous=False)
    alone.close()


def test_lag_is_told_by_metrics_and_by_every_node(cluster, admin, topic):
    group = f'lag "{uuid.uuid4()}"\\/%'
    produce(cluster, topic, [10, 5, 0])
    commit(cluster, group, topic, [3, 5, 0])

    def measured():
        found = series(admin, group)
        return found if ("ottla_group_lag_records", topic, "0") in found else None

    found = wait.until(measured, "lag is measured", SECONDS)
    lags = [found["ottla_group_lag_records", topic, str(p)] for p in range(PARTITIONS)]
    assert lags == [[7.0], [0.0], [0.0]], "one node tells it"
    assert [found["ottla_group_committed_offset", topic, str(p)] for p in range(PARTITIONS)] == [[3.0], [5.0], [0.0]]
    assert found["ottla_group_lag_records_sum", "", ""] == [7.0]
    assert found["ottla_group_lag_records_max", "", ""] == [7.0]
    assert 0 < found["ottla_group_lag_seconds", topic, "0"][0] < 10 * SECONDS
    assert found["ottla_group_lag_seconds", topic, "1"] == [0.0]
    assert found["ottla_group_members", "", ""] == [0.0]
    for node in admin:
        status, told = ask(of_group(node, group))
        assert (status, told["group"], told["state"], told["members"]) == (200, group, "Empty", [])
        assert [row["lag_records"] for row in told["offsets"]] == [7, 0, 0]
        assert [row["high_watermark"] for row in told["offsets"]] == [10, 5, 0]
        assert 0 < told["offsets"][0]["lag_ms"] == told["lag_ms_max"] and told["offsets"][1]["lag_ms"] == 0
        assert (told["lag_records_sum"], told["lag_records_max"]) == (7, 7)
    produce(cluster, topic, [0, 2, 0])
    wait.until(lambda: series(admin, group)["ottla_group_lag_records_sum", "", ""] == [9.0], "what is new is measured", SECONDS)


def test_a_described_group_has_its_members_and_theirs(cluster, admin, topic):
    group = f"members-{uuid.uuid4()}"
    produce(cluster, topic, [4, 4, 4])
    member = consumer(cluster, group, **{"client.id": "reader"})
    member.subscribe([topic])
    assert member.poll(SECONDS) is not None
    for node in admin:
        status, told = ask(of_group(node, group))
        assert (status, told["state"], told["protocol_type"], told["protocol"]) == (200, "Stable", "consumer", "range")
        [one] = told["members"]
        assert (one["client_id"], one["assignment"]) == ("reader", {topic: [0, 1, 2]})
        assert one["host"].startswith("/127.")
    status, told = ask(of_group(admin[0], group), "DELETE")
    assert (status, told["type"]) == (409, "urn:ottla:problem:group-not-empty")
    member.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    [row] = ask(of_group(admin[0], group))[1]["offsets"]
    assert (row["lag_records"], row["member_id"]) == (3, one["member_id"])
    described = admin_of(cluster.bootstrap).describe_consumer_groups([group])[group].result(SECONDS)
    assert (described.state, described.members[0].member_id) == (ConsumerGroupState.STABLE, one["member_id"])
    assert len(described.members[0].assignment.topic_partitions) == PARTITIONS
    member.close()


def test_groups_are_listed_in_pages_and_go_when_they_are_deleted(cluster, admin, topic):
    stem = f"listed-{uuid.uuid4()}"
    names = [f"{stem}-{number}" for number in range(7)]
    for name in names:
        commit(cluster, name, topic, [0, 0, 0])
    for node in admin:
        found, after = [], stem
        while after and after.startswith(stem):
            status, page = ask(f"{node}/v1/groups?limit=3&after={after}")
            assert (status, page["missing_partitions"], len(page["groups"]) <= 3) == (200, [], True)
            found += [group["group"] for group in page["groups"] if group["group"].startswith(stem)]
            after = page["next"]
        assert found == names
    wait.until(lambda: series(admin, names[0]), "the group has series", SECONDS)
    assert ask(of_group(admin[-1], names[0]) + "?dry_run=true", "DELETE") == (200, {"group": names[0], "dry_run": True})
    assert ask(of_group(admin[-1], names[0]), "DELETE") == (200, {"group": names[0], "dry_run": False})
    for node in admin:
        status, told = ask(of_group(node, names[0]))
        assert (status, told["type"]) == (404, "urn:ottla:problem:no-such-group")
    wait.until(lambda: not series(admin, names[0]), "its series go", SECONDS)
    left = admin_of(cluster.bootstrap).list_consumer_group_offsets([ConsumerGroupTopicPartitions(names[1])])
    assert len(left[names[1]].result(SECONDS).topic_partitions) == PARTITIONS


def test_what_is_malformed_is_refused(admin):
    for query in ["limit=0", "limit=1001", "limit=x", "colour=red"]:
        status, told = ask(f"{admin[0]}/v1/groups?{query}")
        assert (status, told["type"]) == (400, "urn:ottla:problem:malformed-request")
    status, told = ask(of_group(admin[0], "no such group"), "DELETE")
    assert (status, told["type"]) == (404, "urn:ottla:problem:no-such-group")
