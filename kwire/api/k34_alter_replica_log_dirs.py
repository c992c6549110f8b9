"""AlterReplicaLogDirs (key 34).

Versions: 1-2.

Behaviour: moves partitions to another of ``log.dirs`` (KIP-113). The answer is sent when a move has begun; it continues
in the background, and DescribeLogDirs shows both places until it is done. A directory that failed gets
KAFKA_STORAGE_ERROR, one that is cordoned (KIP-1066) INVALID_REPLICA_ASSIGNMENT.
"""

from __future__ import annotations

from kwire.api.pacing import paced
from kwire.api.probes import INDEXES, UNKNOWN_NAME, Probe
from kwire.broker.directories.log_dirs import LogDir, LogDirs
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation
from kwire.wire.messages import AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse

PROBE: Probe = {"dirs": [{"path": f"/{UNKNOWN_NAME}", "topics": INDEXES}]}

TopicResult = AlterReplicaLogDirsResponse.AlterReplicaLogDirTopicResult
PartitionResult = AlterReplicaLogDirsResponse.AlterReplicaLogDirPartitionResult


async def handle(context: Context, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse:
    # The last of two entries for one partition counts.
    wanted = {
        (topic.name, index): directory.path
        for directory in request.dirs
        for topic in directory.topics
        for index in topic.partitions
    }
    by_topic: dict[str, list[PartitionResult]] = {}
    async for (topic, index), path in paced(context, wanted.items()):
        result = PartitionResult(partition_index=index, error_code=_move(context, path, topic, index))
        by_topic.setdefault(topic, []).append(result)
    return AlterReplicaLogDirsResponse(
        throttle_time_ms=context.throttle_ms,
        results=[TopicResult(topic_name=name, partitions=results) for name, results in by_topic.items()],
    )


def _move(context: Context, path: str, topic: str, index: int) -> Code:
    broker = context.broker
    if not context.may_cluster(Operation.ALTER):
        return Code.CLUSTER_AUTHORIZATION_FAILED
    try:
        target = _target(broker.dirs, path)
        partition = broker.partitions.replica(topic, index)
    except KafkaError as refusal:
        # As in Apache Kafka: older clients know this code only.
        is_elsewhere = refusal.code is Code.NOT_LEADER_OR_FOLLOWER
        return Code.REPLICA_NOT_AVAILABLE if is_elsewhere else refusal.code
    if broker.partitions.is_offline(partition):
        return Code.KAFKA_STORAGE_ERROR
    broker.moves.request(partition, target)
    return Code.NONE


def _target(dirs: LogDirs, path: str) -> LogDir:
    target = dirs.by_path(path)
    if target is None:
        raise KafkaError(Code.LOG_DIR_NOT_FOUND)
    if target.is_offline:
        raise KafkaError(Code.KAFKA_STORAGE_ERROR)
    if target.is_cordoned:
        raise KafkaError(Code.INVALID_REPLICA_ASSIGNMENT)
    return target
