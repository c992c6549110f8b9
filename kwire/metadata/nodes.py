"""Commands on nodes: registration and shutdown of brokers, blocks of producer ids, log directories of replicas.

Responsible for: the records of a broker's registration and shutdown, and which partitions get a leader again when it
returns. Must not depend on: heartbeats and sessions (a broker of one node runs as long as its process).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kwire.errors import Code, KafkaError
from kwire.metadata.entities import NO_LEADER, BrokerNode, Endpoint, Partition, ResourceType
from kwire.metadata.features import SERVED
from kwire.metadata.image import ELR_VERSION, MetadataImage
from kwire.types import TopicPartition, Uuid
from kwire.wire.message import Message
from kwire.wire.messages import (
    BrokerRegistrationChangeRecord,
    ConfigRecord,
    FeatureLevelRecord,
    PartitionChangeRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    UnregisterBrokerRecord,
    UnregisterControllerRecord,
)

PRODUCER_ID_BLOCK = 1000
_PRODUCER_ID_MAX = 2**63 - 1
_UNFENCE = -1
_UNREGISTERS_CONTROLLERS = 33  # 4.4-IV2


@dataclass(frozen=True, slots=True)
class Registration:
    """A broker as it introduces itself. ``epoch`` is the offset that its record will have."""

    broker_id: int
    epoch: int
    incarnation_id: Uuid
    endpoints: Sequence[Endpoint]
    rack: str | None
    log_dirs: Sequence[Uuid]


def register_broker(
    image: MetadataImage, registration: Registration, *, bump_leader_epochs: bool = False
) -> list[Message]:
    """Register a broker, unfenced; partitions without a leader that it has a replica of get it as leader.

    ``bump_leader_epochs``: what this broker wrote last may be lost (the machine crashed), so partitions that it still
    leads get a new leader epoch, by which consumers notice the truncation (KIP-320).
    """
    records: list[Message] = [
        RegisterBrokerRecord(
            broker_id=registration.broker_id,
            broker_epoch=registration.epoch,
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
                for name, levels in SERVED.items()
            ],
            rack=registration.rack,
            fenced=True,
            log_dirs=list(registration.log_dirs),
        ),
        BrokerRegistrationChangeRecord(
            broker_id=registration.broker_id, broker_epoch=registration.epoch, fenced=_UNFENCE
        ),
    ]
    for topic in image.topics.values():
        for partition in topic.partitions:
            if registration.broker_id not in partition.replicas:
                continue
            if partition.leader == NO_LEADER and _may_lead(partition, registration.broker_id):
                records.append(_take_lead(partition, registration.broker_id))
            elif partition.leader == registration.broker_id and bump_leader_epochs:
                records.append(
                    PartitionChangeRecord(
                        topic_id=partition.topic_id, partition_id=partition.index, leader=registration.broker_id
                    )
                )
    return records


def stop_broker(broker: BrokerNode) -> list[Message]:
    """Record that a broker shuts down, so that its next registration need not wait for a session to end."""
    return [BrokerRegistrationChangeRecord(broker_id=broker.id, broker_epoch=broker.epoch, in_controlled_shutdown=1)]


def unregister_broker(image: MetadataImage, broker_id: int) -> list[Message]:
    """Forget a broker. Raises KafkaError(BROKER_ID_NOT_REGISTERED)."""
    broker = image.brokers.get(broker_id)
    if broker is None:
        raise KafkaError(Code.BROKER_ID_NOT_REGISTERED, f"Broker ID {broker_id} is not currently registered")
    return [UnregisterBrokerRecord(broker_id=broker_id, broker_epoch=broker.epoch)]


def unregister_controller(image: MetadataImage, controller_id: int, *, own_id: int) -> list[Message]:
    """Forget a controller (KIP-1312). ``own_id`` is that of the active controller.

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
    return [UnregisterControllerRecord(controller_id=controller_id)]


def reserve_producer_ids(
    image: MetadataImage, broker_id: int, *, count: int = PRODUCER_ID_BLOCK
) -> tuple[int, list[Message]]:
    """Reserve ``count`` producer ids; give the first. Raises KafkaError when the numbers have run out."""
    first = image.next_producer_id
    if first > _PRODUCER_ID_MAX - count:
        raise KafkaError(Code.UNKNOWN_SERVER_ERROR, "Exhausted all producerIds as the next block's end producerId")
    broker = image.brokers.get(broker_id)
    record = ProducerIdsRecord(
        broker_id=broker_id, broker_epoch=broker.epoch if broker else -1, next_producer_id=first + count
    )
    return first, [record]


def assign_directories(
    image: MetadataImage, broker_id: int, directories: Mapping[TopicPartition, Uuid]
) -> list[Message]:
    """Record in which log directory a broker holds its replicas (KIP-858), where the image has another one."""
    records: list[Message] = []
    for (topic, index), directory in directories.items():
        partition = image.partition(topic, index)
        if partition is None or broker_id not in partition.replicas:
            continue
        held = list(partition.directories) or [bytes(16)] * len(partition.replicas)
        position = partition.replicas.index(broker_id)
        if held[position] != directory:
            held[position] = directory
            records.append(
                PartitionChangeRecord(topic_id=partition.topic_id, partition_id=partition.index, directories=held)
            )
    return records


def bootstrap_records(levels: Mapping[str, int], *, min_insync_replicas: int) -> list[Message]:
    """Give the first records of a new cluster. The caller frames them as one transaction."""
    records: list[Message] = [
        FeatureLevelRecord(name=name, feature_level=level) for name, level in levels.items() if level > 0
    ]
    if levels.get(ELR_VERSION, 0) >= 1:
        records.append(
            ConfigRecord(
                resource_type=ResourceType.BROKER,
                resource_name="",
                name="min.insync.replicas",
                value=str(min_insync_replicas),
            )
        )
    return records


def _may_lead(partition: Partition, broker_id: int) -> bool:
    return (
        broker_id in partition.isr
        or broker_id in partition.eligible_leader_replicas
        or (not partition.isr and broker_id in partition.last_known_elr)
    )


def _take_lead(partition: Partition, broker_id: int) -> PartitionChangeRecord:
    return PartitionChangeRecord(
        topic_id=partition.topic_id,
        partition_id=partition.index,
        leader=broker_id,
        isr=None if broker_id in partition.isr else [*partition.isr, broker_id],
        eligible_leader_replicas=[] if partition.eligible_leader_replicas else None,
        last_known_elr=[] if partition.last_known_elr else None,
    )
