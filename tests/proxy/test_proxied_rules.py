"""Fault rules, the request log and recordings of a proxy."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from clusters import Network, answer

from kwire.control.proxy_bench import ProxyBench
from kwire.control.requests.recording import RecordedRequest, read_recording
from kwire.control.requests.request_log import Filter
from kwire.errors import Code
from kwire.faults.rules import RuleError, read_rule
from kwire.proxy import exchange
from kwire.wire import codec
from kwire.wire.messages import (
    ApiVersionsResponse,
    FetchRequest,
    FetchResponse,
    HeartbeatResponse,
    MetadataResponse,
    ProduceRequest,
    ProduceResponse,
    SaslAuthenticateResponse,
    SaslHandshakeResponse,
)

PRODUCE, FETCH, METADATA, HEARTBEAT, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 0, 1, 3, 12, 17, 18, 36
TOPIC_ID = bytes(range(16))


@pytest.fixture
def network(nursery):
    return Network(nursery)


@pytest.fixture
def bench(network):
    return ProxyBench(network.proxy)


def produce_to(*topics):
    topic_data = [
        ProduceRequest.TopicProduceData(
            name=name, partition_data=[ProduceRequest.PartitionProduceData(index=0, records=b"batch")]
        )
        for name in topics
    ]
    return {"acks": -1, "topic_data": topic_data}


def produced(*topics):
    partition = ProduceResponse.PartitionProduceResponse(index=0, base_offset=5)
    return ProduceResponse(
        responses=[ProduceResponse.TopicProduceResponse(name=name, partition_responses=[partition]) for name in topics]
    )


def armed(bench, **rule):
    return bench.injector.add(read_rule(rule))


async def test_an_error_takes_the_place_of_the_response_and_the_node_sees_nothing(network, bench):
    rule = armed(bench, api="Heartbeat", group="g", error="REBALANCE_IN_PROGRESS", times=1)
    client, node = await network.pair()

    await client.ask(HEARTBEAT, 4, group_id="g")
    assert (await client.response())[1].error_code == Code.REBALANCE_IN_PROGRESS
    sent = await client.ask(HEARTBEAT, 4, group_id="g")
    assert await node.frame() == sent, "the first one was not passed on"
    await node.send(answer(sent, HeartbeatResponse()))
    assert await client.frame() == answer(sent, HeartbeatResponse())
    assert (rule.matched, rule.fired) == (2, 1)


async def test_an_error_of_one_topic_leaves_the_others_to_the_node(network, bench):
    armed(bench, api="Produce", topic="bad", error="NOT_LEADER_OR_FOLLOWER")
    client, node = await network.pair()

    await client.ask(PRODUCE, 9, **produce_to("good", "bad"))
    passed = await node.frame()
    header = codec.read_header(memoryview(passed)[4:])
    request = codec.decode_request(header, memoryview(passed)[4:])
    assert [each.name for each in request.topic_data] == ["good"]
    await node.send(answer(passed, produced("good")))

    _, seen = await client.response()
    codes = {each.name: each.partition_responses[0].error_code for each in seen.responses}
    assert codes == {"good": 0, "bad": Code.NOT_LEADER_OR_FOLLOWER}


@pytest.mark.parametrize("with_rule", [False, True])
async def test_a_request_that_a_rule_does_not_change_passes_byte_for_byte(network, bench, with_rule):
    bench.log.start()
    if with_rule:
        armed(bench, api="Metadata", client_id="another", drop=True)
    client, node = await network.pair()
    sent = await client.ask(METADATA, 12)
    # librdkafka sends bytes behind the body.
    longer = (len(sent) - 4 + 3).to_bytes(4, "big") + sent[4:] + b"\0\0\0"
    await client.send(longer)

    assert await node.frame() == sent
    reply = answer(sent, MetadataResponse(cluster_id="c"))
    unknown = reply[:-1] + b"\x01\x63\x01x"  # one tagged field that no spec has
    unknown = (len(unknown) - 4).to_bytes(4, "big") + unknown[4:]
    await node.send(unknown)
    assert await client.frame() == unknown
    assert await node.frame() == longer


async def test_with_done_the_node_handles_the_request_before_the_reply_is_lost(network, bench):
    armed(bench, api="Produce", close=True, done=True, times=1)
    client, node = await network.pair()

    sent = await client.ask(PRODUCE, 9, **produce_to("t"))
    assert await node.frame() == sent
    await node.send(answer(sent, produced("t")))

    assert await client.frame() is None


async def test_after_a_dropped_request_its_connection_is_silent_until_the_client_closes(network, bench):
    rule = armed(bench, api="Heartbeat", drop=True, times=1)
    client, node = await network.pair()

    await client.ask(HEARTBEAT, 4, group_id="first")
    await client.ask(METADATA, 12)
    await rule.wait_fired(1)
    await client.ask(HEARTBEAT, 4, group_id="second")
    await trio.testing.wait_all_tasks_blocked()
    await client.stream.aclose()
    assert await node.frame() is None
    assert rule.fired == rule.matched == 1


async def test_requests_are_followed_past_one_that_waits(network, bench):
    bench.log.start()
    armed(bench, api="Heartbeat", group="held", hold=True)
    followed = []

    async def follow():
        async for entry in bench.log.follow(Filter(api="Heartbeat")):
            followed.extend([entry.request["group_id"]])

    network.nursery.start_soon(follow)
    waiting, _ = await network.pair()
    await waiting.ask(HEARTBEAT, 4, group_id="held")
    await trio.testing.wait_all_tasks_blocked()
    client, node = await network.pair()
    for group in ("second", "third"):
        sent = await client.ask(HEARTBEAT, 4, group_id=group)
        await node.frame()
        await node.send(answer(sent, HeartbeatResponse()))
        await client.frame()
    await trio.testing.wait_all_tasks_blocked()
    assert followed == ["second", "third"]


async def test_a_held_request_goes_on_when_it_is_released(network, bench):
    rule = armed(bench, api="Heartbeat", hold=True)
    client, node = await network.pair()

    sent = await client.ask(HEARTBEAT, 4)
    await rule.wait_fired(1)
    await trio.testing.wait_all_tasks_blocked()
    rule.release()
    assert await node.frame() == sent


async def test_a_held_request_ends_with_its_client(network, bench):
    armed(bench, api="Heartbeat", hold=True)
    client, node = await network.pair()
    await client.ask(HEARTBEAT, 4)
    await trio.testing.wait_all_tasks_blocked()
    await client.stream.aclose()

    assert await node.frame() is None
    await node.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert network.proxy.connections == set()


async def test_a_delay_follows_the_clock_of_the_proxy(network, bench):
    armed(bench, api="Heartbeat", delay_ms=3_600_000)
    client, node = await network.pair()
    sent = await client.ask(HEARTBEAT, 4)
    await trio.testing.wait_all_tasks_blocked()
    network.clock.advance(3_600_001)
    assert await node.frame() == sent


async def test_a_request_without_rules_is_not_held_up_by_those_with(network, bench):
    armed(bench, api="Produce", hold=True)
    client, _ = await network.pair()
    other, its_node = await network.pair()

    await client.ask(PRODUCE, 9, **produce_to("t"))
    sent = await other.ask(HEARTBEAT, 4)
    assert await its_node.frame() == sent


async def test_a_request_with_rules_waits_for_the_responses_before_it(network, bench):
    armed(bench, api="Produce", error="NOT_LEADER_OR_FOLLOWER")
    client, node = await network.pair()

    sent = await client.ask(HEARTBEAT, 4)
    await client.ask(PRODUCE, 9, **produce_to("t"))
    await node.frame()
    await node.send(answer(sent, HeartbeatResponse()))

    assert [(await client.response())[0] for _ in range(2)] == [1, 2]


async def test_produce_without_acks_gets_no_response_through_a_rule_either(network, bench):
    bench.log.start()
    client, node = await network.pair()
    await client.ask(PRODUCE, 9, **{**produce_to("t"), "acks": 0})
    await node.frame()
    sent = await client.ask(HEARTBEAT, 4)
    assert await node.frame() == sent
    assert [each.outcome for each in bench.log.last(1, Filter(api="Produce"))] == ["no reply"]


async def test_a_rule_of_one_node_leaves_the_others_alone(network, bench):
    armed(bench, api="Heartbeat", listener="kafka-1:9092", error="NOT_COORDINATOR")
    network.proxy.advertise("kafka-2", 9092)
    second = next(node for node in network.proxy.nodes if node.host == "kafka-2")
    client, _ = await network.pair()
    other, its_node = await network.pair(second)

    await client.ask(HEARTBEAT, 4)
    assert (await client.response())[1].error_code == Code.NOT_COORDINATOR
    sent = await other.ask(HEARTBEAT, 4)
    assert await its_node.frame() == sent


async def test_metadata_is_rewritten_by_a_rule(network, bench):
    armed(bench, api="Metadata", set={"port": 1})
    client, node = await network.pair()
    sent = await client.ask(METADATA, 12)
    await node.frame()
    broker = MetadataResponse.MetadataResponseBroker(node_id=1, host="kafka-2", port=9092)
    await node.send(answer(sent, MetadataResponse(brokers=[broker])))
    _, seen = await client.response()
    assert (seen.brokers[0].host, seen.brokers[0].port) == ("proxy", 1)


async def test_a_reply_is_cut_short_and_another_is_garbage(network, bench):
    armed(bench, name="cut", api="Heartbeat", truncate=9)
    client, node = await network.pair()
    sent = await client.ask(HEARTBEAT, 4)
    await node.frame()
    await node.send(answer(sent, HeartbeatResponse()))
    assert await client.stream.receive_some(100) == answer(sent, HeartbeatResponse())[:9]
    assert await client.stream.receive_some(100) == b""

    bench.injector.remove("cut")
    armed(bench, api="Heartbeat", garbage=True)
    client, node = await network.pair()
    sent = await client.ask(HEARTBEAT, 4)
    await node.frame()
    await node.send(answer(sent, HeartbeatResponse()))
    assert set((await client.frame())[8:]) == {0xFF}


async def test_a_throttle_time_mutes_the_connection(network, bench):
    armed(bench, api="Heartbeat", throttle_ms=60_000, times=1)
    client, node = await network.pair()
    first = await client.ask(HEARTBEAT, 4)
    await node.frame()
    await node.send(answer(first, HeartbeatResponse()))
    assert (await client.response())[1].throttle_time_ms == 60_000
    sent = await client.ask(HEARTBEAT, 4)
    await trio.testing.wait_all_tasks_blocked()
    network.clock.advance(60_001)
    assert await node.frame() == sent


async def test_the_listener_of_a_rule_is_a_node_that_may_become_known_later(network, bench):
    node, own = next(iter(network.proxy.nodes.items()))
    with pytest.raises(RuleError, match=f"the proxy's own address: name its node, {node}"):
        armed(bench, listener=str(own), drop=True)
    for name in ("PLAINTEXT", "host:", ":1", ""):
        with pytest.raises(RuleError, match=f"the listener of a proxy is a node, {node}, not '{name}'"):
            armed(bench, listener=name, drop=True)
    armed(bench, listener=str(node), drop=True)
    armed(bench, listener="later:9092", drop=True)


async def test_corrupt_records_are_those_of_the_node_with_one_bit_flipped(network, bench):
    armed(bench, api="Fetch", corrupt_records=True)
    client, node = await network.pair()
    batch = b"\0" * 8 + (70 - 12).to_bytes(4, "big") + b"\0" * 58
    sent = await client.ask(FETCH, 12)
    await node.frame()
    partition = FetchResponse.PartitionData(partition_index=0, records=batch)
    response = FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="t", partitions=[partition])])
    await node.send(answer(sent, response))
    seen = bytes((await client.response())[1].responses[0].partitions[0].records)
    assert [at for at, (one, other) in enumerate(zip(seen, batch, strict=True)) if one != other] == [17]


async def test_topic_ids_count_as_the_topics_that_metadata_named(network, bench):
    bench.log.start()
    client, node = await network.pair()
    sent = await client.ask(METADATA, 12)
    await node.frame()
    topic = MetadataResponse.MetadataResponseTopic(name="orders", topic_id=TOPIC_ID)
    await node.send(answer(sent, MetadataResponse(topics=[topic])))
    await client.response()

    rule = armed(bench, api="Fetch", topic="orders", drop=True)
    wanted = FetchRequest.FetchTopic(topic_id=TOPIC_ID, partitions=[FetchRequest.FetchPartition(partition=0)])
    await client.ask(FETCH, 13, topics=[wanted])
    await rule.wait_fired(1)
    assert [each.api for each in bench.log.last(10, Filter(topic="orders"))] == ["Fetch"]


async def test_a_rule_for_fetch_alone_knows_the_topics_that_metadata_named_before(network, bench):
    client, node = await network.pair()
    sent = await client.ask(METADATA, 12)
    await node.frame()
    topic = MetadataResponse.MetadataResponseTopic(name="orders", topic_id=TOPIC_ID)
    await node.send(answer(sent, MetadataResponse(topics=[topic])))
    await client.response()

    rule = armed(bench, api="Fetch", topic="orders", drop=True)
    wanted = FetchRequest.FetchTopic(topic_id=TOPIC_ID, partitions=[FetchRequest.FetchPartition(partition=0)])
    await client.ask(FETCH, 13, topics=[wanted])
    await rule.wait_fired(1)
    assert rule.fired == 1


async def test_rules_and_the_log_have_the_principal_of_a_login(network, bench):
    bench.log.start()
    armed(bench, api="Heartbeat", principal="User:al,ice", error="NOT_COORDINATOR")
    for mechanism, token in (("PLAIN", b"\0al,ice\0secret"), ("SCRAM-SHA-256", b"n,,n=al=2Cice,r=nonce")):
        client, node = await network.pair()
        sent = await client.ask(SASL_HANDSHAKE, 1, mechanism=mechanism)
        await node.frame()
        await node.send(answer(sent, SaslHandshakeResponse(mechanisms=[mechanism])))
        await client.response()
        sent = await client.ask(SASL_AUTHENTICATE, 2, auth_bytes=token)
        assert await node.frame() == sent
        await node.send(answer(sent, SaslAuthenticateResponse()))
        await client.response()
        await client.ask(HEARTBEAT, 4)
        assert (await client.response())[1].error_code == Code.NOT_COORDINATOR
    shown = [each.to_json() for each in bench.log.last(10, Filter(api="SaslAuthenticate"))]
    assert [each["request"]["auth_bytes"] for each in shown] == ["hidden", "hidden"]


async def test_for_the_log_alone_nothing_is_encoded(network, bench, monkeypatch):
    encoded = []
    for name in ("encode_request", "encode_response"):
        real = getattr(exchange, name)
        monkeypatch.setattr(exchange, name, lambda *given, real=real, name=name: encoded.append(name) or real(*given))
    client, node = await network.pair()

    async def pass_one():
        sent = await client.ask(HEARTBEAT, 4, group_id="g")
        assert await node.frame() == sent
        await node.send(answer(sent, HeartbeatResponse()))
        await client.response()

    bench.log.start()
    await pass_one()
    assert encoded == []
    armed(bench, name="r", api="Heartbeat", group="another", drop=True)
    await pass_one()
    assert sorted(encoded) == ["encode_request"] * 2 + ["encode_response"] * 2
    bench.injector.remove("r")
    await pass_one()
    assert len(encoded) == 4
    assert len(bench.log.last(5, Filter())) == 3


async def test_the_log_shows_requests_with_what_the_client_got(network, bench):
    bench.log.start()
    client, node = await network.pair()
    sent = await client.ask(METADATA, 12)
    await node.frame()
    broker = MetadataResponse.MetadataResponseBroker(node_id=1, host="kafka-1", port=9092)
    await node.send(answer(sent, MetadataResponse(brokers=[broker])))
    await client.response()

    (entry,) = bench.log.last(5, Filter())
    assert (entry.api, entry.client_id, entry.listener, entry.outcome) == (
        "Metadata",
        "test",
        "kafka-1:9092",
        "answered",
    )
    assert entry.response["brokers"][0]["host"] == "proxy"


async def test_a_node_that_refuses_the_version_of_api_versions_is_understood(network, bench):
    bench.log.start()
    client, node = await network.pair()
    sent = await client.ask(API_VERSIONS, 4, client_software_name="a", client_software_version="1")
    await node.frame()
    refusal = answer(sent, ApiVersionsResponse(error_code=Code.UNSUPPORTED_VERSION), version=0)
    await node.send(refusal)

    assert await client.frame() == refusal
    assert [each.outcome for each in bench.log.last(1, Filter())] == ["UNSUPPORTED_VERSION"]


async def test_a_response_that_cannot_be_decoded_passes(network, bench):
    bench.log.start()
    client, node = await network.pair()
    sent = await client.ask(HEARTBEAT, 4)
    await node.frame()
    odd = (8).to_bytes(4, "big") + sent[8:12] + b"\0\0\0\0"
    await node.send(odd)
    assert await client.frame() == odd


async def test_a_recording_has_the_requests_that_passed(network, bench, tmp_path):
    bench.record(str(tmp_path / "file"))
    client, node = await network.pair()
    sent = await client.ask(HEARTBEAT, 4)
    await node.frame()
    await node.send(answer(sent, HeartbeatResponse()))
    await client.response()
    bench.stop_recording()

    request, response = read_recording(str(tmp_path / "file"))
    assert isinstance(request, RecordedRequest)
    assert (request.frame, response.frame) == (sent[4:], answer(sent, HeartbeatResponse())[4:])


async def test_rules_about_files_and_apis_that_are_not_there_are_refused(bench):
    with pytest.raises(RuleError, match="no files"):
        armed(bench, disk_full=True)
    with pytest.raises(RuleError, match="names no topic"):
        armed(bench, api="Heartbeat", topic="t", drop=True)
