from __future__ import annotations

import gc
import struct

import pytest
import trio
import trio.testing
from edge import API_VERSIONS, FETCH, HEARTBEAT, METADATA, PRODUCE, Edge

from kwire.errors import Code, KafkaError, ProtocolViolation, StorageFailure
from kwire.limits import READ_CHUNK_BYTES, TURN_BYTES_MAX
from kwire.storage.files import FileSlice
from kwire.testing.memory.transport import MemoryTransport
from kwire.wire.messages import FetchResponse, HeartbeatResponse, MetadataResponse


@pytest.fixture
def edge(nursery):
    return Edge(nursery)


async def test_requests_are_answered_in_order(edge):
    client = edge.connect()

    client.send(API_VERSIONS, METADATA, HEARTBEAT)

    assert [(await client.response())[0] for _ in range(3)] == [1, 2, 3]
    assert edge.broker.seen == [(API_VERSIONS, 1), (METADATA, 2), (HEARTBEAT, 3)]


async def test_replies_to_requests_of_one_read_are_sent_together(edge):
    client = edge.connect()

    client.send(*[HEARTBEAT] * 10)
    await trio.testing.wait_all_tasks_blocked()

    assert client.transport.sends == 1


async def test_a_request_without_reply_sends_nothing(edge):
    edge.broker.handlers[PRODUCE] = lambda *_: None
    client = edge.connect()

    client.send(PRODUCE, HEARTBEAT)

    assert (await client.response())[0] == 2


async def test_a_request_in_many_pieces_is_answered_once_it_is_whole(edge):
    client = edge.connect()
    for byte in client.request(METADATA):
        client.transport.feed(bytes([byte]))
        await trio.testing.wait_all_tasks_blocked()

    assert (await client.response())[0] == 1


async def test_a_request_larger_than_any_buffer_is_answered(edge):
    got = []
    edge.broker.handlers[PRODUCE] = lambda _, request: got.append(
        bytes(request.topic_data[0].partition_data[0].records)
    )
    client = edge.connect()
    records = bytes(range(256)) * 20_000
    from kwire.wire.messages import ProduceRequest as Request

    partition = Request.PartitionProduceData(index=0, records=memoryview(records))
    topic = Request.TopicProduceData(name="t", partition_data=[partition])
    client.transport.feed(client.request(PRODUCE, topic_data=[topic]) + client.request(HEARTBEAT))

    assert (await client.response())[0] == 2
    assert got == [records]


# Waiting


async def test_pending_replies_are_sent_before_a_wait(edge):
    wakeup = trio.Event()

    async def wait(context, _):
        await context.wait(wakeup, 60_000)
        return FetchResponse()

    edge.broker.handlers[FETCH] = wait
    client = edge.connect()
    client.send(HEARTBEAT, FETCH, HEARTBEAT)

    assert (await client.response())[0] == 1
    assert edge.broker.seen == [(HEARTBEAT, 1), (FETCH, 2)]
    wakeup.set()
    assert [(await client.response())[0] for _ in range(2)] == [2, 3]


@pytest.mark.parametrize(("timeout_ms", "outcome"), [(500, False), (1500, True)])
async def test_a_wait_says_whether_the_event_came_in_time(autojump_clock, edge, timeout_ms, outcome):
    woken = []
    event = trio.Event()

    async def wait(context, _):
        woken.append(await context.wait(event, timeout_ms))
        woken.append(context.broker.clock.monotonic_ms() - start_ms)
        return FetchResponse()

    edge.broker.handlers[FETCH] = wait
    start_ms = edge.broker.clock.monotonic_ms()
    edge.broker.clock.call_later(1000, event.set)
    client = edge.connect()
    client.send(FETCH)

    assert (await client.response())[0] == 1
    assert woken == [outcome, pytest.approx(min(timeout_ms, 1000))]


async def test_a_wait_follows_the_brokers_clock(autojump_clock, edge):
    async def wait(context, _):
        assert not await context.wait(trio.Event(), 10_000_000)
        return FetchResponse()

    edge.broker.handlers[FETCH] = wait
    client = edge.connect()
    client.send(FETCH)
    await trio.testing.wait_all_tasks_blocked()
    edge.broker.clock.advance(10_000_000)

    with trio.fail_after(1):
        assert (await client.response())[0] == 1


