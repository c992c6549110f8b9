"""The leader's view of the replicas of one partition: progress, in-sync replicas, high watermark.

Responsible for: which followers are in sync, the change of the in-sync replicas to propose to the controller (KIP-497:
one in flight, compared by partition epoch), the high watermark over the maximal ISR, the low watermark, and whether
acks=all can be answered (min.insync.replicas, KIP-966). Must not depend on: the log, clocks (``now_ms`` is an
argument), how a proposal reaches the controller.

The *maximal ISR* is the largest set of in-sync replicas that the controller may know of: while a growth is in flight,
the grown set; while a shrink is in flight, the set as it was. A replica that the controller may choose as the next
leader therefore has every committed record.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from kwire.errors import Code, KafkaError
from kwire.replication.progress import ReplicaProgress

UNKNOWN_BROKER_EPOCH: Final = -1
RECOVERED: Final = 0
RECOVERING: Final = 1

# The request was not applied, and the partition epoch is current: it may be sent again.
_NOT_APPLIED: Final = (Code.OPERATION_NOT_ATTEMPTED, Code.INELIGIBLE_REPLICA)
# The controller has newer metadata, or the request may have been applied: wait for new metadata.
_AWAIT_METADATA: Final = (
    Code.UNKNOWN_TOPIC_OR_PARTITION,
    Code.UNKNOWN_TOPIC_ID,
    Code.FENCED_LEADER_EPOCH,
    Code.INVALID_UPDATE_VERSION,
    Code.INVALID_REQUEST,
    Code.NEW_LEADER_ELECTED,
)


class Leadership(NamedTuple):
    """A partition as the metadata has it, seen by its leader."""

    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader_epoch: int
    partition_epoch: int
    recovery_state: int = RECOVERED


@dataclass(frozen=True, slots=True, eq=False)
class IsrProposal:
    """A change of the in-sync replicas that the controller is to decide; compared by identity.

    ``isr`` has pairs of broker id and broker epoch, -1 for one that has not fetched yet, in order of the ids.
    """

    isr: tuple[tuple[int, int], ...]
    leader_epoch: int
    partition_epoch: int
    maximal_isr: frozenset[int]
    leader_recovery_state: int = RECOVERED


class Leader:
    """The state of a leader, also over several leader epochs. All methods are plain and quick.

    ``alive`` maps the id of each broker that may be in sync (registered, not fenced, not in controlled shutdown) to
    its broker epoch.
    """

    __slots__ = (
        "_followers",
        "_maximal_isr",
        "epoch_start_offset",
        "isr",
        "lag_time_max_ms",
        "leader_epoch",
        "min_insync_replicas",
        "node_id",
        "partition_epoch",
        "proposal",
        "recovery_state",
    )

    def __init__(
        self,
        node_id: int,
        leadership: Leadership,
        *,
        end_offset: int,
        min_insync_replicas: int,
        lag_time_max_ms: int,
        now_ms: int,
    ) -> None:
        """Begin to lead with a log that ends at ``end_offset``."""
        self.node_id = node_id
        self.min_insync_replicas = min_insync_replicas
        self.lag_time_max_ms = lag_time_max_ms
        self.leader_epoch = leadership.leader_epoch
        self.partition_epoch = leadership.partition_epoch
        self.epoch_start_offset = end_offset
        self.isr: frozenset[int] = frozenset(leadership.isr)
        self.recovery_state = leadership.recovery_state
        # The proposal that is in flight, if any.
        self.proposal: IsrProposal | None = None
        self._maximal_isr = self.isr
        self._followers: dict[int, ReplicaProgress] = {}
        self._assign(leadership.replicas, now_ms)

    def is_follower(self, replica_id: int) -> bool:
        return replica_id in self._followers

    def progress(self, replica_id: int) -> ReplicaProgress:
        return self._followers[replica_id]

    # --- metadata
    # ----------------------------------------------------------------------------------------------------

    def follow_metadata(self, leadership: Leadership, *, end_offset: int, now_ms: int) -> None:
        """Apply a newer partition epoch; an older one, or the one that an answer has brought already, is ignored.

        Ignoring the same epoch keeps a proposal that was made since: the maximal ISR must not become smaller.
        """
        if leadership.partition_epoch <= self.partition_epoch:
            return
        self.partition_epoch = leadership.partition_epoch
        self.recovery_state = leadership.recovery_state
        self._commit(leadership.isr)
        self._assign(leadership.replicas, now_ms)
        if leadership.leader_epoch > self.leader_epoch:
            self.leader_epoch = leadership.leader_epoch
            self.epoch_start_offset = end_offset
            for replica_id, progress in self._followers.items():
                progress.begin_epoch(leader_end_offset=end_offset, in_sync=replica_id in self.isr, now_ms=now_ms)

    def _assign(self, replicas: Sequence[int], now_ms: int) -> None:
        known = self._followers
        self._followers = {
            one: known.get(one) or ReplicaProgress(now_ms if one in self.isr else None)
            for one in replicas
            if one != self.node_id
        }

    def _commit(self, isr: Iterable[int]) -> None:
        self.isr = self._maximal_isr = frozenset(isr)
        self.proposal = None

    # --- fetches of followers
    # ----------------------------------------------------------------------------------------

    def note_fetch(
        self,
        replica_id: int,
        *,
        offset: int,
        log_start_offset: int,
        broker_epoch: int,
        leader_end_offset: int,
        alive: Mapping[int, int],
        now_ms: int,
    ) -> bool:
        """Note the progress that a follower's fetch shows. True if its log end moved.

        Call it only for a fetch that was read: its leader epoch is this one's and the logs do not diverge. Raises
        KafkaError: UNKNOWN_LEADER_EPOCH for a replica that the metadata here does not name yet, and
        NOT_LEADER_OR_FOLLOWER for one of an earlier registration (KIP-903).
        """
        progress = self._followers.get(replica_id)
        if progress is None:
            raise KafkaError(Code.UNKNOWN_LEADER_EPOCH)
        if broker_epoch != UNKNOWN_BROKER_EPOCH and broker_epoch < alive.get(replica_id, UNKNOWN_BROKER_EPOCH):
            raise KafkaError(Code.NOT_LEADER_OR_FOLLOWER)
        before = progress.end_offset
        progress.note_fetch(
            offset=offset,
            log_start_offset=log_start_offset,
            broker_epoch=broker_epoch,
            leader_end_offset=leader_end_offset,
            now_ms=now_ms,
        )
        return offset != before

    def note_append(self, end_offset_before: int, now_ms: int) -> None:
        """Called before an append: a follower that has the whole log is caught up until now.

        In an idle partition its last fetch may have been long ago.
        """
        for progress in self._followers.values():
            if progress.end_offset == end_offset_before:
                progress.caught_up_ms = now_ms

    # --- in-sync replicas
    # --------------------------------------------------------------------------------------------

    def caught_up(self, *, end_offset: int, now_ms: int) -> set[int]:
        """Return the followers that do not lag."""
        return {one for one in self._followers if not self._lags(one, end_offset, now_ms)}

    def propose_growth(
        self, *, high_watermark: int, alive: Mapping[int, int], only: Container[int] | None = None
    ) -> IsrProposal | None:
        """Propose to add the followers that have reached the high watermark and this leader's epoch.

        ``only``: none but these, where no fetch of a follower has just shown its progress.
        """
        if self.proposal is not None or len(self.isr) > len(self._followers):
            return None
        added = {
            replica_id
            for replica_id, progress in self._followers.items()
            if replica_id not in self.isr
            and (only is None or replica_id in only)
            and progress.end_offset >= high_watermark
            and progress.end_offset >= self.epoch_start_offset
            and self._is_eligible(replica_id, progress, alive)
        }
        if not added:
            return None
        return self._propose(self.isr | added, maximal_isr=self.isr | added, alive=alive)

    def propose_shrink(self, *, end_offset: int, alive: Mapping[int, int], now_ms: int) -> IsrProposal | None:
        """Propose to remove the followers that have lagged for longer than ``replica.lag.time.max.ms``."""
        if self.proposal is not None:
            return None
        removed = {one for one in self.isr if one != self.node_id and self._lags(one, end_offset, now_ms)}
        if not removed:
            return None
        return self._propose(self.isr - removed, maximal_isr=self.isr, alive=alive)

    def propose_recovered(self, *, alive: Mapping[int, int]) -> IsrProposal | None:
        """Propose that this leader has recovered: it was elected though it was not in sync (KIP-704).

        Its log becomes the partition's log; followers truncate to it.
        """
        if self.proposal is not None or self.recovery_state == RECOVERED:
            return None
        return self._propose(self.isr, maximal_isr=self.isr, alive=alive)

    def accepted(self, proposal: IsrProposal, *, isr: Iterable[int], leader_epoch: int, partition_epoch: int) -> None:
        """Apply the controller's answer, unless newer metadata was applied before."""
        if proposal is not self.proposal or leader_epoch != self.leader_epoch or partition_epoch < self.partition_epoch:
            return
        self.partition_epoch = partition_epoch
        self.recovery_state = proposal.leader_recovery_state
        self._commit(isr)

    def refused(self, proposal: IsrProposal, code: Code) -> bool:
        """Apply the controller's refusal. True if the same proposal is to be sent again."""
        if proposal is not self.proposal:
            return False
        if code in _NOT_APPLIED:
            self._commit(self.isr)
            return False
        return code not in _AWAIT_METADATA

    def _propose(self, isr: frozenset[int], *, maximal_isr: frozenset[int], alive: Mapping[int, int]) -> IsrProposal:
        self._maximal_isr = maximal_isr
        self.proposal = IsrProposal(
            tuple((one, self._broker_epoch(one, alive)) for one in sorted(isr)),
            self.leader_epoch,
            self.partition_epoch,
            maximal_isr,
        )
        return self.proposal

    def _broker_epoch(self, broker_id: int, alive: Mapping[int, int]) -> int:
        if broker_id == self.node_id:
            return alive.get(broker_id, UNKNOWN_BROKER_EPOCH)
        progress = self._followers.get(broker_id)
        if progress is None or progress.broker_epoch is None:
            # In the ISR and without a fetch from it yet: if it registered again, the partition epoch differs.
            return UNKNOWN_BROKER_EPOCH
        return progress.broker_epoch

    def _lags(self, replica_id: int, end_offset: int, now_ms: int) -> bool:
        progress = self._followers.get(replica_id)
        return progress is None or not progress.is_caught_up(
            end_offset, now_ms=now_ms, lag_time_max_ms=self.lag_time_max_ms
        )

    def _is_eligible(self, replica_id: int, progress: ReplicaProgress, alive: Mapping[int, int]) -> bool:
        """Whether the replica may join: alive, and its fetches are those of its present registration (KIP-903)."""
        epoch = alive.get(replica_id)
        return epoch is not None and progress.broker_epoch in (UNKNOWN_BROKER_EPOCH, epoch)

    # --- what is committed
    # -------------------------------------------------------------------------------------------

    @property
    def effective_min_isr(self) -> int:
        """``min.insync.replicas``, which counts at most as many replicas as there are."""
        return min(self.min_insync_replicas, len(self._followers) + 1)

    @property
    def is_under_min_isr(self) -> bool:
        return len(self.isr) < self.effective_min_isr

    def high_watermark(self, *, end_offset: int, alive: Mapping[int, int], now_ms: int) -> int:
        """Return the offset below which the maximal ISR has all records; -1 if the high watermark must not move.

        ``end_offset`` is that of the leader's own log, as far as its flush settings count it as written. A follower
        outside of the ISR that is caught up holds the high watermark back too: otherwise it could never reach it under
        load. Below min.insync.replicas nothing is committed.
        """
        if self.is_under_min_isr:
            return -1
        committed = end_offset
        for replica_id, progress in self._followers.items():
            if progress.end_offset < committed and (
                replica_id in self._maximal_isr
                or (
                    progress.is_caught_up(end_offset, now_ms=now_ms, lag_time_max_ms=self.lag_time_max_ms)
                    and self._is_eligible(replica_id, progress, alive)
                )
            ):
                committed = progress.end_offset
        return committed

    def check_before_append(self, partition: object) -> None:
        """Refuse acks=all with NOT_ENOUGH_REPLICAS while too few replicas are in sync."""
        if self.is_under_min_isr:
            raise KafkaError(
                Code.NOT_ENOUGH_REPLICAS,
                f"The size of the current ISR {len(self.isr)} is insufficient to satisfy the min.isr requirement of "
                f"{self.effective_min_isr} for partition {partition}",
            )

    def check_after_commit(self) -> None:
        """Refuse acks=all for committed records if the ISR became too small since they were appended."""
        if len(self._maximal_isr) < self.effective_min_isr:
            raise KafkaError(Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND)

    def low_watermark(self, log_start_offset: int, alive: Mapping[int, int]) -> int:
        """Return the smallest log start offset of the live replicas (KIP-107)."""
        return min(
            [log_start_offset, *(one.log_start_offset for each, one in self._followers.items() if each in alive)]
        )
