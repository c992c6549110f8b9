"""``kwire.testing.proxy``: a proxy on sockets, in front of a broker."""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest

from kwire.cli.connections.connection import Connection, Security, parse_address
from kwire.errors import Code
from kwire.security.sasl.client import SaslLogin, begin_exchange
from kwire.testing import BrokerStartError, FaultNeverFired, KafkaBroker, RequestNeverSent, proxy
from kwire.wire import codec
from kwire.wire.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    DescribeClusterRequest,
    DescribeClusterResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    MetadataRequest,
    MetadataResponse,
)


@pytest.fixture(scope="module")
def broker():
    with KafkaBroker(topics={"orders": 2}) as kafka:
        yield kafka


@pytest.fixture
def front(broker):
    with proxy(upstream=broker.bootstrap_servers) as kafka:
        yield kafka


def connect(address):
    return Connection(parse_address(address, None), timeout_s=150)


def test_clients_stay_with_the_proxy(broker, front):
    ours = ("localhost", int(front.bootstrap_servers.rpartition(":")[2]))
    connection = connect(front.bootstrap_servers)

    metadata = connection.call(MetadataRequest(topics=None), MetadataResponse, version=12)
    assert [(each.host, each.port) for each in metadata.brokers] == [ours]
    assert {each.name for each in metadata.topics} >= {"orders"}
    found = connection.call(FindCoordinatorRequest(coordinator_keys=["g"]), FindCoordinatorResponse, version=4)
    assert [(each.host, each.port) for each in found.coordinators] == [ours]
    cluster = connection.call(DescribeClusterRequest(), DescribeClusterResponse, version=1)
    assert [(each.host, each.port) for each in cluster.brokers] == [ours]
    assert front.nodes() == {broker.bootstrap_servers: front.bootstrap_servers}
    assert [each["node"] for each in front.connections()] == [broker.bootstrap_servers]
    connection.close()


def test_what_the_proxy_offers_is_what_the_broker_serves(broker, front):
    direct, through = connect(broker.bootstrap_servers), connect(front.bootstrap_servers)
    hello = ApiVersionsRequest(client_software_name="a", client_software_version="1")
    assert through.call(hello, ApiVersionsResponse, version=4) == direct.call(hello, ApiVersionsResponse, version=4)
    direct.close()
    through.close()


def test_a_rule_resets_the_connection_of_the_client(front):
    host, _, port = front.bootstrap_servers.rpartition(":")
    with front.faults.add(api="ApiVersions", reset=True), socket.create_connection((host, int(port)), 20) as client:
        client.sendall(codec.encode_request(18, 0, 1, "client", ApiVersionsRequest()))
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_rule_and_the_request_log(front):
    connection = connect(front.bootstrap_servers)
    with front.faults.add(api="Heartbeat", group="g", error="REBALANCE_IN_PROGRESS", times=1) as fault:
        answer = connection.call(
            HeartbeatRequest(group_id="g", generation_id=1, member_id="m"), HeartbeatResponse, version=4
        )
        assert answer.error_code == Code.REBALANCE_IN_PROGRESS
        assert fault.fired == 1
    front.requests.start()
    answer = connection.call(
        HeartbeatRequest(group_id="g", generation_id=1, member_id="m"), HeartbeatResponse, version=4
    )
    assert answer.error_code == Code.UNKNOWN_MEMBER_ID
    front.requests.wait_for(api="Heartbeat", group="g")
    with pytest.raises(RequestNeverSent):
        front.requests.wait_for(api="LeaveGroup", timeout=0.01)
    with pytest.raises(FaultNeverFired), front.faults.add(api="Produce", drop=True):
        pass
    connection.close()


def test_a_recording_can_be_made(front, tmp_path):
    front.record(tmp_path / "file")
    connection = connect(front.bootstrap_servers)
    connection.close()
    front.stop_recording()
    assert "ApiVersions" in (tmp_path / "file").read_text()


