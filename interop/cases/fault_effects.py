"""The effects of faults that `faults.py` does not show yet, each felt by librdkafka and by Java as what it names."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, ShareConsumer

from interop.case import Run, Skip, case
from interop.cases.faults import QUICK, TOPIC, Deliveries, disturbed, java_reads, java_sends, values
from interop.cases.shares import begin_at_the_start
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import parse_addresses
from kwire.testing import KafkaBroker

LOST = {KafkaError._MSG_TIMED_OUT, KafkaError.KAFKA_STORAGE_ERROR}  # noqa: SLF001 (its public name of the code)


def only_kwire(run: Run) -> None:
    if run.target != "kwire":
        raise Skip("faults are injected into kwire")


@case("faults", "librdkafka")
def a_request_that_is_lost_undone_is_sent_again(run: Run) -> None:
    for effect in ({"drop": True}, {"close": True}, {"reset": True}):
        with disturbed(run, api="Produce", times=1, **effect) as (kafka, _):
            assert Deliveries(kafka).send().errors == [None], effect
            assert values(kafka) == ["0"], effect


@case("faults", "librdkafka")
def a_silent_connection_times_out(run: Run) -> None:
    with disturbed(run, api="Metadata", drop=True) as (kafka, _):
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, **QUICK})
        started = time.monotonic()
        with pytest.raises(KafkaException) as failure:
            producer.list_topics(timeout=2)
        assert failure.value.args[0].name() in ("_TRANSPORT", "_TIMED_OUT")
        assert time.monotonic() - started >= 1.4


@case("faults", "librdkafka")
def a_delay_after_the_write_delays_the_delivery_report(run: Run) -> None:
    with disturbed(run, api="Produce", delay_ms=900, done=True, times=1) as (kafka, fault):
        deliveries = Deliveries(kafka)
        started = time.monotonic()
        deliveries.producer.produce(TOPIC, "0", on_delivery=lambda error, _: deliveries.errors.append(error))
        deliveries.producer.poll(0)
        fault.wait_fired()
        kafka.wait_until(topic=TOPIC, records=1)
        assert deliveries.errors == []
        deliveries.producer.flush(20)
        assert deliveries.errors == [None]
        assert time.monotonic() - started >= 0.9


@case("faults", "librdkafka")
def a_failed_fsync_is_no_delivery(run: Run) -> None:
    only_kwire(run)
    with KafkaBroker(topics={"other": 1}) as kafka:
        kafka.create_topic(TOPIC, flush_messages=1)
        assert Deliveries(kafka).send().errors == [None]  # so that the next fsync is that of the log
        with kafka.faults.add(fsync_error=True, topic=TOPIC, times=1):
            (error,) = Deliveries(kafka, **{"message.timeout.ms": 4000}).send().errors
        assert error is not None
        assert error.code() in LOST, error
        kafka.restart()
        assert Deliveries(kafka).send().errors == [None]


@case("faults", "librdkafka")
def a_failed_read_is_tried_again(run: Run) -> None:
    with disturbed(run, topic=TOPIC, io_error="read", times=2) as (kafka, fault):
        Deliveries(kafka).send()
        assert values(kafka) == ["0"]
        assert fault.fired == 2


@case("faults", "java")
def java_waits_as_long_as_it_is_delayed(run: Run) -> None:
    # The console producer waits 1.5 s for an answer by default.
    quick = ("linger.ms=0", "batch.size=1", "max.in.flight.requests.per.connection=1", "request.timeout.ms=30000")
    for rule in ({"delay_ms": 4000}, {"delay_ms": 4000, "done": True}):
        with disturbed(run, api="Produce", times=1, **rule) as (kafka, _):
            started = time.monotonic()
            java_sends(run, kafka, *quick, stdin="0\n1\n").ok()
            assert time.monotonic() - started >= 4, rule
            assert values(kafka) == ["0", "1"], rule


@case("faults", "java")
def java_waits_until_it_is_released(run: Run) -> None:
    with disturbed(run, api="Produce", hold=True) as (kafka, fault), ThreadPoolExecutor() as pool:
        sending = pool.submit(java_sends, run, kafka, "request.timeout.ms=60000", "delivery.timeout.ms=80000")
        fault.wait_fired(timeout=60)
        assert not sending.done()
        assert kafka.offsets(TOPIC) == [(0, 0)]
        fault.release()
        sending.result().ok()
        assert values(kafka) == ["0"]


@case("faults", "java")
def java_sends_again_what_was_lost_undone(run: Run) -> None:
    quick = ("request.timeout.ms=1500", "delivery.timeout.ms=30000", "linger.ms=0")
    for rule in (
        {"api": "Produce", "drop": True},
        {"api": "Produce", "close": True},
        {"api": "Produce", "reset": True},
        {"api": "Metadata", "truncate": 9},
    ):
        with disturbed(run, times=1, **rule) as (kafka, _):
            finished = java_sends(run, kafka, *quick).ok()
            assert kafka.offsets(TOPIC) == [(0, 1)], (rule, finished)
            assert values(kafka) == ["0"], rule


@case("faults", "java")
def java_leaves_a_silent_connection_and_goes_on_with_another(run: Run) -> None:
    for rule in ({"api": "Metadata"}, {"api": "ApiVersions"}, {"api": "InitProducerId", "done": True}):
        with disturbed(run, drop=True, times=1, **rule) as (kafka, _):
            java_sends(run, kafka, "request.timeout.ms=1500", "delivery.timeout.ms=30000", "linger.ms=0").ok()
            assert values(kafka) == ["0"], rule


@case("faults", "java")
def java_counts_a_failed_fsync_as_no_delivery_and_reads_again_after_a_failed_read(run: Run) -> None:
    only_kwire(run)
    with KafkaBroker() as kafka:
        kafka.create_topic(TOPIC, flush_messages=1)
        assert Deliveries(kafka).send().errors == [None]
        with kafka.faults.add(fsync_error=True, topic=TOPIC, times=1):
            finished = java_sends(run, kafka, "request.timeout.ms=1500", "delivery.timeout.ms=4000", "linger.ms=0")
        printed = finished.out + finished.err
        assert "KafkaStorageException" in printed or "TimeoutException" in printed, finished
    with disturbed(run, topic=TOPIC, io_error="read", times=2) as (kafka, fault):
        Deliveries(kafka).send()
        assert "0" in java_reads(run, kafka).out.split()
        assert fault.fired == 2


@case("faults", "java")
def a_fenced_java_producer_cannot_commit(run: Run) -> None:
    only_kwire(run)
    with KafkaBroker(topics={TOPIC: 1}) as kafka, ThreadPoolExecutor() as pool:
        sending = pool.submit(
            run.tool, "producer-perf-test", "--topic", TOPIC, "--num-records", "400", "--record-size", "10",
            "--throughput", "20", "--transactional-id", "t", "--transaction-duration-ms", "60000",
            "--bootstrap-server", kafka.bootstrap_servers, timeout_s=90,
        )  # fmt: skip
        kafka.wait_until(transactional_id="t", state="Ongoing", timeout=60)
        kafka.happen("producer_fenced", transactional_id="t")
        finished = sending.result()
        printed = finished.out + finished.err
        assert "ProducerFencedException" in printed or "InvalidProducerEpochException" in printed, finished
        assert values(kafka, **{"isolation.level": "read_committed"}) == []


@case("faults", "java")
def java_gets_records_again_whose_locks_have_expired(run: Run) -> None:
    only_kwire(run)
    with KafkaBroker(topics={TOPIC: 1}) as kafka, ThreadPoolExecutor() as pool:
        server = ("--bootstrap-server", kafka.bootstrap_servers)
        earliest = ("--alter", "--add-config", "share.auto.offset.reset=earliest")
        run.tool("configs", *server, *earliest, "--entity-type", "groups", "--entity-name", "sharers").ok()
        kafka.seed({"topics": {TOPIC: {"records": [{"value": "shared"}]}}})
        # The first member has acquired the record and does not know it yet.
        with kafka.faults.add(api="ShareFetch", client_id="first", hold=True, done=True) as fault:

            def consumes(name: str) -> str:
                return run.tool(
                    "console-share-consumer", *server, "--topic", TOPIC, "--group", "sharers", "--max-messages", "1",
                    "--timeout-ms", "60000", "--command-property", f"client.id={name}",
                    "--formatter-property", "print.delivery=true", timeout_s=90,
                ).out  # fmt: skip

            first = pool.submit(consumes, "first")
            fault.wait_fired(timeout=60)
            deadline = time.monotonic() + 30
            while not kafka.locks("sharers"):
                assert time.monotonic() < deadline, "nothing was acquired"
            second = pool.submit(consumes, "second")
            kafka.happen("locks_expired", group="sharers")
            delivered = second.result()
            assert "shared" in delivered, delivered
            assert "Delivery:2" in delivered, delivered
            fault.release()
            assert "shared" in first.result()


@case("faults", "librdkafka")
def an_expired_lock_gives_the_record_to_another_member(run: Run) -> None:
    only_kwire(run)
    with KafkaBroker(topics={TOPIC: 1}) as kafka, ExitStack() as closing:
        kafka.seed({"topics": {TOPIC: {"records": [{"value": "shared"}]}}})
        with Cluster(parse_addresses(kafka.bootstrap_servers)) as cluster:
            begin_at_the_start(cluster, "sharers")

        def member(name: str) -> ShareConsumer:
            settings = {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "sharers", "client.id": name}
            consumer = ShareConsumer({**settings, "share.acknowledgement.mode": "explicit", "log_level": 0})
            closing.callback(consumer.close)
            consumer.subscribe([TOPIC])
            return consumer

        def delivered(consumer: ShareConsumer) -> Any:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                for message in consumer.poll(0.5):
                    return message
            raise AssertionError("nothing was delivered")

        first = member("first")
        once = delivered(first)
        kafka.happen("locks_expired", group="sharers")
        second = member("second")
        again = delivered(second)
        assert (again.value(), once.delivery_count(), again.delivery_count()) == (b"shared", 1, 2)
        first.acknowledge(once)
        (refused,) = first.commit_sync(20.0).values()
        assert refused.args[0].name() == "INVALID_RECORD_STATE", refused
        second.acknowledge(again)
        assert list(second.commit_sync(20.0).values()) == [None]


@case("faults", "java")
def java_obeys_a_throttle_time(run: Run) -> None:
    quick = ("linger.ms=0", "batch.size=1", "max.in.flight.requests.per.connection=1", "request.timeout.ms=30000")
    with disturbed(run, api="Produce", times=1, throttle_ms=4000) as (kafka, _):
        started = time.monotonic()
        java_sends(run, kafka, *quick, stdin="0\n1\n").ok()
        assert time.monotonic() - started >= 4


@case("faults", "java")
def java_reports_an_answer_that_it_cannot_parse(run: Run) -> None:
    with disturbed(run, api="Produce", times=1, garbage=True) as (kafka, _):
        finished = java_sends(run, kafka, "request.timeout.ms=1500", "delivery.timeout.ms=6000", "linger.ms=0")
        assert "Uncaught error in kafka producer I/O thread" in finished.err + finished.out, finished
        assert kafka.offsets(TOPIC) == [(0, 1)]
