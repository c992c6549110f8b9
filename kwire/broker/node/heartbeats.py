"""Sends the registration and the heartbeats of this broker, outside of the event loop.

Responsible for: sending the requests of the lifecycle when they are due, in a thread (``HeartbeatThread``), so that an
event loop that is held does not cost the session, or in a task (``HeartbeatTask``) where the network is in memory. Must
not depend on: what the broker does about a change of its state.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import trio

from kwire.broker.logs import Logger
from kwire.broker.outbound.blocking import BlockingConnection
from kwire.broker.outbound.connection import NodeConnection
from kwire.broker.outbound.interface import Address, Dialer, OutboundError
from kwire.metadata.broker_lifecycle import BrokerLifecycle
from kwire.metadata.log.observer import ControllerAddress
from kwire.security.sasl.exchange import ClientExchange
from kwire.wire.message import Message

log = Logger("kwire.broker")

_JOIN_S = 5.0


class Heartbeats(Protocol):
    """Drives one lifecycle. ``on_change`` is called in the event loop after each response that changed its state."""

    async def run(self) -> None:
        """Send until the lifecycle has stopped, or until cancelled."""
        ...

    def act(self, call: Callable[[BrokerLifecycle, float], None]) -> None:
        """Change the lifecycle, with the time now in ms, and send what that makes due."""
        ...


class HeartbeatThread:
    """``leader`` gives the active controller; the event loop changes it, this thread reads it.

    ``connect`` and ``login`` are those of ``BlockingConnection``.
    """

    def __init__(
        self,
        life: BrokerLifecycle,
        *,
        leader: Callable[[], ControllerAddress | None],
        client_id: str,
        timeout_ms: float,
        on_change: Callable[[], None],
        connect: Callable[[Address, float], socket.socket] = socket.create_connection,
        login: Callable[[], ClientExchange | None] = lambda: None,
    ) -> None:
        self.connect = connect
        self._login = login
        self._life = life
        self._leader = leader
        self._client_id = client_id
        self._timeout_ms = timeout_ms
        self._on_change = on_change
        self._changed = threading.Condition()
        self._ended = False
        self._connection: BlockingConnection | None = None
        self._trouble = _Outage()

    def act(self, call: Callable[[BrokerLifecycle, float], None]) -> None:
        with self._changed:
            call(self._life, time.monotonic() * 1000)
            self._changed.notify()

    async def run(self) -> None:
        token = trio.lowlevel.current_trio_token()
        thread = threading.Thread(target=self._loop, args=(token,), name="kwire heartbeats", daemon=True)
        thread.start()
        try:
            await trio.to_thread.run_sync(thread.join, abandon_on_cancel=True)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _loop(self, token: trio.lowlevel.TrioToken) -> None:
        while not self._ended:
            with self._changed:
                request = self._life.next(time.monotonic() * 1000)
                if request is None and not self._life.has_stopped:
                    self._changed.wait(max(0.0, self._life.due_ms / 1000 - time.monotonic()))
                    continue
            if request is not None:
                self._exchange_contained(request)
            try:
                token.run_sync_soon(self._on_change)
            except trio.RunFinishedError:
                break
            if self._life.has_stopped:
                break
        self._disconnect()

    def _exchange_contained(self, request: Message) -> None:
        """Logs an unexpected exception: if the thread ended, the broker would be fenced without a log line."""
        try:
            self._exchange(request)
        except Exception as error:  # noqa: BLE001 (a bug, whatever it is)
            log.failure("heartbeat failed", error)
            self._note_failed()

    def _note_failed(self) -> None:
        self._disconnect()
        with self._changed:
            self._life.failed(time.monotonic() * 1000)

    def _exchange(self, request: Message) -> None:
        try:
            response = self._send(request)
        except OutboundError as error:
            self._trouble.note(str(error))
            self._note_failed()
            return
        self._trouble.end()
        with self._changed:
            self._life.answered(request, response, time.monotonic() * 1000)
        if response.error_code:
            self._disconnect()  # another controller may be the active one by now

    def _send(self, request: Message) -> Any:
        leader = self._leader()
        if leader is None:
            raise OutboundError("no active controller is known")
        address = Address(leader.host, leader.port)
        known = self._connection
        if known is None or known.address != address or not known.is_usable:
            self._disconnect()
            self._connection = known = BlockingConnection(
                address,
                client_id=self._client_id,
                timeout_ms=self._timeout_ms,
                connect=self.connect,
                login=self._login,
            )
        return known.request(request)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class HeartbeatTask:
    """The same as a task of the event loop, over any dialer."""

    def __init__(
        self,
        life: BrokerLifecycle,
        *,
        leader: Callable[[], ControllerAddress | None],
        dialer: Dialer,
        client_id: str,
        timeout_ms: float,
        on_change: Callable[[], None],
    ) -> None:
        self._life = life
        self._leader = leader
        self._dialer = dialer
        self._client_id = client_id
        self._timeout_ms = timeout_ms
        self._on_change = on_change
        self._changed = trio.Event()
        self._connection: NodeConnection | None = None
        self._trouble = _Outage()

    def act(self, call: Callable[[BrokerLifecycle, float], None]) -> None:
        call(self._life, trio.current_time() * 1000)
        self._changed.set()

    async def run(self) -> None:
        try:
            while not self._life.has_stopped:
                self._changed = trio.Event()
                request = self._life.next(trio.current_time() * 1000)
                if request is not None:
                    await self._exchange(request)
                elif not self._life.has_stopped:
                    # At least a millisecond: a jumping clock stops just before the time that was asked for.
                    with trio.move_on_after(max(0.001, self._life.due_ms / 1000 - trio.current_time())):
                        await self._changed.wait()
                self._on_change()
        finally:
            self._disconnect()

    async def _exchange(self, request: Message) -> None:
        try:
            response = await self._send(request)
        except OutboundError as error:
            self._trouble.note(str(error))
            self._life.failed(trio.current_time() * 1000)
            return
        self._trouble.end()
        self._life.answered(request, response, trio.current_time() * 1000)

    async def _send(self, request: Message) -> Any:
        leader = self._leader()
        if leader is None:
            raise OutboundError("no active controller is known")
        address = Address(leader.host, leader.port)
        if self._connection is None or self._connection.address != address:
            self._disconnect()
            self._connection = NodeConnection(
                address, dialer=self._dialer, client_id=self._client_id, timeout_ms=self._timeout_ms
            )
        return await self._connection.request(request)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Outage:
    """Logs the first failure of several in a row, and their end."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, why: str) -> None:
        self._count += 1
        if self._count == 1:
            log.warning("no heartbeat reaches the controller", why=why)

    def end(self) -> None:
        if self._count:
            log.info("heartbeats reach the controller again", failed=self._count)
        self._count = 0
