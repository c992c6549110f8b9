"""Producer ids, from blocks that the controller reserves (KIP-730).

Responsible for: the block in use. Must not depend on: which request needs an id.

A block of 1,000 ids is reserved by one metadata record before the first of them is given out, so no id is given out
twice, not even across a crash. The rest of a block is lost at a restart.
"""

from __future__ import annotations

from typing import Final

import trio

from kwire.broker.controller.interface import Controller, only
from kwire.errors import Code, KafkaError
from kwire.wire.batches.batch import NO_PRODUCER_ID

BLOCK_SIZE: Final = 1000


class ProducerIds:
    """The producer ids that this broker may give out."""

    def __init__(self, controller: Controller, broker_id: int) -> None:
        self._controller = controller
        self._broker_id = broker_id
        self._block = iter(range(0))
        self._left = 0
        self._filling: trio.Event | None = None

    @property
    def is_empty(self) -> bool:
        return not self._left

    async def next(self) -> int:
        """Return a producer id that was never given out before. Raises KafkaError when no block can be reserved."""
        await self.fill()
        return self.take()

    def take(self) -> int:
        """Return an id of the block in use. Raises KafkaError(COORDINATOR_LOAD_IN_PROGRESS) when it is used up."""
        if not self._left:
            raise KafkaError(Code.COORDINATOR_LOAD_IN_PROGRESS, "Producer ID block is full. Waiting for next block")
        self._left -= 1
        return next(self._block)

    def take_if(self, is_needed: bool) -> int:
        """Return an id if one is needed, else NO_PRODUCER_ID. Raises as ``take`` does."""
        return self.take() if is_needed else NO_PRODUCER_ID

    async def fill(self) -> None:
        """Reserve a block if none is left; one request at a time. Raises KafkaError when the controller refuses."""
        while not self._left:
            if self._filling is not None:
                await self._filling.wait()
                continue
            from kwire.metadata.commands.nodes import AllocateProducerIds  # noqa: PLC0415 (a start needs no commands)

            self._filling = trio.Event()
            try:
                block = only(await self._controller.submit(AllocateProducerIds(self._broker_id, BLOCK_SIZE)))
            except KafkaError as refusal:
                if refusal.code is Code.KAFKA_STORAGE_ERROR:
                    raise KafkaError(Code.COORDINATOR_NOT_AVAILABLE, refusal.message) from refusal
                raise
            else:
                self._block, self._left = iter(block), len(block)
            finally:
                self._filling.set()
                self._filling = None
