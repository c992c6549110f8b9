"""The metadata of large clusters, without processes: the controller's decisions, the image, what brokers apply.

The numbers are CPU seconds of one core of this machine; how they grow is what counts. Each size runs in a process of
its own.
"""

import gc
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.measure import usage
from bench.run import Numbers
from interop.jars import ROOT
from kwire.metadata.cluster.heartbeat import Heartbeat, decide_heartbeat
from kwire.metadata.cluster.leadership import fence, leave_in_steps
from kwire.metadata.cluster.replica_counts import ReplicaCounts
from kwire.metadata.cluster.sessions import BrokerSessions
from kwire.metadata.configs.effective import BrokerSettings, EffectiveConfigs
from kwire.metadata.decisions.placement import place
from kwire.metadata.features import SERVED
from kwire.metadata.image import MetadataImage
from kwire.metadata.log.frames import decode_record
from kwire.metadata.log.log_format import Quorum, data_batch, read_snapshot, write_snapshot
from kwire.metadata.log.snapshot import snapshot_records
from kwire.replication.follower import FetchPosition
from kwire.replication.sessions import FollowerSession
from kwire.wire.batches.records import read_records
from kwire.wire.message import Message
from kwire.wire.messages import FeatureLevelRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord

SIZES = ((3, 1_000), (10, 10_000), (30, 100_000), (100, 300_000), (100, 1_000_000))
FACTOR = 3
_TOPIC_PARTITIONS = 100
_VERSION = SERVED["metadata.version"].highest
_HEARTBEAT_S = 2.0
_FETCH_WAIT_S = 0.5


def in_a_process(brokers: int, partitions: int) -> Numbers:
    """Measure one size in a process of its own: what another one left in memory does not count."""
    command = [sys.executable, "-m", "bench.scale_model", str(brokers), str(partitions)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=470)
    assert finished.returncode == 0, finished.stderr[-2000:]
    numbers: Numbers = json.loads(finished.stdout)
    return numbers


def measure(brokers: int, partitions: int) -> Numbers:
    import os

    image = MetadataImage()
    image.apply([FeatureLevelRecord(name="metadata.version", feature_level=_VERSION)])
    image.apply([FeatureLevelRecord(name="eligible.leader.replicas.version", feature_level=1)])
    image.apply([registration(number) for number in range(1, brokers + 1)])
    configs = EffectiveConfigs(image, BrokerSettings({"min.insync.replicas": "2"}), 1)
    warm_up()
    gc.collect()
    gc.freeze()
    before_mb = usage(os.getpid()).rss_mb
    for records in topics(image, partitions):
        image.apply(records)
    gc.collect()
    image_mb = usage(os.getpid()).rss_mb - before_mb
    return {
        "image_mb": image_mb,
        "image_bytes_per_partition": image_mb * 1024 * 1024 / partitions,
        **snapshots(image, partitions),
        **heartbeats(image, configs, brokers),
        **fail_over(image, configs),
        **fetching(brokers, partitions),
    }


def warm_up() -> None:
    """Messages are compiled at their first use: that does not count."""
    image = MetadataImage()
    image.apply([FeatureLevelRecord(name="metadata.version", feature_level=_VERSION)])
    image.apply([registration(number) for number in (1, 2, 3)])
    for records in topics(image, 3):
        image.apply(records)
    snapshots(image, 3)
    fail_over(image, EffectiveConfigs(image, BrokerSettings({}), 1))


def registration(number: int) -> RegisterBrokerRecord:
    return RegisterBrokerRecord(
        broker_id=number,
        broker_epoch=number,
        incarnation_id=number.to_bytes(16, "big"),
        end_points=[
            RegisterBrokerRecord.BrokerEndpoint(
                name="PLAINTEXT", host=f"broker-{number}", port=9092, security_protocol=0
            )
        ],
        features=[
            RegisterBrokerRecord.BrokerFeature(
                name=name, min_supported_version=levels.lowest, max_supported_version=levels.highest
            )
            for name, levels in SERVED.items()
        ],
        rack=f"rack-{number % 3}",
        fenced=False,
        log_dirs=[directory(number)],
    )


def directory(broker: int) -> bytes:
    return broker.to_bytes(2, "big") * 8


