"""Fetch (key 1) on a controller's listener: the metadata log.

Versions: 13-18.

Behaviour: observers (brokers) read ``__cluster_metadata`` by its topic id (KIP-595). A reader with another leader epoch
gets FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH with the current leader; one whose log differs gets the diverging
epoch; one that begins at 0, or before the log's start, gets the id of the snapshot to load. Otherwise the answer has
committed records, or waits up to ``max_wait_ms`` for the next one. A reader that knows a lower high watermark is
answered at once.

Version notes: 13 topic ids (KIP-516); 15 replica state (KIP-903); 16 node endpoints (KIP-951); 17 directory ids
(KIP-853); 18 high watermark (KIP-1166). Versions below 13 have no topic id; Apache Kafka advertises them and answers
INVALID_REQUEST.
"""

from __future__ import annotations

from typing import Final

from kwire.api.controller.serving import leader_endpoints, serving
from kwire.broker.controller.cluster_controller import ClusterController
from kwire.broker.controller.served_log import MetadataRead
from kwire.broker.requests.context import Context
from kwire.errors import Code, KafkaError
from kwire.security.operations import Operation
from kwire.types import METADATA_TOPIC_ID
from kwire.wire.messages import FetchRequest, FetchResponse

_ENDPOINTS_SINCE: Final = 16  # KIP-951

Asked = FetchRequest.FetchPartition
PartitionData = FetchResponse.PartitionData


async def handle(context: Context, request: FetchRequest) -> FetchResponse:
    context.authorize_cluster(Operation.CLUSTER_ACTION)
    cluster = serving(context)
    if request.cluster_id is not None and request.cluster_id != cluster.cluster_id:
        return FetchResponse(error_code=Code.INCONSISTENT_CLUSTER_ID)
    asked = _only_partition(request)
    if asked is None:
        return FetchResponse(error_code=Code.INVALID_REQUEST)
    try:
        _check(cluster, request, asked)
        read = await _read(context, cluster, request, asked)
    except KafkaError as refusal:
        return _response(context, cluster, PartitionData(error_code=refusal.code, high_watermark=-1, records=b""))
    cluster.log.note_reader(_replica_id(request), asked.replica_directory_id, asked.fetch_offset)
    return _response(context, cluster, _answer(cluster, read))


def _only_partition(request: FetchRequest) -> Asked | None:
    """Return the partition of the request if it is the metadata log and no other is listed."""
    topics = request.topics
    if len(topics) != 1 or topics[0].topic_id != METADATA_TOPIC_ID or len(topics[0].partitions) != 1:
        return None
    asked = topics[0].partitions[0]
    return asked if asked.partition == 0 else None


def _replica_id(request: FetchRequest) -> int:
    return request.replica_id if request.replica_id >= 0 else request.replica_state.replica_id


def _check(cluster: ClusterController, request: FetchRequest, asked: Asked) -> None:
    if (
        request.max_wait_ms < 0
        or asked.fetch_offset < 0
        or asked.last_fetched_epoch < 0
        or asked.last_fetched_epoch > asked.current_leader_epoch
        # The leader does not read its own log through a connection: another node uses its id.
        or _replica_id(request) == cluster.node_id
    ):
        raise KafkaError(Code.INVALID_REQUEST)
    cluster.log.check_epoch(asked.current_leader_epoch)


async def _read(context: Context, cluster: ClusterController, request: FetchRequest, asked: Asked) -> MetadataRead:
    log, clock = cluster.log, context.broker.clock
    deadline_ms = clock.monotonic_ms() + request.max_wait_ms
    while True:
        appended = log.appended
        read = log.read(asked.fetch_offset, asked.last_fetched_epoch, request.max_bytes)
        left_ms = deadline_ms - clock.monotonic_ms()
        if not read.is_empty or left_ms <= 0 or asked.high_watermark < log.high_watermark:
            return read
        cluster.log.note_reader(_replica_id(request), asked.replica_directory_id, asked.fetch_offset)
        await context.wait(appended, left_ms)


def _answer(cluster: ClusterController, read: MetadataRead) -> PartitionData:
    answer = PartitionData(
        high_watermark=cluster.log.high_watermark, records=b"" if read.records is None else read.records
    )
    if read.diverging is not None:
        answer.diverging_epoch = FetchResponse.EpochEndOffset(
            epoch=read.diverging.epoch, end_offset=read.diverging.end_offset
        )
    if read.snapshot is not None:
        answer.snapshot_id = FetchResponse.SnapshotId(end_offset=read.snapshot.offset, epoch=read.snapshot.epoch)
    return answer


def _response(context: Context, cluster: ClusterController, answer: PartitionData) -> FetchResponse:
    log = cluster.log
    answer.log_start_offset = log.log_start_offset
    answer.aborted_transactions = []
    answer.current_leader = FetchResponse.LeaderIdAndEpoch(leader_id=log.leader_id, leader_epoch=log.leader_epoch)
    endpoints = leader_endpoints(context, cluster) if context.api_version >= _ENDPOINTS_SINCE else []
    return FetchResponse(
        throttle_time_ms=context.throttle_ms,
        responses=[FetchResponse.FetchableTopicResponse(topic_id=METADATA_TOPIC_ID, partitions=[answer])],
        node_endpoints=[
            FetchResponse.NodeEndpoint(node_id=log.leader_id, host=one.host, port=one.port, rack=None)
            for one in endpoints
        ],
    )
