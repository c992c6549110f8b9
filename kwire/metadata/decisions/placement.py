"""Which brokers hold the replicas of new partitions.

Responsible for: placement, and the checks of an assignment that a client sends. Must not depend on: topics, records,
random numbers: the caller passes ``start``, so that the same command makes the same records.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from kwire.errors import Code, KafkaError
from kwire.metadata.decisions.decision import is_active
from kwire.metadata.entities import BrokerNode
from kwire.metadata.image import MetadataImage


def place(image: MetadataImage, *, partitions: int, replication_factor: int, start: int) -> list[list[int]]:
    """Choose the replicas of ``partitions`` partitions, the preferred leader first.

    Brokers take turns, racks too, beginning with number ``start``; brokers that are active come before those that are
    fenced, and one leads only while active. Raises KafkaError(INVALID_REPLICATION_FACTOR) without the prefix that names
    the request.
    """
    usable = [broker for broker in image.brokers.values() if not (_is_cordoned(broker) or _is_stopping(broker))]
    if not any(is_active(broker) for broker in usable):
        raise KafkaError(Code.INVALID_REPLICATION_FACTOR, "All brokers are currently fenced or in controlled shutdown.")
    if replication_factor > len(usable):
        raise KafkaError(
            Code.INVALID_REPLICATION_FACTOR,
            f"The target replication factor of {replication_factor} cannot be reached because only {len(usable)} "
            "broker(s) are registered or some brokers have all their log directories cordoned.",
        )
    active = _in_turns([broker for broker in usable if is_active(broker)])
    idle = _in_turns([broker for broker in usable if not is_active(broker)])
    rows = [_row(active, idle, start + index) for index in range(partitions)]
    racks = {broker.id: broker.rack or "" for broker in usable}
    if len(set(racks.values())) > 1:
        rows = [_over_racks(row, racks, replication_factor) for row in rows]
    return [row[:replication_factor] for row in rows]


def check_assignment(image: MetadataImage, replicas: Sequence[int], replication_factor: int | None) -> None:
    """Refuse an assignment that is empty, or names an unknown or cordoned broker, or one broker twice."""
    if not replicas:
        raise _bad_assignment("The manual partition assignment includes an empty replica list.")
    for broker_id in sorted(replicas):
        if broker_id not in image.brokers:
            raise _bad_assignment(
                f"The manual partition assignment includes broker {broker_id}, but no such broker is registered."
            )
        if _is_cordoned(image.brokers[broker_id]):
            raise _bad_assignment(
                f"The manual partition assignment includes broker {broker_id}, but all its log directories are "
                "cordoned."
            )
        if replicas.count(broker_id) > 1:
            raise _bad_assignment(f"The manual partition assignment includes the broker {broker_id} more than once.")
    if replication_factor is not None and replication_factor != len(replicas):
        raise _bad_assignment(
            f"The manual partition assignment includes a partition with {len(replicas)} replica(s), but this is not "
            f"consistent with previous partitions, which have {replication_factor} replica(s)."
        )


def _is_cordoned(broker: BrokerNode) -> bool:
    return bool(broker.cordoned_log_dirs) and set(broker.log_dirs) <= set(broker.cordoned_log_dirs or ())


def _is_stopping(broker: BrokerNode) -> bool:
    """Tell whether a broker is in controlled shutdown; once it is fenced it may hold replicas again."""
    return broker.in_controlled_shutdown and not broker.fenced


def _in_turns(brokers: Sequence[BrokerNode]) -> list[int]:
    """Order brokers so that neighbours are on different racks where possible."""
    racks: dict[str, list[int]] = defaultdict(list)
    for broker in sorted(brokers, key=lambda broker: broker.id):
        racks[broker.rack or ""].append(broker.id)
    rounds = zip_longest(*(racks[rack] for rack in sorted(racks)))
    return [broker_id for turn in rounds for broker_id in turn if broker_id is not None]


def _row(active: list[int], idle: list[int], turn: int) -> list[int]:
    """Return all brokers in the order in which they are considered for one partition."""
    # Every full turn shifts the followers by one more, so that the load of a lost broker spreads over all others.
    first = turn % len(active)
    others = active[first + 1 :] + active[:first]
    shift = turn // len(active) % len(others) if others else 0
    return [active[first], *others[shift:], *others[:shift], *idle]


def _over_racks(row: list[int], racks: Mapping[int, str], replication_factor: int) -> list[int]:
    """Choose from a row so that the replicas are spread evenly over racks."""
    chosen, rest = row[:1], row[1:]
    held = Counter(racks[broker_id] for broker_id in chosen)
    while len(chosen) < replication_factor:
        broker_id = min(rest, key=lambda one: held[racks[one]])
        rest.remove(broker_id)
        chosen.append(broker_id)
        held[racks[broker_id]] += 1
    return chosen


def _bad_assignment(message: str) -> KafkaError:
    return KafkaError(Code.INVALID_REPLICA_ASSIGNMENT, message)
