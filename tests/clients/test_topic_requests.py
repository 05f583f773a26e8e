"""Requests about topics that name one more than once: the answers are those of Apache Kafka 4.3."""

import struct

import pytest
from confluent_kafka import TopicCollection

import metadata
from topic_requests import NO_ID, create, delete

INVALID_REQUEST, UNKNOWN_TOPIC = 42, 3


@pytest.fixture
def broker(cluster):
    """One broker of the cluster."""
    return cluster.bootstrap.split(",")[0]


def id_of(topics, name):
    """A topic's id as it is on the wire."""
    found = topics.admin.describe_topics(TopicCollection([name]))[name].result(30).topic_id
    return struct.pack(">qq", found.get_most_significant_bits(), found.get_least_significant_bits())


def test_a_topic_that_a_request_deletes_twice_stays_and_is_answered_once(broker, topics):
    name, absent = topics.create("repeated"), topics.name("absent")
    topic_id = id_of(topics, name)
    answers = delete(broker, [(name, NO_ID), (name, NO_ID), (absent, NO_ID)])
    assert answers == sorted([(name, NO_ID, INVALID_REQUEST), (absent, NO_ID, UNKNOWN_TOPIC)])
    assert delete(broker, [(None, topic_id)] * 2) == [(None, topic_id, INVALID_REQUEST)]
    assert delete(broker, [(name, NO_ID), (None, topic_id)]) == [(name, topic_id, INVALID_REQUEST)]
    assert name in metadata.leaders(broker)


def test_what_names_no_topic_is_refused_and_the_others_are_deleted(broker, topics):
    named, twofold = topics.create("named"), topics.create("twofold")
    named_id, twofold_id = id_of(topics, named), id_of(topics, twofold)
    answers = delete(broker, [(named, NO_ID), (None, NO_ID), (twofold, twofold_id)])
    assert answers == [(None, NO_ID, INVALID_REQUEST), (named, named_id, 0), (twofold, twofold_id, INVALID_REQUEST)]
    known = metadata.leaders(broker)
    assert named not in known and twofold in known


def test_a_topic_that_a_request_creates_twice_is_not_made_and_is_answered_once(broker, topics):
    made, repeated, log = topics.name("made"), topics.name("repeated"), "__cluster_metadata"
    answers = create(broker, [repeated, log, made, repeated])
    assert sorted(answers) == sorted([(made, 0), (repeated, INVALID_REQUEST), (log, INVALID_REQUEST)])
    known = metadata.leaders(broker)
    assert made in known and repeated not in known
