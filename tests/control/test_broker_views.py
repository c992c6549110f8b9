"""What a broker is and has, and the records of its topics, over HTTP."""

import http.client
import json

import pytest
from test_http import Running

from kwire.control import records as records_module


@pytest.fixture(scope="module")
def shared():
    with Running() as running:
        yield running


@pytest.fixture
def control(shared):
    shared.ask("POST", "/v1/reset")
    shared.ask("POST", "/v1/topics", {"name": "orders", "partitions": 2, "configs": {"retention.ms": -1}})
    return shared


def write(control, *values, topic="orders", **fields):
    given = [{"value": value, **fields} for value in values]
    return control.ask("POST", f"/v1/topics/{topic}/records", {"records": given})


def ask(control, path):
    status, answer = control.ask("GET", path)
    assert status == 200, answer
    return answer


def values(records):
    return [each["value"] for each in records]


def test_a_broker_has_ids_releases_and_listeners(control):
    shown = ask(control, "/v1/broker")
    assert shown["node_id"] == control.server.broker.node_id
    assert shown["cluster_id"] == control.server.broker.cluster_id
    assert shown["listeners"] == [f"PLAINTEXT://localhost:{control.server.bindings[0].port}"]
    assert (shown["authorizer"], shown["rate"]) == (False, 1)


def test_a_topic_has_its_partitions_and_own_configs(control):
    write(control, "a", "b", partition=1)
    topic = ask(control, "/v1/topics/orders")
    assert (topic["name"], topic["internal"], topic["configs"]) == ("orders", False, {"retention.ms": "-1"})
    first, second = topic["partitions"]
    assert (first["end"], first["size_bytes"], first["leader"]) == (0, 0, control.server.broker.node_id)
    assert (second["partition"], second["start"], second["end"], second["last_stable"]) == (1, 0, 2, 2)
    assert second["size_bytes"] > 0
    assert second["segments"] == 1
    assert control.ask("GET", "/v1/topics/none")[0] == 404


def test_traffic_counts_by_topic_api_and_connection(control):
    write(control, "a")
    control.heartbeat()
    traffic = ask(control, "/v1/traffic")
    orders = traffic["topics"]["orders"]
    assert (orders["partitions"], orders["records"], orders["internal"]) == (2, 1, False)
    assert orders["size_bytes"] > 0
    # What the broker wrote by itself is not traffic of a client.
    assert (orders["messages_in"], orders["bytes_in"], orders["bytes_out"]) == (0, 0, 0)
    assert traffic["requests"]["Heartbeat"]["count"] == 1
    assert traffic["requests"]["Heartbeat"]["errors"] == 0
    assert traffic["monotonic_ms"] > 0


def test_connections_have_a_client_id_and_counts_until_they_close(control):
    import socket

    from kwire.wire import codec
    from kwire.wire import messages as m

    with socket.create_connection(("localhost", control.server.bindings[0].port), timeout=150) as client:
        for number in (1, 2):
            client.sendall(codec.encode_request(12, 4, number, "<b>client</b>", m.HeartbeatRequest(group_id="g")))
            client.recv(100)
        (shown,) = [each for each in ask(control, "/v1/connections") if each["client_id"]]
        assert (shown["client_id"], shown["requests"]) == ("<b>client</b>", 2)
        assert (shown["bytes_in"], shown["bytes_out"]) == (0, 0)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    control.heartbeat()
    assert "<b>client</b>" not in {each["client_id"] for each in ask(control, "/v1/connections")}


def test_configs_have_the_sources_of_their_values(control):
    of_topic = {each["name"]: each for each in ask(control, "/v1/configs?type=topic&name=orders")}
    retention = of_topic["retention.ms"]
    assert (retention["value"], retention["source"], retention["read_only"]) == ("-1", "topic", False)
    assert retention["sources"][0]["source"] == "topic"
    assert of_topic["cleanup.policy"]["source"] == "default"
    of_broker = {each["name"]: each for each in ask(control, "/v1/configs")}
    assert of_broker["listeners"]["source"] == "static broker"
    assert of_broker["listeners"]["documentation"]
    assert of_broker["ssl.key.password"]["value"] is None
    control.ask("POST", "/v1/seed", {"configs": {"message.max.bytes": 2_000_000}})
    of_all = {each["name"]: each["source"] for each in ask(control, "/v1/configs?name=")}
    assert of_all["message.max.bytes"] == "dynamic default broker"
    assert "listeners" not in of_all
    assert ask(control, "/v1/configs?type=group&name=g")
    assert control.ask("GET", "/v1/configs?type=topic&name=none")[0] == 404
    assert "type is one of" in control.ask("GET", "/v1/configs?type=x")[1]["error"]


def test_acls_and_users_are_listed_without_secrets(control):
    control.ask("POST", "/v1/seed", {"users": {"alice": "secret"}, "acls": ["alice may read topic orders*"]})
    (acl,) = ask(control, "/v1/acls")
    assert acl == {
        "principal": "User:alice",
        "permission": "allow",
        "operation": "read",
        "resource_type": "topic",
        "resource_name": "orders",
        "pattern": "prefixed",
        "host": "*",
        "rule": "alice may read topic orders*",
    }
    (user,) = ask(control, "/v1/users")
    assert user["user"] == "alice"
    assert user["mechanisms"].keys() == {"SCRAM_SHA_256", "SCRAM_SHA_512"}
    assert "secret" not in json.dumps(user)


def test_groups_are_listed_with_details(control):
    control.heartbeat()
    assert ask(control, "/v1/groups?details=true") == []
    assert "true or false" in control.ask("GET", "/v1/groups?details=x")[1]["error"]


