"""The commands of share groups, their answers and actions.

Responsible for: the values. Must not depend on: requests, how a group works.
"""

from collections.abc import Mapping
from typing import NamedTuple

from kwire.coordinators.group.modern.assignment import Partitions
from kwire.types import Uuid


class ShareHeartbeat(NamedTuple):
    """``topics`` and ``rack_id`` None: not changed."""

    group_id: str
    member_id: str
    member_epoch: int
    rack_id: str | None
    topics: tuple[str, ...] | None
    client_id: str
    client_host: str


class HeartbeatAnswer(NamedTuple):
    """``assignment`` None: not changed."""

    member_id: str
    member_epoch: int
    heartbeat_interval_ms: int = 0
    assignment: Partitions | None = None


class DescribedMember(NamedTuple):
    member_id: str
    member_epoch: int
    rack_id: str | None
    client_id: str
    client_host: str
    topics: tuple[str, ...]
    assignment: Partitions


class DescribedShareGroup(NamedTuple):
    state: str
    epoch: int
    assignment_epoch: int
    members: list[DescribedMember]


class InitializeStates(NamedTuple):
    """An action: initialize the state of share partitions, then tell the machine (``initialized``).

    ``offsets``: the start offset of each partition by topic id; -1 for one that share.auto.offset.reset decides.
    """

    group_id: str
    state_epoch: int
    offsets: Mapping[Uuid, Mapping[int, int]]
