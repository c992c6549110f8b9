"""SASL as a client: PLAIN and SCRAM, for kwire's commands and for connections to other nodes.

Responsible for: ``SaslLogin`` and the tokens that a client sends for it. Must not depend on: requests, where users and
passwords are kept.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kwire.security.sasl.exchange import ClientExchange
from kwire.security.sasl.scram_client import ScramClient

CLIENT_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class SaslLogin(NamedTuple):
    """Mechanism, user and password of a client. ``by_token``: they are the id and HMAC of a delegation token."""

    mechanism: str
    user: str
    password: str
    by_token: bool = False

    def __repr__(self) -> str:
        return f"SaslLogin({self.mechanism}, {self.user})"


def begin_exchange(login: SaslLogin, nonce: str) -> ClientExchange:
    """Make the client's side of an exchange. ``nonce`` is random text, used once (``scram_keys.random_text``)."""
    return _Plain(login) if login.mechanism == "PLAIN" else _Scram(login, nonce)


class _Plain:
    name = "PLAIN"
    is_slow = False

    def __init__(self, login: SaslLogin) -> None:
        self._token = f"\0{login.user}\0{login.password}".encode()

    def first(self) -> bytes:
        return self._token

    def next(self, _challenge: bytes) -> bytes | None:
        return None


class _Scram:
    is_slow = True

    def __init__(self, login: SaslLogin, nonce: str) -> None:
        self.name = login.mechanism
        self._client = ScramClient(login.mechanism, login.user, login.password, nonce, token=login.by_token)
        self._answered = False

    def first(self) -> bytes:
        return self._client.first()

    def next(self, challenge: bytes) -> bytes | None:
        if self._answered:
            self._client.check(challenge)
            return None
        self._answered = True
        return self._client.final(challenge)
