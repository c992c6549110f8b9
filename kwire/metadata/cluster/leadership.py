"""Changes of partitions when a broker is fenced, unfenced, unregistered, or loses a log directory.

Responsible for: the records of fencing and unfencing, controlled shutdown, unregistration, unclean shutdown and offline
directories, and the periodic elections. Must not depend on: when these happen (``heartbeat``, the controller's tasks).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from kwire.limits import METADATA_STEP_RECORDS, METADATA_STEP_VISITS
from kwire.metadata.cluster.partition_changes import Election, PartitionChanges, directory_of
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import NO_LEADER, BrokerNode, Partition
from kwire.metadata.image import MetadataImage
from kwire.types import Uuid
from kwire.wire.message import Message
from kwire.wire.messages import (
    BrokerRegistrationChangeRecord,
    FenceBrokerRecord,
    UnfenceBrokerRecord,
    UnregisterBrokerRecord,
)

_FENCE: Final = 1
_UNFENCE: Final = -1
_REGISTRATION_CHANGES: Final = 6  # 3.3-IV2: one record for all changes of a registration
_SHUTDOWN_STATE: Final = 7  # 3.3-IV3: a controlled shutdown is in the metadata (KIP-841)

Selector = Callable[[Partition], bool]


def fence(image: MetadataImage, configs: EffectiveConfigs, broker: BrokerNode) -> list[Message]:
    """Fence a broker: it leaves all in-sync sets, and its leaderships go to others that are in sync."""
    changes = PartitionChanges(image, configs, leaving=broker.id)
    return [*_update(image, changes, lambda one: broker.id in one.isr), _fencing(image, broker, _FENCE)]


def leave_in_steps(image: MetadataImage, configs: EffectiveConfigs, broker_id: int) -> Iterator[list[Message]]:
    """Yield the changes by which a broker leaves in-sync sets, some at a time; ``fence`` has those that are left.

    The caller commits each step before it takes the next one. Others may change the image in between.
    """
    changes = PartitionChanges(image, configs, leaving=broker_id)
    records: list[Message] = []
    visited = 0
    for topic_id, topic in list(image.topics_by_id.items()):
        for index in range(len(topic.partitions)):
            current = image.topics_by_id.get(topic_id)
            if current is None:
                break  # deleted meanwhile
            partition = current.partitions[index]
            if broker_id in partition.isr:
                records += _change(changes, topic.name, partition)
            visited += 1
            if len(records) >= METADATA_STEP_RECORDS or visited >= METADATA_STEP_VISITS:
                yield records
                records, visited = [], 0


def unfence(image: MetadataImage, configs: EffectiveConfigs, broker: BrokerNode) -> list[Message]:
    """Unfence a broker: it leads the partitions without a leader that it may lead."""
    changes = PartitionChanges(image, configs, joining=broker)
    return [_fencing(image, broker, _UNFENCE), *_update(image, changes, lambda one: one.leader == NO_LEADER)]


def begin_shutdown(image: MetadataImage, configs: EffectiveConfigs, broker: BrokerNode) -> list[Message]:
    """Begin a controlled shutdown: the broker leaves in-sync sets and hands its leaderships over."""
    records: list[Message] = []
    if image.metadata_version >= _SHUTDOWN_STATE and not broker.in_controlled_shutdown:
        records.append(
            BrokerRegistrationChangeRecord(broker_id=broker.id, broker_epoch=broker.epoch, in_controlled_shutdown=1)
        )
    changes = PartitionChanges(image, configs, leaving=broker.id)
    return [*records, *_update(image, changes, lambda one: broker.id in one.isr)]


def unregister(image: MetadataImage, configs: EffectiveConfigs, broker: BrokerNode) -> list[Message]:
    """Remove a registration; the broker is in no in-sync set afterwards, and eligible nowhere."""
    changes = PartitionChanges(image, configs, leaving=broker.id, unclean=broker.id)
    records = _update(image, changes, lambda one: broker.id in (*one.isr, *one.eligible_leader_replicas))
    return [*records, UnregisterBrokerRecord(broker_id=broker.id, broker_epoch=broker.epoch)]


def lose_unclean(image: MetadataImage, configs: EffectiveConfigs, broker_id: int) -> list[Message]:
    """Take a broker that did not stop cleanly out of in-sync and eligible sets: it may lack records (KIP-966)."""
    changes = PartitionChanges(image, configs, unclean=broker_id)
    return list(_update(image, changes, lambda one: broker_id in (*one.isr, *one.eligible_leader_replicas)))


def lose_incarnation(image: MetadataImage, configs: EffectiveConfigs, broker_id: int) -> list[Message]:
    """Take a broker out of in-sync sets because another incarnation of it begins; it stays eligible."""
    changes = PartitionChanges(image, configs, leaving=broker_id)
    return list(_update(image, changes, lambda one: broker_id in one.isr))


def lose_directories(
    image: MetadataImage, configs: EffectiveConfigs, broker: BrokerNode, offline: Collection[Uuid]
) -> list[Message]:
    """Record that log directories of a broker failed: its replicas there are in sync no more."""
    lost = [directory for directory in broker.log_dirs if directory in offline]
    if not lost:
        return []
    changes = PartitionChanges(image, configs, leaving=broker.id)
    records = _update(image, changes, lambda one: broker.id in one.isr and directory_of(one, broker.id) in lost)
    online = [directory for directory in broker.log_dirs if directory not in lost]
    return [
        *records,
        BrokerRegistrationChangeRecord(broker_id=broker.id, broker_epoch=broker.epoch, log_dirs=online),
    ]


def lose_replicas(
    image: MetadataImage, configs: EffectiveConfigs, broker_id: int, replicas: Collection[tuple[Uuid, int]]
) -> list[Message]:
    """Take single replicas of a broker, by topic id and partition, out of in-sync sets."""
    changes = PartitionChanges(image, configs, leaving=broker_id)
    return list(_update(image, changes, lambda one: (one.topic_id, one.index) in replicas))


def elect_preferred_leaders(image: MetadataImage, configs: EffectiveConfigs, most: int) -> list[Message]:
    """Elect the preferred leader of up to ``most`` partitions that another replica leads."""
    changes = PartitionChanges(image, configs)
    wanted = ((topic, one) for topic, one in _partitions(image, lambda one: one.leader != one.preferred_leader))
    return _first(most, (changes.change(topic, one, election=Election.PREFERRED) for topic, one in wanted))


def elect_unclean_leaders(image: MetadataImage, configs: EffectiveConfigs, most: int) -> list[Message]:
    """Elect a leader for up to ``most`` partitions without one, where their topics allow an unclean election."""
    changes = PartitionChanges(image, configs)
    wanted = (
        (topic, one)
        for topic, one in _partitions(image, lambda one: one.leader == NO_LEADER)
        if changes.allows_unclean(topic)
    )
    return _first(most, (changes.change(topic, one, election=Election.UNCLEAN) for topic, one in wanted))


def leads(image: MetadataImage, broker_id: int) -> bool:
    """Tell whether a broker leads a partition."""
    return next(_partitions(image, lambda one: one.leader == broker_id), None) is not None


def fences_with_registration_changes(image: MetadataImage) -> bool:
    """Tell whether this level of metadata.version has the record BrokerRegistrationChange."""
    return image.metadata_version >= _REGISTRATION_CHANGES


def _fencing(image: MetadataImage, broker: BrokerNode, change: int) -> Message:
    if fences_with_registration_changes(image):
        return BrokerRegistrationChangeRecord(broker_id=broker.id, broker_epoch=broker.epoch, fenced=change)
    if change == _FENCE:
        return FenceBrokerRecord(id=broker.id, epoch=broker.epoch)
    return UnfenceBrokerRecord(id=broker.id, epoch=broker.epoch)


def _update(image: MetadataImage, changes: PartitionChanges, wanted: Selector) -> Iterator[Message]:
    for topic, partition in _partitions(image, wanted):
        yield from _change(changes, topic, partition)


def _change(changes: PartitionChanges, topic: str, partition: Partition) -> Sequence[Message]:
    record = changes.change(
        topic, partition, isr=changes.without_lost(partition), election=changes.usual_election(topic)
    )
    return () if record is None else (record,)


def _partitions(image: MetadataImage, wanted: Selector) -> Iterator[tuple[str, Partition]]:
    for topic in image.topics.values():
        for partition in topic.partitions:
            if wanted(partition):
                yield topic.name, partition


def _first(most: int, records: Iterator[Message | None]) -> list[Message]:
    found: list[Message] = []
    for record in records:
        if len(found) >= most:
            break
        if record is not None:
            found.append(record)
    return found
