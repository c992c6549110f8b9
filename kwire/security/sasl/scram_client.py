"""SASL SCRAM (RFC 5802): the client's side, for kwire's commands and connections to other nodes.

Responsible for: the two tokens of the client and the check of the server's signature. Must not depend on: connections.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from kwire.security.sasl.scram_keys import SCRAM_MECHANISMS, digest_of, hmac_of, salted_password, xor

_ITERATIONS_MAX = 1_000_000  # bounds the work that a broker can demand of this process


class ScramRefused(Exception):
    """The server's message is not one of SCRAM, or its signature is wrong: it does not know the password."""


class ScramClient:
    """One exchange. ``nonce`` is random text, used once; ``token`` says that user and password are a token's."""

    def __init__(self, mechanism: str, user: str, password: str, nonce: str, *, token: bool = False) -> None:
        self._mechanism = SCRAM_MECHANISMS[mechanism]
        self._password = password
        self._nonce = nonce
        name = user.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={name},r={nonce}" + (",tokenauth=true" if token else "")
        self._signature = b""

    def first(self) -> bytes:
        return f"n,,{self._bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        """Answer the server's first message. Raises ScramRefused."""
        try:
            first = server_first.decode("utf-8")
            parts = dict(part.split("=", 1) for part in first.split(","))
            nonce, salt, iterations = parts["r"], base64.b64decode(parts["s"], validate=True), int(parts["i"])
        except (UnicodeDecodeError, ValueError, KeyError, binascii.Error):
            raise ScramRefused("the broker's first SCRAM message cannot be read") from None
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ScramRefused("the broker's first SCRAM message has another nonce")
        if not 0 < iterations <= _ITERATIONS_MAX:
            raise ScramRefused(f"the broker asks for {iterations} iterations")
        salted = salted_password(self._mechanism, self._password, salt, iterations)
        without_proof = f"c=biws,r={nonce}"
        signed = f"{self._bare},{first},{without_proof}".encode()
        client_key = hmac_of(self._mechanism, salted, b"Client Key")
        proof = xor(client_key, hmac_of(self._mechanism, digest_of(self._mechanism, client_key), signed))
        self._signature = hmac_of(self._mechanism, hmac_of(self._mechanism, salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def check(self, server_final: bytes) -> None:
        """Check the server's signature. Raises ScramRefused."""
        expected = b"v=" + base64.b64encode(self._signature)
        if not hmac.compare_digest(server_final.partition(b",")[0], expected):
            raise ScramRefused("the broker's SCRAM signature is wrong: it does not know the password")
