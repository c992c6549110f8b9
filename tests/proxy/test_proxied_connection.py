"""What passes through the proxy: bytes, order, ends, back pressure."""

from __future__ import annotations

import struct

import pytest
import trio
import trio.testing
from clusters import BOOTSTRAP, Network, answer

from kwire.broker.outbound.interface import Address
from kwire.limits import PROXY_BUFFER_BYTES, PROXY_FRAME_BYTES_MAX
from kwire.proxy.frames import SharedBuffers
from kwire.security.principal import Principal
from kwire.server.tls.handshake import HandshakeFailed
from kwire.wire import codec
from kwire.wire.messages import (
    ApiVersionsResponse,
    FetchResponse,
    HeartbeatResponse,
    MetadataResponse,
    ProduceResponse,
    SaslHandshakeResponse,
)

PRODUCE, FETCH, METADATA, HEARTBEAT, SASL_HANDSHAKE, API_VERSIONS = 0, 1, 3, 12, 17, 18
KAFKA_2 = Address("kafka-2", 9092)


@pytest.fixture
def network(nursery):
    return Network(nursery)


def metadata(*addresses):
    brokers = [
        MetadataResponse.MetadataResponseBroker(node_id=number, host=host, port=port)
        for number, (host, port) in enumerate(addresses, 1)
    ]
    return MetadataResponse(brokers=brokers)


async def test_requests_and_responses_pass_byte_for_byte(network):
    client, node = await network.pair()

    sent = await client.ask(HEARTBEAT, 4, group_id="g", member_id="m")
    assert await node.frame() == sent
    # Bytes that no spec has: a tagged field in the header.
    reply = b"\x00\x00\x00\x0e" + b"\x00\x00\x00\x01" + b"\x01\x09\x00" + b"\x00\x00\x00\x05" + b"\x00\x1b" + b"\x00"
    await node.send(reply)

    assert await client.frame() == reply


async def test_an_api_that_no_spec_has_passes(network):
    client, node = await network.pair()
    sent = struct.pack(">ihhih", 12, 700, 3, 9, -1) + b"??"

    await client.send(sent)
    assert await node.frame() == sent
    await node.send(struct.pack(">ii", 6, 9) + b"!!")

    assert await client.frame() == struct.pack(">ii", 6, 9) + b"!!"


async def test_pipelined_requests_are_passed_on_at_once_and_answered_in_order(network):
    client, node = await network.pair()

    sent = [await client.ask(HEARTBEAT, 4), await client.ask(METADATA, 12), await client.ask(HEARTBEAT, 4)]

    assert [await node.frame() for _ in sent] == sent
    for content, message in zip(
        sent, [HeartbeatResponse(), metadata(("kafka-2", 9092)), HeartbeatResponse(error_code=27)], strict=True
    ):
        await node.send(answer(content, message))
    assert [(await client.response())[0] for _ in sent] == [1, 2, 3]


async def test_the_addresses_of_nodes_are_those_of_the_proxy(network):
    client, node = await network.pair()

    sent = await client.ask(METADATA, 12)
    await node.frame()
    await node.send(answer(sent, metadata(("kafka-1", 9092), ("kafka-2", 9092))))

    _, seen = await client.response()
    assert [(each.host, each.port) for each in seen.brokers] == [("proxy", 19092), ("proxy", 19093)]
    assert network.proxy.nodes == {BOOTSTRAP: ("proxy", 19092), KAFKA_2: ("proxy", 19093)}


async def test_a_node_that_appears_gets_a_listener_and_its_clients_reach_it(network):
    client, node = await network.pair()
    for addresses in ([("kafka-1", 9092)], [("kafka-1", 9092), ("kafka-2", 9092)], [("kafka-2", 9092)]):
        sent = await client.ask(METADATA, 12)
        await node.frame()
        await node.send(answer(sent, metadata(*addresses)))
        await client.response()

    assert network.opened == [BOOTSTRAP, KAFKA_2]
    second, its_node = await network.pair(KAFKA_2)
    sent = await second.ask(HEARTBEAT, 4)
    assert await its_node.frame() == sent


