"""Seeds from Avro files."""

import json
from decimal import Decimal

import pytest

from kwire.control.seeding.seed_error import SeedError
from kwire.control.seeding.seeds import load_document, read_seed
from kwire.testing import KafkaBroker

fastavro = pytest.importorskip("fastavro")

SCHEMA = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "cents", "type": "long"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "raw", "type": "bytes"},
    ],
}
ORDERS = [
    {"id": "a", "cents": 120, "price": Decimal("1.20"), "note": None, "raw": b"\xff"},
    {"id": "b", "cents": 5, "price": Decimal("0.05"), "note": "ä", "raw": b""},
]


@pytest.fixture
def seed(tmp_path):
    """Writes the file and a seed that names it; returns what ``load_document`` reads."""

    def write(avro=None, records="orders.avro", values=ORDERS, schema=SCHEMA):
        with (tmp_path / "orders.avro").open("wb") as file:
            fastavro.writer(file, schema, values, codec="deflate")
        topic = {"records": records, **({} if avro is None else {"avro": avro})}
        (tmp_path / "seed.json").write_text(json.dumps({"topics": {"orders": topic}}))
        return load_document(str(tmp_path / "seed.json"))

    return write


def records(document):
    return read_seed(document).topics[0].records


def test_values_become_json(seed):
    first, second = records(seed())
    assert first.key is None
    assert json.loads(first.value) == {"id": "a", "cents": 120, "price": "1.20", "note": None, "raw": "ÿ"}
    assert json.loads(second.value)["note"] == "ä"


def test_a_field_becomes_the_key(seed):
    assert [each.key for each in records(seed({"key": "id"}))] == [b"a", b"b"]
    assert [each.key for each in records(seed({"key": "cents"}))] == [b"120", b"5"]
    assert [each.key for each in records(seed({"key": "raw"}))] == [b"\xff", b""]


def test_values_become_avro_that_the_schema_reads(seed, tmp_path):
    import io

    plain = records(seed({"value": "avro"}))[0].value
    assert fastavro.schemaless_reader(io.BytesIO(plain), SCHEMA, None) == ORDERS[0]
    framed = records(seed({"value": "avro", "schema_id": 258}))[0].value
    assert framed == b"\0\0\0\1\2" + plain


def test_values_are_resolved_to_the_schema_of_a_file(seed, tmp_path):
    fields = [{"name": "cents", "type": "double"}, {"name": "currency", "type": "string", "default": "EUR"}]
    (tmp_path / "order.avsc").write_text(json.dumps({**SCHEMA, "fields": fields}))
    first, _ = records(seed({"schema": "order.avsc"}))
    assert json.loads(first.value) == {"cents": 120.0, "currency": "EUR"}


def test_a_broker_is_seeded_from_an_avro_file(seed, tmp_path):
    seed({"key": "id"})
    with KafkaBroker() as kafka:
        kafka.seed(str(tmp_path / "seed.json"))
        assert [each["key"] for each in kafka.records("orders")] == ["a", "b"]


@pytest.mark.parametrize(
    ("avro", "sentence"),
    [
        ([], "avro is an object with"),
        ({"keys": "id"}, "avro has no 'keys'"),
        ({"key": 1}, "key of avro is a text"),
        ({"key": "other"}, "value 1 has no field 'other'"),
        ({"value": "xml"}, "value of avro is json or avro"),
        ({"value": "avro", "schema_id": -1}, "schema_id of avro is a whole number"),
        ({"schema_id": 1}, 'schema_id of avro is for "value": "avro"'),
        ({"schema": "none.avsc"}, "cannot read .*none.avsc"),
        ({"schema": "bad.avsc"}, "bad.avsc is no Avro schema"),
        ({"schema": "other.avsc"}, "as Avro"),
    ],
)
def test_invalid_requests_are_one_sentence(seed, tmp_path, avro, sentence):
    (tmp_path / "bad.avsc").write_text('{"type": "nothing"}')
    (tmp_path / "other.avsc").write_text('"string"')
    with pytest.raises(SeedError, match=sentence):
        seed(avro)


def test_a_file_that_is_not_avro_is_one_sentence(seed, tmp_path):
    seed()
    (tmp_path / "orders.avro").write_bytes(b"not Avro")
    with pytest.raises(SeedError, match=r"cannot read .*orders.avro as Avro"):
        load_document(str(tmp_path / "seed.json"))
    (tmp_path / "orders.avro").unlink()
    with pytest.raises(SeedError, match=r"cannot read .*orders.avro: No such file"):
        load_document(str(tmp_path / "seed.json"))


def test_options_of_avro_need_an_avro_file(seed, tmp_path):
    (tmp_path / "orders.jsonl").write_text('{"value": "x"}\n')
    with pytest.raises(SeedError, match=r"ends with \.avro"):
        seed({"key": "id"}, records="orders.jsonl")
