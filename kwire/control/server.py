"""Listening for HTTP requests, in the event loop of the broker.

Responsible for: the address, the token, and running the application. Must not depend on: routes.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import hypercorn.trio
import trio
from hypercorn.config import Config
from starlette.applications import Starlette

from kwire.control.bench import Bench, nothing
from kwire.control.decoding import RecordDecoder
from kwire.control.forks import Forks
from kwire.control.http.app import Control, make_app
from kwire.control.http.proxy_routes import proxy_routes
from kwire.control.metrics import Metrics
from kwire.control.proxy_bench import ProxyBench
from kwire.control.requests.traffic import Traffic
from kwire.proxy.proxy import Proxy
from kwire.schemas.address import RegistryAddress
from kwire.server.acceptor import CannotBind
from kwire.server.lifecycle import Server
from kwire.storage.files import Files


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
    new_files: Callable[[], Files],
    token: str | None = None,
    console: bool = False,
    requests_kept: int = 1000,
    registry: RegistryAddress | None = None,
    prepare: Callable[[], Awaitable[None]] = nothing,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; reports the port when it listens. Raises CannotControl.

    ``new_files`` makes empty files in memory, for copies of the broker; ``prepare`` makes the topics and users of the
    broker's start again, after a reset. ``console`` serves the page too, ``registry`` has the schemas of records.
    """
    check_address(host, token)
    bench = Bench(server, requests_kept=requests_kept, prepare=prepare)
    traffic = Traffic(server.broker)
    metrics = Metrics(traffic, server, lambda: bench.views)
    decoder = None if registry is None else RecordDecoder(registry)

    def follow() -> None:
        traffic.move_to(server.broker)

    server.on_reopened.append(follow)
    bench.log.start()
    traffic.start()
    try:
        async with trio.open_nursery() as nursery:
            again: dict[str, Any] = {
                "new_files": new_files,
                "token": token,
                "console": console,
                "registry": registry,
            }
            forks = Forks(nursery, new_files, partial(_serve_fork, host=host, **again))
            app = make_app(Control(bench, forks, traffic, metrics, decoder).routes(), token=token, console=console)
            task_status.started(await _start(nursery, app, host, port))
    finally:
        server.on_reopened.remove(follow)
        traffic.stop()
        bench.close()
        if decoder is not None:
            decoder.close()


async def serve_proxy_control(
    proxy: Proxy,
    host: str,
    port: int,
    *,
    token: str | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the control interface of a proxy until cancelled; reports the port. Raises CannotControl."""
    check_address(host, token)
    bench = ProxyBench(proxy)
    bench.log.start()
    try:
        async with trio.open_nursery() as nursery:
            task_status.started(await _start(nursery, make_app(proxy_routes(bench), token=token), host, port))
    finally:
        bench.close()


async def _start(nursery: trio.Nursery, app: Starlette, host: str, port: int) -> int:
    """Serve an application in ``nursery``; returns the port."""
    _check_free(host, port)
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.errorlog = logging.getLogger("kwire.control")
    config.graceful_timeout = 0.1
    urls = await nursery.start(hypercorn.trio.serve, app, config)
    return int(urls[0].rpartition(":")[2])


def _check_free(host: str, port: int) -> None:
    """Raise CannotControl where nothing can listen: hypercorn would raise nested groups, and leave its socket open."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        sentence = f"cannot listen on {host}:{port}: {error.strerror}; choose another port with --control"
        raise CannotControl(sentence) from error


async def _serve_fork(server: Server, *, host: str, task_status: trio.TaskStatus[str], **options: Any) -> None:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve_control, server, host, 0, **options))
        task_status.started(control_url(host, port))


def control_url(host: str, port: int) -> str:
    """Give the URL of a control interface."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