def test_a_broker_behind_tls(tmp_path):
    with (
        KafkaBroker(tls=True) as kafka,
        proxy(upstream=kafka.bootstrap_servers, tls=ssl.create_default_context(cafile=kafka.ca_file)) as front,
    ):
        connection = connect(front.bootstrap_servers)
        assert len(connection.call(MetadataRequest(topics=[]), MetadataResponse, version=12).brokers) == 1
        connection.close()


@pytest.fixture(scope="module")
def over_tls(broker):
    with proxy(upstream=broker.bootstrap_servers, listener_tls=True) as kafka:
        yield kafka


def test_clients_may_connect_with_tls_and_stay_with_the_proxy(over_tls):
    security = Security(tls=over_tls.ssl_context)
    with (
        over_tls.faults.add(api="Heartbeat", principal="User:CN=client", error="REBALANCE_IN_PROGRESS") as fault,
        Connection(parse_address(over_tls.bootstrap_servers, None), security=security, timeout_s=150) as connection,
    ):
        (node,) = connection.call(MetadataRequest(topics=[]), MetadataResponse, version=12).brokers
        assert f"{node.host}:{node.port}" == over_tls.bootstrap_servers
        beat = HeartbeatRequest(group_id="g", generation_id=1, member_id="m")
        assert connection.call(beat, HeartbeatResponse, version=4).error_code == Code.REBALANCE_IN_PROGRESS
        assert fault.fired == 1


def test_a_client_without_tls_is_refused_and_in_the_log(over_tls, capfd):
    host, port = parse_address(over_tls.bootstrap_servers, None)
    with socket.create_connection((host, port), 20) as client:
        client.sendall(codec.encode_request(18, 0, 1, "client", ApiVersionsRequest()))
        with contextlib.suppress(ConnectionResetError):  # its bytes were not read
            assert client.recv(1) == b""
    assert "it must set security.protocol to SSL or SASL_SSL" in capfd.readouterr().err


def test_a_client_with_tls_is_refused_where_there_is_none(front, capfd):
    host, port = parse_address(front.bootstrap_servers, None)
    context = ssl.create_default_context()
    with socket.create_connection((host, port), 20) as client, pytest.raises(OSError):  # noqa: PT011 (some SSLError)
        context.wrap_socket(client, server_hostname="localhost")
    assert "this listener is plaintext" in capfd.readouterr().err


def test_clients_log_in_through_tls_on_both_sides():
    with (
        KafkaBroker(tls=True, users={"alice": "secret"}) as kafka,
        proxy(
            upstream=kafka.bootstrap_servers,
            tls=ssl.create_default_context(cafile=kafka.ca_file),
            listener_tls=True,
        ) as front,
    ):
        login = SaslLogin("SCRAM-SHA-512", "alice", "secret", by_token=False)
        security = Security(tls=front.ssl_context, mechanism=lambda: begin_exchange(login, "nonce-nonce"))
        address = parse_address(front.bootstrap_servers, None)
        with Connection(address, security=security, timeout_s=150) as connection:
            (node,) = connection.call(MetadataRequest(topics=[]), MetadataResponse, version=12).brokers
            assert f"{node.host}:{node.port}" == front.bootstrap_servers


def test_certificates_are_those_of_a_tls_listener(front):
    with pytest.raises(ValueError, match="listener_tls=True"):
        _ = front.ca_file


def test_a_broker_that_is_not_there_closes_the_connection():
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        with proxy(upstream=f"localhost:{unused.getsockname()[1]}") as front:
            host, port = parse_address(front.bootstrap_servers, None)
            with socket.create_connection((host, port), 20) as connection:
                assert connection.recv(1) == b""


def test_a_port_that_is_taken_and_an_upstream_that_is_no_address(broker):
    with pytest.raises(BrokerStartError, match="another program listens"):
        proxy(upstream="localhost:1", port=broker.port).start()
    with pytest.raises(ValueError, match="HOST:PORT"):
        proxy(upstream="localhost")
    with pytest.raises(RuntimeError, match="does not run"):
        proxy(upstream="localhost:1").nodes()
