"""The other command line: that of the official scripts with sub-commands (kafka-storage, kafka-cluster, ...).

Owns: argparse, made to refuse in the official words and with the official exit code. May not know: any one script.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from kwire.cli.script_twins.exits import Failure

_REQUIRED: Final = "the following arguments are required: "


class Arguments(argparse.ArgumentParser):
    """A parser that raises Failure. ``terse`` scripts print one line, the others their usage as well."""

    def __init__(
        self, *, prog: str, description: str | None = None, help_code: int = 0, terse: bool = False, **given: Any
    ) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, add_help=False, **given)
        self.help_code = help_code
        self.terse = terse
        self._places: argparse._SubParsersAction[Arguments] | None = None
        self.add_argument("-h", "--help", action=_Help, nargs=0, help="show these options")

    def add_command(self, name: str, text: str) -> Arguments:
        """Add a sub-command; which one was chosen is ``command`` of what ``read`` returns."""
        if self._places is None:
            self._places = self.add_subparsers(dest="command", parser_class=Arguments, metavar="COMMAND")
        return self._places.add_parser(name, help=text, description=text, help_code=self.help_code, terse=self.terse)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse a line. Raises Failure, for --help as well."""
        given, rest = self.parse_known_args(list(argv))
        if rest:
            self.error(f"unrecognized arguments: '{' '.join(rest)}'")
        if given.command is None:
            self.error("too few arguments")
        return given

    def error(self, message: str) -> NoReturn:
        text = message.removeprefix("argument COMMAND: ")
        if text.startswith(_REQUIRED):
            text = f"argument {re.split(', ', text.removeprefix(_REQUIRED))[0]} is required"
        if self.terse:
            raise Failure(f"Command line error: {text}. Type --help for help.")
        raise Failure(f"{self.format_usage()}{self.prog.split(' ')[0]}: error: {text}")


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_given: object) -> None:
        assert isinstance(parser, Arguments)
        raise Failure(parser.format_help().rstrip("\n"), code=parser.help_code, stream="out")


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
