"""FetchSnapshot (key 59).

Versions: 0-1.

Behaviour: parts of a snapshot of the metadata log (KIP-630), by position. A part is cut anywhere. Errors are those of
the partition: SNAPSHOT_NOT_FOUND (a newer snapshot has replaced it), POSITION_OUT_OF_RANGE, FENCED_LEADER_EPOCH,
UNKNOWN_LEADER_EPOCH; the reader begins again with Fetch. Apache Kafka answers each of them with UNKNOWN_SERVER_ERROR,
because it fails while it writes a partition's error.

Version notes: 1 directory ids and node endpoints (KIP-853).
"""

from __future__ import annotations

from typing import Final

from kwire.api.controller.serving import leader_endpoints, serving
from kwire.broker.controller.cluster_controller import ClusterController
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.metadata.log.log_format import SnapshotId
from kwire.security.operations import Operation
from kwire.types import METADATA_TOPIC
from kwire.wire.messages import FetchSnapshotRequest, FetchSnapshotResponse

_ENDPOINTS_SINCE: Final = 1  # KIP-853

Asked = FetchSnapshotRequest.PartitionSnapshot
PartitionAnswer = FetchSnapshotResponse.PartitionSnapshot


def handle(context: Context, request: FetchSnapshotRequest) -> FetchSnapshotResponse:
    context.authorize_cluster(Operation.CLUSTER_ACTION)
    cluster = serving(context)
    if request.cluster_id is not None and request.cluster_id != cluster.cluster_id:
        return FetchSnapshotResponse(error_code=Code.INCONSISTENT_CLUSTER_ID)
    topics = [
        FetchSnapshotResponse.TopicSnapshot(
            name=topic.name,
            partitions=[_answer(cluster, topic.name, one, request.max_bytes) for one in topic.partitions],
        )
        for topic in request.topics
    ]
    return FetchSnapshotResponse(
        throttle_time_ms=context.throttle_ms,
        topics=topics,
        node_endpoints=[
            FetchSnapshotResponse.NodeEndpoint(node_id=cluster.node_id, host=one.host, port=one.port)
            for one in (leader_endpoints(context, cluster) if context.api_version >= _ENDPOINTS_SINCE else ())
        ],
    )


def _answer(cluster: ClusterController, topic: str, asked: Asked, max_bytes: int) -> PartitionAnswer:
    log = cluster.log
    snapshot_id = SnapshotId(asked.snapshot_id.end_offset, asked.snapshot_id.epoch)
    answer = PartitionAnswer(
        index=asked.partition,
        snapshot_id=FetchSnapshotResponse.SnapshotId(end_offset=snapshot_id.offset, epoch=snapshot_id.epoch),
        current_leader=FetchSnapshotResponse.LeaderIdAndEpoch(leader_id=log.leader_id, leader_epoch=log.leader_epoch),
        position=asked.position,
        unaligned_records=b"",
    )
    try:
        if (topic, asked.partition) != (METADATA_TOPIC, 0):
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION)
        log.check_epoch(asked.current_leader_epoch)
        part = log.read_snapshot(snapshot_id, asked.position, max_bytes)
    except KafkaError as refusal:
        answer.error_code = refusal.code
        return answer
    answer.size = part.size_bytes
    answer.unaligned_records = part.content
    return answer
