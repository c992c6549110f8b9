"""The blocking client: what it makes of brokers that are old, silent, something else, or gone."""

import struct

import pytest
from fake_broker import CLOSE, SILENT, fake_broker

from kwire.cli.connections import client as client_module
from kwire.cli.connections.client import Cluster
from kwire.cli.connections.connection import (
    Address,
    CannotConnect,
    Connection,
    ConnectionLost,
    NoSuchHost,
    NotKafka,
    NotServed,
    TimedOut,
    parse_address,
    parse_addresses,
)
from kwire.errors import Code, KafkaError
from kwire.wire.messages import (
    ApiVersionsRequest,
    DescribeClusterRequest,
    FindCoordinatorResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    MetadataRequest,
    MetadataResponse,
)

API_VERSIONS, METADATA, FIND_COORDINATOR, HEARTBEAT, LIST_GROUPS = 18, 3, 10, 12, 16
MODERN = {API_VERSIONS: (0, 4), METADATA: (0, 13), FIND_COORDINATOR: (0, 6), HEARTBEAT: (0, 4), LIST_GROUPS: (0, 5)}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(client_module.time, "sleep", lambda _: None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:9092", Address("localhost", 9092)),
        ("localhost", Address("localhost", 9092)),
        (" kafka.example.com:19092 ", Address("kafka.example.com", 19092)),
        ("[::1]:9093", Address("::1", 9093)),
        ("[::1]", Address("::1", 9092)),
        ("PLAINTEXT://localhost:19092", Address("localhost", 19092)),
        ("SASL_SSL://[::1]:9093", Address("::1", 9093)),
    ],
)
def test_an_address_is_read(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":9092",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:http",
        "a:1:2",
        "::1",
        "[::1]9092",
        "PLAINTEXT://:1",
    ],
)
def test_a_text_that_is_not_an_address_is_refused(text):
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_address(text, default_port=None)


def test_addresses_are_separated_by_commas():
    assert parse_addresses("a:1, b:2,") == [Address("a", 1), Address("b", 2)]


def test_an_ipv6_address_is_written_in_brackets():
    assert str(Address("::1", 9092)) == "[::1]:9092"


def connection_to(broker, **how):
    return Connection(parse_address(broker.address), **how)


def test_the_highest_version_that_both_know_is_used():
    with fake_broker({**MODERN, HEARTBEAT: (1, 3)}) as broker, connection_to(broker) as connection:
        assert connection.version_of(HeartbeatRequest) == 3
        assert connection.version_of(HeartbeatRequest, 2) == 2
        assert connection.version_of(MetadataRequest) == MetadataRequest.VERSIONS.highest
        connection.call(HeartbeatRequest(group_id="g", generation_id=1, member_id="m"), HeartbeatResponse)
        assert broker.requests[-1][:2] == (HEARTBEAT, 3)


def test_an_api_that_is_not_served_is_named():
    with fake_broker({**MODERN, HEARTBEAT: (7, 9)}) as broker, connection_to(broker) as connection:
        with pytest.raises(NotServed, match="does not serve DescribeCluster"):
            connection.version_of(DescribeClusterRequest)
        with pytest.raises(NotServed, match="serves Heartbeat at versions 7 to 9; supported here: 0 to 4"):
            connection.version_of(HeartbeatRequest)


def test_an_older_broker_is_asked_for_its_versions_in_the_first_form_and_for_its_features_in_its_last():
    refusal = struct.pack(">hi", Code.UNSUPPORTED_VERSION, 1) + struct.pack(">hhh", API_VERSIONS, 0, 2)
    with fake_broker(MODERN, {(API_VERSIONS, 5): refusal}) as broker, connection_to(broker) as connection:
        assert connection.api_versions == MODERN
    assert [request[:2] for request in broker.requests] == [(API_VERSIONS, version) for version in (5, 0, 4)]


@pytest.mark.parametrize(
    ("greeting", "protocol"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unknown"),
    ],
)
def test_a_peer_that_is_not_a_kafka_broker_is_named(greeting, protocol):
    with fake_broker({}, greeting=greeting) as broker, pytest.raises(NotKafka) as caught:
        connection_to(broker)
    assert caught.value.protocol == protocol


def test_a_broker_that_closes_at_once_may_require_tls():
    with fake_broker({}, {API_VERSIONS: CLOSE}) as broker, pytest.raises(NotKafka, match="may require TLS") as caught:
        connection_to(broker)
    assert caught.value.protocol == "none"


def test_a_broker_that_closes_on_the_first_request_may_require_sasl():
    with (
        fake_broker(MODERN, {METADATA: CLOSE}) as broker,
        connection_to(broker) as connection,
        pytest.raises(ConnectionLost, match="its listener may require SASL"),
    ):
        connection.call(MetadataRequest(topics=[]), MetadataResponse)


def test_a_broker_that_closes_later_does_not_require_sasl():
    with fake_broker(MODERN, {HEARTBEAT: CLOSE}) as broker, connection_to(broker) as connection:
        connection.call(MetadataRequest(topics=[]), MetadataResponse)
        with pytest.raises(ConnectionLost) as caught:
            connection.call(HeartbeatRequest(), HeartbeatResponse)
    assert "SASL" not in str(caught.value)
    assert "Heartbeat version 4" in str(caught.value)


def test_an_answer_to_another_request_is_not_taken():
    with (
        fake_broker({}, greeting=struct.pack(">ii", 4, 12345)) as broker,
        pytest.raises(NotKafka, match="correlation id 12345 to request 1"),
    ):
        connection_to(broker)


