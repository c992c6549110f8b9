"""DescribeLogDirs (key 35).

Versions: 1-5.

Behaviour: each data directory with the partitions that lie in it and their sizes (KIP-113). Null means all
partitions; a partition that is not here is left out. A directory that failed has KAFKA_STORAGE_ERROR.

Version notes: 3 adds a top-level error; 4 the size of the volume (KIP-827), -1 when it is not known; 5 whether the
directory is cordoned (KIP-1066).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from kwire.api.pacing import paced
from kwire.api.probes import Probe
from kwire.broker.directories.log_dirs import LogDir
from kwire.broker.partitions.partition import Partition
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.metadata.features import CORDONED_LOG_DIRS
from kwire.security.operations import Operation
from kwire.wire.messages import DescribeLogDirsRequest, DescribeLogDirsResponse

PROBE: Probe = {"topics": None}

_ERROR_SINCE: Final = 3
_VOLUME_SINCE: Final = 4
_CORDONED_SINCE: Final = 5
_LOG_SUFFIX: Final = ".log"
_UNKNOWN: Final = -1

PartitionAnswer = DescribeLogDirsResponse.DescribeLogDirsPartition


async def handle(context: Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
    if not context.may_cluster(Operation.DESCRIBE):
        code = Code.CLUSTER_AUTHORIZATION_FAILED if context.api_version >= _ERROR_SINCE else Code.NONE
        return DescribeLogDirsResponse(throttle_time_ms=context.throttle_ms, error_code=code, results=[])
    by_dir: dict[str, dict[str, list[Partition]]] = defaultdict(lambda: defaultdict(list))
    async for partition in paced(context, _asked_for(context, request)):
        by_dir[partition.log_dir][partition.topic].append(partition)
        future = context.broker.moves.pending.get(partition)
        if future is not None:
            by_dir[future.path][partition.topic].append(partition)
    return DescribeLogDirsResponse(
        throttle_time_ms=context.throttle_ms,
        results=[await _directory(context, one, by_dir[one.path]) for one in context.broker.dirs.dirs],
    )


def _asked_for(context: Context, request: DescribeLogDirsRequest) -> list[Partition]:
    partitions = context.broker.partitions
    if request.topics is None:
        return list(partitions)
    wanted = {(topic.topic, index) for topic in request.topics for index in topic.partitions}
    return [found for name, index in sorted(wanted) if (found := partitions.of_topic(name).get(index)) is not None]


async def _directory(
    context: Context, one: LogDir, topics: dict[str, list[Partition]]
) -> DescribeLogDirsResponse.DescribeLogDirsResult:
    if one.is_offline:
        return DescribeLogDirsResponse.DescribeLogDirsResult(
            log_dir=one.path,
            error_code=Code.KAFKA_STORAGE_ERROR,
            topics=[],
            total_bytes=_UNKNOWN,
            usable_bytes=_UNKNOWN,
        )
    total, usable = one.files.space(one.path) if context.api_version >= _VOLUME_SINCE else (_UNKNOWN, _UNKNOWN)
    return DescribeLogDirsResponse.DescribeLogDirsResult(
        log_dir=one.path,
        topics=[
            DescribeLogDirsResponse.DescribeLogDirsTopic(
                name=name, partitions=[_partition(one, partition) async for partition in paced(context, partitions)]
            )
            for name, partitions in topics.items()
        ],
        total_bytes=total,
        usable_bytes=usable,
        is_cordoned=one.is_cordoned
        and context.api_version >= _CORDONED_SINCE
        and context.broker.image.metadata_version >= CORDONED_LOG_DIRS,
    )


def _partition(one: LogDir, partition: Partition) -> PartitionAnswer:
    if partition.log_dir != one.path:
        # A future replica: the partition is being moved here and is read from the other directory until the move ends.
        return PartitionAnswer(partition_index=partition.index, offset_lag=partition.log.end_offset, is_future_key=True)
    return PartitionAnswer(partition_index=partition.index, partition_size=_size(one, partition))


def _size(one: LogDir, partition: Partition) -> int:
    if partition.opened is not None:
        return partition.opened.size_bytes
    # The size of a log that is not open is taken without opening it.
    sizes = one.files.sizes(one.partition_path(partition.topic_partition))
    return sum(size for name, size in sizes.items() if name.endswith(_LOG_SUFFIX))
