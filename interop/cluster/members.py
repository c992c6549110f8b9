"""Members of groups in a run: consumers of both protocols, a reader of committed offsets, members of a share group.

Responsible for: threads with librdkafka clients that fill in a ``GroupHistory`` or a ``ShareHistory``. Must not depend
on: processes, faults, what is checked. Some members leave and join again, so that groups rebalance without a fault too.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import (
    AcknowledgeType,
    Consumer,
    KafkaException,
    Message,
    ShareConsumer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from interop.cluster.group_history import Begin, Commit, CommittedRead, Delivery, GroupHistory, ShareHistory
from interop.cluster.history import Where
from interop.cluster.workload import Clients

CLASSIC: Final = "classic"
CONSUMER: Final = "consumer"
_LEAVES: Final = 0.02  # of the polls that gave records
_CALL_S: Final = 20.0


@dataclass(slots=True)
class Groups:
    """The groups of one run. All read ``topic``."""

    clients: Clients
    topic: str
    partitions: int
    by_protocol: dict[str, GroupHistory] = field(default_factory=dict)
    share: ShareHistory = field(default_factory=lambda: ShareHistory("sharers", count_max=5))
    assignments: Iterator[int] = field(default_factory=itertools.count)

    def start(self, members: int = 2) -> None:
        for protocol in (CLASSIC, CONSUMER):
            history = self.by_protocol[protocol] = GroupHistory(f"{protocol}-readers")
            for number in range(members):
                member = _Member(self, history, protocol, f"{protocol} member {number}")
                self.clients.start(member.name, member.run)
            self.clients.start(f"{protocol} committed", lambda history=history: self._watch_committed(history))
        for number in range(members):
            name = f"share member {number}"
            self.clients.start(name, lambda name=name: self._share(name))

    def prepare(self, admin: AdminClient) -> None:
        """Let the share group begin at the first record."""
        earliest = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.GROUP, self.share.name, incremental_configs=[earliest])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(60)

    def stopping(self) -> bool:
        return self.clients.stopping.is_set()

    def consumer(self, group: str, **settings: object) -> Consumer:
        return Consumer(self._settings(group, **{"enable.auto.commit": False, **settings}))

    def _settings(self, group: str, **settings: object) -> dict[str, Any]:
        return {"bootstrap.servers": self.clients.bootstrap, "group.id": group, "log_level": 0, **settings}

    def _watch_committed(self, history: GroupHistory) -> None:
        """Read the committed offsets again and again, as an admin client of the group would."""
        wanted = [TopicPartition(self.topic, index) for index in range(self.partitions)]
        with contextlib.closing(self.consumer(history.name)) as consumer:
            while not self.stopping():
                began_ns = time.monotonic_ns()
                with contextlib.suppress(KafkaException):
                    found = consumer.committed(wanted, timeout=_CALL_S)
                    ended_ns = time.monotonic_ns()
                    for one in found:
                        if one.error is None:
                            where = Where(one.topic, one.partition)
                            read = CommittedRead(where, max(0, one.offset), began_ns, ended_ns)
                            history.reads_of_committed.append(read)
                    self.clients.count(f"committed offsets of {history.name} read")
                time.sleep(0.2)  # about five times a second

    def _share(self, name: str) -> None:
        dice = random.Random(f"{self.clients.seed}{name}")
        settings = self._settings(self.share.name, **{"share.acknowledgement.mode": "explicit"})
        consumer = ShareConsumer(settings)
        consumer.subscribe([self.topic])
        try:
            while not self.stopping():
                try:
                    messages = [one for one in consumer.poll(0.5) if one.error() is None]
                except KafkaException:
                    continue
                if messages:
                    self._acknowledge(consumer, name, messages, dice)
        finally:
            with contextlib.suppress(KafkaException):
                consumer.close()

    def _acknowledge(
        self, consumer: ShareConsumer, name: str, messages: Sequence[Message], dice: random.Random
    ) -> None:
        accepted = []
        for one in messages:
            delivery = Delivery(_where(one), one.offset() or 0, one.delivery_count() or 0, name)
            self.share.delivered.append(delivery)
            # Releases come soon and seldom enough that no record reaches the limit by them alone.
            accepts = delivery.delivery > 1 or dice.random() < 0.9
            consumer.acknowledge(one, AcknowledgeType.ACCEPT if accepts else AcknowledgeType.RELEASE)
            if accepts:
                accepted.append(delivery)
        try:
            results = {
                Where(each.topic, each.partition): error for each, error in consumer.commit_sync(_CALL_S).items()
            }
        except KafkaException:
            self.clients.count("acknowledgements of share groups without an answer")
            return
        confirmed = [one for one in accepted if results.get(one.where, _UNKNOWN) is None]
        self.share.accepted += confirmed
        self.clients.count("accepted in a share group", len(confirmed))


_UNKNOWN: Final = object()


class _Member:
    """A member of a consumer group that commits what it has read, and leaves and joins again at times."""

    def __init__(self, groups: Groups, history: GroupHistory, protocol: str, name: str) -> None:
        self.name = name
        self._groups = groups
        self._history = history
        self._protocol = protocol
        self._dice = random.Random(f"{groups.clients.seed}{name}")
        self._assigned: dict[Where, tuple[int, int]] = {}  # assignment and its time
        self._begun: set[Where] = set()

    def run(self) -> None:
        while not self._groups.stopping():
            self._assigned.clear()
            with contextlib.closing(self._consumer()) as consumer:
                consumer.subscribe(
                    [self._groups.topic], on_assign=self._on_assign, on_revoke=self._on_gone, on_lost=self._on_gone
                )
                self._read(consumer)
            self._groups.clients.count(f"members of {self._history.name} left")

    def _consumer(self) -> Consumer:
        settings: dict[str, object] = {"group.protocol": self._protocol, "auto.offset.reset": "earliest"}
        if self._protocol == CLASSIC:
            settings["session.timeout.ms"] = 10_000
        return self._groups.consumer(self._history.name, **settings)

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        now_ns = time.monotonic_ns()
        for one in partitions:
            where = Where(one.topic, one.partition)
            self._assigned[where] = (next(self._groups.assignments), now_ns)
            self._begun.discard(where)

    def _on_gone(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            self._assigned.pop(Where(one.topic, one.partition), None)

    def _read(self, consumer: Consumer) -> None:
        while not self._groups.stopping():
            messages = [one for one in consumer.consume(200, 0.5) if one.error() is None]
            if not messages:
                continue
            positions: dict[Where, int] = {}
            for one in messages:
                where, offset = _where(one), one.offset() or 0
                if where not in self._assigned:
                    continue  # it was revoked with the same poll that gave these records
                if where not in self._begun:
                    self._begun.add(where)
                    self._history.begins.append(Begin(where, offset, self.name, self._assigned[where][1]))
                self._history.read.add((where, offset))
                positions[where] = offset + 1
            self._commit(consumer, positions)
            if self._dice.random() < _LEAVES:
                return

    def _commit(self, consumer: Consumer, positions: dict[Where, int]) -> None:
        if not positions:
            return
        assigned = {where: self._assigned[where][0] for where in positions}
        offsets = [TopicPartition(where.topic, where.partition, offset) for where, offset in positions.items()]
        began_ns, errors = time.monotonic_ns(), {}
        try:
            results = consumer.commit(offsets=offsets, asynchronous=False)
            errors = {Where(one.topic, one.partition): one.error for one in results or ()}
        except KafkaException as failure:
            self._groups.clients.count(f"commits of {self._history.name} failed {failure.args[0].name()}")
        ended_ns = time.monotonic_ns()
        for where, offset in positions.items():
            acknowledged = where in errors and errors[where] is None
            commit = Commit(where, offset, self.name, assigned[where], began_ns, ended_ns, acknowledged)
            self._history.commits.append(commit)
            self._groups.clients.count(f"committed by {self._history.name}", int(acknowledged))


def wait_until_read(groups: Groups, acknowledged: set[tuple[Where, int]], is_stuck: Callable[[int], bool]) -> None:
    """Wait until the groups have read all these records, as long as they read on."""
    while not groups.clients.failures:
        share = {(one.where, one.offset) for one in list(groups.share.delivered)}
        left = [acknowledged - set(one.read) for one in groups.by_protocol.values()]
        missing = len(acknowledged - share) + sum(map(len, left))
        if not missing or is_stuck(missing):
            return
        time.sleep(0.2)  # a poll, bounded by is_stuck


def _where(message: Message) -> Where:
    return Where(message.topic() or "", message.partition() or 0)
