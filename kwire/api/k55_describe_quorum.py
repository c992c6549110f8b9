"""DescribeQuorum (key 55).

Versions: 0-2.

Behaviour: the state of the metadata quorum: the leader of the current epoch, the voters, and as observers the brokers
that read the metadata log (KIP-595). Any other topic or partition is unknown.

Version notes: 1 adds times (KIP-836); 2 directory ids and the voters' listeners (KIP-853).
"""

from __future__ import annotations

from typing import Final

from kwire.api.pacing import paced, paced_list
from kwire.api.probes import Probe
from kwire.broker.controller.interface import QuorumDescription
from kwire.broker.requests.context import Context
from kwire.errors import Code
from kwire.security.operations import Operation
from kwire.types import METADATA_TOPIC, ZERO_UUID
from kwire.wire.messages import DescribeQuorumRequest, DescribeQuorumResponse

PROBE: Probe = {
    "topics": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}],
}

_TIMES_SINCE: Final = 1
_VOTERS_SINCE: Final = 2

TopicAnswer = DescribeQuorumResponse.TopicData
PartitionAnswer = DescribeQuorumResponse.PartitionData


async def handle(context: Context, request: DescribeQuorumRequest) -> DescribeQuorumResponse:
    context.authorize_cluster(Operation.DESCRIBE)
    if not _asks_for_metadata(request):
        return DescribeQuorumResponse(
            topics=[
                TopicAnswer(
                    topic_name=topic.topic_name,
                    partitions=await paced_list(context, _unknown, [one.partition_index for one in topic.partitions]),
                )
                async for topic in paced(context, request.topics)
            ]
        )
    quorum = await context.broker.controller.describe_quorum()
    return DescribeQuorumResponse(
        topics=[TopicAnswer(topic_name=METADATA_TOPIC, partitions=[_quorum(context, quorum)])],
        nodes=_nodes(quorum) if context.api_version >= _VOTERS_SINCE else [],  # KIP-853
    )


def _asks_for_metadata(request: DescribeQuorumRequest) -> bool:
    topics = [topic.topic_name for topic in request.topics]
    return topics == [METADATA_TOPIC] and [one.partition_index for one in request.topics[0].partitions] == [0]


def _unknown(index: int) -> PartitionAnswer:
    return PartitionAnswer(
        partition_index=index,
        error_code=Code.UNKNOWN_TOPIC_OR_PARTITION,
        error_message="This server does not host this topic-partition.",
    )


def _quorum(context: Context, quorum: QuorumDescription) -> PartitionAnswer:
    tells_times = context.api_version >= _TIMES_SINCE  # KIP-836
    now_ms = context.broker.clock.now_ms() if tells_times else -1
    tells_directories = context.api_version >= _VOTERS_SINCE  # KIP-853
    return PartitionAnswer(
        partition_index=0,
        leader_id=quorum.leader_id,
        leader_epoch=quorum.leader_epoch,
        high_watermark=quorum.high_watermark,
        current_voters=[
            DescribeQuorumResponse.ReplicaState(
                replica_id=voter.node_id,
                replica_directory_id=(voter.directory_id if tells_directories else None) or ZERO_UUID,
                log_end_offset=voter.log_end_offset,
                last_fetch_timestamp=now_ms,
                last_caught_up_timestamp=now_ms,
            )
            for voter in quorum.voters
        ],
        observers=[
            DescribeQuorumResponse.ReplicaState(
                replica_id=observer.node_id,
                replica_directory_id=observer.directory_id if tells_directories else ZERO_UUID,
                log_end_offset=observer.log_end_offset,
                last_fetch_timestamp=observer.last_fetch_ms if tells_times else -1,
                last_caught_up_timestamp=observer.last_caught_up_ms if tells_times else -1,
            )
            for observer in quorum.observers
        ],
    )


def _nodes(quorum: QuorumDescription) -> list[DescribeQuorumResponse.Node]:
    if not quorum.kraft_version:
        return []
    return [
        DescribeQuorumResponse.Node(
            node_id=voter.node_id,
            listeners=[
                DescribeQuorumResponse.Listener(name=point.name, host=point.host, port=point.port)
                for point in voter.endpoints
            ],
        )
        for voter in quorum.voters
    ]
