"""Registration of brokers: which are refused, and the records of one that is accepted.

Responsible for: the checks of Apache Kafka's controller, in its order and with its messages. Must not depend on: how
long a session lasts (``sessions``), requests.

Three refusals are kwire's own, because Apache Kafka accepts registrations that cannot work: the id of a voter that is
another node, a negative id, and a broker without listeners.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from kwire.errors import Code, KafkaError
from kwire.metadata.cluster.leadership import lose_incarnation, lose_unclean
from kwire.metadata.cluster.replica_counts import ReplicaCounts
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import BrokerNode, Endpoint, VersionRange
from kwire.metadata.image import KRAFT_VERSION, METADATA_VERSION, MetadataImage
from kwire.types import Uuid, uuid_text
from kwire.wire.message import Message
from kwire.wire.messages import RegisterBrokerRecord

_DIRECTORIES: Final = 17  # 3.7-IV2: brokers register their log directories (KIP-858)
_RESERVED_DIRECTORIES: Final = 100
_NOT_ENABLED: Final = VersionRange(0, 0)


@dataclass(frozen=True, slots=True)
class BrokerRegistration:
    """The fields of a BrokerRegistrationRequest.

    ``previous_epoch`` is the epoch of its registration before, if it stopped cleanly, else -1.
    """

    broker_id: int
    cluster_id: str
    incarnation_id: Uuid
    endpoints: Sequence[Endpoint]
    features: Mapping[str, VersionRange]
    rack: str | None
    log_dirs: Sequence[Uuid]
    previous_epoch: int = -1
    is_migrating_zk_broker: bool = False


class Registered(NamedTuple):
    """The records of a registration, and the epoch that the broker gets."""

    records: list[Message]
    epoch: int


def check_registration(
    image: MetadataImage,
    registration: BrokerRegistration,
    *,
    cluster_id: str,
    kraft_version: int,
    voters: Collection[int],
    has_session: bool,
) -> None:
    """Refuse a registration that cannot be accepted.

    ``has_session``: the broker that is registered with this id was in contact lately. Raises KafkaError:
    INCONSISTENT_CLUSTER_ID, DUPLICATE_BROKER_REGISTRATION, BROKER_ID_NOT_REGISTERED (a broker of ZooKeeper),
    INVALID_REGISTRATION, UNSUPPORTED_VERSION (a finalized feature that the broker lacks).
    """
    if registration.cluster_id != cluster_id:
        message = f"Expected cluster ID {cluster_id}, but got cluster ID {registration.cluster_id}"
        raise KafkaError(Code.INCONSISTENT_CLUSTER_ID, message)
    if has_session and replaces(image, registration):
        raise KafkaError(Code.DUPLICATE_BROKER_REGISTRATION, "Another broker is registered with that broker id.")
    if registration.is_migrating_zk_broker:
        raise KafkaError(Code.BROKER_ID_NOT_REGISTERED, "Controller does not support registering ZK brokers.")
    _check_directories(image, registration)
    _check_node(registration, voters)
    _check_features(image, registration, kraft_version)


def replaces(image: MetadataImage, registration: BrokerRegistration) -> bool:
    """Tell whether another incarnation of the broker is registered, which this one takes the place of."""
    existing = image.brokers.get(registration.broker_id)
    return existing is not None and existing.incarnation_id != registration.incarnation_id


def may_lack_records(image: MetadataImage, registration: BrokerRegistration) -> bool:
    """Tell whether the broker did not stop cleanly, where that counts: with eligible leader replicas (KIP-966)."""
    existing = image.brokers.get(registration.broker_id)
    clean = existing is not None and registration.previous_epoch == existing.epoch
    return image.elr_enabled and not clean


def register(
    image: MetadataImage,
    configs: EffectiveConfigs,
    registration: BrokerRegistration,
    *,
    counts: ReplicaCounts,
    epoch: int,
) -> Registered:
    """Register a broker, fenced, that ``check_registration`` accepts.

    ``epoch`` is the offset of the next record, which a new incarnation gets.
    """
    existing = image.brokers.get(registration.broker_id)
    if existing is not None and not replaces(image, registration):
        return Registered([_record(image, registration, existing.epoch, amended=existing)], existing.epoch)
    lose = lose_unclean if may_lack_records(image, registration) else lose_incarnation
    lost = lose(image, configs, registration.broker_id, counts)
    return Registered([*lost, _record(image, registration, epoch, amended=None)], epoch)


def _check_directories(image: MetadataImage, registration: BrokerRegistration) -> None:
    if image.metadata_version < _DIRECTORIES:
        return
    if not registration.log_dirs:
        raise _invalid("No directories specified in request")
    if any(int.from_bytes(one, "big") < _RESERVED_DIRECTORIES for one in registration.log_dirs):
        raise _invalid("Reserved directory ID in request")
    if len(set(registration.log_dirs)) < len(registration.log_dirs):
        raise _invalid("Duplicate directory ID in request")
    for broker in image.brokers.values():
        for directory in registration.log_dirs:
            if broker.id != registration.broker_id and directory in broker.log_dirs:
                raise _invalid(f"Broker {broker.id} is already registered with directory {uuid_text(directory)}")


def _check_node(registration: BrokerRegistration, voters: Collection[int]) -> None:
    if registration.broker_id in voters:
        raise _invalid(f"Node {registration.broker_id} is a controller: a broker needs a node.id of its own")
    if registration.broker_id < 0:
        raise _invalid(f"A broker cannot have the id {registration.broker_id}")
    if not registration.endpoints:
        raise _invalid(f"Broker {registration.broker_id} registers without listeners")


def _check_features(image: MetadataImage, registration: BrokerRegistration, kraft_version: int) -> None:
    if METADATA_VERSION not in registration.features:
        raise _invalid("Request features do not contain 'metadata.version'")
    for name, level in {**image.features, KRAFT_VERSION: kraft_version}.items():
        supported = registration.features.get(name, _NOT_ENABLED)
        if level and not supported.lowest <= level <= supported.highest:
            raise KafkaError(
                Code.UNSUPPORTED_VERSION,
                f"Unable to register because the broker does not support finalized version {level} of {name}. The"
                f" broker wants a version between {supported.lowest} and {supported.highest}, inclusive.",
            )


def _record(
    image: MetadataImage, registration: BrokerRegistration, epoch: int, *, amended: BrokerNode | None
) -> RegisterBrokerRecord:
    return RegisterBrokerRecord(
        broker_id=registration.broker_id,
        broker_epoch=epoch,
        incarnation_id=registration.incarnation_id,
        end_points=[
            RegisterBrokerRecord.BrokerEndpoint(
                name=point.listener, host=point.host, port=point.port, security_protocol=point.security_protocol
            )
            for point in registration.endpoints
        ],
        features=[
            RegisterBrokerRecord.BrokerFeature(
                name=name, min_supported_version=levels.lowest, max_supported_version=levels.highest
            )
            for name, levels in registration.features.items()
        ],
        rack=registration.rack,
        fenced=True if amended is None else amended.fenced,
        in_controlled_shutdown=False if amended is None else amended.in_controlled_shutdown,
        log_dirs=list(registration.log_dirs) if image.metadata_version >= _DIRECTORIES else [],
        cordoned_log_dirs=None
        if amended is None or amended.cordoned_log_dirs is None
        else list(amended.cordoned_log_dirs),
    )


def _invalid(message: str) -> KafkaError:
    return KafkaError(Code.INVALID_REGISTRATION, message)
