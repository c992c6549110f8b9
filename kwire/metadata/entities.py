"""Immutable values of the metadata: topics, partitions, brokers, credentials, quotas.

Responsible for: the classes. A change creates a new value (``_replace``), so a reference is a snapshot.
Must not depend on: records, commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from kwire.types import ZERO_UUID, Uuid

NO_LEADER = -1

# Reserved values of the id of the log directory that holds a replica (KIP-858).
DIRECTORY_MIGRATING: Uuid = ZERO_UUID
DIRECTORY_UNASSIGNED: Uuid = bytes(15) + b"\x01"
DIRECTORY_LOST: Uuid = bytes(15) + b"\x02"


class ResourceType(IntEnum):
    """The type of a resource that has configs, as numbered on the wire and in config records."""

    UNKNOWN = 0
    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32

    # Enum's own __hash__ is a Python function, and every lookup of a config calls it.
    __hash__ = int.__hash__


class Resource(NamedTuple):
    """A resource that has configs. The name of a broker is its id, or "" for the defaults of all brokers."""

    type: ResourceType
    name: str


class Partition(NamedTuple):
    """One partition as the controller sees it."""

    topic_id: Uuid
    index: int  # type: ignore[assignment]  # Kafka's word, which hides tuple.index
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    directories: tuple[Uuid, ...] = ()
    removing_replicas: tuple[int, ...] = ()
    adding_replicas: tuple[int, ...] = ()
    eligible_leader_replicas: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()
    leader_recovery_state: int = 0

    @property
    def is_reassigning(self) -> bool:
        return bool(self.adding_replicas or self.removing_replicas)

    @property
    def preferred_leader(self) -> int:
        return self.replicas[0] if self.replicas else NO_LEADER


class Topic(NamedTuple):
    """One topic; ``partitions`` in order of their index."""

    name: str
    id: Uuid
    partitions: tuple[Partition, ...] = ()


SECURITY_PROTOCOLS: Mapping[str, int] = MappingProxyType({"PLAINTEXT": 0, "SSL": 1, "SASL_PLAINTEXT": 2, "SASL_SSL": 3})


class Endpoint(NamedTuple):
    """The address of a listener. ``security_protocol`` is Kafka's number (0 PLAINTEXT, 1 SSL, 2, 3 SASL_*)."""

    listener: str
    host: str
    port: int
    security_protocol: int


class VersionRange(NamedTuple):
    """The levels of a feature that a node supports."""

    lowest: int
    highest: int


class BrokerNode(NamedTuple):
    """One registered broker."""

    id: int
    epoch: int
    incarnation_id: Uuid
    endpoints: tuple[Endpoint, ...]
    features: Mapping[str, VersionRange]
    rack: str | None = None
    fenced: bool = True
    in_controlled_shutdown: bool = False
    log_dirs: tuple[Uuid, ...] = ()
    cordoned_log_dirs: tuple[Uuid, ...] | None = None
    is_migrating_zk_broker: bool = False


class ControllerNode(NamedTuple):
    """One registered controller."""

    id: int
    incarnation_id: Uuid
    endpoints: tuple[Endpoint, ...]
    features: Mapping[str, VersionRange]
    zk_migration_ready: bool = False


class ScramMechanism(IntEnum):
    """SCRAM mechanisms as numbered on the wire and in credential records."""

    UNKNOWN = 0
    SCRAM_SHA_256 = 1
    SCRAM_SHA_512 = 2


class ScramCredential(NamedTuple):
    """The server's part of a SCRAM credential (RFC 5802)."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int


# The entity of a quota: (("client-id", None), ("user", "alice")), sorted by type; None is the default entity.
QuotaEntity: TypeAlias = tuple[tuple[str, str | None], ...]


class ProducerIdBlock(NamedTuple):
    """The block of producer ids that was allocated last; ``next_producer_id`` is the first free one."""

    broker_id: int
    broker_epoch: int
    next_producer_id: int


class PreservedRecord(NamedTuple):
    """A record of a type or version that is not interpreted, kept as bytes so that snapshots contain it."""

    record_type: int
    version: int
    body: bytes
