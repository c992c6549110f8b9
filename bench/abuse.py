"""`python -m bench abuse`: what one abusive client costs all others, on kwire and on Apache Kafka.

Each case sends its requests on some connections while a probe asks ApiVersions on another, one request after the other.
Reported: the longest time that the probe waited, its p99, the time until the abusive client had all its answers, and
the memory of the broker before and at the most.
"""

import argparse
import contextlib
import socket
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from bench.raw import RawClient
from interop.brokers import Apache, Kwire
from kwire.wire import codec
from kwire.wire import messages as m
from kwire.wire.batches.compression import Codec, compress
from kwire.wire.batches.records import Record, build_batch

METADATA, LIST_GROUPS, API_VERSIONS, PRODUCE, OFFSET_COMMIT, JOIN_GROUP = 3, 16, 18, 0, 8, 11
SYNC_GROUP, ADD_PARTITIONS = 14, 24
SETTINGS = {"auto.create.topics.enable": "true"}
PARTITIONS = 4000
GROUPS = 20_000
_PATIENCE_S = 90
_HEAD = """| broker | case | longest wait s | p99 s | all answered s | memory MB before, most |
|---|---|---|---|---|---|"""


class Probe:
    """Asks ApiVersions, one request after the other, while the block runs."""

    def __init__(self, bootstrap: str) -> None:
        self._client = RawClient(bootstrap)
        self._client.socket.settimeout(_PATIENCE_S)
        self._frame = codec.encode_request(API_VERSIONS, 0, 1, "probe", m.ApiVersionsRequest())
        self._stop = threading.Event()
        self.waits_s: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.perf_counter()
            try:
                self._client.socket.sendall(self._frame)
                self._client.read_reply()
            except OSError:
                self.waits_s.append(_PATIENCE_S)
                return
            self.waits_s.append(time.perf_counter() - started)
            self._stop.wait(0.005)

    def __enter__(self) -> Self:
        self._thread.start()
        time.sleep(0.2)
        self.waits_s.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_PATIENCE_S)


def frames(key: int, version: int, request: Any, count: int) -> bytes:
    return codec.encode_request(key, version, 1, "abuse", request) * count


def flood(bootstrap: str, connections: int, content: bytes, replies: int) -> None:
    """Send ``content`` on each of many connections and read all replies; a connection that is closed is done."""

    def one() -> None:
        client = RawClient(bootstrap)
        client.socket.settimeout(_PATIENCE_S)
        writer = threading.Thread(target=_send, args=(client.socket, content), daemon=True)
        writer.start()
        with contextlib.suppress(OSError, AssertionError, EOFError):
            client.read_replies(replies)
        client.socket.close()

    threads = [threading.Thread(target=one, daemon=True) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE_S)


def _send(to: socket.socket, content: bytes) -> None:
    with contextlib.suppress(OSError):
        to.sendall(content)


def all_metadata() -> m.MetadataRequest:
    return m.MetadataRequest(topics=None, allow_auto_topic_creation=False)


