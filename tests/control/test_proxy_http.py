"""The control interface of a proxy, and ``kwire ctl`` and ``RemoteKafka`` with it."""

from __future__ import annotations

import contextlib
import json
from functools import partial

import pytest
import trio
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

from kwire.broker.clock import Clock
from kwire.broker.outbound.interface import Address
from kwire.cli.connections.connection import Connection, parse_address
from kwire.cli.control.ctl import ctl
from kwire.control.http.openapi import OF_A_PROXY
from kwire.control.http.proxy_routes import proxy_routes
from kwire.control.proxy_bench import ProxyBench
from kwire.control.server import control_url, serve_proxy_control
from kwire.errors import Code
from kwire.proxy.serving import Sockets
from kwire.testing import KafkaBroker, RemoteKafka, StateError
from kwire.testing.loop_thread import LoopThread
from kwire.wire.messages import HeartbeatRequest, HeartbeatResponse


class Running:
    """A proxy with control in a thread, in front of a broker."""

    def __init__(self, upstream):
        host, port = parse_address(upstream, None)
        self.upstream = Address(host, port)
        self.loop = LoopThread("proxy", self._serve)

    @contextlib.asynccontextmanager
    async def _serve(self):
        async with Sockets("localhost", 0).serve(self.upstream, Clock()) as self.proxy, trio.open_nursery() as nursery:
            port = await nursery.start(partial(serve_proxy_control, self.proxy, "127.0.0.1", 0))
            self.url = control_url("127.0.0.1", port)
            yield
            nursery.cancel_scope.cancel()

    def __enter__(self):
        self.loop.start()
        return self

    def __exit__(self, *_error):
        self.loop.stop()

    def heartbeat(self):
        """Send a request through the proxy; returns its error code."""
        with Connection(self.proxy.nodes[self.upstream], timeout_s=150) as connection:
            return connection.call(HeartbeatRequest(group_id="g"), HeartbeatResponse, version=4).error_code


@pytest.fixture(scope="module")
def running():
    with KafkaBroker() as kafka, Running(kafka.bootstrap_servers) as proxied:
        yield proxied


def run(running, *arguments):
    ended = CliRunner().invoke(ctl, ["--url", running.url, *arguments])
    return ended.exit_code, json.loads(ended.stdout) if ended.stdout else ended.stderr


def test_ctl_arms_a_rule_and_shows_what_it_disturbed(running):
    assert run(running, "faults", "add", "name=r", "api=Heartbeat", "error=NOT_COORDINATOR", "times=1")[0] == 0
    assert running.heartbeat() == Code.NOT_COORDINATOR
    assert run(running, "faults", "wait", "r")[1]["fired"] == 1
    (entry,) = run(running, "requests", "--api", "Heartbeat", "--last", "1")[1]
    assert (entry["faults"], entry["listener"]) == (["r"], str(running.upstream))
    assert run(running, "faults", "remove", "r")[0] == 0
    assert run(running, "wait", "--api", "Heartbeat", "group_id=g")[0] == 0


def test_ctl_moves_the_clock_of_rules(running):
    before = run(running, "clock", "show")[1]["now_ms"]
    assert run(running, "clock", "advance", "1h")[1]["now_ms"] >= before + 3_600_000


def test_ctl_shows_nodes_and_connections(running):
    (node,) = run(running, "nodes")[1]
    assert node == {"node": str(running.upstream), "listener": str(running.proxy.nodes[running.upstream])}
    with Connection(running.proxy.nodes[running.upstream], timeout_s=150):
        assert {each["node"] for each in run(running, "connections")[1]} == {str(running.upstream)}


def test_metrics_count_requests_and_connections(running):
    running.heartbeat()
    with Connection(running.proxy.nodes[running.upstream], timeout_s=150) as connection:
        connection.call(HeartbeatRequest(group_id="g"), HeartbeatResponse, version=4)
        text = CliRunner().invoke(ctl, ["--url", running.url, "metrics"]).stdout
    values = {
        f.name: {s.labels.get("listener") or s.labels.get("request"): s.value for s in f.samples}
        for f in text_string_to_metric_families(text)
    }
    node = str(running.upstream)
    assert values["kafka_network_requestmetrics_requests"]["Heartbeat"] >= 2
    assert values["kafka_server_socketservermetrics_connection_count"] == {node: 1}
    assert values["kwire_proxy_failed_connections"] == {node: 0}


def test_routes_of_a_broker_are_refused_in_one_sentence(running):
    code, sentence = run(running, "topics")
    assert (code, sentence) == (
        1,
        "kwire ctl: this is a proxy, which has no /v1/topics: that needs a broker of kwire\n",
    )


def test_a_remote_kafka_arms_rules_and_records(running, tmp_path):
    kafka = RemoteKafka(running.url)
    with kafka.faults.add(api="Heartbeat", error="NOT_COORDINATOR"):
        assert running.heartbeat() == Code.NOT_COORDINATOR
    kafka.record(tmp_path / "file")
    running.heartbeat()
    kafka.stop_recording()
    assert "Heartbeat" in (tmp_path / "file").read_text()
    with pytest.raises(StateError, match="proxy"):
        kafka.reset()


def test_each_route_is_described():
    async def listed():
        return {
            (method, route.path)
            for route in proxy_routes(ProxyBench(_NoProxy()))
            if isinstance(route, Route) and route.path != "/{path:path}"
            for method in route.methods - {"HEAD"}
        }

    assert trio.run(listed) == {(method, path) for method, path, *_ in OF_A_PROXY}


class _NoProxy:
    def __init__(self):
        self.clock = Clock()
