"""Faults of the disk, on brokers with files in memory and on disk."""

import pytest

from kwire.errors import StorageFailure
from kwire.testing import KafkaBroker, KafkaError, RuleError


def send(kafka, topic="orders", value="a", partition=0):
    kafka.seed({"topics": {topic: {"records": [{"value": value, "partition": partition}]}}})


@pytest.fixture(params=["memory", "disk"])
def kafka(request, tmp_path):
    data = tmp_path / "data" if request.param == "disk" else None
    with KafkaBroker(topics={"orders": 2, "other": 1}, data=data) as running:
        yield running


def test_a_full_disk_refuses_appends_until_there_is_room(kafka):
    send(kafka)
    with kafka.faults.add(disk_full=True, topic="orders", partition=0) as fault:
        with pytest.raises(KafkaError, match="KAFKA_STORAGE_ERROR"):
            send(kafka)
        send(kafka, partition=1)
        send(kafka, "other")
        assert [each["value"] for each in kafka.records("orders", partition=0)] == ["a"]
        fault.wait_fired()
    send(kafka, value="b")
    assert [each["value"] for each in kafka.records("orders", partition=0)] == ["a", "b"]


def test_a_full_disk_everywhere_also_refuses_new_topics(kafka):
    with kafka.faults.add(disk_full=True), pytest.raises(KafkaError, match="KAFKA_STORAGE_ERROR"):
        kafka.create_topic("new")
    kafka.create_topic("new")


def test_an_io_error_affects_its_files_only(kafka):
    send(kafka)
    with kafka.faults.add(io_error="read", topic="orders", times=1) as fault:
        with pytest.raises(StorageFailure):
            kafka.records("orders", partition=0)
        assert fault.fired == 1
        assert len(kafka.records("orders", partition=0)) == 1
    with kafka.faults.add(io_error="write", topic="orders"), pytest.raises(KafkaError, match="KAFKA_STORAGE_ERROR"):
        send(kafka)


def test_an_fsync_that_fails_is_not_acknowledged(kafka):
    kafka.create_topic("flushed", flush_messages=1)
    with kafka.faults.add(fsync_error=True, topic="flushed"), pytest.raises(KafkaError, match="KAFKA_STORAGE_ERROR"):
        send(kafka, "flushed")


def test_a_slow_fsync_ends_when_its_rule_is_removed(kafka):
    import threading

    kafka.create_topic("flushed", flush_messages=1)
    fault = kafka.faults.add(fsync_ms=600_000, topic="flushed")
    sender = threading.Thread(target=send, args=(kafka, "flushed"))
    sender.start()
    fault.wait_fired()
    assert kafka.offsets("flushed") == [(0, 0)]
    send(kafka)
    fault.remove()
    sender.join(150)
    assert kafka.offsets("flushed") == [(0, 1)]


def test_a_rule_about_files_survives_a_restored_snapshot(kafka):
    kafka.snapshot()
    with kafka.faults.add(disk_full=True, topic="orders"):
        kafka.restore()
        with pytest.raises(KafkaError, match="KAFKA_STORAGE_ERROR"):
            send(kafka)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"disk_full": True, "api": "Produce"}, "about files, which have a topic and a partition, but no api"),
        ({"fsync_ms": 5, "partition": 1}, "a partition needs its topic"),
        ({"io_error": "seek"}, "io_error is one of read, write, sync, any"),
        ({"fsync_error": True, "disk_full": True}, "has 2"),
    ],
)
def test_an_invalid_rule_is_one_sentence(rule, sentence):
    with KafkaBroker() as kafka, pytest.raises(RuleError, match=sentence):
        kafka.faults.add(**rule)
