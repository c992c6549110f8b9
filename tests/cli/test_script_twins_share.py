"""The twins of the share group scripts against a real broker: what they print, and what becomes of the records."""

import re

import pytest


@pytest.fixture
def group(topic, script):
    """A share group that reads the topic from its beginning; four records are there."""
    name = f"g-{topic}"
    reset = ("--entity-type", "groups", "--entity-name", name, "--add-config", "share.auto.offset.reset=earliest")
    assert script("kafka-configs", "--alter", *reset).code == 0
    assert script("kafka-console-producer", "--topic", topic, stdin="a\nb\nc\nd\n").code == 0
    return name


def read(script, topic, group, *argv):
    wanted = ("--topic", topic, "--group", group, "--timeout-ms", "150000", *argv)
    return script("kafka-console-share-consumer", *wanted)


def test_records_are_accepted_and_counted(script, topic, group):
    first = read(script, topic, group, "--max-messages", "3")
    assert (first.code, first.lines) == (0, ["a", "b", "c"])
    assert "Processed a total of 3 messages" in first.err
    described = script("kafka-share-groups", "--describe", "--group", group)
    assert re.search(rf"{group} +{topic} +0 +\d+ +1\n", described.out), described.out
    assert described.err == ""


def test_released_records_are_delivered_again_and_rejected_ones_are_not(script, topic, group):
    delivery = ("--formatter-property", "print.delivery=true")
    released = read(script, topic, group, "--max-messages", "4", "--release", *delivery)
    assert released.lines == [f"Delivery:1\t{value}" for value in "abcd"]
    rejected = read(script, topic, group, "--max-messages", "4", "--reject", *delivery)
    assert rejected.lines == [f"Delivery:2\t{value}" for value in "abcd"]
    assert read(script, topic, group, "--timeout-ms=500").lines == []


def test_groups_are_listed_reset_and_deleted(script, topic, group):
    read(script, topic, group, "--max-messages", "4")
    assert group in script("kafka-share-groups", "--list").lines
    assert re.search(rf"{group} +Empty", script("kafka-share-groups", "--list", "--state").out)
    move = ("--reset-offsets", "--group", group, "--topic", topic, "--to-offset", "1")
    assert re.search(rf"{topic} +0 +1\n", script("kafka-share-groups", *move, "--execute").out)
    assert read(script, topic, group, "--max-messages", "3").lines == ["b", "c", "d"]
    assert "Successful" in script("kafka-share-groups", "--delete-offsets", "--group", group, "--topic", topic).out
    assert "was successful" in script("kafka-share-groups", "--delete", "--group", group).out
    assert "is not a share group" in script("kafka-share-groups", "--delete", "--group", group).out


def test_members_share_the_work_of_a_measurement(script, topic, group):
    ended = script(
        "kafka-share-consumer-perf-test", "--topic", topic, "--group", group, "--num-records", "4", "--threads", "2",
        "--show-consumer-stats",
    )  # fmt: skip
    assert ended.code == 0
    *members, total = ended.lines[1:]
    assert [line.split(" having ")[0] for line in members] == ["Share consumer 1", "Share consumer 2"]
    assert total.split(", ")[5] == "4"
