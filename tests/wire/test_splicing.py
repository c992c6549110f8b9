"""Replacing values in encoded messages, and passing over values."""

from __future__ import annotations

import pytest

from kwire.errors import ProtocolViolation
from kwire.wire import codec
from kwire.wire.compilation.schema import schema
from kwire.wire.messages import (
    DescribeClusterResponse,
    FetchResponse,
    MetadataResponse,
    ProduceRequest,
    StreamsGroupDescribeResponse,
)
from kwire.wire.splicing import Splicer, reader, skipper

LOWEST_TO_HIGHEST = [
    (message, version)
    for key in codec.api_keys()
    for message in (codec.request_class(key), codec.response_class(key))
    for version in (message.VERSIONS.lowest, message.VERSIONS.highest)
]


def filled(message, version, classes=None):
    """A message with a value in every field of the version, two in each array, and null where the number is odd."""
    classes = type(message) if classes is None else classes
    for number, field in enumerate(message.FIELDS):
        if version not in field.versions:
            continue
        if number % 3 == 2 and version in field.nullable:
            setattr(message, field.name, None)
            continue
        kind = field.item if field.type == "array" else field.type
        if kind == "struct":
            one = filled(getattr(classes, field.struct.name)(), version, classes)
        else:
            one = {"string": "näme", "bytes": b"x" * 200, "uuid": b"u" * 16, "bool": True, "records": b"r"}.get(kind, 7)
        setattr(message, field.name, [one, one] if field.type == "array" else one)
    return message


@pytest.mark.parametrize("message", sorted({each for each, _ in LOWEST_TO_HIGHEST}, key=lambda one: one.NAME))
def test_a_skipped_message_ends_where_its_bytes_end(message):
    for version in {message.VERSIONS.lowest, message.VERSIONS.highest}:
        encoded = codec.encode(filled(message(), version), version)
        assert skipper(schema(message, version))(memoryview(b"??" + encoded), 2) == len(encoded) + 2


def test_only_structures_with_all_of_the_fields_are_found():
    assert Splicer(MetadataResponse, 12, ("host", "port")).finds
    assert not Splicer(MetadataResponse, 12, ("host", "colour")).finds
    assert not Splicer(FetchResponse, 15, ("host", "port")).finds
    assert Splicer(FetchResponse, 16, ("host", "port")).finds
    assert Splicer(StreamsGroupDescribeResponse, 0, ("host", "port")).finds
    assert not Splicer(StreamsGroupDescribeResponse, 0, ("host", "port"), excluded=("user_endpoint",)).finds


def test_the_size_of_a_tagged_field_follows_its_content():
    endpoint = FetchResponse.NodeEndpoint(node_id=1, host="a", port=1)
    encoded = codec.encode(FetchResponse(node_endpoints=[endpoint]), 16)
    longer = "h" * 300

    spliced = Splicer(FetchResponse, 16, ("host", "port")).splice(memoryview(encoded), 0, lambda _: (longer, 2))

    (seen,) = codec.decode(FetchResponse, 16, spliced).node_endpoints
    assert (seen.host, seen.port, seen.node_id) == (longer, 2, 1)


def test_a_value_out_of_range_is_a_violation():
    broker = DescribeClusterResponse.DescribeClusterBroker(broker_id=1, host="a", port=1)
    encoded = codec.encode(DescribeClusterResponse(brokers=[broker]), 1)
    with pytest.raises(ProtocolViolation):
        Splicer(DescribeClusterResponse, 1, ("host", "port")).splice(memoryview(encoded), 0, lambda _: ("a", 2**40))


def test_bytes_that_end_early_are_a_violation_at_every_length():
    encoded = codec.encode(filled(FetchResponse(), 16), 16)
    splicer = Splicer(FetchResponse, 16, ("host", "port"))
    for end in range(len(encoded)):
        with pytest.raises(ProtocolViolation):
            splicer.splice(memoryview(encoded)[:end], 0, lambda _: ("b", 2))


def test_one_field_is_read_without_the_rest():
    for version in range(ProduceRequest.VERSIONS.lowest, ProduceRequest.VERSIONS.highest + 1):
        encoded = codec.encode(ProduceRequest(transactional_id="t" * 200, acks=-1), version)
        read = reader(ProduceRequest, version, "acks")
        assert read(memoryview(encoded), 0) == -1
        with pytest.raises(ProtocolViolation):
            read(memoryview(encoded)[:100], 0)
