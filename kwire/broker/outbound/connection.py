"""One connection to another node: connecting with back-off, ApiVersions, login, pipelined requests with deadlines.

Responsible for: ``NodeConnection``. Must not depend on: which node it is, what requests mean, sockets.

There is no task per connection: one of the callers that wait for a response reads, and another one takes over when its
own response has arrived. A request that times out closes the connection, as in Kafka's clients: a node answers in
order, so the later responses would be late too.

A session that expires (KIP-368) is not renewed: before its end a new connection takes over, and the old one closes once
its last response has arrived.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

import trio

from kwire import __version__
from kwire.broker.outbound.interface import Address, Dialer, Disconnected, NotServed, Stream, TimedOut
from kwire.broker.outbound.login import NodeLogin
from kwire.errors import Code, ProtocolViolation
from kwire.limits import READ_CHUNK_BYTES
from kwire.security.sasl.exchange import ClientExchange
from kwire.wire.codec import API_VERSIONS, api_name, decode_response, encode_request
from kwire.wire.frames import FrameSplitter, ReadBuffers
from kwire.wire.message import Message
from kwire.wire.messages import ApiVersionsRequest, ApiVersionsResponse

# A response of a fetch holds at least one whole batch, whatever its size.
RESPONSE_BYTES_MAX: Final = 1 << 30
BACKOFF_MS: Final = 50.0
BACKOFF_MS_MAX: Final = 1000.0

_API_VERSIONS_VERSION: Final = 4


class NodeConnection:
    """Requests to one node, over a connection that is made at the first of them and again after it was lost.

    After a failure to connect the next attempt waits ``BACKOFF_MS``, then twice as long, at most ``BACKOFF_MS_MAX``.
    """

    def __init__(self, address: Address, *, dialer: Dialer, client_id: str, timeout_ms: float = 30_000) -> None:
        self.address = address
        self._dialer = dialer
        self._client_id = client_id
        self._timeout_ms = timeout_ms
        self._connecting = trio.Lock()
        self._channel: _Channel | None = None
        self._failures = 0
        self._retry_at_s = float("-inf")
        self._closed = False

    async def request(self, message: Message, *, version: int | None = None, timeout_ms: float | None = None) -> Any:
        """Send a request and return its response: see ``interface.Node``."""
        wait_ms = self._timeout_ms if timeout_ms is None else timeout_ms
        channel: _Channel | None = None
        with trio.move_on_after(wait_ms / 1000):
            channel = await self._connected()
            return await channel.call(message, channel.version_of(message) if version is None else version)
        name = api_name(message.KEY)
        why = f"{self.address} did not answer {name} within {wait_ms:g} ms"
        if channel is None:
            raise TimedOut(f"no connection to {self.address} within {wait_ms:g} ms")
        channel.fail(why)
        raise TimedOut(why)

    async def api_versions(self) -> ApiVersionsResponse:
        """Return what the node answered to ApiVersions. Raises Disconnected, TimedOut."""
        with trio.move_on_after(self._timeout_ms / 1000):
            return (await self._connected()).api_versions
        raise TimedOut(f"no connection to {self.address} within {self._timeout_ms:g} ms")

    def close(self) -> None:
        """Close; requests that wait, and later ones, raise Disconnected."""
        self._closed = True
        if self._channel is not None:
            self._channel.fail(f"the connection to {self.address} is closed")

    async def _connected(self) -> _Channel:
        channel = self._channel
        if channel is not None and channel.is_usable:
            return channel
        async with self._connecting:
            if self._channel is not None and self._channel.is_usable:
                return self._channel
            await trio.sleep_until(self._retry_at_s)
            if self._closed:
                raise Disconnected(f"the connection to {self.address} is closed")
            if self._channel is not None:
                self._channel.retire()
            self._channel = None
            self._channel = await self._connect()
            return self._channel

    async def _connect(self) -> _Channel:
        try:
            stream = await self._dialer.connect(self.address)
        except OSError as error:
            self._note_failure()
            raise Disconnected(f"cannot connect to {self.address}: {error.strerror or error}") from error
        channel = _Channel(stream, self.address, self._client_id)
        try:
            await channel.negotiate()
            await channel.log_in(self._dialer.login())
        except BaseException as error:
            channel.fail(f"the connection to {self.address} was not completed")
            if isinstance(error, Disconnected):
                self._note_failure()
            raise
        if self._closed:
            channel.fail(f"the connection to {self.address} is closed")
        self._failures = 0
        return channel

    def _note_failure(self) -> None:
        delay_ms = min(BACKOFF_MS * 2**self._failures, BACKOFF_MS_MAX)
        self._failures = min(self._failures + 1, 10)
        self._retry_at_s = trio.current_time() + delay_ms / 1000


class _Call:
    """A request whose response has not arrived."""

    __slots__ = ("abandoned", "api_key", "response", "version", "wake")

    def __init__(self, api_key: int, version: int) -> None:
        self.api_key = api_key
        self.version = version
        self.response: Message | None = None
        self.abandoned = False
        self.wake = trio.Event()  # set when the response is there, or when this caller should read


class _Channel:
    """One stream, from its first byte to its last."""

    def __init__(self, stream: Stream, address: Address, client_id: str) -> None:
        self.api_versions = ApiVersionsResponse()
        self._ranges: dict[int, tuple[int, int]] = {}
        self._stream = stream
        self._address = address
        self._client_id = client_id
        self._correlation_ids = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._sending = trio.Lock()
        self._reading = False
        self._failure: str | None = None
        self._ends_s = float("inf")
        self._retired = False
        self._callers = 0
        self._splitter = FrameSplitter(RESPONSE_BYTES_MAX, ReadBuffers(1))

    @property
    def is_usable(self) -> bool:
        """Whether requests can be sent; a node may have closed a connection that was idle."""
        if self._failure is None and not self._calls and self._stream.peer_closed:
            self.fail(f"{self._address} closed the connection")
        return self._failure is None and trio.current_time() < self._ends_s

    def version_of(self, message: Message) -> int:
        """Return the highest version of a request that both sides have. Raises NotServed."""
        ours, name = message.VERSIONS, api_name(message.KEY)
        lowest, highest = self._ranges.get(message.KEY, (0, -1))
        version = min(ours.highest, highest)
        if version < max(ours.lowest, lowest):
            served = f"at versions {lowest} to {highest}" if highest >= 0 else "not at all"
            raise NotServed(f"{self._address} serves {name} {served}; here are versions {ours.lowest}-{ours.highest}")
        return version

    async def negotiate(self) -> None:
        """Ask for the versions that the node serves. Raises Disconnected."""
        request = ApiVersionsRequest(client_software_name="kwire", client_software_version=__version__)
        self.api_versions = await self.call(request, _API_VERSIONS_VERSION)
        if self.api_versions.error_code:
            code = Code(self.api_versions.error_code).name
            raise Disconnected(f"{self._address} refused ApiVersions version {_API_VERSIONS_VERSION}: {code}")
        self._ranges = {api.api_key: (api.min_version, api.max_version) for api in self.api_versions.api_keys}

    async def log_in(self, exchange: ClientExchange | None) -> None:
        """Log in, if ``exchange`` is not None. Raises Disconnected."""
        if exchange is None:
            return
        login = NodeLogin(self._address, exchange)
        while login.request is not None:
            try:
                version = self.version_of(login.request)
            except NotServed as error:
                raise Disconnected(str(error)) from error
            response = await self.call(login.request, version)
            if login.is_slow:
                await trio.to_thread.run_sync(login.answered, response)
            else:
                login.answered(response)
        if login.lasts_s is not None:
            self._ends_s = trio.current_time() + login.lasts_s

    def retire(self) -> None:
        """Close once no caller waits for a response."""
        self._retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and not self._callers:
            self.fail(f"the session at {self._address} has ended")

    async def call(self, message: Message, version: int) -> Any:
        """Send a request and wait for its response. Raises Disconnected."""
        self._callers += 1
        try:
            return await self._call(message, version)
        finally:
            self._callers -= 1
            self._close_if_unused()

    async def _call(self, message: Message, version: int) -> Any:
        correlation_id = next(self._correlation_ids)
        frame = encode_request(message.KEY, version, correlation_id, self._client_id, message)
        call = _Call(message.KEY, version)
        async with self._sending:
            self._check()
            self._calls[correlation_id] = call
            try:
                await self._stream.send([frame])
            except (OSError, trio.ClosedResourceError) as error:
                self.fail(f"the connection to {self._address} was lost: {error}")
            except BaseException:
                self.fail(f"a request to {self._address} was cancelled while it was sent")
                raise
        try:
            await self._receive(call)
        finally:
            call.abandoned = True
        return call.response

    def fail(self, why: str) -> None:
        """Close, for the first reason that was given; every caller that waits raises Disconnected."""
        if self._failure is not None:
            return
        self._failure = why
        self._stream.close()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.wake.set()

    async def _receive(self, call: _Call) -> None:
        """Return once the response to ``call`` has arrived, reading for others too if no other caller does."""
        while call.response is None:
            self._check()
            if self._reading:
                try:
                    await call.wake.wait()
                except trio.Cancelled:
                    # This caller may have been chosen as the next reader after it was cancelled.
                    self._pass_reading_on(call)
                    raise
                call.wake = trio.Event()
                continue
            self._reading = True
            try:
                while call.response is None and self._failure is None:
                    await self._read()
            finally:
                self._reading = False
                self._pass_reading_on(call)

    def _pass_reading_on(self, besides: _Call) -> None:
        """Wake one waiting caller, which then reads, unless another caller reads already."""
        if self._reading:
            return
        for other in self._calls.values():
            if other is not besides and not other.abandoned:
                other.wake.set()
                return

    async def _read(self) -> None:
        try:
            frames = await self._read_frames()
            for frame in frames:
                self._take(frame)
        except (OSError, trio.ClosedResourceError) as error:
            self.fail(f"the connection to {self._address} was lost: {error}")
        except ProtocolViolation as violation:
            self.fail(f"{self._address} sent bytes that are no response: {violation}")

    async def _read_frames(self) -> list[memoryview]:
        space = self._splitter.space()
        if space is None:
            chunk = await self._stream.recv(READ_CHUNK_BYTES)
            if not chunk:
                raise ConnectionResetError("the node closed it")
            return self._splitter.feed(chunk)
        count = await self._stream.recv_into(space)
        if not count:
            raise ConnectionResetError("the node closed it")
        frame = self._splitter.filled(count)
        return [] if frame is None else [frame]

    def _take(self, frame: memoryview) -> None:
        correlation_id = int.from_bytes(frame[:4], "big", signed=True)
        call = self._calls.pop(correlation_id, None)
        if call is None:
            raise ProtocolViolation(f"no request has the correlation id {correlation_id}")
        if call.abandoned:
            return
        call.response = _decode(call, frame)
        call.wake.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise Disconnected(self._failure)


def _decode(call: _Call, frame: memoryview) -> Message:
    if call.api_key == API_VERSIONS and frame[4:6] == Code.UNSUPPORTED_VERSION.to_bytes(2, "big"):
        return decode_response(call.api_key, 0, frame)[1]  # KIP-511: this refusal has the form of version 0
    return decode_response(call.api_key, call.version, frame)[1]
