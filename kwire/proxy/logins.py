"""The principal of a connection, as fault rules and the request log show it.

Responsible for: reading the user's name from SASL tokens as they pass. Must not depend on: whether the login succeeds:
the node decides, and closes the connection if not.

Names are read for PLAIN and SCRAM. Other mechanisms have them in certificates, tickets and web tokens.
"""

from __future__ import annotations

from typing import Final

from kwire.errors import ProtocolViolation
from kwire.security.principal import Principal
from kwire.wire.codec import decode_request, read_header
from kwire.wire.messages import SaslAuthenticateRequest, SaslHandshakeRequest

LOGIN_KEYS: Final = frozenset({SaslHandshakeRequest.KEY, SaslAuthenticateRequest.KEY})
TOKEN_BYTES_MAX: Final = 64 * 1024
_PLAIN_PARTS: Final = 3


class Login:
    """The login of one connection."""

    __slots__ = ("_mechanism",)

    def __init__(self) -> None:
        self._mechanism = ""

    def read_request(self, frame: bytes) -> Principal | None:
        """Read a request of ``LOGIN_KEYS``; the principal if it names one."""
        try:
            header = read_header(memoryview(frame))
            request = decode_request(header, memoryview(frame))
        except ProtocolViolation:
            return None  # the node refuses it, or not
        if isinstance(request, SaslHandshakeRequest):
            self._mechanism = request.mechanism
            return None
        return self.read_token(request.auth_bytes) if isinstance(request, SaslAuthenticateRequest) else None

    def read_token(self, token: bytes) -> Principal | None:
        """Read a token of the mechanism; the principal if it names one."""
        name = None
        if self._mechanism == "PLAIN":
            parts = token.split(b"\0")
            name = parts[1] if len(parts) == _PLAIN_PARTS else None
        elif self._mechanism.startswith("SCRAM-"):
            # client-first-message: n,,n=user,r=nonce (RFC 5802)
            attributes = token.split(b",")
            found = [each[2:] for each in attributes[2:3] if each.startswith(b"n=")]
            name = found[0].replace(b"=2C", b",").replace(b"=3D", b"=") if found else None
        return Principal("User", name.decode("utf-8", "replace")) if name else None
