"""The construct side: schemas as people read them, and what they refuse."""

import construct
import pytest

from kwire.errors import ProtocolViolation
from kwire.wire.compilation import compiler, schema
from kwire.wire.message import EncodingError
from kwire.wire.messages import (
    ConsumerGroupHeartbeatResponse,
    FetchRequest,
    MetadataRequest,
    RequestHeader,
    TopicRecord,
)


def test_a_schema_reads_like_a_table():
    assert schema.show(schema.schema(MetadataRequest, 10)) == (
        "topics                                 compact array of MetadataRequestTopic or null\n"
        "  topic_id                             uuid\n"
        "  name                                 compact string or null\n"
        "  (tagged fields)                      none known\n"
        "allow_auto_topic_creation              bool                                           default true\n"
        "include_cluster_authorized_operations  bool\n"
        "include_topic_authorized_operations    bool\n"
        "(tagged fields)                        none known\n"
    )


def test_a_tagged_field_shows_its_tag_and_a_nullable_struct_its_fields():
    assert "cluster_id                compact string or null" in schema.show(schema.schema(FetchRequest, 12))
    assert "tag 0, default null" in schema.show(schema.schema(FetchRequest, 12))
    text = schema.show(schema.schema(ConsumerGroupHeartbeatResponse, 0))
    assert "Assignment or null" in text
    assert "    partitions" in text


def test_a_field_may_keep_the_old_form_in_a_flexible_version():
    assert "client_id            string or null\n" in schema.show(schema.schema(RequestHeader, 2))


def test_schemas_are_construct_schemas():
    node = schema.schema(TopicRecord, 0)
    assert isinstance(node, construct.Construct)
    assert node.parse(node.build(TopicRecord(name="a"))) == TopicRecord(name="a")
    with pytest.raises(construct.SizeofError):
        node.sizeof()
    assert schema.FIXED["uuid"].sizeof() == 16


def test_interpreted_refusals_are_the_same_kinds_of_error():
    with pytest.raises(ProtocolViolation, match=r"TopicRecord v0: .*name"):
        schema.parse(TopicRecord, 0, b"\0")
    with pytest.raises(ProtocolViolation, match="1 bytes too many"):
        schema.parse(TopicRecord, 0, schema.build(TopicRecord(), 0) + b"\0")
    with pytest.raises(EncodingError, match=r"MetadataRequest v0: .*null is not allowed"):
        schema.build(MetadataRequest(topics=None), 0)
    with pytest.raises(EncodingError, match="this version has no such field"):
        schema.build(
            FetchRequest(
                topics=[FetchRequest.FetchTopic(partitions=[FetchRequest.FetchPartition(last_fetched_epoch=1)])]
            ),
            4,
        )


def test_compiled_source_can_be_read_and_shows_in_tracebacks():
    text = compiler.source(FetchRequest, 12)
    assert text.startswith("def decode_FetchRequest_v12(b, p, exact):\n")
    assert "def encode_FetchRequest_v12(m, o, parts):\n" in text
    encode = compiler.encoder(TopicRecord, 0)
    with pytest.raises(EncodingError) as refusal:
        encode(TopicRecord(name=5), bytearray(), [])
    cause = refusal.getrepr(style="short")
    assert ".encode()" in str(cause)
