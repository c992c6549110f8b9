"""``kwire.testing.proxy``: a proxy on sockets, in front of a broker."""

from __future__ import annotations

import socket
import ssl

import pytest

from kwire.cli.connection import Connection, parse_address
from kwire.errors import Code
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
    return Connection(parse_address(address, None), timeout_s=20)


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


def test_a_broker_that_is_not_there_closes_the_connection():
    with socket.socket() as nobody:
        nobody.bind(("localhost", 0))
        with proxy(upstream=f"localhost:{nobody.getsockname()[1]}") as front:
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
