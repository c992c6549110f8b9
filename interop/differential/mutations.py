"""Makes a request slightly wrong: one field at a boundary, unknown, null, empty, or there twice."""

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from interop.advertised import KEYS
from interop.differential.operations import Json, Operation
from interop.differential.values import UNKNOWN_ID, is_reference
from kwire.wire import codec
from kwire.wire.spec import Field

BITS = {"int8": 7, "int16": 15, "int32": 31, "int64": 63}
# Other values of these fields make a request wait or a broker keep gigabytes, rather than answer something else.
LEFT_ALONE = {
    "records",
    "isolationLevel",
    "replicaId",
    "maxWaitMs",
    "timeoutMs",
    "minBytes",
    "transactionTimeoutMs",
    "sessionTimeoutMs",
    "rebalanceTimeoutMs",
}
# A marker of a later coordinator epoch fences Apache Kafka's own coordinator for good. Of a partition that a produce
# request names twice Apache Kafka may append one batch and answer for the other. Of several operations on configs that
# are refused Apache Kafka names the first in the order of a hash table.
LEFT_ALONE_IN = {
    ("Produce", "topicData"),
    ("Produce", "partitionData"),
    ("WriteTxnMarkers", "coordinatorEpoch"),
    ("IncrementalAlterConfigs", "configOperation"),
    ("CreateTopics", "numPartitions"),
    ("CreatePartitions", "count"),
}


class Spot(NamedTuple):
    """A value in a body: what holds it, under which key, and its field."""

    holder: Any
    key: Any
    field: Field


def mutated(operation: Operation, dice: random.Random) -> Operation:
    """The operation with one value changed, or as it is when nothing in it can be."""
    body = copy.deepcopy(operation.body)
    fields = codec.request_class(KEYS[operation.api]).FIELDS
    spots = [spot for spot in _spots(body, fields, operation.version) if not _left_alone(operation.api, spot)]
    if not spots:
        return operation
    spot = dice.choice(spots)
    spot.holder[spot.key] = _changed(spot, operation.version, dice)
    return operation if _repeats_protocol(operation.api, body) else replace(operation, body=body)


def repeated(operation: Operation, dice: random.Random) -> Operation:
    """The operation with one item of one of its lists there twice, next to each other or apart.

    In half of the cases another value in the second one is changed, such as the offset of a partition.
    """
    body = copy.deepcopy(operation.body)
    fields = codec.request_class(KEYS[operation.api]).FIELDS
    spots = [
        spot
        for spot in _spots(body, fields, operation.version)
        if spot.field.type == "array"
        and isinstance(value := spot.holder[spot.key], list)
        and value
        and not _left_alone(operation.api, spot)
    ]
    if not spots:
        return operation
    spot = dice.choice(spots)
    items = spot.holder[spot.key]
    again = copy.deepcopy(dice.choice(items))
    if spot.field.struct is not None and dice.random() < 0.5:
        inner = [one for one in _spots(again, spot.field.struct.fields, operation.version) if one.field.type != "array"]
        inner = [one for one in inner if not _left_alone(operation.api, one)]
        if inner:
            changed = dice.choice(inner)
            changed.holder[changed.key] = _changed(changed, operation.version, dice)
    items.insert(dice.randint(0, len(items)), again)
    return operation if _repeats_protocol(operation.api, body) else replace(operation, body=body)


def _repeats_protocol(api: str, body: Json) -> bool:
    """Whether a JoinGroup names a protocol twice.

    Apache Kafka then counts its supporters wrongly, and refuses or never answers the other members of the group.
    """
    names = [protocol["name"] for protocol in body.get("protocols") or ()] if api == "JoinGroup" else []
    return len(set(names)) < len(names)


def _left_alone(api: str, spot: Spot) -> bool:
    return spot.field.json in LEFT_ALONE or (api, spot.field.json) in LEFT_ALONE_IN


def _spots(body: Json, fields: tuple[Field, ...], version: int) -> Iterator[Spot]:
    for field in fields:
        if version not in field.versions or field.json not in body:
            continue
        yield Spot(body, field.json, field)
        value = body[field.json]
        if field.struct is None or value is None or is_reference(value):
            continue
        for item in value if isinstance(value, list) else [value]:
            yield from _spots(item, field.struct.fields, version)


def _changed(spot: Spot, version: int, dice: random.Random) -> Any:  # noqa: PLR0911 - one type a line
    field, value = spot.field, spot.holder[spot.key]
    if version in field.nullable and value is not None and dice.random() < 0.3:
        return None
    if field.type == "array":
        return _changed_list(value, dice)
    if field.type in BITS:
        return _changed_number(field, value, dice)
    if field.type == "bool":
        return not value
    if field.type == "uuid":
        return dice.choice([UNKNOWN_ID, "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAQ"])
    if field.type == "string":
        return dice.choice(["", "~unknown", "x" * 300, "a b", "é", "."])
    if field.type == "bytes":
        return dice.choice(["", "AAAA"])
    return value


def _changed_list(value: Any, dice: random.Random) -> Any:
    if not isinstance(value, list) or not value:
        return value
    kind = dice.randrange(3)
    if kind == 0:
        return []
    if kind == 1:
        return [*value, copy.deepcopy(dice.choice(value))]
    return list(reversed(value))


def _changed_number(field: Field, value: Any, dice: random.Random) -> Any:
    limit = 2 ** BITS[field.type]
    if isinstance(value, dict):
        return {**value, "plus": dice.choice([-1, 1, 100])} if "$" in value else value
    near = [value - 1, value + 1] if isinstance(value, int) else []
    chosen = dice.choice([*near, 0, -1, -2, 1, 9, limit - 1, -limit])
    return max(-limit, min(limit - 1, chosen))
