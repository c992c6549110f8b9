"""Follows the controllers' metadata log and applies it to the image.

Responsible for: sending the requests of the observer, applying committed records to the image, and calling the
subscribers after a change. Must not depend on: what a change means to them, registration.

A record that the image cannot apply, and a subscriber that fails on a change, are logged and skipped, as in Apache
Kafka.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from kwire.broker.containment import notify
from kwire.broker.logs import Logger
from kwire.broker.outbound.connection import NodeConnection
from kwire.broker.outbound.interface import Address, Dialer, OutboundError
from kwire.broker.steps import run_in_steps
from kwire.errors import ProtocolViolation
from kwire.metadata.image import Delta, MetadataImage, Record
from kwire.metadata.log.differences import differences
from kwire.metadata.log.observer import Change, ControllerAddress, LoadedSnapshot, MetadataObserver
from kwire.metadata.log.steps import apply_in_steps, parts_of

log = Logger("kwire.metadata")

# An outage is logged once, and again after this time.
_LOG_OUTAGE_EVERY_S: Final = 30.0


class MetadataFollower:
    """The image of a broker whose controllers are other processes."""

    def __init__(
        self, *, observer: MetadataObserver, image: MetadataImage, dialer: Dialer, node_id: int, timeout_ms: float
    ) -> None:
        self.image = image
        self.observer = observer
        self._dialer = dialer
        self._client_id = f"raft-client-{node_id}"
        self._timeout_ms = timeout_ms
        self._on_delta: list[Callable[[Delta], None]] = []
        self._connection: NodeConnection | None = None
        self._changed = trio.Event()
        self.last_failure: str | None = None  # why the last attempt to fetch metadata failed
        self._outage_since_s: float | None = None
        self._outage_logged_s = float("-inf")

    @property
    def applied_offset(self) -> int:
        """The offset of the last metadata record that the image shows; -1 before the first."""
        return self.observer.applied_offset

    @property
    def leader(self) -> ControllerAddress | None:
        """The active controller, as far as is known."""
        return self.observer.leader

    @property
    def kraft_version(self) -> int:
        return self.observer.quorum.kraft_version

    def subscribe(self, on_delta: Callable[[Delta], None]) -> None:
        """Call ``on_delta`` after each change of the image, in the order of subscription."""
        self._on_delta.append(on_delta)

    async def changed(self) -> None:
        """Wait until a controller has answered the next time: the image or the active controller may have changed."""
        await self._changed.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds, which is checked after each answer of a controller."""
        while not condition():
            await self._changed.wait()

    async def caught_up(self) -> None:
        """Wait until the image shows all that is committed as of one answer of the active controller."""
        await self.until(lambda: self.observer.is_caught_up)

    async def run(self) -> None:
        """Follow the log until cancelled.

        Raises MetadataDiverged, and KafkaError for a refusal that lasts, such as INCONSISTENT_CLUSTER_ID.
        """
        try:
            while True:
                await self._ask()
        finally:
            self._disconnect()

    async def _ask(self) -> None:
        ask = self.observer.next()
        await trio.sleep(ask.pause_ms / 1000)
        try:
            response = await self._connect(ask.target).request(ask.message)
            for change in self.observer.answered(response):
                await self._apply(change)
                self.observer.applied(change)
                # A new broker reads a long log: others run between two of its batches.
                await trio.lowlevel.checkpoint()
        except OutboundError as error:
            self._note_outage(str(error))
            self.observer.failed()
        except ProtocolViolation as violation:
            log.warning("answer of a controller ignored", controller=_text(ask.target), why=str(violation))
            self._disconnect()
            self.observer.failed()
        else:
            self._note_answer()
        self._wake()

    async def _apply(self, change: Change) -> None:
        """Apply a change to the image, and let the subscribers follow it; in steps, if it is large."""
        steps, failed = change.steps, partial(_log_record, change.offset)
        if isinstance(change, LoadedSnapshot) and self.image.version:
            after = MetadataImage()
            await run_in_steps(apply_in_steps(after, steps, failed=failed))
            log.info("metadata snapshot loaded", offset=change.offset)
            steps = differences(self.image, after)
        version = self.image.version
        delta = await run_in_steps(apply_in_steps(self.image, steps, failed=failed))
        if self.image.version == version:
            return
        for place, part in enumerate(parts_of(delta)):
            if place:
                await trio.lowlevel.checkpoint()
            notify(self._on_delta, part)

    def _connect(self, target: ControllerAddress) -> NodeConnection:
        address = Address(target.host, target.port)
        if self._connection is None or self._connection.address != address:
            self._disconnect()
            self._connection = NodeConnection(
                address, dialer=self._dialer, client_id=self._client_id, timeout_ms=self._timeout_ms
            )
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _wake(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def _note_outage(self, why: str) -> None:
        self.last_failure = why
        now_s = trio.current_time()
        if self._outage_since_s is None:
            self._outage_since_s = now_s
        if now_s - self._outage_logged_s >= _LOG_OUTAGE_EVERY_S:
            self._outage_logged_s = now_s
            log.warning("no metadata from the controllers", why=why, applied_offset=self.applied_offset)

    def _note_answer(self) -> None:
        self.last_failure = None
        if self._outage_since_s is not None and self.leader is not None:
            lasted_s = round(trio.current_time() - self._outage_since_s, 1)
            log.info("following the active controller", controller=_text(self.leader), outage_s=lasted_s)
            self._outage_since_s, self._outage_logged_s = None, float("-inf")


def _log_record(offset: int, record: Record, error: Exception) -> None:
    name = getattr(record, "NAME", type(record).__name__)
    log.failure("metadata record not applied", error, record=name, batch_end_offset=offset)


def _text(controller: ControllerAddress) -> str:
    address = str(Address(controller.host, controller.port))
    return address if controller.node_id is None else f"{controller.node_id} at {address}"
