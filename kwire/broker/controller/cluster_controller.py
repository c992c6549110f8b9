"""The controller of several brokers: the embedded controller, served to brokers in other processes.

Responsible for: registrations, heartbeats and sessions of those brokers, AlterPartition, blocks of producer ids and log
directories for them, and the periodic elections. Must not depend on: requests (``kwire.api.controller`` reads those),
how records are appended (``EmbeddedController``).

The decisions are made in ``kwire.metadata.cluster``. A broker in the controller's own process has no session: it lives
as long as the controller. A node whose controller other nodes cannot reach has no ``ClusterController``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

import trio

from kwire.broker.clock import Clock
from kwire.broker.containment import start_contained
from kwire.broker.controller.change_steps import ChangeSteps, Steps
from kwire.broker.controller.embedded import EmbeddedController
from kwire.broker.controller.served_log import ServedLog
from kwire.broker.endpoint import Endpoint
from kwire.broker.logs import Logger
from kwire.errors import Code, KafkaError
from kwire.metadata.cluster.alter_partition import Proposal, alter_partition
from kwire.metadata.cluster.directories import ReplicaDirectory, assign_directories
from kwire.metadata.cluster.heartbeat import Heartbeat, State, check_epoch, decide_heartbeat
from kwire.metadata.cluster.leadership import (
    begin_shutdown,
    elect_in_steps,
    elect_preferred_in_steps,
    elect_unclean_in_steps,
    fence,
    leave_in_steps,
    lose_directories_in_steps,
)
from kwire.metadata.cluster.nodes import PRODUCER_ID_BLOCK, reserve_producer_ids
from kwire.metadata.cluster.partition_changes import PartitionChanges
from kwire.metadata.cluster.registration import (
    BrokerRegistration,
    check_registration,
    may_lack_records,
    register,
    replaces,
)
from kwire.metadata.cluster.replica_counts import ReplicaCounts
from kwire.metadata.cluster.sessions import BrokerSessions
from kwire.metadata.configs.effective import EffectiveConfigs
from kwire.metadata.entities import SECURITY_PROTOCOLS, Partition
from kwire.metadata.features import SERVED
from kwire.metadata.image import Delta
from kwire.storage.files import Files
from kwire.types import Uuid
from kwire.wire.messages import RegisterControllerRecord

logger = Logger("kwire.controller")

_HAND_OVER_POLL_S: Final = 0.02
# How often sessions are checked. A check that is late by more than the second value means that this process was paused.
_SESSION_CHECK_MS: Final = 500.0
_PAUSE_MS_MIN: Final = 500.0
_REGISTERS_CONTROLLERS: Final = 15  # 3.7-IV0 (KIP-919)

AlteredPartition: TypeAlias = "Partition | KafkaError"


class HeartbeatReply(NamedTuple):
    """The answer to a heartbeat."""

    is_caught_up: bool
    is_fenced: bool
    should_shut_down: bool


class ClusterController:
    """The controller of several brokers.

    ``own_broker`` is the id of the broker in this process, None for a controller without one.
    """

    def __init__(
        self,
        *,
        controller: EmbeddedController,
        configs: EffectiveConfigs,
        clock: Clock,
        files: Files,
        cluster_id: str,
        own_broker: int | None,
        endpoints: Sequence[Endpoint],
    ) -> None:
        self._controller = controller
        self._configs = configs
        self._clock = clock
        self._own_broker = own_broker
        self.cluster_id = cluster_id
        self.log = ServedLog(controller.log, files, clock=clock, endpoints=endpoints)
        self.sessions = BrokerSessions(configs.broker["broker.session.timeout.ms"])
        self._counts = controller.counts = ReplicaCounts()
        self._steps = ChangeSteps(controller.commit)
        controller.observers = self.log.observers

    @property
    def node_id(self) -> int:
        return self._controller.log.node_id

    async def start(self) -> None:
        """Register this controller, and give each unfenced broker of the log a session. Raises StorageFailure."""
        for _ in self._counts.count_in_steps(self._controller.image):
            await trio.lowlevel.checkpoint()
        now_ms = self._clock.monotonic_ms()
        for broker in self._controller.image.brokers.values():
            if broker.id != self._own_broker:
                self.sessions.assume(broker.id, broker.epoch, fenced=broker.fenced, now_ms=now_ms)
        self._controller.log.follow_voter_endpoints(self.log.endpoints)
        self._register()
        self._controller.after_upgrade.append(lambda _: self._register())

    def _register(self) -> None:
        if self._controller.image.metadata_version >= _REGISTERS_CONTROLLERS:
            self._controller.commit([self._own_registration()])

    async def register_broker(self, registration: BrokerRegistration) -> int:
        """Register a broker and return its epoch. Raises KafkaError (see ``cluster.registration``), StorageFailure."""
        controller, broker_id = self._controller, registration.broker_id
        self._check(registration)
        if replaces(controller.image, registration) and self._counts.listed(broker_id):
            unclean = may_lack_records(controller.image, registration)
            await self._steps.finish(leave_in_steps(controller.image, self._configs, broker_id, unclean=unclean))
            self._check(registration)  # others ran meanwhile
        registered = register(
            controller.image,
            self._configs,
            registration,
            counts=self._counts,
            epoch=controller.log.end_offset,
        )
        controller.commit(registered.records)
        broker = controller.image.brokers[registration.broker_id]
        self.sessions.registered(broker.id, registered.epoch, fenced=broker.fenced)
        logger.info("broker registered", broker=broker.id, epoch=registered.epoch, rack=broker.rack)
        return registered.epoch

    def _check(self, registration: BrokerRegistration) -> None:
        check_registration(
            self._controller.image,
            registration,
            cluster_id=self.cluster_id,
            kraft_version=self._controller.log.quorum.kraft_version,
            voters={self.node_id},
            has_session=self.sessions.has_session(registration.broker_id, self._clock.monotonic_ms()),
        )

    def heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        """Take a heartbeat, and change the broker's state. Raises KafkaError(STALE_BROKER_EPOCH), StorageFailure."""
        controller, sessions = self._controller, self.sessions
        before = check_epoch(controller.image, beat.broker_id, beat.broker_epoch).fenced
        sessions.registered(beat.broker_id, beat.broker_epoch, fenced=before)
        decision = decide_heartbeat(controller.image, self._configs, sessions, self._counts, beat)
        controller.commit(decision.records)
        fenced = decision.state in {State.FENCED, State.MAY_SHUT_DOWN}
        sessions.touch(
            beat.broker_id, fenced=fenced, metadata_offset=beat.metadata_offset, now_ms=self._clock.monotonic_ms()
        )
        if decision.state is State.SHUTTING_DOWN:
            sessions.begin_shutdown(beat.broker_id)
        if decision.steps is not None:
            self._begin_steps(beat, decision.steps, hands_over=decision.state is State.SHUTTING_DOWN)
        if fenced != before:
            logger.info(
                "broker fenced" if fenced else "broker unfenced", broker=beat.broker_id, state=decision.state.value
            )
        return HeartbeatReply(decision.is_caught_up, fenced, decision.state is State.MAY_SHUT_DOWN)

    def _begin_steps(self, beat: Heartbeat, make: Callable[[], Steps], *, hands_over: bool) -> None:
        def is_registered() -> bool:
            broker = self._controller.image.brokers.get(beat.broker_id)
            return broker is not None and broker.epoch == beat.broker_epoch

        def done() -> None:
            if hands_over:
                self.sessions.handed_over(beat.broker_id, beat.broker_epoch, self._controller.log.end_offset - 1)

        self._steps.begin(make, goes_on=is_registered, done=done)

    async def take_out(self, broker_id: int) -> None:
        """Take a broker out of all in-sync and eligible sets, before it is unregistered. Raises StorageFailure."""
        if self._counts.listed(broker_id):
            steps = leave_in_steps(self._controller.image, self._configs, broker_id, unclean=True)
            await self._steps.finish(steps)

    def alter_partitions(
        self, broker_id: int, broker_epoch: int, proposals: Sequence[Proposal]
    ) -> list[AlteredPartition]:
        """Change in-sync sets; a result for each proposal. Raises KafkaError(STALE_BROKER_EPOCH), StorageFailure."""
        image = self._controller.image
        check_epoch(image, broker_id, broker_epoch)
        changes = PartitionChanges(image, self._configs)
        decided = [alter_partition(image, changes, broker_id, proposal) for proposal in proposals]
        self._controller.commit([record for record, _ in decided if record is not None])
        results: list[AlteredPartition] = []
        for proposal, (_, refusal) in zip(proposals, decided, strict=True):
            if refusal is None:
                results.append(image.topics_by_id[proposal.topic_id].partitions[proposal.index])
            else:
                results.append(refusal)
        return results

    def allocate_producer_ids(self, broker_id: int, broker_epoch: int) -> range:
        """Reserve a block of producer ids. Raises KafkaError(STALE_BROKER_EPOCH), StorageFailure."""
        image = self._controller.image
        check_epoch(image, broker_id, broker_epoch)
        first, records = reserve_producer_ids(image, broker_id)
        self._controller.commit(records)
        return range(first, first + PRODUCER_ID_BLOCK)

    def assign_directories(self, broker_id: int, broker_epoch: int, replicas: Sequence[ReplicaDirectory]) -> list[Code]:
        """Record where a broker holds replicas; a code for each. Raises KafkaError(STALE_BROKER_EPOCH)."""
        broker = check_epoch(self._controller.image, broker_id, broker_epoch)
        assigned = assign_directories(self._controller.image, self._configs, broker, replicas)
        self._controller.commit(assigned.records)
        return assigned.codes

    async def hand_over(self) -> None:
        """Controlled shutdown of the broker of this process: on return, other brokers lead its partitions.

        Nothing changes if no other broker can lead. Waits no longer than a session lasts.
        """
        image = self._controller.image
        own = None if self._own_broker is None else image.brokers.get(self._own_broker)
        if own is None or self.sessions.lowest_active_offset() == float("inf"):
            return
        self._controller.commit(begin_shutdown(image, own))
        await self._steps.finish(leave_in_steps(image, self._configs, own.id))
        offset = self._controller.log.end_offset - 1
        with trio.move_on_after(self.sessions.timeout_ms / 1000):
            while self.sessions.lowest_active_offset() < offset:  # noqa: ASYNC110 (heartbeats have no event)
                await trio.sleep(_HAND_OVER_POLL_S)

    def lose_own_directory(self, directory: Uuid) -> None:
        """Record that a log directory of the broker in this process failed."""
        assert self._own_broker is not None
        image = self._controller.image
        broker = image.brokers[self._own_broker]
        self._steps.begin(partial(lose_directories_in_steps, image, self._configs, broker, [directory]))

    def on_metadata_delta(self, delta: Delta) -> None:
        """Wake waiting readers of the log, follow the counts, and remove the sessions of unregistered brokers."""
        self._counts.follow(delta)
        for broker_id in delta.brokers_changed:
            if broker_id not in self._controller.image.brokers:
                self.sessions.unregistered(broker_id)
                logger.info("broker unregistered", broker=broker_id)
        self.log.on_metadata_delta(delta)

    async def run(self) -> None:
        """Fence brokers whose session ends, and hold the periodic elections, until cancelled."""
        if self._counts.leaderless:
            # The controller may have ended in the middle of the elections that an unfenced broker made possible.
            self._steps.begin(partial(elect_in_steps, self._controller.image, self._configs))
        async with trio.open_nursery() as nursery:
            start_contained(nursery, self._clock.sleep, self._steps.run)
            start_contained(nursery, self._clock.sleep, self._fence_expired)
            start_contained(nursery, self._clock.sleep, self._elect_preferred)
            start_contained(nursery, self._clock.sleep, self._elect_unclean)

    def fence_expired(self) -> None:
        """Fence the brokers whose session has ended, one batch for each. Raises StorageFailure."""
        for broker_id in self.sessions.expired(self._clock.monotonic_ms()):
            broker = self._controller.image.brokers[broker_id]
            self._controller.commit(fence(self._controller.image, self._configs, broker, self._counts))
            self.sessions.fence(broker_id)
            logger.warning("broker fenced: its session ended", broker=broker_id, session_ms=self.sessions.timeout_ms)

    async def _fence_expired(self) -> None:
        while True:
            left_ms = self.sessions.next_expiry_ms() - self._clock.monotonic_ms()
            wait_ms = min(max(left_ms, 1.0), _SESSION_CHECK_MS)
            began_s = trio.current_time()
            await self._clock.sleep(wait_ms)
            # By the time of the event loop, not the broker's clock: a test that moves that clock forward wants sessions
            # to end.
            paused_ms = (trio.current_time() - began_s) * 1000 * self._clock.rate - wait_ms
            if paused_ms >= _PAUSE_MS_MIN:
                # This process did not run (SIGSTOP, a machine that hung). The heartbeats of that time are still unread
                # in the sockets, so no broker counts as failed yet.
                logger.warning("controller was paused: the sessions of brokers are extended", paused_ms=int(paused_ms))
                self.sessions.extend(paused_ms)
            for broker_id in self.sessions.expired(self._clock.monotonic_ms()):
                await self._hand_over(broker_id)
            self.fence_expired()

    async def _hand_over(self, broker_id: int) -> None:
        """Take a broker out of in-sync sets in steps, as long as it sends no heartbeat. It is fenced afterwards.

        In this order a controller that fails in between fences the broker after its next start.
        """
        await self._steps.finish(
            leave_in_steps(self._controller.image, self._configs, broker_id),
            goes_on=lambda: broker_id in self.sessions.expired(self._clock.monotonic_ms()),
        )

    async def _elect_preferred(self) -> None:
        while True:
            await self._clock.sleep(self._configs.broker["leader.imbalance.check.interval.seconds"] * 1000)
            if self._configs.broker["auto.leader.rebalance.enable"] and self._counts.led_by_others:
                await self._elect("preferred", elect_preferred_in_steps(self._controller.image, self._configs))

    async def _elect_unclean(self) -> None:
        while True:
            await self._clock.sleep(self._configs.broker["unclean.leader.election.interval.ms"])
            if self._counts.leaderless:
                await self._elect("unclean", elect_unclean_in_steps(self._controller.image, self._configs))

    async def _elect(self, election: str, steps: Steps) -> None:
        elected = await self._steps.finish(steps)
        if elected:
            logger.info("leaders elected", election=election, partitions=elected)

    def _own_registration(self) -> RegisterControllerRecord:
        return RegisterControllerRecord(
            controller_id=self.node_id,
            incarnation_id=self._clock.uuid(),
            zk_migration_ready=False,
            end_points=[
                RegisterControllerRecord.ControllerEndpoint(
                    name=one.name,
                    host=one.host,
                    port=one.port,
                    security_protocol=SECURITY_PROTOCOLS[one.security_protocol],
                )
                for one in self.log.endpoints
            ],
            features=[
                RegisterControllerRecord.ControllerFeature(
                    name=name, min_supported_version=levels.lowest, max_supported_version=levels.highest
                )
                for name, levels in SERVED.items()
            ],
        )
