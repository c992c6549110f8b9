"""Loads with which growth is measured: many partitions, many connections, many groups, a log of any size."""

import json
import random
import resource
import selectors
import sys
import time

from bench.raw import RawClient, fetch_frame, produce_frame
from kwire.errors import Code
from kwire.wire import codec
from kwire.wire import messages as m

# The longest that Kafka's defaults allow, so that no member expires while another part is measured.
_SESSION_MS = 1_800_000
_NOT_YET = {Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR, Code.COORDINATOR_LOAD_IN_PROGRESS}


def spread_requests(*, bootstrap: str, topics: list[str], partitions: int, requests: int) -> dict[str, float]:
    """Produce requests of one record, 16 in flight, each to the next of all partitions."""
    client = RawClient(bootstrap)
    frames = []
    for topic in topics:
        topic_id = client.topic_id(topic)
        frames += [produce_frame(topic_id, 100, partitions=(index,)) for index in range(partitions)]
    random.Random(1).shuffle(frames)
    sent = answered = 0
    started = time.perf_counter()
    while answered < requests:
        burst = [frames[number % len(frames)] for number in range(sent, min(sent + 8, requests))]
        client.socket.sendall(b"".join(burst))
        sent += len(burst)
        if sent - answered > 8 or sent == requests:
            due = min(8, requests - answered)
            client.read_replies(due)
            answered += due
    return {"seconds": time.perf_counter() - started}


def all_metadata(*, bootstrap: str, times: int) -> dict[str, float]:
    client = RawClient(bootstrap)
    frame = codec.encode_request(3, 12, 1, "bench", m.MetadataRequest(topics=None))
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        client.socket.sendall(frame)
        client.read_reply()
        taken.append((time.perf_counter() - started) * 1000)
    return {"ms": sorted(taken)[len(taken) // 2]}


def fetch_middle(*, bootstrap: str, topic: str, end_offset: int, times: int) -> dict[str, float]:
    """Fetch 1 MB from anywhere in a log, on a broker that has not read it before."""
    client = RawClient(bootstrap)
    topic_id = client.topic_id(topic)
    dice = random.Random(2)
    taken = []
    for _ in range(times):
        frame = fetch_frame(topic_id, dice.randrange(end_offset))
        started = time.perf_counter()
        client.socket.sendall(frame)
        assert client.pass_over_reply() > 1_000_000
        taken.append((time.perf_counter() - started) * 1000)
    return {"first_ms": taken[0], "ms": sorted(taken)[len(taken) // 2]}


def many_connections(*, bootstrap: str, topic: str, count: int, requests: int) -> dict[str, float]:
    """Open, hold; one request at a time round all of them, hold; all wait for one record, hold; the record comes."""
    _raise_descriptor_limit()
    clients = [RawClient(bootstrap, negotiate=True) for _ in range(count)]
    _hold({"opened": count})
    frame = produce_frame(clients[0].topic_id(topic), 100)
    for number in range(requests):
        client = clients[number % count]
        client.socket.sendall(frame)
        client.read_replies(1)
    _hold({"requests": requests})
    poll = fetch_frame(clients[0].topic_id(topic), clients[0].end_offset(topic), max_wait_ms=120_000)
    for client in clients:
        client.socket.sendall(poll)
    producer = RawClient(bootstrap)
    producer.topic_id(topic)  # by its answer the last poll has been read, too
    _hold({"waiting": count})
    started = time.perf_counter()
    producer.socket.sendall(frame)
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    missing = count
    while missing:
        for key, _ in selector.select(60):
            assert len(key.data.read_reply()) > 100, "an empty fetch: the wake-up was missed"
            selector.unregister(key.fileobj)
            missing -= 1
    _hold({"all_woken_ms": (time.perf_counter() - started) * 1000})
    for client in clients:
        client.socket.close()
    return {}


def many_groups(*, bootstrap: str, topic: str, count: int, commits: int) -> dict[str, float]:
    """Groups with one member and one committed offset each, hold; commits round all of them, hold; then list them."""
    client = RawClient(bootstrap)
    find = m.FindCoordinatorRequest(key_type=0, coordinator_keys=["g-0"])
    while client.ask(10, 4, find).coordinators[0].error_code:
        time.sleep(0.02)
    members = [_join(client, f"g-{number}") for number in range(count)]
    _hold({"groups": count})
    for number in range(commits):
        answer = client.ask(8, 8, _commit(topic, number, *members[number % count]))
        assert answer.topics[0].partitions[0].error_code == 0
    _hold({"commits": commits})
    started = time.perf_counter()
    listed = client.ask(16, 4, m.ListGroupsRequest())
    seconds = time.perf_counter() - started
    assert len([one for one in listed.groups if one.group_id.startswith("g-")]) == count
    _hold({"list_ms": seconds * 1000})
    return {}


def committed(*, bootstrap: str, group_id: str) -> dict[str, float]:
    """Fetch a committed offset until the coordinator is loaded."""
    client = RawClient(bootstrap)
    request = m.OffsetFetchRequest
    wanted = request(groups=[request.OffsetFetchRequestGroup(group_id=group_id, topics=None)], require_stable=True)
    while True:
        answer = client.ask(9, 8, wanted).groups[0]
        if answer.error_code == 0:
            return {"offset": float(answer.topics[0].partitions[0].committed_offset)}
        assert answer.error_code in _NOT_YET, Code(answer.error_code)
        time.sleep(0.02)


def _join(client: RawClient, group_id: str) -> tuple[str, int, str]:
    request = m.JoinGroupRequest
    member_id = ""
    while True:
        joined = client.ask(
            11,
            9,
            request(
                group_id=group_id,
                session_timeout_ms=_SESSION_MS,
                rebalance_timeout_ms=_SESSION_MS,
                member_id=member_id,
                protocol_type="consumer",
                protocols=[request.JoinGroupRequestProtocol(name="range", metadata=b"")],
            ),
        )
        if joined.error_code == 0:
            break
        assert joined.error_code in _NOT_YET | {Code.MEMBER_ID_REQUIRED}, Code(joined.error_code)
        member_id = joined.member_id
    share = m.SyncGroupRequest.SyncGroupRequestAssignment(member_id=member_id, assignment=b"x")
    sync = m.SyncGroupRequest(
        group_id=group_id,
        generation_id=joined.generation_id,
        member_id=member_id,
        protocol_type="consumer",
        protocol_name="range",
        assignments=[share],
    )
    assert client.ask(14, 5, sync).error_code == 0
    return group_id, joined.generation_id, member_id


def _commit(topic: str, offset: int, group_id: str, generation_id: int, member_id: str) -> m.OffsetCommitRequest:
    request = m.OffsetCommitRequest
    partition = request.OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
    return request(
        group_id=group_id,
        generation_id_or_member_epoch=generation_id,
        member_id=member_id,
        topics=[request.OffsetCommitRequestTopic(name=topic, partitions=[partition])],
    )


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _hold(numbers: dict[str, float]) -> None:
    print(json.dumps(numbers), flush=True)
    sys.stdin.readline()
