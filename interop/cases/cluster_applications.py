"""Kafka Streams and Kafka Connect on three brokers of which one after the other stops or is killed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from interop.case import Run, case
from interop.cases.connect import Pipe, Worker, differs
from interop.cases.streams import STREAMS_GROUPS, STREAMS_PROTOCOL, WordCount
from interop.cluster.rig import Rig

_BROKERS = 3
# As on one broker: compaction is frequent, so that the changelog is compacted before it is restored.
_SETTINGS = {
    "log.cleaner.backoff.ms": "500",
    "group.streams.initial.rebalance.delay.ms": "0",
}
# The lines of a file are in order in one partition only.
_IN_ORDER = {**_SETTINGS, "num.partitions": "1"}


class LosesOne:
    """A cluster where a case expects one broker: ``stop`` and ``kill`` end the next of its brokers, by turns."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._next = 0
        self._away: int | None = None

    @property
    def bootstrap(self) -> str:
        return self.rig.bootstrap

    @property
    def alive(self) -> bool:
        return self.rig.brokers[0].process is not None or self._away is not None

    def start(self) -> None:
        """Start all nodes, or the broker that is away; then replicas are in sync again."""
        if not self.alive:
            self.rig.start()
            return
        if self._away is None:
            return
        node = self.rig.broker(self._away)
        self._away = None
        node.start()
        node.wait()
        self.rig.wait_in_sync()

    def stop(self) -> None:
        self.rig.broker(self._turn()).stop()

    def kill(self) -> None:
        self.rig.broker(self._turn()).kill()

    def _turn(self) -> int:
        assert self._away is None
        self._next += 1
        self._away = (self._next - 1) % _BROKERS + 1
        return self._away


@contextlib.contextmanager
def cluster(run: Run, settings: Mapping[str, str] = _SETTINGS) -> Iterator[LosesOne]:
    rig = Rig(run.folder, brokers=[run.target] * _BROKERS, controllers=[run.target], settings=settings)
    try:
        yield LosesOne(rig)
        rig.assert_alive()
    finally:
        rig.close()


def each_broker_once(count: WordCount, lines: int = 1500) -> None:
    """The application and each of the brokers are killed or stopped while words are counted."""
    count.app.start()
    upsets = (count.broker_killed, count.app_killed, count.broker_stopped, count.state_lost, count.broker_killed)
    for upset in upsets:
        count.while_fed(lines, upset)


@case("cluster", "applications", "streams-word-count-exactly-once-v2")
def streams(run: Run) -> None:
    with cluster(run) as brokers, WordCount.of(run, brokers, "exactly_once_v2") as count:
        each_broker_once(count)
        count.assert_exactly_right()
        count.assert_internal_topics(run)


@case("cluster", "applications", "streams-word-count-exactly-once-with-the-streams-protocol", requires=STREAMS_GROUPS)
def streams_protocol(run: Run) -> None:
    with cluster(run) as brokers, WordCount.of(run, brokers, "exactly_once_v2", STREAMS_PROTOCOL) as count:
        each_broker_once(count)
        count.assert_exactly_right()


@case("cluster", "applications", "connect-file-to-file-with-an-exactly-once-source")
def connect(run: Run) -> None:
    with cluster(run, _IN_ORDER) as brokers, Worker(run, brokers, exactly_once=True, replicas=_BROKERS) as worker:
        pipe = Pipe(worker)
        pipe.every_upset()
        assert list(dict.fromkeys(pipe.sunk())) == pipe.written, differs(pipe.sunk(), pipe.written)
        committed = run.read_to_end(pipe.topic, committed=True, server=brokers.bootstrap)
        assert committed == pipe.written, differs(committed, pipe.written)
        worker.assert_internal_topics()
