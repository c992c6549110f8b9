"""Injected faults as stock clients feel them: librdkafka and Java meet each effect as the fault that it names."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from interop.brokers import PYTHON
from interop.case import Run, Skip, case
from interop.java import Finished
from kwire.testing import Fault, KafkaBroker

TOPIC = "orders"
QUICK = {
    "log_level": 0,
    "socket.timeout.ms": 1500,
    "message.timeout.ms": 20_000,
    "retry.backoff.ms": 50,
    "reconnect.backoff.ms": 50,
}


@contextmanager
def disturbed(run: Run, **rule: object) -> Iterator[tuple[KafkaBroker, Fault]]:
    """A broker of kwire with one rule armed; the block fails if the rule never fired."""
    if run.target != "kwire":
        raise Skip("faults are injected into kwire")
    with KafkaBroker(topics={TOPIC: 1}) as kafka, kafka.faults.add(**rule) as fault:
        yield kafka, fault


class Deliveries:
    """The delivery report that a producer of librdkafka gives for each record."""

    def __init__(self, kafka: KafkaBroker, **config: object) -> None:
        self.errors: list[KafkaError | None] = []
        self.throttled: list[float] = []
        self.producer = Producer(
            {"bootstrap.servers": kafka.bootstrap_servers, **QUICK, **config, "throttle_cb": self._throttle}
        )

    def _throttle(self, event: object) -> None:
        self.throttled.append(event.throttle_time)

    def send(self, count: int = 1) -> "Deliveries":
        for number in range(count):
            self.producer.produce(TOPIC, str(number), on_delivery=lambda error, _: self.errors.append(error))
        self.producer.flush(30)
        return self


def values(kafka: KafkaBroker, **config: object) -> list[str]:
    """All values of the topic, up to its end."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "reader",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            **QUICK,
            **config,
        }
    )
    consumer.subscribe([TOPIC])
    seen: list[str] = []
    try:
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error() is None:
                seen.append(message.value().decode())
            elif message.error().name() == "_PARTITION_EOF":
                return seen
            else:
                raise KafkaException(message.error())
    finally:
        consumer.close()
    raise AssertionError(f"the end was not reached; seen {seen}")


@case("faults", "librdkafka", smoke=True)
def a_moved_leader_is_retried(run: Run) -> None:
    rule = {"api": "Produce", "topic": TOPIC, "partition": 0, "error": "NOT_LEADER_OR_FOLLOWER", "times": 3}
    with disturbed(run, **rule) as (kafka, fault):
        assert Deliveries(kafka, **{"linger.ms": 0}).send().errors == [None]
        assert fault.fired == 3
        assert values(kafka) == ["0"]


@case("faults", "librdkafka")
def a_refusal_reaches_the_delivery_report(run: Run) -> None:
    with disturbed(run, api="Produce", topic=TOPIC, error="TOPIC_AUTHORIZATION_FAILED") as (kafka, _):
        (error,) = Deliveries(kafka).send().errors
        assert error is not None
        assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


@case("faults", "librdkafka")
def an_answer_that_is_lost_makes_an_idempotent_producer_send_again_once(run: Run) -> None:
    for effect in ({"drop": True}, {"close": True}):
        with disturbed(run, api="Produce", done=True, times=1, **effect) as (kafka, _):
            assert Deliveries(kafka, **{"enable.idempotence": True}).send().errors == [None]
            assert values(kafka) == ["0"], effect


@case("faults", "librdkafka")
def an_answer_that_is_lost_makes_a_plain_producer_write_twice(run: Run) -> None:
    with disturbed(run, api="Produce", done=True, times=1, close=True) as (kafka, _):
        assert Deliveries(kafka).send().errors == [None]
        assert values(kafka) == ["0", "0"]


@case("faults", "librdkafka")
def broken_answers_are_survived(run: Run) -> None:
    for effect in ({"truncate": 9}, {"garbage": True}):
        with disturbed(run, api="Metadata", times=2, **effect) as (kafka, _):
            assert Deliveries(kafka).send().errors == [None], effect


@case("faults", "librdkafka")
def a_throttle_time_is_felt(run: Run) -> None:
    with disturbed(run, api="Produce", throttle_ms=700, times=1) as (kafka, _):
        deliveries = Deliveries(kafka).send()
        deliveries.producer.poll(0.2)
        assert deliveries.throttled == [0.7]


