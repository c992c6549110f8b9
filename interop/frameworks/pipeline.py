"""An application between two topics: feeding it, ending it or its broker meanwhile, and reading what it wrote."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from interop.brokers import Restartable
from interop.case import Run
from interop.frameworks.expectations import Series, fault_of_copies, fault_of_counts, key, short, value
from interop.processes import Program

PARTITIONS = 4
RETENTION_MS = "86400000"
PER_SECOND = 400
# The longest time without a new record.
PATIENCE_S = 180


class Pipeline:
    """``into`` is the broker of the output, if it is another one; there the application creates its topic."""

    def __init__(self, run: Run, broker: Restartable, *, into: Restartable | None = None) -> None:
        self.run = run
        self.broker = broker
        self.into = into or broker
        for one in (self.broker, self.into):
            if not one.alive:
                one.start()
        self.name, self.input, self.output = run.unique("app"), run.unique("in"), run.unique("out")
        self.fed = 0
        self._programs: list[Program] = []
        self.create(self.input)
        if into is None:
            self.create(self.output)

    def create(self, topic: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        new = NewTopic(topic, PARTITIONS, 1, config={"retention.ms": RETENTION_MS})
        for created in admin.create_topics([new]).values():
            created.result(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._programs:
            program.kill()

    @property
    def bootstrap(self) -> str:
        return self.broker.bootstrap

    def folder(self, name: str) -> Path:
        folder = self.run.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def started(self, program: Program) -> Program:
        """Start an application; the end of the case kills it."""
        self._programs.append(program)
        program.start()
        return program

    def feed(self, count: int, *, per_second: int = 0) -> None:
        """Write records to the input, each acknowledged; at once if no rate is given."""
        producer = Producer(
            {"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 0}
        )
        refused: list[object] = []

        def delivered(error: object, _: object) -> None:
            if error is not None:
                refused.append(error)

        for n in range(self.fed, self.fed + count):
            producer.produce(self.input, key=key(n), value=str(value(n)), on_delivery=delivered)
            producer.poll(1 / per_second if per_second else 0)
        assert producer.flush(120) == 0, "not all records of the input were acknowledged"
        assert not refused, refused
        self.fed += count

    @contextmanager
    def while_fed(self, count: int) -> Iterator[None]:
        """Feed at a steady rate meanwhile; starts once the application has written some of the first records."""
        before = len(self.records())
        with ThreadPoolExecutor(1) as feeder:
            feeding = feeder.submit(self.feed, count, per_second=PER_SECOND)
            self.wait_until(lambda: len(self.records()) >= before + 50, "the application writes")
            yield
            feeding.result()

    def upset(self, *upsets: Callable[[], None], count: int = 800) -> None:
        """Do each of these while records are in flight, and wait for what the application writes of them."""
        for act in upsets:
            with self.while_fed(count):
                act()
            self.wait()

    def broker_killed(self) -> None:
        self.broker.kill()
        self._start_again(self.broker)

    def into_killed(self) -> None:
        self.into.kill()
        self._start_again(self.into)

    def _start_again(self, broker: Restartable) -> None:
        time.sleep(1)  # clients notice, and try to connect
        broker.start()

    def wait(self) -> None:
        """Wait until each key has its number of records in the output, or none is new for a long time."""
        self.wait_until(lambda: not short(self.series(), self.fed), "each key has its records")

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait; the timeout restarts with each new record of the output."""
        last, deadline = -1, time.monotonic() + PATIENCE_S
        while not holds():
            for program in self._programs:
                if program.running:
                    program.assert_alive()
            seen = len(self.records())
            if seen != last:
                last, deadline = seen, time.monotonic() + PATIENCE_S
            if time.monotonic() > deadline:
                missing = short(self.series(), self.fed)
                tails = "\n".join(program.tail() for program in self._programs)
                raise AssertionError(f"not in {PATIENCE_S} s: {what}; {last} records, missing {missing}\n{tails}")
            time.sleep(0.5)  # a poll, bounded above

    def records(self, topic: str = "", *, committed: bool = True) -> list[tuple[str, str]]:
        """Key and value of all records that a topic, by default the output, has now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.into.bootstrap,
                "group.id": "reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed" if committed else "read_uncommitted",
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        topic = topic or self.output
        seen: list[tuple[str, str]] = []
        try:
            described = consumer.list_topics(timeout=60).topics.get(topic)
            partitions = list(described.partitions) if described else []
            consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            ended: set[int] = set()
            deadline = time.monotonic() + PATIENCE_S
            while len(ended) < len(partitions):
                assert time.monotonic() < deadline, f"{topic} could not be read to its end"
                for message in consumer.consume(1000, 0.2):
                    error = message.error()
                    if error and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 (its public name)
                        ended.add(message.partition() or 0)
                    elif not error:
                        seen.append(((message.key() or b"").decode(), (message.value() or b"").decode()))
        finally:
            consumer.close()
        return seen

    def series(self) -> Series:
        """The values of each key, in their order."""
        series: Series = defaultdict(list)
        for record_key, written in self.records():
            series[record_key].append(int(written))
        return series

    def assert_counted(self, *, exactly: bool) -> None:
        fault = fault_of_counts(self.series(), self.fed, exactly=exactly)
        assert not fault, fault

    def assert_copied(self, *, exactly: bool) -> None:
        fault = fault_of_copies(self.series(), self.fed, exactly=exactly)
        assert not fault, fault
