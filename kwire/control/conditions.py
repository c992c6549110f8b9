"""Conditions that a test waits for: groups, lags, members, records, transactions.

Responsible for: reading a condition, whether it holds, and the current state as text. Must not depend on: HTTP, a test
framework. Requests that a client sent are waited for in the request log.

    {"group": "billing", "state": "Stable", "members": 2}
    {"group": "billing", "lag": 0}
    {"group": "billing", "left": "worker-1"}
    {"topic": "orders", "records": 10}
    {"transactional_id": "t", "state": "CompleteCommit"}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import trio

from kwire.control.records import record_count
from kwire.control.views import Views
from kwire.errors import Code, KafkaError
from kwire.faults.rules import did_you_mean

_POLL_S: Final = 0.01
_STABLE: Final = "Stable"
_COMMITTED: Final = "CompleteCommit"
_NUMBERS: Final = frozenset({"members", "lag", "records"})
_FORMS: Final = (
    "group with state and members, group with lag, group with left, topic with records, or transactional_id with state"
)


class ConditionError(ValueError):
    """An unknown or invalid condition. One sentence."""


class ConditionKeys(TypedDict, total=False):
    """The keys of a condition."""

    group: str
    state: str
    members: int
    lag: int
    left: str
    topic: str
    records: int
    transactional_id: str


@dataclass(frozen=True, slots=True)
class Condition:
    """``text`` describes the condition; ``look`` returns whether it holds, and the current state as text."""

    text: str
    look: Callable[[Views], Awaitable[tuple[bool, str]]]


def read_condition(given: Mapping[str, Any]) -> Condition:
    """Read a condition. Raises ConditionError."""
    for key in given:
        if key not in ConditionKeys.__annotations__:
            raise ConditionError(f"a condition has no {key!r}{did_you_mean(key, ConditionKeys.__annotations__)}")
    for key in ConditionKeys.__annotations__:
        value = given.get(key)
        wanted = int if key in _NUMBERS else str
        if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise ConditionError(f"{key} is {'a whole number' if wanted is int else 'a string'}, not {value!r}")
        if isinstance(value, int) and value < 0:
            raise ConditionError(f"{key} is not negative, but {value}")
    match {key: value for key, value in given.items() if value is not None}:
        case {"group": group, "lag": lag, **rest} if not rest:
            return Condition(f"the group {group} has a lag of at most {lag}", lambda views: _lag(views, group, lag))
        case {"group": group, "left": left, **rest} if not rest:
            return Condition(f"{left} has left the group {group}", lambda views: _left(views, group, left))
        case {"group": group, **rest} if rest.keys() <= {"state", "members"}:
            state, members = rest.get("state", _STABLE), rest.get("members")
            many = "" if members is None else f" with {_counted(members)}"
            return Condition(f"the group {group} is {state}{many}", lambda views: _group(views, group, state, members))
        case {"topic": topic, "records": records, **rest} if not rest:
            return Condition(
                f"the topic {topic} has at least {records} records", lambda views: _records(views, topic, records)
            )
        case {"transactional_id": name, **rest} if rest.keys() <= {"state"}:
            state = rest.get("state", _COMMITTED)
            return Condition(f"the transaction of {name} is {state}", lambda views: _transaction(views, name, state))
    raise ConditionError(f"a condition is {_FORMS}; not {', '.join(given) or 'nothing'}")


async def wait_until(condition: Condition, views: Callable[[], Views], timeout_s: float) -> tuple[bool, str]:
    """Wait, in real time. Returns whether the condition holds in the end, and the current state as text."""
    deadline = trio.current_time() + timeout_s
    while True:
        holds, seen = await condition.look(views())
        if holds or trio.current_time() >= deadline:
            return holds, seen
        await trio.sleep(_POLL_S)


async def _found(views: Views, group: str) -> dict[str, Any] | None:
    try:
        return await views.group(group)
    except KafkaError as refusal:
        if refusal.code is not Code.GROUP_ID_NOT_FOUND:
            raise
        return None


async def _group(views: Views, group: str, state: str, members: int | None) -> tuple[bool, str]:
    found = await _found(views, group)
    if found is None:
        return False, f"there is no group {group}"
    holds = found["state"] == state and members in {None, len(found["members"])}
    return holds, f"it is {found['state']} with {_members_text(found)}"


async def _lag(views: Views, group: str, lag: int) -> tuple[bool, str]:
    found = await _found(views, group)
    if found is None:
        return False, f"there is no group {group}"
    if found["lag"] is None:
        return False, "it has committed no offset"
    unknown = [f"{each['topic']}-{each['partition']}" for each in found["offsets"] if each["lag"] is None]
    if unknown:
        return False, f"its lag is not known here, where there is no replica of {', '.join(unknown)}"
    behind = [f"{each['topic']}-{each['partition']}: {each['lag']}" for each in found["offsets"] if each["lag"]]
    return found["lag"] <= lag, f"its lag is {found['lag']}" + (f" ({', '.join(behind)})" if behind else "")


async def _left(views: Views, group: str, left: str) -> tuple[bool, str]:
    found = await _found(views, group)
    if found is None:
        return True, f"there is no group {group}"
    names = {each[key] for each in found["members"] for key in ("member_id", "instance_id", "client_id")}
    return left not in names, f"it has {_members_text(found)}"


async def _records(views: Views, topic: str, records: int) -> tuple[bool, str]:
    count = record_count(views.broker, topic)
    if topic not in views.broker.image.topics:
        return False, f"there is no topic {topic}"
    return count >= records, f"it has {count}"


async def _transaction(views: Views, name: str, state: str) -> tuple[bool, str]:
    for each in await views.transactions():
        if each["transactional_id"] == name:
            return each["state"] == state, f"it is {each['state']}"
    return False, f"there is no transactional id {name}"


def _members_text(found: Mapping[str, Any]) -> str:
    members = found["members"]
    names = ", ".join(sorted(str(each["client_id"]) for each in members))
    return _counted(len(members)) + (f" ({names})" if names else "")


def _counted(members: int) -> str:
    return "1 member" if members == 1 else f"{members} members"
