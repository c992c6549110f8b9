"""This broker as a member of a cluster whose controllers are other processes.

Responsible for: the order of a start (metadata, registration, the broker's own registration in the image), unfencing,
controlled shutdown, and the end when another process takes over this node id. Must not depend on: partitions,
coordinators, listeners.

    async with open_member(...) as member:      # the image is complete, and shows this broker's registration
        ...                                     # open logs, accept connections
        await member.become_unfenced()          # partitions may be led here from now on
        ...
        await member.leave()                    # leaders are moved away; then close the logs
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from kwire.broker.containment import RESTART_MS, must_stop_broker, start_contained
from kwire.broker.logs import Logger
from kwire.broker.node.heartbeats import Heartbeats
from kwire.broker.node.metadata_follower import MetadataFollower
from kwire.broker.node.quorum_controller import QuorumController
from kwire.errors import Code, KafkaError
from kwire.metadata import features
from kwire.metadata.broker_lifecycle import BrokerLifecycle, LifeState
from kwire.metadata.cluster.nodes import lacks_directories
from kwire.metadata.image import Delta
from kwire.metadata.log.observer import MetadataDiverged
from kwire.types import Uuid

log = Logger("kwire.broker")

# As long as Apache Kafka waits for the end of a controlled shutdown.
_SHUTDOWN_S_MAX: Final = 300.0
_WAITING_LOGGED_S: Final = 5.0
# Between two attempts to follow the metadata after a refusal or a failure that lasts.
_FOLLOW_PAUSE_MS_MAX: Final = 30_000.0


class JoinRefused(Exception):
    """This broker cannot be a member of the cluster. The message says why and what to do, for people."""


class ClusterMember:
    """The membership of this broker. ``controllers`` is how the settings name the controllers, for messages."""

    def __init__(
        self,
        *,
        follower: MetadataFollower,
        life: BrokerLifecycle,
        controller: QuorumController,
        controllers: str,
        controlled_shutdown: bool,
    ) -> None:
        self.follower = follower
        self.life = life
        self.controller = controller
        self._heartbeats: Heartbeats | None = None
        self._controllers = controllers
        self._controlled_shutdown = controlled_shutdown
        self._changed = trio.Event()
        self._failure: JoinRefused | None = None
        self._has_joined = False

    @property
    def epoch(self) -> int:
        """The epoch of this broker's registration; -1 before it is registered."""
        return self.life.epoch

    def follow(self, heartbeats: Heartbeats) -> None:
        """Use these heartbeats, which call ``note_change``."""
        self._heartbeats = heartbeats

    def note_change(self) -> None:
        """Check the state of the lifecycle, after a response."""
        self._wake()

    async def join(self, tasks: trio.Nursery) -> None:
        """Read the metadata, register, and wait until the image shows it. Raises JoinRefused."""
        tasks.start_soon(self._follow_metadata)
        if not await self._within(lambda: self.follower.observer.is_caught_up, _WAITING_LOGGED_S):
            log.info("waiting for the controllers", controllers=self._controllers)
        limit_s = self.life.timing.registration_timeout_ms / 1000
        if not await self._within(lambda: self.follower.observer.is_caught_up, limit_s):
            raise JoinRefused(
                f"no active controller answers at {self._controllers} within {limit_s:g} s"
                " (initial.broker.registration.timeout.ms): "
                + (self.follower.last_failure or "are the controllers running, and is the address right?")
            )
        self._check_features()
        self._check_voters()
        if self._failure is not None:
            raise self._failure
        assert self._heartbeats is not None
        self._act(lambda life, now_ms: life.begin(now_ms))
        self.follower.subscribe(self._note_delta)
        tasks.start_soon(self._heartbeats.run)
        await self._until(lambda: self._is_registered() or self.life.refusal is not None)
        if self.life.refusal is not None:
            raise JoinRefused(self._why_refused(self.life.refusal))
        await self.controller.learn_versions()
        start_contained(tasks, _sleep_ms, self.controller.run)
        self._has_joined = True
        log.info("registered with the controllers", epoch=self.life.epoch, applied_offset=self.follower.applied_offset)

    async def become_unfenced(self) -> None:
        """Ask to be unfenced, and return once the controller has done it. Raises JoinRefused."""
        await self._until(lambda: self.life.state is not LifeState.CATCHING_UP)
        self._act(lambda life, _: life.become_ready())
        await self._until(lambda: self.life.state is not LifeState.UNFENCING)
        log.info("unfenced by the controller", epoch=self.life.epoch)

    async def leave(self) -> None:
        """Controlled shutdown: return once the controller has moved this broker's leaders, or has fenced it."""
        if not self._controlled_shutdown:
            return
        self._act(lambda life, now_ms: life.shut_down(now_ms))
        with trio.move_on_after(_SHUTDOWN_S_MAX):
            while self.life.state is not LifeState.STOPPED and self._failure is None:
                await self._changed.wait()

    async def report_offline(self, directory: Uuid, *, is_last: bool, timeout_ms: float) -> None:
        """Report a failed log directory to the controller, which moves the leaders and replicas that it held.

        The broker ends when that takes longer than ``timeout_ms``, and with the last of its directories.
        """
        self._act(lambda life, _: life.change_log_dirs(offline=[directory]))
        with trio.move_on_after(timeout_ms / 1000):
            while directory not in self.life.known_offline and self._failure is None:
                await self._changed.wait()
        if is_last:
            self._fail("all log directories have failed: this broker stops")
        elif directory not in self.life.known_offline:
            self._fail(
                "the report that a log directory failed did not reach the controllers within"
                f" {timeout_ms / 1000:g} s (log.dir.failure.timeout.ms): this broker stops"
            )

    def cordon(self, directories: Sequence[Uuid]) -> None:
        """Tell the controller which log directories take no new partitions."""
        self._act(lambda life, _: life.change_log_dirs(cordoned=directories))

    # --- inside ---

    async def _follow_metadata(self) -> None:
        """Follow the metadata log until the broker ends.

        A refusal ends the start of a broker. After a later one the fetch is repeated, and the broker serves with the
        metadata that it has.
        """
        pause_ms = float(RESTART_MS)
        while self._failure is None:
            applied_offset = self.follower.applied_offset
            try:
                await self.follower.run()
            except KafkaError as refusal:
                if not self._has_joined:
                    self._check_voters()
                    self._fail(f"the controllers at {self._controllers} refuse this broker: {_text(refusal.code)}")
                    return
                log.error(  # noqa: TRY400 (a refusal is no fault of the code)
                    "metadata fetch refused by the controllers, sent again",
                    controllers=self._controllers,
                    error=_text(refusal.code),
                    pause_ms=int(pause_ms),
                )
            except MetadataDiverged as diverged:
                self._fail(str(diverged))
                return
            except Exception as error:
                if must_stop_broker(error):
                    raise
                log.failure("following the metadata failed, begun again", error, pause_ms=int(pause_ms))
            if self.follower.applied_offset > applied_offset:
                pause_ms = float(RESTART_MS)
            await _sleep_ms(pause_ms)
            pause_ms = min(pause_ms * 2, _FOLLOW_PAUSE_MS_MAX)

    def _fail(self, why: str) -> None:
        self._failure = self._failure or JoinRefused(why)
        self._wake()

    def _act(self, call: Callable[[BrokerLifecycle, float], None]) -> None:
        assert self._heartbeats is not None
        self._heartbeats.act(call)

    def _is_registered(self) -> bool:
        shown = self.follower.image.brokers.get(self.life.identity.broker_id)
        return (
            self.life.epoch >= 0
            and shown is not None
            and shown.incarnation_id == self.life.identity.incarnation_id
            and shown.epoch == self.life.epoch
        )

    def _note_delta(self, delta: Delta) -> None:
        broker_id = self.life.identity.broker_id
        image = self.follower.image
        shown = image.brokers.get(broker_id)
        if features.METADATA_VERSION in delta.features_changed and lacks_directories(image, shown):
            self._act(lambda life, _: life.register_again())
        if broker_id not in delta.brokers_changed or self.life.epoch < 0:
            return
        if shown is None:
            log.warning("this broker was unregistered: it joins the cluster again only after a restart")
        elif shown.incarnation_id != self.life.identity.incarnation_id and shown.epoch > self.life.epoch:
            self._fail(f"another process has registered as node {broker_id}: this one stops")

    def _check_features(self) -> None:
        missing = features.not_served(
            {**self.follower.image.features, features.KRAFT_VERSION: self.follower.kraft_version}
        )
        if missing:
            raise JoinRefused(features.how_to_do_without(missing))

    def _check_voters(self) -> None:
        voters = self.follower.observer.quorum.voters
        broker_id = self.life.identity.broker_id
        voter_ids = () if voters is None else [voter.voter_id for voter in voters.voters]
        if broker_id in voter_ids or self.follower.observer.is_controller_id:
            self._fail(f"node.id {broker_id} is the id of a controller of this cluster: choose another node.id")

    def _why_refused(self, code: Code) -> str:
        if code is Code.REQUEST_TIMED_OUT:
            limit_s = self.life.timing.registration_timeout_ms / 1000
            why = self.life.refusal_reason or "no controller accepted it"
            return f"the registration was not accepted within {limit_s:g} s: {why}"
        return f"the controller refuses the registration of this broker: {_text(code)}"

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition on the metadata or the lifecycle. Raises JoinRefused once it cannot become true."""
        while not condition():
            if self._failure is not None:
                raise self._failure
            await self._changed.wait()

    async def _within(self, condition: Callable[[], bool], seconds: float) -> bool:
        with trio.move_on_after(seconds):
            await self._until(condition)
        return condition()

    async def watch(self) -> None:
        """Wait until cancelled. Raises JoinRefused when this broker must stop."""
        while self._failure is None:
            await self._changed.wait()
        raise self._failure

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def wake_on_metadata(self) -> None:
        """After each answer of a controller, check the lifecycle and wake the tasks that wait; until cancelled."""
        while True:
            self.life.reports_cordoned = self.follower.image.metadata_version >= features.CORDONED_LOG_DIRS
            self.life.note_applied(self.follower.applied_offset)
            self._wake()
            await self.follower.changed()


@asynccontextmanager
async def open_member(member: ClusterMember) -> AsyncIterator[ClusterMember]:
    """Join the cluster, and follow its metadata and send heartbeats within the block. Raises JoinRefused."""
    async with trio.open_nursery() as tasks:
        tasks.start_soon(member.wake_on_metadata)
        await member.join(tasks)
        tasks.start_soon(member.watch)
        yield member
        tasks.cancel_scope.cancel()


async def _sleep_ms(delay_ms: float) -> None:
    await trio.sleep(delay_ms / 1000)


def _text(code: Code) -> str:
    why = _REASONS.get(code)
    return code.name if why is None else f"{code.name} ({why})"


_REASONS: Final = {
    Code.INVALID_REQUEST: "node.id may be the id of a controller of this cluster",
    Code.INCONSISTENT_CLUSTER_ID: "cluster.id in meta.properties is that of another cluster",
    Code.INVALID_REGISTRATION: "a log directory belongs to another broker of the cluster, which happens when it was"
    " copied: format a new directory, or unregister that broker",
    Code.CLUSTER_AUTHORIZATION_FAILED: "the principal of this broker lacks ClusterAction on the cluster",
}
