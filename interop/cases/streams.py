"""Kafka Streams: a word count whose application and broker are stopped and killed while it works."""

import os
import shutil
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from interop.brokers import Restartable
from interop.case import Run, case
from interop.jars import CURRENT, classpath
from interop.java import CLASSES, SOURCES, Job, compile_program
from interop.processes import JavaProcess

RELEASE = f"streams-{CURRENT}"
PROGRAM = CLASSES / f"for-{RELEASE}"
PER_SECOND = 250
PARTITIONS = 2
# The longest time without a new count.
PATIENCE_S = 90
compiling = threading.Lock()

# Compaction is frequent, so that the changelog is compacted before it is restored.
EAGER_CLEANER = {"log.cleaner.backoff.ms": "500"}


@case("applications", "streams", "word-count-exactly-once-v2-static-members-killed", smoke=True)
def static_members_killed(run: Run) -> None:
    # A restart with the same instance ids continues without a rebalance.
    with WordCount.of(run, run.broker, "exactly_once_v2", "main.consumer.group.instance.id=one") as count:
        count.app.start()
        count.while_fed(800, count.app_killed)
        count.feed(200).wait(60).ok()
        count.assert_exactly_right()


@case("applications", "streams", "word-count-exactly-once-v2-application-and-broker-restarted")
def exactly_once_broker_restarted(run: Run) -> None:
    with WordCount.of(run, run.own_broker(EAGER_CLEANER), "exactly_once_v2") as count:
        everything_in_the_middle(count)
        count.assert_exactly_right()
        count.assert_internal_topics(run)


@case("applications", "streams", "word-count-at-least-once-application-and-broker-restarted")
def at_least_once_broker_restarted(run: Run) -> None:
    with WordCount.of(run, run.own_broker(EAGER_CLEANER), "at_least_once") as count:
        everything_in_the_middle(count)
        count.assert_at_least_right()
        count.assert_internal_topics(run)
        count.reset(run)


@case("applications", "streams", "word-count-exactly-once-v2-two-applications-one-killed")
def one_of_two(run: Run) -> None:
    with WordCount.of(run, run.broker, "exactly_once_v2") as count, count.another("second") as second:
        for app in (count.app, second):
            app.start()
        for app in (count.app, second):
            app.wait_for("state RUNNING")
        count.while_fed(2000, count.app.kill)
        count.wait_for_counts(4 * count.lines)
        second.stop()
        count.assert_exactly_right()


# With the streams protocol the broker assigns the tasks. A member that was killed is missed soon.
STREAMS_PROTOCOL = "group.protocol=streams"
QUICK = {
    "group.streams.min.session.timeout.ms": "3000",
    "group.streams.session.timeout.ms": "6000",
    "group.streams.min.heartbeat.interval.ms": "300",
    "group.streams.heartbeat.interval.ms": "500",
    "group.streams.initial.rebalance.delay.ms": "0",
}
STREAMS_GROUPS = ("StreamsGroupHeartbeat", "StreamsGroupDescribe")


@case(
    "applications", "streams", "streams-protocol-exactly-once-application-and-broker-restarted", requires=STREAMS_GROUPS
)
def streams_protocol_exactly_once(run: Run) -> None:
    with WordCount.of(run, run.own_broker({**EAGER_CLEANER, **QUICK}), "exactly_once_v2", STREAMS_PROTOCOL) as count:
        everything_in_the_middle(count)
        described = run.tool("streams-groups", "--bootstrap-server", count.broker.bootstrap, "--list").ok().out
        assert count.name in described, described
        count.assert_exactly_right()
        count.assert_internal_topics(run)


@case("applications", "streams", "streams-protocol-two-applications-one-killed", requires=STREAMS_GROUPS)
def streams_protocol_one_of_two(run: Run) -> None:
    broker = run.own_broker(QUICK)
    with (
        WordCount.of(run, broker, "exactly_once_v2", STREAMS_PROTOCOL) as count,
        count.another("second", STREAMS_PROTOCOL) as second,
    ):
        for app in (count.app, second):
            app.start()
        for app in (count.app, second):
            app.wait_for("state RUNNING")
        count.while_fed(2000, count.app.kill)
        count.wait_for_counts(4 * count.lines)
        at = ("--bootstrap-server", broker.bootstrap)
        members = run.tool("streams-groups", *at, "--describe", "--group", count.name, "--members").ok().out
        assert count.name in members, members
        state = run.tool("streams-groups", *at, "--describe", "--group", count.name, "--state").ok().out
        assert "Stable" in state, state
        second.stop()
        count.assert_exactly_right()


