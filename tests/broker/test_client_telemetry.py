"""Which metrics clients are asked for, and which pushes are refused (KIP-714)."""

import pytest
from peer import Peer, all_apis

from kwire.broker.telemetry.pushed_metrics import Point, PushedMetrics
from kwire.broker.telemetry.subscriptions import read_subscription, requested_metrics
from kwire.errors import Code
from kwire.wire import messages as m
from kwire.wire.batches.compression import Codec, compress

pytestmark = pytest.mark.usefixtures("mock_clock")

NO_ID = bytes(16)
METRICS = "org.apache.kafka.producer."


@pytest.fixture
def settings():
    return {"kwire.client.metrics.sink": "log"}


def otlp(*values, name="org.apache.kafka.producer.record.send.total"):
    """A push with one number for each value."""
    from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

    data = MetricsData()
    metric = data.resource_metrics.add().scope_metrics.add().metrics.add(name=name)
    for value in values:
        point = metric.gauge.data_points.add(as_double=value)
        point.attributes.add(key="client-id").value.string_value = "it's mine\n"
    return data.SerializeToString()


async def subscribe(client, name="all", **configs):
    entries = [
        m.IncrementalAlterConfigsRequest.AlterableConfig(name=key, config_operation=0, value=value)
        for key, value in configs.items()
    ]
    resource = m.IncrementalAlterConfigsRequest.AlterConfigsResource(
        resource_type=16, resource_name=name, configs=entries
    )
    answer = await client.call(1, m.IncrementalAlterConfigsRequest(resources=[resource]))
    assert answer.responses[0].error_code == 0


async def get(client, client_instance_id=NO_ID):
    return await client.call(0, m.GetTelemetrySubscriptionsRequest(client_instance_id=client_instance_id))


async def push(client, subscription, metrics=b"", *, codec=Codec.NONE, **more):
    """The code that a push of a subscribed client is answered with."""
    request = {
        "client_instance_id": subscription.client_instance_id,
        "subscription_id": subscription.subscription_id,
        "compression_type": codec,
        "metrics": metrics,
    }
    answer = await client.call(0, m.PushTelemetryRequest(**(request | more)))
    return Code(answer.error_code)


def test_matching_subscriptions_are_combined_at_the_shortest_interval():
    every = read_subscription({"metrics": "a.,b.", "interval.ms": "5000"})
    java = read_subscription({"metrics": "b.,c.", "interval.ms": "1000", "match": "client_software_name=.*java"})
    attributes = {"client_software_name": "apache-kafka-java"}
    assert requested_metrics([every, java], attributes, NO_ID)[:2] == (("a.", "b.", "c."), 1000)
    assert requested_metrics([every, java], {"client_software_name": "librdkafka"}, NO_ID)[:2] == (("a.", "b."), 5000)
    assert requested_metrics([java], {"client_software_name": None}, NO_ID)[:2] == ((), 300_000)


def test_a_subscription_to_all_metrics_replaces_the_others():
    subscriptions = [read_subscription({"metrics": "a."}), read_subscription({"metrics": "*"})]
    assert requested_metrics(subscriptions, {}, NO_ID).metrics == ("*",)


def test_a_pattern_matches_the_whole_value_and_every_pattern_must_match():
    both = read_subscription({"match": "client_id=a.*, client_source_port=90"})
    assert both.matches({"client_id": "abc", "client_source_port": "90"})
    assert not both.matches({"client_id": "abc", "client_source_port": "9092"})
    assert not both.matches({"client_id": "cab", "client_source_port": "90"})


async def test_the_apis_are_advertised_where_a_sink_is_configured_only(client):
    assert {71, 72} <= client.apis.keys()
    assert not {71, 72} & all_apis().keys()


async def test_a_client_gets_an_id_and_the_matching_subscriptions(client):
    await subscribe(client, metrics=METRICS, **{"interval.ms": "1000"}, match="client_id=te.t")
    answer = await get(client)
    assert answer.client_instance_id != NO_ID
    assert (answer.requested_metrics, answer.push_interval_ms) == ([METRICS], 1000)
    assert answer.accepted_compression_types == [4, 3, 1, 2]
    assert (answer.telemetry_max_bytes, answer.delta_temporality) == (1048576, True)

    other = await get(Peer(client.broker, client_id="other"))
    assert (other.requested_metrics, other.push_interval_ms) == ([], 300_000)
    assert other.client_instance_id != answer.client_instance_id


async def test_an_id_of_the_client_is_kept(client):
    own = bytes(range(16))
    assert (await get(client, own)).client_instance_id == own


async def test_a_second_request_within_the_push_interval_is_throttled(client, broker):
    first = await get(client)
    assert (await get(client, first.client_instance_id)).error_code == Code.THROTTLING_QUOTA_EXCEEDED
    broker.clock.advance(300_000)
    assert (await get(client, first.client_instance_id)).error_code == 0


async def test_a_changed_subscription_is_given_at_once_and_ends_the_old_one(client, broker):
    await subscribe(client, metrics="a.")
    first = await get(client)
    await subscribe(client, metrics="b.")
    assert await push(client, first) is Code.UNKNOWN_SUBSCRIPTION_ID
    second = await get(client, first.client_instance_id)
    assert (second.error_code, second.requested_metrics) == (0, ["b."])
    assert second.subscription_id != first.subscription_id
    broker.clock.advance(300_000)
    assert await push(client, second) is Code.NONE


