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
            producer.send("orders", framed(1, b"\x0a"), key=b"k").get(20)
            producer.send("orders", framed(9, b"\x0a")).get(20)
            producer.send("orders", b"text").get(20)
        yield running


@pytest.fixture(scope="module")
def registry():
    fake = FakeRegistry()
    fake.add(1, '"int"')
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
