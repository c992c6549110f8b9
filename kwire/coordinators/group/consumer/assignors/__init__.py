"""The assignors of consumer groups, by the names under which clients and settings know them.

Responsible for: the table. Must not depend on: how an assignor works.

Each returns the assignment of Apache Kafka's assignor of that name for the same input.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kwire.coordinators.group.consumer.assignors.ranges import assign_ranges
from kwire.coordinators.group.consumer.assignors.uniform import assign_uniformly
from kwire.coordinators.group.modern.assignment import Assignor

ASSIGNORS: Mapping[str, Assignor] = MappingProxyType({"uniform": assign_uniformly, "range": assign_ranges})
