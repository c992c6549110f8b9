"""A client of the HTTP interface of a broker that was started with ``--control``.

Responsible for: one request, its JSON, and the sentence of a refusal. Must not depend on: single requests.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

TIMED_OUT: Final = 408


class ControlRefused(Exception):
    """The broker refuses, or cannot be reached. ``status`` is that of HTTP, None without an answer."""

    def __init__(self, sentence: str, status: int | None = None, answer: dict[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.answer = answer or {}


class ControlClient:
    """A client of the HTTP interface at one URL."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Return status and decoded answer: a success, or 408 for a timeout. Raises ControlRefused."""
        with self._open(method, path, body) as answer:
            content = answer.read()
            return answer.status, json.loads(content) if content else None

    def text(self, path: str) -> str:
        """Return an answer that is not JSON. Raises ControlRefused."""
        with self._open("GET", path, None) as answer:
            return str(answer.read().decode())

    def lines(self, path: str) -> Iterator[str]:
        """Yield the data of server-sent events. Raises ControlRefused."""
        with self._open("GET", path, None) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    yield line[6:].decode().rstrip("\n")

    def _open(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        # The URL is the user's own.
        request = urllib.request.Request(self.url + path, content, headers, method=method)  # noqa: S310
        try:
            return urllib.request.urlopen(request)  # noqa: S310
        except urllib.error.HTTPError as error:
            if error.code == TIMED_OUT:
                return error
            raise _refusal(error) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise ControlRefused(
                f"no answer from {self.url}: {reason}; is the broker started with --control, at this address?"
            ) from None


def _refusal(error: urllib.error.HTTPError) -> ControlRefused:
    with error:
        content = error.read()
    try:
        answer = json.loads(content)
        return ControlRefused(str(answer.get("message") or answer.get("error")), error.code, answer)
    except (ValueError, AttributeError):
        return ControlRefused(content.decode(errors="replace"), error.code)
