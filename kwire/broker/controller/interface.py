"""The controller, as the rest of the broker uses it.

Responsible for: the protocol ``Controller`` and the values that it returns. Must not depend on: the metadata log, or
where the controller runs.

``EmbeddedController`` appends to this broker's own metadata log and answers without suspending. ``QuorumController``
sends the command to another process and waits for the reply. Callers therefore treat ``submit`` as a call that may
suspend: the image may have changed when it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from kwire.errors import KafkaError
from kwire.metadata.commands import Command
from kwire.metadata.decisions.decision import Charge, no_charge
from kwire.metadata.image import Delta
from kwire.types import Uuid

T = TypeVar("T")


class VoterEndpoint(NamedTuple):
    """A listener of a voter (KIP-853)."""

    name: str
    host: str
    port: int


class Voter(NamedTuple):
    """A voter of the metadata quorum. ``directory_id`` is None, and ``endpoints`` empty, while kraft.version is 0."""

    node_id: int
    directory_id: Uuid | None
    log_end_offset: int
    endpoints: tuple[VoterEndpoint, ...]


class Observer(NamedTuple):
    """A node that reads the metadata log without a vote: a broker. Times are ms since the epoch."""

    node_id: int
    directory_id: Uuid
    log_end_offset: int
    last_fetch_ms: int
    last_caught_up_ms: int


class QuorumDescription(NamedTuple):
    """The state of the metadata quorum (KIP-595)."""

    leader_id: int
    leader_epoch: int
    high_watermark: int
    kraft_version: int
    voters: Sequence[Voter]
    observers: Sequence[Observer] = ()


class FinalizedFeatures(NamedTuple):
    """Finalized feature levels; ``epoch`` is the offset of the last metadata record that was applied (KIP-584)."""

    levels: Mapping[str, int]
    epoch: int


class Controller(Protocol):
    """Accepts commands that change metadata, and describes the metadata quorum."""

    @property
    def finalized_features(self) -> FinalizedFeatures:
        """The feature levels in force, as this broker has applied them."""
        ...

    @property
    def applied_offset(self) -> int:
        """The offset of the last metadata record that this broker has applied."""
        ...

    async def submit(self, command: Command[T], *, charge: Charge = no_charge) -> Sequence[T | KafkaError]:
        """Execute a command; one result per item, in the command's order.

        When this returns, accepted items are committed and this broker's image shows them. ``charge`` counts partition
        mutations against a quota. A controller that cannot commit refuses every item: KAFKA_STORAGE_ERROR from the
        embedded controller. Raises nothing for a refusal.
        """
        ...

    def subscribe(self, on_delta: Callable[[Delta], None]) -> None:
        """Call ``on_delta`` after each change of the image, in the order of subscription."""
        ...

    async def describe_quorum(self) -> QuorumDescription:
        """Describe the metadata quorum. Raises KafkaError when the controller cannot be asked."""
        ...


def only(results: Sequence[T | KafkaError]) -> T:
    """Return the result of a command with one item. Raises KafkaError when it was refused."""
    (result,) = results
    if isinstance(result, KafkaError):
        raise result
    return result