async def test_a_wait_without_time_does_not_wait(autojump_clock, edge):
    async def wait(context, _):
        assert not await context.wait(trio.Event(), 0)
        return FetchResponse()

    edge.broker.handlers[FETCH] = wait
    client = edge.connect()
    client.send(FETCH)

    with trio.fail_after(0.001):
        assert (await client.response())[0] == 1


async def test_a_peer_that_closes_ends_the_wait_and_its_later_requests_are_handled(autojump_clock, edge):
    ended = []

    async def wait(context, _):
        try:
            await context.wait(trio.Event(), 60_000)
        except BaseException:
            ended.append(trio.current_time())
            raise

    edge.broker.handlers[FETCH] = wait
    client = edge.connect()
    client.send(FETCH, HEARTBEAT)
    await trio.testing.wait_all_tasks_blocked()
    start = trio.current_time()
    client.transport.finish()

    await client.transport.wait_closed()
    assert ended == [start]
    assert edge.broker.seen == [(FETCH, 1), (HEARTBEAT, 2)]


async def test_a_wait_that_begins_after_its_peer_has_closed_ends_at_once(autojump_clock, edge):
    ended = []

    async def wait(context, _):
        try:
            await context.wait(trio.Event(), 60_000)
        finally:
            ended.append(trio.current_time())

    edge.broker.handlers[FETCH] = wait
    client = edge.connect()
    client.send(FETCH, FETCH)
    await trio.testing.wait_all_tasks_blocked()
    start = trio.current_time()
    client.transport.finish()

    with trio.fail_after(1):
        await client.transport.wait_closed()
    assert ended == [start, start]


async def test_a_wait_that_begins_after_the_stop_ends_at_once(autojump_clock, edge):
    async def wait(context, _):
        edge.connections.end_all("the broker stops")
        await context.wait(trio.Event(), 60_000)
        return FetchResponse()

    edge.broker.handlers[FETCH] = wait
    client = edge.connect()
    client.send(FETCH)

    with trio.fail_after(1):
        assert await client.response() is None


async def test_a_handler_cannot_catch_the_end_of_its_connection(edge):
    caught = []

    async def wait(context, _):
        try:
            await context.wait(trio.Event(), 60_000)
        except Exception as error:  # noqa: BLE001
            caught.append(error)
        return FetchResponse()

    edge.broker.handlers[FETCH] = wait
    client = edge.connect()
    client.send(FETCH)
    await trio.testing.wait_all_tasks_blocked()
    client.transport.reset()

    await client.transport.wait_closed()
    assert caught == []


async def test_a_throttled_connection_answers_at_once_and_then_is_not_read_for_a_while(autojump_clock, edge):
    def throttle(context, _):
        context.throttle_ms = 5000
        return HeartbeatResponse(throttle_time_ms=5000)

    edge.broker.handlers[HEARTBEAT] = throttle
    client = edge.connect()
    client.send(HEARTBEAT, METADATA)

    start = trio.current_time()
    assert (await client.response())[0] == 1
    assert trio.current_time() == start
    assert (await client.response())[0] == 2
    assert trio.current_time() - start == pytest.approx(5)


# Refusals and faults


async def test_api_versions_of_the_future_is_answered_in_version_0(edge):
    client = edge.connect()
    client.transport.feed_frame(struct.pack(">hhih", 18, 99, 77, -1) + b"\x00\x04new\x041.0\x00")

    frame = await client.transport.next_frame()

    assert frame == struct.pack(">ihihhh", 77, Code.UNSUPPORTED_VERSION, 1, 18, 0, 4)
    client.send(API_VERSIONS)
    assert (await client.response())[0] == 1


