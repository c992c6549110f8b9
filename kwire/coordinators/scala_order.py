"""The order in which an immutable ``HashMap`` of Scala 2.13 iterates.

Responsible for: results of Apache Kafka before 4.0 that depend on that order. Must not depend on: what is ordered.

The map is a tree (CHAMP). A node looks at five bits of a key's hash, the lowest first: it has the keys that share these
bits with no other, in the order of the bits, and behind them a node for each group of keys that share them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from kwire.coordinators.java_order import string_hash

_BITS: Final = 5
_HASH_BITS: Final = 32
_MASK: Final = 2**_HASH_BITS - 1


def scala_map_order(texts: Iterable[str]) -> list[str]:
    """Return the texts, each once, in the order of the map that has them as keys."""
    return _node_order([(_improved(string_hash(text)), text) for text in dict.fromkeys(texts)], 0)


def _node_order(keys: list[tuple[int, str]], shift: int) -> list[str]:
    if shift >= _HASH_BITS:
        return [text for _, text in keys]  # equal hashes: in the order of insertion
    groups = defaultdict(list)
    for key in keys:
        groups[key[0] >> shift & 2**_BITS - 1].append(key)
    ordered = [groups[bits] for bits in sorted(groups)]
    alone = [group[0][1] for group in ordered if len(group) == 1]
    return alone + [text for group in ordered if len(group) > 1 for text in _node_order(group, shift + _BITS)]


def _improved(hash_code: int) -> int:
    """Scala's ``Hashing.improve``, unsigned."""
    mixed = hash_code & _MASK
    mixed = mixed + (~(mixed << 9) & _MASK) & _MASK
    mixed ^= mixed >> 14
    mixed = mixed + (mixed << 4) & _MASK
    return mixed ^ mixed >> 10
