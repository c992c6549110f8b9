"""The end of a partition that another broker leads.

Responsible for: ListOffsets to the leader. Must not depend on: what the offset is for.
"""

from __future__ import annotations

from typing import Final

from kwire.broker.outbound.interface import OutboundError
from kwire.broker.outbound.peers import Peers
from kwire.errors import Code, KafkaError, code_of
from kwire.types import TopicPartition
from kwire.wire.messages import ListOffsetsRequest

_CLIENT: Final = "broker-{}-end-offsets"
_LATEST: Final = -1
_FROM_A_CLIENT: Final = -1


async def remote_high_watermark(peers: Peers, *, node_id: int, leader: int, where: TopicPartition) -> int:
    """Ask ``leader`` for the high watermark; ``node_id`` is that of this broker.

    Raises KafkaError: what the leader answers, NETWORK_EXCEPTION if it does not.
    """
    request = ListOffsetsRequest
    partition = request.ListOffsetsPartition(partition_index=where.partition, timestamp=_LATEST)
    message = request(
        replica_id=_FROM_A_CLIENT,
        topics=[request.ListOffsetsTopic(name=where.topic, partitions=[partition])],
    )
    try:
        response = await peers.connection(leader, client_id=_CLIENT.format(node_id)).request(message)
    except OutboundError as failure:
        raise KafkaError(Code.NETWORK_EXCEPTION, str(failure)) from failure
    for topic in response.topics:
        for answer in topic.partitions:
            if answer.error_code:
                raise KafkaError(code_of(answer.error_code))
            offset: int = answer.offset
            return offset
    raise KafkaError(Code.UNKNOWN_SERVER_ERROR)
