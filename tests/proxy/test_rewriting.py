"""Which fields of which responses are addresses of nodes, found by the specs."""

from __future__ import annotations

import pytest

from kwire.proxy.rewriting import APPLICATION_FIELDS, ceiling, rewrite_response, route
from kwire.wire import codec
from kwire.wire.spec import walk

API_VERSIONS = 18
# Every API whose responses name a node by host and port. A new one appears here by its spec alone.
WITH_ADDRESSES = {
    "Produce",
    "Fetch",
    "Metadata",
    "FindCoordinator",
    "Vote",
    "BeginQuorumEpoch",
    "EndQuorumEpoch",
    "DescribeQuorum",
    "FetchSnapshot",
    "DescribeCluster",
    "ShareFetch",
    "ShareAcknowledge",
    "UpdateRaftVoter",
}


def versions(key):
    lowest, highest = codec.response_class(key).VERSIONS
    return range(lowest, highest + 1)


def names_of(key):
    return codec.api_name(key)


def filled(message, version, number=0):
    """A message with a value in every field of a version, so that each structure is there once."""
    for field in message.FIELDS:
        if version not in field.versions:
            continue
        setattr(message, field.name, value_of(message, field, version, number))
    return message


def value_of(message, field, version, number):
    if field.struct is not None:
        inner = filled(getattr(type_of(message), field.struct.name)(), version, number)
        return [inner] if field.type == "array" else inner
    if field.name == "host":
        return "kafka-7"
    if field.name == "port":
        return 9099
    one = {"string": "x", "bytes": b"x", "uuid": bytes(range(16)), "bool": True, "records": b"rr"}.get(
        field.item if field.type == "array" else field.type, 1
    )
    return [one] if field.type == "array" else one


def type_of(message):
    return getattr(codec.messages, type(message).__qualname__.partition(".")[0])


def frame_of(key, version, message):
    header = codec.RequestHeader(key, version, 5, None, 0)
    return b"".join(codec.encode_response(header, message))


def addresses_in(message, fields=None):
    """The addresses of a decoded message, those of applications apart."""
    for field in message.FIELDS:
        value = getattr(message, field.name)
        if field.struct is None or value is None or field.name in APPLICATION_FIELDS:
            continue
        for inner in value if field.type == "array" else [value]:
            yield from addresses_in(inner)
    names = {field.name for field in message.FIELDS}
    if {"host", "port"} <= names:
        yield (message.host, message.port)


def test_the_apis_whose_responses_have_addresses_are_those():
    found = {
        names_of(key)
        for key in codec.api_keys()
        for version in versions(key)
        if route(key, version).is_rewritten and key != API_VERSIONS
    }
    assert found == WITH_ADDRESSES


def test_every_host_with_a_port_in_a_response_is_rewritten_or_of_an_application():
    for key in codec.api_keys():
        fields = [path for path, field in walk(codec.response_class(key).FIELDS) if field.name == "port"]
        of_nodes = [path for path in fields if not APPLICATION_FIELDS & set(path.split("."))]
        assert bool(of_nodes) == (names_of(key) in WITH_ADDRESSES), (names_of(key), fields)


@pytest.mark.parametrize("key", codec.api_keys(), ids=names_of)
def test_addresses_of_every_version_change_and_nothing_else(key):
    for version in versions(key):
        message = filled(codec.response_class(key)(), version)
        frame = frame_of(key, version, message)
        asked = []

        def advertise(host, port, asked=asked):
            asked.append((host, port))
            return "a-much-longer-name.example", 19092

        changed = (
            rewrite_response(key, version, memoryview(frame)[4:], advertise)
            if route(key, version).is_rewritten
            else None
        )

        _, before = codec.decode_response(key, version, memoryview(frame)[4:])
        expected = list(addresses_in(before)) if key != API_VERSIONS else []
        assert sorted(asked) == sorted(each for each in expected if each[1] > 0 and each[0]), version
        if changed is None:
            continue
        _, after = codec.decode_response(key, version, memoryview(changed))
        assert {each for each in addresses_in(after) if each[0]} == {("a-much-longer-name.example", 19092)}
        back = rewrite_response(key, version, memoryview(changed), lambda *_: ("kafka-7", 9099))
        assert back == frame[4:], version


