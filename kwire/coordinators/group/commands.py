"""The commands of the group coordinator, and its answers.

Responsible for: the values that cross between the API handlers and the machine. Must not depend on: request versions
(where a KIP gives a version its own meaning, the handler sets a field) and how a group works.
"""

from typing import NamedTuple, TypeAlias

from kwire.errors import Code
from kwire.types import ZERO_UUID, Uuid

Protocols: TypeAlias = tuple[tuple[str, bytes], ...]


class GroupConfig(NamedTuple):
    """The broker's settings for groups, under the names of the settings. What a group may override is not here."""

    initial_rebalance_delay_ms: int = 3000
    max_size: int = 2**31 - 1
    min_session_timeout_ms: int = 6000
    max_session_timeout_ms: int = 1_800_000
    # Of protocols with as many votes, whether the one that Kafka before 4.0 takes is chosen: see ``scala_order``.
    scala_votes: bool = False
    offset_metadata_max_bytes: int = 4096
    offsets_retention_ms: int = 7 * 24 * 3600 * 1000
    offsets_retention_check_interval_ms: int = 600_000
    consumer_max_size: int = 2**31 - 1
    consumer_assignors: tuple[str, ...] = ("uniform", "range")
    consumer_migration_policy: str = "bidirectional"
    consumer_regex_refresh_interval_ms: int = 600_000
    # Whether members of consumer groups send heartbeats sooner than configured during a rebalance.
    consumer_fast_heartbeats: bool = True
    share_max_size: int = 200
    share_initialize_retry_interval_ms: int = 30_000
    # The same for members of share groups.
    share_fast_heartbeats: bool = True
    streams_max_size: int = 2**31 - 1
    streams_assignors: tuple[str, ...] = ("sticky",)
    # The same for streams groups.
    streams_fast_heartbeats: bool = True


class JoinGroup(NamedTuple):
    """``member_id`` is empty for a new member: it gets its instance or client id and ``random_suffix``.

    ``member_id_required``: a new member without an instance id must join a second time with its id (KIP-394).
    ``may_skip_assignment``: the client understands that a returning static leader need not assign (KIP-814).
    ``fits_record``: a group record can hold the metadata of each protocol. ``consumer_member_id`` is the id of a new
    member if the group is a consumer group.
    """

    group_id: str
    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: Protocols
    random_suffix: str
    member_id_required: bool = True
    may_skip_assignment: bool = True
    fits_record: bool = True
    consumer_member_id: str = ""


class JoinedMember(NamedTuple):
    member_id: str
    group_instance_id: str | None
    metadata: bytes


class Joined(NamedTuple):
    """The answer to JoinGroup, refusals included: they carry the member id too. Only the leader gets ``members``."""

    member_id: str
    error: Code = Code.NONE
    generation_id: int = -1
    protocol_type: str | None = None
    protocol_name: str | None = None
    leader: str = ""
    skip_assignment: bool = False
    members: tuple[JoinedMember, ...] = ()


class SyncGroup(NamedTuple):
    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None
    protocol_type: str | None
    protocol_name: str | None
    assignments: tuple[tuple[str, bytes], ...]


class Synced(NamedTuple):
    error: Code = Code.NONE
    protocol_type: str | None = None
    protocol_name: str | None = None
    assignment: bytes = b""


class LeavingMember(NamedTuple):
    """An empty ``member_id`` with an instance id is an administrator's removal of a static member."""

    member_id: str
    group_instance_id: str | None = None


class LeftMember(NamedTuple):
    member_id: str
    group_instance_id: str | None
    error: Code


class OffsetToCommit(NamedTuple):
    """``topic_id`` is zero where the broker does not know it."""

    topic: str
    topic_id: Uuid
    partition: int
    offset: int
    leader_epoch: int
    metadata: str | None


class CommitOffsets(NamedTuple):
    """``generation_id`` is -1, with no member id, from a client that is not a member.

    ``retention_ms`` is -1 for the broker's own retention. ``unknown_group`` is the error for a member of a group that
    does not exist, ``has_member_epoch`` whether the generation may be a member epoch: both changed with version 9 of
    OffsetCommit and version 6 of TxnOffsetCommit.
    """

    group_id: str
    generation_id: int
    member_id: str
    group_instance_id: str | None
    offsets: tuple[OffsetToCommit, ...]
    retention_ms: int = -1
    unknown_group: Code = Code.GROUP_ID_NOT_FOUND
    has_member_epoch: bool = True


class CommittedOffset(NamedTuple):
    """``record_offset`` is its offset in the log of the group's partition. ``expire_ms`` -1: no expiry of its own."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_ms: int
    expire_ms: int
    topic_id: Uuid = ZERO_UUID
    record_offset: int = -1


class FetchedOffset(NamedTuple):
    """``offset`` -1: nothing is committed."""

    partition: int
    offset: int = -1
    leader_epoch: int = -1
    metadata: str = ""
    error: Code = Code.NONE


class ListedGroup(NamedTuple):
    group_id: str
    protocol_type: str
    state: str
    group_type: str


class DescribedMember(NamedTuple):
    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


class DescribedGroup(NamedTuple):
    group_id: str
    state: str
    protocol_type: str
    protocol_name: str
    members: tuple[DescribedMember, ...]
