"""SCRAM keys (RFC 5802): what a server stores instead of a password.

Responsible for: the two keys of a salted password, and the text form of random bits. Must not depend on: users, where
keys are stored, the exchange with a client.

Passwords are used as their UTF-8 bytes, without SASLprep, as in Apache Kafka.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NamedTuple

SCRAM_MECHANISMS: Final = {"SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2}  # with Kafka's numbers
ITERATIONS_MIN: Final = 4096
RANDOM_BYTES: Final = 17  # for ``random_text``: 130 bits
_HASHES = {1: hashlib.sha256, 2: hashlib.sha512}
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class ScramKeys(NamedTuple):
    """A server checks a client's proof and proves its own identity with these; the password cannot be derived."""

    stored_key: bytes
    server_key: bytes


class Credential(NamedTuple):
    """What a server stores of a user for one mechanism."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int


def keys_of_salted_password(mechanism: int, salted_password: bytes) -> ScramKeys:
    """Derive the keys. Raises KeyError for a mechanism that is not SCRAM-SHA-256 (1) or SCRAM-SHA-512 (2)."""
    digest = _HASHES[mechanism]
    client_key = hmac.digest(salted_password, b"Client Key", digest)
    server_key = hmac.digest(salted_password, b"Server Key", digest)
    return ScramKeys(digest(client_key).digest(), server_key)


def salted_password(mechanism: int, password: str, salt: bytes, iterations: int) -> bytes:
    """Salt a password, as the admin client does before it sends one. Slow on purpose: call it in a thread."""
    return hashlib.pbkdf2_hmac(_HASHES[mechanism]().name, password.encode("utf-8"), salt, iterations)


def make_credential(mechanism: int, password: str, salt: bytes, iterations: int = ITERATIONS_MIN) -> Credential:
    """Make the credential that a server stores. Slow on purpose: call it in a thread."""
    stored_key, server_key = keys_of_salted_password(mechanism, salted_password(mechanism, password, salt, iterations))
    return Credential(salt, stored_key, server_key, iterations)


def random_text(random_bytes: bytes) -> str:
    """Write the lower 130 of ``RANDOM_BYTES`` random bytes in base 36, as Kafka writes nonces and salts."""
    number = int.from_bytes(random_bytes, "big") & (1 << 130) - 1
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"


def digest_of(mechanism: int, content: bytes) -> bytes:
    """Hash with the function of the mechanism."""
    return _HASHES[mechanism](content).digest()


def hmac_of(mechanism: int, key: bytes, content: bytes) -> bytes:
    """HMAC with the hash function of the mechanism."""
    return hmac.digest(key, content, _HASHES[mechanism])


def xor(one: bytes, other: bytes) -> bytes:
    """Combine two keys of one length."""
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
