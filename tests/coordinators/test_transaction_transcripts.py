"""The transaction coordinator, played by transcripts: see ``playback``.

Partitions are written TOPIC-INDEX, producers ID:EPOCH. Fresh producer ids are 1000, 1001, ... Markers are written when
the transcript says ``written``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playback import Playback, play

from kwire.coordinators.machine import Effects, MetadataChange, ProducerStamp
from kwire.coordinators.transaction.commands import (
    AbortOverdue,
    EndTransaction,
    InitProducerId,
    TransactionConfig,
    TransactionFilter,
)
from kwire.coordinators.transaction.coordinator import TRANSACTION_VERSION, TransactionCoordinator
from kwire.coordinators.transaction.records import read_record, transaction_record
from kwire.coordinators.transaction.transaction import NO_PRODUCER_ID, State, Transaction
from kwire.errors import Code
from kwire.types import TopicPartition

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "transaction"


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.txt")), ids=lambda path: path.stem)
def test_the_transaction_coordinator_answers_as_written(path: Path) -> None:
    play(path, start)


class Stage(Playback):
    """A playback that gives out producer ids and carries out the orders that need no log."""

    def __init__(self, config: TransactionConfig, level: int) -> None:
        self.level = level
        self.ids = itertools.count(1000)
        super().__init__(
            lambda: TransactionCoordinator(config),
            lambda machine: machine.transactions,
            show,
            soft=soft,
            features={TRANSACTION_VERSION: level},
        )
        self.run_action = self.run_transaction_action

    def check(self) -> None:
        super().check()
        assert set(self.machine.previous) <= set(self.machine.transactions), "something is kept of a forgotten id"

    def spare(self, needed: bool) -> int:
        return next(self.ids) if needed else NO_PRODUCER_ID

    def run_transaction_action(self, action: object) -> None:
        if isinstance(action, AbortOverdue):
            self.lines.append(f"overdue {action.transactional_id}")
            spare_id = self.spare(self.machine.is_epoch_exhausted(action.transactional_id))
            self.apply(
                lambda machine, now_ms: machine.abort_overdue(action.transactional_id, spare_id=spare_id, now_ms=now_ms)
            )
            return
        kind = "commit" if action.committed else "abort"
        where = " ".join(map(str, action.partitions)) or "nowhere"
        stamp = f"{action.producer.producer_id}:{action.producer.producer_epoch}"
        self.lines.append(f"markers {action.transactional_id} {kind} {stamp} version {action.client_version}: {where}")


def soft(machine: TransactionCoordinator) -> object:
    """What a refused append must leave as it was, apart from the log."""
    return machine.transactions, machine.previous, machine.deadlines


def start(settings: dict[str, str]) -> tuple[Playback, Callable[..., None]]:
    level = int(settings.pop("level", "2"))
    stage = Stage(TransactionConfig(**{name: int(value) for name, value in settings.items()}), level)
    return stage, partial(submit, stage)


def submit(stage: Stage, verb: str, words: list[str], values: dict[str, str]) -> None:
    VERBS[verb](stage, words, values)


def init(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    """init ID [timeout=] [expected=ID:EPOCH]."""
    expected = values.get("expected")
    name = words[0] if words else ""
    command = InitProducerId(name, int(values.get("timeout", "60000")), stamp(expected) if expected else None)

    def run(*, ticket: int, now_ms: int) -> Effects:
        spare_id = stage.spare(stage.machine.lacks_producer_id(command))
        return stage.machine.init_producer_id(command, spare_id=spare_id, ticket=ticket, now_ms=now_ms)

    stage.run(run)


def add(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    """add ID PRODUCER PARTITION ... [version=]."""
    wanted = [partition(word) for word in words[2:]]
    version = int(values.get("version", "2"))
    stage.run(stage.machine.add_partitions, words[0], stamp(words[1]), wanted, client_version=version)


def verify(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    """verify ID PRODUCER PARTITION ..."""
    del values

    def ask() -> str:
        codes = stage.machine.verify_partitions(words[0], stamp(words[1]), map(partition, words[2:]))
        return " ".join(f"{where} {code.name}" for where, code in codes.items())

    stage.ask(ask)


def end(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    """commit|abort ID PRODUCER [version=]."""
    kind, name, producer = words
    command = EndTransaction(name, stamp(producer), kind == "commit", int(values.get("version", "2")))

    def run(*, ticket: int, now_ms: int) -> Effects:
        spare_id = stage.spare(stage.machine.is_epoch_exhausted(name))
        return stage.machine.end(command, spare_id=spare_id, ticket=ticket, now_ms=now_ms)

    stage.run(run)


def written(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    """written ID: all its markers are in the logs."""
    del values
    stage.apply(lambda machine, now_ms: machine.complete(words[0], now_ms))


def list_transactions(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    """list [states=] [producers=] [longer=] [pattern=]."""
    del words
    wanted = TransactionFilter(
        frozenset(each for each in values.get("states", "").split(",") if each),
        frozenset(int(each) for each in values.get("producers", "").split(",") if each),
        int(values.get("longer", "-1")),
        values.get("pattern"),
    )
    stage.ask(lambda: [list(each) for each in stage.machine.list(wanted, stage.now_ms) if each])


def describe(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    del values
    stage.ask(lambda: text(stage.machine.describe(words[0] if words else "")))


def put(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    """put ID PRODUCER [state=] [timeout=]: a record that another broker wrote, or one of a long history."""
    producer = stamp(words[1])
    transaction = Transaction(
        producer.producer_id,
        producer.producer_epoch,
        timeout_ms=int(values.get("timeout", "60000")),
        state=State[values.get("state", "EMPTY")],
        start_ms=stage.now_ms,
        update_ms=stage.now_ms,
        partitions=frozenset(map(partition, words[2:])),
    )
    stage.append_foreign(transaction_record(words[0], transaction, stage.level))


def level(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    """level N: transaction.version was changed."""
    del values
    stage.level = stage.metadata.features[TRANSACTION_VERSION] = int(words[0])
    stage.change_metadata(MetadataChange(features={TRANSACTION_VERSION: stage.level}))


def advance(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    del values
    stage.advance(int(words[0]))


def step(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    """step MS: the wall clock is set by so much. Timers are the monotonic clock's."""
    del values
    by_ms = int(words[0])
    stage.now_ms += by_ms
    stage.timers = {key: deadline_ms + by_ms for key, deadline_ms in stage.timers.items()}
    stage.machine.clock_stepped(by_ms)


