"""The control interface over HTTP, on a broker with real sockets."""

import contextlib
import functools
import http.client
import json
import socket
import threading
from urllib.parse import quote

import pytest
import trio
from blocking_client import BlockingClient

from kwire.control.bench import Bench
from kwire.control.http.app import Control
from kwire.control.http.openapi import ROUTES, document
from kwire.control.server import CannotControl, check_address, serve_control
from kwire.faults.disk import FaultyFiles
from kwire.metadata.configs.effective import BrokerSettings
from kwire.server.lifecycle import open_server
from kwire.testing.loop_thread import LoopThread
from kwire.testing.memory.files import MemoryFiles
from kwire.testing.start_errors import BrokerStartError
from kwire.wire import messages as m

TOKEN = "open sesame"


class Running:
    """A broker with control in a thread; ``ask`` sends one HTTP request."""

    def __init__(self, token=None, *, port=0, console=False, registry=None, settings=()):
        self.token = token
        self.port = port
        self.console = console
        self.registry = registry
        self.settings = {"log.dirs": "/kwire", "listeners": "PLAINTEXT://localhost:0", **dict(settings)}
        self.loop = LoopThread("broker", self._serve)

    @contextlib.asynccontextmanager
    async def _serve(self):
        settings = BrokerSettings(self.settings)
        async with open_server(settings, FaultyFiles(MemoryFiles())) as self.server, trio.open_nursery() as nursery:
            how = {"token": self.token, "console": self.console, "registry": self.registry, "new_files": MemoryFiles}
            self.port = await nursery.start(
                functools.partial(serve_control, self.server, "127.0.0.1", self.port, **how)
            )
            yield
            nursery.cancel_scope.cancel()

    def __enter__(self):
        self.loop.start()
        return self

    def __exit__(self, *_error):
        self.loop.stop()

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=150)
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            raw = answer.read()
            return answer.status, json.loads(raw) if raw else None
        finally:
            connection.close()

    def heartbeat(self, group="g"):
        """A stock request over the Kafka listener; returns its error code."""
        return self.call(4, m.HeartbeatRequest(group_id=group)).error_code

    def call(self, version, request):
        """Send one request over the Kafka listener; returns the response."""
        with BlockingClient(self.server.bindings[0].port) as client:
            return client.call(version, request)


@pytest.fixture(scope="module")
def shared():
    with Running() as running:
        yield running


@pytest.fixture
def control(shared):
    yield shared
    shared.ask("DELETE", "/v1/faults")
    shared.ask("DELETE", "/v1/requests")


def test_a_rule_is_armed_counted_and_removed(control):
    rule = {"name": "slow", "api": "Heartbeat", "error": "NOT_COORDINATOR", "times": 1}
    status, armed = control.ask("POST", "/v1/faults", rule)
    assert (status, armed["name"], armed["fired"], armed["rule"]) == (201, "slow", 0, rule)
    assert control.heartbeat() == 16
    assert control.heartbeat() != 16
    assert control.ask("POST", "/v1/faults/slow/wait", {"times": 1})[0] == 200
    status, gone = control.ask("DELETE", "/v1/faults/slow")
    assert (status, gone["matched"], gone["fired"]) == (200, 2, 1)
    assert control.ask("GET", "/v1/faults") == (200, [])
    assert control.ask("GET", "/v1/faults/slow") == (404, {"error": "no rule named 'slow' is armed"})


def test_waiting_for_a_rule_ends_with_its_counts(control):
    control.ask("POST", "/v1/faults", {"name": "idle", "api": "Heartbeat", "drop": True})
    status, counts = control.ask("POST", "/v1/faults/idle/wait", {"timeout_ms": 1})
    assert (status, counts["fired"]) == (408, 0)


def test_a_held_request_is_released(control):
    control.ask("POST", "/v1/faults", {"name": "held", "api": "Heartbeat", "hold": True})
    asker = threading.Thread(target=control.heartbeat)
    asker.start()
    assert control.ask("POST", "/v1/faults/held/wait")[0] == 200
    assert control.ask("POST", "/v1/faults/held/release")[1]["released"]
    asker.join(150)
    assert not asker.is_alive()


def test_the_clock_moves_stops_and_runs_at_a_rate(control):
    before = control.ask("GET", "/v1/clock")[1]
    assert before["rate"] == 1
    after = control.ask("POST", "/v1/clock", {"advance_ms": 3_600_000})[1]
    assert after["now_ms"] - before["now_ms"] >= 3_600_000
    stopped = control.ask("POST", "/v1/clock", {"rate": 0})[1]
    assert control.ask("GET", "/v1/clock")[1]["now_ms"] == stopped["now_ms"]
    assert control.ask("POST", "/v1/clock", {"rate": 1})[1]["now_ms"] >= stopped["now_ms"]


def test_requests_are_logged_with_their_outcome(control):
    control.ask("POST", "/v1/faults", {"name": "moved", "api": "Heartbeat", "group": "logged", "error": 16})
    control.heartbeat("logged")
    control.heartbeat("other")
    _, (entry,) = control.ask("GET", "/v1/requests?api=heartbeat&group=logged&last=5")
    assert (entry["api"], entry["version"], entry["client_id"]) == ("Heartbeat", 4, "client")
    assert (entry["outcome"], entry["faults"]) == ("answered", ["moved"])
    assert entry["request"]["group_id"] == "logged"
    assert entry["response"]["error_code"] == 16
    assert entry["principal"] == "User:ANONYMOUS"


