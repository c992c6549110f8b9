"""The options of a schema registry.

Responsible for: reading them, and the error messages for invalid ones. Must not depend on: records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from kwire.schemas.address import RegistryAddress

F = TypeVar("F", bound=Callable[..., Any])

_NEEDED = ("fastavro", "httpx2", "google.protobuf")


def schema_registry_options(command: F) -> F:
    """Add the options; a command takes them as ``schema_registry`` and ``schema_registry_token``, ``..._ca``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--schema-registry",
        envvar="KWIRE_SCHEMA_REGISTRY",
        metavar="URL",
        help="Show keys and values in Avro, Protobuf and JSON Schema as text, by the schemas of this registry, such as"
        " http://localhost:8081 or https://USER:PASSWORD@HOST; needs kwire[schemas]. [env: KWIRE_SCHEMA_REGISTRY]",
    ),
    click.option(
        "--schema-registry-token",
        envvar="KWIRE_SCHEMA_REGISTRY_TOKEN",
        metavar="TOKEN",
        help="Sent to the schema registry as Authorization: Bearer TOKEN. [env: KWIRE_SCHEMA_REGISTRY_TOKEN]",
    ),
    click.option(
        "--schema-registry-ca",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="The certificates (PEM) that the certificate of the schema registry is checked with. [default: those of"
        " the system]",
    ),
)


def read_schema_registry(url: str | None, token: str | None, ca_file: str | None) -> RegistryAddress | None:
    """Read the options; None without a registry. Raises click.UsageError, RegistryRefused."""
    if url is None:
        if ca_file is not None:
            raise click.UsageError("--schema-registry-ca is for --schema-registry")
        return None
    from importlib.util import find_spec

    from kwire.schemas.address import AddressError, read_address

    missing = [name for name in _NEEDED if not _is_there(find_spec, name)]
    if missing:
        names = ", ".join(missing)
        raise RegistryRefused(f"--schema-registry needs more packages: pip install 'kwire[schemas]' ({names})")
    if ca_file is not None:
        _check_certificates(ca_file)
    try:
        return read_address(url, token=token, ca_file=ca_file)
    except AddressError as error:
        raise RegistryRefused(f"--schema-registry: {error}") from None


def _is_there(find_spec: Callable[[str], object], name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


def _check_certificates(path: str) -> None:
    import ssl

    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise RegistryRefused(f"--schema-registry-ca {path} cannot be read: {error.strerror or error}") from None


class RegistryRefused(Exception):
    """The schema registry cannot be used. One sentence."""
