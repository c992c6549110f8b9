"""Encoded responses that are sent again: equal to new ones, and dropped by any change of what they are made from."""

import random

import pytest
import trio
from peer import Peer

from kwire.api import api_table
from kwire.broker.clients.response_cache import ResponseCache
from kwire.broker.endpoint import Endpoint
from kwire.limits import CACHED_REQUEST_BYTES_MAX, CACHED_RESPONSES_BYTES_MAX
from kwire.metadata.entities import ResourceType
from kwire.security.acl_text import read_acls
from kwire.security.principal import Principal
from kwire.security.standard_authorizer import StandardAuthorizer
from kwire.server.bindings import Limits
from kwire.server.connections.connection import serve_connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire import codec
from kwire.wire import messages as m

METADATA = 3
VERSIONS = (0, 1, 4, 8, 9, 12, 13)
OTHER_LISTENER = Endpoint("OTHER", "PLAINTEXT", "elsewhere", 1234)


@pytest.fixture
def settings():
    return {"auto.create.topics.enable": "false", "group.initial.rebalance.delay.ms": "0"}


class Served:
    """Connections to a broker, one of whose handlers counts its calls."""

    def __init__(self, broker, nursery, api_key=METADATA):
        self.api_key = api_key
        self.broker = broker
        self.nursery = nursery
        self.apis = api_table(broker.configs.broker, {})
        self.registry = ConnectionRegistry(self.apis, broker.clock, Limits)
        self.handled = 0
        self._handler = self.apis[api_key].handler
        self._waits, self.apis[api_key].waits = self.apis[api_key].waits, True
        self.apis[api_key]._handler = self._counted

    async def _counted(self, context, request):
        self.handled += 1
        response = self._handler(context, request)
        return await response if self._waits else response

    def connect(self, endpoint=Peer.endpoint):
        transport = MemoryTransport()
        self.nursery.start_soon(serve_connection, self.broker, transport, Listener(endpoint, self.registry))
        return transport

    async def ask(self, transport, version, request, correlation_id=1):
        transport.feed(codec.encode_request(self.api_key, version, correlation_id, "test", request))
        return await transport.next_frame()


@pytest.fixture
async def served(broker):
    async with trio.open_nursery() as nursery:
        yield Served(broker, nursery)
        nursery.cancel_scope.cancel()


def asked_for(names=None, *, ids=(), operations=False):
    topic = m.MetadataRequest.MetadataRequestTopic
    topics = None if names is None else [topic(name=name) for name in names]
    if ids:
        topics = [topic(name=None, topic_id=topic_id) for topic_id in ids]
    return m.MetadataRequest(
        topics=topics, allow_auto_topic_creation=True, include_topic_authorized_operations=operations
    )


def requests_of(broker):
    names = sorted(broker.image.topics)
    for version in VERSIONS:
        yield version, asked_for([] if version == 0 else None)
        if names:
            yield version, asked_for(names[:2])
        if version in range(8, 14):
            yield version, asked_for(operations=True)
        if version >= 12 and names:
            yield version, asked_for(ids=[broker.image.topics[name].id for name in names])


async def expected_frame(client, version, request):
    response = await client.call(version, request)
    header = codec.RequestHeader(METADATA, version, 1, "test", 0)
    (frame,) = codec.encode_response(header, response)
    return frame[4:]


async def change(broker, client, random_source):
    names = sorted(broker.image.topics)
    kind = random_source.choice(["create", "delete", "grow", "config", "leader"])
    if kind == "create" or not names:
        await client.create_topic(f"t{random_source.randrange(1000)}", random_source.randrange(1, 4))
        return
    name = random_source.choice(names)
    topic = broker.image.topics[name]
    if kind == "delete":
        await client.call(4, m.DeleteTopicsRequest(topic_names=[name], timeout_ms=1000))
    elif kind == "grow":
        request = m.CreatePartitionsRequest
        grown = request.CreatePartitionsTopic(name=name, count=len(topic.partitions) + 1)
        await client.call(3, request(topics=[grown], timeout_ms=1000))
    elif kind == "config":
        record = m.ConfigRecord(
            resource_type=ResourceType.TOPIC, resource_name=name, name="segment.bytes", value="1048576"
        )
        broker.image.apply([record])
    else:
        record = m.PartitionChangeRecord(partition_id=0, topic_id=topic.id, leader=broker.node_id)
        broker.image.apply([record])


@pytest.mark.parametrize("seed", range(5))
async def test_kept_metadata_is_equal_to_new_metadata_after_each_change(served, client, seed):
    random_source = random.Random(seed)
    transport = served.connect()
    for _ in range(12):
        await change(served.broker, client, random_source)
        for version, request in requests_of(served.broker):
            expected = await expected_frame(client, version, request)
            assert await served.ask(transport, version, request) == expected
            handled = served.handled
            assert await served.ask(transport, version, request) == expected
            assert served.handled == handled


