"""Java's names for errors, and the order of its hash maps."""

import pytest

from kwire.cli.java.names import (
    error_line,
    error_text,
    exception_class,
    hash_order,
    partition_order,
)
from kwire.errors import Code, KafkaError


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (Code.UNKNOWN_TOPIC_OR_PARTITION, "UnknownTopicOrPartitionException"),
        (Code.TOPIC_ALREADY_EXISTS, "TopicExistsException"),
        (Code.REQUEST_TIMED_OUT, "TimeoutException"),
        (Code.NON_EMPTY_GROUP, "GroupNotEmptyException"),
        (Code.INVALID_TOPIC_EXCEPTION, "InvalidTopicException"),
        (Code.OFFSET_METADATA_TOO_LARGE, "OffsetMetadataTooLarge"),
        (Code.SHARE_SESSION_LIMIT_REACHED, "ShareSessionLimitReachedException"),
    ],
)
def test_codes_have_the_names_of_their_exceptions(code, name):
    assert exception_class(code) == f"org.apache.kafka.common.errors.{name}"


def test_the_message_of_the_broker_has_precedence_over_the_default_text():
    assert error_text(KafkaError(Code.GROUP_ID_NOT_FOUND)) == "The group id does not exist."
    assert error_text(KafkaError(Code.GROUP_ID_NOT_FOUND, "Group g not found.")) == "Group g not found."
    assert error_text(KafkaError(Code.FENCED_MEMBER_EPOCH)) == "FENCED_MEMBER_EPOCH (110)"


def test_a_line_is_class_and_text():
    assert error_line(KafkaError(Code.NON_EMPTY_GROUP)) == (
        "org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty."
    )


# The orders below were printed by Java's own HashMap.


def test_names_are_in_the_order_of_a_hash_map():
    names = ["a.b", "asg", "messages", "under_score.dot"]
    assert hash_order(names, capacity=4) == ["messages", "under_score.dot", "a.b", "asg"]


def test_names_in_the_same_bucket_keep_their_order():
    # "Aa" and "BB" have the same hash code in Java.
    assert hash_order(["BB", "Aa"]) == ["BB", "Aa"]
    assert hash_order(["Aa", "BB", "Aa"]) == ["Aa", "BB"]


def test_partitions_are_in_the_order_of_a_hash_map():
    places = [("t1", 0), ("t1", 1), ("messages", 0), ("messages", 1), ("messages", 2), ("messages", 3)]
    order = partition_order(places)
    assert order.index(("t1", 1)) < order.index(("t1", 0))
    assert [place for place in order if place[0] == "messages"] == places[2:]


def test_a_map_that_has_grown_has_the_order_of_its_new_size():
    names = [
        "a.b",
        "asg",
        "messages",
        "under_score.dot",
        "min.insync.replicas",
        "cleanup.policy",
        "retention.ms",
        "é",
        "😀",
        "topic-1",
        "topic-2",
        "topic-10",
        "x",
        "y",
        "z",
        "Aa",
        "BB",
    ]
    expected = [
        "Aa",
        "BB",
        "under_score.dot",
        "é",
        "min.insync.replicas",
        "topic-1",
        "topic-2",
        "topic-10",
        "cleanup.policy",
        "a.b",
        "asg",
        "😀",
        "x",
        "messages",
        "y",
        "z",
        "retention.ms",
    ]
    assert hash_order(names) == expected
