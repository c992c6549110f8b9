"""Dead letters for a partition that another broker leads (KIP-1191).

Responsible for: Produce to the leader. Must not depend on: what a dead letter holds, when it is written again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kwire.broker.outbound.interface import Node, OutboundError
from kwire.errors import Code, KafkaError, code_of
from kwire.types import Uuid
from kwire.wire.messages import ProduceRequest

_CLIENT: Final = "broker-{}-dead-letters"
_BY_TOPIC_ID: Final = 13  # KIP-516: a topic that was created again under the name does not get them
_ALL_IN_SYNC: Final = -1


class RemoteDeadLetters:
    """``connection`` gives the connection to a broker, by node id and client id."""

    def __init__(self, connection: Callable[[int, str], Node], *, node_id: int, timeout_ms: int) -> None:
        self.node_id = node_id
        self._connection = connection
        self._timeout_ms = timeout_ms

    async def write(self, leader: int, topic_id: Uuid, index: int, batch: bytes) -> None:
        """Produce a batch, and wait until it is committed.

        Raises KafkaError: what the leader answers, NETWORK_EXCEPTION if it does not.
        """
        request = ProduceRequest
        partition = request.PartitionProduceData(index=index, records=memoryview(batch))
        message = request(
            acks=_ALL_IN_SYNC,
            timeout_ms=self._timeout_ms,
            topic_data=[request.TopicProduceData(topic_id=topic_id, partition_data=[partition])],
        )
        try:
            connection = self._connection(leader, _CLIENT.format(self.node_id))
            response = await connection.request(message, version=_BY_TOPIC_ID)
        except OutboundError as failure:
            raise KafkaError(Code.NETWORK_EXCEPTION, str(failure)) from failure
        for topic in response.responses:
            for answer in topic.partition_responses:
                if answer.error_code:
                    raise KafkaError(code_of(answer.error_code), answer.error_message or None)
                return
        raise KafkaError(Code.UNKNOWN_SERVER_ERROR, "the answer to the dead letters has no partition")
