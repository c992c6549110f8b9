"""The clients of a run: writers of each kind, readers that follow, and copies from one topic to another.

Responsible for: threads with librdkafka clients that fill in a ``History``, and reading everything in the end. Must
not depend on: processes, faults. All clients have their default settings but for what their kind asks: a client that
gives up within the time of a fault would hide what the broker did.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from interop.cluster.history import Contents, End, History, Kind, Sent, Where

# How long nothing at all may happen, on a machine that is busy with other work, and how long one thing may take while
# others go on.
_QUIET_S = 150.0
_PROGRESS_S = 420.0
_QUIET = {"log_level": 0}
# When Metadata no longer lists the coordinator of the group, librdkafka waits in send_offsets_to_transaction without a
# timeout until a connection opens or closes (its issues 5511 and 5456). An idle connection closes after this time.
_NO_ENDLESS_WAIT = {"connections.max.idle.ms": 5000}


def stuck_after_silence() -> Callable[[int], bool]:
    """Return a function that tells, for a number, whether it has been the same for ``_QUIET_S``.

    A busy machine makes clients slow, but what they do still changes. After ``_PROGRESS_S`` it tells so in any case.
    """
    began = changed = time.monotonic()
    last: int | None = None

    def is_stuck(number: int) -> bool:
        nonlocal last, changed
        now = time.monotonic()
        if number != last:
            last, changed = number, now
        return now - changed > _QUIET_S or now - began > _PROGRESS_S

    return is_stuck


@dataclass(slots=True)
class Clients:
    """The threads of one run, and what stops them."""

    bootstrap: str
    history: History
    seed: int
    stopping: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def start(self, name: str, body: Callable[[], None]) -> None:
        def run() -> None:
            try:
                body()
            except Exception as error:  # noqa: BLE001 (reported with the run's result)
                self.failures.append(f"{name}: {type(error).__name__}: {error}")

        thread = threading.Thread(target=run, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Let all clients finish what is under way, and end."""
        self.stopping.set()
        is_stuck = stuck_after_silence()
        for thread in self.threads:
            while thread.is_alive() and not is_stuck(sum(self.counts.values())):
                thread.join(0.2)
            if thread.is_alive():
                self.failures.append(f"{thread.name} did not end")

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    # --- writers
    # -----------------------------------------------------------------------------------------------------

    def write(self, writer: str, topic: str, kind: Kind, *, per_second: int = 200) -> None:
        """Write records with acks=all until the run stops; every delivery report goes into the history."""
        self.history.writers[writer] = kind
        dice = random.Random(f"{self.seed}{writer}")
        settings = {"acks": "all", "enable.idempotence": kind is Kind.IDEMPOTENT, "linger.ms": 2}
        producer = _producer(self.bootstrap, settings)
        sequence = 0
        while not self.stopping.is_set():
            for _ in range(dice.randint(1, max(1, per_second // 20))):
                record = Sent(writer, sequence)
                self.history.send(record)
                _produce(producer, topic, record, self._delivered)
                sequence += 1
            producer.poll(0)
            time.sleep(dice.uniform(0.02, 0.08))  # about per_second records a second
        left = producer.flush(120)
        if left:
            self.failures.append(f"{writer}: {left} records are still unanswered")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.count(f"refused {error.name()}")
            return
        value = message.value()
        assert value is not None
        self.history.acknowledge(
            _text(value), Where(message.topic() or "", message.partition() or 0), message.offset() or 0
        )
        self.count("acknowledged")

    def write_transactions(self, writer: str, topic: str, *, records: int = 8) -> None:
        """Write transactions until the run stops; some are aborted on purpose."""
        self.history.writers[writer] = Kind.TRANSACTIONAL
        dice = random.Random(f"{self.seed}{writer}")
        sequence = transaction = 0
        producer: Producer | None = None
        while not self.stopping.is_set():
            transaction += 1
            try:
                if producer is None:
                    producer = _producer(self.bootstrap, {"transactional.id": writer, "transaction.timeout.ms": 30_000})
                    producer.init_transactions(60)
                producer.begin_transaction()
                for _ in range(dice.randint(1, records)):
                    record = Sent(writer, sequence, transaction=transaction)
                    sequence += 1
                    self.history.send(record)
                    _produce(producer, topic, record, self._delivered)
                    producer.poll(0)
                if dice.random() < 0.2:
                    # Most are aborted after the broker has the records, some before.
                    if dice.random() < 0.8:
                        producer.flush(30)
                    producer.abort_transaction(60)
                    self._ended(writer, transaction, End.ABORTED)
                else:
                    # Before the answer is known, the end is not.
                    producer.commit_transaction(60)
                    self._ended(writer, transaction, End.COMMITTED)
            except KafkaException as failure:
                producer = self._recover(writer, transaction, producer, failure)
            time.sleep(dice.uniform(0.01, 0.1))  # the next transaction begins a little later

    def _ended(self, writer: str, transaction: int, end: End) -> None:
        self.history.ends[writer, transaction] = end
        self.count(f"transactions {end.value}")

    def _recover(
        self, writer: str, transaction: int, producer: Producer | None, failure: KafkaException
    ) -> Producer | None:
        """Abort where the client says that this helps, else begin again with a new client."""
        error: KafkaError = failure.args[0]
        self.count(f"transaction failed {error.name()}")
        if producer is not None and error.txn_requires_abort():
            with contextlib.suppress(KafkaException):
                producer.abort_transaction(60)
                self._ended(writer, transaction, End.ABORTED)
                return producer
        self.history.ends.setdefault((writer, transaction), End.UNKNOWN)
        time.sleep(0.2)  # before it begins again
        return None

    # --- readers
    # -----------------------------------------------------------------------------------------------------

    def follow(self, topic: str, partitions: int, *, committed: bool = False) -> None:
        """Read a topic from its beginning until the run stops, without a group; note what is where."""
        consumer = _consumer(self.bootstrap, {"group.id": f"follow-{topic}"}, committed=committed)
        consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in range(partitions)])
        with contextlib.closing(consumer):
            while not self.stopping.is_set():
                self._see(consumer.consume(500, 0.2))

    def _see(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.error() is None:
                value = message.value()
                assert value is not None
                self.history.see(
                    Where(message.topic() or "", message.partition() or 0), message.offset() or 0, _text(value)
                )
                self.count("read while brokers failed")

    def copy(self, source: str, target: str, group: str) -> None:
        """Copy records that are committed from one topic to another, exactly once: offsets are in the transactions."""
        consumer = _consumer(
            self.bootstrap,
            {
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 10_000,
            },
            committed=True,
        )
        consumer.subscribe([source])
        with contextlib.closing(consumer):
            while not self.stopping.is_set():
                try:
                    self._copy_until_a_failure(consumer, target, group)
                except KafkaException as failure:
                    self.count(f"copy failed {failure.args[0].name()}")
                    _back_to_committed(consumer)
                    time.sleep(0.2)  # before it copies again

    def _copy_until_a_failure(self, consumer: Consumer, target: str, group: str) -> None:
        settings = {"transactional.id": group, "transaction.timeout.ms": 20_000, **_NO_ENDLESS_WAIT}
        producer = _producer(self.bootstrap, settings)
        producer.init_transactions(60)
        while not self.stopping.is_set():
            messages = [one for one in consumer.consume(50, 0.2) if one.error() is None]
            if not messages:
                continue
            producer.begin_transaction()
            try:
                for message in messages:
                    producer.produce(target, message.value(), partition=message.partition() or 0)
                    producer.poll(0)
                producer.send_offsets_to_transaction(
                    consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), 60
                )
                producer.commit_transaction(60)
            except KafkaException as failure:
                if not failure.args[0].txn_requires_abort():
                    raise
                self.count(f"copy aborted {failure.args[0].name()}")
                producer.abort_transaction(60)
                _back_to_committed(consumer)
            else:
                self.count("copied", len(messages))


def read_all(bootstrap: str, topics: dict[str, int], *, committed: bool) -> Contents:
    """Everything that is in some topics (name to number of partitions), up to their ends of now."""
    consumer = _consumer(bootstrap, {"group.id": "read-all"}, committed=committed)
    found: dict[Where, list[tuple[int, str]]] = {
        Where(topic, index): [] for topic, count in topics.items() for index in range(count)
    }
    open_partitions = set(found)
    consumer.assign([TopicPartition(where.topic, where.partition, OFFSET_BEGINNING) for where in found])
    is_stuck = stuck_after_silence()
    with contextlib.closing(consumer):
        while open_partitions:
            count = sum(map(len, found.values()))
            assert not is_stuck(count), f"{sorted(open_partitions)} not read to the end: {count} records"
            for message in consumer.consume(1000, 0.5):
                where = Where(message.topic() or "", message.partition() or 0)
                error = message.error()
                if error is None:
                    value = message.value()
                    assert value is not None
                    found[where].append((message.offset() or 0, _text(value)))
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 (its public name)
                    open_partitions.discard(where)
    return found


def _producer(bootstrap: str, settings: dict[str, Any]) -> Producer:
    return Producer({"bootstrap.servers": bootstrap, **_QUIET, **settings})


def _consumer(bootstrap: str, settings: dict[str, Any], *, committed: bool) -> Consumer:
    level = "read_committed" if committed else "read_uncommitted"
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "isolation.level": level,
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            **_QUIET,
            **settings,
        }
    )


def _produce(producer: Producer, topic: str, record: Sent, delivered: Callable[..., None]) -> None:
    while True:
        try:
            producer.produce(topic, record.value, on_delivery=delivered)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def _back_to_committed(consumer: Consumer) -> None:
    """Read on from what the group has committed: an aborted copy did not happen."""
    assigned = consumer.assignment()
    if not assigned:
        return
    for one in consumer.committed(assigned, timeout=60):
        consumer.seek(TopicPartition(one.topic, one.partition, one.offset if one.offset >= 0 else OFFSET_BEGINNING))


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()
