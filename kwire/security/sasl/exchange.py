"""One SASL exchange: the interfaces of the mechanisms, of the server's side and of the client's, and refusals.

Responsible for: ``Exchange``, ``ClientExchange``, ``Identity`` and ``Refused``. Must not depend on: frames, requests,
where users are stored.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from kwire.security.principal import Principal


class Identity(NamedTuple):
    """The authenticated client. ``expires_at_ms``: when the credential expires, in ms since the epoch, or None.

    ``by_token``: a delegation token authenticated the client, which may not ask for tokens then (KIP-48).
    """

    principal: Principal
    expires_at_ms: int | None = None
    by_token: bool = False


class Refused(Exception):
    """The authentication failed. ``reason`` is for the log.

    ``answer`` is the text for the client; None means Apache Kafka's general text, which does not tell whether the user
    exists.
    """

    def __init__(self, reason: str, answer: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = answer


class Exchange(Protocol):
    """One exchange. Bytes of the client go in, a challenge comes out, until ``identity`` is known."""

    @property
    def identity(self) -> Identity | None:
        """The client, once the exchange is complete."""
        ...

    @property
    def claimed(self) -> str | None:
        """The name that the client has given so far, for the log. It need not exist."""
        ...

    def is_slow(self, token: bytes) -> bool:
        """Whether ``evaluate`` of this token takes milliseconds, so that it belongs in a thread."""
        ...

    def evaluate(self, token: bytes) -> bytes:
        """Take a token of the client and return the answer to it, which may be empty. Raises Refused."""
        ...


class ClientExchange(Protocol):
    """The client's side of one exchange."""

    name: str

    @property
    def is_slow(self) -> bool:
        """Whether ``next`` takes milliseconds, so that it belongs in a thread."""
        ...

    def first(self) -> bytes:
        """Return the first token."""
        ...

    def next(self, challenge: bytes) -> bytes | None:
        """Take a token of the server and return the answer to it, None once the exchange is complete.

        Raises scram_client.ScramRefused for a server that does not know the password, or a token that cannot be read.
        """
        ...
