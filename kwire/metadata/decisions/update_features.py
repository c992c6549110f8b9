"""The command that changes finalized feature levels (KIP-584, KIP-1022).

Responsible for: which changes are allowed, and their records; all of a request or none of it. Must not depend on: the
effect of a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from kwire.errors import Code, KafkaError
from kwire.kafka_release import METADATA_VERSIONS
from kwire.metadata.entities import VersionRange
from kwire.metadata.features import KRAFT_VERSION, METADATA_VERSION, SERVED
from kwire.metadata.image import MetadataImage
from kwire.wire.message import Message
from kwire.wire.messages import FeatureLevelRecord

_NOT_SUPPORTED: Final = VersionRange(0, 0)


class UpgradeType(IntEnum):
    """Which direction a change may take."""

    UNKNOWN = 0
    UPGRADE = 1
    SAFE_DOWNGRADE = 2
    UNSAFE_DOWNGRADE = 3


class FeatureUpdate(NamedTuple):
    """A requested level; 0 disables the feature."""

    name: str
    level: int
    upgrade_type: int


def update_features(
    image: MetadataImage, updates: Sequence[FeatureUpdate], *, node_id: int, kraft_version: int
) -> list[Message]:
    """Change feature levels. Raises KafkaError for the first that cannot be changed, and then none is.

    Of several updates of one feature the last counts, as in Apache Kafka.
    """
    records: list[Message] = []
    for update in {each.name: each for each in updates}.values():
        current = kraft_version if update.name == KRAFT_VERSION else image.features.get(update.name, 0)
        try:
            _check(update, current, node_id)
            _check_brokers(image, update)
        except KafkaError as refusal:
            prefix = "The update failed for all features since the following feature had an error: "
            raise KafkaError(refusal.code, f"{prefix}{refusal.message}") from refusal
        if update.level != current:
            records.append(FeatureLevelRecord(name=update.name, feature_level=update.level))
    return records


def _check(update: FeatureUpdate, current: int, node_id: int) -> None:
    name, level, upgrade_type = update
    if upgrade_type not in {UpgradeType.UPGRADE, UpgradeType.SAFE_DOWNGRADE, UpgradeType.UNSAFE_DOWNGRADE}:
        raise _invalid(name, level, "The controller does not support the given upgrade type.")
    if level < 0:
        raise _invalid(name, level, "A feature version cannot be less than 0.")
    _check_supported(name, level, node_id)
    if level < current:
        _check_downgrade(name, level, current, upgrade_type)


def _check_supported(name: str, level: int, node_id: int) -> None:
    if name not in SERVED:
        if level == 0:
            raise _invalid(name, level, f"Feature {name} not found.")
        raise _invalid(name, level, f"Local controller {node_id} does not support this feature.")
    supported = SERVED[name]
    if not supported.lowest <= level <= supported.highest:
        reason = f"Local controller {node_id} only supports versions {supported.lowest}-{supported.highest}"
        raise _invalid(name, level, reason)


def _check_brokers(image: MetadataImage, update: FeatureUpdate) -> None:
    """Each registered broker must support the level, also one that is fenced."""
    for broker in image.brokers.values():
        supported = broker.features.get(update.name, _NOT_SUPPORTED)
        if update.level and not supported.lowest <= update.level <= supported.highest:
            reason = f"Broker {broker.id} only supports versions {supported.lowest}-{supported.highest}"
            if not supported.highest:
                reason = f"Broker {broker.id} does not support this feature."
            raise _invalid(update.name, update.level, reason)


def _check_downgrade(name: str, level: int, current: int, upgrade_type: int) -> None:
    if name == KRAFT_VERSION:
        raise _invalid(name, level, "Can't downgrade the version of this feature.")
    if upgrade_type == UpgradeType.UPGRADE:
        reason = (
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe "
            "downgrade."
        )
        raise _invalid(name, level, reason)
    if name == METADATA_VERSION and any(METADATA_VERSIONS[one][1] for one in range(level + 1, current + 1)):
        reason = (
            "Refusing to perform the requested downgrade because it might delete metadata information."
            if upgrade_type == UpgradeType.SAFE_DOWNGRADE
            else "Unsafe metadata downgrade is not supported in this version."
        )
        message = f"Unsupported metadata.version downgrade from {current} to {level}. {reason}"
        raise KafkaError(Code.INVALID_UPDATE_VERSION, message)


def _invalid(name: str, level: int, reason: str) -> KafkaError:
    message = f"Invalid update version {level} for feature {name}. {reason}"
    return KafkaError(Code.INVALID_UPDATE_VERSION, message)
