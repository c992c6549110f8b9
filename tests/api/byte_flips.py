"""Flips one bit of every byte of every file of a small log directory and starts a broker on each damaged copy.

    export PYTHONPATH=tests:tests/api
    .venv/bin/python -m byte_flips                  every byte, about ten minutes
    .venv/bin/python -m byte_flips --every 50       a sample
    .venv/bin/python -m byte_flips --only quorum-state --show silent

What a start may be:

    same       the broker shows what it showed before the damage
    refused    the start ends with one sentence that names the file
    reported   what differs, or what was rebuilt, is a line in the log
    detected   a record batch fails its checksum where it is read: by the consumer, or by the coordinator, with a line
    unprotected  a digit of a text file without a checksum (see UNPROTECTED), an entry of a transaction index, or the
                 first 16 bytes of a record batch, which its CRC does not cover: nothing checks these

and what it must never be: ``traceback``, or ``silent``: other content without a line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections import Counter, defaultdict

import trio
from group_requests import commit, fetch_one
from peer import Peer
from transactional import Producer

from kwire.broker.directories.log_dirs import ForeignDirectory
from kwire.broker.start import open_broker
from kwire.errors import KafkaError, StorageFailure
from kwire.metadata.configs.effective import BrokerSettings
from kwire.testing.memory.files import MemoryFiles
from kwire.wire import messages as m
from kwire.wire.batches.batch import HEADER_BYTES, STAMP_BYTES, is_valid_batch, read_batch_header
from kwire.wire.batches.records import Record, build_batch, read_records

SETTINGS = {
    "log.dirs": "/kwire",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "log.index.interval.bytes": "100",
    "log.cleaner.enable": "false",
}
ALLOWED = ("same", "refused", "reported", "detected", "unprotected")

# Text files without a checksum whose numbers and names can be damaged into others that are as good. Apache Kafka
# believes them in the same way.
UNPROTECTED = {
    "meta.properties": "another cluster id, or a directory id while kraft.version is 0",
    "log-start-offset-checkpoint": "another log start offset, or the topic's line lost to another name",
    "recovery-point-offset-checkpoint": "another recovery point",
    "leader-epoch-checkpoint": "another epoch or start offset",
}


async def write_directory(files):
    """Fill a log directory with some of everything; give the copy that a kill leaves."""
    async with open_on(files) as broker:
        client = Peer(broker)
        topic_id = await client.create_topic("a", 2, retention_ms=-1)
        await client.create_topic("b")
        for number in range(6):
            append(broker, "a", number % 2, f"value {number}".encode())
        broker.partitions.get("a", 0).log.delete_records_before(1)
        broker.partitions.get("a", 0).log.roll(broker.clock.now_ms())
        append(broker, "a", 0, b"in the second segment")
        await client.call(8, commit("group", ("a", 0, 2)))
        await client.call(0, initialize_share_state(topic_id))
        await client.call(1, consumer_heartbeat())
        producer = Producer(client, "transactional id")
        await producer.init()
        await producer.write("b", b"aborted")
        await producer.abort()
        await producer.write("b", b"committed")
        await producer.commit()
        return files.fork()


def initialize_share_state(topic_id):
    request = m.InitializeShareGroupStateRequest
    partition = request.PartitionData(partition=0, state_epoch=1, start_offset=2)
    topic = request.InitializeStateData(topic_id=topic_id, partitions=[partition])
    return request(group_id="share group", topics=[topic])


def consumer_heartbeat():
    """The join of a member of a consumer group."""
    return m.ConsumerGroupHeartbeatRequest(
        group_id="consumer group",
        member_id="AAAAAAAAAAAAAAAAAAAAAQ",
        member_epoch=0,
        rebalance_timeout_ms=1000,
        subscribed_topic_names=["a"],
        topic_partitions=[],
    )


async def share_state(client):
    """Error, epoch and start offset of the one share partition that has a state, as the share coordinator has them."""
    request = m.ReadShareGroupStateSummaryRequest
    topic_id = client.broker.image.topics["a"].id if "a" in client.broker.image.topics else bytes(16)
    topic = request.ReadStateSummaryData(topic_id=topic_id, partitions=[request.PartitionData(partition=0)])
    answer = await client.call(1, request(group_id="share group", topics=[topic]))
    found = answer.results[0].partitions[0]
    return found.error_code, found.state_epoch, found.start_offset


async def consumer_group(client):
    """Error, epoch, and members with their assignments of the consumer group."""
    answer = await client.call(1, m.ConsumerGroupDescribeRequest(group_ids=["consumer group"]))
    (group,) = answer.groups
    held = [
        [(each.topic_name, each.partitions) for each in member.target_assignment.topic_partitions]
        for member in group.members
    ]
    return group.error_code, group.group_epoch, held


def append(broker, topic, index, value):
    partition = broker.partitions.get(topic, index)
    batch = memoryview(build_batch([Record(0, broker.clock.now_ms(), b"key", value)]))
    partition.append(batch, read_batch_header(batch), acks=1)


def open_on(files):
    return open_broker(BrokerSettings(SETTINGS), files, endpoints=[Peer.endpoint])


async def content_of(files):
    """What clients see: topics, configs, records, log starts and ends, aborted transactions, committed offsets."""
    async with open_on(files) as broker:
        client = Peer(broker)
        seen = {
            "cluster": broker.cluster_id,
            "topics": {topic.name: (topic.id, len(topic.partitions)) for topic in broker.image.topics.values()},
            "configs": {resource: dict(configs) for resource, configs in broker.image.configs.items()},
            "features": dict(broker.controller.finalized_features.levels),
            "producer ids": broker.image.next_producer_id,
        }
        for partition in broker.partitions:
            if not partition.topic.startswith("__"):
                seen[str(partition)] = records_of(partition)
        answer = await client.call(7, fetch_one("group", [("a", [0])]))
        seen["offset"] = (
            answer.error_code or answer.topics[0].partitions[0].error_code,
            answer.topics[0].partitions[0].committed_offset if answer.topics else None,
        )
        seen["share state"] = await share_state(client)
        seen["consumer group"] = await consumer_group(client)
        answer = await client.call(0, m.DescribeTransactionsRequest(transactional_ids=["transactional id"]))
        (state,) = answer.transaction_states
        seen["transaction"] = (state.error_code, state.transaction_state, state.producer_id, state.producer_epoch)
        return seen


def records_of(partition):
    """Read as a consumer does, which checks each batch."""
    try:
        log = partition.log
        aborted = log.aborted_transactions(log.log_start_offset, log.end_offset)
        found, offset = [], log.log_start_offset
        while offset < log.end_offset:
            piece = log.read(offset, max_bytes=1_000_000, end_offset=log.end_offset, at_least_one=True)
            if piece is None:
                break
            view = memoryview(piece.pread())
            piece.close()
            position = 0
            while position + HEADER_BYTES <= len(view):
                header = read_batch_header(view, position)
                if header.size_bytes < HEADER_BYTES or not is_valid_batch(view, position, header):
                    return "detected"
                batch = view[position : position + header.size_bytes]
                found += [(record.offset, record.key, record.value) for record in read_records(batch)]
                position += header.size_bytes
                offset = header.next_offset
            if position == 0:
                return "detected"
    except (KafkaError, StorageFailure):
        return "detected"
    return log.log_start_offset, log.end_offset, tuple(aborted), tuple(found)


def start(files):
    """Run a broker on the files; give what it showed or how it refused, and what it logged."""
    logged = io.StringIO()
    with contextlib.redirect_stderr(logged):
        try:
            seen = trio.run(content_of, files)
        except BaseException as error:  # noqa: BLE001 (each is classified)
            seen = error
    return seen, logged.getvalue()


def classify(expected, quiet, seen, logged, *, is_unprotected):
    if isinstance(seen, BaseException):
        while isinstance(seen, BaseExceptionGroup) and len(seen.exceptions) == 1:
            seen = seen.exceptions[0]
        return "refused" if isinstance(seen, StorageFailure | ForeignDirectory) else "traceback"
    if "Traceback" in logged:
        return "traceback"
    lines = [line for line in logged.splitlines() if "[warning" in line or "[error" in line]
    said = len(lines) > quiet
    if seen == expected:
        return "reported" if said else "same"
    differing = [key for key in expected if seen.get(key) != expected[key]]
    if all(seen.get(key) == "detected" for key in differing):
        return "detected"
    if said:
        return "reported"
    return "unprotected" if is_unprotected else "silent"


def sweep(*, every=1, only="", first=0):
    """Yield (how it was stopped, file, position, kind, what was seen) for each flipped byte."""
    whole = MemoryFiles()
    killed = trio.run(write_directory, whole)
    for how, base in (("clean", whole), ("killed", killed)):
        expected, logged = start(base.fork())
        assert not isinstance(expected, BaseException), expected
        quiet = sum("[warning" in line or "[error" in line for line in logged.splitlines())
        for path in base.paths():
            if only not in path:
                continue
            stamps = stamps_of(base.content(path)) if path.endswith(".log") and "__cluster" not in path else ()
            for position in range(first % every, len(base.content(path)), every):
                files = base.fork()
                is_unprotected = (
                    path.rpartition("/")[2] in UNPROTECTED or path.endswith(".txnindex") or position in stamps
                )
                files.content(path)[position] ^= 1 << (position * 5 % 8)
                seen, logged = start(files)
                yield (
                    how,
                    path,
                    position,
                    classify(expected, quiet, seen, logged, is_unprotected=is_unprotected),
                    (expected, seen, logged),
                )


def stamps_of(content):
    """The positions that no checksum covers: base offset, length and leader epoch of each batch."""
    position, stamps = 0, set()
    while position + HEADER_BYTES <= len(content):
        stamps |= set(range(position, position + STAMP_BYTES))
        position += read_batch_header(memoryview(bytes(content)), position).size_bytes
    return stamps


def describe(expected, seen, logged):
    if isinstance(seen, BaseException):
        return repr(seen)
    differing = {key: (expected.get(key), seen.get(key)) for key in expected if seen.get(key) != expected[key]}
    return f"{differing} {logged.strip()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--show", default="traceback,silent")
    chosen = parser.parse_args()
    shown = chosen.show.split(",")
    counts = defaultdict(Counter)
    for how, path, position, kind, (expected, seen, logged) in sweep(every=chosen.every, only=chosen.only):
        counts[how, path][kind] += 1
        counts[how, "all"][kind] += 1
        if kind in shown:
            sys.stdout.write(f"{kind}: {how} {path} at {position}: {describe(expected, seen, logged)[:600]}\n")
    for (how, path), kinds in counts.items():
        sys.stdout.write(f"{how} {path} {dict(kinds)}\n")
    return any(kind not in ALLOWED for kinds in counts.values() for kind in kinds)


if __name__ == "__main__":
    sys.exit(main())
