"""``kwire config``: every setting with its value and source, or one config explained.

Responsible for: the command line, the table, JSON, properties, and the lines of ``--explain``. Must not depend on: how
settings are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import click

from kwire.cli.serving.serve import gathered, settings_options
from kwire.cli.settings.settings import ConfigLine, Settings, show
from kwire.metadata.configs.definitions import (
    ConfigKey,
    broker_keys,
    group_keys,
    nearest,
    split_listener_prefix,
    topic_keys,
)
from kwire.metadata.configs.docs import documentation_of

_VALUE_WIDTH_MAX: Final = 30


@click.command(
    epilog="""\b
Examples:
  kwire config --changed --config server.properties
  kwire config --explain log.retention.ms
  kwire config --env --json | jq '.[] | select(.key == "listeners")'
  kwire config --env --changed --properties > server.properties
"""
)
@settings_options
@click.option("--changed", is_flag=True, help="Leave out settings that have Kafka's default value.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--properties", is_flag=True, help="Print a server.properties file, with its secrets.")
@click.option("--explain", metavar="KEY", help="Explain one config of brokers, topics or groups.")
def config(changed: bool, as_json: bool, properties: bool, explain: str | None, **options: Any) -> None:
    """Show every setting that `kwire serve` with the same options would run with, and where its value came from."""
    if as_json and properties:
        raise click.UsageError("--json and --properties exclude each other")
    if explain is not None and (as_json or properties or changed):
        raise click.UsageError("--explain excludes --changed, --json and --properties")
    settings = gathered(options)
    if explain is not None:
        for text in explanation(settings, explain):
            click.echo(text)
        return
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
    given = {key: setting.text for key, setting in settings.chosen.items()}  # the text as given, with secrets
    for key, text in sorted({**shown, **given}.items()):
        click.echo(javaproperties.join_key_value(key, text, separator="="))


def _print_table(lines: list[ConfigLine]) -> None:
    rows = [("KEY", "VALUE", "FROM", ""), *((line.key, line.value or "", line.source, line.remark) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    widths[1] = min(widths[1], _VALUE_WIDTH_MAX)  # a longer value shifts its own line only
    for row in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip())


def explanation(settings: Settings, name: str) -> Iterator[str]:
    """Yield the lines about a config, for each kind of resource that has it."""
    broker_key = broker_keys().get(split_listener_prefix(name)[1])
    if broker_key is not None:
        yield f"{name} (broker)"
        yield f"  {documentation_of(name, of_broker=True)}"
        yield f"  {_type_and_default(broker_key, synonyms='else from')}"
        yield f"  {_dynamic_words(broker_key)}"
        yield from (
            f"  value {line.value or '(none)'}, from {line.source}" for line in show(settings) if line.key == name
        )
    owned = (("topic", topic_keys().get(name)), ("group", group_keys().get(name)))
    for scope, key in owned:
        if key is not None:
            yield f"{name} ({scope})"
            yield f"  {documentation_of(name)}"
            yield "  " + _type_and_default(key, synonyms="or the broker's")
    if broker_key is None and not any(key for _, key in owned):
        close = dict.fromkeys(filter(None, (nearest(name), nearest(name, "topic"), nearest(name, "group"))))
        suffix = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise click.UsageError(f"Kafka has no config {name}{suffix}")


def _type_and_default(key: ConfigKey, *, synonyms: str) -> str:
    words = f"type {key.type.name.lower()}, default {_default_words(key)}"
    names = ", ".join(one.name for one in key.synonyms)
    return f"{words}, {synonyms} {names}" if names else words


def _default_words(key: ConfigKey) -> str:
    return "(none)" if key.default_text is None else key.default_text or "(empty)"


def _dynamic_words(key: ConfigKey) -> str:
    match key.dynamic:
        case "per-broker":
            return "can be changed while the broker runs, for each broker"
        case "cluster-wide":
            return "can be changed while the broker runs, for one or for all brokers"
        case _:
            return "read at the start"
