"""`kwire selfcheck`, against kwire and against brokers with wrong answers."""

from __future__ import annotations

import json
from contextlib import closing
from importlib import import_module

import pytest
from click.testing import CliRunner
from fake_broker import CLOSE, SILENT, fake_broker
from kafka import KafkaAdminClient

from kwire.api import ROWS
from kwire.cli.diagnosis.probe_requests import probe_request
from kwire.cli.main import main
from kwire.wire import codec, spec
from kwire.wire.messages import DescribeClusterResponse, HeartbeatResponse

OF_BROKERS = [key for key in codec.api_keys() if "broker" in spec.load(codec.request_class(key).NAME).listeners]
API_VERSIONS, HEARTBEAT, DESCRIBE_CLUSTER = 18, 12, 60


def selfcheck(address, *arguments):
    return CliRunner().invoke(main, ["selfcheck", address, "--timeout", "5", *arguments])


@pytest.mark.parametrize("key", OF_BROKERS, ids=lambda key: codec.request_class(key).NAME)
def test_each_version_that_a_broker_may_advertise_has_a_request_body(key):
    cls = codec.request_class(key)
    for version in range(cls.VERSIONS.lowest, cls.VERSIONS.highest + 1):
        request = probe_request(key, version)
        frame = memoryview(codec.encode_request(key, version, 1, "test", request))[4:]

        assert codec.decode_request(codec.read_header(frame), frame) is not None


def test_a_request_of_an_api_between_controllers_is_not_made():
    assert probe_request(52, 0) is None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_probes_name_fields_that_exist_and_shared_ones_only_where_they_fit(row):
    fields = {field.name for field in spec.load(f"{row.name}Request").fields}
    shared = {"group_id", "member_id", "generation_id", "generation_id_or_member_epoch", "member_epoch"}

    assert set(import_module(row.module).PROBE) - shared <= fields


@pytest.mark.kafka(topics={"orders": 2})
def test_kwire_answers_every_advertised_version_and_is_not_changed(kafka):
    first = selfcheck(kafka.bootstrap_servers)
    again = selfcheck(kafka.bootstrap_servers, "--json")

    assert first.exit_code == 0, first.output
    assert "versions are answered" in first.output
    outcomes = json.loads(again.stdout)["versions"]  # on stderr the broker may report that its event loop was held
    assert {outcome["outcome"] for outcome in outcomes} == {"answered", "not asked"}
    assert {outcome["request"] for outcome in outcomes if outcome["outcome"] == "not asked"} == {"Produce"}
    assert "UNKNOWN_SERVER_ERROR" not in again.output
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)) as admin:
        assert {topic for topic in admin.list_topics() if not topic.startswith("__")} == {"orders"}
        assert admin.list_groups() == []


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        (CLOSE, "closed", "the broker closes the connection"),
        (SILENT, "silent", "not answered within 5 s"),
        (b"\0", "garbled", "bytes that do not decode"),
        (HeartbeatResponse(error_code=35), "denied", "UNSUPPORTED_VERSION"),
    ],
    ids=["closed", "silent", "garbled", "denied"],
)
def test_a_version_that_is_advertised_and_not_answered_is_named(answer, outcome, detail):
    versions = {API_VERSIONS: (0, 4), HEARTBEAT: (0, 3), DESCRIBE_CLUSTER: (0, 0)}
    with fake_broker(versions, {(HEARTBEAT, 2): answer}) as broker:
        patience = "5" if answer is SILENT else "30"
        ended = CliRunner().invoke(main, ["selfcheck", broker.address, "--timeout", patience])
        as_json = CliRunner().invoke(main, ["selfcheck", broker.address, "--timeout", patience, "--json"])

    assert ended.exit_code == as_json.exit_code == 1
    (line,) = [line for line in ended.output.splitlines() if line.startswith("Heartbeat (12) version 2: ")]
    assert detail in line
    assert "1 of 10 versions failed" in ended.output
    failed = [each for each in json.loads(as_json.output)["versions"] if each["outcome"] != "answered"]
    assert [(each["request"], each["version"], each["outcome"]) for each in failed] == [("Heartbeat", 2, outcome)]


def test_trailing_bytes_are_bytes_that_do_not_decode():
    with fake_broker({API_VERSIONS: (0, 0), HEARTBEAT: (0, 0)}, {HEARTBEAT: b"\0\0\0"}) as broker:
        ended = selfcheck(broker.address)

    assert ended.exit_code == 1
    assert "Heartbeat (12) version 0: " in ended.output


def test_error_codes_of_every_depth_are_shown():
    answer = DescribeClusterResponse(error_code=31)
    with fake_broker({API_VERSIONS: (0, 0), DESCRIBE_CLUSTER: (0, 0)}, {DESCRIBE_CLUSTER: answer}) as broker:
        ended = selfcheck(broker.address)

    assert ended.exit_code == 0
    assert "CLUSTER_AUTHORIZATION_FAILED" in ended.output


def test_an_unknown_version_is_not_requested_and_not_a_failure():
    versions = {API_VERSIONS: (0, 9), HEARTBEAT: (0, 0), 0: (0, 2), 52: (0, 2), 999: (0, 1)}
    with fake_broker(versions) as broker:
        ended = selfcheck(broker.address)

    assert ended.exit_code == 0, ended.output
    assert "API 999" in ended.output
    assert "6-9 unknown to this kwire" in ended.output
    assert "advertises them for librdkafka" in ended.output
    assert "for brokers and controllers only" in ended.output
    assert {key for key, _, _ in broker.requests} == {API_VERSIONS, HEARTBEAT}


def test_an_unreachable_broker_is_one_sentence_and_a_hint():
    with fake_broker({}) as broker:
        gone = broker.address
    ended = selfcheck(gone)

    assert ended.exit_code == 1
    assert ended.output.startswith(f"kwire: nothing listens on {gone}")
    assert f"kwire doctor {gone}" in ended.output


def test_a_wrong_address_is_reported():
    ended = selfcheck("localhost:port")

    assert ended.exit_code == 2
    assert "is not HOST:PORT" in ended.output