def create_partitions(bootstrap: str) -> None:
    topic = m.CreateTopicsRequest.CreatableTopic
    topics = [topic(name=f"many{i}", num_partitions=100, replication_factor=1) for i in range(PARTITIONS // 100)]
    client = RawClient(bootstrap)
    client.socket.settimeout(_PATIENCE_S)
    client.ask(19, 5, m.CreateTopicsRequest(topics=topics, timeout_ms=60_000))
    client.socket.close()
    time.sleep(2)


def create_groups(bootstrap: str) -> None:
    client = RawClient(bootstrap)
    client.socket.settimeout(_PATIENCE_S)
    client.ask(10, 4, m.FindCoordinatorRequest(key_type=0, coordinator_keys=["g"]))
    time.sleep(3)
    commit = m.OffsetCommitRequest
    partition = commit.OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_metadata="")
    topics = [commit.OffsetCommitRequestTopic(name="many0", partitions=[partition])]
    for start in range(0, GROUPS, 200):
        requests = [
            codec.encode_request(
                OFFSET_COMMIT,
                8,
                1,
                "abuse",
                commit(group_id=f"group{start + i}", generation_id_or_member_epoch=-1, topics=topics),
            )
            for i in range(200)
        ]
        client.socket.sendall(b"".join(requests))
        client.read_replies(200)
    client.socket.close()


def metadata_flood(connections: int, each: int) -> Callable[[str], None]:
    return lambda bootstrap: flood(bootstrap, connections, frames(METADATA, 8, all_metadata(), each), each)


def polite(bootstrap: str) -> None:
    """Twenty clients, each asking for all metadata ten times, one request after the other."""

    def one() -> None:
        client = RawClient(bootstrap)
        client.socket.settimeout(_PATIENCE_S)
        frame = frames(METADATA, 8, all_metadata(), 1)
        for _ in range(10):
            client.socket.sendall(frame)
            client.read_replies(1)
        client.socket.close()

    threads = [threading.Thread(target=one, daemon=True) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE_S)


def bombs(bootstrap: str) -> None:
    """Twelve batches in one pipeline, each some KB of zstd that open to 20 MB, to a topic that recompresses."""
    creation = m.CreateTopicsRequest.CreatableTopic
    configs = [m.CreateTopicsRequest.CreatableTopicConfig(name="compression.type", value="gzip")]
    topic = creation(name="recompressed", num_partitions=1, replication_factor=1, configs=configs)
    client = RawClient(bootstrap)
    client.ask(19, 5, m.CreateTopicsRequest(topics=[topic], timeout_ms=10_000))
    client.socket.close()
    produce = m.ProduceRequest
    data = produce.TopicProduceData(
        name="recompressed", partition_data=[produce.PartitionProduceData(index=0, records=bomb())]
    )
    flood(bootstrap, 1, frames(PRODUCE, 9, produce(acks=-1, timeout_ms=1000, topic_data=[data]), 12), 12)


def bomb() -> bytes:
    """A batch whose records are 20 MB of zeros in zstd: the records' lengths are right, what they hold is not."""
    plain = build_batch([Record(0, 0, b"k", b"v", ())], codec=Codec.ZSTD)
    payload = compress(Codec.ZSTD, bytes(20 * 1024 * 1024 * 12))
    header = bytearray(plain[:61])
    struct.pack_into(">i", header, 8, 49 + len(payload))
    from crc32c import crc32c

    struct.pack_into(">I", header, 17, crc32c(bytes(header[21:]) + payload))
    return bytes(header) + payload


def unknown_names(bootstrap: str) -> None:
    topics = [m.MetadataRequest.MetadataRequestTopic(name=f"unknown{i}") for i in range(100_000)]
    flood(bootstrap, 1, frames(METADATA, 8, m.MetadataRequest(topics=topics, allow_auto_topic_creation=True), 1), 1)


def list_groups(bootstrap: str) -> None:
    flood(bootstrap, 1, frames(LIST_GROUPS, 4, m.ListGroupsRequest(), 64), 64)


def large_join(bootstrap: str) -> None:
    protocol = m.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=bytes(95 * 1024 * 1024))
    request = m.JoinGroupRequest(
        group_id="large",
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        protocol_type="consumer",
        protocols=[protocol],
    )
    flood(bootstrap, 1, frames(JOIN_GROUP, 2, request, 1), 1)


def many_partitions(bootstrap: str) -> None:
    """A transaction that is to write to two million partitions of a topic that does not exist."""
    request = m.AddPartitionsToTxnRequest
    topic = request.AddPartitionsToTxnTopic(name="unknown", partitions=list(range(2_000_000)))
    wish = request(
        v3_and_below_transactional_id="x",
        v3_and_below_producer_id=1,
        v3_and_below_producer_epoch=0,
        v3_and_below_topics=[topic],
    )
    flood(bootstrap, 1, frames(ADD_PARTITIONS, 3, wish, 1), 1)


