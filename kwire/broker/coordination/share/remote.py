"""The states of share partitions, wherever in the cluster their coordinator is (KIP-932).

Responsible for: requests to the broker that coordinates a share partition, this one or another, and retries while the
coordinator moves or loads. Must not depend on: what a state means, when it is read or written.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio

from kwire.broker.clock import Clock
from kwire.broker.coordination.shard import Waiter
from kwire.broker.coordination.share.share_states import ShareStates, key_text
from kwire.broker.outbound.interface import Node, NotServed, OutboundError
from kwire.broker.waits import Waits
from kwire.coordinators.share.coordinator import Write
from kwire.coordinators.share.records import Snapshot
from kwire.coordinators.share.state import UNKNOWN_START_OFFSET, SharePartitionKey, StateBatch
from kwire.errors import Code, KafkaError, code_of
from kwire.wire.message import Message
from kwire.wire.messages import (
    DeleteShareGroupStateRequest,
    InitializeShareGroupStateRequest,
    ReadShareGroupStateRequest,
    ReadShareGroupStateSummaryRequest,
    WriteShareGroupStateRequest,
)

R = TypeVar("R")

PERSISTER_CLIENT: Final = "broker-{}-share-persister"
# After these the coordinator is looked up and asked again.
_ASK_AGAIN: Final = frozenset(
    {
        Code.COORDINATOR_LOAD_IN_PROGRESS,
        Code.COORDINATOR_NOT_AVAILABLE,
        Code.NOT_COORDINATOR,
        Code.NETWORK_EXCEPTION,
    }
)
# The pauses before the second attempt and before later ones.
_PAUSES_MS: Final = (50, 100, 200, 400, 800, 1600)


class RemoteShareStates:
    """A ``SharePersister`` for a broker of a cluster.

    Raises KafkaError as ``ShareStates`` does, after retries for a few seconds where a retry may help. A repeated write
    is harmless: it sets the same states again.
    """

    def __init__(
        self, *, states: ShareStates, node_id: int, connection: Callable[[int, str], Node], clock: Clock
    ) -> None:
        self._states = states
        self._node_id = node_id
        self._connect = connection
        self._clock = clock

    async def initialize(self, waits: Waits, key: SharePartitionKey, state_epoch: int, start_offset: int) -> None:
        request = InitializeShareGroupStateRequest
        message = request(
            group_id=key.group_id,
            topics=[
                request.InitializeStateData(
                    topic_id=key.topic_id,
                    partitions=[
                        request.PartitionData(
                            partition=key.partition, state_epoch=state_epoch, start_offset=start_offset
                        )
                    ],
                )
            ],
        )
        await self._ask(
            waits, key, lambda: self._states.initialize(waits, key, state_epoch, start_offset), message, _no
        )

    async def read(self, waits: Waits, key: SharePartitionKey, leader_epoch: int) -> Snapshot:
        request = ReadShareGroupStateRequest
        message = request(
            group_id=key.group_id,
            topics=[
                request.ReadStateData(
                    topic_id=key.topic_id,
                    partitions=[request.PartitionData(partition=key.partition, leader_epoch=leader_epoch)],
                )
            ],
        )

        def state(answer: Any) -> Snapshot:
            batches = tuple(
                StateBatch(each.first_offset, each.last_offset, each.delivery_state, each.delivery_count)
                for each in answer.state_batches
            )
            return Snapshot(0, answer.state_epoch, leader_epoch, answer.start_offset, batches=batches)

        return await self._ask(waits, key, lambda: self._states.read(waits, key, leader_epoch), message, state)

    async def write(self, waits: Waits, key: SharePartitionKey, write: Write) -> None:
        request = WriteShareGroupStateRequest
        message = request(
            group_id=key.group_id,
            topics=[
                request.WriteStateData(
                    topic_id=key.topic_id,
                    partitions=[
                        request.PartitionData(
                            partition=key.partition,
                            state_epoch=write.state_epoch,
                            leader_epoch=write.leader_epoch,
                            start_offset=write.start_offset,
                            delivery_complete_count=write.delivered_count,
                            state_batches=[
                                request.StateBatch(
                                    first_offset=each.first_offset,
                                    last_offset=each.last_offset,
                                    delivery_state=each.delivery_state,
                                    delivery_count=each.delivery_count,
                                )
                                for each in write.batches
                            ],
                        )
                    ],
                )
            ],
        )
        await self._ask(waits, key, lambda: self._states.write(waits, key, write), message, _no)

    def write_now(self, key: SharePartitionKey, write: Write) -> Waiter | None:
        return self._states.write_now(key, write)

    async def summary(self, waits: Waits, key: SharePartitionKey) -> Snapshot | None:
        request = ReadShareGroupStateSummaryRequest
        message = request(
            group_id=key.group_id,
            topics=[
                request.ReadStateSummaryData(
                    topic_id=key.topic_id, partitions=[request.PartitionData(partition=key.partition)]
                )
            ],
        )

        def state(answer: Any) -> Snapshot | None:
            if answer.start_offset == UNKNOWN_START_OFFSET and not answer.state_epoch:
                return None
            return Snapshot(
                0, answer.state_epoch, answer.leader_epoch, answer.start_offset, answer.delivery_complete_count
            )

        return await self._ask(waits, key, lambda: self._states.summary(waits, key), message, state)

    async def delete(self, waits: Waits, key: SharePartitionKey) -> None:
        request = DeleteShareGroupStateRequest
        message = request(
            group_id=key.group_id,
            topics=[
                request.DeleteStateData(
                    topic_id=key.topic_id, partitions=[request.PartitionData(partition=key.partition)]
                )
            ],
        )
        await self._ask(waits, key, lambda: self._states.delete(waits, key), message, _no)

    async def _ask(
        self,
        waits: Waits,
        key: SharePartitionKey,
        here: Callable[[], Awaitable[R]],
        message: Message,
        result: Callable[[Any], R],
    ) -> R:
        """Ask the coordinator, ``here`` or with ``message``; ``result`` reads the answer of the one partition."""
        for pause_ms in _PAUSES_MS:
            try:
                return await self._ask_once(key, here, message, result)
            except KafkaError as refusal:
                if refusal.code not in _ASK_AGAIN:
                    raise
            over = trio.Event()
            self._clock.call_later(pause_ms, over.set)
            await waits.wait(over, math.inf)
        return await self._ask_once(key, here, message, result)

    async def _ask_once(
        self, key: SharePartitionKey, here: Callable[[], Awaitable[R]], message: Message, result: Callable[[Any], R]
    ) -> R:
        coordinator = await self._states.coordinator_of(key_text(key))
        if coordinator == self._node_id:
            return await here()
        try:
            connection = self._connect(coordinator, PERSISTER_CLIENT.format(self._node_id))
            response = await connection.request(message)
        except OutboundError as failure:
            code = Code.UNSUPPORTED_VERSION if isinstance(failure, NotServed) else Code.NETWORK_EXCEPTION
            raise KafkaError(code, str(failure)) from failure
        for topic in response.results:
            for answer in topic.partitions:
                if answer.error_code:
                    raise KafkaError(code_of(answer.error_code), answer.error_message or None)
                return result(answer)
        raise KafkaError(Code.UNKNOWN_SERVER_ERROR, "the share coordinator's answer has no result")


def _no(_answer: object) -> None:
    """Reads nothing: an answer without an error has no other content."""
