"""SASL PLAIN (RFC 4616) as Apache Kafka's PlainSaslServer reads it.

Responsible for: the one token of the mechanism. Must not depend on: where users are stored.

    [authorization id] NUL user NUL password

Passwords are compared in constant time, and an unknown user takes the time of a known one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from kwire.security.principal import Principal
from kwire.security.sasl.exchange import Identity, Refused


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
        parts = token.decode("utf-8", "replace").split("\0", 2)
        parts += [""] * (3 - len(parts))  # as Kafka, which then misses the user or the password
        authorization_id, user, password = parts
        self.claimed = user or None
        if not user:
            raise Refused("Authentication failed: username not specified")
        if not password:
            raise Refused("Authentication failed: password not specified")
        expected = self._password_of(user)
        # A comparison of digests: its time does not depend on the password, nor on whether there is one.
        equal = hmac.compare_digest(_digest(password), _digest("" if expected is None else expected))
        if expected is None or not equal:
            message = "Authentication failed: Invalid username or password"
            raise Refused("unknown user" if expected is None else "wrong password", message)
        if authorization_id not in {"", user}:
            message = "Authentication failed: Client requested an authorization id that is different from username"
            raise Refused(message, message)
        self.identity = Identity(Principal("User", user))
        return b""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
