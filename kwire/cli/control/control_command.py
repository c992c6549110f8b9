"""The HTTP client of ``kwire ctl`` and ``kwire clients``, their exit codes, and examples in the help.

Responsible for: calling it and printing the answer. Must not depend on: single commands.

Exit codes: 0 done; 1 the broker refused or cannot be reached; 3 the time of a wait is over.
"""

from __future__ import annotations

import json
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, TypeVar

import click

from kwire.testing.http import control_client
from kwire.testing.http.control_client import TIMED_OUT, ControlRefused

_URL: Final = "http://127.0.0.1:9644"
_NOT_IN_TIME: Final = 3
# Keys of rules, events and conditions whose value is a name, such as the group 42.
_NAMES: Final = frozenset(
    {
        "name",
        "topic",
        "group",
        "transactional_id",
        "client_id",
        "member_id",
        "principal",
        "listener",
        "left",
        "state",
        "level",
    }
)

F = TypeVar("F", bound=Callable[..., Any])


def control_options(command: F) -> F:
    """Add ``--url`` and ``--token``: the address of the HTTP interface, and its token."""
    url = click.option(
        "--url",
        envvar="KWIRE_CONTROL_URL",
        default=_URL,
        show_default=True,
        help="The address that --control printed. [env: KWIRE_CONTROL_URL]",
    )
    what = "The broker's --control-token. [env: KWIRE_CONTROL_TOKEN]"
    token = click.option("--token", envvar="KWIRE_CONTROL_TOKEN", help=what)
    return url(token(command))


class CommandClient(control_client.ControlClient):
    """The HTTP interface of one broker; a refusal ends the command, whose name is ``command``."""

    def __init__(self, url: str, token: str | None, command: str = "ctl") -> None:
        super().__init__(url, token)
        self._command = command

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        try:
            return super().call(method, path, body)
        except ControlRefused as refusal:
            fail(str(refusal), self._command)

    def text(self, path: str) -> str:
        try:
            return super().text(path)
        except ControlRefused as refusal:
            fail(str(refusal), self._command)

    def lines(self, path: str) -> Iterator[str]:
        try:
            yield from super().lines(path)
        except ControlRefused as refusal:
            fail(str(refusal), self._command)


def examples(*lines: str) -> str:
    """Give the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def fail(why: str, command: str = "ctl") -> NoReturn:
    """End the command with exit code 1."""
    click.echo(f"kwire {command}: {why}", err=True)
    sys.exit(1)


def path(*parts: str) -> str:
    """Give a path under /v1."""
    return "/v1/" + "/".join(urllib.parse.quote(part, safe="") for part in parts)


def query(values: dict[str, Any]) -> str:
    """Give the query of those values that there are."""
    given = {name: value for name, value in values.items() if value is not None}
    return "?" + urllib.parse.urlencode(given) if given else ""


def pair(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE; a value that is JSON is that value, else text. The value of a name is text in any case."""
    key, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text!r} is not KEY=VALUE")
    if key == "api" and "," in value:
        return key, value.split(",")
    try:
        read = json.loads(value)
    except ValueError:
        return key, value
    return key, value if key in _NAMES and not isinstance(read, str) else read


def show(answer: tuple[int, Any]) -> None:
    """Print an answer as JSON, unless it is empty. Exit code 3 if the time passed."""
    status, value = answer
    if value is not None:
        click.echo(json.dumps(value, indent=2))
    if status == TIMED_OUT:
        sys.exit(_NOT_IN_TIME)