def many_assignments(bootstrap: str) -> None:
    """A SyncGroup with the assignments of a million members that do not exist."""
    request = m.SyncGroupRequest
    given = [request.SyncGroupRequestAssignment(member_id=f"m{i}", assignment=b"") for i in range(1_000_000)]
    wish = request(group_id="g", generation_id=1, member_id="m", assignments=given)
    flood(bootstrap, 1, frames(SYNC_GROUP, 3, wish, 1), 1)


def unfinished(bootstrap: str) -> None:
    """Twenty requests of 90 MB whose last byte never comes."""
    host, _, port = bootstrap.rpartition(":")
    content = struct.pack(">i", 90 * 1024 * 1024) + bytes(90 * 1024 * 1024 - 1)
    sockets = [socket.create_connection((host, int(port))) for _ in range(20)]
    threads = [threading.Thread(target=_send, args=(each, content), daemon=True) for each in sockets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    time.sleep(1)
    for each in sockets:
        each.close()


def slow_senders(bootstrap: str) -> None:
    """Two thousand connections that have sent the first bytes of a request of 1 MB."""
    host, _, port = bootstrap.rpartition(":")
    sockets = [socket.create_connection((host, int(port))) for _ in range(900)]
    for each in sockets:
        each.sendall(struct.pack(">i", 1024 * 1024) + bytes(10))
    time.sleep(3)
    for each in sockets:
        each.close()


CASES: dict[str, Callable[[str], None]] = {
    "20 x 30 Metadata of 4,000 partitions": metadata_flood(20, 30),
    "100 x 100 Metadata of 4,000 partitions": metadata_flood(100, 100),
    "20 polite clients, Metadata of 4,000 partitions": polite,
    "12 zstd bombs of 240 MB": bombs,
    "one Metadata of 100,000 unknown names": unknown_names,
    f"64 ListGroups over {GROUPS:,} groups": list_groups,
    "JoinGroup with 95 MB of metadata": large_join,
    "AddPartitionsToTxn of 2,000,000 partitions": many_partitions,
    "SyncGroup with 1,000,000 assignments": many_assignments,
    "20 unfinished requests of 90 MB": unfinished,
    "900 slow senders": slow_senders,
}


@contextlib.contextmanager
def memory_watched(pid: int) -> Iterator[list[float]]:
    """The resident memory of a process in MB, several times a second."""
    samples: list[float] = [_rss_mb(pid)]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            samples.append(_rss_mb(pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def _rss_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * 4096 / 1e6


def main(arguments: list[str]) -> int:
    """Run the cases on each broker and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench abuse", description=__doc__)
    parser.add_argument("cases", nargs="*", help="cases to run, by a part of their name (default: all)")
    parser.add_argument("--only", choices=["kwire", "apache"])
    chosen = parser.parse_args(arguments)
    cases = [name for name in CASES if not chosen.cases or any(word in name for word in chosen.cases)]
    print(_HEAD)
    for kind in (Kwire, Apache):
        if chosen.only in (None, kind.__name__.lower()):
            for name in cases:
                with tempfile.TemporaryDirectory() as folder:
                    print(f"| {kind.__name__} | {name} | {_measure(kind, Path(folder), name)} |", flush=True)
    return 0


def _measure(kind: type[Kwire] | type[Apache], folder: Path, name: str) -> str:
    broker = kind(folder, SETTINGS)
    broker.start()
    try:
        create_partitions(broker.bootstrap)
        if "ListGroups" in name:
            create_groups(broker.bootstrap)
        time.sleep(1)
        with memory_watched(broker.pid) as memory, Probe(broker.bootstrap) as probe:
            started = time.perf_counter()
            CASES[name](broker.bootstrap)
            answered_s = time.perf_counter() - started
            time.sleep(0.3)
        waits = sorted(probe.waits_s)
        p99 = statistics.quantiles(waits, n=100)[98] if len(waits) > 1 else waits[0]
        return f"{waits[-1]:.3f} | {p99:.3f} | {answered_s:.2f} | {memory[0]:.0f}, {max(memory):.0f}"
    finally:
        broker.kill()
