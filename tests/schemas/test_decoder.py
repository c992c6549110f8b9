"""Keys and values as JSON text: Avro, Protobuf, JSON Schema."""

import io
import json
from decimal import Decimal

import pytest
from fake_registry import FakeRegistry, framed, serialized

from kwire.schemas.framing import find_schema
from kwire.schemas.registry import Registry

fastavro = pytest.importorskip("fastavro")
pytest.importorskip("google.protobuf")

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto  # noqa: E402

from kwire.schemas.cache import COMPILED_MAX, CompiledSchemas  # noqa: E402
from kwire.schemas.decoder import Decoder  # noqa: E402

LINE = {"type": "record", "name": "Line", "namespace": "shop", "fields": [{"name": "sku", "type": "string"}]}
ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["OPEN", "PAID"]}},
        {"name": "line", "type": ["null", "shop.Line"]},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "raw", "type": "bytes"},
        {"name": "weight", "type": "double"},
    ],
}
# More than the 53 bits that a number of JavaScript has.
VALUE = {
    "id": 2**60 + 1,
    "status": "PAID",
    "line": {"sku": "tea"},
    "price": Decimal("1.20"),
    "at": 0,
    "raw": b"\xff",
    "weight": float("nan"),
}
SOURCE = """syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "shop/line.proto";
message First { string text = 1; }
message Order { message Part { string name = 1; } int64 id = 1; google.protobuf.Timestamp at = 2; Line line = 3; }
"""
LINE_SOURCE = 'syntax = "proto3"; package shop; message Line { string sku = 1; }'
ORDER_BYTES = b"\x08\x05\x12\x02\x08\x01\x1a\x05\x0a\x03tea"
ORDER_TEXT = '{"id": "5", "at": "1970-01-01T00:00:01Z", "line": {"sku": "tea"}}'


@pytest.fixture
def fake():
    return FakeRegistry()


@pytest.fixture
def decoder(fake):
    return Decoder(CompiledSchemas(Registry("registry http://r", fake.fetch)))


def avro(schema, value, *imports):
    named = {}
    for each in imports:
        fastavro.parse_schema(each, named_schemas=named)
    encoded = io.BytesIO()
    fastavro.schemaless_writer(encoded, fastavro.parse_schema(schema, named_schemas=named), value)
    return encoded.getvalue()


async def decode(decoder, content, header=None):
    return await decoder.decode(find_schema(content, header))


async def error(decoder, content):
    return (await decode(decoder, content))["error"]


async def test_an_avro_record_with_what_its_schema_refers_to(fake, decoder):
    fake.add(1, ORDER, references=[("shop.Line", "line", 3)])
    fake.add_subject("line", 3, json.dumps(LINE))
    decoded = await decode(decoder, framed(1, avro(ORDER, VALUE, LINE)))
    assert (decoded["schema"], decoded["type"], decoded["name"]) == (1, "AVRO", "shop.Order")
    assert json.loads(decoded["text"]) == {
        "id": 2**60 + 1,
        "status": "PAID",
        "line": {"sku": "tea"},
        "price": "1.20",
        "at": "1970-01-01T00:00:00+00:00",
        "raw": "ÿ",
        "weight": "nan",
    }


@pytest.mark.parametrize(
    ("schema", "payload", "text"),
    [
        ('"string"', b"\x02a", '"a"'),
        ('{"type": "int"}', b"\x0a", "5"),
        ('["null", "string"]', b"\x02\x02a", '"a"'),
        ('"bytes"', b"\x02a", '"a"'),  # as confluent-kafka writes bytes
        ('"bytes"', b"raw", '"raw"'),  # as Java's serializer does
    ],
)
async def test_an_avro_value_need_not_be_a_record(fake, decoder, schema, payload, text):
    fake.add(1, schema)
    assert (await decode(decoder, framed(1, payload)))["text"] == text


async def test_a_value_with_its_schema_in_a_header(fake, decoder):
    guid = "89791762-2336-4186-9674-299b90a802e2"
    fake.schemas[f"/schemas/guids/{guid}"] = {
        "schema": SOURCE.replace(" Line line = 3;", "").replace('import "shop/line.proto";', ""),
        "schemaType": "PROTOBUF",
    }
    header = b"\1" + bytes.fromhex(guid.replace("-", "")) + b"\2\2"
    decoded = await decode(decoder, ORDER_BYTES[:6], header)
    assert decoded["schema"] == guid
    assert (decoded["name"], decoded["text"]) == ("shop.Order", '{"id": "5", "at": "1970-01-01T00:00:01Z"}')


@pytest.mark.parametrize("as_source", [True, False])
async def test_a_protobuf_message_of_a_file_that_imports_others(fake, decoder, as_source):
    if as_source:
        pytest.importorskip("grpc_tools")
    fake.add(1, SOURCE if as_source else order_file(), "PROTOBUF", [("shop/line.proto", "line", 1)])
    fake.add_subject("line", 1, LINE_SOURCE if as_source else line_file())
    decoded = await decode(decoder, framed(1, b"\2\2" + ORDER_BYTES))
    assert (decoded["type"], decoded["name"], decoded["text"]) == ("PROTOBUF", "shop.Order", ORDER_TEXT)
    assert (await decode(decoder, framed(1, b"\0\x0a\1a")))["text"] == '{"text": "a"}'
    assert (await decode(decoder, framed(1, b"\4\2\0\x0a\1b")))["name"] == "shop.Order.Part"
    assert await error(decoder, framed(1, b"\2\6")) == "schema 1: it has no message with the indexes [3]"
    assert "schema 1: these bytes do not fit it" in await error(decoder, framed(1, b"\2\2\x0a\xff"))