@pytest.mark.parametrize("codec", Codec)
async def test_metrics_of_every_codec_are_logged(client, capsys, codec):
    from kwire.broker import logs

    answer = await get(client)
    logs.configure(level="info")
    try:
        assert await push(client, answer, compress(codec, otlp(1.0, 2.5)), codec=codec) is Code.NONE
    finally:
        logs.configure(level="warning")
    lines = [line for line in capsys.readouterr().err.splitlines() if "client metric" in line]
    assert len(lines) == 2
    assert "name=org.apache.kafka.producer.record.send.total" in lines[1]
    assert "value=2.5" in lines[1]
    assert "client_id=test" in lines[1]
    assert "it's mine" in lines[1]


async def test_a_push_before_its_time_is_throttled_but_the_last_one(client, broker):
    answer = await get(client)
    assert await push(client, answer) is Code.NONE
    assert await push(client, answer) is Code.THROTTLING_QUOTA_EXCEEDED
    broker.clock.advance(300_000)
    assert await push(client, answer) is Code.NONE
    assert await push(client, answer, terminating=True) is Code.NONE
    assert await push(client, answer, terminating=True) is Code.INVALID_REQUEST


@pytest.mark.parametrize("reserved", [bytes(16), bytes(15) + b"\x01"])
async def test_a_push_without_an_id_of_its_own_is_refused(client, reserved):
    answer = await get(client)
    assert await push(client, answer, client_instance_id=reserved) is Code.INVALID_REQUEST


async def test_a_push_with_an_unknown_codec_or_too_many_bytes_is_refused(client, broker):
    answer = await get(client)
    assert await push(client, answer, b"x", compression_type=9) is Code.UNSUPPORTED_COMPRESSION_TYPE
    broker.clock.advance(300_000)
    assert await push(client, answer, bytes(1048577)) is Code.TELEMETRY_TOO_LARGE


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("metrics", [b"\xff" * 50, b"\x0a\x05ab", b"\x0b" * 1000])
async def test_bytes_that_are_no_metrics_are_refused(client, codec, metrics):
    answer = await get(client)
    assert await push(client, answer, metrics, codec=codec) is Code.INVALID_RECORD
    assert await push(client, answer, compress(codec, metrics), codec=codec, terminating=True) is Code.INVALID_RECORD


async def test_a_decompression_bomb_is_refused(client):
    answer = await get(client)
    bomb = compress(Codec.ZSTD, bytes(50_000_000))
    assert await push(client, answer, bomb, codec=Codec.ZSTD) is Code.TELEMETRY_TOO_LARGE


async def test_the_values_of_a_client_are_kept_while_it_is_connected(client, broker):
    answer = await get(client)
    assert await push(client, answer, otlp(1.0)) is Code.NONE
    assert await push(client, answer, otlp(2.5), terminating=True) is Code.NONE
    name = "org.apache.kafka.producer.record.send.total"
    assert [(each.name, each.value) for each in broker.telemetry.pushed.of(answer.client_instance_id)] == [(name, 2.5)]
    (connection,) = broker.telemetry._by_connection
    assert broker.telemetry.instance_of(connection).attributes["client_id"] == "test"
    broker.telemetry.connection_closed(connection)
    assert broker.telemetry.instance_of(connection) is None
    assert broker.telemetry.pushed.of(answer.client_instance_id) == []


def test_differences_add_up_for_each_set_of_labels():
    pushed = PushedMetrics(10)
    for value in (2.0, 3.0):
        pushed.add(NO_ID, [Point("sent", value, {"topic": "a"}, is_delta=True), Point("now", value, {})])
        pushed.add(NO_ID, [Point("sent", 1.0, {"topic": "b"}, is_delta=True)])
    assert [(each.name, each.value, each.labels) for each in pushed.of(NO_ID)] == [
        ("sent", 5.0, {"topic": "a"}),
        ("now", 3.0, {}),
        ("sent", 2.0, {"topic": "b"}),
    ]


def test_the_values_of_the_client_that_pushed_longest_ago_are_forgotten_first():
    pushed = PushedMetrics(3)
    for client in (b"a", b"b", b"a", b"c"):
        pushed.add(client, [Point("one", 1.0, {}), Point("two", 1.0, {})][: 1 if client == b"b" else 2])
    assert [len(pushed.of(client)) for client in (b"a", b"b", b"c")] == [0, 0, 2]
    pushed.add(b"d", [Point(str(number), 1.0, {}) for number in range(4)])
    assert [pushed.of(client) for client in (b"c", b"d")] == [[], []]


async def test_an_instance_is_forgotten_when_its_connection_closes(client, broker):
    first = await get(client)
    broker.telemetry.connection_closed(client)
    assert (await get(client, first.client_instance_id)).error_code == 0


async def test_an_instance_without_a_push_for_three_intervals_is_removed(client, broker):
    first = await get(client)
    assert await push(client, first, terminating=True) is Code.NONE
    broker.clock.advance(899_000)
    assert await push(client, first) is Code.INVALID_REQUEST
    assert await push(client, first, terminating=True) is Code.NONE
    broker.clock.advance(900_000)
    assert await push(client, first) is Code.NONE


async def test_the_client_used_longest_ago_is_forgotten_first(client, broker, monkeypatch):
    monkeypatch.setattr("kwire.broker.telemetry.client_telemetry.CLIENT_INSTANCES_MAX", 2)
    ids = [(await get(Peer(broker))).client_instance_id for _ in range(3)]
    assert (await get(client, ids[2])).error_code == Code.THROTTLING_QUOTA_EXCEEDED
    assert (await get(client, ids[0])).error_code == 0
