"""Topics as coordinators see them.

Responsible for: ``TopicDescription``, and the hashes by which a change of a group's topics is detected. Must not depend
on: the metadata image, groups.

A group's hash covers the id, name, partition count and racks of each subscribed topic that exists (KIP-1101); it is
stored in the group's record, so it must be Kafka's own: XXH3 of 64 bits over little-endian fields.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from kwire.types import Uuid

# The first byte of a topic's hash: the version of its format.
_MAGIC = 0


@dataclass(eq=False, slots=True)
class TopicDescription:
    """One topic at one version of the metadata.

    ``racks``: for each partition the racks of its replicas, sorted, as far as they are known. One object is used until
    the topic changes, so that its hash is computed once.
    """

    name: str
    id: Uuid
    racks: tuple[tuple[str, ...], ...]
    _hash: int | None = field(default=None, repr=False)

    @property
    def partition_count(self) -> int:
        return len(self.racks)

    @property
    def metadata_hash(self) -> int:
        """Kafka's hash of the topic, a signed 64-bit number."""
        if self._hash is None:
            self._hash = _topic_hash(self)
        return self._hash


def group_hash(topics: Iterable[TopicDescription]) -> int:
    """Kafka's hash of the topics of a group, each once: a signed 64-bit number, 0 for none."""
    described = sorted(topics, key=lambda topic: topic.name.encode("utf-16-be", "surrogatepass"))
    if not described:
        return 0
    return _xxh3(struct.pack(f"<{len(described)}q", *(topic.metadata_hash for topic in described)))


def _topic_hash(topic: TopicDescription) -> int:
    high, low = struct.unpack(">qq", topic.id)
    parts = [struct.pack("<bqq", _MAGIC, high, low), _string(topic.name), struct.pack("<i", topic.partition_count)]
    for index, racks in enumerate(topic.racks):
        parts.append(struct.pack("<i", index))
        parts += [struct.pack("<i", _length(rack)) + _string(rack) for rack in racks]
    return _xxh3(b"".join(parts))


def _string(text: str) -> bytes:
    """A string as hash4j hashes it: its UTF-16 code units, then how many these are."""
    return text.encode("utf-16-le", "surrogatepass") + struct.pack("<i", _length(text))


def _length(text: str) -> int:
    """How many UTF-16 code units: Java's ``String.length``."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _xxh3(data: bytes) -> int:
    import xxhash  # noqa: PLC0415 (only brokers with groups of the newer kinds need it)

    digest: int = xxhash.xxh3_64_intdigest(data)
    return digest - 2**64 if digest >= 2**63 else digest
