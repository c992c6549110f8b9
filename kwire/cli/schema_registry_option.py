"""The option ``--schema-registry``.

Responsible for: reading it and its variables, and the error messages for invalid ones. Must not depend on: records.
"""

from __future__ import annotations

import os
import ssl
from importlib.util import find_spec
from typing import Final

from kwire.schemas.address import AddressError, RegistryAddress, read_address

# The secret is not on the command line, which other users of the machine can read.
_TOKEN: Final = "KWIRE_SCHEMA_REGISTRY_TOKEN"  # noqa: S105 (the name of a variable)
_CA: Final = "KWIRE_SCHEMA_REGISTRY_CA"
_NEEDED: Final = ("fastavro", "httpx2", "google.protobuf")


def read_schema_registry(url: str | None) -> RegistryAddress | None:
    """Read the option; None without a registry. Raises RegistryRefused."""
    if url is None:
        return None
    missing = [name for name in _NEEDED if not _is_there(name)]
    if missing:
        names = ", ".join(missing)
        raise RegistryRefused(f"--schema-registry needs more packages: pip install 'kwire[schemas]' ({names})")
    ca_file = os.environ.get(_CA) or None
    if ca_file is not None:
        _check_certificates(ca_file)
    try:
        return read_address(url, token=os.environ.get(_TOKEN) or None, ca_file=ca_file)
    except AddressError as error:
        raise RegistryRefused(f"--schema-registry: {error}") from None


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


def _check_certificates(path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise RegistryRefused(f"{_CA}: {path} cannot be read: {error.strerror or error}") from None


class RegistryRefused(Exception):
    """The schema registry cannot be used. One sentence."""
