"""Transactions and the producers of partitions.

Responsible for: ListTransactions, DescribeTransactions, DescribeProducers, WriteTxnMarkers and the InitProducerId that
ends an open transaction. Must not depend on: how anything is printed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from kwire.cli.admin.topics import leaders
from kwire.cli.connections.client import TRANSACTION, TRANSIENT_ERRORS, Cluster, check
from kwire.errors import Code, KafkaError
from kwire.wire.messages import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
    ListTransactionsRequest,
    ListTransactionsResponse,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)

# Version 6 of InitProducerId belongs to KIP-939 and is unstable.
_INIT_PRODUCER_ID_VERSION_MAX: Final = 5


class ListedTransaction(NamedTuple):
    transactional_id: str
    coordinator: int
    producer_id: int
    state: str


class TransactionDescription(NamedTuple):
    """The state of a transactional id; ``start_time_ms`` is None when no transaction is open."""

    coordinator: int
    producer_id: int
    producer_epoch: int
    state: str
    timeout_ms: int
    start_time_ms: int | None
    partitions: list[tuple[str, int]]


class ProducerState(NamedTuple):
    """A producer of one partition; ``transaction_start_offset`` is None when it has no open transaction there."""

    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    transaction_start_offset: int | None


def list_transactions(
    cluster: Cluster, *, producer_ids: Collection[int] = (), duration_ms: int | None = None, pattern: str | None = None
) -> list[ListedTransaction]:
    """List the transactional ids of every broker, filtered by it. Raises KafkaError.

    ``duration_ms`` keeps those whose transaction runs longer (KIP-994), ``pattern`` those that match (KIP-1152).
    """

    def attempt() -> list[ListedTransaction]:
        found = []
        for node in cluster.nodes():
            request = ListTransactionsRequest(
                producer_id_filters=sorted(producer_ids),
                duration_filter=-1 if duration_ms is None else duration_ms,
                transactional_id_pattern=pattern,
            )
            answer = cluster.call_node(node.id, request, ListTransactionsResponse)
            if answer.error_code and answer.error_code not in TRANSIENT_ERRORS:
                what = f"ListTransactions request sent to broker {node.id} failed with an unexpected exception"
                raise KafkaError(Code(answer.error_code), what)
            check(answer.error_code)
            found += [
                ListedTransaction(each.transactional_id, node.id, each.producer_id, each.transaction_state)
                for each in answer.transaction_states
            ]
        return found

    return cluster.with_retries(attempt)


def describe_transaction(cluster: Cluster, transactional_id: str) -> TransactionDescription:
    """Describe a transactional id. KafkaError(TRANSACTIONAL_ID_NOT_FOUND) when its coordinator has none."""

    def attempt() -> TransactionDescription:
        coordinator = cluster.find_coordinator(transactional_id, TRANSACTION).id
        request = DescribeTransactionsRequest(transactional_ids=[transactional_id])
        found = cluster.call_node(coordinator, request, DescribeTransactionsResponse).transaction_states[0]
        check(found.error_code)
        return TransactionDescription(
            coordinator,
            found.producer_id,
            found.producer_epoch,
            found.transaction_state,
            found.transaction_timeout_ms,
            found.transaction_start_time_ms if found.transaction_start_time_ms >= 0 else None,
            [(topic.topic, partition) for topic in found.topics for partition in topic.partitions],
        )

    return cluster.with_retries(attempt)


def describe_producers(
    cluster: Cluster, partitions: Iterable[tuple[str, int]], *, broker_id: int | None = None
) -> dict[tuple[str, int], list[ProducerState]]:
    """Describe the producers of partitions, as their leaders or one broker know them. Raises the first KafkaError."""
    wanted = list(partitions)

    def attempt() -> dict[tuple[str, int], list[ProducerState]]:
        failed: dict[tuple[str, int], int | KafkaError] = {}
        by_broker = leaders(cluster, wanted, failed) if broker_id is None else {broker_id: wanted}
        for reason in failed.values():
            if isinstance(reason, KafkaError):
                raise reason
        found: dict[tuple[str, int], list[ProducerState]] = {}
        for broker, places in by_broker.items():
            found |= _producers_on(cluster, broker, places)
        return found

    return cluster.with_retries(attempt)


def abort_transaction(
    cluster: Cluster, place: tuple[str, int], *, producer_id: int, producer_epoch: int, coordinator_epoch: int
) -> None:
    """Write an abort marker into one partition, without the coordinator (KIP-664). Raises KafkaError."""
    topic, partition = place
    marker = WriteTxnMarkersRequest.WritableTxnMarker(
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        coordinator_epoch=coordinator_epoch,
        transaction_result=False,
        topics=[WriteTxnMarkersRequest.WritableTxnMarkerTopic(name=topic, partition_indexes=[partition])],
    )

    def attempt() -> None:
        failed: dict[tuple[str, int], int | KafkaError] = {}
        by_broker = leaders(cluster, [place], failed)
        reason = failed.get(place)
        if isinstance(reason, KafkaError):
            raise reason
        for broker in by_broker:
            answer = cluster.call_node(broker, WriteTxnMarkersRequest(markers=[marker]), WriteTxnMarkersResponse)
            for found in answer.markers:
                for each in found.topics:
                    for item in each.partitions:
                        check(item.error_code)

    cluster.with_retries(attempt)


def force_terminate_transaction(cluster: Cluster, transactional_id: str) -> None:
    """Fence the producer of a transactional id, which aborts its open transaction. Raises KafkaError."""

    def attempt() -> None:
        coordinator = cluster.coordinator(transactional_id, TRANSACTION)
        request = InitProducerIdRequest(
            transactional_id=transactional_id, transaction_timeout_ms=int(cluster.timeout_s * 1000)
        )
        version = coordinator.version_of(InitProducerIdRequest, _INIT_PRODUCER_ID_VERSION_MAX)
        answer = cluster.call_on(coordinator, request, InitProducerIdResponse, version=version)
        # The abort is under way; the next InitProducerId finds it done.
        if answer.error_code == Code.CONCURRENT_TRANSACTIONS:
            raise KafkaError(Code.COORDINATOR_LOAD_IN_PROGRESS)
        check(answer.error_code)

    cluster.with_retries(attempt)


def _producers_on(
    cluster: Cluster, broker: int, places: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], list[ProducerState]]:
    topics: dict[str, list[int]] = {}
    for name, index in places:
        topics.setdefault(name, []).append(index)
    request = DescribeProducersRequest(
        topics=[
            DescribeProducersRequest.TopicRequest(name=name, partition_indexes=indexes)
            for name, indexes in topics.items()
        ]
    )
    answer = cluster.call_node(broker, request, DescribeProducersResponse)
    found = {}
    for topic in answer.topics:
        for item in topic.partitions:
            check(item.error_code, item.error_message)
            found[topic.name, item.partition_index] = [
                ProducerState(
                    each.producer_id,
                    each.producer_epoch,
                    each.coordinator_epoch,
                    each.last_sequence,
                    each.last_timestamp,
                    each.current_txn_start_offset if each.current_txn_start_offset >= 0 else None,
                )
                for each in item.active_producers
            ]
    return found
