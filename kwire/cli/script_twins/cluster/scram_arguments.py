"""``--add-scram`` of kafka-storage: a user's credential before the first start (KIP-900).

Responsible for: the syntax, the official messages, and the record. Must not depend on: a data directory.

    SCRAM-SHA-256=[name=alice,password=secret]
    SCRAM-SHA-512=[name=alice,iterations=8192,salt="c2FsdA==",saltedpassword="..."]
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Final

from kwire.metadata.decisions.credentials import SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN
from kwire.security.sasl.scram_keys import (
    RANDOM_BYTES,
    SCRAM_MECHANISMS,
    keys_of_salted_password,
    random_text,
    salted_password,
)
from kwire.wire.messages import UserScramCredentialRecord

_ITERATIONS_DEFAULT: Final = 4096


class ScramArgumentError(ValueError):
    """An invalid argument; the message is Kafka's, without secrets."""


def scram_record(argument: str) -> UserScramCredentialRecord:
    """Make the record of one argument; slow, because it hashes the password. Raises ScramArgumentError."""
    mechanism, equals, inside = argument.strip().partition("=")
    if not equals:
        raise ScramArgumentError("Failed to find equals sign in SCRAM argument")
    if mechanism not in SCRAM_MECHANISMS:
        raise ScramArgumentError(f"The add-scram mechanism {mechanism} is not supported.")
    if not inside.startswith("["):
        raise ScramArgumentError("Expected configuration string to start with [")
    if not inside.endswith("]"):
        raise ScramArgumentError("Expected configuration string to end with ]")
    given = dict(map(_component, filter(None, inside[1:-1].split(","))))
    name = given.pop("name", None)
    if name is None:
        raise ScramArgumentError("You must supply 'name' to add-scram")
    salt = _decoded("salt", given.pop("salt", None))
    iterations = _iterations(mechanism, given.pop("iterations", None))
    password, salted = given.pop("password", None), given.pop("saltedpassword", None)
    if password is None and salted is None:
        raise ScramArgumentError("You must supply one of 'password' or 'saltedpassword' to add-scram")
    if password is None and salt is None:
        raise ScramArgumentError("You must supply 'salt' with 'saltedpassword' to add-scram")
    if given:
        raise ScramArgumentError(f"Unknown SCRAM configurations: {', '.join(sorted(given))}")
    number = SCRAM_MECHANISMS[mechanism]
    if salt is None:
        salt = random_text(os.urandom(RANDOM_BYTES)).encode()
    hashed = _decoded("saltedPassword", salted) if password is None else None
    stored_key, server_key = keys_of_salted_password(
        number, hashed if hashed is not None else salted_password(number, password or "", salt, iterations)
    )
    return UserScramCredentialRecord(
        name=name, mechanism=number, salt=salt, stored_key=stored_key, server_key=server_key, iterations=iterations
    )


def _component(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ScramArgumentError("No equals sign found in SCRAM component")
    quoted = len(value) >= 2 and value.startswith('"') and value.endswith('"')
    return name, value[1:-1] if quoted else value


def _decoded(what: str, text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ScramArgumentError(f"Failed to decode given {what}") from None


def _iterations(mechanism: str, text: str | None) -> int:
    if text is None:
        return _ITERATIONS_DEFAULT
    try:
        count = int(text)
    except ValueError:
        raise ScramArgumentError(f"Failed to parse iterations count: {text}") from None
    for sign, bound, wrong in (
        (">=", SCRAM_ITERATIONS_MIN, count < SCRAM_ITERATIONS_MIN),
        ("<=", SCRAM_ITERATIONS_MAX, count > SCRAM_ITERATIONS_MAX),
    ):
        if wrong:
            raise ScramArgumentError(
                f"The 'iterations' value must be {sign} {bound} for add-scram using {mechanism.replace('-', '_')}"
            )
    return count
