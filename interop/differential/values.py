"""The values that an operation's body refers to, put in place for one broker: names, ids, sequences, batches."""

import base64
import struct
from collections.abc import Callable
from typing import Any

from interop.differential.operations import Json
from interop.oracle.asker import FIXED_TIME_MS
from interop.oracle.stories.groups import subscription
from kwire.wire.batches.compression import Codec
from kwire.wire.batches.crc import crc32c
from kwire.wire.batches.records import Record, build_batch
from kwire.wire.spec import Field

UNKNOWN_ID = "AAAAAAAAAAAAAAAAAAAAbg"


def is_reference(value: Any) -> bool:
    return isinstance(value, dict) and any(key.startswith("$") for key in value)


class Values:
    """The values of one broker and one run. `kept` is filled from answers by the session."""

    def __init__(self, prefix: str, topic_ids: Callable[[str], list[str]], arrived: Callable[[str], None]) -> None:
        self.prefix = prefix
        self.kept: Json = {}
        self.sequences: dict[tuple[str, str, int], int] = {}
        self.joined: dict[str, list[str]] = {}  # connection -> member ids of its last JoinGroup answer
        self._topic_ids = topic_ids
        self._arrived = arrived  # waits for the answer that keeps this name, if one is on its way

    def resolve(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.name(value)
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if not is_reference(value):
            return {key: self.resolve(item) for key, item in value.items()}
        return self._reference(value)

    def restart_sequences(self, producer: str) -> None:
        """A new producer id or epoch begins at sequence 0 on each partition."""
        self.sequences = {key: value for key, value in self.sequences.items() if key[0] != producer}

    def name(self, text: str) -> str:
        return f"{self.prefix}-{text[1:]}" if text.startswith("~") else text

    def _reference(self, value: Json) -> Any:  # noqa: PLR0911 - one kind of reference a line
        if "$" in value:
            self._arrived(value["$"])
            found = self.kept.get(value["$"], value.get("else", -1))
            return wrapped(found + value["plus"], value["$"]) if value.get("plus") and isinstance(found, int) else found
        if "$id" in value:
            ids = self._topic_ids(self.name(value["$id"]))
            nth = value.get("nth", -1)
            return ids[nth] if -len(ids) <= nth < len(ids) else UNKNOWN_ID
        if "$next" in value:
            return self._next(value)
        if "$assign" in value:
            self._arrived(f"id.{value['$assign']}")
            members = self.joined.get(value["$assign"], [])
            return [{"memberId": member, "assignment": self._assignment(member)} for member in members]
        if "$subscription" in value:
            return subscription(*map(self.name, value["$subscription"]))
        if "$acknowledge" in value:
            return self._acknowledgements(value["$acknowledge"], value["type"])
        if "$batch" in value:
            return base64.b64encode(self.batch(value["$batch"])).decode()
        raise ValueError(f"no such reference: {value}")

    def _next(self, value: Json) -> int:
        producer, topic, partition = value["$next"]
        reached = int(self.sequences.get((producer, self.name(topic), partition), 0))
        return max(0, reached + int(value.get("plus", 0)))

    def _assignment(self, member: str) -> str:
        # Named by the connection that joined, because ids are made up by each broker.
        owner = next((name for name, value in self.kept.items() if value == member), "?")
        return base64.b64encode(f"for {owner}".encode()).decode()

    def _acknowledgements(self, member: str, kind: int) -> list[Json]:
        """Of all records that the last ShareFetch answer of a member gave it, as its request's topics have them."""
        self._arrived(f"got.{member}")
        return [
            {
                "topicId": topic["topicId"],
                "partitions": [
                    {
                        "partitionIndex": each["partitionIndex"],
                        "acknowledgementBatches": [
                            {
                                "firstOffset": run["firstOffset"],
                                "lastOffset": run["lastOffset"],
                                "acknowledgeTypes": [kind],
                            }
                            for run in each["acquiredRecords"]
                        ],
                    }
                    for each in topic["partitions"]
                ],
            }
            for topic in self.kept.get(f"got.{member}", [])
        ]

    def batch(self, wish: Json) -> bytes:
        """A batch of `values`; the other keys are optional, `time_ms` is relative to FIXED_TIME_MS."""
        entries = [
            Record(
                n,
                FIXED_TIME_MS + wish.get("time_ms", 0) + n,
                None if wish.get("no_key") else wish.get("key", "k").encode(),
                None if text is None else written_out(text).encode(),
                (),
            )
            for n, text in enumerate(wish.get("values", ["v"]))
        ]
        raw = build_batch(
            entries,
            codec=Codec(wish.get("codec", 0)),
            producer_id=clamped(self.resolve(wish.get("producer", -1)), 63),
            producer_epoch=clamped(self.resolve(wish.get("epoch", -1)), 15),
            base_sequence=clamped(self.resolve(wish.get("sequence", -1)), 31),
            transactional=wish.get("transactional", False),
        )
        for damage in wish.get("damage", []):
            raw = damaged(raw, damage)
        return raw


def written_out(text: str) -> str:
    """Repeat a letter: v*3 stands for vvv, so that a script stays readable."""
    letter, star, times = text.partition("*")
    return letter * int(times) if star else text


def fitted(fields: tuple[Field, ...], body: Json, version: int) -> Json:
    """What the version has of a body: no other fields, and an empty value for a null that it does not know."""
    kept: Json = {}
    for item in fields:
        if version not in item.versions or item.json not in body:
            continue
        value = body[item.json]
        if value is None and version not in item.nullable:
            continue
        if item.struct is not None and value is not None:
            inner = item.struct.fields
            many = isinstance(value, list)
            value = [fitted(inner, one, version) for one in value] if many else fitted(inner, value, version)
        kept[item.json] = value
    return kept


def damaged(raw: bytes, damage: Json) -> bytes:
    """Changes bytes of a batch at a position; unless "crc" is false its checksum is made right afterwards."""
    buffer = bytearray(raw)
    if "cut" in damage:
        return bytes(buffer[: damage["cut"]])
    if "twice" in damage:
        return bytes(buffer * 2)
    struct.pack_into(damage["format"], buffer, damage["at"], damage["value"])
    if damage.get("crc", True):
        struct.pack_into(">I", buffer, 17, crc32c(memoryview(buffer)[21:]))
    return bytes(buffer)


def clamped(value: int, bits: int) -> int:
    return max(-(2**bits), min(2**bits - 1, value))


def wrapped(value: int, name: str) -> int:
    bits = 15 if name.startswith("epoch") else 63 if name.startswith("pid") else 31
    return clamped(value, bits)
