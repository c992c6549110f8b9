"""Plays transcripts: text files of commands to a machine, each followed by what came of it.

    join g client=a
    ----
    #1 Joined a-1 MEMBER_ID_REQUIRED
    wrote group g generation 0 Empty

A blank line ends an answer; ``#`` at the start of a line before a command is a comment. ``KWIRE_REWRITE=1`` in the
environment writes the answers as they are now, to be reviewed as a diff.

``Playback`` is a small runtime: a list for a log, a number for a clock. After every command it replays its log into a
second machine and compares the durable parts; when an append is refused it compares the soft parts with what they were.
While ``is_held``, appended records are not committed: until ``release`` commits them, or ``lose`` loses them.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import shlex
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from kwire.coordinators.machine import Effects, Machine, MetadataChange, Record
from kwire.coordinators.topics import TopicDescription
from kwire.errors import Code, KafkaError

TIMER_RETRY_MS = 1000


class Logged(NamedTuple):
    key: bytes | None  # None: a marker
    value: bytes | None
    producer_id: int
    producer_epoch: int
    committed: bool


_STREAMS_CONFIGS = {
    "session.timeout.ms": 45_000,
    "heartbeat.interval.ms": 5000,
    "assignment.interval.ms": 0,
    "initial.rebalance.delay.ms": 0,
    "num.standby.replicas": 0,
    "rack.aware.assignment.tags": (),
    "task.offset.interval.ms": 60_000,
    "acceptable.recovery.lag": 10_000,
    "assignor.name": None,
}


class AllTopics:
    """A metadata image with the given feature levels, in which every topic id exists.

    ``topics``: what is known of some of them, by name. ``group_configs``: those of every group.
    """

    def __init__(self, features: dict[str, int]) -> None:
        self.features = features
        self.topics: dict[str, TopicDescription] = {}
        self.group_configs: dict[str, Any] = {
            **{f"streams.{name}": value for name, value in _STREAMS_CONFIGS.items()},
            "consumer.session.timeout.ms": 45_000,
            "consumer.heartbeat.interval.ms": 5000,
            "consumer.assignment.interval.ms": 0,
        }

    def topic_exists(self, topic_id: bytes) -> bool:
        del topic_id
        return True

    def topic(self, name: str) -> TopicDescription | None:
        return self.topics.get(name)

    def topic_by_id(self, topic_id: bytes) -> TopicDescription | None:
        return next((topic for topic in self.topics.values() if topic.id == topic_id), None)

    def topic_names(self) -> Iterable[str]:
        return self.topics

    def group_config(self, group_id: str) -> dict[str, Any]:
        del group_id
        return self.group_configs

    def has_group_config(self, group_id: str, name: str) -> bool:
        del group_id, name
        return False

    def put_topic(self, name: str, partition_count: int) -> TopicDescription:
        """A topic whose id is its name."""
        topic = self.topics[name] = TopicDescription(name, name.encode().rjust(16, b"-"), ((),) * partition_count)
        return topic

    def feature_level(self, name: str) -> int:
        return self.features.get(name, 0)


class Playback:
    """``make`` gives a new machine, ``durable`` what replay must give back, ``soft`` what a refused append must
    leave as it was, ``show`` a record as text."""

    def __init__(
        self,
        make: Callable[[], Any],
        durable: Callable[[Any], object],
        show: Callable[[bytes, bytes | None], str],
        *,
        soft: Callable[[Any], object] = lambda machine: None,
        now_ms: int = 1_000_000,
        features: dict[str, int] | None = None,
    ) -> None:
        self.metadata = AllTopics(features or {})
        self.make = make
        self._durable = durable
        self._soft = soft
        self._show = show
        self.now_ms = now_ms
        self.log: list[Logged] = []
        self.timers: dict[Hashable, int] = {}
        self.lines: list[str] = []
        self.fail_appends: Code | None = None
        self.is_held = False
        self.committed_offset = 0
        self._uncommitted: deque[tuple[int, Effects]] = deque()
        self._tickets = 0
        self.machine: Any = make()
        self.run_action: Callable[[object], None] = lambda action: self.lines.append(f"order {show_answer(action)}")
        self.apply(lambda machine, now_ms: machine.loaded(self.metadata, now_ms))

    def ticket(self) -> int:
        self._tickets += 1
        return self._tickets

    def ticket_ahead(self) -> int:
        """The ticket that the next command will get; makes fine random parts of member ids."""
        return self._tickets + 1

    def append_foreign(self, record: Record) -> None:
        """A record that another broker wrote."""
        self._append([record], Effects())

    def run(self, command: Callable[..., Effects], *args: Any, **values: Any) -> None:
        """A command with a ticket."""
        ticket = self.ticket()
        try:
            self._step(lambda: command(*args, ticket=ticket, now_ms=self.now_ms, **values), ticket)
        except KafkaError as error:
            self.lines.append(f"#{ticket} refused {error}")

    def ask(self, question: Callable[..., object], *args: Any, **values: Any) -> None:
        """A command that answers at once."""
        try:
            self.lines.append(show_answer(question(*args, **values)))
        except KafkaError as error:
            self.lines.append(f"refused {error}")

    def apply(self, command: Callable[[Any, int], Effects]) -> None:
        """A command without a ticket."""
        self._step(lambda: command(self.machine, self.now_ms))

    def change_metadata(self, change: MetadataChange) -> None:
        self.apply(lambda machine, now_ms: machine.on_metadata_change(change, self.metadata, now_ms))

    def mark(self, producer_id: int, producer_epoch: int, *, committed: bool) -> None:
        self.machine.timeline.begin()
        self.log.append(Logged(None, None, producer_id, producer_epoch, committed))
        self._replay_last(1)

    def advance(self, by_ms: int) -> None:
        """Let time pass; timers fire one by one, each at its time."""
        end_ms = self.now_ms + by_ms
        while due := [(deadline, key) for key, deadline in self.timers.items() if deadline <= end_ms]:
            deadline_ms, key = min(due, key=lambda each: each[0])
            self.now_ms = max(self.now_ms, deadline_ms)
            del self.timers[key]
            self._step(lambda key=key: self.machine.on_timer(key, self.now_ms), timer_key=key)  # type: ignore[misc]
        self.now_ms = end_ms

    def restart(self) -> None:
        """kill -9 and a new start: only the log remains."""
        self.timers = {}
        self._uncommitted.clear()
        self.committed_offset = len(self.log)
        self.machine = self._replayed()
        self.apply(lambda machine, now_ms: machine.loaded(self.metadata, now_ms))

    def release(self) -> None:
        """All that was appended is committed."""
        self.is_held = False
        self.committed_offset = len(self.log)
        self.machine.timeline.commit(len(self.log))
        while self._uncommitted:
            self._conclude(self._uncommitted.popleft()[1])

    def lose(self) -> None:
        """The disk lost what was not committed; the machine is loaded from what is left."""
        self.is_held = False
        del self.log[self.committed_offset :]
        self.restart()

    def check(self) -> None:
        assert self._durable(self._replayed()) == self._durable(self.machine), "the log does not give the durable state"

    def replayed_committed(self) -> Any:
        """A machine that has replayed what is committed."""
        return self._replayed(self.committed_offset)

    def _step(
        self,
        command: Callable[[], Effects],
        ticket: int | None = None,
        *,
        timer_key: Hashable | None = None,
        replies_at_once: bool = False,
    ) -> None:
        timeline = self.machine.timeline
        before = copy.deepcopy(self._soft(self.machine)) if self.fail_appends else None
        timeline.begin()
        try:
            effects = command()
        except KafkaError:
            timeline.revert()
            raise
        error = self.fail_appends if effects.records else None
        if error is not None and effects.atomic:
            timeline.revert()
            assert self._soft(self.machine) == before, "a refused append left a change"
            if timer_key is not None:
                self.timers[timer_key] = self.now_ms + TIMER_RETRY_MS
            self._refuse(effects, ticket, error)
            return
        if effects.records and error is None:
            for record in effects.records:
                self.lines.append(f"wrote {self._show(record.key, record.value)}" + _stamp(effects))
            self._append(effects.records, effects)
        timeline.drop()
        for key, deadline_ms in effects.timers:
            if deadline_ms is None:
                self.timers.pop(key, None)
            else:
                self.timers[key] = deadline_ms
        self._conclude_or_queue(effects, was_written=bool(effects.records) and error is None, at_once=replies_at_once)

    def _refuse(self, effects: Effects, ticket: int | None, error: Code) -> None:
        answered = len(self.lines)
        if effects.follow_up is not None:
            self._step(
                lambda: self.machine.on_append_result(effects.follow_up, error, self.now_ms), replies_at_once=True
            )
        if ticket is not None and not any(line.startswith(f"#{ticket} ") for line in self.lines[answered:]):
            self.lines.append(f"#{ticket} refused {error.name}")

    def _conclude_or_queue(self, effects: Effects, *, was_written: bool, at_once: bool) -> None:
        if was_written and self.is_held:
            self._uncommitted.append((len(self.log), effects))
        elif self._uncommitted and not at_once:
            # It shows what commands before have written, which must be committed before it is answered.
            self._uncommitted.append((self._uncommitted[-1][0], effects))
        else:
            self._conclude(effects)

    def _conclude(self, effects: Effects) -> None:
        for reply in effects.replies:
            self.lines.append(f"#{reply.ticket} {show_answer(reply.result)}")
        if effects.follow_up is not None:
            self._step(lambda: self.machine.on_append_result(effects.follow_up, None, self.now_ms))
        for action in effects.actions:
            self.run_action(action)

    def _append(self, records: list[Record], effects: Effects) -> None:
        producer_id, epoch = effects.producer or (-1, -1)
        for record in records:
            self.log.append(Logged(record.key, record.value, producer_id, epoch, committed=False))
        self._replay_last(len(records))

    def _replay_last(self, count: int) -> None:
        timeline = self.machine.timeline
        if not self.is_held:
            timeline.drop()
            self.committed_offset = len(self.log)
        for offset in range(len(self.log) - count, len(self.log)):
            _replay(self.machine, self.log[offset], offset, self.now_ms)
        if self.is_held:
            timeline.hold(len(self.log))

    def _replayed(self, end_offset: int | None = None) -> Any:
        machine = self.make()
        for offset, logged in enumerate(self.log[:end_offset]):
            _replay(machine, logged, offset, self.now_ms)
        return machine


def _replay(machine: Machine, logged: Logged, offset: int, now_ms: int) -> None:
    if logged.key is None:
        machine.replay_marker(logged.producer_id, logged.producer_epoch, committed=logged.committed)
        return
    machine.replay(
        logged.key,
        logged.value,
        offset=offset,
        timestamp_ms=now_ms,
        producer_id=logged.producer_id,
        producer_epoch=logged.producer_epoch,
    )


def _stamp(effects: Effects) -> str:
    return "" if effects.producer is None else f" (producer {effects.producer.producer_id})"


def show_answer(value: object) -> str:
    """An answer as a transcript has it: a named tuple as a dataclass would be, the rest as ``show_value``."""
    if not isinstance(value, tuple) or not hasattr(value, "_fields"):
        return show_value(value)
    defaults = value._field_defaults
    held = zip(value._fields, value, strict=True)
    return _show_fields(value, ((name, each, defaults.get(name, dataclasses.MISSING)) for name, each in held))


def show_value(value: object) -> str:  # noqa: PLR0911
    """A value as a transcript has it: dataclasses without fields that hold their default, the rest without quotes."""
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return _show_fields(value, ((field.name, getattr(value, field.name), field.default) for field in fields))
    match value:
        case Enum():
            return value.name
        case bytes():
            return (value.decode() if value.isascii() and b"\0" not in value else f"<{len(value)} bytes>") or "-"
        case "" | None:
            return "-"
        case [] | ():
            return "none"
        case list() | tuple():
            return "[" + ", ".join(show_value(each) for each in value) + "]"
        case frozenset() | set():
            return "{" + ", ".join(sorted(show_value(each) for each in value)) + "}"
        case _:
            return str(value)


def _show_fields(value: object, fields: Iterable[tuple[str, object, object]]) -> str:
    parts = [type(value).__name__]
    for name, held, default in fields:
        if default is dataclasses.MISSING:
            parts.append(show_value(held))
        elif held != default:
            parts.append(f"{name}={show_value(held)}")
    return " ".join(parts)


def play(
    path: Path, start: Callable[[dict[str, str]], tuple[Playback, Callable[[str, list[str], dict[str, str]], None]]]
) -> None:
    """Run one transcript. ``start(settings)`` gives a playback and the function that carries out one command."""
    text = path.read_text()
    settings: dict[str, str] = {}
    playback: Playback | None = None
    written: list[str] = []
    blocks = [block for block in text.strip("\n").split("\n\n") if block.strip()]
    perform: Callable[[str, list[str], dict[str, str]], None] = lambda *_: None  # noqa: E731
    for block in blocks:
        lines = block.split("\n")
        comments = [line for line in lines if line.startswith("# ")]
        commands = []
        for line in lines[len(comments) :]:
            if line == "----":
                break
            commands.append(line)
        if not commands:
            written.append("\n".join(comments))
            continue
        if playback is None:
            if commands[0].startswith("settings"):
                _, settings = _parse(commands[0])
                playback, perform = start(settings)
                written.append("\n".join([*comments, *commands]))
                continue
            playback, perform = start(settings)
        playback.lines = []
        for command in commands:
            words, values = _parse(command)
            perform(words[0], words[1:], values)
            playback.check()
        written.append("\n".join([*comments, *commands, "----", *playback.lines]))
    played = "\n\n".join(written) + "\n"
    if os.environ.get("KWIRE_REWRITE"):
        path.write_text(played)
    assert played == text


def _parse(line: str) -> tuple[list[str], dict[str, str]]:
    words = shlex.split(line)
    return (
        [word for word in words if "=" not in word],
        dict(word.split("=", 1) for word in words if "=" in word),
    )
