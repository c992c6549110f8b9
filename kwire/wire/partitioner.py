"""The partition of a key, as producers choose it.

Responsible for: Kafka's hash. Must not depend on: topics, records without a key.
"""

from __future__ import annotations


def partition_of_key(key: bytes, count: int) -> int:
    """Choose one of ``count`` partitions as the Java producer does."""
    return (murmur2(key) & 0x7FFFFFFF) % count


def murmur2(key: bytes) -> int:
    """Kafka's hash of a key (MurmurHash2, seed 0x9747b28c) as an unsigned number of 32 bits."""
    mask = 0xFFFFFFFF
    multiplier = 0x5BD1E995
    value = 0x9747B28C ^ len(key)
    whole = len(key) & ~3
    for position in range(0, whole, 4):
        word = int.from_bytes(key[position : position + 4], "little") * multiplier & mask
        word = (word ^ (word >> 24)) * multiplier & mask
        value = (value * multiplier & mask) ^ word
    if whole < len(key):
        value = (value ^ int.from_bytes(key[whole:], "little")) * multiplier & mask
    value = (value ^ (value >> 13)) * multiplier & mask
    return value ^ (value >> 15)
