"""Listening for HTTP requests, in the event loop of the broker.

Responsible for: the address, the token, and running the application. Must not depend on: routes.
"""

from __future__ import annotations

import ipaddress
import logging

import hypercorn.trio
import trio
from hypercorn.config import Config

from kwire.control.app import Control, make_app
from kwire.server.acceptor import CannotBind
from kwire.server.lifecycle import Server


class CannotControl(CannotBind):
    """The address of ``--control`` cannot be used."""


def check_address(host: str, token: str | None) -> None:
    """Raise CannotControl for an address that others can reach, unless a token protects it."""
    if token is None and not _is_loopback(host):
        raise CannotControl(f"--control {host} can be reached by others: add --control-token, or use 127.0.0.1")


async def serve_control(
    server: Server,
    host: str,
    port: int,
    *,
    token: str | None = None,
    requests_kept: int = 1000,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; reports the port when it listens. Raises CannotControl."""
    check_address(host, token)
    control = Control(server, requests_kept=requests_kept)
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.errorlog = logging.getLogger("kwire.control")
    config.graceful_timeout = 0.1
    control.log.start()
    try:
        async with trio.open_nursery() as nursery:
            app = make_app(control, token=token)
            try:
                urls = await nursery.start(hypercorn.trio.serve, app, config)
            except OSError as error:
                raise CannotControl(f"cannot listen on {host}:{port} (--control): {error.strerror}") from error
            task_status.started(int(urls[0].rpartition(":")[2]))
    finally:
        control.log.stop()
        control.injector.clear()


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
