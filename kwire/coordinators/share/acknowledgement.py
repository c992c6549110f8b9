"""Acknowledgements of a share consumer (KIP-932, KIP-1222).

Responsible for: the types, the resulting state of a record, and the checks that need no state. Must not depend on:
share partitions, requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kwire.coordinators.share.state import DeliveryState

GAP: Final = 0
ACCEPT: Final = 1
RELEASE: Final = 2
REJECT: Final = 3
RENEW: Final = 4

_TARGETS: Final = {
    # A record that is not in the log, as a gap in an acquired range is.
    GAP: DeliveryState.ARCHIVED,
    ACCEPT: DeliveryState.ACKNOWLEDGED,
    RELEASE: DeliveryState.AVAILABLE,
    REJECT: DeliveryState.ARCHIVED,
}


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """One range of offsets with one type for all of it, or one for each offset."""

    first_offset: int
    last_offset: int
    types: Sequence[int]

    def type_of(self, offset: int) -> int:
        return self.types[0] if len(self.types) == 1 else self.types[offset - self.first_offset]


def target_state(kind: int, *, dead_letters: bool) -> DeliveryState | None:
    """The state that a record gets; None for RENEW, which leaves it acquired.

    ``dead_letters``: a record that is rejected is written to a dead letter topic first (KIP-1191).
    """
    return DeliveryState.ARCHIVING if kind == REJECT and dead_letters else _TARGETS.get(kind)