@pytest.mark.parametrize(
    ("key", "version", "why"),
    [
        (0, 2, "Produce is served at versions 3 to 13, not at 2"),
        (3, 99, "Metadata is served at versions 0 to 13, not at 99"),
        (3, -1, "not at -1"),
        (4, 0, "no API has the key 4"),
        (-1, 0, "no API has the key -1"),
        (32767, 0, "no API has the key 32767"),
    ],
)
async def test_an_api_that_is_not_served_closes_the_connection_with_one_log_line(edge, capsys, key, version, why):
    client = edge.connect()
    client.transport.feed_frame(struct.pack(">hhih", key, version, 1, -1))

    assert await client.transport.next_frame() is None
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert why in lines[0]
    assert "127.0.0.1:50000" in lines[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"GET /topics HTTP/1.1\r\nHost: localhost:9092\r\n\r\n", "HTTP request"),
        (b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + bytes(200), "TLS hello"),
        (struct.pack(">i", -1), "-1 bytes"),
        (struct.pack(">i", 0), "0 bytes"),
        (struct.pack(">i", 2**31 - 1), "larger than socket.request.max.bytes"),
        (struct.pack(">i", 3) + b"abc", "no header"),
        (struct.pack(">ihh", 4, 18, 0), "no header"),
        (struct.pack(">ihhih", 10, 18, 0, 1, 500), "client id"),
        (struct.pack(">ihhihih", 18, 3, 0, 1, -1, 1, 2) + b"\xff\xfe", "utf-8"),
        (struct.pack(">ihhihi", 14, 3, 0, 1, -1, 2**31 - 1), "Metadata v0"),
        (struct.pack(">ihhihi", 14, 3, 0, 1, -1, -5), "Metadata v0"),
    ],
)
async def test_invalid_bytes_close_the_connection_with_one_log_line(edge, capsys, content, why):
    hostile, innocent = edge.connect(MemoryTransport(peer="198.51.100.7:4711")), edge.connect()
    hostile.transport.feed(content)

    assert await hostile.transport.next_frame() is None
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert why in lines[0]
    assert "198.51.100.7:4711" in lines[0]
    innocent.send(HEARTBEAT)
    assert (await innocent.response())[0] == 1
    assert len(edge.connections) == 1


async def test_a_request_cut_short_is_named(edge, capsys):
    client = edge.connect()
    client.transport.feed(client.request(METADATA)[:-1])
    client.transport.finish()

    assert await client.transport.next_frame() is None
    assert "in the middle of a request" in capsys.readouterr().err


async def test_a_peer_that_closes_between_requests_is_not_logged(edge, capsys):
    client = edge.connect()
    client.send(HEARTBEAT)
    await client.response()
    client.transport.finish()
    await client.transport.wait_closed()
    reset = edge.connect()
    reset.transport.reset()
    await reset.transport.wait_closed()

    assert capsys.readouterr().err == ""
    assert len(edge.connections) == 0


async def test_good_requests_before_a_bad_one_are_answered(edge, capsys):
    client = edge.connect()
    client.transport.feed(client.request(HEARTBEAT) + struct.pack(">i", -1))

    assert (await client.response())[0] == 1
    assert await client.response() is None
    assert "-1 bytes" in capsys.readouterr().err


async def test_an_unexpected_exception_is_logged_answered_and_ends_the_connection(edge, capsys):
    edge.broker.handlers[HEARTBEAT] = lambda *_: 1 // 0
    client, other = edge.connect(), edge.connect()
    client.send(HEARTBEAT, METADATA)

    assert (await client.response())[1].error_code == Code.UNKNOWN_SERVER_ERROR
    assert await client.response() is None
    log = capsys.readouterr().err
    assert "ZeroDivisionError" in log
    assert "Heartbeat v4" in log
    other.send(METADATA)
    assert (await other.response())[0] == 1


async def test_an_unexpected_exception_ends_the_connection_where_no_answer_fits(edge, capsys):
    edge.broker.handlers[PRODUCE] = lambda *_: 1 // 0
    client = edge.connect()
    client.send(PRODUCE)

    assert await client.response() is None
    assert "ZeroDivisionError" in capsys.readouterr().err


async def test_an_error_code_that_the_version_has_no_place_for_is_not_sent(edge, capsys):
    edge.broker.handlers[METADATA] = lambda *_: 1 // 0
    client = edge.connect()
    client.transport.feed(client.request(METADATA, 9))

    assert await client.response() is None
    assert "UNKNOWN_SERVER_ERROR" in capsys.readouterr().err


