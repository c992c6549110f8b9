"""The command line of the official scripts that use argparse4j (kafka-storage, kafka-cluster, kafka-transactions, ...).

Responsible for: argparse, with the official refusals and exit codes. Must not depend on: any one script.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from kwire.cli.java.exits import Failure
from kwire.kafka_release import COMMIT, RELEASE

_REQUIRED: Final = "the following arguments are required: "


class Arguments(argparse.ArgumentParser):
    """A parser that raises Failure. ``terse`` scripts print one line, the others their usage as well."""

    def __init__(
        self,
        *,
        prog: str,
        description: str | None = None,
        help_code: int = 0,
        terse: bool = False,
        version: bool = False,
        **given: Any,
    ) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, add_help=False, **given)
        self.help_code = help_code
        self.terse = terse
        self._places: argparse._SubParsersAction[Arguments] | None = None
        self.add_argument("-h", "--help", action=_Help, nargs=0, help="show these options")
        if version:
            self.add_argument("-v", "--version", action=_Version, nargs=0, help="show the Kafka release")

    def add_command(self, name: str, text: str) -> Arguments:
        """Add a sub-command; which one was chosen is ``command`` of what ``read`` returns."""
        if self._places is None:
            self._places = self.add_subparsers(dest="command", parser_class=Arguments, metavar="COMMAND", required=True)
        return self._places.add_parser(name, help=text, description=text, help_code=self.help_code, terse=self.terse)

    def add_int(self, *names: str, bits: int = 32, **given: Any) -> None:
        """Add an option whose value is a Java Short, Integer or Long."""
        self.add_argument(*names, type=_NUMBERS[bits], **given)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse a line. Raises Failure, for --help as well."""
        given, rest = self.parse_known_args(list(argv))
        if rest:
            words = list(argv)
            before = self._places is None or words.index(rest[0]) < words.index(given.command)
            parser = self if before or self._places is None else self._places.choices[given.command]
            parser.error(f"unrecognized arguments: '{rest[0]}'")
        return given

    def error(self, message: str) -> NoReturn:
        text = message.removeprefix("argument COMMAND: ")
        if text.startswith(_REQUIRED):
            names = text.removeprefix(_REQUIRED).split(", ")
            text = "too few arguments" if "COMMAND" in names else f"argument {names[0]} is required"
        if self.terse:
            raise Failure(f"Command line error: {text}. Type --help for help.")
        raise Failure(f"{self.format_usage()}{self.prog.split(' ')[0]}: error: {text}")


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_given: object) -> None:
        assert isinstance(parser, Arguments)
        raise Failure(parser.format_help().rstrip("\n"), code=parser.help_code, stream="out")


class _Version(argparse.Action):
    def __call__(self, *_given: object) -> None:
        raise Failure(f"{RELEASE} (Commit:{COMMIT})", code=0, stream="out")


def _java_number(bits: int, name: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(_not_a_number(text, name, f'For input string: "{text}"')) from None
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            reason = f'Value out of range. Value:"{text}" Radix:10' if bits < 32 else f'For input string: "{text}"'
            raise argparse.ArgumentTypeError(_not_a_number(text, name, reason))
        return value

    return read


def _not_a_number(text: str, name: str, reason: str) -> str:
    return f"could not convert '{text}' to {name} ({reason})"


_NUMBERS: Final = {bits: _java_number(bits, name) for bits, name in ((16, "Short"), (32, "Integer"), (64, "Long"))}


def add_servers(parser: argparse.ArgumentParser, *, required: bool = True, short: bool = False) -> None:
    """Add --bootstrap-server and --bootstrap-controller, of which there must be one."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument(
        "--bootstrap-server", *(["-b"] if short else []), metavar="HOST:PORT", help="broker(s) to ask first"
    )
    group.add_argument(
        "--bootstrap-controller", *(["-C"] if short else []), metavar="HOST:PORT", help="controller(s) to ask first"
    )
    parser.add_argument(
        "--command-config", *(["-c"] if short else []), metavar="FILE", help="properties file with client settings"
    )