async def test_a_kept_response_has_the_correlation_id_of_its_request(served, client):
    await client.create_topic("t", 1)
    transport = served.connect()
    first = await served.ask(transport, 9, asked_for(), 7)
    second = await served.ask(transport, 9, asked_for(), 8)
    assert served.handled == 1
    assert (first[:4], second[:4]) == (bytes([0, 0, 0, 7]), bytes([0, 0, 0, 8]))
    assert first[4:] == second[4:]


async def test_each_listener_advertises_its_own_address(served):
    answers = [
        codec.decode_response(METADATA, 9, memoryview(await served.ask(served.connect(endpoint), 9, asked_for())))[1]
        for endpoint in (Peer.endpoint, OTHER_LISTENER, Peer.endpoint)
    ]
    assert [answer.brokers[0].host for answer in answers] == [Peer.endpoint.host, "elsewhere", Peer.endpoint.host]


async def test_a_refused_topic_is_looked_up_again(served):
    transport = served.connect()
    for _ in range(2):
        await served.ask(transport, 9, asked_for(["missing"]))
    assert served.handled == 2


async def test_an_answer_is_not_kept_if_the_image_changes_while_it_is_made(served, client):
    await client.create_topic("t", 1)
    handler = served._handler

    async def growing(context, request):
        response = await handler(context, request)
        await client.create_topic("u", 1)
        served._handler = handler
        return response

    served._handler = growing
    transport = served.connect()
    await served.ask(transport, 9, asked_for())
    _, answer = codec.decode_response(METADATA, 9, memoryview(await served.ask(transport, 9, asked_for())))
    assert {topic.name for topic in answer.topics} == {"t", "u"}


async def test_with_an_authorizer_a_response_is_kept_for_its_principal_until_an_acl_changes(served, client):
    await client.create_topic("t", 1)
    transport = served.connect()
    await served.ask(transport, 9, asked_for())
    (allowed,) = read_acls("anyone may describe topic t")
    authorizer = served.broker.authorizer = StandardAuthorizer(super_users=frozenset(), allow_unlisted=False)

    async def names():
        _, answer = codec.decode_response(METADATA, 9, memoryview(await served.ask(transport, 9, asked_for())))
        return [topic.name for topic in answer.topics]

    assert await names() == []
    authorizer.change(created=[allowed], deleted=[])
    assert await names() == ["t"]
    handled = served.handled
    assert await names() == ["t"]
    assert served.handled == handled
    (connection,) = served.registry._connections
    connection.client = connection.client._replace(principal=Principal("User", "eve"))
    assert await names() == ["t"]
    assert served.handled == handled + 1
    authorizer.change(created=[], deleted=[allowed])
    assert await names() == []


async def test_a_hook_sees_each_request(served, client):
    await client.create_topic("t", 1)
    transport = served.connect()
    await served.ask(transport, 9, asked_for())
    seen = []

    async def hook(_context, request, proceed):
        seen.append(request)
        return await proceed()

    served.broker.hooks.around_dispatch(hook, api_keys=[METADATA])
    await served.ask(transport, 9, asked_for())
    assert len(seen) == 1


