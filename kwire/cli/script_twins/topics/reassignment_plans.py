"""Plans of kafka-reassign-partitions: its JSON files, and the proposal of a new assignment.

Responsible for: reading and writing plans, and spreading replicas over brokers and racks. Must not depend on: requests.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from kwire.cli.connections.client import Node
from kwire.cli.java.json_files import JsonFieldError, array, field, integer, string
from kwire.cli.java.options import Wrong

ANY_LOG_DIR: Final = "any"

Place = tuple[str, int]
ItemT = TypeVar("ItemT", bound=Hashable)


class Replica(NamedTuple):
    """One replica; the order of the fields is the order in which the script lists replicas."""

    broker: int
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.broker}"

    @property
    def place(self) -> Place:
        return self.topic, self.partition


class Plan(NamedTuple):
    """Replicas per partition, in the order of the file, and the log directories that it names."""

    partitions: list[tuple[Place, list[int]]]
    log_dirs: dict[Replica, str]

    def replicas(self) -> dict[Place, list[int]]:
        return dict(self.partitions)


def place_text(place: Place) -> str:
    return f"{place[0]}-{place[1]}"


def duplicates(items: Iterable[ItemT]) -> list[ItemT]:
    return [item for item, count in Counter(items).items() if count > 1]


def read_plan(text: str) -> Plan:
    """Read a plan. Raises Wrong."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Wrong(f"The reassignment file is not valid JSON: {error}") from None
    try:
        _check_version(document)
        plan = Plan([], {})
        for item in array(field(document, "partitions", [])):
            _add(plan, item)
    except JsonFieldError as error:
        raise Wrong(str(error)) from None
    return plan


def check_plan(plan: Plan) -> None:
    """Refuse a plan that cannot be executed. Raises Wrong."""
    if not plan.partitions:
        raise Wrong("Partition reassignment list cannot be empty")
    if not all(replicas for _, replicas in plan.partitions):
        raise Wrong("Partition replica list cannot be empty")
    if twice := duplicates(place for place, _ in plan.partitions):
        names = ",".join(map(place_text, twice))
        raise Wrong(f"Partition reassignment contains duplicate topic partitions: {names}")
    repeated = [(place, duplicates(replicas)) for place, replicas in plan.partitions]
    if any(brokers for _, brokers in repeated):
        listed = ". ".join(
            f"{place_text(place)} contains multiple entries for {','.join(map(str, brokers))}"
            for place, brokers in repeated
            if brokers
        )
        raise Wrong(f"Partition replica lists may not contain duplicate entries: {listed}")


def read_topics(text: str) -> list[str]:
    """Read the topics to move. Raises Wrong."""
    try:
        document = json.loads(text)
    except ValueError:
        raise Wrong("The input string is not a valid JSON") from None
    try:
        _check_version(document)
        topics = [string(field(item, "topic")) for item in array(field(document, "topics", []))]
    except JsonFieldError as error:
        raise Wrong(str(error)) from None
    if twice := duplicates(topics):
        raise Wrong(f"List of topics to reassign contains duplicate entries: [{', '.join(twice)}]")
    return topics


def plan_text(replicas: Mapping[Place, Sequence[int]], log_dirs: Mapping[Replica, str]) -> str:
    """Write a plan as the official script does."""
    partitions = [
        {
            "topic": topic,
            "partition": partition,
            "replicas": list(brokers),
            "log_dirs": [log_dirs.get(Replica(broker, topic, partition), ANY_LOG_DIR) for broker in brokers],
        }
        for (topic, partition), brokers in sorted(replicas.items())
    ]
    return json.dumps({"version": 1, "partitions": partitions}, separators=(",", ":"), ensure_ascii=False)


def propose(current: Mapping[Place, Sequence[int]], brokers: Sequence[Node], *, racks: bool) -> dict[Place, list[int]]:
    """Spread the replicas of each topic over brokers. Raises Wrong when there are not enough brokers."""
    racked = racks and all(node.rack is not None for node in brokers)
    if not brokers:
        raise Wrong("All brokers are currently fenced, or have all their log directories cordoned.")
    ordered = _alternating(brokers) if racked else sorted(brokers)
    proposal: dict[Place, list[int]] = {}
    for topic in {name: None for name, _ in current}:
        places = sorted(place for place in current if place[0] == topic)
        factor = len(current[places[0]])
        if factor > len(ordered):
            raise Wrong(
                f"The target replication factor of {factor} cannot be reached because only {len(ordered)} broker(s) are"
                " registered or some brokers have all their log directories cordoned."
            )
        proposal |= zip(places, _spread(ordered, len(places), factor, racked=racked), strict=True)
    return proposal


def _spread(brokers: Sequence[Node], partitions: int, factor: int, *, racked: bool) -> list[list[int]]:
    """Give each partition a leader in turn, and followers at a distance that grows with each round."""
    count = len(brokers)
    racks = len({node.rack for node in brokers})
    start, shift = random.randrange(count), random.randrange(count)  # noqa: S311 - any broker may be the first
    rows = []
    for partition in range(partitions):
        shift += partition > 0 and partition % count == 0
        first = (partition + start) % count
        row = [brokers[first]]
        distance = 0
        while len(row) < factor:
            step = (shift * (racks if racked else 1) + distance) % (count - 1)
            node = brokers[(first + 1 + step) % count]
            distance += 1
            used = {each.rack for each in row}
            if node not in row and (not racked or node.rack not in used or len(used) == racks):
                row.append(node)
        rows.append([node.id for node in row])
    return rows


def _alternating(brokers: Sequence[Node]) -> list[Node]:
    """Order brokers so that neighbours are in different racks."""
    by_rack: dict[str, list[Node]] = {}
    for node in sorted(brokers):
        by_rack.setdefault(node.rack or "", []).append(node)
    queues = [by_rack[rack] for rack in sorted(by_rack)]
    longest = max(map(len, queues))
    return [queue[index] for index in range(longest) for queue in queues if index < len(queue)]


def _add(plan: Plan, item: Any) -> None:
    topic, partition = string(field(item, "topic")), integer(field(item, "partition"))
    replicas = [integer(each) for each in array(field(item, "replicas"))]
    log_dirs = [string(each) for each in array(field(item, "log_dirs", [ANY_LOG_DIR] * len(replicas)))]
    if len(replicas) != len(log_dirs):
        raise Wrong(
            f"Size of replicas list [{', '.join(map(str, replicas))}] is different from size of log dirs list"
            f" [{', '.join(log_dirs)}] for partition {topic}-{partition}"
        )
    plan.partitions.append(((topic, partition), replicas))
    for broker, path in zip(replicas, log_dirs, strict=True):
        if path != ANY_LOG_DIR:
            plan.log_dirs[Replica(broker, topic, partition)] = path


def _check_version(document: Any) -> None:
    version = integer(field(document, "version", 1))
    if version != 1:
        raise Wrong(f"Not supported version field value {version}")
