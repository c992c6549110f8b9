"""The subjects of a request: topics, partitions, groups and transactional ids, found in any message.

Responsible for: the meaning of field names in the protocol, and matching them with a scope. Must not depend on: single
APIs, rules about clients, the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from kwire.faults.rules import Scope
from kwire.types import ZERO_UUID
from kwire.wire.codec import Message
from kwire.wire.spec import Field, walk

TopicName = Callable[[bytes], "str | None"]

_TOPIC_FIELDS: Final = frozenset({"topic", "topic_name"})
PARTITION_FIELDS: Final = frozenset({"partition", "partition_index", "partition_id", "index"})
_GROUP_FIELDS: Final = frozenset({"group_id", "groups", "group_ids", "groups_names"})
_TRANSACTION_FIELDS: Final = frozenset({"transactional_id", "transactional_ids"})
_GROUP_KEY, _TRANSACTION_KEY = 0, 1  # FindCoordinator's key types
_TOPIC_RESOURCE = 2


class Subject(NamedTuple):
    """One item of a request; a field is None where the item has no such name."""

    topic: str | None = None
    partition: int | None = None
    group: str | None = None
    transactional_id: str | None = None

    def matches(self, scope: Scope) -> bool:
        """Tell whether the item has everything that the scope names."""
        return (
            (scope.topic is None or scope.topic == self.topic)
            and (scope.partition is None or scope.partition == self.partition)
            and (scope.group is None or scope.group == self.group)
            and (scope.transactional_id is None or scope.transactional_id == self.transactional_id)
        )


def subjects(request: Message, topic_name: TopicName) -> Iterator[Subject]:
    """Walk a request: one subject for each innermost item, and one for each level above it."""
    yield from _walk(request, Subject(), "", topic_name)


KINDS: Final = ("topic", "partition", "group", "transactional_id")


def kinds_named(message: type[Message]) -> frozenset[str]:
    """Which of ``KINDS`` a request or response can name."""
    found = set()
    for _, field in walk(message.FIELDS):
        name = field.name
        if name in _TOPIC_FIELDS | {"topic_id", "resource_name"} or "topic" in name:
            found.add("topic")
        if name in PARTITION_FIELDS or "partition" in name:
            found.add("partition")
        if name in _GROUP_FIELDS or name in {"key", "coordinator_keys"}:
            found.add("group")
        if name in _TRANSACTION_FIELDS or name in {"key", "coordinator_keys"}:
            found.add("transactional_id")
    return frozenset(found)


def with_fields(subject: Subject, item: Message, array: str, topic_name: TopicName) -> Subject:
    """Add the names in the fields of ``item``, an element of the array of this name."""
    for field in item.FIELDS:
        if field.type != "array":
            subject = _with_value(subject, field.name, getattr(item, field.name), (array, item), topic_name)
    return subject


def with_element(subject: Subject, array: str, element: object, holder: Message, topic_name: TopicName) -> Subject:
    """Add the name that an element of an array of strings or numbers is; ``holder`` has the array."""
    name = "partition" if "partition" in array else "topic" if "topic" in array else array
    if array == "coordinator_keys":
        name = "key"
    return _with_value(subject, name, element, (array, holder), topic_name)


def _walk(item: Message, subject: Subject, array: str, topic_name: TopicName) -> Iterator[Subject]:
    subject = with_fields(subject, item, array, topic_name)
    yield subject
    for field in item.FIELDS:
        if field.type != "array":
            continue
        for element in getattr(item, field.name) or ():
            if isinstance(element, Message):
                yield from _walk(element, subject, field.name, topic_name)
            elif _is_identifier(field):
                yield with_element(subject, field.name, element, item, topic_name)


def _is_identifier(field: Field) -> bool:
    return field.item in ("string", "int32", "uuid")


def _with_value(subject: Subject, name: str, value: Any, holder: tuple[str, Message], topic_name: TopicName) -> Subject:
    """Add the value of a field; ``holder`` has its structure, and the array that this is an element of."""
    array, item = holder
    if value is None or value in ("", ZERO_UUID):
        return subject  # the version has another field for it
    if name == "topic_id":
        return subject._replace(topic=topic_name(value))
    if name == "key" and not hasattr(item, "key_type"):
        return subject._replace(group=value, transactional_id=value)  # an answer: its request has the kind
    kind = _kind(name, array, item)
    return subject if kind is None else subject._replace(**{kind: value})


def _kind(name: str, array: str, item: Message) -> str | None:
    """Which of ``KINDS`` a field is."""
    if name == "key":
        return {_GROUP_KEY: "group", _TRANSACTION_KEY: "transactional_id"}.get(getattr(item, "key_type", -1))
    is_topic = (
        name in _TOPIC_FIELDS
        or (name == "name" and "topic" in array)
        or (name == "resource_name" and getattr(item, "resource_type", None) == _TOPIC_RESOURCE)
    )
    for kind, fields in (
        ("partition", PARTITION_FIELDS),
        ("group", _GROUP_FIELDS),
        ("transactional_id", _TRANSACTION_FIELDS),
    ):
        if name in fields:
            return kind
    return "topic" if is_topic else None
