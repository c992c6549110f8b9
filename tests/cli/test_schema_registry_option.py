"""--schema-registry of kwire serve and kwire consume."""

import json

import pytest
from click.testing import CliRunner
from fake_registry import FakeRegistry, framed, served

from kwire.cli import schema_registry_option
from kwire.cli.main import main
from kwire.testing import KafkaBroker

pytest.importorskip("fastavro")
pytest.importorskip("httpx2")


@pytest.fixture(scope="module")
def broker():
    with KafkaBroker(topics={"orders": 1}) as running:
        from kafka import KafkaProducer

        with KafkaProducer(bootstrap_servers=running.bootstrap_servers) as producer:
            producer.send("orders", framed(1, b"\x0a"), key=b"k").get(150)
            producer.send("orders", framed(9, b"\x0a")).get(150)
            producer.send("orders", b"text").get(150)
        yield running


@pytest.fixture(scope="module")
def registry():
    fake = FakeRegistry()
    fake.add(1, '"int"')
    fake.schemas["/subjects/numbers/versions/latest"] = {"id": 1, "schema": '"int"'}
    with served(fake) as url:
        yield url


def consume(broker, *arguments):
    command = ["consume", "orders", "-b", broker.bootstrap_servers, "--from-beginning", "--until-end", *arguments]
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 0, ended.output
    return ended


def test_consume_prints_what_values_are_and_notes_why_not(broker, registry):
    ended = consume(broker, "--schema-registry", registry)
    assert ended.stdout_bytes == b"5\n" + framed(9, b"\x0a") + b"\ntext\n"
    assert f"schema 9: registry {registry} does not have it" in ended.stderr


def test_consume_formats_decoded_records(broker, registry):
    assert consume(broker, "--schema-registry", registry, "--format", "%k=%s ").stdout.startswith("k=5 ")


def test_consume_json_has_bytes_and_texts(broker, registry):
    lines = consume(broker, "--schema-registry", registry, "--json").stdout.splitlines()
    first, unknown, text = (json.loads(line) for line in lines)
    assert first["decoded"] == {"value": {"schema": 1, "type": "AVRO", "name": "int", "text": "5"}}
    assert first["value"] == framed(1, b"\x0a").decode()
    assert "does not have it" in unknown["decoded"]["value"]["error"]
    assert "decoded" not in text


def refused(*arguments):
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code != 0
    return ended.output


def test_options_that_cannot_be_are_refused_with_one_sentence(monkeypatch, tmp_path):
    url = ("--schema-registry", "http://localhost:8081")
    assert "--schema-registry is for --console or --control" in refused("serve", *url)
    assert "is such as http://localhost:8081" in refused("consume", "t", "--schema-registry", "localhost")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("no certificate")
    monkeypatch.setenv("KWIRE_SCHEMA_REGISTRY_CA", str(ca_file))
    assert "KWIRE_SCHEMA_REGISTRY_CA" in refused("consume", "t", *url)
    monkeypatch.delenv("KWIRE_SCHEMA_REGISTRY_CA")
    monkeypatch.setenv("KWIRE_SCHEMA_REGISTRY_TOKEN", "some.token")
    assert "a token, not both" in refused("consume", "t", "--schema-registry", "http://ana:secret@localhost")
    monkeypatch.setattr(schema_registry_option, "_NEEDED", ("fastavro", "no_such_package"))
    assert "pip install 'kwire[schemas]' (no_such_package)" in refused("serve", "--console", *url)


def produce(broker, *arguments):
    return CliRunner().invoke(main, ["produce", "written", "-b", broker.bootstrap_servers, *arguments])


def last_of(broker, count):
    return [(each["key"], each["value"]) for each in broker.records("written", last=count)]


def test_produce_encodes_by_the_latest_schema_of_a_subject(broker, registry):
    by = ["--schema-registry", registry]
    assert produce(broker, *by, "--value-schema", "numbers", "1", "2").exit_code == 0
    both = ["--key-schema", "1", "--value-schema", "numbers"]
    assert produce(broker, *by, *both, "--key", "3", "4").exit_code == 0
    lines = ['{"key": 5, "value": null}', '{"key": 6, "value": 7}']
    assert produce(broker, *by, *both, "--json", *lines).exit_code == 0
    one, two, three, four, five, six, seven = (framed(1, bytes([2 * number])).decode() for number in range(1, 8))
    assert last_of(broker, 5) == [(None, one), (None, two), (three, four), (five, None), (six, seven)]


def test_produce_names_the_line_that_does_not_fit_and_sends_those_before(broker, registry):
    ended = produce(broker, "--schema-registry", registry, "--value-schema", "numbers", "8", "nine", "10")
    assert ended.exit_code == 1
    assert "line 2, value: schema 1: the value is not JSON" in ended.stderr
    assert "1 record sent before it" in ended.stderr
    assert last_of(broker, 1) == [(None, framed(1, b"\x10").decode())]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--value-schema", "gone", "1"], "line 1, value: registry URL does not have gone/versions/latest"),
        (["--value-schema", "1", "--value-message", "M", "1"], "a message is chosen in Protobuf only, and it is AVRO"),
        (["--key-schema", "1", "--key", "x", "1"], "--key: schema 1: the value is not JSON"),
        (["--key-message", "M", "1"], "--key-message is for --key-schema"),
        (["--value-schema", "", "1"], "--value-schema must not be empty"),
        (["--key-schema", "1", "--key-message", "", "1"], "--key-message must not be empty"),
    ],
)
def test_produce_refuses_a_schema_that_cannot_be_used(broker, registry, arguments, sentence):
    ended = produce(broker, "--schema-registry", registry, *arguments)
    assert ended.exit_code != 0
    assert sentence.replace("URL", registry) in ended.stderr


def test_produce_needs_a_registry_for_a_schema(broker):
    assert "need --schema-registry" in produce(broker, "--value-schema", "numbers", "1").stderr
