"""What is known about the client at the other end of a connection.

Responsible for: the value ``Client`` and how Java prints an address. Must not depend on: sockets, single requests.
"""

from __future__ import annotations

import ipaddress
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from kwire.broker.endpoint import Endpoint
from kwire.security.principal import ANONYMOUS, Principal

if TYPE_CHECKING:
    from kwire.wire.messages import ApiVersionsRequest


class Client(NamedTuple):
    """One per connection; replaced after ApiVersions and after a SASL login, which add to it.

    ``host`` is an address as text, without brackets. ``endpoint`` is the listener that the client connected to.
    ``software_name`` and ``software_version`` are None until an ApiVersions request of version 3 or later names them
    (KIP-511). ``authenticated_at_ms`` is when ``principal`` was established, in ms since the epoch: the time of the
    connection on a listener without authentication. ``authenticated_by_token``: by a delegation token (KIP-48).
    """

    host: str
    port: int
    endpoint: Endpoint
    authenticated_at_ms: int
    principal: Principal = ANONYMOUS
    authenticated_by_token: bool = False
    software_name: str | None = None
    software_version: str | None = None

    def after_api_versions(self, request: ApiVersionsRequest) -> Client:
        """The client with the software that its ApiVersions request names; before version 3 it names none."""
        if not request.client_software_name:
            return self
        # Interned: connections of the same software share these strings.
        return Client(
            self.host,
            self.port,
            self.endpoint,
            self.authenticated_at_ms,
            self.principal,
            self.authenticated_by_token,
            sys.intern(request.client_software_name),
            sys.intern(request.client_software_version),
        )

    @property
    def peer(self) -> str:
        """``host:port`` for logs, an IPv6 host in brackets."""
        return peer_text(self.host, self.port)

    @property
    def java_host(self) -> str:
        """The host as Java prints an InetAddress: after a slash, an IPv6 address without ``::``."""
        return f"/{self.acl_host}"

    @property
    def acl_host(self) -> str:
        """The host as an ACL names it: an IPv6 address without ``::``."""
        return _java_address(self.host) if ":" in self.host else self.host


@lru_cache(maxsize=1000)
def _java_address(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ipaddress.AddressValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return ":".join(f"{int(group, 16):x}" for group in address.exploded.split(":"))


def peer_text(host: str, port: int) -> str:
    """``host:port``, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_peer(peer: str) -> tuple[str, int]:
    """``host:port``, the host in brackets if it is an IPv6 address, as its two parts."""
    host, _, port = peer.rpartition(":")
    return host.strip("[]"), int(port)
