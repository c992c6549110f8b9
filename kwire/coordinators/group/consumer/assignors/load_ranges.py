"""The subscribers of one topic, ordered by their number of partitions: which one gets or gives the next partition.

Responsible for: ``LoadRanges``, an order of members that is kept right while partitions move without sorting again.
Must not depend on: topics, partitions.

    partitions │                 ┌────┐ most loaded: grows to the left
               │            ┌────┘    │
               │       ┌────┘         │
               │  ┌────┘              │
               │  │ least loaded: grows to the right
               └──┴───────────────────┴──► members

Members in the least loaded range get a partition in turn; when each has got one, the level of the range rises and the
members at that level join it. The most loaded range is the same from the other side.
"""

from __future__ import annotations

from collections.abc import Sequence


class LoadRanges:
    """``sizes``: the number of partitions by member number; the caller changes it as partitions move."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._members: list[int] = []
        self._least_end = 0
        self._least_level = -1
        self._next_least = 0
        self._most_start = 0
        self._most_end = 0
        self._most_level = 1
        self._next_most = -1

    def start(self, members: Sequence[int]) -> int:
        """Begin with these members; return how much more the first has than the last."""
        sizes = self._sizes
        self._members = sorted(members, key=lambda number: (sizes[number], number))
        least, most = sizes[self._members[0]], sizes[self._members[-1]]
        count = len(self._members)
        self._least_end, self._least_level, self._next_least = 0, least - 1, 0
        self._most_start, self._most_end, self._most_level, self._next_most = count, count, most + 1, count - 1
        return most - least

    def is_balanced(self) -> bool:
        return self._most_level - self._least_level <= 1

    def next_least_loaded(self) -> int:
        """The member that gets the next partition."""
        members, sizes = self._members, self._sizes
        if self._next_least >= self._least_end:
            self._least_level += 1
            while self._least_end < len(members) and sizes[members[self._least_end]] == self._least_level:
                self._least_end += 1
            self._next_least = 0
        found = members[self._next_least]
        self._next_least += 1
        return found

    def next_most_loaded(self) -> int | None:
        """The member that gives the next partition; None if no member is left that can."""
        members, sizes = self._members, self._sizes
        if self._next_most < self._most_start:
            if self._most_end <= self._most_start and self._most_start > 0:
                # All members of the range were excluded: continue at the level of the next member.
                self._most_level = sizes[members[self._most_start - 1]]
            else:
                self._most_level -= 1
            while self._most_start > 0 and sizes[members[self._most_start - 1]] == self._most_level:
                self._most_start -= 1
            self._next_most = self._most_end - 1
        if self._next_most < 0:
            return None
        found = members[self._next_most]
        self._next_most -= 1
        return found

    def exclude_most_loaded(self) -> None:
        """The member that ``next_most_loaded`` gave last has nothing to give."""
        members, last = self._members, self._next_most + 1
        members[last], members[self._most_end - 1] = members[self._most_end - 1], members[last]
        self._most_end -= 1
