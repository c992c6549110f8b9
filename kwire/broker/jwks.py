"""The keys by which signed tokens are verified: a JWKS (RFC 7517) from a file or a URL.

Responsible for: reading and refreshing it. Must not depend on: tokens.

``keys_for`` is called in the thread of a login, and may wait for the provider. A file is read once, as in Kafka; the
answer of a URL is kept for ``sasl.oauthbearer.jwks.endpoint.refresh.ms``, and fetched sooner when a token names a
missing key, at most once in ``_MISSING_KEY_MS``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from kwire.broker.logs import Logger
from kwire.security.sasl.oauthbearer import InvalidToken

if TYPE_CHECKING:  # see ``security.sasl.tokens``
    from jwt import PyJWK

log = Logger("kwire.broker")

_TIMEOUT_S: Final = 10.0
_BYTES_MAX: Final = 1024 * 1024
_MISSING_KEY_MS: Final = 10_000


class JwksError(ValueError):
    """A key set cannot be read; the message is a sentence."""


class Jwks:
    """The key set at one URL. ``now_ms`` is the broker's clock."""

    def __init__(self, url: str, refresh_ms: int, now_ms: Callable[[], int]) -> None:
        self._url = url
        self._refresh_ms = refresh_ms
        self._now_ms = now_ms
        self._keys: Sequence[PyJWK] | None = None
        self._read_ms = float("-inf")
        # Logins of a listener run in one thread at a time, but this class does not rely on that.
        self._lock = threading.Lock()

    def keys_for(self, kid: str | None) -> Sequence[PyJWK]:
        """Return the keys with an id, or all without one. Raises InvalidToken while no key can be had."""
        with self._lock:
            found = self._current()
            chosen = [key for key in found if kid is None or key.key_id == kid]
            if not chosen and not self._is_file and self._now_ms() - self._read_ms >= _MISSING_KEY_MS:
                self._refresh()
                chosen = [key for key in self._current() if kid is None or key.key_id == kid]
            return chosen

    @property
    def _is_file(self) -> bool:
        return self._url.startswith("file:")

    def _current(self) -> Sequence[PyJWK]:
        if self._keys is None or (not self._is_file and self._now_ms() - self._read_ms >= self._refresh_ms):
            self._refresh()
        if self._keys is None:
            raise InvalidToken(f"the keys at {self._url} cannot be read")
        return self._keys

    def _refresh(self) -> None:
        if self._keys is None and self._now_ms() - self._read_ms < _MISSING_KEY_MS:
            return
        self._read_ms = self._now_ms()
        try:
            self._keys = read_jwks(self._url)
        except JwksError as error:
            log.warning("JWKS not read", url=self._url, why=str(error))


def read_jwks(url: str) -> Sequence[PyJWK]:
    """Read a key set. Raises JwksError."""
    import jwt  # noqa: PLC0415 (a hundred milliseconds, needed only where tokens are signed)

    try:
        document = json.loads(_content(url))
        keys = jwt.PyJWKSet.from_dict(document).keys
    except OSError as error:  # an error of urllib too
        raise JwksError(f"{url} cannot be read: {error}") from None
    except (ValueError, jwt.PyJWTError, AttributeError, TypeError) as error:
        raise JwksError(f"{url} is not a key set (JWKS): {error}") from None
    # Symmetric keys are left out: a server that can verify with one could also sign with it.
    return [key for key in keys if key.key_type != "oct"]


def _content(url: str) -> bytes:
    parts = urlsplit(url)
    if parts.scheme == "file":
        with open(unquote(parts.path), "rb") as file:  # noqa: PTH123
            return file.read(_BYTES_MAX)
    if parts.scheme not in {"http", "https"}:
        raise JwksError(f"{url} is neither a file:, http: nor https: URL")
    from urllib.error import HTTPError  # noqa: PLC0415 (start-up does not pay for it)
    from urllib.request import urlopen  # noqa: PLC0415

    try:
        with urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 (the scheme is checked)
            content: bytes = answer.read(_BYTES_MAX)
            return content
    except HTTPError as refusal:
        refusal.close()  # its text is still open
        raise
