"""Requests of this broker to the active controller, whichever controller that is.

Responsible for: finding the active controller and asking again at the next one after a change of the leader. Must not
depend on: what is requested.
"""

from __future__ import annotations

from typing import Any, Final

import trio

from kwire.broker.node.metadata_follower import MetadataFollower
from kwire.broker.outbound.connection import NodeConnection
from kwire.broker.outbound.interface import Address, Dialer, Disconnected, NotServed, TimedOut
from kwire.errors import Code, KafkaError
from kwire.wire.message import Message
from kwire.wire.messages import ApiVersionsResponse, CreateTopicsResponse

# How long to wait for another active controller before the same one is asked again.
_RETRY_S: Final = 0.05


class ControllerChannel:
    """``timeout_ms`` bounds a request with all its attempts; Kafka's ``request.timeout.ms``."""

    def __init__(self, *, follower: MetadataFollower, dialer: Dialer, client_id: str, timeout_ms: float) -> None:
        self._follower = follower
        self._dialer = dialer
        self._client_id = client_id
        self._timeout_ms = timeout_ms
        self._connection: NodeConnection | None = None

    async def request(self, message: Message, *, version: int | None = None, timeout_ms: float | None = None) -> Any:
        """Send a request to the active controller and return its response.

        A request whose connection was lost is sent again, so the controller may carry it out twice, as requests of a
        Java broker may be. Raises KafkaError: REQUEST_TIMED_OUT, UNSUPPORTED_VERSION where the controller does not
        serve it. Error codes within the response are the caller's, but for NOT_CONTROLLER.
        """
        wait_s = (self._timeout_ms if timeout_ms is None else timeout_ms) / 1000
        with trio.move_on_after(wait_s):
            while True:
                try:
                    response = await (await self._connected()).request(
                        message, version=version, timeout_ms=wait_s * 1e3
                    )
                except NotServed as error:
                    raise KafkaError(Code.UNSUPPORTED_VERSION, str(error)) from error
                except TimedOut as error:
                    raise KafkaError(Code.REQUEST_TIMED_OUT, str(error)) from error
                except Disconnected:
                    response = None
                if response is not None and not _is_of_another_controller(response):
                    return response
                await self._wait_for_news()
        raise KafkaError(Code.REQUEST_TIMED_OUT, f"no active controller answered within {wait_s:g} s")

    async def api_versions(self) -> ApiVersionsResponse:
        """Return what the active controller serves. Raises KafkaError(REQUEST_TIMED_OUT)."""
        with trio.move_on_after(self._timeout_ms / 1000):
            while True:
                try:
                    return await (await self._connected()).api_versions()
                except (Disconnected, TimedOut):
                    await self._wait_for_news()
        raise KafkaError(Code.REQUEST_TIMED_OUT, "no active controller answered")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _connected(self) -> NodeConnection:
        """Return a connection to the active controller as it is known now, once one is known."""
        await self._follower.until(lambda: self._follower.leader is not None)
        leader = self._follower.leader
        assert leader is not None
        address = Address(leader.host, leader.port)
        if self._connection is None or self._connection.address != address:
            self.close()
            self._connection = NodeConnection(
                address, dialer=self._dialer, client_id=self._client_id, timeout_ms=self._timeout_ms
            )
        return self._connection

    async def _wait_for_news(self) -> None:
        with trio.move_on_after(_RETRY_S):
            await self._follower.changed()


def _is_of_another_controller(response: Any) -> bool:
    """Whether a controller refused the request because it is not the active one."""
    if isinstance(response, CreateTopicsResponse):
        return any(topic.error_code == Code.NOT_CONTROLLER for topic in response.topics)
    return bool(response.error_code == Code.NOT_CONTROLLER)
