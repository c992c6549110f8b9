"""The leader's side of replication: fetches of followers, in-sync replicas, the low watermark.

Responsible for: applying fetches of followers, lag and the controller's answers to a partition, deletion of records on
all replicas. Must not depend on: requests, how a proposal reaches the controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kwire.broker.partitions.partition import Partition
from kwire.errors import Code, KafkaError
from kwire.replication.leader import IsrProposal, Leader


def check_follower(partition: Partition, replica_id: int, leader_epoch: int) -> None:
    """Refuse a fetch of a broker that is no follower of this leader, before anything is read.

    Raises KafkaError: FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH; the latter also for a replica that this broker's
    metadata does not have yet, so that it asks again, or NOT_LEADER_OR_FOLLOWER if it sent no epoch. Raises
    StorageFailure if the log cannot be opened.
    """
    partition.check_leader_epoch(leader_epoch)
    partition.complete_role()
    if partition.leader is None or not partition.leader.is_follower(replica_id):
        raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER if leader_epoch < 0 else Code.UNKNOWN_LEADER_EPOCH)


def note_follower_fetch(
    partition: Partition, replica_id: int, *, offset: int, log_start_offset: int, broker_epoch: int
) -> None:
    """Note the end of a follower's log, its fetch offset, and commit what all in-sync replicas have.

    Call it for a fetch that was read: ``check_follower`` passed and the logs do not diverge. Raises
    KafkaError(NOT_LEADER_OR_FOLLOWER) for a broker of an earlier registration.
    """
    leader, log, alive = partition.leader, partition.log, partition.cluster.alive
    assert leader is not None
    moved = leader.note_fetch(
        replica_id,
        offset=offset,
        log_start_offset=log_start_offset,
        broker_epoch=broker_epoch,
        leader_end_offset=log.end_offset,
        alive=alive,
        now_ms=int(partition.clock.monotonic_ms()),
    )
    check_growth(partition)
    if moved:
        partition.advance_replicated()
    if partition.low_watermark_waits:
        partition.low_watermark_waits.wake()


def check_growth(partition: Partition) -> None:
    """Propose to add followers that have caught up, as after a fetch, or when one of them was unfenced.

    An idle partition is not fetched again in a follower's session, so its last fetch may be older than that. A replica
    whose log directory has failed since that fetch is not added.
    """
    if partition.leader is not None and len(partition.isr) < len(partition.replicas):
        _propose_growth(partition, partition.leader, partition.replicas)


def _propose_growth(partition: Partition, leader: Leader, among: Iterable[int]) -> None:
    cluster, where = partition.cluster, partition.topic_partition
    only = {one for one in among if one not in partition.isr and cluster.is_online(where, one)}
    if leader.propose_growth(high_watermark=partition.log.high_watermark, alive=cluster.alive, only=only) is not None:
        cluster.propose(where)


def _check_caught_up(partition: Partition) -> None:
    """Propose to add followers that have caught up while another proposal was in flight.

    They do not fetch an idle partition again, so no later fetch would show it.
    """
    leader, log = partition.leader, partition.log
    if leader is None or len(partition.isr) == len(partition.replicas):
        return
    caught_up = leader.caught_up(end_offset=log.end_offset, now_ms=int(partition.clock.monotonic_ms()))
    _propose_growth(partition, leader, caught_up)


def check_lag(partition: Partition) -> None:
    """Propose to remove followers that have lagged for ``replica.lag.time.max.ms`` from the in-sync replicas."""
    leader = partition.leader
    if leader is None:
        return
    proposal = leader.propose_shrink(
        end_offset=partition.log.end_offset,
        alive=partition.cluster.alive,
        now_ms=int(partition.clock.monotonic_ms()),
    )
    if proposal is not None:
        partition.cluster.propose(partition.topic_partition)
    partition.propose_recovered()
    # A follower outside of the in-sync replicas may have held the high watermark back until now.
    partition.advance_replicated()


def isr_accepted(
    partition: Partition, proposal: IsrProposal, *, isr: Sequence[int], leader_epoch: int, partition_epoch: int
) -> None:
    """Apply the controller's answer to a proposal; ignored if newer metadata was applied already."""
    leader = partition.leader
    if leader is None:
        return
    leader.accepted(proposal, isr=isr, leader_epoch=leader_epoch, partition_epoch=partition_epoch)
    partition.partition_epoch = max(partition.partition_epoch, leader.partition_epoch)
    partition.isr = tuple(one for one in partition.replicas if one in leader.isr)
    partition.advance_replicated()
    _check_caught_up(partition)


def isr_refused(partition: Partition, proposal: IsrProposal, code: Code) -> bool:
    """Apply the controller's refusal; whether the proposal is to be sent again."""
    if partition.leader is None:
        return False
    again = partition.leader.refused(proposal, code)
    partition.advance_replicated()
    _check_caught_up(partition)
    return again


def low_watermark(partition: Partition) -> int:
    """Return the smallest log start offset of the live replicas."""
    start, leader = partition.log.log_start_offset, partition.leader
    return start if leader is None else leader.low_watermark(start, partition.cluster.alive)


async def records_deleted(partition: Partition, offset: int, *, timeout_ms: float) -> int:
    """Wait until all live replicas have moved their log start up to ``offset``; returns the low watermark.

    Raises KafkaError: REQUEST_TIMED_OUT, NOT_LEADER_OR_FOLLOWER.
    """

    def is_reached() -> bool:
        if partition.topic_deleted:
            return True
        if not partition.leads:
            # The next leader may not have deleted them, and this one has no view of the other replicas any more.
            raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)
        return low_watermark(partition) >= offset

    await partition.low_watermark_waits.until(is_reached, offset, clock=partition.clock, timeout_ms=timeout_ms)
    return low_watermark(partition)
