"""Finds the addresses of nodes in responses and replaces them.

Responsible for: finding the addresses by the specs, and the versions at which that is possible. Must not depend on:
sockets, which address stands for which.

Every structure of a response with a ``host`` and a ``port`` is the address of a node, except the endpoints of Kafka
Streams applications, by which these reach one another. Records are not searched.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Final, NamedTuple, TypeAlias

from kwire.errors import Code, ProtocolViolation
from kwire.wire.codec import api_keys, response_body_position, response_class
from kwire.wire.splicing import Splicer

Advertise: TypeAlias = Callable[[str, int], tuple[str, int]]

API_VERSIONS: Final = 18
_ADDRESS: Final = ("host", "port")
# Fields whose addresses are those of applications.
APPLICATION_FIELDS: Final = frozenset({"user_endpoint"})


@cache
def _addresses(api_key: int, version: int) -> Splicer | None:
    splicer = Splicer(response_class(api_key), version, _ADDRESS, excluded=APPLICATION_FIELDS)
    return splicer if splicer.finds else None


@cache
def _version_ranges(version: int) -> Splicer:
    return Splicer(response_class(API_VERSIONS), version, ("api_key", "max_version"))


@cache
def ceiling(api_key: int) -> int | None:
    """Give the highest version whose response can be rewritten; None for an API whose responses need no change."""
    if api_key not in api_keys():
        return None
    highest = response_class(api_key).VERSIONS.highest
    return highest if api_key == API_VERSIONS or _addresses(api_key, highest) is not None else None


class Route(NamedTuple):
    """How requests of one API at one version pass, and their responses.

    ``is_known``: there is a spec. ``passes`` is False if the response may have addresses in a form that is not known,
    ``is_rewritten`` True if the response may have to be changed.
    """

    is_known: bool
    passes: bool
    is_rewritten: bool


@lru_cache(maxsize=4096)  # clients may send any number
def route(api_key: int, version: int) -> Route:
    """Tell how an API passes at a version."""
    if api_key not in api_keys():
        return Route(is_known=False, passes=True, is_rewritten=False)
    versions = response_class(api_key).VERSIONS
    is_known = version in versions
    is_rewritten = is_known and (api_key == API_VERSIONS or _addresses(api_key, version) is not None)
    highest = ceiling(api_key)
    passes = highest is None or (
        version <= highest and (version >= versions.lowest or _addresses(api_key, versions.lowest) is None)
    )
    return Route(is_known, passes, is_rewritten)


def rewrite_response(api_key: int, version: int, frame: memoryview, advertise: Advertise) -> bytes | None:
    """Give a response's frame (without its size) with other addresses; None if it stays as it is.

    ``advertise`` gives the address that takes the place of one. In a response of ApiVersions the versions that cannot
    be rewritten are left out. Raises ProtocolViolation.
    """
    if api_key == API_VERSIONS:
        if refuses_version(frame):
            version = 0
        start = response_body_position(api_key, version, frame)
        return _version_ranges(version).splice(frame, start, _limited)
    splicer = _addresses(api_key, version)
    if splicer is None:
        return None
    start = response_body_position(api_key, version, frame)
    return splicer.splice(frame, start, lambda address: _advertised(address, advertise))


def refuses_version(frame: memoryview) -> bool:
    """Tell whether a response of ApiVersions has the form of version 0 because its version was refused (KIP-511)."""
    if len(frame) < 6:
        raise ProtocolViolation(f"a response of ApiVersions has {len(frame)} bytes")
    return int.from_bytes(frame[4:6], "big", signed=True) == Code.UNSUPPORTED_VERSION


def _limited(values: tuple[int, ...]) -> tuple[int, ...]:
    api_key, highest = values
    known = ceiling(api_key)
    return values if known is None else (api_key, min(highest, known))


def _advertised(address: tuple[str | None, int], advertise: Advertise) -> tuple[str | None, int]:
    host, port = address
    # An error has an empty host, or the port -1.
    return advertise(host, port) if host and port > 0 else address
