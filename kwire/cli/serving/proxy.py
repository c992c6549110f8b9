"""``kwire proxy``: a proxy between clients and a Kafka cluster.

Responsible for: the command line, and running until a signal; SIGHUP reads certificates again. Must not depend on: what
passes through.
"""

from __future__ import annotations

import signal
import ssl
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from kwire.cli.connections.broker_option import client_settings, note
from kwire.cli.connections.client_config import SECURITY_PROTOCOLS
from kwire.cli.control_address import ControlRefused, control_options, read_control
from kwire.cli.serving.serve import fail, innermost

if TYPE_CHECKING:
    import trio

    from kwire.broker.outbound.interface import Address
    from kwire.proxy.proxy import Proxy

_DEFAULT_LISTEN: Final = "localhost:19092"
_CHECK_S: Final = 1.0  # a client that waits for "ready" waits no longer for a cluster that does not answer


@click.command(
    short_help="Run a proxy between clients and any Kafka cluster.",
    epilog="""\b
Examples:
  kwire proxy --upstream localhost:9092
  kwire proxy --upstream kafka-1.example:9093 --config client.properties
  kwire proxy --upstream localhost:9092 --control 9644
  kwire ctl faults add api=Produce drop=true times=1
  kwire proxy --upstream kafka:9092 --listen 0.0.0.0:19092 --advertise proxy.example
  kwire certs ./certs
  kwire proxy --upstream kafka:9092 --listen SSL://localhost:19092 --listener-config certs/server.properties
""",
)
@click.option(
    "--upstream",
    required=True,
    metavar="HOST:PORT",
    help="A broker of the cluster. The others are found in its answers.",
)
@click.option(
    "--listen",
    default=_DEFAULT_LISTEN,
    show_default=True,
    metavar="[PROTOCOL://][HOST:]PORT",
    help="Where clients connect, with PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. Each further broker gets one of the"
    " ports behind it. Port 0 takes any free ports.",
)
@click.option(
    "--listener-config",
    type=click.Path(),
    metavar="FILE",
    help="For SSL and SASL_SSL: ssl.* settings of a broker's listener, as in the server.properties of kwire certs.",
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
    listener_config: str | None,
    advertise: str | None,
    config: str | None,
    control: str | None,
    control_token: str | None,
    log_level: str,
) -> None:
    """Pass requests of any client on to a Kafka cluster, and its responses back, until Ctrl-C or SIGTERM.

    Clients connect to the proxy instead of the cluster. The addresses of brokers in responses are replaced by addresses
    of the proxy, so that clients stay with it; everything else passes byte for byte. When clients can connect, it
    prints "ready PLAINTEXT://HOST:PORT", and "control URL" with --control. Before that it
    warns if the cluster cannot be reached, which may start later than the proxy. Log lines go to standard error.
    SIGHUP reads the certificates of an SSL listener again.
    """
    if sys.platform == "win32":
        raise fail("there is no proxy for Windows; run kwire in WSL or in its container")
    from kwire.broker import logs

    node = _upstream(upstream)
    protocol, host, port = _listen(listen)
    settings = client_settings(config)
    listener = _listener(protocol, settings.get("security.protocol", "").upper(), listener_config)
    tls = _tls(settings, config)
    logs.configure(level=log_level, form="text")
    try:
        where = None if control is None else read_control(control, control_token)
    except ControlRefused as refusal:
        raise fail(str(refusal)) from None
    sockets = {
        "host": host,
        "port": port,
        "advertised": advertise,
        "security_protocol": listener.protocol,
        "listener_settings": listener.settings,
        "tls": tls,
    }
    sentence = _run(node, sockets, where, control_token)
    if sentence is not None:
        raise fail(sentence)


def _upstream(text: str) -> Address:
    from kwire.broker.outbound.interface import Address
    from kwire.cli.connections.connection import parse_addresses

    try:
        (address,) = parse_addresses(text)
    except ValueError as error:
        raise click.UsageError(f"--upstream is HOST:PORT, not {text!r} ({error})") from None
    return Address(*address)


def _listen(text: str) -> tuple[str, str, int]:
    """Read ``--listen``: security protocol, "" where it names none, host and port."""
    before, slashes, address = text.rpartition("://")
    protocol = before.upper()
    if slashes and protocol not in SECURITY_PROTOCOLS:
        raise click.UsageError(f"--listen begins with one of {', '.join(SECURITY_PROTOCOLS)}, not {before!r}")
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise click.UsageError(f"--listen is a port, HOST:PORT or PROTOCOL://HOST:PORT, not {text!r}")
    return protocol, host.strip("[]") or "localhost", int(port)


