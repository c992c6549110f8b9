"""What the two console consumers do with their options.

Responsible for: old spellings, the group of several places, and the formatter of records. Must not depend on: how
records are read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, TypeVar

from kwire.cli.java.exits import Failure
from kwire.cli.java.options import Parsed
from kwire.cli.records.lines import LineError, LineFormatter
from kwire.cli.script_twins.clients.client_properties import key_values
from kwire.cli.script_twins.common import read_config

T = TypeVar("T")

_LINE_FORMATTERS: Final = ("DefaultMessageFormatter", "LoggingMessageFormatter")
_PACKAGES: Final = ("org.apache.kafka.tools.consumer.", "kafka.tools.")


def refuse_old_spellings(parsed: Parsed, spellings: Iterable[tuple[str, str]]) -> None:
    """Refuse an option with its old spelling beside it, and say that an old one (the first of a pair) is deprecated."""
    for old, new in spellings:
        if parsed.has(old):
            if parsed.has(new):
                parsed.refuse(f"Options --{old} and --{new} cannot be specified together.")
            print(f"Option --{old} is deprecated and will be removed in a future version. Use --{new} instead.")


def one_group(parsed: Parsed, named: Iterable[str | None], old_file_option: str) -> str | None:
    """Return the group id of the places that have one (the others are None), which must agree."""
    groups = [each for each in named if each is not None]
    if len(set(groups)) > 1:
        parsed.refuse(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via"
            f" '--{old_file_option}') do not match. Detected group ids: {', '.join(repr(each) for each in groups)}"
        )
    return groups[0] if groups else None


def formatter_of(
    parsed: Parsed, others: Mapping[str, T], other_packages: Collection[str] = ()
) -> LineFormatter | T | None:
    """Make the formatter, one of ``others`` by the name of its class; None prints nothing. Raises Failure."""
    path = parsed.value("formatter-config")
    properties = {} if path is None else read_config(path)
    properties |= key_values(parsed.values("formatter-property") or parsed.values("property"))
    for what in ("key", "value"):
        if parsed.has(f"{what}-deserializer"):
            properties[f"{what}.deserializer"] = parsed.text(f"{what}-deserializer")
    name = parsed.value("formatter") or _LINE_FORMATTERS[0]
    short = name
    for package in (*_PACKAGES, *other_packages):
        short = short.removeprefix(package)
    if short == "NoOpMessageFormatter":
        return None
    if short in others:
        return others[short]
    if short not in _LINE_FORMATTERS:
        parsed.refuse(f"{name} is a Java class that cannot be loaded here")
    try:
        return LineFormatter.of(properties)
    except LineError as error:
        raise Failure(str(error)) from error
