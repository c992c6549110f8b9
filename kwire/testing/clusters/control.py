"""Faults and requests of all brokers of a cluster at once, over the control interface of each.

Responsible for: applying a call to each broker, and combining the results. Must not depend on: processes, files.

    with cluster.faults.add(api="Produce", error="NOT_LEADER_OR_FOLLOWER", times=2) as fault:
        send_an_order(cluster.bootstrap_servers)
    assert fault.fired == 2
"""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, Unpack

from kwire.control.conditions import ConditionKeys
from kwire.errors import Code, KafkaError
from kwire.faults.rules import RuleFields
from kwire.testing.faults import FaultNeverFired, not_fired
from kwire.testing.http.control_client import TIMED_OUT, ControlRefused
from kwire.testing.http.remote import RemoteFault, RemoteKafka
from kwire.testing.requests import RequestNeverSent, Wanted

_POLL_S: Final = 0.02
# Gives the brokers that run, by node id.
Brokers: TypeAlias = "Callable[[], Mapping[int, ClusterBroker]]"


class ClusterBroker(RemoteKafka):
    """One node of a cluster, and the calls whose results the cluster combines."""

    def partition_offsets(self, topic: str) -> list[tuple[int, int, int]]:
        """Give the partitions that this broker has of a topic, each with its first and its next offset.

        None for a broker that ends just now.
        """
        found: list[dict[str, int]] = []
        with suppress(ControlRefused):
            found = self._client.call("GET", "/v1/topics")[1].get(topic, [])
        return [(each["partition"], each["start"], each["end"]) for each in found]

    def write(self, topic: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records as a seed has them.

        Raises KafkaError for a topic that does not exist or that another broker leads.
        """
        path = f"/v1/topics/{urllib.parse.quote(topic, safe='')}/records"
        self._kafka("POST", path, {"records": list(records)})

    def has_group(self, group: str) -> bool:
        """Tell whether this broker coordinates a group that exists."""
        try:
            return group in {each["group"] for each in self.groups()}
        except (ControlRefused, KafkaError):  # it ends just now, or still loads
            return False

    def evaluate(self, condition: ConditionKeys) -> tuple[bool, str]:
        """Tell whether a valid condition holds now, and describe the present state, or why it is not known."""
        try:
            status, answer = self._client.call("POST", "/v1/wait", {**condition, "timeout_ms": 0})
        except ControlRefused as refusal:
            return False, str(refusal)
        return status != TIMED_OUT, str(answer["seen"])


class ClusterFault:
    """One rule that is armed on several brokers; ``times`` and the like count on each of them."""

    def __init__(self, by_node: Mapping[int, RemoteFault]) -> None:
        self.by_node = by_node
        # As they were read last: a broker that has ended has them no more.
        self._shown = {node_id: each.shown() for node_id, each in by_node.items()}

    @property
    def name(self) -> str:
        return next(iter(self.by_node.values())).name

    @property
    def matched(self) -> int:
        """How many requests the rule was about, on all brokers."""
        self._read()
        return self._sum("matched")

    @property
    def fired(self) -> int:
        """How many of them it disturbed, on all brokers."""
        self._read()
        return self._sum("fired")

    def wait_fired(self, times: int = 1, timeout: float = 10.0) -> None:
        """Return once it has disturbed ``times`` requests. Raises FaultNeverFired after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self.fired < times:
            if time.monotonic() > deadline:
                raise self._not_fired(times, timeout)
            time.sleep(_POLL_S)

    def release(self) -> None:
        """Let the held requests continue; the rule holds no further ones."""
        for each in self.by_node.values():
            each.release()

    def remove(self) -> None:
        """Disarm the rule; does nothing when it is no longer armed."""
        for each in self.by_node.values():
            with suppress(ControlRefused):  # a broker that has ended has no rules
                each.remove()

    def check(self) -> None:
        """Raise FaultNeverFired if the rule has disturbed nothing so far."""
        if self.fired == 0:
            raise self._not_fired()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.remove()
        if kind is None:
            self.check()

    def _read(self) -> None:
        for node_id, each in self.by_node.items():
            with suppress(ControlRefused):
                self._shown[node_id] = each.shown()

    def _sum(self, count: str) -> int:
        return sum(each[count] for each in self._shown.values())

    def _not_fired(self, times: int = 1, timeout: float | None = None) -> FaultNeverFired:
        counts = {count: self._sum(count) for count in ("matched", "fired", "not_matched")}
        error = not_fired({**next(iter(self._shown.values())), **counts}, times, timeout)
        by_node = ", ".join(f"broker {node_id}: {each['fired']}" for node_id, each in self._shown.items())
        return FaultNeverFired(f"{error}\ndisturbed by broker: {by_node}")


class ClusterFaults:
    """The rules of the brokers of a cluster. A broker that is killed or stopped has lost its rules."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers

    def add(self, **rule: Unpack[RuleFields]) -> ClusterFault:
        """Arm a rule on each broker that runs. Raises RuleError, with no rule armed, if a broker refuses it."""
        with ExitStack() as undo:
            armed = {}
            for node_id, broker in self._brokers().items():
                armed[node_id] = broker.faults.add(**rule)
                undo.callback(armed[node_id].remove)
            undo.pop_all()
        return ClusterFault(armed)

    def clear(self) -> None:
        """Disarm all rules."""
        for broker in self._brokers().values():
            broker.faults.clear()


class ClusterRequests:
    """The requests that clients sent to any broker of a cluster, and those of the brokers to each other."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers

    def last(self, count: int = 100, **wanted: Unpack[Wanted]) -> list[dict[str, Any]]:
        """Give the last ``count`` matching requests in the order of their times, each with its ``node``."""
        found = [
            {**request, "node": node_id}
            for node_id, broker in self._brokers().items()
            for request in broker.requests.last(count, **wanted)
        ]
        return sorted(found, key=lambda request: request["at_ms"])[-count:]

    def wait_for(self, times: int = 1, timeout: float = 10.0, **wanted: Unpack[Wanted]) -> None:
        """Return once ``times`` matching requests were received. Raises RequestNeverSent after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (seen := self._count(times, wanted)) < times:
            if time.monotonic() > deadline:
                raise RequestNeverSent(f"{times} x {wanted} was not received in {timeout:g} s, but {seen}")
            time.sleep(_POLL_S)

    def clear(self) -> None:
        """Forget the requests so far."""
        for broker in self._brokers().values():
            broker.requests.clear()

    def _count(self, times: int, wanted: Wanted) -> int:
        count = 0
        for broker in self._brokers().values():
            with suppress(ControlRefused):  # it ends just now
                count += broker.requests.count(times, **wanted)
        return count


def spread(
    topic: str, records: Sequence[Mapping[str, Any]], leaders: Mapping[int, int]
) -> dict[int, list[Mapping[str, Any]]]:
    """Divide records, each with its ``partition``, by the node that leads it. Raises KafkaError."""
    by_node: dict[int, list[Mapping[str, Any]]] = {}
    for record in records:
        leader = leaders.get(record["partition"])
        if leader is None:
            raise KafkaError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"{topic} has no partition {record['partition']}")
        by_node.setdefault(leader, []).append(record)
    return by_node