@case("applications", "streams", "streams-protocol-with-stock-settings", requires=STREAMS_GROUPS, smoke=True)
def streams_protocol_stock(run: Run) -> None:
    with WordCount.of(run, run.broker, "at_least_once", STREAMS_PROTOCOL) as count:
        count.app.start()
        count.feed(200).wait(60).ok()
        count.wait_for_counts(4 * count.lines)
        count.assert_at_least_right()


def everything_in_the_middle(count: "WordCount") -> None:
    """Stop and kill the application and the broker, each while it counts."""
    count.app.start()
    for upset in (count.app_killed, count.broker_stopped, count.broker_killed, count.state_lost):
        count.while_fed(2000, upset)


@dataclass
class WordCount:
    """The application, its input, and the expected counts."""

    run: Run
    broker: Restartable
    app: JavaProcess
    name: str
    input: str
    output: str
    guarantee: str
    lines: int = 0

    @classmethod
    def of(cls, run: Run, broker: Restartable, guarantee: str, *more: str) -> "WordCount":
        compile_once()
        if not broker.alive:
            broker.start()
        name, text, counts = run.unique("app"), run.unique("text"), run.unique("counts")
        for topic in (text, counts):
            run.tool(
                "topics", "--bootstrap-server", broker.bootstrap, "--create", "--topic", topic,
                "--partitions", str(PARTITIONS),
            ).ok()  # fmt: skip
        app = application(run.folder / "first", broker.bootstrap, name, (text, counts), guarantee, *more)
        return cls(run, broker, app, name, text, counts, guarantee)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.app.kill()

    def another(self, name: str, *more: str) -> JavaProcess:
        folder = self.run.folder / name
        return application(folder, self.broker.bootstrap, self.name, (self.input, self.output), self.guarantee, *more)

    def feed(self, lines: int) -> Job:
        """Produce lines at a steady rate; the producer continues after a restart of its broker."""
        first, self.lines = self.lines, self.lines + lines
        return self.run.jvm.start(
            RELEASE, "WordCount", "feed", self.broker.bootstrap, self.input, str(first), str(lines), str(PER_SECOND)
        )

    def while_fed(self, lines: int, upset: Callable[[], None]) -> None:
        """Act after the first counts of these lines are produced."""
        before = 4 * self.lines
        feeding = self.feed(lines)
        self.wait_for_counts(before + 100)
        upset()
        feeding.wait(120).ok()

    def changes(self, total: int) -> list[tuple[str, int]]:
        """All counts that a read_committed consumer reads, until they reach the total or no more arrive."""
        finished = self.run.jvm.run(
            RELEASE, "WordCount", "read", self.broker.bootstrap, self.output, str(total), str(PATIENCE_S),
            timeout_s=10 * PATIENCE_S,
        )  # fmt: skip
        return [(word, int(count)) for word, count in map(str.split, finished.ok().lines)]

    def wait_for_counts(self, total: int) -> None:
        counted = sum(dict(self.changes(total)).values())
        assert counted >= total, (
            f"only {counted} words of {total} counted; the log of the application ends\n{self.app.tail()}"
        )

    def app_killed(self) -> None:
        self.app.kill()
        self.app.start()

    def state_lost(self) -> None:
        """Stop cleanly; the next start restores from the changelog only."""
        self.app.stop()
        shutil.rmtree(self.app.log.parent / "state")
        self.app.start()

    def broker_stopped(self) -> None:
        self.away(self.broker.stop)

    def broker_killed(self) -> None:
        self.away(self.broker.kill)

    def away(self, end: Callable[[], None]) -> None:
        end()
        time.sleep(1)  # the application notices that the broker is away
        self.broker.start()
        self.app.assert_alive()

    def assert_exactly_right(self) -> None:
        """Exactly once: the counts of each word are 1, 2, 3 and so on up to the expected count."""
        expected = self.expected()
        total = sum(expected.values())
        self.changes(total)
        self.end()
        series: dict[str, list[int]] = defaultdict(list)
        for word, count in self.changes(total):
            series[word].append(count)
        last = {word: counts[-1] for word, counts in series.items()}
        assert last == expected, f"{difference(last, expected)}; the log of the application ends\n{self.app.tail()}"
        for word, counts in series.items():
            assert counts == list(range(1, expected[word] + 1)), f"{word}: {irregular(counts)}"

    def assert_at_least_right(self) -> None:
        expected = self.expected()
        self.changes(sum(expected.values()))
        self.end()
        last = dict(self.changes(sum(expected.values())))
        short = {word: count for word, count in expected.items() if last.get(word, 0) < count}
        assert not short, f"{difference(last, expected)}; the log of the application ends\n{self.app.tail()}"

    def end(self) -> None:
        if self.app.running:
            self.app.wait_for("state RUNNING")
            self.app.stop()
            assert "closed\n" in self.app.output, self.app.tail()

    def assert_internal_topics(self, run: Run) -> None:
        where = ("--bootstrap-server", self.broker.bootstrap)
        described = run.tool("topics", *where, "--describe", "--topic", f"{self.name}.*").ok().out
        changelog, repartition = f"{self.name}-counts-changelog", f"{self.name}-counts-repartition"
        (first,) = [line for line in described.splitlines() if changelog in line and "PartitionCount" in line]
        assert "cleanup.policy=compact" in first, described
        assert f"PartitionCount: {PARTITIONS}" in first, described
        assert f"Topic: {repartition}" in described, described
        # Counted records are purged from the repartition topic, and the changelog is compacted.
        earliest = run.tool("get-offsets", *where, "--topic", repartition, "--time", "earliest").ok().lines
        assert sum(int(line.rsplit(":", 1)[1]) for line in earliest) > 0, earliest
        words, deadline = len(self.expected()), time.monotonic() + 60
        while len(left := self.in_changelog(changelog)) >= 4 * self.lines:
            assert time.monotonic() < deadline, f"{len(left)} records in the changelog of {words} words"
        assert len(set(left)) == words, left[:5]

    def in_changelog(self, topic: str) -> list[str]:
        return self.run.read_to_end(topic, committed=False, keys=True, server=self.broker.bootstrap)

    def reset(self, run: Run) -> None:
        """Reset the application with the official tool."""
        where = ("--bootstrap-server", self.broker.bootstrap)
        # The members of an application stay in the group until their session times out; --force removes them.
        run.tool(
            "streams-application-reset", *where, "--application-id", self.name, "--input-topics", self.input, "--force"
        ).ok()
        topics = run.tool("topics", *where, "--list").ok().lines
        assert not [topic for topic in topics if topic.startswith(self.name)], topics
        offsets = run.tool("consumer-groups", *where, "--describe", "--group", self.name).ok().lines
        (consumed,) = {line.split()[3] for line in offsets if f" {self.input} " in line}
        assert consumed == "0", offsets

    def expected(self) -> Counter[str]:
        return Counter(word for n in range(self.lines) for word in line(n).split())


def line(n: int) -> str:
    """The same line as in WordCount.java."""
    return f"w{n % 7} v{n * 5 % 11} u{n // 3 % 13} w{n * 3 % 7}"


def application(
    folder: Path, bootstrap: str, name: str, topics: tuple[str, str], guarantee: str, *more: str
) -> JavaProcess:
    path = os.pathsep.join([classpath(RELEASE), str(PROGRAM)])
    state = str(folder / "state")
    return JavaProcess(
        f"the {folder.name} application", folder / "application.log", path,
        "WordCount", "run", bootstrap, name, *topics, guarantee, state, *more,
    )  # fmt: skip


def compile_once() -> None:
    with compiling:
        compile_program(SOURCES / "streams" / "WordCount.java", PROGRAM, classpath(RELEASE))


def difference(seen: dict[str, int], expected: Counter[str]) -> str:
    return ", ".join(
        f"{word}: {seen.get(word, 0)} for {count}" for word, count in expected.items() if seen.get(word, 0) != count
    )


def irregular(counts: list[int]) -> str:
    at = next(place for place, count in enumerate(counts, 1) if count != place)
    return f"after {counts[max(0, at - 4) : at - 1]} comes {counts[at - 1 : at + 3]}"
