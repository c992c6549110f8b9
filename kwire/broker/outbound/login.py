"""The login at another node: which request follows which answer.

Responsible for: ``NodeLogin``. Must not depend on: connections, how a mechanism works, time.
"""

from __future__ import annotations

from typing import Any

from kwire.broker.outbound.interface import Address, Disconnected
from kwire.errors import Code
from kwire.security.sasl.exchange import ClientExchange
from kwire.security.sasl.scram_client import ScramRefused
from kwire.wire.message import Message
from kwire.wire.messages import SaslAuthenticateRequest, SaslHandshakeRequest, SaslHandshakeResponse

# The part of a session's lifetime after which the connection is replaced, as Kafka's clients renew theirs (KIP-368).
_USED_OF_LIFETIME = 0.85


class NodeLogin:
    """``request`` is what to send next, None once this node is logged in."""

    def __init__(self, address: Address, exchange: ClientExchange) -> None:
        self.request: Message | None = SaslHandshakeRequest(mechanism=exchange.name)
        self.lasts_s: float | None = None  # for how long the connection can be used from now on; None for ever
        self._address = address
        self._exchange = exchange

    @property
    def is_slow(self) -> bool:
        """Whether ``answered`` takes milliseconds, so that it belongs in a thread."""
        return self._exchange.is_slow and not isinstance(self.request, SaslHandshakeRequest)

    def answered(self, response: Any) -> None:
        """Take the answer to ``request``. Raises Disconnected if either side refuses the other."""
        if response.error_code:
            raise Disconnected(self._refusal(response))
        if isinstance(response, SaslHandshakeResponse):
            self.request = SaslAuthenticateRequest(auth_bytes=self._exchange.first())
            return
        try:
            token = self._exchange.next(bytes(response.auth_bytes))
        except ScramRefused as error:
            raise Disconnected(f"the login at {self._address} failed: {error}") from error
        self.request = None if token is None else SaslAuthenticateRequest(auth_bytes=token)
        if token is None and response.session_lifetime_ms > 0:
            self.lasts_s = response.session_lifetime_ms / 1000 * _USED_OF_LIFETIME

    def _refusal(self, response: Any) -> str:
        refused = f"{self._address} refused the login by {self._exchange.name}"
        if response.error_code == Code.UNSUPPORTED_SASL_MECHANISM:
            return f"{refused}: it supports {', '.join(response.mechanisms) or 'no mechanism'}"
        message = getattr(response, "error_message", None)
        return f"{refused}: {message or Code(response.error_code).name}"
