"""Releases of Apache Kafka that a broker can appear as: the versions and features that each of them has.

Responsible for: reading ``personas.json``, which tools/record_personas.py wrote from what the official brokers
answered. Must not depend on: any other package of kwire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

NONE: Final = "none"
_TABLE: Final = Path(__file__).with_name("personas.json")


class Persona(NamedTuple):
    """One release, as a broker of it with its default settings answers ApiVersions.

    ``apis`` are the version ranges by API key, ``supported`` the ranges of features and ``finalized`` their levels in a
    new cluster, each in the order of the answer. ``has_features`` is False for a release whose metadata is in
    ZooKeeper.
    """

    name: str
    release: str
    apis: Mapping[int, tuple[int, int]]
    supported: Mapping[str, tuple[int, int]]
    finalized: Mapping[str, int]

    @property
    def has_features(self) -> bool:
        return bool(self.supported)

    @property
    def has_old_groups(self) -> bool:
        """Whether groups answer as those of the group coordinator that 4.0 replaced (KIP-848)."""
        return self._number < (4, 0)

    @property
    def has_old_streams_groups(self) -> bool:
        """Whether streams groups have no static members and no offsets of tasks, as before 4.4."""
        return self._number < (4, 4)

    @property
    def _number(self) -> tuple[int, int]:
        major, minor, *_ = self.release.split(".")
        return int(major), int(minor)


def persona(name: str) -> Persona | None:
    """Give the persona of a name such as "3.9"; None for ``NONE``. Raises KeyError for a name that is not known."""
    return None if name == NONE else _personas()[name]


def names() -> tuple[str, ...]:
    """Give the names, oldest first."""
    return tuple(_personas())


@cache
def _personas() -> Mapping[str, Persona]:
    return {name: _persona(name, fields) for name, fields in json.loads(_TABLE.read_text("utf-8")).items()}


def _persona(name: str, fields: Mapping[str, Any]) -> Persona:
    return Persona(
        name=name,
        release=fields["release"],
        apis={key: (lowest, highest) for key, lowest, highest in fields["apis"]},
        supported={feature: (lowest, highest) for feature, lowest, highest in fields["supported_features"]},
        finalized=dict(fields["finalized_features"]),
    )
