"""The state of one transactional id.

Responsible for: the states of a transaction and which may follow which, and the value that a record of
``__transaction_state`` holds. Must not depend on: how a state is left (``transitions``), records, the log.

              ┌──────────────── InitProducerId ───────────────┐
              ▼                                               │
    ────► Empty ──► Ongoing ──┬─► PrepareCommit ──► CompleteCommit ──► Ongoing ...
                              └─► PrepareAbort ───► CompleteAbort ───► Ongoing ...

PrepareCommit and PrepareAbort are decisions: only the markers and the completion can follow, even after a crash. Dead
and PrepareEpochFence are states of Kafka that no record has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from kwire.types import TopicPartition

NO_PRODUCER_ID: Final = -1
NO_EPOCH: Final = -1
# The last epoch of a producer id; a producer gets at most the one before it, so that it can be fenced.
EPOCH_MAX: Final = 2**15 - 1
# From this transaction.version on each end of a transaction raises the epoch (KIP-890 part 2).
NEW_EPOCH_SINCE: Final = 2
# The timeout of a transaction with two-phase commit, which never times out (KIP-939).
NEVER_MS: Final = 2**31 - 1


class State(IntEnum):
    """The numbers are those of the records."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7

    @property
    def title(self) -> str:
        """Its name in requests and responses."""
        return self.name.title().replace("_", "")


# No transaction is open: a new one may begin, and the id may expire.
EMPTY_OR_COMPLETE: Final = frozenset({State.EMPTY, State.COMPLETE_COMMIT, State.COMPLETE_ABORT})
# The end is in the log, its markers and the completion follow.
PREPARED: Final = frozenset({State.PREPARE_COMMIT, State.PREPARE_ABORT})

MAY_FOLLOW: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        State.EMPTY: frozenset({State.EMPTY, State.ONGOING, State.PREPARE_ABORT}),
        State.ONGOING: frozenset({State.ONGOING, State.PREPARE_COMMIT, State.PREPARE_ABORT}),
        State.PREPARE_COMMIT: frozenset({State.COMPLETE_COMMIT}),
        State.PREPARE_ABORT: frozenset({State.COMPLETE_ABORT}),
        State.COMPLETE_COMMIT: frozenset({State.EMPTY, State.ONGOING, State.PREPARE_ABORT}),
        State.COMPLETE_ABORT: frozenset({State.EMPTY, State.ONGOING, State.PREPARE_ABORT}),
    }
)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transactional id; replaced as a whole at each step.

    ``producer_epoch`` is -1 until the first producer has started. ``next_producer_id`` is set while a transaction ends
    with the last epoch of its producer id. ``client_version`` is the transaction.version of its client: with 2 each end
    raises the epoch (KIP-890). ``start_ms`` is -1 before the first partition.
    """

    producer_id: int
    producer_epoch: int = NO_EPOCH
    previous_producer_id: int = NO_PRODUCER_ID
    next_producer_id: int = NO_PRODUCER_ID
    timeout_ms: int = 0
    state: State = State.EMPTY
    partitions: frozenset[TopicPartition] = frozenset()
    start_ms: int = -1
    update_ms: int = -1
    client_version: int = 0

    @property
    def is_epoch_exhausted(self) -> bool:
        return self.producer_epoch >= EPOCH_MAX - 1
