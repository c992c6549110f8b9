"""``kwire config``: every setting, its value, and where that came from.

Responsible for: the command line, the table, JSON and properties. Must not depend on: how settings are read.
"""

from __future__ import annotations

import json
from typing import Any, Final

import click

from kwire.cli.serve import gathered, settings_options
from kwire.cli.settings import ConfigLine, Settings, show

_VALUE_WIDTH_MAX: Final = 30


@click.command(
    epilog="""\b
Examples:
  kwire config --changed --config server.properties
  kwire config --env --json | jq '.[] | select(.key == "listeners")'
  kwire config --env --changed --properties > server.properties
"""
)
@settings_options
@click.option("--changed", is_flag=True, help="Leave out settings that have Kafka's default value.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--properties", is_flag=True, help="Print a server.properties file, with its secrets.")
def config(changed: bool, as_json: bool, properties: bool, **options: Any) -> None:
    """Show every setting that `kwire serve` with the same options would run with, and where its value came from."""
    if as_json and properties:
        raise click.UsageError("--json and --properties exclude each other")
    settings = gathered(options)
    if properties:
        _print_properties(settings, changed=changed)
        return
    lines = [line for line in show(settings) if not changed or line.source != "default"]
    if as_json:
        click.echo(json.dumps([line._asdict() for line in lines], indent=2))
        return
    for note in settings.notes:
        click.echo(f"{note.level}: {note.text}", err=True)
    _print_table(lines)


def _print_properties(settings: Settings, *, changed: bool) -> None:
    import javaproperties

    shown = {line.key: line.value for line in show(settings) if not changed and line.value is not None}
    given = {key: setting.text for key, setting in settings.chosen.items()}  # as it was written, secrets too
    for key, text in sorted({**shown, **given}.items()):
        click.echo(javaproperties.join_key_value(key, text, separator="="))


def _print_table(lines: list[ConfigLine]) -> None:
    rows = [("KEY", "VALUE", "FROM", ""), *((line.key, line.value or "", line.source, line.remark) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    widths[1] = min(widths[1], _VALUE_WIDTH_MAX)  # the few that are longer push their own line alone
    for row in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip())
