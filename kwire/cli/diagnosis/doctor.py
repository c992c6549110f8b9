"""``kwire doctor``: find out why a client cannot connect, or check a log directory.

Responsible for: the command and how findings are printed. Must not depend on: the checks (``diagnosis`` and
``data_diagnosis``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from kwire.cli.connections.broker_option import (
    broker_options,
    client_settings,
    json_option,
    note_unused,
    print_json,
    security_in,
    servers_of,
)
from kwire.cli.connections.connection import parse_address
from kwire.cli.diagnosis.data_diagnosis import examine_data
from kwire.cli.diagnosis.diagnosis import Finding, LocalEnvironment, examine

_COLORS: Final = {"ok": "green", "warning": "yellow", "problem": "red"}
_INDENT: Final = " " * 9


@click.command(
    epilog="""\b
Examples:
  kwire doctor localhost:9092
  kwire doctor kafka.example.com:9093 --config client.properties
  kwire doctor --data /var/lib/kafka
"""
)
@click.argument("given", metavar="[HOST:PORT]", required=False)
@click.option(
    "--data", "data_path", metavar="DIR", help="Check a log directory that no broker uses, instead of a broker."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=float,
    metavar="S",
    default=5.0,
    show_default=True,
    help="Seconds to wait for each answer.",
)
@json_option
@broker_options
def doctor(
    given: str | None,
    data_path: str | None,
    bootstrap: str | None,
    config: str | None,
    *,
    as_json: bool,
    timeout_s: float,
) -> None:
    """Find out why a client cannot connect, or with --data what is wrong with a log directory.

    Run it on the machine of the client, with the address that the client uses. It checks what a client needs: the host
    name, the port, the protocol, the versions, and the addresses that the brokers advertise. It changes nothing. Exit
    code 1 when there is a problem.
    """
    if data_path is not None:
        if given is not None:
            raise click.UsageError("HOST:PORT and --data cannot be used together.")
        _show(examine_data(data_path), {"data": data_path}, as_json, healthy="The log directory is sound")
        return
    settings = client_settings(config)
    note_unused(settings, config)
    security = security_in(settings)
    broker = (given or servers_of(bootstrap, settings)).partition(",")[0]
    try:
        address = parse_address(broker)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    examined = examine(address, security, timeout_s, LocalEnvironment.here())
    _show(examined, {"broker": str(address)}, as_json, healthy="A client on this machine can connect")


def _show(examined: Iterator[Finding], subject: dict[str, str], as_json: bool, *, healthy: str) -> None:
    """Print each finding when it is known, and end with exit code 1 if one of them is a problem."""
    findings = []
    for finding in examined:
        findings.append(finding)
        if not as_json:
            _print(finding)
    problems = sum(finding.level == "problem" for finding in findings)
    if as_json:
        shown = [finding._asdict() for finding in findings]
        print_json({**subject, "healthy": not problems, "findings": shown})
    else:
        click.echo(_verdict(problems, sum(finding.level == "warning" for finding in findings), healthy))
    raise SystemExit(1 if problems else 0)


def _print(finding: Finding) -> None:
    click.echo(click.style(f"{finding.level:<9}", fg=_COLORS[finding.level]) + finding.what)
    if finding.advice:
        click.echo(
            click.wrap_text(finding.advice, width=100, initial_indent=_INDENT + "> ", subsequent_indent=_INDENT + "  ")
        )


def _verdict(problems: int, warnings: int, healthy: str) -> str:
    if problems:
        return f"\n{problems} problem{'s' if problems > 1 else ''} found."
    if warnings:
        return f"\n{healthy}; see the warnings."
    return f"\n{healthy}."
