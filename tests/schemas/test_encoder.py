"""Keys and values of JSON text: Avro, Protobuf, JSON Schema."""

import json

import pytest
from fake_registry import FakeRegistry, framed, serialized

from kwire.schemas.framing import find_schema
from kwire.schemas.problems import SchemaError
from kwire.schemas.registry import Registry

pytest.importorskip("fastavro")
pytest.importorskip("google.protobuf")

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from kwire.schemas.cache import CompiledSchemas
from kwire.schemas.decoder import Decoder
from kwire.schemas.encoder import Encoder

LINE = {"type": "record", "name": "Line", "namespace": "shop", "fields": [{"name": "sku", "type": "string"}]}
ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["OPEN", "PAID"]}, "default": "OPEN"},
        {"name": "line", "type": ["null", "shop.Line"], "default": None},
        {"name": "lines", "type": {"type": "array", "items": "shop.Line"}, "default": []},
        {"name": "notes", "type": {"type": "map", "values": ["int", "string"]}, "default": {}},
    ],
}

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}


@pytest.fixture
def fake():
    return FakeRegistry()


class Both:
    """Encodes and decodes by one registry."""

    def __init__(self, fake):
        registry = Registry("registry http://r", fake.fetch)
        schemas = CompiledSchemas(registry)
        self.encoder, self.decoder = Encoder(schemas, registry), Decoder(schemas)

    async def encode(self, text, message=None, number=1):
        return await self.encoder.encode(number, message, text)

    async def there_and_back(self, text, message=None):
        decoded = await self.decoder.decode(find_schema(await self.encode(text, message), None))
        return decoded["text"]

    async def error(self, text, message=None):
        with pytest.raises(SchemaError) as error:
            await self.encode(text, message)
        return str(error.value)


@pytest.fixture
def both(fake):
    return Both(fake)


@pytest.fixture
def orders(fake, both):
    fake.add(1, ORDER, references=[("shop.Line", "line", 3)])
    fake.add_subject("line", 3, json.dumps(LINE))
    return both


async def test_an_avro_record_with_the_defaults_of_fields_that_are_left_out(orders):
    given = {"id": 2**60 + 1, "line": {"sku": "tea"}, "notes": {"a": 1, "b": "x"}}
    written = json.loads(await orders.there_and_back(json.dumps(given)))
    assert written == {**given, "status": "OPEN", "lines": []}
    assert (await orders.encode('{"id": 1}'))[:5] == framed(1, b"")


async def test_a_branch_of_a_union_may_be_named_as_in_the_json_of_avro(orders):
    text = '{"id": 1, "line": {"shop.Line": {"sku": "tea"}}, "notes": {"a": {"string": "5"}, "b": {"int": 5}}}'
    written = json.loads(await orders.there_and_back(text))
    assert (written["line"], written["notes"]) == ({"sku": "tea"}, {"a": "5", "b": 5})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "the value is not JSON: Expecting property name"),
        ("5", "it is 5; an object for the record shop.Order is needed"),
        ("{}", "id is missing, and it has no default"),
        ('{"id": "5"}', 'id is "5"; a whole number of 64 bits is needed'),
        ('{"id": true}', "id is true; a whole number of 64 bits is needed"),
        ('{"id": 5.5}', "id is 5.5; a whole number of 64 bits is needed"),
        (f'{{"id": {2**63}}}', f"id is {2**63}; a whole number of 64 bits is needed"),
        ('{"id": 5, "Id": 5}', "it has a field Id; the fields of shop.Order are id, status, line, lines, notes"),
        ('{"id": 5, "status": "GONE"}', 'status is "GONE"; one of OPEN, PAID is needed'),
        ('{"id": 5, "line": {"sku": 1}}', "line.sku is 1; a text is needed"),
        ('{"id": 5, "line": {}}', "line.sku is missing, and it has no default"),
        ('{"id": 5, "lines": [{"sku": "a"}, {"sku": null}]}', "lines[1].sku is null; a text is needed"),
        ('{"id": 5, "lines": {}}', "lines is {}; an array is needed"),
        ('{"id": 5, "notes": {"a": 1.5}}', "notes['a'] is 1.5; one of int, string is needed"),
        ('{"id": 5, "notes": {"a": {"int": "x"}}}', "notes['a'].int is \"x\"; a whole number of 32 bits is needed"),
    ],
)
async def test_the_field_that_does_not_fit_is_named(orders, text, sentence):
    assert sentence in await orders.error(text)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("null", "null"),
        ("boolean", "true"),
        ("int", str(-(2**31))),
        ("double", "1.5"),
        ("float", '"nan"'),
        ("double", '"-inf"'),
        ("string", '"Åse"'),
        ("bytes", '"\\u0000ÿ"'),
        ({"type": "fixed", "name": "F", "size": 2}, '"aÿ"'),
        ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, '"-1234.50"'),
        ({"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 6, "scale": 2}, '"0.05"'),
        ({"type": "int", "logicalType": "date"}, '"2026-01-31"'),
        ({"type": "int", "logicalType": "time-millis"}, '"12:34:56.789000"'),
        ({"type": "long", "logicalType": "time-micros"}, '"12:34:56.789012"'),
        ({"type": "long", "logicalType": "timestamp-millis"}, '"2026-01-31T12:00:00.005000+00:00"'),
        ({"type": "long", "logicalType": "timestamp-micros"}, '"1969-12-31T23:59:59.999999+00:00"'),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, '"2026-01-31T12:00:00"'),
        ({"type": "string", "logicalType": "uuid"}, '"6f8a4f0e-3c47-4a9e-8a0e-5b2b4b7c9d10"'),
        (["null", "int", {"type": "array", "items": "int"}], "[1, 2]"),
        (["string", {"type": "long", "logicalType": "timestamp-millis"}], '"2026"'),
    ],
)
async def test_what_is_shown_of_an_avro_value_can_be_written(fake, both, schema, text):
    fake.add(1, json.dumps(schema))
    assert await both.there_and_back(text) == text


