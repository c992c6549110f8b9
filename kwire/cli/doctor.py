"""``kwire doctor``: find out why a client cannot connect.

Owns: the command as click knows it, and how findings are shown. May not know: what is looked at
(``kwire.cli.diagnosis``).
"""

from __future__ import annotations

from typing import Final

import click

from kwire.cli.broker_option import (
    broker_options,
    client_settings,
    json_option,
    print_json,
    say_unused,
    security_in,
    servers_of,
)
from kwire.cli.connection import parse_address
from kwire.cli.diagnosis import Finding, LocalEnvironment, examine

_COLORS: Final = {"ok": "green", "warning": "yellow", "problem": "red"}
_INDENT: Final = " " * 9


@click.command(
    epilog="""\b
Examples:
  kwire doctor localhost:9092
  kwire doctor kafka.example.com:9093 --config client.properties
"""
)
@click.argument("given", metavar="[HOST:PORT]", required=False)
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
def doctor(given: str | None, bootstrap: str | None, config: str | None, as_json: bool, timeout_s: float) -> None:
    """Find out why a client cannot connect.

    Give the address that the client is given, and run it where the client runs. Goes the client's way: the name, the
    port, Kafka or something else, versions, and the names that the brokers advertise. Nothing is changed. Exit code 1
    when there is a problem.
    """
    settings = client_settings(config)
    say_unused(settings, config)
    security = security_in(settings)
    broker = (given or servers_of(bootstrap, settings)).partition(",")[0]
    try:
        address = parse_address(broker)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    findings = []
    for finding in examine(address, security, timeout_s, LocalEnvironment.here()):
        findings.append(finding)
        if not as_json:
            _print(finding)
    problems = sum(finding.level == "problem" for finding in findings)
    if as_json:
        shown = [finding._asdict() for finding in findings]
        print_json({"broker": str(address), "healthy": not problems, "findings": shown})
    else:
        click.echo(_verdict(problems, sum(finding.level == "warning" for finding in findings)))
    raise SystemExit(1 if problems else 0)


def _print(finding: Finding) -> None:
    click.echo(click.style(f"{finding.level:<9}", fg=_COLORS[finding.level]) + finding.what)
    if finding.advice:
        click.echo(
            click.wrap_text(finding.advice, width=100, initial_indent=_INDENT + "> ", subsequent_indent=_INDENT + "  ")
        )


def _verdict(problems: int, warnings: int) -> str:
    if problems:
        return f"\n{problems} problem{'s' if problems > 1 else ''} found."
    if warnings:
        return "\nA client on this machine can connect; see the warnings."
    return "\nA client on this machine can connect."
