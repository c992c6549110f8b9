"""Hosts of ACLs: one address, ``*``, or since Kafka 4.4 a network with a prefix length (KIP-1276).

Responsible for: reading a network, and whether a host of an ACL includes an address. Must not depend on: any package of
kwire but the values of ``acls``, what an ACL allows.

    10.0.0.0/8    2001:db8::/32    bits behind the prefix may be set: 10.1.2.3/8 is the same network

The texts of refusals are those of Apache Kafka.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NamedTuple

from kwire.acls import WILDCARD

_IPV4: Final = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d+")
_INT_MAX: Final = 2**31 - 1
_IPV4_BITS, _IPV6_BITS = 32, 128
_NETWORKS_MAX: Final = 1000  # size of the cache of parsed networks


class Network(NamedTuple):
    """All addresses of ``bits`` bits whose number, without the last ``host_bits`` bits, is ``prefix``."""

    bits: int
    prefix: int
    host_bits: int


def includes(pattern: str, host: str) -> bool:
    """Tell whether the host of an ACL includes an address, both as Java prints addresses."""
    if pattern in (WILDCARD, host):
        return True
    if "/" not in pattern:
        return False
    try:
        network = read_network(pattern)
        bits, number = (_IPV6_BITS, _ipv6(host)) if ":" in host else (_IPV4_BITS, _ipv4(host, host))
    except ValueError:
        return False
    # Apache Kafka's 0.0.0.0 is in no network.
    return network.bits == bits and number >> network.host_bits == network.prefix and (number > 0 or bits != _IPV4_BITS)


@lru_cache(_NETWORKS_MAX)
def read_network(pattern: str) -> Network:
    """Read ``ADDRESS/LENGTH``. Raises ValueError, with Apache Kafka's reason."""
    address, _, length = pattern.partition("/")
    if ":" not in pattern:
        if not re.fullmatch(r"\d{1,2}", length, re.ASCII):
            raise ValueError(f"Could not parse [{pattern}]")
        number = _ipv4(address, pattern)
        host_bits = _IPV4_BITS - _in_range(int(length), _IPV4_BITS)
        return Network(_IPV4_BITS, number >> host_bits, host_bits)
    if not _NUMBER.fullmatch(length) or not -_INT_MAX - 1 <= int(length) <= _INT_MAX:
        raise ValueError(f"Could not parse [{pattern}] - invalid prefix length")
    if not 0 <= int(length) <= _IPV6_BITS:
        raise ValueError(f"Could not parse [{pattern}] - prefix length must be between 0 and {_IPV6_BITS}")
    host_bits = _IPV6_BITS - int(length)
    return Network(_IPV6_BITS, _ipv6(address) >> host_bits, host_bits)


def _ipv4(address: str, whole: str) -> int:
    match = _IPV4.fullmatch(address)
    if match is None:
        raise ValueError(f"Could not parse [{whole}]")
    number = 0
    for part in match.groups():
        number = number << 8 | _in_range(int(part), 255)
    return number


def _in_range(value: int, highest: int) -> int:
    if value > highest:
        raise ValueError(f"Value [{value}] not in range [0,{highest}]")
    return value


def _ipv6(address: str) -> int:
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        parsed = IPv6Address(bare)
    except AddressValueError:
        raise ValueError(f"Could not parse [{address}]") from None
    if parsed.ipv4_mapped is not None:
        raise ValueError(f"Could not parse [{address}] - not an IPv6 address")
    return int(parsed)
