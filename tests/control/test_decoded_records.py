"""Keys and values over HTTP, decoded by the schemas of a registry."""

import base64
import http.client
import json

import pytest
from fake_registry import FakeRegistry, framed, served
from test_http import Running

from kwire.control import records as records_module
from kwire.schemas.address import read_address

pytest.importorskip("fastavro")
pytest.importorskip("httpx2")

ENUM = {"type": "enum", "name": "Status", "symbols": ["OPEN", "PAID"]}
OPEN, PAID = framed(1, b"\0"), framed(1, b"\2")
SHOWN = {"schema": 1, "type": "AVRO", "name": "Status"}


@pytest.fixture(scope="module")
def shared():
    fake = FakeRegistry()
    fake.add(1, ENUM)
    fake.schemas["/subjects/status/versions/latest"] = {"id": 1, "schema": json.dumps(ENUM)}
    with served(fake) as url, Running(registry=read_address(url.replace("//", "//ana:secret@"))) as running:
        running.url = url
        yield running


@pytest.fixture
def control(shared):
    shared.ask("POST", "/v1/reset")
    shared.ask("POST", "/v1/topics", {"name": "orders", "partitions": 2})
    return shared


def write(control, *values, **fields):
    given = [{"value": {"base64": base64.b64encode(value).decode()}, "partition": 0, **fields} for value in values]
    status, answer = control.ask("POST", "/v1/topics/orders/records", {"records": given})
    assert status == 201, answer


def ask(control, path):
    status, answer = control.ask("GET", path)
    assert status == 200, answer
    return answer


def test_records_have_what_their_keys_and_values_are(control):
    write(control, PAID, key={"base64": base64.b64encode(OPEN).decode()})
    write(control, b"text", framed(9, b""))
    first, text, unknown = ask(control, "/v1/topics/orders/records")
    assert first["decoded"] == {"key": {**SHOWN, "text": '"OPEN"'}, "value": {**SHOWN, "text": '"PAID"'}}
    assert first["value"] == PAID.decode()
    assert "decoded" not in text
    error = f"schema 9: registry {control.url} does not have it"
    assert unknown["decoded"] == {"value": {"schema": 9, "error": error}}


def test_the_registry_is_shown_without_its_password(control):
    assert ask(control, "/v1/broker")["schema_registry"] == control.url


def test_a_search_finds_decoded_texts(control):
    write(control, *[OPEN, PAID, b"PAID in text"] * 3)
    found = ask(control, "/v1/topics/orders/search?text=PAID")
    assert [each["offset"] for each in found["records"]] == [1, 2, 4, 5, 7, 8]
    assert found["records"][0]["decoded"]["value"]["text"] == '"PAID"'
    assert (found["scanned"], found["next"]) == (9, {})


def test_a_search_in_decoded_texts_stops_and_says_where_it_goes_on(control, monkeypatch):
    write(control, *[OPEN, PAID] * 5)
    write(control, PAID, partition=1)
    first = ask(control, "/v1/topics/orders/search?text=PAID&last=2")
    assert ([each["offset"] for each in first["records"]], first["next"]) == ([1, 3], {"0": 4, "1": 0})
    monkeypatch.setattr(records_module, "SCANNED_DECODED_MAX", 3)
    second = ask(control, "/v1/topics/orders/search?text=OPEN&partition=0&offset=4")
    assert ([each["offset"] for each in second["records"]], second["scanned"]) == ([4, 6], 3)
    assert second["next"] == {"0": 7}


def test_the_live_tail_has_decoded_records(control):
    connection = http.client.HTTPConnection("127.0.0.1", control.port, timeout=150)
    try:
        connection.request("GET", "/v1/topics/orders/records/stream")
        answer = connection.getresponse()
        assert answer.readline() == b": records from now on\n"
        write(control, PAID)
        lines = iter(lambda: answer.readline().decode().strip(), None)
        event = next(line for line in lines if line.startswith("data: "))
    finally:
        connection.close()
    assert json.loads(event.removeprefix("data: "))["decoded"]["value"]["text"] == '"PAID"'


def test_kwire_ctl_shows_decoded_records(control):
    from click.testing import CliRunner

    from kwire.cli.main import main

    write(control, PAID)
    shown = CliRunner().invoke(main, ["ctl", "--url", f"http://127.0.0.1:{control.port}", "records", "orders"])
    assert '\\"PAID\\"' in shown.output, shown.output


def produce(control, *records, **choices):
    return control.ask("POST", "/v1/topics/orders/records", {"records": list(records), **choices})


def test_records_are_written_by_the_latest_schema_of_a_subject(control):
    given = [{"key": "OPEN", "value": "PAID", "partition": 0}, {"key": None, "value": None, "partition": 0}]
    status, written = produce(control, *given, key_schema={"id": 1}, value_schema={"subject": "status"})
    assert (status, written) == (201, [{"partition": 0, "offset": 0}, {"partition": 0, "offset": 1}])
    first, tombstone = ask(control, "/v1/topics/orders/records")
    assert first["decoded"] == {"key": {**SHOWN, "text": '"OPEN"'}, "value": {**SHOWN, "text": '"PAID"'}}
    assert (first["value"], tombstone["key"], tombstone["value"]) == (PAID.decode(), None, None)


@pytest.mark.parametrize(
    ("records", "choices", "sentence"),
    [
        (
            [{"value": None}, {"value": "PAID"}, {"value": "GONE"}],
            {"value_schema": {"subject": "status"}},
            'record 3, value: schema 1: it is "GONE"; one of OPEN, PAID is needed',
        ),
        (
            [{"key": 5, "value": "a"}],
            {"key_schema": {"id": 1}},
            "record 1, key: schema 1: it is 5; one of OPEN, PAID is needed",
        ),
        ([{"value": 5}], {"value_schema": {"subject": "gone"}}, "registry URL does not have gone/versions/latest"),
        ([{"value": 5}], {"value_schema": {"id": 9}}, "record 1, value: schema 9: registry URL does not have it"),
        ([{"value": 5}], {"value_schema": "status"}, 'value_schema is an object such as {"subject": "orders-value"}'),
    ],
)
def test_nothing_is_written_if_a_record_does_not_fit(control, records, choices, sentence):
    status, answer = produce(control, *records, **choices)
    assert status == 400
    assert answer["error"].startswith(sentence.replace("URL", control.url))
    assert ask(control, "/v1/topics/orders/records") == []


def test_a_broker_without_a_registry_refuses_to_write_by_a_schema():
    with Running() as running:
        running.ask("POST", "/v1/topics", {"name": "orders", "partitions": 1})
        status, answer = produce(running, {"value": 5}, value_schema={"id": 1})
        assert (status, answer["error"]) == (
            400,
            "this broker has no schema registry: start it with --schema-registry",
        )
        assert produce(running, {"value": "a"}, value_schema=None)[0] == 201
