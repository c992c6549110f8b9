"""SASL PLAIN (RFC 4616) as Apache Kafka's PlainSaslServer reads it.

Responsible for: the one token of the mechanism. Must not depend on: where users are stored.

    [authorization id] NUL user NUL password

Passwords are compared in constant time, and an unknown user takes the time of a known one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from kwire.security.principal import Principal
from kwire.security.sasl.exchange import Identity, Refused

_PARTS: Final = 3


class PlainExchange:
    """``password_of(user)`` returns the password of a user, or None for a user that does not exist."""

    def __init__(self, password_of: Callable[[str], str | None]) -> None:
        self._password_of = password_of
        self.identity: Identity | None = None
        self.claimed: str | None = None

    def is_slow(self, token: bytes) -> bool:
        del token
        return False

    def evaluate(self, token: bytes) -> bytes:
        parts = token.decode("utf-8", "replace").split("\0")
        if len(parts) != _PARTS:
            raise _refused(f"Invalid SASL/PLAIN response: expected 3 tokens, got {len(parts)}")
        authorization_id, user, password = parts
        self.claimed = user or None
        if not user:
            raise _refused("Authentication failed: username not specified")
        if not password:
            raise _refused("Authentication failed: password not specified")
        expected = self._password_of(user)
        # A comparison of digests: its time does not depend on the password, nor on whether there is one.
        equal = hmac.compare_digest(_digest(password), _digest("" if expected is None else expected))
        if expected is None or not equal:
            message = "Authentication failed: Invalid username or password"
            raise Refused("unknown user" if expected is None else "wrong password", message)
        if authorization_id not in {"", user}:
            raise _refused(
                "Authentication failed: Client requested an authorization id that is different from username"
            )
        self.identity = Identity(Principal("User", user))
        return b""


def _refused(message: str) -> Refused:
    return Refused(message, message)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