async def test_an_address_of_the_proxy_itself_stays(network):
    client, node = await network.pair()
    sent = await client.ask(METADATA, 12)
    await node.frame()
    await node.send(answer(sent, metadata(("proxy", 19092))))
    _, seen = await client.response()
    assert (seen.brokers[0].host, seen.brokers[0].port) == ("proxy", 19092)
    assert network.opened == [BOOTSTRAP]


async def test_a_produce_request_without_acks_has_no_response(network):
    client, node = await network.pair()

    for version in (3, 9, 13):
        await client.ask(PRODUCE, version, acks=0, transactional_id="t" * 300)
        await node.frame()
        await client.ask(PRODUCE, version, acks=0)
        await node.frame()
    old = struct.pack(">hhih", PRODUCE, 0, 77, -1) + struct.pack(">hii", 0, 1000, 0)
    await client.send(struct.pack(">i", len(old)) + old)
    await node.frame()
    sent = await client.ask(PRODUCE, 13, acks=-1)
    await node.frame()
    await node.send(answer(sent, ProduceResponse()))

    assert await client.frame() == answer(sent, ProduceResponse())


async def test_current_leaders_of_a_refused_produce_request_are_rewritten(network):
    client, node = await network.pair()
    sent = await client.ask(PRODUCE, 12, acks=-1)
    await node.frame()
    endpoint = ProduceResponse.NodeEndpoint(node_id=2, host="kafka-2", port=9092)
    await node.send(answer(sent, ProduceResponse(node_endpoints=[endpoint])))

    _, seen = await client.response()
    assert (seen.node_endpoints[0].host, seen.node_endpoints[0].port) == ("proxy", 19093)


async def test_versions_that_cannot_be_rewritten_are_not_offered(network):
    client, node = await network.pair()
    sent = await client.ask(API_VERSIONS, 3, client_software_name="a", client_software_version="1")
    await node.frame()
    ranges = [
        ApiVersionsResponse.ApiVersion(api_key=key, min_version=0, max_version=90) for key in (METADATA, HEARTBEAT)
    ]
    await node.send(answer(sent, ApiVersionsResponse(api_keys=ranges)))

    _, seen = await client.response()
    assert [each.max_version for each in seen.api_keys] == [codec.response_class(METADATA).VERSIONS.highest, 90]


async def test_a_newer_version_of_api_versions_is_answered_with_the_range(network):
    client, node = await network.pair()
    body = struct.pack(">hhih", API_VERSIONS, 90, 5, -1) + b"\x00newer"
    await client.send(struct.pack(">i", len(body)) + body)

    correlation_id, seen = codec.decode_response(API_VERSIONS, 0, memoryview(await client.frame())[4:])
    assert (correlation_id, seen.error_code) == (5, 35)
    assert seen.api_keys[0].api_key == API_VERSIONS

    sent = await client.ask(HEARTBEAT, 4)
    assert await node.frame() == sent


async def test_a_version_whose_addresses_would_leak_ends_the_connection(network):
    client, node = await network.pair()
    body = struct.pack(">hhih", METADATA, 90, 5, -1)
    await client.send(struct.pack(">i", len(body)) + body)

    assert await client.frame() is None
    assert await node.frame() is None


async def test_tokens_of_an_old_login_pass_and_requests_follow(network):
    client, node = await network.pair()
    sent = await client.ask(SASL_HANDSHAKE, 0, mechanism="PLAIN")
    assert await node.frame() == sent
    await node.send(answer(sent, SaslHandshakeResponse(mechanisms=["PLAIN"])))
    await client.response()

    for token in (b"\x00a\x00secret", b"n,,n=alice,r=abc", b"\x60\x82\x01\x00gss", b""):
        framed = struct.pack(">i", len(token)) + token
        await client.send(framed)
        assert await node.frame() == framed
        await node.send(struct.pack(">i", 3) + b"abc")
        assert await client.frame() == struct.pack(">i", 3) + b"abc"
    sent = await client.ask(METADATA, 12)
    assert await node.frame() == sent
    await node.send(answer(sent, metadata(("kafka-2", 9092))))

    assert (await client.response())[1].brokers[0].host == "proxy"


