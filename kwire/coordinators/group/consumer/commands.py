"""The commands of consumer groups, and their answers.

Responsible for: the values that cross between the API handlers and the machine. Must not depend on: request versions,
how a group works.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kwire.coordinators.group.modern.assignment import Partitions
from kwire.types import Uuid


class ConsumerHeartbeat(NamedTuple):
    """ConsumerGroupHeartbeat. None: the field was left out, and its last value counts.

    ``member_epoch``: 0 joins, -1 leaves, -2 leaves for a while (static members). ``new_member_id`` is for a member
    without an id, which only ``may_lack_id`` allows. ``may_describe`` tells whether the client may see a topic.
    """

    group_id: str
    member_id: str
    member_epoch: int
    instance_id: str | None
    rack_id: str | None
    rebalance_timeout_ms: int
    topics: tuple[str, ...] | None
    regex: str | None
    assignor: str | None
    owned: Mapping[Uuid, frozenset[int]] | None
    client_id: str
    client_host: str
    new_member_id: str
    may_lack_id: bool
    may_describe: Callable[[str], bool]

    @property
    def is_full(self) -> bool:
        """Whether all fields are set, as after an error; then the answer must have all fields too."""
        has_subscription = self.topics is not None or self.regex is not None
        return self.rebalance_timeout_ms != -1 and has_subscription and self.owned is not None


class HeartbeatAnswer(NamedTuple):
    """``assignment`` None: it has not changed."""

    member_id: str
    member_epoch: int
    heartbeat_interval_ms: int = 0
    assignment: Partitions | None = None


@dataclass(frozen=True, slots=True)
class DescribedConsumer:
    member_id: str
    instance_id: str | None
    rack_id: str | None
    member_epoch: int
    client_id: str
    client_host: str
    topics: tuple[str, ...]
    regex: str | None
    assignment: Partitions
    target: Partitions
    uses_classic_protocol: bool


@dataclass(frozen=True, slots=True)
class DescribedConsumerGroup:
    group_id: str
    state: str
    group_epoch: int
    assignment_epoch: int
    assignor: str
    members: tuple[DescribedConsumer, ...]


class ResolveRegexes(NamedTuple):
    """An action: find the topics that match each expression and that the client may see.

    ``ConsumerGroups.resolved`` gets them, or None if that failed.
    """

    group_id: str
    regexes: tuple[str, ...]
    may_describe: Callable[[str], bool]
