"""The command line of the official scripts that use joptsimple.

Responsible for: options by name, with and without `=`, repeated or not, values that are numbers, and the sentences that
refuse a wrong line. Must not depend on: any one script.

Long options are written in full (no abbreviations); an option that needs a value takes the next word, whatever it is
(`--shift-by -3`); other words are ignored. A wrong line is one sentence on stderr and exit code 1. `--help` has exit
code 1, too, as scripts that probe for it expect; `--version` prints the Kafka release.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, NoReturn

from kwire.cli.java.exits import Failure
from kwire.kafka_release import RELEASE

Takes = Literal["nothing", "value", "maybe"]


class Option(NamedTuple):
    """One option of a script. ``value`` names what it takes ("" for a flag); ``many`` allows repeating it."""

    name: str
    help: str
    value: str = ""
    number: bool = False
    many: bool = False
    optional_value: bool = False
    default: str | None = None
    # Shown in help; an old spelling that Kafka dropped is taken all the same and not shown.
    hidden: bool = False

    @property
    def takes(self) -> Takes:
        if not self.value:
            return "nothing"
        return "maybe" if self.optional_value else "value"


BOOTSTRAP: Final = Option(
    "bootstrap-server", "Broker(s) to ask first: HOST:PORT[,HOST:PORT ...].", "HOST:PORT", many=True
)
COMMAND_CONFIG: Final = Option(
    "command-config", "Properties file with client settings (security.protocol, sasl.*, ...).", "FILE"
)
OLD_BROKER_LIST: Final = Option("broker-list", "Old spelling of --bootstrap-server.", "HOST:PORT", hidden=True)
ZOOKEEPER: Final = Option(
    "zookeeper", "Gone since Kafka 3; the broker of that host is asked.", "HOST:PORT", hidden=True
)
HELP: Final = Option("help", "Print these options.")
VERSION: Final = Option("version", "Print the Kafka release whose scripts these are.")


class Wrong(Exception):
    """The command line is invalid; the message is that of the official parser."""


class Parsed:
    """The given options, in the order of the command line."""

    def __init__(self, script: str, about: str, options: Sequence[Option]) -> None:
        self._script = script
        self._about = about
        self._options = {option.name: option for option in options}
        self._given: dict[str, list[str]] = {}
        self._order: list[tuple[str, str]] = []

    def takes(self, name: str) -> bool:
        """Whether the script has such an option at all."""
        return name in self._options

    def has(self, name: str) -> bool:
        return name in self._given

    def values(self, name: str) -> list[str]:
        """Every value given for an option, or its default alone."""
        default = self._options[name].default
        return self._given.get(name) or ([] if default is None else [default])

    def value(self, name: str) -> str | None:
        """The value of an option that may be given once. Raises Wrong when it was given more often."""
        values = self.values(name)
        if len(values) > 1:
            raise Wrong(f"Found multiple arguments for option {name}, but you asked for only one")
        return values[0] if values else None

    def in_order(self) -> list[tuple[str, str]]:
        """Every option with its value, in the order of the line."""
        return list(self._order)

    def text(self, name: str) -> str:
        """The value of a required option. Raises Wrong when it is missing or given more than once."""
        value = self.value(name)
        if value is None:
            raise Wrong(f'Missing required argument "[{name}]"')
        return value

    def number(self, name: str) -> int | None:
        """The value as a number; None without the option. Raises Wrong."""
        value = self.value(name)
        if value is None:
            return None
        try:
            return int(value)
        except ValueError:
            raise Wrong(f"Cannot parse argument '{value}' of option {name}") from None

    def refuse(self, message: str) -> NoReturn:
        """End with the error and a reference to --help on stderr."""
        raise Failure(f"{message}\nOptions: {self._script} --help")

    def require(self, *names: str) -> None:
        """Refuse a line that lacks one of these options."""
        for name in names:
            if not self.has(name):
                self.refuse(f'Missing required argument "[{name}]"')

    def forbid(self, name: str, others: Iterable[str]) -> None:
        """Refuse a line with ``name`` and one of the others."""
        if self.has(name):
            for other in others:
                if self.has(other):
                    self.refuse(f'Option "[{name}]" can\'t be used with option "[{other}]"')

    def count(self, names: Iterable[str]) -> int:
        return sum(self.has(name) for name in names)

    def add(self, name: str, value: str) -> None:
        self._given.setdefault(name, []).append(value)
        self._order.append((name, value))

    def usage(self) -> str:
        """Return the description of the script and its options."""
        lines = [self._about, ""]
        shown = sorted((option for option in self._options.values() if not option.hidden), key=lambda each: each.name)
        for option in shown:
            value = f" [{option.value}]" if option.takes == "maybe" else f" <{option.value}>" if option.value else ""
            default = f" (default: {option.default})" if option.default is not None else ""
            lines.append(f"  --{option.name}{value}")
            lines.append(f"        {option.help}{default}")
        return "\n".join(lines)


def parse(script: str, about: str, options: Sequence[Option], argv: Sequence[str]) -> Parsed:
    """Read a command line. Raises Wrong; ends with Failure or SystemExit for --help and --version."""
    every = (*options, HELP, VERSION)
    parsed = Parsed(script, about, every)
    by_name = {option.name: option for option in every}
    words = list(argv)
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            continue
        name, equals, value = word.lstrip("-").partition("=")
        option = by_name.get(name)
        if option is None:
            raise Wrong(f"{name} is not a recognized option")
        if option.takes == "nothing" or equals:
            parsed.add(name, value)
        elif option.takes == "maybe":
            if position < len(words) and not words[position].startswith("-"):
                parsed.add(name, words[position])
                position += 1
            else:
                parsed.add(name, "")
        elif position < len(words):
            parsed.add(name, words[position])
            position += 1
        else:
            raise Wrong(f"Option {name} requires an argument")
    if parsed.has("help") or not argv:
        raise Failure(parsed.usage())
    if parsed.has("version"):
        sys.stdout.write(f"{RELEASE}\n")
        raise SystemExit(0)
    return parsed