def test_an_answer_that_does_not_fit_the_schema_is_named():
    with (
        fake_broker(MODERN, {HEARTBEAT: b"\xff"}) as broker,
        connection_to(broker) as connection,
        pytest.raises(NotKafka, match=r"Heartbeat.* version 4 with bytes that do not decode"),
    ):
        connection.call(HeartbeatRequest(), HeartbeatResponse)


def test_a_missing_answer_ends_with_the_timeout():
    with (
        fake_broker(MODERN, {HEARTBEAT: SILENT}) as broker,
        connection_to(broker) as connection,
        pytest.raises(TimedOut, match=r"did not answer Heartbeat within 0.05 s"),
    ):
        connection.call(HeartbeatRequest(), HeartbeatResponse, timeout_s=0.05)


def test_a_port_without_a_listener_is_named():
    with fake_broker({}) as broker:
        address = parse_address(broker.address)
    with pytest.raises(CannotConnect, match="nothing listens on"):
        Connection(address)


def test_a_name_that_does_not_resolve_is_named():
    with pytest.raises(NoSuchHost, match=r"kwire\.invalid does not resolve"):
        Connection(Address("kwire.invalid", 9092))


# ---- a cluster


def metadata_of(broker):
    node = MetadataResponse.MetadataResponseBroker(node_id=1, host="127.0.0.1", port=broker.port)
    return MetadataResponse(brokers=[node], controller_id=1, cluster_id="c")


def cluster_of(*brokers, **how):
    return Cluster([parse_address(broker.address) for broker in brokers], **how)


def test_the_next_address_is_tried_and_the_failure_is_reported():
    failures = []
    with fake_broker({}) as gone:
        pass
    with (
        fake_broker(MODERN) as broker,
        cluster_of(gone, broker, on_failure=lambda address, error: failures.append((address.port, error))) as cluster,
    ):
        assert cluster.any().address.port == broker.port
    assert [port for port, _ in failures] == [gone.port]
    assert isinstance(failures[0][1], CannotConnect)


def test_a_lost_connection_is_replaced():
    with fake_broker(MODERN, {LIST_GROUPS: CLOSE}) as broker, cluster_of(broker) as cluster:
        with pytest.raises(ConnectionLost):
            cluster.call(ListGroupsRequest(), ListGroupsResponse)
        del broker.answers[LIST_GROUPS]
        assert cluster.call(ListGroupsRequest(), ListGroupsResponse) == ListGroupsResponse()


def test_a_late_answer_is_never_read_as_the_next():
    with fake_broker(MODERN, {LIST_GROUPS: SILENT}) as broker, cluster_of(broker) as cluster:
        first = cluster.any()
        first.timeout_s = 0.05
        with pytest.raises(TimedOut):
            cluster.call(ListGroupsRequest(), ListGroupsResponse)
        assert cluster.any() is not first


def test_transient_errors_are_retried():
    with fake_broker(MODERN) as broker, cluster_of(broker) as cluster:
        errors = [Code.COORDINATOR_LOAD_IN_PROGRESS, Code.NOT_COORDINATOR]

        def attempt():
            if errors:
                raise KafkaError(errors.pop())
            return "done"

        assert cluster.with_retries(attempt) == "done"


def test_other_errors_are_not_retried():
    attempts = []
    with fake_broker(MODERN) as broker, cluster_of(broker) as cluster:

        def attempt():
            attempts.append(1)
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)

        with pytest.raises(KafkaError):
            cluster.with_retries(attempt)
    assert len(attempts) == 1


def test_a_retry_ends_with_the_last_error_after_the_timeout():
    with fake_broker(MODERN) as broker, cluster_of(broker, timeout_s=0.0) as cluster:

        def attempt():
            raise KafkaError(Code.LEADER_NOT_AVAILABLE)

        with pytest.raises(TimedOut, match="no success within 0 s: LEADER_NOT_AVAILABLE") as caught:
            cluster.with_retries(attempt)
        assert isinstance(caught.value.__cause__, KafkaError)


def test_a_broker_is_found_by_the_id_that_metadata_names():
    with fake_broker(MODERN) as broker, cluster_of(broker) as cluster:
        broker.answers[METADATA] = metadata_of(broker)
        assert cluster.node(1).address.port == broker.port
        with pytest.raises(KafkaError, match="no broker 7 in the cluster"):
            cluster.node(7)


def test_metadata_creates_no_topic():
    with fake_broker(MODERN) as broker, cluster_of(broker) as cluster:
        cluster.metadata(["a"])
        assert broker.requests[-1][2].allow_auto_topic_creation is False


def test_all_topics_are_an_empty_list_for_the_oldest_broker():
    with fake_broker({**MODERN, METADATA: (0, 0)}) as broker, cluster_of(broker) as cluster:
        cluster.metadata(None)
        assert broker.requests[-1][1:] == (0, MetadataRequest(topics=[]))


@pytest.mark.parametrize("newest", [3, 6])
def test_the_coordinator_is_found_in_both_forms_of_the_request(newest):
    with fake_broker({**MODERN, FIND_COORDINATOR: (0, newest)}) as broker, cluster_of(broker) as cluster:
        found = FindCoordinatorResponse.Coordinator(key="g", node_id=1, host="127.0.0.1", port=broker.port)
        broker.answers[FIND_COORDINATOR] = (
            FindCoordinatorResponse(coordinators=[found])
            if newest == 6
            else FindCoordinatorResponse(node_id=1, host="127.0.0.1", port=broker.port)
        )
        assert cluster.coordinator("g").address.port == broker.port


def test_the_client_sends_its_name_and_version():
    with fake_broker(MODERN) as broker, connection_to(broker):
        assert broker.requests[0][2].client_software_name == "kwire"
        assert broker.requests[0][:2] == (API_VERSIONS, ApiVersionsRequest.VERSIONS.highest)