@case("faults", "librdkafka")
def a_delay_and_a_hold_are_felt(run: Run) -> None:
    with disturbed(run, api="Produce", delay_ms=900, times=1) as (kafka, _):
        started = time.monotonic()
        assert Deliveries(kafka).send().errors == [None]
        assert time.monotonic() - started >= 0.9
    with disturbed(run, api="Produce", hold=True) as (kafka, fault):
        deliveries = Deliveries(kafka, **{"socket.timeout.ms": 30_000})
        deliveries.producer.produce(TOPIC, "0", on_delivery=lambda error, _: deliveries.errors.append(error))
        fault.wait_fired()
        assert deliveries.producer.flush(0.2) == 1
        fault.release()
        assert deliveries.producer.flush(20) == 0


@case("faults", "librdkafka")
def corrupt_records_are_detected(run: Run) -> None:
    with disturbed(run, api="Fetch", topic=TOPIC, corrupt_records=True, times=1) as (kafka, _):
        Deliveries(kafka).send()
        with pytest.raises(KafkaException) as failure:
            values(kafka, **{"check.crcs": True})
        assert failure.value.args[0].name() == "_BAD_MSG"


@case("faults", "librdkafka")
def a_coordinator_that_loads_is_waited_for(run: Run) -> None:
    rule = {"api": ["JoinGroup", "OffsetFetch"], "group": "reader", "error": "COORDINATOR_LOAD_IN_PROGRESS", "times": 4}
    with disturbed(run, **rule) as (kafka, _):
        Deliveries(kafka).send()
        assert values(kafka) == ["0"]


def java_sends(run: Run, kafka: KafkaBroker, *properties: str, stdin: str = "0\n") -> Finished:
    """Run the official console producer, with one record unless ``stdin`` has more lines."""
    args = ["--bootstrap-server", kafka.bootstrap_servers, "--topic", TOPIC]
    for each in properties:
        args += ["--command-property", each]
    return run.tool("console-producer", *args, stdin=stdin, timeout_s=90)


def java_reads(run: Run, kafka: KafkaBroker) -> Finished:
    """Run the official console consumer for one record."""
    return run.tool(
        "console-consumer", "--bootstrap-server", kafka.bootstrap_servers,
        "--topic", TOPIC, "--from-beginning", "--max-messages", "1", "--timeout-ms", "30000", timeout_s=90,
    )  # fmt: skip


@case("faults", "java")
def java_retries_a_moved_leader_a_lost_answer_and_a_closed_connection(run: Run) -> None:
    lost = {"api": "Produce", "done": True, "times": 1}
    for rule in (
        {"api": "Produce", "error": "NOT_LEADER_OR_FOLLOWER", "times": 3},
        {**lost, "drop": True},
        {**lost, "close": True},
        {"api": "Produce", "truncate": 9, "times": 1},
        {"api": "Produce", "delay_ms": 500, "times": 1},
        {"api": "Produce", "throttle_ms": 500, "times": 1},
        {"api": "InitProducerId", "error": "COORDINATOR_LOAD_IN_PROGRESS", "times": 2},
        {"api": "Metadata", "topic": TOPIC, "error": "LEADER_NOT_AVAILABLE", "times": 2},
    ):
        with disturbed(run, **rule) as (kafka, _):
            java_sends(run, kafka, "request.timeout.ms=1500", "delivery.timeout.ms=30000", "linger.ms=0").ok()
            assert values(kafka) == ["0"], rule


@case("faults", "java")
def java_names_the_error_of_a_refusal(run: Run) -> None:
    with disturbed(run, api="Produce", topic=TOPIC, error="TOPIC_AUTHORIZATION_FAILED") as (kafka, _):
        finished = java_sends(run, kafka)
        assert "TopicAuthorizationException" in finished.err + finished.out, finished


@case("faults", "java")
def java_consumers_detect_corrupt_records_and_wait_for_a_coordinator(run: Run) -> None:
    with disturbed(run, api="Fetch", topic=TOPIC, corrupt_records=True) as (kafka, _):
        Deliveries(kafka).send()
        finished = java_reads(run, kafka)
        printed = finished.err + finished.out
        assert "corrupt" in printed.lower() or "crc" in printed.lower(), finished
    rule = {"api": ["FindCoordinator", "JoinGroup"], "error": "COORDINATOR_NOT_AVAILABLE", "times": 3}
    with disturbed(run, **rule) as (kafka, _):
        Deliveries(kafka).send()
        assert "0" in java_reads(run, kafka).out.split()


@case("faults", "librdkafka")
def a_full_disk_is_waited_for(run: Run) -> None:
    for effect in ({"disk_full": True}, {"io_error": "write"}):
        with disturbed(run, topic=TOPIC, times=2, **effect) as (kafka, _):
            assert Deliveries(kafka, **{"linger.ms": 0}).send().errors == [None], effect
            assert values(kafka) == ["0"], effect