async def test_a_response_that_cannot_be_encoded_is_a_bug_and_not_half_an_answer(edge, capsys):
    edge.broker.handlers[HEARTBEAT] = lambda *_: HeartbeatResponse(throttle_time_ms=2**40)
    client = edge.connect()
    client.send(HEARTBEAT)

    assert (await client.response())[1].error_code == Code.UNKNOWN_SERVER_ERROR
    assert await client.response() is None
    assert "EncodingError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (KafkaError(Code.NOT_COORDINATOR, "elsewhere"), Code.NOT_COORDINATOR),
        (StorageFailure("/data/x", "No space left"), Code.KAFKA_STORAGE_ERROR),
    ],
)
async def test_a_refusal_of_the_whole_request_is_answered_and_the_connection_goes_on(edge, raised, code):
    def refuse(*_):
        raise raised

    edge.broker.handlers[HEARTBEAT] = refuse
    client = edge.connect()
    client.send(HEARTBEAT, METADATA)

    assert (await client.response())[1].error_code == code
    assert (await client.response())[0] == 2


async def test_a_violation_found_by_a_handler_closes(edge, capsys):
    def violate(*_):
        raise ProtocolViolation("records that are none")

    edge.broker.handlers[PRODUCE] = violate
    client = edge.connect()
    client.send(PRODUCE)

    assert await client.response() is None
    assert "records that are none" in capsys.readouterr().err


def breaks_an_invariant():
    scope: dict = {"__name__": "kwire.storage.log"}
    exec("def append():\n    assert False, 'two batches with one offset'", scope)
    scope["append"]()


@pytest.mark.parametrize("shortly", [False, True])
async def test_a_broken_invariant_of_storage_stops_the_broker(shortly):
    async def serve_one():
        async with trio.open_nursery() as nursery:
            edge = Edge(nursery)
            if shortly:
                edge.broker.apis[METADATA].shortcut = lambda *_: Short(breaks_an_invariant)
            else:
                edge.broker.handlers[HEARTBEAT] = lambda *_: breaks_an_invariant()
            edge.connect().send(METADATA, HEARTBEAT)

    with pytest.raises(BaseExceptionGroup) as stopped:
        await serve_one()
    assert stopped.group_contains(AssertionError, match="two batches")


class Short:
    """A shortcut that does something once it has stored a request."""

    def __init__(self, do):
        self.api_key = METADATA
        self._do = do
        self.stored = []

    def store(self, header, frame, request, response):
        self.stored.append(header.correlation_id)

    def answer(self, frame):
        return self._do()


async def test_answers_of_a_shortcut_are_in_order_and_nothing_is_decoded(edge):
    edge.broker.apis[METADATA].shortcut = lambda *_: Short(lambda: b"\0\0\0\4\0\0\0\1")
    client = edge.connect()
    client.send(HEARTBEAT, METADATA, HEARTBEAT, METADATA)

    assert [(await client.response())[0] for _ in range(2)] == [1, 2]
    assert [await client.transport.next_frame() for _ in range(2)] == [b"\0\0\0\1"] * 2
    assert edge.broker.seen == [(HEARTBEAT, 1), (METADATA, 2)]


async def test_requests_that_a_shortcut_does_not_answer_are_dispatched(edge):
    shortcut = Short(lambda: None)
    edge.broker.apis[METADATA].shortcut = lambda *_: shortcut
    client = edge.connect()
    client.send(METADATA, HEARTBEAT, METADATA)

    assert [(await client.response())[0] for _ in range(3)] == [1, 2, 3]
    assert shortcut.stored == [1, 3]


async def test_a_shortcut_is_not_used_while_its_api_has_a_hook(edge):
    edge.broker.apis[METADATA].shortcut = lambda *_: Short(lambda: b"\0\0\0\4\0\0\0\1")
    client = edge.connect()
    client.send(METADATA)
    await client.response()
    seen = []

    async def hook(context, _request, proceed):
        seen.append((context.api_key, context.correlation_id))
        return await proceed()

    remove = edge.broker.hooks.around_dispatch(hook)
    client.send(METADATA)
    assert (await client.response())[0] == 2
    remove()
    client.send(METADATA)
    assert await client.transport.next_frame() == b"\0\0\0\1"

    assert seen == [(METADATA, 2)]


