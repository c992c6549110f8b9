"""Commands on nodes: the controller's own broker, unregistration, blocks of producer ids.

Responsible for: the records of the registration and shutdown of the broker in the controller's process, which has no
session: it runs as long as the controller. Must not depend on: heartbeats (``cluster`` has the other brokers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from kwire.errors import Code, KafkaError
from kwire.metadata.cluster import leadership
from kwire.metadata.cluster.partition_changes import PartitionChanges
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import BrokerNode, Endpoint, ResourceType, VersionRange
from kwire.metadata.features import DIRECTORIES, supported_features
from kwire.metadata.image import ELR_VERSION, MetadataImage
from kwire.metadata.log.snapshot import broker_record
from kwire.personas import persona
from kwire.types import Uuid
from kwire.wire import messages
from kwire.wire.message import Message

if TYPE_CHECKING:  # only a controller of several brokers keeps them
    from kwire.metadata.cluster.replica_counts import ReplicaCounts

PRODUCER_ID_BLOCK = 1000
_PRODUCER_ID_MAX = 2**63 - 1
_UNFENCE = -1
_UNREGISTERS_CONTROLLERS = 33  # 4.4-IV2


class Registration(NamedTuple):
    """The fields of the broker's registration. ``epoch`` is the offset that its record will have."""

    broker_id: int
    epoch: int
    incarnation_id: Uuid
    endpoints: Sequence[Endpoint]
    rack: str | None
    log_dirs: Sequence[Uuid]


def register_broker(
    image: MetadataImage, configs: EffectiveConfigs, registration: Registration, *, page_cache_lost: bool = False
) -> list[Message]:
    """Register the controller's own broker, unfenced; it leads the partitions without a leader that it may lead.

    ``page_cache_lost``: the machine crashed, so this broker's last writes may be lost. It leaves in-sync sets with
    other replicas; partitions with this one alone get a new leader epoch, by which consumers detect the truncation
    (KIP-320).
    """
    features = supported_features(persona(configs.broker["kwire.as.release"]))
    broker = _node(registration, features, image.metadata_version)
    return [
        broker_record(broker),
        *leadership.unfence(image, broker),
        *(record for record in _elections(image, configs, broker) if _is_certain(record, broker.id)),
        *(_after_lost_page_cache(image, configs, broker.id) if page_cache_lost else ()),
    ]


def lacks_directories(image: MetadataImage, broker: BrokerNode | None) -> bool:
    """Tell whether a broker registered before the metadata had log directories, so that it must register again."""
    return broker is not None and not broker.log_dirs and image.metadata_version >= DIRECTORIES


def stop_broker(broker: BrokerNode) -> list[Message]:
    """Record that a broker shuts down, so that its next registration need not wait for a session to end."""
    return [
        messages.BrokerRegistrationChangeRecord(
            broker_id=broker.id, broker_epoch=broker.epoch, in_controlled_shutdown=1
        )
    ]


def unregister_broker(
    image: MetadataImage, configs: EffectiveConfigs, broker_id: int, counts: ReplicaCounts | None = None
) -> list[Message]:
    """Unregister a broker. Raises KafkaError(BROKER_ID_NOT_REGISTERED)."""
    broker = image.brokers.get(broker_id)
    if broker is None:
        raise KafkaError(Code.BROKER_ID_NOT_REGISTERED, f"Broker ID {broker_id} is not currently registered")
    return leadership.unregister(image, configs, broker, counts)


def unregister_controller(image: MetadataImage, controller_id: int, *, own_id: int) -> list[Message]:
    """Unregister a controller (KIP-1312). ``own_id`` is that of the active controller.

    Raises KafkaError: INVALID_REQUEST for the active controller, UNSUPPORTED_VERSION below metadata.version 33,
    CONTROLLER_ID_NOT_REGISTERED.
    """
    if controller_id == own_id:
        raise KafkaError(Code.INVALID_REQUEST, "Controller cannot unregister itself while it is active.")
    if image.metadata_version < _UNREGISTERS_CONTROLLERS:
        message = "The current MetadataVersion is too old to support controller unregistration."
        raise KafkaError(Code.UNSUPPORTED_VERSION, message)
    if controller_id not in image.controllers:
        message = f"Controller ID {controller_id} is not currently registered."
        raise KafkaError(Code.CONTROLLER_ID_NOT_REGISTERED, message)
    return [messages.UnregisterControllerRecord(controller_id=controller_id)]


def reserve_producer_ids(
    image: MetadataImage, broker_id: int, *, count: int = PRODUCER_ID_BLOCK
) -> tuple[int, list[Message]]:
    """Reserve ``count`` producer ids; returns the first. Raises KafkaError when the numbers have run out."""
    first = image.next_producer_id
    if first > _PRODUCER_ID_MAX - count:
        raise KafkaError(Code.UNKNOWN_SERVER_ERROR, "Exhausted all producerIds as the next block's end producerId")
    broker = image.brokers.get(broker_id)
    record = messages.ProducerIdsRecord(
        broker_id=broker_id, broker_epoch=broker.epoch if broker else -1, next_producer_id=first + count
    )
    return first, [record]


def bootstrap_records(levels: Mapping[str, int], *, min_insync_replicas: int) -> list[Message]:
    """Return the first records of a new cluster. The caller frames them as one transaction."""
    records: list[Message] = [
        messages.FeatureLevelRecord(name=name, feature_level=level) for name, level in levels.items() if level > 0
    ]
    if levels.get(ELR_VERSION, 0) >= 1:
        records.append(
            messages.ConfigRecord(
                resource_type=ResourceType.BROKER,
                resource_name="",
                name="min.insync.replicas",
                value=str(min_insync_replicas),
            )
        )
    return records


def _elections(image: MetadataImage, configs: EffectiveConfigs, broker: BrokerNode) -> Iterator[Message]:
    """The elections of partitions without a leader, once ``broker`` is unfenced."""
    return chain.from_iterable(leadership.elect_in_steps(image, configs, joining=broker))


def _is_certain(record: Message, broker_id: int) -> bool:
    """Tell whether a change elects no other broker, because those in the log may not exist any more."""
    return not isinstance(record, messages.PartitionChangeRecord) or record.leader == broker_id


def _node(registration: Registration, features: Mapping[str, VersionRange], metadata_version: int) -> BrokerNode:
    return BrokerNode(
        id=registration.broker_id,
        epoch=registration.epoch,
        incarnation_id=registration.incarnation_id,
        endpoints=tuple(registration.endpoints),
        features=features,
        rack=registration.rack,
        log_dirs=tuple(registration.log_dirs) if metadata_version >= DIRECTORIES else (),
    )


def _after_lost_page_cache(
    image: MetadataImage, configs: EffectiveConfigs, broker_id: int
) -> Iterator[messages.PartitionChangeRecord]:
    changes = PartitionChanges(image, configs, unclean=broker_id)
    for topic in image.topics.values():
        for partition in topic.partitions:
            others = changes.without_lost(partition)
            if len(others) < len(partition.isr) and others:
                record = changes.change(topic.name, partition, isr=others, election=changes.usual_election(topic.name))
                if record is not None:
                    yield record
            elif partition.leader == broker_id:
                yield messages.PartitionChangeRecord(
                    topic_id=partition.topic_id, partition_id=partition.index, leader=broker_id
                )
