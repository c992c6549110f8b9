"""Who is connected and what clients have pushed: HTTP, ``kwire clients``, Prometheus."""

import itertools
import json
import socket

import pytest
from blocking_client import BlockingClient
from click.testing import CliRunner
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA, MetricsData
from test_http import Running
from test_metrics import scrape

from kwire.cli.main import main
from kwire.wire import messages as m

NUMBERS = itertools.count(1)
QUEUE_TIME = "org.apache.kafka.producer.record.queue.time.avg"
SENT = "org.apache.kafka.producer.record.send.total"


@pytest.fixture(scope="module")
def control():
    with Running(settings={"kwire.client.metrics.sink": "log"}) as running:
        yield running


class Client(BlockingClient):
    """A connection that ApiVersions has named the client software of."""

    def __init__(self, control, client_id):
        super().__init__(control.server.bindings[0].port, client_id)
        self.call(3, m.ApiVersionsRequest(client_software_name="soft", client_software_version="1.2"))

    def subscribe(self):
        return self.call(0, m.GetTelemetrySubscriptionsRequest(client_instance_id=bytes(16)))

    def push(self, subscription, *, terminating=False):
        request = m.PushTelemetryRequest(
            client_instance_id=subscription.client_instance_id,
            subscription_id=subscription.subscription_id,
            metrics=metrics(),
            terminating=terminating,
        )
        assert self.call(0, request).error_code == 0


def metrics():
    """A gauge, and a counter that grew by two."""
    data = MetricsData()
    scope = data.resource_metrics.add().scope_metrics.add()
    scope.metrics.add(name=QUEUE_TIME).gauge.data_points.add(as_double=0.125)
    counter = scope.metrics.add(name=SENT).sum
    counter.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
    point = counter.data_points.add(as_int=2)
    point.attributes.add(key="topic-name").value.string_value = "orders"
    return data.SerializeToString()


@pytest.fixture
def client(control):
    # Of its own, because the broker may see the end of a connection later than the next test begins.
    connected = Client(control, f"orders-{next(NUMBERS)}")
    yield connected
    connected.close()


def run(control, *arguments):
    ended = CliRunner().invoke(main, ["clients", "--url", f"http://127.0.0.1:{control.port}", *arguments])
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_connected_clients_are_listed(control, client):
    other = Client(control, "billing")
    peer = f"127.0.0.1:{client.socket.getsockname()[1]}"
    assert run(control, "--client-id", client.client_id).splitlines() == [
        "CLIENT-ID  PEER             SOFTWARE  PRINCIPAL       LISTENER   REQUESTS  METRICS",
        f"{client.client_id}   {peer.ljust(15)}  soft 1.2  User:ANONYMOUS  PLAINTEXT         1        -",
    ]
    assert {each["client_id"] for each in json.loads(run(control, "--json"))} >= {client.client_id, "billing"}
    other.close()


def test_what_a_client_has_pushed_is_shown_with_differences_added_up(control, client):
    subscription = client.subscribe()
    client.push(subscription)
    client.push(subscription, terminating=True)
    (shown,) = json.loads(run(control, "--json", "--client-id", client.client_id))
    assert shown["metrics"] == 2
    lines = run(control, "--metrics", "--client-id", client.client_id).splitlines()
    assert [line.split() for line in lines] == [
        ["CLIENT-ID", "METRIC", "LABELS", "VALUE"],
        [client.client_id, QUEUE_TIME, "-", "0.125"],
        [client.client_id, SENT, "topic-name=orders", "4"],
    ]
    chosen = json.loads(run(control, "--json", "--prefix", SENT, "--client-id", client.client_id))
    assert [each["value"] for each in chosen] == [4]


def test_what_a_client_has_pushed_is_served_to_prometheus(control, client):
    subscription = client.subscribe()
    client.push(subscription)
    seen = {
        (name, labels.get("topic_name")): value
        for (name, *pairs), value in scrape(control).items()
        for labels in [dict(pairs)]
        if name.startswith("kafka_client_") and labels["client_id"] == client.client_id
    }
    assert seen == {
        ("kafka_client_producer_record_queue_time_avg", None): 0.125,
        ("kafka_client_producer_record_send_total", "orders"): 2,
    }


def test_a_broker_without_control_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = CliRunner().invoke(main, ["clients", "--url", f"http://127.0.0.1:{port}"])
    assert ended.exit_code == 1
    assert "kwire clients: no answer from" in ended.output
    assert "is the broker started with --control" in ended.output
