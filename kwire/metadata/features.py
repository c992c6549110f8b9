"""Feature levels: those that Kafka knows, those that kwire serves, and the record versions of a level.

Responsible for: which of the levels in ``kafka_release`` are served. A feature is finalized at the level that is served
and never above; one that is not served is absent. A data directory that Apache Kafka wrote may hold higher levels: its
records are kept, and the levels in responses are capped. Must not depend on: requests, which APIs a level enables.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from kwire.kafka_release import FEATURES, METADATA_VERSIONS
from kwire.metadata.configs.values import ConfigProblem
from kwire.metadata.entities import VersionRange
from kwire.metadata.image import ELR_VERSION, KRAFT_VERSION, METADATA_VERSION

if TYPE_CHECKING:
    from kwire.metadata.image import MetadataImage
    from kwire.personas import Persona
    from kwire.wire.message import Message

__all__ = [
    "ELR_VERSION",
    "GROUP_VERSION",
    "KNOWN",
    "KRAFT_VERSION",
    "METADATA_VERSION",
    "METADATA_VERSION_LOWEST",
    "METADATA_VERSION_SERVED",
    "SERVED",
    "SHARE_VERSION",
    "STREAMS_VERSION",
    "TRANSACTION_VERSION",
    "bootstrap_levels",
    "check_levels",
    "finalized",
    "first_levels",
    "record_version",
    "supported_features",
]

GROUP_VERSION = "group.version"
SHARE_VERSION = "share.version"
STREAMS_VERSION = "streams.version"
TRANSACTION_VERSION = "transaction.version"

METADATA_VERSION_LOWEST = 7
METADATA_VERSION_SERVED = 33

# The served levels. Raise one here when it is served; formatting and ApiVersions read it.
SERVED: Mapping[str, VersionRange] = MappingProxyType(
    {
        METADATA_VERSION: VersionRange(METADATA_VERSION_LOWEST, METADATA_VERSION_SERVED),
        KRAFT_VERSION: VersionRange(0, 1),
        ELR_VERSION: VersionRange(0, 1),
        GROUP_VERSION: VersionRange(0, 1),
        SHARE_VERSION: VersionRange(0, 2),
        STREAMS_VERSION: VersionRange(0, 1),
        TRANSACTION_VERSION: VersionRange(0, 2),
    }
)

# The features of this release of Apache Kafka, to distinguish an unknown feature from one that is not served here.
KNOWN: Mapping[str, VersionRange] = MappingProxyType(
    {METADATA_VERSION: VersionRange(METADATA_VERSION_LOWEST, max(METADATA_VERSIONS))}
    | {name: VersionRange(levels[0].level, levels[-1].level) for name, levels in FEATURES.items()}
)

DIRECTORIES = 17  # 3.7-IV2: replicas have directories (KIP-858)
# For a release with ZooKeeper, which shows no level. It has SCRAM users and delegation tokens, which need 11 and 14.
_BEFORE_FEATURES = 17
_ELR = 23  # 4.0-IV1: eligible leader replicas (KIP-966)
CORDONED_LOG_DIRS = 30  # 4.3-IV0: log directories may be cordoned (KIP-1066)


def supported_features(release: Persona | None) -> Mapping[str, VersionRange]:
    """Return the levels that a broker reports as supported: the served ones, or those of the release it appears as.

    They are in the order in which responses list them.
    """
    if release is None:
        return dict(sorted(SERVED.items()))
    return {name: VersionRange(*levels) for name, levels in release.supported.items()}


def first_levels(release: Persona | None) -> dict[str, int]:
    """Give the levels of a new cluster. A release without features gets a metadata.version that it does not show."""
    if release is None:
        return bootstrap_levels()
    levels = {METADATA_VERSION: _BEFORE_FEATURES, **release.finalized}
    return {name: levels.get(name, 0) for name in bootstrap_levels()}


def check_levels(levels: Mapping[str, int], release: Persona | None) -> None:
    """Raise ConfigProblem if a data directory has higher levels than the release that a broker appears as."""
    if release is None:
        return
    supported = supported_features(release) or {METADATA_VERSION: VersionRange(0, _BEFORE_FEATURES)}
    for name, level in levels.items():
        highest = supported[name].highest if name in supported else 0
        if level > highest:
            message = f"the data directory has {name} at level {level}, and {release.release} supports up to {highest}"
            raise ConfigProblem("kwire.as.release", release.name, message, "another data directory, or a newer release")


def finalized(image: MetadataImage, kraft_version: int) -> dict[str, int]:
    """Return the levels for responses: those of the metadata, capped by what is served.

    kraft.version is not in the image: it lives in the control records of the metadata log.
    """
    levels = {**image.features, KRAFT_VERSION: kraft_version}
    capped = {name: min(level, SERVED[name].highest) for name, level in levels.items() if name in SERVED}
    return {name: level for name, level in capped.items() if level > 0}


def not_served(levels: Mapping[str, int]) -> dict[str, int]:
    """Return the finalized levels of a cluster that kwire does not serve, because of which its brokers cannot join."""
    return {
        name: level
        for name, level in levels.items()
        if level and not (name in SERVED and SERVED[name].lowest <= level <= SERVED[name].highest)
    }


def how_to_do_without(missing: Mapping[str, int]) -> str:
    """Say why a kwire broker cannot join a cluster with these finalized levels, and how to lower them."""
    highest = {name: SERVED[name].highest if name in SERVED else 0 for name in missing}
    parts = [
        f"{name}={level} (kwire serves {f'up to {highest[name]}' if highest[name] else 'no level of it'})"
        for name, level in missing.items()
    ]
    lower = " ".join(
        f"--release-version {METADATA_VERSIONS[level][0]}" if name == METADATA_VERSION else f"--feature {name}={level}"
        for name, level in highest.items()
    )
    return (
        f"the cluster has finalized features that kwire does not serve: {', '.join(parts)}. Format the controllers"
        f" with: kafka-storage format {lower} ..., or lower them in the running cluster with:"
        f" kafka-features --bootstrap-controller HOST:PORT downgrade {lower}"
    )


def bootstrap_levels() -> dict[str, int]:
    """Give the levels of a new cluster, in the order in which Kafka writes them; kraft.version is not one of these."""
    others = sorted(name for name in SERVED if name not in {METADATA_VERSION, KRAFT_VERSION})
    return {name: SERVED[name].highest for name in (METADATA_VERSION, *others)}


def record_version(record: Message, metadata_version: int) -> int:
    """Give the version at which a record is written under a level of metadata.version, as Kafka chooses it."""
    name = record.NAME
    if name in {"PartitionRecord", "PartitionChangeRecord"}:
        return 2 if metadata_version >= _ELR else 1 if metadata_version >= DIRECTORIES else 0
    if name == "RegisterBrokerRecord":
        newest = ((CORDONED_LOG_DIRS, 4), (DIRECTORIES, 3), (8, 2))
        return next((version for level, version in newest if metadata_version >= level), 1)
    if name == "BrokerRegistrationChangeRecord":
        return _lowest_that_holds(record)
    return 0


def _lowest_that_holds(record: Message) -> int:
    """Kafka writes a registration change at the version of its newest field."""
    if getattr(record, "cordoned_log_dirs") is not None:  # noqa: B009 - the table above says which class this is
        return 3
    if getattr(record, "log_dirs"):  # noqa: B009
        return 2
    return 1 if getattr(record, "in_controlled_shutdown") else 0  # noqa: B009