def test_a_request_can_be_waited_for(control):
    asker = threading.Timer(0, control.heartbeat, ["awaited"])
    asker.start()
    status, seen = control.ask("POST", "/v1/requests/wait", {"api": "Heartbeat", "fields": {"group_id": "awaited"}})
    asker.join()
    assert (status, [each["request"]["group_id"] for each in seen]) == (200, ["awaited"])
    assert control.ask("POST", "/v1/requests/wait", {"api": "Produce", "timeout_ms": 1}) == (408, [])


@pytest.mark.parametrize("name", ["a/b", "..", "100%", "%2F", "a b?c#d", "größe/☃"])
def test_a_group_is_found_by_its_name_in_a_path(control, name):
    topic = m.CreateTopicsRequest.CreatableTopic(name="named", num_partitions=1, replication_factor=1)
    control.call(5, m.CreateTopicsRequest(topics=[topic], timeout_ms=1000))
    partition = m.OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=0)
    offsets = m.OffsetCommitRequest.OffsetCommitRequestTopic(name="named", partitions=[partition])
    control.call(8, m.OffsetCommitRequest(group_id=name, topics=[offsets]))
    status, group = control.ask("GET", f"/v1/groups/{quote(name, safe='')}")
    assert (status, group["group"]) == (200, name)
    assert control.ask("GET", f"/v1/groups/{quote(name + 'x', safe='')}?a=b")[0] == 404


def test_requests_are_streamed_as_they_are_answered(control):
    connection = http.client.HTTPConnection("127.0.0.1", control.port, timeout=150)
    connection.request("GET", "/v1/requests/stream?group=streamed")
    answer = connection.getresponse()
    assert answer.readline() == b": requests from now on\n"
    answer.readline()
    control.heartbeat("other")
    control.heartbeat("streamed")
    assert answer.readline().startswith(b"id: ")
    entry = json.loads(answer.readline().removeprefix(b"data: "))
    connection.close()
    assert entry["request"]["group_id"] == "streamed"


def test_topics_are_created_and_listed_with_their_offsets(control):
    body = {"name": "orders", "partitions": 2, "configs": {"retention.ms": 1000}}
    assert control.ask("POST", "/v1/topics", body)[0] == 201
    assert control.ask("POST", "/v1/topics", body)[0] == 409
    assert control.ask("POST", "/v1/topics", {"name": "a b"})[0] == 400
    offsets = [{"partition": index, "start": 0, "end": 0} for index in (0, 1)]
    assert control.ask("GET", "/v1/topics")[1]["orders"] == offsets


@pytest.mark.parametrize(
    ("method", "path", "body", "sentence"),
    [
        ("POST", "/v1/faults", {"api": "Prodce", "drop": True}, "did you mean Produce?"),
        ("POST", "/v1/faults", {"api": "Fetch", "versions": 99, "drop": True}, "not at version 99"),
        ("POST", "/v1/faults", {"listener": "SSL", "drop": True}, "there is no listener 'SSL', only PLAINTEXT"),
        ("POST", "/v1/faults", [], "a JSON object"),
        ("POST", "/v1/clock", {"advance_ms": -1}, "not negative"),
        ("POST", "/v1/faults", {"api": "Produce", "drop": "yes"}, "drop is true or false, not 'yes'"),
        ("POST", "/v1/clock", {"advance_ms": float("nan")}, "not negative, not nan"),
        ("POST", "/v1/clock", {"rate": float("inf")}, "not negative, not inf"),
        ("POST", "/v1/wait", {"topic": "t", "records": 1, "timeout_ms": float("nan")}, "timeout_ms is a number"),
        ("POST", "/v1/clock", {"forward": 1}, "there is no 'forward'"),
        ("GET", "/v1/requests?last=x", None, "last is a number"),
        ("GET", "/v1/requests?apis=x", None, "there is no 'apis'"),
        ("POST", "/v1/topics", {"name": 1}, "a topic is"),
    ],
)
def test_invalid_requests_are_one_sentence(control, method, path, body, sentence):
    status, answer = control.ask(method, path, body)
    assert status == 400
    assert sentence in answer["error"]


def test_a_page_of_another_site_is_refused(control):
    assert control.ask("GET", "/v1/faults", Host="example.org")[0] == 403
    status, answer = control.ask("POST", "/v1/faults", {"drop": True}, **{"Content-Type": "text/plain"})
    assert (status, "application/json" in answer["error"]) == (400, True)


def test_a_token_is_asked_for():
    with Running(token=TOKEN) as control:
        assert control.ask("GET", "/v1/faults")[0] == 401
        assert control.ask("GET", "/v1/faults", Authorization="Bearer other")[0] == 401
        assert control.ask("GET", "/v1/faults", Authorization=f"Bearer {TOKEN}") == (200, [])


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_an_address_that_others_reach_needs_a_token(host):
    with pytest.raises(CannotControl, match="--control-token"):
        check_address(host, None)
    check_address(host, TOKEN)


def test_a_busy_port_is_refused_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BrokerStartError, match=f"cannot listen on 127.0.0.1:{port}"), Running(port=port):
            pass


def test_the_document_describes_each_route(shared):
    assert shared.ask("GET", "/v1/openapi.json") == (200, document())
    routes = {(method, path) for method, path, *_ in ROUTES}
    served = {
        (method, route.path)
        for route in Control(Bench(shared.server), forks=None, traffic=None, metrics=None).routes()
        for method in route.methods - {"HEAD"}
    }
    assert served == routes