def test_a_response_of_another_version_is_not_sent_and_gives_way():
    cache = ResponseCache()
    key = cache.key(codec.RequestHeader(METADATA, 9, 1, None, 0), memoryview(b"body"), Peer.endpoint)
    for version in range(2 * CACHED_RESPONSES_BYTES_MAX // 2**20):
        cache.store(key, version, [bytes(2**20)])
        assert cache.find(key, version) is not None
        assert cache.find(key, version - 1) is None


def test_the_oldest_responses_are_dropped_when_the_cache_is_full():
    cache = ResponseCache()

    def key(number, size=4):
        body = number.to_bytes(size, "big")
        return cache.key(codec.RequestHeader(METADATA, 9, 1, None, 0), memoryview(body), Peer.endpoint)

    frame = bytes(CACHED_RESPONSES_BYTES_MAX // 4)
    keys = [key(number) for number in range(6)]
    for each in keys:
        cache.store(each, "version", [frame])
    assert [cache.find(each, "version") is not None for each in keys] == [False, False, True, True, True, True]
    cache.store(key(7), "version", [bytes(CACHED_RESPONSES_BYTES_MAX + 9)])
    assert cache.find(key(7), "version") is None
    assert cache.find(keys[-1], "version") is not None
    assert key(1, CACHED_REQUEST_BYTES_MAX + 1) is None


def test_requests_count_as_much_as_responses_when_the_cache_is_full():
    cache = ResponseCache()
    size = CACHED_REQUEST_BYTES_MAX
    keys = [
        cache.key(codec.RequestHeader(METADATA, 9, 1, None, 0), memoryview(bytes([number]) * size), Peer.endpoint)
        for number in range(4)
    ]
    for each in keys:
        cache.store(each, "version", [bytes(CACHED_RESPONSES_BYTES_MAX // 4)])
    assert [cache.find(each, "version") is not None for each in keys] == [False, True, True, True]


LIST_GROUPS = 16


@pytest.fixture
async def listing(broker):
    async with trio.open_nursery() as nursery:
        yield Served(broker, nursery, LIST_GROUPS)
        nursery.cancel_scope.cancel()


def commit(group, offset=1):
    request = m.OffsetCommitRequest
    partition = request.OffsetCommitRequestPartition(partition_index=0, committed_offset=offset, committed_metadata="")
    topic = request.OffsetCommitRequestTopic(name="t", partitions=[partition])
    return request(group_id=group, generation_id_or_member_epoch=-1, topics=[topic])


def join(group, member_id=""):
    request = m.JoinGroupRequest
    return request(
        group_id=group,
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        member_id=member_id,
        protocol_type="consumer",
        protocols=[request.JoinGroupRequestProtocol(name="range", metadata=b"m")],
    )


async def listed(listing, transport, **filters):
    frame = await listing.ask(transport, 5, m.ListGroupsRequest(**filters))
    _, answer = codec.decode_response(LIST_GROUPS, 5, memoryview(frame))
    return {group.group_id: group.group_state for group in answer.groups}


async def test_groups_are_listed_again_only_after_a_group_changed(listing, client):
    await client.create_topic("t", 1)
    transport = listing.connect()
    assert await listed(listing, transport) == {}
    await client.call(8, commit("g"))
    assert await listed(listing, transport) == {"g": "Empty"}
    handled = listing.handled
    await client.call(8, commit("g", 2))
    assert await listed(listing, transport) == {"g": "Empty"}
    assert listing.handled == handled
    await client.call(8, commit("other"))
    assert await listed(listing, transport) == {"g": "Empty", "other": "Empty"}
    assert await listed(listing, transport, states_filter=["Stable"]) == {}


async def test_the_state_of_a_listed_group_is_the_newest(listing, client):
    transport = listing.connect()
    assert await listed(listing, transport) == {}
    joined = await client.call(2, join("g"))
    assert await listed(listing, transport) == {"g": "CompletingRebalance"}
    sync = m.SyncGroupRequest(group_id="g", generation_id=joined.generation_id, member_id=joined.member_id)
    await client.call(3, sync)
    assert await listed(listing, transport) == {"g": "Stable"}
    await client.call(2, m.LeaveGroupRequest(group_id="g", member_id=joined.member_id))
    assert await listed(listing, transport) == {"g": "Empty"}
    await client.call(2, m.DeleteGroupsRequest(groups_names=["g"]))
    assert await listed(listing, transport) == {}


API_VERSIONS = 18


def versions_asked(name="test", version="1", **more):
    return m.ApiVersionsRequest(client_software_name=name, client_software_version=version, **more)


async def test_api_versions_are_kept_for_the_connections_of_the_same_software(broker, nursery):
    served = Served(broker, nursery, API_VERSIONS)
    frames = {await served.ask(served.connect(), 3, versions_asked()) for _ in range(3)}
    assert (len(frames), served.handled) == (1, 1)
    await served.ask(served.connect(), 3, versions_asked("other", "2"))
    software = [(one.client.software_name, one.client.software_version) for one in served.registry.open]
    assert software == [("test", "1")] * 3 + [("other", "2")]


async def test_api_versions_without_a_name_leave_the_client_as_it_is(broker, nursery):
    served = Served(broker, nursery, API_VERSIONS)
    for _ in range(2):
        await served.ask(served.connect(), 2, m.ApiVersionsRequest())
    assert served.handled == 1
    assert {one.client.software_name for one in served.registry.open} == {None}


async def test_kept_api_versions_are_dropped_by_another_table_and_by_each_metadata_record(broker, nursery, client):
    served = Served(broker, nursery, API_VERSIONS)
    transport = served.connect()

    async def answer():
        frame = await served.ask(transport, 3, versions_asked())
        return codec.decode_response(API_VERSIONS, 3, memoryview(frame))[1]

    first = await answer()
    await client.create_topic("t", 1)
    second = await answer()
    assert second.finalized_features_epoch > first.finalized_features_epoch
    served.registry.serve({key: api for key, api in served.apis.items() if key != METADATA})
    keys = {api.api_key for api in second.api_keys}
    assert {api.api_key for api in (await answer()).api_keys} == keys - {METADATA}


async def test_refused_api_versions_are_not_kept(broker, nursery):
    served = Served(broker, nursery, API_VERSIONS)
    for request in (versions_asked("-"), versions_asked(cluster_id="another", node_id=1)):
        before = served.handled
        for _ in range(2):
            frame = await served.ask(served.connect(), 5, request)
            assert codec.decode_response(API_VERSIONS, 5, memoryview(frame))[1].error_code
        assert served.handled == before + 2
