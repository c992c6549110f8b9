"""Which requests a connection may send.

Responsible for: the check of every request before it is decoded: whether this API is served at this version, and
whether it belongs to a login. Must not depend on: the effect of requests, how an answer is sent.

ApiVersions is the usual first request but not a required one: old clients begin with Metadata. It is also the one
request whose unknown versions are answered instead of refused (KIP-35, KIP-511): a newer client sends its own newest
version, gets UNSUPPORTED_VERSION in the form of version 0 together with the served range, and asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from kwire.errors import UnsupportedVersion

API_VERSIONS_KEY = 18
_SASL_HANDSHAKE_KEY = 17


class Served(NamedTuple):
    """The inclusive range of versions at which an API is answered. What ApiVersions advertises may be wider."""

    name: str
    lowest: int
    highest: int


class Session:
    """The gate of one connection, over the table of what its listener serves."""

    __slots__ = ("_served",)

    def __init__(self, served: Mapping[int, Served]) -> None:
        self._served = served

    def admit(self, api_key: int, api_version: int) -> bool | None:
        """Tell whether to decode and handle the request. False: it is ApiVersions at an unknown version.

        None: it belongs to the login of a SASL listener. Raises UnsupportedVersion for everything else that is not
        served; Kafka closes the connection then.
        """
        served = self._served.get(api_key)
        if served is None:
            raise UnsupportedVersion(api_key, api_version, f"no API has the key {api_key} here")
        if served.lowest <= api_version <= served.highest:
            return True
        if api_key == API_VERSIONS_KEY:
            return False
        raise UnsupportedVersion(
            api_key,
            api_version,
            f"{served.name} is served at versions {served.lowest} to {served.highest}, not at {api_version}",
        )


class Gate(Enum):
    """Which requests of a SASL listener belong to its login."""

    LOGIN = "all"
    RENEWABLE = "SaslHandshake, which begins to renew a session that expires (KIP-368)"
    OPEN = "none"


class SaslSession(Session):
    """The gate of a connection to a SASL listener; behind ``Gate.OPEN`` a ``Session`` is enough."""

    __slots__ = ("gate",)

    def __init__(self, served: Mapping[int, Served], gate: Gate) -> None:
        super().__init__(served)
        self.gate = gate

    def admit(self, api_key: int, api_version: int) -> bool | None:
        """See ``Session.admit``."""
        if self.gate is Gate.LOGIN or (self.gate is Gate.RENEWABLE and api_key == _SASL_HANDSHAKE_KEY):
            return None
        return super().admit(api_key, api_version)
