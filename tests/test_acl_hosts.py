"""Hosts of ACLs: which addresses a pattern includes, and the reasons of refusals."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwire.acl_hosts import includes, read_network


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("*", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.0/31", "10.0.0.0", True),
        ("10.0.0.0/31", "10.0.0.1", True),
        ("10.0.0.0/31", "10.0.0.2", False),
        ("10.9.9.9/8", "10.0.0.255", True),
        ("0.0.0.0/0", "255.255.255.255", True),
        ("0.0.0.0/0", "0.0.0.0", False),
        ("0.0.0.0/0", "0:0:0:0:0:0:0:1", False),
        ("::/0", "10.0.0.1", False),
        ("::/0", "0:0:0:0:0:0:0:0", True),
        ("2001:db8::/32", "2001:db8:0:0:0:0:0:9", True),
        ("2001:db8::/32", "2001:db9:0:0:0:0:0:9", False),
        ("10.0.0.0/x", "10.0.0.0", False),
        ("10.0.0.0/8", "no.such.host", False),
    ],
)
def test_the_addresses_that_a_pattern_includes(pattern, host, expected):
    assert includes(pattern, host) is expected


@given(st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1), st.integers(0, 32))
def test_a_network_includes_what_the_standard_library_finds_in_it(number, other, length):
    network, host = f"{ip_address(number)}/{length}", ip_address(other)

    assert includes(network, str(host)) is (host in ip_network(network, strict=False))


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("10.0.0.0/", "Could not parse [10.0.0.0/]"),
        ("10.0.0/8", "Could not parse [10.0.0/8]"),
        ("10.0.0.0/255.0.0.0", "Could not parse [10.0.0.0/255.0.0.0]"),
        ("host/8", "Could not parse [host/8]"),
        ("*/8", "Could not parse [*/8]"),
        ("10.0.0.0/8/8", "Could not parse [10.0.0.0/8/8]"),
        ("10.0.0.256/8", "Value [256] not in range [0,255]"),
        ("10.0.0.0/33", "Value [33] not in range [0,32]"),
        ("::1/", "Could not parse [::1/] - invalid prefix length"),
        ("::1/99999999999", "Could not parse [::1/99999999999] - invalid prefix length"),
        ("::1/129", "Could not parse [::1/129] - prefix length must be between 0 and 128"),
        ("::1/-1", "Could not parse [::1/-1] - prefix length must be between 0 and 128"),
        ("a:b/8", "Could not parse [a:b]"),
        ("::ffff:10.0.0.1/96", "Could not parse [::ffff:10.0.0.1] - not an IPv6 address"),
    ],
)
def test_a_network_that_cannot_be_read_is_refused_with_the_reason(pattern, reason):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the whole text is compared)
        read_network(pattern)
    assert str(refused.value) == reason
