"""How many Python bytecodes kwire runs for one small request: a guard for hot paths that counts no time.

A request goes over a connection in memory to a broker with files in memory, after enough others of its kind that every
cache is filled. ``sys.monitoring`` (``sys.settrace`` on Python 3.11) counts the bytecodes of kwire's own code; those of
trio and of the standard library are not counted, so that their releases do not matter. Each row has the number for one
minor version of Python, and may be off by ``TOLERANCE``; versions of Python that are not listed are compared with the
nearest listed one, with more room. A much lower number is a failure as well, so that an improvement is written down and
cannot be lost again unnoticed.

To update after a change that is meant: run

    KWIRE_PRINT_BYTECODES=1 python -m pytest -s tests/performance

with each Python at hand, copy the printed numbers into ``BYTECODES``, and give the numbers before and after in the
commit message.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import pytest
import trio
from peer import Peer, apis_of

import kwire
import kwire.storage.log
from kwire.broker.start import open_broker
from kwire.faults.disk import FaultyFiles
from kwire.faults.injector import Injector
from kwire.faults.reach import check_effect
from kwire.faults.rules import read_rule
from kwire.limits import CHECKED_BATCHES
from kwire.metadata.commands.security import CreateAcls
from kwire.metadata.configs.effective import BrokerSettings
from kwire.metadata.settings.authorizer import STANDARD_AUTHORIZER
from kwire.security.acl_text import read_acls
from kwire.server.bindings import Limits
from kwire.server.connections.connection import serve_connection
from kwire.server.connections.registry import ConnectionRegistry, Listener
from kwire.testing.memory.files import MemoryFiles
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.batches.records import Record, build_batch

OWN = f"{Path(kwire.__file__).parent}/"  # not "/kwire/": a clone may have this name, and its libraries then too

pytestmark = pytest.mark.skipif(
    not kwire.storage.log.__file__.endswith(".py") or sys.gettrace() is not None,
    reason="compiled modules run no bytecodes; a debugger or coverage traces already",
)

TOLERANCE = 0.03
# "produce, cached" is in the middle between files as they are and files that may fail.
TOLERANCE_OF_OTHER_PYTHONS = 0.25
BYTECODES = {
    "produce, a first batch": {(3, 11): 2733, (3, 12): 2580, (3, 13): 2516},
    "produce, decoded": {(3, 11): 2181, (3, 12): 2037, (3, 13): 1980},
    "produce, cached": {(3, 11): 1199, (3, 12): 1122, (3, 13): 1098},
    "produce, cached, with ACLs": {(3, 11): 1194, (3, 12): 1121, (3, 13): 1100},
    "fetch of a record, with ACLs": {(3, 11): 2556, (3, 12): 2395, (3, 13): 2350},
    "fetch of a record": {(3, 11): 2436, (3, 12): 2279, (3, 13): 2228},
    "fetch of nothing": {(3, 11): 1365, (3, 12): 1261, (3, 13): 1238},
    "connection, ApiVersions": {(3, 11): 1064, (3, 12): 976, (3, 13): 952},
    "heartbeat": {(3, 11): 1058, (3, 12): 972, (3, 13): 950},
}
MONITORING = getattr(sys, "monitoring", None)
TOOL = 4  # one of the ids that Python leaves to others than debuggers, coverage and profilers
WARM_UP = 5
COUNTED = 9
NOW_MS = 1_700_000_000_000
TOPIC = "small"


def listener_of(broker):
    connections = ConnectionRegistry(apis_of(broker), broker.clock, Limits)
    connections.perf_counter = lambda: 0.0  # no turn ends for the time that counting takes
    return Listener(Peer.endpoint, connections)


class Client:
    """A client on a connection in memory."""

    def __init__(self, broker, nursery):
        self._transport = MemoryTransport()
        self._correlation_id = 0
        nursery.start_soon(serve_connection, broker, self._transport, listener_of(broker))

    async def call(self, version, request):
        frame = self._frame(version, request)
        self._transport.feed(frame)
        return self._response(version, request, await self._transport.next_frame())

    async def count(self, version, requests):
        """The bytecodes of kwire from a request's arrival to its reply: the least of several, which may differ.

        (Now and then a request writes an index entry, or the connection looks at the clock once more.)
        """
        return min([await self._count_one(version, request) for request in requests])

    async def _count_one(self, version, request):
        frame = self._frame(version, request)
        await trio.testing.wait_all_tasks_blocked()
        with Bytecodes() as bytecodes:
            self._transport.feed(frame)
            reply = await self._transport.next_frame()
        self._response(version, request, reply)
        return bytecodes.count

    def _frame(self, version, request):
        self._correlation_id += 1
        return codec.encode_request(request.KEY, version, self._correlation_id, "guard", request)

    def _response(self, version, request, reply):
        correlation_id, response = codec.decode_response(request.KEY, version, memoryview(reply))
        assert correlation_id == self._correlation_id
        return response


class Bytecodes:
    """Counts the bytecodes that code of kwire runs while it is entered."""

    def __init__(self):
        self.count = 0
        self._is_counted = {}

    def __enter__(self):
        if MONITORING is None:
            sys.settrace(self._called)
            return self
        MONITORING.use_tool_id(TOOL, "kwire bytecodes")
        MONITORING.register_callback(TOOL, MONITORING.events.INSTRUCTION, self._instruction)
        MONITORING.set_events(TOOL, MONITORING.events.INSTRUCTION)
        MONITORING.restart_events()
        return self

    def __exit__(self, *_):
        if MONITORING is None:
            sys.settrace(None)
            return
        MONITORING.set_events(TOOL, 0)
        MONITORING.register_callback(TOOL, MONITORING.events.INSTRUCTION, None)
        MONITORING.free_tool_id(TOOL)

    def _counts(self, code):
        counted = self._is_counted.get(code)
        if counted is None:
            name = code.co_filename
            generated = name.startswith("<kwire")  # decoders and encoders
            own = name.startswith(OWN) and not name.startswith(f"{OWN}testing/")
            counted = self._is_counted[code] = generated or own
        return counted

    # Python 3.11

    def _called(self, frame, _event, _argument):
        if not self._counts(frame.f_code):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return self._ran

    def _ran(self, _frame, event, _argument):
        if event == "opcode":
            self.count += 1
        return self._ran

    # Python 3.12 and later

    def _instruction(self, code, _offset):
        if not self._counts(code):
            return MONITORING.DISABLE
        self.count += 1
        return None


def produce(name, *values, partitions=(0,)):
    batch = build_batch([Record(i, NOW_MS + i, b"key", value, ()) for i, value in enumerate(values)])
    request = m.ProduceRequest
    parts = [request.PartitionProduceData(index=index, records=batch) for index in partitions]
    return request(acks=-1, timeout_ms=1000, topic_data=[request.TopicProduceData(name=name, partition_data=parts)])


def fetch(session_id, epoch, *positions, topic_id=bytes(16)):
    request = m.FetchRequest
    parts = [
        request.FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=1 << 20)
        for index, offset in positions
    ]
    topics = [request.FetchTopic(topic_id=topic_id, partitions=parts)] if parts else []
    return request(max_wait_ms=0, min_bytes=1, session_id=session_id, session_epoch=epoch, topics=topics)


@pytest.fixture
async def broker():
    settings = BrokerSettings({"log.dirs": "/data"})
    async with open_broker(settings, MemoryFiles(), endpoints=[Peer.endpoint]) as running:
        yield running


@pytest.fixture
async def secured(nursery):
    """A broker and a client that may use the topic by an ACL, beside others for other topics."""
    settings = BrokerSettings({"log.dirs": "/data", "authorizer.class.name": STANDARD_AUTHORIZER})
    rules = ["ANONYMOUS may read,write topic small*", *(f"team{n} may all topic team{n}-*" for n in range(100))]
    async with open_broker(settings, MemoryFiles(), endpoints=[Peer.endpoint]) as running:
        await Peer(running).create_topic(TOPIC, 2)
        await running.controller.submit(CreateAcls([acl for rule in rules for acl in read_acls(rule)]))
        yield running, Client(running, nursery)


@pytest.fixture
async def client(broker, nursery):
    await Peer(broker).create_topic(TOPIC, 2)
    return Client(broker, nursery)


def check(row, count):
    if os.environ.get("KWIRE_PRINT_BYTECODES"):
        sys.stdout.write(f"\n{sys.version_info[:2]} {row}: {count}\n")
        return
    known = BYTECODES[row]
    version = sys.version_info[:2]
    nearest = min(known, key=lambda one: abs(one[1] - version[1]))
    expected = known[nearest]
    room = TOLERANCE if nearest == version else TOLERANCE_OF_OTHER_PYTHONS
    assert abs(count - expected) <= room * expected, f"{row}: {count} bytecodes instead of {expected}"


async def test_a_first_small_produce(client):
    assert WARM_UP + COUNTED < CHECKED_BATCHES
    for _ in range(WARM_UP):
        await client.call(9, produce(TOPIC, b"value"))
    check("produce, a first batch", await client.count(9, [produce(TOPIC, b"value")] * COUNTED))


async def test_a_small_produce_of_a_trusted_connection_that_is_decoded(client):
    # Version 8 has no compact lengths, so the cache leaves it alone.
    for _ in range(CHECKED_BATCHES + WARM_UP):
        await client.call(8, produce(TOPIC, b"value"))
    check("produce, decoded", await client.count(8, [produce(TOPIC, b"value")] * COUNTED))


async def test_a_small_produce_that_is_answered_from_the_cache(client):
    for _ in range(CHECKED_BATCHES + WARM_UP):
        await client.call(9, produce(TOPIC, b"value"))
    check("produce, cached", await client.count(9, [produce(TOPIC, b"value")] * COUNTED))


async def test_a_rule_for_another_api_and_files_that_may_fail_cost_a_produce_nothing(nursery):
    settings = BrokerSettings({"log.dirs": "/data"})
    async with open_broker(settings, FaultyFiles(MemoryFiles()), endpoints=[Peer.endpoint]) as broker:
        await Peer(broker).create_topic(TOPIC, 2)
        client = Client(broker, nursery)
        can_reach = partial(check_effect, tables=[apis_of(broker)])
        Injector(broker, can_reach).add(read_rule({"api": "Heartbeat", "drop": True}))
        for _ in range(CHECKED_BATCHES + WARM_UP):
            await client.call(9, produce(TOPIC, b"value"))
        check("produce, cached", await client.count(9, [produce(TOPIC, b"value")] * COUNTED))


async def test_a_small_produce_that_an_acl_allows(secured):
    _, client = secured
    for _ in range(CHECKED_BATCHES + WARM_UP):
        await client.call(9, produce(TOPIC, b"value"))
    check("produce, cached, with ACLs", await client.count(9, [produce(TOPIC, b"value")] * COUNTED))


async def test_a_fetch_that_an_acl_allows(secured):
    broker, client = secured
    await fetch_one_record_each(client, broker, "fetch of a record, with ACLs")


async def test_a_fetch_of_one_small_record(client, broker):
    await fetch_one_record_each(client, broker, "fetch of a record")


async def fetch_one_record_each(client, broker, row):
    for _ in range(WARM_UP + COUNTED):
        await client.call(9, produce(TOPIC, b"value"))
    topic_id = broker.image.topics[TOPIC].id
    first = await client.call(17, fetch(0, 0, (0, 0), (1, 0), topic_id=topic_id))
    for turn in range(1, WARM_UP):
        await client.call(17, fetch(first.session_id, turn, (0, turn), topic_id=topic_id))
    turns = range(WARM_UP, WARM_UP + COUNTED)
    requests = [fetch(first.session_id, turn, (0, turn), topic_id=topic_id) for turn in turns]
    check(row, await client.count(17, requests))


async def test_a_fetch_that_finds_nothing_new(client, broker):
    topic_id = broker.image.topics[TOPIC].id
    first = await client.call(17, fetch(0, 0, (0, 0), (1, 0), topic_id=topic_id))
    for turn in range(1, WARM_UP):
        await client.call(17, fetch(first.session_id, turn))
    requests = [fetch(first.session_id, turn) for turn in range(WARM_UP, WARM_UP + COUNTED)]
    check("fetch of nothing", await client.count(17, requests))


async def test_a_connection_that_asks_for_api_versions(broker, nursery):
    listener = listener_of(broker)
    frame = codec.encode_request(
        18, 3, 1, "guard", m.ApiVersionsRequest(client_software_name="guard", client_software_version="1")
    )
    counts = []
    for _ in range(WARM_UP + COUNTED):
        transport = MemoryTransport()
        with Bytecodes() as bytecodes:
            nursery.start_soon(serve_connection, broker, transport, listener)
            transport.feed(frame)
            await transport.next_frame()
        counts.append(bytecodes.count)
    check("connection, ApiVersions", min(counts[WARM_UP:]))


async def test_a_heartbeat_of_a_stable_group(client):
    join = m.JoinGroupRequest
    protocols = [join.JoinGroupRequestProtocol(name="range", metadata=b"m")]
    timeouts = {"session_timeout_ms": 30_000, "rebalance_timeout_ms": 30_000}
    wanted = join(group_id="g", member_id="", protocol_type="consumer", protocols=protocols, **timeouts)
    joined = await client.call(2, wanted)
    sync = m.SyncGroupRequest
    assignment = sync.SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"a")
    member = {"group_id": "g", "generation_id": joined.generation_id, "member_id": joined.member_id}
    await client.call(3, sync(assignments=[assignment], **member))
    beat = m.HeartbeatRequest(**member)
    for _ in range(WARM_UP):
        assert (await client.call(4, beat)).error_code == 0
    check("heartbeat", await client.count(4, [beat] * COUNTED))
