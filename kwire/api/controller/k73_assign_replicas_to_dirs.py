"""AssignReplicasToDirs (key 73).

Versions: 0.

Behaviour: a broker with several log directories tells which of them holds its replicas (KIP-858). Each partition has
its own code: UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER for a partition that the broker has
no replica of. A directory that the broker has not registered counts as offline: the replica leaves the in-sync set.
"""

from __future__ import annotations

from kwire.api.controller.serving import serving
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.limits import METADATA_STEP_RECORDS
from kwire.metadata.cluster.directories import ReplicaDirectory
from kwire.security.operations import Operation
from kwire.wire.messages import AssignReplicasToDirsRequest, AssignReplicasToDirsResponse

Answer = AssignReplicasToDirsResponse


async def handle(context: Context, request: AssignReplicasToDirsRequest) -> AssignReplicasToDirsResponse:
    context.authorize_cluster(Operation.CLUSTER_ACTION)
    replicas = [
        ReplicaDirectory(topic.topic_id, one.partition_index, directory.id)
        for directory in request.directories
        for topic in directory.topics
        for one in topic.partitions
    ]
    assigned: list[Code] = []
    for start in range(0, len(replicas) or 1, METADATA_STEP_RECORDS):
        if start:
            await context.yield_turn()
        some = replicas[start : start + METADATA_STEP_RECORDS]
        assigned += serving(context).assign_directories(request.broker_id, request.broker_epoch, some)
    codes = iter(assigned)
    return AssignReplicasToDirsResponse(
        throttle_time_ms=context.throttle_ms,
        directories=[
            Answer.DirectoryData(
                id=directory.id,
                topics=[
                    Answer.TopicData(
                        topic_id=topic.topic_id,
                        partitions=[
                            Answer.PartitionData(partition_index=one.partition_index, error_code=next(codes))
                            for one in topic.partitions
                        ],
                    )
                    for topic in directory.topics
                ],
            )
            for directory in request.directories
        ],
    )