def topics(image: MetadataImage, partitions: int) -> Iterator[list[Message]]:
    """The records of each topic, as CreateTopics makes them: placed over racks."""
    directories = {number: directory(number) for number in image.brokers}
    for number in itertools.count():
        first = number * _TOPIC_PARTITIONS
        count = min(_TOPIC_PARTITIONS, partitions - first)
        if count <= 0:
            return
        topic_id = (number + 1).to_bytes(16, "big")
        rows = place(image, partitions=count, replication_factor=FACTOR, start=first)
        records: list[Message] = [TopicRecord(name=f"topic-{number}", topic_id=topic_id)]
        records += [
            PartitionRecord(
                partition_id=index,
                topic_id=topic_id,
                replicas=row,
                isr=list(row),
                leader=row[0],
                leader_epoch=0,
                partition_epoch=0,
                directories=[directories[one] for one in row],
            )
            for index, row in enumerate(rows)
        ]
        yield records


def snapshots(image: MetadataImage, partitions: int) -> Numbers:
    """Write the image out, and load it as a broker does that starts."""
    started = time.process_time()
    batches = write_snapshot(
        snapshot_records(image), Quorum(0, None), metadata_version=_VERSION, epoch=1, now_ms=0, last_timestamp_ms=0
    )
    content = b"".join(batches)
    written_s = time.process_time() - started
    started = time.process_time()
    read = read_snapshot("snapshot", content)
    MetadataImage().apply(read.records)
    loaded_s = time.process_time() - started
    return {
        "snapshot_mb": len(content) / 1e6,
        "snapshot_bytes_per_partition": len(content) / partitions,
        "snapshot_write_s": written_s,
        "snapshot_load_s": loaded_s,
    }


def heartbeats(image: MetadataImage, configs: EffectiveConfigs, brokers: int) -> Numbers:
    """The usual heartbeat, and the longest step of a controlled shutdown: what the controller decides and encodes."""
    sessions, counts = BrokerSessions(9000), ReplicaCounts.of(image)
    for broker in image.brokers.values():
        sessions.registered(broker.id, broker.epoch, fenced=False)
    beat = Heartbeat(
        broker_id=brokers, broker_epoch=brokers, metadata_offset=1 << 40, want_fence=False, want_shut_down=False
    )
    count = 2000
    started = time.process_time()
    for _ in range(count):
        decide_heartbeat(image, configs, sessions, counts, beat)
        sessions.touch(brokers, fenced=False, metadata_offset=1 << 40, now_ms=1)
    each_s = (time.process_time() - started) / count
    longest_s, steps = 0.0, leave_in_steps(image, configs, 1)
    started = time.process_time()
    while (records := next(steps, None)) is not None:
        data_batch(records, _VERSION, offset=0, epoch=1, now_ms=0)
        ended = time.process_time()
        longest_s, started = max(longest_s, ended - started), ended
    return {
        "heartbeat_us": each_s * 1e6,
        "heartbeats_percent_of_a_core": each_s * brokers / _HEARTBEAT_S * 100,
        "shutdown_step_ms": longest_s * 1000,
    }


def fail_over(image: MetadataImage, configs: EffectiveConfigs) -> Numbers:
    """A broker's session ends: decide, write, read, apply; the last two happen on every broker."""
    started = time.process_time()
    records = fence(image, configs, image.brokers[1])
    decided_s = time.process_time() - started
    started = time.process_time()
    batch = data_batch(records, _VERSION, offset=0, epoch=1, now_ms=0)
    encoded_s = time.process_time() - started
    started = time.process_time()
    decoded = [decode_record(record.value or b"") for record in read_records(memoryview(batch))]
    decoded_s = time.process_time() - started
    started = time.process_time()
    image.apply(decoded)
    applied_s = time.process_time() - started
    return {
        "fence_records": len(records),
        "fence_batch_mb": len(batch) / 1e6,
        "fence_decide_s": decided_s,
        "fence_encode_s": encoded_s,
        "fence_decode_s": decoded_s,
        "fence_apply_s": applied_s,
        # The controller applies what it has written, a broker reads it first.
        "fence_all_s": decided_s + encoded_s + applied_s + decoded_s + applied_s,
    }


def fetching(brokers: int, partitions: int) -> Numbers:
    """What a broker follows, and its idle fetches: one in flight to each leader, which waits for 500 ms."""
    followed = partitions * (FACTOR - 1) // brokers
    leaders = min(brokers - 1, followed)
    each = max(1, followed // leaders)
    session: FollowerSession[int] = FollowerSession()
    for index in range(each):
        session.set(index, FetchPosition(0, 0, 0, 0))
    session.build()
    session.answered(1)
    count = 1000
    started = time.process_time()
    for _ in range(count):
        session.build()
        session.answered(1)
    return {
        "followed_per_broker": followed,
        "leaders_per_broker": leaders,
        "partitions_per_session": each,
        "idle_fetches_per_s": leaders / _FETCH_WAIT_S,  # sent; as many are answered
        "idle_session_us": (time.process_time() - started) / count * 1e6,
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