async def test_a_large_frame_passes_in_pieces(network):
    client, node = await network.pair()
    size = PROXY_FRAME_BYTES_MAX + 100
    begin = struct.pack(">ihhih", size, HEARTBEAT, 4, 1, -1)

    await client.send(begin)
    assert await node.stream.receive_some(100) == begin
    for _ in range(3):
        await client.send(b"x" * 50_000)
        received = b""
        while len(received) < 50_000:
            received += await node.stream.receive_some(100_000)
        assert received == b"x" * 50_000


async def test_a_response_to_be_rewritten_that_is_too_large_ends_the_connection(network):
    client, node = await network.pair()
    sent = await client.ask(METADATA, 12)
    await node.frame()
    await node.send(struct.pack(">i", PROXY_FRAME_BYTES_MAX + 1) + sent[8:12])

    assert await client.frame() is None


@pytest.mark.parametrize("begin", [b"\xff\xff\xff\xff", b"\x80\x00\x00\x00rest"])
async def test_a_negative_size_ends_the_connection(network, begin):
    client, _ = await network.pair()
    await client.send(begin)
    assert await client.frame() is None


async def test_a_response_that_nothing_asked_for_passes(network):
    client, node = await network.pair()
    await node.send(struct.pack(">ii", 4, 99))
    assert await client.frame() == struct.pack(">ii", 4, 99)


async def test_a_response_to_another_request_than_those_under_way_ends_the_connection(network):
    client, node = await network.pair()
    await client.ask(HEARTBEAT, 4)
    await node.frame()
    await node.send(struct.pack(">ii", 4, 99))
    assert await client.frame() is None


# Ends


async def test_a_client_of_a_node_that_cannot_be_reached_is_closed(network):
    network.refuses.add(BOOTSTRAP)
    client = network.connect()
    assert await client.frame() is None
    assert network.proxy.connections == set()


async def test_a_client_that_sends_no_more_still_gets_its_responses(network):
    client, node = await network.pair()
    sent = await client.ask(HEARTBEAT, 4)
    await client.stream.send_eof()

    assert await node.frame() == sent
    assert await node.frame() is None
    await node.send(answer(sent, HeartbeatResponse()))
    assert await client.frame() == answer(sent, HeartbeatResponse())
    await node.stream.aclose()
    assert await client.frame() is None


async def test_over_tls_a_client_that_sends_no_more_still_gets_its_responses(network):
    network.tls = True
    client, node = await network.pair()
    sent = await client.ask(HEARTBEAT, 4)
    await node.frame()
    await client.stream.send_eof()
    await node.send(answer(sent, HeartbeatResponse()))

    assert await client.frame() == answer(sent, HeartbeatResponse())
    assert await client.frame() is None
    assert await node.frame() is None


async def test_a_node_that_closes_closes_its_client_after_what_it_sent(network):
    client, node = await network.pair()
    sent = await client.ask(HEARTBEAT, 4)
    await node.frame()
    await node.send(answer(sent, HeartbeatResponse()))
    await node.stream.aclose()

    assert await client.frame() == answer(sent, HeartbeatResponse())
    assert await client.frame() is None


async def test_a_client_that_is_gone_closes_its_node(network):
    client, node = await network.pair()
    await client.ask(HEARTBEAT, 4)
    await node.frame()
    await client.stream.aclose()

    assert await node.frame() is None


@pytest.mark.parametrize("size", [8, 9, 10, 11, 12, 13])
async def test_a_produce_request_that_ends_before_its_acks_ends_the_connection(network, size):
    client, _ = await network.pair()
    whole = struct.pack(">hhihBBh", PRODUCE, 13, 1, 0, 0, 0, -1)
    await client.send(struct.pack(">i", size) + whole[:size])
    assert await client.frame() is None


def fetched(records, *addresses):
    response = FetchResponse
    partition = response.PartitionData(partition_index=0, records=records)
    topic = response.FetchableTopicResponse(topic_id=b"t" * 16, partitions=[partition])
    nodes = [response.NodeEndpoint(node_id=2, host=host, port=port) for host, port in addresses]
    return response(responses=[topic], node_endpoints=nodes)