async def test_a_bug_in_a_shortcut_is_logged_answered_and_ends_the_connection(edge, capsys):
    edge.broker.apis[METADATA].shortcut = lambda *_: Short(lambda: 1 // 0)
    client = edge.connect()
    client.send(METADATA, HEARTBEAT, METADATA)

    assert (await client.response())[0] == 1
    assert (await client.response())[1].error_code == Code.UNKNOWN_SERVER_ERROR
    assert await client.response() is None
    log = capsys.readouterr().err
    assert "ZeroDivisionError" in log
    assert "Heartbeat v4" in log


async def test_slices_of_a_reply_that_cannot_be_sent_are_closed(edge):
    unpinned = []

    class Pinned:
        def unpin(self):
            unpinned.append(True)

    def fetch(*_):
        partition = FetchResponse.PartitionData(partition_index=0, records=FileSlice(Pinned(), 0, 100))
        topic = FetchResponse.FetchableTopicResponse(topic="t", partitions=[partition])
        return FetchResponse(responses=[topic])

    edge.broker.handlers[FETCH] = fetch
    client = edge.connect()
    client.transport.feed(client.request(FETCH) + struct.pack(">i", -1))
    client.transport.reset()
    await client.transport.wait_closed()
    kept = edge.connect()
    kept.transport.feed(kept.request(FETCH) + struct.pack(">ih", 2, 3))

    await kept.transport.wait_closed()
    assert unpinned == [True]


# Fairness and memory


async def test_a_large_request_that_is_there_already_does_not_starve_the_others(edge):
    greedy, modest = edge.connect(), edge.connect()
    greedy.transport.feed(struct.pack(">ihhih", 5 * TURN_BYTES_MAX, API_VERSIONS, 0, 1, -1) + bytes(5 * TURN_BYTES_MAX))
    modest.send(METADATA)
    await modest.response()
    while len(edge.broker.seen) < 2:
        await trio.lowlevel.checkpoint()

    assert [key for key, _ in edge.broker.seen] == [METADATA, API_VERSIONS]


async def test_a_client_that_pipelines_without_reading_holds_a_bounded_heap_of_replies(edge):
    name = "x" * 30_000
    edge.broker.handlers[METADATA] = lambda *_: MetadataResponse(cluster_id=name)
    client = edge.connect(MemoryTransport(window_bytes=1000))
    client.send(*[METADATA] * 1000)
    await trio.testing.wait_all_tasks_blocked()

    assert len(edge.broker.seen) * len(name) <= TURN_BYTES_MAX + len(name)


async def test_a_large_length_costs_no_memory_until_the_bytes_arrive(edge):
    client = edge.connect()
    client.transport.feed(struct.pack(">i", 100_000_000) + b"slow loris")
    await trio.testing.wait_all_tasks_blocked()

    (connection,) = edge.connections._connections
    assert connection._splitter.held_bytes <= READ_CHUNK_BYTES


async def test_requests_that_never_end_are_closed_and_others_are_answered(nursery, capsys):
    limit_bytes = 1024 * 1024
    edge = Edge(nursery, unfinished_bytes_max=limit_bytes, request_bytes_max=limit_bytes)
    start = struct.pack(">i", limit_bytes) + bytes(300_000)
    unfinished = [edge.connect() for _ in range(5)]

    def held_bytes():
        return sum(each._splitter.held_bytes for each in edge.connections._connections)

    for client in unfinished:
        client.transport.feed(start)
        await trio.testing.wait_all_tasks_blocked()
        assert edge.connections.unfinished.held_bytes <= limit_bytes
        assert held_bytes() == edge.connections.unfinished.held_bytes
    assert len(edge.connections) < len(unfinished)
    assert "unfinished requests hold too much memory" in capsys.readouterr().err

    whole = edge.connect()
    whole.send(HEARTBEAT)
    assert (await whole.response())[0] == 1
    body = struct.pack(">hhih", HEARTBEAT, 0, 2, -1) + bytes(200_000)
    asked = edge.connect()
    asked._asked[2] = (HEARTBEAT, 0)
    asked.transport.feed(struct.pack(">i", len(body)) + body[:100_000])
    await trio.testing.wait_all_tasks_blocked()
    asked.transport.feed(body[100_000:])
    assert (await asked.response())[0] == 2
    assert held_bytes() == edge.connections.unfinished.held_bytes


async def test_no_frame_is_kept_while_the_connection_is_idle(edge):
    client = edge.connect()
    gc.collect()
    before = sum(isinstance(thing, memoryview) for thing in gc.get_objects())
    client.send(HEARTBEAT)
    await client.response()
    (connection,) = edge.connections._connections
    await trio.testing.wait_all_tasks_blocked()

    assert sum(isinstance(thing, memoryview) for thing in gc.get_objects()) <= before
    assert connection._splitter.held_bytes == 0
    assert connection._pending == []


async def test_queued_max_request_bytes_holds_new_requests_back_until_there_is_room(nursery):
    edge = Edge(nursery, queued_bytes_max=1000, request_bytes_max=1000)
    large, small = edge.connect(), edge.connect()
    body = struct.pack(">hhih", 18, 0, 1, -1) + bytes(900)
    large.transport.feed(struct.pack(">i", 1000) + body[:600])
    await trio.testing.wait_all_tasks_blocked()
    small.send(HEARTBEAT)
    await trio.testing.wait_all_tasks_blocked()
    assert edge.broker.seen == []

    large.transport.finish()

    assert (await small.response())[0] == 1


async def test_queued_max_request_bytes_is_given_back_with_the_answer(nursery):
    edge = Edge(nursery, queued_bytes_max=1000, request_bytes_max=1000)
    client = edge.connect()
    for turn in range(100):
        client.send(*[HEARTBEAT] * 10)
        assert [(await client.response())[0] for _ in range(10)] == list(range(turn * 10 + 1, turn * 10 + 11))

    assert edge.connections.memory._bytes == 0


# The end


async def test_a_connection_that_sends_nothing_ends_after_connections_max_idle_ms(autojump_clock, nursery):
    edge = Edge(nursery, idle_ms_max=60_000)
    idle, busy = edge.connect(), edge.connect()
    start = trio.current_time()
    for _ in range(13):
        busy.send(HEARTBEAT)
        await busy.response()
        await trio.sleep(5)

    assert not idle.transport.closed
    for _ in range(3):
        busy.send(HEARTBEAT)
        await busy.response()
        await trio.sleep(1)
    await idle.transport.wait_closed()
    assert 60 < trio.current_time() - start <= 70
    assert not busy.transport.closed


async def test_a_peer_that_takes_no_bytes_ends_after_connections_max_idle_ms(autojump_clock, nursery):
    edge = Edge(nursery, idle_ms_max=60_000)
    client = edge.connect(MemoryTransport(window_bytes=3))
    client.send(HEARTBEAT)

    await client.transport.wait_closed()
    await edge.connections.empty()


async def test_a_waiting_request_is_not_idle(autojump_clock, nursery):
    edge = Edge(nursery, idle_ms_max=60_000)

    async def wait(context, _):
        await context.wait(trio.Event(), 600_000)
        return FetchResponse()

    edge.broker.handlers[FETCH] = wait
    client = edge.connect()
    client.send(FETCH)

    assert (await client.response())[0] == 1


async def test_idle_connections_stay_when_there_is_no_limit(autojump_clock, nursery):
    edge = Edge(nursery, idle_ms_max=-1)
    client = edge.connect()
    await trio.sleep(86_000)

    client.send(HEARTBEAT)
    assert (await client.response())[0] == 1


async def test_at_shutdown_idle_and_waiting_connections_end_at_once_and_replies_in_hand_are_sent(autojump_clock, edge):
    async def wait(context, _):
        await context.wait(trio.Event(), 600_000)
        return FetchResponse()

    edge.broker.handlers[FETCH] = wait
    idle, waiting, slow = edge.connect(), edge.connect(), edge.connect(MemoryTransport(window_bytes=3))
    waiting.send(FETCH)
    slow.send(HEARTBEAT)
    await trio.testing.wait_all_tasks_blocked()

    edge.connections.end_all("the broker stops")

    assert await idle.response() is None
    assert await waiting.response() is None
    await trio.testing.wait_all_tasks_blocked()
    sent = b""
    while not slow.transport.closed or slow.transport._outbox:
        sent += slow.transport.take(3)
        await trio.testing.wait_all_tasks_blocked()
    assert len(sent) == 4 + int.from_bytes(sent[:4], "big")
    await edge.connections.empty()
