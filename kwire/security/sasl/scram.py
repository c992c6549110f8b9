"""SASL SCRAM (RFC 5802, RFC 7677): the server's side as Apache Kafka's ScramSaslServer has it.

Responsible for: the two tokens of the client and the answers to them. Must not depend on: where credentials are stored.

    client first   n,[a=AUTHZID],n=USER,r=CLIENT_NONCE[,EXTENSIONS]    extension tokenauth=true: USER is a token id
    server first   r=CLIENT_NONCE SERVER_NONCE,s=SALT,i=ITERATIONS
    client final   c=BINDING,r=NONCE[,EXTENSIONS],p=PROOF
    server final   v=SIGNATURE

Only messages without channel binding are read (``n,``), and names are ASCII, as in Kafka. A user that does not exist
gets a salt too, always the same one, and fails at the proof like a wrong password; Apache Kafka refuses it at the first
message. Tokens cannot be replayed: each exchange has its own nonce, and each token is accepted in one state only.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from kwire.security.principal import Principal
from kwire.security.sasl.exchange import Identity, Refused
from kwire.security.sasl.scram_keys import ITERATIONS_MIN, Credential, digest_of, hmac_of, xor

_SASL_NAME: Final = r"(?:[\x01-\x2b\x2d-\x3c\x3e-\x7f]|=2C|=3D)+"
_VALUE: Final = r"[\x01-\x2b\x2d-\x7f]+"
_PRINTABLE: Final = r"[\x21-\x2b\x2d-\x7e]+"
_BASE64: Final = r"(?:[A-Za-z0-9/+]{4})*(?:[A-Za-z0-9/+]{3}=|[A-Za-z0-9/+]{2}==)?"
_EXTENSIONS: Final = rf"(?:,[A-Za-z]+={_VALUE})*"
# Patterns are compiled at the first login.
_CLIENT_FIRST: Final = (
    rf"n,(?:a=(?P<authzid>{_SASL_NAME}))?,"
    rf"(?P<bare>(?:m={_VALUE},)?n=(?P<name>{_SASL_NAME}),r=(?P<nonce>{_PRINTABLE})(?P<extensions>{_EXTENSIONS}))"
)
_CLIENT_FINAL: Final = rf"(?P<without_proof>c={_BASE64},r=(?P<nonce>{_PRINTABLE}){_EXTENSIONS}),p=(?P<proof>{_BASE64})"


class TokenCredential(NamedTuple):
    """The credential of a delegation token, the principal that it stands for, and when it expires (ms)."""

    credential: Credential
    owner: Principal
    expires_at_ms: int


class Credentials(NamedTuple):
    """Where an exchange finds credentials, by name. ``of_token`` may take milliseconds.

    ``stand_in`` makes the credential of a user that does not exist, always the same one.
    """

    of_user: Callable[[str], Credential | None]
    of_token: Callable[[str], TokenCredential | None]
    stand_in: Callable[[str], Credential]


class ScramExchange:
    """``mechanism`` is Kafka's number of it; ``server_nonce`` is random text, used once."""

    def __init__(self, mechanism: int, credentials: Credentials, server_nonce: str) -> None:
        self._mechanism = mechanism
        self._credentials = credentials
        self._server_nonce = server_nonce
        self._known = False
        self._pending: tuple[Credential, Identity] | None = None
        self._client_first = ""
        self._server_first = ""
        self._nonce = ""
        self.identity: Identity | None = None
        self.claimed: str | None = None

    def is_slow(self, token: bytes) -> bool:
        # The credential of a delegation token is derived at its first use.
        return self._pending is None and b"tokenauth=true" in token.lower()

    def evaluate(self, token: bytes) -> bytes:
        text = token.decode("utf-8", "replace")
        if self.identity is not None:
            raise Refused("a token after the last one of the exchange")
        return self._first(text) if self._pending is None else self._final(text)

    def _first(self, text: str) -> bytes:
        message = re.fullmatch(_CLIENT_FIRST, text)
        if message is None:
            raise Refused("Invalid SCRAM client first message format")
        name = self.claimed = _unescaped(message["name"])
        extensions = dict(each.split("=", 1) for each in message["extensions"].split(",")[1:])
        by_token = extensions.get("tokenauth", "").lower() == "true"
        credential, identity = self._of_token(name) if by_token else self._of_user(name)
        if credential.iterations < ITERATIONS_MIN:
            raise Refused(f"Iterations {credential.iterations} is less than the minimum {ITERATIONS_MIN}")
        if message["authzid"] not in {None, name}:
            answer = "Authentication failed: Client requested an authorization id that is different from username"
            raise Refused(answer, answer)
        self._pending = credential, identity
        self._nonce = message["nonce"] + self._server_nonce
        self._client_first = message["bare"]
        salt = base64.b64encode(credential.salt).decode()
        self._server_first = f"r={self._nonce},s={salt},i={credential.iterations}"
        return self._server_first.encode()

    def _final(self, text: str) -> bytes:
        assert self._pending is not None
        credential, identity = self._pending
        message = re.fullmatch(_CLIENT_FINAL, text)
        if message is None:
            raise Refused("Invalid SCRAM client final message format")
        if not hmac.compare_digest(message["nonce"], self._nonce):
            raise Refused("Invalid client nonce in the final client message.")
        signed = f"{self._client_first},{self._server_first},{message['without_proof']}".encode()
        signature = hmac_of(self._mechanism, credential.stored_key, signed)
        proof = base64.b64decode(message["proof"])
        if len(proof) != len(signature):
            raise Refused("a proof of a wrong length")
        stored_key = digest_of(self._mechanism, xor(signature, proof))
        if not hmac.compare_digest(stored_key, credential.stored_key) or not self._known:
            raise Refused("wrong password" if self._known else "unknown user")
        self.identity = identity
        return b"v=" + base64.b64encode(hmac_of(self._mechanism, credential.server_key, signed))

    def _of_user(self, name: str) -> tuple[Credential, Identity]:
        found = self._credentials.of_user(name)
        self._known = found is not None
        return found or self._credentials.stand_in(name), Identity(Principal("User", name))

    def _of_token(self, token_id: str) -> tuple[Credential, Identity]:
        found = self._credentials.of_token(token_id)
        if found is None:
            raise Refused("unknown delegation token")
        self._known = True
        return found.credential, Identity(found.owner, found.expires_at_ms, by_token=True)


def _unescaped(name: str) -> str:
    return name.replace("=2C", ",").replace("=3D", "=")