@pytest.mark.parametrize("size", [10_000, 300_000, 5_000_000])
async def test_responses_of_any_size_are_searched_for_addresses(network, size):
    client, node = await network.pair()
    records = bytes(range(256)) * (size // 256)
    for number in range(1, 4):
        sent = await client.ask(FETCH, 17, session_epoch=-1)
        await node.frame()
        with_address = number == 2
        reply = answer(sent, fetched(records, *([KAFKA_2] if with_address else [])))
        await node.send(reply)
        if not with_address:
            assert await client.frame() == reply
            continue
        _, response = await client.response()
        assert [(each.host, each.port) for each in response.node_endpoints] == [("proxy", 19093)]
        assert bytes(response.responses[0].partitions[0].records) == records


async def test_a_buffer_of_a_connection_that_ends_is_not_lent_again():
    buffers = SharedBuffers()
    with pytest.raises(ConnectionError), buffers.lent(10) as lost:
        raise ConnectionError
    with buffers.lent(10) as first:
        assert first is not lost
        with buffers.lent(PROXY_BUFFER_BYTES + 1) as too_large:
            assert too_large is None
    with buffers.lent(10) as again:
        assert again is first


@pytest.mark.parametrize(
    ("begin", "why"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "this looks like a TLS hello; this listener is plaintext"),
        (b"GET / HTTP/1.1", "this looks like an HTTP request"),
    ],
)
async def test_bytes_that_are_no_request_do_not_reach_the_node(network, capsys, begin, why):
    client, node = await network.pair()
    await client.send(begin)
    assert await client.frame() is None
    assert await node.stream.receive_some(1) == b""
    assert why in capsys.readouterr().err


async def test_a_node_that_wants_tls_is_in_the_log(network, capsys):
    client, node = await network.pair()
    await client.ask(METADATA, 12)
    await node.frame()
    await node.send(b"\x15\x03\x03\x00\x02\x02\x50")
    assert await client.frame() is None
    assert "the node uses TLS: the proxy's --config needs security.protocol=SSL" in capsys.readouterr().err


async def test_a_handshake_comes_before_the_connection_to_the_node(network):
    agreed = trio.Event()

    async def shake_hands(connection):
        await agreed.wait()
        connection.client = connection.client._replace(principal=Principal("User", "CN=alice"))

    client = network.connect(handshake=shake_hands)
    await client.ask(HEARTBEAT, 4)
    await trio.testing.wait_all_tasks_blocked()
    assert network.proxy.connections == set()

    agreed.set()
    node = await network.accepted()
    await node.frame()
    assert [str(each.client.principal) for each in network.proxy.connections] == ["User:CN=alice"]


async def test_a_handshake_that_fails_closes_the_client_and_is_in_the_log(network, capsys):
    async def shake_hands(connection):
        raise HandshakeFailed("no")

    client = network.connect(handshake=shake_hands)
    assert await client.frame() is None
    assert "TLS handshake failed" in capsys.readouterr().err


async def test_a_stream_that_ends_inside_a_frame_ends_the_connection(network):
    client, node = await network.pair()
    await client.send(b"\x00\x00\x00\x20\x00\x0c")
    await client.stream.send_eof()
    assert await client.frame() is None
    assert await node.stream.receive_some(1) == b""


async def test_a_client_that_does_not_read_holds_its_node_back(nursery):
    network = Network(nursery)
    network.lockstep = True
    client, node = await network.pair()
    sent = await client.ask(FETCH, 4)
    await node.frame()
    large = struct.pack(">i", 400_004) + sent[8:12] + b"x" * 400_000
    delivered = trio.Event()

    async def send():
        await node.send(large)
        delivered.set()

    nursery.start_soon(send)
    await trio.testing.wait_all_tasks_blocked()
    assert not delivered.is_set()
    assert await client.frame() == large
    await delivered.wait()


async def test_hundreds_of_connections_are_independent(network):
    pairs = [await network.pair() for _ in range(300)]
    assert len(network.proxy.connections) == 300
    for client, node in reversed(pairs):
        sent = await client.ask(HEARTBEAT, 4)
        assert await node.frame() == sent
    for client, node in pairs:
        await client.stream.aclose()
        assert await node.frame() is None
        await node.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert network.proxy.connections == set()
