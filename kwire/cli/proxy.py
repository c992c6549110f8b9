"""``kwire proxy``: stand between clients and a Kafka cluster.

Responsible for: the command line, and running until a signal. Must not depend on: what passes through.
"""

from __future__ import annotations

import signal
import ssl
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from kwire.cli.control_address import ControlRefused, control_options, read_control
from kwire.cli.serve import fail, innermost

if TYPE_CHECKING:
    from kwire.broker.outbound.interface import Address

_DEFAULT_LISTEN: Final = "localhost:19092"


@click.command(
    short_help="Stand between clients and any Kafka cluster.",
    epilog="""\b
Examples:
  kwire proxy --upstream localhost:9092
  kwire proxy --upstream kafka-1.example:9093 --config client.properties
  kwire proxy --upstream localhost:9092 --control 9644
  kwire ctl faults add api=Produce drop=true times=1
  kwire proxy --upstream kafka:9092 --listen 0.0.0.0:19092 --advertise proxy.example
""",
)
@click.option(
    "--upstream",
    required=True,
    metavar="HOST:PORT",
    help="A broker of the cluster. The others are found by what it answers.",
)
@click.option(
    "--listen",
    default=_DEFAULT_LISTEN,
    show_default=True,
    metavar="[HOST:]PORT",
    help="Where clients connect. Each further broker gets one of the ports behind it. Port 0 takes any free ports.",
)
@click.option(
    "--advertise",
    metavar="HOST",
    help="The host that clients get in place of the brokers'. [default: that of --listen]",
)
@click.option(
    "--config",
    "--command-config",
    "config",
    type=click.Path(),
    metavar="FILE",
    help="Client settings under Java's names, for TLS to the cluster: security.protocol=SSL or SASL_SSL, and ssl.*."
    " Clients log in themselves.",
)
@control_options
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The lowest level that is logged.",
)
def proxy(
    *,
    upstream: str,
    listen: str,
    advertise: str | None,
    config: str | None,
    control: str | None,
    control_token: str | None,
    log_level: str,
) -> None:
    """Pass requests of any client on to a Kafka cluster, and its responses back, until Ctrl-C or SIGTERM.

    Clients connect to the proxy instead of the cluster. The addresses of brokers in responses are replaced by addresses
    of the proxy, so that clients stay with it; everything else passes byte for byte. When clients can connect, it
    prints "ready PLAINTEXT://HOST:PORT", and "control URL" with --control. Log lines go to standard error.
    """
    if sys.platform == "win32":
        raise fail("there is no proxy for Windows; run kwire in WSL or in its container")
    from kwire.broker import logs

    node = _upstream(upstream)
    host, port = _listen(listen)
    tls = _tls(config)
    logs.configure(level=log_level, form="text")
    try:
        where = None if control is None else read_control(control, control_token)
    except ControlRefused as refusal:
        raise fail(str(refusal)) from None
    sockets = {"host": host, "port": port, "advertised": advertise, "tls": tls}
    sentence = _run(node, sockets, where, control_token)
    if sentence is not None:
        raise fail(sentence)


def _upstream(text: str) -> Address:
    from kwire.broker.outbound.interface import Address
    from kwire.cli.connection import parse_addresses

    try:
        (address,) = parse_addresses(text)
    except ValueError as error:
        raise click.UsageError(f"--upstream is HOST:PORT, not {text!r} ({error})") from None
    return Address(*address)


def _listen(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise click.UsageError(f"--listen is a port, or HOST:PORT, not {text!r}")
    return host.strip("[]") or "localhost", int(port)


def _tls(config: str | None) -> ssl.SSLContext | None:
    """Make the TLS context of the settings in a file; None without TLS."""
    from kwire.cli.broker_option import client_settings
    from kwire.cli.client_config import ConfigError, tls_of

    settings = client_settings(config)
    if not settings.get("security.protocol", "PLAINTEXT").upper().endswith("SSL"):
        return None
    try:
        return tls_of(settings)
    except ConfigError as error:
        raise fail(f"{config}: {error}") from None


def _run(
    node: Address, sockets: dict[str, Any], control: tuple[str, int] | None, control_token: str | None
) -> str | None:
    """Run to the end. Returns a sentence if it could not start, None after a clean stop."""
    import trio

    from kwire.broker.clock import Clock
    from kwire.broker.logs import Logger
    from kwire.proxy.serving import Sockets
    from kwire.server.acceptor import CannotBind
    from kwire.server.process import raise_descriptor_limit

    raise_descriptor_limit()

    async def main() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with Sockets(**sockets).serve(node, Clock()) as proxy, trio.open_nursery() as nursery:
                url = None
                if control is not None:
                    from kwire.control.server import control_url, serve_proxy_control

                    serve = partial(serve_proxy_control, proxy, *control, token=control_token)
                    url = control_url(control[0], await nursery.start(serve))
                click.echo(f"ready PLAINTEXT://{proxy.nodes[node]}")
                if url is not None:
                    click.echo(f"control {url}")
                nursery.start_soon(proxy.check, node)
                async for number in signals:
                    Logger("kwire.cli").info("stopping", signal=signal.Signals(number).name)
                    break
                nursery.cancel_scope.cancel()

    sentence = None
    try:
        trio.run(main)
    except* CannotBind as group:
        sentence = str(innermost(group))
    return sentence
