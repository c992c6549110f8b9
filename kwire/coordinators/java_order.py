"""Java's hash codes, the order in which a Java ``HashMap`` iterates, and its ``PriorityQueue``.

Responsible for: results of Apache Kafka that depend on that order: assignments, the choice of a protocol. Must not
depend on: what is ordered.

A ``HashMap`` has a table of 2^n buckets. A key goes to the end of the list of its bucket; the table doubles, and keeps
the order within each bucket, once it holds more than 3/4 of its size. (From eight keys in one bucket on Java makes a
tree of it; that is not modelled.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from kwire.types import Uuid

K = TypeVar("K")

DEFAULT_CAPACITY: Final = 16


def string_hash(text: str) -> int:
    """Java's ``String.hashCode``, a signed 32-bit number: it runs over UTF-16 code units."""
    units = text.encode("utf-16-be", "surrogatepass")
    result = 0
    for position in range(0, len(units), 2):
        result = (result * 31 + (units[position] << 8) + units[position + 1]) & 0xFFFFFFFF
    return result - 2**32 if result >= 2**31 else result


def uuid_hash(uuid: Uuid) -> int:
    """Kafka's ``Uuid.hashCode``, unsigned: the four 32-bit words of the id, combined by exclusive or."""
    number = int.from_bytes(uuid, "big")
    halves = number >> 64 ^ number & 0xFFFFFFFFFFFFFFFF
    return halves >> 32 ^ halves & 0xFFFFFFFF


def integer_hash(number: int) -> int:
    """Java's ``Integer.hashCode`` of a number that is not negative."""
    return number


def hash_map_order(
    keys: Iterable[K], hash_code: Callable[[K], int], *, capacity: int = DEFAULT_CAPACITY, expected: int | None = None
) -> list[K]:
    """Return the keys, each once, in the order in which a ``HashMap`` filled with them in the given order iterates.

    ``capacity``: the size of its table when it is made, a power of two. ``expected``: the constructor got a number of
    keys or a collection of that size (``new HashSet<>(collection)``) and chose the size of the table by it.
    """
    given = list(dict.fromkeys(keys))
    size = capacity if expected is None else _copy_capacity(expected)
    while len(given) > size * 3 // 4:
        size *= 2
    mask = size - 1
    codes = [hash_code(key) & 0xFFFFFFFF for key in given]
    buckets = [(code ^ code >> 16) & mask for code in codes]
    return [given[position] for position in sorted(range(len(given)), key=buckets.__getitem__)]


def computed_map_order(keys: Iterable[K], hash_code: Callable[[K], int], *, expected: int) -> list[K]:
    """The same for ``new HashMap<>(expected)`` that is filled by one ``computeIfAbsent`` for each of the given keys.

    ``computeIfAbsent`` puts a key to the front of its bucket, and doubles the table before the key that is too many.
    """
    size = 1 << max(expected - 1, 0).bit_length()
    buckets: list[list[K]] = [[] for _ in range(size)]
    count = 0
    for key in keys:
        if count > size * 3 // 4:
            held = [each for bucket in buckets for each in bucket]
            size *= 2
            buckets = [[] for _ in range(size)]
            for each in held:
                buckets[_spread(hash_code(each)) & size - 1].append(each)
        bucket = buckets[_spread(hash_code(key)) & size - 1]
        if key not in bucket:
            bucket.insert(0, key)
            count += 1
    return [key for bucket in buckets for key in bucket]


def _spread(hash_code: int) -> int:
    code = hash_code & 0xFFFFFFFF
    return code ^ code >> 16


def _copy_capacity(count: int) -> int:
    """The table of ``new HashSet<>(collection)``: max(count / 0.75 + 1, 16), up to the next power of two."""
    wanted = max(int(count / 0.75) + 1, DEFAULT_CAPACITY)
    return 1 << (wanted - 1).bit_length()


class PriorityQueue(Generic[K]):
    """Java's ``PriorityQueue``: among equal elements, ``poll`` gives the one that Java's gives.

    ``rank`` gives what elements are compared by; it may change while an element is out of the queue only.
    """

    def __init__(self, rank: Callable[[K], float]) -> None:
        self._rank = rank
        self._heap: list[K] = []

    def __bool__(self) -> bool:
        return bool(self._heap)

    def add(self, element: K) -> None:
        heap, rank = self._heap, self._rank
        place, value = len(heap), rank(element)
        heap.append(element)
        while place > 0:
            parent = (place - 1) >> 1
            if value >= rank(heap[parent]):
                break
            heap[place] = heap[parent]
            place = parent
        heap[place] = element

    def poll(self) -> K | None:
        """Remove and return the least element; None from an empty queue."""
        heap, rank = self._heap, self._rank
        if not heap:
            return None
        first, last = heap[0], heap.pop()
        size = len(heap)
        if size == 0:
            return first
        place, value = 0, rank(last)
        while place < size >> 1:
            child = 2 * place + 1
            if child + 1 < size and rank(heap[child]) > rank(heap[child + 1]):
                child += 1
            if value <= rank(heap[child]):
                break
            heap[place] = heap[child]
            place = child
        heap[place] = last
        return first