class _Listener(NamedTuple):
    """What clients use, and the settings of TLS."""

    protocol: str
    settings: dict[str, str]


def _listener(protocol: str, upstream_protocol: str, config: str | None) -> _Listener:
    """Read what clients use. ``protocol`` "" is plain; clients log in where ``upstream_protocol`` says so."""
    login = "SASL_" if upstream_protocol.startswith("SASL_") else ""
    if not protocol:
        protocol = login + "PLAINTEXT" if login else "PLAINTEXT"
    elif upstream_protocol and protocol.startswith("SASL_") != bool(login):
        raise click.UsageError(
            f"clients log in to the cluster through the proxy: --listen {protocol}:// does not go with"
            f" security.protocol={upstream_protocol} of --config; write --listen"
            f" {login}{protocol.removeprefix('SASL_')}://"
        )
    if not protocol.endswith("SSL"):
        if config is not None:
            raise click.UsageError(f"--listener-config is for SSL:// and SASL_SSL://, and --listen is {protocol}://")
        return _Listener(protocol, {})
    if config is None:
        raise click.UsageError(
            f"--listen {protocol}:// needs --listener-config FILE with ssl.keystore.location; kwire certs DIR makes"
            " DIR/server.properties"
        )
    settings = client_settings(config)
    used = {key for key in settings if key.startswith(("ssl.", f"listener.name.{protocol.lower()}.ssl."))}
    if unused := sorted(settings.keys() - used):
        note(f"{config}: no effect here: {', '.join(unused)}")
    return _Listener(protocol, {key: settings[key] for key in used})


def _tls(settings: dict[str, str], config: str | None) -> ssl.SSLContext | None:
    """Make the TLS context of the client settings of a file; None without TLS."""
    from kwire.cli.connections.client_config import ConfigError, tls_of

    if not settings.get("security.protocol", "PLAINTEXT").upper().endswith("SSL"):
        return None
    try:
        return tls_of(settings)
    except ConfigError as error:
        raise fail(f"{config}: {error}") from None


async def _check_before_ready(proxy: Proxy, node: Address, nursery: trio.Nursery) -> None:
    """Log a warning where the cluster cannot be reached, within ``_CHECK_S`` or later if it needs longer to notice."""
    import trio

    checked = trio.Event()

    async def check() -> None:
        await proxy.check(node)
        checked.set()

    nursery.start_soon(check)
    with trio.move_on_after(_CHECK_S):
        await checked.wait()


def _run(
    node: Address, sockets: dict[str, Any], control: tuple[str, int] | None, control_token: str | None
) -> str | None:
    """Run to the end. Returns a sentence if it could not start, None after a clean stop."""
    import trio

    from kwire.broker.clock import Clock
    from kwire.broker.logs import Logger
    from kwire.metadata.configs.values import ConfigProblem
    from kwire.proxy.serving import Sockets
    from kwire.server.acceptor import CannotBind
    from kwire.server.process import raise_descriptor_limit

    log = Logger("kwire.cli")
    raise_descriptor_limit()
    try:
        listening = Sockets(**sockets)
    except ConfigProblem as problem:
        shown = "" if problem.value is None else f"={problem.value}"
        return f"{problem.name}{shown}: {str(problem).rstrip('.')}; accepted: {problem.expected}"
    certificates = listening.listener_tls

    async def main() -> None:
        hangup = () if certificates is None else (signal.SIGHUP,)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *hangup) as signals:
            async with listening.serve(node, Clock()) as proxy, trio.open_nursery() as nursery:
                url = None
                if control is not None:
                    from kwire.control.server import control_url, serve_proxy_control

                    serve = partial(serve_proxy_control, proxy, *control, token=control_token)
                    url = control_url(control[0], await nursery.start(serve))
                await _check_before_ready(proxy, node, nursery)
                click.echo(f"ready {proxy.security_protocol}://{proxy.nodes[node]}")
                if url is not None:
                    click.echo(f"control {url}")
                async for number in signals:
                    if number not in {signal.SIGTERM, signal.SIGINT} and certificates is not None:
                        log.info("reloading certificates", signal="SIGHUP")
                        certificates.reload_all()
                        continue
                    log.info("stopping", signal=signal.Signals(number).name)
                    break
                nursery.cancel_scope.cancel()

    sentence = None
    try:
        trio.run(main)
    except* CannotBind as group:
        sentence = str(innermost(group))
    return sentence
