"""The JSON body and the query of an HTTP request.

Responsible for: reading them, with one sentence for each error. Must not depend on: routes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio
from starlette.requests import Request

_WAIT_MS: Final = 10_000
_WAIT_MS_MAX: Final = 600_000


class BadRequest(Exception):
    """An invalid request. One sentence."""


class NotFound(Exception):
    """A request names an object that does not exist. One sentence."""


async def read_body(request: Request, *, empty: bool = False) -> dict[str, Any]:
    """Read the JSON object in the body. Raises BadRequest."""
    content = await request.body()
    if not content and empty:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BadRequest("the body is JSON: send the header Content-Type: application/json")
    try:
        value = json.loads(content)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("the body is a JSON object")
    return value


async def within(given: dict[str, Any], wait: Callable[..., Awaitable[None]], *arguments: Any) -> bool:
    """Await until the timeout of the request, in real time; False when it passed."""
    with trio.move_on_after(timeout_s(given)) as scope:
        await wait(*arguments)
    return not scope.cancelled_caught


def timeout_s(given: Mapping[str, Any]) -> float:
    """Give ``timeout_ms`` of a body in seconds. Raises BadRequest."""
    return float(min(number(given, "timeout_ms", _WAIT_MS), _WAIT_MS_MAX)) / 1000


def number(given: Mapping[str, Any], name: str, default: float) -> Any:
    """Give a number of a body. Raises BadRequest."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise BadRequest(f"{name} is a number that is not negative, not {value!r}")
    return value


def text(given: Mapping[str, Any], name: str) -> str:
    """Give a text of a body that must be there. Raises BadRequest."""
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{name} is a text that is not empty, not {value!r}")
    return value


def query_number(request: Request, name: str) -> int | None:
    """Give a whole number of the query, None without it. Raises BadRequest."""
    value = request.query_params.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise BadRequest(f"{name} is a number, not {value!r}")
    return int(value)


def refuse_unknown(given: Mapping[str, Any], *known: str) -> None:
    """Raise BadRequest for a name that is not known."""
    for name in given:
        if name not in known:
            raise BadRequest(f"there is no {name!r}; known are {', '.join(known)}")
