"""Changes of in-sync replicas, from the leaders here to the controller (AlterPartition, KIP-497).

Responsible for: gathering proposals, one request in flight, passing the answers to the partitions. Must not depend on:
which changes are proposed, how the controller is reached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from kwire.broker.clock import Clock
from kwire.broker.logs import Logger
from kwire.broker.partitions.leading import isr_accepted, isr_refused
from kwire.broker.partitions.partition import Partition
from kwire.broker.partitions.partitions import Partitions
from kwire.errors import Code, KafkaError, StorageFailure, code_of
from kwire.replication.leader import IsrProposal
from kwire.types import TopicPartition
from kwire.wire.messages import AlterPartitionRequest

log = Logger("kwire.replication")

_RETRY_MS: Final = 50.0


class IsrUpdates:
    """``ask_controller`` sends a request to the active controller and returns its response, or raises KafkaError.

    It may be set after this is made and before ``run``: the controller may be a part of this node that is made later.
    """

    def __init__(
        self,
        *,
        node_id: int,
        partitions: Partitions,
        clock: Clock,
        broker_epoch: Callable[[], int],
        ask_controller: Callable[[AlterPartitionRequest], Awaitable[Any]] | None,
    ) -> None:
        self._node_id = node_id
        self._partitions = partitions
        self._clock = clock
        self._broker_epoch = broker_epoch
        self.ask_controller = ask_controller
        self._waiting: dict[TopicPartition, None] = {}
        self._added = trio.Event()

    def propose(self, partition: TopicPartition) -> None:
        """Send the proposal of a partition's leader with the next request."""
        self._waiting[partition] = None
        self._added.set()

    async def run(self) -> None:
        """Send proposals until cancelled; first those in flight when an error ended this task before."""
        for partition in self._partitions:
            if partition.leader is not None and partition.leader.proposal is not None:
                self.propose(partition.topic_partition)
        while True:
            await self._added.wait()
            self._added = trio.Event()
            while self._waiting:
                if not await self._send():
                    await self._clock.sleep(_RETRY_MS)

    async def _send(self) -> bool:
        """Send all waiting proposals. False if the next request should wait a little: something was refused.

        A leader makes the same proposal again as long as its metadata is older than the controller's.
        """
        waiting, self._waiting = self._waiting, {}
        proposals = {partition: partition.leader.proposal for partition in self._leading(waiting) if partition.leader}
        sent = {partition: proposal for partition, proposal in proposals.items() if proposal is not None}
        if not sent:
            return True
        assert self.ask_controller is not None
        try:
            response = await self.ask_controller(self._request(sent))
        except KafkaError as refusal:
            return self._failed(sent, refusal.code)
        except StorageFailure:
            return self._failed(sent, Code.KAFKA_STORAGE_ERROR)
        if response.error_code:
            return self._failed(sent, code_of(response.error_code))
        answers = {
            (topic.topic_id, answer.partition_index): answer for topic in response.topics for answer in topic.partitions
        }
        accepted = [
            self._apply(partition, proposal, answers.get((partition.topic_id, partition.index)))
            for partition, proposal in sent.items()
        ]
        return all(accepted)

    def _leading(self, waiting: Mapping[TopicPartition, None]) -> list[Partition]:
        found = [self._partitions.of_topic(topic).get(index) for topic, index in waiting]
        return [partition for partition in found if partition is not None and partition.leads]

    def _request(self, sent: Mapping[Partition, IsrProposal]) -> AlterPartitionRequest:
        topics: dict[bytes, AlterPartitionRequest.TopicData] = {}
        for partition, proposal in sent.items():
            topic = topics.setdefault(
                partition.topic_id, AlterPartitionRequest.TopicData(topic_id=partition.topic_id, partitions=[])
            )
            topic.partitions.append(
                AlterPartitionRequest.PartitionData(
                    partition_index=partition.index,
                    leader_epoch=proposal.leader_epoch,
                    new_isr_with_epochs=[
                        AlterPartitionRequest.BrokerState(broker_id=broker_id, broker_epoch=epoch)
                        for broker_id, epoch in proposal.isr
                    ],
                    leader_recovery_state=proposal.leader_recovery_state,
                    partition_epoch=proposal.partition_epoch,
                )
            )
        return AlterPartitionRequest(
            broker_id=self._node_id, broker_epoch=self._broker_epoch(), topics=list(topics.values())
        )

    def _failed(self, sent: Mapping[Partition, IsrProposal], code: Code) -> bool:
        """The request was refused as a whole, or not answered: the same proposals are sent again."""
        log.warning("AlterPartition failed, sent again", error=code.name, partitions=len(sent))
        for partition in sent:
            self.propose(partition.topic_partition)
        return False

    def _apply(self, partition: Partition, proposal: IsrProposal, answer: Any) -> bool:
        """Apply the controller's answer for one partition; whether it accepts the proposal."""
        code = Code.UNKNOWN_SERVER_ERROR if answer is None else code_of(answer.error_code)
        wanted = [broker_id for broker_id, _ in proposal.isr]
        if code:
            log.warning("ISR change refused", partition=str(partition), isr=wanted, error=code.name)
            if isr_refused(partition, proposal, code):
                self.propose(partition.topic_partition)
            return False
        isr_accepted(
            partition,
            proposal,
            isr=answer.isr,
            leader_epoch=answer.leader_epoch,
            partition_epoch=answer.partition_epoch,
        )
        log.info("ISR changed", partition=str(partition), isr=list(answer.isr), partition_epoch=answer.partition_epoch)
        return True
