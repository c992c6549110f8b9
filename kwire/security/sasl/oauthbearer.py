"""SASL OAUTHBEARER (RFC 7628): the exchange as Apache Kafka's OAuthBearerSaslServer has it.

Responsible for: the client's message, and the answers to a token that is not valid. Must not depend on: how a token is
validated (``tokens``), where keys come from.

    n,[a=AUTHZID],^Aauth=Bearer TOKEN^A[NAME=VALUE^A ...]^A      ^A is the byte 1
    {"status":"invalid_token"}                                   the server's answer to a bad token
    ^A                                                           the client's answer to that; the login fails
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from kwire.security.principal import Principal
from kwire.security.sasl.exchange import Identity, Refused

_SASL_NAME: Final = r"(?:[\x01-\x2b\x2d-\x3c\x3e-\x7f]|=2C|=3D)+"
# Patterns are compiled at the first login.
_MESSAGE: Final = rf"n,(?:a=(?P<authzid>{_SASL_NAME}))?,\x01(?P<pairs>(?:[A-Za-z]+=[\x21-\x7e \t\r\n]+\x01)*)\x01"
_AUTH: Final = r"(?a:(?P<scheme>\w+) +(?P<token>[-_~+/.a-zA-Z0-9]+=*))"
_AFTER_ERROR: Final = b"\x01"


class InvalidToken(Exception):
    """A token is not valid; ``scope`` is the missing scope, as Java lists it, where that is the reason."""

    def __init__(self, reason: str, scope: str | None = None) -> None:
        super().__init__(reason)
        self.scope = scope


class ValidToken(NamedTuple):
    """The claims of a valid token. ``expires_at_ms``: ms since the epoch."""

    principal_name: str
    expires_at_ms: int


class OAuthBearerExchange:
    """``validate(token)`` returns the claims of a valid token, or raises InvalidToken."""

    def __init__(self, validate: Callable[[str], ValidToken]) -> None:
        self._validate = validate
        self._error: tuple[str, str] | None = None  # the reason, and the answer that was sent
        self.identity: Identity | None = None
        self.claimed: str | None = None

    def is_slow(self, token: bytes) -> bool:
        # A signature is verified, and keys may have to be fetched.
        return len(token) > 1

    def evaluate(self, token: bytes) -> bytes:
        if self._error is not None and token == _AFTER_ERROR:
            raise Refused(*self._error)
        self._error = None
        message = re.fullmatch(_MESSAGE, token.decode("utf-8", "replace"))
        if message is None:
            raise Refused("Invalid OAUTHBEARER client first message")
        pairs = dict(pair.split("=", 1) for pair in message["pairs"].split("\x01")[:-1])
        if "auth" not in pairs:
            raise Refused("Invalid OAUTHBEARER client first message: 'auth' not specified")
        auth = re.fullmatch(_AUTH, pairs["auth"])
        if auth is None or auth["scheme"].lower() != "bearer":
            raise Refused("Invalid OAUTHBEARER client first message: invalid 'auth' format")
        try:
            valid = self._validate(auth["token"])
        except InvalidToken as error:
            status = "invalid_token" if error.scope is None else "insufficient_scope"
            scope = "" if error.scope is None else f', "scope":"{error.scope}"'
            answer = f'{{"status":"{status}"{scope}}}'
            self._error = str(error), answer
            return answer.encode()
        self.claimed = valid.principal_name
        if message["authzid"] not in {None, valid.principal_name}:
            reason = (
                f"Authentication failed: Client requested an authorization id ({message['authzid']}) that is different"
                f" from the token's principal name ({valid.principal_name})"
            )
            raise Refused(reason, reason)
        self.identity = Identity(Principal("User", valid.principal_name), valid.expires_at_ms)
        return b""
