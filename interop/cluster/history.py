"""What clients sent, what they were told, and what the topics hold in the end: the checks.

Responsible for: the promises of acknowledged writes, idempotence and transactions, as a pure function of a history.
Must not depend on: clients, processes, how a fault was made.

Every record's value is ``writer:sequence``, with ``:transaction`` behind it for transactional writers. A writer counts
its sequences from 0. What is checked:

* an acknowledged record is in its partition, at the offset that was acknowledged;
* a record of an idempotent or transactional writer is there at most once, and a writer's records of a partition are in
  the order in which they were sent (a plain writer may repeat records, and only its first copies must be in order);
* no record is there that no client sent;
* what a consumer has read at an offset stays there, and nothing else comes to that offset;
* a transaction that was committed is visible as a whole to read_committed, one that was aborted not at all, and one
  whose end was never answered either as a whole or not at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Where(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Kind(Enum):
    """What a writer is promised."""

    PLAIN = "plain"
    IDEMPOTENT = "idempotent"
    TRANSACTIONAL = "transactional"


class End(Enum):
    """How a transaction ended, as its writer knows it."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


class Violation(NamedTuple):
    """``promise`` is a short name, the same for all violations of one promise."""

    promise: str
    text: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.text}"


@dataclass(slots=True)
class Sent:
    """One record that a writer handed to its client. ``offset`` is None unless it was acknowledged."""

    writer: str
    sequence: int
    where: Where | None = None
    offset: int | None = None
    transaction: int | None = None

    @property
    def value(self) -> str:
        base = f"{self.writer}:{self.sequence}"
        return base if self.transaction is None else f"{base}:{self.transaction}"


@dataclass(slots=True)
class History:
    """Filled in while clients run; clients of several threads may add, as each call is one list or dict operation."""

    writers: dict[str, Kind] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)  # by value
    ends: dict[tuple[str, int], End] = field(default_factory=dict)
    # What a consumer has read while the brokers failed.
    seen: dict[tuple[Where, int], str] = field(default_factory=dict)
    changed: list[Violation] = field(default_factory=list)

    def send(self, record: Sent) -> None:
        self.sent[record.value] = record

    def acknowledge(self, value: str, where: Where, offset: int) -> None:
        record = self.sent[value]
        record.where, record.offset = where, offset

    def see(self, where: Where, offset: int, value: str) -> None:
        """A consumer has read this; it may read it again after it went back to a committed offset."""
        before = self.seen.setdefault((where, offset), value)
        if before != value:
            self.changed.append(Violation("read again", f"{where} offset {offset}: first {before}, later {value}"))

    @property
    def acknowledged(self) -> int:
        # A list at once: other threads add records meanwhile.
        return sum(record.offset is not None for record in list(self.sent.values()))


Contents = Mapping[Where, Sequence[tuple[int, str]]]


def check(history: History, stored: Contents, visible: Contents) -> list[Violation]:
    """Check a history against all records that are ``stored``, and those that are ``visible`` to read_committed.

    Both by partition, as offset and value in the order of offsets.
    """
    return [
        *history.changed,
        *_acknowledged(history, stored),
        *_known(history, stored),
        *_once(history, stored),
        *_in_order(history, stored),
        *_stays(history, stored),
        *_transactions(history, visible),
    ]


def _acknowledged(history: History, stored: Contents) -> Iterable[Violation]:
    by_offset = {(where, offset): value for where, records in stored.items() for offset, value in records}
    anywhere = defaultdict(list)
    for (where, offset), value in by_offset.items():
        anywhere[value].append(f"{where} offset {offset}")
    for value, record in history.sent.items():
        if record.offset is None or record.where is None:
            continue
        if value not in anywhere:
            yield Violation("lost", f"{value} was acknowledged at {record.where} offset {record.offset}")
        elif by_offset.get((record.where, record.offset)) != value:
            places = ", ".join(anywhere[value])
            yield Violation(
                "moved", f"{value} was acknowledged at {record.where} offset {record.offset} and is at {places}"
            )


def _known(history: History, stored: Contents) -> Iterable[Violation]:
    for where, records in stored.items():
        for offset, value in records:
            if value not in history.sent:
                yield Violation("never sent", f"{where} offset {offset}: {value!r}")


def _once(history: History, stored: Contents) -> Iterable[Violation]:
    counts = Counter(value for records in stored.values() for _, value in records)
    for value, count in counts.items():
        record = history.sent.get(value)
        if count > 1 and record is not None and history.writers[record.writer] is not Kind.PLAIN:
            yield Violation("duplicated", f"{value} is there {count} times")


def _in_order(history: History, stored: Contents) -> Iterable[Violation]:
    for where, records in stored.items():
        last: dict[str, int] = {}
        for offset, value in records:
            record = history.sent.get(value)
            if record is None:
                continue
            before = last.get(record.writer, -1)
            if record.sequence > before:
                last[record.writer] = record.sequence
            elif history.writers[record.writer] is not Kind.PLAIN:
                yield Violation("out of order", f"{where} offset {offset}: {value} behind sequence {before}")


def _stays(history: History, stored: Contents) -> Iterable[Violation]:
    by_offset = {(where, offset): value for where, records in stored.items() for offset, value in records}
    for (where, offset), value in history.seen.items():
        now = by_offset.get((where, offset))
        if now != value:
            yield Violation("read and gone", f"{where} offset {offset}: a consumer read {value}, now there is {now}")


def _transactions(history: History, visible: Contents) -> Iterable[Violation]:
    shown = {value for records in visible.values() for _, value in records}
    parts: dict[tuple[str, int], list[Sent]] = defaultdict(list)
    for record in history.sent.values():
        if record.transaction is not None:
            parts[record.writer, record.transaction].append(record)
    for (writer, transaction), records in parts.items():
        end = history.ends.get((writer, transaction), End.UNKNOWN)
        count = sum(record.value in shown for record in records)
        text = f"{count} of {len(records)} records of transaction {transaction} of {writer} are visible"
        if end is End.ABORTED and count:
            yield Violation("aborted and visible", text)
        elif end is End.COMMITTED and count != len(records):
            yield Violation("committed and not visible", text)
        elif end is End.UNKNOWN and count not in (0, len(records)):
            yield Violation("not atomic", text)


def check_copies(inputs: Sequence[str], outputs: Sequence[str]) -> list[Violation]:
    """Check a topic that was filled by reading another one in transactions: each input exactly once."""
    wanted, found = Counter(inputs), Counter(outputs)
    missing, repeated = wanted - found, found - wanted
    return [
        *(Violation("not copied", value) for value in sorted(missing)),
        *(Violation("copied again", value) for value in sorted(repeated)),
    ]
