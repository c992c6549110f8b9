"""The controller inside this broker: it decides commands, appends their records to the metadata log, and applies them.

Responsible for: ``Controller`` over this node's own metadata log, this broker's registration, and the calls of
subscribers after a change. Must not depend on: what any single command does.

The metadata log of one voter is committed once it is appended, so ``submit`` never suspends: from reading the image to
changing it no other task runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from kwire.broker.clock import Clock
from kwire.broker.containment import notify, start_contained
from kwire.broker.controller.interface import FinalizedFeatures, Observer, QuorumDescription, Voter, VoterEndpoint
from kwire.broker.controller.metadata_log import MetadataLog
from kwire.broker.endpoint import Endpoint
from kwire.errors import Code, KafkaError, StorageFailure
from kwire.metadata import entities
from kwire.metadata.cluster.nodes import Registration, lacks_directories, register_broker, stop_broker
from kwire.metadata.commands import Command, ControllerState
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.decisions.decision import Charge, no_charge
from kwire.metadata.entities import SECURITY_PROTOCOLS
from kwire.metadata.image import METADATA_VERSION, Delta, MetadataImage, Record
from kwire.metadata.log.snapshot import broker_record
from kwire.types import Uuid

if TYPE_CHECKING:  # only a controller of several brokers loads it
    from kwire.metadata.cluster.replica_counts import ReplicaCounts

T = TypeVar("T")

# The age of the last snapshot is checked a few times within what the settings allow.
_SNAPSHOT_CHECK_MS_MAX: Final = 60_000


class EmbeddedController:
    """The controller over this node's metadata log, whose only voter this node is.

    ``on_storage_failure`` is called when the metadata log refuses an append. ``observers`` lists the nodes that read
    the log, where it is served to others; ``counts`` are kept there too. ``after_upgrade`` are called after a change of
    the metadata.version.
    """

    def __init__(
        self,
        *,
        log: MetadataLog,
        configs: EffectiveConfigs,
        clock: Clock,
        on_storage_failure: Callable[[StorageFailure], None],
    ) -> None:
        self.log = log
        self._configs = configs
        self._clock = clock
        self._on_storage_failure = on_storage_failure
        self._on_delta: list[Callable[[Delta], None]] = []
        self._log_dirs: Sequence[Uuid] = ()
        self.observers: Callable[[], Sequence[Observer]] = tuple
        self.counts: ReplicaCounts | None = None
        self.after_upgrade: list[Callable[[Delta], None]] = [self._register_directories]

    @property
    def image(self) -> MetadataImage:
        return self.log.image

    @property
    def broker_epoch(self) -> int:
        """The epoch of this broker's registration; -1 before ``register``."""
        broker = self.log.image.brokers.get(self.log.node_id)
        return broker.epoch if broker else -1

    @property
    def finalized_features(self) -> FinalizedFeatures:
        return FinalizedFeatures(self.log.finalized_features, self.applied_offset)

    @property
    def applied_offset(self) -> int:
        """See ``Controller``."""
        return self.log.end_offset - 1

    def subscribe(self, on_delta: Callable[[Delta], None]) -> None:
        """Call ``on_delta`` after each change of the image, in the order of subscription."""
        self._on_delta.append(on_delta)

    async def submit(self, command: Command[T], *, charge: Charge = no_charge) -> Sequence[T | KafkaError]:
        """Execute a command without suspending; see ``Controller.submit``."""
        state = ControllerState(
            image=self.log.image,
            configs=self._configs,
            node_id=self.log.node_id,
            kraft_version=self.log.quorum.kraft_version,
            uuid=self._clock.uuid,
            counts=self.counts,
        )
        decision = command.decide(state, no_charge if command.validate_only else charge)
        if not decision.records or command.validate_only:
            return decision.results
        try:
            self.commit(decision.records)
        except StorageFailure as failure:
            refusal = KafkaError(Code.KAFKA_STORAGE_ERROR, str(failure))
            return [one if isinstance(one, KafkaError) else refusal for one in decision.results]
        return decision.results

    def commit(self, records: Sequence[Record]) -> Delta:
        """Append records, apply them to the image, and call the subscribers.

        Raises StorageFailure, with nothing changed.
        """
        if not records:
            return Delta()
        try:
            delta = self.log.apply(records)
        except StorageFailure as failure:
            self._on_storage_failure(failure)
            raise
        notify(self._on_delta, delta)
        if METADATA_VERSION in delta.features_changed:
            notify(self.after_upgrade, delta)
        return delta

    def _register_directories(self, _delta: Delta) -> None:
        """Register this broker again after an upgrade to a metadata.version that has log directories."""
        broker = self.log.image.brokers.get(self.log.node_id)
        if broker is not None and self._log_dirs and lacks_directories(self.log.image, broker):
            self.commit([broker_record(broker._replace(log_dirs=tuple(self._log_dirs)))])

    async def describe_quorum(self) -> QuorumDescription:
        log = self.log
        if log.quorum.voters is None:
            voters = [Voter(log.node_id, None, log.end_offset, ())]
        else:
            voters = [
                Voter(
                    voter.voter_id,
                    voter.voter_directory_id,
                    log.end_offset,
                    tuple(VoterEndpoint(point.name, point.host, point.port) for point in voter.endpoints),
                )
                for voter in log.quorum.voters.voters
            ]
        return QuorumDescription(
            leader_id=log.node_id,
            leader_epoch=log.epoch,
            high_watermark=log.end_offset,
            kraft_version=log.quorum.kraft_version,
            voters=voters,
            observers=self.observers(),
        )

    def register(self, endpoints: Sequence[Endpoint], log_dirs: Sequence[Uuid]) -> None:
        """Register this broker with the listeners that clients see, and elect it leader where it may lead.

        Raises StorageFailure.
        """
        home = self.log.home
        self._log_dirs = log_dirs
        registration = Registration(
            broker_id=self.log.node_id,
            epoch=self.log.end_offset,
            incarnation_id=self._clock.uuid(),
            endpoints=[
                entities.Endpoint(one.name, one.host, one.port, SECURITY_PROTOCOLS[one.security_protocol])
                for one in endpoints
            ],
            rack=self._configs.broker["broker.rack"],
            log_dirs=list(log_dirs),
        )
        page_cache_lost = not home.clean and not home.same_boot
        self.commit(register_broker(self.log.image, self._configs, registration, page_cache_lost=page_cache_lost))

    def cordon(self, directories: Sequence[Uuid]) -> None:
        """Record which log directories of this node's broker get no new partitions. Raises StorageFailure."""
        from kwire.metadata.cluster.heartbeat import cordon  # noqa: PLC0415 (cordons are rare)

        broker = self.log.image.brokers.get(self.log.node_id)
        if broker is not None:
            self.commit(cordon(self.log.image, broker, directories))

    async def run(self) -> None:
        """Write metadata snapshots as they become due, until cancelled.

        Raises StorageFailure once an fsync of the metadata log has failed, or its log directory has failed: the broker
        then stops, and the next start recovers what is on the disk.
        """
        self._note_old_snapshot_later()
        async with trio.open_nursery() as nursery:
            self.log.snapshot_task.begin(nursery, partial(start_contained, nursery, self._clock.sleep))
            await self.log.lost.wait()
            raise StorageFailure(self.log.path, f"{self.log.lost_because}: kwire stops")

    def close(self) -> None:
        """Record that this broker stops, and close the log. Raises StorageFailure."""
        broker = self.log.image.brokers.get(self.log.node_id)
        if broker is not None:
            self.log.apply(stop_broker(broker))
        self.log.close()

    def _note_old_snapshot_later(self) -> None:
        interval_ms = self._configs.broker["metadata.log.max.snapshot.interval.ms"]
        delay_ms = min(interval_ms, _SNAPSHOT_CHECK_MS_MAX) or _SNAPSHOT_CHECK_MS_MAX
        self._clock.call_later(delay_ms, self._note_old_snapshot)

    def _note_old_snapshot(self) -> None:
        self._note_old_snapshot_later()
        self.log.tick()
