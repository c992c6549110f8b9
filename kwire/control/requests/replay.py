"""Replays a recording: requests for another broker, and the differences between its answers and the recorded ones.

Responsible for: replacing recorded values that a broker chooses (member ids, topic ids, producer ids, session ids) in
later requests by those of the other broker; and comparing answers. Must not depend on: connections.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from kwire.errors import Code, KafkaError
from kwire.types import ZERO_UUID
from kwire.wire.batches.batch import OVERHEAD_BYTES, read_batch_header
from kwire.wire.batches.records import read_records
from kwire.wire.codec import Message
from kwire.wire.spec import Field

# Fields with values that a broker chooses.
_CHOSEN_TEXTS: Final = frozenset({"member_id", "leader"})
_CHOSEN_NUMBERS: Final = frozenset({"producer_id", "session_id"})
# The value of each kind that means none.
_NONE: Final = {"member": "", "id": ZERO_UUID, "producer_id": -1, "session_id": 0}
# Fields that differ between any two brokers, or from run to run.
_IGNORED: Final = frozenset(
    {
        "api_keys",
        "brokers",
        "client_host",
        "cluster_id",
        "controller_id",
        "coordinator",
        "current_leader",
        "error_message",
        "finalized_features",
        "finalized_features_epoch",
        "heartbeat_interval_ms",
        "host",
        "isr_nodes",
        "leader_epoch",
        "leader_id",
        "log_append_time_ms",
        "node_endpoints",
        "node_id",
        "port",
        "rack",
        "replica_nodes",
        "supported_features",
        "throttle_time_ms",
        "timestamp",
    }
)
_SIZE_AT: Final = 8


class Translation:
    """The values of the other broker by the recorded ones."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, Any], Any] = {}

    def note(self, recorded: Message, replayed: Message) -> None:
        """Note the values chosen by the brokers that differ between two answers to the same request."""
        for field, ours, theirs in _scalars(recorded, replayed):
            kind = _chosen(field)
            if kind is not None and ours != theirs and ours != _NONE[kind]:
                self._values[kind, ours] = theirs

    def apply(self, message: Message) -> None:
        """Put the other broker's values into a request, in place."""
        for field in message.FIELDS:
            value = getattr(message, field.name)
            if isinstance(value, Message):
                self.apply(value)
            elif field.type == "array" and value is not None:
                if field.struct is None:
                    setattr(message, field.name, [self._other(_chosen_item(field), each) for each in value])
                else:
                    for each in value:
                        self.apply(each)
            else:
                kind = _chosen(field)
                if kind is not None:
                    setattr(message, field.name, self._other(kind, value))

    def differences(self, recorded: Message, replayed: Message) -> Iterator[str]:
        """List the differences between an answer and the recorded one, one line for each field."""
        self.apply(recorded)
        yield from _differences("", _plain(recorded), _plain(replayed))

    def _other(self, kind: str | None, value: Any) -> Any:
        return value if kind is None else self._values.get((kind, value), value)


def _chosen(field: Field) -> str | None:
    """The kind of a field's value if a broker chooses it, else None."""
    if field.type == "uuid":
        return "id"
    if field.name in _CHOSEN_TEXTS:
        return "member"
    return field.name if field.name in _CHOSEN_NUMBERS else None


def _chosen_item(field: Field) -> str | None:
    return "id" if field.item == "uuid" else None


def _scalars(recorded: Message, replayed: Message) -> Iterator[tuple[Field, Any, Any]]:
    for field in recorded.FIELDS:
        ours, theirs = getattr(recorded, field.name), getattr(replayed, field.name)
        if isinstance(ours, Message) and isinstance(theirs, Message):
            yield from _scalars(ours, theirs)
        elif field.struct is not None and field.type == "array":
            for one, other in zip(_ordered(ours or ()), _ordered(theirs or ()), strict=False):
                yield from _scalars(one, other)
        elif field.type != "array":
            yield field, ours, theirs


def _ordered(items: Sequence[Any]) -> list[Any]:
    """Order elements by their names and numbers, which brokers give in any order."""
    return sorted(
        items,
        key=lambda item: [
            str(getattr(item, field.name))
            for field in item.FIELDS
            if (
                field.name in {"name", "topic", "group_id", "key"} or "index" in field.name or "partition" in field.name
            )
            and field.type != "array"
        ],
    )


def _plain(message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for field in message.FIELDS:
        if field.name in _IGNORED:
            continue
        value = getattr(message, field.name)
        if field.type == "records":
            shown[field.name] = _records(value)
        elif isinstance(value, Message):
            shown[field.name] = _plain(value)
        elif field.type == "array" and field.struct is not None:
            shown[field.name] = None if value is None else [_plain(each) for each in _ordered(value)]
        elif field.name == "error_code":
            shown[field.name] = Code(value).name if value in Code._value2member_map_ else value
        elif isinstance(value, (bytes, bytearray, memoryview)):
            shown[field.name] = bytes(value).hex()
        else:
            shown[field.name] = value
    return shown


def _records(content: Any) -> list[list[Any]] | str:
    """Give offset, key and value of each record; a last batch that is cut off is left out."""
    view = memoryview(content or b"")
    records: list[list[Any]] = []
    position = 0
    try:
        while position + OVERHEAD_BYTES <= len(view):
            end = position + OVERHEAD_BYTES + int.from_bytes(view[position + _SIZE_AT : position + _SIZE_AT + 4], "big")
            if end > len(view):
                break
            batch = view[position:end]
            if not read_batch_header(batch).is_control:
                records += [[each.offset, each.key, each.value] for each in read_records(batch)]
            position = end
    except KafkaError as error:
        return f"records that cannot be read: {error}"
    return records


def _differences(where: str, ours: Any, theirs: Any) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            yield from _differences(f"{where}.{name}" if where else name, value, theirs.get(name))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(f"{where}[{index}]", one, other)
    elif ours != theirs:
        yield f"{where}: recorded {_short(ours)}, replayed {_short(theirs)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
