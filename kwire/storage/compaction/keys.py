"""The offset of the latest record of each key, for one round of compaction.

Responsible for: the map and its bound. Must not depend on: batches, files.

Memory is bounded by ``log.cleaner.dedupe.buffer.size``, as in Kafka: when the map is full the round ends there and the
next one continues. A long key is kept as its digest.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_KEY_BYTES_MAX: Final = 32
_DIGEST_BYTES: Final = 32
# Not a length that a short key may have, so that no key can be taken for the digest of another.
_DIGEST_MARK: Final = b"#"
# The map consists of this many dicts: a dict of a million keys takes 30 ms to grow, and these grow one by one.
_PARTS: Final = 64
# What an entry costs beside its key: the bytes object, the int, and its share of a dict that is half full.
_ENTRY_BYTES: Final = 170


class OffsetMap:
    """Key -> offset of its latest record below ``end_offset``."""

    __slots__ = ("_bytes_left", "_parts", "end_offset")

    def __init__(self, bytes_max: int) -> None:
        # No key from this offset on was noted.
        self.end_offset = 0
        self._bytes_left = bytes_max
        self._parts: list[dict[bytes, int]] = [{} for _ in range(_PARTS)]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    @property
    def is_full(self) -> bool:
        return self._bytes_left <= 0

    def note(self, key: bytes, offset: int) -> None:
        if len(key) > _KEY_BYTES_MAX:
            key = _DIGEST_MARK + blake2b(key, digest_size=_DIGEST_BYTES).digest()
        offsets = self._parts[hash(key) % _PARTS]
        if key not in offsets:
            self._bytes_left -= len(key) + _ENTRY_BYTES
        offsets[key] = offset

    def is_latest(self, key: bytes, offset: int) -> bool:
        """Tell whether no later record of ``key`` was noted."""
        if len(key) > _KEY_BYTES_MAX:
            key = _DIGEST_MARK + blake2b(key, digest_size=_DIGEST_BYTES).digest()
        return offset >= self._parts[hash(key) % _PARTS].get(key, -1)
