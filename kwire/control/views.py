"""Views of a broker: groups with members and lag, transactions, producers, connections, acquisition locks.

Responsible for: each view as a value for ``json``. Must not depend on: HTTP, a test framework.
"""

from __future__ import annotations

from typing import Any

from kwire.broker.broker import Broker
from kwire.control.internal_client import InternalClient
from kwire.control.records import partitions_of
from kwire.control.requests.traffic import ConnectionCounts, Traffic
from kwire.coordinators.share.state import DeliveryState
from kwire.errors import Code, KafkaError, ProtocolViolation
from kwire.server.connections.connection import Connection
from kwire.server.connections.registry import ConnectionRegistry
from kwire.wire.codec import decode
from kwire.wire.messages import (
    ConsumerGroupDescribeRequest,
    ConsumerProtocolAssignment,
    DescribeGroupsRequest,
    DescribeProducersRequest,
    DescribeShareGroupOffsetsRequest,
    DescribeTransactionsRequest,
    ListGroupsRequest,
    ListTransactionsRequest,
    OffsetFetchRequest,
    ShareGroupDescribeRequest,
    StreamsGroupDescribeRequest,
)

_OFFSETS_BY_NAME = 8
_NO_OFFSET = -1


class Views:
    """The views of one broker, as of now."""

    def __init__(self, broker: Broker, connections: ConnectionRegistry, client: InternalClient) -> None:
        self.broker = broker
        self._connections = connections
        self._client = client

    async def groups(self) -> list[dict[str, Any]]:
        """Give group, kind (classic, consumer, share, streams) and state of each group."""
        answer = await self._client.call(ListGroupsRequest())
        _check(answer.error_code)
        return sorted(
            (
                {"group": each.group_id, "kind": each.group_type.lower(), "state": each.group_state}
                for each in answer.groups
            ),
            key=lambda shown: str(shown["group"]),
        )

    async def group(self, group_id: str) -> dict[str, Any]:
        """Give a group with its members and, for each partition, offset, end of the log and lag.

        Raises KafkaError(GROUP_ID_NOT_FOUND).
        """
        for shown in await self.groups():
            if shown["group"] == group_id:
                return await self._describe(shown)
        raise KafkaError(Code.GROUP_ID_NOT_FOUND, f"there is no group {group_id}")

    async def described_groups(self) -> list[dict[str, Any]]:
        """Give all groups, each as ``group`` does."""
        return [await self._describe(shown) for shown in await self.groups()]

    async def _describe(self, shown: dict[str, Any]) -> dict[str, Any]:
        group_id = shown["group"]
        offsets = await self._share_offsets(group_id) if shown["kind"] == "share" else await self._offsets(group_id)
        lag = sum(each["lag"] or 0 for each in offsets) if offsets else None
        return {**shown, "members": await self._members(group_id, str(shown["kind"])), "offsets": offsets, "lag": lag}

    async def _members(self, group_id: str, kind: str) -> list[dict[str, Any]]:
        if kind == "classic":
            answer = await self._client.call(DescribeGroupsRequest(groups=[group_id]))
            return [
                _member(each, each.group_instance_id, _classic_assignment(each.member_assignment))
                for each in answer.groups[0].members
            ]
        if kind == "share":
            answer = await self._client.call(ShareGroupDescribeRequest(group_ids=[group_id]))
            return [_member(each, None, _assignment(each)) for each in answer.groups[0].members]
        if kind == "streams":
            answer = await self._client.call(StreamsGroupDescribeRequest(group_ids=[group_id]))
            return [_member(each, each.instance_id, _active_tasks(each)) for each in answer.groups[0].members]
        answer = await self._client.call(ConsumerGroupDescribeRequest(group_ids=[group_id]))
        return [_member(each, each.instance_id, _assignment(each)) for each in answer.groups[0].members]

    async def _offsets(self, group_id: str) -> list[dict[str, Any]]:
        """Offsets of all partitions of those topics of which the group has committed one."""
        wanted = OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group_id, topics=None)
        answer = await self._client.call(OffsetFetchRequest(groups=[wanted]), _OFFSETS_BY_NAME)
        committed = {
            topic.name: {each.partition_index: each.committed_offset for each in topic.partitions}
            for topic in answer.groups[0].topics
        }
        return [
            self._position(topic, index, offsets.get(index, _NO_OFFSET))
            for topic, offsets in sorted(committed.items())
            for index in range(self._partition_count(topic))
        ]

    def _partition_count(self, topic: str) -> int:
        """0 for a topic that was deleted."""
        found = self.broker.image.topics.get(topic)
        return 0 if found is None else len(found.partitions)

    async def _share_offsets(self, group_id: str) -> list[dict[str, Any]]:
        wanted = DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestGroup(group_id=group_id, topics=None)
        answer = await self._client.call(DescribeShareGroupOffsetsRequest(groups=[wanted]))
        return [
            {**self._position(topic.topic_name, each.partition_index, each.start_offset), "lag": max(0, each.lag)}
            for topic in answer.groups[0].topics
            for each in topic.partitions
        ]

    def _position(self, topic: str, index: int, offset: int) -> dict[str, Any]:
        """``lag`` counts from the start of the log where no offset is committed.

        End and lag are None where this broker has no replica. They are as a follower knows them where it does not lead.
        """
        partition = self.broker.partitions.of_topic(topic).get(index)
        end = lag = None
        if partition is not None:
            end = partition.high_watermark
            lag = end - max(partition.log.log_start_offset, offset)
        return {
            "topic": topic,
            "partition": index,
            "offset": None if offset < 0 else offset,
            "end": end,
            "lag": lag,
        }

    async def transactions(self) -> list[dict[str, Any]]:
        """Give id, state, producer and partitions of each transactional id."""
        listed = await self._client.call(ListTransactionsRequest(duration_filter=-1))
        _check(listed.error_code)
        ids = sorted(each.transactional_id for each in listed.transaction_states)
        answer = await self._client.call(DescribeTransactionsRequest(transactional_ids=ids))
        return [
            {
                "transactional_id": each.transactional_id,
                "state": each.transaction_state,
                "producer_id": each.producer_id,
                "producer_epoch": each.producer_epoch,
                "timeout_ms": each.transaction_timeout_ms,
                "started_ms": None if each.transaction_start_time_ms < 0 else each.transaction_start_time_ms,
                "partitions": {topic.topic: list(topic.partitions) for topic in each.topics},
            }
            for each in answer.transaction_states
            if not each.error_code
        ]

    async def producers(self, topic: str) -> list[dict[str, Any]]:
        """Give the producers that wrote to a topic, by partition. Raises KafkaError for a topic that is not there."""
        wanted = DescribeProducersRequest.TopicRequest(
            name=topic, partition_indexes=list(partitions_of(self.broker, topic))
        )
        answer = await self._client.call(DescribeProducersRequest(topics=[wanted]))
        return [
            {
                "partition": partition.partition_index,
                "producer_id": each.producer_id,
                "producer_epoch": each.producer_epoch,
                "last_sequence": each.last_sequence,
                "last_timestamp": each.last_timestamp,
                "transaction_began_at": None if each.current_txn_start_offset < 0 else each.current_txn_start_offset,
            }
            for partition in answer.topics[0].partitions
            for each in partition.active_producers
        ]

    def connections(self, traffic: Traffic | None = None) -> list[dict[str, Any]]:
        """Return the connected clients, with their counters if there is a ``traffic``."""
        return [
            {
                **_connection(each),
                "metrics": self._pushed_count(each),
                **({} if traffic is None else _counts(traffic, each)),
            }
            for each in self._connections.open
            if isinstance(each, Connection)
        ]

    def _pushed_count(self, connection: Connection) -> int:
        telemetry = self.broker.telemetry
        instance = telemetry.instance_of(connection)
        return 0 if instance is None else len(telemetry.pushed.of(instance.id))

    def client_metrics(self) -> list[dict[str, Any]]:
        """Give the last values of the metrics that clients have pushed (KIP-714)."""
        telemetry = self.broker.telemetry
        instances = [telemetry.instance_of(each) for each in self._connections.open]
        return [
            {
                "client_id": instance.attributes["client_id"],
                "client_instance_id": instance.attributes["client_instance_id"],
                "name": point.name,
                "labels": dict(point.labels),
                "value": point.value,
            }
            for instance in instances
            if instance is not None
            for point in telemetry.pushed.of(instance.id)
        ]

    def locks(self, group_id: str) -> list[dict[str, Any]]:
        """Give the records of a share group that a member has acquired, as runs of offsets."""
        names = {topic.id: name for name, topic in self.broker.image.topics.items()}
        now_ms = self.broker.clock.monotonic_ms()
        return [
            {
                "topic": names.get(key.topic_id),
                "partition": key.partition,
                "first_offset": first,
                "last_offset": last,
                "member_id": delivery.member_id,
                "deliveries": delivery.count,
                "ends_in_ms": round(delivery.deadline_ms - now_ms),
            }
            for key, share_partition in self.broker.share_partitions.of_group(group_id)
            for first, last, delivery in share_partition.in_flight()
            if delivery.state is DeliveryState.ACQUIRED
        ]


