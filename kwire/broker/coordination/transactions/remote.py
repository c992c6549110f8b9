"""Transactions whose coordinator, or whose partitions, are at other brokers.

Responsible for: adding partitions to a transaction, or verifying them, at the coordinator (AddPartitionsToTxn 4-5,
KIP-890), and having markers written by the leaders of partitions (WriteTxnMarkers 1-2). Must not depend on: when either
is due, which broker it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import trio

from kwire.broker.coordination.transactions.batches import Answer, RequestBatches
from kwire.broker.coordination.transactions.markers import Marker
from kwire.broker.outbound.interface import Node
from kwire.broker.waits import Waits
from kwire.coordinators.machine import ProducerStamp
from kwire.errors import Code, KafkaError, code_of
from kwire.types import TopicPartition
from kwire.wire.messages import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)

# The client ids that Apache Kafka's brokers use.
ADD_PARTITIONS_CLIENT: Final = "AddPartitionsManager-client-{}"
MARKERS_CLIENT: Final = "broker-{}-txn-marker-sender"

Codes: TypeAlias = Mapping[TopicPartition, Code]


class _Addition(NamedTuple):
    transactional_id: str
    producer: ProducerStamp
    partitions: Collection[TopicPartition]
    verify_only: bool


class _MarkerToWrite(NamedTuple):
    marker: Marker
    partitions: Collection[TopicPartition]


class RemoteTransactions:
    """``connection`` gives the connection to a broker, by node id and client id; ``node_id`` is that of this broker."""

    def __init__(self, *, node_id: int, connection: Callable[[int, str], Node], timeout_ms: float) -> None:
        self._additions: RequestBatches[_Addition, Codes] = RequestBatches(
            connection=lambda other: connection(other, ADD_PARTITIONS_CLIENT.format(node_id)),
            make_request=_additions_request,
            results=_addition_results,
            key=_transactional_id,
            timeout_ms=timeout_ms,
        )
        self._markers: RequestBatches[_MarkerToWrite, Codes] = RequestBatches(
            connection=lambda other: connection(other, MARKERS_CLIENT.format(node_id)),
            make_request=_markers_request,
            results=_marker_results,
            key=_producer_id,
            timeout_ms=timeout_ms,
        )

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send what is asked, until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._additions.run)
            await nursery.start(self._markers.run)
            task_status.started()

    async def add_partitions(
        self,
        waits: Waits,
        coordinator: int,
        transactional_id: str,
        producer: ProducerStamp,
        partitions: Collection[TopicPartition],
        *,
        verify_only: bool,
    ) -> Codes:
        """Add partitions to a transaction, or verify that they are in it, at its coordinator.

        Returns the code of each partition. Raises KafkaError for an answer to the request as a whole:
        NETWORK_EXCEPTION if there is none, INVALID_TXN_STATE if this broker may not ask.
        """
        answer = self._additions.ask(coordinator, _Addition(transactional_id, producer, partitions, verify_only))
        await waits.wait(answer.done, float("inf"))
        return _result(answer)

    async def write_marker(self, leader: int, marker: Marker, partitions: Collection[TopicPartition]) -> Codes:
        """Have the leader of partitions append a marker to them. Returns the code of each partition.

        Raises KafkaError(NETWORK_EXCEPTION): the marker may have been appended.
        """
        answer = self._markers.ask(leader, _MarkerToWrite(marker, partitions))
        await answer.done.wait()
        return _result(answer)


def _result(answer: Answer[Codes]) -> Codes:
    if isinstance(answer.result, KafkaError):
        raise answer.result
    return answer.result


def _by_topic(partitions: Iterable[TopicPartition]) -> Iterator[tuple[str, list[int]]]:
    topics: dict[str, list[int]] = {}
    for topic, index in partitions:
        topics.setdefault(topic, []).append(index)
    yield from topics.items()


# --- AddPartitionsToTxn
# -----------------------------------------------------------------------------------------------------


def _transactional_id(addition: _Addition) -> Hashable:
    return addition.transactional_id


def _additions_request(additions: Sequence[_Addition]) -> AddPartitionsToTxnRequest:
    return AddPartitionsToTxnRequest(
        transactions=[
            AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction(
                transactional_id=one.transactional_id,
                producer_id=one.producer.producer_id,
                producer_epoch=one.producer.producer_epoch,
                verify_only=one.verify_only,
                topics=[
                    AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name=topic, partitions=indexes)
                    for topic, indexes in _by_topic(one.partitions)
                ],
            )
            for one in additions
        ]
    )


def _addition_results(
    additions: Sequence[_Addition], response: AddPartitionsToTxnResponse
) -> Sequence[Codes | KafkaError]:
    if response.error_code:
        code = code_of(response.error_code)
        # Codes about a broker's own rights mean nothing to a client.
        refusal = KafkaError(Code.INVALID_TXN_STATE if code is Code.CLUSTER_AUTHORIZATION_FAILED else code)
        return [refusal] * len(additions)
    found: dict[str, dict[TopicPartition, Code]] = {
        one.transactional_id: {
            TopicPartition(topic.name, each.partition_index): code_of(each.partition_error_code)
            for topic in one.topic_results
            for each in topic.results_by_partition
        }
        for one in response.results_by_transaction
    }
    return [
        # What the answer leaves out was not added.
        {each: found.get(one.transactional_id, {}).get(each, Code.NETWORK_EXCEPTION) for each in one.partitions}
        for one in additions
    ]


# --- WriteTxnMarkers
# --------------------------------------------------------------------------------------------------------


def _producer_id(wanted: _MarkerToWrite) -> Hashable:
    return wanted.marker.producer.producer_id


def _markers_request(wanted: Sequence[_MarkerToWrite]) -> WriteTxnMarkersRequest:
    return WriteTxnMarkersRequest(
        markers=[
            WriteTxnMarkersRequest.WritableTxnMarker(
                producer_id=one.marker.producer.producer_id,
                producer_epoch=one.marker.producer.producer_epoch,
                transaction_result=one.marker.committed,
                coordinator_epoch=one.marker.coordinator_epoch,
                transaction_version=one.marker.transaction_version,
                topics=[
                    WriteTxnMarkersRequest.WritableTxnMarkerTopic(name=topic, partition_indexes=indexes)
                    for topic, indexes in _by_topic(one.partitions)
                ],
            )
            for one in wanted
        ]
    )


def _marker_results(
    wanted: Sequence[_MarkerToWrite], response: WriteTxnMarkersResponse
) -> Sequence[Codes | KafkaError]:
    found: dict[int, dict[TopicPartition, Code]] = {
        one.producer_id: {
            TopicPartition(topic.name, each.partition_index): code_of(each.error_code)
            for topic in one.topics
            for each in topic.partitions
        }
        for one in response.markers
    }
    return [
        {
            each: found.get(one.marker.producer.producer_id, {}).get(each, Code.UNKNOWN_TOPIC_OR_PARTITION)
            for each in one.partitions
        }
        for one in wanted
    ]
