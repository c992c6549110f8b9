"""The authentication of one connection: which request is allowed when, and the exchange that runs.

Responsible for: the states of Apache Kafka's SaslServerAuthenticator, its codes and texts, and the session lifetime
(KIP-368). Must not depend on: frames, time, where users are stored.

    stage            ApiVersions   SaslHandshake   SaslAuthenticate   another request
    START            answer        handshake       close              close
    HANDSHAKE        close         handshake       close              close            after an ApiVersions answer
    REQUESTS         refuse        refuse          authenticate       refuse           after SaslHandshake 1
    TOKENS           every frame is a token without a header (SaslHandshake 0)
    OTHER_MECHANISM  every frame ends the connection: re-authentication with another mechanism
    COMPLETE         the login is over
    FAILED           close         close           close              close

"refuse" is an answer with ILLEGAL_SASL_STATE before the connection is closed. Re-authentication begins with a
SaslHandshake on a connection whose session has a lifetime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from kwire.errors import Code
from kwire.security.sasl.exchange import Exchange, Identity, Refused

SASL_HANDSHAKE: Final = 17
API_VERSIONS: Final = 18
SASL_AUTHENTICATE: Final = 36
_KAFKA_FRAMES_SINCE: Final = 1  # SaslHandshake 1 announces SaslAuthenticate requests (KIP-152)


class Stage(Enum):
    """See the table of the module."""

    START = "start"
    HANDSHAKE = "handshake"
    REQUESTS = "requests"
    TOKENS = "tokens"
    OTHER_MECHANISM = "other mechanism"
    COMPLETE = "complete"
    FAILED = "failed"


class Step(Enum):
    """What to do with a frame."""

    API_VERSIONS = "answer it as usual"
    HANDSHAKE = "handshake"
    AUTHENTICATE = "authenticate"
    TOKEN = "a token without a header"  # noqa: S105 (not a secret)
    REFUSE = "answer ILLEGAL_SASL_STATE, then close"
    CLOSE = "close"


_STEPS: Final[Mapping[Stage, Mapping[int, Step]]] = {
    Stage.START: {API_VERSIONS: Step.API_VERSIONS, SASL_HANDSHAKE: Step.HANDSHAKE},
    Stage.HANDSHAKE: {SASL_HANDSHAKE: Step.HANDSHAKE},
    Stage.REQUESTS: {SASL_AUTHENTICATE: Step.AUTHENTICATE},
}
_OTHERWISE: Final[Mapping[Stage, Step]] = {
    Stage.REQUESTS: Step.REFUSE,
    Stage.TOKENS: Step.TOKEN,
}


class Mechanisms(NamedTuple):
    """The mechanisms of a listener, in the order of Kafka's answer, and how an exchange of one begins.

    ``reauth_ms`` is ``connections.max.reauth.ms`` of each mechanism; 0 sets no limit.
    """

    names: Sequence[str]
    begin: Callable[[str], Exchange]
    reauth_ms: Mapping[str, int]


class LoggedIn(NamedTuple):
    """The result of a login. ``lifetime_ms`` is None when the session does not expire."""

    identity: Identity
    mechanism: str
    lifetime_ms: int | None


class Login:
    """One login; with ``previous`` a re-authentication, which must give the same principal by the same mechanism."""

    def __init__(self, mechanisms: Mechanisms, previous: LoggedIn | None = None) -> None:
        self._mechanisms = mechanisms
        self._previous = previous
        self._exchange: Exchange | None = None
        self.stage = Stage.START if previous is None else Stage.HANDSHAKE
        self.mechanism: str | None = None
        self.refusal = ""  # why the connection ends, for the log

    @property
    def mechanisms(self) -> Sequence[str]:
        """The mechanisms that are offered."""
        return self._mechanisms.names

    @property
    def again(self) -> bool:
        """Whether this is a re-authentication."""
        return self._previous is not None

    @property
    def claimed(self) -> str | None:
        """The name that the client has given, for the log."""
        return None if self._exchange is None else self._exchange.claimed

    def step(self, api_key: int) -> Step:
        """Tell what to do with a frame whose first two bytes are ``api_key``."""
        return _STEPS.get(self.stage, {}).get(api_key) or _OTHERWISE.get(self.stage, Step.CLOSE)

    def versions_answered(self) -> None:
        """Note that ApiVersions was answered: the next request must be SaslHandshake."""
        self.stage = Stage.HANDSHAKE

    def handshake(self, mechanism: str, version: int) -> Code:
        """Choose a mechanism; the code of the answer. UNSUPPORTED_SASL_MECHANISM ends the connection."""
        if mechanism not in self._mechanisms.names:
            self.stage = Stage.FAILED
            self.refusal = f"Unsupported SASL mechanism {mechanism}"
            return Code.UNSUPPORTED_SASL_MECHANISM
        if self._previous is not None and mechanism != self._previous.mechanism:
            self.stage = Stage.OTHER_MECHANISM
            self.refusal = (
                f"SASL mechanism '{mechanism}' requested by client is not supported for re-authentication of mechanism"
                f" '{self._previous.mechanism}'"
            )
            return Code.NONE
        self.mechanism = mechanism
        self._exchange = self._mechanisms.begin(mechanism)
        self.stage = Stage.REQUESTS if version >= _KAFKA_FRAMES_SINCE else Stage.TOKENS
        return Code.NONE

    def is_slow(self, token: bytes) -> bool:
        """Whether ``evaluate`` of this token takes milliseconds."""
        assert self._exchange is not None
        return self._exchange.is_slow(token)

    def evaluate(self, token: bytes) -> bytes:
        """Take a token. Raises Refused with the text for the client: SASL_AUTHENTICATION_FAILED ends the connection."""
        exchange = self._exchange
        assert exchange is not None
        try:
            challenge = exchange.evaluate(token)
            if exchange.identity is not None:
                self._check_principal(exchange.identity)
                self.stage = Stage.COMPLETE
        except Refused as refused:
            self.stage = Stage.FAILED
            self.refusal = refused.reason
            kind = "re-authentication" if self.again else "authentication"
            general = (
                f"Authentication failed during {kind} due to invalid credentials with SASL mechanism {self.mechanism}"
            )
            raise Refused(refused.reason, refused.answer or general) from None
        return challenge

    def result(self, now_ms: int) -> LoggedIn:
        """Return the result of the completed login; its lifetime is counted from ``now_ms``."""
        assert self._exchange is not None
        identity, mechanism = self._exchange.identity, self.mechanism
        assert identity is not None
        assert mechanism is not None
        limits = []
        if self._mechanisms.reauth_ms.get(mechanism, 0) > 0:
            limits.append(self._mechanisms.reauth_ms[mechanism])
        if identity.expires_at_ms is not None:
            limits.append(identity.expires_at_ms - now_ms)
        return LoggedIn(identity, mechanism, max(0, min(limits)) if limits else None)

    def _check_principal(self, identity: Identity) -> None:
        before = None if self._previous is None else self._previous.identity.principal
        if before is None or before == identity.principal:
            return
        now = identity.principal
        message = (
            f"Cannot change principals during re-authentication from {before.type}.{before.name}: {now.type}.{now.name}"
        )
        raise Refused(message, message)


def in_kafkas_order(names: Sequence[str]) -> tuple[str, ...]:
    """Sort names as Kafka lists its mechanisms: in the order of a Java HashSet."""

    def bucket(name: str) -> int:
        code = 0
        for character in name:
            code = (code * 31 + ord(character)) & 0xFFFFFFFF
        return (code ^ code >> 16) & 15

    return tuple(sorted(dict.fromkeys(names), key=bucket))