def test_records_are_written_to_their_places(control):
    assert write(control, "a", "b", partition=1) == (
        201,
        [{"partition": 1, "offset": 0}, {"partition": 1, "offset": 1}],
    )
    given = {"records": [{"key": "k", "value": None, "headers": [["h", {"base64": "/w=="}]], "timestamp": 7}]}
    (written,) = control.ask("POST", "/v1/topics/orders/records", given)[1]
    (record,) = ask(control, f"/v1/topics/orders/records?partition={written['partition']}&last=1")
    assert (record["key"], record["value"], record["timestamp"]) == ("k", None, 7)
    assert record["headers"] == [["h", {"base64": "/w=="}]]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"records": "x"}, 400, "records are a list"),
        ({"records": [{"key": "k"}]}, 400, "is not a record"),
        ({"record": []}, 400, "there is no 'record'"),
        ({"records": [{"value": "x", "partition": 9}]}, 404, "UNKNOWN_TOPIC_OR_PARTITION"),
    ],
)
def test_records_that_cannot_be_written_are_one_sentence(control, body, status, sentence):
    answered, answer = control.ask("POST", "/v1/topics/orders/records", body)
    assert answered == status
    assert sentence in answer["error"]
    assert control.ask("POST", "/v1/topics/none/records", {"records": []})[0] == 404


def test_records_are_read_from_an_offset_or_a_time_on(control):
    for number in range(3):
        write(control, str(number), partition=0, timestamp=1000 + number)
    assert values(ask(control, "/v1/topics/orders/records?offset=1")) == ["1", "2"]
    assert values(ask(control, "/v1/topics/orders/records?timestamp=1001&last=1")) == ["1"]
    assert values(ask(control, "/v1/topics/orders/records?timestamp=2000")) == []
    assert "not both" in control.ask("GET", "/v1/topics/orders/records?timestamp=1&offset=1")[1]["error"]


def test_records_are_searched_in_keys_values_and_headers(control):
    write(control, "green apple", partition=0)
    write(control, "pear", partition=1, key="apple")
    write(control, "plum", partition=0, headers=[["kind", "apple"]])
    write(control, None, partition=0)
    found = ask(control, "/v1/topics/orders/search?text=apple")
    assert values(found["records"]) == ["green apple", "plum", "pear"]
    assert (found["scanned"], found["next"]) == (4, {})
    assert values(ask(control, "/v1/topics/orders/search?text=apple&partition=1")["records"]) == ["pear"]
    assert control.ask("GET", "/v1/topics/orders/search")[0] == 400
    assert control.ask("GET", "/v1/topics/none/search?text=x")[0] == 404


def test_a_bounded_search_returns_where_to_continue(control, monkeypatch):
    write(control, *["apple"] * 5, partition=0)
    write(control, "apple", partition=1)
    first = ask(control, "/v1/topics/orders/search?text=apple&last=2")
    assert (len(first["records"]), first["next"]) == (2, {"0": 2, "1": 0})
    monkeypatch.setattr(records_module, "SCANNED_MAX", 3)
    second = ask(control, "/v1/topics/orders/search?text=pear&partition=0&offset=1")
    assert (second["records"], second["scanned"], second["next"]) == ([], 3, {"0": 4})


class Stream:
    """A live tail over HTTP, as a client that has been listening since before the next write."""

    def __init__(self, control, path):
        self.connection = http.client.HTTPConnection("127.0.0.1", control.port, timeout=150)
        self.connection.request("GET", path)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200
        assert self.answer.headers["Content-Type"].partition(";")[0] == "text/event-stream"
        assert self.answer.readline() == b": records from now on\n"
        self.answer.readline()

    def next(self):
        """Kind and data of the next event."""
        kind, data = "message", None
        while line := self.answer.readline().decode().strip():
            name, _, text = line.partition(": ")
            if name == "event":
                kind = text
            if name == "data":
                data = json.loads(text)
        return kind, data

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.connection.close()


def test_records_are_streamed_as_they_are_written(control):
    write(control, "before", partition=0)
    with (
        Stream(control, "/v1/topics/orders/records/stream") as both,
        Stream(control, "/v1/topics/orders/records/stream?partition=1") as second,
    ):
        write(control, "<script>", partition=0, key="k")
        write(control, "other", partition=1)
        kind, record = both.next()
        assert (kind, record["value"], record["key"], record["offset"]) == ("message", "<script>", "k", 1)
        assert both.next()[1]["value"] == "other"
        assert second.next()[1]["value"] == "other"


def test_a_stream_ends_with_its_topic_and_with_a_reset(control):
    from kwire.wire import messages as m

    with Stream(control, "/v1/topics/orders/records/stream") as stream:
        control.call(1, m.DeleteTopicsRequest(topic_names=["orders"], timeout_ms=1000))
        assert stream.next()[0] == "end"
    control.ask("POST", "/v1/topics", {"name": "orders"})
    with Stream(control, "/v1/topics/orders/records/stream") as stream:
        control.ask("POST", "/v1/reset")
        assert stream.next()[0] == "end"
    assert control.ask("GET", "/v1/topics/orders/records/stream")[0] == 404


def test_a_slow_reader_of_a_stream_skips_records(control, monkeypatch):
    monkeypatch.setattr(records_module, "BEHIND_MAX", 2)
    with Stream(control, "/v1/topics/orders/records/stream?partition=0") as stream:
        write(control, "a", "b", "c", partition=0)
        assert stream.next() == ("skipped", {"records": 3})
        write(control, "d", partition=0)
        assert stream.next()[1]["value"] == "d"


def test_a_stream_of_a_partition_that_is_not_there_is_refused(control):
    status, answer = control.ask("GET", "/v1/topics/orders/records/stream?partition=7")
    assert (status, answer["message"]) == (404, "the topic orders has no partition 7")
