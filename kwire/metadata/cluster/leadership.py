"""Changes of partitions when a broker is fenced, unfenced, unregistered, or loses a log directory.

Responsible for: the records of fencing and unfencing, controlled shutdown, unregistration, unclean shutdown and offline
directories, and the periodic elections. Must not depend on: when these happen (``heartbeat``, the controller's tasks).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

from kwire.limits import METADATA_STEP_RECORDS, METADATA_STEP_VISITS
from kwire.metadata.cluster.partition_changes import Election, PartitionChanges, directory_of
from kwire.metadata.cluster.replica_counts import ReplicaCounts, leaves
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import NO_LEADER, BrokerNode, Partition
from kwire.metadata.image import MetadataImage
from kwire.types import Uuid
from kwire.wire import messages
from kwire.wire.message import Message

_FENCE: Final = 1
_UNFENCE: Final = -1
_REGISTRATION_CHANGES: Final = 6  # 3.3-IV2: one record for all changes of a registration
_SHUTDOWN_STATE: Final = 7  # 3.3-IV3: a controlled shutdown is in the metadata (KIP-841)

Selector = Callable[[Partition], bool]


def fence(
    image: MetadataImage, configs: EffectiveConfigs, broker: BrokerNode, counts: ReplicaCounts | None = None
) -> list[Message]:
    """Fence a broker: it leaves all in-sync sets, and its leaderships go to others that are in sync.

    After ``leave_in_steps`` nothing is left to leave, as a rule, and no partition is looked at.
    """
    changes = PartitionChanges(image, configs, leaving=broker.id)
    most = None if counts is None else counts.in_sync[broker.id]
    left = _update(image, changes, partial(leaves, broker.id), most)
    return [*left, _fencing(image, broker, _FENCE)]


def leave_in_steps(
    image: MetadataImage,
    configs: EffectiveConfigs,
    broker_id: int,
    *,
    unclean: bool = False,
    directories: Collection[Uuid] | None = None,
) -> Iterator[list[Message]]:
    """Yield the changes by which a broker leaves in-sync sets, and eligible ones if it is ``unclean`` (KIP-966).

    ``directories`` limits them to replicas in these log directories.
    """
    changes = PartitionChanges(image, configs, leaving=broker_id, unclean=broker_id if unclean else None)

    wanted = partial(_lists if unclean else leaves, broker_id)

    def leave(topic: str, partition: Partition) -> Sequence[Message]:
        if not wanted(partition) or (directories is not None and directory_of(partition, broker_id) not in directories):
            return ()
        return _change(changes, topic, partition)

    return _in_steps(image, leave)


def unfence(image: MetadataImage, broker: BrokerNode) -> list[Message]:
    """Unfence a broker; ``elect_in_steps`` lets it lead where it may."""
    return [_fencing(image, broker, _UNFENCE)]


def elect_in_steps(
    image: MetadataImage, configs: EffectiveConfigs, *, joining: BrokerNode | None = None
) -> Iterator[list[Message]]:
    """Yield the elections of partitions without a leader. ``joining``: a broker that the image has not unfenced yet."""
    changes = PartitionChanges(image, configs, joining=joining)

    def elect(topic: str, partition: Partition) -> Sequence[Message]:
        return _change(changes, topic, partition) if partition.leader == NO_LEADER else ()

    return _in_steps(image, elect)


def elect_preferred_in_steps(image: MetadataImage, configs: EffectiveConfigs) -> Iterator[list[Message]]:
    """Yield the elections of preferred leaders where another replica leads, or none."""
    changes = PartitionChanges(image, configs)

    def elect(topic: str, partition: Partition) -> Sequence[Message]:
        if partition.leader == partition.preferred_leader:
            return ()
        return _some(changes.change(topic, partition, election=Election.PREFERRED))

    return _in_steps(image, elect)


def elect_unclean_in_steps(image: MetadataImage, configs: EffectiveConfigs) -> Iterator[list[Message]]:
    """Yield the elections of partitions without a leader, where their topics allow an unclean election."""
    changes = PartitionChanges(image, configs)

    def elect(topic: str, partition: Partition) -> Sequence[Message]:
        if partition.leader != NO_LEADER or not changes.allows_unclean(topic):
            return ()
        return _some(changes.change(topic, partition, election=Election.UNCLEAN))

    return _in_steps(image, elect)


def begin_shutdown(image: MetadataImage, broker: BrokerNode) -> list[Message]:
    """Begin a controlled shutdown: the broker may neither lead nor join in-sync sets; ``leave_in_steps`` follows."""
    if image.metadata_version < _SHUTDOWN_STATE or broker.in_controlled_shutdown:
        return []
    return [
        messages.BrokerRegistrationChangeRecord(
            broker_id=broker.id, broker_epoch=broker.epoch, in_controlled_shutdown=1
        )
    ]


def unregister(
    image: MetadataImage, configs: EffectiveConfigs, broker: BrokerNode, counts: ReplicaCounts | None = None
) -> list[Message]:
    """Remove a registration; the broker is in no in-sync set afterwards, and eligible nowhere."""
    changes = PartitionChanges(image, configs, leaving=broker.id, unclean=broker.id)
    most = None if counts is None else counts.listed(broker.id)
    records = _update(image, changes, partial(_lists, broker.id), most)
    return [*records, messages.UnregisterBrokerRecord(broker_id=broker.id, broker_epoch=broker.epoch)]


def lose_unclean(
    image: MetadataImage, configs: EffectiveConfigs, broker_id: int, counts: ReplicaCounts
) -> list[Message]:
    """Take a broker that did not stop cleanly out of in-sync and eligible sets: it may lack records (KIP-966)."""
    changes = PartitionChanges(image, configs, unclean=broker_id)
    return list(_update(image, changes, partial(_lists, broker_id), counts.listed(broker_id)))


def lose_incarnation(
    image: MetadataImage, configs: EffectiveConfigs, broker_id: int, counts: ReplicaCounts
) -> list[Message]:
    """Take a broker out of in-sync sets because another incarnation of it begins; it stays eligible."""
    changes = PartitionChanges(image, configs, leaving=broker_id)
    return list(_update(image, changes, partial(leaves, broker_id), counts.in_sync[broker_id]))


def lose_directories_in_steps(
    image: MetadataImage, configs: EffectiveConfigs, broker: BrokerNode, offline: Collection[Uuid]
) -> Iterator[list[Message]]:
    """Record that log directories of a broker failed: its replicas there are in sync no more.

    The registration loses them after that, so that a controller that ends in between begins again. Until then such a
    replica may be elected again, as the last one in sync: a second round takes it out.
    """
    lost = _still_registered(image, broker, offline)
    if not lost:
        return
    yield from leave_in_steps(image, configs, broker.id, directories=lost)
    if not _still_registered(image, broker, lost):
        return
    online = [directory for directory in image.brokers[broker.id].log_dirs if directory not in lost]
    yield [messages.BrokerRegistrationChangeRecord(broker_id=broker.id, broker_epoch=broker.epoch, log_dirs=online)]
    yield from leave_in_steps(image, configs, broker.id, directories=lost)


def _still_registered(image: MetadataImage, broker: BrokerNode, directories: Collection[Uuid]) -> list[Uuid]:
    """Return the directories among these that the registration of the broker has now; none of a later registration."""
    current = image.brokers.get(broker.id)
    if current is None or current.epoch != broker.epoch:
        return []
    return [directory for directory in current.log_dirs if directory in directories]


def lose_replicas(
    image: MetadataImage, configs: EffectiveConfigs, broker_id: int, replicas: Collection[tuple[Uuid, int]]
) -> list[Message]:
    """Take single replicas of a broker, by topic id and partition, out of in-sync sets."""
    changes = PartitionChanges(image, configs, leaving=broker_id)
    records: list[Message] = []
    for topic_id, index in sorted(replicas):
        topic = image.topics_by_id[topic_id]
        records += _change(changes, topic.name, topic.partitions[index])
    return records


def fences_with_registration_changes(image: MetadataImage) -> bool:
    """Tell whether this level of metadata.version has the record BrokerRegistrationChange."""
    return image.metadata_version >= _REGISTRATION_CHANGES


def _fencing(image: MetadataImage, broker: BrokerNode, change: int) -> Message:
    if fences_with_registration_changes(image):
        return messages.BrokerRegistrationChangeRecord(broker_id=broker.id, broker_epoch=broker.epoch, fenced=change)
    if change == _FENCE:
        return messages.FenceBrokerRecord(id=broker.id, epoch=broker.epoch)
    return messages.UnfenceBrokerRecord(id=broker.id, epoch=broker.epoch)


def _update(image: MetadataImage, changes: PartitionChanges, wanted: Selector, most: int | None) -> Iterator[Message]:
    """Change the partitions that are wanted. ``most``: how many there are, at which the search ends."""
    for topic, partition in islice(_partitions(image, wanted), most):
        yield from _change(changes, topic, partition)


def _in_steps(image: MetadataImage, change: Callable[[str, Partition], Sequence[Message]]) -> Iterator[list[Message]]:
    """Yield changes of partitions, some at a time; a step may have none.

    The caller commits each step before it takes the next one. Others may change the image in between.
    """
    records: list[Message] = []
    visited = 0
    for topic_id, topic in list(image.topics_by_id.items()):
        for index in range(len(topic.partitions)):
            current = image.topics_by_id.get(topic_id)
            if current is None:
                break  # deleted meanwhile
            records += change(topic.name, current.partitions[index])
            visited += 1
            if len(records) >= METADATA_STEP_RECORDS or visited >= METADATA_STEP_VISITS:
                yield records
                records, visited = [], 0
    if records:
        yield records


def _change(changes: PartitionChanges, topic: str, partition: Partition) -> Sequence[Message]:
    return _some(
        changes.change(topic, partition, isr=changes.without_lost(partition), election=changes.usual_election(topic))
    )


def _lists(broker_id: int, partition: Partition) -> bool:
    return broker_id in partition.isr or broker_id in partition.eligible_leader_replicas


def _some(record: Message | None) -> Sequence[Message]:
    return () if record is None else (record,)


def _partitions(image: MetadataImage, wanted: Selector) -> Iterator[tuple[str, Partition]]:
    for topic in image.topics.values():
        for partition in topic.partitions:
            if wanted(partition):
                yield topic.name, partition
