"""Events of a cluster that a client must handle, triggered on demand.

Responsible for: each event, and one sentence where it is not possible. Must not depend on: HTTP, a test framework.

| event | needs | what happens |
|---|---|---|
| ``leader_epoch_bumped`` | topic, partition | the partition gets a new leader epoch, as after an election |
| ``coordinator_moved`` | group or transactional_id | waiting requests are answered NOT_COORDINATOR |
| ``rebalance`` | group | all members must join again, or get a new assignment |
| ``member_fenced`` | group, member_id or client_id | the member is removed: its next heartbeat is refused |
| ``producer_fenced`` | transactional_id | its transaction is aborted, its next request is refused |
| ``transaction_left_hanging`` | topic, partition | records of an open transaction that no coordinator knows |
| ``locks_expired`` | group | the acquisition locks of a share group end |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kwire.broker.broker import Broker
from kwire.broker.controller.interface import only
from kwire.broker.waits import Patient
from kwire.control.internal_client import InternalClient
from kwire.errors import Code, KafkaError
from kwire.faults.rules import did_you_mean
from kwire.metadata.commands.partitions import BumpLeaderEpochs
from kwire.types import TopicPartition
from kwire.wire.batches.records import Record, build_batch
from kwire.wire.messages import (
    ConsumerGroupDescribeRequest,
    ConsumerGroupHeartbeatRequest,
    DescribeGroupsRequest,
    InitProducerIdRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    ShareGroupDescribeRequest,
    ShareGroupHeartbeatRequest,
    StreamsGroupDescribeRequest,
    StreamsGroupHeartbeatRequest,
)

EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "leader_epoch_bumped": ("topic", "partition"),
    "coordinator_moved": ("group", "transactional_id"),
    "rebalance": ("group",),
    "member_fenced": ("group", "member_id", "client_id"),
    "producer_fenced": ("transactional_id",),
    "transaction_left_hanging": ("topic", "partition"),
    "locks_expired": ("group",),
}
_LEAVE: Final = -1
_TIMEOUT_MS: Final = 60_000
_ATTEMPTS: Final = 100


class EventError(ValueError):
    """An unknown event, or one that is not possible. One sentence."""


class Events:
    """The events of one broker."""

    def __init__(self, broker: Broker, client: InternalClient) -> None:
        self._broker = broker
        self._client = client

    async def happen(self, event: str, given: Mapping[str, Any]) -> dict[str, Any]:  # noqa: PLR0911 (a table)
        """Trigger an event; returns the objects that it affected. Raises EventError, KafkaError."""
        keys = EVENTS.get(event)
        if keys is None:
            hint = did_you_mean(event, EVENTS) or f"; there are {', '.join(EVENTS)}"
            raise EventError(f"there is no event {event!r}{hint}")
        for key, value in given.items():
            if key not in keys:
                hint = did_you_mean(key, keys) or f"; it has {', '.join(keys)}"
                raise EventError(f"{event} has no {key!r}{hint}")
            if not isinstance(value, int if key == "partition" else str) or isinstance(value, bool):
                raise EventError(f"{key} is {'a whole number' if key == 'partition' else 'a string'}, not {value!r}")
        match event:
            case "leader_epoch_bumped":
                return await self._bump(_needed(given, "topic"), given.get("partition", 0))
            case "coordinator_moved":
                return await self._move_coordinator(given)
            case "rebalance":
                return await self._rebalance(_needed(given, "group"))
            case "member_fenced":
                return await self._fence_member(_needed(given, "group"), given)
            case "producer_fenced":
                return await self._fence_producer(_needed(given, "transactional_id"))
            case "transaction_left_hanging":
                return await self._leave_hanging(_needed(given, "topic"), given.get("partition", 0))
            case _:
                return {"partitions": self._broker.share_partitions.expire_locks(_needed(given, "group"))}

    async def _bump(self, topic: str, index: int) -> dict[str, Any]:
        only(await self._broker.controller.submit(BumpLeaderEpochs([TopicPartition(topic, index)])))
        return {"leader_epoch": self._broker.partitions.get(topic, index).leader_epoch}

    async def _move_coordinator(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if len(given) != 1:
            raise EventError("coordinator_moved has a group or a transactional_id")
        if "group" in given:
            where = await self._broker.groups.unload(Patient(), given["group"])
        else:
            where = await self._broker.transactions.unload(Patient(), given["transactional_id"])
        return {"partition": str(where)}

    async def _rebalance(self, group: str) -> dict[str, Any]:
        await self._broker.groups.submit(
            Patient(), group, lambda machine, ticket, now_ms: machine.rebalance(group, ticket=ticket, now_ms=now_ms)
        )
        return {"group": group}

    async def _fence_member(self, group: str, given: Mapping[str, Any]) -> dict[str, Any]:
        kind, members = await self._members(group)
        wanted, client_id = given.get("member_id"), given.get("client_id")
        if (wanted is None) == (client_id is None):
            raise EventError("member_fenced has a member_id or a client_id")
        chosen = [member for member, client in members if wanted == member or (wanted is None and client_id == client)]
        if not chosen:
            known = ", ".join(f"{member} ({client})" for member, client in members) or "none"
            raise EventError(f"the group {group} has no such member; its members are: {known}")
        for member in chosen:
            await self._remove(kind, group, member)
        return {"members": chosen}

    async def _members(self, group: str) -> tuple[str, list[tuple[str, str]]]:
        """Give the kind of a group, and member id and client id of each member."""
        listed = {each.group_id: each.group_type for each in (await self._client.call(ListGroupsRequest())).groups}
        kind = listed.get(group, "").lower()
        if kind == "classic":
            answer = await self._client.call(DescribeGroupsRequest(groups=[group]))
        elif kind == "consumer":
            answer = await self._client.call(ConsumerGroupDescribeRequest(group_ids=[group]))
        elif kind == "share":
            answer = await self._client.call(ShareGroupDescribeRequest(group_ids=[group]))
        elif kind == "streams":
            answer = await self._client.call(StreamsGroupDescribeRequest(group_ids=[group]))
        else:
            raise KafkaError(Code.GROUP_ID_NOT_FOUND, f"there is no group {group}")
        return kind, [(each.member_id, each.client_id) for each in answer.groups[0].members]

    async def _remove(self, kind: str, group: str, member: str) -> None:
        if kind == "consumer":
            request = ConsumerGroupHeartbeatRequest(group_id=group, member_id=member, member_epoch=_LEAVE)
            code = (await self._client.call(request)).error_code
        elif kind == "share":
            leave = ShareGroupHeartbeatRequest(group_id=group, member_id=member, member_epoch=_LEAVE)
            code = (await self._client.call(leave)).error_code
        elif kind == "streams":
            going = StreamsGroupHeartbeatRequest(group_id=group, member_id=member, member_epoch=_LEAVE)
            code = (await self._client.call(going)).error_code
        else:
            identity = LeaveGroupRequest.MemberIdentity(member_id=member)
            answer = await self._client.call(LeaveGroupRequest(group_id=group, members=[identity]))
            code = answer.error_code or answer.members[0].error_code
        if code:
            raise KafkaError(Code(code))

    async def _fence_producer(self, transactional_id: str) -> dict[str, Any]:
        machine = await self._broker.transactions.machine(Patient(), transactional_id)
        machine.describe(transactional_id)
        request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=_TIMEOUT_MS)
        for _ in range(_ATTEMPTS):
            answer = await self._client.call(request)
            if answer.error_code != Code.CONCURRENT_TRANSACTIONS:
                break
            await self._broker.clock.sleep(10)
        if answer.error_code:
            raise KafkaError(Code(answer.error_code))
        return {"producer_id": answer.producer_id, "producer_epoch": answer.producer_epoch}

    async def _leave_hanging(self, topic: str, index: int) -> dict[str, Any]:
        partition = self._broker.partitions.get(topic, index)
        producer_id = await self._broker.producer_ids.next()
        record = Record(0, self._broker.clock.now_ms(), None, b"of a transaction that was left hanging")
        batch = build_batch([record], producer_id=producer_id, producer_epoch=0, base_sequence=0, transactional=True)
        appended = partition.append_own(batch)
        await partition.committed(appended.next_offset, since=partition.leading_since)
        return {"producer_id": producer_id, "offset": appended.next_offset - 1}


def _needed(given: Mapping[str, Any], key: str) -> str:
    if key not in given:
        raise EventError(f"this event needs a {key}")
    return str(given[key])
