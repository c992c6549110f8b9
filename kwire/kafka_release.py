"""The release of Apache Kafka that kwire speaks. Written by tools/write_release.py.

Responsible for: the name of the release, and the feature levels that it knows. Must not depend on: any other package
of kwire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

RELEASE: Final = "4.4.0"
COMMIT: Final = "1156b2752aaa28ea"


class FeatureLevel(NamedTuple):
    """One level of a feature.

    ``since`` is the lowest level of metadata.version at which a new cluster has it; ``needs`` are the levels of other
    features without which it cannot be set.
    """

    level: int
    since: int
    needs: Mapping[str, int]


# Level of metadata.version -> its name, and whether going from the one before to it changed the metadata's form.
METADATA_VERSIONS: Final[Mapping[int, tuple[str, bool]]] = MappingProxyType(
    {
        7: ("3.3-IV3", True),
        8: ("3.4-IV0", True),
        9: ("3.5-IV0", False),
        10: ("3.5-IV1", False),
        11: ("3.5-IV2", True),
        12: ("3.6-IV0", False),
        13: ("3.6-IV1", True),
        14: ("3.6-IV2", True),
        15: ("3.7-IV0", True),
        16: ("3.7-IV1", False),
        17: ("3.7-IV2", True),
        18: ("3.7-IV3", False),
        19: ("3.7-IV4", False),
        20: ("3.8-IV0", False),
        21: ("3.9-IV0", False),
        22: ("4.0-IV0", False),
        23: ("4.0-IV1", True),
        24: ("4.0-IV2", False),
        25: ("4.0-IV3", False),
        26: ("4.1-IV0", False),
        27: ("4.1-IV1", False),
        28: ("4.2-IV0", False),
        29: ("4.2-IV1", False),
        30: ("4.3-IV0", True),
        31: ("4.4-IV0", False),
        32: ("4.4-IV1", True),
        33: ("4.4-IV2", True),
    }
)

# The levels of all other features, in the order in which Kafka's tools list them.
FEATURES: Final[Mapping[str, Sequence[FeatureLevel]]] = MappingProxyType(
    {
        "kraft.version": (
            FeatureLevel(0, 7, {}),
            FeatureLevel(1, 21, {}),
        ),
        "transaction.version": (
            FeatureLevel(0, 7, {}),
            FeatureLevel(1, 24, {}),
            FeatureLevel(2, 24, {}),
        ),
        "group.version": (
            FeatureLevel(0, 7, {}),
            FeatureLevel(1, 22, {}),
        ),
        "eligible.leader.replicas.version": (
            FeatureLevel(0, 7, {}),
            FeatureLevel(1, 26, {"metadata.version": 23}),
        ),
        "share.version": (
            FeatureLevel(0, 7, {}),
            FeatureLevel(1, 28, {}),
            FeatureLevel(2, 31, {}),
        ),
        "streams.version": (
            FeatureLevel(0, 7, {}),
            FeatureLevel(1, 29, {}),
        ),
    }
)
