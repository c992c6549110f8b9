"""The commands that change the cluster's metadata, as values.

Responsible for: the interface of commands; a module for each kind has the commands. Must not depend on: the metadata
log, requests, connections, authorization.

A command is a frozen value without references to the broker, so a controller in this process can decide it
(``decide``), and a client of another controller can send it as a request: CreateTopics as API 19, AllocateProducerIds
as API 67, and so on. The result is a list with one entry per item of the command, in its order: a value, or the
KafkaError that refuses the item.

To add a command, write one class in the module of its kind and the function that decides it; ``Controller.submit``
needs no change. A start loads this module alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from kwire.errors import KafkaError
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.decisions.decision import DONE, Charge, Decision, Outcome
from kwire.metadata.image import MetadataImage
from kwire.types import Uuid
from kwire.wire.message import Message

if TYPE_CHECKING:  # only a controller of several brokers loads it
    from kwire.metadata.cluster.replica_counts import ReplicaCounts

T_co = TypeVar("T_co", covariant=True)
_Item = TypeVar("_Item")


class ControllerState(NamedTuple):
    """The inputs of a decision: the committed image, the effective configs, and a source of topic ids.

    ``counts``: how many partitions each broker has, where the controller keeps them.
    """

    image: MetadataImage
    configs: EffectiveConfigs
    node_id: int
    kraft_version: int
    uuid: Callable[[], Uuid]
    counts: ReplicaCounts | None = None


class Command(ABC, Generic[T_co]):
    """A change of metadata. ``validate_only``: decide and answer, but change nothing."""

    __slots__ = ()

    validate_only: bool = False

    @abstractmethod
    def decide(self, state: ControllerState, charge: Charge) -> Decision[T_co]:
        """Decide the records and the results. Changes nothing.

        ``charge(count)`` counts partition mutations against the client's quota (KIP-599) and raises KafkaError when
        the quota is used up.
        """


def each(items: Sequence[_Item], decide_one: Callable[[_Item], list[Message]]) -> Decision[Outcome]:
    """Decide items one by one: the records of those that are accepted, and a result for each."""
    records: list[Message] = []
    results: list[Outcome | KafkaError] = []
    for item in items:
        try:
            records += decide_one(item)
            results.append(DONE)
        except KafkaError as refusal:
            results.append(refusal)
    return Decision(records, results)