def order_file():
    file = FileDescriptorProto(name="elsewhere.proto", package="shop", syntax="proto3")
    file.dependency.extend(["google/protobuf/timestamp.proto", "shop/line.proto"])
    file.message_type.add(name="First").field.add(name="text", number=1, type=FieldDescriptorProto.TYPE_STRING, label=1)
    order = file.message_type.add(name="Order")
    order.nested_type.add(name="Part").field.add(name="name", number=1, type=FieldDescriptorProto.TYPE_STRING, label=1)
    order.field.add(name="id", number=1, type=FieldDescriptorProto.TYPE_INT64, label=1)
    for name, number, kind in (("at", 2, ".google.protobuf.Timestamp"), ("line", 3, ".shop.Line")):
        message = FieldDescriptorProto.TYPE_MESSAGE
        order.field.add(name=name, number=number, type=message, type_name=kind, label=1)
    return serialized(file)


def line_file():
    file = FileDescriptorProto(name="line.proto", package="shop", syntax="proto3")
    file.message_type.add(name="Line").field.add(name="sku", number=1, type=FieldDescriptorProto.TYPE_STRING, label=1)
    return serialized(file)


async def test_files_that_registries_have_built_in_need_no_reference(fake, decoder):
    file = FileDescriptorProto(name="a.proto", package="shop", syntax="proto3")
    file.dependency.extend(["confluent/meta.proto", "confluent/type/decimal.proto"])
    kind = FieldDescriptorProto.TYPE_MESSAGE
    file.message_type.add(name="Sum").field.add(
        name="amount", number=1, type=kind, type_name=".confluent.type.Decimal", label=1
    )
    fake.add(1, serialized(file), "PROTOBUF")
    decoded = await decode(decoder, framed(1, b"\0\x0a\4\x0a\2\1\2"))
    assert json.loads(decoded["text"]) == {"amount": {"value": "AQI=", "precision": 0, "scale": 0}}


async def test_an_import_that_the_registry_did_not_give_is_named(fake, decoder):
    fake.add(1, serialized(FileDescriptorProto(name="a.proto", dependency=["other.proto"])), "PROTOBUF")
    expected = "schema 1: it imports other.proto, which the registry did not give"
    assert await error(decoder, framed(1, b"\0")) == expected


async def test_source_of_protobuf_names_only_files_below_its_directory(fake, decoder):
    pytest.importorskip("grpc_tools")
    fake.add(1, SOURCE, "PROTOBUF", [("../../line.proto", "line", 1)])
    fake.add_subject("line", 1, LINE_SOURCE)
    assert "'../../line.proto', which is not the name of a .proto file" in await error(decoder, framed(1, b"\0"))
    fake.add(2, 'syntax = "proto3"; nonsense', "PROTOBUF")
    assert "schema 2: protoc refuses it: kwire_main.proto:1:" in await error(decoder, framed(2, b"\0"))


async def test_a_json_value_is_shown_as_it_was_written(fake, decoder):
    fake.add(1, {"title": "Customer"}, "JSON")
    decoded = await decode(decoder, framed(1, b'{"n":  1.50}'))
    assert decoded == {"schema": 1, "type": "JSON", "name": "Customer", "text": '{"n":  1.50}'}
    assert "schema 1: these bytes do not fit it" in await error(decoder, framed(1, b'{"n":'))


async def test_bytes_that_do_not_fit_their_schema_give_one_sentence(fake, decoder):
    fake.add(1, ORDER, references=[("shop.Line", "line", 3)])
    fake.add_subject("line", 3, json.dumps(LINE))
    content = avro(ORDER, VALUE, LINE)
    for end in range(len(content) - 1):
        assert (await error(decoder, framed(1, content[:end]))).startswith("schema 1: these bytes do not fit it: ")


@pytest.mark.parametrize(
    ("schema", "kind", "sentence"),
    [
        ("{", None, "it is not an Avro schema"),
        ('{"type": "unheard"}', None, "it is not an Avro schema"),
        ("[" * 5000, None, "it is not an Avro schema"),
        ("{", "JSON", "it is not a JSON Schema"),
        ("a", "XML", "its type XML is not one of AVRO, PROTOBUF, JSON"),
    ],
)
async def test_a_schema_that_cannot_be_used_is_asked_for_once(fake, decoder, schema, kind, sentence):
    fake.add(1, schema, kind)
    assert sentence in await error(decoder, framed(1, b"x"))
    assert sentence in await error(decoder, framed(1, b"y"))


async def test_a_schema_is_asked_for_once_and_the_last_ones_are_kept(fake, decoder):
    for number in range(1, COMPILED_MAX + 2):
        fake.add(number, '"int"')
        await decode(decoder, framed(number, b"\2"))
        assert (await decode(decoder, framed(number, b"\4")))["text"] == "2"
    assert len(fake.asked) == COMPILED_MAX + 1
    assert decoder.knows(COMPILED_MAX + 1)
    assert not decoder.knows(1)
