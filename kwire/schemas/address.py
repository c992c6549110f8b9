"""Where a schema registry is, and how one logs in.

Responsible for: reading the URL and the files of the options, and the sentence about a wrong one. Must not
depend on: HTTP, the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

ANSWER_S: Final = 2.0


class AddressError(ValueError):
    """An address that cannot be used. One sentence."""


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """``url`` has no user, password or slash at the end. ``ca_file`` has certificates in PEM form.

    ``answer_s`` is for a schema and the schemas that it refers to.
    """

    url: str
    user: str | None = None
    password: str = ""
    token: str | None = None
    ca_file: str | None = None
    answer_s: float = ANSWER_S

    @property
    def name(self) -> str:
        """How sentences name it."""
        return f"registry {self.url}"


def read_address(text: str, *, token: str | None = None, ca_file: str | None = None) -> RegistryAddress:
    """Read ``http[s]://[USER:PASSWORD@]HOST[:PORT][/PATH]``. Raises AddressError."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise AddressError(f"the address of a schema registry cannot be read: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise AddressError("the address of a schema registry is such as http://localhost:8081")
    if token is not None and parts.username is not None:
        raise AddressError("a schema registry gets a user with a password, or a token, not both")
    if ca_file is not None and parts.scheme != "https":
        raise AddressError("the certificates of a CA are for a schema registry with an https address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    url = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"
    user = None if parts.username is None else unquote(parts.username)
    return RegistryAddress(url, user, unquote(parts.password or ""), token, ca_file, ANSWER_S)
