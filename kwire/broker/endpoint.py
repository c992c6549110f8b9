"""A listener as clients see it.

Responsible for: the value ``Endpoint``. Must not depend on: sockets, requests.
"""

from __future__ import annotations

from typing import NamedTuple


class Endpoint(NamedTuple):
    """The name of a listener, its security protocol, and the host and port that it advertises."""

    name: str
    security_protocol: str
    host: str
    port: int