def _check(code: int) -> None:
    if code:
        raise KafkaError(Code(code))


def _member(member: Any, instance_id: str | None, assignment: dict[str, list[int]]) -> dict[str, Any]:
    return {
        "member_id": member.member_id,
        "instance_id": instance_id,
        "client_id": member.client_id,
        "host": member.client_host,
        "assignment": assignment,
    }


def _assignment(member: Any) -> dict[str, list[int]]:
    return {each.topic_name: sorted(each.partitions) for each in member.assignment.topic_partitions}


def _active_tasks(member: Any) -> dict[str, list[int]]:
    """By subtopology id."""
    return {each.subtopology_id: sorted(each.partitions) for each in member.assignment.active_tasks}


def _classic_assignment(encoded: bytes | memoryview) -> dict[str, list[int]]:
    """Read what the leader of the group assigned; nothing for the assignment of a custom assignor."""
    if len(encoded) < 2:
        return {}
    version = min(int.from_bytes(encoded[:2], "big"), ConsumerProtocolAssignment.VERSIONS.highest)
    try:
        assignment = decode(ConsumerProtocolAssignment, version, memoryview(encoded)[2:])
    except ProtocolViolation:
        return {}
    assert isinstance(assignment, ConsumerProtocolAssignment)
    return {each.topic: sorted(each.partitions) for each in assignment.assigned_partitions}


def _counts(traffic: Traffic, connection: Connection) -> dict[str, Any]:
    counts = traffic.connections.get(connection, ConnectionCounts())
    return {
        "client_id": counts.client_id,
        "requests": counts.requests,
        "bytes_in": counts.bytes_in,
        "bytes_out": counts.bytes_out,
    }


def _connection(connection: Connection) -> dict[str, Any]:
    client = connection.client
    return {
        "peer": client.peer,
        "listener": client.endpoint.name,
        "principal": str(client.principal),
        "software": client.software_name,
        "software_version": client.software_version,
        "waits": connection.waiting,
    }
