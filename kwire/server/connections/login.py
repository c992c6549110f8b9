"""The authentication of a connection's client by SASL.

Responsible for: the frames of a login, its answers, the delay of a refusal, the end of a session, and the audit lines.
Must not depend on: sockets, how a mechanism works (``security.sasl``).

While a login runs, the connection passes each frame to ``ConnectionLogin.take``. Afterwards requests are handled as on
any listener; only where sessions expire (KIP-368), SaslHandshake is passed here, and after the expiry every request.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NoReturn, Protocol

import trio

from kwire.broker.authentication import Authentication
from kwire.broker.clients.audit import AUDIT, shown
from kwire.broker.clients.client import Client
from kwire.broker.clock import Clock, Timer
from kwire.broker.requests.refusals import refusal_of
from kwire.errors import Code
from kwire.security.sasl.exchange import Refused
from kwire.security.sasl.login import SASL_HANDSHAKE, LoggedIn, Login, Stage, Step
from kwire.server.connections.refusals import Ended
from kwire.server.connections.registry import ConnectionRegistry
from kwire.wire.codec import Part, RequestHeader, decode_request, encode_response, read_header, response_class
from kwire.wire.messages import FindCoordinatorResponse, SaslAuthenticateResponse, SaslHandshakeResponse
from kwire.wire.session import Gate, SaslSession, Session

_SOFTWARE_SINCE: Final = 3  # ApiVersions 3 names the client software, and is refused if the name is malformed
_REAUTHENTICATION_PAUSE_MS: Final = 1000  # a session is renewed at most once a second, as in Kafka
_LENGTH_BYTES: Final = 4


class Connection(Protocol):
    """The part of a connection that a login uses."""

    client: Client

    async def send(self, parts: Sequence[Any]) -> None: ...

    async def wait(self, event: trio.Event, timeout_ms: float) -> bool: ...

    async def send_pending(self) -> None: ...

    def set_session(self, session: Session, frame_bytes_max: int) -> None:
        """Decide which requests are admitted from now on, and how large a frame may be."""
        ...


class ConnectionLogin:
    """One per connection of a SASL listener."""

    def __init__(
        self, connection: Connection, connections: ConnectionRegistry, authentication: Authentication, clock: Clock
    ) -> None:
        self._connection = connection
        self._connections = connections
        self._authentication = authentication
        self._clock = clock
        self._logged_in: LoggedIn | None = None
        self._expiry: Timer | None = None
        self._renewed_ms = float("-inf")
        self._versions_asked: int | None = None  # the version of the ApiVersions request that was passed on
        self._login = self._begin(None)

    async def take(self, frame: memoryview) -> bool | None:
        """Handle a frame that the session does not admit by itself.

        None: it was part of the login and is answered. Otherwise it is a request for the usual handler, and the value
        is that of ``Session.admit``. Raises Ended when the connection must end, ProtocolViolation for bytes that do not
        decode.
        """
        if not await self._takes(frame):
            return None
        header = read_header(frame)
        return Session(self._connections.served).admit(header.api_key, header.api_version)

    async def _takes(self, frame: memoryview) -> bool:
        """Handle a frame if it is part of the login. True: it is a request for the usual handler."""
        if self._login.stage is Stage.COMPLETE and not self._renew(frame):
            return True
        api_key = int.from_bytes(frame[:2], "big", signed=True)
        self._go_back_after_refused_versions()
        step = self._login.step(api_key)
        if step is Step.TOKEN:
            await self._take_token(frame)
            return False
        if step is Step.CLOSE:
            self._close(f"request {api_key} in the stage {self._login.stage.value}")
        header = read_header(frame)
        if not self._serves(header):
            if step is Step.API_VERSIONS:
                return True  # it is answered with the versions that are served
            self._close(f"version {header.api_version} of request {api_key} is not served")
        if step is Step.API_VERSIONS:
            self._versions_asked = header.api_version
            self._login.versions_answered()
            return True
        request: Any = decode_request(header, frame)
        if step is Step.REFUSE:
            name = request.NAME.removesuffix("Request")
            await self._refuse(f"Unexpected Kafka request of type {name} during SASL authentication.", _illegal(header))
        elif step is Step.HANDSHAKE:
            await self._shake_hands(header, request.mechanism)
        else:
            await self._authenticate(header, bytes(request.auth_bytes))
        return False

    def close(self) -> None:
        """Cancel the timer of the session, and drop the reference to the connection."""
        self._cancel_expiry()
        del self._connection

    def _cancel_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def note_violation(self, why: str) -> None:
        """Log that bytes of the peer ended a login."""
        if self._login.stage is not Stage.COMPLETE:
            self._log_failure(why)

    def _begin(self, previous: LoggedIn | None) -> Login:
        self._set_gate(Gate.LOGIN, self._authentication.limits.request_bytes_max)
        endpoint = self._connection.client.endpoint
        return Login(self._authentication.mechanisms(endpoint.name), previous)

    def _go_back_after_refused_versions(self) -> None:
        """Allow ApiVersions again if it was answered with an error."""
        if self._versions_asked is not None:
            named = self._connection.client.software_name is not None
            if self._login.stage is Stage.HANDSHAKE and self._versions_asked >= _SOFTWARE_SINCE and not named:
                self._login.stage = Stage.START
            self._versions_asked = None

    def _renew(self, frame: memoryview) -> bool:
        """Begin to re-authenticate if the frame is a SaslHandshake of a session that expires.

        False: the frame is a request for the usual handler. Raises Ended for a session that has expired.
        """
        session, now_ms = self._logged_in, self._clock.monotonic_ms()
        assert session is not None
        handshake = int.from_bytes(frame[:2], "big", signed=True) == SASL_HANDSHAKE
        if handshake and now_ms - self._renewed_ms >= _REAUTHENTICATION_PAUSE_MS:
            self._renewed_ms = now_ms
            self._login = self._begin(session)
            return True
        if self._expiry is not None and not self._expiry.pending:
            AUDIT.info("session expired", **self._tags(str(session.identity.principal)))
            raise Ended
        return False

    async def _shake_hands(self, header: RequestHeader, mechanism: str) -> None:
        login = self._login
        code = login.handshake(mechanism, header.api_version)
        answer = encode_response(header, SaslHandshakeResponse(error_code=code, mechanisms=list(login.mechanisms)))
        if code:
            await self._refuse(login.refusal, answer)
        await self._connection.send(answer)

    async def _authenticate(self, header: RequestHeader, token: bytes) -> None:
        try:
            challenge = await self._evaluate(token)
        except Refused as refused:
            response = SaslAuthenticateResponse(
                error_code=Code.SASL_AUTHENTICATION_FAILED, error_message=refused.answer, auth_bytes=b""
            )
            await self._refuse(refused.reason, encode_response(header, response))
        lifetime_ms = self._completed() if self._login.stage is Stage.COMPLETE else 0
        response = SaslAuthenticateResponse(error_message="", auth_bytes=challenge, session_lifetime_ms=lifetime_ms)
        await self._connection.send(encode_response(header, response))

    async def _take_token(self, frame: memoryview) -> None:
        """Take a token of an old client, which has no header, and answer in the same way."""
        try:
            challenge = await self._evaluate(bytes(frame))
        except Refused as refused:
            await self._refuse(refused.reason, None)
        if self._login.stage is Stage.COMPLETE:
            self._completed()
        await self._connection.send([len(challenge).to_bytes(_LENGTH_BYTES, "big"), challenge])

    async def _evaluate(self, token: bytes) -> bytes:
        login = self._login
        if login.is_slow(token):
            await self._connection.send_pending()
            return await self._connections.log_in_in_thread(partial(login.evaluate, token))
        return login.evaluate(token)

    def _completed(self) -> int:
        """Put the login into effect; returns the lifetime of the session in ms, 0 for one without end."""
        now_ms = self._clock.now_ms()
        session = self._logged_in = self._login.result(now_ms)
        connection, identity = self._connection, session.identity
        connection.client = connection.client._replace(
            principal=identity.principal,
            authenticated_at_ms=now_ms,
            authenticated_by_token=identity.by_token,
        )
        AUDIT.info(
            "login renewed" if self._login.again else "login",
            mechanism=session.mechanism,
            **self._tags(str(identity.principal)),
        )
        self._cancel_expiry()
        if session.lifetime_ms is None:
            self._set_gate(Gate.OPEN)
            return 0
        self._set_gate(Gate.RENEWABLE)
        self._expiry = self._clock.call_later(session.lifetime_ms, partial(self._set_gate, Gate.LOGIN))
        return session.lifetime_ms

    def _close(self, why: str) -> NoReturn:
        """End the connection without an answer, at once."""
        self._log_failure(self._login.refusal or why)
        raise Ended

    async def _refuse(self, why: str, answer: Sequence[Part] | None) -> NoReturn:
        """Answer after ``connection.failed.authentication.delay.ms``, so that passwords are tried slowly."""
        self._login.stage = Stage.FAILED
        self._log_failure(why)
        await self._connection.wait(trio.Event(), self._authentication.limits.failure_delay_ms)
        if answer is not None:
            await self._connection.send(answer)
        raise Ended

    def _log_failure(self, why: str) -> None:
        claimed = None if self._login.claimed is None else shown(self._login.claimed)
        AUDIT.warning("login failed", mechanism=self._login.mechanism, reason=shown(why), **self._tags(claimed))

    def _set_gate(self, gate: Gate, frame_bytes_max: int | None = None) -> None:
        served = self._connections.served
        session = Session(served) if gate is Gate.OPEN else SaslSession(served, gate)
        self._connection.set_session(session, frame_bytes_max or self._connections.request_bytes_max)

    def _serves(self, header: RequestHeader) -> bool:
        api = self._connections.apis.get(header.api_key)
        return api is not None and api.serves(header.api_version)

    def _tags(self, principal: str | None) -> dict[str, object]:
        client = self._connection.client
        return {"principal": principal, "peer": client.peer, "listener": client.endpoint.name}


def _illegal(header: RequestHeader) -> Sequence[Part]:
    """Answer any request with ILLEGAL_SASL_STATE, or with an empty response where that has no place for a code."""
    message = "Request is not valid given the current SASL state."
    response: Any = refusal_of(header, Code.ILLEGAL_SASL_STATE, message) or response_class(header.api_key)()
    if isinstance(response, FindCoordinatorResponse):
        response.node_id = response.port = -1
    return encode_response(header, response)