def test_an_address_that_stays_leaves_the_bytes_alone():
    frame = frame_of(3, 12, filled(codec.response_class(3)(), 12))
    assert rewrite_response(3, 12, memoryview(frame)[4:], lambda *address: address) is None


def test_tagged_fields_that_no_spec_has_are_kept():
    response = codec.response_class(0)
    endpoint = response.NodeEndpoint(node_id=7, host="kafka-7", port=9099)
    frame = frame_of(0, 13, response(node_endpoints=[endpoint]))[4:]
    assert frame.endswith(b"\x00\x00")  # no rack, no tagged fields of the endpoint
    # One more tagged field, number 9 of three bytes, behind that of the endpoints.
    count_at = frame.index(b"\x01\x00", 6)
    unknown = frame[:count_at] + b"\x02" + frame[count_at + 1 :] + b"\x09\x03new"

    changed = rewrite_response(0, 13, memoryview(unknown), lambda *_: ("proxy", 1))

    assert changed.endswith(b"\x09\x03new")
    assert codec.decode_response(0, 13, memoryview(changed))[1].node_endpoints[0].host == "proxy"


def test_an_error_without_an_address_stays():
    no_coordinator = codec.response_class(10)(error_code=15, node_id=-1, host="", port=-1)
    frame = frame_of(10, 2, no_coordinator)
    assert rewrite_response(10, 2, memoryview(frame)[4:], lambda *_: ("proxy", 1)) is None


def test_versions_of_the_future_are_left_out_where_addresses_would_leak():
    versions_of = codec.response_class(API_VERSIONS).ApiVersion
    known = {key: codec.response_class(key).VERSIONS.highest for key in (0, 3, 12)}
    response = codec.response_class(API_VERSIONS)(
        api_keys=[versions_of(api_key=key, min_version=0, max_version=99) for key in (0, 3, 12, 18, 500)]
    )
    frame = frame_of(API_VERSIONS, 3, response)

    changed = rewrite_response(API_VERSIONS, 3, memoryview(frame)[4:], lambda *address: address)

    seen = {each.api_key: each.max_version for each in codec.decode_response(18, 3, memoryview(changed))[1].api_keys}
    assert seen == {0: known[0], 3: known[3], 12: 99, 18: codec.response_class(18).VERSIONS.highest, 500: 99}


def test_a_refused_version_of_api_versions_has_the_form_of_version_0():
    versions_of = codec.response_class(API_VERSIONS).ApiVersion
    response = codec.response_class(API_VERSIONS)(
        error_code=35, api_keys=[versions_of(api_key=3, min_version=0, max_version=99)]
    )
    frame = frame_of(API_VERSIONS, 0, response)
    changed = rewrite_response(API_VERSIONS, 4, memoryview(frame)[4:], lambda *address: address)
    assert codec.decode_response(18, 0, memoryview(changed))[1].api_keys[0].max_version == ceiling(3)


def test_versions_whose_addresses_are_unknown_do_not_pass():
    metadata, heartbeat, produce, share_fetch = 3, 12, 0, 78
    assert route(metadata, ceiling(metadata)).passes
    assert not route(metadata, ceiling(metadata) + 1).passes
    assert route(heartbeat, 99).passes, "no address in any known version"
    assert route(500, 0).passes, "an API that no spec has"
    assert route(produce, 0).passes, "older than the specs: addresses came later"
    assert not route(share_fetch, 0).passes, "older than the specs, and the oldest that is known has addresses"


def test_bytes_that_are_no_response_are_a_violation():
    frame = frame_of(3, 12, filled(codec.response_class(3)(), 12))[4:]
    for end in (3, 5, 9, 20):
        with pytest.raises(codec.ProtocolViolation):
            rewrite_response(3, 12, memoryview(frame)[:end], lambda *_: ("proxy", 1))
