"""The last values of the metrics that clients have pushed.

Responsible for: ``PushedMetrics``, by client instance and within a bound. Must not depend on: how metrics are encoded,
which pushes are admitted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kwire.types import Uuid


class Point(NamedTuple):
    """One value of a metric. ``labels`` are those of the point alone, as text.

    ``is_delta``: the value is the difference to the push before.
    """

    name: str
    value: float
    labels: Mapping[str, str]
    is_delta: bool = False


class PushedMetrics:
    """The values by client instance; for metrics that are pushed as differences, the sum since the first push.

    With more than ``points_max`` values, those of the instance that pushed longest ago are forgotten.
    """

    def __init__(self, points_max: int) -> None:
        self._points_max = points_max
        self._count = 0
        self._instances: OrderedDict[Uuid, dict[tuple[str, frozenset[tuple[str, str]]], Point]] = OrderedDict()

    def add(self, instance_id: Uuid, points: Iterable[Point]) -> None:
        """Take what an instance has pushed."""
        known = self._instances.setdefault(instance_id, {})
        before = len(known)
        for point in points:
            key = (point.name, frozenset(point.labels.items()))
            last = known.get(key) if point.is_delta else None
            known[key] = point if last is None else point._replace(value=last.value + point.value)
        self._count += len(known) - before
        self._instances.move_to_end(instance_id)
        while self._count > self._points_max:
            _, forgotten = self._instances.popitem(last=False)
            self._count -= len(forgotten)

    def forget(self, instance_id: Uuid) -> None:
        """Forget an instance that is gone."""
        self._count -= len(self._instances.pop(instance_id, ()))

    def of(self, instance_id: Uuid) -> list[Point]:
        """Give the last values of an instance."""
        return list(self._instances.get(instance_id, {}).values())
