"""SCRAM keys (RFC 5802): what a server stores instead of a password.

Responsible for: the two keys of a salted password. Must not depend on: users, where keys are stored, the exchange with
a client.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

_HASHES = {1: hashlib.sha256, 2: hashlib.sha512}  # by Kafka's number of the mechanism


class ScramKeys(NamedTuple):
    """With these a server can check a client's proof and prove itself; neither gives the password away."""

    stored_key: bytes
    server_key: bytes


def keys_of_salted_password(mechanism: int, salted_password: bytes) -> ScramKeys:
    """Derive the keys. Raises KeyError for a mechanism that is not SCRAM-SHA-256 (1) or SCRAM-SHA-512 (2)."""
    digest = _HASHES[mechanism]
    client_key = hmac.digest(salted_password, b"Client Key", digest)
    server_key = hmac.digest(salted_password, b"Server Key", digest)
    return ScramKeys(digest(client_key).digest(), server_key)


def salted_password(mechanism: int, password: str, salt: bytes, iterations: int) -> bytes:
    """Salt a password, as the admin client does before it sends one. Slow on purpose."""
    return hashlib.pbkdf2_hmac(_HASHES[mechanism]().name, password.encode("utf-8"), salt, iterations)