@pytest.mark.parametrize(
    ("schema", "text", "shown"),
    [
        ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, "0.1", '"0.10"'),
        ({"type": "int", "logicalType": "date"}, "1", '"1970-01-02"'),
        ({"type": "long", "logicalType": "timestamp-millis"}, '"1970-01-01T00:00:01"', '"1970-01-01T00:00:01+00:00"'),
        ({"type": "long", "logicalType": "timestamp-millis"}, '"1970-01-01T01:00:00+01:00"', None),
        ({"type": "long", "logicalType": "timestamp-millis"}, "0", '"1970-01-01T00:00:00+00:00"'),
        ("double", "1", "1.0"),
    ],
)
async def test_other_texts_and_numbers_for_a_logical_type(fake, both, schema, text, shown):
    fake.add(1, json.dumps(schema))
    assert await both.there_and_back(text) == (shown or '"1970-01-01T00:00:00+00:00"')


@pytest.mark.parametrize(
    ("schema", "text", "sentence"),
    [
        (DECIMAL, '"100.00"', "a decimal of 4 digits"),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
            "0.001",
            "2 of them behind the point",
        ),
        (DECIMAL, '"x"', "a decimal of 4 digits"),
        (DECIMAL, '"NaN"', "a decimal of 4 digits"),
        ({"type": "int", "logicalType": "date"}, '"tomorrow"', "a date such as 2026-01-31, or a number, is needed"),
        ({"type": "int", "logicalType": "date"}, "1.5", "a whole number of 32 bits"),
        ({"type": "string", "logicalType": "uuid"}, '"a"', "a UUID is needed"),
        ({"type": "fixed", "name": "F", "size": 2}, '"a"', "a text of 2 characters"),
        ("bytes", '"€"', "a text of characters up to U+00FF (one for each byte) is needed"),
        ("bytes", "5", "a text of characters"),
        ("null", "5", "null is needed"),
        ("double", '"1.5"', "a number is needed"),
        ("string", '["' + "long" * 99 + '"]', "…; a text is needed"),
    ],
)
async def test_a_value_that_does_not_fit_its_type(fake, both, schema, text, sentence):
    fake.add(1, json.dumps(schema))
    error = await both.error(text)
    assert sentence in error
    assert error.startswith("schema 1: it is ")
    assert len(error) < 200


async def test_a_value_that_is_nested_too_deep_gives_one_sentence(fake, both):
    fake.add(1, {"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"]}]})
    assert await both.there_and_back('{"n": {"n": null}}') == '{"n": {"n": null}}'
    assert "too much memory" in await both.error('{"n":' * 5000 + "null" + "}" * 5000)


def payment_file():
    file = FileDescriptorProto(name="payment.proto", package="shop", syntax="proto3")
    file.message_type.add(name="First").field.add(name="text", number=1, type=FieldDescriptorProto.TYPE_STRING, label=1)
    payment = file.message_type.add(name="Payment")
    payment.field.add(name="amount", number=1, type=FieldDescriptorProto.TYPE_INT64, label=1)
    entry = payment.nested_type.add(name="TagsEntry")
    entry.options.map_entry = True
    for number, name in enumerate(("key", "value"), 1):
        entry.field.add(name=name, number=number, type=FieldDescriptorProto.TYPE_STRING, label=1)
    payment.field.add(
        name="tags", number=2, type=FieldDescriptorProto.TYPE_MESSAGE, type_name=".shop.Payment.TagsEntry", label=3
    )
    payment.nested_type.add(name="Card").field.add(
        name="owner", number=1, type=FieldDescriptorProto.TYPE_STRING, label=1
    )
    return serialized(file)