def fail(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    """fail CODE|never: what appends from now on come to."""
    del values
    stage.fail_appends = None if words[0] == "never" else Code[words[0]]


def timers(stage: Stage, words: list[str], values: dict[str, str]) -> None:
    del words, values
    for key, deadline_ms in sorted(stage.timers.items(), key=lambda each: (each[1], str(each[0]))):
        stage.lines.append(f"{' '.join(map(str, key))} in {deadline_ms - stage.now_ms}")


VERBS: dict[str, Callable[[Stage, list[str], dict[str, str]], Any]] = {
    "abort": lambda stage, words, values: end(stage, ["abort", *words], values),
    "add": add,
    "advance": advance,
    "commit": lambda stage, words, values: end(stage, ["commit", *words], values),
    "describe": describe,
    "fail": fail,
    "init": init,
    "level": level,
    "list": list_transactions,
    "put": put,
    "restart": lambda stage, _, __: stage.restart(),
    "step": step,
    "timers": timers,
    "verify": verify,
    "written": written,
}


def stamp(word: str) -> ProducerStamp:
    producer_id, _, epoch = word.partition(":")
    return ProducerStamp(int(producer_id), int(epoch))


def partition(word: str) -> TopicPartition:
    topic, _, index = word.rpartition("-")
    return TopicPartition(topic, int(index))


def show(key: bytes, value: bytes | None) -> str:
    entry = read_record(key, value)
    assert entry is not None
    if entry.transaction is None:
        return f"{entry.transactional_id} forgotten"
    return f"{entry.transactional_id} v{int.from_bytes(value[:2], 'big')} {text(entry.transaction)}"


def text(transaction: Transaction) -> str:
    parts = [transaction.state.title, f"{transaction.producer_id}:{transaction.producer_epoch}"]
    if transaction.previous_producer_id not in (-1, transaction.producer_id):
        parts.append(f"before {transaction.previous_producer_id}")
    if transaction.next_producer_id != -1:
        parts.append(f"next {transaction.next_producer_id}")
    if transaction.client_version:
        parts.append(f"client {transaction.client_version}")
    parts += map(str, sorted(transaction.partitions))
    return " ".join(parts)