@case("faults", "librdkafka")
def a_slow_fsync_delays_the_delivery_report(run: Run) -> None:
    if run.target != "kwire":
        raise Skip("faults are injected into kwire")
    with KafkaBroker() as kafka:
        kafka.create_topic(TOPIC, flush_messages=1)
        with kafka.faults.add(fsync_ms=900, topic=TOPIC, times=1):
            started = time.monotonic()
            assert Deliveries(kafka).send().errors == [None]
            assert time.monotonic() - started >= 0.9


@case("faults", "librdkafka")
def wrong_metadata_is_refreshed(run: Run) -> None:
    for wrong in ({"leader_id": 99}, {"port": 1}):
        with disturbed(run, api="Metadata", times=2, set=wrong) as (kafka, _):
            assert Deliveries(kafka).send().errors == [None], wrong


@case("faults", "librdkafka")
def stale_metadata_does_not_show_a_new_topic(run: Run) -> None:
    with disturbed(run, api="Metadata", stale=True, times=3) as (kafka, _):
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, **QUICK})
        shown = [set(producer.list_topics(timeout=10).topics)]
        kafka.create_topic("later")
        while "later" not in shown[-1]:
            shown.append(set(producer.list_topics(timeout=10).topics))
        assert "later" not in shown[1]


class Member:
    """A consumer of librdkafka in a group, with what it was told."""

    def __init__(self, kafka: KafkaBroker, protocol: str) -> None:
        self.assigned = self.lost = 0
        classic = {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 100}
        self.consumer = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "client.id": "member",
                "group.id": "reader",
                "group.protocol": protocol,
                "auto.offset.reset": "earliest",
                **(classic if protocol == "classic" else {}),
                **QUICK,
            }
        )
        self.consumer.subscribe([TOPIC], on_assign=self._assign, on_lost=self._lose)

    def _assign(self, _consumer: object, _partitions: object) -> None:
        self.assigned += 1

    def _lose(self, _consumer: object, _partitions: object) -> None:
        self.lost += 1

    def reads(self, value: str) -> None:
        """Poll until this value came."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            message = self.consumer.poll(0.1)
            if message is not None and message.error() is None and message.value().decode() == value:
                return
        raise AssertionError(f"{value} was not read")

    def polls_until(self, what: str, count: int) -> None:
        deadline = time.monotonic() + 30
        while getattr(self, what) < count:
            assert time.monotonic() < deadline, f"{what} is {getattr(self, what)}, not {count}"
            self.consumer.poll(0.1)


@case("faults", "librdkafka")
def group_events_are_survived(run: Run) -> None:
    if run.target != "kwire":
        raise Skip("faults are injected into kwire")
    for protocol in ("classic", "consumer"):
        with KafkaBroker(topics={TOPIC: 1}) as kafka:
            member = Member(kafka, protocol)
            Deliveries(kafka).send()
            member.reads("0")
            kafka.happen("coordinator_moved", group="reader")
            kafka.happen("leader_epoch_bumped", topic=TOPIC, partition=0)
            kafka.happen("rebalance", group="reader")
            if protocol == "classic":
                member.polls_until("assigned", 2)
            kafka.seed({"topics": {TOPIC: {"records": [{"value": "next"}]}}})
            member.reads("next")
            before = member.assigned
            kafka.happen("member_fenced", group="reader", client_id="member")
            member.polls_until("assigned", before + 1)
            assert member.lost == 1
            member.consumer.close()


@case("faults", "librdkafka")
def a_fenced_producer_cannot_commit(run: Run) -> None:
    if run.target != "kwire":
        raise Skip("faults are injected into kwire")
    with KafkaBroker(topics={TOPIC: 1}) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": "t", **QUICK})
        producer.init_transactions(10)
        producer.begin_transaction()
        producer.produce(TOPIC, "0")
        producer.flush(10)
        kafka.happen("producer_fenced", transactional_id="t")
        with pytest.raises(KafkaException) as failure:
            producer.commit_transaction(10)
        assert failure.value.args[0].name() in {"_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"}
        assert values(kafka, **{"isolation.level": "read_committed"}) == []


@case("faults", "librdkafka")
def a_hanging_transaction_stops_readers_of_committed_records(run: Run) -> None:
    if run.target != "kwire":
        raise Skip("faults are injected into kwire")
    with KafkaBroker(topics={TOPIC: 1}) as kafka:
        Deliveries(kafka).send()
        kafka.happen("transaction_left_hanging", topic=TOPIC, partition=0)
        kafka.seed({"topics": {TOPIC: {"records": [{"value": "behind"}]}}})
        assert values(kafka, **{"isolation.level": "read_committed"}) == ["0"]
        assert values(kafka, **{"isolation.level": "read_uncommitted", "group.id": "all"})[-1] == "behind"


@case("faults", "java")
def java_waits_for_a_full_disk_and_refreshes_wrong_metadata(run: Run) -> None:
    for rule in (
        {"topic": TOPIC, "disk_full": True, "times": 2},
        {"topic": TOPIC, "io_error": "write", "times": 1},
        {"api": "Metadata", "topic": TOPIC, "set": {"leader_id": 99}, "times": 2},
        {"api": "Metadata", "topic": TOPIC, "set": {"leader_id": -1}, "times": 2},
    ):
        with disturbed(run, **rule) as (kafka, _):
            java_sends(run, kafka, "delivery.timeout.ms=30000", "request.timeout.ms=2000", "linger.ms=0").ok()
            assert values(kafka) == ["0"], rule


@case("faults", "java")
def java_survives_group_events(run: Run) -> None:
    if run.target != "kwire":
        raise Skip("faults are injected into kwire")
    for protocol in ("classic", "consumer"):
        with KafkaBroker(topics={TOPIC: 1}) as kafka, ThreadPoolExecutor() as pool:
            kafka.requests.start()
            reading = pool.submit(
                run.tool, "console-consumer", "--bootstrap-server", kafka.bootstrap_servers, "--topic", TOPIC,
                "--from-beginning", "--max-messages", "2", "--timeout-ms", "60000", "--group", "reader",
                "--command-property", f"group.protocol={protocol}", timeout_s=90,
            )  # fmt: skip
            kafka.requests.wait_for(api="OffsetFetch", group="reader", timeout=60)
            kafka.requests.wait_for(api="Fetch", topic=TOPIC, timeout=60)
            kafka.seed({"topics": {TOPIC: {"records": [{"value": "first"}]}}})
            kafka.happen("coordinator_moved", group="reader")
            kafka.happen("leader_epoch_bumped", topic=TOPIC, partition=0)
            kafka.happen("rebalance", group="reader")
            fetched = len(kafka.requests.last(1000, api="OffsetFetch", group="reader"))
            kafka.happen("member_fenced", group="reader", client_id="console-consumer")
            kafka.requests.wait_for(fetched + 1, api="OffsetFetch", group="reader", timeout=60)
            kafka.seed({"topics": {TOPIC: {"records": [{"value": "second"}]}}})
            printed = reading.result().out.split()
            assert {"first", "second"} >= set(printed), printed
            assert "first" in printed, printed


@case("faults", "java")
def java_feels_hanging_transactions_stale_metadata_and_slow_fsyncs(run: Run) -> None:
    if run.target != "kwire":
        raise Skip("faults are injected into kwire")
    with KafkaBroker() as kafka:
        server = ("--bootstrap-server", kafka.bootstrap_servers)
        with kafka.faults.add(api="Metadata", stale=True):
            run.tool("topics", *server, "--list", timeout_s=90).ok()
            kafka.create_topic(TOPIC, flush_messages=1)
            assert TOPIC not in run.tool("topics", *server, "--list", timeout_s=90).lines
        assert TOPIC in run.tool("topics", *server, "--list", timeout_s=90).lines
        with kafka.faults.add(fsync_ms=900, topic=TOPIC, times=1):
            java_sends(run, kafka, "request.timeout.ms=10000").ok()
        kafka.happen("transaction_left_hanging", topic=TOPIC)
        kafka.seed({"topics": {TOPIC: {"records": [{"value": "behind"}]}}})
        for isolation, seen in (("read_committed", False), ("read_uncommitted", True)):
            reading = run.tool(
                "console-consumer", *server, "--topic", TOPIC, "--from-beginning", "--timeout-ms", "4000",
                "--isolation-level", isolation, timeout_s=90,
            )  # fmt: skip
            assert ("0" in reading.lines, "behind" in reading.lines) == (True, seen), reading


@case("faults", "librdkafka")
def a_recording_of_librdkafka_is_answered_alike(run: Run) -> None:
    """A producer and a consumer are recorded on kwire; the broker under test answers the same."""
    file = run.folder / "recording.jsonl"
    topic = run.topic("recorded")
    with KafkaBroker(topics={topic: 1}) as kafka:
        kafka.record(file)
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "enable.idempotence": True, **QUICK})
        producer.produce(topic, "0", key="k")
        assert producer.flush(20) == 0
        kafka.stop_recording()
    command = [PYTHON, "-P", "-m", "kwire", "replay", str(file), "-b", run.bootstrap]
    run.program(command).ok().prints("0 answers differ")