async def test_a_protobuf_message_by_its_name_or_the_first(fake, both):
    fake.add(1, payment_file(), "PROTOBUF")
    assert await both.encode('{"text": "a"}') == framed(1, b"\0\x0a\1a")
    assert await both.encode('{"amount": 5}', "shop.Payment") == framed(1, b"\2\2\x08\5")
    assert await both.encode('{"owner": "Ana"}', "shop.Payment.Card") == framed(1, b"\4\2\2\x0a\3Ana")
    assert await both.there_and_back('{"amount": "9007199254740993", "tags": {"a": "b"}}', "shop.Payment") == (
        '{"amount": "9007199254740993", "tags": {"a": "b"}}'
    )


@pytest.mark.parametrize(
    ("text", "message", "sentence"),
    [
        ('{"amount": "x"}', "shop.Payment", "Failed to parse amount field"),
        ('{"amont": 5}', "shop.Payment", 'has no field named "amont"'),
        ("{", "shop.Payment", "Failed to load JSON"),
        ("{}", "Payment", "it has no message Payment; its messages are shop.First, shop.Payment, shop.Payment.Card"),
    ],
)
async def test_what_does_not_fit_a_protobuf_message_is_named(fake, both, text, message, sentence):
    fake.add(1, payment_file(), "PROTOBUF")
    assert sentence in await both.error(text, message)


async def test_a_json_value_is_written_as_it_is_given_if_it_fits(fake, both):
    pytest.importorskip("jsonschema")
    line = {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}
    fake.add(1, {"properties": {"lines": {"items": {"$ref": "line.json"}}}}, "JSON", [("line.json", "line", 1)])
    fake.add_subject("line", 1, json.dumps(line))
    assert await both.encode('{"lines":  [{"sku": "a"}]}') == framed(1, b'{"lines":  [{"sku": "a"}]}')
    assert await both.error('{"lines": [{"sku": "a"}, {"sku": 5}]}') == (
        "schema 1: lines[1].sku: 5 is not of type 'string'"
    )
    assert "'sku' is a required property" in await both.error('{"lines": [{}]}')
    assert "the value is not JSON" in await both.error("{")
    assert "NaN is not a number of JSON" in await both.error('{"lines": [], "total": NaN}')
    assert "-Infinity is not a number of JSON" in await both.error("-Infinity")


async def test_a_json_schema_of_another_draft_and_one_that_is_none(fake, both):
    pytest.importorskip("jsonschema")
    fake.add(1, {"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [{"const": 1}]}, "JSON")
    assert "[0]: 1 was expected" in await both.error("[2]")
    fake.add(2, {"type": 5}, "JSON")
    with pytest.raises(SchemaError, match="schema 2: it is not a JSON Schema"):
        await both.encode("[2]", number=2)


async def test_a_reference_that_the_registry_did_not_give_is_not_fetched_from_elsewhere(fake, both):
    pytest.importorskip("jsonschema")
    fake.add(1, {"$ref": "http://127.0.0.1:9/other.json"}, "JSON")
    assert "this value does not fit it: Unresolvable: http://127.0.0.1:9/other.json" in await both.error("1")


async def test_a_message_is_chosen_in_protobuf_only(fake, both):
    fake.add(1, '"int"')
    assert await both.error("1", "shop.Order") == "schema 1: a message is chosen in Protobuf only, and it is AVRO"


async def test_a_schema_is_found_by_its_subject_and_version(fake, both):
    fake.schemas["/subjects/s%2Fvalue/versions/latest"] = {"id": 9, "schema": '"int"'}
    fake.schemas["/subjects/s%2Fvalue/versions/1"] = {"id": 7, "schema": '"int"'}
    find = both.encoder.find
    assert (await find({"subject": "s/value"}), await find({"subject": "s/value", "version": 1})) == (9, 7)
    with pytest.raises(SchemaError, match="registry http://r does not have s/value/versions/2"):
        await find({"subject": "s/value", "version": 2})
    fake.schemas["/subjects/s%2Fvalue/versions/2"] = {"id": 8, "schema": '"int"'}
    assert await find({"subject": "s/value", "version": 2}) == 8
    fake.schemas["/subjects/bad/versions/latest"] = {"id": "8", "schema": '"int"'}
    with pytest.raises(SchemaError, match="registry http://r answered without the id of a schema"):
        await find({"subject": "bad"})


async def test_an_answer_of_the_registry_ends_the_memory_of_its_failure(fake):
    answers = [(503, b"")]

    async def fetch(path):
        return answers.pop() if answers else fake.answer(path)

    registry = Registry("registry http://r", fetch)
    fake.add(5, '"int"')
    fake.schemas["/subjects/s/versions/latest"] = {"id": 5, "schema": '"int"'}
    for _ in range(2):
        with pytest.raises(SchemaError, match="503"):
            await registry.load(5)
    assert await registry.find("s", None) == 5
    assert (await registry.load(5)).text == '"int"'
