"""The options ``--control`` and ``--control-token``.

Responsible for: reading them, and the sentence for an address that cannot be used. Must not depend on: the HTTP
interface.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def control_options(command: F) -> F:
    """Add both options; a command takes them as ``control`` and ``control_token``."""
    command = click.option(
        "--control-token",
        envvar="KWIRE_CONTROL_TOKEN",
        metavar="TOKEN",
        help="What HTTP clients must send as Authorization: Bearer TOKEN. [env: KWIRE_CONTROL_TOKEN]",
    )(command)
    return click.option(
        "--control",
        envvar="KWIRE_CONTROL",
        metavar="[HOST:]PORT",
        help="Also serve HTTP for kwire ctl (faults, clock, request log, recordings) and for metrics; needs"
        " kwire[control]. [env: KWIRE_CONTROL]",
    )(command)


def read_control(address: str, token: str | None) -> tuple[str, int]:
    """Read ``--control``: host and port. Raises click.UsageError, ControlRefused."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdigit() or int(port) > 65535:
        raise click.UsageError(f"--control is a port, or HOST:PORT, not {address!r}")
    try:
        from kwire.control.server import CannotControl, check_address
    except ImportError as error:
        raise ControlRefused(
            f"--control and --console need more packages: pip install 'kwire[control]' ({error})"
        ) from None
    try:
        check_address(host, token)
    except CannotControl as error:
        raise ControlRefused(str(error)) from None
    return host, int(port)


class ControlRefused(Exception):
    """The control interface cannot be served. One sentence."""
